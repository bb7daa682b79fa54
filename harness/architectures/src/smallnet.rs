//! Smallnet: conv 16×3×3, conv 32×3×3, pool, conv 32×3×3, pool, dense 64, classes, all convolutions padded by 1. The network of the
//! digits models that come with the project, for images that are too small for the published ones.

use flatscape_graph::Expr;

use crate::Request;
use crate::layers::{Conv, Law, Layers};

pub(crate) fn build<'b>(layers: &Layers<'b>, x: Expr<'b>, request: &Request) -> Expr<'b> {
    let conv = |number: usize, x: Expr<'b>, out: usize| {
        layers.conv(&format!("conv{number}"), x, Conv { pad: 1, ..Conv::new(out, 3) }, Law::Usual).relu()
    };
    let x = layers.halved(conv(2, conv(1, x, 16), 32));
    let x = layers.halved(conv(3, x, 32));
    let x = layers.dense("fc1", layers.rows(x), 64, Law::Usual).relu();
    layers.dense("fc2", x, request.classes, Law::Usual)
}
