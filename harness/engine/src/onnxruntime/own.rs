//! Operators of our own for the CPU provider of ONNX Runtime.

use std::any::Any;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use ort::operator::{
    BoxedKernel, ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput, ShapeInferenceContext,
};
use ort::value::{Shape, SymbolicDimensions, TensorElementType, TensorValueType, ValueType};

use crate::lower;
use crate::own::{Chwn, Correlation, Formula, Gate, Interleave, Operand, Own, PoolGradient, Run, Spare, Winograd};

/// What the sessions of one graph share: the operators by the names of their nodes, with what they compute once, and memory.
#[derive(Default)]
pub(super) struct Shared {
    operators: Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>,
    spare: Spare,
}

/// The domain that a session with this number of threads is given.
pub(super) fn domain(shared: &Arc<Shared>, threads: usize) -> ort::Result<Arc<OperatorDomain>> {
    fn one<O: Own>(shared: &Arc<Shared>, threads: usize) -> Provided<O> {
        Provided { shared: shared.clone(), threads, operator: PhantomData }
    }
    let domain = OperatorDomain::new(lower::DOMAIN)?.add(one::<PoolGradient>(shared, threads))?;
    let domain = domain.add(one::<Interleave>(shared, threads))?.add(one::<Gate>(shared, threads))?;
    let domain = domain.add(one::<Correlation>(shared, threads))?.add(one::<Formula>(shared, threads))?;
    domain.add(one::<Chwn>(shared, threads))?.add(one::<Winograd>(shared, threads)).map(Arc::new)
}

/// An operator as ONNX Runtime has operators.
struct Provided<O> {
    shared: Arc<Shared>,
    threads: usize,
    operator: PhantomData<O>,
}

impl Shared {
    /// The operator of a node, which another session may have read.
    fn operator<O: Own>(&self, node: String, attribute: &dyn Fn(&str) -> Option<Vec<i64>>) -> Result<Arc<O>, String> {
        let mut held = self.operators.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held.get(&node).and_then(|known| known.clone().downcast().ok()) {
            return Ok(known);
        }
        let operator = Arc::new(O::read(attribute)?);
        held.insert(node, operator.clone());
        Ok(operator)
    }
}

impl<O: Own> Operator for Provided<O> {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        O::NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let [least, most] = O::OPERANDS;
        let float = TensorElementType::Float32;
        (0..most).map(move |place| if place < least { OperatorInput::required(float) } else { OperatorInput::optional(float) })
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        let float = TensorElementType::Float32;
        (0..O::RESULTS)
            .map(move |place| if place == 0 { OperatorOutput::required(float) } else { OperatorOutput::optional(float) })
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let operator = self.shared.operator::<O>(context.node_name()?, &|name| context.get(name)).map_err(ort::Error::new)?;
        let constant = O::OPERANDS[0] > 1 && context.constant_input::<TensorValueType<f32>>(1).is_ok();
        let (shared, threads) = (self.shared.clone(), self.threads);
        Ok(Box::new(move |context: &ComputeContext| {
            let each = |jobs: usize, job: &(dyn Fn(usize) + Sync)| context.par_for(jobs, 0, job).map_err(|e| e.to_string());
            compute(&*operator, context, &Run { each: &each, threads, constant, spare: &shared.spare })
        }))
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let operator = O::read(&|name| context.attr(name).ok()).map_err(ort::Error::new)?;
        let inputs = context.inputs();
        let mut symbols = Symbols::default();
        let operands: Vec<Option<Vec<i64>>> = inputs.iter().map(|input| symbols.numbers(input)).collect();
        let operands: Vec<Option<&[i64]>> = operands.iter().map(Option::as_deref).collect();
        for (place, extents) in operator.extents(&operands).into_iter().flatten().enumerate() {
            let dimension_symbols = SymbolicDimensions::new(extents.iter().map(|&n| symbols.name(n)).collect::<Vec<_>>());
            let shape: Shape = extents.iter().map(|&n| n.max(-1)).collect();
            context.set_output(place, &ValueType::Tensor { ty: TensorElementType::Float32, shape, dimension_symbols })?;
        }
        Ok(())
    }
}

/// Names of extents that are not known yet. The first stands for −2, the second for −3, …; −1 has no name.
#[derive(Default)]
struct Symbols(Vec<String>);

impl Symbols {
    /// The extents of a tensor.
    fn numbers(&mut self, ty: &ValueType) -> Option<Vec<i64>> {
        let ValueType::Tensor { shape, dimension_symbols, .. } = ty else { return None };
        Some(shape.iter().zip(dimension_symbols.iter()).map(|(&n, name)| if n < 0 { self.number(name) } else { n }).collect())
    }

    fn number(&mut self, name: &str) -> i64 {
        if name.is_empty() {
            return -1;
        }
        let known = self.0.iter().position(|known| known == name);
        let place = known.unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        });
        -2 - place as i64
    }

    fn name(&self, number: i64) -> String {
        usize::try_from(-2 - number).ok().and_then(|place| self.0.get(place).cloned()).unwrap_or_default()
    }
}

fn compute<O: Own>(operator: &O, context: &ComputeContext, run: &Run) -> ort::Result<()> {
    let values = (0..context.num_inputs()?).map(|place| context.input(place)).collect::<ort::Result<Vec<_>>>()?;
    let tensors = values.iter().map(|v| v.as_ref().map(|v| v.try_extract_tensor::<f32>()).transpose());
    let tensors = tensors.collect::<ort::Result<Vec<_>>>()?;
    let extents: Vec<Option<Vec<usize>>> =
        tensors.iter().map(|t| t.map(|(shape, _)| shape.iter().map(|&n| n as usize).collect())).collect();
    let operands: Vec<Option<Operand>> =
        tensors.iter().zip(&extents).map(|(t, extents)| Some((t.as_ref()?.1, &extents.as_ref()?[..]))).collect();
    let shapes: Vec<Option<&[i64]>> = tensors.iter().map(|t| t.map(|(shape, _)| &shape[..])).collect();
    let wrong = || ort::Error::new(format!("the operands of {} do not fit each other", O::NAME));
    let wanted = operator.extents(&shapes).ok_or_else(wrong)?.into_iter().enumerate();
    let mut values =
        wanted.map(|(place, shape)| context.output(place, shape)?.ok_or_else(wrong)).collect::<ort::Result<Vec<_>>>()?;
    let results = values.iter_mut().map(|v| v.try_extract_tensor_mut::<f32>().map(|(_, elements)| elements));
    let mut results = results.collect::<ort::Result<Vec<_>>>()?;
    operator.compute(&operands, &mut results, run).map_err(ort::Error::new)
}
