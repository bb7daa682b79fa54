//! Where the bytes of a model come from: a path, or one of the models inside the program, and the card that lies beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flatscape_graph::onnx::{self, ModelFile};
use flatscape_graph::shown;

use super::configuration::{self, Statement};
use crate::card::Card;
use crate::files::{self, ExternalFiles, FileError, Limits, show};
use crate::refusal::{Refusal, nearest};

/// A model that is inside the program.
pub struct Shipped {
    /// What to call it.
    pub name: &'static str,
    model: &'static [u8],
    card: &'static str,
}

macro_rules! shipped {
    ($name:literal) => {
        Shipped {
            name: $name,
            model: include_bytes!(concat!("../../../../models/", $name, "/model.onnx")),
            card: include_str!(concat!("../../../../models/", $name, "/card.toml")),
        }
    };
}

/// The models inside the program: those that it trained itself, in the order in which the demo shows them, and those that came from
/// PyTorch.
pub const SHIPPED: &[Shipped] = &[
    shipped!("smallnet-standard"),
    shipped!("smallnet-adversarial"),
    shipped!("smallnet-jacobian"),
    shipped!("smallnet-amsreg"),
    shipped!("digits-standard"),
    shipped!("digits-adversarial"),
    shipped!("digits-jacobian"),
    shipped!("digits-amsreg"),
];

/// How many of them, the first, the program trained itself.
pub const TRAINED_HERE: usize = 4;

impl Shipped {
    /// The sentence of its card.
    ///
    /// # Errors
    /// The card cannot be read.
    pub fn description(&self) -> Result<String, Refusal> {
        let card = Card::parse(self.card, &format!("the card of {}", self.name))?;
        let missing = || Refusal::usage(89, format!("the card of {} has no description", self.name));
        card.description.ok_or_else(missing)
    }
}

/// A model as it was found, read but not yet understood.
pub(super) struct Found {
    /// The name in its card, or the stem of its file.
    pub(super) name: String,
    /// Its path, or that it was shipped.
    pub(super) source: String,
    /// SHA-256 of the model file.
    pub(super) sha256: String,
    /// What the file holds.
    pub(super) file: ModelFile,
    /// The file with all its data inside, or the clause that says why there is none; only of files that were widened to float32.
    pub(super) own: Option<Result<Arc<[u8]>, String>>,
    /// The card beside it, completed by its metadata.
    pub(super) card: Card,
    /// Sentences about what was found.
    pub(super) facts: Vec<String>,
}

/// Reads the model of that name or at that path.
pub(super) fn find(source: &str, limits: &Limits) -> Result<Found, Refusal> {
    match SHIPPED.iter().find(|s| s.name == source) {
        Some(shipped) => {
            let file = onnx::read(shipped.model).map_err(|e| refused(source, &e))?;
            let card = Card::parse(shipped.card, &format!("the card of {source}"))?;
            let sha256 = files::sha256(shipped.model);
            Ok(Found {
                name: source.to_owned(),
                source: "shipped with flatscape".to_owned(),
                sha256,
                own: own(&file, shipped.model, Path::new(source), limits, &[]),
                file,
                card,
                facts: Vec::new(),
            })
        }
        None => read(Path::new(source), limits).map_err(|error| hint_at_names(error, source)),
    }
}

fn read(path: &Path, limits: &Limits) -> Result<Found, Refusal> {
    let bytes = files::read(path, limits.model_bytes).map_err(file_refused)?;
    let beside = ExternalFiles::beside(path, limits);
    let file = onnx::read_with(&bytes.bytes, &|t| beside.fetch(&t.location, t.offset, t.length))
        .map_err(|e| refused(&show(path), &e))?;
    let own = own(&file, &bytes.bytes, path, limits, &beside.list());
    let mut facts = file.notes.clone();
    for (name, sha256) in beside.list() {
        facts.push(format!("weights were read from {name} (sha256 {sha256})"));
    }
    let stem = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let mut stated = Vec::new();
    if let Some(path) = card_beside(path, &stem) {
        let text = files::read(&path, 1 << 20).map_err(file_refused)?;
        let text = String::from_utf8(text.bytes).map_err(|_| Refusal::usage(91, format!("{} is not UTF-8 text", show(&path))))?;
        stated.push(Statement { source: show(&path), card: Card::parse(&text, &show(&path))?, notes: Vec::new() });
        facts.push(format!("its card is {}", show(&path)));
    }
    let metadata = Card::from_metadata(&file.metadata)?;
    stated.push(Statement { source: "its metadata (flatscape.*)".to_owned(), card: metadata, notes: Vec::new() });
    stated.extend(configuration::of_images(&file.metadata));
    stated.extend(configuration::beside(path)?);
    if !file.class_labels.is_empty() {
        let card = Card { classes: file.class_labels.clone(), ..Card::default() };
        stated.push(Statement { source: "its classifier".to_owned(), card, notes: Vec::new() });
    }
    let card = joined(stated, &mut facts);
    let name = card.name.clone().unwrap_or_else(|| crate::refusal::escape(&stem));
    Ok(Found { name, source: show(path), sha256: bytes.sha256, file, own, card, facts })
}

