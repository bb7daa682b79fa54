//! Trainers and optimizers on the small linear classifier: a cost of every sample with a derivative in the parameters, a parameter that
//! moves and keeps its shape, and finite numbers everywhere.

use flatscape_engine::{CompileOptions, Engine};
use flatscape_graph::{Builder, DType, Dim, Graph, Tensor, ValueType};
use flatscape_host::{CheckedProgram, Role, Task};
use flatscape_intake::random::{Law, Place, fill};

use super::{DryRunError, SAMPLES, batch, fault, images, threat, weights};
use crate::link::{Link, Linked, Point, WEIGHT};
use crate::prepared::numbers;
use crate::stage::{Draw, Stage, StageError, Step, Values};

/// The name of the one parameter of the classifier.
const PARAMETER: &str = "param_0";

/// Links and runs the cost, and the graphs that make its points.
pub(super) fn trainer(engine: &dyn Engine, checked: &CheckedProgram) -> Result<String, DryRunError> {
    let CheckedProgram { component, arguments, task, program } = checked;
    let model = linear(task);
    let threat = threat(task);
    let numbers = numbers(arguments);
    let link = Link { cotangent: program.graph(Role::Cotangent), arguments: &numbers, steps: 1, ..Link::of(&model, &threat) };
    let cost = program.graph(Role::Cost).ok_or_else(|| fault("it has no cost"))?;
    let costed = link.cost(cost, &[PARAMETER.to_owned()], program.graph(Role::Replay).is_some())?;
    let linked = Linked { graph: costed.graph, forwards: costed.forwards, backwards: costed.backwards, batch: None };
    let found = run(engine, &linked, task, &component.id)?;
    let costs = floats(&found, "cost", &[SAMPLES])?;
    let derivative = floats(&found, &format!("d{PARAMETER}"), &[task.pixels(), task.classes])?;
    if derivative.iter().all(|v| *v == 0.0) {
        return Err(fault("its cost does not change with the parameters of a linear classifier"));
    }
    if let Some(adversary) = program.bound(Role::Adversary, arguments) {
        let link = Link { objective: Some(&adversary), arguments: &[], cotangent: None, ..link };
        floats(&run(engine, &link.forward(Point::Fed, &["loss"])?, task, &component.id)?, "loss", &[SAMPLES])?;
    }
    if let Some(replay) = program.graph(Role::Replay) {
        let next = run(engine, &link.stage(replay, Point::Clean, false, &[])?, task, &component.id)?;
        let buffer = next.get("delta_next").ok_or_else(|| fault("it gives no delta_next"))?;
        finite("delta_next", &buffer.host()?)?;
    }
    if let Some(perturb) = program.graph(Role::Perturb) {
        parameter(engine, perturb, &numbers, "param_perturbed")?;
    }
    let mean = costs.iter().map(|v| f64::from(*v)).sum::<f64>() / costs.len() as f64;
    Ok(format!("costs {mean:.4} on a linear classifier, and its derivative by the parameters is finite and not 0"))
}

/// Moves parameters of several ranks.
pub(super) fn optimizer(engine: &dyn Engine, checked: &CheckedProgram) -> Result<String, DryRunError> {
    let numbers = numbers(&checked.arguments);
    let update = checked.program.graph(Role::Update).ok_or_else(|| fault("it has no update"))?;
    parameter(engine, update, &numbers, "param_next")?;
    if let Some(perturb) = checked.program.graph(Role::Perturb) {
        parameter(engine, perturb, &numbers, "param_perturbed")?;
    }
    Ok(format!(
        "moves parameters of ranks {} as they are, to finite numbers",
        RANKS.map(|shape| shape.len().to_string()).join(", ")
    ))
}

/// Shapes of the parameters that an update is tried on.
const RANKS: [&[usize]; 3] = [&[], &[3], &[4, 3]];

/// z = Wx, W the input `param_0` \[D,classes\].
fn linear(task: &Task) -> Graph {
    let [c, h, w] = task.shape;
    let builder = Builder::new(Graph::new("linear"));
    let x = builder.input("x", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(c), Dim::Fixed(h), Dim::Fixed(w)]));
    let weights = builder.input(PARAMETER, ValueType::fixed(DType::F32, &[task.pixels(), task.classes]));
    builder.output("logits", x.reshape(&[0, -1]).matmul(weights));
    builder.into_graph()
}

