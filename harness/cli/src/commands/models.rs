//! `flatscape models`: the architectures that can be written, and the models that come with the program.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use flatscape_architectures::{ARCHITECTURES, Request, named, parameters};
use flatscape_graph::onnx;
use flatscape_intake::files::publish;
use flatscape_intake::model::SHIPPED;
use flatscape_intake::refusal::Refusal;

use crate::failure::Failure;
use crate::output::say;

/// Architectures and models: list, new.
#[derive(Args, Debug)]
pub struct Models {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// The architectures that can be written, and the models that come with the program
    List,
    /// Write an architecture as an ONNX file, with parameters drawn from a seed
    New {
        /// The architecture, for example lenet
        #[arg(value_name = "ARCH")]
        architecture: String,
        /// The number of classes
        #[arg(long, default_value_t = 10, value_name = "K")]
        classes: usize,
        /// Channels, height and width of the images; those of the architecture if absent
        #[arg(long, value_name = "CxHxW")]
        input: Option<String>,
        /// What the parameters are drawn from
        #[arg(long, default_value_t = 0, value_name = "S")]
        seed: u64,
        /// Whether convolutions keep the size of their images (ddnet)
        #[arg(long, value_enum, default_value_t = Padding::Valid)]
        padding: Padding,
        /// Batch normalisation behind each convolution (ddnet); residual networks always have it
        #[arg(long)]
        batchnorm: bool,
        /// The file to write
        #[arg(short = 'o', long = "out", value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Padding {
    /// As published
    Valid,
    /// Images keep their size
    Same,
}

impl Models {
    /// Runs the subcommand; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        match self.action {
            Action::List => {
                list()?;
                Ok(0)
            }
            Action::New { architecture, classes, input, seed, padding, batchnorm, out } => {
                let input = input.as_deref().map(shape).transpose()?;
                let request = Request { classes, input, seed, same: padding == Padding::Same, batch_norm: batchnorm };
                new(&architecture, &request, &out)?;
                Ok(0)
            }
        }
    }
}

fn list() -> Result<(), Failure> {
    say!("architectures, written by flatscape models new ARCH -o FILE");
    for row in ARCHITECTURES {
        let count = parameters(&row.graph(&Request::default())?);
        let [c, h, w] = row.input;
        say!("  {:18} {c}x{h}x{w}, {count} parameters: {}", row.id, row.summary);
    }
    say!("models that come with the program");
    for shipped in SHIPPED {
        say!("  {:18} {}", shipped.name, shipped.description()?);
    }
    Ok(())
}

fn new(id: &str, request: &Request, out: &std::path::Path) -> Result<(), Failure> {
    let architecture = named(id)?;
    let graph = architecture.graph(request)?;
    let [c, h, w] = request.input.unwrap_or(architecture.input);
    let variant = match (request.same, request.batch_norm) {
        (false, false) => "",
        (true, false) => ", same padding",
        (false, true) => ", batch normalisation",
        (true, true) => ", same padding, batch normalisation",
    };
    let described =
        format!("{id}{variant} for images of {c}x{h}x{w} in pixel units and {} classes, not trained", request.classes);
    let source = format!("flatscape models new {id}, seed {}", request.seed);
    let properties =
        [("flatscape.name", id.to_owned()), ("flatscape.description", described.clone()), ("flatscape.source", source)];
    publish(out, &onnx::write_described(&graph, &described, &properties))?;
    say!("{}: {described}; {} parameters drawn from seed {}", out.display(), parameters(&graph), request.seed);
    Ok(())
}

/// `CxHxW`
fn shape(text: &str) -> Result<[usize; 3], Refusal> {
    let extents: Option<Vec<usize>> = text.split('x').map(|n| n.parse().ok()).collect();
    extents.and_then(|extents| extents.try_into().ok()).ok_or_else(|| {
        let what = format!("--input {} is not CHANNELSxHEIGHTxWIDTH", flatscape_graph::shown(text));
        Refusal::usage(91, what).help("write it as in --input 3x32x32")
    })
}
