//! An attack that answers some of its jobs and refuses the others: the samples that it did not see count as not broken by it, so
//! the verdict never rises; what was covered is a row, and the run ends with the code of a plugin at fault.

use super::{EMBEDDED, Row, Run};
use crate::plugins::misbehaving;

/// An audit of 30 digits in shards of 20 and 10; `oracle:how=few…` refuses the second.
fn audit(how: &str, more: &[&str]) -> Run {
    let plugins = tempfile::tempdir().expect("a folder");
    let plugin = misbehaving("oracle", plugins.path());
    let attack = format!("bad-oracle:how={how}");
    let mut arguments = vec!["audit", "digits-standard", "--data", "digits", "-n", "30", "--threat", "linf:0.1"];
    arguments.extend(["--shard-size", "20", "--landscapes", "0", "--out", "run"]);
    arguments.extend(["--plugin", plugin.to_str().expect("a path"), "--attack", &attack]);
    arguments.extend(EMBEDDED);
    arguments.extend(more);
    Run::new(&arguments)
}

fn samples(run: &Run) -> Vec<Row> {
    let mut rows = run.table("samples.csv");
    rows.retain(|r| r["threat"] == "linf:0.1");
    assert_eq!(rows.len(), 30);
    rows
}

fn coverage(run: &Run, component: &str) -> Vec<f64> {
    let rows = run.table("results.csv").into_iter().filter(|r| r["component"] == component && r["metric"] == "coverage");
    rows.map(|r| r["value"].parse().expect("a rate")).collect()
}

#[test]
fn samples_that_an_attack_refused_count_as_not_broken_by_it() {
    for how in ["few", "few-failed", "few-unsupported"] {
        let run = audit(how, &[]).expect(5);
        let id = |r: &Row| r["id"].parse::<usize>().expect("a number");
        let (seen, unseen): (Vec<Row>, Vec<Row>) = samples(&run).into_iter().partition(|r| id(r) < 20);
        assert!(unseen.iter().all(|r| r["bad-oracle.outcome"] == "not-attacked"), "{how}: {unseen:#?}");
        assert!(unseen.iter().all(|r| r["prediction"] == r["label"]), "{how}: the model classifies these");
        let broken = seen.iter().filter(|r| r["bad-oracle.outcome"] == "broken").count();
        assert!(broken > 0, "{how}: the first job breaks something");
        let right = (30 - broken) as f64 / 30.0;
        for component in ["bad-oracle", "union"] {
            assert_eq!(run.value("digits-standard", component, "robust_accuracy"), right, "{how}: {component}");
            assert_eq!(coverage(&run, component), [20.0 / 30.0], "{how}: {component}");
        }
        assert!(run.said().contains("not for me") && run.text("report.html").contains("coverage"), "{how}: {}", run.said());
    }
}

#[test]
fn another_attack_that_saw_every_sample_keeps_its_word() {
    let run = audit("few", &["--attack", "fgsm"]).expect(5);
    let stands = |r: &Row| r["fgsm.outcome"] == "held" && r["bad-oracle.outcome"] != "broken";
    let right = samples(&run).iter().filter(|r| stands(r)).count() as f64 / 30.0;
    let union = run.value("digits-standard", "union", "robust_accuracy");
    assert_eq!(union, right);
    assert!(union <= run.value("digits-standard", "fgsm", "robust_accuracy"), "another attack never raises the verdict");
    assert_eq!((coverage(&run, "bad-oracle"), coverage(&run, "union")), (vec![20.0 / 30.0], vec![]));
}
