//! What an engine cannot do, and why. A case that is listed here and works fails the tests, so the list stays true.

use flatscape_graph::Graph;

use super::case::Precision;

struct Exception {
    engine: &'static str,
    precisions: &'static [Precision],
    cases: &'static [&'static str],
    reason: &'static str,
}

const BOTH: &[Precision] = &[Precision::Double, Precision::Single];
const DOUBLE: &[Precision] = &[Precision::Double];
const SINGLE: &[Precision] = &[Precision::Single];

/// Cases of `tests/rules` by name, those of `tests/golden/autograd` as `golden/<name>`.
const EXCEPTIONS: &[Exception] = &[
    Exception {
        engine: "tract",
        precisions: DOUBLE,
        cases: &[
            "gru",
            "gru_linear_before_reset",
            "lstm",
            "lstm_peepholes",
            "sigmoid",
            "softplus",
            "mish",
            "golden/sigmoid",
            "golden/silu",
            "golden/softplus",
            "golden/residual_block",
        ],
        reason: "Sigmoid has no float64 kernel",
    },
    Exception {
        engine: "tract",
        precisions: DOUBLE,
        cases: &["erf", "golden/erf", "golden/gelu_as_erf"],
        reason: "Erf has no float64 kernel",
    },
    Exception {
        engine: "tract",
        precisions: DOUBLE,
        cases: &["hard_swish", "dead_hard_swish", "golden/hard_swish_at_bounds"],
        reason: "HardSwish has no float64 kernel",
    },
    Exception {
        engine: "tract",
        precisions: DOUBLE,
        cases: &["leakyrelu", "dead_leaky_relu", "golden/leaky_relu_at_zero"],
        reason: "LeakyRelu has no float64 kernel",
    },
    Exception { engine: "tract", precisions: DOUBLE, cases: &["selu"], reason: "the constants of Selu are single precision" },
    Exception {
        engine: "tract",
        precisions: DOUBLE,
        cases: &[
            "layer_normalization",
            "layer_normalization_two_axes",
            "instance_normalization",
            "batch_normalization_training",
            "golden/layer_normalization_last_axis",
            "golden/layer_normalization_two_axes",
            "golden/instance_normalization",
        ],
        reason: "normalizations are computed in single precision",
    },
    Exception {
        engine: "tract",
        precisions: DOUBLE,
        cases: &[
            "gemm_00",
            "gemm_01",
            "gemm_10",
            "gemm_11",
            "golden/gemm_bias_column",
            "golden/gemm_bias_full",
            "golden/gemm_bias_one",
            "golden/gemm_bias_row",
            "golden/gemm_bias_scalar",
            "golden/gemm_trans_00",
            "golden/gemm_trans_01",
            "golden/gemm_trans_10",
            "golden/gemm_trans_11",
        ],
        reason: "Gemm multiplies a double bias by a float beta",
    },
    Exception {
        engine: "tract",
        precisions: BOTH,
        cases: &["pad_value", "pad_axes"],
        reason: "the value of a Pad must be a constant",
    },
    Exception {
        engine: "tract",
        precisions: BOTH,
        cases: &["pad_negative", "golden/pad_negative"],
        reason: "Pad does not take negative amounts",
    },
    Exception {
        engine: "tract",
        precisions: BOTH,
        cases: &["slice_reverse_step", "golden/slice_step_minus_2", "golden/slice_step_minus_2_bounded"],
        reason: "a Slice with a step is pulled over a Reshape in a way that does not check",
    },
    Exception {
        engine: "tract",
        precisions: BOTH,
        cases: &["conv_transpose_output_shape"],
        reason: "ConvTranspose with output_shape puts the odd element of padding on the other side",
    },
    Exception {
        engine: "tract",
        precisions: SINGLE,
        cases: &["average_pool_pads_counted", "golden/average_pool_2x2"],
        reason: "ConvTranspose of one channel with a kernel of equal elements is fused in a way that does not check",
    },
    Exception {
        engine: "tract",
        precisions: BOTH,
        cases: &["golden/logsoftmax_huge_gap", "golden/reducelogsumexp_large"],
        reason: "LogSoftmax and ReduceLogSumExp overflow",
    },
    Exception {
        engine: "tract",
        precisions: DOUBLE,
        cases: &["gelu", "golden/gelu", "swish", "golden/swish", "golden/mish"],
        reason: "Erf and Sigmoid have no float64 kernel",
    },
    Exception {
        engine: "tract",
        precisions: DOUBLE,
        cases: &[
            "grid_sample_nearest",
            "golden/grid_sample_nearest_zeros",
            "golden/grid_sample_nearest_border_aligned",
            "golden/grid_sample_nearest_reflection",
        ],
        reason: "Round has no float64 kernel",
    },
    Exception {
        engine: "tract",
        precisions: DOUBLE,
        cases: &[
            "group_normalization",
            "group_normalization_by_group",
            "layer_normalization_statistics",
            "mean_variance_normalization",
            "mean_variance_normalization_axes",
            "rms_normalization",
            "golden/batch_normalization_training",
            "golden/group_normalization",
            "golden/rms_normalization",
        ],
        reason: "normalizations are computed in single precision, also those that are written out",
    },
    Exception {
        engine: "tract",
        precisions: BOTH,
        cases: &["celu", "golden/celu"],
        reason: "Celu takes exp(x) for exp(x/alpha)",
    },
    Exception {
        engine: "tract",
        precisions: BOTH,
        cases: &["compress", "golden/compress", "golden/compress_flat"],
        reason: "Compress is not implemented",
    },
    Exception {
        engine: "tract",
        precisions: BOTH,
        cases: &["reverse_sequence", "golden/reverse_sequence"],
        reason: "ReverseSequence is not implemented",
    },
    Exception {
        engine: "tract",
        precisions: BOTH,
        cases: &["one_hot_values", "golden/one_hot_values"],
        reason: "the values of OneHot must be constants",
    },
    Exception {
        engine: "tract",
        precisions: BOTH,
        cases: &[
            "einsum_diagonal",
            "einsum_ellipsis_one_side",
            "golden/einsum_diagonal_beside",
            "golden/einsum_diagonal_of_product",
            "golden/einsum_ellipsis_one_side",
        ],
        reason: "Einsum goes wrong on diagonals and ellipses",
    },
    Exception {
        engine: "tract",
        precisions: BOTH,
        cases: &["golden/pad_computed", "golden/pad_reflect_computed", "golden/slice_computed", "golden/tile_computed"],
        reason: "amounts must be constants",
    },
    Exception {
        engine: "tract",
        precisions: BOTH,
        cases: &[
            "golden/scatter_elements_max",
            "golden/scatter_elements_min",
            "golden/scatter_elements_mul",
            "golden/scatter_nd_max",
            "golden/scatter_nd_min",
            "golden/scatter_nd_mul",
        ],
        reason: "the gradient of a scatter that multiplies or compares stops at a step of its own",
    },
    Exception {
        engine: "tract",
        precisions: BOTH,
        cases: &["lp_pool_1d"],
        reason: "a step of its own stands where an operator was, or one is not implemented",
    },
    Exception {
        engine: "tract",
        precisions: SINGLE,
        cases: &["golden/lp_pool_1"],
        reason: "a step of its own stands where an operator was; in double precision it is a matrix product",
    },
    Exception {
        engine: "tract",
        precisions: SINGLE,
        cases: &[
            "col2im",
            "det",
            "lp_normalization_2",
            "max_unpool",
            "negative_log_likelihood",
            "golden/col2im",
            "golden/col2im_channels",
            "golden/det_2",
            "golden/det_3",
            "golden/lp_normalization_2",
            "golden/max_unpool",
        ],
        reason: "the operator is not implemented; in double precision it is written out",
    },
    Exception {
        engine: "tract",
        precisions: SINGLE,
        cases: &["golden/grid_sample_bicubic_border_aligned"],
        reason: "GridSample clamps the place where it should clamp the pixels around it",
    },
    Exception { engine: "tract", precisions: SINGLE, cases: &["golden/quantize_scale"], reason: "the scale must be a constant" },
    Exception {
        engine: "ort",
        precisions: DOUBLE,
        cases: &["shrink", "dead_shrink"],
        reason: "Shrink of doubles is computed in single precision",
    },
    Exception {
        engine: "ort",
        precisions: DOUBLE,
        cases: &["layer_normalization_statistics"],
        reason: "the statistics of LayerNormalization are single precision",
    },
];

