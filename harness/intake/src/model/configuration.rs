//! What other libraries leave beside a model: `preprocessor_config.json` and `config.json` of Hugging Face, `config.json` of timm,
//! lists of classes; and the standard metadata of images inside the file. Every field that is understood becomes a field of a card; what is not understood is named.

use std::path::{Path, PathBuf};

use flatscape_graph::shown;
use serde_json::{Map, Value};

use crate::card::{Card, Preprocessing};
use crate::data::resize::{Crop, Filter, Resize, Size};
use crate::files::{self, show};
use crate::refusal::Refusal;

mod huggingface;
mod metadata;
pub(super) mod names;

use huggingface::hugging_face;
pub(super) use metadata::of_images;

/// A file and what it says.
pub(super) struct Statement {
    /// The file, as messages call it.
    pub(super) source: String,
    /// What it says.
    pub(super) card: Card,
    /// Fields that change pixels and are not understood, and other remarks, as sentences.
    pub(super) notes: Vec<String>,
}

/// A file by its name, and how it is read. `None`: the file belongs to another program.
type Reader = (&'static str, fn(&str, &mut Vec<String>) -> Result<Option<Card>, String>);

/// The files, the one that counts most first.
const READERS: &[Reader] = &[
    ("preprocessor_config.json", |text, notes| object(text).map(|o| Some(hugging_face(&o, notes)))),
    ("config.json", |text, notes| {
        let object = object(text)?;
        let is_timm = object.contains_key("pretrained_cfg") || object.contains_key("architecture") && object.contains_key("mean");
        let mut card = if is_timm { timm(&object, notes) } else { Card::default() };
        card.classes = names::of_configuration(&object, notes)?;
        Ok(Some(card))
    }),
    ("labels.txt", |text, _| Ok(Some(named(names::lines(text))))),
    ("classes.txt", |text, _| Ok(Some(named(names::lines(text))))),
    ("class_names.txt", |text, _| Ok(Some(named(names::lines(text))))),
    ("labels.json", |text, _| names::json(text).map(|names| Some(named(names)))),
    ("id2label.json", |text, _| names::json(text).map(|names| Some(named(names)))),
    ("class_names.json", |text, _| names::json(text).map(|names| Some(named(names)))),
];

fn named(classes: Vec<String>) -> Card {
    Card { classes, ..Card::default() }
}

/// Largest such file, in bytes.
const LARGEST: u64 = 16 << 20;

/// Everything that lies beside a model; where the folder is called `onnx`, also what lies above it.
///
/// # Errors
/// Usage errors that name a file which is there and cannot be read.
pub(super) fn beside(model: &Path) -> Result<Vec<Statement>, Refusal> {
    let folder = model.parent().filter(|p| !p.as_os_str().is_empty()).map_or(PathBuf::from("."), Path::to_owned);
    let above = folder.file_name().is_some_and(|n| n == "onnx").then(|| folder.join(".."));
    let mut statements = Vec::new();
    for (name, read) in READERS {
        let Some(path) = [Some(folder.clone()), above.clone()].into_iter().flatten().map(|f| f.join(name)).find(|p| p.is_file())
        else {
            continue;
        };
        let refuse = |why: String| Refusal::usage(91, format!("{}: {why}", show(&path)));
        let bytes = files::read(&path, LARGEST).map_err(|e| Refusal::usage(91, e.to_string()))?;
        let text = String::from_utf8(bytes.bytes).map_err(|_| refuse("it is not UTF-8 text".to_owned()))?;
        let text = text.trim_start_matches('\u{feff}');
        let mut notes = Vec::new();
        let card = read(text, &mut notes).map_err(|why| refuse(why).help("correct the file, or move it away"))?;
        let notes = notes.into_iter().map(|note| format!("{name}: {note}")).collect();
        if let Some(card) = card.filter(|c| *c != Card::default()) {
            statements.push(Statement { source: (*name).to_owned(), card, notes });
        } else if !notes.is_empty() {
            statements.push(Statement { source: (*name).to_owned(), card: Card::default(), notes });
        }
    }
    Ok(statements)
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("it is not a JSON object".to_owned()),
        Err(e) => Err(format!("it is not well-formed JSON: {e}")),
    }
}

/// `224`, `{height, width}`, `{shortest_edge}`.
fn stated_size(size: &Value, by_edge: bool) -> Option<Size> {
    let edge = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| (1..=65535).contains(n));
    match size {
        Value::Object(o) => {
            match (o.get("height").and_then(edge), o.get("width").and_then(edge), o.get("shortest_edge").and_then(edge)) {
                (Some(h), Some(w), None) => Some(Size::Exactly(h, w)),
                (None, None, Some(shorter)) if !o.contains_key("longest_edge") => Some(Size::ShortestEdge(shorter)),
                _ => None,
            }
        }
        Value::Array(a) => match &a[..] {
            [h, w] => Some(Size::Exactly(edge(h)?, edge(w)?)),
            _ => None,
        },
        number => edge(number).map(|n| if by_edge { Size::ShortestEdge(n) } else { Size::Exactly(n, n) }),
    }
}

