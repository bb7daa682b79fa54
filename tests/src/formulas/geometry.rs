//! Jacobians, relative flatness, slopes, smoothing and neural collapse where they are known on paper.

use flatscape_host::{Kind, Reduced, Table, Task};
use flatscape_measure::attack::Batch;
use flatscape_measure::request::Request;

use super::toy::{LIN_TOY, Toy, boxed, close, dot, norm, threat};
use crate::provision::{engines, plugins};

type Columns = std::collections::BTreeMap<String, Vec<f64>>;

fn columns(toy: &Toy, engine: &dyn flatscape_engine::Engine, written: &str, under: &str, batch: &Batch) -> Columns {
    toy.measure(engine, written, &threat(under), batch).columns
}

/// What a metric says about the whole batch.
pub(super) fn reduced(toy: &Toy, engine: &dyn flatscape_engine::Engine, written: &str, under: &str, batch: &Batch) -> Reduced {
    reduced_with(toy, engine, written, under, batch, None)
}

pub(super) type Head = Option<(usize, Vec<f32>, Vec<f32>)>;

pub(super) fn reduced_with(
    toy: &Toy,
    engine: &dyn flatscape_engine::Engine,
    written: &str,
    under: &str,
    batch: &Batch,
    head: Head,
) -> Reduced {
    let threat = threat(under);
    let readings = toy.measure(engine, written, &threat, batch);
    let column = |(name, values): (String, Vec<f64>)| (format!("col_{name}"), 1, values);
    let vector = |(name, rows): (String, Vec<Vec<f64>>)| (format!("vec_{name}"), rows[0].len(), rows.concat());
    let rows = readings.columns.into_iter().map(column).chain(readings.vectors.into_iter().map(vector)).collect();
    let id = batch.ids.iter().map(|&id| id as i64).collect();
    let table = Table { id, y: batch.y.clone(), prediction: batch.y.clone(), rows, head };
    let request = Request::parse(written).expect(written);
    let component = plugins().component(Kind::Metric, &request.id).expect(written);
    let arguments = component.arguments(&request.arguments).expect(written);
    let task = Task::new(toy.shape, toy.classes, threat.norm.name, threat.eps);
    plugins().reduce(component, &arguments, &task, &table).expect(written)
}

pub(super) fn value(reduced: &Reduced, name: &str) -> f64 {
    reduced.values.iter().find(|v| v.name == name).unwrap_or_else(|| panic!("no value {name}: {reduced:?}")).value
}

pub(super) fn given<'r>(reduced: &'r Reduced, name: &str) -> &'r [f64] {
    &reduced.columns.iter().find(|c| c.0 == name).unwrap_or_else(|| panic!("no column {name}: {reduced:?}")).1
}

#[test]
fn the_gradient_of_cross_entropy_has_its_norms() {
    let toy = Toy::lin();
    let batch = toy.batch(&[vec![0.5; 3]], &[0]);
    // (p − e_y)ᵀW at LinToy
    let gradient = [-0.924_141_82, 2.772_425_46, 2.772_425_46];
    let l1: f64 = gradient.iter().map(|v: &f64| v.abs()).sum();
    for engine in engines() {
        for (under, dual) in [("linf:0.1", l1), ("l2:0.1", norm(&gradient)), ("l1:0.1", 2.772_425_46)] {
            let found = columns(&toy, &*engine, "input-gradient", under, &batch);
            close("l1", &found["gradient_l1"], &[l1], 1e-6);
            close("l2", &found["gradient_l2"], &[norm(&gradient)], 1e-6);
            close("linf", &found["gradient_linf"], &[2.772_425_46], 1e-6);
            close(under, &found["first_order_increase"], &[0.1 * dual], 1e-7);
        }
    }
}

