//! `junit.xml`: one suite per model, for continuous integration. A requirement that does not hold and a doubt that makes numbers
//! unreliable are failures, a refused model and a failed part are errors, what an attack does not serve is skipped. It holds no
//! times: the run's `times.csv` has them.

use crate::failure::{Gap, GapKind, gaps};
use crate::page::{Doubt, Page, Requirement};
use crate::text::{shown, shown_to};
use crate::verdict::{Verdict, verdicts};

use super::json::is_unreliable;
use super::provenance::models;

/// One test case.
struct Case {
    name: String,
    outcome: Outcome,
    /// What was found, in words.
    says: String,
}

/// How a case ended; the text is the type of what went wrong.
enum Outcome {
    Passed,
    Skipped,
    Failure(String),
    Error(String),
}

/// One suite: a model, or the run.
struct Suite {
    name: String,
    properties: Vec<(&'static str, String)>,
    cases: Vec<Case>,
}

/// `junit.xml`, as Jenkins and others read it: one `testsuite` per model and one for what concerns the whole run; a `testcase`
/// per verdict, requirement, doubt and gap.
pub fn junit_xml(page: &Page) -> String {
    let suites = suites(page);
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let total = |count: fn(&Outcome) -> bool| suites.iter().map(|suite| counted(suite, count)).sum::<usize>();
    xml += &format!(
        "<testsuites name=\"flatscape\" tests=\"{}\" failures=\"{}\" errors=\"{}\">\n",
        total(|_| true),
        total(is_failure),
        total(is_error)
    );
    suites.iter().for_each(|suite| write_suite(&mut xml, suite));
    xml + "</testsuites>\n"
}

fn suites(page: &Page) -> Vec<Suite> {
    let (verdicts, gaps, models) = (verdicts(&page.records), gaps(page), models(page));
    let named = |name: &str| models.iter().any(|model| model.name == name);
    let mut suites = Vec::new();
    for (place, model) in models.iter().enumerate() {
        let twin = models.iter().filter(|other| other.name == model.name).count() > 1;
        let sha: String = shown(&model.sha256).chars().take(12).collect();
        let name = if twin { format!("{} ({sha})", shown(&model.name)) } else { shown(&model.name) };
        // doubts, requirements and gaps name a model by its name alone: those of twins are reported at the first
        let first = models.iter().position(|other| other.name == model.name) == Some(place);
        let mut cases: Vec<Case> = verdicts
            .iter()
            .filter(|verdict| verdict.model == shown(&model.name) && verdict.model_sha256 == shown(&model.sha256))
            .map(|verdict| verdict_case(verdict, page))
            .collect();
        if first {
            cases.extend(page.requirements.iter().filter(|r| r.model == model.name).map(requirement_case));
            cases.extend(page.doubts.iter().filter(|doubt| doubt.model == model.name).map(doubt_case));
            cases.extend(gaps.iter().filter(|gap| gap.name == model.name).map(gap_case));
        }
        let mut properties = vec![("sha256", shown(&model.sha256))];
        if !model.file.is_empty() {
            properties.push(("file", shown(&model.file)));
        }
        suites.push(Suite { name, properties, cases });
    }
    let mut cases: Vec<Case> = page.requirements.iter().filter(|r| !named(&r.model)).map(requirement_case).collect();
    cases.extend(page.doubts.iter().filter(|doubt| !named(&doubt.model)).map(doubt_case));
    cases.extend(gaps.iter().filter(|gap| !named(&gap.name)).map(gap_case));
    if let Some(partial) = page.partial {
        let says = format!("interrupted after {} of {} jobs; resume the run for the rest", partial.done, partial.of);
        cases.push(Case { name: "finished".to_owned(), outcome: Outcome::Error("partial".to_owned()), says });
    }
    if !cases.is_empty() || suites.is_empty() {
        let properties = vec![("version", shown(&page.version)), ("command", shown_to(&page.command, 1000))];
        suites.push(Suite { name: "run".to_owned(), properties, cases });
    }
    suites
}

fn verdict_case(verdict: &Verdict, page: &Page) -> Case {
    let threat = if verdict.threat.is_empty() { String::new() } else { format!(" under {}", verdict.threat) };
    let says = format!("{}: {}", verdict.model, verdict.sentence);
    // a number that should not be trusted is reported by the doubt's own case
    let note = if is_unreliable(verdict, page) { " This number is unreliable." } else { "" };
    let outcome = if verdict.bound.is_some() { Outcome::Passed } else { Outcome::Skipped };
    Case { name: format!("robust accuracy{threat}"), outcome, says: says + note }
}

fn requirement_case(requirement: &Requirement) -> Case {
    let text = shown(&requirement.text);
    let outcome = if requirement.holds { Outcome::Passed } else { Outcome::Failure("requirement".to_owned()) };
    let holds = if requirement.holds { "holds" } else { "does not hold" };
    Case { name: format!("requirement {text}"), outcome, says: format!("{text} {holds}: {}", shown_to(&requirement.found, 400)) }
}

fn doubt_case(doubt: &Doubt) -> Case {
    let threat = if doubt.threat.is_empty() { String::new() } else { format!(" under {}", shown(&doubt.threat)) };
    let code = shown(&doubt.code);
    let outcome = if doubt.unreliable { Outcome::Failure(code.clone()) } else { Outcome::Passed };
    let texts = [&doubt.raised_for, &doubt.explanation, &doubt.advice].map(|text| shown_to(text, 1200));
    Case { name: format!("doubt {code}{threat}"), outcome, says: texts.join(" ") }
}

fn gap_case(gap: &Gap) -> Case {
    let words: Vec<&str> = [gap.component.as_str(), gap.threat.as_str()].into_iter().filter(|word| !word.is_empty()).collect();
    let about = if words.is_empty() { "model".to_owned() } else { words.join(" under ") };
    let (outcome, what) = match gap.kind {
        GapKind::Failed => (Outcome::Error(gap.code.clone()), "result of"),
        GapKind::Unsupported => (Outcome::Skipped, "result of"),
        GapKind::Uncovered => (Outcome::Passed, "coverage of"),
        GapKind::Ties => (Outcome::Passed, "equal scores of"),
    };
    Case { name: format!("{what} {about}"), outcome, says: gap.sentence.clone() }
}

fn is_failure(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failure(_))
}

