//! LeNet: conv 6×5×5, pool, conv 16×5×5, pool, dense 120, 84, classes. Images of up to 28 pixels are padded by 2 at first, so that
//! 28×28 and 32×32 both leave 5×5.

use flatscape_graph::Expr;

use crate::Request;
use crate::layers::{Conv, Law, Layers, extent};

pub(crate) fn build<'b>(layers: &Layers<'b>, x: Expr<'b>, request: &Request) -> Expr<'b> {
    let pad = if extent(x, 2).max(extent(x, 3)) <= 28 { 2 } else { 0 };
    let x = layers.halved(layers.conv("conv1", x, Conv { pad, ..Conv::new(6, 5) }, Law::Xavier).relu());
    let x = layers.halved(layers.conv("conv2", x, Conv::new(16, 5), Law::Xavier).relu());
    let x = layers.dense("fc1", layers.rows(x), 120, Law::Xavier).relu();
    let x = layers.dense("fc2", x, 84, Law::Xavier).relu();
    layers.dense("fc3", x, request.classes, Law::Xavier)
}
