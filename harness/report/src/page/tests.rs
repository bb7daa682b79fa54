//! The page as a hostile reader meets it: nothing that was put in may act, and everything that must be there is there.

use sha2::Digest;

use super::*;
use crate::figure::{Curve, Point, robust_accuracy_figures};
use crate::paths::PathPoint;
use crate::samples::{SampleKey, SampleValue};
use crate::surface::Axis;

pub(crate) const ATTACKS: [&str; 12] = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "\" onload=\"alert(1)",
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</title></style></textarea></svg><img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]><svg/onload=alert(1)>",
    "{{ 7*7 }}{% raw %}",
    "&lt;script&gt;&#60;",
    "\u{0}\u{1b}[2J\u{202e}\u{2028}</SCRIPT\u{9}>",
    "`${alert(1)}`\\u003cscript\\u003e",
];

/// So many classes, one of which becomes the others, with `text` in every place that holds text.
fn classes(text: &str, count: i64) -> ClassTable {
    let row = |label| ClassRow {
        label,
        n: 9,
        clean: (0.5, (0.4, 0.6)),
        robust: Some((0.5, (0.4, 0.6))),
        becomes: (0..count).map(Some).chain([None]).map(|class| (class, 1)).collect(),
    };
    ClassTable { model: text.to_owned(), threat: text.to_owned(), rows: (0..count).map(row).collect() }
}

/// A sample with `text` in every place that holds text.
fn closeup(text: &str) -> CloseUp {
    let own = || text.to_owned();
    let pictures = Pictures { clean: text.as_bytes().to_vec(), size: (8, 4), note: own(), ..Pictures::default() };
    CloseUp {
        model: own(),
        threat: own(),
        attack: own(),
        rule: own(),
        pictures,
        measured: vec![(own(), own())],
        ..CloseUp::default()
    }
}

/// A path with `text` in every place that holds text.
fn path(text: &str, aligned: bool) -> PathCurve {
    let own = || text.to_owned();
    let points = (0..3).map(|step| PathPoint { step, n: 4, mean: 1.0, low: f64::NAN, high: 2.0 }).collect();
    PathCurve { model: own(), threat: own(), attack: own(), metric: own(), quantity: own(), aligned, points }
}

/// A page with `text` in every place that holds text.
pub(crate) fn page_of(text: &str) -> Page {
    let own = || text.to_owned();
    let record = |component: &str, metric: &str, value: Option<f64>| Record {
        model: own(),
        model_sha256: own(),
        dataset: own(),
        split: own(),
        n: 10,
        component: component.to_owned(),
        component_version: own(),
        args: own(),
        threat: own(),
        eps: Some(0.1),
        metric: metric.to_owned(),
        value,
        ci_low: value.map(|value| value - 0.1),
        ci_high: value.map(|value| value + 0.1),
        engine: own(),
        device: own(),
        flags: vec![own(), "Q03".to_owned()],
        plugin: own(),
        plugin_sha256: own(),
        ..Record::default()
    };
    let records = vec![
        record("", "clean_accuracy", Some(0.9)),
        record(text, "robust_accuracy", Some(0.4)),
        record("union", "robust_accuracy", Some(0.4)),
        record("", text, Some(f64::NAN)),
        record(text, text, None),
        record(text, "", None),
        record("union", "coverage", Some(0.5)),
    ];
    let mut samples = Samples::default();
    let key = SampleKey { model: own(), threat: own(), id: 0, label: 0, prediction: None };
    samples.set(&key, &format!("{text}.outcome"), SampleValue::Text(own()));
    let axis = Axis { name: own(), values: vec![-0.1, 0.0, 0.1] };
    let surface = Surface {
        id: own(),
        model: own(),
        title: own(),
        kind: own(),
        x_axis: axis.clone(),
        y_axis: axis,
        z: vec![0.0, -1.0, f64::NAN, 0.0, 0.0, -2.0, f64::INFINITY, 0.0, -1.0],
        predicted: vec![0, 1, 0, 0, 0, 1, 1, 0, 0],
        ..Surface::default()
    };
    let mut figures = robust_accuracy_figures(&records);
    figures.push(Figure {
        title: own(),
        x_label: own(),
        y_label: own(),
        grey_levels: true,
        curves: vec![Curve { name: own(), points: vec![Point { eps: f64::NAN, value: f64::INFINITY, interval: None, n: 0 }] }],
    });
    Page {
        title: own(),
        command: own(),
        partial: Some(Partial { done: 3, of: 9 }),
        advice: own(),
        interval: own(),
        records,
        samples,
        figures,
        surfaces: vec![surface.clone(), Surface { kind: "loss-weights".to_owned(), loss: surface.z.clone(), ..surface }],
        class_names: vec![own(), own()],
        classes: vec![classes(text, 3), classes(text, 30)],
        closeups: vec![closeup(text)],
        closeups_missing: own(),
        histograms: vec![Histogram { title: own(), x_label: own(), samples: vec![(own(), vec![0.0, 1.0])], span: None }],
        paths: [false, true].map(|aligned| path(text, aligned)).into(),
        curves: vec![curve(text, text), curve(text, "logp")],
        doubts: vec![Doubt {
            code: own(),
            raised_if: own(),
            explanation: own(),
            advice: own(),
            raised_for: own(),
            model: own(),
            threat: own(),
            unreliable: true,
        }],
        requirements: vec![Requirement { model: own(), text: own(), holds: false, found: own() }],
        failures: vec![Failure { model: own(), component: own(), threat: own(), code: own(), sentence: own() }],
        version: own(),
        data_sha256: own(),
        models: vec![ModelFile { name: own(), sha256: own(), file: own() }],
        certificates: vec![Certificate {
            model: own(),
            sentence: own(),
            failed: true,
            rows: vec![CheckRow {
                check: own(),
                what: own(),
                points: own(),
                directions: own(),
                samples: 3,
                threshold: own(),
                measured: own(),
                outcome: own(),
                failed: true,
            }],
        }],
        manifest: serde_json::json!({ text: text }),
    }
}

