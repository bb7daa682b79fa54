//! Auto-PGD in l1: sparse steps. How many pixels a step changes follows from how many the best point has changed, and balls of 3ε
//! and 2ε are searched before that of ε.

use flatscape_sdk::{Ask, Attributes, DType, Expr, Names, Program};

use super::apgd::Best;
use super::formulas::{per_sample, scheduled};

/// Radii in ε, and their shares of the steps.
const RADII: [(f64, f64); 3] = [(3.0, 0.3), (2.0, 0.3), (1.0, 0.4)];
/// The share of the pixels that the first steps change where nothing is known of the point.
const FIRST_SHARE: f64 = 0.2;
/// A window, as a share of the steps of a ball.
const WINDOW: f64 = 0.04;
/// A step is sparser than the best point by this factor.
const SPARSER: f64 = 1.5;
/// The best point has become sparser if it has at most this share of the changed pixels that it had.
const SPARSE: f64 = 0.95;
/// Otherwise steps become shorter by this factor, down to a tenth of the radius.
const SHORTER: f64 = 1.5;

/// What every step does: the radius in ε; whether it is the first of a ball, the last of a window, or goes from one ball to the
/// best point in the next.
#[derive(Default)]
struct Plan {
    radius: Vec<f64>,
    begins: Vec<f64>,
    ends: Vec<f64>,
    leaves: Vec<f64>,
}

impl Plan {
    fn new(steps: i64, radii: &[(f64, f64)]) -> Plan {
        let mut plan = Plan::default();
        let mut left = steps;
        for (place, &(radius, share)) in radii.iter().enumerate() {
            let last = place + 1 == radii.len();
            let own = if last { left } else { ((share * steps as f64).ceil() as i64).min(left) };
            let window = ((WINDOW * own as f64) as i64).max(1);
            for step in 0..own {
                plan.push(radius, step == 0 && radii.len() > 1, step > 0 && step % window == 0, false);
            }
            if let Some((next, _)) = radii.get(place + 1) {
                plan.push(*next, false, false, true);
            }
            left -= own;
        }
        plan
    }

    fn push(&mut self, radius: f64, begins: bool, ends: bool, leaves: bool) {
        self.radius.push(radius);
        for (table, holds) in [(&mut self.begins, begins), (&mut self.ends, ends), (&mut self.leaves, leaves)] {
            table.push(f64::from(holds));
        }
    }
}

pub(super) fn steps(ask: &Ask, program: Program, aimed: impl Fn(&Names)) -> Program {
    let radii = if ask.flag("multi-eps") { &RADII[..] } else { &RADII[2..] };
    let plan = Plan::new(ask.int("steps"), radii);
    let pixels = ask.task.pixels() as f64;
    let program = program.init(|g| {
        g.give("x", g.function("Project", &[g.x0() + g.noise_normal(), g.eps() * radii[0].0]));
        g.give("state_length", per_sample(g, 0.0) + g.eps());
        g.give("state_share", per_sample(g, FIRST_SHARE));
        g.give("state_changed", per_sample(g, pixels));
        Best::init(g);
        aimed(g);
    });
    let count = plan.radius.len() as i64;
    let compat = ask.flag("compat");
    program.step(|g| step(g, &plan, pixels, compat)).steps(count)
}

fn step(g: &Names, plan: &Plan, pixels: f64, compat: bool) {
    let holds = |table: &[f64]| scheduled(g, table).greater(0.0);
    let (begins, ends, leaves) = (holds(&plan.begins), holds(&plan.ends), holds(&plan.leaves));
    let radius = g.eps() * scheduled(g, &plan.radius);
    let best = Best::so_far(g, Some(begins));
    // a window ends: the pixels that the best point has changed decide over length and sparsity of the steps
    let changed = (best.point - g.x0()).abs().greater(0.0).cast(DType::F32).sum(&[1], true);
    let sparser = ends.and((changed / g.state("changed", &[1])).less(SPARSE));
    let (looked, whole) = (begins.or(ends), begins.or(sparser));
    let length = whole.select(radius, ends.select(g.state("length", &[1]) / SHORTER, g.state("length", &[1])));
    let length = length.max(radius * 0.1).min(radius);
    let share = looked.select(changed / (pixels * SPARSER), g.state("share", &[1]));
    // x' = Π(x + η·s/‖s‖₁)        s = sign(∇f) on the largest |∇f|
    let (from, gradient) = (sparser.select(best.point, g.x()), sparser.select(best.gradient, g.ascent()));
    let signs = gradient.abs().at_least(threshold(gradient, share, pixels, compat)).select(gradient.sign(), gradient * 0.0);
    let moved = from + signs / (signs.abs().sum(&[1], true) + 1e-10) * length;
    g.give("x_next", g.function("Project", &[leaves.select(best.point, moved), radius]));
    g.give("state_length_next", length);
    g.give("state_share_next", share);
    g.give("state_changed_next", looked.select(changed, g.state("changed", &[1])));
}

/// The entry of |g| that this share of the entries reaches, \[N,1\]: rounded down, one at least. The reference rounds up, so that two
/// changed pixels stay two.
fn threshold<'b>(g: Expr<'b>, share: Expr<'b>, pixels: f64, compat: bool) -> Expr<'b> {
    let b = g.builder();
    let sorted = b.ops("TopK", &[g.abs(), b.ints(&[pixels as i64])], 2, [("axis", 1.into())])[0];
    let last = match compat {
        true => -((-share + 1.0) * pixels).floor() + (pixels - 1.0),
        // float32 must not make two thirds of three pixels less than two
        false => (share * pixels + 1e-3).floor() - 1.0,
    };
    let place = last.max(0.0).min(pixels - 1.0).cast(DType::I64);
    b.op("GatherElements", &[sorted, place], Attributes::none().with("axis", 1))
}
