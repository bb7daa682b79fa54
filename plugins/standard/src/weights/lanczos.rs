//! Spectra of symmetric matrices that are known by their products: Lanczos with full reorthogonalisation, the eigenvalues of the
//! tridiagonal matrix that it gives, and stochastic quadrature. In double. Sources: Golub and Van Loan, Matrix Computations, chapters 8
//! and 10; Ubaru, Chen, Saad 2017; Ghorbani, Krishnan, Xiao 2019 (arXiv:1901.10159).

use flatscape_sdk::Error;

use super::{dot, norm};
use crate::eigen::{eigen, eigenvalues};

/// Below this a new vector is rounding, and the space that is spanned is invariant.
const BREAKDOWN: f64 = 1e-10;

/// A symmetric tridiagonal matrix: `alpha` on the diagonal, `beta` beside it, one shorter. `last` is the β that follows it: 0 where
/// the space is invariant.
pub(crate) struct Tridiagonal {
    pub alpha: Vec<f64>,
    pub beta: Vec<f64>,
    pub last: f64,
}

/// An eigenvalue of a tridiagonal matrix with the first and the last component of its vector of length 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ritz {
    pub value: f64,
    pub first: f64,
    pub last: f64,
}

/// A matrix as what it does to vectors.
pub(crate) type Product<'p> = &'p mut dyn FnMut(&[f64]) -> Result<Vec<f64>, Error>;

/// Nodes and weights of a quadrature.
pub(crate) type Nodes = Vec<(f64, f64)>;

/// At most `steps` steps of Lanczos from `start`, with every new vector orthogonalised twice against all former ones. Where the space
/// is invariant before, the process goes on with a vector of `fresh` that is orthogonal to it (β = 0), so that further eigenvalues
/// are found.
///
/// # Errors
/// A product has no answer.
pub(crate) fn lanczos(
    start: &[f64],
    steps: usize,
    product: Product<'_>,
    fresh: &mut dyn FnMut(usize) -> Result<Vec<f64>, Error>,
) -> Result<Tridiagonal, Error> {
    let mut made = Tridiagonal { alpha: Vec::new(), beta: Vec::new(), last: 0.0 };
    let length = norm(start);
    if length == 0.0 {
        return Err(Error::unsupported("there is nothing to differentiate by"));
    }
    let mut v: Vec<f64> = start.iter().map(|v| v / length).collect();
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let mut largest = 0f64;
    for step in 0..steps {
        let mut w = product(&v)?;
        let alpha = dot(&w, &v);
        largest = largest.max(norm(&w));
        basis.push(v);
        made.alpha.push(alpha);
        orthogonalise(&mut w, &basis);
        let beta = norm(&w);
        let invariant = beta <= BREAKDOWN * largest.max(f64::MIN_POSITIVE);
        made.last = if invariant { 0.0 } else { beta };
        if step + 1 == steps {
            break;
        }
        if invariant {
            w = fresh(step)?;
            let before = norm(&w);
            orthogonalise(&mut w, &basis);
            if norm(&w) <= 1e-8 * before {
                break; // the basis spans everything
            }
        }
        made.beta.push(made.last);
        let length = norm(&w);
        v = w.into_iter().map(|w| w / length).collect();
    }
    Ok(made)
}

/// Takes the part of `w` in the space of the basis away, twice.
fn orthogonalise(w: &mut [f64], basis: &[Vec<f64>]) {
    for _ in 0..2 {
        for q in basis {
            let c = dot(w, q);
            w.iter_mut().zip(q).for_each(|(w, q)| *w -= c * q);
        }
    }
}

impl Tridiagonal {
    /// Eigenvalues, ascending; of the vectors the first and the last components.
    ///
    /// # Errors
    /// It has entries that are not finite.
    pub(crate) fn ritz(&self) -> Result<Vec<Ritz>, Error> {
        let n = self.alpha.len();
        let at = |i: usize, j: usize| match i.abs_diff(j) {
            0 => self.alpha[i],
            1 => self.beta[i.min(j)],
            _ => 0.0,
        };
        let (values, vectors) = eigen(n, at);
        finite(&values)?;
        let pairs = values.into_iter().zip(&vectors);
        Ok(pairs.map(|(value, vector)| Ritz { value, first: vector[0], last: vector[n - 1] }).collect())
    }
}

fn finite(values: &[f64]) -> Result<(), Error> {
    let sound = values.iter().all(|v| v.is_finite());
    if sound { Ok(()) } else { Err(Error::failed("a matrix has entries that are not finite, and so no eigenvalues")) }
}

/// The nodes and weights of a quadrature: Σ_k w_k f(λ_k) estimates vᵀ f(A) v / vᵀv.
pub(crate) fn quadrature(made: &Tridiagonal) -> Result<Nodes, Error> {
    Ok(made.ritz()?.iter().map(|r| (r.value, r.first * r.first)).collect())
}

