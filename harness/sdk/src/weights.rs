//! The safe side of `weights/1`: a model as a function of its weights, for metrics that look at the loss around them.

use flatscape_abi as abi;

use crate::ask::Error;
use crate::oracle::{Law, Values};

/// What a weight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Filters or neurons of a layer.
    Kernel,
    /// What is added behind a layer.
    Bias,
    /// Another factor or shift: normalisation, slopes.
    Scale,
    /// A running statistic of batch normalisation, by which nothing is differentiated.
    Statistic,
}

/// What the file says about batch normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalisation {
    /// It has none.
    None,
    /// It has some.
    Present,
    /// Names in it say that the exporter folded it into layers.
    Folded,
}

/// One weight of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// As the file has it.
    pub name: String,
    /// The extents.
    pub shape: Vec<usize>,
    /// What it is.
    pub role: Role,
    /// The axis of filters or neurons, where they are slices along one; [`Weights::filters`] knows them in any case.
    pub axis: Option<usize>,
    /// Which operator reads it, counted in the order of the graph.
    pub layer: usize,
    /// Where it lies in θ.
    pub range: std::ops::Range<usize>,
}

/// A model as a function of its P weights, and the samples of a job. θ, directions and gradients are P values, in the order of the
/// segments. Losses are means over the samples, of the cross-entropy.
#[derive(Debug)]
pub struct Weights<'a> {
    call: &'a abi::FsCall,
    table: &'a abi::FsWeights,
}

