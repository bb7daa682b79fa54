//! Everything that is made of a run directory and lies in it: tables, pages, pictures, certificates, remedies. The same directory
//! gives the same bytes.

use flatscape_intake::data::Dataset;
use flatscape_intake::refusal::Refusal;
use flatscape_measure::statistics::{half_width, samples_to_separate};
use flatscape_report as report;

use crate::job::Work;
use crate::manifest::ModelFacts;
use crate::requirement::Requirement;
use crate::rows::Summary;
use crate::stored::Stored;
use crate::weight_surfaces;
use crate::witness;
use crate::{exhibits, landscape};
use flatscape_certificate::{self as certificate, Certificate};

/// A form in which a run can be reported.
pub struct Format {
    /// The word after `--format`.
    pub name: &'static str,
    /// One line of help.
    pub summary: &'static str,
    /// The files: name and content.
    make: fn(&report::Page) -> Result<Files, report::ReportError>,
}

/// Names and contents of files.
pub type Files = Vec<(&'static str, Vec<u8>)>;

/// The forms in which a run can be reported, in the order of the help.
pub const FORMATS: &[Format] = &[
    Format { name: "html", summary: "report.html, one page", make: |p| Ok(vec![("report.html", report::html(p)?.into_bytes())]) },
    Format {
        name: "csv",
        summary: "results.csv and samples.csv; paths.csv and curves.csv, where metrics give any",
        make: |p| Ok(csv(p)),
    },
    Format {
        name: "json",
        summary: "results.json, for programs, by reports/schema/results.schema.json",
        make: |p| Ok(vec![("results.json", report::results_json(p)?.into_bytes())]),
    },
    Format {
        name: "sarif",
        summary: "results.sarif, SARIF 2.1.0 for code scanning",
        make: |p| Ok(vec![("results.sarif", report::results_sarif(p)?.into_bytes())]),
    },
    Format {
        name: "junit",
        summary: "junit.xml, for continuous integration",
        make: |p| Ok(vec![("junit.xml", report::junit_xml(p).into_bytes())]),
    },
    Format {
        name: "md",
        summary: "results.md, a block for a model card",
        make: |p| Ok(vec![("results.md", report::results_md(p).into_bytes())]),
    },
];

fn csv(page: &report::Page) -> Files {
    let mut files =
        vec![("results.csv", report::results_csv(&page.records)), ("samples.csv", report::samples_csv(&page.samples))];
    files.extend((!page.paths.is_empty()).then(|| ("paths.csv", report::path_csv(&page.paths))));
    files.extend((!page.curves.is_empty()).then(|| ("curves.csv", report::curve_csv(&page.curves))));
    files
}

/// The forms that an audit writes by itself.
pub const USUAL: &[&str] = &["csv", "html"];

/// The files of one form: name and content.
///
/// # Errors
/// `O094`: a file could not be made.
pub fn made(page: &report::Page, format: &Format) -> Result<Files, Refusal> {
    (format.make)(page).map_err(|e| Refusal::output(94, e.to_string()))
}

/// Writes a run in one form, and returns the names of the files.
///
/// # Errors
/// `O094`: a file could not be made or written.
pub fn write(stored: &Stored, page: &report::Page, format: &Format) -> Result<Vec<&'static str>, Refusal> {
    let files = made(page, format)?;
    files.iter().try_for_each(|(name, bytes)| stored.directory.write(name, bytes))?;
    Ok(files.into_iter().map(|(name, _)| name).collect())
}

/// The certificates, the remedied graphs and the landscapes: name and content.
///
/// # Errors
/// `R103` to `R106`: a result is missing or does not fit its job.
pub fn exhibits(stored: &Stored, surfaces: &[report::Surface]) -> Result<Vec<(String, Vec<u8>)>, Refusal> {
    let mut files = Vec::new();
    for job in &stored.jobs {
        let Some(model) = stored.manifest.models.iter().position(|m| m.request == job.model) else { continue };
        let stem = stored.manifest.stem(model);
        match &job.work {
            Work::Certificate => {
                let Some(findings) = stored.sound(job)? else { continue };
                let text = crate::result::text(&findings, "certificate").map_err(|why| Refusal::state(106, why))?;
                files.push((format!("certificates/{stem}.json"), text.into_bytes()));
            }
            Work::Remedies => {
                let Some(findings) = stored.sound(job)? else { continue };
                for (remedy, bytes) in findings.with_prefix("onnx_") {
                    let bytes = bytes.to_vec::<u8>().ok_or_else(|| Refusal::state(106, "a remedied graph is not bytes"))?;
                    files.push((format!("remedies/{stem}-{remedy}.onnx"), bytes));
                }
            }
            _ => {}
        }
    }
    let own: Vec<report::Surface> = surfaces.iter().filter(|s| s.kind != weight_surfaces::KIND).cloned().collect();
    files.extend(landscape::files(&own));
    files.extend(weight_surfaces::files(stored)?);
    Ok(files)
}

/// Pictures of what the run says along paths and about the whole data set: name and content.
pub fn pictures(page: &report::Page) -> Vec<(String, Vec<u8>)> {
    let files = report::pictures(&page.paths, &page.curves).into_iter();
    files.map(|(name, svg)| (format!("landscapes/{name}.svg"), svg.into_bytes())).collect()
}

/// Writes files of a run.
///
/// # Errors
/// `O094`: a file could not be written.
pub fn write_all(stored: &Stored, files: &[(String, Vec<u8>)]) -> Result<(), Refusal> {
    files.iter().try_for_each(|(name, bytes)| stored.directory.write(name, bytes))
}

