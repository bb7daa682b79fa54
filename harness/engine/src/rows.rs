//! Cutting a batch into micro-batches: which graphs may be cut, where, and how the results are put together again.
//! Knows nothing about engines.
//!
//! Where the cuts lie depends on the sizes of batch and graph alone, never on the number of threads, so a machine with more cores
//! gives the same bytes.

mod places;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use flatscape_graph::{Dim, Element, Graph, Node, Tensor, ValueId, with_array};
use ndarray::ArrayD;

use crate::EngineError;
use crate::buffer::{Buffer, Picked};
use crate::engine::CompileOptions;
use crate::signature::Signature;

/// Rows of the smallest micro-batch on ONNX Runtime: below it the blocked kernels lose more than a second core gains.
pub(crate) const LEAST: usize = 8;

/// Multiplications of a micro-batch, where it would have fewer than 64 rows. Every operator takes about a microsecond by itself, and a
/// step of an attack has a hundred of them.
///
/// Measured: a query of Square on a net of two layers of 784 pixels takes 15.6 µs per row in micro-batches of 8 rows and 5.1 in those of
/// 32, on a net of two convolutions 62 and 54. PGD on nets of two layers takes 5 to 12 % less time with 64 than with 32 rows, on
/// nets of convolutions the same.
const USUAL_WORK: usize = 128 << 20;

/// Rows of a micro-batch, by the multiplications of a row.
pub(crate) fn usual(work: usize) -> usize {
    (USUAL_WORK / work.max(1)).clamp(LEAST, 64)
}

/// Where an input is.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Tensor(&'a Tensor),
    /// Rows that are not beside each other yet.
    Picked(&'a Picked),
}

impl<'a> Source<'a> {
    /// `None` where it is on a device.
    pub fn of(buffer: &'a Buffer) -> Option<Source<'a>> {
        buffer.picked().map(Source::Picked).or_else(|| buffer.on_host().map(Source::Tensor))
    }

    fn shape(&self) -> &'a [usize] {
        match self {
            Source::Tensor(tensor) => tensor.shape(),
            Source::Picked(picked) => picked.shape(),
        }
    }
}

/// An input of one micro-batch: a tensor, or some of its rows. Row-major.
#[derive(Clone)]
pub(crate) struct Slice<'a> {
    source: Source<'a>,
    rows: Option<Range<usize>>,
}

impl<'a> Slice<'a> {
    pub fn whole(tensor: &'a Tensor) -> Slice<'a> {
        Slice { source: Source::Tensor(tensor), rows: None }
    }

    /// The tensor that it is, or has rows of; `None` where its rows are missing.
    pub fn tensor(&self) -> Option<&'a Tensor> {
        match self.source {
            Source::Tensor(tensor) => Some(tensor),
            Source::Picked(picked) => picked.whole(),
        }
    }

    /// Its rows, where they are brought beside each other for it.
    pub fn picked(&self) -> Option<Tensor> {
        match (self.source, &self.rows) {
            (Source::Picked(picked), Some(rows)) => picked.rows(rows.clone()),
            _ => None,
        }
    }

    pub fn shape(&self) -> Vec<usize> {
        let mut shape = self.source.shape().to_vec();
        if let (Some(rows), Some(first)) = (&self.rows, shape.first_mut()) {
            *first = rows.len();
        }
        shape
    }

    /// The rows as a tensor of their own.
    pub fn cut_out(&self) -> Option<Tensor> {
        let tensor = self.tensor()?;
        let rows = |rows: &Range<usize>| flatscape_graph::rows(tensor, &rows.clone().collect::<Vec<_>>());
        Some(self.rows.as_ref().map_or_else(|| tensor.clone(), rows))
    }

