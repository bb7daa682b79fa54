//! Which positions the results of one axis read.

/// Results that read the same taps: result `first + k·step` reads, with tap `taps[t]`, position `k·stride + shifts[t]`.
#[derive(Debug, PartialEq)]
pub(super) struct Phase {
    pub first: usize,
    pub step: usize,
    /// How many results.
    pub count: usize,
    pub stride: usize,
    pub taps: Vec<usize>,
    /// From the lowest to the highest.
    pub shifts: Vec<i64>,
}

/// One axis.
#[derive(Debug, PartialEq)]
pub(super) struct Axis {
    /// Positions.
    pub extent: usize,
    pub phases: Vec<Phase>,
}

impl Axis {
    /// `y[i] = Σ x[i·stride + places[t]] · W[t]`.
    pub fn direct(places: &[i64], stride: usize, extent: usize, steps: usize) -> Axis {
        let (taps, shifts) = (0..places.len()).zip(places.iter().copied()).unzip();
        Axis { extent, phases: vec![Phase { first: 0, step: 1, count: steps, stride, taps, shifts }] }
    }

    /// `y[i] = Σ x[(i − places[t]) / stride] · W[t]` over the taps for which this is a position.
    pub fn adjoint(places: &[i64], stride: usize, extent: usize, steps: usize) -> Axis {
        let phase = |first: usize| {
            let read = |t: usize| Some((t, first as i64 - places[t])).filter(|(_, at)| at.rem_euclid(stride as i64) == 0);
            let (taps, shifts) = (0..places.len()).rev().filter_map(read).map(|(t, at)| (t, at / stride as i64)).unzip();
            Phase { first, step: stride, count: steps.saturating_sub(first).div_ceil(stride), stride: 1, taps, shifts }
        };
        Axis { extent, phases: (0..stride).map(phase).filter(|p| p.count > 0).collect() }
    }

    /// Zeros that are needed before the first position and behind the last one by tiles of `tile` results.
    pub fn zeros(&self, tile: usize) -> [usize; 2] {
        let reach = |phase: &Phase| {
            let (lowest, highest) = (phase.shifts.first().copied().unwrap_or(0), phase.shifts.last().copied().unwrap_or(0));
            let last = (phase.count.max(tile) as i64 - 1) * phase.stride as i64 + highest;
            [(-lowest).max(0) as usize, (last + 1 - self.extent as i64).max(0) as usize]
        };
        self.phases.iter().map(reach).fold([0, 0], |a, b| [a[0].max(b[0]), a[1].max(b[1])])
    }
}
