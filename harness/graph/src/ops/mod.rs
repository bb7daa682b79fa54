//! The operators: for each one how many operands it takes, its result types, and how constants are folded. The list is
//! `OPS`, one row per operator, with the opset-18 meaning. What an operator computes on a device is not known here.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};

use crate::ir::{Dim, Graph, Node, Shape, ValueType};
use crate::tensor::{DType, Tensor};

mod attributes;
mod conv;
mod dims;
mod einsum;
mod elementwise;
mod evaluate;
mod functions;
mod gather;
mod generate;
mod integers;
mod linear;
mod loss;
mod movement;
mod normalization;
mod pool;
mod reduce;
mod reshape;
mod resize;
mod shape;
mod site;
mod slice;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use conv::{Auto, Window};
pub use evaluate::{BUDGET, LARGE, evaluate};
use evaluate::{Call, Folded};
pub(crate) use site::{Site, front};
pub use table::OPS;

/// What inference found about one result.
#[derive(Clone, Debug, Default)]
pub struct Inferred {
    /// Element type and shape.
    pub ty: ValueType,
    /// For small integer results, the elements as extents.
    pub extents: Option<Vec<Dim>>,
}

/// The results of a node, or a clause that says what is wrong with it.
pub(crate) type Found = Result<Vec<Inferred>, String>;

/// An operator: a row of [`OPS`].
#[derive(Debug)]
pub struct Op {
    /// Its name, e.g. `Conv`.
    pub name: &'static str,
    /// Its domain; empty for standard ONNX.
    pub domain: &'static str,
    /// How few and how many operands it takes.
    pub operands: RangeInclusive<usize>,
    /// How many results it may have.
    pub results: usize,
    infer: fn(&Site) -> Found,
    evaluate: Option<fn(&Call) -> Folded>,
}

pub use attributes::foreign_attribute;

/// The most axes that a tensor of a file may have.
pub(crate) const RANK: usize = 64;

/// For operands or results without a limit.
const MANY: usize = usize::MAX;

const fn op(name: &'static str, operands: RangeInclusive<usize>, infer: fn(&Site) -> Found) -> Op {
    Op { name, domain: "", operands, results: 1, infer, evaluate: None }
}

impl Op {
    const fn results(mut self, results: usize) -> Op {
        self.results = results;
        self
    }

    const fn folds(mut self, evaluate: fn(&Call) -> Folded) -> Op {
        self.evaluate = Some(evaluate);
        self
    }

    const fn of_flatscape(mut self) -> Op {
        self.domain = FUNCTIONS;
        self
    }
}

/// The domain of the functions that the linker inlines.
pub const FUNCTIONS: &str = "flatscape";

/// The row of an operator, if there is one.
pub fn find(op: &str, domain: &str) -> Option<&'static Op> {
    static ROWS: LazyLock<HashMap<(&'static str, &'static str), &'static Op>> =
        LazyLock::new(|| OPS.iter().map(|row| ((row.domain, row.name), row)).collect());
    let domain = if domain == "ai.onnx" { "" } else { domain };
    ROWS.get(&(domain, op)).copied()
}

/// The name of an operator or a domain, one copy for all nodes where it is known.
pub(crate) fn shared(name: &str) -> Arc<str> {
    static NAMES: LazyLock<HashMap<&'static str, Arc<str>>> = LazyLock::new(|| {
        let names = OPS.iter().flat_map(|row| [row.name, row.domain]);
        names.map(|name| (name, name.into())).collect()
    });
    NAMES.get(name).cloned().unwrap_or_else(|| name.into())
}

/// Whether there is a row for the operator.
pub fn is_known(op: &str, domain: &str) -> bool {
    find(op, domain).is_some()
}

/// The known operator of the domain whose name is nearest to a misspelt one, if one is near.
pub fn nearest(op: &str, domain: &str) -> Option<&'static str> {
    let rows = OPS.iter().filter(|row| row.domain == domain);
    let (far, name) = rows.map(|row| (distance(op, row.name), row.name)).min()?;
    (far <= op.len() / 3).then_some(name)
}

