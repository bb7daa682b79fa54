//! Where the rows of a batch are in every value of a graph, and whether an operator lets one row see another.
//!
//! Rows need not be the leading axis: exporters put the tokens of a transformer before the batch, and heads or tokens beside rows into
//! one axis. What counts is the order of the elements, which a Reshape leaves as it is. An operator that is not listed here mixes rows.

use flatscape_graph::{DType, Dim, Graph, Node, ValueId};

/// Where rows are: the index along the axis is (i·N + row)·inner + j, with i < outer and j < inner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    axis: usize,
    outer: usize,
    inner: usize,
}

/// The leading axis.
const LEADING: Place = Place { axis: 0, outer: 1, inner: 1 };

impl Place {
    /// The same beside each other, on another axis.
    fn on(self, axis: usize) -> Place {
        Place { axis, ..self }
    }
}

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It is the same for all rows.
    Alike,
    Rows(Place),
    /// Places among all elements of a value that has this many in a row, as MaxPool counts them; they have rows themselves.
    Counting(Place, usize),
}

impl Known {
    fn rows(self) -> Option<Place> {
        match self {
            Known::Rows(at) => Some(at),
            _ => None,
        }
    }
}

/// An operator mixes rows, or may.
struct Mixed;

fn sure(is_so: bool) -> Result<(), Mixed> {
    is_so.then_some(()).ok_or(Mixed)
}

/// Whether no result depends on a row of another image: every row of every output is computed from the same row of the inputs.
pub(super) fn independent(graph: &Graph) -> bool {
    let mut known = vec![Known::Alike; graph.values().len()];
    for &input in graph.inputs().iter().filter(|&&input| super::leads(graph, input)) {
        known[input.0 as usize] = Known::Rows(LEADING);
    }
    for node in graph.nodes() {
        for output in node.outputs.iter().flatten() {
            let site = Site { graph, node, known: &known, output: *output };
            let Ok(found) = site.known() else { return false };
            known[output.0 as usize] = found;
        }
    }
    let outputs = || graph.outputs().iter().map(|output| output.value);
    outputs().all(|id| known[id.0 as usize] == Known::Rows(LEADING) && super::leads(graph, id))
}

/// Operators that take their operands element by element, with broadcasting.
const ELEMENTWISE: &str = "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Celu Clip \
    Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN \
    LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink \
    Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Tan Tanh ThresholdedRelu Where Xor";

/// Operators that treat every index of the leading axis of their first operand alone, if the others are the same for all.
const LEADING_ALONE: &str = "AveragePool Col2Im Conv ConvInteger ConvTranspose DepthToSpace GlobalAveragePool GlobalLpPool GlobalMaxPool \
    InstanceNormalization LRN LpPool MaxPool QLinearConv Resize SpaceToDepth";

fn listed(names: &str, op: &str) -> bool {
    names.split(' ').any(|name| name == op)
}

/// One result of a node.
struct Site<'g> {
    graph: &'g Graph,
    node: &'g Node,
    known: &'g [Known],
    output: ValueId,
}

