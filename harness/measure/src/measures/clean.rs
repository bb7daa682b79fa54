//! Predictions on the images themselves.

use super::{Conditions, Group, Measure, Watch};
use crate::error::MeasureError;
use crate::findings::Findings;

/// The images, each alone and in batches of the sizes that the run uses.
pub(crate) struct Clean;

impl Measure for Clean {
    fn group(&self, conditions: &Conditions) -> usize {
        conditions.settings.batch_size
    }

    fn doubts_batches(&self) -> bool {
        true
    }

    fn measure(&self, on: &Group, _: &mut Watch) -> Result<(Findings, Option<MeasureError>), MeasureError> {
        Ok((on.findings(), None))
    }

    fn skipped(&self, on: &Group) -> Result<Findings, MeasureError> {
        Ok(on.findings())
    }
}
