//! Operators of `ai.onnx.ml` in ordinary operators: scaling, linear models, support vectors, encoders. Scores are given as ONNX
//! Runtime gives them; probabilities end in a `Softmax` wherever they are one, so that logits can be had.

use super::control::formulas;
use super::coupling;
use super::upgrade::{Old, Renewed};
use crate::expr::{Builder, Expr};
use crate::ir::{Attribute, Attributes, Graph, ValueId};
use crate::tensor::{DType, Tensor};

/// `Scaler`: `(x − offset)·scale`.
pub(super) fn scaler(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let (offset, scale) = (floats(old, "offset"), floats(old, "scale"));
    Ok(formulas(old, |b| {
        let x = single(b.expr(x));
        let centred = if offset.iter().all(|&v| v == 0.0) { x } else { x - row(b, &offset) };
        vec![Some(if scale.is_empty() { centred } else { centred * row(b, &scale) })]
    }))
}

/// `Normalizer`: rows divided by their largest element, the sum of their magnitudes, or their length; rows of zeros stay.
pub(super) fn normalizer(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let norm = old.node.attributes.string("norm", "MAX").to_owned();
    if norm == "L1" {
        // magnitudes that add up to 1 already, and the one-against-rest probabilities of a linear classifier
        match behind(old, x) {
            Some(("Softmax", _)) => return Ok(Some(vec![Some(x)])),
            Some(("Sigmoid", z)) => {
                return Ok(formulas(old, |b| {
                    let z = b.expr(z);
                    // σ(z)/Σσ(z) = softmax(log σ(z))
                    vec![Some((-(-z).unary("Softplus")).softmax(-1))]
                }));
            }
            _ => {}
        }
    }
    Ok(formulas(old, |b| {
        let x = single(b.expr(x));
        let size = match norm.as_str() {
            "L1" => x.abs().sum(&[-1], true),
            "L2" => (x * x).sum(&[-1], true).sqrt(),
            _ => x.reduce("ReduceMax", &[-1], true),
        };
        let size = size.equal(size.scalar(0.0)).select(1.0, size);
        vec![Some(x / size)]
    }))
}

/// The operator that gives a value, and its operand.
fn behind<'o>(old: &'o Old, x: ValueId) -> Option<(&'o str, ValueId)> {
    let node = old.graph.node_at(old.graph.value(x).producer?.0);
    node.domain.is_empty().then_some(())?;
    Some((&*node.op, node.input(0)?))
}

/// `Imputer`: elements that are missing replaced.
pub(super) fn imputer(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let values = floats(old, "imputed_value_floats");
    let missing = old.node.attributes.float("replaced_value_float", 0.0);
    if values.is_empty() {
        return Err("it has no values of floats to put in".to_owned());
    }
    Ok(formulas(old, |b| {
        let x = single(b.expr(x));
        let is_missing = if missing.is_nan() { x.unary("IsNaN") } else { x.equal(x.scalar(f64::from(missing))) };
        vec![Some(is_missing.select(row(b, &values), x))]
    }))
}

/// `Binarizer`: 1 above the threshold, 0 elsewhere.
pub(super) fn binarizer(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let threshold = f64::from(old.node.attributes.float("threshold", 0.0));
    Ok(formulas(old, |b| {
        let x = b.expr(x);
        vec![Some(x.greater(threshold).cast(x.dtype()))]
    }))
}

/// `FeatureVectorizer`: features side by side.
pub(super) fn feature_vectorizer(old: &mut Old) -> Renewed {
    let parts: Option<Vec<ValueId>> = old.node.inputs.iter().copied().collect();
    let parts = parts.filter(|p| !p.is_empty()).ok_or("an operand is missing")?;
    Ok(formulas(old, |b| {
        let parts: Vec<Expr> = parts.iter().map(|&v| single(b.expr(v))).collect();
        vec![Some(b.concat(&parts, -1))]
    }))
}

/// `ArrayFeatureExtractor`: columns by their numbers.
pub(super) fn array_feature_extractor(old: &mut Old) -> Renewed {
    let (x, columns) = (old.x(0)?, old.x(1)?);
    let flat = old.graph.rank(x).ok_or("the rank of x is not known")? == 1;
    Ok(formulas(old, |b| {
        let y = b.expr(x).gather(b.expr(columns).reshape(&[-1]), -1);
        vec![Some(if flat { y.unsqueeze(&[0]) } else { y })]
    }))
}

