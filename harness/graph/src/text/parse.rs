//! Text as a graph. Names must be defined above where they are read; the opset is [`crate::OPSET`].

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;
use std::sync::Arc;

use super::TextError;
use super::lex::{Lexer, Literal};
use crate::ir::{Attribute, Attributes, Dim, Graph, Node, ValueId, ValueType};
use crate::name::shown;
use crate::onnx::constant_value;
use crate::subgraph::Subgraph;
use crate::tensor::{DType, Element, Tensor};

/// Reads one graph, with or without the `<ir_version: …, opset_import: […]>` of a model in front of it.
///
/// Constants may stand in the list behind the outputs (`<float[2] w = {1, 2}>`), as a default of an input (which is then a
/// constant and no input), or as `Constant` nodes. Types of outputs may be left out; one that contradicts what inference finds
/// is an error. Mistakes in the use of operators are recorded with their line and reported by [`Graph::check`].
///
/// # Errors
/// The first place that cannot be understood.
pub fn parse(text: &str) -> Result<Graph, TextError> {
    let mut parser = Parser { lexer: Lexer::new(text), graph: Graph::default(), names: HashMap::new(), around: Vec::new() };
    parser.model_header()?;
    parser.graph()?;
    if !parser.lexer.is_done() {
        return Err(parser.lexer.expected("the end of the text (one graph, no functions)"));
    }
    Ok(parser.graph)
}

/// A name with its type and the place where it stands.
struct Declared {
    name: String,
    ty: Option<ValueType>,
    place: usize,
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    graph: Graph,
    names: HashMap<String, ValueId>,
    /// The graphs around the one that is being read, the outermost first.
    around: Vec<Around>,
}

/// A graph that is interrupted by a subgraph.
struct Around {
    graph: Graph,
    names: HashMap<String, ValueId>,
    /// Its values that the subgraph captures.
    captured: Vec<ValueId>,
}

/// How deep graphs may nest.
const DEPTH: usize = 16;

