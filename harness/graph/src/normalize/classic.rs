//! Operators of the first opsets that old converters (of CoreML, Caffe2 and Keras) still write, as formulas.

use super::expansions::formula;
use super::upgrade::{Old, Renewed};
use crate::ir::Attribute;
use crate::tensor::Tensor;

/// `ImageScaler`: `scale·x + bias` per channel.
pub(super) fn image_scaler(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let scale = f64::from(old.node.attributes.float("scale", 1.0));
    let bias = match old.node.attributes.get("bias") {
        Some(Attribute::Floats(bias)) => bias.clone(),
        None => Vec::new(),
        Some(_) => return Err("its bias is not a list of floats".to_owned()),
    };
    let shape = [1, bias.len(), 1, 1];
    let bias = Tensor::new::<f32>(&shape, bias).ok_or("its bias could not be made")?;
    Ok(formula(old, |b| {
        let x = b.expr(x) * scale;
        if bias.is_empty() { x } else { x + b.constant(bias.cast(x.dtype())) }
    }))
}

/// `Affine`: `alpha·x + beta`.
pub(super) fn affine(old: &mut Old) -> Renewed {
    let (x, [alpha, beta]) = (old.x(0)?, numbers(old, 1.0, 0.0));
    Ok(formula(old, |b| b.expr(x) * alpha + beta))
}

/// `Scale`: `scale·x`.
pub(super) fn scale(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let scale = f64::from(old.node.attributes.float("scale", 1.0));
    Ok(formula(old, |b| b.expr(x) * scale))
}

/// `ScaledTanh`: `alpha·tanh(beta·x)`.
pub(super) fn scaled_tanh(old: &mut Old) -> Renewed {
    let (x, [alpha, beta]) = (old.x(0)?, numbers(old, 1.0, 1.0));
    Ok(formula(old, |b| (b.expr(x) * beta).tanh() * alpha))
}

/// `ParametricSoftplus`: `alpha·ln(1 + e^{beta·x})`.
pub(super) fn parametric_softplus(old: &mut Old) -> Renewed {
    let (x, [alpha, beta]) = (old.x(0)?, numbers(old, 1.0, 1.0));
    Ok(formula(old, |b| (b.expr(x) * beta).unary("Softplus") * alpha))
}

fn numbers(old: &Old, alpha: f32, beta: f32) -> [f64; 2] {
    [("alpha", alpha), ("beta", beta)].map(|(name, default)| f64::from(old.node.attributes.float(name, default)))
}

/// `Crop`: `border` is what goes at left, top, right and bottom; where `scale` (height, width) is given, that much stays from left and
/// top on.
pub(super) fn crop(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let &[left, top, right, bottom] = old.node.attributes.ints("border").ok_or("it has no border")? else {
        return Err("its border does not have four numbers".to_owned());
    };
    let (below, behind) = match old.node.attributes.ints("scale") {
        None => (-bottom, -right),
        Some(&[height, width]) => (top + height, left + width),
        Some(_) => return Err("its scale does not have two numbers".to_owned()),
    };
    if [left, top, right, bottom].iter().any(|&n| n < 0) {
        return Err("its border is negative".to_owned());
    }
    let end = |n: i64| if n == 0 { i64::MAX } else { n };
    Ok(formula(old, |b| b.expr(x).slice(&[top, left], &[end(below), end(behind)], &[2, 3], &[1, 1])))
}
