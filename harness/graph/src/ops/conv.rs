//! Convolutions of one to three spatial axes, and the window arithmetic that pooling shares.

use super::{Found, Site, dims, one};
use crate::ir::{Attributes, Dim};

/// How a window slides over the spatial axes: the attributes of convolutions and pools, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    /// Extents of the kernel.
    pub(crate) kernel: Vec<usize>,
    /// Steps.
    pub(crate) strides: Vec<usize>,
    /// Distances between taps.
    pub(crate) dilations: Vec<usize>,
    /// Padding before each axis.
    pub(crate) before: Vec<usize>,
    /// Padding after each axis.
    pub(crate) after: Vec<usize>,
    /// `SAME_UPPER`, `SAME_LOWER` or `VALID`, where padding is to be computed.
    pub(crate) auto: Option<Auto>,
}

/// Padding that depends on the extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auto {
    SameUpper,
    SameLower,
    Valid,
}

impl Window {
    /// Reads the attributes for a kernel of these extents.
    pub(crate) fn read(attributes: &Attributes, kernel: &[usize]) -> Result<Window, String> {
        let axes = kernel.len();
        let auto = match attributes.string("auto_pad", "NOTSET") {
            "NOTSET" | "" => None,
            "VALID" => Some(Auto::Valid),
            "SAME_UPPER" => Some(Auto::SameUpper),
            "SAME_LOWER" => Some(Auto::SameLower),
            other => return Err(format!("auto_pad {other:?} is not one of NOTSET, VALID, SAME_UPPER, SAME_LOWER")),
        };
        let pads = if auto.is_some() { vec![0; 2 * axes] } else { sizes(attributes, "pads", 2 * axes, 0, 0)? };
        if let Some(at) = kernel.iter().position(|&k| k == 0) {
            return Err(format!("the kernel is empty in spatial axis {at}"));
        }
        if kernel.iter().try_fold(1usize, |n, &k| n.checked_mul(k)).is_none_or(|n| n > WINDOW) {
            return Err(format!("the window {kernel:?} has more than {WINDOW} elements"));
        }
        Ok(Window {
            kernel: kernel.to_vec(),
            strides: sizes(attributes, "strides", axes, 1, 1)?,
            dilations: sizes(attributes, "dilations", axes, 1, 1)?,
            before: pads[..axes].to_vec(),
            after: pads[axes..].to_vec(),
            auto,
        })
    }

    /// Extent from the first to the last tap.
    pub(crate) fn span(&self, axis: usize) -> usize {
        self.dilations[axis].saturating_mul(self.kernel[axis] - 1).saturating_add(1)
    }

    /// The number of window positions along a spatial axis; with `ceil` a last window may hang over the end.
    pub(crate) fn positions(&self, axis: usize, extent: &Dim, ceil: bool) -> Result<Dim, String> {
        let (stride, span) = (self.strides[axis], self.span(axis));
        let pads = self.before[axis].saturating_add(self.after[axis]);
        let Dim::Fixed(n) = *extent else {
            let kept = stride == 1 && (pads == span - 1 || matches!(self.auto, Some(Auto::SameLower | Auto::SameUpper)));
            return Ok(if kept { extent.clone() } else { Dim::Unknown });
        };
        if let Some(Auto::SameLower | Auto::SameUpper) = self.auto {
            return Ok(Dim::Fixed(n.div_ceil(stride)));
        }
        let padded = n.saturating_add(pads);
        if span > padded {
            return Err(format!("the kernel spans {span} in spatial axis {axis}, which is {padded} with its padding"));
        }
        let room = padded - span;
        let mut count = if ceil { room.div_ceil(stride) + 1 } else { room / stride + 1 };
        // a window that would start in the padding behind the image is left out
        if ceil && (count - 1) * stride >= n.saturating_add(self.before[axis]) {
            count -= 1;
        }
        Ok(Dim::Fixed(count))
    }

    /// The padding before and after each axis once the extents are known; `None` while one that matters is not.
    pub(crate) fn pads(&self, spatial: &[Dim]) -> Option<(Vec<usize>, Vec<usize>)> {
        let Some(auto @ (Auto::SameLower | Auto::SameUpper)) = self.auto else {
            return Some((self.before.clone(), self.after.clone()));
        };
        let total = (0..spatial.len()).map(|axis| {
            let (stride, span) = (self.strides[axis], self.span(axis));
            match spatial[axis] {
                Dim::Fixed(n) => Some((n.div_ceil(stride).saturating_sub(1) * stride + span).saturating_sub(n)),
                _ => (stride == 1).then(|| span - 1),
            }
        });
        let total: Vec<usize> = total.collect::<Option<_>>()?;
        let half: Vec<usize> = total.iter().map(|t| t / 2).collect();
        let rest: Vec<usize> = total.iter().map(|t| t - t / 2).collect();
        Some(if auto == Auto::SameUpper { (half, rest) } else { (rest, half) })
    }
}

