//! Gradient graphs of a case, and running them.
//!
//! The objective is `Σ ct·y + κ·½·y²` over the float outputs y. κ is 1 where second derivatives are looked at, so that they do not
//! vanish for linear operators.

use std::panic::{AssertUnwindSafe, catch_unwind};

use flatscape_autodiff::{DiffError, Rulebook, vjp_by};
use flatscape_engine::{CompileOptions, Engine, Executable};
use flatscape_graph::{Builder, DType, Expr, Graph, Output, Tensor, ValueId, ValueType};

use super::case::Named;

/// The names of the float outputs.
pub fn float_outputs(graph: &Graph) -> Vec<String> {
    let float = graph.outputs().iter().filter(|o| graph.dtype(o.value).is_some_and(DType::is_float));
    float.map(|o| o.name.to_string()).collect()
}

/// The objective's gradient: outputs `grad_<input>`, new inputs `ct_<output>`. An input without a path has no output.
pub fn gradient(graph: &Graph, wrt: &[String], curved: bool) -> Result<Graph, DiffError> {
    gradient_by(&Rulebook::standard(), graph, wrt, curved)
}

/// The same by another book of rules.
pub fn gradient_by(book: &Rulebook, graph: &Graph, wrt: &[String], curved: bool) -> Result<Graph, DiffError> {
    let b = Builder::new(graph.clone());
    let first = differentiate(book, &b, graph, wrt, curved)?;
    Ok(finish(b, wrt, "grad", first))
}

/// The Hessian of the curved objective times a vector: outputs `hvp_<input>`, new inputs `ct_<output>` and `v_<input>`.
pub fn hessian_vector_product(graph: &Graph, wrt: &[String]) -> Result<Graph, DiffError> {
    hessian_vector_product_by(&Rulebook::standard(), graph, wrt)
}

/// The same by another book of rules.
pub fn hessian_vector_product_by(book: &Rulebook, graph: &Graph, wrt: &[String]) -> Result<Graph, DiffError> {
    let b = Builder::new(graph.clone());
    let first = differentiate(book, &b, graph, wrt, true)?;
    let mut sum = None;
    for (name, g) in wrt.iter().zip(&first) {
        let x = b.expr(input(graph, name));
        let v = b.input(&format!("v_{name}"), type_of(x));
        if let Some(g) = *g {
            let product = total(b.expr(g) * v);
            sum = Some(sum.map_or(product, |s| s + product));
        }
    }
    let second = match sum {
        Some(sum) => vjp_by(book, &b, sum.id, sum.scalar(1.0).id, &inputs(graph, wrt))?,
        None => vec![None; wrt.len()],
    };
    Ok(finish(b, wrt, "hvp", second))
}

