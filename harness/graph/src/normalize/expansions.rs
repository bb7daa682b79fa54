//! Operators that have no opset-18 form of their own, written as formulas.

use super::upgrade::{Old, Renewed};
use crate::expr::{Builder, Expr};
use crate::ir::{Attribute, Attributes, Dim};
use crate::ops::Window;
use crate::tensor::Tensor;

/// `Softmax` before opset 13: x is flattened to a matrix at the axis, and the rows are normalised.
pub(super) fn softmax_of_flattened(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let axis = old.node.attributes.int("axis", 1);
    old.node.attributes.0.insert("axis".into(), Attribute::Int(axis));
    if let Some(shape) = old.graph.shape(x) {
        let rank = shape.len() as i64;
        let front = if axis < 0 { axis + rank } else { axis };
        if shape.iter().skip(front.max(0) as usize + 1).all(|d| d.fixed() == Some(1)) {
            return Ok(None);
        }
    }
    let op = old.node.op.clone();
    Ok(formula(old, |b| {
        let x = b.expr(x);
        let rows = b.op("Flatten", &[x], [("axis", axis.into())]);
        let rows = b.op(&op, &[rows], [("axis", 1i64.into())]);
        b.op("Reshape", &[rows, x.shape()], Attributes::none())
    }))
}

/// `Gelu`: `x/2·(1 + erf(x/√2))`, or its approximation by tanh.
pub(super) fn gelu(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let by_tanh = old.node.attributes.string("approximate", "none") == "tanh";
    Ok(formula(old, |b| {
        let x = b.expr(x);
        let bend = if by_tanh {
            ((x * x * x * 0.044715 + x) * (2.0 / std::f64::consts::PI).sqrt()).tanh()
        } else {
            (x * std::f64::consts::FRAC_1_SQRT_2).erf()
        };
        x * 0.5 * (bend + 1.0)
    }))
}

/// `Swish`: `x·σ(αx)`.
pub(super) fn swish(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let alpha = f64::from(old.node.attributes.float("alpha", 1.0));
    Ok(formula(old, |b| {
        let x = b.expr(x);
        x * if alpha == 1.0 { x.sigmoid() } else { (x * alpha).sigmoid() }
    }))
}

/// `RMSNormalization`: `x/√(mean(x²) + ε)·scale` over the axes from `axis` on.
pub(super) fn rms_norm(old: &mut Old) -> Renewed {
    let (x, scale) = (old.x(0)?, old.x(1)?);
    let rank = old.graph.rank(x).ok_or("the rank of x is not known")? as i64;
    let axis = old.node.attributes.int("axis", -1);
    let first = if axis < 0 { axis + rank } else { axis };
    let epsilon = f64::from(old.node.attributes.float("epsilon", 1e-5));
    Ok(formula(old, |b| {
        let (x, scale) = (b.expr(x), b.expr(scale));
        let axes: Vec<i64> = (first..rank).collect();
        x / ((x * x).mean(&axes, true) + epsilon).sqrt() * scale
    }))
}

/// `GroupNormalization` at opset 18: one scale and bias per group.
pub(super) fn group_norm_by_group(old: &mut Old) -> Renewed {
    group_norm(old, |b, _, grouped, scale, bias, epsilon| {
        b.op("InstanceNormalization", &[grouped, scale, bias], [("epsilon", epsilon.into())])
    })
}

/// `GroupNormalization` from opset 21 on: one scale and bias per channel.
pub(super) fn group_norm_by_channel(old: &mut Old) -> Renewed {
    let rank = old.graph.rank(old.x(0)?).ok_or("the rank of x is not known")? as i64;
    let (scale, bias) = (old.x(1)?, old.x(2)?);
    let plain = group_norm(old, |b, groups, grouped, scale, _, epsilon| {
        let one = |value: f64| b.constant(Tensor::full(scale.dtype(), &[groups], value));
        b.op("InstanceNormalization", &[grouped, one(1.0), one(0.0)], [("epsilon", epsilon.into())])
    })?;
    let y = plain.and_then(|results| results[0]).ok_or("it has no result")?;
    Ok(formula(old, |b| {
        let spread = |v| {
            let axes: Vec<i64> = (1..rank - 1).collect();
            b.expr(v).unsqueeze(&axes)
        };
        b.expr(y) * spread(scale) + spread(bias)
    }))
}

