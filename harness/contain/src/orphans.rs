//! What a worker leaves behind: processes that it started and that are nobody's children now, and scratch folders of programs that
//! were killed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use crate::watch;

static ADOPTS: AtomicBool = AtomicBool::new(false);

/// Children of this process that it has started itself.
static KNOWN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// From now on processes whose parents have died below this one become its children, and those that it has not started are killed
/// when a worker ends. For a program whose every child is started by this crate or named with [`known`].
pub fn adopt_orphans() {
    // SAFETY: PR_SET_CHILD_SUBREAPER takes a flag and touches no memory; a refusal changes nothing.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) } == 0 {
        ADOPTS.store(true, Ordering::Relaxed);
    }
}

/// A child that was started elsewhere and is not an orphan.
pub fn known(pid: u32) {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(pid);
}

pub(crate) fn forgotten(pid: u32) {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
}

/// Kills the children of this process that it has not started, again and again until there are none: one that is killed may leave
/// children of its own.
pub(crate) fn kill_strangers() {
    const ROUNDS: usize = 100;
    if !ADOPTS.load(Ordering::Relaxed) {
        return;
    }
    for _ in 0..ROUNDS {
        let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let strangers: Vec<u32> = children().into_iter().filter(|pid| !known.contains(pid)).collect();
        drop(known);
        if strangers.is_empty() {
            return;
        }
        for pid in strangers.into_iter().filter_map(|pid| i32::try_from(pid).ok()) {
            // SAFETY: neither call touches memory of ours: the status is not asked for. The number is that of a child of this
            // process that has not been waited for, so it cannot be anybody else's.
            unsafe {
                libc::kill(pid, libc::SIGKILL);
                libc::waitpid(pid, std::ptr::null_mut(), 0);
            }
        }
    }
}

fn children() -> Vec<u32> {
    let me = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|&pid| watch::seen(pid).is_some_and(|seen| seen.parent == me)).collect()
}

/// What the names of scratch folders begin with; the number of the process that made them follows.
const SCRATCH: &str = "flatscape-scratch-";

/// What the name of a scratch folder of this process begins with.
pub(crate) fn scratch_prefix() -> String {
    format!("{SCRATCH}{}-", std::process::id())
}

/// Removes the scratch folders of this user's programs that are gone: they were killed before they could. Once in a process.
pub(crate) fn sweep() {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| sweep_in(&std::env::temp_dir()));
}

fn sweep_in(folder: &Path) {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let me = unsafe { libc::geteuid() };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|n| n.strip_prefix(SCRATCH)?.split('-').next()?.parse::<u32>().ok());
        let Some(maker) = maker else { continue };
        let ours = fs::symlink_metadata(entry.path()).is_ok_and(|m| m.is_dir() && m.uid() == me);
        if ours && watch::seen(maker).is_none() {
            clear(&entry.path());
        }
    }
}

/// Removes a folder, also one whose parts may not be entered. What cannot be removed stays.
pub(crate) fn clear(folder: &Path) {
    if fs::remove_dir_all(folder).is_ok() {
        return;
    }
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let _ = fs::set_permissions(&folder, fs::Permissions::from_mode(0o700));
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        // not through links: the kind of an entry is that of the link itself
        open.extend(entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
    }
    let _ = fs::remove_dir_all(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_folders_of_dead_programs_go_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.join("closed/inside")).unwrap();
            fs::set_permissions(path.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
            path
        };
        let dead = make(&format!("{SCRATCH}{}-abc", u32::MAX));
        let mine = make(&format!("{}abc", scratch_prefix()));
        let other = make("flatscape-results");
        sweep_in(folder.path());
        assert!(!dead.exists() && mine.exists() && other.exists());
        clear(&mine);
        clear(&other);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
