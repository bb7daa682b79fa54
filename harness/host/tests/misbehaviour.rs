//! Plugins that misbehave (`tests/plugins/*.c`), each against the sentence that the user must read, and that everything else
//! goes on. The C compiler is the one that cargo links with.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::time::Duration;

use flatscape_graph::Tensor;
use flatscape_host::{
    Batch, Blame, Component, HostError, Kind, Law, Limits, Oracle, OracleError, Plugins, Reduced, Search, Table, Task,
    WorkerCommand, check, worker_main,
};

/// The child process of these tests: this executable, told to run only this.
#[test]
#[ignore = "it is started by the other tests"]
fn worker() {
    let code = worker_main();
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/plugins")
}

/// Every source, compiled once: `<name>.so` in a folder.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("plugins-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("cargo's temporary directory is writable");
        for entry in std::fs::read_dir(sources()).expect("the sources are in the repository") {
            let source = entry.expect("a folder can be read").path();
            if source.extension().is_none_or(|e| e != "c") {
                continue;
            }
            let out = folder.join(source.with_extension("so").file_name().expect("it has a name"));
            let mut command = Command::new("cc");
            command.args(["-std=gnu99", "-O1", "-w", "-fPIC", "-shared", "-pthread", "-I"]);
            command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/include"));
            let built = command.arg("-o").arg(&out).arg(&source).output().expect("there is a C compiler");
            assert!(built.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&built.stderr));
        }
        folder
    })
}

fn library(name: &str) -> PathBuf {
    folder().join(format!("{name}.so"))
}

fn worker_command() -> WorkerCommand {
    let exe = std::env::current_exe().expect("a test knows where it is");
    let mut worker = WorkerCommand::new(exe, &["worker", "--exact", "--ignored"]);
    let brief = Duration::from_secs(2);
    worker.limits = Limits { load: brief, build: brief, run: brief, ..Limits::default() };
    worker
}

fn discover(names: &[&str]) -> Plugins {
    let files: Vec<PathBuf> = names.iter().map(|n| library(n)).collect();
    Plugins::discover(&Search::only(&files), &worker_command())
}

fn task() -> Task {
    Task::new([1, 2, 2], 3, "linf", 0.1)
}

fn refusal(name: &str) -> HostError {
    let plugins = discover(&[name, "good"]);
    assert_eq!(plugins.components().len(), 1, "{name}: the good plugin is there and nothing else");
    let good = plugins.component(Kind::Attack, "good").expect("the good plugin is not touched by the bad one");
    plugins.build(good, &good.arguments(&[]).expect("no arguments"), &task()).expect("the good plugin builds");
    plugins.refused()[0].clone()
}

/// (file, id, the sentence)
const REFUSED: &[(&str, &str, &str)] = &[
    ("wrong_major", "P05", "plugin wrong_major.so has plugin ABI 3.3; this flatscape has 0.3"),
    ("wrong_minor", "P05", "plugin wrong_minor.so has plugin ABI 0.99; this flatscape has 0.3"),
    ("missing_symbol", "P04", "plugin missing_symbol.so does not export `flatscape_plugin`"),
    ("null_plugin", "P09", "plugin null_plugin.so: flatscape_plugin() returned no plugin (null)"),
    ("short_table", "P09", "plugin short_table.so: the plugin's table has 24 bytes; this host needs 64"),
    ("null_components", "P09", "plugin null_components.so: its list of components is null"),
    ("null_name", "P09", "plugin null_name.so: component 0: its id is null"),
    ("not_utf8", "P09", "plugin not_utf8.so: component 0: its id is not UTF-8"),
    (
        "bad_id",
        "P09",
        "plugin bad_id.so: component \"Bad_Id\": its id \"Bad_Id\" is not of lower-case letters, digits and single hyphens, starting with a letter, at most 64",
    ),
    (
        "bad_default",
        "P09",
        "plugin bad_default.so: component \"bad\": parameter \"steps\": its default: \"many\" is not a whole number",
    ),
    ("nothing_runs", "P09", "plugin nothing_runs.so: component \"bad\": it has neither `build` nor an extension that runs"),
    ("exit_in_constructor", "P08", "plugin exit_in_constructor.so ended the process (exit code 0) in load"),
    ("loop_in_constructor", "P10", "plugin loop_in_constructor.so gave no answer within 2 s in load and was stopped"),
];

