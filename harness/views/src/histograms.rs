//! Distributions of log p over the samples (Lin et al. 2020, Fig. 3), from the columns of `samples.csv`.

use flatscape_report::{Histogram, SampleValue, Samples, shown};

use crate::examples::{Group, groups};

/// The column of log p at the samples; what was measured elsewhere has a suffix.
const LOGP: &str = "logp";
/// What the column of perturbed images is called.
const PERTURBED: &str = "perturbed";

/// One picture per model, and per threat model where samples differ: `logp` first, then `logp_…` and `logp@…`, all with axes of one width.
/// None where no sample has a value.
pub fn histograms(samples: &Samples) -> Vec<Histogram> {
    let columns: Vec<(usize, String)> = samples
        .columns()
        .iter()
        .enumerate()
        .filter_map(|(place, name)| Some((place, named(name.strip_prefix(LOGP)?)?)))
        .collect();
    let mut all: Vec<Histogram> = Vec::new();
    let mut models: Vec<(&str, &str)> = Vec::new();
    for Group { model, threat, lines } in groups(samples) {
        let values = |place: usize| {
            let numbers = lines.iter().filter_map(|line| match line.value(place) {
                Some(SampleValue::Number(value)) => Some(*value),
                _ => None,
            });
            numbers.collect::<Vec<f64>>()
        };
        let mut drawn: Vec<(String, Vec<f64>)> = columns
            .iter()
            .map(|(place, name)| (name.clone(), values(*place)))
            .filter(|(_, v)| v.iter().any(|v| v.is_finite()))
            .collect();
        // images are perturbed alike wherever else log p is taken
        let perturbed = drawn.iter().find(|(name, _)| name == PERTURBED).map(|(_, values)| values.clone());
        drawn.retain(|(name, values)| !name.starts_with("perturbed at ") || Some(values) != perturbed.as_ref());
        // what does not depend on the threat model is drawn once
        if drawn.is_empty() || all.iter().zip(&models).any(|(other, (of, _))| *of == model && other.samples == drawn) {
            continue;
        }
        all.push(Histogram {
            title: format!("log p, {}", shown(model)),
            x_label: "LSE(f(x)) = log p(x) + log Z (nats)".to_owned(),
            samples: drawn,
            span: None,
        });
        models.push((model, threat));
    }
    name_threats(&mut all, &models);
    let widest = all.iter().map(Histogram::width).fold(0.0, f64::max);
    if widest > 0.0 {
        all.iter_mut().for_each(|histogram| histogram.span = Some(widest));
    }
    all
}

/// Adds the threat model to the titles of a model that has several pictures.
fn name_threats(all: &mut [Histogram], about: &[(&str, &str)]) {
    for (histogram, (model, threat)) in all.iter_mut().zip(about) {
        if about.iter().filter(|(other, _)| other == model).count() > 1 {
            histogram.title += &format!(", {}", shown(threat));
        }
    }
}

/// What a column is called by the rest of its name: `` is clean, `_perturbed` is perturbed, `@adv:pgd` is at pgd, `_perturbed@adv:pgd` is
/// perturbed at pgd; `None` for the column of another quantity.
fn named(rest: &str) -> Option<String> {
    let (what, place) = rest.split_once('@').unwrap_or((rest, ""));
    let what = if what.is_empty() { "" } else { what.strip_prefix('_')? };
    let place = place.strip_prefix("adv:").map_or_else(|| place.to_owned(), |attack| format!("at {attack}"));
    Some(match (what, place.as_str()) {
        ("", "") => "clean".to_owned(),
        ("", place) => place.to_owned(),
        (what, "") => what.to_owned(),
        (what, place) => format!("{what} {place}"),
    })
}

#[cfg(test)]
mod tests {
    use flatscape_report::SampleKey;

    use super::*;

    #[test]
    fn samples_of_log_p_are_drawn_over_each_other_with_axes_of_one_width() {
        let mut samples = Samples::default();
        for (model, scale) in [("a", 1.0), ("b", 10.0)] {
            for id in 0..3 {
                let value = scale * id as f64;
                let key = |threat: &str| SampleKey { model: model.into(), threat: threat.into(), id, label: 0, prediction: None };
                samples.set(&key(""), "logp", SampleValue::Number(value));
                samples.set(&key(""), "logp_perturbed", SampleValue::Number(value + 1.0));
                samples.set(&key(""), "logprob", SampleValue::Number(0.0));
                samples.set(&key("linf:1"), "pgd.outcome", SampleValue::Text("held".into()));
                samples.set(&key("linf:2"), "pgd.outcome", SampleValue::Text("held".into()));
                if model == "b" {
                    samples.set(&key("linf:2"), "logp@adv:pgd", SampleValue::Number(value - 1.0));
                }
            }
        }
        let drawn = histograms(&samples);
        let titles: Vec<(&str, usize)> = drawn.iter().map(|h| (h.title.as_str(), h.samples.len())).collect();
        assert_eq!(titles, [("log p, a", 2), ("log p, b, linf:1", 2), ("log p, b, linf:2", 3)]);
        assert_eq!(drawn[2].samples.iter().map(|s| s.0.as_str()).collect::<Vec<_>>(), ["clean", "perturbed", "at pgd"]);
        assert!(drawn.iter().all(|h| h.span == Some(22.0)));
        assert!(histograms(&Samples::default()).is_empty());
        assert_eq!(named("_perturbed@adv:pgd").as_deref(), Some("perturbed at pgd"));
    }
}
