//! Progress on stderr: a bar with rate and time left on a terminal, a line at intervals elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use flatscape_audit::ledger::Observer;
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::remark;

/// Time between two lines where stderr is not a terminal.
const INTERVAL: Duration = Duration::from_secs(15);

/// Shows the progress of an audit.
pub struct Bar {
    shown: Shown,
    quiet: bool,
}

/// How the part under way is shown.
enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Lines),
}

impl Bar {
    /// A bar on a terminal, lines elsewhere; with `quiet` only notes are shown.
    pub fn new(quiet: bool) -> Bar {
        Bar { shown: Shown::Nothing, quiet }
    }

    fn clear(&mut self) {
        if let Shown::Bar(bar) = std::mem::replace(&mut self.shown, Shown::Nothing) {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Bar {
    fn note(&mut self, sentence: &str) {
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(|| remark!("{sentence}")),
            _ => remark!("{sentence}"),
        }
    }

    fn begin(&mut self, what: &str, index: usize, count: usize) {
        self.clear();
        if self.quiet {
            return;
        }
        let title = format!("[{}/{count}] {what}", index + 1);
        if !std::io::stderr().is_terminal() {
            self.shown = Shown::Lines(Lines::new(title, Instant::now()));
            return;
        }
        let bar = ProgressBar::new(1);
        if let Ok(style) = ProgressStyle::with_template("{msg:44!} {bar:30} {pos}/{len} {per_sec} {eta} left") {
            bar.set_style(style);
        }
        bar.set_message(title);
        self.shown = Shown::Bar(bar);
    }

    fn progress(&mut self, done: usize, total: usize) {
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                // the total is not known where it is 0
                bar.set_length(total.max(done) as u64);
                bar.set_position(done as u64);
            }
            Shown::Lines(lines) => {
                if let Some(line) = lines.due(Instant::now(), done, total) {
                    remark!("{line}");
                }
            }
        }
    }

    fn finished(&mut self, what: &str, headlines: &[String]) {
        self.clear();
        if !self.quiet && !headlines.is_empty() {
            remark!("{what}: {}", headlines.join(", "));
        }
    }
}

/// Progress as lines, one for each interval in which there was some.
struct Lines {
    title: String,
    began: Instant,
    said: Instant,
}

impl Lines {
    fn new(title: String, now: Instant) -> Lines {
        Lines { title, began: now, said: now }
    }

    /// The line that is due, with the time left at the rate so far.
    fn due(&mut self, now: Instant, done: usize, total: usize) -> Option<String> {
        if now.duration_since(self.said) < INTERVAL || total > 0 && done >= total {
            return None;
        }
        self.said = now;
        let spent = now.duration_since(self.began).as_secs_f64();
        if total == 0 {
            return Some(format!("{}: {done} evaluations after {spent:.0} s", self.title));
        }
        let left = match done {
            0 => String::new(),
            done => format!(", about {} left", indicatif::HumanDuration(spend(spent * (total - done) as f64 / done as f64))),
        };
        Some(format!("{}: {done} of {total} after {spent:.0} s{left}", self.title))
    }
}

/// Seconds as a duration; an infinite or invalid one (a rate near 0) becomes the longest.
fn spend(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_at_intervals_and_say_what_is_left() {
        let begin = Instant::now();
        let mut lines = Lines::new("[1/3] m: pgd".into(), begin);
        assert_eq!(lines.due(begin + Duration::from_secs(14), 10, 100), None);
        let line = lines.due(begin + Duration::from_secs(20), 20, 100).expect("due");
        assert_eq!(line, "[1/3] m: pgd: 20 of 100 after 20 s, about 80 seconds left");
        assert_eq!(lines.due(begin + Duration::from_secs(30), 30, 100), None);
        assert!(lines.due(begin + Duration::from_secs(35), 0, 100).expect("due").ends_with("0 of 100 after 35 s"));
        assert_eq!(lines.due(begin + Duration::from_secs(99), 100, 100), None);
    }
}
