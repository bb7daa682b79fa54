//! Every form against the formula in float64, over odd extents and few channels; and that no result depends on its neighbours.

use super::*;
use crate::tests::{backwards, one_by_one};

/// A layer and what follows it.
#[derive(Clone, Copy, Debug)]
struct Case {
    samples: usize,
    channels: usize,
    results: usize,
    extents: [usize; 2],
    pads: [usize; 4],
}

const CASE: Case = Case { samples: 3, channels: 19, results: 37, extents: [9, 14], pads: [1; 4] };

fn plan(square: Square, pads: [usize; 4], relu: bool) -> Winograd {
    Winograd::read(|name| match name {
        "square" => Some(vec![square.step() as i64]),
        "pads" => Some(pads.map(|p| p as i64).to_vec()),
        "relu" => Some(vec![i64::from(relu)]),
        _ => None,
    })
    .unwrap()
}

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

impl Case {
    fn x(&self) -> Vec<f32> {
        numbers(self.samples * self.channels * self.extents[0] * self.extents[1], 3)
    }

    fn taps(&self) -> Vec<f32> {
        numbers(self.results * self.channels * 9, 5)
    }

    fn steps(&self) -> [usize; 2] {
        plan(Square::Two, self.pads, false).extents(self.extents).unwrap()
    }

    /// The same bits whether taps are kept at the points or not.
    fn found(&self, form: &Form, plan: &Winograd, x: &[f32], beside: Beside, (threads, each): (usize, &Each<()>)) -> Vec<f32> {
        let [height, width] = self.steps();
        let extents = [self.samples, self.channels, self.extents[0], self.extents[1]];
        let [kept, brought] = [true, false].map(|kept| {
            let (plan, memory) = (Winograd { kept, ..plan.clone() }, vec![f32::NAN; 7]);
            let kernel = plan.kernel_by(form, &self.taps(), [self.results, self.channels], memory, each).unwrap();
            let mut result = vec![f32::NAN; self.samples * self.results * height * width];
            plan.with(form, (x, extents), &kernel, beside, &mut result, (threads, each)).unwrap();
            result
        });
        let bits = |numbers: &[f32]| numbers.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
        assert!(bits(&kept) == bits(&brought), "{self:?}, {plan:?}, {} lanes", form.lanes);
        kept
    }

    fn ct(&self) -> Vec<f32> {
        numbers(self.samples * self.results * self.steps().iter().product::<usize>(), 7)
    }

    /// The gradient by the taps.
    fn gradient(&self, form: &Form, square: Square, each: &Each<()>) -> Vec<f32> {
        let ([height, width], [rows, columns], (x, ct)) = (self.extents, self.steps(), (self.x(), self.ct()));
        let gradient = Gradient {
            square,
            begin: [self.pads[0], self.pads[1]],
            x: (&x, [self.samples, self.channels, height, width]),
            ct: (&ct, [self.samples, self.results, rows, columns]),
        };
        let mut result = vec![f32::NAN; self.results * self.channels * 9];
        gradient.with(form, &mut result, each).unwrap();
        result
    }

    /// Its formula, every product and sum in one type.
    fn expected_gradient<T: Copy + From<f32> + std::ops::Mul<Output = T> + std::ops::Add<Output = T>>(&self) -> Vec<T> {
        let (x, ct, [height, width], [rows, columns]) = (self.x(), self.ct(), self.extents, self.steps());
        let mut all = Vec::new();
        for (m, c) in (0..self.results).flat_map(|m| (0..self.channels).map(move |c| (m, c))) {
            for t in 0..9 {
                let mut sum = T::from(0.0);
                for (n, i, j) in (0..self.samples).flat_map(|n| (0..rows).flat_map(move |i| (0..columns).map(move |j| (n, i, j))))
                {
                    let (u, v) = ((i + t / 3).wrapping_sub(self.pads[0]), (j + t % 3).wrapping_sub(self.pads[1]));
                    if u < height && v < width {
                        let x = x[((n * self.channels + c) * height + u) * width + v];
                        sum = sum + T::from(x) * T::from(ct[((n * self.results + m) * rows + i) * columns + j]);
                    }
                }
                all.push(sum);
            }
        }
        all
    }

