//! A model as the audit sees it: pixels in [0,1] in, logits out, any batch, with everything that was done to the file written
//! down. Knows files, cards and data sets; nothing of attacks.

mod admit;
mod answer;
mod batch;
mod classes;
mod configuration;
mod given;
mod interface;
mod judge;
mod label;
mod loss;
mod native;
mod pixels;
mod proof;
mod request;
mod source;
mod steadiness;
mod trainable;
mod whole;

use flatscape_engine::{CompileOptions, Engine};
use flatscape_graph::{Dim, Graph, Tensor, normalize, shown};

pub use admit::admit;
pub use answer::{Task, rows_of_logits};
pub use batch::{Agreement, TOLERANCE, compare, difference, noise};
pub use given::identity;
pub use given::{Given, GivenRequest};
pub use judge::{Answering, Form, Judge, JudgedBy, Own};
pub use loss::Loss;
pub use native::{Interface, Native};
pub use pixels::{Outputs, Pixels};
pub use request::ModelRequest;
pub use source::{SHIPPED, Shipped, TRAINED_HERE};
pub use steadiness::Steadiness;
pub use trainable::{Trace, Trainable, Weight, WeightRole};
pub use whole::Whole;

use crate::card::Channels;
use crate::card::{Card, Preprocessing};
use crate::data::classes::{By, Matching, numbers};
use crate::data::{self, Colour, Dataset, Preparation};
use crate::drawn::{self, Expectation};
use crate::files::Limits;
use crate::hazards::{self, Found};
use crate::number::number;
use crate::refusal::Refusal;
use crate::remedies::{self, Remedied};

/// Images on which the batch is tried, at most.
const TRIED: usize = 8;

/// What is known about a model from outside its file.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Intake {
    /// The output that holds the logits, for models that have several.
    pub output: Option<String>,
    /// Preprocessing from flags; wins over the card, which wins over metadata and the files of other libraries.
    pub preprocessing: Preprocessing,
    /// What its file may take.
    #[serde(default)]
    pub limits: Limits,
    /// Requested remedies, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<String>,
    /// What attacks differentiate by another rule, as `--surrogate` takes it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surrogates: Vec<String>,
    /// A gradient graph that came with the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradients: Option<GivenRequest>,
    /// The expectation over draws that attacks on a model that draws at random see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eot: Option<Expectation>,
    /// A file with the loss that attacks without a loss of their own ascend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<String>,
    /// What the output says about an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Values of inputs that are not images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<(String, f64)>,
    /// By what classes of the data and the model are matched; found out where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_classes: Option<By>,
}

impl Intake {
    /// This, completed by what a card states about outputs and classes. Preprocessing of the card is added where pixels are settled.
    #[must_use]
    pub fn or(&self, card: &Card) -> Intake {
        Intake {
            output: self.output.clone().or(card.output.clone()),
            task: self.task.or(card.task),
            match_classes: self.match_classes.or(card.match_classes),
            ..self.clone()
        }
    }

    /// Reads `NAME=NUMBER` as `--input` takes it. The name may hold `=` itself.
    ///
    /// # Errors
    /// A usage error.
    pub fn parse_input(text: &str) -> Result<(String, f64), Refusal> {
        let wrong = |why: &str| Refusal::usage(89, format!("--input {}: {why}", shown(text))).help("write NAME=NUMBER");
        let (name, value) = text.rsplit_once('=').ok_or_else(|| wrong("there is no ="))?;
        match value {
            "true" => Ok((name.to_owned(), 1.0)),
            "false" => Ok((name.to_owned(), 0.0)),
            value => number(value).map(|v| (name.to_owned(), v)).map_err(|why| wrong(&format!("the value {why}"))),
        }
    }
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
    /// Who says what it answers when a point is judged.
    pub judge: Judge,
    /// What its file says where every result is rounded to half precision, for files that compute in it.
    pub rounded: Option<Own>,
    /// Names of the classes, from the card or the data set; empty if no source names them.
    pub class_names: Vec<String>,
    /// What the run of images alone and together gave.
    pub batch: Agreement,
    /// Whether two runs of the same images agree, also in another order.
    pub steadiness: Steadiness,
    /// What was read off the file that makes gradients or numbers doubtful.
    pub hazards: Vec<Found>,
    /// The same with its draws as further inputs, where it draws at random and they can be keyed ([`crate::drawn::keyed`]).
    pub drawn: Option<Graph>,
    /// What attacks see instead of the model, if a remedy was requested.
    pub remedied: Remedied,
    /// The remedy that made another model of it, where one did.
    pub changed: Option<&'static str>,
    /// What requested remedies changed, as sentences.
    pub remedies: Vec<String>,
    /// The gradient graph that came with it.
    pub given: Option<Given>,
    /// What attacks without a loss of their own ascend, where that is stated.
    pub loss: Option<Loss>,
    /// What was done to the file, as sentences.
    pub facts: Vec<String>,
}

