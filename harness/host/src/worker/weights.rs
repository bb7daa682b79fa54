//! The functions behind `fs_weights`. Checks every pointer that a plugin passes, and hands questions on: to the host over the socket,
//! or in process to the model itself.

use std::cell::RefCell;
use std::os::unix::net::UnixStream;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ThreadId;

use flatscape_abi as abi;
use flatscape_contain::{Most, ReadOnly, Writable, receive, send};

use super::port::view;
use super::reading;
use crate::weighing::{doubles_at, numbers_at};
use crate::weights::{Normalisation, SegmentRole, WeightFacts};
use crate::wire::{Ask, Reply, Request, WeightsAsk};

/// Whoever answers the questions of a run.
pub(crate) trait WeightsPort {
    fn facts(&self) -> WeightFacts;
    /// θ \[P\] and the filters \[P\], in memory that outlives the run.
    fn tables(&self) -> (*const f32, *const i32);
    /// Two vectors (empty or \[P\]) and doubles are the question; two numbers and `out` \[P\] the answer.
    fn ask(
        &mut self,
        ask: WeightsAsk,
        vectors: [&[f32]; 2],
        doubles: &[&[f64]],
        out: Option<&mut [f32]>,
    ) -> (abi::Status, [f64; 2]);
    fn cancelled(&self) -> bool;
}

/// What is behind an `fs_weights`.
pub(crate) struct Model<'a> {
    port: RefCell<&'a mut dyn WeightsPort>,
    facts: WeightFacts,
    shapes: Vec<Vec<i64>>,
    thread: ThreadId,
    cancelled: AtomicBool,
}

