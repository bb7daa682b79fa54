//! The Hessian of the loss in the weights of the last layer alone, in closed form: the mean over samples of
//! (diag p − ppᵀ) ⊗ φφᵀ, p the probabilities and φ the features. It does not depend on the label. Source: Petzka et al. 2021
//! (arXiv:2001.00939), section 4.

use flatscape_sdk::{Ask, Error, Names, Program, Reduction, Tensor};

use super::lanczos::{Nodes, Tridiagonal, dense, lanczos, quadrature};

/// Size of the matrix up to which all its eigenvalues are computed.
const DENSE: usize = 4000;

/// Gives the features and the probabilities of every sample.
pub(crate) fn program(ask: &Ask) -> Program {
    ask.program().emit(|g| {
        g.give("vec_head_features", g.features());
        g.give("vec_head_probabilities", g.logits().softmax(1));
    })
}

/// ‖φ‖² Σ p_s (Σ_{t≠s} p_t), the trace of one sample: [N]. The sum over the others keeps its digits where p is near 1.
pub(crate) fn trace(g: &Names<'_>) {
    let classes = g.task().classes;
    let others: Vec<f32> = (0..classes * classes).map(|k| f32::from(u8::from(k / classes != k % classes))).collect();
    let p = g.logits().softmax(1);
    if let Some(others) = Tensor::new(&[classes, classes], others) {
        let spread = (p * p.matmul(g.constant(others))).sum(&[1], false);
        let features = g.features();
        g.give("col_head_hessian_trace", (features * features).sum(&[1], false) * spread);
    }
}

/// The matrix of all samples as what it does to vectors.
pub(crate) struct Head {
    features: Vec<Vec<f64>>,
    probabilities: Vec<Vec<f64>>,
    /// K·M
    pub size: usize,
    width: usize,
}

impl Head {
    /// From the rows of [`program`] that are finite; nothing where none is.
    pub(crate) fn of(rows: &Reduction) -> Result<Option<Head>, Error> {
        let (f, p) = (rows.vector("head_features")?, rows.vector("head_probabilities")?);
        let finite = |row: &[f64]| row.iter().all(|v| v.is_finite());
        let kept: Vec<usize> = (0..rows.samples()).filter(|&i| finite(f.row(i)) && finite(p.row(i))).collect();
        let features: Vec<Vec<f64>> = kept.iter().map(|&i| f.row(i).to_vec()).collect();
        let probabilities: Vec<Vec<f64>> = kept.iter().map(|&i| p.row(i).to_vec()).collect();
        let width = features.first().map_or(0, Vec::len);
        let size = width * probabilities.first().map_or(0, Vec::len);
        Ok((size > 0).then_some(Head { features, probabilities, size, width }))
    }

    /// Over how many samples.
    pub(crate) fn samples(&self) -> usize {
        self.features.len()
    }

    /// Hv: with V = v as [K, M] and u = Vφ, the mean of (p∘u − p⟨p,u⟩)φᵀ.
    pub(crate) fn product(&self, v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.size];
        let share = 1.0 / self.features.len() as f64;
        for (phi, p) in self.features.iter().zip(&self.probabilities) {
            let u: Vec<f64> = v.chunks(self.width).map(|row| super::dot(row, phi)).collect();
            let mean = super::dot(p, &u);
            for ((row, p), u) in out.chunks_mut(self.width).zip(p).zip(&u) {
                let factor = share * p * (u - mean);
                row.iter_mut().zip(phi).for_each(|(out, phi)| *out += factor * phi);
            }
        }
        out
    }

    /// All eigenvalues, ascending, where the matrix is small enough.
    pub(crate) fn eigenvalues(&self) -> Result<Option<Vec<f64>>, Error> {
        if self.size > DENSE {
            return Ok(None);
        }
        let (n, m) = (self.size, self.width);
        let mut matrix = vec![0.0; n * n];
        let share = 1.0 / self.features.len() as f64;
        for (phi, p) in self.features.iter().zip(&self.probabilities) {
            for (s, ps) in p.iter().enumerate() {
                for (t, pt) in p.iter().enumerate() {
                    let c = share * ps * (f64::from(u8::from(s == t)) - pt);
                    for (i, a) in phi.iter().enumerate() {
                        let row = &mut matrix[(s * m + i) * n + t * m..][..m];
                        row.iter_mut().zip(phi).for_each(|(cell, b)| *cell += c * a * b);
                    }
                }
            }
        }
        dense(&matrix, n).map(Some)
    }

    /// Nodes and weights of every quadrature: the eigenvalues themselves, alike, where the matrix is small enough.
    pub(crate) fn nodes(&self, steps: usize, probes: usize) -> Result<Vec<Nodes>, Error> {
        if let Some(values) = self.eigenvalues()? {
            return Ok(vec![values.iter().map(|&value| (value, 1.0 / self.size as f64)).collect()]);
        }
        (0..probes).map(|probe| quadrature(&self.lanczos(steps, probe)?)).collect()
    }

    /// Lanczos from a vector of fixed signs, by number.
    pub(crate) fn lanczos(&self, steps: usize, probe: usize) -> Result<Tridiagonal, Error> {
        let signs = |from: usize| -> Vec<f64> { (0..self.size).map(|i| sign(from + i)).collect() };
        let mut fresh = |step: usize| Ok(signs((1 + probe) * 1_000_003 + (1 + step) * self.size));
        lanczos(&signs(probe * 7919), steps.min(self.size), &mut |v| Ok(self.product(v)), &mut fresh)
    }
}

/// A sign by place: splitmix64.
fn sign(place: usize) -> f64 {
    let mut z = (place as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    if (z ^ z >> 31) & 1 == 1 { 1.0 } else { -1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// K = 2, φ = (1, 2), p = (0.7, 0.3): rank one with the eigenvalue ‖φ‖²·2·p₀p₁.
    #[test]
    fn one_sample_of_two_classes_has_one_eigenvalue() {
        let head = Head { features: vec![vec![1.0, 2.0]], probabilities: vec![vec![0.7, 0.3]], size: 4, width: 2 };
        let found = head.eigenvalues().expect("eigenvalues").expect("it is small");
        let wanted = [0.0, 0.0, 0.0, 5.0 * 2.0 * 0.21];
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-14), "{found:?}");
        let ritz = head.lanczos(4, 0).expect("a matrix").ritz().expect("eigenvalues");
        assert!((ritz.last().expect("one").value - 2.1).abs() < 1e-14);
        // Hv by the formula and by the matrix: along each unit vector, the sum of the diagonal is the trace
        let unit = |k: usize| (0..4).map(|i| f64::from(u8::from(i == k))).collect::<Vec<f64>>();
        let trace: f64 = (0..4).map(|k| head.product(&unit(k))[k]).sum();
        assert!((trace - 2.1).abs() < 1e-14);
    }
}
