//! The loss of a model as a function of its weights, over samples that stay: values, gradients, products with the Hessian, projected
//! gradient ascent on the images. Knows graphs and engines; of plugins only the questions that they may ask.
//!
//! Values are those of one compilation per θ with the weights as constants, because engines have faster kernels for constants. Where
//! weights are many, ONNX Runtime would need longer for that than for the samples: they are inputs there, as they are for gradients
//! and products, which are compiled once. Sums are in double on the host, in the order of the chunks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use flatscape_autodiff::{DiffError, vjp};
use flatscape_engine::{Buffer, CompileOptions, Engine, EngineError, Executable, rows_are_independent};
use flatscape_graph::normalize::{Options, normalize};
use flatscape_graph::{Attributes, Builder, DType, Dim, Expr, Graph, OPSET, Tensor, ValueId, ValueType, simplify};
use flatscape_intake::data::Dataset;
use flatscape_intake::functions;
use flatscape_intake::model::{Model, ModelRequest, Trace, Trainable};
use flatscape_intake::random::{Law, Place, fill};
use flatscape_intake::refusal::{Refusal, escape};
use flatscape_intake::scores::argmax;

use crate::folded::folded;
use crate::form::{self, Form, parameter, statistic};
use crate::segments::Segments;

/// Rows of a run where values are wanted: the engine cuts them into micro-batches on all its threads.
const ROWS: usize = 512;
/// Weights from which ONNX Runtime is given them with every run of so many rows, and compiles once.
const MANY: usize = 1 << 20;
const ROWS_OF_MANY: usize = 256;
/// Rows of a run where derivatives are wanted, and in how many parts they run; both fixed, so that sums have one order.
const GRADIENT_ROWS: usize = 128;
const PARTS: usize = 2;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SpaceError {
    /// An operator has no derivative.
    #[error(transparent)]
    Differentiate(#[from] DiffError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A graph is not as it should be, or a result has another form.
    #[error("{0}")]
    Form(String),
    /// The run was asked to stop.
    #[error("the run was asked to stop")]
    Interrupted,
}

/// A model as a function of θ, and the samples.
pub struct Space<'a> {
    engine: &'a dyn Engine,
    model: &'a Model,
    request: &'a ModelRequest,
    trainable: Trainable,
    form: Form,
    /// What each weight is.
    pub segments: Segments,
    stop: &'a AtomicBool,
    chunks: Vec<Chunk>,
    /// How many samples.
    pub samples: usize,
    /// Whether the loss was asked for at some weights.
    moved: bool,
    /// Statistics that stand in place of those of θ, after [`Space::refresh`].
    refreshed: Option<Vec<Tensor>>,
    /// Whether weights are inputs where values are wanted.
    pub(crate) brings_weights: bool,
    values: Option<Compiled>,
    gradient: Option<Compiled>,
    product: Option<Compiled>,
    statistics: Option<Box<dyn Executable>>,
}

/// Samples that run together.
struct Chunk {
    ids: Vec<u64>,
    labels: Vec<i64>,
    /// The images, and where they are moved to.
    x0: Tensor,
    x: Tensor,
}

/// A compiled graph and the names of what it reads.
struct Compiled {
    executable: Box<dyn Executable>,
    inputs: Vec<String>,
}

/// Where the images go.
#[derive(Clone, Copy, Debug)]
pub struct Ball {
    /// Radius in linf, pixel units.
    pub eps: f64,
    /// Length of a step.
    pub alpha: f64,
    /// Steps.
    pub steps: u32,
    /// Whether the ascent starts where the images are.
    pub go_on: bool,
    /// The box.
    pub range: (f32, f32),
    /// Keys the start.
    pub seed: u64,
}

/// The name of the first constant that is not a weight and has different values in two graphs with the same operators.
fn unlike(trainable: &Trainable, one: &Graph, other: &Graph) -> Option<String> {
    let constant =
        |graph: &Graph, id: Option<ValueId>| graph.constant(id?).filter(|t| trainable.trace(t) == Trace::Nothing).cloned();
    let pairs = one.nodes().iter().zip(other.nodes()).flat_map(|(a, b)| a.inputs.iter().zip(&b.inputs));
    pairs.into_iter().find_map(|(&a, &b)| {
        let (x, y) = (constant(one, a)?, constant(other, b)?);
        let name = one.value(a?).name.to_string();
        (x != y).then_some(name)
    })
}

