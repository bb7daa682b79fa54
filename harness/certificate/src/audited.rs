//! The certificate of a model in an audit: the gradient exactly as attacks are given it (of cross-entropy, unless a remedy made it
//! the margin), at the images and where the first steps under the threat model lead.

use std::collections::HashMap;

use flatscape_graph::{Graph, Tensor, text};

use crate::points::{Engines, samples};
use crate::{Certificate, Other, Scalar, Subject, Variable, WALK, certify};
use flatscape_intake::data::Dataset;
use flatscape_intake::model::{Given, Model};
use flatscape_intake::random::{LAWS, Place, fill};
use flatscape_intake::remedies::objective;
use flatscape_measure::link::{Link, LinkError, Point};
use flatscape_measure::threats::ThreatModel;

/// Where the steps of a certificate lead if the threat model decodes images from a parameter, and so has no radius in pixels.
const IN_PIXELS: &str = "linf:8/255";

/// Certifies the gradient of a model on the first images of a data set. It is the gradient in pixels, under every threat model:
/// what a parameter adds is the derivative of a formula.
pub fn of_model(model: &Model, dataset: &Dataset, threat: &ThreatModel, seed: u64, engines: &Engines) -> Certificate {
    let instead = match threat.norm.parameter {
        None => Ok(None),
        Some(_) => ThreatModel::parse(IN_PIXELS, false).map(Some).map_err(|refusal| refusal.what),
    };
    let subject = instead.and_then(|instead| match instead {
        None => subject(model, dataset, threat, seed),
        Some(pixels) => {
            let subject = subject(model, dataset, &pixels, seed)?;
            let about = format!("{}, because {} has no radius in pixels", subject.about, threat.text());
            Ok(Subject { about, ..subject })
        }
    });
    match subject {
        Ok(subject) => certify(&subject, engines),
        Err(why) => Certificate::none(&model.name, &why),
    }
}

fn subject(model: &Model, dataset: &Dataset, threat: &ThreatModel, seed: u64) -> Result<Subject, String> {
    let followed = model.given.as_ref().filter(|given| given.used && !model.remedied.margin);
    let count = samples(&model.graph, dataset.len());
    let batch = dataset.batch(0..count);
    let input = model.graph.inputs().first().map(|&x| model.graph.value(x).name.to_string()).unwrap_or_default();
    let ones = vec![1f32; dataset.image_len()];
    let all = threat.on(model.shape).distance(&ones.clone().into(), &vec![0f32; ones.len()]);
    let labels = Tensor::new(&[count], batch.y.clone()).unwrap_or_else(|| Tensor::ints(&batch.y));
    let (forward, gradient) = (model.drawn.as_ref().unwrap_or(&model.graph), linked(model, threat, followed)?);
    let mut fixed = HashMap::from([("y".to_owned(), labels), ("eps".to_owned(), Tensor::scalar(threat.eps))]);
    fixed.extend([forward, &gradient].into_iter().flat_map(|graph| draws(graph, count, seed)));
    Ok(Subject {
        model: model.name.clone(),
        about: about(model, threat),
        forward: forward.clone(),
        gradient,
        scalar: if model.remedied.margin {
            Scalar::Margin { classes: model.classes, labels: batch.y.clone() }
        } else {
            Scalar::CrossEntropy { classes: model.classes, labels: batch.y.clone() }
        },
        labels: Some(batch.y),
        variables: vec![Variable { name: input, shape: model.shape.to_vec(), gradient: "gradient".into() }],
        blocks: count,
        batched: true,
        start: batch.x.to_f64(),
        fixed,
        ids: batch.ids,
        bounds: Some((threat.lo.into(), threat.hi.into())),
        range: f64::from(threat.hi - threat.lo),
        reach: all.map(|all| threat.eps / all.max(1.0)),
        hessian: None,
        ascent: followed.is_none(),
        surrogate: model.remedied.twin.is_some() && followed.is_none(),
        other: other(model, threat)?,
        seed,
    })
}

/// One keyed draw for every input of a graph that takes one: the same at every point, so that slopes are those of one function.
fn draws(graph: &Graph, count: usize, seed: u64) -> Vec<(String, Tensor)> {
    let draw = |&input: &flatscape_graph::ValueId| {
        let name = graph.value(input).name.to_string();
        let rest = name.strip_prefix("shared_").unwrap_or(&name).strip_prefix("noise_")?;
        let (law, stream) = rest.split_once('_')?;
        let law = LAWS.iter().find(|(known, _)| *known == law)?.1;
        let shape: Vec<usize> = graph.shape(input)?.iter().map(|dim| dim.fixed().unwrap_or(count)).collect();
        let mut values = vec![0f32; shape.iter().product()];
        fill(law, Place::new(seed, "certificate", stream), &mut values);
        Some((name.clone(), Tensor::new(&shape, values)?))
    };
    graph.inputs().iter().filter_map(draw).collect()
}

fn about(model: &Model, threat: &ThreatModel) -> String {
    let whose = match &model.given {
        Some(given) if given.used && !model.remedied.margin => format!(" (the gradient is that of {})", given.name),
        _ => String::new(),
    };
    format!("at the images and after {WALK} steps under {}{whose}", threat.text())
}

/// Where a gradient of cross-entropy came with the model, and that is what attacks ascend: the one of the two that is not used.
fn other(model: &Model, threat: &ThreatModel) -> Result<Option<Other>, String> {
    let Some(given) = model.given.as_ref().filter(|_| !model.remedied.margin) else { return Ok(None) };
    let (name, graph) =
        if given.used { ("ours".to_owned(), linked(model, threat, None)?) } else { (given.name.clone(), given.graph.clone()) };
    Ok(Some(Other { name, graph, output: "gradient".into() }))
}

/// The gradient and one step of the walk, linked to the model as a plugin's program is.
fn linked(model: &Model, threat: &ThreatModel, given: Option<&Given>) -> Result<Graph, String> {
    let given = given.map(|given| &given.graph);
    let program = text::parse(&format!(
        "certificate (float[N,C,H,W] x, float[N,C,H,W] grad, float eps) => (float[N,C,H,W] gradient, float[N,C,H,W] x_next)
        <float[1] part = {{{}}}>
        {{ gradient = Identity(grad)  d = flatscape.Steepest(grad)  alpha = Mul(eps, part)  s = Mul(d, alpha)  x_next = Add(x, s) }}",
        2.5 / f64::from(WALK)
    ))
    .map_err(|e| e.to_string())?;
    let margin = model.remedied.margin.then(|| objective(false));
    let seen = model.remedied.twin.as_ref().or(model.drawn.as_ref()).unwrap_or(&model.graph);
    let link = Link { objective: margin.as_ref(), given, steps: WALK, ..Link::of(seen, threat) };
    link.stage(&program, Point::Fed, true, &[]).map(|linked| linked.graph).map_err(|e: LinkError| e.to_string())
}
