//! The functions behind `fs_oracle`. Checks every tensor that a plugin passes, cuts questions into pieces that fit the
//! shared memory, and passes them on: to the host over the socket, or in process to the oracle itself.

use std::cell::RefCell;
use std::os::unix::net::UnixStream;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ThreadId;

use flatscape_abi as abi;
use flatscape_contain::{Most, ReadOnly, Writable, receive, send};

use crate::task::Task;
use crate::wire::{Answer, Ask, Memory, Reply, Request};

/// Whoever answers the questions of a run. Slices hold whole rows; a status that is not 0 is passed to the plugin.
pub(crate) trait Port {
    /// x0, y and the targets.
    fn samples(&self) -> Samples;
    fn logits(&mut self, x: &[f32], rows: &[i64], logits: &mut [f32]) -> abi::Status;
    fn gradient(
        &mut self,
        x: &[f32],
        rows: &[i64],
        cotangents: Option<&[f32]>,
        loss: Option<&mut [f32]>,
        gradient: &mut [f32],
    ) -> abi::Status;
    fn noise(&mut self, law: i32, stream: u32, rows: &[i64], shape: &[usize], out: &mut [f32]) -> abi::Status;
    fn active(&mut self, active: &mut [u8]) -> abi::Status;
    fn offer(&mut self, x: &[f32], rows: &[i64]) -> abi::Status;
    fn cancelled(&self) -> bool;
}

/// Pointers into memory that outlives the run.
#[derive(Clone, Copy)]
pub(crate) struct Samples {
    pub count: usize,
    pub x0: *const f32,
    pub y: *const i64,
    pub target: *const i64,
}

/// What is behind an `fs_oracle`.
pub(crate) struct Oracle<'a> {
    port: RefCell<&'a mut dyn Port>,
    samples: Samples,
    pixels: usize,
    classes: usize,
    thread: ThreadId,
    cancelled: AtomicBool,
}

