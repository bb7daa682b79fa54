//! Running: results, micro-batches, types, buffers, and every refusal.

use super::*;

/// relu(x · w + b) with an int64 input that shifts the result.
fn small() -> Graph {
    let b = Builder::new(Graph::new("small"));
    let x = b.input("x", batch(&[3]));
    let i = b.input("i", ValueType::fixed(DType::I64, &[]));
    let w = b.constant(Tensor::new(&[3, 2], vec![1f32, -1.0, 0.5, 2.0, 0.0, 1.0]).unwrap());
    let y = x.matmul(w).relu() + i.cast(DType::F32);
    b.output("y", y);
    b.output("sum", y.sum(&[1], false));
    b.into_graph()
}

#[test]
fn both_engines_compute() {
    for engine in engines() {
        let x = Tensor::new(&[2, 3], vec![1f32, 2.0, 3.0, -1.0, 0.0, 1.0]).unwrap();
        let results = run(&*engine, &small(), &CompileOptions::default(), &[x, Tensor::scalar(10i64)]);
        assert_eq!(results[0], Tensor::new(&[2, 2], vec![12f32, 16.0, 10.0, 12.0]).unwrap(), "{}", engine.name());
        assert_eq!(results[1], Tensor::new(&[2], vec![28f32, 22.0]).unwrap(), "{}", engine.name());
    }
}

#[test]
fn micro_batches_give_the_bytes_of_whole_runs() {
    for engine in engines() {
        for rows in [1, 2, 15, 16, 17, 64, 100, 257, 300] {
            let x = noise(&[rows, 3], rows as u64);
            let inputs = [x, Tensor::scalar(-3i64)];
            let cut = run(&*engine, &small(), &CompileOptions::default(), &inputs);
            let whole = run(&*engine, &small(), &CompileOptions { split: false, ..Default::default() }, &inputs);
            assert_eq!(cut, whole, "{} with {rows} rows", engine.name());
        }
    }
}

/// y·w summed over the rows is W̄ of x·W: in parts, the parts are added; rows stay rows.
#[test]
fn sums_over_rows_are_added_in_parts() {
    let b = Builder::new(Graph::new("sums"));
    let (x, y) = (b.input("x", batch(&[3])), b.input("y", batch(&[2])));
    b.output("rows", x * 2.0);
    b.output("sum", x.transpose(&[1, 0]).matmul(y));
    let graph = b.into_graph();
    assert!(!crate::rows_are_independent(&graph));
    for engine in engines() {
        for rows in [1, 2, 5, 64] {
            let inputs = [noise(&[rows, 3], 1), noise(&[rows, 2], 2)];
            let whole = run(&*engine, &graph, &CompileOptions::default(), &inputs);
            for parts in [1, 2, 3] {
                let found = run(&*engine, &graph, &CompileOptions { sums: Some(parts), ..Default::default() }, &inputs);
                assert_eq!(found[0], whole[0], "{rows} rows in {parts} parts on {}", engine.name());
                assert_eq!(found[1].shape(), [3, 2]);
                for (a, b) in found[1].to_f64().into_iter().zip(whole[1].to_f64()) {
                    assert!((a - b).abs() < 1e-5, "{rows} rows in {parts} parts on {}: {a} for {b}", engine.name());
                }
            }
        }
    }
}

