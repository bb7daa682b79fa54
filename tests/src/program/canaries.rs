//! Planted adversarial examples: attacks that work find them, one that does not is told, and so is that none could be planted.

use super::{EMBEDDED, Run};

fn audit(model: &str, more: &[&str]) -> Run {
    let mut arguments = vec!["audit", model, "--data", "digits", "-n", "60", "--landscapes", "0", "--canaries", "--out", "run"];
    arguments.extend(more);
    arguments.extend(EMBEDDED);
    Run::new(&arguments)
}

#[test]
fn attacks_that_work_find_planted_examples_and_others_raise_a_grave_doubt() {
    let sound = audit("digits-standard", &["--threat", "linf:0.1", "--attack", "pgd:steps=40"]).expect(0);
    let found = sound.value("digits-standard", "pgd", "canary_found");
    assert!(found >= 0.8, "{found}");
    assert!(!sound.said().contains("canary-missed"), "{}", sound.said());
    // an attack that hardly moves
    let idle =
        audit("digits-standard", &["--threat", "l2:0.8", "--attack", "pgd:steps=2,alpha=0.001,random-start=false"]).expect(9);
    let found = idle.value("digits-standard", "pgd", "canary_found");
    assert!(found <= 0.1, "{found}");
    assert!(idle.said().contains("doubt[canary-missed]"), "{}", idle.said());
    // both together find what the better one finds
    let both =
        ["--threat", "l2:0.8", "--attack", "pgd:steps=2,alpha=0.001,random-start=false", "--attack", "pgd:steps=40,restarts=3"];
    assert!(!audit("digits-standard", &both).expect(0).said().contains("canary-missed"));
}

/// Where nothing can be planted, the audit says so.
#[test]
fn canaries_that_cannot_be_planted_are_a_note() {
    let run = audit("digits-standard", &["--threat", "l0:2", "--attack", "pgd:steps=2"]).expect(0);
    assert!(run.said().contains("doubt[canary-inconclusive]") && run.said().contains("linf, l2, l1"), "{}", run.said());
    assert!(!run.text("results.csv").contains("canary_found"));
}

/// The same command gives the same canaries, also where jobs run in other processes.
#[test]
fn canaries_are_the_same_in_every_process() {
    let words = ["--threat", "linf:0.1", "--attack", "fgsm", "--attack", "pgd:steps=5"];
    let one = audit("digits-standard", &words);
    let two = audit("digits-standard", &[&words[..], &["--jobs", "2"]].concat());
    assert_eq!(one.text("results.csv"), two.text("results.csv"));
    assert!(one.text("results.csv").contains("canary_found"));
}

/// A profile runs what serves the threat model, and is refused where nothing does.
#[test]
fn profiles_leave_out_what_does_not_serve_the_threat_model() {
    let some = ["audit", "digits-standard", "--data", "digits", "-n", "10", "--landscapes", "0", "--profile", "standard"];
    let none = Run::new(&[&some[..], &["--threat", "flow:0.1px", "--out", "run"], EMBEDDED].concat()).expect(2);
    assert!(none.said().contains("no attack of the profile serves flow:0.1px"), "{}", none.said());
    let run = Run::new(&[&some[..], &["--threat", "l1:2", "--out", "run"], EMBEDDED].concat());
    assert!([0, 9].contains(&run.code()), "{}", run.said());
    run.value("digits-standard", "apgd-ce", "robust_accuracy");
    assert!(run.said().contains("the attacks take about"), "{}", run.said());
    assert!(run.text("results.csv").lines().any(|line| line.contains("square") && line.contains("unsupported")));
}
