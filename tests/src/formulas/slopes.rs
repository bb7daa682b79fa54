//! Local Lipschitz constants, units of gradients, clipped grids, paths to noise and normalised features where they are known on paper.

use flatscape_measure::attack::Batch;

use super::geometry::{given, head, reduced, reduced_with, value};
use super::toy::{LAST, LIN_TOY, Toy, boxed, close, dot, linear, norm, threat};
use crate::provision::engines;

fn l1(v: &[f64]) -> f64 {
    v.iter().map(|x| x.abs()).sum()
}

fn largest(v: &[f64]) -> f64 {
    v.iter().fold(0.0, |m: f64, x| m.max(x.abs()))
}

/// Where the slope is the same everywhere, sample and interval agree, the certified radius is the exact distance but for rounding, and
/// there is nothing to ascend.
#[test]
fn affine_models_have_one_slope_from_below_and_from_above() {
    let w = [[1.0, -2.0, 0.5, 0.25], [0.0, 1.0, 1.0, -1.0], [-1.0, 0.0, 0.25, 2.0]];
    let toy = Toy::affine(&w, &[2.0, 0.0, 0.1]);
    let x = [0.4, 0.6, 0.5, 0.3];
    let scores: Vec<f64> = w.iter().zip([2.0, 0.0, 0.1]).map(|(row, b)| dot(row, &x) + b).collect();
    let difference = |j: usize| (0..4).map(|i| w[0][i] - w[j][i]).collect::<Vec<f64>>();
    for engine in engines() {
        for (under, dual) in [("linf:0.3", l1 as fn(&[f64]) -> f64), ("l2:0.9", norm), ("l1:2", largest)] {
            let threat = threat(under);
            let batch = toy.batch(&[x.to_vec()], &[0]);
            let written = "lipschitz:points=10,ascent=3,interval=true";
            let found = toy.measure(&*engine, written, &threat, &batch);
            let most = dual(&difference(1)).max(dual(&difference(2)));
            close(under, &found.columns["lipschitz_interval"], &[most], 1e-4);
            assert!(found.columns["lipschitz_interval"][0] >= most * (1.0 - 1e-6), "{under}: not below");
            let distance = (1..3).map(|j| (scores[0] - scores[j]) / dual(&difference(j))).fold(threat.eps, f64::min);
            let radius = found.columns["lipschitz_radius"][0];
            assert!(radius <= distance && radius > 0.999 * distance, "{under}: {radius} of {distance}");
            let ascent = reduced(&toy, &*engine, written, under, &batch);
            assert!(value(&ascent, "lipschitz_ascent_mean").is_nan(), "nothing to ascend: {ascent:?}");
            // a misclassified image has no radius
            let wrong = toy.measure(&*engine, written, &threat, &toy.batch(&[x.to_vec()], &[2]));
            assert_eq!(wrong.columns["lipschitz_radius"], [0.0]);
        }
    }
}

/// z = (a·Σtanh(b(x_i − c_i)), 0): the slope is a·b·Σsech²(b(x_i − c_i)), largest at c, in the ball. The ascent reaches it, random points
/// do not, the bound by intervals is it.
#[test]
fn the_ascent_climbs_to_the_largest_slope_of_a_curved_model() {
    let (a, b) = (2.0, 6.0);
    let centre = [0.44, 0.58, 0.53, 0.41, 0.5, 0.56];
    let toy = Toy::new([1, 1, 6], move |x| {
        let shifted = linear(x, &(0..6).map(|i| (0..6).map(|j| if i == j { b } else { 0.0 }).collect()).collect::<Vec<_>>(), &{
            centre.map(|c| -b * c)
        });
        linear(shifted.unary("Tanh"), &[vec![a; 6], vec![0.0; 6]], &[0.0, 0.0])
    });
    let batch = toy.batch(&[vec![0.5; 6], vec![0.48; 6]], &[0, 1]);
    for engine in engines() {
        for (under, dual) in [("linf:0.12", 6.0), ("l2:0.3", 6f64.sqrt()), ("l1:0.5", 1.0)] {
            let written = "lipschitz:points=40,ascent=100,interval=true";
            let found = toy.measure(&*engine, written, &threat(under), &batch);
            let top = a * b * dual;
            let ascent = reduced(&toy, &*engine, written, under, &batch);
            let ascent = given(&ascent, "lipschitz_ascent").to_vec();
            for (i, ascent) in ascent.into_iter().enumerate() {
                let (sample, above) = (found.columns["lipschitz_sample"][i], found.columns["lipschitz_interval"][i]);
                assert!(ascent > 0.995 * top && ascent <= top * 1.00001, "{under}: {ascent} of {top}");
                assert!(sample <= ascent * 1.0001 || under == "l1:0.5", "{under}: {sample} above {ascent}");
                assert!(above >= top * 0.99999 && above <= 1.001 * top, "{under}: {above} of {top}");
            }
        }
    }
}

