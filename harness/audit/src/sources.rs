//! Models that adversarial examples are transferred from: an attack sees such a model, and the audited one judges (Papernot et al. 2016,
//! arXiv:1605.07277).

use flatscape_engine::Engine;
use flatscape_intake::data::Dataset;
use flatscape_intake::model::{Model, ModelRequest};
use flatscape_intake::refusal::Refusal;
use flatscape_intake::scores::argmax;
use flatscape_measure::prepared::{MeasureError, Settings};
use flatscape_measure::verify::Verifier;

use crate::job::Source;
use crate::plan::Plan;

/// Images on which the classes of two models are compared.
const COMPARED: usize = 100;

/// Reads the models and checks that they fit the audited ones: as many classes, in the same order.
///
/// # Errors
/// What [`Model::load`] refuses; `U093`: classes that do not fit, or two models of one name.
pub(crate) fn load(
    plan: &Plan,
    engine: &dyn Engine,
    dataset: &Dataset,
    models: &[(ModelRequest, Model)],
) -> Result<Vec<(Source, Model)>, Refusal> {
    let mut found: Vec<(Source, Model)> = Vec::new();
    for request in &plan.sources {
        let model = Model::load(&request.source, &request.intake, dataset, engine)?;
        let name = request.name();
        if found.iter().any(|(source, _)| source.name == name) {
            let what = format!("--transfer names two models that are called {name}");
            return Err(Refusal::usage(93, what).help("give the files names of their own"));
        }
        for (_, judged) in models {
            fits(&model, judged, plan, engine, dataset)?;
        }
        found.push((Source { name, model: request.clone(), sha256: model.sha256.clone() }, model));
    }
    Ok(found)
}

/// Refuses a model whose classes are others: where they are in another order, the two agree no more often than by chance.
fn fits(source: &Model, judged: &Model, plan: &Plan, engine: &dyn Engine, dataset: &Dataset) -> Result<(), Refusal> {
    let (from, to) = (&source.name, &judged.name);
    if source.classes != judged.classes {
        let what = format!("--transfer {from}: it has {} classes, and {to} has {}", source.classes, judged.classes);
        return Err(Refusal::usage(93, what).help("transfer from a model of the same classes"));
    }
    let images = dataset.batch(0..dataset.len().min(COMPARED)).x;
    let predictions = |model: &Model| -> Result<Vec<Option<usize>>, Refusal> {
        let size = Settings::usual_batch(&dataset.shape);
        let failed = |source| Refusal::from(MeasureError::Attack { component: "transfer".to_owned(), source });
        let judge = Verifier::of(engine, model, &plan.threats[0], size).map_err(failed)?;
        Ok(judge.logits(&images).map_err(failed)?.iter().map(|scores| argmax(scores)).collect())
    };
    let (one, two) = (predictions(source)?, predictions(judged)?);
    let same = one.iter().zip(&two).filter(|(a, b)| a == b).count();
    if same * judged.classes < 2 * one.len() {
        let what = format!("--transfer {from}: it agrees with {to} on {same} of {} images, which is chance", one.len());
        return Err(Refusal::usage(93, what).help("look for another order of the classes, or another preprocessing"));
    }
    Ok(())
}
