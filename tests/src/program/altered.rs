//! Results and jobs that are not what the run wrote: replaced, cut, emptied, rewritten with a receipt that fits, or put there while
//! the run goes on. They are set aside, said and computed again; nothing of them counts.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use flatscape_graph::rows;
use flatscape_intake::files::sha256;
use flatscape_measure::findings::Findings;
use flatscape_measure::verify::Outcome;

use super::{ABOUT_THE_COMMAND, Run, TINY_JOBS, finished, tiny};
use crate::provision::command;

fn receipt(result: &str) -> String {
    result.replace(".npz", ".receipt.json")
}

/// Writes a result with a receipt that fits it.
fn vouched(run: &Run, result: &str, bytes: &[u8]) {
    let mut receipt_of: serde_json::Value = serde_json::from_slice(&finished().read(&receipt(result))).expect("a receipt");
    receipt_of["result"] = sha256(bytes).into();
    std::fs::write(run.path(result), bytes).expect("written");
    std::fs::write(run.path(&receipt(result)), receipt_of.to_string()).expect("written");
}

/// Rewrites the findings of a result, with a receipt that fits.
fn rewritten(run: &Run, result: &str, change: impl Fn(&mut Findings)) {
    let mut findings = Findings::decode(&run.read(result)).expect("findings");
    change(&mut findings);
    vouched(run, result, &findings.encode().expect("encoded"));
}

/// The first samples alone: every column that has one value per sample is cut.
fn cut(findings: &mut Findings, count: usize) {
    let all = findings.get::<i64>("id").expect("ids").len();
    let chosen: Vec<usize> = (0..count).collect();
    for (_, column) in findings.0.iter_mut().filter(|(name, c)| !name.starts_with("witness_") && c.shape().first() == Some(&all))
    {
        *column = rows(column, &chosen);
    }
}

/// Every outcome becomes «held», and there is no adversarial example.
fn all_held(findings: &mut Findings) {
    let codes = findings.get::<u8>("outcome").expect("outcomes");
    findings.column("outcome", vec![Outcome::Held as u8; codes.len()]);
    let witnesses: Vec<String> = findings.0.keys().filter(|name| name.starts_with("witness_")).cloned().collect();
    for name in witnesses {
        let none = rows(findings.tensor(&name).expect("a column"), &[]);
        findings.0.insert(name, none);
    }
}

/// One result of a run is spoiled.
type Spoil = fn(&Run, &str);

