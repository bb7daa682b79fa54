//! The standard attacks, metrics, trainers and optimizers. One file and one row each; formulas over the names of the plugin
//! interface, no model, no engine, no loop: those are the host's.

mod ams;
mod attacks;
mod directions;
mod grid;
mod landscape;
mod logp;
mod optimizers;
mod phi;
mod ssim;
mod trainers;
mod weights;

flatscape_sdk::export!(
    "standard",
    env!("CARGO_PKG_VERSION"),
    [
        attacks::fgsm::component(),
        attacks::rs_fgsm::component(),
        attacks::bim::component(),
        attacks::mim::component(),
        attacks::pgd::component(),
        attacks::apgd::ce(),
        attacks::apgd::dlr(),
        attacks::apgd::targeted(),
        attacks::fab::targeted(),
        attacks::fab::untargeted(),
        attacks::square::component(),
        attacks::cw::component(),
        attacks::deepfool::component(),
        attacks::ddn::component(),
        attacks::fmn::component(),
        attacks::sigma_zero::component(),
        attacks::stadv::component(),
        attacks::rotation_translation::component(),
        attacks::corruptions::component(),
        attacks::spsa::component(),
        attacks::hopskipjump::component(),
        attacks::noise::component(),
        attacks::random_search::component(),
        logp::component(),
        ams::component(),
        phi::component(),
        landscape::component(),
        ssim::component(),
        weights::landscape::component(),
        weights::interpolation::component(),
        weights::connection::component(),
        weights::trajectory::component(),
        weights::trace::component(),
        weights::eigenvalues::component(),
        weights::density::component(),
        weights::soft_rank::component(),
        weights::robust::component(),
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
