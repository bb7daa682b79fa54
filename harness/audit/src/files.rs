//! The one place that opens files which a user names: regular files only, within a size limit, read once and hashed as read.
//! Refuses to follow external data of a model out of its folder; knows nothing of what the bytes mean.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::intake::escape;

/// Largest model or data file that is read, in bytes (protobuf ends at 2 GiB; data sets here are far smaller).
pub const LARGEST_FILE: u64 = 4 << 30;

/// A file that was read completely, once.
#[derive(Clone, Debug)]
pub struct FileBytes {
    /// Where it was.
    pub path: PathBuf,
    /// All of it.
    pub bytes: Vec<u8>,
    /// SHA-256 of `bytes`, lower-case hexadecimal.
    pub sha256: String,
}

/// Why a file was not read. Sentences with the path as subject.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum FileError {
    #[error("no such file: {0}")]
    Missing(String),
    #[error("{0} is a directory, a file was expected")]
    Directory(String),
    #[error("permission denied: {0}")]
    Forbidden(String),
    #[error("{0} is not a regular file (a pipe, a socket or a device)")]
    Special(String),
    #[error("{0} is an empty file")]
    Empty(String),
    #[error("{path} has {size} bytes, the limit is {limit}")]
    TooLarge { path: String, size: u64, limit: u64 },
    #[error("{path} could not be read: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("external data {location:?} {why}")]
    External { location: String, why: String },
}

/// Reads a regular file of 1 to `limit` bytes.
///
/// # Errors
/// A [`FileError`] if it is missing, not a regular file, empty, too large or unreadable. A pipe or device is refused without waiting for it.
pub fn read(path: &Path, limit: u64) -> Result<FileBytes, FileError> {
    let bytes = read_bytes(path, limit)?;
    if bytes.is_empty() {
        return Err(FileError::Empty(show(path)));
    }
    let sha256 = sha256(&bytes);
    Ok(FileBytes { path: path.to_owned(), bytes, sha256 })
}

/// SHA-256 in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The bytes of one tensor that a model keeps in a file beside itself: `location` relative to the folder of `model`, with
/// `offset` and `length` as they stand in the model (strict decimal numbers; absent: from the start, to the end).
///
/// # Errors
/// [`FileError::External`] if the location is absolute, has any component other than plain names, or leads (through a link)
/// out of the folder of the model path and of the model's real path; if the numbers are malformed or exceed the file. Other
/// [`FileError`]s as for [`read`].
pub fn read_external(model: &Path, location: &str, offset: Option<&str>, length: Option<&str>) -> Result<Vec<u8>, FileError> {
    let refuse = |why: &str| FileError::External { location: escape(location), why: why.to_owned() };
    let relative = Path::new(location);
    let plain = !location.is_empty() && relative.components().all(|c| matches!(c, Component::Normal(_)));
    if !plain || location.contains(['\0', '\\', ':']) || location.contains("_ORT_MEM_ADDR_") {
        return Err(refuse("is not a plain path inside the model's folder"));
    }
    let folder = model.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let path = folder.join(relative);
    let real = path.canonicalize().map_err(|e| io_error(&path, e))?;
    let roots = [Some(folder.to_owned()), model.canonicalize().ok().and_then(|m| m.parent().map(Path::to_owned))];
    let inside = roots.iter().flatten().filter_map(|r| r.canonicalize().ok()).any(|root| real.starts_with(root));
    // The cache of Hugging Face links `snapshots/<revision>/<file>` to `blobs/<hash>` for the model and its data alike, so
    // the folder of the model's real path is a root too.
    if !inside {
        return Err(refuse(&format!("leaves the model's folder: it leads to {}", show(&real))));
    }
    let number = |text: Option<&str>, what: &str| match text {
        None => Ok(None),
        Some(t) if !t.is_empty() && t.len() <= 19 && t.bytes().all(|b| b.is_ascii_digit()) => Ok(t.parse::<u64>().ok()),
        Some(t) => Err(refuse(&format!("has the {what} {:?}, which is not a decimal number", escape(t)))),
    };
    let offset = number(offset, "offset")?.unwrap_or(0);
    let length = number(length, "length")?;
    let bytes = read_bytes(&real, LARGEST_FILE)?;
    let size = bytes.len() as u64;
    if offset > size || length.is_some_and(|n| n > size - offset) {
        let wanted = length.map_or(String::new(), |n| format!(" and {n} bytes from there"));
        return Err(refuse(&format!("has {size} bytes; the model wants offset {offset}{wanted}")));
    }
    let end = length.map_or(size, |n| offset + n);
    Ok(bytes[offset as usize..end as usize].to_vec())
}

