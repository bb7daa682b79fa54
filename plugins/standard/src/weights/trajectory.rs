//! A sequence of files of one architecture, projected onto its two principal directions. Source: Li et al. 2018 (arXiv:1712.09913),
//! section 7.2, and the released code.

use flatscape_sdk::{Ask, Component, Error, Param, Weights};

use super::{directions, dot, moved, norm, sounded, spaced, wide};

/// By how much a surface is wider than the path on it, on each side.
const MARGIN: f64 = 0.25;

pub(crate) fn component() -> Component {
    Component::metric("trajectory", "the way of a training through files, projected onto its two principal directions")
        .source("Li et al. 2018, Visualizing the Loss Landscape of Neural Nets, section 7.2")
        .param(Param::text("files", "none", "the files before the model, in order, in brackets: (a.onnx,b.onnx)"))
        .param(directions::ignore())
        .param(Param::int("points", 21, "points of the surface along each direction; 0 draws none").range(0.0, 1001.0))
        // no graphs: this checks the argument before anything runs
        .build(|ask| files(ask).map(|_| ask.program()))
        .weights(measure)
}

/// The files that the user named.
fn files(ask: &Ask) -> Result<Vec<&str>, Error> {
    let text = ask.text("files");
    let inner = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).unwrap_or(text);
    let files: Vec<&str> = inner.split(',').map(str::trim).filter(|file| !file.is_empty()).collect();
    if text == "none" || files.is_empty() {
        return Err(Error::invalid("name the files before the model: trajectory:files=(a.onnx,b.onnx)"));
    }
    Ok(files)
}

/// Two principal directions of rows, each of length 1, and the shares of the variance that they explain. A direction that vanishes is
/// 0 everywhere.
pub(crate) struct Principal {
    pub directions: [Vec<f64>; 2],
    pub shares: [f64; 2],
}

/// Of the mean-centred rows by their Gram matrix: with XXᵀq = λq the direction is Xᵀq/√λ.
pub(crate) fn principal(rows: &[Vec<f64>]) -> Result<Principal, Error> {
    let (n, p) = (rows.len(), rows.first().map_or(0, Vec::len));
    let mean: Vec<f64> = (0..p).map(|i| rows.iter().map(|row| row[i]).sum::<f64>() / n.max(1) as f64).collect();
    let centred: Vec<Vec<f64>> = rows.iter().map(|row| row.iter().zip(&mean).map(|(a, b)| a - b).collect()).collect();
    let mut gram: Vec<f64> = (0..n * n).map(|k| dot(&centred[k / n], &centred[k % n])).collect();
    let total: f64 = (0..n).map(|i| gram[i * n + i]).sum();
    if total <= 0.0 || !total.is_finite() {
        return Err(Error::unsupported("the files have the same weights, so they give no direction to project on"));
    }
    let vectors = jacobi(&mut gram, n);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| gram[b * n + b].total_cmp(&gram[a * n + a]));
    let made = |rank: usize| {
        let value = order.get(rank).map_or(0.0, |&k| gram[k * n + k]);
        // below this a direction is rounding
        if value <= 1e-12 * total {
            return (vec![0.0; p], 0.0);
        }
        let q: Vec<f64> = (0..n).map(|i| vectors[i * n + order[rank]]).collect();
        let mut d: Vec<f64> =
            (0..p).map(|i| centred.iter().zip(&q).map(|(row, q)| row[i] * q).sum::<f64>() / value.sqrt()).collect();
        let largest = d.iter().copied().fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
        if largest < 0.0 {
            d.iter_mut().for_each(|v| *v = -*v);
        }
        (d, value / total)
    };
    let ((first, share), (second, other)) = (made(0), made(1));
    Ok(Principal { directions: [first, second], shares: [share, other] })
}

