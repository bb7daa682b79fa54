//! Arithmetic, comparisons and choice on constants, with broadcasting. Integers wrap around, as on every engine.

use ndarray::{ArrayD, IxDyn, Zip};

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
    Ok(Some(vec![Tensor::Bool(a.mapv(|v| !v))]))
}

/// `IsNaN`.
pub(in crate::ops) fn test(call: &Call) -> Folded {
    Ok(match call.operand(0) {
        Some(Tensor::F32(a)) => Some(Tensor::Bool(a.mapv(f32::is_nan))),
        Some(Tensor::F64(a)) => Some(Tensor::Bool(a.mapv(f64::is_nan))),
        _ => None,
    }
    .map(|t| vec![t]))
}

/// Operators of one operand whose float results are correctly rounded everywhere.
pub(in crate::ops) fn unary(call: &Call) -> Folded {
    macro_rules! float {
        ($a:expr, $wrap:path) => {
            match &*call.op {
                "Neg" => Some($wrap($a.mapv(|v| -v))),
                "Abs" => Some($wrap($a.mapv(|v| v.abs()))),
                "Sign" => Some($wrap($a.mapv(|v| if v == 0.0 { 0.0 } else { v.signum() }))),
                "Sqrt" => Some($wrap($a.mapv(|v| v.sqrt()))),
                "Reciprocal" => Some($wrap($a.mapv(|v| 1.0 / v))),
                "Floor" => Some($wrap($a.mapv(|v| v.floor()))),
                "Ceil" => Some($wrap($a.mapv(|v| v.ceil()))),
                "Round" => Some($wrap($a.mapv(|v| v.round_ties_even()))),
                "Relu" => Some($wrap($a.mapv(|v| if v < 0.0 { 0.0 } else { v }))),
                _ => None,
            }
        };
    }
    macro_rules! integer {
        ($a:expr, $wrap:path) => {
            match &*call.op {
                "Neg" => Some($wrap($a.mapv(|v| v.wrapping_neg()))),
                "Abs" => Some($wrap($a.mapv(|v| v.wrapping_abs()))),
                "Sign" => Some($wrap($a.mapv(|v| v.signum()))),
                "Relu" => Some($wrap($a.mapv(|v| v.max(0)))),
                _ => None,
            }
        };
    }
    Ok(match call.operand(0) {
        Some(Tensor::F32(a)) => float!(a, Tensor::F32),
        Some(Tensor::F64(a)) => float!(a, Tensor::F64),
        Some(Tensor::I8(a)) => integer!(a, Tensor::I8),
        Some(Tensor::I32(a)) => integer!(a, Tensor::I32),
        Some(Tensor::I64(a)) => integer!(a, Tensor::I64),
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
        let shape = IxDyn(shape);
        let no = T::view(no)?.broadcast(shape.clone())?;
        let (c, yes) = (c.broadcast(shape.clone())?, yes.broadcast(shape)?);
        Some(T::wrap(Zip::from(c).and(yes).and(no).map_collect(|&c, y, n| if c { y.clone() } else { n.clone() })))
    }
    let (Some(Tensor::Bool(c)), Some(yes), Some(no), Some(shape)) =
        (call.operand(0), call.operand(1), call.operand(2), call.shape())
    else {
        return Ok(None);
    };
    Ok(with_array!(yes, y => choose(c, y, no, shape)).map(|t| vec![t]))
}

/// Two arrays broadcast together, element by element.
fn zip<T: Element + Copy, U: Element>(a: &ArrayD<T>, b: &ArrayD<T>, f: impl Fn(T, T) -> U) -> Option<Tensor> {
    let dims = |a: &ArrayD<T>| a.shape().iter().map(|&n| Dim::Fixed(n)).collect::<Vec<_>>();
    let shape: Vec<usize> = dims::broadcast(&[&dims(a), &dims(b)]).ok()?.iter().filter_map(Dim::fixed).collect();
    let (a, b) = (a.broadcast(IxDyn(&shape))?, b.broadcast(IxDyn(&shape))?);
    Some(U::wrap(Zip::from(a).and(b).map_collect(|&x, &y| f(x, y))))
}

/// The numbers as `f64` or `i64`, whichever holds them.
pub(super) fn widened(x: &Tensor) -> Tensor {
    x.cast(if x.dtype().is_float() { DType::F64 } else { DType::I64 })
}