impl Site<'_> {
    fn known(&self) -> Result<Known, Mixed> {
        let held: Vec<Known> = self.node.inputs.iter().map(|id| id.map_or(Known::Alike, |id| self.of(id))).collect();
        // bodies may read any value
        sure(!matches!(&*self.node.op, "If" | "Loop" | "Scan" | "SequenceMap"))?;
        if matches!(&*self.node.op, "Shape" | "Size") {
            return Ok(Known::Alike);
        }
        // of the other operand the type alone counts
        if &*self.node.op == "CastLike" {
            return held.first().copied().ok_or(Mixed);
        }
        if held.iter().any(|known| matches!(known, Known::Counting(..))) {
            return self.counting(&held);
        }
        let held: Vec<Option<Place>> = held.into_iter().map(Known::rows).collect();
        match held.iter().all(Option::is_none) {
            true => self.alike(),
            false if self.node.domain.is_empty() => self.rows(&held),
            false => Err(Mixed),
        }
    }

    /// No operand has rows: nor has the result, unless its extents follow the batch. Then all its rows are the same.
    fn alike(&self) -> Result<Known, Mixed> {
        let Some(dims) = self.graph.shape(self.output) else {
            sure(self.graph.dtype(self.output) == Some(DType::I64))?;
            return Ok(Known::Alike);
        };
        let open: Vec<usize> = (0..dims.len()).filter(|&axis| dims[axis].fixed().is_none()).collect();
        match (&open[..], &*self.node.op) {
            ([], _) => Ok(Known::Alike),
            (&[axis], "Expand" | "ConstantOfShape") => {
                if &*self.node.op == "Expand" {
                    self.one_for_all(self.node.input(0).ok_or(Mixed)?, dims.len() - axis)?;
                }
                Ok(Known::Rows(Place { inner: beside_rows(&dims[axis])?, ..LEADING.on(axis) }))
            }
            _ => Err(Mixed),
        }
    }

    /// Where the rows of the result are; `held` says where those of the operands are.
    fn rows(&self, held: &[Option<Place>]) -> Result<Known, Mixed> {
        let (op, int) = (&*self.node.op, |name: &str, usual: i64| self.node.attributes.int(name, usual));
        if listed(ELEMENTWISE, op) {
            return self.elementwise(held).map(Known::Rows);
        }
        let lone = held.iter().skip(1).all(Option::is_none);
        let place = match (op, held.first().copied().flatten()) {
            ("MatMul", _) => self.product(held)?,
            ("Gemm", Some(at)) => self.gemm(at, held)?,
            ("Concat", Some(at)) if held.iter().all(|other| *other == Some(at)) => self.beside(at, &[self.axis(0)?])?,
            ("Einsum", _) => self.einsum(held)?,
            ("GridSample", Some(LEADING)) if held.get(1) == Some(&Some(LEADING)) => LEADING,
            ("GatherElements" | "ScatterElements", Some(at)) if held.iter().all(|other| *other == Some(at)) => {
                self.beside(at, &[self.axis(0)?])?
            }
            ("Gather" | "GatherElements" | "GatherND", None) => self.looked_up(held.get(1).copied().flatten().ok_or(Mixed)?)?,
            ("GatherND", Some(LEADING)) if int("batch_dims", 0) > 0 && held.get(1) == Some(&Some(LEADING)) => LEADING,
            // what follows has rows in its first operand alone
            _ if !lone => return Err(Mixed),
            ("Transpose", Some(at)) => self.transposed(at)?,
            ("Reshape" | "Flatten" | "Squeeze" | "Unsqueeze", Some(at)) => self.reshaped(at)?,
            ("Softmax" | "LogSoftmax" | "Hardmax" | "LpNormalization" | "TopK", Some(at)) => {
                self.beside(at, &[self.axis(-1)?])?
            }
            ("LayerNormalization" | "RMSNormalization", Some(at)) => {
                self.others_have_one(held, self.rank()? as usize - at.axis)?;
                self.beside(at, &(self.axis(-1)?..self.rank()?).collect::<Vec<_>>())?
            }
            ("MeanVarianceNormalization", Some(at)) => {
                self.beside(at, self.node.attributes.ints("axes").unwrap_or(&[0, 2, 3]))?
            }
            ("ArgMax" | "ArgMin", Some(at)) => self.reduced(at, &[self.axis(0)?])?,
            (op, Some(at)) if op.starts_with("Reduce") => match self.listed(1)? {
                Some(axes) => self.reduced(at, &axes)?,
                None => sure(int("noop_with_empty_axes", 0) != 0).map(|()| at)?,
            },
            ("Split", Some(at)) => self.beside(at, &[self.axis(0)?])?,
            ("CumSum", Some(at)) => self.beside(at, &self.listed(1)?.ok_or(Mixed)?)?,
            ("Slice", Some(at)) => self.beside(at, &self.listed(3)?.ok_or(Mixed)?)?,
            ("Gather", Some(at)) => self.gathered(at)?,
            ("Pad", Some(at)) => self.padded(at)?,
            ("Tile", Some(at)) => self.tiled(at)?,
            ("Expand", Some(at)) => {
                at.on((self.rank_of(self.output)? + at.axis).checked_sub(self.rank()? as usize).ok_or(Mixed)?)
            }
            ("Trilu", Some(at)) => self.beside(at, &[-1, -2])?,
            ("OneHot", Some(at)) => {
                let (axis, rank) = (int("axis", -1), self.rank()? + 1);
                let inserted = if axis < 0 { axis + rank } else { axis };
                at.on(at.axis + usize::from(inserted <= at.axis as i64))
            }
            ("QuantizeLinear" | "DequantizeLinear", Some(at)) => {
                let one = self.node.input(1).and_then(|id| self.graph.rank(id)).ok_or(Mixed)? == 0;
                if one { at } else { self.beside(at, &[self.axis(1)?])? }
            }
            ("BatchNormalization", Some(at)) if int("training_mode", 0) == 0 => self.beside(at, &[1])?,
            ("MatMulInteger" | "QLinearMatMul", Some(at)) => sure(at.axis == 0 && self.rank()? == 2).map(|()| at)?,
            (op, Some(at)) if listed(LEADING_ALONE, op) && at.axis == 0 => {
                sure(self.extent(self.output, 0) == self.extent(self.node.input(0).ok_or(Mixed)?, 0))?;
                if op == "MaxPool" && self.node.outputs.get(1) == Some(&Some(self.output)) {
                    let x = self.node.input(0).and_then(|id| self.graph.shape(id)).ok_or(Mixed)?;
                    return Ok(Known::Counting(at, elements(&x[1..])? * at.inner));
                }
                at
            }
            _ => return Err(Mixed),
        };
        Ok(Known::Rows(place))
    }

    /// Places among all elements are used on a value with as many in a row.
    fn counting(&self, held: &[Known]) -> Result<Known, Mixed> {
        let leads = |at: Place| sure(at.axis == 0 && at.outer == 1);
        match (&*self.node.op, held) {
            ("Identity", [known]) => Ok(*known),
            ("Reshape" | "Flatten" | "Squeeze" | "Unsqueeze", [Known::Counting(at, count), ..]) => {
                Ok(Known::Counting(self.reshaped(*at)?, *count))
            }
            ("GatherElements", [Known::Rows(of), Known::Counting(at, count)])
            | ("ScatterElements", [Known::Rows(of), Known::Counting(at, count), Known::Rows(_)]) => {
                leads(*of)?;
                leads(*at)?;
                let scatters = &*self.node.op == "ScatterElements";
                sure(self.rank()? == 1 && of.inner == *count && (!scatters || held[2] == Known::Rows(*at)))?;
                Ok(Known::Rows(if scatters { *of } else { *at }))
            }
            ("MaxUnpool", [Known::Rows(LEADING), Known::Counting(LEADING, count), ..]) => {
                let to = self.graph.shape(self.output).ok_or(Mixed)?;
                sure(super::is_batch(Some(to)) && elements(&to[1..])? == *count)?;
                Ok(Known::Rows(LEADING))
            }
            _ => Err(Mixed),
        }
    }

    /// Every operand has its rows on the same axis, counted from the last, or one element for all of them.
    fn elementwise(&self, held: &[Option<Place>]) -> Result<Place, Mixed> {
        let mut found: Option<(usize, Place)> = None;
        for (input, at) in self.node.inputs.iter().zip(held) {
            let (Some(id), Some(at)) = (input, at) else { continue };
            let from_the_right = self.rank_of(*id)?.checked_sub(at.axis).ok_or(Mixed)?;
            sure(found.is_none_or(|(other, place)| other == from_the_right && place.on(0) == at.on(0)))?;
            found = Some((from_the_right, *at));
        }
        let (from_the_right, at) = found.ok_or(Mixed)?;
        self.others_have_one(held, from_the_right)?;
        Ok(at.on(self.rank_of(self.output)?.checked_sub(from_the_right).ok_or(Mixed)?))
    }

    /// Operands without rows have one element on this axis, counted from the last: it is not a row of theirs.
    fn others_have_one(&self, held: &[Option<Place>], from_the_right: usize) -> Result<(), Mixed> {
        let others = self.node.inputs.iter().zip(held).filter(|(_, at)| at.is_none()).filter_map(|(id, _)| *id);
        others.into_iter().try_for_each(|id| self.one_for_all(id, from_the_right))
    }

    fn one_for_all(&self, id: ValueId, from_the_right: usize) -> Result<(), Mixed> {
        let dims = self.graph.shape(id).ok_or(Mixed)?;
        let extent = dims.len().checked_sub(from_the_right).map(|axis| dims[axis].fixed());
        sure(matches!(extent, None | Some(Some(1))))
    }

    /// Rows of the left operand, of the right one, or of both in a stack of products; no sum runs over them.
    fn product(&self, held: &[Option<Place>]) -> Result<Place, Mixed> {
        // the axis of rows, counted from the last; the summed one is that of the left operand and the next of the right
        let from_the_right = |place: usize| -> Result<Option<(usize, Place)>, Mixed> {
            let rank = self.node.input(place).and_then(|id| self.graph.rank(id)).filter(|&rank| rank >= 2).ok_or(Mixed)?;
            let Some(at) = held[place] else { return Ok(None) };
            sure(rank - at.axis != place + 1)?;
            Ok(Some((rank - at.axis, at)))
        };
        let (from_the_right, at) = match (from_the_right(0)?, from_the_right(1)?) {
            (Some(one), None) | (None, Some(one)) => one,
            (Some(one), Some(two)) => {
                sure(one.0 == two.0 && one.0 > 2 && one.1.on(0) == two.1.on(0))?;
                one
            }
            (None, None) => return Err(Mixed),
        };
        if from_the_right > 2 {
            self.others_have_one(held, from_the_right)?;
        }
        Ok(at.on(self.rank_of(self.output)?.checked_sub(from_the_right).ok_or(Mixed)?))
    }

    fn gemm(&self, at: Place, held: &[Option<Place>]) -> Result<Place, Mixed> {
        sure(at.axis == 0 && held[1].is_none() && self.node.attributes.int("transA", 0) == 0)?;
        match (self.node.input(2), held.get(2).copied().flatten()) {
            (Some(id), Some(other)) => sure(other == at && self.rank_of(id)? == 2)?,
            (Some(id), None) => self.one_for_all(id, 2)?,
            (None, _) => {}
        }
        Ok(at)
    }

    /// The label of rows is the same in every operand with rows, missing in the others, and there once in the result.
    fn einsum(&self, held: &[Option<Place>]) -> Result<Place, Mixed> {
        let equation: String = self.node.attributes.string("equation", "").split_whitespace().collect();
        let (left, right) = equation.split_once("->").filter(|_| !equation.contains('.')).ok_or(Mixed)?;
        let terms: Vec<&str> = left.split(',').collect();
        let mut with_rows = terms.iter().zip(held).filter_map(|(term, at)| at.map(|at| (term, at)));
        let label = |(term, at): (&&str, Place)| term.chars().nth(at.axis).map(|label| (label, at.on(0))).ok_or(Mixed);
        let (rows, at) = label(with_rows.next().ok_or(Mixed)?)?;
        for other in with_rows {
            sure(label(other)? == (rows, at))?;
        }
        let once = |term: &str, wanted: usize| sure(term.matches(rows).count() == wanted);
        terms.iter().zip(held).try_for_each(|(term, at)| once(term, usize::from(at.is_some())))?;
        once(right, 1)?;
        right.chars().position(|label| label == rows).map(|axis| at.on(axis)).ok_or(Mixed)
    }

    fn transposed(&self, at: Place) -> Result<Place, Mixed> {
        let perm = match self.node.attributes.ints("perm") {
            Some(perm) => perm.to_vec(),
            None => (0..self.rank()?).rev().collect(),
        };
        perm.iter().position(|&from| from == at.axis as i64).map(|axis| at.on(axis)).ok_or(Mixed)
    }

    /// The elements keep their order: as many are before and behind a row as were.
    fn reshaped(&self, at: Place) -> Result<Place, Mixed> {
        let to = self.graph.shape(self.output).ok_or(Mixed)?;
        if at.axis == 0 && at.outer == 1 && super::is_batch(Some(to)) {
            return Ok(LEADING);
        }
        let from = self.node.input(0).and_then(|id| self.graph.shape(id)).ok_or(Mixed)?;
        let (before, behind) = (elements(&from[..at.axis])? * at.outer, at.inner * elements(&from[at.axis + 1..])?);
        let axis = to.iter().position(|dim| dim.fixed().is_none()).ok_or(Mixed)?;
        let (outside, inside) = (elements(&to[..axis])?, elements(&to[axis + 1..])?);
        sure(before % outside == 0 && behind % inside == 0)?;
        Ok(Place { axis, outer: before / outside, inner: behind / inside })
    }

    /// The operator works along axes that are not that of the rows, and leaves their number.
    fn beside(&self, at: Place, axes: &[i64]) -> Result<Place, Mixed> {
        let rank = self.rank()?;
        sure(axes.iter().all(|&axis| (if axis < 0 { axis + rank } else { axis }) != at.axis as i64)).map(|()| at)
    }

    fn reduced(&self, at: Place, axes: &[i64]) -> Result<Place, Mixed> {
        self.beside(at, axes)?;
        let rank = self.rank()?;
        let gone = axes.iter().filter(|&&axis| (if axis < 0 { axis + rank } else { axis }) < at.axis as i64).count();
        Ok(if self.node.attributes.int("keepdims", 1) == 0 { at.on(at.axis - gone) } else { at })
    }

    /// Every row says which elements of a table it takes; its places are at `at` in the second operand.
    fn looked_up(&self, at: Place) -> Result<Place, Mixed> {
        let along = self.axis(0)?;
        match &*self.node.op {
            "Gather" => Ok(at.on(at.axis + along as usize)),
            // along another axis it would be the row of the table that belongs to its own
            "GatherElements" => sure(along == at.axis as i64).map(|()| at),
            _ => {
                let last = self.node.input(1).and_then(|id| self.graph.rank(id)).ok_or(Mixed)? - 1;
                sure(self.node.attributes.int("batch_dims", 0) == 0 && at.axis < last).map(|()| at)
            }
        }
    }

    fn gathered(&self, at: Place) -> Result<Place, Mixed> {
        let along = self.axis(0)?;
        self.beside(at, &[along])?;
        let indices = self.node.input(1).and_then(|id| self.graph.rank(id)).ok_or(Mixed)?;
        Ok(if along < at.axis as i64 { at.on(at.axis + indices - 1) } else { at })
    }

    fn padded(&self, at: Place) -> Result<Place, Mixed> {
        let amounts = self.ints(1)?;
        let axes = match self.node.input(3) {
            Some(_) => self.ints(3)?,
            None => (0..self.rank()?).collect(),
        };
        sure(amounts.len() == 2 * axes.len())?;
        let pads = |place: usize| amounts[place] != 0 || amounts[place + axes.len()] != 0;
        self.beside(at, &(0..axes.len()).filter(|&place| pads(place)).map(|place| axes[place]).collect::<Vec<_>>())
    }

    fn tiled(&self, at: Place) -> Result<Place, Mixed> {
        let times = self.ints(1)?;
        self.beside(at, &(0..).zip(&times).filter(|(_, times)| **times != 1).map(|(axis, _)| axis).collect::<Vec<_>>())
    }

    fn of(&self, id: ValueId) -> Known {
        self.known[id.0 as usize]
    }

    /// Of the first operand.
    fn rank(&self) -> Result<i64, Mixed> {
        self.node.input(0).ok_or(Mixed).and_then(|id| self.rank_of(id)).map(|rank| rank as i64)
    }

    fn rank_of(&self, id: ValueId) -> Result<usize, Mixed> {
        self.graph.rank(id).ok_or(Mixed)
    }

    fn extent(&self, id: ValueId, axis: usize) -> Option<&Dim> {
        self.graph.shape(id)?.get(axis)
    }

    /// The attribute `axis`, counted from the first.
    fn axis(&self, usual: i64) -> Result<i64, Mixed> {
        let axis = self.node.attributes.int("axis", usual);
        Ok(if axis < 0 { axis + self.rank()? } else { axis })
    }

    /// A constant operand.
    fn ints(&self, place: usize) -> Result<Vec<i64>, Mixed> {
        self.node.input(place).and_then(|id| self.graph.constant(id)).and_then(|t| t.to_ints()).ok_or(Mixed)
    }

    /// An operand of axes: `None` where it is absent or empty.
    fn listed(&self, place: usize) -> Result<Option<Vec<i64>>, Mixed> {
        match self.node.input(place) {
            None => Ok(None),
            Some(_) => Ok(Some(self.ints(place)?).filter(|axes| !axes.is_empty())),
        }
    }
}

/// How many elements an extent has per row; an extent is written as factors.
fn beside_rows(extent: &Dim) -> Result<usize, Mixed> {
    let Dim::Symbol(factors) = extent else { return Err(Mixed) };
    let (rows, others): (Vec<&str>, Vec<&str>) = factors.split('*').partition(|factor| *factor == "N");
    let others = others.iter().map(|factor| factor.parse::<usize>().ok()).product::<Option<usize>>();
    others.filter(|_| rows.len() == 1).ok_or(Mixed)
}

fn elements(dims: &[Dim]) -> Result<usize, Mixed> {
    dims.iter().map(Dim::fixed).product::<Option<usize>>().filter(|&count| count > 0).ok_or(Mixed)
}
