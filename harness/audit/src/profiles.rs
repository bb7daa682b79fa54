//! Named sets of attacks and metrics, and the usual radius of each data set, for commands that name no threat model.

use flatscape_intake::data;
use flatscape_intake::drawn::{Expectation, Mean};
use flatscape_intake::refusal::{Refusal, escape, nearest};
use flatscape_measure::request::Request;
use flatscape_measure::threats::ThreatModel;

/// A named set of components.
pub struct Profile {
    /// The word after `--profile`.
    pub name: &'static str,
    /// One line of help, with its source.
    pub summary: &'static str,
    threats: &'static [&'static str],
    /// The most images where the user does not state a number.
    images: Option<usize>,
    /// Whether attacks are run on planted adversarial examples, too, and margins are bounded from below.
    canaries: bool,
    /// What attacks see of models that draw at random, where the user does not state it.
    draws: Option<Expectation>,
    attacks: &'static [&'static str],
    metrics: &'static [&'static str],
}

/// The profile of an audit that names neither a profile nor an attack nor a metric.
pub const DEFAULT: &str = "audit";

/// The profiles, in the order of the help.
pub const PROFILES: &[Profile] = &[
    Profile {
        name: "audit",
        summary: "the default, on 1,000 images at most: PGD by two losses, the attacks of standard, the nearest example, random \
                  points, planted adversarial examples, verified samples, stronger attacks where gradients are masked, \
                  log-likelihood and mass score",
        threats: &[],
        images: Some(1000),
        canaries: true,
        draws: None,
        attacks: &[
            "pgd",
            "pgd:loss=margin,on=survivors",
            "apgd-ce:compat=true,on=survivors",
            "apgd-t:compat=true,on=survivors",
            "fab-t:on=survivors",
            "square:compat=true,on=survivors",
            "fmn",
            "noise:on=survivors",
            "random-search:on=survivors",
            "pgd:loss=margin,steps=100,via=straight-through,on=survivors",
            "pgd:loss=margin,steps=100,via=logits,on=survivors",
            "pgd:loss=margin,steps=100,via=average,on=survivors",
            "pgd:loss=rescaled,kappa=1,steps=100,on=survivors,when=masked",
            "pgd:loss=rescaled,kappa=4,steps=100,on=survivors,when=masked",
            "pgd:loss=rescaled,kappa=16,steps=100,on=survivors,when=masked",
            "apgd-t:via=straight-through,on=survivors",
            "pgd:loss=margin,steps=200,restarts=5,via=straight-through,on=survivors",
            "spsa:steps=20,pairs=64,on=survivors,when=masked",
        ],
        metrics: &["logp", "ams"],
    },
    Profile {
        name: "quick",
        summary: "a first look at 1,000 images at most: FGSM, PGD-10, log-likelihood and mass score",
        threats: &[],
        images: Some(1000),
        canaries: false,
        draws: None,
        attacks: &["fgsm", "pgd:steps=10"],
        metrics: &["logp", "ams"],
    },
    Profile {
        name: "standard",
        summary: "AutoAttack: APGD-CE, then APGD-T, FAB-T and Square (linf, l2), each on what is left",
        threats: &[],
        images: None,
        canaries: false,
        draws: None,
        attacks: &[
            "apgd-ce:compat=true",
            "apgd-t:compat=true,on=survivors",
            "fab-t:on=survivors",
            "square:compat=true,on=survivors",
        ],
        metrics: &[],
    },
    Profile {
        name: "plus",
        summary: "AutoAttack, version plus: APGD-CE, APGD-DLR and FAB with 5 starts, Square, APGD-T, FAB-T (linf, l2), each on what is left",
        threats: &[],
        images: None,
        canaries: false,
        draws: None,
        attacks: &[
            "apgd-ce:restarts=5,compat=true",
            "apgd-dlr:restarts=5,compat=true,on=survivors",
            "fab:restarts=5,on=survivors",
            "square:compat=true,on=survivors",
            "apgd-t:compat=true,on=survivors",
            "fab-t:on=survivors",
        ],
        metrics: &[],
    },
    Profile {
        name: "rand",
        summary: "AutoAttack for models that draw at random: APGD-CE and APGD-DLR along the mean gradient over 20 draws",
        threats: &[],
        images: None,
        canaries: false,
        draws: Some(Expectation { draws: 20, of: Mean::Gradients }),
        attacks: &["apgd-ce:compat=true", "apgd-dlr:compat=true,on=survivors"],
        metrics: &[],
    },
    Profile {
        name: "lin2020-cifar",
        summary: "Lin et al. 2020, table 1: PGD with eps 8/255, 5 steps of 2/255; Φ",
        threats: &["linf:8/255"],
        images: None,
        canaries: false,
        draws: None,
        attacks: &["fgsm", "pgd:steps=5,alpha=2/255"],
        metrics: &["phi", "ams", "logp"],
    },
    Profile {
        name: "lin2020-fashion",
        summary: "Lin et al. 2020, table 2: PGD with eps 25/255, 10 steps of 6.25/255; Φ",
        threats: &["linf:25/255"],
        images: None,
        canaries: false,
        draws: None,
        attacks: &["fgsm", "pgd:steps=10,alpha=6.25/255"],
        metrics: &["phi", "ams", "logp"],
    },
    Profile {
        name: "xu2019-geometries",
        summary: "Xu, Yap and Prabhu 2019, tables 1 and 2: FGSM, and PGD with 10 steps of 1/255, at eps 8/255 as their code has it; stAdv with a flow of 0.3/64; 1 - SSIM of what they broke",
        threats: &["linf:8/255", "flow:0.3/64grid"],
        images: None,
        canaries: false,
        draws: None,
        attacks: &["fgsm", "pgd:steps=10,alpha=1/255,random-start=no", "stadv"],
        metrics: &[
            "ssim:preset=s1,at=adv:fgsm",
            "ssim:preset=s1,at=adv:(pgd:steps=10,alpha=1/255,random-start=no)",
            "ssim:preset=s1,at=adv:stadv",
        ],
    },
];

