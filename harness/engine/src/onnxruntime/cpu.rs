//! The CPU provider. A batch is cut into micro-batches that run in parallel on sessions of one thread each; what cannot be cut, or
//! is too small to be, runs whole on one session that has all threads. A session takes longer to make than a small graph to run: what
//! is small, or runs for the first time and is not large, uses the one that is there.
//!
//! Measured (two cores): one session per core gains 0 to 5 % on a ResNet-18, 5 to 10 % on a four-convolution CIFAR net and 35 to
//! 50 % on a LeNet over one session with two threads. The gradients of these nets have the same bytes with 1, 2, 3 and 8 threads, at
//! every batch size.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use flatscape_graph::Tensor;
use ort::session::{Session, SessionInputValue};
use ort::value::DynValue;

use super::own::Shared;
use super::{NAME, Runtime, value};
use crate::engine::Executable;
use crate::rows::{self, Cut, Slice, Stacked};
use crate::signature::Signature;
use crate::{Buffer, EngineError};

/// Multiplications of a run that is too small to gain by a second thread: about a quarter of a millisecond.
const SMALL: usize = 8 << 20;

/// Multiplications of a run that is over before a second session is made.
const BRIEF: usize = 64 << 20;

/// The first runs of a graph; some have no others.
const FIRST: usize = 2;

/// `work` are the multiplications per row.
pub(super) fn compile(
    runtime: &Runtime,
    signature: Signature,
    cut: Option<Cut>,
    work: usize,
    (bytes, shared): (Arc<[u8]>, Shared),
) -> Result<Box<dyn Executable>, EngineError> {
    let idle = Sessions { wide: Mutex::default(), narrow: Mutex::default() };
    let usual = rows::usual(work);
    let shared = Arc::new(shared);
    let runs = AtomicUsize::new(0);
    let plan = Plan { signature, cut, work, usual, bytes, runtime: runtime.clone(), shared, idle, runs };
    // one session now, so that what ONNX Runtime refuses is said at compile time
    let width = if plan.cut.is_some() { Width::Narrow } else { Width::Wide };
    let refused =
        |e: ort::Error| EngineError::Compile { engine: NAME, graph: plan.signature.graph.clone(), reason: e.to_string() };
    let first = plan.session(width).map_err(refused)?;
    plan.idle.put(width, first);
    Ok(Box::new(plan))
}

struct Plan {
    signature: Signature,
    cut: Option<Cut>,
    /// Multiplications per row.
    work: usize,
    /// Rows of a micro-batch.
    usual: usize,
    bytes: Arc<[u8]>,
    runtime: Runtime,
    shared: Arc<Shared>,
    idle: Sessions,
    /// How often it was run in pieces.
    runs: AtomicUsize,
}

/// Whether a session has one thread or all of them.
#[derive(Clone, Copy)]
enum Width {
    Narrow,
    Wide,
}

/// Idle sessions. A session is made when it is first needed.
struct Sessions {
    wide: Mutex<Vec<Session>>,
    narrow: Mutex<Vec<Session>>,
}

/// Whether a session of this process has brought the domain of our operators along.
static DOMAIN_IS_KNOWN: AtomicBool = AtomicBool::new(false);
/// Held while that is done.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Sessions {
    fn of(&self, width: Width) -> std::sync::MutexGuard<'_, Vec<Session>> {
        let sessions = if let Width::Wide = width { &self.wide } else { &self.narrow };
        sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, width: Width) -> Option<Session> {
        self.of(width).pop()
    }

    fn put(&self, width: Width, session: Session) {
        self.of(width).push(session);
    }
}

impl Executable for Plan {
    fn run(&self, inputs: &[&Buffer]) -> Result<Vec<Buffer>, EngineError> {
        let sources = self.signature.on_host(NAME, inputs)?;
        let pieces = match &self.cut {
            Some(cut) => cut.pieces(&sources, rows::LEAST, self.usual),
            None => Vec::new(),
        };
        match &pieces[..] {
            [] | [_] => {
                let whole: Vec<Slice> = sources.iter().copied().map(Slice::from).collect();
                // where batches are cut, the session that is there has one thread
                let small = self.cut.as_ref().is_some_and(|cut| self.takes(cut.rows(&sources)) <= SMALL);
                let width = if small { Width::Narrow } else { Width::Wide };
                self.joined(self.run_piece(width, &whole).map(|only| vec![only]), None)
            }
            many => self.run_pieces(many, self.cut.as_ref().map_or(0, |cut| cut.rows(&sources)), self.cut.as_ref()),
        }
    }

