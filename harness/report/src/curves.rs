//! Curves that a metric gives for a whole data set, as data: a density, an accuracy by radius. What they mean is not known here.

use crate::cell::{Cell, csv_bytes};

/// A curve of one metric on one model under one threat model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataCurve {
    /// Name of the model.
    pub model: String,
    /// Threat model as written.
    pub threat: String,
    /// Id of the metric.
    pub component: String,
    /// Its arguments as written.
    pub args: String,
    /// Name of the curve.
    pub name: String,
    /// The points (x, y).
    pub points: Vec<(f64, f64)>,
}

/// `curves.csv`: `model, threat, component, args, curve, x, y`, one line per point. The rules of [`crate::results_csv`] hold.
pub fn curve_csv(curves: &[DataCurve]) -> Vec<u8> {
    let header = ["model", "threat", "component", "args", "curve", "x", "y"].map(|name| Cell::Text(name.into()));
    let lines = curves.iter().flat_map(|curve| {
        let words = [&curve.model, &curve.threat, &curve.component, &curve.args, &curve.name];
        curve.points.iter().map(move |&(x, y)| {
            let text = words.map(|word| Cell::Text(word.as_str().into()));
            text.into_iter().chain([x, y].map(Cell::Number)).collect::<Vec<_>>()
        })
    });
    csv_bytes(header.into_iter(), lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_a_line_per_point() {
        let curve = DataCurve {
            model: "a,b".into(),
            component: "logp".into(),
            name: "logp_clean".into(),
            points: vec![(0.5, 2.0), (1.5, f64::NAN)],
            ..DataCurve::default()
        };
        let text = String::from_utf8(curve_csv(&[curve])).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["model,threat,component,args,curve,x,y", "\"a,b\",,logp,,logp_clean,0.5,2"], "{text}");
        assert_eq!(lines.len(), 3);
    }
}
