//! The standard plugin as the host sees it: found, loaded in a child process, every component built for every norm, its graphs
//! checked. What the graphs compute is tested where there is an engine.

use std::process::ExitCode;

use flatscape_host::{AttackStatistics, Component, Kind, Plugins, Role, Search, Task, TrainingData, WorkerCommand, worker_main};

/// The child process of these tests: this executable, told to run only this. A worker speaks over its standard input, so what
/// the test harness prints does not matter.
#[test]
#[ignore = "it is started by the other tests"]
fn worker() {
    let code = worker_main();
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

fn plugins() -> Plugins {
    let exe = std::env::current_exe().expect("a test knows where it is");
    let worker = WorkerCommand::new(&exe, &["worker", "--exact", "--ignored"]);
    let search = Search { beside: exe.parent().map(Into::into), ..Search::default() };
    let plugins = Plugins::discover(&search, &worker);
    assert_eq!(plugins.refused(), []);
    plugins
}

fn arguments(component: &Component, pairs: &[(&str, &str)]) -> flatscape_host::Arguments {
    let pairs: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    component.arguments(&pairs).expect("good arguments")
}

fn task(norm: &str) -> Task {
    Task::new([3, 4, 4], 10, norm, 8.0 / 255.0)
}

#[test]
fn the_table_of_components() {
    let plugins = plugins();
    let table: Vec<String> = plugins
        .components()
        .iter()
        .map(|c| {
            let params: Vec<String> = c.params.iter().map(|p| format!("{}:{}={}", p.name, p.ty.name(), p.default)).collect();
            format!("{} {} {}", c.kind.name(), c.id, params.join(" ")).trim().to_owned()
        })
        .collect();
    assert_eq!(
        table,
        [
            "attack fgsm",
            "attack rs-fgsm alpha:float=auto",
            "attack bim steps:int=10 alpha:float=auto",
            "attack mim steps:int=10 alpha:float=auto mu:float=1",
            "attack pgd steps:int=20 alpha:float=auto restarts:int=1 random-start:bool=true sigma:float=auto loss:text=ce kappa:float=4",
            "attack apgd-ce steps:int=100 restarts:int=1 rho:float=0.75 multi-eps:bool=true compat:bool=false",
            "attack apgd-dlr steps:int=100 restarts:int=1 rho:float=0.75 multi-eps:bool=true compat:bool=false",
            "attack apgd-t steps:int=100 restarts:int=1 rho:float=0.75 multi-eps:bool=true compat:bool=false targets:int=9 loss:text=dlr",
            "attack fab-t steps:int=100 restarts:int=1 alpha:float=0.1 eta:float=1.05 beta:float=0.9 targets:int=9",
            "attack fab steps:int=100 restarts:int=1 alpha:float=0.1 eta:float=1.05 beta:float=0.9",
            "attack square queries:int=5000 p:float=0.8 rescale:bool=false restarts:int=1 compat:bool=false",
            "attack cw steps:int=1000 searches:int=9 lr:float=0.01 c:float=0.001 confidence:float=0",
            "attack deepfool steps:int=50 overshoot:float=0.02 candidates:int=10",
            "attack ddn steps:int=100 gamma:float=0.05 loss:text=ce",
            "attack fmn steps:int=100 alpha:float=1 gamma:float=0.05",
            "attack sigma-zero steps:int=1000 sigma:float=0.001 threshold:float=0.3 lr:float=1",
            "attack stadv steps:int=100 lr:float=auto tau:float=0.05",
            "attack rotation-translation angles:int=31 shifts:int=5",
            "attack corruptions draws:int=1 types:text=all",
            "attack spsa steps:int=100 pairs:int=128 law:text=spsa delta:float=auto lr:float=0.01",
            "attack hopskipjump steps:int=64 probes:int=100 most-probes:int=10000 tries:int=1000",
            "attack noise draws:int=100 law:text=edge",
            "attack noise-path steps:int=10 to:text=image",
            "attack random-search queries:int=2000",
            "metric logp",
            "metric ams grad-units:text=pixel",
            "metric phi directions:int=5 grid:int=21 extent:float=auto control:bool=true grad-units:text=pixel clip:bool=false",
            "metric input-gradient grad-units:text=pixel",
            "metric jacobian n-proj:int=-1 grad-units:text=pixel",
            "metric relative-flatness augment:bool=false uncanny:bool=false bounds:bool=false normalise-features:text=none",
            "metric lipschitz points:int=256 ascent:int=10 interval:bool=false",
            "metric clever batches:int=50 points:int=100 radius:float=auto rivals:text=all",
            "metric smoothing sigma:float=0.25 n:int=1000 n0:int=100 alpha:float=0.001",
            "metric neural-collapse",
            "metric likelihood-landscape directions:text=random height:text=likelihood grid:int=41 extent:float=auto clip:bool=false",
            "metric ssim preset:text=wang2004",
            "metric weight-landscape grid:text=-1:1:51 norm:text=filter ignore:text=biasbn refresh:bool=false",
            "metric interpolation to:text=none grid:text=-0.5:1.5:41 refresh:bool=false",
            "metric mode-connection to:text=none path:text=bezier iterations:int=200 lr:float=0.015 decay:float=5e-4",
            "metric trajectory files:text=none ignore:text=biasbn points:int=21",
            "metric hessian-trace of:text=weights probes:int=100",
            "metric hessian-eigenvalues of:text=weights count:int=5 steps:int=40 layers:bool=false",
            "metric hessian-density of:text=weights probes:int=10 steps:int=40",
            "metric soft-rank of:text=weights damping:float=0.01 probes:int=10 steps:int=40",
            "metric robust-flatness case:text=average xi:float=auto draws:int=10 clean:bool=false steps:int=20 alpha:float=auto",
            "trainer standard",
            "trainer adversarial bn-attack:text=eval",
            "trainer trades beta:float=6 bn-attack:text=eval",
            "trainer mart beta:float=5 bn-attack:text=eval",
            "trainer free m:int=8",
            "trainer fast alpha:float=auto bn-attack:text=train",
            "trainer jacobian lambda:float=0.01 n-proj:int=1",
            "trainer amsreg mu:float=1 n-proj:int=1 p-grad:bool=true",
            "trainer exact-ams mu:float=0.01",
            "trainer attack-ams mu:float=0.01 along:text=point",
            "trainer input-gradient lambda:float=0.1",
            "trainer static-augmentation made:text=once",
            "trainer sam rho:float=0.05",
            "trainer awp gamma:float=0.005 bn-attack:text=eval",
            "trainer fam lambda:float=0.001 flatness:text=petzka",
            "optimizer sgd momentum:float=0.9 nesterov:bool=false weight-decay:float=0.0005 decay-1d:bool=true",
            "optimizer adam beta1:float=0.9 beta2:float=0.999 epsilon:float=1e-8 weight-decay:float=0 decay-1d:bool=true",
            "optimizer adamw beta1:float=0.9 beta2:float=0.999 epsilon:float=1e-8 weight-decay:float=0.01 decay-1d:bool=true",
        ]
    );
    assert_eq!(plugins.plugins()[0].id, "standard");
    assert!(
        plugins
            .components()
            .iter()
            .all(|c| !c.source.is_empty() && !c.summary.is_empty() && (c.builds || c.is_oracle() || c.is_weights()))
    );
}

const NORMS: &[&str] = &["linf", "l2", "l1", "l0"];

/// Attacks that do not serve every norm, and those they serve.
const SERVED: &[(&str, &[&str])] = &[
    ("apgd-ce", &["linf", "l2", "l1"]),
    ("apgd-dlr", &["linf", "l2", "l1"]),
    ("apgd-t", &["linf", "l2", "l1"]),
    ("fab-t", &["linf", "l2", "l1"]),
    ("fab", &["linf", "l2", "l1"]),
    ("square", &["linf", "l2"]),
    ("cw", &["l2"]),
    ("deepfool", &["linf", "l2"]),
    ("ddn", &["l2"]),
    ("fmn", &["linf", "l2", "l1", "l0"]),
    ("hopskipjump", &["linf", "l2"]),
    ("sigma-zero", &["l0"]),
    ("stadv", &["flow"]),
    ("rotation-translation", &["rigid"]),
    ("corruptions", &["corruption"]),
    ("random-search", &["linf"]),
    ("noise-path", &["linf", "l2", "l1"]),
    ("robust-flatness", &["linf"]),
    ("lipschitz", &["linf", "l2", "l1"]),
    ("clever", &["linf", "l2", "l1"]),
];

/// Arguments that a component needs: the window of the usual preset is larger than small images, and files have no default.
fn own(component: &Component) -> &'static [(&'static str, &'static str)] {
    match &*component.id {
        "ssim" => &[("preset", "pytorch_ssim")],
        "interpolation" | "mode-connection" => &[("to", "other.onnx")],
        "trajectory" => &[("files", "(a.onnx,b.onnx)")],
        _ => &[],
    }
}

