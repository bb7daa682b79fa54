//! Attacks on what earlier ones have left: each follows all before it, counts what they broke, and runs on nothing else.

use super::{EMBEDDED, Run};

#[test]
fn attacks_on_survivors_follow_all_before_them() {
    let mut arguments =
        vec!["audit", "digits-standard", "--data", "digits", "-n", "120", "--threat", "linf:0.06", "--landscapes", "0"];
    for attack in [
        "fgsm",
        "apgd-t:steps=8,targets=2,on=survivors",
        "fab-t:steps=5,targets=2,on=survivors",
        "square:queries=60,on=survivors",
    ] {
        arguments.extend(["--attack", attack]);
    }
    arguments.extend(["--out", "run"]);
    arguments.extend(EMBEDDED);
    let run = Run::new(&arguments);
    assert!([0, 9].contains(&run.code()), "{}", run.said());
    let robust = |attack: &str| run.value("digits-standard", attack, "robust_accuracy");
    let accuracies = ["fgsm", "apgd-t", "fab-t", "square"].map(robust);
    assert!(accuracies.windows(2).all(|pair| pair[1] <= pair[0]) && accuracies[1] < accuracies[0], "{accuracies:?}");
    assert_eq!(robust("union").to_bits(), accuracies[3].to_bits());
    // a sample that one attack broke is one that those after it count as broken and do not attack
    let samples = run.table("samples.csv");
    for row in &samples {
        let outcomes =
            ["fgsm", "apgd-t", "fab-t", "square"].map(|attack| row[format!("{attack}.outcome").as_str()].as_str() == "broken");
        assert!(outcomes.windows(2).all(|pair| pair[1] >= pair[0]), "{outcomes:?}");
    }
}

/// The profile of AutoAttack is its protocol, and its attacks have the arguments that it states.
#[test]
fn the_standard_profile_is_a_plan_of_four_attacks() {
    let mut arguments =
        vec!["audit", "digits-adversarial", "--data", "digits", "-n", "20", "--profile", "standard", "--landscapes", "0"];
    arguments.extend(["--out", "run"]);
    arguments.extend(EMBEDDED);
    let run = Run::new(&arguments);
    assert!([0, 9].contains(&run.code()), "{}", run.said());
    let manifest = run.text("manifest.json");
    for id in ["apgd-ce", "apgd-t", "fab-t", "square"] {
        assert!(manifest.contains(&format!("\"{id}\"")), "{id}");
        run.value("digits-adversarial", id, "robust_accuracy");
    }
}

/// Every standard attack that is a program runs on a convolutional network on the embedded engine, under every norm that it serves:
/// none fails, and
/// every sample is seen.
#[test]
fn every_attack_runs_on_the_embedded_engine() {
    let attacks = [
        "fgsm",
        "rs-fgsm",
        "bim:steps=3",
        "mim:steps=3",
        "pgd:steps=3",
        "apgd-ce:steps=5",
        "apgd-dlr:steps=5",
        "apgd-t:steps=5,targets=2",
        "fab-t:steps=5,targets=2",
        "fab:steps=5",
        "square:queries=20",
        "cw:steps=5,searches=2",
        "deepfool:steps=10",
        "ddn:steps=5",
        "fmn:steps=5",
        "sigma-zero:steps=5",
        "spsa:steps=2,pairs=4",
        "noise:draws=3",
        "random-search:queries=5",
    ];
    let mut arguments = vec!["audit", "digits-standard", "--data", "digits", "-n", "6", "--landscapes", "0", "--out", "run"];
    arguments.extend(["linf:0.1", "l2:1", "l1:3", "l0:6"].iter().flat_map(|threat| ["--threat", threat]));
    arguments.extend(attacks.iter().flat_map(|attack| ["--attack", attack]));
    arguments.extend(EMBEDDED);
    let run = Run::new(&arguments);
    assert!([0, 9].contains(&run.code()), "{}", run.said());
    let rows = run.table("results.csv");
    let failed = |r: &&super::Row| r["flags"].split(' ').any(|flag| flag.starts_with('E') || flag.starts_with('P'));
    assert_eq!(rows.iter().find(failed), None);
    let partly = |r: &&super::Row| r["metric"] == "coverage" && r["value"] != "1" && r["component"] != "union";
    assert_eq!(rows.iter().find(partly), None);
    for attack in attacks {
        let id = attack.split(':').next().expect("an id");
        let found = rows.iter().filter(|r| r["component"] == id && r["metric"] == "robust_accuracy").count();
        assert!(found > 0, "{id} has no row");
    }
}
