//! What becomes of adversarial examples that an attack claims: the judge looks at them, samples that are done leave, and what the
//! judge rejects is forgotten, so that an earlier or a later point counts.

use flatscape_graph::{Element, Tensor};

use super::keep::{BEST, BEST_SCORE, BROKEN, FOUND, NOTHING};
use super::lots::{Lot, pack};
use super::{AttackError, Judge, Keep, Ruling, Run};
use crate::stage::StageError;

/// Steps after which a nearer example of a sample that has a confirmed one is looked at; until it has one, every step is.
const SELDOM: u32 = 10;

impl Run<'_> {
    /// Lets the judge look at what was found. Reads one bool per sample, and the points that are claimed.
    pub(super) fn look(&mut self, judge: Judge, k: u32) -> Result<(), AttackError> {
        let (mark, due) = match self.attack.keep {
            Keep::Last => return Ok(()),
            Keep::Every => return self.look_at_all(judge),
            Keep::FirstSuccess => (BROKEN, true),
            Keep::Nearest => (FOUND, (k + 1).is_multiple_of(SELDOM) || k + 1 == self.attack.count),
        };
        let mut claims: Vec<Vec<usize>> = Vec::with_capacity(self.lots.len());
        for lot in &self.lots {
            let marks: Vec<bool> = self.column(lot, mark)?;
            let asked = |row: &usize| marks[*row] && (due || !lot.confirmed.contains_key(&lot.rows[*row]));
            claims.push((0..marks.len()).filter(asked).collect());
        }
        let places: Vec<(usize, usize)> =
            claims.iter().enumerate().flat_map(|(lot, rows)| rows.iter().map(move |&row| (lot, row))).collect();
        if places.is_empty() {
            return Ok(());
        }
        let samples: Vec<usize> = places.iter().map(|&(lot, row)| self.lots[lot].rows[row]).collect();
        let points = self.points_of(&self.lots.iter().collect::<Vec<_>>(), BEST, &places)?;
        let rulings = judge(&samples, &points)?;
        if rulings.len() != samples.len() {
            return Err(StageError::Result { name: BEST.into() }.into());
        }
        let mut judged = points.into_iter().zip(rulings);
        let mut stay: Vec<Vec<usize>> = Vec::with_capacity(self.lots.len());
        for (place, rows) in claims.iter().enumerate() {
            let judged: Vec<(usize, Vec<f32>, Ruling)> =
                rows.iter().zip(judged.by_ref()).map(|(&row, (point, ruling))| (row, point, ruling)).collect();
            let gone = if self.attack.keep == Keep::Nearest { self.confirm(place, judged)? } else { self.leave(place, judged)? };
            stay.push((0..self.lots[place].rows.len()).filter(|row| !gone.contains(row)).collect());
        }
        let lots = std::mem::take(&mut self.lots);
        self.lots = pack(lots, &stay, self.restart.batch_size, &self.attack.last)?;
        Ok(())
    }

    /// Lets the judge look at the point of every sample, which is one evaluation of the model.
    fn look_at_all(&mut self, judge: Judge) -> Result<(), AttackError> {
        let (mut samples, mut points) = (Vec::new(), Vec::new());
        for lot in &self.lots {
            samples.extend_from_slice(&lot.rows);
            points.extend(self.points(lot, self.attack.moved, &(0..lot.rows.len()).collect::<Vec<_>>())?);
        }
        self.spent.forwards += 1;
        judge(&samples, &points).map(drop)
    }

    /// Rows whose example stands become proposals and leave; the others count as unbroken again. Returns those that leave.
    fn leave(&mut self, place: usize, judged: Vec<(usize, Vec<f32>, Ruling)>) -> Result<Vec<usize>, AttackError> {
        let (stand, rejected): (Vec<_>, Vec<_>) = judged.into_iter().partition(|j| j.2 == Ruling::Stands);
        let forgotten: Vec<usize> = rejected.iter().map(|j| j.0).collect();
        let (gone, points): (Vec<usize>, Vec<Vec<f32>>) = stand.into_iter().map(|(row, point, _)| (row, point)).unzip();
        self.propose(place, &gone, points)?;
        if !forgotten.is_empty() {
            self.change::<f32>(place, BEST_SCORE, |scores| forgotten.iter().for_each(|&row| scores[row] = NOTHING))?;
            self.change::<bool>(place, BROKEN, |broken| forgotten.iter().for_each(|&row| broken[row] = false))?;
        }
        Ok(gone)
    }

    /// An example that stands is remembered with its score. Where one is rejected, the one that was confirmed before is the best
    /// again, and where there is none the row counts as unbroken. Nobody leaves.
    fn confirm(&mut self, place: usize, judged: Vec<(usize, Vec<f32>, Ruling)>) -> Result<Vec<usize>, AttackError> {
        if judged.is_empty() {
            return Ok(Vec::new());
        }
        let scores: Vec<f32> = self.column(&self.lots[place], BEST_SCORE)?;
        let rows: Vec<usize> = judged.iter().map(|j| j.0).collect();
        let mut back: Vec<(usize, f32, Option<Vec<f32>>)> = Vec::new();
        let lot = &mut self.lots[place];
        for (row, point, ruling) in judged {
            let sample = lot.rows[row];
            match ruling {
                Ruling::Stands => {
                    lot.confirmed.insert(sample, (scores[row], point));
                }
                Ruling::Rejected => {
                    let before = lot.confirmed.get(&sample);
                    back.push((row, before.map_or(NOTHING, |b| b.0), before.map(|b| b.1.clone())));
                }
            }
        }
        self.change::<bool>(place, FOUND, |found| rows.iter().for_each(|&row| found[row] = false))?;
        if back.is_empty() {
            return Ok(Vec::new());
        }
        self.change::<f32>(place, BEST_SCORE, |scores| back.iter().for_each(|(row, score, _)| scores[*row] = *score))?;
        self.change::<bool>(place, BROKEN, |broken| back.iter().for_each(|(row, score, _)| broken[*row] = *score > NOTHING))?;
        self.change::<f32>(place, BEST, |values| {
            for (row, _, point) in &back {
                let Some(point) = point else { continue };
                values[row * point.len()..(row + 1) * point.len()].copy_from_slice(point);
            }
        })?;
        Ok(Vec::new())
    }

    /// Changes a value of a lot on the host and brings it back.
    fn change<T: Element>(&mut self, place: usize, name: &str, change: impl FnOnce(&mut [T])) -> Result<(), AttackError> {
        let lot: &Lot = &self.lots[place];
        let wrong = || StageError::Result { name: name.to_owned() };
        let shape = lot.values.get(name).ok_or_else(wrong)?.shape().to_vec();
        let mut data: Vec<T> = self.column(lot, name)?;
        change(&mut data);
        let changed: Tensor = Tensor::new(&shape, data).ok_or_else(wrong)?;
        let buffer = self.attack.last.upload(&changed)?;
        self.lots[place].values.put(name, buffer);
        Ok(())
    }
}