/// The file with all its data inside, where it was widened; `listed` are the files beside it as they were read.
fn own(
    file: &ModelFile,
    bytes: &[u8],
    path: &Path,
    limits: &Limits,
    listed: &[(String, String)],
) -> Option<Result<Arc<[u8]>, String>> {
    let again = ExternalFiles::beside(path, limits);
    let whole = || {
        let whole = onnx::self_contained(bytes, &|t| again.fetch(&t.location, t.offset, t.length)).map_err(|e| e.to_string())?;
        if again.list() != listed {
            return Err("its weights changed while they were read".to_owned());
        }
        Ok(whole.into())
    };
    file.widened.then(whole)
}

/// What all sources say, the first one counting most: which field came from where, and where a later one says something else.
fn joined(stated: Vec<Statement>, facts: &mut Vec<String>) -> Card {
    let mut card = Card::default();
    let mut sources: Vec<(&str, String, String)> = Vec::new();
    for Statement { source, card: more, notes } in stated {
        for (field, value) in more.preprocessing.fields() {
            match sources.iter().find(|(known, ..)| *known == field) {
                None => sources.push((field, value, source.clone())),
                Some((_, counts, first)) if *counts != value => {
                    facts.push(format!("{source} says --{field} {value}; {first} says --{field} {counts}, which counts"));
                }
                Some(_) => {}
            }
        }
        if !more.classes.is_empty() && !card.classes.is_empty() && more.classes != card.classes {
            facts.push(format!("{source} names {} classes, which do not count", more.classes.len()));
        } else if !more.classes.is_empty() && card.classes.is_empty() {
            facts.push(format!("the names of its {} classes are from {source}", more.classes.len()));
        }
        facts.extend(notes);
        card = card.or(more);
    }
    let places: Vec<String> = sources.iter().map(|(field, value, source)| format!("--{field} {value} ({source})")).collect();
    if !places.is_empty() {
        facts.push(format!("stated about its pixels: {}", places.join(", ")));
    }
    card
}

/// `<stem>.card.toml`, or `card.toml` where the folder has no other model.
fn card_beside(model: &Path, stem: &str) -> Option<PathBuf> {
    let own = model.with_file_name(format!("{stem}.card.toml"));
    let shared = model.with_file_name("card.toml");
    if own.is_file() {
        return Some(own);
    }
    let folder = model.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_model = |path: PathBuf| path.extension().is_some_and(|e| e == "onnx");
    let models = folder.read_dir().into_iter().flatten().flatten().filter(|e| is_model(e.path())).count();
    (models <= 1 && shared.is_file()).then_some(shared)
}

fn file_refused(error: FileError) -> Refusal {
    match error {
        FileError::Empty(_) => Refusal::model(2, error.to_string()),
        FileError::TooLarge { .. } => Refusal::model(6, error.to_string())
            .help("keep the weights as external data beside the model, or allow more with --max-model-bytes"),
        _ => Refusal::model(1, error.to_string()),
    }
}

fn refused(name: &str, error: &onnx::ReadError) -> Refusal {
    let number = error.id().trim_start_matches('M').parse().unwrap_or(4);
    let refused = Refusal::model(number, format!("{name}: {error}"));
    if error.help.is_empty() { refused } else { refused.help(error.help) }
}

fn hint_at_names(error: Refusal, source: &str) -> Refusal {
    let names = || SHIPPED.iter().map(|s| s.name);
    if error.number != 1 || source.contains(['/', '\\', '.']) {
        return error;
    }
    let meant = nearest(source, names()).map_or(String::new(), |n| format!("; did you mean {n}?"));
    let names = names().collect::<Vec<_>>().join(", ");
    Refusal { what: format!("{} is neither a file nor a model that comes with the program", shown(source)), ..error }
        .help(format!("the models that come with it are {names}{meant}"))
}
