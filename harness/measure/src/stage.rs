//! A compiled graph with its inputs by name, and the values that wait to be fed to it. Knows engines and noise; has never
//! heard of attacks or metrics.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use flatscape_engine::{Buffer, CompileOptions, Engine, EngineError, Executable, Rows};
use flatscape_graph::{DType, Dim, Tensor, ValueType, rows};

use crate::link::Linked;
use flatscape_intake::random::{self, LAWS, Place};

/// A compiled program graph.
pub struct Stage {
    executable: Box<dyn Executable>,
    /// Names and types of the inputs, in order.
    pub inputs: Vec<(String, ValueType)>,
    /// Names of the outputs, in order.
    pub outputs: Vec<String>,
    /// Evaluations of the model per sample and run.
    pub forwards: u64,
    /// Reverse passes per sample and run.
    pub backwards: u64,
    /// The only batch that the graph takes: more rows run in several batches, the last one filled up.
    batch: Option<usize>,
    traffic: Traffic,
}

/// Bytes that passed between host and engine, as far as a stage requested it. Where both share their memory, as on the CPU, they
/// are the bytes that would have to pass.
#[derive(Debug, Default)]
pub struct Traffic {
    /// From the host to the engine.
    pub uploaded: AtomicU64,
    /// From the engine to the host.
    pub read: AtomicU64,
}

/// Whose noise is drawn: everything that keys a random number but the sample.
#[derive(Clone, Copy, Debug)]
pub struct Draw<'a> {
    /// Seed of the audit.
    pub seed: u64,
    /// Id of the component.
    pub component: &'a str,
    /// Restart, from 0.
    pub restart: u32,
    /// Step, from 0; `init` is step 0 and the k-th step is k + 1.
    pub step: Step<'a>,
}

/// Which step keys the noise of a row.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The same for all rows.
    All(u32),
    /// One probe index per row. Noise that is shared by the samples is then shared by the probes too.
    Probes(&'a [u32]),
}

/// Values by name. All but scalars and shared noise lead with the sample axis.
#[derive(Clone, Default)]
pub struct Values(HashMap<String, Buffer>);

impl Values {
    /// Puts a value in the place of a former one.
    pub fn put(&mut self, name: &str, value: Buffer) {
        self.0.insert(name.to_owned(), value);
    }

    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&Buffer> {
        self.0.get(name)
    }

    /// Takes the value of that name out.
    pub fn take(&mut self, name: &str) -> Option<Buffer> {
        self.0.remove(name)
    }

    /// Takes over what a graph gave for the graphs after it: `state_a` of an `init`, `state_a_next` of a step as `state_a`, and
    /// `direction`, which is also the state of that name.
    pub fn keep(&mut self, mut from: Values) {
        for name in from.names() {
            let Some(value) = from.take(&name) else { continue };
            match name.strip_suffix("_next").unwrap_or(&name) {
                "direction" => self.put("direction", value),
                "state_direction" => {
                    self.put("direction", value.clone());
                    self.put("state_direction", value);
                }
                state if state.starts_with("state_") => self.put(state, value),
                _ => {}
            }
        }
    }

    /// Names that are there.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

impl Stage {
    /// Compiles a linked graph in the plain form, as what judges is compiled.
    pub fn compile(engine: &dyn Engine, linked: &Linked) -> Result<Stage, EngineError> {
        Stage::compile_as(engine, linked, &CompileOptions::default())
    }

    /// The same with every form that is fast, as attacks and metrics are compiled.
    pub fn fast(engine: &dyn Engine, linked: &Linked) -> Result<Stage, EngineError> {
        Stage::compile_as(engine, linked, &CompileOptions::fast())
    }

    /// The same with options of the engine.
    pub fn compile_as(engine: &dyn Engine, linked: &Linked, options: &CompileOptions) -> Result<Stage, EngineError> {
        let graph = &linked.graph;
        let executable = engine.compile(graph, options)?;
        let named = |id: &flatscape_graph::ValueId| (graph.value(*id).name.to_string(), graph.value(*id).ty.clone());
        Ok(Stage {
            executable,
            inputs: graph.inputs().iter().map(named).collect(),
            outputs: graph.outputs().iter().map(|o| o.name.to_string()).collect(),
            forwards: u64::from(linked.forwards),
            backwards: u64::from(linked.backwards),
            batch: linked.batch,
            traffic: Traffic::default(),
        })
    }

    /// The bytes that this stage has moved so far: to the engine, and from it.
    pub fn traffic(&self) -> (u64, u64) {
        (self.traffic.uploaded.load(Ordering::Relaxed), self.traffic.read.load(Ordering::Relaxed))
    }

    /// Whether the program reads this name.
    pub fn reads(&self, name: &str) -> bool {
        self.inputs.iter().any(|(n, _)| n == name)
    }

