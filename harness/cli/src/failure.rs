//! How a command fails: `error[M031]: sentence`, a line of help, an exit code; the same as JSON
//! with `--json`.

use std::fmt;

use flatscape_engine::EngineError;
use flatscape_host::HostError;
use flatscape_intake::refusal::{Refusal, escape};
use serde_json::json;

/// The end of a command.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    error: Refusal,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl From<Refusal> for Failure {
    fn from(error: Refusal) -> Failure {
        Failure { code: error.class.exit_code(), error }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        use EngineError::{Device, LibraryInUse, LibraryMissing, LibraryRefused, Process};
        if let Process { .. } = error {
            return Refusal::output(112, error.to_string()).into();
        }
        let number = match error {
            LibraryMissing { .. } | LibraryRefused { .. } | LibraryInUse { .. } => 109,
            Device { .. } => 108,
            _ => 6,
        };
        Refusal::engine(number, error.to_string()).into()
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Failure {
        flatscape_measure::prepared::of_host(error).into()
    }
}

impl From<clap::Error> for Failure {
    /// What the parser of the command line says, in the words of this program: the first paragraph, its tip as help.
    fn from(error: clap::Error) -> Failure {
        let said = error.render().to_string();
        let mut paragraphs = said.trim_start_matches("error: ").split("\n\n");
        let what = paragraphs.next().unwrap_or_default().trim();
        let help: Vec<String> = paragraphs
            .map(|p| p.trim().trim_start_matches("tip: ").split('\n').map(str::trim).collect::<Vec<_>>().join(" "))
            .filter(|p| !p.is_empty())
            .collect();
        Refusal::usage(2, printable(what)).help(printable(&help.join("; "))).into()
    }
}

/// What was typed, with control characters escaped.
fn printable(text: &str) -> String {
    text.split('\n').map(escape_line).collect::<Vec<_>>().join("\n")
}

fn escape_line(line: &str) -> String {
    line.split(' ').map(escape).collect::<Vec<_>>().join(" ")
}

impl Failure {
    /// The command line contradicts itself or names something unknown.
    pub fn usage(sentence: impl fmt::Display) -> Failure {
        Refusal::usage(91, sentence.to_string()).into()
    }

    /// The engine or the device is not there.
    pub fn engine(sentence: impl fmt::Display) -> Failure {
        Refusal::engine(109, sentence.to_string()).into()
    }

    /// Something could not be read or written.
    pub fn output(sentence: impl fmt::Display) -> Failure {
        Refusal::output(94, sentence.to_string()).into()
    }

    /// `{"error": {"id", "class", "what", "help"}}`.
    pub fn json(&self) -> serde_json::Value {
        let Refusal { class, what, help, .. } = &self.error;
        json!({ "error": { "id": self.error.id(), "class": class, "what": what, "help": help } })
    }
}
