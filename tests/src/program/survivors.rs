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
