//! Some images through one convolution, and taps at the points. Written once for every kind of register and of square.

use super::points::{Four, Points, Two};
use super::product::Product;
use super::vectors::Vectors;
use super::{Beside, Kernel, SQUARES, Scratch, Square, Winograd};

/// Some images.
pub(super) struct Work<'w> {
    pub plan: &'w Winograd,
    pub x: &'w [f32],
    /// Images, channels, rows, columns.
    pub extents: [usize; 4],
    /// Extents of the result.
    pub steps: [usize; 2],
    pub kernel: &'w Kernel,
    pub beside: Beside<'w>,
}

/// Where squares stand.
#[derive(Clone, Copy)]
struct Place {
    image: usize,
    /// The first row and column of the result.
    corner: [usize; 2],
}

#[inline(always)]
pub(super) fn images<V: Vectors>(work: &Work, scratch: &mut Scratch, result: &mut [f32]) {
    match work.plan.square {
        Square::Two => work.images::<Two, V>(scratch, result),
        Square::Four => work.images::<Four, V>(scratch, result),
    }
}

/// A part of a buffer that is at least as long.
fn part(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

impl Work<'_> {
    /// Vectors of channels, of images and of results.
    fn blocks<V: Vectors>(&self) -> [usize; 2] {
        [self.extents[1].div_ceil(V::LANES), self.kernel.results.div_ceil(V::LANES)]
    }

    fn place<P: Points>(&self, square: usize) -> Place {
        let [rows, columns] = self.steps.map(|n| n.div_ceil(P::STEP));
        let at = square % (rows * columns);
        Place { image: square / (rows * columns), corner: [at / columns * P::STEP, at % columns * P::STEP] }
    }

    #[inline(always)]
    fn images<P: Points, V: Vectors>(&self, scratch: &mut Scratch, result: &mut [f32]) {
        let [blocks, outer] = self.blocks::<V>();
        let (samples, pixels, area) = (self.extents[0], self.extents[2] * self.extents[3], self.steps[0] * self.steps[1]);
        let x = part(&mut scratch.x, samples * blocks * pixels * V::LANES);
        for (place, block) in x.chunks_exact_mut(pixels * V::LANES).enumerate() {
            self.read::<V>(place / blocks, place % blocks * V::LANES, block);
        }
        let sums = part(&mut scratch.result, samples * outer * area * V::LANES);
        let all = samples * self.steps.map(|n| n.div_ceil(P::STEP)).iter().product::<usize>();
        let pieces = all.div_ceil(SQUARES);
        let points = P::SIDE * P::SIDE;
        // one register more, so that squares do not begin at the same place of a cache
        let (pitch, step) = ((points * blocks + 1) * V::LANES, (2 * points + 1) * V::LANES);
        let most = all.div_ceil(pieces);
        let (v, y) = (part(&mut scratch.v, most * pitch), part(&mut scratch.y, most * step));
        for piece in 0..pieces {
            let (start, end) = (all * piece / pieces, all * (piece + 1) / pieces);
            for (square, v) in (start..end).zip(v.chunks_exact_mut(pitch)) {
                self.to_points::<P, V>(x, self.place::<P>(square), v);
            }
            for first in (0..outer).step_by(2) {
                let wide = 2.min(outer - first);
                self.products::<P, V>((v, pitch), (y, step), end - start, [first, wide]);
                for (square, y) in (start..end).zip(y.chunks_exact(step)) {
                    self.to_results::<P, V>(y, self.place::<P>(square), [first, wide], sums);
                }
            }
        }
        for (place, block) in sums.chunks_exact(area * V::LANES).enumerate() {
            self.write::<V>(block, place / outer, place % outer * V::LANES, result);
        }
    }

    /// The channels of one image from one on, beside each other: [pixels, lanes], zeros where there is no channel.
    #[inline(always)]
    fn read<V: Vectors>(&self, image: usize, first: usize, to: &mut [f32]) {
        let [_, channels, height, width] = self.extents;
        let pixels = height * width;
        let count = V::LANES.min(channels - first);
        let from = &self.x[(image * channels + first) * pixels..][..count * pixels];
        let mut square = [0f32; 256];
        for (chunk, to) in to.chunks_mut(V::LANES * V::LANES).enumerate() {
            let have = to.len() / V::LANES;
            for (line, from) in square.chunks_exact_mut(V::LANES).zip(from.chunks_exact(pixels)) {
                let from = &from[chunk * V::LANES..];
                match have == V::LANES {
                    true => V::store(line, V::load(from)),
                    false => line[..have].copy_from_slice(from),
                }
            }
            // the last transposition has left numbers in the other rows
            square[count * V::LANES..].fill(0.0);
            V::transpose(&mut square);
            to.copy_from_slice(&square[..have * V::LANES]);
        }
    }

    /// The points of one square, all channels.
    #[inline(always)]
    fn to_points<P: Points, V: Vectors>(&self, x: &[f32], place: Place, v: &mut [f32]) {
        let [_, _, height, width] = self.extents;
        let [blocks, _] = self.blocks::<V>();
        let [begin, extents] = [self.plan.begin, [height, width]];
        let [rows, columns] = [0, 1].map(|axis| {
            let before = begin[axis].saturating_sub(place.corner[axis]);
            let behind = (place.corner[axis] + P::SIDE).min(extents[axis] + begin[axis]) - place.corner[axis];
            (before.min(behind), behind)
        });
        let whole = rows == (0, P::SIDE) && columns == (0, P::SIDE);
        // the place of pixel [0, 0] of the square, were it inside
        let corner = (place.corner[0] * width + place.corner[1]).wrapping_sub(begin[0] * width + begin[1]);
        for block in 0..blocks {
            let plane = &x[(place.image * blocks + block) * height * width * V::LANES..][..height * width * V::LANES];
            let mut points = [[V::splat(0.0); 6]; 6];
            for j in 0..P::SIDE {
                let mut d = [V::splat(0.0); 6];
                for (i, d) in d.iter_mut().enumerate().take(P::SIDE) {
                    if whole || (rows.0..rows.1).contains(&i) && (columns.0..columns.1).contains(&j) {
                        *d = V::load(&plane[corner.wrapping_add(i * width + j) * V::LANES..]);
                    }
                }
                let column = P::pixels::<V>(d);
                for i in 0..P::SIDE {
                    points[i][j] = column[i];
                }
            }
            let to = &mut v[block * V::LANES..];
            for (i, row) in points.into_iter().enumerate().take(P::SIDE) {
                let row = P::pixels::<V>(row);
                for (j, &value) in row.iter().enumerate().take(P::SIDE) {
                    V::store(&mut to[(i * P::SIDE + j) * blocks * V::LANES..], value);
                }
            }
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
        let (points, wide) = (P::SIDE * P::SIDE, wide * V::LANES);
        let u = &self.kernel.elements[first * V::LANES * points * depth..][..wide * points * depth];
        for (point, u) in u.chunks_exact(depth * wide).enumerate() {
            let mut product = Product { v: &v[point * depth..], pitch, u, y: &mut y[point * wide..], step };
            match wide == V::LANES {
                true => product.compute::<V, 1>(rows),
                false => product.compute::<V, 2>(rows),
            }
        }
    }

    /// The results of one square, for one or two vectors of channels.
    #[inline(always)]
    fn to_results<P: Points, V: Vectors>(&self, y: &[f32], place: Place, [first, wide]: [usize; 2], sums: &mut [f32]) {
        let [height, width] = self.steps;
        let [top, left] = place.corner;
        let (rows, columns) = (P::STEP.min(height - top), P::STEP.min(width - left));
        let [_, outer] = self.blocks::<V>();
        for vector in 0..wide {
            let plane = &mut sums[(place.image * outer + first + vector) * height * width * V::LANES..];
            let plane = &mut plane[..height * width * V::LANES];
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

    /// Results of a vector of channels of one image to where they belong, with what is done to them.
    #[inline(always)]
    fn write<V: Vectors>(&self, block: &[f32], image: usize, first: usize, result: &mut [f32]) {
        let area = self.steps[0] * self.steps[1];
        let results = self.kernel.results;
        let start = (image * results + first) * area;
        let mut square = [0f32; 256];
        for (chunk, pixels) in block.chunks(V::LANES * V::LANES).enumerate() {
            square[..pixels.len()].copy_from_slice(pixels);
            V::transpose(&mut square);
            let have = pixels.len() / V::LANES;
            let lines = square.chunks_exact_mut(V::LANES).take(V::LANES.min(results - first));
            for (lane, line) in lines.enumerate() {
                let places = start + lane * area + chunk * V::LANES..start + lane * area + chunk * V::LANES + have;
                self.finish(&mut line[..have], first + lane, places.start);
                result[places].copy_from_slice(&line[..have]);
            }
        }
    }

    /// What is done to results of one channel that begin at this place.
    #[inline(always)]
    fn finish(&self, line: &mut [f32], channel: usize, start: usize) {
        if let Some(bias) = self.beside.bias {
            line.iter_mut().for_each(|v| *v += bias[channel]);
        }
        if let Some(sum) = self.beside.sum {
            line.iter_mut().zip(&sum[start..]).for_each(|(v, s)| *v += s);
        }
        if self.plan.relu {
            // what is not a number stays
            line.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v });
        }
        if let Some(gate) = self.beside.gate {
            line.iter_mut().zip(&gate[start..]).for_each(|(v, &g)| *v = if g > 0.0 { *v } else { 0.0 });
        }
    }
}

/// Taps [M, C, 3, 3] of the results from `first` on, as many as fit, at the points: [points, C, block].
#[inline(always)]
pub(super) fn taps<V: Vectors>(square: Square, from: &[f32], extents: [usize; 2], first: usize, to: &mut [f32]) {
    match square {
        Square::Two => taps_at::<Two, V>(from, extents, first, to),
        Square::Four => taps_at::<Four, V>(from, extents, first, to),
    }
}

#[inline(always)]
fn taps_at<P: Points, V: Vectors>(from: &[f32], [results, channels]: [usize; 2], first: usize, to: &mut [f32]) {
    let depth = channels.next_multiple_of(V::LANES);
    let block = to.len() / (P::SIDE * P::SIDE * depth);
    // taps of some results, results beside each other
    let row = 9 * channels;
    let mut ready = vec![0f32; row.next_multiple_of(V::LANES) * V::LANES];
    for vector in 0..block / V::LANES {
        let start = first + vector * V::LANES;
        for (at, square) in ready.chunks_exact_mut(V::LANES * V::LANES).enumerate() {
            let have = V::LANES.min(row - at * V::LANES);
            square.fill(0.0);
            for (line, m) in square.chunks_exact_mut(V::LANES).zip(start..results) {
                line[..have].copy_from_slice(&from[m * row + at * V::LANES..][..have]);
            }
            V::transpose(square);
        }
        for c in 0..depth {
            let to = &mut to[c * block + vector * V::LANES..];
            let taps = if c < channels { &ready[9 * c * V::LANES..][..9 * V::LANES] } else { &[] };
            spread::<P, V>(taps, depth * block, to);
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
