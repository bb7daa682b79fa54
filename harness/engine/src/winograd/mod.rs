//! Convolution with 3×3 taps and stride 1 by Winograd's minimal filtering: the arithmetic of `Winograd`. Knows nothing about engines.
//!
//! `y[n,m,i,j] = Σ x[n,c,i+a−p,j+b−p] · W[m,c,a,b]`, computed for squares of 2×2 or 4×4 results: pixels and taps are brought to 16 or
//! 36 points, where a convolution is one product for each point, summed over channels; the sums are brought back. Source: Lavin and
//! Gray, «Fast Algorithms for Convolutional Neural Networks», 2016.
//!
//! Inside, L channels stand beside each other ([N, C/L, H, W, L]), where L is the length of a vector. A sum runs over the channels in
//! their order; it depends neither on the number of threads nor on what else is in the batch.

mod points;
mod product;
mod vectors;
mod work;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::correlation::{Each, Images};
use points::{Four, Points, Two};
use vectors::Plain;
use work::Work;

/// How many results along an axis are computed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Square {
    /// F(2×2, 3×3): 2.25 times fewer products than the direct form, and more exact.
    Two,
    /// F(4×4, 3×3): 4 times fewer products.
    Four,
}

impl Square {
    /// Results along an axis.
    pub fn step(self) -> usize {
        match self {
            Square::Two => Two::STEP,
            Square::Four => Four::STEP,
        }
    }

    /// Points of a square.
    pub fn points(self) -> usize {
        match self {
            Square::Two => Two::SIDE * Two::SIDE,
            Square::Four => Four::SIDE * Four::SIDE,
        }
    }
}

/// A convolution over [H, W] in one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Winograd {
    square: Square,
    /// Zeros before and behind.
    begin: [usize; 2],
    end: [usize; 2],
    /// Whether negative results become 0.
    relu: bool,
}

/// What is done with the results. Tensors are as large as the result.
#[derive(Clone, Copy, Default)]
pub(crate) struct Beside<'b> {
    /// One number for each channel, added.
    pub bias: Option<&'b [f32]>,
    /// Added.
    pub sum: Option<&'b [f32]>,
    /// Results pass where this is above 0, elsewhere they become 0.
    pub gate: Option<&'b [f32]>,
}

impl<'b> Beside<'b> {
    /// What belongs to a part of the result.
    fn of(&self, range: Range<usize>) -> Beside<'b> {
        let part = |all: Option<&'b [f32]>| all.map(|all| &all[range.clone()]);
        Beside { bias: self.bias, sum: part(self.sum), gate: part(self.gate) }
    }
}

/// Taps at the points: a block of at most two vectors of results after the other, [points, C, block], zeros where there is no channel.
pub(crate) struct Kernel {
    elements: Vec<f32>,
    results: usize,
    channels: usize,
}

impl Kernel {
    /// Channels of the result.
    pub fn results(&self) -> usize {
        self.results
    }

    /// Channels of images.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The memory, for other taps.
    pub fn into_memory(self) -> Vec<f32> {
        self.elements
    }
}

/// Numbers that a register of the fastest form holds.
pub(crate) fn lanes() -> usize {
    forms()[0].lanes
}

/// Squares that are computed at a time: their points fit in the second cache with those of a few results.
const SQUARES: usize = 48;

impl Winograd {
    /// Reads the attributes of a node, lists of numbers by name.
    ///
    /// # Errors
    /// A sentence: one is missing or impossible.
    pub fn read(attribute: impl Fn(&str) -> Option<Vec<i64>>) -> Result<Winograd, String> {
        let square = match attribute("square").as_deref() {
            Some([2]) => Square::Two,
            Some([4]) => Square::Four,
            _ => return Err("Winograd has a missing or impossible square".to_owned()),
        };
        let (begin, end) = match attribute("pads").as_deref() {
            Some(&[a, b, c, d]) if [a, b, c, d].iter().all(|&p| (0..=2).contains(&p)) => {
                ([a as usize, b as usize], [c as usize, d as usize])
            }
            _ => return Err("Winograd has missing or impossible pads".to_owned()),
        };
        Ok(Winograd { square, begin, end, relu: attribute("relu").as_deref() == Some(&[1]) })
    }

    /// Extents of the result for images of these extents; `None` where they are smaller than the taps.
    pub fn extents(&self, extents: [usize; 2]) -> Option<[usize; 2]> {
        let of = |axis: usize| (extents[axis] + self.begin[axis] + self.end[axis]).checked_sub(2).filter(|&n| n > 0);
        Some([of(0)?, of(1)?])
    }

    /// Brings taps [M, C, 3, 3] to the points, in memory that was used before or is empty.
    ///
    /// # Errors
    /// That of `each`.
    pub fn kernel<E>(&self, taps: &[f32], extents: [usize; 2], memory: Vec<f32>, each: &Each<E>) -> Result<Kernel, E> {
        self.kernel_by(&forms()[0], taps, extents, memory, each)
    }

