//! The plugin ABI in Rust: the mirror of `plugins/include/flatscape_plugin.h` and its extensions in `ext/`, which are the source of
//! truth and say who owns what and which thread calls. Layouts, constants and the tables of names: no behaviour, no
//! dependencies, nothing about models.
#![no_std]
#![forbid(unsafe_code)]

use core::ffi::{c_char, c_void};

pub mod names;
mod oracle;
mod reduce;
pub use oracle::*;
pub use reduce::*;

/// `FS_ABI_MAJOR`
pub const ABI_MAJOR: u32 = 0;
/// `FS_ABI_MINOR`
pub const ABI_MINOR: u32 = 3;
/// The one exported symbol: a [`PluginEntry`].
pub const SYMBOL: &str = "flatscape_plugin";

/// What a function answers (`fs_status`).
pub type Status = i32;

macro_rules! constants {
    ($ty:ty: $($(#[$doc:meta])* $name:ident = $value:literal),* $(,)?) => {$(
        $(#[$doc])*
        pub const $name: $ty = $value;
    )*};
}

constants! { Status:
    /// Done.
    OK = 0,
    /// The user's argument is wrong.
    INVALID = 1,
    /// The arguments are right; this task is not for this component.
    UNSUPPORTED = 2,
    /// Anything else.
    FAILED = 3,
    /// Stopped because the host asked.
    CANCELLED = 4,
    /// A panic was caught at the border.
    PANICKED = 5,
}
constants! { i32:
    /// A value that is left to the component.
    AUTO = 0,
    /// A number, also written as a fraction.
    FLOAT = 1,
    /// A whole number.
    INT = 2,
    /// `true` or `false`.
    BOOL = 3,
    /// Text, or one of some choices.
    TEXT = 4,
}
constants! { i32:
    /// Role: what an attack ascends.
    OBJECTIVE = 1,
    /// Role: the row vectors whose products with the Jacobian are wanted.
    COTANGENT = 2,
    /// Role: the first point and state.
    INIT = 3,
    /// Role: the next point and state.
    STEP = 4,
    /// Role: the final point of an attack, the columns of a metric.
    EMIT = 5,
    /// Role: one of many points, evaluated in any order.
    PROBE = 6,
    /// Role: what is kept of such a point.
    OBSERVE = 7,
    /// Role of trainers: objective of the inner attack.
    ADVERSARY = 8,
    /// Role of trainers: what is minimised.
    COST = 9,
    /// Role of optimizers: the next parameter.
    UPDATE = 10,
    /// Role of trainers and optimizers: the parameter at which the gradient is taken again.
    PERTURB = 11,
    /// Role of trainers: the next perturbation of a slot of the batch.
    REPLAY = 12,
}
constants! { i32:
    /// Format: a serialised `ModelProto`.
    ONNX = 1,
    /// Format: the textual syntax of ONNX.
    TEXT_GRAPH = 2,
}
constants! { i32:
    /// Kind of component.
    ATTACK = 1,
    /// Kind of component.
    METRIC = 2,
    /// Kind of component.
    TRAINER = 3,
    /// Kind of component.
    OPTIMIZER = 4,
}
constants! { i32:
    /// Data of a trainer: the images.
    CLEAN = 0,
    /// Data of a trainer: the images, and one adversarial example of each, made before the first step.
    ADVERSARIAL_ONCE = 1,
    /// Data of a trainer: the images of a batch, and an adversarial example of each, made in every step.
    ADVERSARIAL_ONLINE = 2,
}
constants! { i32:
    /// Batch normalisation while a trainer attacks: running statistics.
    BN_EVAL = 0,
    /// Batch normalisation while a trainer attacks: statistics of the batch.
    BN_TRAIN = 1,
}
constants! { i32:
    /// Goal: the worst point in the ball.
    BUDGET = 0,
    /// Goal: the smallest perturbation that succeeds.
    MINIMAL = 1,
}
constants! { i32:
    /// Iterates: the host projects every one.
    INSIDE = 0,
    /// Iterates: only what is given out at last is checked.
    FREE = 1,
}

/// `fs_string`: UTF-8, not terminated.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsString {
    /// First byte; null only if `length` is 0.
    pub data: *const c_char,
    /// Bytes.
    pub length: usize,
}

impl FsString {
    /// A view of a text that must outlive it.
    pub const fn new(text: &str) -> FsString {
        FsString { data: text.as_ptr().cast(), length: text.len() }
    }

    /// No text.
    pub const EMPTY: FsString = FsString { data: core::ptr::null(), length: 0 };
}

/// `fs_bytes`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsBytes {
    /// First byte; null only if `length` is 0.
    pub data: *const u8,
    /// Bytes.
    pub length: usize,
}

/// `fs_value`: the member that `type` names counts.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsValue {
    /// [`AUTO`], [`FLOAT`], [`INT`], [`BOOL`] or [`TEXT`].
    pub ty: i32,
    /// 0 or 1.
    pub boolean: i32,
    /// For [`INT`].
    pub integer: i64,
    /// For [`FLOAT`].
    pub number: f64,
    /// For [`TEXT`].
    pub text: FsString,
}

