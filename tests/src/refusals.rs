//! Bad input: each ends in a sentence that names the culprit and in the documented exit code; nothing is left behind, nothing
//! that was computed is lost, and the program never dies of it.

pub mod child;
mod crafted;
mod external;
mod ids;
mod inputs;
mod rows;
mod semantics;
mod structure;
mod table;
mod wire_format;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use flatscape_graph::{onnx, text};

use crate::provision::{flatscape, onnx_runtime_library, program};
use rows::{ELSEWHERE, ROWS};
use table::Case;

/// The most seconds on the processor that a refusal may take, …
const SECONDS: f64 = 5.0;
/// … and the most memory.
const MEMORY: u64 = 300 << 20;

/// Every case, by what it is about.
const TABLES: &[(&str, &[Case])] = &[
    ("files and wire format", wire_format::CASES),
    ("structure of graphs", structure::CASES),
    ("weights in other files", external::CASES),
    ("meaning of models", semantics::CASES),
    ("everything that people hand over by mistake", table::CASES),
];

#[test]
fn bad_input_ends_in_a_sentence_and_a_documented_exit_code() {
    let cases: Vec<&Case> = TABLES.iter().flat_map(|(_, cases)| *cases).collect();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    program();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = ends_as_it_should(case) {
                        wrong.lock().expect("no thread panics").push(why);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no thread panics");
    assert!(wrong.is_empty(), "{} of {} cases\n\n{}", wrong.len(), cases.len(), wrong.join("\n\n"));
}

/// Every kind of bad model has a case here, or a reason why not. Prints the table.
#[test]
fn every_kind_of_bad_model_is_tried_or_is_said_to_be_elsewhere() {
    let mut cases: BTreeMap<u16, Vec<&Case>> = BTreeMap::new();
    for case in TABLES.iter().flat_map(|(_, cases)| *cases) {
        cases.entry(case.number()).or_default().push(case);
    }
    let mut lines = Vec::new();
    for (number, about) in ROWS {
        let here = cases.get(number).map_or(0, Vec::len);
        let elsewhere = ELSEWHERE.iter().find(|(row, _)| row == number).map(|(_, why)| *why);
        assert!(here > 0 || elsewhere.is_some(), "nothing is tried for row {number}: {about}");
        lines.push(format!(
            "{number:4}  {here:3}  {about}{}",
            elsewhere.map_or(String::new(), |why| format!(" (elsewhere: {why})"))
        ));
    }
    assert!(
        ROWS.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0)
            && ELSEWHERE.iter().all(|(row, _)| ROWS.iter().any(|r| r.0 == *row))
    );
    let all: usize = TABLES.iter().map(|(_, cases)| cases.len()).sum();
    let tables: Vec<String> = TABLES.iter().map(|(about, cases)| format!("{} {about}", cases.len())).collect();
    let total = format!("{all} cases: {}; {} kinds of bad models", tables.join(", "), ROWS.len());
    // not by `println!`, which the test harness keeps for itself
    let _ = writeln!(std::io::stderr(), " row cases about\n{}\n{total}", lines.join("\n"));
}

fn ends_as_it_should(case: &Case) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    (case.make)(folder.path());
    let before = files(folder.path());
    let arguments: Vec<&str> = case.command.split(' ').collect();
    let ended = child::flatscape(folder.path(), &arguments);
    let said = String::from_utf8_lossy(&ended.stderr);
    let printed = String::from_utf8_lossy(&ended.stdout);
    let mut wrong = Vec::new();
    if ended.code() != case.code {
        wrong.push(format!("ended with {:?}, not {}", ended.status, case.code));
    }
    if !case.id.is_empty() && !said.contains(&format!("error[{}", case.id)) {
        wrong.push(format!("no error[{}", case.id));
    }
    if !said.contains(case.culprit) {
        wrong.push(format!("does not name {}", case.culprit));
    }
    for (text, fragments) in [(&said, case.says), (&printed, case.prints)] {
        let mut rest: &str = text;
        for fragment in fragments.split(" … ") {
            match rest.split_once(fragment) {
                Some((_, behind)) => rest = behind,
                None => wrong.push(format!("does not say {fragment:?} where it should")),
            }
        }
    }
    let all = [ended.stdout.as_slice(), &ended.stderr].concat();
    if all.iter().any(|&b| b < 0x20 && b != b'\n') || said.contains(['\u{202e}', '\u{fffd}']) {
        wrong.push("prints control characters".to_owned());
    }
    if all.len() > 20_000 {
        wrong.push(format!("prints {} bytes", all.len()));
    }
    if ended.seconds > SECONDS {
        wrong.push(format!("takes {:.1} s of the processor", ended.seconds));
    }
    if ended.memory > MEMORY {
        wrong.push(format!("takes {} MB of memory", ended.memory >> 20));
    }
    let new: Vec<String> = files(folder.path()).difference(&before).cloned().collect();
    let kept = |name: &str| !case.leaves.is_empty() && (name == case.leaves || name.starts_with(&format!("{}/", case.leaves)));
    if let Some(left) = new.iter().find(|name| !kept(name)) {
        wrong.push(format!("leaves {left} behind"));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "row {}, {}: flatscape {}\n  {}\n  {}",
        case.number(),
        case.name,
        case.command,
        wrong.join("\n  "),
        [&*said, &*printed].concat().trim_end().chars().take(1500).collect::<String>().replace('\n', "\n  | ")
    ))
}

