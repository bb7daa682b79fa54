//! Whether the gradient still says something at the distance that an attack walks: the slope of the margin over a hundredth and
//! over a quarter of the radius, along random signs. A model can have a correct gradient that is worthless, if its points is
//! shattered finer than any step.

use crate::errors::{Errors, Tolerance};
use crate::points::{Points, Site};
use crate::slopes::{margin_weights, slope};
use crate::{Check, Finding, Scalar};

/// Half of the norm: what is further off does not even point the same way most of the time.
const SCALE: &str = "max(‖∇‖, |slope|)";

/// Over ε/100. Ordinary nets stay below 2 % on the way, with the kinks of many small units; a shattered one is above 60 %. Beside
/// the flat parts of an image the maxima of pools are nearly tied and change within such a step: an ordinary net with large pools
/// reaches 27 % at the images of MNIST, with a median of 0.27, and passes after three steps.
pub(super) const NEAR: Check = Check {
    name: "slope-near",
    what: "the gradient of the margin against its difference over a hundredth of the radius",
    counts: true,
    slopes: true,
    measure: |points, site| {
        let (share, median) = if site.name == "iterate" { (0.05, 0.2) } else { (0.4, 0.4) };
        over(points, site, 0, &Tolerance { noun: "pairs", error: 0.5, of: SCALE, share, median })
    },
};

/// Over ε/4. Undefended residual nets reach 30 % at 8/255; where the gradient says nothing it is above 60 %.
pub(super) const FAR: Check = Check {
    name: "slope-far",
    what: "the gradient of the margin against its difference over a quarter of the radius",
    counts: true,
    slopes: true,
    measure: |points, site| over(points, site, 1, &Tolerance { noun: "pairs", error: 0.5, of: SCALE, share: 0.35, median: 0.6 }),
};

fn over(points: &Points, site: &Site, which: usize, tolerance: &Tolerance) -> Result<Option<Finding>, String> {
    let Some(reach) = points.subject.reach else { return Ok(None) };
    let Some(weights) = margin_weights(points, site) else { return Ok(None) };
    if reach == 0.0 {
        return Err("the radius is 0".to_owned());
    }
    let (gradient, _) = points.product(&site.x, &weights, &vec![0.0; site.x.len()])?;
    let scalar = Scalar::Weighted(weights);
    let mut errors = Errors::default();
    for (v, step) in site.directions.iter().filter_map(|d| d.reaches.get(which)) {
        // only the entries that are moved have a say
        let moved: Vec<f64> = gradient.iter().zip(v).map(|(g, v)| if *v == 0.0 { 0.0 } else { *g }).collect();
        for block in 0..points.subject.blocks {
            let expected = slope(step, &|values, block| scalar.of(values, block), block, points.subject.blocks);
            errors.add(block, points.dot(&moved, v, block), expected, points.scale(site, &moved, block));
        }
    }
    let count = site.directions.iter().filter(|d| !d.reaches.is_empty()).count();
    Ok(Some(errors.judged(points, format!("{count} sign"), tolerance)))
}
