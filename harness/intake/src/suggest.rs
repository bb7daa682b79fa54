//! Suggestions for a model with poor clean accuracy: tries the usual preprocessing mistakes on the images and says which correction
//! would help. It suggests and never applies.

use flatscape_engine::{CompileOptions, Engine, EngineError};
use flatscape_graph::Tensor;

use crate::card::Layout;
use crate::data::Dataset;
use crate::hazards::NORMALISATIONS;
use crate::model::{Model, Pixels};
use crate::refusal::Refusal;
use crate::scores::argmax;

/// A usual mistake in preprocessing.
pub struct Mistake {
    /// What is confused.
    pub what: &'static str,
    /// Other ways of feeding, given one and the shape (C, H, W) of the images.
    alternatives: fn(&Feeding, [usize; 3]) -> Vec<Feeding>,
}

/// The mistakes that are tried, each with each. Labels that are off by one are read off every try.
pub const MISTAKES: &[Mistake] = &[
    Mistake { what: "scale, mean and deviation", alternatives: normalisations },
    Mistake { what: "RGB and BGR", alternatives: channel_order },
    Mistake { what: "rows and columns", alternatives: orientation },
    Mistake { what: "planes and pixels in a row", alternatives: interleaving },
    Mistake { what: "dark and light", alternatives: colours },
];

/// Offsets of labels that are tried.
const OFFSETS: &[i64] = &[0, 1, -1];

/// Images per try, and for the ways that look best; for images of more than [`SMALL`] pixels a quarter of that.
const FIRST: usize = 50;
const THEN: usize = 200;

/// Pixels up to which every mistake is tried with every other.
const SMALL: usize = 64 * 64;

/// How many ways are tried on more images.
const KEPT: usize = 8;

/// How much better a way must be to be suggested.
const GAIN: f64 = 0.2;

/// A way of turning pixels in [0,1] into the input of a model: turn, then (scale·x − mean)/std per channel.
#[derive(Clone, Debug, PartialEq)]
struct Feeding {
    scale: f64,
    mean: Vec<f64>,
    std: Vec<f64>,
    layout: Layout,
    reversed: bool,
    transposed: bool,
    interleaved: bool,
    inverted: bool,
}

/// Ways of feeding the model that would give at least 20 points more clean accuracy, as sentences with the flags that ask for them;
/// the simplest of the best. `accuracy` is what was measured.
///
/// # Errors
/// An engine error.
pub fn suggest(engine: &dyn Engine, model: &Model, data: &Dataset, accuracy: f64) -> Result<Vec<String>, Refusal> {
    let executable = engine.compile(&model.graph, &CompileOptions::default()).map_err(failed)?;
    let stated = Feeding::of(&model.pixels);
    let shape = data.shape;
    let part = if shape[1] * shape[2] > SMALL { 4 } else { 1 };
    let (first, then) = (FIRST / part, THEN / part);
    let mut ways = vec![stated.clone()];
    for mistake in MISTAKES {
        let more: Vec<Feeding> = ways.iter().flat_map(|way| (mistake.alternatives)(way, shape)).collect();
        ways.extend(more);
    }
    let rate = |way: &Feeding, n: usize| -> Result<Vec<(i64, f64)>, EngineError> {
        let batch = data.batch(0..n.min(data.len()));
        let x = way.as_pixels_of(&stated, &batch.x, shape);
        let x = executable.upload(&x)?;
        let logits = executable.run(&[&x])?.first().map_or_else(|| Ok(Tensor::scalar(0f32)), |o| o.host())?.to_f64();
        let rows: Vec<Option<usize>> = logits.chunks(model.classes.max(1)).map(argmax).collect();
        let share = |offset: i64| {
            let right = rows.iter().zip(&batch.y).filter(|(p, y)| p.is_some_and(|p| p as i64 == **y + offset)).count();
            right as f64 / batch.y.len().max(1) as f64
        };
        Ok(OFFSETS.iter().map(|&offset| (offset, share(offset))).collect())
    };
    // few images first, for every way; more for those that look best
    let mut tried: Vec<(usize, i64, f64)> = Vec::new();
    for (index, way) in ways.iter().enumerate() {
        tried.extend(rate(way, first).map_err(failed)?.into_iter().map(|(offset, share)| (index, offset, share)));
    }
    tried.sort_by(|a, b| b.2.total_cmp(&a.2).then(simplicity(&ways, &stated, a).cmp(&simplicity(&ways, &stated, b))));
    let mut better: Vec<(usize, i64, f64)> = Vec::new();
    for &(index, offset, _) in tried.iter().take(KEPT) {
        let shares = rate(&ways[index], then).map_err(failed)?;
        better.extend(shares.into_iter().filter(|(o, _)| *o == offset).map(|(o, share)| (index, o, share)));
    }
    let best = better.iter().map(|b| b.2).fold(0.0, f64::max);
    let near = better.iter().filter(|b| b.2 >= best - 0.01 && b.2 >= accuracy + GAIN);
    let n = then.min(data.len());
    let chosen = near.min_by_key(|b| (simplicity(&ways, &stated, b), (1e6 * (1.0 - b.2)) as u64));
    Ok(chosen
        .map(|&(index, offset, share)| {
            let how = ways[index].described(&stated, offset + data.label_offset, offset != 0);
            format!("{how} the clean accuracy on {n} images would be {:.1} %, not {:.1} %", 100.0 * share, 100.0 * accuracy)
        })
        .into_iter()
        .collect())
}

