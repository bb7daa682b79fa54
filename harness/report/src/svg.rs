//! A picture being written: SVG elements from numbers and escaped text, and nothing that could run, link or load. It does not
//! know what is drawn.

use std::fmt::Write;

use crate::palette::{Colour, INK, PAPER, QUIET, RULE};
use crate::text::shown_to;

/// Typefaces that are already there; a picture loads none.
const FONT: &str = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'Liberation Sans', sans-serif";

/// A picture being written. Neutral colours carry a class (`ink`, `quiet`, `rule`, `paper`) by which a page can restyle them.
pub(crate) struct Svg {
    text: String,
}

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

impl Svg {
    /// An empty picture with a description for those who cannot see it.
    pub(crate) fn new(width: f64, height: f64, description: &str) -> Svg {
        let (w, h) = (number(width), number(height));
        let mut svg = Svg { text: String::new() };
        let description = escaped(&shown_to(description, 400));
        let _ = writeln!(
            svg.text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" font-family=\"{FONT}\">\
             <title>{description}</title><rect class=\"paper\" width=\"{w}\" height=\"{h}\" fill=\"{}\"/>",
            PAPER.hex()
        );
        svg
    }

    /// Opens a group; `attributes` are the caller's own words, never a stranger's.
    pub(crate) fn open(&mut self, attributes: &str) {
        let _ = writeln!(self.text, "<g {attributes}>");
    }

    /// Closes a group.
    pub(crate) fn close(&mut self) {
        self.text.push_str("</g>\n");
    }

    /// A path through `points`, closed where `closed`; `attributes` as in [`Svg::open`].
    pub(crate) fn path(&mut self, points: &[(f64, f64)], closed: bool, attributes: &str) {
        self.text.push_str("<path d=\"");
        for (place, (x, y)) in points.iter().enumerate() {
            let _ = write!(self.text, "{}{} {}", if place == 0 { "M" } else { "L" }, number(*x), number(*y));
        }
        let space = if attributes.is_empty() { "" } else { " " };
        let _ = writeln!(self.text, "{}\"{space}{attributes}/>", if closed { "Z" } else { "" });
    }

    /// A filled quadrilateral in tenths of the picture's unit, for a group that is scaled by a tenth: short, because a surface
    /// has thousands.
    pub(crate) fn tile(&mut self, points: &[(f64, f64); 4], colour: Colour) {
        let tenths = points.map(|(x, y)| (bounded(10.0 * x).round() as i64, bounded(10.0 * y).round() as i64));
        let _ = write!(self.text, "<path d=\"M{} {}l", tenths[0].0, tenths[0].1);
        for (place, pair) in tenths.windows(2).enumerate() {
            let (dx, dy) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
            // A minus sign separates as well as a space does.
            let separate = |delta: i64| if delta < 0 { "" } else { " " };
            let first = if place == 0 { "" } else { separate(dx) };
            let _ = write!(self.text, "{first}{dx}{}{dy}", separate(dy));
        }
        let _ = writeln!(self.text, "z\" fill=\"{}\"/>", colour.hex());
    }

    /// A thin grid line.
    pub(crate) fn rule(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.path(&[from, to], false, &format!("class=\"rule\" fill=\"none\" stroke=\"{}\"", RULE.hex()));
    }

    /// A rectangle.
    pub(crate) fn rect(&mut self, corner: (f64, f64), size: (f64, f64), attributes: &str) {
        let _ = writeln!(
            self.text,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" {attributes}/>",
            number(corner.0),
            number(corner.1),
            number(size.0),
            number(size.1)
        );
    }

    /// A circle.
    pub(crate) fn circle(&mut self, centre: (f64, f64), radius: f64, attributes: &str) {
        let _ = writeln!(
            self.text,
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" {attributes}/>",
            number(centre.0),
            number(centre.1),
            number(radius)
        );
    }

    /// One line of text; `longest` is in characters.
    pub(crate) fn label(&mut self, at: (f64, f64), anchor: Anchor, size: f64, ink: Ink, label: &str, longest: usize) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (class, colour, weight) = match ink {
            Ink::Plain => ("ink", INK, ""),
            Ink::Quiet => ("quiet", QUIET, ""),
            Ink::Bold => ("ink", INK, " font-weight=\"600\""),
        };
        let _ = writeln!(
            self.text,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\" font-size=\"{}\" fill=\"{}\"{weight}>{}</text>",
            number(at.0),
            number(at.1),
            number(size),
            colour.hex(),
            escaped(&shown_to(label, longest))
        );
    }

    /// The whole picture.
    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

/// A coordinate with one decimal at most: the same on every machine, and short.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{:.1}", bounded(value));
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A coordinate that every viewer can hold; what is further out is outside the picture anyway.
fn bounded(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(-1e6, 1e6) }
}

/// Text for an XML element or a quoted attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