impl<'a> Oracle<'a> {
    pub(crate) fn new(port: &'a mut dyn Port, task: &Task) -> Oracle<'a> {
        Oracle {
            samples: port.samples(),
            port: RefCell::new(port),
            pixels: task.pixels(),
            classes: task.classes,
            thread: std::thread::current().id(),
            cancelled: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// The table for the plugin; it borrows this oracle.
    pub(crate) fn table(&self) -> abi::FsOracle {
        abi::FsOracle {
            size: size_of::<abi::FsOracle>(),
            host: std::ptr::from_ref(self).cast_mut().cast(),
            samples: self.samples.count,
            x0: self.samples.x0,
            y: self.samples.y,
            target: self.samples.target,
            logits: Some(logits),
            gradient: Some(gradient),
            noise: Some(noise),
            active: Some(active),
            offer: Some(offer),
        }
    }

    fn with(&self, ask: impl FnOnce(&mut dyn Port) -> abi::Status) -> abi::Status {
        if self.thread != std::thread::current().id() {
            return abi::INVALID;
        }
        let Ok(mut port) = self.port.try_borrow_mut() else { return abi::INVALID };
        let status = ask(&mut **port);
        self.cancelled.store(port.cancelled(), Ordering::Relaxed);
        status
    }

    /// Reads points and the samples they belong to.
    ///
    /// # Safety
    /// `x` and `rows` are what the ABI says, or null.
    unsafe fn points<'t>(&self, x: *const abi::FsTensor, rows: *const i64) -> Option<(&'t [f32], &'t [i64])> {
        // SAFETY: by the contract of this function.
        let (count, x) = unsafe { floats(x, self.pixels)? };
        if rows.is_null() {
            return None;
        }
        // SAFETY: as above; one index per row of x.
        let rows = unsafe { slice::from_raw_parts(rows, count) };
        let inside = |&row: &i64| usize::try_from(row).is_ok_and(|row| row < self.samples.count);
        rows.iter().all(inside).then_some((x, rows))
    }
}

/// # Safety
/// `oracle` is the table that the host passed to the plugin.
unsafe fn behind<'a>(oracle: *const abi::FsOracle) -> Option<&'a Oracle<'a>> {
    // SAFETY: `host` was set by `table` and lives until the plugin returns.
    unsafe { oracle.as_ref()?.host.cast::<Oracle<'a>>().as_ref() }
}

/// The elements of a tensor of rows with `width` elements each: host memory, float32, row-major.
///
/// # Safety
/// `tensor` is what the ABI says, or null.
pub(super) unsafe fn view(tensor: *const abi::FsTensor, width: usize) -> Option<(usize, *mut f32, usize)> {
    // SAFETY: by the contract of this function.
    let tensor = unsafe { tensor.as_ref()? };
    let plain = tensor.device_type == 1 && (tensor.type_code, tensor.type_bits, tensor.type_lanes) == (2, 32, 1);
    let rank = usize::try_from(tensor.rank).ok().filter(|r| (1..=8).contains(r))?;
    if !plain || tensor.shape.is_null() || tensor.data.is_null() {
        return None;
    }
    // SAFETY: `shape` holds `rank` extents.
    let shape = unsafe { slice::from_raw_parts(tensor.shape, rank) };
    let extents: Option<Vec<usize>> = shape.iter().map(|&n| usize::try_from(n).ok()).collect();
    let extents = extents?;
    let total = extents.iter().try_fold(1usize, |product, &n| product.checked_mul(n))?;
    if extents[1..].iter().product::<usize>() != width || total > isize::MAX as usize / 4 {
        return None;
    }
    if !tensor.strides.is_null() {
        // SAFETY: `strides` holds `rank` of them.
        let strides = unsafe { slice::from_raw_parts(tensor.strides, rank) };
        let mut row_major = 1usize;
        for (&extent, &stride) in extents.iter().zip(strides).rev() {
            if extent > 1 && usize::try_from(stride) != Ok(row_major) {
                return None;
            }
            row_major *= extent;
        }
    }
    let data = tensor.data.cast::<u8>().wrapping_add(usize::try_from(tensor.byte_offset).ok()?).cast::<f32>();
    data.is_aligned().then_some((extents[0], data, total))
}

/// # Safety
/// As for [`view`]; nothing writes to the tensor while it is read.
unsafe fn floats<'t>(tensor: *const abi::FsTensor, width: usize) -> Option<(usize, &'t [f32])> {
    // SAFETY: by the contract of this function.
    unsafe { view(tensor, width).map(|(rows, data, total)| (rows, slice::from_raw_parts(data, total))) }
}

/// # Safety
/// As for [`view`]; the tensor is the plugin's to be written to.
unsafe fn floats_mut<'t>(tensor: *const abi::FsTensor, width: usize, rows: usize) -> Option<&'t mut [f32]> {
    // SAFETY: by the contract of this function.
    let (found, data, total) = unsafe { view(tensor, width)? };
    // SAFETY: as above.
    (found == rows).then(|| unsafe { slice::from_raw_parts_mut(data, total) })
}

unsafe extern "C" fn logits(
    oracle: *const abi::FsOracle,
    x: *const abi::FsTensor,
    rows: *const i64,
    out: *mut abi::FsTensor,
) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(oracle) = behind(oracle) else { return abi::INVALID };
        let Some((x, rows)) = oracle.points(x, rows) else { return abi::INVALID };
        let Some(out) = floats_mut(out, oracle.classes, rows.len()) else { return abi::INVALID };
        oracle.with(|port| port.logits(x, rows, out))
    }
}

