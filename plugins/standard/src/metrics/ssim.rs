//! SSIM: structural similarity of the point at which the metric is taken and the image, per channel, over windows, in double
//! precision. 1 for equal images. Windows are products of one along rows and one along columns, so that they are two matrix products.

use flatscape_sdk::{Ask, Component, DType, Error, Expr, Names, Param, Program, Tensor};

const K1: f64 = 0.01;
const K2: f64 = 0.03;

/// A way in which SSIM is computed.
struct Preset {
    name: &'static str,
    /// Weights of the window along one axis.
    window: fn() -> Vec<f64>,
    /// Whether covariances have n − 1 in their denominator, n the pixels of a window.
    sample: bool,
    /// The range of pixels that the constants suppose.
    range: f64,
    /// Whether windows reach beyond the image, where everything is 0; otherwise only those inside count.
    padded: bool,
}

/// The presets. `s1` is what scikit-image 0.14 computes of float images, whose range it takes for −1 to 1, as the table of Xu, Yap
/// and Prabhu 2019 has it.
const PRESETS: &[Preset] = &[
    Preset { name: "wang2004", window: gaussian, sample: false, range: 1.0, padded: false },
    Preset { name: "skimage", window: uniform, sample: true, range: 1.0, padded: false },
    Preset { name: "s1", window: uniform, sample: true, range: 2.0, padded: false },
    Preset { name: "pytorch_ssim", window: gaussian, sample: false, range: 1.0, padded: true },
];

/// 7 pixels alike
fn uniform() -> Vec<f64> {
    vec![1.0 / 7.0; 7]
}

/// exp(−k²/(2·1.5²)), |k| ≤ 5
fn gaussian() -> Vec<f64> {
    let weight = |k: i32| (-0.5 * (f64::from(k) / 1.5).powi(2)).exp();
    let total: f64 = (-5..=5).map(weight).sum();
    (-5..=5).map(|k| weight(k) / total).collect()
}

pub(crate) fn component() -> Component {
    const NAMES: &[&str] = &["wang2004", "skimage", "s1", "pytorch_ssim"];
    Component::metric(
        "ssim",
        "structural similarity of the point and the image; 1 - SSIM of the last points of an attack where it broke the sample",
    )
    .source("Wang et al. 2004, Image quality assessment, equation 13; s1: Xu, Yap and Prabhu 2019 (arXiv:1907.09061), table 2")
    .param(Param::choice("preset", NAMES, "window, covariance, range of pixels and border, by their source"))
    .build(build)
}

fn build(ask: &Ask) -> Result<Program, Error> {
    let preset = PRESETS.iter().find(|preset| preset.name == ask.text("preset"));
    let preset = preset.ok_or_else(|| Error::invalid(format!("ssim has no preset {}", ask.text("preset"))))?;
    let ([_, h, w], size) = (ask.task.shape, (preset.window)().len());
    if !preset.padded && h.min(w) < size {
        let what = format!("images of {h}×{w} are smaller than the window of {size} pixels; try preset=pytorch_ssim");
        return Err(Error::unsupported(what));
    }
    let bands = [h, w].map(|extent| band(&(preset.window)(), extent, preset.padded));
    let [Some(down), Some(right)] = bands else { return Err(Error::invalid(format!("images of {h}×{w} have no windows"))) };
    Ok(ask.program().emit(move |g| {
        let ssim = similarity(g, preset, [down, right]);
        let predicted = |logits| g.builder().op("ArgMax", &[logits], [("axis", 1.into()), ("keepdims", 0.into())]);
        let broken = predicted(g.logits_clean()).equal(g.y()).and(predicted(g.logits0()).equal(g.y()).negate());
        g.give("col_ssim", ssim);
        g.give("col_one_minus_ssim_of_broken", broken.select(ssim.scalar(1.0) - ssim, ssim.scalar(f64::NAN)));
    }))
}

/// The mean over windows and channels of (2μν + C₁)(2σ + C₂)/((μ² + ν² + C₁)(σ_x² + σ_y² + C₂)), double \[N\]
fn similarity<'b>(g: &Names<'b>, preset: &Preset, bands: [Tensor; 2]) -> Expr<'b> {
    let [channels, h, w] = g.task().shape.map(|extent| extent as i64);
    let image = |x: Expr<'b>| x.cast(DType::F64).reshape(&[-1, channels, h, w]);
    let (x, y) = (image(g.x0()), image(g.x_clean()));
    let [down, right] = bands.map(|band| g.constant(band));
    let right = right.transpose(&[1, 0]);
    let mean = |v: Expr<'b>| down.matmul(v).matmul(right);
    let pixels = ((preset.window)().len() as f64).powi(2);
    let scale = if preset.sample { pixels / (pixels - 1.0) } else { 1.0 };
    let (mx, my) = (mean(x), mean(y));
    let covariance = |a: Expr<'b>, b: Expr<'b>, product: Expr<'b>| (mean(a * b) - product) * scale;
    let (xx, yy, xy) = (covariance(x, x, mx * mx), covariance(y, y, my * my), covariance(x, y, mx * my));
    let (c1, c2) = ((K1 * preset.range).powi(2), (K2 * preset.range).powi(2));
    let above = (mx * my * 2.0 + c1) * (xy * 2.0 + c2);
    let below = (mx * mx + my * my + c1) * (xx + yy + c2);
    (above / below).mean(&[1, 2, 3], false)
}

/// A window at every place of an axis, as a matrix: one row per place, wholly inside or, padded, centred at every pixel.
fn band(window: &[f64], extent: usize, padded: bool) -> Option<Tensor> {
    let reach = window.len() / 2;
    let rows: Vec<usize> = if padded { (0..extent).collect() } else { (reach..extent - reach).collect() };
    let mut values = vec![0.0; rows.len() * extent];
    for (row, &centre) in rows.iter().enumerate() {
        for (k, weight) in window.iter().enumerate() {
            // what lies beyond the border is 0
            if let Some(column) = (centre + k).checked_sub(reach).filter(|&column| column < extent) {
                values[row * extent + column] = *weight;
            }
        }
    }
    Tensor::new(&[rows.len(), extent], values)
}
