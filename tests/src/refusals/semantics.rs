//! What a model means: interfaces that are not those of a classifier of these images, and values that are NaN or infinite.

use super::crafted::good;
use super::inputs::{Images, classifier, data, model};
use super::table::{Case, accepted, case, refused};
use crate::wire::{Data, Model};

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    accepted(53, "height and width that are open", |f| model(f, pooled()), "x float[N,1,H,W] … 10 classes"),
    case("height and width from the images", |f| { model(f, pooled()); data(f, Images::Bytes([3, 1, 12, 9]), &[0, 1, 2]) }, "audit m.onnx --data d.npz --engine tract --threat linf:0.1 --attack fgsm --landscapes 0 --out run", (0, ""), "float[N,1,H,W]").row(53).leaves("run"),
    refused(60, "a map of classes", |f| model(f, Model::new().input("x", "float[N,3,8,8]").node("Relu", &["x"], "logits").output("logits", "float[N,3,8,8]")), "M060", "logits … [N,classes]"),
    refused(60, "tokens of classes", |f| model(f, Model::new().input("x", "float[N,3,8,8]").node("Relu", &["x"], "logits").output("logits", "float[N,3,64]")), "M060", "logits"),
    accepted(60, "extents of 1 behind the classes", |f| model(f, Model::new().input("x", "float[N,10,8,8]").node("GlobalAveragePool", &["x"], "logits").output("logits", "float[N,10,1,1]")), "10 classes"),
    refused(65, "infinity among the weights", |f| { let mut w = [0.1; 640]; w[7] = f32::INFINITY; model(f, Model::new().input("x", "float[N,64]").tensor("w", &[64, 10], Data::Float(&w)).node("MatMul", &["x", "w"], "logits").output("logits", "float[N,10]")) }, "M065", "\"w\" … 1 infinite"),
    accepted(65, "infinity in a mask", |f| model(f, classifier().tensor("mask", &[10], Data::Float(&[f32::NEG_INFINITY; 10])).node("Max", &["h", "mask"], "logits").output("logits", "float[N,10]")), "10 classes"),
    accepted(25, "a good model", |f| model(f, good()), "10 classes"),
];

/// Ten scores of images of any size.
fn pooled() -> Model {
    let weights: Vec<f32> = (0..90).map(|i| ((i * 37 % 101) as f32 - 50.0) / 100.0).collect();
    let model = Model::new().input("x", "float[N,1,H,W]").tensor("k", &[10, 1, 3, 3], Data::Float(&weights));
    let model = model.node("Conv", &["x", "k"], "maps").node("GlobalAveragePool", &["maps"], "means");
    model.node_with("Flatten", &["means"], "logits", &[("axis", 1)]).output("logits", "float[N,10]")
}