/// How many settings would have to change.
fn simplicity(ways: &[Feeding], stated: &Feeding, tried: &(usize, i64, f64)) -> usize {
    let way = &ways[tried.0];
    let normalised = way.scale != stated.scale || way.mean != stated.mean || way.std != stated.std;
    let flips = [normalised, way.reversed, way.transposed, way.interleaved, way.inverted, tried.1 != 0];
    flips.iter().filter(|&&f| f).count()
}

fn failed(error: EngineError) -> Refusal {
    Refusal::engine(6, error.to_string())
}

impl Feeding {
    fn of(pixels: &Pixels) -> Feeding {
        Feeding {
            scale: pixels.scale,
            mean: pixels.mean.clone(),
            std: pixels.std.clone(),
            layout: pixels.layout,
            reversed: false,
            transposed: false,
            interleaved: false,
            inverted: false,
        }
    }

    /// Images such that the graph, which feeds them as `stated`, hands the model what this way of feeding would.
    fn as_pixels_of(&self, stated: &Feeding, x: &Tensor, [c, h, w]: [usize; 3]) -> Tensor {
        let at = |list: &[f64], channel: usize| list[if list.len() == 1 { 0 } else { channel }];
        let size = c * h * w;
        let pixels = x.to_f64();
        let mut fed = vec![0f32; pixels.len()];
        for (image, out) in pixels.chunks(size.max(1)).zip(fed.chunks_mut(size.max(1))) {
            for channel in 0..c {
                let from = if self.reversed { c - 1 - channel } else { channel };
                for row in 0..h {
                    for column in 0..w {
                        let v = image[(from * h + row) * w + column];
                        let v = if self.inverted { 1.0 - v } else { v };
                        let u = (self.scale * v - at(&self.mean, channel)) / at(&self.std, channel);
                        let place = match (self.interleaved, self.transposed) {
                            (true, _) => (row * w + column) * c + channel,
                            (false, true) => (channel * w + column) * h + row,
                            (false, false) => (channel * h + row) * w + column,
                        };
                        // undone in the channel in whose place the value lands
                        let lands = place / (h * w);
                        out[place] = ((u * at(&stated.std, lands) + at(&stated.mean, lands)) / stated.scale) as f32;
                    }
                }
            }
        }
        Tensor::new(x.shape(), fed).unwrap_or_else(|| x.clone())
    }

    /// `with --scale 255`, `with --scale 1 and the channels in the order BGR`.
    fn described(&self, stated: &Feeding, label_offset: i64, moved: bool) -> String {
        let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        let mut parts = Vec::new();
        if self.scale != stated.scale {
            parts.push(format!("--scale {}", self.scale));
        }
        if self.mean != stated.mean || self.std != stated.std {
            parts.push(format!("--mean {} --std {}", list(&self.mean), list(&self.std)));
        }
        let mut parts = if parts.is_empty() { Vec::new() } else { vec![parts.join(" ")] };
        if self.transposed {
            parts.push(match self.layout {
                Layout::Flat => "--layout flat-columns".to_owned(),
                Layout::FlatColumns => "--layout flat".to_owned(),
                _ => "rows and columns of the images exchanged (there is no flag: transpose the data)".to_owned(),
            });
        }
        if self.reversed {
            parts
                .push("the channels of the images reversed, BGR for RGB (there is no flag: reverse them in the data)".to_owned());
        }
        if self.interleaved {
            parts.push(
                "the channels of each pixel together in the row (there is no flag: export the model for images)".to_owned(),
            );
        }
        if self.inverted {
            parts.push("the images inverted, dark for light (there is no flag: invert the data)".to_owned());
        }
        if moved {
            parts.push(format!("--label-offset {label_offset}"));
        }
        format!("with {}", parts.join(" and "))
    }
}

