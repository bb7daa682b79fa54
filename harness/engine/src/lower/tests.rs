//! Every lowering against the graph before it, on every engine that is there, over strides, dilations, groups, pads and leftovers.

use flatscape_graph::{Attribute, Attributes, Builder, DType, Expr, Graph, Tensor, ValueType};

use super::*;
use crate::tests::{batch, engines, noise, run};
use crate::{CompileOptions, Engine};

mod chwn;
mod special;

fn ops(graph: &Graph) -> Vec<String> {
    graph.nodes().iter().map(|n| n.op.to_string()).collect()
}

/// One lowering for an engine, or for another one in its stead where it is not for this one.
fn apply(name: &str, graph: &Graph, engine: &str) -> Graph {
    let row = LOWERINGS.iter().find(|l| l.name == name).expect("a row of the table");
    match row.apply {
        Apply::Always(apply) => {
            apply(graph, if row.engines.contains(&engine) { engine } else { row.engines[row.engines.len() - 1] })
        }
        Apply::Special(apply) => apply(graph, engine, 8),
    }
}

/// Runs both forms as they are and compares: the 99th percentile and the largest difference, relative to the largest element.
fn agree(engine: &dyn Engine, before: &Graph, after: &Graph, inputs: &[Tensor], what: &str) {
    // tract adds the products of a sum one after the other: a gradient by a kernel has thousands
    let tolerated = if engine.name() == "tract" { 4e-6 } else { 1e-6 };
    let plain = CompileOptions { lower: false, ..Default::default() };
    let (expected, found) = (run(engine, before, &plain, inputs), run(engine, after, &plain, inputs));
    assert_eq!(expected.len(), found.len());
    for (expected, found) in expected.iter().zip(&found) {
        assert_eq!(expected.shape(), found.shape(), "{what} on {}", engine.name());
        let (a, b) = (expected.to_f64(), found.to_f64());
        let scale = a.iter().fold(1e-30f64, |m, v| m.max(v.abs()));
        let mut off: Vec<f64> = a.iter().zip(&b).map(|(a, b)| (a - b).abs() / scale).collect();
        off.sort_by(f64::total_cmp);
        let (p99, top) = (off[off.len() * 99 / 100], off[off.len() - 1]);
        assert!(p99 < tolerated && top < 5e-6, "{what} on {}: 99 % {p99:e}, largest {top:e}", engine.name());
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    from: usize,
    to: usize,
    group: usize,
    extent: [usize; 2],
    kernel: [usize; 2],
    stride: [i64; 2],
    dilation: [i64; 2],
    pads: [i64; 4],
    extra: [i64; 2],
}

const PLAIN: Case = Case {
    from: 16,
    to: 16,
    group: 1,
    extent: [6, 7],
    kernel: [3, 3],
    stride: [1, 1],
    dilation: [1, 1],
    pads: [1; 4],
    extra: [0, 0],
};

impl Case {
    fn weights(&self, seed: u64) -> Tensor {
        noise(&[self.from, self.to / self.group, self.kernel[0], self.kernel[1]], seed)
    }

    fn append<'b>(&self, b: &'b Builder, ct: Expr<'b>, seed: u64) -> Expr<'b> {
        self.append_to(b, ct, b.constant(self.weights(seed)))
    }

    fn append_to<'b>(&self, b: &'b Builder, ct: Expr<'b>, w: Expr<'b>) -> Expr<'b> {
        let attributes = Attributes::none()
            .with("strides", self.stride)
            .with("dilations", self.dilation)
            .with("pads", self.pads)
            .with("output_padding", self.extra)
            .with("group", self.group as i64);
        b.op("ConvTranspose", &[ct, w], attributes)
    }

    fn graph(&self) -> Graph {
        let b = Builder::new(Graph::new("gradient"));
        let ct = b.input("ct", batch(&[self.from, self.extent[0], self.extent[1]]));
        b.output("x", self.append(&b, ct, 7));
        b.into_graph()
    }

    /// As a training has it: the kernel is an input.
    fn with_kernel_as_input(&self) -> Graph {
        let b = Builder::new(Graph::new("training"));
        let ct = b.input("ct", batch(&[self.from, self.extent[0], self.extent[1]]));
        let w = b.input("w", ValueType::fixed(DType::F32, self.weights(7).shape()));
        b.output("x", self.append_to(&b, ct, w));
        b.into_graph()
    }

    fn input(&self, rows: usize) -> Tensor {
        noise(&[rows, self.from, self.extent[0], self.extent[1]], 3)
    }
}

