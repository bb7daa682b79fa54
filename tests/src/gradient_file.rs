//! `flatscape grad` as somebody else sees it: a command that writes a file, and a file that an engine runs. Checked against
//! PyTorch in float64, closed forms and central differences; what stands in the file is what the command line documents.

use std::path::{Path, PathBuf};

use flatscape_engine::{CompileOptions, Engine};
use flatscape_graph::{DType, Tensor, onnx};
use ndarray::{Array1, ArrayD, Axis};
use ndarray_npy::NpzReader;
use tempfile::TempDir;

use crate::provision::{engines, flatscape, root, tract};
use crate::wire::{Data, Model};

/// A gradient file that the program wrote.
struct File {
    folder: TempDir,
    model: onnx::ModelFile,
}

/// Runs `flatscape grad` on a model (a name or a path) with more arguments.
fn written(model: &str, arguments: &[&str]) -> File {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = flatscape(folder.path(), &[&["grad", model, "-o", "g.onnx"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{model} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let model = onnx::read(&std::fs::read(folder.path().join("g.onnx")).expect("the file was written")).expect("an ONNX file");
    File { folder, model }
}

impl File {
    fn inputs(&self) -> Vec<String> {
        let graph = &self.model.graph;
        graph.inputs().iter().map(|&i| format!("{} {}", graph.value(i).name, graph.value(i).ty)).collect()
    }

    fn outputs(&self) -> Vec<String> {
        let graph = &self.model.graph;
        graph.outputs().iter().map(|o| format!("{} {}", o.name, graph.value(o.value).ty)).collect()
    }

    fn run(&self, engine: &dyn Engine, inputs: &[&Tensor]) -> Results {
        let graph = &self.model.graph;
        let executable = engine.compile(graph, &CompileOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", engine.name()));
        let buffers: Vec<_> = inputs.iter().map(|t| executable.upload(t).expect("uploaded")).collect();
        let outputs = executable.run(&buffers.iter().collect::<Vec<_>>()).unwrap_or_else(|e| panic!("{}: {e}", engine.name()));
        let names = graph.outputs().iter().map(|o| o.name.to_string());
        Results(names.zip(outputs.iter().map(|o| o.host().expect("on the host"))).collect())
    }
}

/// Outputs by name.
struct Results(Vec<(String, Tensor)>);

impl Results {
    fn get(&self, name: &str) -> Vec<f64> {
        let names: Vec<&String> = self.0.iter().map(|(n, _)| n).collect();
        self.0.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("{name} is not among {names:?}")).1.to_f64()
    }
}

/// A network with PyTorch's values for three images, in float64.
struct Golden {
    name: &'static str,
    image: ArrayD<f32>,
    label: Vec<i64>,
    logits: ArrayD<f64>,
    loss: Vec<f64>,
    gradient: ArrayD<f64>,
}

fn golden() -> Vec<Golden> {
    let load = |name| {
        let path = nets().join(name).with_extension("npz");
        let mut archive = NpzReader::new(std::fs::File::open(path).expect("golden values")).expect("an archive");
        let loss: Array1<f64> = archive.by_name("loss").expect("loss");
        let label: Array1<i64> = archive.by_name("label").expect("label");
        Golden {
            name,
            image: archive.by_name("image").expect("image"),
            label: label.to_vec(),
            logits: archive.by_name("logits").expect("logits"),
            loss: loss.to_vec(),
            gradient: archive.by_name("gradient").expect("gradient"),
        }
    };
    ["lenet", "ddnet", "rn18", "rn32"].map(load).into()
}

impl Golden {
    fn file(&self, arguments: &[&str]) -> File {
        written(&nets().join(self.name).with_extension("onnx").to_string_lossy(), arguments)
    }

    /// The rows of a batch of `n`: the images in turn, beginning with another one for every size.
    fn rows(&self, n: usize) -> Vec<usize> {
        (0..n).map(|i| (i + n) % self.label.len()).collect()
    }
}

fn nets() -> PathBuf {
    root().join("tests/golden/nets")
}

#[test]
fn gradients_are_those_of_pytorch_at_any_batch() {
    for net in golden() {
        let file = net.file(&[]);
        let shape = net.image.shape()[1..].iter().map(|n| format!(",{n}")).collect::<String>();
        assert_eq!(file.inputs(), [format!("image float[N{shape}]"), "label int64[N]".into()], "{}", net.name);
        let outputs = ["logits float[N,10]".into(), "loss float[N]".into(), format!("grad_image float[N{shape}]")];
        assert_eq!(file.outputs(), outputs, "{}", net.name);
        for engine in engines() {
            for n in [1, 3, 8] {
                let rows = net.rows(n);
                let x = Tensor::from(net.image.select(Axis(0), &rows));
                let y = Tensor::ints(&rows.iter().map(|&r| net.label[r]).collect::<Vec<_>>());
                let found = file.run(engine.as_ref(), &[&x, &y]);
                let expected = |all: &ArrayD<f64>| all.select(Axis(0), &rows).iter().copied().collect::<Vec<_>>();
                let what = |part: &str| format!("{part} of {} on {}, batch {n}", net.name, engine.name());
                close(&found.get("logits"), &expected(&net.logits), n, 1e-5, &what("logits"));
                let loss: Vec<f64> = rows.iter().map(|&r| net.loss[r]).collect();
                close(&found.get("loss"), &loss, 1, 1e-5, &what("loss"));
                close(&found.get("grad_image"), &expected(&net.gradient), n, 1e-5, &what("gradient"));
            }
        }
    }
}

/// The cotangent of the cross-entropy is softmax − one-hot, that of the log-likelihood softmax, that of a logit one-hot.
#[test]
fn other_scalars_and_cotangents_are_combinations_of_the_same_rows() {
    for net in golden().into_iter().filter(|n| ["lenet", "rn32"].contains(&n.name)) {
        let n = net.label.len();
        let x = Tensor::from(net.image.clone());
        let probabilities: Vec<Vec<f64>> =
            net.logits.outer_iter().map(|z| softmax(&z.iter().copied().collect::<Vec<_>>())).collect();
        let one_hot = |row: usize, k: usize| f64::from(u8::from(net.label[row] as usize == k));
        let cotangent: Vec<f32> = (0..10 * n).map(|i| (probabilities[i / 10][i % 10] - one_hot(i / 10, i % 10)) as f32).collect();
        let cotangent = Tensor::new(&[n, 10], cotangent).expect("a tensor");
        let expected: Vec<f64> = net.gradient.iter().copied().collect();

        let by_cotangent = net.file(&["--of", "cotangent"]);
        assert_eq!(by_cotangent.inputs()[1], "cotangent float[N,10]");
        assert_eq!(by_cotangent.model.graph.outputs().len(), 2, "there is no loss: {:?}", by_cotangent.outputs());
        let log_likelihood = net.file(&["--of", "logp"]);
        assert_eq!((log_likelihood.inputs().len(), log_likelihood.outputs().len()), (1, 3));
        let logits: Vec<File> = (0..10).map(|k| net.file(&["--of", &format!("logit:{k}")])).collect();
        for engine in engines() {
            let what = |part: &str| format!("{part} of {} on {}", net.name, engine.name());
            let found = by_cotangent.run(engine.as_ref(), &[&x, &cotangent]).get("grad_image");
            close(&found, &expected, n, 1e-5, &what("cotangent"));

            let found = log_likelihood.run(engine.as_ref(), &[&x]);
            let sums: Vec<f64> = net.logits.outer_iter().map(|z| z.iter().map(|z| z.exp()).sum::<f64>().ln()).collect();
            close(&found.get("loss"), &sums, 1, 1e-5, &what("log-likelihood"));
            // ∇logp = Σ_k p_k ∇z_k, and ∇loss = ∇logp − ∇z_y
            let size = expected.len() / n;
            let of_logits: Vec<Vec<f64>> = logits.iter().map(|f| f.run(engine.as_ref(), &[&x]).get("grad_image")).collect();
            let mixed = |i: usize| (0..10).map(|k| probabilities[i / size][k] * of_logits[k][i]).sum::<f64>();
            let mixed: Vec<f64> = (0..expected.len()).map(mixed).collect();
            close(&found.get("grad_image"), &mixed, n, 2e-5, &what("gradient of the log-likelihood"));
            let difference: Vec<f64> = (0..mixed.len()).map(|i| mixed[i] - of_logits[net.label[i / size] as usize][i]).collect();
            close(&difference, &expected, n, 5e-5, &what("gradients of the logits"));
        }
    }
}

/// The models that come with the program, against central differences of the loss in their own file.
#[test]
fn gradients_of_the_digits_models_are_slopes_of_their_loss() {
    let mut archive =
        NpzReader::new(std::fs::File::open(root().join("models/digits/digits-test.npz")).expect("digits")).expect("npz");
    let images: ArrayD<u8> = archive.by_name("x").expect("x");
    let labels: Array1<i64> = archive.by_name("y").expect("y");
    let n = 60;
    let x: Vec<f32> = images.iter().take(64 * n).map(|&v| f32::from(v) / 255.0).collect();
    let y = Tensor::ints(&labels.to_vec()[..n]);
    let tensor = |x: &[f32]| Tensor::new(&[n, 1, 8, 8], x.to_vec()).expect("a tensor");
    for name in ["digits-standard", "digits-adversarial", "digits-jacobian", "digits-amsreg"] {
        let file = written(name, &[]);
        let [first, second] = engines().map(|e| file.run(e.as_ref(), &[&tensor(&x), &y]).get("grad_image"));
        close(&first, &second, n, 1e-5, &format!("{name} on both engines"));
        let engine = tract();
        let h = 2e-3f32;
        let direction: Vec<f32> = (0..x.len()).map(|i| if ((i * 2654435761) >> 7) & 1 == 0 { h } else { -h }).collect();
        let moved = |sign: f32| {
            let x: Vec<f32> = x.iter().zip(&direction).map(|(x, d)| x + sign * d).collect();
            file.run(engine.as_ref(), &[&tensor(&x), &y]).get("loss")
        };
        let (above, below) = (moved(1.0), moved(-1.0));
        let mut errors: Vec<f64> = (0..n)
            .map(|i| {
                let slope: f64 = (64 * i..64 * (i + 1)).map(|j| first[j] * f64::from(direction[j])).sum();
                let length: f64 = (64 * i..64 * (i + 1)).map(|j| (first[j] * f64::from(h)).abs()).sum();
                ((above[i] - below[i]) / 2.0 - slope).abs() / (length + 1e-6)
            })
            .collect();
        errors.sort_by(f64::total_cmp);
        assert!(errors[n * 3 / 4] < 0.02, "{name}: three quarters of the slopes are within {:.1e}", errors[n * 3 / 4]);
    }
}

/// A softmax at the end is cut off: the gradient is that of logits, and the file's own output stays behind them.
#[test]
fn a_softmax_is_cut_and_the_files_own_output_follows() {
    let (w, x) = (weights(48, 1.0), weights(24, 2.0));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let single: Vec<f32> = w.iter().map(|&v| v as f32).collect();
    let model = Model::new().input("pixels", "float[1,12]").output("probabilities", "float[1,4]");
    let model = model.tensor("w", &[12, 4], Data::Float(&single)).node("MatMul", &["pixels", "w"], "z");
    let model = model.node_with("Softmax", &["z"], "probabilities", &[("axis", -1)]);
    let file = written(&saved(folder.path(), &model), &[]);
    let outputs: Vec<String> = file.model.graph.outputs().iter().map(|o| o.name.to_string()).collect();
    assert_eq!(outputs, ["logits", "probabilities", "loss", "grad_pixels"]);
    assert_eq!(file.inputs(), ["pixels float[N,12]", "label int64[N]"], "a batch of 1 is freed");
    let labels = [3usize, 0];
    let z = |row: usize| -> Vec<f64> { (0..4).map(|k| (0..12).map(|j| x[12 * row + j] * w[4 * j + k]).sum()).collect() };
    let p = |row: usize| softmax(&z(row));
    let input = Tensor::new(&[2, 12], x.iter().map(|&v| v as f32).collect()).expect("a tensor");
    for engine in engines() {
        let found = file.run(engine.as_ref(), &[&input, &Tensor::ints(&[3, 0])]);
        let rows = |f: &dyn Fn(usize) -> Vec<f64>| [f(0), f(1)].concat();
        close(&found.get("logits"), &rows(&z), 2, 1e-5, "logits");
        close(&found.get("probabilities"), &rows(&p), 2, 1e-5, "probabilities");
        close(&found.get("loss"), &rows(&|row| vec![-p(row)[labels[row]].ln()]), 1, 1e-5, "loss");
        let gradient = |row: usize| -> Vec<f64> {
            let p = p(row);
            let slope = |j: usize| (0..4).map(|k| (p[k] - f64::from(u8::from(k == labels[row]))) * w[4 * j + k]).sum();
            (0..12).map(slope).collect()
        };
        close(&found.get("grad_pixels"), &rows(&gradient), 2, 1e-5, "gradient");
    }
}

/// H·v against central differences of the gradient in the same file, in float64 on a smooth network.
#[test]
fn second_order_is_the_slope_of_the_gradient() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = saved(folder.path(), &smooth(&parameters()));
    for of in ["ce", "logp", "logit:1"] {
        let file = written(&model, &["--order", "2", "--of", of]);
        assert!(file.inputs().contains(&"vector double[N,6]".to_owned()), "{:?}", file.inputs());
        assert_eq!(file.outputs().last().expect("outputs"), "hvp_x double[N,6]");
        let labels = Tensor::ints(&[0, 2, 1]);
        let v = weights(18, 0.7);
        for engine in engines() {
            let run = |x: &[f64], name: &str| {
                let (x, v) = (doubles(&[3, 6], x), doubles(&[3, 6], &v));
                let inputs: Vec<&Tensor> = if of == "ce" { vec![&x, &labels, &v] } else { vec![&x, &v] };
                file.run(engine.as_ref(), &inputs).get(name)
            };
            let x = weights(18, 0.3);
            let h = 1e-5;
            let moved = |sign: f64| x.iter().zip(&v).map(|(x, v)| x + sign * h * v).collect::<Vec<f64>>();
            let (above, below) = (run(&moved(1.0), "grad_x"), run(&moved(-1.0), "grad_x"));
            let expected: Vec<f64> = above.iter().zip(&below).map(|(a, b)| (a - b) / (2.0 * h)).collect();
            close(&run(&x, "hvp_x"), &expected, 3, 1e-7, &format!("--order 2 --of {of} on {}", engine.name()));
        }
    }
}

/// The gradient of the summed loss to every weight, against central differences of files with a changed weight.
#[test]
fn gradients_to_the_parameters_are_slopes_of_the_summed_loss() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let parameters = parameters();
    let file = written(&saved(folder.path(), &smooth(&parameters)), &["--wrt", "params"]);
    let names: Vec<String> = file.outputs();
    let gradients = ["grad_w1 double[6,5]", "grad_b1 double[5]", "grad_w2 double[5,3]", "grad_b2 double[3]"];
    assert!(gradients.iter().all(|g| names.iter().any(|n| n == g)), "{names:?}");
    assert_eq!(names.len(), 2 + gradients.len(), "{names:?}");
    let (x, y) = (doubles(&[3, 6], &weights(18, 0.3)), Tensor::ints(&[0, 2, 1]));
    let found = file.run(tract().as_ref(), &[&x, &y]);
    let h = 1e-5;
    for (which, name) in ["grad_w1", "grad_b1", "grad_w2", "grad_b2"].into_iter().enumerate() {
        let gradient = found.get(name);
        for at in [0, gradient.len() / 2, gradient.len() - 1] {
            let loss = |sign: f64| -> f64 {
                let mut changed = parameters.clone();
                changed[which][at] += sign * h;
                let file = written(&saved(folder.path(), &smooth(&changed)), &[]);
                file.run(tract().as_ref(), &[&x, &y]).get("loss").iter().sum()
            };
            let slope = (loss(1.0) - loss(-1.0)) / (2.0 * h);
            assert!((gradient[at] - slope).abs() < 1e-7, "{name}[{at}] is {}, the slope is {slope}", gradient[at]);
        }
    }
}

/// What is in the file can be run by anybody: one opset, operators of the standard domain, no local functions.
#[test]
fn files_hold_standard_operators_of_one_opset() {
    let nets = golden().into_iter().map(|n| nets().join(n.name).with_extension("onnx").to_string_lossy().into_owned());
    let models: Vec<String> = nets.chain(["digits-standard".to_owned(), "digits-amsreg".to_owned()]).collect();
    for model in &models {
        for arguments in [&["--of", "ce"][..], &["--of", "logp", "--order", "2"], &["--wrt", "params"]] {
            let file = written(model, arguments);
            assert_eq!(file.model.opset, 18, "{model} {arguments:?}");
            let foreign: Vec<_> = file.model.graph.nodes().iter().filter(|n| !n.domain.is_empty()).map(|n| &n.op).collect();
            assert!(foreign.is_empty(), "{model} {arguments:?}: {foreign:?}");
            assert!(file.folder.path().join("g.onnx").metadata().expect("a file").len() > 0);
            file.model.graph.check().unwrap_or_else(|e| panic!("{model} {arguments:?}: {e}"));
            for &input in file.model.graph.inputs() {
                let batch = file.model.graph.shape(input).and_then(|s| s.first()).expect("a batch");
                assert_eq!(batch.fixed(), None, "{model} {arguments:?}: the batch is free");
            }
        }
    }
}

/// Any value of the graph by its name: a vector with a cotangent of its shape, a number per sample by itself, one number in all
/// as it is. x → tanh(x·w1 + b1) = c has closed forms.
#[test]
fn values_inside_the_graph_are_differentiated_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let p = parameters();
    let model = smooth(&p).node_with("ReduceSum", &["c"], "all", &[("keepdims", 0)]).output("all", "double[]");
    let axes = model.tensor("axes", &[1], Data::Int(&[1]));
    let model = saved(
        folder.path(),
        &axes.node_with("ReduceSum", &["c", "axes"], "energy", &[("keepdims", 1)]).output("energy", "double[N,1]"),
    );
    let x = weights(18, 0.3);
    let hidden = |i: usize, k: usize| ((0..6).map(|j| x[6 * i + j] * p[0][5 * j + k]).sum::<f64>() + p[1][k]).tanh();
    let input = doubles(&[3, 6], &x);

    let vector = written(&model, &["--of", "c"]);
    assert_eq!(vector.inputs(), ["x double[N,6]", "cotangent double[N,5]"]);
    assert_eq!(vector.outputs(), ["c double[N,5]", "grad_x double[N,6]"]);
    let ct = weights(15, 1.0);
    let expected = |ct: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
        let slope = |i: usize, j: usize| (0..5).map(|k| ct(i, k) * (1.0 - hidden(i, k).powi(2)) * p[0][5 * j + k]).sum();
        (0..18).map(|at| slope(at / 6, at % 6)).collect()
    };
    for engine in engines() {
        let found = vector.run(engine.as_ref(), &[&input, &doubles(&[3, 5], &ct)]);
        close(&found.get("grad_x"), &expected(&|i, k| ct[5 * i + k]), 3, 1e-12, "of c");
    }
    for (name, inputs) in [("energy", ["x double[N,6]"]), ("all", ["x double[N,6]"])] {
        let file = written(&model, &["--of", name]);
        assert_eq!(file.inputs(), inputs, "{name} is a number, so there is no cotangent");
        let found = file.run(tract().as_ref(), &[&input]);
        close(&found.get("grad_x"), &expected(&|_, _| 1.0), 3, 1e-12, name);
    }
    let refused = flatscape(folder.path(), &["grad", &model, "-o", "no.onnx", "--of", "energie"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && said.contains("did you mean \"energy\""), "{said}");
}

