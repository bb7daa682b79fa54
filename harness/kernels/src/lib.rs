//! The arithmetic of operators that no engine has, or has in a slower form, with the vectors of the processor.
//!
//! This crate knows numbers in memory and instructions. It knows neither engines nor graphs nor threads: who calls it gives it slices
//! and something that does jobs.

mod chwn;
mod correlation;
mod direct;
mod formula;
mod vectors;
mod windows;
mod winograd;

#[cfg(test)]
mod tests;

pub use chwn::{Chwn, Packed, Results, Source};
pub use correlation::{Correlation, Each, Images};
pub use direct::{Direct, Padded};
pub use formula::{Formula, Operand, Operation, Reduction, STEPS, Step, Total};
pub use windows::Windows;
pub use winograd::{Beside, Kernel, SQUARES, Square, Winograd, lanes};
