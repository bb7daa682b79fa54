//! What host and worker say to each other. Both ends live here, so that they cannot drift apart. The worker may hold hostile code:
//! lengths are limited, and contents are checked by the reader.

use std::path::PathBuf;

use flatscape_contain::Most;
use flatscape_contain::sandbox::Sealed;
use serde::{Deserialize, Serialize};

use crate::component::{Description, Kind};
use crate::params::Arguments;
use crate::program::RawProgram;
use crate::reduction::{ReducedShape, TableShape};
use crate::task::Task;

/// From host to worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Load this file, whose content has this hash, and shut yourself in before, if that is wanted.
    Load { path: PathBuf, sha256: String, sandbox: bool },
    /// Ask a component for its program.
    Build { kind: Kind, component: String, arguments: Arguments, task: Task },
    /// Let a component attack a batch. The files of the memory follow: `inward`, then `outward`.
    Run { kind: Kind, component: String, arguments: Arguments, task: Task, memory: Memory },
    /// Let a component reduce a table, whose numbers follow as bytes.
    Reduce { kind: Kind, component: String, arguments: Arguments, task: Task, table: TableShape },
    /// To [`Reply::Ask`].
    Answer(Answer),
}

/// From worker to host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Loaded {
        description: Description,
        /// What keeps the worker in.
        sealed: Sealed,
    },
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
    /// What a component made of a table; the numbers follow as bytes.
    Reduced(ReducedShape),
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
    /// The worker could not shut itself in.
    Open,
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

/// The layout of the two shared memories of a run. `inward` (the worker may only read it) holds y, then the targets, then x0, then answers;
/// `outward` holds questions. Counts are elements.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
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

impl Ask {
    /// Whether it asks the model nothing.
    pub(crate) fn is_free(&self) -> bool {
        match self {
            Ask::Logits { rows } | Ask::Gradient { rows, .. } | Ask::Offer { rows } => rows.is_empty(),
            Ask::Noise { .. } | Ask::Active => true,
        }
    }
}

/// The answer: a status, the words if it is not 0, and for `Active` the flags.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub status: i32,
    pub words: String,
    pub active: Vec<bool>,
    pub cancelled: bool,
}

/// The most that a worker may say at once: lists of rows, descriptions and log lines. The graphs of a program come as raw bytes.
pub(crate) const WORDS: Most = Most { words: 8 << 20, bytes: 0 };
pub(crate) const PROGRAM: Most = Most { bytes: 256 << 20, ..WORDS };
/// Numbers of a reduction.
pub(crate) const REDUCED: Most = PROGRAM;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_task_keep_their_bits() {
        let task = Task { eps: 0.1 + 0.2, ..Task::new([3, 32, 32], 10, "linf", 8.0 / 255.0) };
        let request =
            Request::Build { kind: Kind::Attack, component: "pgd".into(), arguments: Arguments::default(), task: task.clone() };
        let mut pipe = Vec::new();
        flatscape_contain::send(&mut pipe, &request, &[]).unwrap();
        let (back, _) = flatscape_contain::receive::<Request>(&mut pipe.as_slice(), WORDS).unwrap();
        assert!(matches!(back, Request::Build { task: t, .. } if t == task));
    }
}
