//! The judgement of proposals: proposals outside the ball, points where a logit of the model is NaN, and a ball of radius 0.

use flatscape_measure::attack::Keep;
use flatscape_measure::verify::{Outcome, Region, Rejection, Verifier};

use super::toy::{How, LAST, Toy, boxed, linear};
use crate::provision::engines;

/// What is offered, and the outcome and the rejection that must follow.
type Case = (&'static str, Option<&'static [f32]>, Outcome, Option<Rejection>);

#[test]
fn the_judge_looks_only_at_what_is_allowed() {
    // z = (x₀, 0.45): class 0 above 0.45
    let toy = Toy::affine(&[[1.0, 0.0], [0.0, 0.0]], &[0.0, 0.45]);
    let cases: &[Case] = &[
        ("linf:0.1", Some(&[0.41, 0.5]), Outcome::Broken, None),
        ("linf:0.1", Some(&[0.40, 0.5]), Outcome::Broken, None),
        ("linf:0.1", Some(&[0.46, 0.6]), Outcome::Held, None),
        // a tie is not a success where the label comes first
        ("linf:0.1", Some(&[0.45, 0.5]), Outcome::Held, None),
        ("linf:0.1", None, Outcome::Held, None),
        ("linf:0.1", Some(&[0.3999, 0.5]), Outcome::Held, Some(Rejection::OutsideBall)),
        ("linf:0.1", Some(&[0.41, 0.6001]), Outcome::Held, Some(Rejection::OutsideBall)),
        ("linf:0.1", Some(&[f32::NAN, 0.5]), Outcome::Held, Some(Rejection::NotFinite)),
        ("linf:0.1", Some(&[0.41, f32::INFINITY]), Outcome::Held, Some(Rejection::NotFinite)),
        ("linf:0.1", Some(&[0.41]), Outcome::Held, Some(Rejection::WrongSize)),
        ("linf:0.9", Some(&[-0.01, 0.5]), Outcome::Held, Some(Rejection::OutsideBox)),
        ("linf:0.9", Some(&[0.0, 1.01]), Outcome::Held, Some(Rejection::OutsideBox)),
        ("l2:0.1", Some(&[0.42, 0.56]), Outcome::Broken, None),
        ("l2:0.1", Some(&[0.42, 0.57]), Outcome::Held, Some(Rejection::OutsideBall)),
        ("l1:0.1", Some(&[0.44, 0.54]), Outcome::Broken, None),
        ("l1:0.1", Some(&[0.44, 0.55]), Outcome::Held, Some(Rejection::OutsideBall)),
    ];
    for engine in engines() {
        for (name, point, outcome, rejection) in cases {
            let threat = boxed(name);
            let verifier = Verifier::new(&*engine, &toy.graph, &threat, 3).expect("a verifier");
            let batch = toy.batch(&[vec![0.5, 0.5]], &[0]);
            let found = verifier
                .judge(&threat, Region::Ball, &batch.x0, &batch.y, &[point.map(|x| x.to_vec().into())])
                .expect("judged")
                .remove(0);
            assert_eq!((found.outcome, found.rejection), (*outcome, *rejection), "{point:?} under {name}");
        }
    }
}

/// z₀ = √(x₀ − 0.47) + 1 is no number left of 0.47: such a point is no adversarial example and no robustness either, and every
/// attack that comes across it says so.
#[test]
fn points_where_the_model_gives_no_number_are_found() {
    let toy = Toy::new([1, 1, 2], |x| {
        let first = linear(x, &[vec![1.0, 0.0]], &[-0.47]).sqrt() + 1.0;
        x.builder().concat(&[first, first * 0.0], 1)
    });
    for engine in engines() {
        for written in ["fgsm", "pgd:steps=5", "pgd:steps=5,random-start=false"] {
            for (name, expected) in [("linf:0.1", Outcome::NanInBall), ("linf:0.01", Outcome::Held)] {
                let threat = boxed(name);
                let batch = toy.batch(&[vec![0.5, 0.5]], &[0]);
                let proposal = toy.attack(&*engine, written, &threat, &batch, How { keep: Keep::FirstSuccess, ..LAST }).remove(0);
                assert!(!proposal.claimed);
                let verifier = Verifier::new(&*engine, &toy.graph, &threat, 2).expect("a verifier");
                let found = verifier
                    .judge(&threat, Region::Ball, &batch.x0, &batch.y, &[proposal.point.map(Into::into)])
                    .expect("judged")
                    .remove(0);
                assert_eq!(found.outcome, expected, "{written} under {name} on {}", engine.name());
            }
        }
    }
}

