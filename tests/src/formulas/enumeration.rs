//! Attacks on ReLU nets of two pixels, whose nearest adversarial example is found by going through every pattern of active units: in
//! each the net is affine, and the points of a class are a polygon.

use flatscape_intake::random::Law;

use super::budget::drawn;
use super::toy::{Toy, boxed, linear};
use crate::provision::onnx_runtime;

type Point = [f64; 2];

/// z = W₂·relu(W₁x + b₁) + b₂ on images of two pixels.
struct Net {
    toy: Toy,
    first: (Vec<Vec<f64>>, Vec<f64>),
    second: (Vec<Vec<f64>>, Vec<f64>),
    /// Corners of the parts of the box in which the same units are active.
    parts: Vec<Vec<Point>>,
}

impl Net {
    /// Random weights; every unit changes its sign on a line through the box.
    fn new(name: &str, hidden: usize, classes: usize) -> Net {
        let single = |v: f64| f64::from(v as f32);
        let rows = |what: &str, count: usize, width: usize| -> Vec<Vec<f64>> {
            drawn(Law::Normal, &format!("{name} {what}"), count * width).chunks(width).map(<[f64]>::to_vec).collect()
        };
        let first = rows("first", hidden, 2);
        let through = drawn(Law::Uniform, &format!("{name} through"), hidden * 2);
        let bias =
            first.iter().zip(through.chunks(2)).map(|(w, p)| single(-w[0] * (0.5 + 0.4 * p[0]) - w[1] * (0.5 + 0.4 * p[1])));
        let first = (first.clone(), bias.collect::<Vec<f64>>());
        let second = (rows("second", classes, hidden), vec![0.0; classes]);
        let (one, two) = (first.clone(), second.clone());
        let toy = Toy::new([1, 1, 2], move |x| linear(linear(x, &one.0, &one.1).relu(), &two.0, &two.1));
        let mut parts = vec![vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]];
        for (w, b) in first.0.iter().zip(&first.1) {
            let halves = |part: &Vec<Point>| [1.0, -1.0].map(|side| cut(part, [side * w[0], side * w[1]], side * b));
            parts = parts.iter().flat_map(halves).filter(|part| part.len() > 2).collect();
        }
        Net { toy, first, second, parts }
    }

    /// The scores where the units of a part are active: gradients and constants.
    fn affine(&self, part: &[Point]) -> Vec<(Point, f64)> {
        let inner = [0, 1].map(|axis| part.iter().map(|p| p[axis]).sum::<f64>() / part.len() as f64);
        let units = || self.first.0.iter().zip(&self.first.1).enumerate();
        let active: Vec<usize> =
            units().filter(|(_, (w, b))| w[0] * inner[0] + w[1] * inner[1] + **b > 0.0).map(|(unit, _)| unit).collect();
        let score = |(row, bias): (&Vec<f64>, &f64)| {
            let sum = |of: &dyn Fn(usize) -> f64| active.iter().map(|&unit| row[unit] * of(unit)).sum::<f64>();
            ([sum(&|unit| self.first.0[unit][0]), sum(&|unit| self.first.0[unit][1])], bias + sum(&|unit| self.first.1[unit]))
        };
        self.second.0.iter().zip(&self.second.1).map(score).collect()
    }

    fn predicted(&self, x: &[f64]) -> i64 {
        let score = |class: usize| {
            let units = self.first.0.iter().zip(&self.first.1).map(|(w, b)| (w[0] * x[0] + w[1] * x[1] + b).max(0.0));
            self.second.0[class].iter().zip(units).map(|(v, unit)| v * unit).sum::<f64>() + self.second.1[class]
        };
        (0..self.second.0.len()).max_by(|&a, &b| score(a).total_cmp(&score(b))).expect("a class") as i64
    }

    /// The distance of the nearest point of the box at which another class has the score of `label`, or more.
    fn distance(&self, norm: &str, x: &[f64], label: usize) -> f64 {
        let mut least = f64::INFINITY;
        for part in &self.parts {
            let scores = self.affine(part);
            for rival in (0..scores.len()).filter(|&class| class != label) {
                let ((up, above), (down, below)) = (scores[rival], scores[label]);
                let there = cut(part, [up[0] - down[0], up[1] - down[1]], above - below);
                let edges = there.iter().zip(there.iter().cycle().skip(1));
                least = edges.map(|(a, b)| to_edge(norm, [x[0], x[1]], *a, *b)).fold(least, f64::min);
            }
        }
        least
    }
}

/// The part of a convex polygon where w·x + b is at least 0.
fn cut(polygon: &[Point], w: Point, b: f64) -> Vec<Point> {
    let side = |p: &Point| w[0] * p[0] + w[1] * p[1] + b;
    let mut kept = Vec::with_capacity(polygon.len() + 1);
    for (p, q) in polygon.iter().zip(polygon.iter().cycle().skip(1)) {
        let (here, there) = (side(p), side(q));
        if here >= 0.0 {
            kept.push(*p);
        }
        if here * there < 0.0 {
            let share = here / (here - there);
            kept.push([0, 1].map(|axis| p[axis] + share * (q[axis] - p[axis])));
        }
    }
    kept
}

