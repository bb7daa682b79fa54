//! `results.json`: the whole result for programs, by the schema `reports/schema/results.schema.json`. Texts are exact; what
//! could deceive or end an HTML element is written as `\u....`.

use serde::Serialize;

use super::provenance::Provenance;
use crate::error::ReportError;
use crate::failure::{Gap, GapKind, gaps};
use crate::page::{CheckRow, Page};
use crate::record::Record;
use crate::text::{deceives, shown, shown_to};
use crate::verdict::{Rate, Verdict, verdicts};

/// Version of the document's shape; it rises when a field changes or goes, not when one is added.
pub const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    title: &'a str,
    partial: Option<Progress>,
    unreliable: bool,
    interval: &'a str,
    run: Run<'a>,
    verdicts: Vec<JsonVerdict>,
    requirements: Vec<JsonRequirement<'a>>,
    doubts: Vec<JsonDoubt<'a>>,
    gaps: Vec<JsonGap>,
    certificates: Vec<JsonCertificate<'a>>,
    records: &'a [Record],
}

#[derive(Serialize)]
struct Progress {
    done: u64,
    of: u64,
}

/// The summary of the manifest.
#[derive(Serialize)]
struct Run<'a> {
    version: &'a str,
    command: &'a str,
    dataset: &'a str,
    split: &'a str,
    data_sha256: &'a str,
    engine: &'a str,
    device: &'a str,
    seed: Option<u64>,
    models: Vec<JsonModel>,
    plugins: Vec<JsonPlugin<'a>>,
}

#[derive(Serialize)]
struct JsonModel {
    name: String,
    sha256: String,
    file: String,
}

#[derive(Serialize)]
struct JsonPlugin<'a> {
    id: &'a str,
    version: &'a str,
    sha256: &'a str,
}

#[derive(Serialize)]
struct JsonVerdict {
    model: String,
    model_sha256: String,
    dataset: String,
    split: String,
    threat: String,
    #[serde(with = "crate::float::optional")]
    eps: Option<f64>,
    robust_accuracy: Option<JsonRate>,
    robust_accuracy_continuous: Option<JsonRate>,
    clean_accuracy: Option<JsonRate>,
    coverage: Option<JsonRate>,
    attacks: Vec<String>,
    flags: Vec<String>,
    unreliable: bool,
    sentence: String,
}

#[derive(Serialize)]
struct JsonRate {
    value: f64,
    #[serde(with = "crate::float::optional")]
    ci_low: Option<f64>,
    #[serde(with = "crate::float::optional")]
    ci_high: Option<f64>,
    n: u64,
}

#[derive(Serialize)]
struct JsonRequirement<'a> {
    model: &'a str,
    text: &'a str,
    holds: bool,
    found: &'a str,
}

#[derive(Serialize)]
struct JsonDoubt<'a> {
    code: &'a str,
    model: &'a str,
    threat: &'a str,
    unreliable: bool,
    raised_for: &'a str,
    raised_if: &'a str,
    explanation: &'a str,
    advice: &'a str,
}

#[derive(Serialize)]
struct JsonGap {
    kind: &'static str,
    model: String,
    component: String,
    threat: String,
    code: String,
    sentence: String,
}

#[derive(Serialize)]
struct JsonCertificate<'a> {
    model: &'a str,
    failed: bool,
    sentence: &'a str,
    checks: Vec<JsonCheck<'a>>,
}

#[derive(Serialize)]
struct JsonCheck<'a> {
    check: &'a str,
    what: &'a str,
    points: &'a str,
    directions: &'a str,
    samples: u64,
    threshold: &'a str,
    measured: &'a str,
    outcome: &'a str,
    failed: bool,
}

