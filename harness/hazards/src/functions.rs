//! Formulas over logits that attacks, metrics and gradient files share, as graphs. Knows logits [N, C] and labels, nothing of models.

use flatscape_graph::{Builder, Expr, Tensor};

/// LSE(z) = ln Σ exp z over the classes, computed as m + ln Σ exp(z − m): [N].
pub fn log_sum_exp(z: Expr<'_>) -> Expr<'_> {
    let m = z.reduce("ReduceMax", &[1], true);
    ((z - m).exp().sum(&[1], true).log() + m).squeeze(&[1])
}

/// One row per label with 1 at the label and 0 elsewhere: [N, C], in the element type of `like`. `classes` must be known.
pub fn one_hot<'b>(builder: &'b Builder, labels: Expr<'b>, classes: usize, like: Expr<'b>) -> Expr<'b> {
    let every: Vec<i64> = (0..classes as i64).collect();
    let every = builder.constant(Tensor::ints(&every)).unsqueeze(&[0]);
    labels.unsqueeze(&[1]).equal(every).cast(like.dtype())
}

/// Cross-entropy per sample, LSE(z) − z_y: [N], and its cotangent p − e_y: [N, C].
///
/// Component y of the cotangent is −Σ_{j≠y} p_j, never p_y − 1: in float32 the difference is exactly 0 once the label leads by
/// about 17, the sum survives to about 87, and a gradient that vanishes there would make confident models look robust.
pub fn cross_entropy<'b>(builder: &'b Builder, logits: Expr<'b>, labels: Expr<'b>) -> (Expr<'b>, Expr<'b>) {
    let Some(classes) = class_count(builder, logits) else {
        return (logits, logits);
    };
    let hot = one_hot(builder, labels, classes, logits);
    let loss = log_sum_exp(logits) - at_label(logits, hot);
    let others = logits.softmax(1) * (hot.scalar(1.0) - hot);
    let ct = others - hot * others.sum(&[1], true);
    (loss, ct)
}

/// How far the label is behind: max_{j≠y} z_j − z_y per sample, [N]. Positive exactly where the prediction is wrong.
pub fn margin<'b>(builder: &'b Builder, logits: Expr<'b>, labels: Expr<'b>) -> Expr<'b> {
    let Some(classes) = class_count(builder, logits) else {
        return logits;
    };
    let hot = one_hot(builder, labels, classes, logits);
    let least = logits.scalar(f64::from(f32::MIN));
    let rivals = hot.greater(0.0).select(least, logits).reduce("ReduceMax", &[1], false);
    rivals - at_label(logits, hot)
}

/// The direction of the gradient of cross-entropy at the logits, q − e_y with q the softmax over the classes other than y: [N, C].
/// Component y is −1 and the others sum to 1. It is the cotangent of [`cross_entropy`] divided by 1 − p_y, so it does not vanish
/// however confident the model is.
pub fn ascent<'b>(builder: &'b Builder, logits: Expr<'b>, labels: Expr<'b>) -> Expr<'b> {
    let Some(classes) = class_count(builder, logits) else {
        return logits;
    };
    let hot = one_hot(builder, labels, classes, logits);
    let least = logits.scalar(f64::from(f32::MIN));
    let others = hot.greater(0.0).select(least, logits).softmax(1);
    others * (hot.scalar(1.0) - hot) - hot
}

/// ln(1 − p_y) = LSE over the other classes − LSE: [N]. By it [`ascent`] falls short of the gradient of cross-entropy.
pub fn log_rest<'b>(builder: &'b Builder, logits: Expr<'b>, labels: Expr<'b>) -> Expr<'b> {
    let Some(classes) = class_count(builder, logits) else {
        return logits;
    };
    let hot = one_hot(builder, labels, classes, logits);
    let others = hot.greater(0.0).select(logits.scalar(f64::from(f32::MIN)), logits);
    log_sum_exp(others) - log_sum_exp(logits)
}

/// What keeps the denominator of [`dlr`] from 0.
const TINY: f64 = 1e-12;

/// Difference of logits ratio, −(z_y − max_{i≠y} z_i) / (z_π1 − z_π3), π sorting the logits downwards: [N]. It does not change
/// when the logits are shifted or scaled. Source: Croce and Hein 2020 (arXiv:2003.01690), equation 6.
pub fn dlr<'b>(builder: &'b Builder, logits: Expr<'b>, labels: Expr<'b>) -> Expr<'b> {
    let ahead = margin(builder, logits, labels);
    match largest(builder, logits, 3, "Dlr") {
        Some(sorted) => ahead / (nth(sorted, 0) - nth(sorted, 2) + TINY),
        None => ahead,
    }
}

/// The same towards a target t, −(z_y − z_t) / (z_π1 − (z_π3 + z_π4)/2): [N]. Equation 7 there.
pub fn dlr_targeted<'b>(builder: &'b Builder, logits: Expr<'b>, labels: Expr<'b>, targets: Expr<'b>) -> Expr<'b> {
    let (Some(classes), Some(sorted)) = (class_count(builder, logits), largest(builder, logits, 4, "DlrTargeted")) else {
        return margin(builder, logits, labels);
    };
    let at = |class| at_label(logits, one_hot(builder, class, classes, logits));
    (at(targets) - at(labels)) / (nth(sorted, 0) - (nth(sorted, 2) + nth(sorted, 3)) * 0.5 + TINY)
}

/// The largest logits, downwards: [N, count]. A problem of the graph where there are fewer classes.
fn largest<'b>(builder: &'b Builder, logits: Expr<'b>, count: usize, whose: &str) -> Option<Expr<'b>> {
    let classes = class_count(builder, logits)?;
    if classes < count {
        let what = format!("{whose} compares {count} logits, and the model has {classes} classes");
        builder.graph_mut().add_problem(what);
        return None;
    }
    Some(builder.ops("TopK", &[logits, builder.ints(&[count as i64])], 2, [("axis", 1.into())])[0])
}

