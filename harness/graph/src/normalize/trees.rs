//! Ensembles of decision trees as a walk down all trees at once, in ordinary operators. A tree is a step function: its gradient
//! is zero wherever it exists, and the walk lets nothing through.

use std::collections::HashMap;

use super::control::formulas;
use super::learners::{Post, arg_max, floats, label, labels, name, post_transform, row, single};
use super::upgrade::{Old, Renewed};
use crate::expr::{Builder, Expr};
use crate::ir::{Attribute, Graph};
use crate::tensor::{DType, Tensor};

/// A sentence for each ensemble of trees in the graph of a file: nothing differentiates through it.
pub fn flat_ensembles(graph: &Graph) -> Vec<String> {
    let trees = graph.nodes().iter().filter(|n| n.op.starts_with("TreeEnsemble") && &*n.domain == "ai.onnx.ml");
    trees.map(|n| format!("{} is a step function: its gradient is zero everywhere", n.describe())).collect()
}

/// `TreeEnsembleRegressor`: sum, mean, smallest or largest of the leaves that are reached, and the base values.
pub(super) fn regressor(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let targets = usize::try_from(old.node.attributes.int("n_targets", 1)).ok().filter(|&n| n > 0).ok_or("it has no targets")?;
    let forest = Forest::of(old, "target", targets)?;
    let (base, last) = (floats(old, "base_values"), post_transform(old)?);
    if !base.is_empty() && base.len() != targets {
        return Err(format!("it has {} base values for {targets} targets", base.len()));
    }
    let how = match old.node.attributes.string("aggregate_function", "SUM") {
        "SUM" => "ReduceSum",
        "AVERAGE" => "ReduceMean",
        "MIN" => "ReduceMin",
        "MAX" => "ReduceMax",
        other => return Err(format!("the aggregate {} is not known", crate::shown(other))),
    };
    let last = if targets > 1 { last } else { Post::Nothing };
    Ok(formulas(old, |b| {
        let y = forest.leaves(b, single(b.expr(x))).reduce(how, &[1], false);
        vec![Some(last.of(if base.is_empty() { y } else { y + row(b, &base) }))]
    }))
}

/// `TreeEnsembleClassifier`: labels, and the sums of the leaves that are reached behind the post-transform. Two classes whose
/// leaves all belong to the first share one score s: `−s` and `s`, or `1 − s` and `s` where no weight is negative.
pub(super) fn classifier(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let labels = labels(old, "classlabels_int64s");
    let named = match old.node.attributes.get("classlabels_strings") {
        Some(Attribute::Strings(names)) => names.len(),
        _ => 0,
    };
    let classes = labels.as_ref().map_or(named, Tensor::len);
    let ids = ints(old, "class_ids");
    if classes < 2 || ids.is_empty() {
        return Err("it has fewer than two classes".to_owned());
    }
    let (base, last) = (floats(old, "base_values"), post_transform(old)?);
    let shared = classes == 2 && ids.iter().all(|&id| id == ids[0]);
    let positive = floats(old, "class_weights").iter().all(|&w| w >= 0.0);
    if classes == 2 && (base.len() > 1 || !base.is_empty() && (!shared || ids[0] != 0)) {
        return Err("its base values of two classes are not supported".to_owned());
    }
    if classes > 2 && !base.is_empty() && base.len() != classes {
        return Err(format!("it has {} base values for {classes} classes", base.len()));
    }
    let forest = Forest::of(old, "class", classes)?;
    // leaves give w to one class and −w to the other
    let opposite = classes == 2 && base.is_empty() && forest.weights.chunks(2).all(|w| w[0] == -w[1]);
    Ok(formulas(old, |b| {
        let sums = forest.leaves(b, single(b.expr(x))).sum(&[1], false);
        if shared && ids[0] == 0 {
            let s = sums.slice(&[0], &[1], &[1], &[1]);
            let s = if base.is_empty() { s } else { s + row(b, &base) };
            let winner = s.greater(if positive { 0.5 } else { 0.0 });
            let scores = match last {
                Post::Logistic => b.concat(&[s * -0.5, s * 0.5], -1).softmax(-1),
                _ if positive => b.concat(&[-s + 1.0, s], -1),
                _ => b.concat(&[-s, s], -1),
            };
            return vec![label(b, winner.squeeze(&[-1]).cast(DType::I64), labels.as_ref()), Some(scores)];
        }
        let sums = if base.is_empty() { sums } else { sums + row(b, &base) };
        let scores = match last {
            // σ(−s) and σ(s)
            Post::Logistic if opposite => (sums * 0.5).softmax(-1),
            last => last.of(sums),
        };
        vec![label(b, arg_max(b, sums), labels.as_ref()), Some(scores)]
    }))
}

/// All trees in one list of nodes; a leaf is its own successor.
struct Forest {
    feature: Vec<i64>,
    threshold: Vec<f32>,
    /// Where x is at most the threshold, and elsewhere.
    below: Vec<i64>,
    above: Vec<i64>,
    /// What a node gives to every class, `[nodes,classes]`.
    weights: Vec<f32>,
    classes: usize,
    roots: Vec<i64>,
    depth: usize,
}

/// The longest way from a root to a leaf.
const DEPTH: usize = 512;

/// The most numbers in the table of leaves.
const TABLE: usize = 64 << 20;

