//! The run directory: who may write into it, and how a file becomes visible — under a temporary name, synced, and published
//! whole. Knows paths and bytes, nothing of audits.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use flatscape_intake::files::show;
use flatscape_intake::refusal::Refusal;

/// A directory that this process alone writes into.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Held for as long as the run lasts; the system lets go of it when the process ends, however it ends.
    _lock: File,
}

/// The file that says what the directory is.
pub const MANIFEST: &str = "manifest.json";

/// Fields of the manifest in which one run may differ from itself.
const UNLIKE: [&str; 2] = ["command", "certificates"];

impl Directory {
    /// Opens a directory for a run. A new or empty one gets `manifest`; one that holds a run is only opened with `resume`, and
    /// only if its manifest is the same but for the field `command`, since one run can be spelled in several ways, and for
    /// `certificates`, which are found on the way.
    ///
    /// # Errors
    /// `O095`: the directory cannot be made or written. `R096`: it holds something else, or a run and `resume` was not asked for.
    /// `R097`: another process has it. `R101`: the run in it was started with other options.
    pub fn open(path: &Path, manifest: &[u8], resume: bool) -> Result<Directory, Refusal> {
        let cannot = |error: &std::io::Error| {
            Refusal::output(95, format!("the output directory {} cannot be written: {error}", show(path)))
                .help("choose another place with --out")
        };
        fs::create_dir_all(path).map_err(|e| cannot(&e))?;
        let entries: Vec<PathBuf> =
            fs::read_dir(path).map_err(|e| cannot(&e))?.filter_map(|e| e.ok().map(|e| e.path())).collect();
        let lock_path = path.join("lock");
        let manifest_path = path.join(MANIFEST);
        let foreign = !manifest_path.exists() && entries.iter().any(|e| *e != lock_path);
        if foreign {
            let why = format!("the output directory {} is not empty and holds no run of flatscape", show(path));
            return Err(Refusal::state(96, why).help("nothing was touched; choose another place with --out"));
        }
        let lock =
            File::options().create(true).truncate(false).read(true).write(true).open(&lock_path).map_err(|e| cannot(&e))?;
        if lock.try_lock().is_err() {
            let holder = fs::read_to_string(&lock_path).unwrap_or_default();
            let why = format!(
                "the output directory {} is in use{}",
                show(path),
                if holder.is_empty() { String::new() } else { format!(" by process {}", holder.trim()) }
            );
            return Err(Refusal::state(97, why).help("wait until that run has ended, or choose another place with --out"));
        }
        let directory = Directory { path: path.to_owned(), _lock: lock };
        let note = format!("{}\n", std::process::id());
        directory._lock.set_len(0).and_then(|()| (&directory._lock).write_all(note.as_bytes())).map_err(|e| cannot(&e))?;
        match fs::read(&manifest_path) {
            Ok(found) if !resume => {
                let why = format!("the output directory {} holds a run already", show(path));
                let same = difference(&found, manifest).is_none();
                let help = if same {
                    "add --resume to go on with it, or choose another place with --out"
                } else {
                    "choose another place with --out"
                };
                return Err(Refusal::state(96, why).help(help));
            }
            Ok(found) => {
                if let Some(difference) = difference(&found, manifest) {
                    let why = format!("the run in {} was started with other options: {difference}", show(path));
                    return Err(Refusal::state(101, why)
                        .help("repeat the command of its manifest.json, or choose another place with --out"));
                }
            }
            Err(_) => directory.write(MANIFEST, manifest)?,
        }
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes of a file in it, if it is there.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.path.join(name)).ok()
    }

    /// Writes a file whole or not at all, in the place of a former one.
    ///
    /// # Errors
    /// `O094`: it could not be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let temporary = self.store(name, bytes)?;
        temporary.persist(self.path.join(name)).map_err(|e| self.failed(name, &e.error))?;
        Ok(())
    }

    /// Writes a result that is never overwritten; if it is there already, it stays as it is.
    ///
    /// # Errors
    /// `O094`: it could not be written.
    pub fn publish(&self, name: &str, bytes: &[u8]) -> Result<(), Refusal> {
        let target = self.path.join(name);
        match self.store(name, bytes)?.persist_noclobber(&target) {
            Ok(_) => Ok(()),
            Err(_) if target.exists() => Ok(()),
            Err(error) => Err(self.failed(name, &error.error)),
        }
    }

    fn store(&self, name: &str, bytes: &[u8]) -> Result<tempfile::NamedTempFile, Refusal> {
        let target = self.path.join(name);
        let folder = target.parent().unwrap_or(&self.path);
        let attempt = || -> std::io::Result<tempfile::NamedTempFile> {
            fs::create_dir_all(folder)?;
            let mut file = tempfile::Builder::new().prefix(".part-").permissions_like_a_file().tempfile_in(folder)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        attempt().map_err(|e| self.failed(name, &e))
    }

    fn failed(&self, name: &str, error: &std::io::Error) -> Refusal {
        Refusal::output(94, format!("{} could not be written to {}: {error}", name, show(&self.path)))
            .help("what is already there is kept; make room and repeat the command with --resume")
    }
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

/// The fields in which two manifests differ, in words; `None` if it is at most those in [`UNLIKE`].
fn difference(found: &[u8], wanted: &[u8]) -> Option<String> {
    if found == wanted {
        return None;
    }
    let read = |bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    let (Some(found), Some(wanted)) = (read(found), read(wanted)) else { return Some("its manifest cannot be read".into()) };
    let (Some(a), Some(b)) = (found.as_object(), wanted.as_object()) else { return Some("its manifest is no object".into()) };
    let keys = a.keys().chain(b.keys().filter(|k| !a.contains_key(*k)));
    let differing: Vec<&str> =
        keys.filter(|k| !UNLIKE.contains(&k.as_str()) && a.get(*k) != b.get(*k)).map(String::as_str).collect();
    (!differing.is_empty()).then(|| format!("{} differ", differing.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_belongs_to_one_run_of_one_kind() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("run");
        let first = Directory::open(&path, b"{\"seed\":1}", false).expect("a new directory");
        assert_eq!(Directory::open(&path, b"{\"seed\":1}", true).expect_err("in use").id(), "R097");
        first.publish("shards/a.npz", b"one").expect("published");
        first.publish("shards/a.npz", b"two").expect("kept");
        assert_eq!(first.read("shards/a.npz").as_deref(), Some(&b"one"[..]));
        drop(first);
        assert_eq!(Directory::open(&path, b"{\"seed\":1}", false).expect_err("holds a run").id(), "R096");
        let other = Directory::open(&path, b"{\"seed\":2}", true).expect_err("other options");
        assert_eq!((other.id().as_str(), other.what.contains("seed differ")), ("R101", true));
        drop(Directory::open(&path, b"{\"seed\":1}", true).expect("resumed"));
        Directory::open(&path, b"{\"seed\":1,\"command\":\"again --resume\"}", true).expect("the same run, spelled otherwise");
    }

    #[test]
    fn what_is_not_ours_is_not_touched() {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join("thesis.tex"), "everything").expect("a file");
        assert_eq!(Directory::open(root.path(), b"{}", true).expect_err("not ours").id(), "R096");
        let file = root.path().join("thesis.tex");
        assert_eq!(Directory::open(&file, b"{}", false).expect_err("a file").id(), "O095");
    }
}
