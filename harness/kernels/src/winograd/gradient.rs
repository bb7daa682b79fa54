//! The gradient of a convolution of 3×3 taps and stride 1 by its taps, in squares: the adjoint of the forward form in its taps.
//!
//! `W̄ = Gᵀ [Σ (Aȳ) ⊙ (Bᵀx)] G`: the pixels and the gradients of every square are brought to the points, multiplied there by each
//! other for every pair of channels, summed over all squares, and the sums are brought back to nine taps.
//!
//! Squares are taken a part at a time: [part, two vectors of C, point, square] and [part, vector of M, point, square]. Sums run over
//! the squares in a fixed order that does not depend on the number of threads.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::points::{Four, Points, Two};
use super::work::{Side, beside_each_other, part, square_to_points};
use super::{Form, Square, forms};
use crate::correlation::{Each, Images};
use crate::vectors::Vectors;

/// Elements at the points that are computed at a time: what fits in a cache that cores share.
const GROUP: usize = 1 << 21;
/// Squares of a part, where an image does not have more.
const PART: usize = 64;
/// Products that are summed before their sum is added to the others.
const BLOCK: usize = 32;
/// Channels of ȳ and of x in a job: their sums stay in the second cache.
const CHANNELS: [usize; 2] = [64, 64];
/// Jobs that are made at least where there are points enough.
const JOBS: usize = 8;

thread_local! {
    /// Pixels of an image, channels beside each other, and the sums of a job.
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
    /// The squares of a group at the points.
    static OPERANDS: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// The gradient of one convolution.
pub struct Gradient<'g> {
    pub square: Square,
    pub begin: [usize; 2],
    pub x: Images<'g>,
    pub ct: Images<'g>,
}

/// Extents of what is computed.
struct Layout {
    lanes: usize,
    points: usize,
    /// Squares of an image.
    squares: usize,
    /// Images of a part, and parts of a group.
    images: usize,
    parts: usize,
    samples: usize,
}

impl Layout {
    /// Elements from one point of a part to the next: a register further than the squares reach, so that points do not begin at the
    /// same place of a cache.
    fn pitch(&self, wide: usize) -> usize {
        (self.images * self.squares * wide + 1) * self.lanes
    }

    /// Elements of a part for one vector of channels, or two beside each other.
    fn chunk(&self, wide: usize) -> usize {
        self.points * self.pitch(wide)
    }

    /// The images of a part; none where there are no more.
    fn range(&self, part: usize) -> Range<usize> {
        (part * self.images).min(self.samples)..((part + 1) * self.images).min(self.samples)
    }
}

/// Some channels of ȳ, in vectors, some of x, in pairs of vectors, and some of the points.
#[derive(Clone)]
pub(super) struct Job {
    block: usize,
    vectors: Range<usize>,
    pairs: Range<usize>,
    points: Range<usize>,
}

