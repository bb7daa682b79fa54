//! A model with its weights as inputs: the form that is evaluated, and the form that is trained, in which batch normalisation takes
//! the statistics of the batch and dropout has masks. Knows graphs; nothing of data, costs or steps.

use std::collections::HashMap;

use flatscape_graph::{Attributes, Builder, DType, Dim, Expr, Graph, Node, Tensor, ValueId, ValueType, normalize, simplify};
use flatscape_intake::model::{Outputs, Pixels, Trace, Trainable, WeightRole};
use flatscape_intake::refusal::Refusal;

/// A batch normalisation that takes the statistics of the batch while it is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistic {
    /// The weight that holds its running mean.
    pub mean: usize,
    /// The weight that holds its running variance.
    pub variance: usize,
    /// The share of the running statistics that stays at every step: 0.9 where the file does not say.
    pub momentum: f64,
    /// Values per sample and channel, over which statistics are taken beside the batch.
    pub spatial: usize,
}

/// A dropout: the shape of its mask without the batch, and the share that it drops.
#[derive(Clone, Debug, PartialEq)]
pub struct Mask {
    /// Extents behind the batch.
    pub shape: Vec<usize>,
    /// The share of elements that become 0.
    pub ratio: f64,
}

/// A model as graphs whose first input is `x` float[N,C,H,W] in pixel units and whose first output is `logits` float[N,K]. Trained
/// weights are the inputs `param_<i>`; the others are constants.
#[derive(Clone, Debug)]
pub struct Form {
    /// With running statistics as inputs `stat_<2j>` (mean) and `stat_<2j+1>` (variance) of the j-th normalisation.
    pub evaluation: Graph,
    /// With batch statistics and inputs `mask_<i>_at`; further outputs `batch_mean_<j>_at` and `batch_variance_<j>_at`, the
    /// population variance. The linker adds the suffix of the point to all three.
    pub training: Graph,
    /// Which weight each `param_<i>` is.
    pub trained: Vec<usize>,
    /// The normalisations, in their order in the graph.
    pub statistics: Vec<Statistic>,
    /// The dropouts, in their order in the graph.
    pub masks: Vec<Mask>,
}

/// The way out where weights cannot be followed.
pub const EXPORT_AGAIN: &str = "export the model with its weights as they are trained, one initializer each";

/// The name of the i-th parameter.
pub fn parameter(i: usize) -> String {
    format!("param_{i}")
}

/// The name of the i-th running statistic.
pub fn statistic(i: usize) -> String {
    format!("stat_{i}")
}

/// The name of the i-th mask, before the suffix of a point.
pub fn mask(i: usize) -> String {
    format!("mask_{i}_at")
}

/// The name of the j-th mean of a batch, before the suffix of a point.
pub fn batch_mean(j: usize) -> String {
    format!("batch_mean_{j}_at")
}

/// The name of the j-th population variance of a batch, before the suffix of a point.
pub fn batch_variance(j: usize) -> String {
    format!("batch_variance_{j}_at")
}

impl Form {
    /// Opens a graph with marks, as [`marked`] gives it: `chosen` says for every weight whether it is trained; where scale and shift
    /// of a normalisation are not, it keeps its statistics.
    ///
    /// # Errors
    /// A clause about a weight that cannot be followed.
    pub fn of(trainable: &Trainable, marked: &Graph, chosen: &[bool]) -> Result<Form, String> {
        let used = used(trainable, marked);
        let parameter = |w: &usize| trainable.weights[*w].role == WeightRole::Parameter && chosen.get(*w) == Some(&true);
        let trained: Vec<usize> = (0..trainable.weights.len()).filter(|w| parameter(w) && used[*w]).collect();
        let mut opening = Opening::new(trainable, marked, &trained);
        let training = opening.graph(true)?;
        let evaluation = opening.graph(false)?;
        let Opening { statistics, masks, .. } = opening;
        Ok(Form { evaluation, training, trained, statistics, masks })
    }

