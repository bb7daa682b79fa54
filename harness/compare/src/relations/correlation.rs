//! Rank correlations with their uncertainty: Spearman's coefficient over mid-ranks, its interval, its permutation test, and the partial
//! coefficient given covariates. Knows columns of numbers and nothing of models.

/// A rank correlation of two columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Correlation {
    /// Spearman's coefficient.
    pub rho: f64,
    /// Its 95 % interval; `None` where it has none: fewer than four rows, or a coefficient of ±1.
    pub interval: Option<(f64, f64)>,
}

/// Spearman's ρ: Pearson's coefficient of the mid-ranks, with the interval of Fisher's z and Bonett and Wright's standard error (2000),
/// `tanh(artanh ρ ± z √((1 + ρ²/2)/(n − 3)))`. `None` for fewer than two rows or a constant column.
pub(crate) fn spearman(x: &[f64], y: &[f64]) -> Option<Correlation> {
    let rho = pearson(&midranks(x), &midranks(y))?;
    Some(Correlation { rho, interval: interval(rho, x.len(), 0) })
}

/// The correlation of two columns given covariates: with R the matrix of Spearman's coefficients and P = R⁻¹ it is
/// `−P₁₂/√(P₁₁P₂₂)`; its interval has n − 3 − k for k covariates. `None` where R is singular: a covariate has the ranks of a column.
pub(crate) fn partial(x: &[f64], y: &[f64], covariates: &[&[f64]]) -> Option<Correlation> {
    let columns: Vec<Vec<f64>> = [x, y].iter().chain(covariates).map(|column| midranks(column)).collect();
    let size = columns.len();
    let mut matrix = vec![vec![1.0; size]; size];
    for i in 0..size {
        for j in 0..i {
            let rho = pearson(&columns[i], &columns[j])?;
            (matrix[i][j], matrix[j][i]) = (rho, rho);
        }
    }
    let inverse = inverse(matrix)?;
    let rho = -inverse[0][1] / (inverse[0][0] * inverse[1][1]).sqrt();
    rho.is_finite().then(|| Correlation { rho: rho.clamp(-1.0, 1.0), interval: interval(rho, x.len(), covariates.len()) })
}

/// Columns up to this length are permuted in every way.
const ALL: usize = 9;
/// Permutations that are drawn of longer columns.
const DRAWS: usize = 100_000;
/// How much smaller a coefficient of a permutation may be and count as equal.
const SLACK: f64 = 1e-12;

/// The two-sided permutation test of ρ = 0: the share of permutations with |ρ| at least as large. All of them for up to nine rows; above
/// that 100,000 draws, keyed by their number, and the identity. `None` as for [`spearman`].
pub(crate) fn permutation_p(x: &[f64], y: &[f64]) -> Option<f64> {
    let (x, y) = (midranks(x), midranks(y));
    let observed = pearson(&x, &y)?.abs() - SLACK;
    let extreme = |order: &[f64]| pearson(&x, order).is_some_and(|rho| rho.abs() >= observed);
    if x.len() <= ALL {
        let (mut count, mut all) = (0_u64, 0_u64);
        permutations(&mut y.clone(), &mut |order| {
            all += 1;
            count += u64::from(extreme(order));
        });
        return Some(count as f64 / all as f64);
    }
    let drawn = (0..DRAWS as u64).filter(|&draw| extreme(&shuffled(&y, draw))).count();
    Some((drawn + 1) as f64 / (DRAWS + 1) as f64)
}

/// Ranks from 1; equal values share the mean of their ranks. A value that is not a number ranks last.
pub(crate) fn midranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for equal in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let first = order.partition_point(|&k| values[k].total_cmp(&values[equal[0]]).is_lt());
        for &place in equal {
            ranks[place] = first as f64 + (equal.len() as f64 + 1.0) / 2.0;
        }
    }
    ranks
}

/// Pearson's coefficient; `None` for a constant column.
fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    let n = x.len() as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n;
    let (mx, my) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        xy += (a - mx) * (b - my);
        xx += (a - mx) * (a - mx);
        yy += (b - my) * (b - my);
    }
    (x.len() == y.len() && xx > 0.0 && yy > 0.0).then(|| (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0))
}

fn interval(rho: f64, n: usize, covariates: usize) -> Option<(f64, f64)> {
    const Z: f64 = 1.959_963_984_540_054;
    let freedom = n.checked_sub(3 + covariates).filter(|&freedom| freedom > 0)?;
    if rho.abs() >= 1.0 - SLACK {
        return None;
    }
    let half = Z * ((1.0 + rho * rho / 2.0) / freedom as f64).sqrt();
    Some(((rho.atanh() - half).tanh(), (rho.atanh() + half).tanh()))
}

/// Gauss and Jordan's elimination with the largest pivot; `None` for a singular matrix.
fn inverse(mut matrix: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    let size = matrix.len();
    for (place, row) in matrix.iter_mut().enumerate() {
        row.extend((0..size).map(|column| f64::from(u8::from(column == place))));
    }
    for column in 0..size {
        let pivot = (column..size).max_by(|&a, &b| matrix[a][column].abs().total_cmp(&matrix[b][column].abs()))?;
        if matrix[pivot][column].abs() < 1e-9 {
            return None;
        }
        matrix.swap(column, pivot);
        let scale = matrix[column][column];
        matrix[column].iter_mut().for_each(|value| *value /= scale);
        let own = matrix[column].clone();
        for (place, row) in matrix.iter_mut().enumerate().filter(|(place, _)| *place != column) {
            debug_assert_ne!(place, column);
            let factor = row[column];
            row.iter_mut().zip(&own).for_each(|(value, own)| *value -= factor * own);
        }
    }
    Some(matrix.into_iter().map(|row| row[size..].to_vec()).collect())
}

