//! Half precision in files: `float16` and `bfloat16` are read as `float`, which holds every one of their numbers. What was widened is
//! counted, so that a reader can say so. Nothing is rounded to half precision afterwards, unless that is asked for: then every
//! result of an operator that computes in it is.

use std::collections::HashMap;

use crate::ir::{Attribute, Attributes, Node, ValueId};

/// A stored element type of 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// IEEE 754 binary16.
    Float16,
    /// The upper half of a float.
    Bfloat16,
}

impl Half {
    /// The type behind the number of `TensorProto.DataType`.
    pub(super) fn of_code(code: i64) -> Option<Half> {
        match code {
            10 => Some(Half::Float16),
            16 => Some(Half::Bfloat16),
            _ => None,
        }
    }

    /// The number that these bits stand for.
    pub(super) fn widen(self, bits: u16) -> f32 {
        match self {
            Half::Bfloat16 => f32::from_bits(u32::from(bits) << 16),
            Half::Float16 => {
                let sign = u32::from(bits >> 15) << 31;
                let (exponent, fraction) = (u32::from(bits >> 10) & 0x1f, u32::from(bits) & 0x3ff);
                let magnitude = match exponent {
                    // fraction · 2⁻²⁴, exact in float
                    0 => (fraction as f32 * (-24f32).exp2()).to_bits(),
                    0x1f => 0x7f80_0000 | fraction << 13,
                    _ => ((exponent + 112) << 23) | (fraction << 13),
                };
                f32::from_bits(sign | magnitude)
            }
        }
    }
}

impl Half {
    /// x rounded to the nearest number of half precision, ties to even, in operators of float: `push` takes an operator and its
    /// operands and gives the result.
    ///
    /// With p bits of precision and c = 2^(24−p) + 1, cx − (cx − x) is x rounded to p bits (Dekker 1971, doi:10.1007/BF01397083,
    /// section 4). Below 2^-14, the numbers of float16 are multiples of 2^-24, the spacing of float at 3/4. From 65520 on they
    /// are infinite. bfloat16 has the range of float; its numbers from 1e33 on are left as they are.
    pub(super) fn round(self, x: ValueId, push: &mut dyn FnMut(&'static str, &[Operand]) -> ValueId) -> ValueId {
        use Operand::{Number as N, Value as V};
        let factor = self.factor();
        let scaled = push("Mul", &[V(x), N(factor)]);
        let rest = push("Sub", &[V(scaled), V(x)]);
        let normal = push("Sub", &[V(scaled), V(rest)]);
        let size = push("Abs", &[V(x)]);
        match self {
            Half::Float16 => {
                let shifted = push("Add", &[V(x), N(0.75)]);
                let small = push("Sub", &[V(shifted), N(0.75)]);
                let is_small = push("Less", &[V(size), N(6.103_515_6e-5)]);
                let finite = push("Where", &[V(is_small), V(small), V(normal)]);
                let is_finite = push("Less", &[V(size), N(65520.0)]);
                let beyond = push("Mul", &[V(x), N(3e38)]);
                push("Where", &[V(is_finite), V(finite), V(beyond)])
            }
            Half::Bfloat16 => {
                // cx overflows before x does
                let fits = push("Less", &[V(size), N(1e33)]);
                push("Where", &[V(fits), V(normal), V(x)])
            }
        }
    }
}

impl Half {
    /// 2^(24−p) + 1 for p bits of precision.
    fn factor(self) -> f32 {
        match self {
            Half::Float16 => 8193.0,
            Half::Bfloat16 => 65537.0,
        }
    }

