//! The safe side of `reduce/1`: the rows of all samples, for metrics that say something about a whole data set.

use flatscape_abi as abi;

use crate::ask::{Error, Task};

/// What the program of a metric gave for every sample, in the order of the data set, and where results go. NaN stands for what is
/// undefined, in rows and in results.
#[derive(Debug)]
pub struct Reduction<'a> {
    table: &'a abi::FsReduction,
    task: &'a Task,
}

/// Rows of equal length, one per sample.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Numbers per sample.
    pub width: usize,
    data: &'a [f64],
}

impl<'a> Rows<'a> {
    /// How many samples.
    pub fn samples(&self) -> usize {
        self.data.len().checked_div(self.width).unwrap_or(0)
    }

    /// The numbers of a sample.
    pub fn row(&self, sample: usize) -> &'a [f64] {
        &self.data[sample * self.width..(sample + 1) * self.width]
    }
}

/// The last layer of a model: logits = weight · features + bias.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// F, the number of features.
    pub features: usize,
    /// \[classes, F\]
    pub weight: &'a [f32],
    /// \[classes\]
    pub bias: &'a [f32],
}

impl<'a> Reduction<'a> {
    /// # Safety
    /// The table is the host's, for this call, in this thread.
    pub(crate) unsafe fn new(table: &'a abi::FsReduction, task: &'a Task) -> Reduction<'a> {
        Reduction { table, task }
    }

    /// How many samples.
    pub fn samples(&self) -> usize {
        self.table.samples
    }

    /// Positions of the samples in the data set, ascending.
    pub fn id(&self) -> &'a [i64] {
        self.all(self.table.id, self.samples())
    }

    /// Labels.
    pub fn y(&self) -> &'a [i64] {
        self.all(self.table.y, self.samples())
    }

    /// Classes of the clean images; −1 where scores are undefined.
    pub fn prediction(&self) -> &'a [i64] {
        self.all(self.table.prediction, self.samples())
    }

    /// `col_NAME` of the program, a number per sample.
    ///
    /// # Errors
    /// The program gave no such column.
    pub fn column(&self, name: &str) -> Result<&'a [f64], Error> {
        Ok(self.find(&format!("col_{name}"))?.data)
    }

    /// `vec_NAME` of the program, a row per sample.
    ///
    /// # Errors
    /// The program gave no such vector.
    pub fn vector(&self, name: &str) -> Result<Rows<'a>, Error> {
        self.find(&format!("vec_{name}"))
    }

    /// The last layer, where it is linear.
    pub fn head(&self) -> Option<Head<'a>> {
        let (f, classes) = (self.table.features, self.task.classes);
        (f > 0 && !self.table.head_weight.is_null()).then(|| Head {
            features: f,
            weight: self.all(self.table.head_weight, f * classes),
            bias: self.all(self.table.head_bias, classes),
        })
    }

    /// Gives a value of the whole data set, taken over `n` samples.
    ///
    /// # Errors
    /// The host does not take it: the name is no C identifier.
    pub fn give(&self, name: &str, value: f64, n: usize) -> Result<(), Error> {
        self.give_within(name, value, (f64::NAN, f64::NAN), n)
    }

    /// The same with a 95 % interval.
    ///
    /// # Errors
    /// As for [`Reduction::give`].
    pub fn give_within(&self, name: &str, value: f64, interval: (f64, f64), n: usize) -> Result<(), Error> {
        let give = self.table.value.ok_or_else(|| Error::failed("the host takes no values"))?;
        // SAFETY: the function is the host's; the name is copied.
        outcome(unsafe { give(self.table, abi::FsString::new(name), value, interval.0, interval.1, n as u64) }, name)
    }

    /// Gives a number for every sample.
    ///
    /// # Errors
    /// There are not as many numbers as samples, or the host does not take them.
    pub fn give_column(&self, name: &str, values: &[f64]) -> Result<(), Error> {
        if values.len() != self.samples() {
            return Err(Error::failed(format!("{} values for {} samples", values.len(), self.samples())));
        }
        let give = self.table.column.ok_or_else(|| Error::failed("the host takes no columns"))?;
        // SAFETY: the function is the host's; it copies as many values as there are samples.
        outcome(unsafe { give(self.table, abi::FsString::new(name), values.as_ptr()) }, name)
    }

    /// Gives the points of a curve.
    ///
    /// # Errors
    /// The host does not take them: more than 100,000.
    pub fn give_curve(&self, name: &str, points: &[(f64, f64)]) -> Result<(), Error> {
        let (x, y): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
        let give = self.table.curve.ok_or_else(|| Error::failed("the host takes no curves"))?;
        // SAFETY: the function is the host's; x and y have as many values as it is told.
        outcome(unsafe { give(self.table, abi::FsString::new(name), x.as_ptr(), y.as_ptr(), x.len()) }, name)
    }

    fn find(&self, name: &str) -> Result<Rows<'a>, Error> {
        let rows = self.all(self.table.rows, self.table.row_count);
        // SAFETY: the host passes valid strings.
        let row = rows.iter().find(|row| name.as_bytes() == unsafe { text(row.name) });
        let row = row.ok_or_else(|| Error::failed(format!("the rows have no {name}")))?;
        Ok(Rows { width: row.width, data: self.all(row.data, self.samples() * row.width) })
    }

    fn all<T>(&self, data: *const T, count: usize) -> &'a [T] {
        if count == 0 || data.is_null() {
            return &[];
        }
        // SAFETY: the host's arrays have the lengths that the interface states, and live as long as the call.
        unsafe { std::slice::from_raw_parts(data, count) }
    }
}

fn outcome(status: abi::Status, name: &str) -> Result<(), Error> {
    if status == abi::OK { Ok(()) } else { Err(Error::failed(format!("the host does not take {name}"))) }
}

/// # Safety
/// `text.data` points to `text.length` bytes that outlive the result.
unsafe fn text<'a>(text: abi::FsString) -> &'a [u8] {
    if text.data.is_null() || text.length == 0 {
        return &[];
    }
    // SAFETY: by the contract of this function.
    unsafe { std::slice::from_raw_parts(text.data.cast::<u8>(), text.length) }
}
