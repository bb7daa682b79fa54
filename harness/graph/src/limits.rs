//! What a graph from a file may require of an engine, computed from the types alone, before an engine loads it. Knows bytes per
//! value, not what is fast or fits into this machine.

use crate::ir::{Dim, Graph, Node, ValueId};
use crate::name::shown;
use crate::tensor::DType;

/// The most bytes that one value may have, for one sample of a batch whose size is open.
pub const VALUE_BYTES: u64 = 1 << 30;
/// The most bytes that an engine may compute from constants when it loads the graph: this many, …
pub const CONSTANT_BYTES: u64 = 256 << 20;
/// … plus this many times the bytes of the constants in the file (weights that are stored in fewer bits).
pub const CONSTANT_FACTOR: u64 = 16;

/// The largest batch that a file may fix. Every run of such a model takes that many images, and values behind a shape that is not
/// known count only as one.
pub const FIXED_BATCH: usize = 1 << 14;

impl Graph {
    /// Refuses a graph that is small on disk and large in memory: a batch of more than `FIXED_BATCH` images, a value of more than
    /// [`VALUE_BYTES`], or values without a way from an input that have more than [`CONSTANT_BYTES`] in all. Extents that are not
    /// known count as 1, a fixed batch as what it is.
    ///
    /// # Errors
    /// A sentence that names the input or the node.
    pub fn within_limits(&self) -> Result<(), String> {
        self.inputs().iter().try_for_each(|&input| self.input_within_limits(input))?;
        let mut fed = vec![false; self.values().len()];
        self.inputs().iter().for_each(|v| fed[v.0 as usize] = true);
        let given: u64 = self.values().filter_map(|(_, v)| v.constant.as_deref()).map(|t| bytes(t.dtype(), t.shape())).sum();
        let most = given.saturating_mul(CONSTANT_FACTOR).saturating_add(CONSTANT_BYTES);
        let mut constant = 0u64;
        for node in self.nodes() {
            let from_input = node.inputs.iter().flatten().any(|v| fed[v.0 as usize]);
            let padded = self.padded(node);
            if padded > VALUE_BYTES {
                let size = format!("{} MB with its padding; {} MB is the limit", padded >> 20, VALUE_BYTES >> 20);
                return Err(format!("{}: what it reads has {size}", node.describe()));
            }
            for &result in node.outputs.iter().flatten() {
                fed[result.0 as usize] = from_input;
                let size = self.size(result);
                if size > VALUE_BYTES {
                    return Err(too_large(self, node, result, size));
                }
                constant = if from_input { constant } else { constant.saturating_add(size) };
                if constant > most {
                    let what =
                        format!("{}: with it, constants of {} MB would be made on loading", node.describe(), constant >> 20);
                    return Err(format!("{what}; {} MB is the limit", most >> 20));
                }
            }
        }
        Ok(())
    }

    fn input_within_limits(&self, input: ValueId) -> Result<(), String> {
        let value = self.value(input);
        let what = format!("the input {} is {}", shown(&value.name), value.ty);
        if let Some([Dim::Fixed(batch), _, ..]) = self.shape(input)
            && *batch > FIXED_BATCH
        {
            return Err(format!("{what}: a batch that is fixed to {batch}; {FIXED_BATCH} is the limit"));
        }
        let size = self.size(input);
        if size > VALUE_BYTES {
            return Err(format!("{what}: {}; {} MB is the limit", megabytes(size), VALUE_BYTES >> 20));
        }
        Ok(())
    }

    /// Bytes of the first operand with the padding that the node states around its spatial axes.
    fn padded(&self, node: &Node) -> u64 {
        let (Some(pads), Some(x)) = (node.attributes.ints("pads"), node.input(0)) else { return 0 };
        let Some(shape) = self.shape(x).filter(|s| s.len() >= 2 && pads.len() == 2 * (s.len() - 2)) else { return 0 };
        let axes = pads.len() / 2;
        let extent = |(axis, dim): (usize, &Dim)| {
            let around = if axis < 2 { 0 } else { pads[axis - 2].max(0).saturating_add(pads[axis - 2 + axes].max(0)) };
            (least(dim) as u64).saturating_add(around as u64)
        };
        let size = self.dtype(x).map_or(4, DType::size) as u64;
        shape.iter().enumerate().map(extent).fold(size, u64::saturating_mul)
    }

