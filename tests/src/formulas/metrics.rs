//! logp, ams and phi where they are known on paper.

use super::toy::{LIN_TOY, Toy, close, dot, norm, threat};
use crate::provision::engines;

fn column(toy: &Toy, engine: &dyn flatscape_engine::Engine, metric: &str, name: &str, images: &[Vec<f64>]) -> Vec<f64> {
    let labels = vec![0; images.len()];
    let measured = toy.measure(engine, metric, &threat("linf:0.1"), &toy.batch(images, &labels));
    measured.columns[name].clone()
}

#[test]
fn logp_is_log_sum_exp_of_the_logits() {
    for engine in engines() {
        let of = |x: [f64; 2], shift: f64| {
            let toy = Toy::affine(&[[1.0, 0.0], [0.0, 1.0]], &[shift, shift]);
            column(&toy, &*engine, "logp", "logp", &[x.to_vec()])[0]
        };
        close("LSE(0, ln 3)", &[of([0.0, 3f64.ln()], 0.0)], &[4f64.ln()], 1e-6);
        close("LSE(1000, 1000)", &[of([1000.0, 1000.0], 0.0)], &[1000.0 + 2f64.ln()], 1e-3);
        close("LSE(-1000, -1000)", &[of([-1000.0, -1000.0], 0.0)], &[-1000.0 + 2f64.ln()], 1e-3);
        close("a constant on all logits", &[of([0.3, -0.2], 7.0) - of([0.3, -0.2], 0.0)], &[7.0], 2e-6);
    }
}

#[test]
fn ams_is_minus_the_norm_of_the_gradient_of_logp() {
    for engine in engines() {
        let ams = |toy: &Toy, image: &[f64]| column(toy, &*engine, "ams", "ams", &[image.to_vec()])[0];
        close("LinToy", &[ams(&Toy::lin(), &[0.5; 3])], &[-2.879_016_93], 1e-5);

        let w = [2.0, -1.0, 0.5, 3.0];
        let binary = Toy::affine(&[w, [0.0; 4]], &[0.0, 0.0]);
        for x in [[0.5, 0.5, 0.5, 0.5], [0.9, 0.1, 0.0, 0.3], [0.0, 1.0, 1.0, 0.0], [0.0; 4]] {
            let sigma = 1.0 / (1.0 + (-dot(&w, &x)).exp());
            close("σ(w·x)‖w‖", &[ams(&binary, &x)], &[-sigma * norm(&w)], 1e-5);
        }
        // shifting all logits changes nothing, and a constant classifier is flat
        let shifted = Toy::affine(&LIN_TOY, &[13.0, 13.0]);
        close("shifted", &[ams(&shifted, &[0.5; 3])], &[-2.879_016_93], 1e-5);
        assert_eq!(ams(&Toy::affine(&[[0.0; 3]; 2], &[1.0, 2.0]), &[0.5; 3]), 0.0);
    }
}

/// Where no formula is at hand: central differences of the metric `logp` itself.
#[test]
fn ams_agrees_with_differences_of_logp() {
    let toy = Toy::curved();
    let x: Vec<f64> = (0..12).map(|i| 0.5 + 0.4 * (1.3 * f64::from(i)).sin()).collect();
    let step = 1.0 / 64.0;
    let moved = |i: usize, by: f64| x.iter().enumerate().map(|(j, v)| if i == j { v + by } else { *v }).collect::<Vec<f64>>();
    let around: Vec<Vec<f64>> = (0..12).flat_map(|i| [moved(i, step), moved(i, -step)]).collect();
    for engine in engines() {
        let logp = column(&toy, &*engine, "logp", "logp", &around);
        let gradient: Vec<f64> = logp.chunks(2).map(|pair| (pair[0] - pair[1]) / (2.0 * step)).collect();
        let ams = column(&toy, &*engine, "ams", "ams", std::slice::from_ref(&x));
        close("curved", &ams, &[-norm(&gradient)], 5e-3 * norm(&gradient));
    }
}

#[test]
fn phi_of_an_affine_log_likelihood_is_the_number_of_points_times_the_norm() {
    let w = [2.0, -1.0, 0.5, 3.0];
    let one = Toy::affine(&[w], &[0.25]);
    // a gap of 60 nats: softmax is one-hot in single precision
    let sure = Toy::affine(&[w, [0.0; 4]], &[60.0, 0.0]);
    for engine in engines() {
        for toy in [&one, &sure] {
            for (grid, extent, directions) in [(1, "0.1", 1), (3, "0.05", 2), (5, "0.4", 1), (7, "auto", 3)] {
                let written = format!("phi:grid={grid},extent={extent},directions={directions}");
                let batch = toy.batch(&[vec![0.5; 4], vec![0.1, 0.9, 0.3, 0.0]], &[0, 0]);
                let found = toy.measure(&*engine, &written, &threat("linf:0.1"), &batch).columns;
                let points = f64::from(grid * grid);
                close(&written, &found["phi_mean"], &[-norm(&w); 2], 1e-5);
                close(&written, &found["phi_sum"], &[-points * norm(&w); 2], 1e-5 * points);
            }
        }
    }
}

