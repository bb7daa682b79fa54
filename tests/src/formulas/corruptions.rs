//! Common corruptions as the threat model decodes them: closed forms, and other libraries where nothing is drawn.

use std::collections::BTreeMap;

use flatscape_graph::text;
use flatscape_measure::link::{Link, Point};
use flatscape_measure::threats::{Candidate, SEVERITIES, TYPES, ThreatModel};
use flatscape_measure::verify::{Region, Rejection, admissible_in};

use super::toy::{Toy, linear};

const COLOURS: [usize; 3] = [3, 32, 32];

fn threat(shape: [usize; 3]) -> ThreatModel {
    ThreatModel::parse("corruption:5", false).expect("a threat").on(shape).seeded(7)
}

fn number(name: &str) -> usize {
    TYPES.iter().position(|row| row.name == name).unwrap_or_else(|| panic!("no type {name}"))
}

/// An image of a sample after one draw of a type at a severity from 1.
fn candidate(x0: &[f32], shape: [usize; 3], kind: usize, severity: usize, (sample, draw): (u64, usize)) -> Candidate {
    threat(shape).candidate(x0, vec![kind as f32, severity as f32, draw as f32], sample)
}

fn corrupted(x0: &[f32], shape: [usize; 3], name: &str, severity: usize) -> Vec<f64> {
    candidate(x0, shape, number(name), severity, (3, 0)).x.into_iter().map(f64::from).collect()
}

/// The formula of `tests/golden/corruptions.py`.
fn image() -> Vec<f32> {
    let [channels, h, w] = COLOURS;
    let mut values = Vec::new();
    for c in 0..channels {
        for r in 0..h {
            for q in 0..w {
                let (c, r, q) = (c as f64, r as f64, q as f64);
                let wave = 90.0 * (0.31 * r + 0.9 * c).sin() * (0.23 * q - 0.4 * c).cos() + 25.0 * (0.05 * r * q).sin();
                values.push(((120.0 + wave).floor().clamp(0.0, 255.0) / 255.0) as f32);
            }
        }
    }
    values
}

/// Smooth, away from 0 and 1.
fn smooth([channels, h, w]: [usize; 3]) -> Vec<f32> {
    (0..channels * h * w).map(|i| 0.5 + 0.2 * (0.05 * i as f32).sin()).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn mean_square(a: &[f64], b: &[f32]) -> f64 {
    mean(&a.iter().zip(b).map(|(a, b)| (a - f64::from(*b)).powi(2)).collect::<Vec<f64>>())
}

#[test]
fn types_that_draw_nothing_are_those_of_other_libraries() {
    let text = include_str!("../../golden/corruptions.json");
    let golden: BTreeMap<String, Vec<Vec<f64>>> = serde_json::from_str(text).expect("the golden values");
    let drawn: Vec<&str> = TYPES.iter().filter(|row| !row.random).map(|row| row.name).collect();
    assert_eq!(drawn.len(), golden.len());
    for name in drawn {
        // the largest and the mean difference; Pillow rounds to 8 bits on the way, and a coefficient near a half then falls on the
        // other side of it, which changes a block by a quantum
        let (most, usual) = match name {
            "jpeg" => (14.0 / 255.0, 1.6 / 255.0),
            "pixelate" => (1.1 / 255.0, 0.6 / 255.0),
            _ => (1e-6, 1e-6),
        };
        for (severity, wanted) in golden[name].iter().enumerate() {
            let found: Vec<f64> = corrupted(&image(), COLOURS, name, severity + 1).into_iter().step_by(37).collect();
            assert_eq!(found.len(), wanted.len());
            let far: Vec<f64> = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).collect();
            let largest = far.iter().copied().fold(0.0, f64::max);
            assert!(largest <= most && mean(&far) <= usual, "{name} {}: {largest} {}", severity + 1, mean(&far));
        }
    }
}

