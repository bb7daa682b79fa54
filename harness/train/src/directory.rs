//! The directory beside the result, `OUT.train`: who writes into it, the checkpoint, and whether it belongs to the same training.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use flatscape_architectures::ARCHITECTURES;
use flatscape_graph::{Tensor, onnx};
use flatscape_intake::data::Dataset;
use flatscape_intake::files::{self, publish, show};
use flatscape_intake::model::ModelRequest;
use flatscape_intake::refusal::Refusal;

use crate::checkpoint::Checkpoint;
use crate::manifest::Manifest;
use crate::plan::Plan;
use crate::store::Facts;

/// What the directory holds.
const MANIFEST: &str = "manifest.json";
const CHECKPOINT: &str = "checkpoint";
const MADE: &str = "adversarial";
const LOCK: &str = "lock";
const TIMES: &str = "times.csv";
/// The largest of its files.
const LARGEST: u64 = 64 << 30;

/// A directory that only this process writes.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    resume: bool,
    /// Held until the training ends; the system releases it when the process does.
    _lock: File,
}

impl Directory {
    /// Opens the directory beside `out`.
    ///
    /// # Errors
    /// `O095`: it cannot be made or written. `R096`: it, or `out`, is there already and `resume` is not set, or it holds something
    /// else. `R097`: another process uses it.
    pub fn open(out: &Path, resume: bool) -> Result<Directory, Refusal> {
        let mut name = out.file_name().map(|n| n.to_os_string()).ok_or_else(|| {
            Refusal::usage(91, format!("-o {}: it has no file name", show(out))).help("name the ONNX file to write")
        })?;
        name.push(".train");
        let path = out.with_file_name(name);
        let cannot = |e: std::io::Error| {
            Refusal::output(95, format!("the directory {} cannot be written: {e}", show(&path)))
                .help("choose another place with -o")
        };
        let there = fs::symlink_metadata(&path);
        if there.as_ref().is_ok_and(|about| !about.is_dir()) {
            let what = format!("{} is not a folder", show(&path));
            return Err(Refusal::state(103, what).help("remove it, or choose another place with -o"));
        }
        let begun = path.join(MANIFEST).is_file();
        if begun && !resume {
            let what = format!("{} holds a training already", show(&path));
            return Err(Refusal::state(96, what).help("add --resume to go on with it, or choose another place with -o"));
        }
        if !begun && fs::symlink_metadata(out).is_ok() {
            let what = format!("{} is there already", show(out));
            return Err(Refusal::state(96, what).help("nothing was touched; choose another place with -o"));
        }
        let starts = |name: &std::ffi::OsStr| ARCHITECTURES.iter().any(|row| name == format!("{}.onnx", row.id).as_str());
        let strange = |entry: fs::DirEntry| entry.file_name() != LOCK && !starts(&entry.file_name());
        if !begun && there.is_ok() && fs::read_dir(&path).map_err(cannot)?.filter_map(Result::ok).any(strange) {
            let what = format!("{} is not empty and holds no training of flatscape", show(&path));
            return Err(Refusal::state(96, what).help("nothing was touched; choose another place with -o"));
        }
        fs::create_dir_all(&path).map_err(cannot)?;
        let lock = File::options().create(true).truncate(false).read(true).write(true).open(path.join(LOCK)).map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => Ok(Directory { path, resume, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Refusal::state(97, format!("{} is in use by another process", show(&path)))
                .help("wait until that training has ended, or choose another place with -o")),
            Err(TryLockError::Error(e)) => Err(cannot(e)),
        }
    }

    /// The model that training starts from: that of the plan, or, where the plan names an architecture, a file in this directory with
    /// the classes and the size of the data and seeded weights.
    ///
    /// # Errors
    /// Data and usage errors; `O094`.
    pub fn start(&self, plan: &Plan) -> Result<ModelRequest, Refusal> {
        let Some(row) = ARCHITECTURES.iter().find(|row| row.id == plan.model.source) else { return Ok(plan.model.clone()) };
        let data = Dataset::load(&plan.data)?;
        let largest = usize::try_from(data.largest_label()).map_or(1, |label| label + 1);
        let wanted = flatscape_architectures::Request {
            classes: data.class_names.len().max(largest),
            input: Some(data.shape),
            seed: plan.seed,
            ..flatscape_architectures::Request::default()
        };
        let name = format!("{}.onnx", row.id);
        self.publish(&name, &onnx::write(&row.graph(&wanted)?))?;
        Ok(ModelRequest { source: self.path.join(name).display().to_string(), intake: plan.model.intake.clone() })
    }

