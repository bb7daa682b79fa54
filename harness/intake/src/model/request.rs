//! A model as the user requested it, before its file is opened.

use serde::{Deserialize, Serialize};

use super::Intake;

/// A model as the user requested it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRequest {
    /// A path, or the name of a model that comes with the program.
    pub source: String,
    /// What is stated about it.
    pub intake: Intake,
}

impl ModelRequest {
    /// How tables call it before its card is read: the stem of the file.
    pub fn name(&self) -> String {
        let stem = std::path::Path::new(&self.source).file_stem();
        crate::refusal::escape(&stem.map_or_else(|| self.source.clone(), |s| s.to_string_lossy().into_owned()))
    }
}
