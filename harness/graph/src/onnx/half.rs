//! Half precision in files: `float16` and `bfloat16` are read as `float`, which holds every one of their numbers. Nothing is
//! rounded to half precision afterwards, and what was widened is counted, so that a reader can say so.

use crate::ir::{Attribute, Attributes};

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
        let what = "in half precision (float16 or bfloat16) are computed in float32, and nothing is rounded to half precision in between";
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
}
