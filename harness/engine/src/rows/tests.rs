//! Which graphs are cut, and where.

use flatscape_graph::{Attributes, Builder, DType, Expr, ValueType};

use super::*;
use crate::tests::{batch, noise};

#[test]
fn attacks_ask_about_every_row_alone_where_a_graph_counts_its_rows() {
    let graph = |results: &dyn for<'b> Fn(Expr<'b>) -> Expr<'b>| {
        let b = Builder::new(flatscape_graph::Graph::new("counting"));
        let x = b.input("x", batch(&[4]));
        b.output("y", results(x));
        b.into_graph()
    };
    let counting = graph(&|x| {
        let many = x.shape().slice(&[0], &[1], &[0], &[1]).cast(DType::F32).greater(8.0).cast(DType::F32);
        x + many.reshape(&[1, 1])
    });
    let other = graph(&|x| {
        let shape = x.shape();
        let features = shape.slice(&[1], &[2], &[0], &[1]).cast(DType::F32);
        x * features.reshape(&[1, 1])
    });
    let alone = |graph: &Graph, options: &CompileOptions| Cut::by(graph, options).map(|cut| cut.alone);
    assert_eq!(alone(&counting, &CompileOptions::fast()), Some(true));
    // the question whether answers depend on the batch is put to batches
    assert_eq!(alone(&counting, &CompileOptions::default()), Some(false));
    assert_eq!(alone(&other, &CompileOptions::fast()), Some(false));
    let rows = Tensor::new(&[20, 4], vec![0f32; 80]).unwrap();
    let pieces = |graph: &Graph| Cut::by(graph, &CompileOptions::fast()).unwrap().pieces(&[Source::Tensor(&rows)], 8, 8).len();
    assert_eq!((pieces(&counting), pieces(&other)), (20, 2));
}

#[test]
fn cuts_cover_the_batch_and_know_nothing_of_threads() {
    for least in [1, 8] {
        for rows in 0..600 {
            let cuts = cuts(rows, least, least);
            assert_eq!((cuts[0].start, cuts[cuts.len() - 1].end), (0, rows));
            assert!(cuts.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(cuts.iter().all(|c| c.len() <= 64), "{rows}: {cuts:?}");
            assert!(cuts.len() <= 2 || cuts.iter().all(|c| c.len() >= least), "{rows}: {cuts:?}");
        }
    }
    let count = |rows| cuts(rows, 8, 8).len();
    assert_eq!([0, 1, 7, 8, 15, 16, 24, 64, 256, 1000].map(count), [1, 1, 1, 2, 2, 2, 3, 8, 32, 125]);
    assert_eq!(cuts(17, 8, 8), [0..8, 8..17]);
    assert_eq!([7, 8, 40, 64, 128, 1000].map(|rows| cuts(rows, 8, 32).len()), [1, 2, 2, 2, 4, 31]);
}

fn cut(formula: impl for<'b> Fn(&'b Builder, Expr<'b>) -> Expr<'b>) -> bool {
    let b = Builder::new(Graph::new("rows"));
    let x = b.input("x", batch(&[4]));
    b.output("y", formula(&b, x));
    Cut::of(&b.into_graph()).is_some()
}

/// Scores of all pairs of two halves of the features of a row, brought into these extents with the halves or the rows first.
fn heads<'b>(x: Expr<'b>, extents: &[i64]) -> Expr<'b> {
    let halves = x.reshape(&[-1, 2, 2]).transpose(&[1, 0, 2]).reshape(extents);
    let stack = if extents[0] == 2 { halves.transpose(&[1, 0, 2]) } else { halves };
    stack.matmul(stack.transpose(&[0, 2, 1])).reshape(&[-1, 4])
}