fn differentiate(
    book: &Rulebook,
    b: &Builder,
    graph: &Graph,
    wrt: &[String],
    curved: bool,
) -> Result<Vec<Option<ValueId>>, DiffError> {
    let mut roots = Vec::new();
    for name in float_outputs(graph) {
        let y = b.expr(graph.output_named(&name).expect("a named output"));
        let ct = b.input(&format!("ct_{name}"), type_of(y));
        roots.push((y, ct));
    }
    let wrt = inputs(graph, wrt);
    if let [(y, ct)] = roots[..] {
        let ct = if curved { ct + y } else { ct };
        return vjp_by(book, b, y.id, ct.id, &wrt);
    }
    // several outputs: the objective itself is built
    let mut sum = None;
    for (y, ct) in roots {
        let ct = if curved { ct + y * 0.5 } else { ct };
        let term = total(ct * y);
        sum = Some(sum.map_or(term, |s: Expr<'_>| s + term));
    }
    let sum = sum.expect("a case has a float output");
    vjp_by(book, b, sum.id, sum.scalar(1.0).id, &wrt)
}

fn total(e: Expr<'_>) -> Expr<'_> {
    e.builder().op("ReduceSum", &[e], [("keepdims", 0.into())])
}

fn finish(b: Builder, wrt: &[String], prefix: &str, values: Vec<Option<ValueId>>) -> Graph {
    let mut graph = b.into_graph();
    let named = wrt.iter().zip(values).filter_map(|(name, v)| v.map(|v| (format!("{prefix}_{name}"), v)));
    graph.set_outputs(named.map(|(name, value)| Output { name: name.into(), value }).collect());
    if !graph.outputs().is_empty() {
        graph.check().unwrap_or_else(|e| panic!("the gradient of {} does not check: {e}", graph.name));
    }
    graph
}

fn input(graph: &Graph, name: &str) -> ValueId {
    graph.input_named(name).unwrap_or_else(|| panic!("{} has no input {name}", graph.name))
}

fn inputs(graph: &Graph, wrt: &[String]) -> Vec<ValueId> {
    wrt.iter().map(|name| input(graph, name)).collect()
}

fn type_of(e: Expr<'_>) -> ValueType {
    ValueType { dtype: Some(e.dtype()), shape: e.dims() }
}

/// A compiled graph that is run by names.
pub struct Compiled {
    executable: Box<dyn Executable>,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl Compiled {
    pub fn new(engine: &dyn Engine, graph: &Graph, lower: bool) -> Result<Compiled, String> {
        let executable = engine
            .compile(graph, &CompileOptions { lower, split: false, ..CompileOptions::default() })
            .map_err(|e| e.to_string())?;
        let inputs = graph.inputs().iter().map(|&v| graph.value(v).name.to_string()).collect();
        let outputs = graph.outputs().iter().map(|o| o.name.to_string()).collect();
        Ok(Compiled { executable, inputs, outputs })
    }

    pub fn run(&self, inputs: &Named) -> Result<Named, String> {
        let buffers: Vec<flatscape_engine::Buffer> = self.inputs.iter().map(|name| inputs[name].clone().into()).collect();
        let results = self.executable.run(&buffers.iter().collect::<Vec<_>>()).map_err(|e| e.to_string())?;
        let hosts: Result<Vec<Tensor>, String> = results.iter().map(|r| r.host().map_err(|e| e.to_string())).collect();
        Ok(self.outputs.iter().cloned().zip(hosts?).collect())
    }
}

/// Compiles and runs once. An engine that panics fails this case and no other.
pub fn evaluate(engine: &dyn Engine, graph: &Graph, inputs: &Named, lower: bool) -> Result<Named, String> {
    if graph.outputs().is_empty() {
        return Ok(Named::new());
    }
    let run = || Compiled::new(engine, graph, lower)?.run(inputs);
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(format!("{} panics", engine.name())))
}

/// The float tensors in another precision.
pub fn cast_floats(tensors: &Named, to: DType) -> Named {
    let cast = |t: &Tensor| if t.dtype().is_float() { t.cast(to) } else { t.clone() };
    tensors.iter().map(|(name, t)| (name.clone(), cast(t))).collect()
}

/// How far a result is off, in units of the largest expected magnitude (at least 1e-3).
pub struct Difference {
    /// Of all elements the largest difference.
    pub worst: f64,
    /// One element in ten, and one in any case, may differ by more than this.
    pub most: f64,
}

/// Compares a result with what is expected. A missing result is zero.
pub fn difference(what: &str, found: Option<&Tensor>, expected: &[f64]) -> Result<Difference, String> {
    let found = found.map_or_else(|| vec![0.0; expected.len()], Tensor::to_f64);
    if found.len() != expected.len() {
        return Err(format!("{what} has {} elements where {} are expected", found.len(), expected.len()));
    }
    let scale = expected.iter().fold(1e-3, |m: f64, e| m.max(e.abs()));
    let off = |(f, e): (&f64, &f64)| if f == e { 0.0 } else { (f - e).abs() / scale };
    let mut off: Vec<f64> = found.iter().zip(expected).map(off).map(|d| if d.is_nan() { f64::INFINITY } else { d }).collect();
    off.sort_by(f64::total_cmp);
    let spared = (off.len() / 10).max(1);
    Ok(Difference { worst: off.last().copied().unwrap_or(0.0), most: off.iter().rev().nth(spared).copied().unwrap_or(0.0) })
}

/// Fails unless every element is within the tolerance.
pub fn all_within(tolerance: f64, what: &str, found: Option<&Tensor>, expected: &[f64]) -> Result<(), String> {
    let off = difference(what, found, expected)?;
    if off.worst <= tolerance { Ok(()) } else { Err(shown(what, off.worst, found, expected)) }
}

/// Fails unless every element is within the tolerance of itself.
pub fn each_within(tolerance: f64, what: &str, found: Option<&Tensor>, expected: &[f64]) -> Result<(), String> {
    let values = found.map(Tensor::to_f64).unwrap_or_default();
    let off = |(f, e): (&f64, &f64)| (f - e).abs() / e.abs();
    let worst = values.iter().zip(expected).map(off).fold(0.0, f64::max);
    if values.len() == expected.len() && worst <= tolerance { Ok(()) } else { Err(shown(what, worst, found, expected)) }
}

/// Fails unless nine elements of ten are within 1e-5 and every one within 1e-4: what single precision gives.
pub fn within_single_precision(what: &str, found: Option<&Tensor>, expected: &[f64]) -> Result<(), String> {
    let off = difference(what, found, expected)?;
    if off.most <= 1e-5 && off.worst <= 1e-4 { Ok(()) } else { Err(shown(what, off.worst, found, expected)) }
}

fn shown(what: &str, worst: f64, found: Option<&Tensor>, expected: &[f64]) -> String {
    format!("{what} is off by {worst:.1e}\n    found    {:?}\n    expected {expected:?}", found.map(Tensor::to_f64))
}
