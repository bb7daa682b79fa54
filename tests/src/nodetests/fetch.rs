//! Where the node tests of ONNX come from: the `onnx` package of one version with one hash, fetched by `uv` or `pip`, so that
//! their proxies, certificates and mirrors apply. Knows no index and no host. Of the package only the data are kept.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::provision::home;

/// The last version with node tests in its package.
const VERSION: &str = "1.22.0";

/// Of the package for Linux on x86-64; the data are the same in all of them, so this one is fetched on every machine.
const SHA256: &str = "955e02e1f6d385b53d52f9cd7b9cdf5caf417c300bcfe3c64c6d542be763845b";

/// The folder with one folder per node test. Only the first who asks may have to fetch it.
pub fn node_tests() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = home().join(format!("onnx-{VERSION}-node-tests"));
        fs::create_dir_all(home()).expect("the target directory can be written");
        let lock = fs::File::create(home().join("lock-node-tests")).expect("the target directory can be written");
        lock.lock().expect("a file can be locked");
        if !folder.is_dir() {
            // not by `eprintln!`, which the test harness keeps for itself
            let _ = writeln!(std::io::stderr(), "Node tests of ONNX {VERSION}: the package onnx, into {}", folder.display());
            let work = tempfile::tempdir_in(home()).expect("the target directory can be written");
            fetch(work.path()).unwrap_or_else(|why| panic!("the node tests of ONNX {VERSION} cannot be fetched: {why}"));
            fs::rename(work.path().join("package/onnx/backend/test/data/node"), &folder).expect("the package has node tests");
        }
        folder
    })
}

/// Has the first program that is there unpack the package under `work`.
fn fetch(work: &Path) -> Result<(), String> {
    let requirements = work.join("requirements.txt");
    fs::write(&requirements, format!("onnx=={VERSION} --hash=sha256:{SHA256}\n")).map_err(|e| e.to_string())?;
    let mut failure = "neither uv nor a Python with pip is there".to_owned();
    for (program, prefix) in [("uv", &["pip"][..]), ("python3", &["-m", "pip"]), ("python", &["-m", "pip"])] {
        let mut command = Command::new(program);
        command.args(prefix).args(["install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]);
        command.args(["--python-version", "3.12", "--target"]).arg(work.join("package")).arg("--requirement").arg(&requirements);
        match program {
            "uv" => command.args(["--python-platform", "x86_64-manylinux_2_28"]),
            _ => command.args(["--implementation", "cp", "--abi", "abi3", "--platform", "manylinux_2_28_x86_64", "--no-compile"]),
        };
        let Ok(output) = command.output() else { continue };
        if output.status.success() {
            return Ok(());
        }
        failure = format!("{program} says: {}", String::from_utf8_lossy(&output.stderr).trim());
        let _ = fs::remove_dir_all(work.join("package"));
    }
    Err(failure)
}
