//! Element types made `float`: integer pixels as real numbers, so that there is something to differentiate, and `double` as
//! `float` for engines that lack the operator. Both change what is computed; who asks for them says so.

use std::collections::HashMap;

use crate::expr::Builder;
use crate::ir::{Attribute, Graph, Node, ValueId, ValueType};
use crate::ops;
use crate::simplify::simplify;
use crate::tensor::DType;

/// Operators through which integer pixels may go, and their operands that have the element type of the pixels.
const PASSED: &[(&str, &[usize])] = &[
    ("Identity", &[0]),
    ("Transpose", &[0]),
    ("Reshape", &[0]),
    ("Flatten", &[0]),
    ("Squeeze", &[0]),
    ("Unsqueeze", &[0]),
    ("Slice", &[0]),
    ("Split", &[0]),
    ("Gather", &[0]),
    ("Expand", &[0]),
    ("Tile", &[0]),
    ("DepthToSpace", &[0]),
    ("SpaceToDepth", &[0]),
    ("Pad", &[0, 2]),
    ("Clip", &[0, 1, 2]),
    ("Concat", &[0, 1, 2, 3]),
    ("Add", &[0, 1]),
    ("Sub", &[0, 1]),
    ("Mul", &[0, 1]),
    ("Max", &[0, 1]),
    ("Min", &[0, 1]),
];

/// The graph with a float input in place of an integer one. Casts of the pixels fall away, so every number that the graph gave
/// for whole pixels it still gives, up to rounding; between them it is the function that the casts hid.
///
/// # Errors
/// A clause that names the node in which the pixels must be integers.
pub fn float_input(graph: &Graph, input: ValueId) -> Result<Graph, String> {
    let shape = graph.value(input).ty.shape.clone();
    let freed = graph.with_input_type(input, ValueType { dtype: Some(DType::F32), shape });
    let mut refused = None;
    let new = freed.rewrite(|new, node, inputs| {
        // operands that were pixels and are floats now
        let is_pixel = |i: &usize| {
            let was = node.input(*i).and_then(|v| graph.dtype(v)).is_some_and(|d| !d.is_float());
            was && inputs[*i].and_then(|v| new.dtype(v)) == Some(DType::F32)
        };
        let pixels: Vec<usize> = (0..inputs.len()).filter(is_pixel).collect();
        if pixels.is_empty() || matches!(&*node.op, "Shape" | "Size") {
            return None;
        }
        let mut node = node.on(inputs.to_vec());
        match &*node.op {
            "Cast" if ops::dtype_of_code(node.attributes.int("to", 0)).is_some_and(|d| d != DType::Bool && !d.is_float()) => {
                return Some(vec![node.input(0)]);
            }
            "Cast" | "CastLike" => return None,
            "DequantizeLinear" => {
                if let Some(y) = dequantized(new, &node) {
                    return Some(vec![Some(y)]);
                }
            }
            _ => {}
        }
        let passes = |(op, alike): &&(&str, &[usize])| *op == &*node.op && pixels.iter().all(|i| alike.contains(i));
        let Some((_, alike)) = PASSED.iter().filter(|_| node.domain.is_empty()).find(passes) else {
            refused.get_or_insert_with(|| format!("its pixels go into {}, which works on integers", node.describe()));
            return None;
        };
        for &i in *alike {
            if let Some(tensor) = node.input(i).and_then(|v| new.constant(v)).cloned() {
                node.inputs[i] = Some(new.add_constant("constant", tensor.cast(DType::F32)));
            }
        }
        Some(new.copy_node(&freed, &node, node.inputs.clone()))
    });
    if let Some(why) = refused {
        return Err(why);
    }
    match new.problems().first() {
        Some(problem) => Err(format!("with float pixels {}", problem.what)),
        None => Ok(simplify(&new)),
    }
}

/// (x − zero)·scale, for one scale.
fn dequantized(graph: &mut Graph, node: &Node) -> Option<ValueId> {
    let (x, scale) = (node.input(0)?, graph.constant(node.input(1)?)?.clone());
    let zero = node.input(2).map(|z| graph.constant(z).cloned());
    let zero = match zero {
        Some(zero) => zero?.to_f64().first().copied()?,
        None => 0.0,
    };
    if scale.len() != 1 {
        return None;
    }
    let b = Builder::new(std::mem::take(graph));
    let y = ((b.expr(x) - zero) * scale.to_f64().first().copied().unwrap_or(1.0)).id;
    *graph = b.into_graph();
    Some(y)
}

/// Whether anything in the graph is a `double`.
pub fn has_double(graph: &Graph) -> bool {
    graph.values().any(|(_, v)| v.ty.dtype == Some(DType::F64))
}