    /// The elements of the array inside this tensor, if it is row-major.
    pub fn elements<T: Element>(&self, array: &'a ArrayD<T>) -> Option<&'a [T]> {
        let all = array.as_slice()?;
        match &self.rows {
            None => Some(all),
            Some(rows) => {
                let row = array.shape().iter().skip(1).product::<usize>();
                all.get(rows.start * row..rows.end * row)
            }
        }
    }
}

impl<'a> From<Source<'a>> for Slice<'a> {
    /// All of it.
    fn from(source: Source<'a>) -> Slice<'a> {
        Slice { source, rows: None }
    }
}

/// Which inputs carry rows.
pub(crate) struct Cut {
    inputs: Vec<bool>,
    /// Where results may be sums over rows: the fixed number of parts, and which outputs carry rows.
    sums: Option<(usize, Vec<bool>)>,
    /// Whether every row runs alone.
    alone: bool,
}

/// Whether every row of the outputs depends on the same row of the inputs alone: all outputs have the batch as leading extent, and
/// no operator mixes rows.
pub fn rows_are_independent(graph: &Graph) -> bool {
    Cut::of(graph).is_some()
}

impl Cut {
    /// How the options allow the graph to be cut, or `None` if it must run whole.
    pub fn by(graph: &Graph, options: &CompileOptions) -> Option<Cut> {
        let Some(parts) = options.sums else {
            let cut = if options.split { Cut::of(graph) } else { None };
            // an attack sees what the judge sees, which asks about every row alone
            return cut.map(|cut| Cut { alone: options.rows.is_some() && counts_rows(graph), ..cut });
        };
        let inputs: Vec<bool> = graph.inputs().iter().map(|&id| leads(graph, id)).collect();
        let outputs = graph.outputs().iter().map(|o| leads(graph, o.value)).collect();
        inputs.contains(&true).then_some(Cut { inputs, sums: Some((parts, outputs)), alone: false })
    }

    /// How the graph may be cut without being told anything about it, or `None` if it must run whole.
    pub fn of(graph: &Graph) -> Option<Cut> {
        let inputs: Vec<bool> = graph.inputs().iter().map(|&id| leads(graph, id)).collect();
        let cuts = inputs.contains(&true) && places::independent(graph);
        cuts.then_some(Cut { inputs, sums: None, alone: false })
    }

    /// How a graph with this interface is run row by row. Its operators may mix rows: every run has one.
    ///
    /// # Errors
    /// It has no input with rows.
    pub fn each(signature: &Signature) -> Result<Cut, EngineError> {
        let inputs: Vec<bool> = signature.inputs.iter().map(|(_, ty)| is_batch(ty.shape.as_deref())).collect();
        if inputs.contains(&true) {
            return Ok(Cut { inputs, sums: None, alone: false });
        }
        let reason = "its rows cannot be run one by one: no input has the batch as leading extent";
        Err(EngineError::Inputs { graph: signature.graph.clone(), reason: reason.to_owned() })
    }

    /// One piece per row of these inputs.
    pub fn single_rows<'a>(&self, inputs: &[Source<'a>]) -> Vec<Vec<Slice<'a>>> {
        self.sliced(inputs, (0..self.rows(inputs)).map(|row| row..row + 1))
    }

    /// Whether results without rows are sums.
    pub fn adds(&self) -> bool {
        self.sums.is_some()
    }

    /// How many rows these inputs have.
    pub fn rows(&self, inputs: &[Source]) -> usize {
        self.inputs.iter().zip(inputs).find(|(carries, _)| **carries).map_or(0, |(_, source)| source.shape()[0])
    }

    fn sliced<'a>(&self, inputs: &[Source<'a>], ranges: impl IntoIterator<Item = Range<usize>>) -> Vec<Vec<Slice<'a>>> {
        let piece = |range: Range<usize>| {
            let slice = |(&carries, &source): (&bool, &Source<'a>)| Slice { source, rows: carries.then(|| range.clone()) };
            self.inputs.iter().zip(inputs).map(slice).collect()
        };
        ranges.into_iter().map(piece).collect()
    }

    /// The micro-batches for these inputs: of one row where the graph can tell how many there are; else of `usual` rows or more unless
    /// their number is fixed; where that leaves one, two of at least `least` rows, and a single one when the batch is too small to cut.
    pub fn pieces<'a>(&self, inputs: &[Source<'a>], least: usize, usual: usize) -> Vec<Vec<Slice<'a>>> {
        let rows = self.rows(inputs);
        self.sliced(
            inputs,
            match self.sums {
                Some((parts, _)) => equal(rows, parts.clamp(1, rows.max(1))),
                None if self.alone => equal(rows, rows.max(1)),
                None => cuts(rows, least, usual),
            },
        )
    }
}

