//! The curves of a run as files, a picture for every group of curves that belong together: quantities along paths, and curves of a data set.

use std::collections::BTreeSet;

use crate::curves::{DataCurve, curve_groups, curves_svg};
use crate::paths::{PathCurve, path_groups, paths_svg};

/// Characters of a name at most.
const LONGEST: usize = 120;

/// Names without an ending, and SVG. Names have letters, digits, points and hyphens.
pub fn pictures(paths: &[PathCurve], curves: &[DataCurve]) -> Vec<(String, String)> {
    let along = path_groups(paths).into_iter().map(|group| {
        let (first, steps) = (group[0], if group[0].aligned { "by-flip" } else { "by-step" });
        let words = ["path", &first.quantity, &first.metric, &first.attack, &first.threat, steps];
        (words.join(" "), paths_svg(&group))
    });
    let whole = curve_groups(curves).into_iter().map(|group| {
        let first = group[0];
        (["curve", &first.name, &first.component, &first.args, &first.threat].join(" "), curves_svg(&group))
    });
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let unique = |(words, svg): (String, String)| {
        let plain = plain(&words);
        let names = (1..).map(|n| if n == 1 { plain.clone() } else { format!("{plain}-{n}") });
        let name = names.into_iter().find(|name| !taken.contains(name)).unwrap_or(plain.clone());
        taken.insert(name.clone());
        (name, svg)
    };
    along.chain(whole).map(unique).collect()
}

/// Words as part of a file name.
fn plain(words: &str) -> String {
    let part = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let mut name = String::new();
    for c in words.chars().map(part) {
        if c != '-' || !name.ends_with('-') {
            name.push(c);
        }
    }
    name.truncate(LONGEST);
    name.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::PathPoint;

    fn path(model: &str, attack: &str, aligned: bool) -> PathCurve {
        let points = (0..3).map(|step| PathPoint { step, n: 4, mean: 1.0, low: 0.5, high: 2.0 }).collect();
        let words = ["linf:8/255", "relative-flatness", "rel_petzka"].map(String::from);
        let [threat, metric, quantity] = words;
        PathCurve { model: model.into(), threat, attack: attack.into(), metric, quantity, aligned, points }
    }

    #[test]
    fn every_group_is_one_picture_with_a_name_of_its_own() {
        let paths = [
            path("a", "pgd", false),
            path("b", "pgd", false),
            path("a", "pgd", true),
            path("a", "../x<y>", false),
            path("a", "../x(y)", false),
        ];
        let curve = |model: &str, name: &str| DataCurve {
            model: model.into(),
            component: "smoothing".into(),
            name: name.into(),
            points: vec![(0.0, 1.0), (1.0, 0.5)],
            ..DataCurve::default()
        };
        let found = pictures(&paths, &[curve("a", "smoothing_certified_accuracy"), curve("b", "smoothing_certified_accuracy")]);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "path-rel-petzka-relative-flatness-pgd-linf-8-255-by-step",
                "path-rel-petzka-relative-flatness-pgd-linf-8-255-by-flip",
                "path-rel-petzka-relative-flatness-..-x-y-linf-8-255-by-step",
                "path-rel-petzka-relative-flatness-..-x-y-linf-8-255-by-step-2",
                "curve-smoothing-certified-accuracy-smoothing",
            ]
        );
        assert!(found.iter().all(|(_, svg)| svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("<y>")));
    }
}
