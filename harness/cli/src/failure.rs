//! How a command ends when it cannot do what was asked: a sentence, a line of help, an exit code.

use std::fmt;

use flatscape_audit::intake::IntakeError;
use flatscape_engine::EngineError;
use flatscape_host::HostError;

/// The end of a command.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    words: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<IntakeError> for Failure {
    fn from(error: IntakeError) -> Failure {
        Failure { code: error.class.exit_code(), words: error.to_string() }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        Failure { code: 6, words: format!("error: {error}") }
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Failure {
        IntakeError::from(error).into()
    }
}

impl Failure {
    /// The command line asks for something that cannot be.
    pub fn usage(sentence: impl fmt::Display) -> Failure {
        Failure { code: 2, words: format!("error: {sentence}") }
    }

    /// The engine or the device is not there.
    pub fn engine(sentence: impl fmt::Display) -> Failure {
        Failure { code: 6, words: format!("error: {sentence}") }
    }

    /// Something could not be read or written.
    pub fn output(sentence: impl fmt::Display) -> Failure {
        Failure { code: 7, words: format!("error: {sentence}") }
    }
}