/// Jacobi's rotations: the matrix becomes diagonal, and its vectors are returned as columns.
fn jacobi(a: &mut [f64], n: usize) -> Vec<f64> {
    let mut v: Vec<f64> = (0..n * n).map(|k| f64::from(u8::from(k / n == k % n))).collect();
    for _ in 0..100 {
        let off: f64 = (0..n * n).filter(|k| k / n != k % n).map(|k| a[k] * a[k]).sum();
        let size: f64 = a.iter().map(|v| v * v).sum();
        if off <= 1e-30 * size {
            break;
        }
        for (p, q) in (0..n).flat_map(|p| (p + 1..n).map(move |q| (p, q))) {
            if a[p * n + q] == 0.0 {
                continue;
            }
            let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * a[p * n + q]);
            let t = 1f64.copysign(theta) / (theta.abs() + theta.hypot(1.0));
            let c = 1.0 / t.hypot(1.0);
            let s = t * c;
            for k in 0..n {
                let (x, y) = (a[k * n + p], a[k * n + q]);
                (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
            }
            for k in 0..n {
                let (x, y) = (a[p * n + k], a[q * n + k]);
                (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y);
                let (x, y) = (v[k * n + p], v[k * n + q]);
                (v[k * n + p], v[k * n + q]) = (c * x - s * y, s * x + c * y);
            }
        }
    }
    v
}

fn measure(ask: &Ask, weights: &Weights<'_>) -> Result<(), Error> {
    let theta = weights.theta();
    let segments = weights.segments();
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for file in files(ask)? {
        let mut row: Vec<f64> = wide(&weights.other(file)?).iter().zip(theta).map(|(a, &b)| a - f64::from(b)).collect();
        if ask.text("ignore") == "biasbn" {
            directions::kernels_only(&mut row, &segments);
        }
        rows.push(row);
    }
    rows.push(vec![0.0; theta.len()]);
    let Principal { directions, shares } = principal(&rows)?;
    let along = |d: &[f64]| -> Vec<f64> { rows.iter().map(|row| dot(row, d)).collect() };
    let (x, y) = (along(&directions[0]), along(&directions[1]));
    weights.curve("trajectory", &x, &y)?;
    weights.value("trajectory_explained_1", shares[0], None, rows.len())?;
    weights.value("trajectory_explained_2", shares[1], None, rows.len())?;
    weights.value("trajectory_length", rows.windows(2).map(|p| norm(&difference(&p[0], &p[1]))).sum(), None, rows.len())?;
    let points = usize::try_from(ask.int("points")).unwrap_or(0);
    if points < 2 {
        return Ok(());
    }
    if shares[1] == 0.0 {
        weights.log("the files lie on a line: the second direction vanishes, and there is no surface");
        return Ok(());
    }
    let (x, y) = (around(&x, points), around(&y, points));
    let mut loss = Vec::with_capacity(points * points);
    for &b in &y {
        for &a in &x {
            loss.push(sounded(weights, &moved(theta, &[(a, &directions[0]), (b, &directions[1])]))?.0);
        }
    }
    weights.value("trajectory_holes", loss.iter().filter(|l| l.is_nan()).count() as f64, None, loss.len())?;
    weights.surface("trajectory_loss", &x, &y, &loss)
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// A range that covers these coordinates and a quarter more on each side.
fn around(values: &[f64], points: usize) -> Vec<f64> {
    let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
    spaced(low - MARGIN * (high - low), high + MARGIN * (high - low), points)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_has_one_direction() {
        let end: Vec<f64> = (0..9).map(|i| (i as f64).sin()).collect();
        let rows: Vec<Vec<f64>> = [3.0, 2.0, 0.5, 0.0].iter().map(|t| end.iter().map(|v| t * v).collect()).collect();
        let found = principal(&rows).expect("directions");
        assert!((found.shares[0] - 1.0).abs() < 1e-12 && found.shares[1] == 0.0);
        assert!((dot(&rows[0], &found.directions[0]).abs() - 3.0 * norm(&end)).abs() < 1e-9);
        assert_eq!(dot(&rows[3], &found.directions[0]), 0.0);
        assert!(principal(&[end.clone(), end]).is_err(), "a way of no length");
    }

    /// Rows in a plane: both directions are found with their shares, orthogonal, the largest entry positive.
    #[test]
    fn the_gram_matrix_gives_the_principal_directions() {
        let (u, v) = ([0.6, 0.8, 0.0], [0.0, 0.0, 1.0]);
        let at = |a: f64, b: f64| (0..3).map(|i| a * u[i] + b * v[i]).collect::<Vec<f64>>();
        let found = principal(&[at(2.0, 0.0), at(-2.0, 0.0), at(0.0, 1.0), at(0.0, -1.0)]).expect("directions");
        assert!((found.shares[0] - 0.8).abs() < 1e-12 && (found.shares[1] - 0.2).abs() < 1e-12);
        for (d, wanted) in found.directions.iter().zip([u, v]) {
            assert!(d.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{d:?}");
        }
    }
}
