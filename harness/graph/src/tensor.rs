//! Host arrays: `ndarray` with an element type known at run time. The only place where `ndarray` enters the program.

use ndarray::{ArrayD, IxDyn};

/// The element types a graph may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum DType {
    F32,
    F64,
    I8,
    I32,
    I64,
    U8,
    Bool,
}

impl DType {
    /// The name that the textual form of ONNX uses.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "float",
            DType::F64 => "double",
            DType::I8 => "int8",
            DType::I32 => "int32",
            DType::I64 => "int64",
            DType::U8 => "uint8",
            DType::Bool => "bool",
        }
    }

    /// The type of that name.
    pub fn named(name: &str) -> Option<DType> {
        use DType::{Bool, F32, F64, I8, I32, I64, U8};
        [F32, F64, I8, I32, I64, U8, Bool].into_iter().find(|t| t.name() == name)
    }

    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 | DType::I32 => 4,
            DType::I8 | DType::U8 | DType::Bool => 1,
        }
    }

    /// Whether a gradient can flow through values of this type.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64)
    }
}

/// A host array of any shape; row-major when exported.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Tensor {
    F32(ArrayD<f32>),
    F64(ArrayD<f64>),
    I8(ArrayD<i8>),
    I32(ArrayD<i32>),
    I64(ArrayD<i64>),
    U8(ArrayD<u8>),
    Bool(ArrayD<bool>),
}

/// Runs the same expression on the array inside a [`Tensor`], whatever its element type.
#[macro_export]
macro_rules! with_array {
    ($tensor:expr, $a:ident => $body:expr) => {
        match $tensor {
            $crate::Tensor::F32($a) => $body,
            $crate::Tensor::F64($a) => $body,
            $crate::Tensor::I8($a) => $body,
            $crate::Tensor::I32($a) => $body,
            $crate::Tensor::I64($a) => $body,
            $crate::Tensor::U8($a) => $body,
            $crate::Tensor::Bool($a) => $body,
        }
    };
}

/// Rust element types that a [`Tensor`] can hold.
pub trait Element: Copy + Default {
    /// The matching run-time type.
    const DTYPE: DType;
    /// Wraps an array.
    fn wrap(array: ArrayD<Self>) -> Tensor
    where
        Self: Sized;
    /// Unwraps an array of exactly this type.
    fn view(tensor: &Tensor) -> Option<&ArrayD<Self>>
    where
        Self: Sized;
    /// The same, to be changed.
    fn view_mut(tensor: &mut Tensor) -> Option<&mut ArrayD<Self>>
    where
        Self: Sized;
}

macro_rules! element {
    ($($t:ty => $v:ident),*) => {$(
        impl Element for $t {
            const DTYPE: DType = DType::$v;
            fn wrap(array: ArrayD<Self>) -> Tensor {
                Tensor::$v(array)
            }
            fn view(tensor: &Tensor) -> Option<&ArrayD<Self>> {
                if let Tensor::$v(a) = tensor { Some(a) } else { None }
            }
            fn view_mut(tensor: &mut Tensor) -> Option<&mut ArrayD<Self>> {
                if let Tensor::$v(a) = tensor { Some(a) } else { None }
            }
        }
        impl From<ArrayD<$t>> for Tensor {
            fn from(array: ArrayD<$t>) -> Tensor {
                Tensor::$v(array)
            }
        }
    )*};
}
element!(f32 => F32, f64 => F64, i8 => I8, i32 => I32, i64 => I64, u8 => U8, bool => Bool);

impl Tensor {
    /// A tensor from a shape and row-major data. `None` if the product of `shape` is not `data.len()`.
    pub fn new<T: Element>(shape: &[usize], data: Vec<T>) -> Option<Tensor> {
        ArrayD::from_shape_vec(IxDyn(shape), data).ok().map(T::wrap)
    }

