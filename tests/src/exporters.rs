//! Classifiers in the forms that exporters write when nobody asks for another one: scores as maps, arrays and columns, labels beside
//! them, support vectors, one number for two classes, decision trees without an opset, 8-bit arithmetic. The models are classifiers by
//! the nearest mean, so that what they answer is computed here: score k is m_k·x − |m_k|²/2.

use std::path::Path;

use flatscape_engine::CompileOptions;
use flatscape_graph::{Tensor, normalize, onnx};
use flatscape_intake::data::{Dataset, Request};

use crate::cases::clean;
use crate::program::table;
use crate::provision::{flatscape, onnx_runtime, onnx_runtime_library};
use crate::wire::{Data, Model, Value};

/// Digits of some classes.
struct Digits {
    x: Vec<Vec<f32>>,
    y: Vec<i64>,
    classes: Vec<i64>,
}

impl Digits {
    /// The first images of these classes that have a white pixel.
    fn of(classes: &[i64]) -> Digits {
        let all = Dataset::load(&Request::new("digits")).expect("digits");
        let all = all.batch(0..300);
        let pixels = all.x.to_vec::<f32>().expect("floats");
        let wanted = |(x, y): &(&[f32], &i64)| classes.contains(y) && x.contains(&1.0);
        let (x, y) = pixels.chunks(64).zip(&all.y).filter(wanted).map(|(x, y)| (x.to_vec(), *y)).unzip();
        Digits { x, y, classes: classes.to_vec() }
    }

    /// `data.npz` in a folder.
    fn write(&self, folder: &Path) {
        let flat: Vec<f32> = self.x.iter().flatten().copied().collect();
        let images = ndarray::Array4::from_shape_vec((self.x.len(), 1, 8, 8), flat).expect("as many");
        let mut data = ndarray_npy::NpzWriter::new(std::fs::File::create(folder.join("data.npz")).expect("a file"));
        data.add_array("x", &images).expect("images");
        data.add_array("y", &ndarray::Array1::from_vec(self.y.clone())).expect("labels");
        data.finish().expect("a file");
    }

    /// The mean of each class, in steps of 1/64.
    fn means(&self) -> Vec<Vec<f32>> {
        let mean = |class: &i64| {
            let own: Vec<&Vec<f32>> = self.x.iter().zip(&self.y).filter(|(_, y)| *y == class).map(|(x, _)| x).collect();
            let sum = |i: usize| own.iter().map(|x| x[i]).sum::<f32>() / own.len() as f32;
            (0..64).map(|i| (64.0 * sum(i)).round() / 64.0).collect()
        };
        self.classes.iter().map(mean).collect()
    }

    /// Which part of the images an answer, the place of a class, is right on.
    fn rate(&self, answer: impl Fn(&[f32]) -> usize) -> f64 {
        let right = self.x.iter().zip(&self.y).filter(|(x, y)| self.classes[answer(x)] == **y).count();
        right as f64 / self.y.len() as f64
    }
}

fn bias(mean: &[f32]) -> f32 {
    -mean.iter().map(|v| v * v).sum::<f32>() / 2.0
}

fn score(mean: &[f32], x: &[f32]) -> f32 {
    mean.iter().zip(x).map(|(m, x)| m * x).sum::<f32>() + bias(mean)
}

/// The place of the first of the largest.
fn largest<T: PartialOrd>(scores: &[T]) -> usize {
    (1..scores.len()).fold(0, |best, k| if scores[k] > scores[best] { k } else { best })
}

fn nearest(means: &[Vec<f32>], x: &[f32]) -> usize {
    largest(&means.iter().map(|m| score(m, x)).collect::<Vec<_>>())
}

/// A file of `ai.onnx.ml` that takes rows of 64 pixels.
fn learner() -> Model {
    Model::new().opset("ai.onnx.ml", 1).input("X", "float[N,64]")
}

