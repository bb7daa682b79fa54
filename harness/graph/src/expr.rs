//! Formulas that build graphs: `(x - mean) / std` appends the nodes and returns a handle. Constants fold, scalars adapt to
//! the element type, and a mistake becomes a [`crate::Problem`] of the graph instead of an error at every step.

use std::cell::{Ref, RefCell, RefMut};
use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::ir::{Attributes, Dim, Graph, Node, NodeId, ValueId, ValueType};
use crate::tensor::{DType, Tensor};

/// A graph under construction, shared by the handles that extend it.
#[derive(Debug, Default)]
pub struct Builder(RefCell<Graph>);

impl Builder {
    /// Continues a graph.
    pub fn new(graph: Graph) -> Builder {
        Builder(RefCell::new(graph))
    }

    /// The finished graph.
    pub fn into_graph(self) -> Graph {
        self.0.into_inner()
    }

    /// The graph as it stands.
    pub fn graph(&self) -> Ref<'_, Graph> {
        self.0.borrow()
    }

    /// The graph, to change it directly.
    pub fn graph_mut(&self) -> RefMut<'_, Graph> {
        self.0.borrow_mut()
    }

    /// Adds an input of the interface.
    pub fn input(&self, name: &str, ty: ValueType) -> Expr<'_> {
        let id = self.0.borrow_mut().add_input(name, ty);
        self.expr(id)
    }

    /// A handle on a value that is there.
    pub fn expr(&self, id: ValueId) -> Expr<'_> {
        Expr { builder: self, id }
    }

    /// A constant.
    pub fn constant(&self, tensor: Tensor) -> Expr<'_> {
        let id = self.0.borrow_mut().add_constant("constant", tensor);
        self.expr(id)
    }

    /// A constant vector of `int64`.
    pub fn ints(&self, values: &[i64]) -> Expr<'_> {
        self.constant(Tensor::ints(values))
    }

    /// Makes a value visible to the outside.
    pub fn output(&self, name: &str, value: Expr<'_>) {
        self.0.borrow_mut().add_output(name, value.id);
    }

    /// Appends any node with one result.
    pub fn op(&self, op: &str, inputs: &[Expr<'_>], attributes: impl Into<Attributes>) -> Expr<'_> {
        self.ops(op, inputs, 1, attributes)[0]
    }

    /// Appends any node with several results.
    pub fn ops(&self, op: &str, inputs: &[Expr<'_>], outputs: usize, attributes: impl Into<Attributes>) -> Vec<Expr<'_>> {
        let ids: Vec<ValueId> = inputs.iter().map(|e| e.id).collect();
        let results = self.0.borrow_mut().push(Node::new(op, &ids, attributes), outputs);
        results.into_iter().map(|id| self.expr(id)).collect()
    }

    /// Appends a node whose operands may be absent.
    pub fn op_with_gaps(&self, op: &str, inputs: &[Option<Expr<'_>>], attributes: impl Into<Attributes>) -> Expr<'_> {
        let mut node = Node::new(op, &[], attributes);
        node.inputs = inputs.iter().map(|i| i.map(|e| e.id)).collect();
        let id = self.0.borrow_mut().push(node, 1)[0];
        self.expr(id)
    }

    /// Concatenates along an axis.
    pub fn concat(&self, parts: &[Expr<'_>], axis: i64) -> Expr<'_> {
        if let [only] = parts { self.expr(only.id) } else { self.op("Concat", parts, [("axis", axis.into())]) }
    }

    /// An optional result of a node; it is added if the node did not have it.
    pub fn extra_output(&self, node: NodeId, position: usize) -> Expr<'_> {
        let id = self.0.borrow_mut().ensure_output(node, position);
        self.expr(id)
    }
}

/// A handle on a value of a graph under construction. Arithmetic broadcasts as ONNX does.
#[derive(Clone, Copy, Debug)]
pub struct Expr<'b> {
    builder: &'b Builder,
    /// The value.
    pub id: ValueId,
}

/// What may stand beside an [`Expr`] in arithmetic: another one, or a number that takes its element type.
pub trait Operand<'b> {
    /// The operand as a value, with the element type of `like` if it is a number.
    fn lift(self, like: Expr<'b>) -> Expr<'b>;
}

impl<'b> Operand<'b> for Expr<'b> {
    fn lift(self, _like: Expr<'b>) -> Expr<'b> {
        self
    }
}

impl<'b> Operand<'b> for f64 {
    fn lift(self, like: Expr<'b>) -> Expr<'b> {
        like.scalar(self)
    }
}

macro_rules! arithmetic {
    ($($trait:ident $method:ident $op:literal),*) => {$(
        impl<'b, R: Operand<'b>> $trait<R> for Expr<'b> {
            type Output = Expr<'b>;
            fn $method(self, right: R) -> Expr<'b> {
                let right = right.lift(self);
                self.builder.op($op, &[self, right], Attributes::none())
            }
        }
    )*};
}
arithmetic!(Add add "Add", Sub sub "Sub", Mul mul "Mul", Div div "Div");

impl Neg for Expr<'_> {
    type Output = Self;
    fn neg(self) -> Self {
        self.unary("Neg")
    }
}

macro_rules! unary {
    ($($(#[$doc:meta])* $method:ident $op:literal),*) => {$(
        $(#[$doc])*
        pub fn $method(self) -> Expr<'b> {
            self.unary($op)
        }
    )*};
}

macro_rules! binary {
    ($($(#[$doc:meta])* $method:ident $op:literal),*) => {$(
        $(#[$doc])*
        pub fn $method(self, right: impl Operand<'b>) -> Expr<'b> {
            let right = right.lift(self);
            self.builder.op($op, &[self, right], Attributes::none())
        }
    )*};
}

impl<'b> Expr<'b> {
    unary!(
        /// `Abs`
        abs "Abs",
        /// `Exp`
        exp "Exp",
        /// `Log`
        log "Log",
        /// `Sqrt`
        sqrt "Sqrt",
        /// `Reciprocal`
        reciprocal "Reciprocal",
        /// `Sign`, 0 at 0
        sign "Sign",
        /// `Relu`
        relu "Relu",
        /// `Sigmoid`
        sigmoid "Sigmoid",
        /// `Tanh`
        tanh "Tanh",
        /// `Erf`
        erf "Erf",
        /// `Floor`
        floor "Floor",
        /// `Not`, for booleans
        negate "Not"
    );
    binary!(
        /// `Greater`, boolean
        greater "Greater",
        /// `Less`, boolean
        less "Less",
        /// `GreaterOrEqual`, boolean
        at_least "GreaterOrEqual",
        /// `LessOrEqual`, boolean
        at_most "LessOrEqual",
        /// `Equal`, boolean
        equal "Equal",
        /// `Max` of two
        max "Max",
        /// `Min` of two
        min "Min",
        /// `Pow`
        pow "Pow",
        /// `And`, for booleans
        and "And",
        /// `Or`, for booleans
        or "Or",
        /// `MatMul`
        matmul "MatMul"
    );

    /// The graph this belongs to.
    pub fn builder(self) -> &'b Builder {
        self.builder
    }

    /// Element type; `float` where inference does not know.
    pub fn dtype(self) -> DType {
        self.builder.graph().dtype(self.id).unwrap_or(DType::F32)
    }

    /// Extents, if the rank is known.
    pub fn dims(self) -> Option<Vec<Dim>> {
        self.builder.graph().shape(self.id).map(<[Dim]>::to_vec)
    }

    /// Rank, if known.
    pub fn rank(self) -> Option<usize> {
        self.builder.graph().rank(self.id)
    }

    /// A scalar constant of this element type.
    pub fn scalar(self, value: f64) -> Expr<'b> {
        self.builder.constant(Tensor::full(self.dtype(), &[], value))
    }

    /// Appends a node with this as its only operand.
    pub fn unary(self, op: &str) -> Expr<'b> {
        self.builder.op(op, &[self], Attributes::none())
    }

    /// Whether it is positive, as a number 0 or 1 of this element type.
    pub fn is_positive(self) -> Expr<'b> {
        self.greater(0.0).cast(self.dtype())
    }

    /// `Cast`; nothing is appended if the element type is already that.
    pub fn cast(self, to: DType) -> Expr<'b> {
        if self.builder.graph().dtype(self.id) == Some(to) {
            return self;
        }
        let code = crate::ops::onnx_code(to);
        self.builder.op("Cast", &[self], [("to", code.into())])
    }

    /// `Where`: this is the condition (boolean).
    pub fn select(self, yes: impl Operand<'b>, no: Expr<'b>) -> Expr<'b> {
        let yes = yes.lift(no);
        self.builder.op("Where", &[self, yes, no], Attributes::none())
    }

    /// `Shape` as an `int64` vector; a constant where every extent is known.
    pub fn shape(self) -> Expr<'b> {
        let fixed: Option<Vec<i64>> = self.dims().and_then(|dims| dims.iter().map(|d| d.fixed().map(|n| n as i64)).collect());
        match fixed {
            Some(fixed) => self.builder.ints(&fixed),
            None => self.unary("Shape"),
        }
    }

    /// `Reshape` to stated extents (0 keeps, −1 is computed).
    pub fn reshape(self, shape: &[i64]) -> Expr<'b> {
        let shape = self.builder.ints(shape);
        self.builder.op("Reshape", &[self, shape], Attributes::none())
    }

    /// `Reshape` to the extents of another value. With at most one unknown extent the target is a constant.
    pub fn reshape_like(self, other: Expr<'b>) -> Expr<'b> {
        if let (Some(mine), Some(wanted)) = (self.dims(), other.dims()) {
            if mine.len() == wanted.len() && mine.iter().zip(&wanted).all(|(a, b)| a.same(b)) {
                return self;
            }
            let unknown = wanted.iter().filter(|d| d.fixed().is_none()).count();
            let empty = wanted.iter().any(|d| d.fixed() == Some(0));
            if unknown <= 1 && !empty {
                let target: Vec<i64> = wanted.iter().map(|d| d.fixed().map_or(-1, |n| n as i64)).collect();
                return self.reshape(&target);
            }
        }
        let shape = other.shape();
        self.builder.op("Reshape", &[self, shape], Attributes::none())
    }

    /// `Expand` (broadcast) to the extents of another value.
    pub fn expand_like(self, other: Expr<'b>) -> Expr<'b> {
        let shape = other.shape();
        self.builder.op("Expand", &[self, shape], Attributes::none())
    }

    /// `Transpose` with a stated permutation.
    pub fn transpose(self, perm: &[i64]) -> Expr<'b> {
        if perm.iter().enumerate().all(|(i, &p)| p == i as i64) {
            return self;
        }
        self.builder.op("Transpose", &[self], [("perm", perm.into())])
    }

    /// Swaps the last two axes. The rank must be known and at least 2.
    pub fn transpose_last(self) -> Expr<'b> {
        let rank = self.rank().unwrap_or(2) as i64;
        let mut perm: Vec<i64> = (0..rank).collect();
        perm.swap((rank - 1).max(0) as usize, (rank - 2).max(0) as usize);
        self.transpose(&perm)
    }

    /// `Unsqueeze` at stated axes.
    pub fn unsqueeze(self, axes: &[i64]) -> Expr<'b> {
        if axes.is_empty() {
            return self;
        }
        // counted from the front, so that equal nodes look equal
        let rank = self.rank().map_or(0, |rank| (rank + axes.len()) as i64);
        let axes: Vec<i64> = axes.iter().map(|&axis| if axis < 0 { axis + rank } else { axis }).collect();
        let axes = self.builder.ints(&axes);
        self.builder.op("Unsqueeze", &[self, axes], Attributes::none())
    }

    /// `Squeeze` at stated axes.
    pub fn squeeze(self, axes: &[i64]) -> Expr<'b> {
        if axes.is_empty() {
            return self;
        }
        let axes = self.builder.ints(axes);
        self.builder.op("Squeeze", &[self, axes], Attributes::none())
    }

    /// A reduction (`ReduceSum`, `ReduceMean`, `ReduceMax`, …) over stated axes; over no axes it is the value itself.
    pub fn reduce(self, op: &str, axes: &[i64], keepdims: bool) -> Expr<'b> {
        if axes.is_empty() {
            return self;
        }
        let axes = self.builder.ints(axes);
        self.builder.op(op, &[self, axes], [("keepdims", i64::from(keepdims).into())])
    }

    /// `ReduceSum` over stated axes.
    pub fn sum(self, axes: &[i64], keepdims: bool) -> Expr<'b> {
        self.reduce("ReduceSum", axes, keepdims)
    }

    /// `ReduceMean` over stated axes.
    pub fn mean(self, axes: &[i64], keepdims: bool) -> Expr<'b> {
        self.reduce("ReduceMean", axes, keepdims)
    }

    /// `Softmax` along an axis.
    pub fn softmax(self, axis: i64) -> Expr<'b> {
        self.builder.op("Softmax", &[self], [("axis", axis.into())])
    }

    /// `LogSoftmax` along an axis.
    pub fn log_softmax(self, axis: i64) -> Expr<'b> {
        self.builder.op("LogSoftmax", &[self], [("axis", axis.into())])
    }

    /// `Slice` with starts, ends, axes and steps.
    pub fn slice(self, starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64]) -> Expr<'b> {
        let b = self.builder;
        b.op("Slice", &[self, b.ints(starts), b.ints(ends), b.ints(axes), b.ints(steps)], Attributes::none())
    }

    /// `Pad` with zeros: `pads` holds the begins of all axes, then the ends; negative amounts crop.
    pub fn pad_zeros(self, pads: &[i64]) -> Expr<'b> {
        if pads.iter().all(|&p| p == 0) {
            return self;
        }
        let zero = self.scalar(0.0);
        let pads = self.builder.ints(pads);
        self.builder.op("Pad", &[self, pads, zero], [("mode", "constant".into())])
    }

    /// `Gather` along an axis.
    pub fn gather(self, indices: Expr<'b>, axis: i64) -> Expr<'b> {
        self.builder.op("Gather", &[self, indices], [("axis", axis.into())])
    }
}
