//! Models small enough for paper, and components of the standard plugins applied to them the way a shard does it.

use std::sync::atomic::AtomicBool;

use flatscape_engine::Engine;
use flatscape_graph::{Builder, DType, Dim, Expr, Graph, Tensor, ValueType};
use flatscape_host::{Component, Goal, Iterates, Kind, Program, Role, Task};
use flatscape_measure::attack::{Attack, Batch, Keep, Proposal, Restart, Ruling};
use flatscape_measure::link::Link;
use flatscape_measure::metric::{Metric, Readings};
use flatscape_measure::prepared::numbers;
use flatscape_measure::request::Request;
use flatscape_measure::threats::ThreatModel;
use flatscape_measure::verify::{Region, admissible_in};

use crate::provision::plugins;

/// A model of images [N,C,H,W] in pixel units; without a box, so that formulas are not cut off.
pub struct Toy {
    pub graph: Graph,
    pub shape: [usize; 3],
    pub classes: usize,
    /// What a step of 1 in the input of the model is in pixels, per channel; none for 1.
    pub units: Vec<f64>,
}

/// W of LinToy: z = Wx at x = (.5,.5,.5).
pub const LIN_TOY: [[f64; 3]; 2] = [[1.0, -2.0, 0.0], [0.0, 1.0, 3.0]];

impl Toy {
    /// A formula from pixels in a row [N,D] to logits.
    pub fn new(shape: [usize; 3], formula: impl for<'b> Fn(Expr<'b>) -> Expr<'b>) -> Toy {
        let builder = Builder::new(Graph::new("toy"));
        let extents = [Dim::symbol("N"), Dim::Fixed(shape[0]), Dim::Fixed(shape[1]), Dim::Fixed(shape[2])];
        let x = builder.input("x", ValueType::new(DType::F32, extents.to_vec()));
        let pixels = shape.iter().product::<usize>();
        let logits = formula(x.reshape(&[-1, pixels as i64]));
        let dims = logits.dims().expect("the logits have a shape");
        builder.output("logits", logits);
        let graph = builder.into_graph();
        graph.check().expect("the toy checks");
        let classes = dims[1].fixed().expect("a number of classes");
        Toy { graph, shape, classes, units: Vec::new() }
    }

    /// z = Wx + b on images [1,1,D].
    pub fn affine<const D: usize>(weights: &[[f64; D]], bias: &[f64]) -> Toy {
        let bias = bias.to_vec();
        let weights: Vec<Vec<f64>> = weights.iter().map(|row| row.to_vec()).collect();
        Toy::new([1, 1, D], move |x| linear(x, &weights, &bias))
    }

    /// z = Wx of the formulas, on one image of three pixels.
    pub fn lin() -> Toy {
        Toy::affine(&LIN_TOY, &[0.0, 0.0])
    }

    /// z = W₂·tanh(W₁x) on images of 12 pixels in 3 channels, 3 classes: smooth and curved.
    pub fn curved() -> Toy {
        let wave = |rows: usize, columns: usize, phase: f64| -> Vec<Vec<f64>> {
            (0..rows).map(|i| (0..columns).map(|j| (phase + 1.7 * i as f64 + 2.3 * j as f64).sin()).collect()).collect()
        };
        Toy::new([3, 2, 2], move |x| linear(linear(x, &wave(8, 12, 0.3), &[0.1; 8]).unary("Tanh"), &wave(3, 8, 1.1), &[0.0; 3]))
    }

    /// Images in a row each, with these labels; ids count from 0.
    pub fn batch(&self, images: &[Vec<f64>], y: &[i64]) -> Batch {
        let [c, h, w] = self.shape;
        let pixels: Vec<f32> = images.iter().flatten().map(|&v| v as f32).collect();
        let x0 = Tensor::new(&[images.len(), c, h, w], pixels).expect("images of this shape");
        Batch { ids: (0..images.len() as u64).collect(), x0, y: y.to_vec(), target: y.to_vec(), clean: None, second: None }
    }

    /// The same image of one grey value.
    pub fn grey(&self, value: f64) -> Vec<f64> {
        vec![value; self.shape.iter().product()]
    }

    /// The program of a component for this model, with what linking needs.
    pub fn program(
        &self,
        kind: Kind,
        written: &str,
        threat: &ThreatModel,
        targeted: bool,
    ) -> (&'static Component, Program, Vec<(String, f64)>) {
        let request = Request::parse(written).expect(written);
        let component = plugins().component(kind, &request.id).expect(written);
        let arguments = component.arguments(&request.arguments).expect(written);
        let mut task = Task::new(self.shape, self.classes, threat.norm.name, threat.eps);
        task.parameters = threat.parameters(self.shape);
        (task.targeted, task.lo, task.hi) = (targeted, threat.lo.into(), threat.hi.into());
        let program = plugins().build(component, &arguments, &task).expect(written);
        (component, program, numbers(&arguments))
    }

    /// What an attack hands over for every image: its last iterate, or what counts in a verdict.
    pub fn attack(&self, engine: &dyn Engine, written: &str, threat: &ThreatModel, batch: &Batch, how: How) -> Vec<Proposal> {
        let (component, program, arguments) = self.program(Kind::Attack, written, threat, how.targeted);
        let link = self.link(&program, threat, &arguments, how.targeted);
        let free = component.iterates == Iterates::Free;
        let attack = Attack::compile(engine, &link, &program, &component.id, free, how.keep).expect(written);
        // small lots, so that samples that leave make others move
        let restart =
            Restart { seed: how.seed, eps: threat.eps, number: how.restart, batch_size: 5, stop: &AtomicBool::new(false) };
        attack.run(batch, &restart, &mut |rows, _| Ok(vec![Ruling::Stands; rows.len()]), &mut |_| {}).expect(written)
    }

    /// The distances of the adversarial examples that an attack claims, each restart on what is left of a budget; infinite where there
    /// is none.
    pub fn distances(&self, engine: &dyn Engine, written: &str, threat: &ThreatModel, batch: &Batch) -> Vec<f64> {
        let (component, program, arguments) = self.program(Kind::Attack, written, threat, false);
        let link = self.link(&program, threat, &arguments, false);
        let (free, nearest) = (component.iterates == Iterates::Free, component.goal == Goal::Minimal);
        let keep = if nearest { Keep::Nearest } else { Keep::FirstSuccess };
        let attack = Attack::compile(engine, &link, &program, &component.id, free, keep).expect(written);
        let mut found = vec![f64::INFINITY; batch.len()];
        let pixels: usize = self.shape.iter().product();
        let clean = batch.x0.to_vec::<f32>().expect("float32");
        for number in 0..program.restarts.max(1) {
            let left: Vec<usize> = (0..batch.len()).filter(|&i| nearest || found[i].is_infinite()).collect();
            let restart = Restart { seed: 0, eps: threat.eps, number, batch_size: 250, stop: &AtomicBool::new(false) };
            let mut judge = |rows: &[usize], _: &[Vec<f32>]| Ok(vec![Ruling::Stands; rows.len()]);
            let proposals = attack.run(&batch.select(&left), &restart, &mut judge, &mut |_| {}).expect(written);
            for (&sample, proposal) in left.iter().zip(&proposals).filter(|(_, p)| p.claimed) {
                let x = proposal.point.as_ref().expect("a claim has a point");
                let x0 = &clean[sample * pixels..(sample + 1) * pixels];
                let shaped = threat.on(self.shape);
                let region = if nearest { Region::Box } else { Region::Ball };
                assert_eq!(admissible_in(&shaped, region, x0, &x.clone().into()), None, "{written}");
                found[sample] = found[sample].min(shaped.distance(&x.clone().into(), x0).expect("a distance"));
            }
        }
        found
    }

    /// What a metric says about every image.
    pub fn measure(&self, engine: &dyn Engine, written: &str, threat: &ThreatModel, batch: &Batch) -> Readings {
        let (component, program, arguments) = self.program(Kind::Metric, written, threat, false);
        let link = self.link(&program, threat, &arguments, false);
        // an odd number of rows per run, so that runs end in the middle of an image's probes
        let metric = Metric::compile(engine, &link, &program, &component.id, 37).expect(written);
        metric.run(batch, threat.eps, 0, &AtomicBool::new(false), &mut |_| {}).expect(written)
    }

    /// What a program is linked against.
    pub fn link<'a>(
        &'a self,
        program: &'a Program,
        threat: &'a ThreatModel,
        arguments: &'a [(String, f64)],
        targeted: bool,
    ) -> Link<'a> {
        let (objective, cotangent) = (program.graph(Role::Objective), program.graph(Role::Cotangent));
        Link {
            model: &self.graph,
            objective,
            cotangent,
            given: None,
            no_likelihood: None,
            temperature: 2.0,
            units: &self.units,
            threat,
            targeted,
            arguments,
            steps: program.steps,
            smoothing: 0.0,
        }
    }
}

