//! `flatscape audit`: attack, verify, measure, report.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;
use flatscape_audit::audit::{Ending, Execution, run};
use flatscape_audit::bounds::Dual;
use flatscape_audit::claim::Claim;
use flatscape_audit::landscape::Landscapes;
use flatscape_audit::plan::Plan;
use flatscape_audit::profiles::{self, Profile};
use flatscape_audit::publish;
use flatscape_audit::requirement::Requirement;
use flatscape_intake::card::Preprocessing;
use flatscape_intake::data::classes::By;
use flatscape_intake::drawn::Expectation;
use flatscape_intake::model::{GivenRequest, Intake, ModelRequest};
use flatscape_intake::refusal::{Refusal, escape};
use flatscape_intake::surrogates::Surrogate;
use flatscape_measure::request::Request;
use flatscape_measure::threats::ThreatModel;
use serde_json::json;

use crate::failure::Failure;
use crate::options::{DataOptions, EngineOptions, IntakeOptions, PluginOptions};
use crate::output::{remark, say};
use crate::progress::Bar;
use crate::signals::Interruption;
use crate::table;

/// Attack models, check every result, measure flatness, write a report.
#[derive(Args, Debug)]
pub struct Audit {
    /// ONNX files, or names of models that come with the program (digits-standard, …)
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,
    #[command(flatten)]
    data: DataOptions,
    #[command(flatten)]
    intake: IntakeOptions,
    /// A set of attacks and metrics by name
    #[arg(long, value_name = "P", help = crate::help::profiles())]
    profile: Option<String>,
    /// A threat model, for example linf:8/255 or l2:0.5; several radii as linf:2/255,4/255; may be repeated
    #[arg(long = "threat", value_name = "NORM:EPS")]
    threats: Vec<String>,
    /// An attack, for example pgd:steps=20,restarts=5; may be repeated
    #[arg(long = "attack", value_name = "NAME[:k=v,...]")]
    attacks: Vec<String>,
    /// A metric, for example phi:grid=21; may be repeated
    #[arg(long = "metric", value_name = "NAME[:k=v,...]")]
    metrics: Vec<String>,
    /// Accept a radius that exceeds the range of pixels
    #[arg(long)]
    eps_is_large_on_purpose: bool,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
    /// Samples per batch [default: 512; fewer for images of more than 4,096 values, at least 128]
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch_size: Option<u32>,
    /// Samples per job, the unit that is stored and can be computed alone
    #[arg(long, default_value_t = 500, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    shard_size: u32,
    /// Number of images around which landscapes are drawn
    #[arg(long, default_value_t = 1, value_name = "K")]
    landscapes: usize,
    /// A gradient graph that came with the model, to be checked against ours (see harness/intake/GRADIENTS.md)
    #[arg(long, value_name = "FILE")]
    gradients: Option<String>,
    /// The output of that graph which holds the gradient; grad_<input> if absent
    #[arg(long, value_name = "NAME", requires = "gradients")]
    gradients_output: Option<String>,
    /// Which gradient attacks follow: ours or theirs
    #[arg(long, value_name = "WHOSE", default_value = "ours", value_parser = ["ours", "theirs"])]
    use_gradients: String,
    /// For models that draw at random: attacks ascend the mean loss over K draws, or with K:probs the loss of the mean probability
    #[arg(long, value_name = "K", value_parser = Expectation::parse)]
    eot: Option<Expectation>,
    #[arg(long = "surrogate", value_name = "OP=RULE", help = crate::help::surrogates())]
    surrogates: Vec<String>,
    /// A file with the loss that attacks without a loss of their own ascend: an ONNX graph from logits and label to loss, one number per
    /// sample
    #[arg(long, value_name = "FILE")]
    loss: Option<String>,
    #[command(flatten)]
    engine: EngineOptions,
    #[command(flatten)]
    plugins: PluginOptions,
    /// The run directory
    #[arg(long, default_value = "flatscape-run", value_name = "DIR")]
    out: PathBuf,
    /// Continue an interrupted run
    #[arg(long)]
    resume: bool,
    /// Worker processes that compute the jobs; 1 computes in this process, 0 waits for workers that run elsewhere
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1024))]
    jobs: u32,
    /// Run the attacks on planted adversarial examples, too, under linf, l2 and l1; the profile audit does so by itself
    #[arg(long)]
    canaries: bool,
    /// Bound the margins from below, too, under linf, l2 and l1: samples that no attack can break; the profile audit does so by itself
    #[arg(long)]
    bounds: bool,
    /// A model whose adversarial examples are tried on the audited ones; may be repeated. Every attack of the run is repeated on it
    #[arg(long = "transfer", value_name = "MODEL")]
    sources: Vec<String>,
    /// A condition on every model, for example 'robust_accuracy>=0.40' or 'robust_accuracy.ci_low>=0.40'; the exit code is 1 if it does not hold
    #[arg(long = "require", value_name = "METRIC>=VALUE")]
    requirements: Vec<Requirement>,
    /// An accuracy that somebody claims for every model, clean_accuracy=0.884 or robust_accuracy=0.54; another finding raises a doubt
    #[arg(long, value_name = "METRIC=VALUE")]
    claims: Vec<Claim>,
    /// Print the rows as JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl Audit {
    /// Runs the audit; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        let plan = self.plan()?;
        let engine = self.engine.open()?;
        let plugins = self.plugins.load()?;
        let wanted =
            Wanted { out: self.out.clone(), resume: self.resume, requirements: self.requirements.clone(), json: self.json };
        finish(&plan, &wanted, &self.engine, &self.plugins, &engine, &plugins)
    }

    /// The gradient graph that came with the model.
    fn given(&self) -> Result<Option<GivenRequest>, Refusal> {
        let used = self.use_gradients == "theirs";
        match &self.gradients {
            Some(_) if self.models.len() > 1 => {
                let what = format!("--gradients is about one model, and there are {}", self.models.len());
                Err(Refusal::usage(93, what).help("audit them one by one"))
            }
            Some(file) => Ok(Some(GivenRequest { file: file.clone(), output: self.gradients_output.clone(), used })),
            None if used => {
                Err(Refusal::usage(93, "--use-gradients theirs: there are none").help("name the file with --gradients FILE"))
            }
            None => Ok(None),
        }
    }

    /// The models that examples are transferred from. What is stated about the gradients of the audited models is not about them.
    fn sources(&self, intake: &Intake) -> Vec<ModelRequest> {
        let intake =
            Intake { gradients: None, remedies: Vec::new(), surrogates: Vec::new(), loss: None, eot: None, ..intake.clone() };
        self.sources.iter().map(|source| ModelRequest { source: source.clone(), intake: intake.clone() }).collect()
    }

    /// Repeats the attacks of the command line on the models that examples are transferred from; where it names none, PGD by the margin.
    fn transferred(&self, attacks: &mut Vec<Request>) -> Result<(), Refusal> {
        let named: Vec<Request> = match self.attacks.is_empty() {
            true => vec![Request::parse("pgd:loss=margin,steps=100")?],
            false => self.attacks.iter().map(|text| Request::parse(text)).collect::<Result<_, _>>()?,
        };
        for source in &self.sources {
            let via = Some(ModelRequest { source: source.clone(), intake: Intake::default() }.name());
            attacks.extend(named.iter().filter(|r| r.via.is_none()).map(|r| Request { via: via.clone(), ..r.clone() }));
        }
        Ok(())
    }

    /// Whether margins are to be bounded on request.
    fn bounded(&self, threats: &[ThreatModel]) -> Result<bool, Refusal> {
        if self.bounds && !threats.iter().any(|threat| Dual::of(threat.norm.name).is_some()) {
            return Err(Refusal::usage(
                91,
                "--bounds: there are rules for linf, l2 and l1, and none of them is among the threat models",
            )
            .help("add --threat linf:8/255, or leave --bounds out"));
        }
        Ok(self.bounds)
    }

    /// The claims, at most one about each metric.
    fn claims(&self) -> Result<Vec<Claim>, Refusal> {
        let twice = |(place, claim): (usize, &Claim)| self.claims[..place].iter().any(|c| c.metric == claim.metric);
        match self.claims.iter().enumerate().any(twice) {
            true => Err(Refusal::usage(93, "--claims names one metric twice").help("audit models with other claims one by one")),
            false => Ok(self.claims.clone()),
        }
    }

    /// Refuses a model or a threat model that is named twice: its rows would be counted twice.
    fn nothing_twice(&self, threats: &[ThreatModel]) -> Result<(), Refusal> {
        let model = |at: &usize| self.models[..*at].contains(&self.models[*at]);
        let like = |a: &ThreatModel, b: &ThreatModel| (a.norm.name, a.eps, a.scale) == (b.norm.name, b.eps, b.scale);
        let threat = |at: &usize| threats[..*at].iter().any(|before| like(before, &threats[*at]));
        let models = (0..self.models.len()).find(model).map(|at| format!("the model {}", escape(&self.models[at])));
        let threats = (0..threats.len()).find(threat).map(|at| format!("the threat model {}", escape(&threats[at].text())));
        match models.or(threats) {
            Some(what) => Err(Refusal::usage(93, format!("{what} is named twice")).help("name it once")),
            None => Ok(()),
        }
    }

    fn plan(&self) -> Result<Plan, Failure> {
        let mut data = self.data.request()?;
        let named = self.profile.as_deref().or((self.attacks.is_empty() && self.metrics.is_empty()).then_some(profiles::DEFAULT));
        let profile = named.map(profiles::profile).transpose()?;
        let eot = self.eot.or(profile.and_then(Profile::draws));
        let surrogates =
            self.surrogates.iter().map(|text| Surrogate::parse(text).map(|s| s.to_string())).collect::<Result<_, _>>()?;
        let intake = Intake { gradients: self.given()?, surrogates, loss: self.loss.clone(), eot, ..intake(&self.intake)? };
        let parse = |list: &[String]| list.iter().map(|t| Request::parse(t)).collect::<Result<Vec<_>, _>>();
        let (mut attacks, mut metrics) = (parse(&self.attacks)?, parse(&self.metrics)?);
        let mut threats = self
            .threats
            .iter()
            .map(|t| ThreatModel::parse_all(t, self.eps_is_large_on_purpose))
            .collect::<Result<Vec<_>, _>>()?
            .concat();
        self.nothing_twice(&threats)?;
        let mut of_profile = Vec::new();
        if let Some(profile) = profile {
            data = profile.of_data(data);
            of_profile = profile.attacks()?;
            attacks.extend(of_profile.iter().cloned());
            metrics.extend(profile.metrics()?);
            if threats.is_empty() {
                threats.extend(profile.threats()?);
            }
        }
        self.transferred(&mut attacks)?;
        if threats.is_empty() {
            threats.push(profiles::default_threat(&self.data.data)?);
        }
        let bounds = self.bounded(&threats)? || profile.is_some_and(Profile::plants);
        let options = json!({
            "intake": intake, "label_offset": data.label_offset, "allow_fewer": data.allow_fewer, "landscapes": self.landscapes,
            "threads": self.engine.threads,
        });
        Ok(Plan {
            models: self.models.iter().map(|m| ModelRequest { source: m.clone(), intake: intake.clone() }).collect(),
            data,
            threats,
            attacks,
            metrics,
            landscapes: Some(Landscapes::of_audit(self.landscapes)),
            only_landscapes: false,
            seed: self.seed,
            batch_size: self.batch_size.map(|size| size as usize),
            shard_size: self.shard_size as usize,
            workers: self.jobs as usize,
            command: command_line(),
            options,
            requirements: self.requirements.iter().map(Requirement::text).collect(),
            claims: self.claims()?,
            canaries: self.canaries || profile.is_some_and(Profile::plants),
            bounds,
            sources: self.sources(&intake),
            of_profile,
        })
    }
}

