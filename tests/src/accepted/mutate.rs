//! Small graphs spoiled: attributes, operands, constants, operators, types and bytes, by numbers drawn from a seed.

use flatscape_graph::ops::OPS;
use flatscape_graph::{Attribute, DType, Dim, Graph, Node, Tensor, ValueId, ValueType};

/// splitmix64, seeded by a name.
pub struct Random(u64);

impl Random {
    pub fn of(name: &str) -> Random {
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Random(name.bytes().fold(0xcbf2_9ce4_8422_2325, hash))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below another one, which is not 0.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }
}

/// Integers at which programs break.
const INTEGERS: &[i64] = &[
    0,
    1,
    -1,
    2,
    -2,
    3,
    4,
    5,
    7,
    8,
    10,
    11,
    16,
    64,
    100,
    255,
    256,
    1000,
    65_536,
    1 << 20,
    1 << 24,
    1 << 28,
    (1 << 31) - 1,
    1 << 31,
    -(1 << 31),
    1 << 32,
    1 << 40,
    1 << 62,
    i64::MAX,
    i64::MIN,
];
/// Floats at which programs break.
const FLOATS: &[f32] = &[0.0, -0.0, 1.0, -1.0, 0.5, 1e-38, 1e38, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2.0, 1e6];
/// Words that some operator knows, and some that none does.
const WORDS: &[&str] = &[
    "",
    "NOTSET",
    "SAME_UPPER",
    "SAME_LOWER",
    "VALID",
    "constant",
    "reflect",
    "edge",
    "wrap",
    "linear",
    "cubic",
    "nearest",
    "add",
    "mul",
    "max",
    "asymmetric",
    "align_corners",
    "half_pixel",
    "tf_crop_and_resize",
    "bilinear",
    "DCR",
    "CRD",
    "LEFT",
    "RIGHT",
    "none",
    "->",
    "ij,jk->ik",
    "i,i->",
    "...ij->...ji",
    "border",
    "tanh",
    "\0",
    "\u{1b}[2J",
];
/// Attributes that operators have.
const NAMES: &[&str] = &[
    "axis",
    "axes",
    "keepdims",
    "pads",
    "strides",
    "dilations",
    "group",
    "kernel_shape",
    "ceil_mode",
    "auto_pad",
    "storage_order",
    "count_include_pad",
    "blocksize",
    "mode",
    "k",
    "to",
    "batch_dims",
    "allowzero",
    "perm",
    "p",
    "direction",
    "hidden_size",
    "largest",
    "sorted",
    "exclusive",
    "reverse",
    "upper",
    "epsilon",
    "alpha",
    "beta",
    "transA",
    "transB",
    "output_padding",
    "output_shape",
    "num_outputs",
    "select_last_index",
    "equation",
    "nearest_mode",
    "coordinate_transformation_mode",
    "stash_type",
    "training_mode",
    "momentum",
    "size",
    "bias",
    "num_groups",
    "block_size",
    "saturate",
    "value",
    "shape",
    "dtype",
    "seed",
    "low",
    "high",
    "fmod",
    "noop_with_empty_axes",
    "antialias",
    "cubic_coeff_a",
    "exclude_outside",
    "extrapolation_value",
    "padding_mode",
    "reduction",
];

/// The graph with one to three things wrong with it.
pub fn spoiled(graph: &Graph, random: &mut Random) -> Graph {
    let mut graph = graph.clone();
    for _ in 0..=random.below(3) {
        graph = match random.below(10) {
            0 => with_another_input(&graph, random),
            _ => with_another_node(&graph, random),
        };
    }
    graph
}

/// Some bytes replaced, dropped or doubled.
pub fn flip(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let (at, any) = (random.below(bytes.len()), random.next() as u8);
        match random.below(6) {
            0 => drop(bytes.remove(at)),
            1 => bytes.insert(at, any),
            2 => bytes[at] ^= 1 << random.below(8),
            _ => bytes[at] = random.pick(&[0, 1, 2, 7, 0x7f, 0x80, 0xff, any]),
        }
    }
}

fn with_another_input(graph: &Graph, random: &mut Random) -> Graph {
    let Some(&input) = graph.inputs().get(random.below(graph.inputs().len())) else { return graph.clone() };
    let mut ty = graph.value(input).ty.clone();
    let shape = ty.shape.get_or_insert_default();
    match random.below(6) {
        0 => ty.dtype = Some(random.pick(&[DType::F32, DType::F64, DType::I64, DType::I32, DType::U8, DType::Bool])),
        1 => shape.push(Dim::Fixed(1 + random.below(4))),
        2 => drop(shape.pop()),
        3 => shape.insert(0, Dim::symbol("M")),
        _ if shape.is_empty() => {}
        _ => {
            let at = random.below(shape.len());
            shape[at] =
                random.pick(&[Dim::Fixed(1), Dim::Fixed(2), Dim::Fixed(7), Dim::Fixed(1 << 16), Dim::symbol("N"), Dim::Unknown]);
        }
    }
    retyped(graph, input, ty)
}

