//! What each weight of a model is: which operator reads it, and which filter or neuron its elements belong to, from the meaning of the
//! operator. Weights are followed by their marks, so the layout of the exporter does not matter. Knows graphs; runs nothing.

use std::collections::HashMap;

use flatscape_graph::{Graph, Node, Tensor, ValueId};
use flatscape_host::{Normalisation, Segment, SegmentRole};
use flatscape_intake::model::{Trace, Trainable};

use crate::form::Form;

/// The weights of a form as segments of one vector θ: parameters first, then running statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct Segments {
    /// In the order of θ.
    pub segments: Vec<Segment>,
    /// Per element of θ the filter of its segment, or −1.
    pub filters: Vec<i32>,
    /// Batch normalisation in the file.
    pub normalisation: Normalisation,
    /// Per segment, which weight of the file it is.
    pub weights: Vec<usize>,
}

/// What is known about a weight.
struct Found {
    role: SegmentRole,
    layer: usize,
    /// Per element its filter; empty where there are none.
    filters: Vec<i32>,
}

/// What a place of an operator says about the weight that it reads.
enum Place {
    /// The filter of every element of the constant.
    Kernel(Vec<i32>),
    Bias,
    Scale,
}

impl Segments {
    /// Reads them off a graph with marks.
    pub fn of(trainable: &Trainable, marked: &Graph, form: &Form) -> Segments {
        let mut known: HashMap<usize, Found> = HashMap::new();
        let mut layers: HashMap<ValueId, usize> = HashMap::new();
        let mut next = 0;
        for node in marked.nodes() {
            let read: Vec<(usize, Vec<(usize, usize)>)> = (0..node.inputs.len())
                .filter_map(|place| match trainable.trace(marked.constant(node.input(place)?)?) {
                    Trace::Elements(elements) => Some((place, elements)),
                    _ => None,
                })
                .collect();
            // what is added behind a layer belongs to it
            let before = node.inputs.iter().flatten().find_map(|v| layers.get(v).copied());
            let own = before.filter(|_| ["Add", "Sub"].contains(&&*node.op)).unwrap_or(next);
            if !read.is_empty() {
                next = next.max(own + 1);
                layers.extend(node.outputs.iter().flatten().map(|&v| (v, own)));
            } else if let (Some(layer), true) = (before, moves(node)) {
                layers.extend(node.outputs.iter().flatten().map(|&v| (v, layer)));
            }
            for (place, elements) in read {
                let shape = node.input(place).and_then(|v| marked.constant(v)).map_or(&[][..], |t| t.shape());
                note(&mut known, trainable, &elements, &place_of(node, place, shape), own);
            }
        }
        let statistics = form.statistics.iter().flat_map(|s| [s.mean, s.variance]);
        let weights: Vec<usize> = form.trained.iter().copied().chain(statistics).collect();
        let (mut segments, mut filters) = (Vec::new(), Vec::new());
        for (at, &weight) in weights.iter().enumerate() {
            let value = &trainable.weights[weight].value;
            let found = known.get(&weight).filter(|_| at < form.trained.len());
            let role = found.map_or(SegmentRole::Statistic, |f| f.role);
            let own: Vec<i32> = match found {
                Some(found) if role == SegmentRole::Kernel => found.filters.clone(),
                _ => vec![-1; value.len()],
            };
            segments.push(Segment {
                name: trainable.weights[weight].name.clone(),
                shape: value.shape().to_vec(),
                role,
                axis: if role == SegmentRole::Kernel { axis(value.shape(), &own) } else { None },
                layer: known.get(&weight).map_or(0, |f| f.layer),
                offset: filters.len(),
                size: value.len(),
            });
            filters.extend(own);
        }
        Segments { segments, filters, normalisation: normalisation(trainable, marked), weights }
    }
}

/// Writes down what a place says. Where several operators read a weight the first one counts.
fn note(known: &mut HashMap<usize, Found>, trainable: &Trainable, elements: &[(usize, usize)], place: &Place, layer: usize) {
    let mut here: HashMap<usize, Found> = HashMap::new();
    for (at, &(weight, element)) in elements.iter().enumerate() {
        let found = here.entry(weight).or_insert_with(|| {
            let role = match place {
                Place::Kernel(_) => SegmentRole::Kernel,
                Place::Bias => SegmentRole::Bias,
                Place::Scale => SegmentRole::Scale,
            };
            let size = if role == SegmentRole::Kernel { trainable.weights[weight].value.len() } else { 0 };
            Found { role, layer, filters: vec![-1; size] }
        });
        if let (Place::Kernel(filters), Some(slot)) = (place, found.filters.get_mut(element)) {
            *slot = filters.get(at).copied().unwrap_or(-1);
        }
    }
    for (weight, found) in here {
        known.entry(weight).or_insert(found);
    }
}

