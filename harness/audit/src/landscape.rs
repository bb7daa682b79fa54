//! Landscapes: asks the metric `likelihood-landscape` for surfaces around chosen images, the same directions for every model,
//! and lays them out as data and as pictures on one scale. Knows the names of that metric's surfaces, not how it finds them.

use flatscape_engine::Engine;
use flatscape_host::Plugins;
use flatscape_report::{Axis, Surface, shared_range, surface_csv, surface_svg, surfaces_svg};

use crate::directory::Directory;
use flatscape_intake::data::Dataset;
use flatscape_intake::model::Model;
use flatscape_intake::number::number;
use flatscape_intake::refusal::{Refusal, escape};
use flatscape_measure::findings::{Findings, FindingsError};
use flatscape_measure::prepared::{MeasureError, Prepared, Settings, Work};
use flatscape_measure::request::Request;
use flatscape_measure::threats::ThreatModel;

/// The metric that computes landscapes.
const COMPONENT: &str = "likelihood-landscape";

/// Which landscapes are drawn.
#[derive(Clone, Debug)]
pub struct Landscapes {
    /// Around which images.
    pub samples: Samples,
    /// Along which directions, one surface each.
    pub directions: Vec<Directions>,
    /// How far and how fine.
    pub grid: Grid,
}

/// Around which images landscapes are drawn.
#[derive(Clone, Copy, Debug)]
pub enum Samples {
    /// This one.
    One(usize),
    /// The first so many that every model classifies correctly.
    FirstCorrect(usize),
}

/// The two directions of a landscape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directions {
    /// Two orthogonal random sign vectors (Lin et al. 2020, Fig. 1).
    Random,
    /// The FGSM direction and an orthogonal random sign vector (Fig. 5).
    Fgsm,
}

/// The directions and how they are called: what people type, the first axis, the second axis.
const DIRECTIONS: &[(Directions, &str, &str, &str)] = &[
    (Directions::Random, "random", "random direction d", "orthogonal direction d⊥"),
    (Directions::Fgsm, "fgsm", "FGSM direction", "orthogonal random direction"),
];

impl Directions {
    /// Reads `random` or `fgsm`.
    ///
    /// # Errors
    /// A usage error that names those there are.
    pub fn parse(text: &str) -> Result<Directions, Refusal> {
        DIRECTIONS.iter().find(|d| d.1 == text).map(|d| d.0).ok_or_else(|| {
            let names: Vec<&str> = DIRECTIONS.iter().map(|d| d.1).collect();
            Refusal::usage(91, format!("{:?} are no directions that this version knows", escape(text)))
                .help(format!("there are {}", names.join(" and ")))
        })
    }

    fn row(self) -> &'static (Directions, &'static str, &'static str, &'static str) {
        DIRECTIONS.iter().find(|d| d.0 == self).unwrap_or(&DIRECTIONS[0])
    }
}

/// A square grid around the image: from −extent to extent in pixel units, an odd number of points so that the image is one.
#[derive(Clone, Debug, PartialEq)]
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

    fn values(&self, threat: &ThreatModel) -> Vec<f64> {
        let extent = self.extent.unwrap_or(threat.eps);
        let last = (self.points - 1) as f64;
        (0..self.points).map(|i| extent * (2.0 * i as f64 / last - 1.0)).collect()
    }
}

impl Landscapes {
    /// What an audit draws: both kinds of directions around the first images that all models get right.
    pub fn of_audit(count: usize) -> Landscapes {
        Landscapes {
            samples: Samples::FirstCorrect(count),
            directions: vec![Directions::Random, Directions::Fgsm],
            grid: Grid { extent: None, points: 41 },
        }
    }
}