impl<'a> Space<'a> {
    /// Opens a model on the samples `ids`.
    ///
    /// # Errors
    /// `M052`, `M160` to `M162`: its batch is fixed, it has no weights, or they cannot be followed.
    pub fn open(
        engine: &'a dyn Engine,
        model: &'a Model,
        request: &'a ModelRequest,
        dataset: &Dataset,
        ids: &[u64],
        stop: &'a AtomicBool,
    ) -> Result<Space<'a>, Refusal> {
        let trainable = Trainable::load(&request.source, &request.intake, Some(model.classes))?;
        let marked = form::marked(&trainable, &model.pixels, model.shape)?;
        let refused = |e: String| Refusal::model(162, format!("{}: {e}", model.name)).help(form::EXPORT_AGAIN);
        let form = Form::of(&trainable, &marked, &vec![true; trainable.weights.len()]).map_err(refused)?;
        let segments = Segments::of(&trainable, &marked, &form);
        let chunks = ids.chunks(ROWS).map(|ids| {
            let part = dataset.gather(ids);
            Chunk { ids: part.ids, labels: part.y, x: part.x.clone(), x0: part.x }
        });
        let weights: usize = segments.segments.iter().map(|s| s.size).sum();
        Ok(Space {
            brings_weights: weights >= MANY && engine.name() == "ort",
            engine,
            model,
            request,
            trainable,
            form,
            segments,
            stop,
            chunks: chunks.collect(),
            samples: ids.len(),
            moved: false,
            refreshed: None,
            values: None,
            gradient: None,
            product: None,
            statistics: None,
        })
    }

    /// A sentence that names the constants that are not recognised as weights, where the loss was asked for at some weights.
    pub fn unrecognised(&self) -> Option<String> {
        self.trainable.unrecognised().filter(|_| self.moved)
    }

    /// The weights of the file.
    pub fn theta(&self) -> Vec<f32> {
        values(&self.trainable, &self.segments)
    }

    /// The weights of another file of the same architecture, by name.
    ///
    /// # Errors
    /// `M163`: it has other layers, other weights, or weights of another shape; and as for a model.
    pub fn other(&self, file: &str) -> Result<Vec<f32>, Refusal> {
        let other = Trainable::load(file, &self.request.intake, Some(self.model.classes))?;
        let differ = |why: String| {
            let what = format!("{} and {} have different architectures: {why}", self.model.name, escape(file));
            Refusal::model(163, what).help("name files of one architecture, exported in the same way")
        };
        let graph = |t: &Trainable| form::marked(t, &self.model.pixels, self.model.shape);
        let graphs = (graph(&self.trainable)?, graph(&other)?);
        let operators = |graph: &Graph| -> Vec<String> { graph.nodes().iter().map(|n| n.op.to_string()).collect() };
        let (own, others) = (operators(&graphs.0), operators(&graphs.1));
        if own != others {
            let place = own.iter().zip(&others).take_while(|(a, b)| a == b).count();
            let at = |list: &[String]| list.get(place).map_or("nothing", String::as_str).to_owned();
            return Err(differ(format!("operator {} is {} in one and {} in the other", place + 1, at(&own), at(&others))));
        }
        if let Some(name) = unlike(&self.trainable, &graphs.0, &graphs.1) {
            return Err(differ(format!(
                "the constant {}, which is not recognised as a weight, has different values in the two files",
                escape(&name)
            )));
        }
        let mut theta = Vec::with_capacity(self.segments.filters.len());
        for (segment, &weight) in self.segments.segments.iter().zip(&self.segments.weights) {
            let role = self.trainable.weights[weight].role;
            let found = other.weights.iter().find(|w| w.name == segment.name && w.role == role);
            let found = found.ok_or_else(|| differ(format!("only the first has a weight {}", escape(&segment.name))))?;
            if found.value.shape() != segment.shape {
                let shapes = format!("{:?} in one and {:?} in the other", segment.shape, found.value.shape());
                return Err(differ(format!("the weight {} is {shapes}", escape(&segment.name))));
            }
            theta.extend(found.value.to_f64().into_iter().map(|v| v as f32));
        }
        Ok(theta)
    }

    /// θ as tensors: parameters, then statistics or what stands in their place.
    fn tensors(&self, theta: &[f32]) -> Result<(Vec<Tensor>, Vec<Tensor>), SpaceError> {
        let whole = |s: &flatscape_host::Segment| {
            let part = theta.get(s.offset..s.offset + s.size).map(<[f32]>::to_vec);
            part.and_then(|part| Tensor::new(&s.shape, part)).ok_or_else(|| SpaceError::Form("θ has another size".to_owned()))
        };
        let mut all: Vec<Tensor> = self.segments.segments.iter().map(whole).collect::<Result<_, _>>()?;
        let statistics = all.split_off(self.form.trained.len());
        Ok((all, self.refreshed.clone().unwrap_or(statistics)))
    }

    /// The model with these weights as constants: x in, logits out. Normalisation is folded, as in every graph that is only run.
    fn filled(&self, theta: &[f32]) -> Result<Graph, SpaceError> {
        let (parameters, statistics) = self.tensors(theta)?;
        let mut graph = self.form.evaluation.clone();
        let named = parameters.into_iter().enumerate().map(|(i, t)| (parameter(i), t));
        for (name, tensor) in named.chain(statistics.into_iter().enumerate().map(|(i, t)| (statistic(i), t))) {
            if let Some(input) = graph.input_named(&name) {
                let dtype = graph.dtype(input).unwrap_or(DType::F32);
                graph = graph.with_constant_input(input, tensor.cast(dtype));
            }
        }
        normalize(&graph, OPSET, &Options::default()).map_err(|e| SpaceError::Form(e.to_string()))
    }

    /// Mean cross-entropy and accuracy at θ.
    ///
    /// # Errors
    /// The engine failed, or the run was asked to stop.
    pub fn loss(&mut self, theta: &[f32]) -> Result<[f64; 2], SpaceError> {
        self.moved = true;
        self.go_on()?;
        let many = self.brings_weights;
        let compiled = match self.values.take().filter(|_| many) {
            Some(there) => there,
            None if many => {
                self.compile(&folded(&self.form.evaluation), CompileOptions { split: false, ..fast(ROWS_OF_MANY) })?
            }
            None => self.compile(&self.filled(theta)?, CompileOptions::fast())?,
        };
        let fixed = if many { self.fixed(&compiled, theta)? } else { HashMap::new() };
        let (mut loss, mut right) = (0.0, 0usize);
        for chunk in &self.chunks {
            let all: Vec<usize> = (0..chunk.labels.len()).collect();
            for rows in all.chunks(if many { ROWS_OF_MANY } else { ROWS }) {
                self.go_on()?;
                let x = compiled.executable.upload(&flatscape_graph::rows(&chunk.x, rows))?;
                let given = compiled.run(&fixed, &[("x", &x)])?;
                let logits = given.first().ok_or_else(|| SpaceError::Form("the model gives nothing".into()))?.host()?.to_f64();
                let classes = (logits.len() / rows.len().max(1)).max(1);
                for (z, &row) in logits.chunks(classes).zip(rows) {
                    let label = usize::try_from(chunk.labels[row]).unwrap_or(usize::MAX);
                    loss += z.get(label).map_or(f64::NAN, |own| log_sum_exp(z) - own);
                    right += usize::from(argmax(z) == Some(label));
                }
            }
        }
        self.values = many.then_some(compiled);
        let n = self.samples.max(1) as f64;
        Ok([loss / n, right as f64 / n])
    }

    /// Mean cross-entropy and its gradient at θ.
    ///
    /// # Errors
    /// As for [`Space::loss`]; an operator has no derivative.
    pub fn gradient(&mut self, theta: &[f32]) -> Result<(f64, Vec<f32>), SpaceError> {
        self.moved = true;
        let derivative = match self.gradient.take() {
            Some(there) => there,
            None => self.compiled(&self.differentiated(false)?)?,
        };
        let (loss, sums) = self.summed(&derivative, theta, None)?;
        self.gradient = Some(derivative);
        Ok((loss / self.samples.max(1) as f64, sums))
    }

    /// The Hessian of the mean cross-entropy at θ times v.
    ///
    /// # Errors
    /// As for [`Space::gradient`].
    pub fn hvp(&mut self, theta: &[f32], v: &[f32]) -> Result<Vec<f32>, SpaceError> {
        self.moved = true;
        let derivative = match self.product.take() {
            Some(there) => there,
            None => self.compiled(&self.differentiated(true)?)?,
        };
        let (_, sums) = self.summed(&derivative, theta, Some(v))?;
        self.product = Some(derivative);
        Ok(sums)
    }

    /// The sum of the losses over all samples, and of `d_<i>` divided by their number, as one vector.
    fn summed(&self, derivative: &Compiled, theta: &[f32], v: Option<&[f32]>) -> Result<(f64, Vec<f32>), SpaceError> {
        let mut fixed = self.fixed(derivative, theta)?;
        if let Some(v) = v {
            for (i, tensor) in self.tensors(v)?.0.iter().enumerate() {
                derivative.put(&mut fixed, format!("v_{i}"), tensor)?;
            }
        }
        derivative.put(&mut fixed, "weight".to_owned(), &Tensor::scalar((1.0 / self.samples.max(1) as f64) as f32))?;
        let mut sums = vec![0.0f64; theta.len()];
        let mut loss = 0.0;
        for chunk in &self.chunks {
            let rows: Vec<usize> = (0..chunk.labels.len()).collect();
            for rows in rows.chunks(GRADIENT_ROWS) {
                self.go_on()?;
                let x = derivative.executable.upload(&flatscape_graph::rows(&chunk.x, rows))?;
                let labels: Vec<i64> = rows.iter().map(|&row| chunk.labels[row]).collect();
                let y = derivative.executable.upload(&Tensor::ints(&labels))?;
                let mut given = derivative.run(&fixed, &[("x", &x), ("y", &y)])?.into_iter();
                let losses = given.next().ok_or_else(|| SpaceError::Form("a derivative gives nothing".into()))?;
                loss += losses.host()?.to_f64().iter().sum::<f64>();
                for (segment, part) in self.segments.segments.iter().zip(given) {
                    let part = part.host()?.to_f64();
                    sums[segment.offset..segment.offset + segment.size].iter_mut().zip(part).for_each(|(sum, v)| *sum += v);
                }
            }
        }
        Ok((loss, sums.into_iter().map(|v| v as f32).collect()))
    }

    /// The losses [N] and, for every parameter, the derivative of weight · Σ loss, or of that derivative along `v`.
    fn differentiated(&self, along: bool) -> Result<Graph, SpaceError> {
        let b = Builder::new(self.form.evaluation.clone());
        let logits =
            b.graph().outputs().first().map(|o| o.value).ok_or_else(|| SpaceError::Form("the model gives nothing".into()))?;
        let logits = b.expr(logits);
        let inputs: Vec<ValueId> = (0..self.form.trained.len()).filter_map(|i| b.graph().input_named(&parameter(i))).collect();
        let y = b.input("y", ValueType::new(DType::I64, vec![Dim::symbol("N")]));
        let weight = b.input("weight", ValueType::new(DType::F32, vec![])).cast(logits.dtype());
        let (loss, ct) = functions::cross_entropy(&b, logits, y);
        let gradient = slopes(&b, logits.id, (ct * weight).id, &inputs)?;
        let derivatives = if along { self.along(&b, &gradient, &inputs)? } else { gradient };
        b.graph_mut().set_outputs(Vec::new());
        b.output("loss", loss);
        for (i, derivative) in derivatives.into_iter().enumerate() {
            b.output(&format!("d_{i}"), derivative);
        }
        let graph = simplify(&b.into_graph().without_dead());
        graph.check().map_err(|e| SpaceError::Form(e.to_string()))?;
        Ok(graph)
    }

    /// The derivatives of Σ_i ⟨g_i, v_i⟩ by the parameters: Hv.
    fn along<'b>(&self, b: &'b Builder, gradient: &[Expr<'b>], inputs: &[ValueId]) -> Result<Vec<Expr<'b>>, SpaceError> {
        let mut total: Option<Expr<'b>> = None;
        for (i, (&g, segment)) in gradient.iter().zip(&self.segments.segments).enumerate() {
            let v = b.input(&format!("v_{i}"), ValueType::fixed(DType::F32, &segment.shape)).cast(g.dtype());
            let axes: Vec<i64> = (0..segment.shape.len() as i64).collect();
            let product = g * v;
            let part = if axes.is_empty() { product } else { product.sum(&axes, false) };
            total = Some(total.map_or(part, |sum| sum + part));
        }
        let total = total.ok_or_else(|| SpaceError::Form("the model has no parameters".into()))?;
        slopes(b, total.id, total.scalar(1.0).id, inputs)
    }

    fn compiled(&self, graph: &Graph) -> Result<Compiled, SpaceError> {
        let sums = rows_are_independent(&self.form.evaluation).then_some(PARTS);
        let rows = if sums.is_some() { GRADIENT_ROWS / PARTS } else { GRADIENT_ROWS };
        self.compile(graph, CompileOptions { split: false, sums, ..fast(rows) })
    }

    fn compile(&self, graph: &Graph, options: CompileOptions) -> Result<Compiled, SpaceError> {
        let inputs = graph.inputs().iter().map(|&id| graph.value(id).name.to_string()).collect();
        Ok(Compiled { executable: self.engine.compile(graph, &options)?, inputs })
    }

    /// θ in the engine, by name.
    fn fixed(&self, compiled: &Compiled, theta: &[f32]) -> Result<HashMap<String, Buffer>, SpaceError> {
        let (parameters, statistics) = self.tensors(theta)?;
        let mut fixed = HashMap::new();
        for (i, tensor) in parameters.iter().enumerate() {
            compiled.put(&mut fixed, parameter(i), tensor)?;
        }
        for (i, tensor) in statistics.iter().enumerate() {
            compiled.put(&mut fixed, statistic(i), tensor)?;
        }
        Ok(fixed)
    }

    /// Moves the images by projected gradient ascent on the cross-entropy at θ: sign steps in the ball and the box.
    ///
    /// # Errors
    /// As for [`Space::gradient`].
    pub fn attack(&mut self, theta: &[f32], ball: &Ball) -> Result<(), SpaceError> {
        if ball.eps == 0.0 {
            self.chunks.iter_mut().for_each(|chunk| chunk.x.clone_from(&chunk.x0));
            return Ok(());
        }
        let step = self.engine.compile(&stepping(self.filled(theta)?, ball)?, &CompileOptions::fast())?;
        let stop = self.stop;
        for chunk in &mut self.chunks {
            if !ball.go_on {
                chunk.x = started(chunk, ball)?;
            }
            let (x0, y) = (step.upload(&chunk.x0)?, step.upload(&Tensor::ints(&chunk.labels))?);
            let mut x = step.upload(&chunk.x)?;
            for _ in 0..ball.steps {
                if stop.load(Ordering::Relaxed) {
                    return Err(SpaceError::Interrupted);
                }
                x = step
                    .run(&[&x, &x0, &y])?
                    .into_iter()
                    .next()
                    .ok_or_else(|| SpaceError::Form("a step gives nothing".into()))?;
            }
            chunk.x = x.host()?;
        }
        Ok(())
    }

    /// Lets batch normalisation have the statistics of the samples at θ from now on, or with `None` those of θ again: the means over
    /// chunks of the statistics of each, the variance unbiased.
    ///
    /// # Errors
    /// The engine failed.
    pub fn refresh(&mut self, theta: Option<&[f32]>) -> Result<(), SpaceError> {
        self.refreshed = None;
        let Some(theta) = theta.filter(|_| !self.form.statistics.is_empty()) else { return Ok(()) };
        let graph = form::batch_statistics(&self.form);
        let executable = match self.statistics.take() {
            Some(there) => there,
            None => self.engine.compile(&graph, &CompileOptions { split: false, ..CompileOptions::default() })?,
        };
        let (parameters, _) = self.tensors(theta)?;
        let mut sums = form::Averages::new(&self.form);
        for chunk in &self.chunks {
            self.go_on()?;
            let mut fed = Vec::new();
            for &input in graph.inputs() {
                let name = &graph.value(input).name;
                let place = (0..parameters.len()).find(|&i| parameter(i) == **name);
                let tensor = match place {
                    Some(i) => parameters[i].clone(),
                    None if &**name == "x" => chunk.x0.clone(),
                    // dropout is off
                    None => self.form.open_mask(name, chunk.labels.len()),
                };
                fed.push(executable.upload(&tensor)?);
            }
            let given = executable.run(&fed.iter().collect::<Vec<_>>())?;
            let named = graph.outputs().iter().map(|o| o.name.to_string()).zip(given);
            let named: HashMap<String, Buffer> = named.collect();
            let read = |name: &str| named.get(name).and_then(|buffer| buffer.host().ok()).map(|t| t.to_f64());
            sums.add(chunk.labels.len(), read).map_err(|name| SpaceError::Form(format!("there is no {name}")))?;
        }
        self.refreshed = Some(sums.means());
        self.statistics = Some(executable);
        Ok(())
    }

    fn go_on(&self) -> Result<(), SpaceError> {
        if self.stop.load(Ordering::Relaxed) { Err(SpaceError::Interrupted) } else { Ok(()) }
    }
}