impl Parser<'_> {
    /// `<ir_version: 8, opset_import: ["" : 18]>`
    fn model_header(&mut self) -> Result<(), TextError> {
        if !self.lexer.takes("<") {
            return Ok(());
        }
        loop {
            let key = self.lexer.word().ok_or_else(|| self.lexer.expected("a key of the model, e.g. opset_import,"))?;
            self.lexer.sign(":")?;
            if self.lexer.takes("[") {
                while !self.lexer.takes("]") {
                    let name = self.lexer.name()?.unwrap_or_default();
                    self.lexer.sign(":")?;
                    let place = self.lexer.place();
                    let value = self.lexer.literal()?;
                    let standard = name.is_empty() || name == "ai.onnx";
                    if key == "opset_import" && standard && value != Some(Literal::Int(crate::OPSET)) {
                        return Err(self.lexer.error(place, format!("graphs in text are of opset {}", crate::OPSET)));
                    }
                    if !self.lexer.takes(",") && !self.lexer.sees(']') {
                        return Err(self.lexer.expected("\",\" or \"]\""));
                    }
                }
            } else if self.lexer.literal()?.is_none() {
                return Err(self.lexer.expected("a value"));
            }
            if !self.lexer.takes(",") {
                return self.lexer.sign(">");
            }
        }
    }

    fn graph(&mut self) -> Result<(), TextError> {
        self.graph.name = self.lexer.name()?.unwrap_or_default();
        self.lexer.sign("(")?;
        for (declared, values) in self.list(")")? {
            let id = match (values, &declared.ty) {
                (Some(tensor), _) => self.graph.add_constant(&declared.name, tensor),
                (None, Some(ty)) => self.graph.add_input(&declared.name, ty.clone()),
                (None, None) if !self.around.is_empty() => self.graph.add_input(&declared.name, ValueType::default()),
                (None, None) => {
                    let what = format!("the input {} needs a type, as in \"float[N,3] x\"", shown(&declared.name));
                    return Err(self.lexer.error(declared.place, what));
                }
            };
            self.define(&declared.name, id, declared.place)?;
        }
        self.lexer.sign("=>")?;
        self.lexer.sign("(")?;
        let outputs = self.list(")")?;
        let mut types = Vec::new();
        if self.lexer.takes("<") {
            for (declared, values) in self.list(">")? {
                match values {
                    Some(tensor) => {
                        let id = self.graph.add_constant(&declared.name, tensor);
                        self.define(&declared.name, id, declared.place)?;
                    }
                    None => types.push(declared),
                }
            }
        }
        self.lexer.sign("{")?;
        while !self.lexer.takes("}") {
            self.node()?;
        }
        for declared in types {
            self.declare(&declared, "has no values here (as in \"= {1, 2}\"), and no node produces it")?;
        }
        for (declared, values) in outputs {
            if values.is_some() {
                return Err(self.lexer.error(declared.place, "an output cannot be given values"));
            }
            let value = self.declare(&declared, "is an output, and nothing produces it")?;
            self.graph.add_output(&declared.name, value);
        }
        Ok(())
    }

    /// `float[N,3] x, float[2] w = {1, 2}` up to the closing sign.
    fn list(&mut self, close: &str) -> Result<Vec<(Declared, Option<Tensor>)>, TextError> {
        let mut items = Vec::new();
        if self.lexer.takes(close) {
            return Ok(items);
        }
        loop {
            let place = self.lexer.place();
            let ty = if self.sees_type() { Some(self.value_type()?) } else { None };
            let name = self.lexer.name()?.ok_or_else(|| self.lexer.expected("a name"))?;
            let values = if self.lexer.takes("=") {
                let Some(ty) = &ty else {
                    return Err(self.lexer.error(place, format!("the constant {} needs a type", shown(&name))));
                };
                Some(self.values(ty, &name)?)
            } else {
                None
            };
            items.push((Declared { name, ty, place }, values));
            if self.lexer.takes(close) {
                return Ok(items);
            }
            self.lexer.sign(",")?;
        }
    }

    /// `[label] y, z = domain.Op <axis = 1> (a, , b)`
    fn node(&mut self) -> Result<(), TextError> {
        let label = if self.lexer.takes("[") {
            let label = self.lexer.name()?.unwrap_or_default();
            self.lexer.sign("]")?;
            label
        } else {
            String::new()
        };
        let place = self.lexer.place();
        let outputs = self.names()?;
        self.lexer.sign("=")?;
        let mut path = vec![self.lexer.name()?.ok_or_else(|| self.lexer.expected("an operator"))?];
        while self.lexer.takes(".") {
            path.push(self.lexer.name()?.ok_or_else(|| self.lexer.expected("an operator"))?);
        }
        let op = path.pop().unwrap_or_default();
        let domain = path.join(".");
        let (mut attributes, mut captured) = self.attributes()?;
        self.lexer.sign("(")?;
        let inputs = self.names()?;
        self.lexer.sign(")")?;
        if attributes.0.is_empty() {
            (attributes, captured) = self.attributes()?;
        }
        let mut inputs = inputs.into_iter().map(|name| self.operand(name)).collect::<Result<Vec<_>, TextError>>()?;
        inputs.extend(captured.into_values().flatten().map(Some));
        let domain = if domain == "ai.onnx" { "" } else { &domain };
        if domain.is_empty() && op == "Constant" {
            let tensor = constant_value(&attributes)
                .ok_or_else(|| self.lexer.error(place, "this Constant has no value of a kind that is read"))?;
            if let Some((name, place)) = outputs.first().filter(|(name, _)| !name.is_empty()) {
                let id = self.graph.add_constant(name, tensor);
                self.define(name, id, *place)?;
            }
            return Ok(());
        }
        let node = Node { op: op.into(), domain: domain.into(), name: label.into(), inputs, outputs: Vec::new(), attributes };
        let labels: Vec<Option<&str>> = outputs.iter().map(|(n, _)| (!n.is_empty()).then_some(n.as_str())).collect();
        let problems = self.graph.problems().len();
        let results = self.graph.push_named(node, &labels);
        if self.graph.problems().len() > problems {
            let line = self.lexer.error(place, "").line;
            self.graph.locate_problems(problems, &format!("line {line}: "));
        }
        for ((name, place), id) in outputs.iter().zip(results) {
            if let Some(id) = id {
                self.define(name, id, *place)?;
            }
        }
        Ok(())
    }

    /// `a, , "b c"` with the place of each; an absent one is empty. A comma at the end adds nothing.
    fn names(&mut self) -> Result<Vec<(String, usize)>, TextError> {
        let mut names = Vec::new();
        loop {
            let place = self.lexer.place();
            match self.lexer.name()? {
                Some(name) => names.push((name, place)),
                None if self.lexer.sees(',') => names.push((String::new(), place)),
                None => return Ok(names),
            }
            if !self.lexer.takes(",") {
                return Ok(names);
            }
        }
    }

    /// `<axis = 1, pads: ints = [0, 1]>`, or nothing; and what subgraphs among them capture, by attribute.
    fn attributes(&mut self) -> Result<(Attributes, BTreeMap<String, Vec<ValueId>>), TextError> {
        let (mut attributes, mut captured) = (BTreeMap::new(), BTreeMap::new());
        if !self.lexer.takes("<") {
            return Ok((attributes.into(), captured));
        }
        loop {
            let place = self.lexer.place();
            let name = self.lexer.word().ok_or_else(|| self.lexer.expected("the name of an attribute"))?.to_owned();
            let kind = if self.lexer.takes(":") {
                Some(self.lexer.word().ok_or_else(|| self.lexer.expected("the type of an attribute"))?.to_owned())
            } else {
                None
            };
            self.lexer.sign("=")?;
            let at = self.lexer.place();
            let value = if self.sees_subgraph() {
                let (inner, outer) = self.subgraph()?;
                captured.insert(name.clone(), outer);
                Attribute::Graph(Arc::new(inner))
            } else {
                self.attribute(&name)?
            };
            let value = typed(value, kind.as_deref()).map_err(|what| self.lexer.error(at, what))?;
            if attributes.insert(name.clone(), value).is_some() {
                return Err(self.lexer.error(place, format!("the attribute {} stands twice", shown(&name))));
            }
            if !self.lexer.takes(",") {
                self.lexer.sign(">")?;
                return Ok((attributes.into(), captured));
            }
        }
    }

    /// Whether a graph comes next: a name that is neither a type nor a number.
    fn sees_subgraph(&mut self) -> bool {
        let word = self.lexer.peek_word().map(str::to_ascii_lowercase);
        !self.sees_type() && word.is_some_and(|w| !["inf", "infinity", "nan"].contains(&&*w))
    }

    /// `then () => (y) { y = Relu(x) }`, and the values around it that it captures.
    fn subgraph(&mut self) -> Result<(Subgraph, Vec<ValueId>), TextError> {
        let place = self.lexer.place();
        if self.around.len() == DEPTH {
            return Err(self.lexer.error(place, format!("more than {DEPTH} graphs stand inside each other here")));
        }
        let (graph, names) = (std::mem::take(&mut self.graph), std::mem::take(&mut self.names));
        self.around.push(Around { graph, names, captured: Vec::new() });
        self.graph()?;
        let Some(around) = self.around.pop() else { return Err(self.lexer.error(place, "this graph stands in none")) };
        let inner = std::mem::replace(&mut self.graph, around.graph);
        self.names = around.names;
        inner.problems().iter().for_each(|p| self.graph.add_problem(p.what.clone()));
        Ok((Subgraph { graph: inner.without_problems(), captured: around.captured.len() }, around.captured))
    }

    /// The value of that name, captured through the graphs around where it is not of the innermost.
    fn look_up(&mut self, name: &str) -> Option<ValueId> {
        if let Some(&id) = self.names.get(name) {
            return Some(id);
        }
        let level = (0..self.around.len()).rev().find(|&level| self.around[level].names.contains_key(name))?;
        let mut id = self.around[level].names[name];
        for at in level..self.around.len() {
            self.around[at].captured.push(id);
            let ty = self.around[at].graph.value(id).ty.clone();
            let inner = self.around.get_mut(at + 1);
            let (graph, names) = inner.map_or((&mut self.graph, &mut self.names), |a| (&mut a.graph, &mut a.names));
            id = graph.add_input(name, ty);
            names.insert(name.to_owned(), id);
        }
        Some(id)
    }

    fn attribute(&mut self, name: &str) -> Result<Attribute, TextError> {
        let place = self.lexer.place();
        if self.sees_type() {
            let ty = self.value_type()?;
            self.lexer.name()?;
            self.lexer.takes("=");
            return Ok(Attribute::Tensor(Arc::new(self.values(&ty, name)?)));
        }
        if !self.lexer.takes("[") {
            return match self.lexer.literal()? {
                Some(Literal::Int(v)) => Ok(Attribute::Int(v)),
                Some(Literal::Float(v)) => Ok(Attribute::Float(self.number(&v, place)?)),
                Some(Literal::String(v)) => Ok(Attribute::String(v)),
                None if self.lexer.sees('@') => Err(self.lexer.error(place, "an attribute that refers to another is not read")),
                None => Err(self.lexer.expected("a number, a string, a list or a tensor")),
            };
        }
        let mut items = Vec::new();
        while !self.lexer.takes("]") {
            items.push(self.lexer.literal()?.ok_or_else(|| self.lexer.expected("a number or a string"))?);
            if !self.lexer.takes(",") && !self.lexer.sees(']') {
                return Err(self.lexer.expected("\",\" or \"]\""));
            }
        }
        if items.iter().any(|i| matches!(i, Literal::String(_))) {
            let strings = items.into_iter().map(|i| if let Literal::String(s) = i { Some(s) } else { None });
            let strings: Option<Vec<String>> = strings.collect();
            return strings.map(Attribute::Strings).ok_or_else(|| self.lexer.error(place, "strings and numbers are mixed here"));
        }
        let ints = items.iter().map(|i| if let Literal::Int(v) = i { Some(*v) } else { None });
        if let Some(ints) = ints.collect::<Option<Vec<i64>>>() {
            return Ok(Attribute::Ints(ints));
        }
        let floats = items.iter().map(|i| match i {
            Literal::Int(v) => Ok(*v as f32),
            Literal::Float(v) | Literal::String(v) => self.number(v, place),
        });
        Ok(Attribute::Floats(floats.collect::<Result<Vec<f32>, TextError>>()?))
    }

    /// `{1, 2, 3}` as a tensor of a type with fixed extents.
    fn values(&mut self, ty: &ValueType, name: &str) -> Result<Tensor, TextError> {
        let place = self.lexer.place();
        let extents = ty.shape.as_ref().and_then(|dims| dims.iter().map(Dim::fixed).collect::<Option<Vec<usize>>>());
        let (Some(dtype), Some(shape)) = (ty.dtype, extents) else {
            return Err(self.lexer.error(place, format!("the tensor {} needs a type with numbers as extents", shown(name))));
        };
        if self.lexer.sees('[') {
            return Err(self.lexer.error(place, "external data is not read in text"));
        }
        self.lexer.sign("{")?;
        if self.lexer.takes("...") {
            let what = format!("the values of {} are left out here: print the graph whole", shown(name));
            return Err(self.lexer.error(place, what));
        }
        let mut items = Vec::new();
        while !self.lexer.takes("}") {
            let at = self.lexer.place();
            items.push((self.lexer.literal()?.ok_or_else(|| self.lexer.expected("a number"))?, at));
            if !self.lexer.takes(",") && !self.lexer.sees('}') {
                return Err(self.lexer.expected("\",\" or \"}\""));
            }
        }
        let tensor = match dtype {
            DType::F32 => self.numbers::<f32>(&shape, &items)?,
            DType::F64 => self.numbers::<f64>(&shape, &items)?,
            DType::I8 => self.numbers::<i8>(&shape, &items)?,
            DType::I32 => self.numbers::<i32>(&shape, &items)?,
            DType::I64 => self.numbers::<i64>(&shape, &items)?,
            DType::U8 => self.numbers::<u8>(&shape, &items)?,
            DType::Bool => {
                let bits = items.iter().map(|(item, at)| match item {
                    Literal::Int(v @ (0 | 1)) => Ok(*v == 1),
                    _ => Err(self.lexer.error(*at, "a bool is written as 0 or 1")),
                });
                Tensor::new(&shape, bits.collect::<Result<Vec<bool>, TextError>>()?)
            }
        };
        tensor.ok_or_else(|| {
            let what = format!("the tensor {} has the type {ty} and {} values", shown(name), items.len());
            self.lexer.error(place, what)
        })
    }

    fn numbers<T: Element + FromStr>(&self, shape: &[usize], items: &[(Literal, usize)]) -> Result<Option<Tensor>, TextError> {
        let values = items.iter().map(|(item, at)| match item {
            Literal::Int(v) => self.number(&v.to_string(), *at),
            Literal::Float(v) => self.number(v, *at),
            Literal::String(_) => Err(self.lexer.error(*at, "a number is expected here, and there is a string")),
        });
        let values = values.collect::<Result<Vec<T>, TextError>>()?;
        let fits = shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent)) == Some(values.len());
        Ok(if fits { Tensor::new(shape, values) } else { None })
    }

    fn number<T: Element + FromStr>(&self, digits: &str, place: usize) -> Result<T, TextError> {
        digits.parse().map_err(|_| self.lexer.error(place, format!("{} is not a {}", shown(digits), T::DTYPE.name())))
    }

    /// Whether a type comes next.
    fn sees_type(&mut self) -> bool {
        const OTHERS: &[&str] = &[
            "seq",
            "map",
            "optional",
            "sparse_tensor",
            "string",
            "float16",
            "bfloat16",
            "int16",
            "uint16",
            "uint32",
            "uint64",
            "complex64",
            "complex128",
        ];
        self.lexer.peek_word().is_some_and(|word| DType::named(word).is_some() || OTHERS.contains(&word))
    }

    /// `float[N,3,?]`; `float` is of rank 0, `float[]` of unknown rank.
    fn value_type(&mut self) -> Result<ValueType, TextError> {
        let place = self.lexer.place();
        let word = self.lexer.word().unwrap_or_default();
        let Some(dtype) = DType::named(word) else {
            return Err(self.lexer.error(place, format!("the type {} is not supported", shown(word))));
        };
        if !self.lexer.takes("[") {
            return Ok(ValueType::new(dtype, Vec::new()));
        }
        if self.lexer.takes("]") {
            return Ok(ValueType { dtype: Some(dtype), shape: None });
        }
        let mut dims = Vec::new();
        loop {
            let at = self.lexer.place();
            let dim = if self.lexer.takes("?") {
                Dim::Unknown
            } else if let Some(word) = self.lexer.word() {
                Dim::symbol(word)
            } else {
                match self.lexer.literal()? {
                    Some(Literal::String(name)) if name.is_empty() => Dim::Unknown,
                    Some(Literal::String(name)) => Dim::symbol(&name),
                    Some(Literal::Int(n)) => {
                        Dim::Fixed(usize::try_from(n).map_err(|_| self.lexer.error(at, format!("the extent {n} is negative")))?)
                    }
                    _ => return Err(self.lexer.expected("an extent (a number, a name or ?)")),
                }
            };
            dims.push(dim);
            if !self.lexer.takes(",") {
                self.lexer.sign("]")?;
                return Ok(ValueType::new(dtype, dims));
            }
        }
    }

    fn define(&mut self, name: &str, id: ValueId, place: usize) -> Result<(), TextError> {
        match self.names.insert(name.to_owned(), id) {
            None => Ok(()),
            Some(_) => Err(self.lexer.error(place, format!("{} is defined above already", shown(name)))),
        }
    }

    fn operand(&mut self, (name, place): (String, usize)) -> Result<Option<ValueId>, TextError> {
        if name.is_empty() {
            return Ok(None);
        }
        let found = self.look_up(&name);
        let missing = || self.lexer.error(place, format!("{} is read here, and nothing above produces it", shown(&name)));
        found.map(Some).ok_or_else(missing)
    }

    fn declare(&mut self, declared: &Declared, missing: &str) -> Result<ValueId, TextError> {
        let name = shown(&declared.name);
        let value = self.look_up(&declared.name);
        let value = value.ok_or_else(|| self.lexer.error(declared.place, format!("{name} {missing}")))?;
        if let Some(ty) = &declared.ty {
            self.graph.declare(value, ty).map_err(|why| self.lexer.error(declared.place, format!("{name} {why}")))?;
        }
        Ok(value)
    }
}

