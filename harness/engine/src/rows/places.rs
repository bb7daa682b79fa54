//! Where the rows of a batch are in every value of a graph, and whether an operator lets one row see another.
//!
//! Rows need not be the leading axis: exporters put the tokens of a transformer before the batch, and heads or tokens beside rows into
//! one axis. What counts is the order of the elements, which a Reshape leaves as it is.

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
    fn on(axis: usize) -> Place {
        Place { axis, ..LEADING }
    }

    fn leads(self) -> bool {
        self.axis == 0 && self.outer == 1
    }
}

/// What is known of the rows of a value: none, or where they are.
type Rows = Option<Place>;

/// An operator mixes rows, or may.
struct Mixed;

/// Whether no result depends on a row of another image: every row of every output is computed from the same row of the inputs.
pub(super) fn independent(graph: &Graph) -> bool {
    let mut known: Vec<Rows> = vec![None; graph.values().len()];
    for &input in graph.inputs() {
        known[input.0 as usize] = super::leads(graph, input).then_some(LEADING);
    }
    for node in graph.nodes() {
        for output in node.outputs.iter().flatten() {
            let site = Site { graph, node, known: &known, output: *output };
            let Ok(rows) = site.rows() else { return false };
            known[output.0 as usize] = rows;
        }
    }
    graph.outputs().iter().all(|output| known[output.value.0 as usize] == Some(LEADING))
}

/// How many elements an extent has per row; an extent is written as factors.
fn beside_rows(extent: &Dim) -> Result<usize, Mixed> {
    let Dim::Symbol(factors) = extent else { return Err(Mixed) };
    let (rows, others): (Vec<&str>, Vec<&str>) = factors.split('*').partition(|factor| *factor == "N");
    let others = others.iter().map(|factor| factor.parse::<usize>().ok()).product::<Option<usize>>();
    others.filter(|_| rows.len() == 1).ok_or(Mixed)
}

/// One result of a node.
struct Site<'g> {
    graph: &'g Graph,
    node: &'g Node,
    known: &'g [Rows],
    output: ValueId,
}

/// Operators that take their operands element by element, with broadcasting.
const ELEMENTWISE: &[&str] = &[
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Sum",
    "Mean",
    "Max",
    "Min",
    "Pow",
    "Mod",
    "Neg",
    "Abs",
    "Sign",
    "Exp",
    "Log",
    "Sqrt",
    "Reciprocal",
    "Floor",
    "Ceil",
    "Round",
    "Erf",
    "Sin",
    "Cos",
    "Tan",
    "Asin",
    "Acos",
    "Atan",
    "Sinh",
    "Cosh",
    "Asinh",
    "Acosh",
    "Atanh",
    "Relu",
    "LeakyRelu",
    "PRelu",
    "ThresholdedRelu",
    "Elu",
    "Selu",
    "Celu",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Mish",
    "Softplus",
    "Softsign",
    "Tanh",
    "Shrink",
    "Clip",
    "Dropout",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "And",
    "Or",
    "Xor",
    "Not",
    "IsNaN",
    "IsInf",
    "Where",
    "Identity",
    "Cast",
];

/// Operators whose bodies may read any value.
const BODIES: &[&str] = &["If", "Loop", "Scan"];

/// Operators that are not looked into: rows may see each other.
const MIXES: &[&str] =
    &["Compress", "Einsum", "EyeLike", "MeanVarianceNormalization", "NonZero", "ReverseSequence", "ScatterND", "Unique"];

