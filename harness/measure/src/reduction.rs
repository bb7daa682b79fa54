//! Metrics that say something about all samples together: the rows of a metric's jobs go to its component (`reduce/1`), and what
//! it gives back becomes findings.

use flatscape_graph::Tensor;
use flatscape_host::{Kind, Plugins, Table};
use flatscape_intake::model::Model;

use crate::columns::{ID, LABEL, PREDICTION};
use crate::error::{MeasureError, of_host};
use crate::findings::{Findings, FindingsError};
use crate::link::head_weights;
use crate::prepared::task;
use crate::request::Request;
use crate::threats::ThreatModel;

/// The beginning of the names of values of the whole data set: value, both ends of the interval, number of samples.
pub const VALUE: &str = "reduced_";
/// The beginning of the names of curves, [2, points]: x, then y.
pub const CURVE: &str = "curve_";

/// Reduces the joined findings of a metric's jobs: `reduced_NAME` [4], `col_NAME` [n], `curve_NAME` [2, points].
///
/// # Errors
/// There is no such component or its arguments are wrong; it failed, or gives a column that its program gives, too.
pub fn reduce(
    plugins: &Plugins,
    model: &Model,
    threat: &ThreatModel,
    request: &Request,
    found: &Findings,
) -> Result<Findings, MeasureError> {
    let component = plugins.component(Kind::Metric, &request.id).map_err(of_host)?;
    let arguments = component.arguments(&request.arguments).map_err(of_host)?;
    let task = task(model, request, &threat.on(model.shape));
    let reduced = plugins.reduce(component, &arguments, &task, &table(model, found)?)?;
    let mut findings = Findings::default();
    for column in [&ID, &LABEL, &PREDICTION] {
        findings.put(column, found.read(column)?);
    }
    for value in reduced.values {
        let (low, high) = value.interval.unwrap_or((f64::NAN, f64::NAN));
        findings.column(&format!("{VALUE}{}", value.name), vec![value.value, low, high, value.n as f64]);
    }
    for (name, values) in reduced.columns {
        let name = format!("col_{name}");
        if found.tensor(&name).is_some() {
            return Err(FindingsError::Column(name).into());
        }
        findings.column(&name, values);
    }
    for (name, x, y) in reduced.curves {
        findings.array(&format!("{CURVE}{name}"), &[2, x.len()], [x, y].concat())?;
    }
    Ok(findings)
}

/// The rows as components see them.
fn table(model: &Model, found: &Findings) -> Result<Table, FindingsError> {
    let id = found.read(&ID)?;
    let samples = id.len();
    let mut rows = Vec::new();
    for prefix in ["col_", "vec_"] {
        for (name, tensor) in found.with_prefix(prefix) {
            let data = Tensor::to_f64(tensor);
            let width = if prefix == "col_" { 1 } else { tensor.shape().iter().skip(1).product() };
            if data.len() != samples * width {
                return Err(FindingsError::Column(format!("{prefix}{name}")));
            }
            rows.push((format!("{prefix}{name}"), width, data));
        }
    }
    let head = head_weights(&model.graph);
    Ok(Table { id, y: found.read(&LABEL)?, prediction: found.read(&PREDICTION)?, rows, head })
}
