//! The label of a component if another one has the same id: `pgd` alone, else `pgd:steps=50;alpha=0.01`, the
//! id and the arguments that differ. Never with a comma, so that it is one cell and one word.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::Record;
use crate::text::shown;

/// The names of all components of a table of rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels<'a> {
    names: BTreeMap<(&'a str, &'a str), String>,
}

impl<'a> Labels<'a> {
    /// The names that tell the components of these rows apart.
    pub(crate) fn of(records: &'a [Record]) -> Labels<'a> {
        let mut components: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for record in records {
            components.entry(&record.component).or_default().insert(&record.args);
        }
        let mut names = BTreeMap::new();
        for (id, arguments) in components {
            let arguments: Vec<&str> = arguments.into_iter().collect();
            let labels = apart(id, &arguments);
            names.extend(arguments.into_iter().zip(labels).map(|(arguments, label)| ((id, arguments), label)));
        }
        Labels { names }
    }

    /// The name of a row's component, as it may be shown.
    pub(crate) fn shown(&self, record: &Record) -> String {
        self.names
            .get(&(record.component.as_str(), record.args.as_str()))
            .map_or_else(|| shown(&record.component), |label| shown(label))
    }

    /// The arguments in the name of a row's component, as they may be shown; empty where its id alone names it.
    pub(crate) fn arguments(&self, record: &Record) -> String {
        let label = self.names.get(&(record.component.as_str(), record.args.as_str()));
        label.and_then(|label| label.strip_prefix(&record.component)?.strip_prefix(':')).map(shown).unwrap_or_default()
    }
}

/// One name for each of several different argument lists of the component `id`.
fn apart(id: &str, arguments: &[&str]) -> Vec<String> {
    let id = id.replace(',', ";");
    if arguments.len() < 2 {
        return vec![id; arguments.len()];
    }
    let lists: Vec<Vec<&str>> = arguments.iter().map(|arguments| pairs(arguments)).collect();
    // how many lists hold a pair; one that all of them hold tells nothing apart
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    lists.iter().flat_map(|list| list.iter().collect::<BTreeSet<_>>()).for_each(|pair| *held.entry(pair).or_default() += 1);
    let name = |pairs: &[&str]| if pairs.is_empty() { id.clone() } else { format!("{id}:{}", pairs.join(";").replace(',', ";")) };
    let differing = |list: &Vec<&str>| name(&list.iter().copied().filter(|pair| held[pair] < lists.len()).collect::<Vec<_>>());
    let labels: Vec<String> = lists.iter().map(differing).collect();
    if labels.iter().collect::<BTreeSet<_>>().len() == labels.len() {
        return labels;
    }
    lists.iter().zip(1..).map(|(list, place)| format!("{}#{place}", name(list))).collect()
}

/// `k=v,k=v` at its commas outside brackets.
fn pairs(arguments: &str) -> Vec<&str> {
    let (mut depth, mut from, mut pairs) = (0_i64, 0, Vec::new());
    for (place, byte) in arguments.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth <= 0 => {
                pairs.push(&arguments[from..place]);
                from = place + 1;
            }
            _ => {}
        }
    }
    pairs.push(&arguments[from..]);
    pairs.retain(|pair| !pair.is_empty());
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_named_and_never_with_a_comma() {
        assert_eq!(apart("pgd", &["steps=20,alpha=2/255"]), ["pgd"]);
        assert_eq!(
            apart("pgd", &["steps=20,alpha=0.01,restarts=1", "steps=50,alpha=0.01,restarts=1"]),
            ["pgd:steps=20", "pgd:steps=50"]
        );
        assert_eq!(apart("pgd", &["", "steps=50,alpha=0.01"]), ["pgd", "pgd:steps=50;alpha=0.01"]);
        assert_eq!(
            apart("ams", &["at=adv:(pgd:steps=5,alpha=1/255)", "at=adv:(pgd:steps=50,alpha=1/255)"]),
            ["ams:at=adv:(pgd:steps=5;alpha=1/255)", "ams:at=adv:(pgd:steps=50;alpha=1/255)"]
        );
    }

    #[test]
    fn names_differ_even_where_the_arguments_only_have_another_order() {
        assert_eq!(apart("a", &["x=1,y=2", "y=2,x=1"]), ["a:x=1;y=2#1", "a:y=2;x=1#2"]);
        assert_eq!(apart("a", &["x=(1,2)", "x=(1;2)"]), ["a:x=(1;2)#1", "a:x=(1;2)#2"]);
    }
}
