//! Comparisons of runs that are made up sample by sample, so that every number is known.

use flatscape_comparison::{Pairing, compare_csv, compare_html, compare_markdown};
use flatscape_report::{Record, SampleKey, SampleValue, Samples};
use serde_json::{Value, json};

use super::*;
use flatscape_measure::statistics::{clopper_pearson, mcnemar};

/// Of one sample: whether it is right, whether the attack leaves it standing, and its flatness.
type Sample = (bool, bool, f64);

/// A run over samples `ids` of data called `data`; of each model its name, and by sample whether it is right, whether the
/// attack leaves it standing, and its flatness.
fn run(name: &str, data: &str, ids: &[u64], models: &[(&str, &[Sample])]) -> RunView {
    let component = |id: &str, kind: &str| {
        json!({ "request": { "id": id, "at": null, "target": null }, "label": id, "written": "", "complete": "steps=5",
                "kind": kind, "plugin": { "id": "standard", "version": "1", "file": "x.so", "sha256": "ab" } })
    };
    let manifest = json!({
        "flatscape": "0.1.0", "engine": { "name": "tract", "version": "1", "device": "cpu" }, "seed": 0, "batch_size": 64,
        "data": { "name": data, "split": "test", "n": ids.len(), "shape": [1, 8, 8], "sha256": format!("sha of {data}") },
        "models": models.iter().map(|(name, _)| json!({ "name": name, "sha256": format!("sha of {name}") })).collect::<Vec<_>>(),
        "threats": [{ "written": "linf:8/255", "lo": 0.0, "hi": 1.0 }],
        "attacks": [component("pgd", "attack")], "metrics": [component("ams", "metric")], "options": {},
    });
    let (mut records, mut samples) = (Vec::new(), Samples::default());
    for (model, points) in models {
        let n = ids.len() as u64;
        let row = |component: &str, metric: &str, count: usize| {
            let interval = clopper_pearson(count as u64, n);
            Record {
                model: (*model).into(),
                model_sha256: format!("sha of {model}"),
                dataset: data.into(),
                component: component.into(),
                metric: metric.into(),
                n,
                value: Some(count as f64 / n as f64),
                ci_low: Some(interval.low),
                ci_high: Some(interval.high),
                ..Record::default()
            }
        };
        let under =
            |record: Record| Record { args: "steps=5".into(), threat: "linf:8/255".into(), eps: Some(8.0 / 255.0), ..record };
        let held = points.iter().filter(|p| p.1).count();
        records.push(row("clean", "clean_accuracy", points.iter().filter(|p| p.0).count()));
        records.push(under(row("pgd", "robust_accuracy", held)));
        records.push(under(row("union", "robust_accuracy", held)));
        let flatness: Vec<f64> = points.iter().map(|p| p.2).collect();
        let mean = flatscape_measure::statistics::Mean::of(&flatness).expect("samples");
        records.push(Record { value: Some(mean.value), ..under(row("ams", "ams_mean", 0)) });
        for (&id, &(right, stands, flat)) in ids.iter().zip(*points) {
            let label = (id % 10) as i64;
            let prediction = Some(if right { label } else { label + 1 });
            let key = SampleKey { model: (*model).into(), threat: "linf:8/255".into(), id, label, prediction };
            let outcome = if !right {
                "misclassified"
            } else if stands {
                "held"
            } else {
                "broken"
            };
            samples.set(&key, "pgd.outcome", SampleValue::Text(outcome.into()));
            samples.set(&SampleKey { threat: String::new(), ..key }, "ams", SampleValue::Number(flat));
        }
    }
    let component = |id: &str| Component { id: id.into(), label: id.into(), complete: "steps=5".into() };
    RunView {
        name: name.into(),
        manifest,
        data: Data { name: data.into(), split: "test".into(), sha256: format!("sha of {data}"), images: "1×8×8".into() },
        attacks: vec![component("pgd")],
        metrics: vec![component("ams")],
        records,
        samples,
        warnings: Vec::new(),
        notes: Vec::new(),
    }
}

/// `n` samples, right where `clean` says so, standing where `robust` says so, too.
fn points(n: u64, clean: impl Fn(u64) -> bool, robust: impl Fn(u64) -> bool) -> Vec<(bool, bool, f64)> {
    (0..n).map(|id| (clean(id), clean(id) && robust(id), -(id as f64) - 1.0)).collect()
}

