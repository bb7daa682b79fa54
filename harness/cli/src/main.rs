//! The `flatscape` command: reads the command line, shows progress, prints results, chooses the exit code. It computes nothing.

mod commands;
mod failure;
mod help;
mod options;
mod output;
mod progress;
mod signals;
mod table;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use flatscape_contain::OrEnd;

use commands::Command;
use failure::Failure;
use output::{remark, say};

/// Passes over a graph make and drop many small things: they take 1.6 times as long with the allocator of glibc (100,000 nodes,
/// `graph-passes`).
#[global_allocator]
static ALLOCATOR: OrEnd<mimalloc::MiMalloc> = OrEnd {
    inner: mimalloc::MiMalloc,
    sentence: "error[O116]: memory ran out\n  help: use a smaller --batch-size, fewer images (-n N) or fewer --threads; what was finished is kept\n",
    code: 7,
};

/// Can this classifier be trusted when its inputs are perturbed, and how flat is the landscape around its predictions?
#[derive(Parser)]
#[command(name = "flatscape", version, max_term_width = 120)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    /// Let the processes of engines and plugins read, write and start what you can; recorded in the manifest
    #[arg(long, global = true)]
    no_sandbox: bool,
}

fn main() -> ExitCode {
    signals::own_up_to_panics();
    flatscape_host::builtin::link(flatscape_standard::flatscape_plugin, "flatscape_standard");
    let ended = match CommandLine::try_parse() {
        Ok(CommandLine { command: Some(command), no_sandbox }) => {
            if no_sandbox {
                options::no_sandbox();
            }
            command.run()
        }
        Ok(CommandLine { command: None, .. }) => {
            say!("{}", commands::FIRST_PAGE);
            Ok(0)
        }
        // help and version are not failures
        Err(said) if !said.use_stderr() => {
            let text = said.render();
            if std::io::stdout().is_terminal() {
                say!("{}", text.ansi().to_string().trim_end())
            } else {
                say!("{}", text.to_string().trim_end())
            }
            Ok(0)
        }
        Err(said) => Err(Failure::from(said)),
    };
    let code = ended.unwrap_or_else(|failure| {
        if std::env::args().any(|word| word == "--json") {
            say!("{}", failure.json());
        }
        remark!("{failure}");
        failure.code
    });
    ExitCode::from(output::exit_code(code))
}
