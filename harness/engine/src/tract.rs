//! tract: the engine that is compiled in. CPU only, float64 throughout, no library to look for.
//!
//! tract optimises for concrete shapes, so a graph is specialised when a batch size is first seen and kept.

mod conv64;
mod double;
mod einsum;
mod gate;
mod missing;
mod own;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use flatscape_graph::onnx::OwnFile;
use flatscape_graph::{DType, Element, Graph, Tensor};
use tract_onnx::prelude::{
    Datum, DatumType, Framework, InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, IntoTValue, TValue,
    Tensor as Array, TractError, TractResult, TypedRunnableModel,
};

use crate::engine::{CompileOptions, Device, Engine, EngineInfo, Executable, Settings};
use crate::rows::{self, Cut, Slice};
use crate::signature::Signature;
use crate::workers::Workers;
use crate::{Buffer, EngineError, lower};

/// What `--engine` takes.
pub(crate) const NAME: &str = "tract";

/// The version that is compiled in; a test compares it with the lock file.
pub(crate) const VERSION: &str = "0.23.9";

pub(crate) fn open(settings: &Settings) -> Result<Arc<dyn Engine>, EngineError> {
    if settings.device != Device::Cpu {
        return Err(EngineError::Device {
            device: settings.device.to_string(),
            reason: "tract runs on the CPU only".to_owned(),
            remedy: "use --engine ort with the CUDA build of ONNX Runtime (`flatscape runtime install --cuda`)".to_owned(),
        });
    }
    let workers = Workers::start(NAME, settings.thread_count())?;
    Ok(Arc::new(Tract { plain: settings.plain, workers: Arc::new(workers) }))
}

struct Tract {
    /// Whether special forms of layers are switched off.
    plain: bool,
    workers: Arc<Workers>,
}

impl Engine for Tract {
    fn name(&self) -> &'static str {
        NAME
    }

    fn info(&self) -> EngineInfo {
        EngineInfo {
            name: NAME.to_owned(),
            version: VERSION.to_owned(),
            library: None,
            library_sha256: None,
            origin: "compiled in".to_owned(),
            device: Device::Cpu.to_string(),
            providers: Vec::new(),
            threads: self.workers.threads(),
            options: self.plain.then(|| ("plain".to_owned(), "1".to_owned())).into_iter().collect(),
        }
    }

    fn compile(&self, graph: &Graph, options: &CompileOptions) -> Result<Box<dyn Executable>, EngineError> {
        let graph = &*graph.with_plain_interface();
        let refused = |reason: String| EngineError::Compile { engine: NAME, graph: graph.name.clone(), reason };
        let rows = options.rows.filter(|_| !self.plain);
        let lowered = if options.lower { &lower::lower(graph, NAME, rows) } else { graph };
        let mut written = conv64::written(&missing::written(lowered));
        // tract keeps nodes and constants under one set of names, and adds a suffix where it expands a node
        written.name_nodes(&|i, node| format!("{i}:{}", if node.name.is_empty() { &node.op } else { &node.name }));
        let bytes = flatscape_graph::onnx::write(&written);
        let mut onnx = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
        conv64::register(&mut onnx.op_register);
        double::register(&mut onnx.op_register);
        gate::register(&mut onnx.op_register);
        own::register(&mut onnx.op_register);
        let model = guarded(|| onnx.model_for_read(&mut &bytes[..])).map_err(|e| refused(chain(&e)))?;
        let plan = Plan {
            signature: Signature::of(graph),
            cut: Cut::by(graph, options),
            usual: rows.map_or(1, |_| rows::usual(rows::multiplications(graph))),
            model,
            specialised: Mutex::default(),
            workers: self.workers.clone(),
        };
        // a graph of fixed shapes is specialised now, so that what tract cannot do is said at compile time
        let fixed = |(_, ty): &(_, flatscape_graph::ValueType)| {
            ty.shape.as_ref()?.iter().map(flatscape_graph::Dim::fixed).collect::<Option<Vec<usize>>>()
        };
        let shapes: Option<Vec<Vec<usize>>> = plan.signature.inputs.iter().map(fixed).collect();
        if let Some(shapes) = shapes {
            guarded(|| plan.specialise(&shapes)).map_err(|e| refused(chain(&e)))?;
        }
        Ok(Box::new(plan))
    }

    fn compile_file(&self, _: &OwnFile) -> Result<Box<dyn Executable>, EngineError> {
        let clause = "does not run files as they are; it runs graphs that are written for it, in float32".to_owned();
        Err(EngineError::File { engine: NAME, clause })
    }
}

/// The extents of all inputs.
type Shapes = Vec<Vec<usize>>;

struct Plan {
    signature: Signature,
    cut: Option<Cut>,
    /// Rows of a micro-batch.
    usual: usize,
    model: InferenceModel,
    specialised: Mutex<HashMap<Shapes, Arc<TypedRunnableModel>>>,
    workers: Arc<Workers>,
}

