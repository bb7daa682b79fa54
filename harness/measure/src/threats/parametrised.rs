//! What parametrised threat models share: the parameter lies in a box around 0, each number in its own unit.

use flatscape_graph::Expr;

use super::{Parameter, Radius, Scale, Threat, sampling};

/// How far a pixel may lie from what its parameter decodes to: it is that value, rounded to float32.
const DECODED: f64 = 1e-5;

/// How much farther, where images are rounded to 8 bits after they were decoded: half a level.
const ROUNDED: f64 = 0.5 / 255.0;

/// The part of a row that is the same for every parametrised threat model: images have no distance without their parameter, and
/// the linker takes the formulas of [`Parameter`] instead of those of images.
pub(super) const fn parametrised() -> Threat {
    Threat {
        name: "",
        summary: "",
        example: "",
        largest: f64::INFINITY,
        read: |_| Ok(Radius { eps: 0.0, scale: Scale::Values }),
        distance: |_, _, _| None,
        distance_graph: |x, _| x * f64::NAN,
        project: |x, _| x * f64::NAN,
        steepest: |g| g * f64::NAN,
        hyperplane: None,
        parameter: None,
    }
}

impl Parameter {
    /// Whether z is a parameter of such images: P finite numbers.
    pub(super) fn is_one(&self, z: &[f32], shape: [usize; 3]) -> bool {
        z.len() == (self.count)(shape) && z.iter().all(|v| v.is_finite())
    }

    /// Whether `x` is what z decodes to; with `rounded` up to the 8 bits to which it was rounded.
    pub(super) fn decodes_to(&self, x: &[f32], x0: &[f32], z: &[f32], rounded: bool, shape: [usize; 3]) -> bool {
        let slack = if rounded { DECODED + ROUNDED } else { DECODED };
        // a difference that is NaN is not small
        let near = |(want, &have): (&f64, &f32)| (want - f64::from(have)).abs() <= slack;
        (self.decoded)(x0, z, shape).iter().zip(x).all(near)
    }

    /// max |zᵢ|/unitᵢ; a unit of 0 admits 0 only.
    pub(super) fn distance(&self, z: &[f32], scale: &Scale, shape: [usize; 3]) -> f64 {
        let share = |(z, unit): (&f32, &f64)| if *z == 0.0 { 0.0 } else { f64::from(z.abs()) / unit };
        z.iter().zip(&(self.units)(scale, shape)).map(share).fold(0.0, f64::max)
    }

    /// The same as a graph: [N] for z [N,P]. A unit of 0 makes every other number infinitely far.
    pub fn distance_graph<'b>(&self, z: Expr<'b>, scale: &Scale, shape: [usize; 3]) -> Expr<'b> {
        let inverse = |unit: &f64| if *unit == 0.0 { f64::from(f32::MAX) } else { 1.0 / unit };
        let inverses: Vec<f64> = (self.units)(scale, shape).iter().map(inverse).collect();
        (z.abs() * sampling::row(z, &inverses)).reduce("ReduceMax", &[1], false)
    }

    /// clip(z, −ε·unit, ε·unit), [N,P]; ε a scalar or [N,1]
    pub fn project<'b>(&self, z: Expr<'b>, eps: Expr<'b>, scale: &Scale, shape: [usize; 3]) -> Expr<'b> {
        let limit = sampling::row(z, &(self.units)(scale, shape)) * eps;
        z.max(-limit).min(limit)
    }

    /// sign(g)·unit: the direction of length 1 along which a step gains most
    pub fn steepest<'b>(&self, g: Expr<'b>, scale: &Scale, shape: [usize; 3]) -> Expr<'b> {
        g.sign() * sampling::row(g, &(self.units)(scale, shape))
    }
}
