//! A graph as text: one node per line, names unique, numbers exact.

use std::fmt::Write;

use crate::ir::{Attribute, Dim, Graph, Node, ValueType};
use crate::name::Naming;
use crate::tensor::Tensor;

/// Constants of up to this many elements are printed by [`print()`].
const SHORT: usize = 16;

/// A graph for reading: constants of more than 16 elements appear as `{...}`, which [`super::parse`] refuses.
pub fn print(graph: &Graph) -> String {
    Printer { longest: SHORT }.graph(graph)
}

/// A graph with all its numbers. [`super::parse`] gives the same graph back.
pub fn print_whole(graph: &Graph) -> String {
    Printer { longest: usize::MAX }.graph(graph)
}

struct Printer {
    longest: usize,
}

impl Printer {
    fn graph(&self, graph: &Graph) -> String {
        self.body(graph, &Naming::of(graph), 0)
    }

    /// The last `captured` inputs are names from outside and are not listed.
    fn body(&self, graph: &Graph, naming: &Naming, captured: usize) -> String {
        let own = graph.inputs().len() - captured.min(graph.inputs().len());
        let inputs = graph.inputs()[..own].iter().map(|&v| typed_name(&graph.value(v).ty, naming.value(Some(v))));
        let outputs = graph.outputs().iter().zip(&naming.outputs).map(|(o, name)| typed_name(&graph.value(o.value).ty, name));
        let name = if graph.name.is_empty() { "graph" } else { &graph.name };
        let mut text = format!("{} ({}) => ({})", name_text(name), joined(inputs), joined(outputs));
        if naming.constants.is_empty() {
            text.push_str(" {\n");
        } else {
            let constants = naming.constants.iter().filter_map(|&v| {
                let tensor = graph.constant(v)?;
                Some(format!("{} = {}", typed_name(&graph.value(v).ty, naming.value(Some(v))), self.values(tensor)))
            });
            let constants: Vec<String> = constants.collect();
            let _ = writeln!(text, "\n<\n  {}\n>\n{{", constants.join(",\n  "));
        }
        for node in graph.nodes() {
            text.push_str("  ");
            self.node(&mut text, node, naming);
        }
        for (value, name) in &naming.identities {
            let _ = writeln!(text, "  {} = Identity({})", name_text(name), name_text(naming.value(Some(*value))));
        }
        text.push_str("}\n");
        text
    }

    fn node(&self, text: &mut String, node: &Node, naming: &Naming) {
        if !node.name.is_empty() {
            let _ = write!(text, "[{}] ", name_text(&node.name));
        }
        let outputs = node.outputs.iter().map(|&v| name_text(naming.value(v)));
        let inputs = node.own_inputs().iter().map(|&v| name_text(naming.value(v)));
        let _ = write!(text, "{} = {}", joined(outputs), operator(node));
        if !node.attributes.0.is_empty() {
            let attributes = node.attributes.0.iter().map(|(name, value)| self.attribute(name, value, node, naming));
            let _ = write!(text, " <{}> ", joined(attributes));
        }
        let _ = writeln!(text, "({})", joined(inputs));
    }

    fn attribute(&self, name: &str, value: &Attribute, node: &Node, naming: &Naming) -> String {
        let list = |kind: &str, items: Vec<String>| match items.is_empty() {
            true => format!("{name}: {kind} = []"),
            false => format!("{name} = [{}]", items.join(", ")),
        };
        match value {
            Attribute::Int(v) => format!("{name} = {v}"),
            Attribute::Float(v) => format!("{name} = {v:?}"),
            Attribute::String(v) => format!("{name} = {}", quoted(v)),
            Attribute::Ints(v) => list("ints", v.iter().map(i64::to_string).collect()),
            Attribute::Floats(v) => list("floats", v.iter().map(|v| format!("{v:?}")).collect()),
            Attribute::Strings(v) => list("strings", v.iter().map(|v| quoted(v)).collect()),
            Attribute::Tensor(v) => {
                let ty = ValueType::fixed(v.dtype(), v.shape());
                format!("{name} = {} {}", type_text(&ty), self.values(v))
            }
            Attribute::Graph(inner) => {
                let inside = naming.inside(inner, node.captures_of(name));
                format!("{name} = {}", self.body(&inner.graph, &inside, inner.captured).trim_end())
            }
            Attribute::Unread(kind) => format!("{name} = @{}", kind.replace(' ', "_")),
        }
    }

    fn values(&self, tensor: &Tensor) -> String {
        if tensor.len() > self.longest {
            return "{...}".to_owned();
        }
        let items: Vec<String> = match tensor {
            Tensor::F32(a) => a.iter().map(|v| format!("{v:?}")).collect(),
            Tensor::F64(a) => a.iter().map(|v| format!("{v:?}")).collect(),
            Tensor::I8(a) => a.iter().map(i8::to_string).collect(),
            Tensor::I32(a) => a.iter().map(i32::to_string).collect(),
            Tensor::I64(a) => a.iter().map(i64::to_string).collect(),
            Tensor::U8(a) => a.iter().map(u8::to_string).collect(),
            Tensor::Bool(a) => a.iter().map(|&v| u8::from(v).to_string()).collect(),
        };
        format!("{{{}}}", items.join(", "))
    }
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<String>>().join(", ")
}

/// `float[N,3] x`; the name alone where the element type is not known.
fn typed_name(ty: &ValueType, name: &str) -> String {
    if ty.dtype.is_none() { name_text(name) } else { format!("{} {}", type_text(ty), name_text(name)) }
}

/// As the type shows itself, with symbols in quotes where they need them.
fn type_text(ty: &ValueType) -> String {
    let quote = |dim: &Dim| match dim {
        Dim::Symbol(s) => Dim::symbol(&name_text(s)),
        other => other.clone(),
    };
    ValueType { dtype: ty.dtype, shape: ty.shape.as_ref().map(|dims| dims.iter().map(quote).collect()) }.to_string()
}

fn operator(node: &Node) -> String {
    if node.domain.is_empty() {
        return name_text(&node.op);
    }
    let plain = node.domain.split('.').all(is_plain);
    let domain = if plain { node.domain.to_string() } else { quoted(&node.domain) };
    format!("{domain}.{}", name_text(&node.op))
}

/// A name, in quotes where it is not an identifier.
fn name_text(name: &str) -> String {
    if is_plain(name) { name.to_owned() } else { quoted(name) }
}

fn is_plain(name: &str) -> bool {
    let first = name.chars().next();
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for c in name.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            // control characters and those that change the direction of writing
            _ if c.is_control() || c.escape_debug().len() > 2 => {
                let _ = write!(text, "\\u{{{:x}}}", u32::from(c));
            }
            _ => text.push(c),
        }
    }
    text.push('"');
    text
}
