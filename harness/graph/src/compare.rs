//! Whether two graphs are the same program: same interface, same nodes in the same order, same constants number for number. Labels
//! of inner values and names of nodes do not count.

use std::collections::HashMap;

use crate::ir::{Attribute, Graph, ValueId};
use crate::name::shown;
use crate::tensor::{Element, Tensor};

impl Graph {
    /// The first difference from another graph as a sentence, or `None` if both are the same program.
    pub fn difference(&self, other: &Graph) -> Option<String> {
        let mut pairs = Pairs { left: self, right: other, known: HashMap::new() };
        if self.inputs().len() != other.inputs().len() {
            return Some(format!("{} inputs and {}", self.inputs().len(), other.inputs().len()));
        }
        for (&a, &b) in self.inputs().iter().zip(other.inputs()) {
            let (left, right) = (self.value(a), other.value(b));
            if left.name != right.name || left.ty != right.ty {
                let describe = |v: &crate::Value| format!("{} {}", v.ty, shown(&v.name));
                return Some(format!("the input {} and {}", describe(left), describe(right)));
            }
            pairs.known.insert(a, b);
        }
        for (index, (a, b)) in self.nodes().iter().zip(other.nodes()).enumerate() {
            let differs = |what: String| Some(format!("node {index}, {} and {}: {what}", a.describe(), b.describe()));
            if a.op != b.op || a.domain != b.domain {
                return differs("the operators".to_owned());
            }
            let keys = |n: &crate::Node| n.attributes.0.keys().cloned().collect::<Vec<String>>();
            if keys(a) != keys(b) {
                return differs(format!("the attributes {:?} and {:?}", keys(a), keys(b)));
            }
            for ((key, left), right) in a.attributes.0.iter().zip(b.attributes.0.values()) {
                if !same_attribute(left, right) {
                    return differs(format!("the attribute {}", shown(key)));
                }
            }
            if let Some(what) = pairs.operands(&a.inputs, &b.inputs) {
                return differs(what);
            }
            if let Some(what) = pairs.results(&a.outputs, &b.outputs) {
                return differs(what);
            }
        }
        if self.nodes().len() != other.nodes().len() {
            return Some(format!("{} nodes and {}", self.nodes().len(), other.nodes().len()));
        }
        if self.outputs().len() != other.outputs().len() {
            return Some(format!("{} outputs and {}", self.outputs().len(), other.outputs().len()));
        }
        for (a, b) in self.outputs().iter().zip(other.outputs()) {
            if a.name != b.name {
                return Some(format!("the output {} and {}", shown(&a.name), shown(&b.name)));
            }
            if let Some(what) = pairs.operand(a.value, b.value) {
                return Some(format!("the output {}: {what}", shown(&a.name)));
            }
        }
        None
    }
}

/// Which value of the left graph is which of the right one.
struct Pairs<'a> {
    left: &'a Graph,
    right: &'a Graph,
    known: HashMap<ValueId, ValueId>,
}

impl Pairs<'_> {
    fn operands(&self, a: &[Option<ValueId>], b: &[Option<ValueId>]) -> Option<String> {
        // absent operands at the end say nothing
        let at = |list: &[Option<ValueId>], i: usize| list.get(i).copied().flatten();
        (0..a.len().max(b.len())).find_map(|i| match (at(a, i), at(b, i)) {
            (None, None) => None,
            (Some(a), Some(b)) => self.operand(a, b).map(|what| format!("operand {i}: {what}")),
            _ => Some(format!("operand {i} is absent on one side")),
        })
    }

    fn operand(&self, a: ValueId, b: ValueId) -> Option<String> {
        match (self.left.constant(a), self.right.constant(b)) {
            (Some(a), Some(b)) if same_tensor(a, b) => None,
            (Some(_), Some(_)) => Some("the constants".to_owned()),
            (None, None) if self.known.get(&a) == Some(&b) => None,
            _ => {
                let (a, b) = (&self.left.value(a).name, &self.right.value(b).name);
                Some(format!("{} and {} are not the same value", shown(a), shown(b)))
            }
        }
    }

    fn results(&mut self, a: &[Option<ValueId>], b: &[Option<ValueId>]) -> Option<String> {
        for i in 0..a.len().max(b.len()) {
            match (a.get(i).copied().flatten(), b.get(i).copied().flatten()) {
                (Some(a), Some(b)) => {
                    self.known.insert(a, b);
                }
                (None, None) => {}
                _ => return Some(format!("result {i} is absent on one side")),
            }
        }
        None
    }
}

fn same_attribute(a: &Attribute, b: &Attribute) -> bool {
    match (a, b) {
        (Attribute::Tensor(a), Attribute::Tensor(b)) => same_tensor(a, b),
        (Attribute::Float(a), Attribute::Float(b)) => same_float(f64::from(*a), f64::from(*b)),
        (Attribute::Floats(a), Attribute::Floats(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_float(f64::from(*a), f64::from(*b)))
        }
        _ => a == b,
    }
}

/// Equal element type, extents and numbers; every NaN is the same, and 0 is not −0.
fn same_tensor(a: &Tensor, b: &Tensor) -> bool {
    fn floats<T: Element + Copy + Into<f64>>(a: &Tensor, b: &Tensor) -> Option<bool> {
        let (a, b) = (a.view::<T>()?, b.view::<T>()?);
        Some(a.shape() == b.shape() && a.iter().zip(b).all(|(&a, &b)| same_float(a.into(), b.into())))
    }
    floats::<f32>(a, b).or_else(|| floats::<f64>(a, b)).unwrap_or_else(|| a == b)
}

fn same_float(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}
