//! `flatscape grad`: the gradient of a model as a standard ONNX file.

use std::path::PathBuf;

use clap::Args;
use flatscape_audit::files::publish;
use flatscape_audit::gradient::{Request, assemble};
use flatscape_audit::model::Native;

use super::audit::intake;
use crate::failure::Failure;
use crate::options::IntakeOptions;

/// Write the gradient of a model as a standard ONNX file.
#[derive(Args, Debug)]
pub struct Grad {
    /// An ONNX file, or the name of a model that comes with the program
    #[arg(value_name = "MODEL")]
    model: String,
    /// The file to write
    #[arg(short = 'o', long = "out", value_name = "OUT")]
    out: PathBuf,
    /// Of what: ce (cross-entropy with the input `label`), logp, logit:K, cotangent
    #[arg(long, default_value = "ce", value_name = "WHAT")]
    of: String,
    /// With respect to what: input, params, or the name of an input
    #[arg(long, default_value = "input", value_name = "WHAT")]
    wrt: String,
    /// 2 adds the input `vector` and the Hessian-vector product
    #[arg(long, default_value_t = 1, value_name = "ORDER")]
    order: u32,
    #[command(flatten)]
    intake: IntakeOptions,
}

impl Grad {
    /// Runs it.
    pub fn run(self) -> Result<u8, Failure> {
        let mut request = Request::parse(&self.of, &self.wrt, self.order)?;
        let stated = intake(&self.intake)?;
        let asked = self.intake.scale.is_some()
            || self.intake.mean.is_some()
            || self.intake.std.is_some()
            || self.intake.layout.is_some();
        request.preprocessing = asked.then(|| stated.preprocessing.clone());
        let mut native = Native::load(&self.model, &stated)?;
        if let Some((_, changed)) = native.remedy(&stated.remedies) {
            native.facts.push(changed);
        }
        request.remedies = stated.remedies;
        let gradient = assemble(&native, &request)?;
        let bytes = gradient.bytes();
        publish(&self.out, &bytes)?;
        for fact in &gradient.facts {
            eprintln!("{}: {fact}", native.name);
        }
        let graph = &gradient.graph;
        let port = |name: &str, ty: String| println!("  {name} {ty}");
        println!("{} ({} nodes, {} bytes)\ninputs", self.out.display(), graph.nodes().len(), bytes.len());
        graph.inputs().iter().for_each(|&input| port(&graph.value(input).name, graph.value(input).ty.to_string()));
        println!("outputs");
        graph.outputs().iter().for_each(|output| port(&output.name, graph.value(output.value).ty.to_string()));
        Ok(0)
    }
}
