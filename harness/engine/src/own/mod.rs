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

use std::sync::{Mutex, PoisonError};

pub(crate) use chwn::Chwn;
pub(crate) use correlation::Correlation;
use flatscape_kernels::Each;
pub(crate) use formula::Formula;
pub(crate) use gate::Gate;
pub(crate) use interleave::Interleave;
pub(crate) use pool::PoolGradient;
pub(crate) use winograd::Winograd;

/// An operand: its elements, row-major, and its extents.
pub(crate) type Operand<'o> = (&'o [f32], &'o [usize]);

/// An operator, with the attributes of a node. Operands and results are float32.
pub(crate) trait Own: Sized + Send + Sync + 'static {
    /// Its name in the domain of the engine.
    const NAME: &'static str;
    /// How many operands it has at least and at most.
    const OPERANDS: [usize; 2];
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
    /// Whether the second operand is the same in every run.
    pub constant: bool,
    pub spare: &'r Spare,
}

/// Memory for what is computed from operands in every run and thrown away.
#[derive(Default)]
pub(crate) struct Spare(Mutex<Vec<Vec<f32>>>);

impl Spare {
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
    Some((elements, extents.try_into().ok()?))
}
