//! `plugins new`: a small project that builds, with the name filled in. The templates are projects in `plugins/templates`, so
//! that they are built as they stand; here only names are replaced.

use std::path::{Path, PathBuf};

use crate::component::check_id;
use crate::error::{Blame, HostError, nearest, shown};

/// A language in which a plugin can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Language {
    Rust,
    C,
}

impl Language {
    /// The language of that name.
    ///
    /// # Errors
    /// No template exists for it.
    pub fn named(name: &str) -> Result<Language, HostError> {
        match name {
            "rust" => Ok(Language::Rust),
            "c" => Ok(Language::C),
            other => {
                let error = HostError::user("P40", format!("there is no template for \"{}\"", shown(other)));
                let near = nearest(other, ["rust", "c"])
                    .map_or_else(|| "there are rust and c".into(), |n| format!("did you mean \"{n}\"?"));
                Err(error.help(near))
            }
        }
    }

    /// The source of a component of this kind, and what belongs to every plugin.
    fn files(self, kind: Template) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let (source, others) = match (self, kind) {
            (Language::Rust, Template::Attack) => (&RUST_ATTACK, RUST),
            (Language::Rust, Template::Metric) => (&RUST_METRIC, RUST),
            (Language::Rust, Template::Trainer) => (&RUST_TRAINER, RUST),
            (Language::C, Template::Attack) => (&C_ATTACK, C),
            (Language::C, Template::Metric) => (&C_METRIC, C),
            (Language::C, Template::Trainer) => (&C_TRAINER, C),
        };
        std::iter::once(source).chain(others)
    }
}

/// A component that a plugin can be started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Template {
    Attack,
    Metric,
    Trainer,
}

/// The words for them, in the order of the help.
const TEMPLATES: &[(&str, Template)] =
    &[("attack", Template::Attack), ("metric", Template::Metric), ("trainer", Template::Trainer)];

impl Template {
    /// The one that `--kind` names.
    ///
    /// # Errors
    /// No template exists for it.
    pub fn named(name: &str) -> Result<Template, HostError> {
        if let Some((_, template)) = TEMPLATES.iter().find(|(word, _)| *word == name) {
            return Ok(*template);
        }
        let error = HostError::user("P40", format!("there is no template for a component of the kind \"{}\"", shown(name)));
        let near = nearest(name, TEMPLATES.iter().map(|(word, _)| *word))
            .map_or_else(|| "there are attack, metric and trainer".into(), |n| format!("did you mean \"{n}\"?"));
        Err(error.help(near))
    }
}

const RUST_ATTACK: (&str, &str) = ("src/lib.rs", include_str!("../../../plugins/templates/rust/src/lib.rs"));
const RUST_METRIC: (&str, &str) = ("src/lib.rs", include_str!("../../../plugins/templates/rust/src/metric.rs"));
const RUST_TRAINER: (&str, &str) = ("src/lib.rs", include_str!("../../../plugins/templates/rust/src/trainer.rs"));
const RUST: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../../plugins/templates/rust/Cargo.toml")),
    (".gitignore", include_str!("../../../plugins/templates/rust/.gitignore")),
];
const C_ATTACK: (&str, &str) = ("my_attack.c", include_str!("../../../plugins/templates/c/my_attack.c"));
const C_METRIC: (&str, &str) = ("my_attack.c", include_str!("../../../plugins/templates/c/my_metric.c"));
const C_TRAINER: (&str, &str) = ("my_attack.c", include_str!("../../../plugins/templates/c/my_trainer.c"));
const C: &[(&str, &str)] = &[
    ("Makefile", include_str!("../../../plugins/templates/c/Makefile")),
    ("flatscape_plugin.h", include_str!("../../../plugins/include/flatscape_plugin.h")),
    ("ext/flatscape_oracle.h", include_str!("../../../plugins/include/ext/flatscape_oracle.h")),
    ("ext/flatscape_reduce.h", include_str!("../../../plugins/include/ext/flatscape_reduce.h")),
    (".gitignore", include_str!("../../../plugins/templates/c/.gitignore")),
];

/// How the Rust template names the SDK, to be replaced.
const SDK_PATH: &str = "path = \"../../../harness/sdk\"";

/// The sources of the SDK as they were when this program was built.
const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// The folder of a new plugin in which the sources of the SDK are written.
const SDK_FOLDER: &str = "flatscape";

