//! Attacks that look for the nearest adversarial example, on affine models, whose boundaries are at known distances.

use std::sync::atomic::AtomicBool;

use flatscape_host::{Kind, Task};
use flatscape_measure::attack::Keep;
use flatscape_measure::link::Link;
use flatscape_measure::oracle::{Answers, Session};
use flatscape_measure::verify::Verifier;

use super::budget::Affine;
use super::toy::{LAST, boxed, point};
use crate::provision::{engines, onnx_runtime, plugins, tract};

/// Distance found by exact distance, of images in the middle of the box that are not at the boundary already.
fn ratios(classes: usize, written: &str, norm: &str) -> Vec<f64> {
    let affine = Affine::new([classes, 50, 60], 0.05);
    // what is large in l1 and small in linf
    let found = affine.toy.distances(&*onnx_runtime(), written, &boxed(&format!("{norm}:0.1")), &affine.batch());
    let exact = (0..found.len()).map(|image| affine.distance(norm, image));
    let away = if norm == "linf" { 0.002 } else { 0.02 };
    let ratios: Vec<f64> =
        found.iter().zip(exact).filter(|(_, exact)| *exact > away).map(|(found, exact)| found / exact).collect();
    assert!(ratios.len() > 15, "{} images in {norm}", ratios.len());
    ratios
}

#[test]
fn distances_on_affine_models_are_exact_to_one_percent() {
    for (norm, attacks) in [
        ("l2", &["ddn:steps=300", "fmn:steps=300", "cw:steps=400,lr=0.001", "deepfool:overshoot=0.002", "fab", "fab-t"][..]),
        ("linf", &["fmn:steps=300", "deepfool:overshoot=0.002", "fab", "fab-t"][..]),
        ("l1", &["fmn:steps=300", "fab", "fab-t"][..]),
    ] {
        for written in attacks {
            for classes in [2, 5] {
                // the others follow the margin to the class that is most likely, not to the nearest one
                if classes == 5 && !written.starts_with("fab") && !written.starts_with("deepfool") {
                    continue;
                }
                let mut ratios = ratios(classes, written, norm);
                ratios.sort_by(f64::total_cmp);
                let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
                assert!(least > 1.0 - 1e-4 && most < 1.01, "{written} in {norm}, {classes} classes: {least} to {most}");
            }
        }
    }
}

/// With its own overshoot of 0.02 DeepFool ends 2 % beyond the boundary, and 1e-4 of the margin.
#[test]
fn deepfool_has_its_closed_form() {
    for norm in ["l2", "linf"] {
        let ratios = ratios(5, "deepfool", norm);
        assert!(ratios.iter().all(|ratio| (1.0199..1.04).contains(ratio)), "{norm}: {ratios:?}");
    }
}

/// An engine's tanh may be beyond 1 by rounding, and pixels at the faces of the box are where it would show.
#[test]
fn points_of_cw_stay_in_the_box() {
    let mut affine = Affine::new([2, 50, 60], 1.0);
    affine.images.iter_mut().flatten().for_each(|pixel| *pixel = f64::from(u8::from(*pixel > 0.5)));
    let (batch, threat) = (affine.batch(), boxed("l2:1"));
    for engine in engines() {
        for proposal in affine.toy.attack(&*engine, "cw:steps=20,searches=2,lr=0.2,c=10", &threat, &batch, LAST) {
            let x = point(&proposal);
            assert!(x.iter().all(|v| (0.0..=1.0).contains(v)), "{x:?} on {}", engine.name());
        }
    }
}

/// The fewest pixels that can break an affine model: those with the largest |w_i|·room_i.
#[test]
fn the_fewest_pixels_are_found() {
    let affine = Affine::new([2, 100, 40], 0.3);
    let fewest = |image: usize| {
        let (behind, w) = affine.rivals(image).remove(0);
        let mut gains: Vec<f64> =
            w.iter().zip(&affine.images[image]).map(|(w, x)| if *w > 0.0 { w * (1.0 - x) } else { -w * x }).collect();
        gains.sort_by(|a, b| b.total_cmp(a));
        let mut sum = 0.0;
        gains.iter().position(|gain| {
            sum += gain;
            sum > behind
        })
    };
    let exact: Vec<f64> = (0..40).map(|image| fewest(image).map_or(f64::INFINITY, |k| (k + 1) as f64)).collect();
    assert!(exact.iter().any(|k| *k > 2.0), "{exact:?}");
    for (written, same) in [("fmn:steps=300", 30), ("sigma-zero", 36)] {
        let found = affine.toy.distances(&*tract(), written, &boxed("l0:5"), &affine.batch());
        let more: Vec<f64> = found.iter().zip(&exact).map(|(found, exact)| found - exact).collect();
        assert!(more.iter().all(|more| (0.0..=1.0).contains(more)), "{written}: {found:?} where {exact:?}");
        assert!(more.iter().filter(|more| **more == 0.0).count() >= same, "{written}: {found:?} where {exact:?}");
    }
}

/// HopSkipJump on affine models of 20 pixels: 1.004 of the distance in l2 and 1.002 in linf are usual after 64 steps.
#[test]
fn labels_alone_lead_to_the_nearest_boundary() {
    let affine = Affine::new([2, 20, 6], 0.05);
    let (engine, batch, stop) = (tract(), affine.batch(), AtomicBool::new(false));
    let component = plugins().component(Kind::Attack, "hopskipjump").expect("it is there");
    let arguments = component.arguments(&[]).expect("defaults");
    for norm in ["l2", "linf"] {
        let threat = boxed(&format!("{norm}:0.1")).on(affine.toy.shape);
        let graph = &affine.toy.graph;
        let answers = Answers::compile(&*engine, &Link::of(graph, &threat)).expect("compiled");
        let verifier = Verifier::new(&*engine, graph, &threat, 4).expect("a judge");
        let mut session = Session::new(&answers, &verifier, &threat, &batch, 0, &component.id, Keep::Nearest, &stop);
        let task = Task::new(affine.toy.shape, 2, norm, threat.eps);
        plugins().run_oracle(component, &arguments, &task, &mut session).expect("it runs");
        for (image, proposal) in session.finish().iter().enumerate() {
            let found: Vec<f32> = proposal.point.clone().expect("a point");
            let x0: Vec<f32> = affine.images[image].iter().map(|&v| v as f32).collect();
            let ratio = threat.distance(&found.clone().into(), &x0).expect("a distance") / affine.distance(norm, image);
            assert!((0.999..1.05).contains(&ratio), "{norm}, image {image}: {ratio}");
            assert_eq!(proposal.backwards, 0);
        }
    }
}
