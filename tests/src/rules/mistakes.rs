//! Classic mistakes of gradient rules, put in one at a time: for each of them some case of the suite must fail that passes without
//! it. A mistake is a row: the operator, the operand, what is wrong, and the wrong formula.

mod altered;
mod convolution;
mod driver;
mod elementwise;
mod linear;
mod movement;
mod normalization;
mod pool;
mod quantization;
mod reduce;
mod sampling;
mod second_order;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use flatscape_autodiff::{Collapse, EachFormula, FAMILIES, Formula, Join, Passage, Rule, Rulebook, Written, rule_for};
use flatscape_engine::Engine;
use flatscape_graph::Graph;

use super::case::{Case, Precision};
use super::exceptions::reason;
use super::golden::{self, Golden};
use super::{differences, engines};

/// One thing that is wrong.
struct Mistake {
    /// The operator that the cases for it must have; none for mistakes of the driver.
    op: &'static str,
    what: &'static str,
    fault: Fault,
}

enum Fault {
    /// The formula of one operand.
    Operand(usize, Formula),
    /// The formula of every operand, for operators with any number of them.
    Each(EachFormula),
    /// What the operator is written as.
    Written(Written),
    /// How the cotangents of two consumers become one.
    Join(Join),
    /// How broadcasting is undone.
    Collapse(Collapse),
}

/// A wrong formula for one operand of an operator.
const fn wrong(op: &'static str, operand: usize, what: &'static str, formula: Formula) -> Mistake {
    Mistake { op, what, fault: Fault::Operand(operand, formula) }
}

/// A wrong formula for every operand of an operator.
const fn wrong_each(op: &'static str, what: &'static str, formula: EachFormula) -> Mistake {
    Mistake { op, what, fault: Fault::Each(formula) }
}

/// A wrong form in which an operator is written with others.
const fn wrongly_written(op: &'static str, what: &'static str, form: Written) -> Mistake {
    Mistake { op, what, fault: Fault::Written(form) }
}

const MISTAKES: &[&[Mistake]] = &[
    driver::MISTAKES,
    elementwise::MISTAKES,
    reduce::MISTAKES,
    linear::MISTAKES,
    convolution::MISTAKES,
    pool::MISTAKES,
    normalization::MISTAKES,
    quantization::MISTAKES,
    movement::MISTAKES,
    sampling::MISTAKES,
    second_order::MISTAKES,
];

/// `cargo test --release -p flatscape-tests every_mistake -- --nocapture` prints which case notices which mistake.
#[test]
fn every_mistake_is_noticed() {
    let mistakes: Vec<&Mistake> = MISTAKES.iter().copied().flatten().collect();
    assert!(mistakes.len() >= 250, "only {} mistakes", mistakes.len());
    let (candidates, engines) = (Candidate::all(), engines());
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, Result<String, String>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from).min(4) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(mistake) = mistakes.get(at) else { break };
                    let noticed = noticed(mistake, &candidates, &engines);
                    found.lock().expect("no thread panics").push((at, noticed));
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no thread panics");
    found.sort_by_key(|(at, _)| *at);
    let mut survivors = Vec::new();
    for (at, noticed) in found {
        let name = mistakes[at].name();
        match noticed {
            Ok(by) => println!("{name}: {by}"),
            Err(why) => survivors.push(format!("{name}: {why}")),
        }
    }
    println!("{} mistakes, {} noticed", mistakes.len(), mistakes.len() - survivors.len());
    assert!(survivors.is_empty(), "{} of {} mistakes survive:\n{}", survivors.len(), mistakes.len(), survivors.join("\n"));
}

#[test]
fn mistakes_are_told_apart_and_every_family_has_one() {
    let rows = || MISTAKES.iter().copied().flatten();
    let mut seen = BTreeSet::new();
    let twice: Vec<_> = rows().map(Mistake::name).filter(|name| !seen.insert(name.clone())).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let formulas = |rule: &Rule| matches!(rule.kind, Passage::Vjp(_) | Passage::Each(_) | Passage::Written(_));
    for (family, rules) in FAMILIES.iter().filter(|(_, rules)| rules.iter().any(formulas)) {
        assert!(rules.iter().any(|r| rows().any(|m| m.op == r.op)), "no mistake in the family {family}");
    }
}

impl Mistake {
    fn name(&self) -> String {
        match self.fault {
            Fault::Operand(operand, _) => format!("{}, operand {}: {}", self.op, operand + 1, self.what),
            Fault::Each(_) | Fault::Written(_) => format!("{}: {}", self.op, self.what),
            Fault::Join(_) | Fault::Collapse(_) => format!("driver: {}", self.what),
        }
    }

