//! The samples under attack in lots of one batch each, and how those that stay are packed again. Values stay where the engine has
//! them; on the CPU that is the host's memory, and rows are copied from it once.

use std::collections::BTreeMap;
use std::ops::Range;

use flatscape_engine::{Buffer, Rows};

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
    let chunks: Vec<Chunk> = places.chunks(size.max(1)).map(Chunk::new).collect();
    for (chunk, values) in chunks.iter().zip(picked(&changed, &chunks, stage)?) {
        let rows = chunk.places.iter().map(|&(lot, row)| changed[chunk.lots.start + lot].rows[row]).collect();
        packed.push(Lot::new(rows, values));
    }
    Ok(packed)
}

/// What becomes one lot.
struct Chunk {
    /// The lots that it takes rows of.
    lots: Range<usize>,
    /// Which of these lots, and which row of it.
    places: Vec<(usize, usize)>,
}

impl Chunk {
    /// `places` name a lot among all, ascending.
    fn new(places: &[(usize, usize)]) -> Chunk {
        let lots = places.first().map_or(0..0, |first| first.0..places[places.len() - 1].0 + 1);
        Chunk { places: places.iter().map(|&(lot, row)| (lot - lots.start, row)).collect(), lots }
    }
}

/// Per chunk its rows of every value. The engine is asked once for all of them.
fn picked(lots: &[Lot], chunks: &[Chunk], stage: &Stage) -> Result<Vec<Values>, AttackError> {
    let names = lots[0].values.names();
    let mut parts: Vec<(&String, Vec<&Buffer>)> = Vec::with_capacity(names.len());
    for name in &names {
        let buffers: Option<Vec<&Buffer>> = lots.iter().map(|lot| lot.values.get(name)).collect();
        parts.push((name, buffers.ok_or_else(|| StageError::Result { name: name.clone() })?));
    }
    let (whole, rows): (Vec<_>, Vec<_>) = parts.into_iter().partition(|(_, parts)| parts[0].shape().is_empty());
    let mut wanted: Vec<Rows> = Vec::with_capacity(chunks.len() * rows.len());
    for Chunk { lots, places } in chunks {
        wanted.extend(rows.iter().map(|(_, parts)| Rows { parts: parts[lots.clone()].to_vec(), places }));
    }
    let mut gathered = Buffer::gathered_all(&wanted)?.into_iter().zip(&wanted);
    let mut all = Vec::with_capacity(chunks.len());
    for _ in chunks {
        let mut values = Values::default();
        whole.iter().for_each(|(name, parts)| values.put(name, parts[0].clone()));
        for ((name, _), (buffer, wanted)) in rows.iter().zip(gathered.by_ref()) {
            values.put(name, buffer.map_or_else(|| by_way_of_the_host(wanted, name, stage), Ok)?);
        }
        all.push(values);
    }
    Ok(all)
}

fn by_way_of_the_host(wanted: &Rows, name: &str, stage: &Stage) -> Result<Buffer, AttackError> {
    let wrong = || StageError::Result { name: name.to_owned() };
    let rows = stage.read_rows(&wanted.parts, wanted.places)?.ok_or_else(wrong)?;
    Ok(stage.upload(&rows)?)
}
