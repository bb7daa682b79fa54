//! Answering an `oracle/1` component: checks every question against the batch and the task, and asks the [`Oracle`]. Over
//! shared memory for a worker, directly for a plugin in this process; both end in [`Service`].

use std::io;

use flatscape_abi as abi;
use flatscape_contain::{Inward, Outward};
use flatscape_graph::Tensor;

use crate::oracle::{Batch, Law, Oracle, OracleError};
use crate::task::Task;
use crate::wire::{Answer, Ask, Memory};
use crate::worker::{Port, Samples};

/// Bytes of shared memory for a question, about: longer ones are asked in pieces.
const QUESTION_BYTES: usize = 16 << 20;
/// Rows of a question: as many as there are samples, within these.
const LEAST_ROWS: usize = 64;
const MOST_ROWS: usize = 4096;
/// Random numbers per row of a question, at most, where an image has fewer pixels.
const NOISE: usize = 1 << 16;

/// An oracle, a batch and what went wrong while answering.
pub(crate) struct Service<'a> {
    oracle: &'a mut dyn Oracle,
    pixels: usize,
    shape: [usize; 3],
    classes: usize,
    samples: usize,
    /// Why a question could not be answered: the run ends with it.
    pub failure: Option<String>,
    stopped: bool,
}

/// The batch in the layout that plugins see.
pub(crate) struct Columns {
    pub x0: Vec<f32>,
    pub y: Vec<i64>,
    pub target: Option<Vec<i64>>,
}

impl<'a> Service<'a> {
    /// Takes the batch of an oracle. The error is a clause: the batch does not belong to the task.
    pub(crate) fn new(oracle: &'a mut dyn Oracle, task: &Task) -> Result<(Service<'a>, Columns), String> {
        let Batch { x0, y, target } = oracle.batch();
        let [c, h, w] = task.shape;
        let samples = y.len();
        let fits = [vec![samples, c, h, w], vec![samples, task.pixels()]].contains(&x0.shape().to_vec());
        let x0 = x0.to_vec::<f32>().filter(|_| fits).ok_or("x0 is not float [N,C,H,W]")?;
        let target = match (task.targeted, target) {
            (false, _) => None,
            (true, Some(target)) if target.len() == samples => Some(target),
            (true, _) => return Err("the task is targeted, and there is not one target for each sample".into()),
        };
        let service = Service {
            oracle,
            pixels: task.pixels(),
            shape: task.shape,
            classes: task.classes,
            samples,
            failure: None,
            stopped: false,
        };
        Ok((service, Columns { x0, y, target }))
    }

    fn points(&self, x: &[f32], rows: &[i64]) -> Option<(Tensor, Vec<usize>)> {
        let [c, h, w] = self.shape;
        let samples: Option<Vec<usize>> = rows.iter().map(|&r| usize::try_from(r).ok().filter(|r| *r < self.samples)).collect();
        let tensor = Tensor::new(&[rows.len(), c, h, w], x.to_vec())?;
        Some((tensor, samples?))
    }

    fn status(&mut self, error: OracleError) -> abi::Status {
        match error {
            OracleError::Stop => {
                self.stopped = true;
                abi::CANCELLED
            }
            OracleError::Failed(words) => {
                self.failure = Some(words);
                self.stopped = true;
                abi::FAILED
            }
        }
    }

    /// Copies an answer, which must have the requested length.
    fn fill(&mut self, answer: Result<Tensor, OracleError>, out: &mut [f32]) -> abi::Status {
        let tensor = match answer {
            Ok(tensor) => tensor,
            Err(error) => return self.status(error),
        };
        match tensor.to_vec::<f32>() {
            Some(values) if values.len() == out.len() => {
                out.copy_from_slice(&values);
                abi::OK
            }
            _ => self.status(OracleError::Failed(format!("an answer has the shape {:?}", tensor.shape()))),
        }
    }

    pub(crate) fn logits(&mut self, x: &[f32], rows: &[i64], out: &mut [f32]) -> abi::Status {
        let Some((x, rows)) = self.points(x, rows).filter(|_| out.len() == rows.len() * self.classes) else {
            return abi::INVALID;
        };
        let answer = self.oracle.logits(&x, &rows);
        self.fill(answer, out)
    }

