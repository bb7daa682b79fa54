//! An attack without a radius that does not break every image, more steps or starts that break more, and scores that little noise changes.

use flatscape_measure::limits::Limits;

use super::{Doubt, Flag};

/// Images from which on something can be said.
const ENOUGH: u64 = 20;

pub(super) const UNBOUNDED: Flag = Flag {
    doubt: Doubt {
        code: "unbounded-fails",
        unreliable: true,
        raised_if: "200 steps along the margin, and as many along cross-entropy, with the whole box as radius leave more than a quarter of up to 100 correct images, and at \
                    least 20, unbroken; a sound fully connected net of four layers left an eighth, from where no unit was \
                    active",
        explanation: "Without a radius every image can become every other one, so that an attack that fails follows a gradient that does \
                      not lead there (Athalye, Carlini and Wagner 2018; Pintor et al. 2022).",
        advice: "Look for operators that mask the gradient (flatscape inspect), let attacks look through them (via=straight-through, \
                 via=logits), and attack without gradients (square).",
    },
    judge: |evidence| {
        let limits = evidence.limits.filter(|limits| limits.images >= ENOUGH)?;
        let left = limits.images - limits.anywhere.min(limits.images);
        (4 * left > limits.images).then(|| format!("{left} of {} images are left", limits.images))
    },
};

pub(super) const MORE_STEPS: Flag = Flag {
    doubt: Doubt {
        code: "more-steps-help",
        unreliable: false,
        raised_if: "200 short steps along the margin, or along cross-entropy, break more than max(1, 0.5 %) of up to 100 samples that the run left standing",
        explanation: "The attacks of the run were not at their end: the robust accuracy that they give is too high.",
        advice: "Attack with more steps and restarts, or with the profile standard.",
    },
    judge: |evidence| {
        let limits = evidence.limits?;
        (limits.more_steps > 1.max(limits.standing / 200))
            .then(|| format!("{} of {} samples that stood", limits.more_steps, limits.standing))
    },
};

pub(super) const MORE_STARTS: Flag = Flag {
    doubt: Doubt {
        code: "more-restarts-help",
        unreliable: false,
        raised_if: "40 steps along the margin from five random starts break more than max(1, 0.5 %) of up to 100 samples that the run left standing",
        explanation: "Where an attack starts decides what it finds: the loss has several maxima in the ball, and the robust accuracy is \
                      too high.",
        advice: "Attack with more restarts (pgd:restarts=10,loss=margin), or with the profile standard.",
    },
    judge: |evidence| {
        let Limits { more_starts, standing, .. } = evidence.limits?;
        (more_starts > 1.max(standing / 200)).then(|| format!("{more_starts} of {standing} samples that stood"))
    },
};

/// The largest change of the margin that raises nothing (Pintor et al. have 0.1, which networks without defence exceed).
const CHANGE: f64 = 0.25;

pub(super) const UNSTABLE: Flag = Flag {
    doubt: Doubt {
        code: "unstable-scores",
        unreliable: false,
        raised_if: "noise of at most 4/255 per pixel, and half the radius in linf, changes the margins of up to 100 correct images, and \
                    at least 20, by more than 25 % in the mean (20 draws per image, each change counted as 1 at most); a sound \
                    undefended ResNet on CIFAR-10 had 23 %",
        explanation: "The loss is rough where attacks look at it: a gradient says little about what lies a step away (Pintor et al. \
                      2022, indicator I2).",
        advice: "Attack along the mean gradient under noise (spsa, or random-search and square without gradients), and read the rows \
                 slope-near and slope-far of the certificate.",
    },
    judge: |evidence| {
        let Limits { images, change, .. } = evidence.limits?;
        let change = change.filter(|&change| images >= ENOUGH && change > CHANGE)?;
        Some(format!("the margins of {images} images change by {:.1} % in the mean", 100.0 * change))
    },
};

#[cfg(test)]
mod tests {
    use super::super::Evidence;
    use super::*;

    #[test]
    fn every_image_can_become_every_other() {
        let judged = |flag: &Flag, limits| (flag.judge)(&Evidence { n: 100, limits: Some(limits), ..Evidence::default() });
        let limits = Limits { images: 100, anywhere: 74, standing: 50, more_steps: 2, more_starts: 1, change: Some(0.251) };
        assert!(judged(&UNBOUNDED, limits).is_some_and(|why| why.starts_with("26 of 100")));
        assert!(judged(&UNBOUNDED, Limits { anywhere: 75, ..limits }).is_none());
        assert!(judged(&UNBOUNDED, Limits { images: 19, anywhere: 0, ..limits }).is_none(), "too few to tell");
        assert!(judged(&MORE_STEPS, limits).is_some_and(|why| why.starts_with("2 of 50")));
        assert!(judged(&MORE_STEPS, Limits { more_steps: 1, ..limits }).is_none());
        assert!(judged(&MORE_STARTS, Limits { more_starts: 2, ..limits }).is_some_and(|why| why.starts_with("2 of 50")));
        assert!(judged(&MORE_STARTS, limits).is_none());
        assert!(judged(&UNSTABLE, limits).is_some_and(|why| why.contains("25.1 %")));
        assert!(judged(&UNSTABLE, Limits { change: Some(0.25), ..limits }).is_none());
    }
}
