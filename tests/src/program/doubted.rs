//! Every doubt of a run is raised by a model, or an attack, that deserves it, and not beside the same network without that.

use std::f64::consts::PI;

use flatscape_graph::{DType, Expr, Tensor};

use super::headline::digits;
use super::masked::audit;
use crate::provision::root;

/// A doubt, and what raises it.
struct Case {
    code: &'static str,
    /// What stands between pixels and the digits network.
    head: for<'b> fn(Expr<'b>) -> Expr<'b>,
    /// The attacks and threat models.
    asked: &'static [&'static str],
    /// Arguments in place of these under which the network alone raises it not.
    sound: &'static [&'static str],
}

fn plain(x: Expr<'_>) -> Expr<'_> {
    x
}

/// Pixels in four levels: every gradient is zero.
fn rounded(x: Expr<'_>) -> Expr<'_> {
    (x * 3.0).unary("Round") * (1.0 / 3.0)
}

/// Pixels of digits are multiples of 1/16, where this wave is 0 and rises.
fn wave(x: Expr<'_>) -> Expr<'_> {
    x + (x * (32.0 * PI)).unary("Sin") * 0.25
}

/// The derivative is zero at black pixels, where attacks begin.
fn bent(x: Expr<'_>) -> Expr<'_> {
    x.relu()
}

/// Weights that are divided by their largest before a layer reads them.
fn scaled(x: Expr<'_>) -> Expr<'_> {
    let b = x.builder();
    let v = b.constant(Tensor::identity(8).cast(DType::F32));
    x.matmul(v / v.abs().reduce("ReduceMax", &[0, 1], true))
}

const CASES: &[Case] = &[
    Case {
        code: "unrecognised-weights",
        head: scaled,
        asked: &["--threat", "linf:0.1", "--attack", "fgsm", "--metric", "hessian-trace:probes=2"],
        sound: &["--threat", "linf:0.1", "--attack", "fgsm", "--metric", "hessian-trace:probes=2"],
    },
    Case {
        code: "black-box-stronger",
        head: rounded,
        asked: &["--threat", "linf:0.2", "--attack", "pgd", "--attack", "random-search"],
        sound: &["--threat", "linf:0.1", "--attack", "pgd:steps=100,loss=margin,restarts=3", "--attack", "random-search"],
    },
    Case {
        code: "single-step-stronger",
        head: plain,
        asked: &["--threat", "linf:0.1", "--attack", "fgsm", "--attack", "pgd:steps=5,alpha=0.001,random-start=false"],
        sound: &["--threat", "linf:0.1", "--attack", "fgsm", "--attack", "pgd"],
    },
    Case {
        code: "short-of-reach",
        head: plain,
        asked: &["--threat", "linf:0.1", "--attack", "pgd:steps=5,alpha=0.01"],
        sound: &["--threat", "linf:0.1", "--attack", "pgd:steps=5,alpha=0.02"],
    },
    Case {
        code: "not-monotone",
        head: wave,
        asked: &["--threat", "linf:1/64,1/16", "--attack", "fgsm"],
        sound: &["--threat", "linf:1/64,1/16", "--attack", "fgsm"],
    },
    Case {
        code: "transfer-stronger",
        head: rounded,
        asked: &["--threat", "linf:0.2", "--attack", "pgd:random-start=false", "--transfer", "digits-standard"],
        sound: &["--threat", "linf:0.1", "--attack", "pgd", "--transfer", "digits-jacobian"],
    },
    Case {
        code: "surrogate-gradient",
        head: rounded,
        asked: &["--threat", "linf:0.1", "--attack", "pgd", "--remedy", "straight-through"],
        sound: &["--threat", "linf:0.1", "--attack", "pgd"],
    },
    Case {
        code: "unbounded-fails",
        head: rounded,
        asked: &["--threat", "linf:0.1", "--attack", "pgd:steps=5", "--canaries"],
        sound: &["--threat", "linf:0.1", "--attack", "pgd:steps=5", "--canaries"],
    },
    Case {
        code: "more-steps-help",
        head: plain,
        asked: &["--threat", "linf:0.1", "--attack", "pgd:steps=2,alpha=0.005,random-start=false", "--canaries"],
        sound: &["--threat", "linf:0.1", "--attack", "pgd:loss=margin,restarts=10,steps=50", "--canaries"],
    },
    Case {
        code: "more-restarts-help",
        head: bent,
        asked: &["--threat", "linf:0.1", "--attack", "pgd:steps=100,loss=margin,random-start=false", "--canaries"],
        sound: &["--threat", "linf:0.1", "--attack", "pgd:loss=margin,restarts=10,steps=50", "--canaries"],
    },
    Case {
        code: "unstable-scores",
        head: wave,
        asked: &["--threat", "linf:0.1", "--attack", "fgsm", "--canaries"],
        sound: &["--threat", "linf:0.1", "--attack", "fgsm", "--canaries"],
    },
];

#[test]
fn every_doubt_has_a_model_that_raises_it() {
    let said_of = |model: &str, folder: &std::path::Path, asked: &[&str]| {
        let run = audit(folder, model, &[&["-n", "40"], asked].concat());
        assert!([0, 9].contains(&run.code()), "{}", run.said());
        run.said()
    };
    for case in CASES {
        let folder = tempfile::tempdir().expect("a folder");
        digits(folder.path(), DType::F32, case.head, |_, z| z);
        let doubt = format!("doubt[{}]", case.code);
        let said = said_of("net.onnx", folder.path(), case.asked);
        assert!(said.contains(&doubt), "{} is not raised: {said}", case.code);
        let said = said_of("digits-standard", folder.path(), case.sound);
        assert!(!said.contains(&doubt), "{} is raised by a sound model: {said}", case.code);
    }
}

/// A doubt that no test of the program mentions could be one that nothing raises.
#[test]
fn every_doubt_is_tried() {
    /// Of the comparison of two runs: its table has a test of its own in `compare`.
    const ELSEWHERE: &[&str] = &["engines-disagree"];
    let mut tests = String::new();
    let mut folders = vec![root().join("tests/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path => tests += &std::fs::read_to_string(path).expect("a file"),
            }
        }
    }
    for flag in flatscape_audit::flags::FLAGS {
        let code = flag.doubt.code;
        let tried = tests.contains(&format!("[{code}]")) || tests.contains(&format!("\"{code}\""));
        assert!(tried != ELSEWHERE.contains(&code), "{code} is tried: {tried}");
    }
}
