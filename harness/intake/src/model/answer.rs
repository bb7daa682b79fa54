//! Which output of a model answers, and how many classes it has. Knows types and names of outputs; of graphs only what they
//! declare.

use flatscape_graph::normalize::{Answer, logits_of};
use flatscape_graph::{Expr, Graph, Output, shown};

use crate::refusal::{Refusal, nearest};

/// What an output says about an image, as it is stated with `--task`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Exactly one of several classes is right.
    Classes,
    /// One logit or one probability: class 1 or class 0.
    Binary,
}

impl Task {
    /// Reads `classes` or `binary`.
    ///
    /// # Errors
    /// A usage error that lists both.
    pub fn parse(text: &str) -> Result<Task, Refusal> {
        let all = [("classes", Task::Classes), ("binary", Task::Binary)];
        all.iter().find(|(name, _)| *name == text).map(|(_, task)| *task).ok_or_else(|| {
            let meant = nearest(text, ["classes", "binary"]).map_or(String::new(), |n| format!("; did you mean {n}?"));
            Refusal::usage(91, format!("no task is called {}", shown(text))).help(format!("there are classes and binary{meant}"))
        })
    }

    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Task::Classes => "classes",
            Task::Binary => "binary",
        }
    }

    /// As the graph crate asks for it.
    pub(super) fn answer(task: Option<Task>) -> Answer {
        match task {
            None => Answer::Classes,
            Some(Task::Classes) => Answer::StatedClasses,
            Some(Task::Binary) => Answer::Binary,
        }
    }
}

/// The output that was named, or the only one that can be logits: float [N,K], with extents of 1 behind. Where several can, those
/// with as many classes as there are `labels`; of a probability and the logits that it is made of, the logits.
pub(super) fn choose(
    graph: &Graph,
    model: &str,
    wanted: Option<&str>,
    task: Option<Task>,
    labels: Option<usize>,
) -> Result<usize, Refusal> {
    let all = graph.outputs();
    let list = |chosen: &[usize]| {
        let one = |&i: &usize| format!("{} {}", shown(&all[i].name), graph.value(all[i].value).ty);
        chosen.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let every: Vec<usize> = (0..all.len()).collect();
    if let Some(wanted) = wanted {
        return all.iter().position(|o| &*o.name == wanted).ok_or_else(|| {
            let help = format!("its outputs are {}", list(&every));
            Refusal::usage(59, format!("{model} has no output {}", shown(wanted))).help(help)
        });
    }
    if all.len() == 1 {
        return Ok(0);
    }
    let mut able: Vec<usize> = every.iter().copied().filter(|&i| class_extent(graph, &all[i], task).is_ok()).collect();
    if let Some(k) = labels.filter(|_| able.len() > 1) {
        let fits = |&i: &usize| class_extent(graph, &all[i], task) == Ok(k);
        let fitting: Vec<usize> = able.iter().copied().filter(fits).collect();
        able = if fitting.is_empty() { able } else { fitting };
    }
    let of_another = |&i: &usize| {
        let logits = logits_of(graph, all[i].value);
        logits.is_some() && able.iter().any(|&j| j != i && Some(all[j].value) == logits)
    };
    let first_hand: Vec<usize> = able.iter().copied().filter(|i| !of_another(i)).collect();
    match (&able[..], &first_hand[..]) {
        (&[only], _) | (_, &[only]) => Ok(only),
        _ => {
            let candidates = if able.is_empty() { &every } else { &able };
            let what = format!("{model} has {} outputs that may hold the logits: {}", candidates.len(), list(candidates));
            Err(Refusal::usage(59, what).help("say which one, [N,classes]: --output NAME"))
        }
    }
}

/// One number per image, and nothing else that can be scores, of a classifier that names two classes: it decides between them.
pub(super) fn implied(graph: &Graph, labels: &[String], facts: &mut Vec<String>) -> Option<Task> {
    let outputs = graph.outputs();
    let mut single = outputs.iter().filter(|o| class_extent(graph, o, Some(Task::Binary)) == Ok(2));
    let (Some(only), None) = (single.next(), single.next()) else { return None };
    if labels.len() != 2 || outputs.iter().any(|o| class_extent(graph, o, None).is_ok()) {
        return None;
    }
    let pair: Vec<String> = labels.iter().map(|label| shown(label)).collect();
    facts.push(format!(
        "the output {} decides between the two classes of the classifier, {}",
        shown(&only.name),
        pair.join(" and ")
    ));
    Some(Task::Binary)
}

/// A clause about scores that are not as many as the classes that the classifier of the file names.
pub(super) fn unlike_labels(labels: &[String], scores: usize, output: &str) -> Option<String> {
    let classes = labels.len();
    let pairs = if scores == classes * classes.saturating_sub(1) / 2 { ", one for each pair of classes" } else { "" };
    let what = || format!("output {} has {scores} scores{pairs}, and its classifier names {classes} classes", shown(output));
    (classes > 1 && scores != classes).then(what)
}

/// The number of classes of an output that can be logits; otherwise a clause that says why it cannot.
pub(super) fn class_extent(graph: &Graph, output: &Output, task: Option<Task>) -> Result<usize, String> {
    let ty = &graph.value(output.value).ty;
    let cannot = |why: &str| Err(format!("output {} is {ty}: {why}", shown(&output.name)));
    let single = || match task {
        Some(Task::Binary) => Ok(2),
        _ => cannot("one number per image"),
    };
    match (ty.dtype, ty.shape.as_deref()) {
        (Some(dtype), _) if !dtype.is_float() => cannot("logits are floats"),
        (_, None) => cannot("its shape cannot be inferred, so the classes are unknown"),
        (_, Some([_])) => single(),
        (_, Some([_, classes, ones @ ..])) if ones.iter().all(|d| d.fixed() == Some(1)) => match classes.fixed() {
            Some(1) => single(),
            Some(n) if n >= 2 => Ok(n),
            Some(_) => cannot("there are no classes"),
            None => cannot("the number of classes is not fixed"),
        },
        (_, Some([_, _, _])) => cannot("an answer for every position or box (a detector, or a sequence); expected [N,classes]"),
        (_, Some([_, _, _, _])) => cannot("an answer for every pixel (a segmentation, or features); expected [N,classes]"),
        _ => cannot("expected [N,classes], with extents of 1 behind at most"),
    }
}

/// Logits as [N,K], without the extents of 1 that may follow.
pub fn rows_of_logits(logits: Expr<'_>) -> Expr<'_> {
    let trailing: Vec<i64> = (2..logits.rank().unwrap_or(2) as i64).collect();
    logits.squeeze(&trailing)
}
