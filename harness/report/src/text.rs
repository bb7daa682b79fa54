//! How numbers and names are spelled for people, once for the terminal, the pictures and the page.

/// Longest name that is shown, in characters.
const LONGEST: usize = 120;

/// Text from a file as it may be shown: control, bidirectional and zero-width characters are spelled `\u{…}`, and it is cut
/// at 120 characters.
pub fn shown(text: &str) -> String {
    shown_to(text, LONGEST)
}

/// [`shown`] with a limit of its own.
pub fn shown_to(text: &str, longest: usize) -> String {
    let mut out = String::new();
    for (place, character) in text.chars().enumerate() {
        if place == longest {
            out.push('…');
            break;
        }
        if deceives(character) { out.extend(character.escape_unicode()) } else { out.push(character) }
    }
    out
}

/// A rate with its interval and n: `0.473 [0.463, 0.483] n=10000`.
pub fn rate(value: f64, interval: Option<(f64, f64)>, n: u64) -> String {
    let (value, interval) = rate_parts(value, interval);
    together(&value, &interval, n)
}

/// Any other number with its interval and n, with digits enough to show the interval's width.
pub fn quantity(value: f64, interval: Option<(f64, f64)>, n: u64) -> String {
    let (value, interval) = quantity_parts(value, interval);
    together(&value, &interval, n)
}

/// A rate in per cent with its interval: `41.2 % [39.8, 42.7]`.
pub fn percent(value: f64, interval: Option<(f64, f64)>) -> String {
    let number = |value: f64| fixed(100.0 * value, 1);
    match interval {
        Some((low, high)) => format!("{} % [{}, {}]", number(value), number(low), number(high)),
        None => format!("{} %", number(value)),
    }
}

/// A budget in pixel units, for people: `8/255` where it is a whole number of grey levels, else `0.02 ≈ 5.1/255`; values
/// above one are not pixel units and are printed as they are.
pub fn eps_text(eps: f64) -> String {
    let levels = eps * 255.0;
    if eps == 0.0 {
        "0".to_owned()
    } else if !eps.is_finite() || eps.abs() > 1.0 {
        significant(eps, 4)
    } else if (levels - levels.round()).abs() < 1e-4 {
        minus(format!("{}/255", levels.round()))
    } else {
        format!("{} ≈ {}/255", significant(eps, 3), significant(levels, 2))
    }
}

/// A threat model as spelled, with its grey levels where it bounds every pixel value and is not spelled in them:
/// `linf:0.1 (25.5/255)`. Other norms do not measure grey levels.
pub(crate) fn threat_text(threat: &str, eps: Option<f64>) -> String {
    let spelled = shown(threat);
    match eps {
        Some(eps) if threat.starts_with("linf") && !threat.contains("/255") && eps.is_finite() && eps > 0.0 => {
            format!("{spelled} ({}/255)", significant(255.0 * eps, 3))
        }
        _ => spelled,
    }
}

/// `0.473` and `[0.463, 0.483]`.
pub fn rate_parts(value: f64, interval: Option<(f64, f64)>) -> (String, String) {
    (fixed(value, 3), interval.map(|(low, high)| format!("[{}, {}]", fixed(low, 3), fixed(high, 3))).unwrap_or_default())
}

/// A value and its interval, rounded so that the interval's width has two digits.
pub fn quantity_parts(value: f64, interval: Option<(f64, f64)>) -> (String, String) {
    match interval {
        Some((low, high)) if (high - low).is_finite() && high > low => {
            let decimals = (1 - (high - low).log10().floor() as i64).clamp(0, 6) as usize;
            let number = |value: f64| if value.abs() < 1e7 { fixed(value, decimals) } else { significant(value, 4) };
            (number(value), format!("[{}, {}]", number(low), number(high)))
        }
        Some((low, high)) => (significant(value, 4), format!("[{}, {}]", significant(low, 4), significant(high, 4))),
        None => (significant(value, 4), String::new()),
    }
}

/// Fixed decimals, without a minus before zero.
pub fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return crate::float::shortest(value);
    }
    let text = format!("{value:.decimals$}");
    let zero = text.chars().all(|character| matches!(character, '-' | '0' | '.'));
    minus(if zero { text.trim_start_matches('-').to_owned() } else { text })
}

