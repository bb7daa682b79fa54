//! The CUDA provider: one session per graph, everything bound to the device, nothing falls back to the CPU.
//!
//! TF32 is off and the choice of convolution algorithm is HEURISTIC (both are recorded), so that a float is a float and a start does
//! not take minutes.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use flatscape_graph::{Builder, DType, Dim, Graph, Tensor, ValueType};
use ort::ep::cuda::ConvAlgorithmSearch;
use ort::ep::{CUDA, ExecutionProvider};
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::DynValue;

use super::{NAME, Runtime, value};
use crate::buffer::DeviceTensor;
use crate::engine::{CompileOptions, Device, Engine, Executable};
use crate::rows::{self, Cut, Slice, Source};
use crate::signature::Signature;
use crate::{Buffer, EngineError};

/// What is asked of the provider, as it is recorded.
pub(super) fn options(index: u32) -> BTreeMap<String, String> {
    let fixed = [("use_tf32", "0"), ("cudnn_conv_algo_search", "HEURISTIC"), ("session.disable_cpu_ep_fallback", "1")];
    let device = ("device_id".to_owned(), index.to_string());
    fixed.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).chain([device]).collect()
}

/// Whether the device can be used: the library has the provider, the provider loads, and a graph runs on the device.
pub(super) fn probe(runtime: &Runtime, index: u32) -> Result<(), EngineError> {
    if !CUDA::is_available().unwrap_or(false) {
        let reason = format!("the ONNX Runtime library {} was built without CUDA", runtime.place.path.display());
        return Err(unavailable(index, reason));
    }
    let builder = Builder::new(Graph::new("probe"));
    let x = builder.input("x", ValueType::new(DType::F32, vec![Dim::Fixed(1)]));
    builder.output("y", x + x);
    let graph = builder.into_graph();
    let reason = |e: EngineError| match e {
        EngineError::Compile { reason, .. } | EngineError::Run { reason, .. } | EngineError::Memory { reason, .. } => {
            unavailable(index, reason)
        }
        other => other,
    };
    let executable = runtime.compile(&graph, &CompileOptions::default()).map_err(reason)?;
    let one = Buffer::from(Tensor::full(DType::F32, &[1], 1.0));
    let result = executable.run(&[&one]).map_err(reason)?;
    match result.first().map(Buffer::host).transpose()?.map(|two| two.to_f64()) {
        Some(two) if two == [2.0] => Ok(()),
        _ => Err(unavailable(index, "it computed 1 + 1 wrongly".to_owned())),
    }
}

fn unavailable(index: u32, reason: String) -> EngineError {
    let remedy = "run `flatscape runtime install --cuda` on a machine with an NVIDIA driver, CUDA 13 and cuDNN 9";
    EngineError::Device { device: Device::Cuda(index).to_string(), reason, remedy: remedy.to_owned() }
}

pub(super) fn compile(runtime: &Runtime, graph: &Graph, bytes: Vec<u8>, index: u32) -> Result<Box<dyn Executable>, EngineError> {
    let refused = |e: ort::Error| EngineError::Compile { engine: NAME, graph: graph.name.clone(), reason: e.to_string() };
    let session = builder(runtime, index).and_then(|mut builder| builder.commit_from_memory(&bytes)).map_err(refused)?;
    Ok(Box::new(Plan { signature: Signature::of(graph), session: Mutex::new(session), index }))
}

fn builder(runtime: &Runtime, index: u32) -> ort::Result<SessionBuilder> {
    let provider =
        CUDA::default().with_device_id(index as i32).with_tf32(false).with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic);
    let builder = runtime.builder(1, &std::sync::Arc::default())?.with_disable_cpu_fallback()?;
    Ok(builder.with_execution_providers([provider.build().error_on_failure()])?)
}

struct Plan {
    signature: Signature,
    session: Mutex<Session>,
    index: u32,
}

