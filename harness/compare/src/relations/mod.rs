//! Several models together: rank correlations over models and over samples, accuracies across attacks, sweeps over a family. They are
//! made of values and samples that are there; nothing is measured again.

mod across;
mod correlation;
mod models;
mod samples;

pub(super) use across::across;
pub(super) use models::{over_models, sweeps};
pub(super) use samples::over_samples;

use correlation::Correlation;
use flatscape_comparison::Relation;

/// Fewer models than this are described and not tested: the smallest p-value of four is 2/4! = 0.083.
const TESTED: usize = 5;

impl Correlation {
    /// Puts the coefficient and its interval into a relation.
    fn into(self, relation: &mut Relation) {
        (relation.rho, relation.interval) = (Some(self.rho), self.interval);
    }
}

/// The family of a model: the longest of the prefixes that its name begins with, or, where none is named, its name up to the first of
/// `-`, `_`, `.` and `:`.
fn family<'a>(name: &'a str, prefixes: &'a [String]) -> Option<&'a str> {
    if prefixes.is_empty() {
        return name.split(['-', '_', '.', ':']).next();
    }
    prefixes.iter().map(String::as_str).filter(|prefix| name.starts_with(prefix)).max_by_key(|prefix| prefix.len())
}

#[cfg(test)]
mod tests {
    use super::family;

    #[test]
    fn a_family_is_a_named_prefix_or_what_stands_before_the_first_separator() {
        let named = ["smallnet-a".to_owned(), "small".to_owned()];
        assert_eq!(family("smallnet-adversarial", &named), Some("smallnet-a"));
        assert_eq!(family("smallnet-jacobian", &named), Some("small"));
        assert_eq!(family("lenet", &named), None);
        assert_eq!(
            ["smallnet-standard", "rn18_at.3", "net"].map(|name| family(name, &[])),
            [Some("smallnet"), Some("rn18"), Some("net")]
        );
    }
}
