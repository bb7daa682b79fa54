//! Single samples: the image, the adversarial image and their difference, and everything that was measured on the sample. It lays out
//! pictures that it is given and makes none.

use minijinja::Value;
use serde::Serialize;

use super::Page;
use super::classes::class_words;
use super::policy::base64;
use crate::text::{shown, shown_to, significant};

/// One sample that an attack broke.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CloseUp {
    /// Name of the model.
    pub model: String,
    /// Threat model as written.
    pub threat: String,
    /// The attack whose example it is.
    pub attack: String,
    /// Place of the sample in the data set's canonical order.
    pub sample: u64,
    /// Its label.
    pub label: i64,
    /// What the model predicts at the adversarial example.
    pub prediction: i64,
    /// By which rule it was chosen, as a clause.
    pub rule: String,
    /// Distance of the example in the norm of the threat model.
    pub distance: f64,
    /// The pictures.
    pub pictures: Pictures,
    /// Everything that was measured on the sample, by name, as it is to be read.
    pub measured: Vec<(String, String)>,
}

/// The pictures of a [`CloseUp`], as PNG files of one size.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pictures {
    /// The image of the data set.
    pub clean: Vec<u8>,
    /// The adversarial example.
    pub adversarial: Vec<u8>,
    /// The difference; grey is none.
    pub difference: Vec<u8>,
    /// Width and height in pixels.
    pub size: (usize, usize),
    /// By what the difference was multiplied.
    pub magnified: f64,
    /// What a reader must know about how the picture was made, as a sentence; may be empty.
    pub note: String,
}

/// The samples of one model under one threat model.
#[derive(Serialize)]
pub(super) struct ShownCloseUps {
    title: String,
    samples: Vec<ShownCloseUp>,
}

#[derive(Serialize)]
struct ShownCloseUp {
    heading: String,
    rule: String,
    attack: String,
    distance: String,
    magnified: String,
    note: String,
    clean: Value,
    adversarial: Value,
    difference: Value,
    /// Width and height at which the pictures are shown.
    size: (usize, usize),
    measured: Vec<(String, String)>,
}

/// Length of the longer side of a picture on the page.
const SHOWN: usize = 96;

/// The groups, of which all together show at most `limit` samples, and how many samples were left out.
pub(super) fn shown_closeups(page: &Page, limit: usize) -> (Vec<ShownCloseUps>, usize) {
    let mut groups: Vec<((&str, &str), Vec<&CloseUp>)> = Vec::new();
    for closeup in &page.closeups {
        let key = (closeup.model.as_str(), closeup.threat.as_str());
        match groups.iter_mut().find(|group| group.0 == key) {
            Some(group) => group.1.push(closeup),
            None => groups.push((key, vec![closeup])),
        }
    }
    let each = (limit / groups.len().max(1)).max(1);
    let (mut left, mut left_out) = (limit, 0);
    let mut all = Vec::new();
    for ((model, threat), samples) in groups {
        let count = samples.len().min(each).min(left);
        left -= count;
        left_out += samples.len() - count;
        if count > 0 {
            let samples = samples[..count].iter().map(|sample| shown_closeup(sample, &page.class_names)).collect();
            all.push(ShownCloseUps { title: format!("{}, {}", shown(model), shown(threat)), samples });
        }
    }
    (all, left_out)
}

fn shown_closeup(closeup: &CloseUp, names: &[String]) -> ShownCloseUp {
    let pictures = &closeup.pictures;
    let longer = pictures.size.0.max(pictures.size.1).max(1);
    let scaled = |side: usize| (side * SHOWN / longer).max(1);
    ShownCloseUp {
        heading: format!(
            "sample {}: {} becomes {}",
            closeup.sample,
            class_words(names, closeup.label),
            class_words(names, closeup.prediction)
        ),
        rule: shown_to(&closeup.rule, 200),
        attack: shown(&closeup.attack),
        distance: significant(closeup.distance, 3),
        magnified: significant(pictures.magnified, 3),
        note: shown_to(&pictures.note, 200),
        clean: png(&pictures.clean),
        adversarial: png(&pictures.adversarial),
        difference: png(&pictures.difference),
        size: (scaled(pictures.size.0), scaled(pictures.size.1)),
        measured: closeup.measured.iter().take(60).map(|(name, value)| (shown(name), shown(value))).collect(),
    }
}

/// A PNG file as the address of an image. Base64 has no character that HTML reads.
fn png(bytes: &[u8]) -> Value {
    Value::from_safe_string(format!("data:image/png;base64,{}", base64(bytes)))
}
