//! `PoolGradient` for tract, whose `MaxPool` with indices and `ScatterElements` walk over their operands element by element.

use std::sync::Arc;

use tract_onnx::model::OnnxOpRegister;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::own::{Kernel, Own};
use crate::lower;
use flatscape_kernels::Windows;

/// Adds the operator to those that tract reads.
pub(super) fn register(operators: &mut OnnxOpRegister) {
    operators.insert(lower::POOL_GRADIENT, |_, node| Ok((expand(Own(read(node)?)), Vec::new())));
}

/// `x̄ = PoolGradient(x, ȳ)`: ȳ of every window added at its first largest element of x, all float [N, C, H, W].
#[derive(Clone)]
struct PoolGradient {
    /// What tells it from others of its kind.
    attributes: Vec<(String, Vec<i64>)>,
    windows: Arc<Windows>,
}

impl std::fmt::Debug for PoolGradient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PoolGradient {:?}", self.attributes)
    }
}

impl PartialEq for PoolGradient {
    fn eq(&self, other: &PoolGradient) -> bool {
        self.attributes == other.attributes
    }
}

impl Eq for PoolGradient {}

fn read(node: &NodeProto) -> TractResult<PoolGradient> {
    let mut attributes = Vec::new();
    for name in ["kernel_shape", "strides", "dilations", "pads"] {
        attributes.push((name.to_owned(), node.get_attr_vec::<i64>(name)?));
    }
    let positive = node.get_attr_opt::<i64>("positive")? == Some(1);
    attributes.push(("positive".to_owned(), vec![i64::from(positive)]));
    let found = |name: &str| attributes.iter().find(|(n, _)| n == name).map(|(_, list)| list.clone());
    let windows = Arc::new(Windows::read(found, positive).map_err(|why| format_err!("{why}"))?);
    Ok(PoolGradient { attributes, windows })
}

impl Kernel for PoolGradient {
    const NAME: &'static str = lower::POOL_GRADIENT;

    fn compute(&self, x: &Tensor, ct: TValue) -> TractResult<Tensor> {
        let (&[_, _, h, w], &[_, _, rows, columns]) = (x.shape(), ct.shape()) else {
            bail!("PoolGradient takes operands of four axes");
        };
        let mut result = Tensor::zero::<f32>(x.shape())?;
        let (x, ct) = (x.try_as_plain_ram()?, ct.try_as_plain_ram()?);
        let mut into = result.try_as_plain_ram_mut()?;
        self.windows.gradient(x.as_slice::<f32>()?, ct.as_slice::<f32>()?, into.as_slice_mut::<f32>()?, [h, w], [rows, columns]);
        Ok(result)
    }
}