/// The mean of the batch is taken off, so that a row of a batch has another result than a row alone.
#[test]
fn rows_run_alone_do_not_see_each_other() {
    let b = Builder::new(Graph::new("mixes"));
    let x = b.input("x", batch(&[3]));
    let shift = b.input("shift", ValueType::fixed(DType::F32, &[3]));
    b.output("y", x - x.mean(&[0], true) + shift);
    let graph = b.into_graph();
    let x = Tensor::new(&[2, 3], vec![1f32, 2.0, 3.0, -1.0, 0.0, 1.0]).unwrap();
    let shift = Tensor::new(&[3], vec![0f32, 1.0, 2.0]).unwrap();
    let buffers = [Buffer::from(x), Buffer::from(shift.clone())];
    for engine in engines() {
        let compiled = engine.compile(&graph, &CompileOptions::default()).unwrap();
        let given = compiled.run_each(&buffers.iter().collect::<Vec<_>>()).unwrap();
        let alone = given[0].host().unwrap();
        assert_eq!(alone, Tensor::new(&[2, 3], vec![0f32, 1.0, 2.0, 0.0, 1.0, 2.0]).unwrap(), "{}", engine.name());
        let fixed = Builder::new(Graph::new("fixed"));
        let s = fixed.input("s", ValueType::fixed(DType::F32, &[3]));
        fixed.output("y", s.relu());
        let compiled = engine.compile(&fixed.into_graph(), &CompileOptions::default()).unwrap();
        let refused = compiled.run_each(&[&Buffer::from(shift.clone())]).map(|_| ()).unwrap_err().to_string();
        assert!(refused.contains("its rows cannot be run one by one"), "{refused}");
    }
}

/// A convolution, its gradient and a layer behind it: everything that is split among threads.
#[test]
fn the_number_of_threads_changes_no_byte() {
    let b = Builder::new(Graph::new("layers"));
    let x = b.input("x", batch(&[16, 9, 9]));
    let w = b.constant(noise(&[24, 16, 3, 3], 1));
    let y = b.op("Conv", &[x, w], [("pads", [1, 1, 1, 1].into())]).relu();
    let back = b.op("ConvTranspose", &[y, w], [("pads", [1, 1, 1, 1].into())]);
    b.output("y", back.reshape(&[0, 16 * 81]).matmul(b.constant(noise(&[16 * 81, 70], 2))));
    let graph = b.into_graph();
    for choice in [Choice::Tract, Choice::Ort] {
        for rows in [1, 5, 8, 40] {
            let x = noise(&[rows, 16, 9, 9], rows as u64);
            for options in [CompileOptions::default(), CompileOptions::fast()] {
                let with = |threads| {
                    let engine = open(&settings(choice, threads)).unwrap();
                    run(&*engine, &graph, &options, std::slice::from_ref(&x)).remove(0)
                };
                let one = with(1);
                for threads in [2, 3, 7] {
                    assert_eq!(with(threads), one, "{choice:?}, {rows} rows, {threads} threads, {options:?}");
                }
            }
        }
    }
}

#[test]
fn a_graph_that_mixes_rows_runs_whole() {
    let b = Builder::new(Graph::new("centred"));
    let x = b.input("x", batch(&[2]));
    b.output("y", x - x.mean(&[0], true));
    let graph = b.into_graph();
    for engine in engines() {
        let x = noise(&[64, 2], 5);
        let y = run(&*engine, &graph, &CompileOptions::default(), std::slice::from_ref(&x)).remove(0);
        let (x, y) = (x.to_f64(), y.to_f64());
        let mean = x.iter().step_by(2).sum::<f64>() / 64.0;
        assert!((y[126] - (x[126] - mean)).abs() < 1e-6, "{}", engine.name());
    }
}

#[test]
fn an_output_without_rows_runs_whole() {
    let b = Builder::new(Graph::new("total"));
    let x = b.input("x", batch(&[2]));
    b.output("total", x.sum(&[0, 1], false));
    let graph = b.into_graph();
    for engine in engines() {
        let ones = Tensor::full(DType::F32, &[100, 2], 1.0);
        let total = run(&*engine, &graph, &CompileOptions::default(), &[ones]).remove(0);
        assert_eq!(total, Tensor::scalar(200f32), "{}", engine.name());
    }
}

#[test]
fn every_element_type_passes_through() {
    for engine in engines() {
        for dtype in [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8, DType::I8, DType::Bool] {
            let b = Builder::new(Graph::new("types"));
            let x = b.input("x", ValueType::new(dtype, vec![Dim::symbol("N"), Dim::Fixed(2)]));
            b.output("y", x.reshape(&[-1, 2, 1]));
            let x = Tensor::new(&[3, 2], vec![1f64, 0.0, 1.0, 1.0, 0.0, 1.0]).unwrap().cast(dtype);
            let y = run(&*engine, &b.into_graph(), &CompileOptions::default(), std::slice::from_ref(&x)).remove(0);
            assert_eq!(Some(y), x.reshape(&[3, 2, 1]), "{} {}", engine.name(), dtype.name());
        }
    }
}