impl<'a> Weights<'a> {
    /// # Safety
    /// Both tables are the host's, for this call, in this thread.
    pub(crate) unsafe fn new(call: &'a abi::FsCall, table: &'a abi::FsWeights) -> Weights<'a> {
        Weights { call, table }
    }

    /// P.
    pub fn parameters(&self) -> usize {
        self.table.parameters
    }

    /// Over how many samples losses are means.
    pub fn samples(&self) -> usize {
        self.table.samples
    }

    /// The seed of the run, by which noise is keyed.
    pub fn seed(&self) -> u64 {
        self.table.seed
    }

    /// Batch normalisation in the file.
    pub fn normalisation(&self) -> Normalisation {
        match self.table.normalisation {
            abi::BN_PRESENT => Normalisation::Present,
            abi::BN_FOLDED => Normalisation::Folded,
            _ => Normalisation::None,
        }
    }

    /// The weights of the file.
    pub fn theta(&self) -> &'a [f32] {
        self.all(self.table.theta, self.parameters())
    }

    /// Which filter of its segment an element belongs to; −1: none.
    pub fn filters(&self) -> &'a [i32] {
        self.all(self.table.filter, self.parameters())
    }

    /// The weights one by one.
    pub fn segments(&self) -> Vec<Segment> {
        let one = |s: &abi::FsSegment| Segment {
            // SAFETY: the host's segments hold valid strings.
            name: unsafe { crate::border::text(s.name) }.to_owned(),
            shape: self
                .all(s.shape, usize::try_from(s.rank).unwrap_or(0))
                .iter()
                .map(|&n| usize::try_from(n).unwrap_or(0))
                .collect(),
            role: match s.role {
                abi::KERNEL => Role::Kernel,
                abi::BIAS => Role::Bias,
                abi::STATISTIC => Role::Statistic,
                _ => Role::Scale,
            },
            axis: usize::try_from(s.axis).ok(),
            layer: usize::try_from(s.layer).unwrap_or(usize::MAX),
            range: s.offset..s.offset + s.size,
        };
        self.all(self.table.segments, self.table.segment_count).iter().map(one).collect()
    }

    /// Mean cross-entropy at θ, and the share of samples that is classified correctly. Not finite where the model overflows.
    ///
    /// # Errors
    /// As for every question: the host stops answering, or θ has not P finite values.
    pub fn loss(&self, theta: &[f32]) -> Result<(f64, f64), Error> {
        let ask = self.table.loss.ok_or_else(missing)?;
        let (theta, mut loss, mut accuracy) = (vector(theta), f64::NAN, f64::NAN);
        // SAFETY: the function is the host's; what is passed lives until it returns.
        outcome(unsafe { ask(self.table, &theta.view(), &mut loss, &mut accuracy) })?;
        Ok((loss, accuracy))
    }

    /// Mean cross-entropy at θ and its gradient.
    ///
    /// # Errors
    /// As for [`Weights::loss`].
    pub fn gradient(&self, theta: &[f32]) -> Result<(f64, Vec<f32>), Error> {
        let ask = self.table.gradient.ok_or_else(missing)?;
        let (theta, mut loss, mut out) = (vector(theta), f64::NAN, self.empty());
        // SAFETY: as above.
        outcome(unsafe { ask(self.table, &theta.view(), &mut loss, &mut out.view_mut()) })?;
        Ok((loss, out.data))
    }

    /// Hessian of the mean cross-entropy at θ times v.
    ///
    /// # Errors
    /// As for [`Weights::loss`].
    pub fn hvp(&self, theta: &[f32], v: &[f32]) -> Result<Vec<f32>, Error> {
        let ask = self.table.hvp.ok_or_else(missing)?;
        let (theta, v, mut out) = (vector(theta), vector(v), self.empty());
        // SAFETY: as above.
        outcome(unsafe { ask(self.table, &theta.view(), &v.view(), &mut out.view_mut()) })?;
        Ok(out.data)
    }

    /// Moves the images at which losses, gradients and products are taken: `steps` of projected gradient ascent at θ in the linf ball
    /// of radius `eps` and the box, from a keyed uniform start or, with `go_on`, from where they are. `eps` 0 brings them back.
    ///
    /// # Errors
    /// As for [`Weights::loss`].
    pub fn attack(&self, theta: &[f32], eps: f64, alpha: f64, steps: u32, go_on: bool) -> Result<(), Error> {
        let ask = self.table.attack.ok_or_else(missing)?;
        let theta = vector(theta);
        // SAFETY: as above.
        outcome(unsafe { ask(self.table, &theta.view(), eps, alpha, steps, go_on.into()) })
    }

    /// From now on batch normalisation has the statistics of the samples at θ, whatever θ says, or with `None` those of θ
    /// again.
    ///
    /// # Errors
    /// As for [`Weights::loss`].
    pub fn refresh(&self, theta: Option<&[f32]>) -> Result<(), Error> {
        let ask = self.table.refresh.ok_or_else(missing)?;
        let theta = theta.map(vector);
        let view = theta.as_ref().map(Values::view);
        // SAFETY: as above.
        outcome(unsafe { ask(self.table, view.as_ref().map_or(std::ptr::null(), std::ptr::from_ref)) })
    }

    /// P random numbers, keyed by seed, stream and index: the same for every model of P weights.
    ///
    /// # Errors
    /// As for [`Weights::loss`].
    pub fn noise(&self, law: Law, stream: u32, index: u32) -> Result<Vec<f32>, Error> {
        let ask = self.table.noise.ok_or_else(missing)?;
        let mut out = self.empty();
        // SAFETY: as above.
        outcome(unsafe { ask(self.table, law.code(), stream, index, &mut out.view_mut()) })?;
        Ok(out.data)
    }

    /// The weights of another file of the same architecture, by name. The user must have named it in an argument.
    ///
    /// # Errors
    /// As for [`Weights::loss`]; another architecture ends the run with the host's own sentence.
    pub fn other(&self, file: &str) -> Result<Vec<f32>, Error> {
        let ask = self.table.other.ok_or_else(missing)?;
        let mut out = self.empty();
        // SAFETY: as above.
        outcome(unsafe { ask(self.table, abi::FsString::new(file), &mut out.view_mut()) })?;
        Ok(out.data)
    }

    /// Gives a value with its 95 % interval, if it has one, taken over n samples or probes.
    ///
    /// # Errors
    /// As for every gift: the value is not finite, the name is not a C identifier in lower case, or it was given before.
    pub fn value(&self, name: &str, value: f64, interval: Option<(f64, f64)>, n: usize) -> Result<(), Error> {
        let give = self.table.value.ok_or_else(missing)?;
        let (low, high) = interval.unwrap_or((f64::NAN, f64::NAN));
        if !value.is_finite() {
            return Err(Error::failed(format!("{name} is {value}: the loss is not finite at these weights")));
        }
        // SAFETY: as above.
        outcome(unsafe { give(self.table, abi::FsString::new(name), value, low, high, n as u64) })
    }

    /// Gives points of a curve.
    ///
    /// # Errors
    /// As for [`Weights::value`]; points that are not finite are holes.
    pub fn curve(&self, name: &str, x: &[f64], y: &[f64]) -> Result<(), Error> {
        let give = self.table.curve.ok_or_else(missing)?;
        let length = x.len().min(y.len());
        // SAFETY: as above.
        outcome(unsafe { give(self.table, abi::FsString::new(name), x.as_ptr(), y.as_ptr(), length) })
    }

    /// Gives a surface: `z[i·|x| + j]` at (x_j, y_i).
    ///
    /// # Errors
    /// As for [`Weights::curve`].
    pub fn surface(&self, name: &str, x: &[f64], y: &[f64], z: &[f64]) -> Result<(), Error> {
        let give = self.table.surface.ok_or_else(missing)?;
        if z.len() != x.len() * y.len() {
            return Err(Error::failed(format!("the surface {name} has {} cells, not {} times {}", z.len(), x.len(), y.len())));
        }
        let (columns, rows) = (x.len(), y.len());
        // SAFETY: as above.
        outcome(unsafe { give(self.table, abi::FsString::new(name), x.as_ptr(), columns, y.as_ptr(), rows, z.as_ptr()) })
    }

    /// A line for the user's log.
    pub fn log(&self, words: &str) {
        if let Some(log) = self.call.log {
            // SAFETY: the function is the host's; it copies the words.
            unsafe { log(self.call, 2, abi::FsString::new(words)) };
        }
    }

    fn empty(&self) -> Values {
        Values::whole(vec![0.0; self.parameters()])
    }

    fn all<T>(&self, data: *const T, count: usize) -> &'a [T] {
        if count == 0 || data.is_null() {
            return &[];
        }
        // SAFETY: the host's table promises `count` values for as long as the call lasts, which `'a` does not outlive.
        unsafe { std::slice::from_raw_parts(data, count) }
    }
}

fn vector(values: &[f32]) -> Values {
    Values::whole(values.to_vec())
}

fn outcome(status: abi::Status) -> Result<(), Error> {
    match status {
        abi::OK => Ok(()),
        abi::CANCELLED => Err(Error::cancelled()),
        abi::INVALID => Err(Error::failed("the host did not accept a vector, a name or a value")),
        _ => Err(Error::failed("the host could not answer a question")),
    }
}

fn missing() -> Error {
    Error::failed("the host does not offer this question")
}
