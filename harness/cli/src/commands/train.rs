//! `flatscape train`: train an ONNX classifier further, with a trainer and an optimizer from plugins.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;
use flatscape_audit::ledger::Observer as _;
use flatscape_audit::profiles;
use flatscape_intake::data::{self, Split};
use flatscape_intake::files::show;
use flatscape_intake::model::ModelRequest;
use flatscape_intake::number::number;
use flatscape_intake::refusal::Refusal;
use flatscape_measure::request::Request;
use flatscape_report::training::{Progress, Rate};
use flatscape_train::augment;
use flatscape_train::plan::{Average, Chosen, Plan};
use flatscape_train::run::{Observer, Place, Stopped, train};
use flatscape_train::schedule::Schedule;

use super::audit::{intake, quoted};
use crate::failure::Failure;
use crate::options::{EngineOptions, IntakeOptions, PluginOptions};
use crate::output::{remark, say};
use crate::progress::Bar;
use crate::signals::Interruption;

/// Train a classifier further and write it as an ONNX file with the same inputs and outputs.
#[derive(Args, Debug)]
pub struct Train {
    /// An ONNX file, the name of a model that comes with the program, or an architecture
    #[arg(value_name = "MODEL|ARCH", help = crate::help::starts())]
    model: String,
    /// A name or a path; the training half is read, never the test half
    #[arg(long, value_name = "DATA", help = crate::help::data())]
    data: String,
    /// The folder of data sets that is searched first
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The first N training images in canonical order; all of them if absent
    #[arg(short, value_name = "N")]
    n: Option<usize>,
    /// What is minimised, for example standard or adversarial; `flatscape plugins list` shows all trainers
    #[arg(long, default_value = "standard", value_name = "NAME[:k=v,...]")]
    trainer: String,
    /// How parameters follow their derivatives, for example sgd:momentum=0.9,weight-decay=5e-4
    #[arg(long, default_value = "sgd", value_name = "NAME[:k=v,...]")]
    optimizer: String,
    /// The threat model of the inner attack and of the robust accuracy in the log, for example linf:8/255
    #[arg(long, value_name = "NORM:EPS")]
    threat: Option<String>,
    /// The inner attack, in place of the trainer's own
    #[arg(long, value_name = "NAME[:k=v,...]")]
    attack: Option<String>,
    /// Passes over the training images
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    epochs: u32,
    /// The learning rate that the schedule multiplies
    #[arg(long, default_value = "0.01", value_name = "X", allow_hyphen_values = true)]
    lr: String,
    /// How the learning rate changes
    #[arg(long, default_value = "constant", value_name = "NAME[:number,...]", help = crate::help::schedules())]
    schedule: String,
    /// Changes of training images that keep their label, separated by commas
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME,NAME", help = crate::help::augmentations())]
    augment: String,
    /// Images per step
    #[arg(long, default_value_t = 128, value_name = "B", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch_size: u32,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 0, value_name = "S")]
    seed: u64,
    /// The share of the training images that is held out to choose the epoch; 0 takes the last epoch
    #[arg(long, default_value = "0.1", value_name = "SHARE")]
    validation: String,
    /// Label smoothing: the share of the label that is spread over all classes
    #[arg(long, default_value = "0", value_name = "SHARE")]
    smoothing: String,
    /// Average the weights: ema:0.999 (over steps) or swa:75 (over epochs, from this one on; the first is 1)
    #[arg(long, value_name = "KIND:NUMBER")]
    average: Option<String>,
    /// Train only a part: head (the last layer)
    #[arg(long = "train", value_name = "PART", value_parser = ["all", "head"], default_value = "all")]
    part: String,
    /// Keep the weights whose names fit a pattern, for example 'conv*'; may be repeated
    #[arg(long = "freeze", value_name = "PATTERN")]
    frozen: Vec<String>,
    #[command(flatten)]
    intake: IntakeOptions,
    #[command(flatten)]
    engine: EngineOptions,
    #[command(flatten)]
    plugins: PluginOptions,
    /// The ONNX file to write; beside it, OUT.train has checkpoints, log.csv, curves.svg and report.html
    #[arg(short = 'o', long = "out", value_name = "OUT")]
    out: PathBuf,
    /// Continue an interrupted training
    #[arg(long)]
    resume: bool,
}

