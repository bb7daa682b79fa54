//! Surrogate gradients on the user's word (`--surrogate`): what attacks differentiate, and what the run says of it.

use flatscape_graph::DType;

use super::headline::digits;
use super::{EMBEDDED, Run};
use crate::provision::flatscape;

/// A classifier behind pixels of eight levels (formulas.md, C19): by the true gradient, which is zero, nothing is broken but what is
/// misclassified; by the surrogate as much as random search finds, and more.
#[test]
fn a_surrogate_looks_through_a_quantiser_where_the_user_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    digits(folder.path(), DType::F32, |x| (x * 7.0).unary("Round") * (1.0 / 7.0), |_, z| z);
    let audit = |attack: &str, more: &[&str]| {
        let mut arguments = vec!["audit", "net.onnx", "--data", "digits", "--landscapes", "0", "--out", "run"];
        arguments.extend(["-n", "60", "--threat", "linf:0.12", "--attack", attack]);
        arguments.extend(more);
        arguments.extend(EMBEDDED);
        let output = flatscape(folder.path(), &arguments);
        let kept = tempfile::tempdir().expect("a folder");
        if folder.path().join("run").exists() {
            std::fs::rename(folder.path().join("run"), kept.path().join("run")).expect("a run directory");
        }
        Run { folder: kept, output }
    };
    let robust = |run: &Run, attack: &str| run.value("net", attack, "robust_accuracy");
    let blind = audit("pgd:loss=margin,random-start=no", &[]).expect(9);
    let clean = blind.value("net", "clean", "clean_accuracy");
    assert_eq!(robust(&blind, "pgd"), clean, "the gradient is zero everywhere");
    let through = audit("pgd:loss=margin,steps=100,restarts=3", &["--surrogate", "Round=identity"]);
    let said = through.said();
    assert!(said.contains("surrogate: Round×1 (ȳ)") && said.contains("doubt[remedied]"), "{said}");
    assert!(through.text("manifest.json").contains("\"Round=identity\""));
    let remedied = std::fs::read_dir(through.path("remedies")).expect("a folder").flatten();
    assert!(remedied.into_iter().any(|f| f.file_name().to_string_lossy().ends_with("-surrogate.onnx")));
    let searched = audit("random-search", &[]);
    let (through, searched) = (robust(&through, "pgd"), robust(&searched, "random-search"));
    assert!(through < clean - 0.3 && through <= searched + 1.5 / 60.0, "{through} through it, {searched} by search, of {clean}");
    // nothing to do is said, a word that is not known is refused with the one that was meant
    let idle = audit("pgd:random-start=no", &["--surrogate", "Floor=identity"]).expect(9);
    assert!(idle.text("manifest.json").contains("there is nothing in this model that it would change"), "{}", idle.said());
    let refused = audit("pgd", &["--surrogate", "Round=hardtanh"]).expect(2);
    assert!(refused.said().contains("Round takes identity"), "{}", refused.said());
}
