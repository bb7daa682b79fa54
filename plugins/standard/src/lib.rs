//! The standard attacks, metrics, trainers and optimizers. One file and one row each; formulas over the names of the plugin
//! interface, no model, no engine, no loop: those are the host's.

mod ams;
mod directions;
mod fgsm;
mod grid;
mod landscape;
mod logp;
mod objectives;
mod optimizers;
mod pgd;
mod phi;
mod starts;
mod trainers;

flatscape_sdk::export!(
    "standard",
    env!("CARGO_PKG_VERSION"),
    [
        fgsm::component(),
        pgd::component(),
        logp::component(),
        ams::component(),
        phi::component(),
        landscape::component(),
        trainers::standard::component(),
        trainers::adversarial::component(),
        trainers::trades::component(),
        trainers::mart::component(),
        trainers::free::component(),
        trainers::fast::component(),
        trainers::jacobian::component(),
        trainers::amsreg::component(),
        trainers::exact_ams::component(),
        trainers::attack_ams::component(),
        trainers::input_gradient::component(),
        trainers::static_augmentation::component(),
        trainers::sam::component(),
        trainers::awp::component(),
        trainers::fam::component(),
        optimizers::sgd::component(),
        optimizers::adam::adam(),
        optimizers::adam::adamw(),
    ]
);
