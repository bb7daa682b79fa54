//! A tensor where the engine wants it: on the host, or on a device. Does not know which device.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flatscape_graph::{DType, Element, Tensor, with_array};
use ndarray::ArrayD;

use crate::EngineError;

/// A tensor that is cheap to clone and stays where it is. Results of a run are buffers, and buffers go into the next run
/// without passing through the host.
#[derive(Clone)]
pub struct Buffer(Arc<Memory>);

/// Bytes that buffers have given to the host.
static READ: AtomicU64 = AtomicU64::new(0);

/// Bytes that buffers of any engine have given to the host since the program began, by [`Buffer::host`]. Where
/// engine and host share their memory, they are the bytes that would have to pass.
pub fn bytes_read() -> u64 {
    READ.load(Ordering::Relaxed)
}

fn counted(tensor: Tensor) -> Tensor {
    READ.fetch_add((tensor.len() * tensor.dtype().size()) as u64, Ordering::Relaxed);
    tensor
}

enum Memory {
    Host(Tensor),
    Device(Box<dyn DeviceTensor>),
}

/// A tensor in the memory of a device.
pub(crate) trait DeviceTensor: Send + Sync {
    fn shape(&self) -> &[usize];
    fn dtype(&self) -> DType;
    fn host(&self) -> Result<Tensor, EngineError>;
    /// As [`Buffer::gathered_all`], where this device can do it for every tensor that is named.
    fn gathered(&self, _wanted: &[&Rows]) -> Option<Result<Vec<Buffer>, EngineError>> {
        None
    }
    fn as_any(&self) -> &dyn Any;
}

/// Rows of tensors, one above the other.
#[derive(Clone, Debug)]
pub struct Rows<'b> {
    /// The tensors: equal but for their first extent.
    pub parts: Vec<&'b Buffer>,
    /// Which tensor, and which row of it.
    pub places: &'b [(usize, usize)],
}

impl Rows<'_> {
    fn is_on_host(&self) -> bool {
        self.parts.iter().all(|part| part.on_host().is_some())
    }
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
            Memory::Host(tensor) => Ok(counted(tensor.clone())),
            Memory::Device(tensor) => tensor.host().map(counted),
        }
    }

    /// The tensor itself, without a copy, if it is on the host (always so on CPU engines). Its memory is row-major.
    pub fn on_host(&self) -> Option<&Tensor> {
        match &*self.0 {
            Memory::Host(tensor) => Some(tensor),
            Memory::Device(_) => None,
        }
    }

    /// The rows that are wanted, as new tensors, without a way through this process. A device is asked once for all of them.
    /// `None` where the device cannot do that, or a place does not exist.
    ///
    /// # Errors
    /// As for [`Buffer::host`].
    pub fn gathered_all(wanted: &[Rows]) -> Result<Vec<Option<Buffer>>, EngineError> {
        // a device takes rows of the host along; the host cannot reach those of a device
        let away: Vec<&Rows> = wanted.iter().filter(|rows| !rows.is_on_host()).collect();
        let device = away.first().and_then(|rows| rows.parts.iter().find_map(|part| part.memory_of_device()));
        let mut given: Vec<Option<Buffer>> = match device.and_then(|device| device.gathered(&away)).transpose()? {
            Some(buffers) if buffers.len() == away.len() => buffers.into_iter().map(Some).collect(),
            _ => vec![None; away.len()],
        };
        let mut given = given.drain(..);
        let rows = |rows: &Rows| if rows.is_on_host() { rows_on_host(rows) } else { given.next().flatten() };
        Ok(wanted.iter().map(rows).collect())
    }

    /// As [`Buffer::gathered_all`], for one tensor.
    ///
    /// # Errors
    /// As for [`Buffer::host`].
    pub fn gathered(parts: &[&Buffer], places: &[(usize, usize)]) -> Result<Option<Buffer>, EngineError> {
        Ok(Buffer::gathered_all(&[Rows { parts: parts.to_vec(), places }])?.pop().flatten())
    }

    fn memory_of_device(&self) -> Option<&dyn DeviceTensor> {
        match &*self.0 {
            Memory::Host(_) => None,
            Memory::Device(tensor) => Some(tensor.as_ref()),
        }
    }

    pub(crate) fn device(&self) -> Option<&dyn Any> {
        self.memory_of_device().map(DeviceTensor::as_any)
    }
}

fn rows_on_host(rows: &Rows) -> Option<Buffer> {
    let &(first, _) = rows.places.first()?;
    let first = rows.parts.get(first)?.on_host()?;
    with_array!(first, a => rows_at(a, &rows.parts, rows.places)).map(Buffer::from)
}

/// Rows of arrays on the host; `first` has the element type and the extents of a row.
fn rows_at<T: Element>(first: &ArrayD<T>, parts: &[&Buffer], places: &[(usize, usize)]) -> Option<Tensor> {
    let inner = first.shape().get(1..)?;
    let width: usize = inner.iter().product();
    let mut data: Vec<T> = Vec::with_capacity(width * places.len());
    for &(part, row) in places {
        let array = T::view(parts.get(part)?.on_host()?).filter(|array| array.shape().get(1..) == Some(inner))?;
        data.extend_from_slice(array.as_slice()?.get(row.checked_mul(width)?..row.checked_add(1)?.checked_mul(width)?)?);
    }
    let shape: Vec<usize> = std::iter::once(places.len()).chain(inner.iter().copied()).collect();
    Tensor::new(&shape, data)
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.on_host().is_some() { "host" } else { "device" };
        write!(f, "Buffer({}{:?} on the {place})", self.dtype().name(), self.shape())
    }
}
