//! Whether a component kept the rules: it proposed only admissible points and gave no NaN. Reads findings. A violation changes no
//! verdict; it is reported and sets the exit code.

use flatscape_intake::refusal::{Refusal, escape};
use flatscape_measure::findings::FindingsError;

use crate::job::Work;
use crate::rows::{OF_BROKEN, Part};

/// The fault of a component, if its findings show one.
///
/// # Errors
/// A column of the findings is missing.
pub fn violations(part: &Part) -> Result<Option<Refusal>, FindingsError> {
    let Some(component) = part.component.filter(|_| part.findings.tensor("id").is_some()) else { return Ok(None) };
    let attack = match part.work {
        // what is said about all samples together may be undefined for one
        Work::Canary(_) | Work::Reduction(_) => return Ok(None),
        work => matches!(work, Work::Attack(_)),
    };
    let bad = if attack { part.rejected()?.into_iter().map(|count| count > 0).collect() } else { without_number(part)? };
    let (count, of) = (bad.iter().filter(|&&b| b).count(), bad.len());
    if count == 0 {
        return Ok(None);
    }
    let (id, plugin) = (&component.request.id, escape(&component.plugin.file));
    Ok(Some(if attack {
        let what = format!(
            "attack {id} of plugin {plugin} proposed points that are not allowed or not finite, on {count} of {of} samples; they were dropped"
        );
        Refusal::plugin(135, what).help("the verdict is that without them; tell the author of the plugin")
    } else {
        let what = format!("metric {id} of plugin {plugin} gives NaN on {count} of {of} samples");
        let help = "tell the author of the plugin, unless the model itself gives NaN near these images";
        Refusal::plugin(141, what).help(help)
    }))
}

/// Samples on which the model gives finite scores and a column of the metric gives NaN.
fn without_number(part: &Part) -> Result<Vec<bool>, FindingsError> {
    let margins = part.findings.get::<f64>("clean_margin")?;
    // a column of what was broken has no number elsewhere
    let everywhere = part.findings.with_prefix("col_").filter(|(name, _)| !name.ends_with(OF_BROKEN));
    let columns: Vec<Vec<f64>> = everywhere.map(|(_, column)| column.to_f64()).collect();
    let nan = |row: usize| columns.iter().any(|column| column.get(row).is_some_and(|v| v.is_nan()));
    Ok(margins.iter().enumerate().map(|(row, margin)| margin.is_finite() && nan(row)).collect())
}
