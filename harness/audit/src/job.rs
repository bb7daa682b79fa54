//! The unit of work: one component on one model over one range of samples. A job is a file, written before the first one is
//! computed; computing it needs that file and the files it names, nothing else. Who computes which job is decided elsewhere.

use flatscape_intake::data;
use flatscape_intake::files::sha256;
use flatscape_intake::model::ModelRequest;
use flatscape_intake::refusal::Refusal;
use flatscape_measure::prepared::Settings;
use flatscape_measure::request::Request;
use serde::{Deserialize, Serialize};

use crate::landscape::LandscapeRequest;
use crate::manifest::{PluginFacts, pretty};

/// Everything needed to compute one result: the content of `jobs/NAME.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The stem of its files: model, component, a hash of what it does, and the range.
    pub name: String,
    /// What is computed.
    pub work: Work,
    /// The model, and the SHA-256 of its file.
    pub model: ModelRequest,
    /// SHA-256 of the model's file.
    pub model_sha256: String,
    /// The labelled images.
    pub data: data::Request,
    /// SHA-256 of the split as read.
    pub data_sha256: String,
    /// Seed and batch size.
    pub settings: Settings,
    /// The engine, by name and version, and its device.
    pub engine: String,
    /// The threat model as written; metrics and landscapes read its radius.
    pub threat: String,
    /// First sample, in canonical order.
    pub start: usize,
    /// One past the last sample.
    pub end: usize,
    /// The plugin that offers the component.
    pub plugin: Option<PluginFacts>,
    /// The model that the attack sees in place of `model`, where examples are transferred from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Jobs whose results this one reads; they come first.
    pub after: Vec<String>,
}

/// A model that an attack sees and differentiates in place of the one that is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// How `via=` calls it.
    pub name: String,
    /// The request that gives this model alone.
    pub model: ModelRequest,
    /// SHA-256 of its file.
    pub sha256: String,
}

/// What a job computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "request")]
pub enum Work {
    /// Whether the gradient is the slope of the loss.
    Certificate,
    /// The graphs that remedies made, as ONNX files.
    Remedies,
    /// Predictions on the clean points.
    Clean,
    /// Preprocessing that would serve the model better, where the clean accuracy (of the jobs in `after`) is poor.
    Suggestions,
    /// What short attacks by other losses than cross-entropy find, on correct images (of the clean jobs in `after`).
    Losses,
    /// Whether an attack finds a planted adversarial example.
    Canary(Request),
    /// Whether an attack without a radius breaks every image, and whether more steps break more (reads clean points and attacks).
    Limits,
    /// Lower bounds on the margins of the images over the ball.
    Bounds,
    /// An attack: on all correct samples, or with `after` on those that none of these jobs broke.
    Attack(Request),
    /// A metric.
    Metric(Request),
    /// What a metric says about all samples together (reads its jobs, in `after`).
    Reduction(Request),
    /// Surfaces around images that all models of the run classify correctly (of the jobs in `after`).
    Landscape(LandscapeRequest),
}

impl Work {
    /// The word for it in file names.
    pub fn word(&self) -> String {
        match self {
            Work::Certificate => "certificate".to_owned(),
            Work::Remedies => "remedies".to_owned(),
            Work::Clean => "clean".to_owned(),
            Work::Suggestions => "suggestions".to_owned(),
            Work::Losses => "losses".to_owned(),
            Work::Bounds => "bounds".to_owned(),
            Work::Limits => "limits".to_owned(),
            Work::Canary(request) => format!("canary-{}", request.id.replace('/', ".")),
            Work::Reduction(request) => format!("reduction-{}", request.id.replace('/', ".")),
            Work::Attack(request) | Work::Metric(request) => request.id.replace('/', "."),
            Work::Landscape(request) => format!("landscape-{}", request.directions.name()),
        }
    }

    /// The component that it runs.
    pub fn component(&self) -> Option<&Request> {
        match self {
            Work::Attack(request) | Work::Metric(request) | Work::Canary(request) | Work::Reduction(request) => Some(request),
            _ => None,
        }
    }
}

impl Job {
    /// The bytes of its file.
    ///
    /// # Errors
    /// `O102`: it cannot be written as JSON.
    pub fn bytes(&self) -> Result<Vec<u8>, Refusal> {
        pretty(self)
    }

    /// SHA-256 of its file: what a result names.
    ///
    /// # Errors
    /// `O102`: it cannot be written as JSON.
    pub fn hash(&self) -> Result<String, Refusal> {
        Ok(sha256(&self.bytes()?))
    }

    /// Reads a job file.
    ///
    /// # Errors
    /// `U102`: not a job file, or its batch size or range is none.
    pub fn parse(bytes: &[u8]) -> Result<Job, Refusal> {
        let not_one = |why: String| {
            Refusal::usage(102, format!("not a job file: {why}")).help("name a file of the folder jobs in a run directory")
        };
        let job: Job = serde_json::from_slice(bytes).map_err(|e| not_one(e.to_string()))?;
        /// As `--batch-size` has it.
        const LARGEST: usize = 65_536;
        if !(1..=LARGEST).contains(&job.settings.batch_size) {
            return Err(not_one(format!("its batch size is {}, not between 1 and {LARGEST}", job.settings.batch_size)));
        }
        if job.start > job.end {
            return Err(not_one(format!("its samples begin at {} and end at {}", job.start, job.end)));
        }
        Ok(job)
    }

    /// Where its result lies in the run directory.
    pub fn result(&self) -> String {
        format!("shards/{}.npz", self.name)
    }

    /// Where the reason lies why it has no result.
    pub fn fault(&self) -> String {
        format!("shards/{}.fault.json", self.name)
    }

    /// What its result answers, without the range: jobs with equal parts make one row.
    pub fn part(&self) -> (&Work, &str, &str) {
        (&self.work, &self.model_sha256, &self.threat)
    }
}

/// Why a job has no result, as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// SHA-256 of the job's file.
    pub job: String,
    /// The refusal.
    pub refusal: Refusal,
}
