//! A compiled graph with its inputs by name, and the values that wait to be fed to it. Knows engines and noise; has never
//! heard of attacks or metrics.

use std::collections::HashMap;

use flatscape_engine::{Buffer, CompileOptions, Engine, EngineError, Executable};
use flatscape_graph::{DType, Dim, Tensor, ValueType};

use crate::link::Linked;
use crate::random::{self, LAWS, Place};

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

    /// Names that are there.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

impl Stage {
    /// Compiles a linked graph.
    pub fn compile(engine: &dyn Engine, linked: &Linked) -> Result<Stage, EngineError> {
        let graph = &linked.graph;
        let executable = engine.compile(graph, &CompileOptions::default())?;
        let named = |id: &flatscape_graph::ValueId| (graph.value(*id).name.to_string(), graph.value(*id).ty.clone());
        Ok(Stage {
            executable,
            inputs: graph.inputs().iter().map(named).collect(),
            outputs: graph.outputs().iter().map(|o| o.name.to_string()).collect(),
            forwards: u64::from(linked.forwards),
            backwards: u64::from(linked.backwards),
        })
    }

    /// Whether the program reads this name.
    pub fn reads(&self, name: &str) -> bool {
        self.inputs.iter().any(|(n, _)| n == name)
    }

    /// Whether the program gives this name.
    pub fn gives(&self, name: &str) -> bool {
        self.outputs.iter().any(|n| n == name)
    }

    /// Brings a host tensor to where this stage runs.
    pub fn upload(&self, tensor: &Tensor) -> Result<Buffer, EngineError> {
        self.executable.upload(tensor)
    }

    /// Runs on the samples `ids`. Noise that the graph names is drawn here, keyed by sample; everything else must be in
    /// `values`.
    pub fn run(&self, values: &Values, ids: &[u64], draw: &Draw) -> Result<Values, StageError> {
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
        let borrowed: Vec<&Buffer> = fed.iter().collect();
        let results = self.executable.run(&borrowed)?;
        Ok(Values(self.outputs.iter().cloned().zip(results).collect()))
    }
}

/// What can go wrong when a stage runs.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The program reads a value that nobody has given.
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

/// The chosen rows of a host tensor, along its first axis.
pub fn rows(tensor: &Tensor, chosen: &[usize]) -> Tensor {
    flatscape_graph::with_array!(tensor, a => Tensor::from(a.select(ndarray::Axis(0), chosen)))
}