/// `results.json`: verdicts, requirements, doubts, what was not measured, certificates and all rows. A number that is not
/// finite is one of the strings `"NaN"`, `"inf"`, `"-inf"`; a value that is missing is `null`.
///
/// # Errors
/// The document cannot be written as JSON: a bug in this crate.
pub fn results_json(page: &Page) -> Result<String, ReportError> {
    let document = Document {
        schema_version: SCHEMA_VERSION,
        title: &page.title,
        partial: page.partial.map(|partial| Progress { done: partial.done, of: partial.of }),
        unreliable: page.doubts.iter().any(|doubt| doubt.unreliable),
        interval: &page.interval,
        run: run(page),
        verdicts: verdicts(&page.records).into_iter().map(|verdict| json_verdict(verdict, page)).collect(),
        requirements: page
            .requirements
            .iter()
            .map(|r| JsonRequirement { model: &r.model, text: &r.text, holds: r.holds, found: &r.found })
            .collect(),
        doubts: page
            .doubts
            .iter()
            .map(|doubt| JsonDoubt {
                code: &doubt.code,
                model: &doubt.model,
                threat: &doubt.threat,
                unreliable: doubt.unreliable,
                raised_for: &doubt.raised_for,
                raised_if: &doubt.raised_if,
                explanation: &doubt.explanation,
                advice: &doubt.advice,
            })
            .collect(),
        gaps: gaps(page).into_iter().map(json_gap).collect(),
        certificates: page
            .certificates
            .iter()
            .map(|c| JsonCertificate {
                model: &c.model,
                failed: c.failed,
                sentence: &c.sentence,
                checks: c.rows.iter().map(json_check).collect(),
            })
            .collect(),
        records: &page.records,
    };
    written(&document)
}

/// JSON for people and programs, ended by a new line, in which no character deceives and none can end an HTML element.
pub(super) fn written(document: &impl Serialize) -> Result<String, ReportError> {
    let json = serde_json::to_string_pretty(document)?;
    let mut out = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        if (deceives(character) && character != '\n') || matches!(character, '<' | '>' | '&') {
            let mut units = [0_u16; 2];
            character.encode_utf16(&mut units).iter().for_each(|unit| out += &format!("\\u{unit:04x}"));
        } else {
            out.push(character);
        }
    }
    out.push('\n');
    Ok(out)
}

fn run(page: &Page) -> Run<'_> {
    let about = Provenance::of(page);
    Run {
        version: &page.version,
        command: &page.command,
        dataset: about.dataset,
        split: about.split,
        data_sha256: &page.data_sha256,
        engine: about.engine,
        device: about.device,
        seed: about.seed,
        models: about
            .models
            .into_iter()
            .map(|model| JsonModel { name: model.name, sha256: model.sha256, file: model.file })
            .collect(),
        plugins: about.plugins.into_iter().map(|(id, version, sha256)| JsonPlugin { id, version, sha256 }).collect(),
    }
}

fn json_verdict(verdict: Verdict, page: &Page) -> JsonVerdict {
    JsonVerdict {
        unreliable: is_unreliable(&verdict, page),
        model: verdict.model,
        model_sha256: verdict.model_sha256,
        dataset: verdict.dataset,
        split: verdict.split,
        threat: verdict.threat,
        eps: verdict.eps,
        robust_accuracy: verdict.bound.map(json_rate),
        robust_accuracy_continuous: verdict.continuous.map(json_rate),
        clean_accuracy: verdict.clean.map(json_rate),
        coverage: verdict.coverage.map(json_rate),
        attacks: verdict.attacks,
        flags: verdict.flags,
        sentence: verdict.sentence,
    }
}

/// Whether a doubt that makes numbers unreliable concerns a verdict.
pub(super) fn is_unreliable(verdict: &Verdict, page: &Page) -> bool {
    let concerns = |own: &str, other: &str| own.is_empty() || shown(own) == other;
    page.doubts
        .iter()
        .any(|doubt| doubt.unreliable && concerns(&doubt.model, &verdict.model) && concerns(&doubt.threat, &verdict.threat))
}

fn json_rate(rate: Rate) -> JsonRate {
    let (low, high) = rate.interval.unzip();
    JsonRate { value: rate.value, ci_low: low, ci_high: high, n: rate.n }
}

fn json_gap(gap: Gap) -> JsonGap {
    let kind = match gap.kind {
        GapKind::Failed => "failed",
        GapKind::Unsupported => "unsupported",
        GapKind::Uncovered => "uncovered",
        GapKind::Ties => "ties",
    };
    let Gap { name, component, threat, code, sentence, .. } = gap;
    JsonGap { kind, model: name, component, threat, code, sentence: shown_to(&sentence, 1200) }
}

fn json_check(row: &CheckRow) -> JsonCheck<'_> {
    JsonCheck {
        check: &row.check,
        what: &row.what,
        points: &row.points,
        directions: &row.directions,
        samples: row.samples,
        threshold: &row.threshold,
        measured: &row.measured,
        outcome: &row.outcome,
        failed: row.failed,
    }
}
