//! Tensors of a file: element type, extents and data must agree before anything is allocated.

use super::fault::{Fault, ReadError};
use super::half::Half;
use super::proto::TensorProto;
use super::proto::tensor_proto::DataLocation;
use crate::name::shown;
use crate::ops::RANK;
use crate::tensor::{DType, Element, Tensor};

/// A tensor whose data lies in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalTensor {
    /// The tensor's name.
    pub tensor: String,
    /// Where the data lies, relative to the model, as the file says it. Not checked against any folder.
    pub location: String,
    /// First byte.
    pub offset: u64,
    /// Number of bytes; it fits the shape.
    pub length: u64,
    /// Keys of its description that are not known and were passed over.
    pub ignored: Vec<String>,
}

/// How the data of external tensors is fetched; the error is the kind of fault and a clause about the location.
pub(super) type Resolve<'a> = &'a dyn Fn(&ExternalTensor) -> Result<Vec<u8>, (Fault, String)>;

/// Element types in which weights are stored and nothing is computed; by how their names begin.
const STORED: &[&str] = &["int4", "uint4", "int2", "uint2", "float4", "float8"];

/// Element type and extents that a tensor states.
struct Header {
    dtype: DType,
    /// Elements of half precision, which are read as float.
    half: Option<Half>,
    shape: Vec<usize>,
    count: usize,
}

/// The element type behind the number of `TensorProto.DataType`; the error is the name of one that is not read.
pub(super) fn dtype(code: i32) -> Result<DType, String> {
    Ok(match code {
        // half precision is widened when it is read
        1 | 10 | 16 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::Bool,
        11 => DType::F64,
        _ => {
            let name = super::proto::tensor_proto::DataType::try_from(code);
            return Err(name.map_or_else(|_| format!("unknown ({code})"), |n| n.as_str_name().to_ascii_lowercase()));
        }
    })
}

/// Turns a tensor of the file into a host array. External data is fetched and listed.
pub(super) fn tensor(
    proto: TensorProto,
    name: &str,
    resolve: Resolve<'_>,
    listed: &mut Vec<ExternalTensor>,
) -> Result<Tensor, ReadError> {
    let header = header(&proto, name)?;
    if is_external(&proto) {
        let (external, fetched) = fetched(&proto, name, &header, resolve)?;
        listed.push(external);
        return from_raw(&header, name, &fetched);
    }
    if let Some(raw) = &proto.raw_data {
        // an empty raw_data beside typed data is how some exporters write the typed form
        if !raw.is_empty() || typed(&proto) == 0 {
            if typed(&proto) != 0 {
                let what = format!("tensor {} has its data twice, raw and as numbers", shown(name));
                return Err(ReadError::new(Fault::DATA, what));
            }
            return from_raw(&header, name, raw);
        }
    }
    from_typed(header, name, proto)
}

/// Brings the data of a tensor that lies in another file into the tensor.
pub(super) fn embed(proto: &mut TensorProto, resolve: Resolve<'_>) -> Result<(), ReadError> {
    if is_external(proto) {
        let name = String::from_utf8_lossy(proto.name()).into_owned();
        let (_, data) = fetched(proto, &name, &header(proto, &name)?, resolve)?;
        (proto.raw_data, proto.data_location) = (Some(data), None);
        proto.external_data.clear();
    }
    Ok(())
}

fn is_external(proto: &TensorProto) -> bool {
    proto.data_location == Some(DataLocation::External as i32)
}

/// The data of a tensor that lies in another file, and where it lies.
fn fetched(
    proto: &TensorProto,
    name: &str,
    header: &Header,
    resolve: Resolve<'_>,
) -> Result<(ExternalTensor, Vec<u8>), ReadError> {
    let external = external(proto, name, header)?;
    let data = resolve(&external).map_err(|(fault, why)| {
        let what = format!("tensor {}: external data {}: {why}", shown(name), shown(&external.location));
        ReadError::new(fault, what).help("keep the data files beside the model, or save the model in one file")
    })?;
    Ok((external, data))
}

