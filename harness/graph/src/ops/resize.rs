//! `Resize` and sampling at stated places.

use super::{Found, Site, one};
use crate::ir::Dim;

/// `Resize`: x, region, scales or sizes; `axes` may name which.
pub(super) fn resize(site: &Site) -> Found {
    let dtype = site.dtype(0);
    site.at_least(3, 1, "a size")?;
    let Some(x) = site.shape(0) else { return one(dtype, None) };
    let axes = match site.attributes.ints("axes") {
        Some(axes) => Site::axes(axes, x.len())?,
        None => (0..x.len()).collect(),
    };
    let mut shape = x.to_vec();
    let policy = site.attributes.string("keep_aspect_ratio_policy", "stretch");
    if policy != "stretch" {
        let bounds = site.extents(3).filter(|bounds| bounds.len() == axes.len());
        let ratio = |(&axis, bound): (&usize, &Dim)| Some(bound.fixed()? as f64 / x[axis].fixed()? as f64);
        let ratios: Option<Vec<f64>> = bounds.and_then(|bounds| axes.iter().zip(bounds).map(ratio).collect());
        let larger = policy == "not_smaller";
        let scale = ratios.and_then(|r| r.into_iter().reduce(if larger { f64::max } else { f64::min }));
        let scaled = |n: usize| scale.map(|scale| (scale * n as f64 + 0.5).floor() as usize);
        axes.iter().for_each(|&axis| shape[axis] = x[axis].fixed().and_then(scaled).map_or(Dim::Unknown, Dim::Fixed));
        return one(dtype, Some(shape));
    }
    let scales = site.constant(2).map(crate::Tensor::to_f64).filter(|s| !s.is_empty());
    match (scales, site.extents(3)) {
        (Some(scales), _) => {
            if scales.len() != axes.len() {
                return Err(format!("{} scales for {} axes", scales.len(), axes.len()));
            }
            for (&axis, scale) in axes.iter().zip(scales) {
                shape[axis] = match &x[axis] {
                    _ if scale.is_nan() || scale <= 0.0 => return Err(format!("the scale {scale} is not positive")),
                    dim if scale == 1.0 => dim.clone(),
                    Dim::Fixed(n) => Dim::Fixed((*n as f64 * scale).floor() as usize),
                    _ => Dim::Unknown,
                };
            }
        }
        (None, Some(sizes)) => {
            if sizes.len() != axes.len() {
                return Err(format!("{} sizes for {} axes", sizes.len(), axes.len()));
            }
            for (&axis, size) in axes.iter().zip(sizes) {
                shape[axis] = size.clone();
            }
        }
        (None, None) => axes.iter().for_each(|&axis| shape[axis] = Dim::Unknown),
    }
    one(dtype, Some(shape))
}

/// `GridSample`: x `[N,C,H,W]`, grid `[N,H',W',2]`, result `[N,C,H',W']`.
pub(super) fn grid_sample(site: &Site) -> Found {
    let (x, grid) = (site.shape(0), site.shape(1));
    let shape = match (x, grid) {
        (Some(x), Some(grid)) if x.len() == grid.len() && x.len() > 2 => {
            Some(x[..2].iter().chain(&grid[1..grid.len() - 1]).cloned().collect())
        }
        (Some(_), Some(_)) => return Err("x should be [N,C,H,W] and the grid [N,H',W',2]".into()),
        _ => None,
    };
    one(site.float(0)?, shape)
}
