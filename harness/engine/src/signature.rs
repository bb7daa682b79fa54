//! The interface of a graph: names and types of inputs and outputs, and the check of what a run is given.

use std::sync::Arc;

use flatscape_graph::onnx::OwnFile;
use flatscape_graph::{Dim, Graph, ValueType};

use crate::rows::Source;
use crate::{Buffer, EngineError};

pub(crate) struct Signature {
    pub graph: String,
    pub inputs: Vec<(Arc<str>, ValueType)>,
    pub outputs: Vec<(Arc<str>, ValueType)>,
}

impl Signature {
    pub fn of(graph: &Graph) -> Signature {
        let typed = |name: &Arc<str>, id| (name.clone(), graph.value(id).ty.clone());
        Signature {
            graph: graph.name.clone(),
            inputs: graph.inputs().iter().map(|&id| typed(&graph.value(id).name, id)).collect(),
            outputs: graph.outputs().iter().map(|o| typed(&o.name, o.value)).collect(),
        }
    }

    pub fn of_file(file: &OwnFile) -> Signature {
        let port = |(name, ty): &(String, ValueType)| vec![(Arc::from(name.as_str()), ty.clone())];
        Signature { graph: file.name.clone(), inputs: port(&file.input), outputs: port(&file.output) }
    }

    /// Where inputs that fit are, for an engine that computes in the host's memory.
    pub fn on_host<'b>(&self, engine: &'static str, inputs: &[&'b Buffer]) -> Result<Vec<Source<'b>>, EngineError> {
        self.check(inputs)?;
        let sources: Option<Vec<Source>> = inputs.iter().map(|buffer| Source::of(buffer)).collect();
        sources.ok_or_else(|| EngineError::run(engine, &self.graph, "an input lies on another device".to_owned()))
    }

    /// Whether the buffers fit: count, element types, ranks, fixed extents, and symbols that agree with each other.
    pub fn check(&self, inputs: &[&Buffer]) -> Result<(), EngineError> {
        let wrong = |reason: String| Err(EngineError::Inputs { graph: self.graph.clone(), reason });
        if inputs.len() != self.inputs.len() {
            let names: Vec<&str> = self.inputs.iter().map(|(name, _)| &**name).collect();
            return wrong(format!("{} tensors for its {} inputs ({})", inputs.len(), self.inputs.len(), names.join(", ")));
        }
        let mut symbols: Vec<(&str, usize)> = Vec::new();
        for (buffer, (name, ty)) in inputs.iter().zip(&self.inputs) {
            let fits_type = ty.dtype.is_none_or(|dtype| dtype == buffer.dtype());
            let fits_shape = ty.shape.as_ref().is_none_or(|dims| {
                dims.len() == buffer.shape().len()
                    && dims.iter().zip(buffer.shape()).all(|(dim, &extent)| match dim {
                        Dim::Fixed(n) => *n == extent,
                        Dim::Unknown => true,
                        Dim::Symbol(symbol) => match symbols.iter().find(|(known, _)| *known == &**symbol) {
                            Some((_, known)) => *known == extent,
                            None => {
                                symbols.push((symbol, extent));
                                true
                            }
                        },
                    })
            });
            if !fits_type || !fits_shape {
                let given: Vec<String> = buffer.shape().iter().map(usize::to_string).collect();
                return wrong(format!("{name:?} is {ty} and got {}[{}]", buffer.dtype().name(), given.join(",")));
            }
        }
        Ok(())
    }
}
