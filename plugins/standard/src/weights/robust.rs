//! Flatness of the robust loss in the weights: how much the loss at adversarial images rises where weights are perturbed in relative
//! balls, on average or in the worst case. Source: Stutz, Hein, Schiele 2021 (arXiv:2104.04448), section 3 and the released code.

use flatscape_sdk::{Ask, Component, Error, Law, Param, Role, Segment, Weights};

use super::{estimated, moved, narrow, norm, wide};

/// Length of a step of the joint ascent in units of the weights' norm, and its steps.
const STEP: f64 = 0.01;
const EPOCHS: u32 = 20;
/// The paper's step length of the attack in units of its radius: 0.007/0.0314.
const ALPHA: f64 = 0.007 / 0.0314;

pub(crate) fn component() -> Component {
    Component::metric(
        "robust-flatness",
        "rise of the robust loss where the weights are perturbed, on average or in the worst case",
    )
    .source("Stutz, Hein, Schiele 2021, Relating Adversarially Robust Generalization to Flat Minima, section 3")
    .param(Param::choice("case", &["average", "worst"], "random perturbations of the weights, or those found by ascent"))
    .param(Param::float("xi", "auto", "size of a perturbation in units of every weight's norm; 0.5 on average, 0.003 at worst"))
    .param(Param::int("draws", 10, "perturbations").range(1.0, 1000.0))
    .param(Param::flag("clean", false, "the loss at the images instead of at adversarial ones"))
    .param(Param::int("steps", 20, "steps of the attack at every perturbed model").range(1.0, 1000.0))
    .param(Param::float("alpha", "auto", "length of a step of the attack, in pixel units; 0.22 of the radius"))
    // no graphs: this checks the threat model before anything runs
    .build(|ask| radius(ask).map(|_| ask.program()))
    .weights(measure)
}

/// What is asked for.
struct Flatness<'a, 'w> {
    weights: &'a Weights<'w>,
    xi: f64,
    eps: f64,
    alpha: f64,
    steps: u32,
    /// Per part of θ that is perturbed its range and its norm: kernels and biases, each a tensor of its own.
    parts: Vec<(std::ops::Range<usize>, f64)>,
}

/// The radius of the attack; 0 where the loss is that at the images.
fn radius(ask: &Ask) -> Result<f64, Error> {
    if ask.flag("clean") {
        return Ok(0.0);
    }
    if ask.task.norm != "linf" || ask.task.eps <= 0.0 {
        let what = "the robust loss is that of a ball of linf with a radius; clean=true asks for the loss at the images";
        return Err(Error::unsupported(what));
    }
    Ok(ask.task.eps)
}

fn measure(ask: &Ask, weights: &Weights<'_>) -> Result<(), Error> {
    let worst = ask.text("case") == "worst";
    let xi = ask.maybe_float("xi").unwrap_or(if worst { 0.003 } else { 0.5 });
    let eps = radius(ask)?;
    let parts = parts(&weights.segments(), weights.theta());
    if parts.is_empty() || xi <= 0.0 {
        return Err(Error::invalid("there is nothing to perturb: xi is 0, or all weights are"));
    }
    let steps = u32::try_from(ask.int("steps")).map_err(|_| Error::invalid("steps must be positive"))?;
    let alpha = ask.maybe_float("alpha").unwrap_or(ALPHA * eps);
    let flatness = Flatness { weights, xi, eps, alpha, steps, parts };
    let base = flatness.robust(weights.theta())?;
    let draws = u32::try_from(ask.int("draws")).map_err(|_| Error::invalid("draws must be positive"))?;
    let mut rises = Vec::new();
    for draw in 0..draws {
        let nu = if worst { flatness.ascended(draw)? } else { flatness.drawn(draw, false)? };
        rises.push(flatness.robust(&moved(weights.theta(), &[(1.0, &nu)]))? - base);
    }
    let word = if ask.flag("clean") { "clean" } else { "robust" };
    weights.value(&format!("{word}_loss"), base, None, weights.samples())?;
    if worst {
        let most = rises.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        return weights.value(&format!("{word}_flatness_worst"), most, None, rises.len());
    }
    let (mean, _, interval) = estimated(&rises);
    weights.value(&format!("{word}_flatness_average"), mean, interval, rises.len())
}

fn parts(segments: &[Segment], theta: &[f32]) -> Vec<(std::ops::Range<usize>, f64)> {
    let own = |s: &Segment| (s.range.clone(), norm(&wide(&theta[s.range.clone()])));
    let perturbed = segments.iter().filter(|s| matches!(s.role, Role::Kernel | Role::Bias));
    perturbed.map(own).filter(|(_, length)| *length > 0.0).collect()
}

impl Flatness<'_, '_> {
    /// The mean loss at adversarial images that are made for these weights.
    fn robust(&self, theta: &[f32]) -> Result<f64, Error> {
        self.weights.attack(theta, self.eps, self.alpha, self.steps, false)?;
        Ok(self.weights.loss(theta)?.0)
    }

    /// Uniform on the spheres of radius ξ‖w_ℓ‖, or with a uniform norm inside of them.
    fn drawn(&self, draw: u32, inside: bool) -> Result<Vec<f64>, Error> {
        let mut nu = vec![0.0; self.weights.parameters()];
        let normal = wide(&self.weights.noise(Law::Normal, 0, draw)?);
        let uniform = wide(&self.weights.noise(Law::Uniform, 1, draw)?);
        for (range, length) in &self.parts {
            let share = if inside { (uniform[range.start] + 1.0) / 2.0 } else { 1.0 };
            let factor = share * self.xi * length / norm(&normal[range.clone()]).max(f64::MIN_POSITIVE);
            range.clone().for_each(|at| nu[at] = factor * normal[at]);
        }
        Ok(nu)
    }

    /// Ascent on the images and on the weights together, one step of each in turn, from inside of the balls.
    fn ascended(&self, draw: u32) -> Result<Vec<f64>, Error> {
        let theta = self.weights.theta();
        let mut nu = self.drawn(draw, true)?;
        for epoch in 0..EPOCHS {
            let at = moved(theta, &[(1.0, &nu)]);
            self.weights.attack(&at, self.eps, self.alpha, 1, epoch > 0)?;
            let gradient = wide(&self.weights.gradient(&at)?.1);
            for (range, length) in &self.parts {
                let slope = norm(&gradient[range.clone()]);
                if slope > 0.0 {
                    range.clone().for_each(|i| nu[i] += STEP * length * gradient[i] / slope);
                }
                let own = norm(&nu[range.clone()]);
                let most = self.xi * length;
                if own > most {
                    range.clone().for_each(|i| nu[i] *= most / own);
                }
            }
        }
        // what is added is what the loss is asked about
        Ok(wide(&narrow(&nu)))
    }
}