/// `Conv`: x `[N,C,…]`, w `[M,C/group,…]`, b `[M]`.
pub(super) fn conv(site: &Site) -> Found {
    let (dtype, x, w, group) = operands(site)?;
    let (Some(x), Some(w)) = (x, w) else { return one(dtype, x.or(w).map(|s| batch_only(site, s.len()))) };
    check_bias(site, &w[0])?;
    one(dtype, Some(convolved(site, x, w, group)?))
}

/// The shape that a convolution of x by w gives.
pub(super) fn convolved(site: &Site, x: &[Dim], w: &[Dim], group: usize) -> Result<Vec<Dim>, String> {
    if let (Some(c), Some(per_group)) = (x[1].fixed(), w[1].fixed())
        && Some(c) != per_group.checked_mul(group)
    {
        let groups = if group == 1 { String::new() } else { format!(" times {group} groups") };
        return Err(format!("the channels of x ({c}) differ from those of w ({per_group}{groups})"));
    }
    if let Some(m) = w[0].fixed()
        && !m.is_multiple_of(group)
    {
        return Err(format!("{m} output channels do not split into {group} groups"));
    }
    let mut shape = vec![x[0].clone(), w[0].clone()];
    match kernel(site, w)? {
        None => shape.extend(vec![Dim::Unknown; x.len() - 2]),
        Some(kernel) => {
            let window = Window::read(&site.attributes, &kernel)?;
            for (axis, extent) in x[2..].iter().enumerate() {
                shape.push(window.positions(axis, extent, false)?);
            }
        }
    }
    Ok(shape)
}

/// `ConvTranspose`: x `[N,C,…]`, w `[C,M/group,…]`, b `[M]`.
pub(super) fn conv_transpose(site: &Site) -> Found {
    let (dtype, x, w, group) = operands(site)?;
    let (Some(x), Some(w)) = (x, w) else { return one(dtype, x.or(w).map(|s| batch_only(site, s.len()))) };
    if dims::agree(&x[1], &w[0]).is_none() {
        return Err(format!("the channels of x ({}) differ from those of w ({})", x[1], w[0]));
    }
    if let Some(c) = w[0].fixed()
        && !c.is_multiple_of(group)
    {
        return Err(format!("{c} input channels do not split into {group} groups"));
    }
    let channels = dims::product(&[w[1].clone(), Dim::Fixed(group)]);
    check_bias(site, &channels)?;
    let mut shape = vec![x[0].clone(), channels];
    match kernel(site, w)? {
        None => shape.extend(vec![Dim::Unknown; x.len() - 2]),
        Some(kernel) => shape.extend(transposed(site, &x[2..], &kernel)?),
    }
    one(dtype, Some(shape))
}

/// Spatial extents of a transposed convolution: `s·(n−1) + d·(k−1) + 1 + output_padding − pads`.
fn transposed(site: &Site, spatial: &[Dim], kernel: &[usize]) -> Result<Vec<Dim>, String> {
    let window = Window::read(&site.attributes, kernel)?;
    let extra = sizes(&site.attributes, "output_padding", kernel.len(), 0, 0)?;
    if site.attributes.ints("output_shape").is_some() {
        let stated = sizes(&site.attributes, "output_shape", kernel.len(), 0, 0)?;
        return Ok(stated.into_iter().map(Dim::Fixed).collect());
    }
    let mut out = Vec::with_capacity(kernel.len());
    for (axis, extent) in spatial.iter().enumerate() {
        let (stride, span) = (window.strides[axis], window.span(axis));
        if extra[axis] >= stride.max(window.dilations[axis]) {
            return Err(format!("output_padding {} is not smaller than the stride or dilation {stride}", extra[axis]));
        }
        if let Some(Auto::SameLower | Auto::SameUpper) = window.auto {
            // s·n, less where even without padding the taps do not reach that far
            let reach = (span + extra[axis]).min(stride);
            out.push(match extent {
                Dim::Fixed(n) => Dim::Fixed((n.saturating_sub(1)).saturating_mul(stride).saturating_add(reach)),
                name if reach == stride => dims::product(&[name.clone(), Dim::Fixed(stride)]),
                _ => Dim::Unknown,
            });
            continue;
        }
        let grown = span as i128 + extra[axis] as i128 - window.before[axis] as i128 - window.after[axis] as i128;
        out.push(match extent {
            Dim::Fixed(n) => {
                let size = stride as i128 * (*n as i128 - 1) + grown;
                Dim::Fixed(usize::try_from(size).map_err(|_| format!("spatial axis {axis} of the result would be {size}"))?)
            }
            // s·n where kernel and padding cancel
            name if grown == stride as i128 => dims::product(&[name.clone(), Dim::Fixed(stride)]),
            _ => Dim::Unknown,
        });
    }
    Ok(out)
}

