//! What people write after `--attack` and `--metric`: `pgd:steps=20,target=random`, `ams:at=adv:pgd`. Separates the arguments of
//! the host from those of the component; knows no component.

use serde::{Deserialize, Serialize};

use crate::attack::Batch;
use flatscape_intake::random::{Law, Place, fill};
use flatscape_intake::refusal::{Refusal, escape};

/// A component by name, with its arguments as they were written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Id of the component.
    pub id: String,
    /// Arguments for the component, as written.
    pub arguments: Vec<(String, String)>,
    /// `target=…`, an argument of the host: the class that an attack aims at.
    pub target: Option<Target>,
    /// `at=…`, an argument of the host: the points that a metric looks at.
    pub at: Option<At>,
    /// `on=survivors`, an argument of the host: an attack runs on the samples that no attack before it has broken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub survivors: bool,
}

/// The class that a targeted attack aims at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Untargeted: away from the label.
    None,
    /// The most likely wrong class of the clean point.
    Second,
    /// The least likely class of the clean point.
    LeastLikely,
    /// A wrong class drawn at random, the same for every model.
    Random,
}

/// Names of the targets, as they are written.
pub const TARGETS: &[(&str, Target)] =
    &[("none", Target::None), ("second", Target::Second), ("least-likely", Target::LeastLikely), ("random", Target::Random)];

/// The points that a metric looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum At {
    /// The images.
    Clean,
    /// The last iterates of an attack.
    Adversarial(Box<Request>),
}

/// A short name for each request of a plan: the id, and what tells it apart.
pub fn labels(requests: &[Request]) -> Vec<String> {
    requests.iter().map(|r| r.id.clone()).collect()
}

impl Request {
    /// Reads `ID[:k=v,...]`.
    ///
    /// # Errors
    /// Usage errors: an argument without `=`, an unknown target, an `at` that is neither `clean` nor `adv:ATTACK`.
    pub fn parse(text: &str) -> Result<Request, Refusal> {
        let (id, rest) = text.split_once(':').unwrap_or((text, ""));
        let mut request = Request { id: id.trim().to_owned(), arguments: Vec::new(), target: None, at: None, survivors: false };
        for pair in rest.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                let why = format!("{:?} in {:?} has no value", escape(pair), escape(text));
                return Err(Refusal::usage(91, why).help("write NAME:key=value,key=value, for example pgd:steps=20,alpha=2/255"));
            };
            match key {
                "target" => {
                    let known = TARGETS.iter().find(|(name, _)| *name == value);
                    let Some((_, target)) = known else {
                        let names: Vec<&str> = TARGETS.iter().map(|t| t.0).collect();
                        let why = format!("{:?} is no target", escape(value));
                        return Err(Refusal::usage(91, why).help(format!("there are {}", names.join(", "))));
                    };
                    request.target = Some(*target);
                }
                "at" => {
                    request.at = Some(match value.split_once(':') {
                        None if value == "clean" => At::Clean,
                        Some(("adv", attack)) => At::Adversarial(Box::new(Request::parse(attack)?)),
                        _ => {
                            let why = format!("a metric cannot be taken at {:?}", escape(value));
                            return Err(
                                Refusal::usage(91, why).help("there are at=clean and at=adv:ATTACK, for example at=adv:pgd")
                            );
                        }
                    });
                }
                _ => request.arguments.push((key.to_owned(), value.to_owned())),
            }
        }
        Ok(request)
    }

    /// The arguments as one text, in the order in which they were written; empty without arguments.
    pub fn spelled(&self) -> String {
        let mut parts: Vec<String> = self.arguments.iter().map(|(k, v)| format!("{k}={v}")).collect();
        if let Some((name, _)) = TARGETS.iter().find(|(_, t)| Some(*t) == self.target) {
            parts.push(format!("target={name}"));
        }
        match &self.at {
            Some(At::Clean) => parts.push("at=clean".into()),
            Some(At::Adversarial(attack)) => parts.push(format!("at=adv:{}", attack.id)),
            None => {}
        }
        parts.join(",")
    }

    /// How columns of `samples.csv` call a quantity of this component: `ams`, `ams@adv:pgd`.
    pub fn placed(&self, name: &str) -> String {
        match &self.at {
            Some(At::Adversarial(attack)) => format!("{name}@adv:{}", attack.id),
            _ => name.to_owned(),
        }
    }
}

impl Target {
    /// The batch with the desired classes filled in, from the logits of the clean points.
    pub fn aim(self, batch: &Batch, logits: &[Vec<f64>], seed: u64, component: &str) -> Batch {
        let choose = |row: usize| -> i64 {
            let label = batch.y[row] as usize;
            let wrong: Vec<usize> = (0..logits[row].len()).filter(|&c| c != label).collect();
            let by_logit = |a: &&usize, b: &&usize| logits[row][**a].total_cmp(&logits[row][**b]);
            let class = match self {
                Target::None => Some(label),
                Target::Second => wrong.iter().max_by(by_logit).copied(),
                Target::LeastLikely => wrong.iter().min_by(by_logit).copied(),
                Target::Random => {
                    let mut draw = [0f32; 1];
                    fill(Law::Uniform, Place::new(seed, component, "target").sample(batch.ids[row]), &mut draw);
                    let share = (f64::from(draw[0]) + 1.0) / 2.0;
                    wrong.get(((share * wrong.len() as f64) as usize).min(wrong.len().saturating_sub(1))).copied()
                }
            };
            class.unwrap_or(label) as i64
        };
        Batch { target: (0..batch.len()).map(choose).collect(), ..batch.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_separate_the_host_from_the_component() {
        let request = Request::parse("pgd:steps=20,alpha=2/255,target=random").expect("a request");
        assert_eq!(request.arguments, [("steps".into(), "20".into()), ("alpha".into(), "2/255".into())]);
        assert_eq!(request.target, Some(Target::Random));
        assert_eq!(request.spelled(), "steps=20,alpha=2/255,target=random");
        let metric = Request::parse("ams:at=adv:pgd").expect("a request");
        assert_eq!(metric.placed("ams"), "ams@adv:pgd");
        for bad in ["pgd:steps", "pgd:target=nobody", "ams:at=moon"] {
            assert_eq!(Request::parse(bad).expect_err(bad).class.exit_code(), 2);
        }
    }
}
