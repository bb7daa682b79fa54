//! A loss from a file: what attacks without a loss of their own ascend (`--loss FILE`).

use flatscape_graph::normalize::Options;
use flatscape_graph::{DType, Dim, Graph, Output, shown};

use super::Intake;
use super::whole::Whole;
use crate::refusal::Refusal;

/// A loss from a file.
#[derive(Clone, Debug)]
pub struct Loss {
    /// The stem of its file.
    pub name: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Inputs among `logits` float\[N,K\], `y` int64\[N\] (the label) and `target` int64\[N\]; output `loss` float\[N\].
    pub graph: Graph,
}

impl Loss {
    /// Reads it for a model of so many classes.
    ///
    /// # Errors
    /// `M148` with what the contract asks and the file lacks; otherwise as for models.
    pub fn load(file: &str, intake: &Intake, classes: usize) -> Result<Loss, Refusal> {
        let whole = Whole::load(file, intake, &Options::default())?;
        let refuse = |what: String| {
            Refusal::model(148, format!("the loss {}: {what}", whole.name)).help(
                "a loss takes logits float[N,K] and label int64[N] (or target int64[N]) and gives loss float[N], larger is worse",
            )
        };
        let mut graph = whole.graph.clone();
        for input in whole.graph.inputs().to_vec() {
            let (name, ty) = (whole.graph.value(input).name.to_string(), whole.graph.value(input).ty.clone());
            let dims = ty.shape.clone().unwrap_or_default();
            let free = dims.first().is_some_and(|n| n.fixed().is_none());
            let fits = match &*name {
                "logits" => ty.dtype == Some(DType::F32) && dims.len() == 2 && dims[1].fixed().is_none_or(|k| k == classes),
                "label" | "y" | "target" => ty.dtype == Some(DType::I64) && dims.len() == 1,
                _ => return Err(refuse(format!("it takes {}, which no attack has", shown(&name)))),
            };
            if !fits || !free {
                return Err(refuse(format!("its input {} is {ty}, with {classes} classes in the model", shown(&name))));
            }
            if name == "label" {
                graph.rename(input, "y");
            }
        }
        if graph.input_named("logits").is_none() {
            return Err(refuse("it does not take logits".to_owned()));
        }
        let value = graph.output_named("loss").ok_or_else(|| refuse("it has no output loss".to_owned()))?;
        let one_per_sample =
            graph.dtype(value) == Some(DType::F32) && matches!(graph.shape(value), Some([n]) if is_batch(&graph, n));
        if !one_per_sample {
            return Err(refuse(format!("its output loss is {}, not one number per sample", graph.value(value).ty)));
        }
        graph.set_outputs(vec![Output { name: "loss".into(), value }]);
        Ok(Loss { name: whole.name, sha256: whole.sha256, graph: graph.without_dead() })
    }
}

/// Whether an extent is that of the batch of the logits, as far as is known.
fn is_batch(graph: &Graph, extent: &Dim) -> bool {
    let batch = graph.input_named("logits").and_then(|id| graph.shape(id)?.first().cloned());
    extent.fixed().is_none() && batch.is_none_or(|batch| batch.same(extent) || *extent == Dim::Unknown)
}
