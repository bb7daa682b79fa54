//! Residual networks for small images: a convolution of 3×3, stages of basic blocks, the mean over space and one dense layer. A block
//! is y = ReLU(BN(conv(ReLU(BN(conv(x))))) + shortcut(x)); the shortcut is x where the shape stays.

use flatscape_graph::Expr;

use crate::Request;
use crate::layers::{Conv, Law, Layers, extent};

/// How a shortcut changes the shape.
#[derive(Clone, Copy)]
enum Shortcut {
    /// Option A: every other pixel, and channels of zeros on both sides; no parameters.
    Padded,
    /// A convolution of one pixel, normalised.
    Projected,
}

/// 64, 128, 256, 512 channels, two blocks each.
pub(crate) fn resnet18<'b>(layers: &Layers<'b>, x: Expr<'b>, request: &Request) -> Expr<'b> {
    let body = network(layers, x, &[64, 128, 256, 512], 2, Shortcut::Projected, Law::Usual);
    layers.dense("linear", layers.pooled(body), request.classes, Law::Usual)
}

/// 16, 32, 64 channels, five blocks each.
pub(crate) fn resnet32<'b>(layers: &Layers<'b>, x: Expr<'b>, request: &Request) -> Expr<'b> {
    let body = network(layers, x, &[16, 32, 64], 5, Shortcut::Padded, Law::He);
    layers.dense("linear", layers.pooled(body), request.classes, Law::He)
}

/// The stem and the stages; every stage but the first halves height and width.
fn network<'b>(layers: &Layers<'b>, x: Expr<'b>, widths: &[usize], blocks: usize, shortcut: Shortcut, law: Law) -> Expr<'b> {
    let mut x = normalised(layers, "conv1", "bn1", x, Conv { pad: 1, bias: false, ..Conv::new(widths[0], 3) }, law).relu();
    for (stage, &width) in widths.iter().enumerate() {
        for number in 0..blocks {
            let stride = if stage > 0 && number == 0 { 2 } else { 1 };
            x = block(layers, &format!("layer{}.{number}", stage + 1), x, (width, stride), shortcut, law);
        }
    }
    x
}

fn block<'b>(
    layers: &Layers<'b>,
    name: &str,
    x: Expr<'b>,
    (width, stride): (usize, usize),
    shortcut: Shortcut,
    law: Law,
) -> Expr<'b> {
    let conv = Conv { pad: 1, bias: false, ..Conv::new(width, 3) };
    let part = |number: usize, x: Expr<'b>, conv: Conv| {
        normalised(layers, &format!("{name}.conv{number}"), &format!("{name}.bn{number}"), x, conv, law)
    };
    let y = part(2, part(1, x, Conv { stride, ..conv }).relu(), conv);
    let straight = if stride == 1 && extent(x, 1) == width {
        x
    } else {
        match shortcut {
            Shortcut::Padded => {
                // x[:, :, ::2, ::2] between planes/4 channels of zeros
                let added = (width - extent(x, 1)) as i64;
                let far = i64::MAX;
                let thinned = x.slice(&[0, 0], &[far, far], &[2, 3], &[stride as i64; 2]);
                thinned.pad_zeros(&[0, added / 2, 0, 0, 0, added - added / 2, 0, 0])
            }
            Shortcut::Projected => {
                let conv = Conv { stride, bias: false, ..Conv::new(width, 1) };
                normalised(layers, &format!("{name}.shortcut.0"), &format!("{name}.shortcut.1"), x, conv, law)
            }
        }
    };
    (y + straight).relu()
}

fn normalised<'b>(layers: &Layers<'b>, conv: &str, bn: &str, x: Expr<'b>, shape: Conv, law: Law) -> Expr<'b> {
    layers.batch_norm(bn, layers.conv(conv, x, shape, law))
}
