//! In what runs differ. One row per fact; what is not a row here changes no value.

use flatscape_comparison::Fact;
use serde_json::Value;

use super::run::RunView;

/// What a fact is called, and how it is read from a manifest.
type Reading = (&'static str, fn(&Value) -> String);

/// The facts, in the order in which they are shown.
const FACTS: &[Reading] = &[
    ("program", |m| word(m, "/flatscape")),
    ("engine", |m| format!("{} {}", word(m, "/engine/name"), word(m, "/engine/version"))),
    ("engine library", |m| short(&word(m, "/engine/library_sha256"))),
    ("device", |m| word(m, "/engine/device")),
    ("threads", |m| word(m, "/engine/threads")),
    ("engine options", |m| flat(m, "/engine/options")),
    ("seed", |m| word(m, "/seed")),
    ("batch size", |m| word(m, "/batch_size")),
    ("random numbers", |m| word(m, "/random_numbers")),
    ("data set", |m| format!("{} ({})", word(m, "/data/name"), word(m, "/data/split"))),
    ("data SHA-256", |m| word(m, "/data/sha256")),
    ("images", images),
    ("number of images", |m| word(m, "/data/n")),
    ("models", |m| each(m, "/models", |model| format!("{} {}", word(model, "/name"), short(&word(model, "/sha256"))))),
    ("refused models", |m| each(m, "/refused", |model| format!("{} {}", word(model, "/name"), word(model, "/id")))),
    ("preprocessing", |m| each(m, "/models", |model| format!("{}: {}", word(model, "/name"), word(model, "/preprocessing")))),
    ("remedies", |m| each(m, "/models", |model| each(model, "/remedies", |remedy| word(remedy, "")))),
    ("threat models", |m| {
        each(m, "/threats", |t| format!("{} in [{}, {}]", word(t, "/written"), word(t, "/lo"), word(t, "/hi")))
    }),
    ("attacks", |m| each(m, "/attacks", component)),
    ("metrics", |m| each(m, "/metrics", component)),
    ("plugins", plugins),
    ("plugins in the program's process", |m| word(m, "/plugins_in_process")),
    ("processes of engines kept in by", |m| word(m, "/containment/engine")),
    ("processes of plugins kept in by", |m| word(m, "/containment/plugins")),
    ("intervals", |m| word(m, "/intervals")),
    ("other options", |m| flat(m, "/options")),
];

/// The facts in which the runs are not all alike.
pub(super) fn differing(runs: &[RunView]) -> Vec<Fact> {
    let fact = |(what, read): &(&str, fn(&Value) -> String)| {
        let values: Vec<String> = runs.iter().map(|run| read(&run.manifest)).collect();
        values.iter().any(|value| *value != values[0]).then(|| Fact { what: (*what).to_owned(), values })
    };
    FACTS.iter().filter_map(fact).collect()
}

/// The engine of a run and its device, in words.
pub(super) fn engine(manifest: &Value) -> String {
    format!("{} {} on {}", word(manifest, "/engine/name"), word(manifest, "/engine/version"), word(manifest, "/engine/device"))
}

/// Whether two runs draw the same numbers and pack the same batches.
pub(super) fn same_draws(one: &Value, two: &Value) -> bool {
    ["/seed", "/batch_size", "/random_numbers"].iter().all(|place| word(one, place) == word(two, place))
}

/// What stands at a place of a manifest: text as it is, anything else as JSON, nothing as an empty text.
fn word(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The list at a place of a manifest; empty where there is none.
fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Shape and preparation of the images, in words.
pub(super) fn images(manifest: &Value) -> String {
    let shape: Vec<String> = list(manifest, "/data/shape").iter().map(Value::to_string).collect();
    let preparation = word(manifest, "/data/preparation");
    let preparation = if preparation.is_empty() { String::new() } else { format!(", {preparation}") };
    format!("{}{preparation}", shape.join("×"))
}

fn each(value: &Value, pointer: &str, words: impl Fn(&Value) -> String) -> String {
    let all: Vec<String> = list(value, pointer).iter().map(words).filter(|text| !text.is_empty()).collect();
    all.join("; ")
}

fn component(component: &Value) -> String {
    format!("{} {}", word(component, "/request/id"), word(component, "/complete")).trim().to_owned()
}

/// Every plugin that the run used, once.
fn plugins(manifest: &Value) -> String {
    let mut all: Vec<String> = Vec::new();
    for used in list(manifest, "/attacks").iter().chain(list(manifest, "/metrics")) {
        let sha256 = short(&word(used, "/plugin/sha256"));
        let plugin = format!("{} {} {sha256}", word(used, "/plugin/id"), word(used, "/plugin/version"));
        if !all.contains(&plugin) {
            all.push(plugin);
        }
    }
    all.join("; ")
}

/// The beginning of a hash.
fn short(sha256: &str) -> String {
    sha256.chars().take(12).collect()
}

/// The leaves of an object as `name=value`, in order; what is empty or false is not set and is left out.
fn flat(value: &Value, pointer: &str) -> String {
    let mut leaves = Vec::new();
    if let Some(value) = value.pointer(pointer) {
        leaves_of(value, "", &mut leaves);
    }
    leaves.join("; ")
}

fn leaves_of(value: &Value, name: &str, leaves: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(false) => {}
        Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                leaves_of(value, &format!("{name}{dot}{key}"), leaves);
            }
        }
        Value::Array(items) if items.is_empty() => {}
        _ => leaves.push(format!("{name}={}", word(value, ""))),
    }
}
