//! Several operations on single elements in one pass over memory: the arithmetic of `Formula`. Knows nothing about engines.
//!
//! Operands have the extents of the result or are repeated along some axes, as ONNX broadcasts. The result is computed in pieces that
//! stay in the nearest cache. Every operation rounds as it does alone, so a formula has the bytes of its operations one after the
//! other. A sum or mean over axes can follow, with sums in float64 beyond a piece.

use std::sync::{Mutex, PoisonError};

use crate::correlation::Each;

/// An operation. Numbers are its codes in the attributes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// a, repeated where it must be.
    Copy = 0,
    /// a + b.
    Add = 1,
    /// a − b.
    Sub = 2,
    /// a·b.
    Mul = 3,
    /// a / b.
    Div = 4,
    /// −a.
    Neg = 5,
    /// a where it is above 0, elsewhere 0; what is not a number stays.
    Relu = 6,
    /// b where a is above 0, elsewhere 0.
    Gate = 7,
    /// √a.
    Sqrt = 8,
    /// 1 / a.
    Reciprocal = 9,
}

impl Operation {
    /// Every operation, in the order of their codes.
    pub const ALL: [Operation; 10] = {
        use Operation::{Add, Copy, Div, Gate, Mul, Neg, Reciprocal, Relu, Sqrt, Sub};
        [Copy, Add, Sub, Mul, Div, Neg, Relu, Gate, Sqrt, Reciprocal]
    };

    /// Whether it has a second operand.
    pub fn is_binary(self) -> bool {
        matches!(self, Operation::Add | Operation::Sub | Operation::Mul | Operation::Div | Operation::Gate)
    }
}

/// An operation on operands: those of the formula come first, then the results of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub operation: Operation,
    /// The first operand.
    pub a: usize,
    /// The second, or the first again where there is one.
    pub b: usize,
}

/// The sum over all axes but one, or over all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// The axis that stays, if one does.
    pub kept: Option<usize>,
    /// Whether it is divided by the number of elements.
    pub mean: bool,
    /// Whether the other axes stay, with extents of 1.
    pub axes_stay: bool,
}

/// Steps and what follows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formula {
    operands: usize,
    /// The operand that has the extents of the last step.
    like: usize,
    steps: Vec<Step>,
    total: Option<Total>,
    /// Where a step leaves its results, and how many such places there are.
    slots: Vec<usize>,
    places: usize,
}

/// An operand: elements, row-major, and extents.
pub type Operand<'o> = (&'o [f32], &'o [usize]);

/// Elements of a piece.
const PIECE: usize = 1024;
/// Elements of a job.
const JOB: usize = 1 << 15;

impl Formula {
    /// Reads the attributes of a node: `operands`, `like`, `steps` (three numbers each), and `total` (the axis that stays or −1, whether
    /// it is a mean, whether axes stay) where there is one.
    ///
    /// # Errors
    /// A sentence: one is missing or impossible.
    pub fn read(attribute: impl Fn(&str) -> Option<Vec<i64>>) -> Result<Formula, String> {
        let wrong = |name: &str| format!("Formula has missing or impossible {name}");
        let one = |name: &str| match attribute(name).as_deref() {
            Some(&[n]) if n >= 0 => Ok(n as usize),
            _ => Err(wrong(name)),
        };
        let (operands, like) = (one("operands")?, one("like")?);
        let numbers = attribute("steps").filter(|s| !s.is_empty() && s.len() % 3 == 0).ok_or_else(|| wrong("steps"))?;
        let mut steps = Vec::new();
        for (at, step) in numbers.chunks_exact(3).enumerate() {
            let operation = usize::try_from(step[0]).ok().and_then(|code| Operation::ALL.get(code));
            let known = |n: i64| usize::try_from(n).ok().filter(|&n| n < operands + at);
            let (Some(&operation), Some(a), Some(b)) = (operation, known(step[1]), known(step[2])) else {
                return Err(wrong("steps"));
            };
            steps.push(Step { operation, a, b });
        }
        let total = match attribute("total").as_deref() {
            None => None,
            Some(&[kept, mean, stay]) if (-1..8).contains(&kept) => {
                Some(Total { kept: usize::try_from(kept).ok(), mean: mean == 1, axes_stay: stay == 1 })
            }
            Some(_) => return Err(wrong("total")),
        };
        if like >= operands {
            return Err(wrong("like"));
        }
        Ok(Formula::new(operands, like, steps, total))
    }

