//! The samples under attack in lots of one batch each, and how those that stay are packed again. Values stay where the engine has
//! them; on the CPU that is the host's memory, and rows are copied from it once.

use std::collections::BTreeMap;

use flatscape_engine::Buffer;

use super::AttackError;
use crate::stage::{Stage, StageError, Values};

/// Samples that run together, and their values.
pub(crate) struct Lot {
    /// Their places among the samples of the attack, ascending.
    pub rows: Vec<usize>,
    /// Values by name; those with rows have them in the order of `rows`.
    pub values: Values,
    /// By sample the nearest adversarial example that was confirmed, and its score.
    pub confirmed: BTreeMap<usize, (f32, Vec<f32>)>,
}

impl Lot {
    pub fn new(rows: Vec<usize>, values: Values) -> Lot {
        Lot { rows, values, confirmed: BTreeMap::new() }
    }
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
        packed.push(Lot::new(part.iter().map(|&(lot, row)| changed[lot].rows[row]).collect(), values));
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
    if let Some(rows) = Buffer::gathered(&buffers, places)? {
        return Ok(rows);
    }
    // by way of the host, and only lots that are named are read
    let mut read: Vec<Option<Buffer>> = vec![None; lots.len()];
    for &(lot, _) in places {
        if read[lot].is_none() {
            read[lot] = Some(stage.read(buffers[lot])?.into());
        }
    }
    let read: Vec<&Buffer> = read.iter().zip(&buffers).map(|(read, buffer)| read.as_ref().unwrap_or(buffer)).collect();
    let rows = Buffer::gathered(&read, places)?.ok_or_else(wrong)?;
    Ok(stage.upload(&rows.host()?)?)
}
