//! `flatscape compare`: finished runs side by side, and conditions on the difference to a baseline.

use std::path::{Path, PathBuf};

use clap::Args;
use flatscape_audit::requirement::Requirement;
use flatscape_compare::{Question, RunView, compare};
use flatscape_comparison::{Comparison, compare_csv, compare_html, compare_markdown, correlations_csv};
use flatscape_intake::files::{publish, show};
use flatscape_intake::refusal::Refusal;

use super::audit::command_line;
use crate::failure::Failure;
use crate::output::{remark, say};
use crate::table;

/// Compare finished runs: one table, paired differences where the samples are the same, a ranking as far as intervals allow one.
#[derive(Args, Debug)]
pub struct Compare {
    /// Run directories, the value of --out of an audit
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// The run with which the others are compared
    #[arg(long, value_name = "RUN")]
    baseline: Option<PathBuf>,
    /// A condition on the difference to the baseline, for example 'robust_accuracy>=-0.02' or 'robust_accuracy.ci_low>=-0.05';
    /// the exit code is 1 if it does not hold
    #[arg(long = "require", value_name = "METRIC>=VALUE")]
    requirements: Vec<Requirement>,
    /// How the names of the models of a family begin, for correlations within it; may be repeated. Without it a family is what stands
    /// before the first -, _, . or : of a name
    #[arg(long = "family", value_name = "PREFIX")]
    families: Vec<String>,
    /// Where compare.csv, correlations.csv, compare.html and compare.md go
    #[arg(long, default_value = "flatscape-compare", value_name = "DIR")]
    out: PathBuf,
}

impl Compare {
    /// Compares the runs; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        let runs = self.paths().iter().map(|path| RunView::open(path)).collect::<Result<Vec<_>, _>>()?;
        let baseline = self.baseline.as_ref().map(|_| 0);
        let question = Question {
            baseline,
            requirements: self.requirements.clone(),
            families: self.families.clone(),
            command: command_line(),
        };
        let comparison = compare(&runs, &question)?;
        self.write(&comparison)?;
        say!("{}", table::comparison(&comparison));
        remark!("comparison: {}", self.out.join("compare.html").display());
        let unmet = comparison.conditions.iter().filter(|condition| !condition.holds).count();
        if unmet > 0 {
            remark!("{unmet} of {} conditions do not hold", comparison.conditions.len());
        }
        Ok(match (comparison.warnings.is_empty(), unmet) {
            (false, _) => 9,
            (true, 0) => 0,
            (true, _) => 1,
        })
    }

    /// The runs in the order of the tables: the baseline first, and once.
    fn paths(&self) -> Vec<PathBuf> {
        let Some(baseline) = &self.baseline else { return self.runs.clone() };
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let others: Vec<PathBuf> = self.runs.iter().filter(|run| real(run) != real(baseline)).cloned().collect();
        // a run that is held against itself alone is two runs
        let others = if others.is_empty() { self.runs.clone() } else { others };
        std::iter::once(baseline.clone()).chain(others).collect()
    }

    /// Writes the files into a directory that is new, empty, or holds a comparison.
    fn write(&self, comparison: &Comparison) -> Result<(), Failure> {
        const FILES: [&str; 4] = ["compare.csv", "correlations.csv", "compare.html", "compare.md"];
        let cannot = |error: std::io::Error| {
            Refusal::output(95, format!("the output directory {} cannot be written: {error}", show(&self.out)))
                .help("choose another place with --out")
        };
        std::fs::create_dir_all(&self.out).map_err(cannot)?;
        let entries =
            std::fs::read_dir(&self.out).and_then(|e| e.map(|e| e.map(|e| e.file_name())).collect::<Result<Vec<_>, _>>());
        let entries = entries.map_err(cannot)?;
        if !entries.iter().all(|entry| FILES.iter().any(|file| entry == file)) {
            let why = format!("the output directory {} holds more than a comparison of flatscape", show(&self.out));
            return Err(Refusal::state(96, why).help("nothing was touched; choose another place with --out").into());
        }
        let html = compare_html(comparison).map_err(Failure::output)?;
        let contents =
            [compare_csv(comparison), correlations_csv(comparison), html.into_bytes(), compare_markdown(comparison).into_bytes()];
        for (file, bytes) in FILES.iter().zip(contents) {
            publish(&self.out.join(file), &bytes)?;
        }
        Ok(())
    }
}
