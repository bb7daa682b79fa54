//! Sums over the samples of an epoch, in double, in the order of the batches.

use flatscape_report::training::Progress;
use serde::{Deserialize, Serialize};

use crate::evaluate::Worth;
use crate::learner::Costs;
use crate::watch::Watched;

/// What is summed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    samples: u64,
    steps: u64,
    cost: f64,
    loss: Option<f64>,
    loss_adv: Option<f64>,
    parts: Vec<(String, f64)>,
    norm: f64,
}

impl Sums {
    /// Adds a step. The sentence says why the training has diverged: a number that is not finite.
    pub fn add(&mut self, costs: &Costs, epoch: u32, batch: usize) -> Option<String> {
        let total = |column: &[f64]| column.iter().sum::<f64>();
        let broken = costs.cost.iter().filter(|v| !v.is_finite()).count();
        let place = format!("in batch {} of epoch {}", batch + 1, epoch + 1);
        if broken > 0 {
            return Some(format!("{place} the cost of {broken} of {} samples is not finite", costs.cost.len()));
        }
        if !costs.norm.is_finite() {
            return Some(format!("{place} the derivative of the cost is not finite"));
        }
        self.samples += costs.cost.len() as u64;
        self.steps += 1;
        self.cost += total(&costs.cost);
        self.norm += costs.norm;
        for (sum, column) in [(&mut self.loss, &costs.loss), (&mut self.loss_adv, &costs.loss_adv)] {
            if !column.is_empty() {
                *sum.get_or_insert(0.0) += total(column);
            }
        }
        for (name, column) in &costs.parts {
            match self.parts.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += total(column),
                None => self.parts.push((name.clone(), total(column))),
            }
        }
        None
    }

    /// The mean cost.
    pub fn mean_cost(&self) -> f64 {
        self.cost / self.samples.max(1) as f64
    }

    /// The row of the log.
    pub fn row(&self, epoch: u32, lr: f64, worth: Option<&Worth>, watched: Option<&Watched>) -> Progress {
        let n = self.samples.max(1) as f64;
        Progress {
            epoch: epoch + 1,
            lr,
            cost: self.cost / n,
            loss: self.loss.map(|sum| sum / n),
            loss_adv: self.loss_adv.map(|sum| sum / n),
            parts: self.parts.iter().map(|(name, sum)| (name.clone(), sum / n)).collect(),
            gradient_norm: self.norm / self.steps.max(1) as f64,
            clean: worth.map(|w| w.clean),
            robust: worth.and_then(|w| w.robust),
            jacobian: worth.map(|w| w.jacobian),
            concentration: worth.map(|w| w.concentration),
            watched_single: watched.map(|w| w.single),
            watched_robust: watched.map(|w| w.robust),
        }
    }
}
