//! What is found in real models, and what the tool makes of models that get wrong input. The third-party models are not
//! part of the project; where they are missing the tests say so.

use flatscape_intake::card::Preprocessing;
use flatscape_intake::data::{Dataset, Pixels, Request};
use flatscape_intake::inspect::Inspection;
use flatscape_intake::model::{Intake, Model, Native, SHIPPED};
use flatscape_intake::suggest::suggest;

use crate::provision::{onnx_runtime, root, shared_data};

fn codes(source: &str) -> Vec<&'static str> {
    let native = Native::load(source, &Intake::default()).unwrap_or_else(|e| panic!("{source}: {e}"));
    Inspection::of(&native).hazards.iter().map(|h| h.code).collect()
}

/// Ordinary models have no hazard that makes numbers doubtful. What some of them do have is true of them.
#[test]
fn ordinary_models_raise_no_false_alarm() {
    const TRUE_OF_THEM: &[(&str, &[&str])] = &[("mnist_relu_9_200.onnx", &["bounded-output"])];
    for shipped in SHIPPED {
        assert_eq!(codes(shipped.name), [""; 0], "{}", shipped.name);
    }
    let Some(folder) = shared_data("ordinary_models_raise_no_false_alarm, third-party models") else { return };
    let mut wrong = Vec::new();
    let mut files: Vec<_> =
        std::fs::read_dir(folder.join("models")).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "onnx"));
    files.sort();
    assert_eq!(files.len(), 20);
    for file in files {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let expected = TRUE_OF_THEM.iter().find(|(n, _)| *n == name).map_or(&[][..], |(_, codes)| codes);
        let found = codes(&file.to_string_lossy());
        println!("{name}: {}", found.join(", "));
        if found != expected {
            wrong.push(format!("{name}: {found:?}, and {expected:?} are known"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The networks as exporters write them: nothing that would make numbers doubtful, but for those whose hazard is real.
#[test]
fn exported_networks_raise_no_false_alarm() {
    // k-max pooling that keeps the order of its entries jumps where the k-th changes place; votes are counted
    const REAL: &[(&str, &[&str])] = &[("largest", &["winner-take-all"]), ("svc_rbf", &["threshold"])];
    let mut files = Vec::new();
    let mut folders = vec![root().join("tests/architectures")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).expect("a folder").map(|e| e.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "onnx") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() > 25, "{} networks", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let Ok(native) = Native::load(&file.to_string_lossy(), &Intake::default()) else { continue };
        let all = Inspection::of(&native).hazards;
        all.iter().for_each(|h| println!("{name}: {}: {}", h.code, h.cause));
        let grave: Vec<&str> = all.iter().filter(|h| h.unreliable).map(|h| h.code).collect();
        let expected = REAL.iter().find(|(n, _)| *n == name).map_or(&[][..], |(_, codes)| codes);
        if grave != expected {
            wrong.push(format!("{name}: {grave:?}, and {expected:?} are known"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Model, data, how it is fed, and what the suggestion must say.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

#[test]
fn wrong_preprocessing_of_third_party_models_is_found_out() {
    const CASES: &[Case] = &[
        ("mnistfc_256x2.onnx", "mnist", &[("layout", "flat-columns")], "with --layout flat "),
        ("cnn_max_mninst3.onnx", "mnist", &[("mean", "4"), ("std", "3")], "with --mean 0 --std 1 "),
        ("resnet20_cifar10.onnx", "cifar", &[("scale", "255")], "with --scale 1 --mean 0.4914,0.4822,0.4465 --std "),
    ];
    let Some(folder) = shared_data("wrong_preprocessing_of_third_party_models_is_found_out") else { return };
    let engine = onnx_runtime();
    for (file, data, stated, part) in CASES {
        let request = match *data {
            "cifar" => Request::new(&folder.join("cifar10/test_lossless_890.bin").to_string_lossy()),
            name => Request { data_dir: Some(folder.clone()), ..Request::new(name) },
        };
        let data = Dataset::load(&Request { limit: Some(200), ..request }).expect(file);
        let field = |name: &str| stated.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let intake = Intake { preprocessing: Preprocessing::parse(field).expect("flags"), ..Intake::default() };
        let model =
            Model::load(&folder.join("models").join(file).to_string_lossy(), &intake, &data, engine.as_ref()).expect(file);
        let found = suggest(engine.as_ref(), &model, &data).expect(file);
        println!("{file} fed {stated:?}: {found:?}");
        assert!(found.len() == 1 && found[0].contains(part), "{file} fed {stated:?}: {found:?} does not say {part:?}");
        // fed rightly there is nothing to gain
        let right = Model::load(&folder.join("models").join(file).to_string_lossy(), &right_for(file), &data, engine.as_ref());
        let found = suggest(engine.as_ref(), &right.expect(file), &data).expect(file);
        assert!(found.is_empty(), "{file}: {found:?}");
    }
}

/// How a model of the cases is fed rightly.
fn right_for(file: &str) -> Intake {
    let cifar = [("mean", "0.4914,0.4822,0.4465"), ("std", "0.2023,0.1994,0.2010")];
    let field = |name: &str| {
        let stated = cifar.iter().filter(|_| file.starts_with("resnet20")).find(|(n, _)| *n == name);
        stated.map(|(_, v)| (*v).to_owned())
    };
    Intake { preprocessing: Preprocessing::parse(field).expect("flags"), ..Intake::default() }
}

/// The byte of an image at (channel, row, column) of a changed one.
type Change<'a> = &'a dyn Fn(&[u8], usize, usize, usize) -> u8;

/// Mistakes in the data are answered by flags.
#[test]
fn wrong_images_are_found_out() {
    let Some(folder) = shared_data("wrong_images_are_found_out") else { return };
    let engine = onnx_runtime();
    let request = Request::new(&folder.join("cifar10/test_lossless_890.bin").to_string_lossy());
    let right = Dataset::load(&Request { limit: Some(200), ..request }).expect("images");
    let [c, h, w] = right.shape;
    let Pixels::Bytes(bytes) = &right.pixels else { panic!("bytes") };
    let changed = |pixel: Change| {
        let image = |image: &[u8]| -> Vec<u8> {
            let places = (0..c).flat_map(|k| (0..h).flat_map(move |i| (0..w).map(move |j| (k, i, j))));
            places.map(|(k, i, j)| pixel(image, k, i, j)).collect()
        };
        Dataset { pixels: Pixels::Bytes(bytes.chunks(c * h * w).flat_map(image).collect()), ..right.clone() }
    };
    let at = |image: &[u8], k: usize, i: usize, j: usize| image[(k * h + i) * w + j];
    let model = folder.join("models/marabou_cifar10_small.onnx");
    let model = Model::load(&model.to_string_lossy(), &Intake::default(), &right, engine.as_ref()).expect("a model");
    for (what, data) in [
        ("--channels bgr", changed(&|image, k, i, j| at(image, c - 1 - k, i, j))),
        ("--layout nwhc", changed(&|image, k, i, j| at(image, k, j, i))),
        ("--invert", changed(&|image, k, i, j| 255 - at(image, k, i, j))),
        ("--label-offset 1", Dataset { labels: right.labels.iter().map(|y| y - 1).collect(), ..right.clone() }),
    ] {
        let found = suggest(engine.as_ref(), &model, &data).expect(what);
        assert!(found.len() == 1 && found[0].contains(what), "{what}: {found:?}");
    }
}

/// Every doubt has a row on the page, under its code.
#[test]
fn the_page_of_doubts_is_made_from_the_tables() {
    let (path, page) = (root().join("harness/audit/DOUBTS.md"), flatscape_audit::flags::page());
    if std::env::var_os("FLATSCAPE_WRITE_PAGES").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    assert!(std::fs::read_to_string(&path).is_ok_and(|text| text == page), "harness/audit/DOUBTS.md is not that of the tables");
    let mut codes: Vec<&str> = flatscape_audit::flags::doubts().map(|doubt| doubt.code).collect();
    codes.sort_unstable();
    let count = codes.len();
    codes.dedup();
    assert_eq!(codes.len(), count, "a code has two rows");
}
