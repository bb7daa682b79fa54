//! The loss on the line between two files of one architecture. Source: Goodfellow, Vinyals, Saxe 2015 (arXiv:1412.6544), section 3.

use flatscape_sdk::{Ask, Component, Error, Param, Weights};

use super::{barrier, grid, moved, sounded, wide};

pub(crate) fn component() -> Component {
    Component::metric("interpolation", "loss and accuracy on the line from the model to another file of its architecture")
        .source("Goodfellow, Vinyals, Saxe 2015, section 3; barrier: Frankle et al. 2020, section 2")
        .param(Param::text("to", "none", "the other file"))
        .param(Param::text("grid", "-0.5:1.5:41", "from:to:points; 0 is the model, 1 the other file"))
        .param(Param::flag("refresh", false, "batch normalisation takes the statistics of the samples at every point"))
        // no graphs: this checks the arguments before anything runs
        .build(|ask| {
            named(ask, "interpolation")?;
            grid(ask.text("grid")).map(|_| ask.program())
        })
        .weights(measure)
}

/// The file that the user named.
pub(crate) fn named<'a>(ask: &'a Ask, id: &str) -> Result<&'a str, Error> {
    match ask.text("to") {
        "none" | "" => Err(Error::invalid(format!("name the other file: {id}:to=FILE"))),
        file => Ok(file),
    }
}

fn measure(ask: &Ask, weights: &Weights<'_>) -> Result<(), Error> {
    let file = named(ask, "interpolation")?;
    let t = grid(ask.text("grid"))?;
    let theta = weights.theta();
    let line: Vec<f64> = wide(&weights.other(file)?).iter().zip(theta).map(|(b, &a)| b - f64::from(a)).collect();
    if line.iter().all(|v| *v == 0.0) {
        return Err(Error::unsupported(format!("{file} has the same weights as the model: the direction to it vanishes")));
    }
    let (mut loss, mut accuracy) = (Vec::new(), Vec::new());
    for &t in &t {
        let at = moved(theta, &[(t, &line)]);
        if ask.flag("refresh") {
            weights.refresh(Some(&at))?;
        }
        let (l, a) = sounded(weights, &at)?;
        loss.push(l);
        accuracy.push(a);
    }
    weights.curve("interpolation_loss", &t, &loss)?;
    weights.curve("interpolation_accuracy", &t, &accuracy)?;
    weights.value("interpolation_holes", loss.iter().filter(|l| l.is_nan()).count() as f64, None, t.len())?;
    weights.value("interpolation_distance", super::norm(&line), None, weights.parameters())?;
    if let Some(barrier) = barrier(&t, &loss) {
        weights.value("interpolation_barrier", barrier, None, weights.samples())?;
    }
    Ok(())
}
