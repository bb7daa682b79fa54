//! Pooling over spatial windows and over whole images.

use super::conv::{Window, sizes};
use super::{Found, Site, dims, one, several};
use crate::ir::{Dim, Shape};
use crate::tensor::DType;

/// `MaxPool`: values, and int64 indices flat over the whole of x.
pub(super) fn max_pool(site: &Site) -> Found {
    let dtype = site.number(0)?;
    let shape = pooled(site)?;
    several([(dtype, shape.clone()), (Some(DType::I64), shape)])
}

/// `AveragePool`, `LpPool`.
pub(super) fn average_pool(site: &Site) -> Found {
    one(site.float(0)?, pooled(site)?)
}

/// `GlobalAveragePool`, `GlobalMaxPool`, `GlobalLpPool`: `[N,C,1,…]`.
pub(super) fn global(site: &Site) -> Found {
    let shape = spatial(site)?.map(|x| x[..2].iter().cloned().chain(vec![Dim::Fixed(1); x.len() - 2]).collect());
    one(site.float(0)?, shape)
}

/// `MaxUnpool`: x, indices, the shape of the result or what the window makes of x.
pub(super) fn max_unpool(site: &Site) -> Found {
    site.index(1)?;
    let dtype = site.number(0)?;
    if let Some(stated) = site.extents(2) {
        return one(dtype, Some(stated.to_vec()));
    }
    let Some(x) = spatial(site)?.filter(|_| !site.has(2)) else {
        return one(dtype, site.shape(0).map(|x| vec![Dim::Unknown; x.len()]));
    };
    let kernel = sizes(&site.attributes, "kernel_shape", x.len() - 2, 1, 1)?;
    let window = Window::read(&site.attributes, &kernel)?;
    let mut shape = x[..2].to_vec();
    for (axis, extent) in x[2..].iter().enumerate() {
        let covered = |n: usize| (n.saturating_sub(1)).saturating_mul(window.strides[axis]).saturating_add(kernel[axis]);
        let pads = window.before[axis] + window.after[axis];
        shape.push(extent.fixed().map_or(Dim::Unknown, |n| Dim::Fixed(covered(n).saturating_sub(pads))));
    }
    one(dtype, Some(shape))
}

fn pooled(site: &Site) -> Result<Shape, String> {
    let stated = site.attributes.ints("kernel_shape").ok_or("kernel_shape is missing")?;
    let kernel = sizes(&site.attributes, "kernel_shape", stated.len(), 1, 1)?;
    let window = Window::read(&site.attributes, &kernel)?;
    let Some(x) = spatial(site)? else { return Ok(None) };
    if x.len() != kernel.len() + 2 {
        return Err(format!("kernel_shape {kernel:?} does not fit x of shape {}", dims::show(x)));
    }
    if let Some(axis) = (0..kernel.len()).find(|&a| window.before[a].max(window.after[a]) >= window.span(a)) {
        return Err(format!("the padding of spatial axis {axis} is as large as the kernel"));
    }
    let ceil = site.attributes.int("ceil_mode", 0) != 0;
    let mut shape = x[..2].to_vec();
    for (axis, extent) in x[2..].iter().enumerate() {
        shape.push(window.positions(axis, extent, ceil)?);
    }
    Ok(Some(shape))
}

fn spatial<'g>(site: &Site<'g>) -> Result<Option<&'g [Dim]>, String> {
    match site.shape(0) {
        Some(x) if x.len() < 3 => Err(format!("x should be [N,C,…] with spatial axes and is {}", dims::show(x))),
        shape => Ok(shape),
    }
}