/// Fields of timm configurations that say nothing about the numbers in the pixels.
const TIMM_SILENT: &[&str] = &[
    "url",
    "tag",
    "hf_hub_id",
    "hf_hub_filename",
    "source",
    "architecture",
    "custom_load",
    "license",
    "origin_url",
    "paper_name",
    "paper_ids",
    "notes",
    "num_classes",
    "num_features",
    "pool_size",
    "first_conv",
    "classifier",
    "fixed_input_size",
    "min_input_size",
    "test_input_size",
    "test_crop_pct",
    "test_crop_mode",
    "global_pool",
    "label_names",
    "label_descriptions",
    "label_offset",
    "feature_dim",
    "model_args",
    "file",
    "state_dict",
    "input_size",
    "pretrained_cfg",
    "architectures",
    "can_compile",
];

/// `config.json` of timm: the shorter edge to size/crop_pct, then the middle, then normalised.
fn timm(object: &Map<String, Value>, notes: &mut Vec<String>) -> Card {
    let inner = object.get("pretrained_cfg").and_then(Value::as_object).unwrap_or(object);
    let mut fields = Fields::new(inner);
    let edges: Vec<usize> = fields
        .get("input_size")
        .and_then(Value::as_array)
        .map(|a| a.iter().filter_map(|v| v.as_u64().and_then(|n| usize::try_from(n).ok())).collect())
        .unwrap_or_default();
    let pct = fields.get("crop_pct").and_then(Value::as_f64).filter(|p| *p > 0.0).unwrap_or(0.875);
    let mode = fields.text("crop_mode").unwrap_or_else(|| "center".to_owned());
    let interpolation = fields.text("interpolation").unwrap_or_else(|| "bicubic".to_owned());
    let (mut resize, mut crop) = (None, None);
    match (&edges[..], Filter::named(&interpolation), &*mode) {
        (&[_, h, w], Some(filter), "center" | "squash") if h > 0 && w > 0 => {
            let scaled = |n: usize| (n as f64 / pct).floor() as usize;
            let size =
                if mode == "center" && h == w { Size::ShortestEdge(scaled(h)) } else { Size::Exactly(scaled(h), scaled(w)) };
            resize = Some(Resize { size, filter });
            crop = Some(Crop { height: h, width: w, to_even: true });
        }
        (&[_, _, _], None, _) => {
            notes.push(format!("its interpolation {} is not known, so nothing is resized", shown(&interpolation)))
        }
        (&[_, _, _], ..) => notes.push(format!("its crop_mode {} is not known, so nothing is resized", shown(&mode))),
        _ => {}
    }
    let (mean, std) = (fields.numbers("mean"), fields.numbers("std"));
    fields.name_the_rest(TIMM_SILENT, notes);
    let preprocessing = Preprocessing { scale: Some(1.0), mean, std, resize, crop, ..Preprocessing::default() };
    Card { name: None, preprocessing, ..Card::default() }
}

/// The fields of an object, and which of them were read.
struct Fields<'a> {
    object: &'a Map<String, Value>,
    asked: Vec<String>,
}

impl<'a> Fields<'a> {
    fn new(object: &'a Map<String, Value>) -> Fields<'a> {
        Fields { object, asked: Vec::new() }
    }

    fn get(&mut self, name: &str) -> Option<&'a Value> {
        self.asked.push(name.to_owned());
        self.object.get(name).filter(|v| !v.is_null())
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.get(name).and_then(Value::as_str).map(str::to_owned)
    }

    /// A list of numbers, or one.
    fn numbers(&mut self, name: &str) -> Option<Vec<f64>> {
        match self.get(name)? {
            Value::Array(a) => a.iter().map(Value::as_f64).collect(),
            number => number.as_f64().map(|v| vec![v]),
        }
    }

    /// A note about every field that was not read and is not `silent`.
    fn name_the_rest(&self, silent: &[&str], notes: &mut Vec<String>) {
        let open = |key: &&String| !self.asked.contains(key) && !silent.contains(&key.as_str());
        let off = |key: &&String| matches!(self.object.get(*key), Some(Value::Null | Value::Bool(false)));
        let names: Vec<String> = self.object.keys().filter(open).filter(|k| !off(k)).map(|k| shown(k)).collect();
        if !names.is_empty() {
            notes.push(format!("not understood and not applied: {}", names.join(", ")));
        }
    }
}

fn spelled(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |v| shown(&v.to_string()))
}

/// 255 · 0.00392156862745098 is 1.
fn rounded(value: f64) -> f64 {
    if (value - value.round()).abs() < 1e-9 { value.round() } else { value }
}

#[cfg(test)]
mod tests;
