//! Some images through one convolution, and taps at the points. Written once for every kind of register and of square.

use std::ops::Range;

use super::points::{Four, Points, Two};
use super::product::Product;
use super::{Beside, CHUNK, Kernel, Scratch, Square, Winograd, apart};
use crate::vectors::{Vectors, put, some};

/// A job: squares of some images, for some of the results.
pub(super) struct Work<'w> {
    pub plan: &'w Winograd,
    pub kernel: &'w Kernel,
    /// All images, and their extents.
    pub x: &'w [f32],
    pub extents: [usize; 4],
    pub beside: Beside<'w>,
    pub images: Range<usize>,
    /// Rows of the result.
    pub rows: Range<usize>,
    /// Columns of the result.
    pub width: usize,
    /// Vectors of results.
    pub vectors: Range<usize>,
}

/// Where a square stands in the job.
#[derive(Clone, Copy)]
struct Place {
    image: usize,
    /// The first row and column of the result.
    corner: [usize; 2],
}

/// The rows of the images that a job reads, and where they stand among zeros, so that every square is whole.
#[derive(Clone, Copy)]
struct Window {
    first: usize,
    height: usize,
    /// Zeros before the first row and the first column.
    zeros: [usize; 2],
    /// Rows and columns, those of zeros included.
    extents: [usize; 2],
}

#[inline(always)]
pub(super) fn job<V: Vectors>(work: &Work, scratch: &mut Scratch, result: &mut [&mut [f32]]) {
    match work.plan.square {
        Square::Two => work.compute::<Two, V>(scratch, result),
        Square::Four => work.compute::<Four, V>(scratch, result),
    }
}

