//! fgsm and pgd where the best point is known on paper; starts, restarts and targets.

use flatscape_engine::Engine;
use flatscape_intake::scores::argmax;
use flatscape_measure::attack::Keep;
use flatscape_measure::threats::ThreatModel;
use flatscape_measure::verify::{Verifier, admissible};

use super::toy::{How, LAST, LIN_TOY, Toy, boxed, close, dot, norm, point, threat};
use crate::provision::{engines, plugins, tract};

/// The last point of an attack on one image with label 0.
fn end(toy: &Toy, engine: &dyn Engine, written: &str, threat: &ThreatModel, image: &[f64], how: How) -> Vec<f64> {
    point(&toy.attack(engine, written, threat, &toy.batch(&[image.to_vec()], &[0]), how)[0])
}

#[test]
fn fgsm_takes_one_steepest_step() {
    for engine in engines() {
        let toy = Toy::lin();
        let found = end(&toy, &*engine, "fgsm", &boxed("linf:0.1"), &[0.5; 3], LAST);
        close("LinToy in linf", &found, &[0.4, 0.6, 0.6], 1e-6);
        // ∇CE(y=0) = p₁·(W₁ − W₀)
        let up = [-1.0, 3.0, 3.0];
        let expected: Vec<f64> = up.iter().map(|u| 0.5 + 0.1 * u / norm(&up)).collect();
        close("LinToy in l2", &end(&toy, &*engine, "fgsm", &boxed("l2:0.1"), &[0.5; 3], LAST), &expected, 1e-6);
        // the box comes last
        let found = end(&toy, &*engine, "fgsm", &boxed("linf:0.1"), &[0.05, 0.95, 0.5], LAST);
        close("at the box", &found, &[0.0, 1.0, 0.6], 1e-6);
    }
}

#[test]
fn fgsm_moves_an_affine_margin_by_eps_times_the_l1_norm() {
    let w = [2.0, -1.0, 0.5, 3.0];
    let toy = Toy::affine(&[w, [0.0; 4]], &[0.0, 0.0]);
    for engine in engines() {
        let x = [0.4, 0.5, 0.6, 0.5];
        let moved = end(&toy, &*engine, "fgsm", &boxed("linf:0.03"), &x, LAST);
        close("margin", &[dot(&w, &x) - dot(&w, &moved)], &[0.03 * 6.5], 1e-6);
    }
}

/// α·T ≥ 2ε, so every start leads to the corner; α = ε/2 halves what stands across the gradient at least, so every start leads
/// to the pole.
#[test]
fn pgd_reaches_the_best_point_of_an_affine_model_from_any_start() {
    let toy = Toy::lin();
    let up = [-1.0, 3.0, 3.0];
    let corner = [0.4, 0.6, 0.6];
    let pole: Vec<f64> = up.iter().map(|u| 0.5 + 0.1 * u / norm(&up)).collect();
    for engine in engines() {
        for (seed, restart) in [(0, 0), (0, 1), (1, 0), (2, 5), (99, 0)] {
            let how = How { seed, restart, ..LAST };
            let found = end(&toy, &*engine, "pgd", &boxed("linf:0.1"), &[0.5; 3], how);
            close("linf by default steps", &found, &corner, 1e-6);
            let found = end(&toy, &*engine, "pgd:steps=4,alpha=0.05", &boxed("linf:0.1"), &[0.5; 3], how);
            close("linf in ⌈2ε/α⌉ steps", &found, &corner, 1e-6);
            let found = end(&toy, &*engine, "pgd:steps=40,alpha=0.05", &boxed("l2:0.1"), &[0.5; 3], how);
            close("l2", &found, &pole, 1e-5);
            // the steepest l1 step goes along the largest gradient entries
            let found = end(&toy, &*engine, "pgd:steps=60,alpha=0.05", &boxed("l1:0.1"), &[0.5; 3], how);
            close("l1", &[dot(&found, &up) - 2.5], &[0.3], 1e-5);
        }
    }
}

