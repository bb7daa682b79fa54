//! Operators of our own for the CPU provider of ONNX Runtime. They exist for execution only: no file that is written has them.

mod chwn;
mod correlation;
mod formula;
mod gate;
mod interleave;
mod pool;
mod winograd;

use std::sync::Arc;

use ort::operator::OperatorDomain;

use crate::lower;
pub(super) use winograd::Kernels;

/// The domain that sessions are given. The sessions of one graph share what `Winograd` computes once.
pub(super) fn domain(kernels: &Arc<Kernels>, threads: usize) -> ort::Result<Arc<OperatorDomain>> {
    let domain = OperatorDomain::new(lower::DOMAIN)?.add(pool::PoolGradient)?.add(interleave::Interleave)?.add(gate::Gate)?;
    domain
        .add(correlation::Correlation)?
        .add(formula::Formula)?
        .add(chwn::Chwn)?
        .add(winograd::Winograd { kernels: kernels.clone(), threads })
        .map(Arc::new)
}