/// One initializer by its name, second order too: H·v against differences of the gradient of files with a changed weight.
#[test]
fn one_initializer_is_differentiated_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let p = parameters();
    let file = written(&saved(folder.path(), &smooth(&p)), &["--wrt", "w2", "--order", "2"]);
    assert_eq!(file.inputs(), ["x double[N,6]", "label int64[N]", "vector double[5,3]"]);
    assert_eq!(file.outputs(), ["logits double[N,3]", "loss double[N]", "grad_w2 double[5,3]", "hvp_w2 double[5,3]"]);
    let (x, y, v) = (doubles(&[3, 6], &weights(18, 0.3)), Tensor::ints(&[0, 2, 1]), weights(15, 0.8));
    let vector = doubles(&[5, 3], &v);
    let found = file.run(tract().as_ref(), &[&x, &y, &vector]);
    let h = 1e-5;
    let gradient = |sign: f64| {
        let mut changed = p.clone();
        changed[2].iter_mut().zip(&v).for_each(|(w, v)| *w += sign * h * v);
        let file = written(&saved(folder.path(), &smooth(&changed)), &["--wrt", "w2"]);
        file.run(tract().as_ref(), &[&x, &y]).get("grad_w2")
    };
    let expected: Vec<f64> = gradient(1.0).iter().zip(gradient(-1.0)).map(|(a, b)| (a - b) / (2.0 * h)).collect();
    close(&found.get("hvp_w2"), &expected, 1, 1e-7, "the Hessian in w2");
}

