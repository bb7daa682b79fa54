//! `Interleave`: four images become one of twice the extents.

use ort::operator::{BoxedKernel, ComputeContext, KernelContext, Operator, OperatorInput, OperatorOutput, ShapeInferenceContext};
use ort::value::{Shape, SymbolicDimensions, TensorElementType, ValueType};

use crate::lower;

/// `y = Interleave(a, b, c, d)`: [N, C, h, w] four times ↦ [N, C, H, W], `y[2i, 2j] = a[i, j]`, `y[2i, 2j+1] = b[i, j]`,
/// `y[2i+1, 2j] = c[i, j]`, `y[2i+1, 2j+1] = d[i, j]`. The attribute `extent` is H, W, each 2h or 2h − 1.
pub(super) struct Interleave;

impl Operator for Interleave {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        lower::INTERLEAVE
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [const { OperatorInput::required(TensorElementType::Float32) }; 4]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let extent: Vec<i64> = context.get("extent").ok_or_else(|| ort::Error::new("Interleave has no extent"))?;
        let [height, width] = extent[..] else { return Err(ort::Error::new("Interleave has an impossible extent")) };
        Ok(Box::new(move |context: &ComputeContext| compute(context, height, width)))
    }

    fn infer_shape(&self, context: &mut ShapeInferenceContext) -> ort::Result<()> {
        let extent: Vec<i64> = context.attr("extent")?;
        let Some(ValueType::Tensor { ty, shape, dimension_symbols }) = context.inputs().into_iter().next() else { return Ok(()) };
        let ([n, c, _, _], [height, width]) = (&shape[..], &extent[..]) else { return Ok(()) };
        let symbols: Vec<String> = dimension_symbols.iter().take(2).cloned().chain([String::new(), String::new()]).collect();
        let shape: Shape = [*n, *c, *height, *width].into_iter().collect();
        context.set_output(0, &ValueType::Tensor { ty, shape, dimension_symbols: SymbolicDimensions::new(symbols) })
    }
}

fn compute(context: &ComputeContext, height: i64, width: i64) -> ort::Result<()> {
    let wrong = || ort::Error::new("Interleave takes four operands of the same extents, half as large as its result");
    let operands = [context.input(0)?, context.input(1)?, context.input(2)?, context.input(3)?];
    let [Some(a), Some(b), Some(c), Some(d)] = operands else { return Err(wrong()) };
    let (shape, a) = a.try_extract_tensor::<f32>()?;
    let [b, c, d] = [&b, &c, &d].map(|v| v.try_extract_tensor::<f32>());
    let (b, c, d) = (b?.1, c?.1, d?.1);
    let [samples, channels, rows, columns] = shape[..] else { return Err(wrong()) };
    let halves = (height + 1) / 2 == rows && (width + 1) / 2 == columns;
    if !halves || [b, c, d].iter().any(|v| v.len() != a.len()) {
        return Err(wrong());
    }
    let mut result = context.output(0, vec![samples, channels, height, width])?.ok_or_else(wrong)?;
    let (_, result) = result.try_extract_tensor_mut::<f32>()?;
    let (columns, rows, height, width) = (columns as usize, rows as usize, height as usize, width as usize);
    let plane = (rows * columns).max(1);
    let planes = a.chunks_exact(plane).zip(b.chunks_exact(plane)).zip(c.chunks_exact(plane)).zip(d.chunks_exact(plane));
    for ((((a, b), c), d), result) in planes.zip(result.chunks_exact_mut((height * width).max(1))) {
        for (row, line) in result.chunks_exact_mut(width).enumerate() {
            let (even, odd) = if row % 2 == 0 { (a, b) } else { (c, d) };
            let at = row / 2 * columns..(row / 2 + 1) * columns;
            zip(&even[at.clone()], &odd[at], line);
        }
    }
    Ok(())
}

fn zip(even: &[f32], odd: &[f32], line: &mut [f32]) {
    let pairs = line.chunks_exact_mut(2);
    for ((pair, &e), &o) in pairs.zip(even).zip(odd) {
        pair[0] = e;
        pair[1] = o;
    }
    if let (1, Some(last), Some(&e)) = (line.len() % 2, line.last_mut(), even.last()) {
        *last = e;
    }
}