unsafe extern "C" fn gradient(
    oracle: *const abi::FsOracle,
    x: *const abi::FsTensor,
    rows: *const i64,
    cotangents: *const abi::FsTensor,
    loss: *mut abi::FsTensor,
    out: *mut abi::FsTensor,
) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(oracle) = behind(oracle) else { return abi::INVALID };
        let Some((x, rows)) = oracle.points(x, rows) else { return abi::INVALID };
        let Some(out) = floats_mut(out, oracle.pixels, rows.len()) else { return abi::INVALID };
        let cotangents = match floats(cotangents, oracle.classes) {
            _ if cotangents.is_null() => None,
            Some((count, values)) if count == rows.len() => Some(values),
            _ => return abi::INVALID,
        };
        let losses = match floats_mut(loss, 1, rows.len()) {
            _ if loss.is_null() => None,
            Some(values) if cotangents.is_none() => Some(values),
            _ => return abi::INVALID,
        };
        oracle.with(|port| port.gradient(x, rows, cotangents, losses, out))
    }
}

unsafe extern "C" fn noise(
    oracle: *const abi::FsOracle,
    law: i32,
    stream: u32,
    rows: *const i64,
    out: *mut abi::FsTensor,
) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(oracle) = behind(oracle) else { return abi::INVALID };
        let Some(tensor) = out.as_ref() else { return abi::INVALID };
        let rank = usize::try_from(tensor.rank).unwrap_or(0);
        if !(1..=8).contains(&rank) || tensor.shape.is_null() || rows.is_null() {
            return abi::INVALID;
        }
        let shape: Option<Vec<usize>> =
            slice::from_raw_parts(tensor.shape, rank).iter().map(|&n| usize::try_from(n).ok()).collect();
        let Some(shape) = shape else { return abi::INVALID };
        let Some(width) = shape[1..].iter().try_fold(1usize, |p, &n| p.checked_mul(n)) else { return abi::INVALID };
        let Some(out) = floats_mut(out, width, shape[0]) else { return abi::INVALID };
        let rows = slice::from_raw_parts(rows, shape[0]);
        if rows.iter().any(|&row| usize::try_from(row).map_or(true, |row| row >= oracle.samples.count)) {
            return abi::INVALID;
        }
        oracle.with(|port| port.noise(law, stream, rows, &shape[1..], out))
    }
}

unsafe extern "C" fn active(oracle: *const abi::FsOracle, out: *mut u8) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(oracle) = behind(oracle) else { return abi::INVALID };
        if out.is_null() {
            return abi::INVALID;
        }
        let out = slice::from_raw_parts_mut(out, oracle.samples.count);
        oracle.with(|port| port.active(out))
    }
}

unsafe extern "C" fn offer(oracle: *const abi::FsOracle, x: *const abi::FsTensor, rows: *const i64) -> abi::Status {
    // SAFETY: the plugin passes what the ABI says.
    unsafe {
        let Some(oracle) = behind(oracle) else { return abi::INVALID };
        let Some((x, rows)) = oracle.points(x, rows) else { return abi::INVALID };
        oracle.with(|port| port.offer(x, rows))
    }
}

/// The port of a worker: questions go to the host through shared memory, one piece at a time.
pub(super) struct SharedPort {
    inward: ReadOnly,
    outward: Writable,
    memory: Memory,
    pixels: usize,
    classes: usize,
    targeted: bool,
    socket: UnixStream,
    cancelled: bool,
}

impl SharedPort {
    pub(super) fn new(inward: ReadOnly, outward: Writable, memory: &Memory, task: &Task, socket: UnixStream) -> SharedPort {
        SharedPort {
            inward,
            outward,
            memory: memory.clone(),
            pixels: task.pixels(),
            classes: task.classes,
            targeted: task.targeted,
            socket,
            cancelled: false,
        }
    }

    /// Elements before the area for answers, in bytes.
    fn answers(&self) -> usize {
        self.memory.answers_at(self.pixels, self.targeted)
    }

    fn put(&mut self, at: usize, values: &[f32]) {
        for (slot, value) in self.outward.0[at * 4..].chunks_exact_mut(4).zip(values) {
            slot.copy_from_slice(&value.to_ne_bytes());
        }
    }

