//! Running statistics of averaged weights: those of the weights that were averaged do not belong to them. Source: Izmailov et al. 2018
//! (arXiv:1803.05407), section 3.2.

use flatscape_graph::{DType, Tensor};
use flatscape_intake::refusal::Refusal;
use flatscape_measure::stage::{Draw, StageError, Step};

use crate::evaluate::batch;
use crate::form::{batch_mean, batch_variance};
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
    let statistics = &prepared.form.statistics;
    let failed = of("refreshed statistics");
    let work = || -> Result<Vec<Tensor>, LearnError> {
        let uploaded = parameters.iter().map(|t| stage.upload(t)).collect::<Result<Vec<_>, _>>()?;
        let mut sums: Vec<Vec<f64>> = vec![Vec::new(); 2 * statistics.len()];
        let mut batches = 0.0;
        let few = &prepared.training[..prepared.training.len().min(IMAGES)];
        for (at, ids) in few.chunks(plan.batch_size.max(1)).enumerate() {
            let samples = batch(&prepared.data, ids);
            let mut values = weights_of(&uploaded, &[]);
            values.put("x", stage.upload(&samples.x0)?);
            let when = When { seed: plan.seed, epoch: u32::MAX, step: at as u32, k: 0, lr: 0.0, eps: 0.0 };
            prepared.learner.put_masks(&mut values, ids, &when)?;
            let draw = Draw { seed: plan.seed, component: "refresh", restart: 0, step: Step::All(at as u32) };
            let given = stage.run(&values, ids, &draw)?;
            for (j, statistic) in statistics.iter().enumerate() {
                let n = (ids.len() * statistic.spatial) as f64;
                let unbiased = n / (n - 1.0).max(1.0);
                for (place, name, factor) in [(2 * j, batch_mean(j), 1.0), (2 * j + 1, batch_variance(j), unbiased)] {
                    let found = given.get(&name).ok_or(StageError::Result { name })?;
                    let found = stage.read(found)?.to_f64();
                    sums[place].resize(found.len(), 0.0);
                    sums[place].iter_mut().zip(found).for_each(|(sum, v)| *sum += factor * v);
                }
            }
            batches += 1.0;
        }
        let tensor = |sum: Vec<f64>| {
            let mean: Vec<f64> = sum.iter().map(|v| v / batches).collect();
            let wrong = || StageError::Result { name: "batch_mean".to_owned() };
            Ok(Tensor::new(&[mean.len()], mean).ok_or_else(wrong)?.cast(DType::F32))
        };
        sums.into_iter().map(tensor).collect()
    };
    work().map(Some).map_err(failed)
}