    /// A mask of the training form that drops nothing, by the name of its input; ones of no extent where there is no such mask.
    pub fn open_mask(&self, name: &str, rows: usize) -> Tensor {
        let shape = (0..self.masks.len()).find(|&i| name.starts_with(&mask(i))).map_or(&[][..], |i| &self.masks[i].shape[..]);
        Tensor::full(DType::F32, &[&[rows], shape].concat(), 1.0)
    }

    /// Whether a row of the training form depends on the same row of the batch alone.
    pub fn is_by_row(&self) -> bool {
        self.statistics.is_empty()
    }
}

/// A model with marks in place of its weights behind its preprocessing, in float32: `x` float[N,C,H,W] in pixel units in, logits out.
///
/// # Errors
/// `M052`: its batch is fixed; `M053`: the images do not fit; `M056`: it is in double and has no form in float32.
pub fn marked(trainable: &Trainable, pixels: &Pixels, shape: [usize; 3]) -> Result<Graph, Refusal> {
    let native = trainable.native.any_batch()?;
    let refused = |e: String| Refusal::model(56, format!("{}: it has no form in float32: {e}", trainable.native.name));
    let native = if normalize::has_double(native) { normalize::in_float32(native).map_err(refused)? } else { native.clone() };
    pixels.before(&native, Dim::symbol(normalize::BATCH), shape, Outputs::Logits)
}

/// Which weights stand in a graph.
fn used(trainable: &Trainable, marked: &Graph) -> Vec<bool> {
    let mut used = vec![false; trainable.weights.len()];
    let read = marked.nodes().iter().flat_map(|n| n.inputs.iter().flatten().copied());
    for constant in read.filter_map(|v| marked.constant(v)) {
        if let Trace::Elements(elements) = trainable.trace(constant) {
            elements.iter().for_each(|(weight, _)| used[*weight] = true);
        }
    }
    used
}

/// A model while it is opened.
struct Opening<'t> {
    trainable: &'t Trainable,
    marked: &'t Graph,
    trained: &'t [usize],
    statistics: Vec<Statistic>,
    masks: Vec<Mask>,
}

