//! Nets by three exporters, whose layouts of weights differ: the filters that are found are those of the framework, by what it says itself
//! about its arrays (`tests/golden/exporters.py`).

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use flatscape_graph::onnx;
use flatscape_host::SegmentRole;
use flatscape_intake::card::Preprocessing;
use flatscape_intake::data::{Dataset, Request};
use flatscape_intake::model::{Intake, Model, ModelRequest};
use flatscape_weights::space::Space;

use crate::provision::{engines, root};

static GO_ON: AtomicBool = AtomicBool::new(false);

/// The norm of the weights of every filter of a segment.
fn norms(theta: &[f32], filters: &[i32]) -> Vec<f64> {
    let count = filters.iter().max().map_or(0, |most| *most as usize + 1);
    let mut squares = vec![0.0; count];
    filters
        .iter()
        .zip(theta)
        .for_each(|(filter, w)| squares[usize::try_from(*filter).expect("a filter")] += f64::from(*w).powi(2));
    squares.into_iter().map(f64::sqrt).collect()
}

#[test]
fn filters_are_those_of_the_framework_whatever_its_exporter_writes() {
    let engines = engines();
    let data = Dataset::load(&Request { limit: Some(64), ..Request::new("digits") }).expect("the digits are inside");
    let mut operators: BTreeSet<String> = BTreeSet::new();
    for name in ["keras", "jax", "torch"] {
        let file = root().join(format!("tests/golden/exporters/{name}.onnx"));
        let text = std::fs::read_to_string(file.with_extension("json")).expect("golden values");
        let golden: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let read = onnx::read(&std::fs::read(&file).expect("a file")).expect("a model");
        for node in read.graph.nodes() {
            let turned =
                if node.op.as_ref() == "Gemm" { format!(" {}", node.attributes.int("transB", 0)) } else { String::new() };
            operators.insert(format!("{}{turned}", node.op));
        }
        let plain = Preprocessing { scale: Some(1.0), mean: Some(vec![0.0]), std: Some(vec![1.0]), ..Preprocessing::default() };
        let request =
            ModelRequest { source: file.display().to_string(), intake: Intake { preprocessing: plain, ..Intake::default() } };
        for engine in &engines {
            let model =
                Model::load(&request.source, &request.intake, &data, engine.as_ref()).unwrap_or_else(|e| panic!("{name}: {e}"));
            let ids: Vec<u64> = (0..64).collect();
            let mut space =
                Space::open(engine.as_ref(), &model, &request, &data, &ids, &GO_ON).unwrap_or_else(|e| panic!("{name}: {e}"));
            let theta = space.theta();
            let loss = space.loss(&theta).unwrap_or_else(|e| panic!("{name}: {e}"))[0];
            let wanted = golden["loss"].as_f64().expect("a loss");
            assert!((loss - wanted).abs() < 1e-5, "{name}: the loss is {loss}, and {wanted} by the framework");
            let segments = &space.segments.segments;
            let of = |role: SegmentRole| segments.iter().filter(move |s| s.role == role);
            // in the order of the graph, which is that of the layers
            let mut kernels: Vec<_> = of(SegmentRole::Kernel).collect();
            kernels.sort_by_key(|s| s.layer);
            assert_eq!(kernels.len(), 3, "{name}: {segments:?}");
            for (kernel, wanted) in kernels.iter().zip(golden["filters"].as_array().expect("layers")) {
                let range = kernel.offset..kernel.offset + kernel.size;
                let found = norms(&theta[range.clone()], &space.segments.filters[range]);
                let wanted: Vec<f64> = wanted.as_array().expect("filters").iter().filter_map(serde_json::Value::as_f64).collect();
                assert_eq!(found.len(), wanted.len(), "{name}: {}", kernel.name);
                let apart = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(apart < 1e-6, "{name}: the filters of {} have the norms {found:?}, not {wanted:?}", kernel.name);
            }
            let mut biases: Vec<_> = of(SegmentRole::Bias).collect();
            biases.sort_by_key(|s| s.layer);
            let found =
                biases.iter().map(|s| theta[s.offset..s.offset + s.size].iter().map(|w| f64::from(*w).powi(2)).sum::<f64>());
            let found: Vec<f64> = found.map(f64::sqrt).collect();
            let wanted: Vec<f64> =
                golden["bias"].as_array().expect("biases").iter().filter_map(serde_json::Value::as_f64).collect();
            assert!(
                found.len() == 3 && found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-6),
                "{name}: {found:?}, {wanted:?}"
            );
            // a bias belongs to the layer of its kernel
            assert!(kernels.iter().zip(&biases).all(|(k, b)| k.layer == b.layer), "{name}: {segments:?}");
        }
    }
    for wanted in ["MatMul", "Gemm 0", "Gemm 1", "ConvTranspose", "Conv"] {
        assert!(operators.contains(wanted), "the files have {operators:?}, and no {wanted}");
    }
}
