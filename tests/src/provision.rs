//! What tests need before they can start: the program as it is now, ONNX Runtime by the project's own route, and data that is
//! not part of the project and may be missing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};

use flatscape_engine::{Choice, Engine, Settings, open, runtime};
use flatscape_host::{Plugins, Search, WorkerCommand};

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the checkout").to_owned()
}

/// The folder into which this profile is built; `flatscape` and the plugins lie in it.
pub fn built() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    test.ancestors().nth(2).expect("target/PROFILE/deps/test").to_owned()
}

/// The program, built from the sources as they are, in a folder that holds it and the standard plugins and nothing else.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        build();
        let folder = built().parent().expect("target/PROFILE").join("flatscape-alone");
        for name in [format!("flatscape{}", std::env::consts::EXE_SUFFIX), standard_plugin()] {
            place(&built().join(&name), &folder.join(&name));
        }
        folder.join(format!("flatscape{}", std::env::consts::EXE_SUFFIX))
    })
}

/// Builds the program, the standard plugins and the plugin that panics from the sources as they are, once.
fn build() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(root()).env("CARGO_TARGET_DIR", built().parent().expect("target/PROFILE"));
        // Of the whole workspace, so that every dependency has the features with which it is already built.
        build.args(["build", "--quiet", "--workspace"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "the workspace cannot be built");
    });
}

/// The plugin in Rust that panics when it is asked for a program.
pub fn panicking_plugin() -> PathBuf {
    build();
    built().join(format!("{}misbehaving_panics{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX))
}

/// The file name of the standard plugins.
pub fn standard_plugin() -> String {
    format!("{}flatscape_standard{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

/// Copies a file in one step: one that is running or loaded is replaced, not written into.
fn place(from: &Path, to: &Path) {
    let folder = to.parent().expect("a folder");
    std::fs::create_dir_all(folder).expect("the target directory can be written");
    let copy = tempfile::NamedTempFile::new_in(folder).expect("the target directory can be written").into_temp_path();
    std::fs::copy(from, &copy).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
    copy.persist(to).expect("a copy can be renamed");
}

/// The standard plugins, asked in processes of the program, as in every audit.
pub fn plugins() -> &'static Plugins {
    static PLUGINS: OnceLock<Plugins> = OnceLock::new();
    PLUGINS.get_or_init(|| {
        let file = program().with_file_name(standard_plugin());
        let found = Plugins::discover(&Search::only(&[file]), &WorkerCommand::new(program(), &["plugin-worker"]));
        assert_eq!(found.refused(), [], "the standard plugins load");
        found
    })
}

/// Where the tests keep what `flatscape runtime install` fetches.
pub fn home() -> PathBuf {
    built().parent().expect("target/PROFILE").join("flatscape-home")
}

/// The program with these arguments in `folder`, not started yet.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    command_of(program(), folder, arguments)
}

/// The same for a copy of the program. What the surroundings say about plugins, data and engines is taken away.
pub fn command_of(program: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).args(arguments).env("FLATSCAPE_HOME", home()).env("NO_COLOR", "1");
    for name in ["FLATSCAPE_PLUGIN_PATH", "FLATSCAPE_PLUGIN_SECONDS", "FLATSCAPE_DATA", "ORT_DYLIB_PATH"] {
        command.env_remove(name);
    }
    command
}

/// Runs the program with these arguments in `folder`.
pub fn flatscape(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("the program starts")
}

/// ONNX Runtime, installed by `flatscape runtime install` if it is not there yet.
pub fn onnx_runtime() -> Arc<dyn Engine> {
    onnx_runtime_with(2)
}

/// The same with this many threads.
pub fn onnx_runtime_with(threads: usize) -> Arc<dyn Engine> {
    let library = Some(onnx_runtime_library().to_owned());
    let settings = Settings { choice: Choice::Ort, library, data_dir: home(), threads, ..Settings::default() };
    open(&settings).expect("the installed ONNX Runtime can be loaded")
}

/// The library that the project pins. Only the first who asks may have to fetch it.
pub fn onnx_runtime_library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        std::fs::create_dir_all(home()).expect("the target directory can be written");
        let lock = std::fs::File::create(home().join("lock")).expect("the target directory can be written");
        lock.lock().expect("a file can be locked");
        // not by `eprintln!`, which the test harness keeps for itself
        let _ = writeln!(std::io::stderr(), "ONNX Runtime for the tests: flatscape runtime install, into {}", home().display());
        let installed = runtime::install(&home(), false)
            .unwrap_or_else(|e| panic!("ONNX Runtime cannot be installed, and half of the tests are about it: {e}"));
        installed.library
    })
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
