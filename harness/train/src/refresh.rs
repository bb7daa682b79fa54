//! Running statistics of averaged weights: those of the weights that were averaged do not belong to them. Source: Izmailov et al. 2018
//! (arXiv:1803.05407), section 3.2.

use flatscape_graph::Tensor;
use flatscape_intake::refusal::Refusal;
use flatscape_measure::stage::{Draw, StageError, Step};

use crate::evaluate::batch;
use crate::form::Averages;
use crate::learner::{LearnError, When, weights_of};
use crate::plan::Plan;
use crate::prepare::{Prepared, of};

/// Images over which statistics are taken, at most.
const IMAGES: usize = 10_000;

/// The means over batches of the first training images of the statistics of each, the variance unbiased; `None` where the model has no
/// normalisation.
///
/// # Errors
/// The graph failed.
pub fn refreshed(prepared: &Prepared, parameters: &[Tensor], plan: &Plan) -> Result<Option<Vec<Tensor>>, Refusal> {
    let Some(stage) = &prepared.refresh else { return Ok(None) };
    let failed = of("refreshed statistics");
    let work = || -> Result<Vec<Tensor>, LearnError> {
        let uploaded = parameters.iter().map(|t| stage.upload(t)).collect::<Result<Vec<_>, _>>()?;
        let mut sums = Averages::new(&prepared.form);
        let few = &prepared.training[..prepared.training.len().min(IMAGES)];
        for (at, ids) in few.chunks(plan.batch_size.max(1)).enumerate() {
            let samples = batch(&prepared.data, ids);
            let mut values = weights_of(&uploaded, &[]);
            values.put("x", stage.upload(&samples.x0)?);
            let when = When { seed: plan.seed, epoch: u32::MAX, step: at as u32, k: 0, lr: 0.0, eps: 0.0 };
            prepared.learner.put_masks(&mut values, ids, &when)?;
            let draw = Draw { seed: plan.seed, component: "refresh", restart: 0, step: Step::All(at as u32) };
            let given = stage.run(&values, ids, &draw)?;
            let read = |name: &str| given.get(name).and_then(|found| stage.read(found).ok()).map(|t| t.to_f64());
            sums.add(ids.len(), read).map_err(|name| StageError::Result { name })?;
        }
        Ok(sums.means())
    };
    work().map(Some).map_err(failed)
}
