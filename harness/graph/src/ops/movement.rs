//! Elements in other places: transposition, joining, cutting, padding, rearranging blocks.

use super::dims::{self, agree, product, show};
use super::{Found, Site, one, several};
use crate::ir::{Dim, ValueType};
use crate::tensor::DType;

/// `Transpose`: without a permutation the axes are reversed.
pub(super) fn transpose(site: &Site) -> Found {
    let perm = site.attributes.ints("perm");
    let Some(x) = site.shape(0) else { return one(site.dtype(0), perm.map(|p| vec![Dim::Unknown; p.len()])) };
    let order: Vec<usize> = match perm {
        None => (0..x.len()).rev().collect(),
        Some(perm) => Site::axes(perm, x.len())
            .ok()
            .filter(|o| o.len() == x.len() && perm.iter().all(|&p| p >= 0))
            .ok_or_else(|| format!("perm {perm:?} is not a permutation of the {} axes of x", x.len()))?,
    };
    one(site.dtype(0), Some(order.iter().map(|&i| x[i].clone()).collect()))
}

/// `Concat` along an axis.
pub(super) fn concat(site: &Site) -> Found {
    let count = site.inputs.len();
    let dtype = site.same_dtype(0..count)?;
    let known: Vec<&[Dim]> = (0..count).filter_map(|i| site.shape(i)).collect();
    let Some(first) = known.first() else { return one(dtype, None) };
    let axis = match site.attributes.get("axis") {
        None => return Err("it has no axis".into()),
        Some(_) => site.axis("axis", 0, first.len())?,
    };
    let mut shape = first.to_vec();
    for other in &known[1..] {
        if other.len() != shape.len() {
            return Err(format!("{} and {} differ in rank", show(first), show(other)));
        }
        for (i, (into, dim)) in shape.iter_mut().zip(*other).enumerate() {
            if i == axis {
                *into = dims::sum(into, dim);
            } else {
                *into = agree(into, dim)
                    .ok_or_else(|| format!("{} and {} differ outside the axis {axis}", show(first), show(other)))?;
            }
        }
    }
    if known.len() < count {
        shape[axis] = Dim::Unknown;
    }
    let parts: Option<Vec<&[Dim]>> = (0..count).map(|i| site.extents(i)).collect();
    let extents = parts.filter(|_| shape.len() == 1).map(|parts| parts.concat());
    Site::with_extents(ValueType { dtype, shape: Some(shape) }, extents)
}

/// `Split`: by stated sizes, or into `num_outputs` parts of which the last may be smaller.
pub(super) fn split(site: &Site) -> Found {
    let (dtype, parts) = (site.dtype(0), site.outputs.len());
    site.no_attribute("split")?;
    site.at_least(1, 0, "the size of a part")?;
    let Some(x) = site.shape(0) else { return several(vec![(dtype, None); parts]) };
    let axis = site.axis("axis", 0, x.len())?;
    let sizes: Vec<Dim> = match (site.has(1), site.extents(1), x[axis].fixed()) {
        (true, Some(sizes), total) => {
            let whole: Option<Vec<usize>> = sizes.iter().map(Dim::fixed).collect();
            let sum = whole.map(|parts| parts.into_iter().fold(0usize, usize::saturating_add));
            if sizes.len() != parts || sum.zip(total).is_some_and(|(s, t)| s != t) {
                return Err(format!("the parts {} do not make up {} in {parts} results", show(sizes), x[axis]));
            }
            sizes.to_vec()
        }
        (true, None, _) | (false, _, None) => vec![Dim::Unknown; parts],
        (false, _, Some(total)) => {
            let stated = site.attributes.int("num_outputs", parts as i64);
            if stated != parts as i64 {
                return Err(format!("num_outputs is {stated} and {parts} results are asked for"));
            }
            let size = total.div_ceil(parts.max(1));
            (0..parts).map(|i| Dim::Fixed(total.saturating_sub(i * size).min(size))).collect()
        }
    };
    let whole = |size: Dim| x.iter().enumerate().map(|(i, d)| if i == axis { size.clone() } else { d.clone() }).collect();
    several(sizes.into_iter().map(|size| (dtype, Some(whole(size)))))
}