/// The job whose result is spoiled (kind and position), how, and what must be said of it.
const SPOILT: &[(&str, usize, Spoil, &str)] = &[
    ("fgsm", 0, |run, name| write(run, name, &run.read(&run.shard("fgsm", 1))), "its SHA-256 differs from its receipt"),
    (
        "fgsm",
        1,
        |run, name| {
            write(run, name, &run.read(&run.shard("pgd", 1)));
            write(run, &receipt(name), &run.read(&receipt(&run.shard("pgd", 1))));
        },
        "belongs to another job",
    ),
    ("fgsm", 2, |run, name| vouched(run, name, &run.read(&run.shard("pgd", 2))), "names another job"),
    ("pgd", 0, |run, name| rewritten(run, name, |f| cut(f, 5)), "has 5 rows where its job has 10 samples"),
    ("pgd", 1, |run, name| rewritten(run, name, |f| cut(f, 0)), "has 0 rows where its job has 10 samples"),
    (
        "pgd",
        2,
        |run, name| {
            rewritten(run, name, |f| {
                let mut codes = f.get::<u8>("outcome").expect("outcomes");
                let broken = codes.iter_mut().find(|c| **c == Outcome::Broken as u8).expect("one that is broken");
                *broken = Outcome::Held as u8;
                f.column("outcome", codes);
            });
        },
        "outcomes that do not agree with its adversarial examples",
    ),
    ("clean", 0, |run, name| vouched(run, name, b""), "cannot be read"),
    (
        "clean",
        1,
        |run, name| {
            rewritten(run, name, |f| {
                let short = rows(f.tensor("prediction").expect("a column"), &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
                f.0.insert("prediction".into(), short);
            });
        },
        "a column `prediction` that does not have one value per sample",
    ),
    (
        "clean",
        2,
        |run, name| {
            let bytes = run.read(name);
            write(run, name, &bytes[..bytes.len() / 2]);
        },
        "its SHA-256 differs from its receipt",
    ),
    ("ams", 0, |run, name| std::fs::remove_file(run.path(&receipt(name))).expect("removed"), "has no receipt"),
    (
        "ams",
        1,
        |run, name| {
            rewritten(run, name, |f| f.column("id", (0..10i64).collect()));
        },
        "rows that are not the samples 10 to 20",
    ),
    (
        "ams",
        2,
        |run, name| {
            let bytes = run.read(name);
            vouched(run, name, &bytes[..bytes.len() - 7]);
        },
        "cannot be read",
    ),
    (
        "certificate",
        0,
        |run, name| rewritten(run, name, |f| f.column("certificate", b"{}".to_vec())),
        "a column `certificate` that cannot be read",
    ),
    ("suggestions", 0, |run, name| rewritten(run, name, |f| drop(f.0.remove("suggestions"))), "suggestions"),
    ("losses", 0, |run, name| rewritten(run, name, |f| drop(f.0.remove("broken_by_margin"))), "broken_by_margin"),
];

fn write(run: &Run, name: &str, bytes: &[u8]) {
    std::fs::write(run.path(name), bytes).expect("written");
}

fn set_aside(run: &Run) -> usize {
    std::fs::read_dir(run.path("set-aside")).map_or(0, Iterator::count)
}

#[test]
fn results_that_do_not_fit_their_jobs_are_set_aside_and_computed_again() {
    let run = finished().copy();
    assert_eq!(SPOILT.len(), TINY_JOBS, "every result is spoiled");
    let names: Vec<String> = SPOILT.iter().map(|(kind, nth, ..)| finished().shard(kind, *nth)).collect();
    // the names are from before: what is spoiled first must not be the pattern of what is spoiled later
    for (name, (_, _, spoil, _)) in names.iter().zip(SPOILT) {
        let fresh = finished().copy();
        spoil(&fresh, name);
        for file in [name.clone(), receipt(name)] {
            let _ = std::fs::remove_file(run.path(&file));
            if fresh.path(&file).exists() {
                write(&run, &file, &fresh.read(&file));
            }
        }
    }
    // nothing is made of them
    let tables = (run.read("results.csv"), run.read("samples.csv"), run.read("report.html"));
    let run = run.again(&["report", "run"]).expect(8);
    assert!(run.said().contains("R106") && run.said().contains("--resume"), "{}", run.said());
    assert!(tables == (run.read("results.csv"), run.read("samples.csv"), run.read("report.html")));
    let run = run.again(&tiny(&["--resume"])).expect(0);
    assert!(run.said().contains(&format!("0 of {TINY_JOBS} jobs have their results already")), "{}", run.said());
    for (name, (.., words)) in names.iter().zip(SPOILT) {
        let said = run.said();
        let line = said.lines().find(|l| l.contains(name.as_str())).unwrap_or_else(|| panic!("{name} is not named: {said}"));
        assert!(line.contains(words) && line.contains("set-aside/"), "{name}, {words}: {line}");
    }
    finished().same_files(&run, &[]);
    assert_eq!(set_aside(&run), TINY_JOBS);
    // replaced once, and not again
    let run = run.again(&tiny(&["--resume"])).expect(0);
    assert!(run.said().contains(&format!("{TINY_JOBS} of {TINY_JOBS} jobs have their results already")), "{}", run.said());
    assert_eq!(set_aside(&run), TINY_JOBS);
}

/// What is missing is computed again; what belongs to no job, and jobs that were edited or are gone, are put right.
#[test]
fn what_is_missing_or_does_not_belong_is_put_right() {
    let run = finished().copy();
    let (gone, edited, lost) = (run.shard("ams", 1), run.shard("fgsm", 0), run.shard("pgd", 1));
    let job = |result: &str| result.replace("shards/", "jobs/").replace(".npz", ".json");
    std::fs::remove_file(run.path(&gone)).expect("removed");
    let partial = run.again(&["report", "run"]).expect(0);
    assert!(partial.text("report.html").contains("PARTIAL"), "a result is missing");
    let run = partial;
    let changed = run.text(&job(&edited)).replace("\"seed\": 0", "\"seed\": 1");
    write(&run, &job(&edited), changed.as_bytes());
    let run = run.again(&["report", "run"]).expect(8);
    assert!(run.said().contains("R105") && run.said().contains("is not the file that the run wrote"), "{}", run.said());
    // alone, an edited job is another job: its result does not fit the run
    let mut arguments = vec!["shard", "edited.json", "-o", "edited.npz"];
    arguments.extend(super::EMBEDDED);
    std::fs::write(run.folder.path().join("edited.json"), &changed).expect("written");
    let run = run.again(&arguments).expect(0);
    let bytes = std::fs::read(run.folder.path().join("edited.npz")).expect("a result");
    assert!(bytes != run.read(&edited), "it names its job, which is another one");
    std::fs::remove_file(run.path(&job(&lost))).expect("removed");
    let run = run.again(&["report", "run"]).expect(8);
    assert!(run.said().contains("R105"), "{}", run.said());
    std::fs::remove_file(run.path("jobs.json")).expect("removed");
    let run = run.again(&["report", "run"]).expect(8);
    assert!(run.said().contains("lacks jobs.json: the run is incomplete") && run.said().contains("--resume"), "{}", run.said());
    write(&run, "shards/m0009-aaaaaaaa.fgsm-bbbbbbbb.000000-000010.npz", &run.read(&edited));
    let run = run.again(&tiny(&["--resume"])).expect(0);
    for words in ["it is written again", "belongs to no job of this run", "14 of 15 jobs have their results already"] {
        assert!(run.said().contains(words), "{words}: {}", run.said());
    }
    finished().same_files(&run, &[]);
    assert_eq!(set_aside(&run), 1);
}

/// A job file is a stranger's file: what cannot be meant is a sentence, and never a panic.
#[test]
fn job_files_that_cannot_be_meant_are_refused() {
    let run = finished().copy();
    let name = run.shard("fgsm", 1).replace("shards/", "jobs/").replace(".npz", ".json");
    let text = run.text(&name);
    for (from, to, code, words) in [
        ("\"batch_size\": 16", "\"batch_size\": 0", 2, "its batch size is 0"),
        ("\"end\": 20", "\"end\": 18446744073709551615", 2, "ends at sample 18446744073709551615"),
        ("\"end\": 20", "\"end\": 31", 2, "ends at sample 31, and digits has 30"),
        ("\"end\": 20", "\"end\": 5", 2, "its samples begin at 10 and end at 5"),
        ("\"end\": 20", "\"end\": -1", 2, "not a job file"),
        ("\"kind\": \"attack\"", "\"kind\": \"attach\"", 2, "not a job file"),
        ("\"id\": \"fgsm\"", "\"id\": \"fsgm\"", 2, "fgsm"),
        ("linf:0.1", "linf:many", 2, "many"),
        ("tract", "tractor", 8, "is for the engine"),
        ("\"source\": \"digits-standard\"", "\"source\": \"digits-amsreg\"", 8, "has changed since the run was planned"),
        ("{", "", 2, "not a job file"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        std::fs::write(run.folder.path().join("job.json"), changed).expect("written");
        let output = crate::provision::flatscape(run.folder.path(), &["shard", "job.json", "-o", "job.npz", "--engine", "tract"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{to}: {said}");
        assert!(said.contains(words), "{to}: {said}");
        assert!(!run.folder.path().join("job.npz").exists(), "{to}");
    }
}

/// Files that say that nothing was broken, each with a receipt that fits, are put into the folder while the run goes on.
#[test]
fn results_that_appear_during_a_run_are_not_taken() {
    // what is forged is there before the run begins
    finished();
    for jobs in ["1", "2"] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut started = command(folder.path(), &tiny(&["--jobs", jobs]));
        let mut child = started.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let shards = folder.path().join("run/shards");
        let begun =
            || std::fs::read_dir(&shards).into_iter().flatten().flatten().any(|e| e.path().extension() == Some("npz".as_ref()));
        while !begun() {
            assert!(child.try_wait().expect("a child").is_none(), "it ended before anything was there");
            std::thread::sleep(Duration::from_millis(1));
        }
        let put = forge(&shards);
        let run = Run { folder, output: child.wait_with_output().expect("an output") }.expect(0);
        assert!(put >= 1, "nothing was forged in time");
        assert!(run.said().contains("set-aside/") && run.said().contains("this run"), "--jobs {jobs}: {}", run.said());
        assert_eq!(set_aside(&run), put, "--jobs {jobs}: {}", run.said());
        finished().same_files(&run, ABOUT_THE_COMMAND);
    }
}

/// Puts forged results of attacks where there are none yet; how many.
fn forge(shards: &Path) -> usize {
    let forged: Vec<(String, Vec<u8>)> = ["fgsm", "pgd"]
        .iter()
        .flat_map(|kind| (0..3).rev().map(|nth| finished().shard(kind, nth)))
        .map(|name| {
            let mut findings = Findings::decode(&finished().read(&name)).expect("findings");
            all_held(&mut findings);
            (name, findings.encode().expect("encoded"))
        })
        .collect();
    let mut put = 0;
    for (name, bytes) in forged {
        let mut receipt_of: serde_json::Value = serde_json::from_slice(&finished().read(&receipt(&name))).expect("a receipt");
        receipt_of["result"] = sha256(&bytes).into();
        let place = |name: &str| shards.join(name.trim_start_matches("shards/"));
        // only where nothing is, as if it had been quicker
        if std::fs::File::create_new(place(&receipt(&name)))
            .is_ok_and(|mut f| write_all(&mut f, receipt_of.to_string().as_bytes()))
            && std::fs::File::create_new(place(&name)).is_ok_and(|mut f| write_all(&mut f, &bytes))
        {
            put += 1;
        }
    }
    put
}

fn write_all(file: &mut std::fs::File, bytes: &[u8]) -> bool {
    std::io::Write::write_all(file, bytes).is_ok()
}
