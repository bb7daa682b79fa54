//! The models that `flatscape models new` writes: they run, image by image and together, and on both engines alike.

use flatscape_architectures::{ARCHITECTURES, Request};
use flatscape_engine::{Buffer, CompileOptions};
use flatscape_graph::normalize::{Options, normalize};
use flatscape_graph::{OPSET, Tensor, onnx};

use crate::program::Run;
use crate::provision::{engines, flatscape};

/// Images of a wave between 0 and 1.
fn images(rows: usize, [c, h, w]: [usize; 3]) -> Tensor {
    let pixels = (0..rows * c * h * w).map(|i| 0.5 + 0.5 * (i as f32 * 0.137).sin()).collect();
    Tensor::new(&[rows, c, h, w], pixels).expect("images")
}

#[test]
fn every_architecture_runs_on_both_engines() {
    for row in ARCHITECTURES {
        let forms = if row.variants { vec![(false, false), (true, true)] } else { vec![(false, false)] };
        for (same, batch_norm) in forms {
            let request = Request { classes: 7, seed: 5, same, batch_norm, ..Request::default() };
            let graph = row.graph(&request).unwrap_or_else(|e| panic!("{}: {e}", row.id));
            let read = onnx::read(&onnx::write(&graph)).expect("a file").graph;
            let normal = normalize(&read, OPSET, &Options::default()).unwrap_or_else(|e| panic!("{}: {e}", row.id));
            let x = images(2, row.input);
            let found = engines().map(|engine| {
                let executable = engine.compile(&normal, &CompileOptions::default()).expect(row.id);
                let run = |x: Tensor| executable.run(&[&Buffer::from(x)]).expect("it runs")[0].host().expect("on the host");
                let both = run(x.clone());
                assert_eq!(both.shape(), [2, 7], "{}", row.id);
                let first = run(images(1, row.input)).to_f64();
                let both = both.to_f64();
                let spread = both.iter().fold(0f64, |m, v| m.max(v.abs()));
                assert!(spread > 1e-3 && spread.is_finite(), "{}: {both:?}", row.id);
                first
                    .iter()
                    .zip(&both)
                    .for_each(|(a, b)| assert!((a - b).abs() <= 1e-5 * spread, "{}: {a} alone, {b} together", row.id));
                both
            });
            let spread = found[0].iter().fold(0f64, |m, v| m.max(v.abs()));
            for (a, b) in found[0].iter().zip(&found[1]) {
                assert!((a - b).abs() <= 1e-4 * spread, "{}: {a} and {b}", row.id);
            }
        }
    }
}

/// The command writes what the crate makes, lists both kinds of model, and says what it does not write.
#[test]
fn models_are_listed_and_written() {
    let listed = Run::new(&["models", "list"]).expect(0);
    for name in ["lenet", "1x28x28, 61706 parameters", "ddnet", "resnet18", "resnet32", "digits-standard", "smallnet-amsreg"] {
        assert!(listed.said().contains(name), "{name}: {}", listed.said());
    }
    let run =
        Run::new(&["models", "new", "lenet", "--input", "1x12x12", "--classes", "3", "--seed", "9", "-o", "a.onnx"]).expect(0);
    assert!(run.said().contains("parameters drawn from seed 9"), "{}", run.said());
    let bytes = std::fs::read(run.folder.path().join("a.onnx")).expect("it was written");
    let again = flatscape(
        run.folder.path(),
        &["models", "new", "lenet", "--input", "1x12x12", "--classes", "3", "--seed", "9", "-o", "b.onnx"],
    );
    assert!(again.status.success());
    assert!(bytes == std::fs::read(run.folder.path().join("b.onnx")).expect("it was written"), "the same command, other bytes");
    let file = onnx::read(&bytes).expect("a file");
    assert!(file.metadata.iter().any(|(key, value)| key == "flatscape.name" && value == "lenet"), "{:?}", file.metadata);
    let inspected = flatscape(run.folder.path(), &["inspect", "a.onnx"]);
    assert!(inspected.status.success(), "{}", String::from_utf8_lossy(&inspected.stderr));
    for (arguments, sentence) in [
        (&["models", "new", "lennet", "-o", "x"][..], "did you mean \"lenet\"?"),
        (&["models", "new", "lenet", "--input", "28x28", "-o", "x"], "write it as in --input 3x32x32"),
        (&["models", "new", "lenet", "--batchnorm", "-o", "x"], "belong to ddnet"),
    ] {
        let refused = Run::new(arguments).expect(2);
        assert!(refused.said().contains(sentence), "{}", refused.said());
        assert!(!refused.folder.path().join("x").exists());
    }
}
