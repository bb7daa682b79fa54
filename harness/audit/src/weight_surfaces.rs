//! What metrics draw over the weights: surfaces and curves of a run as data and as pictures, the models side by side on one scale. Knows
//! the names of surfaces, not how they were found.

use flatscape_graph::Tensor;
use flatscape_intake::refusal::Refusal;
use flatscape_measure::findings::Findings;
use flatscape_measure::reduction::CURVE;
use flatscape_report::{Axis, DataCurve, Surface, curves_svg, loss_csv, points_csv, shared_range, surface_svg, surfaces_svg};
use flatscape_weights::measure::{ALONG_X, ALONG_Y, SURFACE};

use crate::job::{Job, Work};
use crate::stored::Stored;

/// A surface of losses: its name, the names of its axes, and the surface of accuracies beside it.
const SURFACES: &[(&str, &str, &str, Option<&str>)] = &[
    ("weight_loss", "first direction of the weights", "second direction of the weights", Some("weight_accuracy")),
    ("trajectory_loss", "first principal direction", "second principal direction", None),
];

/// How surfaces over weights are called.
pub const KIND: &str = "loss-weights";

/// A drawn surface with its accuracies.
pub struct Drawn {
    /// The losses.
    pub surface: Surface,
    /// Per cell, where they were measured; else empty.
    accuracy: Vec<f64>,
}

/// The surfaces of a run, in the order of its jobs.
///
/// # Errors
/// A result does not fit its job, or cannot be read.
pub fn surfaces(stored: &Stored) -> Result<Vec<Drawn>, Refusal> {
    let mut all = Vec::new();
    for (model, job, found) in results(stored)? {
        let label = label(stored, job);
        for (name, x, y, beside) in SURFACES {
            let values = |column: String| found.tensor(&column).map(Tensor::to_f64);
            let Some(loss) = values(format!("{SURFACE}{name}")) else { continue };
            let needed = |column: String| {
                let missing = || Refusal::state(106, format!("{} lacks the column {column}", job.result()));
                values(column.clone()).ok_or_else(missing)
            };
            let axis = |axis: &str, along: &str| -> Result<Axis, Refusal> {
                Ok(Axis { name: axis.to_owned(), values: needed(format!("{along}{name}"))? })
            };
            let model_name = stored.manifest.models[model].name.clone();
            let surface = Surface {
                id: format!("m{:04}-weights-{label}", model + 1),
                title: model_name.clone(),
                model: model_name,
                kind: KIND.into(),
                images: Some((job.end - job.start) as u64),
                x_axis: axis(x, ALONG_X)?,
                y_axis: axis(y, ALONG_Y)?,
                loss,
                ..Surface::default()
            };
            let accuracy = beside.map_or(Ok(Vec::new()), |beside| needed(format!("{SURFACE}{beside}")))?;
            all.push(Drawn { surface, accuracy });
        }
    }
    Ok(all)
}

/// Surfaces and curves as data and as pictures: name and content of the files.
///
/// # Errors
/// As for [`surfaces`].
pub fn files(stored: &Stored) -> Result<Vec<(String, Vec<u8>)>, Refusal> {
    let drawn = surfaces(stored)?;
    let mut files = Vec::new();
    let of = |id: &str| id.split_once('-').map_or(id, |(_, rest)| rest).to_owned();
    let mut kinds: Vec<String> = drawn.iter().map(|d| of(&d.surface.id)).collect();
    kinds.sort();
    kinds.dedup();
    for kind in kinds {
        let group: Vec<&Drawn> = drawn.iter().filter(|d| of(&d.surface.id) == kind).collect();
        let surfaces: Vec<Surface> = group.iter().map(|d| d.surface.clone()).collect();
        let range = shared_range(&surfaces);
        for drawn in &group {
            let id = &drawn.surface.id;
            files.push((format!("landscapes/{id}.csv"), loss_csv(&drawn.surface, &drawn.accuracy)));
            files.push((format!("landscapes/{id}.svg"), surface_svg(&drawn.surface, range).into_bytes()));
        }
        if surfaces.len() > 1 {
            files.push((format!("landscapes/{kind}.svg"), surfaces_svg(&surfaces).into_bytes()));
        }
    }
    let mut together: Vec<(String, Vec<DataCurve>)> = Vec::new();
    for (model, job, found) in results(stored)? {
        for (name, points) in found.with_prefix(CURVE) {
            let points = points.to_f64();
            let (x, y) = points.split_at(points.len() / 2);
            let kind = format!("{}-{name}", label(stored, job));
            files.push((format!("landscapes/m{:04}-{kind}.csv", model + 1), points_csv(x, y)));
            let points = x.iter().copied().zip(y.iter().copied()).collect();
            let model = stored.manifest.models[model].name.clone();
            let curve = DataCurve { model, name: name.to_owned(), points, ..DataCurve::default() };
            match together.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, curves)) => curves.push(curve),
                None => together.push((kind, vec![curve])),
            }
        }
    }
    files.extend(
        together.iter().map(|(kind, curves)| {
            (format!("landscapes/{kind}.svg"), curves_svg(&curves.iter().collect::<Vec<_>>()).into_bytes())
        }),
    );
    Ok(files)
}

/// The finished jobs on weights, with the place of their model.
fn results(stored: &Stored) -> Result<Vec<(usize, &Job, Findings)>, Refusal> {
    let mut all = Vec::new();
    for job in stored.jobs.iter().filter(|job| matches!(job.work, Work::Weights(_))) {
        let model = stored.manifest.models.iter().position(|m| m.request == job.model);
        if let (Some(model), Some(found)) = (model, stored.sound(job)?) {
            all.push((model, job, found));
        }
    }
    Ok(all)
}

/// How files call a metric: its label, in letters, digits and points.
fn label(stored: &Stored, job: &Job) -> String {
    let request = job.work.component();
    let label = stored.manifest.metrics.iter().find(|c| Some(&c.request) == request).map(|c| c.label.clone());
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    label.unwrap_or_else(|| job.work.word()).chars().map(plain).take(80).collect()
}
