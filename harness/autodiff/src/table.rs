//! The table of rules as a page of documentation.

use std::fmt::Write;

use crate::rule::{Kind, Rule};
use crate::rules::FAMILIES;

/// Every operator with what a cotangent does there, by family, as Markdown. The documentation is generated from this.
pub fn rules_table() -> String {
    let mut page = String::from("| operator | kind | exactness |\n|---|---|---|\n");
    for (family, rules) in FAMILIES {
        let _ = writeln!(page, "| *{family}* | | |");
        for rule in *rules {
            let _ = writeln!(page, "| {} | {} | {} |", rule.op, kind(rule), exactness(rule));
        }
    }
    page
}

fn kind(rule: &Rule) -> &'static str {
    match rule.kind {
        Kind::Vjp(_) | Kind::Each(_) => "rule",
        Kind::Flat => "flat",
        Kind::Never(_) => "never",
    }
}

fn exactness(rule: &Rule) -> String {
    match (rule.kind, rule.kink) {
        (Kind::Never(reason), _) => reason.to_owned(),
        (_, "") => "exact".to_owned(),
        (_, kink) => format!("almost everywhere; {kink}"),
    }
}
