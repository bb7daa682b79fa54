//! Remedies: graph rewrites that answer hazards; each is applied only if the user names it. A remedy of the gradient changes what
//! attacks differentiate and never what is verified; a remedy of the model changes what is audited, and says so loudly. One
//! file and one row per remedy.

mod average;
mod eval_mode;
pub(crate) mod logits;
mod margin;
mod straight_through;
#[cfg(test)]
mod tests;

use flatscape_autodiff::{vjp, without_marks};
use flatscape_graph::{Builder, DType, Graph, ValueType, simplify};

use crate::drawn::{Expectation, expected};
use crate::functions::cross_entropy;
use crate::hazards::Found;
use crate::refusal::{Refusal, escape, nearest};
use crate::surrogates::{Marked, surrogated};

pub use margin::objective;

/// What a remedy changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// What is audited: the verdict is that of the changed model.
    Model,
    /// What attacks see and differentiate: every adversarial example is still verified by the untouched model.
    Gradient,
    /// What attacks ascend where they bring no loss of their own.
    Loss,
}

/// A remedy.
#[derive(Debug)]
pub struct Remedy {
    /// The word for it on the command line.
    pub name: &'static str,
    /// One line of help.
    pub summary: &'static str,
    /// What it changes.
    pub changes: Changes,
    /// The rewritten graph and what was done, as a clause; `None` where there is nothing to do.
    rewrite: fn(&Graph) -> Option<(Graph, String)>,
}

/// The name of the remedy that lets attacks look through what has no derivative.
pub const STRAIGHT_THROUGH: &str = straight_through::REMEDY.name;

/// All remedies, in the order in which they are applied.
pub const REMEDIES: &[Remedy] = &[eval_mode::REMEDY, logits::REMEDY, straight_through::REMEDY, average::REMEDY, margin::REMEDY];

/// Reads `straight-through,margin`, or `all`.
///
/// # Errors
/// A usage error that names the remedies there are.
pub fn parse(text: &str) -> Result<Vec<String>, Refusal> {
    let mut asked = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let names = || REMEDIES.iter().map(|r| r.name);
        if name != "all" && !names().any(|n| n == name) {
            let known = names().collect::<Vec<_>>().join(", ");
            let meant = nearest(name, names()).map_or(String::new(), |n| format!("; did you mean {n}?"));
            return Err(Refusal::usage(91, format!("no remedy is called {:?}", escape(name)))
                .help(format!("there are {known} and all{meant}")));
        }
        asked.extend(names().filter(|n| name == "all" || *n == name).map(str::to_owned));
    }
    let order = |name: &String| REMEDIES.iter().position(|r| r.name == name);
    asked.sort_by_key(order);
    asked.dedup();
    Ok(asked)
}

/// The name of the graph that `--surrogate` made, in files and results. `--remedy` does not accept it.
const SURROGATE: Remedy = Remedy {
    name: "surrogate",
    summary: "attacks differentiate what the user named by rules of the user",
    changes: Changes::Gradient,
    rewrite: |_| None,
};

/// What the requested remedies made of a model.
#[derive(Clone, Debug, Default)]
pub struct Remedied {
    /// What attacks see and differentiate, where that is not the model itself.
    pub twin: Option<Graph>,
    /// Whether attacks without a loss of their own ascend the margin.
    pub margin: bool,
    /// What attacks see for one draw, and the expectation over draws that made the twin of it, where one was requested.
    pub over_draws: Option<(Graph, Expectation)>,
    /// What was done, as sentences.
    pub sentences: Vec<String>,
    /// Requested remedies that had nothing to do, as sentences.
    pub idle: Vec<String>,
    /// The names of the remedies that found something to do, and the graphs as they were after each.
    steps: Vec<(&'static Remedy, Graph)>,
}

/// Applies the remedy of the model that is among `asked`: its name, the changed graph and a sentence; `None` where none was asked
/// for or it finds nothing to do.
pub fn of_model(graph: &Graph, asked: &[String]) -> Option<(&'static str, Graph, String)> {
    let remedy = wanted(asked).find(|r| r.changes == Changes::Model)?;
    let (graph, what) = (remedy.rewrite)(graph)?;
    let said = format!("--remedy {}: THE MODEL WAS CHANGED: {what}; the numbers are not those of the file", remedy.name);
    Some((remedy.name, graph, said))
}

/// Applies the surrogates that the user named, then the remedies of the gradient and of the loss that are among `asked`, to a model
/// with logits first. `input_name` is another name of its input, in surrogates.
///
/// # Errors
/// A usage error: what a surrogate names is not there, or two of them contradict each other.
pub fn of_request(graph: &Graph, input_name: &str, asked: &[String], surrogates: &[String]) -> Result<Remedied, Refusal> {
    let Marked { twin, sentences, idle } = surrogated(graph, input_name, surrogates)?;
    let mut done = Remedied { sentences, idle, ..Remedied::default() };
    if let Some(twin) = twin {
        done.steps.push((&SURROGATE, twin.clone()));
        done.twin = Some(twin);
    }
    apply(&mut done, graph, asked);
    Ok(done)
}

fn apply(done: &mut Remedied, graph: &Graph, asked: &[String]) {
    for remedy in wanted(asked) {
        let now = done.twin.as_ref().unwrap_or(graph);
        match remedy.changes {
            Changes::Model => {}
            Changes::Gradient => match (remedy.rewrite)(now) {
                Some((twin, what)) => {
                    done.sentences.push(format!("--remedy {}: {what}; the verdict is that of the untouched model", remedy.name));
                    done.steps.push((remedy, twin.clone()));
                    done.twin = Some(twin);
                }
                None => done.idle.push(format!("--remedy {}: there is nothing in this model that it would change", remedy.name)),
            },
            Changes::Loss => {
                done.margin = true;
                let what = "attacks without a loss of their own ascend the margin between logits";
                done.sentences.push(format!("--remedy {}: {what} and not cross-entropy", remedy.name));
                let graph = now.clone();
                done.steps.push((remedy, graph));
            }
        }
    }
}

/// What attacks see of a model through one remedy of the gradient; `None` where it finds nothing to do.
pub fn view(graph: &Graph, name: &str) -> Option<Graph> {
    let remedy = REMEDIES.iter().find(|r| r.name == name && r.changes == Changes::Gradient)?;
    (remedy.rewrite)(graph).map(|(twin, _)| twin)
}

/// The names of the remedies of the gradient.
pub fn views() -> impl Iterator<Item = &'static str> {
    REMEDIES.iter().filter(|r| r.changes == Changes::Gradient).map(|r| r.name)
}

