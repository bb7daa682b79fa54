//! The canary of an attack: an adversarial example that certainly exists is planted near an image, by another last layer on the
//! features of the model, and the attack is run with the settings of the audit. An attack that does not find it says little where it
//! finds nothing else. Source: Zimmermann, Brendel, Tramèr and Carlini 2022 (arXiv:2206.13991), the binarisation test; the last layer
//! is a linear discriminant with a ridge in closed form in place of a logistic regression.

mod plant;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use flatscape_engine::Engine;
use flatscape_graph::{Builder, DType, Graph, Tensor, ValueType, simplify};
use flatscape_host::{Goal, Plugins, Role};
use flatscape_intake::data::Dataset;
use flatscape_intake::drawn::expected;
use flatscape_intake::model::Model;
use flatscape_intake::remedies::objective;
use flatscape_intake::scores::argmax;

use crate::attack::{Attack, AttackError, Batch, Keep, Restart, Ruling, host};
use crate::columns::{CANARY, ID};
use crate::error::MeasureError;
use crate::findings::{Findings, FindingsError};
use crate::link::{Link, LinkError, Point};
use crate::measures::{Asked, Conditions, failed, is_free};
use crate::prepared::{Settings, numbers};
use crate::request::Request;
use crate::stage::{Draw, Stage, StageError, Step, Values};
use crate::threats::ThreatModel;
use crate::verify::{DRAWS, Region, admissible_in};

/// Images near which a canary is planted, at most.
pub const CANARIES: usize = 200;

/// Draws over which the features of a model that draws at random are averaged.
const FEATURE_DRAWS: u32 = 8;

/// The threat models under which canaries are planted: those with a ball that can be drawn from.
pub const THREATS: &[&str] = &["linf", "l2", "l1"];

/// The inputs of the edited model: the last layer of each row. They are fed at the point and, with the suffix of the origin, at x0.
const INPUTS: [&str; 3] = ["mask_canary_weight", "mask_canary_offset", "mask_canary_low"];

/// What became of one canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// The attack did not find it.
    Missed,
    /// The attack found it.
    Found,
    /// Random points found it, so it says nothing about the attack.
    Easy,
    /// It could not be planted: the features do not tell the point from those around it.
    Unplanted,
}

impl Canary {
    const ALL: [Canary; 4] = [Canary::Missed, Canary::Found, Canary::Easy, Canary::Unplanted];

    /// Findings without a canary.
    pub fn none() -> Findings {
        let mut findings = Findings::default();
        findings.put(&ID, Vec::new());
        findings.put(&CANARY, Vec::new());
        findings
    }

    /// The canaries of findings, by the sample near which they were planted.
    ///
    /// # Errors
    /// A column is missing, or holds another code.
    pub fn read(findings: &Findings) -> Result<Vec<(i64, Canary)>, FindingsError> {
        let of = |code: u8| Canary::ALL.get(usize::from(code)).copied().ok_or(FindingsError::Column(CANARY.name.to_owned()));
        findings.read(&ID)?.into_iter().zip(findings.read(&CANARY)?).map(|(id, code)| Ok((id, of(code)?))).collect()
    }
}

/// Canaries near the first images of a data set.
pub struct Planted {
    ids: Vec<u64>,
    x0: Tensor,
    /// float\[n,F\], float\[n,1\], float\[n,1\], in the order of [`INPUTS`].
    layers: [Tensor; 3],
    /// What is known before any attack: `Missed` where the attack decides.
    known: Vec<Canary>,
}

/// Planted canaries, or why there can be none, as a clause.
pub type Planting = Result<Planted, String>;

/// Everything that planting and attacking need.
#[derive(Clone, Copy)]
pub struct Ground<'g> {
    /// Runs the graphs.
    pub engine: &'g dyn Engine,
    /// Attacks.
    pub plugins: &'g Plugins,
    /// The model.
    pub model: &'g Model,
    /// The images.
    pub dataset: &'g Dataset,
    /// The threat model.
    pub threat: &'g ThreatModel,
    /// Seed and batch size.
    pub settings: Settings,
    /// Looked at between runs.
    pub stop: &'g AtomicBool,
}

