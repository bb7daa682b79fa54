//! The gradient of a convolution by its kernel: the arithmetic of `Correlation`. Knows nothing about engines.
//!
//! `W̄[m,c,a,b] = Σ x[n,c, i·s + a·d − p, j·s + b·d − p] · ȳ[n,m,i,j]` over all n, i, j. Samples are laid out side by side in rows
//! with zeros between them, a plane for each residue of a strided position, so that every tap is the inner product of one long run
//! of ȳ and one run of x that begins somewhere else. No operand is multiplied out, and no sum depends on the number of threads.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

#[cfg(target_arch = "x86_64")]
use crate::vectors::{Avx2, Avx512};
use crate::vectors::{Plain, Vectors};
use crate::winograd::{Gradient, Square};

/// A convolution over [H, W] in one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correlation {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    begin: [usize; 2],
    /// In squares, where it is a kernel of 3×3 taps without stride and dilation.
    square: Option<Square>,
}

/// Elements, row-major, and their extents: samples, channels, rows, columns.
pub type Images<'i> = (&'i [f32], [usize; 4]);

/// Does a number of jobs, in any order, on any threads; gives the error of whoever owns the threads.
pub type Each<'e, E> = dyn Fn(usize, &(dyn Fn(usize) + Sync)) -> Result<(), E> + 'e;

/// Elements of a group of samples, laid out: what fits in a cache that cores share.
const GROUP: usize = 1 << 21;
/// Elements of a run that are taken at a time: a few of them fit in the nearest cache.
const RUN: usize = 1024;
/// Rows of ȳ that a job takes: their runs fit in the second cache.
const ROWS: usize = 48;
/// Jobs that are made at least where there are channels enough.
const JOBS: usize = 8;

impl Correlation {
    /// Reads the attributes of a node, lists of numbers by name.
    ///
    /// # Errors
    /// A sentence: one is missing or impossible.
    pub fn read(attribute: impl Fn(&str) -> Option<Vec<i64>>) -> Result<Correlation, String> {
        let two = |name: &str, least: i64| match attribute(name).as_deref() {
            Some(&[a, b, ..]) if a >= least && b >= least => Ok([a as usize, b as usize]),
            _ => Err(format!("Correlation has a missing or impossible {name}")),
        };
        let [kernel, stride, dilation] = [two("kernel_shape", 1)?, two("strides", 1)?, two("dilations", 1)?];
        let square = Square::read("Correlation", attribute("square"))?;
        if square.is_some() && (kernel, stride, dilation) != ([3, 3], [1, 1], [1, 1]) {
            return Err("Correlation has squares for other than 3×3 taps beside each other".to_owned());
        }
        Ok(Correlation { kernel, stride, dilation, begin: two("pads", 0)?, square })
    }

    /// The extents of the kernel.
    pub fn kernel(&self) -> [usize; 2] {
        self.kernel
    }

    /// W̄ [M, C, kernel] of x [N, C, H, W] and ȳ [N, M, P, Q]; all of `result` is written.
    ///
    /// # Errors
    /// That of `each`.
    pub fn compute<E>(&self, x: Images, ct: Images, result: &mut [f32], each: &Each<E>) -> Result<(), E> {
        if let Some(square) = self.square {
            return Gradient { square, begin: self.begin, x, ct }.compute(result, each);
        }
        self.with(&forms()[0], x, ct, result, each)
    }

    fn with<E>(&self, form: &Form, x: Images, ct: Images, result: &mut [f32], each: &Each<E>) -> Result<(), E> {
        let ([samples, channels, ..], [_, rows, ..]) = (x.1, ct.1);
        let columns = channels * self.kernel[0] * self.kernel[1];
        if x.0.is_empty() || ct.0.is_empty() {
            result.fill(0.0);
            return Ok(());
        }
        let [first, second] = self.axes(x.1, ct.1);
        let layout = Layout::of(&first, &second, [samples, channels, rows], form.lanes);
        let jobs = jobs(rows, channels, columns / channels);
        let sums: Vec<Mutex<Vec<f32>>> = jobs.iter().map(|j| Mutex::new(vec![0.0; j.rows.len() * j.columns.len()])).collect();
        let mut planes = vec![0.0; channels * layout.channel()];
        let mut runs = vec![0.0; rows * layout.run];
        let offsets: Vec<usize> = (0..columns).map(|column| layout.offset(column)).collect();
        for start in (0..samples).step_by(layout.group) {
            let group = start..samples.min(start + layout.group);
            if group.len() < layout.group {
                planes.fill(0.0);
                runs.fill(0.0);
            }
            lay_out(&mut planes, layout.channel(), each, &|c, planes| layout.x(x, group.clone(), c, planes))?;
            lay_out(&mut runs, layout.run, each, &|m, run| layout.ct(ct, group.clone(), m, run))?;
            each(jobs.len(), &|i| {
                let (job, mut sums) = (&jobs[i], sums[i].lock().unwrap_or_else(PoisonError::into_inner));
                let operands = Operands { planes: &planes, runs: &runs, run: layout.run, offsets: &offsets[job.columns.clone()] };
                (form.product)(&operands, job.rows.clone(), &mut sums);
            })?;
        }
        for (job, sums) in jobs.iter().zip(sums) {
            let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
            for (m, line) in job.rows.clone().zip(sums.chunks_exact(job.columns.len())) {
                result[m * columns..][job.columns.clone()].copy_from_slice(line);
            }
        }
        Ok(())
    }

