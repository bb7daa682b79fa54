//! How much a gradient adds to a graph: nodes after simplification, of whole networks.

use flatscape_graph::simplify;
use flatscape_intake::gradient::{Request, assemble};
use flatscape_intake::model::Intake;
use flatscape_intake::model::Native;

use super::directory;

/// Logits, loss and gradient together have at most this many nodes for each one of the network.
const MOST: f64 = 3.5;

#[test]
fn gradients_do_not_grow() {
    let net = |name: &str| directory("golden/nets").join(name).with_extension("onnx").to_string_lossy().into_owned();
    let mut models: Vec<String> = ["lenet", "ddnet", "rn18", "rn32"].into_iter().map(net).collect();
    models.extend(["digits-standard".to_owned(), "digits-amsreg".to_owned()]);
    let mut grown = Vec::new();
    for model in &models {
        let native = Native::load(model, &Intake::default()).unwrap_or_else(|e| panic!("{e}"));
        let forward = simplify(native.any_batch().expect("a free batch")).nodes().len();
        let request = Request::parse("cotangent", "input", 1).unwrap_or_else(|e| panic!("{e}"));
        let gradient = assemble(&native, &request).unwrap_or_else(|e| panic!("{e}")).graph.nodes().len();
        let times = gradient as f64 / forward as f64;
        println!("{}: {forward} nodes, with its gradient {gradient}, {times:.2} times", native.name);
        if times > MOST {
            grown.push(format!("{} has {forward} nodes and {gradient} with its gradient", native.name));
        }
    }
    assert!(grown.is_empty(), "{}", grown.join("\n"));
}
