//! Every stored adversarial example: in the box, in the ball, and misclassified by the model file itself, run without anything of
//! the audit.

use std::io::Cursor;

use flatscape_engine::CompileOptions;
use flatscape_graph::{Tensor, onnx};
use ndarray::{Array1, Array4};
use ndarray_npy::NpzReader;

use super::Run;
use super::demo::demo;
use super::repeat::reference;
use crate::provision::{engines, root};

/// Points checked.
fn check(run: &Run) -> usize {
    let mut checked = 0;
    let models = run.table("results.csv");
    for (name, bytes) in run.files("witness", ".npz") {
        let mut file = NpzReader::new(Cursor::new(&bytes)).expect(&name);
        let x0: Array4<f32> = file.by_name("x0").expect(&name);
        let x: Array4<f32> = file.by_name("x_adv").expect(&name);
        let label: Array1<i64> = file.by_name("label").expect(&name);
        let distance: Array1<f64> = file.by_name("distance").expect(&name);
        let eps: Array1<f64> = file.by_name("eps").expect(&name);
        assert_eq!((x.dim(), x.dim().0), (x0.dim(), label.len()), "{name}");
        for (row, (a, b)) in x.outer_iter().zip(x0.outer_iter()).enumerate() {
            assert!(a.iter().all(|v| (0.0..=1.0).contains(v)), "{name}: sample {row} leaves the box");
            let far = a.iter().zip(&b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max);
            assert!(far <= eps[0] * (1.0 + 1e-5) + 1e-7, "{name}: sample {row} is {far} away");
            assert!((far - distance[row]).abs() < 1e-12, "{name}: sample {row} states {}, is {far}", distance[row]);
        }
        let sha = name.split(['-', '.']).nth(1).expect("a hash in the name");
        let model = &models.iter().find(|r| r["model_sha256"].starts_with(sha)).expect("its model")["model"];
        let bytes = std::fs::read(root().join("models").join(model).join("model.onnx")).expect("the model file");
        let graph = onnx::read(&bytes).expect("the model reads").graph;
        let points = Tensor::new(&[x.dim().0, x.dim().1, x.dim().2, x.dim().3], x.iter().copied().collect()).expect("points");
        for engine in engines() {
            let executable = engine.compile(&graph, &CompileOptions::default()).expect("compiled");
            let given = executable.run(&[&executable.upload(&points).expect("uploaded")]).expect("run");
            let logits = given[0].host().expect("logits").to_f64();
            for (row, z) in logits.chunks(logits.len() / label.len()).enumerate() {
                let own = z[label[row] as usize];
                let rival =
                    z.iter().enumerate().filter(|(c, _)| *c as i64 != label[row]).map(|(_, v)| *v).fold(f64::MIN, f64::max);
                // found on one engine; on the other a point may stand on the edge
                let slack = if engine.name() == "tract" { 0.0 } else { 1e-4 };
                assert!(rival > own - slack, "{name}: {} classifies sample {row} as its label", engine.name());
            }
        }
        checked += label.len();
    }
    checked
}

#[test]
fn every_witness_is_an_adversarial_example() {
    assert!(check(reference()) > 20);
    assert!(check(demo()) > 100);
}

#[test]
fn there_is_a_witness_for_every_broken_sample() {
    for run in [reference(), demo()] {
        let broken: usize = run
            .table("samples.csv")
            .iter()
            .map(|r| ["fgsm.outcome", "pgd.outcome"].iter().filter(|c| r.get(**c).is_some_and(|v| v == "broken")).count())
            .sum();
        let stored: usize = run
            .files("witness", ".npz")
            .values()
            .map(|bytes| {
                NpzReader::new(Cursor::new(bytes))
                    .and_then(|mut f| f.by_name::<ndarray::OwnedRepr<i64>, ndarray::Ix1>("id"))
                    .expect("ids")
                    .len()
            })
            .sum();
        assert_eq!(stored, broken);
    }
}
