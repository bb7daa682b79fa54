//! `reports/sample`: a report of everything that a page can show, made again by this test. What is compared does not depend on the
//! processor: which rows there are, their numbers within what rounding may change, and what stands on the page.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::{Row, Run, table};
use crate::provision::root;

/// The command, as the page of the sample states it. `FLATSCAPE_WRITE_PAGES=1` writes the sample again.
const COMMAND: &str = "audit digits-standard digits-adversarial digits-amsreg --data digits -n 200 --threat linf:0.05,0.1 --threat l2:1 \
    --attack fgsm --attack pgd:steps=10 --attack fmn:steps=30 --metric phi:grid=5,directions=1 --metric ams --metric logp \
    --metric 'logp:at=adv:(pgd:steps=10)' --metric 'relative-flatness:at=path:(pgd:steps=10)' --engine tract --threads 1 --out run";

fn sample() -> &'static Run {
    static SAMPLE: OnceLock<Run> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let arguments: Vec<&str> = COMMAND.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        let run = Run::new(&arguments);
        assert!(matches!(run.code(), 0 | 9), "{}", run.said());
        run
    })
}

fn kept(name: &str) -> PathBuf {
    root().join("reports/sample").join(name)
}

#[test]
fn the_sample_in_the_repository_is_what_the_program_gives() {
    let run = sample();
    if std::env::var_os("FLATSCAPE_WRITE_PAGES").is_some() {
        for name in ["report.html", "results.csv", "paths.csv"] {
            std::fs::write(kept(name), run.read(name)).expect("the repository is writable");
        }
    }
    let read = |name: &str| {
        let path = kept(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}; FLATSCAPE_WRITE_PAGES=1 writes it", path.display()))
    };
    let (old, new) = (table(&read("results.csv")), run.table("results.csv"));
    // rows about the samples that an attack broke have another n where one sample more or less is broken
    let stable = |row: &&Row| row["metric"] != "distance_median" && row["metric"] != "borderline";
    let key =
        |row: &Row| ["model", "model_sha256", "component", "args", "threat", "metric", "n"].map(|column| row[column].clone());
    let keys = |rows: &[Row]| rows.iter().filter(stable).map(key).collect::<Vec<_>>();
    assert_eq!(keys(&old), keys(&new), "reports/sample is of another program; FLATSCAPE_WRITE_PAGES=1 writes it again");
    for (old, new) in old.iter().filter(stable).zip(new.iter().filter(stable)) {
        let [a, b] = [old, new].map(|row| row["value"].parse::<f64>().unwrap_or(f64::NAN));
        let tolerance = if old["metric"].contains("accuracy") { 0.02 } else { 0.02 * a.abs().max(0.5) };
        assert!(a.is_nan() && b.is_nan() || (a - b).abs() <= tolerance, "{old:?} is now {b}");
    }
    let (old, new) = (read("report.html"), run.text("report.html"));
    for part in ["<h2", "<h3", "<figure", "<svg", "<details", "<table", "<caption", "class=\"closeups\"", "<canvas"] {
        let counted = [&old, &new].map(|page| page.matches(part).count());
        assert!(
            counted[0].abs_diff(counted[1]) <= counted[0] / 20,
            "{part}: {counted:?}; FLATSCAPE_WRITE_PAGES=1 writes the sample again"
        );
    }
    let headings = |page: &str| {
        page.split("<h2>").skip(1).map(|rest| rest.split('<').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(headings(&old), headings(&new), "FLATSCAPE_WRITE_PAGES=1 writes the sample again");
    assert!(read("README.md").contains(&COMMAND.replace(" --out run", "")), "reports/sample/README.md states another command");
}

#[test]
fn the_sample_shows_what_a_page_can_show() {
    let page = sample().text("report.html");
    for part in [
        "<h2>Results</h2>",
        "<h2>Robust accuracy over the budget</h2>",
        "<h2>Classes</h2>",
        "<h2>Adversarial examples</h2>",
        "<h2>Distributions</h2>",
        "<h2>Along the paths of attacks</h2>",
        "<h2>Landscapes</h2>",
        "<h2>Gradient certificates</h2>",
        "dashes: the balls of linf:",
        "data:image/png;base64,",
        "the nearest of all",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // distances of an attack that goes to the border say nothing, those of one that looks for the nearest example do
    assert!(page.contains("<td>the radius</td>"));
    let nearest: Vec<Row> = sample().table("samples.csv").into_iter().filter(|row| row["threat"] == "l2:1").collect();
    assert!(nearest.iter().any(|row| row["fmn.distance"].parse::<f64>().is_ok_and(|d| d > 0.0 && d < 0.9)));
    // budgets of l2 are numbers
    assert!(!page.contains(">255/255<"));
}
