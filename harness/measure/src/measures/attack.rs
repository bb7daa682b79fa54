//! Attacks that are programs.

use flatscape_engine::Engine;
use flatscape_host::Program;

use super::verdicts::Verdicts;
use super::{Asked, Conditions, Group, Measure, Moves, Watch, failed, is_free};
use crate::attack::{Attack, AttackError, Keep, Proposal, Restart, Ruling};
use crate::error::MeasureError;
use crate::findings::Findings;
use crate::request::Target;
use crate::stage::StageError;
use crate::verify::Verifier;

/// Values of pixels that a group holds at most in one tensor: 32 MiB of float32. A group is a job's range where that is smaller.
const PIXELS_OF_A_GROUP: usize = 8 << 20;

/// An attack program on a model.
pub(crate) struct Programmed {
    id: String,
    attack: Attack,
    keep: Keep,
    restarts: u32,
    target: Target,
}

impl Programmed {
    /// # Errors
    /// The program does not fit the model, or the engine refuses it.
    pub fn new(
        engine: &dyn Engine,
        conditions: &Conditions,
        verifier: &Verifier,
        asked: Asked,
        program: &Program,
        keep: Keep,
    ) -> Result<Programmed, MeasureError> {
        let id = asked.component.id.clone();
        let free = is_free(asked.component);
        let attack =
            asked.linked(conditions, Some(program), verifier, |link| Attack::compile(engine, link, program, &id, free, keep))?;
        Ok(Programmed { id, attack, keep, restarts: program.restarts.max(1), target: asked.target })
    }

    fn restart<'r>(&self, on: &Group, number: u32, watch: &Watch<'r>) -> Restart<'r> {
        let settings = on.conditions.settings;
        Restart { seed: settings.seed, eps: on.conditions.threat.eps, number, batch_size: settings.batch_size, stop: watch.stop }
    }

    /// All restarts, each on what is left.
    fn attacked(&self, verdicts: &mut Verdicts, on: &Group, watch: &mut Watch) -> Result<(), AttackError> {
        let batch = on.aimed(self.target, &self.id);
        for number in 0..self.restarts {
            let active = verdicts.active();
            if active.is_empty() {
                break;
            }
            let part = batch.select(&active);
            let restart = self.restart(on, number, watch);
            let total = f64::from(self.restarts);
            let told = &mut |share| (watch.progress)((f64::from(number) + share) / total);
            let mut judge = |rows: &[usize], points: &[Vec<f32>]| {
                verdicts.judge(&rows.iter().map(|&row| active[row]).collect::<Vec<_>>(), points)
            };
            let proposals = self.attack.run(&part, &restart, &mut judge, told)?;
            verdicts.take(&active, proposals)?;
        }
        verdicts.all_seen();
        verdicts.ask_in_batches()?;
        verdicts.ask_as_stored()
    }
}

impl Measure for Programmed {
    fn group(&self, conditions: &Conditions) -> usize {
        let pixels: usize = conditions.model.shape.iter().product();
        (PIXELS_OF_A_GROUP / pixels.max(1)).max(conditions.settings.batch_size)
    }

    fn measure(&self, on: &Group, watch: &mut Watch) -> Result<(Findings, Option<MeasureError>), MeasureError> {
        let batch = on.aimed(self.target, &self.id);
        let mut verdicts = Verdicts::new(on, &batch, self.keep);
        let fault = match self.attacked(&mut verdicts, on, watch).map_err(failed(&self.id)) {
            Err(MeasureError::Interrupted) => return Err(MeasureError::Interrupted),
            other => other.err(),
        };
        Ok((verdicts.findings()?, fault))
    }

    fn skipped(&self, on: &Group) -> Result<Findings, MeasureError> {
        Verdicts::new(on, on.batch, self.keep).findings()
    }
}

impl Programmed {
    /// Per sample the image and every iterate of the first restart; `None` where one of them is no image.
    ///
    /// # Errors
    /// The attack failed, or [`MeasureError::Interrupted`].
    pub fn path(&self, on: &Group, watch: &mut Watch) -> Result<Vec<Option<Vec<Vec<f32>>>>, MeasureError> {
        let batch = on.aimed(self.target, &self.id);
        let wrong = || failed(&self.id)(StageError::Result { name: "x0".into() }.into());
        let clean = on.batch.x0.to_vec::<f32>().ok_or_else(wrong)?;
        let width = (clean.len() / batch.len().max(1)).max(1);
        let mut paths: Vec<Vec<Vec<f32>>> = clean.chunks(width).map(|image| vec![image.to_vec()]).collect();
        let threat = &on.conditions.threat;
        let mut judge = |rows: &[usize], points: &[Vec<f32>]| {
            for (&row, point) in rows.iter().zip(points) {
                let image = threat.candidate(&clean[row * width..(row + 1) * width], point.clone(), batch.ids[row]).x;
                paths[row].push(image);
            }
            Ok(vec![Ruling::Rejected; rows.len()])
        };
        self.attack.run(&batch, &self.restart(on, 0, watch), &mut judge, &mut |_| {}).map_err(failed(&self.id))?;
        let sound = |path: &Vec<Vec<f32>>| path.iter().all(|x| x.len() == width && x.iter().all(|v| v.is_finite()));
        Ok(paths.into_iter().map(|path| Some(path).filter(sound)).collect())
    }
}

impl Moves for Programmed {
    /// The last iterates of the first restart.
    fn points(&self, on: &Group, watch: &mut Watch) -> Result<Vec<Option<Vec<f32>>>, MeasureError> {
        let batch = on.aimed(self.target, &self.id);
        let mut judge = |rows: &[usize], _: &[Vec<f32>]| Ok(vec![Ruling::Rejected; rows.len()]);
        let restart = self.restart(on, 0, watch);
        let proposals = self.attack.run(&batch, &restart, &mut judge, &mut |_| {}).map_err(failed(&self.id))?;
        let wrong = || failed(&self.id)(StageError::Result { name: "x0".into() }.into());
        let clean = on.batch.x0.to_vec::<f32>().ok_or_else(wrong)?;
        let origins = clean.chunks((clean.len() / on.batch.len().max(1)).max(1));
        let image = |((p, origin), &id): ((Proposal, &[f32]), &u64)| {
            p.point.map(|point| on.conditions.threat.candidate(origin, point, id).x).filter(|x| !x.is_empty())
        };
        Ok(proposals.into_iter().zip(origins).zip(&on.batch.ids).map(image).collect())
    }
}
