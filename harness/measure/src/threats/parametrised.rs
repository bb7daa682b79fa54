//! What parametrised threat models share: the parameter lies in a box around 0, each number in its own unit.

use flatscape_graph::Expr;

use super::{Parameter, Radius, Scale, Threat, sampling};

/// How far a point may lie from what its parameter decodes to: places are computed in float32, where they are exact to about
/// 1e-5 of a pixel.
const DECODED: f64 = 1e-4;

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
    /// max |zᵢ|/unitᵢ, where `x` is what z decodes to; a unit of 0 admits 0 only.
    pub(super) fn distance(&self, x: &[f32], x0: &[f32], z: &[f32], scale: &Scale, shape: [usize; 3]) -> Option<f64> {
        let units = (self.units)(scale, shape);
        if z.len() != units.len() || z.iter().any(|v| !v.is_finite()) {
            return None;
        }
        let decoded = (self.decoded)(x0, z, shape);
        // a difference that is NaN is not small
        let near = |(want, &have): (&f64, &f32)| (want - f64::from(have)).abs() <= DECODED;
        if !decoded.iter().zip(x).all(near) {
            return None;
        }
        let share = |(z, unit): (&f32, &f64)| if *z == 0.0 { 0.0 } else { f64::from(z.abs()) / unit };
        Some(z.iter().zip(&units).map(share).fold(0.0, f64::max))
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
