//! Weather: fog.

use super::Draws;
use super::image::Image;

/// (x + a·plasma)·m/(m + a), m the largest value of x
pub(super) fn fog(x: &Image, (amount, decay): (f64, f64), draws: &Draws) -> Image {
    let [h, w] = x.height_and_width();
    let side = h.max(w).max(2).next_power_of_two();
    let plasma = plasma(side, decay, draws);
    let largest = x.values.iter().copied().fold(0.0, f64::max);
    let mut out = x.clone();
    for (at, v) in out.values.iter_mut().enumerate() {
        let (row, column) = (at / w % h, at % w);
        *v = (*v + amount * plasma[row * side + column]) * largest / (largest + amount);
    }
    out
}

/// A plasma fractal on a torus of `side`² places, a power of two, between 0 and 1: squares and diamonds are halved, their middles are
/// the means of four corners plus noise, whose amplitude falls by decay² with every halving.
fn plasma(side: usize, decay: f64, draws: &Draws) -> Vec<f64> {
    let mut map = vec![0.0; side * side];
    let (mut step, mut wibble) = (side, 100.0);
    while step >= 2 {
        let half = step / 2;
        let noise = draws.uniform(&format!("plasma {step}"), side * side);
        let at = |row: usize, column: usize| (row % side) * side + column % side;
        let mut fill = |row: usize, column: usize, corners: [(usize, usize); 4]| {
            let sum: f64 = corners.iter().map(|&(r, c)| map[at(r, c)]).sum();
            map[at(row, column)] = sum / 4.0 + wibble * wibble * noise[at(row, column)];
        };
        for row in (0..side).step_by(step) {
            for column in (0..side).step_by(step) {
                let corners = [(row, column), (row + step, column), (row, column + step), (row + step, column + step)];
                fill(row + half, column + half, corners);
            }
        }
        for row in (0..side).step_by(step) {
            for column in (0..side).step_by(step) {
                let (before, left) = (row + side - half, column + side - half);
                fill(
                    row,
                    column + half,
                    [(row, column), (row, column + step), (before, column + half), (row + half, column + half)],
                );
                fill(row + half, column, [(row, column), (row + step, column), (row + half, left), (row + half, column + half)]);
            }
        }
        (step, wibble) = (half, wibble / decay);
    }
    let least = map.iter().copied().fold(f64::INFINITY, f64::min);
    let most = map.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    map.into_iter().map(|v| (v - least) / (most - least)).collect()
}
