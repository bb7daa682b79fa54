//! Models that draw random numbers, with their draws as inputs: the same key gives the same answer, on every engine. Draws are named
//! as those of programs are (`noise_<law>_<stream>`), so that the host feeds them by key.

use flatscape_graph::{Attributes, Builder, DType, Expr, Graph, Node, Tensor, ValueId, ValueType, ops};

/// What attacks on a model that draws at random average over its draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mean {
    /// The loss and its gradient: E[ℓ]. What counts as broken on the way is the class of the mean probability.
    Losses,
    /// The probabilities: ℓ of their mean, which is at most the mean of ℓ for cross-entropy.
    Probabilities,
    /// The gradient of the loss alone; losses and classes are those of the last draw, as AutoAttack has it (`eot_iter`).
    Gradients,
}

/// Expectation over transformation (Athalye et al. 2018), as `--eot` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Expectation {
    /// Over how many draws.
    pub draws: usize,
    /// What is averaged.
    pub of: Mean,
}

impl Expectation {
    /// The most draws.
    pub const MOST: usize = 1000;
    /// How the command line calls the mean of probabilities.
    const PROBABILITIES: &str = "probs";

    /// Reads `20`, or `20:probs`.
    ///
    /// # Errors
    /// A sentence without a subject.
    pub fn parse(text: &str) -> Result<Expectation, String> {
        let (count, of) = match text.split_once(':') {
            None => (text, Mean::Losses),
            Some((count, Expectation::PROBABILITIES)) => (count, Mean::Probabilities),
            Some((_, other)) => {
                return Err(format!(
                    "{other:?} is not {:?}, the one word that may follow the number",
                    Expectation::PROBABILITIES
                ));
            }
        };
        let draws = count.parse().ok().filter(|draws| (1..=Expectation::MOST).contains(draws));
        let draws = draws.ok_or_else(|| format!("{count:?} is not a whole number from 1 to {}", Expectation::MOST))?;
        Ok(Expectation { draws, of })
    }

    /// What attacks do, as a clause.
    pub fn words(self) -> String {
        let draws = self.draws;
        match self.of {
            Mean::Losses => format!("attacks ascend the mean loss over {draws} draws"),
            Mean::Probabilities => format!("attacks see the mean probability over {draws} draws"),
            Mean::Gradients => {
                format!(
                    "attacks follow the mean gradient over {draws} draws, and look at the losses and classes of the last one, as AutoAttack does"
                )
            }
        }
    }
}

/// The output of [`expected`] that holds the scores of every draw, float \[N,K,C\], where losses are averaged.
pub const DRAWS: &str = "draws";
/// The same where gradients alone are averaged.
pub const GRADIENT_DRAWS: &str = "draws_of_gradients";

/// Operators that draw, and can be keyed.
const KEYED: &[&str] = &["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Dropout"];

/// The graph with an input for every draw, further inputs of it; `None` where nothing draws, or where draws cannot be keyed
/// (`Multinomial`, extents that are not known).
pub fn keyed(graph: &Graph) -> Option<Graph> {
    let reading = crate::hazards::Reading::of(graph)?;
    let drawing: Vec<ValueId> = crate::hazards::drawing(&reading).iter().filter_map(|node| node.output(0)).collect();
    if drawing.is_empty() {
        return None;
    }
    let mut count = 0;
    let mut complete = true;
    let keyed = graph.rewrite(|new, node, inputs| {
        let draws = node.output(0).is_some_and(|id| drawing.contains(&id));
        let results = draws.then(|| drawn(graph, new, node, inputs, &mut count)).flatten();
        complete &= !draws || results.is_some();
        results
    });
    (complete && count > 0 && keyed.check().is_ok()).then_some(keyed)
}

/// The logarithm of the mean probability over `copies` independent draws: logits of the same classes; `None` as for [`keyed`].
pub fn averaged(graph: &Graph, copies: usize) -> Option<Graph> {
    expected(graph, Expectation { draws: copies, of: Mean::Probabilities })
}

