//! Convolutions of a batch in the layout CHWN: the arithmetic of `Chwn`. Knows nothing about engines.
//!
//! `y[n,m,i,j] = Σ x[n,c, i·s + a·d − p, j·s + b·d − p] · W[m,c,a,b]`, or the adjoint of this map. A register holds one pixel of one
//! channel of LANES images, so every lane is used however few channels there are and however odd the extents. Images are brought
//! into this layout and back by transposing squares of LANES × LANES numbers; maxima over squares of 2×2, and their gradient, are
//! computed while images are in it.
//!
//! A sum runs over channels, then over rows and columns of the taps, in one order, whatever the length of a register and whatever
//! else is in the batch.

mod axis;
mod work;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

use crate::correlation::{Each, Images};
use crate::vectors::Plain;
#[cfg(target_arch = "x86_64")]
use crate::vectors::{Avx2, Avx512, Short};
use crate::winograd::Beside;
use axis::Axis;
use work::{Scratch, Work};

/// A convolution over [H, W] in one group, or its adjoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chwn {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    begin: [usize; 2],
    /// Whether it is the adjoint: taps are [C, M, kh, kw], strides are those of the result.
    adjoint: bool,
    /// Whether negative results become 0.
    relu: bool,
    /// Whether only maxima above 0 pass, where images are the gradient of a maximum.
    positive: bool,
}

/// What is convolved, all [N, C, H, W].
#[derive(Clone, Copy)]
pub enum Source<'s> {
    /// Images.
    Images(Images<'s>),
    /// The gradient of the maximum over squares of 2×2 of the first, without a gap, by the cotangent that is the second: every number
    /// of it stands at the first largest element of its square.
    Squares(Images<'s>, &'s [f32]),
}

impl<'s> Source<'s> {
    /// What gives the extents.
    pub fn images(&self) -> Images<'s> {
        match *self {
            Source::Images(images) | Source::Squares(images, _) => images,
        }
    }
}

/// What is wanted of the results, for every image; all of it is written.
pub struct Results<'r> {
    /// Results [N, M, H', W'].
    pub whole: Option<&'r mut [f32]>,
    /// Their maxima over squares of 2×2 without a gap, [N, M, H'/2, W'/2].
    pub maxima: Option<&'r mut [f32]>,
    /// H' and W'.
    pub extents: [usize; 2],
}

/// Taps in the order in which they are read.
pub struct Packed {
    /// For every pair of phases, every tile of results: [C, rows of taps, columns of taps, results of a tile].
    elements: Vec<f32>,
    results: usize,
    channels: usize,
    /// Columns and results of a tile.
    tile: [usize; 2],
}

impl Packed {
    /// Channels of the result.
    pub fn results(&self) -> usize {
        self.results
    }

    /// Channels of images.
    pub fn channels(&self) -> usize {
        self.channels
    }
}

/// Columns and results of the tiles that fit into 32 registers, and into 16.
const TILES: [&[[usize; 2]]; 2] =
    [&[[4, 6], [5, 4], [6, 4], [7, 3], [8, 3], [12, 2], [14, 1]], &[[2, 6], [3, 4], [4, 3], [6, 2], [12, 1]]];

impl Chwn {
    /// Reads the attributes of a node, lists of numbers by name.
    ///
    /// # Errors
    /// A sentence: one is missing or impossible.
    pub fn read(attribute: impl Fn(&str) -> Option<Vec<i64>>) -> Result<Chwn, String> {
        let two = |name: &str, least: i64| match attribute(name).as_deref() {
            Some(&[a, b, ..]) if a >= least && b >= least => Ok([a as usize, b as usize]),
            _ => Err(format!("Chwn has a missing or impossible {name}")),
        };
        let [kernel, stride, dilation] = [two("kernel_shape", 1)?, two("strides", 1)?, two("dilations", 1)?];
        if stride.iter().any(|&s| s > 2) {
            return Err("Chwn has an impossible strides".to_owned());
        }
        let is = |name: &str| attribute(name).as_deref() == Some(&[1]);
        let (adjoint, relu, positive) = (is("adjoint"), is("relu"), is("positive"));
        Ok(Chwn { kernel, stride, dilation, begin: two("pads", 0)?, adjoint, relu, positive })
    }

    /// One axis, with `extent` positions and `steps` results.
    fn axis(&self, axis: usize, extent: usize, steps: usize) -> Axis {
        let (kernel, stride) = (self.kernel[axis], self.stride[axis]);
        let places: Vec<i64> = (0..kernel).map(|t| (t * self.dilation[axis]) as i64 - self.begin[axis] as i64).collect();
        if self.adjoint { Axis::adjoint(&places, stride, extent, steps) } else { Axis::direct(&places, stride, extent, steps) }
    }

    /// Puts taps [M, C, kh, kw], or those of the adjoint, into the order in which results of such extents read them; `extents` are the
    /// first two of the taps.
    pub fn pack(&self, taps: &[f32], extents: [usize; 2], steps: [usize; 2]) -> Packed {
        self.pack_by(&forms()[0], taps, extents, steps)
    }