/// `fs_param`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsParam {
    /// Lower case with hyphens.
    pub name: FsString,
    /// As a user writes it; `auto` lets the component decide.
    pub default_text: FsString,
    /// One line.
    pub help: FsString,
    /// [`FLOAT`], [`INT`], [`BOOL`] or [`TEXT`].
    pub ty: i32,
    /// Number of `choices`.
    pub choice_count: i32,
    /// For [`TEXT`]; null: any text.
    pub choices: *const FsString,
    /// Inclusive; no limits where both are 0.
    pub minimum: f64,
    /// Inclusive; no limits where both are 0.
    pub maximum: f64,
}

/// `fs_call`: one call of the host into the plugin.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsCall {
    /// `sizeof(fs_call)` of the host.
    pub size: usize,
    /// The host's.
    pub host: *mut c_void,
    /// One per declared parameter, in that order.
    pub args: *const FsValue,
    /// Number of `args`.
    pub arg_count: usize,
    /// A line for the user's log: level 0 error, 1 warning, 2 note, 3 detail.
    pub log: Option<unsafe extern "C" fn(call: *const FsCall, level: i32, words: FsString)>,
    /// Says why, and returns the status that it is given.
    pub fail: Option<unsafe extern "C" fn(call: *const FsCall, status: Status, words: FsString) -> Status>,
    /// Whether to stop soon.
    pub cancelled: Option<unsafe extern "C" fn(call: *const FsCall) -> i32>,
}

/// `fs_task`: what the component will be used for.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsTask {
    /// `sizeof(fs_task)` of the host.
    pub size: usize,
    /// C
    pub channels: u32,
    /// H
    pub height: u32,
    /// W
    pub width: u32,
    /// Number of classes.
    pub classes: u32,
    /// `linf`, `l2`, `l1`, …
    pub norm: FsString,
    /// 1: targeted; the class to reach is given.
    pub targeted: i32,
    /// P: values of the threat model's parameter `z`; D where the parameter is the image itself.
    pub parameters: u32,
    /// Radius, in pixel units.
    pub eps: f64,
    /// Lower face of the box.
    pub lo: f64,
    /// Upper face of the box.
    pub hi: f64,
}

/// `fs_graph`: one graph of a program.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsGraph {
    /// [`OBJECTIVE`] … [`REPLAY`]
    pub role: i32,
    /// [`ONNX`] or [`TEXT_GRAPH`]
    pub format: i32,
    /// The graph.
    pub bytes: FsBytes,
}

/// `fs_program`: what `build` answers.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsProgram {
    /// `sizeof(fs_program)` of the host.
    pub size: usize,
    /// The graphs.
    pub graphs: *const FsGraph,
    /// Number of `graphs`.
    pub graph_count: usize,
    /// Steps of an attack.
    pub steps: u32,
    /// Restarts of an attack.
    pub restarts: u32,
    /// Probes of a metric.
    pub probes: u32,
    /// Replays of a trainer: how often each batch is used in a row.
    pub replays: u32,
    /// Of a trainer: [`CLEAN`], [`ADVERSARIAL_ONCE`] or [`ADVERSARIAL_ONLINE`].
    pub data: i32,
    /// Of a trainer: [`BN_EVAL`] or [`BN_TRAIN`].
    pub bn_attack: i32,
    /// Of a trainer: its inner attack as users write one, `pgd:steps=10`; empty: none.
    pub attack: FsString,
    /// The plugin's.
    pub owner: *mut c_void,
    /// Frees what `build` made; null: everything is static.
    pub release: Option<unsafe extern "C" fn(program: *mut FsProgram)>,
}

/// `fs_component.build`
pub type Build =
    unsafe extern "C" fn(component: *const FsComponent, call: *const FsCall, task: *const FsTask, out: *mut FsProgram) -> Status;
/// `fs_component.extension`
pub type Extension = unsafe extern "C" fn(component: *const FsComponent, id: FsString) -> *const c_void;

/// `fs_component`: one attack, metric, trainer or optimizer.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsComponent {
    /// `sizeof(fs_component)` of the plugin.
    pub size: usize,
    /// [`ATTACK`], [`METRIC`], [`TRAINER`] or [`OPTIMIZER`].
    pub kind: i32,
    /// [`BUDGET`] or [`MINIMAL`].
    pub goal: i32,
    /// [`INSIDE`] or [`FREE`].
    pub iterates: i32,
    /// 0
    pub reserved: i32,
    /// Lower case with hyphens.
    pub id: FsString,
    /// One line.
    pub summary: FsString,
    /// Paper and equation.
    pub source: FsString,
    /// The parameters.
    pub params: *const FsParam,
    /// Number of `params`.
    pub param_count: usize,
    /// The plugin's.
    pub owner: *mut c_void,
    /// Answers the program; may be null where an extension runs.
    pub build: Option<Build>,
    /// The table behind an extension id, or null.
    pub extension: Option<Extension>,
}

/// `fs_plugin`: what the exported symbol returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FsPlugin {
    /// `sizeof(fs_plugin)` of the plugin.
    pub size: usize,
    /// [`ABI_MAJOR`]
    pub abi_major: u32,
    /// [`ABI_MINOR`]
    pub abi_minor: u32,
    /// Lower case with hyphens.
    pub id: FsString,
    /// Any text.
    pub version: FsString,
    /// The components.
    pub components: *const *const FsComponent,
    /// Number of `components`.
    pub component_count: usize,
}

/// The type of the exported symbol.
pub type PluginEntry = unsafe extern "C" fn() -> *const FsPlugin;
