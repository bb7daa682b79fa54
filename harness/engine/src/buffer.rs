//! A tensor where the engine wants it: on the host, or on a device. Does not know which device.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use flatscape_graph::{DType, Tensor, with_array};

use crate::EngineError;

/// A tensor that is cheap to clone and stays where it is. Results of a run are buffers, and buffers go into the next run
/// without passing through the host.
#[derive(Clone)]
pub struct Buffer(Arc<Memory>);

enum Memory {
    Host(Tensor),
    Device(Box<dyn DeviceTensor>),
}

/// A tensor in the memory of a device.
pub(crate) trait DeviceTensor: Send + Sync {
    fn shape(&self) -> &[usize];
    fn dtype(&self) -> DType;
    fn host(&self) -> Result<Tensor, EngineError>;
    fn as_any(&self) -> &dyn Any;
}

impl From<Tensor> for Buffer {
    /// Takes a host tensor; nothing is copied unless its memory is not row-major.
    fn from(tensor: Tensor) -> Buffer {
        let row_major = with_array!(&tensor, a => a.is_standard_layout());
        let tensor =
            if row_major { tensor } else { with_array!(&tensor, a => Tensor::from(a.as_standard_layout().into_owned())) };
        Buffer(Arc::new(Memory::Host(tensor)))
    }
}

impl Buffer {
    pub(crate) fn on_device(tensor: Box<dyn DeviceTensor>) -> Buffer {
        Buffer(Arc::new(Memory::Device(tensor)))
    }

    /// The extents.
    pub fn shape(&self) -> &[usize] {
        match &*self.0 {
            Memory::Host(tensor) => tensor.shape(),
            Memory::Device(tensor) => tensor.shape(),
        }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        match &*self.0 {
            Memory::Host(tensor) => tensor.dtype(),
            Memory::Device(tensor) => tensor.dtype(),
        }
    }

    /// A copy on the host.
    ///
    /// # Errors
    /// [`EngineError::Copy`] when the device does not give it.
    pub fn host(&self) -> Result<Tensor, EngineError> {
        match &*self.0 {
            Memory::Host(tensor) => Ok(tensor.clone()),
            Memory::Device(tensor) => tensor.host(),
        }
    }

    /// The tensor itself, without a copy, if it is on the host (always so on CPU engines). Its memory is row-major.
    pub fn on_host(&self) -> Option<&Tensor> {
        match &*self.0 {
            Memory::Host(tensor) => Some(tensor),
            Memory::Device(_) => None,
        }
    }

    pub(crate) fn device(&self) -> Option<&dyn Any> {
        match &*self.0 {
            Memory::Host(_) => None,
            Memory::Device(tensor) => Some(tensor.as_any()),
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.on_host().is_some() { "host" } else { "device" };
        write!(f, "Buffer({}{:?} on the {place})", self.dtype().name(), self.shape())
    }
}