impl<'a> Model<'a> {
    pub(crate) fn new(port: &'a mut dyn WeightsPort) -> Model<'a> {
        let facts = port.facts();
        let shapes = facts.segments.iter().map(|s| s.shape.iter().map(|&n| n as i64).collect()).collect();
        let thread = std::thread::current().id();
        Model { port: RefCell::new(port), facts, shapes, thread, cancelled: AtomicBool::new(false) }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// The segments for the plugin; they borrow this.
    pub(crate) fn segments(&self) -> Vec<abi::FsSegment> {
        let one = |(segment, shape): (&crate::weights::Segment, &Vec<i64>)| abi::FsSegment {
            name: abi::FsString::new(&segment.name),
            shape: shape.as_ptr(),
            rank: i32::try_from(shape.len()).unwrap_or(0),
            role: match segment.role {
                SegmentRole::Kernel => abi::KERNEL,
                SegmentRole::Bias => abi::BIAS,
                SegmentRole::Scale => abi::SCALE,
                SegmentRole::Statistic => abi::STATISTIC,
            },
            axis: segment.axis.and_then(|axis| i32::try_from(axis).ok()).unwrap_or(-1),
            layer: i32::try_from(segment.layer).unwrap_or(i32::MAX),
            offset: segment.offset,
            size: segment.size,
        };
        self.facts.segments.iter().zip(&self.shapes).map(one).collect()
    }

    /// The table for the plugin; it borrows this and the segments.
    pub(crate) fn table(&self, segments: &[abi::FsSegment]) -> abi::FsWeights {
        let (theta, filter) = self.port.borrow().tables();
        abi::FsWeights {
            size: size_of::<abi::FsWeights>(),
            host: std::ptr::from_ref(self).cast_mut().cast(),
            parameters: self.facts.parameters,
            theta,
            filter,
            segments: segments.as_ptr(),
            segment_count: segments.len(),
            samples: self.facts.samples,
            normalisation: match self.facts.normalisation {
                Normalisation::None => abi::BN_NONE,
                Normalisation::Present => abi::BN_PRESENT,
                Normalisation::Folded => abi::BN_FOLDED,
            },
            reserved: 0,
            seed: self.facts.seed,
            loss: Some(loss),
            gradient: Some(gradient),
            hvp: Some(hvp),
            attack: Some(attack),
            refresh: Some(refresh),
            noise: Some(noise),
            other: Some(other),
            value: Some(value),
            curve: Some(curve),
            surface: Some(surface),
        }
    }

    fn ask(&self, ask: WeightsAsk, vectors: [&[f32]; 2], doubles: &[&[f64]], out: Option<&mut [f32]>) -> (abi::Status, [f64; 2]) {
        const NOT: (abi::Status, [f64; 2]) = (abi::INVALID, [f64::NAN; 2]);
        if self.thread != std::thread::current().id() {
            return NOT;
        }
        let Ok(mut port) = self.port.try_borrow_mut() else { return NOT };
        let answer = port.ask(ask, vectors, doubles, out);
        self.cancelled.store(port.cancelled(), Ordering::Relaxed);
        answer
    }

    /// A vector \[P\] of a question.
    ///
    /// # Safety
    /// `tensor` is what the ABI says, or null.
    unsafe fn vector<'t>(&self, tensor: *const abi::FsTensor) -> Option<&'t [f32]> {
        // SAFETY: by the contract of this function; the plugin does not write to it during the call.
        unsafe {
            let (data, total) = self.there(tensor)?;
            Some(slice::from_raw_parts(data, total))
        }
    }

    /// # Safety
    /// As for [`Model::vector`]; the tensor is the plugin's to be written to.
    unsafe fn vector_mut<'t>(&self, tensor: *const abi::FsTensor) -> Option<&'t mut [f32]> {
        // SAFETY: by the contract of this function.
        unsafe {
            let (data, total) = self.there(tensor)?;
            Some(slice::from_raw_parts_mut(data, total))
        }
    }

    /// # Safety
    /// As for [`Model::vector`].
    unsafe fn there(&self, tensor: *const abi::FsTensor) -> Option<(*mut f32, usize)> {
        // SAFETY: by the contract of this function.
        let (rows, data, total) = unsafe { view(tensor, 1)? };
        // one extent: [P]
        // SAFETY: `view` has looked at the tensor.
        (rows == self.facts.parameters && unsafe { (*tensor).rank } == 1).then_some((data, total))
    }
}

/// # Safety
/// `weights` is the table that the host passed to the plugin.
unsafe fn behind<'a>(weights: *const abi::FsWeights) -> Option<&'a Model<'a>> {
    // SAFETY: `host` was set by `table` and lives until the plugin returns.
    unsafe { weights.as_ref()?.host.cast::<Model<'a>>().as_ref() }
}

/// Doubles behind a pointer.
///
/// # Safety
/// `data` points to `count` doubles, or is null.
unsafe fn doubles<'t>(data: *const f64, count: usize) -> Option<&'t [f64]> {
    if data.is_null() || !data.is_aligned() || count > crate::weighing::DOUBLES {
        return None;
    }
    // SAFETY: by the contract of this function.
    Some(unsafe { slice::from_raw_parts(data, count) })
}

/// # Safety
/// As for [`reading::string`].
unsafe fn named(name: abi::FsString) -> Option<String> {
    // SAFETY: by the contract of this function.
    unsafe { reading::string(name).ok() }
}

unsafe extern "C" fn loss(
    weights: *const abi::FsWeights,
    theta: *const abi::FsTensor,
    loss: *mut f64,
    accuracy: *mut f64,
) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(model) = behind(weights) else { return abi::INVALID };
        let Some(theta) = model.vector(theta) else { return abi::INVALID };
        let (status, [found, share]) = model.ask(WeightsAsk::Loss, [theta, &[]], &[], None);
        write(loss, found, status);
        write(accuracy, share, status);
        status
    }
}

/// # Safety
/// `place` is the plugin's to be written to, or null.
unsafe fn write(place: *mut f64, value: f64, status: abi::Status) {
    if status == abi::OK && !place.is_null() && place.is_aligned() {
        // SAFETY: by the contract of this function.
        unsafe { *place = value };
    }
}

