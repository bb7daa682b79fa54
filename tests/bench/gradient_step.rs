//! This project as a contender of `gradient_step.py`: answers lines on stdin with lines on stdout (the protocol stands in `peers.py`).
//!
//! A step is forward, cross-entropy and backward to the input, from an image in memory to loss and gradient in memory. The graph is
//! built as an audit builds it: read, normal form, loss, reverse pass, simplified; the engine lowers it.
//!
//!     gradient-step [--threads N] [--engine auto|ort|tract] [--plain] [--no-lowering]

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

use flatscape_engine::{Buffer, CompileOptions, Engine, Executable, Settings, rows_at_once};
use flatscape_graph::{Builder, DType, Dim, Expr, Graph, Tensor, ValueType, normalize, onnx, simplify};
use flatscape_intake::functions::cross_entropy;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Fallible<()> {
    let mut settings = Settings { threads: 2, ..Settings::default() };
    let (mut options, mut plain) = (CompileOptions::default(), false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--threads" => settings.threads = value()?.parse()?,
            "--engine" => settings.choice = value()?.parse()?,
            "--plain" => plain = true,
            "--no-lowering" => options.lower = false,
            other => return Err(format!("{other} is not an option").into()),
        }
    }
    let engine = flatscape_engine::open(&settings)?;
    let mut nets: HashMap<String, Net> = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first() == Some(&"quit") {
            break;
        }
        let answer =
            respond(&*engine, &options, plain, &mut nets, &words).unwrap_or_else(|e| format!("error {e}").replace('\n', " "));
        println!("{answer}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

fn respond(
    engine: &dyn Engine,
    options: &CompileOptions,
    plain: bool,
    nets: &mut HashMap<String, Net>,
    words: &[&str],
) -> Fallible<String> {
    match words {
        ["info"] => {
            let info = engine.info();
            let version = format!("{} {}", info.name, info.version);
            Ok(serde_json::json!({ "engine": "flatscape", "version": version, "threads": info.threads }).to_string())
        }
        ["load", net, path] => {
            let (graph, nodes) = step(&std::fs::read(path)?)?;
            nets.insert((*net).to_owned(), Net { shape: image(&graph)?, nodes, graph, executables: HashMap::new() });
            Ok("ok".to_owned())
        }
        ["nodes", net] => {
            let [logits, loss, gradient] = find(nets, net)?.nodes;
            Ok(format!("{logits} {loss} {gradient}"))
        }
        ["run", net, batch, repeats] => {
            let (net, batch) = (find(nets, net)?, batch.parse::<usize>()?);
            let x = Buffer::from(net.pixels(batch)?);
            let executable = net.executable(engine, options, plain, batch)?;
            Net::run(executable, &x)?;
            let timed = |_| -> Fallible<String> {
                let start = Instant::now();
                Net::run(executable, &x)?;
                Ok(format!("{:.6}", start.elapsed().as_secs_f64() * 1e3))
            };
            Ok((0..repeats.parse::<usize>()?).map(timed).collect::<Fallible<Vec<_>>>()?.join(" "))
        }
        ["grad", net, _, from, to] => {
            let x: ndarray::ArrayD<f32> = ndarray_npy::read_npy(from)?;
            let batch = x.shape()[0];
            let executable = find(nets, net)?.executable(engine, options, plain, batch)?;
            let gradient = Net::run(executable, &Buffer::from(Tensor::from(x)))?;
            ndarray_npy::write_npy(to, gradient.view::<f32>().ok_or("the gradient is not float32")?)?;
            Ok("ok".to_owned())
        }
        _ => Err(format!("there is no request `{}`", words.join(" ")).into()),
    }
}

fn find<'n>(nets: &'n mut HashMap<String, Net>, name: &str) -> Fallible<&'n mut Net> {
    nets.get_mut(name).ok_or_else(|| format!("`{name}` was not loaded").into())
}

struct Net {
    /// C, H, W.
    shape: Vec<usize>,
    /// To the logits, to the loss, with the gradient.
    nodes: [usize; 3],
    graph: Graph,
    /// By the rows of a micro-batch: forms of layers are chosen for them, as a job is compiled for its batch.
    executables: HashMap<Option<usize>, Box<dyn Executable>>,
}

impl Net {
    fn executable(
        &mut self,
        engine: &dyn Engine,
        options: &CompileOptions,
        plain: bool,
        batch: usize,
    ) -> Fallible<&dyn Executable> {
        let rows = (!plain).then(|| rows_at_once(batch));
        if !self.executables.contains_key(&rows) {
            let compiled = engine.compile(&self.graph, &CompileOptions { rows, ..options.clone() })?;
            self.executables.insert(rows, compiled);
        }
        Ok(&**self.executables.get(&rows).ok_or("it was just put there")?)
    }

    /// The gradient of the summed loss; the label of sample i is i mod 10.
    fn run(executable: &dyn Executable, x: &Buffer) -> Fallible<Tensor> {
        let labels: Vec<i64> = (0..x.shape()[0] as i64).map(|i| i % 10).collect();
        let labels = Buffer::from(Tensor::ints(&labels));
        let results = executable.run(&[x, &labels])?;
        Ok(results.get(1).ok_or("there is no gradient")?.host()?)
    }

    /// Pixels in [0, 1) that look random, the same every time.
    fn pixels(&self, batch: usize) -> Fallible<Tensor> {
        let mut state = 0x9E37_79B9_7F4A_7C15u64 ^ batch as u64;
        let shape: Vec<usize> = [batch].iter().chain(&self.shape).copied().collect();
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 24) as f32
        };
        let pixels: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
        Ok(Tensor::new(&shape, pixels).ok_or("an impossible shape")?)
    }
}

/// image [N, C, H, W], labels [N] ↦ loss [N], gradient [N, C, H, W]; and the nodes to the logits, to the loss, and of all of it.
fn step(file: &[u8]) -> Fallible<(Graph, [usize; 3])> {
    let model = onnx::read(file)?;
    let mut graph = normalize::normalize(&model.graph, model.opset, &normalize::Options::default())?;
    let input = *graph.inputs().first().ok_or("the model has no input")?;
    if let Some(freed) = normalize::symbolic_batch(&graph, input)? {
        graph = freed;
    }
    let input = *graph.inputs().first().ok_or("the model has no input")?;
    let logits = graph.outputs().first().ok_or("the model has no output")?.value;
    let builder = Builder::new(graph);
    let labels = builder.input("label", ValueType::new(DType::I64, vec![Dim::symbol("N")]));
    let (loss, cotangent) = cross_entropy(&builder, builder.expr(logits), labels);
    let gradient = flatscape_autodiff::vjp(&builder, logits, cotangent.id, &[input])?;
    let gradient = gradient.first().copied().flatten().ok_or("the loss does not depend on the image")?;
    let only = |name: &str, value: Expr<'_>| {
        builder.graph_mut().set_outputs(Vec::new());
        builder.output(name, value);
        simplify(&builder.graph()).nodes().len()
    };
    let to_logits = only("logits", builder.expr(logits));
    let to_loss = only("loss", loss);
    builder.output("gradient", builder.expr(gradient));
    let graph = simplify(&builder.into_graph());
    graph.check()?;
    let nodes = [to_logits, to_loss, graph.nodes().len()];
    Ok((graph, nodes))
}

fn image(graph: &Graph) -> Fallible<Vec<usize>> {
    let shape = graph.inputs().first().and_then(|&x| graph.shape(x)).ok_or("the image has no shape")?;
    Ok(shape.iter().skip(1).map(Dim::fixed).collect::<Option<_>>().ok_or("the image has an unknown extent")?)
}