impl Model {
    /// Reads the model of that name or at that path and fits it to the data, which must have the size of its input.
    ///
    /// # Errors
    /// As for [`Native::with`] and [`Model::fit`].
    pub fn load(source: &str, intake: &Intake, data: &Dataset, engine: &dyn Engine) -> Result<Model, Refusal> {
        Model::fit(Native::with(source, intake, labels_of(data))?, intake, data, engine)
    }

    /// Fits a model to the data and tries by running whether its batch is free and its logits choose what its output chooses.
    ///
    /// # Errors
    /// Model, data, usage and engine errors with the number of the kind of fault; see the modules of this one.
    pub fn fit(mut native: Native, intake: &Intake, data: &Dataset, engine: &dyn Engine) -> Result<Model, Refusal> {
        sized(&native, data)?;
        let intake = &intake.or(&native.card);
        labels_fit(&native, data, intake.match_classes == Some(By::Position))?;
        let stated = intake.preprocessing.clone().or(native.card.preprocessing.clone());
        answered(&native, intake)?;
        let changed = native.remedy(&intake.remedies);
        let mut remedies: Vec<String> = changed.iter().map(|(_, said)| said.clone()).collect();
        let pixels = Pixels::settle(&native, &stated, data.shape).map_err(|e| with_file(e, data))?;
        native = on_engine(native, &pixels, data, engine)?;
        let (steadiness, batch) = settle_batch(&mut native, &pixels, data, engine)?;
        if native.cut.is_none() && native.task != Some(Task::Binary) && batch.probabilities && !proof::is_affine(&native.graph) {
            native = proof::logarithms(&native)?;
        }
        let (runs, extent) = native.runnable()?;
        let graph = pixels.before(runs, extent, data.shape, Outputs::Logits)?;
        let mut facts = native.facts.clone();
        facts.extend([preprocessing_fact(&pixels, &native), batch_fact(&native, &batch)]);
        facts.extend(proof::same_predictions(&native, &pixels, data, engine)?);
        facts.extend(label::compared(&native, &pixels, data, engine, intake.output.is_some())?);
        let mut hazards = hazards::hazards(runs, Some(pixels.range()));
        let input_name = native.graph.inputs().first().map_or(String::new(), |&input| native.graph.value(input).name.to_string());
        let remedied = seen_by_attacks(&graph, &input_name, intake, &mut hazards, &mut facts)?;
        remedies.extend(remedied.sentences.iter().cloned());
        facts.extend(remedies.iter().chain(&remedied.idle).cloned());
        let given = intake.gradients.as_ref().map(|g| Given::load(g, intake, &native, &pixels, data.shape)).transpose()?;
        facts.extend(given.as_ref().map(given_fact));
        let drawn = drawn::keyed(&graph);
        let loss = intake.loss.as_ref().map(|file| Loss::load(file, intake, native.classes)).transpose()?;
        facts.extend(loss.as_ref().map(loss_fact));
        let remedy = changed.as_ref().map(|(name, _)| *name);
        let (judge, rounded) = judge::settle(&native, intake, &pixels, remedy, data, engine, &mut facts);
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
            judge,
            rounded,
            class_names,
            batch,
            steadiness,
            hazards,
            drawn,
            remedied,
            changed: changed.map(|(name, _)| name),
            remedies,
            given,
            loss,
            facts,
            native,
        })
    }
}

impl Model {
    /// The graphs that the requested remedies made: the changed model, and what attacks see, all in pixel units.
    pub fn remedied_graphs(&self) -> Vec<(&'static str, Graph)> {
        let changed = self.changed.map(|name| (name, self.graph.clone()));
        changed.into_iter().chain(self.remedied.graphs()).collect()
    }
}

