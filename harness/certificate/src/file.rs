//! The certificate of a file that `flatscape grad` wrote: the file itself is read back and run, in its own units, on images
//! or on noise, and after a few steps along the sign of its gradient.

use std::collections::HashMap;

use flatscape_engine::{CompileOptions, Engine};
use flatscape_graph::{DType, Dim, Tensor, ValueType, onnx};

use crate::points::{Engines, samples};
use crate::subject::WALK;
use crate::{Certificate, Scalar, Subject, Variable, certify};
use flatscape_intake::data::Dataset;
use flatscape_intake::gradient::{Gradient, Of, Request, WithRespectTo};
use flatscape_intake::model::{Native, Outputs, Pixels, identity};
use flatscape_intake::random::{Law, Place, fill};

/// Samples of noise, where there are no images.
const NOISE: usize = 16;

/// The points at which a file is certified.
#[derive(Clone, Debug)]
pub struct FilePoints {
    /// The first input of the model, in its own units or those of the stated preprocessing.
    pub x: Tensor,
    /// Labels, one per sample.
    pub labels: Vec<i64>,
    /// Ids of the samples.
    pub ids: Vec<u64>,
    /// What they are, for the verdict: `of digits`, `of noise in the box of the input`.
    pub what: String,
}

impl FilePoints {
    /// The first images of a data set as the model wants them: with the stated preprocessing, if the file has it inside; else
    /// with that of its card done here.
    ///
    /// # Errors
    /// A clause: the images do not fit the model, or the preprocessing could not be run.
    pub fn images(
        gradient: &Gradient,
        native: &Native,
        request: &Request,
        data: &Dataset,
        engine: &dyn Engine,
    ) -> Result<FilePoints, String> {
        let count = batch(gradient, samples(&gradient.forward, data.len()));
        let ids: Vec<u64> = (0..count as u64).map(|i| i % data.len().max(1) as u64).collect();
        let part = data.gather(&ids);
        let x = if request.preprocessing.is_some() {
            part.x
        } else {
            let pixels = Pixels::settle(native, &native.card.preprocessing, data.shape).map_err(|e| e.what)?;
            let before = pixels.before(&identity(native), Dim::symbol("N"), data.shape, Outputs::Own).map_err(|e| e.what)?;
            let executable = engine.compile(&before, &CompileOptions::default()).map_err(|e| e.to_string())?;
            let x = executable.upload(&part.x).map_err(|e| e.to_string())?;
            let results = executable.run(&[&x]).map_err(|e| e.to_string())?;
            let first = results.first().ok_or("the preprocessing gives nothing")?;
            first.host().map_err(|e| e.to_string())?
        };
        let what = format!("of {} ({})", data.name, data.split.name());
        Ok(FilePoints { x, labels: part.y, ids: part.ids, what })
    }

    /// Noise between 0 and 1, and labels in turn.
    ///
    /// # Errors
    /// A clause: an extent of the input is not known.
    pub fn noise(gradient: &Gradient, seed: u64) -> Result<FilePoints, String> {
        let count = batch(gradient, samples(&gradient.forward, NOISE));
        let input = gradient.graph.inputs().first().map(|&i| gradient.graph.value(i).ty.clone()).unwrap_or_default();
        let shape = inner(&input)
            .ok_or_else(|| format!("the input is {input}, and noise needs known extents; give images with --data"))?;
        let ids: Vec<u64> = (0..count as u64).collect();
        Ok(FilePoints {
            x: noise(count, &shape, seed, "input", input.dtype.unwrap_or(DType::F32)),
            labels: (0..count as i64).map(|i| i % gradient.classes.unwrap_or(1).max(1) as i64).collect(),
            ids,
            what: format!("of noise in [0, 1] (seed {seed}), because no images were given with --data"),
        })
    }
}

/// Certifies the bytes of a gradient file.
pub fn of_file(
    model: &str,
    bytes: &[u8],
    gradient: &Gradient,
    request: &Request,
    points: &FilePoints,
    seed: u64,
    engines: &Engines,
) -> Certificate {
    match subject(model, bytes, gradient, request, points, seed) {
        Ok(subject) => certify(&subject, engines),
        Err(why) => Certificate::none(model, &why),
    }
}