fn lowers(name: &str, cases: &[Case]) {
    for engine in engines() {
        for case in cases {
            let before = case.graph();
            let after = apply(name, &before, engine.name());
            assert!(!ops(&after).contains(&"ConvTranspose".to_owned()), "{case:?} stays: {:?}", ops(&after));
            agree(&*engine, &before, &after, &[case.input(3)], &format!("{name} {case:?}"));
            let before = case.with_kernel_as_input();
            let after = apply(name, &before, engine.name());
            assert!(
                !ops(&after).contains(&"ConvTranspose".to_owned()),
                "{case:?} with a kernel as input stays: {:?}",
                ops(&after)
            );
            agree(&*engine, &before, &after, &[case.input(3), case.weights(7)], &format!("{name}, kernel as input, {case:?}"));
        }
    }
}

#[test]
fn flipped_kernels() {
    lowers(
        "flipped",
        &[
            PLAIN,
            Case { to: 24, kernel: [5, 2], pads: [0, 1, 3, 0], ..PLAIN },
            Case { group: 2, from: 32, kernel: [3, 1], pads: [0; 4], ..PLAIN },
            Case { group: 16, dilation: [2, 3], pads: [2, 0, 1, 4], ..PLAIN },
            // pads beyond the kernel: the convolution has to crop
            Case { kernel: [1, 1], pads: [1, 0, 2, 1], ..PLAIN },
            Case { kernel: [2, 3], pads: [3, 2, 1, 4], ..PLAIN },
        ],
    );
}

#[test]
fn phases_of_strided_kernels() {
    let strided = Case { stride: [2, 2], ..PLAIN };
    lowers(
        "phases",
        &[
            strided,
            Case { extra: [1, 1], ..strided },
            Case { kernel: [1, 1], pads: [0; 4], extra: [1, 0], ..strided },
            Case { kernel: [2, 4], pads: [0, 1, 1, 2], ..strided },
            Case { kernel: [5, 3], pads: [2, 0, 1, 3], extra: [0, 1], from: 32, to: 16, ..strided },
            Case { kernel: [7, 7], pads: [3; 4], extra: [1, 1], ..strided },
            Case { group: 4, from: 16, to: 32, ..strided },
            Case { dilation: [3, 1], kernel: [3, 3], pads: [3, 1, 2, 0], ..strided },
        ],
    );
}

#[test]
fn phases_with_even_dilation_that_skip_rows_are_left_alone_or_right() {
    for engine in engines() {
        let case = Case { stride: [2, 2], dilation: [2, 2], pads: [0, 1, 0, 1], ..PLAIN };
        let before = case.graph();
        agree(&*engine, &before, &apply("phases", &before, engine.name()), &[case.input(2)], "even dilation");
    }
}

#[test]
fn a_shortcut_joins_the_phases_of_its_convolution() {
    let main = Case { from: 32, stride: [2, 2], extra: [1, 0], ..PLAIN };
    let shortcut = Case { kernel: [1, 1], pads: [0; 4], extra: [1, 0], ..main };
    let b = Builder::new(Graph::new("block"));
    let ct = b.input("ct", batch(&[32, 6, 7]));
    let other = b.input("other", batch(&[32, 6, 7]));
    b.output("x", main.append(&b, ct, 1) + shortcut.append(&b, other, 2));
    let before = b.into_graph();
    for engine in engines() {
        let after = apply("phases", &before, engine.name());
        let count = |op: &str| ops(&after).iter().filter(|o| *o == op).count();
        assert_eq!(count("DepthToSpace") + count(INTERLEAVE), 1, "{:?}", ops(&after));
        assert_eq!(count("Conv"), 5);
        agree(&*engine, &before, &after, &[main.input(3), noise(&[3, 32, 6, 7], 9)], "block");
    }
}