impl Ground<'_> {
    fn go_on(&self) -> Result<(), AttackError> {
        if self.stop.load(Ordering::Relaxed) { Err(AttackError::Interrupted) } else { Ok(()) }
    }

    /// The model, with keyed draws where it draws at random.
    fn graph(&self) -> &Graph {
        self.model.drawn.as_ref().unwrap_or(&self.model.graph)
    }

    /// The draws over which features are averaged, and those over which points are judged; one each where nothing is drawn.
    fn draws(&self) -> [std::ops::Range<u32>; 2] {
        if self.model.drawn.is_some() { [0..FEATURE_DRAWS, FEATURE_DRAWS..FEATURE_DRAWS + DRAWS] } else { [0..1, 0..1] }
    }

    fn draw(&self, step: u32) -> Draw<'static> {
        Draw { seed: self.settings.seed, component: "canary", restart: 0, step: Step::All(step) }
    }

    /// Plants canaries near the first images.
    ///
    /// # Errors
    /// The engine failed, or the run was asked to stop.
    pub fn plant(&self) -> Result<Planting, MeasureError> {
        if self.model.given.as_ref().is_some_and(|given| given.used) {
            return Ok(Err("attacks follow a gradient that belongs to the last layer of the file".to_owned()));
        }
        match edited(self.graph()) {
            Ok((graph, width)) => plant::planted(self, &graph, width).map_err(failed("the canary")),
            Err(why) => Ok(Err(why)),
        }
    }

    /// What an attack makes of planted canaries: one row per image.
    ///
    /// # Errors
    /// The attack does not exist, does not fit the model, or fails; or the run was asked to stop.
    pub fn attack(&self, planted: &Planted, request: &Request, progress: &mut dyn FnMut(f64)) -> Result<Findings, MeasureError> {
        let mut found = planted.known.clone();
        let open: Vec<usize> = (0..found.len()).filter(|&i| found[i] == Canary::Missed).collect();
        for (&place, hit) in open.iter().zip(self.hits(planted, request, &open, progress)?) {
            if hit {
                found[place] = Canary::Found;
            }
        }
        let mut findings = Findings::default();
        findings.put(&ID, planted.ids.iter().map(|&id| id as i64).collect());
        findings.put(&CANARY, found.into_iter().map(|canary| canary as u8).collect());
        Ok(findings)
    }

    /// What attacks see, with another last layer. The error is a clause.
    fn seen(&self) -> Result<Graph, String> {
        let remedied = &self.model.remedied;
        match &remedied.over_draws {
            // every draw has the layer
            Some((single, over)) => expected(&edited(single)?.0, *over).ok_or_else(|| "its draws cannot be keyed".to_owned()),
            None => Ok(edited(remedied.twin.as_ref().unwrap_or(self.graph()))?.0),
        }
    }

    /// Which of these canaries the attack finds, all its restarts together.
    fn hits(
        &self,
        planted: &Planted,
        request: &Request,
        open: &[usize],
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<bool>, MeasureError> {
        let id = &request.id;
        let threat = self.threat.on(self.model.shape);
        let conditions = Conditions {
            plugins: self.plugins,
            model: self.model,
            dataset: self.dataset,
            threat: threat.clone(),
            settings: self.settings,
        };
        let asked = Asked::of(&conditions, request)?;
        let program = self.plugins.build(asked.component, &asked.arguments, &asked.task)?;
        let lacking = |why: String| failed(id)(LinkError::Lacking { name: "features".to_owned(), why }.into());
        let graph = self.seen().map_err(lacking)?;
        let margin = self.model.remedied.margin.then(|| objective(asked.task.targeted));
        let arguments = numbers(&asked.arguments);
        let link = Link {
            objective: program.graph(Role::Objective).or(margin.as_ref()),
            cotangent: program.graph(Role::Cotangent),
            targeted: asked.task.targeted,
            arguments: &arguments,
            steps: program.steps,
            ..Link::of(&graph, &threat)
        };
        let keep = if asked.component.goal == Goal::Minimal { Keep::Nearest } else { Keep::FirstSuccess };
        let attack = Attack::compile(self.engine, &link, &program, id, is_free(asked.component), keep).map_err(failed(id))?;
        let judge = Judge::new(self, &threat, planted).map_err(failed("the canary"))?;
        let mut hits = vec![false; open.len()];
        let restarts = program.restarts.max(1);
        for number in 0..restarts {
            let left: Vec<usize> = (0..open.len()).filter(|&i| !hits[i]).collect();
            if left.is_empty() {
                break;
            }
            let places: Vec<usize> = left.iter().map(|&i| open[i]).collect();
            let told = &mut |share| progress((f64::from(number) + share) / f64::from(restarts));
            for row in self.restart(&attack, &judge, &places, number, told).map_err(failed(id))? {
                hits[left[row]] = true;
            }
        }
        Ok(hits)
    }

    /// The rows of the canaries at these places that one restart finds.
    fn restart(
        &self,
        attack: &Attack,
        judge: &Judge,
        places: &[usize],
        number: u32,
        progress: &mut dyn FnMut(f64),
    ) -> Result<Vec<usize>, AttackError> {
        self.go_on()?;
        let Settings { seed, .. } = self.settings;
        // one lot: every row has a last layer of its own
        let restart = Restart { seed, eps: self.threat.eps, number, batch_size: places.len(), stop: self.stop };
        let mut found = Vec::new();
        let mut ruled = |rows: &[usize], points: &[Vec<f32>]| {
            let asked: Vec<usize> = rows.iter().map(|&row| places[row]).collect();
            let right = judge.right(&asked, points)?;
            found.extend(rows.iter().zip(&right).filter(|(_, right)| **right).map(|(&row, _)| row));
            Ok(right.into_iter().map(|right| if right { Ruling::Stands } else { Ruling::Rejected }).collect())
        };
        let layers = fed(&judge.forward, &judge.planted.layers, places)?;
        let proposals = attack.run_with(&judge.planted.batch(places), &restart, &layers, true, &mut ruled, progress)?;
        let offered = proposals.into_iter().enumerate().filter(|(_, proposal)| proposal.claimed);
        let (rows, points): (Vec<usize>, Vec<Vec<f32>>) = offered.filter_map(|(row, p)| Some((row, p.point?))).unzip();
        let asked: Vec<usize> = rows.iter().map(|&row| places[row]).collect();
        found.extend(rows.into_iter().zip(judge.right(&asked, &points)?).filter(|(_, right)| *right).map(|(row, _)| row));
        Ok(found)
    }
}

