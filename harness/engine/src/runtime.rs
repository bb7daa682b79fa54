//! Getting ONNX Runtime: the directory in which libraries are kept, what is there, and how it is fetched.

use std::env;
use std::path::{Path, PathBuf};

use crate::Device;

/// `FLATSCAPE_HOME`, else `flatscape` under `XDG_DATA_HOME` or `~/.local/share`.
pub fn default_data_dir() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(home) = set("FLATSCAPE_HOME") {
        return home;
    }
    let data = set("XDG_DATA_HOME").or_else(|| set("LOCALAPPDATA")).or_else(|| Some(set("HOME")?.join(".local").join("share")));
    data.unwrap_or_else(|| PathBuf::from(".")).join("flatscape")
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
