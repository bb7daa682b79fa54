//! Classes by name: how two names are compared, which names are numbers, and which class of a model a class of the data is.

use flatscape_graph::shown;
use serde::{Deserialize, Serialize};

use crate::refusal::{Refusal, nearest};

/// By what the classes of data and model are matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Both have names.
    Name,
    /// The names of the data are the numbers of the model's classes.
    Number,
    /// The first class of the data is class 0 of the model, and so on.
    Position,
}

const WAYS: &[(&str, By)] = &[("name", By::Name), ("number", By::Number), ("position", By::Position)];

impl By {
    /// Reads `name`, `number` or `position`.
    ///
    /// # Errors
    /// A usage error that lists them.
    pub fn parse(text: &str) -> Result<By, Refusal> {
        let names = || WAYS.iter().map(|(name, _)| *name);
        WAYS.iter().find(|(name, _)| *name == text).map(|(_, by)| *by).ok_or_else(|| {
            let meant = nearest(text, names()).map_or(String::new(), |n| format!("; did you mean {n}?"));
            Refusal::usage(91, format!("--match-classes {} is not a way to match classes", shown(text)))
                .help(format!("there are {}{meant}", names().collect::<Vec<_>>().join(", ")))
        })
    }

    /// As users write it.
    pub fn name(self) -> &'static str {
        WAYS.iter().find(|(_, by)| *by == self).map_or("position", |(name, _)| name)
    }
}

/// Which class of the model every class of the data is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matching {
    /// By what they were matched.
    pub by: By,
    /// By class of the data, in the order of its names: the class of the model; -1 for a class without an image and without a match.
    pub to: Vec<i64>,
    /// Names of the model's classes, or of the data's where the model has none.
    pub names: Vec<String>,
}

impl Matching {
    /// `eight → 8, five → 5`, at most `most` of them.
    pub fn pairs(&self, names: &[String], most: usize) -> String {
        // labels without names are numbers
        let name = |i: usize| names.get(i).map_or_else(|| i.to_string(), |name| crate::refusal::escape(name));
        let matched = || self.to.iter().enumerate().filter(|(_, to)| **to >= 0);
        let mut pairs: Vec<String> = matched().take(most).map(|(i, to)| format!("{} → {to}", name(i))).collect();
        let left = matched().count().saturating_sub(most);
        if left > 0 {
            pairs.push(format!("and {left} more"));
        }
        pairs.join(", ")
    }
}

/// A name without case, blanks, underscores and hyphens: names with equal keys are one name.
pub fn key(name: &str) -> String {
    name.chars().filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// The whole number that a name is: `3`, `03`, `3.0`.
pub fn number_of(name: &str) -> Option<i64> {
    let text = name.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match text.parse::<i64>() {
        Ok(number) => Some(number),
        Err(_) => text.parse::<f64>().ok().filter(|v| v.fract() == 0.0 && v.abs() < 1e15).map(|v| v as i64),
    }
}

/// The numbers that all names are, if they all are.
pub fn numbers(names: &[String]) -> Option<Vec<i64>> {
    names.iter().map(|name| number_of(name)).collect()
}

/// Two names of a list with the same key, if there are any, with their places.
pub fn twice(names: &[String]) -> Option<(usize, usize)> {
    let mut seen = std::collections::HashMap::new();
    names.iter().enumerate().find_map(|(place, name)| seen.insert(key(name), place).map(|first| (first, place)))
}

/// The place of a name in a list: that of the same key, or the only one of which it is a synonym (`tench, Tinca tinca`).
pub fn place_of(name: &str, list: &[String]) -> Option<usize> {
    let wanted = key(name);
    if let Some(place) = list.iter().position(|other| key(other) == wanted) {
        return Some(place);
    }
    let parts = |text: &str| text.split(',').map(key).collect::<Vec<_>>();
    let own = parts(name);
    let mut places = list.iter().enumerate().filter(|(_, other)| parts(other).iter().any(|p| !p.is_empty() && own.contains(p)));
    match (places.next(), places.next()) {
        (Some((place, _)), None) => Some(place),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn names_are_compared_without_case_blanks_and_joints() {
        let list = names(&["T-shirt/top", "Ankle boot", "tench, Tinca tinca", "great white shark, man-eater"]);
        assert_eq!(place_of("tshirt/TOP", &list), Some(0));
        assert_eq!(place_of("ankle_boot", &list), Some(1));
        assert_eq!(place_of("Tench", &list), Some(2));
        assert_eq!(place_of("man eater", &list), Some(3));
        assert_eq!(place_of("boot", &list), None);
        assert_eq!(place_of("crane", &names(&["crane, bird", "crane, machine"])), None, "two are meant");
        assert_eq!(twice(&names(&["cat", "dog", "Cat_"])), Some((0, 2)));
    }

    #[test]
    fn numbers_are_read_as_people_store_them() {
        assert_eq!(numbers(&names(&["3", "07", "12.0", "-1"])), Some(vec![3, 7, 12, -1]));
        for name in ["3.5", "nan", "inf", "three", "", "1e400", "0x3"] {
            assert_eq!(number_of(name), None, "{name}");
        }
    }
}
