//! Where canaries are planted: points inside of a ball, one on its surface, and the last layer that tells that one from the others.

use flatscape_graph::{Graph, Tensor};
use flatscape_intake::random::{Law, Place, fill};
use ndarray::{Array1, Array2, ArrayView1, Axis};

use super::{CANARIES, Canary, Ground, Planted, Planting, classes};
use crate::attack::{AttackError, host};
use crate::link::{Link, Point};
use crate::stage::{Stage, StageError, Values};
use crate::threats::ThreatModel;

/// Points inside of the ball, the image among them.
const INNER: usize = 256;
/// Their ball, as a share of the radius.
const SHARE: f64 = 0.95;
/// Random points that must not find the canary: half of them corners of the box of the ball where it has corners.
const DRAWS: usize = 200;
/// How far the threshold lies on the way from the inner points to the planted one.
const CLOSENESS: f64 = 0.999;
/// Where the model draws at random, the threshold lies at least so many standard deviations before the planted point, which would be of
/// its class in half of the draws otherwise.
const DEVIATIONS: f64 = 2.0;
/// The ridge, as a share of the mean variance of a feature.
const RIDGE: f64 = 1e-3;

/// Plants a canary near each of the first images. `edited` is the model with an open last layer on `width` features.
pub(super) fn planted(ground: &Ground, edited: &Graph, width: usize) -> Result<Planting, AttackError> {
    let threat = &ground.threat.on(ground.model.shape);
    let count = ground.dataset.len().min(CANARIES);
    let ids: Vec<u64> = (0..count as u64).collect();
    let x0 = ground.dataset.gather(&ids).x;
    let wrong = |name: &str| AttackError::from(StageError::Result { name: name.to_owned() });
    let clean = x0.to_vec::<f32>().ok_or_else(|| wrong("x0"))?;
    let features =
        Stage::compile(ground.engine, &Link::of(ground.graph(), threat).forward(Point::Fed, &["logits", "features"])?)?;
    let pixels = clean.len() / count.max(1);
    let (mut weights, mut offsets, mut lows) = (Vec::new(), Vec::new(), Vec::new());
    let (mut planted, mut known) = (Vec::new(), Vec::new());
    for (&id, origin) in ids.iter().zip(clean.chunks(pixels.max(1))) {
        ground.go_on()?;
        let points = points(threat, origin, ground.settings.seed, id);
        let (features, spread, drawn) = seen(ground, &features, &points, width)?;
        let layer = Layer::of(&features, spread, &drawn);
        let (canary, layer) = match layer {
            Some(layer) if easy(&layer, &features) => (Canary::Easy, layer),
            Some(layer) => (Canary::Missed, layer),
            None => (Canary::Unplanted, Layer { weight: Array1::zeros(width), offset: 0.0, low: 0.0 }),
        };
        weights.extend(layer.weight.iter().map(|&v| v as f32));
        offsets.push(layer.offset as f32);
        lows.push(layer.low as f32);
        known.push(canary);
        planted.extend_from_slice(&points[INNER]);
    }
    let layers = [(weights, width), (offsets, 1), (lows, 1)]
        .map(|(data, width)| Tensor::new(&[count, width], data).ok_or_else(|| wrong("canary")));
    let [weight, offset, low] = layers;
    let layers = [weight?, offset?, low?];
    // in float32 and in a session of its own the image must be of class 0, and the planted point of class 1
    let forward = Stage::compile(ground.engine, &Link::of(edited, threat).forward(Point::Fed, &["logits"])?)?;
    let every: Vec<usize> = (0..count).collect();
    let before = classes(ground, &forward, &layers, &every, clean)?;
    let after = classes(ground, &forward, &layers, &every, planted)?;
    for (known, pair) in known.iter_mut().zip(before.into_iter().zip(after)) {
        if *known == Canary::Missed && pair != (Some(0), Some(1)) {
            *known = Canary::Unplanted;
        }
    }
    Ok(Ok(Planted { ids, x0, layers, known }))
}

