//! Attacks that move a parameter instead of pixels: flows, rotations and shifts, and the pixels of l0. Where the loss is a single
//! pixel of a ramp, the best move is known on paper.

use flatscape_engine::Engine;
use flatscape_measure::attack::{Keep, Proposal};
use flatscape_measure::threats::{Candidate, ThreatModel};
use flatscape_measure::verify::{Outcome, Region, Rejection, Verifier, admissible_in};

use super::toy::{How, LAST, Toy, boxed, close, linear, point};
use crate::provision::engines;

/// Rows and columns of the images.
const SIZE: usize = 5;
/// The pixel that is looked at: row 2, column 3.
const LOOKED: usize = 2 * SIZE + 3;

/// z = (x[2,3], 0.45): class 0 from 0.45 on.
fn looking() -> Toy {
    let mut first = vec![0.0; SIZE * SIZE];
    first[LOOKED] = 1.0;
    Toy::new([1, SIZE, SIZE], move |x| linear(x, &[first.clone(), vec![0.0; SIZE * SIZE]], &[0.0, 0.45]))
}

/// 0.2 brighter from column to column: the pixel that is looked at is 0.6.
fn ramp() -> Vec<f64> {
    (0..SIZE * SIZE).map(|pixel| 0.2 * (pixel % SIZE) as f64).collect()
}

fn attacked(engine: &dyn Engine, written: &str, threat: &ThreatModel, keep: Keep) -> (Candidate, Proposal) {
    let toy = looking();
    let proposal = toy.attack(engine, written, threat, &toy.batch(&[ramp()], &[0]), How { keep, ..LAST }).remove(0);
    let x0: Vec<f32> = ramp().iter().map(|&v| v as f32).collect();
    (threat.candidate(&x0, proposal.point.clone().expect("a point"), 0), proposal)
}

fn on(text: &str) -> ThreatModel {
    boxed(text).on([1, SIZE, SIZE])
}

fn pixels(candidate: &Candidate) -> Vec<f64> {
    candidate.x.iter().map(|&v| f64::from(v)).collect()
}

/// The loss grows by 0.2 per column of the shift, and no row and no angle is allowed or matters: the image moves by one pixel to
/// the right, and what comes in is black.
#[test]
fn a_shift_of_one_pixel_is_found() {
    let mut shifted = ramp();
    for row in shifted.chunks_mut(SIZE) {
        row.rotate_right(1);
        row[0] = 0.0;
    }
    for engine in engines() {
        for written in ["fgsm", "pgd:steps=10", "pgd:steps=10,random-start=no", "pgd:steps=10,loss=margin"] {
            let (candidate, proposal) = attacked(&*engine, written, &on("rigid:1px"), Keep::Last);
            let z = point(&proposal);
            assert!(z[0] == 0.0 && z[1].abs() <= 1.0, "{written}: {z:?}");
            close(&format!("{written}: the shift"), &z[2..], &[1.0], 1e-6);
            let row = 2 * SIZE..3 * SIZE;
            close(&format!("{written}: the row"), &pixels(&candidate)[row.clone()], &shifted[row], 1e-6);
        }
        let (candidate, _) = attacked(&*engine, "fgsm", &on("rigid:1px"), Keep::Last);
        close("the image", &pixels(&candidate), &shifted, 1e-6);
    }
}

/// Only the pixel that is looked at has a say: it comes from one column to the left, everything else stays where it is.
#[test]
fn a_flow_of_one_pixel_is_found() {
    let mut moved = ramp();
    moved[LOOKED] = 0.4;
    let mut flow = vec![0.0; 2 * SIZE * SIZE];
    flow[SIZE * SIZE + LOOKED] = -1.0;
    for engine in engines() {
        for written in ["fgsm", "pgd:steps=10,random-start=no"] {
            let (candidate, proposal) = attacked(&*engine, written, &on("flow:1px"), Keep::Last);
            close(&format!("{written}: the flow"), &point(&proposal), &flow, 1e-6);
            close(&format!("{written}: the image"), &pixels(&candidate), &moved, 1e-6);
        }
        // 0.4 of half the image is one pixel
        let (_, proposal) = attacked(&*engine, "fgsm", &on("flow:0.4grid"), Keep::Last);
        close("in the grid", &point(&proposal), &flow, 1e-6);
        let (_, proposal) = attacked(&*engine, "pgd:steps=10", &on("flow:1px"), Keep::Last);
        let z = point(&proposal);
        close("from a random flow", &z[SIZE * SIZE + LOOKED..][..1], &[-1.0], 1e-6);
        assert!(z.iter().all(|v| v.abs() <= 1.0) && z.iter().filter(|v| **v != 0.0).count() > SIZE * SIZE);
    }
}

/// A grid with the shift of one pixel in it finds it, and so does Adam where roughness counts little.
#[test]
fn attacks_on_parameters_alone_find_what_is_there() {
    for engine in engines() {
        for (written, threat) in [
            ("rotation-translation:angles=1,shifts=3", "rigid:1px"),
            ("rotation-translation", "rigid:5deg+1px"),
            ("stadv:lr=0.05,tau=0.0001", "flow:1px"),
        ] {
            let (_, proposal) = attacked(&*engine, written, &on(threat), Keep::FirstSuccess);
            assert!(proposal.claimed, "{written} under {threat}");
        }
        // three angles and five by five shifts, and the image
        let (_, proposal) = attacked(&*engine, "rotation-translation:angles=3", &on("rigid:1deg+0.1px"), Keep::FirstSuccess);
        assert_eq!((proposal.claimed, proposal.forwards, proposal.backwards), (false, 3 * 25 + 1, 0));
        // a rough flow costs more than it gains
        let (_, proposal) = attacked(&*engine, "stadv:lr=0.05,tau=10", &on("flow:1px"), Keep::Last);
        assert!(point(&proposal).iter().all(|v| v.abs() < 0.7), "{:?}", point(&proposal));
    }
}

