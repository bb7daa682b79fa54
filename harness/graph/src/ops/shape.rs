//! Operators that read the shape of their operand.

use super::dims::Count;
use super::{Found, Site, one};
use crate::ir::{Dim, ValueType};
use crate::tensor::DType;

/// `Shape`: the extents from `start` to `end`.
pub(super) fn shape(site: &Site) -> Found {
    let Some(x) = site.shape(0) else { return one(Some(DType::I64), Some(vec![Dim::Unknown])) };
    let rank = x.len() as i64;
    let place = |name: &str, default: i64| {
        let at = site.attributes.int(name, default);
        (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize
    };
    let (start, end) = (place("start", 0), place("end", rank));
    let extents = x.get(start..end).unwrap_or_default().to_vec();
    Site::with_extents(ValueType::fixed(DType::I64, &[extents.len()]), Some(extents))
}

/// `Size`: the number of elements.
pub(super) fn size(site: &Site) -> Found {
    let count = site.shape(0).and_then(Count::of).map(|c| vec![c.dim()]);
    Site::with_extents(ValueType::fixed(DType::I64, &[]), count)
}

/// `NonZero`: one column per element that is not 0.
pub(super) fn non_zero(site: &Site) -> Found {
    let rank = site.shape(0).map_or(Dim::Unknown, |s| Dim::Fixed(s.len().max(1)));
    one(Some(DType::I64), Some(vec![rank, Dim::Unknown]))
}
