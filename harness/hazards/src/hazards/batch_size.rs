//! The number of images in a batch as a number of the calculation.

use flatscape_graph::{Node, ValueId};

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "batch-size",
        unreliable: true,
        raised_if: "the number of images in the batch reaches the logits as a number, and not only as an extent",
        explanation: "The model can tell how many images it is asked about, and may answer otherwise where it is attacked: attacks and verification run in batches of \
                      other sizes than a deployment.",
        advice: "Export the model without the size of the batch in it, or for one image at a time.",
    },
    remedies: &[],
    find,
};

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

fn find(reading: &Reading) -> Option<Cause> {
    let mut counts: Vec<Count> = vec![Count::default(); reading.graph.values().len()];
    // the nodes that make a number of it, for the words
    let mut first: Vec<&Node> = Vec::new();
    for node in reading.needed() {
        let found = follow(reading, node, &counts);
        if found.follows() && matches!(&*node.op, "Shape" | "Size") {
            first.push(node);
        }
        for &output in node.outputs.iter().flatten() {
            counts[output.0 as usize] = found.clone();
        }
    }
    let reaches = counts[reading.logits.0 as usize].follows();
    if reaches { cause(first, "gives the number of images in the batch, and the logits depend on it") } else { None }
}

fn follow(reading: &Reading, node: &Node, counts: &[Count]) -> Count {
    let of = |v: ValueId| &counts[v.0 as usize];
    let operand = |place: usize| node.input(place);
    match &*node.op {
        "Shape" => operand(0).map_or(Count::Free, |x| shape(reading, node, x)),
        "Size" => operand(0).map_or(Count::Free, |x| if reading.counts_images(x, 0) { Count::Follows } else { Count::Free }),
        // an extent of which the batch is no part
        "Gather" if operand(0).is_some_and(|x| matches!(of(x), Count::Shape(_))) => {
            let chosen = operand(1).and_then(|i| reading.graph.constant(i)).and_then(|t| t.to_ints());
            match (operand(0).map(of), chosen) {
                (Some(Count::Shape(elements)), Some(chosen)) => picked(elements, &chosen),
                (Some(count), _) => count.clone(),
                _ => Count::Free,
            }
        }
        "Slice" if operand(0).is_some_and(|x| matches!(of(x), Count::Shape(_))) => {
            let list = |place: usize| operand(place).and_then(|v| reading.graph.constant(v)).and_then(|t| t.to_ints());
            match (operand(0).map(of), list(1), list(2)) {
                (Some(Count::Shape(elements)), Some(from), Some(to)) if operand(4).is_none() => cut(elements, &from, &to),
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
fn shape(reading: &Reading, node: &Node, x: ValueId) -> Count {
    let Some(rank) = reading.graph.rank(x) else { return Count::Follows };
    let place = |axis: i64| usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).unwrap_or(0).min(rank);
    let (start, end) = (place(node.attributes.int("start", 0)), place(node.attributes.int("end", rank as i64)));
    Count::Shape((start..end.max(start)).map(|axis| reading.counts_images(x, axis)).collect())
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
