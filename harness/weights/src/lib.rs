//! A model as a function of its weights, on labelled images: loss, gradient, Hessian times a vector, and the metrics of plugins that
//! ask for them (`weights/1`).
//!
//! [`form`] opens a model, so that its weights are inputs; [`segments`] says what each weight is, whatever the exporter's layout;
//! [`space`] computes; [`measure`] lets a component ask. This crate draws no direction and knows no landscape: plugins do.

mod folded;
pub mod form;
pub mod measure;
pub mod named;
pub mod segments;
pub mod space;

#[cfg(test)]
mod tests;