/// LinToy: ‖J‖² = 15, ‖J^w‖² = 8.56915335, ‖∇LSE‖² = 8.28873849 ≤ 17.1383; σ = 3.27132421. Equality of the bound where all rows are
/// alike and p is uniform; a uniform p gives ‖J‖²/C², a one-hot p ‖J_y‖².
#[test]
fn the_jacobian_has_its_norms_and_bounds() {
    for engine in engines() {
        let lin = Toy::lin();
        let batch = lin.batch(&[vec![0.5; 3]], &[0]);
        let found = columns(&lin, &*engine, "jacobian", "linf:0.1", &batch);
        close("‖J‖²", &found["jacobian_square"], &[15.0], 1e-5);
        close("‖J^w‖²", &found["weighted_square"], &[8.569_153_35], 1e-5);
        close("‖Jᵀp‖²", &found["mass_square"], &[8.288_738_49], 1e-5);
        close("C‖J^w‖²", &found["mass_bound"], &[2.0 * 8.569_153_35], 1e-5);
        assert!(found["mass_square"][0] <= found["mass_bound_jensen"][0] && found["mass_bound_jensen"][0] <= 15.0);
        let spectra = reduced(&lin, &*engine, "jacobian", "linf:0.1", &batch);
        close("σ", given(&spectra, "spectral_norm"), &[3.271_324_21], 1e-6);
        // one row of differences: w_1 − w_0
        let apart = norm(&[-1.0, 3.0, 3.0]);
        close("σ of J_j − J_y", given(&spectra, "spectral_norm_of_differences"), &[apart], 1e-6);

        let alike = Toy::affine(&[[1.0, -2.0]; 3], &[0.0; 3]);
        let batch = alike.batch(&[vec![0.5; 2]], &[0]);
        let found = columns(&alike, &*engine, "jacobian", "linf:0.1", &batch);
        close("equality", &found["mass_square"], &found["mass_bound"], 1e-5);
        close("uniform p", &found["weighted_square"], &[15.0 / 9.0], 1e-5);
        let sure = Toy::affine(&LIN_TOY, &[80.0, 0.0]);
        let found = columns(&sure, &*engine, "jacobian", "linf:0.1", &sure.batch(&[vec![0.5; 3]], &[0]));
        close("one-hot p", &found["weighted_square"], &[5.0], 1e-5);
    }
}

/// The estimate is unbiased with the factor C: without it, it would be off by 1/C.
#[test]
fn random_projections_estimate_the_norm_of_the_jacobian() {
    let toy = Toy::lin();
    let batch = toy.batch(&vec![vec![0.5; 3]; 40], &[0; 40]);
    let [engine, _] = engines();
    let found = columns(&toy, &*engine, "jacobian:n-proj=500", "linf:0.1", &batch);
    let mean = found["jacobian_square"].iter().sum::<f64>() / 40.0;
    // Var = 2/(C+2)·(C·tr A² − (tr A)²) with A = JJᵀ: 20,000 draws, within five standard errors
    let variance: f64 = 2.0 / 4.0 * (2.0 * (25.0 + 100.0 + 8.0) - 225.0);
    assert!((mean - 15.0).abs() < 5.0 * (variance / 20_000.0).sqrt(), "{mean}");
}

/// W as the last layer of one feature map z = Wφ(x) with φ = x.
pub(super) fn head(weights: &[Vec<f64>]) -> Toy {
    let weights = weights.to_vec();
    let width = weights[0].len();
    Toy::new([1, 1, width], move |x| super::toy::linear(x, &weights, &vec![0.0; weights.len()]))
}

#[test]
fn relative_flatness_of_paper() {
    for engine in engines() {
        let two = head(&[vec![1.0], vec![-1.0]]);
        let found = columns(&two, &*engine, "relative-flatness:uncanny=true", "linf:0.1", &two.batch(&[vec![1.0]], &[0]));
        close("Tr H", &found["head_trace"], &[0.209_987_17], 1e-7);
        close("rel_petzka", &found["rel_petzka"], &[0.419_974_34], 1e-7);
        close("rel_s2", &found["rel_s2"], &[0.419_974_34], 1e-7);
        close("rel_uncanny", &found["rel_uncanny"], &[0.296_966_70], 1e-7);
        let more = columns(&two, &*engine, "relative-flatness:augment=true", "linf:0.1", &two.batch(&[vec![1.0]], &[0]));
        close("augmented", &more["head_trace"], &[0.419_974_34], 1e-7);

        let identity: Vec<Vec<f64>> = (0..4).map(|i| (0..4).map(|j| f64::from(u8::from(i == j))).collect()).collect();
        let four = head(&identity);
        let found = columns(&four, &*engine, "relative-flatness", "linf:0.1", &four.batch(&[vec![1.0; 4]], &[0]));
        close("K = 4", &[found["head_trace"][0], found["rel_petzka"][0], found["rel_s2"][0]], &[3.0, 3.0, 12.0], 1e-6);

        // sure: the sum form does not cancel. 2·(1 − p) = 2·e^{−20} to first order
        let sure = columns(&two, &*engine, "relative-flatness", "linf:0.1", &two.batch(&[vec![10.0]], &[0]));
        let wanted = 100.0 * 2.0 * (-20f64).exp();
        close("sure", &[sure["head_trace"][0] / wanted], &[1.0], 1e-6);
    }
}

