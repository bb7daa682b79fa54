//! Mistakes of data movement: inverses, offsets, what is set and what is added.

use super::altered::{edited, reversed, right, rolled, set, with, written_with};
use super::{Mistake, wrong, wrong_each, wrongly_written};
use flatscape_graph::{Attribute, Attributes, Expr};

pub const MISTAKES: &[Mistake] = &[
    wrong("Reshape", 0, "one element too far", |n, ct| rolled(ct).reshape_like(n.x(0))),
    wrong("Transpose", 0, "the permutation for its inverse", |n, ct| {
        let rank = n.rank(0).expect("a known rank") as i64;
        ct.transpose(&n.ints("perm").unwrap_or_else(|| (0..rank).rev().collect()))
    }),
    wrong_each("Concat", "the parts are offset by one", |n, i, ct| right(n, i, rolled(ct))),
    wrong_each("Concat", "every operand takes the next one's part", |n, i, ct| right(n, (i + 1) % n.operands(), ct)),
    wrong("Split", 0, "the parts are put together in reversed order", |n, _| {
        let parts = (0..n.results()).rev().map(|k| n.ct(k).unwrap_or_else(|| n.zeros_like(n.y(k))));
        n.builder().concat(&parts.collect::<Vec<_>>(), n.int("axis", 0))
    }),
    wrong("Split", 0, "a part without a cotangent takes its neighbour's", |n, ct| {
        let parts = (0..n.results()).map(|k| n.ct(k).unwrap_or_else(|| n.zeros_like(n.y(k)) + ct.mean(&[-1], true)));
        n.builder().concat(&parts.collect::<Vec<_>>(), n.int("axis", 0))
    }),
    wrong("Slice", 0, "one element too far", |n, ct| rolled(right(n, 0, ct))),
    wrong("Slice", 0, "a reversed slice is not turned back", |n, ct| {
        let steps = n.constant_ints(4).ok().flatten().unwrap_or_default();
        let axes = n.constant_ints(3).ok().flatten().unwrap_or_else(|| (0..steps.len() as i64).collect());
        let turned = steps.iter().zip(axes).filter(|(step, _)| **step < 0);
        right(n, 0, turned.fold(ct, |ct, (_, axis)| reversed(ct, axis)))
    }),
    wrong("Pad", 0, "one element too far", |n, ct| right(n, 0, rolled(ct))),
    wrong("Pad", 0, "what lies on a mirrored border is lost", |n, ct| {
        let rank = n.rank(0).expect("a known rank");
        let (Ok(Some(pads)), Ok(dims)) = (n.constant_ints(1), n.dims(0)) else { return right(n, 0, ct) };
        if n.string("mode", "constant") == "constant" || pads.len() != 2 * rank || pads.iter().any(|&p| p < 0) {
            return right(n, 0, ct);
        }
        let ends: Vec<i64> = (0..rank).map(|a| pads[a] + dims[a].fixed().unwrap_or(1) as i64).collect();
        ct.slice(&pads[..rank], &ends, &(0..rank as i64).collect::<Vec<_>>(), &vec![1; rank])
    }),
    wrong("Pad", 2, "the value learns from the whole result", |n, ct| {
        let axes: Vec<i64> = (0..n.rank(0).expect("a known rank") as i64).collect();
        ct.sum(&axes, false).reshape_like(n.x(2))
    }),
    wrong("Expand", 0, "averaged over the copies", |n, ct| ct / n.elements_per(n.y(0), n.x(0))),
    wrong("Tile", 0, "averaged over the copies", |n, ct| right(n, 0, ct) / n.elements_per(n.y(0), n.x(0))),
    wrong("Tile", 0, "copies lie side by side, element by element", |n, ct| {
        let (Ok(Some(repeats)), Ok(dims)) = (n.constant_ints(1), n.dims(0)) else { return right(n, 0, ct) };
        let Some(extents) = dims.iter().map(|d| d.fixed()).collect::<Option<Vec<usize>>>() else { return right(n, 0, ct) };
        let split: Vec<i64> = extents.iter().zip(&repeats).flat_map(|(&d, &r)| [d as i64, r]).collect();
        let copies: Vec<i64> = (0..extents.len() as i64).map(|axis| 2 * axis + 1).collect();
        ct.reshape(&split).sum(&copies, false)
    }),
    wrong("Gather", 0, "what is read twice is set, not added", |n, ct| with(right(n, 0, ct), "ScatterND", "reduction", None)),
    wrong("Gather", 0, "a negative position is taken as one further on", |n, ct| {
        let positions = n.x(1);
        let one = positions.less(n.builder().ints(&[0])).cast(positions.dtype());
        edited(right(n, 0, ct), "ScatterND", &|b, node| {
            let indices = b.expr(node.inputs[1].expect("indices"));
            node.inputs[1] = Some((indices - one.cast(indices.dtype()).reshape_like(indices)).id);
        })
    }),
    wrong("Gather", 0, "one element too far", |n, ct| rolled(right(n, 0, ct))),
    wrong("GatherElements", 0, "what is read twice is set, not added", |n, ct| {
        with(right(n, 0, ct), "ScatterElements", "reduction", None)
    }),
    wrong("GatherElements", 0, "one element too far", |n, ct| rolled(right(n, 0, ct))),
    wrong("GatherND", 0, "what is read twice is set, not added", |n, ct| with(right(n, 0, ct), "ScatterND", "reduction", None)),
    wrong("GatherND", 0, "with a sign", |n, ct| -right(n, 0, ct)),
    wrong("ScatterElements", 0, "what was overwritten keeps its cotangent", |_, ct| ct),
    wrong("ScatterElements", 2, "along the first axis always", |n, ct| {
        with(right(n, 2, ct), "GatherElements", "axis", Some(0.into()))
    }),
    wrong("ScatterND", 0, "what was overwritten keeps its cotangent", |_, ct| ct),
    wrong("ScatterND", 2, "the updates take nothing", |n, _| n.zeros_like(n.x(2))),
    wrong("CumSum", 0, "not turned around", |n, ct| n.builder().op("CumSum", &[ct, n.x(1)], n.node().attributes.clone())),
    wrong("CumSum", 0, "exclusive is forgotten", |n, ct| with(right(n, 0, ct), "CumSum", "exclusive", None)),
    wrong("TopK", 0, "the positions of the smallest for those of the largest", |n, ct| {
        let largest = 1 - n.int("largest", 1);
        let attributes = n.node().attributes.clone().with("largest", largest);
        let positions = n.builder().ops("TopK", &[n.x(0), n.x(1)], 2, attributes)[1];
        scattered(n.zeros_like(n.x(0)), positions, ct, n.int("axis", -1))
    }),
    wrong("Trilu", 0, "the other triangle", |n, ct| {
        with(right(n, 0, ct), "Trilu", "upper", Some((1 - n.int("upper", 1)).into()))
    }),
    wrong("Trilu", 0, "the triangle is forgotten", |_, ct| ct),
    wrong("DepthToSpace", 0, "the mode is ignored", |n, ct| {
        n.builder().op("SpaceToDepth", &[ct], [("blocksize", n.int("blocksize", 1).into())])
    }),
    wrong("SpaceToDepth", 0, "in the other mode", |n, ct| {
        let attributes = Attributes::none().with("blocksize", n.int("blocksize", 1)).with("mode", "CRD");
        n.builder().op("DepthToSpace", &[ct], attributes)
    }),
    wrong("Squeeze", 0, "reversed", |n, ct| reversed(ct.reshape(&[-1]), 0).reshape_like(n.x(0))),
    wrong("Flatten", 0, "column by column", |n, ct| ct.transpose(&[1, 0]).reshape_like(n.x(0))),
    wrong("GatherND", 0, "the batch dimensions are forgotten", |n, ct| {
        right(&n.altered(|node| set(node, "batch_dims", None)), 0, ct)
    }),
    wrong("ScatterElements", 0, "as if updates were added", |n, ct| {
        right(&n.altered(|node| set(node, "reduction", Some("add".into()))), 0, ct)
    }),
    wrong("ScatterElements", 2, "as if updates were set", |n, ct| right(&n.altered(|node| set(node, "reduction", None)), 2, ct)),
    wrong("ReverseSequence", 0, "not reversed", |_, ct| ct),
    wrong("OneHot", 2, "on and off are exchanged", |n, ct| reversed(right(n, 2, ct), 0)),
    wrong("Compress", 0, "one element too far", |n, ct| rolled(right(n, 0, ct))),
    wrongly_written("Col2Im", "stride and dilation are exchanged", |n| {
        let (strides, dilations) = (n.ints("strides"), n.ints("dilations"));
        written_with(n, |node| {
            set(node, "strides", dilations.map(Attribute::Ints));
            set(node, "dilations", strides.map(Attribute::Ints));
        })
    }),
    wrongly_written("Col2Im", "the patches are one place off", |n| {
        let patches = rolled(n.x(0)).id;
        written_with(n, |node| node.inputs[0] = Some(patches))
    }),
];

fn scattered<'b>(zeros: Expr<'b>, positions: Expr<'b>, ct: Expr<'b>, axis: i64) -> Expr<'b> {
    zeros.builder().op("ScatterElements", &[zeros, positions, ct], [("axis", axis.into())])
}
