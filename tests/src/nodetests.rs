//! The node tests of ONNX: models of one operator with inputs and expected results. Of those with floats on both sides whose
//! operator has a rule, all are read, inferred and written, and give what they should on both engines, but for the listed
//! exceptions.

mod case;
mod exceptions;
mod fetch;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use flatscape_engine::{Buffer, Choice, CompileOptions, Engine, Settings};
use flatscape_graph::{Graph, Tensor};

use crate::provision::onnx_runtime_with;
use case::{Case, FEEDINGS, Feeding, Sorted};
use exceptions::{PLACES, exceptions};

/// What became of a case, by place.
type Outcomes = BTreeMap<&'static str, Result<Feeding, String>>;

#[test]
fn node_tests_of_onnx_pass_but_for_the_listed_exceptions() {
    let (cases, counts) = select();
    let exceptions = exceptions();
    let engines = engines();
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<BTreeMap<&str, Outcomes>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from).min(4) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let tried = |place| exceptions.get(&(place, case.name.clone())).is_none_or(|e| e.run);
                    let outcome = run(case, &engines, tried);
                    outcomes.lock().expect("no thread panics").insert(&case.name, outcome);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().expect("no thread panics");

    let mut failures = Vec::new();
    for (name, places) in &outcomes {
        for (place, outcome) in places {
            match (outcome, exceptions.get(&(place, (*name).to_owned()))) {
                (Err(why), None) => failures.push(format!("{place}: {name}: {why}")),
                (Ok(_), Some(e)) => failures.push(format!("{place}: {name} passes and is listed: {}", e.reason)),
                _ => {}
            }
        }
    }
    let unknown = exceptions.keys().filter(|(_, name)| !outcomes.contains_key(&**name));
    failures.extend(unknown.map(|(place, name)| format!("{place}: {name} is listed but is not a case")));
    summarise(&cases, &outcomes, counts);
    assert!(cases.len() >= 700, "only {} node tests are selected", cases.len());
    assert!(failures.is_empty(), "{} node tests:\n{}", failures.len(), failures.join("\n"));
}

