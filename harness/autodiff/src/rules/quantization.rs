//! Rules of quantisers. Rounding has the derivative 0; in its place the cotangent passes straight through, where the integers
//! have room for the number (Bengio, Léonard and Courville 2013). Between a quantiser and where its integers are floats again,
//! integers carry cotangents.

use flatscape_graph::{DType, Expr};

use crate::application::{Application, only_where};
use crate::rule::{Rule, vjp, written};

const STRAIGHT: &str = "1 through the rounding within the range of the integers, 0 outside";

pub(super) const RULES: &[Rule] = &[
    // q = clip(round(x/s) + z)         x̄ = q̄/s · [in range]        s̄ = −q̄ · x/s² · [in range]
    vjp(
        "QuantizeLinear",
        &[
            |n, ct| n.or_refuse(quantized(n, ct)),
            |n, ct| n.or_refuse(quantized(n, ct).and_then(|v| per_scale(n, -(v * n.x(0) / scale(n)?)))),
        ],
    )
    .rest_flat()
    .surrogate(STRAIGHT)
    .starts_integers(),
    // y = (q − z) · s                  q̄ = ȳ · s                   s̄ = ȳ · (q − z)
    vjp(
        "DequantizeLinear",
        &[
            |n, ct| n.or_refuse(scale(n).map(|s| ct * s)),
            |n, ct| n.or_refuse(shifted(n, ct.dtype()).and_then(|v| per_scale(n, ct * v))),
        ],
    )
    .rest_flat(),
    // q, s, z = x in 256 steps         x̄ = q̄/s, the range being that of x itself
    vjp("DynamicQuantizeLinear", &[|n, ct| ct / n.y(1)])
        .surrogate("1 through the rounding; scale and zero point as constants")
        .first_result()
        .starts_integers(),
    // sums of products of integers, as if they were floats
    written("MatMulInteger", |n| Ok(vec![operand(n, 0, 2, 1)?.matmul(operand(n, 1, 3, 0)?)])).passes_integers(),
    written("ConvInteger", |n| {
        let operands = [operand(n, 0, 2, 0)?, operand(n, 1, 3, 3)?];
        Ok(vec![n.builder().op("Conv", &operands, n.node().attributes.clone())])
    })
    .passes_integers(),
    // dequantised, multiplied, quantised
    written("QLinearMatMul", |n| {
        let y = dequantized(n, 0, -2)?.matmul(dequantized(n, 3, -1)?);
        Ok(vec![n.builder().op("QuantizeLinear", &[y, n.x(6), n.x(7)], flatscape_graph::Attributes::none())])
    })
    .surrogate(STRAIGHT)
    .starts_integers(),
    written("QLinearConv", convolution).surrogate(STRAIGHT).starts_integers(),
];

/// The smallest and the largest number of an integer type, as it quantises.
fn range(dtype: DType) -> Result<(f64, f64), String> {
    match dtype {
        DType::U8 => Ok((0.0, 255.0)),
        DType::I8 => Ok((-128.0, 127.0)),
        other => Err(format!("it quantises to {}", other.name())),
    }
}

/// q̄/s where the integers have room.
fn quantized<'b>(n: &Application<'b>, ct: Expr<'b>) -> Result<Expr<'b>, String> {
    let (low, high) = range(n.y(0).dtype())?;
    let s = scale(n)?;
    let rounded = (n.x(0) / s).unary("Round");
    let q = match n.optional(2) {
        Some(z) => rounded + along(n, z)?.cast(s.dtype()),
        None => rounded,
    };
    Ok(only_where(q.at_least(low).and(q.at_most(high)), ct) / s)
}

fn scale<'b>(n: &Application<'b>) -> Result<Expr<'b>, String> {
    along(n, n.x(1))
}

/// A scale or zero point, one number or one for each place of the axis, so that it broadcasts against x.
fn along<'b>(n: &Application<'b>, v: Expr<'b>) -> Result<Expr<'b>, String> {
    match v.rank().ok_or("the rank of its scale is unknown")? {
        0 => Ok(v),
        1 => {
            let rank = n.rank(0)?;
            if v.dims().is_some_and(|d| d[0].fixed() == Some(1)) {
                return Ok(v);
            }
            let axis = n.axis(n.int("axis", 1), rank)?;
            Ok(v.unsqueeze(&(1..(rank - axis) as i64).collect::<Vec<_>>()))
        }
        _ => Err("it has a scale for each block".to_owned()),
    }
}

/// The sum over what one scale scales.
fn per_scale<'b>(n: &Application<'b>, v: Expr<'b>) -> Result<Expr<'b>, String> {
    let (rank, s) = (n.rank(0)?, n.x(1));
    let one = s.rank() == Some(0) || s.dims().is_some_and(|d| d[0].fixed() == Some(1));
    let axis = if one { rank } else { n.axis(n.int("axis", 1), rank)? };
    let axes: Vec<i64> = (0..rank).filter(|&a| a != axis).map(|a| a as i64).collect();
    Ok(v.sum(&axes, false).reshape_like(s))
}

/// x − z as floats.
fn shifted<'b>(n: &Application<'b>, to: DType) -> Result<Expr<'b>, String> {
    let x = n.x(0).cast(to);
    match n.optional(2) {
        Some(z) => Ok(x - along(n, z)?.cast(to)),
        None => Ok(x),
    }
}

/// Operand i as floats, less its zero point, which is one number or one for each row, followed by `behind` axes of extent 1.
fn operand<'b>(n: &Application<'b>, i: usize, zero_point: usize, behind: usize) -> Result<Expr<'b>, String> {
    let to = n.arriving();
    let x = n.x(i).cast(to);
    let Some(z) = n.optional(zero_point) else { return Ok(x) };
    let single = z.rank() == Some(0) || z.dims().is_some_and(|d| d.len() == 1 && d[0].fixed() == Some(1));
    let behind = if behind == 3 { n.rank(i)? - 1 } else { behind };
    let z = if single || z.rank() != Some(1) { z } else { z.unsqueeze(&(1..=behind as i64).collect::<Vec<_>>()) };
    Ok(x - z.cast(to))
}

/// Operand i with the scale and zero point behind it, along an axis if they are several.
fn dequantized<'b>(n: &Application<'b>, i: usize, axis: i64) -> Result<Expr<'b>, String> {
    let axis = n.axis(axis, n.rank(i)?)? as i64;
    let vector = |v: Expr<'b>| if v.dims().is_some_and(|d| d.len() == 1 && d[0].fixed() == Some(1)) { v.reshape(&[]) } else { v };
    let operands = [n.x(i), vector(n.x(i + 1)), vector(n.x(i + 2))];
    Ok(n.builder().op("DequantizeLinear", &operands, [("axis", axis.into())]))
}

/// x, its scale and zero point; w, its scale and zero point, one or one for each output channel; those of y; a bias in units of
/// both scales.
fn convolution<'b>(n: &Application<'b>) -> Result<Vec<Expr<'b>>, String> {
    let mut operands = vec![dequantized(n, 0, 1)?, dequantized(n, 3, 0)?];
    if let Some(bias) = n.optional(8) {
        let scale = n.x(1) * n.x(4);
        operands.push(bias.cast(scale.dtype()) * scale);
    }
    let y = n.builder().op("Conv", &operands, n.node().attributes.clone());
    Ok(vec![n.builder().op("QuantizeLinear", &[y, n.x(6), n.x(7)], flatscape_graph::Attributes::none())])
}
