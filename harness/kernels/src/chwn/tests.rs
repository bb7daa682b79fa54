//! Every form of the kernel against the formula in float64, over strides, dilations, pads, extents and numbers of images.

use super::*;
use crate::tests::{backwards, numbers, one_by_one};
use crate::windows::Windows;

#[derive(Clone, Copy, Debug)]
struct Case {
    /// Images, channels, rows and columns of x.
    x: [usize; 4],
    results: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    begin: [usize; 2],
    /// Of the result.
    extents: [usize; 2],
    adjoint: bool,
}

const PLAIN: Case = Case {
    x: [3, 2, 6, 9],
    results: 5,
    kernel: [3, 3],
    stride: [1; 2],
    dilation: [1; 2],
    begin: [1; 2],
    extents: [6, 9],
    adjoint: false,
};

impl Case {
    fn plan(&self, on: &[&str]) -> Chwn {
        let list = |v: [usize; 2]| Some(v.map(|n| n as i64).to_vec());
        Chwn::read(|name| match name {
            "kernel_shape" => list(self.kernel),
            "strides" => list(self.stride),
            "dilations" => list(self.dilation),
            "pads" => list(self.begin),
            "adjoint" => Some(vec![self.adjoint.into()]),
            name => Some(vec![on.contains(&name).into()]),
        })
        .unwrap()
    }

    /// The first two extents of the taps.
    fn first_two(&self) -> [usize; 2] {
        if self.adjoint { [self.x[1], self.results] } else { [self.results, self.x[1]] }
    }

    fn taps(&self) -> Vec<f32> {
        numbers(self.x[1] * self.results * self.kernel[0] * self.kernel[1], 104_729)
    }

    fn images(&self) -> Vec<f32> {
        numbers(self.x.iter().product(), 7919)
    }

    fn area(&self) -> usize {
        self.x[0] * self.results * self.extents[0] * self.extents[1]
    }

    /// The formula, in float64.
    fn expected(&self, x: &[f32], taps: &[f32]) -> Vec<f64> {
        let [samples, channels, height, width] = self.x;
        let [rows, columns] = self.extents;
        // the position that a result reads with a tap
        let at = |axis: usize, step: usize, tap: usize, extent: usize| -> Option<usize> {
            let place = (tap * self.dilation[axis]) as i64 - self.begin[axis] as i64;
            let stride = self.stride[axis] as i64;
            let position = match self.adjoint {
                false => step as i64 * stride + place,
                true => Some(step as i64 - place).filter(|p| p.rem_euclid(stride) == 0)? / stride,
            };
            usize::try_from(position).ok().filter(|&p| p < extent)
        };
        let mut result = Vec::new();
        for (n, m, i, j) in (0..samples * self.results * rows * columns)
            .map(|k| (k / columns / rows / self.results, k / columns / rows % self.results, k / columns % rows, k % columns))
        {
            let mut sum = 0.0;
            for (c, a, b) in (0..channels * self.kernel[0] * self.kernel[1])
                .map(|k| (k / self.kernel[1] / self.kernel[0], k / self.kernel[1] % self.kernel[0], k % self.kernel[1]))
            {
                if let (Some(u), Some(v)) = (at(0, i, a, height), at(1, j, b, width)) {
                    let kernel = if self.adjoint { c * self.results + m } else { m * channels + c };
                    let tap = taps[(kernel * self.kernel[0] + a) * self.kernel[1] + b];
                    sum += f64::from(x[((n * channels + c) * height + u) * width + v]) * f64::from(tap);
                }
            }
            result.push(sum);
        }
        result
    }
}

/// Forms of which the first is the one to try, by which taps are packed.
fn each_form() -> Vec<Vec<Form>> {
    (0..forms().len()).map(|first| forms().into_iter().skip(first).collect()).collect()
}

fn close(found: &[f32], expected: &[f64], what: &str) {
    let scale = expected.iter().fold(1e-30f64, |m, v| m.max(v.abs()));
    let off = expected.iter().zip(found).map(|(e, &f)| (e - f64::from(f)).abs()).fold(0.0, f64::max);
    assert!(found.len() == expected.len() && off < 2e-6 * scale, "{what}: {off:e} of {scale:e}");
}