/// Every usual scale, mean and deviation but the one that is there.
fn normalisations(way: &Feeding, [channels, ..]: [usize; 3]) -> Vec<Feeding> {
    let plain = [(1.0, vec![0.0], vec![1.0]), (255.0, vec![0.0], vec![1.0])];
    let known = NORMALISATIONS
        .iter()
        .filter(|(_, mean, _)| mean.len() == 1 || mean.len() == channels)
        .map(|(_, mean, std)| (1.0, mean.to_vec(), std.to_vec()));
    // means alone, of 0..255, in either order
    let caffe = vec![123.68, 116.779, 103.939];
    let around =
        (channels == 3).then(|| [(255.0, caffe.clone(), vec![1.0]), (255.0, caffe.iter().rev().copied().collect(), vec![1.0])]);
    let every = plain.into_iter().chain(known).chain(around.into_iter().flatten());
    let other = |(scale, mean, std): (f64, Vec<f64>, Vec<f64>)| {
        let same = |a: &[f64], b: &[f64]| a.iter().zip(b.iter().cycle()).all(|(a, b)| a == b);
        let there = scale == way.scale && same(&way.mean, &mean) && same(&way.std, &std);
        (!there).then(|| Feeding { scale, mean, std, ..way.clone() })
    };
    every.filter_map(other).collect()
}

fn channel_order(way: &Feeding, [channels, ..]: [usize; 3]) -> Vec<Feeding> {
    if channels == 3 { vec![Feeding { reversed: true, ..way.clone() }] } else { Vec::new() }
}

fn orientation(way: &Feeding, [_, h, w]: [usize; 3]) -> Vec<Feeding> {
    let in_a_row = matches!(way.layout, Layout::Flat | Layout::FlatColumns);
    if (h == w || in_a_row) && h * w <= SMALL { vec![Feeding { transposed: true, ..way.clone() }] } else { Vec::new() }
}

fn interleaving(way: &Feeding, [channels, ..]: [usize; 3]) -> Vec<Feeding> {
    let possible = channels > 1 && way.layout == Layout::Flat && !way.transposed;
    if possible { vec![Feeding { interleaved: true, ..way.clone() }] } else { Vec::new() }
}

fn colours(way: &Feeding, [_, h, w]: [usize; 3]) -> Vec<Feeding> {
    if h * w <= SMALL { vec![Feeding { inverted: true, ..way.clone() }] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Feeding {
        Feeding {
            scale: 1.0,
            mean: vec![0.0],
            std: vec![1.0],
            layout: Layout::Nchw,
            reversed: false,
            transposed: false,
            interleaved: false,
            inverted: false,
        }
    }

    /// (s·x' − m)/d of what is fed must be what the other way makes of x.
    #[test]
    fn what_is_fed_undoes_what_was_stated() {
        let stated = Feeding { mean: vec![0.1, 0.2, 0.3], std: vec![0.5, 0.25, 2.0], scale: 2.0, ..plain() };
        let x = Tensor::new(&[1, 3, 1, 2], vec![0.0f32, 0.1, 0.2, 0.3, 0.4, 0.5]).expect("six numbers");
        let fed = |way: &Feeding| {
            let fed = way.as_pixels_of(&stated, &x, [3, 1, 2]).to_f64();
            let seen = fed.iter().enumerate().map(|(i, v)| (2.0 * v - stated.mean[i / 2]) / stated.std[i / 2]);
            seen.map(|v| (v * 1e4).round() / 1e4).collect::<Vec<f64>>()
        };
        assert_eq!(fed(&plain()), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]);
        assert_eq!(fed(&Feeding { reversed: true, scale: 255.0, ..plain() }), [102.0, 127.5, 51.0, 76.5, 0.0, 25.5]);
        assert_eq!(fed(&Feeding { inverted: true, ..plain() }), [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]);
        assert_eq!(fed(&Feeding { interleaved: true, ..plain() }), [0.0, 0.2, 0.4, 0.1, 0.3, 0.5]);
        let square = Tensor::new(&[1, 1, 2, 2], vec![0.0f32, 0.1, 0.2, 0.3]).expect("four numbers");
        let turned = Feeding { transposed: true, ..plain() }.as_pixels_of(&plain(), &square, [1, 2, 2]).to_vec::<f32>();
        assert_eq!(turned.expect("floats"), [0.0, 0.2, 0.1, 0.3]);
    }

    #[test]
    fn every_mistake_offers_something_else() {
        for mistake in MISTAKES {
            let layout = if mistake.what.starts_with("planes") { Layout::Flat } else { Layout::Nchw };
            let stated = Feeding { layout, ..plain() };
            let others = (mistake.alternatives)(&stated, [3, 8, 8]);
            assert!(!others.is_empty() && !others.contains(&stated), "{}", mistake.what);
        }
    }

    #[test]
    fn suggestions_are_flags_where_there_are_some() {
        let way = Feeding { scale: 255.0, ..plain() };
        assert_eq!(way.described(&plain(), 0, false), "with --scale 255");
        let way = Feeding { mean: vec![0.5], std: vec![0.5], layout: Layout::Flat, transposed: true, ..plain() };
        assert_eq!(way.described(&plain(), 1, true), "with --mean 0.5 --std 0.5 and --layout flat-columns and --label-offset 1");
    }
}