/// `LabelEncoder` between numbers: the value beside the key that x equals, or the default.
pub(super) fn label_encoder(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let given = |suffixes: [&str; 2]| suffixes.iter().find_map(|name| numbers(old, name));
    let keys = given(["keys_int64s", "keys_floats"]).ok_or("its keys are not numbers")?;
    let values = given(["values_int64s", "values_floats"]).ok_or("its values are not numbers")?;
    let default = match values.dtype() {
        DType::I64 => old.node.attributes.int("default_int64", -1) as f64,
        _ => f64::from(old.node.attributes.float("default_float", 0.0)),
    };
    if keys.len() != values.len() || keys.is_empty() {
        return Err(format!("it has {} keys and {} values", keys.len(), values.len()));
    }
    Ok(formulas(old, |b| {
        let x = b.expr(x);
        let hits = x.unsqueeze(&[-1]).equal(b.constant(keys.cast(x.dtype())));
        let place = b.op("ArgMax", &[hits.cast(DType::F32)], [("axis", (-1i64).into()), ("keepdims", 0i64.into())]);
        let any = hits.cast(DType::F32).reduce("ReduceMax", &[-1], false).greater(0.0);
        let values = b.constant(values);
        vec![Some(any.select(values.gather(place, 0), values.scalar(default)))]
    }))
}

/// `OneHotEncoder` of numbers: a new last axis, 1 where x equals the category.
pub(super) fn one_hot_encoder(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let categories = numbers(old, "cats_int64s").ok_or("its categories are not numbers")?;
    if old.node.attributes.int("zeros", 1) == 0 {
        return Err("an unknown category is an error there, which no ordinary operator gives".to_owned());
    }
    Ok(formulas(old, |b| {
        let x = b.expr(x).cast(DType::I64).unsqueeze(&[-1]);
        vec![Some(x.equal(b.constant(categories)).cast(DType::F32))]
    }))
}

/// `LinearRegressor`: `x·Wᵀ + b`.
pub(super) fn linear_regressor(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let targets = usize::try_from(old.node.attributes.int("targets", 1)).unwrap_or(0);
    let (weights, bias) = (floats(old, "coefficients"), floats(old, "intercepts"));
    let weights = matrix(&weights, targets)?;
    let last = if targets > 1 { post_transform(old)? } else { Post::Nothing };
    Ok(formulas(old, |b| vec![Some(last.of(linear(b, single(b.expr(x)), weights, &bias)))]))
}

/// `LinearClassifier`: labels, and scores `x·Wᵀ + b` behind the post-transform. One row of weights for two labels gives the
/// scores `1 − s` and `s`, or the probabilities `σ(−s)` and `σ(s)`.
pub(super) fn linear_classifier(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let (weights, bias) = (floats(old, "coefficients"), floats(old, "intercepts"));
    let labels = labels(old, "classlabels_ints");
    let count = labels.as_ref().map(|l| l.len()).or_else(|| string_labels(old)).unwrap_or(bias.len());
    let one = count == 2 && bias.len() == 1;
    let rows = if one { 1 } else { count };
    let last = post_transform(old)?;
    let opposite = rows == 2 && {
        let half = weights.len() / 2;
        let signs = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| *a == -*b);
        signs(&weights[..half], &weights[half..]) && (bias.is_empty() || bias.len() == 2 && bias[0] == -bias[1])
    };
    let weights = matrix(&weights, rows)?;
    Ok(formulas(old, |b| {
        let z = linear(b, single(b.expr(x)), weights, &bias);
        let (scores, winner) = if one {
            let scores = match last {
                Post::Logistic => b.concat(&[z * -0.5, z * 0.5], -1).softmax(-1),
                _ => b.concat(&[-z + 1.0, z], -1),
            };
            (scores, z.greater(0.0).squeeze(&[-1]).cast(DType::I64))
        } else {
            let scores = match last {
                // σ(−s) and σ(s)
                Post::Logistic if opposite => (z * 0.5).softmax(-1),
                last => last.of(z),
            };
            (scores, arg_max(b, z))
        };
        vec![label(b, winner, labels.as_ref()), Some(scores)]
    }))
}

