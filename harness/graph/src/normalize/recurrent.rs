//! `RNN`, `GRU` and `LSTM` written out over their sequence, which must have a fixed length. The input's share of all steps is one
//! matrix product; a step is the product with the state and what the gates do.

use super::control::{formulas, split};
use super::upgrade::{Old, Renewed};
use crate::expr::{Builder, Expr};
use crate::ir::{Attribute, Attributes, ValueId};
use crate::tensor::{DType, Tensor};

/// `RNN`: `H = f(X·Wᵀ + H·Rᵀ + Wb + Rb)`.
pub(super) fn rnn(old: &mut Old) -> Renewed {
    expand(old, Cell { gates: 1, activations: &["Tanh"], nodes: 4, has_memory: false }, |_, layer, x, before| {
        let h = layer.activate(0, layer.clip(x.plus(layer.recurrent(before.h))));
        State { h: Some(h), c: None }
    })
}

/// `GRU`, gates z, r, h: `H = (1 − z)⊙h̃ + z⊙H`, where `h̃ = g(X·Whᵀ + (r⊙H)·Rhᵀ + Rbh + Wbh)`, or, with `linear_before_reset`,
/// `h̃ = g(X·Whᵀ + r⊙(H·Rhᵀ + Rbh) + Wbh)`.
pub(super) fn gru(old: &mut Old) -> Renewed {
    let linear = old.node.attributes.int("linear_before_reset", 0) != 0;
    expand(old, Cell { gates: 3, activations: &["Sigmoid", "Tanh"], nodes: 16, has_memory: false }, move |b, layer, x, before| {
        let n = layer.hidden;
        let gates = layer.parts(b, x, &[2 * n, n]);
        // r: the share of the state, [H·Rᵀ]
        let (zr, candidate) = if linear {
            let state = layer.recurrent(before.h).map(|s| layer.parts(b, s, &[2 * n, n]));
            let (zr, rest) = (state.as_ref().map(|s| s[0]), state.as_ref().map(|s| s[1]));
            (zr, rest.into_iter().chain(layer.late_bias).reduce(|a, b| a + b))
        } else {
            (before.h.map(|h| h.matmul(layer.r_part(0, 2 * n))), None)
        };
        let zr = layer.activate(0, layer.clip(gates[0].plus(zr)));
        let both = layer.parts(b, zr, &[n, n]);
        let (z, r) = (both[0], both[1]);
        let candidate = match (linear, candidate, before.h) {
            (true, Some(candidate), _) => Some(r * candidate),
            (false, _, Some(h)) => Some((r * h).matmul(layer.r_part(2 * n, 3 * n))),
            _ => None,
        };
        let candidate = layer.activate(1, layer.clip(gates[1].plus(candidate)));
        // (1 − z)⊙h̃ + z⊙H
        let h = match before.h {
            Some(h) => candidate + z * (h - candidate),
            None => candidate - z * candidate,
        };
        State { h: Some(h), c: None }
    })
}

/// `LSTM`, gates i, o, f, c: `C = f⊙C + i⊙c̃`, `H = o⊙h(C)`; with peepholes, `i` and `f` see `C` before the step and `o` after it.
pub(super) fn lstm(old: &mut Old) -> Renewed {
    let coupled = old.node.attributes.int("input_forget", 0) != 0;
    let cell = Cell { gates: 4, activations: &["Sigmoid", "Tanh", "Tanh"], nodes: 20, has_memory: true };
    expand(old, cell, move |b, layer, x, before| {
        let n = layer.hidden;
        let all = x.plus(layer.recurrent(before.h));
        let (i, o, f, candidate);
        match layer.peepholes(b) {
            None => {
                let parts = layer.parts(b, layer.clip(all), &[3 * n, n]);
                let gates = layer.parts(b, layer.activate(0, parts[0]), &[n, n, n]);
                (i, o, f, candidate) = (gates[0], Gate::Ready(gates[1]), gates[2], parts[1]);
            }
            Some([pi, po, pf]) => {
                let parts = layer.parts(b, all, &[n, n, n, n]);
                (i, f) = (layer.gate_that_sees(parts[0], pi, before.c), layer.gate_that_sees(parts[2], pf, before.c));
                (o, candidate) = (Gate::Sees(parts[1], po), layer.clip(parts[3]));
            }
        }
        let candidate = layer.activate(1, candidate);
        let kept = before.c.map(|c| if coupled { c - i * c } else { f * c });
        let c = (i * candidate).plus(kept);
        let o = match o {
            Gate::Ready(o) => o,
            Gate::Sees(o, p) => layer.gate_that_sees(o, p, Some(c)),
        };
        State { h: Some(o * layer.activate(2, c)), c: Some(c) }
    })
}