fn curve(text: &str, component: &str) -> DataCurve {
    let own = || text.to_owned();
    let points = vec![(0.0, 1.0), (f64::NAN, 0.5), (1.0, f64::INFINITY), (2.0, 0.5)];
    DataCurve { model: own(), threat: own(), component: component.into(), args: own(), name: own(), points }
}

/// Curves of the data set are drawn, one picture for the models that share one; what is drawn as a distribution is not drawn again.
#[test]
fn curves_of_the_whole_data_set_are_pictures() {
    let certified = |model: &str| DataCurve {
        model: model.into(),
        component: "smoothing".into(),
        name: "smoothing_certified_accuracy".into(),
        points: vec![(0.0, 0.9), (0.5, 0.4)],
        ..DataCurve::default()
    };
    let drawn = |curves: Vec<DataCurve>| html(&Page { curves, ..Page::default() }).expect("a page");
    let both = drawn(vec![certified("a"), certified("b")]);
    assert_eq!(both.matches("<h2>Curves of the whole data set</h2>").count(), 1);
    assert_eq!(both.matches("smoothing_certified_accuracy: a, b").count(), 1, "one picture of two models");
    assert!(!drawn(vec![curve("a", "logp")]).contains("Curves of the whole"));
    assert!(!drawn(Vec::new()).contains("Curves of the whole"));
}

const ELEMENTS: &[&str] = &[
    "!doctype",
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "main",
    "footer",
    "section",
    "h1",
    "h2",
    "h3",
    "p",
    "code",
    "strong",
    "b",
    "i",
    "a",
    "ul",
    "li",
    "div",
    "span",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "figure",
    "figcaption",
    "output",
    "caption",
    "img",
    "dl",
    "dt",
    "dd",
    "details",
    "summary",
    "pre",
    "script",
    "svg",
    "rect",
    "line",
    "polyline",
    "polygon",
    "circle",
    "text",
];
const ATTRIBUTES: &[&str] = &[
    "html",
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "class",
    "id",
    "href",
    "role",
    "aria-label",
    "scope",
    "open",
    "title",
    "type",
    "data-landscape",
    "src",
    "alt",
    "xmlns",
    "viewbox",
    "width",
    "height",
    "font-family",
    "font-size",
    "font-weight",
    "fill",
    "opacity",
    "stroke",
    "stroke-width",
    "stroke-linejoin",
    "points",
    "x",
    "y",
    "dy",
    "x1",
    "y1",
    "x2",
    "y2",
    "cx",
    "cy",
    "r",
    "text-anchor",
];
const VOID: &[&str] = &["!doctype", "meta", "img", "rect", "line", "polyline", "polygon", "circle"];

