//! Requests of one component with other arguments: rows, columns and lines tell them apart.

use std::collections::BTreeSet;

use super::{EMBEDDED, Run};

#[test]
fn requests_that_differ_in_arguments_have_columns_and_lines_of_their_own() {
    let mut arguments = vec!["audit", "digits-standard", "--data", "digits", "-n", "20", "--threat", "linf:0.1"];
    arguments.extend(["--attack", "pgd:steps=2", "--attack", "pgd:steps=3,alpha=0.02"]);
    arguments.extend(["--metric", "phi:grid=3,directions=1", "--metric", "phi:grid=5,directions=1"]);
    arguments.extend(["--landscapes", "0", "--out", "run"]);
    arguments.extend(EMBEDDED);
    let run = Run::new(&arguments).expect(0);
    let header = run.text("samples.csv").lines().next().expect("a header").to_owned();
    assert!(!header.contains('"'), "a name holds a comma: {header}");
    let columns: Vec<&str> = header.split(',').collect();
    assert_eq!(columns.iter().collect::<BTreeSet<_>>().len(), columns.len(), "{header}");
    let ending = |end: &str| columns.iter().filter(|c| c.ends_with(end)).count();
    assert_eq!((ending(".outcome"), ending(".distance")), (2, 2), "{header}");
    for part in ["pgd:steps=2.outcome", "steps=3;alpha=0.02"] {
        assert!(header.contains(part), "{part} is not in {header}");
    }
    assert_eq!(columns.iter().filter(|c| c.starts_with("phi_mean")).count(), 2, "{header}");
    // other arguments, other values, in rows and in columns
    let rows = run.table("results.csv");
    for (metric, args) in
        [("robust_accuracy", ["steps=2,", "steps=3,alpha=0.02,"]), ("phi_mean", ["directions=1,grid=3,", "directions=1,grid=5,"])]
    {
        let of = |args: &str| rows.iter().filter(|r| r["metric"] == metric && r["args"].starts_with(args)).count();
        assert_eq!(args.map(of), [1, 1], "{metric}: {rows:#?}");
    }
    let samples = run.table("samples.csv");
    let phi: Vec<&&str> = columns.iter().filter(|c| c.starts_with("phi_mean")).collect();
    assert!(samples.iter().any(|r| r[*phi[0]] != r[*phi[1]]), "both columns hold the same numbers");
    // the table and the lines on the way name what differs
    let said = run.said();
    for part in ["grid=3", "grid=5", "steps=2", "steps=3"] {
        assert!(said.matches(part).count() >= 2, "{part} is not in the table and on a line: {said}");
    }
    let reported = |l: &&str| !l.starts_with("doubt[") && (l.contains(": pgd") || l.contains(": phi"));
    let lines: Vec<&str> = said.lines().filter(reported).collect();
    let beginnings: BTreeSet<_> = lines.iter().map(|l| l.split(": ").nth(1)).collect();
    assert_eq!((lines.len(), beginnings.len()), (4, 4), "{lines:#?}");
}
