//! Files as their libraries write them, and the flags that say the same.

use super::*;

/// A file, what it says as flags, its classes, and a part of its notes.
const FILES: &[(&str, &str, &str, &[&str], &str)] = &[
    (
        "preprocessor_config.json",
        r#"{"do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_processor_type": "ViTImageProcessor",
            "image_std": [0.5, 0.5, 0.5], "resample": 2, "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224}}"#,
        "--scale 1 --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 --resize 224x224:bilinear",
        &[],
        "",
    ),
    // an old one: a number is the edge of a square
    (
        "preprocessor_config.json",
        r#"{"do_normalize": true, "do_resize": true, "feature_extractor_type": "ViTFeatureExtractor", "image_mean": [0.5], "image_std": [0.25], "resample": 3, "size": 32}"#,
        "--scale 1 --mean 0.5 --std 0.25 --resize 32x32:bicubic",
        &[],
        "",
    ),
    // …and here the shorter edge, with a crop behind
    (
        "preprocessor_config.json",
        r#"{"crop_size": 224, "do_center_crop": true, "do_resize": true, "feature_extractor_type": "CLIPFeatureExtractor", "resample": 3, "size": 224, "do_convert_rgb": true}"#,
        "--scale 1 --mean 0 --std 1 --resize 224:bicubic --crop 224x224",
        &[],
        "",
    ),
    (
        "preprocessor_config.json",
        r#"{"crop_pct": 0.875, "do_resize": true, "image_processor_type": "ConvNextImageProcessor", "resample": 3, "size": {"shortest_edge": 224}, "do_rescale": false}"#,
        "--scale 255 --mean 0 --std 1 --resize 256:bicubic --crop 224x224",
        &[],
        "",
    ),
    (
        "preprocessor_config.json",
        r#"{"do_resize": true, "size": {"longest_edge": 1333, "shortest_edge": 800}, "do_pad": true, "rescale_offset": true, "resample": 9}"#,
        "--scale 1 --mean 1 --std 1",
        &[],
        "its filter resample = \"9\" is not known|not understood and not applied: \"do_pad\"",
    ),
    // the shorter edge is int(256/224·size)
    (
        "preprocessor_config.json",
        r#"{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_resize": true, "image_processor_type": "LevitImageProcessor", "resample": 3, "size": {"shortest_edge": 224}}"#,
        "--scale 1 --mean 0 --std 1 --resize 256:bicubic --crop 224x224",
        &[],
        "",
    ),
    // the middle square first
    (
        "preprocessor_config.json",
        r#"{"crop_size": 256, "do_center_crop": true, "do_resize": true, "feature_extractor_type": "PerceiverFeatureExtractor", "resample": 3, "size": 224}"#,
        "--scale 1 --mean 0 --std 1 --square 224/256 --resize 224x224:bicubic",
        &[],
        "",
    ),
    (
        "preprocessor_config.json",
        r#"{"crop_pct": 0.95, "crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_resize": true, "image_processor_type": "PoolFormerImageProcessor", "resample": 3, "size": {"shortest_edge": 224}}"#,
        "--scale 1 --mean 0 --std 1 --resize 235:bicubic --crop 224x224",
        &[],
        "",
    ),
    (
        "preprocessor_config.json",
        r#"{"do_normalize": true, "image_mean": [0.5], "image_processor_type": "EfficientNetImageProcessor", "image_std": [0.5], "include_top": true, "do_resize": false}"#,
        "--scale 1 --mean 0.5 --std 0.25",
        &[],
        "",
    ),
    (
        "preprocessor_config.json",
        r#"{"do_center_crop": true, "crop_size": {"height": 8, "width": 8}, "image_processor_type": "MobileViTImageProcessor", "resample": 2, "do_resize": true, "size": {"shortest_edge": 8}}"#,
        "--scale 1 --mean 0 --std 1 --channels bgr --resize 8:bilinear --crop 8x8",
        &[],
        "",
    ),
    (
        "config.json",
        r#"{"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": {"tag": "a1_in1k", "custom_load": false, "input_size": [3, 224, 224],
            "test_input_size": [3, 288, 288], "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center", "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225], "num_classes": 1000, "pool_size": [7, 7], "first_conv": "conv1", "classifier": "fc"}}"#,
        "--scale 1 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --resize 235:bicubic --crop 224x224",
        &[],
        "",
    ),
    (
        "config.json",
        r#"{"architectures": ["ViTForImageClassification"], "model_type": "vit", "id2label": {"10": "k", "2": "c", "0": "a", "1": "b", "3": "d", "4": "e", "5": "f", "6": "g", "7": "h", "8": "i", "9": "j"}}"#,
        "",
        &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"],
        "",
    ),
    ("config.json", r#"{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}"#, "", &[], ""),
    (
        "config.json",
        r#"{"id2label": {"1": "a", "2": "b"}}"#,
        "",
        &[],
        "its id2label does not name the classes 0..1 and is ignored",
    ),
    ("labels.txt", "cat\n dog \n\n", "", &["cat", "dog"], ""),
];

#[test]
fn files_of_other_libraries_say_what_flags_say() {
    for (name, text, flags, classes, notes) in FILES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join(name), text).expect("written");
        let found = beside(&folder.path().join("model.onnx")).unwrap_or_else(|e| panic!("{text}: {e}"));
        let card = found.first().map(|s| s.card.clone()).unwrap_or_default();
        assert_eq!(card.preprocessing.text(), *flags, "{text}");
        assert_eq!(card.classes, *classes, "{text}");
        let said: Vec<String> = found.iter().flat_map(|s| s.notes.clone()).collect();
        for note in notes.split('|').filter(|n| !n.is_empty()) {
            assert!(said.iter().any(|s| s.contains(note)), "{said:?} lacks {note}");
        }
        assert!(!notes.is_empty() || said.is_empty(), "{said:?}");
    }
}

#[test]
fn the_folder_above_onnx_counts_and_what_is_damaged_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(folder.path().join("onnx")).expect("created");
    std::fs::write(folder.path().join("labels.txt"), "a\nb").expect("written");
    let model = folder.path().join("onnx/model.onnx");
    assert_eq!(beside(&model).expect("read")[0].card.classes, ["a", "b"]);
    std::fs::write(folder.path().join("onnx/config.json"), "{\"mean\": [0.1").expect("written");
    let error = beside(&model).err().expect("damaged").to_string();
    assert!(error.contains("config.json: it is not well-formed JSON") && error.contains("move it away"), "{error}");
}

#[test]
fn a_processor_that_is_not_known_is_a_question() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = r#"{"image_processor_type": "GlyphImageProcessor", "image_mean": [0.5], "size": 32}"#;
    std::fs::write(folder.path().join("preprocessor_config.json"), text).expect("written");
    let found = beside(&folder.path().join("model.onnx")).expect("read");
    let card = &found[0].card;
    assert!(card.open.as_ref().is_some_and(|o| o.contains("GlyphImageProcessor")), "{card:?}");
    assert_eq!(card.preprocessing, Preprocessing::default());
}