#[test]
fn only_graphs_whose_rows_are_independent_are_cut() {
    assert!(cut(|_, x| x.relu() * x.sum(&[1], true)));
    assert!(cut(|_, x| x.softmax(1) + x.softmax(-1)));
    assert!(cut(|_, x| x.transpose(&[0, 1]) + x.slice(&[0], &[4], &[1], &[1])));
    assert!(cut(|b, x| x.matmul(b.constant(Tensor::full(DType::F32, &[4, 2], 1.0)))));
    assert!(cut(|_, x| x.reshape(&[-1]).reshape_like(x)));
    // rows behind the features, and beside them in one axis
    assert!(cut(|_, x| x.transpose(&[1, 0]).relu().transpose(&[1, 0])));
    assert!(cut(|_, x| x.transpose(&[1, 0]).softmax(0).sum(&[0], false).unsqueeze(&[1])));
    assert!(cut(|_, x| x.transpose(&[1, 0]).reshape(&[-1, 1]).relu().reshape(&[4, -1]).transpose(&[1, 0])));
    assert!(cut(|_, x| x.reshape(&[-1, 2]).softmax(1).reshape(&[-1, 4])));
    assert!(cut(|_, x| heads(x, &[2, -1, 2])));
    // the gradient of a pool: places in all that it was given
    assert!(cut(|b, x| {
        let image = x.reshape(&[-1, 1, 2, 2]);
        let attributes = Attributes::none().with("kernel_shape", vec![2i64, 1]);
        let pooled = b.ops("MaxPool", &[image], 2, attributes);
        let flat = |v: Expr<'_>| v.reshape(&[-1]).id;
        let operands = [(x * 0.0).reshape(&[-1]), b.expr(flat(pooled[1])), b.expr(flat(pooled[0]))];
        b.op("ScatterElements", &operands, Attributes::none()).reshape_like(x)
    }));
    for mixes in [
        cut(|_, x| x - x.mean(&[0], true)),
        cut(|_, x| x - x.mean(&[-2], true)),
        cut(|_, x| x.softmax(0)),
        // a row of the result has elements of several images
        cut(|_, x| x.transpose(&[1, 0]).reshape(&[-1, 4])),
        cut(|_, x| x.transpose(&[1, 0]).softmax(1).transpose(&[1, 0])),
        cut(|_, x| x.transpose(&[1, 0]).reshape(&[-1, 1]).sum(&[0], true) + x),
        cut(|_, x| x.reshape(&[4, -1]).transpose(&[1, 0])),
        cut(|_, x| x.reshape(&[-1, 2]).softmax(0).reshape(&[-1, 4])),
        cut(|_, x| x.sum(&[1], false) + x.slice(&[0], &[1], &[1], &[1])),
        cut(|_, x| heads(x, &[-1, 2, 2])),
        cut(|_, x| x * x.reduce("ReduceMax", &[0, 1], true)),
        cut(|_, x| x + x.slice(&[0], &[1], &[0], &[1])),
        cut(|_, x| x.matmul(x.transpose(&[1, 0]).matmul(x))),
        cut(|b, x| x.gather(b.ints(&[0]), 0) + x),
        cut(|b, x| b.op("CumSum", &[x, b.constant(Tensor::scalar(0i64))], Attributes::none())),
        cut(|_, x| x.reshape(&[-1]).sum(&[0], true) + x),
        // a constant with a row for each of sixteen images, and a diagonal
        cut(|b, x| x + b.constant(Tensor::full(DType::F32, &[16, 1], 1.0))),
        cut(|b, x| x + b.op("EyeLike", &[x], Attributes::none())),
    ] {
        assert!(!mixes);
    }
    let fixed = Builder::new(Graph::new("fixed"));
    let x = fixed.input("x", ValueType::fixed(DType::F32, &[64, 4]));
    fixed.output("y", x.relu());
    assert!(Cut::of(&fixed.into_graph()).is_none());
}

/// Choices that look random, the same every time.
struct Choices(u64);

impl Choices {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % count
    }

    fn order(&mut self, count: usize) -> Vec<i64> {
        let mut all: Vec<i64> = (0..count as i64).collect();
        (1..count).rev().for_each(|at| all.swap(at, self.below(at + 1)));
        all
    }
}

