//! `Einsum`: sums of products named by letters.

use std::collections::BTreeMap;

use super::{Found, Site, dims, one};
use crate::ir::Dim;

/// `Einsum`: the result has the extents of the letters behind the arrow.
pub(super) fn einsum(site: &Site) -> Found {
    let dtype = site.same_dtype(0..site.inputs.len())?;
    let equation: String = site.attributes.string("equation", "").split_whitespace().collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != site.inputs.len() {
        return Err(format!("the equation {equation:?} names {} operands and {} are given", terms.len(), site.inputs.len()));
    }
    let mut letters: BTreeMap<char, Dim> = BTreeMap::new();
    let mut times: BTreeMap<char, usize> = BTreeMap::new();
    let mut ellipsis: Vec<Dim> = Vec::new();
    for (i, term) in terms.iter().enumerate() {
        let names: Vec<char> = term.chars().filter(|c| *c != '.').collect();
        names.iter().for_each(|&c| *times.entry(c).or_default() += 1);
        let Some(shape) = site.shape(i) else {
            for c in names {
                letters.entry(c).or_insert(Dim::Unknown);
            }
            if term.contains("...") {
                return one(dtype, None);
            }
            continue;
        };
        let hidden = shape.len().checked_sub(names.len()).filter(|&h| h == 0 || term.contains("..."));
        let hidden = hidden.ok_or_else(|| format!("the term {term:?} does not fit the shape {}", dims::show(shape)))?;
        let before = term.find("...").unwrap_or(term.len());
        ellipsis = dims::broadcast(&[&ellipsis, &shape[before.min(shape.len())..(before + hidden).min(shape.len())]])?;
        let visible = shape[..before.min(shape.len())].iter().chain(shape.iter().skip(before + hidden));
        for (&c, dim) in names.iter().zip(visible) {
            let known = letters.entry(c).or_insert(Dim::Unknown);
            let both = if *known == Dim::Fixed(1) { Some(dim.clone()) } else { dims::agree(known, dim) };
            *known = both.ok_or_else(|| format!("the letter {c:?} stands for {known} and {dim}"))?;
        }
    }
    let implied: String;
    let right = match right {
        Some(right) => right,
        None => {
            implied = times.iter().filter(|(_, n)| **n == 1).map(|(c, _)| *c).collect();
            &format!("{}{implied}", if left.contains("...") { "..." } else { "" })
        }
    };
    let mut shape = Vec::new();
    if let Some(at) = right.find("...") {
        let (before, after) = (&right[..at], &right[at + 3..]);
        extend(&mut shape, before, &letters)?;
        shape.extend(ellipsis);
        extend(&mut shape, after, &letters)?;
    } else {
        extend(&mut shape, right, &letters)?;
    }
    one(dtype, Some(shape))
}

fn extend(shape: &mut Vec<Dim>, names: &str, letters: &BTreeMap<char, Dim>) -> Result<(), String> {
    for c in names.chars() {
        shape.push(letters.get(&c).cloned().ok_or_else(|| format!("the letter {c:?} of the result is in no operand"))?);
    }
    Ok(())
}
