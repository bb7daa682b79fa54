//! Which class of a model every class of the data is: by name, by number, or, where one of them names no classes, by position. What
//! cannot be matched is a question, never a guess.

use flatscape_graph::shown;

use super::native::Native;
use crate::data::Dataset;
use crate::data::classes::{By, Matching, numbers, place_of, twice};
use crate::refusal::{Refusal, escape};

/// Names that a refusal lists, at most.
const LISTED: usize = 5;

/// Classes of the data as they were read, and of a model.
struct Classes<'a> {
    native: &'a Native,
    data: &'a Dataset,
    /// Names of the data's classes by label.
    ours: &'a [String],
    /// Whether the data has an image of the class.
    used: Vec<bool>,
}

/// How the classes of the data, as they were read, become those of a model; `None` where labels stay as they are.
///
/// # Errors
/// `D061` with the names that cannot be matched, `U093` where an offset contradicts the names.
pub(super) fn matching(
    native: &Native,
    data: &Dataset,
    stated: Option<By>,
    label_offset: i64,
) -> Result<Option<Matching>, Refusal> {
    if data.class_names.is_empty() {
        return match stated {
            None => Ok(by_stated_numbers(native, data)),
            Some(By::Position) => Ok(None),
            Some(by) => {
                let what = format!("--match-classes {}: data set {} does not name its classes", by.name(), data.name);
                Err(Refusal::usage(93, what).help("drop it: labels are the numbers of classes"))
            }
        };
    }
    let mut used = vec![false; data.class_names.len()];
    for label in &data.labels {
        if let Some(slot) = usize::try_from(*label).ok().and_then(|l| used.get_mut(l)) {
            *slot = true;
        }
    }
    let classes = Classes { native, data, ours: &data.class_names, used };
    let found = match stated {
        Some(By::Position) => None,
        Some(By::Number) => Some(classes.by_number().ok_or_else(|| classes.question("their names are not numbers"))?),
        Some(By::Name) => Some(classes.by_name()?),
        None => classes.settle()?,
    };
    match found {
        Some(found) if label_offset != 0 && found.by == By::Name => classes.offset_agrees(&found, label_offset).map(|()| None),
        other => Ok(other),
    }
}

/// Labels of the data are numbers, and the model says which number each of its classes has: not always 0, 1, 2, …
fn by_stated_numbers(native: &Native, data: &Dataset) -> Option<Matching> {
    let theirs = &native.card.classes;
    let numbers = numbers(theirs).filter(|numbers| numbers.len() == native.classes)?;
    let largest = usize::try_from(data.largest_label()).ok()?;
    let counted = numbers.iter().enumerate().all(|(i, n)| *n == i as i64);
    let place = |label: usize| numbers.iter().position(|n| *n == label as i64).map_or(-1, |p| p as i64);
    let known = data.labels.iter().all(|label| numbers.contains(label));
    let to = (0..=largest).map(place).collect();
    (!counted && known).then(|| Matching { by: By::Name, to, names: theirs.clone() })
}