fn nth(sorted: Expr<'_>, place: i64) -> Expr<'_> {
    sorted.slice(&[place], &[place + 1], &[1], &[1]).squeeze(&[1])
}

/// The logit where `hot` is 1. A selection, not a product: an infinite logit of another class must not turn into NaN.
fn at_label<'b>(logits: Expr<'b>, hot: Expr<'b>) -> Expr<'b> {
    let zero = logits.scalar(0.0);
    hot.greater(0.0).select(logits, zero).sum(&[1], false)
}

fn class_count(builder: &Builder, logits: Expr<'_>) -> Option<usize> {
    let count = match logits.dims().as_deref() {
        Some([_, classes]) => classes.fixed(),
        _ => None,
    };
    if count.is_none() {
        builder.graph_mut().add_problem("cross-entropy and margin need logits of shape [N,C] with a known C".to_owned());
    }
    count
}

#[cfg(test)]
mod tests {
    use flatscape_graph::Tensor;

    use super::*;
    use crate::trial::{assert_close, float, value_of};

    fn labels(y: &[i64]) -> Tensor {
        Tensor::ints(y)
    }

    #[test]
    fn log_sum_exp_has_its_closed_forms() {
        let z = float(&[3, 2], &[0.0, 3.0f32.ln(), 1000.0, 1000.0, -1000.0, -1000.0]);
        let half = std::f64::consts::LN_2;
        assert_close(&value_of(&[z], |_, x| log_sum_exp(x[0])), &[4.0f64.ln(), 1000.0 + half, -1000.0 + half], 1e-4);
    }

    #[test]
    fn cross_entropy_and_its_cotangent_have_their_closed_forms() {
        let z = float(&[1, 3], &[2.0, 1.0, 0.0]);
        let loss = value_of(&[z.clone(), labels(&[0])], |b, x| cross_entropy(b, x[0], x[1]).0);
        assert_close(&loss, &[0.40760596], 1e-6);
        let ct = value_of(&[z, labels(&[0])], |b, x| cross_entropy(b, x[0], x[1]).1);
        assert_close(&ct, &[0.66524096 - 1.0, 0.24472847, 0.09003057], 1e-6);
    }

    /// p_y − 1 would be 0 from a lead of 17 on.
    #[test]
    fn the_cotangent_survives_confidence() {
        for lead in [20.0f32, 40.0, 80.0] {
            let z = float(&[1, 3], &[lead, 0.0, 0.0]);
            let ct = value_of(&[z, labels(&[0])], |b, x| cross_entropy(b, x[0], x[1]).1).to_f64();
            let p = (-f64::from(lead)).exp();
            for (found, expected) in ct.iter().zip([-2.0 * p, p, p]) {
                assert!((found / expected - 1.0).abs() < 1e-4, "lead {lead}: {ct:?}");
            }
        }
    }

    /// q − e_y is (p − e_y)/(1 − p_y), also where 1 − p_y is 0 in float32.
    #[test]
    fn the_ascent_has_its_closed_form_at_any_confidence() {
        let z = float(&[3, 3], &[2.0, 1.0, 0.0, 2002.0, 1.0, 0.0, 0.0, 1.0, 300.0]);
        let (q1, q2) = (1.0 / (1.0 + (-1f64).exp()), 1.0 / (1.0 + 1f64.exp()));
        let found = value_of(&[z, labels(&[0, 0, 0])], |b, x| ascent(b, x[0], x[1]));
        assert_close(&found, &[-1.0, q1, q2, -1.0, q1, q2, -1.0, 0.0, 1.0], 1e-6);
    }

    /// At a lead of 2000 the probability of the rest is e^-1999 (1 + e^-1), which float32 does not have.
    #[test]
    fn the_rest_has_its_logarithm_at_any_confidence() {
        let z = float(&[2, 3], &[2.0, 1.0, 0.0, 2002.0, 3.0, 2.0]);
        let rest = (1f64.exp() + 1.0).ln() - (2f64.exp() + 1f64.exp() + 1.0).ln();
        let found = value_of(&[z, labels(&[0, 0])], |b, x| log_rest(b, x[0], x[1]));
        assert_close(&found, &[rest, -1999.0 + (1.0 + (-1f64).exp()).ln()], 2e-4);
    }

    #[test]
    fn difference_of_logits_ratios_have_their_closed_forms() {
        let z = [3.0f32, 1.0, 0.0, -1.0, 2.0];
        for (scale, shift) in [(1.0, 0.0), (5.0, 7.0)] {
            let row: Vec<f32> = z.iter().map(|v| scale * v + shift).collect();
            let rows = float(&[2, 5], &[row.clone(), row].concat());
            let found = value_of(&[rows.clone(), labels(&[0, 4])], |b, x| dlr(b, x[0], x[1]));
            assert_close(&found, &[-0.5, 0.5], 1e-6);
            let found = value_of(&[rows, labels(&[0, 0]), labels(&[1, 4])], |b, x| dlr_targeted(b, x[0], x[1], x[2]));
            assert_close(&found, &[-0.8, -0.4], 1e-6);
        }
    }

    #[test]
    fn the_margin_is_positive_exactly_where_the_prediction_is_wrong() {
        let z = float(&[3, 3], &[2.0, 1.0, 0.0, 2.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
        assert_close(&value_of(&[z, labels(&[0, 1, 1])], |b, x| margin(b, x[0], x[1])), &[-1.0, 1.0, 0.0], 0.0);
    }
}
