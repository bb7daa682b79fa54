//! `chwn`: what becomes one operator, what it computes, and what stays.

use super::*;

/// A layer with ReLU and pool, and the gradient by x of half the sum of squares of the pool, as rules of gradients write it.
fn layer(dtype: DType, [channels, results]: [usize; 2], extent: usize) -> Graph {
    let b = Builder::new(Graph::new("layer"));
    let x = b.input("x", ValueType { dtype: Some(dtype), ..batch(&[channels, extent, extent]) });
    let taps = b.constant(noise(&[results, channels, 5, 5], 1).cast(dtype));
    let y = b.op("Conv", &[x, taps, b.constant(noise(&[results], 2).cast(dtype))], pads(2)).relu();
    let square = Attributes::none().with("kernel_shape", [2, 2]).with("strides", [2, 2]);
    let pooled = b.ops("MaxPool", &[y], 2, square);
    let gradient = scattered(y, pooled[1], pooled[0]);
    let gradient = y.greater(0.0).select(gradient, gradient.scalar(0.0));
    b.output("pool", pooled[0]);
    b.output("gradient", b.op("ConvTranspose", &[gradient, taps], pads(2)));
    b.into_graph()
}

fn pads(n: i64) -> Attributes {
    Attributes::none().with("pads", [n; 4])
}

fn on_ort(check: impl Fn(&dyn Engine)) {
    engines().iter().for_each(|engine| check(&**engine));
}

#[test]
fn a_layer_with_its_pool_and_their_gradients_are_two_operators() {
    for extent in [12, 13] {
        let graph = layer(DType::F32, [2, 6], extent);
        let after = lower(&graph, "ort", Some(8));
        assert_eq!(ops(&after), [CHWN, CHWN]);
        for (before, after) in graph.outputs().iter().zip(after.outputs().iter().map(|o| after.shape(o.value))) {
            assert_eq!(graph.shape(before.value), after);
        }
        on_ort(|engine| {
            for rows in [1, 5, 8, 16, 43] {
                agree(
                    engine,
                    &graph,
                    &after,
                    &[noise(&[rows, 2, extent, extent], 6)],
                    &format!("{extent}×{extent}, {rows} rows"),
                );
            }
        });
    }
}

#[test]
fn a_pool_that_alone_is_read_is_all_that_is_written() {
    let b = Builder::new(Graph::new("forward"));
    let x = b.input("x", batch(&[3, 9, 8]));
    let y = b.op("Conv", &[x, b.constant(noise(&[5, 3, 3, 3], 1))], pads(1)).relu();
    let square = Attributes::none().with("kernel_shape", [2, 2]).with("strides", [2, 2]);
    b.output("y", b.op("MaxPool", &[y], square));
    let graph = b.into_graph();
    let after = lower(&graph, "ort", Some(8));
    assert_eq!(ops(&after), [CHWN]);
    assert_eq!(after.nodes()[0].attributes.ints("give"), Some(&[2][..]));
    on_ort(|engine| agree(engine, &graph, &after, &[noise(&[11, 3, 9, 8], 6)], "pool alone"));
}

#[test]
fn additions_relus_and_gates_are_done_besides_and_strides_of_two_too() {
    let b = Builder::new(Graph::new("block"));
    let (x, ct) = (b.input("x", batch(&[4, 9, 8])), b.input("ct", batch(&[6, 5, 4])));
    let taps = |seed: u64, shape: [usize; 4]| b.constant(noise(&shape, seed));
    let inner = b.op("Conv", &[x, taps(1, [4, 4, 3, 3])], pads(1)).relu();
    b.output("y", (b.op("Conv", &[inner, taps(2, [4, 4, 3, 3])], pads(1)) + x).relu());
    let strided = || pads(1).with("strides", [2, 2]);
    b.output("half", b.op("Conv", &[x, taps(3, [6, 4, 3, 3])], strided()));
    let back = b.op("ConvTranspose", &[ct, taps(3, [6, 4, 3, 3])], strided().with("output_padding", [0, 1]));
    b.output("back", inner.greater(0.0).select(back, back.scalar(0.0)));
    let graph = b.into_graph();
    let after = lower(&graph, "ort", Some(8));
    assert_eq!(ops(&after), [CHWN; 4]);
    on_ort(|engine| {
        for rows in [3, 40] {
            agree(engine, &graph, &after, &[noise(&[rows, 4, 9, 8], 6), noise(&[rows, 6, 5, 4], 7)], &format!("{rows} rows"));
        }
    });
}

