//! `flatscape report`: tables and pages of a run, from its directory alone.

use std::path::PathBuf;

use clap::Args;
use flatscape_audit::directory::Directory;
use flatscape_audit::landscape;
use flatscape_audit::publish::{self, FORMATS};
use flatscape_audit::rows::summarise;
use flatscape_audit::stored::Stored;
use flatscape_intake::refusal::Refusal;
use flatscape_raster::Raster;

use crate::failure::Failure;
use crate::output::{remark, say};

/// Write the tables and pages of a run again, from its directory alone.
#[derive(Args, Debug)]
pub struct Report {
    /// The run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// What to write, separated by commas; png: the pictures of landscapes/ as PNG as well
    #[arg(long, value_name = "F,F", default_value = "html,csv", value_delimiter = ',', value_parser = names())]
    format: Vec<String>,
}

/// The word after `--format` that asks for every picture of `landscapes/` as PNG as well.
const PNG: &str = "png";

fn names() -> clap::builder::PossibleValuesParser {
    FORMATS.iter().map(|f| f.name).chain([PNG]).collect::<Vec<_>>().into()
}

impl Report {
    /// Writes the files; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        // a path that is not a run is refused before anything is made there
        drop(Directory::to_read(&self.run)?);
        let stored = Stored::within(Directory::to_write(&self.run)?)?;
        let summary = summarise(&stored)?;
        let surfaces = landscape::surfaces(&stored)?;
        let mut files = publish::exhibits(&stored, &surfaces)?;
        let page = publish::page(&stored, &summary, surfaces)?;
        files.extend(publish::pictures(&page));
        publish::write_all(&stored, &files)?;
        for format in FORMATS.iter().filter(|f| self.format.iter().any(|name| name == f.name)) {
            for name in publish::write(&stored, &page, format)? {
                say!("{}", self.run.join(name).display());
            }
        }
        if self.format.iter().any(|name| name == PNG) {
            self.write_pictures(&stored, &files)?;
        }
        Ok(0)
    }

    fn write_pictures(&self, stored: &Stored, files: &[(String, Vec<u8>)]) -> Result<(), Failure> {
        let raster = Raster::with_fonts_of_the_machine().map_err(|e| Refusal::output(117, e.to_string()))?;
        let pictures = files.iter().filter_map(|(name, svg)| Some((name.strip_suffix(".svg")?, svg)));
        let mut written = 0;
        for (stem, svg) in pictures {
            let (name, svg) = (format!("{stem}.png"), String::from_utf8_lossy(svg));
            let png = raster.png(&svg).map_err(|e| Refusal::output(94, format!("{name}: {e}")))?;
            stored.directory.write(&name, &png)?;
            say!("{}", self.run.join(name).display());
            written += 1;
        }
        if written == 0 {
            remark!("The run has no pictures beside its page: add --landscapes K to the audit.");
        }
        Ok(())
    }
}
