//! A training as a table, a picture and a page: one row per epoch. It knows numbers and their names; no trainer.

use minijinja::{Environment, context};
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cell::{Cell, csv_bytes};
use crate::error::ReportError;
use crate::page::{STYLE, without_script};
use crate::palette::{CURVES, RULE};
use crate::svg::{Anchor, Canvas, Ink, Painted, fill, label, picture, stroke, tenths, text_style};
use crate::text::{shown, shown_to};
use crate::ticks::Ticks;

/// A share of images with its 95 % interval (Clopper-Pearson).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// The share.
    pub share: f64,
    /// How many images there are.
    pub n: usize,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// One epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The epoch, counted from 1.
    pub epoch: u32,
    /// Learning rate of its last step.
    pub lr: f64,
    /// Mean cost over its samples.
    pub cost: f64,
    /// Mean cross-entropy at the training images, where the cost reads their logits.
    pub loss: Option<f64>,
    /// Mean cross-entropy at the adversarial images, as above.
    pub loss_adv: Option<f64>,
    /// Means of the parts of the cost that the trainer names.
    pub parts: Vec<(String, f64)>,
    /// Mean norm of the derivative by all parameters.
    pub gradient_norm: f64,
    /// Accuracy on the validation images.
    pub clean: Option<Rate>,
    /// Accuracy at the last points of the attack on the first validation images.
    pub robust: Option<Rate>,
    /// Mean ‖∂logits/∂x‖² there, pixel units.
    pub jacobian: Option<f64>,
    /// Mean Σ p² there.
    pub concentration: Option<f64>,
    /// Accuracy on watched training images at the points of the single step that the model is trained with.
    pub watched_single: Option<Rate>,
    /// The same at the last points of the attack of the evaluation.
    pub watched_robust: Option<Rate>,
}

/// What the page of a training says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Training {
    /// Name of the model.
    pub title: String,
    /// What came of it, as a sentence.
    pub sentence: String,
    /// Whether it ended before its last epoch, or with a model that should not be used.
    pub failed: bool,
    /// The command.
    pub command: String,
    /// What else is known, name and value.
    pub facts: Vec<(String, String)>,
    /// The epochs.
    pub rows: Vec<Progress>,
    /// The epoch whose weights were written, counted from 1.
    pub chosen: Option<u32>,
}

/// The headings of the fixed columns of `log.csv`.
const COLUMNS: &[&str] = &[
    "epoch",
    "lr",
    "cost",
    "loss",
    "loss_adv",
    "gradient_norm",
    "validation_clean_accuracy",
    "validation_clean_ci_low",
    "validation_clean_ci_high",
    "validation_clean_n",
    "validation_robust_accuracy",
    "validation_robust_ci_low",
    "validation_robust_ci_high",
    "validation_robust_n",
    "jacobian_squared",
    "sum_p_squared",
    "watched_single_step_accuracy",
    "watched_robust_accuracy",
    "watched_n",
];

/// `log.csv`: the fixed columns, then the parts of the cost in the order of the trainer. What was not measured is empty.
pub fn training_csv(rows: &[Progress]) -> Vec<u8> {
    let parts: Vec<String> = rows.first().map_or(Vec::new(), |row| row.parts.iter().map(|(name, _)| name.clone()).collect());
    let header = COLUMNS.iter().map(|name| (*name).to_owned()).chain(parts.iter().cloned());
    csv_bytes(header.map(|name| Cell::Text(name.into())), rows.iter().map(|row| cells(row, &parts)))
}

fn cells(row: &Progress, parts: &[String]) -> Vec<Cell<'static>> {
    let number = |value: Option<f64>| value.map_or(Cell::Missing, Cell::Number);
    let count = |rate: Option<Rate>| rate.map_or(Cell::Missing, |rate| Cell::Integer(rate.n as i128));
    let rate = |rate: Option<Rate>| {
        let [share, low, high] = [rate.map(|r| r.share), rate.map(|r| r.low), rate.map(|r| r.high)].map(number);
        [share, low, high, count(rate)]
    };
    let mut cells = vec![
        Cell::Integer(i128::from(row.epoch)),
        Cell::Number(row.lr),
        Cell::Number(row.cost),
        number(row.loss),
        number(row.loss_adv),
        Cell::Number(row.gradient_norm),
    ];
    cells.extend(rate(row.clean));
    cells.extend(rate(row.robust));
    cells.extend([number(row.jacobian), number(row.concentration)]);
    cells.extend([row.watched_single, row.watched_robust].map(|watched| number(watched.map(|rate| rate.share))));
    cells.push(count(row.watched_robust));
    let part = |name: &String| number(row.parts.iter().find(|(known, _)| known == name).map(|(_, value)| *value));
    cells.extend(parts.iter().map(part));
    cells
}

