//! What the program and the process of an engine say to each other. Tensors are row-major bytes behind the messages.

use std::path::PathBuf;

use flatscape_contain::sandbox::Sealed;
use flatscape_graph::{DType, Tensor, with_array};
use serde::{Deserialize, Serialize};

use crate::engine::{Choice, Device, EngineInfo, Settings};
use crate::{Buffer, EngineError};

/// From the program. Buffers and graphs have numbers that the program chooses.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request<W = What> {
    /// Buffers …
    pub forget: Vec<u64>,
    /// … and graphs that nobody has any more.
    pub drop: Vec<u64>,
    pub what: W,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum What {
    /// The first request.
    Open(Opening),
    /// The graph follows as ONNX.
    Compile { graph: u64, lower: bool, split: bool, sums: Option<usize>, rows: Option<usize> },
    /// The model file follows.
    CompileFile { graph: u64 },
    /// The tensor follows.
    Upload { graph: u64, buffer: u64, tensor: Kind },
    /// Tensors that are given follow, in order. Results that stay have these numbers. Every row may be run alone.
    Run { graph: u64, each: bool, inputs: Vec<Input>, results: Vec<u64> },
    /// The bytes of a buffer are wanted.
    Fetch { buffer: u64 },
    /// New buffers; the tensors that are given follow, in order.
    Gather(Vec<Gathering>),
    /// Give rows of tensors, one above the other: which tensor, and which row of it.
    Rows { parts: Vec<Input>, places: Vec<(usize, usize)> },
}

/// A new buffer of these rows of these tensors.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Gathering {
    pub parts: Vec<Input>,
    /// Which tensor, and which row of it.
    pub places: Vec<(usize, usize)>,
    pub buffer: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Opening {
    engine: String,
    device: String,
    threads: usize,
    library: Option<PathBuf>,
    plain: bool,
    data_dir: PathBuf,
    pub sandbox: bool,
}

impl Opening {
    pub fn new(settings: &Settings, sandbox: bool) -> Opening {
        Opening {
            engine: settings.choice.name().to_owned(),
            device: settings.device.to_string(),
            threads: settings.threads,
            library: settings.library.clone(),
            plain: settings.plain,
            data_dir: settings.data_dir.clone(),
            sandbox,
        }
    }

    pub fn settings(&self) -> Result<Settings, String> {
        Ok(Settings {
            choice: self.engine.parse::<Choice>()?,
            device: self.device.parse::<Device>()?,
            threads: self.threads,
            library: self.library.clone(),
            plain: self.plain,
            data_dir: self.data_dir.clone(),
            process: None,
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Input {
    Given(Kind),
    Held(u64),
}

/// Type and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kind {
    dtype: String,
    pub shape: Vec<usize>,
}

impl Kind {
    pub fn of(buffer: &Buffer) -> Kind {
        Kind { dtype: buffer.dtype().name().to_owned(), shape: buffer.shape().to_vec() }
    }

    pub fn dtype(&self) -> Option<DType> {
        DType::named(&self.dtype)
    }

    /// The bytes of such a tensor.
    pub fn size(&self) -> Option<usize> {
        self.shape.iter().try_fold(self.dtype()?.size(), |size, &n| size.checked_mul(n))
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The library is loaded, and a small graph gave what it should.
    Opened { info: EngineInfo, sealed: Sealed },
    /// It was done.
    Done,
    /// Results, in order; those that do not stay follow.
    Results(Vec<Outcome>),
    /// The tensor follows.
    Tensor(Kind),
    /// It could not be done.
    Trouble(Trouble),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub kind: Kind,
    pub stays: bool,
}

/// An [`EngineError`] on its way; the program knows the names of engine and graph.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Trouble {
    LibraryRefused(String),
    Device {
        reason: String,
        remedy: String,
    },
    Compile(String),
    File(String),
    Run(String),
    Memory(String),
    Inputs(String),
    Copy(String),
    /// What no engine says.
    Other(String),
}

impl From<EngineError> for Trouble {
    fn from(error: EngineError) -> Trouble {
        match error {
            EngineError::LibraryRefused { reason, .. } => Trouble::LibraryRefused(reason),
            EngineError::Device { reason, remedy, .. } => Trouble::Device { reason, remedy },
            EngineError::Compile { reason, .. } => Trouble::Compile(reason),
            EngineError::File { clause, .. } => Trouble::File(clause),
            EngineError::Run { reason, .. } => Trouble::Run(reason),
            EngineError::Memory { reason, .. } => Trouble::Memory(reason),
            EngineError::Inputs { reason, .. } => Trouble::Inputs(reason),
            EngineError::Copy { reason, .. } => Trouble::Copy(reason),
            other => Trouble::Other(other.to_string()),
        }
    }
}

/// The bytes of a tensor whose memory is row-major, as every [`Buffer`] on the host has it.
pub(super) fn bytes_of(tensor: &Tensor) -> &[u8] {
    with_array!(tensor, a => a.as_slice().map_or(&[][..], bytemuck::cast_slice))
}

/// The tensor of these bytes; `None` if they are not as many as it has.
pub(super) fn tensor_of(kind: &Kind, bytes: &[u8]) -> Option<Tensor> {
    if kind.size()? != bytes.len() {
        return None;
    }
    let shape = &kind.shape;
    match kind.dtype()? {
        DType::F32 => Tensor::new(shape, bytemuck::pod_collect_to_vec::<u8, f32>(bytes)),
        DType::F64 => Tensor::new(shape, bytemuck::pod_collect_to_vec::<u8, f64>(bytes)),
        DType::I8 => Tensor::new(shape, bytemuck::pod_collect_to_vec::<u8, i8>(bytes)),
        DType::I32 => Tensor::new(shape, bytemuck::pod_collect_to_vec::<u8, i32>(bytes)),
        DType::I64 => Tensor::new(shape, bytemuck::pod_collect_to_vec::<u8, i64>(bytes)),
        DType::U8 => Tensor::new(shape, bytes.to_vec()),
        DType::Bool => Tensor::new(shape, bytes.iter().map(|&b| b != 0).collect::<Vec<bool>>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_survive_as_bytes() {
        let tensors = [
            Tensor::new(&[2, 2], vec![0.1f32, f32::NAN, f32::INFINITY, -0.0]).unwrap(),
            Tensor::new(&[3], vec![i64::MIN, 0, i64::MAX]).unwrap(),
            Tensor::new(&[2, 1], vec![true, false]).unwrap(),
            Tensor::new(&[0, 5], Vec::<f64>::new()).unwrap(),
            Tensor::scalar(7i32),
            Tensor::new(&[2], vec![-1i8, 1]).unwrap(),
            Tensor::new(&[2], vec![255u8, 1]).unwrap(),
        ];
        for tensor in tensors {
            let kind = Kind::of(&Buffer::from(tensor.clone()));
            let back = tensor_of(&kind, bytes_of(&tensor)).unwrap();
            assert_eq!(bytes_of(&back), bytes_of(&tensor));
            assert_eq!((back.shape(), back.dtype()), (tensor.shape(), tensor.dtype()));
            assert!(tensor_of(&kind, &[bytes_of(&tensor), &[0]].concat()).is_none());
        }
        assert_eq!(Kind { dtype: "float".into(), shape: vec![usize::MAX, 2] }.size(), None);
    }
}