fn ids(n: u64) -> Vec<u64> {
    (0..n).collect()
}

fn of<'a>(comparison: &'a Comparison, metric: &str, component: &str) -> Vec<&'a Difference> {
    let measure = |d: &&Difference| {
        let measure = &comparison.measures[d.measure];
        measure.metric == metric && measure.component == component
    };
    comparison.differences.iter().filter(measure).collect()
}

fn gate(runs: &[RunView], requirement: &str) -> Comparison {
    let requirements = vec![requirement.parse().expect("a requirement")];
    compare(runs, &Question { baseline: Some(0), requirements, ..Question::default() }).expect(requirement)
}

#[test]
fn a_run_compared_with_itself_is_no_different() {
    for n in [1, 2, 7, 60, 400] {
        let own = points(n, |id| id % 7 != 0, |id| id % 3 == 0);
        let one = run("a", "digits", &ids(n), &[("m", &own)]);
        let comparison = compare(&[one.clone(), one], &Question::default()).expect("a comparison");
        assert_eq!((comparison.facts.len(), comparison.grounds.len()), (0, 1));
        assert_eq!(comparison.differences.len(), 4);
        for difference in &comparison.differences {
            assert_eq!((difference.difference, difference.pairing), (0.0, Pairing::Paired), "{difference:?}");
            if let Some(flips) = &difference.flips {
                assert_eq!((flips.gained.len(), flips.lost.len(), flips.p), (0, 0, 1.0));
            }
            let (low, high) = difference.interval.unwrap_or((0.0, 0.0));
            assert!(low <= 0.0 && high >= 0.0);
        }
        let ranks: Vec<_> = comparison.values.iter().filter_map(|v| v.rank).collect();
        assert_eq!(ranks.len(), 6);
        assert!(ranks.iter().all(|rank| (rank.first, rank.last, rank.of) == (1, 2, 2)), "{ranks:?}");
    }
}

#[test]
fn the_same_samples_are_paired_and_flips_are_named() {
    let n = 200;
    let (strong, weak) = (points(n, |_| true, |id| id % 2 == 0), points(n, |_| true, |id| id % 4 == 0 || id == 3));
    let runs = [run("a", "digits", &ids(n), &[("weak", &weak)]), run("b", "digits", &ids(n), &[("strong", &strong)])];
    let comparison = compare(&runs, &Question::default()).expect("a comparison");
    let found = of(&comparison, "robust_accuracy", "pgd")[0];
    let flips = found.flips.as_ref().expect("paired");
    assert_eq!((flips.gained.len(), flips.lost.as_slice()), (50, &[3][..]));
    assert_eq!((found.difference, found.pairing, found.method.as_str()), (49.0 / 200.0, Pairing::Paired, "Tango's paired score"));
    assert_eq!(flips.p, mcnemar(50, 1));
    assert!(flips.gained.iter().all(|id| id % 4 == 2));
    // the ranking follows: strong stands first
    let rank =
        |entry: usize| comparison.values.iter().find(|v| v.entry == entry && v.measure == found.measure).and_then(|v| v.rank);
    assert_eq!(
        (rank(found.entry).map(|r| (r.first, r.last)), rank(found.reference).map(|r| (r.first, r.last))),
        (Some((1, 1)), Some((2, 2)))
    );
    // the models differ and are listed first, the rest is alike
    assert_eq!(comparison.facts.iter().map(|f| f.what.as_str()).collect::<Vec<_>>(), ["models", "preprocessing"]);
}

#[test]
fn what_cannot_be_told_apart_shares_its_ranks() {
    let n = 300;
    let models = [("a", 131, 0.50), ("b", 77, 0.52), ("c", 131, 0.95)];
    let standing = |factor: u64, share: f64| points(n, |_| true, move |id| share * 300.0 > ((id * factor) % 300) as f64);
    let all: Vec<_> = models.iter().map(|&(_, factor, share)| standing(factor, share)).collect();
    let named: Vec<(&str, &[_])> = models.iter().zip(&all).map(|(model, points)| (model.0, points.as_slice())).collect();
    let comparison = compare(&[run("r", "digits", &ids(n), &named)], &Question::default()).expect("one run has several models");
    let measure = comparison.measures.iter().position(|m| m.component == "pgd").expect("an attack");
    let ranks: Vec<String> =
        comparison.values.iter().filter(|v| v.measure == measure).filter_map(|v| Some(v.rank?.to_string())).collect();
    assert_eq!(ranks, ["2–3", "2–3", "1"]);
}

