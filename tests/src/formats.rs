//! What `flatscape report` writes for other programs, validated by the schemas of SARIF, JUnit and the project with validators
//! that are not ours: Python's `jsonschema` and `xmlschema`, of one version each, fetched by `pip`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use flatscape_report::{
    Certificate, CheckRow, Doubt, Failure, ModelFile, Page, Partial, Record, Requirement, junit_xml, results_json, results_sarif,
};

use crate::provision::{home, root};

/// The schemas, the script and what it needs.
fn schemas() -> PathBuf {
    root().join("tests/golden/schemas")
}

/// The folder with the packages that the script needs. Only the first who asks may have to fetch them.
fn packages() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = home().join("schema-validators");
        fs::create_dir_all(home()).expect("the target directory can be written");
        let lock = fs::File::create(home().join("lock-schema-validators")).expect("the target directory can be written");
        lock.lock().expect("a file can be locked");
        if !folder.is_dir() {
            // not by `eprintln!`, which the test harness keeps for itself
            let _ = writeln!(std::io::stderr(), "jsonschema and xmlschema for the tests, into {}", folder.display());
            let work = tempfile::tempdir_in(home()).expect("the target directory can be written");
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]);
            pip.args(["--python-version", "3.12", "--platform", "any", "--implementation", "py", "--abi", "none"]);
            pip.arg("--target").arg(work.path().join("packages")).arg("--requirement").arg(schemas().join("requirements.txt"));
            let output = pip.output().expect("python3 is there");
            let says = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "the validators cannot be fetched: {says}");
            fs::rename(work.path().join("packages"), &folder).expect("a folder can be renamed");
        }
        folder
    })
}

/// What the validators say of these files; empty if nothing is wrong.
fn wrong(files: &[PathBuf]) -> String {
    let mut python = Command::new("python3");
    python.arg("-B").arg(schemas().join("validate.py")).args(files).env("PYTHONPATH", packages());
    let output = python.output().expect("python3 is there");
    let says = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.success(), says.is_empty(), "{says}");
    says
}

/// Writes the page in the three forms that have a schema.
fn written(page: &Page, folder: &Path, name: &str) -> Vec<PathBuf> {
    let files = [
        (format!("{name}.json"), results_json(page).expect("JSON")),
        (format!("{name}.sarif"), results_sarif(page).expect("SARIF")),
        (format!("{name}.xml"), junit_xml(page)),
    ];
    files
        .into_iter()
        .map(|(name, text)| {
            let path = folder.join(name);
            fs::write(&path, text).expect("written");
            path
        })
        .collect()
}

/// A page in which every field holds something, with `text` as every text.
fn page(text: &str) -> Page {
    let own = || text.to_owned();
    let row = |component: &str, metric: &str, value: Option<f64>| Record {
        model: own(),
        model_sha256: own(),
        dataset: own(),
        split: own(),
        n: 10,
        component: component.to_owned(),
        component_version: own(),
        args: own(),
        threat: own(),
        eps: Some(f64::INFINITY),
        metric: metric.to_owned(),
        value,
        ci_low: value,
        ci_high: None,
        engine: own(),
        device: own(),
        flags: vec![own(), "unsupported".to_owned()],
        plugin: own(),
        plugin_sha256: own(),
        ..Record::default()
    };
    let check = CheckRow { check: own(), outcome: own(), samples: 3, ..CheckRow::default() };
    Page {
        title: own(),
        command: own(),
        partial: Some(Partial { done: 3, of: 9 }),
        interval: own(),
        records: vec![
            row("clean", "clean_accuracy", Some(0.9)),
            row("clean", "ties", Some(0.1)),
            row(text, "robust_accuracy", Some(0.4)),
            row("union", "robust_accuracy", Some(0.4)),
            row("union", "robust_accuracy_continuous", Some(0.3)),
            row("union", "coverage", Some(0.5)),
            row(text, "logp_mean", Some(f64::NAN)),
            row(text, "", None),
        ],
        doubts: vec![
            Doubt { code: own(), advice: own(), model: own(), threat: own(), unreliable: true, ..Doubt::default() },
            Doubt { code: own(), raised_if: own(), explanation: own(), raised_for: own(), ..Doubt::default() },
        ],
        requirements: vec![
            Requirement { model: own(), text: own(), holds: false, found: own() },
            Requirement { text: own(), holds: true, ..Requirement::default() },
        ],
        failures: vec![Failure { model: own(), code: own(), sentence: own(), ..Failure::default() }],
        certificates: vec![Certificate { model: own(), sentence: own(), failed: true, rows: vec![check] }],
        version: own(),
        data_sha256: own(),
        models: vec![ModelFile { name: own(), sha256: own(), file: own() }],
        ..Page::default()
    }
}

#[test]
fn what_is_written_for_programs_is_valid_whatever_the_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let texts =
        ["name", "", "</failure><x>&\"'", "]]>\u{0}\u{1b}[2J\u{202e}\u{ffff}", "[x](javascript:alert(1)){0}", "../a b:c\\é🦀"];
    let mut files = written(&Page::default(), folder.path(), "empty");
    for (place, text) in texts.iter().enumerate() {
        files.extend(written(&page(text), folder.path(), &format!("page-{place}")));
    }
    assert_eq!(wrong(&files), "");
}

#[test]
fn the_validators_notice_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = written(&page("name"), folder.path(), "page");
    for (file, from, to) in [
        (&files[0], "\"schema_version\": 1", "\"schema_version\": 2"),
        (&files[0], "\"unreliable\": true,\n  \"interval\"", "\"interval\""),
        (&files[0], "\"NaN\"", "NaN"),
        (&files[0], "\"holds\"", "\"held\""),
        (&files[1], "\"level\": \"error\"", "\"level\": \"grave\""),
        (&files[1], "\"text\"", "\"words\""),
        (&files[2], "<testcase", "<test"),
        (&files[2], " failures=", " fails="),
    ] {
        let text = fs::read_to_string(file).expect("read");
        assert!(text.contains(from), "{from} is not in {}", file.display());
        fs::write(file, text.replace(from, to)).expect("written");
        assert_ne!(wrong(std::slice::from_ref(file)), "", "{from} → {to}");
        fs::write(file, text).expect("written");
    }
    assert_eq!(wrong(&files), "");
}