/// `label` and `scores` of a linear classifier.
fn linear(digits: &Digits, means: &[Vec<f32>], post: &str) -> Model {
    let weights: Vec<f32> = means.iter().flatten().copied().collect();
    let biases: Vec<f32> = means.iter().map(|m| bias(m)).collect();
    let attributes = [
        ("coefficients", Value::Floats(&weights)),
        ("intercepts", Value::Floats(&biases)),
        ("classlabels_ints", Value::Ints(&digits.classes)),
        ("post_transform", Value::Text(post)),
    ];
    learner().node_of("ai.onnx.ml:LinearClassifier", &["X"], &["label", "scores"], &attributes)
}

/// `label` and `scores` of support vectors, one for each class: its mean. The score of a pair is the difference of two scores.
fn support_vectors(digits: &Digits, means: &[Vec<f32>], probable: bool) -> Model {
    let k = means.len();
    let vectors: Vec<f32> = means.iter().flatten().copied().collect();
    let coefficients: Vec<f32> = (0..k - 1).flat_map(|r| (0..k).map(move |c| if r >= c { 1.0 } else { -1.0 })).collect();
    let rho: Vec<f32> = (0..k).flat_map(|i| (i + 1..k).map(move |j| bias(&means[i]) - bias(&means[j]))).collect();
    let pairs = rho.len();
    let (each, slopes, shifts) = (vec![1; k], vec![-1.0; pairs], vec![0.0; pairs]);
    let mut attributes = vec![
        ("kernel_type", Value::Text("LINEAR")),
        ("kernel_params", Value::Floats(&[0.0, 0.0, 0.0])),
        ("support_vectors", Value::Floats(&vectors)),
        ("vectors_per_class", Value::Ints(&each)),
        ("coefficients", Value::Floats(&coefficients)),
        ("rho", Value::Floats(&rho)),
        ("classlabels_ints", Value::Ints(&digits.classes)),
    ];
    if probable {
        attributes.extend([("prob_a", Value::Floats(&slopes)), ("prob_b", Value::Floats(&shifts))]);
    }
    learner().node_of("ai.onnx.ml:SVMClassifier", &["X"], &["label", "scores"], &attributes)
}

fn as_array(model: Model, classes: usize) -> Model {
    model.output("label", "int64[N]").output("scores", &format!("float[N,{classes}]"))
}

fn as_map(model: Model, digits: &Digits) -> Model {
    let labels = [("classlabels_int64s", Value::Ints(&digits.classes))];
    model.node_of("ai.onnx.ml:ZipMap", &["scores"], &["map"], &labels).output("label", "int64[N]").sequence_output("map")
}

fn as_columns(mut model: Model, digits: &Digits) -> Model {
    model = model.output("label", "int64[N]").tensor("flat", &[1], Data::Int(&[-1])).tensor("axis", &[1], Data::Int(&[1]));
    for (k, class) in (0..).zip(&digits.classes) {
        let [from, to, column, name] = ["from", "to", "column", "i"].map(|n| format!("{n}{class}"));
        model = model.tensor(&from, &[1], Data::Int(&[k])).tensor(&to, &[1], Data::Int(&[k + 1]));
        model = model.node("Slice", &["scores", &from, &to, "axis"], &column).node("Reshape", &[&column, "flat"], &name);
        model = model.output(&name, "float[N]");
    }
    model
}

/// The clean accuracy of a model on some digits, and what was said; or the id and the words of its refusal.
fn judged(model: &Model, digits: &Digits) -> Result<(f64, String), (String, String)> {
    let folder = tempfile::tempdir().expect("a folder");
    digits.write(folder.path());
    std::fs::write(folder.path().join("net.onnx"), model.bytes()).expect("a model");
    let judged = clean(folder.path(), "net.onnx", "data.npz", &[("layout", "flat")]);
    judged.map(|(rate, said)| (rate, said.join("\n"))).map_err(|refusal| (refusal.id(), refusal.to_string()))
}