    /// A rank-0 tensor.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        T::wrap(ArrayD::from_elem(IxDyn(&[]), value))
    }

    /// A rank-1 tensor of `int64`, the form in which ONNX takes shapes, axes and pads.
    pub fn ints(values: &[i64]) -> Tensor {
        Tensor::I64(ndarray::Array1::from(values.to_vec()).into_dyn())
    }

    /// A rank-1 tensor of `float`.
    pub fn floats(values: Vec<f32>) -> Tensor {
        Tensor::F32(ndarray::Array1::from(values).into_dyn())
    }

    /// A float tensor filled with one value. `dtype` must be a float type; anything else gives `float`.
    pub fn full(dtype: DType, shape: &[usize], value: f64) -> Tensor {
        match dtype {
            DType::F64 => Tensor::F64(ArrayD::from_elem(IxDyn(shape), value)),
            DType::I8 => Tensor::I8(ArrayD::from_elem(IxDyn(shape), value as i8)),
            DType::I32 => Tensor::I32(ArrayD::from_elem(IxDyn(shape), value as i32)),
            DType::I64 => Tensor::I64(ArrayD::from_elem(IxDyn(shape), value as i64)),
            DType::U8 => Tensor::U8(ArrayD::from_elem(IxDyn(shape), value as u8)),
            DType::Bool => Tensor::Bool(ArrayD::from_elem(IxDyn(shape), value != 0.0)),
            DType::F32 => Tensor::F32(ArrayD::from_elem(IxDyn(shape), value as f32)),
        }
    }

    /// The unit matrix, float \[n,n\].
    pub fn identity(n: usize) -> Tensor {
        Tensor::F32(ndarray::Array2::eye(n).into_dyn())
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        match self {
            Tensor::F32(_) => DType::F32,
            Tensor::F64(_) => DType::F64,
            Tensor::I8(_) => DType::I8,
            Tensor::I32(_) => DType::I32,
            Tensor::I64(_) => DType::I64,
            Tensor::U8(_) => DType::U8,
            Tensor::Bool(_) => DType::Bool,
        }
    }

    /// The extents.
    pub fn shape(&self) -> &[usize] {
        with_array!(self, a => a.shape())
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        with_array!(self, a => a.len())
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The array, if it has exactly this element type.
    pub fn view<T: Element>(&self) -> Option<&ArrayD<T>> {
        T::view(self)
    }

    /// Row-major copy of the elements, if they have exactly this type.
    pub fn to_vec<T: Element>(&self) -> Option<Vec<T>> {
        T::view(self).map(|a| a.as_slice().map_or_else(|| a.iter().copied().collect(), <[T]>::to_vec))
    }

    /// Row-major copy of all elements as `f64` (booleans as 0 and 1).
    pub fn to_f64(&self) -> Vec<f64> {
        fn each<T: Element>(array: &ArrayD<T>, number: impl Fn(T) -> f64) -> Vec<f64> {
            match array.as_slice() {
                Some(all) => all.iter().map(|&v| number(v)).collect(),
                None => array.iter().map(|&v| number(v)).collect(),
            }
        }
        match self {
            Tensor::F32(a) => each(a, f64::from),
            Tensor::F64(a) => each(a, |v| v),
            Tensor::I8(a) => each(a, f64::from),
            Tensor::I32(a) => each(a, f64::from),
            Tensor::I64(a) => each(a, |v| v as f64),
            Tensor::U8(a) => each(a, f64::from),
            Tensor::Bool(a) => each(a, |v| f64::from(u8::from(v))),
        }
    }

    /// Row-major copy of integer elements (`int64`, `int32`, 8-bit, bool), or `None` for floats.
    pub fn to_ints(&self) -> Option<Vec<i64>> {
        match self {
            Tensor::I8(a) => Some(a.iter().map(|&v| i64::from(v)).collect()),
            Tensor::I32(a) => Some(a.iter().map(|&v| i64::from(v)).collect()),
            Tensor::I64(a) => Some(a.iter().copied().collect()),
            Tensor::U8(a) => Some(a.iter().map(|&v| i64::from(v)).collect()),
            Tensor::Bool(a) => Some(a.iter().map(|&v| i64::from(v)).collect()),
            Tensor::F32(_) | Tensor::F64(_) => None,
        }
    }

    /// The same numbers as another type (float to integer truncates, as ONNX `Cast` does; non-zero is true).
    pub fn cast(&self, to: DType) -> Tensor {
        if self.dtype() == to {
            return self.clone();
        }
        let shape = IxDyn(self.shape());
        let values = self.to_f64();
        fn make<T: Element>(shape: IxDyn, values: &[f64], f: impl Fn(f64) -> T) -> Tensor {
            let mut rest = values.iter();
            T::wrap(ArrayD::from_shape_simple_fn(shape, || f(*rest.next().unwrap_or(&0.0))))
        }
        match (to, self.to_ints()) {
            // int64 does not pass through f64, which holds 53 bits
            (DType::I64, Some(ints)) => {
                let mut rest = ints.into_iter();
                Tensor::I64(ArrayD::from_shape_simple_fn(shape, || rest.next().unwrap_or(0)))
            }
            (DType::F32, _) => make(shape, &values, |v| v as f32),
            (DType::F64, _) => make(shape, &values, |v| v),
            (DType::I8, _) => make(shape, &values, |v| v as i8),
            (DType::I32, _) => make(shape, &values, |v| v as i32),
            (DType::I64, _) => make(shape, &values, |v| v as i64),
            (DType::U8, _) => make(shape, &values, |v| v as u8),
            (DType::Bool, _) => make(shape, &values, |v| v != 0.0),
        }
    }

    /// The same elements in another shape, row-major. `None` if the counts differ.
    pub fn reshape(&self, shape: &[usize]) -> Option<Tensor> {
        with_array!(self, a => a
            .as_standard_layout()
            .into_owned()
            .into_shape_with_order(IxDyn(shape))
            .ok()
            .map(Tensor::from))
    }
}
/// The chosen rows of a host tensor, along its first axis.
pub fn rows(tensor: &Tensor, chosen: &[usize]) -> Tensor {
    fn picked<T: Element>(array: &ArrayD<T>, chosen: &[usize]) -> Option<Tensor> {
        let (all, inner) = (array.as_slice()?, array.shape().get(1..)?);
        let width: usize = inner.iter().product();
        let mut data = Vec::with_capacity(chosen.len() * width);
        for &row in chosen {
            data.extend_from_slice(all.get(row * width..(row + 1) * width)?);
        }
        Tensor::new(&[&[chosen.len()], inner].concat(), data)
    }
    with_array!(tensor, a => picked(a, chosen).unwrap_or_else(|| Tensor::from(a.select(ndarray::Axis(0), chosen))))
}
