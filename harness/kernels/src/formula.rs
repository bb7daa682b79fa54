//! Several operations on single elements in one pass over memory: the arithmetic of `Formula`. Knows nothing about engines.
//!
//! Operands have the extents of the result or are repeated along some axes, as ONNX broadcasts. The result is computed in pieces that
//! stay in the nearest cache. Every operation rounds as it does alone, so a formula has the bytes of its operations one after the
//! other. A sum, mean or maximum over axes can follow, with sums in float64 beyond a piece.

#[cfg(test)]
mod tests;

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
    /// |a|.
    Abs = 10,
    /// −1, 0 or 1; what is not a number stays.
    Sign = 11,
    /// The larger of a and b; what is not a number, where one of them is none.
    Max = 12,
    /// The smaller of a and b; what is not a number, where one of them is none.
    Min = 13,
    /// b where a is not 0, elsewhere c.
    Select = 14,
}

impl Operation {
    /// Every operation, in the order of their codes.
    pub const ALL: [Operation; 15] = {
        use Operation::{Abs, Add, Copy, Div, Gate, Max, Min, Mul, Neg, Reciprocal, Relu, Select, Sign, Sqrt, Sub};
        [Copy, Add, Sub, Mul, Div, Neg, Relu, Gate, Sqrt, Reciprocal, Abs, Sign, Max, Min, Select]
    };

    /// How many operands it has.
    pub fn operands(self) -> usize {
        use Operation::{Add, Div, Gate, Max, Min, Mul, Select, Sub};
        match self {
            Add | Sub | Mul | Div | Gate | Max | Min => 2,
            Select => 3,
            _ => 1,
        }
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
    /// The third, or the first again where there are two.
    pub c: usize,
}

impl Step {
    fn reads(&self, operand: usize) -> bool {
        [self.a, self.b, self.c].contains(&operand)
    }
}

/// What the elements of all axes but one, or of all, become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their sum.
    Sum = 0,
    /// Their sum, divided by their number.
    Mean = 1,
    /// The largest; what is not a number, where one of them is none.
    Max = 2,
}

