//! The names of the protocol: what a graph of a program may declare as an input, what it may give as an output, and which
//! functions of the domain `flatscape` it may call. One row per name; the host checks programs by these tables, and tests compare
//! the SDK, the linker and `plugins/README.md` with them.

use crate::{
    ADVERSARY, ATTACK, COST, COTANGENT, EMIT, INIT, METRIC, OBJECTIVE, OBSERVE, OPTIMIZER, PERTURB, PROBE, REPLAY, STEP, TRAINER,
    UPDATE,
};

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
    /// float of unknown rank: one parameter of the model, or what has its shape
    AnyRank,
}

/// An input that a graph may declare.
#[derive(Clone, Copy, Debug)]
pub struct InputName {
    /// The whole name, or its beginning where it ends in `_`.
    pub name: &'static str,
    /// Type and shape.
    pub form: Form,
    /// The roles whose graphs may declare it: `OBJECTIVE`, …. The `COTANGENT` of a trainer may declare what its `COST` may
    /// declare, too.
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
    /// The kinds of component: `ATTACK`, `METRIC`, `TRAINER`, `OPTIMIZER`.
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

const EVERY: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP, EMIT, PROBE, OBSERVE, ADVERSARY, COST, REPLAY, UPDATE, PERTURB];
const ALL: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP, EMIT, PROBE, OBSERVE, ADVERSARY, COST, REPLAY];
const NO_TRAINER: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP, EMIT, PROBE, OBSERVE];
const MODEL: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP, EMIT, PROBE, OBSERVE, ADVERSARY, COST];
const AT_X: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP, EMIT, OBSERVE, ADVERSARY, COST];
const AT_X0: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP, EMIT, OBSERVE, ADVERSARY];
const AT_CLEAN: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP, EMIT, OBSERVE];
const AT_ADV: &[i32] = &[COST];
const WITH_GRADIENT: &[i32] = &[INIT, STEP, EMIT, OBSERVE, COST];
const AFTER_GRADIENT: &[i32] = &[INIT, STEP, EMIT, OBSERVE];
const STATEFUL: &[i32] = &[OBJECTIVE, COTANGENT, STEP, EMIT, PROBE, OBSERVE, UPDATE];
const AIMED: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP, EMIT];
const COUNTED: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP, COST, UPDATE, PERTURB];
const COUNTED_TO: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP, COST];
const REPEATED: &[i32] = &[OBJECTIVE, COTANGENT, INIT, STEP];
const DRAWN: &[i32] = &[COTANGENT, INIT, STEP, PROBE, OBSERVE, COST];
const OF_PARAMETERS: &[i32] = &[UPDATE, PERTURB];

/// The first version.
const FIRST: &str = "0.1";
/// The second version.
const SECOND: &str = "0.2";
/// The third version.
const THIRD: &str = "0.3";

const fn input(name: &'static str, form: Form, roles: &'static [i32], since: &'static str) -> InputName {
    InputName { name, form, roles, since }
}

