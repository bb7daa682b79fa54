//! The tables of names against the page that people read.

use std::collections::BTreeSet;

use flatscape_abi::names::{FUNCTIONS, INPUTS, OUTPUTS};

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/README.md");
    std::fs::read_to_string(path).expect("plugins/README.md is in the repository")
}

/// What stands between backticks in the first cells of the table below a heading.
fn listed(page: &str, heading: &str) -> BTreeSet<String> {
    let after = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading:?}")).1;
    let table = after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).skip(2);
    let mut names = BTreeSet::new();
    for line in table {
        let cell = line.split('|').nth(1).unwrap_or_default();
        for (position, word) in cell.split('`').enumerate() {
            if position % 2 == 1 {
                assert!(names.insert(word.to_owned()), "{word} stands twice below {heading:?}");
            }
        }
    }
    names
}

fn pattern(name: &str, suffix: &str) -> String {
    if name.ends_with('_') { format!("{name}*{suffix}") } else { format!("{name}{suffix}") }
}

#[test]
fn the_page_lists_every_input_and_no_other() {
    let table: BTreeSet<String> = INPUTS.iter().map(|row| pattern(row.name, "")).collect();
    assert_eq!(table.len(), INPUTS.len(), "a name has two rows");
    assert_eq!(listed(&page(), "### Inputs"), table);
}

#[test]
fn the_page_lists_every_output_and_no_other() {
    let table: BTreeSet<String> = OUTPUTS.iter().map(|row| pattern(row.name, row.suffix)).collect();
    assert_eq!(listed(&page(), "### Outputs"), table);
}

#[test]
fn the_page_lists_every_function_with_its_operands() {
    let call = |name: &str, operands: &[&str]| format!("{name}({})", operands.join(", "));
    let table: BTreeSet<String> = FUNCTIONS.iter().map(|row| call(row.name, row.operands)).collect();
    assert_eq!(listed(&page(), "### Functions"), table);
}

#[test]
fn the_lines_of_the_page_are_short() {
    let long: Vec<String> = page().lines().filter(|line| line.chars().count() > 100).map(str::to_owned).collect();
    assert_eq!(long, Vec::<String>::new());
}
