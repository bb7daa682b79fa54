//! A look over the wire format before anything is decoded: where the file breaks off, how deep it nests and how much it
//! holds. Memory use is constant; a small file cannot make the decoder allocate a large amount.

use super::fault::{Fault, ReadError};

/// The most nodes a model may have, over all its graphs.
pub const NODES: usize = 1_000_000;
/// The most messages (nodes, attributes, tensors, value descriptions, …) a file may hold.
const MESSAGES: usize = 6_000_000;
/// How deep graphs may nest in attributes.
const DEPTH: usize = 16;

/// What the look found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Graphs at the top level.
    pub graphs: usize,
    /// Fields that the schema does not know. Decoding drops them.
    pub unknown: usize,
    /// Descriptions in prose. Reading drops them.
    pub docs: usize,
    nodes: usize,
    messages: usize,
}

/// A message type of the schema, as far as the look needs it.
struct Schema {
    name: &'static str,
    /// Bit n is set if field n exists.
    known: u64,
    /// Fields that are messages to look into.
    children: &'static [(u64, &'static str, &'static Schema)],
    /// Fields that are messages to count only.
    leaves: &'static [u64],
    /// The field that holds prose.
    doc: u64,
}

const fn bits(ranges: &[(u64, u64)]) -> u64 {
    let mut set = 0;
    let mut i = 0;
    while i < ranges.len() {
        let mut n = ranges[i].0;
        while n <= ranges[i].1 {
            set |= 1 << n;
            n += 1;
        }
        i += 1;
    }
    set
}

static MODEL: Schema = Schema {
    name: "model",
    known: bits(&[(1, 8), (14, 14), (20, 20), (25, 26)]),
    children: &[(7, "graph", &GRAPH), (25, "functions", &FUNCTION)],
    leaves: &[8, 14, 20, 26],
    doc: 6,
};
static GRAPH: Schema = Schema {
    name: "graph",
    known: bits(&[(1, 2), (5, 5), (10, 16)]),
    children: &[(1, "node", &NODE), (5, "initializer", &TENSOR)],
    leaves: &[11, 12, 13, 14, 15, 16],
    doc: 10,
};
static FUNCTION: Schema = Schema {
    name: "function",
    known: bits(&[(1, 1), (4, 14)]),
    children: &[(7, "node", &NODE), (11, "attribute_proto", &ATTRIBUTE)],
    leaves: &[9, 12, 14],
    doc: 8,
};
static NODE: Schema =
    Schema { name: "node", known: bits(&[(1, 10)]), children: &[(5, "attribute", &ATTRIBUTE)], leaves: &[9, 10], doc: 6 };
static ATTRIBUTE: Schema = Schema {
    name: "attribute",
    known: bits(&[(1, 11), (13, 15), (20, 23)]),
    children: &[(5, "t", &TENSOR), (6, "g", &GRAPH), (10, "tensors", &TENSOR), (11, "graphs", &GRAPH)],
    leaves: &[14, 15, 22, 23],
    doc: 13,
};
static TENSOR: Schema =
    Schema { name: "tensor", known: bits(&[(1, 14), (16, 16)]), children: &[], leaves: &[3, 13, 16], doc: 12 };

/// Looks over a whole file.
pub(super) fn scan(bytes: &[u8]) -> Result<Scan, ReadError> {
    let mut found = Scan::default();
    found.message(&MODEL, bytes, 0, bytes.len(), 0)?;
    Ok(found)
}

impl Scan {
    /// Looks over one message that occupies `at..end`. `graphs` graphs are open around it.
    fn message(&mut self, schema: &Schema, bytes: &[u8], mut at: usize, end: usize, graphs: usize) -> Result<(), ReadError> {
        while at < end {
            let start = at;
            let key = varint(bytes, &mut at, end, schema.name)?;
            let (field, wire) = (key >> 3, key & 7);
            if field == 0 || key > u64::from(u32::MAX) {
                return Err(malformed(start, "a field with an impossible number"));
            }
            if field > 63 || schema.known >> field & 1 == 0 {
                self.unknown += 1;
            }
            self.docs += usize::from(field == schema.doc);
            let length = match wire {
                0 => {
                    varint(bytes, &mut at, end, schema.name)?;
                    continue;
                }
                1 => 8,
                5 => 4,
                2 => varint(bytes, &mut at, end, schema.name)?,
                _ => return Err(malformed(start, "a field of a kind that ONNX does not use")),
            };
            let left = (end - at) as u64;
            let child = schema.children.iter().find(|(n, ..)| *n == field);
            if length > left {
                let name = child.map_or_else(|| format!("field {field} of a {}", schema.name), |(_, n, _)| format!("field {n}"));
                let what = format!("{name} (at byte {start}) says {length} bytes, {left} left");
                return Err(if end == bytes.len() { cut_off(what) } else { malformed(start, &what) });
            }
            let stop = at + length as usize;
            if let (Some((_, _, inner)), 2) = (child, wire) {
                self.graphs += usize::from(schema.name == "model" && inner.name == "graph");
                self.nodes += usize::from(inner.name == "node");
                self.count()?;
                let graphs = graphs + usize::from(inner.name == "graph");
                if graphs > DEPTH {
                    let what = format!("the file nests more than {DEPTH} graphs inside each other");
                    return Err(ReadError::new(Fault::NESTED, what));
                }
                self.message(inner, bytes, at, stop, graphs)?;
            } else if schema.leaves.contains(&field) {
                self.count()?;
            }
            at = stop;
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), ReadError> {
        self.messages += 1;
        if self.nodes > NODES {
            return Err(ReadError::new(Fault::TOO_MANY, format!("the file has more than {NODES} nodes")));
        }
        if self.messages > MESSAGES {
            return Err(ReadError::new(Fault::TOO_MANY, format!("the file has more than {MESSAGES} messages")));
        }
        Ok(())
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