#[test]
fn taps_that_are_an_input_are_put_in_order_in_every_run() {
    let b = Builder::new(Graph::new("training"));
    let (x, w) = (b.input("x", batch(&[3, 8, 8])), b.input("w", ValueType::fixed(DType::F32, &[5, 3, 3, 3])));
    b.output("y", b.op("Conv", &[x, w], pads(1)));
    let graph = b.into_graph();
    let after = lower(&graph, "ort", Some(64));
    assert_eq!(ops(&after), [CHWN]);
    on_ort(|engine| {
        for seed in [1, 2] {
            agree(engine, &graph, &after, &[noise(&[32, 3, 8, 8], 6), noise(&[5, 3, 3, 3], seed)], "taps as input");
        }
    });
}

/// Against float64: the median and the 99.9th percentile of the error are at most four times those of ONNX Runtime's own form.
#[test]
fn it_rounds_at_most_four_times_as_much_as_the_direct_form() {
    let tract = engines().remove(0);
    let x = noise(&[8, 16, 28, 28], 3);
    let exact = run(&*tract, &layer(DType::F64, [16, 6], 28), &CompileOptions::default(), &[x.cast(DType::F64)]);
    on_ort(|engine| {
        let errors = |options: &CompileOptions| {
            let found = run(engine, &layer(DType::F32, [16, 6], 28), options, std::slice::from_ref(&x));
            let of = |(exact, found): (&Tensor, &Tensor)| {
                let mut off: Vec<f64> = exact.to_f64().iter().zip(found.to_f64()).map(|(e, f)| (e - f).abs()).collect();
                off.sort_by(f64::total_cmp);
                [off[off.len() / 2], off[off.len() * 999 / 1000]]
            };
            exact.iter().zip(&found).map(of).collect::<Vec<_>>()
        };
        for (direct, many) in errors(&CompileOptions::default()).into_iter().zip(errors(&CompileOptions::fast())) {
            println!("error of the direct form {direct:?}, many images at a time {many:?}");
            assert!((0..2).all(|i| many[i] < 4.0 * direct[i]), "{direct:?} {many:?}");
        }
    });
}

#[test]
fn other_layers_keep_their_form() {
    let keeps = |graph: &Graph, rows: Option<usize>| {
        assert!(!ops(&lower(graph, "ort", rows)).contains(&CHWN.to_owned()), "{:?}", ops(graph));
    };
    let one = |taps: &[usize], channels: usize, attributes: Attributes| {
        let b = Builder::new(Graph::new("other"));
        let x = b.input("x", batch(&[channels, 16, 16]));
        b.output("y", b.op("Conv", &[x, b.constant(noise(taps, 1))], attributes));
        b.into_graph()
    };
    let wide = Builder::new(Graph::new("wide"));
    let x = wide.input("x", batch(&[3, 300, 300]));
    wide.output("y", wide.op("Conv", &[x, wide.constant(noise(&[6, 3, 3, 3], 1))], pads(1)));
    keeps(&wide.into_graph(), Some(8));
    let small = one(&[6, 3, 3, 3], 3, pads(1));
    assert_eq!(ops(&lower(&small, "ort", Some(8))), [CHWN]);
    keeps(&small, None);
    keeps(&small, Some(7));
    keeps(&layer(DType::F64, [2, 6], 12), Some(8));
    keeps(&one(&[16, 3, 3, 3], 3, pads(1)), Some(8));
    keeps(&one(&[6, 17, 3, 3], 17, pads(1)), Some(8));
    keeps(&one(&[6, 3, 3, 3], 3, pads(1).with("strides", [3, 3])), Some(8));
    keeps(&one(&[6, 3, 3, 3], 6, pads(1).with("group", 2)), Some(8));
    keeps(&one(&[6, 3, 3, 3], 3, Attributes::none().with("auto_pad", "SAME_UPPER")), Some(8));
}
