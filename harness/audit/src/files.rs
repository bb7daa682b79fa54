//! The one place that opens files which a user names: regular files only, within a size limit, read once and hashed as read.
//! Refuses to follow external data of a model out of its folder; knows nothing of what the bytes mean.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
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

/// The files beside a model in which it keeps tensors. Each is read once; all of them together give at most [`LARGEST_FILE`]
/// bytes, however often a tensor names the same ones.
#[derive(Debug)]
pub struct ExternalFiles {
    model: PathBuf,
    read: RefCell<BTreeMap<PathBuf, FileBytes>>,
    given: Cell<u64>,
}

impl ExternalFiles {
    /// The files beside the model at this path.
    pub fn beside(model: &Path) -> ExternalFiles {
        ExternalFiles { model: model.to_owned(), read: RefCell::default(), given: Cell::new(0) }
    }

    /// `length` bytes from `offset` of the file at `location`, relative to the folder of the model.
    ///
    /// # Errors
    /// [`FileError::External`] if the location is absolute, has any component other than plain names, or leads (through a
    /// link) out of the folder of the model path and of the model's real path; if the file is shorter; if the tensors ask for
    /// too much in all. Other [`FileError`]s as for [`read`].
    pub fn fetch(&self, location: &str, offset: u64, length: u64) -> Result<Vec<u8>, FileError> {
        let refuse = |why: String| FileError::External { location: escape(location), why };
        let relative = Path::new(location);
        let plain = !location.is_empty() && relative.components().all(|c| matches!(c, Component::Normal(_)));
        if !plain || location.contains(['\0', '\\', ':']) {
            return Err(refuse("is not a plain path inside the model's folder".to_owned()));
        }
        let folder = self.model.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let path = folder.join(relative);
        let real = path.canonicalize().map_err(|e| io_error(&path, e))?;
        // The cache of Hugging Face links `snapshots/<revision>/<file>` to `blobs/<hash>` for the model and its data alike,
        // so the folder of the model's real path is a root too.
        let roots = [Some(folder.to_owned()), self.model.canonicalize().ok().and_then(|m| m.parent().map(Path::to_owned))];
        if !roots.iter().flatten().filter_map(|r| r.canonicalize().ok()).any(|root| real.starts_with(root)) {
            return Err(refuse(format!("leaves the model's folder: it leads to {}", show(&real))));
        }
        self.given.set(self.given.get().saturating_add(length));
        if self.given.get() > LARGEST_FILE {
            return Err(refuse(format!("and the tensors before it have more than {LARGEST_FILE} bytes in all")));
        }
        let mut files = self.read.borrow_mut();
        if !files.contains_key(&real) {
            files.insert(real.clone(), read(&real, LARGEST_FILE)?);
        }
        let bytes = files.get(&real).map_or(&[][..], |file| &file.bytes);
        let wanted = usize::try_from(offset).ok().zip(offset.checked_add(length).and_then(|end| usize::try_from(end).ok()));
        let slice = wanted.and_then(|(start, end)| bytes.get(start..end));
        slice
            .map(<[u8]>::to_vec)
            .ok_or_else(|| refuse(format!("has {} bytes; the model wants {length} bytes from byte {offset} on", bytes.len())))
    }

    /// Every file that was read: its name and its SHA-256.
    pub fn list(&self) -> Vec<(String, String)> {
        let name = |path: &Path| path.file_name().map_or_else(String::new, |n| escape(&n.to_string_lossy()));
        self.read.borrow().values().map(|file| (name(&file.path), file.sha256.clone())).collect()
    }
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
        let files = ExternalFiles::beside(&model);
        assert_eq!(files.fetch("w.bin", 2, 3).expect("read"), b"234");
        assert_eq!(files.fetch("w.bin", 0, 10).expect("read").len(), 10);
        for bad in ["../secret", "/etc/hostname", "a/../../secret", "", "C:\\x", "w.bin\0x", "."] {
            assert!(files.fetch(bad, 0, 1).is_err(), "{bad:?} was read");
        }
        for (offset, length) in [(11, 0), (0, 11), (u64::MAX, 1), (1, u64::MAX), (5, 6)] {
            assert!(ExternalFiles::beside(&model).fetch("w.bin", offset, length).is_err(), "{offset} {length} was read");
        }
        assert_eq!(files.list().len(), 1);
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(dir.path().join("secret"), inner.join("link")).expect("linked");
            let error = files.fetch("link", 0, 1).expect_err("refused").to_string();
            assert!(error.contains("leaves the model's folder"), "{error}");
        }
    }
}
