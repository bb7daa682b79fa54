//! Threat models: what an adversary may do to an image. One file and one row per threat model; knows distances, projections and
//! steepest steps as formulas and as graphs, nothing of attacks.

mod corruption;
mod flow;
mod hyperplane;
mod l0;
mod l1;
mod l2;
mod linf;
mod parametrised;
mod rigid;
mod sampling;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[path = "../../hazards/src/trial.rs"]
mod trial;

use flatscape_graph::{Expr, shown};
use flatscape_intake::number::number;
use flatscape_intake::refusal::{Refusal, nearest};

use parametrised::parametrised;

pub use flatscape_corruptions::{Key, SEVERITIES, TYPES, Type};
pub use parametrised::{Parameter, Points, Ranges, Space};

/// What an adversary may do, and what follows from it. Shapes: `x`, `x0`, `g` are [N, …] of one rank; `eps`, `lo`, `hi`
/// are scalars or broadcast against `x`. Under a parametrised threat model `x` is decoded from a parameter z, float[N,P], and
/// the distance, the ball and the steepest step are those of z.
pub struct Threat {
    /// The name as written, e.g. `linf`.
    pub name: &'static str,
    /// One line of help.
    pub summary: &'static str,
    /// An example, e.g. `linf:8/255`.
    pub example: &'static str,
    /// The largest plausible ε; more is probably a forgotten `/255`.
    pub largest: f64,
    /// Reads the text behind the colon. The error is a clause.
    pub read: fn(spelling: &str) -> Result<Radius, String>,
    /// The distance of two images in double precision; `None` where it depends on C, H, W and these are not known.
    pub distance: Distance,
    /// The distance per sample as a graph: [N].
    pub distance_graph: for<'b> fn(x: Expr<'b>, x0: Expr<'b>) -> Expr<'b>,
    /// The point of ball ∩ box for `x`, as a graph: first into the ball, then into the box [lo, hi].
    pub project: for<'b> fn(x: Expr<'b>, ball: Ball<'b>) -> Expr<'b>,
    /// The direction of unit length along which a step gains most, as a graph; 0 where `g` is 0.
    pub steepest: for<'b> fn(g: Expr<'b>) -> Expr<'b>,
    /// The nearest point of {v: w·v = b} within the box, as a graph, where there is a formula for it.
    pub hyperplane: Option<Nearest>,
    /// What the image is decoded from, where it is not changed itself.
    pub parameter: Option<Parameter>,
}

/// From x and x0 of one sample, and C, H, W where they are known, to the distance in double precision.
pub type Distance = fn(x: &[f32], x0: &[f32], shape: Option<[usize; 3]>) -> Option<f64>;

/// From points x [N,K,D], w [N,1,D], b [N,1,1] and the faces of the box to points like x.
pub type Nearest = for<'b> fn(x: Expr<'b>, w: Expr<'b>, b: Expr<'b>, bounds: (Expr<'b>, Expr<'b>)) -> Expr<'b>;

/// Where a perturbed image may be, as values of a graph.
#[derive(Clone, Copy, Debug)]
pub struct Ball<'b> {
    /// The clean images.
    pub x0: Expr<'b>,
    /// Radius.
    pub eps: Expr<'b>,
    /// Smallest pixel.
    pub lo: Expr<'b>,
    /// Largest pixel.
    pub hi: Expr<'b>,
}

/// A radius as it was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Radius {
    /// ε
    pub eps: f64,
    /// What ε counts.
    pub scale: Scale,
}

/// What a radius counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Pixel values in [0,1], or whole pixels under `l0`.
    Values,
    /// Places, in pixels.
    Pixels,
    /// Places, in coordinates in which the image reaches from −1 to 1.
    Grid,
    /// Severities, 1 to [`SEVERITIES`].
    Severity,
    /// Shares of two limits.
    Rigid {
        /// Largest angle.
        degrees: f64,
        /// Largest shift.
        pixels: f64,
    },
}

/// The threat models, in the order of the help.
pub const THREATS: &[Threat] =
    &[linf::THREAT, l2::THREAT, l1::THREAT, l0::THREAT, flow::THREAT, rigid::THREAT, corruption::THREAT];

impl std::fmt::Debug for Threat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The row of that name.
pub fn norm(name: &str) -> Option<&'static Threat> {
    THREATS.iter().find(|n| n.name == name)
}

