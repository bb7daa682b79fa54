//! `Gate`: what passes where another value is positive.

use ort::operator::{BoxedKernel, ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext};
use ort::value::TensorElementType;

use crate::lower;

/// `y = Gate(x, v)`: v where x > 0, else 0. Both have the same extents.
pub(super) struct Gate;

impl Operator for Gate {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        lower::GATE
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [const { OperatorInput::required(TensorElementType::Float32) }; 2]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, _: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        Ok(Box::new(compute))
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        match context.inputs().first() {
            Some(x) => context.set_output(0, x),
            None => Ok(()),
        }
    }
}

fn compute(context: &ComputeContext) -> ort::Result<()> {
    let wrong = || ort::Error::new("Gate takes two operands of the same extents");
    let (Some(x), Some(v)) = (context.input(0)?, context.input(1)?) else { return Err(wrong()) };
    let ((shape, x), (_, v)) = (x.try_extract_tensor::<f32>()?, v.try_extract_tensor::<f32>()?);
    if x.len() != v.len() {
        return Err(wrong());
    }
    let mut result = context.output(0, shape.to_vec())?.ok_or_else(wrong)?;
    let (_, result) = result.try_extract_tensor_mut::<f32>()?;
    for ((y, &x), &v) in result.iter_mut().zip(x).zip(v) {
        *y = if x > 0.0 { v } else { 0.0 };
    }
    Ok(())
}
