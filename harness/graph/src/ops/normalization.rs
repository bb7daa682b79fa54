//! Normalisations.

use super::{Found, Site, dims, one, several};
use crate::ir::{Dim, Shape};

/// `BatchNormalization`: x, scale, bias, mean, variance (each `[C]`); running statistics follow in training mode.
pub(super) fn batch(site: &Site) -> Found {
    let dtype = site.float(0)?;
    let channels = per_channel(site, 1..5)?;
    several([(dtype, site.ty(0).shape), (site.dtype(3), channels.clone()), (site.dtype(4), channels)])
}

/// `InstanceNormalization`: x, scale, bias (each `[C]`).
pub(super) fn instance(site: &Site) -> Found {
    site.float(0)?;
    per_channel(site, 1..3)?;
    one(site.same_dtype(0..3)?, site.ty(0).shape)
}

/// `LayerNormalization`: the result, then mean and reciprocal deviation with the normalised axes kept as 1.
pub(super) fn layer(site: &Site) -> Found {
    let dtype = site.float(0)?;
    let mut shape = site.ty(0).shape;
    let result = shape.clone();
    if let Some(dims) = &mut shape {
        let axis = site.axis("axis", -1, dims.len())?;
        for i in 1..3 {
            if let Some(scale) = site.shape(i) {
                let together = dims::broadcast(&[dims, scale])?;
                if together.len() > dims.len() {
                    return Err(format!("operand {i} of shape {} has more axes than x", dims::show(scale)));
                }
            }
        }
        dims[axis..].fill(Dim::Fixed(1));
    }
    several([(dtype, result), (dtype, shape.clone()), (dtype, shape)])
}

/// `GroupNormalization`: like x.
pub(super) fn group(site: &Site) -> Found {
    let groups = site.attributes.int("num_groups", 0);
    let channels = site.shape(0).and_then(|x| x.get(1)).and_then(Dim::fixed);
    match usize::try_from(groups).ok().filter(|&g| g > 0) {
        None => return Err(format!("num_groups is {groups}")),
        Some(g) if channels.is_some_and(|c| !c.is_multiple_of(g)) => {
            return Err(format!("{} channels do not split into {g} groups", channels.unwrap_or(0)));
        }
        Some(_) => {}
    }
    one(site.float(0)?, site.ty(0).shape)
}

fn per_channel(site: &Site, operands: std::ops::Range<usize>) -> Result<Shape, String> {
    let mut channels = match site.shape(0) {
        Some(x) if x.len() < 2 => return Err(format!("x should be [N,C,…] and is {}", dims::show(x))),
        Some(x) => x[1].clone(),
        None => Dim::Unknown,
    };
    for i in operands {
        if let Some(p) = site.shape_of_rank(i, 1, &format!("operand {i}"))? {
            channels = dims::agree(&channels, &p[0])
                .ok_or_else(|| format!("operand {i} has {} elements for {channels} channels", p[0]))?;
        }
    }
    Ok(Some(vec![channels]))
}
