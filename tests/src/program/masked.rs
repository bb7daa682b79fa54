//! What an audit does about gradients that mislead: it escalates by itself, transfers, follows a stated loss, draws keyed numbers, and
//! bounds margins from below.

use std::path::Path;

use flatscape_graph::{DType, Expr, onnx, text};

use super::headline::digits;
use super::{EMBEDDED, Run};
use crate::provision::flatscape;

/// An audit with the embedded engine in a folder that stays.
pub(super) fn audit(folder: &Path, model: &str, more: &[&str]) -> Run {
    let mut arguments = vec!["audit", model, "--data", "digits", "--landscapes", "0", "--out", "run"];
    arguments.extend(more);
    arguments.extend(EMBEDDED);
    let output = flatscape(folder, &arguments);
    let kept = tempfile::tempdir().expect("a folder");
    if folder.join("run").exists() {
        std::fs::rename(folder.join("run"), kept.path().join("run")).expect("a run directory");
    }
    Run { folder: kept, output }
}

fn here() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// The robust accuracies of a component, by its arguments.
fn rows(run: &Run, component: &str) -> Vec<(String, f64)> {
    let rows = run.table("results.csv");
    let own = rows.iter().filter(|r| r["component"] == component && r["metric"] == "robust_accuracy");
    own.map(|r| (r["args"].clone(), r["value"].parse().expect("a number"))).collect()
}

/// Pixels in eight levels: every gradient is zero. The audit without flags about attacks finds what an attack through the rounding finds.
#[test]
fn an_audit_escalates_by_itself_where_gradients_are_masked() {
    let folder = here();
    digits(folder.path(), DType::F32, |x| (x * 7.0).unary("Round") * (1.0 / 7.0), |_, z| z);
    let few = ["-n", "30", "--threat", "linf:0.1"];
    let own = audit(folder.path(), "net.onnx", &few);
    assert!([0, 9].contains(&own.code()), "{}", own.said());
    let said = own.said();
    assert!(said.contains("doubt[escalated]"), "{said}");
    let (before, after) =
        (own.value("net", "union", "robust_accuracy_before_escalation"), own.value("net", "union", "robust_accuracy"));
    assert!(after <= before, "{after} of {before}");
    assert!(rows(&own, "apgd-t").iter().any(|(args, _)| args.contains("via=straight-through")), "{:?}", rows(&own, "apgd-t"));
    assert_eq!(rows(&own, "spsa").len(), 1, "an attack without gradients has run");
    assert!(own.text("report.html").contains("<s>at most"), "the superseded number is struck through");
    // exit 9 says that doubts remain, and the note says the same
    assert_eq!(own.code() == 9, said.contains("not settled") || said.contains("UNRELIABLE"), "{said}");
    // the expert's command finds no more than one sample beyond it
    let expert = ["--attack", "pgd:loss=margin,steps=100,restarts=5,via=straight-through"];
    let expert = audit(folder.path(), "net.onnx", &[&few[..], &expert].concat());
    let found = rows(&expert, "pgd")[0].1;
    assert!(after <= found + 1.5 / 30.0, "{after} without flags, {found} by an expert");
    // what such an attack sees is not what is judged: without it nothing is found
    let blind = audit(folder.path(), "net.onnx", &[&few[..], &["--attack", "pgd:random-start=false"]].concat()).expect(9);
    assert!(rows(&blind, "pgd")[0].1 > found, "the gradients are zero");
}

/// Scores that say which class and nothing else: no attack has a signal. That none finds anything does not make the model robust.
#[test]
fn attacks_without_a_signal_settle_nothing() {
    let folder = here();
    let steps = |z: Expr<'_>| ((z - z.reduce("ReduceMax", &[1], true) + 0.01) * 1e6).unary("Tanh").id;
    digits(
        folder.path(),
        DType::F32,
        |x| x,
        |_, z| {
            let s = z.builder().expr(steps(z));
            s + s * s * 0.25
        },
    );
    let run = audit(folder.path(), "net.onnx", &["-n", "30", "--threat", "linf:0.01"]).expect(9);
    assert!(run.said().contains("; not settled"), "{}", run.said());
}