/// Writes a plugin with one component of this kind, called `name` (lower case with hyphens), into the new folder `<into>/<name>` and returns its files. A Rust
/// plugin depends on the SDK in the flatscape checkout around this executable or the current folder; where there is none, the
/// sources of the SDK are written beside the plugin.
///
/// # Errors
/// The name is not an id, the folder exists, or it cannot be written.
pub fn new_plugin(name: &str, language: Language, kind: Template, into: &Path) -> Result<Vec<PathBuf>, HostError> {
    check_id(name).map_err(|clause| HostError::user("P40", format!("a plugin cannot be called so: {clause}")))?;
    let folder = into.join(name);
    if folder.exists() {
        let what = format!("{} is there already", shown(&folder.display().to_string()));
        return Err(HostError::user("P40", what).help("choose another name or another folder; nothing is overwritten"));
    }
    let around = checkout();
    let sdk = match &around {
        Some(checkout) => format!("path = {:?}", checkout.join("harness/sdk").display().to_string()),
        None => format!("path = \"{SDK_FOLDER}/harness/sdk\""),
    };
    let mut written = Vec::new();
    for (file, content) in language.files(kind) {
        let path = folder.join(named(file, name));
        // the headers are not templates
        let mut content = if file.ends_with(".h") { (*content).to_owned() } else { named(content, name).replace(SDK_PATH, &sdk) };
        if around.is_none() && *file == "Cargo.toml" {
            content = content.replace("[workspace]", &format!("[workspace]\nexclude = [\"{SDK_FOLDER}\"]"));
        }
        write(&path, &content)?;
        written.push(path);
    }
    if around.is_none() && language == Language::Rust {
        for (file, content) in SDK {
            let content = if *file == "Cargo.toml" { workspace_of_the_sdk(content) } else { (*content).to_owned() };
            write(&folder.join(SDK_FOLDER).join(file), &content)?;
        }
    }
    Ok(written)
}

fn write(path: &Path, content: &str) -> Result<(), HostError> {
    let wrote = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, content));
    wrote.map_err(|e| HostError::new("P41", Blame::Machine, format!("{}: {e}", shown(&path.display().to_string()))))
}

/// The manifest of this workspace, cut down to the crates of the SDK: their versions, dependencies and lints.
fn workspace_of_the_sdk(manifest: &str) -> String {
    let mut kept = String::from("[workspace]\nresolver = \"3\"\nmembers = [\"harness/*\"]\n");
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.starts_with("[workspace.");
        }
        if inside {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

fn named(text: &str, name: &str) -> String {
    TEMPLATES.iter().fold(text.to_owned(), |text, (kind, _)| {
        text.replace(&format!("my-{kind}"), name).replace(&format!("my_{kind}"), &name.replace('-', "_"))
    })
}

/// The flatscape sources around this executable or the current folder.
fn checkout() -> Option<PathBuf> {
    let starts = [std::env::current_exe().ok(), std::env::current_dir().ok()];
    let above = |start: PathBuf| {
        let found = start.ancestors().find(|folder| folder.join("harness/sdk/Cargo.toml").is_file()).map(Path::to_owned);
        found.and_then(|folder| folder.canonicalize().ok())
    };
    starts.into_iter().flatten().find_map(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_of_the_sdk_are_a_workspace() {
        let names: Vec<&str> = SDK.iter().map(|(name, _)| *name).collect();
        for name in ["Cargo.toml", "harness/abi/src/lib.rs", "harness/graph/Cargo.toml", "harness/sdk/src/lib.rs"] {
            assert!(names.contains(&name), "{name} of {names:?}");
        }
        let root = workspace_of_the_sdk(SDK[0].1);
        assert!(root.contains("[workspace.package]") && root.contains("[workspace.dependencies]"), "{root}");
        assert!(!root.contains("[profile") && !root.contains("tests"), "{root}");
    }

    #[test]
    fn templates_carry_the_name_everywhere() {
        let dir = tempfile::tempdir().unwrap();
        for (language, kind, folder) in [
            (Language::Rust, Template::Attack, "rust-one"),
            (Language::C, Template::Attack, "c-one"),
            (Language::Rust, Template::Metric, "rust-two"),
            (Language::C, Template::Metric, "c-two"),
            (Language::Rust, Template::Trainer, "rust-three"),
            (Language::C, Template::Trainer, "c-three"),
        ] {
            let files = new_plugin(folder, language, kind, dir.path()).unwrap();
            for file in &files {
                let text = std::fs::read_to_string(file).unwrap();
                assert!(!["my-", "my_", "../../.."].iter().any(|left| text.contains(left)), "{}", file.display());
            }
            assert!(files.iter().all(|f| f.starts_with(dir.path().join(folder))));
            let again = new_plugin(folder, language, kind, dir.path()).unwrap_err();
            assert!(again.sentence.ends_with(" is there already") && again.exit_code() == 2, "{again}");
        }
        assert!(dir.path().join("c-one/c_one.c").is_file());
        assert_eq!(new_plugin("Bad Name", Language::C, Template::Metric, dir.path()).unwrap_err().exit_code(), 2);
        assert_eq!(Language::named("rsut").unwrap_err().help.as_deref(), Some("did you mean \"rust\"?"));
    }
}
