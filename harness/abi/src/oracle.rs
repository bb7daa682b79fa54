//! The extension `oracle/1`, mirrored from `plugins/include/ext/flatscape_oracle.h`: an attack whose control flow is code asks the model through a table of functions.

use core::ffi::c_void;

use crate::{FsCall, FsComponent, FsTask, Status};

/// The extension's id.
pub const ORACLE_1: &str = "oracle/1";

/// Law of noise: uniform on (−1, 1).
pub const UNIFORM: i32 = 1;
/// Law of noise: standard normal.
pub const NORMAL: i32 = 2;
/// Law of noise: −1 or 1.
pub const RADEMACHER: i32 = 3;

/// `fs_tensor`: a view with the layout of `DLTensor` (DLPack); here host memory, float32, row-major, strides null.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsTensor {
    /// First element, before `byte_offset`.
    pub data: *mut c_void,
    /// 1: CPU.
    pub device_type: i32,
    /// 0
    pub device_id: i32,
    /// Number of extents.
    pub rank: i32,
    /// 2: float.
    pub type_code: u8,
    /// 32
    pub type_bits: u8,
    /// 1
    pub type_lanes: u16,
    /// The extents.
    pub shape: *const i64,
    /// Null: row-major.
    pub strides: *const i64,
    /// Bytes from `data` to the first element.
    pub byte_offset: u64,
}

/// `fs_oracle.logits`
pub type OracleLogits =
    unsafe extern "C" fn(oracle: *const FsOracle, x: *const FsTensor, rows: *const i64, logits: *mut FsTensor) -> Status;
/// `fs_oracle.gradient`
pub type OracleGradient = unsafe extern "C" fn(
    oracle: *const FsOracle,
    x: *const FsTensor,
    rows: *const i64,
    cotangents: *const FsTensor,
    loss: *mut FsTensor,
    gradient: *mut FsTensor,
) -> Status;
/// `fs_oracle.noise`
pub type OracleNoise =
    unsafe extern "C" fn(oracle: *const FsOracle, law: i32, stream: u32, rows: *const i64, out: *mut FsTensor) -> Status;
/// `fs_oracle.active`
pub type OracleActive = unsafe extern "C" fn(oracle: *const FsOracle, active: *mut u8) -> Status;
/// `fs_oracle.offer`
pub type OracleOffer = unsafe extern "C" fn(oracle: *const FsOracle, x: *const FsTensor, rows: *const i64) -> Status;

/// `fs_oracle`: a model that can be asked, and a batch of samples.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsOracle {
    /// `sizeof(fs_oracle)` of the host.
    pub size: usize,
    /// The host's.
    pub host: *mut c_void,
    /// Samples in the batch.
    pub samples: usize,
    /// \[samples, C, H, W\], read-only.
    pub x0: *const f32,
    /// \[samples\] labels.
    pub y: *const i64,
    /// \[samples\] classes to reach, or null.
    pub target: *const i64,
    /// Logits \[R, classes\] at x \[R, C, H, W\].
    pub logits: Option<OracleLogits>,
    /// Gradient \[R, C, H, W\] at x.
    pub gradient: Option<OracleGradient>,
    /// Random numbers \[R, …\] keyed by sample, stream and shape.
    pub noise: Option<OracleNoise>,
    /// 1 for the samples that are still unbroken.
    pub active: Option<OracleActive>,
    /// Proposes x \[R, C, H, W\].
    pub offer: Option<OracleOffer>,
}

/// `fs_oracle_component.run`
pub type OracleRun = unsafe extern "C" fn(
    component: *const FsComponent,
    call: *const FsCall,
    task: *const FsTask,
    oracle: *const FsOracle,
) -> Status;

/// `fs_oracle_component`: what a component answers for [`ORACLE_1`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsOracleComponent {
    /// `sizeof(fs_oracle_component)` of the plugin.
    pub size: usize,
    /// Attacks the batch.
    pub run: Option<OracleRun>,
}
