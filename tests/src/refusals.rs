//! Bad input: each ends in a sentence that names the culprit and in the documented exit code; nothing is left behind, nothing
//! that was computed is lost, and the program never dies of it.

mod inputs;
mod table;

use std::collections::BTreeSet;
use std::path::Path;

use crate::provision::flatscape;
use table::{CASES, Case};

#[test]
fn bad_input_ends_in_a_sentence_and_a_documented_exit_code() {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let wrong = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = CASES.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    if let Err(why) = ends_as_it_should(case) {
                        wrong.lock().expect("no thread panics").push(why);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no thread panics");
    assert!(wrong.is_empty(), "{} of {} cases\n\n{}", wrong.len(), CASES.len(), wrong.join("\n\n"));
}

fn ends_as_it_should(case: &Case) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    (case.make)(folder.path());
    let before = files(folder.path());
    let arguments: Vec<&str> = case.command.split(' ').collect();
    let output = flatscape(folder.path(), &arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    let mut wrong = Vec::new();
    if output.status.code() != Some(case.code) {
        wrong.push(format!("ended with {}, not {}", output.status, case.code));
    }
    if !case.id.is_empty() && !said.contains(&format!("error[{}", case.id)) {
        wrong.push(format!("no error[{}", case.id));
    }
    let mut rest = &*said;
    for fragment in case.says.split(" … ") {
        match rest.split_once(fragment) {
            Some((_, behind)) => rest = behind,
            None => wrong.push(format!("does not say {fragment:?} where it should")),
        }
    }
    let printed = [output.stdout.as_slice(), &output.stderr].concat();
    if printed.iter().any(|&b| b < 0x20 && b != b'\n') || said.contains(['\u{202e}', '\u{fffd}']) {
        wrong.push("prints control characters".to_owned());
    }
    let new: Vec<String> = files(folder.path()).difference(&before).cloned().collect();
    let kept = |name: &str| case.leaves_a_run && (name == "run" || name.starts_with("run/"));
    if let Some(left) = new.iter().find(|name| !kept(name)) {
        wrong.push(format!("leaves {left} behind"));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}: flatscape {}\n  {}\n  {}",
        case.name,
        case.command,
        wrong.join("\n  "),
        said.trim_end().replace('\n', "\n  | ")
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
            if path.is_dir() {
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
    let arguments = "audit m.onnx --data digits -n 8 --attack fgsm --metric logp --landscapes 0 --engine tract --out run";
    let output = flatscape(folder.path(), &arguments.split(' ').collect::<Vec<_>>());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("fgsm") && said.contains("Shrink") && said.contains("node_logits"), "{said}");
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
