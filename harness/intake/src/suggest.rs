//! Suggestions for a model that is probably fed wrongly: tries the usual mistakes of preprocessing on images spread over the classes,
//! forwards only, and says which correction would be significantly better on the same images. It suggests and never applies.

mod feeding;

use flatscape_engine::{CompileOptions, Engine, EngineError, Executable};
use flatscape_graph::Tensor;

pub use feeding::{MISTAKES, Mistake};

use feeding::{Feeding, SMALL};

use crate::data::{Batch, Dataset};
use crate::mcnemar::mcnemar;
use crate::model::Model;
use crate::refusal::Refusal;
use crate::scores::argmax;

/// Offsets of labels that are tried.
const OFFSETS: &[i64] = &[0, 1, -1];

/// Images per try, and for the ways that look best; for images of more than [`SMALL`] pixels a quarter of that.
const FIRST: usize = 60;
const THEN: usize = 400;

/// Images per run of a model that takes any number.
const BATCH: usize = 64;

/// How many ways are tried on more images.
const KEPT: usize = 8;

/// How many ways with one change are tried on more images beside them.
const SINGLE: usize = 4;

/// Below this clean accuracy every mistake is tried with every other.
const POOR: f64 = 0.5;

/// How much better a way must be to be suggested, beside being significant.
const GAIN: f64 = 0.02;

/// The level of the paired test, divided by the number of ways that are tried.
const LEVEL: f64 = 0.01;

/// The least clean accuracy that a correction explains, of up to [`MANY`] classes and of more: below, labels that are wrong in another
/// way are likelier.
const EXPLAINS: f64 = 0.5;
const EXPLAINS_OF_MANY: f64 = 0.2;
const MANY: usize = 20;

/// Two ways whose rates differ by less are equally good.
const TIE: f64 = 0.01;

/// Equally good ways that a sentence names, at most.
const NAMED: usize = 4;

/// A way of feeding with an offset of labels, and which images it gets right.
#[derive(Clone)]
struct Tried {
    way: Feeding,
    offset: i64,
    right: Vec<bool>,
}

impl Tried {
    fn share(&self) -> f64 {
        self.right.iter().filter(|r| **r).count() as f64 / self.right.len().max(1) as f64
    }

    /// The images that only this way gets right, and those that only the other does.
    fn against(&self, other: &Tried) -> (u64, u64) {
        let count = |a: &Tried, b: &Tried| a.right.iter().zip(&b.right).filter(|(a, b)| **a && !**b).count() as u64;
        (count(self, other), count(other, self))
    }

    fn changes(&self, stated: &Feeding) -> usize {
        self.way.changes(stated) + usize::from(self.offset != 0)
    }
}

/// A compiled model and the images on which it is tried.
struct Trial<'a> {
    executable: Box<dyn Executable>,
    model: &'a Model,
    stated: Feeding,
    shape: [usize; 3],
    /// Images per run: as many as the model takes, where it takes no other number.
    batch: usize,
}

