//! The names of the protocol: what a graph of a program may declare as an input, what it may give as an output, and which
//! functions of the domain `flatscape` it may call. One row per name; the host checks programs by these tables, and tests compare
//! the SDK, the linker and `plugins/README.md` with them.

use crate::{ATTACK, COTANGENT, EMIT, INIT, METRIC, OBJECTIVE, OBSERVE, PROBE, STEP};

/// Element type and shape behind a name. N is the batch, D = C·H·W, K a number of rows, F a number of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// float \[N,C,H,W\] or, where a graph declares rank 2, \[N,D\]; pixel units.
    Pixels,
    /// float \[N,classes\]
    Logits,
    /// float \[N\]
    PerSample,
    /// int64 \[N\]
    Label,
    /// bool \[N\]
    Mask,
    /// float scalar
    Number,
    /// int64 scalar
    Count,
    /// int64 scalar, or int64 \[N\]: one probe per row, so that probes and samples may share a batch
    ProbeIndex,
    /// float, like pixels, or \[N,K,…\] where the cotangent is \[N,K,classes\]
    Product,
    /// float \[N,F\]
    Features,
    /// float \[classes,F\]
    HeadWeight,
    /// float \[classes\]
    HeadBias,
    /// float \[N,P\]: the parameter of the threat model; D values where the parameter is the image itself
    Parameter,
    /// \[N,…\]
    Leading,
    /// float, any shape that is fully stated
    Fixed,
    /// float, \[N,…\] with the rest fully stated
    Draws,
    /// scalar of the type of the component's parameter
    Argument,
    /// obs_q \[N,probes,…\]; obs_q_sum, obs_q_mean, obs_q_max double \[N,…\]
    Observation,
}

/// An input that a graph may declare.
#[derive(Clone, Copy, Debug)]
pub struct InputName {
    /// The whole name, or its beginning where it ends in `_`.
    pub name: &'static str,
    /// Type and shape.
    pub form: Form,
    /// The roles whose graphs may declare it: `OBJECTIVE`, ….
    pub roles: &'static [i32],
    /// The version of the interface that has it.
    pub since: &'static str,
}

/// An output that a graph may give.
#[derive(Clone, Copy, Debug)]
pub struct OutputName {
    /// The whole name, or its beginning where it ends in `_`.
    pub name: &'static str,
    /// What else the name ends in.
    pub suffix: &'static str,
    /// Type and shape.
    pub form: Form,
    /// The role: `OBJECTIVE`, ….
    pub role: i32,
    /// The kinds of component: `ATTACK`, `METRIC`.
    pub kinds: &'static [i32],
    /// The version of the interface that has it.
    pub since: &'static str,
}

/// A function of the domain `flatscape`.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Its operands, in order; those that end in `?` may be left out.
    pub operands: &'static [&'static str],
    /// The version of the interface that has it.
    pub since: &'static str,
}

const ALL: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP, EMIT, PROBE, OBSERVE];
const AT_X: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP, EMIT, OBSERVE];
const AFTER_GRADIENT: &[i32] = &[INIT, STEP, EMIT, OBSERVE];
const STATEFUL: &[i32] = &[OBJECTIVE, COTANGENT, STEP, EMIT, PROBE, OBSERVE];
const AIMED: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP, EMIT];
const COUNTED: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP];
const DRAWN: &[i32] = &[COTANGENT, INIT, STEP, PROBE, OBSERVE];

/// The first version.
const FIRST: &str = "0.1";
/// The second version.
const SECOND: &str = "0.2";

const fn input(name: &'static str, form: Form, roles: &'static [i32], since: &'static str) -> InputName {
    InputName { name, form, roles, since }
}

