//! A look over the wire format before anything is decoded: where the file breaks off, how deep it nests, how much it holds and how
//! much memory decoding it would take. Takes no memory itself; a small file cannot make the decoder allocate a large amount.

use super::fault::{Fault, ReadError};
use super::schema::{Field, GRAPH, KINDS, Kind, MODEL, Message};

/// How deep graphs may nest in attributes.
const GRAPHS: usize = 16;
/// How deep messages may nest; every protobuf library refuses more.
const MESSAGES: usize = 100;
/// The most names of operands, results and the like, all together.
const NAMES: usize = 4_000_000;
/// Memory that decoding may take beyond the bytes of the file: so much, …
const SLACK: u64 = 64 << 20;
/// … plus this many times the length of the file, …
const FACTOR: u64 = 8;
/// … but never more than this.
const EXCESS: u64 = 1 << 30;

/// What the look found.
#[derive(Debug)]
pub(super) struct Scan {
    /// Graphs at the top level. More than one are merged by every protobuf library.
    pub graphs: usize,
    /// Fields that the schema does not know. Decoding drops them.
    pub unknown: usize,
    /// Descriptions in prose. Reading drops them.
    pub docs: usize,
    names: usize,
    /// Messages of each kind.
    counts: [usize; KINDS],
    /// Bytes that the decoded file takes beyond its own length.
    excess: u64,
}

/// Looks over a whole file.
pub(super) fn scan(bytes: &[u8]) -> Result<Scan, ReadError> {
    let mut found = Scan { graphs: 0, unknown: 0, docs: 0, names: 0, counts: [0; KINDS], excess: 0 };
    let most = (bytes.len() as u64).saturating_mul(FACTOR).saturating_add(SLACK).min(EXCESS);
    found.message(&MODEL, bytes, (0, bytes.len()), Depth { graphs: 0, messages: 1 }, most)?;
    Ok(found)
}

/// How many graphs and messages are open.
#[derive(Clone, Copy)]
struct Depth {
    graphs: usize,
    messages: usize,
}

impl Scan {
    /// Looks over one message that occupies `at..end`. Decoding may take `most` bytes more than the file has.
    fn message(
        &mut self,
        kind: &Message,
        bytes: &[u8],
        (mut at, end): (usize, usize),
        depth: Depth,
        most: u64,
    ) -> Result<(), ReadError> {
        while at < end {
            let start = at;
            let key = varint(bytes, &mut at, end, kind.name)?;
            let (number, wire) = (key >> 3, key & 7);
            if number == 0 || key > u64::from(u32::MAX) {
                return Err(malformed(start, "a field with an impossible number"));
            }
            let field = kind.fields.iter().find(|f| f.number == number);
            self.unknown += usize::from(field.is_none());
            let length = match wire {
                0 => {
                    varint(bytes, &mut at, end, kind.name)?;
                    0
                }
                1 => 8,
                5 => 4,
                2 => varint(bytes, &mut at, end, kind.name)?,
                _ => return Err(malformed(start, "a field of a kind that ONNX does not use")),
            };
            let left = (end - at) as u64;
            if length > left {
                let name = field.map_or_else(|| format!("{number} of a {}", kind.name), |f| f.name.to_owned());
                let what = format!("field {name} (at byte {start}) says {length} bytes, {left} left");
                return Err(if end == bytes.len() { cut_off(what) } else { malformed(start, &what) });
            }
            let stop = at + length as usize;
            if let Some(field) = field {
                if !fits(field.kind, wire, length) {
                    let what = format!("the field {} of a {} is not of its kind", field.name, kind.name);
                    return Err(malformed(start, &what));
                }
                self.field(kind, field, bytes, (start, at, stop), depth, most)?;
            }
            at = stop;
        }
        Ok(())
    }

    /// Counts a field whose key stands at `start` and whose value occupies `at..stop`.
    fn field(
        &mut self,
        kind: &Message,
        field: &Field,
        bytes: &[u8],
        (start, at, stop): (usize, usize, usize),
        depth: Depth,
        most: u64,
    ) -> Result<(), ReadError> {
        let decoded = match field.kind {
            Kind::Number | Kind::Float | Kind::Bytes => 0,
            Kind::Prose => {
                self.docs += 1;
                0
            }
            Kind::List => {
                self.names += 1;
                size_of::<Vec<u8>>()
            }
            Kind::Numbers(size) => bytes[at..stop].iter().filter(|b| **b < 0x80).count().max(1) * size,
            Kind::Fixed(size) => (stop - at).max(size),
            Kind::Message(inner) => inner.size,
        };
        self.excess = self.excess.saturating_add(decoded.saturating_sub(stop - start) as u64);
        if self.names > NAMES {
            return Err(ReadError::new(Fault::TOO_MANY, format!("the file has more than {NAMES} names in its lists, the limit")));
        }
        if self.excess > most {
            let what = format!("the file would take {} MB more than its own {} bytes in memory", self.excess >> 20, bytes.len());
            return Err(ReadError::new(Fault::TOO_MANY, what).help("does it hold millions of empty nodes, names or attributes?"));
        }
        let Kind::Message(inner) = field.kind else { return Ok(()) };
        let count = &mut self.counts[inner.index];
        *count += 1;
        if *count > inner.most {
            let what = format!("the file has more than {} {}s, the limit", inner.most, inner.name);
            return Err(ReadError::new(Fault::TOO_MANY, what));
        }
        let is_graph = std::ptr::eq(inner, &GRAPH);
        self.graphs += usize::from(is_graph && std::ptr::eq(kind, &MODEL));
        let depth = Depth { graphs: depth.graphs + usize::from(is_graph), messages: depth.messages + 1 };
        if depth.graphs > GRAPHS {
            let what = format!("the file nests more than {GRAPHS} graphs inside each other");
            return Err(ReadError::new(Fault::NESTED, what));
        }
        if depth.messages > MESSAGES {
            return Err(malformed(start, &format!("more than {MESSAGES} messages inside each other")));
        }
        self.message(inner, bytes, (at, stop), depth, most)
    }
}

/// Whether a field of this kind may be written in this way.
fn fits(kind: Kind, wire: u64, length: u64) -> bool {
    match (kind, wire) {
        (Kind::Number | Kind::Numbers(_), 0) | (Kind::Float | Kind::Fixed(4), 5) | (Kind::Fixed(8), 1) => true,
        (Kind::Fixed(size), 2) => length.is_multiple_of(size as u64),
        (Kind::Numbers(_) | Kind::Bytes | Kind::List | Kind::Prose | Kind::Message(_), 2) => true,
        _ => false,
    }
}

/// Reads a varint of at most ten bytes.
fn varint(bytes: &[u8], at: &mut usize, end: usize, inside: &str) -> Result<u64, ReadError> {
    let start = *at;
    let mut value = 0u64;
    for (i, &byte) in bytes[start..end].iter().take(10).enumerate() {
        if i == 9 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *at = start + i + 1;
            return Ok(value);
        }
    }
    if end - start < 10 && end == bytes.len() {
        return Err(cut_off(format!("a number in a {inside} (at byte {start}) has no end")));
    }
    Err(malformed(start, "a number without an end"))
}

fn cut_off(what: String) -> ReadError {
    ReadError::new(Fault::TRUNCATED, format!("the file is cut off: {what}")).help("download or copy the model again")
}

fn malformed(at: usize, what: &str) -> ReadError {
    ReadError::new(Fault::MALFORMED, format!("malformed protobuf at byte {at}: {what}"))
        .help("download or export the model again")
}
