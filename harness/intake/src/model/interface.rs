//! Interfaces that exporters squeeze or expand: images without a batch, answers without one, axes of extent 1 where none is needed,
//! scores that are integers. What comes out takes [N,…] and answers [N,K]; that images are answered one by one is proved by running.

use flatscape_graph::{Attributes, Builder, DType, Dim, Graph, Output, ValueId, ValueType, normalize, shown};

use super::answer::class_extent;
use crate::refusal::Refusal;

/// The graph with an interface of batches where that can be had, and what was done, as sentences.
///
/// # Errors
/// `M035`: the graph contradicts itself once its interface has batches.
pub(super) fn with_batches(graph: Graph, model: &str, facts: &mut Vec<String>) -> Result<Graph, Refusal> {
    let refuse = |e: String| Refusal::model(35, format!("{model}: {e}"));
    let mut graph = with_scores_of_winners(joined_columns(stated_squeezes(graph, facts), facts), facts);
    if let Some(input) = image_without_batch(&graph) {
        graph = with_batch_of_images(&graph, input, facts).map_err(refuse)?;
    }
    let needy: Vec<(usize, Vec<i64>)> = (0..graph.outputs().len()).filter_map(|i| Some((i, target(&graph, i)?))).collect();
    if needy.is_empty() && !integer_scores(&graph) {
        return Ok(graph);
    }
    let mut outputs = graph.outputs().to_vec();
    let cast = integer_scores(&graph);
    let b = Builder::new(graph);
    for (i, shape) in needy {
        let own = b.expr(outputs[i].value);
        let was = b.graph().value(own.id).ty.to_string();
        outputs[i].value = own.reshape(&shape).id;
        facts.push(format!("the output {} {was} was reshaped to one row of scores per image", shown(&outputs[i].name)));
    }
    for output in outputs.iter_mut().filter(|_| cast) {
        let ty = b.graph().value(output.value).ty.clone();
        if ty.dtype.is_some_and(|d| !d.is_float() && d != DType::Bool) && is_rows(ty.shape.as_deref()) {
            facts.push(format!("the scores of the output {} are integers ({ty}) and were cast to float", shown(&output.name)));
            output.value = b.expr(output.value).cast(DType::F32).id;
        }
    }
    let mut new = b.into_graph();
    new.set_outputs(outputs);
    Ok(new)
}

/// Outputs that are the columns of one value [N,K], all of them and in order, become that value.
fn joined_columns(mut graph: Graph, facts: &mut Vec<String>) -> Graph {
    let columns: Vec<Option<(ValueId, i64)>> = graph.outputs().iter().map(|o| column(&graph, o.value)).collect();
    let Some((scores, _)) = columns.iter().flatten().next().copied() else { return graph };
    let classes = graph.shape(scores).and_then(|s| s[1].fixed()).unwrap_or(0);
    let found = columns.iter().flatten();
    if classes < 2 || !found.copied().eq((0..classes as i64).map(|k| (scores, k))) {
        return graph;
    }
    let is_column = |i: &usize| columns[*i].is_some();
    let outputs = graph.outputs();
    let (first, last) =
        (columns.iter().position(Option::is_some).unwrap_or(0), columns.iter().rposition(Option::is_some).unwrap_or(0));
    let taken = |name: &str| outputs.iter().enumerate().any(|(i, o)| !is_column(&i) && &*o.name == name);
    let mut name = "scores".to_owned();
    while taken(&name) {
        name.push('_');
    }
    let ends = [first, last].map(|i| shown(&outputs[i].name));
    facts.push(format!(
        "the outputs {} to {} are the columns of one table of scores, {}, which stands for them",
        ends[0],
        ends[1],
        shown(&name)
    ));
    let kept = (0..outputs.len()).filter(|i| !is_column(i) || *i == first);
    let one = |i: usize| if i == first { Output { name: name.as_str().into(), value: scores } } else { outputs[i].clone() };
    let outputs = kept.map(one).collect();
    graph.set_outputs(outputs);
    graph.without_dead()
}

/// The value [N,K] of which a value is one column, [N] or [N,1], and which one.
fn column(graph: &Graph, value: ValueId) -> Option<(ValueId, i64)> {
    let (id, _) = graph.value(value).producer?;
    let node = graph.node_at(id);
    let x = node.input(0).filter(|_| node.domain.is_empty())?;
    let single = matches!(graph.shape(value), Some([_]) | Some([_, Dim::Fixed(1)]));
    let constant = |i: usize| graph.constant(node.input(i)?)?.to_ints().filter(|v| v.len() == 1).map(|v| v[0]);
    let rows = |x: ValueId| matches!(graph.shape(x), Some([_, Dim::Fixed(_)]));
    match &*node.op {
        "Reshape" | "Squeeze" | "Flatten" | "Identity" if single => column(graph, x),
        "Slice" if rows(x) && constant(3) == Some(1) && node.input(4).is_none_or(|_| constant(4) == Some(1)) => {
            constant(1).filter(|&k| k >= 0 && constant(2) == Some(k + 1)).map(|k| (x, k))
        }
        "Gather" if rows(x) && matches!(node.attributes.int("axis", 0), 1 | -1) => {
            constant(1).filter(|&k| k >= 0).map(|k| (x, k))
        }
        _ => None,
    }
}