    fn new(operands: usize, like: usize, steps: Vec<Step>, total: Option<Total>) -> Formula {
        let last: Vec<usize> = (0..steps.len())
            .map(|at| (at..steps.len()).rev().find(|&s| [steps[s].a, steps[s].b].contains(&(operands + at))).unwrap_or(at))
            .collect();
        let (mut slots, mut free, mut places) = (Vec::new(), Vec::new(), 0);
        for at in 0..steps.len() {
            slots.push(free.pop().unwrap_or_else(|| {
                places += 1;
                places - 1
            }));
            free.extend((0..=at).filter(|&s| last[s] == at && s < at).map(|s| slots[s]));
        }
        Formula { operands, like, steps, total, slots, places }
    }

    /// The operand that has the extents of the last step.
    pub fn like(&self) -> usize {
        self.like
    }

    /// The extents of the result for those of the last step; `None` where the axis that stays is not there.
    pub fn extents<T: Copy + From<u8>>(&self, steps: &[T]) -> Option<Vec<T>> {
        let Some(total) = self.total else { return Some(steps.to_vec()) };
        if total.kept.is_some_and(|kept| kept >= steps.len()) {
            return None;
        }
        let stays = |axis: usize| total.kept == Some(axis);
        let all = steps.iter().enumerate().filter(|(axis, _)| stays(*axis) || total.axes_stay);
        Some(all.map(|(axis, &extent)| if stays(axis) { extent } else { T::from(1) }).collect())
    }

    /// Computes the result, all of which is written. `None` where the operands do not fit.
    ///
    /// # Errors
    /// That of `each`.
    pub fn compute<E>(&self, operands: &[Operand], result: &mut [f32], each: &Each<E>) -> Option<Result<(), E>> {
        let runs = Runs::of(self, operands)?;
        Some(match self.total {
            None if result.len() == runs.length * runs.count() => self.elements(&runs, result, each),
            Some(total) => self.totals(&runs, total, result, each)?,
            None => return None,
        })
    }

    fn elements<E>(&self, runs: &Runs, result: &mut [f32], each: &Each<E>) -> Result<(), E> {
        let parts: Vec<Mutex<&mut [f32]>> = result.chunks_mut(JOB).map(Mutex::new).collect();
        each(parts.len(), &|i| {
            let mut part = parts[i].lock().unwrap_or_else(PoisonError::into_inner);
            let (mut at, mut rest) = (i * JOB, &mut part[..]);
            let (mut scratch, mut offsets) = (self.scratch(), Vec::new());
            while !rest.is_empty() {
                let (run, first) = (at / runs.length, at % runs.length);
                runs.offsets(run, &mut offsets);
                let (piece, behind) = rest.split_at_mut((runs.length - first).min(PIECE).min(rest.len()));
                run_piece(&Piece { formula: self, runs, offsets: &offsets, first }, &mut scratch, piece);
                at += piece.len();
                rest = behind;
            }
        })
    }

