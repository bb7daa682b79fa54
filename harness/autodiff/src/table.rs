//! The table of rules as a page of documentation.

use std::fmt::Write;

use crate::rule::{Class, Integers, Passage, Rule};
use crate::rules::FAMILIES;

const HEAD: &str = "\
# Operators and their derivatives

How a cotangent passes every operator of the standard domain. This page is generated from the table
in `src/rules`; a test compares the two.

| kind | meaning |
|---|---|
| rule | one formula per operand, in operators that have rules themselves, so every order exists |
| formula | the operator is written with others, and the cotangent passes those; every order exists |
| before | `normalize` writes the operator with others before anything is differentiated |
| flat | the derivative is zero wherever it exists: the cotangent stops |
| never | differentiating is refused, with this reason |

| class | meaning |
|---|---|
| exact | the derivative, everywhere |
| almost everywhere | the derivative except at kinks and ties; the remark states the value there |
| surrogate | a useful replacement where the derivative is zero or undefined; `inspect` says so |

| operator | kind | class | orders | remark |
|---|---|---|---|---|
";

/// Every operator with what a cotangent does there, by family, as Markdown. The documentation is generated from this.
pub fn rules_table() -> String {
    let mut page = String::from(HEAD);
    for (family, rules) in FAMILIES {
        let _ = writeln!(page, "| *{family}* | | | | |");
        for rule in *rules {
            let (kind, orders) = kind(rule);
            let class = rule.class().map_or("", Class::words);
            let _ = writeln!(page, "| {} | {kind} | {class} | {orders} | {} |", rule.op, remark(rule));
        }
    }
    page
}

fn kind(rule: &Rule) -> (&'static str, &'static str) {
    match rule.kind {
        Passage::Vjp(_) | Passage::Each(_) => ("rule", "all"),
        Passage::Written(_) => ("formula", "all"),
        Passage::Before(_) => ("before", ""),
        Passage::Flat => ("flat", "all"),
        Passage::Never(_) => ("never", ""),
    }
}

fn remark(rule: &Rule) -> String {
    match rule.kind {
        Passage::Never(reason) => return reason.to_owned(),
        Passage::Before(into) => return format!("as {into}"),
        _ => {}
    }
    let mut remarks = Vec::new();
    if !rule.kink.is_empty() {
        remarks.push(rule.kink.to_owned());
    }
    if let (Passage::Vjp(formulas), true) = (rule.kind, rule.rest_flat) {
        remarks.push(format!("operands after number {} carry no derivative", formulas.len()));
    }
    if rule.first_result {
        remarks.push("results after the first carry no derivative".to_owned());
    }
    if rule.integers == Integers::Pass {
        remarks.push("hands on what a quantiser lets pass".to_owned());
    }
    remarks.join("; ")
}