/// A parameter of 0 gives the image, bit for bit, and an attack without a budget breaks nothing.
#[test]
fn a_parameter_of_zero_changes_nothing() {
    let x0: Vec<f32> = ramp().iter().map(|&v| v as f32).collect();
    for text in ["flow:1px", "rigid:30deg+3px"] {
        let threat = on(text);
        let still = threat.candidate(&x0, vec![0.0; threat.parameters([1, SIZE, SIZE])], 0);
        assert_eq!(still.x, x0, "{text}");
        assert_eq!(threat.distance(&still, &x0), Some(0.0));
    }
    for engine in engines() {
        for text in ["flow:0px", "rigid:0deg+0px"] {
            for written in ["fgsm", "pgd:steps=3"] {
                let (candidate, proposal) = attacked(&*engine, written, &on(text), Keep::FirstSuccess);
                assert_eq!((candidate.x, proposal.claimed), (x0.clone(), false), "{written} under {text}");
            }
        }
    }
}

/// What is claimed is judged by the parameter: the image that it decodes to, alone, and its own distance.
#[test]
fn parameters_are_judged_by_the_untouched_model() {
    let toy = looking();
    let batch = toy.batch(&[ramp()], &[0]);
    for engine in engines() {
        for (text, expected) in [("flow:1px", Outcome::Broken), ("flow:0.7px", Outcome::Held), ("rigid:1px", Outcome::Broken)] {
            for keep in [Keep::FirstSuccess, Keep::Nearest] {
                let threat = on(text);
                let (candidate, proposal) = attacked(&*engine, "pgd:steps=10,random-start=no", &threat, keep);
                assert_eq!(proposal.claimed, expected == Outcome::Broken, "{text}");
                let verifier = Verifier::new(&*engine, &toy.graph, &threat, 2).expect("a verifier");
                let judge = |point: Candidate| {
                    let found = verifier.judge(&threat, Region::Ball, &batch.x0, &batch.y, &[Some(point)]);
                    found.expect("judged").remove(0)
                };
                let found = judge(candidate.clone());
                assert_eq!((found.outcome, found.rejection), (expected, None), "{text}");
                if keep == Keep::Nearest && found.outcome == Outcome::Broken {
                    // 0.6 − 0.2 d < 0.45 from three quarters of a pixel on; steps are a quarter
                    assert!((found.distance - 1.0).abs() < 1e-6 || (found.distance - 0.75).abs() < 1e-6, "{}", found.distance);
                }
                let bare = Candidate { z: None, ..candidate.clone() };
                assert_eq!(judge(bare).rejection, Some(Rejection::NotMeasured));
                let other = Candidate { z: candidate.z.as_ref().map(|z| vec![0.0; z.len()]), ..candidate.clone() };
                assert_eq!(judge(other).rejection, Some(Rejection::OtherImage));
                let far = threat.candidate(batch.x0.view::<f32>().and_then(|x| x.as_slice()).expect("pixels"), vec![3.0; 3], 0);
                let reason = if text.starts_with("rigid") { Rejection::OutsideBall } else { Rejection::WrongSize };
                assert_eq!(judge(far).rejection, Some(reason), "{text}");
            }
        }
    }
}

/// A model that takes integers is fed the decoded image in 8 bits; that is no other image.
#[test]
fn rounding_after_decoding_is_allowed_where_models_take_integers() {
    let threat = on("flow:1px");
    let x0: Vec<f32> = ramp().iter().map(|v| (v * 255.0).round() as f32 / 255.0).collect();
    let mut z = vec![0.0; 2 * SIZE * SIZE];
    z[SIZE * SIZE + LOOKED] = -0.37;
    let exact = threat.candidate(&x0, z, 0);
    let rounded = Candidate { x: flatscape_measure::levels::on_grid(&threat, &x0, &exact.x), ..exact.clone() };
    assert!(rounded.x != exact.x && rounded.x.iter().all(|v| (v * 255.0 - (v * 255.0).round()).abs() < 1e-4));
    assert_eq!(admissible_in(&threat, Region::Ball, &x0, &rounded), Some(Rejection::OtherImage));
    assert_eq!(admissible_in(&threat.in_levels(), Region::Ball, &x0, &rounded), None);
    let off = Candidate { x: rounded.x.iter().map(|v| (v + 1.0 / 255.0).min(1.0)).collect(), ..rounded };
    assert_eq!(admissible_in(&threat.in_levels(), Region::Ball, &x0, &off), Some(Rejection::OtherImage));
}

/// In l0 a step changes the pixels with the largest gradients as far as the box, and the others return.
#[test]
fn in_l0_the_pixel_that_counts_is_changed() {
    for engine in engines() {
        let (candidate, proposal) = attacked(&*engine, "pgd:steps=5,alpha=3,random-start=no", &on("l0:1"), Keep::Last);
        let mut expected = ramp();
        expected[LOOKED] = 0.0;
        close("one pixel", &point(&proposal), &expected, 1e-6);
        assert_eq!(candidate.z, None);
    }
}
