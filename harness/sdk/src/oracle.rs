//! The safe side of `oracle/1`: a model that can be asked, and a batch of samples, for attacks with control flow of their own.

use flatscape_abi as abi;

use crate::ask::{Error, Task};

/// A law of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// Uniform on (−1, 1).
    Uniform,
    /// Standard normal.
    Normal,
    /// −1 or 1, each with probability one half.
    Rademacher,
}

impl Law {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Law::Uniform => "uniform",
            Law::Normal => "normal",
            Law::Rademacher => "rademacher",
        }
    }

    pub(crate) fn code(self) -> i32 {
        match self {
            Law::Uniform => abi::UNIFORM,
            Law::Normal => abi::NORMAL,
            Law::Rademacher => abi::RADEMACHER,
        }
    }
}

/// A model that can be asked about a batch. Points are rows of D = C·H·W values in pixel units, one after the other; `rows[r]`
/// is the sample that row `r` belongs to, and a sample may have any number of rows. Every row that is asked about is counted.
#[derive(Debug)]
pub struct Oracle<'a> {
    call: &'a abi::FsCall,
    table: &'a abi::FsOracle,
    task: &'a Task,
}

impl<'a> Oracle<'a> {
    /// # Safety
    /// Both tables are the host's, for this call, in this thread.
    pub(crate) unsafe fn new(call: &'a abi::FsCall, table: &'a abi::FsOracle, task: &'a Task) -> Oracle<'a> {
        Oracle { call, table, task }
    }

    /// Samples in the batch.
    pub fn samples(&self) -> usize {
        self.table.samples
    }

    /// A clean point, D values.
    pub fn x0(&self, sample: usize) -> &'a [f32] {
        let d = self.task.pixels();
        &self.all(self.table.x0, self.samples() * d)[sample * d..(sample + 1) * d]
    }

