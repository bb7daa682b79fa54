//! What two processes say to each other: frames of a JSON message and raw bytes over one socket. The other end may be hostile:
//! lengths are limited by the reader, and contents are checked by whoever asked.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most that a reader takes.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// Bytes of the JSON message.
    pub words: u32,
    /// Raw bytes behind it.
    pub bytes: u64,
}

impl Most {
    /// For messages from a process that is trusted: any that can be written.
    pub const TRUSTED: Most = Most { words: 1 << 30, bytes: 1 << 40 };
}

/// The most bytes of a frame that are written in one call. The buffer of a socket holds more.
const ONE_WRITE: usize = 1 << 17;

/// Writes one frame; `parts` are its raw bytes, one after the other.
///
/// # Errors
/// `InvalidData` if the message is too long for a frame; otherwise what the writer says.
pub fn send(to: &mut impl Write, message: &impl Serialize, parts: &[&[u8]]) -> io::Result<()> {
    let words = serde_json::to_vec(message)?;
    let length = u32::try_from(words.len()).ok().filter(|n| *n <= Most::TRUSTED.words).ok_or_else(too_long)?;
    let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
    let mut head = Vec::with_capacity(12 + words.len());
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(&bytes.to_le_bytes());
    head.extend_from_slice(&words);
    // what is short goes in one write: every write wakes the reader
    for part in parts {
        if head.len() + part.len() > ONE_WRITE {
            to.write_all(&head)?;
            head.clear();
        }
        if part.len() > ONE_WRITE { to.write_all(part)? } else { head.extend_from_slice(part) }
    }
    to.write_all(&head)?;
    to.flush()
}

/// Reads one frame.
///
/// # Errors
/// `UnexpectedEof` when the other end is gone, `InvalidData` when it does not speak this language or says more than `most`.
pub fn receive<T: DeserializeOwned>(from: &mut impl Read, most: Most) -> io::Result<(T, Vec<u8>)> {
    let mut head = [0; 12];
    from.read_exact(&mut head)?;
    let [a, b, c, d, rest @ ..] = head;
    let length = u32::from_le_bytes([a, b, c, d]);
    let bytes = u64::from_le_bytes(rest);
    if length > most.words || bytes > most.bytes {
        return Err(too_long());
    }
    let words = read_all(from, u64::from(length))?;
    let bytes = read_all(from, bytes)?;
    let message = serde_json::from_slice(&words).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    Ok((message, bytes))
}

/// Grows with what really arrives, so that an announced length costs no more than a MiB.
fn read_all(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    while (data.len() as u64) < length {
        let read = data.len();
        data.resize(read + (length - read as u64).min(1 << 20) as usize, 0);
        from.read_exact(&mut data[read..])?;
    }
    Ok(data)
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message is too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Most = Most { words: 100, bytes: 10 };

    #[test]
    fn frames_round_trip_and_numbers_keep_their_bits() {
        let mut pipe = Vec::new();
        send(&mut pipe, &(0.1 + 0.2, "pgd"), &[b"ab", b"c"]).unwrap();
        let (back, bytes) = receive::<(f64, String)>(&mut pipe.as_slice(), SMALL).unwrap();
        assert_eq!((back.0.to_bits(), back.1.as_str(), bytes.as_slice()), ((0.1f64 + 0.2).to_bits(), "pgd", b"abc".as_slice()));
        let mut pipe = Vec::new();
        let parts = [vec![1; 5000], vec![2; 10], vec![3; 3 << 20], vec![4; 7], vec![5; ONE_WRITE]];
        send(&mut pipe, &(), &parts.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        let (_, bytes) = receive::<()>(&mut pipe.as_slice(), Most { bytes: 4 << 20, ..SMALL }).unwrap();
        assert_eq!(bytes, parts.concat());
    }

    #[test]
    fn announced_lengths_are_neither_believed_nor_exceeded() {
        let frame = |words: u32, bytes: u64| [&words.to_le_bytes()[..], &bytes.to_le_bytes(), b"\"Finished\""].concat();
        let kind = |frame: &[u8], most| receive::<String>(&mut &*frame, most).unwrap_err().kind();
        let most = Most { words: 100, bytes: 1 << 40 };
        assert_eq!(kind(&frame(10, 1 << 39), most), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(&frame(10, 11), SMALL), io::ErrorKind::InvalidData);
        assert_eq!(kind(&frame(101, 0), SMALL), io::ErrorKind::InvalidData);
        assert_eq!(kind(&[255; 64], most), io::ErrorKind::InvalidData);
    }
}
