//! C&W: the nearest adversarial example in l2. The image is the tanh of a free variable w, Adam minimises the squared distance plus
//! c times a hinge of the margin, and c is found by bisection.

use flatscape_sdk::{Ask, Component, Error, Expr, Names, Param, Program};

use super::adam;
use super::formulas::{boxed, per_sample, scheduled};

/// Keeps the free variable of a pixel at a face of the box finite.
const INNER: f64 = 0.999_999;
/// c has been too small so far.
const UNKNOWN: f64 = 1e10;

pub(crate) fn component() -> Component {
    Component::attack("cw", "Carlini and Wagner: Adam on distance and hinge, weighed by bisection")
        .source("Carlini and Wagner 2017 (arXiv:1608.04644), sections V and VI; without its early stop, which saves nothing in a batch")
        .param(Param::int("steps", 1000, "steps of Adam in every search").range(1.0, 10_000.0))
        .param(Param::int("searches", 9, "how often c is changed").range(1.0, 50.0))
        .param(Param::float("lr", "0.01", "learning rate of Adam").range(1e-9, 1e3))
        .param(Param::float("c", "0.001", "the first c").range(1e-9, 1e9))
        .param(Param::float("confidence", "0", "the margin that an adversarial example must have").range(0.0, 1e6))
        .minimal()
        .free()
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    if ask.task.norm != "l2" {
        return Err(Error::unsupported(format!("the threat model is {}; it serves l2", ask.task.norm)));
    }
    let (searches, inner, pixels) = (ask.int("searches"), ask.int("steps"), ask.task.pixels());
    let counts: Vec<i64> = (0..searches * inner).map(|k| k % inner + 1).collect();
    let ends: Vec<f64> = counts.iter().map(|&t| f64::from(t == inner)).collect();
    Ok(ask
        .program()
        // ℓ = −(‖x − x̂‖² + c·max(κ − f, 0))
        .objective(|g| {
            let away = g.x() - squashed(g, start(g));
            let hinge = (-ahead(g) + g.arg("confidence")).relu();
            g.give("loss", -((away * away).sum(&[1], false) + g.state("c", &[1]).squeeze(&[1]) * hinge));
        })
        .init(|g| {
            g.give("x", squashed(g, start(g)));
            g.give("state_w", start(g));
            adam::init(g, pixels);
            g.give("state_c", per_sample(g, ask.float("c")));
            for (name, value) in [("least", 0.0), ("most", UNKNOWN), ("hit", 0.0)] {
                g.give(&format!("state_{name}"), per_sample(g, value));
            }
        })
        .step(|g| {
            // w' = w + lr·Adam(∂ℓ/∂w)        x = lo + (hi − lo)(tanh w + 1)/2
            let w = g.state("w", &[pixels]);
            let t = w.tanh();
            let slope = (-(t * t) + 1.0) * ((g.hi() - g.lo()) * 0.5);
            let moved = w + adam::direction(g, g.grad() * slope, pixels, &counts) * g.arg("lr");
            let ends = scheduled(g, &ends).greater(0.0);
            let w = ends.select(start(g), moved);
            g.give("x_next", squashed(g, w));
            g.give("state_w_next", w);
            bisect(g, ends);
        })
        .steps(searches * inner))
}

/// max_{i≠y} z_i − z_y, or z_t − max_{i≠t} z_i
fn ahead<'b>(g: &Names<'b>) -> Expr<'b> {
    match g.task().targeted {
        true => -g.function("Margin", &[g.logits(), g.target()]),
        false => g.function("Margin", &[g.logits(), g.y()]),
    }
}

/// The w of the image: arctanh(u) = ln((1 + u)/(1 − u))/2, with the image a little inside of the box.
fn start<'b>(g: &Names<'b>) -> Expr<'b> {
    let u = ((g.x0() - g.lo()) * 2.0 / (g.hi() - g.lo()) - 1.0) * INNER;
    ((u + 1.0) / (-u + 1.0)).log() * 0.5
}

/// In the box also where an engine's tanh is beyond 1 by rounding.
fn squashed<'b>(g: &Names<'b>, w: Expr<'b>) -> Expr<'b> {
    boxed(g, (w.tanh() + 1.0) * 0.5 * (g.hi() - g.lo()) + g.lo())
}

/// At the end of a search c is halved towards the largest that failed if there was a success, else doubled or multiplied by ten.
fn bisect<'b>(g: &Names<'b>, ends: Expr<'b>) {
    let [c, least, most, hit] = ["c", "least", "most", "hit"].map(|name| g.state(name, &[1]));
    let hit = ahead(g).unsqueeze(&[1]).greater(g.arg("confidence")).select(1.0, hit);
    let found = hit.greater(0.0);
    let (new_least, new_most) = (found.select(least, least.max(c)), found.select(most.min(c), most));
    let middle = (new_least + new_most) * 0.5;
    let new_c = new_most.less(UNKNOWN / 10.0).select(middle, c * 10.0);
    g.give("state_c_next", ends.select(new_c, c));
    g.give("state_least_next", ends.select(new_least, least));
    g.give("state_most_next", ends.select(new_most, most));
    g.give("state_hit_next", ends.select(0.0, hit));
}
