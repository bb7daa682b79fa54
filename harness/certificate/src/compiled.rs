//! A graph on an engine, with its inputs and outputs by name and numbers in double precision on the host.

use std::collections::HashMap;

use flatscape_engine::{CompileOptions, Engine, Executable};
use flatscape_graph::{DType, Graph, Tensor};

/// A compiled graph.
pub(super) struct Compiled {
    executable: Box<dyn Executable>,
    inputs: Vec<(String, DType)>,
    outputs: Vec<String>,
}

/// What a run gave, by name.
pub(super) type Results = HashMap<String, Vec<f64>>;

impl Compiled {
    /// As attacks compile: with the forms of operators that are fast on this engine.
    pub(super) fn new(engine: &dyn Engine, graph: &Graph) -> Result<Compiled, String> {
        Compiled::with(engine, graph, &CompileOptions::fast())
    }

    /// As the graph stands, so that what is fast is checked against what is plain.
    pub(super) fn plain(engine: &dyn Engine, graph: &Graph) -> Result<Compiled, String> {
        Compiled::with(engine, graph, &CompileOptions { lower: false, ..CompileOptions::fast() })
    }

    fn with(engine: &dyn Engine, graph: &Graph, options: &CompileOptions) -> Result<Compiled, String> {
        let executable = engine.compile(graph, options).map_err(|e| format!("{} does not take the graph: {e}", engine.name()))?;
        let input = |&id| (graph.value(id).name.to_string(), graph.dtype(id).unwrap_or(DType::F32));
        Ok(Compiled {
            executable,
            inputs: graph.inputs().iter().map(input).collect(),
            outputs: graph.outputs().iter().map(|o| o.name.to_string()).collect(),
        })
    }

    /// Whether there is an input of that name.
    pub(super) fn takes(&self, name: &str) -> bool {
        self.inputs.iter().any(|(input, _)| input == name)
    }

    /// Whether there is an input of that name, and no other.
    pub(super) fn takes_only(&self, name: &str) -> bool {
        self.inputs.iter().all(|(input, _)| input == name)
    }

    /// Runs on the tensors that `feed` has under the names of the inputs, cast to their element types.
    pub(super) fn run(&self, feed: &dyn Fn(&str) -> Option<Tensor>) -> Result<Results, String> {
        let mut buffers = Vec::with_capacity(self.inputs.len());
        for (name, dtype) in &self.inputs {
            let tensor = feed(name).ok_or_else(|| format!("the input {} has no value", flatscape_graph::shown(name)))?;
            buffers.push(self.executable.upload(&tensor.cast(*dtype)).map_err(|e| e.to_string())?);
        }
        let results = self.executable.run(&buffers.iter().collect::<Vec<_>>()).map_err(|e| e.to_string())?;
        let mut named = Results::new();
        for (name, result) in self.outputs.iter().zip(results) {
            named.insert(name.clone(), result.host().map_err(|e| e.to_string())?.to_f64());
        }
        Ok(named)
    }
}
