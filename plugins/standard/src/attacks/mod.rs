//! The attacks. One file and one row of the table each; what they share stands in `formulas`, `objectives`, `starts`, `adam` and
//! `boundaries`.

mod adam;
pub(crate) mod apgd;
mod apgd_l1;
pub(crate) mod bim;
mod boundaries;
pub(crate) mod corruptions;
pub(crate) mod cw;
pub(crate) mod ddn;
pub(crate) mod deepfool;
pub(crate) mod fab;
pub(crate) mod fgsm;
pub(crate) mod fmn;
mod formulas;
pub(crate) mod hopskipjump;
pub(crate) mod mim;
pub(crate) mod noise;
pub(crate) mod noise_path;
mod objectives;
pub(crate) mod pgd;
pub(crate) mod random_search;
pub(crate) mod rotation_translation;
pub(crate) mod rs_fgsm;
pub(crate) mod sigma_zero;
pub(crate) mod spsa;
pub(crate) mod square;
mod square_l2;
pub(crate) mod stadv;
pub(crate) mod starts;

pub(crate) use formulas::one_hot;

/// A random point of the unit ball of a norm around 0, uniform, float \[N,D\].
pub(crate) fn ball(norm: &str) -> Result<starts::Start, flatscape_sdk::Error> {
    match starts::named(norm)? {
        starts::Moved::Image(start) => Ok(start),
        starts::Moved::Parameter => {
            Err(flatscape_sdk::Error::unsupported(format!("the threat model is {norm}, which is not a ball of images")))
        }
    }
}
