//! From a run directory to a run that can be compared. Rows are made of the results again; tables that say something else were
//! cut or changed, and are refused.

use std::path::Path;

use flatscape_intake::files::show;
use flatscape_intake::refusal::Refusal;
use flatscape_report::{results_csv, samples_csv};

use super::run::{Component, Data};
use super::{RunView, facts};
use flatscape_audit::flags::doubt;
use flatscape_audit::manifest;
use flatscape_audit::rows::{Summary, summarise};
use flatscape_audit::stored::Stored;

impl RunView {
    /// Reads the run in a directory, which is called by its path.
    ///
    /// # Errors
    /// `R096` to `R108`: there is no run, it is in use, from another version, or files are missing or altered. `R150`: a table is
    /// missing, or is not what the results of the run give.
    pub fn open(path: &Path) -> Result<RunView, Refusal> {
        let name = path.display().to_string();
        let about = |refusal: Refusal| match refusal.what.contains(&show(path)) {
            true => refusal,
            false => Refusal { what: format!("{}: {}", show(path), refusal.what), ..refusal },
        };
        let stored = Stored::open(path).map_err(about)?;
        let summary = summarise(&stored).map_err(about)?;
        same(&stored, path, "results.csv", &results_csv(&summary.records)).map_err(about)?;
        same(&stored, path, "samples.csv", &samples_csv(&summary.samples)).map_err(about)?;
        let manifest = serde_json::to_value(&stored.manifest)
            .map_err(|e| Refusal::state(98, format!("the manifest of {} cannot be read again: {e}", show(path))))?;
        let about = &stored.manifest.data;
        let data = Data {
            name: about.name.clone(),
            split: about.split.clone(),
            sha256: about.sha256.clone(),
            images: facts::images(&manifest),
        };
        Ok(RunView {
            name,
            manifest,
            data,
            attacks: stored.manifest.attacks.iter().map(component).collect(),
            metrics: stored.manifest.metrics.iter().map(component).collect(),
            warnings: warnings(&summary),
            notes: notes(&summary),
            records: summary.records,
            samples: summary.samples,
        })
    }
}

fn component(component: &manifest::Component) -> Component {
    let manifest::Component { request, label, .. } = component;
    Component { id: request.id.clone(), label: label.clone(), complete: component.whole() }
}

fn same(stored: &Stored, path: &Path, table: &str, bytes: &[u8]) -> Result<(), Refusal> {
    let again = || format!("write it again with `flatscape report {} --format csv`", show(path));
    match stored.directory.read(table)? {
        None => Err(Refusal::state(150, format!("{} has no {table}: the run is incomplete", show(path))).help(again())),
        Some(found) if found != bytes => {
            let what = format!("{table} in {} is not what the results of the run give: it was cut or changed", show(path));
            Err(Refusal::state(150, what).help(again()))
        }
        Some(_) => Ok(()),
    }
}

fn warnings(summary: &Summary) -> Vec<String> {
    let grave = summary.doubts.iter().filter(|d| doubt(&d.code).is_some_and(|doubt| doubt.unreliable));
    let codes: Vec<String> = grave.map(|d| format!("{} ({})", d.code, d.raised_for)).collect();
    if summary.unreliable {
        vec![format!("its numbers should not be trusted before its doubts are settled: {}.", codes.join("; "))]
    } else {
        Vec::new()
    }
}

fn notes(summary: &Summary) -> Vec<String> {
    let partial = format!("{} of {} jobs have ended; the numbers are about these.", summary.done, summary.total);
    if summary.done < summary.total { vec![partial] } else { Vec::new() }
}
