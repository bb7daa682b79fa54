//! The cases of `tests/golden/autograd`: outputs, gradients and Hessian-vector products of PyTorch's double autograd, for what
//! central differences cannot decide. The format is described in `tests/golden/README.md`.

use std::fs;

use flatscape_autodiff::Rulebook;
use flatscape_engine::Engine;
use flatscape_graph::{DType, Graph, Tensor};
use serde_json::Value;

use super::case::{Named, Precision, in_precision};
use super::exceptions::{reason, settle};
use super::program::{
    all_within, cast_floats, each_within, evaluate, gradient_by, hessian_vector_product_by, within_single_precision,
};
use super::{directory, engines};

pub struct Golden {
    pub name: String,
    text: String,
    opset: Option<i64>,
    tolerance: f64,
    each: Option<f64>,
    inputs: Named,
    expected: Vec<(String, Vec<f64>)>,
    wrt: Vec<String>,
    second_order: bool,
}

impl Golden {
    /// Whether there is a double precision of it: quantisers know none.
    pub fn has_doubles(&self) -> bool {
        self.text.contains("double")
    }

    pub fn graph(&self, precision: Precision) -> Graph {
        in_precision(&self.name, &self.text, self.opset, precision)
    }
}

#[test]
fn golden_values_in_double_precision() {
    golden_values(Precision::Double, &[false]);
}

#[test]
fn golden_values_in_single_precision() {
    golden_values(Precision::Single, &[false, true]);
}

fn golden_values(precision: Precision, lowered: &[bool]) {
    let mut failures = Vec::new();
    for engine in engines() {
        for golden in all().into_iter().filter(|g| precision == Precision::Single || g.has_doubles()) {
            for &lower in lowered {
                let name = format!("golden/{}", golden.name);
                let what = format!("{name} on {} in {precision:?} precision (lowered: {lower})", engine.name());
                let graph = golden.graph(precision);
                let expected = reason(engine.name(), precision, &name, &graph);
                settle(&mut failures, &what, check(&Rulebook::standard(), &golden, &graph, &*engine, precision, lower), expected);
            }
        }
    }
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

/// Results, first and second order by this book of rules against the golden values.
pub fn check(
    book: &Rulebook,
    golden: &Golden,
    graph: &Graph,
    engine: &dyn Engine,
    precision: Precision,
    lower: bool,
) -> Result<(), String> {
    let mut graphs = vec![graph.clone(), gradient_by(book, graph, &golden.wrt, false).map_err(|e| e.to_string())?];
    if golden.second_order {
        graphs.push(hessian_vector_product_by(book, graph, &golden.wrt).map_err(|e| e.to_string())?);
    }
    let inputs = match precision {
        Precision::Double => golden.inputs.clone(),
        Precision::Single => cast_floats(&golden.inputs, DType::F32),
    };
    for graph in graphs {
        let results = evaluate(engine, &graph, &inputs, lower)?;
        for (name, expected) in golden.expected.iter().filter(|(name, _)| belongs(name, &graph)) {
            match precision {
                Precision::Double => all_within(golden.tolerance, name, results.get(name), expected)?,
                Precision::Single => within_single_precision(name, results.get(name), expected)?,
            }
            if let Some(each) = golden.each {
                each_within(each, name, results.get(name), expected)?;
            }
        }
    }
    Ok(())
}

/// Whether a result is of this graph: a gradient without a path is not an output and is expected to be zero.
fn belongs(name: &str, graph: &Graph) -> bool {
    let of = |prefix: &str| name.starts_with(prefix);
    let takes = |prefix: &str| graph.inputs().iter().any(|&v| graph.value(v).name.starts_with(prefix));
    match (of("grad_"), of("hvp_")) {
        (true, _) => takes("ct_") && !takes("v_"),
        (_, true) => takes("v_"),
        _ => !takes("ct_"),
    }
}

/// Every file of `tests/golden/autograd`.
pub fn all() -> Vec<Golden> {
    let entries = fs::read_dir(directory("golden/autograd")).expect("tests/golden/autograd is there");
    let mut paths: Vec<_> = entries.map(|e| e.expect("tests/golden can be listed").path()).collect();
    paths.sort();
    paths.retain(|p| p.extension().is_some_and(|e| e == "json"));
    assert!(paths.len() > 200, "only {} golden cases", paths.len());
    paths
        .iter()
        .map(|path| {
            read(&path.file_stem().expect("a name").to_string_lossy(), &fs::read_to_string(path).expect("a readable case"))
        })
        .collect()
}

fn read(name: &str, json: &str) -> Golden {
    let json: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut inputs = tensors(&json["inputs"], "");
    inputs.extend(tensors(&json["cotangent"], "ct_"));
    inputs.extend(tensors(&json["second_order"]["vector"], "v_"));
    let mut expected = tensors(&json["outputs"], "");
    expected.extend(tensors(&json["gradients"], "grad_"));
    expected.extend(tensors(&json["second_order"]["hvp"], "hvp_"));
    let wrt = json["gradients"].as_object().expect("gradients by name").keys().cloned().collect();
    Golden {
        name: name.to_owned(),
        opset: json["opset"].as_i64(),
        text: json["graph"].as_str().expect("a graph").to_owned(),
        tolerance: json["tolerance"].as_f64().unwrap_or(1e-10),
        each: json["each"].as_f64(),
        inputs,
        expected: expected.into_iter().map(|(name, t)| (name, t.to_f64())).collect(),
        wrt,
        second_order: json["second_order"].is_object(),
    }
}

pub(super) fn tensors(json: &Value, prefix: &str) -> Named {
    let Some(object) = json.as_object() else { return Named::new() };
    object.iter().map(|(name, t)| (format!("{prefix}{name}"), tensor(t))).collect()
}

fn tensor(json: &Value) -> Tensor {
    let shape: Vec<usize> =
        json["shape"].as_array().expect("a shape").iter().map(|n| n.as_u64().expect("an extent") as usize).collect();
    let number = |v: &Value| v.as_f64().or_else(|| v.as_bool().map(|b| f64::from(u8::from(b)))).expect("a number");
    let data = json["data"].as_array().expect("data").iter().map(number).collect();
    let dtype = match json["dtype"].as_str() {
        Some("double") => DType::F64,
        Some("float") => DType::F32,
        Some("int32") => DType::I32,
        Some("int64") => DType::I64,
        Some("bool") => DType::Bool,
        Some("uint8") => DType::U8,
        Some("int8") => DType::I8,
        other => panic!("element type {other:?}"),
    };
    Tensor::new(&shape, data).expect("as many numbers as elements").cast(dtype)
}
