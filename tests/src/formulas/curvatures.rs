//! Spectra of Hessians in the input and of the last layer where they are known on paper.

use super::geometry::{given, head, reduced, value};
use super::toy::{Toy, close, dot};
use crate::provision::engines;

/// z = (c·x_1, 0, 0)… of two classes: the Hessian of cross-entropy in x is p(1 − p)·c² at one place and 0 elsewhere. Every vector of signs
/// has the share 1/D along it, so that quadratures are exact.
#[test]
fn a_hessian_of_rank_one_has_its_density_and_its_soft_rank() {
    let toy = Toy::affine(&[[3.0, 0.0, 0.0, 0.0], [0.0; 4]], &[-1.0, 0.0]);
    let images = [vec![0.2, 0.9, 0.1, 0.5], vec![0.7, 0.3, 0.6, 0.4]];
    let batch = toy.batch(&images, &[0, 1]);
    let values: Vec<f64> = images
        .iter()
        .map(|x| {
            let p = 1.0 / (1.0 + (1.0 - 3.0 * x[0]).exp());
            9.0 * p * (1.0 - p)
        })
        .collect();
    for engine in engines() {
        let rank = reduced(&toy, &*engine, "soft-rank:of=input,steps=4,damping=0.5", "linf:0.1", &batch);
        let wanted: Vec<f64> = values.iter().map(|v| v / (v + 0.5)).collect();
        close("soft rank", given(&rank, "input_soft_rank"), &wanted, 1e-4);
        let found = reduced(&toy, &*engine, "hessian-density:of=input,steps=4", "linf:0.1", &batch);
        close("trace", given(&found, "input_hessian_density_trace"), &values, 1e-4);
        let square = values.iter().map(|v| v * v).sum::<f64>() / 2.0;
        close("square", &[value(&found, "input_hessian_density_square")], &[square], 1e-3);
        assert_eq!(value(&found, "input_hessian_density_negative_share"), 0.0, "{found:?}");
        let (name, x, y) = &found.curves[0];
        assert_eq!(name, "input_hessian_density");
        let step = x[1] - x[0];
        let mass =
            |from: f64, to: f64| x.iter().zip(y).filter(|(x, _)| (from..to).contains(*x)).map(|(_, y)| y * step).sum::<f64>();
        assert!((mass(-1.0, 100.0) - 1.0).abs() < 1e-6);
        // a quarter of the mass lies at the two values, three quarters at 0
        let apart = values.iter().map(|v| mass(v - 0.05, v + 0.05)).sum::<f64>();
        assert!((apart - 0.25).abs() < 0.01 && (mass(-0.05, 0.05) - 0.75).abs() < 0.02, "{apart}");
    }
}

/// The last layer: the moments of the density are the trace and ‖H‖² of the mean of (diag p − ppᵀ) ⊗ φφᵀ.
#[test]
fn the_density_of_the_last_layer_has_the_moments_of_its_hessian() {
    let w = vec![vec![1.0, -0.5], vec![-0.25, 0.75]];
    let toy = head(&w);
    let images = [vec![0.4, 0.6], vec![0.9, 0.1], vec![0.3, 0.2]];
    // two classes: H = mean q·[[1, −1], [−1, 1]] ⊗ φφᵀ with q = p₀p₁
    let q = |x: &[f64]| {
        let p = 1.0 / (1.0 + (dot(&w[1], x) - dot(&w[0], x)).exp());
        p * (1.0 - p)
    };
    let mut m = [[0.0; 2]; 2];
    for x in &images {
        (0..4).for_each(|k| m[k / 2][k % 2] += q(x) * x[k / 2] * x[k % 2] / 3.0);
    }
    let trace = 2.0 * (m[0][0] + m[1][1]);
    let square = 4.0 * m.iter().flatten().map(|v| v * v).sum::<f64>();
    for engine in engines() {
        let found = reduced(&toy, &*engine, "hessian-density:of=head", "linf:0.1", &toy.batch(&images, &[0, 1, 0]));
        close("trace", &[value(&found, "head_hessian_density_trace")], &[trace], 1e-5);
        close("‖H‖²", &[value(&found, "head_hessian_density_square")], &[square], 1e-5);
        assert!(found.values.iter().all(|v| !v.name.contains("negative")), "it has no negative eigenvalues");
    }
}
