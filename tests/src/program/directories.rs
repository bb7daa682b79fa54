//! Run directories as they may be found: without what can be made again, with links, pipes and devices in them, of another
//! version, in use, or about files that have changed.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use flatscape_graph::{Builder, DType, Dim, Graph, ValueType, onnx};
use ndarray::{Array1, Array4};
use ndarray_npy::NpzWriter;

use super::repeat::reference;
use super::{EMBEDDED, Run, finished, small, tiny};
use crate::plugins::misbehaving;
use crate::provision::{command, flatscape};

/// A finished directory gives its tables, pages, pictures and certificates again; the adversarial examples need the images, which
/// are not in it, so `audit --resume` writes them.
#[test]
fn report_makes_the_same_files_from_the_directory_alone() {
    let run = reference().copy();
    for file in ["results.csv", "samples.csv", "report.html"] {
        std::fs::remove_file(run.path(file)).expect("removed");
    }
    for folder in ["certificates", "landscapes"] {
        std::fs::remove_dir_all(run.path(folder)).expect("removed");
    }
    let run = run.again(&["report", "run"]).expect(0);
    reference().same_files(&run, &[]);
    // without the clean images the page says which file is missing
    std::fs::remove_dir_all(run.path("witness")).expect("removed");
    let run = run.again(&["report", "run"]).expect(0);
    reference().same_files(&run, &["witness/", "report.html"]);
    assert!(run.text("report.html").contains("are not shown: witness"), "the page does not say that examples are missing");
    for name in ["results.csv", "samples.csv", "report.html"] {
        assert!(run.said().contains(name), "{name} is not named: {}", run.said());
    }
    assert!(!run.path("witness").exists());
    let run = run.again(&small(&["--engine", "tract", "--threads", "1", "--resume"])).expect(0);
    reference().same_files(&run, &[]);
    // the parts that are asked for, and nothing else
    std::fs::remove_file(run.path("results.csv")).expect("removed");
    std::fs::remove_file(run.path("report.html")).expect("removed");
    let run = run.again(&["report", "run", "--format", "csv"]).expect(0);
    assert!(run.path("results.csv").exists() && !run.path("report.html").exists());
    assert!(run.read("results.csv") == reference().read("results.csv"));
}

