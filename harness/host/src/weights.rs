//! What a component of `weights/1` may ask: a trait, implemented by the crate that has a model and data. θ, directions and gradients
//! are \[P\] float32, in the order of the segments.

use serde::{Deserialize, Serialize};

use crate::oracle::{Law, OracleError};

/// What a weight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SegmentRole {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Normalisation {
    /// It has none.
    None,
    /// It has some.
    Present,
    /// Names in it say that the exporter folded it into layers.
    Folded,
}

/// One weight of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// As the file has it.
    pub name: String,
    /// The extents.
    pub shape: Vec<usize>,
    /// What it is.
    pub role: SegmentRole,
    /// The axis of filters or neurons, where they are slices along one.
    pub axis: Option<usize>,
    /// Which operator reads it, counted in the order of the graph.
    pub layer: usize,
    /// First element in θ.
    pub offset: usize,
    /// Elements.
    pub size: usize,
}

/// What is known about the weights of a model before anything is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightFacts {
    /// The weights one by one, in the order of θ.
    pub segments: Vec<Segment>,
    /// P.
    pub parameters: usize,
    /// Samples over which losses are means.
    pub samples: usize,
    /// Batch normalisation in the file.
    pub normalisation: Normalisation,
    /// Of the run.
    pub seed: u64,
}

/// How images are moved: projected gradient ascent (sign) in the linf ball and the box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ascent {
    /// Radius in pixel units; 0 brings the images back.
    pub eps: f64,
    /// Length of a step in pixel units.
    pub alpha: f64,
    /// How many steps.
    pub steps: u32,
    /// Whether it starts where the images are.
    pub go_on: bool,
}

/// Something that a component gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// A finite value with its 95 % interval (NaN where there is none) and over how many samples or probes it is taken.
    Value {
        /// A C identifier.
        name: String,
        /// The value.
        value: f64,
        /// Lower end of the interval.
        low: f64,
        /// Upper end of the interval.
        high: f64,
        /// Samples or probes.
        n: u64,
    },
    /// Points of a curve.
    Curve {
        /// A C identifier.
        name: String,
        /// Abscissae.
        x: Vec<f64>,
        /// Ordinates, as many.
        y: Vec<f64>,
    },
    /// A surface; NaN and infinities are holes.
    Surface {
        /// A C identifier.
        name: String,
        /// Coordinates of the columns.
        x: Vec<f64>,
        /// Coordinates of the rows.
        y: Vec<f64>,
        /// Row by row.
        z: Vec<f64>,
    },
}

impl Given {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Given::Value { name, .. } | Given::Curve { name, .. } | Given::Surface { name, .. } => name,
        }
    }
}

/// A model as a function of its weights. The host has checked that vectors are \[P\] and finite.
pub trait Weights {
    /// The weights, without their values.
    fn facts(&self) -> WeightFacts;

    /// \[P\] the weights of the file.
    fn theta(&self) -> Vec<f32>;

    /// \[P\] which filter of its segment an element belongs to, or −1.
    fn filters(&self) -> Vec<i32>;

    /// Mean cross-entropy over the samples, and the share that is classified correctly.
    fn loss(&mut self, theta: &[f32]) -> Result<[f64; 2], OracleError>;

    /// Mean cross-entropy and its gradient \[P\].
    fn gradient(&mut self, theta: &[f32]) -> Result<(f64, Vec<f32>), OracleError>;

    /// Hessian of the mean cross-entropy times v: \[P\].
    fn hvp(&mut self, theta: &[f32], v: &[f32]) -> Result<Vec<f32>, OracleError>;

    /// Moves the images at which all of that is taken.
    fn attack(&mut self, theta: &[f32], ascent: Ascent) -> Result<(), OracleError>;

    /// Batch normalisation takes the statistics of the samples at θ, whatever θ says, or with `None` those of θ again.
    fn refresh(&mut self, theta: Option<&[f32]>) -> Result<(), OracleError>;

    /// Random numbers \[P\] keyed by stream and index.
    fn noise(&mut self, law: Law, stream: u32, index: u32) -> Result<Vec<f32>, OracleError>;

    /// The weights \[P\] of another file of the same architecture. The host has checked that the user named it.
    fn other(&mut self, file: &str) -> Result<Vec<f32>, OracleError>;

    /// Takes what the component gives; names are C identifiers, and no name comes twice.
    fn give(&mut self, given: Given);

    /// Whether the component should come to an end soon.
    fn cancelled(&self) -> bool {
        false
    }
}
