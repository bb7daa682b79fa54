//! From pixels to the input of a model, as a graph: `(scale·x − mean)/std` per channel, then the layout. Refuses to guess where
//! two layouts fit.

use flatscape_graph::{Builder, DType, Dim, Expr, Graph, Tensor, ValueType};

use super::answer::rows_of_logits;
use super::native::Native;
use crate::card::{Channels, Layout, Preprocessing};
use crate::refusal::Refusal;

/// What is done to pixels, with nothing left open.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Pixels {
    /// Multiplies pixels in [0,1].
    pub scale: f64,
    /// Subtracted per channel: [C] or [1].
    pub mean: Vec<f64>,
    /// Divides per channel: [C] or [1].
    pub std: Vec<f64>,
    /// How pixels lie in the input.
    pub layout: Layout,
    /// Whether the channels are fed from the last to the first: blue, green, red.
    #[serde(default)]
    pub reversed: bool,
    /// Whether 1 − x is fed for x.
    #[serde(default)]
    pub inverted: bool,
    /// Whether the layout was stated; otherwise it is the only one that fits.
    pub layout_stated: bool,
}

/// Which outputs stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// `logits` [N,K] and no other.
    Logits,
    /// Those of the graph, under their names.
    Own,
}

impl Pixels {
    /// Completes what was stated for images of shape (C, H, W), with scale 1, mean 0, std 1 and the layout that fits.
    ///
    /// # Errors
    /// A usage error where mean or std do not match the channels or no layout can be chosen; `M053` where the image does not fit
    /// the input.
    pub fn settle(native: &Native, stated: &Preprocessing, shape: [usize; 3]) -> Result<Pixels, Refusal> {
        let [channels, ..] = shape;
        let per_channel = |values: &Option<Vec<f64>>, default: f64, what: &str| {
            let values = values.clone().unwrap_or_else(|| vec![default]);
            if values.len() == 1 || values.len() == channels {
                return Ok(values);
            }
            Err(Refusal::usage(93, format!("{what} has {} entries, the images have {channels} channels", values.len())))
        };
        if native.integer_pixels == Some(DType::I8) && stated.scale.is_none() && stated.mean.is_none() {
            let what = format!("{}: the input is int8, and how pixels become numbers from -128 to 127 is not known", native.name);
            return Err(Refusal::usage(55, what).help("say it: --scale 255 --mean 128, for example"));
        }
        let whole = if native.integer_pixels.is_some() { 255.0 } else { 1.0 };
        let mut pixels = Pixels {
            scale: stated.scale.unwrap_or(whole),
            mean: per_channel(&stated.mean, 0.0, "mean")?,
            std: per_channel(&stated.std, 1.0, "std")?,
            layout: Layout::Nchw,
            reversed: reversed(stated.channels, channels)?,
            inverted: stated.invert == Some(true),
            layout_stated: stated.layout.is_some(),
        };
        let works = |layout| {
            let tried = Pixels { layout, ..pixels.clone() }.before(&native.graph, Dim::symbol("N"), shape, Outputs::Logits);
            tried.is_ok_and(|graph| graph.outputs().first().is_some_and(|o| graph.rank(o.value) == Some(2)))
        };
        pixels.layout = layout(native, stated.layout, shape, &works)?;
        Ok(pixels)
    }

    /// Puts this in front of a graph of the model: input `x` float[batch,C,H,W], outputs float.
    ///
    /// # Errors
    /// `M053` with what does not fit.
    pub fn before(&self, graph: &Graph, batch: Dim, [c, h, w]: [usize; 3], outputs: Outputs) -> Result<Graph, Refusal> {
        let input = graph.inputs().first().copied();
        let ty = input.map_or_else(ValueType::default, |i| graph.value(i).ty.clone());
        let b = Builder::new(Graph::new(&graph.name));
        let fixed = |n: usize| Dim::Fixed(n);
        let x = b.input("x", ValueType::new(DType::F32, vec![batch, fixed(c), fixed(h), fixed(w)]));
        let u = self.arrange(self.scaled(&b, x), ty.shape.as_deref().unwrap_or(&[])).cast(ty.dtype.unwrap_or(DType::F32));
        // what the model was fed keeps its name
        if let Some(input) = input.filter(|_| u.id != x.id) {
            b.graph_mut().rename(u.id, &graph.value(input).name);
        }
        let results = b
            .inline(graph, &|_, _| Some(u.id))
            .map_err(|e| Refusal::model(53, format!("images of shape [{c},{h},{w}] do not fit the model: {e}")))?;
        for (i, (name, value)) in results.iter().enumerate() {
            let value = b.expr(*value).cast(DType::F32);
            match outputs {
                Outputs::Logits if i == 0 => b.output("logits", rows_of_logits(value)),
                Outputs::Logits => {}
                Outputs::Own => b.output(name, value),
            }
        }
        let graph = flatscape_graph::simplify(&b.into_graph());
        graph.check().map_err(|e| Refusal::model(53, format!("images of shape [{c},{h},{w}] do not fit the model: {e}")))?;
        Ok(graph)
    }

