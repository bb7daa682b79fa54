//! What a refusal of a model, of data or of an option is: a sentence, a way out, a stable id and the class that decides the
//! exit code. Knows no file format; everything that quotes names from files escapes them here.

mod table;

use std::fmt;

pub use flatscape_graph::escape;
pub use table::{Kind, REFUSALS, kind, page};

/// Who has to act, which decides the exit code of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// The command line or the card contradicts itself or is misspelled: exit code 2.
    Usage,
    /// The model was refused: 3.
    Model,
    /// The data was refused: 4.
    Data,
    /// A plugin was refused or is at fault: 5.
    Plugin,
    /// The engine could not do it: 6.
    Engine,
    /// Something could not be written: 7, and the run can be resumed.
    Output,
    /// The run directory is in use or does not match: 8.
    State,
}

impl Class {
    /// The exit code of a run that ends for this reason.
    pub fn exit_code(self) -> u8 {
        match self {
            Class::Usage => 2,
            Class::Model => 3,
            Class::Data => 4,
            Class::Plugin => 5,
            Class::Engine => 6,
            Class::Output => 7,
            Class::State => 8,
        }
    }

    /// Every class, by exit code.
    pub const ALL: &[Class] =
        &[Class::Usage, Class::Model, Class::Data, Class::Plugin, Class::Engine, Class::Output, Class::State];

    /// What the class is about, as a heading.
    pub fn title(self) -> &'static str {
        match self {
            Class::Usage => "The command line",
            Class::Model => "The model",
            Class::Data => "The data",
            Class::Plugin => "A plugin",
            Class::Engine => "The engine or the device",
            Class::Output => "Input and output",
            Class::State => "The run directory",
        }
    }

    /// The letter of the class's ids.
    pub fn letter(self) -> char {
        match self {
            Class::Usage => 'U',
            Class::Model => 'M',
            Class::Data => 'D',
            Class::Plugin => 'P',
            Class::Engine => 'E',
            Class::Output => 'O',
            Class::State => 'R',
        }
    }
}

/// A refusal: `error[M031]: sentence`, and a line of help where there is a way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize, serde::Deserialize)]
pub struct Refusal {
    /// Who has to act.
    pub class: Class,
    /// A number that stays the same across versions; with the class it makes the id, e.g. `M031`.
    pub number: u16,
    /// A sentence with a subject.
    pub what: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Refusal {
    /// The model was refused.
    pub fn model(number: u16, what: impl Into<String>) -> Refusal {
        Refusal { class: Class::Model, number, what: what.into(), help: None }
    }

    /// The data was refused.
    pub fn data(number: u16, what: impl Into<String>) -> Refusal {
        Refusal { class: Class::Data, number, what: what.into(), help: None }
    }

    /// The options were refused.
    pub fn usage(number: u16, what: impl Into<String>) -> Refusal {
        Refusal { class: Class::Usage, number, what: what.into(), help: None }
    }

    /// The engine could not do it.
    pub fn engine(number: u16, what: impl Into<String>) -> Refusal {
        Refusal { class: Class::Engine, number, what: what.into(), help: None }
    }

    /// A plugin was refused or is at fault.
    pub fn plugin(number: u16, what: impl Into<String>) -> Refusal {
        Refusal { class: Class::Plugin, number, what: what.into(), help: None }
    }

    /// Something could not be written.
    pub fn output(number: u16, what: impl Into<String>) -> Refusal {
        Refusal { class: Class::Output, number, what: what.into(), help: None }
    }

    /// The run directory is in use or does not match.
    pub fn state(number: u16, what: impl Into<String>) -> Refusal {
        Refusal { class: Class::State, number, what: what.into(), help: None }
    }

    /// Adds the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Refusal {
        self.help = Some(help.into());
        self
    }

    /// The stable id, e.g. `M031`.
    pub fn id(&self) -> String {
        format!("{}{:03}", self.class.letter(), self.number)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.id(), self.what)?;
        if let Some(help) = &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

/// The candidate with the fewest edits from `word`, if it is close enough to be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = word.chars().count().div_ceil(3);
    candidates.into_iter().map(|c| (edits(word, c), c)).filter(|&(d, _)| d <= limit).min_by_key(|&(d, _)| d).map(|(_, c)| c)
}

/// Levenshtein distance in characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_sentence_with_an_id_and_a_way_out() {
        let error = Refusal::data(76, "asked for 1000 images, found 812").help("--allow-fewer");
        assert_eq!(error.to_string(), "error[D076]: asked for 1000 images, found 812\nhelp: --allow-fewer");
        assert_eq!(error.class.exit_code(), 4);
    }

    #[test]
    fn names_from_files_cannot_drive_a_terminal() {
        assert_eq!(escape("a\u{1b}[31m\u{202e}"), "a\\u{1b}[31m\\u{202e}");
        assert_eq!(escape(&"x".repeat(500)).chars().count(), 121);
    }

    #[test]
    fn a_typo_finds_its_word() {
        assert_eq!(nearest("meen", ["mean", "std", "scale"]), Some("mean"));
        assert_eq!(nearest("zzzzzz", ["mean", "std"]), None);
    }
}
