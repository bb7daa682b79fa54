//! Weights in other files: where they may lie, what may be said about them, and that nothing outside the model's folder is read.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::crafted::good;
use super::inputs::{directory, file, model, pipe};
use super::table::{Case, accepted, case, refused};
use crate::wire::{Data, Model};

#[rustfmt::skip]
pub const CASES: &[Case] = &[
    outside("a way up", |f| placed(f, "../secret")),
    outside("a way down and up", |f| placed(f, "a/../../secret")),
    outside("an absolute path", |f| placed(f, "/etc/passwd")),
    outside("a drive", |f| placed(f, "C:\\secret")),
    outside("a drive with slashes", |f| placed(f, "C:/secret")),
    outside("a share", |f| placed(f, "\\\\host\\secret")),
    outside("a fragment", |f| placed(f, "#/../secret")),
    outside("a stream", |f| placed(f, "w.bin::$DATA")),
    outside("a dot at the end", |f| placed(f, "w.bin.")),
    outside("this folder", |f| placed(f, ".")),
    outside("a line break", |f| placed(f, "w\n.bin")),
    external(40, "percent signs", |f| placed(f, "%2e%2e/secret"), "M045", "no such file"),
    external(41, "a link out", |f| { secret(f); symlink("../secret", f.join("model/w.bin")).expect("a link"); inside(f, &[("location", "w.bin")]) }, "M040", "w.bin … leaves the model's folder … secret"),
    external(41, "a link out further up", |f| { secret(f); symlink("..", f.join("model/up")).expect("a link"); inside(f, &[("location", "up/secret")]) }, "M040", "up/secret … leaves the model's folder … secret"),
    external(41, "a link into the system", |f| { secret(f); symlink("/proc/self/environ", f.join("model/w.bin")).expect("a link"); inside(f, &[("location", "w.bin")]) }, "M040", "w.bin … leaves the model's folder"),
    case("a cache of links", cached, "inspect snapshots/1/m.onnx", (0, ""), "").row(42).prints("10 classes … weights were read from w.bin"),
    accepted(42, "a link inside", |f| { file(f, "real.bin", &[0; 48]); symlink("real.bin", f.join("w.bin")).expect("a link"); located(f, &[("location", "w.bin")]) }, "weights were read from w.bin"),
    external(43, "a hard link", |f| { secret(f); std::fs::hard_link(f.join("secret"), f.join("model/w.bin")).expect("a link"); inside(f, &[("location", "w.bin")]) }, "M043", "w.bin … 2 names … --allow-hardlinks"),
    case("a hard link that is allowed", |f| { file(f, "other", &[0; 48]); std::fs::hard_link(f.join("other"), f.join("w.bin")).expect("a link"); located(f, &[("location", "w.bin")]) }, "inspect m.onnx --allow-hardlinks", (0, ""), "").row(43).prints("10 classes"),
    refused(44, "a pipe", |f| { pipe(f, "w.bin"); located(f, &[("location", "w.bin")]) }, "M044", "\"v\" … w.bin … regular file"),
    refused(44, "a folder", |f| { directory(f, "w.bin"); located(f, &[("location", "w.bin")]) }, "M044", "\"v\" … w.bin … directory"),
    refused(45, "no file", |f| located(f, &[("location", "w.bin")]), "M045", "\"v\" … no such file … w.bin"),
    refused(45, "an offset behind the end", |f| data(f, &[("location", "w.bin"), ("offset", "100")]), "M045", "\"v\" … has 64 bytes"),
    refused(45, "a length beyond the end", |f| data(f, &[("location", "w.bin"), ("offset", "32"), ("length", "48")]), "M045", "\"v\" … has 64 bytes"),
    refused(45, "a length that is not that of the shape", |f| data(f, &[("location", "w.bin"), ("length", "52")]), "M022", "\"v\" … 48 bytes … 52"),
    refused(45, "a negative offset", |f| data(f, &[("location", "w.bin"), ("offset", "-16")]), "M045", "\"v\" … offset … -16"),
    refused(45, "an offset that wraps around", |f| data(f, &[("location", "w.bin"), ("offset", "18446744073709551600")]), "M045", "\"v\" … has 64 bytes"),
    refused(45, "an offset beyond 64 bits", |f| data(f, &[("location", "w.bin"), ("offset", "99999999999999999999999")]), "M045", "\"v\" … too large"),
    refused(45, "an offset in hexadecimal", |f| data(f, &[("location", "w.bin"), ("offset", "0x0")]), "M045", "\"v\" … plain number"),
    refused(45, "a length with a sign", |f| data(f, &[("location", "w.bin"), ("length", "+48")]), "M045", "\"v\" … plain number"),
    refused(45, "a length with words", |f| data(f, &[("location", "w.bin"), ("length", " 48abc")]), "M045", "\"v\" … plain number"),
    refused(45, "an empty length", |f| data(f, &[("location", "w.bin"), ("length", "")]), "M045", "\"v\" … plain number"),
    refused(45, "no location", |f| data(f, &[("offset", "0")]), "M045", "\"v\" … no location"),
    refused(46, "a place that is stated twice", |f| data(f, &[("location", "w.bin"), ("location", "w.bin")]), "M046", "\"v\" … location … twice"),
    refused(46, "an offset that is stated twice", |f| data(f, &[("location", "w.bin"), ("offset", "0"), ("offset", "16")]), "M046", "\"v\" … offset … twice"),
    accepted(46, "a key that nobody knows", |f| data(f, &[("location", "w.bin"), ("basepath", "/etc")]), "10 classes … unknown keys of external data were passed over: \"basepath\""),
    refused(47, "a NUL in the location", |f| data(f, &[("location", "w.bin\0x")]), "M047", r"\0"),
    refused(47, "an empty location", |f| data(f, &[("location", "")]), "M047", "\"v\" … not a path"),
    refused(48, "an address in memory", |f| data(f, &[("location", "*/_ORT_MEM_ADDR_/*"), ("offset", "4096")]), "M048", "\"v\" … address in memory"),
    refused(49, "ten thousand tensors on the same bytes", amplified, "M049", "over and over … 1048576 bytes"),
    case("two tensors above the limit that was stated", twice, "inspect m.onnx --max-model-bytes 4000", (3, "M049"), "more than 4000 bytes in all").row(49),
];

