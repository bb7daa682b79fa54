//! Numbers as users write them.

/// A number as users write it: `0.3`, `8/255`, `1e-3`. The error is a clause («is not a number»).
pub fn number(text: &str) -> Result<f64, String> {
    let part = |t: &str| t.trim().parse::<f64>().map_err(|_| "is not a number".to_owned());
    let value = match text.split_once('/') {
        Some((a, b)) => part(a)? / part(b)?,
        None => part(text)?,
    };
    if value.is_finite() { Ok(value) } else { Err("is not a finite number".to_owned()) }
}
