//! Fetching and laying down: runs `uv` or `pip`, checks what came, moves it into place in one step.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::wheels::{PYTHON, PYTHON_TAG, VERSION, Wheel};
use super::{Installed, PROVENANCE, Provenance, directory};
use crate::library::{self, Finding};

/// Why ONNX Runtime was not installed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// There is no package for this machine.
    #[error(
        "there is no package of ONNX Runtime {VERSION}{kind} for {system} on {machine}; build the library and name it with --ort-lib, or use --engine tract"
    )]
    NoPackage {
        /// ` with CUDA`, or nothing.
        kind: &'static str,
        /// The operating system.
        system: &'static str,
        /// The processor.
        machine: &'static str,
    },
    /// Neither uv nor a Python with pip is there.
    #[error(
        "neither `uv` nor a Python with pip was found, and one of them has to fetch ONNX Runtime: install one, or fetch {wheel} (sha256 {sha256}) yourself, unpack it and name the library with --ort-lib"
    )]
    NoInstaller {
        /// The file that would be fetched.
        wheel: String,
        /// Its hash.
        sha256: &'static str,
    },
    /// The installer ran and failed.
    #[error("{installer} could not fetch {package} {VERSION}: {said}")]
    Fetch {
        /// `uv` or `pip`.
        installer: String,
        /// The package.
        package: &'static str,
        /// The last lines that it wrote.
        said: String,
    },
    /// What came does not hold a usable library.
    #[error("{wheel} was fetched and holds no usable library: {reason}")]
    Unusable {
        /// The file.
        wheel: String,
        /// What is wrong.
        reason: String,
    },
    /// The data directory cannot be written.
    #[error("{} cannot be written: {source}; set FLATSCAPE_HOME to a directory that can", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Fetches the pinned ONNX Runtime for this machine and keeps its libraries under `data_dir`. Nothing is fetched when it is there.
///
/// # Errors
/// [`RuntimeError`]; the data directory is as it was before.
pub fn install(data_dir: &Path, cuda: bool) -> Result<Installed, RuntimeError> {
    install_with(data_dir, cuda, &installers())
}

/// A program that can fetch packages, and the arguments that come first.
pub(super) struct Installer {
    pub name: &'static str,
    pub program: PathBuf,
    pub prefix: &'static [&'static str],
}

/// What may be on the machine, in the order in which it is tried.
fn installers() -> Vec<Installer> {
    let python = |program: &str| Installer { name: "pip", program: program.into(), prefix: &["-m", "pip"] };
    vec![Installer { name: "uv", program: "uv".into(), prefix: &["pip"] }, python("python3"), python("python")]
}

pub(super) fn install_with(data_dir: &Path, cuda: bool, installers: &[Installer]) -> Result<Installed, RuntimeError> {
    let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    let kind = if cuda { " with CUDA" } else { "" };
    let wheel = Wheel::of(system, machine, cuda).ok_or(RuntimeError::NoPackage { kind, system, machine })?;
    let target = directory(data_dir, cuda);
    let note = cuda.then(|| {
        format!(
            "CUDA 13 and cuDNN 9 have to be found by the loader: from the system, or from `pip install onnxruntime-gpu[cuda,cudnn]=={VERSION}` with its library folders in LD_LIBRARY_PATH"
        )
    });
    if let Some((library, provenance)) = present(&target) {
        return Ok(Installed { directory: target, library, provenance, already: true, note });
    }
    let parent = data_dir.join("runtime");
    fs::create_dir_all(&parent).map_err(|source| RuntimeError::Write { path: parent.clone(), source })?;
    let work = parent.join(format!(".fetching-{}", std::process::id()));
    let laid = fetch(wheel, &work, installers).and_then(|installer| lay_down(wheel, &work, &target, installer));
    let _ = fs::remove_dir_all(&work);
    laid?;
    let (library, provenance) = present(&target).ok_or_else(|| RuntimeError::Unusable {
        wheel: wheel.file_name(),
        reason: format!("{} is incomplete", target.display()),
    })?;
    Ok(Installed { directory: target, library, provenance, already: false, note })
}

/// A complete installation.
fn present(target: &Path) -> Option<(PathBuf, Provenance)> {
    let provenance = serde_json::from_slice(&fs::read(target.join(PROVENANCE)).ok()?).ok()?;
    Some((usable(target).ok()?, provenance))
}