/// A threat model with its budget, e.g. `linf:8/255`.
#[derive(Clone, Debug)]
pub struct ThreatModel {
    /// What the adversary may do.
    pub norm: &'static Threat,
    /// Radius, in what `scale` counts: pixel values in [0,1] for the norms.
    pub eps: f64,
    /// What the radius counts.
    pub scale: Scale,
    /// C, H, W of the images that it is about, see [`ThreatModel::on`]; `None` until it is set.
    pub shape: Option<[usize; 3]>,
    /// ε as it was written, e.g. `8/255`.
    pub spelling: String,
    /// Smallest pixel.
    pub lo: f32,
    /// Largest pixel.
    pub hi: f32,
    /// Whether decoded images are rounded to 8 bits, for models that take integers; see [`ThreatModel::in_levels`].
    pub levels: bool,
    /// Seed of what is drawn where images are decoded, see [`ThreatModel::seeded`].
    pub seed: u64,
}

/// A point that is judged: the image, and the parameter that it was decoded from where the threat model has one.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// C·H·W values in pixel units.
    pub x: Vec<f32>,
    /// P values; `None` where the image itself is changed.
    pub z: Option<Vec<f32>>,
    /// The id of the sample: with the seed it keys what is drawn where the image is decoded.
    pub sample: u64,
}

impl From<Vec<f32>> for Candidate {
    /// An image without a parameter, of whichever sample.
    fn from(x: Vec<f32>) -> Candidate {
        Candidate { x, z: None, sample: 0 }
    }
}

impl ThreatModel {
    /// Reads `linf:8/255`, `l2:0.5`, `rigid:30deg+3px`. With `large` a radius that exceeds the range of pixels is accepted.
    ///
    /// # Errors
    /// Usage errors: no such threat model, no radius, a radius that is negative or not finite, or (`U090`) implausibly large.
    pub fn parse(text: &str, large: bool) -> Result<ThreatModel, Refusal> {
        let (row, spelling) = row_of(text)?;
        of_row(row, spelling, large)
    }

    /// Reads a threat model with several radii, `linf:2/255,4/255`: one for each, in the order in which they are written.
    ///
    /// # Errors
    /// As for [`ThreatModel::parse`], and a radius that is written twice.
    pub fn parse_all(text: &str, large: bool) -> Result<Vec<ThreatModel>, Refusal> {
        let (row, spellings) = row_of(text)?;
        let mut all: Vec<ThreatModel> = Vec::new();
        for spelling in spellings.split(',') {
            let one = of_row(row, spelling.trim(), large)?;
            if all.iter().any(|before| (before.eps, before.scale) == (one.eps, one.scale)) {
                return Err(Refusal::usage(
                    89,
                    format!("the threat model {} names the radius {} twice", shown(text), one.spelling),
                ));
            }
            all.push(one);
        }
        Ok(all)
    }

    /// The same for images of C, H, W: some distances and every parameter depend on it.
    #[must_use]
    pub fn on(&self, shape: [usize; 3]) -> ThreatModel {
        ThreatModel { shape: Some(shape), ..self.clone() }
    }

    /// The same for images that are rounded to 8 bits after they were decoded. Changes nothing where nothing is decoded.
    #[must_use]
    pub fn in_levels(&self) -> ThreatModel {
        ThreatModel { levels: true, ..self.clone() }
    }

    /// The same with the seed of the audit, which keys what is drawn where images are decoded.
    #[must_use]
    pub fn seeded(&self, seed: u64) -> ThreatModel {
        ThreatModel { seed, ..self.clone() }
    }

    /// As it is written, e.g. `linf:8/255`.
    pub fn text(&self) -> String {
        format!("{}:{}", self.norm.name, self.spelling)
    }

    /// The largest distance of two images of so many values in the box, for norms of pixels.
    pub fn diameter(&self, values: usize) -> f64 {
        let edge = f64::from(self.hi - self.lo);
        match self.norm.name {
            "l2" => edge * (values as f64).sqrt(),
            "l1" => edge * values as f64,
            _ => edge,
        }
    }

    /// The distance up to which a point counts as inside: ε(1 + 1e-5) + 1e-7, for float32 rounding.
    pub fn tolerated(&self) -> f64 {
        self.eps * (1.0 + 1e-5) + 1e-7
    }

    /// The distance of a point from the clean image in float64: of the images, or of the parameter that the point was decoded
    /// from. `None` where that cannot be told: the sizes do not fit, the shape is needed and not known, the parameter is missing,
    /// or it decodes to another image.
    pub fn distance(&self, point: &Candidate, x0: &[f32]) -> Option<f64> {
        let Candidate { x, z, sample } = point;
        let fits = self.shape.is_none_or(|shape| shape.iter().product::<usize>() == x0.len());
        if x.len() != x0.len() || !fits {
            return None;
        }
        let Some(parameter) = &self.norm.parameter else { return (self.norm.distance)(x, x0, self.shape) };
        let (z, shape) = (z.as_deref()?, self.shape?);
        let distance = parameter.distance(z, &self.scale, shape)?;
        parameter.decodes_to(x, x0, z, shape, (self.key(*sample), self.levels)).then_some(distance)
    }

