//! Eigenvalues of symmetric matrices, in double precision.

use nalgebra::DMatrix;

/// The eigenvalues of the symmetric matrix with these entries, ascending, and the eigenvectors in the same order; NaN where an entry
/// is not finite.
pub(crate) fn eigen(n: usize, at: impl Fn(usize, usize) -> f64) -> (Vec<f64>, Vec<Vec<f64>>) {
    let matrix = DMatrix::from_fn(n, n, |i, j| at(i.max(j), i.min(j)));
    if matrix.iter().any(|v| !v.is_finite()) {
        return (vec![f64::NAN; n], vec![vec![f64::NAN; n]; n]);
    }
    let found = matrix.symmetric_eigen();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| found.eigenvalues[a].total_cmp(&found.eigenvalues[b]));
    let vectors = order.iter().map(|&k| found.eigenvectors.column(k).iter().copied().collect()).collect();
    (order.iter().map(|&k| found.eigenvalues[k]).collect(), vectors)
}

/// The eigenvalues alone, ascending, of a matrix \[n, n\] in row-major order; NaN where an entry is not finite.
pub(crate) fn eigenvalues(n: usize, entries: &[f64]) -> Vec<f64> {
    if entries.iter().any(|v| !v.is_finite()) {
        return vec![f64::NAN; n];
    }
    let mut found: Vec<f64> = DMatrix::from_row_slice(n, n, entries).symmetric_eigenvalues().iter().copied().collect();
    found.sort_by(f64::total_cmp);
    found
}

/// The largest eigenvalue; NaN where an entry is not finite.
pub(crate) fn largest_eigenvalue(n: usize, at: impl Fn(usize, usize) -> f64) -> f64 {
    eigen(n, at).0.last().copied().unwrap_or(f64::NAN)
}
