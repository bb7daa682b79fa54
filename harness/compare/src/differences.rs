//! The difference of two values: paired where both rest on the same samples of the same data, else of two samples.

use flatscape_comparison::{Difference, Flips, Pairing};

use super::metrics::{Kind, kind};
use super::points::Points;
use super::values::Values;
use flatscape_measure::statistics::{Interval, Level, mcnemar, newcombe, paired_t, samples_to_separate, tango, welch};

/// What a difference rests on.
struct Basis {
    pairing: Pairing,
    why: String,
    /// The values of the one and of the other in the same order, where they are paired.
    pairs: Option<(Points, Points)>,
}

/// `value − reference`, two places in [`Values::values`]. `None` where one of them has no value, or where they have neither the
/// data set nor the model in common.
pub(super) fn difference(all: &Values, value: usize, reference: usize, level: Level) -> Option<Difference> {
    let (one, two) = (&all.values[value], &all.values[reference]);
    let (mut a, mut b) = (one.value?, two.value?);
    if !comparable(all, one.entry, two.entry) {
        return None;
    }
    let kind = kind(&all.measures[one.measure].metric);
    let Basis { pairing, why, pairs } = basis(all, value, reference);
    let (mut n, mut reference_n) = (one.n, two.n);
    if let (Pairing::Common, Some((ours, theirs))) = (pairing, &pairs) {
        (a, b) = (ours.mean(), theirs.mean());
        (n, reference_n) = (ours.ids.len() as u64, theirs.ids.len() as u64);
    }
    let flips = pairs.as_ref().filter(|_| kind == Kind::Rate).map(|(ours, theirs)| flips(ours, theirs));
    let interval = match (kind, &pairs, &flips) {
        (Kind::Rate, Some(_), Some(flips)) => tango(flips.gained.len() as u64, flips.lost.len() as u64, n, level),
        (Kind::Rate, ..) => counted(a, n).zip(counted(b, reference_n)).and_then(|(one, two)| newcombe(one, two, level)),
        (Kind::Mean, Some((ours, theirs)), _) => paired_t(&ours.values, &theirs.values, level),
        (Kind::Mean, None, _) => match (&all.points[value], &all.points[reference]) {
            (Some(ours), Some(theirs)) => welch(&ours.values, &theirs.values, level),
            _ => None,
        },
        (Kind::Other, ..) => None,
    };
    // counted, so that 12 of 600 are −0.02 and not the difference of two rounded rates
    let change = match &flips {
        Some(flips) => (flips.gained.len() as f64 - flips.lost.len() as f64) / n as f64,
        None => a - b,
    };
    Some(Difference {
        entry: one.entry,
        reference: two.entry,
        measure: one.measure,
        ground: one.ground,
        value: a,
        reference_value: b,
        difference: change,
        interval: interval.map(|i| (i.low, i.high)),
        method: interval.map_or_else(String::new, |i: Interval| i.method.name().to_owned()),
        pairing,
        why,
        n,
        reference_n,
        needed: flips.as_ref().and_then(|flips| needed(flips, n)),
        flips,
    })
}

/// Whether two models in two runs have the data set or the file of the model in common.
fn comparable(all: &Values, one: usize, two: usize) -> bool {
    let (a, b) = (&all.entries[one], &all.entries[two]);
    all.data[a.run].name == all.data[b.run].name || a.model_sha256 == b.model_sha256
}

fn basis(all: &Values, value: usize, reference: usize) -> Basis {
    let apart = |why: String| Basis { pairing: Pairing::TwoSample, why, pairs: None };
    let run = |place: usize| &all.data[all.entries[all.values[place].entry].run];
    let (ours, theirs) = (run(value), run(reference));
    if !ours.same_source(theirs) {
        return apart("Two-sample: the data differ (name, split or SHA-256).".to_owned());
    }
    let (Some(one), Some(two)) = (&all.points[value], &all.points[reference]) else {
        return apart("Two-sample: samples.csv does not hold the measure sample by sample.".to_owned());
    };
    let Some((one_common, two_common)) = one.common(two) else {
        return apart("Two-sample: a sample has another label in the other run.".to_owned());
    };
    let (count, images) = (one_common.ids.len(), if ours.images == theirs.images { "" } else { ", prepared differently" });
    if count == one.ids.len() && count == two.ids.len() {
        let why = format!("Paired: the same {count} samples of the same data{images}.");
        return Basis { pairing: Pairing::Paired, why, pairs: Some((one_common, two_common)) };
    }
    if count == 0 {
        return apart("Two-sample: the data are the same, and no sample is in both runs.".to_owned());
    }
    let why = format!(
        "Paired on common samples: {count} samples of the same data{images} are in both runs, of {} and {}; values and difference are about these.",
        one.ids.len(),
        two.ids.len()
    );
    Basis { pairing: Pairing::Common, why, pairs: Some((one_common, two_common)) }
}

/// Samples that separate the two (`samples_to_separate`), from how many flipped; `None` where gains and losses are even.
fn needed(flips: &Flips, n: u64) -> Option<u64> {
    let (gained, lost) = (flips.gained.len() as f64, flips.lost.len() as f64);
    samples_to_separate((gained - lost) / n as f64, (gained + lost) / n as f64)
}

fn flips(one: &Points, two: &Points) -> Flips {
    let right = |points: &Points, place: usize| points.values[place] == 1.0;
    let only = |a: &Points, b: &Points| -> Vec<u64> {
        (0..a.ids.len()).filter(|&place| right(a, place) && !right(b, place)).map(|place| a.ids[place]).collect()
    };
    let (gained, lost) = (only(one, two), only(two, one));
    let p = mcnemar(gained.len() as u64, lost.len() as u64);
    Flips { gained, lost, p }
}

/// A rate as a count; `None` where it is not one of `n`.
fn counted(rate: f64, n: u64) -> Option<(u64, u64)> {
    let count = rate * n as f64;
    ((count - count.round()).abs() < 1e-6 && count >= -0.5).then(|| (count.round() as u64, n))
}