#[test]
fn a_gradient_that_is_read_twice_is_not_merged_away() {
    let main = Case { stride: [2, 2], ..PLAIN };
    let b = Builder::new(Graph::new("twice"));
    let ct = b.input("ct", batch(&[16, 6, 7]));
    let (p, q) = (main.append(&b, ct, 1), main.append(&b, ct, 2));
    b.output("sum", p + q);
    b.output("p", p);
    let before = b.into_graph();
    for engine in engines() {
        agree(&*engine, &before, &apply("phases", &before, engine.name()), &[main.input(2)], "twice");
    }
}

#[test]
fn narrow_layers_stay_whether_their_kernel_is_constant_or_not() {
    let narrow = Case { from: 6, to: 1, ..PLAIN };
    for graph in [narrow.graph(), narrow.with_kernel_as_input()] {
        assert_eq!(ops(&lower(&graph, "ort", None)), ["ConvTranspose"]);
    }
}

/// The gradient of a convolution by its kernel as the rule writes it: x and ȳ with batch and channels exchanged, stride and dilation
/// exchanged, the first taps, exchanged back.
fn correlation(case: &Case) -> Graph {
    let b = Builder::new(Graph::new("correlation"));
    let x = b.input("x", batch(&[case.from, case.extent[0], case.extent[1]]));
    let [p, q] = case.steps();
    let ct = b.input("ct", batch(&[case.to, p, q]));
    let attributes =
        Attributes::none().with("strides", case.dilation).with("dilations", case.stride).with("pads", case.pads).with("group", 1);
    let whole = b.op("Conv", &[x.transpose(&[1, 0, 2, 3]), ct.transpose(&[1, 0, 2, 3])], attributes);
    let ends = case.kernel.map(|k| k as i64);
    let taps = if case.stride == [1, 1] { whole } else { whole.slice(&[0, 0], &ends, &[2, 3], &[1, 1]) };
    b.output("w", taps.transpose(&[1, 0, 2, 3]));
    b.into_graph()
}

impl Case {
    /// Extents of the result where `extent` is that of the input of a convolution.
    fn steps(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let reach = self.dilation[axis] * (self.kernel[axis] as i64 - 1);
            let padded = self.extent[axis] as i64 + self.pads[axis] + self.pads[axis + 2];
            ((padded - reach - 1) / self.stride[axis] + 1) as usize
        })
    }
}

#[test]
fn gradients_by_a_kernel_are_correlations() {
    let cases = [
        PLAIN,
        Case { from: 1, to: 6, kernel: [5, 5], extent: [28, 28], pads: [2; 4], ..PLAIN },
        Case { from: 6, to: 16, kernel: [5, 5], extent: [14, 14], pads: [0; 4], ..PLAIN },
        Case { stride: [2, 2], ..PLAIN },
        Case { stride: [2, 2], kernel: [1, 1], pads: [0; 4], ..PLAIN },
        Case { stride: [2, 3], kernel: [3, 2], extent: [11, 13], pads: [1, 0, 2, 1], dilation: [2, 1], ..PLAIN },
        Case { from: 33, to: 70, kernel: [3, 1], pads: [1, 0, 1, 0], ..PLAIN },
    ];
    for case in cases {
        let before = correlation(&case);
        let after = apply("correlations", &before, "ort");
        assert_eq!(ops(&after), [CORRELATION], "{case:?}");
        let shape = |graph: &Graph| graph.shape(graph.outputs()[0].value).map(<[_]>::to_vec);
        assert_eq!(shape(&before), shape(&after), "{case:?}");
        // tract has no such operator
        for engine in engines() {
            for rows in [1, 9] {
                let [p, q] = case.steps();
                let ct = noise(&[rows, case.to, p, q], 5);
                agree(&*engine, &before, &after, &[case.input(rows), ct], &format!("correlations, {rows} rows, {case:?}"));
            }
        }
    }
}

