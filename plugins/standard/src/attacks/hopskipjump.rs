//! HopSkipJump: the nearest adversarial example from labels alone. At a point of the boundary the normal is estimated from labels
//! around it, a step follows it, and bisection leads back to the boundary. Its control flow is code, so it asks the oracle.

use flatscape_sdk::{Ask, Component, Error, Law, Oracle, Param};

/// Random numbers that the host gives at once.
const AT_ONCE: usize = 1 << 16;
/// Halvings of a step, and of an interval: float32 has no more digits.
const HALVINGS: usize = 30;

pub(crate) fn component() -> Component {
    Component::attack("hopskipjump", "the nearest adversarial example from the labels alone")
        .source("Chen, Jordan, Wainwright 2020 (arXiv:1904.02144), algorithms 1 and 2; a step is halved 30 times at most")
        .param(Param::int("steps", 64, "how many steps along the boundary").range(1.0, 10_000.0))
        .param(Param::int("probes", 100, "labels for the first normal; later ones take √k times as many").range(2.0, 1_000_000.0))
        .param(Param::int("most-probes", 10_000, "labels for a normal at most").range(2.0, 1_000_000.0))
        .param(
            Param::int("tries", 1000, "random images among which the first adversarial one is looked for")
                .range(1.0, 1_000_000.0),
        )
        .minimal()
        .build(|ask| is_linf(ask).map(|_| ask.program()))
        .oracle(run)
}

/// Whether the norm is linf and not l2.
fn is_linf(ask: &Ask) -> Result<bool, Error> {
    match ask.task.norm.as_str() {
        "linf" => Ok(true),
        "l2" => Ok(false),
        other => Err(Error::unsupported(format!("the threat model is {other}; it serves linf, l2"))),
    }
}

fn run(ask: &Ask, oracle: &Oracle) -> Result<(), Error> {
    let linf = is_linf(ask)?;
    for sample in oracle.active()? {
        let search = Search { ask, oracle, sample, x0: oracle.x0(sample), linf };
        let Some(first) = search.first()? else { continue };
        let mut x = search.back(&first)?;
        search.oracle.offer(&x, &[sample])?;
        for k in 1..=ask.int("steps") {
            if oracle.cancelled() {
                return Err(Error::cancelled());
            }
            x = search.step(&x, k)?;
            search.oracle.offer(&x, &[sample])?;
        }
    }
    Ok(())
}

/// The search for one sample.
struct Search<'a> {
    ask: &'a Ask,
    oracle: &'a Oracle<'a>,
    sample: usize,
    x0: &'a [f32],
    linf: bool,
}