/// How an attack is run.
#[derive(Clone, Copy)]
pub struct How {
    pub seed: u64,
    pub restart: u32,
    pub keep: Keep,
    pub targeted: bool,
}

/// Untargeted, to the last iterate.
pub const LAST: How = How { seed: 0, restart: 0, keep: Keep::Last, targeted: false };

/// A threat model; its box is far away unless `boxed`.
pub fn threat(text: &str) -> ThreatModel {
    let boxed = boxed(text);
    ThreatModel { lo: -1e4, hi: 1e4, ..boxed }
}

/// A threat model with the box of pixels.
pub fn boxed(text: &str) -> ThreatModel {
    ThreatModel::parse(text, true).expect(text)
}

/// W·x + b of rows [N,D].
pub fn linear<'b>(x: Expr<'b>, weights: &[Vec<f64>], bias: &[f64]) -> Expr<'b> {
    let (rows, columns) = (weights.len(), weights[0].len());
    let transposed: Vec<f32> = (0..columns).flat_map(|j| weights.iter().map(move |row| row[j] as f32)).collect();
    let b = x.builder();
    let w = b.constant(Tensor::new(&[columns, rows], transposed).expect("a matrix"));
    let bias = b.constant(Tensor::new(&[rows], bias.iter().map(|&v| v as f32).collect()).expect("a bias"));
    b.op("MatMul", &[x, w], flatscape_graph::Attributes::none()) + bias
}

/// The point of a proposal: what was moved.
pub fn point(proposal: &Proposal) -> Vec<f64> {
    proposal.point.as_ref().expect("a point").iter().map(|&v| f64::from(v)).collect()
}

/// Asserts equality up to `tolerance`, absolutely.
pub fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: {found:?} is not {expected:?}");
    let worst =
        found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, |m: f64, d| if d.is_nan() { d } else { m.max(d) });
    assert!(worst <= tolerance, "{what}: {found:?} is not {expected:?} (off by {worst:e})");
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}
