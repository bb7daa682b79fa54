//! Operators that make tensors from sizes: constants, ranges, random numbers.

use super::{Found, Site, dims, dtype_of_code, one};
use crate::ir::{Attribute, Dim, Shape, ValueType};
use crate::tensor::DType;

/// `Constant` with its tensor in an attribute.
pub(super) fn constant(site: &Site) -> Found {
    let integers = |n: &[i64]| Some(n.iter().map(|&v| usize::try_from(v).map_or(Dim::Unknown, Dim::Fixed)).collect());
    let (ty, extents) = match site.attributes.0.values().next() {
        Some(Attribute::Tensor(t)) => (ValueType::fixed(t.dtype(), t.shape()), super::extents_of(t)),
        Some(Attribute::Int(v)) => (ValueType::fixed(DType::I64, &[]), integers(&[*v])),
        Some(Attribute::Ints(v)) => (ValueType::fixed(DType::I64, &[v.len()]), integers(v)),
        Some(Attribute::Float(_)) => (ValueType::fixed(DType::F32, &[]), None),
        Some(Attribute::Floats(v)) => (ValueType::fixed(DType::F32, &[v.len()]), None),
        _ => return Err("it should hold a tensor, a number or a list of numbers".into()),
    };
    Site::with_extents(ty, extents)
}

/// `ConstantOfShape`: one number everywhere.
pub(super) fn constant_of_shape(site: &Site) -> Found {
    let value = match site.attributes.get("value") {
        Some(Attribute::Tensor(t)) if t.len() == 1 => Some(t),
        Some(_) => return Err("its value should be a tensor of one element".into()),
        None => None,
    };
    let shape = from_extents(site, 0)?;
    let extents = match (value.and_then(|t| t.to_ints()).as_deref(), shape.as_deref()) {
        (Some([v]), Some([] | [Dim::Fixed(0..=64)])) => {
            let n = shape.as_ref().and_then(|s| s.first()).and_then(Dim::fixed).unwrap_or(1);
            Some(vec![usize::try_from(*v).map_or(Dim::Unknown, Dim::Fixed); n])
        }
        _ => None,
    };
    Site::with_extents(ValueType { dtype: Some(value.map_or(DType::F32, |t| t.dtype())), shape }, extents)
}

/// `Range`: start, limit, delta.
pub(super) fn range(site: &Site) -> Found {
    let dtype = site.same_dtype(0..3)?;
    let numbers: Option<Vec<f64>> = (0..3).map(|i| site.constant(i).and_then(|t| t.to_f64().first().copied())).collect();
    let length = match (numbers.as_deref(), site.ints(0).as_deref(), site.ints(2).as_deref()) {
        (Some([.., step]), ..) if *step == 0.0 => return Err("its step is 0".into()),
        (Some([start, limit, step]), ..) => Dim::Fixed(((limit - start) / step).ceil().max(0.0) as usize),
        (_, Some([0]), Some([1])) => site.extents(1).and_then(|e| e.first().cloned()).unwrap_or(Dim::Unknown),
        _ => Dim::Unknown,
    };
    one(dtype, Some(vec![length]))
}

/// `MelWeightMatrix`: a row for each frequency and a column for each of the bins, whose numbers are operands.
pub(super) fn mel_weights(site: &Site) -> Found {
    let dtype = dtype_of_code(site.attributes.int("output_datatype", 1)).ok_or("its output_datatype is not supported")?;
    let extent = |i: usize, of: fn(usize) -> usize| {
        let stated = site.ints(i).and_then(|n| usize::try_from(*n.first()?).ok());
        stated.map_or(Dim::Unknown, |n| Dim::Fixed(of(n)))
    };
    one(Some(dtype), Some(vec![extent(1, |length| length / 2 + 1), extent(0, |bins| bins)]))
}

