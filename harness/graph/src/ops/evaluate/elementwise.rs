//! Arithmetic, comparisons and choice on constants, with broadcasting. Integers wrap around, as on every engine.

use std::borrow::Cow;

use ndarray::{ArrayD, IxDyn};

use super::{Call, Folded};
use crate::ops::dims;
use crate::tensor::{DType, Element, Tensor};
use crate::{Dim, with_array};

/// Element types that can be added and compared.
pub(super) trait Number: Element + Copy + PartialOrd {
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// Truncated for integers; `None` if an integer is divided by 0.
    fn over(self, other: Self) -> Option<Self>;
    /// `fmod=0` has the sign of the divisor, `fmod=1` that of the dividend.
    fn modulo(self, other: Self, fmod: bool) -> Option<Self>;
    fn zero() -> Self;
    fn one() -> Self;
    fn larger(self, other: Self) -> Self;
    fn smaller(self, other: Self) -> Self;
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Number for $t {
            fn plus(self, other: Self) -> Self { self.wrapping_add(other) }
            fn minus(self, other: Self) -> Self { self.wrapping_sub(other) }
            fn times(self, other: Self) -> Self { self.wrapping_mul(other) }
            fn over(self, other: Self) -> Option<Self> { (other != 0).then(|| self.wrapping_div(other)) }
            #[allow(unused_comparisons)]
            fn modulo(self, other: Self, fmod: bool) -> Option<Self> {
                let rest = (other != 0).then(|| self.wrapping_rem(other))?;
                Some(if !fmod && rest != 0 && (rest < 0) != (other < 0) { rest.wrapping_add(other) } else { rest })
            }
            fn zero() -> Self { 0 }
            fn one() -> Self { 1 }
            fn larger(self, other: Self) -> Self { self.max(other) }
            fn smaller(self, other: Self) -> Self { self.min(other) }
        }
    )*};
}
integers!(i8, i32, i64, u8);

macro_rules! floats {
    ($($t:ty),*) => {$(
        impl Number for $t {
            fn plus(self, other: Self) -> Self { self + other }
            fn minus(self, other: Self) -> Self { self - other }
            fn times(self, other: Self) -> Self { self * other }
            fn over(self, other: Self) -> Option<Self> { Some(self / other) }
            fn modulo(self, other: Self, _fmod: bool) -> Option<Self> { Some(self % other) }
            fn zero() -> Self { 0.0 }
            fn one() -> Self { 1.0 }
            fn larger(self, other: Self) -> Self { if self.is_nan() || self > other { self } else { other } }
            fn smaller(self, other: Self) -> Self { if self.is_nan() || self < other { self } else { other } }
        }
    )*};
}
floats!(f32, f64);

/// Runs an expression on the arrays of two tensors of the same numeric type.
macro_rules! with_numbers {
    ($a:expr, $b:expr, ($x:ident, $y:ident) => $body:expr) => {
        match ($a, $b) {
            (Tensor::F32($x), Tensor::F32($y)) => $body,
            (Tensor::F64($x), Tensor::F64($y)) => $body,
            (Tensor::I8($x), Tensor::I8($y)) => $body,
            (Tensor::I32($x), Tensor::I32($y)) => $body,
            (Tensor::I64($x), Tensor::I64($y)) => $body,
            (Tensor::U8($x), Tensor::U8($y)) => $body,
            _ => None,
        }
    };
}

/// `Add`, `Sub`, `Mul`, `Div`, `Mod`, `Max`, `Min`, `Sum`.
pub(in crate::ops) fn arithmetic(call: &Call) -> Folded {
    let Some(first) = call.operand(0) else { return Ok(None) };
    let mut joined = first.clone();
    for i in 1..call.inputs.len() {
        let Some(next) = call.operand(i) else { return Ok(None) };
        let both = with_numbers!(&joined, next, (a, b) => combine(call, a, b)?);
        let Some(both) = both else { return Ok(None) };
        joined = both;
    }
    Ok(Some(vec![joined]))
}

