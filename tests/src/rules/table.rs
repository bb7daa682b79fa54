//! The table itself: no row twice, a case for every row, and everything that a rule emits has a row.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use flatscape_autodiff::{FAMILIES, Passage, RULES, Rule, coverage, rule_for, rules_table, vjp};
use flatscape_graph::{Builder, Graph, ops};

use super::case::{Case, Precision, parse};
use super::directory;
use super::program::{gradient, hessian_vector_product};

#[test]
fn no_operator_has_two_rows() {
    let mut seen = BTreeSet::new();
    let twice: Vec<&str> = RULES.iter().map(|r| r.op).filter(|op| !seen.insert(*op)).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(RULES.len(), FAMILIES.iter().map(|(_, rules)| rules.len()).sum::<usize>());
    let differentiated = RULES.iter().filter(|r| is_rule(r));
    let unknown: Vec<&str> = differentiated.map(|r| r.op).filter(|op| !ops::OPS.iter().any(|o| o.name == *op)).collect();
    assert!(unknown.is_empty(), "rules for operators that the graph does not know: {unknown:?}");
}

#[test]
fn every_rule_has_a_case() {
    let mut tested: BTreeSet<String> = Case::all().iter().flat_map(|c| operators(&c.plain())).collect();
    for graph in golden() {
        tested.extend(operators(&graph));
    }
    let rules = RULES.iter().filter(|r| is_rule(r));
    let missing: Vec<&str> = rules.map(|r| r.op).filter(|op| !tested.contains(*op)).collect();
    assert!(missing.is_empty(), "rules without a case in tests/rules or tests/golden/autograd: {missing:?}");
}

/// Differentiating twice is the same call twice: what the rules emit is of the standard domain and has a row that passes or stops.
#[test]
fn the_table_is_closed() {
    let mut emitted: BTreeMap<String, String> = BTreeMap::new();
    let cases = Case::all().into_iter().map(|c| (c.graph(Precision::Double), c.wrt(&c.graph(Precision::Double))));
    for (graph, wrt) in cases {
        let first = gradient(&graph, &wrt, false).unwrap_or_else(|e| panic!("{}: {e}", graph.name));
        let second = hessian_vector_product(&graph, &wrt).unwrap_or_else(|e| panic!("{}: {e}", graph.name));
        for result in [first, second] {
            for node in &result.nodes()[graph.nodes().len()..] {
                assert_eq!(&*node.domain, "", "{} is emitted in domain {:?}", node.op, node.domain);
                emitted.insert(node.op.to_string(), graph.name.clone());
            }
        }
    }
    let open: Vec<_> =
        emitted.iter().filter(|(op, _)| !rule_for("", op).is_some_and(|r| !matches!(r.kind, Passage::Never(_)))).collect();
    assert!(open.is_empty(), "emitted and without a rule (operator, case): {open:?}");
    assert!(emitted.len() > 40, "only {} operators are emitted; the cases do not reach the rules", emitted.len());
}

/// The page of documentation is the table, and the table has every operator of the standard.
#[test]
fn the_page_of_operators_is_the_table() {
    let path = directory("../harness/autodiff/OPERATORS.md");
    let table = rules_table();
    if std::env::var_os("FLATSCAPE_WRITE").is_some() {
        fs::write(&path, &table).expect("the page can be written");
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    let say = "harness/autodiff/OPERATORS.md is not what the table says; write it anew with\n    \
               FLATSCAPE_WRITE=1 cargo test --release -p tests the_page_of_operators";
    assert!(page == table, "{say}");
    for rule in RULES {
        assert_eq!(table.matches(&format!("\n| {} |", rule.op)).count(), 1, "{}", rule.op);
    }
    let standard = fs::read_to_string(directory("golden/operators.txt")).expect("tests/golden/operators.txt is there");
    let missing: Vec<&str> = standard.lines().filter(|op| !op.starts_with('#') && rule_for("", op).is_none()).collect();
    assert!(missing.is_empty(), "operators of the standard without a row: {missing:?}");
    assert!(standard.lines().count() > 190, "the list of the standard's operators is short");
}

/// Operators without a rule are refused by name, and only if they are in the way.
#[test]
fn refusals_name_the_operator_and_the_node() {
    let text = |line: &str| format!("g (float[2,3] x, float[2,3] w) => (y) {{ {line} y = Neg (z) }}");
    let refusal = |line: &str| {
        let graph = flatscape_graph::text::parse(&text(line)).expect("a graph");
        let (x, y) = (graph.inputs()[0], graph.outputs()[0].value);
        let b = Builder::new(graph);
        let ct = b.constant(flatscape_graph::Tensor::full(flatscape_graph::DType::F32, &[], 1.0)).id;
        vjp(&b, y, ct, &[x]).map(|found| found[0].is_some()).map_err(|e| e.in_model("m.onnx").to_string())
    };
    let unknown = "z = Mul (x, w) y0 = Det (x)";
    assert_eq!(refusal(unknown), Ok(true), "an operator off the path does not matter");
    let flat = "s = Sign (x) z = Mul (s, w)";
    assert_eq!(refusal(flat), Ok(false), "no way leads through a step");
    let computed = "m = ArgMax <axis = 0, keepdims = 0> (w) z = Slice (x, m, m, m)";
    let said = refusal(computed).expect_err("computed axes are refused");
    assert_eq!(
        said,
        "the gradient rule for `Slice` in m.onnx does not cover this use: operand 4 is computed and would have to be a constant; \
         attacks that need no gradient still run"
    );
    let unruled = "z = GridSample2 (x)";
    let said = refusal(unruled).expect_err("an unknown operator is refused");
    assert_eq!(said, "no gradient rule for `GridSample2` in m.onnx; attacks that need no gradient still run");
}

#[test]
fn coverage_tells_rules_from_steps_and_finds_the_first_refusal() {
    let text = "g (float[2,3] x) => (float[2,3] y) { a = Relu (x) b = Round (a) c = Add (a, b) d = Strange (c) e = Odd (d) y = Neg (e) }";
    let graph = flatscape_graph::text::parse(text).expect("a graph");
    let (x, y) = (graph.inputs()[0], graph.outputs()[0].value);
    let found = coverage(&graph, x, y);
    let ops: Vec<String> = found.steps.iter().map(|s| format!("{}:{}", s.op, s.verdict.word())).collect();
    assert_eq!(ops, ["Relu:rule", "Round:flat", "Add:rule", "Strange:unknown", "Odd:unknown", "Neg:rule"]);
    assert_eq!((found.count("rule"), found.count("flat"), found.count("unknown")), (3, 1, 2));
    assert!(found.connected);
    assert_eq!(found.refused().map(|e| &*e.op), Some("Strange"));
}

fn is_rule(rule: &Rule) -> bool {
    matches!(rule.kind, Passage::Vjp(_) | Passage::Each(_) | Passage::Written(_))
}

fn operators(graph: &Graph) -> Vec<String> {
    graph.nodes().iter().map(|n| n.op.to_string()).collect()
}

fn golden() -> Vec<Graph> {
    let files = fs::read_dir(directory("golden/autograd")).expect("tests/golden/autograd is there");
    let texts = files.filter_map(|f| fs::read_to_string(f.ok()?.path()).ok());
    let graph = |text: String| {
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        parse("golden", json["graph"].as_str().expect("a graph"), json["opset"].as_i64())
    };
    texts.map(graph).collect()
}