#[test]
fn scores_are_found_as_map_as_array_and_as_columns() {
    for classes in [&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9][..], &[3, 8]] {
        let digits = Digits::of(classes);
        let means = digits.means();
        let right = digits.rate(|x| nearest(&means, x));
        assert!(right > 0.85, "{right}");
        for post in ["NONE", "SOFTMAX"] {
            let model = || linear(&digits, &means, post);
            for (model, says) in [
                (as_map(model(), &digits), "holds a map"),
                (as_array(model(), classes.len()), "\"scores\" answers"),
                (as_columns(model(), &digits), "are the columns of one table of scores"),
            ] {
                let (rate, said) = judged(&model, &digits).expect("accepted");
                assert_eq!(rate, right, "{classes:?} {post}: {said}");
                assert!(said.contains(says) && said.contains("names the class of the largest score"), "{said}");
            }
        }
    }
}

/// What decision trees are alone in a file, nobody imports the standard operators for.
#[test]
fn files_without_standard_operators_need_no_opset_of_them() {
    let digits = Digits::of(&[0, 1]);
    // class 1 where the middle of the image is bright
    let lists: &[(&str, &[i64])] = &[
        ("nodes_treeids", &[0, 0, 0]),
        ("nodes_nodeids", &[0, 1, 2]),
        ("nodes_featureids", &[27, 0, 0]),
        ("nodes_truenodeids", &[1, 0, 0]),
        ("nodes_falsenodeids", &[2, 0, 0]),
        ("class_treeids", &[0, 0]),
        ("class_nodeids", &[1, 2]),
        ("class_ids", &[0, 0]),
        ("classlabels_int64s", &[0, 1]),
    ];
    let mut attributes: Vec<(&str, Value)> = lists.iter().map(|(name, list)| (*name, Value::Ints(list))).collect();
    attributes.push(("nodes_values", Value::Floats(&[0.5, 0.0, 0.0])));
    attributes.push(("class_weights", Value::Floats(&[-1.0, 1.0])));
    attributes.push(("nodes_modes", Value::Texts(&["BRANCH_LEQ", "LEAF", "LEAF"])));
    attributes.push(("post_transform", Value::Text("LOGISTIC")));
    let tree = learner().node_of("ai.onnx.ml:TreeEnsembleClassifier", &["X"], &["label", "scores"], &attributes);
    let mut model = as_map(tree, &digits);
    model.opsets.retain(|(domain, _)| !domain.is_empty());
    let (rate, said) = judged(&model, &digits).expect("accepted");
    assert_eq!(rate, digits.rate(|x| usize::from(x[27] > 0.5)), "{said}");
    assert!(said.contains("names no opset of them") && said.contains("its gradient is zero everywhere"), "{said}");
    let model = model.node("Identity", &["label"], "again").output("again", "int64[N]");
    assert_eq!(judged(&model, &digits).expect_err("an operator without an opset").0, "M014");
}

/// ONNX Runtime gives −s and s for the classes 0 and 1, where s above 0 is a vote for class 0.
#[test]
fn support_vectors_of_two_classes_choose_what_their_label_names() {
    let digits = Digits::of(&[3, 8]);
    let means = digits.means();
    let right = digits.rate(|x| usize::from(score(&means[0], x) - score(&means[1], x) <= 0.0));
    let model = || support_vectors(&digits, &means, false);
    for model in [as_array(model(), 2), as_map(model(), &digits), as_columns(model(), &digits)] {
        let (rate, said) = judged(&model, &digits).expect("accepted");
        assert_eq!(rate, right, "{said}");
        assert!(rate > 0.9 && said.contains("their negatives stand for them"), "{said}");
    }
    // a minus that the exporter has written already
    let turned = model().node("Neg", &["scores"], "turned").output("label", "int64[N]").output("turned", "float[N,2]");
    assert_eq!(judged(&turned, &digits).expect("accepted").0, right);
}