#[test]
fn the_loss_of_pgd_does_not_fall_on_an_affine_model() {
    let toy = Toy::affine(&[LIN_TOY[0], LIN_TOY[1], [-1.0, 0.5, 0.0]], &[0.0; 3]);
    let engine = tract();
    for norm in ["linf:0.2", "l2:0.2", "l1:0.2"] {
        // the noise of a step does not depend on how many follow, so these are prefixes of one path
        let losses: Vec<f64> = (1..=12)
            .map(|steps| {
                let batch = toy.batch(&[vec![0.5; 3]], &[0]);
                toy.attack(&*engine, &format!("pgd:steps={steps},alpha=0.03"), &boxed(norm), &batch, LAST)[0].loss
            })
            .collect();
        assert!(losses.windows(2).all(|pair| pair[1] >= pair[0] - 1e-6), "{norm}: {losses:?}");
        assert!(losses[11] > losses[0] + 0.05, "{norm}: {losses:?}");
    }
}

#[test]
fn a_targeted_attack_goes_towards_its_target() {
    let toy = Toy::curved();
    let images: Vec<Vec<f64>> = (0..6).map(|k| (0..12).map(|i| 0.5 + 0.3 * f64::from(i * 5 + k * 11).sin()).collect()).collect();
    for engine in engines() {
        let verifier = Verifier::new(&*engine, &toy.graph, &boxed("linf:0.1"), 4).expect("a verifier");
        let mut batch = toy.batch(&images, &[0; 6]);
        let clean = verifier.logits(&batch.x0).expect("logits");
        batch.y = clean.iter().map(|z| argmax(z).expect("a class") as i64).collect();
        batch.target = batch.y.iter().map(|y| (y + 1) % 3).collect();
        let log_likelihood = |z: &[f64], class: i64| z[class as usize] - z.iter().map(|v| v.exp()).sum::<f64>().ln();
        for written in ["fgsm", "pgd:steps=10", "pgd:steps=10,loss=margin"] {
            let how = How { targeted: true, ..LAST };
            let proposals = toy.attack(&*engine, written, &boxed("linf:0.1"), &batch, how);
            let moved = toy.batch(&proposals.iter().map(point).collect::<Vec<_>>(), &batch.y);
            let after = verifier.logits(&moved.x0).expect("logits");
            for (row, &target) in batch.target.iter().enumerate() {
                let (before, after) = (log_likelihood(&clean[row], target), log_likelihood(&after[row], target));
                assert!(after > before + 0.05, "{written} on {}: {before} became {after}", engine.name());
            }
        }
    }
}

/// With steps of nothing the last point is the start: uniform in the ball, in the box, different for every image and restart,
/// and the same alone and in a batch.
#[test]
fn starts_are_uniform_in_the_ball_and_belong_to_their_image() {
    let toy = Toy::curved();
    let pixels = 12.0;
    let n = 400;
    let engine = tract();
    let images: Vec<Vec<f64>> = vec![toy.grey(0.5); n];
    let batch = toy.batch(&images, &vec![0; n]);
    for (name, eps, mean_radius) in [
        ("linf", 0.1, 0.1 * pixels / (pixels + 1.0)),
        ("l2", 0.3, 0.3 * pixels / (pixels + 1.0)),
        ("l1", 0.5, 0.5 * pixels / (pixels + 1.0)),
    ] {
        let threat = boxed(&format!("{name}:{eps}"));
        let run = |restart| {
            let how = How { restart, ..LAST };
            toy.attack(&*engine, "pgd:steps=1,alpha=1e-9,restarts=2", &threat, &batch, how).iter().map(point).collect::<Vec<_>>()
        };
        let starts = run(0);
        let distance = |x: &[f64]| threat.distance(&single(x).into(), &single(&images[0])).expect("a distance");
        let radii: Vec<f64> = starts.iter().map(|x| distance(x)).collect();
        assert!(radii.iter().all(|&r| r <= threat.tolerated()), "{name}");
        // the standard deviation of r/ε is below 1/13 for D = 12
        close(
            &format!("{name}: mean radius"),
            &[radii.iter().sum::<f64>() / n as f64],
            &[mean_radius],
            5.0 * eps / 13.0 / (n as f64).sqrt(),
        );
        let means: Vec<f64> = (0..12).map(|i| starts.iter().map(|x| x[i] - 0.5).sum::<f64>() / n as f64).collect();
        close(&format!("{name}: mean start"), &means, &[0.0; 12], 5.0 * eps / (n as f64).sqrt());
        assert!(starts.windows(2).all(|pair| pair[0] != pair[1]), "{name}: two images share a start");
        assert!(starts.iter().zip(run(1)).all(|(a, b)| *a != b), "{name}: two restarts share a start");
        let alone = toy.attack(&*engine, "pgd:steps=1,alpha=1e-9,restarts=2", &threat, &batch.range(123..124), LAST);
        assert_eq!(point(&alone[0]), starts[123], "{name}: alone and in a batch");
    }
    let still = toy.attack(&*engine, "pgd:steps=1,alpha=1e-9,random-start=false", &boxed("linf:0.1"), &batch.range(0..1), LAST);
    close("without a random start", &point(&still[0]), &images[0], 1e-7);
    // x + σ·N(0, I), the start of TRADES and MART: 4800 draws, whose standard deviation has the relative error 1/√9600
    let near = toy.attack(&*engine, "pgd:steps=1,alpha=1e-9,sigma=0.001", &boxed("linf:0.1"), &batch, LAST);
    let moved: Vec<f64> = near.iter().flat_map(|p| point(p).into_iter().map(|v| v - 0.5)).collect();
    let deviation = (moved.iter().map(|v| v * v).sum::<f64>() / moved.len() as f64).sqrt();
    close("the width of a normal start", &[deviation / 0.001], &[1.0], 5.0 / 9600f64.sqrt());
    assert!(moved.iter().any(|v| v.abs() > 0.002), "it is not uniform in ±√3·σ");
}

