//! `Gate` for tract, whose `Where` and comparisons walk over their operands element by element through views of any rank. Other than
//! the operator that ONNX Runtime has, it knows double precision, and it writes into its second operand where nobody else reads it.

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::tract_hir::internal::*;

use crate::lower;

/// Adds the operator to those that tract reads.
pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert(lower::GATE, |_, _| Ok((expand(Gate), Vec::new())));
}

/// `y = Gate(x, v)`: v where x > 0, else 0. Both have the same extents and element type, float or double.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Gate;

impl Expansion for Gate {
    fn name(&self) -> StaticName {
        lower::GATE.into()
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

impl Op for Gate {
    fn name(&self) -> StaticName {
        lower::GATE.into()
    }

    op_as_typed_op!();
}

impl EvalOp for Gate {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (x, v) = args_2!(inputs);
        let gated = match v.datum_type() {
            DatumType::F64 => gated::<f64>(&x, v)?,
            _ => gated::<f32>(&x, v)?,
        };
        Ok(tvec!(gated.into_tvalue()))
    }
}

impl TypedOp for Gate {
    as_op!();

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].datum_type.fact(inputs[0].shape.clone())))
    }
}

fn gated<T: Datum + Copy + PartialOrd + Default>(x: &Tensor, v: TValue) -> TractResult<Tensor> {
    if x.shape() != v.shape() {
        bail!("Gate takes two operands of the same extents");
    }
    let mut y = v.into_tensor();
    let (zero, x) = (T::default(), x.try_as_plain_ram()?);
    for (y, &x) in y.try_as_plain_ram_mut()?.as_slice_mut::<T>()?.iter_mut().zip(x.as_slice::<T>()?) {
        *y = if x > zero { *y } else { zero };
    }
    Ok(y)
}