    /// Runs are summed for every place of the axis that stays.
    fn totals<E>(&self, runs: &Runs, total: Total, result: &mut [f32], each: &Each<E>) -> Option<Result<(), E>> {
        let (axis, kept) = (total.kept.unwrap_or(0), total.kept.is_some());
        if axis >= runs.leading.len() {
            return None;
        }
        let inner: usize = runs.leading[axis + 1..].iter().product();
        let (outer, places) = (runs.leading[..axis].iter().product::<usize>(), runs.leading[axis]);
        let sums: Vec<Mutex<f64>> = (0..places).map(|_| Mutex::new(0.0)).collect();
        let done = each(places, &|place| {
            let (mut scratch, mut buffer, mut offsets) = (self.scratch(), vec![0f32; PIECE], Vec::new());
            let mut sum = 0f64;
            for run in (0..outer).flat_map(|o| (0..inner).map(move |i| (o * places + place) * inner + i)) {
                runs.offsets(run, &mut offsets);
                for first in (0..runs.length).step_by(PIECE) {
                    let piece = &mut buffer[..PIECE.min(runs.length - first)];
                    sum += run_sum(&Piece { formula: self, runs, offsets: &offsets, first }, &mut scratch, piece);
                }
            }
            *sums[place].lock().unwrap_or_else(PoisonError::into_inner) = sum;
        });
        let sums: Vec<f64> = sums.into_iter().map(|s| s.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
        let each_of = outer * inner * runs.length;
        let (sums, count) = if kept { (sums, each_of) } else { (vec![sums.iter().sum()], places * each_of) };
        if result.len() != sums.len() {
            return None;
        }
        let scale = |sum: f64| if total.mean { sum / count as f64 } else { sum };
        result.iter_mut().zip(sums).for_each(|(to, sum)| *to = scale(sum) as f32);
        Some(done)
    }

    fn scratch(&self) -> Vec<Vec<f32>> {
        vec![vec![0.0; PIECE]; self.places]
    }
}

/// How operands are read: in runs of elements over the last axes, along which each operand moves or stays.
struct Runs<'r> {
    operands: Vec<Walk<'r>>,
    /// Extents of the axes before those of a run.
    leading: Vec<usize>,
    length: usize,
}

struct Walk<'r> {
    elements: &'r [f32],
    /// Whether it moves inside a run.
    moves: bool,
    /// From one place of a leading axis to the next.
    strides: Vec<usize>,
}

impl<'r> Runs<'r> {
    fn of(formula: &Formula, operands: &[Operand<'r>]) -> Option<Runs<'r>> {
        let extents = operands.get(formula.like).filter(|_| operands.len() == formula.operands)?.1;
        // extents of an operand, with those of 1 before them that it lacks
        let aligned = |of: &[usize]| {
            let before = extents.len().checked_sub(of.len())?;
            let all: Vec<usize> = std::iter::repeat_n(1, before).chain(of.iter().copied()).collect();
            all.iter().zip(extents).all(|(&a, &e)| a == e || a == 1).then_some(all)
        };
        let all: Vec<Vec<usize>> = operands.iter().map(|(_, of)| aligned(of)).collect::<Option<_>>()?;
        // a sum over one axis needs that axis outside of runs
        let least = formula.total.map_or(0, |total| total.kept.unwrap_or(0) + 1);
        let alike = |axis: usize| {
            let whole = |of: &Vec<usize>| of[axis..] == extents[axis..];
            all.iter().all(|of| whole(of) || of[axis..].iter().all(|&n| n == 1))
        };
        let start = (least..=extents.len()).find(|&axis| alike(axis))?;
        let length = extents[start..].iter().product();
        let walk = |(of, &(elements, _)): (&Vec<usize>, &Operand<'r>)| {
            let moves = of[start..] == extents[start..];
            let mut stride = if moves { length } else { 1 };
            let mut strides = vec![0; start];
            for axis in (0..start).rev() {
                strides[axis] = if of[axis] == 1 { 0 } else { stride };
                stride *= of[axis];
            }
            (elements.len() == of.iter().product::<usize>()).then_some(Walk { elements, moves, strides })
        };
        let operands = all.iter().zip(operands).map(walk).collect::<Option<_>>()?;
        Some(Runs { operands, leading: extents[..start].to_vec(), length })
    }

    fn count(&self) -> usize {
        self.leading.iter().product()
    }

    /// Where each operand begins in a run.
    fn offsets(&self, run: usize, offsets: &mut Vec<usize>) {
        offsets.clear();
        offsets.resize(self.operands.len(), 0);
        let mut rest = run;
        for (axis, &extent) in self.leading.iter().enumerate().rev() {
            let place = rest % extent;
            rest /= extent;
            self.operands.iter().zip(offsets.iter_mut()).for_each(|(operand, offset)| *offset += place * operand.strides[axis]);
        }
    }
}

/// Some elements of a run.
struct Piece<'p> {
    formula: &'p Formula,
    runs: &'p Runs<'p>,
    offsets: &'p [usize],
    first: usize,
}

/// An operand of a step.
#[derive(Clone, Copy)]
enum Read<'r> {
    One(f32),
    Many(&'r [f32]),
}

impl Piece<'_> {
    /// The results of the last step.
    #[inline(always)]
    fn compute(&self, scratch: &mut [Vec<f32>], to: &mut [f32]) {
        let (formula, length) = (self.formula, to.len());
        // a number where the result of a step is the same everywhere
        let mut same = [None; STEPS];
        for (at, step) in formula.steps.iter().enumerate() {
            let (slot, last) = (formula.slots[at], at + 1 == formula.steps.len());
            let mut own = std::mem::take(&mut scratch[slot]);
            let [a, b] = [step.a, step.b].map(|operand| match operand.checked_sub(formula.operands) {
                Some(before) => same[before].map_or_else(|| Read::Many(&scratch[formula.slots[before]][..length]), Read::One),
                None => self.operand(operand, length),
            });
            let into = if last { &mut *to } else { &mut own[..length] };
            same[at] = operated(step.operation, a, b, into);
            if let (Some(number), true) = (same[at], last) {
                into.fill(number);
            }
            scratch[slot] = own;
        }
    }