/// Whoever opens the file in a viewer sees what belongs to what, and where the file comes from.
#[test]
fn files_explain_themselves() {
    let net = &golden()[0];
    let file = net.file(&[]);
    let nodes = file.model.graph.nodes();
    let named = |wanted: &str| nodes.iter().filter(|n| n.name.starts_with(wanted)).count();
    assert!(named("grad/") > 10 && named("loss/") > 3, "{:?}", nodes.iter().map(|n| &n.name).collect::<Vec<_>>());
    let grad = nodes.iter().find(|n| &*n.op == "ConvTranspose" || n.name.starts_with("grad/")).expect("a node");
    let result = grad.output(0).expect("a result");
    assert!(file.model.graph.value(result).name.starts_with("grad"), "{:?}", file.model.graph.value(result).name);
    let property = |key: &str| {
        let found = file.model.metadata.iter().find(|(k, _)| k == key);
        found.unwrap_or_else(|| panic!("{key} is not among {:?}", file.model.metadata)).1.clone()
    };
    let bytes = std::fs::read(nets().join(net.name).with_extension("onnx")).expect("the model");
    assert_eq!(property("gradient.model_sha256"), flatscape_intake::files::sha256(&bytes));
    assert_eq!([property("gradient.of"), property("gradient.wrt"), property("gradient.order")], ["ce", "input", "1"]);
    assert!(file.model.producer.starts_with("flatscape"), "{}", file.model.producer);
}

