//! Whether a component of `reduce/1` copes with rows of every kind, and answers the same twice.

use super::{CheckReport, variants};
use crate::component::Component;
use crate::error::HostError;
use crate::plugins::Plugins;
use crate::program::Role;
use crate::reduction::{Reduced, Table};
use crate::task::Task;

/// Width of vectors whose graph does not state one: the features of a model.
const FEATURES: usize = 5;
const CLASSES: usize = 4;

/// In words, the number of samples, and what becomes of every number.
type Rows = (&'static str, usize, fn(f64) -> f64);

/// Rows of numbers: some samples, one, with NaN and infinities, none.
const KINDS: &[Rows] = &[
    ("40 samples", 40, |v| v),
    ("one sample", 1, |v| v),
    ("equal samples", 10, |_| 1.0),
    ("samples that are NaN", 6, |_| f64::NAN),
    ("samples with infinities", 6, |v| if v > 0.0 { f64::INFINITY } else { v }),
    ("no samples", 0, |v| v),
];

/// Reduces made-up rows of every kind, for the defaults and every choice and flag.
pub(super) fn reduces(plugins: &Plugins, component: &Component, report: &mut CheckReport) {
    let id = Some(component.id.as_str());
    let (mut answers, mut same) = (0, true);
    for pairs in variants(component) {
        for &(kind, samples, turn) in KINDS {
            let reduced = || reduced(plugins, component, &pairs, samples, turn);
            match (reduced(), reduced()) {
                (Ok(Some(first)), Ok(Some(second))) => {
                    answers += 1;
                    same &= format!("{first:?}") == format!("{second:?}");
                }
                (Ok(None), _) | (_, Ok(None)) => {}
                (Err(error), _) | (_, Err(error)) => {
                    return report.add("reduces", id, false, format!("{kind}: {}", error.sentence));
                }
            }
        }
    }
    report.add("reduces", id, answers > 0, format!("it reduces {answers} tables, with NaN, with one sample and without any"));
    let sentence = if same { "the same rows have the same answer" } else { "the same rows have different answers" };
    report.add("pure", id, same, sentence);
}

/// `None` where the component does not serve the task.
fn reduced(
    plugins: &Plugins,
    component: &Component,
    pairs: &[(String, String)],
    samples: usize,
    turn: fn(f64) -> f64,
) -> Result<Option<Reduced>, HostError> {
    let arguments = component.arguments(pairs)?;
    let task = Task::new([1, 4, 4], CLASSES, "l2", 0.5);
    let program = match plugins.build(component, &arguments, &task) {
        Ok(program) => program,
        Err(error) if error.is_unsupported() => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(emit) = program.graph(Role::Emit) else { return Ok(None) };
    let mut rows = Vec::new();
    for (place, output) in emit.outputs().iter().enumerate() {
        let dims = emit.shape(output.value).unwrap_or_default();
        let widths = dims.iter().skip(1).map(|dim| dim.fixed().unwrap_or(FEATURES));
        let width = if output.name.starts_with("vec_") { widths.product::<usize>() } else { 1 };
        if output.name.starts_with("surface_") {
            continue;
        }
        let wave = |k: usize| turn(2.0 + (0.7 * k as f64 + place as f64).sin() * 3.0);
        rows.push((output.name.to_string(), width, (0..samples * width).map(wave).collect()));
    }
    let y: Vec<i64> = (0..samples).map(|i| (i % CLASSES) as i64).collect();
    let weight = (0..CLASSES * FEATURES).map(|k| (k as f32).cos()).collect();
    let head = Some((FEATURES, weight, vec![0.1; CLASSES]));
    let table = Table { id: (0..samples as i64).collect(), prediction: y.clone(), y, rows, head };
    plugins.reduce(component, &arguments, &task, &table).map(Some)
}
