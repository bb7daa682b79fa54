//! `results.sarif`: SARIF 2.1.0 for code scanning, one run of the tool `flatscape`. A result is a doubt, a requirement, a refused
//! model, a failed part, or a model that an attack broke; its place is the model's file.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::json::{is_unreliable, written};
use super::provenance::models;
use crate::error::ReportError;
use crate::failure::{Gap, GapKind, gaps};
use crate::page::{Doubt, ModelFile, Page, Requirement};
use crate::text::{shown, shown_to};
use crate::verdict::{Verdict, verdicts};

/// The place of the schema that the standard names.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A rule: id, what it says in one line, what to do.
struct Rule {
    id: String,
    short: String,
    help: String,
}

/// One result before it is written.
struct Finding {
    rule: Rule,
    /// `fail`, `pass` or `notApplicable`; only the first has a level.
    kind: &'static str,
    level: &'static str,
    message: String,
    /// Name of the model; empty for the whole run.
    model: String,
    /// What tells the result apart from others of the rule and model.
    about: String,
}

/// `results.sarif`: one run, whose rules are the codes of what was found and whose results are located at the models' files.
/// The level is `error` for what makes a number unreliable, for a requirement that does not hold, and for what failed.
///
/// # Errors
/// The document cannot be written as JSON: a bug in this crate.
pub fn results_sarif(page: &Page) -> Result<String, ReportError> {
    let findings = findings(page);
    let models = models(page);
    let (mut rules, mut places): (Vec<Value>, Vec<String>) = (Vec::new(), Vec::new());
    let mut results = Vec::new();
    let artifacts = artifacts(&models);
    for finding in findings {
        let index = places.iter().position(|id| *id == finding.rule.id).unwrap_or_else(|| {
            places.push(finding.rule.id.clone());
            rules.push(rule(&finding.rule));
            rules.len() - 1
        });
        results.push(result(&finding, index, &models, &artifacts));
    }
    let artifacts: Vec<&Value> = artifacts.iter().map(|(_, artifact)| artifact).collect();
    written(&json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": driver(page, &rules) },
            "invocations": [{ "commandLine": shown_to(&page.command, 1000), "executionSuccessful": page.partial.is_none() }],
            "artifacts": artifacts,
            "results": results,
            "columnKind": "unicodeCodePoints",
        }],
    }))
}

fn driver(page: &Page, rules: &[Value]) -> Value {
    let mut driver = json!({ "name": "flatscape", "rules": rules });
    if !page.version.is_empty() {
        driver["version"] = json!(shown(&page.version));
    }
    driver
}

fn findings(page: &Page) -> Vec<Finding> {
    let mut findings: Vec<Finding> = page.doubts.iter().map(of_doubt).collect();
    findings.extend(page.requirements.iter().map(of_requirement));
    findings.extend(gaps(page).into_iter().filter_map(of_gap));
    findings.extend(verdicts(&page.records).iter().filter_map(|verdict| of_verdict(verdict, page)));
    findings
}

fn of_doubt(doubt: &Doubt) -> Finding {
    let [explanation, advice, raised_for] =
        [&doubt.explanation, &doubt.advice, &doubt.raised_for].map(|text| shown_to(text, 1200));
    Finding {
        rule: Rule {
            id: shown(&doubt.code),
            short: format!("Raised if {}.", shown_to(doubt.raised_if.trim_end_matches('.'), 300)),
            help: advice,
        },
        kind: "fail",
        level: if doubt.unreliable { "error" } else { "warning" },
        message: format!("{raised_for}. {explanation}"),
        model: shown(&doubt.model),
        about: shown(&doubt.threat),
    }
}

fn of_requirement(requirement: &Requirement) -> Finding {
    let text = shown(&requirement.text);
    let holds = if requirement.holds { "holds" } else { "does not hold" };
    let rule = Rule {
        id: "requirement".to_owned(),
        short: "A condition that was set with --require.".to_owned(),
        help: "Use a more robust model, or relax the condition.".to_owned(),
    };
    Finding {
        rule,
        kind: if requirement.holds { "pass" } else { "fail" },
        level: if requirement.holds { "none" } else { "error" },
        message: format!("{text} {holds}: {}.", shown_to(&requirement.found, 400)),
        model: shown(&requirement.model),
        about: text,
    }
}