/// With the probability σ(zᵢ − zⱼ) for class i in the pair of i and j, the probabilities of classes are those of a softmax of z.
#[test]
fn probabilities_of_support_vectors_are_coupled() {
    for classes in [&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9][..], &[0, 1, 2], &[3, 8]] {
        let digits = Digits::of(classes);
        let means = digits.means();
        let model = as_array(support_vectors(&digits, &means, true), classes.len());
        let (rate, said) = judged(&model, &digits).expect("accepted");
        assert_eq!(rate, digits.rate(|x| nearest(&means, x)), "{said}");
        let file = onnx::read(&model.bytes()).expect("read");
        let graph = normalize::normalize(&file.graph, file.opset, &normalize::Options::default()).expect("normalised");
        let engine = onnx_runtime();
        let executable = engine.compile(&graph, &CompileOptions::default()).expect("compiled");
        let few = &digits.x[..20];
        let x = executable.upload(&Tensor::new(&[20, 64], few.concat()).expect("rows")).expect("uploaded");
        let found = executable.run(&[&x]).expect("run")[1].host().expect("on the host").to_f64();
        for (x, found) in few.iter().zip(found.chunks(classes.len())) {
            let powers: Vec<f64> = means.iter().map(|m| f64::from(score(m, x)).exp()).collect();
            for (power, found) in powers.iter().zip(found) {
                let expected = power / powers.iter().sum::<f64>();
                assert!((found - expected).abs() < 2e-4, "{classes:?}: {found} is not {expected}");
            }
        }
    }
}

/// The operator by which exporters of nearest neighbours measure distances when they are asked to.
#[test]
fn distances_of_rows_are_an_operator() {
    let digits = Digits::of(&[0, 1, 2, 3]);
    let means = digits.means();
    let metric = [("metric", Value::Text("euclidean"))];
    let model = learner()
        .opset("com.microsoft", 1)
        .tensor("means", &[4, 64], Data::Float(&means.concat()))
        .node_of("com.microsoft:CDist", &["X", "means"], &["distances"], &metric)
        .node("Neg", &["distances"], "scores")
        .output("scores", "float[N,4]");
    let (rate, said) = judged(&model, &digits).expect("accepted");
    assert_eq!(rate, digits.rate(|x| nearest(&means, x)), "{said}");
}

#[test]
fn scores_of_pairs_are_not_scores_of_classes() {
    let digits = Digits::of(&[0, 1, 2, 3]);
    let (id, what) =
        judged(&as_array(support_vectors(&digits, &digits.means(), false), 6), &digits).expect_err("six scores, four classes");
    assert!(id == "M060" && what.contains("one for each pair of classes"), "{what}");
    // three pairs of three classes: only the label shows it
    let digits = Digits::of(&[0, 1, 2]);
    let (id, what) =
        judged(&as_array(support_vectors(&digits, &digits.means(), false), 3), &digits).expect_err("scores of pairs");
    assert!(id == "M061" && what.contains("does not name the class of the largest score"), "{what}");
}

/// One number, above 0 for the second class, with the label beside it or with nothing beside it but a label of text.
#[test]
fn one_number_decides_between_the_two_classes_of_a_classifier() {
    let digits = Digits::of(&[3, 8]);
    let means = digits.means();
    let right = digits.rate(|x| nearest(&means, x));
    let difference: Vec<f32> = means[1].iter().zip(&means[0]).map(|(b, a)| b - a).collect();
    let shift = bias(&means[1]) - bias(&means[0]);
    let weights: Vec<f32> = difference.iter().map(|v| -v).chain(difference.iter().copied()).collect();
    for text in [false, true] {
        let names =
            if text { ("classlabels_strings", Value::Texts(&["3", "8"])) } else { ("classlabels_ints", Value::Ints(&[3, 8])) };
        let attributes = [("coefficients", Value::Floats(&weights)), ("intercepts", Value::Floats(&[-shift, shift])), names];
        let model = learner()
            .node_of("ai.onnx.ml:LinearClassifier", &["X"], &["label", "raw"], &attributes)
            .tensor("second", &[1], Data::Int(&[1]))
            .node("ai.onnx.ml:ArrayFeatureExtractor", &["raw", "second"], "decision")
            .output("label", if text { "string[N]" } else { "int64[N]" })
            .output("decision", "float[N,1]");
        let (rate, said) = judged(&model, &digits).expect("accepted");
        assert_eq!(rate, right, "{said}");
        assert!(said.contains("decides between the two classes of the classifier"), "{said}");
    }
}

