//! What host and worker say to each other: frames of a JSON message and raw bytes over one socket. Both ends live here, so
//! that they cannot drift apart. The worker may hold hostile code: lengths are limited, and contents are checked by the reader.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::component::Description;
use crate::params::Arguments;
use crate::program::RawProgram;
use crate::task::Task;

/// From host to worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Load this file, whose content has this hash.
    Load { path: PathBuf, sha256: String },
    /// Ask a component for its program.
    Build { component: String, arguments: Arguments, task: Task },
    /// Let a component attack a batch.
    Run { component: String, arguments: Arguments, task: Task, memory: Memory },
    /// To [`Reply::Ask`].
    Answer(Answer),
}

/// From worker to host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Loaded(Description),
    /// The file cannot be a plugin of ours; a clause.
    Refused {
        id: Refusal,
        clause: String,
    },
    /// The bytes of the graphs follow, one after the other.
    Built {
        program: RawProgram,
        lengths: Vec<u64>,
    },
    /// The component answered a status other than 0.
    Fault(Fault),
    Ask(Ask),
    Finished,
    Log {
        level: i32,
        words: String,
    },
}

/// Why a file is refused while it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    Changed,
    CannotLoad,
    NoSymbol,
    WrongVersion,
    Malformed,
}

/// A status and the words that came with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub status: i32,
    pub words: String,
}

/// The two shared files of a run. `inward` (the worker may only read it) holds y, then the targets, then x0, then answers;
/// `outward` holds questions. Counts are elements.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub inward: PathBuf,
    pub outward: PathBuf,
    pub samples: usize,
    /// Rows of one question at most.
    pub rows: usize,
    /// float32 elements of the area for answers, and of `outward`.
    pub answer: usize,
    pub question: usize,
}

impl Memory {
    /// Where x0 begins in `inward`, in bytes.
    pub(crate) fn x0_at(&self, targeted: bool) -> usize {
        8 * self.samples * if targeted { 2 } else { 1 }
    }

    /// Where answers begin in `inward`, in bytes.
    pub(crate) fn answers_at(&self, pixels: usize, targeted: bool) -> usize {
        self.x0_at(targeted) + 4 * self.samples * pixels
    }
}

/// A question of an `oracle/1` component; `rows[r]` is the sample of row r. Points lie at the start of `outward`, cotangents
/// after them; what is answered lies at the start of the area for answers, losses after gradients.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    Logits { rows: Vec<i64> },
    Gradient { rows: Vec<i64>, cotangents: bool },
    Noise { law: i32, stream: u32, rows: Vec<i64>, shape: Vec<usize> },
    Active,
    Offer { rows: Vec<i64> },
}

/// The answer: a status, the words if it is not 0, and for `Active` the flags.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub status: i32,
    pub words: String,
    pub active: Vec<bool>,
    pub cancelled: bool,
}

const MOST_WORDS: u32 = 64 << 20;
const MOST_BYTES: u64 = 1 << 30;

/// Writes one frame.
pub(crate) fn send(to: &mut impl Write, message: &impl Serialize, bytes: &[u8]) -> io::Result<()> {
    let words = serde_json::to_vec(message)?;
    let length = u32::try_from(words.len()).ok().filter(|n| *n <= MOST_WORDS).ok_or_else(too_long)?;
    let mut frame = Vec::with_capacity(12 + words.len() + bytes.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    frame.extend_from_slice(&words);
    frame.extend_from_slice(bytes);
    to.write_all(&frame)?;
    to.flush()
}

/// Reads one frame; `UnexpectedEof` when the other end is gone, `InvalidData` when it does not speak this language.
pub(crate) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<(T, Vec<u8>)> {
    let mut head = [0; 12];
    from.read_exact(&mut head)?;
    let [a, b, c, d, rest @ ..] = head;
    let length = u32::from_le_bytes([a, b, c, d]);
    let bytes = u64::from_le_bytes(rest);
    if length > MOST_WORDS || bytes > MOST_BYTES {
        return Err(too_long());
    }
    let words = read_all(from, u64::from(length))?;
    let bytes = read_all(from, bytes)?;
    let message = serde_json::from_slice(&words).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    Ok((message, bytes))
}

/// Grows with what really arrives, so that an announced length costs nothing.
fn read_all(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    let mut limited = from.take(length);
    limited.read_to_end(&mut data)?;
    if data.len() as u64 == length { Ok(data) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message is too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_and_numbers_keep_their_bits() {
        let task = Task { eps: 0.1 + 0.2, ..Task::new([3, 32, 32], 10, "linf", 8.0 / 255.0) };
        let request = Request::Build { component: "pgd".into(), arguments: Arguments::default(), task: task.clone() };
        let mut pipe = Vec::new();
        send(&mut pipe, &request, b"abc").unwrap();
        let (back, bytes) = receive::<Request>(&mut pipe.as_slice()).unwrap();
        assert!(matches!(back, Request::Build { task: t, .. } if t == task));
        assert_eq!(bytes, b"abc");
    }

    #[test]
    fn announced_lengths_are_not_believed() {
        let mut frame = Vec::new();
        frame.extend_from_slice(&10u32.to_le_bytes());
        frame.extend_from_slice(&(1u64 << 29).to_le_bytes());
        frame.extend_from_slice(b"\"Finished\"");
        let error = receive::<Reply>(&mut frame.as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let error = receive::<Reply>(&mut [255u8; 64].as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
