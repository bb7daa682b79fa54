//! `Conv64` for tract, whose own convolutions of float64 numbers compute one number at a time. With stride 1 the kernel `Direct`
//! computes it. Otherwise the pixels under the taps are written beside each other and multiplied as a matrix. The gradient
//! certificate uses it, as does every comparison with float64.

use flatscape_graph::{Attributes, DType, Dim, Graph, Node, ValueId};
use flatscape_kernels::{Direct, Padded};
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, ShapeBuilder};
use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use crate::lower;

/// Its name in the domain of the engine.
const NAME: &str = "Conv64";

/// Adds the operator to those that tract reads.
pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert(NAME, |_, node| Ok((expand(read(node)?), Vec::new())));
}

/// The graph with the operator in the place of every `Conv` that it computes, and of the gradients of convolutions.
pub(super) fn written(graph: &Graph) -> Graph {
    let double = |node: &Node| node.input(0).is_some_and(|x| graph.dtype(x) == Some(DType::F64));
    let any = |op: &str| graph.nodes().iter().any(|node| &*node.op == op && double(node));
    let graph = &if any("ConvTranspose") { lower::as_convolutions(graph) } else { graph.clone() };
    if !any("Conv") && !any("ConvTranspose") {
        return graph.clone();
    }
    let lowered = graph.rewrite(|new, node, inputs| {
        let (x, taps, attributes) = convolution(new, node, inputs)?;
        let ty = &graph.value(node.output(0)?).ty;
        let bias = inputs.get(2).copied().flatten();
        let operands: Vec<ValueId> = [x, taps].into_iter().chain(bias).collect();
        Some(vec![Some(lower::pushed(new, Node::new(NAME, &operands, attributes), ty))])
    });
    lowered.without_dead()
}

/// The operands and the attributes of a `Conv` that the operator computes.
fn convolution(new: &Graph, node: &Node, inputs: &[Option<ValueId>]) -> Option<(ValueId, ValueId, Attributes)> {
    let (x, taps) = (inputs.first().copied()??, inputs.get(1).copied()??);
    let a = &node.attributes;
    let plain = &*node.op == "Conv" && node.domain.is_empty() && a.int("group", 1) == 1;
    let known =
        |id: ValueId| new.shape(id).is_some_and(|dims| dims.len() == 4 && dims.iter().skip(1).all(|d| d.fixed().is_some()));
    if !plain
        || new.dtype(x) != Some(DType::F64)
        || !known(x)
        || !known(taps)
        || new.shape(taps)?.first().and_then(Dim::fixed).is_none()
    {
        return None;
    }
    let list = |name: &str, usual: &[i64]| a.ints(name).unwrap_or(usual).to_vec();
    let pads = match a.string("auto_pad", "NOTSET") {
        "NOTSET" | "" => list("pads", &[0; 4]),
        "VALID" => vec![0; 4],
        _ => return None,
    };
    if pads.iter().any(|&p| p < 0) {
        return None;
    }
    let attributes = Attributes::none().with("strides", list("strides", &[1, 1])).with("dilations", list("dilations", &[1, 1]));
    Some((x, taps, attributes.with("pads", pads)))
}

/// `y = Conv64(x, W, b)`: a convolution over [H, W] in one group, all double; b may be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Conv64 {
    strides: [usize; 2],
    dilations: [usize; 2],
    /// Zeros before and behind.
    begin: [usize; 2],
    end: [usize; 2],
}

/// Numbers under the taps that are beside each other at a time: half a megabyte.
const BESIDE: usize = 1 << 16;

