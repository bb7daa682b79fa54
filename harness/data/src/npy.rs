//! The `.npy` format: a header with element type and shape, then the elements. Read as a stream; what the header states is looked
//! at before anything is allocated. Object arrays are refused: they are pickles.

use std::io::Read;

use flatscape_graph::shown;

use super::stream::{self, fill};

/// Largest header, in bytes; NumPy writes some hundreds.
const LARGEST_HEADER: usize = 64 << 10;

/// Largest element, in bytes: a text.
const LARGEST_ELEMENT: usize = 4 << 10;

/// Why an array cannot be read.
pub(super) enum Fault {
    /// The stream is damaged.
    Damaged(std::io::Error),
    /// What it holds is wrong: a clause («is truncated»).
    Malformed(String),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        Fault::Damaged(error)
    }
}

fn malformed<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Malformed(why.into()))
}

/// What one element is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// 0..255.
    Byte,
    Signed,
    Unsigned,
    Float,
    /// UCS-4 (`<U5`) or bytes (`|S5`), filled up with zeros.
    Wide,
    Narrow,
}

/// The header of an array.
#[derive(Clone)]
pub(super) struct Header {
    pub(super) shape: Vec<usize>,
    /// How many elements.
    pub(super) count: usize,
    pub(super) kind: Kind,
    /// Bytes of an element.
    pub(super) size: usize,
    big: bool,
    fortran: bool,
    descr: String,
}

impl Header {
    /// Reads the header; the elements follow in the stream.
    pub(super) fn read(reader: &mut dyn Read) -> Result<Header, Fault> {
        let mut magic = [0; 8];
        let filled = fill(reader, &mut magic)?;
        if !magic[..filled].starts_with(b"\x93NUMPY") {
            return malformed("is not in the .npy format");
        }
        let mut length = [0; 4];
        let width = if magic[6] == 1 { 2 } else { 4 };
        if filled < magic.len() || fill(reader, &mut length[..width])? < width {
            return malformed("is truncated within its header");
        }
        let length = u32::from_le_bytes(length) as usize;
        if length > LARGEST_HEADER {
            return malformed(format!("says that its header has {length} bytes; {LARGEST_HEADER} is the limit"));
        }
        let mut header = vec![0; length];
        if fill(reader, &mut header)? < length {
            return malformed("is truncated within its header");
        }
        let Ok(header) = std::str::from_utf8(&header) else { return malformed("has a header that is not text") };
        Header::parse(header).map_err(Fault::Malformed)
    }

    fn parse(header: &str) -> Result<Header, String> {
        let descr = field(header, "descr").map(|v| v.trim_matches(['\'', '"'])).ok_or("has a header without an element type")?;
        let shape_text = field(header, "shape").ok_or("has a header without a shape")?;
        let shape: Vec<usize> = shape_text
            .trim_matches(['(', ')'])
            .split(',')
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .map(|s| s.parse().map_err(|_| format!("has the shape {}", shown(shape_text))))
            .collect::<Result<_, _>>()?;
        let (big, name) = match descr.split_at_checked(1) {
            Some((">", name)) => (true, name),
            Some(("<" | "|" | "=", name)) => (false, name),
            _ => (false, descr),
        };
        let (kind, size) = match name {
            "u1" | "b1" => (Kind::Byte, 1),
            "i1" => (Kind::Signed, 1),
            "u2" => (Kind::Unsigned, 2),
            "i2" => (Kind::Signed, 2),
            "u4" => (Kind::Unsigned, 4),
            "i4" => (Kind::Signed, 4),
            "u8" => (Kind::Unsigned, 8),
            "i8" => (Kind::Signed, 8),
            "f4" => (Kind::Float, 4),
            "f8" => (Kind::Float, 8),
            _ if name.starts_with('O') => {
                return Err("holds Python objects, which are pickles and are never loaded".to_owned());
            }
            _ => {
                let length =
                    name.get(1..).and_then(|n| n.parse::<usize>().ok()).filter(|n| (1..=LARGEST_ELEMENT / 4).contains(n));
                match (name.as_bytes().first(), length) {
                    (Some(b'U'), Some(n)) => (Kind::Wide, 4 * n),
                    (Some(b'S'), Some(n)) => (Kind::Narrow, n),
                    _ => {
                        let what = format!("has elements of type {}", shown(descr));
                        return Err(format!("{what}; expected uint8, float32, float64, integers or short texts"));
                    }
                }
            }
        };
        // extents beside a 0 count, too: they are multiplied by others
        let all = shape.iter().try_fold(size, |product, &n| product.checked_mul(n.max(1)));
        if all.is_none_or(|bytes| bytes > isize::MAX as usize) {
            return Err("has a shape that cannot be counted".to_owned());
        }
        let count = shape.iter().product();
        let fortran = field(header, "fortran_order") == Some("True");
        Ok(Header { shape, count, kind, size, big, fortran, descr: descr.to_owned() })
    }