    pub(crate) fn gradient(
        &mut self,
        x: &[f32],
        rows: &[i64],
        cotangents: Option<&[f32]>,
        loss: Option<&mut [f32]>,
        out: &mut [f32],
    ) -> abi::Status {
        let Some((x, rows)) = self.points(x, rows).filter(|_| out.len() == rows.len() * self.pixels) else {
            return abi::INVALID;
        };
        let cotangents = cotangents.and_then(|ct| Tensor::new(&[rows.len(), self.classes], ct.to_vec()));
        let (losses, gradient) = match self.oracle.gradient(&x, &rows, cotangents.as_ref()) {
            Ok(both) => both,
            Err(error) => return self.status(error),
        };
        if let Some(loss) = loss {
            let answer = losses.ok_or_else(|| OracleError::Failed("a loss was requested and not given".into()));
            let status = self.fill(answer, loss);
            if status != abi::OK {
                return status;
            }
        }
        self.fill(Ok(gradient), out)
    }

    pub(crate) fn noise(&mut self, law: i32, stream: u32, rows: &[i64], shape: &[usize], out: &mut [f32]) -> abi::Status {
        let law = match law {
            abi::UNIFORM => Law::Uniform,
            abi::NORMAL => Law::Normal,
            abi::RADEMACHER => Law::Rademacher,
            _ => return abi::INVALID,
        };
        let samples: Option<Vec<usize>> = rows.iter().map(|&r| usize::try_from(r).ok().filter(|r| *r < self.samples)).collect();
        let Some(samples) = samples else { return abi::INVALID };
        if shape.iter().try_fold(1usize, |width, &n| width.checked_mul(n)).is_none_or(|width| width > NOISE.max(self.pixels)) {
            return abi::INVALID;
        }
        let whole: Vec<usize> = [rows.len()].into_iter().chain(shape.iter().copied()).collect();
        let answer = self.oracle.noise(law, stream, &samples, &whole);
        self.fill(answer, out)
    }

    pub(crate) fn active(&mut self) -> Vec<bool> {
        let mut active = self.oracle.active();
        active.resize(self.samples, false);
        active
    }

    pub(crate) fn offer(&mut self, x: &[f32], rows: &[i64]) -> abi::Status {
        let Some((x, rows)) = self.points(x, rows) else { return abi::INVALID };
        match self.oracle.offer(&x, &rows) {
            Ok(()) => abi::OK,
            Err(error) => self.status(error),
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.stopped || self.oracle.cancelled()
    }
}

/// The shared memory of one run, seen from the host.
pub(crate) struct Shared {
    pub inward: Inward,
    pub outward: Outward,
    pub memory: Memory,
    answers: usize,
    pixels: usize,
    classes: usize,
}

impl Shared {
    /// Makes both parts and writes the batch.
    pub(crate) fn new(task: &Task, columns: &Columns) -> io::Result<Shared> {
        let (d, c, samples) = (task.pixels(), task.classes, columns.y.len());
        let rows = (QUESTION_BYTES / (4 * (d + c).max(1))).min(samples.clamp(LEAST_ROWS, MOST_ROWS)).max(1);
        let answer = (rows * (d + 1).max(c)).max(NOISE);
        let memory = Memory { samples, rows, answer, question: rows * (d + c) };
        let answers = memory.answers_at(d, task.targeted);
        let mut inward = Inward::new(answers + 4 * answer)?;
        let outward = Outward::new(4 * memory.question)?;
        let mut at = 0;
        for label in columns.y.iter().chain(columns.target.iter().flatten()) {
            inward.bytes[at..at + 8].copy_from_slice(&label.to_ne_bytes());
            at += 8;
        }
        for value in &columns.x0 {
            inward.bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
            at += 4;
        }
        Ok(Shared { inward, outward, memory, answers, pixels: d, classes: c })
    }

