//! One cell of a CSV file, and the only CSV writer: RFC 4180 quoting, lines that end in LF, numbers in shortest round-trip
//! form, and text that a spreadsheet cannot mistake for a formula. It does not know which columns exist.

use std::borrow::Cow;

use crate::float::shortest;

/// The content of one cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Text; guarded against being read as a formula.
    Text(Cow<'a, str>),
    /// A floating-point number; `NaN`, `inf` and `-inf` are written as such.
    Number(f64),
    /// A whole number.
    Integer(i128),
    /// Nothing was measured: an empty cell.
    Missing,
}

impl Cell<'_> {
    /// The cell's bytes before quoting.
    pub(crate) fn written(&self) -> Cow<'_, str> {
        match self {
            Cell::Text(text) => guard(text),
            Cell::Number(value) => Cow::Owned(shortest(*value)),
            Cell::Integer(value) => Cow::Owned(value.to_string()),
            Cell::Missing => Cow::Borrowed(""),
        }
    }
}

/// Puts an apostrophe before text that a spreadsheet would run (OWASP ASVS 1.2.10). Text that already is such a guarded text
/// gets one more, so that [`unguard`] is its exact inverse.
pub(crate) fn guard(text: &str) -> Cow<'_, str> {
    if is_trigger(text.trim_start_matches('\'')) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// The inverse of [`guard`].
pub(crate) fn unguard(written: &str) -> &str {
    match written.strip_prefix('\'') {
        Some(text) if is_trigger(text.trim_start_matches('\'')) => text,
        _ => written,
    }
}

/// Writes a header and rows; every row must be as long as the header.
pub fn csv_bytes<'a>(header: impl Iterator<Item = Cell<'a>>, rows: impl Iterator<Item = Vec<Cell<'a>>>) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    let mut line = |cells: &[Cell]| {
        // Writing into a vector cannot fail, and `flexible` accepts every length.
        let _ = writer.write_record(cells.iter().map(|cell| cell.written().into_owned()));
    };
    line(&header.collect::<Vec<_>>());
    for row in rows {
        line(&row);
    }
    writer.into_inner().unwrap_or_default()
}

/// Characters at the start of a cell that make a spreadsheet compute, in their ASCII and full-width forms.
fn is_trigger(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\0', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_computes_is_guarded_and_numbers_are_not() {
        for trigger in ["=1", "+1", "-1", "@x", "\tx", "\rx", "\0x", "\u{ff1d}x"] {
            let written = Cell::Text(trigger.into()).written().into_owned();
            assert_eq!(written, format!("'{trigger}"));
            assert_eq!(unguard(&written), trigger);
        }
        assert_eq!(Cell::Number(-1.5).written(), "-1.5");
        assert_eq!(Cell::Integer(-3).written(), "-3");
        assert_eq!(Cell::Text("plain".into()).written(), "plain");
        assert_eq!(Cell::Text("'plain".into()).written(), "'plain");
    }

    #[test]
    fn guarding_is_undone_exactly() {
        for text in ["", "'", "''", "'=", "''=", "=", "'a", "a'=", "'\u{ff1d}"] {
            assert_eq!(unguard(&guard(text)), text, "{text:?}");
        }
    }

    #[test]
    fn missing_is_empty_and_nan_is_nan() {
        let bytes = csv_bytes(
            [Cell::Text("a".into()), Cell::Text("b".into())].into_iter(),
            [vec![Cell::Missing, Cell::Number(f64::NAN)], vec![Cell::Text("x,\"y\"\r\nz".into()), Cell::Number(0.1)]].into_iter(),
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), "a,b\n,NaN\n\"x,\"\"y\"\"\r\nz\",0.1\n");
    }
}
