//! The largest value that a random quantity can take, from the maxima of batches of it: the location of a reverse Weibull law.

/// A reverse Weibull law fitted to maxima: P(X ≤ x) = exp(−((location − x)/scale)^shape) for x ≤ location.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fit {
    pub location: f64,
    /// The p-value of the Kolmogorov-Smirnov test of the fit, by its asymptotic law.
    pub p: f64,
}

/// Locations that are tried beyond the largest value, as multiples of the range.
const PLACES: i32 = 40;
/// The weight of shape² against the log-likelihood per value, as in the code of CLEVER.
const PENALTY: f64 = 0.01;
/// A fit that this test rejects is not used.
const REJECTED: f64 = 0.001;

/// The location by maximum likelihood over shapes above 1, where the likelihood is bounded; the largest value itself where all are
/// equal, and where the fit is rejected. `None` without finite values.
pub(crate) fn location(maxima: &[f64]) -> Option<Fit> {
    if maxima.is_empty() || maxima.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let most = maxima.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let range = most - maxima.iter().copied().fold(f64::INFINITY, f64::min);
    let whole = Fit { location: most, p: 1.0 };
    if range <= 1e-9 * most.abs() {
        return Some(whole);
    }
    let places = (0..PLACES).map(|k| most + range * 10f64.powf(f64::from(k) / f64::from(PLACES - 1) * 5.0 - 3.0));
    let best = places.filter_map(|place| Law::at(place, maxima)).max_by(|a, b| a.worth.total_cmp(&b.worth));
    let fit = best.map(|law| Fit { location: law.location, p: law.p(maxima) });
    Some(fit.filter(|fit| fit.p >= REJECTED).unwrap_or(Fit { p: fit.map_or(0.0, |fit| fit.p), ..whole }))
}

/// The most likely law of a location.
struct Law {
    location: f64,
    shape: f64,
    scale: f64,
    /// Log-likelihood per value, less the penalty.
    worth: f64,
}

impl Law {
    /// Shape and scale of the Weibull law of location − x by maximum likelihood; `None` where the shape is not above 1.
    fn at(location: f64, maxima: &[f64]) -> Option<Law> {
        let n = maxima.len() as f64;
        let widest = maxima.iter().map(|x| location - x).fold(0.0, f64::max);
        // in units of the widest, so that powers stay finite
        let t: Vec<f64> = maxima.iter().map(|x| (location - x) / widest).collect();
        let log_mean = t.iter().map(|v| v.ln()).sum::<f64>() / n;
        // rises in the shape c: Σ tᶜ ln t / Σ tᶜ − 1/c − mean ln t
        let slope = |c: f64| {
            let (mut power, mut weighted) = (0.0, 0.0);
            for v in &t {
                let own = v.powf(c);
                power += own;
                weighted += own * v.ln();
            }
            weighted / power - 1.0 / c - log_mean
        };
        let (mut low, mut high) = (1.0, 1e4);
        if !(slope(low) < 0.0 && slope(high) > 0.0) {
            return None;
        }
        for _ in 0..50 {
            let middle = f64::sqrt(low * high);
            if slope(middle) < 0.0 { low = middle } else { high = middle }
        }
        let shape = f64::sqrt(low * high);
        let scale = (t.iter().map(|v| v.powf(shape)).sum::<f64>() / n).powf(1.0 / shape);
        let likely = shape.ln() - shape * scale.ln() + (shape - 1.0) * log_mean - 1.0 - widest.ln();
        Some(Law { location, shape, scale: scale * widest, worth: likely - PENALTY * shape * shape / n })
    }

    /// The p-value of the Kolmogorov-Smirnov test against the values that the law was fitted to.
    fn p(&self, maxima: &[f64]) -> f64 {
        let mut sorted = maxima.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len() as f64;
        let below = |x: f64| (-((self.location - x) / self.scale).powf(self.shape)).exp();
        let apart = |(k, &x): (usize, &f64)| {
            let f = below(x);
            (f - k as f64 / n).max((k as f64 + 1.0) / n - f)
        };
        let d = sorted.iter().enumerate().map(apart).fold(0.0, f64::max);
        let t = d * (n.sqrt() + 0.12 + 0.11 / n.sqrt());
        let terms = (1..=100).map(|k| {
            let k = f64::from(k);
            let sign = if k % 2.0 == 1.0 { 1.0 } else { -1.0 };
            sign * (-2.0 * k * k * t * t).exp()
        });
        if t < 0.2 { 1.0 } else { (2.0 * terms.sum::<f64>()).clamp(0.0, 1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles of a reverse Weibull law of location 10: the estimate lies beyond the largest and near 10.
    #[test]
    fn the_end_of_a_reverse_weibull_law_is_found() {
        for shape in [2.0, 4.0] {
            let value = |k: i32| 10.0 - 2.0 * (-(f64::from(k) / 501.0).ln()).powf(1.0 / shape);
            let maxima: Vec<f64> = (1..=500).map(value).collect();
            let most = maxima.iter().copied().fold(f64::MIN, f64::max);
            let fit = location(&maxima).expect("a fit");
            assert!(fit.location >= most && (fit.location - 10.0).abs() < 0.35 && fit.p > 0.5, "{fit:?}, largest {most}");
        }
    }

    #[test]
    fn equal_values_are_their_own_end() {
        assert_eq!(location(&[3.5; 20]), Some(Fit { location: 3.5, p: 1.0 }));
        assert_eq!(location(&[1.0, f64::NAN]), None);
        assert_eq!(location(&[]), None);
        // two values far apart are no such law: the largest is taken
        let two: Vec<f64> = (0..400).map(|i| if i % 2 == 0 { 1.0 } else { 2.0 }).collect();
        let fit = location(&two).expect("a fit");
        assert!(fit.location == 2.0 && fit.p < REJECTED, "{fit:?}");
    }
}
