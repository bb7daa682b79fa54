//! The `flatscape` command: reads the command line, shows progress, prints results, chooses the exit code. It computes nothing.

mod commands;
mod failure;
mod options;
mod progress;
mod signals;
mod table;

use std::process::ExitCode;

use clap::Parser;

use commands::Command;

/// Can this classifier be trusted when somebody pushes on its inputs, and what does the ground around its predictions look like?
#[derive(Parser)]
#[command(name = "flatscape", version, max_term_width = 120)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    signals::let_pipes_close();
    let line = CommandLine::parse();
    match line.command.run() {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.code)
        }
    }
}
