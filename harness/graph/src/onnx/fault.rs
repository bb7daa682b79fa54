//! What can be wrong with an ONNX file: one row per kind, with the id that messages show.

/// A kind of fault in a model file. The id is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// `M` and three digits.
    pub id: &'static str,
    /// What it is about, in a few words.
    pub about: &'static str,
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $id:literal $about:literal;)*) => {
        impl Fault {
            $($(#[$doc])* pub const $name: Fault = Fault { id: $id, about: $about };)*
            /// Every kind that reading a file can report, in the order of ids.
            pub const ALL: &[Fault] = &[$(Fault::$name),*];
        }
    };
}

faults! {
    /// Nothing in it.
    EMPTY = "M002" "the file is empty";
    /// It ends early.
    TRUNCATED = "M003" "the file is cut off";
    /// Some other kind of file.
    NOT_ONNX = "M004" "the file is not an ONNX model";
    /// More messages than any honest model has.
    TOO_MANY = "M007" "the file has too many nodes or messages";
    /// Bytes that no protobuf writer gives.
    MALFORMED = "M008" "the bytes are not well-formed";
    /// From the future.
    TOO_NEW = "M013" "the file format or the opset is newer than this program";
    /// No opset, or two for one domain.
    OPSET = "M014" "the opset is missing or stated twice";
    /// No graph or no output.
    INCOMPLETE = "M015" "the file has no graph or no output";
    /// Nodes that read each other's results.
    CYCLE = "M016" "the graph has a cycle";
    /// Two producers for one name.
    DUPLICATE = "M018" "a name is defined twice";
    /// A name without a producer.
    DANGLING = "M019" "a name is read that nothing produces";
    /// An extent that cannot be.
    EXTENT = "M020" "an extent is negative, or zero where images or logits should be";
    /// More elements than memory can hold.
    TOO_LARGE = "M021" "a tensor is too large";
    /// Element count and data disagree.
    DATA = "M022" "the data of a tensor does not fit its shape";
    /// An element type that is not read.
    ELEMENT_TYPE = "M023" "an element type is not supported";
    /// A sparse tensor.
    SPARSE = "M024" "a tensor is sparse";
    /// Subgraphs in subgraphs.
    NESTED = "M032" "graphs are nested too deeply";
    /// Local functions that call themselves, or become too much.
    FUNCTION = "M033" "the local functions of the model cannot be inlined";
    /// A value of the interface is not a tensor.
    INTERFACE = "M039" "an input or output is not a tensor";
    /// External data outside the folder of the model.
    EXTERNAL_OUTSIDE = "M040" "external data leaves the folder of the model";
    /// External data in a file that has another name elsewhere.
    EXTERNAL_LINKED = "M043" "the file of external data has several names";
    /// External data in a pipe, a device or a folder.
    EXTERNAL_SPECIAL = "M044" "external data is not in a regular file";
    /// External data that is not there, or not as stated.
    EXTERNAL = "M045" "external data cannot be had";
    /// External data described ambiguously.
    EXTERNAL_KEYS = "M046" "external data is described twice";
    /// External data at a place that no file has.
    EXTERNAL_PLACE = "M047" "the location of external data is not a path";
    /// External data that points into the memory of some runtime.
    EXTERNAL_MEMORY = "M048" "the location of external data is an address in memory";
    /// More external data than is read.
    EXTERNAL_TOO_LARGE = "M049" "external data is too large in all";
}

/// Why a file was refused: a sentence with a subject, and a way out where there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ReadError {
    /// The kind of fault.
    pub fault: Fault,
    /// The sentence. Names from the file are escaped and cut.
    pub what: String,
    /// What to do about it; may be empty.
    pub help: &'static str,
}

impl ReadError {
    /// An error without a way out.
    pub(super) fn new(fault: Fault, what: impl Into<String>) -> ReadError {
        ReadError { fault, what: what.into(), help: "" }
    }

    /// The same error with a way out.
    pub(super) fn help(self, help: &'static str) -> ReadError {
        ReadError { help, ..self }
    }

    /// The stable id that messages show, e.g. `M019`.
    pub fn id(&self) -> &'static str {
        self.fault.id
    }
}
