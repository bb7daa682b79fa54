//! The same elements in another shape.

use super::dims::{Count, product, show};
use super::{Found, Inferred, Site};
use crate::ir::{Dim, Shape, ValueType};

/// `Reshape`: 0 keeps an extent, one −1 is computed, from products of names too: `[N,16,5,5]` to `[-1,400]` is `[N,400]`.
pub(super) fn reshape(site: &Site) -> Found {
    site.index(1)?;
    let rank = site.listed(1, "the target shape")?;
    let Some(wanted) = site.extents(1) else {
        return elements(site, rank.map(|r| vec![Dim::Unknown; r]));
    };
    if let Some(stated) = site.constant(1).and_then(crate::Tensor::to_ints)
        && (stated.iter().any(|&n| n < -1) || stated.iter().filter(|&&n| n == -1).count() > 1)
    {
        return Err(format!("the target {stated:?} should hold extents, 0, and at most one -1"));
    }
    let x = site.shape(0);
    let copies = site.attributes.int("allowzero", 0) == 0;
    let mut shape = Vec::with_capacity(wanted.len());
    for (i, dim) in wanted.iter().enumerate() {
        shape.push(match dim {
            Dim::Fixed(0) if copies => match x {
                Some(x) => x.get(i).cloned().ok_or_else(|| format!("the 0 at position {i} has no extent of x to copy"))?,
                None => Dim::Unknown,
            },
            dim => dim.clone(),
        });
    }
    if let Some(x) = x {
        fill(x, &mut shape)?;
    }
    elements(site, Some(shape))
}

/// Works out the only unknown extent from the number of elements, or checks that number.
fn fill(x: &[Dim], shape: &mut [Dim]) -> Result<(), String> {
    let mut holes = (0..shape.len()).filter(|&i| shape[i] == Dim::Unknown);
    let (hole, more) = (holes.next(), holes.next());
    let rest: Vec<Dim> = shape.iter().filter(|d| **d != Dim::Unknown).cloned().collect();
    let (Some(have), Some(need)) = (Count::of(x), Count::of(&rest)) else { return Ok(()) };
    let fixed = have.fixed().zip(need.fixed());
    match hole {
        None => match fixed {
            Some((have, need)) if have != need => Err(mismatch(x, shape)),
            _ => Ok(()),
        },
        Some(_) if more.is_some() => Ok(()),
        Some(hole) => {
            if fixed.is_some_and(|(have, need)| need != 0 && !have.is_multiple_of(need)) {
                return Err(mismatch(x, shape));
            }
            shape[hole] = have.divided_by(&need).map_or(Dim::Unknown, |c| c.dim());
            Ok(())
        }
    }
}

fn mismatch(x: &[Dim], shape: &[Dim]) -> String {
    format!("the elements of {} do not fill the shape {}", show(x), show(shape))
}

/// `Flatten`: two axes, split before `axis`.
pub(super) fn flatten(site: &Site) -> Found {
    let shape = match site.shape(0) {
        None => vec![Dim::Unknown; 2],
        Some(x) => {
            let axis = site.attributes.int("axis", 1);
            // the split may also lie behind the last axis
            let at = if axis == x.len() as i64 { x.len() } else { super::site::front(axis, x.len())? };
            vec![product(&x[..at]), product(&x[at..])]
        }
    };
    elements(site, Some(shape))
}

/// `Squeeze`: drops axes of extent 1; without axes, all of them.
pub(super) fn squeeze(site: &Site) -> Found {
    site.no_attribute("axes")?;
    let Some(x) = site.shape(0) else { return elements(site, None) };
    let drop: Vec<usize> = match (site.has(1), site.ints(1)) {
        (true, None) => return elements(site, None),
        (true, Some(axes)) => Site::axes(&axes, x.len())?,
        (false, _) if x.iter().any(|d| d.fixed().is_none()) => return elements(site, None),
        (false, _) => (0..x.len()).filter(|&i| x[i] == Dim::Fixed(1)).collect(),
    };
    if let Some(&axis) = drop.iter().find(|&&a| x[a].fixed().is_some_and(|n| n != 1)) {
        return Err(format!("the axis {axis} of {} is not 1", show(x)));
    }
    elements(site, Some((0..x.len()).filter(|i| !drop.contains(i)).map(|i| x[i].clone()).collect()))
}

/// `Unsqueeze`: new axes of extent 1, counted in the result.
pub(super) fn unsqueeze(site: &Site) -> Found {
    site.no_attribute("axes")?;
    let (Some(x), Some(axes)) = (site.shape(0), site.ints(1)) else { return elements(site, None) };
    let rank = x.len() + axes.len();
    let new = Site::axes(&axes, rank)?;
    let mut old = x.iter();
    let shape = (0..rank).map(|i| if new.contains(&i) { Dim::Fixed(1) } else { old.next().cloned().unwrap_or(Dim::Unknown) });
    elements(site, Some(shape.collect()))
}

/// The elements of x in this shape.
fn elements(site: &Site, shape: Shape) -> Found {
    let extents = site.extents(0).filter(|_| shape.as_ref().is_some_and(|s| s.len() <= 1)).map(<[Dim]>::to_vec);
    Ok(vec![Inferred { ty: ValueType { dtype: site.dtype(0), shape }, extents }])
}