impl Profile {
    /// Whether attacks are run on planted adversarial examples, too, and margins are bounded from below.
    pub fn plants(&self) -> bool {
        self.canaries
    }

    /// What attacks see of models that draw at random.
    pub fn draws(&self) -> Option<Expectation> {
        self.draws
    }

    /// Its attacks.
    pub fn attacks(&self) -> Result<Vec<Request>, Refusal> {
        self.attacks.iter().map(|text| Request::parse(text)).collect()
    }

    /// Its metrics.
    pub fn metrics(&self) -> Result<Vec<Request>, Refusal> {
        self.metrics.iter().map(|text| Request::parse(text)).collect()
    }

    /// The data of a run: where no number of images is stated, the first ones, as many as it takes.
    pub fn of_data(&self, data: data::Request) -> data::Request {
        match (data.limit, self.images) {
            (None, Some(images)) => data::Request { limit: Some(images), allow_fewer: true, ..data },
            _ => data,
        }
    }

    /// Its threat models; none where it takes those of the user.
    pub fn threats(&self) -> Result<Vec<ThreatModel>, Refusal> {
        self.threats.iter().map(|text| ThreatModel::parse(text, false)).collect()
    }
}

/// The profile of that name.
///
/// # Errors
/// A usage error that names those there are.
pub fn profile(name: &str) -> Result<&'static Profile, Refusal> {
    PROFILES.iter().find(|p| p.name == name).ok_or_else(|| {
        let names: Vec<&str> = PROFILES.iter().map(|p| p.name).collect();
        let meant = nearest(name, names.iter().copied()).map_or(String::new(), |n| format!("; did you mean {n}?"));
        Refusal::usage(91, format!("no profile is called {:?}", escape(name)))
            .help(format!("there are {}{meant}", names.join(", ")))
    })
}

/// Radii by data set: those of the literature, and for the digits the radius of the table in `models/digits/README.md`.
const DEFAULT_THREATS: &[(&str, &str)] =
    &[("digits", "linf:0.1"), ("mnist", "linf:0.3"), ("fashion-mnist", "linf:25/255"), ("cifar10", "linf:8/255")];

/// The usual threat model of a data set.
///
/// # Errors
/// A usage error for data without a usual radius.
pub fn default_threat(data: &str) -> Result<ThreatModel, Refusal> {
    match DEFAULT_THREATS.iter().find(|(name, _)| *name == data) {
        Some((_, text)) => ThreatModel::parse(text, false),
        None => Err(Refusal::usage(89, format!("there is no usual radius for {:?}", escape(data)))
            .help("state the threat model, for example --threat linf:8/255")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_can_be_read() {
        for profile in PROFILES {
            profile.attacks().expect(profile.name);
            profile.metrics().expect(profile.name);
            profile.threats().expect(profile.name);
        }
        let stated = data::Request { limit: Some(7), ..data::Request::new("mnist") };
        let [quick, published] = ["quick", "lin2020-cifar"].map(|name| super::profile(name).unwrap_or_else(|e| panic!("{e}")));
        assert_eq!(quick.of_data(stated.clone()), stated, "a number that was stated counts");
        let all = data::Request::new("mnist");
        assert_eq!(quick.of_data(all.clone()), data::Request { limit: Some(1000), allow_fewer: true, ..all.clone() });
        assert_eq!(published.of_data(all.clone()), all);
        assert!(super::profile("quik").err().is_some_and(|e| e.help.is_some_and(|h| h.contains("did you mean quick"))));
    }
}
