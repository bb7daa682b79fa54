//! What other libraries leave beside a model: `preprocessor_config.json` and `config.json` of Hugging Face, `config.json` of timm,
//! `labels.txt`. Every field that is understood becomes a field of a card; what is not understood is named.

use std::path::{Path, PathBuf};

use flatscape_graph::shown;
use serde_json::{Map, Value};

use crate::card::{Card, Preprocessing};
use crate::data::resize::{Crop, Filter, Resize, Size};
use crate::files::{self, show};
use crate::refusal::Refusal;

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
        card.classes = classes(&object, notes);
        Ok(Some(card))
    }),
    ("labels.txt", |text, _| {
        let classes = text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect();
        Ok(Some(Card { classes, ..Card::default() }))
    }),
];

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
        let mut notes = Vec::new();
        let card = read(&text, &mut notes).map_err(|why| refuse(why).help("correct the file, or move it away"))?;
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

/// Fields of image processors that say nothing about the numbers in the pixels.
const SILENT: &[&str] = &[
    "image_processor_type",
    "feature_extractor_type",
    "processor_class",
    "_processor_class",
    "_valid_processor_keys",
    "_name_or_path",
    "auto_map",
    "data_format",
    "input_data_format",
    "return_tensors",
    "device",
    "do_convert_rgb",
    "do_flip_channel_order",
    "disable_grouping",
    "default_to_square",
    "use_auth_token",
    "model_input_names",
];

/// Image processors whose plain `size` is the shorter edge; for the others it is the edge of a square.
const BY_SHORTER_EDGE: &[&str] = &["CLIP", "ConvNext", "Levit", "MobileNetV1", "MobileNetV2", "MobileViT", "PoolFormer", "Bit"];

/// `preprocessor_config.json`: resize, crop, rescale, normalise, in this order.
fn hugging_face(object: &Map<String, Value>, notes: &mut Vec<String>) -> Card {
    let mut fields = Fields::new(object);
    let kind = fields.text("image_processor_type").or(fields.text("feature_extractor_type")).unwrap_or_default();
    let yes = |fields: &mut Fields, name: &str, default: bool| fields.get(name).and_then(Value::as_bool).unwrap_or(default);

    let (resizes, crops) =
        (yes(&mut fields, "do_resize", object.contains_key("size")), yes(&mut fields, "do_center_crop", false));
    let size = fields.get("size").cloned();
    let resample = fields.get("resample").cloned();
    let crop_size = fields.get("crop_size").cloned();
    let crop_pct = fields.get("crop_pct").and_then(Value::as_f64);
    let mut resize = None;
    let mut crop = None;
    if resizes {
        let filter = match &resample {
            Some(code) => code.as_u64().and_then(Filter::numbered),
            None => {
                notes.push("it resizes and states no filter; bilinear is taken".to_owned());
                Some(Filter::Bilinear)
            }
        };
        let by_edge = BY_SHORTER_EDGE.iter().any(|name| kind.starts_with(name));
        let size = size.as_ref().and_then(|size| stated_size(size, by_edge));
        match (filter, size) {
            (Some(filter), Some(size)) => resize = Some(Resize { size, filter }),
            (None, _) => notes.push(format!("its filter resample = {} is not known", spelled(resample.as_ref()))),
            (_, None) => notes.push("its size is not understood, so nothing is resized".to_owned()),
        }
        // ConvNeXt below 384: the shorter edge to size/crop_pct, then the middle; from 384 on a square
        if let (Some(pct), Some(Resize { size: Size::ShortestEdge(edge), filter })) = (crop_pct.filter(|p| *p > 0.0), resize) {
            let (size, middle) = if edge < 384 {
                (Size::ShortestEdge((edge as f64 / pct) as usize), Some(Crop { height: edge, width: edge, to_even: false }))
            } else {
                (Size::Exactly(edge, edge), None)
            };
            (resize, crop) = (Some(Resize { size, filter }), middle);
        }
    }
    if crops {
        crop = match crop_size.as_ref().and_then(|size| stated_size(size, false)) {
            Some(Size::Exactly(height, width)) => Some(Crop { height, width, to_even: false }),
            _ => {
                notes.push("its crop_size is not understood, so nothing is cropped".to_owned());
                None
            }
        };
    }

    let factor = fields.get("rescale_factor").and_then(Value::as_f64).unwrap_or(1.0 / 255.0);
    let scale = if yes(&mut fields, "do_rescale", true) { rounded(factor * 255.0) } else { 255.0 };
    let (mean, std) = (fields.numbers("image_mean"), fields.numbers("image_std"));
    let normalises = yes(&mut fields, "do_normalize", mean.is_some() || std.is_some());
    let (mean, std) = if normalises { (mean, std) } else { (Some(vec![0.0]), Some(vec![1.0])) };
    if fields.object.get("do_flip_channel_order").and_then(Value::as_bool) == Some(true) {
        notes.push("it flips the channels to blue, green, red, which is not done here".to_owned());
    }
    fields.name_the_rest(SILENT, notes);
    Card { preprocessing: Preprocessing { scale: Some(scale), mean, std, layout: None, resize, crop }, ..Card::default() }
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
    let preprocessing = Preprocessing { scale: Some(1.0), mean, std, layout: None, resize, crop };
    Card { name: None, preprocessing, ..Card::default() }
}

/// `id2label` in the order of its numbers, or `label_names`.
fn classes(object: &Map<String, Value>, notes: &mut Vec<String>) -> Vec<String> {
    let inner = object.get("pretrained_cfg").and_then(Value::as_object);
    let listed = [Some(object), inner].into_iter().flatten().find_map(|o| o.get("label_names").and_then(Value::as_array));
    if let Some(names) = listed {
        return names.iter().filter_map(|n| n.as_str().map(str::to_owned)).collect();
    }
    let Some(by_number) = object.get("id2label").and_then(Value::as_object) else { return Vec::new() };
    let mut pairs: Vec<(usize, String)> =
        by_number.iter().filter_map(|(k, v)| Some((k.parse().ok()?, v.as_str()?.to_owned()))).collect();
    pairs.sort();
    if pairs.len() != by_number.len() || pairs.iter().enumerate().any(|(i, (k, _))| i != *k) {
        notes.push(format!("its id2label does not name the classes 0..{} and is ignored", by_number.len().saturating_sub(1)));
        return Vec::new();
    }
    if pairs.iter().all(|(k, name)| *name == format!("LABEL_{k}")) {
        return Vec::new();
    }
    pairs.into_iter().map(|(_, name)| name).collect()
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