/// Files and folders below a folder, as relative paths.
fn files(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a temporary folder can be read") {
            let path = entry.expect("a temporary folder can be read").path();
            found.insert(path.strip_prefix(root).expect("it lies below").to_string_lossy().into_owned());
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            }
        }
    }
    found
}

#[test]
fn a_bad_model_costs_a_good_one_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    inputs::text_file(folder.path(), "bad.onnx", "version https://git-lfs.github.com/spec/v1\n");
    let common = ["--data", "digits", "-n", "8", "--attack", "fgsm", "--landscapes", "0", "--engine", "tract"];
    let both = flatscape(folder.path(), &[&["audit", "bad.onnx", "digits-standard", "--out", "both"][..], &common].concat());
    assert_eq!(both.status.code(), Some(0), "{}", String::from_utf8_lossy(&both.stderr));
    let alone = flatscape(folder.path(), &[&["audit", "digits-standard", "--out", "alone"][..], &common].concat());
    assert_eq!(alone.status.code(), Some(0), "{}", String::from_utf8_lossy(&alone.stderr));
    let rows = |run: &str| values(&folder.path().join(run));
    let (found, expected) = (rows("both"), rows("alone"));
    assert!(expected.len() >= 2, "{expected:?}");
    let (bad, good): (Vec<_>, Vec<_>) = found.into_iter().partition(|row| row.model == "bad");
    assert_eq!(good, expected);
    assert_eq!(bad.len(), 1);
    assert_eq!((bad[0].value.as_str(), bad[0].flags.as_str()), ("", "M004"));
}

#[test]
fn an_operator_without_a_gradient_costs_only_what_needs_the_gradient() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    inputs::model(folder.path(), table::unruled());
    let arguments = "audit m.onnx --data digits -n 8 --attack fgsm --metric logp --landscapes 0 --engine ort --out run";
    onnx_runtime_library();
    let output = flatscape(folder.path(), &arguments.split(' ').collect::<Vec<_>>());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("fgsm") && said.contains("Det") && said.contains("node_volume"), "{said}");
    let rows = values(&folder.path().join("run"));
    let value = |component: &str| rows.iter().find(|r| r.component == component).map(|r| (r.value.is_empty(), r.flags.clone()));
    assert!(!value("clean").expect("a row").0, "{rows:?}");
    assert!(!value("logp").expect("a row").0, "{rows:?}");
    assert_eq!(value("fgsm"), Some((true, "M026".to_owned())), "{rows:?}");
    assert!(matches!(output.status.code(), Some(0 | 9)), "{said}");
}

/// What of `results.csv` does not depend on time.
#[derive(Debug, PartialEq)]
struct Row {
    model: String,
    component: String,
    metric: String,
    value: String,
    flags: String,
}

fn values(run: &Path) -> Vec<Row> {
    let table = std::fs::read_to_string(run.join("results.csv")).expect("results.csv");
    let header: Vec<&str> = table.lines().next().expect("a header").split(',').collect();
    let at = |name: &str| header.iter().position(|h| *h == name).expect(name);
    let rows = table.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect::<Vec<String>>());
    rows.map(|row| {
        let cell = |name: &str| row[at(name)].clone();
        let [model, component, metric, value, flags] = ["model", "component", "metric", "value", "flags"].map(cell);
        Row { model, component, metric, value, flags }
    })
    .collect()
}

