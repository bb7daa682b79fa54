//! Convolution with 3×3 taps and stride 1 by Winograd's minimal filtering: the arithmetic of `Winograd`. Knows nothing about engines.
//!
//! `y[n,m,i,j] = Σ x[n,c,i+a−p,j+b−p] · W[m,c,a,b]`, computed for squares of 2×2 or 4×4 results: pixels and taps are brought to 16 or
//! 36 points, where a convolution is one product for each point, summed over channels; the sums are brought back. Source: Lavin and
//! Gray, «Fast Algorithms for Convolutional Neural Networks», 2016.
//!
//! Inside, L channels stand beside each other ([N, C/L, H, W, L]), where L is the length of a vector. A sum runs over the channels in
//! a fixed order; it depends neither on the number of threads nor on what else is in the batch.

mod gradient;
mod points;
mod product;
mod work;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::correlation::{Each, Images};
use crate::vectors::Plain;
#[cfg(target_arch = "x86_64")]
use crate::vectors::{Avx2, Avx512};
pub use gradient::Gradient;
use points::{Four, Points, Two};
use work::{Taps, Work};

/// How many results along an axis are computed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Square {
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

    /// Reads the attribute of a node, if it is there.
    ///
    /// # Errors
    /// A sentence: it is neither 2 nor 4.
    pub fn read(op: &str, attribute: Option<Vec<i64>>) -> Result<Option<Square>, String> {
        match attribute.as_deref() {
            None => Ok(None),
            Some([2]) => Ok(Some(Square::Two)),
            Some([4]) => Ok(Some(Square::Four)),
            Some(_) => Err(format!("{op} has an impossible square")),
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
pub struct Winograd {
    square: Square,
    /// Zeros before and behind.
    begin: [usize; 2],
    end: [usize; 2],
    /// Whether negative results become 0.
    relu: bool,
    /// Whether it is the adjoint of a convolution, whose taps [C, M, 3, 3] it is given.
    adjoint: bool,
    /// Whether the taps are kept at the points. If not, every job brings them there, with the same bits; for squares of 4×4 they then
    /// take a quarter of the memory.
    kept: bool,
}

/// What is done with the results. Tensors are as large as the result.
#[derive(Clone, Copy, Default)]
pub struct Beside<'b> {
    /// One number for each channel, added.
    pub bias: Option<&'b [f32]>,
    /// Added.
    pub sum: Option<&'b [f32]>,
    /// Results pass where this is above 0, elsewhere they become 0.
    pub gate: Option<&'b [f32]>,
}

/// The taps of a layer, in blocks. A block holds the taps of one or two vectors of results; places without a channel hold zeros. Taps at
/// the points are [points, C, block]. Taps that would take too much memory there stay as they are, [C, vectors of the block, 9, lanes].
pub struct Kernel {
    elements: Vec<f32>,
    results: usize,
    channels: usize,
    at_points: bool,
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

    /// The length of a block for `wide` vectors of results.
    fn block(&self, square: Square, wide: usize, lanes: usize) -> usize {
        let depth = self.channels.next_multiple_of(lanes);
        if self.at_points { square.points() * apart(depth, wide, lanes) } else { 9 * depth * wide * lanes }
    }

    /// The memory, for other taps.
    pub fn into_memory(self) -> Vec<f32> {
        self.elements
    }
}

/// From one point to the next in a block of taps: a register further than the taps reach, so that points do not begin at the same
/// place of a cache.
fn apart(depth: usize, wide: usize, lanes: usize) -> usize {
    (depth * wide + 1) * lanes
}

/// Numbers that a register of the fastest form holds.
pub fn lanes() -> usize {
    forms()[0].lanes
}

/// While a convolution runs, the taps of this many channels are brought to the points at a time. It is a multiple of `BLOCK`, so that
/// sums are the same as with taps that are kept at the points.
const CHUNK: usize = 2 * product::BLOCK;

/// Squares that are computed at a time: their points fit in the second cache with those of a few results.
pub const SQUARES: usize = 48;

impl Winograd {
    /// Reads the attributes of a node, lists of numbers by name.
    ///
    /// # Errors
    /// A sentence: one is missing or impossible.
    pub fn read(attribute: impl Fn(&str) -> Option<Vec<i64>>) -> Result<Winograd, String> {
        let square = Square::read("Winograd", attribute("square"))?.ok_or("Winograd has no square")?;
        let (begin, end) = match attribute("pads").as_deref() {
            Some(&[a, b, c, d]) if [a, b, c, d].iter().all(|&p| (0..=2).contains(&p)) => {
                ([a as usize, b as usize], [c as usize, d as usize])
            }
            _ => return Err("Winograd has missing or impossible pads".to_owned()),
        };
        let is = |name: &str| attribute(name).as_deref() == Some(&[1]);
        Ok(Winograd { square, begin, end, relu: is("relu"), adjoint: is("adjoint"), kept: is("kept") })
    }

    /// M and C of the first two extents of the taps.
    pub fn channels<T>(&self, [first, second]: [T; 2]) -> [T; 2] {
        if self.adjoint { [second, first] } else { [first, second] }
    }

    /// Extents of the result for images of these extents; `None` where they are smaller than the taps.
    pub fn extents(&self, extents: [usize; 2]) -> Option<[usize; 2]> {
        let of = |axis: usize| (extents[axis] + self.begin[axis] + self.end[axis]).checked_sub(2).filter(|&n| n > 0);
        Some([of(0)?, of(1)?])
    }

    /// What a kernel depends on besides the taps: the step of the squares, if the taps are kept at the points, and whether this is an
    /// adjoint.
    pub fn form_of_taps(&self) -> (Option<usize>, bool) {
        (self.kept.then_some(self.square.step()), self.adjoint)
    }

    /// Brings taps to the points or beside each other, [M, C, 3, 3] or those of the adjoint, in memory that was used before or is
    /// empty. `extents` are the first two.
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
        extents: [usize; 2],
        memory: Vec<f32>,
        each: &Each<E>,
    ) -> Result<Kernel, E> {
        let ([results, channels], mut elements) = (self.channels(extents), memory);
        let taps = Taps { elements: taps, results, channels, adjoint: self.adjoint };
        let kernel = Kernel { elements: Vec::new(), results, channels, at_points: self.kept };
        let [one, two] = [1, 2].map(|wide| kernel.block(self.square, wide, form.lanes));
        let vectors = results.div_ceil(form.lanes);
        elements.resize(vectors / 2 * two + vectors % 2 * one, 0.0);
        let parts: Vec<Mutex<&mut [f32]>> = elements.chunks_mut(two).map(Mutex::new).collect();
        let square = self.kept.then_some(self.square);
        each(parts.len(), &|i| {
            let mut part = parts[i].lock().unwrap_or_else(PoisonError::into_inner);
            (form.taps)(square, &taps, 2 * i * form.lanes, &mut part);
        })?;
        drop(parts);
        Ok(Kernel { elements, ..kernel })
    }

    /// y [N, M, H', W'] of x [N, C, H, W]; all of `result` is written. There should be jobs enough for so many threads.
    ///
    /// # Errors
    /// That of `each`.
    pub fn compute<E>(
        &self,
        x: Images,
        kernel: &Kernel,
        beside: Beside,
        result: &mut [f32],
        (threads, each): (usize, &Each<E>),
    ) -> Result<(), E> {
        self.with(&forms()[0], x, kernel, beside, result, (threads, each))
    }

    fn with<E>(
        &self,
        form: &Form,
        (x, extents): Images,
        kernel: &Kernel,
        beside: Beside,
        result: &mut [f32],
        (threads, each): (usize, &Each<E>),
    ) -> Result<(), E> {
        let [samples, channels, height, width] = extents;
        let Some(steps) = self.extents([height, width]).filter(|_| samples > 0 && channels > 0 && kernel.results > 0) else {
            result.fill(0.0);
            return Ok(());
        };
        let jobs = self.jobs(samples, steps, kernel.results.div_ceil(form.lanes), threads);
        let parts = divided(result, &jobs, [samples, kernel.results], steps, form.lanes);
        each(jobs.len(), &|i| {
            let (job, mut part) = (&jobs[i], parts[i].lock().unwrap_or_else(PoisonError::into_inner));
            let Job { images, rows, vectors } = job.clone();
            let work = Work { plan: self, kernel, x, extents, beside, images, rows, width: steps[1], vectors };
            SCRATCH.with_borrow_mut(|scratch| (form.job)(&work, scratch, &mut part));
        })
    }

    /// Some images whole, or rows of one, and, where that gives too few jobs for the threads, parts of the results. No sum depends on
    /// how the result is divided.
    fn jobs(&self, samples: usize, steps: [usize; 2], vectors: usize, threads: usize) -> Vec<Job> {
        let [rows, columns] = steps.map(|n| n.div_ceil(self.square.step()));
        let bands = (rows * columns).div_ceil(SQUARES).min(rows);
        let groups = if bands == 1 { samples.div_ceil((SQUARES / (rows * columns)).max(1)) } else { samples };
        let parts = if threads == 1 { 1 } else { (4 * threads).div_ceil(groups * bands).min(vectors.div_ceil(2)) };
        let range = |i: usize, of: usize, total: usize| total * i / of..total * (i + 1) / of;
        let mut jobs = Vec::with_capacity(groups * bands * parts);
        for (group, band, part) in (0..groups).flat_map(|g| (0..bands).flat_map(move |b| (0..parts).map(move |p| (g, b, p)))) {
            let rows = range(band, bands, rows);
            let rows = rows.start * self.square.step()..(rows.end * self.square.step()).min(steps[0]);
            let pairs = range(part, parts, vectors.div_ceil(2));
            let vectors = 2 * pairs.start..(2 * pairs.end).min(vectors);
            jobs.push(Job { images: range(group, groups, samples), rows, vectors });
        }
        jobs
    }
}

