//! Matrix products.

use super::{Found, Site, dims, one};
use crate::ir::{Dim, Shape};

/// `Gemm`: `y = α·A'·B' + β·C`, matrices only.
pub(super) fn gemm(site: &Site) -> Found {
    site.number(0)?;
    let dtype = site.same_dtype(0..3)?;
    let a = site.shape_of_rank(0, 2, "a")?;
    let b = site.shape_of_rank(1, 2, "b")?;
    let turned = |name: &str| site.attributes.int(name, 0) != 0;
    let (ra, ca) = if turned("transA") { (1, 0) } else { (0, 1) };
    let (rb, cb) = if turned("transB") { (1, 0) } else { (0, 1) };
    if let (Some(a), Some(b)) = (a, b)
        && dims::agree(&a[ca], &b[rb]).is_none()
    {
        return Err(format!("the columns of a ({}) differ from the rows of b ({})", a[ca], b[rb]));
    }
    let dim = |shape: Option<&[Dim]>, axis: usize| shape.map_or(Dim::Unknown, |s| s[axis].clone());
    let shape = vec![dim(a, ra), dim(b, cb)];
    if let Some(c) = site.shape(2) {
        let joined = dims::broadcast(&[&shape, c])?;
        let grown = joined.iter().zip(&shape).any(|(j, s)| dims::agree(j, s).is_none());
        if joined.len() > 2 || grown {
            return Err(format!("c of shape {} does not broadcast to {}", dims::show(c), dims::show(&shape)));
        }
    }
    one(dtype, Some(shape))
}

/// `MatMul` by the rules of NumPy.
pub(super) fn matmul(site: &Site) -> Found {
    site.number(0)?;
    let dtype = site.same_dtype(0..2)?;
    let (Some(a), Some(b)) = (site.shape(0), site.shape(1)) else { return one(dtype, None) };
    one(dtype, matmul_shape(a, b)?)
}

/// The shape of the product of operands of these shapes.
pub(super) fn matmul_shape(a: &[Dim], b: &[Dim]) -> Result<Shape, String> {
    let (Some((inner, left)), Some(_)) = (a.split_last(), b.last()) else {
        return Err("a matrix product needs operands of rank 1 or more".into());
    };
    let contracted = &b[b.len().saturating_sub(2)];
    if dims::agree(inner, contracted).is_none() {
        return Err(format!("the last extent of a ({inner}) differs from the rows of b ({contracted})"));
    }
    let (rows, batch_a) = match left.split_last() {
        Some((rows, batch)) => (Some(rows.clone()), batch),
        None => (None, left),
    };
    let columns = (b.len() > 1).then(|| b[b.len() - 1].clone());
    let batch_b = &b[..b.len().saturating_sub(2)];
    let mut shape = dims::broadcast(&[batch_a, batch_b])?;
    shape.extend(rows);
    shape.extend(columns);
    Ok(Some(shape))
}

/// `Det`: of the last two axes.
pub(super) fn determinant(site: &Site) -> Found {
    let dtype = site.float(0)?;
    let Some(x) = site.shape(0) else { return one(dtype, None) };
    match x {
        [batch @ .., rows, columns] if dims::agree(rows, columns).is_some() => one(dtype, Some(batch.to_vec())),
        _ => Err(format!("x should hold square matrices and is {}", dims::show(x))),
    }
}
