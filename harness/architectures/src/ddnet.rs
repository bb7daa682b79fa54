//! DDNet: twice two convolutions of 3×3 and a pool, with 64 and 128 channels, then dense 256, 256, classes. As published nothing is
//! padded and nothing normalised; with `same` padding and batch normalisation it is a variant of ours. The dropout of the published
//! training is not part of the graph.

use flatscape_graph::Expr;

use crate::Request;
use crate::layers::{Conv, Law, Layers};

pub(crate) fn build<'b>(layers: &Layers<'b>, x: Expr<'b>, request: &Request) -> Expr<'b> {
    let conv = |number: usize, x: Expr<'b>, out: usize| {
        let x =
            layers.conv(&format!("conv{number}"), x, Conv { pad: usize::from(request.same), ..Conv::new(out, 3) }, Law::Usual);
        let x = if request.batch_norm { layers.batch_norm(&format!("bn{number}"), x) } else { x };
        x.relu()
    };
    let x = layers.halved(conv(2, conv(1, x, 64), 64));
    let x = layers.halved(conv(4, conv(3, x, 128), 128));
    let x = layers.dense("fc1", layers.rows(x), 256, Law::Usual).relu();
    let x = layers.dense("fc2", x, 256, Law::Usual).relu();
    layers.dense("fc3", x, request.classes, Law::Usual)
}
