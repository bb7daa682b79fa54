//! Plugins from the outside: the program without any, plugins of other people made from the templates, and plugins that
//! misbehave in the middle of a real audit.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use flatscape_graph::{onnx, text};
use flatscape_host::{Kind, Plugins, Search, WorkerCommand};

use crate::program::Run;
use crate::provision::{built, command, command_of, flatscape, panicking_plugin, program, root};

/// An audit on a few digits into `run`, with a good attack and a good metric beside whatever is under test.
fn beside_good<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![
        "audit",
        "digits-standard",
        "--data",
        "digits",
        "-n",
        "30",
        "--threat",
        "linf:0.1",
        "--attack",
        "fgsm",
        "--metric",
        "ams",
        "--landscapes",
        "0",
        "--engine",
        "tract",
        "--out",
        "run",
    ];
    arguments.extend(more);
    arguments
}

/// The same without anything under test.
fn baseline() -> &'static Run {
    static BASELINE: OnceLock<Run> = OnceLock::new();
    BASELINE.get_or_init(|| Run::new(&beside_good(&[])).expect(0))
}

/// The ids that the host keeps for the plugin that comes with the program are those that it offers.
#[test]
fn the_reserved_ids_are_those_of_the_standard_plugin() {
    let folder = tempfile::tempdir().expect("a folder");
    let listed = command(folder.path(), &["plugins", "list", "--json"]).output().expect("the program starts");
    let components: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let ids: Vec<&str> = components.as_array().expect("a list").iter().filter_map(|c| c["id"].as_str()).collect();
    let (mut offered, mut reserved) = (ids, flatscape_host::RESERVED.to_vec());
    offered.sort_unstable();
    reserved.sort_unstable();
    // a metric and a trainer may have one id
    offered.dedup();
    assert_eq!(offered, reserved);
}

/// The harness has no attack and no metric of its own.
#[test]
fn the_harness_alone_has_no_attack_and_no_metric() {
    let none = Plugins::discover(&Search::default(), &WorkerCommand::new(program(), &["plugin-worker"]));
    assert!(none.components().is_empty() && none.refused().is_empty());
    for (kind, component) in
        [(Kind::Attack, "pgd"), (Kind::Attack, "fgsm"), (Kind::Metric, "phi"), (Kind::Metric, "ams"), (Kind::Metric, "logp")]
    {
        let error = none.component(kind, component).expect_err("there is none");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(&format!("there is no {} \"{component}\"", kind.name())), "{error}");
    }
}

/// A copy of the program in a folder of its own, as `cargo install` leaves it.
fn installed(folder: &Path) -> PathBuf {
    let alone = folder.join("bin").join(program().file_name().expect("a name"));
    std::fs::create_dir(folder.join("bin")).expect("a folder");
    std::fs::copy(program(), &alone).expect("a copy");
    alone
}

/// A program that was installed alone has the standard plugin inside: the same numbers, under the hash of the program.
#[test]
fn a_program_that_was_installed_alone_has_the_standard_plugin() {
    let folder = tempfile::tempdir().expect("a folder");
    let alone = installed(folder.path());
    let run = |arguments: &[&str]| command_of(&alone, folder.path(), arguments).output().expect("the program starts");
    let said = |output: &Output| String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    let listed = run(&["plugins", "list"]);
    assert!(listed.status.success() && said(&listed).contains("pgd"), "{}", said(&listed));
    let doctor = run(&["doctor"]);
    assert!(doctor.status.success(), "{}", said(&doctor));
    let output = run(&beside_good(&[]));
    assert!(output.status.success(), "{}", said(&output));
    let hash = flatscape_intake::files::sha256(&std::fs::read(&alone).expect("the program"));
    let run = Run { output, folder };
    let rows = run.table("results.csv");
    let attack = rows.iter().find(|row| row["component"] == "fgsm").expect("a row of fgsm");
    assert_eq!((attack["plugin"].as_str(), attack["plugin_sha256"].as_str()), ("standard", hash.as_str()));
    for (component, metric) in [("fgsm", "robust_accuracy"), ("ams", "ams_mean")] {
        let expected = baseline().value("digits-standard", component, metric);
        assert_eq!(run.value("digits-standard", component, metric), expected, "{component}");
    }
}