#[test]
fn other_samples_have_a_table_of_their_own_and_are_compared_on_common_ones() {
    let (long, short) = (points(100, |_| true, |id| id < 40), points(60, |_| true, |id| id < 40));
    let runs = [run("a", "digits", &ids(100), &[("m", &long)]), run("b", "digits", &ids(60), &[("m", &short)])];
    let comparison = compare(&runs, &Question::default()).expect("a comparison");
    assert_eq!(comparison.grounds.len(), 2);
    assert!(
        comparison.grounds[1].apart.contains("the first 60 samples and not the first 100 samples"),
        "{:?}",
        comparison.grounds
    );
    let found = of(&comparison, "robust_accuracy", "pgd")[0];
    // 0.4 of 100 and 0.67 of 60 are the same on the 60 that both have
    assert_eq!((found.pairing, found.difference, found.n), (Pairing::Common, 0.0, 60));
    assert!(comparison.values.iter().all(|v| v.rank.is_none()), "no two values share a column");
}

#[test]
fn other_data_are_two_samples() {
    let (one, two) = (points(80, |_| true, |id| id < 48), points(70, |_| true, |id| id < 56));
    let runs = [run("a", "first", &ids(80), &[("m", &one)]), run("b", "second", &ids(70), &[("m", &two)])];
    let comparison = compare(&runs, &Question::default()).expect("the model is the same");
    let found = of(&comparison, "robust_accuracy", "pgd")[0];
    assert_eq!((found.pairing, found.method.as_str()), (Pairing::TwoSample, "Newcombe's hybrid score"));
    let (low, high) = found.interval.expect("an interval");
    // Newcombe 1998: 56/70 − 48/80 is 0.0524 to 0.3339
    assert!((low - 0.0524).abs() < 5.1e-5 && (high - 0.3339).abs() < 5.1e-5);
    assert_eq!(of(&comparison, "ams_mean", "ams")[0].method, "Welch's t");
    assert_eq!(comparison.grounds.len(), 2);
    assert!(comparison.grounds[1].apart.contains("the data set is second and not first"), "{:?}", comparison.grounds[1].apart);
}

#[test]
fn runs_that_share_nothing_are_refused() {
    let own = points(20, |_| true, |_| true);
    let runs = [run("a", "first", &ids(20), &[("m", &own)]), run("b", "second", &ids(20), &[("other", &own)])];
    let refusal = compare(&runs, &Question::default()).expect_err("nothing in common");
    assert_eq!((refusal.id().as_str(), refusal.class.exit_code()), ("R151", 8));
}

#[test]
fn another_threat_model_or_argument_is_another_column() {
    let own = points(30, |_| true, |id| id < 20);
    let one = run("a", "digits", &ids(30), &[("m", &own)]);
    let rename = |run: &RunView, threat: &str, eps: f64| {
        let mut run = run.clone();
        run.records.iter_mut().filter(|r| !r.threat.is_empty()).for_each(|r| (r.threat, r.eps) = (threat.into(), Some(eps)));
        let mut samples = Samples::default();
        for line in run.samples.lines() {
            let key = SampleKey { threat: threat.into(), ..line.key().clone() };
            for (place, column) in run.samples.columns().iter().enumerate() {
                line.value(place).into_iter().for_each(|value| samples.set(&key, column, value.clone()));
            }
        }
        run.samples = samples;
        run
    };
    let columns = |other: RunView| {
        let comparison = compare(&[one.clone(), other], &Question::default()).expect("clean accuracy is shared");
        comparison.measures.iter().filter(|m| m.component == "pgd").count()
    };
    assert_eq!(columns(rename(&one, "linf:0.1", 0.1)), 2);
    assert_eq!(columns(rename(&one, "l2:8/255", 8.0 / 255.0)), 2);
    assert_eq!(columns(rename(&one, "linf:0.03137254901960784", 8.0 / 255.0)), 1, "another spelling of one radius");
    let mut stronger = one.clone();
    stronger.attacks[0].complete = "steps=50".into();
    stronger.records.iter_mut().filter(|r| r.component == "pgd").for_each(|r| r.args = "steps=50".into());
    assert_eq!(columns(stronger), 2);
}

