//! One node test: a model of one operator, tensors for its inputs and the results that it should have. Which ones count is
//! read off the bytes, not off what our importer makes of them.

use std::fs;
use std::path::{Path, PathBuf};

use flatscape_autodiff::{Passage, rule_for};
use flatscape_graph::normalize::{Options, normalize};
use flatscape_graph::{Graph, Tensor, onnx, ops};

use crate::wire;

/// Element types between which a gradient can pass: float, float16, double, bfloat16.
const FLOATS: &[i64] = &[1, 10, 11, 16];

pub struct Case {
    pub name: String,
    pub op: String,
    model: Vec<u8>,
    /// The inputs as tensors of a file, in the order of the model.
    inputs: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
}

/// How the tensors of the inputs come to the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feeding {
    /// All are inputs of the graph.
    Free,
    /// Axes, shapes, pads and everything else that is an integer is a constant.
    IntegersBound,
    /// All but the first are constants, as the weights and bounds of a model are.
    FirstFree,
    /// All are constants.
    Bound,
}

pub const FEEDINGS: [Feeding; 4] = [Feeding::Free, Feeding::IntegersBound, Feeding::FirstFree, Feeding::Bound];

/// Why a folder is not a test case, or the case.
pub enum Sorted {
    Selected(Case),
    /// Not of one standard node with a float among its operands and one among its results, all of them tensors.
    OtherForm,
    /// An element type that a graph does not hold.
    OtherType,
    /// The operator has no rule, nor have the operators that it is written with.
    NoRule,
}

impl Sorted {
    pub fn read(folder: &Path) -> Sorted {
        let file = |path: PathBuf| fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let model = file(folder.join("model.onnx"));
        let graph = wire::each(&model, 7)[0];
        let [node] = wire::each(graph, 1)[..] else { return Sorted::OtherForm };
        let word = |field| String::from_utf8_lossy(wire::each(node, field).first().unwrap_or(&&[][..])).into_owned();
        let (op, domain) = (word(4), word(7));
        // of inputs and outputs: the code of the element type, if it is a tensor
        let types = |field| -> Option<Vec<i64>> {
            let of = |value: &[u8]| Some(wire::number(wire::each(wire::each(value, 2).first()?, 1).first()?, 1) as i64);
            wire::each(graph, field).into_iter().map(of).collect()
        };
        let (Some(taken), Some(given)) = (types(11), types(12)) else { return Sorted::OtherForm };
        let float = |types: &[i64]| types.iter().any(|t| FLOATS.contains(t));
        if !matches!(&*domain, "" | "ai.onnx") || !float(&taken) || !float(&given) {
            return Sorted::OtherForm;
        }
        if taken.iter().chain(&given).any(|&t| ops::dtype_of_code(t).is_none()) {
            return Sorted::OtherType;
        }
        let data = folder.join("test_data_set_0");
        let tensors = |role: &str, count| (0..count).map(|i| file(data.join(format!("{role}_{i}.pb")))).collect();
        let name = folder.file_name().expect("a folder has a name").to_string_lossy().into_owned();
        let case = Case { name, op, inputs: tensors("input", taken.len()), outputs: tensors("output", given.len()), model };
        if case.has_rules() { Sorted::Selected(case) } else { Sorted::NoRule }
    }
}

impl Case {
    /// Whether the operator has a rule, or the normal form writes it with operators that have one.
    fn has_rules(&self) -> bool {
        let ruled = |op: &str| rule_for("", op).is_some_and(|r| !matches!(r.kind, Passage::Never(_)));
        let written = || {
            let graph = self.graph(Feeding::IntegersBound).ok()?;
            Some(graph.nodes().iter().all(|n| *n.op != *self.op && ruled(&n.op)))
        };
        match rule_for("", &self.op).map(|r| r.kind) {
            Some(Passage::Never(_)) => false,
            Some(Passage::Before(_)) | None => written().unwrap_or(false),
            Some(Passage::Flat) => ops::is_known(&self.op, ""),
            Some(_) => true,
        }
    }