/// `AveragePool` with dilations: the sum of the taps by a convolution with ones, over the number of taps inside.
pub(super) fn dilated_average(old: &mut Old) -> Renewed {
    if old.node.attributes.ints("dilations").is_none_or(|d| d.iter().all(|&d| d == 1)) {
        old.node.attributes.0.remove("dilations");
        return Ok(None);
    }
    let x = old.x(0)?;
    let unknown = "it has dilations, and the extents of x but the batch are not known";
    let dims: Vec<usize> = old.graph.shape(x).and_then(|s| s.get(1..)?.iter().map(Dim::fixed).collect()).ok_or(unknown)?;
    let (&channels, spatial) = dims.split_first().ok_or(unknown)?;
    let attributes = &old.node.attributes;
    let kernel: Option<Vec<usize>> =
        attributes.ints("kernel_shape").and_then(|k| k.iter().map(|&k| usize::try_from(k).ok()).collect());
    let kernel = kernel.filter(|k| k.len() == spatial.len()).ok_or("its kernel_shape does not fit x")?;
    let window = Window::read(attributes, &kernel)?;
    let extents: Vec<Dim> = spatial.iter().map(|&n| Dim::Fixed(n)).collect();
    let (before, mut after) = window.pads(&extents).ok_or(unknown)?;
    let (ceil, padded) = (attributes.int("ceil_mode", 0) != 0, attributes.int("count_include_pad", 0) != 0);
    let (mut shape, mut taps) = (vec![1, 1], vec![1.0]);
    for (axis, &n) in spatial.iter().enumerate() {
        let count = window.positions(axis, &extents[axis], ceil)?.fixed().ok_or(unknown)?;
        let inside = if padded { 0..before[axis] + n + after[axis] } else { before[axis]..before[axis] + n };
        let at = |position: usize| (0..kernel[axis]).map(move |tap| (position, tap));
        let tap = |(position, tap): (usize, usize)| position * window.strides[axis] + tap * window.dilations[axis];
        let counts: Vec<usize> = (0..count).map(|p| at(p).map(tap).filter(|t| inside.contains(t)).count().max(1)).collect();
        taps = taps.iter().flat_map(|t| counts.iter().map(move |&c| t * c as f64)).collect();
        shape.push(count);
        // with ceil_mode the last window may reach beyond the stated padding
        let reach = (count - 1) * window.strides[axis] + window.span(axis);
        after[axis] = after[axis].max(reach.saturating_sub(before[axis] + n));
    }
    let taps = Tensor::new(&shape, taps).ok_or("its windows could not be counted")?;
    let list = |sizes: &[usize]| Attribute::Ints(sizes.iter().map(|&n| n as i64).collect());
    let pads = list(&[before, after].concat());
    Ok(formula(old, |b| {
        let x = b.expr(x);
        let ones = b.constant(Tensor::full(x.dtype(), &[&[channels, 1], &kernel[..]].concat(), 1.0));
        let sum = [("group", (channels as i64).into()), ("strides", list(&window.strides)), ("pads", pads)];
        let sum = b.op("Conv", &[x, ones], Attributes::from(sum).with("dilations", list(&window.dilations)));
        sum / b.constant(taps.cast(x.dtype()))
    }))
}

type Grouped = for<'b> fn(&'b Builder, usize, Expr<'b>, Expr<'b>, Expr<'b>, f32) -> Expr<'b>;

/// x as `[N, groups, rest]`, normalised, and back.
fn group_norm(old: &mut Old, normalise: Grouped) -> Renewed {
    let (x, scale, bias) = (old.x(0)?, old.x(1)?, old.x(2)?);
    let groups = old.node.attributes.int("num_groups", 0);
    let count = usize::try_from(groups).ok().filter(|&g| g > 0).ok_or_else(|| format!("num_groups is {groups}"))?;
    let epsilon = old.node.attributes.float("epsilon", 1e-5);
    Ok(formula(old, |b| {
        let x = b.expr(x);
        let y = normalise(b, count, x.reshape(&[0, groups, -1]), b.expr(scale), b.expr(bias), epsilon);
        y.reshape_like(x)
    }))
}

/// The results of a node that a formula replaces.
pub(super) fn formula(old: &mut Old, write: impl for<'b> FnOnce(&'b Builder) -> Expr<'b>) -> Option<Vec<Option<crate::ValueId>>> {
    let builder = Builder::new(std::mem::take(old.graph));
    let y = write(&builder).id;
    *old.graph = builder.into_graph();
    Some(vec![Some(y)])
}
