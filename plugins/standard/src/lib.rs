//! The standard attacks and metrics. One file and one row each; formulas over the names of the plugin interface, no model, no
//! engine, no loop: those are the host's.

mod ams;
mod directions;
mod fgsm;
mod grid;
mod landscape;
mod logp;
mod objectives;
mod pgd;
mod phi;
mod starts;

flatscape_sdk::export!(
    "standard",
    env!("CARGO_PKG_VERSION"),
    [fgsm::component(), pgd::component(), logp::component(), ams::component(), phi::component(), landscape::component(),]
);