#[test]
fn a_regression_does_not_pass_the_gate() {
    let n = 100;
    let base = points(n, |_| true, |id| id < 60);
    let worse = points(n, |_| true, |id| id < 57);
    let runs = |points: &[(bool, bool, f64)]| {
        [run("base", "digits", &ids(n), &[("m", &base)]), run("new", "digits", &ids(n), &[("m", points)])]
    };
    let holds = |requirement: &str| gate(&runs(&worse), requirement).conditions.iter().all(|c| c.holds);
    assert!(!holds("robust_accuracy>=-0.02") && holds("robust_accuracy>=-0.03") && holds("clean_accuracy>=0"));
    // 3 of 100 flipped: the interval reaches further down than the difference
    assert!(holds("robust_accuracy.ci_low>=-0.1") && !holds("robust_accuracy.ci_low>=-0.03"));
    assert!(holds("robust_accuracy<=0") && !holds("robust_accuracy<=-0.05"));
    // a union and an attack: both are judged
    assert_eq!(gate(&runs(&worse), "robust_accuracy>=-0.02").conditions.len(), 2);
    let refusal = compare(
        &runs(&base),
        &Question { baseline: Some(0), requirements: vec!["robust_acc>=0".parse().expect("one")], ..Question::default() },
    );
    let refusal = refusal.expect_err("no such metric");
    assert_eq!(refusal.id(), "U150");
    assert!(refusal.help.is_some_and(|help| help.contains("robust_accuracy")));
    let alone = Question { requirements: vec!["robust_accuracy>=0".parse().expect("one")], ..Question::default() };
    assert_eq!(compare(&runs(&base), &alone).expect_err("no baseline").id(), "U150");
}

#[test]
fn what_the_baseline_has_and_the_run_lacks_does_not_hold() {
    let base = points(50, |_| true, |id| id < 30);
    let whole = run("base", "digits", &ids(50), &[("m", &base)]);
    let mut lacks = whole.clone();
    lacks.name = "new".into();
    lacks.records.retain(|r| r.component != "pgd");
    let comparison = gate(&[whole.clone(), lacks], "robust_accuracy>=-0.02");
    let unmet: Vec<&str> = comparison.conditions.iter().filter(|c| !c.holds).map(|c| c.sentence.as_str()).collect();
    assert_eq!(
        unmet,
        ["m, pgd under linf:8/255: new does not have this measure; audit with the same attacks and threat models."]
    );
    // another file of the same name is matched by its name, and that is said
    let mut retrained = whole.clone();
    retrained.records.iter_mut().for_each(|r| r.model_sha256 = "another".into());
    let comparison = gate(&[whole.clone(), retrained], "robust_accuracy>=-0.02");
    assert!(comparison.conditions.iter().all(|c| c.holds && c.sentence.contains("matched by name")));
    // a model of another name is not
    let renamed = run("new", "digits", &ids(50), &[("x", &base)]);
    assert!(gate(&[whole, renamed], "robust_accuracy>=-0.02").conditions.iter().all(|c| !c.holds));
}

#[test]
fn a_table_that_does_not_give_the_row_again_pairs_nothing() {
    let own = points(40, |_| true, |id| id < 20);
    let one = run("a", "digits", &ids(40), &[("m", &own)]);
    let mut other = one.clone();
    let row = other.records.iter_mut().find(|r| r.component == "pgd").expect("an attack");
    row.value = Some(0.75);
    let comparison = compare(&[one, other], &Question::default()).expect("a comparison");
    let found = of(&comparison, "robust_accuracy", "pgd")[0];
    assert_eq!((found.pairing, found.difference), (Pairing::TwoSample, 0.25));
    assert!(found.why.contains("samples.csv does not hold"), "{}", found.why);
}

