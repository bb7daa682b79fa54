//! One measurement. Its `component` and `metric` say what it means; nothing here interprets them.

use serde::{Deserialize, Serialize};

/// One measurement, one row of `results.csv`. The fields are in the order of the file's columns; what each holds is stated in
/// the `help` of its row in [`crate::COLUMNS`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each field is described once, in COLUMNS")]
pub struct Record {
    pub model: String,
    pub model_sha256: String,
    pub dataset: String,
    pub split: String,
    pub n: u64,
    pub component: String,
    pub component_version: String,
    pub args: String,
    pub threat: String,
    #[serde(with = "crate::float::optional")]
    pub eps: Option<f64>,
    pub metric: String,
    #[serde(with = "crate::float::optional")]
    pub value: Option<f64>,
    #[serde(with = "crate::float::optional")]
    pub ci_low: Option<f64>,
    #[serde(with = "crate::float::optional")]
    pub ci_high: Option<f64>,
    pub forwards: u64,
    pub backwards: u64,
    pub engine: String,
    pub device: String,
    pub seed: u64,
    pub flags: Vec<String>,
    pub plugin: String,
    pub plugin_sha256: String,
}
