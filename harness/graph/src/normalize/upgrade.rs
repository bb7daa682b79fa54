//! Operators of opsets 7 to 27 in their opset-18 form: what was an attribute is an operand, what was renamed has its name, and
//! what is newer is written with what there is.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::{NormalizeError, OPSETS, Settings, expansions, functions, known, sequences};
use crate::inline::carry;
use crate::ir::{Attribute, Graph, Node, ValueId};
use crate::tensor::{DType, Tensor};

/// A node of another opset, its operands already in the new graph.
pub(super) struct Old<'g> {
    /// The graph that is being built.
    pub(super) graph: &'g mut Graph,
    /// The node, to be changed into its new form.
    pub(super) node: &'g mut Node,
    /// The opset of the file.
    pub(super) opset: i64,
    /// How often each value of the old graph is read.
    read: &'g [u32],
    /// The walk over the file's graph that came to this node.
    pub(super) walk: &'g mut Walk,
}

/// Either the results, or nothing where the node itself was changed; an error is a clause.
pub(super) type Renewed = Result<Option<Vec<Option<ValueId>>>, String>;

/// Operators, the opsets in which they had another form, and what is done about it.
type Upgrade = (&'static [&'static str], RangeInclusive<i64>, fn(&mut Old) -> Renewed);

/// Everything that changed between opset 7 and 27, as far as graphs may hold it.
const UPGRADES: &[Upgrade] = &[
    // older
    (&["Softmax", "LogSoftmax", "Hardmax"], 7..=12, expansions::softmax_of_flattened),
    (&["Squeeze", "Unsqueeze", "ReduceSum"], 7..=12, axes_become_operand),
    (&["ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"], 7..=17, axes_become_operand),
    (&["ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"], 7..=17, axes_become_operand),
    (&["Split"], 7..=12, split_becomes_operand),
    (&["Split"], 13..=17, split_counts_results),
    (&["Clip"], 7..=10, bounds_become_operands),
    (&["Pad"], 7..=10, pads_become_operand),
    (&["Slice"], 7..=9, bounds_of_slice_become_operands),
    (&["TopK"], 7..=9, k_becomes_operand),
    (&["Dropout"], 7..=11, dropout_evaluates),
    (&["BatchNormalization"], 7..=13, batch_norm_modes),
    (&["Scatter"], 7..=17, scatter_is_renamed),
    (&["Upsample", "Resize"], 7..=10, upsample_becomes_resize),
    (&["GroupNormalization"], 18..=20, expansions::group_norm_by_group),
    // what no runtime has, or only in newer opsets
    (&["LRN"], 7..=NEWEST, expansions::even_response),
    (&["Celu"], 7..=NEWEST, expansions::celu),
    (&["CenterCropPad"], 18..=NEWEST, expansions::center_crop_pad),
    (&["AffineGrid"], 20..=NEWEST, expansions::affine_grid),
    (&["CumProd"], 26..=NEWEST, expansions::running_product),
    // newer
    (&["Cast", "CastLike"], 19..=NEWEST, |old| forget(old, &["saturate", "round_mode"])),
    (&["AveragePool"], 19..=NEWEST, expansions::dilated_average),
    (&["Pad"], 19..=NEWEST, expansions::wrapping_pad),
    (&["GridSample"], 20..=NEWEST, grid_sample_modes),
    (&["DequantizeLinear"], 21..=NEWEST, dequantise_blocks),
    (&["QuantizeLinear"], 21..=NEWEST, quantise_without_blocks),
    (&["Gelu"], 20..=NEWEST, expansions::gelu),
    (&["GroupNormalization"], 21..=NEWEST, expansions::group_norm_by_channel),
    (&["RMSNormalization"], 23..=NEWEST, expansions::rms_norm),
    (&["Swish"], 24..=NEWEST, expansions::swish),
    // any
    (&["ConstantOfShape"], 9..=NEWEST, value_is_stated),
];

const NEWEST: i64 = *OPSETS.end();