unsafe extern "C" fn gradient(
    weights: *const abi::FsWeights,
    theta: *const abi::FsTensor,
    loss: *mut f64,
    out: *mut abi::FsTensor,
) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(model) = behind(weights) else { return abi::INVALID };
        let (Some(theta), Some(out)) = (model.vector(theta), model.vector_mut(out)) else { return abi::INVALID };
        let (status, [found, _]) = model.ask(WeightsAsk::Gradient, [theta, &[]], &[], Some(out));
        write(loss, found, status);
        status
    }
}

unsafe extern "C" fn hvp(
    weights: *const abi::FsWeights,
    theta: *const abi::FsTensor,
    v: *const abi::FsTensor,
    out: *mut abi::FsTensor,
) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(model) = behind(weights) else { return abi::INVALID };
        let (Some(theta), Some(v)) = (model.vector(theta), model.vector(v)) else { return abi::INVALID };
        let Some(out) = model.vector_mut(out) else { return abi::INVALID };
        model.ask(WeightsAsk::Hvp, [theta, v], &[], Some(out)).0
    }
}

unsafe extern "C" fn attack(
    weights: *const abi::FsWeights,
    theta: *const abi::FsTensor,
    eps: f64,
    alpha: f64,
    steps: u32,
    go_on: i32,
) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(model) = behind(weights) else { return abi::INVALID };
        let Some(theta) = model.vector(theta) else { return abi::INVALID };
        let ask = WeightsAsk::Attack { eps: eps.to_bits(), alpha: alpha.to_bits(), steps, go_on: go_on == 1 };
        model.ask(ask, [theta, &[]], &[], None).0
    }
}

unsafe extern "C" fn refresh(weights: *const abi::FsWeights, theta: *const abi::FsTensor) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(model) = behind(weights) else { return abi::INVALID };
        if theta.is_null() {
            return model.ask(WeightsAsk::Refresh { at: false }, [&[], &[]], &[], None).0;
        }
        let Some(theta) = model.vector(theta) else { return abi::INVALID };
        model.ask(WeightsAsk::Refresh { at: true }, [theta, &[]], &[], None).0
    }
}

unsafe extern "C" fn noise(
    weights: *const abi::FsWeights,
    law: i32,
    stream: u32,
    index: u32,
    out: *mut abi::FsTensor,
) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(model) = behind(weights) else { return abi::INVALID };
        let Some(out) = model.vector_mut(out) else { return abi::INVALID };
        model.ask(WeightsAsk::Noise { law, stream, index }, [&[], &[]], &[], Some(out)).0
    }
}

unsafe extern "C" fn other(weights: *const abi::FsWeights, file: abi::FsString, theta: *mut abi::FsTensor) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(model) = behind(weights) else { return abi::INVALID };
        let (Some(file), Some(out)) = (named(file), model.vector_mut(theta)) else { return abi::INVALID };
        model.ask(WeightsAsk::Other { file }, [&[], &[]], &[], Some(out)).0
    }
}

unsafe extern "C" fn value(
    weights: *const abi::FsWeights,
    name: abi::FsString,
    value: f64,
    low: f64,
    high: f64,
    n: u64,
) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(model) = behind(weights) else { return abi::INVALID };
        let Some(name) = named(name) else { return abi::INVALID };
        let [value, low, high] = [value, low, high].map(f64::to_bits);
        model.ask(WeightsAsk::Value { name, value, low, high, n }, [&[], &[]], &[], None).0
    }
}

unsafe extern "C" fn curve(
    weights: *const abi::FsWeights,
    name: abi::FsString,
    x: *const f64,
    y: *const f64,
    length: usize,
) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(model) = behind(weights) else { return abi::INVALID };
        let (Some(name), Some(x), Some(y)) = (named(name), doubles(x, length), doubles(y, length)) else { return abi::INVALID };
        model.ask(WeightsAsk::Curve { name, length }, [&[], &[]], &[x, y], None).0
    }
}