/// The names of classes from the list out of which a label is taken.
#[test]
fn labels_that_are_taken_from_a_list_name_the_classes() {
    let digits = Digits::of(&[3, 8]);
    let means = digits.means();
    let weights: Vec<f32> = (0..64).flat_map(|i| [means[0][i], means[1][i]]).collect();
    let model = |classes: Data, ty: &str| {
        learner()
            .tensor("w", &[64, 2], Data::Float(&weights))
            .tensor("b", &[2], Data::Float(&[bias(&means[0]), bias(&means[1])]))
            .tensor("classes", &[2], classes)
            .tensor("flat", &[1], Data::Int(&[-1]))
            .node("Gemm", &["X", "w", "b"], "scores")
            .node_with("ArgMax", &["scores"], "winner", &[("axis", 1)])
            .node("ai.onnx.ml:ArrayFeatureExtractor", &["classes", "winner"], "taken")
            .node("Reshape", &["taken", "flat"], "label")
            .output("label", ty)
            .output("scores", "float[N,2]")
    };
    let numbers = model(Data::Int(&[3, 8]), "int64[N]");
    let (rate, said) = judged(&numbers, &digits).expect("accepted");
    assert_eq!(rate, digits.rate(|x| nearest(&means, x)), "{said}");
    for (model, names) in [
        (numbers, ["3", "8"]),
        (model(Data::Int32(&[3, 8]), "int64[N]"), ["3", "8"]),
        (model(Data::Text(&["cat", "dog"]), "string[N]"), ["cat", "dog"]),
    ] {
        assert_eq!(onnx::read(&model.bytes()).expect("read").class_labels, names);
    }
}

/// The step of pixels, of weights and of scores in 8-bit models: powers of two, so that every product is exact.
const STEPS: [f32; 3] = [1.0 / 16.0, 1.0 / 64.0, 1.0 / 8.0];

/// The three forms of `onnxruntime.quantization`, and the place of the class that each chooses.
fn quantised(form: &str, means: &[Vec<f32>]) -> Model {
    let integers: Vec<i8> = (0..64).flat_map(|i| means.iter().map(move |m| (m[i] / STEPS[1]).round() as i8)).collect();
    let unit = STEPS[0] * STEPS[1];
    let biases: Vec<i32> = means.iter().map(|m| (bias(m) / unit).round() as i32).collect();
    let model = Model::new()
        .opset("com.microsoft", 1)
        .input("X", "float[N,64]")
        .tensor("xs", &[], Data::Float(&STEPS[..1]))
        .tensor("ws", &[], Data::Float(&STEPS[1..2]))
        .tensor("bs", &[], Data::Float(&[unit]))
        .tensor("ys", &[], Data::Float(&STEPS[2..]))
        .tensor("xz", &[], Data::Uint8(&[0]))
        .tensor("wz", &[], Data::Int8(&[0]))
        .tensor("yz", &[], Data::Uint8(&[128]))
        .tensor("w", &[64, means.len()], Data::Int8(&integers))
        .tensor("b", &[means.len()], Data::Int32(&biases));
    let model = match form {
        "QDQ" => model
            .node("QuantizeLinear", &["X", "xs", "xz"], "xq")
            .node("DequantizeLinear", &["xq", "xs", "xz"], "x")
            .node("DequantizeLinear", &["w", "ws", "wz"], "wf")
            .node("DequantizeLinear", &["b", "bs"], "bf")
            .node("Gemm", &["x", "wf", "bf"], "z")
            .node("QuantizeLinear", &["z", "ys", "yz"], "yq")
            .node("DequantizeLinear", &["yq", "ys", "yz"], "scores"),
        "QOperator" => model
            .node("QuantizeLinear", &["X", "xs", "xz"], "xq")
            .node("com.microsoft:QGemm", &["xq", "xs", "xz", "w", "ws", "wz", "b", "ys", "yz"], "yq")
            .node("DequantizeLinear", &["yq", "ys", "yz"], "scores"),
        _ => model
            .node_of("DynamicQuantizeLinear", &["X"], &["xq", "xr", "xo"], &[])
            .node("MatMulInteger", &["xq", "w", "xo", "wz"], "zi")
            .node_with("Cast", &["zi"], "zf", &[("to", 1)])
            .node("Mul", &["xr", "ws"], "r")
            .node("Mul", &["zf", "r"], "z")
            .node("DequantizeLinear", &["b", "bs"], "bf")
            .node("Add", &["z", "bf"], "scores"),
    };
    model.output("scores", &format!("float[N,{}]", means.len()))
}

