//! Operators that work element by element: arithmetic, activations, comparisons, logic, casts.

use super::{Found, Site, dims, dtype_of_code, one};
use crate::ir::{Dim, Shape, ValueType};
use crate::tensor::DType;

/// `y` is like `x`, of any element type.
pub(super) fn like(site: &Site) -> Found {
    let mut found = one(site.dtype(0), site.ty(0).shape)?;
    found[0].extents = site.extents(0).map(<[Dim]>::to_vec);
    Ok(found)
}

/// `y` is like `x`, which is a float.
pub(super) fn like_float(site: &Site) -> Found {
    one(site.float(0)?, site.ty(0).shape)
}

/// `y` is like `x`, which is a number.
pub(super) fn like_number(site: &Site) -> Found {
    one(site.number(0)?, site.ty(0).shape)
}

/// Booleans like `x`, which is a float.
pub(super) fn test(site: &Site) -> Found {
    site.float(0)?;
    one(Some(DType::Bool), site.ty(0).shape)
}

/// Arithmetic on any number of operands of one type, broadcast together.
pub(super) fn arithmetic(site: &Site) -> Found {
    for i in 0..site.inputs.len() {
        site.number(i)?;
    }
    let dtype = site.same_dtype(0..site.inputs.len())?;
    if matches!(&*site.op, "Div" | "Mod") && site.constant(1).and_then(crate::Tensor::to_ints).is_some_and(|d| d.contains(&0)) {
        return Err("it divides an integer by 0".into());
    }
    let ty = ValueType { dtype, shape: broadcast(site)? };
    let rule: Option<fn(&Dim, &Dim) -> Dim> = match &*site.op {
        "Add" | "Sum" => Some(dims::sum),
        "Sub" => Some(dims::difference),
        "Mul" => Some(|a, b| dims::product(&[a.clone(), b.clone()])),
        "Div" => Some(floor_quotient),
        "Max" => Some(|a, b| pick(a, b, usize::max)),
        "Min" => Some(|a, b| pick(a, b, usize::min)),
        _ => None,
    };
    Site::with_extents(ty, rule.and_then(|rule| extents(site, rule)))
}

/// Arithmetic on floats only.
pub(super) fn arithmetic_float(site: &Site) -> Found {
    for i in 0..site.inputs.len() {
        site.float(i)?;
    }
    arithmetic(site)
}

/// `Pow`: the element type of the base, whatever the exponent's.
pub(super) fn pow(site: &Site) -> Found {
    site.number(1)?;
    one(site.number(0)?, broadcast(site)?)
}

/// `Mod`: floats need `fmod=1`.
pub(super) fn modulo(site: &Site) -> Found {
    if site.same_dtype(0..2)?.is_some_and(DType::is_float) && site.attributes.int("fmod", 0) == 0 {
        return Err("on floats it needs fmod=1".into());
    }
    arithmetic(site)
}

/// `BitShift`, `BitwiseAnd`, …: integers.
pub(super) fn bitwise(site: &Site) -> Found {
    match arithmetic(site)?.first().and_then(|r| r.ty.dtype) {
        Some(d) if d.is_float() => Err(format!("it works on integers, not on {}", d.name())),
        dtype => one(dtype, broadcast(site)?),
    }
}

/// Comparisons: booleans, broadcast.
pub(super) fn compare(site: &Site) -> Found {
    site.same_dtype(0..2)?;
    one(Some(DType::Bool), broadcast(site)?)
}

/// `And`, `Or`, `Xor`.
pub(super) fn logic(site: &Site) -> Found {
    site.boolean(0)?;
    site.boolean(1)?;
    one(Some(DType::Bool), broadcast(site)?)
}

/// `Not`.
pub(super) fn not(site: &Site) -> Found {
    site.boolean(0)?;
    one(Some(DType::Bool), site.ty(0).shape)
}

/// `Where`: condition, yes, no.
pub(super) fn select(site: &Site) -> Found {
    site.boolean(0)?;
    let dtype = site.same_dtype(1..3)?;
    one(dtype, broadcast(site)?)
}