/// The output gate, which waits for the new memory where there are peepholes.
enum Gate<'b> {
    Ready(Expr<'b>),
    Sees(Expr<'b>, Expr<'b>),
}

/// What tells the three layers apart.
struct Cell {
    gates: i64,
    activations: &'static [&'static str],
    /// The most nodes that one step becomes.
    nodes: usize,
    has_memory: bool,
}

/// State and memory, `[1,N,hidden]`; `None` is zero.
#[derive(Clone, Copy, Default)]
struct State<'b> {
    h: Option<Expr<'b>>,
    c: Option<Expr<'b>>,
}

/// One direction of a layer.
struct Layer<'b> {
    hidden: i64,
    /// `[hidden, gates·hidden]`.
    r: Expr<'b>,
    /// The part of the recurrent bias that `r` of a GRU multiplies, `[hidden]`.
    late_bias: Option<Expr<'b>>,
    /// `[3·hidden]`.
    p: Option<Expr<'b>>,
    clip: Option<f32>,
    activations: Vec<Activation>,
}

trait Plus<'b> {
    fn plus(self, other: Option<Expr<'b>>) -> Expr<'b>;
}

impl<'b> Plus<'b> for Expr<'b> {
    /// The sum; what is absent is zero.
    fn plus(self, other: Option<Expr<'b>>) -> Expr<'b> {
        other.map_or(self, |other| self + other)
    }
}

impl<'b> Layer<'b> {
    fn recurrent(&self, h: Option<Expr<'b>>) -> Option<Expr<'b>> {
        h.map(|h| h.matmul(self.r))
    }

    /// Columns of R as it multiplies from the right.
    fn r_part(&self, from: i64, to: i64) -> Expr<'b> {
        self.r.slice(&[from], &[to], &[1], &[1])
    }

    fn parts(&self, b: &'b Builder, x: Expr<'b>, sizes: &[i64]) -> Vec<Expr<'b>> {
        b.ops("Split", &[x, b.ints(sizes)], sizes.len(), [("axis", (-1i64).into())])
    }

    fn peepholes(&self, b: &'b Builder) -> Option<[Expr<'b>; 3]> {
        let p = self.p?;
        let n = self.hidden;
        let parts = b.ops("Split", &[p, b.ints(&[n, n, n])], 3, [("axis", 0i64.into())]);
        Some([parts[0], parts[1], parts[2]])
    }

    fn clip(&self, x: Expr<'b>) -> Expr<'b> {
        match self.clip {
            Some(bound) => {
                let bound = f64::from(bound);
                x.builder().op("Clip", &[x, x.scalar(-bound), x.scalar(bound)], Attributes::none())
            }
            None => x,
        }
    }

    /// A gate with a peephole to the memory.
    fn gate_that_sees(&self, gate: Expr<'b>, p: Expr<'b>, c: Option<Expr<'b>>) -> Expr<'b> {
        self.activate(0, self.clip(gate.plus(c.map(|c| c * p))))
    }

    fn activate(&self, i: usize, x: Expr<'b>) -> Expr<'b> {
        self.activations[i].of(x)
    }
}

/// An activation function with its numbers.
#[derive(Clone)]
struct Activation {
    name: String,
    alpha: f64,
    beta: f64,
}

/// The names, in lower case, with the defaults of alpha and beta where they are used.
const ACTIVATIONS: &[(&str, Option<f64>, Option<f64>)] = &[
    ("relu", None, None),
    ("tanh", None, None),
    ("sigmoid", None, None),
    ("softsign", None, None),
    ("softplus", None, None),
    ("affine", Some(1.0), Some(0.0)),
    ("leakyrelu", Some(0.01), None),
    ("thresholdedrelu", Some(1.0), None),
    ("scaledtanh", Some(1.0), Some(1.0)),
    ("hardsigmoid", Some(0.2), Some(0.5)),
    ("elu", Some(1.0), None),
];

impl Activation {
    fn of<'b>(&self, x: Expr<'b>) -> Expr<'b> {
        let b = x.builder();
        let alpha = self.alpha as f32;
        match self.name.as_str() {
            "relu" => x.relu(),
            "tanh" => x.tanh(),
            "sigmoid" => x.sigmoid(),
            "softsign" => x.unary("Softsign"),
            "softplus" => x.unary("Softplus"),
            "affine" => x * self.alpha + self.beta,
            "leakyrelu" => b.op("LeakyRelu", &[x], [("alpha", alpha.into())]),
            "thresholdedrelu" => b.op("ThresholdedRelu", &[x], [("alpha", alpha.into())]),
            "scaledtanh" => (x * self.beta).tanh() * self.alpha,
            "hardsigmoid" => b.op("HardSigmoid", &[x], [("alpha", alpha.into()), ("beta", (self.beta as f32).into())]),
            _ => b.op("Elu", &[x], [("alpha", alpha.into())]),
        }
    }
}

