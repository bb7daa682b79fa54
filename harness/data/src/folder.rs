//! A folder of PNG and JPEG images: one folder per class in the order of their names, or a `labels.csv`. The canonical order takes
//! the first image of every class, then the second one, …, so that the first n are of all classes. Reads 8-bit grey and RGB and
//! says what else it met; never follows a name out of the folder, and looks at a header before it allocates.

use std::io::Cursor;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use flatscape_graph::shown;
use image::codecs::{jpeg::JpegDecoder, png::PngDecoder};
use image::metadata::Orientation;
use image::{ColorType, ExtendedColorType, ImageDecoder, Limits};
use rayon::prelude::*;

use super::resize::Picture;
use super::{Format, LARGEST_DATA, Pixels, Raw, Request, Split, refused};
use crate::files::{self, show};
use crate::refusal::{Refusal, escape};

pub(super) const FORMAT: Format = Format {
    name: "images by class",
    summary: "a folder of PNG or JPEG images, one folder per class or with a labels.csv (file,label)",
    recognises: |path| path.is_dir() && (path.join("labels.csv").is_file() || !subfolders(path).is_empty()),
    read,
};

/// Largest image file, in bytes.
const LARGEST_FILE: u64 = 64 << 20;

/// Most pixels of one image.
const MOST_PIXELS: u64 = 100_000_000;

/// Most images of a folder.
const MOST_IMAGES: usize = 2_000_000;

/// How the first column of a `labels.csv` may be headed.
const HEADERS: &[&str] = &["file", "filename", "file_name", "image", "path", "name", "id"];

/// A file and the class it lies in.
struct Entry {
    path: PathBuf,
    label: i64,
}

fn read(folder: &Path, request: &Request) -> Result<Raw, Refusal> {
    let folder = half(folder, request.split);
    let mut notes = Vec::new();
    let (mut entries, class_names) = match folder.join("labels.csv").is_file() {
        true => listed(&folder)?,
        false => by_class(&folder, &mut notes)?,
    };
    if entries.is_empty() {
        return Err(Refusal::data(76, format!("{} holds no PNG or JPEG image", show(&folder))));
    }
    // an image that cannot be read is found now, and not after hours
    if let Some(limit) = request.limit.filter(|&n| n > 0) {
        entries.truncate(limit);
    }
    let held = AtomicU64::new(0);
    let decoded = entries.par_iter().map(|e| {
        let decoded = decode(&e.path)?;
        let bytes = decoded.picture.pixels.len() as u64;
        if held.fetch_add(bytes, Ordering::Relaxed) + bytes > LARGEST_DATA {
            let what = format!("the images of {} have more than {LARGEST_DATA} bytes of pixels", show(&folder));
            return Err(Refusal::data(83, what).help("take fewer of them: -n N"));
        }
        Ok(decoded)
    });
    let decoded: Vec<Decoded> = decoded.collect::<Result<_, _>>()?;
    let files = entries.iter().zip(&decoded).map(|(e, d)| (relative(&folder, &e.path), d.sha256.clone())).collect();
    let mut count = |what: fn(&Decoded) -> bool, sentence: &str| {
        let n = decoded.iter().filter(|d| what(d)).count();
        if n > 0 {
            notes.push(format!("{n} {sentence}"));
        }
    };
    let colour = decoded.iter().any(|d| d.picture.shape[0] == 3);
    count(|d| d.turned, "images carry an EXIF rotation, which is not applied (Pillow does not apply it either)");
    count(|d| d.opaque, "images have an alpha channel that is opaque everywhere and was dropped");
    count(|d| d.jpeg, "images are JPEG files; decoders differ by a grey level here and there");
    if colour {
        count(|d| d.picture.shape[0] == 1, "grey images were repeated in three channels");
    }
    let pictures: Vec<Picture> = decoded.into_iter().map(|d| if colour { in_colour(d.picture) } else { d.picture }).collect();
    let (shape, pixels) = Pixels::of(pictures);
    let labels = entries.iter().map(|e| e.label).collect();
    Ok(Raw { shape, pixels, labels, class_names, files, notes })
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

fn is_image(path: &Path) -> bool {
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

/// The images of a `labels.csv`, in its order. Labels are numbers, or names of classes in the order of the names.
fn listed(folder: &Path) -> Result<(Vec<Entry>, Vec<String>), Refusal> {
    let path = folder.join("labels.csv");
    let file = files::read(&path, 256 << 20).map_err(refused)?;
    let text = String::from_utf8(file.bytes).map_err(|_| Refusal::data(86, format!("{} is not UTF-8 text", show(&path))))?;
    let root = folder.canonicalize().map_err(|e| Refusal::data(1, format!("{} could not be read: {e}", show(folder))))?;
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let refuse = |why: &str| Refusal::data(86, format!("{}, line {}: {why}", show(&path), number + 1));
        let (name, label) = line.rsplit_once(',').ok_or_else(|| refuse("expected file,label"))?;
        let (name, label) = (name.trim().trim_matches('"'), label.trim().trim_matches('"'));
        if number == 0 && HEADERS.iter().any(|header| header.eq_ignore_ascii_case(name)) {
            continue;
        }
        let inside = !name.is_empty() && Path::new(name).components().all(|c| matches!(c, Component::Normal(_)));
        if !inside {
            return Err(refuse(&format!("{} is not a plain path inside the folder", shown(name))));
        }
        let image = folder.join(name);
        let real = image.canonicalize().map_err(|e| refuse(&format!("{} could not be read: {e}", shown(name))))?;
        if !real.starts_with(&root) {
            return Err(refuse(&format!("{} leaves the folder", shown(name))));
        }
        rows.push((image, label.to_owned()));
    }
    let numbers: Option<Vec<i64>> = rows.iter().map(|(_, label)| label.parse().ok()).collect();
    let mut names: Vec<String> =
        if numbers.is_some() { Vec::new() } else { rows.iter().map(|(_, label)| escape(label)).collect() };
    names.sort();
    names.dedup();
    let place = |label: &str| names.iter().position(|n| *n == escape(label)).map_or(-1, |p| p as i64);
    let labels = numbers.unwrap_or_else(|| rows.iter().map(|(_, label)| place(label)).collect());
    let entries = rows.into_iter().zip(labels).map(|((path, _), label)| Entry { path, label }).collect();
    Ok((entries, names))
}

fn relative(folder: &Path, path: &Path) -> String {
    escape(&path.strip_prefix(folder).unwrap_or(path).to_string_lossy())
}

/// An image and what was met in its file.
struct Decoded {
    picture: Picture,
    sha256: String,
    turned: bool,
    opaque: bool,
    jpeg: bool,
}

fn decode(path: &Path) -> Result<Decoded, Refusal> {
    let file = files::read(path, LARGEST_FILE).map_err(refused)?;
    let damaged =
        |e: image::ImageError| Refusal::data(81, format!("{} cannot be decoded: {}", show(path), escape(&e.to_string())));
    let bytes = Cursor::new(&file.bytes[..]);
    let decoded = if file.bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        let decoder = PngDecoder::with_limits(bytes, limits()).map_err(damaged)?;
        if decoder.is_apng().map_err(damaged)? {
            return Err(Refusal::data(80, format!("{} is an animation", show(path))).help("store single images"));
        }
        pixels(decoder, path)?
    } else if file.bytes.starts_with(b"\xff\xd8") {
        pixels(JpegDecoder::new(bytes).map_err(damaged)?, path)?
    } else {
        return Err(Refusal::data(80, format!("{} is neither a PNG nor a JPEG file, whatever its name says", show(path))));
    };
    Ok(Decoded { sha256: file.sha256, jpeg: file.bytes.starts_with(b"\xff\xd8"), ..decoded })
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(65_535), Some(65_535));
    limits.max_alloc = Some(512 << 20);
    limits
}