#[test]
fn refused_when_loaded() {
    for &(name, id, sentence) in REFUSED {
        let error = refusal(name);
        assert_eq!((error.id, error.sentence.as_str(), error.exit_code()), (id, sentence, 5), "{name}");
        assert_eq!(error.plugin.as_deref(), Some(library(name).canonicalize().expect("it exists").as_path()));
    }
}

/// (file, id, how the sentence begins)
const FAULTY: &[(&str, &str, &str)] = &[
    ("segfault_in_build", "P08", "plugin segfault_in_build.so died (SIGSEGV) in build of bad"),
    ("abort_in_build", "P08", "plugin abort_in_build.so died (SIGABRT) in build of bad"),
    ("exit_in_build", "P08", "plugin exit_in_build.so ended the process (exit code 0) in build of bad"),
    ("stack_in_build", "P08", "plugin stack_in_build.so died (SIG"),
    ("loop_in_build", "P10", "plugin loop_in_build.so gave no answer within 2 s in build of bad and was stopped"),
    ("greedy_in_build", "P08", "plugin greedy_in_build.so died (SIGABRT) in build of bad"),
    ("null_graph", "P06", "component bad of plugin null_graph.so: it failed: its list of graphs is null"),
    ("not_a_graph", "P12", "component bad of plugin not_a_graph.so: its step graph is no ONNX model: "),
    ("bad_text", "P12", "component bad of plugin bad_text.so: its step graph is no ONNX text: line 1, column "),
    ("bad_role", "P12", "component bad of plugin bad_role.so: 99 is not a role"),
    (
        "unknown_name",
        "P12",
        "component bad of plugin unknown_name.so: its step graph names \"gard\", which is not a name of the interface; did it mean \"grad\"?",
    ),
    ("wrong_place", "P12", "component bad of plugin wrong_place.so: its step graph names \"obs_s\", which only emit may name"),
    (
        "wrong_output",
        "P12",
        "component bad of plugin wrong_output.so: its step graph gives \"x_new\"; it may give x_next, z_next, direction, state_*_next",
    ),
    (
        "wrong_shape",
        "P12",
        "component bad of plugin wrong_shape.so: its step graph declares \"logits\" with the shape [N,77]; it is [N,3]",
    ),
    ("wrong_type", "P12", "component bad of plugin wrong_type.so: its step graph declares \"x\" as int64; it is float"),
    ("foreign_operator", "P12", "component bad of plugin foreign_operator.so: its step graph is wrong: the operator "),
    ("draws", "P12", "component bad of plugin draws.so: its step graph draws numbers with RandomUniformLike"),
    ("no_emit", "P12", "component bad of plugin no_emit.so: its program has no emit graph and so no column"),
];

#[test]
fn at_fault_when_asked() {
    for &(name, id, beginning) in FAULTY {
        let plugins = discover(&[name]);
        assert_eq!(plugins.refused(), [], "{name}");
        let bad = &plugins.components()[0];
        let error = plugins.build(bad, &bad.arguments(&[]).expect("no arguments"), &task()).expect_err(name);
        assert!(error.sentence.starts_with(beginning), "{name}: {}", error.sentence);
        assert_eq!((error.id, error.exit_code(), error.component.as_deref()), (id, 5, Some("bad")), "{name}: {}", error.sentence);
    }
}

#[test]
fn the_status_says_whose_turn_it_is() {
    let plugins = discover(&["refuses"]);
    let bad = &plugins.components()[0];
    let cases = [
        ("invalid", "P24", 2, "bad: that will not do"),
        ("unsupported", "P25", 2, "bad is not for this task: not with this norm"),
        ("failed", "P06", 5, "component bad of plugin refuses.so: it failed: out of luck\\u{1b}[31m"),
        ("panicked", "P07", 5, "component bad of plugin refuses.so: it panicked: index out of range"),
        ("strange", "P06", 5, "component bad of plugin refuses.so: it answered the unknown status 77: what is this"),
        ("silent", "P06", 5, "component bad of plugin refuses.so: it failed: (no reason given)"),
    ];
    for (how, id, code, sentence) in cases {
        let arguments = bad.arguments(&[("how".into(), how.into())]).expect("a good argument");
        let error = plugins.build(bad, &arguments, &task()).expect_err(how);
        assert_eq!((error.id, error.exit_code(), error.sentence.as_str()), (id, code, sentence));
    }
}

