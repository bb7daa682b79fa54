//! What can go wrong between flatscape and a plugin, as sentences that say whose turn it is. Knows exit codes only as numbers.

use std::path::{Path, PathBuf};

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The user: an unknown name, a wrong argument, a component that is not for this task.
    User,
    /// The author of the plugin: it was refused, or it failed.
    Plugin,
    /// Whoever answers the oracle's questions (an engine failed while a plugin was asking).
    Oracle,
    /// This machine: the child process cannot be started, shared memory cannot be made.
    Machine,
    /// Nobody: it was asked to stop.
    Interrupted,
}

/// A plugin that was refused, a component that failed, an argument that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct HostError {
    /// A stable id, `P` and two digits.
    pub id: &'static str,
    /// Who has to act.
    pub blame: Blame,
    /// The plugin's file, where it is about one.
    pub plugin: Option<PathBuf>,
    /// The component, where it is about one.
    pub component: Option<String>,
    /// What happened, with its subject.
    pub sentence: String,
    /// The way out, if there is one to name.
    pub help: Option<String>,
}

impl HostError {
    pub(crate) fn new(id: &'static str, blame: Blame, sentence: impl Into<String>) -> HostError {
        HostError { id, blame, plugin: None, component: None, sentence: sentence.into(), help: None }
    }

    pub(crate) fn user(id: &'static str, sentence: impl Into<String>) -> HostError {
        HostError::new(id, Blame::User, sentence)
    }

    pub(crate) fn plugin(id: &'static str, file: &Path, sentence: impl Into<String>) -> HostError {
        HostError { plugin: Some(file.to_owned()), ..HostError::new(id, Blame::Plugin, sentence) }
    }

    #[must_use]
    pub(crate) fn of_component(mut self, component: &str) -> HostError {
        self.component = Some(component.to_owned());
        self
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> HostError {
        self.help = Some(help.into());
        self
    }

    /// Whether a component said that it is not for this task: another task may suit it.
    pub fn is_unsupported(&self) -> bool {
        self.id == "P25"
    }

    /// The exit code of the program that this ends in when nothing weighs more.
    pub fn exit_code(&self) -> u8 {
        match self.blame {
            Blame::User => 2,
            Blame::Plugin => 5,
            Blame::Oracle => 6,
            Blame::Machine => 7,
            Blame::Interrupted => 130,
        }
    }
}

/// A text from a plugin or a file, fit for a terminal: control and direction characters escaped, cut at 120 characters.
pub(crate) fn shown(text: &str) -> String {
    shown_up_to(text, 120)
}

pub(crate) fn shown_up_to(text: &str, limit: usize) -> String {
    let mut safe = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == limit {
            safe.push('…');
            break;
        }
        let directional = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || directional { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    safe
}

/// The file's name for a sentence.
pub(crate) fn file_name(path: &Path) -> String {
    shown(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
}

/// The nearest of some names, if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let best = among.into_iter().map(|candidate| (distance(name, candidate), candidate)).min_by_key(|(d, _)| *d)?;
    (best.0 <= 2.max(name.chars().count() / 3)).then_some(best.1)
}

/// Edit distance (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let cost = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = cost;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_offered_only_when_near() {
        assert_eq!(nearest("stpes", ["steps", "alpha"]), Some("steps"));
        assert_eq!(nearest("pdg", ["fgsm", "pgd"]), Some("pgd"));
        assert_eq!(nearest("hopskipjump", ["fgsm", "pgd"]), None);
    }

    #[test]
    fn hostile_text_is_escaped_and_cut() {
        assert_eq!(shown("a\u{1b}[31m\u{202e}b"), "a\\u{1b}[31m\\u{202e}b");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), 121);
    }
}
