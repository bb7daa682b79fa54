//! Reductions over axes, and the positions of extremes.

use super::{Found, Site, one};
use crate::ir::{Dim, Shape};
use crate::tensor::DType;

/// `ReduceSum`, `ReduceMax`, …: the axes are a constant operand; without them all axes are reduced.
pub(super) fn reduce(site: &Site) -> Found {
    site.no_attribute("axes")?;
    let dtype = site.number(0)?;
    let keep = site.attributes.int("keepdims", 1) != 0;
    let Some(shape) = site.shape(0) else { return one(dtype, None) };
    let axes = match (site.has(1), site.ints(1)) {
        (true, None) => return one(dtype, keep.then(|| vec![Dim::Unknown; shape.len()])),
        (_, axes) => axes.unwrap_or_default(),
    };
    if axes.is_empty() && site.attributes.int("noop_with_empty_axes", 0) != 0 {
        return one(dtype, site.ty(0).shape);
    }
    let axes = if axes.is_empty() { (0..shape.len()).collect() } else { Site::axes(&axes, shape.len())? };
    one(dtype, Some(reduced(shape, &axes, keep)))
}

/// `ArgMax`, `ArgMin`: positions along one axis.
pub(super) fn argument(site: &Site) -> Found {
    site.number(0)?;
    let shape: Shape = match site.shape(0) {
        None => None,
        Some(shape) => {
            let axis = site.axis("axis", 0, shape.len())?;
            if shape[axis].fixed() == Some(0) {
                return Err(format!("the axis {axis} is empty"));
            }
            Some(reduced(shape, &[axis], site.attributes.int("keepdims", 1) != 0))
        }
    };
    one(Some(DType::I64), shape)
}

fn reduced(shape: &[Dim], axes: &[usize], keep: bool) -> Vec<Dim> {
    let dims = shape.iter().enumerate();
    if keep {
        dims.map(|(i, d)| if axes.contains(&i) { Dim::Fixed(1) } else { d.clone() }).collect()
    } else {
        dims.filter(|(i, _)| !axes.contains(i)).map(|(_, d)| d.clone()).collect()
    }
}
