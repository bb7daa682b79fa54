//! Square: random search with squares, by the scores alone. A square of the perturbation is changed, and the change is kept where the
//! margin falls; the squares become smaller. In linf a square goes to faces of the ball, one colour each; l2 is in `square_l2`.

use flatscape_sdk::{Ask, Component, Error, Expr, Law, Names, Param, Program};

use super::formulas::{numbers, per_sample, row, scheduled};
use super::{objectives, square_l2};

/// The share of the pixels is halved after each of these queries.
const HALVED_AFTER: [i64; 9] = [10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000];

/// For how many queries the schedule was made.
const QUERIES: i64 = 10_000;

pub(crate) fn component() -> Component {
    Component::attack("square", "random search with squares, by the scores alone")
        .source("Andriushchenko et al. 2020 (arXiv:1912.00049), algorithms 1 to 3; schedule and defaults as in AutoAttack")
        .param(Param::int("queries", 5000, "how many squares are tried").range(1.0, 100_000.0))
        .param(Param::float("p", "0.8", "the share of the pixels in the first squares").range(1e-6, 1.0))
        .param(Param::flag("rescale", false, "stretch the schedule, which is one of 10,000 queries, to the number of queries"))
        .param(Param::int("restarts", 1, "how many starts").range(1.0, 1000.0))
        .param(Param::flag("compat", false, "as AutoAttack: one square for all images, and never in the last row or column"))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let queries = ask.int("queries");
    let area = |query: i64| {
        let query = if ask.flag("rescale") { query * QUERIES / queries } else { query };
        ask.float("p") / 2f64.powi(HALVED_AFTER.iter().filter(|after| query > **after).count() as i32)
    };
    let squares = Squares { areas: (0..queries).map(area).collect(), compat: ask.flag("compat") };
    let program = objectives::margin(ask.program(), ask);
    let program = match ask.task.norm.as_str() {
        "linf" => linf(program, &squares),
        "l2" => square_l2::steps(program, &squares),
        other => return Err(Error::unsupported(format!("the threat model is {other}; it serves linf, l2"))),
    };
    Ok(program.steps(queries).restarts(ask.int("restarts")))
}

fn linf(program: Program, squares: &Squares) -> Program {
    let init = program.init(|g| {
        // stripes: x0 + ε·σ[C,1,W]
        let [c, h, w] = g.task().shape;
        let stripes = g.noise(Law::Rademacher, "stripe", &[c * w]).reshape(&[-1, c as i64, 1, w as i64]);
        let every_row = numbers(g, &vec![1.0; h]).reshape(&[h as i64, 1]);
        g.give("x", g.x0() + (stripes * every_row).reshape(&[0, -1]) * g.eps());
        Best::init(g);
    });
    init.step(|g| {
        // x' = Π(x_best + 2ε·σ_c in the square)
        let [c, ..] = g.task().shape;
        let side = scheduled(g, &squares.sides(g, |side| side.max(1)));
        let colours = squares.draw(g, Law::Rademacher, "colour", c).unsqueeze(&[2, 3]);
        let square = squares.place(g, "corner", side);
        let change = square.mask().select(colours, colours.scalar(0.0)).reshape(&[0, -1]);
        g.give("x_next", Best::so_far(g) + change * (g.eps() * 2.0));
    })
}

/// What the squares of a run have in common.
pub(super) struct Squares {
    /// Their share of the pixels, for every query.
    areas: Vec<f64>,
    /// Whether all images have the same one, and where it may lie.
    pub compat: bool,
}

impl Squares {
    /// Their sides: the root of their area, as `admitted` changes it, within the image.
    pub fn sides(&self, g: &Names, admitted: fn(i64) -> i64) -> Vec<f64> {
        let [_, h, w] = g.task().shape;
        let side = |area: &f64| admitted((area * (h * w) as f64).sqrt().round_ties_even() as i64).min(h.min(w) as i64) as f64;
        self.areas.iter().map(side).collect()
    }

    /// Random numbers, \[N,width\], or \[1,width\] for all images.
    pub fn draw<'b>(&self, g: &Names<'b>, law: Law, stream: &str, width: usize) -> Expr<'b> {
        match self.compat {
            true => g.shared_noise(law, stream, &[width]).unsqueeze(&[0]),
            false => g.noise(law, stream, &[width]),
        }
    }

    /// A square at a random place.
    pub fn place<'b>(&self, g: &Names<'b>, stream: &str, side: Expr<'b>) -> Square<'b> {
        let [_, h, w] = g.task().shape;
        let corner = (self.draw(g, Law::Uniform, stream, 2) + 1.0) * 0.5;
        let along = |axis: i64, extent: usize, shape: &[i64]| {
            let last = -side + extent as f64;
            // AutoAttack's squares never touch the last row or column
            let places = if self.compat { last } else { last + 1.0 };
            let first = (corner.slice(&[axis], &[axis + 1], &[1], &[1]) * places).floor().min(last);
            let every: Vec<f64> = (0..extent).map(|place| place as f64).collect();
            numbers(g, &every).reshape(shape) - first.unsqueeze(&[2, 3])
        };
        Square { down: along(0, h, &[h as i64, 1]), right: along(1, w, &[w as i64]), side }
    }
}

/// A square of every image, or one for all: rows \[N,1,H,1\] and columns \[N,1,1,W\] of the pixels, counted from its corner.
pub(super) struct Square<'b> {
    pub down: Expr<'b>,
    pub right: Expr<'b>,
    pub side: Expr<'b>,
}

impl<'b> Square<'b> {
    /// Whether a pixel lies in it, bool \[N,1,H,W\].
    pub fn mask(&self) -> Expr<'b> {
        let [down, right] = [self.down, self.right].map(|place| place.at_least(0.0).and(place.less(self.side)));
        down.and(right)
    }
}

/// The point of the smallest margin, which is what the next square changes.
pub(super) struct Best;

impl Best {
    pub fn init(g: &Names) {
        g.give("state_best", row(g, g.task().pixels()));
        g.give("state_loss", per_sample(g, f64::from(f32::MIN)));
    }

    /// With the current point, \[N,D\].
    pub fn so_far<'b>(g: &Names<'b>) -> Expr<'b> {
        let (loss, before) = (g.loss().unsqueeze(&[1]), g.state("loss", &[1]));
        let better = loss.greater(before);
        let best = better.select(g.x(), g.state("best", &[g.task().pixels()]));
        g.give("state_best_next", best);
        g.give("state_loss_next", better.select(loss, before));
        best
    }
}