impl Gradient<'_> {
    /// W̄ [M, C, 3, 3]; all of `result` is written.
    ///
    /// # Errors
    /// That of `each`.
    pub fn compute<E>(&self, result: &mut [f32], each: &Each<E>) -> Result<(), E> {
        self.with(&forms()[0], result, each)
    }

    pub(super) fn with<E>(&self, form: &Form, result: &mut [f32], each: &Each<E>) -> Result<(), E> {
        let ([samples, channels, ..], [_, rows, height, width]) = (self.x.1, self.ct.1);
        if self.x.0.is_empty() || self.ct.0.is_empty() {
            result.fill(0.0);
            return Ok(());
        }
        let squares = [height, width].map(|n| n.div_ceil(self.square.step())).iter().product::<usize>();
        let images = (PART / squares).clamp(1, samples);
        let (pairs, vectors) = (channels.div_ceil(2 * form.lanes), rows.div_ceil(form.lanes));
        let mut layout = Layout { lanes: form.lanes, points: self.square.points(), squares, images, parts: 1, samples };
        let one = pairs * layout.chunk(2) + vectors * layout.chunk(1);
        let parts = samples.div_ceil(images);
        layout.parts = (GROUP / one).clamp(1, parts);
        let (blocks, jobs) = divided(vectors, pairs, &layout);
        let whole = jobs.len() == blocks.len() && layout.parts == parts;
        let length = |job: &Job| job.pairs.len() * job.points.len() * job.vectors.len() * form.lanes * 2 * form.lanes;
        let sums: Vec<Mutex<Vec<f32>>> =
            jobs.iter().map(|job| Mutex::new(vec![0.0; if whole { 0 } else { length(job) }])).collect();
        let results = lines(result, &blocks, [rows, channels], form.lanes);
        let finish = |block: usize, slabs: &[&[f32]]| {
            let mut lines = results[block].lock().unwrap_or_else(PoisonError::into_inner);
            (form.gradient)(self.square, Task::Taps { pairs: blocks[block].pairs.len(), slabs, lines: &mut lines });
        };
        OPERANDS.with_borrow_mut(|[v, z]| {
            let v = part(v, layout.parts * pairs * layout.chunk(2));
            let z = part(z, layout.parts * vectors * layout.chunk(1));
            for first in (0..parts).step_by(layout.parts) {
                self.to_points(form, &layout, first, (&mut *v, pairs), (&mut *z, vectors), each)?;
                let operands = Operands { layout: &layout, first, v, z, pairs, vectors };
                each(jobs.len(), &|i| {
                    let job = &jobs[i];
                    if whole {
                        return SCRATCH.with_borrow_mut(|[_, scratch]| {
                            let slab = part(scratch, length(job));
                            slab.fill(0.0);
                            (form.gradient)(self.square, Task::Products { operands: &operands, job, sums: slab });
                            finish(job.block, &[slab]);
                        });
                    }
                    let mut slab = sums[i].lock().unwrap_or_else(PoisonError::into_inner);
                    (form.gradient)(self.square, Task::Products { operands: &operands, job, sums: &mut slab });
                })?;
            }
            if whole {
                return Ok(());
            }
            each(blocks.len(), &|block| {
                let of = jobs.len() / blocks.len();
                let slabs: Vec<_> =
                    sums[block * of..(block + 1) * of].iter().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner)).collect();
                finish(block, &slabs.iter().map(|s| &s[..]).collect::<Vec<_>>());
            })
        })
    }

    /// The squares of a group of parts at the points.
    fn to_points<E>(
        &self,
        form: &Form,
        layout: &Layout,
        first: usize,
        (v, pairs): (&mut [f32], usize),
        (z, vectors): (&mut [f32], usize),
        each: &Each<E>,
    ) -> Result<(), E> {
        let all = v.chunks_exact_mut(layout.chunk(2)).enumerate().map(|(i, to)| (i / pairs, i % pairs, 2, to));
        let all = all.chain(z.chunks_exact_mut(layout.chunk(1)).enumerate().map(|(i, to)| (i / vectors, i % vectors, 1, to)));
        let chunks: Vec<_> = all.map(Mutex::new).collect();
        each(chunks.len(), &|i| {
            let mut chunk = chunks[i].lock().unwrap_or_else(PoisonError::into_inner);
            let (part, place, wide, to) = &mut *chunk;
            let (side, begin, images) = match *wide {
                2 => (Side::Pixels, self.begin, self.x),
                _ => (Side::Gradients, [0, 0], self.ct),
            };
            let steps = [self.ct.1[2], self.ct.1[3]];
            let work = ToPoints { side, begin, images, steps, range: layout.range(first + *part), pitch: layout.pitch(*wide) };
            SCRATCH.with_borrow_mut(|[scratch, _]| {
                for vector in 0..*wide {
                    let (vector, place) = (*place * *wide + vector, vector);
                    (form.gradient)(self.square, Task::Points { work: &work, vector, wide: *wide, place, scratch, to });
                }
            });
        })
    }
}

/// Blocks of channels with all points, and the jobs: blocks with as many parts of the points as make jobs enough.
fn divided(vectors: usize, pairs: usize, layout: &Layout) -> (Vec<Job>, Vec<Job>) {
    let part = |i: usize, of: usize, total: usize| total * i / of..total * (i + 1) / of;
    let down = (vectors * layout.lanes).div_ceil(CHANNELS[0]).min(vectors);
    let across = (pairs * 2 * layout.lanes).div_ceil(CHANNELS[1]).min(pairs);
    let (mut blocks, mut jobs) = (Vec::new(), Vec::new());
    let splits = JOBS.div_ceil(down * across).clamp(1, layout.points);
    for (i, j) in (0..down).flat_map(|i| (0..across).map(move |j| (i, j))) {
        let whole =
            Job { block: blocks.len(), vectors: part(i, down, vectors), pairs: part(j, across, pairs), points: 0..layout.points };
        jobs.extend((0..splits).map(|s| Job { points: part(s, splits, layout.points), ..whole.clone() }));
        blocks.push(whole);
    }
    (blocks, jobs)
}

