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

/// `Celu`, which not every runtime computes right: `α·elu(x/α)`.
pub(super) fn celu(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let alpha = f64::from(old.node.attributes.float("alpha", 1.0));
    if alpha == 1.0 {
        old.node.op = "Elu".into();
        return Ok(None);
    }
    Ok(formula(old, |b| (b.expr(x) * (1.0 / alpha)).unary("Elu") * alpha))
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

/// `LRN` over an even number of channels, which runtimes refuse: `x/(κ + α/n·Σx²)^β` with the sum as a convolution.
pub(super) fn even_response(old: &mut Old) -> Renewed {
    let size = usize::try_from(old.node.attributes.int("size", 1)).map_err(|_| "its size is negative")?;
    if !size.is_multiple_of(2) || size == 0 {
        return Ok(None);
    }
    let x = old.x(0)?;
    let shape = old.graph.shape(x).filter(|s| s.len() > 2).ok_or("the rank of x is not known")?;
    let channels = shape[1].fixed().ok_or("the number of channels is not known")?;
    let mut extents = vec![1; shape.len()];
    extents[..2].fill(channels);
    let (back, on) = ((size - 1) / 2, size / 2);
    let near = |to: usize, from: usize| if from + back >= to && from <= to + on { 1.0 } else { 0.0 };
    let band = (0..channels * channels).map(|at| near(at / channels, at % channels)).collect();
    let band = Tensor::new::<f64>(&extents, band).ok_or("its channels could not be counted")?;
    let number = |name: &str, default: f32| f64::from(old.node.attributes.float(name, default));
    let (alpha, beta, bias) = (number("alpha", 1e-4), number("beta", 0.75), number("bias", 1.0));
    Ok(formula(old, |b| {
        let x = b.expr(x);
        let squares = b.op("Conv", &[x * x, b.constant(band.cast(x.dtype()))], Attributes::none());
        x / (squares * (alpha / size as f64) + bias).pow(beta)
    }))
}

/// `CenterCropPad`: cuts or pads each axis on both sides, the odd element at the end.
pub(super) fn center_crop_pad(old: &mut Old) -> Renewed {
    let (x, wanted) = (old.x(0)?, old.x(1)?);
    let extents = old.graph.shape(x).ok_or("the rank of x is not known")?.to_vec();
    let wanted = old.graph.value(wanted).extents.clone().ok_or("its shape is computed")?;
    let axes = match old.node.attributes.ints("axes") {
        Some(axes) => axes.to_vec(),
        None => (0..extents.len() as i64).collect(),
    };
    let rank = extents.len() as i64;
    let (mut cut, mut pads) = (Vec::new(), vec![0; 2 * extents.len()]);
    for (&axis, wanted) in axes.iter().zip(&wanted) {
        let axis = if axis < 0 { axis + rank } else { axis } as usize;
        let extent = extents.get(axis).ok_or("it names an axis that x does not have")?;
        if extent.same(wanted) {
            continue;
        }
        let known = extent.fixed().zip(wanted.fixed()).ok_or("an extent is not known")?;
        let (have, want) = (known.0 as i64, known.1 as i64);
        if have > want {
            let start = (have - want) / 2;
            cut.push((axis as i64, start, start + want));
        } else {
            pads[axis] = (want - have) / 2;
            pads[axis + extents.len()] = want - have - pads[axis];
        }
    }
    Ok(formula(old, |b| {
        let column = |pick: fn(&(i64, i64, i64)) -> i64| cut.iter().map(pick).collect::<Vec<i64>>();
        let x = b.expr(x);
        let cropped = match cut.is_empty() {
            true => x,
            false => x.slice(&column(|c| c.1), &column(|c| c.2), &column(|c| c.0), &vec![1; cut.len()]),
        };
        if pads.iter().all(|&p| p == 0) && cut.is_empty() { x.unary("Identity") } else { cropped.pad_zeros(&pads) }
    }))
}

/// `AffineGrid`: the places of the pixels, times the matrix of each sample.
pub(super) fn affine_grid(old: &mut Old) -> Renewed {
    let (theta, size) = (old.x(0)?, old.x(1)?);
    let size = old.graph.value(size).extents.clone().ok_or("its size is computed")?;
    let image: Option<Vec<usize>> = size.get(2..).and_then(|s| s.iter().map(Dim::fixed).collect());
    let image = image.ok_or("the extents of its image are not known")?;
    let aligned = old.node.attributes.int("align_corners", 0) != 0;
    let place = |at: usize, extent: usize| match (aligned, extent as f64) {
        (true, n) if n > 1.0 => 2.0 * at as f64 / (n - 1.0) - 1.0,
        (true, _) => -1.0,
        (false, n) => (2.0 * at as f64 + 1.0) / n - 1.0,
    };
    let count: usize = image.iter().product();
    // the last axis of the image is the first coordinate
    let coordinates = (0..count).flat_map(|at| {
        let mut rest = at;
        let reversed = image.iter().rev().map(move |&extent| {
            let here = rest % extent;
            rest /= extent;
            place(here, extent)
        });
        reversed.chain([1.0])
    });
    let places = Tensor::new::<f64>(&[count, image.len() + 1], coordinates.collect()).ok_or("its places could not be made")?;
    Ok(formula(old, |b| {
        let theta = b.expr(theta);
        let product = b.constant(places.cast(theta.dtype())).matmul(theta.transpose(&[0, 2, 1]));
        let shape: Vec<i64> = [0].into_iter().chain(image.iter().map(|&n| n as i64)).chain([image.len() as i64]).collect();
        product.reshape(&shape)
    }))
}

/// `CumProd`: row i of a table holds the factors of element i, and ones.
pub(super) fn running_product(old: &mut Old) -> Renewed {
    let (x, axis) = (old.x(0)?, old.x(1)?);
    let extents = old.graph.shape(x).ok_or("the rank of x is not known")?.to_vec();
    let axis =
        old.graph.constant(axis).and_then(|a| a.to_ints()).and_then(|a| a.first().copied()).ok_or("its axis is computed")?;
    let rank = extents.len() as i64;
    let axis = if axis < 0 { axis + rank } else { axis };
    let count = usize::try_from(axis).ok().and_then(|a| extents.get(a)?.fixed()).ok_or("the extent of its axis is not known")?;
    let flag = |name: &str| old.node.attributes.int(name, 0) != 0;
    let (exclusive, reverse) = (flag("exclusive"), flag("reverse"));
    let takes = |i: usize, j: usize| if reverse { j > i } else { j < i } || i == j && !exclusive;
    let table = (0..count * count).map(|at| takes(at / count, at % count)).collect();
    let table = Tensor::new::<bool>(&[count, count], table).ok_or("its table could not be made")?;
    Ok(formula(old, |b| {
        let mut perm: Vec<i64> = (0..rank).collect();
        perm.swap(axis as usize, rank as usize - 1);
        let lines = b.expr(x).transpose(&perm).unsqueeze(&[-2]);
        let factors = b.constant(table).select(lines, lines.scalar(1.0));
        factors.reduce("ReduceProd", &[-1], false).transpose(&perm)
    }))
}

/// `Pad` that wraps around: along each axis a `Gather` of the elements by index.
pub(super) fn wrapping_pad(old: &mut Old) -> Renewed {
    if old.node.attributes.string("mode", "constant") != "wrap" {
        return Ok(None);
    }
    let x = old.x(0)?;
    let ints = |i: usize| old.node.input(i).and_then(|v| old.graph.constant(v)).and_then(|t| t.to_ints());
    let extents = old.graph.shape(x).ok_or("the rank of x is not known")?.to_vec();
    let rank = extents.len() as i64;
    let axes = match old.node.input(3) {
        Some(_) => ints(3).ok_or("it wraps axes that are computed")?,
        None => (0..rank).collect(),
    };
    let pads = ints(1).filter(|p| p.len() == 2 * axes.len()).ok_or("it wraps by computed amounts")?;
    let mut picks = Vec::new();
    for (at, &axis) in axes.iter().enumerate() {
        let (before, after) = (pads[at], pads[axes.len() + at]);
        if before == 0 && after == 0 {
            continue;
        }
        let axis = if axis < 0 { axis + rank } else { axis };
        let extent = usize::try_from(axis).ok().and_then(|a| extents.get(a)?.fixed()).filter(|&n| n > 0);
        let extent = extent.ok_or("the extent of an axis that it wraps is not known")? as i64;
        // what negative amounts cut off does not come back
        let (first, kept) = ((-before).max(0), extent + before.min(0) + after.min(0));
        if kept <= 0 {
            return Err("its negative amounts leave nothing of an axis".into());
        }
        let wrapped = -before.max(0)..kept + after.max(0);
        picks.push((axis, wrapped.map(|i| first + i.rem_euclid(kept)).collect::<Vec<i64>>()));
    }
    Ok(formula(old, |b| picks.iter().fold(b.expr(x).unary("Identity"), |x, (axis, picks)| x.gather(b.ints(picks), *axis))))
}

/// `DequantizeLinear` with a scale for each block along an axis: `(x − z)·s`, each scale as often as its block is long.
pub(super) fn dequantized_blocks(old: &mut Old) -> Renewed {
    let (x, scale, zero) = (old.x(0)?, old.x(1)?, old.node.input(2));
    let extents = old.graph.shape(x).ok_or("the rank of x is not known")?;
    let rank = extents.len() as i64;
    let axis = old.node.attributes.int("axis", 1);
    let axis = if axis < 0 { axis + rank } else { axis };
    let extent = usize::try_from(axis).ok().and_then(|a| extents.get(a)?.fixed()).ok_or("the extent of its axis is not known")?;
    let block = old.node.attributes.int("block_size", 0).max(1);
    Ok(formula(old, |b| {
        let scale = b.expr(scale);
        let blocks = b.ints(&(0..extent as i64).map(|i| i / block).collect::<Vec<_>>());
        let x = b.expr(x).cast(scale.dtype());
        let shifted = match zero {
            Some(zero) => x - b.expr(zero).cast(scale.dtype()).gather(blocks, axis),
            None => x,
        };
        shifted * scale.gather(blocks, axis)
    }))
}

/// The results of a node that a formula replaces.
pub(super) fn formula(old: &mut Old, write: impl for<'b> FnOnce(&'b Builder) -> Expr<'b>) -> Option<Vec<Option<crate::ValueId>>> {
    let builder = Builder::new(std::mem::take(old.graph));
    let y = write(&builder).id;
    *old.graph = builder.into_graph();
    Some(vec![Some(y)])
}