/// What has no slope is a sentence, and without the interval the metric runs.
#[test]
fn a_model_without_bounds_is_refused_by_the_operator() {
    use flatscape_measure::attack::AttackError;
    use flatscape_measure::metric::Metric;
    let toy = Toy::new([1, 1, 3], |x| linear(x, &LIN_TOY.map(|row| row.to_vec()), &[0.0, 0.0]).unary("Erf"));
    let [engine, _] = engines();
    let threat = threat("linf:0.1");
    let (component, program, arguments) = toy.program(flatscape_host::Kind::Metric, "lipschitz:interval=true", &threat, false);
    let error = Metric::compile(&*engine, &toy.link(&program, &threat, &arguments, false), &program, &component.id, 8);
    let Err(error @ AttackError::Link(_)) = error else { panic!("it has no bound") };
    let words = error.to_string();
    assert!(words.contains("`slope_bound`") && words.contains("Erf") && words.contains("has no rule for slopes"), "{words}");
    let found = toy.measure(&*engine, "lipschitz:points=5", &threat, &toy.batch(&[vec![0.5; 3]], &[0]));
    assert!(found.columns["lipschitz_sample"][0] > 0.0 && !found.columns.contains_key("lipschitz_interval"));
}

/// The model is fed u = (x − mean)/std: a gradient by u is that by x times std, channel by channel.
#[test]
fn gradients_per_unit_of_the_model_are_those_times_its_deviation() {
    let w: [[f64; 4]; 2] = [[1.0, -2.0, 0.5, 3.0], [0.5, 1.0, -1.0, 0.25]];
    let mut toy = Toy::new([2, 1, 2], move |x| linear(x, &w.map(|row| row.to_vec()), &[0.1, 0.0]));
    toy.units = vec![0.25, 0.5];
    let x = vec![0.3, 0.6, 0.2, 0.8];
    let batch = toy.batch(std::slice::from_ref(&x), &[0]);
    let z: Vec<f64> = (0..2).map(|k| dot(&w[k], &x) + [0.1, 0.0][k]).collect();
    let p0 = 1.0 / (1.0 + (z[1] - z[0]).exp());
    let unit = [0.25, 0.25, 0.5, 0.5];
    let mix = |a: f64, b: f64| -> Vec<f64> { (0..4).map(|i| (a * w[0][i] + b * w[1][i]) * unit[i]).collect() };
    let likely = mix(p0, 1.0 - p0);
    let loss = mix(p0 - 1.0, 1.0 - p0);
    let square: f64 = (0..2).flat_map(|k| (0..4).map(move |i| (w[k][i] * unit[i]).powi(2))).sum();
    for engine in engines() {
        let of = |written: &str, name: &str| toy.measure(&*engine, written, &threat("linf:0.1"), &batch).columns[name].clone();
        close("ams", &of("ams:grad-units=model", "ams"), &[-norm(&likely)], 1e-5);
        close("‖∇CE‖₁", &of("input-gradient:grad-units=model", "gradient_l1"), &[l1(&loss)], 1e-5);
        close("‖J‖²", &of("jacobian:grad-units=model", "jacobian_square"), &[square], 1e-5);
        // the grid of one point is the image, and the control has the same units
        close("Φ", &of("phi:grid=1,directions=1,grad-units=model", "phi_sum"), &[-norm(&likely)], 1e-5);
        // what is a length times a radius in pixels stays in pixels
        let plain = of("input-gradient", "first_order_increase");
        close("ε·‖∇‖", &of("input-gradient:grad-units=model", "first_order_increase"), &plain, 1e-6);
        let pixel = of("ams:grad-units=pixel", "ams");
        assert!((pixel[0] + norm(&likely)).abs() > 0.1, "the two units differ");
    }
    // without a card both are the same
    toy.units = Vec::new();
    let [engine, _] = engines();
    let both = ["ams", "ams:grad-units=model"].map(|w| toy.measure(&*engine, w, &threat("linf:0.1"), &batch).columns["ams"][0]);
    assert_eq!(both[0], both[1]);
}