type Operands<'g> = (Option<crate::DType>, Option<&'g [Dim]>, Option<&'g [Dim]>, usize);

fn operands<'g>(site: &Site<'g>) -> Result<Operands<'g>, String> {
    site.float(0)?;
    let dtype = site.same_dtype(0..3)?;
    let (x, w, group) = image_and_kernel(site, 0, 1)?;
    Ok((dtype, x, w, group))
}

type ImageAndKernel<'g> = (Option<&'g [Dim]>, Option<&'g [Dim]>, usize);

/// The shapes of x and w, which have spatial axes and one rank, and the number of groups.
pub(super) fn image_and_kernel<'g>(site: &Site<'g>, x: usize, w: usize) -> Result<ImageAndKernel<'g>, String> {
    let (x, w) = (site.shape(x), site.shape(w));
    for (shape, what) in [(x, "x"), (w, "w")] {
        if let Some(shape) = shape.filter(|s| s.len() < 3) {
            return Err(format!("{what} should be [N,C,…] with spatial axes and is {}", dims::show(shape)));
        }
    }
    if let (Some(x), Some(w)) = (x, w)
        && x.len() != w.len()
    {
        return Err(format!("x of shape {} and w of shape {} differ in rank", dims::show(x), dims::show(w)));
    }
    let group = site.attributes.int("group", 1);
    let group = usize::try_from(group).ok().filter(|&g| g > 0).ok_or_else(|| format!("group {group}"))?;
    Ok((x, w, group))
}

/// The extents of the kernel from `w`, checked against `kernel_shape`; `None` if neither says.
fn kernel(site: &Site, w: &[Dim]) -> Result<Option<Vec<usize>>, String> {
    let spatial: Option<Vec<usize>> = w[2..].iter().map(Dim::fixed).collect();
    if site.attributes.ints("kernel_shape").is_none() {
        return Ok(spatial);
    }
    let stated = sizes(&site.attributes, "kernel_shape", w.len() - 2, 0, 1)?;
    if let Some(spatial) = spatial.filter(|s| *s != stated) {
        return Err(format!("kernel_shape {stated:?} differs from the extents {spatial:?} of w"));
    }
    Ok(Some(stated))
}

fn check_bias(site: &Site, channels: &Dim) -> Result<(), String> {
    match site.shape_of_rank(2, 1, "the bias")? {
        Some(b) if dims::agree(&b[0], channels).is_none() => {
            Err(format!("the bias has {} elements for {channels} output channels", b[0]))
        }
        _ => Ok(()),
    }
}

fn batch_only(site: &Site, rank: usize) -> Vec<Dim> {
    let mut shape = vec![Dim::Unknown; rank];
    if let Some(x) = site.shape(0) {
        shape[0] = x[0].clone();
    }
    shape
}

/// Beyond every kernel, step and padding; engines count up to it.
const FAR: usize = 1 << 20;
/// The most elements of a window.
const WINDOW: usize = 1 << 22;

/// A list attribute of `len` sizes, each at least `least`; absent, `default` each.
pub(crate) fn sizes(attributes: &Attributes, name: &str, len: usize, default: usize, least: usize) -> Result<Vec<usize>, String> {
    let Some(stated) = attributes.ints(name) else { return Ok(vec![default; len]) };
    if stated.len() != len {
        return Err(format!("{name} {stated:?} should have {len} elements"));
    }
    let good = |&v: &i64| usize::try_from(v).ok().filter(|&n| n >= least && n <= FAR);
    stated.iter().map(|v| good(v).ok_or_else(|| format!("{name} {stated:?} holds {v}"))).collect()
}
