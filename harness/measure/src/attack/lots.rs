//! The samples under attack in lots of one batch each, and how those that stay are packed again. Values stay where the engine has
//! them; on the CPU that is the host's memory, and rows are copied from it once.

use flatscape_engine::Buffer;
use flatscape_graph::{Element, Tensor, with_array};
use ndarray::{ArrayD, IxDyn};

use super::AttackError;
use crate::stage::{Stage, StageError, Values};

/// Samples that run together, and their values.
pub(crate) struct Lot {
    /// Their places among the samples of the attack, ascending.
    pub rows: Vec<usize>,
    /// Values by name; those with rows have them in the order of `rows`.
    pub values: Values,
}

/// Packs the rows that stay into lots of `size`, in their order. `stay` has the rows of every lot. Lots in front of the first one
/// that loses a row are left alone.
pub(crate) fn pack(lots: Vec<Lot>, stay: &[Vec<usize>], size: usize, stage: &Stage) -> Result<Vec<Lot>, AttackError> {
    let Some(first) = lots.iter().zip(stay).position(|(lot, stay)| stay.len() < lot.rows.len()) else { return Ok(lots) };
    let mut packed: Vec<Lot> = lots;
    let changed = packed.split_off(first);
    let places: Vec<(usize, usize)> =
        stay[first..].iter().enumerate().flat_map(|(lot, rows)| rows.iter().map(move |&row| (lot, row))).collect();
    for part in places.chunks(size.max(1)) {
        let mut values = Values::default();
        for name in changed[part[0].0].values.names() {
            values.put(&name, picked(&changed, part, &name, stage)?);
        }
        packed.push(Lot { rows: part.iter().map(|&(lot, row)| changed[lot].rows[row]).collect(), values });
    }
    Ok(packed)
}

/// The rows of a value at these places, one above the other; what has no rows is taken as it is.
fn picked(lots: &[Lot], places: &[(usize, usize)], name: &str, stage: &Stage) -> Result<Buffer, AttackError> {
    let wrong = || StageError::Result { name: name.to_owned() };
    let buffers: Vec<&Buffer> = lots.iter().filter_map(|lot| lot.values.get(name)).collect();
    if buffers.len() != lots.len() {
        return Err(wrong().into());
    }
    if buffers[places[0].0].shape().is_empty() {
        return Ok(buffers[places[0].0].clone());
    }
    // only lots that are named are read, and none is copied that lies on the host
    let mut tensors: Vec<Option<Tensor>> = vec![None; lots.len()];
    for &(lot, _) in places {
        if tensors[lot].is_none() && buffers[lot].on_host().is_none() {
            tensors[lot] = Some(stage.read(buffers[lot])?);
        }
    }
    let at = |lot: usize| tensors[lot].as_ref().or_else(|| buffers[lot].on_host());
    let first = at(places[0].0).ok_or_else(wrong)?;
    let rows = with_array!(first, a => gathered(a, places, &at));
    let rows = rows.ok_or_else(wrong)?;
    Ok(if buffers[places[0].0].on_host().is_some() { Buffer::from(rows) } else { stage.upload(&rows)? })
}

fn gathered<'t, T: Element>(
    first: &ArrayD<T>,
    places: &[(usize, usize)],
    at: &dyn Fn(usize) -> Option<&'t Tensor>,
) -> Option<Tensor> {
    let inner = first.shape().get(1..)?;
    let width: usize = inner.iter().product();
    let mut data: Vec<T> = Vec::with_capacity(width * places.len());
    for &(lot, row) in places {
        let array = T::view(at(lot)?)?;
        data.extend_from_slice(array.as_slice()?.get(row * width..(row + 1) * width)?);
    }
    let shape: Vec<usize> = std::iter::once(places.len()).chain(inner.iter().copied()).collect();
    ArrayD::from_shape_vec(IxDyn(&shape), data).ok().map(T::wrap)
}