/// Runs the program, and ends the test where it does not come back.
fn within_reason(folder: &Path, arguments: &[&str]) -> Output {
    let mut started = command(folder, arguments);
    let mut child = started.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let begun = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if begun.elapsed() > Duration::from_secs(240) {
            let _ = child.kill();
            panic!("{arguments:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("an output")
}

/// What is put in the place of a file or folder of a run.
#[derive(Clone, Copy, Debug)]
enum Put {
    /// A link to a file of the user.
    LinkToFile,
    /// A link to a folder of the user.
    LinkToFolder,
    /// A link to a device that never ends.
    LinkToZeros,
    /// A pipe that nobody writes into.
    Pipe,
    /// A file of three gigabytes that takes no room.
    Huge,
}

#[cfg(unix)]
fn put(what: Put, place: &Path, own: &Path) {
    if place.is_dir() {
        std::fs::remove_dir_all(place).expect("removed");
    } else {
        let _ = std::fs::remove_file(place);
    }
    let link = |to: &Path| std::os::unix::fs::symlink(to, place).expect("a link");
    match what {
        Put::LinkToFile => link(&own.join("thesis.tex")),
        Put::LinkToFolder => link(&own.join("pictures")),
        Put::LinkToZeros => link(Path::new("/dev/zero")),
        Put::Pipe => assert!(Command::new("mkfifo").arg(place).status().expect("mkfifo").success()),
        Put::Huge => std::fs::File::create(place).and_then(|f| f.set_len(3 << 30)).expect("a sparse file"),
    }
}

#[cfg(unix)]
#[test]
fn nothing_is_followed_or_waited_for_in_a_directory_that_somebody_else_may_have_made() {
    let own = tempfile::tempdir().expect("a folder");
    std::fs::write(own.path().join("thesis.tex"), "everything").expect("a file");
    std::fs::create_dir(own.path().join("pictures")).expect("a folder");
    let shard = finished().shard("ams", 2);
    let (receipt, fault) = (shard.replace(".npz", ".receipt.json"), shard.replace(".npz", ".fault.json"));
    let job = shard.replace("shards/", "jobs/").replace(".npz", ".json");
    let run = finished().copy();
    let resume = tiny(&["--resume"]);
    for (name, what, audited) in [
        ("lock", Put::LinkToFile, true),
        ("lock", Put::Pipe, false),
        ("shards", Put::LinkToFolder, true),
        ("jobs", Put::LinkToFolder, false),
        ("witness", Put::LinkToFolder, false),
        ("set-aside", Put::LinkToFolder, false),
        ("manifest.json", Put::LinkToFile, false),
        ("manifest.json", Put::Pipe, true),
        ("manifest.json", Put::LinkToZeros, false),
        ("manifest.json", Put::Huge, true),
        ("jobs.json", Put::Pipe, false),
        ("times.csv", Put::LinkToFile, false),
        ("results.csv", Put::LinkToFile, true),
        (job.as_str(), Put::Pipe, false),
        (shard.as_str(), Put::LinkToFile, false),
        (shard.as_str(), Put::LinkToZeros, true),
        (shard.as_str(), Put::Pipe, true),
        (shard.as_str(), Put::Huge, false),
        (receipt.as_str(), Put::Pipe, false),
        (fault.as_str(), Put::Pipe, false),
    ] {
        let mut cases = vec![vec!["report", "run"]];
        cases.extend(audited.then(|| resume.clone()));
        for arguments in cases {
            let copy = run.copy();
            put(what, &copy.path(name), own.path());
            let output = within_reason(copy.folder.path(), &arguments);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(8), "{name}, {what:?}, {}: {said}", arguments[0]);
            assert!(said.contains("R103") && said.contains(name.rsplit('/').next().expect("a name")), "{name}, {what:?}: {said}");
            assert!(finished().read("samples.csv") == copy.read("samples.csv"), "{name}, {what:?}");
        }
    }
    assert_eq!(std::fs::read_to_string(own.path().join("thesis.tex")).expect("still there"), "everything");
    assert_eq!(std::fs::read_dir(own.path().join("pictures")).expect("still there").count(), 0);
}

/// Locks by which workers took jobs of a former run are removed before they are opened.
#[cfg(unix)]
#[test]
fn workers_do_not_wait_for_pipes_among_their_locks() {
    let copy = finished().copy();
    let shard = copy.shard("ams", 2);
    std::fs::remove_file(copy.path(&shard)).expect("removed");
    std::fs::create_dir(copy.path("claims")).expect("a folder");
    put(Put::Pipe, &copy.path(&shard.replace("shards/", "claims/").replace(".npz", "")), copy.folder.path());
    let output = within_reason(copy.folder.path(), &tiny(&["--jobs", "2", "--resume"]));
    let run = Run { output, ..copy }.expect(0);
    finished().same_files(&run, &[]);
}

#[test]
fn what_is_no_run_or_of_another_version_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    std::fs::write(path.join("file"), "text").expect("a file");
    std::fs::create_dir(path.join("empty")).expect("a folder");
    let manifests = [
        ("old", r#"{"flatscape": "0.0.9", "command": "flatscape demo"}"#, "format 1"),
        ("new", r#"{"flatscape": "9.0.0", "format": 99}"#, "format 99"),
        ("other", r#"{"name": "a web page"}"#, "is not the manifest of a run"),
        ("text", "not JSON", "is not the manifest of a run"),
        ("cut", r#"{"format": 3, "flatscape": "0.1.0"}"#, "is not the manifest of a run"),
        ("nothing", "", "is not the manifest of a run"),
    ];
    for (name, text, _) in manifests {
        std::fs::create_dir(path.join(name)).expect("a folder");
        std::fs::write(path.join(name).join("manifest.json"), text).expect("a manifest");
    }
    let plain = [("file", "is not a run directory"), ("empty", "it has no manifest.json"), ("absent", "is not a run directory")];
    for (name, words) in manifests.map(|(name, _, words)| (name, words)).into_iter().chain(plain) {
        for before in [&["report"][..], &["verify"]] {
            let output = flatscape(path, &[before, &[name]].concat());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(8), "{before:?} {name}: {said}");
            assert!(said.contains(words) && said.contains("help:"), "{before:?} {name}: {said}");
        }
    }
    assert!(!path.join("absent").exists() && std::fs::read_dir(path.join("empty")).expect("a folder").count() == 0);
    // nor is it gone on with
    for (name, text, words) in manifests {
        let mut arguments = tiny(&["--resume"]);
        let place = arguments.iter().position(|a| *a == "run").expect("--out run");
        arguments[place] = name;
        let output = flatscape(path, &arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(8) && said.contains(words), "{name}: {said}");
        assert_eq!(std::fs::read_to_string(path.join(name).join("manifest.json")).expect("still there"), text);
    }
}

#[test]
fn a_run_in_use_is_neither_read_nor_written() {
    let copy = finished().copy();
    let lock = std::fs::File::open(copy.path("lock")).expect("a lock");
    lock.lock().expect("locked");
    for arguments in [vec!["report", "run"], vec!["verify", "run"], tiny(&["--resume"])] {
        let output = flatscape(copy.folder.path(), &arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(8) && said.contains("is in use"), "{}: {said}", arguments[0]);
    }
    finished().same_files(&copy, &[]);
    drop(lock);
    copy.again(&["report", "run"]).expect(0);
}

/// Logits (x₀ + x₁ − shift, 0) of images of two pixels.
fn model(folder: &Path, shift: f64) {
    let builder = Builder::new(Graph::new("toy"));
    let extents = vec![Dim::symbol("N"), Dim::Fixed(1), Dim::Fixed(1), Dim::Fixed(2)];
    let x = builder.input("x", ValueType::new(DType::F32, extents));
    let sum = x.reshape(&[-1, 2]).sum(&[1], true);
    builder.output("z", builder.concat(&[sum - shift, sum * 0.0], 1));
    std::fs::write(folder.join("toy.onnx"), onnx::write(&builder.into_graph())).expect("a model");
}

fn data(folder: &Path, pixel: f32) {
    let mut data = NpzWriter::new(std::fs::File::create(folder.join("toy.npz")).expect("a file"));
    data.add_array("x", &Array4::<f32>::from_elem((20, 1, 1, 2), pixel)).expect("images");
    data.add_array("y", &Array1::<i64>::zeros(20)).expect("labels");
    data.finish().expect("a file");
}

/// A command ends with the code of a directory that does not match, and says why.
fn refused(path: &Path, arguments: &[&str], words: &str) {
    let output = flatscape(path, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(8) && said.contains(words), "{words}: {said}");
}

/// The model, the data and the plugin of a run are what they were, or nothing is computed with them.
#[test]
fn jobs_whose_model_data_or_plugin_has_changed_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let first = |path: &Path| {
        model(path, 0.9);
        data(path, 0.5);
        std::fs::copy(misbehaving("oracle", path), path.join("plugin.so")).expect("a copy")
    };
    first(path);
    let mut arguments =
        vec!["audit", "toy.onnx", "--data", "toy.npz", "--threat", "linf:0.1", "--landscapes", "0", "--out", "run"];
    arguments.extend(["--plugin", "plugin.so", "--attack", "bad-oracle"]);
    arguments.extend(EMBEDDED);
    let output = flatscape(path, &arguments);
    let run = Run { folder, output }.expect(0);
    let path = run.folder.path();
    let result = run.shard("bad-oracle", 0);
    let job = format!("run/{}", result.replace("shards/", "jobs/").replace(".npz", ".json"));
    let mut shard = vec!["shard", job.as_str(), "-o", "alone.npz", "--plugin", "plugin.so"];
    shard.extend(EMBEDDED);
    let resume = [&arguments[..], &["--resume"]].concat();
    let before = run.tree();
    type Change<'a> = &'a dyn Fn();
    let changes: [(&str, Change, &str); 3] = [
        ("the model", &|| model(path, 0.8), "models"),
        ("the data", &|| data(path, 0.6), "data"),
        ("the plugin", &|| std::fs::rename(misbehaving("good", path), path.join("plugin.so")).expect("a plugin"), "attacks"),
    ];
    for (what, change, field) in changes {
        first(path);
        change();
        let output = flatscape(path, &shard);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if what == "the plugin" {
            // the other plugin has no such attack
            assert_eq!(output.status.code(), Some(2), "{what}: {said}");
        } else {
            assert_eq!(output.status.code(), Some(8), "{what}: {said}");
            assert!(said.contains(what) && said.contains("has changed since the run was planned"), "{what}: {said}");
        }
        let output = flatscape(path, &resume);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if what != "the plugin" {
            assert_eq!(output.status.code(), Some(8), "{what}: {said}");
            assert!(said.contains("was started with other options") && said.contains(field), "{what}: {said}");
        }
        assert!(!path.join("alone.npz").exists() && before == run.tree(), "{what}");
    }
    // the same component in another file
    first(path);
    let mut bytes = std::fs::read(path.join("plugin.so")).expect("a plugin");
    bytes.extend(b"another build");
    std::fs::write(path.join("plugin.so"), bytes).expect("written");
    refused(path, &shard, "the plugin plugin.so has changed");
    refused(path, &resume, "attacks");
    // with everything as it was, the job gives the same bytes
    first(path);
    let output = flatscape(path, &shard);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(std::fs::read(path.join("alone.npz")).expect("a result") == run.read(&result));
}

/// A run can only be resumed with the options it was started with, also where an option was absent in one of the two commands.
#[test]
fn a_run_is_not_resumed_with_other_options() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let audit = |more: &[&str]| {
        let common = ["audit", "digits-standard", "--data", "digits", "-n", "8", "--threat", "linf:0.1", "--attack", "fgsm"];
        let arguments = [&common[..], &["--engine", "tract", "--landscapes", "0", "--out", "run"], more].concat();
        let output = flatscape(folder.path(), &arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = audit(&[]);
    assert!(matches!(code, Some(0 | 9)), "{said}");
    for (more, field) in
        [(&["--claims", "clean_accuracy=0.9"][..], "claims"), (&["--canaries"], "canaries"), (&["--bounds"], "bounds")]
    {
        let (code, said) = audit(&[&["--resume"], more].concat());
        assert_eq!(code, Some(8), "{more:?}: {said}");
        assert!(said.contains(&format!("{field} differ")), "{more:?}: {said}");
    }
    assert!(matches!(audit(&["--resume"]).0, Some(0 | 9)));
}

/// The rows of a model or a threat model that is named twice would be counted twice.
#[test]
fn what_is_named_twice_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (models, threats, name) in [
        (&["digits-standard"][..], &["--threat", "linf:0.1", "--threat", "linf:0.10"][..], "the threat model linf:0.10"),
        (&["digits-standard", "digits-standard"], &["--threat", "linf:0.1"], "the model digits-standard"),
    ] {
        let arguments =
            [&["audit"], models, &["--data", "digits", "-n", "8", "--attack", "fgsm", "--out", "run"], threats].concat();
        let output = flatscape(folder.path(), &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("{name} is named twice")), "{said}");
    }
}
