//! Copying one graph into another, its inputs bound by name. Knows nothing of what the names mean.

use std::collections::HashMap;
use std::sync::Arc;

use crate::expr::Builder;
use crate::ir::{Dim, Graph, ValueId, ValueType};

/// Why a graph could not be copied in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InlineError {
    /// Nothing was bound to these inputs.
    #[error("nothing is known under the name{} {}, which {graph:?} asks for", if names.len() == 1 { "" } else { "s" }, names.join(", "))]
    Unbound {
        /// The label of the graph that was to be copied.
        graph: String,
        /// Its inputs that stayed open, in its order.
        names: Vec<String>,
    },
    /// An input was bound to a value of another type.
    #[error("{graph:?} declares {name} as {declared}, which does not fit {given}")]
    Type {
        /// The label of the graph that was to be copied.
        graph: String,
        /// The input.
        name: String,
        /// Its declared type, e.g. `float[N,D]`.
        declared: String,
        /// The type of the value it was bound to.
        given: String,
    },
}

impl Builder {
    /// Copies the nodes and constants of `graph`. `bind` says which value stands for an input of that name and declared type.
    /// Returns the outputs by name.
    ///
    /// # Errors
    /// If an input stays unbound, or is bound to a value whose element type, rank or extents contradict its declaration (a
    /// name such as `N` stands for one extent wherever it is declared). What is wrong with single nodes becomes a
    /// [`crate::Problem`] of this graph, as always.
    pub fn inline(
        &self,
        graph: &Graph,
        bind: &dyn Fn(&str, &ValueType) -> Option<ValueId>,
    ) -> Result<Vec<(Arc<str>, ValueId)>, InlineError> {
        let bound: Vec<Option<ValueId>> =
            graph.inputs().iter().map(|&v| bind(&graph.value(v).name, &graph.value(v).ty)).collect();
        let open = graph.inputs().iter().zip(&bound).filter(|(_, b)| b.is_none());
        let names: Vec<String> = open.map(|(&v, _)| graph.value(v).name.to_string()).collect();
        if !names.is_empty() {
            return Err(InlineError::Unbound { graph: graph.name.clone(), names });
        }
        let mut into = self.graph_mut();
        let mut map: Vec<Option<ValueId>> = vec![None; graph.values().len()];
        let mut extents = HashMap::new();
        for (&input, value) in graph.inputs().iter().zip(bound.into_iter().flatten()) {
            let (declared, given) = (&graph.value(input).ty, &into.value(value).ty);
            if !fits(declared, given, &mut extents) {
                return Err(InlineError::Type {
                    graph: graph.name.clone(),
                    name: graph.value(input).name.to_string(),
                    declared: described(declared),
                    given: described(given),
                });
            }
            map[input.0 as usize] = Some(value);
        }
        let before = into.problems().len();
        for node in graph.nodes() {
            let inputs = node.inputs.iter().map(|i| i.map(|v| carry(graph, &mut into, &mut map, v))).collect();
            let results = into.copy_node(graph, node, inputs);
            for (old, new) in node.outputs.iter().zip(results) {
                if let Some(old) = old {
                    map[old.0 as usize] = new;
                }
            }
        }
        let outputs = graph.outputs().iter().map(|o| (o.name.clone(), carry(graph, &mut into, &mut map, o.value))).collect();
        graph.problems().iter().for_each(|p| into.add_problem(p.what.clone()));
        into.locate_problems(before, &format!("in {:?}, ", graph.name));
        Ok(outputs)
    }
}

/// The copy of a value; a constant is copied when it is first read.
pub(crate) fn carry(from: &Graph, into: &mut Graph, map: &mut [Option<ValueId>], old: ValueId) -> ValueId {
    if let Some(new) = map[old.0 as usize] {
        return new;
    }
    let value = from.value(old);
    let new = match &value.constant {
        Some(tensor) => into.add_constant(&value.name, tensor.clone()),
        None => {
            into.add_problem(format!("value {} is read before it is produced", crate::shown(&value.name)));
            into.add_constant(&value.name, crate::Tensor::ints(&[]))
        }
    };
    map[old.0 as usize] = Some(new);
    new
}

/// Whether a value may stand for a declared input; names keep the extents that they were first bound to.
fn fits<'g>(declared: &'g ValueType, given: &ValueType, extents: &mut HashMap<&'g str, Dim>) -> bool {
    if declared.dtype.zip(given.dtype).is_some_and(|(a, b)| a != b) {
        return false;
    }
    let (Some(declared), Some(given)) = (&declared.shape, &given.shape) else { return true };
    let agree = |d: &Dim, g: &Dim| d.fixed().zip(g.fixed()).is_none_or(|(d, g)| d == g);
    declared.len() == given.len()
        && declared.iter().zip(given).all(|(d, g)| match d {
            Dim::Symbol(name) => agree(extents.entry(name).or_insert_with(|| g.clone()), g),
            d => agree(d, g),
        })
}

fn described(ty: &ValueType) -> String {
    match &ty.shape {
        Some(shape) => format!("{ty} (rank {})", shape.len()),
        None => ty.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DType, Expr, text};

    fn image(b: &Builder) -> Expr<'_> {
        b.input("image", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(3)]))
    }

    #[test]
    fn nodes_and_constants_are_copied_and_inputs_bound() {
        let step =
            text::parse("step (float[N,D] x, float[N,D] grad) => (float[N,D] x_next) { s = Sign(grad)  x_next = Add(x, s) }")
                .unwrap();
        let b = Builder::default();
        let x = image(&b);
        let bind = |name: &str, _: &ValueType| matches!(name, "x" | "grad").then_some(x.id);
        let outputs = b.inline(&step, &bind).unwrap();
        let twice = b.inline(&step, &|name, _| if name == "x" { Some(outputs[0].1) } else { Some(x.id) }).unwrap();
        assert_eq!((&*twice[0].0, b.graph().nodes().len()), ("x_next", 4));
        assert_eq!(b.graph().value(twice[0].1).ty.to_string(), "float[N,3]");
        assert!(b.graph().problems().is_empty());
    }

    #[test]
    fn what_is_open_or_of_another_type_is_named() {
        let step =
            text::parse("step (float[N,D] x, float[N,D,H] grad, float eps) => (float[N,D] y) { y = Mul(x, eps) }").unwrap();
        let b = Builder::default();
        let x = image(&b);
        let open = b.inline(&step, &|name, _| (name == "x").then_some(x.id)).unwrap_err();
        assert_eq!(open.to_string(), "nothing is known under the names grad, eps, which \"step\" asks for");
        let wrong = b.inline(&step, &|_, _| Some(x.id)).unwrap_err();
        assert_eq!(wrong.to_string(), "\"step\" declares grad as float[N,D,H] (rank 3), which does not fit float[N,3] (rank 2)");
    }

    #[test]
    fn a_name_stands_for_one_extent() {
        let pair = text::parse("pair (float[N,D] x, float[N,D] y) => (float[N,D] z) { z = Add(x, y) }").unwrap();
        let b = Builder::default();
        let x = image(&b);
        let y = b.input("other", ValueType::new(DType::F32, vec![Dim::symbol("N"), Dim::Fixed(4)]));
        let error = b.inline(&pair, &|name, _| Some(if name == "x" { x.id } else { y.id })).unwrap_err();
        assert!(error.to_string().contains("does not fit float[N,4]"), "{error}");
    }
}
