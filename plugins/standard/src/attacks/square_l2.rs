//! Square in l2: the budget of one square moves to another, as a bump above and a hollow below it, or left and right.

use flatscape_sdk::{DType, Expr, Law, Names, Program};

use super::formulas::{boxed, numbers, scheduled};
use super::square::{Best, Square, Squares};

/// Keeps quotients finite.
const TINY: f64 = 1e-12;

pub(super) fn steps(program: Program, squares: &Squares) -> Program {
    let init = program.init(|g| {
        let start = tiles(g, squares);
        g.give("x", boxed(g, g.x0() + start * g.eps()));
        Best::init(g);
    });
    init.step(|g| {
        let [c, h, w] = g.task().shape.map(|extent| extent as i64);
        let delta = (Best::so_far(g) - g.x0()).reshape(&[-1, c, h, w]);
        let sides = squares.sides(g, |side| side.max(3) + (side.max(3) + 1) % 2);
        let side = scheduled(g, &sides);
        let (to, from) = (squares.place(g, "corner", side), squares.place(g, "source", side));
        let (into, out_of) = (to.mask(), from.mask());
        let held = |mask| {
            let part = Expr::select(mask, delta, delta.scalar(0.0));
            (part * part).sum(&[2, 3], true)
        };
        // per channel: what both squares hold, and a share of what is left of ε²
        let left = (g.eps() * g.eps() - (delta * delta).sum(&[1, 2, 3], true)).relu();
        let budget = (left / c as f64 + held(into.or(out_of))).sqrt();
        // the bump and what was there, of that length
        let signs = g.noise(Law::Rademacher, "colour", &[c as usize]).unsqueeze(&[2, 3]);
        let new = bump(g, squares, &to, &sides) * signs + delta / (held(into).sqrt() + TINY);
        let new = into.select(new, new.scalar(0.0));
        let new = new / ((new * new).sum(&[2, 3], true).sqrt() + TINY) * budget;
        let moved = into.select(new, out_of.select(0.0, delta));
        let length = (moved * moved).sum(&[1, 2, 3], true).sqrt() + TINY;
        g.give("x_next", boxed(g, g.x0() + (moved / length).reshape(&[0, -1]) * g.eps()));
    })
}

/// η(s) of a square at its pixels, turned with probability ½: \[N,1,H,W\], anything outside.
fn bump<'b>(g: &Names<'b>, squares: &Squares, square: &Square<'b>, sides: &[f64]) -> Expr<'b> {
    let [_, h, w] = g.task().shape;
    // one table per side, and which one every query has
    let mut different: Vec<f64> = sides.to_vec();
    different.dedup();
    let place = |side: &f64| different.iter().take_while(|other| *other != side).count() as f64;
    let which = scheduled(g, &sides.iter().map(place).collect::<Vec<_>>()).cast(DType::I64);
    let tables: Vec<f64> = different.iter().flat_map(|&side| laid_out(&eta(side as usize), side as usize, h, w)).collect();
    let table = numbers(g, &tables).reshape(&[different.len() as i64, (h * w) as i64]).gather(which, 0);
    let inside = |place: Expr<'b>| place.max(0.0).min(square.side - 1.0);
    let (down, right) = (inside(square.down), inside(square.right));
    let turned = squares.draw(g, Law::Rademacher, "turn", 1).greater(0.0).unsqueeze(&[2, 3]);
    let entry = turned.select(right * w as f64 + down, down * w as f64 + right);
    table.gather(entry.cast(DType::I64), 0)
}

/// η of tiles that fill the image, each turned or not, with a sign per channel; of unit length, \[N,D\].
fn tiles<'b>(g: &Names<'b>, squares: &Squares) -> Expr<'b> {
    let [c, h, w] = g.task().shape;
    let side = (h / 5).max(1);
    let first = h.saturating_sub(5 * side) / 2;
    let across = w / side;
    let count = (h / side) * across;
    let bump = eta(side);
    // per pixel: its tile, and η there as it is and turned; nothing outside of the tiles
    let (mut tile, mut upright, mut turned) = (vec![0i64; h * w], vec![0.0; h * w], vec![0.0; h * w]);
    for (number, corner) in (0..count).map(|t| (t, (first + t / across * side, first + t % across * side))) {
        for (i, j) in (0..side * side).map(|entry| (entry / side, entry % side)) {
            let (row, column) = (corner.0 + i, corner.1 + j);
            if row < h && column < w {
                tile[row * w + column] = number as i64;
                (upright[row * w + column], turned[row * w + column]) = (bump[i * side + j], bump[j * side + i]);
            }
        }
    }
    let tile = g.builder().ints(&tile);
    let signs = g.noise(Law::Rademacher, "tile", &[c * count]).reshape(&[-1, c as i64, count as i64]).gather(tile, 2);
    let turn = squares.draw(g, Law::Rademacher, "tile_turn", count).greater(0.0).unsqueeze(&[1]);
    let turn = turn.gather(tile, 2);
    let start = (turn.select(numbers(g, &turned), numbers(g, &upright)) * signs).reshape(&[-1, (c * h * w) as i64]);
    start / ((start * start).sum(&[1], true).sqrt() + TINY)
}

/// A table [s,s] in the upper left corner of [H,W].
fn laid_out(table: &[f64], side: usize, h: usize, w: usize) -> Vec<f64> {
    let at = |row: usize, column: usize| if row < side && column < side { table[row * side + column] } else { 0.0 };
    (0..h * w).map(|pixel| at(pixel / w, pixel % w)).collect()
}

/// The upper half a pyramid, the lower half the same downwards; of unit length, [s,s].
fn eta(side: usize) -> Vec<f64> {
    let upper = pyramid(side / 2, side);
    let lower = pyramid(side - side / 2, side).into_iter().map(|v| -v);
    unit(upper.into_iter().chain(lower).collect())
}

/// Σ over k of 1/(k + 1)² on rectangles that grow around the middle; of unit length, [rows,columns].
fn pyramid(rows: usize, columns: usize) -> Vec<f64> {
    let (middle, centre) = (rows / 2, columns / 2);
    let reach = |from: usize, to: usize| from.abs_diff(to);
    let at = |row: usize, column: usize| {
        let first = reach(row, middle).max(reach(column, centre));
        (first..=middle.max(centre)).map(|k| 1.0 / ((k + 1) * (k + 1)) as f64).sum()
    };
    unit((0..rows * columns).map(|entry| at(entry / columns, entry % columns)).collect())
}

fn unit(values: Vec<f64>) -> Vec<f64> {
    let length = values.iter().map(|v| v * v).sum::<f64>().sqrt().max(TINY);
    values.iter().map(|v| v / length).collect()
}

#[cfg(test)]
mod tests {
    use super::eta;

    #[test]
    fn the_bump_has_unit_length_and_its_closed_form() {
        for side in 1..12 {
            assert!((eta(side).iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-12, "{side}");
        }
        let first = [[0.0492, 0.1598, 0.1598, 0.1598, 0.0492], [0.0492, 0.1598, 0.6022, 0.1598, 0.0492]].concat();
        assert!(eta(5).iter().zip(first).all(|(found, known)| (found - known).abs() < 6e-5), "{:?}", eta(5));
        assert!((eta(5)[10] + 0.0456).abs() < 6e-5 && (eta(5)[11] + 0.1482).abs() < 6e-5, "{:?}", eta(5));
    }
}