/// The features of points, [n,F], the mean over draws where the model draws at random, and the range of the model's own scores over the
/// first ones and the planted one; and the features of the planted one in every draw.
fn seen(
    ground: &Ground,
    stage: &Stage,
    points: &[Vec<f32>],
    width: usize,
) -> Result<(Array2<f64>, f64, Array2<f64>), AttackError> {
    let [c, h, w] = ground.model.shape;
    let wrong = |name: &str| AttackError::from(StageError::Result { name: name.to_owned() });
    let (mut all, mut least, mut largest) = (Vec::with_capacity(points.len() * width), f64::INFINITY, f64::NEG_INFINITY);
    let (mut told, mut planted) = (0, Vec::new());
    for part in points.chunks(ground.settings.batch_size.max(1)) {
        ground.go_on()?;
        let data: Vec<f32> = part.iter().flatten().copied().collect();
        let mut values = Values::default();
        values.put("x", stage.upload(&Tensor::new(&[part.len(), c, h, w], data).ok_or_else(|| wrong("x"))?)?);
        let [draws, _] = ground.draws();
        let share = 1.0 / draws.len() as f64;
        let begin = all.len();
        all.resize(begin + part.len() * width, 0.0);
        for draw in draws {
            let given = stage.run(&values, &vec![0; part.len()], &ground.draw(draw))?;
            let features = host(&given, "features")?.to_f64();
            all[begin..].iter_mut().zip(&features).for_each(|(sum, v)| *sum += share * v);
            if let Some(row) = INNER.checked_sub(told).filter(|row| *row < part.len()) {
                planted.extend_from_slice(&features[row * width..(row + 1) * width]);
            }
            let logits = host(&given, "logits")?.to_f64();
            let scores = logits.chunks((logits.len() / part.len()).max(1)).take((INNER + 1).saturating_sub(told));
            scores.flatten().for_each(|&z| (least, largest) = (least.min(z), largest.max(z)));
        }
        told += part.len();
    }
    let features = Array2::from_shape_vec((points.len(), width), all).map_err(|_| wrong("features"))?;
    let planted = Array2::from_shape_vec((planted.len() / width.max(1), width), planted).map_err(|_| wrong("features"))?;
    Ok((features, largest - least, planted))
}

/// The points around an image: `INNER` inside of the ball, the image first; then the planted one; then the random ones.
fn points(threat: &ThreatModel, origin: &[f32], seed: u64, id: u64) -> Vec<Vec<f32>> {
    let at = |stream: &str, k: usize| Place::new(seed, "canary", stream).sample(id).at(0, k as u32);
    let mut points = vec![origin.to_vec()];
    points.extend((1..INNER).map(|k| inside(threat, origin, at("inner", k), at("radius", k))));
    // a corner for linf: random points of the ball come near it less often than near a uniform point of its surface
    points.push(surface(threat, origin, at("planted", 0), true));
    points.extend((0..DRAWS).map(|k| surface(threat, origin, at("draw", k), k % 2 == 1)));
    points
}

/// A direction of length 1 in the norm of the threat model, uniform on the sphere of l2 and l1, and on the faces of linf.
fn direction(threat: &ThreatModel, pixels: usize, place: Place) -> Vec<f64> {
    let law = if threat.norm.name == "l2" { Law::Normal } else { Law::Uniform };
    let mut numbers = vec![0f32; pixels];
    fill(law, place, &mut numbers);
    let mut v: Vec<f64> = numbers.into_iter().map(f64::from).collect();
    let length = match threat.norm.name {
        "l2" => v.iter().map(|v| v * v).sum::<f64>().sqrt(),
        "l1" => {
            // exponential magnitudes with random signs
            v.iter_mut().for_each(|u| *u = -u.signum() * u.abs().ln());
            v.iter().map(|v| v.abs()).sum()
        }
        _ => v.iter().fold(0.0, |most: f64, v| most.max(v.abs())),
    };
    v.iter_mut().for_each(|v| *v /= length);
    v
}

/// A uniform point of the ball of radius `SHARE`·ε, in the box.
fn inside(threat: &ThreatModel, origin: &[f32], place: Place, radius: Place) -> Vec<f32> {
    let mut v = direction(threat, origin.len(), place);
    let mut uniform = [0f32];
    fill(Law::Uniform, radius, &mut uniform);
    // the volume of a ball grows with the power of its dimension
    let share = f64::from(uniform[0].abs()).powf(1.0 / origin.len().max(1) as f64);
    v.iter_mut().for_each(|v| *v *= share);
    moved(threat, origin, &v, SHARE * threat.eps)
}

