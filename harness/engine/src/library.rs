//! Where an ONNX Runtime library may lie, and whether a file found there can be used: right format, right machine, exports the
//! API, new enough. Decided by reading the file, because loading an unsuitable library can end the process. Loads nothing.

mod elf;

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::engine::{Choice, Settings};
use crate::{EngineError, runtime};

/// The oldest ONNX Runtime that has the C API this program speaks.
pub(crate) const OLDEST: (u32, u32) = (1, 22);

/// One place where a library was looked for.
#[derive(Clone, Debug)]
pub struct Place {
    /// Why this place: `--ort-lib`, `ORT_DYLIB_PATH`, `beside the program`, …
    pub origin: &'static str,
    /// The file, or the directory or pattern in which there was none.
    pub path: PathBuf,
    /// What was found.
    pub finding: Finding,
}

/// What was found at a [`Place`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A library that can be used. The version is `None` where it cannot be read from the file.
    Usable {
        /// As `1.31.1`.
        version: Option<String>,
    },
    /// There is no library.
    Missing,
    /// There is a file, and it cannot be used. A clause that begins with a verb.
    Refused(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ", self.origin, self.path.display())?;
        match &self.finding {
            Finding::Usable { version: Some(version) } => write!(f, "is ONNX Runtime {version}"),
            Finding::Usable { version: None } => f.write_str("looks usable"),
            Finding::Missing => f.write_str("has none"),
            Finding::Refused(reason) => f.write_str(reason),
        }
    }
}

/// The origin of a library that the user named on the command line.
const NAMED: &str = "--ort-lib";
/// The origin of a library that the user named in the environment.
const ENVIRONMENT: &str = "ORT_DYLIB_PATH";

/// Looks everywhere, in the order in which libraries are preferred.
pub(crate) fn search(settings: &Settings) -> Vec<Place> {
    let mut places = Vec::new();
    if let Some(path) = &settings.library {
        places.push(named(NAMED, path));
    }
    if let Some(path) = env::var_os("ORT_DYLIB_PATH").filter(|p| !p.is_empty()) {
        places.push(named(ENVIRONMENT, Path::new(&path)));
    }
    if let Some(directory) = env::current_exe().ok().as_deref().and_then(Path::parent) {
        places.extend(inside("beside the program", directory));
        // `pip install` puts the program into PREFIX/bin, and onnxruntime into PREFIX/lib/python3.x
        let prefix = directory.file_name().filter(|name| *name == "bin").and(directory.parent());
        places.extend(prefix.into_iter().flat_map(|prefix| of_python("the Python environment of the program", prefix)));
    }
    let managed = runtime::installed(&settings.data_dir, settings.device);
    if managed.is_empty() {
        places.push(missing("installed by flatscape", &settings.data_dir.join("runtime")));
    }
    places.extend(managed.iter().flat_map(|directory| inside("installed by flatscape", directory)));
    for (variable, origin) in [("VIRTUAL_ENV", "the active virtualenv"), ("CONDA_PREFIX", "the active conda environment")] {
        if let Some(prefix) = env::var_os(variable).filter(|p| !p.is_empty()) {
            let found = of_python(origin, Path::new(&prefix));
            places.extend(if found.is_empty() { vec![missing(origin, Path::new(&prefix))] } else { found });
        }
    }
    places.extend(system_directories().iter().flat_map(|directory| inside("the system", directory)));
    places
}

/// The library to use. `None` when none is usable. A library that the user named is used or is an error; one that merely lies
/// there is passed over when it is unsuitable.
pub(crate) fn wanted(settings: &Settings) -> Result<Option<Place>, EngineError> {
    if settings.choice == Choice::Tract {
        return Ok(None);
    }
    for place in search(settings) {
        match &place.finding {
            Finding::Usable { .. } => return Ok(Some(place)),
            Finding::Refused(reason) if place.origin == NAMED || place.origin == ENVIRONMENT => {
                return Err(EngineError::LibraryRefused { path: place.path, origin: place.origin, reason: reason.clone() });
            }
            Finding::Missing | Finding::Refused(_) => {}
        }
    }
    Ok(None)
}

