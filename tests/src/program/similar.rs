//! The profile of Xu, Yap and Prabhu 2019: every attack in its threat model, and the structural similarity of what it broke.

use super::{EMBEDDED, Row, Run};

#[test]
fn the_profile_measures_every_attack_where_it_runs() {
    let mut arguments = vec!["audit", "digits-standard", "--data", "digits", "-n", "40", "--landscapes", "0", "--out", "run"];
    arguments.extend(["--profile", "xu2019-geometries"]);
    arguments.extend(EMBEDDED);
    let run = Run::new(&arguments);
    assert!([0, 9].contains(&run.code()), "{}", run.said());
    let rows = run.table("results.csv");
    let only = |component: &str, threat: &str, metric: &str, args: &str| -> Row {
        let wanted = |r: &&Row| {
            (r["component"].as_str(), r["threat"].as_str(), r["metric"].as_str()) == (component, threat, metric)
                && r["args"].ends_with(args)
        };
        let found: Vec<&Row> = rows.iter().filter(wanted).collect();
        assert_eq!(found.len(), 1, "{component} {args} under {threat}: {metric}");
        found[0].clone()
    };
    let number = |row: &Row, column: &str| row[column].parse::<f64>().unwrap_or_else(|_| panic!("{row:?}"));
    let (linf, flow) = ("linf:8/255", "flow:0.3/64grid");
    let attacks = [("fgsm", "fgsm", linf), ("pgd", "random-start=no)", linf), ("stadv", "adv:stadv", flow)];
    for (attack, at, threat) in attacks {
        let all = only("ssim", threat, "ssim_mean", at);
        assert!(number(&all, "n") == 40.0 && (0.0..1.0).contains(&number(&all, "value")), "{all:?}");
        let broken = only("ssim", threat, "one_minus_ssim_of_broken_mean", at);
        // the last iterate of an attack need not be the one that broke the sample, but not more can be broken than were
        let robust = only(attack, threat, "robust_accuracy", "");
        let clean = rows.iter().find(|r| r["metric"] == "clean_accuracy").expect("clean accuracy");
        let most = ((number(clean, "value") - number(&robust, "value")) * 40.0).round();
        assert!(number(&broken, "n") <= most, "{broken:?}");
        assert!(number(&broken, "n") == 0.0 || number(&broken, "value") > 0.0, "{broken:?}");
    }
    let column = |row: &Row, name: &str| row.get(name).cloned();
    let samples = run.table("samples.csv");
    assert!(samples.iter().any(|row| column(row, "ssim@adv:fgsm").is_some_and(|v| !v.is_empty())), "{:?}", samples[0]);
}

#[test]
fn images_smaller_than_the_window_are_refused() {
    let mut arguments = vec!["audit", "digits-standard", "--data", "digits", "-n", "4", "--landscapes", "0", "--out", "run"];
    arguments.extend(["--attack", "fgsm", "--metric", "ssim"]);
    arguments.extend(EMBEDDED);
    let run = Run::new(&arguments).expect(2);
    assert!(run.said().contains("images of 8×8 are smaller than the window of 11 pixels"), "{}", run.said());
}