/// Options of a run besides its plan.
pub(super) struct Wanted {
    /// The run directory.
    pub out: PathBuf,
    /// Whether to continue an existing run.
    pub resume: bool,
    /// Conditions on the results.
    pub requirements: Vec<Requirement>,
    /// Whether rows are printed as JSON.
    pub json: bool,
}

/// Runs a plan, prints the table, chooses the exit code.
pub(super) fn finish(
    plan: &Plan,
    wanted: &Wanted,
    engine_options: &EngineOptions,
    plugin_options: &PluginOptions,
    engine: &std::sync::Arc<dyn flatscape_engine::Engine>,
    plugins: &flatscape_host::Plugins,
) -> Result<u8, Failure> {
    let interruption = Interruption::listen();
    let mut bar = Bar::new(wanted.json);
    let program = std::env::current_exe().map_err(|e| Failure::output(format!("the path of this program is unknown: {e}")))?;
    let mut arguments = engine_options.arguments(plan.workers);
    arguments.extend(plugin_options.arguments());
    let execution = Execution {
        out: wanted.out.clone(),
        resume: wanted.resume,
        engines: engine_options.settings(),
        worker: (program, arguments),
        required: wanted.requirements.iter().map(|r| r.metric.clone()).collect(),
    };
    let ending = match run(plan, &execution, engine, plugins, &mut bar, &interruption.asked) {
        Ok(ending) => ending,
        // what failed after a request to stop failed because of it
        Err(refusal) if interruption.asked.load(Ordering::Relaxed) => {
            remark!("interrupted before anything was computed ({refusal})");
            return Ok(interruption.exit_code());
        }
        Err(refusal) => return Err(refusal.into()),
    };
    drop(bar);
    show(&ending, wanted.json)?;
    advise(&ending.summary.records);
    remark!("report: {}", wanted.out.join("report.html").display());
    if ending.interrupted {
        remark!("interrupted: what was finished is kept; add --resume to go on");
        return Ok(interruption.exit_code());
    }
    let judged = wanted.requirements.iter().flat_map(|r| r.judge(&ending.summary.records, &ending.models));
    let unmet: Vec<String> =
        judged.filter(|j| !j.holds).map(|j| format!("{}: {} does not hold, {}", j.model, j.text, j.found)).collect();
    unmet.iter().for_each(|line| remark!("{line}"));
    Ok(match ending.exit_code() {
        0 if !unmet.is_empty() => 1,
        code => code,
    })
}