    /// The formula, every product and sum in one type.
    fn expected<T: Copy + From<f32> + std::ops::Mul<Output = T> + std::ops::Add<Output = T>>(&self) -> Vec<T> {
        let (x, taps, [height, width]) = (self.x(), self.taps(), self.extents);
        let [rows, columns] = self.steps();
        let mut all = Vec::new();
        for (n, m) in (0..self.samples).flat_map(|n| (0..self.results).map(move |m| (n, m))) {
            for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                let mut sum = T::from(0.0);
                for (c, t) in (0..self.channels).flat_map(|c| (0..9).map(move |t| (c, t))) {
                    let (u, v) = ((i + t / 3).wrapping_sub(self.pads[0]), (j + t % 3).wrapping_sub(self.pads[1]));
                    if u < height && v < width {
                        let x = x[((n * self.channels + c) * height + u) * width + v];
                        sum = sum + T::from(x) * T::from(taps[(m * self.channels + c) * 9 + t]);
                    }
                }
                all.push(sum);
            }
        }
        all
    }
}

/// The median and the 99.9th percentile of the distances.
fn percentiles(exact: &[f64], found: &[f32]) -> [f64; 2] {
    let mut off: Vec<f64> = exact.iter().zip(found).map(|(e, &f)| (e - f64::from(f)).abs()).collect();
    off.sort_by(f64::total_cmp);
    [off[off.len() / 2], off[off.len() * 999 / 1000]]
}

const SQUARES_OF: [Square; 2] = [Square::Two, Square::Four];

#[test]
fn every_form_computes_the_formula_over_all_small_extents() {
    for (height, width) in (1..=20).flat_map(|h| (1..=20).map(move |w| (h, w))) {
        // pads and channels differ from extent to extent
        let at = height * 20 + width;
        let pads = [[1, 1, 1, 1], [2, 2, 2, 2], [0, 2, 2, 0], [2, 1, 0, 2], [1, 0, 2, 2], [0, 0, 0, 0]][at % 6];
        let [channels, results] = [[1, 1], [3, 5], [17, 2], [2, 33], [8, 16]][at % 5];
        let case = Case { samples: 1 + at % 3, channels, results, extents: [height, width], pads };
        if plan(Square::Two, pads, false).extents([height, width]).is_none() {
            continue;
        }
        let expected = case.expected::<f64>();
        for (form, square) in forms().iter().flat_map(|f| SQUARES_OF.map(|s| (f, s))) {
            let found = case.found(form, &plan(square, pads, false), &case.x(), Beside::default(), (1, &one_by_one));
            let off = expected.iter().zip(&found).map(|(e, &f)| (e - f64::from(f)).abs()).fold(0.0, f64::max);
            assert!(off < 1e-5 * (channels as f64).sqrt(), "{case:?}, {square:?}, {} lanes: {off:e}", form.lanes);
        }
    }
}

#[test]
fn no_result_depends_on_threads_on_the_order_of_jobs_or_on_other_rows() {
    for case in [
        CASE,
        Case { samples: 60, channels: 5, results: 70, extents: [3, 4], ..CASE },
        Case { samples: 1, channels: 4, results: 3, extents: [70, 41], ..CASE },
    ] {
        for (form, square) in forms().iter().flat_map(|f| SQUARES_OF.map(|s| (f, s))) {
            let (plan, x) = (plan(square, case.pads, false), case.x());
            let found = case.found(form, &plan, &x, Beside::default(), (1, &one_by_one));
            assert_eq!(found, case.found(form, &plan, &x, Beside::default(), (3, &backwards)), "{case:?}");
            let (pixels, [height, width]) = (x.len() / case.samples, case.steps());
            let alone = Case { samples: 1, ..case };
            for n in 0..case.samples {
                let row = alone.found(form, &plan, &x[n * pixels..(n + 1) * pixels], Beside::default(), (1, &one_by_one));
                let image = case.results * height * width;
                assert_eq!(found[n * image..(n + 1) * image], row, "{case:?}, row {n}");
            }
        }
    }
}

