//! What `onnxruntime.quantization` and the optimisers of ONNX Runtime write for 8-bit models (domain `com.microsoft`), as
//! `DequantizeLinear` → X → `QuantizeLinear`. The operands are those of ONNX Runtime's page of contributed operators.

use super::control::formulas;
use super::upgrade::{Old, Renewed};
use crate::expr::{Builder, Expr};
use crate::ir::{Attribute, Attributes, Node, ValueId};
use crate::tensor::DType;

/// A quantised operand: integers, their scale, their zero.
type Operand = (ValueId, ValueId, Option<ValueId>);

/// The operand whose integers stand at a position, with scale and zero behind it.
fn operand(old: &Old, at: usize) -> Result<Operand, String> {
    Ok((old.x(at)?, old.x(at + 1)?, old.node.input(at + 2)))
}

/// A scale or a zero of one element as a scalar, so that it is of the whole tensor; others as they are.
fn whole<'b>(b: &'b Builder, value: ValueId) -> Expr<'b> {
    let one = b.graph().shape(value).is_some_and(|s| s.len() == 1 && s[0].fixed() == Some(1));
    if one { b.expr(value).reshape(&[]) } else { b.expr(value) }
}

/// (x − zero)·scale; scales of several elements lie along `axis`.
fn real<'b>(b: &'b Builder, (x, scale, zero): Operand, axis: i64) -> Expr<'b> {
    let operands = [Some(b.expr(x)), Some(whole(b, scale)), zero.map(|z| whole(b, z))];
    let given = if zero.is_some() { 3 } else { 2 };
    b.op_with_gaps("DequantizeLinear", &operands[..given], [("axis", axis.into())])
}

/// round(x/scale) + zero, kept inside the type of the zero; uint8 without one.
fn integers<'b>(b: &'b Builder, x: Expr<'b>, scale: ValueId, zero: Option<ValueId>) -> Expr<'b> {
    let operands = [Some(x), Some(whole(b, scale)), zero.map(|z| whole(b, z))];
    let given = if zero.is_some() { 3 } else { 2 };
    b.op_with_gaps("QuantizeLinear", &operands[..given], Attributes::none())
}

/// An operator of one operand: `(X, x_scale, x_zero, y_scale, y_zero)`.
fn of_one(old: &mut Old, write: impl for<'b> FnOnce(&'b Builder, Expr<'b>) -> Expr<'b>) -> Renewed {
    let (x, scale, zero) = (operand(old, 0)?, old.x(3)?, old.node.input(4));
    Ok(formulas(old, |b| vec![Some(integers(b, write(b, real(b, x, 1)), scale, zero))]))
}

/// An operator of two operands: `(A, a_scale, a_zero, B, b_scale, b_zero, c_scale, c_zero)`.
fn of_two(old: &mut Old, write: impl for<'b> FnOnce(Expr<'b>, Expr<'b>) -> Expr<'b>) -> Renewed {
    let (left, right) = (operand(old, 0)?, operand(old, 3)?);
    let (scale, zero) = (old.x(6)?, old.node.input(7));
    Ok(formulas(old, |b| vec![Some(integers(b, write(real(b, left, 1), real(b, right, 1)), scale, zero))]))
}

/// `QLinearAdd`.
pub(super) fn add(old: &mut Old) -> Renewed {
    of_two(old, |x, y| x + y)
}

/// `QLinearMul`.
pub(super) fn mul(old: &mut Old) -> Renewed {
    of_two(old, |x, y| x * y)
}

/// `QLinearSigmoid`.
pub(super) fn sigmoid(old: &mut Old) -> Renewed {
    of_one(old, |_, x| x.sigmoid())
}

/// `QLinearLeakyRelu`.
pub(super) fn leaky_relu(old: &mut Old) -> Renewed {
    let alpha = old.node.attributes.float("alpha", 0.01);
    of_one(old, |b, x| b.op("LeakyRelu", &[x], [("alpha", alpha.into())]))
}

/// `QLinearReduceMean`.
pub(super) fn reduce_mean(old: &mut Old) -> Renewed {
    let rank = old.graph.rank(old.x(0)?).ok_or("the rank of x is not known")? as i64;
    let axes = old.node.attributes.ints("axes").map_or_else(|| (0..rank).collect(), <[i64]>::to_vec);
    let keep = old.node.attributes.int("keepdims", 1) != 0;
    of_one(old, |_, x| x.mean(&axes, keep))
}

