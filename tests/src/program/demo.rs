//! `flatscape demo`: everything that a first run leaves behind.

use std::sync::OnceLock;

use super::{Run, table};
use crate::provision::root;

/// The demo, run once for all tests.
pub fn demo() -> &'static Run {
    static DEMO: OnceLock<Run> = OnceLock::new();
    DEMO.get_or_init(|| Run::new(&["demo", "--out", "run"]).expect(0))
}

const MODELS: [&str; 4] = ["smallnet-standard", "smallnet-adversarial", "smallnet-jacobian", "smallnet-amsreg"];

#[test]
fn the_tables_are_those_of_the_contract() {
    let text = demo().text("results.csv");
    let header = "model,model_sha256,dataset,split,n,component,component_version,args,threat,eps,metric,value,ci_low,ci_high,\
                  forwards,backwards,engine,device,seed,flags,plugin,plugin_sha256";
    assert_eq!(text.lines().next(), Some(header));
    let rows = table(&text);
    for model in MODELS {
        let own: Vec<_> = rows.iter().filter(|r| r["model"] == model).collect();
        for (component, metric) in [
            ("clean", "clean_accuracy"),
            ("fgsm", "robust_accuracy"),
            ("pgd", "robust_accuracy"),
            ("union", "robust_accuracy"),
            ("pgd", "claimed_success"),
            ("pgd", "nan_in_ball"),
            ("phi", "phi_sum"),
            ("phi", "phi_mean"),
            ("ams", "ams_mean"),
            ("logp", "logp_mean"),
        ] {
            let row = own.iter().find(|r| r["component"] == component && r["metric"] == metric);
            let row = row.unwrap_or_else(|| panic!("{model} has no {metric} of {component}"));
            let number = |column: &str| row[column].parse::<f64>().unwrap_or_else(|_| panic!("{column} of {row:?}"));
            assert!(number("ci_low") <= number("value") && number("value") <= number("ci_high"), "{row:?}");
            assert!(number("n") >= 100.0 && row["dataset"] == "digits" && row["model_sha256"].len() == 64, "{row:?}");
        }
    }
    let samples = table(&demo().text("samples.csv"));
    for column in
        ["model", "threat", "id", "label", "prediction", "pgd.outcome", "pgd.distance", "pgd.margin", "phi_mean", "ams", "logp"]
    {
        assert!(samples[0].contains_key(column), "samples.csv has no column {column}: {:?}", samples[0].keys());
    }
}

#[test]
fn the_defences_are_flatter_and_hold_longer() {
    let run = demo();
    let phi = |model| run.value(model, "phi", "phi_mean");
    let pgd = |model| run.value(model, "pgd", "robust_accuracy");
    for model in MODELS {
        let (clean, fgsm) = (run.value(model, "clean", "clean_accuracy"), run.value(model, "fgsm", "robust_accuracy"));
        let union = run.value(model, "union", "robust_accuracy");
        assert!(clean > 0.85, "{model}: {clean}");
        assert!(pgd(model) <= fgsm && fgsm <= clean, "{model}: {} {fgsm} {clean}", pgd(model));
        assert!(union <= pgd(model), "{model}: {union}");
        assert!(phi(model) < 0.0, "{model}: {}", phi(model));
        let sum = run.value(model, "phi", "phi_sum");
        assert!((sum / phi(model) - 121.0).abs() < 1e-6, "{model}: a grid of 11 has 121 points, {sum}");
        if model != "smallnet-standard" {
            assert!(phi(model) > phi("smallnet-standard"), "{model} is steeper than the model without a defence");
            assert!(pgd(model) > pgd("smallnet-standard"), "{model} holds less than the model without a defence");
        }
    }
}

