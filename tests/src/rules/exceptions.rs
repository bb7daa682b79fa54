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
        precisions: SINGLE,
        cases: &["average_pool_pads_counted", "golden/average_pool_2x2"],
        reason: "ConvTranspose of one channel with a kernel of equal elements is fused in a way that does not check",
    },
    Exception {
        engine: "tract",
        precisions: BOTH,
        cases: &["golden/compress", "golden/compress_flat"],
        reason: "the condition of Compress must be a constant",
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
