//! A model as the audit sees it: pixels in [0,1] in, logits out, any batch, with everything that was done to the file written
//! down. Knows files, cards and data sets; nothing of attacks.

mod admit;
mod batch;
mod given;
mod native;
mod pixels;
mod source;
mod steadiness;
mod whole;

use flatscape_engine::Engine;
use flatscape_graph::{Dim, Graph, Tensor};

pub use admit::admit;
pub use batch::{Agreement, TOLERANCE, compare, noise};
pub(crate) use given::identity;
pub use given::{Given, GivenRequest};
pub use native::{Interface, Native, rows_of_logits};
pub use pixels::{Outputs, Pixels};
pub use source::{SHIPPED, Shipped};
pub use steadiness::Steadiness;
pub use whole::Whole;

use crate::card::{Card, Preprocessing};
use crate::data::Dataset;
use crate::files::Limits;
use crate::hazards::{self, Found};
use crate::intake::IntakeError;
use crate::remedies::{self, Remedied};

/// Images on which the batch is tried, at most.
const TRIED: usize = 8;

/// What is known about a model from outside its file.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Intake {
    /// The output that holds the logits, for models that have several.
    pub output: Option<String>,
    /// Preprocessing from flags; wins over the card, which wins over metadata.
    pub preprocessing: Preprocessing,
    /// What its file may take.
    #[serde(default)]
    pub limits: Limits,
    /// Remedies by name that were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<String>,
    /// A gradient graph that came with the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradients: Option<GivenRequest>,
}

/// A classifier of images.
#[derive(Clone, Debug)]
pub struct Model {
    /// The name in its card, or the stem of its file.
    pub name: String,
    /// Its path, or that it was shipped.
    pub source: String,
    /// SHA-256 of the model file.
    pub sha256: String,
    /// Input `x` float[N,C,H,W] in pixel units, output `logits` float[N,K].
    pub graph: Graph,
    /// The model in its own terms.
    pub native: Native,
    /// Its card, completed by metadata.
    pub card: Card,
    /// How pixels become its input.
    pub pixels: Pixels,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// How many logits.
    pub classes: usize,
    /// Names of the classes, from the card or the data set; empty where nobody named them.
    pub class_names: Vec<String>,
    /// What the run of images alone and together gave.
    pub batch: Agreement,
    /// Whether two runs of the same images agree, also in another order.
    pub steadiness: Steadiness,
    /// What was read off the file that makes gradients or numbers doubtful.
    pub hazards: Vec<Found>,
    /// What attacks see instead of the model, where that was asked for.
    pub remedied: Remedied,
    /// The remedy that made another model of it, where one did.
    pub changed: Option<&'static str>,
    /// What was changed because it was asked for, as sentences.
    pub remedies: Vec<String>,
    /// The gradient graph that came with it.
    pub given: Option<Given>,
    /// What was done to the file, as sentences.
    pub facts: Vec<String>,
}

impl Model {
    /// Reads the model of that name or at that path, fits it to the data and tries by running whether its batch is free.
    ///
    /// # Errors
    /// Model, data, usage and engine errors with the number of the kind of fault; see the modules of this one.
    pub fn load(source: &str, intake: &Intake, data: &Dataset, engine: &dyn Engine) -> Result<Model, IntakeError> {
        let mut native = Native::load(source, intake)?;
        let changed = native.remedy(&intake.remedies);
        let mut remedies: Vec<String> = changed.iter().map(|(_, said)| said.clone()).collect();
        let stated = intake.preprocessing.clone().or(native.card.preprocessing.clone());
        let pixels = Pixels::settle(&native, &stated, data.shape)?;
        let any = native.any_batch()?;
        labels_fit(&native, data)?;
        let graph = pixels.before(any, Dim::symbol("N"), data.shape, Outputs::Logits)?;
        let mut facts = native.facts.clone();
        facts.push(preprocessing_fact(&pixels, &native));
        let steadiness = steadiness::measure(engine, &graph, &first_images(data, TRIED))?;
        let batch = prove(&native, &pixels, &graph, data, engine, steadiness.repeats())?;
        facts.push(batch_fact(&native, &batch));
        let mut hazards = hazards::hazards(any);
        let remedied = remedies::of_gradient(&graph, &intake.remedies);
        hazards::answer(&mut hazards, &intake.remedies, remedied.twin.as_ref());
        remedies.extend(remedied.sentences.iter().cloned());
        facts.extend(remedies.iter().chain(&remedied.idle).cloned());
        let given = intake.gradients.as_ref().map(|g| Given::load(g, intake, &native, &pixels, data.shape)).transpose()?;
        facts.extend(given.as_ref().map(given_fact));
        let class_names =
            if native.card.classes.len() == native.classes { &native.card.classes } else { &data.class_names }.clone();
        Ok(Model {
            name: native.name.clone(),
            source: native.source.clone(),
            sha256: native.sha256.clone(),
            graph,
            card: native.card.clone(),
            pixels,
            shape: data.shape,
            classes: native.classes,
            class_names,
            batch,
            steadiness,
            hazards,
            remedied,
            changed: changed.map(|(name, _)| name),
            remedies,
            given,
            facts,
            native,
        })
    }
}

