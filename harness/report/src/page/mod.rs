//! The report page: one HTML file that needs no network and runs no script but its own. It lays out what it is given and
//! computes nothing but the main table and the verdicts; everything it prints may be hostile.

mod classes;
mod closeups;
mod contents;
mod gaps;
mod landscapes;
mod policy;

use minijinja::{Environment, context};

use crate::curves::DataCurve;
use crate::error::ReportError;
use crate::failure::Failure;
use crate::figure::Figure;
use crate::histogram::Histogram;
use crate::paths::PathCurve;
use crate::record::Record;
use crate::samples::Samples;
use crate::surface::Surface;
pub use classes::{ClassRow, ClassTable};
pub use closeups::{CloseUp, Pictures};
use contents::{Contents, LIMITS};
pub use policy::without_script;

/// Largest page, in bytes. What does not fit is left out, and the page says so.
pub const MAX_PAGE_BYTES: usize = 5_000_000;

/// Everything that the page shows.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Title of the page.
    pub title: String,
    /// The command that made the run, as typed; empty where unknown.
    pub command: String,
    /// How far an interrupted run came; `None` for a whole one.
    pub partial: Option<Partial>,
    /// Name of the intervals' method, such as `Clopper-Pearson`.
    pub interval: String,
    /// What can be told from so many samples, as a sentence; empty where nothing is said.
    pub advice: String,
    /// All rows; verdicts and the main table come from them.
    pub records: Vec<Record>,
    /// The lines of `samples.csv`; the page counts their outcomes.
    pub samples: Samples,
    /// Curves, such as those of [`crate::robust_accuracy_figures`].
    pub figures: Vec<Figure>,
    /// Landscapes; those of the same kind are drawn on one scale.
    pub surfaces: Vec<Surface>,
    /// Names of the classes by number; empty where nothing names them.
    pub class_names: Vec<String>,
    /// What becomes of each class.
    pub classes: Vec<ClassTable>,
    /// Single samples, in the order in which they are shown.
    pub closeups: Vec<CloseUp>,
    /// Why samples are missing from `closeups`, as a sentence; empty where none is.
    pub closeups_missing: String,
    /// Distributions of a quantity over the samples.
    pub histograms: Vec<Histogram>,
    /// Quantities along the paths of attacks.
    pub paths: Vec<PathCurve>,
    /// Curves that metrics give for a whole data set.
    pub curves: Vec<DataCurve>,
    /// Doubts that were raised.
    pub doubts: Vec<Doubt>,
    /// Conditions on the results, one entry per condition and model.
    pub requirements: Vec<Requirement>,
    /// The sentences behind the rows that have no number, and failures that have no row.
    pub failures: Vec<Failure>,
    /// What was found about the gradient of every model.
    pub certificates: Vec<Certificate>,
    /// Version of the program that made the run; empty where unknown.
    pub version: String,
    /// SHA-256 of the images and labels as read; empty where unknown.
    pub data_sha256: String,
    /// The models' files.
    pub models: Vec<ModelFile>,
    /// The manifest of the run, without what differs between two equal runs.
    pub manifest: serde_json::Value,
}

/// The file of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelFile {
    /// Name of the model, as the rows spell it.
    pub name: String,
    /// SHA-256 of the file, hexadecimal; empty where it could not be read.
    pub sha256: String,
    /// Name of the file without its folder; empty for a model that is not a file of its own.
    pub file: String,
}

/// A condition on the results of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    /// Name of the model, as the rows spell it; empty where the condition is about the whole run.
    pub model: String,
    /// The condition as typed: `robust_accuracy>=0.4`.
    pub text: String,
    /// Whether it holds.
    pub holds: bool,
    /// What was found, as a clause: `it is 0.37`.
    pub found: String,
}

/// How far an interrupted run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// Jobs that finished.
    pub done: u64,
    /// Jobs in all.
    pub of: u64,
}

/// A reason not to trust a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubt {
    /// Its code, as in the `flags` of rows.
    pub code: String,
    /// The rule that raised it, as a clause: `more than 1 % of the gradients are not finite`.
    pub raised_if: String,
    /// What was found and what follows from it.
    pub explanation: String,
    /// What to do, with the flag to try.
    pub advice: String,
    /// The model, threat model and component that it concerns, in words.
    pub raised_for: String,
    /// Name of the model, as the rows spell it; empty where it concerns the whole run.
    pub model: String,
    /// Threat model as spelled; empty where it concerns all of them.
    pub threat: String,
    /// Whether the numbers that it concerns should not be trusted.
    pub unreliable: bool,
}

/// Whether the gradient of a model is its slope: a table of checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// Name of the model.
    pub model: String,
    /// The verdict, as one sentence.
    pub sentence: String,
    /// Whether it failed.
    pub failed: bool,
    /// The checks.
    pub rows: Vec<CheckRow>,
}

/// One check of a [`Certificate`]; every text as it is to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the headings of the table say what they hold")]
pub struct CheckRow {
    pub check: String,
    pub what: String,
    pub points: String,
    pub directions: String,
    pub samples: u64,
    pub threshold: String,
    pub measured: String,
    pub outcome: String,
    pub failed: bool,
}

/// The page as HTML. The same page gives the same bytes.
///
/// # Errors
/// When it cannot be kept under [`MAX_PAGE_BYTES`] even with most landscapes, curves and rows left out.
pub fn html(page: &Page) -> Result<String, ReportError> {
    let mut bytes = 0;
    for limits in LIMITS {
        let text = filled(&Contents::of(page, limits)?)?;
        bytes = text.len();
        if bytes <= MAX_PAGE_BYTES {
            return Ok(text);
        }
    }
    Err(ReportError::PageTooLarge { bytes, limit: MAX_PAGE_BYTES })
}

fn filled(contents: &Contents) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.set_keep_trailing_newline(true);
    // The name ends in `.html`, which turns escaping on.
    environment.add_template("page.html", include_str!("page.html"))?;
    let script = minijinja::Value::from_safe_string(SCRIPT.to_owned());
    let style = minijinja::Value::from_safe_string(STYLE.to_owned());
    let policy = minijinja::Value::from_safe_string(policy::allowing(SCRIPT));
    let own = context! { script, style, policy };
    let text = environment.get_template("page.html")?.render(context! { ..own, ..minijinja::Value::from_serialize(contents) })?;
    Ok(text)
}

/// The style of every page.
pub const STYLE: &str = include_str!("page.css");

/// The page's own and only script.
const SCRIPT: &str = include_str!("page.js");

#[cfg(test)]
pub(crate) mod tests;
