//! The cost of a trainer, linked to a model whose parameters are inputs, and its derivative by every one of them.

use flatscape_autodiff::{vjp, without_marks};
use flatscape_graph::{Attributes, Builder, DType, Expr, Graph, ValueId, ValueType, simplify};

use super::quantities::Anchor;
use super::scope::Scope;
use super::{Link, LinkError, Point};

/// Name of the input that multiplies every sample's cost: one over the number of samples of a batch.
pub const WEIGHT: &str = "weight";

/// A cost and its derivatives.
#[derive(Debug)]
pub struct Costed {
    /// Outputs `cost` [N], the parts `log_<name>` [N] that the program gives, `loss` and `loss_adv` [N] (cross-entropy, where the cost
    /// reads the logits of that point), and what the model gives beside its logits.
    pub rows: Graph,
    /// The same with the further input `weight`, float, and the outputs `dparam_<i>`: the derivatives of weight · Σ cost. A parameter
    /// on which the cost does not depend has zeros. Where asked for, `dx` is the derivative of Σ cost by `x_adv`.
    pub graph: Graph,
    /// Evaluations of the model.
    pub forwards: u32,
    /// Reverse passes through the model to the image; the one to the parameters is not counted.
    pub backwards: u32,
}

impl Link<'_> {
    /// Links the cost of a trainer. The names without a suffix are taken at `x0`, the training point. `parameters` are names of
    /// inputs of the model; `moves` asks for `dx`, too.
    ///
    /// # Errors
    /// The program does not fit the model, an operator has no derivative, or [`LinkError::Constant`].
    pub fn cost(&self, cost: &Graph, parameters: &[String], moves: bool) -> Result<Costed, LinkError> {
        let builder = Builder::new(Graph::new(&cost.name));
        let mut scope = Scope::new(Link { smoothing: 0.0, ..*self }, &builder, Point::Clean);
        scope.link.smoothing = self.smoothing;
        let outputs = scope.include(cost)?;
        scope.link.smoothing = 0.0;
        let missing = LinkError::Output { role: "cost", name: "cost" };
        let cost = outputs.iter().find(|(name, _)| name == "cost").map(|(_, cost)| *cost).ok_or(missing)?;
        for (name, value) in outputs.into_iter().filter(|(name, _)| name == "cost" || name.starts_with("log_")) {
            if value.rank() != Some(1) {
                return Err(LinkError::name(&name, "must be one number per sample, float[N]"));
            }
            builder.output(&name, value);
        }
        for (anchor, name) in [(Anchor::Origin, "loss"), (Anchor::Adversarial, "loss_adv")] {
            if scope.remembered("logits", anchor).is_some() {
                let loss = scope.quantity(&format!("loss{}", anchor.suffix()))?;
                builder.output(name, loss);
            }
        }
        for (name, value) in std::mem::take(&mut scope.extras) {
            builder.output(&name, value);
        }
        let (forwards, backwards) = (scope.forwards, scope.backwards);
        let point = if moves { Some(scope.point_of(Anchor::Adversarial)) } else { None };
        drop(scope);
        let rows = finished(&builder)?;
        differentiate(&builder, cost, parameters, point)?;
        Ok(Costed { rows, graph: finished(&builder)?, forwards, backwards })
    }
}

/// Appends `dparam_<i>` for every parameter, and `dx` for a point.
fn differentiate<'b>(b: &'b Builder, cost: Expr<'b>, parameters: &[String], point: Option<Expr<'b>>) -> Result<(), LinkError> {
    let ids: Vec<Option<ValueId>> = parameters.iter().map(|name| b.graph().input_named(name)).collect();
    let read: Vec<ValueId> = ids.iter().flatten().copied().chain(point.map(|x| x.id)).collect();
    let weight = b.input(WEIGHT, ValueType::new(DType::F32, vec![])).cast(cost.dtype());
    let ct = b.op("Expand", &[weight, cost.shape()], Attributes::none());
    let found = vjp(b, cost.id, ct.id, &read)?;
    let parameters_reached = found.iter().take(ids.iter().flatten().count()).any(Option::is_some);
    if !parameters_reached {
        return Err(LinkError::Constant);
    }
    if let Some(x) = point {
        let dx = found.last().copied().flatten().map_or_else(|| x * 0.0, |dx| b.expr(dx) / weight.cast(x.dtype()));
        b.output("dx", dx);
    }
    for (name, id) in parameters.iter().zip(ids) {
        let place = id.and_then(|id| read.iter().position(|&v| v == id));
        let derivative = match (place.and_then(|place| found[place]), id) {
            (Some(derivative), _) => b.expr(derivative),
            (None, Some(id)) => b.expr(id) * 0.0,
            (None, None) => return Err(LinkError::Constant),
        };
        b.output(&format!("d{name}"), derivative);
    }
    Ok(())
}

fn finished(b: &Builder) -> Result<Graph, LinkError> {
    let built = without_marks(b.graph().clone());
    built.check()?;
    let graph = simplify(&built);
    graph.check()?;
    Ok(graph)
}
