//! Links a plugin's program to a model: every name that the program reads is bound to a value, and nothing else is built.
//! No `grad` named, no backward pass. Knows graphs; not batches, loops or files.

mod functions;
mod head;
mod open_head;
mod quantities;
mod scope;
#[cfg(test)]
mod tests;
mod training;

use flatscape_graph::{Builder, Graph, ValueId};

use crate::threats::ThreatModel;
use scope::Scope;

pub use functions::FUNCTIONS;
pub use quantities::{QUANTITIES, Quantity};
pub use training::{Costed, WEIGHT};

/// The input of the last linear layer of a model, the number of its features, and the number of classes. The error is a clause.
pub(crate) fn head_of(model: &Graph) -> Result<(ValueId, usize, usize), String> {
    let head = head::Head::of(model)?;
    Ok((head.input, head.width(), head.weight.shape()[0]))
}

/// The last linear layer of a model with constant weights: F, weights \[classes, F\] and biases \[classes\]; `None` where there is none.
pub(crate) fn head_weights(model: &Graph) -> Option<(usize, Vec<f32>, Vec<f32>)> {
    let head = head::Head::of(model).ok()?;
    Some((head.width(), head.weight.to_vec()?, head.bias.to_vec()?))
}

/// What a program is linked against.
#[derive(Clone, Copy)]
pub struct Link<'a> {
    /// The model in pixel units: input `x` float[N,C,H,W], output `logits` float[N,K]. Further inputs (parameters, statistics, masks)
    /// are fed by the host under their names, and further outputs are given to it.
    pub model: &'a Graph,
    /// What is ascended; cross-entropy where the program brings none.
    pub objective: Option<&'a Graph>,
    /// The row vectors whose products with the Jacobian the program asks for.
    pub cotangent: Option<&'a Graph>,
    /// A gradient of cross-entropy from elsewhere, taken instead of our own: inputs `x` and `y`, output `gradient`. It cannot
    /// serve an objective, and products with the Jacobian or the Hessian are always ours.
    pub given: Option<&'a Graph>,
    /// Why the model has no log p(x), as a clause, where it has none: its scores are normalised.
    pub no_likelihood: Option<&'a str>,
    /// The temperature of the model ([`INPUTS`](flatscape_host::protocol::INPUTS)): NaN where it is undetermined, or not named.
    pub temperature: f64,
    /// What a step of 1 in the model's own input is in pixels, per channel; one number, or none for 1, for all of them.
    pub units: &'a [f64],
    /// Norm and box. The radius is an input of what is linked, `eps`, so that another radius compiles nothing.
    pub threat: &'a ThreatModel,
    /// Whether the loss leads towards `target` instead of away from `y`.
    pub targeted: bool,
    /// The component's arguments as numbers, by name.
    pub arguments: &'a [(String, f64)],
    /// How many steps the program takes.
    pub steps: u32,
    /// The share of the label that `CrossEntropy` spreads over all classes; only in the cost of a trainer.
    pub smoothing: f64,
}

/// A linked graph, ready to be compiled, and what one run of it costs per sample.
#[derive(Debug)]
pub struct Linked {
    /// Inputs are the names that the host feeds; outputs the program's own and the requested ones.
    pub graph: Graph,
    /// Evaluations of the model.
    pub forwards: u32,
    /// Reverse passes through the model. The Hessian times a direction is two of them: one through the model, one through the
    /// gradient.
    pub backwards: u32,
    /// The only batch that it takes, where the model takes no other.
    pub batch: Option<usize>,
}

