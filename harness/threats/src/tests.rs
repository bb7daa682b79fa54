//! Threat models where they are known on paper.

use super::sampling::Outside;
use super::*;
use crate::trial::{assert_close, float, value_of};

/// The rows whose ball is that of a norm, with a steepest direction of unit length.
fn norms() -> impl Iterator<Item = &'static Threat> {
    THREATS.iter().filter(|row| matches!(row.name, "linf" | "l2" | "l1"))
}

fn model(text: &str) -> ThreatModel {
    ThreatModel::parse(text, false).unwrap_or_else(|why| panic!("{text}: {why}"))
}

#[test]
fn radii_are_read_as_people_write_them() {
    let threat = model("linf:8/255");
    assert_eq!((threat.norm.name, threat.eps, threat.text().as_str()), ("linf", 8.0 / 255.0, "linf:8/255"));
    assert_eq!(model("l2:0.5").eps, 0.5);
    assert_eq!(model("linf:0").eps, 0.0);
    assert_eq!(model("l1:12").eps, 12.0);
    assert_eq!(model("l0:20").eps, 20.0);
    assert_eq!((model("flow:0.075px").eps, model("flow:0.075px").scale), (0.075, Scale::Pixels));
    assert_eq!((model("flow:0.3/64grid").eps, model("flow:0.3/64grid").scale), (0.3 / 64.0, Scale::Grid));
    let turned = model("rigid:30deg+3px");
    assert_eq!((turned.eps, turned.scale), (1.0, Scale::Rigid { degrees: 30.0, pixels: 3.0 }));
    assert_eq!(turned.text(), "rigid:30deg+3px");
    assert_eq!(model("rigid:3px").scale, Scale::Rigid { degrees: 0.0, pixels: 3.0 });
    for row in THREATS {
        assert_eq!(model(row.example).text(), row.example, "the example of the help is read");
    }
}

#[test]
fn several_radii_are_several_threat_models() {
    let texts =
        |text: &str| -> Vec<String> { ThreatModel::parse_all(text, false).expect(text).iter().map(ThreatModel::text).collect() };
    assert_eq!(texts("linf:2/255,4/255"), ["linf:2/255", "linf:4/255"]);
    assert_eq!(texts("l2:0.5"), ["l2:0.5"]);
    assert_eq!(texts("rigid:30deg+3px,10deg"), ["rigid:30deg+3px", "rigid:10deg"]);
    for bad in ["linf:2/255,", "linf:2/255,4", "linf:0.1,0.10", "linf:0.1,l2:0.5"] {
        assert_eq!(ThreatModel::parse_all(bad, false).expect_err(bad).class.exit_code(), 2);
    }
}

#[test]
fn implausible_radii_are_refused() {
    for bad in [
        "linf",
        "linf:",
        "linf:-1/255",
        "linf:nan",
        "linf:inf",
        "linf:1/0",
        "linf:x",
        "linf:8",
        "linff:0.1",
        "linf:8/255/2",
        "l0:2.5",
        "l0:-1",
        "flow:0.1",
        "flow:px",
        "flow:-1px",
        "rigid:30",
        "rigid:30deg+3deg",
        "rigid:-3px",
        "rigid:",
        "corruption:",
        "corruption:0",
        "corruption:-1",
        "corruption:6",
        "corruption:2.5",
        "corruption:fog",
        "corruption:nan",
    ] {
        assert_eq!(ThreatModel::parse(bad, false).expect_err(bad).class.exit_code(), 2);
    }
    assert!(ThreatModel::parse("linf:8", true).is_ok());
    assert!(ThreatModel::parse("linff:0.1", false).expect_err("typo").help.expect("help").contains("did you mean linf?"));
    let refused = ThreatModel::parse("flow:0.3/64", false).expect_err("no unit");
    assert_eq!(refused.what, "the radius of \"flow:0.3/64\" has no unit; write 0.075px or 0.3/64grid");
}

