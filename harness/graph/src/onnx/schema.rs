//! The messages of `onnx.proto` as the look over the wire needs them: which fields there are, of which kind, how many messages a
//! file may hold and how much memory one takes once it is decoded. One row per field; what the fields mean is not known here.

use super::proto::{self, tensor_proto, tensor_shape_proto, type_proto};

/// A kind of message.
pub(super) struct Message {
    /// What refusals call it.
    pub(super) name: &'static str,
    /// Memory that one takes when it is decoded, in bytes, without what its fields point to.
    pub(super) size: usize,
    /// How many a file may hold, all together.
    pub(super) most: usize,
    /// Its place in the counts of a file.
    pub(super) index: usize,
    pub(super) fields: &'static [Field],
}

/// A field of a message.
pub(super) struct Field {
    pub(super) number: u64,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

/// What a field holds.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// One number as a varint.
    Number,
    /// One number of four bytes.
    Float,
    /// Numbers as varints, one field each or all in one; bytes that a decoded one takes.
    Numbers(usize),
    /// Numbers of this many bytes each, one field each or all packed in one.
    Fixed(usize),
    /// One name or one block of data.
    Bytes,
    /// A list of names.
    List,
    /// Prose.
    Prose,
    /// One message or several.
    Message(&'static Message),
}

use Kind::{Bytes, Fixed, Float, List, Number, Numbers, Prose};

const fn field(number: u64, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind }
}

const fn message(number: u64, name: &'static str, kind: &'static Message) -> Field {
    Field { number, name, kind: Kind::Message(kind) }
}

macro_rules! messages {
    ($($constant:ident = $index:literal $name:literal $proto:ty, at most $most:literal: [$($field:expr),* $(,)?];)*) => {
        $(pub(super) static $constant: Message = Message {
            name: $name,
            size: size_of::<$proto>(),
            most: $most,
            index: $index,
            fields: &[$($field),*],
        };)*
        /// How many kinds of messages there are.
        pub(super) const KINDS: usize = [$($index),*].len();
        #[cfg(test)]
        pub(super) const ALL: [&Message; KINDS] = [$(&$constant),*];
    };
}

const I32: Kind = Numbers(4);
const I64: Kind = Numbers(8);

