//! Types that inference should find, one row per case.

use super::*;
use crate::ir::{Attributes, ValueId};
use crate::normalize::{Options, logits, normalize, symbolic_batch};

/// An operand: a type such as `float[N,3]`, or `int64{1,-1}` for a constant vector, `int64=3` for a constant scalar.
fn operand(graph: &mut Graph, text: &str) -> Option<ValueId> {
    if text == "-" {
        return None;
    }
    let numbers = |list: &str| list.split(',').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect::<Vec<i64>>();
    if let Some(list) = text.strip_prefix("int64{") {
        return Some(graph.add_constant("c", Tensor::ints(&numbers(list.trim_end_matches('}')))));
    }
    if let Some(value) = text.strip_prefix("int64=") {
        return Some(graph.add_constant("c", Tensor::scalar(numbers(value)[0])));
    }
    if let Some(list) = text.strip_prefix("float{") {
        let values: Vec<f32> = list.trim_end_matches('}').split(',').map(|n| n.parse().unwrap()).collect();
        return Some(graph.add_constant("c", Tensor::new(&[values.len()], values).unwrap()));
    }
    Some(graph.add_input("x", ty(text)))
}

fn ty(text: &str) -> ValueType {
    let (name, dims) = text.split_once('[').unwrap_or((text, ""));
    let dtype = [1, 2, 3, 6, 7, 9, 11].into_iter().filter_map(dtype_of_code).find(|d| d.name() == name).unwrap();
    let dims = dims.trim_end_matches(']').split(',').filter(|d| !d.is_empty());
    let dim = |d: &str| match d.parse() {
        Ok(n) => Dim::Fixed(n),
        Err(_) if d == "?" => Dim::Unknown,
        Err(_) => Dim::symbol(d),
    };
    ValueType::new(dtype, dims.map(dim).collect())
}

fn attributes(text: &str) -> Attributes {
    let mut all = Attributes::none();
    for pair in text.split_whitespace() {
        let (name, value) = pair.split_once('=').unwrap();
        let numbers: Result<Vec<i64>, _> = value.split(',').map(str::parse).collect();
        all = match numbers {
            Ok(list) if list.len() == 1 && !value.ends_with(',') => all.with(name, list[0]),
            Ok(list) => all.with(name, list),
            Err(_) if value.starts_with('[') => {
                let list = value.trim_matches(['[', ']']).split(',').filter(|n| !n.is_empty());
                all.with(name, list.map(|n| n.parse().unwrap()).collect::<Vec<i64>>())
            }
            Err(_) => all.with(name, value),
        };
    }
    all
}

/// `Conv stride=1 (float[N,3,8,8], float[4,3,3,3])` inferred: the result types, or `error: …`.
fn inferred(case: &str, results: usize) -> String {
    let (head, operands) = case.trim_end_matches(')').split_once('(').unwrap();
    let (op, rest) = head.trim().split_once(' ').unwrap_or((head.trim(), ""));
    let (domain, op) = op.split_once('.').unwrap_or(("", op));
    let mut graph = Graph::new("case");
    let mut node = Node::new(op, &[], attributes(rest));
    node.domain = domain.into();
    // operands are separated by ", ", extents by ","
    node.inputs = operands.split(", ").filter(|o| !o.is_empty()).map(|o| operand(&mut graph, o)).collect();
    let made = graph.push(node, results);
    match graph.problems().first() {
        Some(problem) => format!("error: {}", problem.what.split_once(": ").unwrap().1),
        None => made.iter().map(|&v| graph.value(v).ty.to_string()).collect::<Vec<_>>().join(" "),
    }
}

fn check(rows: &[(&str, &str)]) {
    for (case, wanted) in rows {
        let results = if wanted.starts_with("error") { 1 } else { wanted.split(' ').count() };
        assert_eq!(inferred(case, results), *wanted, "{case}");
    }
}

