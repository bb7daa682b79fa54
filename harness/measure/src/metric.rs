//! Runs a metric's program: `init`, the steps, then probes streamed in any batch, then `emit`. Sums are kept in f64 on the host.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use flatscape_engine::{Buffer, Engine};
use flatscape_graph::{Tensor, rows};
use flatscape_host::{Program, Role};

use crate::attack::{AttackError, Batch, host};
use crate::link::{Link, Point};
use crate::stage::{Draw, Stage, StageError, Step, Values, is_shared};

/// A metric program linked to a model and compiled.
pub struct Metric {
    component: String,
    init: Option<Stage>,
    steps: Vec<Stage>,
    probe: Option<Stage>,
    emit: Stage,
    /// Steps taken before the probes.
    count: u32,
    probes: u32,
    /// Rows per run of the probe graph.
    batch_size: usize,
}

/// What a metric found on a batch.
#[derive(Clone, Debug, Default)]
pub struct Readings {
    /// `col_<name>`: one value per sample.
    pub columns: BTreeMap<String, Vec<f64>>,
    /// `vec_<name>`: one row per sample.
    pub vectors: BTreeMap<String, Vec<Vec<f64>>>,
    /// `surface_<name>`: g·g values per sample, row-major.
    pub surfaces: BTreeMap<String, Vec<Vec<f64>>>,
    /// Evaluations of the model per sample.
    pub forwards: u64,
    /// Reverse passes per sample.
    pub backwards: u64,
}

/// One observed quantity: its running statistics per sample, and all of it where `emit` wants that.
struct Observed {
    inner: Vec<usize>,
    sum: Vec<f64>,
    max: Vec<f64>,
    all: Option<Vec<f64>>,
}

impl Metric {
    /// Links and compiles. `batch_size` bounds the rows of one run.
    pub fn compile(
        engine: &dyn Engine,
        link: &Link,
        program: &Program,
        component: &str,
        batch_size: usize,
    ) -> Result<Metric, AttackError> {
        let clean =
            |graph| -> Result<Stage, AttackError> { Ok(Stage::fast(engine, &link.stage(graph, Point::Clean, false, &[])?)?) };
        let init = program.graph(Role::Init).map(clean).transpose()?;
        let step =
            |graph| -> Result<Stage, AttackError> { Ok(Stage::fast(engine, &link.stage(graph, Point::Fed, false, &[])?)?) };
        let steps = program.graphs(Role::Step).map(step).collect::<Result<_, _>>()?;
        let probe = match (program.graph(Role::Probe), program.graph(Role::Observe)) {
            (Some(probe), Some(observe)) => Some(Stage::fast(engine, &link.probe(probe, observe)?)?),
            _ => None,
        };
        let Some(emit) = program.graph(Role::Emit) else {
            return Err(StageError::Missing { name: "emit".into() }.into());
        };
        let emit = clean(emit)?;
        let (component, batch_size) = (component.to_owned(), batch_size.max(1));
        Ok(Metric { component, init, steps, probe, emit, count: program.steps, probes: program.probes, batch_size })
    }

    /// Points per sample; 0 if the metric is taken at the sample alone.
    pub fn probes(&self) -> u32 {
        if self.probe.is_some() { self.probes } else { 0 }
    }

