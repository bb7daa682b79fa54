//! `Chwn`: a convolution of few channels, or its adjoint, with what stands before and behind it.

use ort::operator::{BoxedKernel, ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext};
use ort::value::{Shape, SymbolicDimensions, TensorElementType, TensorValueType, ValueRef, ValueType};

use flatscape_kernels::{Beside, Chwn as Arithmetic, Packed, Results, Source};

use crate::lower;

/// `y, maxima = Chwn(x, W, bias, sum, gate, ȳ)`: [N, C, H, W] and [M, C, kh, kw] ↦ [N, M, H', W'] and [N, M, H'/2, W'/2], with the
/// attributes of `Conv`, the `extents` H' and W', `adjoint` where W [C, M, kh, kw] is that of the convolution of which this is the
/// adjoint in x, and `relu`. `give` says which results there are: 0 the first, 1 both, 2 the second. With ȳ what is convolved is the
/// gradient of the maximum over squares of 2×2 of x (`positive`: only maxima above 0 pass). The last four operands are optional.
pub(super) struct Chwn;

impl Operator for Chwn {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        lower::CHWN
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let required = || OperatorInput::required(TensorElementType::Float32);
        let optional = || OperatorInput::optional(TensorElementType::Float32);
        [required(), required(), optional(), optional(), optional(), optional()]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32), OperatorOutput::optional(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let plan = Arithmetic::read(|name| context.get(name)).map_err(ort::Error::new)?;
        let give = context.get::<Vec<i64>>("give").map_or(0, |g| g[0]);
        let extents = extents(context.get::<Vec<i64>>("extents"))?;
        let constant = match context.constant_input::<TensorValueType<f32>>(1) {
            Ok(taps) => {
                let (shape, taps) = taps.try_extract_tensor::<f32>()?;
                Some(plan.pack(taps, first_two(shape)?, extents))
            }
            // taps that the graph computes or is given
            Err(_) => None,
        };
        Ok(Box::new(move |context: &ComputeContext| match &constant {
            Some(packed) => convolve(&plan, packed, context, (give, extents)),
            None => {
                let taps = context.input(1)?.ok_or_else(|| ort::Error::new("Chwn lacks its taps"))?;
                let (shape, taps) = taps.try_extract_tensor::<f32>()?;
                convolve(&plan, &plan.pack(taps, first_two(shape)?, extents), context, (give, extents))
            }
        }))
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let inputs = context.inputs();
        let [Some(ValueType::Tensor { shape: x, dimension_symbols, .. }), Some(ValueType::Tensor { shape: taps, .. })] =
            [inputs.first(), inputs.get(1)]
        else {
            return Ok(());
        };
        let ([n, ..], [first, second, ..]) = (&x[..], &taps[..]) else { return Ok(()) };
        let is = |name: &str, value: i64| context.attr::<Vec<i64>>(name).is_ok_and(|a| a == [value]);
        let m = if is("adjoint", 1) { *second } else { *first };
        let [height, width] = extents(context.attr("extents").ok())?.map(|n| n as i64);
        let (whole, maxima) = ([*n, m, height, width], [*n, m, height / 2, width / 2]);
        let given: &[[i64; 4]] = match (is("give", 1), is("give", 2)) {
            (true, _) => &[whole, maxima],
            (_, true) => &[maxima],
            _ => &[whole],
        };
        for (place, extents) in given.iter().enumerate() {
            let shape: Shape = extents.iter().copied().collect();
            let symbols =
                dimension_symbols.iter().take(1).cloned().chain(std::iter::repeat_n(String::new(), 3)).collect::<Vec<_>>();
            let dimension_symbols = SymbolicDimensions::new(symbols);
            context.set_output(place, &ValueType::Tensor { ty: TensorElementType::Float32, shape, dimension_symbols })?;
        }
        Ok(())
    }
}

fn extents(attribute: Option<Vec<i64>>) -> ort::Result<[usize; 2]> {
    match attribute.as_deref() {
        Some(&[height, width]) if height > 0 && width > 0 => Ok([height as usize, width as usize]),
        _ => Err(ort::Error::new("Chwn has missing or impossible extents")),
    }
}

fn first_two(shape: &[i64]) -> ort::Result<[usize; 2]> {
    match shape {
        [first, second, _, _] => Ok([*first as usize, *second as usize]),
        _ => Err(ort::Error::new("Chwn takes taps of four axes")),
    }
}

fn convolve(plan: &Arithmetic, taps: &Packed, context: &ComputeContext, (give, extents): (i64, [usize; 2])) -> ort::Result<()> {
    let wrong = || ort::Error::new("Chwn takes images [N, C, H, W] that fit its taps, and operands as large as its result");
    let count = context.num_inputs()?;
    let given = |place: usize| if place < count { context.input(place) } else { Ok(None) };
    let (x, bias, sum, gate, ct) = (given(0)?.ok_or_else(wrong)?, given(2)?, given(3)?, given(4)?, given(5)?);
    let (shape, x) = x.try_extract_tensor::<f32>()?;
    let shape = <[i64; 4]>::try_from(&shape[..]).map_err(|_| wrong())?.map(|n| n as usize);
    let (bias, sum, gate, ct) = (elements(&bias)?, elements(&sum)?, elements(&gate)?, elements(&ct)?);
    let (whole, halves) = ([shape[0], taps.results(), extents[0], extents[1]], extents.map(|n| n / 2));
    let fits = |value: Option<&[f32]>, length: usize| value.is_none_or(|v| v.len() == length);
    let (length, squares) = (whole.iter().product(), shape[0] * shape[1] * (shape[2] / 2) * (shape[3] / 2));
    let beside = fits(bias, taps.results()) && fits(sum, length) && fits(gate, length) && fits(ct, squares);
    if shape[1] != taps.channels() || !beside {
        return Err(wrong());
    }
    let source = ct.map_or(Source::Images((x, shape)), |ct| Source::Squares((x, shape), ct));
    let output = |place: usize, [height, width]: [usize; 2]| {
        context.output(place, [whole[0], whole[1], height, width].map(|n| n as i64).to_vec())?.ok_or_else(wrong)
    };
    let mut first = if give == 2 { None } else { Some(output(0, extents)?) };
    let mut second = if give == 0 { None } else { Some(output((give == 1).into(), halves)?) };
    let results = Results {
        whole: first.as_mut().map(|v| v.try_extract_tensor_mut::<f32>()).transpose()?.map(|(_, v)| v),
        maxima: second.as_mut().map(|v| v.try_extract_tensor_mut::<f32>()).transpose()?.map(|(_, v)| v),
        extents,
    };
    plan.compute(source, taps, Beside { bias, sum, gate }, results, &|jobs, job| context.par_for(jobs, 0, job))
}

/// The elements of an operand that may be absent.
fn elements<'v>(value: &'v Option<ValueRef<'_>>) -> ort::Result<Option<&'v [f32]>> {
    Ok(value.as_ref().map(|v| v.try_extract_tensor::<f32>()).transpose()?.map(|(_, v)| v))
}
