//! Which attributes the operators of the standard domain have, and what they may hold: a table. What is not in it is refused before an
//! engine sees it.

use crate::ir::{Attribute, Graph, Node};
use crate::name::shown;

/// What an attribute may hold.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Int,
    /// 0 or 1.
    Flag,
    /// An integer above 0.
    Positive,
    Float,
    Text,
    OneOf(&'static [&'static str]),
    Ints,
    /// Integers above 0.
    Positives,
    Any,
}

const AUTO_PAD: Kind = Kind::OneOf(&["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]);
const REDUCED: &[(&str, Kind)] = &[("axes", Kind::Ints), ("keepdims", Kind::Flag), ("noop_with_empty_axes", Kind::Flag)];
const ARITHMETIC: &[(&str, Kind)] = &[("axis", Kind::Int), ("broadcast", Kind::Flag)];

/// The attributes of an operator.
type Row = (&'static str, &'static [(&'static str, Kind)]);

/// Operators with attributes, those of older opsets included. An operator that is not here has none; `Constant` is not checked.
#[rustfmt::skip]
const ATTRIBUTES: &[Row] = &[
    ("Concat", &[("axis", Kind::Int)]),
    ("Gather", &[("axis", Kind::Int)]),
    ("GatherElements", &[("axis", Kind::Int)]),
    ("GatherND", &[("batch_dims", Kind::Int)]),
    ("ScatterElements", &[("axis", Kind::Int), ("reduction", Kind::OneOf(&["none", "add", "mul", "max", "min"]))]),
    ("ScatterND", &[("reduction", Kind::OneOf(&["none", "add", "mul", "max", "min"]))]),
    ("OneHot", &[("axis", Kind::Int)]),
    ("Compress", &[("axis", Kind::Int)]),
    ("ArgMax", &[("axis", Kind::Int), ("keepdims", Kind::Flag), ("select_last_index", Kind::Flag)]),
    ("ArgMin", &[("axis", Kind::Int), ("keepdims", Kind::Flag), ("select_last_index", Kind::Flag)]),
    ("ReduceSum", REDUCED),
    ("ReduceMean", REDUCED),
    ("ReduceMax", REDUCED),
    ("ReduceMin", REDUCED),
    ("ReduceProd", REDUCED),
    ("ReduceL1", REDUCED),
    ("ReduceL2", REDUCED),
    ("ReduceLogSum", REDUCED),
    ("ReduceLogSumExp", REDUCED),
    ("ReduceSumSquare", REDUCED),
    ("LeakyRelu", &[("alpha", Kind::Float)]),
    ("ThresholdedRelu", &[("alpha", Kind::Float)]),
    ("Elu", &[("alpha", Kind::Float)]),
    ("Selu", &[("alpha", Kind::Float), ("gamma", Kind::Float)]),
    ("Celu", &[("alpha", Kind::Float)]),
    ("HardSigmoid", &[("alpha", Kind::Float), ("beta", Kind::Float)]),
    ("Shrink", &[("bias", Kind::Float), ("lambd", Kind::Float)]),
    ("Clip", &[("min", Kind::Float), ("max", Kind::Float)]),
    ("Softmax", &[("axis", Kind::Int)]),
    ("LogSoftmax", &[("axis", Kind::Int)]),
    ("Hardmax", &[("axis", Kind::Int)]),
    ("Dropout", &[("ratio", Kind::Float), ("seed", Kind::Int), ("is_test", Kind::Flag)]),
    ("Mod", &[("fmod", Kind::Flag)]),
    ("BitShift", &[("direction", Kind::OneOf(&["LEFT", "RIGHT"]))]),
    ("IsInf", &[("detect_negative", Kind::Flag), ("detect_positive", Kind::Flag)]),
    ("Cast", &[("to", Kind::Int), ("saturate", Kind::Flag), ("round_mode", Kind::OneOf(&["up", "down", "nearest"]))]),
    ("CastLike", &[("saturate", Kind::Flag), ("round_mode", Kind::OneOf(&["up", "down", "nearest"]))]),
    ("QuantizeLinear", &[("axis", Kind::Int), ("saturate", Kind::Flag), ("block_size", Kind::Int), ("output_dtype", Kind::Int), ("precision", Kind::Int)]),
    ("DequantizeLinear", &[("axis", Kind::Int), ("block_size", Kind::Int), ("output_dtype", Kind::Int)]),
    ("ConvInteger", &[("auto_pad", AUTO_PAD), ("dilations", Kind::Positives), ("group", Kind::Positive), ("kernel_shape", Kind::Positives), ("pads", Kind::Ints), ("strides", Kind::Positives)]),
    ("QLinearConv", &[("auto_pad", AUTO_PAD), ("dilations", Kind::Positives), ("group", Kind::Positive), ("kernel_shape", Kind::Positives), ("pads", Kind::Ints), ("strides", Kind::Positives)]),
    ("Conv", &[("auto_pad", AUTO_PAD), ("dilations", Kind::Positives), ("group", Kind::Positive), ("kernel_shape", Kind::Positives), ("pads", Kind::Ints), ("strides", Kind::Positives)]),
    ("ConvTranspose", &[("auto_pad", AUTO_PAD), ("dilations", Kind::Positives), ("group", Kind::Positive), ("kernel_shape", Kind::Positives), ("pads", Kind::Ints), ("strides", Kind::Positives), ("output_padding", Kind::Ints), ("output_shape", Kind::Ints)]),
    ("MaxPool", &[("auto_pad", AUTO_PAD), ("ceil_mode", Kind::Flag), ("dilations", Kind::Positives), ("kernel_shape", Kind::Positives), ("pads", Kind::Ints), ("storage_order", Kind::Flag), ("strides", Kind::Positives)]),
    ("AveragePool", &[("auto_pad", AUTO_PAD), ("ceil_mode", Kind::Flag), ("count_include_pad", Kind::Flag), ("dilations", Kind::Positives), ("kernel_shape", Kind::Positives), ("pads", Kind::Ints), ("strides", Kind::Positives)]),
    ("LpPool", &[("auto_pad", AUTO_PAD), ("ceil_mode", Kind::Flag), ("dilations", Kind::Positives), ("kernel_shape", Kind::Positives), ("p", Kind::Int), ("pads", Kind::Ints), ("strides", Kind::Positives)]),
    ("GlobalLpPool", &[("p", Kind::Int)]),
    ("MaxUnpool", &[("kernel_shape", Kind::Positives), ("pads", Kind::Ints), ("strides", Kind::Positives)]),
    ("Gemm", &[("alpha", Kind::Float), ("beta", Kind::Float), ("transA", Kind::Flag), ("transB", Kind::Flag), ("broadcast", Kind::Flag)]),
    ("Einsum", &[("equation", Kind::Text)]),
    ("BatchNormalization", &[("epsilon", Kind::Float), ("momentum", Kind::Float), ("spatial", Kind::Flag), ("training_mode", Kind::Flag), ("is_test", Kind::Flag)]),
    ("InstanceNormalization", &[("epsilon", Kind::Float)]),
    ("LayerNormalization", &[("axis", Kind::Int), ("epsilon", Kind::Float), ("stash_type", Kind::Int)]),
    ("GroupNormalization", &[("epsilon", Kind::Float), ("num_groups", Kind::Positive), ("stash_type", Kind::Int)]),
    ("LRN", &[("alpha", Kind::Float), ("beta", Kind::Float), ("bias", Kind::Float), ("size", Kind::Positive)]),
    ("LpNormalization", &[("axis", Kind::Int), ("p", Kind::Int)]),
    ("MeanVarianceNormalization", &[("axes", Kind::Ints)]),
    ("SoftmaxCrossEntropyLoss", &[("ignore_index", Kind::Int), ("reduction", Kind::OneOf(&["none", "sum", "mean"]))]),
    ("NegativeLogLikelihoodLoss", &[("ignore_index", Kind::Int), ("reduction", Kind::OneOf(&["none", "sum", "mean"]))]),
    ("Reshape", &[("allowzero", Kind::Flag)]),
    ("Flatten", &[("axis", Kind::Int)]),
    ("Squeeze", &[("axes", Kind::Ints)]),
    ("Unsqueeze", &[("axes", Kind::Ints)]),
    ("Transpose", &[("perm", Kind::Ints)]),
    ("Split", &[("axis", Kind::Int), ("num_outputs", Kind::Positive), ("split", Kind::Ints)]),
    ("Slice", &[("axes", Kind::Ints), ("starts", Kind::Ints), ("ends", Kind::Ints)]),
    ("Pad", &[("mode", Kind::OneOf(&["constant", "reflect", "edge", "wrap"])), ("pads", Kind::Ints), ("value", Kind::Float)]),
    ("Trilu", &[("upper", Kind::Flag)]),
    ("CumSum", &[("exclusive", Kind::Flag), ("reverse", Kind::Flag)]),
    ("TopK", &[("axis", Kind::Int), ("largest", Kind::Flag), ("sorted", Kind::Flag), ("k", Kind::Int)]),
    ("DepthToSpace", &[("blocksize", Kind::Positive), ("mode", Kind::OneOf(&["DCR", "CRD"]))]),
    ("SpaceToDepth", &[("blocksize", Kind::Positive)]),
    ("Col2Im", &[("dilations", Kind::Positives), ("pads", Kind::Ints), ("strides", Kind::Positives)]),
    ("ReverseSequence", &[("batch_axis", Kind::Int), ("time_axis", Kind::Int)]),
    ("Resize", &[("antialias", Kind::Flag), ("axes", Kind::Ints), ("coordinate_transformation_mode", Kind::Text), ("cubic_coeff_a", Kind::Float), ("exclude_outside", Kind::Flag), ("extrapolation_value", Kind::Float), ("keep_aspect_ratio_policy", Kind::OneOf(&["stretch", "not_larger", "not_smaller"])), ("mode", Kind::OneOf(&["nearest", "linear", "cubic"])), ("nearest_mode", Kind::Text)]),
    ("GridSample", &[("align_corners", Kind::Flag), ("mode", Kind::OneOf(&["bilinear", "nearest", "bicubic", "linear", "cubic"])), ("padding_mode", Kind::OneOf(&["zeros", "border", "reflection"]))]),
    ("Shape", &[("start", Kind::Int), ("end", Kind::Int)]),
    ("ConstantOfShape", &[("value", Kind::Any)]),
    ("EyeLike", &[("dtype", Kind::Int), ("k", Kind::Int)]),
    ("RandomNormal", &[("dtype", Kind::Int), ("mean", Kind::Float), ("scale", Kind::Float), ("seed", Kind::Float), ("shape", Kind::Ints)]),
    ("RandomUniform", &[("dtype", Kind::Int), ("high", Kind::Float), ("low", Kind::Float), ("seed", Kind::Float), ("shape", Kind::Ints)]),
    ("RandomNormalLike", &[("dtype", Kind::Int), ("mean", Kind::Float), ("scale", Kind::Float), ("seed", Kind::Float)]),
    ("RandomUniformLike", &[("dtype", Kind::Int), ("high", Kind::Float), ("low", Kind::Float), ("seed", Kind::Float)]),
    ("Bernoulli", &[("dtype", Kind::Int), ("seed", Kind::Float)]),
    ("Multinomial", &[("dtype", Kind::Int), ("sample_size", Kind::Positive), ("seed", Kind::Float)]),
    ("MelWeightMatrix", &[("output_datatype", Kind::Int)]),
    ("Add", ARITHMETIC),
    ("Sub", ARITHMETIC),
    ("Mul", ARITHMETIC),
    ("Div", ARITHMETIC),
    ("Pow", ARITHMETIC),
];

impl Kind {
    /// Why a value is none of this kind: a clause.
    fn refuses(self, value: &Attribute) -> Option<String> {
        let not = |what: &str| Some(format!("is not {what}"));
        match (self, value) {
            (Kind::Any, _)
            | (Kind::Int, Attribute::Int(_))
            | (Kind::Text, Attribute::String(_))
            | (Kind::Ints, Attribute::Ints(_)) => None,
            (Kind::Float, Attribute::Float(v)) if !v.is_nan() => None,
            (Kind::Flag, Attribute::Int(0 | 1)) => None,
            (Kind::Positive, Attribute::Int(1..)) => None,
            (Kind::Positives, Attribute::Ints(list)) if list.iter().all(|&v| v > 0) => None,
            (Kind::OneOf(all), Attribute::String(word)) if all.contains(&word.as_str()) => None,
            (Kind::OneOf(all), Attribute::String(word)) => Some(format!("is {}; it may be {}", shown(word), all.join(", "))),
            (Kind::Flag, Attribute::Int(v)) => Some(format!("is {v}; it may be 0 or 1")),
            (Kind::Positive, Attribute::Int(v)) => Some(format!("is {v}; it must be above 0")),
            (Kind::Positives, Attribute::Ints(list)) => Some(format!("is {list:?}; its numbers must be above 0")),
            (Kind::Int | Kind::Flag | Kind::Positive, _) => not("an integer"),
            (Kind::Float, _) => not("a number"),
            (Kind::Text | Kind::OneOf(_), _) => not("a text"),
            (Kind::Ints | Kind::Positives, _) => not("a list of integers"),
        }
    }
}

/// A sentence about the first attribute that its operator does not have, or that holds what it may not.
pub fn foreign_attribute(graph: &Graph) -> Option<String> {
    graph.nodes().iter().filter(|n| n.domain.is_empty() && &*n.op != "Constant").find_map(wrong)
}

fn wrong(node: &Node) -> Option<String> {
    let known = ATTRIBUTES.iter().find(|(op, _)| *op == &*node.op).map_or(&[][..], |(_, known)| *known);
    node.attributes.0.iter().find_map(|(name, value)| match known.iter().find(|(n, _)| n == name) {
        None => Some(format!("{} has the attribute {}, which {} does not have", node.describe(), shown(name), shown(&node.op))),
        Some((_, kind)) => kind.refuses(value).map(|why| format!("the attribute {} of {} {why}", shown(name), node.describe())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::OPS;

    #[test]
    fn every_row_is_of_an_operator_of_the_table() {
        for (op, attributes) in ATTRIBUTES {
            assert!(OPS.iter().any(|row| row.name == *op), "{op}");
            assert!(!attributes.is_empty(), "{op}");
        }
    }

    #[test]
    fn values_are_held_to_their_kind() {
        let gemm = |name: &str, value: Attribute| Node {
            op: "Gemm".into(),
            domain: "".into(),
            name: "g".into(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            attributes: crate::ir::Attributes::none().with(name, value),
        };
        assert_eq!(wrong(&gemm("transB", Attribute::Int(1))), None);
        for (name, value, says) in [
            ("transB", Attribute::Int(7), "is 7; it may be 0 or 1"),
            ("transB", Attribute::Float(1.0), "is not an integer"),
            ("alpha", Attribute::Float(f32::NAN), "is not a number"),
            ("transC", Attribute::Int(1), "which \"Gemm\" does not have"),
        ] {
            let found = wrong(&gemm(name, value)).expect(says);
            assert!(found.contains(says), "{found}");
        }
    }
}
