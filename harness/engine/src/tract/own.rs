//! Operators of our own for tract. Each runs on the thread that asks; several micro-batches run on several threads.

use std::sync::Arc;

use tract_onnx::model::{OnnxOpRegister, optional_inputs};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use crate::own::{Chwn, Correlation, Formula, Hash, Operand, Own, PoolGradient, Run, Spare, Winograd, hash, one_by_one};

/// Adds the operators to those that tract reads.
pub(super) fn register(operators: &mut OnnxOpRegister) {
    fn one<O: Own>(operators: &mut OnnxOpRegister) {
        operators.insert(O::NAME, |_, node| Ok((expand(Provided::<O>::read(node)?), Vec::new())));
    }
    one::<Chwn>(operators);
    one::<Correlation>(operators);
    one::<Formula>(operators);
    one::<PoolGradient>(operators);
    one::<Winograd>(operators);
}

/// A node as tract has operators.
struct Provided<O> {
    operator: Arc<O>,
    /// Where the operands stand among those that are given.
    places: Vec<Option<usize>>,
    results: usize,
    /// The hash of the second operand, where it is a constant.
    constant: Option<Hash>,
    spare: Arc<Spare>,
}

impl<O> Clone for Provided<O> {
    fn clone(&self) -> Provided<O> {
        let (operator, spare) = (self.operator.clone(), self.spare.clone());
        Provided { operator, places: self.places.clone(), results: self.results, constant: self.constant, spare }
    }
}

impl<O: Own> std::fmt::Debug for Provided<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", O::NAME, self.places)
    }
}

impl<O> PartialEq for Provided<O> {
    fn eq(&self, other: &Provided<O>) -> bool {
        Arc::ptr_eq(&self.operator, &other.operator) && self.constant == other.constant
    }
}

impl<O> Eq for Provided<O> {}

impl<O: Own> Provided<O> {
    fn read(node: &NodeProto) -> TractResult<Provided<O>> {
        let attribute = |name: &str| node.attribute.iter().find(|a| a.name == name).map(|a| a.ints.clone());
        Ok(Provided {
            operator: Arc::new(O::read(&attribute).map_err(|why| format_err!("{why}"))?),
            places: optional_inputs(node).take(node.input.len()).collect(),
            results: node.output.iter().filter(|name| !name.is_empty()).count(),
            constant: None,
            spare: Arc::default(),
        })
    }

    /// The extents of the results.
    fn extents(&self, given: &[TVec<i64>]) -> TractResult<Vec<Vec<i64>>> {
        let operands: Vec<Option<&[i64]>> = self.places.iter().map(|place| Some(&given.get((*place)?)?[..])).collect();
        let known = self.operator.extents(&operands).filter(|found| found.len() == self.results);
        known.with_context(|| format!("the operands of {} do not fit each other", O::NAME))
    }
}

impl<O: Own> Expansion for Provided<O> {
    fn name(&self) -> StaticName {
        O::NAME.into()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        Ok(self.results)
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, self.places.iter().flatten().count())?;
        check_output_arity(outputs, self.results)?;
        for value in inputs.iter().chain(outputs) {
            solver.equals(&value.datum_type, DatumType::F32)?;
        }
        solver.given_all(inputs.iter().map(|input| &input.shape), move |solver, shapes| {
            let shapes = shapes.iter().map(|shape| numbers(shape.iter())).collect::<TractResult<Vec<_>>>()?;
            for (output, extents) in outputs.iter().zip(self.extents(&shapes)?) {
                let extents: TVec<TDim> = extents.into_iter().map(TDim::from).collect();
                solver.equals(&output.shape, extents)?;
            }
            Ok(())
        })
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let second = self.places.get(1).copied().flatten().map(|place| model.outlet_fact(inputs[place])).transpose()?;
        let constant = second.and_then(|fact| fact.konst.as_ref());
        let constant = constant.map(|tensor| TractResult::Ok(hash(tensor.try_as_plain_ram()?.as_slice::<f32>()?))).transpose()?;
        model.wire_node(prefix, Provided { constant, ..self.clone() }, inputs)
    }
}

impl<O: Own> Op for Provided<O> {
    fn name(&self) -> StaticName {
        O::NAME.into()
    }

    op_as_typed_op!();
}

impl<O: Own> EvalOp for Provided<O> {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let tensors = inputs.iter().map(|input| input.try_as_plain_ram()).collect::<TractResult<Vec<_>>>()?;
        let slices = tensors.iter().map(|tensor| tensor.as_slice::<f32>()).collect::<TractResult<Vec<_>>>()?;
        let shapes: Vec<TVec<i64>> = inputs.iter().map(|input| input.shape().iter().map(|&n| n as i64).collect()).collect();
        let operand = |place: &Option<usize>| Some((slices[(*place)?], &shapes[(*place)?][..]));
        let operands: Vec<Option<Operand>> = self.places.iter().map(operand).collect();
        let extents = self.extents(&shapes)?.into_iter().map(|shape| shape.iter().map(|&n| n as usize).collect::<TVec<usize>>());
        let mut results = extents.map(|shape| Tensor::zero::<f32>(&shape)).collect::<TractResult<Vec<_>>>()?;
        let mut views = results.iter_mut().map(|result| result.try_as_plain_ram_mut()).collect::<TractResult<Vec<_>>>()?;
        let mut slices = views.iter_mut().map(|view| view.as_slice_mut::<f32>()).collect::<TractResult<Vec<_>>>()?;
        let run = Run { each: &one_by_one, threads: 1, constant: self.constant, spare: &self.spare };
        self.operator.compute(&operands, &mut slices, &run).map_err(|why| format_err!("{why}"))?;
        Ok(results.into_iter().map(Tensor::into_tvalue).collect())
    }
}

impl<O: Own> TypedOp for Provided<O> {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shapes = inputs.iter().map(|fact| numbers(fact.shape.iter())).collect::<TractResult<Vec<_>>>()?;
        let fact = |extents: Vec<i64>| f32::fact(extents.into_iter().map(|n| n as usize).collect::<TVec<usize>>());
        Ok(self.extents(&shapes)?.into_iter().map(fact).collect())
    }
}

fn numbers<'d>(extents: impl Iterator<Item = &'d TDim>) -> TractResult<TVec<i64>> {
    Ok(extents.map(TDim::to_i64).collect::<Result<_, _>>()?)
}