/// A reduction of all axes but one, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    /// The axis that stays, if one does.
    pub kept: Option<usize>,
    /// What elements become.
    pub reduction: Reduction,
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
    /// Reads the attributes of a node: `operands`, `like`, `steps` (four numbers each), and `total` (the axis that stays or −1, the
    /// reduction, whether axes stay) where there is one.
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
        let numbers = attribute("steps").filter(|s| !s.is_empty() && s.len() % 4 == 0).ok_or_else(|| wrong("steps"))?;
        let mut steps = Vec::new();
        for (at, step) in numbers.chunks_exact(4).enumerate() {
            let operation = usize::try_from(step[0]).ok().and_then(|code| Operation::ALL.get(code));
            let known = |n: i64| usize::try_from(n).ok().filter(|&n| n < operands + at);
            let (Some(&operation), Some(a), Some(b), Some(c)) = (operation, known(step[1]), known(step[2]), known(step[3]))
            else {
                return Err(wrong("steps"));
            };
            steps.push(Step { operation, a, b, c });
        }
        let total = match attribute("total").as_deref() {
            None => None,
            Some(&[kept, reduction @ 0..=2, stay]) if (-1..8).contains(&kept) => {
                let reduction = [Reduction::Sum, Reduction::Mean, Reduction::Max][reduction as usize];
                Some(Total { kept: usize::try_from(kept).ok(), reduction, axes_stay: stay == 1 })
            }
            Some(_) => return Err(wrong("total")),
        };
        if like >= operands {
            return Err(wrong("like"));
        }
        Ok(Formula::new(operands, like, steps, total))
    }

    fn new(operands: usize, like: usize, steps: Vec<Step>, total: Option<Total>) -> Formula {
        let last: Vec<usize> =
            (0..steps.len()).map(|at| (at..steps.len()).rev().find(|&s| steps[s].reads(operands + at)).unwrap_or(at)).collect();
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
        // short runs are not cut
        let job = if runs.length <= PIECE { JOB / runs.length.max(1) * runs.length.max(1) } else { JOB };
        let parts: Vec<Mutex<&mut [f32]>> = result.chunks_mut(job).map(Mutex::new).collect();
        each(parts.len(), &|i| {
            let mut part = parts[i].lock().unwrap_or_else(PoisonError::into_inner);
            let (mut at, mut rest) = (i * job, &mut part[..]);
            let mut scratch = Scratch::of(self, runs);
            while !rest.is_empty() {
                let (run, first) = (at / runs.length, at % runs.length);
                let count = if first == 0 { (PIECE.min(rest.len()) / runs.length).max(1) } else { 1 };
                let (piece, behind) = rest.split_at_mut((count * runs.length - first).min(PIECE).min(rest.len()));
                run_piece(&Piece { formula: self, runs, run, count, first }, &mut scratch, piece);
                at += piece.len();
                rest = behind;
            }
        })
    }

    /// Runs are reduced for every place of the axis that stays.
    fn totals<E>(&self, runs: &Runs, total: Total, result: &mut [f32], each: &Each<E>) -> Option<Result<(), E>> {
        let (axis, kept) = (total.kept.unwrap_or(0), total.kept.is_some());
        if axis >= runs.leading.len() {
            return None;
        }
        let inner: usize = runs.leading[axis + 1..].iter().product();
        let (outer, places) = (runs.leading[..axis].iter().product::<usize>(), runs.leading[axis]);
        let each_of = outer * inner * runs.length;
        let mut found = vec![0f64; places];
        let at_once = (JOB / each_of.max(1)).max(1);
        let parts: Vec<Mutex<&mut [f64]>> = found.chunks_mut(at_once).map(Mutex::new).collect();
        let done = each(parts.len(), &|part| {
            let (mut scratch, mut buffer) = (Scratch::of(self, runs), vec![0f32; PIECE]);
            let mut numbers = parts[part].lock().unwrap_or_else(PoisonError::into_inner);
            for (at, number) in numbers.iter_mut().enumerate() {
                let place = part * at_once + at;
                *number = total.reduction.of_none();
                for run in (0..outer).flat_map(|o| (0..inner).map(move |i| (o * places + place) * inner + i)) {
                    for first in (0..runs.length).step_by(PIECE) {
                        let piece = &mut buffer[..PIECE.min(runs.length - first)];
                        let of = Piece { formula: self, runs, run, count: 1, first };
                        *number = total.reduction.joined(*number, run_total(&of, total.reduction, &mut scratch, piece));
                    }
                }
            }
        });
        drop(parts);
        let all = || found.iter().fold(total.reduction.of_none(), |all, &number| total.reduction.joined(all, number));
        let (found, count) = if kept { (found, each_of) } else { (vec![all()], places * each_of) };
        if result.len() != found.len() {
            return None;
        }
        let scale = |number: f64| if total.reduction == Reduction::Mean { number / count as f64 } else { number };
        result.iter_mut().zip(found).for_each(|(to, number)| *to = scale(number) as f32);
        Some(done)
    }
}

/// What the pieces of a job need.
struct Scratch {
    /// Results of steps, by their slots.
    steps: Vec<Vec<f32>>,
    /// What a piece reads of the operands that are not read where they are.
    operands: Vec<Vec<f32>>,
    /// Places of the leading axes.
    place: Vec<usize>,
}

impl Scratch {
    fn of(formula: &Formula, runs: &Runs) -> Scratch {
        let of_operand = |walk: &Walk| if walk.whole { Vec::new() } else { vec![0.0; PIECE] };
        let operands = runs.operands.iter().map(of_operand).collect();
        Scratch { steps: vec![vec![0.0; PIECE]; formula.places], operands, place: vec![0; runs.leading.len()] }
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
    /// Whether it has all extents of the result.
    whole: bool,
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
            (elements.len() == of.iter().product::<usize>()).then_some(Walk { elements, whole: of == extents, moves, strides })
        };
        let operands = all.iter().zip(operands).map(walk).collect::<Option<_>>()?;
        Some(Runs { operands, leading: extents[..start].to_vec(), length })
    }

    fn count(&self) -> usize {
        self.leading.iter().product()
    }
}

/// Some elements of a run, or several whole runs.
struct Piece<'p> {
    formula: &'p Formula,
    runs: &'p Runs<'p>,
    /// The first run.
    run: usize,
    /// How many runs.
    count: usize,
    /// The first element of the run: 0 where there are several.
    first: usize,
}