#[test]
fn what_a_plugin_prints_does_not_reach_the_protocol() {
    let plugins = discover(&["prints"]);
    assert_eq!(plugins.refused(), []);
    let loud = plugins.component(Kind::Attack, "prints").expect("it loads");
    plugins.build(loud, &loud.arguments(&[]).expect("no arguments"), &task()).expect("it builds");
    let notes = plugins.take_notes();
    assert!(!notes.is_empty() && notes.len() <= 1000, "{} lines are kept", notes.len());
    assert!(notes.iter().all(|(_, note)| !note.words.contains('\x1b')), "control characters are escaped");
}

#[test]
fn one_qualified_name_in_two_files_is_refused_naming_both() {
    // the same bytes are one plugin; another file with the same id is a second one
    let copy = folder().join("copy_of_good.so");
    std::fs::copy(library("good"), &copy).expect("the folder is writable");
    let plugins = Plugins::discover(&Search::only(&[library("good"), copy]), &worker_command());
    assert_eq!((plugins.refused(), plugins.components().len()), (&[][..], 1));
    let plugins = discover(&["segfault_in_build", "abort_in_build"]);
    let error = &plugins.refused()[0];
    assert!(error.sentence.starts_with("component bad-plugin/bad is offered by "), "{error}");
    assert!(
        error.sentence.contains("/segfault_in_build.so and by ") && error.sentence.ends_with("/abort_in_build.so"),
        "{error}"
    );
    assert_eq!((plugins.components().len(), error.exit_code()), (1, 5));
}

/// A folder beside a program in which one plugin lies.
fn beside(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = format!("{}flatscape_standard{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    std::fs::copy(library(name), dir.path().join(file)).expect("the folder is writable");
    dir
}

#[test]
fn the_ids_of_the_plugin_that_comes_with_the_program_are_not_taken() {
    let standard = beside("calls_itself_standard");
    for by_path in [true, false] {
        let file = library("takes_pgd");
        let mut search = Search { beside: Some(standard.path().to_owned()), ..Search::default() };
        if by_path {
            search.files.push(file)
        } else {
            search.path.push(file)
        }
        let plugins = Plugins::discover(&search, &worker_command());
        assert_eq!(plugins.refused(), []);
        let names: Vec<&str> = plugins.components().iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["pgd", "bad-plugin/pgd"]);
        for (name, plugin) in [("pgd", "standard"), ("standard/pgd", "standard"), ("bad-plugin/pgd", "bad-plugin")] {
            let found = plugins.component(Kind::Attack, name).expect(name);
            assert_eq!((found.plugin.id.as_str(), found.plugin.sha256.len()), (plugin, 64), "{name}");
        }
    }
}

#[test]
fn a_reserved_id_is_nobody_elses_when_the_program_comes_alone() {
    let error = discover(&["takes_pgd"]).component(Kind::Attack, "pgd").expect_err("reserved").clone();
    assert_eq!((error.id, error.exit_code(), error.sentence.as_str()), ("P23", 2, "there is no attack \"pgd\""));
    let help = "the plugin that comes with the program was not found; there is bad-plugin/pgd";
    assert_eq!(error.help.as_deref(), Some(help));
}

