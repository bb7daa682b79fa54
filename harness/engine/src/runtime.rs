//! Getting ONNX Runtime: which package is fetched for which machine, how, where its libraries are kept, and what is in use.
//!
//! The library is fetched only if the user requests it (`flatscape runtime install`). The work is left to `uv` or `pip`,
//! so their proxies, certificates and mirrors apply; what they fetch must have the hash that stands here.

mod provision;
mod wheels;

use std::env;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::library::{self, Finding, Place};
use crate::{Device, EngineError, Settings};

pub use provision::{RuntimeError, install};
pub use wheels::VERSION;

/// What an installation came from: `provenance.json` beside the libraries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// `onnxruntime` or `onnxruntime-gpu`.
    pub package: String,
    /// As `1.31.1`.
    pub version: String,
    /// The file that was unpacked.
    pub wheel: String,
    /// SHA-256 of that file, hexadecimal.
    pub sha256: String,
    /// The program that fetched it and compared the hash.
    pub installer: String,
}

/// An installed runtime.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Where the libraries are.
    pub directory: PathBuf,
    /// The library itself.
    pub library: PathBuf,
    /// What it came from.
    pub provenance: Provenance,
    /// Whether it was there already and nothing was fetched.
    pub already: bool,
    /// What is still needed before it can be used, as a sentence.
    pub note: Option<String>,
}

/// What is used, and why: for `runtime status` and `doctor`.
#[derive(Debug)]
pub struct Status {
    /// Every place where a library was looked for, in the order of preference.
    pub places: Vec<Place>,
    /// The first usable one; `None` means that `auto` takes tract.
    pub used: Option<Place>,
    /// Why nothing will run, if a library that was named cannot be used.
    pub problem: Option<EngineError>,
    /// What flatscape itself installed.
    pub installed: Vec<Provenance>,
}

/// Looks at every place without loading anything.
pub fn status(settings: &Settings) -> Status {
    let (used, problem) = match library::wanted(settings) {
        Ok(used) => (used, None),
        Err(problem) => (None, Some(problem)),
    };
    let read = |directory: &PathBuf| serde_json::from_slice(&std::fs::read(directory.join(PROVENANCE)).ok()?).ok();
    let installed = installed(&settings.data_dir, settings.device).iter().filter_map(read).collect();
    Status { places: library::search(settings), used, problem, installed }
}

impl Status {
    /// One sentence.
    pub fn verdict(&self) -> String {
        if let Some(problem) = &self.problem {
            return problem.to_string();
        }
        match &self.used {
            Some(Place { origin, path, finding: Finding::Usable { version } }) => {
                let version = version.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
                format!("ONNX Runtime{version} is used: {} ({origin})", path.display())
            }
            _ => "no ONNX Runtime library is found, so tract runs everything; `flatscape runtime install` fetches the faster one"
                .to_owned(),
        }
    }
}

/// The file beside installed libraries that says what they came from.
const PROVENANCE: &str = "provenance.json";

/// `FLATSCAPE_HOME`, else `flatscape` under `XDG_DATA_HOME` or `~/.local/share`.
pub fn default_data_dir() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(home) = set("FLATSCAPE_HOME") {
        return home;
    }
    let data = set("XDG_DATA_HOME").or_else(|| set("LOCALAPPDATA")).or_else(|| Some(set("HOME")?.join(".local").join("share")));
    data.unwrap_or_else(|| PathBuf::from(".")).join("flatscape")
}

/// The directory of one installation.
fn directory(data_dir: &Path, cuda: bool) -> PathBuf {
    data_dir.join("runtime").join(format!("onnxruntime-{VERSION}-{}", if cuda { "cuda" } else { "cpu" }))
}

/// The directories of installed libraries, the one that suits the device first.
pub(crate) fn installed(data_dir: &Path, device: Device) -> Vec<PathBuf> {
    let root = data_dir.join("runtime");
    let suffix = if device == Device::Cpu { "-cpu" } else { "-cuda" };
    let mut found: Vec<PathBuf> = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir() && name(path).starts_with("onnxruntime-"))
        .collect();
    found.sort_by_key(|path| {
        let name = name(path);
        let version: Vec<u32> = name.split('-').nth(1).unwrap_or("").split('.').filter_map(|n| n.parse().ok()).collect();
        std::cmp::Reverse((name.ends_with(suffix), version, name))
    });
    found
}

fn name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
