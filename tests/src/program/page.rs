//! The report in a real browser: it renders on a desktop and on a telephone, it turns, it asks for nothing, and hostile names stay text.

use std::path::PathBuf;

use flatscape_report::{
    Axis, ClassRow, ClassTable, CloseUp, Doubt, Histogram, Page, PathCurve, PathPoint, Pictures, Record, SampleKey, SampleValue,
    Surface, html,
};

use super::Run;
use super::demo::demo;
use crate::chromium::{Browser, found};

/// Where the first landscape is, in pixels from the corner of the window.
fn first_landscape(browser: &mut Browser) -> [f64; 4] {
    let canvas = "document.querySelector('figure[data-landscape] canvas')";
    browser.text(&format!("{canvas}.scrollIntoView({{ block: 'center' }}), 'moved'"));
    ["x", "y", "width", "height"].map(|side| browser.number(&format!("{canvas}.getBoundingClientRect().{side}")))
}

#[test]
fn a_landscape_turns_when_it_is_dragged_and_by_keys() {
    let Some(program) = found("a landscape turns") else { return };
    let mut browser = Browser::start(program, 1280, 900);
    browser.open(&demo().path("report.html"));
    let [x, y, width, height] = first_landscape(&mut browser);
    assert!(width > 200.0 && height > 100.0, "{width} {height}");
    let before = browser.picture(x, y, width, height);
    assert_eq!(before, browser.picture(x, y, width, height), "nothing moves by itself");
    browser.drag((x + width / 2.0, y + height / 2.0), (x + width / 2.0 + 60.0, y + height / 2.0 + 20.0));
    let dragged = browser.picture(x, y, width, height);
    assert_ne!(before, dragged, "dragging turns the landscape");
    let canvas = "document.querySelector('figure[data-landscape] canvas')";
    browser.text(&format!("{canvas}.focus(), document.activeElement.getAttribute('aria-label')"));
    browser.key("ArrowLeft");
    let turned = browser.picture(x, y, width, height);
    assert_ne!(dragged, turned, "an arrow key turns it");
    browser.key("Home");
    browser.text("document.activeElement.blur(), 'left'");
    assert_eq!(before, browser.picture(x, y, width, height), "Home turns it back");
}

#[test]
fn without_scripts_there_is_a_still_picture() {
    let Some(program) = found("a still picture") else { return };
    let mut browser = Browser::start(program, 1280, 900);
    browser.scripts(false);
    browser.open(&demo().path("report.html"));
    assert_eq!(browser.number("document.querySelectorAll('canvas').length"), 0.0);
    let shown = "[...document.querySelectorAll('figure[data-landscape] svg')].filter(svg => svg.getBoundingClientRect().height > 100).length";
    assert_eq!(browser.number(shown), browser.number("document.querySelectorAll('figure[data-landscape]').length"));
}

#[test]
fn it_fits_a_desktop_and_a_telephone_and_asks_for_nothing() {
    let Some(program) = found("the page on a desktop and on a telephone") else { return };
    let page = demo().path("report.html");
    let mut browser = Browser::start(program, 1280, 900);
    for (width, height) in [(1280, 900), (390, 844)] {
        browser.size(width, height);
        browser.open(&page);
        let wide = browser.number("document.documentElement.scrollWidth");
        assert!(wide <= f64::from(width), "at {width} pixels the page is {wide} wide");
        let hidden =
            "[...document.querySelectorAll('main > section')].filter(part => part.getBoundingClientRect().height < 20).length";
        assert_eq!(browser.number(hidden), 0.0, "every section is drawn");
        let broken = "[...document.images].filter(image => !image.complete || image.naturalWidth === 0).length";
        assert_eq!(browser.number(broken), 0.0, "every picture can be decoded");
        assert!(browser.number("document.images.length") >= 9.0);
        let silent = "[...document.querySelectorAll('.scroll')].filter(part => !part.closest('details:not([open])') && part.scrollWidth > part.clientWidth + 1 && !(part.classList.contains('wide') && part.tabIndex === 0)).length";
        browser.picture(0.0, 0.0, 10.0, 10.0);
        assert_eq!(browser.number(silent), 0.0, "a table that scrolls says so and takes the focus");
        let asked = browser.asked_for();
        let fetched: Vec<&String> =
            asked.iter().filter(|url| !url.starts_with("data:") && **url != format!("file://{}", page.display())).collect();
        assert!(fetched.is_empty(), "{fetched:?}");
    }
}

#[test]
fn readers_of_screens_are_told_what_pictures_and_tables_are() {
    let Some(program) = found("names of pictures and tables") else { return };
    let mut browser = Browser::start(program, 1280, 900);
    browser.open(&demo().path("report.html"));
    for (what, nameless) in [
        ("pictures", "[...document.querySelectorAll('svg')].filter(svg => !svg.querySelector('title')?.textContent)"),
        ("images", "[...document.images].filter(image => !image.alt)"),
        ("canvases", "[...document.querySelectorAll('canvas')].filter(canvas => !canvas.getAttribute('aria-label'))"),
        ("tables", "[...document.querySelectorAll('table:has(thead)')].filter(table => !table.caption?.textContent)"),
        ("headings", "[...document.querySelectorAll('thead th')].filter(th => th.scope !== 'col')"),
    ] {
        assert_eq!(browser.number(&format!("{nameless}.length")), 0.0, "{what} without a name");
    }
    assert_eq!(browser.text("document.documentElement.lang"), "en");
}