impl Forest {
    fn of(old: &mut Old, role: &str, classes: usize) -> Result<Forest, String> {
        let (tree, node) = (ints(old, "nodes_treeids"), ints(old, "nodes_nodeids"));
        let count = node.len();
        let list = |name: &str| Some(ints(old, name)).filter(|l| l.len() == count).ok_or(format!("{name} has another length"));
        let (feature, yes, no) = (list("nodes_featureids")?, list("nodes_truenodeids")?, list("nodes_falsenodeids")?);
        let values = floats(old, "nodes_values");
        let modes = match old.node.attributes.get("nodes_modes") {
            Some(Attribute::Strings(modes)) => modes.clone(),
            _ => Vec::new(),
        };
        if tree.len() != count || values.len() != count || modes.len() != count || count.saturating_mul(classes) > TABLE {
            return Err(format!("the lists of its {count} nodes differ in length or are too long"));
        }
        let places: HashMap<(i64, i64), i64> = tree.iter().zip(&node).zip(0..).map(|((&t, &n), i)| ((t, n), i)).collect();
        if places.len() != count {
            return Err("two of its nodes have one number".to_owned());
        }
        let mut forest = Forest {
            feature: vec![0; count],
            threshold: vec![0.0; count],
            below: (0..count as i64).collect(),
            above: (0..count as i64).collect(),
            weights: vec![0.0; count * classes],
            classes,
            roots: Vec::new(),
            depth: 0,
        };
        let mut has_parent = vec![false; count];
        for i in 0..count {
            if modes[i] == "LEAF" {
                continue;
            }
            let child =
                |id: i64| places.get(&(tree[i], id)).copied().ok_or_else(|| format!("its node {} has no child {id}", node[i]));
            let (yes, no) = (child(yes[i])?, child(no[i])?);
            has_parent[yes as usize] = true;
            has_parent[no as usize] = true;
            forest.feature[i] = feature[i];
            // x < t is x at most the next smaller float
            (forest.threshold[i], forest.below[i], forest.above[i]) = match modes[i].as_str() {
                "BRANCH_LEQ" => (values[i], yes, no),
                "BRANCH_LT" => (values[i].next_down(), yes, no),
                "BRANCH_GT" => (values[i], no, yes),
                "BRANCH_GTE" => (values[i].next_down(), no, yes),
                other => return Err(format!("the mode {} of its node {} is not supported", crate::shown(other), node[i])),
            };
        }
        forest.roots = (0..count).filter(|&i| !has_parent[i]).map(|i| i as i64).collect();
        forest.depth = forest.measure()?;
        let at = |name: &str| ints(old, &format!("{role}_{name}"));
        let weights = floats(old, &format!("{role}_weights"));
        let (trees, nodes, ids) = (at("treeids"), at("nodeids"), at("ids"));
        if [trees.len(), nodes.len(), ids.len()].iter().any(|&n| n != weights.len()) {
            return Err("the lists of its leaves differ in length".to_owned());
        }
        for (i, &weight) in weights.iter().enumerate() {
            let place = places.get(&(trees[i], nodes[i])).copied().ok_or("a weight belongs to no node")?;
            let class = usize::try_from(ids[i]).ok().filter(|&c| c < classes).ok_or("a weight belongs to no class")?;
            forest.weights[place as usize * classes + class] += weight;
        }
        old.walk.afford(forest.depth * 8)?;
        Ok(forest)
    }

    /// The longest way down. A way that comes back is refused.
    fn measure(&self) -> Result<usize, String> {
        let mut level = self.roots.clone();
        let mut depth = 0;
        let mut seen = level.len();
        loop {
            let inner = level.iter().map(|&i| i as usize).filter(|&i| self.below[i] != i as i64);
            let next: Vec<i64> = inner.flat_map(|i| [self.below[i], self.above[i]]).collect();
            if next.is_empty() {
                break;
            }
            depth += 1;
            seen += next.len();
            if depth > DEPTH || seen > self.feature.len() {
                return Err("its nodes do not form trees".to_owned());
            }
            level = next;
        }
        if seen != self.feature.len() || self.roots.is_empty() {
            return Err("its nodes do not form trees".to_owned());
        }
        Ok(depth)
    }

    /// What the leaves that x `[N,F]` reaches give, `[N,trees,classes]`.
    fn leaves<'b>(&self, b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
        let count = self.feature.len();
        let table = |tensor: Option<Tensor>| b.constant(tensor.unwrap_or_else(|| Tensor::ints(&[])));
        let (feature, below, above) = (b.ints(&self.feature), b.ints(&self.below), b.ints(&self.above));
        let threshold = table(Tensor::new(&[count], self.threshold.clone()));
        let weights = table(Tensor::new(&[count, self.classes], self.weights.clone()));
        // every sample begins at the roots, [N,trees]: a zero per sample, and the roots
        let zero = x.slice(&[0], &[1], &[1], &[1]).is_positive().cast(DType::I64) * 0.0;
        let mut place = zero + table(Tensor::new(&[1, self.roots.len()], self.roots.clone()));
        for _ in 0..self.depth {
            let looked_at = b.op("GatherElements", &[x, feature.gather(place, 0)], [("axis", 1i64.into())]);
            name(b, looked_at, TREES);
            let goes_below = looked_at.at_most(threshold.gather(place, 0));
            place = goes_below.select(below.gather(place, 0), above.gather(place, 0));
        }
        weights.gather(place, 0)
    }
}

/// The name of the nodes that read x; it shows where they come from.
pub const TREES: &str = "TreeEnsemble";

fn ints(old: &Old, name: &str) -> Vec<i64> {
    old.node.attributes.ints(name).map(<[i64]>::to_vec).unwrap_or_default()
}
