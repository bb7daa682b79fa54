//! Formulas against their steps element by element, and reductions in float64.

use super::*;
use crate::tests::{backwards, numbers, one_by_one};

/// The element of an operand that belongs to one of the result.
fn element(operand: &Operand, extents: &[usize], at: usize) -> f32 {
    let (mut rest, mut place, mut stride) = (at, 0, 1);
    let missing = extents.len() - operand.1.len();
    for axis in (0..extents.len()).rev() {
        let index = rest % extents[axis];
        rest /= extents[axis];
        if axis >= missing {
            let own = operand.1[axis - missing];
            place += if own == 1 { 0 } else { index * stride };
            stride *= own;
        }
    }
    operand.0[place]
}

/// One step after the other, element by element.
fn expected(formula: &Formula, operands: &[Operand]) -> Vec<f32> {
    let extents = operands[formula.like].1;
    let all = (0..extents.iter().product()).map(|at| {
        let mut known: Vec<f32> = operands.iter().map(|o| element(o, extents, at)).collect();
        for step in &formula.steps {
            let mut to = [0f32];
            let operands = [step.a, step.b, step.c].map(|at| Read::Many(&known[at..=at]));
            operated(step.operation, operands, &mut to, 1);
            known.push(to[0]);
        }
        *known.last().unwrap()
    });
    all.collect()
}

fn step(operation: Operation, a: usize, b: usize) -> Step {
    Step { operation, a, b, c: a }
}

/// ((x − m)·s, of which the negative part becomes 0) / (x + m), gated by x; then the whole of constants, clipped at ±|m|, with the
/// sign of x where s is 0.
fn steps() -> Vec<Step> {
    use Operation::{Abs, Add, Copy, Div, Gate, Max, Min, Mul, Neg, Reciprocal, Relu, Select, Sign, Sqrt, Sub};
    vec![
        step(Sub, 0, 1),
        step(Mul, 3, 2),
        step(Relu, 4, 4),
        step(Add, 0, 1),
        step(Div, 5, 6),
        step(Gate, 0, 7),
        step(Neg, 8, 8),
        step(Mul, 2, 2),
        step(Sqrt, 10, 10),
        step(Reciprocal, 11, 11),
        step(Copy, 12, 12),
        step(Mul, 9, 13),
        step(Abs, 1, 1),
        step(Min, 14, 15),
        step(Neg, 15, 15),
        step(Max, 16, 17),
        step(Sign, 0, 0),
        Step { operation: Select, a: 2, b: 18, c: 19 },
        Step { operation: Select, a: 0, b: 20, c: 1 },
    ]
}

#[test]
fn a_formula_has_the_bytes_of_its_steps_one_after_the_other() {
    let cases: [[&[usize]; 3]; 8] = [
        [&[3, 5, 7, 11], &[1, 5, 1, 1], &[3, 1, 1, 1]],
        [&[2, 3, 40, 41], &[3, 1, 1], &[]],
        [&[6, 9], &[9], &[6, 1]],
        [&[3, 50, 37], &[37], &[3, 50, 1]],
        [&[3, 50, 64], &[3, 1, 64], &[50, 1]],
        [&[2, 1, 4, 600], &[2, 1, 4, 600], &[1, 4, 1]],
        [&[70_000], &[1], &[70_000]],
        [&[0, 4], &[4], &[1]],
    ];
    for extents in cases {
        let given: Vec<Vec<f32>> = extents.iter().zip([7, 11, 13]).map(|(e, s)| numbers(e.iter().product(), s)).collect();
        let operands: Vec<Operand> = given.iter().zip(extents).map(|(v, e)| (&v[..], e)).collect();
        let formula = Formula::new(3, 0, steps(), None);
        assert!(formula.places < steps().len(), "places are used again");
        let expected = expected(&formula, &operands);
        for each in [&one_by_one as &Each<()>, &backwards] {
            let mut found = vec![f32::NAN; expected.len()];
            formula.compute(&operands, &mut found, each).unwrap().unwrap();
            let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found), bits(&expected), "{extents:?}");
        }
    }
}

#[test]
fn sums_and_means_over_all_axes_but_one_are_those_in_float64() {
    let (x, m, s) = (numbers(3 * 5 * 37 * 41, 7), numbers(5, 60), numbers(3, 101));
    let extents: [usize; 4] = [3, 5, 37, 41];
    let operands: [Operand; 3] = [(&x, &extents), (&m, &[1, 5, 1, 1]), (&s, &[3, 1, 1, 1])];
    // (x − m)·s, the negative part 0, gated by x
    let steps = || {
        let (centred, scaled) = (step(Operation::Sub, 0, 1), step(Operation::Mul, 3, 2));
        vec![centred, scaled, step(Operation::Relu, 4, 4), step(Operation::Gate, 0, 5)]
    };
    let elements = expected(&Formula::new(3, 0, steps(), None), &operands);
    let stride = |axis: usize| extents[axis + 1..].iter().product::<usize>();
    use Reduction::{Mean, Sum};
    for (kept, reduction) in [(None, Sum), (Some(0), Mean), (Some(1), Sum), (Some(1), Mean)] {
        let places = kept.map_or(1, |axis: usize| extents[axis]);
        let mut sums = vec![0f64; places];
        for (at, &v) in elements.iter().enumerate() {
            sums[kept.map_or(0, |axis| at / stride(axis) % extents[axis])] += f64::from(v);
        }
        let count = (elements.len() / places) as f64;
        let formula = Formula::new(3, 0, steps(), Some(Total { kept, reduction, axes_stay: true }));
        let mut found = vec![f32::NAN; places];
        formula.compute(&operands, &mut found, &one_by_one).unwrap().unwrap();
        let size = elements.iter().map(|v| f64::from(v.abs())).sum::<f64>() / places as f64;
        for (sum, &found) in sums.iter().zip(&found) {
            let (sum, size) = if reduction == Mean { (sum / count, size / count) } else { (*sum, size) };
            assert!((sum - f64::from(found)).abs() < 1e-6 * size, "{kept:?}, {reduction:?}: {sum} and {found}");
        }
        let mut again = vec![f32::NAN; places];
        formula.compute(&operands, &mut again, &backwards).unwrap().unwrap();
        assert_eq!(found, again);
    }
    let of = |axes_stay| Formula::new(3, 0, steps(), Some(Total { kept: Some(1), reduction: Sum, axes_stay }));
    assert_eq!(of(true).extents(&[3i64, 5, 37, 41]), Some(vec![1, 5, 1, 1]));
    assert_eq!(of(false).extents(&[3i64, 5, 37, 41]), Some(vec![5]));
    assert_eq!(of(false).extents(&[3i64]), None);
}