/// The model without a last operator that bounds its scores, as `--remedy logits` has it; `None` where there is none.
pub fn unbounded(graph: &Graph) -> Option<Graph> {
    (logits::REMEDY.rewrite)(graph).map(|(twin, _)| twin)
}

impl Remedied {
    /// Lets attacks see an expectation over draws (`--eot`), which answers the hazards of drawing: points are judged over draws
    /// anyhow. What was done, as a sentence.
    pub fn see_draws(&mut self, graph: &Graph, over: Expectation, hazards: &mut [Found]) -> String {
        let draws = over.draws;
        let Some(twin) = expected(self.twin.as_ref().unwrap_or(graph), over) else {
            return format!("--eot {draws}: the model has no draws that could be keyed, so it has no effect");
        };
        let single = self.twin.replace(twin).unwrap_or_else(|| graph.clone());
        self.over_draws = Some((single, over));
        hazards
            .iter_mut()
            // fewer draws than the remedy takes answer nothing
            .filter(|hazard| draws >= average::DRAWS && hazard.remedies.contains(&average::REMEDY.name))
            .for_each(|hazard| hazard.answered = true);
        format!("--eot {draws}: {}; the verdict is that of fresh draws", over.words())
    }

    /// The remedies that found something to do, each with a graph of standard operators that can be inspected and run: for a
    /// remedy that cuts the model, the model; otherwise the model with the gradient that attacks then see (inputs as the
    /// model's and `label`, outputs `logits`, `loss`, `grad_<input>`).
    pub fn graphs(&self) -> Vec<(&'static str, Graph)> {
        let graph = |(remedy, graph): &(&'static Remedy, Graph)| {
            let written = if remedy.name == logits::REMEDY.name {
                Some(simplify(&without_marks(graph.clone())))
            } else {
                gradient(graph, remedy.changes == Changes::Loss)
            };
            Some((remedy.name, written?))
        };
        self.steps.iter().filter_map(graph).collect()
    }
}

/// The model with the loss that is ascended and its gradient; `None` where it cannot be differentiated.
fn gradient(graph: &Graph, of_margin: bool) -> Option<Graph> {
    let input = *graph.inputs().first()?;
    let name = graph.value(input).name.to_string();
    let batch = graph.shape(input)?.first()?.clone();
    let logits = graph.outputs().first()?.value;
    let b = Builder::new(graph.clone());
    let label = b.input("label", ValueType::new(DType::I64, vec![batch]));
    let logits = b.expr(logits);
    let (loss, y, ct) = if of_margin {
        let loss = crate::functions::margin(&b, logits, label);
        let ones = loss.scalar(1.0).expand_like(loss);
        (loss, loss.id, ones.id)
    } else {
        let (loss, ct) = cross_entropy(&b, logits, label);
        (loss, logits.id, ct.id)
    };
    b.output("loss", loss);
    let found = vjp(&b, y, ct, &[input]).ok()?;
    let gradient = found.first().copied().flatten().map_or_else(|| b.expr(input) * 0.0, |id| b.expr(id));
    b.output(&format!("grad_{name}"), gradient);
    let graph = simplify(&without_marks(b.into_graph()));
    graph.check().is_ok().then_some(graph)
}

/// Whether the remedy of that name changes the loss and no graph.
pub fn is_of_loss(name: &str) -> bool {
    REMEDIES.iter().any(|r| r.name == name && r.changes == Changes::Loss)
}

fn wanted(asked: &[String]) -> impl Iterator<Item = &'static Remedy> + '_ {
    REMEDIES.iter().filter(|r| asked.iter().any(|a| a == r.name))
}

/// `3 nodes (Round (node "a"), …)`.
fn listed(nodes: &[String]) -> String {
    const NAMED: usize = 3;
    let more = if nodes.len() > NAMED { ", …" } else { "" };
    let plural = if nodes.len() == 1 { "node" } else { "nodes" };
    format!("{} {plural} ({}{more})", nodes.len(), nodes[..nodes.len().min(NAMED)].join(", "))
}