/// An operand of a step.
#[derive(Clone, Copy)]
enum Read<'r> {
    /// A number for every run.
    Runs(&'r [f32]),
    Many(&'r [f32]),
}

impl Piece<'_> {
    /// The results of the last step.
    #[inline(always)]
    fn compute(&self, scratch: &mut Scratch, to: &mut [f32]) {
        let (formula, count, length) = (self.formula, self.count, to.len() / self.count);
        self.gather(scratch, length);
        let Scratch { steps: scratch, operands, .. } = scratch;
        // whether the results of a step are a number for every run
        let mut same = [false; STEPS];
        for (at, step) in formula.steps.iter().enumerate() {
            let (slot, last) = (formula.slots[at], at + 1 == formula.steps.len());
            let mut own = std::mem::take(&mut scratch[slot]);
            let read = |operand: usize| match operand.checked_sub(formula.operands) {
                Some(before) if same[before] => Read::Runs(&scratch[formula.slots[before]][..count]),
                Some(before) => Read::Many(&scratch[formula.slots[before]][..to.len()]),
                None => self.operand(operand, operands, to.len()),
            };
            let reads = [read(step.a), read(step.b), read(step.c)];
            let used = &reads[..step.operation.operands()];
            same[at] = used.iter().all(|read| matches!(read, Read::Runs(_)));
            match (same[at], last) {
                (true, _) => operated(step.operation, reads, &mut own[..count], 1),
                (false, true) => operated(step.operation, reads, to, length),
                (false, false) => operated(step.operation, reads, &mut own[..to.len()], length),
            }
            if same[at] && last {
                to.chunks_exact_mut(length).zip(&own).for_each(|(to, &number)| to.fill(number));
            }
            scratch[slot] = own;
        }
    }

    #[inline(always)]
    fn operand<'r>(&'r self, operand: usize, gathered: &'r [Vec<f32>], length: usize) -> Read<'r> {
        let walk = &self.runs.operands[operand];
        match (walk.whole, walk.moves) {
            (true, _) => Read::Many(&walk.elements[self.run * self.runs.length + self.first..][..length]),
            (false, true) => Read::Many(&gathered[operand][..length]),
            (false, false) => Read::Runs(&gathered[operand][..self.count]),
        }
    }

    /// What the runs read of operands that are repeated.
    #[inline(always)]
    fn gather(&self, scratch: &mut Scratch, length: usize) {
        let leading = &self.runs.leading;
        for (walk, to) in self.runs.operands.iter().zip(&mut scratch.operands).filter(|(walk, _)| !walk.whole) {
            let (mut rest, mut offset) = (self.run, 0);
            for (axis, &extent) in leading.iter().enumerate().rev() {
                scratch.place[axis] = rest % extent;
                offset += scratch.place[axis] * walk.strides[axis];
                rest /= extent;
            }
            for run in 0..self.count {
                match walk.moves {
                    true => to[run * length..][..length].copy_from_slice(&walk.elements[offset + self.first..][..length]),
                    false => to[run] = walk.elements[offset],
                }
                for axis in (0..leading.len()).rev() {
                    scratch.place[axis] += 1;
                    offset += walk.strides[axis];
                    if scratch.place[axis] < leading[axis] {
                        break;
                    }
                    offset -= leading[axis] * walk.strides[axis];
                    scratch.place[axis] = 0;
                }
            }
        }
    }
}

/// Steps of a formula, at most.
pub const STEPS: usize = 32;

/// Writes the results of runs of `length` elements.
#[inline(always)]
fn operated(operation: Operation, [a, b, c]: [Read; 3], to: &mut [f32], length: usize) {
    match operation {
        Operation::Copy => unary(a, to, |a| a),
        Operation::Add => binary(a, b, to, length, |a, b| a + b),
        Operation::Sub => binary(a, b, to, length, |a, b| a - b),
        Operation::Mul => binary(a, b, to, length, |a, b| a * b),
        Operation::Div => binary(a, b, to, length, |a, b| a / b),
        Operation::Neg => unary(a, to, |a| -a),
        Operation::Relu => unary(a, to, |a| if a < 0.0 { 0.0 } else { a }),
        Operation::Gate => binary(a, b, to, length, |a, b| if a > 0.0 { b } else { 0.0 }),
        Operation::Sqrt => unary(a, to, f32::sqrt),
        Operation::Reciprocal => unary(a, to, |a| 1.0 / a),
        Operation::Abs => unary(a, to, f32::abs),
        // −0 + 0 is 0
        Operation::Sign => unary(a, to, |a| if a > 0.0 { 1.0 } else { if a < 0.0 { -1.0 } else { a + 0.0 } }),
        Operation::Max => binary(a, b, to, length, |a, b| if a > b || a.is_nan() { a } else { b }),
        Operation::Min => binary(a, b, to, length, |a, b| if a < b || a.is_nan() { a } else { b }),
        Operation::Select => select([a, b, c], to, length),
    }
}

