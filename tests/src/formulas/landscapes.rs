//! The likelihood landscape: its middle, its planes, its slopes and its directions.

use flatscape_engine::Engine;

use super::toy::{Toy, close, dot, linear, threat};
use crate::provision::engines;

const D: usize = 8;
const GRID: usize = 5;
const EXTENT: f64 = 0.1;

/// One image's surface, row-major: the first axis runs fastest.
fn surface(toy: &Toy, engine: &dyn Engine, directions: &str, name: &str, image: &[f64], label: i64) -> Vec<f64> {
    let written = format!("likelihood-landscape:grid={GRID},extent={EXTENT},directions={directions}");
    let measured = toy.measure(engine, &written, &threat("linf:0.1"), &toy.batch(&[image.to_vec()], &[label]));
    measured.surfaces[name][0].clone()
}

/// ∂/∂ε₁ and ∂/∂ε₂ in the middle.
fn slopes(z: &[f64]) -> (f64, f64) {
    let (middle, half) = (GRID / 2, EXTENT / (GRID / 2) as f64);
    let at = |row: usize, column: usize| z[row * GRID + column];
    let along = |ahead: f64, behind: f64| (ahead - behind) / (2.0 * half);
    (along(at(middle, middle + 1), at(middle, middle - 1)), along(at(middle + 1, middle), at(middle - 1, middle)))
}

/// A single logit w·x with w = (1, 2, 4, …): its slope along a vector of signs says which signs they are.
fn telling() -> (Toy, [f64; D]) {
    let w: [f64; D] = std::array::from_fn(|i| f64::from(1 << i));
    (Toy::affine(&[w], &[0.0]), w)
}

/// The signs behind a slope of [`telling`].
fn signs(slope: f64) -> Vec<f64> {
    let sum_of_positive = (slope + 255.0) / 2.0;
    let bits = sum_of_positive.round() as u32;
    assert!((sum_of_positive - f64::from(bits)).abs() < 0.05, "{slope} is not a slope along a vector of signs");
    (0..D).map(|i| if bits >> i & 1 == 1 { 1.0 } else { -1.0 }).collect()
}

/// Both random directions, read from the landscape of the telling model.
fn directions(engine: &dyn Engine) -> (Vec<f64>, Vec<f64>) {
    let (toy, _) = telling();
    let (first, second) = slopes(&surface(&toy, engine, "random", "delta_logp", &[0.5; D], 0));
    (signs(first), signs(second))
}

#[test]
fn the_middle_is_zero_and_affine_landscapes_are_planes() {
    let (toy, w) = telling();
    for engine in engines() {
        for image in [[0.5; D], [0.1, 0.9, 0.3, 0.0, 1.0, 0.7, 0.2, 0.6]] {
            let z = surface(&toy, &*engine, "random", "delta_logp", &image, 0);
            assert_eq!(z[GRID * GRID / 2], 0.0, "{}", engine.name());
            let largest = dot(&w, &image).abs() + 255.0 * 2.0 * EXTENT;
            for row in 0..GRID {
                for k in 1..GRID - 1 {
                    let across = z[row * GRID + k - 1] - 2.0 * z[row * GRID + k] + z[row * GRID + k + 1];
                    let down = z[(k - 1) * GRID + row] - 2.0 * z[k * GRID + row] + z[(k + 1) * GRID + row];
                    assert!(across.abs().max(down.abs()) <= 1e-4 * largest, "{across} and {down} at {row}, {k}");
                }
            }
            assert!(z.iter().any(|v| v.abs() > 1.0), "the plane is not level: {z:?}");
        }
    }
}

#[test]
fn random_directions_are_orthogonal_signs_and_shared_by_all() {
    let found = engines().map(|engine| directions(&*engine));
    assert_eq!(found[0], found[1], "both engines walk the same way");
    let (first, second) = &found[0];
    assert_eq!(dot(first, second), 0.0, "{first:?} and {second:?}");
    // another image, the same directions
    let (toy, _) = telling();
    for engine in engines() {
        let (a, b) = slopes(&surface(&toy, &*engine, "random", "delta_logp", &[0.25, 0.5, 0.75, 0.5, 0.25, 0.5, 0.75, 1.0], 0));
        assert_eq!((signs(a), signs(b)), found[0]);
    }
}

/// A model of three classes; log p, its gradient Wᵀp, and the gradient of the cross-entropy Wᵀ(p − e_y).
struct Three;

impl Three {
    const W: [[f64; D]; 3] = [
        [0.3, -0.2, 0.1, 0.5, -0.4, 0.2, 0.0, 0.1],
        [-0.1, 0.4, 0.2, -0.3, 0.1, 0.0, 0.2, -0.2],
        [0.2, 0.1, -0.5, 0.1, 0.3, -0.1, 0.4, 0.0],
    ];

    fn toy(shift: f64) -> Toy {
        let rows: Vec<Vec<f64>> = Self::W.iter().map(|row| row.to_vec()).collect();
        Toy::new([1, 2, 4], move |x| linear(x, &rows, &[shift; 3]))
    }