fn read(node: &NodeProto) -> TractResult<Conv64> {
    let list = |name: &str| -> TractResult<Vec<usize>> {
        let given = node.get_attr_vec::<i64>(name)?;
        given.into_iter().map(|n| usize::try_from(n).map_err(|_| format_err!("Conv64 has impossible {name}"))).collect()
    };
    let (strides, dilations, pads) = (list("strides")?, list("dilations")?, list("pads")?);
    let (&[s, t], &[d, e], &[a, b, c, f]) = (&strides[..], &dilations[..], &pads[..]) else {
        bail!("Conv64 has missing or impossible attributes");
    };
    ensure!(s.min(t).min(d).min(e) > 0, "Conv64 has impossible attributes");
    Ok(Conv64 { strides: [s, t], dilations: [d, e], begin: [a, b], end: [c, f] })
}

impl Conv64 {
    /// Of the result along an axis; `None` where the taps reach further than the pixels.
    fn extent(&self, axis: usize, pixels: usize, taps: usize) -> Option<usize> {
        let reach = self.dilations[axis] * taps.checked_sub(1)? + 1;
        Some((pixels + self.begin[axis] + self.end[axis]).checked_sub(reach)? / self.strides[axis] + 1)
    }

    /// Extents of the result for x [N, C, H, W] and taps [M, C, R, S].
    fn extents(&self, x: &[usize], taps: &[usize]) -> TractResult<[usize; 4]> {
        let (&[n, c, h, w], &[m, depth, r, s]) = (x, taps) else { bail!("Conv64 takes operands of four axes") };
        match (self.extent(0, h, r), self.extent(1, w, s)) {
            (Some(rows), Some(columns)) if c == depth => Ok([n, m, rows, columns]),
            _ => bail!("Conv64 takes {depth} channels and at least as many pixels as taps"),
        }
    }

    fn compute(&self, x: &Tensor, taps: &Tensor, bias: Option<&Tensor>) -> TractResult<Tensor> {
        let extents = self.extents(x.shape(), taps.shape())?;
        let mut result = Tensor::zero::<f64>(&extents)?;
        let [_, m, rows, columns] = extents;
        let (&[_, c, h, w], &[.., r, s]) = (x.shape(), taps.shape()) else { bail!("Conv64 takes operands of four axes") };
        let (depth, area) = (c * r * s, rows * columns);
        let (x, taps, bias) = (x.try_as_plain_ram()?, taps.try_as_plain_ram()?, bias.map(Tensor::try_as_plain_ram).transpose()?);
        let bias = bias.as_ref().map(|bias| bias.as_slice::<f64>()).transpose()?;
        ensure!(bias.is_none_or(|bias| bias.len() == m), "Conv64 takes a bias of {m} numbers");
        if self.strides == [1, 1] && Direct::suits(columns) && c * h * w > 0 {
            let direct = Direct::new(taps.as_slice::<f64>()?, [m, c, r, s], self.dilations);
            let mut padded = Padded::new(c, [h, w], self.begin, self.end);
            let mut into = result.try_as_plain_ram_mut()?;
            let images = x.as_slice::<f64>()?.chunks_exact(c * h * w);
            for (image, y) in images.zip(into.as_slice_mut::<f64>()?.chunks_exact_mut((m * area).max(1))) {
                padded.fill(image, [h, w], self.begin);
                direct.compute(&padded, bias, y, [rows, columns]);
            }
            return Ok(result);
        }
        let taps = ArrayView2::from_shape((m, depth), taps.as_slice::<f64>()?)?;
        let band = (BESIDE / (depth * columns).max(1)).clamp(1, rows.max(1));
        let mut beside = vec![0f64; depth * band * columns];
        let mut into = result.try_as_plain_ram_mut()?;
        let images = x.as_slice::<f64>()?.chunks_exact((c * h * w).max(1));
        for (image, y) in images.zip(into.as_slice_mut::<f64>()?.chunks_exact_mut((m * area).max(1))) {
            if let Some(bias) = bias {
                y.chunks_exact_mut(area.max(1)).zip(bias).for_each(|(y, &bias)| y.fill(bias));
            }
            for first in (0..rows).step_by(band) {
                let some = band.min(rows - first);
                let pixels = some * columns;
                let lines = beside.chunks_exact_mut(pixels.max(1)).take(depth).enumerate();
                for (place, line) in lines {
                    let (channel, tap) = (&image[place / (r * s) * h * w..][..h * w], [place / s % r, place % s]);
                    self.under_tap(channel, [h, w], tap, first, columns, line);
                }
                let beside = ArrayView2::from_shape((depth, pixels), &beside[..depth * pixels])?;
                let lines = &mut y[first * columns..];
                let mut y = ArrayViewMut2::from_shape((m, pixels).strides((area, 1)), lines)?;
                general_mat_mul(1.0, &taps, &beside, 1.0, &mut y);
            }
        }
        Ok(result)
    }