    fn run_each(&self, inputs: &[&Buffer]) -> Result<Vec<Buffer>, EngineError> {
        let sources = self.signature.on_host(NAME, inputs)?;
        let pieces = Cut::each(&self.signature)?.single_rows(&sources);
        self.run_pieces(&pieces, pieces.len(), None)
    }

    fn upload(&self, tensor: &Tensor) -> Result<Buffer, EngineError> {
        Ok(Buffer::from(tensor.clone()))
    }
}

impl Plan {
    fn session(&self, width: Width) -> ort::Result<Session> {
        let threads = if let Width::Wide = width { self.runtime.workers.threads() } else { 1 };
        // ONNX Runtime asks whether it knows a domain before it adds it, without a lock: two first sessions at once would both add
        let first = (!DOMAIN_IS_KNOWN.load(Ordering::Acquire)).then(|| ONE_AT_A_TIME.lock());
        let session = self.runtime.builder(threads, &self.shared)?.commit_from_memory(&self.bytes)?;
        DOMAIN_IS_KNOWN.store(true, Ordering::Release);
        drop(first);
        Ok(session)
    }

    /// Multiplications of a run on this number of rows.
    fn takes(&self, rows: usize) -> usize {
        rows.saturating_mul(self.work)
    }

    fn run_pieces(&self, pieces: &[Vec<Slice>], rows: usize, cut: Option<&Cut>) -> Result<Vec<Buffer>, EngineError> {
        let brief = self.takes(rows) <= BRIEF && self.runs.fetch_add(1, Ordering::Relaxed) < FIRST;
        if cut.is_some_and(Cut::adds) {
            return self.joined(self.on_threads(brief, pieces.len(), &|i| self.run_piece(Width::Narrow, &pieces[i])), cut);
        }
        let stacked = Stacked::new(rows, self.signature.outputs.len());
        let one = |i: usize| {
            let own = rows::rows_of(&pieces[i]).unwrap_or(0..rows);
            self.run_session(Width::Narrow, &pieces[i], |output, value| value::stack(value, output, &own, &stacked))
        };
        let failed = |reason: String| EngineError::run(NAME, &self.signature.graph, reason);
        self.on_threads(brief, pieces.len(), &one).map_err(|e| failed(e.to_string()))?;
        let tensors = stacked.into_tensors().ok_or_else(|| failed(rows::MISFIT.to_owned()))?;
        Ok(tensors.into_iter().map(Buffer::from).collect())
    }

    fn on_threads<T: Send>(
        &self,
        brief: bool,
        count: usize,
        job: &(dyn Fn(usize) -> ort::Result<T> + Sync),
    ) -> ort::Result<Vec<T>> {
        if brief { (0..count).map(job).collect() } else { self.runtime.workers.run(count, job) }
    }

    fn joined(&self, results: ort::Result<Vec<Vec<Tensor>>>, cut: Option<&Cut>) -> Result<Vec<Buffer>, EngineError> {
        let failed = |reason: String| EngineError::run(NAME, &self.signature.graph, reason);
        rows::join(results.map_err(|e| failed(e.to_string()))?, cut)
            .map(|joined| joined.into_iter().map(Buffer::from).collect())
            .ok_or_else(|| failed(rows::MISFIT.to_owned()))
    }

    fn run_piece(&self, width: Width, piece: &[Slice]) -> ort::Result<Vec<Tensor>> {
        self.run_session(width, piece, |_, value| value::output(value))
    }

    /// Runs a piece; gives what becomes of its results, by their places.
    fn run_session<T>(
        &self,
        width: Width,
        piece: &[Slice],
        take: impl Fn(usize, &DynValue) -> ort::Result<T>,
    ) -> ort::Result<Vec<T>> {
        let width = if self.runtime.workers.threads() == 1 { Width::Narrow } else { width };
        let mut session = match self.idle.take(width) {
            Some(session) => session,
            None => self.session(width)?,
        };
        let picked: Vec<Option<Tensor>> = piece.iter().map(Slice::picked).collect();
        let slices = piece.iter().zip(&picked).map(|(slice, own)| own.as_ref().map_or_else(|| slice.clone(), Slice::whole));
        let inputs: Vec<SessionInputValue> = slices.map(|slice| value::input(&slice)).collect::<ort::Result<_>>()?;
        let outputs = session.run(&inputs[..])?;
        let taken = (0..outputs.len()).map(|i| take(i, &outputs[i])).collect();
        drop(outputs);
        self.idle.put(width, session);
        taken
    }
}