/// The lines of the result [M, C, 9] that belong to one block, for every channel of ȳ.
fn lines<'r>(
    result: &'r mut [f32],
    blocks: &[Job],
    [rows, channels]: [usize; 2],
    lanes: usize,
) -> Vec<Mutex<Vec<&'r mut [f32]>>> {
    let mut lines: Vec<Vec<&mut [f32]>> = blocks.iter().map(|_| Vec::new()).collect();
    for (m, mut row) in result.chunks_exact_mut(9 * channels).enumerate().take(rows) {
        // blocks of one row follow each other from the first channel to the last
        for (block, lines) in blocks.iter().zip(&mut lines).filter(|(block, _)| block.vectors.contains(&(m / lanes))) {
            let end = (block.pairs.end * 2 * lanes).min(channels) - block.pairs.start * 2 * lanes;
            let (mine, behind) = row.split_at_mut(9 * end);
            lines.push(mine);
            row = behind;
        }
    }
    lines.into_iter().map(Mutex::new).collect()
}

/// What the products of a group read.
pub(super) struct Operands<'o> {
    layout: &'o Layout,
    /// The first part of the group.
    first: usize,
    v: &'o [f32],
    z: &'o [f32],
    pairs: usize,
    vectors: usize,
}

/// Some images that are brought to the points.
pub(super) struct ToPoints<'t> {
    side: Side,
    /// Zeros before the first row and column.
    begin: [usize; 2],
    images: Images<'t>,
    /// Extents of ȳ.
    steps: [usize; 2],
    range: Range<usize>,
    /// From one point to the next.
    pitch: usize,
}

/// What runs with the registers of a processor.
pub(super) enum Task<'t, 'l> {
    /// A vector of channels to the points, to a place among those beside each other.
    Points { work: &'t ToPoints<'t>, vector: usize, wide: usize, place: usize, scratch: &'t mut Vec<f32>, to: &'t mut [f32] },
    /// The products of a group, added to the sums of a job: [pair, point, channel of ȳ, two vectors of x].
    Products { operands: &'t Operands<'t>, job: &'t Job, sums: &'t mut [f32] },
    /// The sums of a block to lines of taps.
    Taps { pairs: usize, slabs: &'t [&'t [f32]], lines: &'t mut [&'l mut [f32]] },
}

#[inline(always)]
pub(super) fn run<V: Vectors>(square: Square, task: Task) {
    match square {
        Square::Two => run_at::<Two, V>(task),
        Square::Four => run_at::<Four, V>(task),
    }
}

#[inline(always)]
fn run_at<P: Points, V: Vectors>(task: Task) {
    match task {
        Task::Points { work, vector, wide, place, scratch, to } => work.compute::<P, V>(vector, (wide, place), scratch, to),
        Task::Products { operands, job, sums } => products::<V>(operands, job, sums),
        Task::Taps { pairs, slabs, lines } => taps::<P, V>(pairs, slabs, lines),
    }
}

impl ToPoints<'_> {
    /// One vector of channels of every image; the vector stands at a place among those beside each other.
    #[inline(always)]
    fn compute<P: Points, V: Vectors>(
        &self,
        vector: usize,
        (wide, place): (usize, usize),
        scratch: &mut Vec<f32>,
        to: &mut [f32],
    ) {
        let [_, channels, height, width] = self.images.1;
        let pixels = part(scratch, height * width * V::LANES);
        let [rows, columns] = self.steps.map(|n| n.div_ceil(P::STEP));
        for (n, image) in self.range.clone().enumerate() {
            let first = (vector * V::LANES).min(channels);
            let count = V::LANES.min(channels - first);
            let from = &self.images.0[(image * channels + first) * height * width..][..count * height * width];
            beside_each_other::<V>(from, height * width, 0, pixels);
            for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                let at = ((n * rows + i) * columns + j) * wide + place;
                self.square::<P, V>(pixels, [i * P::STEP, j * P::STEP], &mut to[at * V::LANES..]);
            }
        }
    }

    /// One square at the points, which are `pitch` from each other.
    #[inline(always)]
    fn square<P: Points, V: Vectors>(&self, pixels: &[f32], corner: [usize; 2], to: &mut [f32]) {
        let [_, _, height, width] = self.images.1;
        let (side, begin) = (self.side.extent::<P>(), self.begin);
        let inside = |axis: usize, extent: usize| {
            let before = begin[axis].saturating_sub(corner[axis]).min(side);
            before..(extent + begin[axis]).saturating_sub(corner[axis]).min(side).max(before)
        };
        // the place of pixel [0, 0] of the square, were it inside
        let first = (corner[0] * width + corner[1]).wrapping_sub(begin[0] * width + begin[1]);
        let places = [inside(0, height), inside(1, width)];
        square_to_points::<P, V>(self.side, places, (pixels, first, width), (to, self.pitch));
    }
}

