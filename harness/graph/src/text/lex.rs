//! Characters to words: names, numbers, strings and signs, with the place where each begins.

use super::TextError;
use crate::name::shown;

/// A number or string as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Int(i64),
    /// The digits of a number with a point, an exponent, or `inf` or `nan`.
    Float(String),
    String(String),
}

/// A text and the place that has been reached.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0 }
    }

    /// The place of the next word.
    pub(super) fn place(&mut self) -> usize {
        self.skip();
        self.at
    }

    /// An error at a place.
    pub(super) fn error(&self, place: usize, what: impl Into<String>) -> TextError {
        let before = &self.text[..place];
        let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        TextError { line, column, what: what.into() }
    }

    /// An error at the next word, which is shown.
    pub(super) fn expected(&mut self, what: &str) -> TextError {
        let place = self.place();
        let rest = &self.text[place..];
        let end = rest.find(|c: char| c.is_whitespace()).unwrap_or(rest.len());
        let found = if rest.is_empty() { "the end of the text".to_owned() } else { shown(&rest[..end]) };
        self.error(place, format!("{what} is expected here, and there is {found}"))
    }

    /// Whether the next character is this one; it is not taken.
    pub(super) fn sees(&mut self, sign: char) -> bool {
        self.skip();
        self.text[self.at..].starts_with(sign)
    }

    /// Takes a sign if it comes next.
    pub(super) fn takes(&mut self, sign: &str) -> bool {
        self.skip();
        let here = self.text[self.at..].starts_with(sign);
        if here {
            self.at += sign.len();
        }
        here
    }

    /// Takes a sign that must come next.
    pub(super) fn sign(&mut self, sign: &str) -> Result<(), TextError> {
        if self.takes(sign) { Ok(()) } else { Err(self.expected(&format!("{sign:?}"))) }
    }

    /// Whether nothing is left.
    pub(super) fn is_done(&mut self) -> bool {
        self.skip();
        self.at == self.text.len()
    }

    /// Takes an unquoted name if one comes next.
    pub(super) fn word(&mut self) -> Option<&'a str> {
        let word = self.peek_word()?;
        self.at += word.len();
        Some(word)
    }

    /// The unquoted name that comes next; it is not taken.
    pub(super) fn peek_word(&mut self) -> Option<&'a str> {
        self.skip();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        (end > 0 && !rest.as_bytes()[0].is_ascii_digit()).then(|| &rest[..end])
    }

    /// Takes a name, quoted or not, if one comes next.
    pub(super) fn name(&mut self) -> Result<Option<String>, TextError> {
        if self.sees('"') { self.quoted().map(Some) } else { Ok(self.word().map(str::to_owned)) }
    }

    /// Takes a number or a string, or nothing if none comes next.
    pub(super) fn literal(&mut self) -> Result<Option<Literal>, TextError> {
        if self.sees('"') {
            return self.quoted().map(|s| Some(Literal::String(s)));
        }
        let rest = &self.text[self.at..];
        let unsigned = rest.strip_prefix('-').unwrap_or(rest);
        let sign = rest.len() - unsigned.len();
        let letters = unsigned.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(unsigned.len());
        if ["inf", "infinity", "nan"].iter().any(|w| unsigned[..letters].eq_ignore_ascii_case(w)) {
            self.at += sign + letters;
            return Ok(Some(Literal::Float(rest[..sign + letters].to_owned())));
        }
        if !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(None);
        }
        let bytes = unsigned.as_bytes();
        let digits = |from: usize| from + bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let mut end = digits(0);
        let mut whole = true;
        if bytes.get(end) == Some(&b'.') {
            whole = false;
            end = digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            whole = false;
            end = digits(end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-'))));
        }
        let (place, digits) = (self.at, &rest[..sign + end]);
        self.at += digits.len();
        if !whole {
            return Ok(Some(Literal::Float(digits.to_owned())));
        }
        let value =
            digits.parse().map_err(|_| self.error(place, format!("the number {} does not fit into int64", shown(digits))))?;
        Ok(Some(Literal::Int(value)))
    }

    /// Takes a quoted string: `\"`, `\\`, and `\u{1b}` for a character by its number.
    fn quoted(&mut self) -> Result<String, TextError> {
        let place = self.at;
        let mut value = String::new();
        let mut chars = self.text[place + 1..].char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at = place + 1 + offset + 1;
                    return Ok(value);
                }
                '\\' => {
                    let Some((_, escaped)) = chars.next() else { break };
                    let code = chars.as_str().strip_prefix('{').and_then(|rest| rest.split_once('}'));
                    match code {
                        Some((hex, _)) if escaped == 'u' => {
                            let c = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
                            value.push(c.ok_or_else(|| self.error(place, format!("\\u{{{hex}}} is not a character")))?);
                            // the braces and the digits are ASCII
                            chars.nth(hex.len() + 1);
                        }
                        _ => value.push(escaped),
                    }
                }
                _ => value.push(c),
            }
        }
        Err(self.error(place, "a quoted name or string begins here and does not end"))
    }

    fn skip(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            self.at += rest.len() - rest.trim_start().len();
            if !self.text[self.at..].starts_with('#') {
                return;
            }
            let rest = &self.text[self.at..];
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
    }
}