    /// The smallest and the largest number that pixels of 0 to 1 become.
    pub fn range(&self) -> (f64, f64) {
        let at = |values: &[f64], channel: usize| values.get(channel).or(values.first()).copied().unwrap_or(0.0);
        let channels = 0..self.mean.len().max(self.std.len());
        let channels = channels.map(|channel| (at(&self.mean, channel), at(&self.std, channel)));
        let ends = channels.flat_map(|(mean, std)| [-mean / std, (self.scale - mean) / std]);
        ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), end| (low.min(end), high.max(end)))
    }

    /// As it is written on the command line.
    pub fn text(&self) -> String {
        let (mean, std) = (Some(self.mean.clone()), Some(self.std.clone()));
        let channels = self.reversed.then_some(Channels::Bgr);
        let invert = self.inverted.then_some(true);
        let (scale, layout) = (Some(self.scale), Some(self.layout));
        Preprocessing { scale, mean, std, layout, channels, invert, ..Preprocessing::default() }.text()
    }

    /// (scale·x − mean)/std; what does nothing is left out.
    fn scaled<'b>(&self, b: &'b Builder, x: Expr<'b>) -> Expr<'b> {
        let per_channel = |values: &[f64]| {
            let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
            b.constant(Tensor::new(&[1, values.len(), 1, 1], values).unwrap_or_else(|| Tensor::scalar(0.0f32)))
        };
        let mut u = x;
        if self.reversed {
            let one = |c: i64| x.slice(&[c], &[c + 1], &[1], &[1]);
            u = b.concat(&[one(2), one(1), one(0)], 1);
        }
        if self.inverted {
            u = -u + 1.0;
        }
        if self.scale != 1.0 {
            u = u * self.scale;
        }
        if self.mean.iter().any(|&m| m != 0.0) {
            u = u - per_channel(&self.mean);
        }
        if self.std.iter().any(|&s| s != 1.0) {
            u = u / per_channel(&self.std);
        }
        u
    }

    /// [N,C,H,W] as the model wants it.
    fn arrange<'b>(&self, u: Expr<'b>, wanted: &[Dim]) -> Expr<'b> {
        let flat = || {
            let inner = wanted.iter().skip(1).map(|d| d.fixed().map_or(-1, |n| n as i64));
            let first = if wanted.iter().skip(1).all(|d| d.fixed().is_some()) { -1 } else { 0 };
            std::iter::once(first).chain(inner).collect::<Vec<i64>>()
        };
        match self.layout {
            Layout::Nchw => u,
            Layout::Nhwc => u.transpose(&[0, 2, 3, 1]),
            Layout::Flat => u.reshape(&flat()),
            Layout::FlatColumns => u.transpose(&[0, 1, 3, 2]).reshape(&flat()),
            Layout::FlatPixels => u.transpose(&[0, 2, 3, 1]).reshape(&flat()),
            Layout::Ncwh => u.transpose(&[0, 1, 3, 2]),
            Layout::Nwhc => u.transpose(&[0, 3, 2, 1]),
        }
    }
}

