//! Layers with their parameters: names, shapes and the laws from which they are drawn. Knows no architecture.

use flatscape_graph::{Attributes, Builder, DType, Expr, Tensor};
use flatscape_intake::random::{self, Place, fill};

/// How the names of running statistics end.
pub(crate) const MEAN: &str = ".running_mean";
/// How the names of running statistics end.
pub(crate) const VARIANCE: &str = ".running_var";

/// The law of a layer's parameters; n is the fan-in, m the fan-out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Law {
    /// Weights U(±√(6/(n+m))), biases 0: Glorot and Bengio 2010.
    Xavier,
    /// Weights and biases U(±1/√n): what PyTorch does when nothing is said.
    Usual,
    /// Weights N(0, 2/n), biases U(±1/√n): He et al. 2015 (arXiv:1502.01852).
    He,
}

/// A convolution with a square kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conv {
    pub out: usize,
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub bias: bool,
}

impl Conv {
    /// Stride 1, no padding, with biases.
    pub(crate) fn new(out: usize, kernel: usize) -> Conv {
        Conv { out, kernel, stride: 1, pad: 0, bias: true }
    }
}

/// Appends layers to a graph.
pub(crate) struct Layers<'b> {
    pub builder: &'b Builder,
    pub architecture: &'static str,
    pub seed: u64,
}

impl<'b> Layers<'b> {
    /// `Conv`: \[N,C,H,W\] → \[N,out,H',W'\], parameters `<name>.weight`, `<name>.bias`.
    pub(crate) fn conv(&self, name: &str, x: Expr<'b>, conv: Conv, law: Law) -> Expr<'b> {
        let Conv { out, kernel, stride, pad, bias } = conv;
        let channels = extent(x, 1);
        let fan = (channels * kernel * kernel, out * kernel * kernel);
        let mut operands = vec![x, self.weight(name, &[out, channels, kernel, kernel], fan, law)];
        if bias {
            operands.push(self.bias(name, out, fan.0, law));
        }
        let ints = |n: usize, count: usize| vec![n as i64; count];
        let attributes =
            Attributes::none().with("kernel_shape", ints(kernel, 2)).with("strides", ints(stride, 2)).with("pads", ints(pad, 4));
        self.builder.op("Conv", &operands, attributes)
    }

    /// `Gemm`: \[N,in\] → \[N,out\], parameters `<name>.weight` \[out,in\] and `<name>.bias`.
    pub(crate) fn dense(&self, name: &str, x: Expr<'b>, out: usize, law: Law) -> Expr<'b> {
        let inputs = extent(x, 1);
        let weight = self.weight(name, &[out, inputs], (inputs, out), law);
        let bias = self.bias(name, out, inputs, law);
        self.builder.op("Gemm", &[x, weight, bias], Attributes::none().with("transB", 1))
    }

    /// `BatchNormalization` with the statistics of N(0, 1): scale 1, bias 0. PyTorch's momentum of 0.1 is ONNX's 0.9.
    pub(crate) fn batch_norm(&self, name: &str, x: Expr<'b>) -> Expr<'b> {
        let channels = extent(x, 1);
        let constant =
            |end: &str, value: f64| self.constant(&format!("{name}{end}"), Tensor::full(DType::F32, &[channels], value));
        let (scale, bias) = (constant(".weight", 1.0), constant(".bias", 0.0));
        let (mean, variance) = (constant(MEAN, 0.0), constant(VARIANCE, 1.0));
        let attributes = Attributes::none().with("epsilon", 1e-5f32).with("momentum", 0.9f32);
        self.builder.op("BatchNormalization", &[x, scale, bias, mean, variance], attributes)
    }

    /// `MaxPool` of 2×2 pixels.
    pub(crate) fn halved(&self, x: Expr<'b>) -> Expr<'b> {
        let attributes = Attributes::none().with("kernel_shape", vec![2i64, 2]).with("strides", vec![2i64, 2]);
        self.builder.op("MaxPool", &[x], attributes)
    }

    /// `Flatten`: \[N,C,H,W\] → \[N,C·H·W\].
    pub(crate) fn rows(&self, x: Expr<'b>) -> Expr<'b> {
        self.builder.op("Flatten", &[x], [("axis", 1.into())])
    }

    /// The mean over height and width: \[N,C,H,W\] → \[N,C\].
    pub(crate) fn pooled(&self, x: Expr<'b>) -> Expr<'b> {
        self.rows(x.unary("GlobalAveragePool"))
    }

    fn weight(&self, name: &str, shape: &[usize], (fan_in, fan_out): (usize, usize), law: Law) -> Expr<'b> {
        let (law, scale) = match law {
            Law::Xavier => (random::Law::Uniform, (6.0 / (fan_in + fan_out) as f64).sqrt()),
            Law::Usual => (random::Law::Uniform, (1.0 / fan_in as f64).sqrt()),
            Law::He => (random::Law::Normal, (2.0 / fan_in as f64).sqrt()),
        };
        self.drawn(&format!("{name}.weight"), shape, law, scale)
    }

    fn bias(&self, name: &str, out: usize, fan_in: usize, law: Law) -> Expr<'b> {
        let scale = match law {
            Law::Xavier => 0.0,
            Law::Usual | Law::He => (1.0 / fan_in as f64).sqrt(),
        };
        self.drawn(&format!("{name}.bias"), &[out], random::Law::Uniform, scale)
    }

    /// A parameter: `scale` times the numbers that belong to its name.
    fn drawn(&self, name: &str, shape: &[usize], law: random::Law, scale: f64) -> Expr<'b> {
        let mut values = vec![0f32; shape.iter().product()];
        if scale > 0.0 {
            fill(law, Place::new(self.seed, self.architecture, name), &mut values);
        }
        values.iter_mut().for_each(|v| *v = (f64::from(*v) * scale) as f32);
        match Tensor::new(shape, values) {
            Some(tensor) => self.constant(name, tensor),
            None => {
                self.builder.graph_mut().add_problem(format!("{name} has another size than its shape"));
                self.constant(name, Tensor::full(DType::F32, shape, 0.0))
            }
        }
    }

    fn constant(&self, name: &str, tensor: Tensor) -> Expr<'b> {
        let id = self.builder.graph_mut().add_constant(name, tensor);
        self.builder.expr(id)
    }
}

/// A known extent; a problem of the graph where it is not known.
pub(crate) fn extent(x: Expr<'_>, axis: usize) -> usize {
    let known = x.dims().and_then(|dims| dims.get(axis)?.fixed());
    if known.is_none() {
        x.builder().graph_mut().add_problem(format!("the extent of axis {axis} is not known"));
    }
    known.unwrap_or(1)
}
