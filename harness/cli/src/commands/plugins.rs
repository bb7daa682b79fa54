//! `flatscape plugins`: the attacks, metrics, trainers and optimizers, and help for plugin authors.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use flatscape_graph::{onnx, text};
use flatscape_host::{Component, Iterates, Kind, Language, Param, Plugins, Task, Template, check, new_plugin};
use flatscape_intake::refusal::{Refusal, escape};
use flatscape_measure::dry_run;
use flatscape_measure::request::Request;

use crate::failure::Failure;
use crate::options::{EngineOptions, PluginOptions, plugin_worker};
use crate::output::{remark, say};

/// Attacks, metrics, trainers, optimizers: list, show, check, new, emit.
#[derive(Args, Debug)]
pub struct PluginsCommand {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    plugins: PluginOptions,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Every component that can be used, and the file it comes from
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One component: parameters, source, plugin
    Show {
        /// The component, for example pgd
        name: String,
    },
    /// Load a plugin, build its programs, run them and report violations
    Check {
        /// The plugin file
        file: PathBuf,
        #[command(flatten)]
        engine: EngineOptions,
    },
    /// Write a template that builds
    New {
        /// Its name, lower case with hyphens
        name: String,
        /// rust or c
        #[arg(long, default_value = "rust")]
        lang: String,
        /// What it holds: an attack, a metric or a trainer
        #[arg(long, default_value = "attack", value_name = "KIND")]
        kind: String,
        /// The folder in which the new one is made
        #[arg(long, default_value = ".", value_name = "DIR")]
        into: PathBuf,
    },
    /// Write the program of a component as text and ONNX files
    Emit {
        /// The component with its arguments, for example pgd:steps=20
        name: String,
        /// The folder for the files
        #[arg(short = 'o', long = "out", value_name = "DIR")]
        out: PathBuf,
        /// The norm for which it is built
        #[arg(long, default_value = "linf")]
        norm: String,
        /// attack, metric, trainer or optimizer, where several of them have the name
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
    },
}

impl PluginsCommand {
    /// Runs the subcommand; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        match &self.action {
            Action::List { json } => list(&self.plugins.load()?, *json),
            Action::Show { name } => show(&self.plugins.load()?, name),
            Action::Check { file, engine } => self.check(file, engine),
            Action::New { name, lang, kind, into } => {
                for file in new_plugin(name, Language::named(lang)?, Template::named(kind)?, into)? {
                    say!("{}", file.display());
                }
                Ok(0)
            }
            Action::Emit { name, out, norm, kind } => emit(&self.plugins.load()?, name, kind.as_deref(), out, norm),
        }
    }

    fn check(&self, file: &Path, engine: &EngineOptions) -> Result<u8, Failure> {
        let mut report = check(file, &plugin_worker()?, self.plugins.insecure_plugin_perms);
        for (name, engine) in engine.all() {
            let engine = match engine {
                Ok(engine) => engine,
                Err(error) => {
                    remark!("note: the programs are not run on {name}: {error}");
                    continue;
                }
            };
            let ran: Vec<_> =
                report.programs.iter().map(|p| (p.component.id.clone(), dry_run::run(engine.as_ref(), p))).collect();
            for (component, result) in ran {
                let (pass, sentence) = match result {
                    Ok(sentence) => (true, sentence),
                    Err(error) => (false, error.to_string()),
                };
                report.add(&format!("runs on {name}"), Some(&component), pass, sentence);
            }
        }
        for item in &report.items {
            let component = item.component.as_ref().map_or(String::new(), |c| format!(" {c}"));
            say!("{} {}{component}: {}", if item.pass { "ok  " } else { "FAIL" }, item.name, item.sentence);
        }
        Ok(if report.passed() { 0 } else { 5 })
    }
}

