//! Answering a `weights/1` component: checks every question against the model and the user's arguments, and asks [`Weights`]. Over
//! shared memory for a worker, directly for a plugin in this process; both end in [`Weighing`].

use std::collections::BTreeSet;
use std::io;
use std::sync::Mutex;

use flatscape_abi as abi;
use flatscape_contain::{Inward, Outward};

use crate::component::Component;
use crate::error::{Blame, HostError};
use crate::oracle::{Law, OracleError};
use crate::params::{Arguments, Value};
use crate::plugins::{Plugins, converse, keep};
use crate::reduction::is_identifier;
use crate::task::Task;
use crate::weights::{Ascent, Given, WeightFacts, Weights};
use crate::wire::{Answer, Ask, Fault, Request, WeightsAsk};
use crate::worker::WeightsPort;

/// Points of a curve at most.
const MOST_POINTS: usize = 100_000;
/// Rows and columns of a surface at most, and its cells.
const MOST_ROWS: usize = 4096;
const MOST_CELLS: usize = 1 << 20;
/// Values, curves and surfaces of a run at most.
const MOST_GIVEN: usize = 10_000;
/// Steps of an attack at most.
const MOST_STEPS: u32 = 10_000;
/// Doubles that a question may hold.
pub(crate) const DOUBLES: usize = MOST_CELLS + 2 * MOST_ROWS;

/// A model, and what went wrong while answering.
pub(crate) struct Weighing<'a> {
    weights: &'a mut dyn Weights,
    pub facts: WeightFacts,
    /// Files that the user named in arguments of the component.
    files: BTreeSet<String>,
    names: BTreeSet<String>,
    /// Why a question could not be answered: the run ends with it.
    pub failure: Option<String>,
    stopped: bool,
}

/// An answer: two numbers, and a vector where one was asked for.
pub(crate) struct Weighed {
    pub status: abi::Status,
    pub numbers: [f64; 2],
    pub vector: Option<Vec<f32>>,
}

impl Weighed {
    fn status(status: abi::Status) -> Weighed {
        Weighed { status, numbers: [f64::NAN; 2], vector: None }
    }
}