/// Operators for which ONNX Runtime has no double kernels on the CPU.
const ORT_SINGLE_ONLY: &[&str] = &[
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "AveragePool",
    "Celu",
    "Conv",
    "ConvTranspose",
    "Cosh",
    "Erf",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "InstanceNormalization",
    "Mean",
    "OneHot",
    "Sinh",
    "Tan",
];

/// Why this engine cannot do a case, if it is known that it cannot.
pub fn reason(engine: &str, precision: Precision, case: &str, graph: &Graph) -> Option<String> {
    let listed = |e: &&Exception| e.engine == engine && e.precisions.contains(&precision) && e.cases.contains(&case);
    if let Some(exception) = EXCEPTIONS.iter().find(listed) {
        return Some(exception.reason.to_owned());
    }
    let lacks = |op: &str| engine == "ort" && precision == Precision::Double && ORT_SINGLE_ONLY.contains(&op);
    graph.nodes().iter().find(|n| lacks(&n.op)).map(|n| format!("{} has no float64 kernel", n.op))
}

/// Enters what happened in the list of failures, unless it was expected.
pub fn settle(failures: &mut Vec<String>, what: &str, outcome: Result<(), String>, expected: Option<String>) -> bool {
    match (outcome, expected) {
        (Ok(()), None) => return true,
        (Ok(()), Some(reason)) => failures.push(format!("{what}: works, and is listed as not working: {reason}")),
        (Err(_), Some(reason)) => eprintln!("SKIPPED {what}: {reason}"),
        (Err(why), None) => failures.push(format!("{what}: {why}")),
    }
    false
}