#[test]
fn a_point_is_inside_up_to_rounding() {
    let threat = model("linf:8/255");
    let x0 = [0.5f32, 0.0, 1.0];
    let shape = [1, 1, 3];
    let eps = (8.0 / 255.0) as f32;
    let inside = |x: &[f32]| threat.on(shape).contains(&x.to_vec().into(), &x0);
    assert!(inside(&[0.5 + eps, 0.0, 1.0 - eps]));
    assert!(!inside(&[0.5 + eps + 1e-3, 0.0, 1.0]), "outside the ball");
    assert!(!inside(&[0.5, -1e-6, 1.0]), "outside the box");
    assert!(!inside(&[f32::NAN, 0.0, 1.0]), "not finite");
    assert!(!inside(&[0.5, 0.0]), "another shape");
}

#[test]
fn distances_are_the_norms() {
    let (x, x0) = ([1.0f32, 0.0, 0.0, 0.5], [0.0f32, 0.0, 1.0, 0.0]);
    let distance = |name: &str, shape| (norm(name).expect("a row").distance)(&x, &x0, Some(shape)).expect("a distance");
    let shape = [1, 2, 2];
    assert_eq!((distance("linf", shape), distance("l2", shape), distance("l1", shape)), (1.0, 1.5, 2.5));
    // three numbers change: three pixels of one channel, or both pixels of two channels
    assert_eq!((distance("l0", shape), distance("l0", [2, 1, 2])), (3.0, 2.0));
    assert_eq!(model("l0:3").distance(&x.to_vec().into(), &x0), None, "without a shape the pixels are unknown");
}

fn projected(name: &str, delta: &[f32], eps: f64, lo: f64, hi: f64) -> Vec<f64> {
    let n = norm(name).expect("a row");
    let x0 = float(&[2, delta.len()], &vec![0.25; 2 * delta.len()]);
    let x: Vec<f32> = delta.iter().chain(delta).map(|d| 0.25 + d).collect();
    let x = float(&[2, delta.len()], &x);
    let found = value_of(&[x, x0], |_, e| {
        let [eps, lo, hi] = [eps, lo, hi].map(|v| e[0].scalar(v));
        (n.project)(e[0], Ball { x0: e[1], eps, lo, hi })
    });
    let found = found.to_f64();
    assert_eq!(found[..delta.len()], found[delta.len()..], "the rows of a batch are alike");
    found[..delta.len()].iter().map(|v| v - 0.25).collect()
}

fn assert_projected(name: &str, delta: &[f32], eps: f64, (lo, hi): (f64, f64), expected: &[f64]) {
    let found = projected(name, delta, eps, lo, hi);
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-5, "{name} {delta:?}: {found:?} is not {expected:?}");
    }
}

#[test]
fn projections_have_their_closed_forms() {
    let wide = (-100.0, 100.0);
    assert_projected("linf", &[3.0, -1.0, 0.5], 1.5, wide, &[1.5, -1.0, 0.5]);
    assert_projected("linf", &[0.3, -0.3, 0.1], 0.2, (0.0, 0.4), &[0.15, -0.2, 0.1]);
    assert_projected("l2", &[3.0, -4.0, 0.0], 2.5, wide, &[1.5, -2.0, 0.0]);
    assert_projected("l2", &[0.1, 0.1, 0.0], 2.5, wide, &[0.1, 0.1, 0.0]);
    assert_projected("l2", &[0.0, 0.0, 0.0], 0.0, wide, &[0.0, 0.0, 0.0]);
    assert_projected("l1", &[3.0, -1.0, 0.5], 2.0, wide, &[2.0, 0.0, 0.0]);
    assert_projected("l1", &[3.0, -2.0, 0.5], 2.0, wide, &[1.5, -0.5, 0.0]);
    assert_projected("l1", &[0.3, -0.2, 0.1], 2.0, wide, &[0.3, -0.2, 0.1]);
    assert_projected("l1", &[0.4, 0.3, 0.1], 0.35, (0.0, 0.35), &[0.1, 0.1, 0.1]);
    // The first coordinate is capped by the box at 0.1, so the second keeps what it would otherwise lose.
    assert_projected("l1", &[0.4, -0.2, 0.0], 0.2, (0.0, 0.35), &[0.1, -0.1, 0.0]);
}