    fn book(&self) -> Rulebook {
        let book = Rulebook::standard();
        match self.fault {
            Fault::Join(join) => book.joining(join),
            Fault::Collapse(collapse) => book.collapsing(collapse),
            Fault::Written(form) => book.replacing(Rule { kind: Passage::Written(form), ..self.row() }),
            Fault::Each(formula) => book.replacing(Rule { kind: Passage::Each(formula), ..self.row() }),
            Fault::Operand(operand, formula) => {
                let Passage::Vjp(formulas) = self.row().kind else { panic!("{} has no formula for each operand", self.op) };
                let mut formulas = formulas.to_vec();
                formulas[operand] = formula;
                book.replacing(Rule { kind: Passage::Vjp(formulas.leak()), ..self.row() })
            }
        }
    }

    fn row(&self) -> Rule {
        *rule_for("", self.op).unwrap_or_else(|| panic!("{} has no rule", self.op))
    }
}

/// A case of the suite that might notice a mistake.
struct Candidate {
    name: String,
    graph: Graph,
    expectation: Expectation,
}

/// What a case compares with.
enum Expectation {
    Golden(Golden),
    Differences(Case),
}

impl Candidate {
    /// Every case, the cheap ones first.
    fn all() -> Vec<Candidate> {
        let golden = golden::all().into_iter().map(|golden| Candidate {
            name: format!("golden/{}", golden.name),
            graph: golden.graph(Precision::Single),
            expectation: Expectation::Golden(golden),
        });
        let differences = Case::all().into_iter().map(|case| Candidate {
            name: case.name.clone(),
            graph: case.graph(Precision::Single),
            expectation: Expectation::Differences(case),
        });
        golden.chain(differences).collect()
    }

    fn has(&self, op: &str) -> bool {
        op.is_empty() || self.graph.nodes().iter().any(|n| &*n.op == op)
    }

    /// The engines that have the kernels, in double precision if one has and `single` does not forbid it.
    fn ways<'e>(&self, engines: &'e [Arc<dyn Engine>], single: bool) -> Vec<(&'e dyn Engine, Precision)> {
        let (doubles, in_double) = match &self.expectation {
            Expectation::Golden(golden) => (golden.has_doubles(), golden.graph(Precision::Double)),
            Expectation::Differences(case) => (true, case.graph(Precision::Double)),
        };
        let able = |precision, graph| -> Vec<(&dyn Engine, Precision)> {
            let able = engines.iter().filter(|e| reason(e.name(), precision, &self.name, graph).is_none());
            able.map(|e| (&**e, precision)).collect()
        };
        let double = if doubles && !single { able(Precision::Double, &in_double) } else { Vec::new() };
        if double.is_empty() { able(Precision::Single, &self.graph) } else { double }
    }

    /// The case by this book.
    fn check(&self, book: &Rulebook, (engine, precision): (&dyn Engine, Precision)) -> Result<(), String> {
        let run = || match &self.expectation {
            Expectation::Golden(golden) => golden::check(book, golden, &golden.graph(precision), engine, precision, false),
            Expectation::Differences(case) => differences::check(book, case, engine, precision),
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<String>().cloned();
            Err(said.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default())
        })
    }
}

/// Which case notices the mistake and how, or what the cases say instead.
fn noticed(mistake: &Mistake, candidates: &[Candidate], engines: &[Arc<dyn Engine>]) -> Result<String, String> {
    let book = mistake.book();
    // in double precision such operators are written out before anything else
    let single = matches!(mistake.fault, Fault::Written(_));
    let mut tried = 0;
    let mut other = BTreeSet::new();
    for candidate in candidates.iter().filter(|c| c.has(mistake.op)) {
        for way in candidate.ways(engines, single) {
            tried += 1;
            let Err(said) = candidate.check(&book, way) else { continue };
            let first = said.lines().next().unwrap_or_default();
            let noticed =
                ["is off by", "elements where", "is defective", "does not check"].iter().any(|sign| said.contains(sign));
            if !noticed {
                // an engine that cannot run what the mistake made has noticed nothing
                other.insert(first.to_owned());
            } else if candidate.check(&Rulebook::standard(), way).is_ok() {
                return Ok(format!("{} on {}: {first}", candidate.name, way.0.name()));
            } else {
                other.insert(format!("{} does not pass without it either", candidate.name));
            }
        }
    }
    Err(format!("{tried} runs pass or end otherwise {other:?}"))
}
