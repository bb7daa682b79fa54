//! Lower bounds on margins, computed in double precision: samples that no attack can break in the real-valued network.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use flatscape_bounds::Dual;
use flatscape_bounds::{Region, bounds, work};
use flatscape_certificate::widen;
use flatscape_engine::{CompileOptions, Engine, EngineError};
use flatscape_graph::{DType, Graph, Tensor, rows};
use flatscape_intake::data::Batch;
use flatscape_intake::model::Model;
use flatscape_measure::columns::{BOUND, BOUND_SCALE, ID, LABEL};
use flatscape_measure::findings::Findings;
use flatscape_measure::threats::ThreatModel;

use crate::compute::{Progress, Unfinished};
use crate::result::{put_text, text};

/// Multiplications that the bounds of one image may take: about a tenth of a second.
const LARGEST: u64 = 60_000_000;

/// Images per run.
const TOGETHER: usize = 16;

/// The text column that says why there are none.
const IMPOSSIBLE: &str = "impossible";

/// A bound above this times max(1, largest score) verifies a sample: the bound is about real numbers, the model computes in float32.
const TOLERANCE: f64 = 1e-4;

/// Whether a bound verifies its sample.
pub(crate) fn verifies(bound: f64, scale: f64) -> bool {
    bound > TOLERANCE * scale.max(1.0)
}

/// Bounds the margins of some images.
///
/// # Errors
/// The run was asked to stop. A model that has no bounds is a result that says why.
pub(crate) fn compute(
    model: &Model,
    part: &Batch,
    threat: &ThreatModel,
    engines: &[Arc<dyn Engine>],
    progress: Progress,
    stop: &AtomicBool,
) -> Result<Findings, Unfinished> {
    let mut findings = Findings::default();
    let graph = match graph(model, threat) {
        Ok(graph) => graph,
        Err(why) => {
            put_text(&mut findings, IMPOSSIBLE, why.as_bytes());
            return Ok(findings);
        }
    };
    // not every engine has every operator in double precision
    let mut refused = "no engine computes them in double precision".to_owned();
    for engine in engines {
        match on_engine(engine.as_ref(), &graph, part, threat, progress, stop) {
            Err(_) if stop.load(Ordering::Relaxed) => return Err(Unfinished::Stopped),
            Err(error) => refused += &format!("; {error}"),
            Ok(_) if stop.load(Ordering::Relaxed) => return Err(Unfinished::Stopped),
            Ok((bounds, scales)) => {
                findings.put(&ID, part.ids.iter().map(|&id| id as i64).collect());
                findings.put(&LABEL, part.y.clone());
                findings.put(&BOUND, bounds);
                findings.put(&BOUND_SCALE, scales);
                return Ok(findings);
            }
        }
    }
    put_text(&mut findings, IMPOSSIBLE, refused.as_bytes());
    Ok(findings)
}

/// Bounds and scales on one engine.
fn on_engine(
    engine: &dyn Engine,
    graph: &Graph,
    part: &Batch,
    threat: &ThreatModel,
    progress: Progress,
    stop: &AtomicBool,
) -> Result<(Vec<f64>, Vec<f64>), EngineError> {
    let compiled = engine.compile(graph, &CompileOptions { lower: false, ..CompileOptions::default() })?;
    let (mut bounds, mut scales) = (Vec::new(), Vec::new());
    let every: Vec<usize> = (0..part.ids.len()).collect();
    for chosen in every.chunks(TOGETHER) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let labels: Vec<i64> = chosen.iter().map(|&row| part.y[row]).collect();
        let eps = Tensor::full(DType::F64, &[chosen.len()], threat.eps);
        let fed = [rows(&part.x, chosen).cast(DType::F64), eps, Tensor::ints(&labels)];
        let fed: Vec<_> = fed.iter().map(|t| compiled.upload(t)).collect::<Result<_, _>>()?;
        // the outputs are the interval, the bound and the scale
        let given = compiled.run(&fed.iter().collect::<Vec<_>>())?;
        bounds.extend(given[1].host()?.to_f64());
        scales.extend(given[2].host()?.to_f64());
        progress(bounds.len(), every.len());
    }
    Ok((bounds, scales))
}

/// The graph of the bounds in double precision; the error is a clause.
fn graph(model: &Model, threat: &ThreatModel) -> Result<Graph, String> {
    let refused = || format!("there are rules for linf, l2 and l1, and the threat model is {}", threat.text());
    let dual = Dual::of(threat.norm.name).ok_or_else(refused)?;
    let relax = work(&model.graph, true) <= LARGEST;
    let needed = work(&model.graph, relax);
    if needed > LARGEST {
        return Err(format!("it would take {needed} multiplications per image, and the limit is {LARGEST}"));
    }
    let region = Region { lo: threat.lo.into(), hi: threat.hi.into() };
    widen(&bounds(&model.graph, region, dual, relax).map_err(|why| why.to_string())?)
}

/// # Errors
/// A clause: the result has neither bounds nor a reason.
pub(crate) fn check(findings: &Findings) -> Result<(), String> {
    if findings.tensor(IMPOSSIBLE).is_some() {
        return text(findings, IMPOSSIBLE).map(drop);
    }
    let lengths = [findings.read(&BOUND).map(|b| b.len()), findings.read(&BOUND_SCALE).map(|s| s.len())];
    let ids = findings.read(&ID).map_err(|e| e.to_string())?.len();
    for length in lengths {
        if length.map_err(|e| e.to_string())? != ids {
            return Err(format!("has a column `{}` that does not have one value per sample", BOUND.name));
        }
    }
    Ok(())
}

/// The reason that a result gives for having no bounds.
pub(crate) fn impossible(findings: &Findings) -> Option<String> {
    text(findings, IMPOSSIBLE).ok()
}