#[test]
fn contrast_keeps_the_mean_of_every_channel() {
    let x0 = smooth(COLOURS);
    for (severity, share) in [0.75, 0.5, 0.4, 0.3, 0.15].into_iter().enumerate() {
        let found = corrupted(&x0, COLOURS, "contrast", severity + 1);
        for (x, clean) in found.chunks(1024).zip(x0.chunks(1024)) {
            let clean: Vec<f64> = clean.iter().map(|&v| f64::from(v)).collect();
            assert!((mean(x) - mean(&clean)).abs() < 1e-7);
            let far = x.iter().zip(&clean).map(|(a, b)| (a - mean(&clean) - share * (b - mean(&clean))).abs());
            assert!(far.fold(0.0, f64::max) < 1e-6);
        }
    }
}

#[test]
fn what_is_blurred_or_moved_leaves_a_constant_as_it_is() {
    let names = ["gaussian-blur", "defocus-blur", "glass-blur", "motion-blur", "zoom-blur", "contrast", "pixelate", "elastic"];
    for shape in [COLOURS, [1, 8, 8], [1, 28, 28]] {
        let x0 = vec![0.3f32; shape.iter().product()];
        for severity in 1..=SEVERITIES {
            for name in names {
                assert!(mean_square(&corrupted(&x0, shape, name, severity), &x0) < 1e-13, "{name} {severity}");
            }
            // the mean of a block is rounded to a step of the table, at most 20 of 8·255
            let jpeg = corrupted(&x0, shape, "jpeg", severity);
            assert!(jpeg.iter().all(|v| (v - 0.3).abs() < 0.02 && (v - jpeg[0]).abs() < 0.02), "jpeg {severity}");
        }
    }
}

/// The variances of the laws, over 3,072 values away from the faces of the box.
#[test]
fn noise_has_the_variance_of_its_law() {
    let x0 = vec![0.5f32; 3072];
    type Variance = fn(usize) -> f64;
    let laws: [(&str, Variance); 4] = [
        ("gaussian-noise", |s| [0.04f64, 0.06, 0.08, 0.09, 0.10][s].powi(2)),
        ("shot-noise", |s| 0.5 / [500.0, 250.0, 100.0, 75.0, 50.0][s]),
        ("impulse-noise", |s| 0.25 * [0.01, 0.02, 0.03, 0.05, 0.07][s]),
        ("speckle-noise", |s| (0.5 * [0.06f64, 0.1, 0.12, 0.16, 0.2][s]).powi(2)),
    ];
    for (name, variance) in laws {
        let mut before = 0.0;
        for severity in 1..=SEVERITIES {
            let x = corrupted(&x0, COLOURS, name, severity);
            let (found, wanted) = (mean_square(&x, &x0), variance(severity - 1));
            // a fourth moment of a rare event needs more room
            let room = if name == "impulse-noise" { 0.5 } else { 0.1 };
            assert!((found / wanted - 1.0).abs() < room, "{name} {severity}: {found} is not {wanted}");
            assert!((mean(&x) - 0.5).abs() < 0.01, "{name} {severity}");
            assert!(found > before, "{name}: severity {severity} changes less than the one before");
            before = found;
        }
    }
    let hit = corrupted(&x0, COLOURS, "impulse-noise", 5).into_iter().filter(|v| *v != 0.5).collect::<Vec<f64>>();
    assert!(hit.iter().all(|v| *v == 0.0 || *v == 1.0), "salt and pepper");
}