fn pixels(mut decoder: impl ImageDecoder, path: &Path) -> Result<Decoded, Refusal> {
    let refuse = |number: u16, why: &str| Refusal::data(number, format!("{} {why}", show(path)));
    let (w, h) = decoder.dimensions();
    if u64::from(w) * u64::from(h) > MOST_PIXELS || w == 0 || h == 0 {
        return Err(refuse(82, &format!("says that it has {w}x{h} pixels; the limit is {MOST_PIXELS} in all")));
    }
    if matches!(decoder.original_color_type(), ExtendedColorType::Cmyk8) {
        return Err(refuse(80, "is in CMYK").help("convert it to RGB"));
    }
    let kind = decoder.color_type();
    let (channels, alpha) = match kind {
        ColorType::L8 => (1, false),
        ColorType::Rgb8 => (3, false),
        ColorType::La8 => (1, true),
        ColorType::Rgba8 => (3, true),
        _ => return Err(refuse(80, "has more than 8 bits per channel").help("convert it to 8 bits, as the model was trained on")),
    };
    let damaged =
        |e: image::ImageError| Refusal::data(81, format!("{} cannot be decoded: {}", show(path), escape(&e.to_string())));
    let turned = decoder.orientation().is_ok_and(|o| o != Orientation::NoTransforms);
    let mut interleaved = vec![0; usize::try_from(decoder.total_bytes()).unwrap_or(0)];
    decoder.read_image(&mut interleaved).map_err(damaged)?;
    let step = channels + usize::from(alpha);
    if alpha && interleaved.chunks_exact(step).any(|p| p[step - 1] != 255) {
        return Err(refuse(80, "has transparent pixels").help("put it on a background and store it without an alpha channel"));
    }
    let (h, w) = (h as usize, w as usize);
    let pixels = (0..channels).flat_map(|c| interleaved.iter().skip(c).step_by(step).copied()).collect();
    Ok(Decoded {
        picture: Picture { shape: [channels, h, w], pixels },
        sha256: String::new(),
        turned,
        opaque: alpha,
        jpeg: false,
    })
}

/// A grey image in three channels.
fn in_colour(picture: Picture) -> Picture {
    match picture.shape {
        [1, h, w] => Picture { shape: [3, h, w], pixels: picture.pixels.repeat(3) },
        _ => picture,
    }
}