/// Two channels of two by two pixels: the pixels that gain most stay, wholly; what lies beyond the box counts and is cut off.
#[test]
fn the_l0_projection_keeps_whole_pixels() {
    let row = norm("l0").expect("a row");
    let x0 = [0.5f32; 8];
    let x = [0.6f32, 0.5, 0.9, 0.5, 0.5, 0.2, 0.55, 9.0];
    for (eps, kept) in
        [(0.0, &[][..]), (1.0, &[3]), (2.0, &[3, 2]), (3.0, &[3, 2, 1]), (4.0, &[3, 2, 1, 0]), (9.0, &[3, 2, 1, 0])]
    {
        let found = value_of(&[float(&[2, 2, 2, 2], &[x, x].concat()), float(&[2, 2, 2, 2], &[x0; 2].concat())], |_, e| {
            let [eps, lo, hi] = [eps, 0.0, 1.0].map(|v| e[0].scalar(v));
            (row.project)(e[0], Ball { x0: e[1], eps, lo, hi })
        });
        let expected: Vec<f64> =
            (0..16).map(|i| if kept.contains(&(i % 4)) { f64::from(x[i % 8].min(1.0)) } else { 0.5 }).collect();
        assert_close(&found, &expected, 1e-6);
        let point: Vec<f32> = found.to_f64()[..8].iter().map(|&v| v as f32).collect();
        assert_eq!((row.distance)(&point, &x0, Some([2, 2, 2])), Some(kept.len() as f64), "what is not kept is x0 to the bit");
        let counted =
            value_of(&[float(&[1, 2, 2, 2], &point), float(&[1, 2, 2, 2], &x0)], |_, e| (row.distance_graph)(e[0], e[1]));
        assert_close(&counted, &[kept.len() as f64], 0.0);
    }
}

#[test]
fn steepest_steps_have_unit_norm_and_gain_the_dual_norm() {
    let g = [3.0f32, -4.0, 0.0, 1e-20, 3e-20, -4e-20, 0.0, 0.0, 0.0];
    for norm in norms() {
        let found = value_of(&[float(&[3, 3], &g)], |_, e| (norm.steepest)(e[0])).to_f64();
        let step = |row: usize| found[3 * row..3 * row + 3].iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let length = |row: usize| (norm.distance)(&step(row), &[0.0; 3], None).expect("a distance");
        let expected = match norm.name {
            "linf" => [1.0, -1.0, 0.0],
            "l2" => [0.6, -0.8, 0.0],
            _ => [0.0, -1.0, 0.0],
        };
        for (a, b) in step(0).iter().zip(expected) {
            assert!((f64::from(*a) - b).abs() < 1e-6, "{}: {found:?}", norm.name);
        }
        assert!((length(1) - 1.0).abs() < 1e-5, "{}: small gradients keep their direction, {found:?}", norm.name);
        assert_eq!(step(2), [0.0; 3], "{}: no gradient, no step", norm.name);
    }
}

#[test]
fn distances_agree_with_their_graphs() {
    let (x, x0) = ([0.9f32, 0.0, 0.3, 0.2, 0.2, 0.2], [0.0f32, 0.1, 0.3, 0.2, 0.2, 0.2]);
    for row in THREATS.iter().filter(|row| row.parameter.is_none()) {
        let shape = [2, 1, 1, 3];
        let found = value_of(&[float(&shape, &x), float(&shape, &x0)], |_, e| (row.distance_graph)(e[0], e[1]));
        assert_eq!(found.shape(), [2]);
        let expected = (row.distance)(&x[..3], &x0[..3], Some([1, 1, 3])).expect("a distance");
        assert_close(&found, &[expected, 0.0], 1e-6);
    }
}

/// An image of one channel, and what its parameter makes of it: as the graph and as the judge compute it.
fn decoded(name: &str, image: &dyn Fn(usize, usize) -> f32, [h, w]: [usize; 2], z: &[f32]) -> Vec<f64> {
    let parameter = norm(name).and_then(|row| row.parameter).expect("a parametrised row");
    let ranges = parameter.ranges().expect("a box");
    let shape = [1, h, w];
    let x0: Vec<f32> = (0..h * w).map(|pixel| image(pixel / w, pixel % w)).collect();
    let judged = (parameter.decoded)(&x0, z, shape, Key::default());
    let inputs = [float(&[1, 1, h, w], &x0), float(&[1, z.len()], z)];
    let found = value_of(&inputs, |_, e| (ranges.decode)(e[0], e[1], shape));
    assert_eq!(found.shape(), [1, 1, h, w]);
    assert_close(&found, &judged, 2e-5);
    judged
}

