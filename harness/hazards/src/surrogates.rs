//! Surrogate gradients on the user's word, `--surrogate OP=RULE`: what attacks differentiate in the place of an operator, or of a block
//! between two values (BPDA, Athalye et al. 2018, arXiv:1802.00420). Values stay what they are, so that a bad surrogate costs
//! success and never correctness. Nothing is chosen here that the user did not name.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use flatscape_graph::{Graph, ValueId, ops, shown};

use crate::hazards::Reading;
use crate::refusal::{Refusal, escape, nearest};
use crate::smooth::{Smooth, Soft, marked, subjects};

/// A rule: what the cotangent ȳ of a result becomes at its operand.
#[derive(Debug)]
pub struct Rule {
    /// The word after `=`.
    pub name: &'static str,
    /// The formula, with x the operand, or a − b where a comparison a > b becomes a number.
    pub formula: &'static str,
    /// The operators that take it; none: every operator with one operand that depends on the pixels, of the shape of its result.
    pub operators: &'static [&'static str],
    /// What it makes of a node's own way of being differentiated.
    apply: fn(Smooth) -> Option<Smooth>,
}

/// The operators that jump at 0.
const STEPS: &[&str] = &["Sign", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"];
/// The operators that give a position.
const POSITIONS: &[&str] = &["ArgMax", "Hardmax"];

/// All rules, in the order of the help.
pub const RULES: &[Rule] = &[
    Rule {
        name: "identity",
        formula: "ȳ",
        operators: &[],
        apply: |smooth| match smooth {
            Smooth::Operand(x) | Smooth::Sign(x, _) => Some(Smooth::Operand(x)),
            _ => None,
        },
    },
    Rule {
        name: "hardtanh",
        formula: "ȳ where |x| ≤ 1, else 0",
        operators: STEPS,
        apply: |smooth| jumping(smooth, Soft::Hardtanh),
    },
    Rule { name: "softsign", formula: "ȳ/(1+|x|)²", operators: STEPS, apply: |smooth| jumping(smooth, Soft::Softsign) },
    Rule {
        name: "softmax",
        formula: "ȳ times the Jacobian of a softmax along the axis",
        operators: POSITIONS,
        apply: |smooth| matches!(smooth, Smooth::Softmax { .. }).then_some(smooth),
    },
];

fn jumping(smooth: Smooth, soft: Soft) -> Option<Smooth> {
    matches!(smooth, Smooth::Sign(..) | Smooth::Step { .. } | Smooth::Choice { .. }).then(|| smooth.with(soft))
}

/// What is differentiated otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// Every node of an operator.
    Operator(String),
    /// All that lies between two values of one shape.
    Block { from: String, to: String },
}

/// One request of the user.
#[derive(Clone, Debug)]
pub struct Surrogate {
    place: Place,
    rule: &'static Rule,
}

impl fmt::Display for Surrogate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Operator(op) => write!(f, "{op}={}", self.rule.name),
            Place::Block { from, to } => write!(f, "{from}..{to}={}", self.rule.name),
        }
    }
}

/// How a request is written.
const FORM: &str =
    "write OP=RULE, for example Round=identity, or FROM..TO=identity for what lies between two values of one shape";

