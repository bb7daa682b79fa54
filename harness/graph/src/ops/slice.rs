//! `Slice`, and the arithmetic of starts, ends and steps that its evaluation shares.

use super::{Found, Site};
use crate::ir::{Dim, ValueType};

/// `Slice`: starts, ends, axes, steps are operands.
pub(super) fn slice(site: &Site) -> Found {
    site.no_attribute("starts")?;
    let dtype = site.dtype(0);
    let Some(x) = site.shape(0) else { return super::one(dtype, None) };
    let axes = if site.has(3) { site.ints(3) } else { count(site)?.map(|n| (0..n as i64).collect()) };
    let Some(axes) = axes else { return super::one(dtype, Some(vec![Dim::Unknown; x.len()])) };
    let axes = Site::axes(&axes, x.len())?;
    let bound = |operand: usize, what: &str| match ends_of(site, operand) {
        Some(list) if list.len() != axes.len() => Err(format!("{} {what} for {} axes", list.len(), axes.len())),
        Some(list) => Ok(list),
        None => Ok(vec![Bound::Unknown; axes.len()]),
    };
    let (starts, ends) = (bound(1, "starts")?, bound(2, "ends")?);
    let steps = if site.has(4) { bound(4, "steps")? } else { vec![Bound::Fixed(1); axes.len()] };
    let mut shape = x.to_vec();
    for (k, &axis) in axes.iter().enumerate() {
        if steps[k] == Bound::Fixed(0) {
            return Err("a step is 0".into());
        }
        shape[axis] = length(&x[axis], &starts[k], &ends[k], &steps[k]);
    }
    let extents = site.extents(0).and_then(|e| match (&starts[..], &ends[..], &steps[..]) {
        ([Bound::Fixed(s)], [Bound::Fixed(t)], [Bound::Fixed(step)]) => {
            let (first, count) = positions(e.len(), *s, *t, *step);
            Some((0..count).map(|i| e[(first as i64 + i as i64 * step) as usize].clone()).collect())
        }
        _ => None,
    });
    Site::with_extents(ValueType { dtype, shape: Some(shape) }, extents)
}

/// A start, an end or a step as far as it is known.
#[derive(Clone, Debug, PartialEq)]
enum Bound {
    Fixed(i64),
    Named(Dim),
    Unknown,
}

fn ends_of(site: &Site, operand: usize) -> Option<Vec<Bound>> {
    if let Some(ints) = site.ints(operand) {
        return Some(ints.into_iter().map(Bound::Fixed).collect());
    }
    let bound = |d: &Dim| match d {
        Dim::Fixed(n) => i64::try_from(*n).map_or(Bound::Unknown, Bound::Fixed),
        Dim::Symbol(_) => Bound::Named(d.clone()),
        Dim::Unknown => Bound::Unknown,
    };
    Some(site.extents(operand)?.iter().map(bound).collect())
}

fn count(site: &Site) -> Result<Option<usize>, String> {
    Ok(site.listed(1, "the list of starts")?.or(site.listed(2, "the list of ends")?))
}

/// The extent that is left; of a named extent, which is at least 1, what every value of the name leaves.
fn length(extent: &Dim, start: &Bound, end: &Bound, step: &Bound) -> Dim {
    const FAR: i64 = i32::MAX as i64;
    const BACK: i64 = -FAR;
    match (extent, start, end, step) {
        (Dim::Fixed(n), Bound::Fixed(s), Bound::Fixed(e), Bound::Fixed(step)) => Dim::Fixed(positions(*n, *s, *e, *step).1),
        (_, Bound::Fixed(0), Bound::Fixed(FAR..), Bound::Fixed(1)) => extent.clone(),
        (_, Bound::Fixed(-1) | Bound::Fixed(FAR..), Bound::Fixed(..=BACK), Bound::Fixed(-1)) => extent.clone(),
        (_, Bound::Fixed(0), Bound::Named(name), Bound::Fixed(1)) if extent.same(name) => extent.clone(),
        (Dim::Symbol(_), Bound::Fixed(0), Bound::Fixed(1), Bound::Fixed(1)) => Dim::Fixed(1),
        (Dim::Symbol(_), Bound::Fixed(-1), Bound::Fixed(FAR..), Bound::Fixed(1)) => Dim::Fixed(1),
        _ => Dim::Unknown,
    }
}

/// The first position and the number of positions of a slice of an axis of `n` elements. `step` is not 0.
pub(crate) fn positions(n: usize, start: i64, end: i64, step: i64) -> (usize, usize) {
    let n = i64::try_from(n).unwrap_or(i64::MAX);
    if n == 0 {
        return (0, 0);
    }
    let place = |at: i64, low: i64, high: i64| (if at < 0 { at.saturating_add(n) } else { at }).clamp(low, high);
    if step > 0 {
        let (start, end) = (place(start, 0, n), place(end, 0, n));
        (start as usize, (end - start).max(0).unsigned_abs().div_ceil(step.unsigned_abs()) as usize)
    } else {
        let (start, end) = (place(start, 0, n - 1), place(end, -1, n - 1));
        (start.max(0) as usize, (start - end).max(0).unsigned_abs().div_ceil(step.unsigned_abs()) as usize)
    }
}
