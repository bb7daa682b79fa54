//! A picture painted by plotters: what all pictures share, which is the paper, the text styles and the last touch on the bytes.
//! It does not know what is painted.
//!
//! plotters places everything on whole pixels and writes neither classes nor a description. So a picture is painted ten times
//! as large as it is shown, which makes a pixel a tenth of a unit, and [`picture`] puts the shown size, the description and the
//! classes (`ink`, `quiet`, `rule`, `mark`, `paper`, by which a page restyles the neutral colours) into the finished text.
//! That is safe because plotters escapes every text: a quoted attribute never comes from outside.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::palette::{Colour, INK, PAPER, QUIET, RULE};
use crate::text::shown_to;

/// Typefaces that are already there; a picture loads none.
const FONT: &str = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'Liberation Sans', sans-serif";

/// The picture while it is painted, in tenths of a unit.
pub(crate) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// How painting ends; on a text buffer it does not fail.
pub(crate) type Painted = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Where a text is held.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks.
#[derive(Clone, Copy)]
pub(crate) enum Ink {
    Plain,
    Quiet,
    Bold,
}

/// A whole picture of `size` units with a description for those who cannot see it.
pub(crate) fn picture(size: (f64, f64), description: &str, paint: impl FnOnce(&Canvas) -> Painted) -> String {
    let (width, height) = (tenths(size.0), tenths(size.1));
    let mut painted = String::new();
    {
        let canvas = SVGBackend::with_string(&mut painted, (width as u32, height as u32)).into_drawing_area();
        let outcome = canvas.fill(&RGBColor::from(PAPER)).and_then(|()| paint(&canvas)).and_then(|()| canvas.present());
        if let Err(fault) = outcome {
            // Stated in the picture, because others beside it are whole.
            let words = format!("this picture is not whole: {fault}");
            let _ = label(&canvas, (4.0, 12.0), Anchor::Start, 11.0, Ink::Plain, &words, 200);
        }
    }
    let body = painted.split_once(">\n").map_or("", |(_, body)| body);
    let head = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{}\" height=\"{}\" role=\"img\" \
         font-family=\"{FONT}\" fill=\"none\" stroke-width=\"{THIN}\" stroke-linejoin=\"round\"><title>{}</title>\n",
        shortest(size.0),
        shortest(size.1),
        escaped(&shown_to(description, 400))
    );
    head + &touched_up(body)
}

/// Width of a line without a width of its own, in tenths; the picture's own, so that thousands of lines need not repeat it.
pub(crate) const THIN: u32 = 6;

/// Drops what the head of the picture says once, and gives the neutral colours their classes.
fn touched_up(body: &str) -> String {
    let mut body = body
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\"", "")
        .replace(" fill=\"none\"", "")
        .replace(" font-family=\"sans-serif\"", "")
        .replace(&format!(" stroke-width=\"{THIN}\""), "")
        .replace(" \"/>", "\"/>")
        .replace("\">\n", "\">")
        .replace("\n</text>", "</text>");
    for (class, attribute, colour) in
        [("ink", "fill", INK), ("quiet", "fill", QUIET), ("rule", "stroke", RULE), ("mark", "stroke", INK)]
    {
        let painted = format!(" {attribute}=\"{}\"", colour.hex().to_uppercase());
        body = body.replace(&painted, &format!(" class=\"{class}\"{painted}"));
    }
    merged(&body).replacen("<rect ", "<rect class=\"paper\" ", 1)
}

