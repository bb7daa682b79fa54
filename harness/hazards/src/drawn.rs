//! Models that draw random numbers, with their draws as inputs: the same key gives the same answer, on every engine. Draws are named
//! as those of programs are (`noise_<law>_<stream>`), so that the host feeds them by key.

use flatscape_graph::{Attributes, Builder, DType, Expr, Graph, Node, Tensor, ValueId, ValueType, ops};

/// Operators that draw, and can be keyed.
const KEYED: &[&str] = &["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Dropout"];

/// The graph with an input for every draw, further inputs of it; `None` where nothing draws, or where draws cannot be keyed
/// (`Multinomial`, extents that are not known).
pub fn keyed(graph: &Graph) -> Option<Graph> {
    let reading = crate::hazards::Reading::of(graph)?;
    let drawing: Vec<ValueId> = crate::hazards::drawing(&reading).iter().filter_map(|node| node.output(0)).collect();
    if drawing.is_empty() {
        return None;
    }
    let mut count = 0;
    let mut complete = true;
    let keyed = graph.rewrite(|new, node, inputs| {
        let draws = node.output(0).is_some_and(|id| drawing.contains(&id));
        let results = draws.then(|| drawn(graph, new, node, inputs, &mut count)).flatten();
        complete &= !draws || results.is_some();
        results
    });
    (complete && count > 0 && keyed.check().is_ok()).then_some(keyed)
}