fn computes_the_formula(case: Case) {
    let (x, taps) = (case.images(), case.taps());
    let expected = case.expected(&x, &taps);
    let (plan, extents) = (case.plan(&[]), case.extents);
    for forms in each_form() {
        let packed = plan.pack_by(&forms[0], &taps, case.first_two(), extents);
        let run = |each: &Each<()>| {
            let mut found = vec![f32::NAN; case.area()];
            let results = Results { whole: Some(&mut found), maxima: None, extents };
            plan.with(&forms, Source::Images((&x, case.x)), &packed, Beside::default(), results, each).unwrap();
            found
        };
        let found = run(&one_by_one);
        close(&found, &expected, &format!("{case:?}, {} lanes", forms[0].lanes));
        assert_eq!(found, run(&backwards), "{case:?}, {} lanes: other jobs first", forms[0].lanes);
    }
}

#[test]
fn every_form_computes_the_formula() {
    let strided = Case { stride: [2, 2], kernel: [4, 4], x: [9, 3, 11, 12], extents: [5, 6], ..PLAIN };
    let back = Case { adjoint: true, x: [9, 3, 5, 6], extents: [11, 12], ..strided };
    let cases = [
        PLAIN,
        Case { adjoint: true, ..PLAIN },
        Case { kernel: [1, 1], begin: [0; 2], ..PLAIN },
        Case { kernel: [5, 2], begin: [2, 0], extents: [6, 8], results: 1, ..PLAIN },
        Case { kernel: [5, 5], begin: [0; 2], adjoint: true, x: [17, 16, 10, 10], results: 6, extents: [14, 14], ..PLAIN },
        Case { kernel: [5, 5], begin: [2; 2], x: [33, 1, 28, 28], results: 6, extents: [28, 28], ..PLAIN },
        strided,
        back,
        // output padding, a phase without taps, rows and columns that differ
        Case { extents: [12, 13], ..back },
        Case { kernel: [1, 1], begin: [0; 2], extents: [10, 12], ..back },
        Case { stride: [1, 2], kernel: [2, 3], begin: [0, 1], x: [5, 2, 7, 9], extents: [6, 5], ..PLAIN },
        Case { dilation: [2, 3], kernel: [3, 2], begin: [2, 1], extents: [6, 8], ..PLAIN },
        Case { dilation: [2, 3], kernel: [3, 2], begin: [2, 1], extents: [6, 10], adjoint: true, ..PLAIN },
        // pads beyond the kernel
        Case { kernel: [1, 2], begin: [2, 3], extents: [9, 13], ..PLAIN },
        // many results and channels
        Case { x: [8, 40, 4, 5], results: 23, extents: [4, 5], ..PLAIN },
        Case { x: [16, 3, 32, 32], results: 64, extents: [32, 32], ..PLAIN },
    ];
    cases.into_iter().for_each(computes_the_formula);
}

#[test]
fn every_extent_from_one_to_twenty_is_covered() {
    for (height, width) in (1..=20).flat_map(|h| (1..=20).map(move |w| (h, w))) {
        let samples = 1 + (height * 7 + width) % 20;
        let results = 1 + (height + width) % 7;
        let case = Case { x: [samples, 2, height, width], results, extents: [height, width], ..PLAIN };
        computes_the_formula(case);
        computes_the_formula(Case { adjoint: true, ..case });
    }
}

