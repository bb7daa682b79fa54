//! What can be said about a model without running it: interface, operators, gradient coverage, hazards. Data for
//! `flatscape inspect`; draws and prints nothing.

use std::collections::BTreeMap;

use flatscape_autodiff::{Coverage, coverage};
use flatscape_graph::{shown, text};
use serde::Serialize;

use crate::gradient::{Request, assemble};
use crate::hazards::{Found, hazards};
use crate::model::{Intake, Interface, Native};
use crate::refusal::Refusal;

/// A model, described.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// The name in its card, or the stem of its file.
    pub name: String,
    /// Its path, or that it was shipped.
    pub source: String,
    /// SHA-256 of the model file.
    pub sha256: String,
    /// The program that wrote the file.
    pub producer: String,
    /// Opset of the file.
    pub opset: i64,
    /// Names and types of inputs and outputs.
    pub interface: Interface,
    /// Name of the output that leads to the logits.
    pub output: String,
    /// The operator that was cut off behind the logits.
    pub cut: Option<String>,
    /// How many logits.
    pub classes: usize,
    /// Names of the classes, from the card.
    pub class_names: Vec<String>,
    /// The extent that the file gives the batch; absent where it is free.
    pub fixed_batch: Option<usize>,
    /// Whether a fixed batch could be rewritten to be free (not yet tried by running).
    pub batch_can_be_free: bool,
    /// Preprocessing from the card or from metadata, as on the command line; empty where nothing is stated.
    pub preprocessing: String,
    /// How many numbers the weights have.
    pub parameters: usize,
    /// Operators of the file with their counts.
    pub operators: BTreeMap<String, usize>,
    /// The nodes between input and logits.
    pub gradient: GradientCoverage,
    /// What may make a gradient useless or a number mean something else, found by reading.
    pub hazards: Vec<Found>,
    /// What was done to the file, as sentences.
    pub facts: Vec<String>,
}

/// Everything that a file shows: as often as it has outputs between which only the data, or the user, can decide.
///
/// # Errors
/// As for [`Native::load`].
pub fn inspect(source: &str, stated: &Intake) -> Result<Vec<(Native, Inspection)>, Refusal> {
    let refused = match Native::load(source, stated) {
        Ok(native) => {
            let inspection = Inspection::of(&native);
            return Ok(vec![(native, inspection)]);
        }
        Err(refused) if refused.id() == "U059" && stated.output.is_none() => refused,
        Err(refused) => return Err(refused),
    };
    let outputs = Native::outputs(source, stated)?;
    let able: Vec<(&String, usize)> =
        outputs.iter().filter_map(|(name, found)| found.as_ref().ok().map(|classes| (name, *classes))).collect();
    let list = able.iter().map(|(name, classes)| format!("{} ({classes} classes)", shown(name))).collect::<Vec<_>>().join(", ");
    let others = outputs.iter().filter_map(|(_, found)| found.as_ref().err().cloned());
    let others: Vec<String> = others.collect();
    let mut all = Vec::new();
    for (name, _) in &able {
        let native = Native::load(source, &Intake { output: Some((*name).clone()), ..stated.clone() })?;
        let mut inspection = Inspection::of(&native);
        inspection.facts.push(format!(
            "{} of its outputs may hold scores: {list}; audit takes the one that has as many classes as the data names, and asks for \
             --output NAME where that leaves several",
            able.len()
        ));
        inspection.facts.extend(others.iter().cloned());
        all.push((native, inspection));
    }
    if all.is_empty() { Err(refused) } else { Ok(all) }
}

/// Whether the logits can be differentiated with respect to the input.
#[derive(Clone, Debug, Serialize)]
pub struct GradientCoverage {
    /// Nodes with a rule.
    pub rule: usize,
    /// Nodes whose derivative is zero.
    pub flat: usize,
    /// Nodes that must not be differentiated.
    pub never: usize,
    /// Nodes that the table does not know.
    pub unknown: usize,
    /// Per verdict and operator, e.g. `("rule", "Conv", 3)`.
    pub operators: Vec<(String, String, usize)>,
    /// Whether some way from input to logits carries a derivative.
    pub connected: bool,
    /// Why the gradient cannot be built.
    pub refused: Option<String>,
}

impl Inspection {
    /// Describes a model.
    pub fn of(native: &Native) -> Inspection {
        let covered =
            native.graph.inputs().first().zip(native.graph.outputs().first()).map(|(&x, z)| coverage(&native.graph, x, z.value));
        let floats = native.graph.values().filter_map(|(_, v)| v.constant.as_deref()).filter(|t| t.dtype().is_float());
        Inspection {
            name: native.name.clone(),
            source: native.source.clone(),
            sha256: native.sha256.clone(),
            producer: native.producer.clone(),
            opset: native.opset,
            interface: native.interface.clone(),
            output: native.output.clone(),
            cut: native.cut.clone(),
            classes: native.classes,
            class_names: native.card.classes.clone(),
            fixed_batch: native.fixed_batch,
            batch_can_be_free: native.any_batch().is_ok(),
            preprocessing: native.card.preprocessing.text(),
            parameters: floats.map(|t| t.len()).sum(),
            operators: native.operators.clone(),
            hazards: hazards(native.any_batch().unwrap_or(&native.graph), None),
            gradient: GradientCoverage::of(covered.as_ref(), &native.name),
            facts: native.facts.clone(),
        }
    }
}

/// The gradient of cross-entropy as a graph in the textual form of ONNX.
///
/// # Errors
/// As for [`assemble`].
pub fn gradient_text(native: &Native) -> Result<String, Refusal> {
    assemble(native, &Request::parse("ce", "input", 1)?).map(|g| text::print(&g.graph))
}

/// The form of every convolution of the gradient of the cross-entropy, for each engine on this processor, a line for each.
///
/// # Errors
/// As for [`gradient_text`].
pub fn lowering_text(native: &Native) -> Result<String, Refusal> {
    let gradient = assemble(native, &Request::parse("ce", "input", 1)?)?;
    let lines = |engine: &str| -> String {
        flatscape_engine::forms(&gradient.graph, engine).iter().map(|line| format!("  {engine:<6} {line}\n")).collect()
    };
    Ok(flatscape_engine::ENGINES.iter().map(|row| lines(row.name)).collect())
}

impl GradientCoverage {
    fn of(covered: Option<&Coverage>, model: &str) -> GradientCoverage {
        let count = |word: &str| covered.map_or(0, |c| c.count(word));
        let operators = covered.map(Coverage::counts).unwrap_or_default();
        GradientCoverage {
            rule: count("rule"),
            flat: count("flat"),
            never: count("never"),
            unknown: count("unknown"),
            operators: operators.into_iter().map(|((verdict, op), n)| (verdict.word().to_owned(), op.to_string(), n)).collect(),
            connected: covered.is_some_and(|c| c.connected),
            refused: covered.and_then(Coverage::refused).map(|e| e.clone().in_model(model).to_string()),
        }
    }
}