impl Search<'_> {
    /// Which of some points are adversarial examples.
    fn broken(&self, points: &[f32]) -> Result<Vec<bool>, Error> {
        let (pixels, classes) = (self.x0.len(), self.ask.task.classes);
        let logits = self.oracle.logits(points, &vec![self.sample; points.len() / pixels])?;
        let broken = |scores: &[f32]| {
            // the first of the largest
            let class = (1..classes).fold(0, |best, class| if scores[class] > scores[best] { class } else { best }) as i64;
            match self.oracle.target() {
                Some(target) => class == target[self.sample],
                None => class != self.oracle.y()[self.sample],
            }
        };
        Ok(logits.chunks(classes).map(broken).collect())
    }

    /// Random vectors, one after the other.
    fn drawn(&self, law: Law, stream: u32, count: usize) -> Result<Vec<f32>, Error> {
        let pixels = self.x0.len();
        let mut all = Vec::with_capacity(count * pixels);
        for (part, left) in (0..count).step_by((AT_ONCE / pixels).max(1)).enumerate() {
            let some = (count - left).min((AT_ONCE / pixels).max(1));
            all.extend(self.oracle.noise(law, stream * 100_000 + part as u32, &[self.sample], some * pixels)?);
        }
        Ok(all)
    }

    /// A random image that is adversarial, if there is one among those that are tried.
    fn first(&self) -> Result<Option<Vec<f32>>, Error> {
        let (lo, hi) = (self.ask.task.lo as f32, self.ask.task.hi as f32);
        let images: Vec<f32> = self.drawn(Law::Uniform, 0, self.ask.int("tries") as usize)?;
        let images: Vec<f32> = images.into_iter().map(|u| lo + (hi - lo) * (u + 1.0) / 2.0).collect();
        let found = self.broken(&images)?.iter().position(|&broken| broken);
        Ok(found.map(|place| images[place * self.x0.len()..(place + 1) * self.x0.len()].to_vec()))
    }

    /// The last adversarial point on the way back to the image, by bisection: along the segment in l2, over balls in linf.
    fn back(&self, x: &[f32]) -> Result<Vec<f32>, Error> {
        let far = self.distance(x);
        let at = |share: f64| -> Vec<f32> {
            let between = |(&x, &x0): (&f32, &f32)| {
                let away = f64::from(x) - f64::from(x0);
                let radius = share * far;
                (f64::from(x0) + if self.linf { away.clamp(-radius, radius) } else { share * away }) as f32
            };
            x.iter().zip(self.x0).map(between).collect()
        };
        let (mut near, mut adversarial, mut point) = (0.0, 1.0, x.to_vec());
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(near, adversarial);
            let tried = at(middle);
            if tried == point {
                break;
            }
            if self.broken(&tried)?[0] {
                (adversarial, point) = (middle, tried);
            } else {
                near = middle;
            }
        }
        Ok(point)
    }

    /// x + s·v, s halved until it is adversarial, and back to the boundary.
    fn step(&self, x: &[f32], k: i64) -> Result<Vec<f32>, Error> {
        let normal = self.normal(x, k)?;
        let mut length = self.distance(x) / (k as f64).sqrt();
        for _ in 0..HALVINGS {
            let moved: Vec<f32> = x.iter().zip(&normal).map(|(&x, v)| self.boxed(f64::from(x) + length * v)).collect();
            if self.broken(&moved)?[0] {
                return self.back(&moved);
            }
            length /= 2.0;
        }
        Ok(x.to_vec())
    }

    /// v = Σ (φ_b − mean φ)·u_b, φ_b = 1 where x + Δu_b is adversarial and −1 elsewhere; its direction in l2, its signs in linf.
    fn normal(&self, x: &[f32], k: i64) -> Result<Vec<f64>, Error> {
        let pixels = x.len();
        let count = ((self.ask.int("probes") as f64 * (k as f64).sqrt()) as usize).min(self.ask.int("most-probes") as usize);
        let delta = if k == 1 { 0.1 } else { self.distance(x) / pixels as f64 };
        let law = if self.linf { Law::Uniform } else { Law::Normal };
        let mut probes = self.drawn(law, k as u32, count)?;
        for probe in probes.chunks_mut(pixels) {
            let length = probe.iter().map(|u| f64::from(*u).powi(2)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            for (u, &x) in probe.iter_mut().zip(x) {
                *u = self.boxed(f64::from(x) + delta * f64::from(*u) / length);
            }
        }
        let signs: Vec<f64> = self.broken(&probes)?.iter().map(|&broken| if broken { 1.0 } else { -1.0 }).collect();
        let mean = signs.iter().sum::<f64>() / signs.len() as f64;
        let baseline = if mean.abs() == 1.0 { 0.0 } else { mean };
        let mut sum = vec![0.0; pixels];
        for (probe, sign) in probes.chunks(pixels).zip(&signs) {
            for ((total, &p), &x) in sum.iter_mut().zip(probe).zip(x) {
                *total += (sign - baseline) * (f64::from(p) - f64::from(x));
            }
        }
        let length = sum.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        Ok(sum.iter().map(|v| if self.linf && *v != 0.0 { v.signum() } else { v / length }).collect())
    }

    fn distance(&self, x: &[f32]) -> f64 {
        let away = x.iter().zip(self.x0).map(|(&x, &x0)| (f64::from(x) - f64::from(x0)).abs());
        if self.linf { away.fold(0.0, f64::max) } else { away.map(|d| d * d).sum::<f64>().sqrt() }
    }

    fn boxed(&self, value: f64) -> f32 {
        value.clamp(self.ask.task.lo, self.ask.task.hi) as f32
    }
}
