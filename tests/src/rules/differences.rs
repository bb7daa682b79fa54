//! The cases of `tests/rules`: central differences in double precision on tract, then the other engines and precisions
//! against that.

use flatscape_autodiff::Rulebook;
use flatscape_engine::Engine;
use flatscape_graph::{DType, Graph, Tensor};

use super::case::{Case, Named, Precision, Random};
use super::engines;
use super::exceptions::{reason, settle};
use super::program::{
    Compiled, all_within, cast_floats, evaluate, float_outputs, gradient_by, hessian_vector_product_by, within_single_precision,
};

/// Every case in double precision on every engine that has the kernels. A case for which none has them is checked in single
/// precision, with a long step and little demand.
#[test]
fn rules_agree_with_central_differences() {
    let engines = engines();
    let mut failures = Vec::new();
    for case in Case::all() {
        let graph = case.graph(Precision::Double);
        let mut checked = false;
        for engine in &engines {
            let what = format!("{} on {} in double precision", case.name, engine.name());
            let expected = reason(engine.name(), Precision::Double, &case.name, &graph);
            checked |= settle(&mut failures, &what, check(&Rulebook::standard(), &case, &**engine, Precision::Double), expected);
        }
        let remaining = if checked { &[] } else { &engines[..] };
        for engine in remaining {
            let what = format!("{} on {} in single precision", case.name, engine.name());
            let expected = reason(engine.name(), Precision::Single, &case.name, &graph);
            checked |= settle(&mut failures, &what, check(&Rulebook::standard(), &case, &**engine, Precision::Single), expected);
        }
        if !checked {
            eprintln!("NOT CHECKED against central differences: {}", case.name);
        }
    }
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn rules_agree_in_single_precision() {
    let engines = engines();
    let mut failures = Vec::new();
    for case in Case::all().into_iter().filter(|case| case.single) {
        let graph = case.graph(Precision::Double);
        let able = |e: &&std::sync::Arc<dyn Engine>| reason(e.name(), Precision::Double, &case.name, &graph).is_none();
        let Some(reference) = engines.iter().find(able) else { continue };
        for engine in &engines {
            for lower in [false, true] {
                let what = format!("{} on {} in single precision (lowered: {lower})", case.name, engine.name());
                let expected = reason(engine.name(), Precision::Single, &case.name, &graph);
                settle(&mut failures, &what, agree_in_single(&case, &**reference, &**engine, lower), expected);
            }
        }
    }
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

/// A case with everything that was drawn for it.
struct Setup {
    graph: Graph,
    wrt: Vec<String>,
    inputs: Named,
}

impl Setup {
    /// `ct_<output>` and `v_<input>` are drawn as well.
    fn new(case: &Case, engine: &dyn Engine, precision: Precision) -> Result<Setup, String> {
        let graph = case.graph(precision);
        let dtype = if precision == Precision::Double { DType::F64 } else { DType::F32 };
        let wrt = case.wrt(&graph);
        let mut inputs = case.inputs(&graph);
        let outputs = evaluate(engine, &graph, &inputs, false)?;
        let mut random = Random::of(&format!("{} cotangents", case.name));
        for name in float_outputs(&graph) {
            let ct = random.tensor(dtype, outputs[&name].shape(), (-1.0, 1.0), (0.0, 1.0));
            inputs.insert(format!("ct_{name}"), ct);
        }
        for name in &wrt {
            let v = random.tensor(dtype, inputs[name].shape(), (-1.0, 1.0), (0.0, 1.0));
            inputs.insert(format!("v_{name}"), v);
        }
        Ok(Setup { graph, wrt, inputs })
    }

    fn gradient(&self, book: &Rulebook, curved: bool) -> Result<Graph, String> {
        gradient_by(book, &self.graph, &self.wrt, curved).map_err(|e| e.to_string())
    }

    fn hvp(&self, book: &Rulebook) -> Result<Graph, String> {
        hessian_vector_product_by(book, &self.graph, &self.wrt).map_err(|e| e.to_string())
    }
}

/// The step of central differences and the relative error that is allowed. The step is far above rounding and far below the
/// distance to the next kink.
fn demands(precision: Precision) -> (f64, f64) {
    match precision {
        Precision::Double => (1.0 / 2048.0, 1e-8),
        Precision::Single => (1.0 / 32.0, 5e-3),
    }
}

/// First and second order by this book of rules against central differences.
pub fn check(book: &Rulebook, case: &Case, engine: &dyn Engine, precision: Precision) -> Result<(), String> {
    let (step, usual) = demands(precision);
    let tolerance = case.tolerance.filter(|_| precision == Precision::Double).unwrap_or(usual);
    let setup = Setup::new(case, engine, precision)?;
    let found = evaluate(engine, &setup.gradient(book, false)?, &setup.inputs, false)?;
    if case.differences {
        let forward = Compiled::new(engine, &setup.graph, false)?;
        let names = float_outputs(&setup.graph);
        let objective = |inputs: &Named| -> Result<f64, String> {
            let outputs = forward.run(inputs)?;
            Ok(names.iter().map(|name| dot(&outputs[name], &inputs[&format!("ct_{name}")])).sum())
        };
        for name in &setup.wrt {
            let expected = by_element(&setup.inputs, name, step, objective)?;
            all_within(tolerance, &format!("the gradient of {name}"), found.get(&format!("grad_{name}")), &expected)?;
        }
    }
    if case.second_order {
        let found = evaluate(engine, &setup.hvp(book)?, &setup.inputs, false)?;
        let curved = setup.gradient(book, true)?;
        if case.differences && !curved.outputs().is_empty() {
            let compiled = Compiled::new(engine, &curved, false)?;
            let expected = along_vector(&setup, step, |inputs| compiled.run(inputs))?;
            for (name, expected) in setup.wrt.iter().zip(expected) {
                let found = found.get(&format!("hvp_{name}"));
                all_within(tolerance, &format!("the Hessian-vector product of {name}"), found, &expected)?;
            }
        }
    }
    Ok(())
}

/// The gradient graphs in single precision against those in double.
fn agree_in_single(case: &Case, reference: &dyn Engine, engine: &dyn Engine, lower: bool) -> Result<(), String> {
    let book = Rulebook::standard();
    let setup = Setup::new(case, reference, Precision::Double)?;
    let graph = case.graph(Precision::Single);
    let single = Setup { graph, wrt: setup.wrt.clone(), inputs: cast_floats(&setup.inputs, DType::F32) };
    let expected = evaluate(reference, &setup.graph, &setup.inputs, false)?;
    let found = evaluate(engine, &single.graph, &single.inputs, lower)?;
    for name in float_outputs(&setup.graph) {
        within_single_precision(&name, found.get(&name), &expected[&name].to_f64())?;
    }
    let mut graphs = vec![("grad", setup.gradient(&book, false)?, single.gradient(&book, false)?)];
    if case.second_order {
        graphs.push(("hvp", setup.hvp(&book)?, single.hvp(&book)?));
    }
    for (prefix, double, graph) in graphs {
        let expected = evaluate(reference, &double, &setup.inputs, false)?;
        let found = evaluate(engine, &graph, &single.inputs, lower)?;
        for name in &setup.wrt {
            let name = format!("{prefix}_{name}");
            let expected = expected.get(&name).map(Tensor::to_f64).unwrap_or_default();
            within_single_precision(&name, found.get(&name), &expected)?;
        }
    }
    Ok(())
}

/// Central differences of fourth order along each element of one input.
fn by_element(
    inputs: &Named,
    name: &str,
    step: f64,
    objective: impl Fn(&Named) -> Result<f64, String>,
) -> Result<Vec<f64>, String> {
    let start = &inputs[name];
    let at = |element: usize, shift: f64| {
        let mut moved = inputs.clone();
        let mut values = start.to_f64();
        values[element] += shift;
        moved.insert(name.to_owned(), Tensor::new(start.shape(), values).expect("the same shape").cast(start.dtype()));
        objective(&moved)
    };
    (0..start.len()).map(|i| Ok(stencil([at(i, -2.0 * step)?, at(i, -step)?, at(i, step)?, at(i, 2.0 * step)?], step))).collect()
}

/// Central differences of the gradient along the vectors `v_<input>`, for each input.
fn along_vector(setup: &Setup, step: f64, run: impl Fn(&Named) -> Result<Named, String>) -> Result<Vec<Vec<f64>>, String> {
    let at = |shift: f64| {
        let mut moved = setup.inputs.clone();
        for name in &setup.wrt {
            let (x, v) = (&setup.inputs[name], &setup.inputs[&format!("v_{name}")]);
            let values = x.to_f64().iter().zip(v.to_f64()).map(|(x, v)| x + shift * v).collect();
            moved.insert(name.clone(), Tensor::new(x.shape(), values).expect("the same shape").cast(x.dtype()));
        }
        run(&moved)
    };
    let runs = [at(-2.0 * step)?, at(-step)?, at(step)?, at(2.0 * step)?];
    let derivative = |name: &String| {
        let count = setup.inputs[name].len();
        let of_run = |run: &Named| run.get(&format!("grad_{name}")).map_or_else(|| vec![0.0; count], Tensor::to_f64);
        let values = [0, 1, 2, 3].map(|k| of_run(&runs[k]));
        (0..count).map(|i| stencil([0, 1, 2, 3].map(|k| values[k][i]), step)).collect()
    };
    Ok(setup.wrt.iter().map(derivative).collect())
}

fn stencil([a, b, c, d]: [f64; 4], step: f64) -> f64 {
    (a - 8.0 * b + 8.0 * c - d) / (12.0 * step)
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    a.to_f64().iter().zip(b.to_f64()).map(|(a, b)| a * b).sum()
}
