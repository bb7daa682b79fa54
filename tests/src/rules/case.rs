//! One case of `tests/rules`: its text, what the comments say, and the inputs that are drawn for it.

use std::collections::BTreeMap;
use std::fs;

use flatscape_autodiff::{Passage, rule_for, write_out};
use flatscape_graph::normalize::{Options, normalize};
use flatscape_graph::{Builder, DType, Dim, Graph, NodeId, OPSET, Tensor, ValueType, ops, text};

use super::directory;

/// Tensors by the names of inputs or outputs.
pub type Named = BTreeMap<String, Tensor>;

/// The element type of the floats of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    Double,
    Single,
}

pub struct Case {
    pub name: String,
    text: String,
    pub differences: bool,
    pub second_order: bool,
    pub single: bool,
    /// Relative error against central differences in double precision, if it is not the usual one.
    pub tolerance: Option<f64>,
    opset: Option<i64>,
}

impl Case {
    /// Every file of `tests/rules`.
    pub fn all() -> Vec<Case> {
        let entries = fs::read_dir(directory("rules")).expect("tests/rules is there");
        let mut paths: Vec<_> = entries.map(|e| e.expect("tests/rules can be listed").path()).collect();
        paths.sort();
        paths.retain(|p| p.extension().is_some_and(|e| e == "onnxtxt"));
        let read = |path: std::path::PathBuf| {
            let text = fs::read_to_string(&path).expect("a case can be read");
            let name = path.file_stem().expect("a case has a name").to_string_lossy().into_owned();
            let no = |key: &str| note(&text, key).is_some_and(|v| v == "no");
            let (differences, second_order, single) = (!no("central-differences"), !no("second-order"), !no("float32"));
            let tolerance = note(&text, "tolerance").map(|t| t.parse().expect("a tolerance is a number"));
            let opset = note(&text, "opset").map(|o| o.parse().expect("an opset is a number"));
            Case { name, text, differences, second_order, single, tolerance, opset }
        };
        paths.into_iter().map(read).collect()
    }

    /// The graph; in single precision its doubles are floats.
    pub fn graph(&self, precision: Precision) -> Graph {
        in_precision(&self.name, &self.text, self.opset, precision)
    }

    /// The graph as it stands, with every operator.
    pub fn plain(&self) -> Graph {
        parse(&self.name, &self.text, self.opset)
    }

    /// The inputs that are differentiated.
    pub fn wrt(&self, graph: &Graph) -> Vec<String> {
        if let Some(stated) = note(&self.text, "wrt") {
            return stated.split_whitespace().map(str::to_owned).collect();
        }
        let float = graph.inputs().iter().filter(|&&v| graph.dtype(v).is_some_and(DType::is_float));
        float.map(|&v| graph.value(v).name.to_string()).collect()
    }

    /// Inputs for the graph, the same ones in every run.
    pub fn inputs(&self, graph: &Graph) -> Named {
        let floats = note(&self.text, "range").map_or((-2.0, 2.0), |r| bounds(&r));
        let ints = note(&self.text, "ints").map_or((0.0, 2.0), |r| bounds(&r));
        let mut random = Random::of(&self.name);
        let draw = |&v: &flatscape_graph::ValueId| {
            let value = graph.value(v);
            let shape = extents(&value.ty);
            (value.name.to_string(), random.tensor(value.ty.dtype.expect("inputs are typed"), &shape, floats, ints))
        };
        graph.inputs().iter().map(draw).collect()
    }
}

/// The same text with `double` replaced by `float`.
pub fn in_single(text: &str) -> String {
    text.replace("double", "float").replace("to = 11", "to = 1")
}

/// In single precision the graph with floats for doubles. In double precision the graph with those operators written out that
/// their rules write out: runtimes lack most of them there, and the single precision compares the two.
pub fn in_precision(name: &str, text: &str, opset: Option<i64>, precision: Precision) -> Graph {
    match precision {
        Precision::Double => written_out(&parse(name, text, opset)),
        Precision::Single => parse(name, &in_single(text), opset),
    }
}

pub fn parse(name: &str, text: &str, opset: Option<i64>) -> Graph {
    let mut graph = text::parse(text).unwrap_or_else(|e| panic!("{name}: {e}"));
    if opset.is_none() {
        graph.check().unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    // what is written in other operators is differentiated in those
    if opset.is_some() || ops::unknown(&graph).is_some() {
        let as_stated = Options { fold_batch_norm: false };
        graph = normalize(&graph, opset.unwrap_or(OPSET), &as_stated).unwrap_or_else(|e| panic!("{name}: {e}"));
        graph.check().unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    graph
}

fn written_out(graph: &Graph) -> Graph {
    let rewritten = graph.rewrite(|new, node, inputs| {
        let Passage::Written(_) = rule_for(&node.domain, &node.op)?.kind else { return None };
        new.copy_node(graph, node, inputs.to_vec());
        let b = Builder::new(std::mem::take(new));
        let id = NodeId(b.graph().nodes().len() as u32 - 1);
        let written = write_out(&b, id).and_then(Result::ok);
        *new = b.into_graph();
        Some(written?.into_iter().map(Some).collect())
    });
    rewritten.without_dead()
}

/// Extents with the unknown ones chosen: the batch `N` is 2, anything else is 3.
fn extents(ty: &ValueType) -> Vec<usize> {
    let choose = |dim: &Dim| match dim {
        Dim::Fixed(n) => *n,
        Dim::Symbol(s) if &**s == "N" => 2,
        _ => 3,
    };
    ty.shape.as_ref().expect("inputs have a rank").iter().map(choose).collect()
}

fn note(text: &str, key: &str) -> Option<String> {
    let start = format!("# {key}:");
    text.lines().find_map(|line| line.strip_prefix(&start)).map(|rest| rest.trim().to_owned())
}

fn bounds(range: &str) -> (f64, f64) {
    let (low, high) = range.split_once("..").expect("a range is written low..high");
    (low.parse().expect("a range has numbers"), high.parse().expect("a range has numbers"))
}

/// Numbers by position (splitmix64), seeded by a name.
pub struct Random(u64);

impl Random {
    pub fn of(name: &str) -> Random {
        Random(
            name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)),
        )
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One element from each of as many equal parts of the range as there are elements, shuffled.
    pub fn floats(&mut self, count: usize, (low, high): (f64, f64)) -> Vec<f64> {
        let part = (high - low) / count as f64;
        let mut values: Vec<f64> = (0..count).map(|i| low + part * (i as f64 + 0.3 + 0.15 * self.unit())).collect();
        for i in (1..count).rev() {
            values.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
        values
    }

    pub fn tensor(&mut self, dtype: DType, shape: &[usize], floats: (f64, f64), ints: (f64, f64)) -> Tensor {
        let count = shape.iter().product();
        let values = match dtype {
            DType::F32 | DType::F64 => self.floats(count, floats),
            DType::Bool => (0..count).map(|_| (self.next() % 2) as f64).collect(),
            _ => (0..count).map(|_| (ints.0 + self.unit() * (ints.1 - ints.0)).floor()).collect(),
        };
        Tensor::new(shape, values).expect("as many values as elements").cast(dtype)
    }
}
