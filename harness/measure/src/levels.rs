//! Points as 8-bit files hold them: pixels on the grid of 1/255. A model that takes integers never sees what lies between.

use crate::threats::ThreatModel;
use crate::verify::admissible;

/// The point with its pixels on the grid, in the ball and the box: the nearest levels, no farther from `origin` than the point's
/// largest deviation; and where that leaves the ball, the levels towards `origin`, which come closer to it in every pixel.
pub fn on_grid(threat: &ThreatModel, origin: &[f32], point: &[f32]) -> Vec<f32> {
    let level = |v: f32| f64::from(v) * 255.0;
    let pairs = || point.iter().zip(origin).map(|(&p, &o)| (level(p), rounded(level(o))));
    let largest = pairs().fold(0.0, |m: f64, (p, o)| m.max((p - o).abs()));
    let reach = (largest + 1e-4).floor();
    let pixel = |level: f64| (level as f32 / 255.0).clamp(0.0, 1.0);
    let nearest: Vec<f32> = pairs().map(|(p, o)| pixel(rounded(p).clamp(o - reach, o + reach))).collect();
    // a decoded image is in its ball whatever its pixels are, up to the rounding
    if threat.norm.parameter.is_some() {
        return point.iter().map(|&p| pixel(rounded(level(p)))).collect();
    }
    if admissible(threat, origin, &nearest).is_none() {
        return nearest;
    }
    // a deviation of 2.9999 levels that rounding left of 3 is 3
    let whole = |d: f64| d.signum() * (d.abs() + 1e-4).floor();
    pairs().map(|(p, o)| pixel(o + whole(p - o))).collect()
}

/// `level.round()` of a product of a float32 number and 255. Such a product has at most 32 digits, so that adding ½ is exact.
fn rounded(level: f64) -> f64 {
    const EXACT: f64 = 1e9;
    if level.abs() < EXACT { (level + 0.5f64.copysign(level)) as i64 as f64 } else { level.round() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_rounded_as_numbers_are() {
        let near = (-3000..3000).flat_map(|i| [i as f32 / 510.0, (i as f32 / 510.0).next_up(), (i as f32 / 510.0).next_down()]);
        for v in near.chain([0.0, -0.0, 1e-40, -1e-40, 3.9e6, -3.9e6, 1e20, -1e20, f32::INFINITY, f32::NEG_INFINITY, f32::NAN]) {
            let level = f64::from(v) * 255.0;
            assert!(rounded(level) == level.round() || level.is_nan() && rounded(level).is_nan(), "{level}");
        }
    }

    /// In the ball, on the grid, and as near as the ball lets it.
    #[test]
    fn rounding_does_not_leave_the_ball() {
        let origin: Vec<f32> = [0u8, 10, 100, 200, 255].iter().map(|&b| f32::from(b) / 255.0).collect();
        for (text, offset) in [("linf:0.1", 25.5), ("linf:8/255", 8.0), ("l2:0.1", 11.4), ("l1:0.2", 10.2), ("linf:0", 0.0)] {
            let threat = ThreatModel::parse(text, false).expect(text);
            let signs = [1.0, -0.3, 0.99, -1.0, -1.0];
            let point: Vec<f32> = origin.iter().zip(signs).map(|(o, s)| (o + s * offset / 255.0).clamp(0.0, 1.0)).collect();
            let found = on_grid(&threat, &origin, &point);
            assert!(found.iter().all(|v| (v * 255.0 - (v * 255.0).round()).abs() < 1e-4), "{text}: {found:?}");
            let inside = admissible(&threat, &origin, &point).is_none();
            assert!(!inside || admissible(&threat, &origin, &found).is_none(), "{text}: {found:?}");
            let far = found.iter().zip(&point).map(|(a, b)| (a - b).abs() * 255.0).fold(0.0, f32::max);
            assert!(far < 1.0, "{text}: {far} levels away");
        }
        let threat = ThreatModel::parse("linf:8/255", false).expect("a threat");
        let point: Vec<f32> = origin.iter().map(|o| (o + 8.0 / 255.0).min(1.0)).collect();
        let levels: Vec<f32> = on_grid(&threat, &origin, &point).iter().map(|v| (v * 255.0).round()).collect();
        assert_eq!(levels, [8.0, 18.0, 108.0, 208.0, 255.0]);
    }
}