#[test]
fn files_that_a_metric_needs_are_asked_for_before_anything_runs() {
    let plugins = plugins();
    for (id, words) in [
        ("interpolation", "name the other file: interpolation:to=FILE"),
        ("mode-connection", "name the other file: mode-connection:to=FILE"),
        ("trajectory", "name the files before the model: trajectory:files=(a.onnx,b.onnx)"),
    ] {
        let metric = plugins.component(Kind::Metric, id).expect(id);
        let error = plugins.build(metric, &arguments(metric, &[]), &task("linf")).expect_err("no file");
        assert_eq!((error.exit_code(), error.sentence.as_str()), (2, &*format!("{id}: {words}")));
        plugins.build(metric, &arguments(metric, own(metric)), &task("linf")).expect("it builds");
    }
}

#[test]
fn every_component_builds_for_every_norm_that_it_serves_and_twice_the_same() {
    // programs are kept once they are built, so the second answer is asked of others
    let (plugins, others) = (plugins(), plugins());
    for component in plugins.components().iter().filter(|c| c.builds) {
        let served = SERVED.iter().find(|(id, _)| *id == component.id).map_or(NORMS, |(_, served)| *served);
        for norm in NORMS {
            for targeted in [false, true] {
                let task = Task { targeted, ..task(norm) };
                let arguments = arguments(component, own(component));
                if !served.contains(norm) {
                    let refused = plugins.build(component, &arguments, &task).expect_err("it does not serve this norm");
                    assert!(refused.is_unsupported() && refused.sentence.contains(&served.join(", ")), "{refused}");
                    continue;
                }
                let first = plugins.build(component, &arguments, &task).unwrap_or_else(|e| panic!("{}: {e}", component.id));
                let second = others.build(component, &arguments, &task).expect("it was built a moment ago");
                assert_eq!(first.sha256, second.sha256, "{}", component.id);
            }
        }
    }
}

