//! Operators of ONNX Runtime's own domain that optimised models hold, where an exact definition in ordinary operators is short.

use super::control::formulas;
use super::upgrade::{Old, Renewed};
use crate::expr::Expr;
use crate::ir::{Attribute, Attributes, Node, ValueId};

/// `FusedMatMul`: `alpha·A·B`, either transposed.
pub(super) fn fused_matmul(old: &mut Old) -> Renewed {
    let (a, b) = (old.x(0)?, old.x(1)?);
    let attributes = old.node.attributes.clone();
    if attributes.int("transBatchA", 0) != 0 || attributes.int("transBatchB", 0) != 0 {
        return Err("transposed batches are not supported".to_owned());
    }
    let alpha = f64::from(attributes.float("alpha", 1.0));
    Ok(formulas(old, |builder| {
        let side = |v: ValueId, name: &str| {
            let v = builder.expr(v);
            if attributes.int(name, 0) != 0 && v.rank() != Some(1) { v.transpose_last() } else { v }
        };
        let y = side(a, "transA").matmul(side(b, "transB"));
        vec![Some(if alpha == 1.0 { y } else { y * alpha })]
    }))
}

/// `FusedGemm`: `activation(Gemm)`.
pub(super) fn fused_gemm(old: &mut Old) -> Renewed {
    fused(old, "Gemm", "activation_alpha", "activation_beta")
}

/// `FusedConv`: `activation(Conv + Z)`.
pub(super) fn fused_conv(old: &mut Old) -> Renewed {
    fused(old, "Conv", "activation_params", "")
}

/// A node of the standard domain with what stands behind it.
fn fused(old: &mut Old, op: &str, alpha: &str, beta: &str) -> Renewed {
    let numbers: Vec<f32> = match (old.take(alpha), old.take(beta)) {
        (Some(Attribute::Floats(v)), _) => v,
        (Some(Attribute::Float(a)), Some(Attribute::Float(b))) => vec![a, b],
        (Some(Attribute::Float(a)), _) => vec![a],
        _ => Vec::new(),
    };
    let activation = match old.take("activation") {
        Some(Attribute::String(name)) => name,
        _ => String::new(),
    };
    let added = if op == "Conv" { old.node.input(3) } else { None };
    let mut inputs = old.node.inputs.clone();
    inputs.truncate(3);
    let node = Node { op: op.into(), domain: "".into(), outputs: Vec::new(), inputs, ..old.node.clone() };
    let y = old.graph.push(node, 1)[0];
    let number = |i: usize, default: f64| numbers.get(i).map_or(default, |&v| f64::from(v));
    let known = ["", "Relu", "Tanh", "Sigmoid", "LeakyRelu", "Clip", "HardSigmoid"];
    if !known.contains(&activation.as_str()) {
        return Err(format!("the activation {} is not supported", crate::shown(&activation)));
    }
    Ok(formulas(old, |b| {
        let y = added.map_or(b.expr(y), |z| b.expr(y) + b.expr(z));
        let first = numbers.first().copied();
        vec![Some(match activation.as_str() {
            "Relu" => y.relu(),
            "Tanh" => y.tanh(),
            "Sigmoid" => y.sigmoid(),
            "LeakyRelu" => b.op("LeakyRelu", &[y], [("alpha", first.unwrap_or(0.01).into())]),
            "Clip" => {
                let bounds = [y.scalar(number(0, f64::from(f32::MIN))), y.scalar(number(1, f64::from(f32::MAX)))];
                b.op("Clip", &[y, bounds[0], bounds[1]], Attributes::none())
            }
            "HardSigmoid" => {
                let numbers = [("alpha", (number(0, 0.2) as f32).into()), ("beta", (number(1, 0.5) as f32).into())];
                b.op("HardSigmoid", &[y], numbers)
            }
            _ => y,
        })]
    }))
}