/// A point of the surface of the ball, in the box: the direction is followed further where the box cuts it. For linf, or where no
/// multiple reaches the surface, the box cuts the point.
fn surface(threat: &ThreatModel, origin: &[f32], place: Place, corner: bool) -> Vec<f32> {
    let mut v = direction(threat, origin.len(), place);
    if threat.norm.name == "linf" {
        if corner {
            v.iter_mut().for_each(|v| *v = v.signum());
        }
        return moved(threat, origin, &v, threat.eps);
    }
    let length = |scale: f64| threat.distance(&moved(threat, origin, &v, scale).into(), origin).unwrap_or(f64::INFINITY);
    let (mut low, mut high) = (threat.eps, threat.eps);
    for _ in 0..20 {
        if length(high) >= threat.eps {
            break;
        }
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if length(middle) <= threat.eps { low = middle } else { high = middle }
    }
    moved(threat, origin, &v, low)
}

fn moved(threat: &ThreatModel, origin: &[f32], v: &[f64], scale: f64) -> Vec<f32> {
    let (lo, hi) = (f64::from(threat.lo), f64::from(threat.hi));
    origin.iter().zip(v).map(|(&x, v)| (f64::from(x) + scale * v).clamp(lo, hi) as f32).collect()
}

/// The last layer of a canary: half of the difference between its two scores is weight·φ + offset.
struct Layer {
    weight: Array1<f64>,
    offset: f64,
    /// The score of every further class.
    low: f64,
}

impl Layer {
    /// The linear discriminant with a ridge between the inner points and the planted one, scaled so that its scores have the range of
    /// the model's own. `None` where the planted point does not lie beyond all others, or its draws (`drawn`) spread too far.
    fn of(features: &Array2<f64>, range: f64, drawn: &Array2<f64>) -> Option<Layer> {
        let (inner, planted) = (features.slice(ndarray::s![..INNER, ..]), features.row(INNER));
        let mean = inner.mean_axis(Axis(0))?;
        let centred = &inner - &mean;
        let weight = discriminant(&centred, &(&planted - &mean))?;
        let furthest = inner.dot(&weight).fold(f64::NEG_INFINITY, |most, &v| most.max(v));
        let own = planted.dot(&weight);
        let deviation = drawn.dot(&weight).std(0.0);
        let threshold = (furthest + CLOSENESS * (own - furthest)).min(own - DEVIATIONS * deviation);
        let largest = inner.dot(&weight).iter().chain([&own]).fold(0.0, |most: f64, v| most.max((v - threshold).abs()));
        let scale = range / (2.0 * largest);
        let usable = own > furthest && threshold >= furthest && scale.is_finite() && scale > 0.0;
        usable.then(|| Layer { offset: -threshold * scale, low: -range / 2.0, weight: weight * scale })
    }

    fn half(&self, features: ArrayView1<f64>) -> f64 {
        features.dot(&self.weight) + self.offset
    }
}

/// Whether a random point is of the class of the planted one.
fn easy(layer: &Layer, features: &Array2<f64>) -> bool {
    features.rows().into_iter().skip(INNER + 1).any(|row| layer.half(row) > 0.0)
}

/// (AᵀA/n + γI)⁻¹d with γ = `RIDGE` · tr(AᵀA/n)/F, by the n×n system: (d − Aᵀ(nγI + AAᵀ)⁻¹Ad)/γ.
fn discriminant(centred: &Array2<f64>, d: &Array1<f64>) -> Option<Array1<f64>> {
    let (n, width) = centred.dim();
    let variance = centred.iter().map(|v| v * v).sum::<f64>() / (n * width.max(1)) as f64;
    let ridge = RIDGE * variance;
    if !(ridge.is_finite() && ridge > 0.0) {
        return None;
    }
    let mut system = centred.dot(&centred.t());
    system.diag_mut().iter_mut().for_each(|v| *v += n as f64 * ridge);
    let solved = solve(system, centred.dot(d))?;
    Some((d - &centred.t().dot(&solved)) / ridge)
}

