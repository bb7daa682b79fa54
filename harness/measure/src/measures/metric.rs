//! Metrics, at the images, at the points to which an attack moves them, or along its whole path.

use std::collections::BTreeMap;

use flatscape_engine::Engine;
use flatscape_host::Program;
use flatscape_intake::scores::{argmax, log_sum_exp};

use super::attack::Programmed;
use super::verdicts::stacked;
use super::{Asked, Conditions, Group, Measure, Moves, Watch, class, failed};
use crate::attack::Batch;
use crate::columns::{BACKWARDS, FORWARDS};
use crate::error::MeasureError;
use crate::findings::Findings;
use crate::metric::Metric;
use crate::verify::Verifier;

/// The fewest rows of a run, however much memory they need.
const LEAST: usize = 128;

/// The numbers of a run where every row has one per class and pixel, as a Jacobian does: 16 MiB. Up to four runs are in memory at
/// the same time.
const NUMBERS_OF_A_RUN: usize = 4 << 20;

/// Where a metric is taken.
pub(crate) enum Place<'a> {
    /// At the images.
    Image,
    /// At the last points of an attack.
    Last(Box<dyn Moves + 'a>),
    /// At the images and at every iterate of an attack.
    Path(Box<Programmed>),
}

/// A metric program on a model, and where it is taken.
pub(crate) struct MetricAt<'a> {
    id: String,
    metric: Metric,
    at: Place<'a>,
    /// Who moves the images to the second points.
    second: Option<Box<dyn Moves + 'a>>,
}

impl<'a> MetricAt<'a> {
    /// # Errors
    /// The program does not fit the model, or the engine refuses it.
    pub fn new(
        engine: &dyn Engine,
        conditions: &Conditions<'a>,
        verifier: &Verifier,
        asked: &Asked,
        program: &Program,
        (at, second): (Place<'a>, Option<Box<dyn Moves + 'a>>),
    ) -> Result<MetricAt<'a>, MeasureError> {
        let id = asked.component.id.clone();
        let size = rows_of_a_run(conditions);
        let metric =
            asked.linked(conditions, Some(program), verifier, |link| Metric::compile(engine, link, program, &id, size))?;
        Ok(MetricAt { id, metric, at, second })
    }
}

/// The batch size, or fewer where a number per class and pixel of every row would need much memory.
fn rows_of_a_run(conditions: &Conditions) -> usize {
    let of_a_row = conditions.model.classes * conditions.model.shape.iter().product::<usize>();
    conditions.settings.batch_size.min((NUMBERS_OF_A_RUN / of_a_row.max(1)).max(LEAST))
}

impl Measure for MetricAt<'_> {
    fn group(&self, conditions: &Conditions) -> usize {
        rows_of_a_run(conditions)
    }

    /// Samples for which the attack handed over nothing are absent: there is no point at which to measure.
    fn measure(&self, on: &Group, watch: &mut Watch) -> Result<(Findings, Option<MeasureError>), MeasureError> {
        watch.go_on()?;
        let moves = match &self.at {
            Place::Image => return Ok((self.measured(on, on.batch, watch)?, None)),
            Place::Path(attack) => return Ok((self.along(attack, on, watch)?, None)),
            Place::Last(moves) => moves,
        };
        let points = moves.points(on, watch)?;
        let others = self.second.as_ref().map(|second| second.points(on, watch)).transpose()?;
        let both = |i: usize| points[i].is_some() && others.as_ref().is_none_or(|others| others[i].is_some());
        let there: Vec<usize> = (0..points.len()).filter(|&i| both(i)).collect();
        let part = on.batch.select(&there);
        let clean: Vec<_> = there.iter().map(|&i| on.clean[i].clone()).collect();
        let chosen = |points: &[Option<Vec<f32>>]| {
            stacked(&there.iter().filter_map(|&i| points[i].as_deref()).collect::<Vec<_>>(), &part.x0).map_err(failed(&self.id))
        };
        let (x0, second) = (chosen(&points)?, others.as_deref().map(chosen).transpose()?);
        let moved = Batch { x0, clean: Some(part.x0.clone()), second, ..part.clone() };
        let group = Group { batch: &part, clean: &clean, ..*on };
        if part.is_empty() {
            return Ok((group.findings(), None));
        }
        Ok((self.measured(&group, &moved, watch)?, None))
    }

    fn skipped(&self, on: &Group) -> Result<Findings, MeasureError> {
        Ok(on.findings())
    }
}

