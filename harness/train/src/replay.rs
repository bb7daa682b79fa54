//! Training on one batch several times with a perturbation that is kept: where the trainer has a graph of the role `replay`. Knows
//! names; nothing of costs.

use flatscape_engine::Engine;
use flatscape_graph::{Dim, Graph, Tensor};
use flatscape_host::{Program, Role};
use flatscape_measure::attack::Batch;
use flatscape_measure::link::{Link, Point};
use flatscape_measure::stage::{Draw, Stage, StageError, Step, Values};
use flatscape_measure::threats::ThreatModel;

use crate::form::Form;
use crate::learner::{LearnError, When};
use crate::prepare::sum_of_images;

/// The graphs of a kept perturbation. It has a place for every slot of a batch and starts at 0.
pub struct Replays {
    moved: Stage,
    next: Stage,
}

impl Replays {
    /// Links and compiles; `None` where the trainer keeps no perturbation.
    ///
    /// # Errors
    /// The graph does not fit, or the engine refuses it.
    pub fn of(
        engine: &dyn Engine,
        form: &Form,
        threat: &ThreatModel,
        program: &Program,
        arguments: &[(String, f64)],
    ) -> Result<Option<Replays>, LearnError> {
        let Some(graph) = program.graph(Role::Replay) else { return Ok(None) };
        let model = image_alone(&form.evaluation);
        let link = Link { arguments, ..Link::of(&model, threat) };
        let moved = Stage::compile(engine, &link.stage(&sum_of_images(), Point::Fed, true, &[])?)?;
        let next = Stage::compile(engine, &link.stage(graph, Point::Fed, false, &[])?)?;
        Ok(Some(Replays { moved, next }))
    }

    /// The points nearest to x0 + δ in ball and box.
    ///
    /// # Errors
    /// The graph failed.
    pub fn points(&self, batch: &Batch, delta: &Tensor, when: &When) -> Result<Tensor, LearnError> {
        let given = run(&self.moved, batch, [("delta", delta)].as_slice(), when)?;
        shaped(&self.moved, &given, "x_next", batch)
    }

    /// δ after a step that gave the derivative `dx` of Σ cost.
    ///
    /// # Errors
    /// The graph failed.
    pub fn next(&self, batch: &Batch, delta: &Tensor, dx: &Tensor, when: &When) -> Result<Tensor, LearnError> {
        let given = run(&self.next, batch, [("delta", delta), ("dx", dx)].as_slice(), when)?;
        shaped(&self.next, &given, "delta_next", batch)
    }
}

fn run(stage: &Stage, batch: &Batch, fed: &[(&str, &Tensor)], when: &When) -> Result<Values, LearnError> {
    let mut values = Values::default();
    for (name, tensor) in fed {
        values.put(name, stage.upload(tensor)?);
    }
    values.put("x0", stage.upload(&batch.x0)?);
    values.put("y", stage.upload(&Tensor::ints(&batch.y))?);
    values.put("eps", stage.upload(&Tensor::scalar(when.eps as f32))?);
    values.put("k", stage.upload(&Tensor::scalar(when.k as i64))?);
    let draw = Draw { seed: when.seed, component: "replay", restart: when.epoch, step: Step::All(when.step) };
    Ok(stage.run(&values, &batch.ids, &draw)?)
}

/// A result in the shape of the images.
fn shaped(stage: &Stage, given: &Values, name: &str, batch: &Batch) -> Result<Tensor, LearnError> {
    let wrong = || StageError::Result { name: name.to_owned() };
    let value = stage.read(given.get(name).ok_or_else(wrong)?)?;
    Ok(value.reshape(batch.x0.shape()).ok_or_else(wrong)?)
}

/// A model that only says what its images look like.
fn image_alone(model: &Graph) -> Graph {
    let mut graph = Graph::new("image");
    let mut ty = model.inputs().first().map(|&x| model.value(x).ty.clone()).unwrap_or_default();
    if let Some(first) = ty.shape.as_mut().and_then(|dims| dims.first_mut()) {
        *first = Dim::symbol("N");
    }
    let x = graph.add_input("x", ty);
    let y = graph.node("Identity", &[x], flatscape_graph::Attributes::none());
    graph.add_output("logits", y);
    graph
}
