//! Operators of our own for the CPU provider of ONNX Runtime.

use std::any::Any;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use flatscape_graph::{Element, Graph, Node, Tensor};
use ort::operator::{
    BoxedKernel, ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput, ShapeInferenceContext,
};
use ort::value::{Shape, SymbolicDimensions, TensorElementType, ValueType};

use crate::lower;
use crate::own::{
    self, Chwn, Correlation, Formula, Gate, Hash, Interleave, Known, Operand, Own, PoolGradient, Run, Spare, Winograd,
};

/// A constant second operand.
struct Constant {
    tensor: Arc<Tensor>,
    extents: Vec<i64>,
    hash: Hash,
}

/// Constants of the graphs of this process.
static CONSTANTS: Known<(Hash, Vec<usize>), Tensor> = Known::new();

/// What the sessions of one graph share.
#[derive(Default)]
pub(super) struct Shared {
    /// Second operands that are constant. ONNX Runtime is not given them: it would copy them for every session.
    constants: Vec<Arc<Constant>>,
    /// By the names of their nodes, with what they compute once.
    operators: Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>,
    spare: Spare,
}

/// The attribute that names a second operand that is kept apart.
const CONSTANT: &str = "constant";

/// The graph without the constant second operands of operators of our own, and what its sessions share.
pub(super) fn apart(graph: &Graph) -> (Graph, Shared) {
    let mut constants = Vec::new();
    let lighter = graph.rewrite(|new, node, inputs| {
        let constant = node.input(1).filter(|_| &*node.domain == lower::DOMAIN).and_then(|id| graph.constant(id))?;
        let hash = own::hash(f32::view(constant)?.as_slice()?);
        let attributes = node.attributes.clone().with(CONSTANT, [constants.len() as i64]);
        let extents = constant.shape().iter().map(|&n| n as i64).collect();
        let tensor = CONSTANTS.get((hash, constant.shape().to_vec()), || constant.clone());
        constants.push(Arc::new(Constant { tensor, extents, hash }));
        let mut inputs = inputs.to_vec();
        inputs[1] = None;
        let results = new.push(Node { attributes, inputs, outputs: Vec::new(), ..node.clone() }, node.outputs.len());
        for (&result, was) in results.iter().zip(&node.outputs) {
            if let Some(was) = was {
                lower::typed(new, &node.op, result, &graph.value(*was).ty);
            }
        }
        Some(results.into_iter().map(Some).collect())
    });
    (lighter.without_dead(), Shared { constants, ..Shared::default() })
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
    /// The second operand that is kept apart for a node.
    fn constant(&self, attribute: Option<Vec<i64>>) -> Option<Arc<Constant>> {
        self.constants.get(usize::try_from(*attribute?.first()?).ok()?).cloned()
    }

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
        let float = TensorElementType::Float32;
        (0..O::OPERANDS)
            .map(move |place| if place == 0 { OperatorInput::required(float) } else { OperatorInput::optional(float) })
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        let float = TensorElementType::Float32;
        (0..O::RESULTS)
            .map(move |place| if place == 0 { OperatorOutput::required(float) } else { OperatorOutput::optional(float) })
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let operator = self.shared.operator::<O>(context.node_name()?, &|name| context.get(name)).map_err(ort::Error::new)?;
        let constant = self.shared.constant(context.get(CONSTANT));
        let (shared, threads) = (self.shared.clone(), self.threads);
        Ok(Box::new(move |context: &ComputeContext| {
            let each = |jobs: usize, job: &(dyn Fn(usize) + Sync)| context.par_for(jobs, 0, job).map_err(|e| e.to_string());
            let run = Run { each: &each, threads, constant: constant.as_ref().map(|c| c.hash), spare: &shared.spare };
            compute(&*operator, context, constant.as_deref(), &run)
        }))
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let operator = O::read(&|name| context.attr(name).ok()).map_err(ort::Error::new)?;
        let inputs = context.inputs();
        let mut symbols = Symbols::default();
        let mut operands: Vec<Option<Vec<i64>>> = inputs.iter().map(|input| symbols.numbers(input)).collect();
        if let Some(constant) = self.shared.constant(context.attr(CONSTANT).ok()) {
            operands.resize(operands.len().max(2), None);
            operands[1] = Some(constant.extents.clone());
        }
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

    /// The name of an extent; empty where the extent is known, or not known and without a name.
    fn name(&self, number: i64) -> String {
        match usize::try_from(-2 - number) {
            Ok(place) => self.0[place].clone(),
            Err(_) => String::new(),
        }
    }
}

fn compute<O: Own>(operator: &O, context: &ComputeContext, constant: Option<&Constant>, run: &Run) -> ort::Result<()> {
    let wrong = || ort::Error::new(format!("the operands of {} do not fit each other", O::NAME));
    let values = (0..context.num_inputs()?).map(|place| context.input(place)).collect::<ort::Result<Vec<_>>>()?;
    let mut operands: Vec<Option<Operand>> = Vec::with_capacity(values.len().max(2));
    for value in &values {
        let tensor = value.as_ref().map(|v| v.try_extract_tensor::<f32>()).transpose()?;
        operands.push(tensor.map(|(shape, elements)| (elements, &shape[..])));
    }
    if let Some(Constant { tensor, extents, .. }) = constant {
        operands.resize(operands.len().max(2), None);
        operands[1] = f32::view(tensor).and_then(|array| array.as_slice()).map(|elements| (elements, &extents[..]));
    }
    let extents: Vec<Option<&[i64]>> = operands.iter().map(|operand| Some(operand.as_ref()?.1)).collect();
    let wanted = operator.extents(&extents).ok_or_else(wrong)?.into_iter().enumerate();
    let mut values =
        wanted.map(|(place, shape)| context.output(place, shape)?.ok_or_else(wrong)).collect::<ort::Result<Vec<_>>>()?;
    let results = values.iter_mut().map(|v| v.try_extract_tensor_mut::<f32>().map(|(_, elements)| elements));
    let mut results = results.collect::<ort::Result<Vec<_>>>()?;
    operator.compute(&operands, &mut results, run).map_err(ort::Error::new)
}
