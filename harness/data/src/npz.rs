//! NumPy archives with images and labels: `x` and `y`, or the pairs of [`PAIRS`]; uint8 images (divided by 255) or floats in [0,1],
//! shaped [n,H,W], [n,C,H,W] or [n,H,W,C]; labels [n] or [n,1], integers or text; names of classes. Object arrays are refused: they are pickles.

use std::io::{Cursor, Read};
use std::path::Path;

use flatscape_graph::shown;

use super::{Format, Pixels, Raw, Request, Split, listed, open};
use crate::files::show;
use crate::refusal::{Refusal, escape};

pub(super) const FORMAT: Format = Format {
    name: "npz",
    summary: "a NumPy archive (.npz) with images x and labels y",
    recognises: |path| path.extension().is_some_and(|e| e == "npz"),
    read,
};

/// Largest array after decompression, in bytes.
const LARGEST: u64 = 8 << 30;

/// Deflate cannot compress by more than about 1032.
const LARGEST_RATIO: u64 = 1100;

/// Names of the images and the labels, the first pair that is there; those of a half where the archive holds both.
const PAIRS: &[(&str, &str)] =
    &[("x", "y"), ("images", "labels"), ("X", "y"), ("data", "target"), ("data", "labels"), ("image", "label")];
const OF_TEST: &[(&str, &str)] =
    &[("x_test", "y_test"), ("test_images", "test_labels"), ("X_test", "y_test"), ("x_val", "y_val")];
const OF_TRAIN: &[(&str, &str)] = &[("x_train", "y_train"), ("train_images", "train_labels"), ("X_train", "y_train")];

/// Arrays that name the classes.
const NAMES: &[&str] = &["class_names", "classes", "names", "label_names", "labels_names", "target_names"];

fn read(path: &Path, request: &Request) -> Result<Raw, Refusal> {
    let file = open(path)?;
    let mut raw = parse(&file.bytes, &show(path), file.sha256.clone(), request.split)?;
    raw.files = vec![listed(&file)];
    Ok(raw)
}

/// Reads an archive from memory; `name` is for messages.
pub(super) fn parse(bytes: &[u8], name: &str, sha256: String, split: Split) -> Result<Raw, Refusal> {
    let has = arrays(bytes, name)?;
    let there = |name: &str| has.iter().any(|n| n == name);
    let of_half = if split == Split::Test { OF_TEST } else { OF_TRAIN };
    let pair = of_half.iter().chain(PAIRS).find(|(x, y)| there(x) && there(y)).copied().unwrap_or(("x", "y"));
    let x = member(bytes, name, pair.0)?;
    let y = member(bytes, name, pair.1)?;
    let stated = match NAMES.iter().find(|n| there(n)) {
        Some(array) => member(bytes, name, array)?.names().unwrap_or_default(),
        None => Vec::new(),
    };
    let (labels, class_names) = y.labels(name, pair.1, stated)?;
    let (shape, order) = match x.shape[..] {
        [_, h, w] => ([1, h, w], Order::ChannelsFirst),
        [_, a, b, c] if matches!(c, 1 | 3) && !matches!(a, 1 | 3) => ([c, a, b], Order::ChannelsLast),
        [_, c, h, w] => ([c, h, w], Order::ChannelsFirst),
        _ => {
            let why = format!(
                "{name}: {} has the shape {:?}; expected [n,H,W], [n,C,H,W] or [n,H,W,C] with 1 or 3 channels",
                pair.0, x.shape
            );
            return Err(Refusal::data(80, why));
        }
    };
    if labels.len() != x.shape[0] {
        return Err(Refusal::data(78, format!("{name} has {} images and {} labels", x.shape[0], labels.len())));
    }
    let pixels = match x.values {
        Values::Bytes(v) => Pixels::Bytes(order.apply(v, shape)),
        Values::Floats(v) => Pixels::Floats(order.apply(v.into_iter().map(|v| v as f32).collect(), shape)),
        Values::Integers(_) => {
            let why =
                format!("{name}: {} holds integers of more than 8 bits; expected uint8 (0..255) or floats in [0, 1]", pair.0);
            return Err(Refusal::data(80, why));
        }
        Values::Text(_) => return Err(Refusal::data(80, format!("{name}: {} holds text; expected pixels", pair.0))),
    };
    let notes =
        if pair == ("x", "y") { Vec::new() } else { vec![format!("{name}: images and labels are {} and {}", pair.0, pair.1)] };
    Ok(Raw { shape, pixels, labels, class_names, files: vec![(name.to_owned(), sha256)], notes, first_in_colour: None })
}

enum Order {
    ChannelsFirst,
    ChannelsLast,
}

