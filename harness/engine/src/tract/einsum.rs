//! `Einsum` with one letter for every axis. tract aligns an ellipsis that one operand has wrongly, without saying so, it does not
//! broadcast, and it goes wrong on diagonals.

use flatscape_graph::{Dim, Expr, Tensor};

use super::missing::Site;

/// An operand and the letters of its axes.
struct Term<'b> {
    x: Expr<'b>,
    dims: Vec<Dim>,
    letters: Vec<char>,
}

/// Without ellipses, without letters that stand twice in a term, and without axes of one element beside longer ones of the same
/// letter; `None` where it is so already.
pub(super) fn explicit<'b>(n: &Site<'b>) -> Option<Vec<Expr<'b>>> {
    let equation: String = n.node.attributes.string("equation", "").split_whitespace().collect();
    let (left, right) = equation.split_once("->").map_or((&*equation, None), |(left, right)| (left, Some(right)));
    let (mut terms, broadcast) = terms(n, &equation, left)?;
    let long: Vec<char> = terms.iter().flat_map(Term::long).collect();
    let short = |term: &Term| term.places(|letter, dim| *dim == Dim::Fixed(1) && long.contains(&letter));
    if !left.contains('.') && terms.iter().all(|term| short(term).is_empty() && twice(&term.letters).is_none()) {
        return None;
    }
    for term in &mut terms {
        let axes = short(term);
        if !axes.is_empty() {
            term.x = term.x.squeeze(&axes.iter().map(|&axis| axis as i64).collect::<Vec<_>>());
            for &axis in axes.iter().rev() {
                term.letters.remove(axis);
            }
        }
        while let Some((first, second)) = twice(&term.letters) {
            term.x = diagonal(term.x, first, second)?;
            term.letters.remove(second);
        }
    }
    let result = match right {
        Some(right) => right.replace("...", &broadcast),
        None => broadcast + &once(left),
    };
    if let [term] = &terms[..] {
        return Some(vec![term.alone(&result)?]);
    }
    let operands: Vec<Expr> = terms.iter().map(|term| term.x).collect();
    let left: Vec<String> = terms.iter().map(|term| term.letters.iter().collect()).collect();
    let equation = format!("{}->{result}", left.join(","));
    Some(vec![n.builder.op("Einsum", &operands, [("equation", equation.as_str().into())])])
}

/// The operands with letters for all axes, and the letters of the axes that ellipses stand for, which are aligned at the last one.
fn terms<'b>(n: &Site<'b>, equation: &str, left: &str) -> Option<(Vec<Term<'b>>, String)> {
    let mut terms = Vec::new();
    for (place, text) in left.split(',').enumerate() {
        let x = n.x(place)?;
        let dims = x.dims()?;
        let hidden = dims.len().checked_sub(text.chars().filter(|&c| c != '.').count())?;
        terms.push((x, dims, hidden, text));
    }
    let most = terms.iter().map(|&(_, _, hidden, _)| hidden).max()?;
    let unused: String = ('A'..='Z').chain('a'..='z').filter(|&c| !equation.contains(c)).take(most).collect();
    let lettered = terms.into_iter().map(|(x, dims, hidden, text)| {
        let letters = text.replace("...", unused.get(most - hidden..)?).chars().collect();
        Some(Term { x, dims, letters })
    });
    Some((lettered.collect::<Option<_>>()?, unused))
}

impl<'b> Term<'b> {
    /// The only operand, summed over the letters that the result does not have, in the order of the result.
    fn alone(&self, result: &str) -> Option<Expr<'b>> {
        let (kept, summed): (Vec<usize>, Vec<usize>) =
            (0..self.letters.len()).partition(|&axis| result.contains(self.letters[axis]));
        let summed: Vec<i64> = summed.iter().map(|&axis| axis as i64).collect();
        let x = if summed.is_empty() { self.x } else { self.x.sum(&summed, false) };
        let order = |letter| kept.iter().position(|&axis| self.letters[axis] == letter).map(|place| place as i64);
        let order: Vec<i64> = result.chars().map(order).collect::<Option<_>>()?;
        Some(if order.is_sorted() { x } else { x.transpose(&order) })
    }

    /// The axes of these letters and extents.
    fn places(&self, of: impl Fn(char, &Dim) -> bool) -> Vec<usize> {
        (0..self.letters.len()).filter(|&axis| self.dims.get(axis).is_some_and(|dim| of(self.letters[axis], dim))).collect()
    }

    /// The letters of axes that are not of one element.
    fn long(&self) -> Vec<char> {
        self.places(|_, dim| *dim != Dim::Fixed(1)).into_iter().map(|axis| self.letters[axis]).collect()
    }
}

/// The letters that stand once in the operands, in the order of the alphabet: those of the result where none is stated.
fn once(left: &str) -> String {
    let mut letters: Vec<char> = left.chars().filter(char::is_ascii_alphabetic).collect();
    letters.retain(|letter| left.matches(*letter).count() == 1);
    letters.sort_unstable();
    letters.into_iter().collect()
}

/// The places of a letter that stands twice.
fn twice(letters: &[char]) -> Option<(usize, usize)> {
    (0..letters.len()).find_map(|second| Some((letters[..second].iter().position(|c| *c == letters[second])?, second)))
}

/// The elements whose places along two axes of one extent are the same, without the second axis.
fn diagonal(x: Expr<'_>, first: usize, second: usize) -> Option<Expr<'_>> {
    let dims = x.dims()?;
    let extent = dims.get(first)?.fixed()?;
    let mut shape = vec![1; dims.len()];
    (shape[first], shape[second]) = (extent, extent);
    let same: Vec<bool> = (0..extent * extent).map(|at| at / extent == at % extent).collect();
    let same = x.builder().constant(Tensor::new(&shape, same)?);
    Some(same.select(x, x.scalar(0.0)).sum(&[second as i64], false))
}