/// `reports/demo` is what the program gives: the same rows for the same models, and the same numbers up to the last digits, which
/// depend on the processor.
#[test]
fn the_report_in_the_repository_is_that_of_the_program() {
    let path = root().join("reports/demo/results.csv");
    let kept = table(&std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
    let found = demo().table("results.csv");
    let key = |row: &super::Row| ["model", "model_sha256", "component", "args", "threat", "metric", "n"].map(|c| row[c].clone());
    // rows about those samples that an attack broke have another n where one sample more or less is broken
    let stable = |row: &&super::Row| row["metric"] != "distance_median";
    let keys = |rows: &[super::Row]| rows.iter().filter(stable).map(key).collect::<Vec<_>>();
    assert_eq!(keys(&kept), keys(&found), "reports/demo is not of this program; the README says how it is made");
    for (kept, found) in kept.iter().filter(stable).zip(found.iter().filter(stable)) {
        let [a, b] = [kept, found].map(|row| row["value"].parse::<f64>().unwrap_or(f64::NAN));
        let tolerance = if kept["metric"].contains("accuracy") { 0.01 } else { 0.02 * a.abs().max(0.5) };
        assert!(a.is_nan() && b.is_nan() || (a - b).abs() <= tolerance, "{kept:?} is now {b}");
    }
}

#[test]
fn the_union_is_the_worst_case_sample_by_sample() {
    let samples = demo().table("samples.csv");
    for model in MODELS {
        let own: Vec<_> = samples.iter().filter(|r| r["model"] == model && r["threat"] == "linf:0.1").collect();
        let held = own.iter().filter(|r| r["fgsm.outcome"] == "held" && r["pgd.outcome"] == "held").count();
        let union = demo().value(model, "union", "robust_accuracy");
        assert!((union - held as f64 / own.len() as f64).abs() < 1e-9, "{model}: {union} and {held} of {}", own.len());
    }
}

#[test]
fn the_page_is_one_file_that_loads_nothing() {
    let page = demo().text("report.html");
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
    let lower = page.to_lowercase();
    // an address may stand in text or in a link that somebody follows; nothing may be fetched
    for loader in [
        "src=\"http",
        "src='http",
        "src=http",
        "url(http",
        "url(\"http",
        "url('http",
        "@import",
        "<link",
        "<iframe",
        "fetch(",
        "xmlhttprequest",
        "import(",
    ] {
        assert!(!lower.contains(loader), "the page says {loader}");
    }
    for (place, _) in lower.match_indices("http") {
        if lower[place..].starts_with("http://") || lower[place..].starts_with("https://") {
            let before = &lower[place.saturating_sub(40)..place];
            let harmless = !before.contains("src") && !before.contains("action");
            assert!(harmless, "the page loads {:?}", &lower[place..(place + 60).min(lower.len())]);
        }
    }
    for model in MODELS {
        assert!(page.contains(model), "the page does not speak of {model}");
    }
    assert!(page.contains("at most") && !page.contains("PARTIAL"));
}

#[test]
fn landscapes_are_data_and_pictures() {
    let (data, pictures) = (demo().files("landscapes", ".csv"), demo().files("landscapes", ".svg"));
    // random and FGSM directions around one image for each model, all models side by side, and log p in two curves
    assert_eq!((data.len(), pictures.len()), (2 * MODELS.len(), 2 * MODELS.len() + 2 + 2));
    for (name, bytes) in &data {
        let rows = table(std::str::from_utf8(bytes).expect("UTF-8"));
        assert_eq!(rows.len(), 41 * 41, "{name}");
        let heights: Vec<f64> = rows.iter().map(|r| r["delta_log_p"].parse().expect("a number")).collect();
        assert_eq!(heights[41 * 41 / 2], 0.0, "{name}: the middle");
        assert!(heights.iter().any(|v| v.abs() > 0.1), "{name}: it is level");
    }
    for (name, bytes) in &pictures {
        let text = std::str::from_utf8(bytes).expect("UTF-8");
        assert!(text.contains("<svg") && text.trim_end().ends_with("</svg>"), "{name}");
    }
}

#[test]
fn the_manifest_says_what_was_run_on_what() {
    let manifest: serde_json::Value = serde_json::from_slice(&demo().read("manifest.json")).expect("JSON");
    let hash = |value: &serde_json::Value| {
        let text = value.as_str().unwrap_or_default();
        assert!(text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()), "no hash: {value}");
    };
    assert_eq!(manifest["models"].as_array().map(Vec::len), Some(MODELS.len()));
    manifest["models"].as_array().expect("models").iter().for_each(|m| hash(&m["sha256"]));
    for (kind, count) in [("attacks", 2), ("metrics", 3)] {
        let components = manifest[kind].as_array().expect("components");
        assert_eq!(components.len(), count, "{kind}");
        components.iter().for_each(|c| hash(&c["plugin"]["sha256"]));
    }
    hash(&manifest["data"]["sha256"]);
    assert_eq!(manifest["seed"], 0);
    assert_eq!(manifest["command"], "flatscape demo --out run");
    assert_eq!(manifest["engine"]["name"], "tract");
}