/// A part of the result.
#[derive(Clone)]
struct Job {
    images: Range<usize>,
    rows: Range<usize>,
    /// Vectors of channels.
    vectors: Range<usize>,
}

/// The lines of a result that belong to one job, for every image and channel of it.
type Part<'r> = Mutex<Vec<&'r mut [f32]>>;

/// Divides a result among jobs that are in the order of images, rows, vectors.
fn divided<'r>(
    result: &'r mut [f32],
    jobs: &[Job],
    [samples, results]: [usize; 2],
    [height, width]: [usize; 2],
    lanes: usize,
) -> Vec<Part<'r>> {
    let mut parts: Vec<Vec<&mut [f32]>> = jobs.iter().map(|_| Vec::new()).collect();
    let mut planes = result.chunks_exact_mut(height * width);
    for image in 0..samples {
        let mine: Vec<usize> = (0..jobs.len()).filter(|&i| jobs[i].images.contains(&image)).collect();
        for (channel, mut plane) in planes.by_ref().take(results).enumerate() {
            // jobs of one image and channel follow each other from the first row to the last
            for &i in mine.iter().filter(|&&i| jobs[i].vectors.contains(&(channel / lanes))) {
                let (rows, behind) = plane.split_at_mut(jobs[i].rows.len() * width);
                parts[i].push(rows);
                plane = behind;
            }
        }
    }
    parts.into_iter().map(Mutex::new).collect()
}

