//! `flatscape report`: tables and pages of a run, from its directory alone.

use std::path::PathBuf;

use clap::Args;
use flatscape_audit::directory::Directory;
use flatscape_audit::landscape;
use flatscape_audit::publish::{self, FORMATS};
use flatscape_audit::rows::summarise;
use flatscape_audit::stored::Stored;

use crate::failure::Failure;
use crate::output::say;

/// Write the tables and pages of a run again, from its directory alone.
#[derive(Args, Debug)]
pub struct Report {
    /// The run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// What to write, separated by commas
    #[arg(long, value_name = "F,F", default_value = "html,csv", value_delimiter = ',', value_parser = names())]
    format: Vec<String>,
}

fn names() -> clap::builder::PossibleValuesParser {
    FORMATS.iter().map(|f| f.name).collect::<Vec<_>>().into()
}

impl Report {
    /// Writes the files; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        // a path that is not a run is refused before anything is made there
        drop(Directory::to_read(&self.run)?);
        let stored = Stored::within(Directory::to_write(&self.run)?)?;
        let summary = summarise(&stored)?;
        let surfaces = landscape::surfaces(&stored)?;
        publish::write_all(&stored, &publish::exhibits(&stored, &surfaces)?)?;
        let page = publish::page(&stored, &summary, surfaces)?;
        publish::write_all(&stored, &publish::pictures(&page))?;
        for format in FORMATS.iter().filter(|f| self.format.iter().any(|name| name == f.name)) {
            for name in publish::write(&stored, &page, format)? {
                say!("{}", self.run.join(name).display());
            }
        }
        Ok(0)
    }
}