/// A permutation of axes, and the one that undoes it.
type Turns = (Vec<i64>, Vec<i64>);

/// Between channels first and channels last: the permutation of a tensor of this rank, and back.
fn turns(old: &Old) -> Result<Option<Turns>, String> {
    if old.node.attributes.int("channels_last", 0) == 0 {
        return Ok(None);
    }
    let rank = old.graph.rank(old.x(0)?).ok_or("the rank of x is not known")? as i64;
    let first: Vec<i64> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    let last: Vec<i64> = std::iter::once(0).chain(2..rank).chain([1]).collect();
    Ok(Some((first, last)))
}

/// A pool of one operand, with the channels where they are.
fn pool(old: &mut Old, op: &'static str) -> Renewed {
    let turns = turns(old)?;
    let mut attributes = old.node.attributes.clone();
    attributes.0.remove("channels_last");
    of_one(old, |b, x| {
        let x = turns.as_ref().map_or(x, |(first, _)| x.transpose(first));
        let y = b.op(op, &[x], attributes);
        turns.as_ref().map_or(y, |(_, last)| y.transpose(last))
    })
}

/// `QLinearGlobalAveragePool`.
pub(super) fn global_average_pool(old: &mut Old) -> Renewed {
    pool(old, "GlobalAveragePool")
}

/// `QLinearAveragePool`.
pub(super) fn average_pool(old: &mut Old) -> Renewed {
    pool(old, "AveragePool")
}

/// `NhwcMaxPool`: of integers, with the channels last.
pub(super) fn nhwc_max_pool(old: &mut Old) -> Renewed {
    old.node.attributes.0.insert("channels_last".into(), Attribute::Int(1));
    let (x, turns) = (old.x(0)?, turns(old)?);
    let mut attributes = old.node.attributes.clone();
    attributes.0.remove("channels_last");
    let (first, last) = turns.ok_or("the rank of x is not known")?;
    Ok(formulas(old, |b| vec![Some(b.op("MaxPool", &[b.expr(x).transpose(&first)], attributes).transpose(&last))]))
}

/// `QLinearSoftmax`: before opset 13 over all axes from `axis` on.
pub(super) fn softmax(old: &mut Old) -> Renewed {
    let attributes = &old.node.attributes;
    let flattened = attributes.int("opset", 13) < 13;
    let axis = attributes.int("axis", if flattened { 1 } else { -1 });
    of_one(old, |b, x| {
        if !flattened {
            return x.softmax(axis);
        }
        let rows = b.op("Flatten", &[x], [("axis", axis.into())]).softmax(1);
        b.op("Reshape", &[rows, x.shape()], Attributes::none())
    })
}

/// `QLinearConcat`: `(y_scale, y_zero, x0, x0_scale, x0_zero, x1, …)`.
pub(super) fn concat(old: &mut Old) -> Renewed {
    let (scale, zero) = (old.x(0)?, old.node.input(1));
    let count = old.node.inputs.len().saturating_sub(2) / 3;
    let parts = (0..count).map(|i| operand(old, 2 + 3 * i)).collect::<Result<Vec<_>, _>>()?;
    let axis = old.node.attributes.int("axis", 0);
    if parts.is_empty() {
        return Err("it has no operands".to_owned());
    }
    Ok(formulas(old, |b| {
        let parts: Vec<Expr> = parts.iter().map(|&p| real(b, p, 1)).collect();
        vec![Some(integers(b, b.concat(&parts, axis), scale, zero))]
    }))
}

/// `QLinearWhere`: `(condition, X, x_scale, x_zero, Y, y_scale, y_zero, z_scale, z_zero)`.
pub(super) fn select(old: &mut Old) -> Renewed {
    let (condition, yes, no) = (old.x(0)?, operand(old, 1)?, operand(old, 4)?);
    let (scale, zero) = (old.x(7)?, old.node.input(8));
    Ok(formulas(old, |b| {
        let chosen = b.expr(condition).select(real(b, yes, 1), real(b, no, 1));
        vec![Some(integers(b, chosen, scale, zero))]
    }))
}

