//! Attacks in a ball, where the best point is known on paper: affine models, whose exact robust accuracy they must reproduce.

use flatscape_intake::random::{Law, Place, fill};
use flatscape_measure::attack::Batch;
use flatscape_measure::threats::ThreatModel;

use super::toy::{LAST, Toy, boxed, close, linear, point, threat};
use crate::provision::{onnx_runtime, tract};

/// Numbers of a law, by a name.
pub fn drawn(law: Law, name: &str, count: usize) -> Vec<f64> {
    let mut values = vec![0f32; count];
    fill(law, Place::new(3, "affine", name), &mut values);
    values.into_iter().map(f64::from).collect()
}

/// z = Wx + b with random weights, and images whose labels are the predictions.
pub struct Affine {
    pub toy: Toy,
    pub weights: Vec<Vec<f64>>,
    pub bias: Vec<f64>,
    pub images: Vec<Vec<f64>>,
    pub labels: Vec<i64>,
}

impl Affine {
    /// Images of D pixels, each uniform on 0.5 ± `spread`; at grey all classes have the same score.
    pub fn new([classes, pixels, count]: [usize; 3], spread: f64) -> Affine {
        // what float32 holds is what is computed with
        let single = |v: f64| f64::from(v as f32);
        let weights: Vec<Vec<f64>> =
            drawn(Law::Normal, "weights", classes * pixels).chunks(pixels).map(<[f64]>::to_vec).collect();
        let grey: Vec<f64> = weights.iter().map(|row| -0.5 * row.iter().sum::<f64>()).collect();
        let bias: Vec<f64> = grey.iter().map(|&b| single(b)).collect();
        let images: Vec<Vec<f64>> = drawn(Law::Uniform, "images", count * pixels)
            .chunks(pixels)
            .map(|row| row.iter().map(|v| single(0.5 + spread * v)).collect())
            .collect();
        let (w, b) = (weights.clone(), bias.clone());
        let toy = Toy::new([1, 1, pixels], move |x| linear(x, &w, &b));
        let mut all = Affine { toy, weights, bias, images, labels: Vec::new() };
        all.labels = all.images.iter().map(|x| all.predicted(x)).collect();
        all
    }

    fn score(&self, class: usize, x: &[f64]) -> f64 {
        self.weights[class].iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + self.bias[class]
    }

    fn predicted(&self, x: &[f64]) -> i64 {
        let best = (0..self.weights.len()).max_by(|&a, &b| self.score(a, x).total_cmp(&self.score(b, x)));
        best.expect("a class") as i64
    }

    pub fn batch(&self) -> Batch {
        self.toy.batch(&self.images, &self.labels)
    }

    /// For every rival of an image: how far it is behind, and the gradient of the difference.
    pub fn rivals(&self, image: usize) -> Vec<(f64, Vec<f64>)> {
        let (x, label) = (&self.images[image], self.labels[image] as usize);
        let others = (0..self.weights.len()).filter(|&class| class != label);
        others
            .map(|class| {
                let gradient = self.weights[class].iter().zip(&self.weights[label]).map(|(a, b)| a - b).collect();
                (self.score(label, x) - self.score(class, x), gradient)
            })
            .collect()
    }

    /// The distance to the nearest boundary where there is no box.
    pub fn distance(&self, norm: &str, image: usize) -> f64 {
        let dual = |w: &[f64]| match norm {
            "linf" => w.iter().map(|v| v.abs()).sum(),
            "l2" => w.iter().map(|v| v * v).sum::<f64>().sqrt(),
            _ => w.iter().fold(0.0, |m: f64, v| m.max(v.abs())),
        };
        self.rivals(image).iter().map(|(behind, w)| behind / dual(w)).fold(f64::INFINITY, f64::min)
    }

    /// Whether a point of the ball around an image, within the box, is an adversarial example.
    fn breakable(&self, norm: &str, image: usize, eps: f64) -> bool {
        let x = &self.images[image];
        self.rivals(image).iter().any(|(behind, w)| {
            let room: Vec<f64> = w.iter().zip(x).map(|(w, x)| if *w > 0.0 { 1.0 - x } else { *x }).collect();
            gain(norm, w, &room, eps) > *behind
        })
    }
}

