//! log p(x) + log Z = LSE(f(x)), the unnormalised log-likelihood that a classifier assigns to an image. Comparable between
//! images of one model; between models only up to an unknown shift. Over a data set: the histograms of clean, of perturbed and,
//! where it is taken there, of adversarial images, and how far apart they are.

use flatscape_sdk::{Component, Error, Reduction};

/// Bins of a histogram over the range of all of them.
const BINS: usize = 100;

pub(crate) fn component() -> Component {
    Component::metric("logp", "unnormalised log-likelihood of the image, in nats; histograms under perturbation")
        .source("Lin et al. 2020, Likelihood Landscapes, equations 1 and 2, figure 3; Grathwohl et al. 2020 (arXiv:1912.03263)")
        .build(|ask| {
            Ok(ask
                .program()
                // a corner of the cube of radius eps around the image, one per image
                .probe(|g| g.give("x", g.x_clean() + g.noise_rademacher() * g.eps()))
                .observe(|g| g.give("obs_logp", g.logp()))
                .emit(|g| {
                    g.give("col_logp", g.logp());
                    g.give("col_logp_perturbed", g.observed_sum("logp", &[]));
                    g.give("vec_clean", g.logp_clean().unsqueeze(&[1]));
                })
                .probes(1))
        })
        .reduce(|_, rows| histograms(rows))
}

fn histograms(rows: &Reduction) -> Result<(), Error> {
    let clean = rows.vector("clean")?;
    let clean: Vec<f64> = (0..rows.samples()).map(|i| clean.row(i)[0]).collect();
    let (here, perturbed) = (rows.column("logp")?, rows.column("logp_perturbed")?);
    let moved = here.iter().zip(&clean).any(|(a, b)| a != b);
    let mut laws: Vec<(&str, Vec<f64>)> = vec![("clean", finite(&clean)), ("perturbed", finite(perturbed))];
    if moved {
        laws.push(("adversarial", finite(here)));
    }
    let every = || laws.iter().flat_map(|(_, values)| values).copied();
    let (low, high) = (every().fold(f64::INFINITY, f64::min), every().fold(f64::NEG_INFINITY, f64::max));
    let densities: Vec<Vec<f64>> = laws.iter().map(|(_, values)| density(values, low, high)).collect();
    let width = (high - low) / BINS as f64;
    for (place, (name, values)) in laws.iter().enumerate() {
        let n = values.len();
        let (deviation, skewness) = moments(values);
        rows.give(&format!("logp_{name}_sd"), deviation, n)?;
        rows.give(&format!("logp_{name}_skewness"), skewness, n)?;
        if width > 0.0 {
            let centre = |bin: usize| low + (bin as f64 + 0.5) * width;
            let points: Vec<(f64, f64)> = densities[place].iter().enumerate().map(|(bin, d)| (centre(bin), *d)).collect();
            rows.give_curve(&format!("logp_{name}"), &points)?;
        }
        if place > 0 {
            let pairs = densities[0].iter().zip(&densities[place]);
            let overlap = if width > 0.0 { pairs.map(|(a, b)| a.min(*b)).sum::<f64>() * width } else { 1.0 };
            rows.give(&format!("logp_{name}_overlap"), overlap, n)?;
            rows.give(&format!("logp_{name}_ks"), kolmogorov_smirnov(&laws[0].1, values), n)?;
        }
    }
    Ok(())
}

fn finite(values: &[f64]) -> Vec<f64> {
    values.iter().copied().filter(|v| v.is_finite()).collect()
}

/// The share of values per bin over its width.
fn density(values: &[f64], low: f64, high: f64) -> Vec<f64> {
    let width = (high - low) / BINS as f64;
    let mut bins = vec![0.0; BINS];
    for value in values {
        let bin = ((value - low) / width) as usize;
        bins[bin.min(BINS - 1)] += 1.0 / (values.len() as f64 * width);
    }
    bins
}

/// Standard deviation and skewness m₃/m₂^{3/2}, with n in their denominators.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let moment = |k: i32| values.iter().map(|v| (v - mean).powi(k)).sum::<f64>() / n;
    (moment(2).sqrt(), moment(3) / moment(2).powf(1.5))
}

/// The largest difference of the two distribution functions.
fn kolmogorov_smirnov(one: &[f64], two: &[f64]) -> f64 {
    let sorted = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted
    };
    let (one, two) = (sorted(one), sorted(two));
    let below = |values: &[f64], x: f64| values.partition_point(|v| *v <= x) as f64 / values.len() as f64;
    one.iter().chain(&two).map(|&x| (below(&one, x) - below(&two, x)).abs()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_laws_overlap_wholly_and_disjoint_ones_not_at_all() {
        let one: Vec<f64> = (0..50).map(f64::from).collect();
        let two: Vec<f64> = one.iter().map(|v| v + 100.0).collect();
        let overlap = |a: &[f64], b: &[f64]| {
            let pairs: Vec<(f64, f64)> = density(a, 0.0, 150.0).into_iter().zip(density(b, 0.0, 150.0)).collect();
            pairs.iter().map(|(a, b)| a.min(*b) * 1.5).sum::<f64>()
        };
        assert!((overlap(&one, &one) - 1.0).abs() < 1e-12 && overlap(&one, &two) == 0.0);
        assert_eq!((kolmogorov_smirnov(&one, &one), kolmogorov_smirnov(&one, &two)), (0.0, 1.0));
    }

    #[test]
    fn moments_of_known_numbers() {
        let (deviation, skewness) = moments(&[0.0, 0.0, 0.0, 4.0]);
        assert!((deviation - 3f64.sqrt()).abs() < 1e-12 && (skewness - 2.0 / 3f64.sqrt()).abs() < 1e-12, "{skewness}");
        assert!((moments(&[1.0, 2.0, 3.0]).1).abs() < 1e-12);
    }
}
