//! `Correlation`: the gradient of a convolution by its kernel.

use ort::operator::{BoxedKernel, ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext};
use ort::value::{Shape, SymbolicDimensions, TensorElementType, ValueType};

use flatscape_kernels::Correlation as Arithmetic;

use crate::lower;

/// `W̄ = Correlation(x, ȳ)`: [N, C, H, W] and [N, M, P, Q] ↦ [M, C, kernel], with the attributes of the convolution: `kernel_shape`,
/// `strides`, `dilations`, `pads`, and `square` (2 or 4) where it is computed in squares.
pub(super) struct Correlation;

impl Operator for Correlation {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        lower::CORRELATION
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [const { OperatorInput::required(TensorElementType::Float32) }; 2]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let arithmetic = Arithmetic::read(|name| context.get(name)).map_err(ort::Error::new)?;
        Ok(Box::new(move |context: &ComputeContext| compute(&arithmetic, context)))
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let kernel: Vec<i64> = context.attr("kernel_shape")?;
        let channels = |ty: &ValueType| match ty {
            ValueType::Tensor { shape, .. } => shape.get(1).copied(),
            _ => None,
        };
        let inputs = context.inputs();
        let (Some(x), Some(ct), [height, width]) = (inputs.first(), inputs.get(1), &kernel[..]) else { return Ok(()) };
        let (Some(c), Some(m)) = (channels(x), channels(ct)) else { return Ok(()) };
        let shape: Shape = [m, c, *height, *width].into_iter().collect();
        let dimension_symbols = SymbolicDimensions::new(vec![String::new(); 4]);
        context.set_output(0, &ValueType::Tensor { ty: TensorElementType::Float32, shape, dimension_symbols })
    }
}

fn compute(arithmetic: &Arithmetic, context: &ComputeContext) -> ort::Result<()> {
    let wrong = || ort::Error::new("Correlation takes two operands of four axes with as many samples");
    let (x, ct) = (context.input(0)?.ok_or_else(wrong)?, context.input(1)?.ok_or_else(wrong)?);
    let ((extents, x), (steps, ct)) = (x.try_extract_tensor::<f32>()?, ct.try_extract_tensor::<f32>()?);
    let four = |shape: &[i64]| <[i64; 4]>::try_from(shape).map(|s| s.map(|n| n as usize)).map_err(|_| wrong());
    let (extents, steps) = (four(extents)?, four(steps)?);
    if extents[0] != steps[0] {
        return Err(wrong());
    }
    let [height, width] = arithmetic.kernel().map(|k| k as i64);
    let shape = vec![steps[1] as i64, extents[1] as i64, height, width];
    let mut result = context.output(0, shape)?.ok_or_else(wrong)?;
    let (_, result) = result.try_extract_tensor_mut::<f32>()?;
    arithmetic.compute((x, extents), (ct, steps), result, &|jobs, job| context.par_for(jobs, 0, job))
}
