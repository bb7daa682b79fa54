//! Row vectors v with E[v vᵀ] = I/classes, whose products with a matrix A of `classes` rows estimate its squared norm:
//! ‖A‖² = (classes/n)·E Σ_μ ‖Aᵀv_μ‖², over n of them. With n = −1 they are the unit vectors, and the sum is ‖A‖² itself.

use flatscape_sdk::{Ask, Attributes, Error, Expr, Law, Names, Param, Tensor};

/// How many row vectors.
#[derive(Clone, Copy)]
pub(super) struct Projections {
    /// −1: all unit vectors.
    n: i64,
    classes: usize,
}

pub(super) fn param() -> Param {
    Param::int("n-proj", 1, "random projections per sample; -1: every class, which is exact").range(-1.0, 1000.0)
}

impl Projections {
    pub(super) fn asked(ask: &Ask) -> Result<Projections, Error> {
        match ask.int("n-proj") {
            0 => Err(Error::invalid("n-proj=0 measures nothing; try 1, or -1 for every class")),
            n => Ok(Projections { n, classes: ask.task.classes }),
        }
    }

    /// K, the number of rows.
    fn rows(self) -> usize {
        usize::try_from(self.n).unwrap_or(self.classes)
    }

    /// float \[N,classes\] for one row, \[N,K,classes\] otherwise; v is uniform on the unit sphere, or the unit vectors.
    pub(super) fn vectors<'b>(self, g: &Names<'b>) -> Expr<'b> {
        let c = self.classes;
        if self.n < 0 {
            return unit_vectors(g, c);
        }
        let shape = if self.n == 1 { vec![c] } else { vec![self.rows(), c] };
        let v = g.noise(Law::Normal, "projection", &shape);
        v / (v * v).sum(&[-1], true).sqrt().max(1e-12)
    }

    /// A row vector times `p` of every class \[N,classes\].
    pub(super) fn scaled<'b>(self, v: Expr<'b>, p: Expr<'b>) -> Expr<'b> {
        if v.rank() == Some(2) { v * p } else { v * p.unsqueeze(&[1]) }
    }

    /// The estimate of ‖A‖² of each sample, \[N\], where the cotangent is made of [`Projections::vectors`].
    pub(super) fn norm<'b>(self, g: &Names<'b>) -> Expr<'b> {
        if self.n == 1 {
            return super::formulas::square(g.vjp()) * self.classes as f64;
        }
        let sum = super::formulas::square(g.vjp_rows(self.rows()));
        if self.n < 0 { sum } else { sum * (self.classes as f64 / self.n as f64) }
    }
}

/// e_1 … e_C for every sample, \[N,C,C\].
fn unit_vectors<'b>(g: &Names<'b>, c: usize) -> Expr<'b> {
    let eye = g.constant(Tensor::identity(c)).unsqueeze(&[0]);
    let b = g.builder();
    let shape = b.concat(&[g.y().shape(), b.ints(&[c as i64, c as i64])], 0);
    b.op("Expand", &[eye, shape], Attributes::none())
}
