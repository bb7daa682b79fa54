//! What is done to images before anything else: their channels, the middle square, another size, a crop. The threat model is about
//! the pixels that come out.

use flatscape_graph::shown;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::resize::{Crop, Picture, Resize};
use super::{Dataset, Pixels};
use crate::refusal::Refusal;

/// What is done to images before anything else, in this order; sizes change as Pillow changes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preparation {
    /// Other channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour: Option<Colour>,
    /// The middle square.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub square: Option<Square>,
    /// Another size.
    pub resize: Option<Resize>,
    /// The middle of what was resized.
    pub crop: Option<Crop>,
}

/// The channels that images get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// One channel: (19595·R + 38470·G + 7471·B + 32768) / 65536, rounded down, which is v where R = G = B = v. The weights are those
    /// of ITU-R 601, the rounding that of Pillow's `convert("L")`.
    Gray,
    /// Three channels, each of them the grey one.
    Rgb,
}

/// The middle square of an image, before it is resized: its edge is `part/of` times the shorter edge, rounded down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Square {
    /// Numerator.
    pub part: usize,
    /// Denominator.
    pub of: usize,
}

impl Square {
    /// Reads `224/256` or `1`.
    ///
    /// # Errors
    /// A usage error.
    pub fn parse(text: &str) -> Result<Square, Refusal> {
        let (part, of) = text.split_once('/').unwrap_or((text, "1"));
        let read = |t: &str| t.trim().parse::<usize>().ok().filter(|n| (1..=65535).contains(n));
        match (read(part), read(of)) {
            (Some(part), Some(of)) if part <= of => Ok(Square { part, of }),
            _ => Err(Refusal::usage(89, format!("--square {} is not a share", shown(text)))
                .help("write the edge of the middle square over the shorter edge of the image, e.g. 224/256")),
        }
    }

    /// As `--square` takes it.
    pub fn text(&self) -> String {
        format!("{}/{}", self.part, self.of)
    }

    /// The edge of the square in an image of this size.
    fn edge(&self, [h, w]: [usize; 2]) -> usize {
        (h.min(w) * self.part / self.of.max(1)).max(1)
    }
}

impl Preparation {
    /// As on the command line.
    pub fn text(&self) -> String {
        let parts = [
            self.colour.map(|c| if c == Colour::Gray { "--channels gray".to_owned() } else { "--channels rgb".to_owned() }),
            self.square.map(|s| format!("--square {}", s.text())),
            self.resize.map(|r| format!("--resize {}", r.text())),
            self.crop.map(|c| format!("--crop {}", c.text())),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }

    /// The same without channels.
    fn sizes(self) -> Preparation {
        Preparation { colour: None, ..self }
    }

    /// The size that comes out.
    fn fitted(&self, size: [usize; 2]) -> [usize; 2] {
        let square = self.square.map_or(size, |s| [s.edge(size); 2]);
        Picture::fitted(square, self.resize, self.crop)
    }

    /// An image with everything done to it but its channels.
    fn of(&self, picture: &Picture) -> Result<Picture, String> {
        let [_, h, w] = picture.shape;
        let Some(square) = self.square else { return picture.prepared(self.resize, self.crop) };
        let edge = square.edge([h, w]);
        let middle = picture.prepared(None, Some(Crop { height: edge, width: edge, to_even: false }))?;
        middle.prepared(self.resize, self.crop)
    }
}

impl Dataset {
    /// The same images with other channels, resized and cropped. Where all of them already are what comes out, they stay as they are.
    /// The hash stays that of the images as read.
    ///
    /// # Errors
    /// Data errors: pixels that are not 8-bit, images smaller than the crop, and where images of different sizes would come out.
    pub fn prepared(mut self, preparation: Preparation) -> Result<Dataset, Refusal> {
        if let Some(colour) = preparation.colour {
            self = self.in_channels(colour);
        }
        let sizes = preparation.sizes();
        let [c, h, w] = self.shape;
        // what comes out whatever goes in
        let wanted = (sizes.fitted([7, 11]) == sizes.fitted([13, 5])).then(|| sizes.fitted([7, 11]));
        let untouched = match &self.pixels {
            Pixels::Pictures(_) => false,
            _ => wanted == Some([h, w]) || sizes.fitted([h, w]) == [h, w],
        };
        if untouched {
            return Ok(self);
        }
        let pictures = match std::mem::replace(&mut self.pixels, Pixels::Bytes(Vec::new())) {
            Pixels::Bytes(v) => {
                v.chunks_exact((c * h * w).max(1)).map(|p| Picture { shape: self.shape, pixels: p.to_vec() }).collect()
            }
            Pixels::Pictures(pictures) => pictures,
            Pixels::Floats(_) => {
                let what = format!(
                    "data set {}: its pixels are floats, and only 8-bit images are resized ({})",
                    self.name,
                    sizes.text()
                );
                return Err(Refusal::data(80, what).help("store uint8 images, or images of the size that the model takes"));
            }
        };
        let name = &self.name;
        let one = |(row, picture): (usize, &Picture)| {
            sizes.of(picture).map_err(|why| Refusal::data(80, format!("data set {name}: row {row} {why}")))
        };
        let pictures: Vec<Picture> = pictures.par_iter().enumerate().map(one).collect::<Result<_, _>>()?;
        (self.shape, self.pixels) = Pixels::of(pictures);
        if let Pixels::Pictures(_) = self.pixels {
            let what = format!("data set {name}: {} leaves images of different sizes", sizes.text());
            return Err(Refusal::data(80, what).help("state a crop, too: --crop HEIGHTxWIDTH"));
        }
        self.notes.push(format!(
            "the images were prepared by {} as Pillow does it; the threat model is about the pixels that came out, {}x{}",
            sizes.text(),
            self.shape[1],
            self.shape[2]
        ));
        Ok(self)
    }