/// What such a model chooses, computed in integers.
fn quantised_choice(form: &str, means: &[Vec<f32>], x: &[f32]) -> usize {
    let unit = STEPS[0] * STEPS[1];
    // the range of every image is [0,1], which is 255 steps
    let pixels: Vec<f64> = match form {
        "dynamic" => x.iter().map(|v| f64::from((v * 255.0).round_ties_even()) / 255.0).collect(),
        _ => x.iter().map(|v| f64::from((v / STEPS[0]).round_ties_even() * STEPS[0])).collect(),
    };
    let z = |m: &Vec<f32>| {
        let products: f64 = m.iter().zip(&pixels).map(|(m, x)| f64::from(*m) * x).sum();
        let z = products + f64::from((bias(m) / unit).round() * unit);
        if form == "dynamic" { z } else { (z / f64::from(STEPS[2])).round_ties_even().clamp(-128.0, 127.0) }
    };
    largest(&means.iter().map(z).collect::<Vec<_>>())
}

/// The forms of 8-bit models, with classes in another order than that of the data and their numbers beside the model: the clean accuracy
/// is that of integer arithmetic, and what was attacked along a surrogate gradient says so.
#[test]
fn quantised_models_answer_as_integers_do_and_their_gradient_is_a_surrogate() {
    let digits = Digits::of(&[4, 0, 1, 9, 7, 2, 8, 3, 6, 5]);
    let means = digits.means();
    let library = onnx_runtime_library().to_string_lossy().into_owned();
    for form in ["QDQ", "QOperator", "dynamic"] {
        let folder = tempfile::tempdir().expect("a folder");
        digits.write(folder.path());
        std::fs::write(folder.path().join("net.onnx"), quantised(form, &means).bytes()).expect("a model");
        let numbers: Vec<String> = digits.classes.iter().map(i64::to_string).collect();
        std::fs::write(folder.path().join("labels.txt"), numbers.join("\n")).expect("labels");
        let asked = "audit net.onnx --data data.npz --layout flat --threat linf:0.1 --attack pgd:steps=5 --landscapes 0 --out run --engine ort";
        let output = flatscape(folder.path(), &asked.split(' ').chain(["--ort-lib", &library]).collect::<Vec<_>>());
        let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        let rows =
            std::fs::read_to_string(folder.path().join("run/results.csv")).unwrap_or_else(|e| panic!("{form}: {e}: {text}"));
        let rows = table(&rows);
        let row =
            |metric: &str| rows.iter().find(|r| r["metric"] == metric).unwrap_or_else(|| panic!("{form}: no {metric}: {text}"));
        let value = |metric: &str| row(metric)["value"].parse::<f64>().expect("a number");
        assert_eq!(value("clean_accuracy"), digits.rate(|x| quantised_choice(form, &means, x)), "{form}: {text}");
        assert!(value("clean_accuracy") > 0.85 && value("robust_accuracy") < value("clean_accuracy"), "{form}: {text}");
        assert!(row("robust_accuracy")["flags"].contains("quantiser"), "{form}: {text}");
        assert!(text.contains("differentiated by a surrogate"), "{form}: {text}");
    }
}
