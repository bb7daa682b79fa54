//! Softmax regression z = Wx + b on a few points as a model with weights: its loss is convex, and everything about it is known in
//! closed form.

use crate::oracle::{Law, OracleError};
use crate::weights::{Ascent, Given, Normalisation, Segment, SegmentRole, WeightFacts, Weights};

const FEATURES: usize = 3;
const CLASSES: usize = 4;
const SAMPLES: usize = 6;
const PARAMETERS: usize = CLASSES * (FEATURES + 1);
/// Questions that it answers.
const MOST: usize = 200_000;

/// The model, where its points are, and what was given.
pub(super) struct Softmax {
    x: Vec<[f64; FEATURES]>,
    moved: Vec<[f64; FEATURES]>,
    asked: usize,
    /// What the component gave, numbers as text so that NaN equals itself.
    pub given: Vec<String>,
    /// Names of values that are not finite.
    pub holes: Vec<String>,
}

impl Softmax {
    pub(super) fn new() -> Softmax {
        let x: Vec<[f64; FEATURES]> =
            (0..SAMPLES).map(|i| std::array::from_fn(|k| 0.5 + 0.4 * ((3 * i + k) as f64 * 0.7).sin())).collect();
        Softmax { moved: x.clone(), x, asked: 0, given: Vec::new(), holes: Vec::new() }
    }

    fn label(i: usize) -> usize {
        i % CLASSES
    }

    fn ask(&mut self) -> Result<(), OracleError> {
        self.asked += 1;
        if self.asked > MOST { Err(OracleError::Stop) } else { Ok(()) }
    }

    /// Scores, LSE and probabilities of a point.
    fn at(theta: &[f32], x: &[f64; FEATURES]) -> (Vec<f64>, f64, Vec<f64>) {
        let w = |c: usize, k: usize| f64::from(theta[c * FEATURES + k]);
        let b = |c: usize| f64::from(theta[CLASSES * FEATURES + c]);
        let z: Vec<f64> = (0..CLASSES).map(|c| (0..FEATURES).map(|k| w(c, k) * x[k]).sum::<f64>() + b(c)).collect();
        let most = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = most + z.iter().map(|v| (v - most).exp()).sum::<f64>().ln();
        let p = z.iter().map(|v| (v - lse).exp()).collect();
        (z, lse, p)
    }

    /// The derivative of score c by parameter j at x.
    fn slope(j: usize, c: usize, x: &[f64; FEATURES]) -> f64 {
        match j.checked_sub(CLASSES * FEATURES) {
            Some(bias) => f64::from(u8::from(bias == c)),
            None if j / FEATURES == c => x[j % FEATURES],
            None => 0.0,
        }
    }
}

impl Weights for Softmax {
    fn facts(&self) -> WeightFacts {
        let segment = |name: &str, shape: &[usize], role, axis, offset| Segment {
            name: name.to_owned(),
            shape: shape.to_vec(),
            role,
            axis,
            layer: 0,
            offset,
            size: shape.iter().product(),
        };
        let kernel = segment("weight", &[CLASSES, FEATURES], SegmentRole::Kernel, Some(0), 0);
        let bias = segment("bias", &[CLASSES], SegmentRole::Bias, None, CLASSES * FEATURES);
        let segments = vec![kernel, bias];
        WeightFacts { segments, parameters: PARAMETERS, samples: SAMPLES, normalisation: Normalisation::None, seed: 0 }
    }

    fn theta(&self) -> Vec<f32> {
        (0..PARAMETERS).map(|i| ((i * 7) as f32).sin()).collect()
    }

    fn filters(&self) -> Vec<i32> {
        (0..PARAMETERS).map(|i| if i < CLASSES * FEATURES { (i / FEATURES) as i32 } else { -1 }).collect()
    }

    fn loss(&mut self, theta: &[f32]) -> Result<[f64; 2], OracleError> {
        self.ask()?;
        let (mut loss, mut right) = (0.0, 0.0);
        for (i, x) in self.moved.iter().enumerate() {
            let (z, lse, _) = Softmax::at(theta, x);
            let y = Softmax::label(i);
            loss += lse - z[y];
            right += f64::from(u8::from(z.iter().enumerate().all(|(c, v)| c == y || *v < z[y])));
        }
        Ok([loss / SAMPLES as f64, right / SAMPLES as f64])
    }

    /// Σ (p − e_y)ᵀ ∂z/∂θ over the samples, divided by their number.
    fn gradient(&mut self, theta: &[f32]) -> Result<(f64, Vec<f32>), OracleError> {
        let [loss, _] = self.loss(theta)?;
        let mut gradient = vec![0.0; PARAMETERS];
        for (i, x) in self.moved.iter().enumerate() {
            let (_, _, mut p) = Softmax::at(theta, x);
            p[Softmax::label(i)] -= 1.0;
            for (j, g) in gradient.iter_mut().enumerate() {
                *g += (0..CLASSES).map(|c| p[c] * Softmax::slope(j, c, x)).sum::<f64>() / SAMPLES as f64;
            }
        }
        Ok((loss, gradient.into_iter().map(|g| g as f32).collect()))
    }

