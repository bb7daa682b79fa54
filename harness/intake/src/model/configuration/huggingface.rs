//! `preprocessor_config.json` of Hugging Face: one row per family of image processors, which differ in what their `size` means, in
//! their default filter and in the order of their steps.

use flatscape_graph::shown;
use serde_json::{Map, Value};

use super::{Fields, rounded, spelled, stated_size};
use crate::card::{Card, Channels, Preprocessing};
use crate::data::Square;
use crate::data::resize::{Crop, Filter, Resize, Size};

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
    "disable_grouping",
    "default_to_square",
    "use_auth_token",
    "model_input_names",
    "do_reduce_labels",
    "reduce_labels",
];

/// What a processor does with its `size`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sizes {
    /// A plain number is the edge of a square.
    Square,
    /// A plain number is the shorter edge.
    Shorter,
    /// Below 384 the shorter edge is `size/crop_pct`, and the middle of `size` is kept; from 384 on images become squares.
    ConvNext,
    /// The shorter edge is `size/crop_pct`; the crop is stated.
    PoolFormer,
    /// The shorter edge is 256/224 of it.
    Levit,
    /// The middle square of `size/crop_size` of the shorter edge is kept first.
    Perceiver,
}

/// The processors that are followed: how their class begins, what their size means, their default filter.
const PROCESSORS: &[(&str, Sizes, Filter)] = &[
    ("Beit", Sizes::Square, Filter::Bicubic),
    ("BitImage", Sizes::Shorter, Filter::Bicubic),
    ("Blip", Sizes::Square, Filter::Bicubic),
    ("CLIP", Sizes::Shorter, Filter::Bicubic),
    ("ChineseCLIP", Sizes::Square, Filter::Bicubic),
    ("ConvNext", Sizes::ConvNext, Filter::Bilinear),
    ("Data2VecVision", Sizes::Square, Filter::Bicubic),
    ("DeiT", Sizes::Square, Filter::Bicubic),
    ("EfficientNet", Sizes::Square, Filter::Nearest),
    ("Levit", Sizes::Levit, Filter::Bicubic),
    ("MobileNetV1", Sizes::Shorter, Filter::Bilinear),
    ("MobileNetV2", Sizes::Shorter, Filter::Bilinear),
    ("MobileViT", Sizes::Shorter, Filter::Bilinear),
    ("Perceiver", Sizes::Perceiver, Filter::Bicubic),
    ("PoolFormer", Sizes::PoolFormer, Filter::Bicubic),
    ("Pvt", Sizes::Square, Filter::Bilinear),
    ("Segformer", Sizes::Square, Filter::Bilinear),
    ("Siglip", Sizes::Square, Filter::Bicubic),
    ("ViT", Sizes::Square, Filter::Bilinear),
];

/// `preprocessor_config.json`: resize, crop, rescale, normalise, in this order.
pub(super) fn hugging_face(object: &Map<String, Value>, notes: &mut Vec<String>) -> Card {
    let mut fields = Fields::new(object);
    let kind = fields.text("image_processor_type").or(fields.text("feature_extractor_type"));
    let row = kind.as_deref().and_then(|kind| PROCESSORS.iter().find(|(name, ..)| kind.starts_with(name)));
    if let (Some(kind), None) = (&kind, row) {
        let open = format!("preprocessor_config.json is that of the image processor {}, which is not known here", shown(kind));
        return Card { open: Some(open), ..Card::default() };
    }
    let (name, sizes, filter) = row.map_or(("", Sizes::Square, None), |&(name, sizes, filter)| (name, sizes, Some(filter)));
    let (square, resize, crop) = sized(&mut fields, sizes, filter, notes);
    let yes = |fields: &mut Fields, name: &str, default: bool| fields.get(name).and_then(Value::as_bool).unwrap_or(default);
    let factor = fields.get("rescale_factor").and_then(Value::as_f64).unwrap_or(1.0 / 255.0);
    let scale = if yes(&mut fields, "do_rescale", true) { rounded(factor * 255.0) } else { 255.0 };
    let (mean, std) = (fields.numbers("image_mean"), fields.numbers("image_std"));
    let normalises = yes(&mut fields, "do_normalize", mean.is_some() || std.is_some());
    let (mut mean, mut std) = if normalises { (mean, std) } else { (Some(vec![0.0]), Some(vec![1.0])) };
    // EfficientNet: pixels from −1 on, and the deviation twice
    if yes(&mut fields, "rescale_offset", false) {
        mean = Some(mean.unwrap_or_else(|| vec![0.0]).iter().map(|m| m + 1.0).collect());
    }
    if yes(&mut fields, "include_top", false) && normalises {
        std = std.map(|std| std.iter().map(|s| s * s).collect());
    }
    let flips = yes(&mut fields, "do_flip_channel_order", name == "MobileViT");
    fields.name_the_rest(SILENT, notes);
    let channels = flips.then_some(Channels::Bgr);
    let preprocessing =
        Preprocessing { scale: Some(scale), mean, std, channels, square, resize, crop, ..Preprocessing::default() };
    Card { preprocessing, ..Card::default() }
}

