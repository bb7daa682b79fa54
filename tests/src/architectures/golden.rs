//! A network's files, and the comparison of a gradient file with the values beside them. Knows names and tolerances, no rule.

use std::fmt;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use flatscape_engine::{CompileOptions, Engine};
use flatscape_graph::{DType, Graph, Tensor};
use ndarray::{Array1, ArrayD};
use ndarray_npy::NpzReader;

use crate::provision::root;

/// A network with what its framework computes for two samples, in float64.
pub struct Net {
    pub framework: String,
    pub name: String,
    pub path: PathBuf,
    x: ArrayD<f32>,
    label: Vec<i64>,
    logits: Vec<f64>,
    loss: Vec<f64>,
    gradient: Vec<f64>,
    /// A vector, and the product of the Hessian with it.
    second: Option<(ArrayD<f32>, Vec<f64>)>,
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.framework, self.name)
    }
}

impl Net {
    /// Every pair of files, in the order of their names.
    pub fn all() -> Vec<Net> {
        let mut paths = Vec::new();
        for folder in folders(&root().join("tests/architectures")) {
            paths.extend(listed(&folder).into_iter().filter(|p| p.extension().is_some_and(|e| e == "onnx")));
        }
        assert!(paths.len() >= 25, "tests/architectures holds {} networks", paths.len());
        paths.iter().map(|path| Net::read(path)).collect()
    }

    fn read(path: &Path) -> Net {
        let what = path.display();
        let values = path.with_extension("npz");
        let file = File::open(&values).unwrap_or_else(|e| panic!("{}: {e}", values.display()));
        let mut archive = NpzReader::new(file).unwrap_or_else(|e| panic!("{what}: {e}"));
        let part = |p: Option<&std::ffi::OsStr>| p.expect("a file in a folder").to_string_lossy().into_owned();
        let label: Array1<i64> = archive.by_name("label").expect("label");
        let mut numbers = |name: &str| -> Vec<f64> {
            let array: ArrayD<f64> = archive.by_name(name).unwrap_or_else(|e| panic!("{what}: {name}: {e}"));
            array.iter().copied().collect()
        };
        let (logits, loss, gradient) = (numbers("logits"), numbers("loss"), numbers("gradient"));
        let second = archive.by_name("vector").ok().map(|vector: ArrayD<f32>| {
            let product: ArrayD<f32> = archive.by_name("hvp").expect("hvp stands beside vector");
            (vector, product.iter().map(|&v| f64::from(v)).collect())
        });
        Net {
            framework: part(path.parent().and_then(Path::file_name)),
            name: part(path.file_stem()),
            path: path.to_owned(),
            x: archive.by_name("x").expect("x"),
            label: label.to_vec(),
            logits,
            loss,
            gradient,
            second,
        }
    }

    /// Whether there is a Hessian-vector product to compare with.
    pub fn second(&self) -> bool {
        self.second.is_some()
    }
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    listed(folder).into_iter().filter(|p| p.is_dir() && !p.ends_with("__pycache__")).collect()
}

fn listed(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// The largest differences of one run, relative to the largest element of the sample.
pub struct Worst {
    logits: f64,
    gradient: f64,
    second: Option<f64>,
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0e}, {:.0e}", self.logits, self.gradient)?;
        self.second.map_or(Ok(()), |second| write!(f, ", {second:.0e}"))
    }
}

