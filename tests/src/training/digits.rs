//! The models of the demo were trained by this program: the file names its command, the script has that command, and the command gives
//! what the log beside the model says.

use flatscape_graph::onnx;

use crate::provision::{flatscape, root};

const MODELS: [&str; 4] = ["smallnet-standard", "smallnet-adversarial", "smallnet-jacobian", "smallnet-amsreg"];

/// The command in the metadata of a model of the repository.
fn command_of(model: &str) -> String {
    let path = root().join(format!("models/{model}/model.onnx"));
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = onnx::read(&bytes).expect("an ONNX file");
    let value = |key: &str| file.metadata.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone());
    let manifest: serde_json::Value = serde_json::from_str(&value("training.manifest").expect("a manifest")).expect("JSON");
    let command = value("training.command").expect("a command");
    assert_eq!(manifest["command"], command.as_str(), "{model}");
    assert_eq!((&manifest["plan"]["seed"], &manifest["engine"][0]), (&0.into(), &"tract".into()), "{model}");
    command
}

#[test]
fn the_models_of_the_demo_name_their_commands() {
    let script = std::fs::read_to_string(root().join("models/digits/train.sh")).expect("the script");
    for model in MODELS {
        let line = format!("{} -o \"$out/{model}.onnx\"", command_of(model));
        assert!(script.lines().any(|known| known == line), "models/digits/train.sh has no line {line}");
    }
}

/// The first epochs do not depend on how many follow. Costs agree up to rounding, which grows from step to step and depends on the
/// processor.
#[test]
fn their_commands_give_their_logs() {
    let folder = tempfile::tempdir().expect("a folder");
    for model in MODELS {
        let kept = std::fs::read_to_string(root().join(format!("models/{model}/log.csv"))).expect("a log");
        let command = command_of(model);
        let mut words: Vec<&str> = command.split(' ').skip(1).collect();
        let epochs = words.iter().position(|word| *word == "--epochs").expect("a number of epochs");
        words[epochs + 1] = "2";
        let out = format!("{model}.onnx");
        let output = flatscape(folder.path(), &[&words[..], &["-o", &out]].concat());
        // after two epochs a regularised model may not be better than guessing
        assert!(matches!(output.status.code(), Some(0 | 9)), "{model}: {}", String::from_utf8_lossy(&output.stderr));
        let log = std::fs::read_to_string(folder.path().join(format!("{out}.train/log.csv"))).expect("a log");
        let cell = |text: &str, row: usize, name: &str| -> f64 {
            let place = text.lines().next().and_then(|l| l.split(',').position(|n| n == name)).expect("a column");
            text.lines().nth(row).and_then(|l| l.split(',').nth(place)?.parse().ok()).unwrap_or_else(|| panic!("{name}: {text}"))
        };
        for row in 1..=2 {
            for name in ["cost", "gradient_norm"] {
                let [kept, found] = [&kept, &log].map(|text| cell(text, row, name));
                assert!((found / kept - 1.0).abs() < 0.02, "{model}: {name} of epoch {row} is {found}, and the log has {kept}");
            }
        }
    }
}
