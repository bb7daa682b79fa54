//! The facts of a run: written before the first job is computed, read by everything that is made from a run directory.

use std::collections::BTreeSet;

use flatscape_engine::EngineInfo;
use flatscape_host::Kind;
use flatscape_intake::data;
use flatscape_intake::hazards::Found;
use flatscape_intake::model::{JudgedBy, Model, ModelRequest, Pixels};
use flatscape_intake::refusal::Refusal;
use flatscape_intake::remedies;
use flatscape_measure::prepared::Settings;
use flatscape_measure::request::Request;
use flatscape_measure::threats::ThreatModel;
use flatscape_measure::verify::DRAWS;
use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::job::Source;
use crate::landscape::Landscapes;

/// The version of the run directory. A directory of another version is refused.
pub const FORMAT: u32 = 3;

/// The content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the directory ([`FORMAT`]).
    pub format: u32,
    /// Version of the program.
    pub flatscape: String,
    /// The command as typed.
    pub command: String,
    /// Every option that is not a field of its own, as the command line gave it.
    pub options: serde_json::Value,
    /// Seed and batch size, which every job shares.
    #[serde(flatten)]
    pub settings: Settings,
    /// Samples per job.
    pub shard_size: usize,
    /// Worker processes; 1 computes in the process of the audit.
    pub workers: usize,
    /// How random numbers are keyed.
    pub random_numbers: String,
    /// The engine that runs the graphs.
    pub engine: EngineInfo,
    /// Whether plugin code runs in the process of the program, for debugging.
    pub plugins_in_process: bool,
    /// What kept the processes of engine and plugins in; absent in runs of programs that did not record it.
    #[serde(default)]
    pub containment: Option<Containment>,
    /// The labelled images.
    pub data: DataFacts,
    /// The models that are audited, in the order of the report.
    pub models: Vec<ModelFacts>,
    /// The models that were refused.
    pub refused: Vec<RefusedModel>,
    /// Norms and radii.
    pub threats: Vec<ThreatFacts>,
    /// The attacks, each under every threat model that it serves.
    pub attacks: Vec<Component>,
    /// The metrics, at the first threat model, or the first that the attack serves at whose points they look.
    pub metrics: Vec<Component>,
    /// The surfaces.
    pub landscapes: Option<Landscapes>,
    /// Whether the run is about surfaces alone.
    pub only_landscapes: bool,
    /// Conditions on the results, as typed.
    pub requirements: Vec<String>,
    /// Claimed accuracies of every model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
    /// Whether attacks are run on planted adversarial examples, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub canaries: bool,
    /// Whether margins are bounded from below.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bounds: bool,
    /// Models that examples are transferred from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// How intervals are computed.
    pub intervals: String,
}

/// What kept the processes of engine and plugins in: `Landlock 7 and seccomp`, or `none`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containment {
    /// The process of the engine; absent where it ran in the process of the audit.
    pub engine: Option<String>,
    /// The processes of plugins.
    pub plugins: String,
}

/// The labelled images of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataFacts {
    /// The request that gives this data alone.
    pub request: data::Request,
    /// Name.
    pub name: String,
    /// `test` or `train`.
    pub split: String,
    /// Number of images.
    pub n: usize,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// SHA-256 of the split as read.
    pub sha256: String,
    /// The files and the SHA-256 of each.
    pub files: Vec<(String, String)>,
    /// Where it came from, in words.
    pub source: String,
    /// What is done to the images first, in words.
    pub preparation: Option<String>,
    /// What a reader should know, in sentences.
    pub notes: Vec<String>,
}

/// A model as rows and pages speak of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// The request that gives this model alone.
    pub request: ModelRequest,
    /// Display name.
    pub name: String,
    /// Its path, or that it was shipped.
    pub source: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Number of classes.
    pub classes: usize,
    /// Names of the classes; empty where nothing names them.
    pub class_names: Vec<String>,
    /// How pixels become its input, as flags.
    pub preprocessing: String,
    /// The same as numbers.
    pub pixels: Pixels,
    /// Whether it takes integers: the verdict is then about points stored as 8-bit pixels.
    pub takes_integers: bool,
    /// Who says what it answers when a point is judged.
    #[serde(default)]
    pub judged_by: JudgedBy,
    /// What was done to the file, as sentences.
    pub facts: Vec<String>,
    /// What was read off its graph.
    pub hazards: Vec<Found>,
    /// What requested remedies changed, as sentences.
    pub remedies: Vec<String>,
    /// Whether attacks ascend the margin instead of cross-entropy.
    pub margin: bool,
    /// The remedies through which attacks may see it, `via=NAME`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<String>,
    /// How far logits of images alone and together differ, where that is more than rounding.
    pub batch_difference: Option<f64>,
    /// How many keyed draws judge a point, where the model draws at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draws: Option<u32>,
    /// How far two runs of the same images differ, where they do.
    pub repeat_difference: Option<f64>,
    /// How far logits differ where images come in another order, where that is more than rounding.
    pub order_difference: Option<f64>,
}