/// `QGemm`: `alpha·(A·B + C)`, where C has the scale of A times that of B; a float result where no scale of Y is given.
pub(super) fn gemm(old: &mut Old) -> Renewed {
    let (left, right, bias) = (operand(old, 0)?, operand(old, 3)?, old.node.input(6));
    let (scale, zero) = (old.node.input(7), old.node.input(8));
    let flag = |name: &str| old.node.attributes.int(name, 0);
    let (left_turned, right_turned) = (flag("transA"), flag("transB"));
    let alpha = old.node.attributes.float("alpha", 1.0);
    Ok(formulas(old, |b| {
        let axis = if right_turned != 0 { 0 } else { 1 };
        let attributes = [("alpha", alpha.into()), ("transA", left_turned.into()), ("transB", right_turned.into())];
        let product = b.op("Gemm", &[real(b, left, 1), real(b, right, axis)], attributes);
        let y = match bias {
            None => product,
            Some(bias) => {
                let unit = whole(b, left.1) * whole(b, right.1);
                let unit = if alpha == 1.0 { unit } else { unit * f64::from(alpha) };
                product + b.expr(bias).cast(product.dtype()) * unit
            }
        };
        vec![Some(scale.map_or(y, |scale| integers(b, y, scale, zero)))]
    }))
}

/// `MatMulIntegerToFloat`: `(A, B, a_scale, b_scale, a_zero, b_zero, bias)`.
pub(super) fn matmul_to_float(old: &mut Old) -> Renewed {
    let (a, c, a_scale, c_scale) = (old.x(0)?, old.x(1)?, old.x(2)?, old.x(3)?);
    let (a_zero, c_zero, bias) = (old.node.input(4), old.node.input(5), old.node.input(6));
    Ok(formulas(old, |b| {
        let product = real(b, (a, a_scale, a_zero), 1).matmul(real(b, (c, c_scale, c_zero), 1));
        vec![Some(bias.map_or(product, |bias| product + b.expr(bias)))]
    }))
}

/// `DynamicQuantizeMatMul`: `(A, B, b_scale, b_zero, bias)`, A is quantised by its own range.
pub(super) fn dynamic_matmul(old: &mut Old) -> Renewed {
    let (a, c, c_scale) = (old.x(0)?, old.x(1)?, old.x(2)?);
    let (c_zero, bias) = (old.node.input(3), old.node.input(4));
    Ok(formulas(old, |b| {
        let quantised = b.ops("DynamicQuantizeLinear", &[b.expr(a)], 3, Attributes::none());
        let a = (quantised[0].id, quantised[1].id, Some(quantised[2].id));
        let product = real(b, a, 1).matmul(real(b, (c, c_scale, c_zero), 1));
        vec![Some(bias.map_or(product, |bias| product + b.expr(bias)))]
    }))
}

/// Operators that mean there what they mean in the standard domain.
pub(super) fn as_standard(old: &mut Old) -> Renewed {
    if old.node.attributes.int("channels_last", 0) != 0 {
        return Err("channels_last is not supported".to_owned());
    }
    let mut attributes = old.node.attributes.clone();
    attributes.0.remove("channels_last");
    let count = old.node.outputs.len().max(1);
    let node = Node { domain: "".into(), outputs: Vec::new(), attributes, ..old.node.clone() };
    let results = old.graph.push(node, count);
    Ok(Some(results.into_iter().map(Some).collect()))
}

/// `QuantizeLinear` and `DequantizeLinear`, whose axis may be missing where there is one scale.
pub(super) fn linear(old: &mut Old) -> Renewed {
    let operands = (old.x(0)?, old.x(1)?, old.node.input(2));
    let axis = old.node.attributes.int("axis", 1);
    let quantises = &*old.node.op == "QuantizeLinear";
    if quantises && old.graph.shape(operands.1).is_none_or(|s| s.iter().any(|d| d.fixed() != Some(1))) {
        return as_standard(old);
    }
    let integer = old.graph.dtype(operands.0).is_some_and(|d| matches!(d, DType::I8 | DType::U8 | DType::I32));
    if !quantises && !integer {
        return as_standard(old);
    }
    Ok(formulas(old, |b| {
        let y = if quantises { integers(b, b.expr(operands.0), operands.1, operands.2) } else { real(b, operands, axis) };
        vec![Some(y)]
    }))
}
