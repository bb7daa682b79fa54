//! The table of rules, assembled from the families.

mod conv;
mod elementwise;
mod flat;
mod linear;
mod marks;
mod movement;
mod normalization;
mod pool;
mod quantization;
mod reduce;
mod resize;
mod sampling;
mod scattering;
mod slicing;
mod softmax;

use crate::rule::{Rule, flat};

pub(crate) use marks::RULES as MARKS;

/// The families in the order of the documentation.
pub const FAMILIES: &[(&str, &[Rule])] = &[
    ("elementwise", elementwise::RULES),
    ("reductions", reduce::RULES),
    ("softmax", softmax::RULES),
    ("linear algebra", linear::RULES),
    ("convolution", conv::RULES),
    ("pooling", pool::RULES),
    ("normalization", normalization::RULES),
    ("quantization", quantization::RULES),
    ("data movement", movement::RULES),
    ("sampling", sampling::RULES),
    ("without derivative", flat::RULES),
];

/// Every rule, family by family.
pub static RULES: &[Rule] = &assemble();

const COUNT: usize = {
    let mut count = 0;
    let mut family = 0;
    while family < FAMILIES.len() {
        count += FAMILIES[family].1.len();
        family += 1;
    }
    count
};

const fn assemble() -> [Rule; COUNT] {
    let mut all = [flat(""); COUNT];
    let (mut next, mut family) = (0, 0);
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].1.len() {
            all[next] = FAMILIES[family].1[row];
            next += 1;
            row += 1;
        }
        family += 1;
    }
    all
}
