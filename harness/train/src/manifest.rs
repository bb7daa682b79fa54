//! The facts of a training: what it was made from, in an order in which they are compared. Has no dates, no threads and no place.

use flatscape_engine::Engine;
use flatscape_intake::model::WeightRole;
use flatscape_intake::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::learner::PARTS;
use crate::plan::Plan;
use crate::prepare::{Prepared, Used};

/// The content of `manifest.json`; the same text is in the metadata of the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the program.
    pub flatscape: String,
    /// The command, without the place of the result.
    pub command: String,
    /// The options.
    pub plan: Plan,
    /// Name and SHA-256 of the model.
    pub model: (String, String),
    /// Name, half and SHA-256 of the data.
    pub data: (String, String, String),
    /// Images that are trained on, and that are held out.
    pub images: (usize, usize),
    /// Trainer, optimizer and attack.
    pub components: Vec<Used>,
    /// Name, version, SHA-256 of the library and device of the engine.
    pub engine: (String, String, Option<String>, String),
    /// In how many parts a batch is run; 1 where its rows are mixed.
    pub parts: usize,
    /// Names of the trained weights, in the order of the graphs.
    pub trained: Vec<String>,
    /// Numbers in them.
    pub numbers: usize,
    /// Names of the weights that stay, and of the constants that are not recognised as weights.
    pub frozen: Vec<String>,
}

impl Manifest {
    /// Of a training that is about to begin.
    pub fn of(plan: &Plan, prepared: &Prepared, engine: &dyn Engine, command: &str) -> Manifest {
        let info = engine.info();
        let weights = &prepared.trainable.weights;
        let name = |&i: &usize| weights[i].name.clone();
        let parameter = |i: &usize| weights[*i].role == WeightRole::Parameter && !prepared.form.trained.contains(i);
        Manifest {
            flatscape: env!("CARGO_PKG_VERSION").to_owned(),
            command: command.to_owned(),
            plan: plan.clone(),
            model: (prepared.model.name.clone(), prepared.model.sha256.clone()),
            data: (prepared.data.name.clone(), prepared.data.split.name().to_owned(), prepared.data.sha256.clone()),
            images: (prepared.training.len(), prepared.held.len()),
            components: prepared.components.clone(),
            engine: (info.name, info.version, info.library_sha256, info.device),
            parts: if prepared.learner.in_parts { PARTS } else { 1 },
            trained: prepared.form.trained.iter().map(name).collect(),
            numbers: prepared.form.trained.iter().map(|&i| weights[i].value.len()).sum(),
            frozen: (0..weights.len())
                .filter(|i| parameter(i))
                .map(|i| weights[i].name.clone())
                .chain(prepared.trainable.others.iter().cloned())
                .collect(),
        }
    }

    /// As it is stored.
    ///
    /// # Errors
    /// `O102`, which no input causes.
    pub fn json(&self) -> Result<String, Refusal> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Refusal::output(102, format!("the manifest: {e}")))?;
        Ok(text + "\n")
    }

    /// The first difference to a stored manifest that changes what is computed, as a clause. The command is not one: it may be spelled
    /// in another way.
    ///
    /// # Errors
    /// `O102`, which no input causes.
    pub fn difference(&self, stored: &Value) -> Result<Option<String>, Refusal> {
        let own = serde_json::to_value(self).map_err(|e| Refusal::output(102, format!("the manifest: {e}")))?;
        let mut found = None;
        compared("", &own, stored, &mut found);
        Ok(found)
    }
}

/// Fields that do not change what is computed.
const FREE: &[&str] = &["command"];

fn compared(path: &str, own: &Value, stored: &Value, found: &mut Option<String>) {
    if found.is_some() || own == stored || FREE.contains(&path) {
        return;
    }
    match (own, stored) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compared(&inner, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                compared(&format!("{path}[{i}]"), a, b, found);
            }
        }
        _ => {
            let short = |v: &Value| flatscape_graph::escape(&v.to_string());
            *found = Some(format!("its {path} is {}, and here it is {}", short(stored), short(own)));
        }
    }
}