    /// Measures a batch with this radius. `progress` receives the number of finished probe rows after every run; `stop` is checked between runs.
    ///
    /// # Errors
    /// A stage failed, or [`AttackError::Interrupted`].
    pub fn run(
        &self,
        batch: &Batch,
        eps: f64,
        seed: u64,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Readings, AttackError> {
        let draw = |step| Draw { seed, component: &self.component, restart: 0, step };
        let mut values = Values::default();
        values.put("x0", self.emit.upload(&batch.x0)?);
        let clean = batch.clean.as_ref().unwrap_or(&batch.x0);
        values.put("x_clean", self.emit.upload(clean)?);
        values.put("x_second", self.emit.upload(batch.second.as_ref().unwrap_or(clean))?);
        values.put("y", self.emit.upload(&Tensor::ints(&batch.y))?);
        values.put("eps", self.emit.upload(&Tensor::scalar(eps as f32))?);
        let mut readings = Readings::default();
        if let Some(init) = &self.init {
            let mut given = init.run(&values, &batch.ids, &draw(Step::All(0)))?;
            readings.spend(init, 1);
            if let Some(x) = given.take("x") {
                values.put("x", x);
            }
            values.keep(given);
        }
        self.walk(batch, &mut values, &draw, stop, &mut readings)?;
        if let Some(probe) = &self.probe {
            readings.spend(probe, self.probes);
            for (name, observed) in self.observe(probe, batch, &values, seed, stop, progress)? {
                observed.publish(&name, batch.len(), self.probes as usize, &self.emit, &mut values)?;
            }
        }
        let given = self.emit.run(&values, &batch.ids, &draw(Step::All(0)))?;
        readings.spend(&self.emit, 1);
        for name in given.names() {
            readings.take(&name, &host(&given, &name)?, batch.len())?;
        }
        Ok(readings)
    }

    /// The steps, from the clean point or where `init` put `x`. States are passed on to the probes and to `emit`.
    fn walk<'a>(
        &'a self,
        batch: &Batch,
        values: &mut Values,
        draw: &dyn Fn(Step<'a>) -> Draw<'a>,
        stop: &AtomicBool,
        readings: &mut Readings,
    ) -> Result<(), AttackError> {
        if self.steps.is_empty() {
            return Ok(());
        }
        if values.get("x").is_none() {
            values.put("x", self.emit.upload(&batch.x0)?);
        }
        values.put("restart", self.emit.upload(&Tensor::scalar(0i64))?);
        values.put("broken", self.emit.upload(&Tensor::from(ndarray::ArrayD::from_elem(vec![batch.len()], false)))?);
        for (k, step) in (0..self.count).zip(self.steps.iter().cycle()) {
            go_on(stop)?;
            values.put("k", step.upload(&Tensor::scalar(i64::from(k)))?);
            let mut given = step.run(values, &batch.ids, &draw(Step::All(k + 1)))?;
            readings.spend(step, 1);
            if let Some(x) = given.take("x_next") {
                values.put("x", x);
            }
            values.keep(given);
        }
        Ok(())
    }

    /// Streams all (sample, probe) rows through the probe graph. While the engine computes a run, the next one is prepared and the
    /// last one is added; runs and sums keep their order.
    fn observe(
        &self,
        probe: &Stage,
        batch: &Batch,
        values: &Values,
        seed: u64,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(usize),
    ) -> Result<BTreeMap<String, Observed>, AttackError> {
        let draw = Draw { seed, component: &self.component, restart: 0, step: Step::All(0) };
        let mut stream = Stream::new(probe, batch, values, draw, self.probes as usize, self.batch_size)?;
        let mut found: BTreeMap<String, Observed> = BTreeMap::new();
        let mut done = 0;
        std::thread::scope(|scope| {
            let (prepared, to_run) = sync_channel(1);
            let (ran, results) = sync_channel(1);
            scope.spawn(move || {
                while let Some(run) = stream.next()
                    && prepared.send(run).is_ok()
                {}
            });
            scope.spawn(move || {
                for run in to_run {
                    let result: Result<_, AttackError> = run.and_then(|Run { places, fed }| Ok((places, probe.run_on(fed)?)));
                    let failed = result.is_err();
                    if ran.send(result).is_err() || failed {
                        break;
                    }
                }
            });
            for result in results {
                let (places, given) = result?;
                go_on(stop)?;
                for name in given.names() {
                    let Some(short) = name.strip_prefix("obs_") else { continue };
                    let tensor = host(&given, &name)?;
                    let wanted = self.emit.reads(&name);
                    found
                        .entry(short.to_owned())
                        .or_insert_with(|| Observed::new(&tensor, batch.len(), self.probes as usize, wanted))
                        .add(&tensor, &places, self.probes as usize);
                }
                done += places.len();
                progress(done);
            }
            Ok(found)
        })
    }
}

/// The runs of a probe graph, one after the other.
struct Stream<'a> {
    probe: &'a Stage,
    batch: &'a Batch,
    draw: Draw<'a>,
    /// What the graph reads, with a row for every sample.
    values: BTreeMap<String, Tensor>,
    probes: usize,
    /// Whether `i` has a value for every row. With a scalar `i` a run is all samples at one probe, otherwise any rows, sample by sample.
    by_row: bool,
    /// Rows per run.
    size: usize,
    start: usize,
    /// Runs on the same samples share what was uploaded.
    uploaded: Option<(Vec<usize>, Values)>,
}

/// A run: the sample and the probe of every row, and what the graph reads.
struct Run {
    places: Vec<(usize, usize)>,
    fed: Vec<Buffer>,
}