#[test]
fn elementwise_broadcasts_names() {
    check(&[
        ("Relu (float[N,3])", "float[N,3]"),
        ("Add (float[N,3,8,8], float[3,1,1])", "float[N,3,8,8]"),
        ("Add (float[N,1], float[1,5])", "float[N,5]"),
        ("Mul (float[N,1], float[4,1])", "float[4,1]"),
        ("Mul (float[N], float[M])", "float[?]"),
        ("Sum (float, float[2], float[3,1])", "float[3,2]"),
        ("Greater (float[N,3], float)", "bool[N,3]"),
        ("Where (bool[N,3], float, float[N,1])", "float[N,3]"),
        ("Cast to=7 (float[N])", "int64[N]"),
        ("Clip (float[N], float, -)", "float[N]"),
        ("Softmax axis=-1 (float[N,10])", "float[N,10]"),
        ("Dropout (float[N,10])", "float[N,10] bool[N,10]"),
        ("Add (float[2,3], float[4])", "error: the shapes [2,3] and [4] do not broadcast"),
        ("Add (float[2], double[2])", "error: the element types float and double of its operands differ"),
        ("Relu (bool[2])", "error: operand 0 should be a number and is bool"),
        ("Sqrt (int64[2])", "error: operand 0 should be a float and is int64"),
        ("Softmax axis=2 (float[N,10])", "error: the axis 2 is outside rank 2"),
        ("Clip (float[N], float[3])", "error: its bounds should be scalars, not of shape [3]"),
        ("Add (float[2])", "error: it needs 2 operands and has 1"),
        ("Relu (float[2], float[2])", "error: it takes at most 1 operands and has 2"),
    ]);
}

#[test]
fn reductions() {
    check(&[
        ("ReduceSum (float[N,3,8])", "float[1,1,1]"),
        ("ReduceSum keepdims=0 (float[N,3,8], int64{1,-1})", "float[N]"),
        ("ReduceMean (float[N,3,8], int64{2})", "float[N,3,1]"),
        ("ReduceSum noop_with_empty_axes=1 (float[N,3])", "float[N,3]"),
        ("ReduceMax keepdims=0 (float[N,3], int64{})", "float"),
        ("ArgMax axis=1 keepdims=0 (float[N,10])", "int64[N]"),
        ("ReduceSum (float[N,3], int64{2})", "error: the axis 2 is outside rank 2"),
        ("ReduceSum axes=[1] (float[N,3])", "error: \"axes\" is an operand at opset 18, not an attribute"),
        ("ReduceSum (float[N,3], int64{1,-1})", "error: the axis 1 is named twice"),
    ]);
}

#[test]
fn products() {
    check(&[
        ("Gemm transB=1 (float[N,400], float[10,400], float[10])", "float[N,10]"),
        ("MatMul (float[N,784], float[784,10])", "float[N,10]"),
        ("MatMul (float[1,4,5], float[N,5,2])", "float[N,4,2]"),
        ("MatMul (float[5], float[5,2])", "float[2]"),
        ("MatMul (float[N,4,5], float[5])", "float[N,4]"),
        ("MatMul (float[5], float[5])", "float"),
        ("Einsum equation=nij,njk->nik (float[N,2,3], float[N,3,4])", "float[N,2,4]"),
        ("Einsum equation=...i,ij->...j (float[N,7,3], float[3,4])", "float[N,7,4]"),
        ("Einsum equation=ij,jk (float[N,3], float[3,4])", "float[N,4]"),
        ("Gemm (float[N,400], float[10,400])", "error: the columns of a (400) differ from the rows of b (10)"),
        ("Gemm (float[N,4], float[4,3], float[2])", "error: the shapes [N,3] and [2] do not broadcast"),
        ("MatMul (float[N,3], float[4,5])", "error: the last extent of a (3) differs from the rows of b (4)"),
        ("Einsum equation=ij,jk->ik (float[2,3], float[4,5])", "error: the letter 'j' stands for 3 and 4"),
    ]);
}