/// Prints failed certificates, the table and the doubts, or the rows as JSON.
fn show(ending: &Ending, json: bool) -> Result<(), Failure> {
    for failed in ending.certificates().filter(|c| c.passed() == Some(false)) {
        // an escalation may have settled what it means
        let word = if ending.summary.unreliable { "UNRELIABLE: " } else { "" };
        let line = format!("{word}{}", failed.sentence());
        if json { remark!("{line}") } else { say!("{line}") }
    }
    if json {
        let rows = serde_json::to_string_pretty(&ending.summary.records).map_err(Failure::output)?;
        say!("{rows}");
    } else {
        if ending.summary.unreliable {
            say!("UNRELIABLE: do not trust these numbers before the doubts below are settled.");
        }
        say!("{}", table::results(&ending.summary.records));
        for doubt in &ending.summary.doubts {
            say!("doubt[{}] {}\n  {}\n  {}", doubt.code, doubt.raised_for, doubt.explanation, doubt.advice);
        }
    }
    Ok(())
}

/// Prints the advice about the number of samples.
fn advise(records: &[flatscape_report::Record]) {
    let counted = records.iter().find(|record| record.metric == "clean_accuracy");
    counted.iter().for_each(|record| remark!("{}", publish::advice(record.n)));
}

/// The flags about preprocessing as `intake` takes them.
pub(super) fn intake(options: &IntakeOptions) -> Result<Intake, Refusal> {
    let field = |name: &str| match name {
        "scale" => options.scale.clone(),
        "mean" => options.mean.clone(),
        "std" => options.std.clone(),
        "layout" => options.layout.clone(),
        "channels" => options.channels.clone(),
        "invert" => options.invert.then(|| "true".to_owned()),
        "square" => options.square.clone(),
        "resize" => options.resize.clone(),
        "crop" => options.crop.clone(),
        _ => None,
    };
    let remedies = flatscape_intake::remedies::parse(&options.remedy)?;
    let match_classes = options.match_classes.as_deref().map(By::parse).transpose()?;
    Ok(Intake { preprocessing: Preprocessing::parse(field)?, remedies, match_classes, ..options.reading.intake()? })
}

/// A word of a command line as a shell reads it back.
pub(super) fn quoted(word: String) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c));
    if plain { word } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// The command as it was typed, with the program's name alone in front.
pub(super) fn command_line() -> String {
    // a run that was killed before its manifest was written begins with --resume, and is the same run
    let words = std::env::args().skip(1).filter(|word| word != "--resume").map(quoted);
    std::iter::once("flatscape".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