const SIZE: (f64, f64) = (720.0, 300.0);
/// Left, top, right and bottom of the two plots.
const PLOTS: [(f64, f64, f64, f64); 2] = [(38.0, 54.0, 320.0, 256.0), (400.0, 54.0, 682.0, 256.0)];

/// One line of a plot.
struct Line {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

/// Accuracies and costs over the epochs, side by side.
pub fn training_svg(rows: &[Progress]) -> String {
    let points = |of: fn(&Progress) -> Option<f64>| -> Vec<(f64, f64)> {
        let point = |row: &Progress| of(row).filter(|v| v.is_finite()).map(|v| (f64::from(row.epoch), v));
        rows.iter().filter_map(point).collect()
    };
    let accuracies = [
        Line { name: "clean accuracy", points: points(|row| row.clean.map(|rate| rate.share)) },
        Line { name: "robust accuracy", points: points(|row| row.robust.map(|rate| rate.share)) },
        Line { name: "watched, single step", points: points(|row| row.watched_single.map(|rate| rate.share)) },
        Line { name: "watched, attack", points: points(|row| row.watched_robust.map(|rate| rate.share)) },
    ];
    let costs = [
        Line { name: "cost", points: points(|row| Some(row.cost)) },
        Line { name: "cross-entropy", points: points(|row| row.loss) },
        Line { name: "adversarial cross-entropy", points: points(|row| row.loss_adv) },
    ];
    let last = rows.last().map_or(1.0, |row| f64::from(row.epoch)).max(1.0);
    picture(SIZE, "validation accuracy and training cost over the epochs", |canvas| {
        let watched = rows.iter().any(|row| row.watched_robust.is_some());
        let title = if watched { "Accuracy, validation and watched training images" } else { "Validation accuracy" };
        plot(canvas, PLOTS[0], title, &accuracies, (last, 1.0))?;
        let highest = costs.iter().flat_map(|line| &line.points).map(|(_, v)| *v).fold(0.0, f64::max);
        plot(canvas, PLOTS[1], "Training cost, means over the epoch", &costs, (last, if highest > 0.0 { highest } else { 1.0 }))
    })
}

fn plot(
    canvas: &Canvas,
    (left, top, right, bottom): (f64, f64, f64, f64),
    title: &str,
    lines: &[Line],
    (last, highest): (f64, f64),
) -> Painted {
    label(canvas, (left - 20.0, 18.0), Anchor::Start, 13.0, Ink::Bold, title, 60)?;
    let fifths: Vec<f64> = (0..=5).map(|k| highest * f64::from(k) / 5.0).collect();
    let step = (last / 8.0).ceil().max(1.0);
    let epochs: Vec<f64> = (0..).map(|k| f64::from(k) * step).take_while(|&e| e <= last).collect();
    let mut chart = ChartBuilder::on(canvas)
        .margin_left(tenths(left - 34.0))
        .margin_top(tenths(top))
        .margin_right(tenths(SIZE.0 - right))
        .margin_bottom(tenths(SIZE.1 - bottom - 40.0))
        .x_label_area_size(tenths(40.0))
        .y_label_area_size(tenths(34.0))
        .build_cartesian_2d(Ticks::new(0.0..last, epochs), Ticks::new(0.0..highest, fifths))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .axis_style(stroke(RULE, 10))
        .bold_line_style(stroke(RULE, 10))
        .label_style(text_style(11.0, Ink::Quiet))
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .y_label_formatter(&|value| format!("{value:.*}", decimals(highest)))
        .axis_desc_style(text_style(11.0, Ink::Plain))
        .x_desc("epoch")
        .draw()?;
    for (place, line) in lines.iter().filter(|line| !line.points.is_empty()).enumerate() {
        let colour = CURVES[place % CURVES.len()];
        chart.draw_series(LineSeries::new(line.points.iter().copied(), stroke(colour, 18)))?;
        // a single epoch has no line
        chart.draw_series(line.points.iter().map(|&point| Circle::new(point, 22, fill(colour))))?;
        let x = left + 112.0 * place as f64 - 20.0;
        let swatch = [(x, 34.0), (x + 12.0, 34.0)];
        crate::svg::line(canvas, &swatch, stroke(colour, 22))?;
        label(canvas, (x + 16.0, 38.0), Anchor::Start, 10.5, Ink::Plain, line.name, 26)?;
    }
    Ok(())
}

/// Decimals that tell fifths of this number apart: two at least below ten, none above, nine at most.
fn decimals(highest: f64) -> usize {
    if highest >= 10.0 { 0 } else { (1.0 - (highest / 5.0).log10().floor()).clamp(2.0, 9.0) as usize }
}

#[derive(Serialize)]
struct Contents {
    title: String,
    sentence: String,
    failed: bool,
    command: String,
    facts: Vec<(String, String)>,
    picture: String,
    headings: Vec<String>,
    rows: Vec<(bool, Vec<String>)>,
    left_out: usize,
}

/// Rows that the page shows at most; `log.csv` has all of them.
const SHOWN: usize = 400;

/// The page as HTML: one file that needs no network and runs no script. The same training gives the same bytes.
///
/// # Errors
/// The template is wrong, which no input causes.
pub fn training_html(training: &Training) -> Result<String, ReportError> {
    let parts = training.rows.first().map_or(&[][..], |row| &row.parts);
    let headings =
        ["epoch", "learning rate", "cost", "cross-entropy", "adversarial", "clean accuracy", "robust accuracy", "‖J‖²", "Σp²"];
    let headings = headings.into_iter().map(str::to_owned).chain(parts.iter().map(|(name, _)| shown(name))).collect();
    let first = training.rows.len().saturating_sub(SHOWN);
    let row = |row: &Progress| (training.chosen == Some(row.epoch), texts(row));
    let contents = Contents {
        title: shown(&training.title),
        sentence: shown_to(&training.sentence, 800),
        failed: training.failed,
        command: shown_to(&training.command, 2000),
        facts: training.facts.iter().map(|(name, value)| (shown(name), shown_to(value, 800))).collect(),
        picture: training_svg(&training.rows),
        headings,
        rows: training.rows[first..].iter().map(row).collect(),
        left_out: first,
    };
    let mut environment = Environment::new();
    environment.set_keep_trailing_newline(true);
    // The name ends in `.html`, which turns escaping on.
    environment.add_template("training.html", include_str!("training.html"))?;
    let style = minijinja::Value::from_safe_string(STYLE.to_owned());
    let policy = minijinja::Value::from_safe_string(without_script());
    let drawn = minijinja::Value::from_safe_string(contents.picture.clone());
    let own = context! { style, policy, drawn };
    Ok(environment.get_template("training.html")?.render(context! { ..own, ..minijinja::Value::from_serialize(&contents) })?)
}

/// A row as the page shows it.
fn texts(row: &Progress) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or(String::new(), |v| format!("{v:.4}"));
    let share =
        |rate: Option<Rate>| rate.map_or(String::new(), |r| format!("{:.4} [{:.3}, {:.3}] n={}", r.share, r.low, r.high, r.n));
    let mut texts =
        vec![row.epoch.to_string(), format!("{:.3e}", row.lr), number(Some(row.cost)), number(row.loss), number(row.loss_adv)];
    texts.extend([share(row.clean), share(row.robust), number(row.jacobian), number(row.concentration)]);
    texts.extend(row.parts.iter().map(|(_, value)| number(Some(*value))));
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Progress> {
        let row = |epoch: u32| Progress {
            epoch,
            lr: 0.1,
            cost: 2.0 / f64::from(epoch),
            loss: Some(1.5),
            loss_adv: None,
            parts: vec![("log_=jacobian".to_owned(), 0.25)],
            gradient_norm: 3.0,
            clean: Some(Rate { share: 0.5, n: 100, low: 0.4, high: 0.625 }),
            robust: None,
            jacobian: Some(7.0),
            concentration: Some(0.75),
            watched_single: None,
            watched_robust: None,
        };
        vec![row(1), row(2)]
    }