/// The folder where this user's programs keep data: `$XDG_DATA_HOME/flatscape`, `~/.local/share/flatscape` and their like.
pub fn user_data_dir() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        variable("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        variable("XDG_DATA_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/share")))
    };
    base.map(|base| base.join("flatscape"))
}

/// How a path stands in a message.
pub fn show(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut file = open(path).map_err(|e| io_error(path, e))?;
    let about = file.metadata().map_err(|e| io_error(path, e))?;
    if about.is_dir() {
        return Err(FileError::Directory(show(path)));
    }
    if !about.is_file() {
        return Err(FileError::Special(show(path)));
    }
    if about.len() > limit {
        return Err(FileError::TooLarge { path: show(path), size: about.len(), limit });
    }
    let mut bytes = Vec::with_capacity(about.len() as usize);
    // One more than the limit, so that a file that grows while it is read is noticed.
    file.by_ref().take(limit + 1).read_to_end(&mut bytes).map_err(|e| io_error(path, e))?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: show(path), size: bytes.len() as u64, limit });
    }
    Ok(bytes)
}

/// Opens without waiting: opening a pipe for reading blocks until somebody writes.
fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(O_NONBLOCK);
    }
    options.open(path)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const O_NONBLOCK: i32 = 0o4000;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const O_NONBLOCK: i32 = 4;

fn io_error(path: &Path, source: std::io::Error) -> FileError {
    match source.kind() {
        ErrorKind::NotFound => FileError::Missing(show(path)),
        ErrorKind::PermissionDenied => FileError::Forbidden(show(path)),
        ErrorKind::IsADirectory => FileError::Directory(show(path)),
        ErrorKind::NotADirectory => FileError::Missing(show(path)),
        _ => FileError::Read { path: show(path), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    #[test]
    fn every_wrong_path_is_a_sentence() {
        let dir = folder();
        let message = |p: &Path| read(p, 100).expect_err("refused").to_string();
        assert!(message(&dir.path().join("none")).starts_with("no such file: "));
        assert!(message(dir.path()).ends_with("is a directory, a file was expected"));
        let empty = dir.path().join("empty");
        std::fs::write(&empty, b"").expect("written");
        assert!(message(&empty).ends_with("is an empty file"));
        let large = dir.path().join("large");
        std::fs::write(&large, [0; 101]).expect("written");
        assert!(message(&large).ends_with("has 101 bytes, the limit is 100"));
        if cfg!(unix) {
            assert!(message(Path::new("/dev/zero")).ends_with("is not a regular file (a pipe, a socket or a device)"));
        }
    }

    #[test]
    fn the_hash_is_of_the_bytes() {
        let dir = folder();
        let path = dir.path().join("abc");
        std::fs::write(&path, b"abc").expect("written");
        let file = read(&path, 100).expect("read");
        assert_eq!(file.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn external_data_stays_in_the_folder_of_the_model() {
        let dir = folder();
        let inner = dir.path().join("model");
        std::fs::create_dir(&inner).expect("created");
        let model = inner.join("model.onnx");
        for (path, bytes) in [(&model, &b"m"[..]), (&inner.join("w.bin"), b"0123456789"), (&dir.path().join("secret"), b"s")] {
            std::fs::write(path, bytes).expect("written");
        }
        assert_eq!(read_external(&model, "w.bin", Some("2"), Some("3")).expect("read"), b"234");
        assert_eq!(read_external(&model, "w.bin", None, None).expect("read").len(), 10);
        for bad in ["../secret", "/etc/hostname", "a/../../secret", "", "C:\\x", "*/_ORT_MEM_ADDR_/*", "w.bin\0x"] {
            assert!(read_external(&model, bad, None, None).is_err(), "{bad:?} was read");
        }
        for (offset, length) in
            [("11", "0"), ("0", "11"), ("0x0", "1"), ("+4", "1"), ("-1", "1"), (" 4", "1"), ("5", "99999999999999999999")]
        {
            assert!(read_external(&model, "w.bin", Some(offset), Some(length)).is_err(), "{offset} {length} was read");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(dir.path().join("secret"), inner.join("link")).expect("linked");
            let error = read_external(&model, "link", None, None).expect_err("refused").to_string();
            assert!(error.contains("leaves the model's folder"), "{error}");
        }
    }
}
