//! Architectures: one file and one row each. An architecture and a request give the graph of a classifier whose parameters are drawn
//! from a seed, under the names that PyTorch gives them.
//!
//! This crate knows layers and the laws by which they are initialised. It trains nothing, reads nothing and writes no file.

mod ddnet;
mod layers;
mod lenet;
mod residual;
mod smallnet;
#[cfg(test)]
mod tests;

use flatscape_graph::{DType, Dim, Expr, Graph, ValueType, shown};
use flatscape_intake::refusal::{Refusal, nearest};

use layers::Layers;

/// A row of the table.
pub struct Architecture {
    /// What users type.
    pub id: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Whose idea, and whose initialisation.
    pub source: &'static str,
    /// C, H, W of its images, where the request states none.
    pub input: [usize; 3],
    /// Least height and width.
    pub least: usize,
    /// Whether there is a variant with `same` padding and one with batch normalisation.
    pub variants: bool,
    /// From images to logits.
    build: for<'b> fn(&Layers<'b>, Expr<'b>, &Request) -> Expr<'b>,
}

/// Every architecture, in the order of the help.
pub const ARCHITECTURES: &[Architecture] = &[
    Architecture {
        id: "lenet",
        summary: "two convolutions and three dense layers, for Fashion-MNIST",
        source: "LeCun et al. 1998 with ReLU and maximum pooling; Xavier uniform weights, biases 0",
        input: [1, 28, 28],
        least: 12,
        variants: false,
        build: lenet::build,
    },
    Architecture {
        id: "ddnet",
        summary: "four convolutions without padding and three dense layers, for CIFAR-10",
        source: "Papernot et al. 2016 (arXiv:1511.04508), table 1; PyTorch's uniform weights and biases",
        input: [3, 32, 32],
        least: 16,
        variants: true,
        build: ddnet::build,
    },
    Architecture {
        id: "resnet18",
        summary: "residual network of 18 layers with 64 to 512 channels, for CIFAR-10",
        source: "He et al. 2016 (arXiv:1512.03385), stem for small images; PyTorch's uniform weights and biases",
        input: [3, 32, 32],
        least: 8,
        variants: false,
        build: residual::resnet18,
    },
    Architecture {
        id: "resnet32",
        summary: "residual network of 32 layers with 16 to 64 channels and shortcuts without parameters, for CIFAR-10",
        source: "He et al. 2016 (arXiv:1512.03385), section 4.2, option A; He et al. 2015 normal weights",
        input: [3, 32, 32],
        least: 4,
        variants: false,
        build: residual::resnet32,
    },
    Architecture {
        id: "smallnet",
        summary: "three convolutions and two dense layers, for the digits of 8x8 pixels that come with the program",
        source: "this project; PyTorch's uniform weights and biases",
        input: [1, 8, 8],
        least: 4,
        variants: false,
        build: smallnet::build,
    },
];

/// What a model should be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Number of classes, at least 2.
    pub classes: usize,
    /// C, H, W of the images; `None`: those of the architecture.
    pub input: Option<[usize; 3]>,
    /// What the parameters are drawn from.
    pub seed: u64,
    /// Convolutions keep the size of their images. Of architectures with variants.
    pub same: bool,
    /// Batch normalisation behind each convolution. Of architectures with variants; residual networks always have it.
    pub batch_norm: bool,
}

impl Default for Request {
    fn default() -> Request {
        Request { classes: 10, input: None, seed: 0, same: false, batch_norm: false }
    }
}

/// The architecture of that name.
///
/// # Errors
/// `U091`: there is none.
pub fn named(id: &str) -> Result<&'static Architecture, Refusal> {
    if let Some(found) = ARCHITECTURES.iter().find(|row| row.id == id) {
        return Ok(found);
    }
    let ids: Vec<&str> = ARCHITECTURES.iter().map(|row| row.id).collect();
    let help = match nearest(id, ids.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("there are {}", ids.join(", ")),
    };
    Err(Refusal::usage(91, format!("there is no architecture {}", shown(id))).help(help))
}

/// Most classes and most channels.
const MOST: usize = 100_000;
/// Largest height and width.
const LARGEST: usize = 4096;

impl Architecture {
    /// The classifier: input `input` float\[N,C,H,W\] in pixel units, output `logits` float\[N,classes\]. The same request gives the
    /// same graph on every machine.
    ///
    /// # Errors
    /// `U091`: the images are too small, a number is out of range, or the architecture has no such variant.
    pub fn graph(&self, request: &Request) -> Result<Graph, Refusal> {
        let [channels, height, width] = request.input.unwrap_or(self.input);
        let refused = |what: String, help: String| Err(Refusal::usage(91, what).help(help));
        if height.min(width) < self.least || height.max(width) > LARGEST {
            let what = format!("{} takes images of {} to {LARGEST} pixels a side, not {height}x{width}", self.id, self.least);
            let [c, h, w] = self.input;
            return refused(what, format!("its own images are --input {c}x{h}x{w}"));
        }
        if channels == 0 || channels > MOST || request.classes < 2 || request.classes > MOST {
            let what = format!("{channels} channels and {} classes are not possible", request.classes);
            return refused(what, format!("state 1 to {MOST} channels and 2 to {MOST} classes"));
        }
        if !self.variants && (request.same || request.batch_norm) {
            let with: Vec<&str> = ARCHITECTURES.iter().filter(|row| row.variants).map(|row| row.id).collect();
            let what = format!("{} has one form; --padding and --batchnorm belong to {}", self.id, with.join(", "));
            return refused(what, "drop the option".into());
        }
        let builder = flatscape_graph::Builder::new(Graph::new(self.id));
        let extents = [Dim::symbol("N"), Dim::Fixed(channels), Dim::Fixed(height), Dim::Fixed(width)];
        let x = builder.input("input", ValueType::new(DType::F32, extents.to_vec()));
        let layers = Layers { builder: &builder, architecture: self.id, seed: request.seed };
        let logits = (self.build)(&layers, x, request);
        builder.output("logits", logits);
        let graph = builder.into_graph();
        graph.check().map_err(|e| Refusal::usage(91, format!("{} cannot be built like this: {e}", self.id)))?;
        Ok(graph)
    }
}

/// The number of parameters that training changes: everything constant but running statistics and what states a shape.
pub fn parameters(graph: &Graph) -> usize {
    let running = [layers::MEAN, layers::VARIANCE];
    let trained = graph.values().filter(|(_, value)| !running.iter().any(|end| value.name.ends_with(end)));
    trained
        .filter_map(|(_, value)| value.constant.as_ref())
        .filter(|t| t.dtype() == DType::F32 && !t.shape().is_empty())
        .map(|t| t.len())
        .sum()
}