/// What attacks see of a model whose input is called `input_name` in the file, by the surrogates, the remedies and the draws that were requested.
fn seen_by_attacks(
    graph: &Graph,
    input_name: &str,
    intake: &Intake,
    hazards: &mut [Found],
    facts: &mut Vec<String>,
) -> Result<Remedied, Refusal> {
    let mut remedied = remedies::of_request(graph, input_name, &intake.remedies, &intake.surrogates)?;
    // a surrogate does for what the user named what this remedy does for all
    let named = (!intake.surrogates.is_empty()).then(|| remedies::STRAIGHT_THROUGH.to_owned());
    let asked: Vec<String> = intake.remedies.iter().cloned().chain(named).collect();
    hazards::answer(hazards, &asked, remedied.twin.as_ref());
    facts.extend(intake.eot.map(|over| remedied.see_draws(graph, over, hazards)));
    Ok(remedied)
}

fn loss_fact(Loss { name, sha256, .. }: &Loss) -> String {
    format!("--loss: attacks without a loss of their own ascend {name} (sha256 {sha256}) and not cross-entropy")
}

/// Refuses images of different sizes where nothing says which size the model takes.
fn sized(native: &Native, data: &Dataset) -> Result<(), Refusal> {
    if let data::Pixels::Pictures(_) = data.pixels {
        let what = format!(
            "data set {}: its images have different sizes, and the size that {} takes is not stated",
            data.name, native.name
        );
        return Err(Refusal::data(80, what).help("state it: --resize SIZE[:FILTER] --crop HEIGHTxWIDTH"));
    }
    Ok(())
}

/// What a file beside the model says about pixels and cannot be followed must be answered by flags.
fn answered(native: &Native, intake: &Intake) -> Result<(), Refusal> {
    let Some(open) = &native.card.open else { return Ok(()) };
    let flags = &intake.preprocessing;
    if flags.scale.is_some() && flags.mean.is_some() && flags.std.is_some() {
        return Ok(());
    }
    Err(Refusal::usage(55, format!("{}: {open}", native.name)).help(
        "state how pixels become its input: --scale, --mean and --std, and --resize, --crop and --channels where they are needed",
    ))
}

/// A refusal of images for their channels, with the first file that made them three.
fn with_file(error: Refusal, data: &Dataset) -> Refusal {
    match &data.first_in_colour {
        Some(file) if error.number == 53 && error.what.contains("channel") => {
            Refusal { what: format!("{} (the first image in colour is {file})", error.what), ..error }
        }
        _ => error,
    }
}

/// How many classes the data has, where it names them all.
fn labels_of(data: &Dataset) -> Option<usize> {
    let complete = data.matching.is_none() && (data.canonical || numbers(&data.class_names).is_none());
    (complete && !data.class_names.is_empty()).then(|| data.class_names.len() + usize::try_from(data.label_offset).unwrap_or(0))
}

/// The requested models, each read or refused, and the data prepared for them.
pub struct Read {
    /// In the order of the request.
    pub models: Vec<(ModelRequest, Result<Native, Refusal>)>,
    /// The data, prepared.
    pub dataset: Dataset,
    /// The request that gives this data alone.
    pub request: data::Request,
}

/// Reads models, and data that is resized and cropped where flags or files beside the models say so and the images do not have the
/// size of the input already.
///
/// # Errors
/// What [`Dataset::load`] and [`Dataset::prepared`] refuse; a usage error where two models want different images.
pub fn read(requests: &[ModelRequest], data: &data::Request) -> Result<Read, Refusal> {
    let mut dataset = Dataset::load(&data::Request { label_offset: 0, ..data.clone() })?;
    let labels = labels_of(&dataset).map(|n| n + usize::try_from(data.label_offset).unwrap_or(0));
    let one = |request: &ModelRequest| (request.clone(), Native::with(&request.source, &request.intake, labels));
    let models: Vec<(ModelRequest, Result<Native, Refusal>)> = requests.iter().map(one).collect();
    let mut request = data.clone();
    if data.matching.is_none()
        && let Some(matching) = agreed_matching(&models, &dataset, data.label_offset)?
    {
        dataset = dataset.matched(&matching)?;
        request.matching = Some(matching);
    }
    dataset.offset(data.label_offset)?;
    if data.preparation.is_none() {
        request.preparation = agreed_preparation(&models, dataset.shape)?;
        dataset = match request.preparation {
            Some(preparation) => dataset.prepared(preparation)?,
            None => dataset,
        };
        dataset.notes.extend(idle(&models, request.preparation));
    }
    Ok(Read { models, dataset, request })
}

/// Flags about the size of images that have no effect, as a sentence.
fn idle(models: &[Requested], done: Option<Preparation>) -> Option<String> {
    let flags = models.iter().map(|(request, _)| &request.intake.preprocessing);
    let stated = flags.map(|f| Preparation { colour: None, square: f.square, resize: f.resize, crop: f.crop });
    let stated = stated.into_iter().find(|stated| *stated != Preparation::default())?;
    let resized = done.is_some_and(|done| done.square.is_some() || done.resize.is_some() || done.crop.is_some());
    (!resized).then(|| format!("{} has no effect: the images have the size of the input already", stated.text()))
}