#[test]
fn registers_of_every_length_with_fused_products_give_the_same_bits() {
    let case = Case { x: [16, 6, 14, 14], results: 16, kernel: [5, 5], begin: [0; 2], extents: [10, 10], ..PLAIN };
    let (x, taps, plan) = (case.images(), case.taps(), case.plan(&[]));
    let results: Vec<Vec<f32>> = each_form()
        .iter()
        .filter(|forms| forms[0].lanes > 4)
        .map(|forms| {
            let packed = plan.pack_by(&forms[0], &taps, case.first_two(), case.extents);
            let mut found = vec![f32::NAN; case.area()];
            let results = Results { whole: Some(&mut found), maxima: None, extents: case.extents };
            plan.with(&forms[..1], Source::Images((&x, case.x)), &packed, Beside::default(), results, &one_by_one).unwrap();
            found
        })
        .collect();
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn what_follows_is_done_besides() {
    let case = Case { x: [21, 2, 7, 9], extents: [7, 9], ..PLAIN };
    let (x, taps, bias) = (case.images(), case.taps(), numbers(case.results, 31));
    let (sum, gate) = (numbers(case.area(), 57), numbers(case.area(), 91));
    let plane = 7 * 9;
    let biased: Vec<f64> =
        case.expected(&x, &taps).iter().enumerate().map(|(i, v)| v + f64::from(bias[i / plane % case.results])).collect();
    for (added, gated, relu, pooled) in
        [(false, false, true, true), (true, false, false, false), (true, true, true, false), (false, true, false, false)]
    {
        let expected: Vec<f64> = (0..biased.len())
            .map(|i| {
                let value = biased[i] + if added { f64::from(sum[i]) } else { 0.0 };
                let value = if relu { value.max(0.0) } else { value };
                if gated && gate[i] <= 0.0 { 0.0 } else { value }
            })
            .collect();
        let most: Vec<f64> = (0..case.x[0] * case.results * 3 * 4)
            .map(|k| {
                let corner = k / 12 * plane + k / 4 % 3 * 2 * 9 + k % 4 * 2;
                [0, 1, 9, 10].into_iter().map(|d| expected[corner + d]).fold(f64::MIN, f64::max)
            })
            .collect();
        let plan = case.plan(if relu { &["relu"] } else { &[] });
        for forms in each_form() {
            let packed = plan.pack_by(&forms[0], &taps, case.first_two(), case.extents);
            let (mut found, mut maxima) = (vec![f32::NAN; expected.len()], vec![f32::NAN; most.len()]);
            let beside = Beside { bias: Some(&bias), sum: added.then_some(&sum[..]), gate: gated.then_some(&gate[..]) };
            let run = |whole: Option<&mut [f32]>, maxima: Option<&mut [f32]>| {
                let results = Results { whole, maxima, extents: case.extents };
                plan.with(&forms, Source::Images((&x, case.x)), &packed, beside, results, &one_by_one).unwrap();
            };
            let what = format!("{} lanes, added {added}, gated {gated}, relu {relu}", forms[0].lanes);
            run(Some(&mut found), pooled.then_some(&mut maxima[..]));
            close(&found, &expected, &what);
            if pooled {
                close(&maxima, &most, &what);
                let both = std::mem::replace(&mut maxima, vec![f32::NAN; most.len()]);
                run(None, Some(&mut maxima));
                assert_eq!(maxima, both, "{what}: maxima alone");
            }
        }
    }
}

#[test]
fn the_gradient_of_maxima_is_that_of_the_pool() {
    for (height, width) in [(2, 2), (6, 8), (7, 9), (10, 3)] {
        let case = Case { x: [19, 3, height, width], extents: [height, width], ..PLAIN };
        // few values, so that there are ties
        let x: Vec<f32> = (0..case.x.iter().product()).map(|i: usize| ((i * 7919 + i / 3) % 3) as f32 - 1.0).collect();
        let ct = numbers(19 * 3 * (height / 2) * (width / 2), 57);
        for positive in [false, true] {
            let list = |n: i64| Some(vec![n; 2]);
            let pool = Windows::read(
                |name| if name == "pads" { list(0) } else { list(if name == "dilations" { 1 } else { 2 }) },
                positive,
            );
            let mut gradient = vec![f32::NAN; x.len()];
            pool.unwrap().gradient(&x, &ct, &mut gradient, [height, width], [height / 2, width / 2]);
            let plan = case.plan(if positive { &["positive"] } else { &[] });
            for forms in each_form() {
                let packed = plan.pack_by(&forms[0], &case.taps(), case.first_two(), case.extents);
                let run = |source: Source| {
                    let mut found = vec![f32::NAN; case.area()];
                    let results = Results { whole: Some(&mut found), maxima: None, extents: case.extents };
                    plan.with(&forms, source, &packed, Beside::default(), results, &one_by_one).unwrap();
                    found
                };
                let (expected, found) = (run(Source::Images((&gradient, case.x))), run(Source::Squares((&x, case.x), &ct)));
                assert_eq!(found, expected, "{height} x {width}, positive {positive}, {} lanes", forms[0].lanes);
            }
        }
    }
}

#[test]
fn no_images_give_nothing_and_impossible_attributes_a_sentence() {
    let (plan, mut none) = (PLAIN.plan(&[]), []);
    let packed = plan.pack(&PLAIN.taps(), PLAIN.first_two(), PLAIN.extents);
    let results = Results { whole: Some(&mut none[..]), maxima: None, extents: PLAIN.extents };
    plan.compute(Source::Images((&[], [0, 2, 6, 9])), &packed, Beside::default(), results, &one_by_one).unwrap();
    let of = |absent: &str, n: i64| Chwn::read(|name| (name != absent).then(|| vec![n, n])).unwrap_err();
    assert_eq!(of("pads", 1), "Chwn has a missing or impossible pads");
    assert_eq!(of("", 0), "Chwn has a missing or impossible kernel_shape");
    assert_eq!(of("", 3), "Chwn has an impossible strides");
}
