//! A folder of PNG and JPEG images: one folder per class in the order of their names, or a `labels.csv`. The canonical order takes
//! the first image of every class, then the second one, …, so that the first n are of all classes. Never follows a name out of the
//! folder.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::listing::listed;
use super::picture::{Decoded, decode};
use super::prepare::Colour;
use super::resize::Picture;
use super::stream::allowed;
use super::{Format, Pixels, Raw, Request, Split};
use crate::files::show;
use crate::refusal::{Refusal, escape};

pub(super) const FORMAT: Format = Format {
    name: "images by class",
    summary: "a folder of PNG or JPEG images, one folder per class or with a labels.csv (file,label)",
    recognises: |path| path.is_dir() && (path.join("labels.csv").is_file() || !subfolders(path).is_empty()),
    read,
};

/// Most images of a folder.
const MOST_IMAGES: usize = 2_000_000;

/// Refusals which say that a file cannot be read, as against those of images that are of another kind.
const UNREADABLE: &[u16] = &[1, 2, 81];

/// Files that a refusal names, at most.
const NAMED: usize = 10;

/// A file and the class it lies in.
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) label: i64,
}

fn read(folder: &Path, request: &Request) -> Result<Raw, Refusal> {
    let folder = half(folder, request.split);
    let mut notes = Vec::new();
    let (entries, class_names) = match folder.join("labels.csv").is_file() {
        true => listed(&folder)?,
        false => by_class(&folder, &mut notes)?,
    };
    if entries.is_empty() {
        return Err(Refusal::data(76, format!("{} holds no PNG or JPEG image", show(&folder))));
    }
    // an image that cannot be read is found now, and not after hours
    let (entries, decoded) = decoded(&folder, entries, request, &mut notes)?;
    let files = entries.iter().zip(&decoded).map(|(e, d)| (relative(&folder, &e.path), d.sha256.clone())).collect();
    let mut count = |what: fn(&Decoded) -> bool, sentence: &str| {
        let n = decoded.iter().filter(|d| what(d)).count();
        if n > 0 {
            notes.push(format!("{n} {sentence}"));
        }
    };
    count(|d| d.turned, "images carry an EXIF rotation, which is not applied (Pillow does not apply it either)");
    count(|d| d.opaque, "images have an alpha channel that is opaque everywhere and was dropped");
    count(|d| d.jpeg, "images are JPEG files; decoders differ by a grey level here and there");
    let colour = decoded.iter().position(|d| d.picture.shape[0] == 3).map(|at| relative(&folder, &entries[at].path));
    let grey = decoded.iter().filter(|d| d.picture.shape[0] == 1).count();
    if let (Some(first), 1..) = (&colour, grey) {
        notes.push(format!("{grey} grey images were repeated in three channels, because others are in colour (first {first})"));
    }
    let in_colour = |d: Decoded| if colour.is_some() { d.picture.in_channels(Colour::Rgb) } else { d.picture };
    let pictures: Vec<Picture> = decoded.into_iter().map(in_colour).collect();
    let (shape, pixels) = Pixels::of(pictures);
    let labels = entries.iter().map(|e| e.label).collect();
    Ok(Raw { shape, pixels, labels, class_names, files, notes, first_in_colour: colour, behind: None })
}

/// A sentence about images that are not taken although nobody asked for fewer.
fn left_out(folder: &Path, limit: usize, all: usize, request: &Request) -> Option<String> {
    let taken = || format!("the first {limit} of the {all} images of {} are taken; -n takes more or fewer", show(folder));
    (limit < all && request.allow_fewer).then(taken)
}