/// The graph with `float` wherever it has `double`.
///
/// # Errors
/// A clause that names a node that then is wrong.
pub fn in_float32(graph: &Graph) -> Result<Graph, String> {
    let mut narrowed = graph.clone();
    for &input in graph.inputs() {
        let ty = graph.value(input).ty.clone();
        if ty.dtype == Some(DType::F64) {
            narrowed = narrowed.with_input_type(input, ValueType { dtype: Some(DType::F32), ..ty });
        }
    }
    let double = ops::onnx_code(DType::F64);
    let mut constants: HashMap<ValueId, ValueId> = HashMap::new();
    let new = narrowed.rewrite(|new, node, inputs| {
        let mut node = node.on(inputs.to_vec());
        for operand in node.inputs.iter_mut().flatten() {
            if let Some(tensor) = new.constant(*operand).filter(|t| t.dtype() == DType::F64).cloned() {
                let name = new.value(*operand).name.clone();
                *operand = *constants.entry(*operand).or_insert_with(|| new.add_constant(&name, tensor.cast(DType::F32)));
            }
        }
        for value in node.attributes.0.values_mut() {
            if let Attribute::Tensor(tensor) = value
                && tensor.dtype() == DType::F64
            {
                *tensor = tensor.cast(DType::F32).into();
            }
        }
        for name in ["to", "dtype"] {
            if let Some(Attribute::Int(code)) = node.attributes.0.get_mut(name)
                && *code == double
            {
                *code = ops::onnx_code(DType::F32);
            }
        }
        Some(new.copy_node(&narrowed, &node, node.inputs.clone()))
    });
    match new.problems().first() {
        Some(problem) => Err(problem.what.clone()),
        None => Ok(simplify(&new)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;

    fn parse(program: &str) -> Graph {
        text::parse(program).unwrap_or_else(|e| panic!("{e} in {program}"))
    }

    #[test]
    fn integer_pixels_become_numbers() {
        for (before, after) in [
            (
                "(uint8[N,2,2,3] x) => (float[N,3,2,2] y) { t = Transpose<perm = [0, 3, 1, 2]>(x)  f = Cast<to = 1>(t)  y = Relu(f) }",
                "(float[N,2,2,3] x) => (float[N,3,2,2] y) { t = Transpose<perm = [0, 3, 1, 2]>(x)  y = Relu(t) }",
            ),
            (
                "(uint8[N,3] x) => (float[N,3] y) <int32[1] m = {128}> { i = Cast<to = 6>(x)  s = Sub(i, m)  y = Cast<to = 1>(s) }",
                "(float[N,3] x) => (float[N,3] y) <float[1] m = {128}> { y = Sub(x, m) }",
            ),
            (
                "(int64[N,3] x) => (double[N,2] y) <int64[2] at = {2, 0}> { g = Gather<axis = 1>(x, at)  y = Cast<to = 11>(g) }",
                "(float[N,3] x) => (double[N,2] y) <int64[2] at = {2, 0}> { g = Gather<axis = 1>(x, at)  y = Cast<to = 11>(g) }",
            ),
            (
                "(uint8[N,3] x) => (float[N,3] y) <float s = {0.5}, uint8 z = {4}> { y = DequantizeLinear(x, s, z) }",
                "(float[N,3] x) => (float[N,3] y) <float z = {4}, float s = {0.5}> { c = Sub(x, z)  y = Mul(c, s) }",
            ),
        ] {
            let graph = parse(before);
            let found = float_input(&graph, graph.inputs()[0]).unwrap_or_else(|e| panic!("{e} in {before}"));
            found.check().unwrap();
            assert_eq!(found.difference(&simplify(&parse(after))), None, "{}", text::print(&found));
        }
    }

    #[test]
    fn pixels_that_must_be_integers_are_named() {
        for (program, op) in [
            ("(uint8[N,3] x) => (uint8[N,3] y) <uint8 c = {3}> { y = Div(x, c) }", "Div"),
            ("(int64[N,3] x) => (float[N,3,2] y) <float[2,2] w = {1, 2, 3, 4}> { y = Gather(w, x) }", "Gather"),
        ] {
            let graph = parse(program);
            let why = float_input(&graph, graph.inputs()[0]).unwrap_err();
            assert_eq!(why, format!("its pixels go into {op}, which works on integers"));
        }
    }

    #[test]
    fn doubles_become_floats_everywhere() {
        let graph = parse(
            "(double[N,2] x) => (double[N,2] y) <double[2] c = {1, 2}> { f = Cast<to = 1>(x)  d = Cast<to = 11>(f)  y = Add(d, c) }",
        );
        assert!(has_double(&graph));
        let found = in_float32(&graph).unwrap();
        found.check().unwrap();
        assert!(!has_double(&found));
        let wanted = parse("(float[N,2] x) => (float[N,2] y) <float[2] c = {1, 2}> { y = Add(x, c) }");
        assert_eq!(found.difference(&wanted), None);
    }
}
