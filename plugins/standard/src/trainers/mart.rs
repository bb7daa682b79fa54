//! MART: misclassified images weigh more. Boosted cross-entropy at the adversarial point, and the divergence between the predictions
//! there and at the image, weighted by how unsure the model is of the image.

use flatscape_sdk::{Ask, Component, Error, Program};

use super::formulas::{at_label, bn_attack, cross_entropy, statistics, weight};
use super::trades;

pub(crate) fn component() -> Component {
    Component::trainer("mart", "boosted cross-entropy at x_adv plus beta times a KL that weighs misclassified images more")
        .source("Wang et al. 2020, Improving Adversarial Robustness Requires Revisiting Misclassified Examples, equation 11")
        .param(weight("beta", "5", "weight of the divergence (λ in the paper)"))
        .param(bn_attack(&["eval", "train"]))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let program = ask.program().attack(&trades::attack(ask)).bn_attack(statistics(ask));
    Ok(program.cost(|g| {
        let (p, log_p, q) = (g.logits().softmax(1), g.logits().log_softmax(1), g.logits_adv().softmax(1));
        let label = at_label(g);
        // BCE = CE(f(x'), y) − ln(1.0001 − max_{k≠y} q_k + 1e-12)
        let rival = label.select(0.0, q).reduce("ReduceMax", &[1], false);
        let boosted = cross_entropy(g, g.logits_adv()) - (-rival + (1.0001 + 1e-12)).log();
        // (1.0000001 − p_y)·Σ p·(ln p − ln(q + 1e-12)); 1 − p_y as the sum of the others
        let others = label.select(0.0, p).sum(&[1], false) + 1e-7;
        let kl = (p * (log_p - (q + 1e-12).log())).sum(&[1], false) * others;
        g.give("cost", boosted + kl * g.arg("beta"));
        g.give("log_bce", boosted);
        g.give("log_kl", kl);
    }))
}
