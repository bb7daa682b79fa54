//! From a graph to what makes its gradient misleading (hazards), and to graphs with the same values whose gradient serves attacks
//! better: remedies, surrogate gradients, draws that are inputs. Also the losses over logits that such graphs are differentiated in.
//!
//! This crate does no input or output, and knows no files, plugins, attacks or run directories.

pub mod doubt;
pub mod drawn;
pub mod functions;
pub mod hazards;
pub mod remedies;
mod smooth;
pub mod surrogates;
#[cfg(test)]
mod trial;

use flatscape_data::refusal;
