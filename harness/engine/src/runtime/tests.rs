//! Installing with programs that stand in for uv and pip; fetching for real is left to a person.

use super::provision::{Installer, install_with};
use super::wheels::{WHEELS, Wheel};
use super::*;

fn scratch(name: &str) -> PathBuf {
    let path = env::temp_dir().join(format!("flatscape-runtime-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A program that does what this script says.
#[cfg(unix)]
fn program(directory: &Path, name: &'static str, script: &str) -> Installer {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Installer { name, program: path, prefix: &["pip"] }
}

#[test]
fn every_hash_is_a_hash_and_every_machine_is_there_once() {
    for (i, wheel) in WHEELS.iter().enumerate() {
        assert!(wheel.sha256.len() == 64 && wheel.sha256.bytes().all(|b| b.is_ascii_hexdigit()), "{}", wheel.file_name());
        let same = |w: &Wheel| (w.system, w.machine, w.cuda) == (wheel.system, wheel.machine, wheel.cuda);
        assert!(!WHEELS[..i].iter().any(same), "{}", wheel.file_name());
    }
    let linux = Wheel::of("linux", "x86_64", true).unwrap();
    assert_eq!(linux.file_name(), "onnxruntime_gpu-1.31.1-cp312-cp312-manylinux_2_28_x86_64.whl");
    assert!(linux.requirement().starts_with("onnxruntime-gpu==1.31.1 --hash=sha256:05d5"));
}

#[test]
fn without_uv_and_pip_there_is_a_way_out() {
    let home = scratch("none");
    let absent = Installer { name: "uv", program: home.join("not-there"), prefix: &[] };
    let error = install_with(&home, false, &[absent]).unwrap_err().to_string();
    std::fs::remove_dir_all(&home).unwrap();
    assert!(
        error.contains("neither `uv` nor a Python with pip") && error.contains(".whl") && error.contains("--ort-lib"),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn what_an_installer_says_is_passed_on_and_nothing_is_left_behind() {
    let home = scratch("failing");
    let failing = program(&home, "uv", "echo 'THESE PACKAGES DO NOT MATCH THE HASHES' >&2; exit 1");
    let without_pip = program(&home, "pip", "echo 'No module named pip' >&2; exit 1");
    let error = install_with(&home, false, &[without_pip, failing]).unwrap_err().to_string();
    let left: Vec<_> = std::fs::read_dir(home.join("runtime")).unwrap().collect();
    std::fs::remove_dir_all(&home).unwrap();
    assert!(error.starts_with("uv could not fetch onnxruntime 1.31.1: THESE PACKAGES DO NOT MATCH THE HASHES"), "{error}");
    assert!(left.is_empty(), "{left:?}");
}

#[cfg(unix)]
#[test]
fn a_package_without_a_library_is_refused() {
    let home = scratch("empty");
    let empty = program(&home, "uv", "exit 0");
    let error = install_with(&home, false, &[empty]).unwrap_err().to_string();
    std::fs::remove_dir_all(&home).unwrap();
    assert!(error.contains("holds no usable library: the folder onnxruntime/capi is not in it"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn libraries_are_laid_down_with_their_provenance() {
    let home = scratch("whole");
    let fake = library::stand_in(&["OrtGetApiBase", &format!("VERS_{VERSION}")]);
    let source = home.join("fake.so");
    std::fs::write(&source, fake).unwrap();
    let script = format!(
        r#"while [ "$1" != "--target" ]; do shift; done
mkdir -p "$2/onnxruntime/capi" && cp {} "$2/onnxruntime/capi/libonnxruntime.so.{VERSION}"
touch "$2/onnxruntime/capi/libonnxruntime_providers_shared.so" "$2/onnxruntime/capi/onnxruntime_pybind11_state.so" "$2/onnxruntime/LICENSE""#,
        source.display()
    );
    let installer = program(&home, "pip", &script);
    let first = install_with(&home, false, &[installer]).unwrap();
    let again = install_with(&home, false, &[]).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(&first.directory).unwrap().map(|e| name(&e.unwrap().path())).collect();
    names.sort();
    let settings = Settings { data_dir: home.clone(), ..Settings::default() };
    let status = status(&settings);
    std::fs::remove_dir_all(&home).unwrap();
    assert_eq!(names, ["LICENSE", "libonnxruntime.so.1.31.1", "libonnxruntime_providers_shared.so", "provenance.json"]);
    assert!(!first.already && again.already && first.library == again.library);
    assert_eq!((first.provenance.package.as_str(), first.provenance.installer.as_str()), ("onnxruntime", "pip"));
    assert_eq!(status.installed, [first.provenance]);
    assert!(status.places.iter().any(|p| p.path == first.library && matches!(p.finding, Finding::Usable { .. })));
    assert!(status.used.is_some() && status.verdict().starts_with("ONNX Runtime"), "{}", status.verdict());
}
