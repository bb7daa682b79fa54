//! Parametrised threat models: images are decoded from a parameter z. Its numbers lie in a box around 0, each with its own unit, and
//! images are a graph of z; or they name single points, and only the host decodes them.

use flatscape_graph::Expr;

use super::{Key, Radius, Scale, Threat, sampling};

/// From x0 [N,C,H,W] and z [N,P] to the images, as a graph.
pub type Decode = for<'b> fn(x0: Expr<'b>, z: Expr<'b>, shape: [usize; 3]) -> Expr<'b>;

/// From the scale of a threat model, and C, H, W, to one unit per number of z.
pub type Units = fn(scale: &Scale, shape: [usize; 3]) -> Vec<f64>;

/// From x0 [C,H,W] and z [P] to the image, in double precision.
pub type Decoded = fn(x0: &[f32], z: &[f32], shape: [usize; 3], key: Key) -> Vec<f64>;

/// The parameter z of a threat model, P numbers. 0 leaves the image as it is.
#[derive(Clone, Copy)]
pub struct Parameter {
    /// P for images of a shape.
    pub count: fn(shape: [usize; 3]) -> usize,
    /// Where z may lie.
    pub space: Space,
    /// The image for x0 [C,H,W] and z [P], in double precision.
    pub decoded: Decoded,
}

/// Where a parameter may lie.
#[derive(Clone, Copy)]
pub enum Space {
    /// In a box around 0.
    Ranges(Ranges),
    /// At single points. A judge looks at each of them, because the decoding has no graph and no derivative.
    Points(Points),
}

/// A box of P numbers around 0. The distance of z is the largest |z| in units, max |zᵢ|/unitᵢ.
#[derive(Clone, Copy)]
pub struct Ranges {
    /// The unit of every number: how far it may go at ε = 1.
    pub units: Units,
    /// The images for x0 [N,C,H,W] and z [N,P], as a graph.
    pub decode: Decode,
}

/// Single points, each of one kind.
#[derive(Clone, Copy)]
pub struct Points {
    /// The distance of z; `None` where z is not one of the points.
    pub distance: fn(z: &[f32]) -> Option<f64>,
    /// How many kinds of points there are.
    pub kinds: usize,
    /// The kind of a point, below `kinds`; `None` where z is 0 or not one of the points.
    pub kind: fn(z: &[f32]) -> Option<usize>,
}

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
    /// The box of z, where images are a graph of it.
    pub fn ranges(&self) -> Option<Ranges> {
        if let Space::Ranges(ranges) = self.space { Some(ranges) } else { None }
    }

    /// The points of z, where only the host decodes them.
    pub fn points(&self) -> Option<Points> {
        if let Space::Points(points) = self.space { Some(points) } else { None }
    }

    /// Whether `x` is what z decodes to; with `rounded` up to the 8 bits to which it was rounded.
    pub(super) fn decodes_to(&self, x: &[f32], x0: &[f32], z: &[f32], shape: [usize; 3], (key, rounded): (Key, bool)) -> bool {
        let slack = if rounded { DECODED + ROUNDED } else { DECODED };
        // a difference that is NaN is not small
        let near = |(want, &have): (&f64, &f32)| (want - f64::from(have)).abs() <= slack;
        (self.decoded)(x0, z, shape, key).iter().zip(x).all(near)
    }

    /// The distance of z, in a box max |zᵢ|/unitᵢ, where a unit of 0 admits 0 only. `None` where z is not a parameter of such images:
    /// another number of values, one that is not finite, or none of the points.
    pub(super) fn distance(&self, z: &[f32], scale: &Scale, shape: [usize; 3]) -> Option<f64> {
        if z.len() != (self.count)(shape) || !z.iter().all(|v| v.is_finite()) {
            return None;
        }
        match self.space {
            Space::Points(points) => (points.distance)(z),
            Space::Ranges(ranges) => {
                let share = |(z, unit): (&f32, &f64)| if *z == 0.0 { 0.0 } else { f64::from(z.abs()) / unit };
                Some(z.iter().zip(&(ranges.units)(scale, shape)).map(share).fold(0.0, f64::max))
            }
        }
    }
}

impl Ranges {
    /// The distance as a graph: [N] for z [N,P]. A unit of 0 makes every other number infinitely far.
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