/// One more operation on a value, by chance; `None` where its extents do not allow it.
fn grown<'b>(x: Expr<'b>, before: &[Expr<'b>], choices: &mut Choices) -> Option<Expr<'b>> {
    let (b, dims) = (x.builder(), x.dims().filter(|dims| !dims.is_empty() && dims.len() < 5)?);
    let (rank, other) = (dims.len(), before[choices.below(before.len())]);
    let at = choices.below(rank);
    let axis = at as i64;
    let extents: Vec<i64> = dims.iter().map(|dim| dim.fixed().map_or(-1, |n| n as i64)).collect();
    let named = |name: &str, axis: i64| Attributes::none().with(name, axis);
    let letters = |order: &[i64]| order.iter().map(|&at| (b'a' + at as u8) as char).collect::<String>();
    Some(match choices.below(26) {
        0 => x.relu() * 2.0,
        1 | 2 => x.transpose(&choices.order(rank)),
        3 if at + 1 < rank => {
            let merged = if extents[at] < 0 || extents[at + 1] < 0 { -1 } else { extents[at] * extents[at + 1] };
            x.reshape(&[&extents[..at], &[merged], &extents[at + 2..]].concat())
        }
        4 | 5 if extents[at] % 2 == 0 => x.reshape(&[&extents[..at], &[2, extents[at] / 2], &extents[at + 1..]].concat()),
        4 if extents[at] < 0 => x.reshape(&[&extents[..at], &[-1, 2], &extents[at + 1..]].concat()),
        5 if extents[at] < 0 => x.reshape(&[&extents[..at], &[2, -1], &extents[at + 1..]].concat()),
        6 => x.sum(&[axis], true) * x,
        7 if rank > 1 => x.mean(&[axis], false),
        8 => x.softmax(axis),
        9 => x + other,
        10 => {
            // three is the number of rows below
            let shape: Vec<usize> = dims.iter().map(|dim| [1, dim.fixed().unwrap_or(3)][choices.below(2)]).collect();
            x * b.constant(noise(&shape, axis as u64))
        }
        11 => b.concat(&[x, x * 3.0], axis),
        12 => x.slice(&[0], &[1], &[axis], &[1]),
        13 => x.gather(b.ints(&[0, 0]), axis),
        14 => {
            let mut pads = vec![0; 2 * rank];
            pads[at] = 1;
            x.pad_zeros(&pads)
        }
        15 if rank > 1 => x.matmul(x.transpose_last()),
        16 if rank > 1 => x.matmul(other),
        17 => x.unsqueeze(&[axis]),
        18 if extents[at] == 1 && rank > 1 => x.squeeze(&[axis]),
        19 => b.op("GatherElements", &[x, b.op("ArgMax", &[x], named("axis", axis))], named("axis", axis)),
        20 => b.op("CumSum", &[x, b.constant(Tensor::scalar(axis))], Attributes::none()),
        21 => {
            let (all, kept) = (letters(&(0..rank as i64).collect::<Vec<_>>()), 1 + choices.below(rank));
            let equation = format!("{all},{all}->{}", letters(&choices.order(rank)[..kept]));
            b.op("Einsum", &[x, x.relu()], [("equation", equation.as_str().into())])
        }
        22 => b.concat(&[x, (x.scalar(1.0)).expand_like(x)], axis),
        23 => b.ops("TopK", &[x, b.ints(&[1])], 2, named("axis", axis))[0],
        24 => b.constant(noise(&[2, 5, 2], 7)).gather(x.is_positive().cast(DType::I64), choices.below(2) as i64),
        25 if rank > 1 => {
            let (flat, positive) = (x.reshape(&[-1]), x.is_positive().cast(DType::I64));
            b.op("GatherElements", &[flat, positive.reshape(&[-1])], named("axis", 0)).reshape_like(x)
        }
        _ => return None,
    })
}

/// A graph of random operations whose result has the batch as leading extent.
fn random(choices: &mut Choices) -> Option<Graph> {
    let b = Builder::new(Graph::new("random"));
    let mut values = vec![b.input("x", batch(&[4]))];
    for _ in 0..2 + choices.below(8) {
        let last = values[values.len() - 1];
        values.extend(grown(last, &values, choices));
    }
    let last = values[values.len() - 1];
    let dims = last.dims()?;
    let at = dims.iter().position(|dim| matches!(dim, Dim::Symbol(symbol) if &**symbol == "N"))?;
    let others = (0..dims.len()).filter(|&axis| axis != at);
    let order: Vec<i64> = [at].into_iter().chain(others).map(|axis| axis as i64).collect();
    b.output("y", last.transpose(&order));
    Some(b.into_graph())
}

/// What is cut gives every row what it gives it alone.
#[test]
fn rows_of_random_graphs_that_are_cut_do_not_see_each_other() {
    let engine = &crate::tests::engines()[0];
    let options = CompileOptions { split: false, ..CompileOptions::default() };
    let (mut choices, x) = (Choices(1), noise(&[3, 4], 5));
    let (mut cut, mut moved, mut mixed) = (0, 0, 0);
    for _ in 0..4000 {
        let Some(graph) = random(&mut choices) else { continue };
        let results = |rows: &Tensor| {
            let executable = engine.compile(&graph, &options).ok()?;
            executable.run(&[&Buffer::from(rows.clone())]).ok()?[0].host().ok()
        };
        // some Reshapes are impossible with three rows
        let Some(whole) = results(&x) else { continue };
        let alone = |row: usize| {
            let (alone, expected) = (results(&flatscape_graph::rows(&x, &[row])), flatscape_graph::rows(&whole, &[row]));
            let close = |alone: Tensor| {
                let pairs = alone.to_f64().into_iter().zip(expected.to_f64());
                alone.shape() == expected.shape() && pairs.into_iter().all(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + b.abs()))
            };
            whole.shape().first() == Some(&3) && alone.is_some_and(close)
        };
        let independent = (0..3).all(alone);
        if Cut::of(&graph).is_some() {
            assert!(independent, "a graph is cut whose rows see each other:\n{graph:?}");
            cut += 1;
            moved += usize::from(
                graph
                    .nodes()
                    .iter()
                    .any(|node| &*node.op == "Transpose" && node.attributes.ints("perm").is_some_and(|p| p[0] != 0)),
            );
        } else {
            mixed += usize::from(!independent);
        }
    }
    assert!(
        cut > 400 && moved > 150 && mixed > 300,
        "{cut} are cut, {moved} of them after a Transpose of the rows; {mixed} mix rows"
    );
}
