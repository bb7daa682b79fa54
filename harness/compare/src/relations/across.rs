//! The accuracies of several models across attacks, with the mean distance of each attack's examples from their images as 1 − SSIM
//! (Xu et al. 2019, Tables 1 and 2).

use flatscape_comparison::{Across, AcrossRow, Rated};

use crate::run::RunView;
use crate::values::Values;

/// The mean of 1 − SSIM over the examples that broke a sample.
const DISSIMILARITY: &str = "one_minus_ssim_of_broken_mean";

/// One table for each set of samples on which at least two models were attacked.
pub(crate) fn across(all: &Values, runs: &[RunView]) -> Vec<Across> {
    (0..all.grounds.len()).filter_map(|ground| of_ground(all, runs, ground)).collect()
}

fn of_ground(all: &Values, runs: &[RunView], ground: usize) -> Option<Across> {
    let attacked = |measure: usize| all.measures[measure].metric == "robust_accuracy";
    let mut entries: Vec<usize> = Vec::new();
    for value in all.values.iter().filter(|v| v.ground == ground && attacked(v.measure) && v.value.is_some()) {
        if !entries.contains(&value.entry) {
            entries.push(value.entry);
        }
    }
    entries.sort_unstable();
    if entries.len() < 2 {
        return None;
    }
    let clean = (0..all.measures.len()).filter(|&m| all.measures[m].metric == "clean_accuracy");
    let rows =
        clean.chain((0..all.measures.len()).filter(|&m| attacked(m))).map(|measure| row(all, runs, ground, measure, &entries));
    let about = &all.grounds[ground];
    Some(Across {
        ground: format!("{} ({}), {}", about.dataset, about.split, about.samples),
        rows: rows.filter(|row| row.cells.iter().any(Option::is_some)).collect(),
        entries,
    })
}

fn row(all: &Values, runs: &[RunView], ground: usize, measure: usize, entries: &[usize]) -> AcrossRow {
    let about = &all.measures[measure];
    let cell = |entry: &usize| -> Option<Rated> {
        let value = all.values.iter().find(|v| v.entry == *entry && v.measure == measure && v.ground == ground)?;
        Some((value.value?, value.interval, value.n))
    };
    let attack = if about.apart.is_empty() || about.component == "union" {
        about.component.clone()
    } else {
        format!("{}:{}", about.component, about.apart)
    };
    let clean = about.metric == "clean_accuracy";
    AcrossRow {
        dissimilarity: if clean { None } else { dissimilarity(all, &written(runs, &about.component, &about.args), entries) },
        attack: if clean { "clean".to_owned() } else { attack },
        threat: about.threat.clone(),
        cells: entries.iter().map(cell).collect(),
    }
}

/// How an attack with these arguments was written in the runs, which is how metrics name it: `pgd`, `pgd:steps=10`. What the host adds
/// to the arguments may make it another attack: metrics do not look at the points of one that saw another model.
fn written(runs: &[RunView], id: &str, args: &str) -> Vec<String> {
    let attacks = runs.iter().filter_map(|run| run.manifest.pointer("/attacks")?.as_array()).flatten();
    let own = attacks.filter(|attack| {
        let complete = attack["complete"].as_str();
        attack["request"]["id"] == id
            && complete.and_then(|complete| args.strip_prefix(complete)).is_some_and(|added| {
                added.is_empty() || (added.starts_with(',') && !added.split(',').any(|argument| argument.starts_with("via=")))
            })
    });
    let spelled = own.filter_map(|attack| match attack["written"].as_str()? {
        "" => Some(id.to_owned()),
        written => Some(format!("{id}:{written}")),
    });
    spelled.collect()
}

/// Mean and number of the examples of an attack, over all of the models.
fn dissimilarity(all: &Values, written: &[String], entries: &[usize]) -> Option<(f64, u64)> {
    let of_attack = |measure: usize| {
        let about = &all.measures[measure];
        about.metric == DISSIMILARITY && looked_at(&about.args).is_some_and(|attack| written.iter().any(|own| own == attack))
    };
    let found = all.values.iter().filter(|v| entries.contains(&v.entry) && of_attack(v.measure) && v.n > 0);
    let sum = |(sum, n): (f64, u64), (mean, count): (f64, u64)| (sum + mean * count as f64, n + count);
    let (sum, n) = found.filter_map(|v| Some((v.value?, v.n))).fold((0.0, 0), sum);
    (n > 0).then(|| (sum / n as f64, n))
}

/// The attack at whose points a metric looks: `pgd:steps=10` in `preset=s1,at=adv:(pgd:steps=10)`.
fn looked_at(args: &str) -> Option<&str> {
    let rest = args.split_once("at=adv:")?.1;
    match rest.strip_prefix('(') {
        Some(inside) => inside.split_once(')').map(|(attack, _)| attack),
        None => rest.split(',').next(),
    }
}

#[cfg(test)]
mod tests {
    use super::looked_at;

    #[test]
    fn the_attack_of_a_metric_is_read_from_its_arguments() {
        assert_eq!(looked_at("preset=s1,at=adv:fgsm"), Some("fgsm"));
        assert_eq!(looked_at("at=adv:(pgd:steps=10,alpha=1/255),preset=s1"), Some("pgd:steps=10,alpha=1/255"));
        assert_eq!(looked_at("at=adv:stadv,preset=s1"), Some("stadv"));
        assert_eq!(looked_at("preset=s1"), None);
    }
}