/// Runs a linked graph on the samples of the dry run, with `x_adv` at a corner of the ball.
fn run(engine: &dyn Engine, linked: &Linked, task: &Task, component: &str) -> Result<Values, DryRunError> {
    let stage = Stage::compile(engine, linked)?;
    let batch = batch(task)?;
    let clean = batch.x0.to_vec::<f32>().ok_or_else(|| StageError::Result { name: "x0".into() })?;
    let near = |by: f32| images(task, clean.iter().map(|v| (v + by).clamp(task.lo as f32, task.hi as f32)).collect());
    let still = |value: f32| images(task, vec![value; clean.len()]);
    let named = [
        ("x0", batch.x0.clone()),
        ("x", near(task.eps as f32)?),
        ("x_adv", near(task.eps as f32)?),
        ("delta", still(0.0)?),
        ("dx", still(0.5)?),
        ("y", Tensor::ints(&batch.y)),
        ("eps", Tensor::scalar(task.eps as f32)),
        ("k", Tensor::scalar(0i64)),
        (WEIGHT, Tensor::scalar(1.0 / SAMPLES as f32)),
        (PARAMETER, weights(task)?),
    ];
    let mut values = Values::default();
    for (name, tensor) in named.into_iter().filter(|(name, _)| stage.reads(name)) {
        values.put(name, stage.upload(&tensor)?);
    }
    let draw = Draw { seed: 0, component, restart: 0, step: Step::All(0) };
    Ok(stage.run(&values, &batch.ids, &draw)?)
}

/// A result of this shape with finite numbers.
fn floats(found: &Values, name: &str, shape: &[usize]) -> Result<Vec<f32>, DryRunError> {
    let buffer = found.get(name).ok_or_else(|| fault(format!("it gives no {name}")))?;
    let tensor = buffer.host()?;
    if tensor.shape() != shape {
        return Err(fault(format!("{name} has the shape {:?} and not {shape:?}", tensor.shape())));
    }
    finite(name, &tensor)
}

fn finite(name: &str, tensor: &Tensor) -> Result<Vec<f32>, DryRunError> {
    let values = tensor.to_vec::<f32>().ok_or_else(|| fault(format!("{name} is not float")))?;
    match values.iter().find(|v| !v.is_finite()) {
        Some(bad) => Err(fault(format!("{name} has {bad} on a linear classifier"))),
        None => Ok(values),
    }
}

/// Runs an `update` or a `perturb` for three steps on a parameter of each rank.
fn parameter(engine: &dyn Engine, graph: &Graph, arguments: &[(String, f64)], output: &str) -> Result<(), DryRunError> {
    for shape in RANKS {
        let typed = typed(graph, shape)?;
        let executable = engine.compile(&typed, &CompileOptions::default())?;
        let mut values = vec![0f32; shape.iter().product()];
        fill(Law::Normal, Place::new(0, "dry-run", "param"), &mut values);
        let tensor = |values: &[f32]| Tensor::new(shape, values.to_vec()).ok_or_else(|| fault("a parameter has another size"));
        let mut states: Vec<(String, Tensor)> = Vec::new();
        for k in 0..3i64 {
            let mut inputs = Vec::new();
            for &input in typed.inputs() {
                let name = &*typed.value(input).name;
                let state = states.iter().find(|(state, _)| state == name).map(|(_, tensor)| tensor.clone());
                let fed = match (name, state) {
                    (_, Some(state)) => state,
                    ("param", _) => tensor(&values)?,
                    ("dparam", _) => tensor(&values.iter().map(|v| 0.5 * v).collect::<Vec<_>>())?,
                    ("dparam_norm", _) => Tensor::scalar(1f32),
                    ("lr", _) => Tensor::scalar(0.01f32),
                    ("k", _) => Tensor::scalar(k),
                    ("rank", _) => Tensor::scalar(shape.len() as i64),
                    (name, _) => match arguments.iter().find(|(key, _)| name.strip_prefix("arg_") == Some(key)) {
                        Some((_, value)) => Tensor::full(typed.dtype(input).unwrap_or(DType::F32), &[], *value),
                        None => tensor(&vec![0.0; values.len()])?,
                    },
                };
                inputs.push(executable.upload(&fed)?);
            }
            let results = executable.run(&inputs.iter().collect::<Vec<_>>())?;
            for (given, result) in typed.outputs().iter().zip(results) {
                let result = result.host()?;
                if result.shape() != shape {
                    return Err(fault(format!("{} has the shape {:?} for a parameter of {shape:?}", given.name, result.shape())));
                }
                let numbers = finite(&given.name, &result)?;
                match given.name.strip_suffix("_next") {
                    Some(state) if state.starts_with("state_") => {
                        states.retain(|(name, _)| name != state);
                        states.push((state.to_owned(), result));
                    }
                    _ if &*given.name == output => values = numbers,
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

/// The graph for a parameter of this shape.
fn typed(graph: &Graph, shape: &[usize]) -> Result<Graph, DryRunError> {
    let open = |graph: Graph, input| match graph.shape(input) {
        None => graph.with_input_type(input, ValueType::fixed(DType::F32, shape)),
        Some(_) => graph,
    };
    let typed = graph.inputs().iter().fold(graph.clone(), |graph, &input| open(graph, input)).rewrite(|_, _, _| None);
    typed.check().map_err(|e| fault(format!("it does not fit a parameter of {shape:?}: {e}")))?;
    Ok(typed)
}