#[test]
fn differences_between_runs_are_found() {
    let own = points(20, |_| true, |id| id < 10);
    let one = run("a", "digits", &ids(20), &[("m", &own)]);
    let changed = |pointer: &str, value: Value| {
        let mut other = one.clone();
        *other.manifest.pointer_mut(pointer).expect(pointer) = value;
        let comparison = compare(&[one.clone(), other], &Question::default()).expect("a comparison");
        comparison.facts.iter().map(|f| f.what.clone()).collect::<Vec<_>>()
    };
    assert_eq!(changed("/engine/name", json!("ort")), ["engine"]);
    assert_eq!(changed("/seed", json!(7)), ["seed"]);
    assert_eq!(changed("/flatscape", json!("0.2.0")), ["program"]);
    assert_eq!(changed("/attacks/0/plugin/sha256", json!("cd")), ["plugins"]);
    assert_eq!(changed("/options", json!({ "intake": { "scale": "255" } })), ["other options"]);
    assert_eq!(changed("/threats/0/hi", json!(255.0)), ["threat models"]);
}

#[test]
fn hostile_names_stay_text_everywhere() {
    let name = "=cmd|' /C calc'!A0\"><script>alert(1)</script>\u{202e}|`x`[a](javascript:1)";
    let own = points(20, |_| true, |id| id < 10);
    let runs = [run(name, "digits", &ids(20), &[(name, &own)]), run("b", "digits", &ids(20), &[(name, &own)])];
    let mut comparison = compare(&runs, &Question::default()).expect("a comparison");
    comparison.command = name.to_owned();
    comparison.warnings.push(name.to_owned());
    let html = compare_html(&comparison).expect("a page");
    assert!(!html.contains("<script") && !html.contains('\u{202e}'));
    let markdown = compare_markdown(&comparison);
    assert!(!markdown.contains("<script") && !markdown.replace("\\]", "").contains("](") && !markdown.contains('\u{202e}'));
    // a bar in a name adds no cell
    let tables = markdown.lines().filter(|line| line.starts_with("| "));
    assert!(tables.clone().count() > 4);
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    assert!(tables.clone().all(|line| cells(line) > 2));
    let csv = String::from_utf8(compare_csv(&comparison)).expect("text");
    assert!(csv.lines().skip(1).all(|line| !line.split(',').any(|cell| cell.starts_with('=') || cell.starts_with("\"="))));
}

/// The same file on two engines: within chance nothing is said, beyond it the doubt, and not where the seed or the file differs.
#[test]
fn engines_that_disagree_beyond_chance_are_a_doubt() {
    let n = 200;
    let on = |engine: &str, broken: u64| {
        let own = points(n, |_| true, |id| id >= broken);
        let mut run = run(engine, "digits", &ids(n), &[("m", &own)]);
        run.manifest["engine"]["name"] = json!(engine);
        run
    };
    let warnings =
        |a: &RunView, b: &RunView| compare(&[a.clone(), b.clone()], &Question::default()).expect("a comparison").warnings;
    let (tract, near, far) = (on("tract", 40), on("onnxruntime", 42), on("onnxruntime", 80));
    assert!(warnings(&tract, &near).is_empty());
    let said = warnings(&tract, &far);
    assert!(
        said.iter().any(|w| w.starts_with("doubt[engines-disagree] m: robust_accuracy by pgd is 0.600 with onnxruntime")),
        "{said:?}"
    );
    assert!(warnings(&far, &on("onnxruntime", 40)).is_empty(), "one engine");
    let mut other = on("onnxruntime", 80);
    other.manifest["seed"] = json!(1);
    assert!(warnings(&tract, &other).is_empty(), "another seed");
}

/// `count` models of 40 samples; the later a model, the more samples stand and the smaller its flatness, but where `exchanged` says so.
fn series(count: u64, exchanged: bool) -> Vec<(String, Vec<Sample>)> {
    let model = |k: u64| {
        let flat = if exchanged && k < 2 { 1 - k } else { k };
        let sample = |id: u64| (true, id < 4 * (k + 1), -(((7 * id) % 40) as f64) - 100.0 * (10 - flat) as f64);
        (format!("net-{k}"), (0..40).map(sample).collect())
    };
    (0..count).map(model).collect()
}

fn compared(models: &[(String, Vec<Sample>)], families: &[&str]) -> Comparison {
    let models: Vec<(&str, &[Sample])> = models.iter().map(|(name, points)| (name.as_str(), points.as_slice())).collect();
    let families = families.iter().map(|family| (*family).to_owned()).collect();
    compare(&[run("a", "digits", &ids(40), &models)], &Question { families, ..Question::default() }).expect("a comparison")
}