/// A part of a buffer that is at least as long.
pub(super) fn part(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

impl Work<'_> {
    /// Vectors of channels of images.
    fn blocks<V: Vectors>(&self) -> usize {
        self.extents[1].div_ceil(V::LANES)
    }

    #[inline(always)]
    fn place<P: Points>(&self, square: usize) -> Place {
        let [rows, columns] = [self.rows.len(), self.width].map(|n| n.div_ceil(P::STEP));
        let at = square % (rows * columns);
        Place { image: square / (rows * columns), corner: [at / columns * P::STEP, at % columns * P::STEP] }
    }

    fn window<P: Points>(&self) -> Window {
        let [begin, left] = self.plan.begin;
        let first = self.rows.start.saturating_sub(begin).min(self.extents[2]);
        let extents = [self.rows.len(), self.width].map(|n| n.next_multiple_of(P::STEP) + P::SIDE - P::STEP);
        let end = (self.rows.start + extents[0]).saturating_sub(begin).min(self.extents[2]);
        let zeros = [begin.saturating_sub(self.rows.start), left];
        Window { first, height: end.saturating_sub(first), zeros, extents }
    }

    /// `result` has the rows of this job for every image and every channel of its results.
    #[inline(always)]
    fn compute<P: Points, V: Vectors>(&self, scratch: &mut Scratch, result: &mut [&mut [f32]]) {
        let (blocks, window, count) = (self.blocks::<V>(), self.window::<P>(), self.images.len());
        let plane = window.extents[0] * window.extents[1] * V::LANES;
        let x = part(&mut scratch.x, count * blocks * plane);
        for (place, block) in x.chunks_exact_mut(plane).enumerate() {
            self.read::<V>(self.images.start + place / blocks, place % blocks * V::LANES, window, block);
        }
        let area = self.rows.len() * self.width * V::LANES;
        let sums = part(&mut scratch.result, count * self.vectors.len() * area);
        let squares = count * self.rows.len().div_ceil(P::STEP) * self.width.div_ceil(P::STEP);
        let points = P::SIDE * P::SIDE;
        // one register more, so that squares do not begin at the same place of a cache
        let (pitch, step) = ((points * blocks + 1) * V::LANES, (2 * points + 1) * V::LANES);
        let (v, y) = (part(&mut scratch.v, squares * pitch), part(&mut scratch.y, squares * step));
        for (square, v) in v.chunks_exact_mut(pitch).enumerate() {
            self.to_points::<P, V>(x, window, self.place::<P>(square), v);
        }
        for first in self.vectors.clone().step_by(2) {
            let wide = 2.min(self.vectors.end - first);
            if self.kernel.at_points {
                self.products::<P, V>((v, pitch), (y, step), squares, [first, wide]);
            } else {
                self.products_of_taps::<P, V>((v, pitch), &mut scratch.u, (y, step), squares, [first, wide]);
            }
            for (square, y) in y.chunks_exact(step).enumerate() {
                self.to_results::<P, V>(y, self.place::<P>(square), [first - self.vectors.start, wide], sums);
            }
        }
        let channels = result.len() / count;
        // the pixels are not needed any more, so their buffer is used again
        let lines = part(&mut scratch.x, (self.rows.len() * self.width).next_multiple_of(V::LANES) * V::LANES);
        for (image, channel) in (0..count).flat_map(|i| (0..channels).step_by(V::LANES).map(move |c| (i, c))) {
            let block = &sums[(image * self.vectors.len() + channel / V::LANES) * area..][..area];
            let end = channels.min(channel + V::LANES);
            let result = &mut result[image * channels + channel..image * channels + end];
            self.write::<V>(block, image, channel, lines, result);
        }
    }

    /// Writes one vector of channels of an image, from channel `first` on, as [rows, columns, lanes] of the window. Pixels outside of the
    /// image and lanes without a channel are zeros.
    #[inline(always)]
    fn read<V: Vectors>(&self, image: usize, first: usize, window: Window, to: &mut [f32]) {
        let [_, channels, height, width] = self.extents;
        let count = V::LANES.min(channels - first);
        let from = &self.x[(image * channels + first) * height * width..][..count * height * width];
        let (pixels, gap) = (window.height * width, window.extents[1] - width);
        let (mut square, mut column) = ([0f32; 256], 0);
        let mut at = window.zeros[0] * window.extents[1] + window.zeros[1];
        cleared::<V>(to, 0, at);
        for chunk in (0..pixels).step_by(V::LANES) {
            let have = V::LANES.min(pixels - chunk);
            transposed::<V>(from, height * width, window.first * width + chunk, have, &mut square);
            for line in square.chunks_exact(V::LANES).take(have) {
                V::store(&mut to[at * V::LANES..], V::load(line));
                (at, column) = (at + 1, column + 1);
                if column == width {
                    cleared::<V>(to, at, gap);
                    (at, column) = (at + gap, 0);
                }
            }
        }
        cleared::<V>(to, at, usize::MAX);
    }

    /// The points of one square, all channels.
    #[inline(always)]
    fn to_points<P: Points, V: Vectors>(&self, x: &[f32], window: Window, place: Place, v: &mut [f32]) {
        let (blocks, [height, width]) = (self.blocks::<V>(), window.extents);
        let corner = (place.corner[0] * width + place.corner[1]) * V::LANES;
        let plane = height * width * V::LANES;
        for block in 0..blocks {
            let plane = &x[(place.image * blocks + block) * plane..][..plane];
            pixels_to_points::<P, V>(&plane[corner..], width * V::LANES, (&mut v[block * V::LANES..], blocks * V::LANES));
        }
    }

    /// At every point, pixels times taps for one or two vectors of results.
    #[inline(always)]
    fn products<P: Points, V: Vectors>(
        &self,
        (v, pitch): (&[f32], usize),
        (y, step): (&mut [f32], usize),
        rows: usize,
        [first, wide]: [usize; 2],
    ) {
        let depth = self.extents[1].next_multiple_of(V::LANES);
        let points = P::SIDE * P::SIDE;
        let u = &self.kernel.elements[first / 2 * points * apart(depth, 2, V::LANES)..];
        for (point, u) in u.chunks_exact(apart(depth, wide, V::LANES)).enumerate().take(points) {
            let (v, y) = (&v[point * depth..], &mut y[point * wide * V::LANES..]);
            let u = &u[..depth * wide * V::LANES];
            Product { v, pitch, u, y, step, add: false }.compute::<V>(wide, rows);
        }
    }

    /// The same where the taps are not kept at the points. The taps of `CHUNK` channels at a time are brought there.
    #[inline(always)]
    fn products_of_taps<P: Points, V: Vectors>(
        &self,
        (v, pitch): (&[f32], usize),
        buffer: &mut Vec<f32>,
        (y, step): (&mut [f32], usize),
        rows: usize,
        [first, wide]: [usize; 2],
    ) {
        let depth = self.extents[1].next_multiple_of(V::LANES);
        let (points, of_channel) = (P::SIDE * P::SIDE, 9 * wide * V::LANES);
        let taps = &self.kernel.elements[first * V::LANES * 9 * depth..][..depth * of_channel];
        let slab = apart(CHUNK, wide, V::LANES);
        let u = part(buffer, points * slab);
        for (chunk, taps) in taps.chunks(CHUNK * of_channel).enumerate() {
            for (at, taps) in taps.chunks_exact(9 * V::LANES).enumerate() {
                spread::<P, V>(taps, slab, &mut u[at * V::LANES..]);
            }
            let length = taps.len() / 9;
            for (point, u) in u.chunks_exact(slab).enumerate() {
                let (v, y) = (&v[point * depth + chunk * CHUNK..], &mut y[point * wide * V::LANES..]);
                Product { v, pitch, u: &u[..length], y, step, add: chunk > 0 }.compute::<V>(wide, rows);
            }
        }
    }

    /// The results of one square, for one or two vectors of channels.
    #[inline(always)]
    fn to_results<P: Points, V: Vectors>(&self, y: &[f32], place: Place, [first, wide]: [usize; 2], sums: &mut [f32]) {
        let (height, width) = (self.rows.len(), self.width);
        let [top, left] = place.corner;
        let (rows, columns) = (P::STEP.min(height - top), P::STEP.min(width - left));
        let area = height * width * V::LANES;
        for vector in 0..wide {
            let plane = &mut sums[(place.image * self.vectors.len() + first + vector) * area..][..area];
            let mut lines = [[V::splat(0.0); 6]; 4];
            for j in 0..P::SIDE {
                let mut m = [V::splat(0.0); 6];
                for (i, m) in m.iter_mut().enumerate().take(P::SIDE) {
                    *m = V::load(&y[((i * P::SIDE + j) * wide + vector) * V::LANES..]);
                }
                let column = P::results::<V>(m);
                for i in 0..P::STEP {
                    lines[i][j] = column[i];
                }
            }
            for (i, line) in lines.into_iter().enumerate().take(P::STEP) {
                let line = P::results::<V>(line);
                for (j, &value) in line.iter().enumerate().take(P::STEP) {
                    if i < rows && j < columns {
                        V::store(&mut plane[((top + i) * width + left + j) * V::LANES..], value);
                    }
                }
            }
        }
    }

    /// Finishes the results of one vector of channels of one image, from channel `first` on, and writes them to `result`. `lines` is a
    /// buffer for one vector of channels.
    #[inline(always)]
    fn write<V: Vectors>(&self, block: &[f32], image: usize, first: usize, lines: &mut [f32], result: &mut [&mut [f32]]) {
        let steps = self.plan.extents([self.extents[2], self.extents[3]]).map_or(0, |[height, width]| height * width);
        let first = self.vectors.start * V::LANES + first;
        let start = ((self.images.start + image) * self.kernel.results + first) * steps + self.rows.start * self.width;
        let pixels = block.len() / V::LANES;
        let pitch = pixels.next_multiple_of(V::LANES);
        let mut square = [0f32; 256];
        for chunk in (0..pixels).step_by(V::LANES) {
            for at in 0..V::LANES.min(pixels - chunk) {
                V::store(&mut square[at * V::LANES..], V::load(&block[(chunk + at) * V::LANES..]));
            }
            V::transpose(&mut square);
            for lane in 0..result.len() {
                V::store(&mut lines[lane * pitch + chunk..], V::load(&square[lane * V::LANES..]));
            }
        }
        for lane in 0..result.len() {
            self.finish::<V>(&lines[lane * pitch..][..pixels], first + lane, start + lane * steps, &mut *result[lane]);
        }
    }

    /// Applies bias, sum, ReLU and gate to the results of one channel and writes them. `place` is where the first result stands in the
    /// operands of the sum and the gate.
    #[inline(always)]
    fn finish<V: Vectors>(&self, line: &[f32], channel: usize, place: usize, to: &mut [f32]) {
        let Beside { bias, sum, gate } = self.beside;
        let beside = [sum, gate].map(|operand| operand.map_or(&[][..], |all| &all[place..place + line.len()]));
        // −0 changes no number
        let bias = V::splat(bias.map_or(-0.0, |bias| bias[channel]));
        match (sum.is_some(), self.plan.relu, gate.is_some()) {
            (false, false, false) => finished::<V, false, false, false>(line, bias, beside, to),
            (false, false, true) => finished::<V, false, false, true>(line, bias, beside, to),
            (false, true, false) => finished::<V, false, true, false>(line, bias, beside, to),
            (false, true, true) => finished::<V, false, true, true>(line, bias, beside, to),
            (true, false, false) => finished::<V, true, false, false>(line, bias, beside, to),
            (true, false, true) => finished::<V, true, false, true>(line, bias, beside, to),
            (true, true, false) => finished::<V, true, true, false>(line, bias, beside, to),
            (true, true, true) => finished::<V, true, true, true>(line, bias, beside, to),
        }
    }
}