/// Reads the page as a browser's tokenizer does and checks every element, attribute and nesting against the lists above.
fn check(html: &str) {
    let mut rest = html;
    let mut open: Vec<String> = Vec::new();
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let closing = rest.starts_with('/');
        rest = rest.strip_prefix('/').unwrap_or(rest);
        let end = rest.find(|c: char| c.is_whitespace() || c == '>' || c == '/').unwrap();
        let element = rest[..end].to_ascii_lowercase();
        assert!(
            ELEMENTS.contains(&element.as_str()),
            "element <{element}> near {:?}",
            &rest.chars().take(80).collect::<String>()
        );
        rest = &rest[end..];
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix("/>").or_else(|| rest.strip_prefix('>')) {
                rest = after;
                break;
            }
            let end = rest.find(['=', '>', ' ']).unwrap();
            let attribute = rest[..end].to_ascii_lowercase();
            assert!(ATTRIBUTES.contains(&attribute.as_str()), "attribute {attribute:?} of <{element}>");
            rest = &rest[end..];
            if let Some(value) = rest.strip_prefix("=\"") {
                let end = value.find('"').unwrap();
                if attribute == "href" {
                    assert_eq!(&value[..end], "#doubts");
                }
                if attribute == "src" {
                    assert!(value[..end].starts_with("data:image/png;base64,") && !value[..end].contains(['<', '>', ' ']));
                }
                rest = &value[end + 1..];
            } else {
                assert!(!rest.starts_with('='), "unquoted value of {attribute}");
            }
        }
        if closing {
            assert_eq!(open.pop().as_deref(), Some(element.as_str()));
        } else if !VOID.contains(&element.as_str()) {
            if matches!(element.as_str(), "script" | "style" | "title") && open.last().is_none_or(|parent| parent != "svg") {
                let close = format!("</{element}");
                let end = rest.to_ascii_lowercase().find(&close).unwrap();
                rest = &rest[end..];
            }
            open.push(element);
        }
    }
    assert!(open.is_empty(), "{open:?} left open");
}

#[test]
fn nothing_that_is_put_in_can_act() {
    for attack in ATTACKS {
        let page = html(&page_of(attack)).unwrap();
        check(&page);
        assert_eq!(page.to_ascii_lowercase().matches("<script").count(), 2, "{attack}");
        assert!(page.chars().all(|character| character == '\n' || !character.is_control()), "{attack:?}");
        assert!(!page.contains('\u{202e}') && !page.contains('\u{2028}'));
    }
}

#[test]
fn ten_thousand_unpleasant_names_change_no_structure() {
    const PIECES: &[&str] = &[
        "<", ">", "\"", "'", "/", "script", "=", "&", ";", "on", "svg", "<!--", "-->", "]]>", "{{", "}}", "{%", "\0", "\u{202e}",
        " ", "a", "é",
    ];
    let mut state = 0x0dd_ba11_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for _ in 0..200 {
        let mut page = Page::default();
        for _ in 0..50 {
            let name: String = (0..next() % 12).map(|_| PIECES[next() % PIECES.len()]).collect();
            page.records.push(Record {
                dataset: "d".into(),
                metric: "robust_accuracy".into(),
                component: name.clone(),
                model: name,
                value: Some(0.5),
                ..Record::default()
            });
        }
        check(&html(&page).unwrap());
    }
}

