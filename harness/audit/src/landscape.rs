//! Landscapes: asks the metric `likelihood-landscape` for surfaces around chosen images, the same directions for every model,
//! and lays them out as data and as pictures on one scale. Knows the names of that metric's surfaces, not how it finds them.

use std::sync::atomic::AtomicBool;

use flatscape_graph::Tensor;
use flatscape_intake::data::Dataset;
use flatscape_intake::number::number;
use flatscape_intake::refusal::{Refusal, escape};
use flatscape_measure::findings::{Findings, FindingsError};
use flatscape_measure::prepared::{MeasureError, Prepared};
use flatscape_measure::request::{self, At, Request};
use flatscape_measure::threats::ThreatModel;
use flatscape_report::{Axis, Surface, shared_range, surface_csv, surface_svg, surfaces_svg};
use serde::{Deserialize, Serialize};

use crate::directory::Directory;
use crate::job::{Job, Work};
use crate::stored::{Stored, result_in};
use crate::weight_surfaces;

/// The metric that computes landscapes.
const COMPONENT: &str = "likelihood-landscape";

/// Which landscapes are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Landscapes {
    /// What is drawn.
    #[serde(default, skip_serializing_if = "Height::is_usual")]
    pub height: Height,
    /// Around which images.
    pub samples: Samples,
    /// Along which directions, one surface each.
    pub directions: Vec<Directions>,
    /// How far and how fine.
    pub grid: Grid,
}

/// Around which images landscapes are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Samples {
    /// This one.
    One(usize),
    /// The first images, this many, that every model classifies correctly.
    FirstCorrect(usize),
}

/// What is drawn over the two directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Height {
    /// Δlog p, with the loss beside it.
    #[default]
    Likelihood,
    /// The loss, which every model has.
    LossInput,
}

impl Height {
    /// Its word on the command line, and in the files of surfaces.
    pub fn name(self) -> &'static str {
        match self {
            Height::Likelihood => "likelihood",
            Height::LossInput => "loss-input",
        }
    }

    fn is_usual(&self) -> bool {
        *self == Height::Likelihood
    }
}

/// The two directions of a landscape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Directions {
    /// Two orthogonal random sign vectors (Lin et al. 2020, Fig. 1).
    Random,
    /// The FGSM direction and an orthogonal random sign vector (Fig. 5).
    Fgsm,
    /// From the image to the point of an attack, and an orthogonal random direction.
    Attack(Request),
    /// From the image to the points of two attacks.
    Attacks(Request, Request),
}

impl Directions {
    /// Reads `random`, `fgsm`, `attack:ATTACK` or `attack:ATTACK,ATTACK`; an attack with arguments stands in brackets.
    ///
    /// # Errors
    /// A usage error that names those there are.
    pub fn parse(text: &str) -> Result<Directions, Refusal> {
        let unknown = || {
            Refusal::usage(91, format!("{:?} is not a kind of directions", escape(text))).help(
                "there are random, fgsm, attack:ATTACK and attack:ATTACK,ATTACK; write attack:(pgd:steps=5,alpha=1/255),fgsm",
            )
        };
        match (text, text.strip_prefix("attack:")) {
            ("random", _) => Ok(Directions::Random),
            ("fgsm", _) => Ok(Directions::Fgsm),
            (_, Some(attacks)) => {
                let parts = request::arguments(attacks).map_err(|_| unknown())?;
                let read = |part: &str| {
                    let inner = part.strip_prefix('(').and_then(|p| p.strip_suffix(')')).unwrap_or(part);
                    Request::parse(inner)
                };
                match parts[..] {
                    [one] => Ok(Directions::Attack(read(one)?)),
                    [one, two] => Ok(Directions::Attacks(read(one)?, read(two)?)),
                    _ => Err(unknown()),
                }
            }
            _ => Err(unknown()),
        }
    }