    /// The pixels of a channel under one tap, for lines of results from one on.
    fn under_tap(&self, channel: &[f64], [h, w]: [usize; 2], tap: [usize; 2], first: usize, columns: usize, to: &mut [f64]) {
        let shift = [0, 1].map(|axis| tap[axis] * self.dilations[axis]);
        for (row, to) in to.chunks_exact_mut(columns.max(1)).enumerate() {
            let from = ((first + row) * self.strides[0] + shift[0]).checked_sub(self.begin[0]).filter(|&row| row < h);
            let Some(from) = from else {
                to.fill(0.0);
                continue;
            };
            let line = &channel[from * w..][..w];
            if self.strides[1] == 1 {
                let before = self.begin[1].saturating_sub(shift[1]).min(to.len());
                let pixels = line.get(before + shift[1] - self.begin[1].min(before + shift[1])..).unwrap_or(&[]);
                let inside = pixels.len().min(to.len() - before);
                to[..before].fill(0.0);
                to[before..before + inside].copy_from_slice(&pixels[..inside]);
                to[before + inside..].fill(0.0);
                continue;
            }
            for (column, to) in to.iter_mut().enumerate() {
                let at = (column * self.strides[1] + shift[1]).checked_sub(self.begin[1]).filter(|&at| at < w);
                *to = at.map_or(0.0, |at| line[at]);
            }
        }
    }
}

fn numbers<'d>(dims: impl Iterator<Item = &'d TDim>) -> TractResult<Vec<usize>> {
    dims.map(|dim| Ok(dim.to_usize()?)).collect()
}

impl Expansion for Conv64 {
    fn name(&self) -> StaticName {
        NAME.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        ensure!((2..=3).contains(&inputs.len()), "Conv64 takes two or three operands");
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].datum_type, f64::datum_type())?;
        solver.equals(&inputs[1].datum_type, f64::datum_type())?;
        solver.equals(&outputs[0].datum_type, f64::datum_type())?;
        solver.given_2(&inputs[0].shape, &inputs[1].shape, move |solver, x, taps| {
            let [_, m, rows, columns] = self.extents(&numbers(x.iter())?, &numbers(taps.iter())?)?;
            let shape: TVec<TDim> = tvec!(x[0].clone(), m.to_dim(), rows.to_dim(), columns.to_dim());
            solver.equals(&outputs[0].shape, shape)
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl Op for Conv64 {
    fn name(&self) -> StaticName {
        NAME.into()
    }

    op_as_typed_op!();
}

impl EvalOp for Conv64 {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (Some(x), Some(taps)) = (inputs.first(), inputs.get(1)) else { bail!("Conv64 takes two or three operands") };
        Ok(tvec!(self.compute(x, taps, inputs.get(2).map(|bias| &**bias))?.into_tvalue()))
    }
}

impl TypedOp for Conv64 {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let extents = self.extents(&numbers(inputs[0].shape.iter())?, &numbers(inputs[1].shape.iter())?)?;
        Ok(tvec!(f64::fact(extents)))
    }
}

#[cfg(test)]
mod tests {
    use flatscape_graph::{Builder, Tensor, ValueType};

    use super::*;
    use crate::CompileOptions;
    use crate::tests::{batch, engines, noise, run};