impl Surrogate {
    /// Reads `Round=identity`, or `/denoise/in..clean=identity`.
    ///
    /// # Errors
    /// A usage error that names the rules, or the operator that was meant.
    pub fn parse(text: &str) -> Result<Surrogate, Refusal> {
        let wrong = |why: String| Refusal::usage(91, format!("--surrogate {}: {why}", shown(text)));
        let Some((place, word)) = text.rsplit_once('=') else { return Err(wrong("there is no =".to_owned()).help(FORM)) };
        let Some(rule) = RULES.iter().find(|rule| rule.name == word) else {
            let names = RULES.iter().map(|rule| rule.name);
            let meant = nearest(word, names.clone()).map_or(String::new(), |n| format!("; did you mean {n}?"));
            let known = names.collect::<Vec<_>>().join(", ");
            return Err(wrong(format!("no rule is called {:?}", escape(word))).help(format!("there are {known}{meant}")));
        };
        if let Some((from, to)) = place.split_once("..") {
            if from.is_empty() || to.is_empty() {
                return Err(wrong("a block lies between two values, and one has no name".to_owned()).help(FORM));
            }
            if rule.name != RULES[0].name {
                return Err(wrong(format!("a block takes the rule {} alone", RULES[0].name)).help(FORM));
            }
            return Ok(Surrogate { place: Place::Block { from: from.to_owned(), to: to.to_owned() }, rule });
        }
        let known = || ops::OPS.iter().filter(|op| op.domain.is_empty()).map(|op| op.name);
        if !known().any(|name| name == place) {
            let meant = nearest(place, known()).map_or(FORM.to_owned(), |n| format!("did you mean {n}?"));
            return Err(wrong(format!("no operator is called {:?}", escape(place))).help(meant));
        }
        let fits = if rule.operators.is_empty() {
            !STEPS[1..].contains(&place) && !POSITIONS.contains(&place)
        } else {
            rule.operators.contains(&place)
        };
        if !fits {
            let takes = RULES.iter().filter(|rule| rule.operators.contains(&place)).map(|rule| rule.name).collect::<Vec<_>>();
            let takes = if takes.is_empty() { vec![RULES[0].name] } else { takes };
            return Err(
                wrong(format!("the rule {word} is not one of {place}")).help(format!("{place} takes {}", takes.join(", ")))
            );
        }
        Ok(Surrogate { place: Place::Operator(place.to_owned()), rule })
    }

    /// The values of a graph that it is about, with what is differentiated in their place.
    fn values(&self, reading: &Reading, input_name: &str) -> Result<Vec<(ValueId, Smooth)>, Refusal> {
        match &self.place {
            Place::Block { from, to } => Ok(vec![self.block(reading, input_name, (from, to))?]),
            Place::Operator(op) => {
                let hidden = subjects(reading);
                let named = hidden.iter().filter(|subject| subject.op == *op && !subject.at_pixels);
                let hiding: Vec<_> = named.filter_map(|s| Some((s.y, (self.rule.apply)(s.smooth)?))).collect();
                if !hiding.is_empty() || !self.rule.operators.is_empty() {
                    return Ok(hiding);
                }
                Ok(reading.between().filter(|node| *node.op == **op).filter_map(|node| passed(reading, node)).collect())
            }
        }
    }

    /// The value at the end of a block, and that at its beginning.
    fn block(&self, reading: &Reading, input_name: &str, (from, to): (&str, &str)) -> Result<(ValueId, Smooth), Refusal> {
        let graph = reading.graph;
        let wrong = |why: String| Refusal::usage(91, format!("--surrogate {}: {why}", shown(&self.to_string())));
        let names = || (0..graph.values().len() as u32).map(ValueId).filter(|&id| graph.constant(id).is_none());
        let find = |name: &str| {
            let input = (name == input_name).then_some(reading.input);
            names().find(|&id| *graph.value(id).name == *name).or(input).ok_or_else(|| {
                let known = names().map(|id| &*graph.value(id).name);
                let meant = nearest(name, known).map_or(String::new(), |n| format!("did you mean {}? ", shown(n)));
                wrong(format!("{} has no value {}", shown(&graph.name), shown(name)))
                    .help(format!("{meant}values have the names of the file, without those that simplifying removes"))
            })
        };
        let (a, b) = (find(from)?, find(to)?);
        let types = |id| (graph.shape(id).map(<[_]>::to_vec), graph.dtype(id));
        if types(a) != types(b) || types(a).0.is_none() || !types(a).1.is_some_and(flatscape_graph::DType::is_float) {
            let [a, b] = [a, b].map(|id| graph.value(id).ty.to_string());
            return Err(wrong(format!("{} is {a} and {} is {b}", shown(from), shown(to)))
                .help("a block can be passed if its two values are floats of one shape"));
        }
        if a == b || !follows(graph, a, b) {
            return Err(wrong(format!("{} does not depend on {}", shown(to), shown(from))).help(FORM));
        }
        Ok((b, Smooth::Operand(a)))
    }
}