/// Writes the adversarial examples.
///
/// # Errors
/// As for [`exhibits`].
pub fn witnesses(stored: &Stored, dataset: &Dataset) -> Result<(), Refusal> {
    witness::files(stored, dataset)?.iter().try_for_each(|(name, bytes)| stored.directory.write(name, bytes))
}

/// Everything that the page and the other formats show.
///
/// # Errors
/// `O102`: the manifest cannot be written as JSON. `R098`: it holds a requirement that cannot be read.
pub fn page(stored: &Stored, summary: &Summary, surfaces: Vec<report::Surface>) -> Result<report::Page, Refusal> {
    let manifest = &stored.manifest;
    let exhibits = exhibits::exhibits(stored, &summary.samples)?;
    let names: Vec<&str> = manifest.models.iter().map(|m| m.name.as_str()).collect();
    Ok(report::Page {
        title: format!("{} under attack, on {}", names.join(", "), manifest.data.name),
        command: manifest.command.clone(),
        partial: (summary.done < summary.total)
            .then_some(report::Partial { done: summary.done as u64, of: summary.total as u64 }),
        interval: "Clopper-Pearson".into(),
        advice: advice(stored.manifest.data.n as u64),
        figures: report::robust_accuracy_figures(&summary.records),
        records: summary.records.clone(),
        samples: summary.samples.clone(),
        surfaces,
        class_names: manifest.models.iter().map(|m| &m.class_names).find(|names| !names.is_empty()).cloned().unwrap_or_default(),
        classes: flatscape_views::classes(&summary.samples, &exhibits.examples),
        closeups: exhibits.closeups,
        closeups_missing: exhibits.missing,
        histograms: flatscape_views::histograms(&summary.samples),
        paths: summary.paths.clone(),
        curves: summary.curves.clone(),
        doubts: summary.doubts.clone(),
        requirements: judged(stored, summary)?,
        failures: summary.failures.clone(),
        version: manifest.flatscape.clone(),
        data_sha256: manifest.data.sha256.clone(),
        models: manifest.models.iter().map(model_file).collect(),
        certificates: summary.certificates.iter().flatten().map(rows_of).collect(),
        manifest: serde_json::to_value(manifest).map_err(|e| Refusal::output(102, e.to_string()))?,
    })
}

/// Surfaces on which the radii of the run's balls of `linf` are marked, where the plane shows them as they are.
pub(crate) fn marked(stored: &Stored, surfaces: Vec<report::Surface>) -> Vec<report::Surface> {
    let radii = radii(stored);
    let mark = |surface: report::Surface| {
        let radii = if SIGNS.contains(&surface.x_axis.name.as_str()) { radii.clone() } else { Vec::new() };
        report::Surface { radii, ..surface }
    };
    surfaces.into_iter().map(mark).collect()
}

/// The first directions whose entries, like those of the second, are ±1: in their plane the ball of a radius is a square.
const SIGNS: [&str; 2] = ["random direction d", "FGSM direction"];

/// The radii of the run's balls of `linf`, ascending.
fn radii(stored: &Stored) -> Vec<f64> {
    let mut radii: Vec<f64> = stored.manifest.threats.iter().filter(|t| t.written.starts_with("linf:")).map(|t| t.eps).collect();
    radii.sort_by(f64::total_cmp);
    radii.dedup();
    radii
}

/// The requirements of the run, judged on every model.
fn judged(stored: &Stored, summary: &Summary) -> Result<Vec<report::Requirement>, Refusal> {
    let models: Vec<String> = stored.manifest.models.iter().map(|m| m.name.clone()).collect();
    let mut all = Vec::new();
    for text in &stored.manifest.requirements {
        let requirement: Requirement = text
            .parse()
            .map_err(|why| Refusal::state(98, format!("the requirement {text:?} of manifest.json cannot be read: {why}")))?;
        let judged = requirement.judge(&summary.records, &models).into_iter();
        all.extend(judged.map(|j| report::Requirement { model: j.model, text: j.text, holds: j.holds, found: j.found }));
    }
    Ok(all)
}

/// The file of a model; the name alone for a model that comes with the program.
fn model_file(model: &ModelFacts) -> report::ModelFile {
    let file = std::path::Path::new(&model.request.source).file_name();
    report::ModelFile {
        name: model.name.clone(),
        sha256: model.sha256.clone(),
        file: file.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
    }
}

/// A certificate as the page shows it.
fn rows_of(certificate: &Certificate) -> report::Certificate {
    let row = |row: &certificate::Row| report::CheckRow {
        check: row.check.clone(),
        what: row.what.clone(),
        points: row.points.clone(),
        directions: row.directions.clone(),
        samples: row.samples as u64,
        threshold: row.threshold.clone(),
        measured: row.measured.clone(),
        outcome: row.outcome.word().to_owned(),
        failed: row.outcome == certificate::Outcome::Fail,
    };
    report::Certificate {
        model: certificate.model.clone(),
        sentence: certificate.sentence(),
        failed: certificate.passed() == Some(false),
        rows: certificate.rows.iter().map(row).collect(),
    }
}

/// A sentence about the accuracy of rates from `n` samples, and about the samples needed to tell two models apart.
pub fn advice(n: u64) -> String {
    /// The difference between two models, and the share of the images on which they disagree, that the sentence is about.
    const EXAMPLE: (f64, f64) = (0.01, 0.03);
    let Some(needed) = samples_to_separate(EXAMPLE.0, EXAMPLE.1).filter(|_| n > 0) else { return String::new() };
    format!(
        "From {n} samples a rate is known to ±{:.1} points at worst; to tell two models apart that differ by one point and disagree on \
         3 % of the images takes {needed} samples.",
        100.0 * half_width(n)
    )
}
