//! Losses that take a label for each place.

use super::dims::{agree, show};
use super::{Found, Site, several};
use crate::ir::Dim;

/// `SoftmaxCrossEntropyLoss`, `NegativeLogLikelihoodLoss`: x `[N,C,…]`, labels `[N,…]`, weights `[C]`. The first result is like the
/// labels or one number; the second, which only the former has, is like x.
pub(super) fn per_label(site: &Site) -> Found {
    let dtype = site.float(0)?;
    site.index(1)?;
    let (x, labels) = (site.shape(0), site.shape(1));
    if let Some(x) = x.filter(|x| x.len() < 2) {
        return Err(format!("x should be [N,C,…] and is {}", show(x)));
    }
    let places = x.map(|x| [&x[..1], &x[2..]].concat());
    if let (Some(places), Some(labels)) = (&places, labels)
        && (places.len() != labels.len() || places.iter().zip(labels).any(|(p, l)| agree(p, l).is_none()))
    {
        return Err(format!("the labels {} should have the shape {}", show(labels), show(places)));
    }
    if let (Some(x), Some(weights)) = (x, site.shape_of_rank(2, 1, "the weights")?)
        && agree(&x[1], &weights[0]).is_none()
    {
        return Err(format!("there are {} weights for {} classes", weights[0], x[1]));
    }
    let loss: Option<Vec<Dim>> = match site.attributes.string("reduction", "mean") {
        "none" => labels.map(<[Dim]>::to_vec).or(places),
        "sum" | "mean" => Some(Vec::new()),
        other => return Err(format!("the reduction {other:?} is not one of none, sum, mean")),
    };
    several([(dtype, loss), (dtype, x.map(<[Dim]>::to_vec))])
}
