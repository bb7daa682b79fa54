//! Models and images as people have them, with what must come of them: small nets on the UCI digits, kept outside the project. Each
//! row is a kind of interface, of labels or of preprocessing, with the clean accuracy that is right.

use std::path::{Path, PathBuf};

use flatscape_engine::CompileOptions;
use flatscape_intake::card::Preprocessing;
use flatscape_intake::data::{Dataset, Pixels, Request};
use flatscape_intake::model::{self, Intake, Model, ModelRequest, Native};
use flatscape_intake::refusal::Refusal;
use flatscape_intake::scores::argmax;
use flatscape_intake::suggest::suggest;

use crate::provision::{onnx_runtime, shared_data};

/// Flags, by name and value.
pub(crate) type Flags = &'static [(&'static str, &'static str)];

/// A model, its data, flags, the clean accuracy that is right.
type Case = (&'static str, &'static str, Flags, f64);

/// What is accepted, and how accurate the model then is.
const RIGHT: &[Case] = &[
    ("c02_id2label/model.onnx", "c02_folder", &[], 0.975),
    ("c02_labels_txt/model.onnx", "c02_folder", &[], 0.975),
    ("c02_two/model.onnx", "c02_two_folder", &[], 1.0),
    ("c01_caffe.onnx", "c01_rgb.npz", &[("channels", "bgr"), ("scale", "255"), ("mean", "103.939,116.779,123.68")], 0.94),
    ("c01_metadata.onnx", "c01_rgb.npz", &[], 0.94),
    ("c01_mobilevit/onnx/model.onnx", "c01_rgb.npz", &[], 0.94),
    ("c01_rows_hwc.onnx", "c01_rgb.npz", &[("layout", "flat-pixels")], 0.94),
    ("c15_grey.onnx", "c15_rgb", &[("channels", "gray")], 0.975),
    ("c15_colour.onnx", "c15_rgb", &[], 0.975),
    ("c15_colour.onnx", "c09.npz", &[("channels", "rgb")], 0.9775),
    ("c13_zipmap_only.onnx", "c13.npz", &[], 0.9775),
    ("c33_mlp_qoperator.onnx", "c33.npz", &[], 0.9775),
    ("c14_uint8_out.onnx", "c14.npz", &[], 0.9775),
    ("c10_1NK.onnx", "c10.npz", &[], 0.9775),
    ("c10_N11K.onnx", "c10.npz", &[], 0.9775),
    ("c10_plane.onnx", "c10.npz", &[], 0.9775),
    ("c10_squeezed.onnx", "c10.npz", &[], 0.9775),
    ("c32_squeeze_all.onnx", "c32.npz", &[], 0.9775),
    ("c09_minus1.onnx", "c09.npz", &[], 0.9775),
    ("c22_out_loss.onnx", "c22.npz", &[], 0.9775),
    ("c22_out_label.onnx", "c22.npz", &[], 0.9775),
    ("c11_affine.onnx", "c11.npz", &[], 0.9775),
    ("c11_imagescaler.onnx", "c11.npz", &[("scale", "255")], 0.9775),
    ("c03_model.onnx", "c03_column.npz", &[], 0.9775),
];

/// What is a question: a model, its data, the id, a part of the sentence or of the way out.
const QUESTIONS: &[(&str, &str, &str, &str)] = &[
    ("c15_grey.onnx", "c15_rgb", "M053", "--channels gray"),
    ("c15_grey.onnx", "c15_rgb", "M053", "the first image in colour is 0/0017.png"),
    ("c01_rows_hwc.onnx", "c01_rgb.npz", "U054", "--layout flat-pixels"),
    // folders called by words, and a model of another number of classes that names none
    ("c03_model.onnx", "c02_two_folder", "D061", "--label-offset"),
];

pub(crate) fn files(test: &str) -> Option<PathBuf> {
    let found = shared_data(test)?.join("../cases/files");
    if found.is_dir() {
        return Some(found);
    }
    eprintln!("skipped: {test}: there is no folder {}", found.display());
    None
}

/// A model and its data, fitted to each other.
fn loaded(folder: &Path, model: &str, data: &str, flags: Flags) -> Result<(Model, Dataset), Refusal> {
    let field = |name: &str| flags.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    let intake = Intake { preprocessing: Preprocessing::parse(field)?, ..Intake::default() };
    let request = ModelRequest { source: folder.join(model).to_string_lossy().into_owned(), intake };
    let read = model::read(std::slice::from_ref(&request), &Request::new(&folder.join(data).to_string_lossy()))?;
    let (_, native) = read.models.into_iter().next().expect("one model");
    Ok((Model::fit(native?, &request.intake, &read.dataset, onnx_runtime().as_ref())?, read.dataset))
}