impl Compiled {
    /// Puts a tensor into the engine, if it is read.
    fn put(&self, fixed: &mut HashMap<String, Buffer>, name: String, tensor: &Tensor) -> Result<(), SpaceError> {
        if self.inputs.contains(&name) {
            fixed.insert(name, self.executable.upload(tensor)?);
        }
        Ok(())
    }

    /// Runs with what stays and what is of some samples.
    fn run(&self, fixed: &HashMap<String, Buffer>, samples: &[(&str, &Buffer)]) -> Result<Vec<Buffer>, SpaceError> {
        let fed = self.inputs.iter().map(|name| {
            let own = samples.iter().find(|(own, _)| own == name).map(|(_, buffer)| *buffer);
            own.or_else(|| fixed.get(name)).ok_or_else(|| SpaceError::Form(format!("{name} has no value")))
        });
        Ok(self.executable.run(&fed.collect::<Result<Vec<_>, _>>()?)?)
    }
}

/// Options where a run has so many rows.
fn fast(rows: usize) -> CompileOptions {
    CompileOptions { rows: Some(rows), ..CompileOptions::default() }
}

/// The weights of a file in the order of segments.
fn values(trainable: &Trainable, segments: &Segments) -> Vec<f32> {
    segments.weights.iter().flat_map(|&w| trainable.weights[w].value.to_f64()).map(|v| v as f32).collect()
}

