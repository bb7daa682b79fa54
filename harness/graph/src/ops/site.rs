//! A node under inference and what is known of its operands. The words in which the families of operators ask.

use std::ops::Deref;

use super::{Inferred, RANK, dims};
use crate::ir::{Dim, Graph, Node, ValueType};
use crate::tensor::{DType, Tensor};

/// A node and the graph that holds its operands.
pub(crate) struct Site<'g> {
    graph: &'g Graph,
    node: &'g Node,
}

impl Deref for Site<'_> {
    type Target = Node;
    fn deref(&self) -> &Node {
        self.node
    }
}

impl<'g> Site<'g> {
    pub(crate) fn new(graph: &'g Graph, node: &'g Node) -> Site<'g> {
        Site { graph, node }
    }

    /// Whether an operand is there.
    pub(crate) fn has(&self, i: usize) -> bool {
        self.node.input(i).is_some()
    }

    /// Element type of an operand, if known.
    pub(crate) fn dtype(&self, i: usize) -> Option<DType> {
        self.node.input(i).and_then(|v| self.graph.dtype(v))
    }

    /// Extents of an operand, if the rank is known.
    pub(crate) fn shape(&self, i: usize) -> Option<&'g [Dim]> {
        self.node.input(i).and_then(|v| self.graph.shape(v))
    }

    /// Extents of an operand of exactly this rank.
    pub(crate) fn shape_of_rank(&self, i: usize, rank: usize, what: &str) -> Result<Option<&'g [Dim]>, String> {
        match self.shape(i) {
            Some(s) if s.len() != rank => Err(format!("{what} should have rank {rank} and has the shape {}", dims::show(s))),
            shape => Ok(shape),
        }
    }

    /// Element type and shape of an operand.
    pub(crate) fn ty(&self, i: usize) -> ValueType {
        self.node.input(i).map(|v| self.graph.value(v).ty.clone()).unwrap_or_default()
    }

    /// The operand's elements as extents.
    pub(crate) fn extents(&self, i: usize) -> Option<&'g [Dim]> {
        self.node.input(i).and_then(|v| self.graph.value(v).extents.as_deref())
    }

    /// The number of elements of an operand that spells a shape or a list of axes, if known and no more than any rank.
    pub(crate) fn listed(&self, i: usize, what: &str) -> Result<Option<usize>, String> {
        match self.shape_of_rank(i, 1, what)?.and_then(|s| s[0].fixed()) {
            Some(n) if n > RANK => Err(format!("{what} has {n} elements")),
            n => Ok(n),
        }
    }

    /// The operand, if it is constant.
    pub(crate) fn constant(&self, i: usize) -> Option<&'g Tensor> {
        self.node.input(i).and_then(|v| self.graph.constant(v)).map(|t| &**t)
    }

    /// The elements of a constant integer operand, or of one whose extents are all known.
    pub(crate) fn ints(&self, i: usize) -> Option<Vec<i64>> {
        if let Some(constant) = self.constant(i) {
            return constant.to_ints();
        }
        self.extents(i)?.iter().map(|d| d.fixed().and_then(|n| i64::try_from(n).ok())).collect()
    }

    /// Refuses a constant operand of integers below `least`, which would be a clause like «a repeat is -1».
    pub(crate) fn at_least(&self, i: usize, least: i64, what: &str) -> Result<(), String> {
        match self.constant(i).and_then(Tensor::to_ints).and_then(|ints| ints.into_iter().find(|&v| v < least)) {
            Some(v) => Err(format!("{what} is {v}")),
            None => Ok(()),
        }
    }

    /// An axis attribute, counted from the front.
    pub(crate) fn axis(&self, name: &str, default: i64, rank: usize) -> Result<usize, String> {
        front(self.node.attributes.int(name, default), rank)
    }

    /// The axes in a list, counted from the front, none twice.
    pub(crate) fn axes(axes: &[i64], rank: usize) -> Result<Vec<usize>, String> {
        if rank > RANK {
            return Err(format!("it has {rank} axes; {RANK} is the limit"));
        }
        let mut seen = vec![false; rank];
        axes.iter()
            .map(|&a| {
                let axis = front(a, rank)?;
                if std::mem::replace(&mut seen[axis], true) { Err(format!("the axis {axis} is named twice")) } else { Ok(axis) }
            })
            .collect()
    }

    /// The element type that all these operands share.
    pub(crate) fn same_dtype(&self, operands: impl IntoIterator<Item = usize>) -> Result<Option<DType>, String> {
        let mut shared = None;
        for dtype in operands.into_iter().filter_map(|i| self.dtype(i)) {
            if *shared.get_or_insert(dtype) != dtype {
                let first = shared.map_or("", DType::name);
                return Err(format!("the element types {first} and {} of its operands differ", dtype.name()));
            }
        }
        Ok(shared)
    }

    /// The element type of an operand that must be a float.
    pub(crate) fn float(&self, i: usize) -> Result<Option<DType>, String> {
        self.demand(i, DType::is_float, "a float")
    }

    /// The element type of an operand that must be a number.
    pub(crate) fn number(&self, i: usize) -> Result<Option<DType>, String> {
        self.demand(i, |d| d != DType::Bool, "a number")
    }

    /// The element type of an operand that must be an index.
    pub(crate) fn index(&self, i: usize) -> Result<Option<DType>, String> {
        self.demand(i, |d| matches!(d, DType::I32 | DType::I64), "int32 or int64")
    }

    /// The element type of an operand that must be boolean.
    pub(crate) fn boolean(&self, i: usize) -> Result<Option<DType>, String> {
        self.demand(i, |d| d == DType::Bool, "bool")
    }

    /// Refuses the form that an attribute had in older opsets, which would otherwise be passed over in silence.
    pub(crate) fn no_attribute(&self, name: &str) -> Result<(), String> {
        match self.node.attributes.get(name) {
            Some(_) => Err(format!("{name:?} is an operand at opset {}, not an attribute", crate::OPSET)),
            None => Ok(()),
        }
    }

    /// One result with this type and these elements.
    pub(crate) fn with_extents(ty: ValueType, extents: Option<Vec<Dim>>) -> super::Found {
        let integer = matches!(ty.dtype, Some(DType::I32 | DType::I64 | DType::Bool));
        let small = ty.shape.as_ref().is_some_and(|s| s.len() <= 1);
        Ok(vec![Inferred { extents: extents.filter(|e| integer && small && e.len() <= 64), ty }])
    }

    fn demand(&self, i: usize, good: impl Fn(DType) -> bool, wanted: &str) -> Result<Option<DType>, String> {
        match self.dtype(i) {
            Some(d) if !good(d) => Err(format!("operand {i} should be {wanted} and is {}", d.name())),
            dtype => Ok(dtype),
        }
    }
}

/// An axis counted from the front.
pub(crate) fn front(axis: i64, rank: usize) -> Result<usize, String> {
    let counted = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(counted).ok().filter(|&a| a < rank).ok_or_else(|| format!("the axis {axis} is outside rank {rank}"))
}