    /// Bytes of all elements.
    pub(super) fn bytes(&self) -> u64 {
        self.count as u64 * self.size as u64
    }

    /// The elements of the stream in row order, as a stream. Columns are read whole: `most` bytes of them.
    pub(super) fn in_rows<'r>(&self, reader: &'r mut dyn Read, most: u64) -> Result<Box<dyn Read + 'r>, Fault> {
        if !self.fortran || self.shape.len() < 2 {
            return Ok(Box::new(reader));
        }
        if self.bytes() > most {
            let what = format!("has {} bytes in column order, which are read whole, and {most} is the limit", self.bytes());
            return malformed(format!("{what}; store it in row order, with numpy.ascontiguousarray"));
        }
        let mut columns = Vec::new();
        let read = stream::pieces(reader, self.bytes(), self.size, |piece| columns.extend_from_slice(piece))?;
        self.all_there(self.bytes(), read, reader)?;
        Ok(Box::new(std::io::Cursor::new(in_row_order(&columns, &self.shape, self.size))))
    }

    /// Refuses an array of which fewer than `expected` bytes were there, or, where those are all, which does not end with them.
    pub(super) fn all_there(&self, expected: u64, read: u64, reader: &mut dyn Read) -> Result<(), Fault> {
        let has = match read >= expected {
            true if expected < self.bytes() || stream::ends(reader)? => return Ok(()),
            true => format!("more than {read}"),
            false => read.to_string(),
        };
        malformed(format!("says {} elements of type {} and has {has} bytes of them", self.count, shown(&self.descr)))
    }

    /// Whether the elements are texts.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Wide | Kind::Narrow)
    }

    /// The bits of a number, as the lowest of 64.
    fn word(&self, element: &[u8]) -> u64 {
        let add = |word: u64, &byte: &u8| word << 8 | u64::from(byte);
        if self.big { element.iter().fold(0, add) } else { element.iter().rev().fold(0, add) }
    }

    /// A number of the kind `Float`.
    pub(super) fn float(&self, element: &[u8]) -> f32 {
        let word = self.word(element);
        if self.size == 4 { f32::from_bits(word as u32) } else { f64::from_bits(word) as f32 }
    }

    /// A whole number.
    pub(super) fn integer(&self, element: &[u8]) -> i64 {
        let word = self.word(element);
        let above = 64 - 8 * self.size.min(8) as u32;
        if self.kind == Kind::Signed { (word << above) as i64 >> above } else { word as i64 }
    }

    /// A text; `None` if it is not Unicode.
    pub(super) fn text(&self, element: &[u8]) -> Option<String> {
        let unit = if self.kind == Kind::Wide { 4 } else { 1 };
        let mut characters = element.chunks_exact(unit).map(|c| u32::try_from(self.word(c)).ok().and_then(char::from_u32));
        let text: String = characters.by_ref().collect::<Option<String>>()?;
        Some(text.trim_end_matches('\0').to_owned())
    }
}

/// The text of one entry of a header such as `{'descr': '|u1', 'fortran_order': False, 'shape': (3, 4), }`.
fn field<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let rest = header.split_once(&format!("'{name}':"))?.1.trim_start();
    let end = if rest.starts_with('(') { rest.find(')')? + 1 } else { rest.find([',', '}'])? };
    Some(rest[..end].trim())
}

/// Elements of `size` bytes in row order, from those in column order.
fn in_row_order(columns: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
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
    let mut rows = Vec::with_capacity(columns.len());
    for index in 0..columns.len() / size {
        let at = position(index) * size;
        rows.extend_from_slice(&columns[at..at + size]);
    }
    rows
}
