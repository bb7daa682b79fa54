//! log p(x) + log Z = LSE(f(x)), the unnormalised log-likelihood that a classifier assigns to an image. Comparable between
//! images of one model; between models only up to an unknown shift.

use flatscape_sdk::Component;

pub(crate) fn component() -> Component {
    Component::metric("logp", "unnormalised log-likelihood of the image, in nats")
        .source("Lin et al. 2020, Likelihood Landscapes, equations 1 and 2; Grathwohl et al. 2020 (arXiv:1912.03263)")
        .build(|ask| Ok(ask.program().emit(|g| g.give("col_logp", g.logp()))))
}