/// Ways of feeding the model that give a significantly better clean accuracy on the same images (McNemar's exact test, corrected for
/// the number of ways), as a sentence with the flags that ask for them: the simplest that is as good as the best, with its ties. Also
/// where pixels are normalised for a file that normalises by itself, unless the clean accuracy shows that both are right.
///
/// # Errors
/// An engine error.
pub fn suggest(engine: &dyn Engine, model: &Model, data: &Dataset) -> Result<Vec<String>, Refusal> {
    let executable = engine.compile(&model.graph, &CompileOptions::default()).map_err(failed)?;
    let fixed = model.graph.inputs().first().and_then(|&x| model.graph.shape(x)?.first()?.fixed());
    let batch = fixed.unwrap_or(BATCH).max(1);
    let trial = Trial { executable, model, stated: Feeding::of(&model.pixels), shape: data.shape, batch };
    let part = if data.shape[1] * data.shape[2] > SMALL { 4 } else { 1 };
    let ids = spread(&data.labels, THEN / part);
    let all = data.gather(&ids);
    let now = trial.one(&trial.stated, 0, &all)?;
    let twice = trial.twice(&now, &all)?;
    // with so few mistakes nothing can be significantly better
    let wrong = now.right.iter().filter(|r| !**r).count() as u64;
    if mcnemar(wrong, 0) > LEVEL {
        return Ok(twice.into_iter().collect());
    }
    let few = data.gather(&ids[..ids.len().min(FIRST / part)]);
    let (ways, mut candidates) = trial.candidates(now.share() < POOR, &few)?;
    candidates.sort_by(|a, b| {
        let order = b.share().total_cmp(&a.share());
        order.then(a.changes(&trial.stated).cmp(&b.changes(&trial.stated)))
    });
    // a single change may explain as much as two, and has to be among those that are looked at closely
    let behind = candidates.split_off(candidates.len().min(KEPT));
    candidates.extend(behind.into_iter().filter(|t| t.changes(&trial.stated) == 1).take(SINGLE));
    let level = LEVEL / (ways * OFFSETS.len()) as f64;
    let explains = if model.classes > MANY { EXPLAINS_OF_MANY } else { EXPLAINS };
    let mut better = Vec::new();
    for candidate in candidates {
        let tried = trial.one(&candidate.way, candidate.offset, &all)?;
        let (gained, lost) = tried.against(&now);
        if gained > lost && mcnemar(gained, lost) <= level && tried.share() >= explains.max(now.share() + GAIN) {
            better.push(tried);
        }
    }
    Ok(trial.sentence(&now, better, data).or(twice).into_iter().collect())
}