/// Builds, is found in order, and finds adversarial examples that hold.
fn works(file: &Path, component: &str) {
    let file = file.to_str().expect("a path");
    let checked = Run::new(&["plugins", "check", file]).expect(0);
    assert!(checked.said().contains("runs on tract") && !checked.said().contains("FAIL"), "{}", checked.said());
    let run = Run::new(&beside_good(&["--plugin", file, "--attack", component])).expect(0);
    let (clean, robust) =
        (run.value("digits-standard", "clean", "clean_accuracy"), run.value("digits-standard", component, "robust_accuracy"));
    assert!(robust < clean - 0.2, "{component}: {clean} became {robust}");
    assert!(robust <= run.value("digits-standard", "fgsm", "robust_accuracy"), "ten steps do no worse than one");
    assert!(run.files("witness", ".npz").keys().any(|name| name.contains(&format!(".{component}-"))));
    let manifest = run.text("manifest.json");
    assert!(manifest.contains(&format!("\"{component}-plugin\"")), "the manifest does not name the plugin: {manifest}");
}

#[test]
fn a_plugin_from_the_c_template_builds_loads_and_attacks() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = flatscape(folder.path(), &["plugins", "new", "c-steps", "--lang", "c"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let source = folder.path().join("c-steps");
    let library = source.join(format!("libflatscape_c_steps{}", std::env::consts::DLL_SUFFIX));
    if let Ok(make) = Command::new("make").current_dir(&source).output() {
        assert!(make.status.success(), "{}", String::from_utf8_lossy(&make.stderr));
    } else {
        compile(&source.join("c_steps.c"), &source, &library);
    }
    works(&library, "c-steps");
}

#[test]
fn a_plugin_from_the_rust_template_builds_loads_and_attacks() {
    let folder = tempfile::tempdir().expect("a folder");
    // no checkout lies around the program or the folder: the sources of the SDK come with the plugin
    let alone = installed(folder.path());
    let made = command_of(&alone, folder.path(), &["plugins", "new", "rust-steps", "--lang", "rust"]);
    let made = { made }.output().expect("it starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    works(&built_by_cargo(&folder.path().join("rust-steps"), "rust_steps"), "rust-steps");
}

/// The library of a project that `plugins new` wrote.
fn built_by_cargo(source: &Path, name: &str) -> PathBuf {
    std::fs::copy(root().join("Cargo.lock"), source.join("Cargo.lock")).expect("versions that are there already");
    // not into the directory of the program, which would find it there
    let target = built().parent().expect("target/PROFILE").join("flatscape-templates");
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(source).args(["build", "--quiet", "--offline"]);
    build.env("CARGO_TARGET_DIR", &target).env("CARGO_PROFILE_DEV_DEBUG", "0");
    let output = build.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let library = format!("{}flatscape_{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    target.join("debug").join(library)
}

/// The metrics of the templates: the same draws and the same mean in both languages, above the loss at the images.
#[test]
fn metrics_from_the_templates_measure_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let alone = installed(folder.path());
    let mut found = Vec::new();
    for language in ["c", "rust"] {
        let library = from_template(&alone, folder.path(), "mean-loss", language, "metric");
        let file = library.to_str().expect("a path");
        let checked = Run::new(&["plugins", "check", file]).expect(0);
        assert!(checked.said().contains("finite numbers") && !checked.said().contains("FAIL"), "{}", checked.said());
        let run = Run::new(&beside_good(&["--plugin", file, "--metric", "mean-loss:points=8"])).expect(0);
        found.push(run.value("digits-standard", "mean-loss", "mean_loss_mean"));
    }
    assert!(found[0] > 0.0 && (found[0] / found[1] - 1.0).abs() < 1e-9, "{found:?}");
    let refused = Run::new(&["plugins", "new", "x", "--kind", "metrics"]).expect(2);
    assert!(refused.said().contains("did you mean \"metric\"?"), "{}", refused.said());
}

/// The trainers of the templates: both build, pass the check and train, and the two languages say the same.
#[test]
fn trainers_from_the_templates_train_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let alone = installed(folder.path());
    let mut logs: Vec<Vec<f64>> = Vec::new();
    for language in ["c", "rust"] {
        let library = from_template(&alone, folder.path(), "flat-loss", language, "trainer");
        let file = library.to_str().expect("a path");
        let checked = Run::new(&["plugins", "check", file]).expect(0);
        assert!(checked.said().contains("derivative by the parameters is finite"), "{}", checked.said());
        assert!(!checked.said().contains("FAIL"), "{}", checked.said());
        let shown = Run::new(&["plugins", "--plugin", file, "show", "flat-loss"]).expect(0);
        assert!(shown.said().contains("flat-loss (trainer)") && shown.said().contains("strength=1"), "{}", shown.said());
        let emitted = Run::new(&["plugins", "--plugin", file, "emit", "flat-loss", "--out", "program"]).expect(0);
        assert!(emitted.said().contains("0-cost.onnx") && emitted.said().contains("inner attack none"), "{}", emitted.said());
        let words = "train digits-standard --data digits -n 100 --trainer flat-loss:strength=0.5 --threat linf:0.1 --epochs 1";
        let more = ["--batch-size", "32", "--engine", "tract", "--plugin", file, "-o", "flat.onnx"];
        let trained = Run::new(&words.split(' ').chain(more).collect::<Vec<_>>());
        assert_eq!(trained.code(), 0, "{}", trained.said());
        let log = std::fs::read_to_string(trained.folder.path().join("flat.onnx.train/log.csv")).expect("a log");
        let (header, row) = log.trim().split_once('\n').expect("one epoch");
        let place = |name: &str| header.split(',').position(|n| n == name).unwrap_or_else(|| panic!("no {name} in {header}"));
        let value =
            |name: &str| row.split(',').nth(place(name)).and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("{name}: {log}"));
        logs.push(vec![value("cost"), value("log_norm")]);
    }
    let (c, rust) = (&logs[0], &logs[1]);
    assert!(c[1] > 0.0 && c.iter().zip(rust).all(|(a, b)| (a / b - 1.0).abs() < 1e-4), "{c:?} and {rust:?}");
}