/// The bytes that `grad` writes for a model file.
fn gradient_of(folder: &Path, model: &[u8]) -> Vec<u8> {
    inputs::file(folder, "m.onnx", model);
    let output = flatscape(folder, &["grad", "m.onnx", "-o", "g.onnx"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(folder.join("g.onnx")).expect("a gradient")
}

#[test]
fn what_is_dropped_does_not_come_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let plain = gradient_of(folder.path(), &crafted::good().bytes());
    let twin = gradient_of(folder.path(), &wire_format::polyglot());
    assert_eq!(program_in(&twin), program_in(&plain), "a file that is two kinds at once");
    let secret = b"ort_config";
    let metadata = crate::wire::bytes(14, &[crafted::text(1, "ort_config"), crafted::text(2, "{}")].concat());
    let prose = crate::wire::bytes(7, &crafted::text(10, "ort_config"));
    let odd = [crafted::good().bytes(), metadata, prose, crate::wire::bytes(77, secret)].concat();
    let written = gradient_of(folder.path(), &odd);
    assert_eq!(program_in(&written), program_in(&plain));
    assert!(!written.windows(secret.len()).any(|w| w == secret));
}

/// The graph in a file with all its numbers, without what the file says of its origin.
fn program_in(file: &[u8]) -> String {
    text::print_whole(&onnx::read(file).expect("a gradient is a model").graph)
}

#[test]
fn nothing_is_written_through_a_link() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    inputs::model(folder.path(), crafted::good());
    inputs::text_file(folder.path(), "thesis.tex", "everything");
    std::os::unix::fs::symlink("thesis.tex", folder.path().join("g.onnx")).expect("a link");
    for out in ["g.onnx", "/dev/null", "."] {
        let output = flatscape(folder.path(), &["grad", "m.onnx", "-o", out]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(7) && said.contains("error[O094]") && said.contains("regular file"), "{said}");
    }
    assert_eq!(std::fs::read(folder.path().join("thesis.tex")).expect("a file"), b"everything");
}

/// The model and its weights are exchanged while the program works on them; it goes on with what it has read.
#[test]
fn a_file_that_is_replaced_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let weights: Vec<u8> = (0..640u32).flat_map(|i| ((i * 37 % 101) as f32 / 100.0 - 0.5).to_le_bytes()).collect();
    inputs::file(folder.path(), "w.bin", &weights);
    let entries: &[(&str, &str)] = &[("location", "w.bin")];
    let model = crate::wire::Model::new()
        .input("x", "float[N,1,8,8]")
        .tensor("w", &[64, 10], crate::wire::Data::External(entries))
        .node_with("Flatten", &["x"], "rows", &[("axis", 1)])
        .node("MatMul", &["rows", "w"], "logits")
        .output("logits", "float[N,10]");
    inputs::model(folder.path(), model);
    let arguments = "audit m.onnx --data digits -n 64 --attack pgd:steps=20 --landscapes 0 --engine tract --out";
    let audit =
        |out: &str| crate::provision::command(folder.path(), &[&arguments.split(' ').collect::<Vec<_>>()[..], &[out]].concat());
    let undisturbed = audit("a").output().expect("the program starts");
    let mut disturbed =
        audit("b").stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().expect("it starts");
    // the manifest is written when models and data have been read, and before anything is attacked
    while !path("b/manifest.json").exists() && disturbed.try_wait().expect("a child").is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    inputs::file(folder.path(), "w.bin", &[0; 4]);
    inputs::text_file(folder.path(), "m.onnx", "gone");
    let ended = disturbed.wait_with_output().expect("a child");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), undisturbed.status.code(), "{said}");
    assert!(said.contains("m has changed on disk since it was read"), "{said}");
    let values = |run: &str| values(&path(run));
    assert!(values("a").len() > 1);
    assert_eq!(values("a"), values("b"));
}

#[test]
#[cfg(unix)]
fn a_file_that_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("m.onnx");
    inputs::model(folder.path(), crafted::good());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).expect("permissions");
    if std::fs::read(&path).is_ok() {
        println!("skipped: this user may read everything");
        return;
    }
    let output = flatscape(folder.path(), &["inspect", "m.onnx"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && said.contains("error[M001]: permission denied: m.onnx"), "{said}");
}

#[test]
fn machines_are_told_the_same() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    inputs::text_file(folder.path(), "m.onnx", "version https://git-lfs.github.com/spec/v1\n");
    let output = flatscape(folder.path(), &["inspect", "m.onnx", "--json"]);
    assert_eq!(output.status.code(), Some(3));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&told["error"]["id"], &told["error"]["class"]), (&"M004".into(), &"model".into()));
    assert!(told["error"]["what"].as_str().is_some_and(|what| what.contains("git-LFS")), "{told}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("error[M004]: ") && said.contains("\nhelp: "), "{said}");
    let usage = flatscape(folder.path(), &["inspect", "--jsn", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&usage.stdout).expect("JSON");
    assert_eq!((usage.status.code(), &told["error"]["id"]), (Some(2), &"U002".into()));
}
