//! A metric along the path of an attack: by step, and aligned to the step at which the prediction leaves the label.

use std::collections::BTreeMap;

use flatscape_measure::findings::FindingsError;
use flatscape_measure::request::Request;
use flatscape_measure::statistics::{Interval, Mean};
use flatscape_report::{PathCurve, PathPoint, Record};

use super::{Part, Rows, Summary};

/// Quantities along paths, sample by sample, the image first.
pub struct Paths {
    /// By name, [n][steps + 1].
    pub quantities: Vec<(String, Vec<Vec<f64>>)>,
    /// The first step at which another class than the label is predicted; of samples that begin right.
    pub flips: Vec<Option<usize>>,
    /// Whether the image is classified correctly: others have no flip to speak of.
    pub right: Vec<bool>,
}

impl Paths {
    /// Reads the findings of a metric along a path.
    ///
    /// # Errors
    /// A column is missing.
    pub fn read(part: &Part) -> Result<Paths, FindingsError> {
        let labels = part.findings.get::<i64>("label")?;
        let classes = part.findings.get::<i64>("path_prediction")?;
        let points = (classes.len() / labels.len().max(1)).max(1);
        let by_sample: Vec<&[i64]> = classes.chunks(points).collect();
        let right: Vec<bool> = by_sample.iter().zip(&labels).map(|(path, label)| path.first() == Some(label)).collect();
        let flip = |(path, label): (&&[i64], &i64)| path.iter().position(|class| class != label).filter(|&step| step > 0);
        let flips = by_sample.iter().zip(&labels).map(flip).collect();
        let named = part.findings.with_prefix("path_").filter(|(name, _)| *name != "prediction");
        let quantities = named
            .map(|(name, tensor)| (name.to_owned(), tensor.to_f64().chunks(points).map(<[f64]>::to_vec).collect()))
            .collect();
        Ok(Paths { quantities, flips, right })
    }
}

impl Paths {
    /// A quantity by step, or by step after the flip of each sample that flips; of samples that begin right.
    fn points(&self, samples: &[Vec<f64>], aligned: bool) -> Vec<PathPoint> {
        let mut by_step: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for (row, values) in samples.iter().enumerate().filter(|(row, _)| self.right[*row]) {
            let first = match (aligned, self.flips[row]) {
                (false, _) => 0,
                (true, Some(flip)) => -(flip as i64),
                (true, None) => continue,
            };
            for (step, &value) in (first..).zip(values).filter(|(_, v)| v.is_finite()) {
                by_step.entry(step).or_default().push(value);
            }
        }
        let point = |(step, mut values): (i64, Vec<f64>)| {
            values.sort_by(f64::total_cmp);
            let n = values.len();
            // the nearest rank
            let quartile = |share: f64| values[((share * n as f64).ceil() as usize).clamp(1, n) - 1];
            PathPoint {
                step,
                n: n as u64,
                mean: values.iter().sum::<f64>() / n as f64,
                low: quartile(0.25),
                high: quartile(0.75),
            }
        };
        by_step.into_iter().map(point).collect()
    }
}

impl Rows<'_> {
    fn curve(&self, part: &Part, request: &Request, quantity: &str, points: &[PathPoint], aligned: bool) -> PathCurve {
        let Record { model, component, threat, .. } = self.record(part);
        PathCurve {
            model,
            threat,
            attack: request.attack().map(ToString::to_string).unwrap_or_default(),
            metric: component,
            quantity: quantity.to_owned(),
            aligned,
            points: points.to_vec(),
        }
    }

    /// Per quantity its mean at the image, at the flip and at the end over the samples that flip, and by how many steps its
    /// largest value comes after the flip (Walter et al. 2024, arXiv:2405.16918, figure 2).
    pub(super) fn path(&self, part: &Part, request: &Request, summary: &mut Summary) -> Result<(), FindingsError> {
        let paths = Paths::read(part)?;
        let flipped: Vec<(usize, usize)> = paths
            .flips
            .iter()
            .enumerate()
            .filter(|(row, _)| paths.right[*row])
            .filter_map(|(row, flip)| Some((row, (*flip)?)))
            .collect();
        for (name, samples) in &paths.quantities {
            let curves = [false, true].map(|aligned| self.curve(part, request, name, &paths.points(samples, aligned), aligned));
            summary.paths.extend(curves);
        }
        let record = Record { forwards: part.total("forwards")?, backwards: part.total("backwards")?, ..self.record(part) };
        let mut push = |metric: String, values: Vec<f64>| {
            let mean = Mean::of(&values);
            let interval = mean.as_ref().and_then(Mean::interval);
            summary.records.push(Record {
                metric,
                n: values.len() as u64,
                value: mean.map(|m| m.value),
                ci_low: interval.as_ref().map(|i: &Interval| i.low),
                ci_high: interval.as_ref().map(|i| i.high),
                ..record.clone()
            });
        };
        push("flip_step_mean".into(), flipped.iter().map(|&(_, flip)| flip as f64).collect());
        for (name, samples) in &paths.quantities {
            let at = |step: fn(usize, usize) -> usize| {
                flipped.iter().map(|&(row, flip)| samples[row][step(flip, samples[row].len() - 1)]).collect::<Vec<f64>>()
            };
            push(format!("{name}_at_image_mean"), at(|_, _| 0));
            push(format!("{name}_at_flip_mean"), at(|flip, _| flip));
            push(format!("{name}_at_end_mean"), at(|_, last| last));
            let lag = |&(row, flip): &(usize, usize)| {
                let values = samples[row].iter().enumerate().filter(|(_, v)| !v.is_nan());
                let peak = values.max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)))?.0;
                Some(peak as f64 - flip as f64)
            };
            push(format!("{name}_peak_after_flip_mean"), flipped.iter().filter_map(lag).collect());
        }
        Ok(())
    }
}