#[test]
fn flatness_and_accuracy_are_correlated_over_models_and_few_models_are_only_described() {
    let comparison = compared(&series(7, true), &[]);
    let over: Vec<_> = comparison.relations.iter().filter(|r| r.over == "models").collect();
    // one family, which is all models; the order of two neighbours is exchanged: ρ = 1 − 6 · 2/(7 · 48)
    assert_eq!(over.len(), 1);
    let rho = over[0].rho.expect("a coefficient");
    assert!((rho - (1.0 - 12.0 / 336.0)).abs() < 1e-12 && over[0].n == 7, "{rho}");
    assert!(over[0].interval.is_some_and(|(low, high)| low > 0.0 && high < 1.0) && over[0].p.is_some_and(|p| p < 0.01));
    // every sample is right, so clean accuracy explains nothing and is said to be of no use
    assert_eq!((over[0].partial, over[0].given.as_slice()), (None, &["clean accuracy".to_owned()][..]));
    assert!(over[0].note.contains("undefined"), "{}", over[0].note);
    let few = compared(&series(4, false), &[]);
    let over: Vec<_> = few.relations.iter().filter(|r| r.over == "models").collect();
    assert_eq!((over[0].rho, over[0].interval, over[0].p), (Some(1.0), None, None));
    assert!(over[0].note.contains("4 models are described and not tested"), "{}", over[0].note);
    assert!(compared(&series(2, false), &[]).relations.iter().all(|r| r.over == "samples"));
}

#[test]
fn a_family_is_compared_within_itself() {
    let mut models = series(6, false);
    // three models of another family, whose order is the opposite
    for (k, (_, points)) in series(3, false).into_iter().enumerate() {
        models.push((
            format!("other-{k}"),
            points.into_iter().map(|(right, stands, _)| (right, stands, -1.0 - k as f64)).collect(),
        ));
    }
    let scopes = |families: &[&str]| -> Vec<(String, u64, f64)> {
        let comparison = compared(&models, families);
        let over = comparison.relations.iter().filter(|r| r.over == "models");
        over.map(|r| (r.scope.clone(), r.n, (r.rho.expect("a coefficient") * 1e6).round() / 1e6)).collect()
    };
    let found = scopes(&[]);
    assert_eq!(
        found.iter().map(|(scope, n, _)| (scope.as_str(), *n)).collect::<Vec<_>>(),
        [("all models", 9), ("family net", 6), ("family other", 3)]
    );
    assert_eq!((found[1].2, found[2].2), (1.0, -1.0));
    assert!(found[0].2 < 0.5, "the families hide each other: {}", found[0].2);
    assert_eq!(scopes(&["other-"]).len(), 2);
    assert_eq!(scopes(&["nothing"]).len(), 1);
}

#[test]
fn samples_are_correlated_one_by_one_and_attacks_stand_beside_each_other() {
    let comparison = compared(&series(3, false), &[]);
    let over: Vec<_> = comparison.relations.iter().filter(|r| r.over == "samples").collect();
    assert_eq!(
        over.iter().map(|r| (r.scope.as_str(), r.x.as_str(), r.y.as_str(), r.n)).collect::<Vec<_>>(),
        [("net-0", "ams", "broken", 40), ("net-1", "ams", "broken", 40), ("net-2", "ams", "broken", 40),]
    );
    assert!(over.iter().all(|r| r.interval.is_some() && r.p.is_none() && r.partial.is_none()));
    assert_eq!(comparison.across.len(), 1);
    let across = &comparison.across[0];
    assert_eq!(across.entries, [0, 1, 2]);
    assert_eq!(across.rows.iter().map(|row| row.attack.as_str()).collect::<Vec<_>>(), ["clean", "pgd", "union"]);
    let accuracy: Vec<f64> = across.rows[1].cells.iter().map(|cell| cell.expect("an accuracy").0).collect();
    assert_eq!(accuracy, [0.1, 0.2, 0.3]);
    let text = compare_html(&comparison).expect("a page") + &compare_markdown(&comparison);
    assert!(text.contains("Across attacks") && text.contains("Over the samples of net-0, linf:8"));
}

