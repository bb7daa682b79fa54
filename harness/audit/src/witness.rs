//! The adversarial examples of a run as files: for every attack an `.npz` with the points, their clean originals and labels,
//! so that anybody can check them again without any attack code.

use crate::directory::Directory;
use crate::summary::Part;
use flatscape_intake::data::Dataset;
use flatscape_intake::model::Model;
use flatscape_intake::refusal::Refusal;
use flatscape_measure::findings::{Findings, FindingsError};

/// Writes the witnesses of one attack; nothing where it broke nothing.
///
/// # Errors
/// The file could not be written, or the findings lack their witnesses.
pub fn write(directory: &Directory, slug: &str, part: &Part, model: &Model, dataset: &Dataset) -> Result<(), Refusal> {
    let damaged = |e: FindingsError| Refusal::output(102, e.to_string());
    let Some(points) = part.findings.tensor("witness_x") else { return Ok(()) };
    let ids: Vec<u64> = part.findings.get::<i64>("witness_id").map_err(damaged)?.into_iter().map(|id| id as u64).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let clean = dataset.gather(&ids);
    let mut file = Findings::default();
    file.column("id", ids.iter().map(|&id| id as i64).collect());
    file.column("label", clean.y);
    file.0.insert("x0".into(), clean.x);
    file.0.insert("x_adv".into(), points.clone());
    let all = part.findings.get::<i64>("id").map_err(damaged)?;
    let predicted = part.findings.get::<i64>("adv_prediction").map_err(damaged)?;
    let distances = part.findings.get::<f64>("distance").map_err(damaged)?;
    let row = |id: u64| all.iter().position(|&i| i == id as i64).unwrap_or(0);
    file.column("prediction", ids.iter().map(|&id| predicted[row(id)]).collect::<Vec<i64>>());
    file.column("distance", ids.iter().map(|&id| distances[row(id)]).collect::<Vec<f64>>());
    if let Some(threat) = &part.threat {
        file.column("eps", vec![threat.eps]);
    }
    let hash: Vec<u8> = model.sha256.bytes().collect();
    file.column("model_sha256", hash);
    directory.write(&format!("witness/{slug}.npz"), &file.encode().map_err(damaged)?)
}
