//! Which samples a report shows one by one, by rules that stand beside them.

use flatscape_report::{CloseUp, SampleLine, SampleValue, Samples, significant};

use crate::examples::{Attacks, Example, Examples, groups, nearest};

/// Classes of which the nearest example is shown, at most, by ascending label.
const CLASSES: usize = 10;

/// A broken sample and one of its examples.
type Broken<'a> = (SampleLine<'a>, Example<'a>);

/// A sample that is shown, and where the images are of which its pictures are made.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The sample, without its pictures.
    pub closeup: CloseUp,
    /// Place of the attack among the [`crate::Witnesses`].
    pub attack: usize,
    /// Row of the sample there.
    pub row: usize,
}

/// The adversarial examples that are shown of each model and threat model: the nearest of all, the one at which the model is most sure
/// of the wrong class, and the nearest of each class.
pub fn closeups(samples: &Samples, examples: &Examples) -> Vec<Chosen> {
    let attacks = Attacks::of(samples, examples);
    groups(samples).iter().flat_map(|group| of_group(samples, &attacks, &group.lines)).collect()
}

fn of_group<'a>(samples: &Samples, attacks: &Attacks<'a>, lines: &[SampleLine<'a>]) -> Vec<Chosen> {
    let right = lines.iter().filter(|line| line.key().prediction == Some(line.key().label));
    let broken: Vec<(SampleLine, Vec<Example>)> = right.map(|&line| (line, attacks.breaking(line))).collect();
    let near: Vec<Broken> = broken.iter().filter_map(|(line, found)| Some((*line, nearest(found)?))).collect();
    let known = |(line, found): &(SampleLine<'a>, Vec<Example<'a>>)| {
        let line = *line;
        found.iter().filter(|e| e.place.is_some()).map(move |e| (line, *e)).collect::<Vec<Broken>>()
    };
    let (distance, margin) = (|e: &Example| e.distance, |e: &Example| e.margin);
    let mut chosen = vec![
        ("the nearest of all", least(distance, near.iter().copied())),
        ("the model is most sure of the wrong class", least(margin, broken.iter().flat_map(known))),
    ];
    let mut labels: Vec<i64> = near.iter().map(|one| one.0.key().label).collect();
    labels.sort_unstable();
    labels.dedup();
    for label in labels.into_iter().take(CLASSES) {
        let own = near.iter().copied().filter(|one| one.0.key().label == label);
        chosen.push(("the nearest of its class", least(distance, own)));
    }
    let mut shown: Vec<Chosen> = Vec::new();
    for (rule, found) in chosen {
        let Some((line, example)) = found else { continue };
        let same = |other: &&mut Chosen| other.closeup.sample == line.key().id && other.closeup.attack == example.attack;
        match shown.iter_mut().find(same) {
            Some(other) => other.closeup.rule += &format!(", {rule}"),
            None => shown.extend(closeup(samples, line, example, rule.to_owned())),
        }
    }
    shown
}

/// The one with the least value, of equal ones the first in the data set; what has no value does not count.
fn least<'a>(of: fn(&Example) -> f64, all: impl Iterator<Item = Broken<'a>>) -> Option<Broken<'a>> {
    let order = |a: &Broken, b: &Broken| of(&a.1).total_cmp(&of(&b.1)).then(a.0.key().id.cmp(&b.0.key().id));
    all.filter(|one| !of(&one.1).is_nan()).min_by(order)
}

fn closeup(samples: &Samples, line: SampleLine, example: Example, rule: String) -> Option<Chosen> {
    let (attack, row) = example.place?;
    let value = |value: &SampleValue| match value {
        SampleValue::Number(number) => significant(*number, 4),
        SampleValue::Text(text) => text.clone(),
    };
    let columns = samples.columns().iter().enumerate();
    let measured = columns.filter_map(|(place, name)| Some((name.clone(), value(line.value(place)?))));
    let closeup = CloseUp {
        model: line.key().model.clone(),
        threat: line.key().threat.clone(),
        attack: example.attack.to_owned(),
        sample: line.key().id,
        label: line.key().label,
        prediction: example.prediction?,
        rule,
        distance: example.distance,
        measured: measured.collect(),
        ..CloseUp::default()
    };
    Some(Chosen { closeup, attack, row })
}

#[cfg(test)]
mod tests {
    use flatscape_report::SampleKey;

    use super::*;
    use crate::examples::Witnesses;

    #[test]
    fn the_nearest_the_surest_and_the_nearest_of_each_class_are_shown_once() {
        let mut samples = Samples::default();
        // id, label, distance, margin, broken
        let rows = [
            (0, 1, 0.3, -1.0, true),
            (1, 1, 0.1, -2.0, true),
            (2, 4, 0.2, -9.0, true),
            (3, 4, 0.15, -1.0, true),
            (4, 7, 0.01, 5.0, false),
        ];
        for (id, label, distance, margin, broken) in rows {
            let key = SampleKey { model: "m".into(), threat: "l2:0.5".into(), id, label, prediction: Some(label) };
            samples.set(&key, "cw.outcome", SampleValue::Text(if broken { "broken" } else { "held" }.into()));
            samples.set(&key, "cw.distance", SampleValue::Number(distance));
            samples.set(&key, "cw.margin", SampleValue::Number(margin));
        }
        let witnesses = Witnesses {
            model: "m".into(),
            threat: "l2:0.5".into(),
            attack: "cw".into(),
            minimal: true,
            ids: vec![0, 1, 2, 3],
            predictions: vec![8, 8, 9, 9],
        };
        let examples = Examples::of(vec![witnesses]);
        let shown = closeups(&samples, &examples);
        let found: Vec<(u64, i64, &str)> =
            shown.iter().map(|c| (c.closeup.sample, c.closeup.prediction, c.closeup.rule.as_str())).collect();
        assert_eq!(
            found,
            [
                (1, 8, "the nearest of all, the nearest of its class"),
                (2, 9, "the model is most sure of the wrong class"),
                (3, 9, "the nearest of its class"),
            ]
        );
        assert_eq!(shown.iter().map(|c| (c.attack, c.row)).collect::<Vec<_>>(), [(0, 1), (0, 2), (0, 3)]);
        assert_eq!(shown[0].closeup.measured[0], ("cw.outcome".to_owned(), "broken".to_owned()));
        assert!(closeups(&samples, &Examples::default()).is_empty());
    }
}