/// Rewrites every node that had another form in the opset of the file, takes control flow and functions apart, and infers all
/// types anew.
pub(super) fn upgrade(graph: Graph, settings: &Settings) -> Result<Graph, NormalizeError> {
    let fresh = graph.without_problems();
    let mut walk = Walk { opset: settings.opset, ..Walk::default() };
    let read = crate::simplify::uses(&fresh);
    let new = fresh.rewrite(|new, node, inputs| walk.node(new, (&fresh, &read), node, inputs));
    let refused = walk.refused.or_else(|| sequences::still_there(&new, &walk.sequences));
    refused.map_or(Ok(new), Err)
}

/// Whether an operator of the standard domain has the same form in two opsets.
pub(crate) fn same_form(op: &str, a: i64, b: i64) -> bool {
    let known = |opset: i64| OPSETS.contains(&opset);
    let changes = |(ops, opsets, _): &&Upgrade| ops.contains(&op) && opsets.contains(&a) != opsets.contains(&b);
    known(a) && known(b) && !UPGRADES.iter().any(|row| changes(&row))
}

/// One way through the graph of a file, subgraphs included.
#[derive(Default)]
pub(super) struct Walk {
    opset: i64,
    refused: Option<NormalizeError>,
    /// How many nodes expansions have made.
    made: usize,
    /// The elements of every sequence, by the value that stands for it.
    pub(super) sequences: HashMap<ValueId, Vec<ValueId>>,
}

impl Walk {
    /// The results of a node of the file in the new graph; `None` where it is copied as it stands. With the graph that holds the
    /// node comes how often its values are read.
    fn node(
        &mut self,
        new: &mut Graph,
        (from, read): (&Graph, &[u32]),
        node: &Node,
        inputs: &[Option<ValueId>],
    ) -> Option<Vec<Option<ValueId>>> {
        if self.refused.is_some() {
            return None;
        }
        let standard = matches!(&*node.domain, "" | "ai.onnx");
        let renew = if standard {
            let row = UPGRADES.iter().find(|(ops, opsets, _)| opsets.contains(&self.opset) && ops.contains(&&*node.op));
            let function = || functions::STANDARD.iter().find(|(op, _)| *op == &*node.op).map(|(_, renew)| renew);
            row.map(|(.., renew)| renew).or_else(function)
        } else {
            functions::FOREIGN
                .iter()
                .find(|(domain, op, _)| *domain == &*node.domain && *op == &*node.op)
                .map(|(.., renew)| renew)
        };
        if renew.is_none() && &*node.domain != "ai.onnx" {
            return None;
        }
        let mut node = node.on(inputs.to_vec());
        if standard {
            node.domain = "".into();
        }
        if let Some(renew) = renew {
            match renew(&mut Old { graph: new, node: &mut node, opset: self.opset, read, walk: self }) {
                Ok(Some(results)) => return Some(results),
                Ok(None) => {}
                Err(what) => {
                    let what = format!("{}: {what}", node.describe());
                    let control = functions::is_control(&node);
                    let refused = if control { NormalizeError::ControlFlow(what) } else { NormalizeError::Node(what) };
                    self.refused.get_or_insert(refused);
                }
            }
        }
        Some(new.copy_node(from, &node, node.inputs.clone()))
    }

    /// Copies a subgraph into the new graph, its inputs bound in order, and returns its outputs. What follows from constants is
    /// computed at once, so that counters and conditions stay constants.
    pub(super) fn inline(&mut self, new: &mut Graph, body: &Graph, bound: &[Option<ValueId>]) -> Result<Vec<ValueId>, String> {
        self.afford(1 + body.nodes().len())?;
        let mut map: Vec<Option<ValueId>> = vec![None; body.values().len()];
        for (input, value) in body.inputs().iter().zip(bound) {
            map[input.0 as usize] = *value;
        }
        let read = crate::simplify::uses(body);
        for node in body.nodes() {
            let inputs: Vec<Option<ValueId>> = node.inputs.iter().map(|i| i.map(|v| carry(body, new, &mut map, v))).collect();
            let results = known::folded(new, node, &inputs)
                .or_else(|| self.node(new, (body, &read), node, &inputs))
                .unwrap_or_else(|| new.copy_node(body, node, inputs));
            if self.refused.is_some() {
                return Ok(Vec::new());
            }
            for (old, result) in node.outputs.iter().zip(results) {
                if let (Some(old), Some(result)) = (old, result) {
                    map[old.0 as usize] = Some(result);
                }
            }
        }
        Ok(body.outputs().iter().map(|o| carry(body, new, &mut map, o.value)).collect())
    }