/// Without a terminal there are no colours, and NO_COLOR changes nothing; the scale and the classes stand below.
#[test]
fn landscapes_are_printed_as_characters() {
    let command =
        "landscape digits-standard digits-amsreg --data digits --sample 3 --grid -0.3:0.3:13 --engine tract --terminal --out run";
    let run = Run::new(&command.split_whitespace().collect::<Vec<_>>()).expect(0);
    let said = String::from_utf8(run.output.stdout.clone()).expect("UTF-8");
    assert!(!said.contains('\u{1b}'), "{said}");
    let lines: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("digits-standard")).collect();
    assert!(lines[0].ends_with("digits-amsreg"), "{said}");
    // thirteen rows of two panels of thirteen cells, two characters each
    let heights = &lines[1..14];
    assert!(heights.iter().all(|line| line.len() == 26 + 3 + 26 && line.bytes().all(|c| b" .:-=+*#%@()".contains(&c))), "{said}");
    assert_eq!(heights[6].match_indices("()").map(|(at, _)| at).collect::<Vec<_>>(), [12, 41], "the image is in the middle");
    assert!(said.contains("Δ log p (nats) around sample 3") && said.contains("up: orthogonal direction d⊥"), "{said}");
    let surface = run.text("landscapes/m0001-s000003-random.csv");
    assert_eq!(surface.lines().count(), 1 + 13 * 13);
}

/// Names that would act in a page that did not escape them, or in a spreadsheet, or in a terminal.
const HOSTILE: &[&str] = &[
    "<img src=x onerror=\"window.hostile=1\">",
    "</script><script>window.hostile=1;alert(1)</script>",
    "\" onmouseover=\"window.hostile=1\" x=\"",
    "{{ 7*7 }}{% raw %}",
    "=HYPERLINK(\"http://example.invalid\")",
    "\u{1b}[2J\u{0}\u{202e}\u{2028}",
];

#[test]
fn hostile_names_stay_text() {
    let Some(program) = found("hostile names") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut browser = Browser::start(program, 1280, 900);
    for (place, name) in HOSTILE.iter().enumerate() {
        let path: PathBuf = folder.path().join(format!("{place}.html"));
        std::fs::write(&path, html(&hostile(name)).expect("a page")).expect("written");
        browser.open(&path);
        browser.picture(0.0, 0.0, 10.0, 10.0);
        assert_eq!(browser.value("window.hostile ?? 'no'"), "no", "{name:?} acts");
        assert_eq!(browser.number("document.scripts.length"), 2.0, "{name:?}");
        assert_eq!(browser.number("document.querySelectorAll('[onmouseover], [onerror], [onload], iframe, link').length"), 0.0);
        let outside = browser.asked_for().into_iter().filter(|url| !url.starts_with("data:") && !url.starts_with("file://"));
        assert_eq!(outside.collect::<Vec<_>>(), Vec::<String>::new(), "{name:?}");
        if !name.contains('\u{1b}') {
            let said = browser.text("document.body.textContent");
            assert!(said.matches(name).count() > 8, "{name:?} is not shown as it is");
        }
    }
}

/// A page with a name in every place.
fn hostile(name: &str) -> Page {
    let own = || name.to_owned();
    let record = |component: &str, metric: &str, value| Record {
        model: own(),
        dataset: own(),
        component: component.to_owned(),
        threat: "linf:0.1".to_owned(),
        eps: Some(0.1),
        metric: metric.to_owned(),
        value: Some(value),
        n: 10,
        ..Record::default()
    };
    let axis = Axis { name: own(), values: vec![-0.1, 0.0, 0.1] };
    let surface = Surface {
        id: own(),
        model: own(),
        kind: "likelihood".to_owned(),
        x_axis: axis.clone(),
        y_axis: axis,
        z: vec![0.0, -1.0, f64::NAN, 0.0, 0.0, -2.0, f64::INFINITY, 0.0, -1.0],
        predicted: vec![0, 1, 0, 0, 0, 1, 1, 0, 0],
        radii: vec![0.1],
        ..Surface::default()
    };
    let mut page = Page {
        title: own(),
        command: own(),
        records: vec![record("", "clean_accuracy", 0.9), record(name, "robust_accuracy", 0.4)],
        surfaces: vec![surface],
        class_names: vec![own(), own()],
        classes: vec![ClassTable {
            model: own(),
            threat: own(),
            rows: vec![ClassRow { label: 1, n: 3, becomes: [(Some(0), 3)].into(), ..ClassRow::default() }],
        }],
        closeups: vec![CloseUp {
            model: own(),
            threat: own(),
            attack: own(),
            rule: own(),
            pictures: Pictures { note: own(), size: (1, 1), ..Pictures::default() },
            measured: vec![(own(), own())],
            ..CloseUp::default()
        }],
        histograms: vec![Histogram { title: own(), x_label: own(), samples: vec![(own(), vec![0.0, 1.0])], span: None }],
        paths: vec![PathCurve {
            model: own(),
            threat: own(),
            attack: own(),
            metric: own(),
            quantity: own(),
            aligned: true,
            points: vec![PathPoint { step: 0, n: 1, mean: 1.0, low: 0.0, high: 2.0 }],
        }],
        doubts: vec![Doubt { code: own(), raised_if: own(), explanation: own(), advice: own(), ..Doubt::default() }],
        manifest: serde_json::json!({ name: name }),
        ..Page::default()
    };
    let key = SampleKey { model: own(), threat: own(), id: 0, label: 0, prediction: None };
    page.samples.set(&key, &format!("{name}.outcome"), SampleValue::Text(own()));
    page
}
