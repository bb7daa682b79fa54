//! Progress on stderr: a bar with rate and time left on a terminal, plain lines elsewhere.

use std::io::IsTerminal;

use flatscape_audit::ledger::Observer;
use indicatif::{ProgressBar, ProgressStyle};

/// Shows how an audit goes.
pub struct Bar {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Bar {
    /// A bar on a terminal; with `quiet` only notes are shown.
    pub fn new(quiet: bool) -> Bar {
        Bar { bar: None, quiet }
    }
}

impl Observer for Bar {
    fn note(&mut self, sentence: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{sentence}")),
            None => eprintln!("{sentence}"),
        }
    }

    fn begin(&mut self, what: &str, index: usize, count: usize) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let title = format!("[{}/{count}] {what}", index + 1);
        if self.quiet {
            return;
        }
        if !std::io::stderr().is_terminal() {
            return;
        }
        let bar = ProgressBar::new(1);
        if let Ok(style) = ProgressStyle::with_template("{msg:44!} {bar:30} {pos}/{len} {per_sec} {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(title);
        self.bar = Some(bar);
    }

    fn progress(&mut self, done: usize, total: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        }
    }

    fn finished(&mut self, what: &str, headlines: &[String]) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if !self.quiet && !headlines.is_empty() {
            eprintln!("{what}: {}", headlines.join(", "));
        }
    }
}