    /// The candidate behind what an attack moves on a sample: the image, or the parameter that it is decoded from, in double
    /// precision, rounded to float32. Where it cannot be decoded (a number is missing, NaN or infinite, or means nothing) the image
    /// is empty, and no judge admits it.
    pub fn candidate(&self, x0: &[f32], moved: Vec<f32>, sample: u64) -> Candidate {
        let Some(parameter) = &self.norm.parameter else { return Candidate { x: moved, z: None, sample } };
        let fits = |&shape: &[usize; 3]| {
            parameter.distance(&moved, &self.scale, shape).is_some() && x0.len() == shape.iter().product::<usize>()
        };
        let decoded = self.shape.filter(fits).map(|shape| (parameter.decoded)(x0, &moved, shape, self.key(sample)));
        let x = decoded.map_or(Vec::new(), |decoded| decoded.into_iter().map(|v| v as f32).collect());
        Candidate { x, z: Some(moved), sample }
    }

    fn key(&self, sample: u64) -> Key {
        Key { seed: self.seed, sample }
    }

    /// Whether a point of one sample is finite, in the box and in the ball around `x0`.
    pub fn contains(&self, point: &Candidate, x0: &[f32]) -> bool {
        let inside = |v: &f32| v.is_finite() && (self.lo..=self.hi).contains(v);
        point.x.iter().all(inside) && self.distance(point, x0).is_some_and(|distance| distance <= self.tolerated())
    }

    /// Whether radii of the two count the same, so that the larger one contains the smaller one.
    pub fn is_nested_with(&self, other: &ThreatModel) -> bool {
        self.norm.name == other.norm.name && self.scale == other.scale
    }

    /// P: how many numbers a program gives as `z` for images of a shape. Where nothing is decoded, z is the image.
    pub fn parameters(&self, shape: [usize; 3]) -> usize {
        self.norm.parameter.map_or(shape.iter().product(), |parameter| (parameter.count)(shape))
    }
}

/// The row that a text names, and the text behind the colon.
fn row_of(text: &str) -> Result<(&'static Threat, &str), Refusal> {
    let names = || THREATS.iter().map(|n| n.name);
    let examples = || THREATS.iter().map(|n| n.example).collect::<Vec<_>>().join(", ");
    let (name, spelling) = text.split_once(':').ok_or_else(|| {
        Refusal::usage(89, format!("the threat model {} has no radius", shown(text))).help(format!("examples are {}", examples()))
    })?;
    let row = norm(name).ok_or_else(|| {
        let known = names().collect::<Vec<_>>().join(", ");
        let meant = nearest(name, names()).map_or(String::new(), |n| format!("; did you mean {n}?"));
        Refusal::usage(91, format!("no threat model is called {}", shown(name))).help(format!("there are {known}{meant}"))
    })?;
    Ok((row, spelling))
}

fn of_row(row: &'static Threat, spelling: &str, large: bool) -> Result<ThreatModel, Refusal> {
    let text = format!("{}:{spelling}", row.name);
    let example = format!("write for example {}", row.example);
    let refused = |why: &str| Refusal::usage(89, format!("the radius of {} {why}", shown(&text))).help(example.clone());
    let Radius { eps, scale } = (row.read)(spelling).map_err(|why| refused(&why))?;
    if eps < 0.0 {
        return Err(refused("is negative"));
    }
    if eps > row.largest && !large {
        let why = format!("the radius {spelling} of {} exceeds {}, but pixels lie in [0, 1]", row.name, row.largest);
        let help = format!("did you mean {}:{spelling}/255? if not, say --eps-is-large-on-purpose", row.name);
        return Err(Refusal::usage(90, why).help(help));
    }
    Ok(ThreatModel {
        norm: row,
        eps,
        scale,
        shape: None,
        spelling: spelling.to_owned(),
        lo: 0.0,
        hi: 1.0,
        levels: false,
        seed: 0,
    })
}

/// A number of pixel values. The error is a clause.
fn plain(spelling: &str) -> Result<Radius, String> {
    Ok(Radius { eps: number(spelling)?, scale: Scale::Values })
}

/// All axes but the first.
pub fn sample_axes(x: Expr<'_>) -> Vec<i64> {
    (1..x.rank().unwrap_or(1) as i64).collect()
}