#[inline(always)]
fn select([condition, b, c]: [Read; 3], to: &mut [f32], length: usize) {
    for (run, to) in to.chunks_exact_mut(length).enumerate() {
        let place = run * length;
        let chosen = |is_true: bool| if is_true { b } else { c };
        match condition {
            Read::Runs(conditions) => match chosen(conditions[run] != 0.0) {
                Read::Runs(numbers) => to.fill(numbers[run]),
                Read::Many(numbers) => to.copy_from_slice(&numbers[place..][..length]),
            },
            Read::Many(conditions) => {
                for (at, to) in to.iter_mut().enumerate() {
                    *to = match chosen(conditions[place + at] != 0.0) {
                        Read::Runs(numbers) => numbers[run],
                        Read::Many(numbers) => numbers[place + at],
                    };
                }
            }
        }
    }
}

/// The operand has as many numbers as the result.
#[inline(always)]
fn unary(a: Read, to: &mut [f32], f: impl Fn(f32) -> f32) {
    let (Read::Runs(a) | Read::Many(a)) = a;
    to.iter_mut().zip(a).for_each(|(to, &a)| *to = f(a));
}

#[inline(always)]
fn binary(a: Read, b: Read, to: &mut [f32], length: usize, f: impl Fn(f32, f32) -> f32) {
    match (a, b) {
        (Read::Runs(a), Read::Runs(b)) | (Read::Many(a), Read::Many(b)) => {
            to.iter_mut().zip(a).zip(b).for_each(|((to, &a), &b)| *to = f(a, b));
        }
        (Read::Runs(a), Read::Many(b)) => {
            let runs = to.chunks_exact_mut(length).zip(b.chunks_exact(length)).zip(a);
            runs.for_each(|((to, b), &a)| to.iter_mut().zip(b).for_each(|(to, &b)| *to = f(a, b)));
        }
        (Read::Many(a), Read::Runs(b)) => {
            let runs = to.chunks_exact_mut(length).zip(a.chunks_exact(length)).zip(b);
            runs.for_each(|((to, a), &b)| to.iter_mut().zip(a).for_each(|(to, &a)| *to = f(a, b)));
        }
    }
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

/// The largest of a piece: sixteen beside each other, then those. What is not a number stays.
#[inline(always)]
fn largest(piece: &[f32]) -> f64 {
    let larger = |a: f32, b: f32| if b > a || b.is_nan() { b } else { a };
    let mut all = [f32::NEG_INFINITY; 16];
    let whole = piece.chunks_exact(16);
    let rest = whole.remainder();
    for chunk in whole {
        all.iter_mut().zip(chunk).for_each(|(most, &v)| *most = larger(*most, v));
    }
    f64::from(all.iter().chain(rest).fold(f32::NEG_INFINITY, |most, &v| larger(most, v)))
}

impl Reduction {
    /// What no element gives.
    fn of_none(self) -> f64 {
        if self == Reduction::Max { f64::NEG_INFINITY } else { 0.0 }
    }

    /// What two parts give together.
    fn joined(self, a: f64, b: f64) -> f64 {
        match self {
            Reduction::Sum | Reduction::Mean => a + b,
            Reduction::Max => {
                if b > a || b.is_nan() {
                    b
                } else {
                    a
                }
            }
        }
    }
}

fn run_piece(piece: &Piece, scratch: &mut Scratch, to: &mut [f32]) {
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

/// The same, and the reduction of the piece.
fn run_total(piece: &Piece, reduction: Reduction, scratch: &mut Scratch, to: &mut [f32]) -> f64 {
    run_piece(piece, scratch, to);
    match reduction {
        Reduction::Sum | Reduction::Mean => summed(to),
        Reduction::Max => largest(to),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn piece_avx512(piece: &Piece, scratch: &mut Scratch, to: &mut [f32]) {
    piece.compute(scratch, to);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn piece_avx2(piece: &Piece, scratch: &mut Scratch, to: &mut [f32]) {
    piece.compute(scratch, to);
}
