//! Auto-PGD: momentum steps whose length begins at 2ε and is halved at checkpoints where the loss rises too seldom; the attack then
//! goes on from its best point. Three rows: cross-entropy, difference of logits ratios, and one class after the other.

use flatscape_sdk::{Ask, Component, DType, Error, Expr, Names, Param, Program};

use super::formulas::{one_hot, per_sample, row, runners_up, scheduled, unit};
use super::{apgd_l1, objectives};

const SOURCE: &str =
    "Croce and Hein 2020 (arXiv:2003.01690), algorithm 1; in l1 Croce and Hein 2021 (arXiv:2103.01208), algorithm 1";

/// How many of the last steps are looked at: the first checkpoint, how much later windows are shorter, and the shortest window, as
/// shares of all steps.
const WINDOWS: [f64; 3] = [0.22, 0.03, 0.06];

pub(crate) fn ce() -> Component {
    component("apgd-ce", "Auto-PGD on cross-entropy: the length of its steps needs no tuning", &[])
}

pub(crate) fn dlr() -> Component {
    component("apgd-dlr", "Auto-PGD on the difference of logits ratios, which no scaling of the logits changes", &[])
}

pub(crate) fn targeted() -> Component {
    let targets = Param::int("targets", 9, "how many classes it goes towards, most likely ones first").range(1.0, 1000.0);
    let loss = Param::choice("loss", &["dlr", "margin", "ce"], "DLR towards the class t, z_t − z_y, or z_t − LSE(z)");
    component("apgd-t", "Auto-PGD towards one class after the other", &[targets, loss])
}

fn component(id: &'static str, summary: &str, more: &[Param]) -> Component {
    let restarts = Param::int("restarts", 1, "how many starts, for every class where there are several").range(1.0, 1000.0);
    let own = [
        Param::int("steps", 100, "how many steps").range(2.0, 100_000.0),
        restarts,
        Param::float("rho", "0.75", "the share of steps that must raise the loss, or steps become shorter").range(0.0, 1.0),
        Param::flag("multi-eps", true, "in l1, search balls of 3 eps and 2 eps first"),
        Param::flag(
            "compat",
            false,
            "count as the reference implementation does: at most rho for less than rho, from a loss of 0; in l1 pixels rounded up",
        ),
    ];
    let component = Component::attack(id, summary).source(SOURCE).free();
    let component = own.into_iter().chain(more.iter().cloned()).fold(component, Component::param);
    component.build(move |ask| build(ask, id))
}

fn build(ask: &Ask, id: &str) -> Result<Program, Error> {
    let targets = match id {
        "apgd-t" if !ask.task.targeted => ask.int("targets").min(ask.task.classes as i64 - 1).max(1),
        _ => 1,
    };
    if id == "apgd-t" && ask.task.classes < 2 {
        return Err(Error::unsupported("the model has one class, so a targeted attack has no target"));
    }
    let restarts = ask.int("restarts");
    let program = objective(ask, id).restarts(targets * restarts);
    let aimed = |g: &Names| {
        if id == "apgd-t" && !ask.task.targeted {
            // the class of rank r + 2 at the image in restart r
            let ranks = runners_up(g, g.logits0(), targets as usize);
            g.give("state_rival", ranks.gather(g.restart() / restarts as f64, 1).cast(DType::F32));
        }
    };
    match ask.task.norm.as_str() {
        "linf" | "l2" => Ok(steps(ask, program, aimed)),
        "l1" => Ok(apgd_l1::steps(ask, program, aimed)),
        other => Err(Error::unsupported(format!("the threat model is {other}; it serves linf, l2, l1"))),
    }
}

/// What is ascended. Where there are too few classes for a ratio of logits, it is the margin, and the user is told.
fn objective(ask: &Ask, id: &str) -> Program {
    let (program, towards) = (ask.program(), id == "apgd-t" || ask.task.targeted);
    let loss = if id == "apgd-t" { ask.text("loss") } else { id.trim_start_matches("apgd-") };
    let (classes, least) = (ask.task.classes, if towards { 4 } else { 3 });
    if loss == "dlr" && classes < least {
        ask.warn(format!("{classes} classes are too few for DLR, which compares {least} logits; {id} takes the margin instead"));
    }
    match (if classes < least && loss == "dlr" { "margin" } else { loss }, towards) {
        ("ce", true) if !ask.task.targeted => {
            program.objective(|g| g.give("loss", -g.function("CrossEntropy", &[g.logits(), class(g)])))
        }
        ("ce", _) => program,
        ("dlr", false) => program.objective(|g| g.give("loss", g.function("Dlr", &[g.logits(), g.y()]))),
        ("dlr", true) => program.objective(|g| g.give("loss", g.function("DlrTargeted", &[g.logits(), g.y(), class(g)]))),
        (_, false) => objectives::margin(program, ask),
        (_, true) => program.objective(|g| g.give("loss", ahead(g))),
    }
}

/// The class to go towards.
fn class<'b>(g: &Names<'b>) -> Expr<'b> {
    if g.task().targeted { g.target() } else { g.state("rival", &[]).cast(DType::I64) }
}

/// z_t − z_y
fn ahead<'b>(g: &Names<'b>) -> Expr<'b> {
    (g.logits() * (one_hot(g, class(g)) - one_hot(g, g.y()))).sum(&[1], false)
}

