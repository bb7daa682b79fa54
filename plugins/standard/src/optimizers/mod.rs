//! The standard optimizers: one file each. A graph serves parameters of every shape; its states begin at 0.

pub(crate) mod adam;
mod decay;
pub(crate) mod sgd;
