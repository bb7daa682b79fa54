//! The one place that opens files which a user or a model names: regular files only, within a size limit, read once and hashed as
//! read. Follows external data of a model nowhere out of its folder, writes through no link; knows nothing of what the bytes mean.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

pub use flatscape_graph::hash::sha256;
use flatscape_graph::onnx::Fault;

use crate::refusal::{Refusal, escape};

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

/// What a model file may take, and what is accepted beside it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Largest model file, in bytes. Protobuf ends at 2 GiB.
    pub model_bytes: u64,
    /// The most bytes that tensors in other files may have in all.
    pub weight_bytes: u64,
    /// Whether weights may lie in a file that has a second name somewhere else.
    pub hard_links: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { model_bytes: 2 << 30, weight_bytes: LARGEST_FILE, hard_links: false }
    }
}

/// The files beside a model in which it keeps tensors. Each is opened and read once; all of them together give at most
/// [`Limits::weight_bytes`], however often a tensor names the same ones.
#[derive(Debug)]
pub struct ExternalFiles {
    model: PathBuf,
    limits: Limits,
    read: RefCell<BTreeMap<String, FileBytes>>,
    given: Cell<u64>,
}

/// Tensors may share bytes: as many times on the average, …
const SHARED: u64 = 4;
/// … plus this many bytes.
const SLACK: u64 = 64 << 20;

/// Why external data cannot be had: the kind of fault and a clause about the location.
pub type Withheld = (Fault, String);

impl ExternalFiles {
    /// The files beside the model at this path.
    pub fn beside(model: &Path, limits: &Limits) -> ExternalFiles {
        ExternalFiles { model: model.to_owned(), limits: limits.clone(), read: RefCell::default(), given: Cell::new(0) }
    }

    /// `length` bytes from `offset` of the file at `location`, relative to the folder of the model.
    ///
    /// # Errors
    /// A clause if the location has any part other than plain names, or leads (through a link) out of the folder of the model
    /// path and of the model's real path; if it is not a regular file, or has several names; if the file is shorter; if the
    /// tensors ask for too much in all.
    pub fn fetch(&self, location: &str, offset: u64, length: u64) -> Result<Vec<u8>, Withheld> {
        self.given.set(self.given.get().saturating_add(length));
        if self.given.get() > self.limits.weight_bytes {
            let why = format!("it and the tensors before it have more than {} bytes in all", self.limits.weight_bytes);
            return Err((Fault::EXTERNAL_TOO_LARGE, why));
        }
        let mut files = self.read.borrow_mut();
        if !files.contains_key(location) {
            files.insert(location.to_owned(), self.open(location)?);
        }
        let held: u64 = files.values().map(|file| file.bytes.len() as u64).sum();
        if self.given.get() > held.saturating_mul(SHARED).saturating_add(SLACK) {
            let why = format!("its bytes are used over and over: tensors of {} bytes in files of {held} bytes", self.given.get());
            return Err((Fault::EXTERNAL_TOO_LARGE, why));
        }
        let bytes = files.get(location).map_or(&[][..], |file| &file.bytes);
        let wanted = usize::try_from(offset).ok().zip(offset.checked_add(length).and_then(|end| usize::try_from(end).ok()));
        let slice = wanted.and_then(|(start, end)| bytes.get(start..end));
        slice.map(<[u8]>::to_vec).ok_or_else(|| {
            let why = format!("it has {} bytes; the model wants {length} bytes from byte {offset} on", bytes.len());
            (Fault::EXTERNAL, why)
        })
    }

    /// Every file that was read: its name and its SHA-256.
    pub fn list(&self) -> Vec<(String, String)> {
        let name = |path: &Path| path.file_name().map_or_else(String::new, |n| escape(&n.to_string_lossy()));
        self.read.borrow().values().map(|file| (name(&file.path), file.sha256.clone())).collect()
    }

    fn open(&self, location: &str) -> Result<FileBytes, Withheld> {
        if !location.split('/').all(is_plain_name) {
            return Err((Fault::EXTERNAL_OUTSIDE, "it is not a plain path inside the model's folder".to_owned()));
        }
        let folder = self.model.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let path = folder.join(location);
        let failed = |e: std::io::Error| (Fault::EXTERNAL, io_error(&path, e).to_string());
        let file = match beneath::open(folder, Path::new(location)) {
            Err(e) if e.kind() == ErrorKind::CrossesDevices => {
                // The cache of Hugging Face links `snapshots/<revision>/<file>` to `blobs/<hash>` for the model and its data
                // alike, so the folder of the model's real path is a root too.
                let real = path.canonicalize().map_err(failed)?;
                let root = self.model.canonicalize().ok().and_then(|m| m.parent().map(Path::to_owned)).unwrap_or_default();
                let inside =
                    real.strip_prefix(&root).ok().filter(|rest| !root.as_os_str().is_empty() && !rest.as_os_str().is_empty());
                let outside = || (Fault::EXTERNAL_OUTSIDE, format!("it leaves the model's folder: it leads to {}", show(&real)));
                beneath::open(&root, inside.ok_or_else(outside)?).map_err(failed)?
            }
            other => other.map_err(failed)?,
        };
        let about = file.metadata().map_err(failed)?;
        if !self.limits.hard_links && about.is_file() && names_of(&about) > 1 {
            let why = format!("its file has {} names (hard links), so it may belong to somebody else", names_of(&about));
            return Err((Fault::EXTERNAL_LINKED, format!("{why}; --allow-hardlinks reads it anyway")));
        }
        let bytes = read_opened(file, &path, self.limits.weight_bytes).map_err(|e| {
            let special = matches!(e, FileError::Special(_) | FileError::Directory(_));
            (if special { Fault::EXTERNAL_SPECIAL } else { Fault::EXTERNAL }, e.to_string())
        })?;
        let sha256 = sha256(&bytes);
        Ok(FileBytes { path, bytes, sha256 })
    }
}

