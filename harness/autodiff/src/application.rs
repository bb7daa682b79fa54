//! Where a rule is applied: one node with its operands, results, attributes and cotangents, as the formulas name them.

use std::cell::RefCell;

use flatscape_graph::{Attribute, Builder, DType, Dim, Expr, Node, NodeId, Tensor, ValueId};

/// One node under differentiation. `x(i)` are its operands, `y(k)` its results.
pub struct Application<'b> {
    builder: &'b Builder,
    id: NodeId,
    node: Node,
    cotangents: Vec<Option<ValueId>>,
    refusal: RefCell<Option<String>>,
}

impl<'b> Application<'b> {
    pub(crate) fn new(builder: &'b Builder, id: NodeId, node: Node, cotangents: Vec<Option<ValueId>>) -> Application<'b> {
        Application { builder, id, node, cotangents, refusal: RefCell::new(None) }
    }

    /// The graph under construction.
    pub fn builder(&self) -> &'b Builder {
        self.builder
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The same place with another node in it: what a formula would give for other attributes or operands. Results and
    /// cotangents stay.
    #[must_use]
    pub fn altered(&self, change: impl FnOnce(&mut Node)) -> Application<'b> {
        let mut node = self.node.clone();
        change(&mut node);
        Application::new(self.builder, self.id, node, self.cotangents.clone())
    }