/// `EyeLike`.
pub(super) fn eye_like(site: &Site) -> Found {
    site.shape_of_rank(0, 2, "x")?;
    let k = site.attributes.int("k", 0);
    if k.unsigned_abs() > i32::MAX as u64 {
        return Err(format!("its diagonal is {k}"));
    }
    one(stated_dtype(site)?.or(site.dtype(0)), site.ty(0).shape)
}

/// `RandomNormal`, `RandomUniform`: the shape is an attribute.
pub(super) fn random(site: &Site) -> Found {
    let shape = site.attributes.ints("shape").ok_or("it has no shape")?;
    let shape: Option<Vec<Dim>> = shape.iter().map(|&n| usize::try_from(n).ok().map(Dim::Fixed)).collect();
    one(stated_dtype(site)?.or(Some(DType::F32)), Some(shape.ok_or("an extent of its shape is negative")?))
}

/// `RandomNormalLike`, `RandomUniformLike`, `Bernoulli`.
pub(super) fn random_like(site: &Site) -> Found {
    one(stated_dtype(site)?.or(site.dtype(0)), site.ty(0).shape)
}

/// `Multinomial`: `[N, sample_size]` class numbers.
pub(super) fn multinomial(site: &Site) -> Found {
    let rows = site.shape_of_rank(0, 2, "the table of probabilities")?.map_or(Dim::Unknown, |s| s[0].clone());
    let columns = usize::try_from(site.attributes.int("sample_size", 1)).map_or(Dim::Unknown, Dim::Fixed);
    one(stated_dtype(site)?.or(Some(DType::I32)), Some(vec![rows, columns]))
}

/// `Expand`: broadcasts x against a stated shape.
pub(super) fn expand(site: &Site) -> Found {
    site.index(1)?;
    let (x, wanted) = (site.shape(0), from_extents(site, 1)?);
    let shape = match (x, wanted) {
        (Some(x), Some(wanted)) => Some(dims::broadcast(&[x, &wanted])?),
        _ => None,
    };
    // one number repeated, or a vector as it is
    let extents = match (site.extents(0), shape.as_deref()) {
        (Some([only]), Some([Dim::Fixed(n @ 0..=64)])) => Some(vec![only.clone(); *n]),
        (Some(e), Some([Dim::Fixed(n)])) if e.len() == *n => Some(e.to_vec()),
        (Some(e), Some([])) => Some(e.to_vec()),
        _ => None,
    };
    Site::with_extents(ValueType { dtype: site.dtype(0), shape }, extents)
}

/// `Tile`: repeats per axis.
pub(super) fn tile(site: &Site) -> Found {
    site.at_least(1, 0, "a number of repeats")?;
    let (Some(x), Some(repeats)) = (site.shape(0), site.extents(1)) else {
        return one(site.dtype(0), site.shape(0).map(|x| vec![Dim::Unknown; x.len()]));
    };
    if repeats.len() != x.len() {
        return Err(format!("{} repeats for x of shape {}", repeats.len(), dims::show(x)));
    }
    let shape = x.iter().zip(repeats).map(|(d, r)| dims::product(&[d.clone(), r.clone()])).collect();
    one(site.dtype(0), Some(shape))
}

/// The shape that an operand spells; of a constant, no element may be negative.
fn from_extents(site: &Site, operand: usize) -> Result<Shape, String> {
    if let Some(n) = site.constant(operand).and_then(crate::Tensor::to_ints).and_then(|ints| ints.into_iter().find(|&n| n < 0)) {
        return Err(format!("its shape holds {n}"));
    }
    if let Some(extents) = site.extents(operand) {
        return Ok(Some(extents.to_vec()));
    }
    Ok(site.listed(operand, "the shape operand")?.map(|r| vec![Dim::Unknown; r]))
}

fn stated_dtype(site: &Site) -> Result<Option<DType>, String> {
    match site.attributes.int("dtype", 0) {
        0 => Ok(None),
        code => dtype_of_code(code).map(Some).ok_or_else(|| format!("the element type {code} is not supported")),
    }
}