/// What a trainer may get wrong and only running it shows: each is a line of the check.
#[test]
fn trainers_that_cannot_be_trained_with_fail_the_check() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, sentence) in [
        ("cost_is_nan", "cost has NaN on a linear classifier"),
        ("cost_is_constant", "does not depend on the parameters of the model"),
    ] {
        let file = misbehaving(name, folder.path());
        let checked = Run::new(&["plugins", "check", file.to_str().expect("a path")]).expect(5);
        assert!(checked.said().contains("FAIL") && checked.said().contains(sentence), "{name}: {}", checked.said());
    }
}

/// A name that no component has is nobody's: the nearest of any kind is offered.
#[test]
fn an_unknown_component_is_of_no_kind() {
    for (name, near) in [("pdg", "pgd"), ("jacobain", "jacobian"), ("adamm", "adam")] {
        for command in [&["plugins", "show", name][..], &["plugins", "emit", name, "--out", "program"]] {
            let refused = Run::new(command).expect(2);
            let said = refused.said();
            assert!(said.contains(&format!("there is no component \"{name}\"")), "{said}");
            assert!(said.contains(&format!("did you mean \"{near}\"?")), "{said}");
        }
    }
}

/// The library of a plugin that `plugins new` wrote and that was built as its page says.
fn from_template(program: &Path, folder: &Path, name: &str, language: &str, kind: &str) -> PathBuf {
    let into = folder.join(language);
    std::fs::create_dir(&into).expect("a folder");
    let into = into.display().to_string();
    let arguments = ["plugins", "new", name, "--lang", language, "--kind", kind, "--into", &into];
    let made = command_of(program, folder, &arguments).output().expect("it starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (source, file) = (Path::new(&into).join(name), name.replace('-', "_"));
    if language != "c" {
        return built_by_cargo(&source, &file);
    }
    let library = source.join(format!("libflatscape_{file}{}", std::env::consts::DLL_SUFFIX));
    compile(&source.join(format!("{file}.c")), &source, &library);
    library
}

/// Compiles a plugin of one C file.
fn compile(source: &Path, header: &Path, library: &Path) {
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu99", "-O1", "-w", "-fPIC", "-shared", "-pthread", "-I"]).arg(header).arg("-o").arg(library).arg(source);
    let output = cc.output().expect("there is a C compiler");
    assert!(output.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
}

/// A plugin of `tests/plugins`.
pub fn misbehaving(name: &str, folder: &Path) -> PathBuf {
    misbehaving_with(name, folder, "")
}

/// The same with a line in front, which defines what its source leaves open.
pub fn misbehaving_with(name: &str, folder: &Path, line: &str) -> PathBuf {
    let library = folder.join(format!("{name}{}", std::env::consts::DLL_SUFFIX));
    let (own, source) = (root().join(format!("tests/plugins/{name}.c")), folder.join(format!("{name}.c")));
    let text = std::fs::read_to_string(&own).unwrap_or_else(|e| panic!("{}: {e}", own.display()));
    std::fs::write(&source, format!("{line}\n{text}")).expect("written");
    std::fs::copy(root().join("tests/plugins/misbehave.h"), folder.join("misbehave.h")).expect("copied");
    compile(&source, &root().join("plugins/include"), &library);
    library
}

/// The audit goes on, the others' numbers are those without the bad one, and the sentence names the plugin.
fn the_others_are_not_touched(file: &Path, more: &[&str], sentence: &str) -> Run {
    let folder = tempfile::tempdir().expect("a folder");
    let mut arguments = beside_good(&["--plugin", file.to_str().expect("a path")]);
    arguments.extend(more);
    let mut started = command(folder.path(), &arguments);
    let run = Run { output: started.env("FLATSCAPE_PLUGIN_SECONDS", "2").output().expect("it starts"), folder }.expect(5);
    let name = file.file_name().expect("a name").to_string_lossy();
    assert!(run.said().contains(&*name) && run.said().contains(sentence), "{}", run.said());
    for (component, metric) in
        [("clean", "clean_accuracy"), ("fgsm", "robust_accuracy"), ("ams", "ams_mean"), ("union", "robust_accuracy")]
    {
        let found = run.value("digits-standard", component, metric);
        assert_eq!(found, baseline().value("digits-standard", component, metric), "{name}: {metric} of {component}");
    }
    assert!(run.path("report.html").is_file());
    run
}

#[test]
fn plugins_that_die_panic_or_hang_cost_only_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let died =
        the_others_are_not_touched(&misbehaving("segfault_in_build", folder.path()), &["--attack", "bad"], "died (SIGSEGV)");
    let row = died.table("results.csv").into_iter().find(|r| r["component"] == "bad").expect("a row for what was refused");
    assert!(row["value"].is_empty() && row["flags"].starts_with('P'), "{row:?}");
    the_others_are_not_touched(&misbehaving("loop_in_build", folder.path()), &["--attack", "bad"], "gave no answer within 2 s");

    the_others_are_not_touched(&panicking_plugin(), &["--attack", "panics"], "it panicked");
}

#[test]
fn what_is_not_allowed_is_dropped_and_changes_no_verdict() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, attack) in [("program_nan", "nan-attack"), ("program_out_of_ball", "too-far")] {
        let run = the_others_are_not_touched(&misbehaving(name, folder.path()), &["--attack", attack], "were dropped");
        let row = run.table("results.csv").into_iter().find(|r| r["component"] == attack && r["metric"] == "robust_accuracy");
        assert!(row.expect("a row")["flags"].contains("rejected-proposals"));
        // nothing of it counts: what it leaves standing is all that is right
        let clean = run.value("digits-standard", "clean", "clean_accuracy");
        assert_eq!(run.value("digits-standard", attack, "robust_accuracy"), clean);
    }
}

