//! Mistakes of quantisers: the scale, the range, the zero point.

use super::altered::right;
use super::{Mistake, wrong};

pub const MISTAKES: &[Mistake] = &[
    wrong("QuantizeLinear", 0, "the scale is forgotten", |n, ct| {
        right(n, 0, ct) * n.x(1).max(0.0).reshape(&[-1]).gather(n.builder().ints(&[0]), 0)
    }),
    wrong("QuantizeLinear", 0, "numbers outside the range pass as well", |n, ct| {
        let inside = right(n, 0, ct);
        let all = (ct / n.x(1).reshape(&[-1]).gather(n.builder().ints(&[0]), 0)).reshape_like(inside);
        all + inside * 0.0
    }),
    wrong("QuantizeLinear", 1, "the sign of the scale's", |n, ct| -right(n, 1, ct)),
    wrong("DequantizeLinear", 0, "the scale is forgotten", |_, ct| ct),
    wrong("DequantizeLinear", 1, "the zero point is forgotten", |n, ct| {
        (ct * n.x(0).cast(ct.dtype())).sum(&[0], false).reshape_like(n.x(1))
    }),
    wrong("DynamicQuantizeLinear", 0, "the scale is forgotten", |_, ct| ct),
];