/// A grid of ±ε around images on the faces of the box: half of the points leave it. A clipped grid has no point outside.
#[test]
fn clipped_grids_stay_in_the_box_and_say_what_moved() {
    // log p = LSE(w·x, −w·x) grows with |w·x|
    let toy = Toy::affine(&[[3.0; 4], [-3.0; 4]], &[0.0, 0.0]);
    let threat = boxed("linf:0.2");
    let (middle, face) = (toy.batch(&[vec![0.5; 4]], &[0]), toy.batch(&[vec![0.0; 4]], &[0]));
    for engine in engines() {
        let of = |written: &str, batch: &Batch| toy.measure(&*engine, written, &threat, batch);
        let [inside, open] = ["phi:grid=5,directions=1,clip=true", "phi:grid=5,directions=1"].map(|w| of(w, &middle));
        assert_eq!(inside.columns["phi_sum"], open.columns["phi_sum"], "nothing leaves the box");
        assert_eq!(inside.columns["phi_clipped"], [0.0]);
        assert!(!open.columns.contains_key("phi_clipped"));
        // of ε1·d + ε2·d⊥ half of the pixels move by ±(ε1 + ε2) and half by ±(ε1 − ε2): of 5×5 such sums 10 are below 0, 10 above
        let cut = of("phi:grid=5,directions=1,clip=true", &face);
        close("Φ", &cut.columns["phi_clipped"], &[10.0 / 25.0], 1e-6);
        let drawn = of("likelihood-landscape:grid=5,clip=true", &face);
        close("landscape", &drawn.columns["clipped"], &[10.0 / 25.0], 1e-6);
        let free = of("likelihood-landscape:grid=5", &face);
        let (cut, free) = (&drawn.surfaces["delta_logp"][0], &free.surfaces["delta_logp"][0]);
        assert_eq!(cut[12], 0.0, "the middle is the image");
        assert!(cut.iter().zip(free).any(|(a, b)| (a - b).abs() > 1e-3), "points outside are moved");
    }
}

/// The published bound: with φ the identity, L is 1 and the bound is δ²κ/(2r²) + δ³·k·m/(24r³). It has no term of first order, and points
/// in the direction of the gradient grow beyond it; the three of this metric hold there.
#[test]
fn the_published_bound_is_what_its_formula_says_and_is_no_bound() {
    let w = vec![vec![1.0, 0.5, -0.5], vec![-1.0, 0.25, 0.5]];
    let toy = head(&w);
    let clean = [0.4, 0.3, 0.2];
    let kappa = {
        let z: Vec<f64> = w.iter().map(|row| dot(row, &clean)).collect();
        let p = 1.0 / (1.0 + (z[1] - z[0]).exp());
        w.iter().flatten().map(|v| v * v).sum::<f64>() * dot(&clean, &clean) * 2.0 * p * (1.0 - p)
    };
    // towards −(w_0 − w_1): the loss of class 0 grows
    let against: Vec<f64> = (0..3).map(|i| w[1][i] - w[0][i]).collect();
    let (r, steps) = (norm(&clean), [0.0, 0.01, 0.05, 0.2]);
    let moved: Vec<Vec<f64>> =
        steps.iter().map(|s| (0..3).map(|i| clean[i] + s * against[i] / norm(&against)).collect()).collect();
    let mut batch = toy.batch(&moved, &[0; 4]);
    batch.clean = Some(toy.batch(&vec![clean.to_vec(); 4], &[0; 4]).x0);
    let wanted: Vec<f64> =
        steps.iter().map(|d: &f64| d * d * kappa / (2.0 * r * r) + d.powi(3) * 6.0 / (24.0 * r.powi(3))).collect();
    for engine in engines() {
        let found = toy.measure(&*engine, "relative-flatness:bounds=true", &threat("l2:0.2"), &batch).columns;
        for (found, wanted) in found["bound_s2"].iter().zip(&wanted) {
            assert!((found - wanted).abs() <= 1e-4 * wanted.max(1e-6), "{found} is not {wanted}");
        }
        for (k, grown) in found["loss_increase"].iter().enumerate().skip(1) {
            assert!(*grown > found["bound_s2"][k], "it does not bound the growth {grown}");
            for name in ["bound_variance", "bound_range", "bound_flatness"] {
                assert!(*grown <= found[name][k] + 1e-7, "{name}");
            }
        }
    }
}