    /// A word for names of files.
    pub fn name(&self) -> String {
        let of = |attack: &Request| attack.id.replace('/', ".");
        match self {
            Directions::Random => "random".to_owned(),
            Directions::Fgsm => "fgsm".to_owned(),
            Directions::Attack(one) => format!("attack-{}", of(one)),
            Directions::Attacks(one, two) => format!("attack-{}-{}", of(one), of(two)),
        }
    }

    /// Whether attacks lead the way.
    pub fn follow_attacks(&self) -> bool {
        matches!(self, Directions::Attack(_) | Directions::Attacks(..))
    }

    /// What one moves along.
    fn axes(&self) -> [String; 2] {
        let of = |attack: &Request| format!("direction of {attack}");
        match self {
            Directions::Random => ["random direction d".to_owned(), "orthogonal direction d⊥".to_owned()],
            Directions::Fgsm => ["FGSM direction".to_owned(), "orthogonal random direction".to_owned()],
            Directions::Attack(one) => [of(one), "orthogonal random direction".to_owned()],
            Directions::Attacks(one, two) => [of(one), of(two)],
        }
    }
}

/// A square grid around the image: from −extent to extent in pixel units, an odd number of points so that the image is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// Half the width; `None` takes the radius of the threat model.
    pub extent: Option<f64>,
    /// Points along each direction, odd.
    pub points: usize,
}

impl Grid {
    /// The usual grid for a radius: 41 points (Lin et al. leave it open).
    pub fn around(extent: f64) -> Grid {
        Grid { extent: Some(extent), points: 41 }
    }

    /// Reads `-8/255:8/255:41`.
    ///
    /// # Errors
    /// A usage error: not three numbers, not symmetric, an even number of points.
    pub fn parse(text: &str) -> Result<Grid, Refusal> {
        let wrong = |why: &str| {
            Refusal::usage(89, format!("the grid {:?} {why}", escape(text)))
                .help("write FROM:TO:POINTS, for example -8/255:8/255:41")
        };
        let parts: Vec<&str> = text.split(':').collect();
        let [from, to, points] = parts[..] else { return Err(wrong("has not three parts")) };
        let from = number(from).map_err(|why| wrong(&format!("begins with something that {why}")))?;
        let to = number(to).map_err(|why| wrong(&format!("ends with something that {why}")))?;
        let points: usize = points.parse().map_err(|_| wrong("has no whole number of points"))?;
        if to <= 0.0 || (from + to).abs() > 1e-12 {
            return Err(wrong("is not symmetric around the image"));
        }
        if points.is_multiple_of(2) || !(3..=1001).contains(&points) {
            return Err(wrong("must have an odd number of points between 3 and 1001, so that the image is one of them"));
        }
        Ok(Grid { extent: Some(to), points })
    }
}

/// The landscapes of one model along two directions: what one job computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LandscapeRequest {
    /// What is drawn.
    #[serde(default, skip_serializing_if = "Height::is_usual")]
    pub height: Height,
    /// The directions.
    pub directions: Directions,
    /// Half the width of the grid, in pixel units.
    pub extent: f64,
    /// Points along each direction, odd.
    pub points: usize,
    /// Around which images.
    pub samples: Samples,
}

impl LandscapeRequest {
    /// The metric with its arguments.
    pub fn component(&self) -> Request {
        let (kind, at, second) = match &self.directions {
            Directions::Random => ("random", None, None),
            Directions::Fgsm => ("fgsm", None, None),
            Directions::Attack(one) => ("attack", Some(one), None),
            Directions::Attacks(one, two) => ("attacks", Some(one), Some(two)),
        };
        let height = if self.height == Height::Likelihood { "likelihood" } else { "loss" };
        let pairs = [
            ("directions", kind.to_owned()),
            ("height", height.to_owned()),
            ("grid", self.points.to_string()),
            ("extent", self.extent.to_string()),
        ];
        Request {
            id: COMPONENT.to_owned(),
            arguments: pairs.map(|(key, value)| (key.to_owned(), value)).into(),
            at: at.map(|attack| At::Adversarial(Box::new(attack.clone()))),
            second: second.map(|attack| Box::new(attack.clone())),
            ..Request::default()
        }
    }

