//! Rotations and shifts on a grid: every combination is tried. Black box by construction, and exhaustive up to the grid.

use flatscape_sdk::{Ask, Component, Error, Param, Program};

use super::formulas::numbers;
use super::objectives;

pub(crate) fn component() -> Component {
    Component::attack("rotation-translation", "all rotations and shifts of a grid")
        .source("Engstrom et al. 2019 (arXiv:1712.02779), section 3; the grid of its experiments")
        .param(Param::int("angles", 31, "how many angles, the largest ones among them").range(1.0, 1001.0))
        .param(Param::int("shifts", 5, "how many shifts of rows, and of columns").range(1.0, 101.0))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    if ask.task.norm != "rigid" {
        return Err(Error::unsupported(format!("the threat model is {}; it serves rigid", ask.task.norm)));
    }
    // −1 … 1, or 0 alone
    let along = |count: i64| -> Vec<f64> {
        (0..count).map(|k| if count == 1 { 0.0 } else { (2 * k) as f64 / (count - 1) as f64 - 1.0 }).collect()
    };
    let (angles, shifts) = (along(ask.int("angles")), along(ask.int("shifts")));
    let mut points: Vec<f64> = Vec::new();
    for angle in &angles {
        for down in &shifts {
            points.extend(shifts.iter().flat_map(|right| [*angle, *down, *right]));
        }
    }
    let count = points.len() / 3;
    Ok(objectives::margin(ask.program(), ask)
        .step(|g| {
            // z' = ε·(angle, shift of rows, shift of columns) in units of the threat model, whatever z is
            let table = numbers(g, &points).reshape(&[count as i64, 3]);
            let unit = g.function("Steepest", &[g.z() * 0.0 + 1.0]);
            g.give("z_next", unit * table.gather(g.k(), 0) * g.eps());
        })
        .steps(count as i64))
}