    /// The operand at a position. Asking for an absent one refuses.
    pub fn x(&self, i: usize) -> Expr<'b> {
        self.optional(i).unwrap_or_else(|| self.refuse(format!("operand {} is absent", i + 1)))
    }

    /// The operand at a position, if it is there.
    pub fn optional(&self, i: usize) -> Option<Expr<'b>> {
        self.node.input(i).map(|id| self.builder.expr(id))
    }

    /// How many operands there are.
    pub fn operands(&self) -> usize {
        self.node.inputs.len()
    }

    /// The result at a position; an optional one is added if the node did not have it.
    pub fn y(&self, k: usize) -> Expr<'b> {
        self.builder.extra_output(self.id, k)
    }

    /// How many results are stated.
    pub fn results(&self) -> usize {
        self.node.outputs.len()
    }

    /// The cotangent of a result, if one arrived.
    pub fn ct(&self, k: usize) -> Option<Expr<'b>> {
        self.cotangents.get(k).copied().flatten().map(|id| self.builder.expr(id))
    }

    /// An integer attribute, or its default.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.node.attributes.int(name, default)
    }

    /// A float attribute, or its default. The default is given in full, for files in double precision.
    pub fn float(&self, name: &str, default: f64) -> f64 {
        if let Some(Attribute::Float(v)) = self.node.attributes.get(name) { f64::from(*v) } else { default }
    }

    /// A string attribute, or its default.
    pub fn string(&self, name: &str, default: &str) -> String {
        self.node.attributes.string(name, default).to_owned()
    }

    /// An attribute that lists integers.
    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.node.attributes.ints(name).map(<[i64]>::to_vec)
    }

    /// The extents of an operand; the error says that its rank is unknown.
    pub fn dims(&self, i: usize) -> Result<Vec<Dim>, String> {
        self.x(i).dims().ok_or_else(|| format!("the rank of operand {} is unknown", i + 1))
    }

    /// The rank of an operand.
    pub fn rank(&self, i: usize) -> Result<usize, String> {
        Ok(self.dims(i)?.len())
    }

    /// An axis counted from the front.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, String> {
        let wrapped = if axis < 0 { axis + rank as i64 } else { axis };
        usize::try_from(wrapped).ok().filter(|&a| a < rank).ok_or_else(|| format!("the axis {axis} is outside rank {rank}"))
    }

    /// The constant behind an operand.
    pub fn constant(&self, i: usize) -> Option<std::sync::Arc<Tensor>> {
        self.builder.graph().constant(self.node.input(i)?).cloned()
    }

    /// The integers behind an operand that must be a constant; `None` if the operand is absent.
    pub fn constant_ints(&self, i: usize) -> Result<Option<Vec<i64>>, String> {
        if self.node.input(i).is_none() {
            return Ok(None);
        }
        self.known_ints(i).map(Some).ok_or_else(|| format!("operand {} is computed and would have to be a constant", i + 1))
    }

    /// The integers behind an operand that is constant, or whose elements are extents that are known.
    pub fn known_ints(&self, i: usize) -> Option<Vec<i64>> {
        if let Some(constant) = self.constant(i) {
            return constant.to_ints();
        }
        let graph = self.builder.graph();
        let extents = graph.value(self.node.input(i)?).extents.as_ref()?;
        extents.iter().map(|d| d.fixed().and_then(|n| i64::try_from(n).ok())).collect()
    }

    /// The number that every element of a constant operand equals.
    pub fn constant_number(&self, i: usize) -> Option<f64> {
        let values = self.constant(i)?.to_f64();
        let first = *values.first()?;
        values.iter().all(|&v| v == first).then_some(first)
    }

    /// The element type of the cotangent of an operand: its own, or for integers that of the cotangents that arrived.
    pub fn carried(&self, i: usize) -> DType {
        let own = self.x(i).dtype();
        if own.is_float() { own } else { self.arriving() }
    }

    pub(crate) fn arriving(&self) -> DType {
        self.cotangents.iter().flatten().next().map_or(DType::F32, |&ct| self.builder.expr(ct).dtype())
    }

    /// Zeros with the extents of a value and the element type of its cotangent.
    pub fn zeros_like(&self, like: Expr<'b>) -> Expr<'b> {
        let shape = like.shape();
        let dtype = if like.dtype().is_float() { like.dtype() } else { self.arriving() };
        let zero = Tensor::full(dtype, &[1], 0.0);
        self.builder.op("ConstantOfShape", &[shape], [("value", Attribute::Tensor(zero.into()))])
    }

    /// How many elements of a value there are for one of another, as a number of that element type: the `n` of a mean.
    pub fn elements_per(&self, of: Expr<'b>, one: Expr<'b>) -> Expr<'b> {
        let known = |e: Expr<'b>| Some(e.dims()?.iter().filter_map(Dim::fixed).product::<usize>());
        let unknown = |e: Expr<'b>| Some(e.dims()?.into_iter().filter(|d| d.fixed().is_none()).collect::<Vec<_>>());
        let ratio = || {
            let same = unknown(of)? == unknown(one)? && !unknown(of)?.contains(&Dim::Unknown);
            (same && known(one)? > 0).then_some(known(of)? as f64 / known(one)? as f64)
        };
        match ratio() {
            Some(ratio) => of.scalar(ratio),
            None => of.unary("Size").cast(of.dtype()) / one.unary("Size").cast(of.dtype()),
        }
    }

    /// `Reshape` to extents of which at most one is unknown.
    pub fn reshape_to(&self, value: Expr<'b>, dims: &[Dim]) -> Result<Expr<'b>, String> {
        if dims.iter().filter(|d| d.fixed().is_none()).count() > 1 {
            return Err(format!("more than one extent of {} is unknown", list(dims)));
        }
        let target: Vec<i64> = dims.iter().map(|d| d.fixed().map_or(-1, |n| n as i64)).collect();
        Ok(value.reshape(&target))
    }

    /// Refuses this use of the operator. The value that is returned stands in until the driver has seen the refusal.
    pub fn refuse(&self, why: String) -> Expr<'b> {
        self.refusal.borrow_mut().get_or_insert(why);
        self.y(0)
    }

    /// The value, or a refusal.
    pub fn or_refuse(&self, value: Result<Expr<'b>, String>) -> Expr<'b> {
        value.unwrap_or_else(|why| self.refuse(why))
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.borrow().is_some()
    }

    pub(crate) fn take_refusal(&self) -> Option<String> {
        self.refusal.borrow_mut().take()
    }
}

/// Extents as a message shows them.
pub(crate) fn list(dims: &[Dim]) -> String {
    let dims: Vec<String> = dims.iter().map(Dim::to_string).collect();
    format!("[{}]", dims.join(","))
}

/// The smallest normal number of float32: a divisor that is at least this one is never 0.
pub(crate) const TINY: f64 = f32::MIN_POSITIVE as f64;

/// v where a condition holds, 0 elsewhere. It is selected and not multiplied by a mask: where v is infinite or NaN and the condition
/// does not hold, the result is 0.
pub(crate) fn only_where<'b>(condition: Expr<'b>, v: Expr<'b>) -> Expr<'b> {
    condition.select(v, v.scalar(0.0))
}

/// 1 − v.
pub(crate) fn one_minus(v: Expr<'_>) -> Expr<'_> {
    v.scalar(1.0) - v
}

/// The smallest finite number of an element type.
pub(crate) fn lowest(dtype: DType) -> f64 {
    if dtype == DType::F64 { f64::MIN } else { f64::from(f32::MIN) }
}