/// All three bounds hold at random points, and are equalities at the image itself.
#[test]
fn the_bounds_on_the_growth_of_the_loss_hold() {
    let waves = |rows: usize, columns: usize| -> Vec<Vec<f64>> {
        (0..rows).map(|i| (0..columns).map(|j| 1.5 * (0.3 + 1.7 * i as f64 + 2.9 * j as f64).sin()).collect()).collect()
    };
    let toy = head(&waves(5, 6));
    let count = 400;
    let image = |k: usize, by: f64| (0..6).map(|i| 0.5 + by * (0.9 * (k * 6 + i) as f64).sin()).collect::<Vec<f64>>();
    let clean: Vec<Vec<f64>> = (0..count).map(|k| image(k, 0.4)).collect();
    let moved: Vec<Vec<f64>> = (0..count)
        .map(|k| clean[k].iter().zip(image(7 * k + 3, 1.0)).map(|(x, d)| x + (k % 20) as f64 / 10.0 * (d - 0.5)).collect())
        .collect();
    let labels: Vec<i64> = (0..count as i64).map(|k| k % 5).collect();
    let mut batch = toy.batch(&moved, &labels);
    batch.clean = Some(toy.batch(&clean, &labels).x0);
    for engine in engines() {
        let found = columns(&toy, &*engine, "relative-flatness:bounds=true", "linf:0.1", &batch);
        let mut tight = 0;
        for (k, &grown) in found["loss_increase"].iter().enumerate() {
            for bound in ["bound_variance", "bound_range", "bound_flatness"] {
                assert!(grown <= found[bound][k] + 1e-6, "{bound} at {k}: {grown} > {}", found[bound][k]);
                if k % 20 == 0 {
                    assert!(found[bound][k].abs() < 1e-6, "{bound} at the image: {}", found[bound][k]);
                }
            }
            tight += usize::from(found["bound_variance"][k] - grown < 0.05);
        }
        assert!(tight > count / 20, "the bound says something: {tight}");
    }
}

/// Affine models have one slope everywhere: the constant is the dual norm, CLEVER the exact distance, and their spectra are equal.
#[test]
fn slopes_of_affine_models_are_exact() {
    let w = [[1.0, -2.0, 0.5, 0.25], [0.0, 1.0, 1.0, -1.0], [-1.0, 0.0, 0.25, 2.0]];
    let toy = Toy::affine(&w, &[2.0, 0.0, 0.1]);
    let x = [0.4, 0.6, 0.5, 0.3];
    let scores: Vec<f64> = w.iter().zip([2.0, 0.0, 0.1]).map(|(row, b)| dot(row, &x) + b).collect();
    let difference = |j: usize| (0..4).map(|i| w[0][i] - w[j][i]).collect::<Vec<f64>>();
    for engine in engines() {
        for (under, dual) in [
            ("linf:0.1", (|v| v.iter().map(|x: &f64| x.abs()).sum()) as fn(&[f64]) -> f64),
            ("l2:0.1", norm),
            ("l1:0.1", |v| v.iter().fold(0.0, |m: f64, x| m.max(x.abs()))),
        ] {
            let batch = toy.batch(&[x.to_vec()], &[0]);
            let rival = if scores[1] > scores[2] { 1 } else { 2 };
            let slope = dual(&difference(rival));
            let found = columns(&toy, &*engine, "lipschitz:points=20", under, &batch);
            close(under, &found["lipschitz_sample"], &[slope], 1e-5);
            close(under, &found["margin_over_slope"], &[(scores[0] - scores[rival]) / slope], 1e-5);
            let distance = (1..3).map(|j| (scores[0] - scores[j]) / dual(&difference(j))).fold(f64::INFINITY, f64::min);
            let clever = reduced(&toy, &*engine, "clever:batches=4,points=5,radius=5", under, &batch);
            close(under, given(&clever, "clever"), &[distance.min(5.0)], 1e-5);
            let near = reduced(&toy, &*engine, "clever:batches=4,points=5,radius=0.01", under, &batch);
            close("never more than the radius", given(&near, "clever"), &[0.01], 1e-6);
        }
        // misclassified: nothing is left
        let wrong = toy.batch(&[x.to_vec()], &[2]);
        close("wrong", given(&reduced(&toy, &*engine, "clever:batches=4,points=5", "l2:0.1", &wrong), "clever"), &[0.0], 0.0);
    }
}

