//! The landscapes of the page: still pictures by sample and directions, and the numbers from which the script turns them. It knows
//! nothing about HTML.

use std::collections::BTreeMap;

use minijinja::Value;
use serde::Serialize;

use super::Page;
use super::classes::class_words;
use crate::error::ReportError;
use crate::landscape::{BOX_HEIGHT, EYE, axes_in_words, bare_svg, centre, colour_bar_svg, radii_in_words, spelled, ticks};
use crate::palette::{ALARM, height_colour};
use crate::surface::{Surface, range_of};
use crate::text::{shown, shown_to, significant};

#[derive(Serialize)]
pub(super) struct LandscapeGroup {
    title: String,
    landscapes: Vec<Landscape>,
    bar: Value,
    axes: String,
    marks: &'static str,
    radii: Option<String>,
    thinned: bool,
}

#[derive(Serialize)]
struct Landscape {
    index: usize,
    heading: String,
    about: String,
    picture: Value,
}

/// What the page's script reads.
#[derive(Serialize)]
struct ScriptData {
    eye: (f64, f64),
    #[serde(rename = "box")]
    box_height: f64,
    colours: Vec<String>,
    alarm: String,
    scales: Vec<Scale>,
    surfaces: Vec<ScriptSurface>,
    /// The classes that surfaces predict, by number, in words.
    classes: BTreeMap<i64, String>,
}

/// One scale of heights, shared by all surfaces of a kind.
#[derive(Serialize)]
struct Scale {
    range: (f64, f64),
    ticks: Vec<(f64, String)>,
}

#[derive(Serialize)]
struct ScriptSurface {
    scale: usize,
    pixels: bool,
    x: Vec<Option<f64>>,
    y: Vec<Option<f64>>,
    x_words: [String; 3],
    y_words: [String; 3],
    /// Heights by row; `null` where not finite.
    z: Vec<Option<f64>>,
    classes: Vec<i64>,
    /// Place of the clean sample.
    centre: Option<usize>,
    /// The balls of the marked radii: places along both axes in [-1, 1] and the height, `null` where there is none.
    rings: Vec<Vec<[Option<f64>; 3]>>,
    /// Runs of cells whose class is not that of the clean sample: row, first column, column after the last.
    moved: Vec<(usize, usize, usize)>,
}

/// The landscapes by sample and directions, and what the script needs to turn them.
pub(super) fn landscapes(page: &Page, most: usize, grid: usize) -> Result<(Vec<LandscapeGroup>, Value), ReportError> {
    let surfaces: Vec<&Surface> = page.surfaces.iter().take(most).collect();
    let mut groups: Vec<(LandscapeGroup, usize)> = Vec::new();
    let mut group_places: BTreeMap<(&str, u64, &str, &str), usize> = BTreeMap::new();
    let mut scale_places: BTreeMap<bool, usize> = BTreeMap::new();
    let mut data = ScriptData {
        eye: EYE,
        box_height: BOX_HEIGHT,
        colours: (0..64).map(|k| height_colour(f64::from(k) / 63.0, (0.0, 1.0)).hex()).collect(),
        alarm: ALARM.hex(),
        scales: Vec::new(),
        surfaces: Vec::new(),
        classes: BTreeMap::new(),
    };
    for (index, &surface) in surfaces.iter().enumerate() {
        let scale = *scale_places.entry(surface.is_likelihood()).or_insert_with(|| {
            let range = range_of(page.surfaces.iter().filter(|other| other.is_likelihood() == surface.is_likelihood()));
            data.scales.push(Scale { range, ticks: ticks(range).into_iter().map(|tick| (tick, significant(tick, 3))).collect() });
            data.scales.len() - 1
        });
        let range = data.scales[scale].range;
        let key = (surface.kind.as_str(), surface.sample_id, surface.x_axis.name.as_str(), surface.y_axis.name.as_str());
        let group = *group_places.entry(key).or_insert_with(|| {
            let group = LandscapeGroup {
                title: title(surface, &page.class_names),
                landscapes: Vec::new(),
                bar: Value::from_safe_string(colour_bar_svg(range, surface.height_name())),
                axes: shown_to(&axes_in_words(surface), 400),
                marks: match surface.in_pixels() {
                    true => "ring: the clean sample · red on the floor: the predicted class changes",
                    false => "ring: the weights of the file",
                },
                radii: radii_in_words(surface),
                thinned: false,
            };
            groups.push((group, scale));
            groups.len() - 1
        });
        let group = &mut groups[group].0;
        let drawn = surface.thinned(grid);
        group.thinned |=
            drawn.x_axis.values.len() < surface.x_axis.values.len() || drawn.y_axis.values.len() < surface.y_axis.values.len();
        let left_out = surface.points_without_height();
        let about = if left_out > 0 { format!("{left_out} points without a finite value are left out") } else { String::new() };
        let picture = Value::from_safe_string(bare_svg(&drawn, range));
        group.landscapes.push(Landscape { index, heading: shown_to(surface.heading(), 60), about, picture });
        for &class in &drawn.predicted {
            if data.classes.len() < NAMED_CLASSES {
                data.classes.entry(class).or_insert_with(|| class_words(&page.class_names, class));
            }
        }
        data.surfaces.push(script_surface(&drawn, scale));
    }
    let json = serde_json::to_string(&data)?;
    Ok((groups.into_iter().map(|(group, _)| group).collect(), Value::from_safe_string(inert(&json))))
}