fn header(proto: &TensorProto, name: &str) -> Result<Header, ReadError> {
    if proto.segment.is_some() {
        return Err(ReadError::new(Fault::DATA, format!("tensor {} is split into segments", shown(name))));
    }
    let dtype = dtype(proto.data_type.unwrap_or(0)).map_err(|found| {
        let what = format!("tensor {} has element type {found}, which is not supported", shown(name));
        let stored = STORED.iter().any(|name| found.starts_with(name));
        ReadError::new(Fault::ELEMENT_TYPE, what).help(if stored {
            "weights are only stored in this type: export the result of their DequantizeLinear as float weights"
        } else {
            "export the model with float weights"
        })
    })?;
    if proto.dims.len() > RANK {
        let what = format!("tensor {} has {} axes; {RANK} is the limit", shown(name), proto.dims.len());
        return Err(ReadError::new(Fault::TOO_LARGE, what));
    }
    let mut shape = Vec::with_capacity(proto.dims.len());
    let half = Half::of_code(i64::from(proto.data_type.unwrap_or(0)));
    let mut bytes = dtype.size();
    for &dim in &proto.dims {
        let Ok(extent) = usize::try_from(dim) else {
            return Err(ReadError::new(Fault::EXTENT, format!("tensor {} has the negative extent {dim}", shown(name))));
        };
        shape.push(extent);
        bytes = match bytes.checked_mul(extent) {
            Some(bytes) if bytes <= isize::MAX as usize => bytes,
            _ => {
                let what = format!("tensor {} has extents {:?}: more than memory can hold", shown(name), proto.dims);
                return Err(ReadError::new(Fault::TOO_LARGE, what));
            }
        };
    }
    Ok(Header { dtype, half, shape, count: bytes / dtype.size() })
}

impl Header {
    /// How many bytes the elements take in the file.
    fn stored(&self) -> usize {
        self.count * if self.half.is_some() { 2 } else { self.dtype.size() }
    }
}

/// How many elements stand in the typed fields.
fn typed(proto: &TensorProto) -> usize {
    proto.float_data.len()
        + proto.int32_data.len()
        + proto.int64_data.len()
        + proto.double_data.len()
        + proto.uint64_data.len()
        + proto.string_data.len()
}

fn from_raw(header: &Header, name: &str, raw: &[u8]) -> Result<Tensor, ReadError> {
    let needed = header.stored();
    if raw.len() != needed {
        let what =
            format!("tensor {} ({}{:?}) needs {needed} bytes, has {}", shown(name), header.dtype.name(), header.shape, raw.len());
        return Err(ReadError::new(Fault::DATA, what));
    }
    fn numbers<const K: usize, T: Element>(header: &Header, raw: &[u8], read: impl Fn([u8; K]) -> T) -> Option<Tensor> {
        let (chunks, _) = raw.as_chunks::<K>();
        Tensor::new(&header.shape, chunks.iter().map(|&bytes| read(bytes)).collect())
    }
    let made = match header.dtype {
        DType::F32 => match header.half {
            Some(half) => numbers(header, raw, |bits| half.widen(u16::from_le_bytes(bits))),
            None => numbers(header, raw, f32::from_le_bytes),
        },
        DType::F64 => numbers(header, raw, f64::from_le_bytes),
        DType::I32 => numbers(header, raw, i32::from_le_bytes),
        DType::I64 => numbers(header, raw, i64::from_le_bytes),
        DType::I8 => numbers(header, raw, i8::from_le_bytes),
        DType::U8 => numbers(header, raw, u8::from_le_bytes),
        DType::Bool => numbers(header, raw, |[byte]: [u8; 1]| byte != 0),
    };
    made.ok_or_else(|| shape_fault(header, name))
}

