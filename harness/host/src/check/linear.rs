//! A linear classifier z = Wx as an oracle: everything about it is known in closed form.

use flatscape_graph::Tensor;

use crate::oracle::{Batch, Law, Oracle, OracleError};
use crate::task::Task;

const SAMPLES: usize = 4;
const MOST_ROWS: usize = 200_000;

/// The classifier, its batch and what was offered.
pub(super) struct Linear {
    /// \[classes, D\]
    weights: Vec<Vec<f32>>,
    x0: Vec<f32>,
    y: Vec<i64>,
    shape: [usize; 3],
    rows: usize,
    /// Points (as bits, so that NaN equals itself) and their samples.
    pub offers: Vec<(Vec<u32>, Vec<usize>)>,
}

impl Linear {
    pub(super) fn new(task: &Task) -> Linear {
        let d = task.pixels();
        let weights: Vec<Vec<f32>> =
            (0..task.classes).map(|c| (0..d).map(|i| ((c * 31 + i * 17 + c * i) as f32).sin()).collect()).collect();
        let x0: Vec<f32> = (0..SAMPLES * d).map(|i| 0.5 + 0.4 * (i as f32 * 0.37).sin()).collect();
        let mut linear = Linear { weights, x0, y: Vec::new(), shape: task.shape, rows: 0, offers: Vec::new() };
        linear.y = linear
            .x0
            .chunks(d)
            .map(|x| linear.scores(x).iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(c, _)| c as i64))
            .collect();
        linear
    }

    fn scores(&self, x: &[f32]) -> Vec<f32> {
        self.weights.iter().map(|w| w.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    }

    fn values(&mut self, x: &Tensor, rows: &[usize]) -> Result<Vec<f32>, OracleError> {
        self.rows += rows.len();
        if self.rows > MOST_ROWS {
            return Err(OracleError::Stop);
        }
        x.to_vec::<f32>().ok_or_else(|| OracleError::Failed("a question is not float".into()))
    }

    fn tensor(shape: &[usize], data: Vec<f32>) -> Result<Tensor, OracleError> {
        Tensor::new(shape, data).ok_or_else(|| OracleError::Failed("an answer has another size than its shape".into()))
    }

    /// What is wrong with the offers: clauses. A `nearest` example may lie beyond the radius.
    pub(super) fn faults(&self, task: &Task, nearest: bool) -> Vec<String> {
        let d = task.pixels();
        let mut faults = Vec::new();
        for (points, rows) in &self.offers {
            for (x, &sample) in points.chunks(d).zip(rows) {
                let x: Vec<f64> = x.iter().map(|&bits| f64::from(f32::from_bits(bits))).collect();
                let x0 = self.x0[sample * d..(sample + 1) * d].iter().map(|&v| f64::from(v));
                let delta: Vec<f64> = x.iter().zip(x0).map(|(a, b)| (a - b).abs()).collect();
                let size = match task.norm.as_str() {
                    "l1" => delta.iter().sum(),
                    "l2" => delta.iter().map(|v| v * v).sum::<f64>().sqrt(),
                    _ => delta.iter().fold(0.0, |a, &b| f64::max(a, b)),
                };
                if x.iter().any(|v| !v.is_finite()) {
                    faults.push("a point that it offered is not finite".to_owned());
                } else if x.iter().any(|&v| v < task.lo || v > task.hi) {
                    faults.push("a point that it offered is outside of the box".to_owned());
                } else if !nearest && size > task.eps * (1.0 + 1e-5) + 1e-7 {
                    faults.push(format!("a point that it offered is {size:.6} away; eps is {:.6}", task.eps));
                }
            }
        }
        faults
    }
}

impl Oracle for Linear {
    fn batch(&self) -> Batch {
        let [c, h, w] = self.shape;
        let x0 = Tensor::new(&[SAMPLES, c, h, w], self.x0.clone()).unwrap_or_else(|| Tensor::ints(&[]));
        Batch { x0, y: self.y.clone(), target: None }
    }

    fn logits(&mut self, x: &Tensor, rows: &[usize]) -> Result<Tensor, OracleError> {
        let x = self.values(x, rows)?;
        let d = self.shape.iter().product();
        let z: Vec<f32> = x.chunks(d).flat_map(|x| self.scores(x)).collect();
        Linear::tensor(&[rows.len(), self.weights.len()], z)
    }

    /// Of the cross-entropy: Wᵀ(p − e_y).
    fn gradient(&mut self, x: &Tensor, rows: &[usize], ct: Option<&Tensor>) -> Result<(Option<Tensor>, Tensor), OracleError> {
        let x = self.values(x, rows)?;
        let d: usize = self.shape.iter().product();
        let given = ct.and_then(|ct| ct.to_vec::<f32>());
        let (mut losses, mut gradient) = (Vec::new(), Vec::new());
        for (r, x) in x.chunks(d).enumerate() {
            let z = self.scores(x);
            let y = self.y[rows[r]] as usize;
            let m = z.iter().copied().fold(f32::MIN, f32::max);
            let sum: f32 = z.iter().map(|v| (v - m).exp()).sum();
            losses.push(m + sum.ln() - z[y]);
            let own = |c: usize| (z[c] - m).exp() / sum - if c == y { 1.0 } else { 0.0 };
            let classes = z.len();
            let ct: Vec<f32> = match &given {
                Some(all) => all[r * classes..(r + 1) * classes].to_vec(),
                None => (0..classes).map(own).collect(),
            };
            gradient.extend((0..d).map(|i| self.weights.iter().zip(&ct).map(|(w, c)| w[i] * c).sum::<f32>()));
        }
        let [c, h, w] = self.shape;
        let losses = if given.is_some() { None } else { Some(Linear::tensor(&[rows.len()], losses)?) };
        Ok((losses, Linear::tensor(&[rows.len(), c, h, w], gradient)?))
    }

    /// Mixed from sample, stream and place: good enough to try an attack with.
    fn noise(&mut self, law: Law, stream: u32, rows: &[usize], shape: &[usize]) -> Result<Tensor, OracleError> {
        let width = shape[1..].iter().product::<usize>();
        let unit = |sample: usize, place: u64| {
            let mut z = (sample as u64) << 40 ^ u64::from(stream) << 20 ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ z >> 31) >> 11) as f64 / (1u64 << 53) as f64
        };
        let draw = |sample: usize, i: usize| match law {
            Law::Uniform => 2.0 * unit(sample, i as u64) - 1.0,
            Law::Rademacher => (unit(sample, i as u64) - 0.5).signum(),
            Law::Normal => (0..12).map(|k| unit(sample, (12 * i + k) as u64)).sum::<f64>() - 6.0,
        };
        let data = rows.iter().flat_map(|&sample| (0..width).map(move |i| draw(sample, i) as f32)).collect();
        Linear::tensor(shape, data)
    }

    fn active(&mut self) -> Vec<bool> {
        vec![true; SAMPLES]
    }

    fn offer(&mut self, x: &Tensor, rows: &[usize]) -> Result<(), OracleError> {
        let bits = x.to_vec::<f32>().unwrap_or_default().into_iter().map(f32::to_bits).collect();
        self.offers.push((bits, rows.to_vec()));
        Ok(())
    }
}
