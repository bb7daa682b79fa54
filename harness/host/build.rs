//! Lists the sources of the SDK, so that `plugins new` can write a plugin that builds where no checkout lies around it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The crates that a plugin in Rust is built from.
const CRATES: &[&str] = &["abi", "graph", "sdk"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let root = here.join("../..").canonicalize()?;
    let mut files = vec![root.join("Cargo.toml")];
    for name in CRATES {
        files.push(root.join("harness").join(name).join("Cargo.toml"));
        collect(&root.join("harness").join(name).join("src"), &mut files)?;
    }
    files.push(root.join("harness/graph/proto/onnx.proto"));
    let mut table = String::from("&[\n");
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
        writeln!(table, "    ({:?}, include_str!({:?})),", file.strip_prefix(&root)?.display().to_string(), file)?;
    }
    table += "]\n";
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("sdk.rs"), table)?;
    Ok(())
}

/// The Rust files of a folder and of the folders in it, by name.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