thread_local! {
    /// What a thread computes in.
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { x: Vec::new(), v: Vec::new(), u: Vec::new(), y: Vec::new(), result: Vec::new() }) };
}

/// Buffers that grow when they must.
struct Scratch {
    /// Pixels, channels beside each other.
    x: Vec<f32>,
    /// Pixels at the points: [square, point, C].
    v: Vec<f32>,
    /// Taps of some channels at the points, where they are not kept there: [point, channels, block of results].
    u: Vec<f32>,
    /// Sums at the points: [square, point, block of results].
    y: Vec<f32>,
    /// Results, channels beside each other.
    result: Vec<f32>,
}

/// The instructions that are used.
struct Form {
    lanes: usize,
    /// Taps of at most two vectors of results, from one on, at the points of a square or beside each other.
    taps: fn(Option<Square>, &Taps, usize, &mut [f32]),
    job: fn(&Work, &mut Scratch, &mut [&mut [f32]]),
    gradient: fn(Square, gradient::Task),
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
                taps: |square, taps, first, to| unsafe { taps_avx512(square, taps, first, to) },
                job: |work, scratch, result| unsafe { job_avx512(work, scratch, result) },
                gradient: |square, task| unsafe { gradient_avx512(square, task) },
            });
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            forms.push(Form {
                lanes: 8,
                // SAFETY: as above.
                taps: |square, taps, first, to| unsafe { taps_avx2(square, taps, first, to) },
                job: |work, scratch, result| unsafe { job_avx2(work, scratch, result) },
                gradient: |square, task| unsafe { gradient_avx2(square, task) },
            });
        }
    }
    forms.push(Form {
        lanes: 4,
        taps: |square, taps, first, to| taps.block::<Plain>(square, first, to),
        job: work::job::<Plain>,
        gradient: gradient::run::<Plain>,
    });
    forms
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn taps_avx512(square: Option<Square>, taps: &Taps, first: usize, to: &mut [f32]) {
    taps.block::<Avx512>(square, first, to);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn job_avx512(work: &Work, scratch: &mut Scratch, result: &mut [&mut [f32]]) {
    work::job::<Avx512>(work, scratch, result);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn taps_avx2(square: Option<Square>, taps: &Taps, first: usize, to: &mut [f32]) {
    taps.block::<Avx2>(square, first, to);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn job_avx2(work: &Work, scratch: &mut Scratch, result: &mut [&mut [f32]]) {
    work::job::<Avx2>(work, scratch, result);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn gradient_avx512(square: Square, task: gradient::Task) {
    gradient::run::<Avx512>(square, task);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn gradient_avx2(square: Square, task: gradient::Task) {
    gradient::run::<Avx2>(square, task);
}
