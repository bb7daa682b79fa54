//! Closed forms: the standard plugins as they are loaded in every audit, linked to models whose answers are known on paper, run
//! by the loops of the audit on both engines.

mod attacks;
mod costs;
mod keeping;
mod landscapes;
mod metrics;
mod moving;
mod names;
mod optimizers;
mod toy;
mod trainers;
mod verdicts;
