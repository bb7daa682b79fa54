//! Reading from and writing to places that indices name.

use super::dims::{agree, show};
use super::{Found, Site, one};
use crate::ir::{Dim, ValueType};

/// `Gather`: whole slices along one axis.
pub(super) fn gather(site: &Site) -> Found {
    site.index(1)?;
    let dtype = site.dtype(0);
    let Some(x) = site.shape(0) else { return one(dtype, None) };
    let axis = site.axis("axis", 0, x.len())?;
    in_range(site, &x[axis])?;
    let Some(indices) = site.shape(1) else { return one(dtype, None) };
    let shape: Vec<Dim> = x[..axis].iter().chain(indices).chain(&x[axis + 1..]).cloned().collect();
    let extents = site.extents(0).filter(|_| x.len() == 1).zip(site.ints(1)).and_then(|(e, picks)| {
        let pick = |i: i64| e.get(super::site::front(i, e.len()).ok()?).cloned();
        picks.into_iter().map(pick).collect()
    });
    Site::with_extents(ValueType { dtype, shape: Some(shape) }, extents)
}

/// `GatherElements`: one element per index; the shape of the indices.
pub(super) fn gather_elements(site: &Site) -> Found {
    site.index(1)?;
    if let Some(x) = site.shape(0) {
        let axis = site.axis("axis", 0, x.len())?;
        site.shape_of_rank(1, x.len(), "the indices")?;
        in_range(site, &x[axis])?;
    }
    one(site.dtype(0), site.ty(1).shape)
}

/// `GatherND`: the last axis of the indices addresses axes of x behind `batch_dims`.
pub(super) fn gather_nd(site: &Site) -> Found {
    let dtype = site.dtype(0);
    let (Some(x), Some(indices)) = (site.shape(0), site.shape(1)) else { return one(dtype, None) };
    if indices.is_empty() {
        return Err("the indices have no axis of places".into());
    }
    let Some((Dim::Fixed(depth), left)) = indices.split_last() else { return one(dtype, None) };
    let batch = usize::try_from(site.attributes.int("batch_dims", 0)).map_err(|_| "batch_dims is negative")?;
    let rest = batch.checked_add(*depth).and_then(|at| x.get(at..)).ok_or_else(|| too_deep(*depth, x))?;
    tuples_in_range(site, &x[batch..])?;
    one(dtype, Some(left.iter().chain(rest).cloned().collect()))
}

/// `ScatterElements`: like x; updates have the shape of the indices.
pub(super) fn scatter_elements(site: &Site) -> Found {
    site.index(1)?;
    reduction(site)?;
    let dtype = site.same_dtype([0, 2])?;
    if let Some(x) = site.shape(0) {
        let axis = site.axis("axis", 0, x.len())?;
        site.shape_of_rank(1, x.len(), "the indices")?;
        in_range(site, &x[axis])?;
    }
    if let (Some(indices), Some(updates)) = (site.shape(1), site.shape(2)) {
        let fits = indices.len() == updates.len() && indices.iter().zip(updates).all(|(i, u)| agree(i, u).is_some());
        if !fits {
            return Err(format!("the indices {} and the updates {} differ in shape", show(indices), show(updates)));
        }
    }
    one(dtype, site.ty(0).shape)
}

/// `ScatterND`: like x; updates have the shape of what `GatherND` would read.
pub(super) fn scatter_nd(site: &Site) -> Found {
    reduction(site)?;
    let dtype = site.same_dtype([0, 2])?;
    if site.shape(1).is_some_and(<[Dim]>::is_empty) {
        return Err("the indices have no axis of places".into());
    }
    if let (Some(x), Some((Dim::Fixed(depth), left))) = (site.shape(0), site.shape(1).and_then(<[Dim]>::split_last)) {
        let rest = x.get(*depth..).ok_or_else(|| too_deep(*depth, x))?;
        tuples_in_range(site, x)?;
        let wanted: Vec<Dim> = left.iter().chain(rest).cloned().collect();
        if let Some(updates) = site.shape(2) {
            let fits = wanted.len() == updates.len() && wanted.iter().zip(updates).all(|(w, u)| agree(w, u).is_some());
            if !fits {
                return Err(format!("the updates {} should have the shape {}", show(updates), show(&wanted)));
            }
        }
    }
    one(dtype, site.ty(0).shape)
}

/// `OneHot`: a new axis of `depth`; the element type of the two values.
pub(super) fn one_hot(site: &Site) -> Found {
    let dtype = site.dtype(2);
    site.at_least(1, 1, "the depth")?;
    let Some(indices) = site.shape(0) else { return one(dtype, None) };
    let axis = site.axis("axis", -1, indices.len() + 1)?;
    // the depth may be a number of any type
    let stated = site.constant(1).and_then(|t| t.to_f64().first().map(|&n| Dim::Fixed(n.max(0.0) as usize)));
    let depth = stated.or_else(|| site.extents(1)?.first().cloned()).unwrap_or(Dim::Unknown);
    let mut shape = indices.to_vec();
    shape.insert(axis, depth);
    one(dtype, Some(shape))
}

/// `Compress`: as many slices as the condition is true, which is known if it is constant.
pub(super) fn compress(site: &Site) -> Found {
    site.boolean(1)?;
    let taken = site.constant(1).map(|c| c.to_f64().iter().filter(|&&v| v != 0.0).count());
    let taken = taken.map_or(Dim::Unknown, Dim::Fixed);
    let shape = match (site.attributes.get("axis"), site.shape(0)) {
        (None, _) => Some(vec![taken]),
        (Some(_), None) => None,
        (Some(_), Some(x)) => {
            let mut shape = x.to_vec();
            shape[site.axis("axis", 0, x.len())?] = taken;
            Some(shape)
        }
    };
    one(site.dtype(0), shape)
}

/// Constant indices must lie in the axis.
fn in_range(site: &Site, extent: &Dim) -> Result<(), String> {
    let (Some(n), Some(indices)) = (extent.fixed(), site.constant(1).and_then(crate::Tensor::to_ints)) else { return Ok(()) };
    match indices.iter().find(|&&i| super::site::front(i, n).is_err()) {
        Some(i) => Err(format!("the index {i} is outside the extent {n}")),
        None => Ok(()),
    }
}

/// Constant tuples of indices, along the last axis, must address elements of x.
fn tuples_in_range(site: &Site, x: &[Dim]) -> Result<(), String> {
    let Some(indices) = site.constant(1) else { return Ok(()) };
    let (Some(&depth), Some(places)) = (indices.shape().last(), indices.to_ints()) else { return Ok(()) };
    for (place, extent) in places.chunks(depth.max(1)).flat_map(|tuple| tuple.iter().zip(x)) {
        if let Some(n) = extent.fixed().filter(|&n| super::site::front(*place, n).is_err()) {
            return Err(format!("the index {place} is outside the extent {n}"));
        }
    }
    Ok(())
}

fn reduction(site: &Site) -> Result<(), String> {
    match site.attributes.string("reduction", "none") {
        "none" | "add" | "mul" | "max" | "min" => Ok(()),
        other => Err(format!("the reduction {other:?} is not one of none, add, mul, max, min")),
    }
}

fn too_deep(depth: usize, x: &[Dim]) -> String {
    format!("indices of depth {depth} are too deep for x of shape {}", show(x))
}