/// Derivatives by inputs, zeros where there are none.
fn slopes<'b>(b: &'b Builder, y: ValueId, ct: ValueId, inputs: &[ValueId]) -> Result<Vec<Expr<'b>>, SpaceError> {
    let found = vjp(b, y, ct, inputs)?;
    Ok(found.into_iter().zip(inputs).map(|(d, &input)| d.map_or_else(|| b.expr(input) * 0.0, |d| b.expr(d))).collect())
}

/// One step of ascent as a graph: x, x0, y in, the next x out.
fn stepping(model: Graph, ball: &Ball) -> Result<Graph, SpaceError> {
    let b = Builder::new(model);
    let form = |what: &str| SpaceError::Form(what.to_owned());
    let x = b.graph().input_named("x").ok_or_else(|| form("the model has no x"))?;
    let logits = b.graph().outputs().first().map(|o| o.value).ok_or_else(|| form("the model gives nothing"))?;
    let ty = b.graph().value(x).ty.clone();
    let x0 = b.input("x0", ty);
    let y = b.input("y", ValueType::new(DType::I64, vec![Dim::symbol("N")]));
    let logits = b.expr(logits);
    let ct = functions::ascent(&b, logits, y);
    let slope = slopes(&b, logits.id, ct.id, &[x])?[0];
    let moved = b.expr(x) + slope.sign() * ball.alpha;
    let (low, high) = (x0 - ball.eps, x0 + ball.eps);
    let inside = b.op("Max", &[b.op("Min", &[moved, high], Attributes::none()), low], Attributes::none());
    let (lo, hi) = (inside.scalar(ball.range.0.into()), inside.scalar(ball.range.1.into()));
    let next = b.op("Max", &[b.op("Min", &[inside, hi], Attributes::none()), lo], Attributes::none());
    b.graph_mut().set_outputs(Vec::new());
    b.output("x_next", next);
    let graph = simplify(&b.into_graph().without_dead());
    graph.check().map_err(|e| SpaceError::Form(e.to_string()))?;
    Ok(graph)
}

/// Where an ascent starts: uniform in the ball, inside of the box, keyed by sample.
fn started(chunk: &Chunk, ball: &Ball) -> Result<Tensor, SpaceError> {
    let wrong = || SpaceError::Form("an image has another size".to_owned());
    let mut x = chunk.x0.to_vec::<f32>().ok_or_else(wrong)?;
    let size = x.len() / chunk.ids.len().max(1);
    let mut drawn = vec![0f32; size];
    for (image, &id) in x.chunks_mut(size.max(1)).zip(&chunk.ids) {
        fill(Law::Uniform, Place::new(ball.seed, "weights", "start").sample(id), &mut drawn);
        for (pixel, u) in image.iter_mut().zip(&drawn) {
            *pixel = (*pixel + (ball.eps as f32) * u).clamp(ball.range.0, ball.range.1);
        }
    }
    Tensor::new(chunk.x0.shape(), x).ok_or_else(wrong)
}

fn log_sum_exp(z: &[f64]) -> f64 {
    let most = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most.is_finite() { most + z.iter().map(|v| (v - most).exp()).sum::<f64>().ln() } else { f64::NAN }
}