impl Train {
    /// Trains; returns the exit code.
    pub fn run(self) -> Result<u8, Failure> {
        let plan = self.plan()?;
        let (engine, plugins) = (self.engine.open()?, self.plugins.load()?);
        let interruption = Interruption::listen();
        let mut shown = Shown { bar: Bar::new(false), epoch: String::new() };
        let place = Place { out: &self.out, resume: self.resume, command: &command() };
        let trained = train(&plan, &place, engine.as_ref(), &plugins, &mut shown, &interruption.asked);
        let ending = match trained {
            Ok(ending) => ending,
            // what failed after a request to stop failed because of it
            Err(refusal) if interruption.asked.load(Ordering::Relaxed) => {
                remark!("interrupted ({refusal}); what was finished is kept: add --resume to go on");
                return Ok(interruption.exit_code());
            }
            Err(refusal) => return Err(refusal.into()),
        };
        drop(shown);
        if ending.interrupted {
            remark!("interrupted: what was finished is kept; add --resume to go on");
            return Ok(interruption.exit_code());
        }
        let folder = format!("{}.train", show(&self.out));
        if let Some(stopped) = ending.stopped {
            let kept = match ending.chosen {
                Some(epoch) => format!("the last good model, of epoch {}, is {folder}/last-good.onnx", epoch + 1),
                None => "no epoch was finished, so there is no model".to_owned(),
            };
            let advice = match &stopped {
                Stopped::Diverged(_) => "Try a smaller --lr",
                Stopped::Overfitted(_) => "Try a shorter step (alpha), a smaller radius, or the trainer adversarial",
            };
            remark!("{stopped}; {kept}. {advice}");
            return Ok(9);
        }
        say!("{}", show(&self.out));
        remark!("report: {folder}/report.html");
        if let Some(doubt) = ending.doubt {
            remark!("{doubt} Try a smaller --lr, a smaller weight of the regulariser, or more epochs");
            return Ok(9);
        }
        Ok(0)
    }

    fn plan(&self) -> Result<Plan, Failure> {
        let refused = |option: &str, text: &str, why: &str| {
            Failure::from(Refusal::usage(91, format!("{option} {}: {why}", flatscape_graph::shown(text))))
        };
        let share = |option: &str, text: &str| match number(text) {
            Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
            Ok(_) => Err(refused(option, text, "a share is from 0 on and below 1")),
            Err(why) => Err(refused(option, text, &why)),
        };
        let lr = match number(&self.lr) {
            Ok(lr) if lr > 0.0 && lr.is_finite() => lr,
            Ok(_) => return Err(refused("--lr", &self.lr, "a learning rate is positive")),
            Err(why) => return Err(refused("--lr", &self.lr, &why)),
        };
        // with a usual radius for the data, the log has robust accuracy
        let usual =
            || profiles::default_threat(&self.data).ok().map(|threat| format!("{}:{}", threat.norm.name, threat.spelling));
        Ok(Plan {
            model: ModelRequest { source: self.model.clone(), intake: intake(&self.intake)? },
            data: data::Request {
                split: Split::Train,
                data_dir: self.data_dir.clone(),
                limit: self.n,
                ..data::Request::new(&self.data)
            },
            trainer: Request::parse(&self.trainer)?,
            optimizer: Request::parse(&self.optimizer)?,
            attack: self.attack.as_deref().map(Request::parse).transpose()?,
            threat: self.threat.clone().or_else(usual),
            epochs: self.epochs,
            lr,
            schedule: Schedule::parse(&self.schedule)?,
            augment: augment::parse(&self.augment)?,
            batch_size: self.batch_size as usize,
            seed: self.seed,
            validation: share("--validation", &self.validation)?,
            smoothing: share("--smoothing", &self.smoothing)?,
            average: self.average.as_deref().map_or(Ok(Average::None), Average::parse)?.within(self.epochs)?,
            chosen: Chosen { head: self.part == "head", frozen: self.frozen.clone() },
        })
    }
}

/// The command as it was typed, without what does not change the result: where it is written, and whether it was interrupted.
fn command() -> String {
    let mut words = vec!["flatscape".to_owned()];
    let mut typed = std::env::args().skip(1);
    while let Some(word) = typed.next() {
        match word.as_str() {
            "--resume" => {}
            "-o" | "--out" | "--threads" => drop(typed.next()),
            _ if ["--out=", "--threads="].iter().any(|head| word.starts_with(head)) => {}
            _ if word.starts_with("-o") && !word.starts_with("--") => {}
            _ => words.push(quoted(word)),
        }
    }
    words.join(" ")
}

/// Shows a training on the terminal.
struct Shown {
    bar: Bar,
    epoch: String,
}

impl Observer for Shown {
    fn note(&mut self, sentence: &str) {
        self.bar.note(sentence);
    }

    fn begin(&mut self, epoch: u32, epochs: u32) {
        self.epoch = format!("epoch {} of {epochs}", epoch + 1);
        self.bar.begin("training", epoch as usize, epochs as usize);
    }

    fn progress(&mut self, done: usize, total: usize) {
        self.bar.progress(done, total);
    }

    fn finished(&mut self, row: &Progress) {
        let share = |name: &str, rate: Option<Rate>| {
            let told = |r: Rate| format!("{:.2} % [{:.1}, {:.1}] n={}", 100.0 * r.share, 100.0 * r.low, 100.0 * r.high, r.n);
            rate.map(|rate| format!("{name} {}", told(rate)))
        };
        let mut words = vec![format!("cost {:.4}", row.cost)];
        words.extend(share("validation clean", row.clean));
        words.extend(share("robust", row.robust));
        words.push(format!("lr {:.3e}", row.lr));
        self.bar.finished(&self.epoch, &words);
    }
}