#[test]
fn correlations_of_another_kind_stay() {
    let stays = |graph: &Graph| assert_eq!(ops(&apply("correlations", graph, "ort")), ops(graph));
    // taps that reach further than the cotangent is wide: most products would be with zeros
    stays(&correlation(&Case { extent: [5, 5], kernel: [5, 5], pads: [0; 4], ..PLAIN }));
    let another = |formula: &dyn for<'b> Fn(&'b Builder, Expr<'b>, Expr<'b>) -> Expr<'b>, dtype: DType| {
        let b = Builder::new(Graph::new("another"));
        let x = b.input("x", ValueType { dtype: Some(dtype), ..batch(&[4, 6, 6]) });
        let ct = b.input("ct", ValueType { dtype: Some(dtype), ..batch(&[4, 6, 6]) });
        b.output("w", formula(&b, x, ct));
        b.into_graph()
    };
    let conv = |pads: [i64; 4]| Attributes::none().with("pads", pads);
    // only one of the operands is exchanged; the result is not; float64
    stays(&another(
        &|b, x, ct| b.op("Conv", &[x, ct.transpose(&[1, 0, 2, 3])], conv([1; 4])).transpose(&[1, 0, 2, 3]),
        DType::F32,
    ));
    stays(&another(
        &|b, x, ct| b.op("Conv", &[x.transpose(&[1, 0, 2, 3]), ct.transpose(&[1, 0, 2, 3])], conv([1; 4])),
        DType::F32,
    ));
    stays(&another(
        &|b, x, ct| {
            b.op("Conv", &[x.transpose(&[1, 0, 2, 3]), ct.transpose(&[1, 0, 2, 3])], conv([1; 4])).transpose(&[1, 0, 2, 3])
        },
        DType::F64,
    ));
}

/// The gradient of MaxPool as the rule writes it.
fn pool(attributes: Attributes, extent: [usize; 2], relu: bool) -> Graph {
    let b = Builder::new(Graph::new("pool"));
    let input = b.input("x", batch(&[5, extent[0], extent[1]]));
    let x = if relu { input.relu() } else { input };
    let pooled = b.ops("MaxPool", &[x], 2, attributes);
    // a cotangent that differs from window to window, and arrives as a row
    let ct = (pooled[0] * pooled[0] + 1.0).reshape(&[0, -1]);
    let scattered = scattered(x, pooled[1], ct);
    let gradient = if relu { x.greater(0.0).select(scattered, scattered.scalar(0.0)) } else { scattered };
    b.output("gradient", gradient);
    b.into_graph()
}

/// A cotangent at the indices of a pool of x.
fn scattered<'b>(x: Expr<'b>, indices: Expr<'b>, ct: Expr<'b>) -> Expr<'b> {
    let b = x.builder();
    let zero = Tensor::full(DType::F32, &[1], 0.0).cast(x.dtype());
    let zeros = b.op("ConstantOfShape", &[x.shape()], [("value", Attribute::Tensor(zero.into()))]).reshape(&[-1]);
    let operands = [zeros, indices.reshape(&[-1]), ct.reshape(&[-1])];
    b.op("ScatterElements", &operands, [("axis", 0.into()), ("reduction", "add".into())]).reshape_like(x)
}

/// Small whole numbers, so that most windows hold ties.
fn ties(shape: &[usize]) -> Tensor {
    let values: Vec<f32> = noise(shape, 11).to_f64().iter().map(|v| (v * 1.6).trunc() as f32).collect();
    Tensor::new(shape, values).unwrap()
}