/// The middle square, the new size and the crop.
fn sized(
    fields: &mut Fields,
    sizes: Sizes,
    default: Option<Filter>,
    notes: &mut Vec<String>,
) -> (Option<Square>, Option<Resize>, Option<Crop>) {
    let yes = |fields: &mut Fields, name: &str, default: bool| fields.get(name).and_then(Value::as_bool).unwrap_or(default);
    let resizes = fields.object.contains_key("size");
    let (resizes, crops) = (yes(fields, "do_resize", resizes), yes(fields, "do_center_crop", false));
    let (size, resample) = (fields.get("size").cloned(), fields.get("resample").cloned());
    let crop_size = fields.get("crop_size").cloned();
    let crop_pct = fields.get("crop_pct").and_then(Value::as_f64).filter(|p| *p > 0.0);
    let by_edge = !matches!(sizes, Sizes::Square | Sizes::Perceiver);
    let (mut square, mut resize, mut crop) = (None, None, None);
    if crops {
        crop = match crop_size.as_ref().and_then(|size| stated_size(size, false)) {
            Some(Size::Exactly(height, width)) => Some(Crop { height, width, to_even: false }),
            _ => {
                notes.push("its crop_size is not understood, so nothing is cropped".to_owned());
                None
            }
        };
    }
    if resizes {
        let filter = match (&resample, default) {
            (Some(code), _) => code.as_u64().and_then(Filter::numbered),
            (None, Some(filter)) => {
                notes.push(format!("it resizes and states no filter; {}, that of its class, is taken", filter.name()));
                Some(filter)
            }
            (None, None) => {
                notes.push("it resizes and states no filter; bilinear is taken".to_owned());
                Some(Filter::Bilinear)
            }
        };
        match (filter, size.as_ref().and_then(|size| stated_size(size, by_edge))) {
            (Some(filter), Some(size)) => (square, resize, crop) = steps(sizes, Resize { size, filter }, crop, crop_pct),
            (None, _) => notes.push(format!("its filter resample = {} is not known", spelled(resample.as_ref()))),
            (_, None) => notes.push("its size is not understood, so nothing is resized".to_owned()),
        }
    }
    (square, resize, crop)
}

/// What a processor makes of its size and its crop.
fn steps(
    sizes: Sizes,
    stated: Resize,
    crop: Option<Crop>,
    crop_pct: Option<f64>,
) -> (Option<Square>, Option<Resize>, Option<Crop>) {
    let Resize { size, filter } = stated;
    let to = |size: Size| Some(Resize { size, filter });
    match (sizes, size) {
        (Sizes::ConvNext, Size::ShortestEdge(edge)) if edge < 384 => {
            let shorter = (edge as f64 / crop_pct.unwrap_or(224.0 / 256.0)) as usize;
            (None, to(Size::ShortestEdge(shorter)), Some(Crop { height: edge, width: edge, to_even: false }))
        }
        (Sizes::ConvNext, Size::ShortestEdge(edge)) => (None, to(Size::Exactly(edge, edge)), None),
        (Sizes::PoolFormer, Size::ShortestEdge(edge)) => {
            (None, to(Size::ShortestEdge((edge as f64 / crop_pct.unwrap_or(0.9)) as usize)), crop)
        }
        // int((256 / 224) * size), in float64
        (Sizes::Levit, Size::ShortestEdge(edge)) => (None, to(Size::ShortestEdge((256.0 / 224.0 * edge as f64) as usize)), crop),
        (Sizes::Perceiver, Size::Exactly(height, _)) => match crop {
            Some(of) => (Some(Square { part: height, of: of.height }), to(size), None),
            None => (None, to(size), None),
        },
        _ => (None, to(size), crop),
    }
}
