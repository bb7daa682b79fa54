//! Single adversarial examples for the page: which ones, and the images of those. The examples are those of the results; their clean images,
//! which results do not hold, are read from `witness/`.

use flatscape_intake::refusal::Refusal;
use flatscape_measure::findings::{Findings, FindingsError};
use flatscape_report::{CloseUp, Samples};
use flatscape_views::{Chosen, Examples, Witnesses, closeups, pictures};

use crate::job::{Job, Work};
use crate::stored::Stored;
use crate::witness::{groups, joined, name};

/// The examples of the attacks of a run, and the samples that are shown one by one.
pub struct Exhibits {
    /// All examples, without images.
    pub examples: Examples,
    /// The samples that are shown, with their pictures.
    pub closeups: Vec<CloseUp>,
    /// Why some have none, as a sentence; empty where none is missing.
    pub missing: String,
}

/// Chooses the samples, and makes their pictures.
///
/// # Errors
/// `R103` to `R106`: files are missing, or do not fit their jobs.
pub fn exhibits(stored: &Stored, samples: &Samples) -> Result<Exhibits, Refusal> {
    let groups = groups(stored);
    let witnesses = groups.iter().map(|group| of_group(stored, group)).collect::<Result<Vec<_>, _>>()?;
    let examples = Examples::of(witnesses);
    let mut chosen = closeups(samples, &examples);
    let mut missing = Vec::new();
    for (place, group) in groups.iter().enumerate() {
        let mut own: Vec<&mut Chosen> = chosen.iter_mut().filter(|one| one.attack == place).collect();
        if own.is_empty() {
            continue;
        }
        if let Some(why) = paint(stored, group, &mut own)? {
            missing.push(why);
        }
    }
    let drawn = |one: &Chosen| !one.closeup.pictures.clean.is_empty();
    let closeups = chosen.into_iter().filter(drawn).map(|one| one.closeup).collect();
    let missing = match missing.as_slice() {
        [] => String::new(),
        [first, ..] => {
            format!("Examples of {} attacks are not shown: {first}. The audit writes them again with --resume.", missing.len())
        }
    };
    Ok(Exhibits { examples, closeups, missing })
}

fn of_group(stored: &Stored, group: &[&Job]) -> Result<Witnesses, Refusal> {
    let job = group[0];
    let found = joined(stored, group)?;
    let whole = |column: &str| found.get::<i64>(column).map_err(damaged);
    let (ids, predictions) =
        if found.tensor("id").is_none() { (Vec::new(), Vec::new()) } else { (whole("id")?, whole("prediction")?) };
    let component = match &job.work {
        Work::Attack(request) => stored.manifest.attacks.iter().find(|c| c.request == *request),
        _ => None,
    };
    let model = stored.manifest.models.iter().find(|m| m.request == job.model);
    Ok(Witnesses {
        model: model.map_or_else(String::new, |m| m.name.clone()),
        threat: job.threat.clone(),
        attack: component.map_or_else(|| job.work.word(), |c| c.label.clone()),
        minimal: component.is_some_and(|c| c.minimal),
        ids: ids.into_iter().map(|id| id as u64).collect(),
        predictions,
    })
}

/// Makes the pictures of samples of one attack; gives the reason where that is not possible.
fn paint(stored: &Stored, group: &[&Job], chosen: &mut [&mut Chosen]) -> Result<Option<String>, Refusal> {
    let file = name(group[0]);
    let Some(bytes) = stored.directory.read(&file)? else { return Ok(Some(format!("{file} is missing"))) };
    let Ok(clean) = Findings::decode(&bytes) else { return Ok(Some(format!("{file} cannot be read"))) };
    let found = joined(stored, group)?;
    let (Ok(ids), Ok(x0)) = (clean.get::<i64>("id"), clean.get::<f32>("x0")) else {
        return Ok(Some(format!("{file} has not the columns of a file of witnesses")));
    };
    let x_adv = found.get::<f32>("x_adv").map_err(damaged)?;
    let shape = stored.manifest.data.shape;
    let width = shape.iter().product::<usize>();
    if ids != found.get::<i64>("id").map_err(damaged)? || x0.len() != ids.len() * width || x_adv.len() != x0.len() {
        return Ok(Some(format!("{file} does not fit the results")));
    }
    for one in chosen {
        let own = one.row * width..(one.row + 1) * width;
        one.closeup.pictures = pictures(shape, &x0[own.clone()], &x_adv[own]);
    }
    Ok(None)
}

fn damaged(error: FindingsError) -> Refusal {
    Refusal::state(106, error.to_string())
}