    /// Σ Jᵀ (diag p − ppᵀ) J v over the samples, divided by their number.
    fn hvp(&mut self, theta: &[f32], v: &[f32]) -> Result<Vec<f32>, OracleError> {
        self.ask()?;
        let mut out = vec![0.0; PARAMETERS];
        for x in &self.moved {
            let (_, _, p) = Softmax::at(theta, x);
            let u: Vec<f64> =
                (0..CLASSES).map(|c| (0..PARAMETERS).map(|j| Softmax::slope(j, c, x) * f64::from(v[j])).sum()).collect();
            let mean: f64 = p.iter().zip(&u).map(|(p, u)| p * u).sum();
            for (j, out) in out.iter_mut().enumerate() {
                *out += (0..CLASSES).map(|c| p[c] * (u[c] - mean) * Softmax::slope(j, c, x)).sum::<f64>() / SAMPLES as f64;
            }
        }
        Ok(out.into_iter().map(|v| v as f32).collect())
    }

    /// Steps along the sign of Wᵀ(p − e_y); the start is the image.
    fn attack(&mut self, theta: &[f32], ascent: Ascent) -> Result<(), OracleError> {
        self.ask()?;
        if !ascent.go_on || ascent.eps == 0.0 {
            self.moved.clone_from(&self.x);
        }
        for _ in 0..ascent.steps {
            for (i, (x, x0)) in self.moved.iter_mut().zip(&self.x).enumerate() {
                let (_, _, mut p) = Softmax::at(theta, x);
                p[Softmax::label(i)] -= 1.0;
                for k in 0..FEATURES {
                    let slope: f64 = (0..CLASSES).map(|c| p[c] * f64::from(theta[c * FEATURES + k])).sum();
                    x[k] = (x[k] + ascent.alpha * slope.signum()).clamp(x0[k] - ascent.eps, x0[k] + ascent.eps).clamp(0.0, 1.0);
                }
            }
        }
        Ok(())
    }

    fn refresh(&mut self, _theta: Option<&[f32]>) -> Result<(), OracleError> {
        Ok(())
    }

    /// Mixed from stream, index and place: good enough to try a component with.
    fn noise(&mut self, law: Law, stream: u32, index: u32) -> Result<Vec<f32>, OracleError> {
        let unit = |place: u64| {
            let mut z = (u64::from(stream) << 40) ^ (u64::from(index) << 20) ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ z >> 31) >> 11) as f64 / (1u64 << 53) as f64
        };
        let draw = |i: u64| match law {
            Law::Uniform => 2.0 * unit(i) - 1.0,
            Law::Rademacher => (unit(i) - 0.5).signum(),
            Law::Normal => (0..12).map(|k| unit(12 * i + k)).sum::<f64>() - 6.0,
        };
        Ok((0..PARAMETERS as u64).map(|i| draw(i + 1) as f32).collect())
    }

    /// The file that every argument may name here: the weights the other way round.
    fn other(&mut self, _file: &str) -> Result<Vec<f32>, OracleError> {
        Ok(self.theta().into_iter().rev().collect())
    }

    fn give(&mut self, given: Given) {
        if let Given::Curve { name, y: values, .. } | Given::Surface { name, z: values, .. } = &given
            && values.iter().any(|v| !v.is_finite())
        {
            self.holes.push(name.clone());
        }
        self.given.push(format!("{given:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_and_hessian_are_those_of_the_loss() {
        let mut model = Softmax::new();
        let theta = model.theta();
        let v: Vec<f32> = (0..PARAMETERS).map(|i| (i as f32).cos()).collect();
        let along = |t: f64| -> Vec<f32> { theta.iter().zip(&v).map(|(w, d)| w + (t * f64::from(*d)) as f32).collect() };
        let h = 1e-2;
        let (up, down) = (model.gradient(&along(h)).expect("a gradient"), model.gradient(&along(-h)).expect("a gradient"));
        let dot = |a: &[f32]| a.iter().zip(&v).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let slope = dot(&model.gradient(&theta).expect("a gradient").1);
        assert!((slope - (up.0 - down.0) / (2.0 * h)).abs() < 1e-4);
        for ((hv, up), down) in model.hvp(&theta, &v).expect("a product").iter().zip(&up.1).zip(&down.1) {
            assert!((f64::from(*hv) - f64::from(up - down) / (2.0 * h)).abs() < 1e-4);
        }
    }
}