    /// The second extent of an input, where the program reads it and the extent is known.
    pub fn extent(&self, name: &str) -> Option<usize> {
        self.inputs.iter().find(|(n, _)| n == name).and_then(|(_, ty)| ty.shape.as_ref()?.get(1)?.fixed())
    }

    /// Whether the program gives this name.
    pub fn gives(&self, name: &str) -> bool {
        self.outputs.iter().any(|n| n == name)
    }

    /// Brings a host tensor to where this stage runs.
    pub fn upload(&self, tensor: &Tensor) -> Result<Buffer, EngineError> {
        self.traffic.uploaded.fetch_add((tensor.len() * tensor.dtype().size()) as u64, Ordering::Relaxed);
        self.executable.upload(tensor)
    }

    /// A host tensor that only the next run takes: it goes with it.
    pub fn given(&self, tensor: Tensor) -> Buffer {
        self.traffic.uploaded.fetch_add((tensor.len() * tensor.dtype().size()) as u64, Ordering::Relaxed);
        Buffer::from(tensor)
    }

    /// Brings a value to the host.
    pub fn read(&self, buffer: &Buffer) -> Result<Tensor, EngineError> {
        let tensor = buffer.host()?;
        self.traffic.read.fetch_add((tensor.len() * tensor.dtype().size()) as u64, Ordering::Relaxed);
        Ok(tensor)
    }

    /// Brings rows of values to the host: which value, and which row of it. `None` where a place does not exist.
    ///
    /// # Errors
    /// The engine does not give them.
    pub fn read_rows(&self, parts: &[&Buffer], places: &[(usize, usize)]) -> Result<Option<Tensor>, EngineError> {
        let picked = match Buffer::read_rows(&Rows { parts: parts.to_vec(), places })? {
            Some(picked) => picked,
            // by way of the host
            None => {
                let read: Vec<Buffer> =
                    parts.iter().map(|part| Ok(self.read(part)?.into())).collect::<Result<_, EngineError>>()?;
                let rows = Buffer::gathered(&read.iter().collect::<Vec<_>>(), places)?;
                return rows.map(|rows| rows.host()).transpose();
            }
        };
        self.traffic.read.fetch_add((picked.len() * picked.dtype().size()) as u64, Ordering::Relaxed);
        Ok(Some(picked))
    }

    /// Runs on the samples `ids`. Noise that the graph names is drawn here, keyed by sample; everything else must be in
    /// `values`.
    pub fn run(&self, values: &Values, ids: &[u64], draw: &Draw) -> Result<Values, StageError> {
        self.run_on(self.fed(values, ids, draw)?)
    }

    /// Runs on what [`Stage::fed`] has gathered.
    ///
    /// # Errors
    /// The engine failed.
    pub fn run_on(&self, fed: Vec<Buffer>) -> Result<Values, StageError> {
        let borrowed: Vec<&Buffer> = fed.iter().collect();
        let results = match self.batch {
            None => self.executable.run(&borrowed)?,
            Some(size) => self.in_batches_of(&borrowed, size, size)?,
        };
        Ok(Values(self.outputs.iter().cloned().zip(results).collect()))
    }

    /// As [`Stage::run`], every sample alone, as a batch of one. A graph that takes only batches of one other size gets every sample
    /// with copies of itself.
    pub fn run_each(&self, values: &Values, ids: &[u64], draw: &Draw) -> Result<Values, StageError> {
        let fed = self.fed(values, ids, draw)?;
        let borrowed: Vec<&Buffer> = fed.iter().collect();
        let results = match self.batch {
            None => self.executable.run_each(&borrowed)?,
            Some(size) => self.in_batches_of(&borrowed, size, 1)?,
        };
        Ok(Values(self.outputs.iter().cloned().zip(results).collect()))
    }

