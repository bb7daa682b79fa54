//! The extension `reduce/1`, mirrored from `plugins/include/ext/flatscape_reduce.h`: a metric that says something about all samples
//! together.

use core::ffi::c_void;

use crate::{FsCall, FsComponent, FsString, FsTask, Status};

/// The extension's id.
pub const REDUCE_1: &str = "reduce/1";

/// `fs_rows`: an output of the program for every sample.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsRows {
    /// `col_q` or `vec_q`.
    pub name: FsString,
    /// 1 for columns.
    pub width: usize,
    /// \[samples, width\]
    pub data: *const f64,
}

/// `fs_reduction.value`
pub type ReductionValue =
    unsafe extern "C" fn(reduction: *const FsReduction, name: FsString, value: f64, low: f64, high: f64, n: u64) -> Status;
/// `fs_reduction.column`
pub type ReductionColumn = unsafe extern "C" fn(reduction: *const FsReduction, name: FsString, values: *const f64) -> Status;
/// `fs_reduction.curve`
pub type ReductionCurve =
    unsafe extern "C" fn(reduction: *const FsReduction, name: FsString, x: *const f64, y: *const f64, length: usize) -> Status;

/// `fs_reduction`: the samples of a run under one threat model.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsReduction {
    /// `sizeof(fs_reduction)` of the host.
    pub size: usize,
    /// The host's.
    pub host: *mut c_void,
    /// How many samples.
    pub samples: usize,
    /// \[samples\] positions in the data set, ascending.
    pub id: *const i64,
    /// \[samples\] labels.
    pub y: *const i64,
    /// \[samples\] classes of the clean images, or −1.
    pub prediction: *const i64,
    /// Outputs of the program.
    pub rows: *const FsRows,
    /// Number of `rows`.
    pub row_count: usize,
    /// F, or 0.
    pub features: usize,
    /// \[classes, F\] or null.
    pub head_weight: *const f32,
    /// \[classes\] or null.
    pub head_bias: *const f32,
    /// Gives a value of the whole data set.
    pub value: Option<ReductionValue>,
    /// Gives a value of every sample.
    pub column: Option<ReductionColumn>,
    /// Gives the points of a curve.
    pub curve: Option<ReductionCurve>,
}

/// `fs_reduce_component.reduce`
pub type Reduce = unsafe extern "C" fn(
    component: *const FsComponent,
    call: *const FsCall,
    task: *const FsTask,
    reduction: *const FsReduction,
) -> Status;

/// `fs_reduce_component`: what a component answers for [`REDUCE_1`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsReduceComponent {
    /// `sizeof(fs_reduce_component)` of the plugin.
    pub size: usize,
    /// Reduces the rows of all samples.
    pub reduce: Option<Reduce>,
}
