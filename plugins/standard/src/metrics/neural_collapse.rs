//! Neural collapse: how close the features of a data set are to one point per class (NC1), these points to a simplex (NC2), the
//! last layer to these points (NC3), and the classifier to the nearest of them (NC4).

use flatscape_sdk::{Component, Error, Head, Reduction, Rows};

use super::rates::give_rate;
use crate::eigen::eigen;
use crate::weights::{dot, norm};

/// The values of every data set.
const NAMES: &[&str] =
    &["nc_classes", "nc1", "nc2_equinorm_means", "nc2_equinorm_weights", "nc2_equiangularity", "nc2_maximal_angle", "nc3", "nc4"];

/// Eigenvalues of the covariance of class means below this share of the largest are 0.
const CUT: f64 = 1e-6;

pub(crate) fn component() -> Component {
    Component::metric("neural-collapse", "collapse of the features to class means: NC1 to NC4")
        .source("Papyan, Han and Donoho 2020, Prevalence of neural collapse (arXiv:2008.08186), figures 2 to 7")
        .build(|ask| {
            Ok(ask.program().emit(|g| {
                g.give("vec_features", g.features());
                g.give("vec_clean", g.features_clean());
            }))
        })
        .reduce(|ask, rows| {
            let head = rows.head().ok_or_else(|| Error::failed("the host gives no last layer"))?;
            let (here, clean) = (rows.vector("features")?, rows.vector("clean")?);
            let classes = ask.task.classes;
            let own = Means::of(&here, rows.y(), classes);
            let small = classes - own.classes.len();
            if small > 0 {
                ask.warn(format!("neural-collapse leaves out {small} classes with fewer than two samples"));
            }
            if own.classes.len() < 2 {
                ask.warn("neural-collapse: there are fewer than two classes with two samples; take more samples");
                return NAMES.iter().try_for_each(|name| rows.give(name, f64::NAN, rows.samples()));
            }
            own.give(rows, &here, head)?;
            let moved = (0..rows.samples()).any(|i| here.row(i) != clean.row(i));
            if moved {
                let reference = Means::of(&clean, rows.y(), classes);
                rows.give("nc1_about_clean_means", reference.nc1(&here, rows.y()), rows.samples())?;
                give_rate(rows, "nc4_about_clean_means", reference.nc4(&here, head), rows.samples())?;
            }
            Ok(())
        })
}

/// Means of the features of classes with two samples or more.
struct Means {
    /// Class numbers.
    classes: Vec<usize>,
    /// μ_c − μ_G, the global mean μ_G being the mean of the class means.
    centred: Vec<Vec<f64>>,
    /// μ_G
    global: Vec<f64>,
}

impl Means {
    fn of(features: &Rows, y: &[i64], classes: usize) -> Means {
        let width = features.width;
        let (mut sums, mut counts) = (vec![vec![0.0; width]; classes], vec![0usize; classes]);
        for (sample, &label) in y.iter().enumerate() {
            let Some(class) = usize::try_from(label).ok().filter(|&c| c < classes) else { continue };
            counts[class] += 1;
            sums[class].iter_mut().zip(features.row(sample)).for_each(|(sum, v)| *sum += v);
        }
        let kept: Vec<usize> = (0..classes).filter(|&c| counts[c] >= 2).collect();
        let means: Vec<Vec<f64>> = kept.iter().map(|&c| sums[c].iter().map(|v| v / counts[c] as f64).collect()).collect();
        let mut global = vec![0.0; width];
        for mean in &means {
            global.iter_mut().zip(mean).for_each(|(g, v)| *g += v / means.len() as f64);
        }
        let centred = means.iter().map(|mean| mean.iter().zip(&global).map(|(v, g)| v - g).collect()).collect();
        Means { classes: kept, centred, global }
    }

    fn give(&self, rows: &Reduction, features: &Rows, head: Head) -> Result<(), Error> {
        let (n, count) = (rows.samples(), self.classes.len() as f64);
        let weights: Vec<Vec<f64>> = self.classes.iter().map(|&c| weight_row(head, c)).collect();
        let cosines = self.cosines();
        let wanted = -1.0 / (count - 1.0);
        rows.give("nc_classes", count, n)?;
        rows.give("nc1", self.nc1(features, rows.y()), n)?;
        rows.give("nc2_equinorm_means", spread(self.centred.iter().map(|v| norm(v))), n)?;
        rows.give("nc2_equinorm_weights", spread(weights.iter().map(|v| norm(v))), n)?;
        rows.give("nc2_equiangularity", deviation(&cosines), n)?;
        rows.give("nc2_maximal_angle", cosines.iter().map(|c| (c - wanted).abs()).sum::<f64>() / cosines.len() as f64, n)?;
        rows.give("nc3", self.nc3(&weights), n)?;
        give_rate(rows, "nc4", self.nc4(features, head), n)
    }