    fn axes(&self, extents: [usize; 4], steps: [usize; 4]) -> [Taps; 2] {
        [0, 1].map(|axis| {
            let stride = self.stride[axis] as i64;
            let places = (0..self.kernel[axis]).map(|t| (t * self.dilation[axis]) as i64 - self.begin[axis] as i64);
            let (residues, shifts): (Vec<usize>, Vec<i64>) =
                places.map(|e| (e.rem_euclid(stride) as usize, e.div_euclid(stride))).unzip();
            let before = shifts.iter().map(|&f| (-f).max(0) as usize).max().unwrap_or(0);
            let behind = shifts.iter().map(|&f| f.max(0) as usize).max().unwrap_or(0);
            let (extent, steps) = (extents[axis + 2], steps[axis + 2]);
            Taps { residues, shifts, before, behind, stride: self.stride[axis], extent, steps }
        })
    }
}

/// The taps of one axis: tap t of step i reads position `(i + shifts[t])·stride + residues[t]`.
struct Taps {
    residues: Vec<usize>,
    shifts: Vec<i64>,
    /// How far the taps reach before step 0 and behind the last one.
    before: usize,
    behind: usize,
    stride: usize,
    /// Extent of x.
    extent: usize,
    /// Extent of ȳ.
    steps: usize,
}

impl Taps {
    /// Positions of this residue that some tap reads.
    fn positions(&self, residue: usize) -> usize {
        self.extent.saturating_sub(residue).div_ceil(self.stride).min(self.steps + self.behind)
    }

    /// Steps with as many zeros behind them as keep every tap away from the next ones.
    fn pitch(&self) -> usize {
        let longest = (0..self.stride).map(|residue| self.positions(residue)).max().unwrap_or(0);
        (longest + self.before).max(self.steps + self.behind)
    }
}

/// Where elements stand: x as [C, residue, row, sample, column] and ȳ as [M, row, sample, column], with zeros between.
struct Layout<'t> {
    first: &'t Taps,
    second: &'t Taps,
    /// Samples at a time.
    group: usize,
    /// From one sample to the next, and from one row to the next.
    pitch: usize,
    row: usize,
    /// Zeros before row 0 of a plane, and all of its elements.
    front: usize,
    plane: usize,
    /// Elements of a row vector of ȳ, a multiple of the lanes.
    run: usize,
}

impl<'t> Layout<'t> {
    fn of(first: &'t Taps, second: &'t Taps, [samples, channels, rows]: [usize; 3], lanes: usize) -> Layout<'t> {
        let pitch = second.pitch();
        let residues = first.stride * second.stride;
        let one = channels * residues * (first.steps + first.before + first.behind) * pitch + rows * first.steps * pitch;
        let group = (GROUP / one.max(1)).clamp(1, samples);
        let row = group * pitch;
        let run = (first.steps * row).next_multiple_of(lanes);
        let front = first.before * row + second.before;
        let plane = front + run + first.behind * row + second.behind;
        Layout { first, second, group, pitch, row, front, plane, run }
    }

    /// Elements of a channel of x.
    fn channel(&self) -> usize {
        self.first.stride * self.second.stride * self.plane
    }

    /// Where the run of x begins that belongs to a column c·kh·kw + a·kw + b of the result.
    fn offset(&self, column: usize) -> usize {
        let (kh, kw) = (self.first.shifts.len(), self.second.shifts.len());
        let (channel, a, b) = (column / (kh * kw), column / kw % kh, column % kw);
        let residue = self.first.residues[a] * self.second.stride + self.second.residues[b];
        let shift = self.first.shifts[a] * self.row as i64 + self.second.shifts[b];
        channel * self.channel() + residue * self.plane + (self.front as i64 + shift) as usize
    }

    /// One channel of x.
    fn x(&self, (x, [_, channels, height, width]): Images, group: Range<usize>, channel: usize, planes: &mut [f32]) {
        let (down, across) = (self.first.stride, self.second.stride);
        for (residue, plane) in planes.chunks_exact_mut(self.plane).enumerate() {
            let (r, s) = (residue / across, residue % across);
            let columns = self.second.positions(s);
            for row in 0..self.first.positions(r) {
                for (place, n) in group.clone().enumerate() {
                    let line = &x[((n * channels + channel) * height + row * down + r) * width..][..width];
                    let to = &mut plane[self.front + row * self.row + place * self.pitch..][..columns];
                    match across {
                        1 => to.copy_from_slice(&line[..columns]),
                        _ => to.iter_mut().zip(line.iter().skip(s).step_by(across)).for_each(|(to, &v)| *to = v),
                    }
                }
            }
        }
    }

    /// One channel of ȳ.
    fn ct(&self, (ct, [_, rows, height, width]): Images, group: Range<usize>, m: usize, run: &mut [f32]) {
        for row in 0..height {
            for (place, n) in group.clone().enumerate() {
                let line = &ct[((n * rows + m) * height + row) * width..][..width];
                run[row * self.row + place * self.pitch..][..width].copy_from_slice(line);
            }
        }
    }
}