/// `SVMRegressor`: `Σ aₖ·K(x, sₖ) + ρ`, or its sign for one class.
pub(super) fn svm_regressor(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let (coefficients, rho) = (floats(old, "coefficients"), floats(old, "rho"));
    let vectors = floats(old, "support_vectors");
    let count = usize::try_from(old.node.attributes.int("n_supports", 0)).unwrap_or(0);
    let kernel = Kernel::of(old)?;
    let one_class = old.node.attributes.int("one_class", 0) != 0;
    let [rho] = rho[..] else { return Err(format!("it has {} numbers rho instead of 1", rho.len())) };
    let vectors = if count > 0 { Some(matrix(&vectors, count)?) } else { None };
    let weights = matrix(&coefficients, 1)?;
    Ok(formulas(old, |b| {
        let x = single(b.expr(x));
        let kernels = vectors.map_or(x, |vectors| kernel.between(b, x, vectors));
        let y = linear(b, kernels, weights, &[rho]);
        vec![Some(if one_class { y.greater(0.0).select(1.0, y.scalar(-1.0)) } else { y })]
    }))
}

/// `SVMClassifier` on support vectors: labels by votes, and for each pair `i < j` of classes the score
/// `Σ_{k∈i} a_{j−1,k}·K(x, s_k) + Σ_{k∈j} a_{i,k}·K(x, s_k) + ρ`; for two classes the scores `−s` and `s`.
pub(super) fn svm_classifier(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let (coefficients, rho, vectors) = (floats(old, "coefficients"), floats(old, "rho"), floats(old, "support_vectors"));
    let of_class = old.node.attributes.ints("vectors_per_class").unwrap_or_default().to_vec();
    let labels = labels(old, "classlabels_ints");
    let (slopes, shifts) = (floats(old, "prob_a"), floats(old, "prob_b"));
    let classes = of_class.len();
    let total = of_class.iter().try_fold(0usize, |n, &c| n.checked_add(usize::try_from(c).ok()?));
    let total =
        total.filter(|&n| n > 0 && classes >= 2).ok_or("only classifiers with support vectors per class are supported")?;
    let pairs: Vec<(usize, usize)> = (0..classes).flat_map(|i| (i + 1..classes).map(move |j| (i, j))).collect();
    if coefficients.len() != total * (classes - 1) || rho.len() != pairs.len() {
        return Err(format!(
            "{} coefficients and {} numbers rho do not fit {total} support vectors",
            coefficients.len(),
            rho.len()
        ));
    }
    let last = post_transform(old)?;
    let probable = !slopes.is_empty();
    if probable && (slopes.len() != pairs.len() || shifts.len() != pairs.len() || classes > COUPLED) {
        return Err(format!("its probabilities are not those of pairs of up to {COUPLED} classes"));
    }
    if probable {
        old.walk.afford(coupling::nodes(classes))?;
    }
    let binary = classes == 2;
    if binary && !matches!(last, Post::Nothing | Post::Logistic) {
        return Err("its post-transform of two classes is not supported".to_owned());
    }
    let weights = pair_weights(&pairs, &of_class, &coefficients, total)?;
    let (firsts, seconds) = votes(&pairs, classes)?;
    let (kernel, vectors) = (Kernel::of(old)?, matrix(&vectors, total)?);
    Ok(formulas(old, |b| {
        let x = single(b.expr(x));
        let s = linear(b, kernel.between(b, x, vectors), weights, &rho);
        let probabilities = probable.then(|| coupling::coupled(b, coupling::of_pairs(b, s, &slopes, &shifts), classes));
        if binary {
            let scores = match (probabilities, last) {
                (Some(p), _) => p,
                (None, Post::Logistic) => b.concat(&[s * -0.5, s * 0.5], -1).softmax(-1),
                _ => {
                    let pair = b.concat(&[-s, s], -1);
                    name(b, pair, OPPOSITE);
                    pair
                }
            };
            // above 0 the pair votes for the first
            let winner = s.at_most(0.0).squeeze(&[-1]).cast(DType::I64);
            return vec![label(b, winner, labels.as_ref()), Some(scores)];
        }
        let wins = s.greater(0.0).cast(DType::F32);
        let votes = linear(b, wins, firsts, &[]) + linear(b, -wins + 1.0, seconds, &[]);
        vec![label(b, arg_max(b, votes), labels.as_ref()), Some(probabilities.unwrap_or_else(|| last.of(s)))]
    }))
}