fn of_gap(gap: Gap) -> Option<Finding> {
    let (id, kind, level, short) = match gap.kind {
        GapKind::Failed => (gap.code.as_str(), "fail", "error", "A model was refused, or a part of the run failed."),
        GapKind::Unsupported => ("unsupported", "notApplicable", "none", "An attack does not serve a threat model."),
        GapKind::Uncovered => ("coverage", "fail", "warning", "Not every sample was attacked."),
        GapKind::Ties => return None,
    };
    let words = [gap.component.as_str(), gap.threat.as_str()].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>();
    let about = words.join(" under ");
    let rule = Rule { id: id.to_owned(), short: short.to_owned(), help: "Read the message of the result.".to_owned() };
    let message = if about.is_empty() { gap.sentence } else { format!("{about}: {}", gap.sentence) };
    Some(Finding { rule, kind, level, message, model: gap.model, about })
}

/// A result where an attack found adversarial examples: the bound lies below the clean accuracy.
fn of_verdict(verdict: &Verdict, page: &Page) -> Option<Finding> {
    let (bound, clean) = (verdict.bound?, verdict.clean);
    if clean.is_some_and(|clean| bound.value >= clean.value) {
        return None;
    }
    let rule = Rule {
        id: "not-robust".to_owned(),
        short: "An attack found adversarial examples within the threat model.".to_owned(),
        help: "Train for this threat model, or restrict what the model is used for.".to_owned(),
    };
    let note = if is_unreliable(verdict, page) { " This number is unreliable: see the other results." } else { "" };
    let message = format!("{}: {}{note}", verdict.model, verdict.sentence);
    Some(Finding { rule, kind: "fail", level: "warning", message, model: verdict.model.clone(), about: verdict.threat.clone() })
}

fn rule(rule: &Rule) -> Value {
    json!({ "id": rule.id, "shortDescription": { "text": message(&rule.short) }, "help": { "text": message(&rule.help) } })
}

fn result(finding: &Finding, rule: usize, models: &[ModelFile], artifacts: &[(String, Value)]) -> Value {
    let mut result = json!({
        "ruleId": finding.rule.id,
        "ruleIndex": rule,
        "kind": finding.kind,
        "level": finding.level,
        "message": { "text": message(&finding.message) },
        "partialFingerprints": { "flatscape/v1": fingerprint(finding) },
    });
    let place = models.iter().find(|model| shown(&model.name) == finding.model);
    let uri = match place {
        Some(model) => Some(uri(model)),
        None if finding.model.is_empty() => None,
        None => Some(encoded(&finding.model)),
    };
    if let Some(uri) = uri.filter(|uri| !uri.is_empty()) {
        let mut location = json!({ "uri": uri });
        if let Some(index) = artifacts.iter().position(|(known, _)| *known == uri) {
            location["index"] = json!(index);
        }
        result["locations"] = json!([{ "physicalLocation": { "artifactLocation": location } }]);
    }
    result
}

/// The models' files as artifacts, each URI once.
fn artifacts(models: &[ModelFile]) -> Vec<(String, Value)> {
    let mut artifacts: Vec<(String, Value)> = Vec::new();
    for model in models {
        let uri = uri(model);
        if uri.is_empty() || artifacts.iter().any(|(known, _)| *known == uri) {
            continue;
        }
        let mut artifact = json!({ "location": { "uri": uri } });
        if !model.sha256.is_empty() {
            artifact["hashes"] = json!({ "sha-256": shown(&model.sha256) });
        }
        artifacts.push((uri, artifact));
    }
    artifacts
}

/// The model's file as a relative URI; its name where it is not a file of its own.
fn uri(model: &ModelFile) -> String {
    encoded(if model.file.is_empty() { &model.name } else { &model.file })
}

/// One segment of a relative URI: everything but unreserved characters (RFC 3986, 2.3) is percent-encoded.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    // `.` and `..` are folders
    if out.chars().all(|character| character == '.') { out.replace('.', "%2E") } else { out }
}

/// Text as a message: braces are doubled (SARIF 3.11.5), and no bracket makes a link (SARIF 3.11.6).
fn message(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}").replace("](", "\\](")
}

/// The same finding in another run has the same fingerprint: rule, model, and what it is about.
fn fingerprint(finding: &Finding) -> String {
    let text = format!("{}\0{}\0{}", finding.rule.id, finding.model, finding.about);
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
