//! AMSReg: cross-entropy plus half the squared norm of the Jacobian whose rows are weighted by the probabilities, a surrogate of the
//! mass score. The probabilities may pull the regulariser down by flattening themselves: their Σp² is logged beside it.

use flatscape_sdk::{Ask, Component, Error, Param, Program};

use super::formulas::{cross_entropy, square, weight};
use super::projections::{self, Projections};

pub(crate) fn component() -> Component {
    Component::trainer("amsreg", "cross-entropy plus mu/2 times the squared norm of diag(p)·J, a bound of the mass score")
        .source(
            "Lin et al. 2020, Likelihood Landscapes, section 3.4 and equations 23 to 28, with the factor C; means over the batch",
        )
        .param(weight("mu", "1", "weight of the regulariser; it multiplies half the norm, in pixel units"))
        .param(projections::param())
        .param(Param::flag("p-grad", true, "differentiate the probabilities, too; false takes them as constants"))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let projections = Projections::asked(ask)?;
    let attached = ask.flag("p-grad");
    Ok(ask
        .program()
        .cotangent(|g| {
            // v∘p: (v∘p)ᵀJ = vᵀ·diag(p)·J
            let p = g.logits().softmax(1);
            let p = if attached { p } else { g.function("Detach", &[p]) };
            g.give("ct", projections.scaled(projections.vectors(g), p));
        })
        .cost(|g| {
            // CE + μ/2·‖diag(p)J‖²
            let (ce, norm) = (cross_entropy(g, g.logits()), projections.norm(g));
            g.give("cost", ce + norm * g.arg("mu") * 0.5);
            g.give("log_ce", ce);
            g.give("log_amsreg", norm);
            g.give("log_p_square", square(g.logits().softmax(1)));
        }))
}