/// Adds the bias and, where they are given, applies the sum, the ReLU and the gate, in this order.
#[inline(always)]
fn finished<V: Vectors, const SUM: bool, const RELU: bool, const GATE: bool>(
    line: &[f32],
    bias: V::Register,
    beside: [&[f32]; 2],
    to: &mut [f32],
) {
    let whole = line.len() / V::LANES * V::LANES;
    for at in (0..whole).step_by(V::LANES) {
        some_finished::<V, SUM, RELU, GATE>((line, at, V::LANES), bias, beside, to);
    }
    if whole < line.len() {
        some_finished::<V, SUM, RELU, GATE>((line, whole, line.len() - whole), bias, beside, to);
    }
}

/// The same for `have` results from place `at` on.
#[inline(always)]
fn some_finished<V: Vectors, const SUM: bool, const RELU: bool, const GATE: bool>(
    (line, at, have): (&[f32], usize, usize),
    bias: V::Register,
    [sum, gate]: [&[f32]; 2],
    to: &mut [f32],
) {
    let mut value = V::plus(some::<V>(&line[at..], have), bias);
    if SUM {
        value = V::plus(value, some::<V>(&sum[at..], have));
    }
    if RELU {
        value = V::rectified(value);
    }
    if GATE {
        value = V::gated(some::<V>(&gate[at..], have), value);
    }
    put::<V>(&mut to[at..], value, have);
}