/// Runs the gradient file on the samples, in pieces where its batch is fixed, and compares. An error is a sentence.
pub fn compare(
    net: &Net,
    engine: &dyn Engine,
    graph: &Graph,
    batch: Option<usize>,
    tolerance: f64,
    second: f64,
) -> Result<Worst, String> {
    let run = || run(net, engine, graph, batch.unwrap_or(net.label.len()));
    let found = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(format!("{} panics", engine.name())))?;
    let rows = net.label.len();
    let check = |name: &str, expected: &[f64], tolerance: f64| {
        let (_, values) = found.iter().find(|(n, _)| n.starts_with(name)).ok_or_else(|| format!("there is no output {name}"))?;
        let off = difference(values, expected, rows).map_err(|e| format!("{name}: {e}"))?;
        if off <= tolerance { Ok(off) } else { Err(format!("{name} is off by {off:.1e}; {tolerance:e} is allowed")) }
    };
    // a loss near 0 is the difference of two numbers of the order of 1
    let scaled = |loss: &[f64]| loss.iter().zip(&net.loss).map(|(v, e)| (v - e) / e.abs().max(1.0) + 1.0).collect::<Vec<f64>>();
    let (_, loss) = found.iter().find(|(name, _)| name == "loss").ok_or("there is no output loss")?;
    let off = difference(&scaled(loss), &scaled(&net.loss), rows).map_err(|e| format!("loss: {e}"))?;
    if off > tolerance {
        return Err(format!("loss is off by {off:.1e}; {tolerance:e} is allowed"));
    }
    // what is added to all logits of a sample does not count: a LogSoftmax that was cut off would have added something
    let (_, logits) = &found[0];
    let logits = difference(&centred(logits, rows), &centred(&net.logits, rows), rows).map_err(|e| format!("logits: {e}"))?;
    if logits > tolerance {
        return Err(format!("logits are off by {logits:.1e}"));
    }
    let gradient = check("grad_", &net.gradient, tolerance)?;
    let second = net.second.as_ref().map(|(_, product)| check("hvp_", product, second)).transpose()?;
    Ok(Worst { logits, gradient, second })
}

fn run(net: &Net, engine: &dyn Engine, graph: &Graph, batch: usize) -> Result<Vec<(String, Vec<f64>)>, String> {
    let executable = engine.compile(graph, &CompileOptions::default()).map_err(|e| e.to_string())?;
    let names: Vec<String> = graph.inputs().iter().map(|&i| graph.value(i).name.to_string()).collect();
    let float = graph.dtype(graph.inputs()[0]).unwrap_or(DType::F32);
    let mut found: Vec<(String, Vec<f64>)> = graph.outputs().iter().map(|o| (o.name.to_string(), Vec::new())).collect();
    for start in (0..net.label.len()).step_by(batch) {
        let piece = |all: &ArrayD<f32>| {
            let rows = all.slice_axis(ndarray::Axis(0), (start..start + batch).into());
            Tensor::from(rows.to_owned()).cast(float)
        };
        let inputs: Result<Vec<_>, String> = names
            .iter()
            .map(|name| {
                let tensor = match (name.as_str(), &net.second) {
                    ("label", _) => Tensor::ints(&net.label[start..start + batch]),
                    ("vector", Some((vector, _))) => piece(vector),
                    _ => piece(&net.x),
                };
                executable.upload(&tensor).map_err(|e| e.to_string())
            })
            .collect();
        let inputs = inputs?;
        let outputs = executable.run(&inputs.iter().collect::<Vec<_>>()).map_err(|e| e.to_string())?;
        for ((_, values), output) in found.iter_mut().zip(&outputs) {
            values.extend(output.host().map_err(|e| e.to_string())?.to_f64());
        }
    }
    Ok(found)
}

/// Rows without their mean.
fn centred(values: &[f64], rows: usize) -> Vec<f64> {
    let row = |row: &[f64]| {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        row.iter().map(move |v| v - mean).collect::<Vec<f64>>()
    };
    values.chunks(values.len() / rows).flat_map(row).collect()
}

/// The largest difference over all rows, each relative to the largest element of its row.
fn difference(found: &[f64], expected: &[f64], rows: usize) -> Result<f64, String> {
    if found.len() != expected.len() {
        return Err(format!("{} numbers where {} are expected", found.len(), expected.len()));
    }
    let size = expected.len() / rows;
    let row = |(a, b): (&[f64], &[f64])| {
        let scale = b.iter().fold(1e-30, |m: f64, v| m.max(v.abs()));
        let off = a.iter().zip(b).map(|(a, b)| (a - b).abs() / scale);
        off.fold(0.0, |m: f64, d| if d.is_nan() { f64::INFINITY } else { m.max(d) })
    };
    Ok(found.chunks(size).zip(expected.chunks(size)).map(row).fold(0.0, f64::max))
}
