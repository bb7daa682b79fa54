//! `flatscape verify`: judges a finished run again, without any attack code.

use std::path::PathBuf;

use clap::Args;
use flatscape_audit::stored::Stored;
use flatscape_audit::verify::{Failure as Fault, Verification, verify};

use crate::failure::Failure;
use crate::options::EngineOptions;
use crate::output::say;

/// Check every stored adversarial example, every hash and every table of a run again, without any attack code.
#[derive(Args, Debug)]
pub struct Verify {
    /// The run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    engine: EngineOptions,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// How many samples a line names.
const NAMED: usize = 10;

impl Verify {
    /// Verifies the run; returns 1 if something does not hold.
    pub fn run(self) -> Result<u8, Failure> {
        let stored = Stored::open(&self.run)?;
        let engine = self.engine.open()?;
        let found = verify(&stored, engine.as_ref())?;
        if self.json {
            say!("{}", serde_json::to_string_pretty(&found).map_err(Failure::output)?);
        } else {
            tell(&found);
        }
        Ok(u8::from(!found.holds()))
    }
}

fn tell(found: &Verification) {
    for check in &found.witnesses {
        let (hold, n) = (check.hold, check.n);
        say!(
            "{}: {} under {}: {hold} of {n} adversarial examples hold ({})",
            check.model,
            check.attack,
            check.threat,
            check.file
        );
    }
    found.notes.iter().for_each(|note| say!("note: {note}"));
    for Fault { what, samples } in &found.failures {
        let shown: Vec<String> = samples.iter().take(NAMED).map(i64::to_string).collect();
        let more = samples.len().saturating_sub(NAMED);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let about = if shown.is_empty() { String::new() } else { format!(": samples {}{rest}", shown.join(", ")) };
        say!("DOES NOT HOLD: {what}{about}");
    }
    match found.failures.len() {
        0 => say!("everything that was checked holds, on {}", found.engine),
        n => say!("{n} things do not hold, on {}", found.engine),
    }
}