/// Most classes that the script can name.
const NAMED_CLASSES: usize = 1000;

/// What is drawn, around which sample, and along which directions.
fn title(surface: &Surface, names: &[String]) -> String {
    let around = format!("{} around {}", surface.height_name(), surface.around(&class_words(names, surface.label)));
    match surface.x_axis.name.as_str() {
        "" => around,
        first => format!("{around}, along {} and {}", shown(first), shown(&surface.y_axis.name)),
    }
}

fn script_surface(surface: &Surface, scale: usize) -> ScriptSurface {
    let (columns, rows) = (surface.x_axis.values.len(), surface.y_axis.values.len());
    let at = centre(surface);
    let clean = at.and_then(|(i, j)| surface.class(i, j));
    let mut moved = Vec::new();
    for j in (0..rows).filter(|_| clean.is_some()) {
        let mut from = None;
        for i in 0..=columns {
            let other = i < columns && surface.class(i, j).is_some_and(|class| Some(class) != clean);
            match (other, from) {
                (true, None) => from = Some(i),
                (false, Some(first)) => {
                    moved.push((j, first, i));
                    from = None;
                }
                _ => {}
            }
        }
    }
    let words = |values: &[f64]| {
        let spelled = |value: Option<f64>| value.map_or_else(String::new, |value| spelled(surface, value));
        let (first, last) = (values.first().copied(), values.last().copied());
        [spelled(first), spelled(first.zip(last).map(|(first, last)| (first + last) / 2.0)), spelled(last)]
    };
    ScriptSurface {
        scale,
        pixels: surface.in_pixels(),
        x: surface.x_axis.values.iter().map(|&value| short(value)).collect(),
        y: surface.y_axis.values.iter().map(|&value| short(value)).collect(),
        x_words: words(&surface.x_axis.values),
        y_words: words(&surface.y_axis.values),
        z: (0..rows).flat_map(|j| (0..columns).map(move |i| short(surface.height(i, j)))).collect(),
        classes: surface.predicted.iter().copied().take(columns * rows).collect(),
        rings: surface.rings().into_iter().map(|ring| ring.into_iter().map(|(x, y, z)| [x, y, z].map(short)).collect()).collect(),
        centre: at.map(|(i, j)| j * columns + i),
        moved,
    }
}

/// Four significant digits; `None` where not finite.
fn short(value: f64) -> Option<f64> {
    if value.is_finite() { format!("{value:.3e}").parse().ok() } else { None }
}

/// JSON that cannot end or open an HTML element.
fn inert(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out += &format!("\\u{:04x}", u32::from(character)),
            other => out.push(other),
        }
    }
    out
}
