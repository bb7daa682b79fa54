//! A window that slides over the spatial axes: kernel, strides, dilations and pads with automatic padding resolved. Knows
//! arithmetic on extents and nothing about what is computed in the window.

use flatscape_graph::{Attributes, Dim};

use crate::application::Application;

/// The geometry of a convolution or a pool, one number per spatial axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    pub kernel: Vec<i64>,
    pub strides: Vec<i64>,
    pub dilations: Vec<i64>,
    pub begins: Vec<i64>,
    pub ends: Vec<i64>,
}

impl Window {
    /// The window of a `Conv` or a pool over an operand of these extents [N, C, spatial…].
    pub(crate) fn of_node(n: &Application<'_>, kernel: &[usize], dims: &[Dim]) -> Result<Window, String> {
        let mut window = Window::stated(n, kernel)?;
        match n.string("auto_pad", "NOTSET").as_str() {
            "SAME_UPPER" => window.pad_to_same(dims, false)?,
            "SAME_LOWER" => window.pad_to_same(dims, true)?,
            "VALID" => (window.begins, window.ends) = (vec![0; kernel.len()], vec![0; kernel.len()]),
            _ => {}
        }
        Ok(window)
    }

    /// The window of a `ConvTranspose` over an operand of these extents [N, C, spatial…]: the pads crop its result.
    pub(crate) fn of_transposed(n: &Application<'_>, kernel: &[usize], dims: &[Dim]) -> Result<Window, String> {
        let mut window = Window::stated(n, kernel)?;
        let auto = n.string("auto_pad", "NOTSET");
        if auto == "VALID" {
            (window.begins, window.ends) = (vec![0; kernel.len()], vec![0; kernel.len()]);
        }
        let stated = n.ints("output_shape");
        if stated.is_none() && !auto.starts_with("SAME") {
            return Ok(window);
        }
        let extra = n.ints("output_padding").unwrap_or_else(|| vec![0; kernel.len()]);
        for axis in 0..kernel.len() {
            let extent = fixed(dims, axis)?;
            let wanted = stated.as_ref().and_then(|s| s.get(s.len() + axis - kernel.len())).copied();
            let wanted = wanted.unwrap_or(extent * window.strides[axis]);
            let whole = window.strides[axis] * (extent - 1) + extra.get(axis).copied().unwrap_or(0) + window.reach(axis);
            let total = (whole - wanted).max(0);
            let small = total / 2;
            let upper = auto == "SAME_UPPER";
            window.begins[axis] = if upper { small } else { total - small };
            window.ends[axis] = total - window.begins[axis];
        }
        Ok(window)
    }

    /// The window without automatic padding.
    fn stated(n: &Application<'_>, kernel: &[usize]) -> Result<Window, String> {
        let rank = kernel.len();
        let list = |name: &str, default: i64, length: usize| -> Result<Vec<i64>, String> {
            let stated = n.ints(name).unwrap_or_else(|| vec![default; length]);
            if stated.len() == length { Ok(stated) } else { Err(format!("`{name}` has {} numbers for {length}", stated.len())) }
        };
        let pads = list("pads", 0, 2 * rank)?;
        let (strides, dilations) = (list("strides", 1, rank)?, list("dilations", 1, rank)?);
        if strides.iter().chain(&dilations).any(|&v| v < 1) {
            return Err("a stride or dilation is below 1".to_owned());
        }
        let kernel = kernel.iter().map(|&k| k as i64).collect();
        Ok(Window { kernel, strides, dilations, begins: pads[..rank].to_vec(), ends: pads[rank..].to_vec() })
    }

    fn pad_to_same(&mut self, dims: &[Dim], odd_first: bool) -> Result<(), String> {
        for axis in 0..self.kernel.len() {
            let extent = fixed(dims, axis)?;
            let steps = (extent + self.strides[axis] - 1) / self.strides[axis];
            let total = ((steps - 1) * self.strides[axis] + self.reach(axis) - extent).max(0);
            self.begins[axis] = if odd_first { total - total / 2 } else { total / 2 };
            self.ends[axis] = total - self.begins[axis];
        }
        Ok(())
    }

    /// From the first to the last tap: `d·(k − 1) + 1`.
    pub(crate) fn reach(&self, axis: usize) -> i64 {
        self.dilations[axis] * (self.kernel[axis] - 1) + 1
    }

    /// What the last step of the window leaves over at the end of each padded axis: `(H + p − d·(k−1) − 1) mod s`.
    pub(crate) fn leftover(&self, dims: &[Dim]) -> Result<Vec<i64>, String> {
        (0..self.kernel.len())
            .map(|axis| match self.strides[axis] {
                1 => Ok(0),
                s => Ok((fixed(dims, axis)? + self.begins[axis] + self.ends[axis] - self.reach(axis)).rem_euclid(s)),
            })
            .collect()
    }

    /// How many taps of each of the `steps` windows lie inside the axis, or inside the padded axis.
    pub(crate) fn taps(&self, axis: usize, extent: i64, steps: i64, padded: bool) -> Vec<i64> {
        let (first, end) = if padded { (-self.begins[axis], extent + self.ends[axis]) } else { (0, extent) };
        let inside = |step: i64| {
            let start = step * self.strides[axis] - self.begins[axis];
            let taps = (0..self.kernel[axis]).map(|t| start + t * self.dilations[axis]);
            (taps.filter(|at| (first..end).contains(at)).count() as i64).max(1)
        };
        (0..steps).map(inside).collect()
    }

    /// The attributes of a `Conv` or `ConvTranspose` with this window.
    pub(crate) fn attributes(&self, group: i64) -> Attributes {
        let pads: Vec<i64> = self.begins.iter().chain(&self.ends).copied().collect();
        Attributes::none()
            .with("strides", self.strides.clone())
            .with("dilations", self.dilations.clone())
            .with("pads", pads)
            .with("group", group)
    }
}

/// A spatial extent that must be known.
pub(crate) fn fixed(dims: &[Dim], axis: usize) -> Result<i64, String> {
    let extent = dims.get(axis + 2).and_then(Dim::fixed);
    extent
        .map(|n| n as i64)
        .ok_or_else(|| "the spatial extents of its operand are unknown, and its stride or padding needs them".to_owned())
}