impl Classes<'_> {
    /// The names of the model, if it names as many classes as it has.
    fn theirs(&self) -> &[String] {
        let names = &self.native.card.classes;
        if names.len() == self.native.classes { names } else { &[] }
    }

    fn settle(&self) -> Result<Option<Matching>, Refusal> {
        let numbered = self.by_number();
        if self.theirs().is_empty() {
            return match numbered {
                Some(by_number) => Ok(self.unless_trivial(by_number)),
                None if !self.native.card.classes.is_empty() && !self.data.canonical => {
                    let (k, n) = (self.native.classes, self.native.card.classes.len());
                    Err(self.question(&format!("{} has {k} classes and {n} names", self.native.name)))
                }
                None => Ok(None),
            };
        }
        let found = self.ours.iter().zip(&self.used).filter(|(name, used)| **used && self.place(name).is_some()).count();
        let all = self.used.iter().filter(|used| **used).count();
        if found == all {
            return Ok(self.unless_trivial(self.by_name()?));
        }
        if found == 0
            && let Some(by_number) = numbered
        {
            return Ok(self.unless_trivial(by_number));
        }
        self.unique()?;
        let at_home = (0..self.ours.len()).all(|i| self.place(&self.ours[i]).is_none_or(|place| place == i));
        if self.data.canonical && at_home && 2 * found >= all && self.ours.len() == self.native.classes {
            return Ok(None);
        }
        Err(self.unmatched())
    }

    /// Where nothing moves and the data set is known everywhere, there is nothing to say.
    fn unless_trivial(&self, found: Matching) -> Option<Matching> {
        let moves = found.to.iter().enumerate().any(|(i, to)| *to != i as i64);
        (moves || !self.data.canonical).then_some(found)
    }

    fn place(&self, name: &str) -> Option<usize> {
        place_of(name, self.theirs())
    }

    fn by_name(&self) -> Result<Matching, Refusal> {
        let theirs = self.theirs();
        if theirs.is_empty() {
            return Err(self.question(&format!("{} does not name its {} classes", self.native.name, self.native.classes)));
        }
        self.unique()?;
        let to: Vec<Option<usize>> = self.ours.iter().map(|name| self.place(name)).collect();
        if to.iter().zip(&self.used).any(|(to, used)| *used && to.is_none()) {
            return Err(self.unmatched());
        }
        let mut places: Vec<usize> = to.iter().flatten().copied().collect();
        places.sort_unstable();
        if let Some(pair) = places.windows(2).find(|pair| pair[0] == pair[1]) {
            let what =
                format!("two classes of {} are class {} ({}) of the model", self.data.name, pair[0], shown(&theirs[pair[0]]));
            return Err(Refusal::data(61, what).help("give them different names, or say --match-classes number|position"));
        }
        let to = to.into_iter().map(|to| to.map_or(-1, |to| to as i64)).collect();
        Ok(Matching { by: By::Name, to, names: theirs.to_vec() })
    }

    /// No two classes of a side may have one name.
    fn unique(&self) -> Result<(), Refusal> {
        for (whose, list) in [(&self.native.name, self.theirs()), (&self.data.name, self.ours)] {
            if let Some((a, b)) = twice(list) {
                let what = format!("{whose} calls two classes {}: {a} and {b}", shown(&list[b]));
                return Err(Refusal::data(61, what)
                    .help("give them different names, or match them otherwise: --match-classes number|position"));
            }
        }
        Ok(())
    }

    /// Every class is the number that its name is.
    fn by_number(&self) -> Option<Matching> {
        let to = numbers(self.ours)?;
        let k = self.native.classes;
        let mut names: Vec<String> = self.theirs().to_vec();
        if names.is_empty() {
            names = (0..k).map(|i| i.to_string()).collect();
        }
        Some(Matching { by: By::Number, to, names })
    }

    fn unmatched(&self) -> Refusal {
        let missing = self.ours.iter().zip(&self.used).filter(|(name, used)| **used && self.place(name).is_none());
        let missing: Vec<&str> = missing.map(|(name, _)| name.as_str()).collect();
        let what = format!(
            "{} of the {} classes of {} are not among the names of the classes of {}: {}; the model names {}",
            missing.len(),
            self.ours.len(),
            self.data.name,
            self.native.name,
            listed(&missing),
            listed(&self.theirs().iter().map(String::as_str).collect::<Vec<_>>()),
        );
        Refusal::data(61, what).help(HELP)
    }

    fn question(&self, why: &str) -> Refusal {
        let names: Vec<&str> = self.ours.iter().map(String::as_str).collect();
        let what = format!(
            "the classes of {} cannot be matched with those of {}: {why}; the data has {}",
            self.data.name,
            self.native.name,
            listed(&names)
        );
        Refusal::data(61, what).help(HELP)
    }

    /// An offset that is stated must not contradict the names.
    fn offset_agrees(&self, found: &Matching, offset: i64) -> Result<(), Refusal> {
        let Some(i) = (0..found.to.len()).find(|&i| self.used[i] && found.to[i] != i as i64 + offset) else { return Ok(()) };
        let what = format!(
            "--label-offset {offset} makes {} class {}, and by its name it is class {}",
            shown(&self.ours[i]),
            i as i64 + offset,
            found.to[i]
        );
        Err(Refusal::usage(93, what).help("drop --label-offset, or say --match-classes position"))
    }
}

/// The way out of every question about classes.
const HELP: &str = "use the names that the model uses (labels.txt beside it, or classes in its card), name folders by the numbers of \
                    classes, or say that both have the same order: --match-classes position";

fn listed(names: &[&str]) -> String {
    let mut shown: Vec<String> = names.iter().take(LISTED).map(|n| escape(n)).collect();
    if names.len() > LISTED {
        shown.push(format!("and {} more", names.len() - LISTED));
    }
    shown.join(", ")
}
