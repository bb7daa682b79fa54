//! Images in double precision, and what lies beyond their border.

/// An image [C,H,W].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Image {
    pub values: Vec<f64>,
    pub shape: [usize; 3],
}

/// What lies beyond the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    /// The nearest pixel: a a | a b c | c c.
    Nearest,
    /// The image mirrored at its border: b a | a b c | c b.
    Mirrored,
    /// The image mirrored at its last pixel: c b | a b c | b a.
    Reflected,
}

impl Edge {
    /// The place within an extent that stands for one outside of it.
    fn place(self, at: i64, extent: usize) -> usize {
        let n = extent as i64;
        let folded = |period: i64, turn: i64| {
            let at = at.rem_euclid(period);
            if at < n { at } else { turn - at }
        };
        let at = match self {
            Edge::Nearest => at.clamp(0, n - 1),
            Edge::Mirrored => folded(2 * n, 2 * n - 1),
            Edge::Reflected if n == 1 => 0,
            Edge::Reflected => folded(2 * n - 2, 2 * n - 2),
        };
        at as usize
    }
}

impl Image {
    pub fn new(values: &[f32], shape: [usize; 3]) -> Image {
        Image { values: values.iter().map(|&v| f64::from(v)).collect(), shape }
    }

    /// One plane [H,W], as an image of one channel.
    pub fn plane(values: Vec<f64>, [h, w]: [usize; 2]) -> Image {
        Image { values, shape: [1, h, w] }
    }

    pub fn height_and_width(&self) -> [usize; 2] {
        [self.shape[1], self.shape[2]]
    }

    /// Its planes, one per channel.
    pub fn planes(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks((self.shape[1] * self.shape[2]).max(1))
    }

    /// Every value by itself.
    pub fn map(&self, of: impl Fn(f64) -> f64) -> Image {
        Image { values: self.values.iter().map(|&v| of(v)).collect(), shape: self.shape }
    }

    /// Every value with a number of its own.
    pub fn zip(&self, with: &[f64], of: impl Fn(f64, f64) -> f64) -> Image {
        Image { values: self.values.iter().zip(with).map(|(&v, &n)| of(v, n)).collect(), shape: self.shape }
    }

    /// Every pixel by itself: its channels, in place.
    pub fn map_pixels(&self, change: impl Fn(&mut [f64])) -> Image {
        let pixels = self.shape[1] * self.shape[2];
        let mut out = self.clone();
        let mut colours = vec![0.0; self.shape[0]];
        for pixel in 0..pixels {
            colours.iter_mut().enumerate().for_each(|(c, v)| *v = self.values[c * pixels + pixel]);
            change(&mut colours);
            colours.iter().enumerate().for_each(|(c, &v)| out.values[c * pixels + pixel] = v);
        }
        out
    }

    pub fn at(&self, channel: usize, row: i64, column: i64, edge: Edge) -> f64 {
        let [_, h, w] = self.shape;
        self.values[(channel * h + edge.place(row, h)) * w + edge.place(column, w)]
    }

    /// Σ weight·x(row + Δrow, column + Δcolumn)
    pub fn correlated(&self, weights: &[(i64, i64, f64)], edge: Edge) -> Image {
        self.made(|image, channel, row, column| {
            weights.iter().map(|(down, right, weight)| weight * image.at(channel, row + down, column + right, edge)).sum()
        })
    }

    /// Every pixel taken, bilinearly, from the place (row, column) that is given for it.
    pub fn taken_from(&self, places: &[(f64, f64)], edge: Edge) -> Image {
        let w = self.shape[2];
        self.made(|image, channel, row, column| {
            let (r, c) = places[row as usize * w + column as usize];
            let (first_row, first_column) = (r.floor(), c.floor());
            let (below, right) = (r - first_row, c - first_column);
            let value = |down: i64, across: i64| image.at(channel, first_row as i64 + down, first_column as i64 + across, edge);
            let above = (1.0 - right) * value(0, 0) + right * value(0, 1);
            (1.0 - below) * above + below * ((1.0 - right) * value(1, 0) + right * value(1, 1))
        })
    }

    /// Convolved with a Gaussian of this width along rows and along columns, cut off at `truncate` widths.
    pub fn gaussian(&self, sigma: f64, truncate: f64, edge: Edge) -> Image {
        let reach = (truncate * sigma + 0.5) as i64;
        if reach == 0 {
            return self.clone();
        }
        let weight = |k: i64| (-0.5 * (k as f64 / sigma).powi(2)).exp();
        let total: f64 = (-reach..=reach).map(weight).sum();
        let along = |down: i64, right: i64| -> Vec<(i64, i64, f64)> {
            (-reach..=reach).map(|k| (k * down, k * right, weight(k) / total)).collect()
        };
        self.correlated(&along(1, 0), edge).correlated(&along(0, 1), edge)
    }

    fn made(&self, of: impl Fn(&Image, usize, i64, i64) -> f64) -> Image {
        let [channels, h, w] = self.shape;
        let mut values = Vec::with_capacity(self.values.len());
        for channel in 0..channels {
            for row in 0..h as i64 {
                values.extend((0..w as i64).map(|column| of(self, channel, row, column)));
            }
        }
        Image { values, shape: self.shape }
    }
}
