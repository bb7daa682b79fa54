//! Interruptions: the first one lets the shard under way finish, the second one ends the program at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Whether and how the program was asked to stop.
#[derive(Clone, Default)]
pub struct Interruption {
    /// Set by the first signal.
    pub asked: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Interruption {
    /// Listens from now on. Where the system refuses, interruptions end the program as they always do.
    pub fn listen() -> Interruption {
        let interruption = Interruption::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: a second signal finds the flag set and exits, the first one sets it.
            let exit = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, interruption.asked.clone());
            let set = signal_hook::flag::register(signal, interruption.asked.clone());
            let which = signal_hook::flag::register_usize(signal, interruption.signal.clone(), signal as usize);
            if exit.is_err() || set.is_err() || which.is_err() {
                eprintln!(
                    "note: signal {signal} cannot be caught here; an interruption ends the program without a partial report"
                );
            }
        }
        interruption
    }

    /// The exit code of an interrupted run: 130 for an interrupt, 143 for a termination.
    pub fn exit_code(&self) -> u8 {
        (128 + self.signal.load(Ordering::Relaxed)) as u8
    }
}

/// A reader that stops reading (`| head`) is not an error: further output is lost, the run continues.
pub fn let_pipes_close() {
    std::panic::set_hook(Box::new(|info| {
        let message = info.to_string();
        if message.contains("Broken pipe") {
            std::process::exit(0);
        }
        eprintln!("{message}");
        eprintln!("this is a fault of flatscape; please report it with the command and the lines above");
    }));
}
