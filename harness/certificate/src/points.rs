//! The points of a certificate and what is known there before any check: gradients, random directions, and the values of the
//! model on both sides of every point. Few graphs are compiled and every one is run many times.

use std::sync::Arc;

use flatscape_engine::{Choice, Device, Engine, EngineError, Settings};
use flatscape_graph::{Dim, Graph, Tensor};

use crate::compiled::{Compiled, Results};
use crate::products;
use crate::subject::{Subject, WALK, work};
use crate::widen::widen;
use flatscape_intake::random::{Law, Place, fill};

/// The largest number of samples that are checked.
const SAMPLES: usize = 32;

/// The number of samples is not reduced below this to save time.
const FEWEST: usize = 4;

/// Multiplications that the differences of one certificate may cost before samples and directions are saved.
const BUDGET: f64 = 2e10;

/// Evaluations of the model per sample with two directions of a law, and with one.
const EVALUATIONS: [f64; 2] = [58.0, 34.0];

/// How far points are moved off the images, in units of the range: a quarter of a grey level. Images have flat parts, on which
/// the operands of a maximum are exactly equal and no derivative exists; beside them it does.
const ASIDE: f64 = 1e-3;

/// Steps of the differences in units of the range: in double precision, and in single.
const STEPS: [[f64; 2]; 2] = [[1e-5, 1e-7], [1e-3, 2e-4]];

/// The largest second difference of the values over a step, in units of their largest first difference, at which no smaller step is
/// taken. A kink moves a slope by at most this part of it; pairs differ from ten times as much on. A gradient that is wrong gains
/// nothing by it: one step fewer could agree.
const BENT: f64 = 1e-3;

/// Steps in units of the radius.
pub(super) const REACHES: [f64; 2] = [0.01, 0.25];

/// The engines that a certificate asks.
pub struct Engines<'a> {
    /// The one that runs the attacks.
    pub main: &'a dyn Engine,
    /// A second engine, or a clause that says why there is none.
    pub second: Result<Arc<dyn Engine>, String>,
    /// Those that are tried in float64, in this order; not every engine has every kernel.
    pub double: Vec<Arc<dyn Engine>>,
}

impl<'a> Engines<'a> {
    /// Opens what is there beside the engine of the audit.
    pub fn around(main: &'a dyn Engine, settings: &Settings) -> Engines<'a> {
        let open = |choice| {
            let settings = Settings { choice, device: Device::Cpu, ..settings.clone() };
            flatscape_engine::open(&settings).map_err(|e| match e {
                // where it was looked for is a matter of this machine
                EngineError::LibraryMissing { .. } => {
                    "not available: there is no ONNX Runtime; `flatscape runtime install` fetches it".to_owned()
                }
                other => format!("not available: {other}"),
            })
        };
        let (tract, ort) = (open(Choice::Tract), open(Choice::Ort));
        let double = [&tract, &ort].into_iter().flatten().cloned().collect();
        Engines { main, second: if main.name() == "tract" { ort } else { tract }, double }
    }
}

/// Everything that checks ask.
pub struct Points<'a> {
    pub(super) subject: &'a Subject,
    /// Whether differences are taken in double precision; otherwise the clause that says why not.
    pub(super) precise: Result<(), String>,
    pub(super) second: Result<Compiled, String>,
    pub(super) double: Result<Compiled, String>,
    pub(super) products: Result<Compiled, String>,
    pub(super) other: Option<Result<Compiled, String>>,
    /// Where it is measured.
    pub sites: Vec<Site>,
    /// Extents of the values of a whole batch.
    extents: Vec<usize>,
    forward: Compiled,
}

/// Points of one kind.
pub struct Site {
    /// `clean` or `iterate`.
    pub name: &'static str,
    /// The gradient at the points themselves.
    pub(super) gradient_at_exact: Vec<f64>,
    /// Points beside them, block by block.
    pub(super) x: Vec<f64>,
    /// The gradient there, as it is used.
    pub(super) gradient: Vec<f64>,
    /// The values that lead to the scalar, there.
    pub(super) values: Vec<f64>,
    pub(super) directions: Vec<Direction>,
    /// Factors of the variables in every direction, so that each weighs the same.
    pub(super) weights: Vec<f64>,
}