/// A model whose gradients are what they seem gets no such attack, and an attack that needs a remedy without work is refused.
#[test]
fn an_honest_model_is_not_escalated() {
    let folder = here();
    let run = audit(folder.path(), "digits-standard", &["-n", "8", "--threat", "linf:0.1"]);
    assert!(!run.said().contains("doubt[escalated]"), "{}", run.said());
    assert!(run.table("results.csv").iter().all(|r| !r["args"].contains("via=") && r["component"] != "spsa"));
    let via = ["-n", "8", "--threat", "linf:0.1", "--attack", "pgd:via=straight-through"];
    let refused = audit(folder.path(), "digits-standard", &via).expect(2);
    assert!(refused.said().contains("nothing in the models of this run"), "{}", refused.said());
    let unknown = audit(folder.path(), "digits-standard", &["-n", "8", "--threat", "linf:0.1", "--attack", "pgd:via=magic"]);
    assert!(unknown.expect(2).said().contains("neither a remedy nor a model"));
}

/// From a model to itself transfer is the attack itself; from another one it is weaker; from one with other classes it is refused.
#[test]
fn examples_are_transferred_from_other_models() {
    let folder = here();
    let few = ["-n", "60", "--threat", "linf:0.1", "--attack", "pgd:steps=10"];
    let own = audit(folder.path(), "digits-standard", &[&few[..], &["--transfer", "digits-standard"]].concat()).expect(0);
    let found = rows(&own, "pgd");
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].1, found[1].1, "the same attack on the same model");
    let other = audit(folder.path(), "digits-standard", &[&few[..], &["--transfer", "digits-adversarial"]].concat()).expect(0);
    let found = rows(&other, "pgd");
    assert!(found[1].0.contains("via=digits-adversarial") && found[1].1 > found[0].1, "{found:?}");
    let net = text::parse(
        "net (float[N,1,8,8] x) => (float[N,3] z) <int64[1] a = {0}, int64[1] b = {3}, int64[1] c = {1}>
        { f = Flatten(x)  z = Slice(f, a, b, c) }",
    );
    std::fs::write(folder.path().join("three.onnx"), onnx::write(&net.expect("a graph"))).expect("a file");
    let refused = audit(folder.path(), "digits-standard", &[&few[..], &["--transfer", "three.onnx"]].concat()).expect(4);
    assert!(refused.said().contains("three has 3 classes"), "{}", refused.said());
}

/// A loss from a file is what attacks without one of their own ascend.
#[test]
fn a_loss_may_come_from_a_file() {
    let folder = here();
    let loss = text::parse(
        "loss (float[N,10] logits, int64[N] label) => (float[N] loss)
        <int64 depth = {10}, float[2] values = {0, 1}, float far = {-1e9}, int64[1] last = {1}>
        { hot = OneHot <axis = 1> (label, depth, values)  off = Mul(hot, far)  others = Add(logits, off)
          rival = ReduceMax <keepdims = 0> (others, last)  own = Mul(logits, hot)  z = ReduceSum <keepdims = 0> (own, last)
          loss = Sub(rival, z) }",
    )
    .expect("a graph");
    std::fs::write(folder.path().join("margin.onnx"), onnx::write(&loss)).expect("a file");
    let few = ["-n", "60", "--threat", "linf:0.1"];
    let stated = audit(folder.path(), "digits-standard", &[&few[..], &["--attack", "pgd", "--loss", "margin.onnx"]].concat());
    let named = audit(folder.path(), "digits-standard", &[&few[..], &["--attack", "pgd:loss=margin"]].concat()).expect(0);
    let (stated, named) = (rows(&stated.expect(0), "pgd")[0].1, rows(&named, "pgd")[0].1);
    assert!((stated - named).abs() < 1.5 / 60.0, "{stated} by the file, {named} by name");
    let wrong = text::parse("loss (float[N,10] scores) => (float[N,10] loss) { loss = Neg(scores) }").expect("a graph");
    std::fs::write(folder.path().join("wrong.onnx"), onnx::write(&wrong)).expect("a file");
    let refused = audit(folder.path(), "digits-standard", &[&few[..], &["--attack", "pgd", "--loss", "wrong.onnx"]].concat());
    let refused = refused.expect(3);
    assert!(refused.said().contains("M148") && refused.said().contains("scores"), "{}", refused.said());
}

