//! The run directory: who may write into it, how a file becomes visible (under a temporary name, synced, published whole), and
//! how a directory from elsewhere is read. Knows paths and bytes, not audits.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flatscape_intake::files::show;
use flatscape_intake::refusal::Refusal;

/// The file that says what the directory is.
pub const MANIFEST: &str = "manifest.json";

/// The file whose lock says that a process uses the directory.
const LOCK: &str = "lock";

/// How the name of a file begins that is being written.
const PART: &str = ".part-";

/// The largest file of a run directory that is read, in bytes.
const LARGEST: u64 = 1 << 31;

/// A directory that only this process writes, or that it reads while no process writes.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Held for as long as the run lasts; the system releases it when the process ends, however it ends. Absent in workers,
    /// whose parent holds it, and where a read-only directory has none.
    _lock: Option<File>,
}

impl Directory {
    /// Opens a directory to write a run into: a new one, an empty one, or one that holds a run of flatscape.
    ///
    /// # Errors
    /// `O095`: the directory cannot be made or written. `R096`: it holds something else. `R097`: another process uses it.
    /// `R103`: one of its entries is a link, or is not a file or folder.
    pub fn to_write(path: &Path) -> Result<Directory, Refusal> {
        let cannot = |error: std::io::Error| {
            Refusal::output(95, format!("the output directory {} cannot be written: {error}", show(path)))
                .help("choose another place with --out")
        };
        fs::create_dir_all(path).map_err(cannot)?;
        let entries: Vec<PathBuf> = fs::read_dir(path).and_then(|e| e.map(|e| e.map(|e| e.path())).collect()).map_err(cannot)?;
        let is_run = entries.iter().any(|e| e.ends_with(MANIFEST));
        // a run that was killed before its manifest had its name has a lock and a temporary file
        let begun = entries.iter().any(|e| e.ends_with(LOCK));
        if !is_run && entries.iter().any(|e| !(e.ends_with(LOCK) || begun && is_part(e))) {
            let why = format!("the output directory {} is not empty and holds no run of flatscape", show(path));
            return Err(Refusal::state(96, why).help("nothing was touched; choose another place with --out"));
        }
        entries.iter().try_for_each(|entry| plain(entry))?;
        let lock_path = path.join(LOCK);
        let lock = File::options().create(true).truncate(false).read(true).write(true).open(&lock_path).map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path)),
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        leftovers(path);
        let note = format!("{}\n", std::process::id());
        lock.set_len(0).and_then(|()| (&lock).write_all(note.as_bytes())).map_err(cannot)?;
        Ok(Directory { path: path.to_owned(), _lock: Some(lock) })
    }

    /// Opens a run to read it, and keeps others from writing meanwhile.
    ///
    /// # Errors
    /// `R096`: there is no run. `R097`: a process writes into it. `R103`: as for [`Directory::to_write`].
    pub fn to_read(path: &Path) -> Result<Directory, Refusal> {
        let no_run = |why: &str| {
            Refusal::state(96, format!("{} {why}", show(path))).help("name the run directory of an audit, the value of its --out")
        };
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries.filter_map(|e| e.ok().map(|e| e.path())).collect::<Vec<_>>(),
            Err(error) => return Err(no_run(&format!("is not a run directory: {error}"))),
        };
        if !entries.iter().any(|e| e.ends_with(MANIFEST)) {
            return Err(no_run("is not a run directory: it has no manifest.json"));
        }
        entries.iter().try_for_each(|entry| plain(entry))?;
        let lock = File::open(path.join(LOCK)).ok();
        match lock.as_ref().map(File::try_lock_shared) {
            Some(Err(TryLockError::WouldBlock)) => Err(in_use(path)),
            _ => Ok(Directory { path: path.to_owned(), _lock: lock }),
        }
    }

    /// The directory of a parent process that holds the lock.
    ///
    /// # Errors
    /// `R096`, `R103`: as for [`Directory::to_read`].
    pub fn of_parent(path: &Path) -> Result<Directory, Refusal> {
        if !path.join(MANIFEST).is_file() {
            return Err(Refusal::state(96, format!("{} is not a run directory: it has no manifest.json", show(path))));
        }
        let entries = fs::read_dir(path).map_err(|e| Refusal::state(96, format!("{} cannot be read: {e}", show(path))))?;
        entries.filter_map(Result::ok).try_for_each(|entry| plain(&entry.path()))?;
        Ok(Directory { path: path.to_owned(), _lock: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of a regular file in it; `None` if there is none of that name.
    ///
    /// # Errors
    /// `R103`: it is a link, not a regular file, or too large. `R104`: it cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let path = self.path.join(name);
        let unread = |e: std::io::Error| Refusal::state(104, format!("{name} in {} cannot be read: {e}", show(&self.path)));
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unread(error)),
            Ok(found) if !found.is_file() => return Err(not_plain(&path)),
            Ok(found) if found.len() > LARGEST => {
                let why = format!("{name} in {} has {} bytes, more than any file of a run", show(&self.path), found.len());
                return Err(Refusal::state(103, why).help("remove it and repeat the command with --resume"));
            }
            Ok(_) => {}
        }
        let mut bytes = Vec::new();
        File::open(&path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes)).map_err(unread)?;
        Ok(Some(bytes))
    }

    /// The names of the regular files in one of its folders, in order; none if the folder is not there.
    ///
    /// # Errors
    /// `R103`: an entry is a link or not a regular file. `R104`: the folder cannot be read.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, Refusal> {
        let unread = |e: std::io::Error| Refusal::state(104, format!("{folder} in {} cannot be read: {e}", show(&self.path)));
        let entries = match fs::read_dir(self.path.join(folder)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(unread)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(unread)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(PART) {
                continue;
            }
            if !entry.file_type().map_err(unread)?.is_file() {
                return Err(not_plain(&entry.path()));
            }
            names.push(name);
        }
        names.sort();
        Ok(names)
    }

    /// Writes a file whole or not at all, in the place of a former one.
    ///
    /// # Errors
    /// `O094`: it could not be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let target = self.path.join(name);
        let folder = target.parent().unwrap_or(&self.path);
        let attempt = || -> std::io::Result<()> {
            fs::create_dir_all(folder)?;
            let mut file = tempfile::Builder::new().prefix(PART).permissions_like_a_file().tempfile_in(folder)?;
            // while it is locked, no process that starts takes it for a leftover
            file.as_file().lock_shared()?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(&target)?;
            Ok(())
        };
        attempt().map_err(|error| self.failed(name, &error))
    }

    /// Adds a line to a file, which is made if it is not there. Readers ignore an incomplete last line.
    ///
    /// # Errors
    /// `O094`: it could not be written.
    pub fn append(&self, name: &str, line: &str) -> Result<(), Refusal> {
        let attempt = || File::options().create(true).append(true).open(self.path.join(name))?.write_all(line.as_bytes());
        attempt().map_err(|error| self.failed(name, &error))
    }

    /// Moves a file that does not belong here into the folder `set-aside`, under a name that is free.
    ///
    /// # Errors
    /// `O094`: it could not be moved.
    pub fn set_aside(&self, name: &str) -> Result<String, Refusal> {
        let stem = name.replace('/', "-");
        let mut names = (1u32..).map(|k| format!("set-aside/{stem}.{k}"));
        let free = names.find(|n| fs::symlink_metadata(self.path.join(n)).is_err()).unwrap_or(stem);
        let attempt = || -> std::io::Result<()> {
            fs::create_dir_all(self.path.join("set-aside"))?;
            fs::rename(self.path.join(name), self.path.join(&free))
        };
        attempt().map_err(|error| self.failed(name, &error))?;
        Ok(free)
    }

    /// Removes a file, if there is one.
    ///
    /// # Errors
    /// `O094`: it could not be removed.
    pub fn remove(&self, name: &str) -> Result<(), Refusal> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(self.failed(name, &error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, name: &str, error: &std::io::Error) -> Refusal {
        Refusal::output(94, format!("{} could not be written to {}: {error}", name, show(&self.path)))
            .help("what is already there is kept; make room and repeat the command with --resume")
    }
}