/// Whether what is behind an operator is still the result of the layer before it, element by element.
fn moves(node: &Node) -> bool {
    ["Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity"].contains(&&*node.op)
}

/// What the place of an operator says about a constant of this shape: filters and neurons are those of its results.
fn place_of(node: &Node, place: usize, shape: &[usize]) -> Place {
    let along = |axis: usize| Place::Kernel(indices(shape, |at| at[axis]));
    let rank = shape.len();
    match (&*node.op, place) {
        ("Conv", 1) if rank > 1 => along(0),
        ("ConvTranspose", 1) if rank > 1 => {
            // [C_in, C_out/g, …]: the channels of group i are read by the filters of group i
            let groups = usize::try_from(node.attributes.int("group", 1)).unwrap_or(1).max(1);
            let inputs = (shape[0] / groups).max(1);
            Place::Kernel(indices(shape, |at| at[0] / inputs * shape[1] + at[1]))
        }
        ("Gemm", 1) if rank == 2 => along(usize::from(node.attributes.int("transB", 0) == 0)),
        ("Gemm", 0) if rank == 2 => along(usize::from(node.attributes.int("transA", 0) != 0)),
        // a stack of matrices has the neurons of each
        ("MatMul", 1) if rank > 1 => Place::Kernel(indices(shape, |at| stacked(shape, at) * shape[rank - 1] + at[rank - 1])),
        ("MatMul", 0) if rank > 1 => Place::Kernel(indices(shape, |at| stacked(shape, at) * shape[rank - 2] + at[rank - 2])),
        ("Einsum", _) if rank > 1 => Place::Kernel(vec![0; shape.iter().product()]),
        ("Conv" | "ConvTranspose" | "Gemm", 2) | ("Add" | "Sub", _) => Place::Bias,
        _ => Place::Scale,
    }
}

/// Which matrix of a stack an element belongs to.
fn stacked(shape: &[usize], at: &[usize]) -> usize {
    (0..shape.len() - 2).fold(0, |number, axis| number * shape[axis] + at[axis])
}

/// A number for every place of a tensor, row-major.
fn indices(shape: &[usize], of: impl Fn(&[usize]) -> usize) -> Vec<i32> {
    let mut at = vec![0; shape.len()];
    let mut all = Vec::with_capacity(shape.iter().product());
    for _ in 0..shape.iter().product() {
        all.push(i32::try_from(of(&at)).unwrap_or(-1));
        for axis in (0..shape.len()).rev() {
            at[axis] += 1;
            if at[axis] < shape[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
    all
}

/// The axis along which the filters of a weight are slices, where there is one.
fn axis(shape: &[usize], filters: &[i32]) -> Option<usize> {
    (0..shape.len()).find(|&axis| shape.len() > 1 && indices(shape, |at| at[axis]) == filters)
}

/// What the file says about batch normalisation. Exporters that fold it into a convolution give the folded weights names of their own.
fn normalisation(trainable: &Trainable, marked: &Graph) -> Normalisation {
    let is = |node: &Node, op: &str| &*node.op == op && node.domain.is_empty();
    if marked.nodes().iter().any(|node| is(node, "BatchNormalization")) {
        return Normalisation::Present;
    }
    let folded = |constant: &Tensor| match trainable.trace(constant) {
        Trace::Elements(elements) => elements.first().is_some_and(|&(weight, _)| {
            let name = &trainable.weights[weight].name;
            name.starts_with("onnx::Conv_") || name.contains("fused_bn") || name.contains("bn_fused")
        }),
        _ => false,
    };
    let named = |node: &&Node| {
        let weights = node.input(1).and_then(|v| marked.constant(v));
        (is(node, "Conv") || is(node, "ConvTranspose")) && node.input(2).is_some() && weights.is_some_and(|t| folded(t))
    };
    if marked.nodes().iter().any(|node| named(&node)) { Normalisation::Folded } else { Normalisation::None }
}
