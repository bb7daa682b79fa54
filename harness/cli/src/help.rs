//! Help texts that are made of the tables of the crates below, so that a row of a table is in the help.

use flatscape_architectures::ARCHITECTURES;
use flatscape_audit::profiles::PROFILES;
use flatscape_engine::ENGINES;
use flatscape_intake::card::LAYOUTS;
use flatscape_intake::data::FORMATS;
use flatscape_intake::remedies::REMEDIES;
use flatscape_intake::surrogates::{RULES, Rule};
use flatscape_train::augment::AUGMENTATIONS;
use flatscape_train::schedule::SCHEDULES;

/// `--engine`
pub fn engines() -> String {
    let rows: Vec<String> = ENGINES.iter().map(|row| format!("{} ({})", row.name, row.summary)).collect();
    format!("auto (the first of the following that can be used), {}", rows.join(", or "))
}

/// `--data`
pub fn data() -> String {
    let formats: Vec<&str> = FORMATS.iter().map(|format| format.summary).collect();
    format!("The name of a data set (digits, mnist, …) or a path: {}", formats.join("; "))
}

/// `--profile`
pub fn profiles() -> String {
    let rows: Vec<String> = PROFILES.iter().map(|profile| format!("{} ({})", profile.name, profile.summary)).collect();
    format!("A set of attacks and metrics by name: {}", rows.join("; "))
}

/// `--layout`
pub fn layouts() -> String {
    let names: Vec<&str> = LAYOUTS.iter().map(|(name, _)| *name).collect();
    format!("How pixels lie in the input: {}", names.join(", "))
}

/// What `train` starts from.
pub fn starts() -> String {
    let rows: Vec<&str> = ARCHITECTURES.iter().map(|row| row.id).collect();
    format!(
        "An ONNX file, the name of a model that comes with the program, or an architecture with seeded weights: {}",
        rows.join(", ")
    )
}

/// `--schedule`
pub fn schedules() -> String {
    let rows: Vec<String> = SCHEDULES.iter().map(|row| format!("{} ({})", row.name, row.summary)).collect();
    format!("How the learning rate changes: {}", rows.join("; "))
}

/// `--augment`
pub fn augmentations() -> String {
    let rows: Vec<String> = AUGMENTATIONS.iter().map(|row| format!("{} ({})", row.name, row.summary)).collect();
    format!("Changes of training images that keep their label, separated by commas: {}", rows.join("; "))
}

/// `--remedy`
pub fn remedies() -> String {
    let rows: Vec<String> = REMEDIES.iter().map(|remedy| format!("{} ({})", remedy.name, remedy.summary)).collect();
    format!("Remedies for hazards, separated by commas, or all: {}", rows.join("; "))
}

/// `--surrogate`
pub fn surrogates() -> String {
    let takers = |rule: &Rule| match rule.operators {
        [] => "operators with one operand of the shape of the result, TopK, and FROM..TO for what lies between two values"
            .to_owned(),
        some => some.join(", "),
    };
    let rows: Vec<String> = RULES.iter().map(|rule| format!("{} ({}; {})", rule.name, rule.formula, takers(rule))).collect();
    format!(
        "Attacks differentiate an operator by another rule; may be repeated; the judge is the model itself: {}",
        rows.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// What a table has, the help of `audit` says.
    #[test]
    fn every_row_is_in_the_help() {
        let command = crate::CommandLine::command();
        let audit = command.find_subcommand("audit").expect("a command").clone().render_long_help().to_string();
        let said = audit.split_whitespace().collect::<Vec<_>>().join(" ");
        let names = ENGINES.iter().map(|r| r.name).chain(PROFILES.iter().map(|p| p.name));
        let names =
            names.chain(LAYOUTS.iter().map(|l| l.0)).chain(REMEDIES.iter().map(|r| r.name)).chain(RULES.iter().map(|r| r.name));
        let missing: Vec<&str> = names.filter(|name| !said.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?} are not in the help: {said}");
    }
}