/// A square of SIDE × SIDE pixels at the points, an axis after the other. Lines of pixels are `width` apart, points `step`.
#[inline(always)]
fn pixels_to_points<P: Points, V: Vectors>(from: &[f32], width: usize, (to, step): (&mut [f32], usize)) {
    let mut points = [[V::splat(0.0); 6]; 6];
    for i in 0..P::SIDE {
        let line = &from[i * width..][..P::SIDE * V::LANES];
        let mut d = [V::splat(0.0); 6];
        for (j, d) in d.iter_mut().enumerate().take(P::SIDE) {
            *d = V::load(&line[j * V::LANES..]);
        }
        points[i] = P::pixels::<V>(d);
    }
    for j in 0..P::SIDE {
        let mut d = [V::splat(0.0); 6];
        for (i, d) in d.iter_mut().enumerate().take(P::SIDE) {
            *d = points[i][j];
        }
        let column = P::pixels::<V>(d);
        for (i, &value) in column.iter().enumerate().take(P::SIDE) {
            V::store(&mut to[(i * P::SIDE + j) * step..], value);
        }
    }
}

/// Writes zeros to `count` registers from register `first` on, at most to the end.
#[inline(always)]
fn cleared<V: Vectors>(to: &mut [f32], first: usize, count: usize) {
    let end = first.saturating_add(count).min(to.len() / V::LANES);
    for at in first..end {
        V::store(&mut to[at * V::LANES..], V::splat(0.0));
    }
}

