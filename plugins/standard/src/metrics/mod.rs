//! Metrics. One file and one row each.

pub(crate) mod ams;
pub(crate) mod clever;
mod directions;
mod formulas;
mod grid;
pub(crate) mod input_gradient;
pub(crate) mod jacobian;
pub(crate) mod landscape;
pub(crate) mod lipschitz;
pub(crate) mod logp;
pub(crate) mod neural_collapse;
pub(crate) mod phi;
mod rates;
pub(crate) mod relative_flatness;
pub(crate) mod smoothing;
pub(crate) mod ssim;
mod weibull;
