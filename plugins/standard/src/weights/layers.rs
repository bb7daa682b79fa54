//! Weights by layer: a layer is what one operator reads, with what is added behind it; normalisations are layers of their own.

use flatscape_sdk::{Role, Segment};

/// A layer and where its weights lie in θ; statistics are not among them.
pub(crate) struct Layer {
    /// `1_conv1_weight`: its number in the order of the graph and its first weight, as part of an identifier.
    pub name: String,
    pub ranges: Vec<std::ops::Range<usize>>,
}

/// The layers of a model.
pub(crate) fn layers(segments: &[Segment]) -> Vec<Layer> {
    let mut numbers: Vec<usize> = segments.iter().filter(|s| s.role != Role::Statistic).map(|s| s.layer).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let layer = |(place, number): (usize, usize)| {
        let own: Vec<&Segment> = segments.iter().filter(|s| s.role != Role::Statistic && s.layer == number).collect();
        let first = own.iter().find(|s| s.role == Role::Kernel).or(own.first()).map_or("", |s| s.name.as_str());
        Layer { name: format!("{}_{}", place + 1, identifier(first)), ranges: own.iter().map(|s| s.range.clone()).collect() }
    };
    numbers.into_iter().enumerate().map(layer).collect()
}

/// What is differentiated: everything but statistics.
pub(crate) fn trained(segments: &[Segment]) -> Vec<std::ops::Range<usize>> {
    segments.iter().filter(|s| s.role != Role::Statistic).map(|s| s.range.clone()).collect()
}

/// A name as part of a C identifier in lower case, at most 40 characters of it.
fn identifier(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    name.chars().map(plain).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_belongs_to_its_kernel() {
        let segment = |name: &str, role, layer, from: usize| Segment {
            name: name.into(),
            shape: vec![2],
            role,
            axis: None,
            layer,
            range: from..from + 2,
        };
        let segments = [
            segment("conv1.bias", Role::Bias, 0, 0),
            segment("conv1.weight", Role::Kernel, 0, 2),
            segment("=SUM(A1)", Role::Scale, 3, 4),
            segment("mean", Role::Statistic, 3, 6),
        ];
        let found: Vec<(String, usize)> = layers(&segments).into_iter().map(|l| (l.name, l.ranges.len())).collect();
        assert_eq!(found, [("1_conv1_weight".to_owned(), 2), ("2__sum_a1_".to_owned(), 1)]);
        assert_eq!(trained(&segments), [0..2, 2..4, 4..6]);
    }
}
