//! Types of values: extents, shapes, element types. Knows no graph.

use std::fmt;
use std::sync::Arc;

use crate::tensor::DType;

/// One extent of a shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Known now.
    Fixed(usize),
    /// The same unknown wherever the name appears, e.g. the batch `N`.
    Symbol(Arc<str>),
    /// Unknown.
    Unknown,
}

impl Dim {
    /// The extent, if it is known now.
    pub fn fixed(&self) -> Option<usize> {
        if let Dim::Fixed(n) = self { Some(*n) } else { None }
    }

    /// A named unknown.
    pub fn symbol(name: &str) -> Dim {
        Dim::Symbol(name.into())
    }

    /// Whether both are certainly the same extent.
    pub fn same(&self, other: &Dim) -> bool {
        !matches!(self, Dim::Unknown) && self == other
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(n) => write!(f, "{n}"),
            Dim::Symbol(s) => f.write_str(s),
            Dim::Unknown => f.write_str("?"),
        }
    }
}

/// Extents of a value; `None` when even the rank is unknown.
pub type Shape = Option<Vec<Dim>>;

/// Element type and shape of a value. `dtype` is `None` until inference has found it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ValueType {
    /// Element type.
    pub dtype: Option<DType>,
    /// Extents.
    pub shape: Shape,
}

impl ValueType {
    /// A type whose element type and extents are stated.
    pub fn new(dtype: DType, shape: Vec<Dim>) -> ValueType {
        ValueType { dtype: Some(dtype), shape: Some(shape) }
    }

    /// A type with fixed extents only.
    pub fn fixed(dtype: DType, shape: &[usize]) -> ValueType {
        ValueType::new(dtype, shape.iter().map(|&n| Dim::Fixed(n)).collect())
    }

    /// This type, with what it leaves open taken from another one. `None` if they contradict each other: another element
    /// type, another rank, or another known extent. Two different symbols, or a symbol and a number, may be equal.
    pub fn refined(&self, by: &ValueType) -> Option<ValueType> {
        let dtype = match (self.dtype, by.dtype) {
            (Some(a), Some(b)) if a != b => return None,
            (a, b) => a.or(b),
        };
        let shape = match (&self.shape, &by.shape) {
            (Some(a), Some(b)) if a.len() != b.len() => return None,
            (Some(a), Some(b)) => {
                let refine = |(a, b): (&Dim, &Dim)| match (a, b) {
                    (Dim::Fixed(a), Dim::Fixed(b)) if a != b => None,
                    (Dim::Unknown, other) => Some(other.clone()),
                    (known, _) => Some(known.clone()),
                };
                Some(a.iter().zip(b).map(refine).collect::<Option<Vec<Dim>>>()?)
            }
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        Some(ValueType { dtype, shape })
    }
}

impl fmt::Display for ValueType {
    /// The textual form of ONNX: `float[N,3,32,32]`, `float` for rank 0, `float[]` for an unknown rank.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.dtype.map_or("undefined", DType::name))?;
        match self.shape.as_deref() {
            None => f.write_str("[]"),
            Some([]) => Ok(()),
            Some(shape) => {
                let dims: Vec<String> = shape.iter().map(Dim::to_string).collect();
                write!(f, "[{}]", dims.join(","))
            }
        }
    }
}