#[test]
fn convolutions_and_pools() {
    check(&[
        ("Conv pads=1,1,1,1 (float[N,3,32,32], float[16,3,3,3], float[16])", "float[N,16,32,32]"),
        ("Conv strides=2,2 kernel_shape=5,5 (float[N,1,28,28], float[6,1,5,5])", "float[N,6,12,12]"),
        ("Conv group=4 (float[N,8,9], float[8,2,3])", "float[N,8,7]"),
        ("Conv dilations=2,2 (float[N,1,9,9], float[1,1,3,3])", "float[N,1,5,5]"),
        ("Conv auto_pad=SAME_UPPER strides=2,2 (float[N,1,9,9], float[1,1,3,3])", "float[N,1,5,5]"),
        ("Conv pads=1,1,1,1 (float[N,3,H,W], float[16,3,3,3])", "float[N,16,H,W]"),
        ("Conv (float[N,3,H,W], float[16,3,3,3])", "float[N,16,?,?]"),
        ("Conv (float[N,2,5,5,5], float[3,2,3,3,3])", "float[N,3,3,3,3]"),
        ("ConvTranspose strides=2,2 (float[N,4,5,5], float[4,3,3,3])", "float[N,3,11,11]"),
        ("ConvTranspose strides=2,2 pads=1,1,1,1 output_padding=1,1 (float[N,4,5,5], float[4,3,3,3])", "float[N,3,10,10]"),
        ("ConvTranspose strides=2,2 (float[N,4,H,W], float[4,3,2,2])", "float[N,3,2*H,2*W]"),
        ("ConvTranspose group=2 auto_pad=SAME_UPPER strides=2,2 (float[N,4,5,5], float[4,3,3,3])", "float[N,6,10,10]"),
        ("MaxPool kernel_shape=2,2 strides=2,2 (float[N,6,9,9])", "float[N,6,4,4] int64[N,6,4,4]"),
        ("MaxPool kernel_shape=2,2 strides=2,2 ceil_mode=1 (float[N,6,9,9])", "float[N,6,5,5]"),
        ("AveragePool kernel_shape=[2] strides=[4] ceil_mode=1 pads=0,1 (float[N,1,5])", "float[N,1,2]"),
        ("GlobalAveragePool (float[N,64,8,8])", "float[N,64,1,1]"),
        ("BatchNormalization (float[N,6,8], float[6], float[6], float[6], float[6])", "float[N,6,8]"),
        ("LayerNormalization (float[N,6,8], float[8])", "float[N,6,8] float[N,6,1] float[N,6,1]"),
        ("Conv (float[N,3,8,8], float[16,4,3,3])", "error: the channels of x (3) differ from those of w (4)"),
        (
            "Conv group=2 (float[N,3,8,8], float[16,3,3,3])",
            "error: the channels of x (3) differ from those of w (3 times 2 groups)",
        ),
        ("Conv strides=0,1 (float[N,3,8,8], float[16,3,3,3])", "error: strides [0, 1] holds 0"),
        ("Conv group=0 (float[N,3,8,8], float[16,3,3,3])", "error: group 0"),
        ("Conv (float[N,3,2,8], float[16,3,3,3])", "error: the kernel spans 3 in spatial axis 0, which is 2 with its padding"),
        (
            "Conv kernel_shape=5,5 (float[N,3,8,8], float[16,3,3,3])",
            "error: kernel_shape [5, 5] differs from the extents [3, 3] of w",
        ),
        ("Conv (float[N,3,8,8], float[16,3,3,3], float[8])", "error: the bias has 8 elements for 16 output channels"),
        ("Conv pads=9999999999,0,0,0 (float[N,3,8,8], float[16,3,3,3])", "error: pads [9999999999, 0, 0, 0] holds 9999999999"),
        ("Conv (float[N,3], float[16,3,3,3])", "error: x should be [N,C,…] with spatial axes and is [N,3]"),
        ("MaxPool (float[N,6,9,9])", "error: kernel_shape is missing"),
        ("MaxPool kernel_shape=2,2 (float[N,6,9])", "error: kernel_shape [2, 2] does not fit x of shape [N,6,9]"),
    ]);
}