fn retyped(graph: &Graph, input: ValueId, ty: ValueType) -> Graph {
    graph.with_input_type(input, ty).rewrite(|_, _, _| None)
}

fn with_another_node(graph: &Graph, random: &mut Random) -> Graph {
    let target = random.below(graph.nodes().len());
    let values = graph.values().len();
    let mut at = 0;
    graph.rewrite(|new, node, inputs| {
        at += 1;
        if at != target + 1 {
            return None;
        }
        let mut node = node.clone();
        node.inputs = inputs.to_vec();
        match random.below(12) {
            0 => rename(&mut node, random),
            1 => operands(&mut node, random),
            2 => {
                // any value that is there already
                let any = ValueId(random.below(new.values().len().min(values)) as u32);
                let place = random.below(node.inputs.len() + 1);
                if place == node.inputs.len() { node.inputs.push(Some(any)) } else { node.inputs[place] = Some(any) }
            }
            3..=6 => constant(new, &mut node, random),
            _ => attribute(&mut node, random),
        }
        let inputs = node.inputs.clone();
        Some(new.copy_node(graph, &node, inputs))
    })
}

/// Another operator that takes as many operands.
fn rename(node: &mut Node, random: &mut Random) {
    let fits: Vec<&str> =
        OPS.iter().filter(|op| op.domain.is_empty() && op.operands.contains(&node.inputs.len())).map(|op| op.name).collect();
    if !fits.is_empty() {
        node.op = random.pick(&fits).into();
    }
}

fn operands(node: &mut Node, random: &mut Random) {
    if node.inputs.is_empty() {
        return;
    }
    let (a, b) = (random.below(node.inputs.len()), random.below(node.inputs.len()));
    match random.below(4) {
        0 => node.inputs.swap(a, b),
        1 => node.inputs[a] = None,
        2 => node.inputs.push(node.inputs[a]),
        _ => drop(node.inputs.remove(a)),
    }
}

/// One constant operand with another element, another shape or another type.
fn constant(graph: &mut Graph, node: &mut Node, random: &mut Random) {
    let places: Vec<usize> =
        (0..node.inputs.len()).filter(|&i| node.input(i).is_some_and(|v| graph.constant(v).is_some())).collect();
    let Some(&place) = places.get(random.below(places.len())) else { return attribute(node, random) };
    let Some(old) = node.input(place).and_then(|v| graph.constant(v)).cloned() else { return };
    let shape = old.shape().to_vec();
    let another = match (random.below(8), &*old) {
        (0, t) => Some(t.cast(random.pick(&[DType::F32, DType::F64, DType::I64, DType::I32, DType::U8, DType::I8, DType::Bool]))),
        (1, t) => t.reshape(&[&shape[..], &[1]].concat()),
        (2, t) => t.reshape(&[t.len()]),
        (3, Tensor::I64(_)) => {
            Tensor::new(&[shape.first().copied().unwrap_or(1) + 1], vec![1i64; shape.first().copied().unwrap_or(1) + 1])
        }
        (4, Tensor::I64(_)) => Some(Tensor::ints(&[])),
        (_, Tensor::I64(a)) => {
            let mut a = a.clone();
            let n = random.below(a.len());
            a.iter_mut().skip(n).take(1).for_each(|v| *v = random.pick(INTEGERS));
            Some(Tensor::I64(a))
        }
        (_, Tensor::F32(a)) => {
            let mut a = a.clone();
            let n = random.below(a.len());
            a.iter_mut().skip(n).take(1).for_each(|v| *v = random.pick(FLOATS));
            Some(Tensor::F32(a))
        }
        _ => None,
    };
    if let Some(another) = another {
        node.inputs[place] = Some(graph.add_constant("spoiled", another));
    }
}

fn attribute(node: &mut Node, random: &mut Random) {
    let names: Vec<String> = node.attributes.0.keys().cloned().collect();
    if names.is_empty() || random.below(4) == 0 {
        let value = match random.below(4) {
            0 => Attribute::Ints((0..random.below(6)).map(|_| random.pick(INTEGERS)).collect()),
            1 => Attribute::Float(random.pick(FLOATS)),
            2 => Attribute::String(random.pick(WORDS).to_owned()),
            _ => Attribute::Int(random.pick(INTEGERS)),
        };
        node.attributes.0.insert(random.pick(NAMES).to_owned(), value);
        return;
    }
    let name = random.pick(&names);
    if random.below(6) == 0 {
        node.attributes.0.remove(&name);
        return;
    }
    match node.attributes.0.get_mut(&name) {
        Some(Attribute::Int(v)) => *v = random.pick(INTEGERS),
        Some(Attribute::Float(v)) => *v = random.pick(FLOATS),
        Some(Attribute::String(v)) => *v = random.pick(WORDS).to_owned(),
        Some(Attribute::Ints(list)) => match random.below(4) {
            0 => list.push(random.pick(INTEGERS)),
            1 => drop(list.pop()),
            _ if list.is_empty() => {}
            _ => {
                let at = random.below(list.len());
                list[at] = random.pick(INTEGERS);
            }
        },
        _ => {}
    }
}