impl Executable for Plan {
    fn run(&self, inputs: &[&Buffer]) -> Result<Vec<Buffer>, EngineError> {
        let sources = self.signature.on_host(NAME, inputs)?;
        self.run_pieces(
            &match &self.cut {
                Some(cut) => cut.pieces(&sources, 1, self.usual),
                None => vec![sources.into_iter().map(Slice::from).collect()],
            },
            self.cut.as_ref(),
        )
    }

    fn run_each(&self, inputs: &[&Buffer]) -> Result<Vec<Buffer>, EngineError> {
        let sources = self.signature.on_host(NAME, inputs)?;
        self.run_pieces(&Cut::each(&self.signature)?.single_rows(&sources), None)
    }

    fn upload(&self, tensor: &Tensor) -> Result<Buffer, EngineError> {
        Ok(Buffer::from(tensor.clone()))
    }
}

impl Plan {
    fn run_pieces(&self, pieces: &[Vec<Slice>], cut: Option<&Cut>) -> Result<Vec<Buffer>, EngineError> {
        let failed = |reason: String| EngineError::run(NAME, &self.signature.graph, reason);
        let results =
            self.workers.run(pieces.len(), &|i| guarded(|| self.run_piece(&pieces[i])).map_err(|e| failed(chain(&e))))?;
        let joined = rows::join(results, cut).ok_or_else(|| failed(rows::MISFIT.to_owned()))?;
        Ok(joined.into_iter().map(Buffer::from).collect())
    }

    fn run_piece(&self, piece: &[Slice]) -> TractResult<Vec<Tensor>> {
        let shapes: Shapes = piece.iter().map(Slice::shape).collect();
        let plan = self.specialise(&shapes)?;
        let inputs = piece.iter().map(to_tract).collect::<TractResult<_>>()?;
        plan.run(inputs)?.iter().map(from_tract).collect()
    }

    fn specialise(&self, shapes: &Shapes) -> TractResult<Arc<TypedRunnableModel>> {
        // the lock is held while tract optimises: other threads of the same batch wait for the same plan
        let mut known = self.specialised.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = known.get(shapes) {
            return Ok(plan.clone());
        }
        let mut model = self.model.clone();
        for (index, (shape, (_, ty))) in shapes.iter().zip(&self.signature.inputs).enumerate() {
            let dtype = datum_type(ty.dtype.unwrap_or(DType::F32));
            model.set_input_fact(index, InferenceFact::dt_shape(dtype, shape))?;
        }
        let plan = model.into_optimized()?.into_runnable()?;
        known.insert(shapes.clone(), plan.clone());
        Ok(plan)
    }
}

fn to_tract(slice: &Slice) -> TractResult<TValue> {
    fn array<'a, T: Element + Datum + Copy>(slice: &Slice<'a>, a: &'a ndarray::ArrayD<T>) -> TractResult<TValue> {
        let data = slice.elements(a).ok_or_else(|| TractError::msg("an input is not row-major"))?;
        Ok(Array::from_shape(&slice.shape(), data)?.into_tvalue())
    }
    let tensor = slice.tensor().ok_or_else(|| TractError::msg("rows of an input are missing"))?;
    flatscape_graph::with_array!(tensor, a => array(slice, a))
}

fn from_tract(value: &TValue) -> TractResult<Tensor> {
    fn tensor<T: Element + Datum>(value: &TValue) -> TractResult<Tensor> {
        let array = value.to_plain_array_view::<T>()?;
        let elements = array.as_slice().map_or_else(|| array.iter().cloned().collect(), <[T]>::to_vec);
        Tensor::new(value.shape(), elements).ok_or_else(|| TractError::msg("a result has an impossible shape"))
    }
    match value.datum_type() {
        DatumType::F32 => tensor::<f32>(value),
        DatumType::F64 => tensor::<f64>(value),
        DatumType::I8 => tensor::<i8>(value),
        DatumType::I32 => tensor::<i32>(value),
        DatumType::I64 => tensor::<i64>(value),
        DatumType::U8 => tensor::<u8>(value),
        DatumType::Bool => tensor::<bool>(value),
        DatumType::TDim => from_tract(&value.cast_to::<i64>()?.into_owned().into_tvalue()),
        other => Err(TractError::msg(format!("a result has the element type {other:?}"))),
    }
}

fn datum_type(dtype: DType) -> DatumType {
    match dtype {
        DType::F32 => DatumType::F32,
        DType::F64 => DatumType::F64,
        DType::I8 => DatumType::I8,
        DType::I32 => DatumType::I32,
        DType::I64 => DatumType::I64,
        DType::U8 => DatumType::U8,
        DType::Bool => DatumType::Bool,
    }
}

/// tract panics where it should refuse, on graphs that it does not expect; here that is an error like any other.
fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> TractResult<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(TractError::msg(format!("it panicked: {}", text.unwrap_or("without a word"))))
    })
}

/// The error and its causes, outermost first.
fn chain(error: &TractError) -> String {
    error.chain().map(|cause| cause.to_string().trim().to_owned()).collect::<Vec<_>>().join(": ")
}