/// Zeros, infinite numbers and those that are none, in every place of a piece.
#[test]
fn maxima_signs_and_selections_of_special_numbers_follow_their_definitions() {
    use Operation::{Max, Min, Select, Sign};
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1.5, -2.5];
    let pairs: Vec<(f32, f32)> = special.iter().flat_map(|&a| special.map(|b| (a, b))).collect();
    let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
    let extents = [pairs.len()];
    let of = |operation, c| {
        let formula = Formula::new(2, 0, vec![Step { operation, a: 0, b: 1, c }], None);
        let mut found = vec![7.0; pairs.len()];
        formula.compute(&[(&a, &extents), (&b, &extents)], &mut found, &one_by_one).unwrap().unwrap();
        found
    };
    let same = |x: f32, y: f32| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan();
    for (at, &(a, b)) in pairs.iter().enumerate() {
        let none = a.is_nan() || b.is_nan();
        let larger = if none { f32::NAN } else { a.max(b) };
        let smaller = if none { f32::NAN } else { a.min(b) };
        // zeros of either sign are equal
        assert!(of(Max, 0)[at] == larger || same(of(Max, 0)[at], larger), "max({a}, {b})");
        assert!(of(Min, 0)[at] == smaller || same(of(Min, 0)[at], smaller), "min({a}, {b})");
        let sign = if a.is_nan() || a == 0.0 { a + 0.0 } else { a.signum() };
        assert!(same(of(Sign, 0)[at], sign), "sign({a})");
        assert!(same(of(Select, 0)[at], if a != 0.0 { b } else { a }), "{a} chooses {b}");
    }
    let largest = |numbers: &[f32], kept, extents: &[usize]| {
        let total = Total { kept, reduction: Reduction::Max, axes_stay: false };
        let mut found = vec![0.0; kept.map_or(1, |axis: usize| extents[axis])];
        let formula = Formula::new(1, 0, vec![step(Operation::Copy, 0, 0)], Some(total));
        formula.compute(&[(numbers, extents)], &mut found, &backwards).unwrap().unwrap();
        found
    };
    for at in 0..2 * 2500 {
        let mut numbers = numbers(2 * 2500, 7);
        numbers[at] = 3.0;
        assert_eq!(largest(&numbers, None, &[2, 2500]), [3.0]);
        assert_eq!(largest(&numbers, Some(0), &[2, 2500])[at / 2500], 3.0);
        numbers[at] = f32::NAN;
        assert!(largest(&numbers, Some(0), &[2, 2500])[at / 2500].is_nan());
    }
    assert_eq!(largest(&[-1.0, -3.0], None, &[2]), [-1.0]);
}

#[test]
fn operands_that_do_not_fit_and_impossible_attributes_are_refused() {
    let formula = Formula::new(2, 0, vec![step(Operation::Add, 0, 1)], None);
    let (x, y) = (numbers(6, 7), numbers(4, 7));
    let with = |extents: &[usize], elements: &[f32], length: usize| {
        formula.compute(&[(&x, &[2, 3]), (elements, extents)], &mut vec![0.0; length], &one_by_one).is_some()
    };
    assert!(with(&[2, 1], &y[..2], 6));
    assert!(!with(&[4], &y, 6) && !with(&[1, 2, 3], &x, 6) && !with(&[3], &y, 6) && !with(&[2, 1], &y[..2], 5));
    let of = |steps: &'static [i64], like: i64| {
        Formula::read(|name| match name {
            "operands" => Some(vec![2]),
            "like" => Some(vec![like]),
            "steps" => Some(steps.to_vec()),
            _ => None,
        })
    };
    assert_eq!(of(&[1, 0, 1, 0], 0).unwrap(), formula);
    for impossible in
        [of(&[15, 0, 1, 0], 0), of(&[1, 0, 2, 0], 0), of(&[1, -1, 0, 0], 0), of(&[1, 0, 1], 0), of(&[1, 0, 1, 2], 0), of(&[], 0)]
    {
        assert_eq!(impossible.unwrap_err(), "Formula has missing or impossible steps");
    }
    assert_eq!(of(&[1, 0, 1, 0], 2).unwrap_err(), "Formula has missing or impossible like");
}