/// Whether a file is named as one that is being written.
fn is_part(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PART))
}

/// Removes what processes left that were killed while they wrote, here and in the folders: files under temporary names that nobody
/// holds. A file that cannot be removed is never read, so the run goes on.
fn leftovers(path: &Path) {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>();
    let plain = |path: &PathBuf, folder: bool| {
        fs::symlink_metadata(path).is_ok_and(|found| if folder { found.is_dir() } else { found.is_file() })
    };
    let top = entries(path);
    let inner = top.iter().filter(|entry| plain(entry, true)).flat_map(|folder| entries(folder)).collect::<Vec<_>>();
    for entry in top.iter().chain(&inner) {
        if !is_part(entry) || !plain(entry, false) {
            continue;
        }
        if File::open(entry).is_ok_and(|file| file.try_lock().is_ok()) {
            // see above: a leftover that stays does no harm
            let _ = fs::remove_file(entry);
        }
    }
}

fn in_use(path: &Path) -> Refusal {
    let holder: String = fs::read_to_string(path.join(LOCK)).map(|s| s.trim().chars().take(12).collect()).unwrap_or_default();
    let by = if holder.is_empty() { String::new() } else { format!(" by process {holder}") };
    Refusal::state(97, format!("the run directory {} is in use{by}", show(path)))
        .help("wait until that run has ended, or choose another place with --out")
}

/// Whether an entry of a run directory is a regular file, or a folder: links are not followed in a directory that somebody else may
/// have made.
fn plain(entry: &Path) -> Result<(), Refusal> {
    match fs::symlink_metadata(entry) {
        Ok(found) if found.is_file() || found.is_dir() => Ok(()),
        _ => Err(not_plain(entry)),
    }
}