#[inline(always)]
fn products<V: Vectors>(operands: &Operands, job: &Job, sums: &mut [f32]) {
    let layout = operands.layout;
    let slab = job.vectors.len() * V::LANES * 2 * V::LANES;
    for place in 0..layout.parts {
        let squares = layout.range(operands.first + place).len() * layout.squares;
        for (pair, point) in job.pairs.clone().flat_map(|pair| job.points.clone().map(move |point| (pair, point))) {
            let v = &operands.v[(place * operands.pairs + pair) * layout.chunk(2) + point * layout.pitch(2)..];
            let at = (pair - job.pairs.start) * job.points.len() + point - job.points.start;
            let sums = &mut sums[at * slab..][..slab];
            for (vector, sums) in job.vectors.clone().zip(sums.chunks_exact_mut(V::LANES * 2 * V::LANES)) {
                let z = &operands.z[(place * operands.vectors + vector) * layout.chunk(1) + point * layout.pitch(1)..];
                for start in (0..squares).step_by(BLOCK) {
                    let few = BLOCK.min(squares - start);
                    let (v, z) = (&v[start * 2 * V::LANES..], &z[start * V::LANES..]);
                    match V::REGISTERS >= 32 {
                        true => outer::<V, 8>(&v[..few * 2 * V::LANES], &z[..few * V::LANES], sums),
                        false => outer::<V, 4>(&v[..few * 2 * V::LANES], &z[..few * V::LANES], sums),
                    }
                }
            }
        }
    }
}

/// Adds Σ z ⊗ v over squares to sums [channel of ȳ, two vectors], R channels at a time.
#[inline(always)]
fn outer<V: Vectors, const R: usize>(v: &[f32], z: &[f32], sums: &mut [f32]) {
    for (start, lines) in (0..V::LANES).step_by(R).zip(sums.chunks_exact_mut(R * 2 * V::LANES)) {
        let mut few = [[V::splat(0.0); 2]; R];
        for (v, z) in v.chunks_exact(2 * V::LANES).zip(z.chunks_exact(V::LANES)) {
            let (a, b) = (V::load(v), V::load(&v[V::LANES..]));
            let z = &z[start..start + R];
            for r in 0..R {
                let factor = V::splat(z[r]);
                few[r][0] = V::fma(a, factor, few[r][0]);
                few[r][1] = V::fma(b, factor, few[r][1]);
            }
        }
        for (line, few) in lines.chunks_exact_mut(2 * V::LANES).zip(few) {
            let (a, b) = line.split_at_mut(V::LANES);
            V::store(a, V::plus(V::load(a), few[0]));
            V::store(b, V::plus(V::load(b), few[1]));
        }
    }
}

/// Sums of a block, its points in one slab or several, as lines of nine taps for every channel of x.
#[inline(always)]
fn taps<P: Points, V: Vectors>(pairs: usize, slabs: &[&[f32]], lines: &mut [&mut [f32]]) {
    let rows = lines.len().next_multiple_of(V::LANES);
    let slab = rows * 2 * V::LANES;
    // where each point of the first pair stands
    let mut places: Vec<(&[f32], usize)> = Vec::new();
    for sums in slabs {
        let points = sums.len() / (pairs * slab);
        places.extend((0..points).map(|point| (&sums[point * slab..], points * slab)));
    }
    let mut nine = [[0f32; 16]; 9];
    for (m, line) in lines.iter_mut().enumerate() {
        for (vector, to) in line.chunks_mut(9 * V::LANES).enumerate() {
            let at = m * 2 * V::LANES + vector % 2 * V::LANES;
            let mut columns = [[V::splat(0.0); 6]; 3];
            for j in 0..P::SIDE {
                let mut u = [V::splat(0.0); 6];
                for (i, u) in u.iter_mut().enumerate().take(P::SIDE) {
                    let (sums, pair) = places[i * P::SIDE + j];
                    *u = V::load(&sums[vector / 2 * pair + at..]);
                }
                let column = P::sums::<V>(u);
                for a in 0..3 {
                    columns[a][j] = column[a];
                }
            }
            for (a, row) in columns.into_iter().enumerate() {
                for (b, &value) in P::sums::<V>(row).iter().enumerate() {
                    V::store(&mut nine[3 * a + b], value);
                }
            }
            for (lane, to) in to.chunks_exact_mut(9).enumerate() {
                for (to, nine) in to.iter_mut().zip(&nine) {
                    *to = nine[lane];
                }
            }
        }
    }
}