/// The rows of the largest micro-batch into which ONNX Runtime gets a batch cut whose rows are independent and costly.
pub fn rows_at_once(rows: usize) -> usize {
    cuts(rows, LEAST, LEAST).iter().map(Range::len).max().unwrap_or(rows)
}

/// Micro-batches of equal size (within one row) of `usual` rows or a few more; at least two from `least` rows on.
///
/// Measured (ONNX Runtime, two cores, 64 rows): micro-batches of 8, 16 and 32 rows differ by 2 % on a ResNet-18 and by nothing on
/// smaller nets; running whole costs 5 to 10 % more on it and 1.8 times as much on a LeNet.
fn cuts(rows: usize, least: usize, usual: usize) -> Vec<Range<usize>> {
    let fewest = if rows >= least { 2 } else { 1 };
    let count = (rows / usual).max(fewest).min(rows.max(1));
    equal(rows, count)
}

/// This many ranges, of equal size within one row.
fn equal(rows: usize, count: usize) -> Vec<Range<usize>> {
    (0..count).map(|i| rows * i / count..rows * (i + 1) / count).collect()
}

/// What is said where [`join`] gives `None`.
pub(crate) const MISFIT: &str = "its micro-batches gave results that do not fit together";

/// The rows of a piece; `None` where none of its inputs carries rows.
pub(crate) fn rows_of(piece: &[Slice]) -> Option<Range<usize>> {
    piece.iter().find_map(|slice| slice.rows.clone())
}

/// Results of micro-batches whose rows are independent, one above the other: whoever has computed rows writes them into their place.
pub(crate) struct Stacked {
    rows: usize,
    /// Each with the number of its rows that were written.
    outputs: Vec<Mutex<Option<(Tensor, usize)>>>,
}

impl Stacked {
    pub fn new(rows: usize, outputs: usize) -> Stacked {
        Stacked { rows, outputs: (0..outputs).map(|_| Mutex::default()).collect() }
    }

    /// Takes over rows of an output. `None` if they do not fit those that are there.
    pub fn put<T: Element>(&self, output: usize, rows: &Range<usize>, shape: &[usize], data: &[T]) -> Option<()> {
        let (&count, inner) = shape.split_first()?;
        let width: usize = inner.iter().product();
        let mut held = self.outputs.get(output)?.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            let empty = Tensor::new(&[&[self.rows], inner].concat(), vec![T::default(); self.rows * width])?;
            *held = Some((empty, 0));
        }
        let (tensor, written) = held.as_mut()?;
        let all = T::view_mut(tensor)?;
        if count != rows.len() || all.shape().get(1..) != Some(inner) {
            return None;
        }
        all.as_slice_mut()?.get_mut(rows.start * width..rows.end * width)?.copy_from_slice(data.get(..count * width)?);
        *written += count;
        Some(())
    }

    /// The outputs. `None` if one lacks a row.
    pub fn into_tensors(self) -> Option<Vec<Tensor>> {
        let complete = |held: Mutex<Option<(Tensor, usize)>>| {
            let (tensor, written) = held.into_inner().unwrap_or_else(PoisonError::into_inner)?;
            (written == self.rows).then_some(tensor)
        };
        self.outputs.into_iter().map(complete).collect()
    }
}