/// The model, evaluated for several independent draws. The logits are those of the mean probability, or of the last draw. If losses or
/// gradients are averaged, a further output holds the scores of every draw: [`DRAWS`] or [`GRADIENT_DRAWS`]. `None` as for [`keyed`].
pub fn expected(graph: &Graph, Expectation { draws: copies, of }: Expectation) -> Option<Graph> {
    let single = keyed(graph)?;
    let (&image, output) = (single.inputs().first()?, &single.outputs()[0]);
    let b = Builder::new(Graph::new(&graph.name));
    let x = b.input(&single.value(image).name, single.value(image).ty.clone());
    let fed = |id: ValueId, name: &str| (single.value(id).name.to_string(), b.input(name, single.value(id).ty.clone()));
    // inputs that are not drawn are the same in every copy
    let (drawn, shared): (Vec<ValueId>, Vec<ValueId>) =
        single.inputs()[1..].iter().partition(|&&id| single.value(id).name.contains("noise_"));
    let shared: Vec<(String, Expr<'_>)> = shared.into_iter().map(|id| fed(id, &single.value(id).name)).collect();
    let copy = |k: usize| {
        let own: Vec<_> = drawn.iter().map(|&id| fed(id, &format!("{}x{k}", single.value(id).name))).collect();
        let bound = |name: &str| own.iter().chain(&shared).find(|(known, _)| known == name).map_or(x.id, |(_, value)| value.id);
        b.inline(&single, &|name, _| Some(bound(name))).ok()?.first().map(|(_, z)| b.expr(*z))
    };
    let scores: Vec<Expr<'_>> = (0..copies).map(copy).collect::<Option<_>>()?;
    let (logits, further) = match of {
        Mean::Probabilities => (log_mean(&scores)?, None),
        Mean::Losses => (log_mean(&scores)?, Some(DRAWS)),
        Mean::Gradients => (*scores.last()?, Some(GRADIENT_DRAWS)),
    };
    b.output(&output.name, logits);
    if let Some(name) = further {
        b.output(name, b.concat(&scores.iter().map(|z| z.unsqueeze(&[1])).collect::<Vec<_>>(), 1));
    }
    Some(b.into_graph())
}

/// ln mean p = m + ln Σ exp(ln p − m) − ln k
fn log_mean<'b>(scores: &[Expr<'b>]) -> Option<Expr<'b>> {
    let logarithms: Vec<Expr<'b>> = scores.iter().map(|z| z.log_softmax(1)).collect();
    let (first, rest) = logarithms.split_first()?;
    let m = rest.iter().fold(*first, |m, z| m.max(*z));
    let sum = logarithms.iter().map(|z| (*z - m).exp()).reduce(|a, b| a + b)?;
    Some(m + sum.log() - (scores.len() as f64).ln())
}

/// What a node that draws gives, computed from an input.
fn drawn(
    graph: &Graph,
    new: &mut Graph,
    node: &Node,
    inputs: &[Option<ValueId>],
    count: &mut usize,
) -> Option<Vec<Option<ValueId>>> {
    if !KEYED.contains(&&*node.op) {
        return None;
    }
    let output = node.output(0)?;
    let (dtype, dims) = (graph.dtype(output).filter(|t| t.is_float())?, graph.shape(output)?.to_vec());
    let (first, inner) = dims.split_first()?;
    inner.iter().all(|dim| dim.fixed().is_some()).then_some(())?;
    // what has no batch is the same for every image of a run
    let shared = first.fixed().is_some();
    let law = if node.op.starts_with("RandomNormal") { "normal" } else { "uniform" };
    let name = format!("{}noise_{law}_draw{count}", if shared { "shared_" } else { "" });
    *count += 1;
    let ty = ValueType::new(DType::F32, dims.clone());
    let noise = new.add_input(&name, ty);
    let none = Attributes::none;
    let number = |new: &mut Graph, value: f64| new.add_constant("number", Tensor::full(DType::F32, &[], value));
    let scaled = |new: &mut Graph, value: ValueId, factor: f64, shift: f64| {
        let (factor, shift) = (number(new, factor), number(new, shift));
        let product = new.node("Mul", &[value, factor], none());
        new.node("Add", &[product, shift], none())
    };
    let float = |name: &str, default: f32| f64::from(node.attributes.float(name, default));
    let typed = |new: &mut Graph, value: ValueId| match dtype {
        DType::F32 => value,
        other => new.node("Cast", &[value], [("to", ops::onnx_code(other).into())]),
    };
    let value = match &*node.op {
        "RandomNormal" | "RandomNormalLike" => scaled(new, noise, float("scale", 1.0), float("mean", 0.0)),
        "RandomUniform" | "RandomUniformLike" => {
            let (low, high) = (float("low", 0.0), float("high", 1.0));
            scaled(new, noise, (high - low) / 2.0, (high + low) / 2.0)
        }
        "Bernoulli" => {
            let share = scaled(new, noise, 0.5, 0.5);
            let below = new.node("Less", &[share, inputs.first().copied()??], none());
            new.node("Cast", &[below], [("to", ops::onnx_code(DType::F32).into())])
        }
        _ => return dropout(graph, new, node, inputs, noise),
    };
    Some(vec![Some(typed(new, value))])
}