fn from_typed(header: Header, name: &str, proto: TensorProto) -> Result<Tensor, ReadError> {
    let (field, found) = match header.dtype {
        DType::F32 if header.half.is_some() => ("int32_data", proto.int32_data.len()),
        DType::F32 => ("float_data", proto.float_data.len()),
        DType::F64 => ("double_data", proto.double_data.len()),
        DType::I64 => ("int64_data", proto.int64_data.len()),
        DType::I32 | DType::I8 | DType::U8 | DType::Bool => ("int32_data", proto.int32_data.len()),
    };
    if found != header.count || found != typed(&proto) {
        let what = format!(
            "tensor {} ({}{:?}) needs {} numbers in {field}, has {found} there and {} elsewhere",
            shown(name),
            header.dtype.name(),
            header.shape,
            header.count,
            typed(&proto) - found
        );
        return Err(ReadError::new(Fault::DATA, what));
    }
    let shape = &header.shape;
    let narrow = |lowest: i32, highest: i32| match proto.int32_data.iter().find(|v| !(lowest..=highest).contains(*v)) {
        Some(v) => {
            let what = format!("tensor {} ({}) holds {v}, which does not fit", shown(name), header.dtype.name());
            Err(ReadError::new(Fault::DATA, what))
        }
        None => Ok(proto.int32_data.iter()),
    };
    let made = match (header.dtype, header.half) {
        (_, Some(half)) => Tensor::new(shape, narrow(0, 0xffff)?.map(|&v| half.widen(v as u16)).collect()),
        (DType::F32, _) => Tensor::new(shape, proto.float_data),
        (DType::F64, _) => Tensor::new(shape, proto.double_data),
        (DType::I64, _) => Tensor::new(shape, proto.int64_data),
        (DType::I32, _) => Tensor::new(shape, proto.int32_data),
        (DType::I8, _) => Tensor::new(shape, narrow(-128, 127)?.map(|&v| v as i8).collect()),
        (DType::U8, _) => Tensor::new(shape, narrow(0, 255)?.map(|&v| v as u8).collect()),
        (DType::Bool, _) => Tensor::new(shape, narrow(0, 1)?.map(|&v| v != 0).collect()),
    };
    made.ok_or_else(|| shape_fault(&header, name))
}

fn shape_fault(header: &Header, name: &str) -> ReadError {
    ReadError::new(Fault::TOO_LARGE, format!("tensor {} cannot have extents {:?}", shown(name), header.shape))
}

/// Where the data of an external tensor lies; every key once, numbers in plain decimal, the length as the shape needs it.
fn external(proto: &TensorProto, name: &str, header: &Header) -> Result<ExternalTensor, ReadError> {
    let refuse = |fault, what: String| ReadError::new(fault, format!("tensor {}: {what}", shown(name)));
    let needed = header.stored() as u64;
    if typed(proto) != 0 || proto.raw_data.as_ref().is_some_and(|raw| !raw.is_empty()) {
        return Err(refuse(Fault::DATA, "the data is both in the file and external".to_owned()));
    }
    let (mut location, mut offset, mut length) = (None, None, None);
    let mut ignored = Vec::new();
    for entry in &proto.external_data {
        let key = String::from_utf8_lossy(entry.key());
        let value = String::from_utf8_lossy(entry.value()).into_owned();
        let slot = match &*key {
            "location" => &mut location,
            "offset" => &mut offset,
            "length" => &mut length,
            // a checksum of the file; the standard does not say of which bytes
            "checksum" => continue,
            _ => {
                ignored.push(key.into_owned());
                continue;
            }
        };
        if slot.replace(value).is_some() {
            return Err(refuse(Fault::EXTERNAL_KEYS, format!("the key {key:?} of its external data stands twice")));
        }
    }
    let number = |key: &str, value: Option<String>, default: u64| match value {
        None => Ok(default),
        Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().map_err(|_| refuse(Fault::EXTERNAL, format!("the {key} {text} of its external data is too large")))
        }
        Some(text) => {
            Err(refuse(Fault::EXTERNAL, format!("the {key} {} of its external data is not a plain number", shown(&text))))
        }
    };
    let location = location.ok_or_else(|| refuse(Fault::EXTERNAL, "its external data has no location".to_owned()))?;
    if location.contains("_ORT_MEM_ADDR_") {
        return Err(refuse(Fault::EXTERNAL_MEMORY, format!("the location {} is an address in memory", shown(&location))));
    }
    if location.is_empty() || location.contains('\0') {
        return Err(refuse(Fault::EXTERNAL_PLACE, format!("the location {} is not a path", shown(&location))));
    }
    let (offset, length) = (number("offset", offset, 0)?, number("length", length, needed)?);
    if length != needed {
        return Err(refuse(Fault::DATA, format!("it needs {needed} bytes, its external data says {length}")));
    }
    Ok(ExternalTensor { tensor: name.to_owned(), location, offset, length, ignored })
}
