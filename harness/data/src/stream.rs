//! Images that come out of a stream, compressed or not: how many of them are held, and whether the rest is read for the hash. Sizes
//! are those that a header states. They are compared with the size of the file before anything is allocated, because a few
//! megabytes can inflate to gigabytes.

use std::io::{ErrorKind, Read};

use flatscape_graph::hash::Sha256;

use super::{LARGEST_DATA, Request};
use crate::refusal::Refusal;

/// What a file may unfold to, in bytes: this many, …
const FREE: u64 = 64 << 20;
/// … plus this many times its size. Deflate reaches about 1032 on bytes that are all equal, photographs and digits 1 to 20.
const RATIO: u64 = 200;

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// The bytes that may come out of a file of this size.
pub(super) fn allowed(file: u64) -> u64 {
    LARGEST_DATA.min(FREE.saturating_add(RATIO.saturating_mul(file)))
}

/// What headers state about the images of a file, and what that takes.
pub(super) struct Stated {
    /// How many there are.
    pub(super) count: usize,
    /// Bytes of one image and of its label in the stream.
    pub(super) stored: u64,
    /// Bytes of one image and of its label in memory.
    pub(super) in_memory: u64,
    /// Bytes of the file.
    pub(super) file: u64,
}

/// How much of the images of a file is held and read.
#[derive(Clone, Copy)]
pub(super) struct Share {
    /// How many there are.
    pub(super) count: usize,
    /// How many are held: the first ones.
    pub(super) held: usize,
    /// Whether all are read, so that the hash is that of all.
    pub(super) whole: bool,
}

impl Share {
    /// The images that were asked for. The rest is read, too, where that is not much for a file of its size.
    ///
    /// # Errors
    /// `D083`: what was asked for takes more than a file of this size may unfold to.
    pub(super) fn of(name: &str, stated: &Stated, request: &Request) -> Result<Share, Refusal> {
        let count = stated.count;
        let held = request.limit.map_or(count, |n| n.clamp(1, count.max(1)).min(count));
        let most = allowed(stated.file);
        let takes = |n: usize, each: u64| (n as u64).saturating_mul(each);
        let needed = takes(held, stated.in_memory.max(stated.stored));
        if needed > most {
            let fit = most / stated.in_memory.max(stated.stored).max(1);
            let what = format!("{name}: {held} of its {count} images would take {needed} bytes");
            let refusal = Refusal::data(83, format!("{what}, and the limit for a file of {} bytes is {most}", stated.file));
            return Err(if fit > 0 { refusal.help(format!("take at most {fit} of them: -n {fit}")) } else { refusal });
        }
        let whole = takes(count, stated.stored) <= most && takes(count, size_of::<i64>() as u64) <= most;
        Ok(Share { count, held, whole })
    }

    /// How many images and labels are read.
    pub(super) fn read(&self) -> usize {
        if self.whole { self.count } else { self.held }
    }

    /// The images that are not held, if there are any; `hash` is that of what was read.
    pub(super) fn behind(&self, hash: Sha256) -> Option<Behind> {
        let sha256 = self.whole.then(|| hash.text());
        (self.held < self.count).then_some(Behind { count: self.count, sha256 })
    }
}

/// Images behind the limit, which are not held.
pub(super) struct Behind {
    /// How many images there are in all.
    pub(super) count: usize,
    /// SHA-256 of all, as [`super::Dataset::sha256`]; `None` if they were not read.
    pub(super) sha256: Option<String>,
}

/// The hash of a split, before its pixels and then its labels are added.
pub(super) fn hash_of(shape: [usize; 3], count: usize) -> Sha256 {
    let mut hash = Sha256::default();
    hash.update(format!("{shape:?} {count} ").as_bytes());
    hash
}

/// Fills `buffer` from the stream; fewer bytes only at its end.
///
/// # Errors
/// The stream is damaged.
pub(super) fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Reads `length` bytes in pieces, whole units of `unit` bytes each. Returns how many there were, fewer only at the end of the
/// stream.
///
/// # Errors
/// The stream is damaged.
pub(super) fn pieces(reader: &mut dyn Read, length: u64, unit: usize, mut take: impl FnMut(&[u8])) -> std::io::Result<u64> {
    let unit = unit.max(1);
    let mut buffer = vec![0; (PIECE / unit).max(1) * unit];
    let mut read = 0;
    while read < length {
        let wanted = usize::try_from(length - read).map_or(buffer.len(), |rest| rest.min(buffer.len()));
        let filled = fill(reader, &mut buffer[..wanted])?;
        take(&buffer[..filled / unit * unit]);
        read += filled as u64;
        if filled < wanted {
            break;
        }
    }
    Ok(read)
}

/// Whether the stream has an end here.
///
/// # Errors
/// The stream is damaged.
pub(super) fn ends(reader: &mut dyn Read) -> std::io::Result<bool> {
    Ok(fill(reader, &mut [0])? == 0)
}
