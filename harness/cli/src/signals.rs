//! Interruptions: the first one lets what is under way finish and says so, the second one ends the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::output::remark;

const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Whether and how the program was asked to stop.
#[derive(Clone, Default)]
pub struct Interruption {
    /// Set by the first signal.
    pub asked: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Interruption {
    /// Listens from now on, and answers the first signal at once with a line on stderr. Where the system refuses, interruptions end
    /// the program as they always do.
    pub fn listen() -> Interruption {
        let interruption = Interruption::listen_quietly();
        if let Ok(mut signals) = Signals::new(SIGNALS) {
            let answer = move || {
                if let Some(signal) = signals.forever().next() {
                    let again = if signal == SIGINT { "a second Ctrl-C" } else { "a second signal" };
                    remark!("finishing the batch under way; {again} stops now");
                }
            };
            // without a thread the first signal is heard all the same, and not answered
            drop(std::thread::Builder::new().spawn(answer));
        }
        interruption
    }

    /// The same without a word: for a worker, whose parent answers.
    pub fn listen_quietly() -> Interruption {
        let interruption = Interruption::default();
        for signal in SIGNALS {
            // In this order: a second signal finds the flag set and exits, the first one sets it.
            let exit = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, interruption.asked.clone());
            let set = signal_hook::flag::register(signal, interruption.asked.clone());
            let which = signal_hook::flag::register_usize(signal, interruption.signal.clone(), signal as usize);
            if exit.is_err() || set.is_err() || which.is_err() {
                remark!("note: signal {signal} cannot be caught here; an interruption ends the program without a partial report");
            }
        }
        // what is computed in other processes is not waited for much longer either
        flatscape_contain::heed(interruption.asked.clone());
        interruption
    }

    /// The exit code of an interrupted run: 130 for an interrupt, 143 for a termination.
    pub fn exit_code(&self) -> u8 {
        (128 + self.signal.load(Ordering::Relaxed)) as u8
    }
}

/// What a panic says: the message, and that it is a fault of this program.
pub fn own_up_to_panics() {
    std::panic::set_hook(Box::new(|info| {
        remark!("{info}\nthis is a fault of flatscape; please report it with the command and the lines above");
    }));
}
