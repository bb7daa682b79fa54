//! What somebody claims about a model, such as `clean_accuracy=0.884`: read once, compared with what a run finds.

use std::str::FromStr;

use flatscape_intake::number::number;
use serde::{Deserialize, Serialize};

/// A claimed accuracy, of every model of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// What is claimed.
    pub metric: Claimed,
    /// The share of samples, 0 to 1.
    pub value: f64,
}

/// What a claim is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claimed {
    /// The accuracy on clean images.
    CleanAccuracy,
    /// The accuracy under all attacks together, under every threat model of the run.
    RobustAccuracy,
}

/// The names, as in the column `metric`.
const NAMES: &[(&str, Claimed)] = &[("clean_accuracy", Claimed::CleanAccuracy), ("robust_accuracy", Claimed::RobustAccuracy)];

impl FromStr for Claim {
    type Err = String;

    fn from_str(text: &str) -> Result<Claim, String> {
        let (name, value) = text.split_once('=').ok_or("write METRIC=VALUE, for example clean_accuracy=0.884")?;
        let name = name.trim();
        let known = NAMES.iter().find(|(known, _)| *known == name);
        let metric = known.map(|(_, metric)| *metric).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("no claim is about {name:?}: write {}", names.join(" or "))
        })?;
        let value = number(value).map_err(|why| format!("{value:?} {why}"))?;
        if !(0.0..=1.0).contains(&value) {
            return Err(format!("an accuracy is a share between 0 and 1, and {value} is not; write 88.4 % as 0.884"));
        }
        Ok(Claim { metric, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<Claim>();
        assert_eq!(read("clean_accuracy=0.884"), Ok(Claim { metric: Claimed::CleanAccuracy, value: 0.884 }));
        assert_eq!(read("robust_accuracy=0"), Ok(Claim { metric: Claimed::RobustAccuracy, value: 0.0 }));
        for (text, words) in [
            ("0.884", "METRIC=VALUE"),
            ("accuracy=0.9", "clean_accuracy or robust_accuracy"),
            ("clean_accuracy=88.4", "0.884"),
            ("clean_accuracy=NaN", "clean_accuracy"),
            ("clean_accuracy=-0.1", "between 0 and 1"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words) || text.contains("NaN"), "{text}: {error}");
        }
    }
}
