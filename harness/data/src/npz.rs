//! NumPy archives with the arrays `x` and `y`: uint8 images (divided by 255) or floats in [0,1], shaped [n,H,W], [n,C,H,W] or
//! [n,H,W,C]; integer labels [n]. Object arrays are refused: they are pickles.

use std::io::{Cursor, Read};
use std::path::Path;

use flatscape_graph::shown;

use super::{Format, Pixels, Raw, Request, listed, open};
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

fn read(path: &Path, _: &Request) -> Result<Raw, Refusal> {
    let file = open(path)?;
    let mut raw = parse(&file.bytes, &show(path), file.sha256.clone())?;
    raw.files = vec![listed(&file)];
    Ok(raw)
}

/// Reads an archive from memory; `name` is for messages.
pub(super) fn parse(bytes: &[u8], name: &str, sha256: String) -> Result<Raw, Refusal> {
    let x = member(bytes, name, "x")?;
    let y = member(bytes, name, "y")?;
    let labels = y.labels(name)?;
    let (shape, order) = match x.shape[..] {
        [_, h, w] => ([1, h, w], Order::ChannelsFirst),
        [_, a, b, c] if matches!(c, 1 | 3) && !matches!(a, 1 | 3) => ([c, a, b], Order::ChannelsLast),
        [_, c, h, w] => ([c, h, w], Order::ChannelsFirst),
        _ => {
            let why =
                format!("{name}: x has the shape {:?}; expected [n,H,W], [n,C,H,W] or [n,H,W,C] with 1 or 3 channels", x.shape);
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
            let why = format!("{name}: x holds integers of more than 8 bits; expected uint8 (0..255) or floats in [0, 1]");
            return Err(Refusal::data(80, why));
        }
    };
    Ok(Raw { shape, pixels, labels, class_names: Vec::new(), files: vec![(name.to_owned(), sha256)], notes: Vec::new() })
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
}

struct Array {
    shape: Vec<usize>,
    values: Values,
}

impl Array {
    fn labels(self, name: &str) -> Result<Vec<i64>, Refusal> {
        match (self.shape.len(), self.values) {
            (1, Values::Integers(v)) => Ok(v),
            (1, Values::Bytes(v)) => Ok(v.into_iter().map(i64::from).collect()),
            (1, Values::Floats(_)) => Err(Refusal::data(77, format!("{name}: the labels y are floats; expected integers"))
                .help("store them with y.astype('int64')")),
            _ => Err(Refusal::data(77, format!("{name}: y has the shape {:?}; expected one label per image, [n]", self.shape))
                .help("for one-hot rows store y.argmax(1)")),
        }
    }
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
    let size: usize = kind.get(1..).and_then(|n| n.parse().ok()).unwrap_or(0);
    let data = &bytes[end..];
    if kind.starts_with('O') {
        return Err("holds Python objects, which are pickles and are never loaded".to_owned());
    }
    if size == 0 || count.checked_mul(size) != Some(data.len()) {
        return Err(format!("says {count} elements of type {} and has {} bytes of them", shown(descr), data.len()));
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
    }
}
