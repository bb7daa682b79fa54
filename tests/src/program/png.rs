//! Pictures of a run as PNG, on request.

use crate::provision::flatscape;

/// After `report --format png` every SVG of a run has a PNG beside it, twice as wide.
#[test]
fn every_picture_of_a_run_can_be_had_as_png() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = folder.path();
    let arguments =
        ["landscape", "digits-standard", "--data", "digits", "--sample", "0", "--grid", "-0.1:0.1:5", "--engine", "tract"];
    let drawn = flatscape(at, &[&arguments[..], &["--out", "run"]].concat());
    assert_eq!(drawn.status.code(), Some(0), "{}", String::from_utf8_lossy(&drawn.stderr));
    let listed = |ending: &str| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(at.join("run/landscapes")).expect("there are landscapes");
        let mut files: Vec<_> =
            entries.map(|e| e.expect("a file").path()).filter(|p| p.extension().is_some_and(|e| e == ending)).collect();
        files.sort();
        files
    };
    let made = flatscape(at, &["report", "run", "--format", "png"]);
    let said = String::from_utf8_lossy(&made.stderr);
    if said.contains("O117") {
        println!("skipped: this machine has no font");
        return;
    }
    assert_eq!(made.status.code(), Some(0), "{said}");
    let (svg, png) = (listed("svg"), listed("png"));
    assert!(!svg.is_empty());
    assert_eq!(png, svg.iter().map(|p| p.with_extension("png")).collect::<Vec<_>>());
    for (svg, png) in svg.iter().zip(&png) {
        let text = std::fs::read_to_string(svg).expect("it is text");
        let width = text.split_once("width=\"").and_then(|(_, rest)| rest.split('"').next()?.parse::<u32>().ok());
        let header = std::fs::read(png).expect("it is a file");
        assert_eq!(&header[1..4], b"PNG");
        let drawn = u32::from_be_bytes(header[16..20].try_into().expect("four bytes"));
        assert_eq!(Some(drawn), width.map(|w| 2 * w), "{}", png.display());
    }
}