fn is_error(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Error(_))
}

fn counted(suite: &Suite, count: fn(&Outcome) -> bool) -> usize {
    suite.cases.iter().filter(|case| count(&case.outcome)).count()
}

fn write_suite(xml: &mut String, suite: &Suite) {
    *xml += &format!(
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">\n",
        escaped(&suite.name),
        suite.cases.len(),
        counted(suite, is_failure),
        counted(suite, is_error),
        counted(suite, |outcome| matches!(outcome, Outcome::Skipped))
    );
    *xml += "    <properties>\n";
    for (name, value) in &suite.properties {
        *xml += &format!("      <property name=\"{name}\" value=\"{}\"/>\n", escaped(value));
    }
    *xml += "    </properties>\n";
    for case in &suite.cases {
        let (name, says) = (escaped(&case.name), escaped(&case.says));
        *xml += &format!("    <testcase classname=\"{}\" name=\"{name}\">", escaped(&suite.name));
        *xml += &match &case.outcome {
            Outcome::Passed => format!("<system-out>{says}</system-out>"),
            Outcome::Skipped => format!("<skipped message=\"{says}\"/>"),
            Outcome::Failure(kind) => format!("<failure type=\"{}\" message=\"{says}\"/>", escaped(kind)),
            Outcome::Error(kind) => format!("<error type=\"{}\" message=\"{says}\"/>", escaped(kind)),
        };
        *xml += "</testcase>\n";
    }
    *xml += "  </testsuite>\n";
}

/// Text that is valid in an element or in an attribute in double quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '"' => out += "&quot;",
            '\'' => out += "&apos;",
            other => out.push(other),
        }
    }
    out
}