/// The eigenvalues of a dense symmetric matrix [n, n], ascending.
///
/// # Errors
/// As for [`Tridiagonal::ritz`].
pub(crate) fn dense(a: &[f64], n: usize) -> Result<Vec<f64>, Error> {
    let values = eigenvalues(n, a);
    finite(&values).map(|()| values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between −1 and 1 by place.
    fn number(i: usize) -> f64 {
        let mut z = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// QΛQᵀ with a planted spectrum: 8, 5, 3 and −2, the others small, by reflections.
    fn planted(n: usize) -> (Vec<f64>, Vec<f64>) {
        let mut spectrum: Vec<f64> = (0..n).map(|i| 0.02 * number(i)).collect();
        spectrum[..4].copy_from_slice(&[8.0, 5.0, 3.0, -2.0]);
        let mut a = vec![0.0; n * n];
        (0..n).for_each(|i| a[i * n + i] = spectrum[i]);
        for k in 0..n {
            let u: Vec<f64> = (0..n).map(|i| number(1000 + k * n + i)).collect();
            let size = dot(&u, &u);
            for rows in [true, false] {
                for i in 0..n {
                    let at = |j: usize| if rows { j * n + i } else { i * n + j };
                    let c = 2.0 * (0..n).map(|j| a[at(j)] * u[j]).sum::<f64>() / size;
                    (0..n).for_each(|j| a[at(j)] -= c * u[j]);
                }
            }
        }
        spectrum.sort_by(f64::total_cmp);
        (a, spectrum)
    }

    fn product(a: &[f64], n: usize) -> impl FnMut(&[f64]) -> Result<Vec<f64>, Error> + '_ {
        move |v| Ok((0..n).map(|i| dot(&a[i * n..(i + 1) * n], v)).collect())
    }

    #[test]
    fn lanczos_finds_planted_eigenvalues() {
        let (a, spectrum) = planted(30);
        let start: Vec<f64> = (0..30).map(|i| number(7000 + i)).collect();
        let mut fresh = |k: usize| Ok((0..30).map(|i| number(9000 + 30 * k + i)).collect());
        let made = lanczos(&start, 25, &mut product(&a, 30), &mut fresh).expect("a matrix");
        let ritz = made.ritz().expect("eigenvalues");
        for (found, wanted) in ritz.iter().rev().take(3).zip([8.0, 5.0, 3.0]) {
            assert!((found.value - wanted).abs() < 1e-12, "{} {wanted}", found.value);
            assert!((made.last * found.last).abs() < 1e-10, "the residual is small");
        }
        assert!((ritz[0].value + 2.0).abs() < 1e-12);
        let whole = lanczos(&start, 30, &mut product(&a, 30), &mut fresh).expect("a matrix").ritz().expect("eigenvalues");
        assert!(whole.iter().zip(&spectrum).all(|(a, b)| (a.value - b).abs() < 1e-11));
        assert!(dense(&a, 30).expect("eigenvalues").iter().zip(&spectrum).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    /// Σw = 1, n·Σwλ → tr, n·Σwλ² → ‖A‖²: for unit vectors as probes exactly.
    #[test]
    fn quadrature_has_the_moments_of_the_matrix() {
        let (a, spectrum) = planted(30);
        let (mut trace, mut square) = (0.0, 0.0);
        for k in 0..30 {
            let start: Vec<f64> = (0..30).map(|i| f64::from(u8::from(i == k))).collect();
            let mut fresh = |k: usize| Ok((0..30).map(|i| number(9000 + 30 * k + i)).collect());
            let nodes = quadrature(&lanczos(&start, 10, &mut product(&a, 30), &mut fresh).expect("a matrix")).expect("nodes");
            assert!((nodes.iter().map(|n| n.1).sum::<f64>() - 1.0).abs() < 1e-12);
            trace += nodes.iter().map(|(value, weight)| value * weight).sum::<f64>();
            square += nodes.iter().map(|(value, weight)| value * value * weight).sum::<f64>();
        }
        assert!((trace - spectrum.iter().sum::<f64>()).abs() < 1e-10);
        assert!((square - dot(&spectrum, &spectrum)).abs() < 1e-9);
    }

    #[test]
    fn an_invariant_space_is_left() {
        // the identity: the first vector spans an invariant space
        let mut fresh = |k: usize| Ok((0..4).map(|i| number(100 + 4 * k + i)).collect());
        let made = lanczos(&[1.0, 0.0, 0.0, 0.0], 9, &mut |v| Ok(v.to_vec()), &mut fresh).expect("a matrix");
        let ritz = made.ritz().expect("eigenvalues");
        assert_eq!(ritz.len(), 4);
        assert!(ritz.iter().all(|r| (r.value - 1.0).abs() < 1e-14));
        assert!(lanczos(&[0.0; 4], 3, &mut |v| Ok(v.to_vec()), &mut fresh).is_err());
    }
}