impl<'a> Stream<'a> {
    fn new(
        probe: &'a Stage,
        batch: &'a Batch,
        values: &Values,
        draw: Draw<'a>,
        probes: usize,
        batch_size: usize,
    ) -> Result<Stream<'a>, AttackError> {
        let by_row = probe.inputs.iter().any(|(name, ty)| name == "i" && ty.shape.as_ref().is_some_and(|s| s.len() == 1));
        let size = if by_row { batch_size } else { batch.len() }.max(1);
        let mut on_host = BTreeMap::new();
        for (name, _) in &probe.inputs {
            if let Some(buffer) = values.get(name) {
                on_host.insert(name.clone(), buffer.host()?);
            }
        }
        Ok(Stream { probe, batch, draw, values: on_host, probes, by_row, size, start: 0, uploaded: None })
    }

    /// The next run; `None` after the last one.
    fn next(&mut self) -> Option<Result<Run, AttackError>> {
        let rows = self.start..(self.start + self.size).min(self.batch.len() * self.probes);
        self.start = rows.end;
        let (by_row, samples) = (self.by_row, self.batch.len());
        let place = |row: usize| if by_row { (row / self.probes, row % self.probes) } else { (row % samples, row / samples) };
        let places: Vec<(usize, usize)> = rows.map(place).collect();
        if places.is_empty() { None } else { Some(self.fed(&places).map(|fed| Run { places, fed })) }
    }

    fn fed(&mut self, places: &[(usize, usize)]) -> Result<Vec<Buffer>, AttackError> {
        let samples: Vec<usize> = places.iter().map(|place| place.0).collect();
        let mut values = match self.uploaded.take() {
            Some((of, values)) if of == samples => values,
            _ => {
                let mut values = Values::default();
                for (name, tensor) in &self.values {
                    values.put(name, self.probe.upload(&if is_shared(name) { tensor.clone() } else { rows(tensor, &samples) })?);
                }
                values
            }
        };
        let i: Vec<i64> = places.iter().map(|place| place.1 as i64).collect();
        values.put("i", self.probe.upload(&if self.by_row { Tensor::ints(&i) } else { Tensor::scalar(i[0]) })?);
        let indices: Vec<u32> = places.iter().map(|place| place.1 as u32).collect();
        let ids: Vec<u64> = samples.iter().map(|&sample| self.batch.ids[sample]).collect();
        let fed = self.probe.fed(&values, &ids, &Draw { step: Step::Probes(&indices), ..self.draw })?;
        self.uploaded = Some((samples, values));
        Ok(fed)
    }
}

fn go_on(stop: &AtomicBool) -> Result<(), AttackError> {
    if stop.load(Ordering::Relaxed) { Err(AttackError::Interrupted) } else { Ok(()) }
}

impl Readings {
    fn spend(&mut self, stage: &Stage, times: u32) {
        self.forwards += stage.forwards * u64::from(times);
        self.backwards += stage.backwards * u64::from(times);
    }

    /// Takes an output of `emit` over; it has a row per sample.
    fn take(&mut self, name: &str, tensor: &Tensor, samples: usize) -> Result<(), AttackError> {
        if tensor.shape().first() != Some(&samples) {
            return Err(StageError::Result { name: name.to_owned() }.into());
        }
        let data = tensor.to_f64();
        let per_sample = (data.len() / samples.max(1)).max(1);
        let split = || data.chunks(per_sample).map(<[f64]>::to_vec).collect::<Vec<_>>();
        if let Some(name) = name.strip_prefix("col_") {
            self.columns.insert(name.to_owned(), data);
        } else if let Some(name) = name.strip_prefix("vec_") {
            self.vectors.insert(name.to_owned(), split());
        } else if let Some(name) = name.strip_prefix("surface_") {
            self.surfaces.insert(name.to_owned(), split());
        }
        Ok(())
    }
}

impl Observed {
    fn new(first: &Tensor, samples: usize, probes: usize, all: bool) -> Observed {
        let inner = first.shape().get(1..).unwrap_or_default().to_vec();
        let size = inner.iter().product::<usize>() * samples;
        Observed { inner, sum: vec![0.0; size], max: vec![f64::NEG_INFINITY; size], all: all.then(|| vec![0.0; size * probes]) }
    }

    fn add(&mut self, tensor: &Tensor, places: &[(usize, usize)], probes: usize) {
        let width = self.inner.iter().product::<usize>().max(1);
        let data = tensor.to_f64();
        for (row, &(sample, probe)) in data.chunks(width).zip(places) {
            for (offset, &value) in row.iter().enumerate() {
                let at = sample * width + offset;
                self.sum[at] += value;
                // a NaN must not vanish in a maximum
                self.max[at] = if value.is_nan() || self.max[at].is_nan() { f64::NAN } else { self.max[at].max(value) };
                if let Some(all) = &mut self.all {
                    all[(sample * probes + probe) * width + offset] = value;
                }
            }
        }
    }

    /// Gives `emit` what it reads: sums, means and maxima over the probes, or every observation.
    fn publish(self, name: &str, samples: usize, probes: usize, emit: &Stage, values: &mut Values) -> Result<(), AttackError> {
        let mut shape = vec![samples];
        shape.extend(&self.inner);
        let mut every = vec![samples, probes];
        every.extend(&self.inner);
        let mean = self.sum.iter().map(|v| v / probes as f64).collect();
        let mut give = |name: String, shape: &[usize], data: Option<Vec<f64>>| -> Result<(), AttackError> {
            let Some((_, ty)) = emit.inputs.iter().find(|(n, _)| *n == name) else { return Ok(()) };
            let tensor =
                data.and_then(|data| Tensor::new(shape, data)).ok_or_else(|| StageError::Result { name: name.clone() })?;
            values.put(&name, emit.upload(&tensor.cast(ty.dtype.unwrap_or(tensor.dtype())))?);
            Ok(())
        };
        give(format!("obs_{name}_sum"), &shape, Some(self.sum))?;
        give(format!("obs_{name}_mean"), &shape, Some(mean))?;
        give(format!("obs_{name}_max"), &shape, Some(self.max))?;
        give(format!("obs_{name}"), &every, self.all)?;
        Ok(())
    }
}