/// Every input name, in the order of the documentation. `q` is at `x`, `q0` at `x0`, `q_clean` at `x_clean`, `q_adv` at `x_adv`;
/// `init` and `cost` see `x` = `x0`.
pub const INPUTS: &[InputName] = &[
    input("x0", Form::Pixels, ALL, FIRST),
    input("x_clean", Form::Pixels, NO_TRAINER, SECOND),
    input("x_second", Form::Pixels, NO_TRAINER, THIRD),
    input("x_adv", Form::Pixels, AT_ADV, THIRD),
    input("y", Form::Label, ALL, FIRST),
    input("target", Form::Label, AIMED, FIRST),
    input("x", Form::Pixels, AT_X, FIRST),
    input("z", Form::Parameter, &[OBJECTIVE, STEP, EMIT], SECOND),
    input("logits", Form::Logits, AT_X, FIRST),
    input("logits0", Form::Logits, AT_X0, FIRST),
    input("logits_clean", Form::Logits, AT_CLEAN, SECOND),
    input("logits_adv", Form::Logits, AT_ADV, THIRD),
    input("logp", Form::PerSample, AT_X, SECOND),
    input("logp0", Form::PerSample, AT_X0, SECOND),
    input("logp_clean", Form::PerSample, AT_CLEAN, SECOND),
    input("logp_adv", Form::PerSample, AT_ADV, THIRD),
    input("features", Form::Features, AT_X, SECOND),
    input("features0", Form::Features, AT_X0, SECOND),
    input("features_clean", Form::Features, AT_CLEAN, SECOND),
    input("features_adv", Form::Features, AT_ADV, THIRD),
    input("head_weight", Form::HeadWeight, MODEL, SECOND),
    input("head_bias", Form::HeadBias, MODEL, SECOND),
    input("loss", Form::PerSample, WITH_GRADIENT, FIRST),
    input("loss0", Form::PerSample, AFTER_GRADIENT, FIRST),
    input("loss_clean", Form::PerSample, AFTER_GRADIENT, SECOND),
    input("loss_adv", Form::PerSample, AT_ADV, THIRD),
    input("grad", Form::Pixels, WITH_GRADIENT, FIRST),
    input("grad0", Form::Pixels, AFTER_GRADIENT, FIRST),
    input("grad_adv", Form::Pixels, AT_ADV, THIRD),
    input("grad_z", Form::Parameter, &[STEP], SECOND),
    input("ascent", Form::Pixels, AFTER_GRADIENT, SECOND),
    input("ascent0", Form::Pixels, AFTER_GRADIENT, SECOND),
    input("ascent_z", Form::Parameter, &[STEP], SECOND),
    input("grad_logp", Form::Pixels, WITH_GRADIENT, SECOND),
    input("grad_logp0", Form::Pixels, AFTER_GRADIENT, SECOND),
    input("grad_logp_adv", Form::Pixels, AT_ADV, THIRD),
    input("vjp", Form::Product, WITH_GRADIENT, FIRST),
    input("vjp0", Form::Product, AFTER_GRADIENT, FIRST),
    input("vjp_adv", Form::Product, AT_ADV, THIRD),
    input("slope_bound", Form::Logits, &[EMIT], THIRD),
    input("hvp", Form::Pixels, &[STEP, EMIT, OBSERVE], SECOND),
    input("direction", Form::Pixels, &[STEP, EMIT, PROBE, OBSERVE], SECOND),
    input("k", Form::Count, COUNTED, FIRST),
    input("steps", Form::Count, COUNTED_TO, FIRST),
    input("restart", Form::Count, REPEATED, FIRST),
    input("i", Form::ProbeIndex, &[PROBE, OBSERVE, COTANGENT], FIRST),
    input("broken", Form::Mask, &[STEP], FIRST),
    input("eps", Form::Number, ALL, FIRST),
    input("lo", Form::Number, ALL, FIRST),
    input("hi", Form::Number, ALL, FIRST),
    input("temperature", Form::Number, &[COTANGENT, OBSERVE, EMIT], THIRD),
    input("model_unit", Form::Pixels, &[INIT, STEP, OBSERVE, EMIT], THIRD),
    input("delta", Form::Pixels, &[REPLAY], THIRD),
    input("dx", Form::Pixels, &[REPLAY], THIRD),
    input("param", Form::AnyRank, OF_PARAMETERS, THIRD),
    input("dparam", Form::AnyRank, OF_PARAMETERS, THIRD),
    input("dparam_norm", Form::Number, OF_PARAMETERS, THIRD),
    input("rank", Form::Count, OF_PARAMETERS, THIRD),
    input("lr", Form::Number, OF_PARAMETERS, THIRD),
    input("noise_", Form::Draws, DRAWN, FIRST),
    input("shared_noise_", Form::Fixed, DRAWN, FIRST),
    input("arg_", Form::Argument, EVERY, FIRST),
    input("state_", Form::Leading, STATEFUL, FIRST),
    input("obs_", Form::Observation, &[EMIT], FIRST),
];

const BOTH: &[i32] = &[ATTACK, METRIC];
const LINKED: &[i32] = &[ATTACK, METRIC, TRAINER];

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
    output("ct", "", Form::Leading, COTANGENT, LINKED, FIRST),
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
    output("loss", "", Form::PerSample, ADVERSARY, &[TRAINER], THIRD),
    output("cost", "", Form::PerSample, COST, &[TRAINER], THIRD),
    output("log_", "", Form::PerSample, COST, &[TRAINER], THIRD),
    output("delta_next", "", Form::Pixels, REPLAY, &[TRAINER], THIRD),
    output("param_next", "", Form::AnyRank, UPDATE, &[OPTIMIZER], THIRD),
    output("state_", "_next", Form::AnyRank, UPDATE, &[OPTIMIZER], THIRD),
    output("param_perturbed", "", Form::AnyRank, PERTURB, &[TRAINER, OPTIMIZER], THIRD),
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
