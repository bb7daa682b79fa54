//! Kernels, strides, dilations and padding of convolutions and pools, stated: `auto_pad` and `output_shape` become `pads`.

use super::{NormalizeError, Settings, fixed};
use crate::ir::{Attribute, Dim, Graph, Node, ValueId};
use crate::ops::{Auto, Window};

/// States the window of every convolution and pool whose kernel is known. Padding that depends on an unknown extent stays
/// automatic.
pub(super) fn windows(graph: Graph, _settings: &Settings) -> Result<Graph, NormalizeError> {
    if !graph.nodes().iter().any(slides) {
        return Ok(graph);
    }
    Ok(graph.rewrite(|new, node, inputs| {
        if !slides(node) {
            return None;
        }
        let mut node = node.on(inputs.to_vec());
        // what is wrong with the node is said when it is copied
        let _ = state(new, &mut node);
        Some(new.copy_node(&graph, &node, node.inputs.clone()))
    }))
}

fn slides(node: &Node) -> bool {
    node.domain.is_empty() && matches!(&*node.op, "Conv" | "ConvTranspose" | "MaxPool" | "AveragePool" | "LpPool")
}

fn state(graph: &Graph, node: &mut Node) -> Option<()> {
    let spatial = |i: usize| node.input(i).and_then(|v: ValueId| graph.shape(v)).and_then(|s| s.get(2..));
    let x = spatial(0)?;
    let kernel: Vec<usize> = match node.attributes.ints("kernel_shape") {
        Some(stated) => stated.iter().map(|&k| usize::try_from(k).ok()).collect::<Option<_>>()?,
        None => fixed(spatial(1)?)?,
    };
    let window = Window::read(&node.attributes, &kernel).ok()?;
    let pads = if &*node.op == "ConvTranspose" { transposed_pads(node, &window, x) } else { window.pads(x) };
    set(node, "kernel_shape", &window.kernel);
    set(node, "strides", &window.strides);
    if matches!(&*node.op, "Conv" | "ConvTranspose" | "MaxPool") {
        set(node, "dilations", &window.dilations);
    }
    let (before, after) = pads?;
    set(node, "pads", &[before, after].concat());
    node.attributes.0.remove("auto_pad");
    node.attributes.0.remove("output_shape");
    Some(())
}

/// Padding of a transposed convolution from the extents that its result should have.
fn transposed_pads(node: &Node, window: &Window, x: &[Dim]) -> Option<(Vec<usize>, Vec<usize>)> {
    let stated = node.attributes.ints("output_shape");
    let same = matches!(window.auto, Some(Auto::SameLower | Auto::SameUpper));
    if stated.is_none() && !same {
        return Some((window.before.clone(), window.after.clone()));
    }
    let extra = node.attributes.ints("output_padding");
    let total = (0..x.len()).map(|axis| {
        let n = i64::try_from(x[axis].fixed()?).ok()?;
        let stride = window.strides[axis] as i64;
        let wanted = match stated {
            Some(stated) => *stated.get(axis)?,
            None => n * stride,
        };
        let more = extra.map_or(Some(0), |e| e.get(axis).copied())?;
        let total = stride * (n - 1) + more + window.span(axis) as i64 - wanted;
        // nothing is cropped where the taps do not reach s·n
        usize::try_from(if stated.is_none() { total.max(0) } else { total }).ok()
    });
    let total: Vec<usize> = total.collect::<Option<_>>()?;
    let half: Vec<usize> = total.iter().map(|t| t / 2).collect();
    let rest: Vec<usize> = total.iter().map(|t| t - t / 2).collect();
    Some(if window.auto == Some(Auto::SameUpper) { (half, rest) } else { (rest, half) })
}

fn set(node: &mut Node, name: &str, sizes: &[usize]) {
    node.attributes.0.insert(name.into(), Attribute::Ints(sizes.iter().map(|&n| n as i64).collect()));
}
