//! Sampling of volumes, which no operator of opset 18 does: a sum over the voxels around each place, weighted by nearness.

use super::fixed;
use super::upgrade::{Old, Renewed};
use crate::expr::{Builder, Expr};
use crate::ir::Attributes;
use crate::tensor::DType;

/// x `[N,C,D,H,W]` at the places `[N,D',H',W',3]` in −1..1, of which the first coordinate runs along W.
pub(super) fn grid_sample(old: &mut Old) -> Renewed {
    let (x, grid) = (old.x(0)?, old.x(1)?);
    let extents = old.graph.shape(x).and_then(|s| fixed(s.get(1..)?)).filter(|e| e.len() == 4);
    let places = old.graph.shape(grid).and_then(|s| fixed(s.get(1..)?)).filter(|e| e.len() == 4);
    let (Some(extents), Some(places)) = (extents, places) else {
        return Err("it samples volumes, and their extents but the batch are not known".into());
    };
    let attributes = &old.node.attributes;
    let aligned = attributes.int("align_corners", 0) != 0;
    let nearest = match attributes.string("mode", "linear") {
        "nearest" => true,
        "linear" => false,
        other => return Err(format!("it samples volumes in the mode {other:?}, which has no form at opset 18")),
    };
    let clamps = match attributes.string("padding_mode", "zeros") {
        "zeros" => false,
        "border" => true,
        other => return Err(format!("it samples volumes with the padding {other:?}, which has no form at opset 18")),
    };
    let sampler = Sampler { aligned, nearest, clamps };
    Ok(super::expansions::formula(old, |b| {
        let (x, grid) = (b.expr(x), b.expr(grid));
        let (channels, axes) = (extents[0] as i64, &extents[1..]);
        let voxels = x.reshape(&[0, channels, axes.iter().product::<usize>() as i64]);
        let taps = |axis: usize| {
            let coordinate = grid.gather(b.ints(&[2 - axis as i64]), -1).reshape(&[0, 1, -1]);
            sampler.taps(coordinate, axes[axis] as f64)
        };
        let (deep, down, across) = (taps(0), taps(1), taps(2));
        let mut sum: Option<Expr> = None;
        for (d, h, w) in deep.iter().flat_map(|d| down.iter().flat_map(|h| across.iter().map(|w| (*d, *h, *w)))) {
            let at = (d.at * axes[1] as f64 + h.at) * axes[2] as f64 + w.at;
            let part = at_voxels(b, voxels, at, channels) * (d.weight * h.weight * w.weight);
            sum = Some(sum.map_or(part, |sum| sum + part));
        }
        let shape: Vec<i64> = [0, channels].into_iter().chain(places[..3].iter().map(|&n| n as i64)).collect();
        sum.unwrap_or(voxels).reshape(&shape)
    }))
}

/// The voxels `[N,C,·]` at flat positions `[N,1,·]`, which are the same in every channel.
fn at_voxels<'b>(b: &'b Builder, voxels: Expr<'b>, at: Expr<'b>, channels: i64) -> Expr<'b> {
    let at = b.op("Expand", &[at.cast(DType::I64), b.ints(&[1, channels, 1])], Attributes::none());
    b.op("GatherElements", &[voxels, at], [("axis", 2i64.into())])
}

struct Sampler {
    aligned: bool,
    nearest: bool,
    clamps: bool,
}

/// A voxel along one axis, always inside, and how much of it is taken.
#[derive(Clone, Copy)]
struct Tap<'b> {
    at: Expr<'b>,
    weight: Expr<'b>,
}

impl Sampler {
    fn taps<'b>(&self, coordinate: Expr<'b>, extent: f64) -> Vec<Tap<'b>> {
        let inside = |at: Expr<'b>| at.max(0.0).min(extent - 1.0);
        let place = match self.aligned {
            true => (coordinate + 1.0) * ((extent - 1.0) / 2.0),
            false => ((coordinate + 1.0) * extent - 1.0) * 0.5,
        };
        let place = if self.clamps { inside(place) } else { place };
        let one = place.scalar(1.0);
        let taps = if self.nearest {
            vec![(place.unary("Round"), one)]
        } else {
            let before = place.floor();
            vec![(before, one - (place - before)), (before + 1.0, place - before)]
        };
        let tap = |(at, weight): (Expr<'b>, Expr<'b>)| {
            let counts = at.at_least(0.0).and(at.at_most(extent - 1.0)).cast(at.dtype());
            Tap { at: inside(at), weight: if self.clamps { weight } else { weight * counts } }
        };
        taps.into_iter().map(tap).collect()
    }
}
