//! The layout of a comparison: what stands in the CSV file, and that the page is complete, small and inert.

use super::*;

fn comparison() -> Comparison {
    let measure = |metric: &str, component: &str, threat: &str, rate: bool| Measure {
        metric: metric.into(),
        component: component.into(),
        args: String::new(),
        apart: String::new(),
        threat: threat.into(),
        rate,
        shown: true,
    };
    let value = |entry: usize, measure: usize, value: f64, rank: Option<Rank>| Value {
        entry,
        ground: 0,
        measure,
        n: 100,
        value: Some(value),
        interval: Some((value - 0.1, value + 0.1)),
        method: "Clopper-Pearson".into(),
        rank,
        flags: vec!["Q03".into()],
    };
    let entry = |run: usize| Entry { run, model: "m".into(), model_sha256: "ab".into() };
    Comparison {
        runs: vec!["a".into(), "b".into()],
        facts: vec![Fact { what: "engine".into(), values: vec!["tract 1".into(), "ort 2".into()] }],
        entries: vec![entry(0), entry(1)],
        grounds: vec![Ground {
            dataset: "digits".into(),
            split: "test".into(),
            data_sha256: "cd".into(),
            images: "1×8×8".into(),
            samples: "the first 100 samples".into(),
            apart: String::new(),
        }],
        measures: vec![measure("clean_accuracy", "clean", "", true), measure("robust_accuracy", "pgd", "linf:0.1", true)],
        values: vec![
            value(0, 0, 0.9, Some(Rank { first: 1, last: 2, of: 2 })),
            value(1, 0, 0.92, Some(Rank { first: 1, last: 2, of: 2 })),
            value(0, 1, 0.4, Some(Rank { first: 2, last: 2, of: 2 })),
            value(1, 1, 0.6, Some(Rank { first: 1, last: 1, of: 2 })),
        ],
        differences: vec![Difference {
            entry: 1,
            reference: 0,
            measure: 1,
            ground: 0,
            value: 0.6,
            reference_value: 0.4,
            difference: 0.2,
            interval: Some((0.1, 0.3)),
            method: "Tango's paired score".into(),
            pairing: Pairing::Paired,
            why: "Paired: the same 100 samples of the same data.".into(),
            n: 100,
            reference_n: 100,
            needed: Some(59),
            flips: Some(Flips { gained: (0..21).collect(), lost: vec![77], p: 1.1e-5 }),
        }],
        ranking: "Ranks: as far as intervals allow.".into(),
        ..Comparison::default()
    }
}

#[test]
fn a_row_is_a_value_or_a_difference() {
    let text = String::from_utf8(compare_csv(&comparison())).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let header = "kind,run,model,model_sha256,dataset,split,data_sha256,samples,component,args,threat,metric,n,value,reference_run,\
                  reference_model,reference_n,reference_value,difference,ci_low,ci_high,interval,pairing,why,mcnemar_p,gained,lost,\
                  samples_needed,rank_first,rank_last,ranked,flags";
    assert_eq!((lines[0], lines.len()), (header, 6));
    assert_eq!(
        lines[3],
        "value,a,m,ab,digits,test,cd,the first 100 samples,pgd,,linf:0.1,robust_accuracy,100,0.4,,,,,,0.30000000000000004,0.5,\
         Clopper-Pearson,,,,,,,2,2,2,Q03"
    );
    assert!(
        lines[5].starts_with("difference,b,m,ab,digits")
            && lines[5].contains(",0.6,a,m,100,0.4,0.2,0.1,0.3,Tango's paired score,paired,")
    );
    assert!(lines[5].contains("1.1e-5,0;1;2;") && lines[5].ends_with(";20,77,59,,,,"));
}

#[test]
fn tables_have_models_down_and_measures_across() {
    let grids = grids(&comparison());
    assert_eq!(grids.len(), 1);
    assert_eq!(grids[0].title, "digits (test), the first 100 samples");
    assert_eq!(grids[0].columns, [(String::new(), "clean accuracy".to_owned()), ("linf:0.1".to_owned(), "pgd".to_owned())]);
    let row = &grids[0].rows[1];
    assert_eq!((row.name.as_str(), row.flags.as_slice()), ("m · b", &["Q03".to_owned()][..]));
    let ranks: Vec<_> = row.cells.iter().flatten().map(|cell| cell.rank.as_str()).collect();
    assert_eq!(ranks, ["1–2", "1"]);
}

#[test]
fn a_difference_names_its_interval_its_samples_and_its_flips() {
    let all = comparison();
    assert_eq!(
        difference_line(&all, &all.differences[0]),
        [
            "pgd under linf:0.1",
            "0.400",
            "0.600",
            "+0.200",
            "[0.100, 0.300] Tango's paired score",
            "paired, n=100",
            "1.1e-5",
            "21 / 1"
        ]
    );
}

#[test]
fn the_page_is_whole_and_inert() {
    let html = compare_html(&comparison()).unwrap();
    for part in
        ["What differs between the runs", "engine", "ort 2", "rank 1–2 of 2", "Samples that flipped", "77", "m · b", "Q03"]
    {
        assert!(html.contains(part), "{part}");
    }
    assert!(
        html.contains("default-src 'none'")
            && !html.contains("<script")
            && !html.contains("http://")
            && !html.contains("https://")
    );
    let markdown = compare_markdown(&comparison()).replace('\\', "");
    assert!(
        markdown.contains("| m · b (Q03) | 0.920 [0.820, 1.020] n=100, rank 1–2 | 0.600 [0.500, 0.700] n=100, rank 1 |"),
        "{markdown}"
    );
    assert!(markdown.contains("### m · b minus m · a"));
}

#[test]
fn many_differences_keep_the_page_small() {
    let mut all = comparison();
    let mut one = all.differences[0].clone();
    one.flips = Some(Flips { gained: (0..5_000).collect(), lost: (5_000..10_000).collect(), p: 1.0 });
    all.differences = vec![one; 3_000];
    let html = compare_html(&all).unwrap();
    assert!(html.len() <= flatscape_report::MAX_PAGE_BYTES && html.contains("further differences are left out here"));
}
