//! Floating-point numbers as text: shortest digits that read back to the same value, and JSON that keeps NaN apart from
//! «missing» without ever writing a bare NaN token.

/// The shortest text that parses back to `value`: `0.1`, `3`, `1e-7`, `NaN`, `inf`, `-inf`.
pub(crate) fn shortest(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    let digits = format!("{value:?}");
    digits.strip_suffix(".0").map(str::to_owned).unwrap_or(digits)
}

/// A number in JSON: a JSON number when finite, else one of the strings `"NaN"`, `"inf"`, `"-inf"`.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum JsonNumber {
    Finite(f64),
    Other(String),
}

impl From<f64> for JsonNumber {
    fn from(value: f64) -> Self {
        if value.is_finite() { JsonNumber::Finite(value) } else { JsonNumber::Other(shortest(value)) }
    }
}

impl TryFrom<JsonNumber> for f64 {
    type Error = String;

    fn try_from(number: JsonNumber) -> Result<f64, String> {
        match number {
            JsonNumber::Finite(value) => Ok(value),
            JsonNumber::Other(text) => match text.as_str() {
                "NaN" => Ok(f64::NAN),
                "inf" => Ok(f64::INFINITY),
                "-inf" => Ok(f64::NEG_INFINITY),
                _ => Err(format!("{text:?} is not a number, \"NaN\", \"inf\" or \"-inf\"")),
            },
        }
    }
}

/// `#[serde(with = "crate::float::one")]` for an `f64`.
pub(crate) mod one {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        super::JsonNumber::from(*value).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        super::JsonNumber::deserialize(deserializer)?.try_into().map_err(D::Error::custom)
    }
}

/// `#[serde(with = "crate::float::optional")]` for an `Option<f64>`; missing is `null`.
pub(crate) mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(super::JsonNumber::from).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        let number = Option::<super::JsonNumber>::deserialize(deserializer)?;
        number.map(f64::try_from).transpose().map_err(D::Error::custom)
    }
}

/// `#[serde(with = "crate::float::many")]` for a `Vec<f64>`.
pub(crate) mod many {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|&value| super::JsonNumber::from(value)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let numbers = Vec::<super::JsonNumber>::deserialize(deserializer)?;
        numbers.into_iter().map(|number| number.try_into().map_err(D::Error::custom)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::shortest;

    #[test]
    fn shortest_reads_back_to_the_same_bits() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..100_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = f64::from_bits(state ^ (state >> 29));
            let back: f64 = shortest(value).parse().unwrap();
            assert!(back.to_bits() == value.to_bits() || (back.is_nan() && value.is_nan()), "{value:e}");
        }
    }

    #[test]
    fn shortest_is_short() {
        for (value, text) in [
            (0.1, "0.1"),
            (3.0, "3"),
            (-0.0, "-0"),
            (1e-7, "1e-7"),
            (1e300, "1e300"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(shortest(value), text);
        }
    }
}