#[test]
fn the_policy_names_the_one_script_that_may_run() {
    let page = html(&page_of("x")).unwrap();
    let script = page.split("<script>").nth(1).unwrap().split("</script>").next().unwrap();
    assert_eq!(script, SCRIPT);
    assert!(!SCRIPT.contains("</") && !SCRIPT.contains("<!--"));
    for forbidden in ["eval", "fetch", "XMLHttpRequest", "innerHTML", "import", "http", "document.write"] {
        assert!(!SCRIPT.contains(forbidden), "{forbidden}");
    }
    assert_eq!(policy::allowing(script), page.split("Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap());
    assert_eq!(sha2::Sha256::digest(script.as_bytes()).len(), 32);
    let without_namespaces = page.replace("http://www.w3.org/2000/svg", "");
    for forbidden in ["http:", "https:", "src=\"h", "srcset", "url(", "@import", "<link", "foreignObject", "xlink"] {
        assert!(!without_namespaces.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn the_data_of_the_landscapes_is_json_without_a_bracket_and_without_nan() {
    let page = html(&page_of(ATTACKS[1])).unwrap();
    let data = page.split("id=\"landscapes\">").nth(1).unwrap().split("</script>").next().unwrap();
    assert!(!data.contains('<') && !data.contains("NaN"));
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["surfaces"].as_array().unwrap().len(), 2);
    assert_eq!(data["surfaces"][0]["z"], serde_json::json!([0.0, -1.0, null, 0.0, 0.0, -2.0, null, 0.0, -1.0]));
    assert_eq!(data["surfaces"][0]["centre"], 4);
    assert_eq!(data["surfaces"][0]["moved"], serde_json::json!([[0, 1, 2], [1, 2, 3], [2, 0, 1]]));
    assert_eq!(data["scales"][0]["range"], serde_json::json!([-2.0, 0.0]));
}

#[test]
fn the_parts_stand_in_order_and_the_verdict_comes_first() {
    let page = html(&page_of("name")).unwrap();
    let parts = [
        "PARTIAL: interrupted after 3 of 9 jobs",
        "at most 40.0 % [30.0, 50.0] under these attacks (name), n=10",
        "1 doubt",
        "<h2>Results</h2>",
        "<h2>Not measured</h2>",
        "<h2>Robust accuracy over the budget</h2>",
        "<h2>Classes</h2>",
        "<h2>Adversarial examples</h2>",
        "<h2>Distributions</h2>",
        "<h2>Along the paths of attacks</h2>",
        "<h2>Landscapes</h2>",
        "<h2>How to read this page</h2>",
        "<h2>Doubts</h2>",
        "<h2>Samples</h2>",
        "<h2>All records</h2>",
        "<h2>Manifest</h2>",
    ];
    let places: Vec<usize> = parts.iter().map(|part| page.find(part).unwrap_or_else(|| panic!("{part} is missing"))).collect();
    assert!(places.is_sorted());
    assert!(page.contains("<i><span>[0.300, 0.500]</span> n=10</i>"));
    assert_eq!(page, html(&page_of("name")).unwrap());
}

#[test]
fn an_empty_page_is_a_page() {
    let page = html(&Page::default()).unwrap();
    check(&page);
    assert!(page.contains("No row has arrived yet") && page.contains("None was raised") && !page.contains("PARTIAL"));
}

#[test]
fn a_very_large_run_still_makes_a_small_page_that_says_what_is_left_out() {
    let mut page = page_of(&"<&\"'/>".repeat(60));
    let template = page.records[2].clone();
    page.records.extend((0..200_000).map(|k| Record {
        model: format!("model-{}", k % 500),
        eps: Some(f64::from(k) * 1e-6),
        ..template.clone()
    }));
    let grid = Axis { name: "d".into(), values: (-60..=60).map(f64::from).collect() };
    let surface = Surface {
        x_axis: grid.clone(),
        y_axis: grid,
        z: (0..121 * 121).map(|k| f64::from(k).sin()).collect(),
        ..Surface::default()
    };
    page.surfaces = vec![surface; 40];
    page.doubts = vec![page.doubts[0].clone(); 500];
    page.manifest = serde_json::json!(vec!["é<"; 300_000]);
    let text = html(&page).unwrap();
    assert!(text.len() <= MAX_PAGE_BYTES, "{}", text.len());
    check(&text);
    for note in [
        "of 200007 rows",
        "further landscapes are left out",
        "further doubts are left out",
        "drawn with fewer grid lines",
        "<code>manifest.json</code> has the rest",
    ] {
        assert!(text.contains(note), "{note}");
    }
}

#[test]
fn many_measures_of_few_models_have_the_models_as_columns() {
    let row = |model: &str, attack: usize| Record {
        model: model.to_owned(),
        dataset: "d".into(),
        component: format!("attack{attack}"),
        metric: "robust_accuracy".into(),
        threat: "linf:0.1".into(),
        value: Some(0.5),
        n: 10,
        ..Record::default()
    };
    for (attacks, turned) in [(9, false), (10, true)] {
        let records = (0..attacks).flat_map(|attack| ["a", "b"].map(|model| row(model, attack))).collect();
        let page = html(&Page { records, ..Page::default() }).unwrap();
        check(&page);
        assert_eq!(page.contains("<th class=\"word\" scope=\"col\">measure</th><th scope=\"col\">a</th>"), turned, "{attacks}");
        assert_eq!(page.matches("0.500<i>").count(), 2 * attacks);
    }
    // a model for each measure stays a row
    let records = (0..12).flat_map(|model| (0..10).map(move |attack| row(&format!("m{model}"), attack))).collect();
    assert!(!html(&Page { records, ..Page::default() }).unwrap().contains(">measure</th>"));
}