/// Whatever the norm and the place, what is handed over is admissible; at the faces of the box too.
#[test]
fn everything_that_standard_attacks_hand_over_is_admissible() {
    let toy = Toy::curved();
    let images: Vec<Vec<f64>> =
        (0..20).map(|k| (0..12).map(|i| (0.5 + 0.7 * f64::from(i * 3 + k * 17).sin()).clamp(0.0, 1.0)).collect()).collect();
    let batch = toy.batch(&images, &(0..20).map(|k| k % 3).collect::<Vec<_>>());
    for engine in engines() {
        for name in ["linf:0.1", "l2:0.6", "l1:1.5", "linf:0", "l0:2"] {
            let threat = boxed(name).on(toy.shape);
            for written in ["fgsm", "pgd:steps=7,restarts=3", "pgd:steps=7,loss=margin"] {
                for (keep, restart) in [(Keep::Last, 0), (Keep::FirstSuccess, 2)] {
                    let proposals = toy.attack(&*engine, written, &threat, &batch, How { keep, restart, ..LAST });
                    for (proposal, image) in proposals.iter().zip(&images) {
                        let x = proposal.point.as_ref().expect("a point");
                        assert_eq!(admissible(&threat, &single(image), x), None, "{written} under {name} on {}", engine.name());
                    }
                }
            }
        }
    }
}

#[test]
fn attacks_on_both_engines_agree() {
    let toy = Toy::curved();
    let images: Vec<Vec<f64>> = (0..5).map(|k| (0..12).map(|i| 0.5 + 0.3 * f64::from(i * 7 + k * 3).sin()).collect()).collect();
    let batch = toy.batch(&images, &[0, 1, 2, 0, 1]);
    for (written, name) in [("fgsm", "linf:0.1"), ("fgsm", "l2:0.3"), ("pgd:steps=5", "l2:0.3"), ("pgd:steps=5", "linf:0.1")] {
        let [a, b] = engines().map(|engine| toy.attack(&*engine, written, &threat(name), &batch, LAST));
        for (a, b) in a.iter().zip(&b) {
            close(&format!("{written} under {name}"), &point(a), &point(b), 1e-5);
            close(&format!("loss of {written} under {name}"), &[a.loss], &[b.loss], 1e-5);
            assert_eq!((a.forwards, a.backwards), (b.forwards, b.backwards));
        }
    }
}

#[test]
fn what_cannot_be_meant_is_refused_in_words() {
    let pgd = plugins().component(flatscape_host::Kind::Attack, "pgd").expect("pgd");
    let refuse = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, String)> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let task = flatscape_host::Task::new([1, 1, 3], 2, "linf", 0.1);
        pgd.arguments(&pairs).and_then(|a| plugins().build(pgd, &a, &task)).expect_err("refused")
    };
    for (pairs, word) in [
        (&[("restarts", "3"), ("random-start", "false")][..], "random-start"),
        (&[("steps", "0")], "steps"),
        (&[("step", "5")], "no parameter \"step\""),
        (&[("loss", "hinge")], "margin"),
    ] {
        let error = refuse(pairs);
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(error.exit_code(), 2, "{error}");
    }
}

fn single(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&v| v as f32).collect()
}
