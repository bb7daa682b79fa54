//! A graph with float64 wherever it had float32: inputs, constants, casts and generators. Operands that the standard keeps in
//! float32 stay so.

use flatscape_graph::{Attribute, DType, Graph, Node, Tensor, ValueId, ValueType};

/// Operands that are float32 whatever the data is.
const KEPT: &[(&str, usize)] = &[("Resize", 2), ("Upsample", 1)];

/// The numbers of float32 and float64 in ONNX.
const SINGLE: i64 = 1;
const DOUBLE: i64 = 11;

/// The graph in double precision.
///
/// # Errors
/// A clause with the first node that does not take doubles.
pub fn widen(graph: &Graph) -> Result<Graph, String> {
    let mut new = Graph::new(&graph.name);
    let mut map: Vec<Option<ValueId>> = vec![None; graph.values().len()];
    for &input in graph.inputs() {
        let ty = &graph.value(input).ty;
        let ty = ValueType { dtype: ty.dtype.map(wide), shape: ty.shape.clone() };
        map[input.0 as usize] = Some(new.add_input(&graph.value(input).name, ty));
    }
    for node in graph.nodes() {
        let mut operands = Vec::with_capacity(node.inputs.len());
        for (place, operand) in node.inputs.iter().enumerate() {
            let kept = KEPT.contains(&(&*node.op, place));
            operands.push(operand.map(|id| carry(graph, &mut new, &mut map, id, kept)));
        }
        let results = new.copy_node(graph, &retyped(node), operands);
        for (old, result) in node.outputs.iter().zip(results) {
            if let Some(old) = old {
                map[old.0 as usize] = result;
            }
        }
    }
    for output in graph.outputs() {
        let value = carry(graph, &mut new, &mut map, output.value, false);
        new.add_output(&output.name, value);
    }
    new.check().map_err(|e| format!("the graph does not take double precision: {e}"))?;
    Ok(new)
}

fn wide(dtype: DType) -> DType {
    if dtype == DType::F32 { DType::F64 } else { dtype }
}

fn carry(from: &Graph, into: &mut Graph, map: &mut [Option<ValueId>], id: ValueId, kept: bool) -> ValueId {
    let value = from.value(id);
    match (&value.constant, map[id.0 as usize]) {
        (Some(tensor), _) if kept => into.add_constant(&value.name, tensor.clone()),
        (_, Some(known)) => known,
        (Some(tensor), None) => {
            let new = into.add_constant(&value.name, tensor.cast(wide(tensor.dtype())));
            map[id.0 as usize] = Some(new);
            new
        }
        (None, None) => {
            into.add_problem(format!("value {} is read before it is produced", flatscape_graph::shown(&value.name)));
            into.add_constant(&value.name, Tensor::scalar(0f64))
        }
    }
}

/// The node with the types that its attributes name made double.
fn retyped(node: &Node) -> Node {
    let mut node = node.clone();
    for (name, value) in node.attributes.0.iter_mut() {
        match value {
            Attribute::Int(code) if matches!(name.as_str(), "to" | "dtype") && *code == SINGLE => *code = DOUBLE,
            Attribute::Tensor(tensor) if tensor.dtype() == DType::F32 => *tensor = tensor.cast(DType::F64).into(),
            _ => {}
        }
    }
    node
}

#[cfg(test)]
mod tests {
    use flatscape_graph::text;

    use super::*;

    #[test]
    fn constants_casts_and_fills_are_widened_and_sizes_are_not() {
        let graph = text::parse(
            "net (float[N,1,2,2] x) => (float[N,1,4,4] y)
            <float[4] scales = {1, 1, 2, 2}, float[1] w = {3}>
            { a = Greater(x, w)  b = Cast <to = 1> (a)  c = Mul(b, x)  y = Resize <mode = \"nearest\"> (c, , scales) }",
        )
        .expect("a graph");
        let wide = widen(&graph).expect("doubles");
        assert_eq!(wide.value(wide.outputs()[0].value).ty.to_string(), "double[N,1,4,4]");
        assert_eq!(wide.value(wide.inputs()[0]).ty.to_string(), "double[N,1,2,2]");
    }
}