/// The activations of all directions. Alphas and betas are handed out in order to the functions that use them.
fn activations(old: &Old, defaults: &[&str], directions: usize) -> Result<Vec<Vec<Activation>>, String> {
    let names: Vec<String> = match old.node.attributes.get("activations") {
        Some(Attribute::Strings(names)) => names.clone(),
        _ => (0..directions).flat_map(|_| defaults.iter().map(|&n| n.to_owned())).collect(),
    };
    if names.len() != defaults.len() * directions {
        return Err(format!("it has {} activations instead of {}", names.len(), defaults.len() * directions));
    }
    let floats = |name: &str| match old.node.attributes.get(name) {
        Some(Attribute::Floats(v)) => v.clone().into_iter(),
        _ => Vec::new().into_iter(),
    };
    let (mut alphas, mut betas) = (floats("activation_alpha"), floats("activation_beta"));
    let mut list = Vec::with_capacity(names.len());
    for name in names {
        let lower = name.to_ascii_lowercase();
        let row = ACTIVATIONS.iter().find(|(known, ..)| *known == lower);
        let &(_, alpha, beta) = row.ok_or_else(|| format!("the activation {} is not known", crate::shown(&name)))?;
        let take = |default: Option<f64>, given: &mut std::vec::IntoIter<f32>| {
            default.map_or(0.0, |default| given.next().map_or(default, f64::from))
        };
        list.push(Activation { name: lower, alpha: take(alpha, &mut alphas), beta: take(beta, &mut betas) });
    }
    Ok(list.chunks(defaults.len()).map(<[Activation]>::to_vec).collect())
}

/// A layer over its whole sequence. `step` gives the state after an element from the state before it.
fn expand(
    old: &mut Old,
    cell: Cell,
    step: impl for<'b> Fn(&'b Builder, &Layer<'b>, Expr<'b>, State<'b>) -> State<'b>,
) -> Renewed {
    let (x, w, r) = (old.x(0)?, old.x(1)?, old.x(2)?);
    let attributes = &old.node.attributes;
    let batch_first = attributes.int("layout", 0) == 1;
    let length = match old.graph.shape(x) {
        Some(shape) if shape.len() == 3 => shape[usize::from(batch_first)].fixed(),
        Some(shape) => return Err(format!("x has rank {} instead of 3", shape.len())),
        None => None,
    };
    let length = length.filter(|&n| n > 0).ok_or("the length of its sequence is not fixed")?;
    let extents = |v: ValueId| -> Option<Vec<usize>> { old.graph.shape(v)?.iter().map(crate::Dim::fixed).collect() };
    let hidden = match extents(r).as_deref() {
        Some(&[_, rows, hidden]) if rows == hidden * cell.gates as usize => hidden as i64,
        Some(shape) => return Err(format!("R has the shape {shape:?}, not [directions, {}·hidden, hidden]", cell.gates)),
        None => return Err("the extents of R are not fixed".to_owned()),
    };
    let ways: &[bool] = match attributes.string("direction", "forward") {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => return Err(format!("the direction {} is not known", crate::shown(other))),
    };
    if extents(w).is_none_or(|s| s.len() != 3 || s[0] != ways.len()) {
        return Err("W does not have the extents [directions, gates·hidden, input]".to_owned());
    }
    let clip = if let Some(Attribute::Float(v)) = attributes.get("clip") { Some(*v).filter(|&v| v > 0.0) } else { None };
    let activations = activations(old, cell.activations, ways.len())?;
    let late = &*old.node.op == "GRU" && attributes.int("linear_before_reset", 0) != 0;
    let masked = old.node.input(4).is_some();
    old.walk.afford(ways.len().saturating_mul(length).saturating_mul(cell.nodes + if masked { 6 } else { 0 }))?;
    let [bias, lengths, h0, c0, peepholes] = [3, 4, 5, 6, 7].map(|i| old.node.input(i));
    Ok(formulas(old, |b| {
        // [length, N, …]
        let x = if batch_first { b.expr(x).transpose(&[1, 0, 2]) } else { b.expr(x) };
        let (mut whole, mut last) = (Vec::new(), Vec::new());
        for (way, (&backwards, activations)) in ways.iter().zip(activations).enumerate() {
            let way = Way { b, way: way as i64, batch_first };
            let (wb, rb, late_bias) = biases(b, bias.map(|v| way.own(v)), cell.gates, hidden, late);
            let r = way.own(r).transpose(&[1, 0]);
            let layer = Layer { hidden, r, late_bias, p: peepholes.map(|v| way.own(v)), clip, activations };
            let share = x.matmul(way.own(w).transpose(&[1, 0])).plus(wb.map(|wb| wb.plus(rb)));
            let elements = split(b, share, 0, length);
            let c0 = c0.filter(|_| cell.has_memory);
            let mut state = State { h: h0.map(|v| way.start(v)), c: c0.map(|v| way.start(v)) };
            let mut outputs = vec![x; length];
            let order: Vec<usize> = if backwards { (0..length).rev().collect() } else { (0..length).collect() };
            for t in order {
                let after = step(b, &layer, elements[t], state);
                let (output, next) = match lengths {
                    None => (after.h, after),
                    Some(lengths) => after.until(state, b.expr(lengths), t),
                };
                outputs[t] = output.unwrap_or(x);
                state = next;
            }
            // [length, 1, N, hidden]
            whole.push(b.concat(&outputs, 0).unsqueeze(&[1]));
            last.push(state);
        }
        let whole = b.concat(&whole, 1);
        let whole = if batch_first { whole.transpose(&[2, 0, 1, 3]) } else { whole };
        let h = joined(b, last.iter().map(|s| s.h).collect(), batch_first);
        let c = joined(b, last.iter().map(|s| s.c).collect(), batch_first);
        vec![Some(whole), h, c]
    }))
}

