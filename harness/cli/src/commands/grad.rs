//! `flatscape grad`: the gradient of a model as a standard ONNX file, and its certificate.

use std::path::PathBuf;

use clap::Args;
use flatscape_certificate::{Engines, FilePoints, of_file};
use flatscape_graph::normalize::Options;
use flatscape_intake::data::{self, Dataset};
use flatscape_intake::files::publish;
use flatscape_intake::gradient::{Gradient, Of, Request, Source, WithRespectTo, assemble, join};
use flatscape_intake::model::{Native, Whole};
use flatscape_intake::refusal::Refusal;

use super::audit::intake;
use crate::failure::Failure;
use crate::options::{EngineOptions, IntakeOptions};
use crate::output::{remark, say};
use crate::table;

/// Write the gradient of a model as a standard ONNX file.
#[derive(Args, Debug)]
pub struct Grad {
    /// An ONNX file, or the name of a model that comes with the program
    #[arg(value_name = "MODEL")]
    model: String,
    /// The file to write
    #[arg(short = 'o', long = "out", value_name = "OUT")]
    out: PathBuf,
    /// Of what: ce (cross-entropy with the input `label`), logp, logit:K, cotangent, or the name of a value of the graph
    #[arg(long, default_value = "ce", value_name = "WHAT")]
    of: String,
    /// With respect to what: input, params, or the name of an input or an initializer
    #[arg(long, default_value = "input", value_name = "WHAT")]
    wrt: String,
    /// 2 adds the input `vector` and the Hessian-vector product
    #[arg(long, default_value_t = 1, value_name = "ORDER")]
    order: u32,
    #[arg(long = "surrogate", value_name = "OP=RULE", help = crate::help::surrogates())]
    surrogates: Vec<String>,
    /// Print the gradient certificate of the file; the exit code is 9 if it does not hold
    #[arg(long)]
    check: bool,
    /// Images for --check, as `audit` takes them; seeded noise if absent
    #[arg(long, value_name = "DATA", requires = "check")]
    data: Option<String>,
    /// The folder of data sets that is searched first
    #[arg(long, value_name = "DIR", requires = "data")]
    data_dir: Option<PathBuf>,
    /// The first N images for --check
    #[arg(short, value_name = "N", requires = "data", default_value_t = 32)]
    n: usize,
    /// Seed of the directions and the noise of --check
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
    #[command(flatten)]
    intake: IntakeOptions,
    #[command(flatten)]
    engine: EngineOptions,
}

impl Grad {
    /// Writes the gradient file; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        let mut request = Request::parse(&self.of, &self.wrt, self.order)?;
        let stated = intake(&self.intake)?;
        let asked = self.intake.scale.is_some()
            || self.intake.mean.is_some()
            || self.intake.std.is_some()
            || self.intake.layout.is_some();
        request.preprocessing = asked.then(|| stated.preprocessing.clone());
        request.remedies = stated.remedies.clone();
        request.surrogates.clone_from(&self.surrogates);
        // a folded normalisation changes the initializers of the layer before it
        let options = Options { fold_batch_norm: request.wrt == WithRespectTo::Input };
        let (gradient, name, native) = match &request.of {
            Of::Value(value) => {
                let whole = Whole::load(&self.model, &stated, &options)?;
                let gradient = join(&Source::named(&whole, value)?, &request)?;
                (gradient, whole.name, Native::load(&self.model, &stated).ok())
            }
            _ => {
                let mut native = Native::load_as(&self.model, &stated, &options)?;
                if let Some((_, changed)) = native.remedy(&stated.remedies) {
                    native.facts.push(changed);
                }
                (assemble(&native, &request)?, native.name.clone(), Some(native))
            }
        };
        let bytes = gradient.bytes();
        publish(&self.out, &bytes)?;
        for fact in &gradient.facts {
            remark!("{name}: {fact}");
        }
        let graph = &gradient.graph;
        let port = |name: &str, ty: String| say!("  {name} {ty}");
        say!("{} ({} nodes, {} bytes)\ninputs", self.out.display(), graph.nodes().len(), bytes.len());
        graph.inputs().iter().for_each(|&input| port(&graph.value(input).name, graph.value(input).ty.to_string()));
        say!("outputs");
        graph.outputs().iter().for_each(|output| port(&output.name, graph.value(output.value).ty.to_string()));
        if self.check { self.certify(&name, &bytes, &gradient, &request, native.as_ref()) } else { Ok(0) }
    }

    /// Prints the certificate of the file as it was written.
    fn certify(
        &self,
        name: &str,
        bytes: &[u8],
        gradient: &Gradient,
        request: &Request,
        native: Option<&Native>,
    ) -> Result<u8, Failure> {
        let engine = self.engine.open()?;
        let points = match (&self.data, native) {
            (None, _) => FilePoints::noise(gradient, self.seed),
            (Some(_), None) => {
                let what = format!("{name} is not a classifier of images, so --data does not apply to it");
                return Err(Refusal::usage(93, what).help("without --data the check takes noise").into());
            }
            (Some(data), Some(native)) => {
                let request_of_data = data::Request {
                    data_dir: self.data_dir.clone(),
                    limit: Some(self.n),
                    allow_fewer: true,
                    ..data::Request::new(data)
                };
                let data = Dataset::load(&request_of_data)?;
                FilePoints::images(gradient, native, request, &data, engine.as_ref())
            }
        };
        let points = points.map_err(|why| Refusal::usage(93, format!("--check: {why}")))?;
        let settings = self.engine.settings();
        let engines = Engines::around(engine.as_ref(), &settings);
        let found = of_file(name, bytes, gradient, request, &points, self.seed, &engines);
        say!("{}\n{}", table::certificate(&found), found.sentence());
        Ok(if found.passed() == Some(true) { 0 } else { 9 })
    }
}
