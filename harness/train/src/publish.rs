//! What a training leaves: the ONNX file with its card and its manifest in the metadata, and the page. Knows names of metadata.

use flatscape_graph::{Tensor, onnx, shown};
use flatscape_intake::card::{Channels, Preprocessing};
use flatscape_intake::model::{Intake, Model};
use flatscape_intake::refusal::Refusal;
use flatscape_report::training::{Rate, Training, training_html, training_svg};

use crate::manifest::Manifest;
use crate::prepare::Prepared;
use crate::run::Stopped;
use crate::store::Facts;

/// The page of a training and its curves.
pub struct Page {
    /// `report.html`.
    pub html: String,
    /// `curves.svg`.
    pub curves: String,
}

/// The bytes of the result: the file's own inputs and outputs, the weights of the chosen epoch, preprocessing and interface under
/// `flatscape.*`, command and manifest under `training.*`.
///
/// # Errors
/// `M162`: the weights cannot be put back, which was tried before the first step.
pub fn model(prepared: &Prepared, manifest: &Manifest, facts: &Facts, weights: &[Tensor]) -> Result<Vec<u8>, Refusal> {
    let refused = |clause: String| Refusal::model(162, format!("{}: {clause}", prepared.model.name));
    let graph = prepared.trainable.file(weights).map_err(refused)?;
    graph.check().map_err(|e| refused(e.to_string()))?;
    let mut properties: Vec<(String, String)> =
        stated(&prepared.model).fields().into_iter().map(|(name, value)| (format!("flatscape.{name}"), value)).collect();
    let classes = &prepared.model.card.classes;
    if !classes.is_empty() && classes.iter().all(|name| !name.contains(',')) {
        properties.push(("flatscape.classes".to_owned(), classes.join(", ")));
    }
    properties.extend(interface(&manifest.plan.model.intake.or(&prepared.model.card)));
    properties.extend(prepared.model.card.licence.iter().map(|licence| ("flatscape.licence".to_owned(), licence.clone())));
    properties.push(("training.command".to_owned(), manifest.command.clone()));
    properties.push(("training.manifest".to_owned(), manifest.json()?));
    if let Some(best) = &facts.best {
        properties.push(("training.epoch".to_owned(), (best.epoch + 1).to_string()));
    }
    let properties: Vec<(&str, String)> = properties.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let trainer = manifest.components.first().map_or("", |used| used.id.as_str());
    let description = format!("{}, trained by flatscape train with {trainer}", prepared.model.name);
    Ok(onnx::write_described(&graph, &description, &properties))
}

/// Which output answers and what it says, as it was stated. Inputs that were given a value are constants of the result.
fn interface(stated: &Intake) -> Vec<(String, String)> {
    let fields = [
        ("output", stated.output.clone()),
        ("task", stated.task.map(|task| task.name().to_owned())),
        ("match_classes", stated.match_classes.map(|by| by.name().to_owned())),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((format!("flatscape.{name}"), value?))).collect()
}

/// How pixels become the input, with nothing left to flags.
fn stated(model: &Model) -> Preprocessing {
    let pixels = &model.pixels;
    let card = &model.card.preprocessing;
    Preprocessing {
        scale: Some(pixels.scale),
        mean: Some(pixels.mean.clone()),
        std: Some(pixels.std.clone()),
        layout: Some(pixels.layout),
        channels: if pixels.reversed { Some(Channels::Bgr) } else { card.channels },
        invert: pixels.inverted.then_some(true),
        ..card.clone()
    }
}

/// The page of a training that has ended.
pub fn page(manifest: &Manifest, facts: &Facts, stopped: Option<&Stopped>, doubt: Option<&str>) -> Page {
    let training = Training {
        title: manifest.model.0.clone(),
        sentence: [Some(sentence(facts, stopped).as_str()), doubt].into_iter().flatten().collect::<Vec<_>>().join(" "),
        failed: stopped.is_some() || doubt.is_some(),
        command: manifest.command.clone(),
        facts: known(manifest),
        rows: facts.rows.clone(),
        chosen: facts.best.as_ref().map(|b| b.epoch + 1),
    };
    let html = training_html(&training).unwrap_or_else(|e| format!("this page could not be made: {}\n", shown(&e.to_string())));
    Page { html, curves: training_svg(&facts.rows) }
}

fn sentence(facts: &Facts, stopped: Option<&Stopped>) -> String {
    let row = facts.best.as_ref().and_then(|best| facts.rows.get(best.epoch as usize));
    let kept = row.map(|row| {
        let share = |rate: Option<Rate>| {
            rate.map(|r| format!("{:.2} % [{:.1}, {:.1}] of {}", 100.0 * r.share, 100.0 * r.low, 100.0 * r.high, r.n))
        };
        let clean = share(row.clean).map_or(String::new(), |clean| format!(", {clean} validation images correct"));
        let robust = share(row.robust).map_or(String::new(), |robust| format!(", {robust} under attack"));
        format!("epoch {}{clean}{robust}", row.epoch)
    });
    match (stopped, kept) {
        (Some(stopped), Some(kept)) => format!("{stopped}. The last good model is that of {kept}; it is last-good.onnx."),
        (Some(stopped), None) => format!("{stopped}. No epoch was finished, so there is no model."),
        (None, Some(kept)) => format!("The weights are those of {kept}."),
        (None, None) => "No epoch was finished.".to_owned(),
    }
}

/// What is known about a training, for its page.
fn known(manifest: &Manifest) -> Vec<(String, String)> {
    let plan = &manifest.plan;
    let mut known = vec![
        ("model".to_owned(), format!("{} (sha256 {})", manifest.model.0, manifest.model.1)),
        ("data".to_owned(), format!("{}, {} half (sha256 {})", manifest.data.0, manifest.data.1, manifest.data.2)),
        ("images".to_owned(), format!("{} trained on, {} held out for validation", manifest.images.0, manifest.images.1)),
    ];
    for used in &manifest.components {
        let (plugin, version, sha256) = &used.plugin;
        let what = format!("{}:{} from {plugin} {version} (sha256 {sha256})", used.id, used.arguments);
        known.push((used.kind.clone(), what));
    }
    let threat = plan.threat.clone().unwrap_or_else(|| "none".to_owned());
    let settings = format!(
        "{} epochs, batches of {}, learning rate {}, seed {}, label smoothing {}",
        plan.epochs, plan.batch_size, plan.lr, plan.seed, plan.smoothing
    );
    let frozen = if manifest.frozen.is_empty() { "none".to_owned() } else { manifest.frozen.join(", ") };
    known.extend([
        ("threat model".to_owned(), threat),
        ("settings".to_owned(), settings),
        ("augmentation".to_owned(), if plan.augment.is_empty() { "none".to_owned() } else { plan.augment.join(", ") }),
        ("trained".to_owned(), format!("{} numbers in {} weights", manifest.numbers, manifest.trained.len())),
        ("not trained".to_owned(), frozen),
        ("engine".to_owned(), format!("{} {}, {}", manifest.engine.0, manifest.engine.1, manifest.engine.3)),
    ]);
    known
}