/// `--check` certifies the file that was written, whatever it is the gradient of.
#[test]
fn files_that_are_gradients_pass_their_check() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let smooth = saved(folder.path(), &smooth(&parameters()));
    let lenet = nets().join("lenet.onnx").to_string_lossy().into_owned();
    for (model, arguments) in [
        (&*smooth, &["--of", "ce", "--order", "2"][..]),
        (&smooth, &["--of", "cotangent"]),
        (&smooth, &["--of", "c"]),
        (&smooth, &["--wrt", "params"]),
        (&smooth, &["--wrt", "w2", "--order", "2"]),
        (&lenet, &["--of", "ce"]),
        (&lenet, &["--of", "logp", "--order", "2"]),
        (&lenet, &["--of", "logit:3"]),
        (&lenet, &["--wrt", "params"]),
        ("digits-standard", &["--data", "digits"]),
    ] {
        let command = [&["grad", model, "-o", "g.onnx", "--check", "--engine", "tract"], arguments].concat();
        let output = flatscape(folder.path(), &command);
        let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(0), "{model} {arguments:?}: {said}");
        let rows = ["slope", "float64", "zero-gradients"].iter().all(|check| said.contains(&format!("| {check} ")));
        assert!(rows && said.contains("passed"), "{model} {arguments:?}: {said}");
        assert_eq!(arguments.contains(&"2"), said.contains("| hessian "), "{model} {arguments:?}: {said}");
        assert_eq!(!arguments.contains(&"--data"), said.contains("noise in [0, 1]"), "{model} {arguments:?}: {said}");
    }
}