impl<'t> Opening<'t> {
    fn new(trainable: &'t Trainable, marked: &'t Graph, trained: &'t [usize]) -> Opening<'t> {
        let mut opening = Opening { trainable, marked, trained, statistics: Vec::new(), masks: Vec::new() };
        for node in marked.nodes() {
            if let Some(statistic) = opening.statistic(node) {
                opening.statistics.push(statistic);
            }
        }
        opening
    }

    /// The normalisation behind a node, if it takes the statistics of the batch in training.
    fn statistic(&self, node: &Node) -> Option<Statistic> {
        if &*node.op != "BatchNormalization" || !node.domain.is_empty() || node.attributes.int("training_mode", 0) != 0 {
            return None;
        }
        let whole = |place: usize| {
            let constant = self.marked.constant(node.input(place)?)?;
            match self.trainable.trace(constant) {
                Trace::Elements(elements) => elements.first().map(|(weight, _)| *weight),
                _ => None,
            }
        };
        let trains = [1, 2].into_iter().any(|place| whole(place).is_some_and(|w| self.trained.contains(&w)));
        let (mean, variance) = (whole(3)?, whole(4)?);
        let spatial = self.marked.shape(node.input(0)?)?.iter().skip(2).map(Dim::fixed).product::<Option<usize>>()?;
        let momentum = f64::from(node.attributes.float("momentum", 0.9));
        trains.then_some(Statistic { mean, variance, momentum, spatial })
    }

    fn graph(&mut self, training: bool) -> Result<Graph, String> {
        let mut inputs: HashMap<usize, ValueId> = HashMap::new();
        let mut known: HashMap<ValueId, ValueId> = HashMap::new();
        let (mut torn, mut masks, mut extras) = (None, Vec::new(), Vec::new());
        let mut normalised = 0;
        let opened = self.marked.rewrite(|new, node, operands| {
            if inputs.is_empty() {
                inputs = self.inputs(new, training);
            }
            if let Some((x, number)) = self.trainable.dropout(new, node, operands) {
                if !training {
                    return Some(vec![Some(x)]);
                }
                let ratio = self.trainable.dropouts[number];
                return Some(vec![Some(masked(new, x, ratio, &mut masks, &mut torn))]);
            }
            let mut open = |new: &mut Graph, id: ValueId| match known.get(&id) {
                Some(&there) => there,
                None => {
                    let there = self.opened(new, id, &inputs).unwrap_or_else(|| {
                        torn.get_or_insert_with(|| format!("the weights of {} cannot be followed", node.describe()));
                        id
                    });
                    known.insert(id, there);
                    there
                }
            };
            let operands: Vec<Option<ValueId>> = operands.iter().map(|o| o.map(|id| open(new, id))).collect();
            if training && self.statistic(node).is_some() {
                normalised += 1;
                return with_batch(new, node, &operands, normalised - 1, &mut extras).map(|y| vec![Some(y)]);
            }
            Some(new.copy_node(self.marked, node, operands))
        });
        if let Some(torn) = torn {
            return Err(torn);
        }
        if training {
            self.masks = masks;
        }
        let mut opened = opened;
        for (name, id) in extras {
            opened.add_output(&name, id);
        }
        let graph = simplify(&opened);
        graph.check().map_err(|e| e.to_string())?;
        Ok(graph)
    }

    /// The inputs of a form behind `x`, by the weight that they hold.
    fn inputs(&self, new: &mut Graph, training: bool) -> HashMap<usize, ValueId> {
        let mut add = |name: String, weight: usize| {
            let value = &self.trainable.weights[weight].value;
            (weight, new.add_input(&name, ValueType::fixed(self.dtype(), value.shape())))
        };
        let mut inputs: HashMap<usize, ValueId> =
            self.trained.iter().enumerate().map(|(i, &weight)| add(parameter(i), weight)).collect();
        if !training {
            for (j, s) in self.statistics.iter().enumerate() {
                inputs.extend([add(statistic(2 * j), s.mean), add(statistic(2 * j + 1), s.variance)]);
            }
        }
        inputs
    }

    /// The element type of weights: that of the logits.
    fn dtype(&self) -> DType {
        self.marked
            .nodes()
            .iter()
            .flat_map(|n| n.inputs.iter().flatten())
            .find_map(|v| self.marked.constant(*v).filter(|t| self.trainable.trace(t) != Trace::Nothing).map(|t| t.dtype()))
            .unwrap_or(DType::F32)
    }

    /// The value of a constant with marks: inputs where weights are trained, else the weights of the file.
    fn opened(&self, new: &mut Graph, id: ValueId, inputs: &HashMap<usize, ValueId>) -> Option<ValueId> {
        let Some(constant) = new.constant(id).cloned() else { return Some(id) };
        let elements = match self.trainable.trace(&constant) {
            Trace::Nothing => return Some(id),
            Trace::Torn | Trace::Dropout(_) => return None,
            Trace::Elements(elements) => elements,
        };
        let name = new.value(id).name.to_string();
        let mut weights: Vec<usize> = elements.iter().map(|(weight, _)| *weight).collect();
        weights.sort_unstable();
        weights.dedup();
        let value = |new: &mut Graph, weight: usize| match inputs.get(&weight) {
            Some(&input) => input,
            None => new.add_constant(&name, self.trainable.weights[weight].value.cast(constant.dtype())),
        };
        if let [weight] = weights[..] {
            let places: Vec<usize> = elements.iter().map(|(_, place)| *place).collect();
            let shape = self.trainable.weights[weight].value.shape().to_vec();
            let whole = value(new, weight);
            return Some(built(new, |b| arranged(b.expr(whole), &shape, &places, constant.shape())));
        }
        let starts: HashMap<usize, usize> = weights
            .iter()
            .scan(0, |next, &w| Some((w, std::mem::replace(next, *next + self.trainable.weights[w].value.len()))))
            .collect();
        let parts: Vec<ValueId> = weights.iter().map(|&w| value(new, w)).collect();
        let places: Vec<usize> = elements.iter().map(|(weight, place)| starts[weight] + place).collect();
        Some(built(new, |b| {
            let flat: Vec<Expr<'_>> = parts.iter().map(|&id| b.expr(id).reshape(&[-1])).collect();
            picked(b.concat(&flat, 0), &places, constant.shape())
        }))
    }
}

/// Runs a formula on a graph that is being rewritten.
fn built(new: &mut Graph, formula: impl FnOnce(&Builder) -> Expr<'_>) -> ValueId {
    let b = Builder::new(std::mem::take(new));
    let id = formula(&b).id;
    *new = b.into_graph();
    id
}

/// A weight of some extents whose elements stand in this order: itself, reshaped, transposed, or picked one by one.
fn arranged<'b>(weight: Expr<'b>, shape: &[usize], places: &[usize], wanted: &[usize]) -> Expr<'b> {
    let to = |e: Expr<'b>, from: &[usize]| {
        let target: Vec<i64> = wanted.iter().map(|&n| n as i64).collect();
        if from == wanted { e } else { e.reshape(&target) }
    };
    if places.iter().enumerate().all(|(i, &place)| i == place) && places.len() == shape.iter().product::<usize>() {
        return to(weight, shape);
    }
    for perm in permutations(shape.len()) {
        if transposed(shape, &perm) == places {
            let axes: Vec<i64> = perm.iter().map(|&a| a as i64).collect();
            let after: Vec<usize> = perm.iter().map(|&a| shape[a]).collect();
            return to(weight.transpose(&axes), &after);
        }
    }
    picked(weight.reshape(&[-1]), places, wanted)
}