/// The value as the type that is written beside it; a whole number may stand for a float.
fn typed(value: Attribute, kind: Option<&str>) -> Result<Attribute, String> {
    Ok(match (kind, value) {
        (Some("float"), Attribute::Int(v)) => Attribute::Float(v as f32),
        (Some("floats"), Attribute::Ints(v)) => Attribute::Floats(v.into_iter().map(|v| v as f32).collect()),
        (Some("strings"), Attribute::Ints(v)) if v.is_empty() => Attribute::Strings(Vec::new()),
        (None, Attribute::Ints(v)) if v.is_empty() => {
            return Err("an empty list needs a type, as in \"axes: ints = []\"".to_owned());
        }
        (None, value)
        | (Some("int"), value @ Attribute::Int(_))
        | (Some("float"), value @ Attribute::Float(_))
        | (Some("string"), value @ Attribute::String(_))
        | (Some("ints"), value @ Attribute::Ints(_))
        | (Some("floats"), value @ Attribute::Floats(_))
        | (Some("strings"), value @ Attribute::Strings(_))
        | (Some("tensor"), value @ Attribute::Tensor(_))
        | (Some("graph"), value @ Attribute::Graph(_)) => value,
        (Some(kind), _) => return Err(format!("this value is not of the type {}", shown(kind))),
    })
}