/// A direction in every block, and the values of the model along it.
pub(super) struct Direction {
    /// `Gaussian`, `sign`, `gradient sign`.
    pub(super) law: &'static str,
    pub(super) v: Vec<f64>,
    pub(super) steps: Vec<Step>,
    /// Steps of a part of the radius, without the entries that would leave the bounds.
    pub(super) reaches: Vec<(Vec<f64>, Step)>,
}

/// The values at x + h·v and at x − h·v; NaN in blocks for which they were not asked.
pub(super) struct Step {
    pub(super) h: f64,
    pub(super) above: Vec<f64>,
    pub(super) below: Vec<f64>,
}

/// How many of the available samples are checked, given the cost of the model.
pub fn samples(forward: &Graph, available: usize) -> usize {
    let affordable = BUDGET / (EVALUATIONS[1] * work(forward).max(1.0));
    available.min(SAMPLES).min((affordable as usize).max(FEWEST))
}

impl<'a> Points<'a> {
    /// Compiles, walks and measures.
    ///
    /// # Errors
    /// A clause: the gradient graph or the model cannot be run at all.
    pub(super) fn prepare(subject: &'a Subject, engines: &Engines) -> Result<Points<'a>, String> {
        let gradient = Compiled::new(engines.main, &subject.gradient)?;
        let (forward, precise) = match doubled(subject, &subject.forward, engines) {
            Ok(forward) => (forward, Ok(())),
            Err(why) => (Compiled::new(engines.main, &subject.forward)?, Err(why)),
        };
        let double = doubled(subject, &subject.gradient, engines);
        let second = engines.second.as_ref().map_err(String::clone);
        let second = second.and_then(|engine| Compiled::new(engine.as_ref(), &subject.gradient));
        let products = products::graph(&subject.forward, &subject.variables);
        let products = products.and_then(|graph| Compiled::new(engines.main, &graph));
        let other = subject.other.as_ref().map(|other| Compiled::new(engines.main, &other.graph));
        let mut points =
            Points { subject, precise, second, double, products, other, sites: Vec::new(), extents: Vec::new(), forward };
        let values = points.values(&subject.start)?;
        points.extents = extents(subject, values.len());
        let first = points.site(&gradient, "clean", subject.start.clone())?;
        points.sites.push(first);
        if let Some(moved) = points.walk(&gradient)? {
            let last = points.site(&gradient, "iterate", moved)?;
            points.sites.push(last);
        }
        Ok(points)
    }

    /// Values that lead to the scalar, at points.
    pub(super) fn values(&self, x: &[f64]) -> Result<Vec<f64>, String> {
        let mut results = self.forward.run(&|name| self.subject.feed(name, x))?;
        let first = self.subject.forward.outputs().first().and_then(|o| results.remove(&*o.name));
        first.ok_or_else(|| "the model has no output".to_owned())
    }

    /// The gradient at points as some graph gives it.
    pub(super) fn gradient_of(&self, graph: &Compiled, x: &[f64]) -> Result<Vec<f64>, String> {
        let results = graph.run(&|name| self.subject.feed(name, x))?;
        packed(self.subject, &results)
    }

    /// The gradient of the only variable, from an output of some graph.
    pub(super) fn gradient_from(&self, graph: &Compiled, output: &str, x: &[f64]) -> Result<Vec<f64>, String> {
        let mut results = graph.run(&|name| self.subject.feed(name, x))?;
        results.remove(output).ok_or_else(|| format!("the graph gives no {}", flatscape_graph::shown(output)))
    }

    /// Jᵀ·ct at points and, where the graph gives it, J·v.
    pub(super) fn product(&self, x: &[f64], ct: &[f64], v: &[f64]) -> Result<(Vec<f64>, Option<Vec<f64>>), String> {
        let graph = self.products.as_ref().map_err(String::clone)?;
        let mut results = graph.run(&|name| match name.strip_prefix(products::ALONG) {
            _ if name == products::COTANGENT => Tensor::new(&self.extents, ct.to_vec()),
            Some(variable) => self.subject.feed(variable, v),
            None => self.subject.feed(name, x),
        })?;
        let pushed = results.remove(products::PUSHED);
        let mut pulled = Vec::with_capacity(x.len());
        for variable in &self.subject.variables {
            pulled.extend(results.remove(&products::pulled(&variable.name)).unwrap_or_default());
        }
        Ok((pulled, pushed))
    }

    /// Random numbers of a law for every value or entry of every sample.
    pub(super) fn noise(&self, law: Law, stream: &str, number: u32, per_block: usize) -> Vec<f64> {
        let mut all = Vec::with_capacity(per_block * self.subject.blocks);
        let mut row = vec![0f32; per_block];
        for block in 0..self.subject.blocks {
            let id = self.subject.ids.get(block).copied().unwrap_or(block as u64);
            fill(law, Place::new(self.subject.seed, "certificate", stream).sample(id).at(0, number), &mut row);
            all.extend(row.iter().map(|&v| f64::from(v)));
        }
        all
    }

    /// Sum over one block of a·b.
    pub(super) fn dot(&self, a: &[f64], b: &[f64], block: usize) -> f64 {
        let size = a.len() / self.subject.blocks.max(1);
        let rows = block * size..(block + 1) * size;
        a[rows.clone()].iter().zip(&b[rows]).map(|(a, b)| a * b).sum()
    }

    /// How large a slope along a direction is for a gradient: ‖weights ∘ g‖ of one block.
    pub(super) fn scale(&self, site: &Site, gradient: &[f64], block: usize) -> f64 {
        let size = self.subject.size();
        let own = gradient[block * size..(block + 1) * size].iter().zip(&site.weights);
        own.map(|(g, w)| (g * w) * (g * w)).sum::<f64>().sqrt()
    }

    /// What directions are there, as words.
    pub(super) fn directions(&self, site: &Site) -> String {
        let mut words: Vec<String> = Vec::new();
        for law in ["Gaussian", "sign", "gradient sign"] {
            let count = site.directions.iter().filter(|d| d.law == law).count();
            if count > 0 {
                words.push(format!("{count} {law}"));
            }
        }
        words.join(", ")
    }

    /// Points where an attack goes: the steps of the threat model where the graph has them, otherwise steps along the sign.
    fn walk(&self, gradient: &Compiled) -> Result<Option<Vec<f64>>, String> {
        if !self.subject.batched {
            return Ok(None);
        }
        let mut x = self.subject.start.clone();
        for _ in 0..WALK {
            let mut results = gradient.run(&|name| self.subject.feed(name, &x))?;
            x = match results.remove("x_next") {
                Some(next) => next,
                None => {
                    let step = 2.0 / 255.0 * self.subject.range;
                    let g = packed(self.subject, &results)?;
                    let (low, high) = self.subject.bounds.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
                    let sign = |g: &f64| if *g == 0.0 || g.is_nan() { 0.0 } else { g.signum() };
                    x.iter().zip(&g).map(|(x, g)| f64::from((x + step * sign(g)).clamp(low, high) as f32)).collect()
                }
            };
        }
        Ok(Some(x))
    }

    fn site(&self, gradient: &Compiled, name: &'static str, exact: Vec<f64>) -> Result<Site, String> {
        let x = self.aside(&exact, name);
        let found = self.gradient_of(gradient, &x)?;
        let mut site = Site {
            name,
            gradient_at_exact: self.gradient_of(gradient, &exact)?,
            values: self.values(&x)?,
            weights: self.weights(&found),
            gradient: found,
            x,
            directions: Vec::new(),
        };
        let mut directions = Vec::new();
        let cost = EVALUATIONS[0] * work(&self.subject.forward) * self.subject.blocks as f64;
        let each = if cost <= BUDGET { 2 } else { 1 };
        for (law, word) in [(Law::Normal, "Gaussian"), (Law::Rademacher, "sign")] {
            for number in 0..each {
                let noise = self.noise(law, name, number + if law == Law::Normal { 0 } else { 100 }, self.subject.size());
                directions.push((word, noise));
            }
        }
        let sign = |g: &f64| if *g == 0.0 || g.is_nan() { 0.0 } else { g.signum() };
        directions.push(("gradient sign", site.gradient.iter().map(sign).collect()));
        for (law, noise) in directions {
            let weight = |(i, v): (usize, f64)| v * site.weights[i % site.weights.len().max(1)];
            let v: Vec<f64> = noise.into_iter().enumerate().map(weight).collect();
            let [larger, smaller] = STEPS[usize::from(self.precise.is_err())].map(|h| h * self.subject.range);
            let mut steps = vec![self.step(&site.x, &v, larger)?];
            let bent = self.bent(&site, &steps[0]);
            if bent.contains(&true) {
                steps.push(self.step_in(&bent, &site.x, &v, smaller)?);
            }
            let reaches = match self.subject.reach {
                Some(reach) if law == "sign" => {
                    let inside = |part: &f64| {
                        let inner = self.inside(&site.x, &v, part * reach);
                        self.step(&site.x, &inner, part * reach).map(|step| (inner, step))
                    };
                    REACHES.iter().map(inside).collect::<Result<_, _>>()?
                }
                _ => Vec::new(),
            };
            site.directions.push(Direction { law, v, steps, reaches });
        }
        Ok(site)
    }

    fn step(&self, x: &[f64], v: &[f64], h: f64) -> Result<Step, String> {
        self.step_in(&vec![true; self.subject.blocks], x, v, h)
    }

    /// A step in some of the blocks.
    fn step_in(&self, blocks: &[bool], x: &[f64], v: &[f64], h: f64) -> Result<Step, String> {
        let moved = |sign: f64| x.iter().zip(v).map(|(x, v)| x + sign * h * v).collect::<Vec<f64>>();
        Ok(Step { h, above: self.values_in(blocks, &moved(1.0))?, below: self.values_in(blocks, &moved(-1.0))? })
    }

    /// The values in some of the blocks, NaN in the others; in all of them where blocks cannot be asked alone.
    fn values_in(&self, blocks: &[bool], x: &[f64]) -> Result<Vec<f64>, String> {
        let rows = self.subject.batched && self.subject.variables.iter().all(|v| self.forward.takes_only(&v.name));
        if !rows || !blocks.contains(&false) {
            return self.values(x);
        }
        let wanted: Vec<usize> = (0..blocks.len()).filter(|&block| blocks[block]).collect();
        let row = x.len() / blocks.len();
        let found = self.values(&wanted.iter().flat_map(|block| &x[block * row..][..row]).copied().collect::<Vec<f64>>())?;
        let size = found.len() / wanted.len().max(1);
        let mut all = vec![f64::NAN; size * blocks.len()];
        for (block, values) in wanted.iter().zip(found.chunks_exact(size.max(1))) {
            all[block * size..][..size].copy_from_slice(values);
        }
        Ok(all)
    }

    /// In which blocks the values are not straight over a step, so that a smaller one may avoid a kink; in all where they are float32.
    fn bent(&self, site: &Site, step: &Step) -> Vec<bool> {
        let size = site.values.len() / self.subject.blocks.max(1);
        let larger = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
        let largest = |numbers: &mut dyn Iterator<Item = f64>| numbers.fold(0.0, larger);
        let of = |block: usize| {
            let rows = block * size..(block + 1) * size;
            let (above, below, values) = (&step.above[rows.clone()], &step.below[rows.clone()], &site.values[rows]);
            let first = largest(&mut above.iter().zip(below).map(|(a, b)| (a - b).abs()));
            let second = largest(&mut (0..values.len()).map(|i| (above[i] + below[i] - 2.0 * values[i]).abs()));
            second.is_nan() || first.is_nan() || second > BENT * first
        };
        (0..self.subject.blocks).map(|block| self.precise.is_err() || of(block)).collect()
    }

    /// The direction without the entries that leave the bounds.
    fn inside(&self, x: &[f64], v: &[f64], h: f64) -> Vec<f64> {
        let Some((low, high)) = self.subject.bounds else { return v.to_vec() };
        let stays = |x: f64, v: f64| (low..=high).contains(&(x + h * v)) && (low..=high).contains(&(x - h * v));
        x.iter().zip(v).map(|(&x, &v)| if stays(x, v) { v } else { 0.0 }).collect()
    }

    /// The points moved a little, into the bounds, to numbers that float32 can hold.
    fn aside(&self, exact: &[f64], stream: &str) -> Vec<f64> {
        if !self.subject.batched {
            return exact.to_vec();
        }
        let noise = self.noise(Law::Uniform, stream, 1000, self.subject.size());
        let step = ASIDE * self.subject.range;
        let middle = self.subject.bounds.map(|(low, high)| (low + high) / 2.0);
        let moved = |(x, u): (&f64, f64)| {
            let length = step * (0.25 + 0.75 * u.abs());
            let sign = middle.map_or(u.signum(), |middle| if *x <= middle { 1.0 } else { -1.0 });
            f64::from((x + sign * length) as f32)
        };
        exact.iter().zip(noise).map(moved).collect()
    }

    /// 1 for a single variable. Several are weighed so that each contributes as much to a slope as any other.
    fn weights(&self, gradient: &[f64]) -> Vec<f64> {
        let sizes = self.subject.sizes();
        if sizes.len() < 2 {
            return vec![1.0; self.subject.size()];
        }
        let mut from = 0;
        let mut norms = Vec::with_capacity(sizes.len());
        for size in &sizes {
            norms.push(gradient[from..from + size].iter().map(|g| g * g).sum::<f64>().sqrt());
            from += size;
        }
        let least = norms.iter().copied().filter(|n| *n > 0.0 && n.is_finite()).fold(f64::INFINITY, f64::min);
        let weight = |norm: f64| if norm > 0.0 && norm.is_finite() { least / norm } else { 1.0 };
        sizes.iter().zip(norms).flat_map(|(&size, norm)| std::iter::repeat_n(weight(norm), size)).collect()
    }
}

/// A graph in double precision, on the first engine that runs it. That an engine lacks a kernel may show only when it runs.
fn doubled(subject: &Subject, graph: &Graph, engines: &Engines) -> Result<Compiled, String> {
    let wide = widen(graph)?;
    let attempt = |engine: &Arc<dyn Engine>| {
        let compiled = Compiled::plain(engine.as_ref(), &wide)?;
        compiled.run(&|name| subject.feed(name, &subject.start)).map(|_| compiled)
    };
    let mut refusals = Vec::new();
    for engine in &engines.double {
        match attempt(engine) {
            Ok(compiled) => return Ok(compiled),
            Err(why) => refusals.push(why),
        }
    }
    Err(if refusals.is_empty() { "no engine for double precision".to_owned() } else { refusals.join("; ") })
}

/// The gradients of all variables, in order, from the results of a run.
fn packed(subject: &Subject, results: &Results) -> Result<Vec<f64>, String> {
    let mut all = Vec::with_capacity(subject.start.len());
    for variable in &subject.variables {
        let found = results.get(&variable.gradient);
        all.extend(found.ok_or_else(|| format!("the graph gives no {}", flatscape_graph::shown(&variable.gradient)))?);
    }
    if all.len() != subject.start.len() {
        return Err(format!("the gradient has {} numbers, and {} were expected", all.len(), subject.start.len()));
    }
    Ok(all)
}

/// Extents of the values, given their number: the extent that is not fixed is the batch.
fn extents(subject: &Subject, count: usize) -> Vec<usize> {
    let dims = subject.forward.outputs().first().and_then(|o| subject.forward.shape(o.value)).unwrap_or(&[]);
    let fixed: usize = dims.iter().filter_map(Dim::fixed).product();
    dims.iter().map(|d| d.fixed().unwrap_or(count / fixed.max(1))).collect()
}