/// Where the gradient is zero the file is written and the check says so.
#[test]
fn a_file_without_a_direction_fails_its_check() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let p = parameters();
    let model = Model::new().input("x", "double[N,6]").output("logits", "double[N,3]");
    let model = model.tensor("w1", &[6, 3], Data::Double(&p[0][..18])).tensor("large", &[1], Data::Double(&[1e6]));
    let model = model.node("MatMul", &["x", "w1"], "a").node("Mul", &["a", "large"], "logits");
    let output =
        flatscape(folder.path(), &["grad", &saved(folder.path(), &model), "-o", "g.onnx", "--check", "--engine", "tract"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(9), "{said}");
    assert!(said.contains("The gradient certificate of model failed: zero-gradients"), "{said}");
}

/// x [N,6] → tanh(x·w1 + b1) [N,5] → ·w2 + b2 [N,3], all double.
fn smooth(p: &[Vec<f64>; 4]) -> Model {
    let model = Model::new().input("x", "double[N,6]").output("logits", "double[N,3]");
    let shapes: [(&str, &[usize]); 4] = [("w1", &[6, 5]), ("b1", &[5]), ("w2", &[5, 3]), ("b2", &[3])];
    let model = shapes.iter().zip(p).fold(model, |m, ((name, shape), values)| m.tensor(name, shape, Data::Double(values)));
    let model = model.node("MatMul", &["x", "w1"], "a").node("Add", &["a", "b1"], "b").node("Tanh", &["b"], "c");
    model.node("MatMul", &["c", "w2"], "d").node("Add", &["d", "b2"], "logits")
}