    #[test]
    fn the_log_has_fixed_columns_and_the_parts_of_the_trainer() {
        let text = String::from_utf8(training_csv(&rows())).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("watched_n,log_=jacobian"), "{text}");
        assert_eq!(lines[1], "1,0.1,2,1.5,,3,0.5,0.4,0.625,100,,,,,7,0.75,,,,0.25");
        assert_eq!(training_csv(&[]).iter().filter(|b| **b == b'\n').count(), 1);
    }

    #[test]
    fn the_page_escapes_names_and_marks_the_chosen_epoch() {
        let training = Training { title: "<script>".into(), rows: rows(), chosen: Some(2), ..Training::default() };
        let page = training_html(&training).expect("a page");
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
        assert_eq!(page.matches("class=\"chosen\"").count(), 1);
        assert!(page.contains("0.5000 [0.400, 0.625] n=100"), "{page}");
        assert_eq!(page, training_html(&training).expect("a page"));
    }

    #[test]
    fn curves_draw_what_there_is() {
        let picture = training_svg(&rows());
        assert!(picture.contains("clean accuracy") && !picture.contains("robust accuracy"), "{picture}");
        assert!(training_svg(&[]).starts_with("<svg"));
        let one = training_svg(&rows()[..1]);
        assert_eq!(one.matches("<circle").count(), 3, "{one}");
        assert_eq!([1.0, 0.0005, 7.0, 40.0].map(decimals), [2, 5, 2, 0]);
    }
}
