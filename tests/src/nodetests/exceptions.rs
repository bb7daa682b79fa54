//! `tests/nodetests/exceptions.txt`: which node tests are known not to pass, where, and why.
//!
//! A line `tract: reason` starts a group, and the indented lines below it are its cases. `import` stands for what comes before
//! an engine; `tract, not run` for cases that are not even tried, because the process would not survive them.

use std::collections::BTreeMap;

use crate::provision::root;

pub struct Exception {
    pub reason: String,
    pub run: bool,
}

/// The places where a case may fail.
pub const PLACES: [&str; 3] = ["import", "ort", "tract"];

/// By place and case.
pub fn exceptions() -> BTreeMap<(&'static str, String), Exception> {
    let text = std::fs::read_to_string(root().join("tests/nodetests/exceptions.txt")).expect("the exceptions can be read");
    let mut found = BTreeMap::new();
    let mut group = None;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        if !line.starts_with(' ') {
            let (head, reason) = line.split_once(": ").unwrap_or_else(|| panic!("not `place: reason`: {line}"));
            let (place, run) = head.strip_suffix(", not run").map_or((head, true), |place| (place, false));
            let place = PLACES.into_iter().find(|p| *p == place).unwrap_or_else(|| panic!("no place is called {place}"));
            group = Some((place, run, reason));
            continue;
        }
        let (place, run, reason) = group.expect("a case stands in a group");
        let exception = Exception { reason: reason.to_owned(), run };
        let twice = found.insert((place, line.trim().to_owned()), exception).is_some();
        assert!(!twice, "{} is listed twice for {place}", line.trim());
    }
    found
}
