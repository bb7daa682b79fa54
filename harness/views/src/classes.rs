//! What becomes of each class under attack, with the accuracy of each class and its interval.

use std::collections::BTreeMap;

use flatscape_measure::statistics::clopper_pearson;
use flatscape_report::{ClassRow, ClassTable, Samples};

use crate::examples::{Attacks, Examples, Fate, Group, groups, nearest};

/// Counts of one class.
#[derive(Default)]
struct Count {
    n: u64,
    right: u64,
    standing: u64,
    becomes: BTreeMap<Option<i64>, u64>,
}

/// One table per model and threat model, in the order of `samples.csv`. Intervals are Clopper and Pearson's.
pub fn classes(samples: &Samples, examples: &Examples) -> Vec<ClassTable> {
    let attacks = Attacks::of(samples, examples);
    groups(samples).iter().map(|group| table(group, &attacks)).collect()
}

fn table(group: &Group, attacks: &Attacks) -> ClassTable {
    let mut rows: BTreeMap<i64, Count> = BTreeMap::new();
    for &line in &group.lines {
        let key = line.key();
        let row = rows.entry(key.label).or_default();
        let fate = attacks.fate(line);
        row.n += 1;
        row.right += u64::from(fate != Fate::Wrong);
        row.standing += u64::from(fate == Fate::Stands);
        let becomes = match fate {
            Fate::Wrong => key.prediction,
            Fate::Stands => Some(key.label),
            Fate::Broken => nearest(&attacks.breaking(line)).and_then(|example| example.prediction),
        };
        *row.becomes.entry(becomes).or_default() += 1;
    }
    let attacked = group.lines.iter().any(|&line| attacks.saw(line));
    ClassTable {
        model: group.model.to_owned(),
        threat: group.threat.to_owned(),
        rows: rows.into_iter().map(|(label, count)| row(label, count, attacked)).collect(),
    }
}

fn row(label: i64, count: Count, attacked: bool) -> ClassRow {
    let rate = |successes: u64| {
        let interval = clopper_pearson(successes, count.n);
        (successes as f64 / count.n as f64, (interval.low, interval.high))
    };
    ClassRow {
        label,
        n: count.n,
        clean: rate(count.right),
        robust: attacked.then(|| rate(count.standing)),
        becomes: count.becomes,
    }
}

#[cfg(test)]
mod tests {
    use flatscape_report::{SampleKey, SampleValue};

    use super::*;
    use crate::examples::Witnesses;

    fn key(id: u64, label: i64, prediction: i64, threat: &str) -> SampleKey {
        SampleKey { model: "m".into(), threat: threat.into(), id, label, prediction: Some(prediction) }
    }

    fn witnesses(attack: &str, threat: &str, minimal: bool, rows: &[(u64, i64)]) -> Witnesses {
        Witnesses {
            model: "m".into(),
            threat: threat.into(),
            attack: attack.into(),
            minimal,
            ids: rows.iter().map(|row| row.0).collect(),
            predictions: rows.iter().map(|row| row.1).collect(),
        }
    }

    #[test]
    fn every_sample_is_counted_once_at_the_class_of_its_nearest_example() {
        let mut samples = Samples::default();
        let mut set = |key: &SampleKey, attack: &str, outcome: &str, distance: f64| {
            samples.set(key, &format!("{attack}.outcome"), SampleValue::Text(outcome.into()));
            samples.set(key, &format!("{attack}.distance"), SampleValue::Number(distance));
        };
        // stands; broken by both, fab nearer; wrong unperturbed; broken without a known example; not finite
        for (id, prediction, pgd, fab, near) in [
            (0, 0, "held", "held", 0.3),
            (1, 0, "broken", "broken", 0.05),
            (2, 7, "misclassified", "misclassified", f64::NAN),
            (3, 0, "broken", "held", 0.3),
            (4, 0, "nan-in-ball", "held", 0.3),
        ] {
            set(&key(id, 0, prediction, "linf:0.1"), "pgd", pgd, 0.1);
            set(&key(id, 0, prediction, "linf:0.1"), "fab", fab, near);
        }
        let examples = Examples::of(vec![
            witnesses("pgd", "linf:0.1", false, &[(1, 3)]),
            witnesses("fab", "linf:0.2", true, &[(0, 9), (1, 5)]),
        ]);
        let tables = classes(&samples, &examples);
        assert_eq!((tables.len(), tables[0].rows.len()), (1, 1));
        let row = &tables[0].rows[0];
        assert_eq!((row.label, row.n, row.clean.0, row.robust.map(|rate| rate.0)), (0, 5, 0.8, Some(0.2)));
        assert_eq!(row.becomes, BTreeMap::from([(Some(0), 1), (Some(5), 1), (Some(7), 1), (None, 2)]));
        // 4 of 5: Clopper and Pearson's interval, from the quantiles of the beta distribution
        assert!((row.clean.1.0 - 0.283_582_1).abs() < 1e-6 && (row.clean.1.1 - 0.994_949_2).abs() < 1e-6, "{:?}", row.clean);
    }

    #[test]
    fn without_an_attack_there_is_no_robust_accuracy() {
        let mut samples = Samples::default();
        samples.mention(&key(0, 2, 2, ""));
        let tables = classes(&samples, &Examples::default());
        assert_eq!((tables[0].rows[0].robust, tables[0].rows[0].clean.0), (None, 1.0));
    }
}