/// The step k that ends a window, and the length of the window; 0 elsewhere.
fn windows(steps: i64) -> Vec<f64> {
    let [first, shorter, shortest] = WINDOWS.map(|share| ((share * steps as f64) as i64).max(1));
    let (mut table, mut end, mut window) = (vec![0.0; steps as usize], first, first);
    while end < steps {
        table[end as usize] = window as f64;
        window = (window - shorter).max(shortest);
        end += window;
    }
    table
}

/// Steps in linf and l2.
fn steps(ask: &Ask, program: Program, aimed: impl Fn(&Names)) -> Program {
    let (steps, pixels, compat) = (ask.int("steps"), [ask.task.pixels()], ask.flag("compat"));
    let windows = windows(steps);
    let carried: Vec<f64> = (0..steps).map(|k| if k == 0 { 1.0 } else { 0.75 }).collect();
    let init = program.init(|g| {
        // a random point of the sphere
        let noise = if ask.task.norm == "l2" { unit(g.noise_normal()) } else { largest_one(g.noise_uniform()) };
        let x = g.function("Project", &[g.x0() + noise * g.eps()]);
        g.give("x", x);
        g.give("state_before", x);
        g.give("state_length", per_sample(g, 0.0) + g.eps() * 2.0);
        Best::init(g);
        for (name, value) in [("loss", f64::from(f32::MAX)), ("checked", 0.0), ("halved", 1.0)] {
            g.give(&format!("state_{name}"), per_sample(g, value));
        }
        g.give("state_rises", per_sample(g, 0.0));
        aimed(g);
    });
    init.step(|g| {
        let (x, loss, best) = (g.x(), g.loss().unsqueeze(&[1]), Best::so_far(g, None));
        let rises = g.state("rises", &[1]) + loss.greater(g.state("loss", &[1])).cast(DType::F32);
        // at a checkpoint: η ← η/2 and x ← x_best where the loss rose in few steps of the window, or the last checkpoint changed
        // nothing and f_max has not risen since
        let window = scheduled(g, &windows);
        let due = window.greater(0.0);
        let enough = window * g.arg("rho");
        let few = if compat { rises.at_most(enough) } else { rises.less(enough) };
        let stuck = g.state("halved", &[1]).less(0.5).and(best.loss.at_most(g.state("checked", &[1])));
        let halve = due.and(few.or(stuck));
        let eta = g.state("length", &[1]) * halve.select(0.5, per_sample(g, 1.0));
        let (from, gradient) = (halve.select(best.point, x), halve.select(best.gradient, g.ascent()));
        // z = Π(x + η·u(∇f))        x' = Π(x + a(z − x) + (1 − a)(x − x_{k−1}))
        let z = g.function("Project", &[from + g.function("Steepest", &[gradient]) * eta]);
        let a = scheduled(g, &carried);
        let next = from + (z - from) * a + (from - g.state("before", &pixels)) * (-a + 1.0);
        g.give("x_next", g.function("Project", &[next]));
        g.give("state_before_next", from);
        g.give("state_length_next", eta);
        // the reference compares the first loss of a run with 0
        let first = g.k().equal(0.0);
        g.give("state_loss_next", if compat { first.select(0.0, loss) } else { loss });
        g.give("state_rises_next", due.select(0.0, rises));
        g.give("state_checked_next", due.select(best.loss, g.state("checked", &[1])));
        g.give("state_halved_next", due.select(halve.cast(DType::F32), g.state("halved", &[1])));
    })
    .steps(steps)
}

/// t/max |t|
fn largest_one(t: Expr<'_>) -> Expr<'_> {
    t / t.abs().reduce("ReduceMax", &[1], true)
}

/// The point of the highest loss, its gradient and its loss.
pub(super) struct Best<'b> {
    pub point: Expr<'b>,
    pub gradient: Expr<'b>,
    pub loss: Expr<'b>,
}

impl<'b> Best<'b> {
    /// No point yet.
    pub fn init(g: &Names<'b>) {
        g.give("state_best", row(g, g.task().pixels()));
        g.give("state_best_gradient", row(g, g.task().pixels()));
        g.give("state_best_loss", per_sample(g, f64::from(f32::MIN)));
    }

    /// With the current one; where `anew` holds, the current one whatever its loss. The next step knows it.
    pub fn so_far(g: &Names<'b>, anew: Option<Expr<'b>>) -> Best<'b> {
        let (pixels, loss) = ([g.task().pixels()], g.loss().unsqueeze(&[1]));
        let higher = loss.greater(g.state("best_loss", &[1]));
        let higher = anew.map_or(higher, |anew| higher.or(anew));
        let best = Best {
            point: higher.select(g.x(), g.state("best", &pixels)),
            gradient: higher.select(g.ascent(), g.state("best_gradient", &pixels)),
            loss: higher.select(loss, g.state("best_loss", &[1])),
        };
        g.give("state_best_next", best.point);
        g.give("state_best_gradient_next", best.gradient);
        g.give("state_best_loss_next", best.loss);
        best
    }
}

#[cfg(test)]
mod tests {
    use super::windows;

    /// The checkpoints of the paper, ⌈p_j·N⌉ with p = 0.22, 0.41, 0.57, …
    #[test]
    fn checkpoints_are_those_of_the_paper() {
        let ends = |steps| {
            let ends = windows(steps).into_iter().enumerate().filter(|(_, window)| *window > 0.0);
            ends.map(|(step, _)| step).collect::<Vec<usize>>()
        };
        assert_eq!(ends(100), [22, 41, 57, 70, 80, 87, 93, 99]);
        assert_eq!(ends(10), [2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(ends(20)[..4], [4, 7, 9, 10]);
    }
}
