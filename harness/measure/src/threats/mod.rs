//! Threat models: what an adversary may do to an image. One file and one row per norm; knows distances, projections and steepest
//! steps as formulas and as graphs, nothing of attacks.

mod hyperplane;
mod l1;
mod l2;
mod linf;

use flatscape_graph::{Expr, shown};
use flatscape_intake::number::number;

use flatscape_intake::refusal::{Refusal, nearest};

/// A way to measure perturbations, and what follows from it. Shapes: `x`, `x0`, `g` are [N, …] of one rank; `eps`, `lo`, `hi`
/// are scalars or broadcast against `x`.
pub struct Norm {
    /// What people write, e.g. `linf`.
    pub name: &'static str,
    /// One line of help.
    pub summary: &'static str,
    /// The largest plausible ε on [0,1] images; a larger one is probably a forgotten `/255`.
    pub largest: f64,
    /// ‖x − x0‖ of one sample, in double precision.
    pub distance: fn(x: &[f32], x0: &[f32]) -> f64,
    /// ‖x − x0‖ per sample as a graph: [N].
    pub distance_graph: for<'b> fn(x: Expr<'b>, x0: Expr<'b>) -> Expr<'b>,
    /// The point of ball ∩ box for `x`, as a graph: first into the ball, then into the box [lo, hi].
    pub project: for<'b> fn(x: Expr<'b>, ball: Ball<'b>) -> Expr<'b>,
    /// The direction of unit norm along which a step gains most, as a graph; 0 where `g` is 0.
    pub steepest: for<'b> fn(g: Expr<'b>) -> Expr<'b>,
    /// The nearest point of {v: w·v = b} within the box, as a graph, where the norm has a formula for it.
    pub hyperplane: Option<Nearest>,
}

/// From x, w (like x), b [N,1,…] and the faces of the box to a point like x.
pub type Nearest = for<'b> fn(x: Expr<'b>, w: Expr<'b>, b: Expr<'b>, bounds: (Expr<'b>, Expr<'b>)) -> Expr<'b>;

/// Where a perturbed image may be, as values of a graph.
#[derive(Clone, Copy, Debug)]
pub struct Ball<'b> {
    /// The clean images.
    pub x0: Expr<'b>,
    /// Radius.
    pub eps: Expr<'b>,
    /// Smallest pixel.
    pub lo: Expr<'b>,
    /// Largest pixel.
    pub hi: Expr<'b>,
}

/// The norms, in the order of the help.
pub const THREATS: &[Norm] = &[linf::NORM, l2::NORM, l1::NORM];

impl std::fmt::Debug for Norm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The norm of that name.
pub fn norm(name: &str) -> Option<&'static Norm> {
    THREATS.iter().find(|n| n.name == name)
}

/// A norm with its budget, e.g. `linf:8/255`.
#[derive(Clone, Debug)]
pub struct ThreatModel {
    /// How perturbations are measured.
    pub norm: &'static Norm,
    /// Radius in pixel units ([0,1] images).
    pub eps: f64,
    /// ε as it was written, e.g. `8/255`.
    pub spelling: String,
    /// Smallest pixel.
    pub lo: f32,
    /// Largest pixel.
    pub hi: f32,
}

impl ThreatModel {
    /// Reads `linf:8/255`, `l2:0.5`. With `large` a radius that exceeds the range of pixels is accepted.
    ///
    /// # Errors
    /// Usage errors: no such norm, no radius, a radius that is negative or not finite, or (`U090`) implausibly large.
    pub fn parse(text: &str, large: bool) -> Result<ThreatModel, Refusal> {
        let names = || THREATS.iter().map(|n| n.name);
        let example = "write NORM:EPS, for example linf:8/255 or l2:0.5";
        let (name, spelling) = text
            .split_once(':')
            .ok_or_else(|| Refusal::usage(89, format!("threat model {} has no radius", shown(text))).help(example))?;
        let norm = norm(name).ok_or_else(|| {
            let known = names().collect::<Vec<_>>().join(", ");
            let meant = nearest(name, names()).map_or(String::new(), |n| format!("; did you mean {n}?"));
            Refusal::usage(91, format!("no threat model is called {}", shown(name))).help(format!("there are {known}{meant}"))
        })?;
        let eps =
            number(spelling).map_err(|why| Refusal::usage(89, format!("the radius of {} {why}", shown(text))).help(example))?;
        if eps < 0.0 {
            return Err(Refusal::usage(89, format!("the radius of {text:?} is negative")).help(example));
        }
        if eps > norm.largest && !large {
            let why = format!("the radius {spelling} of {name} exceeds {}, but pixels lie in [0, 1]", norm.largest);
            let help = format!("did you mean {name}:{spelling}/255? if not, say --eps-is-large-on-purpose");
            return Err(Refusal::usage(90, why).help(help));
        }
        Ok(ThreatModel { norm, eps, spelling: spelling.to_owned(), lo: 0.0, hi: 1.0 })
    }

