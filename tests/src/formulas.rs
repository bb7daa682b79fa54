//! Closed forms: the standard plugins as they are loaded in every audit, linked to models whose answers are known on paper, run
//! by the loops of the audit on both engines.

mod attacks;
mod budget;
mod corruptions;
mod costs;
mod curvatures;
mod draws;
mod enumeration;
mod geometry;
mod keeping;
mod landscapes;
mod metrics;
mod moving;
mod names;
mod nearest;
mod optimizers;
mod slopes;
pub mod toy;
mod traces;
mod trainers;
mod verdicts;