const fn external(row: u16, name: &'static str, make: fn(&Path), id: &'static str, says: &'static str) -> Case {
    case(name, make, "inspect model/m.onnx", (3, id), says).row(row).culprit("\"v\"")
}

/// Row 40: a location that is refused by its letters.
const fn outside(name: &'static str, make: fn(&Path)) -> Case {
    external(40, name, make, "M040", "not a plain path")
}

/// A good model with a tensor `v` float[3,4] in another file.
fn elsewhere(entries: &[(&str, &str)]) -> Model {
    good().tensor("v", &[3, 4], Data::External(entries)).node("Identity", &["v"], "unused")
}

fn located(folder: &Path, entries: &[(&str, &str)]) {
    model(folder, elsewhere(entries));
}

/// The same with 64 bytes in `w.bin`.
fn data(folder: &Path, entries: &[(&str, &str)]) {
    file(folder, "w.bin", &[0; 64]);
    located(folder, entries);
}

/// `secret` beside an empty folder `model`.
fn secret(folder: &Path) {
    file(folder, "secret", &[0x5a; 64]);
    directory(folder, "model");
}

/// The model in the folder `model`.
fn inside(folder: &Path, entries: &[(&str, &str)]) {
    file(folder, "model/m.onnx", &elsewhere(entries).bytes());
}

fn placed(folder: &Path, location: &str) {
    secret(folder);
    file(folder, "model/w.bin", &[0; 64]);
    inside(folder, &[("location", location)]);
}

/// `snapshots/1/*` are links to `blobs/*`, as in the cache of Hugging Face.
fn cached(folder: &Path) {
    directory(folder, "blobs");
    std::fs::create_dir_all(folder.join("snapshots/1")).expect("a temporary folder can be written");
    file(folder, "blobs/aa", &elsewhere(&[("location", "w.bin")]).bytes());
    file(folder, "blobs/bb", &[0; 48]);
    symlink("../../blobs/aa", folder.join("snapshots/1/m.onnx")).expect("a link");
    symlink("../../blobs/bb", folder.join("snapshots/1/w.bin")).expect("a link");
}

/// A megabyte of weights that ten thousand tensors claim.
fn amplified(folder: &Path) {
    file(folder, "w.bin", &vec![0; 1 << 20]);
    let mut many = good();
    for i in 0..10_000 {
        many = many.tensor(&format!("v{i}"), &[1 << 18], Data::External(&[("location", "w.bin")]));
    }
    model(folder, many);
}

fn twice(folder: &Path) {
    file(folder, "w.bin", &[0; 2400]);
    let entries: &[(&str, &str)] = &[("location", "w.bin")];
    let two = Model::new().input("x", "float[N,20]").tensor("a", &[20, 30], Data::External(entries));
    let two = two.tensor("b", &[30, 20], Data::External(entries)).node("MatMul", &["x", "a"], "h").node(
        "MatMul",
        &["h", "b"],
        "logits",
    );
    model(folder, two.output("logits", "float[N,20]"));
}