fn picked<'b>(flat: Expr<'b>, places: &[usize], wanted: &[usize]) -> Expr<'b> {
    let places: Vec<i64> = places.iter().map(|&p| p as i64).collect();
    let target: Vec<i64> = wanted.iter().map(|&n| n as i64).collect();
    flat.gather(flat.builder().ints(&places), 0).reshape(&target)
}

/// Every order of the axes of a tensor, of rank 5 at most.
fn permutations(rank: usize) -> Vec<Vec<usize>> {
    if rank > 5 {
        return Vec::new();
    }
    let mut all = vec![Vec::new()];
    for _ in 0..rank {
        all = all
            .into_iter()
            .flat_map(|head: Vec<usize>| {
                (0..rank).filter(|a| !head.contains(a)).map(|a| [&head[..], &[a]].concat()).collect::<Vec<_>>()
            })
            .collect();
    }
    all
}

/// Where the elements of a transposed tensor come from.
fn transposed(shape: &[usize], perm: &[usize]) -> Vec<usize> {
    let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
    let mut places = vec![0];
    for &axis in perm {
        let stride = strides[axis];
        places = places.iter().flat_map(|&at| (0..shape[axis]).map(move |i| at + i * stride)).collect();
    }
    places
}

/// x · mask, the mask a new input.
fn masked(new: &mut Graph, x: ValueId, ratio: f64, masks: &mut Vec<Mask>, torn: &mut Option<String>) -> ValueId {
    let ty = new.value(x).ty.clone();
    let inner: Option<Vec<usize>> = ty.shape.as_ref().and_then(|dims| dims.iter().skip(1).map(Dim::fixed).collect());
    let Some(shape) = inner else {
        torn.get_or_insert_with(|| "the operand of a Dropout has no known shape".to_owned());
        return x;
    };
    let mask = new.add_input(&mask(masks.len()), ty);
    masks.push(Mask { shape, ratio });
    new.node("Mul", &[x, mask], Attributes::none())
}

/// γ·(x − mean)/√(var + ε) + β with the statistics of the batch, which become outputs.
fn with_batch(
    new: &mut Graph,
    node: &Node,
    operands: &[Option<ValueId>],
    j: usize,
    extras: &mut Vec<(String, ValueId)>,
) -> Option<ValueId> {
    let (x, scale, shift) = (operands[0]?, operands[1]?, operands[2]?);
    let rank = new.rank(x)? as i64;
    let channels = new.shape(scale)?.first()?.fixed()? as i64;
    let epsilon = f64::from(node.attributes.float("epsilon", 1e-5));
    let mut statistics = None;
    let y = built(new, |b| {
        let axes: Vec<i64> = (0..rank).filter(|&axis| axis != 1).collect();
        let channel = |id: ValueId| {
            let shape: Vec<i64> = (0..rank).map(|axis| if axis == 1 { channels } else { 1 }).collect();
            b.expr(id).reshape(&shape)
        };
        let x = b.expr(x);
        let mean = x.mean(&axes, true);
        let centred = x - mean;
        let variance = (centred * centred).mean(&axes, true);
        statistics = Some((mean.reshape(&[channels]).id, variance.reshape(&[channels]).id));
        centred * ((variance + epsilon).sqrt().reciprocal() * channel(scale)) + channel(shift)
    });
    let (mean, variance) = statistics?;
    extras.extend([(batch_mean(j), mean), (batch_variance(j), variance)]);
    Some(y)
}