/// Computes the surfaces, image by image, the models of one image side by side.
///
/// # Errors
/// No plugin offers the metric, or it fails.
pub fn draw(
    wanted: &Landscapes,
    engine: &dyn Engine,
    plugins: &Plugins,
    models: &[Model],
    dataset: &Dataset,
    threat: &ThreatModel,
    settings: Settings,
) -> Result<Vec<Surface>, MeasureError> {
    let samples = match wanted.samples {
        Samples::One(index) if index >= dataset.len() => {
            let what = format!("there is no image {index}: {} has {} here", dataset.name, dataset.len());
            return Err(Refusal::usage(92, what).into());
        }
        Samples::One(index) => vec![index],
        Samples::FirstCorrect(0) => return Ok(Vec::new()),
        Samples::FirstCorrect(count) => first_correct(count, engine, plugins, models, dataset, threat, settings)?,
    };
    let extent = wanted.grid.extent.unwrap_or(threat.eps);
    let mut surfaces = Vec::new();
    for directions in &wanted.directions {
        let (_, name, first, second) = directions.row();
        let request = Request {
            id: COMPONENT.to_owned(),
            arguments: vec![
                ("directions".into(), (*name).into()),
                ("grid".into(), wanted.grid.points.to_string()),
                ("extent".into(), extent.to_string()),
            ],
            target: None,
            at: None,
        };
        let work = Work::Component(request);
        let values = wanted.grid.values(threat);
        let mut by_model: Vec<Vec<Surface>> = Vec::new();
        for (index, model) in models.iter().enumerate() {
            let bench = Prepared::new(engine, plugins, model, dataset, &work, threat, settings)?;
            let mut own = Vec::new();
            for &sample in &samples {
                let found = bench.compute(sample..sample + 1, &mut |_, _| {})?;
                own.push(Surface {
                    id: format!("m{:04}-s{sample:06}-{name}", index + 1),
                    model: model.name.clone(),
                    title: model.name.clone(),
                    kind: "likelihood".into(),
                    sample_id: sample as u64,
                    label: dataset.labels[sample],
                    x_axis: Axis { name: (*first).into(), values: values.clone() },
                    y_axis: Axis { name: (*second).into(), values: values.clone() },
                    z: grid(&found, "surface_delta_logp")?,
                    loss: grid(&found, "surface_loss")?,
                    predicted: grid(&found, "surface_predicted")?.into_iter().map(|c| c as i64).collect(),
                    range: None,
                });
            }
            by_model.push(own);
        }
        for place in 0..samples.len() {
            surfaces.extend(by_model.iter().map(|own| own[place].clone()));
        }
    }
    Ok(surfaces)
}

/// Writes every surface as data and as a picture, and the models of one image and one kind of directions side by side, on one
/// scale.
/// Returns the names of the files.
///
/// # Errors
/// A file could not be written.
pub fn write(directory: &Directory, surfaces: &[Surface]) -> Result<Vec<String>, Refusal> {
    let mut names = Vec::new();
    let mut keep = |name: String, bytes: &[u8]| -> Result<(), Refusal> {
        directory.write(&name, bytes)?;
        names.push(name);
        Ok(())
    };
    let groups = surfaces.chunk_by(|a, b| (a.sample_id, &a.x_axis.name) == (b.sample_id, &b.x_axis.name));
    for group in groups {
        let range = shared_range(group);
        for surface in group {
            keep(format!("landscapes/{}.csv", surface.id), &surface_csv(surface))?;
            keep(format!("landscapes/{}.svg", surface.id), surface_svg(surface, range).as_bytes())?;
        }
        if let [first, _, ..] = group {
            let together = first.id.split_once('-').map_or(first.id.as_str(), |(_, rest)| rest);
            keep(format!("landscapes/{together}.svg"), surfaces_svg(group).as_bytes())?;
        }
    }
    Ok(names)
}

fn grid(found: &Findings, name: &str) -> Result<Vec<f64>, MeasureError> {
    match found.tensor(name) {
        Some(tensor) => Ok(tensor.to_f64()),
        None => Err(FindingsError::Column(name.to_owned()).into()),
    }
}

/// The first images that all models classify correctly; the first images of all where there are none.
fn first_correct(
    count: usize,
    engine: &dyn Engine,
    plugins: &Plugins,
    models: &[Model],
    dataset: &Dataset,
    threat: &ThreatModel,
    settings: Settings,
) -> Result<Vec<usize>, MeasureError> {
    let looked = dataset.len().min(200);
    let mut right = vec![true; looked];
    for model in models {
        let bench = Prepared::new(engine, plugins, model, dataset, &Work::Clean, threat, settings)?;
        let found = bench.compute(0..looked, &mut |_, _| {})?;
        let labels = found.get::<i64>("label")?;
        for (slot, (p, y)) in right.iter_mut().zip(found.get::<i64>("prediction")?.into_iter().zip(labels)) {
            *slot &= p == y;
        }
    }
    let common: Vec<usize> = (0..looked).filter(|&i| right[i]).take(count).collect();
    Ok(if common.is_empty() { (0..count.min(looked)).collect() } else { common })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_are_symmetric_and_hold_the_image() {
        let grid = Grid::parse("-8/255:8/255:41").expect("a grid");
        assert_eq!(grid, Grid { extent: Some(8.0 / 255.0), points: 41 });
        let threat = ThreatModel::parse("linf:0.1", false).expect("a threat model");
        assert_eq!(grid.values(&threat)[20], 0.0);
        for bad in ["", "-1:1", "-1:2:11", "-1:1:10", "1:-1:11", "-0.1:0.1:x"] {
            assert_eq!(Grid::parse(bad).expect_err(bad).class.exit_code(), 2);
        }
    }
}
