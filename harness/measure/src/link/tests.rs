//! The linker against the tables of the interface: it offers every name and function that the tables have, and no other.

use std::collections::BTreeSet;

use flatscape_graph::ops;
use flatscape_host::protocol;

use super::scope::is_fed;
use super::{FUNCTIONS, QUANTITIES};

/// The names that are constants of a linked graph.
const CONSTANT: &[&str] = &["lo", "hi", "steps", "temperature", "model_unit", "arg_"];

/// The names of an update, which is about parameters and not about samples; it is linked where parameters are.
const OF_UPDATES: &[&str] = &["param", "dparam", "dparam_norm", "rank", "lr"];

#[test]
fn every_name_of_the_interface_is_fed_constant_or_derived() {
    let derived: BTreeSet<String> = QUANTITIES
        .iter()
        .flat_map(|row| row.anchors.iter().map(move |anchor| format!("{}{}", row.name, anchor.suffix())))
        .collect();
    for row in protocol::INPUTS.iter().filter(|row| !OF_UPDATES.contains(&row.name)) {
        let fed = is_fed(row.name);
        let ways = [fed, CONSTANT.contains(&row.name), derived.contains(row.name)];
        assert_eq!(ways.iter().filter(|way| **way).count(), 1, "{}: fed, constant, derived are {ways:?}", row.name);
    }
    for name in derived {
        assert!(protocol::INPUTS.iter().any(|row| row.name == name), "{name} is derived, and no program may name it");
    }
}

#[test]
fn every_function_of_the_interface_is_written_out() {
    let rows: Vec<(&str, usize, usize)> = protocol::FUNCTIONS
        .iter()
        .map(|row| {
            let needed = row.operands.iter().filter(|operand| !operand.ends_with('?')).count();
            (row.name, needed, row.operands.len())
        })
        .collect();
    let expanded: Vec<(&str, usize, usize)> =
        FUNCTIONS.iter().map(|row| (row.name, *row.operands.start(), *row.operands.end())).collect();
    assert_eq!(expanded, rows);
    let known = |name: &str| ops::OPS.iter().find(|op| op.domain == ops::FUNCTIONS && op.name == name);
    for (name, least, most) in rows {
        assert_eq!(known(name).map(|op| op.operands.clone()), Some(least..=most), "{name} in the table of operators");
    }
}