#[test]
fn movements() {
    check(&[
        ("Reshape (float[N,16,5,5], int64{-1,400})", "float[N,400]"),
        ("Reshape (float[N,16,5,5], int64{0,-1})", "float[N,400]"),
        ("Reshape (float[N,16,5,5], int64{-1,1,5,5})", "float[16*N,1,5,5]"),
        ("Reshape (float[16*N,1,5,5], int64{-1,16,5,5})", "float[N,16,5,5]"),
        ("Reshape (float[N,16,5,5], int64{1,-1})", "float[1,400*N]"),
        ("Reshape (float[N,16,5,5], int64[2])", "float[?,?]"),
        ("Flatten (float[N,16,5,5])", "float[N,400]"),
        ("Flatten axis=0 (float[2,3])", "float[1,6]"),
        ("Squeeze (float[N,1,5,1], int64{1,-1})", "float[N,5]"),
        ("Unsqueeze (float[N,5], int64{0,-1})", "float[1,N,5,1]"),
        ("Transpose perm=0,2,3,1 (float[N,3,8,9])", "float[N,8,9,3]"),
        ("Transpose (float[N,3])", "float[3,N]"),
        ("Concat axis=1 (float[N,3,2], float[N,5,2])", "float[N,8,2]"),
        ("Split axis=1 (float[N,7], int64{3,4})", "float[N,3] float[N,4]"),
        ("Split axis=1 num_outputs=3 (float[N,7])", "float[N,3] float[N,3] float[N,1]"),
        ("Slice (float[N,8], int64{1}, int64{-1}, int64{1})", "float[N,6]"),
        ("Slice (float[N,8], int64{-1}, int64{-9999999999}, int64{1}, int64{-1})", "float[N,8]"),
        ("Slice (float[N,8], int64{0}, int64{9223372036854775807}, int64{0}, int64{1})", "float[N,8]"),
        ("Slice (float[N,8], int64{-1}, int64{-9223372036854775808}, int64{0}, int64{-1})", "float[N,8]"),
        ("Slice (float[N,8], int64{0}, int64{1}, int64{0})", "float[1,8]"),
        ("Slice (float[N,8], int64{0}, int64{8}, int64{1}, int64{3})", "float[N,3]"),
        ("Pad (float[N,1,8,8], int64{0,0,1,2,0,0,-1,2}, float)", "float[N,1,8,12]"),
        ("Pad (float[N,1,8], int64{1,1}, float, int64{2})", "float[N,1,10]"),
        ("Expand (float[N,1], int64{1,5})", "float[N,5]"),
        ("Tile (float[N,2], int64{1,3})", "float[N,6]"),
        ("TopK (float[N,10], int64{3})", "float[N,3] int64[N,3]"),
        ("DepthToSpace blocksize=2 (float[N,8,3,W])", "float[N,2,6,2*W]"),
        ("SpaceToDepth blocksize=2 (float[N,2,6,8])", "float[N,8,3,4]"),
        ("Resize (float[N,2,6,8], -, float{1,1,2,1.5})", "float[N,2,12,12]"),
        ("Resize (float[N,2,6,8], -, -, int64{1,2,3,3})", "float[1,2,3,3]"),
        ("Transpose perm=0,2 (float[N,3])", "error: perm [0, 2] is not a permutation of the 2 axes of x"),
        ("Reshape (float[2,3], int64{4,-1})", "error: the elements of [2,3] do not fill the shape [4,?]"),
        ("Reshape (float[2,3], int64{-1,-1})", "error: the target [-1, -1] should hold extents, 0, and at most one -1"),
        ("Reshape (float[2], int64{2,0})", "error: the 0 at position 1 has no extent of x to copy"),
        ("Concat axis=1 (float[N,3,2], float[N,5,3])", "error: [N,3,2] and [N,5,3] differ outside the axis 1"),
        ("Squeeze (float[N,3], int64{1})", "error: the axis 1 of [N,3] is not 1"),
        ("Split axis=1 (float[N,7], int64{7,1})", "error: the parts [7,1] do not make up 7 in 1 results"),
        ("Slice (float[N,8], int64{0}, int64{8}, int64{1}, int64{0})", "error: a step is 0"),
        ("Pad (float[2], int64{-2,-1})", "error: in axis 0, an extent of 2 changed by -3 leaves -1"),
        ("TopK (float[N,10], int64{11})", "error: it asks for 11 of 10 elements"),
        ("DepthToSpace blocksize=0 (float[N,8,3,3])", "error: the block size is 0"),
    ]);
}

