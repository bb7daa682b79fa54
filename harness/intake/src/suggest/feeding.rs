//! A way of turning pixels in [0,1] into the input of a model, and the images that make a model which is fed in one way see what it
//! would see if it were fed in another.

use flatscape_graph::Tensor;

use crate::card::{Channels, Layout};
use crate::hazards::NORMALISATIONS;
use crate::model::Pixels;

/// Pixels up to which rows and columns, and dark and light, are exchanged.
pub(super) const SMALL: usize = 64 * 64;

/// Channels in an order, inverted or not, then (scale·x − mean)/std per channel, then laid out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Feeding {
    pub(super) scale: f64,
    pub(super) mean: Vec<f64>,
    pub(super) std: Vec<f64>,
    pub(super) layout: Layout,
    pub(super) reversed: bool,
    pub(super) inverted: bool,
}

/// A usual mistake in preprocessing.
pub struct Mistake {
    /// What is confused.
    pub what: &'static str,
    /// Other ways of feeding, given one and the shape (C, H, W) of the images.
    pub(super) alternatives: fn(&Feeding, [usize; 3]) -> Vec<Feeding>,
}

/// The mistakes that are tried, each with each where the clean accuracy is poor. Labels that are off by one are read off every try.
pub const MISTAKES: &[Mistake] = &[
    Mistake { what: "scale, mean and deviation", alternatives: normalisations },
    Mistake { what: "RGB and BGR", alternatives: channel_order },
    Mistake { what: "rows and columns", alternatives: orientation },
    Mistake { what: "planes and pixels in a row", alternatives: interleaving },
    Mistake { what: "dark and light", alternatives: colours },
];

fn at(list: &[f64], channel: usize) -> f64 {
    list[if list.len() == 1 { 0 } else { channel }]
}

impl Feeding {
    pub(super) fn of(pixels: &Pixels) -> Feeding {
        Feeding {
            scale: pixels.scale,
            mean: pixels.mean.clone(),
            std: pixels.std.clone(),
            layout: pixels.layout,
            reversed: pixels.reversed,
            inverted: pixels.inverted,
        }
    }

    /// Whether pixels are only scaled.
    pub(super) fn is_plain(&self) -> bool {
        self.mean.iter().all(|&m| m == 0.0) && self.std.iter().all(|&s| s == 1.0)
    }

    /// How many settings differ.
    pub(super) fn changes(&self, stated: &Feeding) -> usize {
        let normalised = self.scale != stated.scale || self.mean != stated.mean || self.std != stated.std;
        let others = [self.reversed != stated.reversed, self.inverted != stated.inverted, self.layout != stated.layout];
        usize::from(normalised) + others.iter().filter(|&&o| o).count()
    }

    /// The place of a value in the memory of the input.
    fn place(&self, [c, h, w]: [usize; 3], channel: usize, row: usize, column: usize) -> usize {
        match self.layout {
            Layout::Nchw | Layout::Flat => (channel * h + row) * w + column,
            Layout::Ncwh | Layout::FlatColumns => (channel * w + column) * h + row,
            Layout::Nhwc | Layout::FlatPixels => (row * w + column) * c + channel,
            Layout::Nwhc => (column * h + row) * c + channel,
        }
    }

    fn channel(&self, channel: usize, channels: usize) -> usize {
        if self.reversed { channels - 1 - channel } else { channel }
    }

    /// Images such that the graph, which feeds them as `stated`, hands the model what this way of feeding would.
    pub(super) fn as_pixels_of(&self, stated: &Feeding, x: &Tensor, shape: [usize; 3]) -> Tensor {
        let [c, h, w] = shape;
        let size = c * h * w;
        let pixels = x.to_f64();
        let mut fed = vec![0f32; pixels.len()];
        let mut seen = vec![0f64; size];
        let places = || (0..c).flat_map(|k| (0..h).flat_map(move |i| (0..w).map(move |j| (k, i, j))));
        for (image, out) in pixels.chunks(size.max(1)).zip(fed.chunks_mut(size.max(1))) {
            for (channel, row, column) in places() {
                let v = image[(self.channel(channel, c) * h + row) * w + column];
                let v = if self.inverted { 1.0 - v } else { v };
                let u = (self.scale * v - at(&self.mean, channel)) / at(&self.std, channel);
                seen[self.place(shape, channel, row, column)] = u;
            }
            for (channel, row, column) in places() {
                let u = seen[stated.place(shape, channel, row, column)];
                let v = (u * at(&stated.std, channel) + at(&stated.mean, channel)) / stated.scale;
                let v = if stated.inverted { 1.0 - v } else { v };
                out[(stated.channel(channel, c) * h + row) * w + column] = v as f32;
            }
        }
        Tensor::new(x.shape(), fed).unwrap_or_else(|| x.clone())
    }