/// The part of the training form that gives the statistics of a batch.
pub fn batch_statistics(form: &Form) -> Graph {
    let mut graph = form.training.clone();
    graph.set_outputs(graph.outputs().iter().filter(|o| o.name.starts_with("batch_")).cloned().collect());
    graph.without_dead()
}

/// The means over batches of the statistics of each, the variance unbiased. Source: Izmailov et al. 2018 (arXiv:1803.05407), section
/// 3.2.
#[derive(Clone, Debug)]
pub struct Averages {
    spatial: Vec<usize>,
    sums: Vec<Vec<f64>>,
    batches: f64,
}

impl Averages {
    /// Before the first batch.
    pub fn new(form: &Form) -> Averages {
        let spatial: Vec<usize> = form.statistics.iter().map(|s| s.spatial).collect();
        Averages { sums: vec![Vec::new(); 2 * spatial.len()], spatial, batches: 0.0 }
    }

    /// Adds a batch of this many rows; `read` gives the outputs of [`batch_statistics`] by name.
    ///
    /// # Errors
    /// The name of one that is missing.
    pub fn add(&mut self, rows: usize, read: impl Fn(&str) -> Option<Vec<f64>>) -> Result<(), String> {
        for (j, &spatial) in self.spatial.iter().enumerate() {
            let n = (rows * spatial) as f64;
            let unbiased = n / (n - 1.0).max(1.0);
            for (place, name, factor) in [(2 * j, batch_mean(j), 1.0), (2 * j + 1, batch_variance(j), unbiased)] {
                let found = read(&name).ok_or(name)?;
                let sums = &mut self.sums[place];
                sums.resize(found.len(), 0.0);
                sums.iter_mut().zip(found).for_each(|(sum, v)| *sum += factor * v);
            }
        }
        self.batches += 1.0;
        Ok(())
    }

    /// Mean and variance of every normalisation, in the order of its inputs.
    pub fn means(self) -> Vec<Tensor> {
        let batches = self.batches.max(1.0);
        self.sums.into_iter().map(|sum| Tensor::floats(sum.iter().map(|v| (v / batches) as f32).collect())).collect()
    }
}

/// The weights of the last layer of a graph with marks: those of the first matrix product or convolution on the way back from the
/// logits, and of what is added behind it.
pub fn last_layer(trainable: &Trainable, marked: &Graph) -> Vec<usize> {
    let mut found = Vec::new();
    let mut value = marked.outputs().first().map(|o| o.value);
    while let Some((id, _)) = value.and_then(|v| marked.value(v).producer) {
        let node = marked.node_at(id);
        let constants = node.inputs.iter().flatten().filter_map(|v| marked.constant(*v));
        let weights = constants.filter_map(|t| if let Trace::Elements(e) = trainable.trace(t) { Some(e) } else { None });
        found.extend(weights.flatten().map(|(weight, _)| weight));
        match &*node.op {
            "Gemm" | "MatMul" | "Conv" => break,
            _ => value = node.inputs.iter().flatten().copied().find(|v| marked.constant(*v).is_none()),
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Weights as tensors of a form: the parameters and running statistics among them, in the order of its inputs.
pub fn values_of(form: &Form, weights: &[Tensor]) -> (Vec<Tensor>, Vec<Tensor>) {
    let parameters = form.trained.iter().map(|&w| weights[w].clone()).collect();
    let statistics = form.statistics.iter().flat_map(|s| [weights[s.mean].clone(), weights[s.variance].clone()]).collect();
    (parameters, statistics)
}