/// The layout that was stated, if it fits; else the only one that does. Where the extents of the input leave two open, `works` says
/// for each whether the operators behind the input take it.
fn layout(
    native: &Native,
    stated: Option<Layout>,
    [c, h, w]: [usize; 3],
    works: &dyn Fn(Layout) -> bool,
) -> Result<Layout, Refusal> {
    let input = native.only_input()?;
    let ty = &native.graph.value(input).ty;
    let refuse = |why: String| Refusal::model(53, format!("{}: the input is {ty}, {why}", native.name));
    let Some([_, inner @ ..]) = ty.shape.as_deref() else {
        return match stated {
            Some(layout) => Ok(layout),
            None => Err(refuse("its extents are unknown".to_owned())
                .help("say how pixels lie in it: --layout nchw|nhwc|flat|flat-columns|flat-pixels")),
        };
    };
    let matches = |extents: &[usize]| {
        inner.len() == extents.len() && inner.iter().zip(extents).all(|(d, &n)| d.fixed().is_none_or(|f| f == n))
    };
    let unknown = inner.iter().filter(|d| d.fixed().is_none()).count();
    let product: usize = inner.iter().filter_map(Dim::fixed).product();
    let row = !inner.is_empty() && (unknown == 0 && product == c * h * w || unknown == 1 && inner.len() == 1);
    let fits = |layout: Layout| match layout {
        Layout::Nchw => matches(&[c, h, w]),
        Layout::Nhwc => matches(&[h, w, c]),
        Layout::Ncwh => matches(&[c, w, h]),
        Layout::Nwhc => matches(&[w, h, c]),
        Layout::Flat | Layout::FlatColumns | Layout::FlatPixels => row,
    };
    let image = format!("the images are [N,{c},{h},{w}]");
    match stated {
        Some(layout) if fits(layout) => Ok(layout),
        Some(layout) => Err(refuse(format!("{image}, and they do not fit as --layout {}", layout.name()))),
        None => match (fits(Layout::Nchw), fits(Layout::Nhwc), row) {
            (true, true, _) => match named_channels(inner) {
                Some(layout) => Ok(layout),
                None => match (works(Layout::Nchw), works(Layout::Nhwc)) {
                    (true, false) => Ok(Layout::Nchw),
                    (false, true) => Ok(Layout::Nhwc),
                    // one channel lies in memory in the same way
                    (true, true) if c == 1 => Ok(Layout::Nchw),
                    _ => Err(Refusal::usage(54, format!("{}: the input is {ty}, {image}: two layouts fit", native.name))
                        .help("say which: --layout nchw or --layout nhwc")),
                },
            },
            (true, ..) => Ok(Layout::Nchw),
            (_, true, _) => Ok(Layout::Nhwc),
            (.., true) if c == 1 => Ok(Layout::Flat),
            (.., true) => Err(Refusal::usage(
                54,
                format!("{}: the input is {ty}, {image}: their order is not known", native.name),
            )
            .help(
                "channel by channel, row by row: --layout flat; column by column: --layout flat-columns; the channels of each \
                         pixel together: --layout flat-pixels",
            )),
            _ => Err(misfit(native, inner, [c, h, w])),
        },
    }
}

/// The refusal of images that fit no layout: it names channels where these differ, and sizes where these do.
fn misfit(native: &Native, inner: &[Dim], [c, h, w]: [usize; 3]) -> Refusal {
    let ty = native.graph.inputs().first().map(|&i| native.graph.value(i).ty.to_string()).unwrap_or_default();
    let refuse = |why: String| Refusal::model(53, format!("{}: the input is {ty}, {why}", native.name));
    let extents: Option<Vec<usize>> = inner.iter().map(Dim::fixed).collect();
    let takes = |n: usize| match extents.as_deref() {
        Some(&[a, b, d]) => [a, b, d] == [n, h, w] || [a, b, d] == [h, w, n],
        Some(row) => row.iter().product::<usize>() == n * h * w,
        None => false,
    };
    match [(1, "one channel"), (3, "three channels")].into_iter().find(|&(n, _)| n != c && takes(n)) {
        Some((1, takes)) => refuse(format!("which takes {takes}, and the images have {c}"))
            .help("make the images grey (0.299 R + 0.587 G + 0.114 B): --channels gray"),
        Some((_, takes)) => refuse(format!("which takes {takes}, and the images have {c}"))
            .help("repeat grey images in three channels: --channels rgb"),
        None => refuse(format!("the data is {}", if c == 1 { format!("{h}x{w}") } else { format!("{c}x{h}x{w}") })).help(
            format!("choose data of the size that the model was made for, or say how images become it: --resize {}", size(inner)),
        ),
    }
}

/// Whether channels are fed from the last to the first.
fn reversed(stated: Option<Channels>, channels: usize) -> Result<bool, Refusal> {
    let (wanted, name) = match stated {
        None => return Ok(false),
        Some(Channels::Gray) => (1, "gray"),
        Some(Channels::Rgb) => (3, "rgb"),
        Some(Channels::Bgr) => (3, "bgr"),
    };
    if channels != wanted {
        let what = format!("--channels {name} means {wanted} channels, and the images have {channels}");
        return Err(Refusal::usage(93, what).help("drop it, or choose other data"));
    }
    Ok(stated == Some(Channels::Bgr))
}

/// The layout that the names of the axes state: `num_channels`, `height`, `width`.
fn named_channels(inner: &[Dim]) -> Option<Layout> {
    let is_channels = |dim: &Dim| matches!(dim, Dim::Symbol(name) if name.to_lowercase().contains("channel"));
    match inner.iter().map(is_channels).collect::<Vec<_>>()[..] {
        [true, false, false] => Some(Layout::Nchw),
        [false, false, true] => Some(Layout::Nhwc),
        _ => None,
    }
}

/// The size of images that an input takes, as `--resize` wants it.
fn size(inner: &[Dim]) -> String {
    match inner {
        [a, b, c] => match (a.fixed(), b.fixed(), c.fixed()) {
            (Some(1 | 3), Some(h), Some(w)) | (Some(h), Some(w), Some(1 | 3)) => format!("{h}x{w}"),
            _ => "HEIGHTxWIDTH".to_owned(),
        },
        _ => "HEIGHTxWIDTH".to_owned(),
    }
}
