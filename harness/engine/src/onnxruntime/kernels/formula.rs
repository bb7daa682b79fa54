//! `Formula`: several operations on single elements in one pass.

use ort::operator::{BoxedKernel, ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext};
use ort::value::{Shape, SymbolicDimensions, TensorElementType, ValueType};

use flatscape_kernels::{Formula as Arithmetic, Operand};

use crate::lower::{self, OPERANDS};

/// `y = Formula(a, …)`: up to [`OPERANDS`] operands, with the attributes `operands`, `like`, `steps` and `total` of the arithmetic.
pub(super) struct Formula;

impl Operator for Formula {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        lower::FORMULA
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        (0..OPERANDS).map(|place| match place {
            0 => OperatorInput::required(TensorElementType::Float32),
            _ => OperatorInput::optional(TensorElementType::Float32),
        })
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let arithmetic = Arithmetic::read(|name| context.get(name)).map_err(ort::Error::new)?;
        Ok(Box::new(move |context: &ComputeContext| compute(&arithmetic, context)))
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let names = ["operands", "like", "steps", "total"];
        let given: Vec<Option<Vec<i64>>> = names.iter().map(|name| context.attr(name).ok()).collect();
        let of = |name: &str| names.iter().position(|n| *n == name).and_then(|place| given[place].clone());
        let arithmetic = Arithmetic::read(of).map_err(ort::Error::new)?;
        let inputs = context.inputs();
        let Some(ValueType::Tensor { shape, dimension_symbols, .. }) = inputs.get(arithmetic.like()) else { return Ok(()) };
        // an extent that is not known yet is told by its symbol
        let extents: Vec<Extent> = shape.iter().zip(dimension_symbols.iter()).map(|(&n, symbol)| Extent(n, symbol)).collect();
        let Some(extents) = arithmetic.extents(&extents) else { return Ok(()) };
        let shape: Shape = extents.iter().map(|e| e.0).collect();
        let symbols: Vec<String> = extents.iter().map(|e| e.1.to_owned()).collect();
        let dimension_symbols = SymbolicDimensions::new(symbols);
        context.set_output(0, &ValueType::Tensor { ty: TensorElementType::Float32, shape, dimension_symbols })
    }
}

/// An extent, and its symbol, which is empty where the extent is known.
#[derive(Clone, Copy)]
struct Extent<'s>(i64, &'s str);

impl From<u8> for Extent<'_> {
    fn from(n: u8) -> Self {
        Extent(n.into(), "")
    }
}

fn compute(arithmetic: &Arithmetic, context: &ComputeContext) -> ort::Result<()> {
    let wrong = || ort::Error::new("Formula takes operands that are repeated to the extents of one of them");
    let values = (0..context.num_inputs()?).map(|place| context.input(place)).collect::<ort::Result<Vec<_>>>()?;
    let tensors = values.iter().flatten().map(|v| v.try_extract_tensor::<f32>()).collect::<ort::Result<Vec<_>>>()?;
    let extents: Vec<Vec<usize>> = tensors.iter().map(|(shape, _)| shape.iter().map(|&n| n as usize).collect()).collect();
    let operands: Vec<Operand> = tensors.iter().zip(&extents).map(|((_, elements), extents)| (*elements, &extents[..])).collect();
    let like: Vec<i64> = tensors.get(arithmetic.like()).ok_or_else(wrong)?.0.to_vec();
    let mut result = context.output(0, arithmetic.extents(&like).ok_or_else(wrong)?)?.ok_or_else(wrong)?;
    let (_, result) = result.try_extract_tensor_mut::<f32>()?;
    arithmetic.compute(&operands, result, &|jobs, job| context.par_for(jobs, 0, job)).ok_or_else(wrong)?
}
