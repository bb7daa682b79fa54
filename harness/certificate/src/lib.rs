//! The gradient certificate of a model: whether the gradient that attacks follow is the gradient of this model, measured on
//! these images, at the images and where an attack goes. One file and one row per check. Knows graphs, points and engines;
//! nothing of plugins, and nothing of what an attack finds.

mod audited;
mod compiled;
mod double_precision;
mod errors;
mod file;
mod finite_gradients;
mod given_gradients;
mod hessian;
mod points;
mod products;
mod scalar;
mod second_engine;
mod slopes;
mod subject;
#[cfg(test)]
mod tests;
mod widen;
mod within_reach;
mod zero_gradients;

use serde::{Deserialize, Serialize};

pub use audited::of_model;
pub use file::{FilePoints, of_file};
pub use points::{Engines, Points, Site};
pub use scalar::Scalar;
pub use subject::{Other, Subject, Variable, WALK};
pub use widen::widen;

/// One question to a gradient.
pub struct Check {
    /// What it is called in tables.
    pub name: &'static str,
    /// What is compared with what, as a clause.
    pub what: &'static str,
    /// Whether a failure is one of the certificate; otherwise it is only told.
    pub counts: bool,
    /// Whether it is about slopes, which a surrogate gradient does not have.
    pub slopes: bool,
    /// The result at one place; `None` if the check does not apply; an error is a clause that says why it cannot be made.
    pub(crate) measure: fn(&Points, &Site) -> Result<Option<Finding>, String>,
}

/// All checks, in the order of the tables.
pub const CHECKS: &[Check] = &[
    slopes::LOSS,
    slopes::MARGIN,
    within_reach::NEAR,
    within_reach::FAR,
    products::BY_DIFFERENCES,
    products::TWICE,
    second_engine::CHECK,
    double_precision::CHECK,
    hessian::SLOPE,
    hessian::SYMMETRY,
    zero_gradients::CHECK,
    finite_gradients::CHECK,
    given_gradients::CHECK,
];

/// What a check found at one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Number of samples that were checked.
    pub samples: usize,
    /// Along which directions; empty where none were needed.
    pub directions: String,
    /// What is allowed.
    pub threshold: String,
    /// What was found.
    pub measured: String,
    /// Whether that is allowed.
    pub holds: bool,
}

/// One check at one place: one row of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the check.
    pub check: String,
    /// What is compared with what.
    pub what: String,
    /// `clean` or `iterate`.
    pub points: String,
    /// Along which directions.
    pub directions: String,
    /// Number of samples that were checked.
    pub samples: usize,
    /// What is allowed.
    pub threshold: String,
    /// What was found, or why nothing was.
    pub measured: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether a failure is one of the certificate.
    pub counts: bool,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Within the threshold.
    Pass,
    /// Beyond it.
    Fail,
    /// The check could not be made here; this is not a pass.
    NotPossible,
}

impl Outcome {
    /// As tables spell it.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::NotPossible => "not possible",
        }
    }
}

/// Every row about one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Name of the model.
    pub model: String,
    /// Number of samples that were checked.
    pub samples: usize,
    /// Whose gradient it is, as a clause, and where the points are.
    pub about: String,
    /// Whether the gradient is a surrogate that the user requested. It is then not a slope and not judged as one.
    pub surrogate: bool,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Certificate {
    /// The rows that failed and count.
    pub fn failures(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.counts && row.outcome == Outcome::Fail)
    }

    /// Whether it passed; `None` where not even the slope could be measured.
    pub fn passed(&self) -> Option<bool> {
        if self.failures().next().is_some() {
            return Some(false);
        }
        let measured = |row: &Row| {
            row.check == slopes::LOSS.name && (row.outcome == Outcome::Pass || self.surrogate && row.outcome == Outcome::Fail)
        };
        self.rows.iter().any(measured).then_some(true)
    }

    /// The rows in which a gradient that came with the model differs from the one that is used.
    pub fn disagreement(&self) -> Option<&Row> {
        self.rows.iter().find(|row| row.check == given_gradients::CHECK.name && row.outcome == Outcome::Fail)
    }

    /// The verdict as one sentence.
    pub fn sentence(&self) -> String {
        let count = |outcome| self.rows.iter().filter(|row| row.counts && row.outcome == outcome).count();
        match self.passed() {
            Some(true) => {
                let left = match count(Outcome::NotPossible) {
                    0 => String::new(),
                    n => format!("; {n} were not possible here"),
                };
                let surrogate = if self.surrogate {
                    "; it is a surrogate, as requested: its slopes are reported and not counted"
                } else {
                    ""
                };
                format!(
                    "The gradient of {} passed {} checks on {} samples {}{left}{surrogate}.",
                    self.model,
                    count(Outcome::Pass),
                    self.samples,
                    self.about
                )
            }
            Some(false) => {
                let mut failed: Vec<String> =
                    self.failures().map(|r| format!("{} ({}: {})", r.check, r.points, r.measured)).collect();
                let more = failed.len().saturating_sub(2);
                failed.truncate(2);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("The gradient certificate of {} failed: {}{more}.", self.model, failed.join("; "))
            }
            None => {
                let why = self
                    .rows
                    .iter()
                    .find(|row| row.outcome == Outcome::NotPossible)
                    .map_or("nothing was measured", |r| &r.measured);
                format!("There is no gradient certificate for {}: {why}.", self.model)
            }
        }
    }
}

/// Asks every check at every place.
pub fn certify(subject: &Subject, engines: &Engines) -> Certificate {
    let blank = |check: &Check, points: &str| Row {
        check: check.name.into(),
        what: check.what.into(),
        points: points.into(),
        directions: String::new(),
        samples: 0,
        threshold: String::new(),
        measured: String::new(),
        outcome: Outcome::NotPossible,
        counts: check.counts && !(check.slopes && subject.surrogate),
    };
    let mut certificate = Certificate {
        model: subject.model.clone(),
        samples: subject.blocks,
        about: subject.about.clone(),
        surrogate: subject.surrogate,
        rows: Vec::new(),
    };
    let points = match Points::prepare(subject, engines) {
        Ok(points) => points,
        Err(why) => return certificate.refused(&why),
    };
    for check in CHECKS {
        for site in &points.sites {
            let row = blank(check, site.name);
            certificate.rows.extend(match (check.measure)(&points, site) {
                Ok(None) => None,
                Ok(Some(found)) => Some(Row {
                    directions: found.directions,
                    samples: found.samples,
                    threshold: found.threshold,
                    measured: found.measured,
                    outcome: if found.holds { Outcome::Pass } else { Outcome::Fail },
                    ..row
                }),
                Err(why) => Some(Row { measured: why, ..row }),
            });
        }
    }
    certificate
}

impl Certificate {
    /// A certificate of a model whose gradient cannot be asked anything; `why` is a clause.
    pub fn none(model: &str, why: &str) -> Certificate {
        Certificate { model: model.to_owned(), samples: 0, about: String::new(), surrogate: false, rows: Vec::new() }.refused(why)
    }

    fn refused(mut self, why: &str) -> Certificate {
        self.rows = CHECKS
            .iter()
            .take(1)
            .map(|check| Row {
                check: check.name.into(),
                what: check.what.into(),
                points: "clean".into(),
                directions: String::new(),
                samples: 0,
                threshold: String::new(),
                measured: why.to_owned(),
                outcome: Outcome::NotPossible,
                counts: true,
            })
            .collect();
        self
    }
}