/// `CDist`: the distances `[N,M]` of the rows of A from those of B, or their squares: `‖a‖² − 2a·b + ‖b‖²`, at least 0.
pub(super) fn distances(old: &mut Old) -> Renewed {
    let (left, right) = (old.x(0)?, old.x(1)?);
    let root = match old.node.attributes.string("metric", "sqeuclidean") {
        "euclidean" => true,
        "sqeuclidean" => false,
        other => return Err(format!("the metric {} is not supported", crate::shown(other))),
    };
    Ok(formulas(old, |b| {
        let (left, right) = (b.expr(left), b.expr(right).transpose(&[1, 0]));
        let square = (left * left).sum(&[1], true) - left.matmul(right) * 2.0 + (right * right).sum(&[0], true);
        let square = square.max(0.0);
        vec![Some(if root { square.sqrt() } else { square })]
    }))
}

/// `Gelu`: `x/2·(1 + erf(x/√2))`.
pub(super) fn gelu(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    Ok(formulas(old, |b| vec![Some(by_erf(b.expr(x)))]))
}

/// `BiasGelu`: `Gelu(x + bias)`.
pub(super) fn bias_gelu(old: &mut Old) -> Renewed {
    let (x, bias) = (old.x(0)?, old.x(1)?);
    Ok(formulas(old, |b| vec![Some(by_erf(b.expr(x) + b.expr(bias)))]))
}

/// `FastGelu`: `x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`, of `x + bias` where there is one.
pub(super) fn fast_gelu(old: &mut Old) -> Renewed {
    let (x, bias) = (old.x(0)?, old.node.input(1));
    Ok(formulas(old, |b| {
        let x = bias.map_or(b.expr(x), |bias| b.expr(x) + b.expr(bias));
        let bend = ((x * x * x * 0.044715 + x) * (2.0 / std::f64::consts::PI).sqrt()).tanh();
        vec![Some(x * 0.5 * (bend + 1.0))]
    }))
}

/// `QuickGelu`: `x·σ(αx)`.
pub(super) fn quick_gelu(old: &mut Old) -> Renewed {
    let x = old.x(0)?;
    let alpha = f64::from(old.node.attributes.float("alpha", 1.702));
    Ok(formulas(old, |b| {
        let x = b.expr(x);
        vec![Some(x * (x * alpha).sigmoid())]
    }))
}

/// `SkipLayerNormalization`: `LayerNormalization(x + skip + bias)·gamma + beta`; the fourth result is the sum.
pub(super) fn skip_layer_norm(old: &mut Old) -> Renewed {
    let (x, skip, gamma) = (old.x(0)?, old.x(1)?, old.x(2)?);
    let (beta, bias) = (old.node.input(3), old.node.input(4));
    if [1, 2].iter().any(|&i| old.node.output(i).is_some()) {
        return Err("its mean and deviation are not supported as results".to_owned());
    }
    let epsilon = old.node.attributes.float("epsilon", 1e-12);
    Ok(formulas(old, |b| {
        let sum = b.expr(x) + b.expr(skip);
        let sum = bias.map_or(sum, |bias| sum + b.expr(bias));
        let operands = [Some(sum), Some(b.expr(gamma)), beta.map(|v| b.expr(v))];
        let given = if beta.is_some() { 3 } else { 2 };
        let attributes = [("axis", (-1i64).into()), ("epsilon", epsilon.into())];
        let y = b.op_with_gaps("LayerNormalization", &operands[..given], attributes);
        vec![Some(y), None, None, Some(sum)]
    }))
}

/// `SimplifiedLayerNormalization`: `x/√(mean(x²) + ε)·scale` over the axes from `axis` on.
pub(super) fn simplified_layer_norm(old: &mut Old) -> Renewed {
    if old.node.output(1).is_some() {
        return Err("its deviation is not supported as a result".to_owned());
    }
    super::expansions::rms_norm(old)
}

fn by_erf(x: Expr<'_>) -> Expr<'_> {
    x * 0.5 * ((x * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0)
}