/// max w·δ over ‖δ‖ ≤ ε where |δ_i| has at most its room
fn gain(norm: &str, w: &[f64], room: &[f64], eps: f64) -> f64 {
    let along = |moved: &dyn Fn(usize) -> f64| (0..w.len()).map(|i| w[i].abs() * moved(i)).sum::<f64>();
    match norm {
        "linf" => along(&|i| eps.min(room[i])),
        "l2" => {
            let moved = |level: f64, i: usize| (level * w[i].abs()).min(room[i]);
            let (mut low, mut high) = (0.0, 1e6);
            for _ in 0..200 {
                let middle = f64::midpoint(low, high);
                let length = (0..w.len()).map(|i| moved(middle, i).powi(2)).sum::<f64>().sqrt();
                if length < eps { low = middle } else { high = middle }
            }
            along(&|i| moved(low, i))
        }
        _ => {
            let mut order: Vec<usize> = (0..w.len()).collect();
            order.sort_by(|&a, &b| w[b].abs().total_cmp(&w[a].abs()));
            let mut left = eps;
            order.iter().fold(0.0, |sum, &i| {
                let spent = left.min(room[i]);
                left -= spent;
                sum + w[i].abs() * spent
            })
        }
    }
}

/// The radius that half of the images withstand.
fn median(affine: &Affine, norm: &str) -> f64 {
    let mut all: Vec<f64> = (0..affine.images.len()).map(|i| affine.distance(norm, i)).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// How often an attack and the truth differ on images that are not within `slack` of the sphere; and how many those are.
fn disagreements(
    affine: &Affine,
    written: &str,
    threat: &ThreatModel,
    truth: impl Fn(usize, f64) -> bool,
    slack: f64,
) -> [usize; 2] {
    let found = affine.toy.distances(&*onnx_runtime(), written, threat, &affine.batch());
    let eps = threat.eps;
    let clear = (0..found.len()).filter(|&i| truth(i, eps - slack) == truth(i, eps + slack));
    let (mut wrong, mut count) = (0, 0);
    for image in clear {
        count += 1;
        wrong += usize::from(found[image].is_finite() != truth(image, eps));
    }
    [wrong, count]
}

/// 2,000 images of an affine model: but for those within 1e-5 of the sphere, exactly those are broken that can be.
#[test]
fn the_robust_accuracy_of_affine_models_is_exact() {
    let [two, five] = [2, 5].map(|classes| Affine::new([classes, 12, 2000], 0.3));
    for norm in ["linf", "l2", "l1"] {
        for (affine, attacks) in [
            (&two, &["pgd:steps=60,alpha=EPS/2", "apgd-ce", "apgd-t", "fgsm", "bim", "mim"][..]),
            (&five, &["apgd-t", "apgd-t:loss=margin"][..]),
        ] {
            let eps = median(affine, norm);
            let threat = threat(&format!("{norm}:{eps}"));
            for attack in attacks {
                let written = attack.replace("EPS/2", &(eps / 2.0).to_string());
                let found = disagreements(affine, &written, &threat, |i, eps| affine.distance(norm, i) < eps, 1e-5);
                assert!(found[0] == 0 && found[1] > 1980, "{written} in {norm}: {found:?}");
            }
        }
    }
}

/// The same with images at the faces of the box: the projection decides. In l1 the steps of Auto-PGD do not see which pixels are at
/// a face, those of PGD do.
#[test]
fn the_box_does_not_weaken_the_attacks() {
    let affine = Affine::new([2, 12, 2000], 0.5);
    for (norm, written, slack) in [("linf", "apgd-ce", 1e-5), ("l2", "apgd-ce", 2e-3), ("l1", "pgd:steps=200,alpha=0.02", 0.02)] {
        let threat = boxed(&format!("{norm}:{}", median(&affine, norm) * 1.2));
        let found = disagreements(&affine, written, &threat, |i, eps| affine.breakable(norm, i, eps), slack);
        assert!(found[0] == 0 && found[1] > 1900, "{written} in {norm}: {found:?}");
    }
}

/// Estimates from pairs of points are exact up to noise on affine models, so that the attack finds what there is.
#[test]
fn estimated_gradients_lead_to_the_boundary() {
    let affine = Affine::new([2, 12, 200], 0.3);
    for (norm, law) in [("linf", "spsa"), ("linf", "nes"), ("l2", "spsa")] {
        let eps = median(&affine, norm);
        let written = format!("spsa:steps=60,pairs=24,law={law},lr={}", eps / 5.0);
        let threat = threat(&format!("{norm}:{eps}"));
        let found = disagreements(&affine, &written, &threat, |i, eps| affine.distance(norm, i) < eps, eps / 20.0);
        assert!(found[0] == 0 && found[1] > 100, "{written} in {norm}: {found:?}");
    }
}

/// P(broken by one draw) = Φ(−m/(ε‖w‖₂)) for corners, Φ(−√3·m/(ε‖w‖₂)) for uniform draws.
#[test]
fn noise_breaks_as_often_as_it_must() {
    let pixels = 400;
    let weights = drawn(Law::Normal, "noise", pixels);
    let length = weights.iter().map(|v| v * v).sum::<f64>().sqrt();
    let weights = vec![weights.iter().map(|v| v / length).collect::<Vec<f64>>(), vec![0.0; pixels]];
    // at grey the margin is ε‖w‖₂ = 0.1
    let bias = [0.1 - 0.5 * weights[0].iter().sum::<f64>(), 0.0];
    let (w, b) = (weights.clone(), bias);
    let toy = Toy::new([1, 20, 20], move |x| linear(x, &w, &b));
    let n = 4000;
    let batch = toy.batch(&vec![vec![0.5; pixels]; n], &vec![0; n]);
    for (law, expected) in [("edge", 0.1587), ("uniform", 0.0416)] {
        let found = toy.distances(&*onnx_runtime(), &format!("noise:draws=1,law={law}"), &boxed("linf:0.1"), &batch);
        let share = found.iter().filter(|d| d.is_finite()).count() as f64 / n as f64;
        close(law, &[share], &[expected], 4.0 * (expected * (1.0 - expected) / n as f64).sqrt());
    }
}

/// Squares of one pixel, and signs drawn one by one, find the corner that the weights point to; squares stay in the ball.
#[test]
fn random_searches_find_the_best_corner() {
    let affine = Affine::new([2, 9, 20], 0.2);
    let threat = boxed("linf:0.05");
    let batch = affine.batch();
    for written in ["square:queries=800,p=0.01", "random-search:queries=1500"] {
        let proposals = affine.toy.attack(&*tract(), written, &threat, &batch, LAST);
        let best = affine.toy.attack(&*tract(), "fgsm", &threat, &batch, LAST);
        // the last query is one square away from the best point
        for (found, corner) in proposals.iter().zip(&best) {
            let differ = point(found).iter().zip(point(corner)).filter(|(a, b)| (*a - b).abs() > 1e-6).count();
            assert!(differ <= 2, "{written}: {differ} pixels differ");
        }
    }
}

/// z_t − z_y is scaled with the logits: by a power of two, not one bit of any iterate changes.
#[test]
fn the_targeted_margin_does_not_see_the_scale_of_the_logits() {
    let (plain, scaled) = (Toy::curved(), Toy::curved());
    let scaled = Toy { graph: rescaled(&scaled.graph), ..scaled };
    let images: Vec<Vec<f64>> = (0..6).map(|k| (0..12).map(|i| 0.5 + 0.3 * f64::from(i * 5 + k * 11).sin()).collect()).collect();
    let batch = plain.batch(&images, &[0, 1, 2, 0, 1, 2]);
    for norm in ["linf:0.1", "l2:0.3"] {
        let [one, other] = [&plain, &scaled].map(|toy| {
            let proposals = toy.attack(&*tract(), "apgd-t:loss=margin,steps=40", &boxed(norm), &batch, LAST);
            proposals.iter().map(point).collect::<Vec<_>>()
        });
        assert_eq!(one, other, "{norm}");
    }
}

/// The same model with logits 1,024 times as large.
fn rescaled(graph: &flatscape_graph::Graph) -> flatscape_graph::Graph {
    let builder = flatscape_graph::Builder::new(graph.clone());
    let logits = builder.expr(graph.outputs()[0].value);
    builder.graph_mut().set_outputs(Vec::new());
    builder.output("logits", logits * 1024.0);
    builder.into_graph()
}

/// Without momentum MIM is BIM.
#[test]
fn mim_without_momentum_is_bim() {
    let toy = Toy::curved();
    let images: Vec<Vec<f64>> = (0..4).map(|k| (0..12).map(|i| 0.5 + 0.3 * f64::from(i * 5 + k * 11).sin()).collect()).collect();
    let batch = toy.batch(&images, &[0, 1, 2, 0]);
    for norm in ["linf:0.1", "l2:0.3"] {
        let [mim, bim] = ["mim:mu=0,alpha=0.02", "bim:alpha=0.02"].map(|written| {
            toy.attack(&*tract(), written, &boxed(norm), &batch, LAST).iter().flat_map(point).collect::<Vec<f64>>()
        });
        close(norm, &mim, &bim, 1e-5);
    }
}
