//! The cases of `tests/golden/structure`: control flow, sequences, local functions, recurrent layers, attention, operators of
//! optimised models and of scikit-learn. Normalised, they compute what others computed on the file, and their gradients are those
//! of PyTorch's double autograd.

use std::fs;
use std::path::{Path, PathBuf};

use flatscape_autodiff::vjp;
use flatscape_graph::normalize::{Answer, Options, TREES, flat_ensembles, logits, normalize};
use flatscape_graph::{Builder, Graph, Output, Tensor, onnx, ops, simplify};
use serde_json::Value;

use super::case::Named;
use super::golden::tensors;
use super::program::{evaluate, within_single_precision};
use super::{directory, engines};

struct Case {
    name: String,
    graph: Graph,
    inputs: Named,
    outputs: Named,
    gradients: Named,
}

#[test]
fn models_with_structure_compute_what_others_computed() {
    let mut failures = Vec::new();
    let engines = engines();
    let cases = all();
    assert!(cases.len() > 80, "only {} cases", cases.len());
    for case in &cases {
        for engine in &engines {
            let what = format!("{} on {}", case.name, engine.name());
            let found = evaluate(&**engine, &case.graph, &case.inputs, true);
            failures.extend(compare(found, &case.outputs, "").err().map(|why| format!("{what}: {why}")));
            if !case.gradients.is_empty() {
                let found = gradient(case).and_then(|graph| evaluate(&**engine, &graph, &case.inputs, true));
                failures.extend(compare(found, &case.gradients, "grad_").err().map(|why| format!("{what}: {why}")));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// Probabilities of scikit-learn end in a softmax that can be cut, wherever logits exist.
#[test]
fn logits_of_learners_are_had() {
    for (name, cut) in
        [("scikit_logistic_2", true), ("scikit_logistic_3", true), ("scikit_pipeline_3", true), ("scikit_linear_svc_3", false)]
    {
        let graph = graph(&directory("golden/structure").join(format!("{name}.onnx")));
        let scores = graph.outputs().iter().position(|o| graph.dtype(o.value).is_some_and(|d| d.is_float()));
        let (before, found) = logits(&graph, scores.expect("scores"), Answer::Classes).expect("one class is right");
        assert_eq!(found != flatscape_graph::normalize::Cut::Nothing, cut, "{name}: {found}");
        let last = before.outputs()[0].value;
        let op = before.value(last).producer.map(|(id, _)| before.node_at(id).op.to_string());
        assert!(cut || op.as_deref() == Some("Gemm"), "{name}: {op:?}");
    }
}

/// Trees are step functions: nothing leads through them, and it is said.
#[test]
fn trees_are_flat() {
    let path = directory("golden/structure").join("scikit_forest_3.onnx");
    let file = onnx::read(&fs::read(&path).expect("a case can be read")).expect("a case is a model");
    assert!(flat_ensembles(&file.graph)[0].contains("its gradient is zero everywhere"));
    let graph = graph(&path);
    assert!(graph.nodes().iter().any(|n| &*n.op == "GatherElements" && n.name.starts_with(TREES)));
    let scores = graph.outputs().iter().find(|o| graph.dtype(o.value).is_some_and(|d| d.is_float())).expect("scores").value;
    let b = Builder::new(graph.clone());
    let found = vjp(&b, scores, b.expr(scores).id, graph.inputs()).expect("every operator has a rule");
    assert_eq!(found, vec![None]);
}

/// The gradient of Σ k·y/n, y the first output, k = 1, …, n.
fn gradient(case: &Case) -> Result<Graph, String> {
    let first = case.graph.outputs()[0].clone();
    let expected = &case.outputs[&*first.name];
    let n = expected.len();
    let b = Builder::new(case.graph.clone());
    let weight = (1..=n).map(|k| k as f32 / n as f32).collect();
    let ct = b.constant(Tensor::new(expected.shape(), weight).expect("as many numbers as elements"));
    let wrt: Vec<_> = case.graph.inputs().to_vec();
    let found = vjp(&b, first.value, ct.id, &wrt).map_err(|e| e.to_string())?;
    let names: Vec<String> = wrt.iter().map(|&v| format!("grad_{}", case.graph.value(v).name)).collect();
    let mut graph = b.into_graph();
    let outputs = names.into_iter().zip(found).filter_map(|(name, v)| v.map(|value| Output { name: name.into(), value }));
    graph.set_outputs(outputs.collect());
    Ok(graph)
}

fn compare(found: Result<Named, String>, expected: &Named, prefix: &str) -> Result<(), String> {
    let found = found?;
    for (name, expected) in expected {
        let name = format!("{prefix}{name}");
        let result = found.get(&name).ok_or_else(|| format!("there is no {name}"))?;
        if result.shape() != expected.shape() {
            return Err(format!("{name} has the shape {:?}, not {:?}", result.shape(), expected.shape()));
        }
        let numbers = expected.to_f64();
        if result.dtype().is_float() {
            within_single_precision(&name, Some(result), &numbers)?;
        } else if result.to_f64() != numbers {
            return Err(format!("{name} is {:?}, not {numbers:?}", result.to_f64()));
        }
    }
    Ok(())
}

fn all() -> Vec<Case> {
    let entries = fs::read_dir(directory("golden/structure")).expect("tests/golden/structure is there");
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("it can be listed").path()).collect();
    paths.sort();
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Case {
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let json: Value = serde_json::from_str(&fs::read_to_string(path).expect("a case can be read")).expect("a case is JSON");
    let graph = graph(&path.with_extension("onnx"));
    let outputs = tensors(&json["outputs"], "");
    Case { name, graph, inputs: tensors(&json["inputs"], ""), outputs, gradients: tensors(&json["gradients"], "") }
}

fn graph(path: &Path) -> Graph {
    let name = path.display();
    let file = onnx::read(&fs::read(path).expect("a case can be read")).unwrap_or_else(|e| panic!("{name}: {e}"));
    let graph = normalize(&file.graph, file.opset, &Options::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    graph.check().unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(ops::unknown(&graph), None, "{name}");
    simplify(&graph)
}