    fn kernel_by<E>(
        &self,
        form: &Form,
        taps: &[f32],
        [results, channels]: [usize; 2],
        memory: Vec<f32>,
        each: &Each<E>,
    ) -> Result<Kernel, E> {
        let mut elements = memory;
        let block = self.square.points() * channels.next_multiple_of(form.lanes) * form.lanes;
        elements.resize(block * results.div_ceil(form.lanes), 0.0);
        let parts: Vec<Mutex<&mut [f32]>> = elements.chunks_mut((2 * block).max(1)).map(Mutex::new).collect();
        each(parts.len(), &|i| {
            let mut part = parts[i].lock().unwrap_or_else(PoisonError::into_inner);
            (form.taps)(self.square, taps, [results, channels], 2 * i * form.lanes, &mut part);
        })?;
        drop(parts);
        Ok(Kernel { elements, results, channels })
    }

    /// y [N, M, H', W'] of x [N, C, H, W]; all of `result` is written.
    ///
    /// # Errors
    /// That of `each`.
    pub fn compute<E>(&self, x: Images, kernel: &Kernel, beside: Beside, result: &mut [f32], each: &Each<E>) -> Result<(), E> {
        self.with(&forms()[0], x, kernel, beside, result, each)
    }

    fn with<E>(
        &self,
        form: &Form,
        (x, extents): Images,
        kernel: &Kernel,
        beside: Beside,
        result: &mut [f32],
        each: &Each<E>,
    ) -> Result<(), E> {
        let [samples, channels, height, width] = extents;
        let Some(steps) = self.extents([height, width]).filter(|_| samples > 0 && channels > 0 && kernel.results > 0) else {
            result.fill(0.0);
            return Ok(());
        };
        let image = kernel.results * steps[0] * steps[1];
        let squares = steps[0].div_ceil(self.square.step()) * steps[1].div_ceil(self.square.step());
        let together = SQUARES.div_ceil(squares).min(samples);
        let jobs = samples.div_ceil(together);
        let mut parts = Vec::with_capacity(jobs);
        let mut rest = result;
        for job in 0..jobs {
            let images = samples * job / jobs..samples * (job + 1) / jobs;
            let (part, behind) = rest.split_at_mut(images.len() * image);
            rest = behind;
            parts.push(Mutex::new((images, part)));
        }
        each(jobs, &|job| {
            let mut part = parts[job].lock().unwrap_or_else(PoisonError::into_inner);
            let images = part.0.clone();
            let beside = beside.of(images.start * image..images.end * image);
            let pixels = channels * height * width;
            let x = &x[images.start * pixels..images.end * pixels];
            let work = Work { plan: self, x, extents: [images.len(), channels, height, width], steps, kernel, beside };
            SCRATCH.with_borrow_mut(|scratch| (form.images)(&work, scratch, part.1));
        })
    }
}

thread_local! {
    /// What a thread computes in.
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { x: Vec::new(), v: Vec::new(), y: Vec::new(), result: Vec::new() }) };
}

/// Buffers that grow when they must.
struct Scratch {
    /// Pixels, channels beside each other.
    x: Vec<f32>,
    /// Pixels at the points: [square, point, C].
    v: Vec<f32>,
    /// Sums at the points: [square, point, block of results].
    y: Vec<f32>,
    /// Results, channels beside each other.
    result: Vec<f32>,
}

/// The instructions that are used.
struct Form {
    lanes: usize,
    /// Taps of at most two vectors of results, from one on, at the points.
    taps: fn(Square, &[f32], [usize; 2], usize, &mut [f32]),
    images: fn(&Work, &mut Scratch, &mut [f32]),
}

/// The forms that this processor has, the fastest first.
fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") {
            forms.push(Form {
                lanes: 16,
                // SAFETY: the processor has what the functions were compiled for.
                taps: |square, taps, extents, first, to| unsafe { taps_avx512(square, taps, extents, first, to) },
                images: |work, scratch, result| unsafe { images_avx512(work, scratch, result) },
            });
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            forms.push(Form {
                lanes: 8,
                // SAFETY: as above.
                taps: |square, taps, extents, first, to| unsafe { taps_avx2(square, taps, extents, first, to) },
                images: |work, scratch, result| unsafe { images_avx2(work, scratch, result) },
            });
        }
    }
    forms.push(Form { lanes: 4, taps: work::taps::<Plain>, images: work::images::<Plain> });
    forms
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn taps_avx512(square: Square, from: &[f32], extents: [usize; 2], first: usize, to: &mut [f32]) {
    work::taps::<vectors::Avx512>(square, from, extents, first, to);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn images_avx512(work: &Work, scratch: &mut Scratch, result: &mut [f32]) {
    work::images::<vectors::Avx512>(work, scratch, result);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn taps_avx2(square: Square, from: &[f32], extents: [usize; 2], first: usize, to: &mut [f32]) {
    work::taps::<vectors::Avx2>(square, from, extents, first, to);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn images_avx2(work: &Work, scratch: &mut Scratch, result: &mut [f32]) {
    work::images::<vectors::Avx2>(work, scratch, result);
}