impl Trial<'_> {
    /// Which images a way of feeding gets right.
    fn one(&self, way: &Feeding, offset: i64, batch: &Batch) -> Result<Tried, Refusal> {
        let predicted = self.predicted(way, batch).map_err(failed)?;
        Ok(judged(way, offset, &predicted, batch))
    }

    fn predicted(&self, way: &Feeding, batch: &Batch) -> Result<Vec<Option<usize>>, EngineError> {
        let x = if *way == self.stated { batch.x.clone() } else { way.as_pixels_of(&self.stated, &batch.x, self.shape) };
        let n = batch.y.len();
        let size = self.batch;
        let mut rows = Vec::with_capacity(n);
        for start in (0..n).step_by(size) {
            // the last batch of a file that fixes it is filled up
            let chosen: Vec<usize> = (start..start + size).map(|i| i.min(n - 1)).collect();
            let input = self.executable.upload(&flatscape_graph::rows(&x, &chosen))?;
            let outputs = self.executable.run(&[&input])?;
            let logits = outputs.first().map_or_else(|| Ok(Tensor::scalar(0f32)), |o| o.host())?.to_f64();
            rows.extend(logits.chunks(self.model.classes.max(1)).map(argmax).take((n - start).min(size)));
        }
        Ok(rows)
    }

    /// How many ways were tried, and those that are better on few images. Where the accuracy is poor every mistake is tried with every other;
    /// otherwise one by one, and each again beside the best of them.
    fn candidates(&self, poor: bool, few: &Batch) -> Result<(usize, Vec<Tried>), Refusal> {
        let others = |ways: &[Feeding]| -> Vec<Vec<Feeding>> {
            MISTAKES.iter().map(|m| ways.iter().flat_map(|way| (m.alternatives)(way, self.shape)).collect()).collect()
        };
        let mut ways = vec![self.stated.clone()];
        if poor {
            for mistake in MISTAKES {
                let more: Vec<Feeding> = ways.iter().flat_map(|way| (mistake.alternatives)(way, self.shape)).collect();
                ways.extend(more);
            }
        } else {
            ways.extend(others(&ways).concat());
        }
        let mut tried = Vec::new();
        for way in &ways {
            let predicted = self.predicted(way, few).map_err(failed)?;
            tried.extend(OFFSETS.iter().map(|&offset| judged(way, offset, &predicted, few)));
        }
        let best = tried.iter().max_by(|a, b| a.share().total_cmp(&b.share())).map(|t| t.way.clone());
        if let Some(best) = best.filter(|best| !poor && *best != self.stated) {
            for way in others(&[best]).concat().into_iter().filter(|way| !ways.contains(way)).collect::<Vec<_>>() {
                let predicted = self.predicted(&way, few).map_err(failed)?;
                tried.extend(OFFSETS.iter().map(|&offset| judged(&way, offset, &predicted, few)));
                ways.push(way);
            }
        }
        let now = tried.iter().find(|t| t.way == self.stated && t.offset == 0).map_or(0.0, Tried::share);
        tried.retain(|t| t.share() > now);
        Ok((ways.len(), tried))
    }

    /// The simplest of those that are as good as the best, and those that tie with it.
    fn sentence(&self, now: &Tried, better: Vec<Tried>, data: &Dataset) -> Option<String> {
        let best = better.iter().max_by(|a, b| a.share().total_cmp(&b.share()))?.clone();
        let as_good = |t: &&Tried| {
            let (gained, lost) = best.against(t);
            best.share() - t.share() <= TIE || mcnemar(gained, lost) > 0.05
        };
        let near: Vec<&Tried> = better.iter().filter(as_good).collect();
        let simplest = near.iter().map(|t| t.changes(&self.stated)).min()?;
        let mut equal: Vec<&Tried> = near.into_iter().filter(|t| t.changes(&self.stated) == simplest).collect();
        // a file that normalises by itself is fed plain pixels
        let revealed = |t: &Tried| self.normalises() && t.way.is_plain();
        equal.sort_by(|a, b| revealed(b).cmp(&revealed(a)).then(b.share().total_cmp(&a.share())));
        let first = equal.first()?;
        let flags = |t: &Tried| t.way.described(&self.stated, (t.offset != 0).then_some(t.offset + data.label_offset));
        let ties: Vec<String> = equal[1..].iter().filter(|t| first.share() - t.share() <= TIE).map(|t| flags(t)).collect();
        let ties = match &ties[..] {
            [] => String::new(),
            ties => format!("; as good would be {}", ties.iter().take(NAMED - 1).cloned().collect::<Vec<_>>().join(", or ")),
        };
        let (n, (gained, lost)) = (now.right.len(), first.against(now));
        Some(format!(
            "with {} the clean accuracy on {n} images would be {:.1} %, not {:.1} % ({gained} images gained, {lost} lost){ties}",
            flags(first),
            100.0 * first.share(),
            100.0 * now.share()
        ))
    }

    fn normalises(&self) -> bool {
        self.model.hazards.iter().any(|h| h.code == "baked-normalisation")
    }

    /// Pixels that are normalised for a file that normalises by itself: a sentence, unless the model is significantly better so.
    fn twice(&self, now: &Tried, all: &Batch) -> Result<Option<String>, Refusal> {
        if !self.normalises() || self.stated.is_plain() {
            return Ok(None);
        }
        let plain = Feeding { mean: vec![0.0], std: vec![1.0], ..self.stated.clone() };
        let plain = self.one(&plain, 0, all)?;
        let (gained, lost) = now.against(&plain);
        if gained > lost && mcnemar(gained, lost) <= LEVEL {
            return Ok(None);
        }
        Ok(Some(format!(
            "the file normalises by itself, and --mean and --std normalise before it; without them the clean accuracy on {} images \
             would be {:.1} %, not {:.1} %",
            all.y.len(),
            100.0 * plain.share(),
            100.0 * now.share()
        )))
    }
}

fn judged(way: &Feeding, offset: i64, predicted: &[Option<usize>], batch: &Batch) -> Tried {
    let right = predicted.iter().zip(&batch.y).map(|(p, y)| p.is_some_and(|p| p as i64 == *y + offset)).collect();
    Tried { way: way.clone(), offset, right }
}

/// The first image of every class, then the second, and so on: at most `n`, whatever the order of the data.
fn spread(labels: &[i64], n: usize) -> Vec<u64> {
    let mut seen: std::collections::HashMap<i64, usize> = std::collections::HashMap::new();
    let mut places: Vec<(usize, i64, u64)> = Vec::with_capacity(labels.len());
    for (id, &label) in labels.iter().enumerate() {
        let turn = seen.entry(label).or_insert(0);
        places.push((*turn, label, id as u64));
        *turn += 1;
    }
    places.sort_unstable();
    places.into_iter().take(n).map(|(.., id)| id).collect()
}

fn failed(error: EngineError) -> Refusal {
    Refusal::engine(6, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_spread_over_the_classes() {
        assert_eq!(spread(&[0, 0, 0, 1, 1, 2], 5), [0, 3, 5, 1, 4]);
        assert_eq!(spread(&[5, 5, 5], 2), [0, 1]);
    }
}