#[test]
fn pool_gradients_go_to_the_first_largest_element() {
    let window = |kernel: [i64; 2], strides: [i64; 2], pads: [i64; 4]| {
        Attributes::none().with("kernel_shape", kernel).with("strides", strides).with("pads", pads)
    };
    let cases = [
        (window([2, 2], [2, 2], [0; 4]), [6, 8]),
        (window([2, 2], [2, 2], [0; 4]), [7, 9]),
        (window([3, 3], [3, 3], [0; 4]), [9, 7]),
        (window([3, 3], [2, 2], [1; 4]), [8, 8]),
        (window([2, 3], [1, 2], [1, 0, 0, 1]), [5, 6]),
        (window([2, 2], [2, 2], [0; 4]).with("ceil_mode", 1), [7, 5]),
        (window([2, 2], [1, 1], [0; 4]).with("dilations", [2, 1]), [6, 6]),
    ];
    for (attributes, extent) in cases {
        for relu in [false, true] {
            let graph = pool(attributes.clone(), extent, relu);
            let after = apply("pools", &graph, "ort");
            assert_eq!(ops(&after).iter().filter(|op| *op == POOL_GRADIENT).count(), 1, "{:?}", ops(&after));
            let pools = after.nodes().iter().filter(|n| &*n.op == "MaxPool");
            assert!(pools.into_iter().all(|n| n.outputs.len() == 1), "indices that no node reads are still written");
            assert!(!ops(&after).contains(&"ScatterElements".to_owned()) && !ops(&after).contains(&"Where".to_owned()));
            for engine in engines() {
                for x in [noise(&[3, 5, extent[0], extent[1]], 1), ties(&[20, 5, extent[0], extent[1]])] {
                    let plain = CompileOptions { lower: false, ..Default::default() };
                    let expected = run(&*engine, &graph, &plain, std::slice::from_ref(&x));
                    let found = run(&*engine, &graph, &CompileOptions::default(), &[x]);
                    assert_eq!(expected, found, "{attributes:?} {extent:?} relu {relu} on {}", engine.name());
                }
            }
        }
    }
}

#[test]
fn a_gate_is_closed_for_what_is_infinite_or_nan() {
    let b = Builder::new(Graph::new("gate"));
    let (x, v) = (b.input("x", batch(&[6])), b.input("v", batch(&[6])));
    b.output("y", x.greater(0.0).select(v, v.scalar(0.0)));
    let graph = b.into_graph();
    assert_eq!(ops(&apply("gates", &graph, "ort")), [GATE]);
    let x = Tensor::new(&[1, 6], vec![1.0f32, -1.0, 0.0, -0.0, f32::NAN, 2.0]).unwrap();
    let v = Tensor::new(&[1, 6], vec![3.0f32, f32::INFINITY, f32::NAN, f32::NEG_INFINITY, 4.0, f32::INFINITY]).unwrap();
    for engine in engines() {
        let found = run(&*engine, &graph, &CompileOptions::default(), &[x.clone(), v.clone()]);
        assert_eq!(found[0].to_f64(), [3.0, 0.0, 0.0, 0.0, 0.0, f64::INFINITY], "{}", engine.name());
    }
    // operands of other extents are left to the engine
    let b = Builder::new(Graph::new("wide"));
    let (x, v) = (b.input("x", batch(&[1])), b.input("v", batch(&[6])));
    b.output("y", x.greater(0.0).select(v, v.scalar(0.0)));
    assert_eq!(ops(&apply("gates", &b.into_graph(), "ort")), ["Greater", "Where"]);
}

#[test]
fn the_table_is_whole() {
    for row in LOWERINGS {
        assert!(!row.engines.is_empty() && !row.summary.is_empty() && !row.evidence.is_empty(), "{}", row.name);
        assert!(row.engines.iter().all(|e| ["ort", "cuda", "tract"].contains(e)), "{}", row.name);
    }
}
