//! What hostile plugins, files and surroundings do, and how it ends: one file of `tests/abuses` each, with its outcome in its first
//! lines. `*.c` are plugins that misbehave while they are loaded or while they attack; `*.sh` are whole commands.

mod commands;
mod plugins;

use std::path::{Path, PathBuf};

use crate::provision::root;

/// The abuses with this ending: name, path, and what follows `ends:`.
fn abuses(ending: &str) -> Vec<(String, PathBuf, String)> {
    let folder = root().join("tests/abuses");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == ending));
    paths.sort();
    let name = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let outcome = |path: &Path| {
        let text = std::fs::read_to_string(path).expect("a text");
        let line = text.lines().take(6).find_map(|line| line.trim_start_matches('#').trim().strip_prefix("ends: "));
        let line = line.unwrap_or_else(|| panic!("{}: how does it end?", path.display()));
        line.trim_end_matches("*/").trim().to_owned()
    };
    paths.into_iter().map(|path| (name(&path), path.clone(), outcome(&path))).collect()
}
