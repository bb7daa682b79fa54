//! Where plugin files are searched, and in what order. Reads only names.

use std::path::{Path, PathBuf};

use crate::builtin;
use crate::error::HostError;

/// Variable with folders and files, separated as in `PATH`.
pub const PLUGIN_PATH: &str = "FLATSCAPE_PLUGIN_PATH";

/// Where to search.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// Files that the user named: each must load.
    pub files: Vec<PathBuf>,
    /// Folders (or files) of `FLATSCAPE_PLUGIN_PATH`.
    pub path: Vec<PathBuf>,
    /// The folder of the executable: it, its `deps/` and `../lib/flatscape` are searched.
    pub beside: Option<PathBuf>,
    /// The plugin inside this program: used if no file of that plugin lies beside it.
    pub inside: Option<builtin::Inside>,
    /// Load files that others may write to: for containers in which everybody is one user.
    pub insecure_permissions: bool,
}

impl Search {
    /// The surroundings of this executable, then what the command line names, then the environment.
    pub fn from_environment(files: &[PathBuf]) -> Search {
        let path = std::env::var_os(PLUGIN_PATH);
        Search {
            files: files.to_vec(),
            path: path.map(|p| std::env::split_paths(&p).filter(|p| !p.as_os_str().is_empty()).collect()).unwrap_or_default(),
            beside: std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned)),
            inside: builtin::inside(),
            insecure_permissions: false,
        }
    }

    /// Only these files.
    pub fn only(files: &[PathBuf]) -> Search {
        Search { files: files.to_vec(), ..Search::default() }
    }

    /// The files in order, canonical, without repetition: what comes with the program first, so that nothing takes its place. Of two
    /// files with one name in folders that were searched, the first counts, as in `PATH`. What cannot be found although it was
    /// named is an error in its place.
    pub(crate) fn candidates(&self) -> Vec<Result<PathBuf, HostError>> {
        let mut found: Vec<Result<PathBuf, HostError>> = Vec::new();
        let mut names = Vec::new();
        if let Some(beside) = &self.beside {
            for folder in [beside.clone(), beside.join("deps"), beside.join("../lib/flatscape")] {
                self.folder(&folder, &mut found, &mut names);
            }
        }
        let file = |stem: &str| format!("{}{stem}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        if let Some(inside) = self.inside.as_ref().filter(|inside| !names.iter().any(|name| *name == *file(inside.stem))) {
            found.insert(0, Ok(inside.program.clone()));
        }
        for file in &self.files {
            let result = file.canonicalize().map_err(|e| {
                HostError::plugin("P01", file, format!("plugin {}: {e}", crate::error::shown(&file.display().to_string())))
            });
            add(&mut found, &mut names, result);
        }
        for entry in &self.path {
            match entry.is_file() {
                true => add(&mut found, &mut names, entry.canonicalize().map_err(|e| gone(entry, &e))),
                false => self.folder(entry, &mut found, &mut names),
            }
        }
        found
    }

    fn folder(&self, folder: &Path, found: &mut Vec<Result<PathBuf, HostError>>, names: &mut Vec<std::ffi::OsString>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        let mut files: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| is_plugin_name(p)).collect();
        files.sort();
        for file in files {
            let known = file.file_name().is_some_and(|name| names.iter().any(|n| n == name));
            if !known {
                add(found, names, file.canonicalize().map_err(|e| gone(&file, &e)));
            }
        }
    }
}

fn add(found: &mut Vec<Result<PathBuf, HostError>>, names: &mut Vec<std::ffi::OsString>, result: Result<PathBuf, HostError>) {
    if let Ok(path) = &result {
        names.extend(path.file_name().map(ToOwned::to_owned));
        if found.iter().any(|f| f.as_ref().is_ok_and(|f| f == path)) {
            return;
        }
    }
    found.push(result);
}

fn gone(path: &Path, e: &std::io::Error) -> HostError {
    HostError::plugin("P01", path, format!("plugin {}: {e}", crate::error::shown(&path.display().to_string())))
}

/// In folders only files called `libflatscape_<name>.so` (`.dylib`; `flatscape_<name>.dll`) are taken: other libraries lie
/// beside an executable too.
fn is_plugin_name(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else { return false };
    let stem = name.strip_suffix(std::env::consts::DLL_SUFFIX);
    let stem = stem.and_then(|s| s.strip_prefix(std::env::consts::DLL_PREFIX));
    let rest = stem.and_then(|s| s.strip_prefix("flatscape_"));
    rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_names_and_repetitions() {
        let dir = tempfile::tempdir().unwrap();
        let suffix = std::env::consts::DLL_SUFFIX;
        let file = |place: &str, name: &str| {
            let folder = dir.path().join(place);
            std::fs::create_dir_all(&folder).unwrap();
            let path = folder.join(format!("{}{name}{suffix}", std::env::consts::DLL_PREFIX));
            std::fs::write(&path, b"").unwrap();
            path.canonicalize().unwrap()
        };
        let named = file("elsewhere", "anything");
        let (b, first) = (file("path", "flatscape_b"), file("bin", "flatscape_first"));
        let (_shadowed, deps) = (file("bin/deps", "flatscape_first"), file("bin/deps", "flatscape_c"));
        file("bin/deps", "serde_derive-1234");
        let lib = file("lib/flatscape", "flatscape_d");
        // a file of that name in the environment does not take the place of the one beside the program
        file("path", "flatscape_first");
        let search = Search {
            files: vec![named.clone(), named.clone()],
            path: vec![dir.path().join("path"), dir.path().join("missing")],
            beside: Some(dir.path().join("bin")),
            inside: Some(builtin::Inside { program: named.clone(), stem: "flatscape_first" }),
            insecure_permissions: false,
        };
        let found: Vec<PathBuf> = search.candidates().into_iter().map(Result::unwrap).collect();
        assert_eq!(found, [first, deps, lib, named.clone(), b]);
        // the plugin inside the program is for programs that were installed alone, and comes first
        let alone = Search { beside: Some(dir.path().join("elsewhere")), ..search };
        let found: Vec<PathBuf> = alone.candidates().into_iter().map(Result::unwrap).collect();
        assert_eq!(found.first(), Some(&named));
        let missing = Search::only(&[dir.path().join("no.so")]).candidates();
        let error = missing[0].as_ref().unwrap_err();
        assert!(error.sentence.ends_with("No such file or directory (os error 2)"), "{error}");
        assert_eq!(error.exit_code(), 5);
    }
}
