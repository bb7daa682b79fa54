//! A coordinate from a range and the ticks on it: the budgets that were measured are not round numbers. plotters' own
//! `with_key_points` cannot be used for this, because it has no formatter on floating-point ranges.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;

/// A coordinate with the ticks that it is given.
#[derive(Clone)]
pub(crate) struct Ticks {
    range: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ticks {
    pub(crate) fn new(range: Range<f64>, ticks: Vec<f64>) -> Ticks {
        Ticks { range: range.into(), ticks }
    }
}

impl Ranged for Ticks {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.range.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.range()
    }
}
