//! Names of classes as other libraries store them: a line each, JSON lists and dictionaries, Python dictionaries, `id2label` and
//! `label2id`.

use flatscape_graph::shown;
use serde_json::{Map, Value};

/// One name per line; numbers in front are dropped where they count the lines (`0 tench`, `0: tench`).
pub(in crate::model) fn lines(text: &str) -> Vec<String> {
    let names: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let counted = |(i, name): (usize, &&str)| {
        let rest = name.strip_prefix(&i.to_string())?;
        let rest = rest.strip_prefix([' ', '\t', ':', ','])?.trim();
        (!rest.is_empty()).then(|| rest.to_owned())
    };
    let stripped: Option<Vec<String>> = names.iter().enumerate().map(counted).collect();
    stripped.unwrap_or_else(|| names.into_iter().map(str::to_owned).collect())
}

/// A JSON list of names, or a dictionary from numbers to names or from names to numbers.
pub(in crate::model) fn json(text: &str) -> Result<Vec<String>, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("it is not well-formed JSON: {e}"))?;
    of_value(&value).ok_or_else(|| "it names no classes: expected a list of names, or numbers with names".to_owned())
}

/// Names in a text of metadata: JSON, a Python dictionary or list, or names between commas or on lines.
pub(super) fn of_text(text: &str) -> Option<Vec<String>> {
    if text.starts_with(['{', '[']) {
        return serde_json::from_str(text)
            .ok()
            .or_else(|| serde_json::from_str(&json_of_python(text)).ok())
            .and_then(|v| of_value(&v));
    }
    let names = if text.contains('\n') { lines(text) } else { text.split(',').map(|n| n.trim().to_owned()).collect() };
    (names.len() > 1 && names.iter().all(|n| !n.is_empty())).then_some(names)
}

/// A Python literal of strings and numbers as JSON: `{0: 'a', 1: "b's"}`.
fn json_of_python(text: &str) -> String {
    let mut json = String::new();
    let mut quote: Option<char> = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(q), c) if c == q => {
                json.push('"');
                quote = None;
            }
            (Some(_), '"') => json.push_str("\\\""),
            (Some(_), '\\') => match characters.next() {
                Some('\'') => json.push('\''),
                Some(other) => json.extend(['\\', other]),
                None => {}
            },
            (Some(_), c) => json.push(c),
            (None, '\'' | '"') => {
                json.push('"');
                quote = Some(c);
            }
            (None, c) if c.is_ascii_digit() => {
                let mut number = String::from(c);
                while let Some(d) = characters.next_if(char::is_ascii_digit) {
                    number.push(d);
                }
                let rest = characters.clone().find(|c| !c.is_whitespace());
                if rest == Some(':') { json.push_str(&format!("\"{number}\"")) } else { json.push_str(&number) }
            }
            (None, c) => json.push(c),
        }
    }
    json
}

fn of_value(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(names) => names.iter().map(|n| n.as_str().map(str::to_owned)).collect(),
        Value::Object(object) if object.values().all(Value::is_string) => by_number(object),
        Value::Object(object) => inverted(object),
        _ => None,
    }
    .filter(|names: &Vec<String>| !names.is_empty())
}

/// `{"0": "cat", "1": "dog"}` in the order of the numbers, which must be 0..n−1. ImageNet's `{"0": ["n01440764", "tench"]}` is not
/// meant.
fn by_number(object: &Map<String, Value>) -> Option<Vec<String>> {
    let pairs: Option<Vec<(usize, String)>> =
        object.iter().map(|(k, v)| Some((k.trim().parse().ok()?, v.as_str()?.to_owned()))).collect();
    in_order(pairs?)
}

/// `{"cat": 0, "dog": 1}`.
fn inverted(object: &Map<String, Value>) -> Option<Vec<String>> {
    let number = |v: &Value| v.as_u64().or_else(|| v.as_str()?.trim().parse().ok());
    let pairs: Option<Vec<(usize, String)>> =
        object.iter().map(|(k, v)| Some((usize::try_from(number(v)?).ok()?, k.clone()))).collect();
    in_order(pairs?)
}

fn in_order(mut pairs: Vec<(usize, String)>) -> Option<Vec<String>> {
    pairs.sort();
    let counted = pairs.iter().enumerate().all(|(i, (k, _))| i == *k);
    counted.then(|| pairs.into_iter().map(|(_, name)| name).collect())
}

/// The classes of `config.json`: `label_names`, `id2label`, `label2id`. The error is a clause: two of them contradict each other.
pub(super) fn of_configuration(object: &Map<String, Value>, notes: &mut Vec<String>) -> Result<Vec<String>, String> {
    let inner = object.get("pretrained_cfg").and_then(Value::as_object);
    let listed = [Some(object), inner].into_iter().flatten().find_map(|o| o.get("label_names").and_then(Value::as_array));
    if let Some(names) = listed {
        return Ok(names.iter().filter_map(|n| n.as_str().map(str::to_owned)).collect());
    }
    let mut read = |field: &str, how: fn(&Map<String, Value>) -> Option<Vec<String>>| {
        let object = object.get(field).and_then(Value::as_object).filter(|o| !o.is_empty())?;
        let names = how(object);
        if names.is_none() {
            notes.push(format!("its {field} does not name the classes 0..{} and is ignored", object.len() - 1));
        }
        names
    };
    let (by_number, by_name) = (read("id2label", by_number), read("label2id", inverted));
    if let (Some(a), Some(b)) = (&by_number, &by_name)
        && let Some(i) = (0..a.len().max(b.len())).find(|&i| a.get(i) != b.get(i))
    {
        let name = |names: &[String]| names.get(i).map_or_else(|| "nothing".to_owned(), |n| shown(n));
        return Err(format!("id2label calls class {i} {}, and label2id calls it {}", name(a), name(b)));
    }
    let names = by_number.or(by_name).unwrap_or_default();
    let generic = names.iter().enumerate().all(|(k, name)| *name == format!("LABEL_{k}"));
    Ok(if generic { Vec::new() } else { names })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_form() {
        let expected = ["cat", "dog's"];
        for text in [
            "{0: 'cat', 1: \"dog's\"}",
            "{\"0\": \"cat\", \"1\": \"dog's\"}",
            "['cat', \"dog's\"]",
            "{'cat': 0, \"dog's\": 1}",
            "{0: 'cat', 1: 'dog\\'s'}",
            "cat, dog's",
            "cat\ndog's\n",
            "0 cat\n1 dog's",
        ] {
            assert_eq!(of_text(text).as_deref(), Some(&expected.map(str::to_owned)[..]), "{text}");
        }
        for text in ["{1: 'cat', 2: 'dog'}", "cat", "{0: 'cat'", "[1, 2]", "a,,b"] {
            assert_eq!(of_text(text), None, "{text}");
        }
        assert_eq!(lines("1 cat\n2 dog"), ["1 cat", "2 dog"], "these do not count from 0");
    }

    #[test]
    fn id2label_and_label2id_must_agree() {
        let read = |text: &str| {
            let object = serde_json::from_str::<Map<String, Value>>(text).expect("JSON");
            of_configuration(&object, &mut Vec::new())
        };
        assert_eq!(read(r#"{"label2id": {"b": 1, "a": 0}}"#).expect("names"), ["a", "b"]);
        let error = read(r#"{"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}"#).expect_err("they differ");
        assert!(error.contains("class 0"), "{error}");
        assert!(read(r#"{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}"#).expect("no names").is_empty());
    }
}