/// `Cast`.
pub(super) fn cast(site: &Site) -> Found {
    let code = site.attributes.int("to", 0);
    let dtype = dtype_of_code(code).ok_or_else(|| format!("it casts to the element type {code}, which is not supported"))?;
    let extents = site.extents(0).filter(|_| dtype != DType::Bool).map(<[Dim]>::to_vec);
    Site::with_extents(ValueType { dtype: Some(dtype), shape: site.ty(0).shape }, extents)
}

/// `CastLike`.
pub(super) fn cast_like(site: &Site) -> Found {
    one(site.dtype(1), site.ty(0).shape)
}

/// `Clip`: the bounds are scalars of the type of `x`.
pub(super) fn clip(site: &Site) -> Found {
    site.no_attribute("min")?;
    site.no_attribute("max")?;
    for i in 1..3 {
        if let Some(shape) = site.shape(i).filter(|s| s.iter().any(|d| d.fixed().is_some_and(|n| n != 1))) {
            return Err(format!("its bounds should be scalars, not of shape {}", dims::show(shape)));
        }
    }
    site.same_dtype(0..3)?;
    one(site.number(0)?, site.ty(0).shape)
}

/// `PRelu`: the slope broadcasts to `x`.
pub(super) fn prelu(site: &Site) -> Found {
    let dtype = site.same_dtype(0..2)?;
    if let (Some(joined), Some(x)) = (broadcast(site)?, site.shape(0))
        && joined.len() != x.len()
    {
        return Err("the slope has more axes than x".into());
    }
    one(dtype, site.ty(0).shape)
}

/// `Softmax`, `LogSoftmax`, `Hardmax`: like `x`, along an axis that exists.
pub(super) fn along_axis(site: &Site) -> Found {
    if let Some(shape) = site.shape(0) {
        site.axis("axis", -1, shape.len())?;
    }
    like_float(site)
}

/// `Dropout`: `x` and the mask.
pub(super) fn dropout(site: &Site) -> Found {
    if let Some(list) = (1..3).filter_map(|i| site.shape(i)).find(|s| s.iter().any(|d| d.fixed().is_some_and(|n| n != 1))) {
        return Err(format!("its ratio and its mode should be scalars, not of shape {}", dims::show(list)));
    }
    let shape = site.ty(0).shape;
    super::several([(site.float(0)?, shape.clone()), (Some(DType::Bool), shape)])
}

/// `QuantizeLinear`: the element type of the zero point.
pub(super) fn quantize(site: &Site) -> Found {
    site.float(1)?;
    one(if site.has(2) { site.dtype(2) } else { Some(DType::U8) }, site.ty(0).shape)
}

/// `DequantizeLinear`: the element type of the scale.
pub(super) fn dequantize(site: &Site) -> Found {
    one(site.float(1)?, site.ty(0).shape)
}

/// The shape of all operands together.
pub(super) fn broadcast(site: &Site) -> Result<Shape, String> {
    let shapes: Option<Vec<&[Dim]>> = (0..site.inputs.len()).map(|i| site.shape(i)).collect();
    shapes.map(|shapes| dims::broadcast(&shapes)).transpose()
}

fn extents(site: &Site, rule: fn(&Dim, &Dim) -> Dim) -> Option<Vec<Dim>> {
    let mut joined = site.extents(0)?.to_vec();
    for i in 1..site.inputs.len() {
        let other = site.extents(i)?;
        let n = joined.len().max(other.len());
        joined = (0..n).map(|k| Some(rule(&at(&joined, k, n)?, &at(other, k, n)?))).collect::<Option<_>>()?;
    }
    Some(joined)
}

fn at(extents: &[Dim], k: usize, n: usize) -> Option<Dim> {
    match extents.len() {
        1 => extents.first().cloned(),
        len if len == n => extents.get(k).cloned(),
        _ => None,
    }
}

fn floor_quotient(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_div(*b).map_or(Dim::Unknown, Dim::Fixed),
        _ => dims::quotient(a, b),
    }
}

fn pick(a: &Dim, b: &Dim, choose: fn(usize, usize) -> usize) -> Dim {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => Dim::Fixed(choose(*a, *b)),
        _ if a.same(b) => a.clone(),
        _ => Dim::Unknown,
    }
}