/// Whether a part of a location is a name on every system: no way up, no drive, no stream, nothing that some system drops.
fn is_plain_name(part: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '\\' | ':');
    !part.is_empty() && !part.ends_with(['.', ' ']) && !part.contains(odd)
}

#[cfg(unix)]
fn names_of(about: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(about)
}

#[cfg(not(unix))]
fn names_of(_: &std::fs::Metadata) -> u64 {
    1
}

/// Opening a file below a folder so that no link leads out of it.
mod beneath {
    use std::fs::File;
    use std::io::{Error, ErrorKind, Result};
    use std::path::Path;

    /// Opens a file for reading, without waiting for the writer of a pipe. `CrossesDevices`: a link leads out of the
    /// folder.
    #[cfg(target_os = "linux")]
    pub(super) fn open(folder: &Path, relative: &Path) -> Result<File> {
        use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
        let root = File::open(folder)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match openat2(&root, relative, flags, Mode::empty(), resolve) {
            // kernels before 5.6, and sandboxes that do not know the call
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => open_checked(folder, relative),
            other => Ok(File::from(other.map_err(Error::from)?)),
        }
    }

    /// The same where the system has no such call.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn open(folder: &Path, relative: &Path) -> Result<File> {
        open_checked(folder, relative)
    }

    /// Looks where every link leads before the file is opened. Somebody who may write into the folder could exchange it between.
    fn open_checked(folder: &Path, relative: &Path) -> Result<File> {
        let real = folder.join(relative).canonicalize()?;
        if !real.starts_with(folder.canonicalize()?) {
            return Err(Error::from(ErrorKind::CrossesDevices));
        }
        super::open(&real)
    }

    #[cfg(test)]
    mod tests {
        /// Both ways of opening must agree; here only the first of them is used.
        #[test]
        #[cfg(unix)]
        fn the_way_without_the_call_agrees() {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let inner = dir.path().join("inner");
            std::fs::create_dir_all(inner.join("deep")).expect("created");
            std::fs::write(dir.path().join("secret"), b"s").expect("written");
            std::fs::write(inner.join("deep/w"), b"w").expect("written");
            let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, inner.join(name)).expect("linked");
            link("deep/w", "within");
            link("../inner/deep/w", "around");
            link("../secret", "out");
            link("..", "up");
            link("nowhere", "broken");
            link("loop", "loop");
            for (name, opens) in
                [("deep/w", true), ("within", true), ("out", false), ("up/secret", false), ("broken", false), ("loop", false)]
            {
                let relative = std::path::Path::new(name);
                for open in [super::open, super::open_checked] {
                    assert_eq!(open(&inner, relative).is_ok(), opens, "{name}");
                }
            }
            // a way out and back in: one refuses it, for the other it is the same file
            assert!(super::open_checked(&inner, std::path::Path::new("around")).is_ok());
        }
    }
}

/// Writes a file where the user says: whole or not at all, in the place of a former regular file, never through a link.
///
/// # Errors
/// `O094` if there is a link, a pipe, a device or a folder, or the file cannot be written.
pub fn publish(path: &Path, bytes: &[u8]) -> Result<(), Refusal> {
    let refuse = |why: String| {
        Refusal::output(94, format!("{} could not be written: {why}", show(path))).help("choose another place with -o")
    };
    match std::fs::symlink_metadata(path) {
        Ok(about) if !about.is_file() => return Err(refuse("there is something that is not a regular file".to_owned())),
        _ => {}
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let attempt = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".part-").tempfile_in(folder)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|e| e.error)
    };
    attempt().map_err(|e| refuse(e.to_string()))
}

/// How a path stands in a message.
pub fn show(path: &Path) -> String {
    escape(&path.to_string_lossy())
}

fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    read_opened(open(path).map_err(|e| io_error(path, e))?, path, limit)
}

/// All of an open file, if it is a regular one.
fn read_opened(file: File, path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
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
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| io_error(path, e))?;
    if bytes.len() as u64 > limit {
        return Err(FileError::TooLarge { path: show(path), size: bytes.len() as u64, limit });
    }
    Ok(bytes)
}

