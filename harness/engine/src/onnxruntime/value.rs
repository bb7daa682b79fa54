//! Tensors on their way into and out of ONNX Runtime.

use flatscape_graph::{DType, Element, Tensor, with_array};
use ndarray::ArrayD;
use ort::memory::AllocationDevice;
use ort::session::SessionInputValue;
use ort::value::{DynTensor, DynTensorValueType, DynValue, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};

use crate::rows::Slice;

/// A view of (some rows of) a host tensor: nothing is copied.
pub(super) fn input<'a>(slice: &Slice<'a>) -> ort::Result<SessionInputValue<'a>> {
    fn view<'a, T>(slice: &Slice<'a>, array: &'a ArrayD<T>) -> ort::Result<SessionInputValue<'a>>
    where
        T: Element + PrimitiveTensorElementType + std::fmt::Debug + 'static,
    {
        let data = slice.elements(array).ok_or_else(|| ort::Error::new("an input is not row-major"))?;
        Ok(TensorRef::from_array_view((slice.shape(), data))?.into())
    }
    with_array!(slice.tensor(), a => view(slice, a))
}

/// A copy of a result on the host.
pub(super) fn output(value: &DynValue) -> ort::Result<Tensor> {
    fn copy<T: Element + PrimitiveTensorElementType>(value: &DynValue) -> ort::Result<Tensor> {
        let (shape, data) = value.try_extract_tensor::<T>()?;
        let shape: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
        Tensor::new(&shape, data.to_vec()).ok_or_else(|| ort::Error::new("a result has an impossible shape"))
    }
    match dtype(value)? {
        DType::F32 => copy::<f32>(value),
        DType::F64 => copy::<f64>(value),
        DType::I8 => copy::<i8>(value),
        DType::I32 => copy::<i32>(value),
        DType::I64 => copy::<i64>(value),
        DType::U8 => copy::<u8>(value),
        DType::Bool => copy::<bool>(value),
    }
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
    with_array!(slice.tensor(), a => copy(slice, a))
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
