//! A model whose weights are to change. While its file is read and normalised, every element of every weight is a number of its own,
//! a mark, so that it is known afterwards where each one went, whatever was transposed, reshaped, concatenated or shared on the way.
//! Knows files and places of weights; nothing of training.

mod places;

use std::collections::HashMap;

use flatscape_graph::normalize::Options;
use flatscape_graph::{Attributes, DType, Graph, Node, Tensor, ValueId, shown};

use super::Intake;
use super::native::Native;
use super::source;
use crate::refusal::Refusal;

/// The first mark: elements count from here, as bits of float32. All marks are positive, finite and tiny, so that no rule about 0,
/// 1 or infinity meets one, and no file has such a number.
const FIRST: u32 = 0x0091_2345;
/// Behind the last one: 2⁻⁶², so that they stay below every real weight and above every subnormal number.
const END: u32 = 0x2080_0000;

/// What a weight is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightRole {
    /// It is trained by its gradient.
    Parameter,
    /// The running mean of a batch normalisation.
    Mean,
    /// The running variance of a batch normalisation.
    Variance,
}

/// Something in a file that training changes.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Its name in the file.
    pub name: String,
    /// Its value in the file, float or double.
    pub value: Tensor,
    /// What it is for.
    pub role: WeightRole,
}

/// A model with marks in place of its weights.
#[derive(Clone, Debug)]
pub struct Trainable {
    /// The model; batch normalisation is as the file has it.
    pub native: Native,
    /// What can change, in the order of the file.
    pub weights: Vec<Weight>,
    /// Names of the constants with several floats that are not recognised as weights. They do not change.
    pub others: Vec<String>,
    /// The share that each `Dropout` of the file drops.
    pub dropouts: Vec<f64>,
    /// The normal form of the whole file, with marks.
    file: Graph,
    /// The first mark of every weight, and behind them one for every `Dropout`.
    starts: Vec<u32>,
    /// Behind the last mark.
    end: u32,
}

/// What a constant of a graph of this model is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Nothing that training changes.
    Nothing,
    /// Elements of weights, in the order of the constant: which weight, and which of its elements.
    Elements(Vec<(usize, usize)>),
    /// The place of a `Dropout`, by its number: its operand is multiplied by this constant.
    Dropout(usize),
    /// Something was computed from a weight while the file was read, and cannot be followed.
    Torn,
}

impl Trainable {
    /// Reads the model of that name or at that path.
    ///
    /// # Errors
    /// As for [`Native::with`]; `M160` where nothing can be trained, `M161` where weights are quantised or in half precision.
    pub fn load(source: &str, stated: &Intake, labels: Option<usize>) -> Result<Trainable, Refusal> {
        let mut found = source::find(source, &stated.limits)?;
        let name = found.name.clone();
        if found.own.is_some() {
            let what = format!("{name}: it has numbers in half precision, and training is in float32");
            return Err(Refusal::model(161, what).help("export the model in float32"));
        }
        let places = places::find(&found.file.graph);
        if let Some(node) = places.quantised {
            let what = format!("{name}: quantised weights cannot be trained: {node} holds them as integers");
            return Err(Refusal::model(161, what).help("train the model that it was quantised from, in float32"));
        }
        if !places.weights.iter().any(|w| w.role == WeightRole::Parameter) {
            let what =
                format!("{name}: nothing in it can be trained: no convolution, matrix product or normalisation has weights");
            return Err(Refusal::model(160, what).help("train a model whose layers have weights of their own"));
        }
        finite(&name, &places.weights)?;
        let (starts, end) = numbered(&places).ok_or_else(|| {
            Refusal::model(160, format!("{name}: it has more weights than can be trained")).help("train a smaller model")
        })?;
        found.file.graph = places::marked(&found.file.graph, &places, &|w| marks(&places.weights[w], starts[w]), &|d| {
            Tensor::scalar(f32::from_bits(starts[places.weights.len() + d]))
        });
        let options = Options { fold_batch_norm: false };
        let (native, file) = Native::of(found, stated, labels, &options)?;
        let (others, dropouts) = (places.others, places.dropouts);
        Ok(Trainable { native, weights: places.weights, others, dropouts, file, starts, end })
    }

