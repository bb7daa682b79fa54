//! Metrics, at the images or at the points to which an attack moves them.

use flatscape_engine::Engine;
use flatscape_host::Program;

use super::verdicts::stacked;
use super::{Asked, Conditions, Group, Measure, Moves, Watch, failed};
use crate::attack::Batch;
use crate::columns::{BACKWARDS, FORWARDS};
use crate::error::MeasureError;
use crate::findings::Findings;
use crate::metric::Metric;
use crate::verify::Verifier;

/// A metric program on a model, and who moves the images first.
pub(crate) struct MetricAt<'a> {
    id: String,
    metric: Metric,
    at: Option<Box<dyn Moves + 'a>>,
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
        at: Option<Box<dyn Moves + 'a>>,
    ) -> Result<MetricAt<'a>, MeasureError> {
        let id = asked.component.id.clone();
        let size = conditions.settings.batch_size;
        let metric =
            asked.linked(conditions, Some(program), verifier, |link| Metric::compile(engine, link, program, &id, size))?;
        Ok(MetricAt { id, metric, at })
    }
}

impl Measure for MetricAt<'_> {
    fn group(&self, conditions: &Conditions) -> usize {
        conditions.settings.batch_size
    }

    /// Samples for which the attack handed over nothing are absent: there is no point at which to measure.
    fn measure(&self, on: &Group, watch: &mut Watch) -> Result<(Findings, Option<MeasureError>), MeasureError> {
        watch.go_on()?;
        let Some(moves) = &self.at else { return Ok((self.measured(on, on.batch, watch)?, None)) };
        let points = moves.points(on, watch)?;
        let there: Vec<usize> = (0..points.len()).filter(|&i| points[i].is_some()).collect();
        let part = on.batch.select(&there);
        let clean: Vec<_> = there.iter().map(|&i| on.clean[i].clone()).collect();
        let x0 = stacked(points.into_iter().flatten().collect(), &part.x0).map_err(failed(&self.id))?;
        let moved = Batch { x0, clean: Some(part.x0.clone()), ..part.clone() };
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
