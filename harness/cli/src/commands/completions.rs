//! `flatscape completions` and `flatscape man`: what a shell and `man` need to know of the commands, from the same table as the
//! help.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::CommandLine;
use crate::failure::Failure;
use crate::output::say;

/// Print the completions of a shell.
#[derive(Args, Debug)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    /// Prints the script; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut CommandLine::command(), "flatscape", &mut script);
        say!("{}", String::from_utf8_lossy(&script).trim_end());
        Ok(0)
    }
}

/// Print the man page, or write one page per command.
#[derive(Args, Debug)]
pub struct Man {
    /// The folder in which flatscape.1 and one page per command are written; the main page is printed if absent
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    /// Prints or writes the pages; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        let mut command = CommandLine::command();
        command.build();
        let Some(folder) = self.out else {
            say!("{}", page(command)?.trim_end());
            return Ok(0);
        };
        let failed = |e: std::io::Error| Failure::output(format!("{}: {e}", flatscape_intake::files::show(&folder)));
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let parts: Vec<clap::Command> = command.get_subcommands().filter(|c| !c.is_hide_set()).cloned().collect();
        std::fs::write(folder.join("flatscape.1"), page(command)?).map_err(failed)?;
        for part in parts.into_iter().filter(|part| part.get_name() != "help") {
            let name = format!("flatscape-{}", part.get_name());
            std::fs::write(folder.join(format!("{name}.1")), page(part)?).map_err(failed)?;
        }
        Ok(0)
    }
}

fn page(command: clap::Command) -> Result<String, Failure> {
    let mut text = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut text);
    rendered.map_err(|e| Failure::output(format!("the man page cannot be written: {e}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