/// Reads a file and says whether it can be used.
pub(crate) fn inspect(path: &Path) -> Finding {
    let Ok(metadata) = path.metadata() else { return Finding::Missing };
    if !metadata.is_file() {
        return Finding::Refused("is not a file".to_owned());
    }
    if !cfg!(target_os = "linux") {
        return Finding::Usable { version: version_in_name(path) };
    }
    let library = match elf::read(path) {
        Ok(library) => library,
        Err(reason) => return Finding::Refused(reason),
    };
    if !library.mentions("OrtGetApiBase") {
        return Finding::Refused("does not export OrtGetApiBase, so it is not ONNX Runtime".to_owned());
    }
    let version = library.strings_after("VERS_").next().or_else(|| version_in_name(path));
    match version.as_deref().map(parse_version) {
        Some(Some(found)) if found < OLDEST => Finding::Refused(format!(
            "is ONNX Runtime {}, and {}.{} or newer is needed",
            version.unwrap_or_default(),
            OLDEST.0,
            OLDEST.1
        )),
        _ => Finding::Usable { version },
    }
}

/// The libraries that Python packages of an environment brought.
fn of_python(origin: &'static str, prefix: &Path) -> Vec<Place> {
    let everywhere = python_directories(prefix).into_iter().flat_map(|directory| inside(origin, &directory));
    everywhere.filter(|place| place.finding != Finding::Missing).collect()
}

fn named(origin: &'static str, path: &Path) -> Place {
    if path.is_dir() {
        let found = inside(origin, path).into_iter().next().filter(|place| place.finding != Finding::Missing);
        let none = Finding::Refused("is a folder without a library of ONNX Runtime".to_owned());
        return found.unwrap_or_else(|| Place { origin, path: path.to_owned(), finding: none });
    }
    // dlopen would search a bare name along its own path; what was named is a file
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let finding = match inspect(&path) {
        Finding::Missing => Finding::Refused("does not exist".to_owned()),
        found => found,
    };
    Place { origin, path, finding }
}

fn missing(origin: &'static str, path: &Path) -> Place {
    Place { origin, path: path.to_owned(), finding: Finding::Missing }
}

/// The libraries in a directory, newest first; one place saying «none» when there is none.
fn inside(origin: &'static str, directory: &Path) -> Vec<Place> {
    let names = std::fs::read_dir(directory).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> =
        names.filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(is_library_name)).collect();
    files.sort_by_key(|path| std::cmp::Reverse((version_in_name(path).as_deref().and_then(parse_version), path.clone())));
    if files.is_empty() {
        return vec![missing(origin, directory)];
    }
    files.into_iter().map(|path| Place { origin, finding: inspect(&path), path }).collect()
}

fn is_library_name(name: &str) -> bool {
    if cfg!(target_os = "windows") {
        name.eq_ignore_ascii_case("onnxruntime.dll")
    } else if cfg!(target_os = "macos") {
        name == "libonnxruntime.dylib" || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
    } else {
        name == "libonnxruntime.so"
            || name.strip_prefix("libonnxruntime.so.").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    }
}

/// Where Python packages of an environment keep the library, and where conda itself does.
fn python_directories(prefix: &Path) -> Vec<PathBuf> {
    let capi = Path::new("onnxruntime").join("capi");
    if cfg!(target_os = "windows") {
        return vec![prefix.join("Lib").join("site-packages").join(capi), prefix.join("Library").join("bin")];
    }
    let library = prefix.join("lib");
    let mut pythons: Vec<PathBuf> = std::fs::read_dir(&library)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("python3")))
        .map(|python| python.join("site-packages").join(&capi))
        .collect();
    pythons.sort();
    pythons.reverse();
    pythons.push(library);
    pythons
}

fn system_directories() -> Vec<PathBuf> {
    // Windows ships an old onnxruntime.dll of its own in the system directory: it is not considered
    if cfg!(target_os = "windows") {
        return Vec::new();
    }
    let variable = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
    let mut directories: Vec<PathBuf> =
        env::var_os(variable).iter().flat_map(env::split_paths).filter(|p| p.is_absolute()).collect();
    let fixed: &[&str] = if cfg!(target_os = "macos") {
        &["/opt/homebrew/lib", "/usr/local/lib"]
    } else if cfg!(target_arch = "aarch64") {
        &["/usr/local/lib", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]
    } else {
        &["/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"]
    };
    directories.extend(fixed.iter().map(PathBuf::from));
    directories.retain(|directory| directory.is_dir());
    directories
}

/// `libonnxruntime.so.1.31.1` → `1.31.1`.
fn version_in_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let digits: String =
        name.chars().skip_while(|c| !c.is_ascii_digit()).take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let digits = digits.trim_end_matches('.');
    parse_version(digits).map(|_| digits.to_owned())
}

/// Major and minor number.
pub(crate) fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The newest library in a directory.
pub(crate) fn in_directory(directory: &Path) -> Option<Place> {
    inside("", directory).into_iter().next()
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use tests::stand_in;
