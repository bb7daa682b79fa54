//! A ranking as far as the intervals allow one: a partial order, as the range of places that each value can have.

use std::cmp::Ordering;

use flatscape_comparison::Rank;

use super::differences::difference;
use super::metrics::better;
use super::values::Values;
use flatscape_measure::statistics::{Interval, Level, Method};

/// How ranks are found, for readers.
pub(super) const SENTENCE: &str = "Ranks: a model stands before another where the interval of their difference leaves out zero. \
    The intervals of one column hold together with 95 % (Bonferroni over all of its pairs). «1–3» is the range of places that they \
    allow (Klein, Wright and Wieczorek 2020); models that share places cannot be distinguished.";

/// Ranks the values of every ground and measure of which one end is better. Says whether there is a rank.
pub(super) fn rank(all: &mut Values) -> bool {
    let mut ranked = Vec::new();
    for measure in 0..all.measures.len() {
        let Some(better) = better(&all.measures[measure].metric) else { continue };
        for ground in 0..all.grounds.len() {
            let own = |place: &usize| {
                let value = &all.values[*place];
                value.measure == measure && value.ground == ground && value.value.is_some_and(f64::is_finite)
            };
            let places: Vec<usize> = (0..all.values.len()).filter(own).collect();
            if places.len() > 1 {
                ranked.extend(column(all, &places, better));
            }
        }
    }
    for &(place, rank) in &ranked {
        all.values[place].rank = Some(rank);
    }
    !ranked.is_empty()
}

fn column(all: &Values, places: &[usize], better: Ordering) -> Vec<(usize, Rank)> {
    let of = places.len();
    let level = Level::shared_by(of * (of - 1) / 2);
    let (mut before, mut behind) = (vec![0; of], vec![0; of]);
    for i in 0..of {
        for j in 0..i {
            let interval = difference(all, places[i], places[j], level).and_then(|d| d.interval);
            // the sign of an interval does not depend on how it was computed
            let sign = interval.and_then(|(low, high)| Interval { low, high, method: Method::Tango }.sign());
            match sign {
                Some(sign) if sign == better => (before[j], behind[i]) = (before[j] + 1, behind[i] + 1),
                Some(_) => (before[i], behind[j]) = (before[i] + 1, behind[j] + 1),
                None => {}
            }
        }
    }
    (0..of).map(|i| (places[i], Rank { first: 1 + before[i], last: of - behind[i], of })).collect()
}
