//! The task of a component: the shape of the images, the classes, the threat model. Knows no model and no data.

use serde::{Deserialize, Serialize};

/// What a component will be used for. Lengths in pixel units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// C, H, W of an image.
    pub shape: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// `linf`, `l2`, `l1`, …
    pub norm: String,
    /// P: values of the threat model's parameter `z`; D where the parameter is the image itself.
    pub parameters: usize,
    /// Whether a class is given that has to be reached.
    pub targeted: bool,
    /// Radius.
    pub eps: f64,
    /// Lower face of the box.
    pub lo: f64,
    /// Upper face of the box.
    pub hi: f64,
}

impl Task {
    /// An untargeted task under a norm in the box \[0, 1\].
    pub fn new(shape: [usize; 3], classes: usize, norm: &str, eps: f64) -> Task {
        let parameters = shape.iter().product();
        Task { shape, classes, norm: norm.to_owned(), parameters, targeted: false, eps, lo: 0.0, hi: 1.0 }
    }

    /// D: values per image.
    pub fn pixels(&self) -> usize {
        self.shape.iter().product()
    }
}