/// `digits` significant digits, without trailing zeros; exponents only for the very large and very small.
pub fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor();
    if !(-5.0..7.0).contains(&magnitude) {
        let text = format!("{value:.*e}", digits - 1);
        return minus(match text.split_once('e') {
            Some((mantissa, power)) if mantissa.contains('.') => {
                format!("{}e{power}", mantissa.trim_end_matches('0').trim_end_matches('.'))
            }
            _ => text,
        });
    }
    let decimals = (digits as i64 - 1 - magnitude as i64).max(0) as usize;
    let text = fixed(value, decimals);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// The typographic minus.
fn minus(text: String) -> String {
    match text.strip_prefix('-') {
        Some(rest) if !rest.starts_with('i') => format!("−{rest}"),
        _ => text,
    }
}

fn together(value: &str, interval: &str, n: u64) -> String {
    if interval.is_empty() { format!("{value} n={n}") } else { format!("{value} {interval} n={n}") }
}

/// Characters that make text look like something else, or that XML forbids.
pub(crate) fn deceives(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}')
}

/// Text that is safe anywhere in a line of Markdown: what could format, link, mention or become HTML is escaped. Words such as
/// `linf:8/255` and `pgd:steps=50;alpha=0.01` stay readable.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '@' => out += "&#64;",
            '{' => out += "&#123;",
            '}' => out += "&#125;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '$' | '!' | '^' => out.extend(['\\', character]),
            other => out.push(other),
        }
    }
    out.replace("://", "&#58;//").replace("www.", "www&#46;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_travel_with_their_uncertainty() {
        assert_eq!(rate(0.473, Some((0.4632, 0.4828)), 10_000), "0.473 [0.463, 0.483] n=10000");
        assert_eq!(rate(0.0, Some((0.0, 0.308_497_11)), 10), "0.000 [0.000, 0.308] n=10");
        assert_eq!(rate(1.0, None, 3), "1.000 n=3");
        assert_eq!(percent(0.412, Some((0.398, 0.427))), "41.2 % [39.8, 42.7]");
        assert_eq!(quantity(-29.6123, Some((-31.2, -28.1)), 1000), "−29.6 [−31.2, −28.1] n=1000");
        assert_eq!(quantity(-13_035.4, Some((-13_500.0, -12_600.0)), 1000), "−13035 [−13500, −12600] n=1000");
        assert_eq!(quantity(f64::NAN, None, 5), "NaN n=5");
        assert_eq!(quantity(1.5, Some((f64::NAN, 2.0)), 5), "1.5 [NaN, 2] n=5");
    }

    #[test]
    fn budgets_are_spelled_as_people_speak() {
        assert_eq!(eps_text(8.0 / 255.0), "8/255");
        assert_eq!(eps_text(-8.0 / 255.0), "−8/255");
        assert_eq!(eps_text(0.02), "0.02 ≈ 5.1/255");
        assert_eq!(eps_text(0.0), "0");
        assert_eq!(eps_text(12.0), "12");
        assert_eq!(eps_text(0.2), "51/255");
        assert_eq!(threat_text("linf:0.1", Some(0.1)), "linf:0.1 (25.5/255)");
        assert_eq!(threat_text("linf:8/255", Some(8.0 / 255.0)), "linf:8/255");
        assert_eq!(threat_text("l2:1", Some(1.0)), "l2:1");
    }

    #[test]
    fn significant_digits() {
        for (value, text) in
            [(0.031_372_5, "0.0314"), (1234.6, "1235"), (-0.5, "−0.5"), (1.0e-9, "1e-9"), (2.5e12, "2.5e12"), (0.0, "0")]
        {
            assert_eq!(significant(value, if value == 1234.6 { 4 } else { 3 }), text);
        }
    }

    #[test]
    fn names_cannot_deceive() {
        assert_eq!(shown("a\u{202e}b\u{1b}[2J\n"), "a\\u{202e}b\\u{1b}[2J\\u{a}");
        assert_eq!(shown(&"x".repeat(500)).chars().count(), 121);
        assert_eq!(shown("Größe 数字 🦀"), "Größe 数字 🦀");
    }
}