/// Features φ/σ and weights W∘σ answer the same: values of normalised features do not change where a feature is scaled against its weights,
/// and are those of the plain metric where every feature varies by 1.
#[test]
fn normalised_features_do_not_know_the_scale_of_a_feature() {
    let w = vec![vec![1.0, -0.5, 0.3], vec![0.2, 0.8, -0.6], vec![-0.7, 0.1, 0.9]];
    let images: Vec<Vec<f64>> = (0..8).map(|k| (0..3).map(|i| if k >> i & 1 == 0 { 1.0 } else { -1.0 }).collect()).collect();
    let labels = [0; 8];
    let measured = |scale: [f64; 3], written: &str, engine: &dyn flatscape_engine::Engine| {
        let weights: Vec<Vec<f64>> = w.iter().map(|row| (0..3).map(|i| row[i] / scale[i]).collect()).collect();
        let toy = head(&weights);
        let moved: Vec<Vec<f64>> = images.iter().map(|x| (0..3).map(|i| x[i] * scale[i]).collect()).collect();
        let flat: Vec<f32> = weights.iter().flatten().map(|&v| v as f32).collect();
        reduced_with(&toy, engine, written, "linf:0.1", &toy.batch(&moved, &labels), Some((3, flat, vec![0f32; 3])))
    };
    for engine in engines() {
        // every feature is ±1: its deviation is 1
        let toy = head(&w);
        let plain = toy.measure(&*engine, "relative-flatness", &threat("linf:0.1"), &toy.batch(&images, &labels)).columns;
        let unit = measured([1.0; 3], "relative-flatness:normalise-features=std", &*engine);
        close("petzka", given(&unit, "rel_petzka_normalised"), &plain["rel_petzka"], 1e-5);
        close("s2", given(&unit, "rel_s2_normalised"), &plain["rel_s2"], 1e-5);
        assert_eq!(value(&unit, "rel_constant_features"), 0.0);
        let scaled = measured([4.0, 0.25, 2.0], "relative-flatness:normalise-features=std", &*engine);
        close("scaled", given(&scaled, "rel_petzka_normalised"), given(&unit, "rel_petzka_normalised"), 1e-5);
        close("scaled", given(&scaled, "rel_s2_normalised"), given(&unit, "rel_s2_normalised"), 1e-5);
        // a feature of ±4 has the variance 16: it becomes ±1/4, and its weight 16 times what it was, which is a quarter of w
        let variance = measured([4.0, 1.0, 1.0], "relative-flatness:normalise-features=variance", &*engine);
        let whole = |first: f64| w.iter().flat_map(|row| [first * row[0], row[1], row[2]]).map(|v| v * v).sum::<f64>();
        let factor = whole(4.0) / whole(1.0) * (1.0 / 16.0 + 2.0) / 3.0;
        let wanted: Vec<f64> = plain["rel_s2"].iter().map(|v| v * factor).collect();
        close("variance", given(&variance, "rel_s2_normalised"), &wanted, 1e-5);
        let augmented = measured([1.0; 3], "relative-flatness:normalise-features=std,augment=true", &*engine);
        let wanted: Vec<f64> = plain["rel_s2"].iter().map(|v| v * 4.0 / 3.0).collect();
        close("one feature more, of size 1", given(&augmented, "rel_s2_normalised"), &wanted, 1e-5);
    }
}

/// The path to noise is straight, its points are evenly apart, and its length is that of the longest vector of the ball.
#[test]
fn a_path_to_noise_is_straight_and_as_long_as_asked() {
    let toy = Toy::affine(&[[1.0; 6], [-1.0; 6]], &[0.0, 0.0]);
    let batch = toy.batch(&[vec![0.5; 6], vec![0.4; 6]], &[0, 1]);
    let [engine, _] = engines();
    for (under, length) in [("linf:0.02", 0.02 * 6f64.sqrt()), ("l2:0.1", 0.1), ("l1:0.1", 0.1)] {
        let at = |steps: u32| {
            let written = format!("noise-path:steps={steps},to=radius");
            let found = toy.attack(&*engine, &written, &boxed(under), &batch, LAST);
            found.into_iter().map(|p| p.point.expect("a point")).collect::<Vec<_>>()
        };
        let (one, four) = (at(1), at(4));
        for (sample, start) in [0.5, 0.4].into_iter().enumerate() {
            let moved: Vec<f64> = one[sample].iter().map(|v| f64::from(*v) - start).collect();
            assert!((norm(&moved) - length).abs() < 1e-5, "{under}: {} is not {length}", norm(&moved));
            assert!(one[sample].iter().zip(&four[sample]).all(|(a, b)| (a - b).abs() < 1e-6), "one end, however many steps");
        }
        assert_ne!(one[0].iter().map(|v| v - 0.5).collect::<Vec<_>>(), one[1].iter().map(|v| v - 0.4).collect::<Vec<_>>());
    }
    let found = toy.attack(&*engine, "noise-path", &boxed("linf:0.1"), &batch, LAST);
    let points: Vec<f32> = found.into_iter().flat_map(|p| p.point.expect("a point")).collect();
    assert!(points.iter().all(|v| (0.0..=1.0).contains(v)) && points.iter().any(|v| (v - 0.5).abs() > 0.15), "{points:?}");
}