    /// What the graph reads, in its order: values, and the noise that it names, drawn here.
    ///
    /// # Errors
    /// A value is missing, or the engine does not take one.
    pub fn fed(&self, values: &Values, ids: &[u64], draw: &Draw) -> Result<Vec<Buffer>, StageError> {
        let mut fed = Vec::with_capacity(self.inputs.len());
        for (name, ty) in &self.inputs {
            fed.push(match values.get(name) {
                Some(value) => value.clone(),
                None => match noise(name, ty, ids, draw) {
                    Some(tensor) => self.upload(&tensor)?,
                    None => return Err(StageError::Missing { name: name.clone() }),
                },
            });
        }
        Ok(fed)
    }
}

impl Stage {
    /// Runs on batches of exactly `size` rows, `taken` of which are samples. Rows that are missing are copies of the last sample, and
    /// what they give is dropped. Results without rows are those of the last batch.
    fn in_batches_of(&self, fed: &[&Buffer], size: usize, taken: usize) -> Result<Vec<Buffer>, StageError> {
        let fed: Vec<Tensor> = fed.iter().map(|b| b.host()).collect::<Result<_, _>>()?;
        let carries: Vec<bool> = self.inputs.iter().map(|(name, ty)| carries_rows(name, ty)).collect();
        let count = fed.iter().zip(&carries).find(|(_, carries)| **carries).map_or(0, |(t, _)| t.shape()[0]);
        let mut joined: Vec<Vec<Tensor>> = vec![Vec::new(); self.outputs.len()];
        for start in (0..count).step_by(taken.max(1)) {
            let samples = taken.min(count - start);
            let chosen: Vec<usize> = (0..size).map(|row| start + row.min(samples - 1)).collect();
            let kept: Vec<usize> = (0..samples).collect();
            let part = |(tensor, carries): (&Tensor, &bool)| {
                if *carries { self.upload(&rows(tensor, &chosen)) } else { self.upload(tensor) }
            };
            let part: Vec<Buffer> = fed.iter().zip(&carries).map(part).collect::<Result<_, _>>()?;
            let given = self.executable.run(&part.iter().collect::<Vec<_>>())?;
            for (into, buffer) in joined.iter_mut().zip(given) {
                let tensor = buffer.host()?;
                if tensor.shape().first() == Some(&size) { into.push(rows(&tensor, &kept)) } else { *into = vec![tensor] }
            }
        }
        let missing = |name: &String| StageError::Result { name: name.clone() };
        let whole = joined.iter().zip(&self.outputs).map(|(parts, name)| stacked(parts).ok_or_else(|| missing(name)));
        whole.map(|tensor| Ok(self.upload(&tensor?)?)).collect()
    }
}

/// Whether a value is the same for every sample: counters, the radius, and the weights of the model.
pub fn is_shared(name: &str) -> bool {
    matches!(name, "k" | "restart" | "eps") || name.starts_with("param_") || name.starts_with("stat_")
}

/// Whether an input has one row per sample: all but scalars, shared noise and what is the same for every sample.
fn carries_rows(name: &str, ty: &ValueType) -> bool {
    ty.shape.as_ref().is_some_and(|s| !s.is_empty()) && !name.starts_with("shared_noise_") && !is_shared(name)
}

/// Tensors of one type, one above the other.
fn stacked(parts: &[Tensor]) -> Option<Tensor> {
    let [first, ..] = parts else { return None };
    if parts.len() == 1 {
        return Some(first.clone());
    }
    flatscape_graph::with_array!(first, a => {
        fn join<T: flatscape_graph::Element>(_: &ndarray::ArrayD<T>, parts: &[Tensor]) -> Option<Tensor> {
            let views: Option<Vec<_>> = parts.iter().map(|p| p.view::<T>().map(|a| a.view())).collect();
            ndarray::concatenate(ndarray::Axis(0), &views?).ok().map(T::wrap)
        }
        join(a, parts)
    })
}

/// What can go wrong when a stage runs.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The program reads a value that was not given.
    #[error("the program reads `{name}`, which is not known at this point of its run; an `init` or an earlier step must give it")]
    Missing {
        /// The name.
        name: String,
    },
    /// A result has an unexpected element type or shape.
    #[error("the program's `{name}` has an unexpected type or shape")]
    Result {
        /// The name.
        name: String,
    },
}

/// Noise by its name: `noise_<law>_<stream>` keyed with the sample, `shared_noise_<law>_<stream>` without.
fn noise(name: &str, ty: &ValueType, ids: &[u64], draw: &Draw) -> Option<Tensor> {
    let (shared, rest) = match name.strip_prefix("shared_noise_") {
        Some(rest) => (true, rest),
        None => (false, name.strip_prefix("noise_")?),
    };
    let (law, stream) = rest.split_once('_').unwrap_or((rest, ""));
    let law = LAWS.iter().find(|(name, _)| *name == law)?.1;
    let dims = ty.shape.as_ref()?;
    let extents: Vec<usize> = dims.iter().skip(usize::from(!shared)).map(Dim::fixed).collect::<Option<_>>()?;
    let per_draw: usize = extents.iter().product();
    let step = |row: usize| match draw.step {
        Step::All(step) => step,
        Step::Probes(probes) if !shared => probes.get(row).copied().unwrap_or(0),
        Step::Probes(_) => 0,
    };
    let place = |row| Place::new(draw.seed, draw.component, stream).at(draw.restart, step(row));
    let (shape, data) = if shared {
        let mut data = vec![0f32; per_draw];
        random::fill(law, place(0), &mut data);
        (extents, data)
    } else {
        let mut data = vec![0f32; per_draw * ids.len()];
        for (row, (chunk, &id)) in data.chunks_mut(per_draw.max(1)).zip(ids).enumerate() {
            random::fill(law, place(row).sample(id), chunk);
        }
        let mut shape = vec![ids.len()];
        shape.extend(extents);
        (shape, data)
    };
    let tensor = Tensor::new(&shape, data)?;
    Some(tensor.cast(ty.dtype.unwrap_or(DType::F32)))
}
