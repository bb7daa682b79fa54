//! What a plugin with control flow of its own may ask: a trait, implemented by the crate that has a model and data. All tensors
//! are float32 in pixel units.

use flatscape_graph::Tensor;

/// A law of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// Uniform on (−1, 1).
    Uniform,
    /// Standard normal.
    Normal,
    /// −1 or 1, each with probability one half.
    Rademacher,
}

impl Law {
    /// As names of graph inputs say it: `noise_<law>_<stream>`.
    pub fn name(self) -> &'static str {
        match self {
            Law::Uniform => "uniform",
            Law::Normal => "normal",
            Law::Rademacher => "rademacher",
        }
    }

    /// The law of that name.
    pub fn named(name: &str) -> Option<Law> {
        [Law::Uniform, Law::Normal, Law::Rademacher].into_iter().find(|law| law.name() == name)
    }
}

/// The samples that a run is about.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Clean points, float \[N, C, H, W\].
    pub x0: Tensor,
    /// Labels, N of them.
    pub y: Vec<i64>,
    /// Classes to reach, N of them, when the task is targeted.
    pub target: Option<Vec<i64>>,
}

/// Why a question is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OracleError {
    /// No more questions are answered: the budget is spent or the audit was interrupted. The plugin is asked to stop; what it
    /// offered counts.
    #[error("no more questions are answered")]
    Stop,
    /// The question could not be answered.
    #[error("{0}")]
    Failed(String),
}

/// A model that can be asked about a batch. `rows[r]` is the sample that row `r` of `x` belongs to; the host has checked that
/// it is one of the batch, and that shapes are right.
pub trait Oracle {
    /// The samples.
    fn batch(&self) -> Batch;

    /// Logits, float \[R, classes\], at `x` \[R, C, H, W\].
    fn logits(&mut self, x: &Tensor, rows: &[usize]) -> Result<Tensor, OracleError>;

    /// Gradient, float \[R, C, H, W\], at `x`: `cotangents` \[R, classes\] times the Jacobian or, without them, of the loss that
    /// is ascended, whose values \[R\] then come too.
    fn gradient(
        &mut self,
        x: &Tensor,
        rows: &[usize],
        cotangents: Option<&Tensor>,
    ) -> Result<(Option<Tensor>, Tensor), OracleError>;

    /// Random numbers of `shape` \[R, …\], keyed by sample and stream.
    fn noise(&mut self, law: Law, stream: u32, rows: &[usize], shape: &[usize]) -> Result<Tensor, OracleError>;

    /// For each sample, whether it is still unbroken.
    fn active(&mut self) -> Vec<bool>;

    /// A proposal: points `x` \[R, C, H, W\] of any origin. Finiteness, box, ball and success are for the implementer to check.
    fn offer(&mut self, x: &Tensor, rows: &[usize]) -> Result<(), OracleError>;

    /// Whether the plugin should come to an end soon.
    fn cancelled(&self) -> bool {
        false
    }
}
