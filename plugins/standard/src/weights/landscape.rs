//! The loss over two random directions of the weights, scaled filter by filter. Source: Li et al. 2018 (arXiv:1712.09913), sections 3
//! and 4; Xu et al. 2019, equations 5 and 6.

use flatscape_sdk::{Ask, Component, Error, Normalisation, Param, Weights};

use super::{directions, dot, grid, moved, norm, sounded};

/// Streams of noise of the two directions.
const STREAMS: [u32; 2] = [0, 1];

pub(crate) fn component() -> Component {
    Component::metric("weight-landscape", "loss and accuracy over two random directions of the weights, scaled filter by filter")
        .source("Li et al. 2018, Visualizing the Loss Landscape of Neural Nets, sections 3 and 4")
        .param(Param::text("grid", "-1:1:51", "from:to:points along each direction, in units of the filters' norms"))
        .param(directions::scale())
        .param(directions::ignore())
        .param(Param::flag("refresh", false, "batch normalisation takes the statistics of the samples at every point"))
        // no graphs: this checks the argument before anything runs
        .build(|ask| grid(ask.text("grid")).map(|_| ask.program()))
        .weights(measure)
}

fn measure(ask: &Ask, weights: &Weights<'_>) -> Result<(), Error> {
    let axis = grid(ask.text("grid"))?;
    let pair = [directions::drawn(ask, weights, STREAMS[0])?, directions::drawn(ask, weights, STREAMS[1])?];
    let lengths = pair.each_ref().map(|d| norm(d));
    if lengths.contains(&0.0) {
        return Err(Error::unsupported("a direction vanishes: no filter of this model has weights other than 0"));
    }
    told(weights);
    let theta = weights.theta();
    let cells = axis.len() * axis.len();
    let (mut loss, mut accuracy) = (Vec::with_capacity(cells), Vec::with_capacity(cells));
    for &y in &axis {
        for &x in &axis {
            let at = moved(theta, &[(x, &pair[0]), (y, &pair[1])]);
            if ask.flag("refresh") {
                weights.refresh(Some(&at))?;
            }
            let (l, a) = sounded(weights, &at)?;
            loss.push(l);
            accuracy.push(a);
        }
    }
    weights.surface("weight_loss", &axis, &axis, &loss)?;
    weights.surface("weight_accuracy", &axis, &axis, &accuracy)?;
    weights.value("weight_landscape_cosine", dot(&pair[0], &pair[1]) / (lengths[0] * lengths[1]), None, weights.parameters())?;
    weights.value("weight_landscape_holes", loss.iter().filter(|l| l.is_nan()).count() as f64, None, cells)?;
    weights.value("bn_folded", f64::from(u8::from(weights.normalisation() == Normalisation::Folded)), None, 1)?;
    for (name, value) in summary(&axis, &loss) {
        weights.value(&name, value, None, weights.samples())?;
    }
    Ok(())
}

/// Says what the picture leaves out.
fn told(weights: &Weights) {
    let words = match weights.normalisation() {
        Normalisation::Folded => {
            "batch normalisation was folded into convolutions when this file was exported: the norm of a filter has the factor of its \
             normalisation in it, and pictures of files with normalisation have not"
        }
        Normalisation::Present => {
            "batch normalisation keeps the statistics of the file unless refresh=true; stale ones exaggerate sharpness"
        }
        Normalisation::None => return,
    };
    weights.log(words);
}

/// Numbers that sum a surface up, those that the grid has: the increase on rings around the file, the curvature along the axes, and
/// the share of cells near the loss of the file.
fn summary(axis: &[f64], loss: &[f64]) -> Vec<(String, f64)> {
    let g = axis.len();
    let Some(middle) = axis.iter().position(|v| *v == 0.0) else { return Vec::new() };
    let centre = loss[middle * g + middle];
    let mut found = vec![("weight_loss_centre".to_owned(), centre)];
    let step = axis[1] - axis[0];
    for (word, radius) in [("25", 0.25), ("50", 0.5), ("100", 1.0)] {
        let near = |i: usize, j: usize| (axis[i].hypot(axis[j]) - radius).abs() <= step / 2.0;
        let places = (0..g).flat_map(|j| (0..g).map(move |i| (i, j))).filter(|&(i, j)| near(i, j));
        let rise: Vec<f64> = places.map(|(i, j)| loss[j * g + i] - centre).filter(|v| v.is_finite()).collect();
        if !rise.is_empty() {
            found.push((format!("weight_loss_rise_{word}_mean"), rise.iter().sum::<f64>() / rise.len() as f64));
            found.push((format!("weight_loss_rise_{word}_max"), rise.iter().copied().fold(f64::NEG_INFINITY, f64::max)));
        }
    }
    if middle >= 2 && middle + 2 < g {
        // least squares: c of a + bx + cx² through five equidistant points, twice it is the second derivative
        let along = |at: &dyn Fn(usize) -> f64| {
            let y: Vec<f64> = (middle - 2..=middle + 2).map(at).collect();
            2.0 * (2.0 * y[0] - y[1] - 2.0 * y[2] - y[3] + 2.0 * y[4]) / (14.0 * step * step)
        };
        found.push(("weight_curvature_x".to_owned(), along(&|i| loss[middle * g + i])));
        found.push(("weight_curvature_y".to_owned(), along(&|j| loss[j * g + middle])));
    }
    let low = loss.iter().filter(|l| **l < centre + 0.1).count();
    found.push(("weight_loss_low_share".to_owned(), low as f64 / loss.len() as f64));
    found.retain(|(_, value)| value.is_finite());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L = 1 + 3x² + y²/2 has the curvatures 6 and 1, and rises by its mean on a circle, 3.5 r²/2.
    #[test]
    fn a_quadratic_surface_is_summed_up_exactly() {
        let axis = super::super::spaced(-1.0, 1.0, 51);
        let loss: Vec<f64> = axis.iter().flat_map(|y| axis.iter().map(move |x| 1.0 + 3.0 * x * x + y * y / 2.0)).collect();
        let found: std::collections::BTreeMap<String, f64> = summary(&axis, &loss).into_iter().collect();
        assert_eq!(found["weight_loss_centre"], 1.0);
        assert!((found["weight_curvature_x"] - 6.0).abs() < 1e-9 && (found["weight_curvature_y"] - 1.0).abs() < 1e-9);
        assert!((found["weight_loss_rise_50_mean"] - 3.5 * 0.25 / 2.0).abs() < 0.02, "{found:?}");
        assert!(found["weight_loss_rise_100_max"] >= 3.0 * 0.95);
        assert!(summary(&[-0.5, 0.5], &[0.0; 4]).is_empty(), "the file is not a point of this grid");
    }
}
