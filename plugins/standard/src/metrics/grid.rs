//! Square grids around an image: g points from −E to E along each of two directions, the image in the middle.

use flatscape_sdk::{Ask, Error, Expr, Names, Param, Tensor};

/// The two parameters of every grid.
pub(crate) fn points(default: i64) -> Param {
    Param::int("grid", default, "points along each direction, odd so that the image is one of them").range(1.0, 1001.0)
}

/// Half the width of the grid.
pub(crate) fn extent() -> Param {
    Param::float("extent", "auto", "half the width of the grid in pixel units; auto is eps").range(0.0, 1e6)
}

/// Whether points outside the box are taken as they are.
pub(crate) fn clip() -> Param {
    Param::flag(
        "clip",
        false,
        "project the points of the grid to the box of pixels, and give the share of pixels that this moves",
    )
}

/// A point of the grid, and the share of its entries that are outside the box, \[N\], where it is projected to it.
pub(crate) fn placed<'b>(g: &Names<'b>, ask: &Ask, x: Expr<'b>) -> (Expr<'b>, Option<Expr<'b>>) {
    if !ask.flag("clip") {
        return (x, None);
    }
    let outside = x.less(g.lo()).or(x.greater(g.hi())).cast(x.dtype());
    (x.max(g.lo()).min(g.hi()), Some(outside.mean(&[1], false)))
}

/// g, checked.
pub(crate) fn size(ask: &Ask) -> Result<usize, Error> {
    let g = ask.int("grid");
    if g % 2 == 0 {
        return Err(Error::invalid(format!("grid={g} is even, and the image would not be a point of it; try {}", g + 1)));
    }
    usize::try_from(g).map_err(|_| Error::invalid(format!("grid={g} is not possible")))
}

/// Offsets (ε1, ε2), each \[N,1\], of the cells with the numbers `cell`, int64 \[N\]: ε1 runs fastest.
pub(crate) fn offsets<'b>(g: &Names<'b>, ask: &Ask, cell: Expr<'b>, size: usize) -> (Expr<'b>, Expr<'b>) {
    let extent = if ask.maybe_float("extent").is_some() { g.arg("extent") } else { g.eps() };
    // −1 … 1 with 0 exactly in the middle
    let last = size.max(2) - 1;
    let table: Vec<f32> = (0..size).map(|k| if size == 1 { 0.0 } else { (2 * k) as f32 / last as f32 - 1.0 }).collect();
    let table = g.constant(Tensor::new(&[size], table).unwrap_or_else(|| Tensor::scalar(0f32)));
    let row = cell / size as f64;
    let column = cell - row * size as f64;
    let along = |place: Expr<'b>| table.gather(place, 0).unsqueeze(&[1]) * extent;
    (along(column), along(row))
}