    /// x rounded to the nearest number of half precision, as [`Half::round`] does it.
    pub(super) fn nearest(self, x: f32) -> f32 {
        let scaled = self.factor() * x;
        let normal = scaled - (scaled - x);
        match (self, x.abs()) {
            (Half::Float16, size) if size < 6.103_515_6e-5 => (x + 0.75) - 0.75,
            (Half::Float16, size) if size < 65520.0 => normal,
            (Half::Float16, _) => x * 3e38,
            (Half::Bfloat16, size) if size < 1e33 => normal,
            (Half::Bfloat16, _) => x,
        }
    }
}

/// An operand of an operator: a value of the graph, or a number.
#[derive(Clone, Copy)]
pub(super) enum Operand {
    Value(ValueId),
    Number(f32),
}

/// Which values of a graph are of half precision in the file.
#[derive(Default)]
pub(super) struct Rounding {
    pub(super) halves: HashMap<ValueId, Half>,
}

impl Rounding {
    /// The half precision of what a node gives: the one that it names, else that of its operands.
    pub(super) fn of(&self, node: &Node, named: Option<Named>) -> Option<Half> {
        let of = |place: usize| node.inputs.get(place).copied().flatten().and_then(|id| self.halves.get(&id).copied());
        match (&*node.op, named) {
            (_, Some(Named(half))) => half,
            (op, None) if NUMBERS_OF_OTHER_TYPES.contains(&op) => None,
            ("CastLike" | "DequantizeLinear", None) => of(1),
            _ => (0..node.inputs.len()).find_map(of),
        }
    }
}

/// The element type that a node names for its result: half precision, or another one.
#[derive(Clone, Copy)]
pub(super) struct Named(Option<Half>);

/// See [`Named`]; `stored` is that of a tensor among its attributes.
pub(super) fn named(attributes: &Attributes, stored: Option<Half>) -> Option<Named> {
    let code = ["to", "dtype", "output_dtype"].iter().find_map(|name| match attributes.get(name) {
        Some(Attribute::Int(code)) if *code != 0 => Some(Named(Half::of_code(*code))),
        _ => None,
    });
    code.or(stored.map(|half| Named(Some(half))))
}

/// Operators whose result is not a float, whatever they read.
const NUMBERS_OF_OTHER_TYPES: &[&str] = &[
    "Shape",
    "Size",
    "ArgMax",
    "ArgMin",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Equal",
    "IsNaN",
    "IsInf",
    "NonZero",
    "QuantizeLinear",
    "DynamicQuantizeLinear",
    "NonMaxSuppression",
    "Multinomial",
];

/// Operators whose further results are indices, masks or statistics.
pub(super) fn is_first_only(op: &str) -> bool {
    matches!(op, "MaxPool" | "TopK" | "Dropout" | "Unique" | "BatchNormalization" | "LayerNormalization")
}

/// Operators that move, choose or compare numbers and compute none: of half precision they give half precision.
pub(super) fn is_exact(op: &str) -> bool {
    const EXACT: &[&str] = &[
        "Abs",
        "Concat",
        "Constant",
        "Dropout",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Max",
        "MaxPool",
        "Min",
        "Neg",
        "Pad",
        "Relu",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Tile",
        "TopK",
        "Transpose",
        "Unsqueeze",
        "Where",
        "DepthToSpace",
        "SpaceToDepth",
        "GlobalMaxPool",
        "ReduceMax",
        "ReduceMin",
        "Sign",
    ];
    EXACT.contains(&op)
}

/// What was widened while a file was read.
#[derive(Debug, Default)]
pub(super) struct Widened {
    /// Initializers and constants.
    pub(super) tensors: usize,
    /// Nodes that cast to half precision.
    pub(super) casts: usize,
    /// Inputs and outputs.
    pub(super) ports: usize,
}

impl Widened {
    /// Attributes that name an element type name `float` instead of one of half precision.
    pub(super) fn attributes(&mut self, attributes: &mut Attributes) {
        for name in ["to", "dtype", "output_dtype", "stash_type"] {
            if let Some(Attribute::Int(code)) = attributes.get(name)
                && Half::of_code(*code).is_some()
            {
                attributes.0.insert(name.to_owned(), Attribute::Int(1));
                self.casts += usize::from(name == "to");
            }
        }
    }