impl Site<'_> {
    /// Where the rows of the result are.
    fn rows(&self) -> Result<Rows, Mixed> {
        let held: Vec<Rows> = self.node.inputs.iter().map(|input| self.known[input.as_ref()?.0 as usize]).collect();
        let rows = held.iter().any(Option::is_some);
        if BODIES.contains(&&*self.node.op) || (rows && MIXES.contains(&&*self.node.op)) {
            return Err(Mixed);
        }
        if !rows {
            return self.without();
        }
        let data = held.first().copied().flatten();
        match (&*self.node.op, data) {
            ("Shape" | "Size", _) => Ok(None),
            ("CastLike", at) => Ok(at),
            _ if !self.node.domain.is_empty() => self.led(&held),
            (op, _) if ELEMENTWISE.contains(&op) => self.elementwise(&held).map(Some),
            ("MatMul", _) => self.product(&held).map(Some),
            (_, None) => self.led(&held),
            ("Transpose", Some(at)) => self.transposed(at).map(Some),
            ("Reshape" | "Flatten" | "Squeeze" | "Unsqueeze", Some(at)) => self.reshaped(at).map(Some),
            ("Softmax" | "LogSoftmax" | "Hardmax" | "LpNormalization" | "TopK", Some(at)) => self.beside(at, &[self.axis(-1)?]),
            ("LayerNormalization", Some(at)) => self.beside(at, &(self.axis(-1)?..self.rank()?).collect::<Vec<_>>()),
            ("ArgMax" | "ArgMin", Some(at)) => self.reduced(at, &[self.axis(0)?]),
            (op, Some(at)) if op.starts_with("Reduce") => match self.listed(1)? {
                Some(axes) => self.reduced(at, &axes),
                None if self.node.attributes.int("noop_with_empty_axes", 0) != 0 => Ok(Some(at)),
                None => Err(Mixed),
            },
            ("Concat", Some(at)) if held.iter().all(|other| *other == Some(at)) => self.beside(at, &[self.axis(0)?]),
            ("Split", Some(at)) => self.beside(at, &[self.axis(0)?]),
            ("CumSum", Some(at)) => self.beside(at, &self.listed(1)?.ok_or(Mixed)?),
            ("Slice", Some(at)) => self.beside(at, &self.listed(3)?.ok_or(Mixed)?),
            ("Gather", Some(at)) if held.get(1) == Some(&None) => self.gathered(at),
            ("Pad", Some(at)) => self.padded(at),
            ("Tile", Some(at)) => self.tiled(at),
            ("Expand", Some(at)) => self.expanded(at).map(Some),
            ("Gemm", Some(at)) if held.get(1) == Some(&None) && at.axis == 0 && self.node.attributes.int("transA", 0) == 0 => {
                let third = held.get(2).copied().flatten();
                if third.is_none_or(|third| third == at) { Ok(Some(at)) } else { Err(Mixed) }
            }
            ("GatherElements" | "ScatterElements", Some(at)) if at.leads() => {
                // the places that a MaxPool gives count through all that it was given, and are used on that
                if self.axis(0)? == 0 && self.rank()? != 1 { Err(Mixed) } else { self.led(&held) }
            }
            ("GatherND", Some(_)) if self.node.attributes.int("batch_dims", 0) == 0 => Err(Mixed),
            ("BatchNormalization", Some(_)) if self.node.attributes.int("training_mode", 0) == 1 => Err(Mixed),
            ("Trilu", Some(_)) if self.rank()? < 3 => Err(Mixed),
            ("Concat" | "Gather" | "Gemm" | "GatherElements" | "ScatterElements", _) => Err(Mixed),
            _ => self.led(&held),
        }
    }

    /// No operand has rows: nor has the result, unless its extents follow the batch. Then all its rows are the same.
    fn without(&self) -> Result<Rows, Mixed> {
        let Some(dims) = self.graph.shape(self.output) else {
            let counts = self.graph.dtype(self.output) == Some(DType::I64);
            return if counts { Ok(None) } else { Err(Mixed) };
        };
        let open: Vec<usize> = (0..dims.len()).filter(|&axis| dims[axis].fixed().is_none()).collect();
        match (open.as_slice(), &*self.node.op) {
            ([], _) => Ok(None),
            (&[axis], "Expand" | "ConstantOfShape") => Ok(Some(Place { inner: beside_rows(&dims[axis])?, ..Place::on(axis) })),
            _ => Err(Mixed),
        }
    }

    /// Any other operator whose rows lead, and whose result has as many.
    fn led(&self, held: &[Rows]) -> Result<Rows, Mixed> {
        if !held.iter().flatten().all(|at| at.leads()) {
            return Err(Mixed);
        }
        let of_extent = |extent: &Dim| {
            let pairs = self.node.inputs.iter().zip(held);
            pairs.filter_map(|(id, at)| Some((id.as_ref()?, (*at)?))).find(|(id, _)| self.extent(**id, 0) == Some(extent))
        };
        match self.graph.shape(self.output) {
            None => Ok(Some(LEADING)),
            dims if super::is_batch(dims) => Ok(Some(LEADING)),
            Some([first, ..]) if first.fixed().is_none() => of_extent(first).map(|(_, at)| Some(at)).ok_or(Mixed),
            _ => Err(Mixed),
        }
    }

    /// Every operand has its rows on the same axis, counted from the last.
    fn elementwise(&self, held: &[Rows]) -> Result<Place, Mixed> {
        let mut found: Option<(usize, Place)> = None;
        for (input, at) in self.node.inputs.iter().zip(held) {
            let (Some(id), Some(at)) = (input, at) else { continue };
            let from_the_right = self.graph.rank(*id).and_then(|rank| rank.checked_sub(at.axis)).ok_or(Mixed)?;
            match found {
                Some((other, place)) if other != from_the_right || (place.outer, place.inner) != (at.outer, at.inner) => {
                    return Err(Mixed);
                }
                _ => found = Some((from_the_right, *at)),
            }
        }
        let (from_the_right, at) = found.ok_or(Mixed)?;
        let axis = self.rank_of(self.output)?.checked_sub(from_the_right).ok_or(Mixed)?;
        Ok(Place { axis, ..at })
    }

    /// Rows of the left operand, of the right one, or of both in a stack of products; no sum runs over them.
    fn product(&self, held: &[Rows]) -> Result<Place, Mixed> {
        let rank =
            |place: usize| self.node.input(place).and_then(|id| self.graph.rank(id)).filter(|&rank| rank >= 2).ok_or(Mixed);
        let (left, right) = (held.first().copied().flatten(), held.get(1).copied().flatten());
        // the summed axis is the last one of the left operand and the last but one of the right
        let from_the_right =
            |at: Place, rank: usize, summed: usize| if rank - at.axis == summed { Err(Mixed) } else { Ok(rank - at.axis) };
        let (at, place) = match (left, right) {
            (Some(at), None) => (at, from_the_right(at, rank(0)?, 1)?),
            (None, Some(at)) => (at, from_the_right(at, rank(1)?, 2)?),
            (Some(one), Some(two)) => {
                let places = (from_the_right(one, rank(0)?, 1)?, from_the_right(two, rank(1)?, 2)?);
                let same = places.0 == places.1 && (one.outer, one.inner) == (two.outer, two.inner);
                if !same || places.0 <= 2 { return Err(Mixed) } else { (one, places.0) }
            }
            (None, None) => return Err(Mixed),
        };
        Ok(Place { axis: self.rank_of(self.output)?.checked_sub(place).ok_or(Mixed)?, ..at })
    }

    fn transposed(&self, at: Place) -> Result<Place, Mixed> {
        let perm = match self.node.attributes.ints("perm") {
            Some(perm) => perm.to_vec(),
            None => (0..self.rank()?).rev().collect(),
        };
        let axis = perm.iter().position(|&from| from == at.axis as i64).ok_or(Mixed)?;
        Ok(Place { axis, ..at })
    }

    /// The elements keep their order: as many are before and behind a row as were.
    fn reshaped(&self, at: Place) -> Result<Place, Mixed> {
        let Some(to) = self.graph.shape(self.output) else { return if at.leads() { Ok(LEADING) } else { Err(Mixed) } };
        if at.leads() && super::is_batch(Some(to)) {
            return Ok(LEADING);
        }
        let from = self.node.input(0).and_then(|id| self.graph.shape(id)).ok_or(Mixed)?;
        let count = |dims: &[Dim]| dims.iter().map(Dim::fixed).product::<Option<usize>>().filter(|&count| count > 0).ok_or(Mixed);
        let (before, behind) = (count(&from[..at.axis])? * at.outer, at.inner * count(&from[at.axis + 1..])?);
        let axis = to.iter().position(|dim| dim.fixed().is_none()).ok_or(Mixed)?;
        let (outside, inside) = (count(&to[..axis])?, count(&to[axis + 1..])?);
        if before % outside != 0 || behind % inside != 0 {
            return Err(Mixed);
        }
        Ok(Place { axis, outer: before / outside, inner: behind / inside })
    }

    /// The operator works along axes that are not that of the rows, and leaves their number.
    fn beside(&self, at: Place, axes: &[i64]) -> Result<Rows, Mixed> {
        let rank = self.rank()?;
        let touched = axes.iter().any(|&axis| (if axis < 0 { axis + rank } else { axis }) == at.axis as i64);
        if touched { Err(Mixed) } else { Ok(Some(at)) }
    }

    fn reduced(&self, at: Place, axes: &[i64]) -> Result<Rows, Mixed> {
        self.beside(at, axes)?;
        let rank = self.rank()?;
        let gone = axes.iter().filter(|&&axis| (if axis < 0 { axis + rank } else { axis }) < at.axis as i64).count();
        let axis = if self.node.attributes.int("keepdims", 1) == 0 { at.axis - gone } else { at.axis };
        Ok(Some(Place { axis, ..at }))
    }

    fn gathered(&self, at: Place) -> Result<Rows, Mixed> {
        let along = self.axis(0)?;
        self.beside(at, &[along])?;
        let indices = self.node.input(1).and_then(|id| self.graph.rank(id)).ok_or(Mixed)?;
        let axis = if along < at.axis as i64 { at.axis + indices - 1 } else { at.axis };
        Ok(Some(Place { axis, ..at }))
    }

    fn padded(&self, at: Place) -> Result<Rows, Mixed> {
        let constant = |place: usize| self.node.input(place).and_then(|id| self.graph.constant(id)).and_then(|t| t.to_ints());
        let amounts = constant(1).ok_or(Mixed)?;
        let axes = match self.node.input(3) {
            Some(_) => constant(3).ok_or(Mixed)?,
            None => (0..self.rank()?).collect(),
        };
        let padded = |(place, axis): (usize, &i64)| {
            let both =
                amounts.get(place).copied().unwrap_or(1) != 0 || amounts.get(place + axes.len()).copied().unwrap_or(1) != 0;
            both.then_some(*axis)
        };
        self.beside(at, &axes.iter().enumerate().filter_map(padded).collect::<Vec<_>>())
    }

    fn tiled(&self, at: Place) -> Result<Rows, Mixed> {
        let times = self.node.input(1).and_then(|id| self.graph.constant(id)).and_then(|t| t.to_ints()).ok_or(Mixed)?;
        self.beside(at, &(0..).zip(&times).filter(|(_, times)| **times != 1).map(|(axis, _)| axis).collect::<Vec<_>>())
    }

    fn expanded(&self, at: Place) -> Result<Place, Mixed> {
        let axis = (self.rank_of(self.output)? + at.axis).checked_sub(self.rank()? as usize).ok_or(Mixed)?;
        Ok(Place { axis, ..at })
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

    /// An operand of axes: `None` where it is absent or empty.
    fn listed(&self, place: usize) -> Result<Option<Vec<i64>>, Mixed> {
        let Some(id) = self.node.input(place) else { return Ok(None) };
        let axes = self.graph.constant(id).and_then(|t| t.to_ints()).ok_or(Mixed)?;
        Ok(Some(axes).filter(|axes| !axes.is_empty()))
    }
}