/// A linear classifier w·x of two classes smoothed by noise has the radius |w·x|/‖w‖ where the count is exact.
#[test]
fn the_smoothed_radius_approaches_the_distance_of_a_plane() {
    let toy = Toy::affine(&[[1.0, -0.5, 0.3], [0.0; 3]], &[0.0; 2]);
    let x = [0.5, 0.2, 0.1];
    let distance = dot(&[1.0, -0.5, 0.3], &x) / norm(&[1.0, -0.5, 0.3]);
    let batch = toy.batch(&[x.to_vec(), x.to_vec()], &[0, 1]);
    let [engine, _] = engines();
    let found = reduced(&toy, &*engine, "smoothing:sigma=0.5,n=20000,n0=50", "l2:0.1", &batch);
    let radii = given(&found, "smoothing_radius");
    assert!(radii[0] < distance && radii[0] > distance - 0.05, "{radii:?}, distance {distance}");
    assert_eq!(radii[1], 0.0, "a wrong class has no radius");
    close("accuracy", &[value(&found, "smoothed_accuracy"), value(&found, "smoothing_certified_accuracy")], &[0.5, 0.5], 0.0);
    // on the plane itself it abstains
    let on = toy.batch(&[vec![0.0; 3]], &[0]);
    let found = reduced(&toy, &*engine, "smoothing:sigma=0.5,n=1000,n0=50", "l2:0.1", &on);
    close("abstains", &[value(&found, "smoothing_abstained"), given(&found, "smoothing_radius")[0]], &[1.0, 0.0], 0.0);
}

/// The class means of a simplex, W its transpose: all is collapsed. Isotropic noise σ gives NC1 = σ²(C−1)²/(Cρ²).
#[test]
fn neural_collapse_of_a_simplex() {
    let c = 5;
    let scale = 2.5 / (1.0 - 1.0 / c as f64).sqrt();
    let vertex = |k: usize| (0..c).map(|i| scale * (f64::from(u8::from(i == k)) - 1.0 / c as f64)).collect::<Vec<f64>>();
    let weights: Vec<Vec<f64>> = (0..c).map(vertex).collect();
    let toy = head(&weights);
    let last = || Some((c, weights.iter().flatten().map(|&v| v as f32).collect(), vec![0f32; c]));
    let sigma = 0.1;
    // noise of covariance σ² in every direction: ±σ√c along each axis
    let noise = |k: usize, i: usize| match k {
        k if k / 2 == i => sigma * (c as f64).sqrt() * if k % 2 == 0 { 1.0 } else { -1.0 },
        _ => 0.0,
    };
    let labels: Vec<i64> = (0..c * 2 * c).map(|n| (n / (2 * c)) as i64).collect();
    let images = |size: f64| -> Vec<Vec<f64>> {
        (0..c * 2 * c)
            .map(|n| vertex(n / (2 * c)).iter().enumerate().map(|(i, v)| v + size * noise(n % (2 * c), i)).collect())
            .collect()
    };
    for engine in engines() {
        let exact = reduced_with(&toy, &*engine, "neural-collapse", "linf:0.1", &toy.batch(&images(0.0), &labels), last());
        for name in ["nc1", "nc2_equinorm_means", "nc2_equinorm_weights", "nc2_equiangularity", "nc2_maximal_angle", "nc3", "nc4"]
        {
            assert!(value(&exact, name).abs() < 1e-6, "{name}: {}", value(&exact, name));
        }
        let noisy = reduced_with(&toy, &*engine, "neural-collapse", "linf:0.1", &toy.batch(&images(1.0), &labels), last());
        close("NC1", &[value(&noisy, "nc1")], &[0.005_12], 1e-6);
        assert!(noisy.values.iter().all(|v| !v.name.contains("clean")), "the points are the images");
    }
}