/// Every order of the values once (Heap 1963).
fn permutations(values: &mut [f64], visit: &mut impl FnMut(&[f64])) {
    let mut counts = vec![0; values.len()];
    visit(values);
    let mut at = 1;
    while at < values.len() {
        if counts[at] < at {
            values.swap(if at % 2 == 0 { 0 } else { counts[at] }, at);
            visit(values);
            counts[at] += 1;
            at = 1;
        } else {
            counts[at] = 0;
            at += 1;
        }
    }
}

/// The values in the order of a draw (Fisher and Yates); the same draw gives the same order.
fn shuffled(values: &[f64], draw: u64) -> Vec<f64> {
    let mut out = values.to_vec();
    for place in (1..out.len()).rev() {
        let other = mixed(draw << 32 | place as u64) % (place as u64 + 1);
        out.swap(place, other as usize);
    }
    out
}

/// The mixing function of SplitMix64 (Steele, Lea and Flood 2014).
fn mixed(key: u64) -> u64 {
    let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f64; 7] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    const Y: [f64; 7] = [2.0, 1.0, 4.0, 3.0, 7.0, 5.0, 6.0];

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 5e-9, "{a} is not {b}");
    }

    #[test]
    fn the_coefficient_its_interval_and_its_test_are_the_known_ones() {
        let found = spearman(&X, &Y).unwrap();
        close(found.rho, 0.821_428_57);
        let (low, high) = found.interval.unwrap();
        close(low, 0.027_888_21);
        close(high, 0.979_878_16);
        close(permutation_p(&X, &Y).unwrap(), 172.0 / 5040.0);
        close(spearman(&[1.0, 2.0, 2.0, 3.0], &[1.0, 3.0, 2.0, 4.0]).unwrap().rho, 0.948_683_30);
        assert_eq!(midranks(&[5.0, 1.0, 5.0, 0.0]), [3.5, 2.0, 3.5, 1.0]);
    }

    #[test]
    fn the_smallest_p_values_are_two_of_all_orders() {
        for (n, p) in [(4, 2.0 / 24.0), (5, 2.0 / 120.0), (6, 2.0 / 720.0)] {
            close(permutation_p(&X[..n], &X[..n]).unwrap(), p);
        }
        assert_eq!(spearman(&X, &X).unwrap(), Correlation { rho: 1.0, interval: None });
        assert_eq!(spearman(&X[..3], &[1.0, 3.0, 2.0]).unwrap().interval, None);
        assert!(spearman(&X, &[2.0; 7]).is_none() && spearman(&X[..1], &X[..1]).is_none());
    }

    #[test]
    fn drawn_permutations_agree_with_the_distribution_of_the_coefficient() {
        // ten rows in order, two neighbours exchanged: fewer than one order in 10,000 is as extreme
        let x: Vec<f64> = (0..10).map(f64::from).collect();
        let mut y = x.clone();
        y.swap(0, 1);
        let p = permutation_p(&x, &y).unwrap();
        assert!((1.0 / 100_001.0..1e-4).contains(&p), "{p}");
        assert_eq!(permutation_p(&x, &y), Some(p));
        // without a relation the share is near one half of what is symmetric around it
        let y = [4.0, 9.0, 0.0, 7.0, 2.0, 5.0, 8.0, 1.0, 6.0, 3.0];
        let rho = spearman(&x, &y).unwrap().rho;
        assert!(rho.abs() < 0.2 && permutation_p(&x, &y).unwrap() > 0.6, "{rho}");
    }

    #[test]
    fn the_partial_coefficient_is_that_of_the_formula_and_undefined_where_ranks_repeat() {
        // R with (xy, xz, yz) = (.8, .7, .9), through the same inverse
        let matrix = vec![vec![1.0, 0.8, 0.7], vec![0.8, 1.0, 0.9], vec![0.7, 0.9, 1.0]];
        let p = inverse(matrix).unwrap();
        close(-p[0][1] / (p[0][0] * p[1][1]).sqrt(), 0.546_118_68);
        let z = [3.0, 1.0, 2.0, 6.0, 4.0, 7.0, 5.0];
        let [xy, xz, yz] = [(&X, &Y), (&X, &z), (&Y, &z)].map(|(a, b)| spearman(a, b).unwrap().rho);
        let found = partial(&X, &Y, &[&z]).unwrap();
        close(found.rho, (xy - xz * yz) / ((1.0 - xz * xz) * (1.0 - yz * yz)).sqrt());
        let (low, high) = found.interval.unwrap();
        let half = 1.959_963_984_540_054 * ((1.0 + found.rho.powi(2) / 2.0) / 3.0).sqrt();
        close(low, (found.rho.atanh() - half).tanh());
        close(high, (found.rho.atanh() + half).tanh());
        close(partial(&X, &Y, &[]).unwrap().rho, xy);
        assert!(partial(&X, &Y, &[&X]).is_none() && partial(&X, &Y, &[&[1.0; 7]]).is_none());
    }
}