    /// Whether something was refused inside a body that was inlined.
    pub(super) fn has_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Counts the nodes of an expansion before they are made.
    pub(super) fn afford(&mut self, nodes: usize) -> Result<(), String> {
        self.made = self.made.saturating_add(nodes);
        if self.made > UNROLLED {
            return Err(format!("written out, the model has more than {UNROLLED} nodes from its loops and recurrent layers"));
        }
        Ok(())
    }
}

/// The most nodes that control flow and recurrent layers of one model may become.
const UNROLLED: usize = 100_000;

impl Old<'_> {
    /// The operand at a position, which every form of the operator has.
    pub(super) fn x(&self, i: usize) -> Result<ValueId, String> {
        self.node.input(i).ok_or_else(|| format!("operand {i} is missing"))
    }

    /// Takes an attribute away.
    pub(super) fn take(&mut self, name: &str) -> Option<Attribute> {
        self.node.attributes.0.remove(name)
    }

    fn take_ints(&mut self, name: &str) -> Option<Vec<i64>> {
        if let Some(Attribute::Ints(list)) = self.take(name) { Some(list) } else { None }
    }

    /// Sets the operand at a position to a constant.
    fn set(&mut self, i: usize, constant: Tensor) {
        let label = format!("{}_{}", if self.node.name.is_empty() { &self.node.op } else { &self.node.name }, i);
        let id = self.graph.add_constant(&label, constant);
        if self.node.inputs.len() <= i {
            self.node.inputs.resize(i + 1, None);
        }
        self.node.inputs[i] = Some(id);
    }

    pub(super) fn dtype(&self, i: usize) -> DType {
        self.node.input(i).and_then(|v| self.graph.dtype(v)).unwrap_or(DType::F32)
    }
}

fn axes_become_operand(old: &mut Old) -> Renewed {
    if let Some(axes) = old.take_ints("axes") {
        old.set(1, Tensor::ints(&axes));
    } else if &*old.node.op == "Unsqueeze" {
        return Err("it has no axes".into());
    }
    Ok(None)
}

fn split_becomes_operand(old: &mut Old) -> Renewed {
    if let Some(sizes) = old.take_ints("split") {
        old.set(1, Tensor::ints(&sizes));
    }
    split_counts_results(old)
}

fn split_counts_results(old: &mut Old) -> Renewed {
    if old.node.input(1).is_none() {
        let parts = old.node.outputs.len() as i64;
        old.node.attributes.0.insert("num_outputs".into(), Attribute::Int(parts));
    }
    Ok(None)
}

fn bounds_become_operands(old: &mut Old) -> Renewed {
    let dtype = old.dtype(0);
    for (i, name, open) in [(1, "min", f32::MIN), (2, "max", f32::MAX)] {
        if let Some(Attribute::Float(bound)) = old.take(name)
            && bound != open
        {
            old.set(i, Tensor::full(dtype, &[], f64::from(bound)));
        }
    }
    Ok(None)
}

fn pads_become_operand(old: &mut Old) -> Renewed {
    let pads = old.take_ints("pads").ok_or("it has no pads")?;
    let Some(Attribute::Float(value)) = old.take("value").or(Some(Attribute::Float(0.0))) else {
        return Err("its value is not a number".into());
    };
    old.set(1, Tensor::ints(&pads));
    if value != 0.0 {
        let dtype = old.dtype(0);
        old.set(2, Tensor::full(dtype, &[], f64::from(value)));
    }
    Ok(None)
}

fn bounds_of_slice_become_operands(old: &mut Old) -> Renewed {
    let starts = old.take_ints("starts").ok_or("it has no starts")?;
    let ends = old.take_ints("ends").ok_or("it has no ends")?;
    old.set(1, Tensor::ints(&starts));
    old.set(2, Tensor::ints(&ends));
    if let Some(axes) = old.take_ints("axes") {
        old.set(3, Tensor::ints(&axes));
    }
    Ok(None)
}