impl Order {
    /// The elements as [n,C,H,W].
    fn apply<T: Copy>(&self, values: Vec<T>, [c, h, w]: [usize; 3]) -> Vec<T> {
        match self {
            Order::ChannelsFirst => values,
            Order::ChannelsLast => {
                let image = |pixels: &[T]| {
                    (0..c).flat_map(|k| (0..h * w).map(move |i| (k, i))).map(|(k, i)| pixels[i * c + k]).collect::<Vec<T>>()
                };
                values.chunks_exact((c * h * w).max(1)).flat_map(image).collect()
            }
        }
    }
}

enum Values {
    Bytes(Vec<u8>),
    Floats(Vec<f64>),
    Integers(Vec<i64>),
    Text(Vec<String>),
}

struct Array {
    shape: Vec<usize>,
    values: Values,
}

impl Array {
    /// Labels [n] or [n,1] and the names of the classes: those `stated`, or the labels themselves where they are text.
    fn labels(self, archive: &str, array: &str, stated: Vec<String>) -> Result<(Vec<i64>, Vec<String>), Refusal> {
        let refuse = |what: String| Refusal::data(77, format!("{archive}: {what}"));
        if !matches!(self.shape[..], [_] | [_, 1]) {
            let what = format!("{array} has the shape {:?}; expected one label per image, [n] or [n,1]", self.shape);
            return Err(refuse(what).help(format!("for one-hot rows store {array}.argmax(1)")));
        }
        match self.values {
            Values::Integers(v) => Ok((v, stated)),
            Values::Bytes(v) => Ok((v.into_iter().map(i64::from).collect(), stated)),
            Values::Floats(_) => Err(refuse(format!("the labels {array} are floats; expected integers"))
                .help(format!("store them with {array}.astype('int64')"))),
            Values::Text(labels) => {
                let mut names = stated;
                if names.is_empty() {
                    names.clone_from(&labels);
                    names.sort();
                    names.dedup();
                }
                let place = |(row, label): (usize, &String)| {
                    let found = names.iter().position(|n| n == label).map(|p| p as i64);
                    found.ok_or_else(|| refuse(format!("row {row} has the label {}, which is no name of a class", shown(label))))
                };
                let places = labels.iter().enumerate().map(place).collect::<Result<_, _>>()?;
                Ok((places, names))
            }
        }
    }

    /// The names that a list of text holds.
    fn names(self) -> Option<Vec<String>> {
        match (self.shape.len(), self.values) {
            (1, Values::Text(names)) => Some(names.iter().map(|n| escape(n)).collect()),
            _ => None,
        }
    }
}

/// The names of the arrays of an archive.
fn arrays(bytes: &[u8], archive: &str) -> Result<Vec<String>, Refusal> {
    let zip = zip::ZipArchive::new(Cursor::new(bytes))
        .map_err(|e| Refusal::data(85, format!("{archive} is not a readable NumPy archive: {e}")))?;
    Ok(zip.file_names().map(|n| n.trim_end_matches(".npy").to_owned()).collect())
}

/// One array of the archive.
fn member(bytes: &[u8], archive: &str, name: &str) -> Result<Array, Refusal> {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes))
        .map_err(|e| Refusal::data(85, format!("{archive} is not a readable NumPy archive: {e}")))?;
    let file = format!("{name}.npy");
    if zip.index_for_name(&file).is_none() {
        let has: Vec<String> = zip.file_names().map(|n| escape(n.trim_end_matches(".npy"))).collect();
        let why = format!("{archive} has no array {name:?}; it has {}", has.join(", "));
        return Err(Refusal::data(80, why).help("numpy.savez(path, x=images, y=labels)"));
    }
    let member = zip.by_name(&file).map_err(|e| Refusal::data(85, format!("{archive}: array {name} cannot be read: {e}")))?;
    let limit = LARGEST.min(member.compressed_size().saturating_mul(LARGEST_RATIO).saturating_add(1 << 16));
    let mut data = Vec::new();
    member
        .take(limit + 1)
        .read_to_end(&mut data)
        .map_err(|e| Refusal::data(85, format!("{archive}: array {name} is damaged: {e}")))?;
    if data.len() as u64 > limit {
        return Err(Refusal::data(83, format!("{archive}: array {name} decompresses to more than {limit} bytes")));
    }
    array(&data).map_err(|why| Refusal::data(84, format!("{archive}: array {name} {why}")))
}