#[test]
fn indices_and_shapes() {
    check(&[
        ("Gather axis=1 (float[N,10], int64{1,2})", "float[N,2]"),
        ("Gather (float[10,4], int64=3)", "float[4]"),
        ("GatherElements axis=1 (float[N,10], int64[N,3])", "float[N,3]"),
        ("GatherND (float[2,3,4], int64[5,2])", "float[5,4]"),
        ("GatherND batch_dims=1 (float[N,3,4], int64[N,1])", "float[N,4]"),
        ("ScatterElements axis=0 reduction=add (float[M], int64[K], float[K])", "float[M]"),
        ("ScatterND (float[4,5], int64[2,1], float[2,5])", "float[4,5]"),
        ("OneHot (int64[N], int64=10, float[2])", "float[N,10]"),
        ("Shape (float[N,3])", "int64[2]"),
        ("Size (float[N,3])", "int64"),
        ("NonZero (float[N,3])", "int64[2,?]"),
        ("ConstantOfShape (int64{2,3})", "float[2,3]"),
        ("Range (int64=0, int64=7, int64=2)", "int64[4]"),
        ("RandomNormalLike (float[N,3])", "float[N,3]"),
        ("RandomUniform shape=2,3 ()", "float[2,3]"),
        ("flatscape.Project (float[N,3,8,8])", "float[N,3,8,8]"),
        ("flatscape.Distance (float[N,3,8,8], float[N,3,8,8])", "float[N]"),
        ("flatscape.CrossEntropy (float[N,10], int64[N])", "float[N]"),
        ("flatscape.DlrTargeted (float[N,10], int64[N], int64[N])", "float[N]"),
        ("com.example.Strange (float[N])", "undefined[]"),
        ("Gather axis=1 (float[N,10], int64{10})", "error: the index 10 is outside the extent 10"),
        ("Gather axis=1 (float[N,10], float[3])", "error: operand 1 should be int32 or int64 and is float"),
        ("ConstantOfShape (int64{2,-3})", "error: its shape holds -3"),
        ("flatscape.Margin (float[N,10], int64[3,3])", "error: the labels should have rank 1 and has the shape [3,3]"),
    ]);
}

#[test]
fn shape_arithmetic_keeps_the_batch() {
    let b = crate::Builder::default();
    let x = b.input("x", ty("float[N,16,5,5]"));
    let shape = x.unary("Shape");
    let batch = shape.gather(b.constant(Tensor::scalar(0i64)), 0).unsqueeze(&[0]);
    let flat = b.op("Reshape", &[x, b.concat(&[batch, b.ints(&[-1])], 0)], Attributes::none());
    assert_eq!(b.graph().value(flat.id).ty, ty("float[N,400]"));

    // N·C images of one channel and back
    let channels = shape.slice(&[0], &[2], &[0], &[1]);
    let images = channels.reduce("ReduceProd", &[0], true);
    let single = b.op("Reshape", &[x, b.concat(&[b.ints(&[-1, 1]), shape.slice(&[2], &[4], &[0], &[1])], 0)], Attributes::none());
    assert_eq!(b.graph().value(single.id).ty, ty("float[16*N,1,5,5]"));
    assert_eq!(b.graph().value(images.id).ty, ty("int64[1]"));
    let back = b.op("Reshape", &[single, shape], Attributes::none());
    assert_eq!(b.graph().value(back.id).ty, ty("float[N,16,5,5]"));

    // zeros of the size of x, flat
    let zeros = b.op("ConstantOfShape", &[x.unary("Size").reshape(&[1])], Attributes::none());
    assert_eq!(b.graph().value(zeros.id).ty, ty("float[400*N]"));

    assert!(b.graph().problems().is_empty(), "{:?}", b.graph().problems());
}

#[test]
fn rows_are_unique_and_names_are_found() {
    for (i, row) in OPS.iter().enumerate() {
        assert!(OPS[..i].iter().all(|other| (other.domain, other.name) != (row.domain, row.name)), "{} twice", row.name);
    }
    assert_eq!(nearest("Convv", ""), Some("Conv"));
    assert_eq!(nearest("Frobnicate", ""), None);
    assert_eq!(nearest("Projct", FUNCTIONS), Some("Project"));
    assert!(is_known("Conv", "ai.onnx") && !is_known("Project", ""));
}

/// A small generator of pseudo-random choices.
struct Dice(u64);

impl Dice {
    fn roll<T: Clone>(&mut self, sides: &[T]) -> T {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        sides[(self.0 >> 33) as usize % sides.len()].clone()
    }