    /// The flags that ask for what differs: `--scale 255`, `--scale 1 and --channels bgr`.
    pub(super) fn described(&self, stated: &Feeding, offset: Option<i64>) -> String {
        let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        let mut normalised = Vec::new();
        if self.scale != stated.scale {
            normalised.push(format!("--scale {}", self.scale));
        }
        if self.mean != stated.mean || self.std != stated.std {
            normalised.push(format!("--mean {} --std {}", list(&self.mean), list(&self.std)));
        }
        let mut parts = if normalised.is_empty() { Vec::new() } else { vec![normalised.join(" ")] };
        if self.layout != stated.layout {
            parts.push(format!("--layout {}", self.layout.name()));
        }
        if self.reversed != stated.reversed {
            let channels = if self.reversed { Channels::Bgr } else { Channels::Rgb };
            parts.push(format!("--channels {}", channels.name()));
        }
        match (self.inverted, stated.inverted) {
            (true, false) => parts.push("--invert".to_owned()),
            (false, true) => parts.push("no --invert".to_owned()),
            _ => {}
        }
        parts.extend(offset.map(|offset| format!("--label-offset {offset}")));
        parts.join(" and ")
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
        let same = |a: &[f64], b: &[f64]| (0..channels).all(|i| at(a, i) == at(b, i));
        let there = scale == way.scale && same(&way.mean, &mean) && same(&way.std, &std);
        (!there).then(|| Feeding { scale, mean, std, ..way.clone() })
    };
    every.filter_map(other).collect()
}

fn channel_order(way: &Feeding, [channels, ..]: [usize; 3]) -> Vec<Feeding> {
    if channels == 3 { vec![Feeding { reversed: !way.reversed, ..way.clone() }] } else { Vec::new() }
}

fn orientation(way: &Feeding, [_, h, w]: [usize; 3]) -> Vec<Feeding> {
    let layout = match way.layout {
        Layout::Flat => Layout::FlatColumns,
        Layout::FlatColumns => Layout::Flat,
        Layout::Nchw if h == w => Layout::Ncwh,
        Layout::Ncwh if h == w => Layout::Nchw,
        Layout::Nhwc if h == w => Layout::Nwhc,
        Layout::Nwhc if h == w => Layout::Nhwc,
        _ => return Vec::new(),
    };
    if h * w <= SMALL { vec![Feeding { layout, ..way.clone() }] } else { Vec::new() }
}

fn interleaving(way: &Feeding, [channels, ..]: [usize; 3]) -> Vec<Feeding> {
    let layout = match way.layout {
        Layout::Flat => Layout::FlatPixels,
        Layout::FlatPixels => Layout::Flat,
        _ => return Vec::new(),
    };
    if channels > 1 { vec![Feeding { layout, ..way.clone() }] } else { Vec::new() }
}

fn colours(way: &Feeding, [_, h, w]: [usize; 3]) -> Vec<Feeding> {
    if h * w <= SMALL { vec![Feeding { inverted: !way.inverted, ..way.clone() }] } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Feeding {
        Feeding { scale: 1.0, mean: vec![0.0], std: vec![1.0], layout: Layout::Nchw, reversed: false, inverted: false }
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
        assert_eq!(fed(&Feeding { layout: Layout::FlatPixels, ..plain() }), [0.0, 0.2, 0.4, 0.1, 0.3, 0.5]);
        let square = Tensor::new(&[1, 1, 2, 2], vec![0.0f32, 0.1, 0.2, 0.3]).expect("four numbers");
        let turned = Feeding { layout: Layout::Ncwh, ..plain() }.as_pixels_of(&plain(), &square, [1, 2, 2]).to_vec::<f32>();
        assert_eq!(turned.expect("floats"), [0.0, 0.2, 0.1, 0.3]);
    }

    /// Every way fed as itself is the identity, also where the stated one reverses, inverts and turns.
    #[test]
    fn a_way_fed_as_itself_changes_nothing() {
        let x = Tensor::new(&[1, 3, 2, 2], (0..12).map(|i| i as f32 / 16.0).collect()).expect("twelve numbers");
        let mut ways = vec![Feeding { reversed: true, inverted: true, mean: vec![0.5, 0.25, 0.125], ..plain() }];
        for mistake in MISTAKES {
            ways.extend((mistake.alternatives)(&ways[0].clone(), [3, 2, 2]));
        }
        for way in ways.iter().filter(|way| way.scale == 1.0 && way.std == [1.0]) {
            assert_eq!(way.as_pixels_of(way, &x, [3, 2, 2]).to_f64(), x.to_f64(), "{way:?}");
        }
    }

    #[test]
    fn every_mistake_offers_something_else() {
        for mistake in MISTAKES {
            let layout = if mistake.what.starts_with("planes") { Layout::Flat } else { Layout::Nchw };
            let stated = Feeding { layout, ..plain() };
            let others = (mistake.alternatives)(&stated, [3, 8, 8]);
            assert!(!others.is_empty() && !others.contains(&stated), "{}", mistake.what);
            assert!(others.iter().all(|other| other.changes(&stated) == 1), "{}", mistake.what);
        }
    }

    #[test]
    fn suggestions_are_flags() {
        let way = Feeding { scale: 255.0, ..plain() };
        assert_eq!(way.described(&plain(), None), "--scale 255");
        let flat = Feeding { layout: Layout::Flat, ..plain() };
        let way = Feeding { mean: vec![0.5], std: vec![0.5], layout: Layout::FlatColumns, reversed: true, ..plain() };
        assert_eq!(
            way.described(&flat, Some(1)),
            "--mean 0.5 --std 0.5 and --layout flat-columns and --channels bgr and --label-offset 1"
        );
    }
}