    /// As it is written, e.g. `linf:8/255`.
    pub fn text(&self) -> String {
        format!("{}:{}", self.norm.name, self.spelling)
    }

    /// The distance up to which a point counts as inside: ε(1 + 1e-5) + 1e-7, for float32 rounding.
    pub fn tolerated(&self) -> f64 {
        self.eps * (1.0 + 1e-5) + 1e-7
    }

    /// Whether a point of one sample is finite, in the box and in the ball around `x0`.
    pub fn admits(&self, x: &[f32], x0: &[f32]) -> bool {
        x.len() == x0.len()
            && x.iter().all(|v| v.is_finite() && (self.lo..=self.hi).contains(v))
            && (self.norm.distance)(x, x0) <= self.tolerated()
    }
}

/// All axes but the first.
fn sample_axes(x: Expr<'_>) -> Vec<i64> {
    (1..x.rank().unwrap_or(1) as i64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{assert_close, float, value_of};

    #[test]
    fn radii_are_read_as_people_write_them() {
        let threat = ThreatModel::parse("linf:8/255", false).expect("a threat model");
        assert_eq!((threat.norm.name, threat.eps, threat.text().as_str()), ("linf", 8.0 / 255.0, "linf:8/255"));
        assert_eq!(ThreatModel::parse("l2:0.5", false).expect("a threat model").eps, 0.5);
        assert_eq!(ThreatModel::parse("linf:0", false).expect("a threat model").eps, 0.0);
        assert_eq!(ThreatModel::parse("l1:12", false).expect("a threat model").eps, 12.0);
    }

    #[test]
    fn radii_that_cannot_be_meant_are_refused() {
        for bad in [
            "linf",
            "linf:",
            "linf:-1/255",
            "linf:nan",
            "linf:inf",
            "linf:1/0",
            "linf:x",
            "linf:8",
            "linff:0.1",
            "l0:20",
            "linf:8/255/2",
        ] {
            assert_eq!(ThreatModel::parse(bad, false).expect_err(bad).class.exit_code(), 2);
        }
        assert!(ThreatModel::parse("linf:8", true).is_ok());
        assert!(ThreatModel::parse("linff:0.1", false).expect_err("typo").help.expect("help").contains("did you mean linf?"));
    }

    #[test]
    fn a_point_is_inside_up_to_rounding() {
        let threat = ThreatModel::parse("linf:8/255", false).expect("a threat model");
        let x0 = [0.5f32, 0.0, 1.0];
        let eps = (8.0 / 255.0) as f32;
        assert!(threat.admits(&[0.5 + eps, 0.0, 1.0 - eps], &x0));
        assert!(!threat.admits(&[0.5 + eps + 1e-3, 0.0, 1.0], &x0), "outside the ball");
        assert!(!threat.admits(&[0.5, -1e-6, 1.0], &x0), "outside the box");
        assert!(!threat.admits(&[f32::NAN, 0.0, 1.0], &x0), "not finite");
        assert!(!threat.admits(&[0.5, 0.0], &x0), "another shape");
    }

    #[test]
    fn distances_are_the_norms() {
        let (x, x0) = ([1.0f32, 0.0, 0.0, 0.5], [0.0f32, 0.0, 1.0, 0.0]);
        let distance = |name: &str| (norm(name).expect("a norm").distance)(&x, &x0);
        assert_eq!((distance("linf"), distance("l2"), distance("l1")), (1.0, 1.5, 2.5));
    }

    fn projected(name: &str, delta: &[f32], eps: f64, lo: f64, hi: f64) -> Vec<f64> {
        let n = norm(name).expect("a norm");
        let x0 = float(&[2, delta.len()], &vec![0.25; 2 * delta.len()]);
        let x: Vec<f32> = delta.iter().chain(delta).map(|d| 0.25 + d).collect();
        let x = float(&[2, delta.len()], &x);
        let found = value_of(&[x, x0], |_, e| {
            let [eps, lo, hi] = [eps, lo, hi].map(|v| e[0].scalar(v));
            (n.project)(e[0], Ball { x0: e[1], eps, lo, hi })
        });
        let found = found.to_f64();
        assert_eq!(found[..delta.len()], found[delta.len()..], "the rows of a batch are alike");
        found[..delta.len()].iter().map(|v| v - 0.25).collect()
    }

    fn assert_projected(name: &str, delta: &[f32], eps: f64, (lo, hi): (f64, f64), expected: &[f64]) {
        let found = projected(name, delta, eps, lo, hi);
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{name} {delta:?}: {found:?} is not {expected:?}");
        }
    }

    #[test]
    fn projections_have_their_closed_forms() {
        let wide = (-100.0, 100.0);
        assert_projected("linf", &[3.0, -1.0, 0.5], 1.5, wide, &[1.5, -1.0, 0.5]);
        assert_projected("linf", &[0.3, -0.3, 0.1], 0.2, (0.0, 0.4), &[0.15, -0.2, 0.1]);
        assert_projected("l2", &[3.0, -4.0, 0.0], 2.5, wide, &[1.5, -2.0, 0.0]);
        assert_projected("l2", &[0.1, 0.1, 0.0], 2.5, wide, &[0.1, 0.1, 0.0]);
        assert_projected("l2", &[0.0, 0.0, 0.0], 0.0, wide, &[0.0, 0.0, 0.0]);
        assert_projected("l1", &[3.0, -1.0, 0.5], 2.0, wide, &[2.0, 0.0, 0.0]);
        assert_projected("l1", &[3.0, -2.0, 0.5], 2.0, wide, &[1.5, -0.5, 0.0]);
        assert_projected("l1", &[0.3, -0.2, 0.1], 2.0, wide, &[0.3, -0.2, 0.1]);
        assert_projected("l1", &[0.4, 0.3, 0.1], 0.35, (0.0, 0.35), &[0.1, 0.1, 0.1]);
        // The first coordinate is capped by the box at 0.1, so the second keeps what it would otherwise lose.
        assert_projected("l1", &[0.4, -0.2, 0.0], 0.2, (0.0, 0.35), &[0.1, -0.1, 0.0]);
    }

    #[test]
    fn steepest_steps_have_unit_norm_and_gain_the_dual_norm() {
        let g = [3.0f32, -4.0, 0.0, 1e-20, 3e-20, -4e-20, 0.0, 0.0, 0.0];
        for norm in THREATS {
            let found = value_of(&[float(&[3, 3], &g)], |_, e| (norm.steepest)(e[0])).to_f64();
            let step = |row: usize| found[3 * row..3 * row + 3].iter().map(|&v| v as f32).collect::<Vec<f32>>();
            let length = |row: usize| (norm.distance)(&step(row), &[0.0; 3]);
            let expected = match norm.name {
                "linf" => [1.0, -1.0, 0.0],
                "l2" => [0.6, -0.8, 0.0],
                _ => [0.0, -1.0, 0.0],
            };
            for (a, b) in step(0).iter().zip(expected) {
                assert!((f64::from(*a) - b).abs() < 1e-6, "{}: {found:?}", norm.name);
            }
            assert!((length(1) - 1.0).abs() < 1e-5, "{}: small gradients keep their direction, {found:?}", norm.name);
            assert_eq!(step(2), [0.0; 3], "{}: no gradient, no step", norm.name);
        }
    }

    #[test]
    fn distances_agree_with_their_graphs() {
        let (x, x0) = ([0.9f32, 0.0, 0.3, 0.2, 0.2, 0.2], [0.0f32, 0.1, 0.3, 0.2, 0.2, 0.2]);
        for norm in THREATS {
            let found = value_of(&[float(&[2, 1, 3], &x), float(&[2, 1, 3], &x0)], |_, e| (norm.distance_graph)(e[0], e[1]));
            assert_eq!(found.shape(), [2]);
            assert_close(&found, &[(norm.distance)(&x[..3], &x0[..3]), 0.0], 1e-6);
        }
    }
}
