//! Everything that is made from a run: one row per file. A writer is a pure function of a [`Page`]; the same page gives the same
//! bytes. Everything that is printed may be hostile.

mod json;
mod junit;
mod markdown;
mod provenance;
mod sarif;

#[cfg(test)]
pub(crate) mod tests;

pub use json::{SCHEMA_VERSION, results_json};
pub use junit::junit_xml;
pub use markdown::results_md;
pub use sarif::results_sarif;

use crate::columns::results_csv;
use crate::error::ReportError;
use crate::page::{Page, html};
use crate::samples::samples_csv;

/// One file that is made from a run.
pub struct Format {
    /// What one writes after `--format`; a format may have several files.
    pub name: &'static str,
    /// Name of the file in the run directory.
    pub file: &'static str,
    /// What the file is.
    pub help: &'static str,
    /// The bytes of the file.
    pub write: fn(&Page) -> Result<Vec<u8>, ReportError>,
}

/// Every file that is made from a run, in the order in which help shows them.
pub const FORMATS: &[Format] = &[
    Format {
        name: "html",
        file: "report.html",
        help: "one page that needs no network",
        write: |page| html(page).map(String::into_bytes),
    },
    Format { name: "csv", file: "results.csv", help: "one row per measurement", write: |page| Ok(results_csv(&page.records)) },
    Format {
        name: "csv",
        file: "samples.csv",
        help: "one row per model, threat model and sample",
        write: |page| Ok(samples_csv(&page.samples)),
    },
    Format {
        name: "json",
        file: "results.json",
        help: "verdicts, rows and doubts for programs, by reports/schema/results.schema.json",
        write: |page| results_json(page).map(String::into_bytes),
    },
    Format {
        name: "sarif",
        file: "results.sarif",
        help: "SARIF 2.1.0 for code scanning",
        write: |page| results_sarif(page).map(String::into_bytes),
    },
    Format {
        name: "junit",
        file: "junit.xml",
        help: "JUnit XML for continuous integration",
        write: |page| Ok(junit_xml(page).into_bytes()),
    },
    Format {
        name: "md",
        file: "results.md",
        help: "a Markdown block for a model card",
        write: |page| Ok(results_md(page).into_bytes()),
    },
];
