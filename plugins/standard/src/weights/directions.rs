//! Directions in the space of weights: normal, scaled filter by filter. Source: Li et al. 2018 (arXiv:1712.09913), section 4, and the
//! code released with it.

use flatscape_sdk::{Ask, Error, Law, Param, Role, Segment, Weights};

use super::wide;

/// What keeps the norm of a filter's direction from 0, as in the released code.
const TINY: f64 = 1e-10;

pub(crate) fn ignore() -> Param {
    Param::choice("ignore", &["biasbn", "nothing"], "biasbn leaves biases and normalisation where they are, nothing moves them")
}

pub(crate) fn scale() -> Param {
    Param::choice(
        "norm",
        &["filter", "layer", "none"],
        "to whose norm a direction is scaled: every filter's, every weight's, none",
    )
}

/// A normal direction, scaled as the arguments say: d_f · ‖w_f‖/(‖d_f‖ + 1e-10) for every filter f. Biases, scales and slopes do not
/// move, or (`ignore=nothing`) in proportion to themselves; statistics do not move.
pub(crate) fn drawn(ask: &Ask, weights: &Weights, stream: u32) -> Result<Vec<f64>, Error> {
    let mut d = wide(&weights.noise(Law::Normal, stream, 0)?);
    scaled(&mut d, weights.theta(), weights.filters(), &weights.segments(), ask.text("norm"), ask.text("ignore"));
    Ok(d)
}

/// The rule on a vector.
pub(crate) fn scaled(d: &mut [f64], theta: &[f32], filters: &[i32], segments: &[Segment], norm: &str, ignore: &str) {
    for segment in segments {
        let range = segment.range.clone();
        match segment.role {
            Role::Kernel => {
                let groups: Vec<usize> = match norm {
                    "filter" => filters[range.clone()].iter().map(|&f| usize::try_from(f).unwrap_or(0)).collect(),
                    _ => vec![0; range.len()],
                };
                if norm == "none" {
                    continue;
                }
                let count = groups.iter().max().map_or(0, |most| most + 1);
                let (mut own, mut drawn) = (vec![0.0; count], vec![0.0; count]);
                for (&group, at) in groups.iter().zip(range.clone()) {
                    own[group] += f64::from(theta[at]).powi(2);
                    drawn[group] += d[at].powi(2);
                }
                for (&group, at) in groups.iter().zip(range) {
                    d[at] *= own[group].sqrt() / (drawn[group].sqrt() + TINY);
                }
            }
            Role::Bias | Role::Scale if ignore == "nothing" => range.for_each(|at| d[at] = f64::from(theta[at])),
            Role::Bias | Role::Scale | Role::Statistic => range.for_each(|at| d[at] = 0.0),
        }
    }
}

/// Sets to 0 what `ignore=biasbn` leaves where it is.
pub(crate) fn kernels_only(d: &mut [f64], segments: &[Segment]) {
    segments.iter().filter(|s| s.role != Role::Kernel).for_each(|s| d[s.range.clone()].fill(0.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(shape: &[usize], role: Role, from: usize) -> Segment {
        let size: usize = shape.iter().product();
        let axis = (role == Role::Kernel).then_some(0);
        Segment { name: "w".into(), shape: shape.to_vec(), role, axis, layer: 0, range: from..from + size }
    }

    /// w = [[3,4],[0,0]], d = [[1,0],[1,1]] gives [[5,0],[0,0]].
    #[test]
    fn filters_have_the_norm_of_their_weights() {
        let segments = [segment(&[2, 2], Role::Kernel, 0), segment(&[2], Role::Bias, 4)];
        let (theta, filters) = ([3.0f32, 4.0, 0.0, 0.0, 7.0, 8.0], [0, 0, 1, 1, -1, -1]);
        let scaled_by = |norm: &str, ignore: &str| {
            let mut d = vec![1.0, 0.0, 1.0, 1.0, 1.0, 1.0];
            scaled(&mut d, &theta, &filters, &segments, norm, ignore);
            d
        };
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-8);
        assert!(near(&scaled_by("filter", "biasbn"), &[5.0, 0.0, 0.0, 0.0, 0.0, 0.0]));
        assert!(near(&scaled_by("filter", "nothing"), &[5.0, 0.0, 0.0, 0.0, 7.0, 8.0]));
        let layer = 5.0 / 3f64.sqrt();
        assert!(near(&scaled_by("layer", "biasbn"), &[layer, 0.0, layer, layer, 0.0, 0.0]));
        assert!(near(&scaled_by("none", "biasbn"), &[1.0, 0.0, 1.0, 1.0, 0.0, 0.0]));
    }

    /// Values of the released code on weights of rank 4, 2 and 1, one filter of which is 0 (`tests/golden/weights.py`).
    #[test]
    fn the_rule_is_that_of_the_released_code() {
        let text = include_str!("../../../../tests/golden/weights/golden.json");
        let golden: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let golden = &golden["directions"];
        let numbers = |v: &serde_json::Value| -> Vec<f64> {
            v.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number")).collect()
        };
        let (mut segments, mut filters) = (Vec::new(), Vec::new());
        for shape in golden["shapes"].as_array().expect("shapes") {
            let shape: Vec<usize> = numbers(shape).into_iter().map(|n| n as usize).collect();
            let role = if shape.len() > 1 { Role::Kernel } else { Role::Bias };
            let segment = segment(&shape, role, filters.len());
            let slice = segment.range.len() / shape[0];
            filters.extend((0..segment.range.len()).map(|i| if role == Role::Kernel { (i / slice) as i32 } else { -1 }));
            segments.push(segment);
        }
        let theta: Vec<f32> = numbers(&golden["weights"]).into_iter().map(|v| v as f32).collect();
        for case in golden["cases"].as_array().expect("cases") {
            let mut d = numbers(&golden["drawn"]);
            let word = |name: &str| case[name].as_str().expect("a word").to_owned();
            scaled(&mut d, &theta, &filters, &segments, &word("norm"), &word("ignore"));
            for (found, wanted) in d.iter().zip(numbers(&case["result"])) {
                assert!((found - wanted).abs() < 1e-6 * wanted.abs().max(1e-3), "{case} {found}");
            }
        }
    }

    /// The layout decides nothing: the same filters along the other axis, and weights times s give directions times s.
    #[test]
    fn the_rule_follows_filters_and_scales_with_weights() {
        let segments = [segment(&[2, 2], Role::Kernel, 0)];
        let mut rows = vec![1.0, 2.0, 3.0, 4.0];
        let mut columns = vec![1.0, 3.0, 2.0, 4.0];
        scaled(&mut rows, &[3.0, 4.0, 6.0, 8.0], &[0, 0, 1, 1], &segments, "filter", "biasbn");
        scaled(&mut columns, &[3.0, 6.0, 4.0, 8.0], &[0, 1, 0, 1], &segments, "filter", "biasbn");
        assert_eq!([rows[0], rows[2], rows[1], rows[3]].to_vec(), columns);
        let mut twice = vec![1.0, 2.0, 3.0, 4.0];
        scaled(&mut twice, &[6.0, 8.0, 12.0, 16.0], &[0, 0, 1, 1], &segments, "filter", "biasbn");
        assert!(twice.iter().zip(&rows).all(|(a, b)| (a - 2.0 * b).abs() < 1e-12));
    }
}