    /// The coordinates along each direction, in pixel units.
    fn values(&self) -> Vec<f64> {
        let last = (self.points - 1) as f64;
        (0..self.points).map(|i| self.extent * (2.0 * i as f64 / last - 1.0)).collect()
    }
}

impl Landscapes {
    /// One request per kind of directions.
    pub fn requests(&self, threat: &ThreatModel) -> Vec<LandscapeRequest> {
        if self.samples == Samples::FirstCorrect(0) {
            return Vec::new();
        }
        let extent = self.grid.extent.unwrap_or(threat.eps);
        let one = |directions: &Directions| LandscapeRequest {
            height: self.height,
            directions: directions.clone(),
            extent,
            points: self.grid.points,
            samples: self.samples,
        };
        self.directions.iter().map(one).collect()
    }

    /// What an audit draws: both kinds of directions around the first images that all models get right.
    pub fn of_audit(count: usize) -> Landscapes {
        Landscapes {
            height: Height::Likelihood,
            samples: Samples::FirstCorrect(count),
            directions: vec![Directions::Random, Directions::Fgsm],
            grid: Grid { extent: None, points: 41 },
        }
    }
}

/// Images among which the first correct ones are looked for.
pub const LOOKED: usize = 200;

/// The images of a request: those that all models of the run classify correctly; the first ones where there are none.
///
/// # Errors
/// There is no such image, or a result of the clean points is missing or does not fit its job.
pub fn samples(
    request: &LandscapeRequest,
    dataset: &Dataset,
    directory: &Directory,
    clean: &[Job],
) -> Result<Vec<usize>, Refusal> {
    let count = match request.samples {
        Samples::One(index) => return Ok(vec![index]),
        Samples::FirstCorrect(count) => count,
    };
    let looked = dataset.len().min(LOOKED);
    let mut right = vec![true; looked];
    for job in clean {
        let found = match result_in(directory, job)? {
            Some(Ok(found)) => found,
            Some(Err(why)) => return Err(Refusal::state(106, format!("{} {why}", job.result()))),
            None => return Err(Refusal::state(105, format!("{} is missing, and landscapes read it", job.result()))),
        };
        let column = |name: &str| found.get::<i64>(name).map_err(|e| Refusal::state(106, e.to_string()));
        for ((id, label), prediction) in column("id")?.into_iter().zip(column("label")?).zip(column("prediction")?) {
            if let Some(slot) = usize::try_from(id).ok().and_then(|id| right.get_mut(id)) {
                *slot &= label == prediction;
            }
        }
    }
    let common: Vec<usize> = (0..looked).filter(|&i| right[i]).take(count).collect();
    Ok(if common.is_empty() { (0..count.min(looked)).collect() } else { common })
}

/// Refuses a landscape around an image that the data set does not have.
///
/// # Errors
/// `U092`: there is no such image.
pub fn within(landscapes: Option<&Landscapes>, dataset: &Dataset) -> Result<(), Refusal> {
    match landscapes.map(|l| l.samples) {
        Some(Samples::One(index)) if index >= dataset.len() => {
            let what = format!("there is no image {index}: {} has {} here", dataset.name, dataset.len());
            Err(Refusal::usage(92, what))
        }
        _ => Ok(()),
    }
}

/// The columns of a landscape's findings that hold a surface each.
const SURFACES: [&str; 3] = ["surface_delta_logp", "surface_loss", "surface_predicted"];

/// The names of a request's surfaces.
fn surfaces_of(request: &LandscapeRequest) -> &'static [&'static str] {
    if request.height == Height::Likelihood { &SURFACES } else { &SURFACES[1..] }
}