/// Has the first installer that is there unpack the package under `work`; returns its name.
fn fetch(wheel: &Wheel, work: &Path, installers: &[Installer]) -> Result<&'static str, RuntimeError> {
    let write =
        |path: &Path, result: io::Result<()>| result.map_err(|source| RuntimeError::Write { path: path.to_owned(), source });
    write(work, fs::create_dir_all(work))?;
    let requirements = work.join("requirements.txt");
    write(&requirements, fs::write(&requirements, wheel.requirement()))?;
    let mut failure = None;
    for installer in installers {
        let mut command = Command::new(&installer.program);
        command.args(installer.prefix).args(["install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]);
        command.args(["--python-version", PYTHON, "--target"]).arg(work.join("package")).arg("--requirement").arg(&requirements);
        match installer.name {
            // uv reads the oldest macOS from the environment
            "uv" => command.args(["--python-platform", wheel.uv_platform]).env("MACOSX_DEPLOYMENT_TARGET", "14.0"),
            _ => command.args(["--implementation", "cp", "--abi", PYTHON_TAG, "--platform", wheel.platform, "--no-compile"]),
        };
        let Ok(output) = command.stdin(Stdio::null()).output() else { continue };
        if output.status.success() {
            return Ok(installer.name);
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if said.contains("No module named pip") {
            continue;
        }
        let _ = fs::remove_dir_all(work.join("package"));
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let said = lines[lines.len().saturating_sub(4)..].join(" / ");
        failure = failure.or(Some(RuntimeError::Fetch { installer: installer.name.to_owned(), package: wheel.package(), said }));
    }
    Err(failure.unwrap_or_else(|| RuntimeError::NoInstaller { wheel: wheel.file_name(), sha256: wheel.sha256 }))
}

/// Collects the libraries and the licence in a directory of their own, checks them, and puts the directory in place.
fn lay_down(wheel: &Wheel, work: &Path, target: &Path, installer: &str) -> Result<(), RuntimeError> {
    let unusable = |reason: String| RuntimeError::Unusable { wheel: wheel.file_name(), reason };
    let write = |path: &Path, source: io::Error| RuntimeError::Write { path: path.to_owned(), source };
    let package = work.join("package").join("onnxruntime");
    let laid = work.join("laid");
    fs::create_dir_all(&laid).map_err(|e| write(&laid, e))?;
    let libraries =
        fs::read_dir(package.join("capi")).map_err(|_| unusable("the folder onnxruntime/capi is not in it".to_owned()))?;
    let texts = ["LICENSE", "ThirdPartyNotices.txt"].map(|name| package.join(name));
    for path in libraries.filter_map(|entry| Some(entry.ok()?.path())).filter(|p| is_library(p)).chain(texts) {
        let Some(name) = path.file_name().filter(|_| path.is_file()) else { continue };
        fs::copy(&path, laid.join(name)).map_err(|e| write(&laid, e))?;
    }
    usable(&laid).map_err(&unusable)?;
    let provenance = Provenance {
        package: wheel.package().to_owned(),
        version: VERSION.to_owned(),
        wheel: wheel.file_name(),
        sha256: wheel.sha256.to_owned(),
        installer: installer.to_owned(),
    };
    let text = serde_json::to_vec_pretty(&provenance).map_err(|e| unusable(e.to_string()))?;
    fs::write(laid.join(PROVENANCE), text).map_err(|e| write(&laid, e))?;
    // what is left of an interrupted installation is in the way
    let _ = fs::remove_dir_all(target);
    fs::rename(&laid, target).map_err(|e| write(target, e))
}

/// The shared libraries of the runtime, without the extension module for Python.
fn is_library(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    name.starts_with("libonnxruntime") || (name.starts_with("onnxruntime") && name.ends_with(".dll"))
}

/// The library in a directory, if it has the requested version.
fn usable(directory: &Path) -> Result<PathBuf, String> {
    let place = library::in_directory(directory).ok_or("there is no library")?;
    match place.finding {
        Finding::Usable { version } if version.as_deref().is_none_or(|v| v == VERSION) => Ok(place.path),
        Finding::Usable { version } => Err(format!("its library is version {}, not {VERSION}", version.unwrap_or_default())),
        Finding::Missing => Err("there is no library".to_owned()),
        Finding::Refused(reason) => Err(format!("its library {reason}")),
    }
}