/// The last states of all directions, `[directions,N,hidden]`, or with the batch in front.
fn joined<'b>(b: &'b Builder, parts: Vec<Option<Expr<'b>>>, batch_first: bool) -> Option<Expr<'b>> {
    let all = b.concat(&parts.into_iter().collect::<Option<Vec<Expr>>>()?, 0);
    Some(if batch_first { all.transpose(&[1, 0, 2]) } else { all })
}

/// One direction among the operands.
struct Way<'b> {
    b: &'b Builder,
    way: i64,
    batch_first: bool,
}

impl<'b> Way<'b> {
    /// Its weights, without the axis of directions.
    fn own(&self, v: ValueId) -> Expr<'b> {
        self.of(self.b.expr(v)).squeeze(&[0])
    }

    /// Its initial state, `[1,N,hidden]`.
    fn start(&self, v: ValueId) -> Expr<'b> {
        let v = self.b.expr(v);
        self.of(if self.batch_first { v.transpose(&[1, 0, 2]) } else { v })
    }

    fn of(&self, v: Expr<'b>) -> Expr<'b> {
        v.slice(&[self.way], &[self.way + 1], &[0], &[1])
    }
}

impl<'b> State<'b> {
    /// What counts after element t of sequences that have these lengths `[N]`: the output, zero behind the end, and the state,
    /// which stays as it was.
    fn until(self, before: State<'b>, lengths: Expr<'b>, t: usize) -> (Option<Expr<'b>>, State<'b>) {
        let now = lengths.builder().constant(Tensor::scalar(t as i64));
        let goes_on = lengths.cast(DType::I64).greater(now).unsqueeze(&[0, 2]);
        let keep = |after: Option<Expr<'b>>, before: Option<Expr<'b>>| {
            after.map(|after| goes_on.select(after, before.unwrap_or_else(|| after.scalar(0.0))))
        };
        (keep(self.h, None), State { h: keep(self.h, before.h), c: keep(self.c, before.c) })
    }
}

/// Bias of the input's share, of the state's share, and the part of the latter that waits for the reset gate, from
/// `[2·gates·hidden]`.
fn biases<'b>(
    b: &'b Builder,
    bias: Option<Expr<'b>>,
    gates: i64,
    hidden: i64,
    late: bool,
) -> (Option<Expr<'b>>, Option<Expr<'b>>, Option<Expr<'b>>) {
    let Some(bias) = bias else { return (None, None, None) };
    let width = gates * hidden;
    let parts = b.ops("Split", &[bias, b.ints(&[width, width])], 2, [("axis", 0i64.into())]);
    if !late {
        return (Some(parts[0]), Some(parts[1]), None);
    }
    let early = parts[1].slice(&[0], &[2 * hidden], &[0], &[1]).pad_zeros(&[0, hidden]);
    (Some(parts[0]), Some(early), Some(parts[1].slice(&[2 * hidden], &[3 * hidden], &[0], &[1])))
}