/// Transposes `have` pixels of every channel, from pixel `first` on, to [pixels, lanes]. A channel has `pixels` pixels; lanes without a
/// channel are zeros.
#[inline(always)]
fn transposed<V: Vectors>(channels: &[f32], pixels: usize, first: usize, have: usize, square: &mut [f32; 256]) {
    let count = channels.len() / pixels;
    for lane in 0..count.min(V::LANES) {
        let from = &channels[lane * pixels + first..(lane + 1) * pixels];
        V::soon(from, 2 * V::LANES);
        V::store(&mut square[lane * V::LANES..], some::<V>(from, have));
    }
    if count < V::LANES {
        // the last transposition has left numbers in the other rows
        square[count * V::LANES..].fill(0.0);
    }
    V::transpose(square);
}

/// What is brought to the points.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// SIDE × SIDE pixels.
    Pixels,
    /// Gradients of STEP × STEP results.
    Gradients,
}

impl Side {
    /// Of a square.
    #[inline(always)]
    pub fn extent<P: Points>(self) -> usize {
        if self == Side::Pixels { P::SIDE } else { P::STEP }
    }
}

/// One square at the points, an axis after the other: of a plane from a place on, with lines of `width` pixels, and zeros outside of
/// these rows and columns. Points are `step` apart.
///
/// No closures here: what they call would not be compiled for the vectors of the processor.
#[inline(always)]
pub(super) fn square_to_points<P: Points, V: Vectors>(
    of: Side,
    [rows, columns]: [Range<usize>; 2],
    (plane, first, width): (&[f32], usize, usize),
    (to, step): (&mut [f32], usize),
) {
    let side = of.extent::<P>();
    let whole = rows == (0..side) && columns == (0..side);
    let mut points = [[V::splat(0.0); 6]; 6];
    for j in 0..side {
        let mut d = [V::splat(0.0); 6];
        for (i, d) in d.iter_mut().enumerate().take(side) {
            if whole || (rows.start <= i && i < rows.end && columns.start <= j && j < columns.end) {
                *d = V::load(&plane[first.wrapping_add(i * width + j) * V::LANES..]);
            }
        }
        let column = if of == Side::Pixels { P::pixels::<V>(d) } else { P::gradients::<V>(d) };
        for i in 0..P::SIDE {
            points[i][j] = column[i];
        }
    }
    for (i, row) in points.into_iter().enumerate().take(P::SIDE) {
        let row = if of == Side::Pixels { P::pixels::<V>(row) } else { P::gradients::<V>(row) };
        for (j, &value) in row.iter().enumerate().take(P::SIDE) {
            V::store(&mut to[(i * P::SIDE + j) * step..], value);
        }
    }
}

/// Channels of so many pixels each, from one pixel on, beside each other: [pixels, lanes], zeros where there is no channel.
#[inline(always)]
pub(super) fn beside_each_other<V: Vectors>(channels: &[f32], pixels: usize, first: usize, to: &mut [f32]) {
    let mut square = [0f32; 256];
    for (chunk, to) in to.chunks_mut(V::LANES * V::LANES).enumerate() {
        transposed::<V>(channels, pixels, first + chunk * V::LANES, to.len() / V::LANES, &mut square);
        for (to, line) in to.chunks_exact_mut(V::LANES).zip(square.chunks_exact(V::LANES)) {
            V::store(to, V::load(line));
        }
    }
}

/// Taps [M, C, 3, 3], or, for the adjoint of a convolution, its taps [C, M, 3, 3].
#[derive(Clone, Copy)]
pub(super) struct Taps<'t> {
    pub elements: &'t [f32],
    pub results: usize,
    pub channels: usize,
    pub adjoint: bool,
}