/// tract has one set of names for nodes and constants and writes `Reshape` of more than one step as `Reshape.0`, `Reshape.1`.
#[test]
fn a_constant_may_be_called_as_a_node_is() {
    for name in ["Reshape", "Reshape.0", "0:Reshape"] {
        let b = Builder::new(Graph::new("names"));
        let x = b.input("x", batch(&[4]));
        let w = b.constant(Tensor::new(&[2, 2], vec![1f32, 2.0, 3.0, 4.0]).unwrap());
        let y = x.reshape(&[-1, 2, 2]).matmul(w).reshape(&[-1, 4, 1]);
        b.output("y", y);
        let w = w.id;
        let mut graph = b.into_graph();
        graph.rename(w, name);
        for engine in engines() {
            let x = Tensor::new(&[1, 4], vec![1f32, 0.0, 0.0, 1.0]).unwrap();
            let y = run(&*engine, &graph, &CompileOptions::default(), std::slice::from_ref(&x)).remove(0);
            assert_eq!(y.to_f64(), [1.0, 2.0, 3.0, 4.0], "{} with {name}", engine.name());
        }
    }
}

#[test]
fn results_feed_the_next_run() {
    for engine in engines() {
        let b = Builder::new(Graph::new("double"));
        let x = b.input("x", batch(&[1]));
        b.output("y", x + x);
        let executable = engine.compile(&b.into_graph(), &CompileOptions::default()).unwrap();
        let mut x = executable.upload(&Tensor::new(&[2, 1], vec![1f32, 3.0]).unwrap()).unwrap();
        for _ in 0..4 {
            x = executable.run(&[&x]).unwrap().remove(0);
        }
        assert_eq!(x.host().unwrap(), Tensor::new(&[2, 1], vec![16f32, 48.0]).unwrap());
        assert_eq!((x.shape(), x.dtype()), (&[2, 1][..], DType::F32));
    }
}

#[test]
fn an_empty_batch_is_a_batch() {
    for engine in engines() {
        let empty = Tensor::new::<f32>(&[0, 3], Vec::new()).unwrap();
        let results = run(&*engine, &small(), &CompileOptions::default(), &[empty, Tensor::scalar(0i64)]);
        assert_eq!(results[0].shape(), [0, 2], "{}", engine.name());
    }
}

#[test]
fn wrong_inputs_are_told() {
    for engine in engines() {
        let executable = engine.compile(&small(), &CompileOptions::default()).unwrap();
        let i = Buffer::from(Tensor::scalar(0i64));
        let say = |inputs: &[&Buffer]| executable.run(inputs).unwrap_err().to_string();
        assert_eq!(say(&[&i]), "the graph \"small\" was given wrong inputs: 1 tensors for its 2 inputs (x, i)");
        let wide = Buffer::from(noise(&[2, 4], 1));
        assert_eq!(say(&[&wide, &i]), "the graph \"small\" was given wrong inputs: \"x\" is float[N,3] and got float[2,4]");
        let double = Buffer::from(Tensor::full(DType::F64, &[2, 3], 0.0));
        assert_eq!(say(&[&double, &i]), "the graph \"small\" was given wrong inputs: \"x\" is float[N,3] and got double[2,3]");
    }
}

#[test]
fn what_an_engine_cannot_do_is_said_when_compiling() {
    let engine = open(&settings(Choice::Ort, 1)).unwrap();
    let b = Builder::new(Graph::new("double convolution"));
    let x = b.input("x", ValueType::new(DType::F64, vec![Dim::symbol("N"), Dim::Fixed(1), Dim::Fixed(3), Dim::Fixed(3)]));
    let w = b.constant(Tensor::full(DType::F64, &[1, 1, 3, 3], 1.0));
    b.output("y", b.op("Conv", &[x, w], flatscape_graph::Attributes::none()));
    let graph = b.into_graph();
    let error = engine.compile(&graph, &CompileOptions::default()).err().expect("refused");
    assert!(matches!(&error, EngineError::Compile { .. }) && error.to_string().contains("double convolution"), "{error}");
    // tract is the engine for float64
    let tract = open(&settings(Choice::Tract, 1)).unwrap();
    let ones = Tensor::full(DType::F64, &[2, 1, 3, 3], 1.0);
    assert_eq!(run(&*tract, &graph, &CompileOptions::default(), &[ones])[0].to_f64(), [9.0, 9.0]);
}