impl Executable for Plan {
    fn run(&self, inputs: &[&Buffer]) -> Result<Vec<Buffer>, EngineError> {
        self.signature.check(inputs)?;
        let values = self.run_bound(inputs).map_err(|e| EngineError::run(NAME, &self.signature.graph, e.to_string()))?;
        Ok(values.into_iter().map(|value| Buffer::on_device(Box::new(value))).collect())
    }

    fn run_each(&self, inputs: &[&Buffer]) -> Result<Vec<Buffer>, EngineError> {
        self.signature.check(inputs)?;
        let tensors: Vec<Tensor> = inputs.iter().map(|buffer| buffer.host()).collect::<Result<_, _>>()?;
        let mut results = Vec::new();
        let failed = || EngineError::run(NAME, &self.signature.graph, rows::MISFIT.to_owned());
        for piece in Cut::each(&self.signature)?.single_rows(&tensors.iter().map(Source::Tensor).collect::<Vec<_>>()) {
            let row: Option<Vec<Buffer>> = piece.iter().map(|slice| Some(Buffer::from(slice.cut_out()?))).collect();
            let row = row.ok_or_else(failed)?;
            let given = self.run(&row.iter().collect::<Vec<_>>())?;
            results.push(given.iter().map(Buffer::host).collect::<Result<_, _>>()?);
        }
        Ok(rows::join(results, None).ok_or_else(failed)?.into_iter().map(Buffer::from).collect())
    }

    fn upload(&self, tensor: &Tensor) -> Result<Buffer, EngineError> {
        let failed = |e: ort::Error| EngineError::run(NAME, &self.signature.graph, e.to_string());
        let host = Buffer::from(tensor.clone());
        let Some(row_major) = host.on_host() else { return Ok(host) };
        let moved = value::owned(&Slice::whole(row_major))
            .and_then(|v| v.to(AllocationDevice::CUDA, self.index as i32))
            .map_err(failed)?;
        let value =
            OnDevice { shape: tensor.shape().to_vec(), dtype: tensor.dtype(), value: moved.into_dyn(), index: self.index };
        Ok(Buffer::on_device(Box::new(value)))
    }
}

impl Plan {
    fn run_bound(&self, inputs: &[&Buffer]) -> ort::Result<Vec<OnDevice>> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut binding = session.create_binding()?;
        for (buffer, (name, _)) in inputs.iter().zip(&self.signature.inputs) {
            match (buffer.on_host(), buffer.device().and_then(|d| d.downcast_ref::<OnDevice>())) {
                (Some(tensor), _) => binding.bind_input(&**name, &value::owned(&Slice::whole(tensor))?)?,
                (None, Some(device)) => binding.bind_input(&**name, &device.value)?,
                (None, None) => return Err(ort::Error::new(format!("the input {name:?} lies on a device of another engine"))),
            }
        }
        let memory = MemoryInfo::new(AllocationDevice::CUDA, self.index as i32, AllocatorType::Device, MemoryType::Default)?;
        for (name, _) in &self.signature.outputs {
            binding.bind_output_to_device(&**name, &memory)?;
        }
        let mut outputs = session.run_binding(&binding)?;
        let mut values = Vec::with_capacity(self.signature.outputs.len());
        for (name, _) in &self.signature.outputs {
            let value = outputs.remove(name).ok_or_else(|| ort::Error::new(format!("there is no result {name:?}")))?;
            let shape = value::shape(&value)?;
            values.push(OnDevice { shape, dtype: value::dtype(&value)?, value, index: self.index });
        }
        Ok(values)
    }
}

/// A value in the memory of a GPU.
struct OnDevice {
    shape: Vec<usize>,
    dtype: DType,
    value: DynValue,
    index: u32,
}

impl DeviceTensor for OnDevice {
    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn dtype(&self) -> DType {
        self.dtype
    }

    fn host(&self) -> Result<Tensor, EngineError> {
        value::to_host(&self.value)
            .map_err(|e| EngineError::Copy { device: Device::Cuda(self.index).to_string(), reason: e.to_string() })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
