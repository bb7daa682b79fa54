//! The functions that programs of plugins may call; the linker replaces them by formulas before anything runs.

use super::dims::agree;
use super::{Found, Site, one};
use crate::ir::Dim;

/// `Project(x)` or `Project(x, eps)`, `Hyperplane(x, w, b)`, `Steepest(g)`, `Detach(t)`: like the first operand.
pub(super) fn like(site: &Site) -> Found {
    one(site.dtype(0), site.ty(0).shape)
}

/// `Surrogate(like, value)`: the value of the second operand, with the derivative of the first.
pub(super) fn surrogate(site: &Site) -> Found {
    one(site.same_dtype(0..2)?, site.ty(1).shape)
}

/// `Distance(x, x0)`: one number per sample.
pub(super) fn distance(site: &Site) -> Found {
    site.same_dtype(0..2)?;
    one(site.float(0)?, Some(vec![batch(site, 0)]))
}

/// `CrossEntropy`, `Margin`, `Dlr`, `DlrTargeted`: logits `[N,C]` and labels int64 `[N]` give one number per sample.
pub(super) fn per_sample(site: &Site) -> Found {
    let logits = site.shape_of_rank(0, 2, "the logits")?;
    for i in 1..site.inputs.len() {
        site.index(i)?;
        let labels = site.shape_of_rank(i, 1, "the labels")?;
        if let (Some(z), Some(y)) = (logits, labels)
            && agree(&z[0], &y[0]).is_none()
        {
            return Err(format!("there are {} rows of logits and {} labels", z[0], y[0]));
        }
    }
    one(site.float(0)?, Some(vec![batch(site, 0)]))
}

fn batch(site: &Site, operand: usize) -> Dim {
    site.shape(operand).and_then(|s| s.first().cloned()).unwrap_or(Dim::Unknown)
}