    /// A sentence, if anything was widened.
    pub(super) fn note(&self) -> Option<String> {
        let counts = [(self.tensors, "tensor"), (self.casts, "cast"), (self.ports, "input or output")];
        let plural = |n: usize, what: &str| match (n, what) {
            (1, what) => format!("1 {what}"),
            (n, "input or output") => format!("{n} inputs and outputs"),
            (n, what) => format!("{n} {what}s"),
        };
        let found: Vec<String> = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| plural(*n, what)).collect();
        let what = "in half precision (float16 or bfloat16) were widened to float32, in which gradients are computed";
        (!found.is_empty()).then(|| format!("{} {what}", found.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of IEEE 754 and of the truncated float, by their bits.
    #[test]
    fn every_kind_of_half_has_its_float() {
        let rows: [(Half, u16, f32); 12] = [
            (Half::Float16, 0x3c00, 1.0),
            (Half::Float16, 0xc000, -2.0),
            (Half::Float16, 0x7bff, 65504.0),
            (Half::Float16, 0x0400, 6.103_515_6e-5),
            (Half::Float16, 0x0001, 5.960_464_5e-8),
            (Half::Float16, 0x83ff, -6.097_555e-5),
            (Half::Float16, 0x3555, 0.333_251_95),
            (Half::Float16, 0x7c00, f32::INFINITY),
            (Half::Float16, 0x8000, -0.0),
            (Half::Bfloat16, 0x3f80, 1.0),
            (Half::Bfloat16, 0xc049, -3.140_625),
            (Half::Bfloat16, 0xff80, f32::NEG_INFINITY),
        ];
        for (half, bits, value) in rows {
            assert_eq!(half.widen(bits).to_bits(), value.to_bits(), "{half:?} {bits:#06x}");
        }
        assert!(Half::Float16.widen(0x7e00).is_nan() && Half::Bfloat16.widen(0x7fc0).is_nan());
    }

    /// What the operators of [`Half::round`] give, computed in float.
    fn rounded(half: Half, x: f32) -> f32 {
        let mut graph = crate::ir::Graph::new("half");
        let mut values: HashMap<ValueId, f32> = HashMap::new();
        let mut add = |values: &mut HashMap<ValueId, f32>, v: f32| {
            let id = graph.add_constant("v", crate::tensor::Tensor::scalar(v));
            values.insert(id, v);
            id
        };
        let first = add(&mut values, x);
        let last = half.round(first, &mut |op, operands| {
            let of = |place: usize| match operands[place] {
                Operand::Value(id) => values[&id],
                Operand::Number(v) => v,
            };
            let v = match op {
                "Mul" => of(0) * of(1),
                "Add" => of(0) + of(1),
                "Sub" => of(0) - of(1),
                "Abs" => of(0).abs(),
                "Less" => f32::from(u8::from(of(0) < of(1))),
                "Where" => {
                    if of(0) == 1.0 {
                        of(1)
                    } else {
                        of(2)
                    }
                }
                other => panic!("{other} is not computed here"),
            };
            add(&mut values, v)
        });
        let direct = half.nearest(x);
        assert!(values[&last] == direct || direct.is_nan() && values[&last].is_nan(), "{half:?} {x}");
        values[&last]
    }

    /// Every number of half precision is itself; what lies between two is the nearer one, in the middle the even one.
    #[test]
    fn rounding_to_half_precision_gives_the_nearest() {
        for half in [Half::Float16, Half::Bfloat16] {
            let last = if half == Half::Float16 { 0x7c00 } else { 0x7f80 };
            for bits in 0..last - 1 {
                let (low, high) = (half.widen(bits), half.widen(bits + 1));
                assert_eq!(rounded(half, low), low, "{half:?} {bits:#06x}");
                assert_eq!(rounded(half, -low), -low, "{half:?} {bits:#06x}");
                let even = if bits % 2 == 0 { low } else { high };
                let middle = ((f64::from(low) + f64::from(high)) / 2.0) as f32;
                // subnormal floats have no middle; beyond 1e33 nothing is rounded
                if half == Half::Float16 || (f32::MIN_POSITIVE..9e32).contains(&low) {
                    assert_eq!(rounded(half, middle), even, "{half:?} {bits:#06x}");
                    assert_eq!(rounded(half, middle.next_down()), low, "{half:?} {bits:#06x}");
                    assert_eq!(rounded(half, middle.next_up()), high, "{half:?} {bits:#06x}");
                }
            }
            for odd in [f32::INFINITY, f32::NEG_INFINITY] {
                assert_eq!(rounded(half, odd), odd);
            }
            assert!(rounded(half, f32::NAN).is_nan());
        }
        // beyond the largest number of float16 lies infinity, from the middle on
        for (x, y) in [(65504.0, 65504.0), (65519.996, 65504.0), (65520.0, f32::INFINITY), (-1e30, f32::NEG_INFINITY)] {
            assert_eq!(rounded(Half::Float16, x), y, "{x}");
        }
    }
}