type Requested = (ModelRequest, Result<Native, Refusal>);

/// How labels, as they were read, become those of the models, which must agree.
fn agreed_matching(models: &[Requested], dataset: &Dataset, label_offset: i64) -> Result<Option<Matching>, Refusal> {
    let mut chosen: Option<(&str, Option<Matching>)> = None;
    for (request, native) in models {
        let Ok(native) = native else { continue };
        let wanted = classes::matching(native, dataset, request.intake.or(&native.card).match_classes, label_offset)?;
        match &chosen {
            None => chosen = Some((&native.name, wanted)),
            Some((first, other)) if other.as_ref().map(|m| &m.to) != wanted.as_ref().map(|m| &m.to) => {
                let what = format!("the classes of {first} and of {} are in different orders", native.name);
                return Err(Refusal::usage(93, what).help("audit them one after the other, or say --match-classes position"));
            }
            Some(_) => {}
        }
    }
    Ok(chosen.and_then(|(_, wanted)| wanted))
}

/// What is done to the images for the models, which must agree.
fn agreed_preparation(models: &[Requested], shape: [usize; 3]) -> Result<Option<Preparation>, Refusal> {
    let mut chosen: Option<(&str, Option<Preparation>)> = None;
    for (request, native) in models {
        let Ok(native) = native else { continue };
        let wanted = preparation(native, &request.intake, shape);
        match chosen {
            None => chosen = Some((&native.name, wanted)),
            Some((first, other)) if other != wanted => {
                let say = |p: Option<Preparation>| p.map_or_else(|| "as they are".to_owned(), |p| format!("by {}", p.text()));
                let what = format!("{first} takes the images {}, {} takes them {}", say(other), native.name, say(wanted));
                return Err(
                    Refusal::usage(93, what).help("audit them one after the other, or state --resize and --crop for both")
                );
            }
            Some(_) => {}
        }
    }
    Ok(chosen.and_then(|(_, wanted)| wanted))
}

/// What is stated about the size of images, unless they have the size of the input.
fn preparation(native: &Native, intake: &Intake, shape: [usize; 3]) -> Option<Preparation> {
    let stated = intake.preprocessing.clone().or(native.card.preprocessing.clone());
    let &input = native.graph.inputs().first()?;
    let inner: Option<Vec<usize>> = native.graph.shape(input).and_then(|s| s.iter().skip(1).map(Dim::fixed).collect());
    let area = |n: usize| n * shape[1] * shape[2];
    let fits = inner.is_some_and(|inner| [1, 3, shape[0]].iter().any(|&c| inner.iter().product::<usize>() == area(c)));
    let colour = match (stated.channels, shape[0]) {
        (Some(Channels::Gray), 3) => Some(Colour::Gray),
        (Some(Channels::Rgb | Channels::Bgr), 1) => Some(Colour::Rgb),
        _ => None,
    };
    let sizes = Preparation { colour: None, square: stated.square, resize: stated.resize, crop: stated.crop };
    let sizes = if fits { Preparation::default() } else { sizes };
    let wanted = Preparation { colour, ..sizes };
    (wanted != Preparation::default()).then_some(wanted)
}

/// The model as the engine can run it: in float32 where it lacks an operator for `double`.
fn on_engine(native: Native, pixels: &Pixels, data: &Dataset, engine: &dyn Engine) -> Result<Native, Refusal> {
    if !normalize::has_double(&native.graph) {
        return Ok(native);
    }
    let (runs, extent) = native.runnable()?;
    let graph = pixels.before(runs, extent, data.shape, Outputs::Logits)?;
    let Err(why) = engine.compile(&graph, &CompileOptions::default()) else { return Ok(native) };
    let mut narrowed = native
        .changed(normalize::in_float32)
        .map_err(|e| Refusal::model(56, format!("{}: it has no form in float32: {e}", native.name)))?;
    let why = why.to_string();
    let why = format!("{} cannot run it in double ({})", engine.name(), why.lines().next().unwrap_or_default());
    narrowed.facts.push(format!("computed in float32, not in double: {why}"));
    narrowed.narrowed = Some(why);
    Ok(narrowed)
}