fn flow(h: usize, w: usize, rows: f32, columns: f32) -> Vec<f32> {
    [vec![rows; h * w], vec![columns; h * w]].concat()
}

#[test]
fn a_flow_moves_pixels_as_the_bilinear_formula_says() {
    let ramp = |row: usize, column: usize| 2.0 * row as f32 + 3.0 * column as f32 + 1.0;
    let (h, w) = (5, 6);
    let at = |values: &[f64], row: usize, column: usize| values[row * w + column];
    let still = decoded("flow", &ramp, [h, w], &flow(h, w, 0.0, 0.0));
    let moved = decoded("flow", &ramp, [h, w], &flow(h, w, 0.25, -0.5));
    let whole = decoded("flow", &ramp, [h, w], &flow(h, w, 1.0, 2.0));
    for row in 0..h {
        for column in 0..w {
            let own = f64::from(ramp(row, column));
            assert_eq!(at(&still, row, column), own, "no flow is the identity");
            if row + 1 < h && column > 0 {
                assert!((at(&moved, row, column) - (own - 1.0)).abs() < 1e-12, "2·0.25 − 3·0.5 = −1 in the interior");
            }
            let clamped = f64::from(ramp((row + 1).min(h - 1), (column + 2).min(w - 1)));
            assert_eq!(at(&whole, row, column), clamped, "whole flows are shifts, clamped at the border");
        }
    }
    // an image of one row has nowhere to go along columns of it
    let one = decoded("flow", &ramp, [1, 3], &flow(1, 3, 0.7, 0.5));
    assert_eq!(one, [2.5, 5.5, 7.0]);
}