/// The images that can be read, as many as are requested. Without `skip_unreadable` one that cannot is a refusal, which names them
/// all.
fn decoded(
    folder: &Path,
    entries: Vec<Entry>,
    request: &Request,
    notes: &mut Vec<String>,
) -> Result<(Vec<Entry>, Vec<Decoded>), Refusal> {
    let limit = request.limit.filter(|&n| n > 0).unwrap_or(entries.len());
    notes.extend(left_out(folder, limit, entries.len(), request));
    let (held, files) = (AtomicU64::new(0), AtomicU64::new(0));
    let one = |e: &Entry| {
        let decoded = decode(&e.path)?;
        let bytes = decoded.picture.pixels.len() as u64;
        let files = files.load(Ordering::Relaxed);
        let most = allowed(files);
        if held.fetch_add(bytes, Ordering::Relaxed) + bytes > most {
            let what = format!("the images of {} have more than {most} bytes of pixels", show(folder));
            let what = format!("{what}, which is the limit for {files} bytes of files");
            return Err(Refusal::data(83, what).help("take fewer of them: -n N"));
        }
        Ok(decoded)
    };
    let (mut kept, mut images, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    let (mut rest, mut seen) = (entries.into_iter(), HashSet::new());
    while kept.len() < limit {
        let more: Vec<Entry> = rest.by_ref().take(limit - kept.len()).collect();
        if more.is_empty() {
            break;
        }
        // a file counts once, however often a list names it; one that is gone says so when it is read
        let new: Vec<&Entry> = more.iter().filter(|e| seen.insert(e.path.clone())).collect();
        let size = |e: &&Entry| std::fs::metadata(&e.path).map_or(0, |about| about.len());
        files.fetch_add(new.iter().map(size).sum(), Ordering::Relaxed);
        let results: Vec<Result<Decoded, Refusal>> = more.par_iter().map(one).collect();
        for (entry, result) in more.into_iter().zip(results) {
            match result {
                Ok(decoded) => {
                    kept.push(entry);
                    images.push(decoded);
                }
                Err(refusal) => refused.push(refusal),
            }
        }
        if !request.skip_unreadable {
            break;
        }
    }
    let hopeless = |r: &&Refusal| !request.skip_unreadable || !UNREADABLE.contains(&r.number);
    if let Some(first) = refused.iter().find(hopeless) {
        return Err(all_of(first, &refused, request.skip_unreadable));
    }
    if !refused.is_empty() {
        let what: Vec<&str> = refused.iter().take(NAMED).map(|r| r.what.as_str()).collect();
        let more = if refused.len() > NAMED { "; …" } else { "" };
        notes.push(format!("{} images that cannot be read were skipped: {}{more}", refused.len(), what.join("; ")));
    }
    if kept.is_empty() {
        return Err(Refusal::data(76, format!("no image of {} can be read", show(folder))));
    }
    Ok((kept, images))
}

/// One refusal that names every file which was refused.
fn all_of(first: &Refusal, refused: &[Refusal], skipped: bool) -> Refusal {
    let others = refused.iter().filter(|r| *r != first && !(skipped && UNREADABLE.contains(&r.number)));
    let others: Vec<&str> = others.map(|r| r.what.as_str()).collect();
    let mut all = first.clone();
    if !others.is_empty() {
        let more = others.len().saturating_sub(NAMED - 1);
        let listed = others.iter().take(NAMED - 1).copied().collect::<Vec<_>>().join("; ");
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        all.what = format!("{} files cannot be taken: {}; {listed}{more}", others.len() + 1, first.what);
    }
    if all.help.is_none() && UNREADABLE.contains(&all.number) {
        all = all.help("replace the files, or leave them out and have them counted: --skip-unreadable");
    }
    all
}

/// The folder of the half, where there is one: `test` or `val`, `train`.
fn half(folder: &Path, split: Split) -> PathBuf {
    let names: &[&str] = if split == Split::Test { &["test", "val", "validation"] } else { &["train"] };
    let halves = ["train", "test", "val", "validation"].iter().filter(|n| folder.join(n).is_dir()).count();
    let found = names
        .iter()
        .map(|name| folder.join(name))
        .find(|f| f.is_dir() && (f.join("labels.csv").is_file() || !subfolders(f).is_empty()));
    found.filter(|_| halves > 0).unwrap_or_else(|| folder.to_owned())
}

/// Folders inside a folder, sorted by the bytes of their names. Hidden ones are not classes.
fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        folder.read_dir().into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir() && !hidden(p)).collect();
    found.sort();
    found
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.'))
}

/// Whether a name is that of a PNG or JPEG file.
pub(super) fn is_image(path: &Path) -> bool {
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg"))
}

/// The images of every class, and the names of the classes.
fn by_class(folder: &Path, notes: &mut Vec<String>) -> Result<(Vec<Entry>, Vec<String>), Refusal> {
    let (mut entries, mut names, mut others) = (Vec::new(), Vec::new(), 0);
    for (label, class) in subfolders(folder).into_iter().enumerate() {
        let unreadable = |e: std::io::Error| Refusal::data(1, format!("{} could not be read: {e}", show(&class)));
        let mut paths = Vec::new();
        for entry in class.read_dir().map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_dir() && !hidden(&path) {
                return Err(Refusal::data(80, format!("{} is a folder inside the folder of a class", show(&path)))
                    .help("put the images of a class directly into its folder"));
            }
            if is_image(&path) && !hidden(&path) { paths.push(path) } else { others += 1 }
        }
        paths.sort();
        entries.extend(paths.into_iter().enumerate().map(|(place, path)| (place, Entry { path, label: label as i64 })));
        if entries.len() > MOST_IMAGES {
            return Err(Refusal::data(80, format!("{} holds more than {MOST_IMAGES} images", show(folder))));
        }
        names.push(class.file_name().map_or_else(String::new, |n| escape(&n.to_string_lossy())));
    }
    if others > 0 {
        notes.push(format!("{others} files that are neither PNG nor JPEG were left out"));
    }
    entries.sort_by_key(|(place, entry)| (*place, entry.label));
    Ok((entries.into_iter().map(|(_, entry)| entry).collect(), names))
}

fn relative(folder: &Path, path: &Path) -> String {
    escape(&path.strip_prefix(folder).unwrap_or(path).to_string_lossy())
}