impl MetricAt<'_> {
    /// The columns of the metric at every point of the path of an attack: `path_q` [n, steps + 1], the image first. Beside them the
    /// predicted class and cross-entropy, by the untouched model. Samples without a complete path are absent.
    fn along(&self, attack: &Programmed, on: &Group, watch: &mut Watch) -> Result<Findings, MeasureError> {
        let paths = attack.path(on, watch)?;
        let there: Vec<usize> = (0..paths.len()).filter(|&i| paths[i].is_some()).collect();
        let mut paths: Vec<_> = paths.into_iter().flatten().map(Vec::into_iter).collect();
        let part = on.batch.select(&there);
        let clean: Vec<_> = there.iter().map(|&i| on.clean[i].clone()).collect();
        let group = Group { batch: &part, clean: &clean, ..*on };
        let mut findings = group.findings();
        let mut columns: BTreeMap<String, Vec<Vec<f64>>> = BTreeMap::new();
        let (mut losses, mut classes, mut forwards, mut backwards) = (Vec::new(), Vec::new(), 0, 0);
        let points = paths.first().map_or(0, ExactSizeIterator::len);
        for point in 0..points {
            watch.go_on()?;
            let x0 =
                stacked(&paths.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>(), &part.x0).map_err(failed(&self.id))?;
            let scores = on.verifier.logits(&x0).map_err(failed(&self.id))?;
            let loss = |(z, &y): (&Vec<f64>, &i64)| log_sum_exp(z) - z.get(y as usize).copied().unwrap_or(f64::NAN);
            losses.push(scores.iter().zip(&part.y).map(loss).collect());
            classes.push(scores.iter().map(|z| class(argmax(z))).collect::<Vec<i64>>());
            let moved = Batch { x0, clean: Some(part.x0.clone()), ..part.clone() };
            let told = &mut |_: usize| (watch.progress)(point as f64 / points as f64);
            let (eps, seed) = (on.conditions.threat.eps, on.conditions.settings.seed);
            let readings = self.metric.run(&moved, eps, seed, watch.stop, told).map_err(failed(&self.id))?;
            (forwards, backwards) = (forwards + readings.forwards, backwards + readings.backwards);
            readings.columns.into_iter().for_each(|(name, values)| columns.entry(name).or_default().push(values));
        }
        let n = part.len();
        columns.insert("cross_entropy".to_owned(), losses);
        for (name, steps) in columns {
            let turned: Vec<f64> = (0..n).flat_map(|row| steps.iter().map(move |step| step[row])).collect();
            findings.array(&format!("path_{name}"), &[n, steps.len()], turned)?;
        }
        let turned: Vec<i64> = (0..n).flat_map(|row| classes.iter().map(move |step| step[row])).collect();
        findings.array("path_prediction", &[n, points], turned)?;
        findings.put(&FORWARDS, vec![forwards as i64; n]);
        findings.put(&BACKWARDS, vec![backwards as i64; n]);
        Ok(findings)
    }

    fn measured(&self, on: &Group, at: &Batch, watch: &mut Watch) -> Result<Findings, MeasureError> {
        let mut findings = on.findings();
        let rows = at.len().max(1) as f64 * f64::from(self.metric.probes().max(1));
        let told = &mut |done: usize| (watch.progress)(done as f64 / rows);
        let readings = self
            .metric
            .run(at, on.conditions.threat.eps, on.conditions.settings.seed, watch.stop, told)
            .map_err(failed(&self.id))?;
        for (name, values) in readings.columns {
            findings.column(&format!("col_{name}"), values);
        }
        for (prefix, group) in [("vec_", readings.vectors), ("surface_", readings.surfaces)] {
            for (name, rows) in group {
                let width = rows.first().map_or(0, Vec::len);
                findings.array(&format!("{prefix}{name}"), &[rows.len(), width], rows.concat())?;
            }
        }
        findings.put(&FORWARDS, vec![readings.forwards as i64; at.len()]);
        findings.put(&BACKWARDS, vec![readings.backwards as i64; at.len()]);
        Ok(findings)
    }
}