/// A program that does not fit the model or the host.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The program reads a name that the host does not offer at this place.
    #[error("the program reads `{name}`, which {why}")]
    Name {
        /// The name.
        name: String,
        /// A clause.
        why: String,
    },
    /// The program reads what this model does not have: a linear last layer, a likelihood.
    #[error("the program reads `{name}`, which {why}")]
    Lacking {
        /// The name.
        name: String,
        /// A clause.
        why: String,
    },
    /// The program calls a function that the host does not have, or with other operands.
    #[error("the program calls `flatscape.{name}`, which {why}")]
    Function {
        /// The function.
        name: String,
        /// A clause.
        why: String,
    },
    /// The program does not give what its role must give.
    #[error("the program's {role} graph does not give `{name}`")]
    Output {
        /// The role.
        role: &'static str,
        /// The name.
        name: &'static str,
    },
    /// The program moves pixels, and the threat model decodes images from a parameter.
    #[error(
        "the program gives `{name}`, and images are decoded from a parameter under the threat model {threat}; it must give `z` and `z_next` instead"
    )]
    Undecoded {
        /// `x`, `x_next` or `x_adv`.
        name: String,
        /// The threat model.
        threat: &'static str,
    },
    /// The cost of a trainer does not change when any parameter does.
    #[error("the program's cost does not depend on the parameters of the model, so there is nothing to train")]
    Constant,
    /// The reverse pass could not be built.
    #[error(transparent)]
    Differentiate(#[from] flatscape_autodiff::DiffError),
    /// The linked graph is not well formed.
    #[error("the program does not fit the model: {0}")]
    Check(#[from] flatscape_graph::CheckError),
}

impl LinkError {
    fn name(name: &str, why: impl Into<String>) -> LinkError {
        LinkError::Name { name: name.to_owned(), why: why.into() }
    }
}

/// Where `x` comes from. Attacks move what the threat model lets them move; metrics and judges look at images.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The host feeds it.
    Fed,
    /// It is the clean point `x0`.
    Clean,
    /// For attacks: it is decoded from the fed `z`; where nothing is decoded the host feeds it.
    Decoded,
    /// For attacks before their first step: it is `x0`, and `z` is 0.
    Start,
}

impl<'a> Link<'a> {
    /// A model under a threat model, with nothing of a program.
    pub fn of(model: &'a Graph, threat: &'a ThreatModel) -> Link<'a> {
        Link {
            model,
            objective: None,
            cotangent: None,
            given: None,
            no_likelihood: None,
            temperature: f64::NAN,
            units: &[],
            threat,
            targeted: false,
            arguments: &[],
            steps: 0,
            smoothing: 0.0,
        }
    }

    /// Links one graph. With `project` its `x`, `x_next`, `z` and `z_next` are brought into ball and box; `asked` are further quantities
    /// at `x` that the host wants to see (`logits`, `loss`, and `grad_peak`, the largest absolute entry of the gradient that
    /// the program names, which is given only where it names one).
    pub fn stage(&self, graph: &Graph, point: Point, project: bool, asked: &[&str]) -> Result<Linked, LinkError> {
        let builder = Builder::new(Graph::new(&graph.name));
        let mut scope = Scope::new(*self, &builder, point);
        let decoded = scope.decodes().is_some();
        // the single points of a parameter are judged as they are
        let project = project && scope.decodes().is_none_or(|parameter| parameter.ranges().is_some());
        for (name, value) in scope.include(graph)? {
            let (name, value) = match &*name {
                "x" | "x_next" | "x_adv" if decoded => return Err(LinkError::Undecoded { name, threat: self.threat.norm.name }),
                "z" | "z_next" if decoded => (name, if project { scope.project(value, None)? } else { value }),
                "z" | "z_next" | "x" | "x_next" => {
                    let value = scope.shaped(value);
                    (name.replacen('z', "x", 1), if project { scope.project(value, None)? } else { value })
                }
                "x_adv" | "direction" => (name, scope.shaped(value)),
                _ => (name, value),
            };
            builder.output(&name, value);
        }
        scope.show(asked)?;
        scope.finish()
    }

    /// Links `probe` and `observe` into one graph: the probed point goes straight into the model, and the probe's `direction`
    /// into `hvp`.
    pub fn probe(&self, probe: &Graph, observe: &Graph) -> Result<Linked, LinkError> {
        let builder = Builder::new(Graph::new(&observe.name));
        let mut scope = Scope::new(*self, &builder, Point::Clean);
        let outputs = scope.include(probe)?;
        let named = |wanted: &str| outputs.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
        let x = named("x").ok_or(LinkError::Output { role: "probe", name: "x" })?;
        scope.move_to(scope.shaped(x));
        if let Some(direction) = named("direction") {
            scope.aim(scope.shaped(direction));
        }
        for (name, value) in scope.include(observe)? {
            builder.output(&name, value);
        }
        scope.finish()
    }

    /// The model alone: input `x`, or what `point` says, outputs `logits` and, where a label is wanted, `loss` against the fed `y`.
    pub fn forward(&self, point: Point, asked: &[&str]) -> Result<Linked, LinkError> {
        let builder = Builder::new(Graph::new("forward"));
        let mut scope = Scope::new(*self, &builder, point);
        scope.show(asked)?;
        scope.finish()
    }
}
