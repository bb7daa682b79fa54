//! Whether a graph is what it claims to be: SSA, in topological order, without recorded problems. Every pass ends with it.

use std::collections::HashMap;

use crate::ir::{Attribute, Graph, ValueId};
use crate::name::shown;

/// The first thing that is wrong with a graph, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct CheckError {
    /// The sentence; it names the node or the value.
    pub what: String,
}

impl Graph {
    /// Checks the whole graph: no problem was recorded while it was built; every operand is an input, a constant or a
    /// result of an earlier node; every value has one producer; attributes are of a kind that is read; the names of the
    /// interface are unique; inputs and outputs have an element type.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(&self) -> Result<(), CheckError> {
        self.check_inside()?;
        self.check_interface()
    }

    /// As [`Graph::check`], without the interface: the types of a subgraph's inputs come from outside, and it hands captured
    /// values through.
    fn check_inside(&self) -> Result<(), CheckError> {
        let fault = |what: String| Err(CheckError { what });
        if let Some(problem) = self.problems().first() {
            return fault(problem.what.clone());
        }
        let mut ready = vec![false; self.values().len()];
        for &input in self.inputs() {
            let Some(slot) = ready.get_mut(input.0 as usize) else {
                return fault(format!("the graph has an input {} that does not exist", input.0));
            };
            if std::mem::replace(slot, true) {
                return fault(format!("{} is an input twice", shown(&self.value(input).name)));
            }
            if self.constant(input).is_some() || self.value(input).producer.is_some() {
                return fault(format!("the input {} is produced inside the graph", shown(&self.value(input).name)));
            }
        }
        for (id, value) in self.values() {
            ready[id.0 as usize] |= value.constant.is_some();
        }
        let readable = |ready: &[bool], id: ValueId| ready.get(id.0 as usize).copied().unwrap_or(false);
        let name = |id: ValueId| self.values().nth(id.0 as usize).map_or_else(|| id.0.to_string(), |(_, v)| shown(&v.name));
        for node in self.nodes() {
            if let Some(&id) = node.inputs.iter().flatten().find(|&&id| !readable(&ready, id)) {
                return fault(format!("{} reads {}, which nothing before it produces", node.describe(), name(id)));
            }
            for (key, value) in &node.attributes.0 {
                match value {
                    Attribute::Unread(kind) => {
                        return fault(format!("{} has an attribute {} ({kind}), which is not read", node.describe(), shown(key)));
                    }
                    Attribute::Graph(inner) => inner
                        .graph
                        .check_inside()
                        .map_err(|e| CheckError { what: format!("in {} of {}: {e}", shown(key), node.describe()) })?,
                    _ => {}
                }
            }
            for &id in node.outputs.iter().flatten() {
                match ready.get_mut(id.0 as usize) {
                    Some(slot) if !*slot => *slot = true,
                    _ => return fault(format!("{} produces {}, which is there already", node.describe(), name(id))),
                }
            }
        }
        if self.outputs().is_empty() {
            return fault("the graph has no output".to_owned());
        }
        if let Some(output) = self.outputs().iter().find(|o| !readable(&ready, o.value)) {
            return fault(format!("nothing produces the output {}", shown(&output.name)));
        }
        Ok(())
    }

    fn check_interface(&self) -> Result<(), CheckError> {
        let fault = |what: String| Err(CheckError { what });
        let inputs = self.inputs().iter().map(|&v| (&*self.value(v).name, v));
        let outputs = self.outputs().iter().map(|o| (&*o.name, o.value));
        let mut names: HashMap<&str, (ValueId, bool)> = HashMap::new();
        for (is_output, (name, value)) in inputs.map(|i| (false, i)).chain(outputs.map(|o| (true, o))) {
            if name.is_empty() {
                return fault("an input or output of the graph has no name".to_owned());
            }
            // an input that is handed through may keep its name
            if names.insert(name, (value, is_output)).is_some_and(|other| other != (value, !is_output)) {
                return fault(format!("two inputs or outputs of the graph are called {}", shown(name)));
            }
            if self.dtype(value).is_none() {
                let role = if is_output { "output" } else { "input" };
                return fault(format!("the element type of the {role} {} is not known", shown(name)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Attribute, DType, Graph, Node, Output, ValueId, ValueType, text};

    fn relu() -> Graph {
        text::parse("g (float[2] x) => (float[2] y) { y = Relu(x) }").unwrap()
    }

    /// What is done to `y = Relu(x)`, and words of the sentence that follows.
    type Row = (fn(&mut Graph), &'static str);

    const ROWS: &[Row] = &[
        (|g| g.add_problem("Conv: the kernel is larger than the input".to_owned()), "the kernel is larger"),
        (|g| g.set_outputs(Vec::new()), "the graph has no output"),
        (|g| g.add_output("z", ValueId(9)), "nothing produces the output \"z\""),
        (|g| g.add_output("y", g.inputs()[0]), "two inputs or outputs of the graph are called \"y\""),
        (|g| g.add_output("y", g.outputs()[0].value), "two inputs or outputs of the graph are called \"y\""),
        (|g| g.add_output("x", g.outputs()[0].value), "two inputs or outputs of the graph are called \"x\""),
        (|g| g.add_output("", g.inputs()[0]), "has no name"),
        (
            |g| {
                g.add_input("x", ValueType::fixed(DType::F32, &[1]));
            },
            "are called \"x\"",
        ),
        (
            |g| {
                g.add_input("q", ValueType::default());
            },
            "the element type of the input \"q\" is not known",
        ),
        (
            |g| {
                let mut node = Node::new("Relu", &[g.inputs()[0]], [("body", Attribute::Unread("graph"))]);
                node.domain = "test".into();
                let id = g.append(node, &[Some("z")]);
                let value = g.node_at(id).output(0).unwrap();
                g.set_outputs(vec![Output { name: "z".into(), value }]);
            },
            "Relu has an attribute \"body\" (graph), which is not read",
        ),
        (
            |g| {
                g.append(Node::new("Relu", &[ValueId(9)], []), &[Some("z")]);
            },
            "Relu reads 9, which nothing before it produces",
        ),
    ];

    #[test]
    fn faults_are_named() {
        assert_eq!(relu().check(), Ok(()));
        for (spoil, words) in ROWS {
            let mut graph = relu();
            spoil(&mut graph);
            let error = graph.check().expect_err(words);
            assert!(error.what.contains(words), "{error} should say {words:?}");
        }
    }

    #[test]
    fn an_input_may_be_handed_through() {
        let mut graph = relu();
        graph.add_output("x", graph.inputs()[0]);
        assert_eq!(graph.check(), Ok(()));
    }
}