/// Every input name, in the order of the documentation. `q` is at `x`, `q0` at `x0`, `q_clean` at `x_clean`; `init` sees `x` = `x0`.
pub const INPUTS: &[InputName] = &[
    input("x0", Form::Pixels, ALL, FIRST),
    input("x_clean", Form::Pixels, ALL, SECOND),
    input("y", Form::Label, ALL, FIRST),
    input("target", Form::Label, AIMED, FIRST),
    input("x", Form::Pixels, AT_X, FIRST),
    input("z", Form::Parameter, &[OBJECTIVE, STEP, EMIT], SECOND),
    input("logits", Form::Logits, AT_X, FIRST),
    input("logits0", Form::Logits, AT_X, FIRST),
    input("logits_clean", Form::Logits, AT_X, SECOND),
    input("logp", Form::PerSample, AT_X, SECOND),
    input("logp0", Form::PerSample, AT_X, SECOND),
    input("logp_clean", Form::PerSample, AT_X, SECOND),
    input("features", Form::Features, AT_X, SECOND),
    input("features0", Form::Features, AT_X, SECOND),
    input("features_clean", Form::Features, AT_X, SECOND),
    input("head_weight", Form::HeadWeight, ALL, SECOND),
    input("head_bias", Form::HeadBias, ALL, SECOND),
    input("loss", Form::PerSample, AFTER_GRADIENT, FIRST),
    input("loss0", Form::PerSample, AFTER_GRADIENT, FIRST),
    input("loss_clean", Form::PerSample, AFTER_GRADIENT, SECOND),
    input("grad", Form::Pixels, AFTER_GRADIENT, FIRST),
    input("grad0", Form::Pixels, AFTER_GRADIENT, FIRST),
    input("grad_z", Form::Parameter, &[STEP], SECOND),
    input("ascent", Form::Pixels, AFTER_GRADIENT, SECOND),
    input("ascent0", Form::Pixels, AFTER_GRADIENT, SECOND),
    input("ascent_z", Form::Parameter, &[STEP], SECOND),
    input("grad_logp", Form::Pixels, AFTER_GRADIENT, SECOND),
    input("grad_logp0", Form::Pixels, AFTER_GRADIENT, SECOND),
    input("vjp", Form::Product, AFTER_GRADIENT, FIRST),
    input("vjp0", Form::Product, AFTER_GRADIENT, FIRST),
    input("hvp", Form::Pixels, &[STEP, EMIT, OBSERVE], SECOND),
    input("direction", Form::Pixels, &[STEP, EMIT, PROBE, OBSERVE], SECOND),
    input("k", Form::Count, COUNTED, FIRST),
    input("steps", Form::Count, COUNTED, FIRST),
    input("restart", Form::Count, COUNTED, FIRST),
    input("i", Form::ProbeIndex, &[PROBE, OBSERVE, COTANGENT], FIRST),
    input("broken", Form::Mask, &[STEP], FIRST),
    input("eps", Form::Number, ALL, FIRST),
    input("lo", Form::Number, ALL, FIRST),
    input("hi", Form::Number, ALL, FIRST),
    input("noise_", Form::Draws, DRAWN, FIRST),
    input("shared_noise_", Form::Fixed, DRAWN, FIRST),
    input("arg_", Form::Argument, ALL, FIRST),
    input("state_", Form::Leading, STATEFUL, FIRST),
    input("obs_", Form::Observation, &[EMIT], FIRST),
];

const BOTH: &[i32] = &[ATTACK, METRIC];

const fn output(
    name: &'static str,
    suffix: &'static str,
    form: Form,
    role: i32,
    kinds: &'static [i32],
    since: &'static str,
) -> OutputName {
    OutputName { name, suffix, form, role, kinds, since }
}

/// Every output name, by role.
pub const OUTPUTS: &[OutputName] = &[
    output("loss", "", Form::PerSample, OBJECTIVE, BOTH, FIRST),
    output("ct", "", Form::Leading, COTANGENT, BOTH, FIRST),
    output("x", "", Form::Pixels, INIT, BOTH, FIRST),
    output("z", "", Form::Parameter, INIT, BOTH, SECOND),
    output("direction", "", Form::Pixels, INIT, BOTH, SECOND),
    output("state_", "", Form::Leading, INIT, BOTH, FIRST),
    output("x_next", "", Form::Pixels, STEP, BOTH, FIRST),
    output("z_next", "", Form::Parameter, STEP, BOTH, SECOND),
    output("direction", "", Form::Pixels, STEP, BOTH, SECOND),
    output("state_", "_next", Form::Leading, STEP, BOTH, FIRST),
    output("x", "", Form::Pixels, PROBE, &[METRIC], FIRST),
    output("direction", "", Form::Pixels, PROBE, &[METRIC], SECOND),
    output("obs_", "", Form::Leading, OBSERVE, &[METRIC], FIRST),
    output("x_adv", "", Form::Pixels, EMIT, &[ATTACK], FIRST),
    output("col_", "", Form::Leading, EMIT, &[METRIC], FIRST),
    output("vec_", "", Form::Leading, EMIT, &[METRIC], FIRST),
    output("surface_", "", Form::Leading, EMIT, &[METRIC], FIRST),
];

const fn function(name: &'static str, operands: &'static [&'static str], since: &'static str) -> Function {
    Function { name, operands, since }
}

/// Every function, in the order of the documentation.
pub const FUNCTIONS: &[Function] = &[
    function("Steepest", &["g"], FIRST),
    function("Project", &["x", "eps?"], FIRST),
    function("Distance", &["x", "x0"], FIRST),
    function("Hyperplane", &["x", "w", "b"], SECOND),
    function("Detach", &["t"], FIRST),
    function("CrossEntropy", &["logits", "y"], FIRST),
    function("Margin", &["logits", "y"], FIRST),
    function("Dlr", &["logits", "y"], SECOND),
    function("DlrTargeted", &["logits", "y", "target"], SECOND),
];