    #[inline(always)]
    fn operand(&self, operand: usize, length: usize) -> Read<'_> {
        let walk = &self.runs.operands[operand];
        match walk.moves {
            true => Read::Many(&walk.elements[self.offsets[operand] + self.first..][..length]),
            false => Read::One(walk.elements[self.offsets[operand]]),
        }
    }
}

/// Steps of a formula, at most.
pub const STEPS: usize = 32;

/// Writes the results, or gives the one that they all are.
#[inline(always)]
fn operated(operation: Operation, a: Read, b: Read, to: &mut [f32]) -> Option<f32> {
    match operation {
        Operation::Copy => unary(a, to, |a| a),
        Operation::Add => binary(a, b, to, |a, b| a + b),
        Operation::Sub => binary(a, b, to, |a, b| a - b),
        Operation::Mul => binary(a, b, to, |a, b| a * b),
        Operation::Div => binary(a, b, to, |a, b| a / b),
        Operation::Neg => unary(a, to, |a| -a),
        Operation::Relu => unary(a, to, |a| if a < 0.0 { 0.0 } else { a }),
        Operation::Gate => binary(a, b, to, |a, b| if a > 0.0 { b } else { 0.0 }),
        Operation::Sqrt => unary(a, to, f32::sqrt),
        Operation::Reciprocal => unary(a, to, |a| 1.0 / a),
    }
}

#[inline(always)]
fn unary(a: Read, to: &mut [f32], f: impl Fn(f32) -> f32) -> Option<f32> {
    match a {
        Read::One(a) => return Some(f(a)),
        Read::Many(a) => to.iter_mut().zip(a).for_each(|(to, &a)| *to = f(a)),
    }
    None
}

#[inline(always)]
fn binary(a: Read, b: Read, to: &mut [f32], f: impl Fn(f32, f32) -> f32) -> Option<f32> {
    match (a, b) {
        (Read::One(a), Read::One(b)) => return Some(f(a, b)),
        (Read::One(a), Read::Many(b)) => to.iter_mut().zip(b).for_each(|(to, &b)| *to = f(a, b)),
        (Read::Many(a), Read::One(b)) => to.iter_mut().zip(a).for_each(|(to, &a)| *to = f(a, b)),
        (Read::Many(a), Read::Many(b)) => to.iter_mut().zip(a).zip(b).for_each(|((to, &a), &b)| *to = f(a, b)),
    }
    None
}

/// The sum of a piece: sixteen sums beside each other, then those.
#[inline(always)]
fn summed(piece: &[f32]) -> f64 {
    let mut sums = [0f32; 16];
    let whole = piece.chunks_exact(16);
    let rest: f64 = whole.remainder().iter().map(|&v| f64::from(v)).sum();
    for chunk in whole {
        sums.iter_mut().zip(chunk).for_each(|(sum, v)| *sum += v);
    }
    sums.iter().map(|&v| f64::from(v)).sum::<f64>() + rest
}

