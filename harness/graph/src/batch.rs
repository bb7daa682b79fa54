//! Where the number of rows of a batch becomes a number of the calculation.

use crate::{Graph, Node, ValueId};

/// Operands that are extents, counts or positions: what comes out has another size because of them, and no other numbers.
const EXTENTS: &[(&str, &[usize])] = &[
    ("Reshape", &[1]),
    ("Expand", &[1]),
    ("Tile", &[1]),
    ("ConstantOfShape", &[0]),
    ("Range", &[0, 1, 2]),
    ("Slice", &[1, 2]),
    ("Split", &[1]),
    ("Pad", &[1]),
    ("Resize", &[3]),
    ("OneHot", &[1]),
    ("Col2Im", &[1, 2]),
    ("MaxUnpool", &[2]),
];

/// What is known of a value: whether it is the number of images or follows from it, element by element where it is a shape.
#[derive(Clone, Default)]
enum Count {
    #[default]
    Free,
    Follows,
    Shape(Vec<bool>),
}

impl Count {
    fn follows(&self) -> bool {
        match self {
            Count::Free => false,
            Count::Follows => true,
            Count::Shape(elements) => elements.contains(&true),
        }
    }
}

/// Whether an extent of a value, by its axis, is the number of rows.
type Counted<'c> = dyn Fn(ValueId, usize) -> bool + 'c;

/// For every value whether its elements depend on the number of rows in the batch: as a number, not only as an extent. `counted` says
/// which extents of a value, by their axes, are that number.
pub fn follow_the_batch(graph: &Graph, counted: &Counted) -> Vec<bool> {
    let mut counts: Vec<Count> = vec![Count::default(); graph.values().len()];
    for node in graph.nodes() {
        let found = follow(graph, counted, node, &counts);
        for &output in node.outputs.iter().flatten() {
            counts[output.0 as usize] = found.clone();
        }
    }
    counts.iter().map(Count::follows).collect()
}

fn follow(graph: &Graph, counted: &Counted, node: &Node, counts: &[Count]) -> Count {
    let of = |v: ValueId| &counts[v.0 as usize];
    let operand = |place: usize| node.input(place);
    match &*node.op {
        "Shape" => operand(0).map_or(Count::Free, |x| shape(graph, counted, node, x)),
        "Size" => operand(0).map_or(Count::Free, |x| if counted(x, 0) { Count::Follows } else { Count::Free }),
        // extents that do not include the batch
        "Gather" if operand(0).is_some_and(|x| matches!(of(x), Count::Shape(_))) => {
            let chosen = operand(1).and_then(|i| graph.constant(i)).and_then(|t| t.to_ints());
            match (operand(0).map(of), chosen) {
                (Some(Count::Shape(elements)), Some(chosen)) => picked(elements, &chosen),
                (Some(count), _) => count.clone(),
                _ => Count::Free,
            }
        }
        "Slice" if operand(0).is_some_and(|x| matches!(of(x), Count::Shape(_))) => {
            let list = |place: usize| operand(place).and_then(|v| graph.constant(v)).and_then(|t| t.to_ints());
            let beside = operand(4).is_none() || list(4).is_some_and(|steps| steps == [1]);
            match (operand(0).map(of), list(1), list(2)) {
                (Some(Count::Shape(elements)), Some(from), Some(to)) if beside => cut(elements, &from, &to),
                (Some(count), ..) => count.clone(),
                _ => Count::Free,
            }
        }
        op => {
            let extents = EXTENTS.iter().find(|(name, _)| *name == op).map_or(&[][..], |(_, places)| places);
            let numbers = node.inputs.iter().enumerate().filter(|(place, _)| !extents.contains(place));
            if numbers.filter_map(|(_, v)| *v).any(|v| of(v).follows()) { Count::Follows } else { Count::Free }
        }
    }
}

/// Which elements of the shape of a value count images.
fn shape(graph: &Graph, counted: &Counted, node: &Node, x: ValueId) -> Count {
    let Some(rank) = graph.rank(x) else { return Count::Follows };
    let place = |axis: i64| usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).unwrap_or(0).min(rank);
    let (start, end) = (place(node.attributes.int("start", 0)), place(node.attributes.int("end", rank as i64)));
    Count::Shape((start..end.max(start)).map(|axis| counted(x, axis)).collect())
}

fn picked(elements: &[bool], chosen: &[i64]) -> Count {
    let at = |i: i64| usize::try_from(if i < 0 { i + elements.len() as i64 } else { i }).ok().and_then(|i| elements.get(i));
    Count::Shape(chosen.iter().map(|&i| at(i).copied().unwrap_or(true)).collect())
}

fn cut(elements: &[bool], from: &[i64], to: &[i64]) -> Count {
    let n = elements.len() as i64;
    let place = |list: &[i64]| list.first().map(|&i| (if i < 0 { i + n } else { i }).clamp(0, n) as usize);
    match (place(from), place(to)) {
        (Some(from), Some(to)) => Count::Shape(elements.get(from..to.max(from)).unwrap_or(elements).to_vec()),
        _ => Count::Shape(elements.to_vec()),
    }
}