fn parameters() -> [Vec<f64>; 4] {
    [weights(30, 0.9), weights(5, 0.2), weights(15, 1.1), weights(3, 0.1)]
}

/// Numbers in [-size, size] without a pattern.
fn weights(n: usize, size: f64) -> Vec<f64> {
    (0..n).map(|i| size * (((i + 3) * (i + 11) * 7919 % 2003) as f64 / 1001.5 - 1.0)).collect()
}

fn doubles(shape: &[usize], values: &[f64]) -> Tensor {
    let tensor = Tensor::new(shape, values.to_vec()).expect("a tensor");
    assert_eq!(tensor.dtype(), DType::F64);
    tensor
}

/// The path of the model's file.
fn saved(folder: &Path, model: &Model) -> String {
    let path = folder.join("model.onnx");
    std::fs::write(&path, model.bytes()).expect("a temporary folder can be written");
    path.to_string_lossy().into_owned()
}

fn softmax(z: &[f64]) -> Vec<f64> {
    let sum: f64 = z.iter().map(|z| z.exp()).sum();
    z.iter().map(|z| z.exp() / sum).collect()
}

/// Rows agree: differences relative to the largest element of their row, at the 99.5th percentile over the batch. A bare maximum
/// would be decided by single kinks, where float32 may fall on the other side, and by images whose loss is almost zero.
fn close(found: &[f64], expected: &[f64], rows: usize, tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let mut errors = Vec::new();
    for (a, b) in found.chunks(found.len() / rows).zip(expected.chunks(expected.len() / rows)) {
        let scale = b.iter().fold(1e-30, |m: f64, v| m.max(v.abs()));
        errors.extend(a.iter().zip(b).map(|(a, b)| (a - b).abs() / scale));
    }
    errors.sort_by(f64::total_cmp);
    let at = errors[(errors.len() - 1) * 199 / 200];
    assert!(at <= tolerance, "{what}: relative difference {at:.1e}, at most {tolerance:.0e}");
}

