//! Common corruptions, one after the other: the threat model lists the points, and every one of them is judged. One run answers every
//! severity.

use flatscape_sdk::{Ask, Component, Error, Param, Program};

use super::formulas::numbers;

/// The types of corruption that the threat model numbers.
const TYPES: usize = 16;
/// Those that draw random numbers: noise, glass, motion, fog, elastic.
const RANDOM: &[usize] = &[0, 1, 2, 3, 6, 7, 14, 15];
/// Those that do not belong to the fifteen standard types: speckle noise, Gaussian blur, saturation.
const EXTRA: &[usize] = &[3, 4, 11];

pub(crate) fn component() -> Component {
    Component::attack("corruptions", "every common corruption at every severity")
        .source("Hendrycks and Dietterich 2019 (arXiv:1903.12261), the version for CIFAR-10; snow, frost and spatter are missing")
        .minimal()
        .param(Param::int("draws", 1, "how many draws of every type that is random").range(1.0, 100.0))
        .param(Param::choice("types", &["all", "standard"], "all 16 types, or the 13 that belong to the standard fifteen"))
        .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let task = &ask.task;
    if task.norm != "corruption" {
        return Err(Error::unsupported(format!("the threat model is {}; it serves corruption", task.norm)));
    }
    if task.targeted {
        return Err(Error::unsupported("a corruption leads towards no class; drop target="));
    }
    let standard = ask.text("types") == "standard";
    let mut points: Vec<f64> = Vec::new();
    for severity in 1..=task.eps as i64 {
        for kind in (0..TYPES).filter(|kind| !(standard && EXTRA.contains(kind))) {
            let draws = if RANDOM.contains(&kind) { ask.int("draws") } else { 1 };
            points.extend((0..draws).flat_map(|draw| [kind as f64, severity as f64, draw as f64]));
        }
    }
    let count = (points.len() / 3) as i64;
    // z' is row k of the table, whatever z is
    let step = move |g: &flatscape_sdk::Names| {
        let table = numbers(g, &points).reshape(&[count, 3]);
        g.give("z_next", g.z() * 0.0 + table.gather(g.k(), 0));
    };
    Ok(ask.program().step(step).steps(count))
}