/// The logarithm of the mean probability over `copies` independent draws: logits of the same classes (expectation over
/// transformation, Athalye et al. 2018, of probabilities); `None` as for [`keyed`].
pub fn averaged(graph: &Graph, copies: usize) -> Option<Graph> {
    let single = keyed(graph)?;
    let (&image, output) = (single.inputs().first()?, &single.outputs()[0]);
    let b = Builder::new(Graph::new(&graph.name));
    let x = b.input(&single.value(image).name, single.value(image).ty.clone());
    let copy = |k: usize| {
        let own: Vec<(String, Expr<'_>)> = single.inputs()[1..]
            .iter()
            .map(|&id| {
                (
                    single.value(id).name.to_string(),
                    b.input(&format!("{}x{k}", single.value(id).name), single.value(id).ty.clone()),
                )
            })
            .collect();
        let bind = |name: &str| own.iter().find(|(known, _)| known == name).map_or(x.id, |(_, value)| value.id);
        b.inline(&single, &|name, _| Some(bind(name))).ok()?.first().map(|(_, z)| b.expr(*z).log_softmax(1))
    };
    let copies: Vec<Expr<'_>> = (0..copies).map(copy).collect::<Option<_>>()?;
    let (first, rest) = copies.split_first()?;
    // ln mean p = m + ln Σ exp(ln p − m) − ln k
    let m = rest.iter().fold(*first, |m, z| m.max(*z));
    let sum = copies.iter().map(|z| (*z - m).exp()).reduce(|a, b| a + b)?;
    b.output(&output.name, m + sum.log() - (copies.len() as f64).ln());
    Some(b.into_graph())
}

/// What a node that draws gives, computed from an input.
fn drawn(
    graph: &Graph,
    new: &mut Graph,
    node: &Node,
    inputs: &[Option<ValueId>],
    count: &mut usize,
) -> Option<Vec<Option<ValueId>>> {
    if !KEYED.contains(&&*node.op) {
        return None;
    }
    let output = node.output(0)?;
    let (dtype, dims) = (graph.dtype(output).filter(|t| t.is_float())?, graph.shape(output)?.to_vec());
    let (first, inner) = dims.split_first()?;
    inner.iter().all(|dim| dim.fixed().is_some()).then_some(())?;
    // what has no batch is the same for every image of a run
    let shared = first.fixed().is_some();
    let law = if node.op.starts_with("RandomNormal") { "normal" } else { "uniform" };
    let name = format!("{}noise_{law}_draw{count}", if shared { "shared_" } else { "" });
    *count += 1;
    let ty = ValueType::new(DType::F32, dims.clone());
    let noise = new.add_input(&name, ty);
    let none = Attributes::none;
    let number = |new: &mut Graph, value: f64| new.add_constant("number", Tensor::full(DType::F32, &[], value));
    let scaled = |new: &mut Graph, value: ValueId, factor: f64, shift: f64| {
        let (factor, shift) = (number(new, factor), number(new, shift));
        let product = new.node("Mul", &[value, factor], none());
        new.node("Add", &[product, shift], none())
    };
    let float = |name: &str, default: f32| f64::from(node.attributes.float(name, default));
    let typed = |new: &mut Graph, value: ValueId| match dtype {
        DType::F32 => value,
        other => new.node("Cast", &[value], [("to", ops::onnx_code(other).into())]),
    };
    let value = match &*node.op {
        "RandomNormal" | "RandomNormalLike" => scaled(new, noise, float("scale", 1.0), float("mean", 0.0)),
        "RandomUniform" | "RandomUniformLike" => {
            let (low, high) = (float("low", 0.0), float("high", 1.0));
            scaled(new, noise, (high - low) / 2.0, (high + low) / 2.0)
        }
        "Bernoulli" => {
            let share = scaled(new, noise, 0.5, 0.5);
            let below = new.node("Less", &[share, inputs.first().copied()??], none());
            new.node("Cast", &[below], [("to", ops::onnx_code(DType::F32).into())])
        }
        _ => return dropout(graph, new, node, inputs, noise),
    };
    Some(vec![Some(typed(new, value))])
}

/// Dropout in training mode: x / (1 − ratio) where it is kept, otherwise 0; and the mask where it is read.
fn dropout(
    graph: &Graph,
    new: &mut Graph,
    node: &Node,
    inputs: &[Option<ValueId>],
    noise: ValueId,
) -> Option<Vec<Option<ValueId>>> {
    let ratio = match node.input(1) {
        Some(id) => *graph.constant(id)?.to_f64().first()?,
        None => 0.5,
    };
    (0.0..1.0).contains(&ratio).then_some(())?;
    let none = Attributes::none;
    // the draw is uniform on (−1, 1)
    let limit = new.add_constant("limit", Tensor::full(DType::F32, &[], 2.0 * ratio - 1.0));
    let mask = new.node("GreaterOrEqual", &[noise, limit], none());
    let x = inputs.first().copied()??;
    let dtype = new.dtype(x)?;
    let kept = new.add_constant("kept", Tensor::full(dtype, &[], 1.0 / (1.0 - ratio)));
    let scaled = new.node("Mul", &[x, kept], none());
    let zero = new.add_constant("zero", Tensor::full(dtype, &[], 0.0));
    let value = new.node("Where", &[mask, scaled, zero], none());
    let results = node.outputs.iter().enumerate().map(|(place, id)| id.map(|_| if place == 0 { value } else { mask }));
    Some(results.collect())
}

#[cfg(test)]
mod tests {
    use flatscape_graph::text;

    use super::*;

    #[test]
    fn draws_become_inputs_of_the_graph() {
        let net = text::parse(
            "net (float[N,1,2,2] x) => (float[N,4] z) <bool on = {1}, float half = {0.5}>
            { n = RandomNormalLike <scale = 0.1> (x)  s = Add(x, n)  d = Dropout(s, half, on)  z = Flatten(d) }",
        )
        .expect("a graph");
        let graph = keyed(&net).expect("it draws");
        let names = |g: &Graph| g.inputs().iter().map(|&i| format!("{} {}", g.value(i).name, g.value(i).ty)).collect::<Vec<_>>();
        assert_eq!(
            names(&graph),
            ["x float[N,1,2,2]", "noise_normal_draw0 float[N,1,2,2]", "noise_uniform_draw1 float[N,1,2,2]"]
        );
        assert_eq!(averaged(&net, 3).map(|g| g.inputs().len()), Some(7));
        let still = text::parse("net (float[N,1,2,2] x) => (float[N,4] z) { z = Flatten(x) }").expect("a graph");
        assert!(keyed(&still).is_none() && averaged(&still, 3).is_none());
    }
}