/// A model that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedModel {
    /// Display name.
    pub name: String,
    /// SHA-256 of the file; empty where it could not be read.
    pub sha256: String,
    /// Id of the refusal, e.g. `M031`.
    pub id: String,
    /// The sentence.
    pub why: String,
}

/// A threat model as it was written and as it is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThreatFacts {
    /// As written, e.g. `linf:8/255`.
    pub written: String,
    /// The norm.
    pub norm: String,
    /// Radius in pixel units.
    pub eps: f64,
    /// Smallest pixel.
    pub lo: f32,
    /// Largest pixel.
    pub hi: f32,
    /// The distance up to which a point counts as inside.
    pub tolerated: f64,
}

/// An attack or a metric of the plan, and the plugin that offers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Component {
    /// As the user requested it.
    pub request: Request,
    /// How tables and columns call it: the id, and the arguments that tell it apart.
    pub label: String,
    /// The arguments as written.
    pub written: String,
    /// Every argument, defaults included, in declared order.
    pub complete: String,
    /// `attack` or `metric`.
    pub kind: String,
    /// Whether it looks for the smallest perturbation: one run then answers for every radius.
    pub minimal: bool,
    /// The threat models (as written) that it serves; empty for a metric.
    pub serves: Vec<String>,
    /// Whether it steps on the gradient of cross-entropy itself, which is 0 in float32 where the model is sure: it brings no
    /// objective and reads `grad`, or it keeps its control flow to itself. One that reads `ascent` does not.
    pub reads_grad: bool,
    /// Number of steps of its program; absent where it keeps its control flow to itself.
    pub program_steps: Option<u32>,
    /// Number of restarts of its program, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_restarts: Option<u32>,
    /// Whether it says something about all samples together, after the others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reduces: bool,
    /// Whether it looks at the loss around the weights, with these arguments.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub weighs: bool,
    /// The argument `alpha`, in pixel units: by convention the length of a step.
    pub step_length: Option<f64>,
    /// Whether it is an escalation: an attack of a profile that runs only on models whose gradient is masked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub escalation: bool,
    /// The plugin.
    pub plugin: PluginFacts,
}

/// A plugin file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginFacts {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The file's name, without its folder.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: String,
}

impl Manifest {
    /// Reads `manifest.json`.
    ///
    /// # Errors
    /// `R098`: not a manifest of this version.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, Refusal> {
        #[derive(Deserialize)]
        struct Version {
            format: Option<u32>,
            flatscape: Option<String>,
        }
        let not_one = |why: String| {
            Refusal::state(98, format!("manifest.json is not the manifest of a run: {why}"))
                .help("name a run directory of flatscape")
        };
        let version: Version = serde_json::from_slice(bytes).map_err(|e| not_one(e.to_string()))?;
        if version.format != Some(FORMAT) {
            let Some(by) = version.flatscape else { return Err(not_one("it has no version".to_owned())) };
            let format = version.format.unwrap_or(1);
            let what = format!("the run was written by flatscape {by} in format {format}; this version reads format {FORMAT}");
            return Err(Refusal::state(98, what).help("read it with the version that wrote it, or repeat the audit"));
        }
        serde_json::from_slice(bytes).map_err(|e| not_one(e.to_string()))
    }

    /// The bytes of `manifest.json`.
    ///
    /// # Errors
    /// `O102`: it cannot be written as JSON.
    pub fn bytes(&self) -> Result<Vec<u8>, Refusal> {
        pretty(self)
    }

    /// The threat model whose radius metrics, certificates and landscapes take.
    ///
    /// # Errors
    /// `R098`: there is none, or it cannot be read.
    pub fn first_threat(&self) -> Result<ThreatModel, Refusal> {
        let first = self.threats.first().ok_or_else(|| Refusal::state(98, "the manifest names no threat model"))?;
        first.model()
    }

    /// How files call a model: its position and the beginning of its hash.
    pub fn stem(&self, model: usize) -> String {
        let sha: String = self.models[model].sha256.chars().take(8).collect();
        format!("m{:04}-{sha}", model + 1)
    }

    /// The names of the fields in which another manifest asks for other results; empty if the two runs are the same.
    pub fn differences(&self, other: &Manifest) -> Vec<String> {
        /// Fields that change no result: how the command was spelled, and who computes.
        const FREE: &[&str] = &["command", "workers", "requirements", "containment"];
        let fields = |m: &Manifest| -> serde_json::Map<String, serde_json::Value> {
            let mut value = serde_json::to_value(m).ok().and_then(|v| v.as_object().cloned()).unwrap_or_default();
            if let Some(engine) = value.get_mut("engine").and_then(|e| e.as_object_mut()) {
                engine.remove("threads");
            }
            value
        };
        let (a, b) = (fields(self), fields(other));
        // a field with its default may be missing from either manifest
        let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        keys.into_iter().filter(|key| !FREE.contains(&key.as_str()) && a.get(*key) != b.get(*key)).cloned().collect()
    }
}

