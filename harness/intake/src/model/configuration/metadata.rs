//! The standard metadata of images inside an ONNX file: `Image.BitmapPixelFormat`, `Image.ColorSpaceGamma`,
//! `Image.NominalPixelRange`; and the names of classes that exporters store under keys of their own.

use flatscape_graph::shown;

use super::Statement;
use super::names;
use crate::card::{Card, Channels, Preprocessing};

/// Pixel formats and the channels that they mean.
const FORMATS: &[(&str, Channels)] = &[
    ("gray8", Channels::Gray),
    ("gray16", Channels::Gray),
    ("rgb8", Channels::Rgb),
    ("rgb16", Channels::Rgb),
    ("rgba8", Channels::Rgb),
    ("bgr8", Channels::Bgr),
    ("bgra8", Channels::Bgr),
];

/// Ranges of pixels, with the scale and the mean that lead from [0,1] to them.
const RANGES: &[(&str, f64, f64)] = &[
    ("nominalrange_0_255", 255.0, 0.0),
    ("normalized_0_1", 1.0, 0.0),
    ("normalized_1_1", 2.0, 1.0),
    ("nominalrange_16_235", 219.0, -16.0),
];

/// Keys under which exporters store names of classes.
const NAMES: &[&str] = &["names", "classes", "class_names", "labels", "id2label"];

/// What the metadata of a file say about images and classes.
pub(in crate::model) fn of_images(metadata: &[(String, String)]) -> Vec<Statement> {
    let get = |key: &str| metadata.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v.trim());
    let mut statements = Vec::new();
    let mut pixels = Preprocessing::default();
    let mut open = None;
    if let Some(format) = get("Image.BitmapPixelFormat") {
        match FORMATS.iter().find(|(name, _)| name.eq_ignore_ascii_case(format)) {
            Some((_, channels)) => pixels.channels = Some(*channels),
            None => open = Some(format!("Image.BitmapPixelFormat of its metadata is {}, which is not known here", shown(format))),
        }
    }
    if let Some(range) = get("Image.NominalPixelRange") {
        match RANGES.iter().find(|(name, ..)| name.eq_ignore_ascii_case(range)) {
            Some(&(_, scale, mean)) => {
                (pixels.scale, pixels.mean) = (Some(scale), Some(vec![mean]));
                pixels.std = Some(vec![1.0]);
            }
            None => open = Some(format!("Image.NominalPixelRange of its metadata is {}, which is not known here", shown(range))),
        }
    }
    if let Some(gamma) = get("Image.ColorSpaceGamma").filter(|gamma| !gamma.eq_ignore_ascii_case("srgb")) {
        open = Some(format!(
            "Image.ColorSpaceGamma of its metadata is {}, and pixels are fed as they are stored (SRGB)",
            shown(gamma)
        ));
    }
    if pixels != Preprocessing::default() || open.is_some() {
        let card = Card { preprocessing: pixels, open, ..Card::default() };
        statements.push(Statement { source: "its metadata (Image.*)".to_owned(), card, notes: Vec::new() });
    }
    if let Some((key, classes)) = NAMES.iter().find_map(|key| Some((*key, names::of_text(get(key)?)?))) {
        let card = Card { classes, ..Card::default() };
        statements.push(Statement { source: format!("its metadata ({key})"), card, notes: Vec::new() });
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(pairs: &[(&str, &str)]) -> Card {
        let metadata: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        of_images(&metadata).into_iter().fold(Card::default(), |card, s| card.or(s.card))
    }

    /// x in [0,1] becomes scale·x − mean, which must be the range at 0 and at 1.
    #[test]
    fn ranges_are_those_of_the_standard() {
        for (range, low, high) in [
            ("NominalRange_0_255", 0.0, 255.0),
            ("Normalized_0_1", 0.0, 1.0),
            ("Normalized_1_1", -1.0, 1.0),
            ("NominalRange_16_235", 16.0, 235.0),
        ] {
            let pixels = card(&[("Image.NominalPixelRange", range)]).preprocessing;
            let (scale, mean) = (pixels.scale.expect("a scale"), pixels.mean.expect("a mean")[0]);
            assert_eq!((-mean, scale - mean), (low, high), "{range}");
        }
    }

    #[test]
    fn formats_and_names_are_read_and_what_is_not_known_stays_open() {
        assert_eq!(card(&[("Image.BitmapPixelFormat", "Bgr8")]).preprocessing.channels, Some(Channels::Bgr));
        assert_eq!(card(&[("Image.BitmapPixelFormat", "Gray8")]).preprocessing.channels, Some(Channels::Gray));
        assert!(card(&[("Image.BitmapPixelFormat", "Yuv2")]).open.is_some());
        assert!(card(&[("Image.ColorSpaceGamma", "Linear")]).open.is_some());
        assert_eq!(card(&[("Image.ColorSpaceGamma", "SRGB")]), Card::default());
        assert_eq!(card(&[("names", "{0: 'cat', 1: 'dog'}")]).classes, ["cat", "dog"]);
    }
}
