//! The standard trainers: one file each. A cost is per sample; the host takes its mean over the batch and differentiates it.

pub(crate) mod adversarial;
pub(crate) mod amsreg;
pub(crate) mod attack_ams;
pub(crate) mod awp;
pub(crate) mod exact_ams;
pub(crate) mod fam;
pub(crate) mod fast;
mod formulas;
pub(crate) mod free;
pub(crate) mod input_gradient;
pub(crate) mod jacobian;
pub(crate) mod mart;
mod projections;
pub(crate) mod sam;
pub(crate) mod standard;
pub(crate) mod static_augmentation;
pub(crate) mod trades;

pub(crate) use formulas::square;