    fn get(&self, at: usize, into: &mut [f32]) {
        let from = self.answers() + at * 4;
        for (value, bytes) in into.iter_mut().zip(self.inward.0[from..].chunks_exact(4)) {
            *value = f32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
    }

    /// If the host is gone, this process ends: no answer can come.
    fn ask(&mut self, ask: Ask) -> Answer {
        let answer = send(&mut self.socket, &Reply::Ask(ask), &[]).and_then(|()| receive(&mut self.socket, Most::TRUSTED));
        match answer {
            Ok((Request::Answer(answer), _)) => {
                self.cancelled = answer.cancelled;
                answer
            }
            _ => std::process::exit(3),
        }
    }
}

impl Port for SharedPort {
    fn samples(&self) -> Samples {
        let n = self.memory.samples;
        let start = self.inward.0.as_ptr();
        let x0 = start.wrapping_add(self.memory.x0_at(self.targeted)).cast();
        let target = if self.targeted { start.wrapping_add(8 * n).cast() } else { std::ptr::null() };
        Samples { count: n, x0, y: start.cast(), target }
    }

    fn logits(&mut self, x: &[f32], rows: &[i64], logits: &mut [f32]) -> abi::Status {
        let (d, c, most) = (self.pixels, self.classes, self.memory.rows);
        for ((x, rows), out) in x.chunks(most * d).zip(rows.chunks(most)).zip(logits.chunks_mut(most * c)) {
            self.put(0, x);
            let answer = self.ask(Ask::Logits { rows: rows.to_vec() });
            if answer.status != abi::OK {
                return answer.status;
            }
            self.get(0, out);
        }
        abi::OK
    }

    fn gradient(
        &mut self,
        x: &[f32],
        rows: &[i64],
        cotangents: Option<&[f32]>,
        mut loss: Option<&mut [f32]>,
        gradient: &mut [f32],
    ) -> abi::Status {
        let (d, c, most) = (self.pixels, self.classes, self.memory.rows);
        for (piece, rows) in rows.chunks(most).enumerate() {
            let (first, end) = (piece * most, piece * most + rows.len());
            self.put(0, &x[first * d..end * d]);
            if let Some(cotangents) = cotangents {
                self.put(rows.len() * d, &cotangents[first * c..end * c]);
            }
            let answer = self.ask(Ask::Gradient { rows: rows.to_vec(), cotangents: cotangents.is_some() });
            if answer.status != abi::OK {
                return answer.status;
            }
            self.get(0, &mut gradient[first * d..end * d]);
            if let Some(loss) = loss.as_deref_mut() {
                self.get(rows.len() * d, &mut loss[first..end]);
            }
        }
        abi::OK
    }

    fn noise(&mut self, law: i32, stream: u32, rows: &[i64], shape: &[usize], out: &mut [f32]) -> abi::Status {
        let width: usize = shape.iter().product();
        if width > self.memory.answer {
            return abi::INVALID;
        }
        if width == 0 {
            return abi::OK;
        }
        let most = (self.memory.answer / width).min(self.memory.rows);
        for (rows, out) in rows.chunks(most).zip(out.chunks_mut(most * width)) {
            let answer = self.ask(Ask::Noise { law, stream, rows: rows.to_vec(), shape: shape.to_vec() });
            if answer.status != abi::OK {
                return answer.status;
            }
            self.get(0, out);
        }
        abi::OK
    }

    fn active(&mut self, active: &mut [u8]) -> abi::Status {
        let answer = self.ask(Ask::Active);
        for (slot, &flag) in active.iter_mut().zip(&answer.active) {
            *slot = flag.into();
        }
        answer.status
    }

    fn offer(&mut self, x: &[f32], rows: &[i64]) -> abi::Status {
        let (d, most) = (self.pixels, self.memory.rows);
        for (x, rows) in x.chunks(most * d).zip(rows.chunks(most)) {
            self.put(0, x);
            let answer = self.ask(Ask::Offer { rows: rows.to_vec() });
            if answer.status != abi::OK {
                return answer.status;
            }
        }
        abi::OK
    }

    fn cancelled(&self) -> bool {
        self.cancelled
    }
}
