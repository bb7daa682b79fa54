//! Spatial transformation: every pixel is taken from a place nearby, at most ε away along rows and along columns. The parameter is
//! the flow z = (Δrow, Δcolumn), [2,H,W] in pixels. Source: Xiao et al. 2018 (arXiv:1801.02612), equation 1, with the bound of
//! Xu, Yap and Prabhu 2019 on the flow.

use flatscape_graph::Expr;

use super::sampling::{self, Outside};
use super::{Key, Parameter, Radius, Ranges, Scale, Space, Threat, parametrised, plain};

pub(super) const THREAT: Threat = Threat {
    name: "flow",
    summary: "every pixel comes from a place at most EPS pixels away (px), or EPS of half the image (grid)",
    example: "flow:0.075px",
    largest: f64::INFINITY,
    read,
    parameter: Some(Parameter { count: |[_, h, w]| 2 * h * w, space: Space::Ranges(Ranges { units, decode }), decoded }),
    ..parametrised()
};

/// `0.075px`: in pixels. `0.3/64grid`: in coordinates in which the image reaches from −1 to 1 between the outer edges of its
/// pixels, so that one pixel is 2/H or 2/W.
fn read(spelling: &str) -> Result<Radius, String> {
    let scales = [("px", Scale::Pixels), ("grid", Scale::Grid)];
    let found = scales.into_iter().find_map(|(unit, scale)| spelling.strip_suffix(unit).map(|number| (number, scale)));
    let (number, scale) = found.ok_or("has no unit; write 0.075px or 0.3/64grid")?;
    Ok(Radius { scale, ..plain(number)? })
}

fn units(scale: &Scale, [_, h, w]: [usize; 3]) -> Vec<f64> {
    let (row, column) = if *scale == Scale::Grid { (h as f64 / 2.0, w as f64 / 2.0) } else { (1.0, 1.0) };
    [vec![row; h * w], vec![column; h * w]].concat()
}

/// x(i, j) = x0(i + Δrow, j + Δcolumn), places clamped to the image
fn decode<'b>(x0: Expr<'b>, z: Expr<'b>, shape: [usize; 3]) -> Expr<'b> {
    let pixels = (shape[1] * shape[2]) as i64;
    let (rows, columns) = sampling::grid(x0, shape);
    let (down, right) = (z.slice(&[0], &[pixels], &[1], &[1]), z.slice(&[pixels], &[2 * pixels], &[1], &[1]));
    sampling::sample(x0, rows + down, columns + right, shape, Outside::Border)
}

fn decoded(x0: &[f32], z: &[f32], shape: [usize; 3], _: Key) -> Vec<f64> {
    let [_, h, w] = shape;
    let at = |row: usize, column: usize| {
        let pixel = row * w + column;
        (row as f64 + f64::from(z[pixel]), column as f64 + f64::from(z[h * w + pixel]))
    };
    sampling::sampled(x0, shape, Outside::Border, at)
}