    /// Bytes of a value whose open extents are 1.
    fn size(&self, value: ValueId) -> u64 {
        let dims: Vec<usize> = self.shape(value).unwrap_or_default().iter().map(least).collect();
        bytes(self.dtype(value).unwrap_or(DType::F32), &dims)
    }
}

/// An extent whose names are 1: of `400*N`, 400.
fn least(dim: &Dim) -> usize {
    match dim {
        Dim::Fixed(n) => *n,
        Dim::Symbol(name) => name.split('*').filter_map(|f| f.parse().ok()).fold(1, usize::saturating_mul),
        Dim::Unknown => 1,
    }
}

fn too_large(graph: &Graph, node: &Node, value: ValueId, size: u64) -> String {
    let value = graph.value(value);
    let (size, most) = (megabytes(size), VALUE_BYTES >> 20);
    format!("{} gives {} {}: {size}; {most} MB is the limit", node.describe(), shown(&value.name), value.ty)
}

fn megabytes(size: u64) -> String {
    if size == u64::MAX { "more bytes than can be counted".to_owned() } else { format!("{} MB", size >> 20) }
}

fn bytes(dtype: DType, dims: &[usize]) -> u64 {
    dims.iter().fold(dtype.size() as u64, |n, &d| n.saturating_mul(d as u64))
}

#[cfg(test)]
mod tests {
    use crate::text;

    #[test]
    fn bombs_are_named() {
        let rows = [
            ("y = Relu(x)", ""),
            ("s = Constant<value_ints = [1024, 1024, 300]>() c = ConstantOfShape(s) y = Add(x, c)", "1200 MB"),
            ("r = Constant<value_ints = [1, 400000000]>() y = Tile(x, r)", "Tile"),
            ("s = Constant<value_ints = [9223372036854775807, 4]>() y = Expand(x, s)", "more bytes than can be counted"),
            ("r = Constant<value_ints = [400000000, 1]>() y = Tile(x, r)", "Tile"),
            (
                "s = Constant<value_ints = [1024, 1024, 50]>() a = ConstantOfShape(s) b = Exp(a) y = Add(x, b)",
                "constants of 400 MB would be made on loading",
            ),
        ];
        for (body, words) in rows {
            let graph = text::parse(&format!("g (float[N,1] x) => (float[] y) {{ {body} }}")).unwrap();
            let found = graph.within_limits();
            match words {
                "" => assert_eq!(found, Ok(())),
                _ => assert!(found.as_ref().is_err_and(|what| what.contains(words)), "{body}: {found:?}"),
            }
        }
    }

    /// A batch that the file fixes counts, also where what follows from it is not known.
    #[test]
    fn fixed_batches_count() {
        let rows = [
            ("float[16384,1,8,8]", ""),
            ("float[16385,1,8,8]", "a batch that is fixed to 16385"),
            ("float[1000000,64]", "a batch that is fixed to 1000000"),
            ("float[4611686018427387904,1,28,28]", "a batch that is fixed to 4611686018427387904"),
            ("float[4096,3,512,512]", "12288 MB"),
            ("float[N,3,100000,100000]", "114440 MB"),
            ("float[100000]", ""),
        ];
        for (input, words) in rows {
            let graph = text::parse(&format!("g ({input} x) => (float[] y) {{ y = Relu(x) }}")).unwrap();
            let found = graph.within_limits();
            match words {
                "" => assert_eq!(found, Ok(())),
                _ => assert!(found.as_ref().is_err_and(|what| what.contains(words)), "{input}: {found:?}"),
            }
        }
    }
}