#[test]
fn fgsm_is_one_step_and_names_nothing_it_does_not_need() {
    let plugins = plugins();
    let fgsm = plugins.component(Kind::Attack, "fgsm").expect("it is there");
    let program = plugins.build(fgsm, &arguments(fgsm, &[]), &task("linf")).expect("it builds");
    assert_eq!((program.steps, program.restarts, program.graphs.len()), (1, 1, 1));
    let step = program.graph(Role::Step).expect("a step");
    let names: Vec<&str> = step.inputs().iter().map(|&v| &*step.value(v).name).collect();
    assert_eq!(names, ["x0", "ascent", "eps"]);
}

#[test]
fn arguments_of_pgd_reach_its_program() {
    let plugins = plugins();
    let pgd = plugins.component(Kind::Attack, "pgd").expect("it is there");
    let build = |pairs: &[(&str, &str)], task: &Task| plugins.build(pgd, &arguments(pgd, pairs), task);
    let program = build(&[("steps", "7"), ("restarts", "3")], &task("linf")).expect("it builds");
    assert_eq!((program.steps, program.restarts), (7, 3));
    assert!(!program.names("arg_alpha") && program.names("noise_uniform") && program.graph(Role::Objective).is_none());
    let program = build(&[("alpha", "2/255"), ("random-start", "no"), ("loss", "margin")], &task("l2")).expect("it builds");
    assert!(program.names("arg_alpha") && program.graph(Role::Init).is_none() && program.graph(Role::Objective).is_some());
    let targeted = Task { targeted: true, ..task("linf") };
    let program = build(&[("loss", "margin")], &targeted).expect("it builds");
    assert!(program.graph(Role::Objective).is_some_and(|g| g.input_named("target").is_some() && g.input_named("y").is_none()));

    let repeat = build(&[("restarts", "2"), ("random-start", "no")], &task("linf")).expect_err("it would repeat itself");
    assert_eq!(repeat.exit_code(), 2);
    let refused = build(&[], &task("corruption")).expect_err("no such threat model");
    assert_eq!(
        refused.sentence,
        "pgd is not for this task: the threat model is corruption; it serves linf, l2, l1, l0, flow, rigid"
    );
    plugins.take_notes();
    build(&[("alpha", "1/255"), ("steps", "3")], &task("linf")).expect("it builds");
    assert!(plugins.take_notes().iter().any(|(_, note)| note.level == 1 && note.words.contains("do not reach eps")));
}

