//! The standard plugin inside the program: what an installed program uses where no file of that plugin lies beside it. It runs
//! in a worker like every other, its file is the program itself, and its hash is that of the program.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use flatscape_abi::PluginEntry;

/// The file of the standard plugin that comes with a build, without prefix and suffix.
pub(crate) const STEM: &str = "flatscape_standard";

static ENTRY: OnceLock<PluginEntry> = OnceLock::new();

/// Says which plugin is linked into this program. Called once, at the start of the program, before anything is searched.
pub fn link(entry: PluginEntry) {
    // a second call would name the same function
    let _ = ENTRY.set(entry);
}

/// The file that stands for the plugin inside this program. `None` where none is linked.
pub(crate) fn file() -> Option<PathBuf> {
    ENTRY.get().and_then(|_| std::env::current_exe().ok()?.canonicalize().ok())
}

/// The entry of the plugin whose file is this one, if it is the one inside this program.
pub(crate) fn entry(path: &Path) -> Option<PluginEntry> {
    ENTRY.get().copied().filter(|_| file().is_some_and(|file| file == path))
}
