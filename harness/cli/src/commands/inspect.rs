//! `flatscape inspect`: what a model file shows without being run.

use clap::Args;
use flatscape_intake::inspect::{Inspection, gradient_text, inspect, lowering_text};
use flatscape_intake::refusal::escape;

use crate::failure::Failure;
use crate::options::ReadingOptions;
use crate::output::say;

/// Inputs, outputs, opset, layout, operators, gradient coverage, hazards of a model.
#[derive(Args, Debug)]
pub struct Inspect {
    /// An ONNX file, or the name of a model that comes with the program
    #[arg(value_name = "MODEL")]
    model: String,
    /// Also print the gradient of the cross-entropy as ONNX text
    #[arg(long)]
    grad: bool,
    /// Also print the forms in which each engine on this processor computes the convolutions of the gradient, for batches of eight
    #[arg(long)]
    lowering: bool,
    #[command(flatten)]
    reading: ReadingOptions,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    /// Prints what the file shows; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        let all = inspect(&self.model, &self.reading.intake()?)?;
        if self.json {
            let found: Vec<&Inspection> = all.iter().map(|(_, found)| found).collect();
            let text = match &found[..] {
                [only] => serde_json::to_string_pretty(only),
                several => serde_json::to_string_pretty(several),
            };
            say!("{}", text.map_err(Failure::output)?);
        }
        for (native, found) in &all {
            if !self.json {
                say!("{}", words(found).trim_end_matches('\n'));
            }
            if self.grad {
                say!("{}", gradient_text(native)?);
            }
            if self.lowering {
                say!("{}", lowering_text(native)?.trim_end_matches('\n'));
            }
        }
        Ok(0)
    }
}

/// The inspection as lines.
fn words(found: &Inspection) -> String {
    let mut lines = vec![format!("{} ({})", escape(&found.name), found.source), format!("  sha256       {}", found.sha256)];
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {name:12} {value}"));
        }
    };
    let producer = if found.producer.is_empty() { "an unnamed program".to_owned() } else { escape(&found.producer) };
    line("written by", format!("{producer}, opset {}", found.opset));
    let ports = |ports: &[(String, String)]| {
        ports.iter().map(|(name, ty)| format!("{} {ty}", escape(name))).collect::<Vec<_>>().join(", ")
    };
    line("inputs", ports(&found.interface.inputs));
    line("outputs", ports(&found.interface.outputs));
    let cut = found.cut.as_ref().map_or(String::new(), |op| format!(" in front of a final {op}"));
    line("logits", format!("{} classes, output {}{cut}", found.classes, escape(&found.output)));
    line("classes", found.class_names.iter().map(|c| escape(c)).collect::<Vec<_>>().join(", "));
    line(
        "batch",
        match (found.fixed_batch, found.batch_can_be_free) {
            (None, _) => "free".into(),
            (Some(n), true) => format!("fixed to {n}; can be made free, to be proved by running"),
            (Some(n), false) => format!("fixed to {n}, and cannot be made free"),
        },
    );
    let stated = if found.preprocessing.is_empty() {
        "none stated (see --scale, --mean, --std, --layout)".into()
    } else {
        found.preprocessing.clone()
    };
    line("preprocessing", stated);
    line("parameters", found.parameters.to_string());
    line("operators", found.operators.iter().map(|(op, n)| format!("{op} {n}")).collect::<Vec<_>>().join(", "));
    let coverage = &found.gradient;
    line(
        "gradient",
        match &coverage.refused {
            Some(why) => escape_lines(why),
            None if !coverage.connected => "no path from the input to the logits lets a gradient through".into(),
            None => format!(
                "every operator on the way is covered: {} with a rule, {} of derivative zero",
                coverage.rule, coverage.flat
            ),
        },
    );
    for hazard in &found.hazards {
        let grave = if hazard.unreliable { " (numbers beside it are not to be trusted)" } else { "" };
        line("hazard", format!("{}: {}{grave}", hazard.code, hazard.cause));
        line("", hazard.consequence.to_owned());
        line("", hazard.remedy.to_owned());
    }
    for fact in &found.facts {
        line("note", fact.clone());
    }
    lines.join("\n") + "\n"
}

fn escape_lines(text: &str) -> String {
    text.lines().collect::<Vec<_>>().join(" ")
}