/// The clean accuracy of a model, and what was said about model and data.
pub(crate) fn clean(folder: &Path, model: &str, data: &str, flags: Flags) -> Result<(f64, Vec<String>), Refusal> {
    let (model, data) = loaded(folder, model, data, flags)?;
    let engine = onnx_runtime();
    let executable = engine.compile(&model.graph, &CompileOptions::default()).expect("compiled");
    let fixed = model.graph.shape(model.graph.inputs()[0]).and_then(|s| s[0].fixed()).unwrap_or(64);
    let mut right = 0;
    for start in (0..data.len()).step_by(fixed) {
        let ids: Vec<u64> = (start..start + fixed).map(|i| i.min(data.len() - 1) as u64).collect();
        let batch = data.gather(&ids);
        let x = executable.upload(&batch.x).expect("uploaded");
        let logits = executable.run(&[&x]).expect("run")[0].host().expect("on the host").to_f64();
        let rows = logits.chunks(model.classes).zip(&batch.y).take(data.len() - start);
        right += rows.filter(|(z, y)| argmax(z).map(|k| k as i64) == Some(**y)).count();
    }
    let said = model.facts.iter().chain(&data.notes).cloned().collect();
    Ok((right as f64 / data.len() as f64, said))
}

#[test]
fn what_people_have_is_read_as_they_mean_it() {
    let Some(folder) = files("what_people_have_is_read_as_they_mean_it") else { return };
    let mut wrong = Vec::new();
    for (model, data, flags, expected) in RIGHT {
        match clean(&folder, model, data, flags) {
            Ok((found, _)) if (found - expected).abs() < 0.006 => {}
            Ok((found, said)) => wrong.push(format!("{model} on {data} {flags:?}: {found}, not {expected}: {said:?}")),
            Err(refusal) => wrong.push(format!("{model} on {data} {flags:?}: {refusal}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_not_clear_is_a_question() {
    let Some(folder) = files("what_is_not_clear_is_a_question") else { return };
    for (model, data, id, says) in QUESTIONS {
        let refusal = clean(&folder, model, data, &[]).err().unwrap_or_else(|| panic!("{model} on {data} is accepted"));
        assert_eq!(refusal.id(), *id, "{model}: {refusal}");
        assert!(refusal.to_string().contains(says), "{refusal} lacks {says:?}");
    }
}

#[test]
fn what_was_matched_is_said() {
    let Some(folder) = files("what_was_matched_is_said") else { return };
    let (_, said) = clean(&folder, "c02_id2label/model.onnx", "c02_folder", &[]).expect("read");
    assert!(said.iter().any(|s| s.contains("matched by name") && s.contains("eight → 8")), "{said:?}");
}

/// The neighbours of names: case and joints, a class without images, a name that is missing, two that are one.
#[test]
fn names_are_matched_or_asked_for() {
    let Some(folder) = files("names_are_matched_or_asked_for") else { return };
    let names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let own = tempfile::tempdir().expect("a folder");
    let model = own.path().join("model");
    std::fs::create_dir(&model).expect("created");
    std::fs::copy(folder.join("c02_labels_txt/model.onnx"), model.join("model.onnx")).expect("copied");
    let images = own.path().join("images");
    let of_class = |name: &str, from: &str| {
        let class = images.join(name);
        std::fs::create_dir_all(&class).expect("created");
        for file in std::fs::read_dir(folder.join("c02_folder").join(from)).expect("images").map(|e| e.expect("a file").path()) {
            std::fs::copy(&file, class.join(file.file_name().expect("a name"))).expect("copied");
        }
    };
    names.iter().filter(|n| **n != "eight").for_each(|n| of_class(n, n));
    of_class("E_i-GHT", "eight");
    std::fs::create_dir(images.join("nothing")).expect("created");
    let try_with = |labels: &str| {
        std::fs::write(model.join("labels.txt"), labels).expect("written");
        clean(own.path(), "model/model.onnx", "images", &[]).map(|(rate, _)| rate)
    };
    assert_eq!(try_with(&names.join("\n")).expect("matched"), 0.975);
    for (labels, says) in [
        (names.join("\n").replace("eight", "acht"), "E_i-GHT"),
        (names.join("\n").replace("eight", "Nine"), "calls two classes"),
        (names[..3].join("\n"), "10 classes and 3 names"),
    ] {
        let refusal = try_with(&labels).expect_err(says);
        assert!(refusal.id() == "D061" && refusal.to_string().contains(says) && refusal.help.is_some(), "{refusal}");
    }
    // folders called by numbers, as many as there are or not
    std::fs::remove_file(model.join("labels.txt")).expect("removed");
    std::fs::remove_dir_all(&images).expect("removed");
    [("03", "three"), ("7", "seven"), ("5", "five")].iter().for_each(|(name, from)| of_class(name, from));
    let (rate, said) = clean(own.path(), "model/model.onnx", "images", &[]).expect("matched by number");
    assert!(rate > 0.95 && said.iter().any(|s| s.contains("matched by number: 03 → 3")), "{rate}: {said:?}");
}

/// Labels of a folder that are numbers: folders called by a part of them, lists with a mark at their beginning, in quotes with a
/// comma, as floats. They keep their values, whatever their order.
#[test]
fn labels_that_are_numbers_keep_their_values() {
    let Some(folder) = files("labels_that_are_numbers_keep_their_values") else { return };
    let read = |data: &str| Dataset::load(&Request::new(&folder.join(data).to_string_lossy())).expect(data);
    let subset = read("c24_subset");
    let counted = |data: &Dataset| {
        let mut labels = data.labels.clone();
        labels.sort_unstable();
        labels.dedup();
        labels
    };
    // as a set without a model the folders are classes of their own, called by their numbers
    assert_eq!(subset.class_names, ["12", "15", "3", "7"]);
    assert_eq!(counted(&subset), [0, 1, 2, 3]);
    let reference = read("c30_bom");
    assert_eq!(reference.labels[..2], [12, 17]);
    assert_eq!(read("c30_floats").labels, reference.labels);
    let quoted = read("c30_quoted");
    let number = |name: &String| name.trim_matches(|c: char| !c.is_ascii_digit()).to_owned();
    let named: Vec<i64> =
        quoted.labels.iter().map(|&y| number(&quoted.class_names[y as usize]).parse().expect("a number")).collect();
    assert_eq!(named, reference.labels);
}

/// An operator of old converters that cuts a border off: the images of the case with a border around them.
#[test]
fn a_crop_inside_of_the_file_is_read() {
    let Some(folder) = files("a_crop_inside_of_the_file_is_read") else { return };
    let images = Dataset::load(&Request::new(&folder.join("c11.npz").to_string_lossy())).expect("images");
    let own = tempfile::tempdir().expect("a folder");
    let mut bordered = ndarray::Array4::<f32>::ones((images.len(), 1, 10, 10));
    let pixels = images.batch(0..images.len()).x.to_vec::<f32>().expect("floats");
    let inner = ndarray::Array4::from_shape_vec((images.len(), 1, 8, 8), pixels).expect("as many");
    bordered.slice_mut(ndarray::s![.., .., 1..9, 1..9]).assign(&inner);
    let mut data = ndarray_npy::NpzWriter::new(std::fs::File::create(own.path().join("bordered.npz")).expect("a file"));
    data.add_array("x", &bordered).expect("images");
    data.add_array("y", &ndarray::Array1::from_vec(images.labels.clone())).expect("labels");
    data.finish().expect("a file");
    std::fs::copy(folder.join("c11_crop.onnx"), own.path().join("crop.onnx")).expect("copied");
    let (rate, _) = clean(own.path(), "crop.onnx", "bordered.npz", &[]).expect("read");
    assert!((rate - 0.9775).abs() < 0.006, "{rate}");
}

/// Attributes that an operator does not have, or that hold what they may not, are refused before an engine sees them.
#[test]
fn attributes_that_mean_nothing_are_refused() {
    let Some(folder) = files("attributes_that_mean_nothing_are_refused") else { return };
    for (name, says) in
        [("17", "transB"), ("29", "\"strides\""), ("31", "transB"), ("42", "\"axes\""), ("55", "\"perm\""), ("71", "\"group\"")]
    {
        let path = folder.join(format!("hostile/mutant-{name}.onnx"));
        let refusal = Native::load(&path.to_string_lossy(), &Intake::default()).expect_err(name);
        assert!(refusal.id() == "M035" && refusal.what.contains(says), "{refusal}");
    }
    let refusal = Native::load(&folder.join("hostile/opname7.onnx").to_string_lossy(), &Intake::default()).expect_err("a name");
    assert!(!refusal.to_string().contains('\u{1b}') && refusal.what.contains("\\u{1b}"), "{refusal}");
}

/// Suggestions are what is right, or nothing.
#[test]
fn suggestions_are_right_or_silent() {
    let Some(folder) = files("suggestions_are_right_or_silent") else { return };
    let suggested = |model: &str, data: &str, flags: Flags| {
        let (model, data) = loaded(&folder, model, data, flags).expect("read");
        suggest(onnx_runtime().as_ref(), &model, &data).expect("run")
    };
    let found = suggested("c01_caffe.onnx", "c01_rgb.npz", &[]);
    assert!(found.len() == 1 && found[0].contains("--channels bgr") && found[0].contains("--scale 255"), "{found:?}");
    let found = suggested("c11_imagescaler.onnx", "c11.npz", &[]);
    assert!(found.len() == 1 && found[0].starts_with("with --scale 255 the"), "{found:?}");
    for (model, data, flags, _) in RIGHT.iter().filter(|(model, ..)| !model.starts_with("c10") && !model.starts_with("c01_caffe"))
    {
        assert_eq!(suggested(model, data, flags), [""; 0], "{model} on {data}");
    }
    // labels off by one in a data set that is sorted by class: the offset alone
    let (model, mut data) = loaded(&folder, "c03_model.onnx", "c03_column.npz", &[]).expect("read");
    let mut order: Vec<u64> = (0..data.len() as u64).filter(|&i| data.labels[i as usize] < 9).collect();
    order.sort_by_key(|&i| data.labels[i as usize]);
    let sorted = data.gather(&order);
    data.labels = sorted.y.iter().map(|y| y + 1).collect();
    data.pixels = Pixels::Floats(sorted.x.to_vec().expect("floats"));
    let found = suggest(onnx_runtime().as_ref(), &model, &data).expect("run");
    assert!(found.len() == 1 && found[0].starts_with("with --label-offset -1 the"), "{found:?}");
}