#[expect(clippy::result_large_err, reason = "the error is that of the crate measure")]
/// Computes the surfaces around images: columns `id` and `label` [k], and `surface_…` [k, points²].
///
/// # Errors
/// The metric fails, or the run was asked to stop.
pub fn compute(
    request: &LandscapeRequest,
    prepared: &Prepared,
    samples: &[usize],
    progress: &mut dyn FnMut(usize, usize),
    stop: &AtomicBool,
) -> Result<Findings, MeasureError> {
    let mut result = Findings::default();
    let mut labels: Vec<i64> = Vec::new();
    let names = surfaces_of(request);
    let mut surfaces: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    for (done, &sample) in samples.iter().enumerate() {
        let found = prepared.compute(sample..sample + 1, None, None, &mut |_, _| {}, stop)?;
        if let Some(fault) = found.fault {
            return Err(fault);
        }
        spanned(request, &found.findings, sample)?;
        labels.extend(found.findings.get::<i64>("label")?);
        for (name, all) in names.iter().zip(&mut surfaces) {
            all.extend(grid(&found.findings, name)?);
        }
        progress(done + 1, samples.len());
    }
    result.column("id", samples.iter().map(|&s| s as i64).collect());
    result.column("label", labels);
    for (name, all) in names.iter().zip(surfaces) {
        let width = all.len() / samples.len().max(1);
        result.array(name, &[samples.len(), width], all)?;
    }
    Ok(result)
}

/// Refuses directions that span nothing: an attack that does not move the image, or two that move it along one line.
#[expect(clippy::result_large_err, reason = "the error is that of the crate measure")]
fn spanned(request: &LandscapeRequest, found: &Findings, sample: usize) -> Result<(), MeasureError> {
    if !request.directions.follow_attacks() {
        return Ok(());
    }
    let refused = |what: String| -> Result<(), MeasureError> {
        Err(Refusal::usage(92, what).help("name another attack, another image with --sample, or --directions random").into())
    };
    let of = |name: &str| found.get::<f64>(name);
    let [first, second] = [of("col_first_length")?, of("col_second_length")?].map(|v| v.first().copied());
    for (axis, length) in request.directions.axes().into_iter().zip([first, second]) {
        match length {
            None => return refused(format!("the landscape cannot be drawn: an attack gives no point for image {sample}")),
            Some(length) if length.is_nan() || length <= 0.0 => {
                return refused(format!("the landscape cannot be drawn: the {axis} vanishes at image {sample}"));
            }
            Some(_) => {}
        }
    }
    match of("col_cosine")?.first() {
        Some(cosine) if cosine.abs() > 1.0 - 1e-6 => {
            refused(format!("the landscape cannot be drawn: both attacks move image {sample} along one line"))
        }
        _ => Ok(()),
    }
}

/// The surfaces of a run, image by image, the models of one image side by side.
///
/// # Errors
/// A result does not fit its job, or cannot be read.
pub fn surfaces(stored: &Stored) -> Result<Vec<Surface>, Refusal> {
    let mut groups: Vec<(LandscapeRequest, Vec<Vec<Surface>>)> = Vec::new();
    for job in &stored.jobs {
        let Work::Landscape(request) = &job.work else { continue };
        let Some(found) = stored.sound(job)? else { continue };
        let Some(model) = stored.manifest.models.iter().position(|m| m.request == job.model) else { continue };
        let own = of_model(stored, model, request, &found).map_err(|e| Refusal::state(106, e.to_string()))?;
        match groups.iter_mut().find(|(r, _)| r == request) {
            Some((_, models)) => models.push(own),
            None => groups.push((request.clone(), vec![own])),
        }
    }
    let mut all = Vec::new();
    for (_, models) in groups {
        let images = models.iter().map(Vec::len).max().unwrap_or(0);
        for place in 0..images {
            all.extend(models.iter().filter_map(|own| own.get(place).cloned()));
        }
    }
    all.extend(weight_surfaces::surfaces(stored)?.into_iter().map(|drawn| drawn.surface));
    Ok(crate::publish::marked(stored, all))
}