fn combine<T: Number>(call: &Call, a: &ArrayD<T>, b: &ArrayD<T>) -> Result<Option<Tensor>, String> {
    let by_zero = b.iter().any(|&v| T::one().over(v).is_none());
    if by_zero && matches!(&*call.op, "Div" | "Mod") {
        return Err("it divides an integer by 0".into());
    }
    let fmod = call.attributes.int("fmod", 0) != 0;
    Ok(match &*call.op {
        "Add" | "Sum" => zip(a, b, T::plus),
        "Sub" => zip(a, b, T::minus),
        "Mul" => zip(a, b, T::times),
        "Div" => zip(a, b, |x, y| x.over(y).unwrap_or(x)),
        "Mod" => zip(a, b, |x, y| x.modulo(y, fmod).unwrap_or(x)),
        "Max" => zip(a, b, T::larger),
        "Min" => zip(a, b, T::smaller),
        _ => None,
    })
}

/// `Equal`, `Greater`, `Less`, `GreaterOrEqual`, `LessOrEqual`.
pub(in crate::ops) fn compare(call: &Call) -> Folded {
    fn relate<T: Element + Copy + PartialOrd>(op: &str, a: &ArrayD<T>, b: &ArrayD<T>) -> Option<Tensor> {
        match op {
            "Equal" => zip(a, b, |x, y| x == y),
            "Greater" => zip(a, b, |x, y| x > y),
            "GreaterOrEqual" => zip(a, b, |x, y| x >= y),
            "Less" => zip(a, b, |x, y| x < y),
            "LessOrEqual" => zip(a, b, |x, y| x <= y),
            _ => None,
        }
    }
    Ok(match (call.operand(0), call.operand(1)) {
        (Some(Tensor::Bool(a)), Some(Tensor::Bool(b))) => relate(&call.op, a, b),
        (Some(a), Some(b)) => with_numbers!(a, b, (a, b) => relate(&call.op, a, b)),
        _ => None,
    }
    .map(|t| vec![t]))
}

/// `And`, `Or`, `Xor`.
pub(in crate::ops) fn logic(call: &Call) -> Folded {
    let (Some(Tensor::Bool(a)), Some(Tensor::Bool(b))) = (call.operand(0), call.operand(1)) else { return Ok(None) };
    Ok(match &*call.op {
        "And" => zip(a, b, |x, y| x && y),
        "Or" => zip(a, b, |x, y| x || y),
        "Xor" => zip(a, b, |x, y| x != y),
        _ => None,
    }
    .map(|t| vec![t]))
}

/// `Not`.
pub(in crate::ops) fn not(call: &Call) -> Folded {
    let Some(Tensor::Bool(a)) = call.operand(0) else { return Ok(None) };
    Ok(each(a, |v| !v).map(|t| vec![t]))
}

/// `IsNaN`.
pub(in crate::ops) fn test(call: &Call) -> Folded {
    Ok(match call.operand(0) {
        Some(Tensor::F32(a)) => each(a, f32::is_nan),
        Some(Tensor::F64(a)) => each(a, f64::is_nan),
        _ => None,
    }
    .map(|t| vec![t]))
}

/// Operators of one operand whose float results are correctly rounded everywhere.
pub(in crate::ops) fn unary(call: &Call) -> Folded {
    macro_rules! float {
        ($a:expr) => {
            match &*call.op {
                "Neg" => each($a, |v| -v),
                "Abs" => each($a, |v| v.abs()),
                "Sign" => each($a, |v| if v == 0.0 { 0.0 } else { v.signum() }),
                "Sqrt" => each($a, |v| v.sqrt()),
                "Reciprocal" => each($a, |v| 1.0 / v),
                "Floor" => each($a, |v| v.floor()),
                "Ceil" => each($a, |v| v.ceil()),
                "Round" => each($a, |v| v.round_ties_even()),
                "Relu" => each($a, |v| if v < 0.0 { 0.0 } else { v }),
                _ => None,
            }
        };
    }
    macro_rules! integer {
        ($a:expr) => {
            match &*call.op {
                "Neg" => each($a, |v| v.wrapping_neg()),
                "Abs" => each($a, |v| v.wrapping_abs()),
                "Sign" => each($a, |v| v.signum()),
                "Relu" => each($a, |v| v.max(0)),
                _ => None,
            }
        };
    }
    Ok(match call.operand(0) {
        Some(Tensor::F32(a)) => float!(a),
        Some(Tensor::F64(a)) => float!(a),
        Some(Tensor::I8(a)) => integer!(a),
        Some(Tensor::I32(a)) => integer!(a),
        Some(Tensor::I64(a)) => integer!(a),
        _ => None,
    }
    .map(|t| vec![t]))
}