/// The distance of x from a segment: in linf and l1 it is piecewise linear along it, in l2 the foot of the perpendicular counts.
fn to_edge(norm: &str, x: Point, a: Point, b: Point) -> f64 {
    let (from, along) = ([a[0] - x[0], a[1] - x[1]], [b[0] - a[0], b[1] - a[1]]);
    let shares = match norm {
        "linf" => [(from[1] - from[0]) / (along[0] - along[1]), -(from[0] + from[1]) / (along[0] + along[1])],
        "l1" => [-from[0] / along[0], -from[1] / along[1]],
        _ => [-(from[0] * along[0] + from[1] * along[1]) / (along[0].powi(2) + along[1].powi(2)), 0.0],
    };
    let length = |share: f64| {
        let d = [0, 1].map(|axis| (from[axis] + share * along[axis]).abs());
        match norm {
            "linf" => d[0].max(d[1]),
            "l1" => d[0] + d[1],
            _ => d[0].hypot(d[1]),
        }
    };
    let inner = shares.into_iter().filter(|share| share.is_finite()).map(|share| share.clamp(0.0, 1.0));
    inner.chain([0.0, 1.0]).map(length).fold(f64::INFINITY, f64::min)
}

const IMAGES: usize = 250;

/// A net with images, their labels, and the distances of their nearest adversarial examples.
struct Case {
    net: Net,
    images: Vec<Vec<f64>>,
    labels: Vec<i64>,
    exact: Vec<f64>,
}

fn cases(norm: &str) -> Vec<Case> {
    [("a", 6, 2), ("b", 12, 3), ("c", 12, 4)]
        .into_iter()
        .map(|(name, hidden, classes)| {
            let net = Net::new(name, hidden, classes);
            let images: Vec<Vec<f64>> = drawn(Law::Uniform, &format!("{name} images"), IMAGES * 2)
                .chunks(2)
                .map(|p| p.iter().map(|v| f64::from((0.5 + 0.5 * v) as f32)).collect())
                .collect();
            let labels: Vec<i64> = images.iter().map(|x| net.predicted(x)).collect();
            let exact = images.iter().zip(&labels).map(|(x, &label)| net.distance(norm, x, label as usize)).collect();
            Case { net, images, labels, exact }
        })
        .collect()
}

#[test]
fn attacks_in_a_ball_find_what_enumeration_finds_on_relu_nets() {
    for norm in ["linf", "l2", "l1"] {
        for Case { net, images, labels, exact } in cases(norm) {
            let mut sorted: Vec<f64> = exact.clone();
            sorted.sort_by(f64::total_cmp);
            let eps = sorted[IMAGES / 2];
            let threat = boxed(&format!("{norm}:{eps}"));
            let batch = net.toy.batch(&images, &labels);
            let clear: Vec<usize> = (0..IMAGES).filter(|&i| (exact[i] - eps).abs() > 1e-5).collect();
            let mut union = vec![false; IMAGES];
            for written in ["pgd:steps=60,restarts=10,loss=margin", "apgd-t:restarts=5", "fab-t:restarts=3"] {
                let found = net.toy.distances(&*onnx_runtime(), written, &threat, &batch);
                let broken = |image: usize| found[image] <= threat.tolerated();
                let too_many = clear.iter().filter(|&&image| broken(image) && exact[image] > eps).count();
                let missed = clear.iter().filter(|&&image| !broken(image) && exact[image] < eps).count();
                assert_eq!(too_many, 0, "{written} in {norm}: nearer than the nearest");
                assert!(missed <= clear.len() / 20, "{written} in {norm}: {missed} of {} missed", clear.len());
                (0..IMAGES).for_each(|image| union[image] |= broken(image));
            }
            let missed = clear.iter().filter(|&&image| !union[image] && exact[image] < eps).count();
            assert!(missed <= clear.len() / 100, "all in {norm}: {missed} of {} missed", clear.len());
        }
    }
}

#[test]
fn the_nearest_examples_of_relu_nets_are_those_of_enumeration() {
    for norm in ["linf", "l2", "l1"] {
        for Case { net, images, labels, exact } in cases(norm) {
            let batch = net.toy.batch(&images, &labels);
            for written in ["fab-t:restarts=3", "fmn:steps=300"] {
                let found = net.toy.distances(&*onnx_runtime(), written, &boxed(&format!("{norm}:0.1")), &batch);
                let far: Vec<usize> = (0..IMAGES).filter(|&image| exact[image] > 0.01 && exact[image].is_finite()).collect();
                let mut ratios: Vec<f64> = far.iter().map(|&image| found[image] / exact[image]).collect();
                ratios.sort_by(f64::total_cmp);
                let exact_ones = ratios.iter().filter(|ratio| **ratio < 1.01).count() as f64 / ratios.len() as f64;
                println!(
                    "{norm} {written} n={} least {} median {} exact {exact_ones}",
                    ratios.len(),
                    ratios[0],
                    ratios[ratios.len() / 2]
                );
                assert!(ratios[0] > 1.0 - 1e-4, "{written} in {norm}: nearer than the nearest, {}", ratios[0]);
                assert!(ratios[ratios.len() / 2] < 1.01, "{written} in {norm}: {ratios:?}");
            }
        }
    }
}
