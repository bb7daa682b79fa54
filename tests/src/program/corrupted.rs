//! Common corruptions in an audit: one job answers every severity, every image is counted, witnesses store what they were decoded
//! from, and `verify` decodes it again.

use std::sync::OnceLock;

use flatscape_graph::Tensor;
use flatscape_measure::findings::Findings;
use flatscape_measure::threats::TYPES;

use super::verify::{changed_in, holds_for_everybody, verified};
use super::{EMBEDDED, Row, Run, net_and_digits};

/// Types that draw nothing, types that draw twice, severities.
const POINTS: u64 = (8 + 2 * 8) * 5;

/// An audit of 40 digits under every severity, once for all tests.
fn audited() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        net_and_digits(folder.path());
        let mut arguments = vec!["audit", "net.onnx", "--data", "digits.npz", "-n", "40", "--landscapes", "0", "--out", "run"];
        arguments.extend(["--threat", "linf:0.05", "--threat", "corruption:1,2,3,4,5", "--shard-size", "25"]);
        arguments.extend(["--attack", "fgsm", "--attack", "corruptions:draws=2"]);
        arguments.extend(["--require", "corruption_accuracy_mean>=0.1"]);
        arguments.extend(EMBEDDED);
        let output = crate::provision::flatscape(folder.path(), &arguments);
        Run { folder, output }.expect(0)
    })
}

fn rows(threat: &str, metric: &str) -> Vec<Row> {
    let mut rows = audited().table("results.csv");
    rows.retain(|r| r["component"] == "corruptions" && r["threat"] == threat && r["metric"] == metric);
    rows
}

fn value(threat: &str, metric: &str) -> f64 {
    let found = rows(threat, metric);
    assert_eq!(found.len(), 1, "{metric} under {threat}");
    found[0]["value"].parse().unwrap_or_else(|_| panic!("{metric} under {threat} has no value"))
}

#[test]
fn one_job_answers_every_severity() {
    let jobs = audited().files("jobs", ".json").into_keys().filter(|name| name.contains(".corruptions-")).count();
    assert_eq!(jobs, 2, "40 images in shards of 25");
    let severities: Vec<String> = (1..=5).map(|severity| format!("corruption:{severity}")).collect();
    let curve: Vec<f64> = severities.iter().map(|threat| value(threat, "robust_accuracy")).collect();
    assert!(curve.is_sorted_by(|a, b| a >= b) && curve[4] < curve[0], "{curve:?}");
    let row = &rows("corruption:5", "robust_accuracy")[0];
    assert_eq!((row["forwards"].as_str(), row["backwards"].as_str()), ((40 * POINTS).to_string().as_str(), "0"));
    for threat in &severities {
        let union = audited().table("results.csv").into_iter().find(|r| r["component"] == "union" && r["threat"] == *threat);
        assert_eq!(union.expect("a union")["value"], rows(threat, "robust_accuracy")[0]["value"]);
        assert!(rows(threat, "coverage").is_empty() && row["flags"].is_empty(), "{row:?}");
    }
    let unserved = audited().table("results.csv").into_iter().filter(|r| r["flags"] == "unsupported").count();
    assert_eq!(unserved, 6, "fgsm under five severities, corruptions in linf");
}

#[test]
fn the_mean_says_what_is_in_it() {
    let standard: Vec<&str> = TYPES.iter().filter(|row| row.standard).map(|row| row.name).collect();
    assert_eq!((TYPES.len(), standard.len()), (16, 13));
    for severity in [1, 3, 5] {
        let threat = format!("corruption:{severity}");
        let of = |name: &str| value(&threat, &format!("corruption_accuracy_{}", name.replace('-', "_")));
        let mean = standard.iter().map(|name| of(name)).sum::<f64>() / 13.0;
        let row = &rows(&threat, "corruption_accuracy_mean")[0];
        assert!((row["value"].parse::<f64>().expect("a value") - mean).abs() < 1e-9, "{row:?}");
        let said = format!("draws=2,types=all,mean={},severities=1-{severity},missing=snow+frost", standard.join("+"));
        assert_eq!((row["args"].as_str(), row["n"].as_str()), (said.as_str(), "40"));
        assert!(!row["ci_low"].is_empty() && !row["ci_high"].is_empty());
        TYPES.iter().for_each(|row| assert!((0.0..=1.0).contains(&of(row.name)), "{}", row.name));
        assert!(mean >= value(&threat, "robust_accuracy"), "what no corruption changes is right under every one");
    }
    // a mild contrast changes no digit that is right, and the worst noise some
    assert!(value("corruption:5", "corruption_accuracy_mean") <= value("corruption:1", "corruption_accuracy_mean"));
    let page = audited().text("report.html");
    assert!(page.contains("corruptions mean"), "the mean is in the table");
}

#[test]
fn witnesses_are_decoded_again() {
    let run = audited().copy();
    holds_for_everybody(&run);
    let name = format!("witness/{}", file());
    let found = Findings::decode(&run.read(&name)).expect("findings");
    let (z, distance) = (found.get::<f32>("z").expect("z"), found.get::<f64>("distance").expect("distances"));
    assert_eq!(z.len(), 3 * distance.len());
    assert!(z.chunks(3).zip(&distance).all(|(z, d)| f64::from(z[1]) == *d && (0.0..16.0).contains(&z[0])), "{z:?}");
    changed_in(&run.path(&name), |f| {
        let mut z = f.get::<f32>("z").expect("z");
        z.chunks_mut(3).for_each(|z| z[0] = f32::from(u8::from(z[0] == 0.0)));
        f.0.insert("z".into(), Tensor::new(&[z.len() / 3, 3], z).expect("a tensor"));
    });
    let (code, said) = verified(run.folder.path(), "tract");
    assert_eq!((code, said.contains("the image is not what its parameter decodes to")), (1, true), "{said}");
}

fn file() -> String {
    let names: Vec<String> = audited().files("witness", ".npz").into_keys().filter(|n| n.contains(".corruptions-")).collect();
    assert_eq!(names.len(), 1, "{names:?}");
    names[0].clone()
}

#[test]
fn severities_and_attacks_that_make_no_sense_are_refused() {
    let cases: [(&[&str], &str); 6] = [
        (&["--threat", "corruption:0"], "is not a severity; severities are the whole numbers 1 to 5"),
        (&["--threat", "corruption:6"], "is not a severity; severities are the whole numbers 1 to 5"),
        (&["--threat", "corruption:fog"], "is not a number"),
        (&["--threat", "corruption:1,1"], "names the radius 1 twice"),
        (
            &["--threat", "corruption:3", "--attack", "pgd"],
            "the threat model is corruption; it serves linf, l2, l1, l0, flow, rigid",
        ),
        (&["--threat", "linf:0.1", "--attack", "corruptions"], "the threat model is linf; it serves corruption"),
    ];
    for (more, expected) in cases {
        let mut arguments = vec!["audit", "digits-standard", "--data", "digits", "-n", "4", "--landscapes", "0", "--out", "run"];
        arguments.extend(EMBEDDED);
        arguments.extend(more);
        let run = Run::new(&arguments).expect(2);
        assert!(run.said().contains(expected), "{more:?}: {}", run.said());
        assert!(!run.path("").exists(), "{more:?}: before any work");
    }
}