/// The weight of each support vector in the score of each pair, as a matrix that multiplies from the right.
fn pair_weights(pairs: &[(usize, usize)], of_class: &[i64], coefficients: &[f32], total: usize) -> Result<Tensor, String> {
    let class: Vec<usize> = of_class.iter().enumerate().flat_map(|(i, &n)| std::iter::repeat_n(i, n as usize)).collect();
    let weight = |pair: &(usize, usize), k: usize| match class[k] {
        c if c == pair.0 => coefficients[(pair.1 - 1) * total + k],
        c if c == pair.1 => coefficients[pair.0 * total + k],
        _ => 0.0,
    };
    let weights: Vec<f32> = pairs.iter().flat_map(|pair| (0..total).map(move |k| (pair, k))).map(|(p, k)| weight(p, k)).collect();
    matrix(&weights, pairs.len())
}

/// Which pairs vote for each class: for their first one above 0, and for their second one elsewhere.
fn votes(pairs: &[(usize, usize)], classes: usize) -> Result<(Tensor, Tensor), String> {
    let of = |first: bool| -> Vec<f32> {
        let vote = |&(i, j): &(usize, usize), c: usize| f32::from(u8::from(if first { i == c } else { j == c }));
        (0..classes).flat_map(|c| pairs.iter().map(move |p| vote(p, c)).collect::<Vec<_>>()).collect()
    };
    Ok((matrix(&of(true), classes)?, matrix(&of(false), classes)?))
}

/// The most classes of which probabilities of pairs make those of classes.
const COUPLED: usize = 64;

/// The name of the node that gives the two scores of an `SVMClassifier` as ONNX Runtime does: its label is that of the smaller one.
const OPPOSITE: &str = "SVMClassifier, smaller score wins";

/// Whether a value is a pair of scores of which the smaller one is the winner's, as it is or cast.
pub fn smaller_wins(graph: &Graph, value: ValueId) -> bool {
    let Some((node, _)) = graph.value(value).producer else { return false };
    let node = graph.node_at(node);
    match &*node.op {
        "Cast" | "Identity" => node.input(0).is_some_and(|x| smaller_wins(graph, x)),
        op => op == "Concat" && node.name.starts_with(OPPOSITE),
    }
}

/// Names the node that gives a value.
pub(super) fn name(b: &Builder, value: Expr<'_>, name: &str) {
    let producer = b.graph().value(value.id).producer;
    if let Some((node, _)) = producer {
        b.graph_mut().name_node(node, name);
    }
}

/// A kernel with its numbers.
#[derive(Clone, Copy)]
struct Kernel {
    kind: KernelKind,
    gamma: f64,
    shift: f64,
    degree: f64,
}

#[derive(Clone, Copy)]
enum KernelKind {
    Linear,
    Poly,
    Rbf,
    Sigmoid,
}

impl Kernel {
    fn of(old: &Old) -> Result<Kernel, String> {
        let kind = match old.node.attributes.string("kernel_type", "LINEAR") {
            "LINEAR" => KernelKind::Linear,
            "POLY" => KernelKind::Poly,
            "RBF" => KernelKind::Rbf,
            "SIGMOID" => KernelKind::Sigmoid,
            other => return Err(format!("the kernel {} is not known", crate::shown(other))),
        };
        let numbers = floats(old, "kernel_params");
        let at = |i: usize| numbers.get(i).map_or(0.0, |&v| f64::from(v));
        Ok(Kernel { kind, gamma: at(0), shift: at(1), degree: at(2) })
    }

    /// `K(x, s)` of rows x `[N,F]` and vectors `[F,V]` as `[N,V]`.
    fn between<'b>(self, b: &'b Builder, x: Expr<'b>, vectors: Tensor) -> Expr<'b> {
        let squares: Vec<f32> = match &vectors {
            Tensor::F32(a) => a.columns().into_iter().map(|c| c.iter().map(|v| v * v).sum()).collect(),
            _ => Vec::new(),
        };
        let dot = x.matmul(b.constant(vectors));
        match self.kind {
            KernelKind::Linear => dot,
            KernelKind::Poly => (dot * self.gamma + self.shift).pow(self.degree),
            KernelKind::Sigmoid => (dot * self.gamma + self.shift).tanh(),
            // ‖x − s‖² = ‖x‖² − 2x·s + ‖s‖²
            KernelKind::Rbf => (((x * x).sum(&[-1], true) - dot * 2.0 + row(b, &squares)) * -self.gamma).exp(),
        }
    }
}

