//! Which parameters decay.

use flatscape_sdk::{Ask, DType, Expr, Names, Param};

/// The parameters of a weight decay with this default.
pub(super) fn params(default: &str) -> [Param; 2] {
    [
        Param::float("weight-decay", default, "how much of a parameter is added to its gradient, or for adamw taken away")
            .range(0.0, 1e3),
        Param::flag("decay-1d", true, "whether biases and the scales of normalisations decay, too"),
    ]
}

/// The decay of this parameter, a scalar; `None` where nothing decays.
pub(super) fn of<'b>(g: &Names<'b>, ask: &Ask) -> Option<Expr<'b>> {
    if ask.float("weight-decay") == 0.0 {
        return None;
    }
    let decay = g.arg("weight-decay");
    Some(if ask.flag("decay-1d") { decay } else { decay * g.rank().greater(1.0).cast(DType::F32) })
}
