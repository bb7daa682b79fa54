//! The writers as a hostile reader meets them, and what each of them must say of a run that has everything.

use super::*;
use crate::columns::results_csv;
use crate::failure::{Failure, UNSUPPORTED};
use crate::page::tests::{ATTACKS, page_of};
use crate::page::{Doubt, ModelFile, Page, Partial, Requirement, html};
use crate::record::Record;
use crate::samples::samples_csv;
use crate::text::deceives;

/// Every writer that makes a file of a page.
type Writer = (&'static str, fn(&Page) -> Vec<u8>);

const WRITERS: [Writer; 7] = [
    ("html", |page| html(page).unwrap().into_bytes()),
    ("results.csv", |page| results_csv(&page.records)),
    ("samples.csv", |page| samples_csv(&page.samples)),
    ("json", |page| results_json(page).unwrap().into_bytes()),
    ("sarif", |page| results_sarif(page).unwrap().into_bytes()),
    ("junit", |page| junit_xml(page).into_bytes()),
    ("md", |page| results_md(page).into_bytes()),
];

/// A run in which something of every kind happened.
pub(crate) fn eventful() -> Page {
    let row = |component: &str, metric: &str, value: Option<f64>| Record {
        model: "digits-standard".into(),
        model_sha256: "ab".repeat(32),
        dataset: "digits".into(),
        split: "test".into(),
        n: 500,
        component: component.into(),
        component_version: "0.1.0".into(),
        threat: if metric == "clean_accuracy" { String::new() } else { "linf:0.1".into() },
        eps: (metric != "clean_accuracy").then_some(0.1),
        metric: metric.into(),
        value,
        ci_low: value.map(|value| value - 0.04),
        ci_high: value.map(|value| value + 0.04),
        engine: "tract 0.23".into(),
        device: "cpu".into(),
        ..Record::default()
    };
    let of_plugin = |record: Record| Record { plugin: "standard".into(), plugin_sha256: "cd".repeat(32), ..record };
    let flagged = |record: Record, flag: &str| Record { flags: vec![flag.into()], ..record };
    let doubt = |code: &str, unreliable: bool| Doubt {
        code: code.into(),
        raised_if: "more than 10 % of the gradients are zero".into(),
        explanation: "37 % of the gradients are zero.".into(),
        advice: "add --attack square".into(),
        raised_for: "digits-standard under linf:0.1: 37 %".into(),
        model: "digits-standard".into(),
        threat: "linf:0.1".into(),
        unreliable,
    };
    Page {
        command: "flatscape audit digits-standard.onnx --data digits".into(),
        interval: "Clopper-Pearson".into(),
        records: vec![
            row("clean", "clean_accuracy", Some(0.95)),
            flagged(of_plugin(row("pgd", "robust_accuracy", Some(0.47))), "Q03"),
            row("union", "robust_accuracy", Some(0.46)),
            Record { value: Some(f64::NAN), ci_low: None, ci_high: Some(f64::INFINITY), ..row("logp", "logp_mean", None) },
            flagged(of_plugin(row("square", "", None)), "P012"),
            flagged(of_plugin(row("deepfool", "", None)), UNSUPPORTED),
            Record { model: "other".into(), flags: vec!["M031".into()], ..Record::default() },
        ],
        doubts: vec![doubt("Q03", true), doubt("Q07", false)],
        requirements: vec![
            Requirement {
                model: "digits-standard".into(),
                text: "robust_accuracy>=0.9".into(),
                holds: false,
                found: "it is 0.46".into(),
            },
            Requirement {
                model: "digits-standard".into(),
                text: "clean_accuracy>=0.9".into(),
                holds: true,
                found: "it is 0.95".into(),
            },
        ],
        failures: vec![Failure { code: "M031".into(), sentence: "there is no output".into(), ..Failure::default() }],
        version: "0.1.0".into(),
        data_sha256: "ef".repeat(32),
        models: vec![ModelFile { name: "digits-standard".into(), sha256: "ab".repeat(32), file: "my model.onnx".into() }],
        ..Page::default()
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_same_page_gives_the_same_bytes_in_every_format() {
    for (name, write) in WRITERS {
        assert_eq!(write(&page_of(ATTACKS[0])), write(&page_of(ATTACKS[0])), "{name}");
        assert!(!write(&Page::default()).is_empty(), "{name}");
    }
}

#[test]
fn no_format_holds_a_character_that_deceives() {
    for attack in ATTACKS.into_iter().chain(["a\u{202e}b\u{feff}\u{7f}\u{9b}31m\r\n\u{e0041}"]) {
        for (name, write) in WRITERS.iter().filter(|(name, _)| !name.ends_with("csv")) {
            let text = String::from_utf8(write(&page_of(attack))).unwrap();
            let found = text.chars().find(|&character| deceives(character) && character != '\n');
            assert_eq!(found, None, "{name} of {attack:?}");
        }
    }
}

#[test]
fn json_is_exact_and_cannot_end_an_element() {
    for attack in ATTACKS {
        let text = results_json(&page_of(attack)).unwrap();
        assert!(!text.contains(['<', '>', '&']), "{attack}");
        let value = json(&text);
        let records: Vec<Record> = serde_json::from_value(value["records"].clone()).unwrap();
        assert_eq!(format!("{records:?}"), format!("{:?}", page_of(attack).records));
        assert_eq!(value["doubts"][0]["explanation"], attack);
    }
}

#[test]
fn json_says_what_was_found() {
    let value = json(&results_json(&eventful()).unwrap());
    assert_eq!(value["schema_version"], 1);
    assert_eq!(value["unreliable"], true);
    let verdict = &value["verdicts"][0];
    assert_eq!(
        verdict["robust_accuracy"],
        serde_json::json!({ "value": 0.46, "ci_low": 0.46 - 0.04, "ci_high": 0.46 + 0.04, "n": 500 })
    );
    assert_eq!(verdict["clean_accuracy"]["value"], 0.95);
    assert_eq!((&verdict["unreliable"], &verdict["attacks"]), (&true.into(), &serde_json::json!(["pgd"])));
    assert!(verdict["sentence"].as_str().unwrap().starts_with("robust accuracy is at most 46.0 % [42.0, 50.0]"));
    assert_eq!(value["records"][3]["value"], "NaN");
    assert_eq!((&value["records"][3]["ci_low"], &value["records"][3]["ci_high"]), (&serde_json::Value::Null, &"inf".into()));
    assert_eq!(value["run"]["plugins"], serde_json::json!([{ "id": "standard", "version": "0.1.0", "sha256": "cd".repeat(32) }]));
    assert_eq!(value["run"]["models"][0]["file"], "my model.onnx");
    let kinds: Vec<&str> = value["gaps"].as_array().unwrap().iter().map(|gap| gap["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["failed", "unsupported", "failed"]);
}

#[test]
fn sarif_has_one_result_per_finding_located_at_the_file() {
    let value = json(&results_sarif(&eventful()).unwrap());
    let run = &value["runs"][0];
    let results: Vec<(&str, &str, &str)> = run["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["ruleId"].as_str().unwrap(), r["kind"].as_str().unwrap(), r["level"].as_str().unwrap()))
        .collect();
    assert_eq!(
        results,
        [
            ("Q03", "fail", "error"),
            ("Q07", "fail", "warning"),
            ("requirement", "fail", "error"),
            ("requirement", "pass", "none"),
            ("P012", "fail", "error"),
            ("unsupported", "notApplicable", "none"),
            ("M031", "fail", "error"),
            ("not-robust", "fail", "warning"),
        ]
    );
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for result in run["results"].as_array().unwrap() {
        assert_eq!(rules[result["ruleIndex"].as_u64().unwrap() as usize]["id"], result["ruleId"]);
    }
    let place = &run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"];
    assert_eq!(place, &serde_json::json!({ "uri": "my%20model.onnx", "index": 0 }));
    assert_eq!(run["artifacts"][0]["hashes"]["sha-256"], "ab".repeat(32));
    assert_eq!(run["results"][6]["message"]["text"], "there is no output");
    assert_eq!(run["results"][6]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "other");
}

#[test]
fn sarif_messages_make_no_links_and_uris_stay_relative() {
    for attack in ATTACKS.into_iter().chain(["[x](javascript:alert(1)){0}", "../../etc/passwd", "file:///x", ".."]) {
        let value = json(&results_sarif(&page_of(attack)).unwrap());
        let run = &value["runs"][0];
        for result in run["results"].as_array().unwrap() {
            let text = result["message"]["text"].as_str().unwrap();
            let stripped = text.replace("{{", "").replace("}}", "").replace("\\](", "");
            assert!(!stripped.contains("](") && !stripped.contains(['{', '}']), "{text}");
            let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
            assert!(uri.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)), "{uri}");
            assert!(!matches!(uri, "" | "." | ".."), "{uri}");
        }
    }
}

/// Reads XML of elements with attributes in double quotes; gives every element with its attributes, and its depth.
/// Depth, name and attributes.
type XmlElement = (usize, String, Vec<(String, String)>);

fn elements(xml: &str) -> Vec<XmlElement> {
    let mut rest = xml.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").unwrap();
    let (mut found, mut open) = (Vec::new(), Vec::new());
    while let Some(start) = rest.find('<') {
        assert!(!rest[..start].contains('>'), "{}", &rest[..start]);
        rest = &rest[start + 1..];
        if let Some(closing) = rest.strip_prefix('/') {
            let (name, after) = closing.split_once('>').unwrap();
            assert_eq!(open.pop().as_deref(), Some(name));
            rest = after;
            continue;
        }
        let name: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        rest = &rest[name.len()..];
        let mut attributes = Vec::new();
        while let Some(attribute) = rest.strip_prefix(' ') {
            let (key, after) = attribute.split_once("=\"").unwrap();
            let (value, after) = after.split_once('"').unwrap();
            assert!(key.chars().all(|c| c.is_ascii_lowercase()) && !value.contains('<'), "{key} {value}");
            attributes.push((key.to_owned(), value.to_owned()));
            rest = after;
        }
        found.push((open.len(), name.clone(), attributes));
        match rest.strip_prefix("/>") {
            Some(after) => rest = after,
            None => {
                rest = rest.strip_prefix('>').unwrap();
                open.push(name);
            }
        }
    }
    assert!(open.is_empty());
    found
}

#[test]
fn junit_is_well_formed_with_any_name_and_its_counts_are_true() {
    for attack in ATTACKS {
        let found = elements(&junit_xml(&page_of(attack)));
        assert!(found.iter().all(|(_, name, _)| {
            ["testsuites", "testsuite", "properties", "property", "testcase", "system-out", "failure", "error", "skipped"]
                .contains(&name.as_str())
        }));
    }
    let found = elements(&junit_xml(&eventful()));
    let count = |name: &str| found.iter().filter(|(_, element, _)| element == name).count().to_string();
    let of_all = |key: &str| found[0].2.iter().find(|(name, _)| name == key).unwrap().1.clone();
    assert_eq!((of_all("tests"), of_all("failures"), of_all("errors")), (count("testcase"), count("failure"), count("error")));
    assert_eq!(
        (count("testsuite"), count("failure"), count("error"), count("skipped")),
        ("2".into(), "2".into(), "2".into(), "2".into())
    );
}

#[test]
fn an_interrupted_run_is_an_error_and_a_run_without_attacks_is_no_pass() {
    let page = Page { partial: Some(Partial { done: 1, of: 2 }), ..Page::default() };
    assert!(junit_xml(&page).contains("<error type=\"partial\""));
    let clean = Page { records: vec![eventful().records[0].clone()], ..Page::default() };
    assert!(junit_xml(&clean).contains("<skipped message=\"digits-standard: no attack has finished"));
    assert!(results_md(&page).contains("**PARTIAL:** interrupted after 1 of 2 jobs"));
}

#[test]
fn the_block_for_a_model_card_says_everything() {
    let text = results_md(&eventful());
    for part in [
        "**UNRELIABLE:** settle the doubts below",
        "- **digits-standard** on digits (test), threat model linf:0.1 (25.5/255): robust accuracy is at most 46.0 % \\[42.0, 50.0\\]",
        "| model | clean | pgd | union | flags |\n|---|---:|---:|---:|---|\n",
        "| digits-standard | 0.950 [0.910, 0.990] n=500 | 0.470 [0.430, 0.510] n=500 |",
        "digits-standard: robust\\_accuracy&gt;=0.9 **does not hold**: it is 0.46",
        "- **Q03**, unreliable, digits-standard under linf:0.1: 37 %. 37 % of the gradients are zero.",
        "- digits-standard, square, linf:0.1: a part failed and has no result (P012)",
        "- other: there is no output (M031)",
        "```\nflatscape audit digits-standard.onnx --data digits\n```",
        "flatscape 0.1.0, engine tract 0.23, on cpu, seed 0.",
        "| plugin standard 0.1.0 | cdcd",
        "| data digits (test) | efef",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn no_name_formats_links_or_becomes_html_in_markdown() {
    let more = ["[x](javascript:alert(1))", "a|b", "**b**", "`c`", "# h", "https://x.y www.x.y @me {{x}} $x$ ~~y~~", "```\n# x"];
    for attack in ATTACKS.into_iter().chain(more) {
        let text = results_md(&page_of(attack));
        // outside the fence, in which nothing is read
        let parts: Vec<&str> = text.split("\n```").collect();
        let outside = format!("{}{}", parts[0], parts.last().unwrap().trim_start_matches('`'));
        assert!(
            !outside.contains('<')
                && !outside.replace("\\]", "").contains("](")
                && !outside.contains("{{")
                && !outside.contains('@'),
            "{outside}"
        );
        assert!(!outside.contains("http://") && !outside.contains("https://") && !outside.contains(" www.x"), "{outside}");
        let plain = results_md(&page_of("name"));
        let lines = |text: &str| {
            text.lines().map(|line| line.chars().take_while(|c| "#|-`".contains(*c)).collect::<String>()).collect::<Vec<_>>()
        };
        assert_eq!(lines(&text).len(), lines(&plain).len(), "{attack}");
        let cells = |text: &str| text.replace("\\|", "").lines().map(|line| line.matches('|').count()).collect::<Vec<_>>();
        let (own, plain) = (cells(&text), cells(&plain));
        let table = plain.iter().position(|&cells| cells > 0).unwrap();
        assert_eq!(own[table..table + 3], plain[table..table + 3], "{attack}");
    }
}