/// What is done to scores at the end.
#[derive(Clone, Copy)]
pub(super) enum Post {
    Nothing,
    Logistic,
    Softmax,
}

impl Post {
    pub(super) fn of(self, z: Expr<'_>) -> Expr<'_> {
        match self {
            Post::Nothing => z,
            Post::Logistic => z.sigmoid(),
            Post::Softmax => z.softmax(-1),
        }
    }
}

pub(super) fn post_transform(old: &Old) -> Result<Post, String> {
    match old.node.attributes.string("post_transform", "NONE") {
        "NONE" => Ok(Post::Nothing),
        "LOGISTIC" => Ok(Post::Logistic),
        "SOFTMAX" => Ok(Post::Softmax),
        other => Err(format!("the post-transform {} is not supported", crate::shown(other))),
    }
}

/// Numbers in an attribute; none if it is absent.
pub(super) fn floats(old: &Old, name: &str) -> Vec<f32> {
    match old.node.attributes.get(name) {
        Some(Attribute::Floats(v)) => v.clone(),
        Some(Attribute::Float(v)) => vec![*v],
        Some(Attribute::Ints(v)) => v.iter().map(|&v| v as f32).collect(),
        _ => Vec::new(),
    }
}

fn numbers(old: &Old, name: &str) -> Option<Tensor> {
    match old.node.attributes.get(name)? {
        Attribute::Ints(v) if !v.is_empty() => Some(Tensor::ints(v)),
        Attribute::Floats(v) if !v.is_empty() => Tensor::new(&[v.len()], v.clone()),
        _ => None,
    }
}

/// Integer labels of the classes; `None` if they are text or absent.
pub(super) fn labels(old: &Old, name: &str) -> Option<Tensor> {
    numbers(old, name).filter(|t| t.dtype() == DType::I64)
}

fn string_labels(old: &Old) -> Option<usize> {
    let of = |name: &str| match old.node.attributes.get(name) {
        Some(Attribute::Strings(v)) => Some(v.len()).filter(|&n| n > 0),
        _ => None,
    };
    of("classlabels_strings")
}

/// The labels of the winners `[N]`; text labels are not given.
pub(super) fn label<'b>(b: &'b Builder, winner: Expr<'b>, labels: Option<&Tensor>) -> Option<Expr<'b>> {
    labels.map(|labels| b.constant(labels.clone()).gather(winner, 0))
}

/// The place of the largest score in each row.
pub(super) fn arg_max<'b>(b: &'b Builder, scores: Expr<'b>) -> Expr<'b> {
    b.op("ArgMax", &[scores], [("axis", (-1i64).into()), ("keepdims", 0i64.into())])
}

/// Rows of weights as the `[F,rows]` that multiplies from the right.
fn matrix(weights: &[f32], rows: usize) -> Result<Tensor, String> {
    let columns = weights.len().checked_div(rows).filter(|c| c * rows == weights.len() && *c > 0);
    let columns = columns.ok_or_else(|| format!("{} weights do not make {rows} rows", weights.len()))?;
    let transposed: Vec<f32> = (0..columns).flat_map(|c| (0..rows).map(move |r| weights[r * columns + c])).collect();
    Tensor::new(&[columns, rows], transposed).ok_or_else(|| "its weights are not a matrix".to_owned())
}

/// `x·W + b`.
fn linear<'b>(b: &'b Builder, x: Expr<'b>, weights: Tensor, bias: &[f32]) -> Expr<'b> {
    let weights = b.constant(weights);
    if bias.is_empty() {
        return x.matmul(weights);
    }
    b.op("Gemm", &[x, weights, row(b, bias)], Attributes::none())
}

/// A vector that broadcasts over rows.
pub(super) fn row<'b>(b: &'b Builder, values: &[f32]) -> Expr<'b> {
    match Tensor::new(&[values.len()], values.to_vec()) {
        Some(tensor) => b.constant(tensor),
        None => b.constant(Tensor::scalar(0f32)),
    }
}

/// As `float`, with a row in front where there is none.
pub(super) fn single(x: Expr<'_>) -> Expr<'_> {
    let x = x.cast(DType::F32);
    if x.rank() == Some(1) { x.unsqueeze(&[0]) } else { x }
}