/// Reads a `.npy` file. The error is a clause («is truncated»).
fn array(bytes: &[u8]) -> Result<Array, String> {
    let word = |at: usize, n: usize| bytes.get(at..at + n).map(|b| b.iter().rev().fold(0usize, |v, &b| v << 8 | usize::from(b)));
    if bytes.get(..6) != Some(b"\x93NUMPY") {
        return Err("is not in the .npy format".to_owned());
    }
    let start = if bytes.get(6) == Some(&1) { 10 } else { 12 };
    let header_len = word(8, start - 8).ok_or("is truncated within its header")?;
    let end = start.checked_add(header_len).filter(|&e| e <= bytes.len()).ok_or("is truncated within its header")?;
    let header = std::str::from_utf8(&bytes[start..end]).map_err(|_| "has a header that is not text")?;
    let descr = field(header, "descr").map(|v| v.trim_matches(['\'', '"'])).ok_or("has a header without an element type")?;
    let fortran = field(header, "fortran_order") == Some("True");
    let shape_text = field(header, "shape").ok_or("has a header without a shape")?;
    let shape: Vec<usize> = shape_text
        .trim_matches(['(', ')'])
        .split(',')
        .map(str::trim)
        .filter(|s| !s.is_empty())
        .map(|s| s.parse().map_err(|_| format!("has the shape {}", shown(shape_text))))
        .collect::<Result<_, _>>()?;
    let count =
        shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n)).ok_or("has a shape that cannot be counted")?;
    let (big, kind) = match descr.split_at_checked(1) {
        Some((">", kind)) => (true, kind),
        Some(("<" | "|" | "=", kind)) => (false, kind),
        _ => (false, descr),
    };
    let unit = if kind.starts_with('U') { 4 } else { 1 };
    let size: usize = kind.get(1..).and_then(|n| n.parse().ok()).and_then(|n: usize| n.checked_mul(unit)).unwrap_or(0);
    let data = &bytes[end..];
    if kind.starts_with('O') {
        return Err("holds Python objects, which are pickles and are never loaded".to_owned());
    }
    if size == 0 || count.checked_mul(size) != Some(data.len()) {
        return Err(format!("says {count} elements of type {} and has {} bytes of them", shown(descr), data.len()));
    }
    if kind.starts_with(['U', 'S']) {
        let texts = data.chunks_exact(size).map(|chunk| text(chunk, unit, big)).collect::<Result<_, _>>()?;
        return Ok(Array { shape, values: Values::Text(texts) });
    }
    let words = data.chunks_exact(size).map(|chunk| {
        let mut word = [0u8; 8];
        for (i, &byte) in chunk.iter().take(8).enumerate() {
            word[if big { size.min(8) - 1 - i } else { i }] = byte;
        }
        u64::from_le_bytes(word)
    });
    let values = match kind {
        "u1" | "b1" => Values::Bytes(data.to_vec()),
        "f4" => Values::Floats(words.map(|w| f64::from(f32::from_bits(w as u32))).collect()),
        "f8" => Values::Floats(words.map(f64::from_bits).collect()),
        "i1" => Values::Integers(words.map(|w| i64::from(w as i8)).collect()),
        "i2" => Values::Integers(words.map(|w| i64::from(w as i16)).collect()),
        "i4" => Values::Integers(words.map(|w| i64::from(w as i32)).collect()),
        "u2" | "u4" => Values::Integers(words.map(|w| w as i64).collect()),
        "i8" | "u8" => Values::Integers(words.map(|w| w as i64).collect()),
        _ => return Err(format!("has elements of type {}; expected uint8, float32, float64 or integers", shown(descr))),
    };
    let values = if fortran { in_row_order(values, &shape) } else { values };
    Ok(Array { shape, values })
}

/// One text of an array: UCS-4 (`<U5`) or bytes (`|S5`), filled up with zeros.
fn text(chunk: &[u8], unit: usize, big: bool) -> Result<String, String> {
    let code =
        |c: &[u8]| c.iter().enumerate().fold(0u32, |v, (i, &b)| v | u32::from(b) << (8 * if big { c.len() - 1 - i } else { i }));
    let characters = chunk.chunks_exact(unit).map(code).map(|c| char::from_u32(c).ok_or("holds text that is not Unicode"));
    let text: String = characters.collect::<Result<_, _>>()?;
    Ok(text.trim_end_matches('\0').to_owned())
}

/// The text of one entry of a header such as `{'descr': '|u1', 'fortran_order': False, 'shape': (3, 4), }`.
fn field<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let rest = header.split_once(&format!("'{name}':"))?.1.trim_start();
    let end = if rest.starts_with('(') { rest.find(')')? + 1 } else { rest.find([',', '}'])? };
    Some(rest[..end].trim())
}

fn in_row_order(values: Values, shape: &[usize]) -> Values {
    fn reorder<T: Copy>(values: Vec<T>, shape: &[usize]) -> Vec<T> {
        let mut strides = vec![1; shape.len()];
        for axis in 1..shape.len() {
            strides[axis] = strides[axis - 1] * shape[axis - 1];
        }
        let position = |mut index: usize| {
            let mut at = 0;
            for axis in (0..shape.len()).rev() {
                at += index % shape[axis] * strides[axis];
                index /= shape[axis];
            }
            at
        };
        (0..values.len()).map(|index| values[position(index)]).collect()
    }
    match values {
        Values::Bytes(v) => Values::Bytes(reorder(v, shape)),
        Values::Floats(v) => Values::Floats(reorder(v, shape)),
        Values::Integers(v) => Values::Integers(reorder(v, shape)),
        Values::Text(v) => Values::Text(v),
    }
}