    /// A sentence that names the constants that are not recognised as weights, if there are any.
    pub fn unrecognised(&self) -> Option<String> {
        /// Names that are written out.
        const SHOWN: usize = 8;
        let names: Vec<String> = self.others.iter().take(SHOWN).map(|name| shown(name)).collect();
        let more = self.others.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!names.is_empty()).then(|| {
            format!(
                "{}: these constants are not recognised as weights and do not change: {}{more}",
                self.native.name,
                names.join(", ")
            )
        })
    }

    /// What a constant of a graph of this model is made of.
    pub fn trace(&self, constant: &Tensor) -> Trace {
        let mark = |bits: u32| (FIRST..self.end).contains(&bits).then_some(bits);
        let marks: Vec<Option<u32>> = match constant {
            Tensor::F32(a) => a.iter().map(|v| mark(v.to_bits())).collect(),
            Tensor::F64(a) => a.iter().map(|&v| (f64::from(v as f32) == v).then(|| mark((v as f32).to_bits()))?).collect(),
            _ => return Trace::Nothing,
        };
        if marks.is_empty() {
            return Trace::Nothing;
        }
        if marks.iter().all(Option::is_none) {
            // a weight times a number, or a sum of weights, is still tiny and not 0
            let tiny = |v: &f64| *v != 0.0 && v.abs() < f64::from(f32::from_bits(END));
            return if constant.len() > 1 && constant.to_f64().iter().all(tiny) { Trace::Torn } else { Trace::Nothing };
        }
        let Some(marks) = marks.into_iter().collect::<Option<Vec<u32>>>() else { return Trace::Torn };
        let found: Vec<(usize, usize)> = marks
            .into_iter()
            .map(|mark| {
                let weight = self.starts.partition_point(|&start| start <= mark) - 1;
                (weight, (mark - self.starts[weight]) as usize)
            })
            .collect();
        match found[..] {
            [(place, _)] if place >= self.weights.len() => Trace::Dropout(place - self.weights.len()),
            _ if found.iter().all(|(weight, _)| *weight < self.weights.len()) => Trace::Elements(found),
            _ => Trace::Torn,
        }
    }

    /// The operand and the number of a `Dropout`, where a node stands for one.
    pub fn dropout(&self, graph: &Graph, node: &Node, inputs: &[Option<ValueId>]) -> Option<(ValueId, usize)> {
        if &*node.op != "Mul" || !node.domain.is_empty() {
            return None;
        }
        let operand = |place: usize| inputs.get(place).copied().flatten();
        [(0, 1), (1, 0)].into_iter().find_map(|(x, c)| {
            let constant = graph.constant(operand(c)?).filter(|t| t.len() == 1)?;
            if let Trace::Dropout(number) = self.trace(constant) { Some((operand(x)?, number)) } else { None }
        })
    }

    /// A graph of this model with values in place of marks, without `Dropout`. One value per weight, of its type and extents.
    ///
    /// # Errors
    /// A clause about a weight that cannot be followed.
    pub fn filled(&self, graph: &Graph, values: &[Tensor]) -> Result<Graph, String> {
        self.with_values(graph, values, false)
    }

    /// The file with other weights: its own inputs and outputs, opset [`flatscape_graph::OPSET`].
    ///
    /// # Errors
    /// As for [`Trainable::filled`].
    pub fn file(&self, values: &[Tensor]) -> Result<Graph, String> {
        self.with_values(&self.file, values, true)
    }

    fn with_values(&self, graph: &Graph, values: &[Tensor], with_dropout: bool) -> Result<Graph, String> {
        let mut torn = None;
        let mut known: HashMap<ValueId, ValueId> = HashMap::new();
        let new = graph.rewrite(|new, node, inputs| {
            if let Some((x, number)) = self.dropout(new, node, inputs) {
                if !with_dropout {
                    return Some(vec![Some(x)]);
                }
                let ratio = new.add_constant("ratio", Tensor::scalar(self.dropouts[number] as f32));
                return Some(vec![Some(new.node("Dropout", &[x, ratio], Attributes::none()))]);
            }
            let mut put = |new: &mut Graph, id: ValueId| {
                if let Some(&there) = known.get(&id) {
                    return there;
                }
                let Some(constant) = new.constant(id).cloned() else { return id };
                let value = match self.trace(&constant) {
                    Trace::Nothing => return id,
                    Trace::Elements(elements) => gathered(&elements, values, constant.shape(), constant.dtype()),
                    Trace::Torn | Trace::Dropout(_) => None,
                };
                let Some(value) = value else {
                    torn.get_or_insert_with(|| format!("the weights of {} cannot be followed", node.describe()));
                    return id;
                };
                let name = new.value(id).name.to_string();
                let there = new.add_constant(&name, value);
                known.insert(id, there);
                there
            };
            let replaced: Vec<Option<ValueId>> = inputs.iter().map(|i| i.map(|id| put(new, id))).collect();
            (replaced != inputs).then(|| new.copy_node(graph, node, replaced))
        });
        torn.map_or(Ok(new.without_dead()), Err)
    }
}

/// The elements of weights at these places, as a tensor.
fn gathered(elements: &[(usize, usize)], values: &[Tensor], shape: &[usize], dtype: DType) -> Option<Tensor> {
    let mut flat: HashMap<usize, Vec<f64>> = HashMap::new();
    let data: Vec<f64> = elements
        .iter()
        .map(|&(weight, at)| {
            let values = flat.entry(weight).or_insert_with(|| values.get(weight).map_or(Vec::new(), Tensor::to_f64));
            values.get(at).copied()
        })
        .collect::<Option<_>>()?;
    Tensor::new(shape, data).map(|t| t.cast(dtype))
}

/// The first mark of every weight and then of every dropout, and the one behind the last; `None` where there are too many.
fn numbered(places: &places::Places) -> Option<(Vec<u32>, u32)> {
    let sizes = places.weights.iter().map(|w| w.value.len()).chain(places.dropouts.iter().map(|_| 1));
    let mut next = FIRST;
    let mut starts = Vec::new();
    for size in sizes {
        starts.push(next);
        next = next.checked_add(u32::try_from(size).ok()?).filter(|&end| end <= END)?;
    }
    Some((starts, next))
}

/// The marks of a weight, in its type and extents.
fn marks(weight: &Weight, start: u32) -> Tensor {
    let data: Vec<f32> = (0..weight.value.len() as u32).map(|at| f32::from_bits(start + at)).collect();
    let dtype = weight.value.dtype();
    Tensor::new(weight.value.shape(), data).map_or_else(|| weight.value.clone(), |t| t.cast(dtype))
}

fn finite(model: &str, weights: &[Weight]) -> Result<(), Refusal> {
    let broken = weights.iter().find(|w| w.value.to_f64().iter().any(|v| !v.is_finite()));
    broken.map_or(Ok(()), |weight| {
        let what = format!("{model}: the weights {} are not finite", shown(&weight.name));
        Err(Refusal::model(65, what).help("export the model again from a sound checkpoint"))
    })
}