/// Equal scores: the first class is predicted, for images and for attacked points alike, and the tie is said.
#[test]
fn of_equal_scores_the_first_is_predicted() {
    let toy = Toy::affine(&[[1.0, 0.0], [0.0, 0.0]], &[0.0, 0.45]);
    for engine in engines() {
        let threat = boxed("linf:0.1");
        let verifier = Verifier::new(&*engine, &toy.graph, &threat, 3).expect("a verifier");
        for (label, image, outcome) in [(0, 0.5, Outcome::Held), (1, 0.4, Outcome::Broken)] {
            let batch = toy.batch(&[vec![image, 0.5]], &[label]);
            let tied = Some(vec![0.45, 0.5].into());
            let found = verifier.judge(&threat, Region::Ball, &batch.x0, &batch.y, &[tied]).expect("judged").remove(0);
            assert_eq!((found.outcome, found.tied, found.margin), (outcome, true, 0.0), "label {label}");
            assert_eq!(found.prediction, Some(0));
        }
    }
}

/// −∞ is an answer: that class cannot be. NaN, and +∞ twice, are none.
#[test]
fn a_class_that_cannot_be_is_an_answer() {
    // z = (ln max(x₀ − 0.5, 0), ln (x₀ − 0.5)), and z = (ln max(x₀ − 0.5, 0), 0)
    let toy = Toy::new([1, 1, 2], |x| {
        let first = linear(x, &[vec![1.0, 0.0]], &[-0.5]).relu().log();
        x.builder().concat(&[first, linear(x, &[vec![1.0, 0.0]], &[-0.5]).log()], 1)
    });
    let flat = Toy::new([1, 1, 2], |x| {
        let first = linear(x, &[vec![1.0, 0.0]], &[-0.5]).relu().log();
        x.builder().concat(&[first, linear(x, &[vec![0.0, 0.0]], &[0.0])], 1)
    });
    for engine in engines() {
        let threat = boxed("linf:0.1");
        for (toy, expected) in [(&flat, Outcome::Held), (&toy, Outcome::NanInBall)] {
            let verifier = Verifier::new(&*engine, &toy.graph, &threat, 2).expect("a verifier");
            let batch = toy.batch(&[vec![0.45, 0.5]], &[1]);
            let found = verifier
                .judge(&threat, Region::Ball, &batch.x0, &batch.y, &[Some(vec![0.4, 0.5].into())])
                .expect("judged")
                .remove(0);
            assert_eq!(found.outcome, expected, "on {}", engine.name());
        }
    }
}

#[test]
fn a_ball_of_radius_zero_breaks_nothing() {
    let toy = Toy::lin();
    for engine in engines() {
        for name in ["linf:0", "l2:0", "l1:0"] {
            for written in ["fgsm", "pgd:steps=3"] {
                let threat = boxed(name);
                let batch = toy.batch(&[vec![0.5; 3]], &[1]);
                let proposal = toy.attack(&*engine, written, &threat, &batch, How { keep: Keep::FirstSuccess, ..LAST }).remove(0);
                assert_eq!(proposal.point.as_deref(), Some(&[0.5f32; 3][..]), "{written} under {name}");
                assert!(!proposal.claimed);
            }
        }
    }
}
