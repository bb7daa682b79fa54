//! A tensor where the engine wants it: on the host, or on a device. Does not know which device.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

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
    Picked(Picked),
    Device(Box<dyn DeviceTensor>),
}

/// Rows of tensors on the host that are brought beside each other when they are needed: a graph that runs in micro-batches brings
/// those of one while it has the others still before it, so that they stay in the cache.
pub(crate) struct Picked {
    /// Where they are, in tensors that are equal but for their first extent.
    parts: Vec<Buffer>,
    places: Vec<(usize, usize)>,
    shape: Vec<usize>,
    dtype: DType,
    whole: OnceLock<Option<Tensor>>,
}

/// Bytes from which rows are brought beside each other when they are needed.
const LARGE: usize = 1 << 16;

impl Picked {
    /// `None` where a place does not exist, or the tensors are few bytes.
    fn of(rows: &Rows) -> Option<Picked> {
        let &(first, _) = rows.places.first()?;
        let like = rows.parts.get(first)?;
        let (dtype, inner) = (like.dtype(), like.shape().get(1..)?.to_vec());
        let (mut parts, mut places): (Vec<Buffer>, _) = (Vec::new(), Vec::with_capacity(rows.places.len()));
        for &(part, row) in rows.places {
            // rows of rows are rows of the tensors where they are
            let (buffer, row) = match &*rows.parts.get(part)?.0 {
                Memory::Picked(picked) => picked.places.get(row).map(|&(part, row)| (&picked.parts[part], row))?,
                _ => (*rows.parts.get(part)?, row),
            };
            if buffer.dtype() != dtype || buffer.shape().get(1..) != Some(&inner) || row >= buffer.shape()[0] {
                return None;
            }
            let known = parts.iter().rposition(|known| Arc::ptr_eq(&known.0, &buffer.0));
            places.push((known.unwrap_or(parts.len()), row));
            if known.is_none() {
                parts.push(buffer.clone());
            }
        }
        let shape = [&[places.len()], &inner[..]].concat();
        let large = shape.iter().product::<usize>() * dtype.size() >= LARGE;
        large.then_some(Picked { parts, places, shape, dtype, whole: OnceLock::new() })
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// All of them.
    pub fn whole(&self) -> Option<&Tensor> {
        self.whole.get_or_init(|| self.rows(0..self.places.len())).as_ref()
    }

    /// Some of them.
    pub fn rows(&self, range: Range<usize>) -> Option<Tensor> {
        let parts: Vec<&Buffer> = self.parts.iter().collect();
        beside_each_other(&parts, self.places.get(range)?)
    }
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
    /// As [`Buffer::read_rows`], where this device can do it for every tensor that is named.
    fn rows(&self, _wanted: &Rows) -> Option<Result<Tensor, EngineError>> {
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
        self.parts.iter().all(|part| part.memory_of_device().is_none())
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
            Memory::Picked(picked) => &picked.shape,
            Memory::Device(tensor) => tensor.shape(),
        }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        match &*self.0 {
            Memory::Host(tensor) => tensor.dtype(),
            Memory::Picked(picked) => picked.dtype,
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
            Memory::Picked(picked) => {
                let missing = || EngineError::Copy { device: "host".to_owned(), reason: "rows are missing".to_owned() };
                picked.whole().cloned().map(counted).ok_or_else(missing)
            }
            Memory::Device(tensor) => tensor.host().map(counted),
        }
    }

    /// The tensor itself, without a copy, if it is on the host (always so on CPU engines). Its memory is row-major.
    pub fn on_host(&self) -> Option<&Tensor> {
        match &*self.0 {
            Memory::Host(tensor) => Some(tensor),
            Memory::Picked(picked) => picked.whole(),
            Memory::Device(_) => None,
        }
    }

    /// Rows that are not beside each other yet.
    pub(crate) fn picked(&self) -> Option<&Picked> {
        match &*self.0 {
            Memory::Picked(picked) if picked.whole.get().is_none() => Some(picked),
            _ => None,
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

    /// A copy of rows on the host. `None` as for [`Buffer::gathered_all`].
    ///
    /// # Errors
    /// As for [`Buffer::host`].
    pub fn read_rows(wanted: &Rows) -> Result<Option<Tensor>, EngineError> {
        if wanted.is_on_host() {
            return Ok(beside_each_other(&wanted.parts, wanted.places).map(counted));
        }
        let device = wanted.parts.iter().find_map(|part| part.memory_of_device());
        Ok(device.and_then(|device| device.rows(wanted)).transpose()?.map(counted))
    }

    fn memory_of_device(&self) -> Option<&dyn DeviceTensor> {
        match &*self.0 {
            Memory::Host(_) | Memory::Picked(_) => None,
            Memory::Device(tensor) => Some(tensor.as_ref()),
        }
    }

    pub(crate) fn device(&self) -> Option<&dyn Any> {
        self.memory_of_device().map(DeviceTensor::as_any)
    }
}

fn rows_on_host(rows: &Rows) -> Option<Buffer> {
    match Picked::of(rows) {
        Some(picked) => Some(Buffer(Arc::new(Memory::Picked(picked)))),
        None => beside_each_other(&rows.parts, rows.places).map(Buffer::from),
    }
}

fn beside_each_other(parts: &[&Buffer], places: &[(usize, usize)]) -> Option<Tensor> {
    let &(first, _) = places.first()?;
    let first = parts.get(first)?.on_host()?;
    with_array!(first, a => rows_at(a, parts, places))
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
        let place = if self.memory_of_device().is_none() { "host" } else { "device" };
        write!(f, "Buffer({}{:?} on the {place})", self.dtype().name(), self.shape())
    }
}