/// A node with one operand that depends on the pixels, of the shape of its result.
fn passed(reading: &Reading, node: &flatscape_graph::Node) -> Option<(ValueId, Smooth)> {
    let y = node.output(0)?;
    let mut carried = node.inputs.iter().flatten().copied().filter(|&v| reading.carries(v));
    let (x, others) = (carried.next()?, carried.next());
    let graph = reading.graph;
    let floats = [x, y].iter().all(|&v| graph.dtype(v).is_some_and(flatscape_graph::DType::is_float));
    (others.is_none() && floats && graph.shape(x).is_some() && graph.shape(x) == graph.shape(y))
        .then_some((y, Smooth::Operand(x)))
}

/// Whether a value depends on another.
fn follows(graph: &Graph, from: ValueId, to: ValueId) -> bool {
    let mut below = vec![false; graph.values().len()];
    below[from.0 as usize] = true;
    for node in graph.nodes() {
        if node.inputs.iter().flatten().any(|v| below[v.0 as usize]) {
            node.outputs.iter().flatten().for_each(|v| below[v.0 as usize] = true);
        }
    }
    below[to.0 as usize]
}

/// What requests made of a graph.
#[derive(Debug, Default)]
pub(crate) struct Marked {
    /// The graph with its marks, where a request found something.
    pub twin: Option<Graph>,
    /// What was done, as a sentence: `surrogate: Round×3 (ȳ)`.
    pub sentences: Vec<String>,
    /// Requests that had nothing to do, as sentences.
    pub idle: Vec<String>,
}

/// The graph with the derivatives that the user named. `input_name` is another name of its input.
///
/// # Errors
/// A usage error: a value of a block is not there, or the block does not keep the shape; two requests are about one value.
pub(crate) fn surrogated(graph: &Graph, input_name: &str, asked: &[String]) -> Result<Marked, Refusal> {
    let mut done = Marked::default();
    let Some(reading) = Reading::of(graph) else { return Ok(done) };
    let mut smooth: HashMap<ValueId, Smooth> = HashMap::new();
    let mut counts: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    for text in asked {
        let surrogate = Surrogate::parse(text)?;
        let values = surrogate.values(&reading, input_name)?;
        if values.is_empty() {
            done.idle.push(format!("--surrogate {surrogate}: there is nothing in this model that it would change"));
            continue;
        }
        for (y, instead) in &values {
            if smooth.insert(*y, *instead).is_some_and(|before| before != *instead) {
                let what =
                    format!("--surrogate {surrogate}: another request is about the same value {}", shown(&graph.value(*y).name));
                return Err(Refusal::usage(93, what).help("name one rule for an operator"));
            }
        }
        let place = match &surrogate.place {
            Place::Operator(op) => op.clone(),
            Place::Block { from, to } => format!("{}..{}", escape(from), escape(to)),
        };
        counts.insert(place, (values.len(), surrogate.rule.formula));
    }
    if smooth.is_empty() {
        return Ok(done);
    }
    let listed: Vec<String> = counts.iter().map(|(op, (count, formula))| format!("{op}×{count} ({formula})")).collect();
    let Some((twin, _)) = marked(graph, &smooth) else {
        done.idle.push(format!("--surrogate: {} could not be marked in this model", listed.join(", ")));
        return Ok(done);
    };
    done.sentences.push(format!(
        "--surrogate: attacks differentiate surrogate: {}; the verdict is that of the untouched model",
        listed.join(", ")
    ));
    done.twin = Some(twin);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_or_refused_with_a_way_out() {
        for text in ["Round=identity", "Sign=hardtanh", "Greater=softsign", "ArgMax=softmax", "TopK=identity", "a=b..c=identity"]
        {
            assert_eq!(Surrogate::parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).to_string(), text);
        }
        let help = |text: &str| {
            let error = Surrogate::parse(text).expect_err(text);
            assert_eq!(error.class.exit_code(), 2, "{text}");
            format!("{error} {}", error.help.as_deref().expect("a way out"))
        };
        assert!(help("Round").contains("OP=RULE"));
        assert!(help("Round=identty").contains("did you mean identity?"));
        assert!(help("Ruond=identity").contains("did you mean Round?"));
        assert!(help("Round=hardtanh").contains("Round takes identity"));
        assert!(help("Greater=identity").contains("Greater takes hardtanh, softsign"));
        assert!(help("..b=identity").contains("no name") && help("a..b=softsign").contains("identity alone"));
    }
}
