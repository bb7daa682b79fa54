//! As many images as a register has lanes, through one convolution. Written once for every kind of register.

use std::ops::Range;

use super::axis::{Axis, Phase};
use super::{Chwn, Packed, Results, Source};
use crate::vectors::{Vectors, put, some};
use crate::winograd::Beside;

/// A job: some images, at most as many as there are lanes.
pub(super) struct Work<'w> {
    pub plan: &'w Chwn,
    pub axes: &'w [Axis; 2],
    pub source: Source<'w>,
    pub taps: &'w Packed,
    pub beside: Beside<'w>,
    pub images: Range<usize>,
    /// H' and W' of the result.
    pub extents: [usize; 2],
}

/// Buffers that grow when they must.
pub(super) struct Scratch {
    /// [C, H, zeros and W, lanes].
    x: Vec<f32>,
    /// One channel of what a maximum was taken of, and its cotangent: [H, W, lanes].
    squares: Vec<f32>,
    ct: Vec<f32>,
    /// Results of a tile: [M, H', W', lanes].
    y: Vec<f32>,
    /// Maxima of one channel.
    maxima: Vec<f32>,
}

impl Scratch {
    pub const fn new() -> Scratch {
        Scratch { x: Vec::new(), squares: Vec::new(), ct: Vec::new(), y: Vec::new(), maxima: Vec::new() }
    }
}

/// Numbers of a line of a cache.
const LINE: usize = 16;

/// A part of a buffer that is at least as long, from the beginning of a line of a cache on.
fn part(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length + LINE {
        buffer.resize(length + LINE, 0.0);
    }
    let start = buffer.as_ptr().align_offset(4 * LINE).min(LINE);
    &mut buffer[start..start + length]
}

/// The images in the layout, with the zeros before and behind every row.
struct Planes<'p> {
    elements: &'p [f32],
    /// Zeros before a row, and numbers from a row to the next, in registers.
    before: usize,
    pitch: usize,
}

