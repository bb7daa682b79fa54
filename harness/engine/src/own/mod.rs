//! Operators of our own, as the engines need them: their operands, the extents of their results, and their arithmetic. They exist for
//! execution only: no file that is written has them. One file per operator; `onnxruntime/own.rs` and `tract/own.rs` bring them into
//! the engines.

mod chwn;
mod correlation;
mod formula;
mod gate;
mod interleave;
mod pool;
mod winograd;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub(crate) use chwn::Chwn;
pub(crate) use correlation::Correlation;
use flatscape_graph::hash::Sha256;
use flatscape_kernels::Each;
pub(crate) use formula::Formula;
pub(crate) use gate::Gate;
pub(crate) use interleave::Interleave;
pub(crate) use pool::PoolGradient;
pub(crate) use winograd::Winograd;

/// An operand: its elements, row-major, and its extents.
pub(crate) type Operand<'o> = (&'o [f32], &'o [i64]);

/// An operator, with the attributes of a node. Operands and results are float32.
pub(crate) trait Own: Sized + Send + Sync + 'static {
    /// Its name in the domain of the engine.
    const NAME: &'static str;
    /// How many operands it has at most.
    const OPERANDS: usize;
    /// How many results it has at most.
    const RESULTS: usize;

    /// Reads the attributes of a node, lists of numbers by name.
    fn read(attribute: &dyn Fn(&str) -> Option<Vec<i64>>) -> Result<Self, String>;

    /// The extents of the results. Negative numbers stand for extents that are not known yet; equal ones, −1 aside, for equal
    /// extents. `None` where they do not follow from what is known, or operands do not fit.
    fn extents(&self, operands: &[Option<&[i64]>]) -> Option<Vec<Vec<i64>>>;

    /// Writes all elements of the results, whose extents are those that [`Own::extents`] gives.
    fn compute(&self, operands: &[Option<Operand>], results: &mut [&mut [f32]], run: &Run) -> Result<(), String>;
}

/// What an operator is given in a run besides its operands.
pub(crate) struct Run<'r> {
    /// Runs jobs in parallel.
    pub each: &'r Each<'r, String>,
    /// The threads that do so.
    pub threads: usize,
    /// The hash of the elements of the second operand, where it is the same in every run.
    pub constant: Option<Hash>,
    pub spare: &'r Spare,
}

/// SHA-256.
pub(crate) type Hash = [u8; 32];

/// Of the elements of a constant.
pub(crate) fn hash(elements: &[f32]) -> Hash {
    let mut hash = Sha256::default();
    hash.update(bytemuck::cast_slice(elements));
    hash.finish()
}

/// What was made of constants in this process and is still held, so that graphs with the same weights hold it once.
pub(crate) struct Known<K, V>(Mutex<BTreeMap<K, Weak<V>>>);

impl<K: Ord, V> Known<K, V> {
    pub const fn new() -> Known<K, V> {
        Known(Mutex::new(BTreeMap::new()))
    }

    /// What is held under a key, or what is made now. Others wait while it is made.
    pub fn get(&self, key: K, make: impl FnOnce() -> Arc<V>) -> Arc<V> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        held.retain(|_, value| value.strong_count() > 0);
        let made = make();
        held.insert(key, Arc::downgrade(&made));
        made
    }
}

/// Memory for what is computed from operands in every run and thrown away.
#[derive(Default)]
pub(crate) struct Spare(Mutex<Vec<Vec<f32>>>);

impl Spare {
    /// Memory that was used before, or an empty vector that grows where all of it is in use.
    fn take(&self) -> Vec<f32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, memory: Vec<f32>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

/// Runs jobs one after the other.
pub(crate) fn one_by_one<E>(jobs: usize, job: &(dyn Fn(usize) + Sync)) -> Result<(), E> {
    (0..jobs).for_each(job);
    Ok(())
}

/// An operand that may be absent.
fn given<T: Copy>(operands: &[Option<T>], place: usize) -> Option<T> {
    operands.get(place).copied().flatten()
}

/// The elements of an operand that may be absent; the error is `wrong` where it is there and has another number of them.
fn beside<'o>(operands: &[Option<Operand<'o>>], place: usize, length: usize, wrong: &str) -> Result<Option<&'o [f32]>, String> {
    match given(operands, place) {
        Some((elements, _)) if elements.len() != length => Err(wrong.to_owned()),
        found => Ok(found.map(|(elements, _)| elements)),
    }
}

/// An operand of four axes.
fn four<'o>(operands: &[Option<Operand<'o>>], place: usize) -> Option<(&'o [f32], [usize; 4])> {
    let (elements, extents) = given(operands, place)?;
    let extents: [i64; 4] = extents.try_into().ok()?;
    Some((elements, extents.map(|n| n as usize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_of_a_constant_is_held_once_and_not_longer_than_needed() {
        let (known, made) = (Known::new(), std::cell::Cell::new(0));
        let get = |key: i32| {
            known.get(key, || {
                made.set(made.get() + 1);
                Arc::new(key)
            })
        };
        let (first, second) = (get(1), get(1));
        assert!(Arc::ptr_eq(&first, &second) && made.get() == 1);
        assert_eq!((*get(2), made.get()), (2, 2));
        drop((first, second));
        assert_eq!((*get(1), made.get()), (1, 3));
        assert_ne!(hash(&[0.0, 1.0]), hash(&[-0.0, 1.0]));
    }
}