#[test]
fn a_second_plugin_of_the_standard_id_is_refused() {
    // another file, by its bytes, that calls itself the same: a library of that name in the environment, too
    let standard = beside("calls_itself_standard");
    let other = tempfile::tempdir().expect("a temporary folder");
    let file = other.path().join(format!("{}flatscape_standard{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX));
    let mut bytes = std::fs::read(library("calls_itself_standard")).expect("it was compiled");
    bytes.extend_from_slice(b"another");
    std::fs::write(&file, bytes).expect("the folder is writable");
    let search = Search { beside: Some(standard.path().to_owned()), files: vec![file], ..Search::default() };
    let plugins = Plugins::discover(&search, &worker_command());
    assert_eq!((plugins.refused()[0].id, plugins.refused()[0].exit_code(), plugins.components().len()), ("P13", 5, 1));
    assert!(plugins.refused()[0].sentence.contains(" calls itself standard, as "), "{}", plugins.refused()[0]);
    let search = Search { beside: Some(standard.path().to_owned()), path: vec![other.path().to_owned()], ..Search::default() };
    let plugins = Plugins::discover(&search, &worker_command());
    let first = plugins.component(Kind::Attack, "pgd").expect("the one beside the program");
    assert!(first.plugin.path.starts_with(standard.path().canonicalize().expect("it exists")));
}

#[test]
fn an_id_that_two_plugins_offer_is_written_with_the_plugin() {
    let plugins = discover(&["good", "other_good"]);
    assert_eq!(plugins.refused(), []);
    let error = plugins.component(Kind::Attack, "good").expect_err("two");
    assert_eq!((error.id, error.exit_code(), error.sentence.as_str()), ("P23", 2, "2 plugins offer \"good\""));
    assert_eq!(error.help.as_deref(), Some("write bad-plugin/good or other/good"));
    assert_eq!(plugins.component(Kind::Attack, "other/good").expect("named in full").plugin.id, "other");
    assert_eq!(discover(&["other_good"]).component(Kind::Attack, "good").expect("the only one").plugin.id, "other");
}

#[test]
fn a_worker_sees_neither_the_run_directory_nor_what_the_host_has_open() {
    use std::os::fd::AsRawFd as _;
    let open = std::fs::File::open(library("good")).expect("it was compiled");
    // SAFETY: clears the flag of a descriptor that `open` owns, so that children inherit it.
    assert_eq!(unsafe { libc::fcntl(open.as_raw_fd(), libc::F_SETFD, 0) }, 0);
    let plugins = discover(&["surroundings"]);
    let looks = plugins.component(Kind::Attack, "surroundings").expect("it loads");
    plugins.build(looks, &looks.arguments(&[]).expect("no arguments"), &task()).expect("it builds");
    let notes: Vec<String> = plugins.take_notes().into_iter().map(|(_, note)| note.words).collect();
    let said = |what: &str| -> Vec<&str> { notes.iter().filter_map(|n| n.strip_prefix(what)).collect() };
    let here = std::env::current_dir().expect("a folder");
    assert_eq!(said("cwd ").len(), 1, "{notes:?}");
    assert!(!here.starts_with(said("cwd ")[0]) && !Path::new(said("cwd ")[0]).starts_with(&here), "{notes:?}");
    assert!(!Path::new(said("cwd ")[0]).exists(), "the scratch folder goes with the worker");
    let mut entries = said("entry ");
    entries.sort_unstable();
    assert_eq!(entries, [".", ".."]);
    if cfg!(target_os = "linux") {
        let kinds: Vec<&str> = said("fd ").iter().filter_map(|fd| fd.split(' ').nth(1)).collect();
        assert!(kinds.len() >= 4, "{notes:?}");
        let ours = |target: &&str| ["socket:", "pipe:", "/dev/null"].iter().any(|own| target.starts_with(own));
        assert!(kinds.iter().all(ours), "{notes:?}");
    }
    let variables = ["PATH", "LANG", "LC_ALL", "TMPDIR", "TZ", "RUST_BACKTRACE"];
    for variable in said("env ") {
        let name = variable.split('=').next().expect("a name");
        assert!(variables.contains(&name), "{variable}");
    }
}

#[test]
fn whether_a_component_serves_a_task_is_asked_beforehand() {
    let plugins = discover(&["refuses", "good", "oracle"]);
    let serves = |name: &str, how: Option<&str>| {
        let component = plugins.component(Kind::Attack, name).expect(name);
        let pairs: Vec<(String, String)> = how.map(|how| ("how".into(), how.into())).into_iter().collect();
        plugins.serves(component, &component.arguments(&pairs).expect("good arguments"), &task())
    };
    assert_eq!(serves("good", None), Ok(()));
    assert_eq!(serves("bad-oracle", None), Ok(()));
    let error = serves("bad", Some("unsupported")).expect_err("another norm");
    assert!(error.is_unsupported() && error.exit_code() == 2);
    assert!(!serves("bad", Some("failed")).expect_err("a fault").is_unsupported());
}

#[test]
fn names_that_are_not_there() {
    let plugins = discover(&["good"]);
    let error = plugins.component(Kind::Attack, "goood").expect_err("a typing mistake");
    assert_eq!(
        (error.sentence.as_str(), error.help.as_deref()),
        ("there is no attack \"goood\"", Some("did you mean \"good\"?"))
    );
    let error = plugins.component(Kind::Metric, "good").expect_err("another kind");
    assert_eq!((error.help.as_deref(), error.exit_code()), (Some("good is of kind attack"), 2));
    let none = Plugins::discover(&Search::default(), &worker_command());
    assert!(
        none.component(Kind::Attack, "cube").expect_err("nothing is there").help.expect("help").contains("no plugin was found")
    );
}

#[test]
fn files_that_are_no_plugins() {
    let text = folder().join("text.so");
    std::fs::write(&text, "hello\n").expect("the folder is writable");
    let truncated = folder().join("truncated.so");
    let bytes = std::fs::read(library("good")).expect("it was compiled");
    std::fs::write(&truncated, &bytes[..bytes.len() / 2]).expect("the folder is writable");
    let files = [text, truncated, folder().to_owned(), folder().join("missing.so")];
    let plugins = Plugins::discover(&Search::only(&files), &worker_command());
    let sentences: Vec<&str> = plugins.refused().iter().map(|e| e.sentence.as_str()).collect();
    assert_eq!(sentences[0], "plugin text.so is a text file, not a shared library");
    assert_eq!(sentences[1], "plugin truncated.so is truncated");
    assert!(sentences[2].ends_with(" is a directory"));
    assert!(sentences[3].ends_with("missing.so: No such file or directory (os error 2)"));
    assert!(plugins.refused().iter().all(|e| e.exit_code() == 5));
}

/// A linear classifier z = Wx on 2×2 images with 3 classes; its loss is −z_y, so its gradient is −W_y.
struct Linear {
    batch: Batch,
    offers: Vec<(Vec<f32>, Vec<usize>)>,
    asked: usize,
    budget: usize,
    fails: bool,
}

const W: [[f32; 4]; 3] = [[1.0, -2.0, 0.0, 0.5], [0.0, 1.0, 3.0, -1.0], [-1.0, 1.0, -1.0, 1.0]];

impl Linear {
    fn new() -> Linear {
        let x0 = Tensor::new(&[2, 1, 2, 2], vec![0.5f32; 8]).expect("8 values");
        Linear { batch: Batch { x0, y: vec![0, 1], target: None }, offers: Vec::new(), asked: 0, budget: 10_000, fails: false }
    }

    fn count(&mut self, rows: usize) -> Result<(), OracleError> {
        self.asked += rows;
        if self.fails {
            return Err(OracleError::Failed("the engine fell over".into()));
        }
        if self.asked > self.budget { Err(OracleError::Stop) } else { Ok(()) }
    }
}

impl Oracle for Linear {
    fn batch(&self) -> Batch {
        self.batch.clone()
    }

    fn logits(&mut self, x: &Tensor, rows: &[usize]) -> Result<Tensor, OracleError> {
        self.count(rows.len())?;
        let x = x.to_vec::<f32>().expect("floats");
        let z = x.chunks(4).flat_map(|x| W.iter().map(move |w| w.iter().zip(x).map(|(a, b)| a * b).sum::<f32>()));
        Ok(Tensor::new(&[rows.len(), 3], z.collect::<Vec<f32>>()).expect("3 logits for each row"))
    }

    fn gradient(&mut self, x: &Tensor, rows: &[usize], ct: Option<&Tensor>) -> Result<(Option<Tensor>, Tensor), OracleError> {
        assert!(ct.is_none());
        let z = self.logits(x, rows)?.to_vec::<f32>().expect("floats");
        let label = |row: usize| self.batch.y[rows[row]] as usize;
        let loss: Vec<f32> = (0..rows.len()).map(|r| -z[3 * r + label(r)]).collect();
        let gradient: Vec<f32> = (0..rows.len()).flat_map(|r| W[label(r)].map(|w| -w)).collect();
        Ok((Tensor::new(&[rows.len()], loss), Tensor::new(&[rows.len(), 1, 2, 2], gradient).expect("4 values for each row")))
    }

    fn noise(&mut self, _: Law, _: u32, _: &[usize], shape: &[usize]) -> Result<Tensor, OracleError> {
        Ok(Tensor::full(flatscape_graph::DType::F32, shape, 0.25))
    }

    fn active(&mut self) -> Vec<bool> {
        vec![true; 2]
    }

    fn offer(&mut self, x: &Tensor, rows: &[usize]) -> Result<(), OracleError> {
        self.offers.push((x.to_vec::<f32>().expect("floats"), rows.to_vec()));
        Ok(())
    }
}

fn attack(worker: &WorkerCommand, how: &str, oracle: &mut Linear) -> Result<(), HostError> {
    let plugins = Plugins::discover(&Search::only(&[library("oracle")]), worker);
    assert_eq!(plugins.refused(), []);
    let bad: &Component = plugins.component(Kind::Attack, "bad-oracle").expect("it loads");
    assert!(bad.is_oracle() && !bad.builds);
    let arguments = bad.arguments(&[("how".into(), how.into())]).expect("a good argument");
    plugins.run_oracle(bad, &arguments, &task(), oracle)
}

#[test]
fn an_oracle_attack_finds_the_worst_corner_in_both_places() {
    for worker in [worker_command(), WorkerCommand::in_process()] {
        let mut oracle = Linear::new();
        attack(&worker, "fgsm", &mut oracle).expect("it attacks");
        let expected = vec![0.4, 0.6, 0.5, 0.4, 0.5, 0.4, 0.4, 0.6];
        assert_eq!(oracle.offers, [(expected, vec![0, 1])]);
        assert_eq!(oracle.asked, 2);
    }
}

#[test]
fn oracle_attacks_that_misbehave() {
    let offered = |how: &str| {
        let mut oracle = Linear::new();
        let result = attack(&worker_command(), how, &mut oracle);
        (result, oracle.offers)
    };
    // proposals go through as they are: judging them is the business of whoever has the model
    assert!(offered("far").1[0].0.contains(&1.5));
    assert!(offered("nan").1[0].0.iter().all(|v| v.is_nan()));
    assert_eq!(offered("lie").1[0].0, [0.5; 8]);
    let cases = [
        ("writes", "P08", "plugin oracle.so died (SIG", 0),
        ("rows", "P24", "bad-oracle: the offer was not accepted", 0),
        ("shape", "P24", "bad-oracle: the offer was not accepted", 0),
        ("crash", "P08", "plugin oracle.so died (SIGSEGV) in run of bad-oracle", 1),
        ("exit", "P08", "plugin oracle.so ended the process (exit code 0) in run of bad-oracle", 1),
        ("loop", "P10", "plugin oracle.so gave no answer within 2 s in run of bad-oracle and was stopped", 1),
        ("thread", "P06", "component bad-oracle of plugin oracle.so: it failed: asked in vain", 0),
    ];
    for (how, id, beginning, offers) in cases {
        let (result, found) = offered(how);
        let error = result.expect_err(how);
        assert!(error.sentence.starts_with(beginning) && error.id == id, "{how}: {} {}", error.id, error.sentence);
        assert_eq!(found.len(), offers, "{how}: what was offered before stays");
    }
}

#[test]
fn a_spent_budget_ends_the_run_and_a_failing_engine_is_not_the_plugins_fault() {
    let mut oracle = Linear { budget: 100, ..Linear::new() };
    attack(&worker_command(), "stubborn", &mut oracle).expect("being told to stop is no failure");
    assert!(oracle.asked > 100 && oracle.asked < 110);
    let error = attack(&worker_command(), "fgsm", &mut Linear { fails: true, ..Linear::new() }).expect_err("the engine failed");
    assert_eq!((error.blame, error.sentence.as_str(), error.exit_code()), (Blame::Oracle, "the engine fell over", 6));
}

#[test]
fn the_check_finds_what_is_wrong_and_nothing_else() {
    let worker = worker_command();
    let wrong = |name: &str| -> Vec<String> {
        let report = flatscape_host::check(&library(name), &worker, false);
        report.items.iter().filter(|i| !i.pass).map(|i| format!("{}: {}", i.name, i.sentence)).collect()
    };
    assert_eq!(wrong("good"), [""; 0]);
    assert_eq!(wrong("impure"), ["pure: impure for linf, targeted has another answer every time"]);
    assert_eq!(wrong("wrong_major"), ["loads: plugin wrong_major.so has plugin ABI 3.3; this flatscape has 0.3"]);
    assert_eq!(wrong("unknown_name").len(), 1);
    assert_eq!(wrong("segfault_in_build").len(), 1);
    assert_eq!(wrong("oracle"), [""; 0]);
    let programs = flatscape_host::check(&library("good"), &worker, false).programs;
    assert_eq!(programs.len(), 12, "three norms, two shapes, targeted and not");
}

#[test]
fn the_template_in_c_builds_and_passes_the_check() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    flatscape_host::new_plugin("swift-attack", flatscape_host::Language::C, flatscape_host::Template::Attack, dir.path())
        .expect("a new folder");
    let project = dir.path().join("swift-attack");
    let file = project.join("libflatscape_swift_attack.so");
    let mut command = Command::new("cc");
    command.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fPIC", "-shared", "-I"]).arg(&project);
    let built = command.arg("-o").arg(&file).arg(project.join("swift_attack.c")).output().expect("there is a C compiler");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let report = flatscape_host::check(&file, &worker_command(), false);
    let said: Vec<String> = report.items.iter().map(|i| format!("{} {}", i.pass, i.sentence)).collect();
    assert_eq!(
        said,
        [
            "true libflatscape_swift_attack.so is plugin swift-attack-plugin 0.1.0 with 1 component(s)",
            "true it answers 4 questions; not for l2, l1",
            "true the same question has the same answer",
            "true 8 graphs parse, type-check and use the names they may",
        ]
    );
}

/// Two samples with the columns of the plugin `reduce`.
fn rows() -> Table {
    let rows = vec![("col_bad".to_owned(), 1, vec![1.0, 4.0])];
    Table { id: vec![0, 1], y: vec![0, 1], prediction: vec![0, 1], rows, head: None }
}

fn reduce(worker: &WorkerCommand, how: &str, table: &Table) -> Result<Reduced, HostError> {
    let plugins = Plugins::discover(&Search::only(&[library("reduce")]), worker);
    let bad = plugins.component(Kind::Metric, "bad-reduction").expect("it loads");
    assert!(bad.reduces() && bad.builds);
    let arguments = bad.arguments(&[("how".into(), how.into())]).expect("a good argument");
    plugins.reduce(bad, &arguments, &task(), table)
}

#[test]
fn a_reduction_says_something_about_all_samples() {
    for worker in [worker_command(), WorkerCommand::in_process()] {
        let found = reduce(&worker, "good", &rows()).expect("it reduces");
        let values: Vec<(&str, f64, u64)> = found.values.iter().map(|v| (v.name.as_str(), v.value, v.n)).collect();
        assert_eq!(values, [("bad_middle", 2.5, 2)]);
        assert_eq!(found.columns, [("doubled".to_owned(), vec![2.0, 8.0])]);
        assert_eq!(found.curves, [("line".to_owned(), vec![0.0, 1.0, 2.0], vec![0.0, 1.0, 2.0])]);
    }
}

#[test]
fn reductions_that_misbehave() {
    for (how, says) in [
        ("name", "\"No Name!\", which is not an identifier of C"),
        ("twice", "gives bad_middle twice among its values"),
        ("interval", "the interval of bad_middle is the wrong way round"),
        ("many", "bad_middle is taken over 3 of 2 samples"),
        ("null", "was refused what cannot be"),
        ("long", "was refused what cannot be"),
        ("endless", "values; at most 1000 are possible"),
        ("crash", "died (SIGSEGV)"),
        ("exit", "ended the process (exit code 0)"),
        ("loop", "gave no answer within 2 s in reduction of bad-reduction"),
        ("fails", "it failed: not today"),
        ("thread", "gave in vain"),
    ] {
        let error = reduce(&worker_command(), how, &rows()).expect_err(how);
        assert!(error.sentence.contains(says), "{how}: {error}");
        assert_eq!(error.exit_code(), 5, "{how}: {error}");
    }
    // what it writes into its rows is its own copy
    let table = rows();
    reduce(&worker_command(), "writes", &table).expect("an answer");
    assert_eq!(table, rows());
}

#[test]
fn a_good_reduction_passes_the_check() {
    let report = check(&library("reduce"), &worker_command(), false);
    assert!(report.passed(), "{:?}", report.items);
}