impl Work<'_> {
    #[inline(always)]
    pub fn compute<V: Vectors>(&self, scratch: &mut Scratch, results: &mut Results) {
        let (_, [_, channels, height, width]) = self.source.images();
        let [wide, deep] = self.taps.tile;
        let [before, behind] = self.axes[1].zeros(wide);
        let pitch = before + width + behind;
        let plane = height * pitch * V::LANES;
        let x = part(&mut scratch.x, channels * plane);
        for (channel, plane) in x.chunks_exact_mut(plane.max(1)).enumerate() {
            for row in plane.chunks_exact_mut(pitch * V::LANES) {
                row[..before * V::LANES].fill(0.0);
                row[(before + width) * V::LANES..].fill(0.0);
            }
            match self.source {
                Source::Images((x, _)) => self.read::<V>(x, [channel, channels], [height, width], plane, [before, pitch]),
                Source::Squares((x, _), ct) => {
                    let squares = part(&mut scratch.squares, height * width * V::LANES);
                    self.read::<V>(x, [channel, channels], [height, width], squares, [0, width]);
                    let halves = [height / 2, width / 2];
                    let cts = part(&mut scratch.ct, halves[0] * halves[1] * V::LANES);
                    self.read::<V>(ct, [channel, channels], halves, cts, [0, halves[1]]);
                    self.to_largest::<V>(squares, cts, [height, width], plane, [before, pitch]);
                }
            }
        }
        let planes = Planes { elements: x, before, pitch };
        let [rows, columns] = self.extents;
        let high = band::<V>(deep, columns).min(rows);
        for band in (0..rows).step_by(high).map(|start| start..rows.min(start + high)) {
            let area = band.len() * columns * V::LANES;
            let y = part(&mut scratch.y, deep * area);
            for first in (0..self.taps.results).step_by(deep) {
                self.results::<V>(&planes, first, &band, y);
                for (channel, y) in (first..self.taps.results.min(first + deep)).zip(y.chunks_exact_mut(area)) {
                    if let Some(maxima) = &mut results.maxima {
                        let halves = [band.len() / 2, columns / 2];
                        let most = part(&mut scratch.maxima, halves[0] * halves[1] * V::LANES);
                        largest::<V>(y, columns, halves, most);
                        let place = [band.start / 2 * halves[1], rows / 2 * halves[1]];
                        self.write::<V>(most, channel, maxima, place, Beside::default());
                    }
                    if let Some(whole) = &mut results.whole {
                        self.write::<V>(y, channel, whole, [band.start * columns, rows * columns], self.beside);
                    }
                }
            }
        }
    }

    /// One channel of all images: pixel [i, j] at place `i·pitch + before + j`.
    #[inline(always)]
    fn read<V: Vectors>(
        &self,
        x: &[f32],
        [channel, channels]: [usize; 2],
        [height, width]: [usize; 2],
        to: &mut [f32],
        [before, pitch]: [usize; 2],
    ) {
        let area = height * width;
        let mut square = [0f32; 256];
        let square = &mut square[..V::LANES * V::LANES];
        let (mut row, mut column, images) = (0, 0, self.images.len());
        for start in (0..area).step_by(V::LANES) {
            let length = V::LANES.min(area - start);
            for lane in 0..images {
                let from = &x[((self.images.start + lane) * channels + channel) * area + start..];
                V::store(&mut square[lane * V::LANES..], some::<V>(from, length));
            }
            if images < V::LANES {
                // the last transposition has left numbers in the other rows
                square[images * V::LANES..].fill(0.0);
            }
            V::transpose(square);
            for pixel in square.chunks_exact(V::LANES).take(length) {
                V::store(&mut to[(row * pitch + before + column) * V::LANES..], V::load(pixel));
                column += 1;
                if column == width {
                    (row, column) = (row + 1, 0);
                }
            }
        }
    }

    /// Every number of a cotangent at the first largest element of its square; what is in no square becomes 0.
    #[inline(always)]
    fn to_largest<V: Vectors>(
        &self,
        x: &[f32],
        ct: &[f32],
        [height, width]: [usize; 2],
        to: &mut [f32],
        [before, pitch]: [usize; 2],
    ) {
        let [rows, columns] = [height / 2, width / 2];
        let odd = |row: usize, column: usize| row == 2 * rows || column == 2 * columns;
        for (row, column) in (0..height).flat_map(|i| (0..width).map(move |j| (i, j))).filter(|&(i, j)| odd(i, j)) {
            to[(row * pitch + before + column) * V::LANES..][..V::LANES].fill(0.0);
        }
        for row in 0..rows {
            let pair = &x[2 * row * width * V::LANES..][..2 * width * V::LANES];
            let (top, bottom) = pair.split_at(width * V::LANES);
            let lines = &mut to[2 * row * pitch * V::LANES..][..2 * pitch * V::LANES];
            let (above, below) = lines.split_at_mut(pitch * V::LANES);
            for column in 0..columns {
                let (at, place) = (2 * column * V::LANES, (before + 2 * column) * V::LANES);
                let (a, b) = (V::load(&top[at..]), V::load(&top[at + V::LANES..]));
                let (c, d) = (V::load(&bottom[at..]), V::load(&bottom[at + V::LANES..]));
                let (upper, lower) = (V::largest(a, b), V::largest(c, d));
                let ct = V::load(&ct[(row * columns + column) * V::LANES..]);
                let ct = if self.plan.positive { V::passed(V::largest(upper, lower), ct) } else { ct };
                let [over, under] = V::divided(upper, lower, ct);
                let ([p, q], [r, s]) = (V::divided(a, b, over), V::divided(c, d, under));
                V::store(&mut above[place..], p);
                V::store(&mut above[place + V::LANES..], q);
                V::store(&mut below[place..], r);
                V::store(&mut below[place + V::LANES..], s);
            }
        }
    }

    /// A tile of channels of the result, from one on.
    #[inline(always)]
    fn results<V: Vectors>(&self, planes: &Planes, first: usize, band: &Range<usize>, y: &mut [f32]) {
        if V::REGISTERS >= 32 {
            match self.taps.tile {
                [4, _] => self.phases::<V, 4, 6>(planes, first, band, y),
                [5, _] => self.phases::<V, 5, 4>(planes, first, band, y),
                [6, _] => self.phases::<V, 6, 4>(planes, first, band, y),
                [7, _] => self.phases::<V, 7, 3>(planes, first, band, y),
                [8, _] => self.phases::<V, 8, 3>(planes, first, band, y),
                [12, _] => self.phases::<V, 12, 2>(planes, first, band, y),
                _ => self.phases::<V, 14, 1>(planes, first, band, y),
            }
        } else {
            match self.taps.tile {
                [2, _] => self.phases::<V, 2, 6>(planes, first, band, y),
                [3, _] => self.phases::<V, 3, 4>(planes, first, band, y),
                [4, _] => self.phases::<V, 4, 3>(planes, first, band, y),
                [6, _] => self.phases::<V, 6, 2>(planes, first, band, y),
                _ => self.phases::<V, 12, 1>(planes, first, band, y),
            }
        }
    }

    #[inline(always)]
    fn phases<V: Vectors, const P: usize, const Q: usize>(
        &self,
        planes: &Planes,
        first: usize,
        band: &Range<usize>,
        y: &mut [f32],
    ) {
        let [rows, columns] = self.axes;
        let mut bias = [0f32; Q];
        if let Some(given) = self.beside.bias {
            bias.iter_mut().zip(&given[first..]).for_each(|(b, &v)| *b = v);
        }
        let (tiles, (mut taps, _)) = (self.taps.results.div_ceil(Q), self.taps.elements.as_chunks::<Q>());
        for (row, column) in rows.phases.iter().flat_map(|r| columns.phases.iter().map(move |c| (r, c))) {
            let length = self.taps.channels * row.taps.len() * column.taps.len();
            let (mine, behind) = taps.split_at(tiles * length);
            taps = behind;
            let tile = Tile { row, column, taps: &mine[first / Q * length..][..length], bias };
            match column.stride {
                1 => self.phase::<V, P, Q, 1>(planes, &tile, band, y),
                _ => self.phase::<V, P, Q, 2>(planes, &tile, band, y),
            }
        }
    }

    #[inline(always)]
    fn phase<V: Vectors, const P: usize, const Q: usize, const S: usize>(
        &self,
        planes: &Planes,
        tile: &Tile<Q>,
        band: &Range<usize>,
        y: &mut [f32],
    ) {
        let (row, column) = (tile.row, tile.column);
        let area = band.len() * self.extents[1] * V::LANES;
        let height = self.axes[0].extent as i64;
        let relu = self.plan.relu && self.beside.sum.is_none();
        let [start, end] = [band.start, band.end].map(|row_of| row_of.saturating_sub(row.first).div_ceil(row.step));
        for i in start..end {
            let line = (row.first + i * row.step - band.start) * self.extents[1];
            let first = (i * row.stride) as i64;
            let before = row.shifts.iter().take_while(|&&shift| first + shift < 0).count();
            let inside = row.shifts[before..].iter().take_while(|&&shift| first + shift < height).count();
            for start in (0..column.count).step_by(P) {
                // the last tile reaches as far as the results do
                let start = start.min(column.count.saturating_sub(P));
                let corner = (start * S + planes.before) as i64;
                let sums = self.tile::<V, P, Q, S>(planes, tile, (before..before + inside, first), corner);
                for (p, sums) in sums.iter().enumerate().take(column.count - start) {
                    let place = (line + column.first + (start + p) * column.step) * V::LANES;
                    for (q, &sum) in sums.iter().enumerate() {
                        V::store(&mut y[q * area + place..], if relu { V::rectified(sum) } else { sum });
                    }
                }
            }
        }
    }

    /// P results of a row, of Q channels: the rows of taps that are inside of the images, the first row of pixels, the first column.
    #[inline(always)]
    fn tile<V: Vectors, const P: usize, const Q: usize, const S: usize>(
        &self,
        planes: &Planes,
        tile: &Tile<Q>,
        (inside, first): (Range<usize>, i64),
        corner: i64,
    ) -> [[V::Register; Q]; P] {
        let (rows, columns) = (&tile.row.shifts[..], &tile.column.shifts[..]);
        let (row, across) = (planes.pitch * V::LANES, columns.len());
        let mut sums = [[V::splat(0.0); Q]; P];
        for sums in &mut sums {
            for (sum, &bias) in sums.iter_mut().zip(&tile.bias) {
                *sum = V::splat(bias);
            }
        }
        for channel in 0..self.taps.channels {
            for a in inside.clone() {
                let line = (channel * self.axes[0].extent + (first + rows[a]) as usize) * row;
                let line = &planes.elements[line..line + row];
                let taps = &tile.taps[(channel * rows.len() + a) * across..][..across];
                for (&shift, taps) in columns.iter().zip(taps) {
                    let x = &line[(corner + shift) as usize * V::LANES..][..((P - 1) * S + 1) * V::LANES];
                    let mut few = [V::splat(0.0); Q];
                    for (few, &tap) in few.iter_mut().zip(taps) {
                        *few = V::splat(tap);
                    }
                    for (p, sums) in sums.iter_mut().enumerate() {
                        let x = V::load(&x[p * S * V::LANES..]);
                        for (sum, &tap) in sums.iter_mut().zip(&few) {
                            *sum = V::fma(x, tap, *sum);
                        }
                    }
                }
            }
        }
        sums
    }

    /// Some numbers of one channel, of all images, from a place on in planes of an area; `y` is used up.
    #[inline(always)]
    fn write<V: Vectors>(&self, y: &mut [f32], channel: usize, to: &mut [f32], [place, area]: [usize; 2], beside: Beside) {
        let results = self.taps.results;
        let skipped = self.images.start * results * area;
        let mut last = [0f32; 256];
        for (i, block) in y.chunks_mut(V::LANES * V::LANES).enumerate() {
            let length = block.len() / V::LANES;
            let square = if length == V::LANES {
                block
            } else {
                last[..block.len()].copy_from_slice(block);
                &mut last[..V::LANES * V::LANES]
            };
            V::transpose(square);
            for image in 0..self.images.len() {
                let at = (image * results + channel) * area + place + i * V::LANES;
                let mut value = V::load(&square[image * V::LANES..]);
                if let Some(sum) = beside.sum {
                    value = V::plus(value, some::<V>(&sum[skipped + at..], length));
                    if self.plan.relu {
                        value = V::rectified(value);
                    }
                }
                if let Some(gate) = beside.gate {
                    value = V::gated(some::<V>(&gate[skipped + at..], length), value);
                }
                put::<V>(&mut to[at..], value, length);
            }
        }
    }
}

