//! The colours: one sequential scale for heights, one set for curves, four neutrals. Both are safe for the common forms of
//! colour blindness, and pictures and page take theirs from here.

/// An RGB colour, 8 bits each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub u8, pub u8, pub u8);

impl Colour {
    /// This colour with a share of another in it.
    pub fn mixed(self, other: Colour, share: f64) -> Colour {
        let blend = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * share).round() as u8;
        Colour(blend(self.0, other.0), blend(self.1, other.1), blend(self.2, other.2))
    }

    /// `#rrggbb`.
    pub fn hex(self) -> String {
        format!("#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

/// Viridis (van der Walt and Smith 2015, CC0) at 20 equal steps: perceptually uniform, dark is low.
const SCALE: [Colour; 20] = [
    Colour(68, 1, 84),
    Colour(72, 21, 103),
    Colour(72, 38, 119),
    Colour(69, 55, 129),
    Colour(64, 71, 136),
    Colour(57, 86, 140),
    Colour(51, 99, 141),
    Colour(45, 112, 142),
    Colour(40, 125, 142),
    Colour(35, 138, 141),
    Colour(31, 150, 139),
    Colour(32, 163, 135),
    Colour(41, 175, 127),
    Colour(60, 187, 117),
    Colour(85, 198, 103),
    Colour(115, 208, 85),
    Colour(149, 216, 64),
    Colour(184, 222, 41),
    Colour(220, 227, 25),
    Colour(253, 231, 37),
];

/// Colours of curves: Okabe and Ito 2008, without the yellow that vanishes on white; repeated when there are more curves.
pub const CURVES: [Colour; 7] = [
    Colour(0, 114, 178),
    Colour(213, 94, 0),
    Colour(0, 158, 115),
    Colour(204, 121, 167),
    Colour(86, 180, 233),
    Colour(230, 159, 0),
    Colour(90, 90, 90),
];

/// Marks what changed: cells of another class, doubts.
pub const ALARM: Colour = Colour(196, 69, 54);
/// Background of a stand-alone picture.
pub const PAPER: Colour = Colour(255, 255, 255);
/// Text and marks.
pub const INK: Colour = Colour(31, 36, 48);
/// Secondary text.
pub const QUIET: Colour = Colour(94, 102, 117);
/// Outline of a mark on a coloured ground, which is the same on every paper.
pub const OUTLINE: Colour = Colour(20, 24, 32);
/// Grid lines.
pub const RULE: Colour = Colour(214, 218, 225);

/// Colour of `value` on the scale whose ends are `range`; beyond the ends the end's colour.
pub fn height_colour(value: f64, range: (f64, f64)) -> Colour {
    let (low, high) = range;
    let share = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 };
    let place = if share.is_nan() { 0.0 } else { share } * (SCALE.len() - 1) as f64;
    let below = (place.floor() as usize).min(SCALE.len() - 2);
    let part = place - below as f64;
    SCALE[below].mixed(SCALE[below + 1], part)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance (WCAG 2.2).
    fn luminance(colour: Colour) -> f64 {
        let linear = |level: u8| {
            let share = f64::from(level) / 255.0;
            if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(colour.0) + 0.7152 * linear(colour.1) + 0.0722 * linear(colour.2)
    }

    #[test]
    fn higher_is_lighter_so_the_scale_reads_without_colour() {
        let lights: Vec<f64> = (0..=100).map(|k| luminance(height_colour(f64::from(k), (0.0, 100.0)))).collect();
        assert!(lights.windows(2).all(|pair| pair[1] >= pair[0]), "{lights:?}");
        assert!(lights[100] > 40.0 * lights[0]);
    }

    #[test]
    fn beyond_the_scale_is_the_colour_of_its_end() {
        assert_eq!(height_colour(-9.0, (0.0, 1.0)), Colour(68, 1, 84));
        assert_eq!(height_colour(9.0, (0.0, 1.0)), Colour(253, 231, 37));
        assert_eq!(height_colour(f64::NAN, (0.0, 1.0)), Colour(68, 1, 84));
    }

    #[test]
    fn text_and_curves_stand_out_from_paper() {
        let contrast = |colour| (luminance(PAPER) + 0.05) / (luminance(colour) + 0.05);
        assert!(contrast(INK) > 7.0 && contrast(QUIET) > 4.5 && contrast(ALARM) > 4.5);
        assert!(CURVES.iter().all(|&colour| contrast(colour) > 2.0));
    }

    /// What people without one kind of cone see of a colour (Machado, Oliveira and Fernandes 2009, severity 1), as CIE L*a*b*.
    fn seen(colour: Colour, matrix: [[f64; 3]; 3]) -> [f64; 3] {
        let linear = [colour.0, colour.1, colour.2].map(|level| {
            let share = f64::from(level) / 255.0;
            if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        });
        let times = |m: [[f64; 3]; 3], v: [f64; 3]| m.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);
        let rgb = times(matrix, linear).map(|share| share.clamp(0.0, 1.0));
        let xyz = times([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], rgb);
        let f = |share: f64| if share > 216.0 / 24389.0 { share.cbrt() } else { (24389.0 / 27.0 * share + 16.0) / 116.0 };
        let [x, y, z] = [f(xyz[0] / 0.9505), f(xyz[1]), f(xyz[2] / 1.089)];
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    #[test]
    fn curves_are_told_apart_without_one_kind_of_cone() {
        let kinds = [
            ("protanopia", [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
            ("deuteranopia", [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
            ("tritanopia", [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
        ];
        for (kind, matrix) in kinds {
            for (place, &one) in CURVES.iter().enumerate() {
                for &other in &CURVES[..place] {
                    let (a, b) = (seen(one, matrix), seen(other, matrix));
                    let apart = (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt();
                    // a difference of 2.3 is just noticed (Mahy, Van Eycken and Oosterlinck 1994)
                    assert!(apart > 15.0, "{kind}: {} and {} are {apart} apart", one.hex(), other.hex());
                }
            }
        }
    }
}
