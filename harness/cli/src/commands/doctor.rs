//! `flatscape doctor`: what is used and why, what is missing, in one sentence each.

use clap::Args;
use flatscape_contain::sandbox::{Sealed, support};
use flatscape_engine::{Choice, Device, Settings, open, runtime};
use flatscape_graph::{Attributes, DType, Dim, Graph, Tensor, ValueType};
use flatscape_host::Plugins;

use crate::failure::Failure;
use crate::options::{PluginOptions, engine_process, sandbox};
use crate::output::say;

/// Report which engine, library and plugins are used and why, and what is missing.
#[derive(Args, Debug)]
pub struct Doctor {
    /// Also require the CUDA provider
    #[arg(long)]
    cuda: bool,
    #[command(flatten)]
    plugins: PluginOptions,
}

impl Doctor {
    /// Prints what is used; returns 6 if something that the user requested does not work.
    pub fn run(self) -> Result<u8, Failure> {
        let device = if self.cuda { Device::Cuda(0) } else { Device::Cpu };
        let settings = Settings { device, process: engine_process(), ..Settings::default() };
        let status = runtime::status(&settings);
        let mut healthy = status.problem.is_none();
        say!("flatscape {}", env!("CARGO_PKG_VERSION"));
        say!("{}", status.verdict());
        places(&status).iter().for_each(|line| say!("{line}"));
        let engines = if self.cuda { vec![Choice::Ort] } else { vec![Choice::Ort, Choice::Tract] };
        for choice in engines {
            let name = if choice == Choice::Ort { "ONNX Runtime" } else { "tract" };
            match works(&Settings { choice, ..settings.clone() }) {
                Ok(said) => say!("{name} works: {said}"),
                Err(why) => {
                    // Without an ONNX Runtime library the embedded engine is used; that is not a fault.
                    let missing = choice == Choice::Ort && status.used.is_none() && status.problem.is_none() && !self.cuda;
                    healthy &= missing;
                    say!("{name} is not available: {why}");
                }
            }
        }
        let plugins = self.plugins.load()?;
        match plugins.components().len() {
            0 => {
                healthy = false;
                say!(
                    "no plugin was found, so there is no attack, metric, trainer or optimizer: name one with --plugin FILE, or see plugins/README.md"
                );
            }
            count => {
                let files: Vec<String> = plugins.plugins().iter().map(|p| p.path.display().to_string()).collect();
                say!("{count} components in {}", files.join(", "));
            }
        }
        say!("{}", kept_in(sandbox().then(support), &plugins));
        say!("{}", if healthy { "all is well" } else { "something is missing, see above" });
        Ok(if healthy { 0 } else { 6 })
    }
}

/// What keeps the processes of engines and plugins in, and what this kernel does not have for that.
fn kept_in(offered: Option<Sealed>, plugins: &Plugins) -> String {
    let Some(offered) = offered else {
        return "processes of engines and plugins are not kept in: --no-sandbox".to_owned();
    };
    let missing = match (offered.landlock, offered.seccomp) {
        (0, true) => "; this kernel has no Landlock, so they read and write what you can",
        (0, false) => "; this kernel has neither Landlock nor seccomp, so they do what you can",
        (1..6, true) => "; Landlock is older than 6, so signals are kept in by seccomp alone",
        (_, false) => "; this kernel has no seccomp, so they start programs and send signals as you can",
        _ => "",
    };
    let in_process = if plugins.in_process() { "; plugins run in this process: --in-process-plugins" } else { "" };
    format!("processes of engines and plugins are kept in by {offered}{missing}{in_process}")
}

/// Compiles and runs y = x + x and checks the result.
fn works(settings: &Settings) -> Result<String, String> {
    let engine = open(settings).map_err(|e| e.to_string())?;
    let mut graph = Graph::new("doctor");
    let x = graph.add_input("x", ValueType::new(DType::F32, vec![Dim::symbol("N")]));
    let y = graph.node("Add", &[x, x], Attributes::none());
    graph.add_output("y", y);
    let executable = engine.compile(&graph, &flatscape_engine::CompileOptions::default()).map_err(|e| e.to_string())?;
    let asked = Tensor::new(&[2], vec![1.5f32, -2.0]).ok_or("no tensor of two numbers can be made")?;
    let given =
        executable.upload(&asked).and_then(|x| executable.run(&[&x])).and_then(|y| y[0].host()).map_err(|e| e.to_string())?;
    if given.to_f64() != [3.0, -4.0] {
        return Err(format!("it says 2 · (1.5, −2) = {:?}", given.to_f64()));
    }
    let info = engine.info();
    Ok(format!("{} {} on {}, {} threads", info.name, info.version, info.device, info.threads))
}

/// Every place that was searched, one line each.
pub(super) fn places(status: &runtime::Status) -> Vec<String> {
    status.places.iter().map(|place| format!("  {place}")).collect()
}