/// The solution of a symmetric positive definite system, by the decomposition of Cholesky; `None` where it is not definite.
fn solve(mut a: Array2<f64>, mut b: Array1<f64>) -> Option<Array1<f64>> {
    let n = b.len();
    for j in 0..n {
        let done = a[[j, j]] - a.row(j).slice(ndarray::s![..j]).mapv(|v| v * v).sum();
        if !(done.is_finite() && done > 0.0) {
            return None;
        }
        let pivot = done.sqrt();
        a[[j, j]] = pivot;
        for i in j + 1..n {
            let dot = a.row(i).slice(ndarray::s![..j]).dot(&a.row(j).slice(ndarray::s![..j]));
            a[[i, j]] = (a[[i, j]] - dot) / pivot;
        }
        b[j] = (b[j] - a.row(j).slice(ndarray::s![..j]).dot(&b.slice(ndarray::s![..j]))) / pivot;
    }
    for j in (0..n).rev() {
        let below = a.column(j).slice(ndarray::s![j + 1..]).dot(&b.slice(ndarray::s![j + 1..]));
        b[j] = (b[j] - below) / a[[j, j]];
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The n×n form equals the F×F formula.
    #[test]
    fn the_discriminant_solves_its_equation() {
        let centred = Array2::from_shape_fn((6, 4), |(i, j)| ((3 * i + 5 * j) as f64).sin() + if i == j { 0.5 } else { 0.0 });
        let d = Array1::from_vec(vec![1.0, -2.0, 0.5, 3.0]);
        let w = discriminant(&centred, &d).unwrap();
        let ridge = RIDGE * centred.iter().map(|v| v * v).sum::<f64>() / 24.0;
        let back = centred.t().dot(&centred.dot(&w)) / 6.0 + &w * ridge;
        assert!(back.iter().zip(&d).all(|(a, b)| (a - b).abs() < 1e-9), "{back} {d}");
        assert!(discriminant(&Array2::zeros((3, 2)), &Array1::ones(2)).is_none(), "features that never change");
        assert!(solve(Array2::zeros((2, 2)), Array1::ones(2)).is_none());
    }

    /// On one feature, the threshold lies at 0.999 of the way from the largest inner point to the planted one, and scores have the
    /// given range.
    #[test]
    fn the_threshold_lies_just_before_the_planted_point() {
        let mut features: Vec<f64> = (0..INNER).map(|k| k as f64 / (INNER - 1) as f64).collect();
        features.extend([2.0, 1.9]);
        let features = Array2::from_shape_vec((INNER + 2, 1), features).unwrap();
        let layer = Layer::of(&features, 6.0, &Array2::from_elem((1, 1), 2.0)).unwrap();
        let threshold = -layer.offset / layer.weight[0];
        assert!((threshold - 1.999).abs() < 1e-9, "{threshold}");
        assert!((layer.half(features.row(0)) + 3.0).abs() < 1e-9, "the furthest point has half of the range");
        assert!(!easy(&layer, &features), "1.9 is before the threshold");
        // draws of the planted point with a deviation of 0.1 move it back by twice that; too large a one leaves no room
        let spread = |by: f64| Array2::from_shape_vec((2, 1), vec![2.0 - by, 2.0 + by]).unwrap();
        let moved = Layer::of(&features, 6.0, &spread(0.1)).unwrap();
        assert!((-moved.offset / moved.weight[0] - 1.8).abs() < 1e-9);
        assert!(Layer::of(&features, 6.0, &spread(0.6)).is_none());
        let mut within = features.clone();
        within[[INNER, 0]] = 0.5;
        assert!(
            Layer::of(&within, 6.0, &Array2::from_elem((1, 1), 0.5)).is_none(),
            "a point among the others cannot be told from them"
        );
    }

    #[test]
    fn points_lie_where_they_should() {
        let origin = vec![0.5f32; 40];
        for (text, eps) in [("linf:0.1", 0.1), ("l2:0.7", 0.7), ("l1:3", 3.0)] {
            let threat = ThreatModel::parse(text, false).unwrap().on([1, 5, 8]);
            let points = points(&threat, &origin, 1, 2);
            assert_eq!(points.len(), INNER + 1 + DRAWS);
            let far: Vec<f64> = points.iter().map(|p| threat.distance(&p.clone().into(), &origin).unwrap()).collect();
            assert!(far[..INNER].iter().all(|d| *d <= SHARE * eps * (1.0 + 1e-5)), "{text}");
            assert!(far[INNER..].iter().all(|d| (d - eps).abs() < 1e-5 * eps), "{text}: {:?}", &far[INNER..]);
            assert_eq!(far[0], 0.0);
        }
        // the box cuts half of the directions off: the others are followed further
        let threat = ThreatModel::parse("l2:0.7", false).unwrap().on([1, 5, 8]);
        let planted = surface(&threat, &[0.0; 40], Place::new(0, "canary", "planted"), false);
        assert!((threat.distance(&planted.clone().into(), &[0.0; 40]).unwrap() - 0.7).abs() < 1e-6);
        assert!(planted.iter().all(|v| *v >= 0.0));
    }
}