/// Writes every part of a buffer, each in a job of its own.
fn lay_out<E>(buffer: &mut [f32], part: usize, each: &Each<E>, write: &(dyn Fn(usize, &mut [f32]) + Sync)) -> Result<(), E> {
    let parts: Vec<Mutex<&mut [f32]>> = buffer.chunks_exact_mut(part).map(Mutex::new).collect();
    each(parts.len(), &|i| write(i, &mut parts[i].lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Some rows and some columns of the result.
struct Job {
    rows: Range<usize>,
    columns: Range<usize>,
}

/// How the result is divided: it depends on its extents alone.
fn jobs(rows: usize, channels: usize, taps: usize) -> Vec<Job> {
    let down = rows.div_ceil(ROWS);
    let across = JOBS.div_ceil(down).clamp(1, channels.div_ceil(8));
    let part = |i: usize, of: usize, total: usize| total * i / of..total * (i + 1) / of;
    let all = (0..down).flat_map(|i| (0..across).map(move |j| (part(i, down, rows), part(j, across, channels))));
    all.map(|(rows, channels)| Job { rows, columns: channels.start * taps..channels.end * taps }).collect()
}

/// What a job multiplies.
struct Operands<'o> {
    planes: &'o [f32],
    /// Row vectors of ȳ, of `run` elements each.
    runs: &'o [f32],
    run: usize,
    /// Where in the planes the run of every column begins.
    offsets: &'o [usize],
}

/// Adds the inner products of these rows of ȳ with every column to the sums [rows, columns].
type Product = fn(&Operands, Range<usize>, &mut [f32]);

/// The instructions that a product uses.
struct Form {
    lanes: usize,
    product: Product,
}

/// The forms that this processor has, the fastest first.
fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function was compiled for.
            forms.push(Form { lanes: 16, product: |operands, rows, sums| unsafe { product_avx512(operands, rows, sums) } });
        }
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            forms.push(Form { lanes: 8, product: |operands, rows, sums| unsafe { product_avx2(operands, rows, sums) } });
        }
    }
    forms.push(Form { lanes: 4, product: product::<Plain, 2, 4> });
    forms
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn product_avx512(operands: &Operands, rows: Range<usize>, sums: &mut [f32]) {
    match surplus(rows.len(), operands.offsets.len(), 4, 6) <= surplus(rows.len(), operands.offsets.len(), 6, 4) {
        true => product::<Avx512, 4, 6>(operands, rows, sums),
        false => product::<Avx512, 6, 4>(operands, rows, sums),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn product_avx2(operands: &Operands, rows: Range<usize>, sums: &mut [f32]) {
    match surplus(rows.len(), operands.offsets.len(), 4, 3) <= surplus(rows.len(), operands.offsets.len(), 3, 4) {
        true => product::<Avx2, 4, 3>(operands, rows, sums),
        false => product::<Avx2, 3, 4>(operands, rows, sums),
    }
}

/// Inner products that tiles of this size compute, also those that nobody reads.
fn surplus(rows: usize, columns: usize, high: usize, wide: usize) -> usize {
    rows.next_multiple_of(high) * columns.next_multiple_of(wide)
}

/// Tiles of R rows and S columns, a register of each at a time. What of a tile lies beyond the last row or column repeats it.
#[inline(always)]
fn product<V: Vectors, const R: usize, const S: usize>(operands: &Operands, rows: Range<usize>, sums: &mut [f32]) {
    let columns = operands.offsets.len();
    for start in (0..operands.run).step_by(RUN) {
        let length = RUN.min(operands.run - start);
        for row in (0..rows.len()).step_by(R) {
            let mut y: [&[f32]; R] = [&[]; R];
            for (r, y) in y.iter_mut().enumerate() {
                let m = (rows.start + row + r).min(rows.end - 1);
                *y = &operands.runs[m * operands.run + start..][..length];
            }
            for column in (0..columns).step_by(S) {
                let mut x: [&[f32]; S] = [&[]; S];
                for (s, x) in x.iter_mut().enumerate() {
                    *x = &operands.planes[operands.offsets[(column + s).min(columns - 1)] + start..][..length];
                }
                let tile = tile::<V, R, S>(&y, &x, length);
                for (r, line) in tile.iter().enumerate().take(rows.len() - row) {
                    let to = &mut sums[(row + r) * columns + column..(row + r + 1) * columns];
                    to.iter_mut().zip(line).for_each(|(sum, &v)| *sum += v);
                }
            }
        }
    }
}

#[inline(always)]
fn tile<V: Vectors, const R: usize, const S: usize>(y: &[&[f32]; R], x: &[&[f32]; S], length: usize) -> [[f32; S]; R] {
    let mut sums = [[V::splat(0.0); S]; R];
    for at in (0..length).step_by(V::LANES) {
        let mut few = [V::splat(0.0); R];
        for r in 0..R {
            few[r] = V::load(&y[r][at..]);
        }
        for s in 0..S {
            let x = V::load(&x[s][at..]);
            for r in 0..R {
                sums[r][s] = V::fma(few[r], x, sums[r][s]);
            }
        }
    }
    let mut all = [[0f32; S]; R];
    for (all, sums) in all.iter_mut().zip(sums) {
        for (all, sum) in all.iter_mut().zip(sums) {
            *all = folded::<V>(sum);
        }
    }
    all
}

/// The sum of all lanes, halves first.
#[inline(always)]
fn folded<V: Vectors>(sum: V::Register) -> f32 {
    let mut lanes = [0f32; 16];
    V::store(&mut lanes, sum);
    let mut half = V::LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{backwards, numbers, one_by_one};

    #[derive(Clone, Copy, Debug)]
    struct Case {
        x: [usize; 4],
        rows: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
        pads: [usize; 4],
    }

    const PLAIN: Case = Case { x: [3, 5, 6, 9], rows: 7, kernel: [3, 3], stride: [1, 1], dilation: [1, 1], pads: [1; 4] };

    impl Case {
        fn arithmetic(&self) -> Correlation {
            let list = |v: &[usize]| Some(v.iter().map(|&n| n as i64).collect());
            Correlation::read(|name| match name {
                "kernel_shape" => list(&self.kernel),
                "strides" => list(&self.stride),
                "dilations" => list(&self.dilation),
                "pads" => list(&self.pads),
                _ => None,
            })
            .unwrap()
        }

        fn steps(&self) -> [usize; 4] {
            let steps = |axis: usize| {
                let reach = self.dilation[axis] * (self.kernel[axis] - 1);
                (self.x[axis + 2] + self.pads[axis] + self.pads[axis + 2] - reach - 1) / self.stride[axis] + 1
            };
            [self.x[0], self.rows, steps(0), steps(1)]
        }

        /// The formula, in float64.
        fn expected(&self, x: &[f32], ct: &[f32]) -> Vec<f64> {
            let ([samples, channels, height, width], [_, rows, p, q]) = (self.x, self.steps());
            let at = |axis: usize, step: usize, tap: usize| {
                (step * self.stride[axis] + tap * self.dilation[axis]).checked_sub(self.pads[axis])
            };
            let mut result = Vec::new();
            for (m, c) in (0..rows).flat_map(|m| (0..channels).map(move |c| (m, c))) {
                for (a, b) in (0..self.kernel[0]).flat_map(|a| (0..self.kernel[1]).map(move |b| (a, b))) {
                    let mut sum = 0.0;
                    for (n, i, j) in (0..samples).flat_map(|n| (0..p).flat_map(move |i| (0..q).map(move |j| (n, i, j)))) {
                        if let (Some(u), Some(v)) = (at(0, i, a).filter(|&u| u < height), at(1, j, b).filter(|&v| v < width)) {
                            let x = x[((n * channels + c) * height + u) * width + v];
                            sum += f64::from(x) * f64::from(ct[((n * rows + m) * p + i) * q + j]);
                        }
                    }
                    result.push(sum);
                }
            }
            result
        }
    }

    #[test]
    fn every_form_computes_the_formula_in_any_order_of_jobs() {
        let cases = [
            PLAIN,
            Case { kernel: [1, 1], pads: [0; 4], ..PLAIN },
            Case { kernel: [5, 2], pads: [2, 0, 1, 1], rows: 1, ..PLAIN },
            Case { kernel: [3, 4], pads: [0; 4], x: [2, 1, 9, 7], ..PLAIN },
            Case { stride: [2, 2], ..PLAIN },
            Case { stride: [2, 3], kernel: [5, 3], pads: [2, 1, 0, 3], x: [4, 3, 11, 10], ..PLAIN },
            Case { dilation: [2, 3], pads: [3, 2, 1, 4], ..PLAIN },
            Case { stride: [2, 2], dilation: [3, 2], pads: [3; 4], x: [2, 4, 12, 13], ..PLAIN },
            Case { kernel: [1, 1], stride: [2, 2], pads: [0; 4], ..PLAIN },
            // pads beyond the kernel
            Case { kernel: [1, 2], pads: [2, 3, 1, 2], ..PLAIN },
            // several jobs in both directions, and more samples than are laid out at a time
            Case { x: [2, 33, 4, 4], rows: 100, ..PLAIN },
            Case { x: [37, 60, 33, 31], rows: 3, ..PLAIN },
        ];
        for case in cases {
            let (steps, arithmetic) = (case.steps(), case.arithmetic());
            let (x, ct) = (numbers(case.x.iter().product(), 7919), numbers(steps.iter().product(), 104_729));
            let expected = case.expected(&x, &ct);
            let scale = expected.iter().fold(1e-30f64, |m, v| m.max(v.abs()));
            for form in forms() {
                let mut found = vec![f32::NAN; expected.len()];
                arithmetic.with(&form, (&x, case.x), (&ct, steps), &mut found, &one_by_one).unwrap();
                let off = expected.iter().zip(&found).map(|(e, &f)| (e - f64::from(f)).abs()).fold(0.0, f64::max);
                assert!(off < 2e-6 * scale, "{case:?}, {} lanes: {off:e} of {scale:e}", form.lanes);
                let mut again = vec![f32::NAN; expected.len()];
                arithmetic.with(&form, (&x, case.x), (&ct, steps), &mut again, &backwards).unwrap();
                assert_eq!(found, again, "{case:?}, {} lanes: other jobs first", form.lanes);
            }
        }
    }

    #[test]
    fn in_squares_it_is_the_same_gradient() {
        let (steps, case) = (PLAIN.steps(), PLAIN);
        let (x, ct) = (numbers(case.x.iter().product(), 7919), numbers(steps.iter().product(), 104_729));
        let expected = case.expected(&x, &ct);
        for square in [Square::Two, Square::Four] {
            let (mut found, arithmetic) = (vec![f32::NAN; expected.len()], case.arithmetic());
            let arithmetic = Correlation { square: Some(square), ..arithmetic };
            arithmetic.compute((&x, case.x), (&ct, steps), &mut found, &one_by_one).unwrap();
            let off = expected.iter().zip(&found).map(|(e, &f)| (e - f64::from(f)).abs()).fold(0.0, f64::max);
            assert!(off < 1e-4, "{square:?}: {off:e}");
        }
    }

    #[test]
    fn no_samples_give_zeros_and_impossible_attributes_a_sentence() {
        let mut result = [f32::NAN; 2 * 5 * 9];
        PLAIN.arithmetic().compute((&[], [0, 5, 6, 9]), (&[], [0, 2, 6, 9]), &mut result, &one_by_one).unwrap();
        assert_eq!(result, [0.0; 90]);
        let of = |kernel: i64| Correlation::read(|name| (!["pads", "square"].contains(&name)).then(|| vec![kernel, 1]));
        assert_eq!(of(1).unwrap_err(), "Correlation has a missing or impossible pads");
        assert_eq!(of(0).unwrap_err(), "Correlation has a missing or impossible kernel_shape");
        let squares = |square: i64, stride: i64| {
            Correlation::read(|name| match name {
                "kernel_shape" => Some(vec![3, 3]),
                "square" => Some(vec![square]),
                _ => Some(vec![stride; 4]),
            })
        };
        assert_eq!(squares(3, 1).unwrap_err(), "Correlation has an impossible square");
        assert_eq!(squares(4, 2).unwrap_err(), "Correlation has squares for other than 3×3 taps beside each other");
        assert_eq!(squares(4, 1).unwrap().square, Some(Square::Four));
    }
}
