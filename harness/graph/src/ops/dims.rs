//! Arithmetic on extents of which some are only names: broadcasting, products and quotients. Knows no operator.

use crate::ir::Dim;

/// A product of extents: a number times names, e.g. `400 · N`. As one extent it is written `400*N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    fixed: usize,
    names: Vec<String>,
}

impl Count {
    /// The product, or `None` if an extent is unknown or the number overflows.
    pub(crate) fn of(dims: &[Dim]) -> Option<Count> {
        let mut count = Count { fixed: 1, names: Vec::new() };
        for dim in dims {
            match dim {
                Dim::Fixed(n) => count.fixed = count.fixed.checked_mul(*n)?,
                Dim::Symbol(name) => {
                    for factor in name.split('*') {
                        match factor.parse::<usize>() {
                            Ok(n) => count.fixed = count.fixed.checked_mul(n)?,
                            Err(_) => count.names.push(factor.to_owned()),
                        }
                    }
                }
                Dim::Unknown => return None,
            }
        }
        count.names.sort_unstable();
        Some(count)
    }

    /// The number, if no name is left.
    pub(crate) fn fixed(&self) -> Option<usize> {
        self.names.is_empty().then_some(self.fixed)
    }

    /// The quotient, if it is whole for every value of the names.
    pub(crate) fn divided_by(&self, other: &Count) -> Option<Count> {
        if other.fixed == 0 || !self.fixed.is_multiple_of(other.fixed) {
            return None;
        }
        let mut names = self.names.clone();
        for name in &other.names {
            let at = names.iter().position(|n| n == name)?;
            names.remove(at);
        }
        Some(Count { fixed: self.fixed / other.fixed, names })
    }

    /// The product as one extent.
    pub(crate) fn dim(&self) -> Dim {
        if self.names.is_empty() || self.fixed == 0 {
            return Dim::Fixed(self.fixed);
        }
        let names = self.names.join("*");
        Dim::Symbol(if self.fixed == 1 { names } else { format!("{}*{names}", self.fixed) }.into())
    }
}

/// The product of extents as one extent.
pub(crate) fn product(dims: &[Dim]) -> Dim {
    Count::of(dims).map_or(Dim::Unknown, |c| c.dim())
}

/// The quotient of two extents where it is certainly whole.
pub(crate) fn quotient(a: &Dim, b: &Dim) -> Dim {
    let pair = Count::of(std::slice::from_ref(a)).zip(Count::of(std::slice::from_ref(b)));
    pair.and_then(|(a, b)| a.divided_by(&b)).map_or(Dim::Unknown, |c| c.dim())
}

/// Broadcasts shapes together, aligned at the last axis. A name against a number greater than 1 gives the number: at run
/// time the name can only stand for it or for 1.
pub(crate) fn broadcast(shapes: &[&[Dim]]) -> Result<Vec<Dim>, String> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut joined = vec![Dim::Fixed(1); rank];
    for shape in shapes {
        for (into, dim) in joined[rank - shape.len()..].iter_mut().zip(*shape) {
            let Some(both) = broadcast_pair(into, dim) else {
                let all: Vec<String> = shapes.iter().map(|s| show(s)).collect();
                return Err(format!("the shapes {} do not broadcast", all.join(" and ")));
            };
            *into = both;
        }
    }
    Ok(joined)
}

fn broadcast_pair(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a, b) {
        (Dim::Fixed(1), other) | (other, Dim::Fixed(1)) => Some(other.clone()),
        (Dim::Fixed(a), Dim::Fixed(b)) => (a == b).then_some(Dim::Fixed(*a)),
        (Dim::Fixed(n), _) | (_, Dim::Fixed(n)) => Some(Dim::Fixed(*n)),
        _ if a.same(b) => Some(a.clone()),
        _ => Some(Dim::Unknown),
    }
}

/// What is known of an extent that is stated twice; `None` if the two contradict each other.
pub(crate) fn agree(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => (a == b).then_some(Dim::Fixed(*a)),
        (Dim::Fixed(_), _) | (_, Dim::Unknown) => Some(a.clone()),
        (_, Dim::Fixed(_)) | (Dim::Unknown, _) => Some(b.clone()),
        (Dim::Symbol(_), Dim::Symbol(_)) => Some(a.clone()),
    }
}

/// `a + b` where both are known, or one of them is 0.
pub(crate) fn sum(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_add(*b).map_or(Dim::Unknown, Dim::Fixed),
        (Dim::Fixed(0), other) | (other, Dim::Fixed(0)) => other.clone(),
        _ => Dim::Unknown,
    }
}

/// `a - b` where it is known and not negative.
pub(crate) fn difference(a: &Dim, b: &Dim) -> Dim {
    match (a, b) {
        (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_sub(*b).map_or(Dim::Unknown, Dim::Fixed),
        (other, Dim::Fixed(0)) => other.clone(),
        _ if a.same(b) => Dim::Fixed(0),
        _ => Dim::Unknown,
    }
}

/// `dim` shifted by a signed amount; an error if nothing could be left.
pub(crate) fn shift(dim: &Dim, by: i64) -> Result<Dim, String> {
    match dim {
        _ if by == 0 => Ok(dim.clone()),
        Dim::Fixed(n) => {
            let moved = i128::from(by) + *n as i128;
            let size = usize::try_from(moved).map_err(|_| format!("an extent of {n} changed by {by} leaves {moved}"))?;
            Ok(Dim::Fixed(size))
        }
        _ => Ok(Dim::Unknown),
    }
}

/// A shape for messages: `[N,3,32,32]`.
pub(crate) fn show(shape: &[Dim]) -> String {
    let dims: Vec<String> = shape.iter().map(Dim::to_string).collect();
    format!("[{}]", dims.join(","))
}