/// Makes one element of an area and the outline that follows it: plotters has no polygon with both, and a surface has
/// thousands.
fn merged(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    let mut lines = body.lines().peekable();
    while let Some(line) = lines.next() {
        let outlined = line.strip_prefix("<polygon fill=").and_then(|area| {
            let (colour, places) = area.strip_suffix("\"/>")?.split_once(" points=\"")?;
            let (stroke, around) = lines.peek()?.strip_prefix("<polyline ")?.strip_suffix("\"/>")?.split_once(" points=\"")?;
            let back = around.strip_prefix(places)?.strip_prefix(' ')?;
            (places.split(' ').next() == Some(back)).then(|| format!("<polygon fill={colour} {stroke} points=\"{places}\"/>"))
        });
        match outlined {
            Some(element) => {
                out.push_str(&element);
                lines.next();
            }
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// A place in units, on the grid that plotters paints on. What is far outside stays outside.
pub(crate) fn at((x, y): (f64, f64)) -> (i32, i32) {
    (tenths(x), tenths(y))
}

/// A length in units, in tenths.
pub(crate) fn tenths(units: f64) -> i32 {
    if units.is_nan() { 0 } else { (10.0 * units.clamp(-1e6, 1e6)).round() as i32 }
}

/// A line's style; `width` is in tenths.
pub(crate) fn stroke(colour: Colour, width: u32) -> ShapeStyle {
    RGBColor::from(colour).stroke_width(width)
}

/// An area's style.
pub(crate) fn fill(colour: Colour) -> ShapeStyle {
    RGBColor::from(colour).filled()
}

/// A line through places in units.
pub(crate) fn line(canvas: &Canvas, places: &[(f64, f64)], style: ShapeStyle) -> Painted {
    canvas.draw(&PathElement::new(places.iter().copied().map(at).collect::<Vec<_>>(), style))
}

/// A thin grid line.
pub(crate) fn rule(canvas: &Canvas, from: (f64, f64), to: (f64, f64)) -> Painted {
    line(canvas, &[from, to], stroke(RULE, 10))
}

/// One line of text with its baseline at `place`; `longest` is in characters.
pub(crate) fn label(
    canvas: &Canvas,
    place: (f64, f64),
    anchor: Anchor,
    size: f64,
    ink: Ink,
    label: &str,
    longest: usize,
) -> Painted {
    let held = match anchor {
        Anchor::Start => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::End => HPos::Right,
    };
    // The nearest that plotters has to a baseline is the middle of a small letter.
    let middle = (place.0, place.1 - 0.27 * size);
    canvas.draw_text(&shown_to(label, longest), &text_style(size, ink).pos(Pos::new(held, VPos::Center)), at(middle))
}

/// The style of a text of `size` units.
pub(crate) fn text_style(size: f64, ink: Ink) -> TextStyle<'static> {
    let (colour, weight) = match ink {
        Ink::Plain => (INK, FontStyle::Normal),
        Ink::Quiet => (QUIET, FontStyle::Normal),
        Ink::Bold => (INK, FontStyle::Bold),
    };
    TextStyle {
        color: RGBColor::from(colour).to_backend_color(),
        // plotters writes a font's size divided by 1.24.
        ..("sans-serif", 10.0 * size * 1.24, weight).into_font().into()
    }
}

impl From<Colour> for RGBColor {
    fn from(Colour(red, green, blue): Colour) -> RGBColor {
        RGBColor(red, green, blue)
    }
}

/// A length in units with one decimal at most.
fn shortest(units: f64) -> String {
    let text = format!("{units:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// Text for an XML element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_area_and_its_outline_are_one_element() {
        let corners = [(0, 0), (10, 0), (10, 10)];
        let svg = picture((2.0, 2.0), "", |canvas| {
            canvas.draw(&Polygon::new(corners, fill(RULE)))?;
            canvas.draw(&PathElement::new([corners.as_slice(), &corners[..1]].concat(), stroke(Colour(1, 2, 3), THIN)))?;
            canvas.draw(&Polygon::new(corners, fill(RULE)))?;
            canvas.draw(&PathElement::new(corners, stroke(Colour(1, 2, 3), THIN)))
        });
        assert_eq!(
            svg.lines().skip(2).collect::<Vec<_>>(),
            [
                "<polygon fill=\"#D6DAE1\" stroke=\"#010203\" points=\"0,0 10,0 10,10\"/>",
                "<polygon fill=\"#D6DAE1\" points=\"0,0 10,0 10,10\"/>",
                "<polyline stroke=\"#010203\" points=\"0,0 10,0 10,10\"/>",
                "</svg>"
            ]
        );
    }

    #[test]
    fn neutral_colours_have_classes_and_a_text_cannot_be_an_attribute() {
        let hostile = "\" fill=\"#1F2430\"/><script>";
        let svg = picture((20.0, 10.5), hostile, |canvas| {
            label(canvas, (1.0, 9.0), Anchor::Start, 10.0, Ink::Quiet, hostile, 99)?;
            rule(canvas, (0.0, 1.0), (2.5, f64::NAN))
        });
        let lines: Vec<&str> = svg.lines().collect();
        assert!(lines[0].starts_with("<svg ") && lines[0].contains(" viewBox=\"0 0 200 105\" width=\"20\" height=\"10.5\""));
        assert!(lines[0].ends_with("<title>\" fill=\"#1F2430\"/&gt;&lt;script&gt;</title>"), "{svg}");
        assert_eq!(lines[1], "<rect class=\"paper\" x=\"0\" y=\"0\" width=\"200\" height=\"105\" fill=\"#FFFFFF\"/>");
        assert_eq!(
            lines[2],
            "<text x=\"10\" y=\"63\" dy=\"0.5ex\" text-anchor=\"start\" font-size=\"100\" class=\"quiet\" fill=\"#5E6675\">\
             &quot; fill=&quot;#1F2430&quot;/&gt;&lt;script&gt;</text>"
        );
        assert_eq!(lines[3], "<polyline class=\"rule\" stroke=\"#D6DAE1\" stroke-width=\"10\" points=\"0,10 25,0\"/>");
        assert_eq!(lines[4..], ["</svg>"]);
    }
}
