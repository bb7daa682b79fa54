//! What does not work for a network yet, and why. A network that is listed here and works fails the tests, so the list stays true.

struct Exception {
    networks: &'static [&'static str],
    reason: &'static str,
}

struct OfEngine {
    engine: &'static str,
    double: bool,
    networks: &'static [&'static str],
    reason: &'static str,
}

/// Networks without a gradient file.
const NOT_BUILT: &[Exception] = &[];

/// Gradient files that an engine does not run, or not as it should.
const NOT_RUN: &[OfEngine] = &[
    OfEngine { engine: "ort", double: false, networks: BAYES, reason: PROBABILITIES },
    OfEngine { engine: "tract", double: false, networks: BAYES, reason: PROBABILITIES },
    OfEngine { engine: "tract", double: true, networks: BAYES, reason: PROBABILITIES },
];

const BAYES: &[&str] = &["sklearn/gaussian_bayes", "sklearn/multinomial_bayes"];
const PROBABILITIES: &str = "its last Exp of log-probabilities is not cut off, so probabilities stand for logits";

/// Why there is no gradient file, if it is known that there is none.
pub fn not_built(network: &str) -> Option<String> {
    NOT_BUILT.iter().find(|e| e.networks.contains(&network)).map(|e| e.reason.to_owned())
}

/// Why an engine does not run the file in this precision, if it is known that it does not.
pub fn not_run(engine: &str, double: bool, network: &str) -> Option<String> {
    let listed = |e: &&OfEngine| e.engine == engine && e.double == double && e.networks.contains(&network);
    NOT_RUN.iter().find(listed).map(|e| e.reason.to_owned())
}
