//! The largest eigenvalues of the Hessian of the loss in the input, sample by sample: Lanczos as a program, whose tridiagonal matrices are
//! reduced. The basis is a state.

use flatscape_sdk::{Ask, Error, Expr, Program, Reduction, Tensor};

use super::lanczos::{Nodes, Tridiagonal, quadrature};

/// Below this a direction has no length.
const TINY: f64 = 1e-30;

/// Steps that are taken: products with the Hessian per sample.
fn steps(ask: &Ask) -> Result<usize, Error> {
    let steps = usize::try_from(ask.int("steps")).map_err(|_| Error::invalid("steps must be positive"))?;
    Ok(steps.min(ask.task.pixels()))
}

/// Gives the diagonals of a tridiagonal matrix per sample, α and β, each [N, steps].
pub(crate) fn program(ask: &Ask) -> Result<Program, Error> {
    let (steps, pixels) = (steps(ask)?, ask.task.pixels());
    let shape = ask.task.shape;
    let image = [0, shape[0] as i64, shape[1] as i64, shape[2] as i64];
    let places: Vec<f32> = (0..steps).map(|i| i as f32).collect();
    Ok(ask
        .program()
        .init(|g| {
            let start = g.noise_rademacher() * (1.0 / (pixels as f64).sqrt());
            let none = start.sum(&[1], true) * 0.0;
            let empty = none.matmul(g.constant(Tensor::full(start.dtype(), &[1, steps], 0.0)));
            // as an image, since `hvp` takes it as the direction
            g.give("state_direction", start.reshape(&image));
            g.give("state_alpha", empty);
            g.give("state_beta", empty);
            g.give("state_basis", empty.unsqueeze(&[2]) * start.unsqueeze(&[1]));
        })
        .step(|g| {
            let q = g.state("direction", &shape).reshape(&[0, -1]);
            let here = g.constant(Tensor::floats(places.clone())).equal(g.k().cast(q.dtype())).cast(q.dtype()).unsqueeze(&[0]);
            let basis = g.state("basis", &[steps, pixels]) + here.unsqueeze(&[2]) * q.unsqueeze(&[1]);
            let w = g.hvp();
            let alpha = (w * q).sum(&[1], true);
            let w = orthogonal(orthogonal(w, basis), basis);
            let beta = length(w);
            // rounding is all that is left where the space is invariant: made orthogonal once more, it leads out of it
            let next = orthogonal(w / beta.max(TINY), basis);
            let next = next / length(next).max(TINY);
            g.give("state_direction_next", next.reshape(&image));
            g.give("state_basis_next", basis);
            g.give("state_alpha_next", g.state("alpha", &[steps]) + alpha * here);
            g.give("state_beta_next", g.state("beta", &[steps]) + beta * here);
        })
        .emit(|g| {
            g.give("vec_lanczos_alpha", g.state("alpha", &[steps]));
            g.give("vec_lanczos_beta", g.state("beta", &[steps]));
        })
        .steps(steps as i64))
}

/// w − QᵀQw: [N, D], Q [N, m, D]
fn orthogonal<'b>(w: Expr<'b>, basis: Expr<'b>) -> Expr<'b> {
    let parts = (basis * w.unsqueeze(&[1])).sum(&[2], true);
    w - (basis * parts).sum(&[1], false)
}

/// ‖w‖: [N, 1]
fn length(w: Expr<'_>) -> Expr<'_> {
    (w * w).sum(&[1], true).sqrt()
}

/// Nodes and weights of a quadrature of every sample; none where a number is not finite.
pub(crate) fn nodes(rows: &Reduction<'_>) -> Result<Vec<Option<Nodes>>, Error> {
    let of = |made: Option<Tridiagonal>| made.map(|made| quadrature(&made)).transpose();
    tridiagonals(rows)?.into_iter().map(of).collect()
}

fn tridiagonals(rows: &Reduction<'_>) -> Result<Vec<Option<Tridiagonal>>, Error> {
    let (alpha, beta) = (rows.vector("lanczos_alpha")?, rows.vector("lanczos_beta")?);
    let of = |sample: usize| {
        let (alpha, beta) = (alpha.row(sample).to_vec(), beta.row(sample));
        let finite = alpha.iter().chain(beta).all(|v| v.is_finite());
        finite.then(|| Tridiagonal { beta: beta[..alpha.len().saturating_sub(1)].to_vec(), alpha, last: 0.0 })
    };
    Ok((0..rows.samples()).map(of).collect())
}

/// The largest eigenvalues of every sample, and the smallest.
pub(crate) fn reduce(rows: &Reduction<'_>, count: usize) -> Result<(), Error> {
    let mut columns = vec![vec![f64::NAN; rows.samples()]; count + 1];
    for (sample, made) in tridiagonals(rows)?.into_iter().enumerate() {
        let Some(made) = made else { continue };
        let ritz = made.ritz()?;
        for (column, found) in columns.iter_mut().zip(ritz.iter().rev()).take(count) {
            column[sample] = found.value;
        }
        columns[count][sample] = ritz.first().map_or(f64::NAN, |r| r.value);
    }
    for (place, column) in columns[..count].iter().enumerate().filter(|(_, column)| column.iter().any(|v| !v.is_nan())) {
        rows.give_column(&format!("input_hessian_eigenvalue_{}", place + 1), column)?;
    }
    rows.give_column("input_hessian_eigenvalue_min", &columns[count])
}
