//! A plugin inside the program: what an installed program uses where no file of that plugin lies beside it. It runs in a worker like
//! every other, its file is the program itself, and its hash is that of the program.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use flatscape_abi::PluginEntry;

static LINKED: OnceLock<(PluginEntry, &'static str)> = OnceLock::new();

/// A plugin inside a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The program.
    pub program: PathBuf,
    /// The name of the plugin's own file, without prefix and suffix: where such a file lies beside the program, it is used.
    pub stem: &'static str,
}

/// Says which plugin is linked into this program, and how its own file is called, without prefix and suffix. Called once, at the
/// start of the program, before anything is searched.
pub fn link(entry: PluginEntry, stem: &'static str) {
    // a second call would name the same function
    let _ = LINKED.set((entry, stem));
}

/// The plugin inside this program. `None` where none is linked.
pub(crate) fn inside() -> Option<Inside> {
    let (_, stem) = LINKED.get()?;
    let program = std::env::current_exe().ok()?.canonicalize().ok()?;
    Some(Inside { program, stem })
}

/// The entry of the plugin whose file is this one, if it is the one inside this program.
pub(crate) fn entry(path: &Path) -> Option<PluginEntry> {
    LINKED.get().map(|(entry, _)| *entry).filter(|_| inside().is_some_and(|inside| inside.program == path))
}
