//! `PoolGradient`: where the cotangent of a maximum goes.

use ort::operator::{BoxedKernel, ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext};
use ort::value::TensorElementType;

use crate::lower;

/// `x̄ = PoolGradient(x, ȳ)`: ȳ of every window added at its first largest element of x, all [N, C, H, W].
pub(super) struct PoolGradient;

impl Operator for PoolGradient {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        lower::POOL_GRADIENT
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Float32), OperatorInput::required(TensorElementType::Float32)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let two = |name: &str| -> ort::Result<[usize; 2]> {
            let numbers: Vec<i64> = context.get(name).ok_or_else(|| ort::Error::new(format!("PoolGradient has no {name}")))?;
            match numbers[..] {
                [a, b, ..] if a >= 0 && b >= 0 => Ok([a as usize, b as usize]),
                _ => Err(ort::Error::new(format!("PoolGradient has an impossible {name}"))),
            }
        };
        let windows = Windows {
            kernel: two("kernel_shape")?,
            stride: two("strides")?,
            dilation: two("dilations")?,
            begin: two("pads")?,
            positive: context.get::<i64>("positive").unwrap_or(0) == 1,
        };
        Ok(Box::new(move |context: &ComputeContext| windows.compute(context)))
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        match context.inputs().first() {
            Some(x) => context.set_output(0, x),
            None => Ok(()),
        }
    }
}

/// The windows of a pool over [H, W].
struct Windows {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    begin: [usize; 2],
    /// Whether only maxima above 0 pass (a ReLU came before).
    positive: bool,
}

impl Windows {
    fn compute(&self, context: &ComputeContext) -> ort::Result<()> {
        let absent = || ort::Error::new("PoolGradient lacks an operand");
        let (x, ct) = (context.input(0)?.ok_or_else(absent)?, context.input(1)?.ok_or_else(absent)?);
        let (shape, x) = x.try_extract_tensor::<f32>()?;
        let (steps, ct) = ct.try_extract_tensor::<f32>()?;
        let ([_, _, h, w], [_, _, rows, columns]) = (&shape[..], &steps[..]) else {
            return Err(ort::Error::new("PoolGradient takes operands of four axes"));
        };
        let (extent, steps) = ([*h as usize, *w as usize], [*rows as usize, *columns as usize]);
        let mut result = context.output(0, shape.to_vec())?.ok_or_else(absent)?;
        let (_, result) = result.try_extract_tensor_mut::<f32>()?;
        let (plane, windows) = ((extent[0] * extent[1]).max(1), (steps[0] * steps[1]).max(1));
        let halves = self.kernel == [2, 2] && self.stride == [2, 2] && self.begin == [0, 0] && self.dilation == [1, 1];
        let exact = halves && extent == [2 * steps[0], 2 * steps[1]];
        for ((x, ct), result) in x.chunks_exact(plane).zip(ct.chunks_exact(windows)).zip(result.chunks_exact_mut(plane)) {
            if exact {
                self.squares(x, ct, result, extent[1]);
            } else {
                self.plane(x, ct, result, extent, steps);
            }
        }
        Ok(())
    }

    /// Windows of any kind.
    fn plane(&self, x: &[f32], ct: &[f32], result: &mut [f32], extent: [usize; 2], steps: [usize; 2]) {
        result.fill(0.0);
        for row in 0..steps[0] {
            for column in 0..steps[1] {
                let mut best: Option<usize> = None;
                for i in self.inside(0, row, extent[0]) {
                    for j in self.inside(1, column, extent[1]) {
                        let at = i * extent[1] + j;
                        if best.is_none_or(|b| x[at] > x[b]) {
                            best = Some(at);
                        }
                    }
                }
                if let Some(at) = best.filter(|&at| !self.positive || x[at] > 0.0) {
                    result[at] += ct[row * steps[1] + column];
                }
            }
        }
    }

    /// Positions of a window along one axis that are not padding.
    fn inside(&self, axis: usize, step: usize, extent: usize) -> impl Iterator<Item = usize> {
        let (start, begin, dilation) = (step * self.stride[axis], self.begin[axis], self.dilation[axis]);
        (0..self.kernel[axis]).filter_map(move |t| (start + t * dilation).checked_sub(begin).filter(|&at| at < extent))
    }

    /// Windows of 2 × 2 side by side that cover the plane: every element of the result is written once.
    fn squares(&self, x: &[f32], ct: &[f32], result: &mut [f32], width: usize) {
        // a window whose maximum does not exceed this passes nothing
        let floor = if self.positive { 0.0 } else { f32::NEG_INFINITY };
        let rows = x.chunks_exact(2 * width).zip(result.chunks_exact_mut(2 * width)).zip(ct.chunks_exact(width / 2));
        for ((x, result), ct) in rows {
            let ((top, bottom), (above, below)) = (x.split_at(width), result.split_at_mut(width));
            let windows = top
                .chunks_exact(2)
                .zip(bottom.chunks_exact(2))
                .zip(above.chunks_exact_mut(2).zip(below.chunks_exact_mut(2)))
                .zip(ct);
            for (((p, q), (r, s)), &ct) in windows {
                let (a, b, c, d) = (p[0], p[1], q[0], q[1]);
                let largest = a.max(b).max(c.max(d));
                let passes = if largest > floor || !self.positive { ct } else { 0.0 };
                let is_a = a == largest;
                let is_b = !is_a && b == largest;
                let is_c = !is_a && !is_b && c == largest;
                r[0] = if is_a { passes } else { 0.0 };
                r[1] = if is_b { passes } else { 0.0 };
                s[0] = if is_c { passes } else { 0.0 };
                s[1] = if is_a || is_b || is_c { 0.0 } else { passes };
            }
        }
    }
}