/// The histograms of a data set: the same images under no perturbation overlap wholly; a model whose log p moves by more than its
/// range overlaps with none.
#[test]
fn log_likelihoods_of_perturbed_images_are_compared() {
    // LSE = |Σ(x − ½)|·100 here, roughly: any sign vector moves it
    let toy = Toy::affine(&[[400.0; 4], [-400.0; 4]], &[-800.0, 800.0]);
    let images: Vec<Vec<f64>> = (0..20).map(|k| vec![0.5 + f64::from(k) * 1e-5; 4]).collect();
    let batch = toy.batch(&images, &[0; 20]);
    for engine in engines() {
        let still = reduced(&toy, &*engine, "logp", "linf:0", &batch);
        close(
            "no perturbation",
            &[value(&still, "logp_perturbed_overlap"), value(&still, "logp_perturbed_ks")],
            &[1.0, 0.0],
            1e-9,
        );
        assert_eq!(still.curves.len(), 2);
        let mass: f64 = still.curves[0].2.iter().sum::<f64>() * (still.curves[0].1[1] - still.curves[0].1[0]);
        close("a density", &[mass], &[1.0], 1e-9);
        let apart = Toy::affine(&[[0.0; 1], [0.0; 1]], &[0.0, 0.0]);
        let flat = reduced(&apart, &*engine, "logp", "linf:0.1", &apart.batch(&[vec![0.5], vec![0.2]], &[0, 0]));
        close("a constant", &[value(&flat, "logp_perturbed_overlap")], &[1.0], 0.0);
    }
}

/// Scores times 100 multiply Φ and leave the scaled Φ alone. Binary z = (w·x, 0) at temperature T: s_T = −σ(w·x/T)‖w‖/T.
#[test]
fn the_scaled_phi_does_not_know_the_scale_of_the_scores() {
    let w = [2.0, -1.0, 0.5, 3.0];
    let toy = Toy::affine(&[w, [0.0; 4]], &[0.0, 0.0]);
    let x = [0.5, 0.2, 0.1, 0.3];
    for engine in engines() {
        // toys are linked with temperature 2
        let found = columns(&toy, &*engine, "phi:grid=1,directions=2", "linf:0.1", &toy.batch(&[x.to_vec()], &[0]));
        let sigma = |t: f64| 1.0 / (1.0 + (-dot(&w, &x) / t).exp());
        close("Φ", &found["phi_sum"], &[-sigma(1.0) * norm(&w)], 1e-5);
        let one = reduced(&toy, &*engine, "phi:grid=1,directions=2", "linf:0.1", &toy.batch(&[x.to_vec()], &[0]));
        close("Φ_T", given(&one, "scaled_phi_sum"), &[-sigma(2.0) * norm(&w) / 2.0], 1e-5);
        close("Φ_T", given(&one, "scaled_phi_mean"), &[-sigma(2.0) * norm(&w) / 2.0], 1e-5);
        let said = reduced(&toy, &*engine, "phi:grid=3,directions=4", "linf:0.1", &toy.batch(&[x.to_vec()], &[0]));
        assert!(value(&said, "phi_sum_error_of_directions") > 0.0);
        close("T", &[value(&said, "temperature")], &[2.0], 0.0);
    }
    let affine = Toy::affine(&[w], &[0.0]);
    let [engine, _] = engines();
    let said =
        reduced(&affine, &*engine, "phi:grid=3,directions=4,control=false", "linf:0.1", &affine.batch(&[x.to_vec()], &[0]));
    close("no direction differs", &[value(&said, "phi_sum_error_of_directions")], &[0.0], 1e-4);
}

/// Points outside of the box are no pixels: slopes are looked for inside.
#[test]
fn slopes_are_taken_inside_the_box() {
    // steep beyond the box: z = (max(x − 1.01, 0)·1000 + x, 0)
    let toy = Toy::new([1, 1, 1], |x| {
        let steep = (x - 1.01).max(0.0) * 1000.0 + x;
        x.builder().concat(&[steep, x * 0.0], 1)
    });
    let batch = toy.batch(&[vec![0.95]], &[0]);
    for engine in engines() {
        let inside = toy.measure(&*engine, "lipschitz:points=50", &boxed("linf:0.5"), &batch).columns;
        assert!(inside["lipschitz_sample"][0] < 2.0, "{inside:?}");
        let free = columns(&toy, &*engine, "lipschitz:points=50", "linf:0.5", &batch);
        assert!(free["lipschitz_sample"][0] > 900.0, "{free:?}");
    }
}
