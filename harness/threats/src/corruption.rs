//! Common corruptions as a threat model. The parameter is z = (type, severity, draw): a row of [`TYPES`], 1 to 5, and the number of the
//! draw, 0 for types that draw nothing; (0, 0, 0) is the image. Images are decoded by the host, in double precision.

use flatscape_corruptions::{Key, SEVERITIES, TYPES};
use flatscape_intake::number::number;

use super::parametrised::Points;
use super::{Parameter, Radius, Scale, Space, Threat, parametrised};

pub(super) const THREAT: Threat = Threat {
    name: "corruption",
    summary: "noise, blur, weather and digital artefacts of at most this severity, 1 to 5",
    example: "corruption:3",
    largest: SEVERITIES as f64,
    read,
    parameter: Some(Parameter {
        count: |_| 3,
        space: Space::Points(Points { distance, kinds: TYPES.len() * SEVERITIES, kind }),
        decoded,
    }),
    ..parametrised()
};

fn read(spelling: &str) -> Result<Radius, String> {
    let eps = number(spelling)?;
    if eps.fract() != 0.0 || !(1.0..=SEVERITIES as f64).contains(&eps) {
        return Err(format!("is not a severity; severities are the whole numbers 1 to {SEVERITIES}"));
    }
    Ok(Radius { eps, scale: Scale::Severity })
}

/// Type, severity (from 1) and draw of a parameter; `None` where it is 0 or means nothing.
fn named(z: &[f32]) -> Option<(usize, usize, u32)> {
    let whole = |v: &f32| (v.fract() == 0.0 && (0.0..=65536.0).contains(v)).then_some(*v as usize);
    let [kind, severity, draw] = z else { return None };
    let (kind, severity, draw) = (whole(kind)?, whole(severity)?, whole(draw)?);
    let row = TYPES.get(kind)?;
    ((1..=SEVERITIES).contains(&severity) && (row.random || draw == 0)).then_some((kind, severity, draw as u32))
}

/// The severity; 0 for the image.
fn distance(z: &[f32]) -> Option<f64> {
    if z == [0.0; 3] { Some(0.0) } else { named(z).map(|(_, severity, _)| severity as f64) }
}

/// The place of type and severity in a table with one line per type.
fn kind(z: &[f32]) -> Option<usize> {
    named(z).map(|(kind, severity, _)| kind * SEVERITIES + severity - 1)
}

fn decoded(x0: &[f32], z: &[f32], shape: [usize; 3], key: Key) -> Vec<f64> {
    match named(z) {
        Some((kind, severity, draw)) => TYPES[kind].apply(x0, shape, severity, draw, key),
        None => x0.iter().map(|&v| f64::from(v)).collect(),
    }
}
