//! The extension `weights/1`, mirrored from `plugins/include/ext/flatscape_weights.h`: a metric that asks for the loss as a function
//! of the weights.

use core::ffi::c_void;

use crate::{FsCall, FsComponent, FsString, FsTask, FsTensor, Status};

/// The extension's id.
pub const WEIGHTS_1: &str = "weights/1";

/// Role of a weight: filters or neurons of a layer.
pub const KERNEL: i32 = 1;
/// Role of a weight: what is added behind a layer.
pub const BIAS: i32 = 2;
/// Role of a weight: another factor or shift.
pub const SCALE: i32 = 3;
/// Role of a weight: a running statistic, by which nothing is differentiated.
pub const STATISTIC: i32 = 4;

/// Batch normalisation: the file has none.
pub const BN_NONE: i32 = 0;
/// Batch normalisation: the file has some.
pub const BN_PRESENT: i32 = 1;
/// Batch normalisation: names in the file say that it was folded into layers.
pub const BN_FOLDED: i32 = 2;

/// `fs_segment`: one weight of the file.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsSegment {
    /// As the file has it.
    pub name: FsString,
    /// The extents.
    pub shape: *const i64,
    /// Number of extents.
    pub rank: i32,
    /// [`KERNEL`], [`BIAS`], [`SCALE`] or [`STATISTIC`].
    pub role: i32,
    /// The axis of filters, or −1.
    pub axis: i32,
    /// Which operator reads it.
    pub layer: i32,
    /// First element in theta.
    pub offset: usize,
    /// Elements.
    pub size: usize,
}

/// `fs_weights.loss`
pub type WeightsLoss =
    unsafe extern "C" fn(weights: *const FsWeights, theta: *const FsTensor, loss: *mut f64, accuracy: *mut f64) -> Status;
/// `fs_weights.gradient`
pub type WeightsGradient =
    unsafe extern "C" fn(weights: *const FsWeights, theta: *const FsTensor, loss: *mut f64, gradient: *mut FsTensor) -> Status;
/// `fs_weights.hvp`
pub type WeightsHvp =
    unsafe extern "C" fn(weights: *const FsWeights, theta: *const FsTensor, v: *const FsTensor, out: *mut FsTensor) -> Status;
/// `fs_weights.attack`
pub type WeightsAttack = unsafe extern "C" fn(
    weights: *const FsWeights,
    theta: *const FsTensor,
    eps: f64,
    alpha: f64,
    steps: u32,
    go_on: i32,
) -> Status;
/// `fs_weights.refresh`
pub type WeightsRefresh = unsafe extern "C" fn(weights: *const FsWeights, theta: *const FsTensor) -> Status;
/// `fs_weights.noise`
pub type WeightsNoise =
    unsafe extern "C" fn(weights: *const FsWeights, law: i32, stream: u32, index: u32, out: *mut FsTensor) -> Status;
/// `fs_weights.other`
pub type WeightsOther = unsafe extern "C" fn(weights: *const FsWeights, file: FsString, theta: *mut FsTensor) -> Status;
/// `fs_weights.value`
pub type WeightsValue =
    unsafe extern "C" fn(weights: *const FsWeights, name: FsString, value: f64, low: f64, high: f64, n: u64) -> Status;
/// `fs_weights.curve`
pub type WeightsCurve =
    unsafe extern "C" fn(weights: *const FsWeights, name: FsString, x: *const f64, y: *const f64, length: usize) -> Status;
/// `fs_weights.surface`
pub type WeightsSurface = unsafe extern "C" fn(
    weights: *const FsWeights,
    name: FsString,
    x: *const f64,
    columns: usize,
    y: *const f64,
    rows: usize,
    z: *const f64,
) -> Status;

/// `fs_weights`: a model as a function of its weights, and the samples of a job.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsWeights {
    /// `sizeof(fs_weights)` of the host.
    pub size: usize,
    /// The host's.
    pub host: *mut c_void,
    /// P.
    pub parameters: usize,
    /// \[P\] the weights of the file.
    pub theta: *const f32,
    /// \[P\] which filter of its segment an element belongs to, or −1.
    pub filter: *const i32,
    /// The weights one by one.
    pub segments: *const FsSegment,
    /// Number of `segments`.
    pub segment_count: usize,
    /// Number of samples.
    pub samples: usize,
    /// [`BN_NONE`], [`BN_PRESENT`] or [`BN_FOLDED`].
    pub normalisation: i32,
    /// 0
    pub reserved: i32,
    /// Of the run.
    pub seed: u64,
    /// Mean cross-entropy and accuracy at theta.
    pub loss: Option<WeightsLoss>,
    /// Gradient \[P\] at theta.
    pub gradient: Option<WeightsGradient>,
    /// Hessian at theta times v: \[P\].
    pub hvp: Option<WeightsHvp>,
    /// Moves the images by projected gradient ascent at theta.
    pub attack: Option<WeightsAttack>,
    /// Batch normalisation takes the statistics of the samples at theta, or those of theta.
    pub refresh: Option<WeightsRefresh>,
    /// Random numbers \[P\].
    pub noise: Option<WeightsNoise>,
    /// The weights of another file.
    pub other: Option<WeightsOther>,
    /// Gives a value.
    pub value: Option<WeightsValue>,
    /// Gives a curve.
    pub curve: Option<WeightsCurve>,
    /// Gives a surface.
    pub surface: Option<WeightsSurface>,
}

/// `fs_weights_component.measure`
pub type WeightsMeasure = unsafe extern "C" fn(
    component: *const FsComponent,
    call: *const FsCall,
    task: *const FsTask,
    weights: *const FsWeights,
) -> Status;

/// `fs_weights_component`: what a component answers for [`WEIGHTS_1`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsWeightsComponent {
    /// `sizeof(fs_weights_component)` of the plugin.
    pub size: usize,
    /// Measures the model.
    pub measure: Option<WeightsMeasure>,
}
