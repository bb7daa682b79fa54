//! Metrics that look at the loss around the weights (`weights/1`). One file each; what they share is here and in `lanczos.rs`.

pub(crate) mod connection;
pub(crate) mod density;
pub(crate) mod directions;
pub(crate) mod eigenvalues;
mod head;
pub(crate) mod input;
pub(crate) mod interpolation;
pub(crate) mod lanczos;
pub(crate) mod landscape;
pub(crate) mod layers;
pub(crate) mod robust;
pub(crate) mod soft_rank;
pub(crate) mod trace;
pub(crate) mod trajectory;

use flatscape_sdk::{Error, Weights};

/// Points of a grid at most, along one direction and in all.
const MOST_ALONG: usize = 1001;

/// Reads `-1:1:51`: from, to, points, both ends included.
///
/// # Errors
/// It is not three numbers, or has no points or too many.
pub(crate) fn grid(text: &str) -> Result<Vec<f64>, Error> {
    let wrong = |why: &str| Error::invalid(format!("the grid \"{text}\" {why}; write FROM:TO:POINTS, for example -1:1:51"));
    let [from, to, points] = text.split(':').collect::<Vec<_>>()[..] else { return Err(wrong("has not three parts")) };
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|v| v.is_finite());
    let (Some(from), Some(to)) = (number(from), number(to)) else { return Err(wrong("does not begin and end with numbers")) };
    let points: usize = points.trim().parse().map_err(|_| wrong("has no whole number of points"))?;
    if from >= to {
        return Err(wrong("does not end behind its beginning"));
    }
    if !(2..=MOST_ALONG).contains(&points) {
        return Err(wrong(&format!("has {points} points; 2 to {MOST_ALONG} are possible")));
    }
    Ok(spaced(from, to, points))
}

/// Equally spaced numbers; one in the middle of an odd number of them is exactly half way.
pub(crate) fn spaced(from: f64, to: f64, points: usize) -> Vec<f64> {
    let last = points.saturating_sub(1).max(1) as f64;
    (0..points).map(|i| (from * (last - i as f64) + to * i as f64) / last).collect()
}

/// θ + Σ c·d, in double, rounded once.
pub(crate) fn moved(theta: &[f32], along: &[(f64, &[f64])]) -> Vec<f32> {
    let at = |(i, w): (usize, &f32)| (f64::from(*w) + along.iter().map(|(c, d)| c * d[i]).sum::<f64>()) as f32;
    theta.iter().enumerate().map(at).collect()
}

/// ⟨a, b⟩
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// ‖a‖
pub(crate) fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

pub(crate) fn wide(a: &[f32]) -> Vec<f64> {
    a.iter().map(|&v| f64::from(v)).collect()
}

pub(crate) fn narrow(a: &[f64]) -> Vec<f32> {
    a.iter().map(|&v| v as f32).collect()
}

/// Loss and accuracy; a loss that is not finite is a hole, and so is its accuracy.
pub(crate) fn sounded(weights: &Weights, theta: &[f32]) -> Result<(f64, f64), Error> {
    // weights that overflow have no loss, and the host takes no such question
    if theta.iter().any(|v| !v.is_finite()) {
        return Ok((f64::NAN, f64::NAN));
    }
    let (loss, accuracy) = weights.loss(theta)?;
    Ok(if loss.is_finite() { (loss, accuracy) } else { (f64::NAN, f64::NAN) })
}

/// The barrier of a path: the largest excess of the loss over the line between the losses of its ends (Frankle et al. 2020,
/// arXiv:1912.05671, section 2; Entezari et al. 2022). Holes do not count.
pub(crate) fn barrier(t: &[f64], loss: &[f64]) -> Option<f64> {
    let at = |wanted: f64| t.iter().position(|t| (t - wanted).abs() < 1e-9).map(|i| loss[i]).filter(|l| l.is_finite());
    let (first, last) = (at(0.0)?, at(1.0)?);
    let excess = |(&t, &loss): (&f64, &f64)| loss - ((1.0 - t) * first + t * last);
    let inside = t.iter().zip(loss).filter(|(t, loss)| (-1e-9..=1.0 + 1e-9).contains(*t) && loss.is_finite());
    inside.map(excess).fold(None, |most: Option<f64>, e| Some(most.map_or(e, |most| most.max(e))))
}

/// The 97.5 % quantile of Student's t with ν degrees of freedom, by the expansion of Cornish and Fisher; its error is below 0.2 % from
/// ν = 5 on.
pub(crate) fn student(nu: f64) -> f64 {
    let z = 1.959_963_984_540_054_f64;
    let (z3, z5, z7) = (z.powi(3), z.powi(5), z.powi(7));
    z + (z3 + z) / (4.0 * nu)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * nu * nu)
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * nu.powi(3))
}

/// Mean, standard error and 95 % interval of draws.
pub(crate) fn estimated(draws: &[f64]) -> (f64, Option<f64>, Option<(f64, f64)>) {
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    if draws.len() < 2 {
        return (mean, None, None);
    }
    let error = (draws.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
    let half = student(n - 1.0) * error;
    (mean, Some(error), Some((mean - half, mean + half)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_are_read() {
        assert_eq!(grid("-1:1:5").expect("a grid"), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        for bad in ["", "-1:1", "-1:1:0", "-1:1:1", "-1:1:1000000000", "1:-1:5", "a:1:5", "-1:1:x", "nan:1:5"] {
            assert!(grid(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_constant_loss_has_no_barrier() {
        let t = spaced(-0.5, 1.5, 41);
        assert_eq!(barrier(&t, &[2.0; 41]), Some(0.0));
        let bump: Vec<f64> = t.iter().map(|t| 1.0 + t + 3.0 * (1.0 - (2.0 * t - 1.0).powi(2)).max(0.0)).collect();
        assert!((barrier(&t, &bump).expect("a barrier") - 3.0).abs() < 1e-12);
        assert_eq!(barrier(&[0.0, 0.5], &[1.0, 1.0]), None);
    }

    #[test]
    fn quantiles_are_those_of_tables() {
        for (nu, expected) in [(5.0, 2.5706), (9.0, 2.2622), (30.0, 2.0423), (99.0, 1.9842)] {
            assert!((student(nu) - expected).abs() < 5e-3, "{nu}: {}", student(nu));
        }
    }
}