unsafe extern "C" fn surface(
    weights: *const abi::FsWeights,
    name: abi::FsString,
    x: *const f64,
    columns: usize,
    y: *const f64,
    rows: usize,
    z: *const f64,
) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(model) = behind(weights) else { return abi::INVALID };
        let Some(cells) = columns.checked_mul(rows) else { return abi::INVALID };
        let (Some(x), Some(y), Some(z)) = (doubles(x, columns), doubles(y, rows), doubles(z, cells)) else {
            return abi::INVALID;
        };
        let Some(name) = named(name) else { return abi::INVALID };
        model.ask(WeightsAsk::Surface { name, columns, rows }, [&[], &[]], &[x, y, z], None).0
    }
}

/// The port of a worker: questions go to the host through shared memory.
pub(super) struct SharedPort {
    inward: ReadOnly,
    outward: Writable,
    facts: WeightFacts,
    socket: UnixStream,
    cancelled: bool,
}

impl SharedPort {
    pub(super) fn new(inward: ReadOnly, outward: Writable, facts: WeightFacts, socket: UnixStream) -> SharedPort {
        SharedPort { inward, outward, facts, socket, cancelled: false }
    }

    fn put(&mut self, vectors: [&[f32]; 2], doubles: &[&[f64]]) -> bool {
        let p = self.facts.parameters;
        for (place, vector) in vectors.into_iter().enumerate() {
            let Some(bytes) = self.outward.0.get_mut(4 * place * p..) else { return false };
            for (slot, value) in bytes.chunks_exact_mut(4).zip(vector) {
                slot.copy_from_slice(&value.to_ne_bytes());
            }
        }
        let Some(bytes) = self.outward.0.get_mut(doubles_at(p)..) else { return false };
        let values: Vec<f64> = doubles.concat();
        if bytes.len() < 8 * values.len() {
            return false;
        }
        for (slot, value) in bytes.chunks_exact_mut(8).zip(values) {
            slot.copy_from_slice(&value.to_ne_bytes());
        }
        true
    }

    fn number(&self, at: usize) -> f64 {
        let bytes = self.inward.0.get(at..at + 8).and_then(|b| b.try_into().ok());
        bytes.map_or(f64::NAN, f64::from_ne_bytes)
    }
}

impl WeightsPort for SharedPort {
    fn facts(&self) -> WeightFacts {
        self.facts.clone()
    }

    fn tables(&self) -> (*const f32, *const i32) {
        let start = self.inward.0.as_ptr();
        (start.cast(), start.wrapping_add(4 * self.facts.parameters).cast())
    }

    /// If the host is gone, this process ends: no answer can come.
    fn ask(
        &mut self,
        ask: WeightsAsk,
        vectors: [&[f32]; 2],
        doubles: &[&[f64]],
        out: Option<&mut [f32]>,
    ) -> (abi::Status, [f64; 2]) {
        if !self.put(vectors, doubles) {
            return (abi::INVALID, [f64::NAN; 2]);
        }
        let sent = send(&mut self.socket, &Reply::Ask(Ask::Weights(ask)), &[]);
        let Ok((Request::Answer(answer), _)) = sent.and_then(|()| receive(&mut self.socket, Most::TRUSTED)) else {
            std::process::exit(3)
        };
        self.cancelled = answer.cancelled;
        let at = numbers_at(self.facts.parameters);
        if let (Some(out), abi::OK) = (out, answer.status) {
            let bytes = self.inward.0.get(at + 16..).unwrap_or_default();
            for (value, b) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                *value = f32::from_ne_bytes([b[0], b[1], b[2], b[3]]);
            }
        }
        (answer.status, [self.number(at), self.number(at + 8)])
    }

    fn cancelled(&self) -> bool {
        self.cancelled
    }
}
