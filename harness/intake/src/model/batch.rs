//! The proof by running that a model treats every image on its own: f(concat) = concat f. Knows graphs and an engine.

use flatscape_engine::{CompileOptions, Engine, EngineError};
use flatscape_graph::{DType, Graph, Tensor};

use crate::random::{Law, Place, fill};
use crate::refusal::Refusal;

/// Two logits count as equal up to this times max(1, largest |logit|): engines sum in another order for another batch.
pub const TOLERANCE: f64 = 1e-4;

/// What was found when the images were run alone and together.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Agreement {
    /// How many images.
    pub images: usize,
    /// Largest difference between logits, relative to max(1, largest |logit|); infinite where one of the two is not a number.
    pub difference: f64,
    /// Whether the outputs look like probabilities: rows in [0,1] that sum to 1, up to rounding.
    pub probabilities: bool,
}

impl Agreement {
    /// Whether the two are equal up to rounding.
    pub fn holds(&self) -> bool {
        self.difference <= TOLERANCE
    }
}

/// Runs `small` on batches of `size` images and `any` on all of them at once, and compares the outputs.
///
/// # Errors
/// An engine error that names the operator that the engine lacks, or what else it said.
pub fn compare(engine: &dyn Engine, small: &Graph, size: usize, any: &Graph, images: &Tensor) -> Result<Agreement, Refusal> {
    let n = images.shape().first().copied().unwrap_or(0) / size.max(1) * size.max(1);
    let failed = |e: EngineError| Refusal::engine(6, e.to_string());
    let plain = CompileOptions { split: false, ..CompileOptions::default() };
    let alone = engine.compile(small, &plain).map_err(failed)?;
    let together = engine.compile(any, &plain).map_err(failed)?;
    let mut parts = Vec::new();
    for start in (0..n).step_by(size.max(1)) {
        parts.extend(first_output(alone.as_ref(), &rows(images, start, start + size.max(1))).map_err(failed)?);
    }
    let whole = first_output(together.as_ref(), &rows(images, 0, n)).map_err(failed)?;
    let difference = difference(&parts, &whole);
    Ok(Agreement { images: n, difference, probabilities: are_probabilities(&whole, n) })
}

/// Sizes of batches that are tried, one drawn by key from each range; the last one is what runs use if nothing else is asked for.
/// Micro-batches of engines lie in the first two.
const SIZES: &[(usize, usize)] = &[(9, 16), (17, 32), (33, 63), (64, 64)];

/// Values of pixels that are tried together at most.
const TRIED_VALUES: usize = 1 << 22;

/// How many images [`at_drawn_sizes`] takes of this many values each.
pub(super) fn images_at_drawn_sizes(values: usize) -> usize {
    let largest = SIZES.iter().map(|(_, to)| *to).max().unwrap_or(1);
    (TRIED_VALUES / values.max(1)).clamp(1, largest)
}

/// Runs `small` on batches of `size` images, `any` on batches of sizes and of images that are drawn by key, and compares the
/// outputs of every image: the 95th percentile of their differences, because single values may fall on either side of a step.
///
/// # Errors
/// As for [`compare`].
pub(super) fn at_drawn_sizes(
    engine: &dyn Engine,
    small: &Graph,
    size: usize,
    any: &Graph,
    images: &Tensor,
) -> Result<f64, Refusal> {
    let failed = |e: EngineError| Refusal::engine(6, e.to_string());
    let plain = CompileOptions { split: false, ..CompileOptions::default() };
    let alone = engine.compile(small, &plain).map_err(failed)?;
    let together = engine.compile(any, &plain).map_err(failed)?;
    let n = images.shape().first().copied().unwrap_or(0) / size.max(1) * size.max(1);
    let mut expected: Vec<Vec<f64>> = Vec::with_capacity(n);
    for start in (0..n).step_by(size.max(1)) {
        let values = first_output(alone.as_ref(), &rows(images, start, start + size.max(1))).map_err(failed)?;
        expected.extend(values.chunks((values.len() / size.max(1)).max(1)).map(<[f64]>::to_vec));
    }
    let mut differences: Vec<f64> = Vec::new();
    for (place, &(from, to)) in SIZES.iter().enumerate().filter(|(_, (from, _))| *from <= n) {
        let mut drawn = vec![0f32; n + 1];
        fill(Law::Uniform, Place::new(0, "intake", "sizes").sample(place as u64), &mut drawn);
        let share = (f64::from(drawn[n]) + 1.0) / 2.0;
        let count = (from + (share * (to - from + 1) as f64) as usize).min(to).min(n);
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| drawn[a].total_cmp(&drawn[b]));
        order.truncate(count);
        let found = first_output(together.as_ref(), &flatscape_graph::rows(images, &order)).map_err(failed)?;
        let width = (found.len() / count.max(1)).max(1);
        differences.extend(order.iter().zip(found.chunks(width)).map(|(&i, row)| difference(&expected[i], row)));
    }
    differences.sort_by(f64::total_cmp);
    Ok(differences.get(differences.len().saturating_sub(1) * 95 / 100).copied().unwrap_or(0.0))
}

