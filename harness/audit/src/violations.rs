//! Whether a component did what it may: handed over only points that are allowed, gave only numbers. Knows findings; what it
//! finds changes no verdict, but it is said and the exit code says it too.

use crate::summary::Part;
use flatscape_intake::refusal::Refusal;

/// The fault of a component, if its findings show one. `plugin` is the file of the plugin that offers it.
pub fn violations(part: &Part, component: &str, plugin: &str) -> Option<Refusal> {
    let bad = if part.attack { dropped(part) } else { without_number(part) };
    let count = bad.iter().filter(|&&b| b).count();
    let of = bad.len();
    (count > 0).then(|| {
        if part.attack {
            let what = format!(
                "attack {component} of plugin {plugin} handed over points that are not allowed or no numbers, on {count} of {of} samples; they were dropped"
            );
            Refusal::plugin(135, what).help("the verdict is that without them; tell the author of the plugin")
        } else {
            let what = format!("metric {component} of plugin {plugin} gives no number on {count} of {of} samples");
            let help = "tell the author of the plugin, unless the model itself gives no numbers near these images";
            Refusal::plugin(141, what).help(help)
        }
    })
}

/// Samples with a dropped proposal. Where the model's own gradient is no number, no attack is to blame for what follows.
fn dropped(part: &Part) -> Vec<bool> {
    let rejected = part.findings.get::<i64>("rejected").unwrap_or_default();
    let broken = part.findings.get::<i64>("broken_gradients").unwrap_or_default();
    rejected.iter().zip(&broken).map(|(&rejected, &broken)| rejected > 0 && broken == 0).collect()
}

/// Samples on which the model gives numbers and a column of the metric does not.
fn without_number(part: &Part) -> Vec<bool> {
    let margins = part.findings.get::<f64>("clean_margin").unwrap_or_default();
    let columns: Vec<Vec<f64>> = part.findings.with_prefix("col_").map(|(_, column)| column.to_f64()).collect();
    let no_number = |row: usize| columns.iter().any(|column| column.get(row).is_some_and(|v| v.is_nan()));
    margins.iter().enumerate().map(|(row, margin)| margin.is_finite() && no_number(row)).collect()
}