/// The cases, and how many folders are none, by reason.
fn select() -> (Vec<Case>, [(&'static str, usize); 3]) {
    let entries = fs::read_dir(fetch::node_tests()).expect("the node tests can be listed");
    let mut folders: Vec<_> = entries.map(|e| e.expect("the node tests can be listed").path()).collect();
    folders.sort();
    let mut cases = Vec::new();
    let mut counts =
        [("of another form or without floats", 0), ("with element types that graphs do not hold", 0), ("without a rule", 0)];
    for folder in folders.iter().filter(|f| f.join("model.onnx").is_file()) {
        match Sorted::read(folder) {
            Sorted::Selected(case) => cases.push(case),
            Sorted::OtherForm => counts[0].1 += 1,
            Sorted::OtherType => counts[1].1 += 1,
            Sorted::NoRule => counts[2].1 += 1,
        }
    }
    (cases, counts)
}

/// Both engines, with one thread each: the cases themselves run side by side.
fn engines() -> [std::sync::Arc<dyn Engine>; 2] {
    let settings = Settings { choice: Choice::Tract, threads: 1, ..Settings::default() };
    [onnx_runtime_with(1), flatscape_engine::open(&settings).expect("tract is compiled in")]
}

fn run(case: &Case, engines: &[std::sync::Arc<dyn Engine>], tried: impl Fn(&'static str) -> bool) -> Outcomes {
    let mut outcomes = Outcomes::new();
    // an engine may need more constants than inference does
    let imported = first_that_works(&FEEDINGS, |feeding| imported(case, feeding).map(drop));
    let feedings: Vec<Feeding> = FEEDINGS.into_iter().filter(|f| imported.as_ref().is_ok_and(|least| f >= least)).collect();
    for engine in engines.iter().filter(|engine| imported.is_ok() && tried(engine.name())) {
        outcomes.insert(engine.name(), first_that_works(&feedings, |feeding| computed(case, feeding, &**engine)));
    }
    outcomes.insert("import", imported);
    outcomes
}

/// The first feeding that works, or what is wrong with the last one.
fn first_that_works(feedings: &[Feeding], attempt: impl Fn(Feeding) -> Result<(), String>) -> Result<Feeding, String> {
    let mut outcome = Err("it is not imported".to_owned());
    for &feeding in feedings {
        let safely = catch_unwind(AssertUnwindSafe(|| attempt(feeding))).unwrap_or_else(|_| Err("it panics".to_owned()));
        outcome = safely.map(|()| feeding).map_err(|why| format!("({feeding:?}) {why}"));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// The graph, all of whose results have exactly the inferred types that they should have.
fn imported(case: &Case, feeding: Feeding) -> Result<Graph, String> {
    let graph = case.graph(feeding)?;
    let (_, expected) = case.tensors(feeding);
    for (output, tensor) in graph.outputs().iter().zip(&expected) {
        let inferred = &graph.value(output.value).ty;
        let actual = flatscape_graph::ValueType::fixed(tensor.dtype(), tensor.shape());
        if *inferred != actual {
            return Err(format!("its result {} is inferred as {inferred} and is {actual}", output.name));
        }
    }
    Ok(graph)
}

fn computed(case: &Case, feeding: Feeding, engine: &dyn Engine) -> Result<(), String> {
    let graph = imported(case, feeding)?;
    let (inputs, expected) = case.tensors(feeding);
    let executable = engine.compile(&graph, &CompileOptions::default()).map_err(|e| e.to_string())?;
    let buffers: Vec<Buffer> = inputs.into_iter().map(Buffer::from).collect();
    let results = executable.run(&buffers.iter().collect::<Vec<_>>()).map_err(|e| e.to_string())?;
    for ((result, expected), output) in results.iter().zip(&expected).zip(graph.outputs()) {
        compare(&result.host().map_err(|e| e.to_string())?, expected)
            .map_err(|why| format!("its result {} {why}", output.name))?;
    }
    Ok(())
}

/// As ONNX compares: within 1e-7 + 1e-3 of the expected number; integers and booleans exactly. What is rounding beside the largest
/// number passes too.
fn compare(found: &Tensor, expected: &Tensor) -> Result<(), String> {
    if (found.dtype(), found.shape()) != (expected.dtype(), expected.shape()) {
        let [a, b] = [found, expected].map(|t| format!("{}{:?}", t.dtype().name(), t.shape()));
        return Err(format!("is {a} and should be {b}"));
    }
    let relative = if expected.dtype().is_float() { 1e-3 } else { 0.0 };
    let (found, expected) = (found.to_f64(), expected.to_f64());
    let largest = expected.iter().filter(|e| e.is_finite()).fold(0.0f64, |m, e| m.max(e.abs()));
    let rounding = if relative > 0.0 { 1e-6 * largest.max(1.0) } else { 0.0 };
    let far = |f: f64, e: f64| (f - e).abs() > (1e-7 + relative * e.abs()).max(rounding);
    let near = |(f, e): (&f64, &f64)| f == e || (f.is_nan() && e.is_nan()) || !(far(*f, *e) || (f - e).is_nan());
    match found.iter().zip(&expected).position(|pair| !near(pair)) {
        Some(at) => Err(format!("has {} for {} at position {at} of {}", found[at], expected[at], found.len())),
        None => Ok(()),
    }
}

fn summarise(cases: &[Case], outcomes: &BTreeMap<&str, Outcomes>, left_out: [(&str, usize); 3]) {
    let operators: BTreeSet<&str> = cases.iter().map(|c| &*c.op).collect();
    println!("{} node tests of {} operators: {}", cases.len(), operators.len(), Vec::from_iter(operators).join(" "));
    for (reason, count) in left_out {
        println!("left out: {count} {reason}");
    }
    for place in PLACES {
        let feedings: Vec<Feeding> = outcomes.values().filter_map(|o| o.get(place)?.as_ref().ok().copied()).collect();
        let count = |feeding| feedings.iter().filter(|&&f| f == feeding).count();
        let [free, integers, first, bound] = FEEDINGS.map(count);
        println!(
            "{place}: {} pass: {free} as they are, {integers} with integers bound, {first} with all inputs but the first bound, \
             {bound} with all of them bound",
            feedings.len()
        );
    }
}