#[test]
fn a_metric_without_numbers_is_said_to_have_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = the_others_are_not_touched(&misbehaving("metric_nan", folder.path()), &["--metric", "nan-metric"], "gives NaN on");
    let row = run.table("results.csv").into_iter().find(|r| r["component"] == "nan-metric").expect("a row");
    assert!(row["value"].parse::<f64>().map_or(true, f64::is_nan), "{row:?}");
}

/// A metric may say something about all samples together; where that goes wrong, its columns stay.
#[test]
fn reductions_are_rows_columns_and_curves() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = misbehaving("reduce", folder.path());
    let path = file.to_str().expect("a path");
    let run = Run::new(&beside_good(&["--plugin", path, "--metric", "bad-reduction", "--shard-size", "7"])).expect(0);
    let row = |metric: &str| run.table("results.csv").into_iter().find(|r| r["metric"] == metric);
    let (of_rows, of_all) = (row("bad_middle").expect("a value"), row("doubled_mean").expect("a column"));
    let number = |row: &crate::program::Row| row["value"].parse::<f64>().expect("a number");
    assert!((2.0 * number(&of_rows) - number(&of_all)).abs() < 1e-12);
    assert_eq!(of_all["n"], "30");
    assert_eq!(run.table("curves.csv").len(), 3);
    assert!(run.table("samples.csv").iter().all(|r| r["doubled"].parse::<f64>().is_ok()));
    the_others_are_not_touched(&file, &["--metric", "bad-reduction:how=crash"], "died (SIGSEGV)");
    the_others_are_not_touched(&file, &["--metric", "bad-reduction:how=name"], "not an identifier");
}