messages! {
    MODEL = 0 "model" proto::ModelProto, at most 1: [
        field(1, "ir_version", Number), field(2, "producer_name", Bytes), field(3, "producer_version", Bytes),
        field(4, "domain", Bytes), field(5, "model_version", Number), field(6, "doc_string", Prose),
        message(7, "graph", &GRAPH), message(8, "opset_import", &OPSET), message(14, "metadata_props", &ENTRY),
        message(20, "training_info", &TRAINING), message(25, "functions", &FUNCTION), message(26, "configuration", &DEVICES),
    ];
    GRAPH = 1 "graph" proto::GraphProto, at most 100_000: [
        message(1, "node", &NODE), field(2, "name", Bytes), message(5, "initializer", &TENSOR), field(10, "doc_string", Prose),
        message(11, "input", &VALUE), message(12, "output", &VALUE), message(13, "value_info", &VALUE),
        message(14, "quantization_annotation", &ANNOTATION), message(15, "sparse_initializer", &SPARSE),
        message(16, "metadata_props", &ENTRY),
    ];
    NODE = 2 "node" proto::NodeProto, at most 400_000: [
        field(1, "input", List), field(2, "output", List), field(3, "name", Bytes), field(4, "op_type", Bytes),
        message(5, "attribute", &ATTRIBUTE), field(6, "doc_string", Prose), field(7, "domain", Bytes),
        field(8, "overload", Bytes), message(9, "metadata_props", &ENTRY), message(10, "device_configurations", &PLACEMENT),
    ];
    ATTRIBUTE = 3 "attribute" proto::AttributeProto, at most 2_000_000: [
        field(1, "name", Bytes), field(2, "f", Float), field(3, "i", Number), field(4, "s", Bytes), message(5, "t", &TENSOR),
        message(6, "g", &GRAPH), field(7, "floats", Fixed(4)), field(8, "ints", I64), field(9, "strings", List),
        message(10, "tensors", &TENSOR), message(11, "graphs", &GRAPH), field(13, "doc_string", Prose), message(14, "tp", &TYPE),
        message(15, "type_protos", &TYPE), field(20, "type", Number), field(21, "ref_attr_name", Bytes),
        message(22, "sparse_tensor", &SPARSE), message(23, "sparse_tensors", &SPARSE),
    ];
    TENSOR = 4 "tensor" proto::TensorProto, at most 400_000: [
        field(1, "dims", I64), field(2, "data_type", Number), message(3, "segment", &SEGMENT), field(4, "float_data", Fixed(4)),
        field(5, "int32_data", I32), field(6, "string_data", List), field(7, "int64_data", I64), field(8, "name", Bytes),
        field(9, "raw_data", Bytes), field(10, "double_data", Fixed(8)), field(11, "uint64_data", I64),
        field(12, "doc_string", Prose), message(13, "external_data", &ENTRY), field(14, "data_location", Number),
        message(16, "metadata_props", &ENTRY),
    ];
    SPARSE = 5 "sparse tensor" proto::SparseTensorProto, at most 10_000: [
        message(1, "values", &TENSOR), message(2, "indices", &TENSOR), field(3, "dims", I64),
    ];
    SEGMENT = 6 "segment" tensor_proto::Segment, at most 10_000: [field(1, "begin", Number), field(2, "end", Number)];
    VALUE = 7 "value description" proto::ValueInfoProto, at most 1_000_000: [
        field(1, "name", Bytes), message(2, "type", &TYPE), field(3, "doc_string", Prose), message(4, "metadata_props", &ENTRY),
    ];
    TYPE = 8 "type" proto::TypeProto, at most 2_000_000: [
        message(1, "tensor_type", &TENSOR_TYPE), message(4, "sequence_type", &SEQUENCE_TYPE), message(5, "map_type", &MAP_TYPE),
        field(6, "denotation", Bytes), message(8, "sparse_tensor_type", &SPARSE_TYPE), message(9, "optional_type", &OPTIONAL_TYPE),
    ];
    TENSOR_TYPE = 9 "tensor type" type_proto::Tensor, at most 2_000_000: [
        field(1, "elem_type", Number), message(2, "shape", &SHAPE),
    ];
    SPARSE_TYPE = 10 "sparse tensor type" type_proto::SparseTensor, at most 10_000: [
        field(1, "elem_type", Number), message(2, "shape", &SHAPE),
    ];
    SEQUENCE_TYPE = 11 "sequence type" type_proto::Sequence, at most 10_000: [message(1, "elem_type", &TYPE)];
    OPTIONAL_TYPE = 12 "optional type" type_proto::Optional, at most 10_000: [message(1, "elem_type", &TYPE)];
    MAP_TYPE = 13 "map type" type_proto::Map, at most 10_000: [field(1, "key_type", Number), message(2, "value_type", &TYPE)];
    SHAPE = 14 "shape" proto::TensorShapeProto, at most 2_000_000: [message(1, "dim", &DIMENSION)];
    DIMENSION = 15 "dimension" tensor_shape_proto::Dimension, at most 8_000_000: [
        field(1, "dim_value", Number), field(2, "dim_param", Bytes), field(3, "denotation", Bytes),
    ];
    FUNCTION = 16 "function" proto::FunctionProto, at most 10_000: [
        field(1, "name", Bytes), field(4, "input", List), field(5, "output", List), field(6, "attribute", List),
        message(7, "node", &NODE), field(8, "doc_string", Prose), message(9, "opset_import", &OPSET), field(10, "domain", Bytes),
        message(11, "attribute_proto", &ATTRIBUTE), message(12, "value_info", &VALUE), field(13, "overload", Bytes),
        message(14, "metadata_props", &ENTRY),
    ];
    OPSET = 17 "opset" proto::OperatorSetIdProto, at most 100_000: [field(1, "domain", Bytes), field(2, "version", Number)];
    ENTRY = 18 "key-value pair" proto::StringStringEntryProto, at most 2_000_000: [field(1, "key", Bytes), field(2, "value", Bytes)];
    ANNOTATION = 19 "annotation" proto::TensorAnnotation, at most 400_000: [
        field(1, "tensor_name", Bytes), message(2, "quant_parameter_tensor_names", &ENTRY),
    ];
    TRAINING = 20 "training graph" proto::TrainingInfoProto, at most 100: [
        message(1, "initialization", &GRAPH), message(2, "algorithm", &GRAPH), message(3, "initialization_binding", &ENTRY),
        message(4, "update_binding", &ENTRY),
    ];
    DEVICES = 21 "device configuration" proto::DeviceConfigurationProto, at most 10_000: [
        field(1, "name", Bytes), field(2, "num_devices", Number), field(3, "device", List),
    ];
    PLACEMENT = 22 "device configuration of a node" proto::NodeDeviceConfigurationProto, at most 400_000: [
        field(1, "configuration_id", Bytes), message(2, "sharding_spec", &SHARDING), field(3, "pipeline_stage", Number),
    ];
    SHARDING = 23 "sharding" proto::ShardingSpecProto, at most 400_000: [
        field(1, "tensor_name", Bytes), field(2, "device", I64), message(3, "index_to_device_group_map", &GROUP),
        message(4, "sharded_dim", &SHARDED),
    ];
    GROUP = 24 "device group" proto::IntIntListEntryProto, at most 400_000: [field(1, "key", Number), field(2, "value", I64)];
    SHARDED = 25 "sharded extent" proto::ShardedDimProto, at most 400_000: [
        field(1, "axis", Number), message(2, "simple_sharding", &SHARDED_SIMPLY),
    ];
    SHARDED_SIMPLY = 26 "simply sharded extent" proto::SimpleShardedDimProto, at most 400_000: [
        field(1, "dim_value", Number), field(2, "dim_param", Bytes), field(3, "num_shards", Number),
    ];
}