/// Every initializer of the file has its own gradient, also those of a normalisation and of the layer before it, and also where a value
/// inside the graph is differentiated.
#[test]
fn initializers_before_a_normalisation_keep_their_own_gradients() {
    let file = root().join("tests/golden/weights/kept.onnx").display().to_string();
    let of_file = onnx::read(&std::fs::read(&file).expect("the file")).expect("it reads").graph;
    let normalised = of_file.nodes().iter().find(|n| &*n.op == "BatchNormalization").expect("it has a normalisation");
    let names: Vec<String> = normalised.inputs[1..].iter().flatten().map(|&id| of_file.value(id).name.to_string()).collect();
    let layer = of_file.nodes().iter().find(|n| n.outputs.first() == normalised.inputs.first()).expect("a layer before it");
    let kernel = layer.input(1).map(|id| of_file.value(id).name.to_string()).expect("a kernel");
    let gradients = written(&file, &["--wrt", "params"]);
    let of_a_value = written(&file, &["--of", "logits", "--wrt", "params"]);
    for outputs in [gradients.outputs(), of_a_value.outputs()] {
        for name in names.iter().chain([&kernel]) {
            let found = outputs.iter().any(|output| output.starts_with(&format!("grad_{name} ")));
            assert!(found, "the gradient with respect to {name} is missing: {outputs:?}");
        }
    }
    // one of them by its name, checked against differences of the values
    let output = flatscape(gradients.folder.path(), &["grad", &file, "-o", "k.onnx", "--wrt", &kernel, "--check"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let kept = onnx::read(&std::fs::read(gradients.folder.path().join("k.onnx")).expect("written")).expect("it reads").graph;
    let own = of_file.constant(layer.input(1).expect("a kernel")).expect("a constant");
    assert!(kept.values().any(|(_, v)| v.constant.as_ref() == Some(own)), "the file of the gradient has the kernel as it was");
}