impl Taps<'_> {
    /// Writes the taps of as many results as fit into `to`, from result `first` on: at the points of the square, [points, C, block], or
    /// without a square as they are, [C, vectors, 9, lanes].
    #[inline(always)]
    pub fn block<V: Vectors>(&self, square: Option<Square>, first: usize, to: &mut [f32]) {
        match square {
            Some(Square::Two) => self.at::<Two, V>(first, to),
            Some(Square::Four) => self.at::<Four, V>(first, to),
            None => self.as_they_are::<V>(first, to),
        }
    }

    #[inline(always)]
    fn at<P: Points, V: Vectors>(&self, first: usize, to: &mut [f32]) {
        let depth = self.channels.next_multiple_of(V::LANES);
        let slab = to.len() / (P::SIDE * P::SIDE);
        let block = (slab - V::LANES) / depth;
        let mut ready = self.room::<V>();
        for vector in 0..block / V::LANES {
            self.beside_each_other::<V>(first + vector * V::LANES, &mut ready);
            for c in 0..depth {
                let to = &mut to[c * block + vector * V::LANES..];
                let taps = if c < self.channels { &ready[9 * c * V::LANES..][..9 * V::LANES] } else { &[] };
                spread::<P, V>(taps, slab, to);
            }
        }
    }

    #[inline(always)]
    fn as_they_are<V: Vectors>(&self, first: usize, to: &mut [f32]) {
        let (depth, nine) = (self.channels.next_multiple_of(V::LANES), 9 * V::LANES);
        let wide = to.len() / (depth * nine);
        let mut ready = self.room::<V>();
        for vector in 0..wide {
            self.beside_each_other::<V>(first + vector * V::LANES, &mut ready);
            for (c, to) in to.chunks_exact_mut(wide * nine).enumerate() {
                let to = &mut to[vector * nine..][..nine];
                match c < self.channels {
                    true => to.copy_from_slice(&ready[c * nine..][..nine]),
                    false => to.fill(0.0),
                }
            }
        }
    }

    fn room<V: Vectors>(&self) -> Vec<f32> {
        vec![0.0; (9 * self.channels).next_multiple_of(V::LANES) * V::LANES]
    }

    /// Taps of some results, from `start` on, results beside each other: [C, 9, lanes].
    #[inline(always)]
    fn beside_each_other<V: Vectors>(&self, start: usize, ready: &mut [f32]) {
        match self.adjoint {
            true => self.reversed::<V>(start, ready),
            false => self.straight::<V>(start, ready),
        }
    }

    /// Taps of some results, results beside each other: [C, 9, lanes].
    #[inline(always)]
    fn straight<V: Vectors>(&self, start: usize, ready: &mut [f32]) {
        let row = 9 * self.channels;
        for (at, square) in ready.chunks_exact_mut(V::LANES * V::LANES).enumerate() {
            let have = V::LANES.min(row - at * V::LANES);
            square.fill(0.0);
            for (line, m) in square.chunks_exact_mut(V::LANES).zip(start..self.results) {
                line[..have].copy_from_slice(&self.elements[m * row + at * V::LANES..][..have]);
            }
            V::transpose(square);
        }
    }

    /// The same, from the last tap to the first.
    #[inline(always)]
    fn reversed<V: Vectors>(&self, start: usize, ready: &mut [f32]) {
        for (c, ready) in ready.chunks_exact_mut(9 * V::LANES).enumerate().take(self.channels) {
            let have = V::LANES.min(self.results.saturating_sub(start));
            let taps = &self.elements[(c * self.results + start.min(self.results)) * 9..][..9 * have];
            for (t, line) in ready.chunks_exact_mut(V::LANES).enumerate() {
                line.fill(0.0);
                line.iter_mut().zip(taps.chunks_exact(9)).for_each(|(to, taps)| *to = taps[8 - t]);
            }
        }
    }
}

/// Nine taps at the points, which are `apart` from each other; none are zeros.
#[inline(always)]
fn spread<P: Points, V: Vectors>(taps: &[f32], apart: usize, to: &mut [f32]) {
    let mut columns = [[V::splat(0.0); 3]; 6];
    if !taps.is_empty() {
        for b in 0..3 {
            let tap = |a: usize| V::load(&taps[(3 * a + b) * V::LANES..]);
            let column = P::taps::<V>([tap(0), tap(1), tap(2)]);
            for i in 0..P::SIDE {
                columns[i][b] = column[i];
            }
        }
    }
    for (i, row) in columns.into_iter().enumerate().take(P::SIDE) {
        let row = P::taps::<V>(row);
        for (j, &value) in row.iter().enumerate().take(P::SIDE) {
            V::store(&mut to[(i * P::SIDE + j) * apart..], value);
        }
    }
}