/// `Pad`: pads are begins then ends of the axes; negative amounts crop.
pub(super) fn pad(site: &Site) -> Found {
    site.no_attribute("pads")?;
    site.index(1)?;
    let dtype = site.dtype(0);
    if let (Some(x), Some(fill)) = (dtype, site.dtype(2))
        && x != fill
    {
        return Err(format!("it fills {} with {}", x.name(), fill.name()));
    }
    let Some(x) = site.shape(0) else { return one(dtype, None) };
    let (Some(pads), Some(axes)) = (site.ints(1), if site.has(3) { site.ints(3) } else { Some(Vec::new()) }) else {
        return one(dtype, Some(vec![Dim::Unknown; x.len()]));
    };
    let axes = if site.has(3) { Site::axes(&axes, x.len())? } else { (0..x.len()).collect() };
    if pads.len() != 2 * axes.len() {
        return Err(format!("{} pads for {} axes", pads.len(), axes.len()));
    }
    if let Some(far) = pads.iter().find(|p| far(p)) {
        return Err(format!("it pads by {far}"));
    }
    let mut shape = x.to_vec();
    for (k, &axis) in axes.iter().enumerate() {
        let (before, after) = (pads[k], pads[axes.len() + k]);
        if site.attributes.string("mode", "constant") == "reflect"
            && let Some(n) = x[axis].fixed()
            && before.max(after) >= n as i64
        {
            return Err(format!("it reflects {} of {n} elements in axis {axis}", before.max(after)));
        }
        shape[axis] = dims::shift(&x[axis], before.saturating_add(after)).map_err(|e| format!("in axis {axis}, {e}"))?;
    }
    one(dtype, Some(shape))
}

/// `Trilu` on the last two axes.
pub(super) fn trilu(site: &Site) -> Found {
    if let Some(x) = site.shape(0).filter(|x| x.len() < 2) {
        return Err(format!("x should have two axes or more and is {}", show(x)));
    }
    if let Some(k) = site.constant(1).and_then(crate::Tensor::to_ints).and_then(|k| k.into_iter().find(far)) {
        return Err(format!("its diagonal is {k}"));
    }
    one(site.dtype(0), site.ty(0).shape)
}

/// Whether a number is beyond every extent.
fn far(n: &i64) -> bool {
    n.unsigned_abs() > i32::MAX as u64
}

/// `CumSum` along the axis that a scalar operand names.
pub(super) fn cum_sum(site: &Site) -> Found {
    if let (Some(x), Some([axis])) = (site.shape(0), site.ints(1).as_deref()) {
        Site::axes(&[*axis], x.len())?;
    }
    one(site.number(0)?, site.ty(0).shape)
}

/// `ReverseSequence`.
pub(super) fn reverse_sequence(site: &Site) -> Found {
    one(site.dtype(0), site.ty(0).shape)
}

/// `TopK`: values and int64 indices; K is an operand.
pub(super) fn top_k(site: &Site) -> Found {
    let dtype = site.number(0)?;
    let Some(x) = site.shape(0) else { return several([(dtype, None), (Some(DType::I64), None)]) };
    let axis = site.axis("axis", -1, x.len())?;
    site.at_least(1, 0, "the number of elements")?;
    let k = site.extents(1).and_then(|e| e.first().cloned()).unwrap_or(Dim::Unknown);
    if let (Some(k), Some(n)) = (k.fixed(), x[axis].fixed())
        && k > n
    {
        return Err(format!("it asks for {k} of {n} elements"));
    }
    let mut shape = x.to_vec();
    shape[axis] = k;
    several([(dtype, Some(shape.clone())), (Some(DType::I64), Some(shape))])
}

/// `DepthToSpace` and `SpaceToDepth` on `[N,C,H,W]`.
pub(super) fn blocks(site: &Site) -> Found {
    let Some(x) = site.shape_of_rank(0, 4, "x")? else { return one(site.dtype(0), None) };
    let size = site.attributes.int("blocksize", 0);
    let size = usize::try_from(size).ok().filter(|&b| b > 0).ok_or_else(|| format!("the block size is {size}"))?;
    let (block, area) = (Dim::Fixed(size), Dim::Fixed(size.saturating_mul(size)));
    let split = |d: &Dim, by: &Dim| match (dims::quotient(d, by), d.fixed()) {
        (Dim::Unknown, Some(n)) => Err(format!("the extent {n} does not divide into blocks of {by}")),
        (quotient, _) => Ok(quotient),
    };
    let grow = |d: &Dim, by: &Dim| product(&[d.clone(), by.clone()]);
    let shape = if &*site.op == "DepthToSpace" {
        vec![x[0].clone(), split(&x[1], &area)?, grow(&x[2], &block), grow(&x[3], &block)]
    } else {
        vec![x[0].clone(), grow(&x[1], &area), split(&x[2], &block)?, split(&x[3], &block)?]
    };
    one(site.dtype(0), Some(shape))
}

/// `Col2Im`: x `[N, C·taps, L]`, the extents of the image and of the block.
pub(super) fn col_to_im(site: &Site) -> Found {
    let dtype = site.dtype(0);
    let Some(x) = site.shape_of_rank(0, 3, "x")? else { return one(dtype, None) };
    let (Some(image), Some(block)) = (site.extents(1), site.extents(2)) else { return one(dtype, None) };
    if image.len() != block.len() {
        return Err(format!("the image {} and the block {} differ in rank", show(image), show(block)));
    }
    let channels = match (dims::quotient(&x[1], &product(block)), x[1].fixed().zip(product(block).fixed())) {
        (Dim::Unknown, Some((c, taps))) => return Err(format!("{c} channels do not divide into blocks of {taps}")),
        (channels, _) => channels,
    };
    one(dtype, Some([&[x[0].clone(), channels], image].concat()))
}