fn list(plugins: &Plugins, json: bool) -> Result<u8, Failure> {
    if json {
        say!("{}", serde_json::to_string_pretty(plugins.components()).map_err(Failure::output)?);
        return Ok(0);
    }
    let width = plugins.components().iter().map(|c| c.name.len()).max().unwrap_or(0);
    for component in plugins.components() {
        say!("{:width$}  {:9}  {}", component.name, component.kind.name(), escape(&component.summary));
    }
    for plugin in plugins.plugins() {
        say!("from {} {} in {}", plugin.id, plugin.version, plugin.path.display());
    }
    if plugins.components().is_empty() {
        say!(
            "no plugin was found, so there is no attack, metric, trainer or optimizer; name one with --plugin FILE, or see plugins/README.md"
        );
    }
    Ok(0)
}

/// The components of that name, at least one.
fn named<'p>(plugins: &'p Plugins, name: &'p str) -> Result<Vec<&'p Component>, Failure> {
    let named: Vec<&Component> = plugins.named(name).collect();
    if !named.is_empty() {
        return Ok(named);
    }
    // several plugins may offer it, and then each has its name in front
    match plugins.components().iter().find(|c| c.id == name) {
        Some(offered) => Ok(vec![plugins.component(offered.kind, name)?]),
        None => Err(plugins.unknown(name).into()),
    }
}

fn show(plugins: &Plugins, name: &str) -> Result<u8, Failure> {
    for component in named(plugins, name)? {
        describe(component);
    }
    Ok(0)
}

fn describe(component: &Component) {
    say!("{} ({})", component.name, component.kind.name());
    say!("  {}", escape(&component.summary));
    say!("  source   {}", component.source);
    say!("  also     {}", component.qualified());
    say!("  plugin   {} {} {}", component.plugin.id, component.plugin.version, component.plugin.path.display());
    say!("  sha256   {}", component.plugin.sha256);
    if component.iterates == Iterates::Free {
        say!("  iterates free: only the final point is checked");
    }
    for param in &component.params {
        say!("  {}", parameter(param));
    }
}

fn parameter(param: &Param) -> String {
    let choices = if param.choices.is_empty() { String::new() } else { format!(" ({})", param.choices.join(" | ")) };
    let range = param.range.map_or(String::new(), |(low, high)| format!(" [{low}, {high}]"));
    format!("{}={}  {}{choices}{range}  {}", param.name, param.default, param.ty.name(), escape(&param.help))
}

/// The program as it is for a small image of ten classes: its graphs as ONNX and as text.
fn emit(plugins: &Plugins, written: &str, kind: Option<&str>, out: &Path, norm: &str) -> Result<u8, Failure> {
    let request = Request::parse(written)?;
    let mut offered = named(plugins, &request.id)?;
    offered.retain(|c| kind.is_none_or(|kind| c.kind.name() == kind));
    let [component] = offered[..] else {
        let kinds: Vec<&str> = named(plugins, &request.id)?.iter().map(|c| c.kind.name()).collect();
        let what =
            format!("{} is of kind {}, and --kind says {}", escape(&request.id), kinds.join(" and "), kind.unwrap_or("nothing"));
        return Err(Refusal::usage(91, what).help(format!("add --kind {}", kinds.join(" or --kind "))).into());
    };
    let program =
        plugins.build(component, &component.arguments(&request.arguments)?, &Task::new([3, 32, 32], 10, norm, 8.0 / 255.0))?;
    let failed = |path: &Path, e: std::io::Error| {
        Failure::from(Refusal::output(94, format!("{} could not be written: {e}", path.display())))
    };
    std::fs::create_dir_all(out).map_err(|e| failed(out, e))?;
    for (place, (role, graph)) in program.graphs.iter().enumerate() {
        for (ending, bytes) in [("onnx", onnx::write(graph)), ("txt", text::print_whole(graph).into_bytes())] {
            let path = out.join(format!("{place}-{}.{ending}", role.name()));
            std::fs::write(&path, bytes).map_err(|e| failed(&path, e))?;
            say!("{}", path.display());
        }
    }
    say!("steps {}, restarts {}, probes {}, sha256 {}", program.steps, program.restarts, program.probes, program.sha256);
    if component.kind == Kind::Trainer {
        let attack = program.attack.as_deref().unwrap_or("none");
        say!(
            "replays {}, data {}, inner attack {}, batch normalisation under attack {}",
            program.replays,
            program.data.name(),
            escape(attack),
            program.bn_attack.name()
        );
    }
    Ok(0)
}
