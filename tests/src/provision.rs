//! What tests need before they can start: the program as it is now, ONNX Runtime by the project's own route, and data that is
//! not part of the project and may be missing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};

use flatscape_engine::{Choice, Engine, Settings, open, runtime};

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the checkout").to_owned()
}

/// The folder into which this profile is built; `flatscape` and the plugins lie in it.
pub fn built() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    test.ancestors().nth(2).expect("target/PROFILE/deps/test").to_owned()
}

/// The program, built from the sources as they are.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(root()).args(["build", "--quiet", "--package", "flatscape-cli", "--package", "flatscape-standard"]);
        build.env("CARGO_TARGET_DIR", built().parent().expect("target/PROFILE"));
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "the program cannot be built");
        built().join(format!("flatscape{}", std::env::consts::EXE_SUFFIX))
    })
}

/// Where the tests keep what `flatscape runtime install` fetches.
pub fn home() -> PathBuf {
    built().parent().expect("target/PROFILE").join("flatscape-home")
}

/// Runs the program with these arguments in an empty folder of its own, or in `folder`.
pub fn flatscape(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.current_dir(folder).args(arguments).env("FLATSCAPE_HOME", home()).env_remove("FLATSCAPE_PLUGIN_PATH").env("NO_COLOR", "1");
    command.output().expect("the program starts")
}

/// ONNX Runtime, installed by `flatscape runtime install` if it is not there yet.
pub fn onnx_runtime() -> Arc<dyn Engine> {
    static ENGINE: OnceLock<Arc<dyn Engine>> = OnceLock::new();
    ENGINE
        .get_or_init(|| {
            let settings = Settings { choice: Choice::Ort, data_dir: home(), threads: 2, ..Settings::default() };
            if let Ok(engine) = open(&settings) {
                return engine;
            }
            eprintln!("installing ONNX Runtime for the tests: flatscape runtime install");
            runtime::install(&home(), false).expect("ONNX Runtime can be installed");
            open(&settings).expect("the installed ONNX Runtime can be loaded")
        })
        .clone()
}

/// The engine that is compiled in.
pub fn tract() -> Arc<dyn Engine> {
    let settings = Settings { choice: Choice::Tract, threads: 2, ..Settings::default() };
    open(&settings).expect("tract is always there")
}

/// Both engines.
pub fn engines() -> [Arc<dyn Engine>; 2] {
    [onnx_runtime(), tract()]
}

/// The folder of data that is not part of the project, or `None` after saying that the test is skipped.
pub fn shared_data(test: &str) -> Option<PathBuf> {
    let named = std::env::var_os("FLATSCAPE_DATA").map(PathBuf::from);
    let found = named.unwrap_or_else(|| root().join("../shared/data"));
    if found.is_dir() {
        return Some(found);
    }
    eprintln!("skipped: {test}: there is no folder FLATSCAPE_DATA and no ../shared/data");
    None
}
