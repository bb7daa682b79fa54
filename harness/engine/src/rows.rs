//! Cutting a batch into micro-batches: which graphs may be cut, where, and how the results are put together again.
//! Knows nothing about engines.
//!
//! Where the cuts lie depends on the sizes of batch and graph alone, never on the number of threads, so a machine with more cores
//! gives the same bytes.

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
        let rows_out = graph.outputs().iter().all(|o| leads(graph, o.value));
        let cuts = rows_out && inputs.contains(&true) && !graph.nodes().iter().any(|node| mixes_rows(graph, node));
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
            ("MatMul" | "Gemm", Some(_)) => extents(weights, 0),
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

/// Whether an operator lets one row of the batch see another. What has a fixed leading extent is the same in every micro-batch;
/// anything else may hold rows.
fn mixes_rows(graph: &Graph, node: &Node) -> bool {
    let holds_rows = |id: ValueId| {
        graph.constant(id).is_none() && graph.shape(id).is_none_or(|dims| dims.first().is_some_and(|d| d.fixed().is_none()))
    };
    let Some(x) = node.input(0) else { return false };
    if !holds_rows(x) {
        // a contraction over the batch on the right
        let right = node.input(1).filter(|&b| holds_rows(b) && graph.rank(b).is_none_or(|rank| rank <= 2));
        return matches!(&*node.op, "MatMul" | "Gemm") && right.is_some();
    }
    let rank = graph.rank(x).unwrap_or(0) as i64;
    let is_first = |axis: i64| axis == 0 || axis == -rank;
    let axis = |default: i64| is_first(node.attributes.int("axis", default));
    let listed = |position: usize| match node.input(position) {
        Some(axes) => graph.constant(axes).and_then(|t| t.to_ints()),
        None => Some(Vec::new()),
    };
    match &*node.op {
        "BatchNormalization" => node.attributes.int("training_mode", 0) == 1,
        "Softmax" | "LogSoftmax" | "Hardmax" | "TopK" => axis(-1),
        "ArgMax" | "ArgMin" | "Gather" | "Concat" | "Split" => axis(0),
        "CumSum" => listed(1).is_none_or(|axes| axes.into_iter().any(is_first)),
        "Slice" => listed(3).is_none_or(|axes| axes.is_empty() || axes.into_iter().any(is_first)),
        "Gemm" => node.attributes.int("transA", 0) == 1,
        "Transpose" => node.attributes.ints("perm").is_none_or(|perm| perm.first() != Some(&0)),
        "Einsum" | "ReverseSequence" | "Loop" | "Scan" | "NonZero" | "Unique" | "Compress" => true,
        op if op.starts_with("Reduce") => match listed(1) {
            Some(axes) if axes.is_empty() => node.attributes.int("noop_with_empty_axes", 0) == 0,
            Some(axes) => axes.into_iter().any(is_first),
            None => true,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use flatscape_graph::{Attributes, Builder, DType, Expr, ValueType};

    use super::*;
    use crate::tests::batch;

    #[test]
    fn attacks_ask_about_every_row_alone_where_a_graph_counts_its_rows() {
        let graph = |results: &dyn for<'b> Fn(Expr<'b>) -> Expr<'b>| {
            let b = Builder::new(flatscape_graph::Graph::new("counting"));
            let x = b.input("x", batch(&[4]));
            b.output("y", results(x));
            b.into_graph()
        };
        let counting = graph(&|x| {
            let many = x.shape().slice(&[0], &[1], &[0], &[1]).cast(DType::F32).greater(8.0).cast(DType::F32);
            x + many.reshape(&[1, 1])
        });
        let other = graph(&|x| {
            let shape = x.shape();
            let features = shape.slice(&[1], &[2], &[0], &[1]).cast(DType::F32);
            x * features.reshape(&[1, 1])
        });
        let alone = |graph: &Graph, options: &CompileOptions| Cut::by(graph, options).map(|cut| cut.alone);
        assert_eq!(alone(&counting, &CompileOptions::fast()), Some(true));
        // the question whether answers depend on the batch is put to batches
        assert_eq!(alone(&counting, &CompileOptions::default()), Some(false));
        assert_eq!(alone(&other, &CompileOptions::fast()), Some(false));
        let rows = Tensor::new(&[20, 4], vec![0f32; 80]).unwrap();
        let pieces =
            |graph: &Graph| Cut::by(graph, &CompileOptions::fast()).unwrap().pieces(&[Source::Tensor(&rows)], 8, 8).len();
        assert_eq!((pieces(&counting), pieces(&other)), (20, 2));
    }

    #[test]
    fn cuts_cover_the_batch_and_know_nothing_of_threads() {
        for least in [1, 8] {
            for rows in 0..600 {
                let cuts = cuts(rows, least, least);
                assert_eq!((cuts[0].start, cuts[cuts.len() - 1].end), (0, rows));
                assert!(cuts.windows(2).all(|pair| pair[0].end == pair[1].start));
                assert!(cuts.iter().all(|c| c.len() <= 64), "{rows}: {cuts:?}");
                assert!(cuts.len() <= 2 || cuts.iter().all(|c| c.len() >= least), "{rows}: {cuts:?}");
            }
        }
        let count = |rows| cuts(rows, 8, 8).len();
        assert_eq!([0, 1, 7, 8, 15, 16, 24, 64, 256, 1000].map(count), [1, 1, 1, 2, 2, 2, 3, 8, 32, 125]);
        assert_eq!(cuts(17, 8, 8), [0..8, 8..17]);
        assert_eq!([7, 8, 40, 64, 128, 1000].map(|rows| cuts(rows, 8, 32).len()), [1, 2, 2, 2, 4, 31]);
    }

    fn cut(formula: impl for<'b> Fn(&'b Builder, Expr<'b>) -> Expr<'b>) -> bool {
        let b = Builder::new(Graph::new("rows"));
        let x = b.input("x", batch(&[4]));
        b.output("y", formula(&b, x));
        Cut::of(&b.into_graph()).is_some()
    }

    #[test]
    fn only_graphs_whose_rows_are_independent_are_cut() {
        assert!(cut(|_, x| x.relu() * x.sum(&[1], true)));
        assert!(cut(|_, x| x.softmax(1) + x.softmax(-1)));
        assert!(cut(|_, x| x.transpose(&[0, 1]) + x.slice(&[0], &[4], &[1], &[1])));
        assert!(cut(|b, x| x.matmul(b.constant(Tensor::full(DType::F32, &[4, 2], 1.0)))));
        assert!(cut(|_, x| x.reshape(&[-1]).reshape_like(x)));
        for mixes in [
            cut(|_, x| x - x.mean(&[0], true)),
            cut(|_, x| x - x.mean(&[-2], true)),
            cut(|_, x| x.softmax(0)),
            cut(|_, x| x * x.reduce("ReduceMax", &[0, 1], true)),
            cut(|_, x| x + x.slice(&[0], &[1], &[0], &[1])),
            cut(|_, x| x.transpose(&[1, 0]).transpose(&[1, 0])),
            cut(|_, x| x.matmul(x.transpose(&[1, 0]).matmul(x))),
            cut(|b, x| x.gather(b.ints(&[0]), 0) + x),
            cut(|b, x| b.op("CumSum", &[x, b.constant(Tensor::scalar(0i64))], Attributes::none())),
            cut(|_, x| x.reshape(&[-1]).sum(&[0], true) + x),
        ] {
            assert!(!mixes);
        }
        let fixed = Builder::new(Graph::new("fixed"));
        let x = fixed.input("x", ValueType::fixed(DType::F32, &[64, 4]));
        fixed.output("y", x.relu());
        assert!(Cut::of(&fixed.into_graph()).is_none());
    }
}