    /// Compares the training that is here with this one, or writes down this one where there is none.
    ///
    /// # Errors
    /// `R096` with the first difference; `R104` where the manifest cannot be read.
    pub fn agree(&self, manifest: &Manifest) -> Result<(), Refusal> {
        let Some(bytes) = self.read(MANIFEST)? else {
            return self.publish(MANIFEST, manifest.json()?.as_bytes());
        };
        let stored: serde_json::Value = serde_json::from_slice(&bytes)
            .map_err(|e| Refusal::state(104, format!("{} cannot be read: {e}", show(&self.path.join(MANIFEST)))))?;
        match manifest.difference(&stored)? {
            None if self.resume => Ok(()),
            None => Err(Refusal::state(96, format!("{} holds a training already", show(&self.path)))),
            Some(difference) => Err(Refusal::state(96, format!("{} holds another training: {difference}", show(&self.path)))
                .help("use the options and files of that training, or choose another place with -o")),
        }
    }

    /// The last checkpoint.
    ///
    /// # Errors
    /// `R104`, `R106`: it cannot be read, or is damaged.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint<Facts>>, Refusal> {
        let Some(bytes) = self.read(CHECKPOINT)? else { return Ok(None) };
        Checkpoint::read(&bytes).map(Some).map_err(|clause| self.damaged(&clause))
    }

    /// Replaces the checkpoint.
    ///
    /// # Errors
    /// `O094`, `O102`: it cannot be written; the one before it stays.
    pub fn keep(&self, checkpoint: &Checkpoint<Facts>) -> Result<(), Refusal> {
        checkpoint.publish(&self.path.join(CHECKPOINT)).map_err(resumable)
    }

    /// The adversarial images that were made at the beginning.
    ///
    /// # Errors
    /// As for [`Directory::checkpoint`].
    pub fn made(&self) -> Result<Option<Tensor>, Refusal> {
        let Some(bytes) = self.read(MADE)? else { return Ok(None) };
        let read = Checkpoint::<()>::read(&bytes).map_err(|clause| self.damaged(&clause))?;
        read.tensor("images").cloned().map(Some).ok_or_else(|| self.damaged("has no images"))
    }

    /// Stores them.
    ///
    /// # Errors
    /// As for [`Directory::keep`].
    pub fn keep_made(&self, images: &Tensor) -> Result<(), Refusal> {
        let made = Checkpoint { facts: (), tensors: vec![("images".to_owned(), images.clone())] };
        made.publish(&self.path.join(MADE)).map_err(resumable)
    }

    /// Adds a line to `times.csv`, the only file whose lines depend on the machine.
    ///
    /// # Errors
    /// `O094`.
    pub fn time(&self, epoch: u32, seconds: f64) -> Result<(), Refusal> {
        let path = self.path.join(TIMES);
        let attempt = || -> std::io::Result<()> {
            let mut file = File::options().create(true).append(true).open(&path)?;
            if file.metadata()?.len() == 0 {
                file.write_all(b"epoch,seconds\n")?;
            }
            file.write_all(format!("{},{seconds:.3}\n", epoch + 1).as_bytes())
        };
        let refused = |e| Refusal::output(94, format!("{} could not be written: {e}", show(&path)));
        attempt().map_err(|e| resumable(refused(e)))
    }

    /// Writes a file whole.
    ///
    /// # Errors
    /// `O094`.
    pub fn publish(&self, name: &str, bytes: &[u8]) -> Result<(), Refusal> {
        publish(&self.path.join(name), bytes).map_err(resumable)
    }

    /// A checkpoint that does not fit.
    pub fn damaged(&self, clause: &str) -> Refusal {
        Refusal::state(106, format!("the checkpoint in {} {clause}", show(&self.path)))
            .help("remove the folder and train again, or choose another place with -o")
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let path = self.path.join(name);
        match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Refusal::state(104, format!("{} cannot be read: {e}", show(&path)))),
            Ok(about) if !about.is_file() => {
                let what = format!("{} is a link, a pipe or a device", show(&path));
                return Err(Refusal::state(103, what).help("remove it and repeat the command"));
            }
            Ok(_) => {}
        }
        let read = files::read(&path, LARGEST).map_err(|e| Refusal::state(104, e.to_string()))?;
        Ok(Some(read.bytes))
    }
}

fn resumable(refusal: Refusal) -> Refusal {
    refusal.help("make room; what was finished is kept: repeat the command with --resume")
}