    /// x [N, 3, h, w] and taps [5, 3, r, s], element by element.
    fn expected(conv: &Conv64, x: &Tensor, taps: &Tensor, bias: &[f64]) -> Vec<f64> {
        let extents = conv.extents(x.shape(), taps.shape()).expect("extents");
        let (&[_, c, h, w], &[.., r, s]) = (x.shape(), taps.shape()) else { panic!("four axes") };
        let ([n, m, rows, columns], x, taps) = (extents, x.to_f64(), taps.to_f64());
        let mut all = Vec::new();
        for (image, result, row, column) in (0..n * m * rows * columns)
            .map(|at| (at / (m * rows * columns), at / (rows * columns) % m, at / columns % rows, at % columns))
        {
            let mut sum = bias[result];
            for (channel, a, b) in (0..c * r * s).map(|at| (at / (r * s), at / s % r, at % s)) {
                let from = |axis: usize, at: usize, tap: usize| {
                    (at * conv.strides[axis] + tap * conv.dilations[axis]).checked_sub(conv.begin[axis])
                };
                let (Some(i), Some(j)) = (from(0, row, a), from(1, column, b)) else { continue };
                if i < h && j < w {
                    sum += x[((image * c + channel) * h + i) * w + j] * taps[((result * c + channel) * r + a) * s + b];
                }
            }
            all.push(sum);
        }
        all
    }

    #[test]
    fn it_computes_the_formula_over_strides_dilations_and_pads() {
        let tract = engines().into_iter().find(|engine| engine.name() == "tract").expect("tract is compiled in");
        for (kernel, strides, dilations, pads) in [
            ([3, 3], [1, 1], [1, 1], [1, 1, 1, 1]),
            ([3, 3], [2, 1], [1, 1], [0, 2, 1, 0]),
            ([5, 2], [1, 3], [1, 2], [4, 0, 0, 3]),
            ([1, 1], [2, 2], [1, 1], [0, 0, 0, 0]),
            ([9, 11], [1, 1], [1, 1], [0, 0, 0, 0]),
            ([2, 3], [1, 1], [3, 4], [3, 12, 2, 9]),
        ] {
            for more in [0, 60] {
                let b = Builder::new(Graph::new("layer"));
                let x = b.input("x", ValueType { dtype: Some(DType::F64), ..batch(&[3, 9 + more, 11 + more]) });
                let (taps, bias) = (noise(&[5, 3, kernel[0], kernel[1]], 1), noise(&[5], 2).cast(DType::F64));
                let w = b.constant(taps.cast(DType::F64));
                let list = |numbers: &[usize]| numbers.iter().map(|&n| n as i64).collect::<Vec<_>>();
                let attributes = Attributes::none()
                    .with("strides", list(&strides))
                    .with("dilations", list(&dilations))
                    .with("pads", list(&pads));
                b.output("y", b.op("Conv", &[x, w, b.constant(bias.clone())], attributes.clone()));
                b.output("z", b.op("Conv", &[x, w], attributes));
                let graph = b.into_graph();
                let made = written(&graph);
                assert_eq!(made.nodes().iter().filter(|node| &*node.op == NAME).count(), 2);
                let images = noise(&[3, 3, 9 + more, 11 + more], 3).cast(DType::F64);
                let plain = CompileOptions { lower: false, ..Default::default() };
                let found = run(&*tract, &graph, &plain, std::slice::from_ref(&images));
                let conv = Conv64 { strides, dilations, begin: [pads[0], pads[1]], end: [pads[2], pads[3]] };
                for (found, bias) in found.iter().zip([bias.to_f64(), vec![0.0; 5]]) {
                    let expected = expected(&conv, &images, &taps, &bias);
                    assert_eq!(found.len(), expected.len());
                    let off = expected.iter().zip(found.to_f64()).map(|(e, f)| (e - f).abs()).fold(0.0, f64::max);
                    assert!(off < 1e-12, "{kernel:?} {strides:?} {dilations:?} {pads:?}: {off:e}");
                }
            }
        }
    }
}
