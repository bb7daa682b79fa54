//! The table of refusals against the sources: every id that the program can show has a row, and every row is used.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use flatscape_intake::refusal::{Class, REFUSALS, page};

use super::TABLES;
use crate::provision::root;

/// Ids of the plugin host, and what the program makes of them: those that are the user's turn are one kind of usage error.
fn shown(host: &str) -> String {
    let number: u16 = host[1..].parse().expect("P and a number");
    match number {
        20..=29 | 40 => "U091".into(),
        30 | 41 => format!("O{number:03}"),
        31 => format!("E{number:03}"),
        _ => format!("P{number:03}"),
    }
}

/// Ids whose number is chosen in an expression, not written after the class.
const CHOSEN: &[&str] = &["O116", "D002", "E006", "E108", "E109", "M013", "M030", "M035", "M058"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources").map(|e| e.expect("an entry").path()) {
        if entry.is_dir() && entry.file_name().is_none_or(|name| name != "tests") {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|e| e == "rs") && !entry.ends_with("tests.rs") {
            found.push(entry);
        }
    }
}

/// The number that stands first behind a place in a text, if one does.
fn number_after(text: &str) -> Option<u16> {
    let digits: String = text.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Every id that the sources can show.
fn used() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root().join("harness"), &mut files);
    let mut ids: BTreeSet<String> = CHOSEN.iter().map(|id| (*id).to_owned()).collect();
    for path in files {
        let text = fs::read_to_string(&path).expect("a source");
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for class in Class::ALL {
            let call = format!("Refusal::{}(", format!("{class:?}").to_lowercase());
            let numbers = text.match_indices(&call).filter_map(|(at, _)| number_after(&text[at + call.len()..]));
            ids.extend(numbers.map(|number| format!("{}{number:03}", class.letter())));
        }
        // closures of one file, which refuse for one class
        let class = if path.starts_with(root().join("harness/data")) { 'D' } else { 'M' };
        if path.starts_with(root().join("harness/intake")) || path.starts_with(root().join("harness/data")) {
            let numbers = text.match_indices("refuse(").filter_map(|(at, call)| number_after(&text[at + call.len()..]));
            ids.extend(numbers.map(|number| format!("{class}{number:03}")));
        }
        if path.starts_with(root().join("harness/host/src")) {
            let quoted =
                text.match_indices("\"P").map(|(at, _)| &text[at + 1..]).filter(|id| id.as_bytes().get(3) == Some(&b'"'));
            ids.extend(quoted.filter(|id| id[1..3].chars().all(|c| c.is_ascii_digit())).map(|id| shown(&id[..3])));
        }
    }
    ids.extend(flatscape_graph::onnx::Fault::ALL.iter().map(|fault| fault.id.to_owned()));
    ids
}

#[test]
fn every_id_has_a_row_and_every_row_is_used() {
    let known: BTreeSet<String> = REFUSALS.iter().map(|(id, ..)| (*id).to_owned()).collect();
    assert_eq!(known.len(), REFUSALS.len(), "an id has two rows");
    let used = used();
    let missing: Vec<&String> = used.difference(&known).collect();
    assert!(missing.is_empty(), "ids without a row in REFUSALS: {missing:?}");
    let idle: Vec<&String> = known.difference(&used).collect();
    assert!(idle.is_empty(), "rows of REFUSALS that nothing shows: {idle:?}");
    for (id, class, title, advice) in REFUSALS {
        assert!(id.starts_with(class.letter()) && !title.is_empty() && !advice.is_empty(), "{id}");
    }
    for fault in flatscape_graph::onnx::Fault::ALL {
        let row = flatscape_intake::refusal::kind(fault.id).expect("a row");
        assert_eq!(row.2, fault.about, "{}", fault.id);
    }
}

#[test]
fn the_cases_expect_ids_of_the_table() {
    for case in TABLES.iter().flat_map(|(_, cases)| *cases) {
        let known = case.id.is_empty() || REFUSALS.iter().any(|row| row.0.starts_with(case.id));
        assert!(known, "{}: {} is not an id of REFUSALS", case.name, case.id);
    }
}

#[test]
fn the_page_is_made_from_the_table() {
    let path = root().join("harness/data/REFUSALS.md");
    if std::env::var_os("FLATSCAPE_WRITE_PAGES").is_some() {
        fs::write(&path, page()).expect("the page can be written");
    }
    assert!(fs::read_to_string(&path).is_ok_and(|text| text == page()), "harness/data/REFUSALS.md is not that of REFUSALS");
}