    fn pack_by(&self, form: &Form, taps: &[f32], extents: [usize; 2], steps: [usize; 2]) -> Packed {
        let [results, channels] = if self.adjoint { [extents[1], extents[0]] } else { extents };
        // which taps a result reads does not depend on the extents of the images
        let [rows, columns] = [0, 1].map(|axis| self.axis(axis, 0, steps[axis]));
        let longest = columns.phases.iter().map(|p| p.count).max().unwrap_or(0);
        let surplus = |&&[wide, high]: &&[usize; 2]| {
            // a product for every number of a tile, half of one for every number that is read
            longest.div_ceil(wide) * results.div_ceil(high) * (2 * wide * high + wide + high)
        };
        let tile = form.tiles.iter().min_by_key(surplus).copied().unwrap_or([1, 1]);
        let [kh, kw] = self.kernel;
        let mut elements = Vec::new();
        for (row, column) in rows.phases.iter().flat_map(|r| columns.phases.iter().map(move |c| (r, c))) {
            for first in (0..results).step_by(tile[1]) {
                for (c, a, b) in
                    (0..channels).flat_map(|c| row.taps.iter().flat_map(move |a| column.taps.iter().map(move |b| (c, a, b))))
                {
                    elements.extend((first..first + tile[1]).map(|m| {
                        let kernel = if self.adjoint { c * results + m } else { m * channels + c };
                        if m < results { taps[(kernel * kh + a) * kw + b] } else { 0.0 }
                    }));
                }
            }
        }
        Packed { elements, results, channels, tile }
    }

    /// Computes results of all images; a job does as many as a register holds.
    ///
    /// # Errors
    /// That of `each`.
    pub fn compute<E>(&self, source: Source, taps: &Packed, beside: Beside, results: Results, each: &Each<E>) -> Result<(), E> {
        self.with(&forms(), source, taps, beside, results, each)
    }

    fn with<E>(
        &self,
        forms: &[Form],
        source: Source,
        taps: &Packed,
        beside: Beside,
        mut results: Results,
        each: &Each<E>,
    ) -> Result<(), E> {
        let ([samples, _, height, width], extents) = (source.images().1, results.extents);
        let axes = [self.axis(0, height, extents[0]), self.axis(1, width, extents[1])];
        let mut jobs = Vec::new();
        let mut first = 0;
        while first < samples {
            let left = samples - first;
            // the shortest registers that hold what is left, or the longest ones
            let form = forms.iter().rev().find(|f| f.lanes >= left && f.tiles == forms[0].tiles).unwrap_or(&forms[0]);
            let count = left.min(form.lanes);
            let mine = Results {
                whole: cut(&mut results.whole, count * taps.results * extents[0] * extents[1]),
                maxima: cut(&mut results.maxima, count * taps.results * (extents[0] / 2) * (extents[1] / 2)),
                extents,
            };
            jobs.push((form, first..first + count, Mutex::new(mine)));
            first += count;
        }
        each(jobs.len(), &|i| {
            let (form, images, results) = &jobs[i];
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            let work = Work { plan: self, axes: &axes, source, taps, beside, images: images.clone(), extents };
            SCRATCH.with_borrow_mut(|scratch| (form.job)(&work, scratch, &mut results));
        })
    }
}

/// The first elements of what is left, if there is any.
fn cut<'r>(left: &mut Option<&'r mut [f32]>, length: usize) -> Option<&'r mut [f32]> {
    let (mine, behind) = left.take()?.split_at_mut(length);
    *left = Some(behind);
    Some(mine)
}

thread_local! {
    /// What a thread computes in.
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// Computes the results of some images.
type Job = fn(&Work, &mut Scratch, &mut Results);

/// The instructions that are used.
struct Form {
    lanes: usize,
    tiles: &'static [[usize; 2]],
    job: Job,
}

/// The forms that this processor has, the fastest first.
fn forms() -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function was compiled for.
            let job: Job = |work, scratch, results| unsafe { job_avx512(work, scratch, results) };
            forms.push(Form { lanes: 16, tiles: TILES[0], job });
        }
        if std::is_x86_feature_detected!("avx512vl") {
            // SAFETY: as above.
            let job: Job = |work, scratch, results| unsafe { job_avx512vl(work, scratch, results) };
            forms.push(Form { lanes: 8, tiles: TILES[0], job });
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            let job: Job = |work, scratch, results| unsafe { job_avx2(work, scratch, results) };
            forms.push(Form { lanes: 8, tiles: TILES[1], job });
        }
    }
    forms.push(Form { lanes: 4, tiles: TILES[1], job: |work, scratch, results| work.compute::<Plain>(scratch, results) });
    forms
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn job_avx512(work: &Work, scratch: &mut Scratch, results: &mut Results) {
    work.compute::<Avx512>(scratch, results);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl")]
fn job_avx512vl(work: &Work, scratch: &mut Scratch, results: &mut Results) {
    work.compute::<Short>(scratch, results);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn job_avx2(work: &Work, scratch: &mut Scratch, results: &mut Results) {
    work.compute::<Avx2>(scratch, results);
}
