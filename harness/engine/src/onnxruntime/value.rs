//! Tensors on their way into and out of ONNX Runtime.

use std::ops::Range;

use flatscape_graph::{DType, Element, Tensor, with_array};
use ndarray::ArrayD;
use ort::memory::AllocationDevice;
use ort::session::SessionInputValue;
use ort::value::{DynTensor, DynTensorValueType, DynValue, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};

use crate::rows::{MISFIT, Slice, Stacked};

/// Runs the same expression with the element type of that name.
macro_rules! with_type {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $t = f32;
                $body
            }
            DType::F64 => {
                type $t = f64;
                $body
            }
            DType::I8 => {
                type $t = i8;
                $body
            }
            DType::I32 => {
                type $t = i32;
                $body
            }
            DType::I64 => {
                type $t = i64;
                $body
            }
            DType::U8 => {
                type $t = u8;
                $body
            }
            DType::Bool => {
                type $t = bool;
                $body
            }
        }
    };
}

fn missing() -> ort::Error {
    ort::Error::new("rows of an input are missing")
}

/// A view of (some rows of) a host tensor: nothing is copied.
pub(super) fn input<'a>(slice: &Slice<'a>) -> ort::Result<SessionInputValue<'a>> {
    fn view<'a, T>(slice: &Slice<'a>, array: &'a ArrayD<T>) -> ort::Result<SessionInputValue<'a>>
    where
        T: Element + PrimitiveTensorElementType + std::fmt::Debug + 'static,
    {
        let data = slice.elements(array).ok_or_else(|| ort::Error::new("an input is not row-major"))?;
        Ok(TensorRef::from_array_view((slice.shape(), data))?.into())
    }
    with_array!(slice.tensor().ok_or_else(missing)?, a => view(slice, a))
}

/// A copy of a result on the host.
pub(super) fn output(value: &DynValue) -> ort::Result<Tensor> {
    fn copy<T: Element + PrimitiveTensorElementType>(value: &DynValue) -> ort::Result<Tensor> {
        let (shape, data) = value.try_extract_tensor::<T>()?;
        let shape: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
        Tensor::new(&shape, data.to_vec()).ok_or_else(|| ort::Error::new("a result has an impossible shape"))
    }
    with_type!(dtype(value)?, T => copy::<T>(value))
}

/// Copies a result into its rows of an output.
pub(super) fn stack(value: &DynValue, output: usize, rows: &Range<usize>, into: &Stacked) -> ort::Result<()> {
    fn copy<T: Element + PrimitiveTensorElementType>(
        value: &DynValue,
        output: usize,
        rows: &Range<usize>,
        into: &Stacked,
    ) -> ort::Result<()> {
        let (shape, data) = value.try_extract_tensor::<T>()?;
        let shape: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
        into.put(output, rows, &shape, data).ok_or_else(|| ort::Error::new(MISFIT))
    }
    with_type!(dtype(value)?, T => copy::<T>(value, output, rows, into))
}

/// The element type of a value.
pub(super) fn dtype(value: &DynValue) -> ort::Result<DType> {
    let ty = match value.dtype() {
        ValueType::Tensor { ty, .. } => ty,
        other => return Err(ort::Error::new(format!("a result is {other} and not a tensor"))),
    };
    Ok(match ty {
        TensorElementType::Float32 => DType::F32,
        TensorElementType::Float64 => DType::F64,
        TensorElementType::Int8 => DType::I8,
        TensorElementType::Int32 => DType::I32,
        TensorElementType::Int64 => DType::I64,
        TensorElementType::Uint8 => DType::U8,
        TensorElementType::Bool => DType::Bool,
        other => return Err(ort::Error::new(format!("a result has the element type {other}"))),
    })
}

/// A copy that ONNX Runtime may keep.
pub(super) fn owned(slice: &Slice) -> ort::Result<DynTensor> {
    fn copy<T>(slice: &Slice, array: &ArrayD<T>) -> ort::Result<DynTensor>
    where
        T: Element + PrimitiveTensorElementType + std::fmt::Debug + 'static,
    {
        let data: Vec<T> = array.iter().cloned().collect();
        Ok(ort::value::Tensor::from_array((slice.shape(), data))?.upcast())
    }
    with_array!(slice.tensor().ok_or_else(missing)?, a => copy(slice, a))
}

/// A copy on the host of a value that lies on a device.
pub(super) fn to_host(value: &DynValue) -> ort::Result<Tensor> {
    let tensor = value.view().downcast::<DynTensorValueType>()?;
    output(&tensor.to(AllocationDevice::CPU, 0)?.into_dyn())
}

/// The extents of a value.
pub(super) fn shape(value: &DynValue) -> ort::Result<Vec<usize>> {
    match value.dtype() {
        ValueType::Tensor { shape, .. } => Ok(shape.iter().map(|&n| n as usize).collect()),
        other => Err(ort::Error::new(format!("a result is {other} and not a tensor"))),
    }
}
