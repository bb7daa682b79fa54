//! A run directory that is read: its manifest, its jobs, and the results that fit them. Everything that is made of a run comes
//! from here.

use std::collections::BTreeMap;
use std::path::Path;

use flatscape_intake::files::sha256;
use flatscape_intake::refusal::Refusal;
use flatscape_measure::findings::Findings;
use serde::{Deserialize, Serialize};

use crate::directory::{Directory, MANIFEST};
use crate::job::{Fault, Job};
use crate::manifest::Manifest;
use crate::result::check;

/// A run and what has been computed of it.
#[derive(Debug)]
pub struct Stored {
    /// The directory.
    pub directory: Directory,
    /// What the run is about.
    pub manifest: Manifest,
    /// What is to be computed, in the order of the plan.
    pub jobs: Vec<Job>,
}

/// What vouches for a result: written after it, beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// SHA-256 of the job's file.
    pub job: String,
    /// SHA-256 of the result's file.
    pub result: String,
}

impl Receipt {
    /// The receipt of a job for a result with these bytes.
    ///
    /// # Errors
    /// `O102`: the job cannot be written as JSON.
    pub fn of(job: &Job, result: &[u8]) -> Result<Receipt, Refusal> {
        Ok(Receipt { job: job.hash()?, result: sha256(result) })
    }
}

/// The order of the jobs of a run.
pub const PLAN: &str = "jobs.json";

impl Stored {
    /// Opens a finished or interrupted run to read it.
    ///
    /// # Errors
    /// `R096` to `R104`: there is no run, it is in use, from another version, or files are missing or altered.
    pub fn open(path: &Path) -> Result<Stored, Refusal> {
        Stored::within(Directory::to_read(path)?)
    }

    /// Reads the manifest and the jobs of a directory that is open.
    ///
    /// # Errors
    /// As for [`Stored::open`].
    pub fn within(directory: Directory) -> Result<Stored, Refusal> {
        let missing = |name: &str| {
            let what = format!("{} lacks {name}: the run is incomplete", flatscape_intake::files::show(directory.path()));
            Refusal::state(105, what).help("repeat the audit with --resume, which writes it again")
        };
        let manifest = Manifest::parse(&directory.read(MANIFEST)?.ok_or_else(|| missing(MANIFEST))?)?;
        let order = directory.read(PLAN)?.ok_or_else(|| missing(PLAN))?;
        let order: Order = serde_json::from_slice(&order)
            .map_err(|e| Refusal::state(105, format!("{PLAN} is damaged: {e}")).help("repeat the audit with --resume"))?;
        let mut jobs = Vec::with_capacity(order.jobs.len());
        for (name, hash) in &order.jobs {
            let file = format!("jobs/{name}.json");
            let bytes = directory.read(&file)?.ok_or_else(|| missing(&file))?;
            if sha256(&bytes) != *hash {
                let what = format!("{file} is not the file that the run wrote: its SHA-256 differs from the one in {PLAN}");
                return Err(Refusal::state(105, what).help("repeat the audit with --resume, which writes it again"));
            }
            jobs.push(Job::parse(&bytes)?);
        }
        Ok(Stored { directory, manifest, jobs })
    }

    /// The result of a job; `None` where it has not been computed. The inner error says why what is there does not fit the job.
    ///
    /// # Errors
    /// `R103`, `R104`: a file cannot be read.
    pub fn result(&self, job: &Job) -> Result<Option<Result<Findings, String>>, Refusal> {
        result_in(&self.directory, job)
    }

    /// The result of a job that must fit.
    ///
    /// # Errors
    /// `R106`: what is there does not fit the job. `R103`, `R104`: a file cannot be read.
    pub fn sound(&self, job: &Job) -> Result<Option<Findings>, Refusal> {
        match self.result(job)? {
            None => Ok(None),
            Some(Ok(findings)) => Ok(Some(findings)),
            Some(Err(why)) => Err(Refusal::state(106, format!("{} {why}", job.result()))
                .help("repeat the audit with --resume: it sets the file aside and computes it again")),
        }
    }

    /// Why a job has no result, where an attempt failed.
    ///
    /// # Errors
    /// `R103`, `R104`: a file cannot be read.
    pub fn fault(&self, job: &Job) -> Result<Option<Refusal>, Refusal> {
        fault_in(&self.directory, job)
    }
}

/// Why a job has no result, or only a part of one.
pub(crate) fn fault_in(directory: &Directory, job: &Job) -> Result<Option<Refusal>, Refusal> {
    let Some(bytes) = directory.read(&job.fault())? else { return Ok(None) };
    let fault: Fault = serde_json::from_slice(&bytes)
        .map_err(|e| Refusal::state(106, format!("{} is damaged: {e}", job.fault())).help("repeat the audit with --resume"))?;
    Ok((fault.job == job.hash()?).then_some(fault.refusal))
}

/// The content of [`PLAN`]: names of jobs and the SHA-256 of their files, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Name and hash of every job.
    pub jobs: Vec<(String, String)>,
}

/// The result of a job in a directory; see [`Stored::result`].
///
/// # Errors
/// `R103`, `R104`: a file cannot be read.
pub fn result_in(directory: &Directory, job: &Job) -> Result<Option<Result<Findings, String>>, Refusal> {
    let Some(bytes) = directory.read(&job.result())? else { return Ok(None) };
    let hash = job.hash()?;
    let receipt = directory.read(&receipt_name(job))?;
    let receipt: Option<Receipt> = receipt.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let unfit = |why: &str| Ok(Some(Err(why.to_owned())));
    let Some(receipt) = receipt else { return unfit("has no receipt that names its job") };
    if receipt.job != hash {
        return unfit("belongs to another job");
    }
    if receipt.result != sha256(&bytes) {
        return unfit("is not the file that was computed: its SHA-256 differs from its receipt");
    }
    let findings = match Findings::decode(&bytes) {
        Ok(findings) => findings,
        Err(error) => return unfit(&format!("cannot be read: {error}")),
    };
    Ok(Some(check(job, &hash, findings)))
}

/// The file that vouches for a result.
pub fn receipt_name(job: &Job) -> String {
    format!("shards/{}.receipt.json", job.name)
}

/// Seconds by job, from `times.csv`: the last line of a job counts.
///
/// # Errors
/// `R103`, `R104`: the file cannot be read.
pub fn seconds(directory: &Directory) -> Result<BTreeMap<String, f64>, Refusal> {
    let Some(bytes) = directory.read(TIMES)? else { return Ok(BTreeMap::new()) };
    let text = String::from_utf8_lossy(&bytes);
    let line = |line: &str| line.split_once(',').and_then(|(job, spent)| Some((job.to_owned(), spent.parse::<f64>().ok()?)));
    Ok(text.lines().filter_map(line).collect())
}

/// The file of seconds; with `manifest.json`'s command the only one in which two equal runs differ.
pub const TIMES: &str = "times.csv";