    /// The same images in grey, or grey images in three channels.
    fn in_channels(mut self, colour: Colour) -> Dataset {
        let [c, h, w] = self.shape;
        let (said, count) = match (colour, c) {
            (Colour::Gray, 3) => ("the images were made grey by the weights 0.299, 0.587, 0.114 of red, green, blue", 1),
            (Colour::Rgb, 1) => ("the grey images were repeated in three channels", 3),
            _ => return self,
        };
        let area = h * w;
        self.pixels = match self.pixels {
            Pixels::Bytes(v) => Pixels::Bytes(per_image(&v, area, colour, grey_byte)),
            Pixels::Floats(v) => Pixels::Floats(per_image(&v, area, colour, grey_float)),
            Pixels::Pictures(v) => Pixels::Pictures(v.into_iter().map(|p| p.in_channels(colour)).collect()),
        };
        self.shape[0] = count;
        self.notes.push(format!("{said}; the threat model is about the pixels that came out"));
        self
    }
}

impl Picture {
    /// The picture in one channel or in three.
    pub(crate) fn in_channels(self, colour: Colour) -> Picture {
        let [c, h, w] = self.shape;
        match (colour, c) {
            (Colour::Gray, 3) => Picture { shape: [1, h, w], pixels: per_image(&self.pixels, h * w, colour, grey_byte) },
            (Colour::Rgb, 1) => Picture { shape: [3, h, w], pixels: self.pixels.repeat(3) },
            _ => self,
        }
    }
}

/// Every image in the other number of channels; `area` pixels each.
fn per_image<T: Copy>(values: &[T], area: usize, colour: Colour, grey: fn(T, T, T) -> T) -> Vec<T> {
    match colour {
        Colour::Rgb => values.chunks_exact(area.max(1)).flat_map(|plane| plane.repeat(3)).collect(),
        Colour::Gray => {
            let one = |image: &[T]| (0..area).map(|i| grey(image[i], image[area + i], image[2 * area + i])).collect::<Vec<T>>();
            values.chunks_exact((3 * area).max(1)).flat_map(one).collect()
        }
    }
}

fn grey_byte(r: u8, g: u8, b: u8) -> u8 {
    ((19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b) + 32768) >> 16) as u8
}

fn grey_float(r: f32, g: f32, b: f32) -> f32 {
    if r == g && g == b { r } else { (0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden values: Pillow, `Image.fromarray(...).convert("L")`.
    #[test]
    fn grey_is_that_of_pillow_and_exact_where_the_channels_agree() {
        for (rgb, grey) in [([255, 0, 0], 76), ([0, 255, 0], 150), ([0, 0, 255], 29), ([10, 200, 30], 124)] {
            assert_eq!(grey_byte(rgb[0], rgb[1], rgb[2]), grey, "{rgb:?}");
        }
        assert!((0..=255).all(|v| grey_byte(v, v, v) == v));
        assert_eq!(grey_float(0.3, 0.3, 0.3), 0.3);
        let colour = Picture { shape: [3, 1, 2], pixels: vec![255, 7, 0, 7, 0, 7] };
        let grey = colour.in_channels(Colour::Gray);
        assert_eq!((grey.shape, grey.pixels.clone()), ([1, 1, 2], vec![76, 7]));
        assert_eq!(grey.in_channels(Colour::Rgb).pixels, [76, 7, 76, 7, 76, 7]);
    }

    #[test]
    fn the_middle_square_is_a_share_of_the_shorter_edge() {
        let pixels: Vec<u8> = (0..8 * 10).collect();
        let picture = Picture { shape: [1, 8, 10], pixels };
        let preparation = Preparation { square: Some(Square::parse("7/8").expect("a share")), ..Preparation::default() };
        let middle = preparation.of(&picture).expect("fits");
        // 7 of 8 rows from row 0, 7 of 10 columns from column 1
        assert_eq!((middle.shape, middle.pixels[0], middle.pixels[48]), ([1, 7, 7], 1, 67));
        assert_eq!(preparation.fitted([8, 10]), [7, 7]);
        assert!(Square::parse("9/8").is_err() && Square::parse("0").is_err());
    }
}