fn of_model(stored: &Stored, model: usize, request: &LandscapeRequest, found: &Findings) -> Result<Vec<Surface>, FindingsError> {
    let (name, [first, second]) = (request.directions.name(), request.directions.axes());
    let height = if request.height == Height::Likelihood { String::new() } else { format!("{}-", request.height.name()) };
    let facts = &stored.manifest.models[model];
    let values = request.values();
    let ids = found.get::<i64>("id")?;
    let labels = found.get::<i64>("label")?;
    let z = if request.height == Height::Likelihood { grid(found, SURFACES[0])? } else { Vec::new() };
    let (loss, predicted) = (grid(found, SURFACES[1])?, grid(found, SURFACES[2])?);
    let width = values.len() * values.len();
    let surface = |(place, (id, label)): (usize, (i64, i64))| {
        let own = place * width..(place + 1) * width;
        let short = || FindingsError::Column("surface".to_owned());
        Ok(Surface {
            id: format!("m{:04}-s{id:06}-{height}{name}", model + 1),
            model: facts.name.clone(),
            title: facts.name.clone(),
            kind: request.height.name().into(),
            sample_id: id as u64,
            label,
            x_axis: Axis { name: first.clone(), values: values.clone() },
            y_axis: Axis { name: second.clone(), values: values.clone() },
            z: if z.is_empty() { Vec::new() } else { z.get(own.clone()).ok_or_else(short)?.to_vec() },
            loss: loss.get(own.clone()).ok_or_else(short)?.to_vec(),
            predicted: predicted.get(own).ok_or_else(short)?.iter().map(|&c| c as i64).collect(),
            ..Surface::default()
        })
    };
    ids.into_iter().zip(labels).enumerate().map(surface).collect()
}

/// Every surface as data and as a picture, and the models of one image and one kind of directions side by side, on one scale:
/// name and content of the files.
pub fn files(surfaces: &[Surface]) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for group in surfaces.chunk_by(|a, b| {
        (a.sample_id, &a.kind, &a.x_axis.name, &a.y_axis.name) == (b.sample_id, &b.kind, &b.x_axis.name, &b.y_axis.name)
    }) {
        let range = shared_range(group);
        for surface in group {
            files.push((format!("landscapes/{}.csv", surface.id), surface_csv(surface)));
            files.push((format!("landscapes/{}.svg", surface.id), surface_svg(surface, range).into_bytes()));
        }
        if let [first, _, ..] = group {
            let together = first.id.split_once('-').map_or(first.id.as_str(), |(_, rest)| rest);
            files.push((format!("landscapes/{together}.svg"), surfaces_svg(group).into_bytes()));
        }
    }
    files
}

fn grid(found: &Findings, name: &str) -> Result<Vec<f64>, FindingsError> {
    found.tensor(name).map(Tensor::to_f64).ok_or_else(|| FindingsError::Column(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_are_symmetric_and_hold_the_image() {
        let grid = Grid::parse("-8/255:8/255:41").expect("a grid");
        assert_eq!(grid, Grid { extent: Some(8.0 / 255.0), points: 41 });
        let threat = ThreatModel::parse("linf:0.1", false).expect("a threat model");
        let wanted =
            Landscapes { height: Height::Likelihood, samples: Samples::One(0), directions: vec![Directions::Random], grid };
        assert_eq!(wanted.requests(&threat)[0].values()[20], 0.0);
        for bad in ["", "-1:1", "-1:2:11", "-1:1:10", "1:-1:11", "-0.1:0.1:x"] {
            assert_eq!(Grid::parse(bad).expect_err(bad).class.exit_code(), 2);
        }
    }

    #[test]
    fn directions_may_be_those_of_attacks() {
        let two = Directions::parse("attack:(pgd:steps=5,alpha=1/255),fgsm").expect("two attacks");
        let request = |text: &str| Request::parse(text).expect(text);
        assert_eq!(two, Directions::Attacks(request("pgd:steps=5,alpha=1/255"), request("fgsm")));
        assert_eq!((two.name().as_str(), two.follow_attacks()), ("attack-pgd-fgsm", true));
        assert_eq!(Directions::parse("attack:pgd").expect("one"), Directions::Attack(request("pgd")));
        for bad in ["", "attack:", "attack:a,b,c", "pgd", "attack:(pgd"] {
            assert_eq!(Directions::parse(bad).expect_err(bad).class.exit_code(), 2);
        }
    }
}
