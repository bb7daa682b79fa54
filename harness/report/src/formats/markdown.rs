//! `results.md`: a block that a model card can hold. Verdicts with their intervals, the table, doubts, what was not measured, and
//! how to repeat it. It begins at a heading of the second level and holds no HTML.

use super::json::is_unreliable;
use super::provenance::Provenance;
use crate::failure::gaps;
use crate::page::{Doubt, Page};
use crate::table::{Table, TableCell, tables};
use crate::text::{markdown, shown, shown_to};
use crate::verdict::verdicts;

/// `results.md`. Every name from outside is escaped for Markdown and for HTML.
pub fn results_md(page: &Page) -> String {
    let mut text = String::from("## Robustness\n\n");
    if let Some(partial) = page.partial {
        let (done, of) = (partial.done, partial.of);
        text += &format!("**PARTIAL:** interrupted after {done} of {of} jobs; the numbers are about the jobs that finished.\n\n");
    }
    if page.doubts.iter().any(|doubt| doubt.unreliable) {
        text += "**UNRELIABLE:** settle the doubts below before quoting these numbers.\n\n";
    }
    verdict_list(&mut text, page);
    for table in tables(&page.records) {
        table_of(&mut text, &table);
    }
    list(
        &mut text,
        "Requirements",
        page.requirements.iter().map(|requirement| {
            let holds = if requirement.holds { "holds" } else { "**does not hold**" };
            let model =
                if requirement.model.is_empty() { String::new() } else { format!("{}: ", markdown(&shown(&requirement.model))) };
            format!("{model}{} {holds}: {}", markdown(&shown(&requirement.text)), markdown(&shown_to(&requirement.found, 400)))
        }),
    );
    if page.doubts.is_empty() {
        text += "### Doubts\n\nNone was raised. This is the absence of a finding, not a proof.\n\n";
    }
    list(&mut text, "Doubts", page.doubts.iter().map(doubt));
    list(
        &mut text,
        "Not measured",
        gaps(page).into_iter().map(|gap| {
            let words = [&gap.model, &gap.component, &gap.threat].map(|word| markdown(word));
            let about: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
            let code = if gap.code.is_empty() { String::new() } else { format!(" ({})", markdown(&gap.code)) };
            format!("{}: {}{code}", about.join(", "), markdown(&gap.sentence))
        }),
    );
    how_to_repeat(&mut text, page);
    text
}

fn verdict_list(text: &mut String, page: &Page) {
    for verdict in verdicts(&page.records) {
        let unreliable = if is_unreliable(&verdict, page) { " **Unreliable:** see the doubts." } else { "" };
        *text += &format!(
            "- **{}** on {}: {}{unreliable}\n",
            markdown(&verdict.model),
            markdown(&verdict.about),
            markdown(&verdict.sentence)
        );
    }
    let interval = if page.interval.is_empty() { String::new() } else { format!(" ({})", markdown(&shown(&page.interval))) };
    *text +=
        &format!("\nThe bound is one-sided: a stronger attack can only lower it. Brackets hold the 95 % interval{interval}.\n\n");
}

fn table_of(text: &mut String, table: &Table) {
    *text += &format!("### {}\n\n| model |", markdown(&table.title));
    table.columns.iter().for_each(|(heading, _)| *text += &format!(" {} |", markdown(heading)));
    *text += &format!(" flags |\n|---|{}---|\n", "---:|".repeat(table.columns.len()));
    for row in &table.rows {
        *text += &format!("| {} |", markdown(&row.model));
        row.cells.iter().for_each(|cell| *text += &format!(" {} |", cell.as_ref().map_or("–".to_owned(), TableCell::to_string)));
        *text += &format!(" {} |\n", markdown(&row.flags.join(" ")));
    }
    text.push('\n');
}

fn doubt(doubt: &Doubt) -> String {
    let [explanation, advice, raised_for] =
        [&doubt.explanation, &doubt.advice, &doubt.raised_for].map(|t| markdown(&shown_to(t, 1200)));
    let unreliable = if doubt.unreliable { ", unreliable" } else { "" };
    let code = markdown(&shown(&doubt.code));
    format!("**{code}**{unreliable}, {raised_for}. {explanation} What to do: {advice}")
}

/// A heading and one item per line; nothing where there is no item.
fn list(text: &mut String, heading: &str, items: impl Iterator<Item = String>) {
    for (place, item) in items.enumerate() {
        if place == 0 {
            *text += &format!("### {heading}\n\n");
        }
        *text += &format!("- {item}\n");
    }
    if text.ends_with("\n") && !text.ends_with("\n\n") {
        text.push('\n');
    }
}

fn how_to_repeat(text: &mut String, page: &Page) {
    let about = Provenance::of(page);
    *text += "### How to repeat it\n\n";
    if !page.command.is_empty() {
        let command = shown_to(&page.command, 1000);
        let longest = command.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(3.max(longest + 1));
        *text += &format!("{fence}\n{command}\n{fence}\n\n");
    }
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            facts.push(format!("{name} {}", markdown(&shown(value))));
        }
    };
    fact("flatscape", &page.version);
    fact("engine", about.engine);
    fact("on", about.device);
    let seed = about.seed.map(|seed| seed.to_string()).unwrap_or_default();
    fact("seed", &seed);
    if !facts.is_empty() {
        *text += &format!("{}.\n\n", facts.join(", "));
    }
    *text += "| what | SHA-256 |\n|---|---|\n";
    for model in &about.models {
        *text += &format!("| model {} | {} |\n", markdown(&shown(&model.name)), markdown(&shown(&model.sha256)));
    }
    if !about.dataset.is_empty() {
        let split = if about.split.is_empty() { String::new() } else { format!(" ({})", about.split) };
        let name = shown(&format!("{}{split}", about.dataset));
        *text += &format!("| data {} | {} |\n", markdown(&name), markdown(&shown(&page.data_sha256)));
    }
    for (id, version, sha256) in &about.plugins {
        *text += &format!("| plugin {} {} | {} |\n", markdown(&shown(id)), markdown(&shown(version)), markdown(&shown(sha256)));
    }
}