impl<'a> Weighing<'a> {
    pub(crate) fn new(weights: &'a mut dyn Weights, arguments: &Arguments) -> Weighing<'a> {
        let facts = weights.facts();
        let files = arguments.0.iter().filter_map(|a| if let Value::Text(text) = &a.value { Some(items(text)) } else { None });
        let files = files.flatten().collect();
        Weighing { weights, facts, files, names: BTreeSet::new(), failure: None, stopped: false }
    }

    /// Answers a question; `doubles` holds what belongs to curves and surfaces.
    pub(crate) fn answer(&mut self, ask: &WeightsAsk, theta: &[f32], v: &[f32], doubles: &[f64]) -> Weighed {
        if ![theta, v].iter().all(|vector| vector.iter().all(|value| value.is_finite())) {
            return Weighed::status(abi::INVALID);
        }
        let answered = match ask {
            WeightsAsk::Loss => self.weights.loss(theta).map(|numbers| (numbers, None)),
            WeightsAsk::Gradient => self.weights.gradient(theta).map(|(loss, g)| ([loss, f64::NAN], Some(g))),
            WeightsAsk::Hvp => self.weights.hvp(theta, v).map(|out| ([f64::NAN; 2], Some(out))),
            WeightsAsk::Attack { eps, alpha, steps, go_on } => {
                let ascent = Ascent { eps: f64::from_bits(*eps), alpha: f64::from_bits(*alpha), steps: *steps, go_on: *go_on };
                let possible = |v: f64| v.is_finite() && v >= 0.0;
                if !possible(ascent.eps) || !possible(ascent.alpha) || *steps > MOST_STEPS {
                    return Weighed::status(abi::INVALID);
                }
                self.weights.attack(theta, ascent).map(|()| ([f64::NAN; 2], None))
            }
            WeightsAsk::Refresh { at } => self.weights.refresh(at.then_some(theta)).map(|()| ([f64::NAN; 2], None)),
            WeightsAsk::Noise { law, stream, index } => {
                let Some(law) = law_of(*law) else { return Weighed::status(abi::INVALID) };
                self.weights.noise(law, *stream, *index).map(|out| ([f64::NAN; 2], Some(out)))
            }
            WeightsAsk::Other { file } if self.files.contains(file) => {
                self.weights.other(file).map(|out| ([f64::NAN; 2], Some(out)))
            }
            WeightsAsk::Other { .. } => return Weighed::status(abi::INVALID),
            WeightsAsk::Value { .. } | WeightsAsk::Curve { .. } | WeightsAsk::Surface { .. } => {
                return Weighed::status(if self.give(ask, doubles) { abi::OK } else { abi::INVALID });
            }
        };
        match answered {
            Ok((_, Some(vector))) if vector.len() != self.facts.parameters => {
                self.fail(OracleError::Failed(format!("an answer has {} values", vector.len())))
            }
            Ok((numbers, vector)) => Weighed { status: abi::OK, numbers, vector },
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: OracleError) -> Weighed {
        self.stopped = true;
        match error {
            OracleError::Stop => Weighed::status(abi::CANCELLED),
            OracleError::Failed(words) => {
                self.failure = Some(words);
                Weighed::status(abi::FAILED)
            }
        }
    }

    /// Takes over what was given; false where it is not as the interface has it.
    fn give(&mut self, ask: &WeightsAsk, doubles: &[f64]) -> bool {
        let split = |n: usize| doubles.split_at_checked(n).map(|(a, b)| (a.to_vec(), b.to_vec()));
        let given = match ask {
            WeightsAsk::Value { name, value, low, high, n } => {
                let [value, low, high] = [value, low, high].map(|bits| f64::from_bits(*bits));
                let interval = (low.is_nan() && high.is_nan()) || (low <= value && value <= high);
                (value.is_finite() && interval).then(|| Given::Value { name: name.clone(), value, low, high, n: *n })
            }
            WeightsAsk::Curve { name, length } if *length <= MOST_POINTS && doubles.len() == 2 * length => {
                split(*length).map(|(x, y)| Given::Curve { name: name.clone(), x, y })
            }
            WeightsAsk::Surface { name, columns, rows } if surface_fits(*columns, *rows, doubles.len()) => split(*columns)
                .and_then(|(x, rest)| {
                    let (y, z) = rest.split_at_checked(*rows)?;
                    let ordered = [x.as_slice(), y].iter().all(|axis| axis.iter().all(|v| v.is_finite()));
                    ordered.then(|| Given::Surface { name: name.clone(), x: x.clone(), y: y.to_vec(), z: z.to_vec() })
                }),
            _ => None,
        };
        let Some(given) = given.filter(|given| is_identifier(given.name())) else { return false };
        if self.names.len() >= MOST_GIVEN || !self.names.insert(given.name().to_owned()) {
            return false;
        }
        self.weights.give(given);
        true
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.stopped || self.weights.cancelled()
    }
}

fn surface_fits(columns: usize, rows: usize, doubles: usize) -> bool {
    let inside = (1..=MOST_ROWS).contains(&columns) && (1..=MOST_ROWS).contains(&rows) && columns * rows <= MOST_CELLS;
    inside && doubles == columns + rows + columns * rows
}

/// The texts that an argument names: itself, and the items of a list `a,b`, which may stand in brackets.
fn items(text: &str) -> Vec<String> {
    let inner = text.trim().strip_prefix('(').and_then(|t| t.strip_suffix(')')).unwrap_or(text);
    let listed = inner.split(',').map(|item| item.trim().to_owned());
    std::iter::once(text.trim().to_owned()).chain(listed).filter(|item| !item.is_empty()).collect()
}

fn law_of(code: i32) -> Option<Law> {
    match code {
        abi::UNIFORM => Some(Law::Uniform),
        abi::NORMAL => Some(Law::Normal),
        abi::RADEMACHER => Some(Law::Rademacher),
        _ => None,
    }
}

/// The shared memory of one run, seen from the host. `inward` holds θ, the filters, two numbers and a vector; `outward` two vectors,
/// then doubles.
pub(crate) struct SharedWeights {
    pub inward: Inward,
    pub outward: Outward,
    parameters: usize,
}

/// Where the two numbers of an answer lie in `inward`, and its vector.
pub(crate) fn numbers_at(parameters: usize) -> usize {
    8 * parameters
}

/// Where the doubles of a question lie in `outward`.
pub(crate) fn doubles_at(parameters: usize) -> usize {
    8 * parameters
}

impl SharedWeights {
    /// Makes both parts and writes the weights.
    pub(crate) fn new(weights: &dyn Weights, parameters: usize) -> io::Result<SharedWeights> {
        let mut inward = Inward::new(numbers_at(parameters) + 16 + 4 * parameters)?;
        let outward = Outward::new(doubles_at(parameters) + 8 * DOUBLES)?;
        let (theta, filters) = (weights.theta(), weights.filters());
        let words = theta.iter().map(|v| v.to_ne_bytes()).chain(filters.iter().map(|v| v.to_ne_bytes()));
        for (slot, word) in inward.bytes.chunks_exact_mut(4).zip(words) {
            slot.copy_from_slice(&word);
        }
        Ok(SharedWeights { inward, outward, parameters })
    }

    fn vector(&self, place: usize) -> Vec<f32> {
        let bytes = &self.outward.bytes[4 * place * self.parameters..4 * (place + 1) * self.parameters];
        bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    fn doubles(&self, count: usize) -> Option<Vec<f64>> {
        let from = doubles_at(self.parameters);
        let bytes = self.outward.bytes.get(from..from.checked_add(count.checked_mul(8)?)?)?;
        Some(bytes.chunks_exact(8).map(|b| f64::from_ne_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])).collect())
    }

    /// Answers one question of the worker, after checking it.
    pub(crate) fn answer(&mut self, weighing: &mut Weighing<'_>, ask: &WeightsAsk) -> Answer {
        let theta = if ask.reads_theta() { self.vector(0) } else { Vec::new() };
        let v = if matches!(ask, WeightsAsk::Hvp) { self.vector(1) } else { Vec::new() };
        let doubles = ask.doubles().and_then(|count| self.doubles(count));
        let weighed = match doubles {
            Some(doubles) => weighing.answer(ask, &theta, &v, &doubles),
            None => Weighed::status(abi::INVALID),
        };
        let at = numbers_at(self.parameters);
        let (numbers, vector) = self.inward.bytes[at..].split_at_mut(16);
        numbers[..8].copy_from_slice(&weighed.numbers[0].to_ne_bytes());
        numbers[8..].copy_from_slice(&weighed.numbers[1].to_ne_bytes());
        for (slot, value) in vector.chunks_exact_mut(4).zip(weighed.vector.iter().flatten()) {
            slot.copy_from_slice(&value.to_ne_bytes());
        }
        Answer { status: weighed.status, words: String::new(), active: Vec::new(), cancelled: weighing.is_cancelled() }
    }
}

/// The port of a plugin in this process.
pub(crate) struct DirectWeights<'a, 'o> {
    weighing: &'a mut Weighing<'o>,
    theta: Vec<f32>,
    filters: Vec<i32>,
}

impl<'a, 'o> DirectWeights<'a, 'o> {
    pub(crate) fn new(weighing: &'a mut Weighing<'o>) -> DirectWeights<'a, 'o> {
        let (theta, filters) = (weighing.weights.theta(), weighing.weights.filters());
        DirectWeights { weighing, theta, filters }
    }
}

impl Plugins {
    /// Lets a component of `weights/1` measure a model. What it gives arrives at [`Weights::give`].
    ///
    /// # Errors
    /// As for [`Plugins::build`]; and when the model failed to answer. What was given before stays given.
    pub fn run_weights(
        &self,
        component: &Component,
        arguments: &Arguments,
        task: &Task,
        weights: &mut dyn Weights,
    ) -> Result<(), HostError> {
        let stage = format!("measure of {}", component.id);
        let mut weighing = Weighing::new(weights, arguments);
        let (kind, id) = (component.kind, component.id.clone());
        let Some(program) = &self.worker.program else {
            let said = Mutex::new(Vec::new());
            let mut port = DirectWeights::new(&mut weighing);
            let log = |level: i32, words: &str| keep(&said, level, words);
            let result = self.here(&component.plugin, |loaded| loaded.measure(kind, &id, arguments, task, &mut port, &log))?;
            self.keep_said(&component.plugin.path, said.into_inner().unwrap_or_default());
            return self.measure_ends(component, &weighing, result);
        };
        let machine = |e: io::Error| HostError::new("P30", Blame::Machine, format!("{id}: no shared memory: {e}"));
        let facts = weighing.facts.clone();
        let mut shared = SharedWeights::new(weighing.weights, facts.parameters).map_err(machine)?;
        let mut session = self.session(program, &component.plugin)?;
        let request = Request::Measure { kind, component: id.clone(), arguments: arguments.clone(), task: task.clone(), facts };
        let limits = &self.worker.limits;
        let begun =
            session.send(&request, limits.run, &stage).and_then(|()| session.share(&shared.inward, &shared.outward, &stage));
        let mut answer = |ask: &Ask| match ask {
            Ask::Weights(ask) => shared.answer(&mut weighing, ask),
            _ => Answer { status: abi::INVALID, ..Answer::default() },
        };
        let begun = begun.and_then(|()| converse(&mut session, &mut answer, limits, &stage));
        let ended = begun.map_err(|e| e.of_component(&component.id))?;
        self.keep_said(&component.plugin.path, session.finish());
        match ended {
            Some(result) => self.measure_ends(component, &weighing, result),
            None => Err(self.nonsense(component)),
        }
    }