    fn question(&self, at: usize, count: usize) -> Option<Vec<f32>> {
        let bytes = self.outward.bytes.get(at.checked_mul(4)?..at.checked_add(count)?.checked_mul(4)?)?;
        Some(bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    fn write(&mut self, at: usize, values: &[f32]) -> bool {
        let Some(bytes) = self.inward.bytes.get_mut(self.answers + 4 * at..) else { return false };
        if bytes.len() < 4 * values.len() {
            return false;
        }
        for (slot, value) in bytes.chunks_exact_mut(4).zip(values) {
            slot.copy_from_slice(&value.to_ne_bytes());
        }
        true
    }

    /// Answers one question of the worker, after checking it.
    pub(crate) fn answer(&mut self, service: &mut Service<'_>, ask: &Ask) -> Answer {
        let (d, c) = (self.pixels, self.classes);
        let mut active = Vec::new();
        let status = match ask {
            Ask::Active => {
                active = service.active();
                Some(abi::OK)
            }
            Ask::Logits { rows } => self.rows(rows).and_then(|n| {
                let x = self.question(0, n * d)?;
                let mut out = vec![0.0; n * c];
                let status = service.logits(&x, rows, &mut out);
                self.write(0, &out).then_some(status)
            }),
            Ask::Gradient { rows, cotangents } => self.rows(rows).and_then(|n| {
                let x = self.question(0, n * d)?;
                let ct = if *cotangents { Some(self.question(n * d, n * c)?) } else { None };
                let (mut gradient, mut loss) = (vec![0.0; n * d], vec![0.0; n]);
                let losses = (!*cotangents).then_some(loss.as_mut_slice());
                let status = service.gradient(&x, rows, ct.as_deref(), losses, &mut gradient);
                (self.write(0, &gradient) && self.write(n * d, &loss)).then_some(status)
            }),
            Ask::Noise { law, stream, rows, shape } => self.rows(rows).and_then(|n| {
                let width = shape.iter().try_fold(1usize, |p, &k| p.checked_mul(k))?;
                let total = n.checked_mul(width).filter(|t| *t <= self.memory.answer)?;
                let mut out = vec![0.0; total];
                let status = service.noise(*law, *stream, rows, shape, &mut out);
                self.write(0, &out).then_some(status)
            }),
            Ask::Offer { rows } => self.rows(rows).and_then(|n| {
                let x = self.question(0, n * d)?;
                Some(service.offer(&x, rows))
            }),
            Ask::Weights(_) => None,
        };
        Answer { status: status.unwrap_or(abi::INVALID), words: String::new(), active, cancelled: service.is_cancelled() }
    }

    fn rows(&self, rows: &[i64]) -> Option<usize> {
        (rows.len() <= self.memory.rows).then_some(rows.len())
    }
}

/// The port of a plugin in this process.
pub(crate) struct DirectPort<'a, 'o> {
    pub service: &'a mut Service<'o>,
    pub columns: Columns,
}

impl Port for DirectPort<'_, '_> {
    fn samples(&self) -> Samples {
        Samples {
            count: self.columns.y.len(),
            x0: self.columns.x0.as_ptr(),
            y: self.columns.y.as_ptr(),
            target: self.columns.target.as_ref().map_or(std::ptr::null(), |t| t.as_ptr()),
        }
    }

    fn logits(&mut self, x: &[f32], rows: &[i64], logits: &mut [f32]) -> abi::Status {
        self.service.logits(x, rows, logits)
    }

    fn gradient(
        &mut self,
        x: &[f32],
        rows: &[i64],
        cotangents: Option<&[f32]>,
        loss: Option<&mut [f32]>,
        gradient: &mut [f32],
    ) -> abi::Status {
        self.service.gradient(x, rows, cotangents, loss, gradient)
    }

    fn noise(&mut self, law: i32, stream: u32, rows: &[i64], shape: &[usize], out: &mut [f32]) -> abi::Status {
        self.service.noise(law, stream, rows, shape, out)
    }

    fn active(&mut self, active: &mut [u8]) -> abi::Status {
        for (slot, flag) in active.iter_mut().zip(self.service.active()) {
            *slot = flag.into();
        }
        abi::OK
    }

    fn offer(&mut self, x: &[f32], rows: &[i64]) -> abi::Status {
        self.service.offer(x, rows)
    }

    fn cancelled(&self) -> bool {
        self.service.is_cancelled()
    }
}