/// Verified samples are a lower bound to what attacks leave; what has no rule has no value.
#[test]
fn verified_samples_stand_beside_attacked_ones() {
    let folder = here();
    let few = ["-n", "60", "--attack", "pgd:steps=40", "--bounds"];
    let run = audit(folder.path(), "digits-standard", &[&few[..], &["--threat", "linf:0,0.002,0.1"]].concat()).expect(0);
    let table = run.table("results.csv");
    let value = |metric: &str, component: &str, threat: &str| -> f64 {
        let own = |r: &&super::Row| r["metric"] == metric && r["component"] == component && r["threat"] == threat;
        table.iter().find(own).unwrap_or_else(|| panic!("{metric} under {threat}"))["value"].parse().expect("a number")
    };
    let clean = run.value("digits-standard", "clean", "clean_accuracy");
    let certified = ["linf:0", "linf:0.002", "linf:0.1"].map(|threat| value("certified_accuracy", "bounds", threat));
    assert!((certified[0] - clean).abs() < 1.5 / 60.0, "in a ball of radius 0 the bound is the margin: {certified:?}, {clean}");
    assert!(certified[0] >= certified[1] && certified[1] > 0.3 && certified[1] >= certified[2], "{certified:?}");
    for threat in ["linf:0.002", "linf:0.1"] {
        let attacked = value("robust_accuracy", "union", threat);
        assert!(value("certified_accuracy", "bounds", threat) <= attacked, "{threat}");
        assert!(value("robust_accuracy_uint8", "union", threat) >= attacked, "{threat}");
        assert!(value("robust_accuracy_worst_class", "union", threat) <= attacked, "{threat}");
    }
    assert!(!run.said().contains("certified-broken"), "{}", run.said());
    assert!(run.text("samples.csv").lines().next().is_some_and(|header| header.contains("bounds.margin")));
    let small = ["-n", "12", "--attack", "fmn", "--bounds"];
    let other = audit(folder.path(), "digits-standard", &[&small[..], &["--threat", "l0:3"]].concat()).expect(2);
    assert!(other.said().contains("rules for linf, l2 and l1"), "{}", other.said());
    // a norm without rules has a row without a value beside those that have them
    let all = ["--threat", "linf:0.002", "--threat", "l2:0.005", "--threat", "l1:0.01", "--threat", "l0:3"];
    let all = audit(folder.path(), "digits-standard", &[&small[..], &all].concat()).expect(0).table("results.csv");
    let rows: Vec<_> = all.iter().filter(|r| r["metric"] == "certified_accuracy").collect();
    let found = |threat: &str| rows.iter().find(|r| r["threat"] == threat).unwrap_or_else(|| panic!("{threat}: {rows:?}"));
    for threat in ["linf:0.002", "l2:0.005", "l1:0.01"] {
        let certified: f64 = found(threat)["value"].parse().expect("a number");
        assert!(certified > 0.3, "{threat}: {certified}");
    }
    assert!(found("l0:3")["value"].is_empty() && found("l0:3")["flags"].contains("unsupported"), "{rows:?}");
    digits(folder.path(), DType::F32, |x| x, |_, z| z.unary("Sin"));
    let none = audit(folder.path(), "net.onnx", &[&few[..], &["--threat", "linf:0.1"]].concat());
    let table = none.table("results.csv");
    let row = table.iter().find(|r| r["metric"] == "certified_accuracy").expect("a row");
    assert!(row["value"].is_empty() && row["flags"].contains("unsupported"), "{row:?}");
}