#[test]
fn bias_sum_relu_and_gate_follow_in_this_order() {
    for case in [CASE, Case { samples: 1, extents: [16, 16], results: 32, ..CASE }] {
        let [height, width] = case.steps();
        let area = height * width;
        for (form, square) in forms().iter().flat_map(|f| SQUARES_OF.map(|s| (f, s))) {
            let plain = case.found(form, &plan(square, case.pads, false), &case.x(), Beside::default(), (1, &one_by_one));
            let (bias, sum) = (numbers(case.results, 8), numbers(plain.len(), 9));
            let mut gate = numbers(plain.len(), 10);
            (gate[0], gate[1], gate[2]) = (f32::NAN, 0.0, f32::INFINITY);
            let beside = Beside { bias: Some(&bias), sum: Some(&sum), gate: Some(&gate) };
            let found = case.found(form, &plan(square, case.pads, true), &case.x(), beside, (2, &one_by_one));
            for (at, (&found, &y)) in found.iter().zip(&plain).enumerate() {
                let finished = (y + bias[at / area % case.results] + sum[at]).max(0.0);
                let expected = if gate[at] > 0.0 { finished } else { 0.0 };
                assert_eq!(found, expected, "{case:?}, {square:?}, {} lanes, {at}", form.lanes);
            }
        }
    }
}

/// A gate selects: it does not multiply. What is not a number passes a ReLU.
#[test]
fn what_is_not_finite_is_selected_or_stays() {
    let case = Case { samples: 1, channels: 2, results: 2, extents: [4, 4], ..CASE };
    for (form, square) in forms().iter().flat_map(|f| SQUARES_OF.map(|s| (f, s))) {
        let (sum, gate) = ([f32::INFINITY; 32], [0.0; 32]);
        let beside = Beside { sum: Some(&sum), gate: Some(&gate), ..Beside::default() };
        let found = case.found(form, &plan(square, case.pads, false), &case.x(), beside, (1, &one_by_one));
        assert!(found.iter().all(|&v| v == 0.0), "{found:?}");
        let beside = Beside { sum: Some(&[f32::NAN; 32]), ..Beside::default() };
        let found = case.found(form, &plan(square, case.pads, true), &case.x(), beside, (1, &one_by_one));
        assert!(found.iter().all(|v| v.is_nan()), "{found:?}");
    }
}

/// The median and the 99.9th percentile of the error are at most four times those of the direct form, which is summed in float32.
#[test]
fn rounding_stays_within_four_times_that_of_the_direct_form() {
    for (channels, results) in [(16, 64), (64, 16), (256, 8)] {
        let case = Case { samples: 2, channels, results, extents: [16, 16], pads: [1; 4] };
        let exact = case.expected::<f64>();
        let direct = percentiles(&exact, &case.expected::<f32>());
        for (form, square) in forms().iter().flat_map(|f| SQUARES_OF.map(|s| (f, s))) {
            let found = case.found(form, &plan(square, case.pads, false), &case.x(), Beside::default(), (1, &one_by_one));
            let found = percentiles(&exact, &found);
            let ratios = [found[0] / direct[0], found[1] / direct[1]];
            assert!(ratios.iter().all(|&r| r < 4.0), "{channels} channels, {square:?}, {} lanes: {ratios:?}", form.lanes);
        }
    }
}

#[test]
fn no_samples_give_nothing_and_impossible_attributes_a_sentence() {
    let case = Case { samples: 0, ..CASE };
    for (form, square) in forms().iter().flat_map(|f| SQUARES_OF.map(|s| (f, s))) {
        assert!(case.found(form, &plan(square, case.pads, false), &[], Beside::default(), (1, &one_by_one)).is_empty());
    }
    let of = |square: i64, pad: i64| {
        Winograd::read(|name| match name {
            "square" => Some(vec![square]),
            "pads" => Some(vec![pad; 4]),
            _ => None,
        })
    };
    assert_eq!(of(3, 0).unwrap_err(), "Winograd has an impossible square");
    assert_eq!(Winograd::read(|_| None).unwrap_err(), "Winograd has no square");
    assert_eq!(of(2, 3).unwrap_err(), "Winograd has missing or impossible pads");
    assert_eq!(of(4, 1).unwrap().extents([1, 5]), Some([1, 5]));
    assert_eq!(of(4, 0).unwrap().extents([2, 5]), None);
}

