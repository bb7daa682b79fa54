//! Operators of our own for the CPU provider of ONNX Runtime. They exist for execution only: no file that is written has them.

mod correlation;
mod gate;
mod interleave;
mod pool;

use std::sync::Arc;

use ort::operator::OperatorDomain;

use crate::lower;

/// The domain that sessions are given.
pub(super) fn domain() -> ort::Result<Arc<OperatorDomain>> {
    let domain = OperatorDomain::new(lower::DOMAIN)?.add(pool::PoolGradient)?.add(interleave::Interleave)?.add(gate::Gate)?;
    domain.add(correlation::Correlation).map(Arc::new)
}