/// log p = −a‖x−x₀‖²/2 has s = −a√D·√(ε₁²+ε₂²) on the grid of an exactly orthogonal pair of sign vectors.
#[test]
fn phi_of_a_quadratic_log_likelihood_has_its_closed_form() {
    let a = 1.0;
    let toy = Toy::new([3, 32, 32], move |x| {
        let away = x - 0.5;
        (away * away).sum(&[1], true) * (-a / 2.0)
    });
    let batch = toy.batch(&[toy.grey(0.5)], &[0]);
    for engine in engines() {
        let found = toy.measure(&*engine, "phi:grid=21,extent=0.1,directions=1", &threat("linf:0.1"), &batch).columns;
        close("phi_mean", &found["phi_mean"], &[-4.449_037], 2e-5);
        close("phi_sum", &found["phi_sum"], &[-1962.0253], 1e-2);
    }
}

#[test]
fn metrics_on_both_engines_agree() {
    let toy = Toy::curved();
    let images: Vec<Vec<f64>> = (0..5).map(|k| (0..12).map(|i| 0.5 + 0.4 * f64::from(i * 7 + k * 3).sin()).collect()).collect();
    let batch = toy.batch(&images, &[0, 1, 2, 0, 1]);
    for written in
        ["logp", "ams", "phi:grid=5,directions=2", "likelihood-landscape:grid=5", "likelihood-landscape:grid=5,directions=fgsm"]
    {
        let [a, b] = engines().map(|engine| toy.measure(&*engine, written, &threat("linf:0.1"), &batch));
        assert_eq!(a.columns.keys().collect::<Vec<_>>(), b.columns.keys().collect::<Vec<_>>());
        for (name, column) in &a.columns {
            let scale = column.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
            close(&format!("{written}: {name}"), column, &b.columns[name], 1e-5 * scale);
        }
        for (name, surfaces) in &a.surfaces {
            close(&format!("{written}: {name}"), &surfaces.concat(), &b.surfaces[name].concat(), 1e-5);
        }
    }
}

/// 1 for equal images; the formula for constants; scikit-image 0.26 and NumPy for waves, with the settings of each preset.
#[test]
fn ssim_is_that_of_its_presets() {
    let shape = [3, 16, 16];
    let toy = Toy::new(shape, |x| super::toy::linear(x, &[vec![0.01; 768], vec![0.0; 768]], &[0.0, 0.0]));
    let wave = |i: usize| 0.5 + 0.3 * (0.7 * i as f64).sin();
    let x: Vec<f64> = (0..768).map(wave).collect();
    let y: Vec<f64> = (0..768).map(|i| wave(i) + 0.1 * (1.9 * i as f64).cos()).collect();
    let flat = |value: f64| vec![value; 768];
    let golden = [
        ("wang2004", 0.947_285_342_566_372_2),
        ("skimage", 0.947_670_115_481_768_3),
        ("s1", 0.949_081_647_794_927),
        ("pytorch_ssim", 0.963_045_599_623_046_5),
    ];
    for engine in engines() {
        for (preset, expected) in golden {
            let of = |at: &[f64], clean: &[f64]| {
                let mut batch = toy.batch(&[at.to_vec()], &[0]);
                batch.clean = Some(toy.batch(&[clean.to_vec()], &[0]).x0);
                toy.measure(&*engine, &format!("ssim:preset={preset}"), &threat("linf:0.1"), &batch).columns["ssim"][0]
            };
            close(&format!("{preset}, waves"), &[of(&x, &y), of(&y, &x)], &[expected; 2], 1e-7);
            close(&format!("{preset}, equal"), &[of(&x, &x)], &[1.0], 1e-12);
            assert!(of(&x, &y) <= 1.0);
        }
        let mut batch = toy.batch(&[flat(0.2)], &[0]);
        batch.clean = Some(toy.batch(&[flat(0.6)], &[0]).x0);
        let found = toy.measure(&*engine, "ssim", &threat("linf:0.1"), &batch).columns;
        close("constants", &found["ssim"], &[(2.0 * 0.12 + 1e-4) / (0.4 + 1e-4)], 1e-7);
        assert!(found["one_minus_ssim_of_broken"][0].is_nan(), "nothing is broken");
    }
}

/// 1 − SSIM counts where the image is right and the point is wrong, and nowhere else.
#[test]
fn dissimilarity_is_that_of_broken_samples() {
    let toy = Toy::new([1, 8, 8], |x| super::toy::linear(x, &[vec![1.0 / 64.0; 64], vec![0.0; 64]], &[0.0, 0.5]));
    let flat = |value: f64| vec![value; 64];
    for engine in engines() {
        let mut batch = toy.batch(&[flat(0.4), flat(0.6), flat(0.4), flat(0.3)], &[0; 4]);
        batch.clean = Some(toy.batch(&[flat(0.6), flat(0.7), flat(0.45), flat(0.6)], &[0; 4]).x0);
        let found = toy.measure(&*engine, "ssim:preset=s1", &threat("linf:0.3"), &batch).columns;
        let of = |a: f64, b: f64| 1.0 - (2.0 * a * b + 4e-4) / (a * a + b * b + 4e-4);
        let broken = &found["one_minus_ssim_of_broken"];
        close("broken", &[broken[0], broken[3]], &[of(0.4, 0.6), of(0.3, 0.6)], 1e-6);
        assert!(broken[1].is_nan() && broken[2].is_nan(), "held, and wrong from the start: {broken:?}");
    }
}