#[test]
fn gradients_by_the_taps_are_those_of_the_formula_over_small_extents() {
    let extents = (1..=13).flat_map(|h| (1..=13).map(move |w| [h, w]));
    for (at, extents) in extents.enumerate() {
        let pads = [[1, 1, 1, 1], [2, 2, 2, 2], [0, 2, 2, 0], [2, 1, 0, 2], [1, 0, 2, 2], [0, 0, 0, 0]][at % 6];
        let [channels, results] = [[1, 1], [3, 5], [17, 2], [2, 33], [8, 16]][at % 5];
        let case = Case { samples: 1 + at % 3, channels, results, extents, pads };
        if plan(Square::Two, pads, false).extents(extents).is_some() {
            near(&case);
        }
    }
    // several blocks of channels, and more squares than are taken at a time
    near(&Case { samples: 2, channels: 70, results: 131, extents: [5, 6], pads: [1; 4] });
    near(&Case { samples: 25, channels: 33, results: 65, extents: [21, 23], pads: [1; 4] });
}

fn near(case: &Case) {
    let expected = case.expected_gradient::<f64>();
    let scale = (case.samples * case.steps().iter().product::<usize>()) as f64;
    for (form, square) in forms().iter().flat_map(|f| SQUARES_OF.map(|s| (f, s))) {
        let found = case.gradient(form, square, &one_by_one);
        let off = expected.iter().zip(&found).map(|(e, &f)| (e - f64::from(f)).abs()).fold(0.0, f64::max);
        assert!(off < 1e-5 * scale.sqrt(), "{case:?}, {square:?}, {} lanes: {off:e}", form.lanes);
        assert_eq!(found, case.gradient(form, square, &backwards), "{case:?}, {square:?}: other jobs first");
    }
}

#[test]
fn rounding_of_gradients_by_the_taps_stays_within_four_times_that_of_the_direct_form() {
    for (samples, extents) in [(1, [16, 16]), (16, [16, 16]), (32, [4, 4])] {
        let case = Case { samples, channels: 32, results: 32, extents, pads: [1; 4] };
        let exact = case.expected_gradient::<f64>();
        let direct = percentiles(&exact, &case.expected_gradient::<f32>());
        for (form, square) in forms().iter().flat_map(|f| SQUARES_OF.map(|s| (f, s))) {
            let found = percentiles(&exact, &case.gradient(form, square, &one_by_one));
            let ratios = [found[0] / direct[0], found[1] / direct[1]];
            assert!(ratios.iter().all(|&r| r < 4.0), "{case:?}, {square:?}, {} lanes: {ratios:?}", form.lanes);
        }
    }
}

#[test]
fn gradients_by_the_taps_of_no_samples_are_zeros() {
    let case = Case { samples: 0, ..CASE };
    for (form, square) in forms().iter().flat_map(|f| SQUARES_OF.map(|s| (f, s))) {
        assert!(case.gradient(form, square, &one_by_one).iter().all(|&v| v == 0.0));
    }
}

#[test]
fn the_adjoint_reads_the_taps_of_its_convolution_exchanged_and_reversed() {
    for case in [CASE, Case { channels: 40, results: 3, ..CASE }] {
        let taps = case.taps();
        // [C, M, 3, 3] whose exchanged and reversed taps are `taps`
        let mut given = vec![f32::NAN; taps.len()];
        for (m, c) in (0..case.results).flat_map(|m| (0..case.channels).map(move |c| (m, c))) {
            for t in 0..9 {
                given[(c * case.results + m) * 9 + 8 - t] = taps[(m * case.channels + c) * 9 + t];
            }
        }
        for (form, square) in forms().iter().flat_map(|f| SQUARES_OF.map(|s| (f, s))) {
            let plain = plan(square, case.pads, false);
            let adjoint = Winograd { adjoint: true, ..plain.clone() };
            for kept in [true, false] {
                let kernel = |of: &Winograd, taps: &[f32], extents: [usize; 2]| {
                    Winograd { kept, ..of.clone() }.kernel_by(form, taps, extents, Vec::new(), &one_by_one).unwrap()
                };
                let expected = kernel(&plain, &taps, [case.results, case.channels]);
                let found = kernel(&adjoint, &given, [case.channels, case.results]);
                assert_eq!((found.results, found.channels), (case.results, case.channels));
                assert_eq!(found.elements, expected.elements, "{case:?}, {square:?}, {} lanes", form.lanes);
            }
        }
    }
}