/// What a trainer trains on, and where its adversarial points come from.
#[test]
fn trainers_state_their_attack_and_their_data() {
    let plugins = plugins();
    let build = |id: &str, pairs: &[(&str, &str)], norm: &str| {
        let trainer = plugins.component(Kind::Trainer, id).expect(id);
        plugins.build(trainer, &arguments(trainer, pairs), &task(norm))
    };
    let attack = |id: &str, pairs: &[(&str, &str)]| build(id, pairs, "linf").expect(id).attack;
    assert_eq!(attack("standard", &[]), None);
    assert_eq!(attack("adversarial", &[]).as_deref(), Some("pgd:steps=10"));
    assert_eq!(attack("fast", &[("alpha", "0.04")]).as_deref(), Some("pgd:steps=1,alpha=0.04"));
    let alpha = |id: &str| attack(id, &[]).and_then(|text| text.rsplit_once('=')?.1.parse::<f64>().ok()).expect("a number");
    assert!((alpha("fast") - 10.0 / 255.0).abs() < 1e-12 && (alpha("trades") / (8.0 / 255.0) - 7.0 / 31.0).abs() < 1e-12);
    for id in ["trades", "mart"] {
        assert!(attack(id, &[]).is_some_and(|text| text.starts_with("pgd:steps=10,sigma=0.001,alpha=")), "{id}");
    }
    let free = build("free", &[("m", "4")], "l2").expect("it builds");
    assert_eq!((free.replays, free.attack), (4, None));
    let refused = build("free", &[], "flow").expect_err("it moves pixels");
    assert!(refused.is_unsupported(), "{refused}");
    assert_eq!(build("fast", &[], "linf").expect("it builds").bn_attack, AttackStatistics::Train);
    assert_eq!(build("trades", &[], "linf").expect("it builds").bn_attack, AttackStatistics::Eval);
    assert_eq!(build("static-augmentation", &[], "linf").expect("it builds").data, TrainingData::AdversarialOnce);
    let online = build("static-augmentation", &[("made", "online")], "linf").expect("it builds");
    assert_eq!(online.data, TrainingData::AdversarialOnline);
    let nothing = build("jacobian", &[("n-proj", "0")], "linf").expect_err("it measures nothing");
    assert_eq!(
        (nothing.exit_code(), nothing.sentence.as_str()),
        (2, "jacobian: n-proj=0 measures nothing; try 1, or -1 for every class")
    );
    let sgd = plugins.component(Kind::Optimizer, "sgd").expect("it is there");
    let refused = plugins.build(sgd, &arguments(sgd, &[("nesterov", "true"), ("momentum", "0")]), &task("linf"));
    assert_eq!(refused.expect_err("nothing to look along").exit_code(), 2);
}

#[test]
fn grids_count_their_points() {
    let plugins = plugins();
    let phi = plugins.component(Kind::Metric, "phi").expect("it is there");
    let build = |pairs: &[(&str, &str)]| plugins.build(phi, &arguments(phi, pairs), &task("linf"));
    assert_eq!(build(&[]).expect("it builds").probes, 5 * 21 * 21);
    let program = build(&[("directions", "2"), ("grid", "5"), ("extent", "0.1")]).expect("it builds");
    assert_eq!(program.probes, 50);
    assert!(program.names("arg_extent") && !program.names("eps"));
    let even = build(&[("grid", "4")]).expect_err("the image would not be a point of the grid");
    assert_eq!(even.sentence, "phi: grid=4 is even, and the image would not be a point of it; try 5");
    assert_eq!(even.exit_code(), 2);

    let landscape = plugins.component(Kind::Metric, "likelihood-landscape").expect("it is there");
    for (directions, gradient) in [("random", false), ("fgsm", true)] {
        let arguments = arguments(landscape, &[("directions", directions), ("grid", "5")]);
        let program = plugins.build(landscape, &arguments, &task("linf")).expect("it builds");
        assert_eq!((program.probes, program.names("grad")), (25, gradient));
    }
}