/// A model that draws at random is judged over keyed draws: the same command gives the same bytes, and attacks see a mean.
#[test]
fn a_model_that_draws_at_random_is_judged_over_keyed_draws() {
    let folder = here();
    let noisy = |x: Expr<'_>| x.builder().op("RandomNormalLike", &[x], [("scale", 0.1f32.into())]).id;
    digits(folder.path(), DType::F32, |x| x + x.builder().expr(noisy(x)), |_, z| z);
    let few = ["-n", "40", "--threat", "linf:0.1", "--attack", "pgd:steps=10"];
    let once = audit(folder.path(), "net.onnx", &few).expect(9);
    assert!(once.said().contains("doubt[random-operator]") && !once.said().contains("doubt[not-repeatable]"), "{}", once.said());
    let again = audit(folder.path(), "net.onnx", &few).expect(9);
    assert_eq!(once.text("results.csv"), again.text("results.csv"), "draws are keyed");
    assert_eq!(once.text("samples.csv"), again.text("samples.csv"));
    let mean = audit(folder.path(), "net.onnx", &[&few[..], &["--eot", "8"]].concat()).expect(0);
    assert!(mean.said().contains("attacks ascend the mean loss over 8 draws"), "{}", mean.said());
    let single = audit(folder.path(), "net.onnx", &[&few[..], &["--eot", "1"]].concat()).expect(9);
    assert!(single.said().contains("doubt[random-operator]"), "one draw answers nothing: {}", single.said());
    let share = mean.value("net", "clean", "clean_accuracy_mean");
    assert!((share - mean.value("net", "clean", "clean_accuracy")).abs() < 0.1, "{share}");
    assert!(mean.value("net", "pgd", "robust_accuracy_mean") < share);
    let profile = audit(folder.path(), "net.onnx", &["-n", "12", "--threat", "linf:0.1", "--profile", "rand"]);
    assert!(profile.said().contains("the mean gradient over 20 draws"), "{}", profile.said());
    let probabilities = audit(folder.path(), "net.onnx", &[&few[..], &["--eot", "8:probs"]].concat()).expect(0);
    assert!(probabilities.said().contains("the mean probability over 8 draws"), "{}", probabilities.said());
    let wrong = audit(folder.path(), "net.onnx", &[&few[..], &["--eot", "8:loss"]].concat()).expect(2);
    assert!(wrong.said().contains("the one word that may follow"), "{}", wrong.said());
    // a sceptic without our random numbers judges the points over draws of the file itself
    std::fs::copy(folder.path().join("net.onnx"), mean.folder.path().join("net.onnx")).expect("a copy of the model");
    let (code, said) = super::verify::script(mean.folder.path());
    assert_eq!((code, said.contains("everything that was checked holds")), (0, true), "{said}");
    let witness = std::fs::read_dir(mean.path("witness")).expect("the folder").next().expect("a file").expect("an entry").path();
    super::verify::changed_in(&witness, |f| {
        let clean = f.tensor("x0").expect("x0").clone();
        f.0.insert("x_adv".into(), clean);
    });
    let (code, said) = super::verify::script(mean.folder.path());
    assert_eq!((code, said.contains("in more than three quarters of its draws")), (1, true), "{said}");
    // canaries are planted and judged over keyed draws, too
    let little = |x: Expr<'_>| x.builder().op("RandomNormalLike", &[x], [("scale", 0.003f32.into())]).id;
    digits(folder.path(), DType::F32, |x| x + x.builder().expr(little(x)), |_, z| z);
    let planted = ["-n", "12", "--threat", "linf:0.1", "--attack", "pgd:steps=10", "--canaries", "--eot", "4"];
    let (once, again) = (audit(folder.path(), "net.onnx", &planted), audit(folder.path(), "net.onnx", &planted));
    assert_eq!(once.text("results.csv"), again.text("results.csv"), "canaries are keyed");
    let found =
        once.table("results.csv").iter().find(|r| r["metric"] == "canary_found").map(|r| (r["value"].clone(), r["n"].clone()));
    let (value, n) = found.unwrap_or_else(|| panic!("no canary: {}", once.said()));
    assert!(n.parse::<u64>().expect("a number") >= 3 && value.parse::<f64>().expect("a share") > 0.5, "{value} of {n}");
    // a model that draws nothing
    let still = audit(folder.path(), "digits-standard", &[&few[..], &["--eot", "4"]].concat()).expect(0);
    assert!(still.said().contains("it has no effect"), "{}", still.said());
}