fn run_piece(piece: &Piece, scratch: &mut [Vec<f32>], to: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has what the function was compiled for.
            return unsafe { piece_avx512(piece, scratch, to) };
        }
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: as above.
            return unsafe { piece_avx2(piece, scratch, to) };
        }
    }
    piece.compute(scratch, to);
}

/// The same, and the sum.
fn run_sum(piece: &Piece, scratch: &mut [Vec<f32>], to: &mut [f32]) -> f64 {
    run_piece(piece, scratch, to);
    summed(to)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn piece_avx512(piece: &Piece, scratch: &mut [Vec<f32>], to: &mut [f32]) {
    piece.compute(scratch, to);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn piece_avx2(piece: &Piece, scratch: &mut [Vec<f32>], to: &mut [f32]) {
    piece.compute(scratch, to);
}

#[cfg(test)]
mod tests {
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
                let (a, b) = (Read::Many(&known[step.a..=step.a]), Read::Many(&known[step.b..=step.b]));
                operated(step.operation, a, b, &mut to);
                known.push(to[0]);
            }
            *known.last().unwrap()
        });
        all.collect()
    }

    fn step(operation: Operation, a: usize, b: usize) -> Step {
        Step { operation, a, b }
    }

    /// ((x − m)·s, of which the negative part becomes 0) / (x + m), gated by x; then the whole of constants.
    fn steps() -> Vec<Step> {
        use Operation::{Add, Copy, Div, Gate, Mul, Neg, Reciprocal, Relu, Sqrt, Sub};
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
        ]
    }

    #[test]
    fn a_formula_has_the_bytes_of_its_steps_one_after_the_other() {
        let cases: [[&[usize]; 3]; 6] = [
            [&[3, 5, 7, 11], &[1, 5, 1, 1], &[3, 1, 1, 1]],
            [&[2, 3, 40, 41], &[3, 1, 1], &[]],
            [&[6, 9], &[9], &[6, 1]],
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
        for (kept, mean) in [(None, false), (Some(0), true), (Some(1), false), (Some(1), true)] {
            let places = kept.map_or(1, |axis: usize| extents[axis]);
            let mut sums = vec![0f64; places];
            for (at, &v) in elements.iter().enumerate() {
                sums[kept.map_or(0, |axis| at / stride(axis) % extents[axis])] += f64::from(v);
            }
            let count = (elements.len() / places) as f64;
            let formula = Formula::new(3, 0, steps(), Some(Total { kept, mean, axes_stay: true }));
            let mut found = vec![f32::NAN; places];
            formula.compute(&operands, &mut found, &one_by_one).unwrap().unwrap();
            let size = elements.iter().map(|v| f64::from(v.abs())).sum::<f64>() / places as f64;
            for (sum, &found) in sums.iter().zip(&found) {
                let (sum, size) = if mean { (sum / count, size / count) } else { (*sum, size) };
                assert!((sum - f64::from(found)).abs() < 1e-6 * size, "{kept:?}, {mean}: {sum} and {found}");
            }
            let mut again = vec![f32::NAN; places];
            formula.compute(&operands, &mut again, &backwards).unwrap().unwrap();
            assert_eq!(found, again);
        }
        let of = |axes_stay| Formula::new(3, 0, steps(), Some(Total { kept: Some(1), mean: false, axes_stay }));
        assert_eq!(of(true).extents(&[3i64, 5, 37, 41]), Some(vec![1, 5, 1, 1]));
        assert_eq!(of(false).extents(&[3i64, 5, 37, 41]), Some(vec![5]));
        assert_eq!(of(false).extents(&[3i64]), None);
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
        assert_eq!(of(&[1, 0, 1], 0).unwrap(), formula);
        for impossible in [of(&[10, 0, 1], 0), of(&[1, 0, 2], 0), of(&[1, -1, 0], 0), of(&[1, 0], 0), of(&[], 0)] {
            assert_eq!(impossible.unwrap_err(), "Formula has missing or impossible steps");
        }
        assert_eq!(of(&[1, 0, 1], 2).unwrap_err(), "Formula has missing or impossible like");
    }
}