/// Odd D, D = 1, and one class: the edges of the half-flip and of softmax. What needs another class says so.
#[test]
fn small_images_build_too() {
    let plugins = plugins();
    let mut refused: Vec<String> = Vec::new();
    for (shape, classes) in [([1, 1, 1], 1), ([1, 3, 3], 1), ([1, 1, 2], 1), ([1, 1, 1], 2), ([2, 3, 1], 3)] {
        for component in plugins.components().iter().filter(|c| c.builds) {
            for norm in NORMS {
                let task = Task::new(shape, classes, norm, 0.1);
                let arguments = arguments(component, if component.id == "ssim" { &[] } else { own(component) });
                match plugins.build(component, &arguments, &task) {
                    Ok(_) => {}
                    Err(error) if error.is_unsupported() && error.sentence.contains("one class") && classes == 1 => {
                        refused.push(component.id.clone());
                    }
                    Err(error) if error.is_unsupported() && error.sentence.contains("it serves") => {}
                    Err(error) if component.id == "ssim" && error.sentence.contains("smaller than the window") => {}
                    Err(error) => panic!("{} {shape:?}: {error}", component.id),
                }
            }
        }
    }
    refused.sort();
    refused.dedup();
    assert_eq!(refused, ["apgd-t", "deepfool", "fab", "fab-t"]);
}

/// With too few classes for a ratio of logits the margin takes its place, and the user is told.
#[test]
fn two_and_three_classes_have_no_difference_of_logits_ratios() {
    let plugins = plugins();
    for (id, classes, told) in [("apgd-dlr", 2, true), ("apgd-dlr", 3, false), ("apgd-t", 3, true), ("apgd-t", 4, false)] {
        let attack = plugins.component(Kind::Attack, id).expect(id);
        plugins.take_notes();
        let task = Task::new([1, 4, 4], classes, "linf", 0.1);
        let program = plugins.build(attack, &arguments(attack, &[]), &task).expect(id);
        let notes = plugins.take_notes();
        assert_eq!(notes.iter().any(|(_, note)| note.words.contains("too few for DLR")), told, "{id} with {classes} classes");
        assert_eq!(program.restarts, if id == "apgd-t" { classes as u32 - 1 } else { 1 });
    }
}

/// A Rust plugin that panics: the SDK's barrier turns it into words, and the standard plugin goes on.
#[test]
fn a_panicking_neighbour_is_one_failed_component() {
    let exe = std::env::current_exe().expect("a test knows where it is");
    let folder = exe.parent().expect("a file lies in a folder");
    let name = format!("{}misbehaving_panics{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let search = Search { files: vec![folder.join(name)], beside: Some(folder.into()), ..Search::default() };
    let plugins = Plugins::discover(&search, &WorkerCommand::new(&exe, &["worker", "--exact", "--ignored"]));
    assert_eq!(plugins.refused(), []);
    let panics = plugins.component(Kind::Attack, "panics").expect("it loads");
    let error = plugins.build(panics, &arguments(panics, &[]), &task("linf")).expect_err("it panics");
    assert!(error.sentence.contains("it panicked: index out of bounds"), "{error}");
    assert_eq!((error.id, error.exit_code()), ("P07", 5));
    let pgd = plugins.component(Kind::Attack, "pgd").expect("it is there");
    plugins.build(pgd, &arguments(pgd, &[]), &task("linf")).expect("it builds");
}

#[test]
fn the_check_passes() {
    let exe = std::env::current_exe().expect("a test knows where it is");
    let name = format!("{}flatscape_standard{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let file = exe.with_file_name(name);
    let report = flatscape_host::check(&file, &WorkerCommand::in_process(), false);
    let wrong: Vec<_> = report.items.iter().filter(|i| !i.pass).collect();
    assert!(report.passed() && report.programs.len() > 50, "{wrong:?}");
}