/// Frees the batch if that can be done, and shows by running that every image is answered on its own; otherwise the batch of the
/// file stays, and what is shown is that the place in it does not matter.
fn settle_batch(
    native: &mut Native,
    pixels: &Pixels,
    data: &Dataset,
    engine: &dyn Engine,
) -> Result<(Steadiness, Agreement), Refusal> {
    let name = native.name.clone();
    let named = |e: Refusal| Refusal { what: format!("{name}: {}", e.what), ..e };
    let size = native.fixed_batch.unwrap_or(1);
    let images = first_images(data, if size > TRIED { 2 * size } else { TRIED / size * size });
    let alone = |graph: &Graph| pixels.before(graph, Dim::Fixed(size), data.shape, Outputs::Logits);
    if let Ok(any) = native.any_batch() {
        let together = pixels.before(any, Dim::symbol("N"), data.shape, Outputs::Logits)?;
        let few = if native.fixed_batch.is_some() { alone(&native.graph)? } else { together.clone() };
        // operands that contradict each other once the batch is known are a fault of the file, whatever the engine calls it
        let blamed = |e: Refusal| named(alone(any).err().unwrap_or(e));
        let steadiness = steadiness::measure(engine, &together, &first_images(data, TRIED)).map_err(blamed)?;
        let mut found = compare(engine, &few, size, &together, &images).map_err(blamed)?;
        if found.holds() {
            let more = first_images(data, batch::images_at_drawn_sizes(data.shape.iter().product()));
            let drawn = batch::at_drawn_sizes(engine, &few, size, &together, &more).map_err(named)?;
            found.difference = found.difference.max(drawn);
        }
        // where two runs of the same images differ, nothing is learned about the batch
        if found.holds() || native.fixed_batch.is_none() || !steadiness.repeats() {
            return Ok((steadiness, found));
        }
        let why = format!("with a free batch the logits differ by {:.1e} (relative; {TOLERANCE:e} is allowed)", found.difference);
        native.keep_batch(why);
    }
    // without a batch in the file there is nothing to fall back on
    native.runnable()?;
    let graph = alone(&native.graph)?;
    let steadiness = steadiness::measure(engine, &graph, &first_images(data, size)).map_err(named)?;
    Ok((steadiness, batch::reordered(engine, &graph, size, &images).map_err(named)?))
}

/// The first images of the data, over again where there are fewer.
fn first_images(data: &Dataset, count: usize) -> Tensor {
    let ids: Vec<u64> = (0..count as u64).map(|i| i % data.len() as u64).collect();
    data.gather(&ids).x
}

/// The labels must be classes of the model. Where the data set knows its classes there must be as many logits; where classes are matched
/// by position on the user's word, there can be more.
fn labels_fit(native: &Native, data: &Dataset, by_position: bool) -> Result<(), Refusal> {
    let k = native.classes as i64;
    let known = labels_of(data).map(|n| n as i64);
    if data.largest_label() < k && known.is_none_or(|n| n == k || by_position && n < k) {
        return Ok(());
    }
    let first = data.labels.iter().copied().min().unwrap_or(0);
    let last = known.map_or(data.largest_label(), |n| n - 1);
    let what = format!("{} has {k} classes, {} has the labels {}..{last}", native.name, data.name, first.min(data.label_offset));
    let error = Refusal::data(61, what);
    Err(if k == last + 2 && data.label_offset == 0 {
        error.help("say --label-offset 1 if class 0 of the model is the background, --match-classes position if its last class is not one of the data")
    } else if data.largest_label() - first < k && first > 0 {
        error.help(format!("do the labels start at {first}? then say --label-offset {}", data.label_offset - first))
    } else if k > last + 2 && known.is_some() {
        error.help("choose the data set that the model was trained for, or shift the labels with --label-offset K; if the first classes of the model are those of the data, say --match-classes position")
    } else {
        error.help("choose the data set that the model was trained for, or shift the labels with --label-offset K")
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
    let verdict =
        if found.holds() { "the same logits" } else { "different logits: an answer depends on the other images in the batch" };
    let (images, difference) = (found.images, found.difference);
    if let (Some(why), Some(n)) = (native.kept_because(), native.fixed_batch) {
        return format!(
            "its batch of {n} cannot be made free ({why}), so images run in batches of {n}, the last one filled up with copies: \
             {images} images in two orders give {verdict} (largest relative difference {difference:.1e})"
        );
    }
    let alone = native.fixed_batch.map_or(String::new(), |n| format!("its batch of {n} was made free: "));
    format!(
        "{alone}{images} images in small batches and together, also in batches of sizes drawn by key, give {verdict} (largest relative difference {difference:.1e})"
    )
}
