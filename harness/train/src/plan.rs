//! A training as the user requests it. Knows options; opens no file.

use flatscape_intake::data;
use flatscape_intake::model::{ModelRequest, Trainable, WeightRole};
use flatscape_intake::number::number;
use flatscape_intake::refusal::{Refusal, escape};
use flatscape_measure::request::Request;
use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;

/// A training as the user requests it: the same plan on the same files and the same engine gives the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The model that is trained further, or that was written with seeded weights.
    pub model: ModelRequest,
    /// The training half of a data set.
    pub data: data::Request,
    /// `NAME[:k=v,…]`.
    pub trainer: Request,
    /// As above.
    pub optimizer: Request,
    /// The inner attack, where it is not the trainer's own.
    pub attack: Option<Request>,
    /// The threat model, as written: `linf:8/255`.
    pub threat: Option<String>,
    /// Passes over the training images.
    pub epochs: u32,
    /// The learning rate that schedules multiply.
    pub lr: f64,
    /// How it changes.
    pub schedule: Schedule,
    /// Augmentations by name.
    pub augment: Vec<String>,
    /// Images per step.
    pub batch_size: usize,
    /// Seed of all randomness.
    pub seed: u64,
    /// The share of the training images that is held out to choose the model.
    pub validation: f64,
    /// Label smoothing.
    pub smoothing: f64,
    /// Averaging of weights.
    pub average: Average,
    /// Which weights are trained.
    pub chosen: Chosen,
}

/// Averaging of weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Average {
    /// None.
    None,
    /// Exponential, over steps: this share of the average stays at every step.
    Ema(f64),
    /// The mean over epochs, from this one on; the first is 1.
    Swa(u32),
}

impl Average {
    /// # Errors
    /// A usage error: it would begin after the last epoch.
    pub fn within(self, epochs: u32) -> Result<Average, Refusal> {
        match self {
            Average::Swa(from) if from > epochs => {
                let what = format!("--average swa:{from} begins after the last epoch, which is {epochs}");
                Err(Refusal::usage(91, what).help(format!("state an epoch up to {epochs}, or more --epochs")))
            }
            other => Ok(other),
        }
    }

    /// Reads `ema:D` or `swa:E`.
    ///
    /// # Errors
    /// A usage error.
    pub fn parse(text: &str) -> Result<Average, Refusal> {
        let refused = |why: &str| {
            Refusal::usage(91, format!("--average {}: {why}", escape(text)))
                .help("write ema:0.999 (the share that stays at every step) or swa:75 (from which epoch on)")
        };
        match text.split_once(':') {
            Some(("ema", decay)) => match number(decay) {
                Ok(decay) if decay > 0.0 && decay < 1.0 => Ok(Average::Ema(decay)),
                _ => Err(refused("the share is between 0 and 1")),
            },
            Some(("swa", epoch)) => match epoch.parse() {
                Ok(epoch) if epoch > 0 => Ok(Average::Swa(epoch)),
                _ => Err(refused("the epoch is a whole number, and the first is 1")),
            },
            _ => Err(refused("there is no such average")),
        }
    }
}

/// Which weights are trained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Only those of the last layer.
    pub head: bool,
    /// Not those whose name fits one of these patterns; `*` stands for any characters.
    pub frozen: Vec<String>,
}

impl Chosen {
    /// For every weight of a model whether it is trained. `last` are the weights of the last layer.
    ///
    /// # Errors
    /// A usage error: a pattern fits nothing, or nothing is left.
    pub fn of(&self, trainable: &Trainable, last: &[usize]) -> Result<Vec<bool>, Refusal> {
        let name = &trainable.native.name;
        for pattern in &self.frozen {
            if !trainable.weights.iter().any(|w| fits(pattern, &w.name)) {
                let names: Vec<String> = trainable.weights.iter().take(8).map(|w| escape(&w.name)).collect();
                let what = format!("--freeze {}: no weight of {name} has such a name", escape(pattern));
                return Err(Refusal::usage(91, what).help(format!("its first weights are {}", names.join(", "))));
            }
        }
        let one = |(i, weight): (usize, &flatscape_intake::model::Weight)| {
            let frozen = self.frozen.iter().any(|pattern| fits(pattern, &weight.name));
            !frozen && (!self.head || last.contains(&i))
        };
        let chosen: Vec<bool> = trainable.weights.iter().enumerate().map(one).collect();
        let trains = trainable.weights.iter().zip(&chosen).any(|(w, chosen)| *chosen && w.role == WeightRole::Parameter);
        if trains {
            return Ok(chosen);
        }
        let what = format!("nothing of {name} is left to train");
        Err(Refusal::usage(92, what).help("freeze less, or drop --train head where the last layer has no weights"))
    }
}

/// Whether a name fits a pattern with `*`.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name.strip_prefix(head).is_some_and(|tail| {
            let ends = (0..=tail.len()).filter(|&at| tail.is_char_boundary(at));
            ends.into_iter().any(|at| fits(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_and_averages_are_read() {
        for (pattern, name, expected) in [
            ("*", "conv1.w", true),
            ("conv*", "conv1.w", true),
            ("*.w", "conv1.w", true),
            ("c*.b", "conv1.w", false),
            ("a", "b", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
        assert_eq!(Average::parse("ema:0.99").expect("an average"), Average::Ema(0.99));
        assert_eq!(Average::parse("swa:3").expect("an average"), Average::Swa(3));
        assert_eq!(Average::Swa(3).within(3).expect("the last epoch"), Average::Swa(3));
        assert_eq!(Average::Swa(4).within(3).expect_err("after the last").id(), "U091");
        for wrong in ["ema:1", "ema", "swa:x", "swa:0", "mean:3"] {
            assert!(Average::parse(wrong).is_err(), "{wrong}");
        }
    }
}