    fn gradients(x: &[f64], y: usize) -> (Vec<f64>, Vec<f64>) {
        let z: Vec<f64> = Self::W.iter().map(|row| dot(row, x)).collect();
        let total: f64 = z.iter().map(|v| v.exp()).sum();
        let p: Vec<f64> = z.iter().map(|v| v.exp() / total).collect();
        let pull = |ct: &[f64]| (0..D).map(|i| (0..3).map(|c| ct[c] * Self::W[c][i]).sum()).collect::<Vec<f64>>();
        let error: Vec<f64> = (0..3).map(|c| p[c] - f64::from(u8::from(c == y))).collect();
        (pull(&p), pull(&error))
    }
}

const IMAGE: [f64; D] = [0.2, 0.8, 0.4, 0.6, 0.5, 0.1, 0.9, 0.3];

#[test]
fn slopes_are_those_of_the_gradient() {
    let toy = Three::toy(0.0);
    let (of_logp, of_loss) = Three::gradients(&IMAGE, 1);
    for engine in engines() {
        let (first, second) = directions(&*engine);
        let (a, b) = slopes(&surface(&toy, &*engine, "random", "delta_logp", &IMAGE, 1));
        close("random directions", &[a, b], &[dot(&of_logp, &first), dot(&of_logp, &second)], 2e-3);
        let (a, b) = slopes(&surface(&toy, &*engine, "random", "loss", &IMAGE, 1));
        close("the loss", &[a, b], &[dot(&of_loss, &first), dot(&of_loss, &second)], 2e-3);

        let up: Vec<f64> = of_loss.iter().map(|g| g.signum()).collect();
        let (a, _) = slopes(&surface(&toy, &*engine, "fgsm", "delta_logp", &IMAGE, 1));
        close("the FGSM direction", &[a], &[dot(&of_logp, &up)], 2e-3);
        let (a, _) = slopes(&surface(&toy, &*engine, "fgsm", "loss", &IMAGE, 1));
        close("the loss along it", &[a], &[dot(&of_loss, &up)], 2e-3);
    }
}

#[test]
fn a_constant_on_all_logits_changes_no_landscape() {
    for engine in engines() {
        let [plain, shifted] = [0.0, 20.0].map(|shift| surface(&Three::toy(shift), &*engine, "random", "delta_logp", &IMAGE, 1));
        close("shifted by 20", &plain, &shifted, 1e-5);
    }
}

#[test]
fn loss_and_class_are_those_of_the_point() {
    let toy = Three::toy(0.0);
    for engine in engines() {
        let z: Vec<f64> = Three::W.iter().map(|row| dot(row, &IMAGE)).collect();
        let best = (0..3).max_by(|&a, &b| z[a].total_cmp(&z[b])).expect("three classes");
        let predicted = surface(&toy, &*engine, "random", "predicted", &IMAGE, 1);
        assert_eq!(predicted[GRID * GRID / 2], best as f64);
        let loss = surface(&toy, &*engine, "random", "loss", &IMAGE, 1);
        let expected = z.iter().map(|v| v.exp()).sum::<f64>().ln() - z[1];
        close("the loss in the middle", &[loss[GRID * GRID / 2]], &[expected], 1e-5);
    }
}

/// Along the directions of attacks the coordinate is the largest change of a pixel: at the radius lies the attack's point. Two attacks
/// span their own plane, and one is completed by an orthogonal direction.
#[test]
fn the_directions_of_attacks_lead_to_their_points() {
    let w: [f64; D] = std::array::from_fn(|i| f64::from(1 << i));
    let toy = Toy::affine(&[w], &[0.0]);
    let mut batch = toy.batch(&[vec![0.5; D]], &[0]);
    batch.clean = Some(batch.x0.clone());
    let moved = |by: &dyn Fn(usize) -> f64| toy.batch(&[(0..D).map(|i| 0.5 + by(i)).collect()], &[0]).x0;
    let (one, two) = (|i: usize| if i < 4 { 0.1 } else { 0.0 }, |i: usize| if i == 7 { -0.1 } else { 0.05 });
    batch.x0 = moved(&one);
    batch.second = Some(moved(&two));
    for engine in engines() {
        let of = |kind: &str| {
            let written = format!("likelihood-landscape:grid={GRID},extent={EXTENT},directions={kind}");
            toy.measure(&*engine, &written, &threat("linf:0.1"), &batch)
        };
        let both = of("attacks");
        let (first, second) = slopes(&both.surfaces["delta_logp"][0]);
        close("first", &[first], &[dot(&w, &std::array::from_fn::<f64, D, _>(|i| one(i) / 0.1))], 1e-3);
        close("second", &[second], &[dot(&w, &std::array::from_fn::<f64, D, _>(|i| two(i) / 0.1))], 1e-3);
        close("lengths", &[both.columns["first_length"][0], both.columns["second_length"][0]], &[0.1, 0.1], 1e-6);
        let alone = of("attack");
        close("the same first", &[slopes(&alone.surfaces["delta_logp"][0]).0], &[first], 1e-3);
        close("orthogonal", &[alone.columns["cosine"][0]], &[0.0], 1e-6);
        assert!(both.columns["cosine"][0] > 0.0);
        let loss = toy.measure(&*engine, &format!("likelihood-landscape:grid={GRID},height=loss"), &threat("linf:0.1"), &batch);
        assert_eq!(loss.surfaces.keys().collect::<Vec<_>>(), ["loss", "predicted"]);
    }
}
