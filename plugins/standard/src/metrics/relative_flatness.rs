//! Relative flatness of the last layer z = Wφ + b, in closed form: the trace of the Hessian of cross-entropy in W, weighted by W. Three
//! definitions are in use and each has its name. Beside them what they are made of, and bounds on the growth of the loss; on request
//! the same of features that are divided by how much they vary over the data.

use flatscape_sdk::{Ask, Component, DType, Error, Expr, Names, Param, Program, Reduction};

use super::formulas::{one_hot, others, square};

/// The largest |third central moment| of a variable of range 1, divided by 3!: √3/108.
const THIRD: f64 = 0.016_037_507_477_489_605;

pub(crate) fn component() -> Component {
    Component::metric("relative-flatness", "relative flatness of the last layer in its three definitions; lower is flatter")
        .source(
            "rel_petzka: Petzka et al. 2021 (arXiv:2001.00939), definition 3; rel_s2: Walter et al. 2025 (arXiv:2510.14231); \
             rel_uncanny: the code of Walter et al. 2024 (arXiv:2405.16918)",
        )
        .param(Param::flag("augment", false, "take the bias as a weight of a feature that is 1"))
        .param(Param::flag("uncanny", false, "give the form of the code of Walter et al. 2024, whose norm is not squared, too"))
        .param(Param::flag("bounds", false, "give bounds on the growth of the loss from the clean image to the point"))
        .param(Param::choice(
            "normalise-features",
            &["none", "std", "variance"],
            "give both of features divided by their standard deviation or their variance over the data, too; not along paths",
        ))
        .build(build)
        .reduce(normalised)
}

/// The last layer at a point, in double precision.
struct Layer<'b> {
    /// φ, \[N,F\]
    features: Expr<'b>,
    /// W, \[classes,F\]
    weight: Expr<'b>,
    /// softmax(Wφ + b), \[N,classes\]
    p: Expr<'b>,
}

impl<'b> Layer<'b> {
    fn new(g: &Names<'b>, augment: bool, features: Expr<'b>, logits: Expr<'b>) -> Layer<'b> {
        let double = |v: Expr<'b>| v.cast(DType::F64);
        let (features, weight, p) = (double(features), double(g.head_weight()), double(logits).softmax(1));
        if !augment {
            return Layer { features, weight, p };
        }
        let ones = features.slice(&[0], &[1], &[1], &[1]) * 0.0 + 1.0;
        let features = g.builder().concat(&[features, ones], 1);
        Layer { features, weight: g.builder().concat(&[weight, double(g.head_bias()).unsqueeze(&[1])], 1), p }
    }

    /// Σ_s p_s·Σ_{t≠s} p_t = Σ p(1 − p), without cancellation; \[N\]
    fn spread(&self, g: &Names<'b>) -> Expr<'b> {
        (self.p * others(g, self.p)).sum(&[1], false)
    }

    /// ½·Σ_{s,t} p_s·p_t·‖w_s − w_t‖², the variance of a row of W drawn by p; \[N\]
    fn variance(&self) -> Expr<'b> {
        let norms = (self.weight * self.weight).sum(&[1], true);
        let apart = norms + norms.transpose(&[1, 0]) - self.weight.matmul(self.weight.transpose(&[1, 0])) * 2.0;
        (self.p * self.p.matmul(apart.max(0.0))).sum(&[1], false) * 0.5
    }

    /// The largest distance of two rows of W, a scalar.
    fn widest(&self) -> Expr<'b> {
        let norms = (self.weight * self.weight).sum(&[1], true);
        let apart = norms + norms.transpose(&[1, 0]) - self.weight.matmul(self.weight.transpose(&[1, 0])) * 2.0;
        apart.max(0.0).reduce("ReduceMax", &[0, 1], false).sqrt()
    }
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let (augment, uncanny, bounds) = (ask.flag("augment"), ask.flag("uncanny"), ask.flag("bounds"));
    Ok(ask.program().emit(|g| {
        let layer = Layer::new(g, augment, g.features(), g.logits());
        let (spread, features) = (layer.spread(g), square(layer.features));
        let whole = (layer.weight * layer.weight).sum(&[0, 1], false);
        // Tr ∇²_W CE = ‖φ‖²·Σ p(1 − p)
        let trace = features * spread;
        g.give("col_rel_petzka", features * layer.variance());
        g.give("col_rel_s2", whole * trace);
        if uncanny {
            g.give("col_rel_uncanny", whole.sqrt() * trace);
        }
        g.give("col_head_trace", trace);
        g.give("col_feature_norm", features.sqrt());
        g.give("col_uncertainty", spread);
        if bounds {
            growth(g, augment);
        }
        if ask.text("normalise-features") != "none" {
            g.give("vec_features", g.features());
            g.give("vec_probabilities", g.logits().cast(DType::F64).softmax(1));
        }
    }))
}