/// Dropout in training mode: x / (1 − ratio) where it is kept, otherwise 0; and the mask where it is read.
fn dropout(
    graph: &Graph,
    new: &mut Graph,
    node: &Node,
    inputs: &[Option<ValueId>],
    noise: ValueId,
) -> Option<Vec<Option<ValueId>>> {
    let ratio = match node.input(1) {
        Some(id) => *graph.constant(id)?.to_f64().first()?,
        None => 0.5,
    };
    (0.0..1.0).contains(&ratio).then_some(())?;
    let none = Attributes::none;
    // the draw is uniform on (−1, 1)
    let limit = new.add_constant("limit", Tensor::full(DType::F32, &[], 2.0 * ratio - 1.0));
    let mask = new.node("GreaterOrEqual", &[noise, limit], none());
    let x = inputs.first().copied()??;
    let dtype = new.dtype(x)?;
    let kept = new.add_constant("kept", Tensor::full(dtype, &[], 1.0 / (1.0 - ratio)));
    let scaled = new.node("Mul", &[x, kept], none());
    let zero = new.add_constant("zero", Tensor::full(dtype, &[], 0.0));
    let value = new.node("Where", &[mask, scaled, zero], none());
    let results = node.outputs.iter().enumerate().map(|(place, id)| id.map(|_| if place == 0 { value } else { mask }));
    Some(results.collect())
}

#[cfg(test)]
mod tests {
    use flatscape_graph::text;

    use super::*;

    #[test]
    fn an_expectation_is_read_or_refused() {
        assert_eq!(Expectation::parse("20"), Ok(Expectation { draws: 20, of: Mean::Losses }));
        assert_eq!(Expectation::parse("8:probs"), Ok(Expectation { draws: 8, of: Mean::Probabilities }));
        for wrong in ["0", "1001", "many", "", "20:loss", "-3"] {
            assert!(Expectation::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn draws_become_inputs_of_the_graph() {
        let net = text::parse(
            "net (float[N,1,2,2] x) => (float[N,4] z) <bool on = {1}, float half = {0.5}>
            { n = RandomNormalLike <scale = 0.1> (x)  s = Add(x, n)  d = Dropout(s, half, on)  z = Flatten(d) }",
        )
        .expect("a graph");
        let graph = keyed(&net).expect("it draws");
        let names = |g: &Graph| g.inputs().iter().map(|&i| format!("{} {}", g.value(i).name, g.value(i).ty)).collect::<Vec<_>>();
        assert_eq!(
            names(&graph),
            ["x float[N,1,2,2]", "noise_normal_draw0 float[N,1,2,2]", "noise_uniform_draw1 float[N,1,2,2]"]
        );
        assert_eq!(averaged(&net, 3).map(|g| (g.inputs().len(), g.outputs().len())), Some((7, 1)));
        let three = expected(&net, Expectation { draws: 3, of: Mean::Losses }).expect("three draws");
        assert_eq!(three.outputs().iter().map(|o| &*o.name).collect::<Vec<_>>(), ["z", DRAWS]);
        assert_eq!(three.value(three.outputs()[1].value).ty.to_string(), "float[N,3,4]");
        let still = text::parse("net (float[N,1,2,2] x) => (float[N,4] z) { z = Flatten(x) }").expect("a graph");
        assert!(keyed(&still).is_none() && averaged(&still, 3).is_none());
    }
}