impl Model {
    /// What the remedies that were asked for made of it: the changed model, and what attacks see, all in pixel units.
    pub fn remedied_graphs(&self) -> Vec<(&'static str, Graph)> {
        let changed = self.changed.map(|name| (name, self.graph.clone()));
        changed.into_iter().chain(self.remedied.graphs()).collect()
    }
}

/// Runs the first images alone (or in the batch that the file fixed) and together.
fn prove(
    native: &Native,
    pixels: &Pixels,
    graph: &Graph,
    data: &Dataset,
    engine: &dyn Engine,
    repeats: bool,
) -> Result<Agreement, IntakeError> {
    let size = native.fixed_batch.unwrap_or(1);
    let images = if size > TRIED { 2 * size } else { TRIED / size * size };
    let images = first_images(data, images);
    let alone = match native.fixed_batch {
        Some(n) => pixels.before(&native.graph, Dim::Fixed(n), data.shape, Outputs::Logits)?,
        None => graph.clone(),
    };
    let found = compare(engine, &alone, size, graph, &images)
        .map_err(|e| IntakeError { what: format!("{}: {}", native.name, e.what), ..e })?;
    // where two runs of the same images differ, nothing is learned about the batch
    if found.holds() || native.fixed_batch.is_none() || !repeats {
        return Ok(found);
    }
    let what = format!(
        "{}: the batch is fixed to {size}, and with a free batch the logits differ by {:.1e} (relative; {TOLERANCE:e} is allowed)",
        native.name, found.difference
    );
    Err(IntakeError::model(52, what).help("export the model with a dynamic batch axis"))
}

/// The first images of the data, over again where there are fewer.
fn first_images(data: &Dataset, count: usize) -> Tensor {
    let ids: Vec<u64> = (0..count as u64).map(|i| i % data.len() as u64).collect();
    data.gather(&ids).x
}

/// The labels must be classes of the model, and where the data set knows its classes there must be as many logits.
fn labels_fit(native: &Native, data: &Dataset) -> Result<(), IntakeError> {
    let k = native.classes as i64;
    let known = (!data.class_names.is_empty()).then(|| data.class_names.len() as i64 + data.label_offset);
    if data.largest_label() < k && known.is_none_or(|n| n == k) {
        return Ok(());
    }
    let last = known.map_or(data.largest_label(), |n| n - 1);
    let what = format!("{} has {k} classes, {} has the labels {}..{last}", native.name, data.name, data.label_offset);
    let error = IntakeError::data(61, what);
    Err(if k == last + 2 && data.label_offset == 0 {
        error.help("does class 0 of the model stand for the background? then say --label-offset 1")
    } else {
        error.help("choose the data set that the model was trained for")
    })
}

fn given_fact(given: &Given) -> String {
    let role = if given.used { "is what attacks follow" } else { "is compared with ours, which attacks follow" };
    format!("the gradient graph {} (sha256 {}) {role}", given.name, given.sha256)
}

fn preprocessing_fact(pixels: &Pixels, native: &Native) -> String {
    let input = native.interface.inputs.first().map_or("", |(_, ty)| ty);
    let how = if pixels.layout_stated { "as stated" } else { "the only layout that fits" };
    format!("pixels in [0, 1] become its input {input} by {} ({how})", pixels.text())
}

fn batch_fact(native: &Native, found: &Agreement) -> String {
    let alone = match native.fixed_batch {
        Some(1) => "its batch of 1 was made free: ".to_owned(),
        Some(n) => format!("its batch of {n} was made free: "),
        None => String::new(),
    };
    let verdict =
        if found.holds() { "the same logits" } else { "different logits: an answer depends on the other images in the batch" };
    format!(
        "{alone}{} images in small batches and together give {verdict} (largest relative difference {:.1e})",
        found.images, found.difference
    )
}