impl Planted {
    /// The images as an attack gets them: all of class 0, which is to become class 1.
    fn batch(&self, places: &[usize]) -> Batch {
        Batch {
            ids: places.iter().map(|&place| self.ids[place]).collect(),
            x0: flatscape_graph::rows(&self.x0, places),
            y: vec![0; places.len()],
            target: vec![1; places.len()],
            clean: None,
            second: None,
        }
    }
}

/// Says whether points are canaries: admissible, and of class 1 by the edited copy of the untouched model in a session of its own,
/// each alone.
struct Judge<'j> {
    ground: &'j Ground<'j>,
    threat: &'j ThreatModel,
    planted: &'j Planted,
    forward: Stage,
    clean: Vec<f32>,
}

impl<'j> Judge<'j> {
    fn new(ground: &'j Ground<'j>, threat: &'j ThreatModel, planted: &'j Planted) -> Result<Judge<'j>, AttackError> {
        let lacking = |why: String| LinkError::Lacking { name: "features".to_owned(), why };
        let (graph, _) = edited(ground.graph()).map_err(lacking)?;
        let forward = Stage::compile(ground.engine, &Link::of(&graph, threat).forward(Point::Fed, &["logits"])?)?;
        let clean = planted.x0.to_vec::<f32>().ok_or(StageError::Result { name: "x0".into() })?;
        Ok(Judge { ground, threat, planted, forward, clean })
    }

    /// Which points are the canaries at these places.
    fn right(&self, places: &[usize], points: &[Vec<f32>]) -> Result<Vec<bool>, AttackError> {
        let width = self.clean.len() / self.planted.ids.len().max(1);
        let allowed = |(&place, point): (&usize, &Vec<f32>)| {
            let origin = &self.clean[place * width..(place + 1) * width];
            admissible_in(
                self.threat,
                Region::Ball,
                origin,
                &self.threat.candidate(origin, point.clone(), self.planted.ids[place]),
            )
            .is_none()
        };
        let mut right: Vec<bool> = places.iter().zip(points).map(allowed).collect();
        let chosen: Vec<usize> = (0..right.len()).filter(|&i| right[i]).collect();
        if chosen.is_empty() {
            return Ok(right);
        }
        let pixels: Vec<f32> = chosen.iter().flat_map(|&i| points[i].iter().copied()).collect();
        let places: Vec<usize> = chosen.iter().map(|&i| places[i]).collect();
        let classes = classes(self.ground, &self.forward, &self.planted.layers, &places, pixels)?;
        chosen.iter().zip(classes).for_each(|(&i, class)| right[i] = class == Some(1));
        Ok(right)
    }
}