fn subject(
    model: &str,
    bytes: &[u8],
    gradient: &Gradient,
    request: &Request,
    points: &FilePoints,
    seed: u64,
) -> Result<Subject, String> {
    let graph = onnx::read(bytes).map_err(|e| e.to_string())?.graph;
    let count = points.ids.len();
    let first = graph.inputs().first().map(|&i| graph.value(i).name.to_string()).unwrap_or_default();
    let mut fixed = HashMap::from([(first, points.x.clone())]);
    let classes = gradient.classes.unwrap_or(1).max(1);
    let labels: Vec<i64> = points.labels.iter().map(|&y| y.rem_euclid(classes as i64)).collect();
    fixed.insert("label".into(), Tensor::new(&[count], labels.clone()).unwrap_or_else(|| Tensor::ints(&labels)));
    for &input in graph.inputs().iter().skip(1) {
        let (name, ty) = (graph.value(input).name.to_string(), &graph.value(input).ty);
        if name == "label" || name == "vector" {
            continue;
        }
        // a cotangent, or a further input of the model
        let constant = gradient.variables.iter().find(|(own, _)| *own == name).and_then(|(_, tensor)| tensor.clone());
        let drawn = || match ty.shape.as_deref() {
            Some([]) => Some(noise(1, &[], seed, &name, DType::F64).reshape(&[])?),
            _ => Some(noise(count, &inner(ty)?, seed, &name, DType::F64)),
        };
        let tensor = constant
            .or_else(drawn)
            .ok_or_else(|| format!("the extents of the input {} are not known", flatscape_graph::shown(&name)))?;
        fixed.insert(name, tensor);
    }
    let to_inputs = gradient.variables.iter().all(|(_, constant)| constant.is_none());
    let values = gradient.forward.outputs().first().and_then(|o| gradient.forward.shape(o.value)).unwrap_or(&[]);
    // a scalar of the whole batch belongs to no sample
    let batched = to_inputs && !values.is_empty();
    let mut start = Vec::new();
    let mut variables = Vec::new();
    for (name, constant) in &gradient.variables {
        let tensor = constant.clone().or_else(|| fixed.get(name).cloned()).ok_or("a variable has no value")?;
        let shape = if batched { tensor.shape().get(1..).unwrap_or_default() } else { tensor.shape() };
        variables.push(Variable { name: name.clone(), shape: shape.to_vec(), gradient: format!("grad_{name}") });
        start.extend(tensor.to_f64());
    }
    let scalar = match (&request.of, fixed.get("cotangent")) {
        (Of::CrossEntropy, _) => Scalar::CrossEntropy { classes, labels: labels.clone() },
        (Of::LogLikelihood, _) => Scalar::LogSumExp(classes),
        (Of::Logit(class), _) => Scalar::Logit(*class, classes),
        (_, Some(cotangent)) => Scalar::Weighted(cotangent.to_f64()),
        (_, None) => Scalar::Weighted(vec![1.0; count.max(1)]),
    };
    let (low, high) = start.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let range = if high > low { high - low } else { 1.0 };
    if request.order == 2 {
        // any vector will do if only the gradient is requested
        if let Some(first) = variables.first() {
            let shape: Vec<usize> = batched.then_some(count).into_iter().chain(first.shape.iter().copied()).collect();
            fixed.insert("vector".into(), Tensor::full(DType::F64, &shape, 1.0));
        }
    }
    let walked = if batched { format!(" and after {WALK} steps along the sign of the gradient") } else { String::new() };
    let place = match &request.wrt {
        WithRespectTo::Input => format!("{}{walked}", points.what),
        _ if to_inputs => format!("{}{walked}", points.what),
        _ => format!("at the model's own parameters, on samples {}", points.what),
    };
    Ok(Subject {
        model: model.to_owned(),
        about: place,
        hessian: (request.order == 2).then(|| variables.first().map(|v| format!("hvp_{}", v.name))).flatten(),
        forward: gradient.forward.clone(),
        gradient: graph,
        scalar,
        labels: gradient.classes.map(|_| labels),
        variables,
        blocks: if batched { count } else { 1 },
        batched,
        start,
        fixed,
        ids: if batched { points.ids.clone() } else { Vec::new() },
        bounds: None,
        range,
        reach: None,
        ascent: false,
        surrogate: gradient.surrogate,
        other: None,
        seed,
    })
}

/// As many samples as the file takes: any number, or the batch that it fixes.
fn batch(gradient: &Gradient, wanted: usize) -> usize {
    let input = gradient.graph.inputs().first().copied();
    let first = input.and_then(|input| gradient.graph.shape(input)).and_then(|s| s.first());
    first.and_then(Dim::fixed).unwrap_or(wanted)
}

/// Extents behind the batch, if all are known.
fn inner(ty: &ValueType) -> Option<Vec<usize>> {
    ty.shape.as_deref()?.iter().skip(1).map(Dim::fixed).collect()
}

fn noise(count: usize, shape: &[usize], seed: u64, stream: &str, dtype: DType) -> Tensor {
    let size: usize = shape.iter().product();
    let mut values = vec![0f32; count * size];
    for (row, chunk) in values.chunks_mut(size.max(1)).enumerate() {
        fill(Law::Uniform, Place::new(seed, "certificate", stream).sample(row as u64), chunk);
    }
    values.iter_mut().for_each(|v| *v = (*v + 1.0) / 2.0);
    let extents: Vec<usize> = std::iter::once(count).chain(shape.iter().copied()).collect();
    Tensor::new(&extents, values).unwrap_or_else(|| Tensor::full(DType::F32, &extents, 0.5)).cast(dtype)
}
