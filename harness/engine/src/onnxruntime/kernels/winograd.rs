//! `Winograd`: a convolution of 3×3 taps, with what follows it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ort::operator::{BoxedKernel, ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext};
use ort::value::{Shape, SymbolicDimensions, TensorElementType, TensorValueType, ValueType};

use flatscape_kernels::{Beside, Kernel, Winograd as Arithmetic};

use crate::lower;

/// Taps at the points, by the name of the node: the sessions of one graph share them.
#[derive(Default)]
pub(in super::super) struct Kernels {
    constant: Mutex<HashMap<String, Weak<Kernel>>>,
    /// Memory for taps that are computed in every run.
    spare: Mutex<Vec<Vec<f32>>>,
}

/// `y = Winograd(x, W, bias, sum, gate)`: [N, C, H, W] and [M, C, 3, 3] ↦ [N, M, H', W'], with the attributes `pads`, `square` (2 or 4),
/// `relu`, and `adjoint` where W is that of the convolution [C, M, 3, 3] of which this is the adjoint in x. The last three operands are optional: bias [M] and sum are added, then come the ReLU and the gate, which lets pass what
/// stands where it is positive.
pub(super) struct Winograd {
    pub kernels: Arc<Kernels>,
    /// Threads of the session.
    pub threads: usize,
}

impl Operator for Winograd {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        lower::WINOGRAD
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let required = || OperatorInput::required(TensorElementType::Float32);
        let optional = || OperatorInput::optional(TensorElementType::Float32);
        [required(), required(), optional(), optional(), optional()]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let arithmetic = Arithmetic::read(|name| context.get(name)).map_err(ort::Error::new)?;
        let (kernels, threads) = (self.kernels.clone(), self.threads);
        let constant = match context.constant_input::<TensorValueType<f32>>(1) {
            Ok(taps) => Some(kernels.constant(context.node_name()?, &arithmetic, &taps)?),
            // taps that the graph computes or is given
            Err(_) => None,
        };
        Ok(Box::new(move |context: &ComputeContext| match &constant {
            Some(kernel) => convolve(&arithmetic, kernel, context, threads),
            None => with_computed_taps(&arithmetic, &kernels, context, threads),
        }))
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let pads: Vec<i64> = context.attr("pads")?;
        let inputs = context.inputs();
        let [Some(ValueType::Tensor { shape: x, dimension_symbols, .. }), Some(ValueType::Tensor { shape: taps, .. })] =
            [inputs.first(), inputs.get(1)]
        else {
            return Ok(());
        };
        let ([n, _, h, w], [first, second, ..], [top, left, bottom, right]) = (&x[..], &taps[..], &pads[..]) else {
            return Ok(());
        };
        let adjoint = context.attr::<Vec<i64>>("adjoint").is_ok_and(|a| a == [1]);
        let m = if adjoint { second } else { first };
        let along = |extent: i64, pads: i64| if extent < 0 { extent } else { extent + pads - 2 };
        let shape: Shape = [*n, *m, along(*h, top + bottom), along(*w, left + right)].into_iter().collect();
        let none = String::new;
        let symbols = dimension_symbols.iter().take(1).cloned().chain([none(), none(), none()]).collect::<Vec<_>>();
        let dimension_symbols = SymbolicDimensions::new(symbols);
        context.set_output(0, &ValueType::Tensor { ty: TensorElementType::Float32, shape, dimension_symbols })
    }
}

impl Kernels {
    /// The taps of a node at the points, which another session may have computed.
    fn constant(
        &self,
        node: String,
        arithmetic: &Arithmetic,
        taps: &ort::value::ValueRef<'_, TensorValueType<f32>>,
    ) -> ort::Result<Arc<Kernel>> {
        let mut held = self.constant.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = held.get(&node).and_then(Weak::upgrade) {
            return Ok(kernel);
        }
        let (shape, taps) = taps.try_extract_tensor::<f32>()?;
        let extents = extents_of_taps(shape)?;
        let one_by_one = |jobs: usize, job: &(dyn Fn(usize) + Sync)| {
            (0..jobs).for_each(job);
            Ok::<(), ort::Error>(())
        };
        let kernel = Arc::new(arithmetic.kernel(taps, extents, Vec::new(), &one_by_one)?);
        held.insert(node, Arc::downgrade(&kernel));
        Ok(kernel)
    }
}

/// M and C.
fn extents_of_taps(shape: &[i64]) -> ort::Result<[usize; 2]> {
    match shape[..] {
        [m, c, 3, 3] => Ok([m as usize, c as usize]),
        _ => Err(ort::Error::new("Winograd takes taps [M, C, 3, 3]")),
    }
}

fn with_computed_taps(arithmetic: &Arithmetic, kernels: &Kernels, context: &ComputeContext, threads: usize) -> ort::Result<()> {
    let taps = context.input(1)?.ok_or_else(|| ort::Error::new("Winograd lacks its taps"))?;
    let (shape, taps) = taps.try_extract_tensor::<f32>()?;
    let memory = kernels.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
    let kernel = arithmetic.kernel(taps, extents_of_taps(shape)?, memory, &|jobs, job| context.par_for(jobs, 0, job))?;
    let done = convolve(arithmetic, &kernel, context, threads);
    kernels.spare.lock().unwrap_or_else(PoisonError::into_inner).push(kernel.into_memory());
    done
}

fn convolve(arithmetic: &Arithmetic, kernel: &Kernel, context: &ComputeContext, threads: usize) -> ort::Result<()> {
    let wrong = || ort::Error::new("Winograd takes images [N, C, H, W] that fit its taps, and operands as large as its result");
    let count = context.num_inputs()?;
    let given = |place: usize| if place < count { context.input(place) } else { Ok(None) };
    let (x, bias, sum, gate) = (given(0)?.ok_or_else(wrong)?, given(2)?, given(3)?, given(4)?);
    let (extents, x) = x.try_extract_tensor::<f32>()?;
    let extents = <[i64; 4]>::try_from(&extents[..]).map_err(|_| wrong())?.map(|n| n as usize);
    let steps = arithmetic.extents([extents[2], extents[3]]).filter(|_| extents[1] == kernel.channels()).ok_or_else(wrong)?;
    let shape = [extents[0], kernel.results(), steps[0], steps[1]];
    let mut result = context.output(0, shape.map(|n| n as i64).to_vec())?.ok_or_else(wrong)?;
    let (_, result) = result.try_extract_tensor_mut::<f32>()?;
    let bias = bias.as_ref().map(|v| v.try_extract_tensor::<f32>()).transpose()?.map(|(_, v)| v);
    let sum = sum.as_ref().map(|v| v.try_extract_tensor::<f32>()).transpose()?.map(|(_, v)| v);
    let gate = gate.as_ref().map(|v| v.try_extract_tensor::<f32>()).transpose()?.map(|(_, v)| v);
    let fits = |value: Option<&[f32]>, length: usize| value.is_none_or(|v| v.len() == length);
    if !fits(bias, kernel.results()) || !fits(sum, result.len()) || !fits(gate, result.len()) {
        return Err(wrong());
    }
    arithmetic.compute(
        (x, extents),
        kernel,
        Beside { bias, sum, gate },
        result,
        (threads, &|jobs, job| context.par_for(jobs, 0, job)),
    )
}