/// Numbers of the results that are computed at a time: they stay in the second cache.
const BAND: usize = 1 << 14;

/// Rows that are computed at a time where a tile has this number of channels: an even number that fills whole squares, if one is small
/// enough.
fn band<V: Vectors>(channels: usize, columns: usize) -> usize {
    let most = (BAND / (channels * columns * V::LANES).max(1)).max(2) & !1;
    (2..=most).rev().step_by(2).find(|rows| (rows * columns).is_multiple_of(V::LANES)).unwrap_or(most)
}

/// What a tile multiplies.
struct Tile<'t, const Q: usize> {
    row: &'t Phase,
    column: &'t Phase,
    /// [C, rows of taps, columns of taps].
    taps: &'t [[f32; Q]],
    bias: [f32; Q],
}

/// The maxima over squares of one channel of such a width.
#[inline(always)]
fn largest<V: Vectors>(y: &[f32], width: usize, [rows, columns]: [usize; 2], to: &mut [f32]) {
    for row in 0..rows {
        let pair = &y[2 * row * width * V::LANES..][..2 * width * V::LANES];
        let (top, bottom) = pair.split_at(width * V::LANES);
        let line = &mut to[row * columns * V::LANES..][..columns * V::LANES];
        for (column, to) in line.chunks_exact_mut(V::LANES).enumerate() {
            let at = 2 * column * V::LANES;
            let upper = V::largest(V::load(&top[at..]), V::load(&top[at + V::LANES..]));
            let lower = V::largest(V::load(&bottom[at..]), V::load(&bottom[at + V::LANES..]));
            V::store(to, V::largest(upper, lower));
        }
    }
}