/// Scores of which the smaller one wins become their negatives.
fn with_scores_of_winners(graph: Graph, facts: &mut Vec<String>) -> Graph {
    let mut outputs = graph.outputs().to_vec();
    let opposite: Vec<usize> = (0..outputs.len()).filter(|&i| normalize::smaller_wins(&graph, outputs[i].value)).collect();
    if opposite.is_empty() {
        return graph;
    }
    let b = Builder::new(graph);
    for i in opposite {
        facts.push(format!(
            "of the scores in the output {} the smaller one is that of the label (support vectors of two classes): their negatives \
             stand for them",
            shown(&outputs[i].name)
        ));
        outputs[i].value = (-b.expr(outputs[i].value)).id;
    }
    let mut new = b.into_graph();
    new.set_outputs(outputs);
    new
}

/// [N,K] with at least two classes.
fn is_rows(shape: Option<&[Dim]>) -> bool {
    matches!(shape, Some([_, k]) if k.fixed().is_some_and(|k| k >= 2))
}

/// Whether no output of floats can be scores, and one of integers can.
fn integer_scores(graph: &Graph) -> bool {
    let float = graph.outputs().iter().any(|o| class_extent(graph, o, None).is_ok());
    let integer = |o: &Output| {
        let ty = &graph.value(o.value).ty;
        ty.dtype.is_some_and(|d| !d.is_float() && d != DType::Bool) && is_rows(ty.shape.as_deref())
    };
    !float && graph.outputs().iter().any(integer)
}

/// `Squeeze` without axes takes the batch away where it is 1. It keeps it here.
fn stated_squeezes(graph: Graph, facts: &mut Vec<String>) -> Graph {
    let Some(batch) = graph.inputs().first().and_then(|&x| graph.shape(x)?.first().cloned()) else { return graph };
    let mut changed = 0;
    let new = graph.rewrite(|new, node, inputs| {
        let x = inputs.first().copied().flatten()?;
        if &*node.op != "Squeeze" || !node.domain.is_empty() || node.input(1).is_some() {
            return None;
        }
        let shape = new.shape(x)?.to_vec();
        let kept = shape.first().is_some_and(|d| d.same(&batch) && d.fixed().is_none_or(|n| n == 1)) && shape.len() > 1;
        if !kept {
            return None;
        }
        let axes: Vec<i64> = (1..shape.len()).filter(|&i| shape[i].fixed() == Some(1)).map(|i| i as i64).collect();
        changed += 1;
        let b = Builder::new(std::mem::take(new));
        let y = if axes.is_empty() { b.expr(x).unary("Identity") } else { b.expr(x).squeeze(&axes) };
        let y = y.id;
        *new = b.into_graph();
        Some(vec![Some(y)])
    });
    if changed == 0 || !new.problems().is_empty() {
        return graph;
    }
    facts.push("a Squeeze without axes, which takes the batch away where it is 1, keeps it".to_owned());
    new
}

/// The only input, where it is one image without a batch: [H,W] or [C,H,W], and no answer has its first extent.
fn image_without_batch(graph: &Graph) -> Option<ValueId> {
    let &[input] = graph.inputs() else { return None };
    let shape: Vec<usize> = graph.shape(input)?.iter().map(Dim::fixed).collect::<Option<_>>()?;
    let plane = matches!(shape[..], [h, w] if h > 1 && w > 1) || matches!(shape[..], [c, h, w] if c > 1 && h > 1 && w > 1);
    let single = |o: &Output| match graph.shape(o.value) {
        Some([k]) => k.fixed().is_some_and(|k| k >= 2),
        Some([one, k]) => one.fixed() == Some(1) && k.fixed().is_some_and(|k| k >= 2),
        _ => false,
    };
    (plane && graph.outputs().iter().any(single)).then_some(input)
}

/// A batch of one image in front.
fn with_batch_of_images(graph: &Graph, input: ValueId, facts: &mut Vec<String>) -> Result<Graph, String> {
    let (name, ty) = (graph.value(input).name.to_string(), graph.value(input).ty.clone());
    let inner = ty.shape.clone().unwrap_or_default();
    let extents: Vec<i64> = inner.iter().map(|d| d.fixed().map_or(-1, |n| n as i64)).collect();
    let shape = std::iter::once(Dim::Fixed(1)).chain(inner).collect();
    let b = Builder::new(Graph::new(&graph.name));
    let x = b.input(&name, ValueType { dtype: ty.dtype, shape: Some(shape) });
    let image = b.op("Reshape", &[x, b.ints(&extents)], Attributes::none());
    let results = b.inline(graph, &|_, _| Some(image.id)).map_err(|e| e.to_string())?;
    for (name, value) in results {
        let value = b.expr(value);
        b.output(&name, value);
    }
    facts.push(format!("the input {} {ty} is one image; it was given a batch of 1", shown(&name)));
    Ok(b.into_graph())
}

/// The shape [N,K] of an output that is one row of scores per image, but for axes of extent 1 or a batch that was taken away.
fn target(graph: &Graph, output: usize) -> Option<Vec<i64>> {
    let output = &graph.outputs()[output];
    let value = graph.value(output.value);
    if value.ty.dtype == Some(DType::Bool) || is_rows(value.ty.shape.as_deref()) || class_extent(graph, output, None).is_ok() {
        return None;
    }
    let &[input] = graph.inputs() else { return None };
    let batch = graph.shape(input)?.first()?.clone();
    let shape = value.ty.shape.as_deref()?;
    let many: Vec<&Dim> = shape.iter().filter(|d| d.fixed() != Some(1)).collect();
    match (batch.fixed(), &many[..]) {
        (Some(1), [k]) => k.fixed().filter(|&k| k >= 2).map(|k| vec![1, k as i64]),
        (None | Some(2..), [n, k]) if n.same(&batch) || n.fixed().is_none() => {
            let k = k.fixed().filter(|&k| k >= 2)?;
            Some(vec![batch.fixed().map_or(-1, |n| n as i64), k as i64])
        }
        _ => None,
    }
}