#[test]
fn a_pair_is_told_how_many_samples_separate_it() {
    // 30 gained and 12 lost of 1,000: d = 0.018, disagreement on 4.2 %
    let one = points(1000, |_| true, |id| id >= 12);
    let two = points(1000, |_| true, |id| !(12..42).contains(&id));
    let comparison =
        compare(&[run("a", "digits", &ids(1000), &[("m", &two), ("n", &one)])], &Question::default()).expect("a comparison");
    let found = of(&comparison, "robust_accuracy", "pgd");
    assert!((found[0].difference - 0.018).abs() < 1e-12, "{found:?}");
    assert_eq!(found[0].needed, flatscape_measure::statistics::samples_to_separate(0.018, 0.042));
    let said = found[0].advice(&comparison).expect("advice");
    assert!(
        said.contains("disagree on 4.2 % of 1000 images and differ by 1.8 %")
            && said.contains(&format!("{} images", found[0].needed.expect("a number"))),
        "{said}"
    );
    let clean = of(&comparison, "clean_accuracy", "clean");
    assert_eq!((clean[0].needed, clean[0].advice(&comparison)), (None, None));
}

#[test]
fn an_attack_stands_beside_the_mean_distance_of_its_examples() {
    let models = series(3, false);
    let models: Vec<(&str, &[Sample])> = models.iter().map(|(name, points)| (name.as_str(), points.as_slice())).collect();
    let mut own = run("a", "digits", &ids(40), &models);
    own.records.iter_mut().filter(|record| record.component == "pgd").for_each(|record| record.args = "steps=5".into());
    // the same attack, seeing another model: no metric looked at its points
    let transferred = own.records.iter().filter(|record| record.component == "pgd" && record.metric == "robust_accuracy");
    let transferred: Vec<Record> = transferred.map(|r| Record { args: "steps=5,via=other".into(), ..r.clone() }).collect();
    own.records.extend(transferred);
    for k in 1..=3_u32 {
        let name = format!("net-{}", k - 1);
        own.records.push(Record {
            model_sha256: format!("sha of {name}"),
            model: name,
            dataset: "digits".into(),
            component: "ssim".into(),
            args: "preset=s1,at=adv:pgd".into(),
            threat: "linf:8/255".into(),
            eps: Some(8.0 / 255.0),
            metric: "one_minus_ssim_of_broken_mean".into(),
            n: u64::from(10 * k),
            value: Some(0.01 * f64::from(k)),
            ..Record::default()
        });
    }
    let comparison = compare(&[own], &Question::default()).expect("a comparison");
    let rows = &comparison.across[0].rows;
    let direct = |row: &&flatscape_comparison::AcrossRow| row.attack.starts_with("pgd") && !row.attack.contains("via=");
    assert_eq!(rows.iter().filter(|row| row.attack.contains("via=")).count(), 1);
    let (mean, n) = rows.iter().find(direct).and_then(|row| row.dissimilarity).expect("a distance");
    // 10, 20 and 30 examples with 0.01, 0.02 and 0.03
    assert!((mean - 1.4 / 60.0).abs() < 1e-12 && n == 60, "{mean} {n}");
    assert!(rows.iter().filter(|row| !direct(row)).all(|row| row.dissimilarity.is_none()));
}

#[test]
fn attacks_are_named_by_their_labels_and_by_all_arguments_where_two_would_have_one_name() {
    let base = points(50, |_| true, |id| id < 30);
    let weak = run("weak", "digits", &ids(50), &[("m", &base)]);
    let mut strong = run("strong", "digits", &ids(50), &[("m", &base)]);
    strong.attacks[0].complete = "steps=50".into();
    strong.records.iter_mut().filter(|r| r.component == "pgd").for_each(|r| r.args = "steps=50".into());
    let named = |runs: &[RunView]| {
        let comparison = compare(runs, &Question::default()).expect("a comparison");
        let attacks = comparison.measures.iter().filter(|m| m.metric == "robust_accuracy" && m.component == "pgd");
        attacks.map(flatscape_comparison::Measure::name).collect::<Vec<_>>()
    };
    assert_eq!(named(&[weak.clone(), weak.clone()]), ["pgd"]);
    assert_eq!(named(&[weak, strong]), ["pgd steps=5", "pgd steps=50"]);
}