#[test]
fn every_type_stays_in_the_box_and_is_drawn_by_key() {
    for shape in [[1, 8, 8], [1, 28, 28], COLOURS, [3, 7, 5], [2, 3, 2], [1, 1, 1]] {
        let x0: Vec<f32> = if shape == COLOURS { image() } else { smooth(shape) };
        for (kind, row) in TYPES.iter().enumerate() {
            for severity in 1..=SEVERITIES {
                let make = |seed: u64, sample: u64, draw: f32| {
                    threat(shape).seeded(seed).candidate(&x0, vec![kind as f32, severity as f32, draw], sample)
                };
                let first = make(7, 3, 0.0);
                let place = format!("{} {severity} {shape:?}", row.name);
                assert_eq!(first.x.len(), x0.len(), "{place}");
                assert!(first.x.iter().all(|v| (0.0..=1.0).contains(v)), "{place}");
                assert_eq!(first, make(7, 3, 0.0), "{place} is the same twice");
                assert_eq!(threat(shape).distance(&first, &x0), Some(severity as f64), "{place}");
                // angles that differ little may blur along the same pixels
                if row.random && row.name != "motion-blur" && shape == COLOURS {
                    for other in [make(8, 3, 0.0), make(7, 4, 0.0), make(7, 3, 1.0)] {
                        assert!(first.x != other.x, "{place}: seed, sample and draw matter");
                    }
                    let elsewhere = Candidate { sample: 4, ..first.clone() };
                    assert_eq!(
                        admissible_in(&threat(shape), Region::Ball, &x0, &elsewhere),
                        Some(Rejection::OtherImage),
                        "{place}"
                    );
                } else if !row.random {
                    assert_eq!(first.x, make(8, 4, 0.0).x, "{place} draws nothing");
                }
            }
        }
        let still = threat(shape).candidate(&x0, vec![0.0; 3], 3);
        assert_eq!(threat(shape).distance(&still, &x0), Some(0.0), "(0, 0, 0) is the image");
        assert_eq!(still.x, x0);
    }
}

#[test]
fn parameters_that_name_no_point_are_not_decoded() {
    let (shape, x0) = ([1, 8, 8], smooth([1, 8, 8]));
    let contrast = number("contrast") as f32;
    for z in [
        vec![16.0, 1.0, 0.0],
        vec![-1.0, 1.0, 0.0],
        vec![0.5, 1.0, 0.0],
        vec![0.0, 6.0, 0.0],
        vec![1.0, 0.0, 0.0],
        vec![0.0, 1.5, 0.0],
        vec![0.0, 1.0, -1.0],
        vec![0.0, 1.0, 1e9],
        vec![0.0, f32::NAN, 0.0],
        vec![contrast, 1.0, 1.0],
        vec![0.0, 1.0],
    ] {
        let found = threat(shape).candidate(&x0, z.clone(), 0);
        assert!(found.x.is_empty(), "{z:?}");
        assert!(admissible_in(&threat(shape), Region::Ball, &x0, &found).is_some(), "{z:?}");
        assert_eq!(threat(shape).distance(&Candidate { x: x0.clone(), ..found }, &x0), None, "{z:?}");
    }
    let severe = threat(shape).candidate(&x0, vec![0.0, 4.0, 0.0], 0);
    let milder = ThreatModel::parse("corruption:3", false).expect("a threat").on(shape).seeded(7);
    assert_eq!(admissible_in(&milder, Region::Ball, &x0, &severe), Some(Rejection::OutsideBall));
}

/// Nothing leads from the image back to type and severity: whoever asks for that is refused, and not answered with 0.
#[test]
fn a_derivative_of_the_decoding_is_refused() {
    let toy = Toy::new([1, 2, 2], |x| linear(x, &[vec![1.0; 4], vec![0.0; 4]], &[0.0, 0.5]));
    let threat = threat([1, 2, 2]);
    let cases = [
        ("grad_z", "z_next = Neg(grad_z)", "the program reads `grad_z`, which needs the derivative of the decoding"),
        ("ascent_z", "z_next = Neg(ascent_z)", "the program reads `ascent_z`, which needs the derivative of the decoding"),
        (
            "z",
            "z_next = flatscape.Steepest(z)",
            "the program calls `flatscape.Steepest`, which has no meaning under the threat model",
        ),
        (
            "z",
            "z_next = flatscape.Project(z)",
            "the program calls `flatscape.Project`, which has no meaning under the threat model",
        ),
    ];
    for (name, body, expected) in cases {
        let words = format!("step (float[N,3] {name}) => (float[N,3] z_next) {{ {body} }}");
        let graph = text::parse(&words).unwrap_or_else(|why| panic!("{why}\n{words}"));
        let refused = Link::of(&toy.graph, &threat).stage(&graph, Point::Decoded, true, &[]).expect_err(name).to_string();
        assert!(refused.starts_with(expected), "{refused}");
    }
}