#[test]
fn cuda_is_never_replaced_by_the_cpu() {
    let cuda = |choice| Settings { device: Device::Cuda(0), ..settings(choice, 1) };
    let error = open(&cuda(Choice::Tract)).err().expect("tract has no CUDA");
    assert!(error.to_string().contains("cuda:0") && error.to_string().contains("tract runs on the CPU only"), "{error}");
    for choice in [Choice::Ort, Choice::Auto] {
        let settings = Settings { library: Some(library()), ..cuda(choice) };
        match open(&settings) {
            Err(error @ EngineError::Device { .. }) => assert!(error.to_string().contains("cuda:0"), "{error}"),
            Err(other) => panic!("{other}"),
            Ok(engine) => assert_eq!(engine.info().providers, ["CUDAExecutionProvider"]),
        }
    }
}

#[test]
fn a_named_library_is_used_or_refused() {
    let named = |path: &str| Settings { library: Some(PathBuf::from(path)), ..settings(Choice::Auto, 1) };
    let say = |settings: &Settings| open(settings).err().expect("refused").to_string();
    assert!(say(&named("/nonexistent/libonnxruntime.so")).contains("/nonexistent/libonnxruntime.so (--ort-lib) does not exist"));
    let program = std::env::current_exe().unwrap();
    assert!(say(&named(&program.to_string_lossy())).contains("(--ort-lib) "));
}

#[test]
fn the_version_of_tract_is_the_one_in_the_lock_file() {
    let lock = include_str!("../../../../Cargo.lock");
    let (_, rest) = lock.split_once("name = \"tract-onnx\"\nversion = \"").expect("tract-onnx");
    assert_eq!(rest.split('"').next(), Some(crate::tract::VERSION));
}

#[test]
fn the_engine_says_what_it_is() {
    for engine in engines() {
        let info = engine.info();
        assert_eq!((info.name.as_str(), info.device.as_str(), info.threads), (engine.name(), "cpu", 2));
        if info.name == "ort" {
            assert_eq!(info.library_sha256.as_ref().map(String::len), Some(64));
            assert!(crate::library::parse_version(&info.version) >= Some(crate::library::OLDEST), "{}", info.version);
        }
    }
}

#[test]
fn a_second_library_cannot_be_loaded_beside_the_first() {
    let path = library();
    let first = open(&settings(Choice::Ort, 1)).expect("ONNX Runtime");
    let copy = std::env::temp_dir().join(format!("flatscape-second-{}.so", std::process::id()));
    std::fs::copy(path, &copy).unwrap();
    let second = open(&Settings { library: Some(copy.clone()), ..settings(Choice::Ort, 1) });
    std::fs::remove_file(&copy).unwrap();
    let error = second.err().expect("refused");
    assert!(matches!(error, EngineError::LibraryInUse { .. }) && error.to_string().contains("start another process"), "{error}");
    assert_eq!(first.name(), "ort");
}

#[test]
fn choices_and_devices_are_read_as_people_write_them() {
    assert_eq!(("ort".parse(), "cuda".parse(), "cuda:3".parse()), (Ok(Choice::Ort), Ok(Device::Cuda(0)), Ok(Device::Cuda(3))));
    assert_eq!(
        "cuda:x".parse::<Device>(),
        Err("there is no device \"cuda:x\"; devices are written cpu, cuda or cuda:1".to_owned())
    );
    assert_eq!("onnx".parse::<Choice>(), Err("there is no engine \"onnx\"; there are auto, ort and tract".to_owned()));
    assert!(crate::ENGINES.iter().all(|row| row.name.parse() == Ok(row.choice)));
}