    /// The model's own failure takes precedence over the component's answer to it.
    fn measure_ends(&self, component: &Component, weighing: &Weighing<'_>, result: Result<(), Fault>) -> Result<(), HostError> {
        match &weighing.failure {
            Some(failure) => Err(HostError::new("P31", Blame::Oracle, failure.clone()).of_component(&component.id)),
            None => result.map_err(|fault| self.fault(component, &fault)),
        }
    }
}

impl WeightsPort for DirectWeights<'_, '_> {
    fn facts(&self) -> WeightFacts {
        self.weighing.facts.clone()
    }

    fn tables(&self) -> (*const f32, *const i32) {
        (self.theta.as_ptr(), self.filters.as_ptr())
    }

    fn ask(
        &mut self,
        ask: WeightsAsk,
        vectors: [&[f32]; 2],
        doubles: &[&[f64]],
        out: Option<&mut [f32]>,
    ) -> (abi::Status, [f64; 2]) {
        let weighed = self.weighing.answer(&ask, vectors[0], vectors[1], &doubles.concat());
        if let (Some(out), Some(vector)) = (out, &weighed.vector) {
            out.copy_from_slice(vector);
        }
        (weighed.status, weighed.numbers)
    }

    fn cancelled(&self) -> bool {
        self.weighing.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_those_of_the_arguments() {
        assert_eq!(items("(a.onnx, b.onnx)"), ["(a.onnx, b.onnx)", "a.onnx", "b.onnx"]);
        assert_eq!(items("a.onnx"), ["a.onnx", "a.onnx"]);
        assert_eq!(items(""), [""; 0]);
    }

    #[test]
    fn names_are_identifiers() {
        assert!(is_identifier("hessian_trace_2"));
        for bad in ["", "2a", "a-b", "A", "a b", "=1+1"] {
            assert!(!is_identifier(bad), "{bad}");
        }
    }
}
