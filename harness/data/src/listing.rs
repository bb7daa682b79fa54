//! `labels.csv`: which image has which label. Columns by name, whatever their order; quoted fields, a byte-order mark, an index
//! column; labels as numbers (`3`, `3.0`) or as names.

use std::path::{Component, Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};
use flatscape_graph::shown;

use super::classes::number_of;
use super::folder::{Entry, is_image};
use super::refused;
use crate::files::{self, show};
use crate::refusal::{Refusal, escape};

/// Largest file, in bytes.
const LARGEST: u64 = 256 << 20;

/// How the column of files may be headed, the likeliest first.
const FILES: &[&str] =
    &["file", "filename", "file_name", "filepath", "file_path", "path", "image", "image_path", "img", "name", "id"];

/// How the column of labels may be headed, the likeliest first.
const LABELS: &[&str] =
    &["label", "labels", "class", "target", "y", "category", "class_id", "label_id", "class_name", "label_name"];

/// Extensions of images whose list names them without.
const EXTENSIONS: &[&str] = &["png", "jpg", "jpeg"];

/// Where the two columns are.
struct Columns {
    file: usize,
    label: usize,
    /// Whether the first row names them.
    headed: bool,
}

/// The images of a list, in its order, and the names of the classes where labels are names.
pub(super) fn listed(folder: &Path) -> Result<(Vec<Entry>, Vec<String>), Refusal> {
    let path = folder.join("labels.csv");
    let file = files::read(&path, LARGEST).map_err(refused)?;
    let text = String::from_utf8(file.bytes).map_err(|_| Refusal::data(86, format!("{} is not UTF-8 text", show(&path))))?;
    let text = text.trim_start_matches('\u{feff}');
    let root = folder.canonicalize().map_err(|e| Refusal::data(1, format!("{} could not be read: {e}", show(folder))))?;
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let delimiter = [',', ';', '\t'].into_iter().find(|&c| first.contains(c)).unwrap_or(',') as u8;
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).delimiter(delimiter).from_reader(text.as_bytes());
    let (mut columns, mut rows, mut missing) = (None, Vec::new(), Vec::new());
    for record in reader.records() {
        let record = record.map_err(|e| Refusal::data(86, format!("{}: {}", show(&path), escape(&e.to_string()))))?;
        let line = record.position().map_or(0, csv::Position::line);
        let refuse = |why: &str| Refusal::data(86, format!("{}, line {line}: {why}", show(&path)));
        let (file, label) = match &columns {
            Some(Columns { file, label, .. }) => (*file, *label),
            None => {
                let found = columns_of(&record, folder).map_err(|why| refuse(&why))?;
                let place = (found.file, found.label);
                let headed = found.headed;
                columns = Some(found);
                if headed {
                    continue;
                }
                place
            }
        };
        let (Some(name), Some(label)) = (record.get(file), record.get(label)) else {
            return Err(refuse(&format!("it has {} fields; expected file,label", record.len())));
        };
        match inside(folder, &root, name).map_err(|why| refuse(&why))? {
            Ok(image) if !label.is_empty() => rows.push((image, label.to_owned())),
            Ok(_) => return Err(refuse("the label is empty")),
            Err(why) => missing.push(format!("line {line}: {why}")),
        }
    }
    if let Some(first) = missing.first() {
        let more = if missing.len() > 1 { format!(" ({} files in all)", missing.len()) } else { String::new() };
        return Err(Refusal::data(86, format!("{}, {first}{more}", show(&path))));
    }
    Ok(entries(rows))
}

/// The columns by the names in the first row; without names, the first that holds a file and the last of the others.
fn columns_of(record: &StringRecord, folder: &Path) -> Result<Columns, String> {
    let place = |names: &[&str]| names.iter().find_map(|name| record.iter().position(|field| field.eq_ignore_ascii_case(name)));
    if let Some(file) = place(FILES) {
        let rest: Vec<usize> = (0..record.len()).filter(|&i| i != file).collect();
        let label = LABELS
            .iter()
            .find_map(|name| rest.iter().copied().find(|&i| record.get(i).is_some_and(|f| f.eq_ignore_ascii_case(name))));
        let label = match (label, &rest[..]) {
            (Some(label), _) => label,
            (None, &[only]) => only,
            _ => {
                let names: Vec<String> = record.iter().map(shown).collect();
                return Err(format!("no column is called label; the columns are {}", names.join(", ")));
            }
        };
        return Ok(Columns { file, label, headed: true });
    }
    if record.len() < 2 {
        return Err("expected file,label".to_owned());
    }
    let holds_file = |field: &str| is_image(Path::new(field)) || inside_is_file(folder, field);
    let file = record.iter().position(holds_file).unwrap_or(0);
    let label = (0..record.len()).rev().find(|&i| i != file).unwrap_or(1);
    Ok(Columns { file, label, headed: false })
}

fn inside_is_file(folder: &Path, field: &str) -> bool {
    plain(field) && folder.join(field).is_file()
}

/// Whether a name is a path without root and without `..`.
fn plain(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|c| matches!(c, Component::Normal(_)))
}

/// The path of an image inside the folder; a clause where it is not there. The outer error is a path that leaves the folder.
fn inside(folder: &Path, root: &Path, name: &str) -> Result<Result<PathBuf, String>, String> {
    let name = name.strip_prefix("./").unwrap_or(name);
    if !plain(name) {
        return Err(format!("{} is not a plain path inside the folder", shown(name)));
    }
    let mut image = folder.join(name);
    if !image.exists() {
        let with = EXTENSIONS.iter().map(|extension| folder.join(format!("{name}.{extension}"))).find(|path| path.is_file());
        image = with.unwrap_or(image);
    }
    match image.canonicalize() {
        Ok(real) if real.starts_with(root) => Ok(Ok(image)),
        Ok(_) => Err(format!("{} leaves the folder", shown(name))),
        Err(e) => Ok(Err(format!("{} could not be read: {e}", shown(name)))),
    }
}

/// Labels as numbers where they all are whole numbers, otherwise as names of classes in the order of the names.
fn entries(rows: Vec<(PathBuf, String)>) -> (Vec<Entry>, Vec<String>) {
    let numbers: Option<Vec<i64>> = rows.iter().map(|(_, label)| number_of(label)).collect();
    let mut names: Vec<String> =
        if numbers.is_some() { Vec::new() } else { rows.iter().map(|(_, label)| escape(label)).collect() };
    names.sort();
    names.dedup();
    let place = |label: &str| names.iter().position(|n| *n == escape(label)).map_or(-1, |p| p as i64);
    let labels = numbers.unwrap_or_else(|| rows.iter().map(|(_, label)| place(label)).collect());
    (rows.into_iter().zip(labels).map(|((path, _), label)| Entry { path, label }).collect(), names)
}
