//! Data augmentation with adversarial examples, one per image, with its label: made once against the model that training starts
//! from, as the paper describes, or for every batch against the current one, as its code does.

use flatscape_sdk::{Component, Data, Param};

use super::formulas::cross_entropy;

pub(crate) fn component() -> Component {
    Component::trainer("static-augmentation", "cross-entropy of the images and of one adversarial example of each")
        .source("Xu, Yap, Prabhu 2019, Understanding Adversarial Robustness Through Loss Landscape Geometries, section 3")
        .param(Param::choice(
            "made",
            &["once", "online"],
            "when the examples are made: before the first step, or for every batch",
        ))
        .build(|ask| {
            let data = if ask.text("made") == "online" { Data::AdversarialOnline } else { Data::AdversarialOnce };
            let program = ask.program().attack("pgd:steps=10").data(data);
            Ok(program.cost(|g| g.give("cost", cross_entropy(g, g.logits()))))
        })
}
