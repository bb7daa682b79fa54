//! Operators of quantised models, on 8-bit integers with scales and zero points beside them.

use super::conv::{convolved, image_and_kernel};
use super::linear::matmul_shape;
use super::{Found, Site, one, several};
use crate::tensor::DType;

/// `DynamicQuantizeLinear`: uint8 like x, its scale and its zero point.
pub(super) fn dynamic_quantize(site: &Site) -> Found {
    let scale = site.float(0)?;
    several([(Some(DType::U8), site.ty(0).shape), (scale, Some(Vec::new())), (Some(DType::U8), Some(Vec::new()))])
}

/// `MatMulInteger`: a, b and their zero points; int32.
pub(super) fn matmul(site: &Site) -> Found {
    let shape = site.shape(0).zip(site.shape(1)).map(|(a, b)| matmul_shape(a, b)).transpose()?;
    one(Some(DType::I32), shape.flatten())
}

/// `QLinearMatMul`: a, b and y with scale and zero point each; the element type of the last zero point.
pub(super) fn quantised_matmul(site: &Site) -> Found {
    let shape = site.shape(0).zip(site.shape(3)).map(|(a, b)| matmul_shape(a, b)).transpose()?;
    one(site.dtype(7), shape.flatten())
}

/// `ConvInteger`: x, w and their zero points; int32.
pub(super) fn conv(site: &Site) -> Found {
    let (x, w, group) = image_and_kernel(site, 0, 1)?;
    let shape = x.zip(w).map(|(x, w)| convolved(site, x, w, group)).transpose()?;
    one(Some(DType::I32), shape)
}

/// `QLinearConv`: x, w and y with scale and zero point each, and a bias; the element type of the last zero point.
pub(super) fn quantised_conv(site: &Site) -> Found {
    let (x, w, group) = image_and_kernel(site, 0, 3)?;
    let shape = x.zip(w).map(|(x, w)| convolved(site, x, w, group)).transpose()?;
    one(site.dtype(7), shape)
}