/// How much cross-entropy grows from the clean image to the point, and three bounds on it that hold for every point. With u = W·Δφ,
/// t ↦ LSE(z + tu) has the mean, the variance and the third central moment of u under the softmax at t as its derivatives. Beside them
/// the bound as Walter et al. 2025 publish it, which is none (see [`published`]).
fn growth<'b>(g: &Names<'b>, augment: bool) {
    let clean = Layer::new(g, augment, g.features_clean(), g.logits_clean());
    let here = Layer::new(g, augment, g.features(), g.logits());
    let label = one_hot(g, g.y()).cast(DType::F64);
    let step = here.features - clean.features;
    let u = step.matmul(clean.weight.transpose(&[1, 0]));
    // p − e_y, whose entry at the label is minus the sum of the others
    let residual = clean.p * (-label + 1.0) - label * others(g, clean.p);
    let slope = (residual * u).sum(&[1], false);
    let mean = (clean.p * u).sum(&[1], true);
    let variance = (clean.p * (u - mean) * (u - mean)).sum(&[1], false);
    let range = u.reduce("ReduceMax", &[1], false) - u.reduce("ReduceMin", &[1], false);
    let loss = |logits: Expr<'b>| -(logits.cast(DType::F64).log_softmax(1) * label).sum(&[1], false);
    g.give("col_loss_increase", loss(g.logits()) - loss(g.logits_clean()));
    g.give("col_bound_variance", slope + variance * 0.5 + range * range * range * THIRD);
    g.give("col_bound_range", slope + range * range * 0.125);
    // ‖Wᵀ(p − e_y)‖·‖Δφ‖ + ½‖Δφ‖²·rel_petzka/‖φ‖² + √3/108·‖Δφ‖³·D_W³
    let far = square(step).sqrt();
    let pull = square(residual.matmul(clean.weight)).sqrt();
    let cubic = far * clean.widest();
    let flatness = far * far * clean.variance() * 0.5;
    g.give("col_bound_flatness", pull * far + flatness + cubic * cubic * cubic * THIRD);
    g.give("col_bound_s2", published(g, &clean, far));
}

/// δ²L²κ/(2r²) + δ³·k·m·L⁶/(24r³): k classes, m features, κ = `rel_s2` and r = ‖φ‖ at the image, δ the distance of the point in pixels and
/// L the Lipschitz constant of φ. L is at least ‖Δφ‖/δ, and with that the bound is the least that it can be. To be drawn beside the others,
/// not to be relied upon: it has no term of first order, which vanishes at a minimum of the mean loss and not for a single image, and its
/// cubic term changes where W and φ are scaled against each other.
fn published<'b>(g: &Names<'b>, clean: &Layer<'b>, far: Expr<'b>) -> Expr<'b> {
    let moved = (g.x0() - g.x_clean()).cast(DType::F64);
    let delta = square(moved).sqrt();
    let features = square(clean.features);
    let whole = (clean.weight * clean.weight).sum(&[0, 1], false);
    let kappa = whole * features * clean.spread(g);
    let width = (clean.weight * 0.0 + 1.0).sum(&[0, 1], false);
    // (δL)² = ‖Δφ‖², and δ³L⁶ = ‖Δφ‖⁶/δ³
    let square_part = far * far * kappa / (features * 2.0);
    let ratio = far * far / (delta * features.sqrt());
    let cubic_part = width * ratio * ratio * ratio / 24.0;
    far.greater(0.0).select(square_part + cubic_part, far * 0.0)
}

/// `rel_petzka` and `rel_s2` of features φ/σ and weights W∘σ, which answer the same: σ the standard deviation (or the variance) of every
/// feature over the data. A feature that never varies stays as it is.
fn normalised(ask: &Ask, rows: &Reduction) -> Result<(), Error> {
    let by = ask.text("normalise-features");
    if by == "none" {
        return Ok(());
    }
    let head = rows.head().ok_or_else(|| Error::failed("the host gives no last layer"))?;
    let (features, probabilities) = (rows.vector("features")?, rows.vector("probabilities")?);
    let (n, m) = (rows.samples() as f64, features.width);
    let every = || (0..rows.samples()).map(|i| features.row(i));
    let mean: Vec<f64> = (0..m).map(|j| every().map(|f| f[j]).sum::<f64>() / n).collect();
    let variance = |j: usize| every().map(|f| (f[j] - mean[j]).powi(2)).sum::<f64>() / n;
    let variances: Vec<f64> = (0..m).map(variance).collect();
    let constant = variances.iter().filter(|v| **v <= 0.0).count();
    let by = |v: &f64| {
        if *v <= 0.0 {
            1.0
        } else if by == "std" {
            v.sqrt()
        } else {
            *v
        }
    };
    let mut scales: Vec<f64> = variances.iter().map(by).collect();
    let mut weights: Vec<Vec<f64>> = head.weight.chunks(m).map(|row| row.iter().map(|&w| f64::from(w)).collect()).collect();
    if ask.flag("augment") {
        // the bias is the weight of a feature that never varies
        scales.push(1.0);
        weights.iter_mut().zip(head.bias).for_each(|(row, &b)| row.push(f64::from(b)));
    }
    weights.iter_mut().for_each(|row| row.iter_mut().zip(&scales).for_each(|(w, s)| *w *= s));
    let apart = |s: usize, t: usize| weights[s].iter().zip(&weights[t]).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 2.0;
    let classes = weights.len();
    let apart: Vec<f64> = (0..classes * classes).map(|k| apart(k / classes, k % classes)).collect();
    let (mut petzka, mut s2) = (Vec::new(), Vec::new());
    let whole: f64 = weights.iter().flatten().map(|w| w * w).sum();
    for i in 0..rows.samples() {
        let last = ask.flag("augment").then_some(1.0);
        let size: f64 = features.row(i).iter().copied().chain(last).zip(&scales).map(|(f, s)| (f / s).powi(2)).sum();
        let p = probabilities.row(i);
        let pairs = (0..classes * classes).filter(|k| k / classes != k % classes);
        let (mut variance, mut spread) = (0.0, 0.0);
        pairs.for_each(|k| {
            let both = p[k / classes] * p[k % classes];
            spread += both;
            variance += both * apart[k];
        });
        petzka.push(size * variance);
        s2.push(whole * size * spread);
    }
    rows.give("rel_constant_features", constant as f64, rows.samples())?;
    rows.give_column("rel_petzka_normalised", &petzka)?;
    rows.give_column("rel_s2_normalised", &s2)
}
