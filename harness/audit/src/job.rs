//! The unit of work: one component on one model over one range of samples, with everything needed to compute it. A shard runs
//! alone from its description and gives the same bytes; who computes which shard is nobody's business here.

use flatscape_engine::Engine;
use flatscape_host::Plugins;
use flatscape_intake::data::{self, Dataset};
use flatscape_intake::model::{Model, ModelRequest};
use flatscape_intake::refusal::Refusal;
use flatscape_measure::findings::Findings;
use flatscape_measure::prepared::{Prepared, Settings, Work};
use flatscape_measure::threats::ThreatModel;
use serde::{Deserialize, Serialize};

/// The description of a shard: a file from which it can be computed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// What is applied.
    pub work: Work,
    /// The threat model as written; attacks need one, metrics read its radius.
    pub threat: String,
    /// First sample, in canonical order.
    pub start: usize,
    /// One past the last sample.
    pub end: usize,
}

/// A shard with everything needed to compute it: the content of its description file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The model.
    pub model: ModelRequest,
    /// The labelled images.
    pub data: data::Request,
    /// Seed and batch size.
    pub settings: Settings,
    /// What is computed.
    pub shard: Shard,
}

impl Description {
    /// The bytes of the description file.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads a description file and computes the shard, alone.
    ///
    /// # Errors
    /// The description is damaged, or what it names is refused or fails.
    pub fn compute(bytes: &[u8], engine: &dyn Engine, plugins: &Plugins) -> Result<Findings, Refusal> {
        let description: Description =
            serde_json::from_slice(bytes).map_err(|e| Refusal::usage(102, format!("this is no description of a shard: {e}")))?;
        let dataset = Dataset::load(&description.data)?;
        let model = Model::load(&description.model.source, &description.model.intake, &dataset, engine)?;
        let Shard { work, threat, start, end } = &description.shard;
        let threat = ThreatModel::parse(threat, true)?;
        let bench = Prepared::new(engine, plugins, &model, &dataset, work, &threat, description.settings)?;
        Ok(bench.compute(*start..*end, &mut |_, _| {})?)
    }
}
