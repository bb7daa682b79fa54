//! `PoolGradient`: where the cotangent of a maximum goes.

use ort::operator::{BoxedKernel, ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext};
use ort::value::TensorElementType;

use crate::lower;
use flatscape_kernels::Windows;

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
        let positive = context.get::<i64>("positive") == Some(1);
        let windows = Windows::read(|name| context.get(name), positive).map_err(ort::Error::new)?;
        Ok(Box::new(move |context: &ComputeContext| compute(&windows, context)))
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        match context.inputs().first() {
            Some(x) => context.set_output(0, x),
            None => Ok(()),
        }
    }
}

fn compute(windows: &Windows, context: &ComputeContext) -> ort::Result<()> {
    let absent = || ort::Error::new("PoolGradient lacks an operand");
    let (x, ct) = (context.input(0)?.ok_or_else(absent)?, context.input(1)?.ok_or_else(absent)?);
    let (shape, x) = x.try_extract_tensor::<f32>()?;
    let (steps, ct) = ct.try_extract_tensor::<f32>()?;
    let ([_, _, h, w], [_, _, rows, columns]) = (&shape[..], &steps[..]) else {
        return Err(ort::Error::new("PoolGradient takes operands of four axes"));
    };
    let mut result = context.output(0, shape.to_vec())?.ok_or_else(absent)?;
    let (_, result) = result.try_extract_tensor_mut::<f32>()?;
    windows.gradient(x, ct, result, [*h as usize, *w as usize], [*rows as usize, *columns as usize]);
    Ok(())
}