fn k_becomes_operand(old: &mut Old) -> Renewed {
    match old.take("k") {
        Some(Attribute::Int(k)) => old.set(1, Tensor::ints(&[k])),
        _ => return Err("it has no k".into()),
    }
    Ok(None)
}

/// Before opset 12 the node has no training mode: it hands x on, and its mask is all true.
fn dropout_evaluates(old: &mut Old) -> Renewed {
    if old.node.output(1).is_some() {
        old.node.attributes.0.remove("ratio");
        return Ok(None);
    }
    Ok(Some(vec![Some(old.x(0)?)]))
}

/// Before opset 14 the number of results told training from inference.
fn batch_norm_modes(old: &mut Old) -> Renewed {
    if old.opset < 9 && old.node.attributes.int("spatial", 1) == 0 {
        return Err("spatial=0 has no form at opset 18: re-export with opset 9 or newer".into());
    }
    old.take("spatial");
    if old.node.outputs.iter().skip(1).any(Option::is_some) {
        if old.node.outputs.iter().skip(3).flatten().any(|v| old.read[v.0 as usize] > 0) {
            return Err("its saved statistics are read and have no form at opset 18: re-export in inference mode".into());
        }
        old.node.outputs.truncate(3);
        old.node.attributes.0.insert("training_mode".into(), Attribute::Int(1));
    } else {
        old.node.outputs.truncate(1);
    }
    Ok(None)
}

fn scatter_is_renamed(old: &mut Old) -> Renewed {
    old.node.op = "ScatterElements".into();
    Ok(None)
}

/// `Upsample` and the first `Resize`: asymmetric coordinates, and the pixel before (when enlarging) or after (when shrinking).
fn upsample_becomes_resize(old: &mut Old) -> Renewed {
    if let Some(Attribute::Floats(scales)) = old.take("scales") {
        let scales = Tensor::new(&[scales.len()], scales).ok_or("its scales are not a vector")?;
        old.set(1, scales);
    }
    let scales = old.x(1)?;
    let shrinks = old.graph.constant(scales).is_some_and(|s| s.to_f64().iter().any(|&s| s < 1.0));
    old.node.op = "Resize".into();
    old.node.inputs = vec![Some(old.x(0)?), None, Some(scales)];
    if old.node.attributes.string("mode", "nearest") == "bilinear" {
        old.node.attributes.0.insert("mode".into(), Attribute::String("linear".into()));
    }
    let rounding = if shrinks { "ceil" } else { "floor" };
    old.node.attributes.0.insert("nearest_mode".into(), Attribute::String(rounding.into()));
    old.node.attributes.0.insert("coordinate_transformation_mode".into(), Attribute::String("asymmetric".into()));
    Ok(None)
}

/// Engines do not agree on the element type of the zero that is filled in where no value stands; the standard says float.
fn value_is_stated(old: &mut Old) -> Renewed {
    if old.node.attributes.get("value").is_none() {
        let zero = Tensor::full(DType::F32, &[1], 0.0);
        old.node.attributes.0.insert("value".into(), Attribute::Tensor(std::sync::Arc::new(zero)));
    }
    Ok(None)
}

fn forget(old: &mut Old, names: &[&str]) -> Renewed {
    names.iter().for_each(|name| drop(old.take(name)));
    Ok(None)
}

fn dequantise_blocks(old: &mut Old) -> Renewed {
    if old.node.attributes.int("block_size", 0) != 0 {
        return expansions::dequantized_blocks(old);
    }
    forget(old, &["block_size", "output_dtype"])
}

fn quantise_without_blocks(old: &mut Old) -> Renewed {
    if old.node.attributes.int("block_size", 0) != 0 {
        return Err("scales per block have no form at opset 18".into());
    }
    forget(old, &["block_size", "output_dtype", "precision", "saturate"])
}

fn grid_sample_modes(old: &mut Old) -> Renewed {
    let mode = match old.node.attributes.string("mode", "linear") {
        "linear" => "bilinear",
        "cubic" => "bicubic",
        other => other,
    };
    let mode = Attribute::String(mode.to_owned());
    if old.graph.rank(old.x(0)?).is_some_and(|r| r != 4) {
        return super::volumes::grid_sample(old);
    }
    old.node.attributes.0.insert("mode".into(), mode);
    Ok(None)
}