    /// The labels.
    pub fn y(&self) -> &'a [i64] {
        self.all(self.table.y, self.samples())
    }

    /// The classes to reach, in targeted tasks.
    pub fn target(&self) -> Option<&'a [i64]> {
        (!self.table.target.is_null()).then(|| self.all(self.table.target, self.samples()))
    }

    /// Logits at `x`, R·classes values.
    ///
    /// # Errors
    /// As for every question: the host stops answering, or `x` has not D values for every row.
    pub fn logits(&self, x: &[f32], rows: &[usize]) -> Result<Vec<f32>, Error> {
        let (points, indices) = self.question(x, rows)?;
        let mut out = Values::new(vec![0.0; rows.len() * self.task.classes], rows.len(), &[self.task.classes]);
        let ask = self.table.logits.ok_or_else(missing)?;
        // SAFETY: the function is the host's; the tensors live until it returns.
        self.outcome(unsafe { ask(self.table, &points.view(), indices.as_ptr(), &mut out.view_mut()) })?;
        Ok(out.data)
    }

    /// Loss (R values) and its gradient (R·D values) at `x`. The loss is the one to ascend.
    ///
    /// # Errors
    /// As for [`Oracle::logits`].
    pub fn loss_gradient(&self, x: &[f32], rows: &[usize]) -> Result<(Vec<f32>, Vec<f32>), Error> {
        let (points, indices) = self.question(x, rows)?;
        let mut loss = Values::new(vec![0.0; rows.len()], rows.len(), &[]);
        let mut out = Values::new(vec![0.0; x.len()], rows.len(), &self.task.shape);
        let ask = self.table.gradient.ok_or_else(missing)?;
        let none = std::ptr::null();
        // SAFETY: the function is the host's; the tensors live until it returns.
        let status =
            unsafe { ask(self.table, &points.view(), indices.as_ptr(), none, &mut loss.view_mut(), &mut out.view_mut()) };
        self.outcome(status)?;
        Ok((loss.data, out.data))
    }

    /// `cotangents` (R·classes values) times the Jacobian at `x`: R·D values.
    ///
    /// # Errors
    /// As for [`Oracle::logits`].
    pub fn vjp(&self, x: &[f32], rows: &[usize], cotangents: &[f32]) -> Result<Vec<f32>, Error> {
        let (points, indices) = self.question(x, rows)?;
        let cotangents = Values::new(cotangents.to_vec(), rows.len(), &[self.task.classes]);
        if cotangents.data.len() != rows.len() * self.task.classes {
            return Err(Error::failed(format!("{} cotangent values for {} rows", cotangents.data.len(), rows.len())));
        }
        let mut out = Values::new(vec![0.0; x.len()], rows.len(), &self.task.shape);
        let ask = self.table.gradient.ok_or_else(missing)?;
        let none = std::ptr::null_mut();
        // SAFETY: the function is the host's; the tensors live until it returns.
        let status = unsafe { ask(self.table, &points.view(), indices.as_ptr(), &cotangents.view(), none, &mut out.view_mut()) };
        self.outcome(status)?;
        Ok(out.data)
    }

    /// Random numbers, `width` for each row, keyed by sample, stream and width. At most 65,536 for a row, or as many as an image has
    /// pixels if those are more.
    ///
    /// # Errors
    /// As for [`Oracle::logits`].
    pub fn noise(&self, law: Law, stream: u32, rows: &[usize], width: usize) -> Result<Vec<f32>, Error> {
        let indices: Vec<i64> = rows.iter().map(|&r| r as i64).collect();
        let mut out = Values::new(vec![0.0; rows.len() * width], rows.len(), &[width]);
        let ask = self.table.noise.ok_or_else(missing)?;
        // SAFETY: the function is the host's; the tensor lives until it returns.
        self.outcome(unsafe { ask(self.table, law.code(), stream, indices.as_ptr(), &mut out.view_mut()) })?;
        Ok(out.data)
    }

    /// The samples that are still unbroken.
    ///
    /// # Errors
    /// As for [`Oracle::logits`].
    pub fn active(&self) -> Result<Vec<usize>, Error> {
        let mut flags = vec![0u8; self.samples()];
        let ask = self.table.active.ok_or_else(missing)?;
        // SAFETY: the function is the host's; there is one flag per sample.
        self.outcome(unsafe { ask(self.table, flags.as_mut_ptr()) })?;
        Ok(flags.iter().enumerate().filter(|(_, flag)| **flag != 0).map(|(sample, _)| sample).collect())
    }

    /// Proposes points: the only way out. The host checks them itself and keeps the best of each sample.
    ///
    /// # Errors
    /// As for [`Oracle::logits`].
    pub fn offer(&self, x: &[f32], rows: &[usize]) -> Result<(), Error> {
        let (points, indices) = self.question(x, rows)?;
        let ask = self.table.offer.ok_or_else(missing)?;
        // SAFETY: the function is the host's; the tensor lives until it returns.
        self.outcome(unsafe { ask(self.table, &points.view(), indices.as_ptr()) })
    }

    /// Whether to stop soon.
    pub fn cancelled(&self) -> bool {
        // SAFETY: the function is the host's.
        self.call.cancelled.is_some_and(|ask| unsafe { ask(self.call) } != 0)
    }

    /// A line for the user's log.
    pub fn log(&self, words: &str) {
        if let Some(log) = self.call.log {
            // SAFETY: the function is the host's; it copies the words.
            unsafe { log(self.call, 2, abi::FsString::new(words)) };
        }
    }

    fn question(&self, x: &[f32], rows: &[usize]) -> Result<(Values, Vec<i64>), Error> {
        if x.len() != rows.len() * self.task.pixels() {
            let what = format!("{} values for {} rows of {}", x.len(), rows.len(), self.task.pixels());
            return Err(Error::failed(what));
        }
        let indices = rows.iter().map(|&r| i64::try_from(r).unwrap_or(-1)).collect();
        Ok((Values::new(x.to_vec(), rows.len(), &self.task.shape), indices))
    }

    fn all<T>(&self, data: *const T, count: usize) -> &'a [T] {
        if count == 0 || data.is_null() {
            return &[];
        }
        // SAFETY: the host's table promises `count` values for as long as the call lasts, which `'a` does not outlive.
        unsafe { std::slice::from_raw_parts(data, count) }
    }

    fn outcome(&self, status: abi::Status) -> Result<(), Error> {
        match status {
            abi::OK => Ok(()),
            abi::CANCELLED => Err(Error::cancelled()),
            abi::INVALID => Err(Error::failed("the host did not accept the shape or the rows of a question")),
            _ => Err(Error::failed("the host could not answer a question")),
        }
    }
}

/// Owned numbers with a shape that a tensor view can point to.
pub(crate) struct Values {
    pub(crate) data: Vec<f32>,
    shape: Vec<i64>,
}

impl Values {
    fn new(data: Vec<f32>, rows: usize, rest: &[usize]) -> Values {
        Values { data, shape: [rows].iter().chain(rest).map(|&n| n as i64).collect() }
    }

    /// One extent.
    pub(crate) fn whole(data: Vec<f32>) -> Values {
        Values { shape: vec![data.len() as i64], data }
    }

    /// To be read.
    pub(crate) fn view(&self) -> abi::FsTensor {
        self.tensor(self.data.as_ptr().cast_mut())
    }

    /// To be written to.
    pub(crate) fn view_mut(&mut self) -> abi::FsTensor {
        let data = self.data.as_mut_ptr();
        self.tensor(data)
    }

    fn tensor(&self, data: *mut f32) -> abi::FsTensor {
        abi::FsTensor {
            data: data.cast(),
            device_type: 1,
            device_id: 0,
            rank: i32::try_from(self.shape.len()).unwrap_or(0),
            type_code: 2,
            type_bits: 32,
            type_lanes: 1,
            shape: self.shape.as_ptr(),
            strides: std::ptr::null(),
            byte_offset: 0,
        }
    }
}

fn missing() -> Error {
    Error::failed("the host does not offer this question")
}