fn not_plain(entry: &Path) -> Refusal {
    Refusal::state(103, format!("{} is a link, a pipe or a device; a run directory holds files and folders only", show(entry)))
        .help("remove it, or choose another place with --out")
}

/// Result files are read by others: not the private permissions of temporary files.
trait Readable {
    fn permissions_like_a_file(&mut self) -> &mut Self;
}

impl Readable for tempfile::Builder<'_, '_> {
    fn permissions_like_a_file(&mut self) -> &mut Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            self.permissions(fs::Permissions::from_mode(0o644))
        }
        #[cfg(not(unix))]
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_process() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("run");
        let first = Directory::to_write(&path).expect("a new directory");
        first.write(MANIFEST, b"{}").expect("written");
        assert_eq!(Directory::to_write(&path).expect_err("in use").id(), "R097");
        assert_eq!(Directory::to_read(&path).expect_err("in use").id(), "R097");
        first.write("shards/a.npz", b"one").expect("written");
        assert_eq!(first.set_aside("shards/a.npz").expect("moved"), "set-aside/shards-a.npz.1");
        assert_eq!(first.read("shards/a.npz").expect("readable"), None);
        drop(first);
        let reader = Directory::to_read(&path).expect("free again");
        assert_eq!(reader.list("set-aside").expect("a list"), ["shards-a.npz.1"]);
    }

    /// What a killed process left is removed at the next start; what another process is writing stays.
    #[test]
    fn leftovers_are_removed_when_a_run_begins() {
        let root = tempfile::tempdir().expect("a folder");
        let run = root.path().join("run");
        drop(Directory::to_write(&run).expect("a directory"));
        fs::write(run.join(MANIFEST), "{}").expect("a file");
        fs::create_dir(run.join("shards")).expect("a folder");
        let files = ["run/.part-a1", "run/shards/.part-b2", "run/shards/.part-c3", "run/shards/kept.npz"];
        files.iter().for_each(|name| fs::write(root.path().join(name), "half").expect("a file"));
        let written = File::open(run.join("shards/.part-c3")).expect("a file");
        written.lock_shared().expect("a lock");
        let there = || files.map(|name| root.path().join(name).exists());
        drop(Directory::to_read(&run).expect("a reader removes nothing"));
        assert_eq!(there(), [true; 4]);
        drop(Directory::to_write(&run).expect("a directory"));
        assert_eq!(there(), [false, false, true, true]);
        drop(written);
        drop(Directory::to_write(&run).expect("a directory"));
        assert_eq!(there(), [false, false, false, true]);
    }

    #[test]
    fn a_run_that_was_killed_before_its_manifest_was_written_goes_on() {
        let root = tempfile::tempdir().expect("a folder");
        let run = root.path().join("run");
        fs::create_dir(&run).expect("a folder");
        fs::write(run.join(".part-a1"), "{").expect("a file");
        assert_eq!(Directory::to_write(&run).expect_err("no lock, so not ours").id(), "R096");
        fs::write(run.join(LOCK), "1").expect("a file");
        drop(Directory::to_write(&run).expect("a directory"));
        assert!(!run.join(".part-a1").exists());
    }

    #[test]
    fn what_is_not_ours_is_not_touched() {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join("thesis.tex"), "everything").expect("a file");
        assert_eq!(Directory::to_write(root.path()).expect_err("not ours").id(), "R096");
        assert_eq!(Directory::to_read(root.path()).expect_err("not a run").id(), "R096");
        let file = root.path().join("thesis.tex");
        assert_eq!(Directory::to_write(&file).expect_err("a file").id(), "O095");
        assert_eq!(Directory::to_read(&file).expect_err("a file").id(), "R096");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let root = tempfile::tempdir().expect("a folder");
        let precious = root.path().join("precious");
        fs::write(&precious, "keep").expect("a file");
        for name in ["lock", "shards", "manifest.json"] {
            let run = root.path().join(format!("run-{name}"));
            fs::create_dir(&run).expect("a folder");
            fs::write(run.join(MANIFEST), "{}").expect("a file");
            let _ = fs::remove_file(run.join(name));
            std::os::unix::fs::symlink(&precious, run.join(name)).expect("a link");
            assert_eq!(Directory::to_write(&run).expect_err("a link").id(), "R103", "{name}");
        }
        assert_eq!(fs::read_to_string(&precious).expect("still there"), "keep");
        let run = Directory::to_write(&root.path().join("run")).expect("a directory");
        fs::create_dir(run.path().join("shards")).expect("a folder");
        std::os::unix::fs::symlink(&precious, run.path().join("shards/a.npz")).expect("a link");
        assert_eq!(run.read("shards/a.npz").expect_err("a link").id(), "R103");
        assert_eq!(run.list("shards").expect_err("a link").id(), "R103");
    }
}
