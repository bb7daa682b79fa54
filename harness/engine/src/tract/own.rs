//! Operators of our own for tract: what they have in common. Each takes two operands and gives a result like the first.

use tract_onnx::tract_hir::internal::*;

/// The arithmetic of an operator.
pub(super) trait Kernel: Clone + std::fmt::Debug + PartialEq + Eq + Send + Sync + 'static {
    /// Its name in the domain of the engine.
    const NAME: &'static str;

    /// Computes the result, which has the element type and the extents of `x`.
    fn compute(&self, x: &Tensor, v: TValue) -> TractResult<Tensor>;
}

/// An operator as tract has operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own<K>(pub(super) K);

impl<K: Kernel> Expansion for Own<K> {
    fn name(&self) -> StaticName {
        K::NAME.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        solver: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 2)?;
        check_output_arity(outputs, 1)?;
        solver.equals(&inputs[0].datum_type, &inputs[1].datum_type)?;
        solver.equals(&inputs[0].datum_type, &outputs[0].datum_type)?;
        solver.equals(&inputs[0].shape, &outputs[0].shape)?;
        Ok(())
    }

    fn wire(&self, prefix: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(prefix, self.clone(), inputs)
    }
}

impl<K: Kernel> Op for Own<K> {
    fn name(&self) -> StaticName {
        K::NAME.into()
    }

    op_as_typed_op!();
}

impl<K: Kernel> EvalOp for Own<K> {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (x, v) = args_2!(inputs);
        Ok(tvec!(self.0.compute(&x, v)?.into_tvalue()))
    }
}

impl<K: Kernel> TypedOp for Own<K> {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].datum_type.fact(inputs[0].shape.clone())))
    }
}
