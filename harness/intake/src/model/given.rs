//! A gradient graph that came with the model: an ONNX file from elsewhere, under the contract of `GRADIENTS.md`, brought
//! to pixel units. Believes nothing about it; whether it is the gradient is asked in `certificate`.

use flatscape_autodiff::vjp;
use flatscape_graph::normalize::{Options, symbolic_batch};
use flatscape_graph::{Builder, DType, Dim, Graph, Output, ValueType, shown};
use serde::{Deserialize, Serialize};

use super::Intake;
use super::native::Native;
use super::pixels::{Outputs, Pixels};
use super::whole::Whole;
use crate::refusal::Refusal;

/// What `--gradients` requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenRequest {
    /// Path of the file.
    pub file: String,
    /// The output that holds the gradient; `grad_<input>` if absent.
    pub output: Option<String>,
    /// Whether attacks follow it instead of ours.
    pub used: bool,
}

/// A gradient from elsewhere.
#[derive(Clone, Debug)]
pub struct Given {
    /// The stem of its file.
    pub name: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Inputs `x` float[N,C,H,W] in pixel units and `y` int64[N]; output `gradient` like `x`.
    pub graph: Graph,
    /// Whether attacks follow it.
    pub used: bool,
}

impl Given {
    /// Reads it and fits it to the model.
    ///
    /// # Errors
    /// `M147` with what the contract asks and the file lacks; otherwise as for models.
    pub fn load(
        request: &GivenRequest,
        intake: &Intake,
        native: &Native,
        pixels: &Pixels,
        shape: [usize; 3],
    ) -> Result<Given, Refusal> {
        let whole = Whole::load(&request.file, intake, &Options::default())?;
        let refuse = |what: String| {
            Refusal::model(147, format!("the gradient graph {}: {what}", whole.name))
                .help("harness/intake/GRADIENTS.md says what such a file must look like")
        };
        let own = native.only_input()?;
        let own_name = native.graph.value(own).name.to_string();
        let (image, label) = inputs(&whole.graph, &own_name).map_err(refuse)?;
        let wanted = request.output.clone().unwrap_or_else(|| format!("grad_{own_name}"));
        let Some(value) = whole.graph.output_named(&wanted) else {
            let names: Vec<String> = whole.graph.outputs().iter().map(|o| shown(&o.name)).collect();
            return Err(refuse(format!("it has no output {}; it has {}", shown(&wanted), names.join(", ")))
                .help("name the output that holds the gradient: --gradients-output NAME"));
        };
        let mut alone = whole.graph.clone();
        alone.set_outputs(vec![Output { name: wanted.as_str().into(), value }]);
        let alone = alone.without_dead();
        let image_id = alone.input_named(&image).ok_or_else(|| refuse(format!("its input {} is not used", shown(&image))))?;
        let free = match symbolic_batch(&alone, image_id) {
            Ok(freed) => freed.unwrap_or(alone),
            Err(why) => {
                return Err(refuse(format!("its batch cannot be made free: {why}")).help("export it with a dynamic batch axis"));
            }
        };
        let graph = in_pixels(&free, native, pixels, shape, &image, label.as_deref()).map_err(refuse)?;
        Ok(Given { name: whole.name, sha256: whole.sha256, graph, used: request.used })
    }
}

/// The names of the inputs that take the image and the labels.
fn inputs(graph: &Graph, own: &str) -> Result<(String, Option<String>), String> {
    let entry = |&id| (graph.value(id).name.to_string(), graph.dtype(id));
    let all: Vec<(String, Option<DType>)> = graph.inputs().iter().map(entry).collect();
    let list = || all.iter().map(|(name, _)| shown(name)).collect::<Vec<_>>().join(", ");
    if !all.iter().any(|(name, _)| name == own) {
        return Err(format!("it has no input {}, the name of the model's own; it has {}", shown(own), list()));
    }
    let rest: Vec<&(String, Option<DType>)> = all.iter().filter(|(name, _)| name != own).collect();
    match rest[..] {
        [] => Ok((own.to_owned(), None)),
        [(name, Some(DType::I64 | DType::I32))] => Ok((own.to_owned(), Some(name.clone()))),
        _ => Err(format!("beside {} it takes {}; expected is the input label, int64[N], and no other", shown(own), list())),
    }
}

/// Pixels in front, the chain rule behind: ∇x = (∂u/∂x)ᵀ ∇u.
fn in_pixels(
    theirs: &Graph,
    native: &Native,
    pixels: &Pixels,
    shape: [usize; 3],
    image: &str,
    label: Option<&str>,
) -> Result<Graph, String> {
    let before = pixels.before(&identity(native), Dim::symbol("N"), shape, Outputs::Own).map_err(|e| e.what)?;
    let x = before.inputs().first().copied().ok_or("the preprocessing has no input")?;
    let u = before.outputs().first().map(|o| o.value).ok_or("the preprocessing has no output")?;
    let mut bare = before;
    bare.set_outputs(Vec::new());
    let b = Builder::new(bare);
    let y = b.input("y", ValueType::new(DType::I64, vec![Dim::symbol("N")]));
    let dtype = |name: &str| theirs.input_named(name).and_then(|id| theirs.dtype(id));
    let fed_u = dtype(image).map_or(b.expr(u), |t| b.expr(u).cast(t));
    let fed_y = label.and_then(dtype).map_or(y, |t| y.cast(t));
    let outputs =
        b.inline(theirs, &|name, _| if name == image { Some(fed_u.id) } else { Some(fed_y.id) }).map_err(|e| e.to_string())?;
    let gradient = outputs.first().map(|(_, id)| b.expr(*id)).ok_or("it has no output")?;
    let (have, want) = (gradient.dims(), b.expr(u).dims());
    if have.as_ref().map(Vec::len) != want.as_ref().map(Vec::len) {
        let (have, want) = (b.graph().value(gradient.id).ty.to_string(), b.graph().value(u).ty.to_string());
        return Err(format!("the gradient is {have}, and the input of the model {want}"));
    }
    let gradient = gradient.cast(b.expr(u).dtype());
    let pulled = vjp(&b, u, gradient.id, &[x]).map_err(|e| e.to_string())?;
    let pulled = pulled.first().copied().flatten().ok_or("no gradient passes the preprocessing")?;
    b.output("gradient", b.expr(pulled).cast(DType::F32));
    let graph = flatscape_graph::simplify(&b.into_graph());
    graph.check().map_err(|e| e.to_string())?;
    Ok(graph)
}

/// The model's own input, handed on.
pub fn identity(native: &Native) -> Graph {
    let b = Builder::new(Graph::new("pixels"));
    let mut ty = native.graph.inputs().first().map(|&i| native.graph.value(i).ty.clone()).unwrap_or_default();
    if let Some(first) = ty.shape.as_mut().and_then(|dims| dims.first_mut()) {
        *first = Dim::symbol("N");
    }
    let u = b.input("u", ty);
    b.output("u_passed", u.unary("Identity"));
    b.into_graph()
}
