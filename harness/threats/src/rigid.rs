//! Rotation about the centre and then translation, with black where nothing comes from. The parameter is z = (angle in degrees,
//! counter-clockwise; shift of rows; shift of columns, in pixels). Source: Engstrom et al. 2019 (arXiv:1712.02779), section 3.

use flatscape_graph::Expr;
use flatscape_intake::number::number;

use super::sampling::{self, Outside, entry};
use super::{Key, Parameter, Radius, Ranges, Scale, Space, Threat, parametrised};

pub(super) const THREAT: Threat = Threat {
    name: "rigid",
    summary: "the image is rotated and shifted by at most these degrees and pixels",
    example: "rigid:30deg+3px",
    largest: f64::INFINITY,
    read,
    parameter: Some(Parameter { count: |_| 3, space: Space::Ranges(Ranges { units, decode }), decoded }),
    ..parametrised()
};

/// `30deg+3px`, `30deg`, `3px`. The distance is the larger of the shares of the two limits, so ε is 1.
fn read(spelling: &str) -> Result<Radius, String> {
    let (mut degrees, mut pixels) = (None, None);
    for part in spelling.split('+') {
        let units = [("deg", &mut degrees), ("px", &mut pixels)];
        let found = units.into_iter().find_map(|(unit, slot)| part.strip_suffix(unit).map(|number| (number, slot)));
        let (written, slot) = found.ok_or("has a part without a unit; write 30deg+3px, 30deg or 3px")?;
        let value = number(written)?;
        if value < 0.0 {
            return Err("is negative".into());
        }
        if slot.replace(value).is_some() {
            return Err("names a unit twice".into());
        }
    }
    Ok(Radius { eps: 1.0, scale: Scale::Rigid { degrees: degrees.unwrap_or(0.0), pixels: pixels.unwrap_or(0.0) } })
}

fn units(scale: &Scale, _: [usize; 3]) -> Vec<f64> {
    match *scale {
        Scale::Rigid { degrees, pixels } => vec![degrees, pixels, pixels],
        _ => vec![1.0; 3],
    }
}

/// x(p) = x0(R₋θ(p − c − t) + c)
fn decode<'b>(x0: Expr<'b>, z: Expr<'b>, shape: [usize; 3]) -> Expr<'b> {
    let (rows, columns) = sampling::grid(x0, shape);
    let [middle, centre] = centre(shape);
    let angle = entry(z, 0) * (std::f64::consts::PI / 180.0);
    let (sine, cosine) = (angle.unary("Sin"), angle.unary("Cos"));
    let (down, right) = (rows - middle - entry(z, 1), columns - centre - entry(z, 2));
    let from = (cosine * down + sine * right + middle, cosine * right - sine * down + centre);
    sampling::sample(x0, from.0, from.1, shape, Outside::Zero)
}

fn decoded(x0: &[f32], z: &[f32], shape: [usize; 3], _: Key) -> Vec<f64> {
    let [middle, centre] = centre(shape);
    let [angle, shift_row, shift_column] = [0, 1, 2].map(|place| f64::from(z[place]));
    let (sine, cosine) = angle.to_radians().sin_cos();
    let at = |row: usize, column: usize| {
        let (down, right) = (row as f64 - middle - shift_row, column as f64 - centre - shift_column);
        (cosine * down + sine * right + middle, cosine * right - sine * down + centre)
    };
    sampling::sampled(x0, shape, Outside::Zero, at)
}

fn centre([_, h, w]: [usize; 3]) -> [f64; 2] {
    [(h as f64 - 1.0) / 2.0, (w as f64 - 1.0) / 2.0]
}