    fn ints(&mut self) -> Vec<i64> {
        let n = self.roll(&[0, 1, 1, 2, 2, 3, 4, 8]);
        (0..n).map(|_| self.roll(&[-1, 0, 0, 1, 1, 1, 2, 2, 3, 5, -2, 7_000_000_000, i64::MAX, i64::MIN])).collect()
    }

    fn value(&mut self, graph: &mut Graph) -> Option<ValueId> {
        let dims = [
            Dim::Fixed(1),
            Dim::Fixed(2),
            Dim::Fixed(3),
            Dim::Fixed(4),
            Dim::Fixed(0),
            Dim::symbol("N"),
            Dim::Unknown,
            Dim::Fixed(usize::MAX / 3),
        ];
        let dtypes = [DType::F32, DType::F32, DType::F32, DType::F64, DType::I64, DType::I32, DType::Bool, DType::U8];
        let rank = self.roll(&[0, 1, 2, 2, 3, 4, 4, 5]);
        match self.roll(&[0, 1, 1, 1, 2, 3, 4]) {
            0 => None,
            1 => {
                let shape = (0..rank).map(|_| self.roll(&dims)).collect();
                Some(graph.add_input("x", ValueType::new(self.roll(&dtypes), shape)))
            }
            2 => Some(graph.add_input("x", ValueType::default())),
            3 => Some(graph.add_constant("c", Tensor::ints(&self.ints()))),
            _ => {
                let shape: Vec<usize> = (0..rank.min(3)).map(|_| self.roll(&[0, 1, 2, 3])).collect();
                Some(
                    graph
                        .add_constant("c", Tensor::full(self.roll(&dtypes), &shape, self.roll(&[0.0, 1.0, 2.0, -1.0, f64::NAN]))),
                )
            }
        }
    }

    fn attributes(&mut self) -> Attributes {
        let names = [
            "axis",
            "axes",
            "perm",
            "kernel_shape",
            "strides",
            "pads",
            "dilations",
            "group",
            "auto_pad",
            "output_padding",
            "ceil_mode",
            "keepdims",
            "to",
            "blocksize",
            "batch_dims",
            "start",
            "end",
            "value",
            "shape",
            "k",
            "num_outputs",
            "equation",
            "mode",
            "output_shape",
            "fmod",
            "upper",
            "reverse",
            "exclusive",
            "sample_size",
            "dtype",
            "transA",
            "noop_with_empty_axes",
            "value_ints",
        ];
        let mut all = Attributes::none();
        for _ in 0..self.roll(&[0, 1, 2, 3, 4]) {
            let name = self.roll(&names);
            all = match self.roll(&[0, 1, 1, 2]) {
                0 => all.with(name, self.ints().first().copied().unwrap_or(1)),
                1 => all.with(name, self.ints()),
                _ => all.with(
                    name,
                    self.roll(&["SAME_UPPER", "VALID", "...", "ij,jk->ik", "...i,ij->...j", "é…->", "reflect", "add", ""]),
                ),
            };
        }
        all
    }
}

#[test]
fn nonsense_is_refused_without_panic() {
    let mut dice = Dice(7);
    for round in 0..20_000 {
        let row = &OPS[round % OPS.len()];
        let mut graph = Graph::new("nonsense");
        let mut node = Node::new(row.name, &[], dice.attributes());
        node.domain = row.domain.into();
        node.inputs = (0..dice.roll(&[0, 1, 1, 2, 2, 2, 3, 3, 4, 5])).map(|_| dice.value(&mut graph)).collect();
        let outputs = graph.push(node, dice.roll(&[1, 1, 1, 2, 3]));
        outputs.into_iter().for_each(|y| graph.add_output("y", y));
        let graph = crate::simplify(&graph);
        let opset = dice.roll(&[7, 9, 10, 11, 12, 13, 17, 18, 20, 26]);
        let normal = normalize(&graph, opset, &Options::default());
        if let (Ok(normal), Some(&input)) = (normal, graph.inputs().first()) {
            let _ = symbolic_batch(&normal, input);
            let _ = logits(&normal, 0, crate::normalize::Answer::Classes);
        }
    }
}
