//! The architectures as tables state them: parameters per layer, spatial sizes, laws of initialisation, and that a seed gives the
//! same file everywhere.

use flatscape_graph::{Graph, onnx};

use super::{ARCHITECTURES, Request, named, parameters};

fn built(id: &str, request: &Request) -> Graph {
    named(id).and_then(|row| row.graph(request)).unwrap_or_else(|e| panic!("{id}: {e}"))
}

fn constant(graph: &Graph, name: &str) -> Vec<f64> {
    let found = graph.values().find(|(_, value)| &*value.name == name);
    found.and_then(|(_, value)| value.constant.clone()).unwrap_or_else(|| panic!("no {name}")).to_f64()
}

#[test]
fn every_architecture_has_the_published_number_of_parameters() {
    let usual = Request::default();
    let ddnet = |same: bool, batch_norm: bool| Request { same, batch_norm, ..usual.clone() };
    let shaped = |input: [usize; 3]| Request { input: Some(input), ..usual.clone() };
    let cases = [
        ("lenet", usual.clone(), 61_706),
        ("lenet", shaped([3, 32, 32]), 62_006),
        ("ddnet", usual.clone(), 1_147_978),
        ("ddnet", ddnet(true, false), 2_425_930),
        ("ddnet", ddnet(false, true), 1_147_978 + 768),
        ("ddnet", ddnet(true, true), 2_425_930 + 768),
        ("resnet18", usual.clone(), 11_173_962),
        ("resnet18", shaped([1, 28, 28]), 11_172_810),
        ("resnet32", usual.clone(), 464_154),
        ("smallnet", usual.clone(), 22_954),
    ];
    for (id, request, count) in cases {
        assert_eq!(parameters(&built(id, &request)), count, "{id} {request:?}");
    }
}

#[test]
fn layers_have_the_published_sizes() {
    let per_layer = |id: &str, layers: &[(&str, usize)]| {
        let graph = built(id, &Request::default());
        for (layer, count) in layers {
            let own = |end: &str| constant(&graph, &format!("{layer}{end}")).len();
            assert_eq!(own(".weight") + own(".bias"), *count, "{id} {layer}");
        }
    };
    per_layer("lenet", &[("conv1", 156), ("conv2", 2_416), ("fc1", 48_120), ("fc2", 10_164), ("fc3", 850)]);
    let dense = [("fc1", 819_456), ("fc2", 65_792), ("fc3", 2_570)];
    per_layer("ddnet", &[&[("conv1", 1_792), ("conv2", 36_928), ("conv3", 73_856), ("conv4", 147_584)], &dense[..]].concat());
    // height after each convolution
    let heights = |id: &str| -> Vec<usize> {
        let graph = built(id, &Request::default());
        let convs = graph.nodes().iter().filter(|node| &*node.op == "Conv");
        convs.map(|node| graph.shape(node.output(0).expect("a result")).expect("a shape")[2].fixed().expect("known")).collect()
    };
    assert_eq!(heights("lenet"), [28, 10]);
    assert_eq!(heights("ddnet"), [30, 28, 12, 10]);
    assert_eq!(heights("resnet18")[..6], [32, 32, 32, 32, 32, 16]);
    assert_eq!(heights("resnet32").len(), 31);
}

/// Variance and range of the largest weight of each law, and biases.
#[test]
fn parameters_follow_their_laws() {
    let spread = |values: &[f64]| {
        let variance = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
        (variance, values.iter().fold(0f64, |m, v| m.max(v.abs())))
    };
    let near =
        |what: &str, found: f64, wanted: f64| assert!((found / wanted - 1.0).abs() < 0.05, "{what}: {found} is not {wanted}");
    let lenet = built("lenet", &Request::default());
    let bound = (6f64 / 520.0).sqrt();
    let (variance, largest) = spread(&constant(&lenet, "fc1.weight"));
    near("Xavier", variance, bound * bound / 3.0);
    assert!(largest <= bound && largest > 0.99 * bound, "{largest}");
    assert!(constant(&lenet, "fc1.bias").iter().all(|&v| v == 0.0));
    let ddnet = built("ddnet", &Request::default());
    let (variance, largest) = spread(&constant(&ddnet, "fc1.weight"));
    near("uniform", variance, 1.0 / 3200.0 / 3.0);
    assert!(largest <= 3200f64.sqrt().recip());
    let (_, bias) = spread(&constant(&ddnet, "conv4.bias"));
    assert!(bias <= 1152f64.sqrt().recip() && bias > 0.9 * 1152f64.sqrt().recip(), "{bias}");
    let resnet = built("resnet32", &Request::default());
    let (variance, largest) = spread(&constant(&resnet, "layer3.4.conv2.weight"));
    near("He", variance, 2.0 / 576.0);
    assert!(largest > 3.0 * (2f64 / 576.0).sqrt());
    assert!(
        constant(&resnet, "bn1.running_var").iter().all(|&v| v == 1.0) && constant(&resnet, "bn1.bias").iter().all(|&v| v == 0.0)
    );
}

#[test]
fn a_seed_is_a_file() {
    let bytes = |seed: u64| onnx::write(&built("lenet", &Request { seed, ..Request::default() }));
    assert!(bytes(3) == bytes(3) && bytes(3) != bytes(4));
    // another number of classes leaves the layers before the last as they are
    let other = built("lenet", &Request { classes: 7, ..Request::default() });
    assert_eq!(constant(&other, "fc2.weight"), constant(&built("lenet", &Request::default()), "fc2.weight"));
    for row in ARCHITECTURES {
        let file = onnx::read(&onnx::write(&built(row.id, &Request::default()))).unwrap_or_else(|e| panic!("{}: {e}", row.id));
        assert_eq!(
            (file.opset, file.graph.inputs().len(), file.graph.outputs().len()),
            (flatscape_graph::OPSET, 1, 1),
            "{}",
            row.id
        );
    }
}

#[test]
fn what_cannot_be_built_is_refused_in_words() {
    let refuse = |id: &str, request: Request| match named(id).and_then(|row| row.graph(&request)) {
        Err(refusal) => (refusal.class.exit_code(), refusal.what, refusal.help.unwrap_or_default()),
        Ok(_) => panic!("{id} {request:?} is built"),
    };
    let usual = Request::default();
    let small = refuse("lenet", Request { input: Some([1, 8, 8]), ..usual.clone() });
    assert_eq!(
        small,
        (2, "lenet takes images of 12 to 4096 pixels a side, not 8x8".into(), "its own images are --input 1x28x28".into())
    );
    let one = refuse("lenet", Request { classes: 1, ..usual.clone() });
    assert!(one.1.contains("1 classes are not possible"), "{one:?}");
    let variant = refuse("resnet18", Request { batch_norm: true, ..usual.clone() });
    assert_eq!(variant.1, "resnet18 has one form; --padding and --batchnorm belong to ddnet");
    let unknown = refuse("resnet20", usual);
    assert_eq!(unknown.1, "there is no architecture \"resnet20\"");
    assert!(unknown.2.contains("resnet"), "{unknown:?}");
    // the least size that is stated is built, and one less is not possible for LeNet and DDNet
    for row in ARCHITECTURES {
        let request = Request { input: Some([row.input[0], row.least, row.least]), ..Request::default() };
        built(row.id, &request);
    }
}