/// The results of the micro-batches, one above the other, or, where the cut says that they have no rows, added in order. `None` if the
/// engine gave results that do not fit together.
pub(crate) fn join(mut pieces: Vec<Vec<Tensor>>, cut: Option<&Cut>) -> Option<Vec<Tensor>> {
    if pieces.len() == 1 {
        return pieces.pop();
    }
    let count = pieces.first()?.len();
    (0..count)
        .map(|output| {
            let parts: Vec<&Tensor> = pieces.iter().filter_map(|piece| piece.get(output)).collect();
            match cut.and_then(|cut| cut.sums.as_ref()).is_some_and(|(_, rows)| rows.get(output) == Some(&false)) {
                true => added(&parts),
                false => with_array!(*parts.first()?, first => stack(first, &parts)),
            }
        })
        .collect()
}

/// The sum of float tensors of one shape, from the first to the last.
fn added(parts: &[&Tensor]) -> Option<Tensor> {
    let mut sum = (*parts.first()?).clone();
    for part in &parts[1..] {
        match (&mut sum, part) {
            (Tensor::F32(a), Tensor::F32(b)) if a.shape() == b.shape() => *a += b,
            (Tensor::F64(a), Tensor::F64(b)) if a.shape() == b.shape() => *a += b,
            _ => return None,
        }
    }
    Some(sum)
}

/// Tensors, one above the other. `None` if their rows have other extents.
fn stack<T: Element>(first: &ArrayD<T>, parts: &[&Tensor]) -> Option<Tensor> {
    let row = first.shape().get(1..)?;
    let arrays: Vec<&ArrayD<T>> = parts.iter().map(|part| T::view(part)).collect::<Option<_>>()?;
    let mut all = Vec::with_capacity(arrays.iter().map(|array| array.len()).sum());
    let mut rows = 0;
    for array in arrays {
        rows += array.shape().first().filter(|_| array.shape()[1..] == *row)?;
        match array.as_slice() {
            Some(elements) => all.extend_from_slice(elements),
            None => all.extend(array.iter().cloned()),
        }
    }
    Tensor::new(&[&[rows], row].concat(), all)
}

/// The multiplications per row of a graph's convolutions and matrix products by weights.
pub(crate) fn multiplications(graph: &Graph) -> usize {
    let extents = |id: Option<ValueId>, skipped: usize| -> usize {
        let dims = id.and_then(|id| graph.shape(id)).unwrap_or_default();
        dims.iter().skip(skipped).filter_map(Dim::fixed).product()
    };
    let of = |node: &Node| {
        let weights = node.input(1).filter(|&id| graph.constant(id).is_some());
        match (&*node.op, weights) {
            // every weight of a channel of the result, or of the operand, once per pixel
            ("Conv", Some(_)) => extents(node.outputs.first().copied().flatten(), 1) * extents(weights, 1),
            ("ConvTranspose", Some(_)) => extents(node.input(0), 1) * extents(weights, 1),
            // every weight of a result once per token
            ("MatMul" | "Gemm", Some(_)) => {
                let results = extents(node.output(0), 0);
                let columns = weights.and_then(|id| graph.shape(id)?.last()?.fixed()).unwrap_or(1);
                let turned = node.attributes.int("transB", 0) != 0;
                let summed = if turned { columns } else { extents(weights, 0) / columns.max(1) };
                results * summed
            }
            _ => 0,
        }
    };
    graph.nodes().iter().map(of).sum()
}

/// Whether the leading extent is the batch.
fn leads(graph: &Graph, id: ValueId) -> bool {
    is_batch(graph.shape(id))
}

fn is_batch(shape: Option<&[Dim]>) -> bool {
    matches!(shape.and_then(<[Dim]>::first), Some(Dim::Symbol(symbol)) if &**symbol == "N")
}

/// Whether a result depends on the number of rows: as a number, not only as an extent.
fn counts_rows(graph: &Graph) -> bool {
    let counted = |value: ValueId, axis: usize| match graph.shape(value).and_then(|dims| dims.get(axis)) {
        Some(Dim::Symbol(extent)) => extent.split('*').any(|factor| factor == "N"),
        _ => false,
    };
    let follows = flatscape_graph::follow_the_batch(graph, &counted);
    graph.outputs().iter().any(|output| follows[output.value.0 as usize])
}
