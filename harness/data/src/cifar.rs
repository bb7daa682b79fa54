//! The binary format of CIFAR-10: records of one label byte and 3,072 pixel bytes (32×32 red, then green, then blue).

use std::path::{Path, PathBuf};

use super::{Format, Pixels, Raw, Request, Split, listed, open};
use crate::files::show;
use crate::refusal::Refusal;

pub(super) const FORMAT: Format = Format {
    name: "CIFAR-10 binary",
    summary: "a CIFAR-10 binary file (.bin), or a folder with test_batch.bin and data_batch_1.bin …",
    recognises: |path| {
        path.extension().is_some_and(|e| e == "bin")
            || path.join("test_batch.bin").is_file()
            || path.join("data_batch_1.bin").is_file()
    },
    read,
};

pub(super) const CLASSES: &[&str] = &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

const SHAPE: [usize; 3] = [3, 32, 32];
const RECORD: usize = 1 + 3 * 32 * 32;

fn read(path: &Path, request: &Request) -> Result<Raw, Refusal> {
    let paths = if path.is_dir() { standard_files(path, request.split)? } else { vec![path.to_owned()] };
    let (mut pixels, mut labels, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for path in paths {
        let file = open(&path)?;
        if file.bytes.len() % RECORD != 0 {
            let (records, rest) = (file.bytes.len() / RECORD, file.bytes.len() % RECORD);
            let why = format!(
                "{} is not a CIFAR-10 binary file: {records} records of {RECORD} bytes leave {rest} bytes over",
                show(&path)
            );
            return Err(Refusal::data(85, why));
        }
        for (row, record) in file.bytes.chunks_exact(RECORD).enumerate() {
            if usize::from(record[0]) >= CLASSES.len() {
                let why = format!("{}: row {row} has the label {}; CIFAR-10 has the labels 0..9", show(&path), record[0]);
                return Err(Refusal::data(77, why));
            }
            labels.push(i64::from(record[0]));
            pixels.extend_from_slice(&record[1..]);
        }
        files.push(listed(&file));
    }
    let class_names = CLASSES.iter().map(|&c| c.to_owned()).collect();
    Ok(Raw {
        shape: SHAPE,
        pixels: Pixels::Bytes(pixels),
        labels,
        class_names,
        files,
        notes: Vec::new(),
        first_in_colour: None,
        behind: None,
    })
}

/// The files of the original archive that make one half, in its order. Nothing else stands in for them.
fn standard_files(folder: &Path, split: Split) -> Result<Vec<PathBuf>, Refusal> {
    let names: Vec<String> = match split {
        Split::Test => vec!["test_batch.bin".to_owned()],
        Split::Train => (1..=5).map(|i| format!("data_batch_{i}.bin")).collect(),
    };
    if let Some(absent) = names.iter().find(|name| !folder.join(name).is_file()) {
        let error = Refusal::data(1, format!("{} has no {absent}, which the {} half needs", show(folder), split.name()));
        let others = binaries(folder);
        return Err(match others.first() {
            Some(first) => error.help(format!(
                "it has {}; say which one is meant by its path, for example --data {}",
                others.iter().map(|p| show(Path::new(p.file_name().unwrap_or_default()))).collect::<Vec<_>>().join(", "),
                show(first)
            )),
            None => error,
        });
    }
    Ok(names.iter().map(|name| folder.join(name)).collect())
}

fn binaries(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().into_iter().flatten().flatten().map(|e| e.path());
    let mut found: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "bin")).collect();
    found.sort();
    found
}