/// The classes that the edited model gives to points, each alone with the last layer of its canary. A model that draws at random is
/// asked over several draws; a class is that of more than half of them.
fn classes(
    ground: &Ground,
    forward: &Stage,
    layers: &[Tensor; 3],
    places: &[usize],
    pixels: Vec<f32>,
) -> Result<Vec<Option<usize>>, AttackError> {
    let [c, h, w] = ground.model.shape;
    let points = Tensor::new(&[places.len(), c, h, w], pixels).ok_or(StageError::Result { name: "x".into() })?;
    let mut values = fed(forward, layers, places)?;
    values.put("x", forward.upload(&points)?);
    let [_, draws] = ground.draws();
    let mut votes: Vec<BTreeMap<usize, usize>> = vec![BTreeMap::new(); places.len()];
    for draw in draws.clone() {
        let given = forward.run_each(&values, &vec![0; places.len()], &ground.draw(draw))?;
        let logits = host(&given, "logits")?.to_f64();
        for (votes, row) in votes.iter_mut().zip(logits.chunks((logits.len() / places.len().max(1)).max(1))) {
            argmax(row).into_iter().for_each(|class| *votes.entry(class).or_default() += 1);
        }
    }
    let most =
        |votes: BTreeMap<usize, usize>| votes.into_iter().find(|(_, count)| 2 * count > draws.len()).map(|(class, _)| class);
    Ok(votes.into_iter().map(most).collect())
}

/// The last layers of some canaries under the names that a linked graph reads.
fn fed(stage: &Stage, layers: &[Tensor; 3], places: &[usize]) -> Result<Values, AttackError> {
    let mut values = Values::default();
    for (name, tensor) in INPUTS.iter().zip(layers) {
        let rows = stage.upload(&flatscape_graph::rows(tensor, places))?;
        values.put(&format!("{name}0"), rows.clone());
        values.put(name, rows);
    }
    Ok(values)
}

/// The model with another last layer, which is an input: the scores −h, h, l, l, … with h = weight·features + offset, and l below both.
/// Gives the number of features, too. The error is a clause.
fn edited(model: &Graph) -> Result<(Graph, usize), String> {
    let (input, width, classes) = crate::link::head_of(model)?;
    if model.dtype(input) != Some(DType::F32) {
        return Err("the features of the model are not float32".to_owned());
    }
    let image = model.inputs().first().ok_or("the model has no input")?;
    let batch = model.shape(*image).and_then(|dims| dims.first()).ok_or("the model has no batch axis")?.clone();
    let column = |extent: usize| ValueType::new(DType::F32, vec![batch.clone(), flatscape_graph::Dim::Fixed(extent)]);
    let mut graph = model.clone();
    graph.set_outputs(Vec::new());
    let b = Builder::new(graph);
    let [weight, offset, low] = INPUTS.map(|name| b.input(name, column(if name == INPUTS[0] { width } else { 1 })));
    let features = b.expr(input).reshape(&[-1, width as i64]);
    let half = (features * weight).sum(&[1], true) + offset;
    let mut scores = vec![-half, half];
    if classes > 2 {
        scores.push(low + b.constant(Tensor::full(DType::F32, &[1, classes - 2], 0.0)));
    }
    b.output("logits", b.concat(&scores, 1));
    let graph = simplify(&b.into_graph());
    graph.check().map_err(|e| e.to_string())?;
    Ok((graph, width))
}