    /// tr(Σ_W·Σ_B⁺)/C. With M = [μ_c − μ_G] = U·S·Vᵀ, Σ_B = M·Mᵀ/C, so Σ_B⁺ = C·U·S⁻²·Uᵀ, and U = M·V·S⁻¹.
    fn nc1(&self, features: &Rows, y: &[i64]) -> f64 {
        let count = self.classes.len();
        let (values, vectors) = eigen(count, |i, j| dot(&self.centred[i], &self.centred[j]));
        let most = values.last().copied().unwrap_or(0.0);
        let axes: Vec<(f64, Vec<f64>)> = values
            .iter()
            .zip(&vectors)
            .filter(|(value, _)| **value > CUT * most)
            .map(|(&value, vector)| {
                let mut axis = vec![0.0; features.width];
                for (share, mean) in vector.iter().zip(&self.centred) {
                    axis.iter_mut().zip(mean).for_each(|(a, m)| *a += share * m / value.sqrt());
                }
                (value, axis)
            })
            .collect();
        let (mut sum, mut samples) = (0.0, 0usize);
        for (sample, &label) in y.iter().enumerate() {
            let Some(place) = self.classes.iter().position(|&c| c as i64 == label) else { continue };
            samples += 1;
            let apart: Vec<f64> =
                features.row(sample).iter().zip(&self.global).zip(&self.centred[place]).map(|((h, g), m)| h - g - m).collect();
            // C·(uᵀ(h − μ))²/s² for every axis, and one C goes
            sum += axes.iter().map(|(value, axis)| dot(axis, &apart).powi(2) / value).sum::<f64>();
        }
        if axes.is_empty() { f64::NAN } else { sum / samples as f64 }
    }

    /// Cosines of the class means, every pair.
    fn cosines(&self) -> Vec<f64> {
        let mut all = Vec::new();
        for (i, a) in self.centred.iter().enumerate() {
            all.extend(self.centred[..i].iter().map(|b| dot(a, b) / (norm(a) * norm(b))));
        }
        all
    }

    /// ‖W/‖W‖ − M/‖M‖‖²
    fn nc3(&self, weights: &[Vec<f64>]) -> f64 {
        let whole = |rows: &[Vec<f64>]| rows.iter().map(|row| dot(row, row)).sum::<f64>().sqrt();
        let (w, m) = (whole(weights), whole(&self.centred));
        let pairs = weights.iter().flatten().zip(self.centred.iter().flatten());
        pairs.map(|(a, b)| (a / w - b / m).powi(2)).sum()
    }

    /// The number of samples whose class by the last layer is not that of the nearest class mean; among the classes that have one.
    fn nc4(&self, features: &Rows, head: Head) -> usize {
        let samples = features.samples();
        let differs = (0..samples).filter(|&sample| {
            let h = features.row(sample);
            let score = |class: usize| dot(&weight_row(head, class), h) + f64::from(head.bias[class]);
            let far = |place: usize| {
                let mean = self.centred[place].iter().zip(&self.global);
                -h.iter().zip(mean).map(|(h, (m, g))| (h - m - g).powi(2)).sum::<f64>()
            };
            let by_layer = first_largest(self.classes.iter().map(|&c| score(c)));
            by_layer != first_largest((0..self.classes.len()).map(far))
        });
        differs.count()
    }
}

fn weight_row(head: Head, class: usize) -> Vec<f64> {
    head.weight[class * head.features..(class + 1) * head.features].iter().map(|&v| f64::from(v)).collect()
}

fn first_largest(values: impl Iterator<Item = f64>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (place, value) in values.enumerate() {
        if best.is_none_or(|(_, most)| value > most) {
            best = Some((place, value));
        }
    }
    best.map(|(place, _)| place)
}

/// Standard deviation, with n in its denominator.
fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// Standard deviation over mean.
fn spread(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    deviation(&values) / (values.iter().sum::<f64>() / values.len() as f64)
}