/// `n` inputs of noise, uniform in [0,1], for a model whose data is not at hand. The batch extent of `shape` is left out.
pub fn noise(n: usize, shape: &[usize], dtype: DType) -> Tensor {
    let size: usize = shape.iter().product();
    let mut values = vec![0.0f32; n * size];
    for (row, chunk) in values.chunks_mut(size.max(1)).enumerate() {
        fill(Law::Uniform, Place::new(0, "intake", "batch").sample(row as u64), chunk);
    }
    values.iter_mut().for_each(|v| *v = (*v + 1.0) / 2.0);
    let extents: Vec<usize> = std::iter::once(n).chain(shape.iter().copied()).collect();
    Tensor::new(&extents, values).unwrap_or_else(|| Tensor::full(DType::F32, &extents, 0.5)).cast(dtype)
}

/// Runs `graph` on batches of `size` images, in their order and each one place further, and compares the outputs of every image.
///
/// # Errors
/// As for [`compare`].
pub fn reordered(engine: &dyn Engine, graph: &Graph, size: usize, images: &Tensor) -> Result<Agreement, Refusal> {
    let failed = |e: EngineError| Refusal::engine(6, e.to_string());
    let executable = engine.compile(graph, &CompileOptions { split: false, ..CompileOptions::default() }).map_err(failed)?;
    let n = images.shape().first().copied().unwrap_or(0) / size.max(1) * size.max(1);
    let run = |order: &[usize]| -> Result<Vec<Vec<f64>>, Refusal> {
        let mut answers = vec![Vec::new(); n];
        for chosen in order.chunks(size.max(1)) {
            let values = first_output(executable.as_ref(), &flatscape_graph::rows(images, chosen)).map_err(failed)?;
            let width = values.len() / chosen.len().max(1);
            chosen.iter().zip(values.chunks(width.max(1))).for_each(|(&i, row)| answers[i] = row.to_vec());
        }
        Ok(answers)
    };
    let order: Vec<usize> = (0..n).collect();
    let further: Vec<usize> = (0..n).map(|i| (i + 1) % n).collect();
    let (a, b) = (run(&order)?.concat(), run(&further)?.concat());
    Ok(Agreement { images: n, difference: difference(&a, &b), probabilities: are_probabilities(&a, n) })
}

/// The largest difference relative to max(1, largest |value| of the first list); infinite where only one of two is a number.
pub fn difference(parts: &[f64], whole: &[f64]) -> f64 {
    let scale = parts.iter().filter(|v| v.is_finite()).fold(1.0, |m: f64, v| m.max(v.abs()));
    let difference = |(a, b): (&f64, &f64)| match (a == b || a.is_nan() && b.is_nan(), (a - b).abs() / scale) {
        (true, _) => 0.0,
        (false, d) if d.is_nan() => f64::INFINITY,
        (false, d) => d,
    };
    if parts.len() == whole.len() { parts.iter().zip(whole).map(difference).fold(0.0, f64::max) } else { f64::INFINITY }
}

/// Rows in [0,1] that sum to 1, not all of them equal, some with numbers between: logits rarely look like this by chance.
fn are_probabilities(values: &[f64], images: usize) -> bool {
    let width = values.len() / images.max(1);
    let sums_to_one =
        |row: &[f64]| row.iter().all(|p| (-1e-6..=1.0 + 1e-6).contains(p)) && (row.iter().sum::<f64>() - 1.0).abs() < 1e-3;
    let between = values.iter().any(|p| (0.001..0.999).contains(p));
    let differ = values.chunks(width.max(1)).any(|row| values.get(..width) != Some(row));
    width > 1 && between && differ && values.chunks(width).all(sums_to_one)
}

fn first_output(executable: &dyn flatscape_engine::Executable, x: &Tensor) -> Result<Vec<f64>, EngineError> {
    let x = executable.upload(x)?;
    let outputs = executable.run(&[&x])?;
    outputs.first().map_or(Ok(Vec::new()), |o| o.host().map(|t| t.to_f64()))
}

fn rows(x: &Tensor, start: usize, end: usize) -> Tensor {
    flatscape_graph::with_array!(x, a => Tensor::from(a.slice_axis(ndarray::Axis(0), (start..end).into()).to_owned()))
}