/// Opens without waiting: opening a pipe for reading blocks until it has a writer.
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
        let fetch =
            |location: &str, offset, length| ExternalFiles::beside(&model, &Limits::default()).fetch(location, offset, length);
        let fault = |location: &str, offset, length| fetch(location, offset, length).map_err(|(fault, _)| fault.id);
        assert_eq!(fetch("w.bin", 2, 3).expect("read"), b"234");
        assert_eq!(fetch("w.bin", 0, 10).expect("read").len(), 10);
        let outside = [
            "../secret",
            "/etc/hostname",
            "a/../../secret",
            "",
            "C:\\x",
            "c:/x",
            "\\\\host\\share",
            "w.bin\0x",
            ".",
            "..",
            "w.bin/",
            "a//b",
            "./w.bin",
            "w.bin.",
            "w.bin ",
            "#/../secret",
            "w.bin::$DATA",
            "a\nb",
        ];
        for bad in outside {
            assert_eq!(fault(bad, 0, 1), Err("M040"), "{bad:?}");
        }
        assert_eq!(fault("%2e%2e/secret", 0, 1), Err("M045"));
        for (offset, length) in [(11, 0), (0, 11), (u64::MAX, 1), (5, 6), (10, 1)] {
            assert_eq!(fault("w.bin", offset, length), Err("M045"), "{offset} {length}");
        }
        assert_eq!(fault("w.bin", 1, u64::MAX), Err("M049"));
        let tight = ExternalFiles::beside(&model, &Limits { weight_bytes: 25, ..Limits::default() });
        assert!(tight.fetch("w.bin", 0, 10).is_ok() && tight.fetch("w.bin", 0, 10).is_ok());
        assert_eq!(tight.fetch("w.bin", 0, 10).map_err(|(fault, _)| fault.id), Err("M049"));
        assert_eq!(tight.list().len(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::symlink;
            symlink(dir.path().join("secret"), inner.join("link")).expect("linked");
            symlink("..", inner.join("up")).expect("linked");
            symlink("w.bin", inner.join("within")).expect("linked");
            for bad in ["link", "up/secret"] {
                let (fault, why) = fetch(bad, 0, 1).expect_err("refused");
                assert!(fault.id == "M040" && why.contains("secret"), "{why}");
            }
            assert_eq!(fetch("within", 0, 1).expect("read"), b"0");
            std::fs::hard_link(dir.path().join("secret"), inner.join("linked")).expect("linked");
            assert_eq!(fault("linked", 0, 1), Err("M043"));
            let trusting = ExternalFiles::beside(&model, &Limits { hard_links: true, ..Limits::default() });
            assert_eq!(trusting.fetch("linked", 0, 1).expect("read"), b"s");
            std::fs::create_dir(inner.join("folder")).expect("created");
            assert_eq!(fault("folder", 0, 1), Err("M044"));
        }
    }

    /// `hub/snapshots/1/{model.onnx,w.bin}` are links to `hub/blobs/*`, as in the cache of Hugging Face.
    #[test]
    #[cfg(unix)]
    fn weights_in_a_cache_of_links_are_found() {
        let dir = folder();
        let at = |name: &str| dir.path().join(name);
        for folder in ["hub/blobs", "hub/snapshots/1", "other"] {
            std::fs::create_dir_all(at(folder)).expect("created");
        }
        for (name, bytes) in [("hub/blobs/aa", b"m"), ("hub/blobs/bb", b"w"), ("other/cc", b"s")] {
            std::fs::write(at(name), bytes).expect("written");
        }
        for (name, to) in [("model.onnx", "../../blobs/aa"), ("w.bin", "../../blobs/bb"), ("s.bin", "../../../other/cc")] {
            std::os::unix::fs::symlink(to, at("hub/snapshots/1").join(name)).expect("linked");
        }
        let files = ExternalFiles::beside(&at("hub/snapshots/1/model.onnx"), &Limits::default());
        assert_eq!(files.fetch("w.bin", 0, 1).expect("read"), b"w");
        assert_eq!(files.fetch("s.bin", 0, 1).map_err(|(fault, _)| fault.id), Err("M040"));
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = folder();
        let path = dir.path().join("out.onnx");
        publish(&path, b"one").expect("written");
        publish(&path, b"two").expect("written");
        assert_eq!(std::fs::read(&path).expect("read"), b"two");
        assert_eq!(std::fs::read_dir(dir.path()).expect("read").count(), 1);
        assert!(publish(dir.path(), b"x").is_err() && publish(&dir.path().join("none/out"), b"x").is_err());
        #[cfg(unix)]
        {
            let link = dir.path().join("link");
            std::os::unix::fs::symlink(&path, &link).expect("linked");
            assert!(publish(&link, b"three").is_err());
            assert_eq!(std::fs::read(&path).expect("read"), b"two");
        }
    }
}
