//! Mistakes of sampling: coordinates, rounding, borders, filters.

use super::altered::{detached, set, written_with};
use super::{Mistake, wrongly_written};

pub const MISTAKES: &[Mistake] = &[
    wrongly_written("Resize", "the corners are aligned where they are not, and the other way round", |n| {
        let aligned = n.string("coordinate_transformation_mode", "half_pixel") == "align_corners";
        let other = if aligned { "half_pixel" } else { "align_corners" };
        written_with(n, |node| set(node, "coordinate_transformation_mode", Some(other.into())))
    }),
    wrongly_written("Resize", "half a pixel is forgotten", |n| {
        written_with(n, |node| set(node, "coordinate_transformation_mode", Some("asymmetric".into())))
    }),
    wrongly_written("Resize", "the nearest is the one before", |n| {
        written_with(n, |node| set(node, "nearest_mode", Some("floor".into())))
    }),
    wrongly_written("Resize", "linear for cubic", |n| match n.string("mode", "nearest").as_str() {
        "cubic" => written_with(n, |node| set(node, "mode", Some("linear".into()))),
        _ => written_with(n, |_| {}),
    }),
    wrongly_written("Resize", "the coefficient of the cubic is that of others", |n| {
        written_with(n, |node| set(node, "cubic_coeff_a", Some((-0.5f32).into())))
    }),
    wrongly_written("Resize", "antialias is forgotten", |n| written_with(n, |node| set(node, "antialias", None))),
    wrongly_written("Resize", "weights outside are kept", |n| written_with(n, |node| set(node, "exclude_outside", None))),
    wrongly_written("GridSample", "the corners are aligned where they are not, and the other way round", |n| {
        let other = 1 - n.int("align_corners", 0);
        written_with(n, |node| set(node, "align_corners", Some(other.into())))
    }),
    wrongly_written("GridSample", "the border is zero always", |n| written_with(n, |node| set(node, "padding_mode", None))),
    wrongly_written("GridSample", "the border is repeated always", |n| {
        written_with(n, |node| set(node, "padding_mode", Some("border".into())))
    }),
    wrongly_written("GridSample", "the nearest pixel only", |n| {
        written_with(n, |node| set(node, "mode", Some("nearest".into())))
    }),
    wrongly_written("GridSample", "the places are detached", |n| {
        let places = detached(n.x(1)).id;
        written_with(n, |node| node.inputs[1] = Some(places))
    }),
    wrongly_written("Det", "with a sign", |n| Ok(written_with(n, |_| {})?.into_iter().map(|y| -y).collect())),
];
