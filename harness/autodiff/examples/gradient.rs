//! A model read, differentiated and written again, with nothing but the two crates that know graphs and derivatives.

use flatscape_autodiff::vjp;
use flatscape_graph::{Builder, normalize, onnx, simplify};

/// The model with one more output: the gradient of the sum of its first output with respect to its
/// first input.
pub fn with_gradient(model: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let file = onnx::read(model)?;
    let graph = normalize::normalize(&file.graph, file.opset, &normalize::Options::default())?;
    let (input, output) = (graph.inputs()[0], graph.outputs()[0].value);
    let builder = Builder::new(graph);
    let y = builder.expr(output);
    let ones = y.scalar(1.0).expand_like(y);
    let found = vjp(&builder, y.id, ones.id, &[input])?;
    let gradient = found[0].ok_or("no gradient reaches the input")?;
    builder.output("gradient", builder.expr(gradient));
    Ok(onnx::write(&simplify(&builder.into_graph())))
}

/// Differentiates a model that comes with the project.
pub fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bytes = with_gradient(include_bytes!("../../../models/digits-standard/model.onnx"))?;
    println!("{} bytes of standard operators", bytes.len());
    Ok(())
}