    /// The normal form of the model. Its declared results are forgotten, so that inference has to find them.
    pub fn graph(&self, feeding: Feeding) -> Result<Graph, String> {
        let file = onnx::read(&self.file(feeding)).map_err(|e| e.to_string())?;
        let graph = normalize(&file.graph, file.opset, &Options::default()).map_err(|e| e.to_string())?;
        graph.check().map_err(|e| e.to_string())?;
        let written = onnx::read(&onnx::write(&graph)).map_err(|e| format!("what we wrote is not read: {e}"))?.graph;
        written.check().map_err(|e| format!("what we wrote does not check: {e}"))?;
        Ok(graph)
    }

    /// The tensors of the inputs that are not bound, and those of the results, by name.
    pub fn tensors(&self, feeding: Feeding) -> (Vec<Tensor>, Vec<Tensor>) {
        let free = self.inputs.iter().enumerate().filter(|(i, t)| !binds(feeding, *i, t));
        (free.map(|(_, t)| tensor(t)).collect(), self.outputs.iter().map(|t| tensor(t)).collect())
    }

    /// The model with bound inputs as initializers and without the types of its results.
    fn file(&self, feeding: Feeding) -> Vec<u8> {
        let graph = wire::each(&self.model, 7)[0];
        let inputs = wire::each(graph, 11);
        let mut edited = Vec::new();
        for (field, value) in wire::fields(graph).expect("protobuf") {
            match value {
                wire::Field::Bytes(output) if field == 12 => {
                    edited.extend(wire::bytes(12, &wire::bytes(1, wire::each(output, 1)[0])));
                }
                wire::Field::Bytes(value) => edited.extend(wire::bytes(field, value)),
                wire::Field::Number(value) => edited.extend(wire::int(field, value)),
            }
        }
        for (i, tensor) in self.inputs.iter().enumerate().filter(|(i, t)| binds(feeding, *i, t)) {
            edited.extend(wire::bytes(5, &named(tensor, wire::each(inputs[i], 1)[0])));
        }
        let rest = wire::fields(&self.model).expect("protobuf").into_iter().filter(|(field, _)| *field != 7);
        let mut model = wire::bytes(7, &edited);
        for (field, value) in rest {
            model.extend(match value {
                wire::Field::Bytes(value) => wire::bytes(field, value),
                wire::Field::Number(value) => wire::int(field, value),
            });
        }
        model
    }
}

fn binds(feeding: Feeding, input: usize, tensor: &[u8]) -> bool {
    match feeding {
        Feeding::Free => false,
        Feeding::IntegersBound => !FLOATS.contains(&(wire::number(tensor, 2) as i64)),
        Feeding::FirstFree => input > 0,
        Feeding::Bound => true,
    }
}

/// A tensor of a file under another name.
fn named(tensor: &[u8], name: &[u8]) -> Vec<u8> {
    let mut renamed = wire::bytes(8, name);
    for (field, value) in wire::fields(tensor).expect("protobuf") {
        match value {
            wire::Field::Bytes(_) if field == 8 => {}
            wire::Field::Bytes(value) => renamed.extend(wire::bytes(field, value)),
            wire::Field::Number(value) => renamed.extend(wire::int(field, value)),
        }
    }
    renamed
}

/// A tensor of a file, read as the initializer of a model that gives it back.
fn tensor(bytes: &[u8]) -> Tensor {
    let mut model = wire::Model::new();
    model.tensors.push(named(bytes, b"t"));
    model.outputs.push(wire::bytes(1, b"t"));
    let graph = onnx::read(&model.bytes()).unwrap_or_else(|e| panic!("a tensor of a node test: {e}")).graph;
    Tensor::clone(graph.constant(graph.outputs()[0].value).expect("a constant"))
}
