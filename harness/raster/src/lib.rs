//! SVG pictures as PNG, for slides and programs that take no SVG. Text is drawn with the fonts of the machine, so the bytes of a PNG
//! may differ from one machine to another; those of its SVG do not.

use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::{Database, Family, Query, Style};
use resvg::usvg::{FallbackSelectionFn, FontResolver, Options, Tree};

/// Pixels of the PNG per unit of the SVG, where the picture is not too large.
const SCALE: f32 = 2.0;

/// Pixels of the largest PNG: 256 MiB while it is drawn.
const PIXELS: f32 = 67_108_864.0;

/// Why a picture could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RasterError {
    /// The machine has no font.
    #[error("no font was found on this machine, so the text of the pictures cannot be drawn")]
    NoFont,
    /// Not an SVG picture.
    #[error("the picture cannot be read as SVG: {0}")]
    Svg(String),
    /// The PNG cannot be made.
    #[error("the PNG of {width} × {height} pixels cannot be made: {why}")]
    Png {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// What went wrong.
        why: String,
    },
}

/// Makes pictures, all with the same fonts.
pub struct Raster {
    options: Options<'static>,
}

impl Raster {
    /// Finds the fonts of the machine.
    ///
    /// # Errors
    /// There is none.
    pub fn with_fonts_of_the_machine() -> Result<Raster, RasterError> {
        let mut fonts = Database::new();
        fonts.load_system_fonts();
        Raster::with_fonts(fonts)
    }

    fn with_fonts(mut fonts: Database) -> Result<Raster, RasterError> {
        // what `sans-serif` names need not be there; any font is better than none
        let sans = Query { families: &[Family::SansSerif], ..Query::default() };
        if fonts.query(&sans).is_none() {
            let plain = fonts.faces().find(|face| face.families[0].0.contains("Sans")).or_else(|| fonts.faces().next());
            let family = plain.ok_or(RasterError::NoFont)?.families[0].0.clone();
            fonts.set_sans_serif_family(family);
        }
        let resolver = FontResolver { select_fallback: like_the_first(), ..FontResolver::default() };
        let options =
            Options { fontdb: Arc::new(fonts), font_family: "sans-serif".into(), font_resolver: resolver, ..Options::default() };
        Ok(Raster { options })
    }

    /// A picture as PNG: two pixels per unit of the SVG, fewer for a picture that would have more than 64 million pixels.
    ///
    /// # Errors
    /// The text is no SVG, or the PNG cannot be made.
    pub fn png(&self, svg: &str) -> Result<Vec<u8>, RasterError> {
        let tree = Tree::from_str(svg, &self.options).map_err(|e| RasterError::Svg(e.to_string()))?;
        let (width, height) = (tree.size().width(), tree.size().height());
        let scale = SCALE.min((PIXELS / (width * height)).sqrt());
        let pixels = |extent: f32| ((extent * scale).round() as u32).max(1);
        let (width, height) = (pixels(width), pixels(height));
        let failed = |why: String| RasterError::Png { width, height, why };
        let mut drawn = Pixmap::new(width, height).ok_or_else(|| failed("the memory for it cannot be had".into()))?;
        resvg::render(&tree, Transform::from_scale(scale, scale), &mut drawn.as_mut());
        drawn.encode_png().map_err(|e| failed(e.to_string()))
    }
}

/// Where a font lacks a character, an upright font without serifs, as bold, that has it, or else any that has it.
fn like_the_first() -> FallbackSelectionFn<'static> {
    let any = FontResolver::default_fallback_selector();
    Box::new(move |character, tried, fonts| {
        let mut tried = tried.to_vec();
        let weight = fonts.face(*tried.first()?)?.weight;
        let first = any(character, &tried, fonts)?;
        let mut next = Some(first);
        while let Some(id) = next {
            let face = fonts.face(id)?;
            let family = &face.families[0].0;
            if face.style == Style::Normal && face.weight == weight && family.contains("Sans") && !family.contains("Mono") {
                return Some(id);
            }
            tried.push(id);
            next = any(character, &tried, fonts);
        }
        Some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: &str =
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="3" height="2"><rect width="1" height="2" fill="#FF0000"/></svg>"##;

    fn raster() -> Option<Raster> {
        match Raster::with_fonts_of_the_machine() {
            Ok(raster) => Some(raster),
            Err(RasterError::NoFont) => {
                println!("skipped: this machine has no font");
                None
            }
            Err(e) => panic!("{e}"),
        }
    }

    #[test]
    fn a_machine_without_fonts_makes_no_picture() {
        assert!(matches!(Raster::with_fonts(Database::new()), Err(RasterError::NoFont)));
    }

    #[test]
    fn pixels_have_the_colours_of_the_picture_at_twice_its_size() {
        let Some(raster) = raster() else { return };
        let drawn = Pixmap::decode_png(&raster.png(SQUARE).expect("it is SVG")).expect("it is PNG");
        assert_eq!((drawn.width(), drawn.height()), (6, 4));
        let colour = |x, y| drawn.pixel(x, y).map(|p| (p.red(), p.green(), p.blue(), p.alpha()));
        assert_eq!(
            (colour(0, 0), colour(1, 3), colour(2, 0)),
            (Some((255, 0, 0, 255)), Some((255, 0, 0, 255)), Some((0, 0, 0, 0)))
        );
    }

    #[test]
    fn text_leaves_ink_whatever_family_is_asked_for() {
        let Some(raster) = raster() else { return };
        let text = r#"<svg xmlns="http://www.w3.org/2000/svg" width="60" height="20" font-family="no-such-family, sans-serif"><text x="2" y="15">ε₁ 0.5</text></svg>"#;
        let drawn = Pixmap::decode_png(&raster.png(text).expect("it is SVG")).expect("it is PNG");
        assert!(drawn.pixels().iter().any(|p| p.alpha() > 128), "nothing was drawn");
    }

    #[test]
    fn a_huge_picture_is_made_smaller_and_what_is_no_picture_is_refused() {
        let Some(raster) = raster() else { return };
        let huge = r#"<svg xmlns="http://www.w3.org/2000/svg" width="40000" height="10000"/>"#;
        let drawn = Pixmap::decode_png(&raster.png(huge).expect("it is SVG")).expect("it is PNG");
        assert!(drawn.width() as f32 * drawn.height() as f32 <= 1.001 * PIXELS, "{} × {}", drawn.width(), drawn.height());
        assert!(matches!(raster.png("<svg"), Err(RasterError::Svg(_))));
    }
}