/// An attack that hands over the image itself, one that leaves the ball and one that dies: none raises or lowers the verdict.
#[test]
fn an_attack_that_lies_changes_no_verdict() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = misbehaving("oracle", folder.path());
    let lie = Run::new(&beside_good(&["--plugin", file.to_str().expect("a path"), "--attack", "bad-oracle:how=lie"])).expect(0);
    assert_eq!(lie.value("digits-standard", "bad-oracle", "claimed_success"), 0.0);
    let union = baseline().value("digits-standard", "union", "robust_accuracy");
    assert_eq!(lie.value("digits-standard", "union", "robust_accuracy"), union);
    the_others_are_not_touched(&file, &["--attack", "bad-oracle:how=far"], "were dropped");
    the_others_are_not_touched(&file, &["--attack", "bad-oracle:how=crash"], "died (SIGSEGV)");
}

/// A metric is taken at the points of an oracle attack as at those of a program; what is no attack, and what does not exist, is
/// refused before any work.
#[test]
fn a_metric_looks_where_an_oracle_leads() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = misbehaving("oracle", folder.path());
    let file = file.to_str().expect("a path");
    let (oracle, program) = ("ams:at=adv:bad-oracle:how=clip", "ams:at=adv:fgsm");
    let run = Run::new(&beside_good(&["--plugin", file, "--metric", oracle, "--metric", program])).expect(0);
    let rows: Vec<_> = run.table("results.csv").into_iter().filter(|r| r["metric"] == "ams_mean").collect();
    let value = |named: &str| -> f64 {
        let row = rows.iter().find(|r| r["args"].contains(named) || named.is_empty() && !r["args"].contains("adv"));
        row.expect("a row")["value"].parse().expect("a number")
    };
    // both take one step of ε along the signs of the same gradient
    assert_eq!((rows.len(), value("bad-oracle")), (3, value("fgsm")), "{rows:?}");
    assert!((value("bad-oracle") - value("")).abs() > 1e-3, "the clean points were measured: {rows:?}");
    for wrong in ["ams:at=adv:phi", "ams:at=adv:nobody", "ams:at=adv:fgsm:steps=3"] {
        let output = flatscape(folder.path(), &beside_good(&["--metric", wrong]));
        assert_eq!(output.status.code(), Some(2), "{wrong}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!folder.path().join("run").exists(), "{wrong}: nothing is begun");
    }
}

#[test]
fn a_named_plugin_that_is_none_is_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("evil.so"), "not a library").expect("a file");
    let mut arguments = beside_good(&["--plugin", "evil.so"]);
    let output = flatscape(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("evil.so"));
    arguments.pop();
    arguments.push("absent.so");
    assert_eq!(flatscape(folder.path(), &arguments).status.code(), Some(5));
}

#[test]
fn emitted_programs_can_be_read_again() {
    for (written, roles) in [("pgd:steps=7", &["init", "step"][..]), ("fgsm", &["step"]), ("phi", &["probe", "observe", "emit"])]
    {
        let run = Run::new(&["plugins", "emit", written, "-o", "run"]).expect(0);
        for role in roles {
            let binary = run.files("", &format!("-{role}.onnx"));
            let readable = run.files("", &format!("-{role}.txt"));
            assert_eq!((binary.len(), readable.len()), (1, 1), "{written} has one {role}");
            let graph = onnx::read(binary.values().next().expect("one")).expect("it reads").graph;
            let again =
                text::parse(std::str::from_utf8(readable.values().next().expect("one")).expect("UTF-8")).expect("it parses");
            let interface = |graph: &flatscape_graph::Graph| {
                let inputs = graph.inputs().iter().map(|&id| graph.value(id).name.to_string()).collect::<Vec<_>>();
                (inputs, graph.outputs().iter().map(|o| o.name.to_string()).collect::<Vec<_>>(), graph.nodes().len())
            };
            assert_eq!(interface(&graph), interface(&again), "{written}: {role}");
        }
    }
}
