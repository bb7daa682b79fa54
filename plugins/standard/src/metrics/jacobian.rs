//! The squared Frobenius norm of the Jacobian of the logits, exact or estimated, the same with rows weighted by their
//! probabilities, the bounds of the mass score by them, and spectral norms. One product with the Jacobian per class.

use flatscape_sdk::{Ask, Component, Error, Expr, Law, Names, Param, Program, Reduction};

use super::formulas::{grad_units, in_units, one_hot, square};
use crate::eigen::largest_eigenvalue;

/// Classes, and values of the Jacobian of a sample, up to which spectral norms are computed.
const CLASSES: usize = 64;
const VALUES: usize = 100_000;

pub(crate) fn component() -> Component {
    Component::metric("jacobian", "squared norm of the Jacobian of the logits, its weighted form, spectral norms")
        .source("Hoffman, Roberts and Yaida 2019 (arXiv:1908.02729), equations 4 to 8; Lin et al. 2020, equations 9 to 12 and proposition 3.1")
        .param(Param::int("n-proj", -1, "random projections per sample; -1: every class, which is exact").range(-1.0, 100_000.0))
        .param(grad_units())
        .build(build)
        .reduce(|ask, rows| if has_spectrum(ask) { spectra(rows) } else { Ok(()) })
}

/// Whether the spectral norms are computed.
fn has_spectrum(ask: &Ask) -> bool {
    let classes = ask.task.classes;
    ask.int("n-proj") < 0 && classes <= CLASSES && classes * ask.task.pixels() <= VALUES
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let (n, classes) = (ask.int("n-proj"), ask.task.classes);
    match n {
        0 => Err(Error::invalid("n-proj=0 measures nothing; try 1, or -1 for every class")),
        1.. => Ok(estimated(ask, n)),
        _ => {
            if !has_spectrum(ask) {
                ask.warn(format!(
                    "jacobian gives no spectral norms: {classes} classes of {} pixels are too many",
                    ask.task.pixels()
                ));
            }
            Ok(exact(ask))
        }
    }
}

/// ‖J‖² = C/n·Σ_μ ‖Jᵀv_μ‖², v uniform on the unit sphere
fn estimated(ask: &Ask, n: i64) -> Program {
    let classes = ask.task.classes;
    ask.program()
        .cotangent(move |g| {
            let v = g.noise(Law::Normal, "projection", &[classes]);
            g.give("ct", v / (v * v).sum(&[1], true).sqrt().max(1e-12));
        })
        .probe(|g| g.give("x", g.x0()))
        .observe(|g| g.give("obs_square", square(in_units(g, ask, g.vjp()))))
        .emit(move |g| g.give("col_jacobian_square", g.observed_mean("square", &[]) * classes as f64))
        .probes(n)
}

/// Row by row: e_c J
fn exact(ask: &Ask) -> Program {
    let (classes, pixels) = (ask.task.classes, ask.task.pixels());
    let spectrum = has_spectrum(ask);
    ask.program()
        .cotangent(|g| g.give("ct", one_hot(g, g.i())))
        .probe(|g| g.give("x", g.x0()))
        .observe(move |g| {
            let row = in_units(g, ask, g.vjp());
            let p = (g.logits().softmax(1) * one_hot(g, g.i())).sum(&[1], false);
            g.give("obs_square", square(row));
            // of J^w = diag(p)·J
            g.give("obs_weighted", p * p * square(row));
            g.give("obs_jensen", p * square(row));
            // Jᵀp, the gradient of log p
            g.give("obs_mass", p.unsqueeze(&[1]) * row);
            if spectrum {
                g.give("obs_row", row);
            }
        })
        .emit(move |g| {
            let weighted = g.observed_sum("weighted", &[]);
            g.give("col_jacobian_square", g.observed_sum("square", &[]));
            g.give("col_weighted_square", weighted);
            g.give("col_mass_square", square(g.observed_sum("mass", &[pixels])));
            // ‖Jᵀp‖² ≤ Σ p_c‖J_c‖² and ≤ C·‖J^w‖²
            g.give("col_mass_bound", weighted * classes as f64);
            g.give("col_mass_bound_jensen", g.observed_sum("jensen", &[]));
            if spectrum {
                g.give("vec_gram", gram(g, classes, pixels));
            }
        })
        .probes(classes as i64)
}

/// J·Jᵀ, row by row, double \[N, classes²\]
fn gram<'b>(g: &Names<'b>, classes: usize, pixels: usize) -> Expr<'b> {
    let rows = g.observed("row", classes, &[pixels]).cast(flatscape_sdk::DType::F64);
    rows.matmul(rows.transpose(&[0, 2, 1])).reshape(&[0, (classes * classes) as i64])
}

/// σ_max of J, and of the rows J_j − J_y, which are what changes a label.
fn spectra(rows: &Reduction) -> Result<(), Error> {
    let gram = rows.vector("gram")?;
    let classes = gram.width.isqrt();
    let (mut whole, mut beside) = (Vec::new(), Vec::new());
    for (sample, &label) in rows.y().iter().enumerate() {
        let g = gram.row(sample);
        let y = usize::try_from(label).map_err(|_| Error::failed("a label is negative"))?;
        let at = |i: usize, j: usize| g[i * classes + j];
        whole.push(largest_eigenvalue(classes, at).max(0.0).sqrt());
        beside.push(largest_eigenvalue(classes, |i, j| at(i, j) - at(i, y) - at(y, j) + at(y, y)).max(0.0).sqrt());
    }
    rows.give_column("spectral_norm", &whole)?;
    rows.give_column("spectral_norm_of_differences", &beside)
}
