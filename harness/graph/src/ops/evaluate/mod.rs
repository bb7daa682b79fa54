//! Evaluation of constants: integers, shapes, movements, and float arithmetic that is the same on every machine. What would
//! need a choice of algorithm (convolution, exponentials) is left to the engines, and so is what would be large.

use std::ops::Deref;

use crate::ir::{Attribute, Dim, Graph, Node};
use crate::tensor::{DType, Element, Tensor};
use crate::with_array;

mod elementwise;
mod movement;
mod reduce;

pub(super) use elementwise::{arithmetic, clip, compare, logic, not, select, test, unary};
pub(super) use movement::{
    concat, expand, eye, gather, non_zero, one_hot, pad, range, reshape, slice, split, tile, transpose, trilu,
};
pub(super) use reduce::{cum_sum, matmul, reduce};

/// Results larger than this many elements are not computed, …
pub const BUDGET: usize = 64 << 20;
/// … nor results larger than this that have more than four times the elements of the operands: small operands are not blown up.
pub const LARGE: usize = 1 << 20;

/// The results; `None` where this operator cannot be evaluated for these operands; or a clause that says what is wrong.
pub(super) type Folded = Result<Option<Vec<Tensor>>, String>;

/// A node whose operands are constants.
pub(crate) struct Call<'c> {
    node: &'c Node,
    operands: &'c [Option<&'c Tensor>],
    /// Extents of the results, where they follow from the operands.
    shapes: Vec<Option<Vec<usize>>>,
    dtypes: Vec<Option<DType>>,
}

impl Deref for Call<'_> {
    type Target = Node;
    fn deref(&self) -> &Node {
        self.node
    }
}

/// The results of a node on constants. `None` if this operator is not evaluated here, or the results are larger than
/// [`BUDGET`] or [`LARGE`] allow. The error is a clause («the index 3 is outside the extent 3»).
pub fn evaluate(node: &Node, operands: &[Option<&Tensor>]) -> Option<Result<Vec<Tensor>, String>> {
    let rule = super::find(&node.op, &node.domain)?.evaluate?;
    let call = match Call::new(node, operands) {
        Ok(call) => call,
        Err(what) => return Some(Err(what)),
    };
    let given: usize = operands.iter().flatten().map(|t| t.len()).sum();
    let most = LARGE.max(given.saturating_mul(4)).min(BUDGET);
    // an extent of 0 does not excuse a large one beside it
    let elements = |shape: &Vec<usize>| shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
    if call.shapes.iter().flatten().any(|shape| elements(shape).is_none_or(|n| n > most)) {
        return None;
    }
    rule(&call).transpose()
}

impl<'c> Call<'c> {
    /// Infers the results first, so that the rules may rely on a node that is in order.
    fn new(node: &'c Node, operands: &'c [Option<&'c Tensor>]) -> Result<Call<'c>, String> {
        const SMALL: usize = 1024;
        let mut scene = Graph::new("");
        let mut copy = node.clone();
        copy.inputs = operands
            .iter()
            .map(|operand| {
                let t = (*operand)?;
                Some(if t.len() <= SMALL {
                    scene.add_constant("", t.clone())
                } else {
                    scene.add_input("", crate::ValueType::fixed(t.dtype(), t.shape()))
                })
            })
            .collect();
        let found = super::infer(&scene, &copy)?;
        let fixed = |shape: &Vec<Dim>| shape.iter().map(Dim::fixed).collect::<Option<Vec<usize>>>();
        let shapes = found.iter().map(|r| r.ty.shape.as_ref().and_then(fixed)).collect();
        Ok(Call { node, operands, shapes, dtypes: found.iter().map(|r| r.ty.dtype).collect() })
    }

    fn operand(&self, i: usize) -> Option<&'c Tensor> {
        self.operands.get(i).copied().flatten()
    }

    fn ints(&self, i: usize) -> Option<Vec<i64>> {
        self.operand(i)?.to_ints()
    }

    fn shape(&self) -> Option<&[usize]> {
        self.shapes.first()?.as_deref()
    }

    /// An axis attribute of an operand, counted from the front; inference has checked it.
    fn axis(&self, name: &str, default: i64, rank: usize) -> Option<usize> {
        super::site::front(self.attributes.int(name, default), rank).ok()
    }
}

/// `Identity`.
pub(super) fn same(call: &Call) -> Folded {
    Ok(call.operand(0).map(|x| vec![x.clone()]))
}

/// `Cast`, `CastLike`.
pub(super) fn cast(call: &Call) -> Folded {
    Ok(call.operand(0).zip(call.dtypes[0]).map(|(x, to)| vec![x.cast(to)]))
}

/// `Shape`, `Size` and whatever else inference knows element by element.
pub(super) fn shape(call: &Call) -> Folded {
    let Some(x) = call.operand(0) else { return Ok(None) };
    let ints: Vec<i64> = x.shape().iter().map(|&n| n as i64).collect();
    if &*call.op == "Size" {
        return Ok(Some(vec![Tensor::scalar(ints.iter().product::<i64>())]));
    }
    let rank = ints.len() as i64;
    let (start, count) =
        super::slice::positions(ints.len(), call.attributes.int("start", 0), call.attributes.int("end", rank), 1);
    Ok(Some(vec![Tensor::ints(&ints[start..start + count])]))
}

/// `Constant`.
pub(super) fn constant(call: &Call) -> Folded {
    let vector = |v: &[f32]| Tensor::new(&[v.len()], v.to_vec());
    Ok(match call.attributes.0.values().next() {
        Some(Attribute::Tensor(t)) => Some((**t).clone()),
        Some(Attribute::Int(v)) => Some(Tensor::scalar(*v)),
        Some(Attribute::Ints(v)) => Some(Tensor::ints(v)),
        Some(Attribute::Float(v)) => Some(Tensor::scalar(*v)),
        Some(Attribute::Floats(v)) => vector(v),
        _ => None,
    }
    .map(|t| vec![t]))
}

/// `ConstantOfShape`.
pub(super) fn constant_of_shape(call: &Call) -> Folded {
    let Some(shape) = call.shape() else { return Ok(None) };
    let value = match call.attributes.get("value") {
        Some(Attribute::Tensor(t)) => (**t).clone(),
        _ => Tensor::scalar(0f32),
    };
    fn fill<T: Element>(a: &ndarray::ArrayD<T>, shape: &[usize]) -> Option<Tensor> {
        a.first().map(|v| T::wrap(ndarray::ArrayD::from_elem(ndarray::IxDyn(shape), *v)))
    }
    Ok(with_array!(&value, a => fill(a, shape)).map(|t| vec![t]))
}
