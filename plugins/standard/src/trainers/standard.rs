//! Standard training: the mean cross-entropy of the images.

use flatscape_sdk::Component;

use super::formulas::cross_entropy;

pub(crate) fn component() -> Component {
    Component::trainer("standard", "cross-entropy of the images")
        .source("Goodfellow, Bengio, Courville 2016, Deep Learning, section 6.2")
        .build(|ask| Ok(ask.program().cost(|g| g.give("cost", cross_entropy(g, g.logits())))))
}