impl Component {
    /// Every argument, defaults and those of the host included: the column `args`, and what makes two requests the same.
    pub fn whole(&self) -> String {
        let host = Request { arguments: Vec::new(), ..self.request.clone() }.spelled();
        [self.complete.as_str(), &host].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",")
    }

    /// Whether it runs on a model: what it sees of it must exist.
    pub fn applies_to(&self, model: &ModelFacts, sources: &[Source]) -> bool {
        self.request.seen().is_none_or(|via| model.views.iter().any(|view| view == via) || sources.iter().any(|s| s.name == via))
    }
}

impl ThreatFacts {
    /// The facts of a threat model.
    pub fn of(threat: &ThreatModel) -> ThreatFacts {
        ThreatFacts {
            written: threat.text(),
            norm: threat.norm.name.to_owned(),
            eps: threat.eps,
            lo: threat.lo,
            hi: threat.hi,
            tolerated: threat.tolerated(),
        }
    }

    /// Whether radii of the two count the same: of one norm, and in one unit.
    pub fn is_nested_with(&self, other: &ThreatFacts) -> bool {
        let models = self.model().ok().zip(other.model().ok());
        models.is_some_and(|(a, b)| a.is_nested_with(&b))
    }

    /// The threat model again.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn model(&self) -> Result<ThreatModel, Refusal> {
        ThreatModel::parse(&self.written, true)
    }
}

impl ModelFacts {
    /// The facts of a loaded model.
    pub fn of(request: &ModelRequest, model: &Model) -> ModelFacts {
        let beyond = |holds: bool, difference: f64| (!holds).then_some(difference);
        ModelFacts {
            request: request.clone(),
            name: model.name.clone(),
            source: model.source.clone(),
            sha256: model.sha256.clone(),
            classes: model.classes,
            class_names: model.class_names.clone(),
            preprocessing: model.pixels.text(),
            pixels: model.pixels.clone(),
            takes_integers: model.native.integer_pixels.is_some(),
            judged_by: model.judge.facts(),
            facts: model.facts.clone(),
            hazards: model.hazards.clone(),
            remedies: model.remedies.clone(),
            margin: model.remedied.margin,
            views: views(model),
            batch_difference: beyond(model.batch.holds() || !model.steadiness.repeats(), model.batch.difference),
            draws: model.drawn.as_ref().map(|_| DRAWS),
            repeat_difference: beyond(model.steadiness.repeats(), model.steadiness.repeat),
            order_difference: beyond(model.steadiness.keeps_order(), model.steadiness.order),
        }
    }
}

/// The remedies of the gradient that find something to do in a model beyond those that were requested.
fn views(model: &Model) -> Vec<String> {
    let seen = model.remedied.twin.as_ref().unwrap_or(&model.graph);
    remedies::views().filter(|name| remedies::view(seen, name).is_some()).map(str::to_owned).collect()
}

/// The engine as jobs name it.
pub fn engine_name(info: &EngineInfo) -> String {
    let forms = if info.options.contains_key("plain") { ", plain" } else { "" };
    format!("{} {} on {}{forms}", info.name, info.version, info.device)
}

/// What a kind of component is called in the manifest.
pub fn kind_name(kind: Kind) -> &'static str {
    if kind == Kind::Metric { "metric" } else { "attack" }
}

/// JSON for people, ended by a new line.
///
/// # Errors
/// `O102`: it cannot be written as JSON.
pub fn pretty(value: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| Refusal::output(102, e.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}