#[test]
fn rigid_moves_are_exact_where_they_hit_whole_pixels() {
    let spot = |row: usize, column: usize| f32::from(u8::from((row, column) == (2, 4)));
    let side = [5, 5];
    let place = |values: Vec<f64>| -> Vec<usize> {
        assert!((values.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{values:?}");
        (0..25).filter(|&pixel| values[pixel] > 0.999).collect()
    };
    assert_eq!(place(decoded("rigid", &spot, side, &[0.0, 0.0, 0.0])), [14], "no move is the identity");
    assert_eq!(place(decoded("rigid", &spot, side, &[360.0, 0.0, 0.0])), [14], "nor is a whole turn");
    assert_eq!(place(decoded("rigid", &spot, side, &[90.0, 0.0, 0.0])), [2], "the right edge turns to the top");
    assert_eq!(place(decoded("rigid", &spot, side, &[0.0, 1.0, -2.0])), [17], "a shift of rows and columns");
    assert_eq!(place(decoded("rigid", &spot, side, &[90.0, 2.0, 1.0])), [13], "first the turn, then the shift");
    let gone = decoded("rigid", &spot, side, &[0.0, 0.0, 1.0]);
    assert_eq!(gone.iter().sum::<f64>(), 0.0, "what leaves is gone, and black comes in");
    let half = decoded("rigid", &spot, side, &[0.0, 0.5, 0.0]);
    assert_eq!((half[14], half[19]), (0.5, 0.5));
}

/// Distances of parameters are shares of their units, and what does not decode to the point has none.
#[test]
fn parameters_are_judged_in_their_units() {
    let shape = [1, 4, 6];
    let x0: Vec<f32> = (0..24).map(|i| 0.5 + 0.02 * (i % 5) as f32).collect();
    let point = |name: &str, z: &[f32]| -> Vec<f32> {
        let parameter = norm(name).and_then(|row| row.parameter).expect("a parametrised row");
        (parameter.decoded)(&x0, z, shape, Key::default()).iter().map(|&v| v as f32).collect()
    };
    let of = |x: &[f32], z: Option<&[f32]>| Candidate { x: x.to_vec(), z: z.map(<[f32]>::to_vec), sample: 0 };
    let close = |found: Option<f64>, expected: f64| {
        assert!(found.is_some_and(|d| (d - expected).abs() < 1e-6), "{found:?} is not {expected}");
    };
    let z = flow(4, 6, -0.25, 0.5);
    let x = point("flow", &z);
    close(model("flow:1px").on(shape).distance(&of(&x, Some(&z)), &x0), 0.5);
    // one pixel is 2/4 along rows and 2/6 along columns
    close(model("flow:0.1grid").on(shape).distance(&of(&x, Some(&z)), &x0), 0.5 / 3.0);
    assert!(model("flow:0.5px").on(shape).contains(&of(&x, Some(&z)), &x0));
    assert!(!model("flow:0.499px").on(shape).contains(&of(&x, Some(&z)), &x0), "outside");
    assert!(!model("flow:1px").on(shape).contains(&of(&x, None), &x0), "without its parameter nothing is known");
    assert!(!model("flow:1px").on(shape).contains(&of(&x0, Some(&z)), &x0), "another image than it decodes to");
    assert!(!model("flow:1px").on(shape).contains(&of(&x, Some(&z[1..])), &x0), "another number of parameters");

    let z = [6.0, 0.3, -1.5];
    let x = point("rigid", &z);
    close(model("rigid:30deg+3px").on(shape).distance(&of(&x, Some(&z)), &x0), 0.5);
    close(model("rigid:6deg+6px").on(shape).distance(&of(&x, Some(&z)), &x0), 1.0);
    assert!(model("rigid:6deg+6px").on(shape).contains(&of(&x, Some(&z)), &x0));
    assert!(!model("rigid:30deg").on(shape).contains(&of(&x, Some(&z)), &x0), "no shift is allowed");
    assert_eq!(model("flow:1px").parameters(shape), 48);
    assert_eq!((model("rigid:3px").parameters(shape), model("linf:0.1").parameters(shape)), (3, 24));
}

#[test]
fn parameters_are_projected_and_stepped_in_their_units() {
    let threat = model("rigid:30deg+3px");
    let parameter = threat.norm.parameter.and_then(|parameter| parameter.ranges()).expect("a box");
    let z = float(&[2, 3], &[40.0, -1.0, 5.0, -10.0, -4.0, 0.0]);
    let shape = [1, 4, 4];
    let found = value_of(std::slice::from_ref(&z), |_, e| parameter.project(e[0], e[0].scalar(1.0), &threat.scale, shape));
    assert_close(&found, &[30.0, -1.0, 3.0, -10.0, -3.0, 0.0], 1e-6);
    let radii = float(&[2, 1], &[0.5, 0.1]);
    let found = value_of(&[z, radii], |_, e| parameter.project(e[0], e[1], &threat.scale, shape));
    assert_close(&found, &[15.0, -1.0, 1.5, -3.0, -0.3, 0.0], 1e-6);
    let g = float(&[1, 3], &[-1e-9, 0.0, 7.0]);
    let found = value_of(&[g], |_, e| parameter.steepest(e[0], &threat.scale, shape));
    assert_close(&found, &[-30.0, 0.0, 3.0], 1e-6);
}

/// At the identity every place is whole, and the derivative of the flow is the right-sided one.
#[test]
fn the_derivative_of_a_flow_is_that_of_the_bilinear_formula() {
    let parameter = norm("flow").and_then(|row| row.parameter?.ranges()).expect("a box");
    let shape = [1, 3, 3];
    let image: Vec<f32> = [0.0, 0.1, 0.4, 0.2, 0.7, 0.3, 0.9, 0.6, 0.8].to_vec();
    let found = value_of(&[float(&[1, 1, 3, 3], &image), float(&[1, 18], &[0.0; 18])], |b, e| {
        let x = (parameter.decode)(e[0], e[1], shape);
        let total = x.sum(&[1, 2, 3], false);
        let ones = total.scalar(1.0).expand_like(total);
        let z = flatscape_autodiff::vjp(b, total.id, ones.id, &[e[1].id]).expect("it differentiates");
        b.expr(z[0].expect("the flow reaches the image"))
    });
    let at = |row: usize, column: usize| f64::from(image[row * 3 + column]);
    let down =
        |row: usize, column: usize| if row < 2 { at(row + 1, column) - at(row, column) } else { at(2, column) - at(1, column) };
    let right =
        |row: usize, column: usize| if column < 2 { at(row, column + 1) - at(row, column) } else { at(row, 2) - at(row, 1) };
    let places = || (0..9).map(|pixel| (pixel / 3, pixel % 3));
    let expected: Vec<f64> = places().map(|(r, c)| down(r, c)).chain(places().map(|(r, c)| right(r, c))).collect();
    assert_close(&found, &expected, 1e-5);
}

#[test]
fn sampling_outside_is_clamped_or_black() {
    let image = [1.0f32, 2.0, 3.0, 4.0];
    let at = |row: usize, column: usize| (row as f64 - 0.5, column as f64);
    assert_eq!(sampling::sampled(&image, [1, 2, 2], Outside::Border, at), [1.0, 2.0, 2.0, 3.0]);
    assert_eq!(sampling::sampled(&image, [1, 2, 2], Outside::Zero, at), [0.5, 1.0, 2.0, 3.0]);
}

/// Small balls around images of 3,072 pixels: each changed pixel is rounded, all in the same direction where pixels are equal.
#[test]
fn projected_points_stay_inside_in_float32() {
    let shape = [3, 32, 32];
    let count: usize = shape.iter().product();
    let noise = |i: usize| f32::from((i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]) / 255.0;
    let pixels = |value: &dyn Fn(usize) -> f32| (0..count).map(value).collect::<Vec<f32>>();
    let images = [pixels(&|_| 0.6), pixels(&noise), pixels(&|_| 1.0)];
    let changes = [pixels(&|_| -0.01), pixels(&|i| 0.3 * noise(i + 7) - 0.15), pixels(&|i| if i % 3 == 0 { -0.2 } else { 1e-4 })];
    for (name, radii) in [("linf", [0.003, 0.03, 0.3]), ("l2", [0.05, 0.5, 3.0]), ("l1", [0.1, 0.5, 12.0])] {
        for (eps, x0) in radii.iter().flat_map(|&eps| images.iter().map(move |x0| (eps, x0))) {
            for change in &changes {
                let x: Vec<f32> = x0.iter().zip(change).map(|(a, b)| a + b).collect();
                let sizes = [1, 3, 32, 32];
                let found = value_of(&[float(&sizes, &x), float(&sizes, x0)], |_, e| {
                    let [eps, lo, hi] = [eps, 0.0, 1.0].map(|v| e[0].scalar(v));
                    (norm(name).expect("a row").project)(e[0], Ball { x0: e[1], eps, lo, hi })
                });
                let found: Candidate = found.to_f64().into_iter().map(|v| v as f32).collect::<Vec<f32>>().into();
                let threat = model(&format!("{name}:{eps}")).on(shape);
                assert!(threat.contains(&found, x0), "{name}:{eps}: a distance of {:?}", threat.distance(&found, x0));
            }
        }
    }
}

/// Attacks ask which pixels the box stops: a pixel that is cut off by the box lies at its edge, not beside it.
#[test]
fn the_l1_projection_ends_at_the_edge_of_the_box() {
    let row = norm("l1").expect("a row");
    let x0: Vec<f32> = (0..64).map(|i| (i as f32 * 0.37).fract()).collect();
    let x: Vec<f32> = x0.iter().enumerate().map(|(i, v)| v + if i % 4 == 0 { 3.0 } else { 0.01 }).collect();
    let found = value_of(&[float(&[1, 1, 8, 8], &x), float(&[1, 1, 8, 8], &x0)], |_, e| {
        let [eps, lo, hi] = [9.0, 0.0, 1.0].map(|v| e[0].scalar(v));
        (row.project)(e[0], Ball { x0: e[1], eps, lo, hi })
    });
    let ended: Vec<f64> = found.to_f64().into_iter().step_by(4).collect();
    assert_eq!(ended, [1.0; 16]);
}