/// `Clip`.
pub(in crate::ops) fn clip(call: &Call) -> Folded {
    let Some(x) = call.operand(0) else { return Ok(None) };
    let mut clipped = x.clone();
    for (i, low) in [(1, true), (2, false)] {
        if let Some(bound) = call.operand(i) {
            let bounded = with_numbers!(&clipped, bound, (a, b) => zip(a, b, if low { Number::larger } else { Number::smaller }));
            let Some(bounded) = bounded.and_then(|t| t.reshape(x.shape())) else { return Ok(None) };
            clipped = bounded;
        }
    }
    Ok(Some(vec![clipped]))
}

/// `Where`.
pub(in crate::ops) fn select(call: &Call) -> Folded {
    fn choose<T: Element>(c: &ArrayD<bool>, yes: &ArrayD<T>, no: &Tensor, shape: &[usize]) -> Option<Tensor> {
        let (c, yes, no) = (row_major(c, shape)?, row_major(yes, shape)?, row_major(T::view(no)?, shape)?);
        let pick = |((&c, y), n): ((&bool, &T), &T)| if c { *y } else { *n };
        Tensor::new(shape, c.iter().zip(&*yes).zip(&*no).map(pick).collect())
    }
    let (Some(Tensor::Bool(c)), Some(yes), Some(no), Some(shape)) =
        (call.operand(0), call.operand(1), call.operand(2), call.shape())
    else {
        return Ok(None);
    };
    Ok(with_array!(yes, y => choose(c, y, no, shape)).map(|t| vec![t]))
}

/// Two arrays broadcast together, element by element. Only the loop over two slices is compiled anew for every `f`:
/// what brings the operands to one shape is compiled once per element type.
fn zip<T: Element + Copy, U: Element>(a: &ArrayD<T>, b: &ArrayD<T>, f: impl Fn(T, T) -> U) -> Option<Tensor> {
    let shape = joint_shape(a.shape(), b.shape())?;
    let (a, b) = (row_major(a, &shape)?, row_major(b, &shape)?);
    Tensor::new(&shape, a.iter().zip(&*b).map(|(&x, &y)| f(x, y)).collect())
}

/// An array element by element.
fn each<T: Element + Copy, U: Element>(a: &ArrayD<T>, f: impl Fn(T) -> U) -> Option<Tensor> {
    Tensor::new(a.shape(), row_major(a, a.shape())?.iter().map(|&x| f(x)).collect())
}

fn joint_shape(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let dims = |shape: &[usize]| shape.iter().map(|&n| Dim::Fixed(n)).collect::<Vec<_>>();
    Some(dims::broadcast(&[&dims(a), &dims(b)]).ok()?.iter().filter_map(Dim::fixed).collect())
}

/// The elements of an array that is broadcast to this shape, in row-major order; copied only where they do not lie so.
fn row_major<'a, T: Clone>(a: &'a ArrayD<T>, shape: &[usize]) -> Option<Cow<'a, [T]>> {
    match a.as_slice() {
        Some(elements) if a.shape() == shape => Some(Cow::Borrowed(elements)),
        _ => Some(Cow::Owned(a.broadcast(IxDyn(shape))?.iter().cloned().collect())),
    }
}

/// The numbers as `f64` or `i64`, whichever holds them.
pub(super) fn widened(x: &Tensor) -> Tensor {
    x.cast(if x.dtype().is_float() { DType::F64 } else { DType::I64 })
}