/// A clause about the first node whose operator has no row, with the nearest name that has one.
pub fn unknown(graph: &Graph) -> Option<String> {
    let node = graph.nodes().iter().find(|n| !is_known(&n.op, &n.domain))?;
    let domain = if node.domain.is_empty() { String::new() } else { format!(" of the domain {}", crate::shown(&node.domain)) };
    let hint = nearest(&node.op, &node.domain).map_or(String::new(), |near| format!("; the nearest known one is {near}"));
    Some(format!("the operator {}{domain} is not known{hint}", node.describe()))
}

/// Infers the results of a node from its operands. The error is a clause without subject («the axis 5 is outside rank 4»).
/// An operator without a row has results of unknown type.
pub fn infer(graph: &Graph, node: &Node) -> Found {
    let Some(row) = find(&node.op, &node.domain) else {
        return Ok(vec![Inferred::default(); node.outputs.len()]);
    };
    count_operands(row, node)?;
    let mut found = (row.infer)(&Site::new(graph, node))?;
    found.resize(node.outputs.len(), Inferred::default());
    Ok(found)
}

fn count_operands(row: &Op, node: &Node) -> Result<(), String> {
    let (least, most) = (*row.operands.start(), *row.operands.end());
    let given = node.inputs.len();
    if given > most {
        return Err(format!("it takes at most {most} operands and has {given}"));
    }
    // a list of operands has no holes; ONNX Runtime dies of one
    if most == MANY
        && let Some(hole) = node.inputs.iter().position(Option::is_none)
    {
        return Err(format!("operand {hole} of its list is left out"));
    }
    if (0..least).any(|i| node.input(i).is_none()) {
        let present = node.inputs.iter().take(least).flatten().count();
        return Err(format!("it needs {least} operands and has {present}"));
    }
    if node.outputs.len() > row.results {
        return Err(format!("it has at most {} results, {} are asked for", row.results, node.outputs.len()));
    }
    Ok(())
}

/// One result.
fn one(dtype: Option<DType>, shape: Shape) -> Found {
    Ok(vec![Inferred { ty: ValueType { dtype, shape }, extents: None }])
}

/// Several results without extents.
fn several(results: impl IntoIterator<Item = (Option<DType>, Shape)>) -> Found {
    Ok(results.into_iter().map(|(dtype, shape)| Inferred { ty: ValueType { dtype, shape }, extents: None }).collect())
}

/// The extent that is left of `shape` when these extents are taken out, if that is certain.
pub(crate) fn quotient_of(shape: &[Dim], taken: &[Dim]) -> Dim {
    let pair = dims::Count::of(shape).zip(dims::Count::of(taken));
    pair.and_then(|(all, taken)| all.divided_by(&taken)).map_or(Dim::Unknown, |left| left.dim())
}

/// The elements of a small integer tensor of rank 0 or 1 as extents (negative ones are unknown).
pub fn extents_of(tensor: &Arc<Tensor>) -> Option<Vec<Dim>> {
    if tensor.shape().len() > 1 || tensor.len() > 64 {
        return None;
    }
    let ints = tensor.to_ints()?;
    Some(ints.into_iter().map(|v| usize::try_from(v).map_or(Dim::Unknown, Dim::Fixed)).collect())
}

/// The number of an element type in ONNX files (`TensorProto.DataType`).
pub fn onnx_code(dtype: DType) -> i64 {
    match dtype {
        DType::F32 => 1,
        DType::U8 => 2,
        DType::I8 => 3,
        DType::I32 => 6,
        DType::I64 => 7,
        DType::Bool => 9,
        DType::F64 => 11,
    }
}

/// The element type behind a number in ONNX files, if a graph may hold it.
pub fn dtype_of_code(code: i64) -> Option<DType> {
    const ALL: [DType; 7] = [DType::F32, DType::F64, DType::I8, DType::I32, DType::I64, DType::U8, DType::Bool];
    ALL.into_iter().find(|&d| onnx_code(d) == code)
}

/// Edits between two names, letter case aside.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let best = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[b.len()]
}
