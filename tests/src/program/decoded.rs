//! Threat models that are no balls of a norm: the attacks run, their witnesses store what they moved, `verify` and the script of a
//! sceptic judge by it, and what does not hold is named.

use std::sync::OnceLock;

use flatscape_graph::Tensor;
use flatscape_measure::findings::Findings;

use super::verify::{changed_in, holds_for_everybody, script, verified};
use super::{EMBEDDED, Run, net_and_digits};

const THREATS: [&str; 4] = ["flow:0.4px", "flow:0.1grid", "rigid:30deg+1px", "l0:4"];

/// An audit under every one of them, once for all tests.
fn audited() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        net_and_digits(folder.path());
        let mut arguments = vec!["audit", "net.onnx", "--data", "digits.npz", "-n", "40", "--attack", "fgsm"];
        arguments.extend(["--attack", "pgd:steps=10", "--metric", "ams", "--landscapes", "0", "--out", "run"]);
        THREATS.iter().for_each(|threat| arguments.extend(["--threat", threat]));
        arguments.extend(EMBEDDED);
        let output = crate::provision::flatscape(folder.path(), &arguments);
        // 9 where a single step finds more than several, which is said
        let run = Run { folder, output };
        assert!([0, 9].contains(&run.code()), "{}", run.said());
        run
    })
}

fn robust(component: &str, threat: &str) -> f64 {
    let rows = audited().table("results.csv");
    let wanted = |r: &&super::Row| r["component"] == component && r["threat"] == threat && r["metric"] == "robust_accuracy";
    let found: Vec<_> = rows.iter().filter(wanted).collect();
    assert_eq!(found.len(), 1, "{component} under {threat}");
    found[0]["value"].parse().expect("a value")
}

#[test]
fn attacks_run_under_every_threat_model() {
    for threat in THREATS {
        let (one, ten) = (robust("fgsm", threat), robust("pgd", threat));
        assert!(one < 0.5 && ten < 0.5, "{threat}: fgsm leaves {one}, pgd {ten}");
    }
    assert_eq!(
        ["fgsm", "pgd"].map(|attack| robust(attack, THREATS[0]) - robust(attack, THREATS[1])),
        [0.0; 2],
        "the same radius"
    );
    assert!(robust("pgd", THREATS[0]) <= robust("fgsm", THREATS[0]), "ten steps do what one does");
    let run = audited();
    let certificate = run.files("certificates", ".json").into_values().next().expect("a certificate");
    let certificate = String::from_utf8(certificate).expect("text");
    assert!(certificate.contains("under linf:8/255, because flow:0.4px has no radius in pixels"), "{certificate}");
    let rows = run.table("results.csv");
    let row = rows.iter().find(|r| r["component"] == "certificate" && r["metric"].contains("pass"));
    assert!(row.is_none_or(|r| r["flags"].is_empty()), "{row:?}");
}

#[test]
fn witnesses_store_the_parameter() {
    let mut with = 0;
    for (name, bytes) in audited().files("witness", ".npz") {
        let file = Findings::decode(&bytes).expect(&name);
        let threat = String::from_utf8(file.get::<u8>("threat").expect(&name)).expect("text");
        let n = file.get::<i64>("id").expect(&name).len();
        let expected = match threat.split(':').next() {
            Some("flow") => Some([n, 2 * 8 * 8].to_vec()),
            Some("rigid") => Some([n, 3].to_vec()),
            _ => None,
        };
        assert_eq!(file.tensor("z").map(|z| z.shape().to_vec()), expected, "{name}");
        with += usize::from(expected.is_some());
        let eps = file.get::<f64>("eps").expect(&name)[0];
        assert!(file.get::<f64>("distance").expect(&name).iter().all(|d| *d <= eps * (1.0 + 1e-5) + 1e-7), "{name}");
    }
    assert_eq!(with, 6);
}

#[test]
fn an_untouched_run_holds_for_everybody() {
    holds_for_everybody(&audited().copy());
}

#[test]
fn a_tampered_parameter_or_image_is_named() {
    type Change = fn(&mut Findings);
    // what verify says, what the script says
    let cases: [(&str, &str, &str, Change); 4] = [
        (".flow-", "lies outside the box or the ball", "outside the ball", |f| scaled(f, 30.0)),
        (".flow-", "the image is not what its parameter decodes to", "another image than its parameter", |f| scaled(f, 0.5)),
        (".rigid-", "the image is not what its parameter decodes to", "another image than its parameter", |f| {
            let darker: Vec<f32> = f.get::<f32>("x_adv").expect("points").iter().map(|v| v * 0.999).collect();
            let shape = f.tensor("x0").expect("x0").shape().to_vec();
            f.0.insert("x_adv".into(), Tensor::new(&shape, darker).expect("a tensor"));
        }),
        (".rigid-", "the parameter is missing that the image was decoded from", "", |f| {
            f.0.remove("z");
        }),
    ];
    for (kind, expected, plain, change) in cases {
        let run = audited().copy();
        let name = file(kind.trim_matches(['.', '-']));
        changed_in(&run.path(&name), change);
        let (code, said) = verified(run.folder.path(), "tract");
        assert_eq!((code, said.contains(expected) && said.contains(&name)), (1, true), "{expected}: {said}");
        let (code, said) = script(run.folder.path());
        assert!(code == 1 && said.contains(plain), "{plain}: {said}");
    }
}

/// The witness file of pgd under the first threat model of a kind.
fn file(kind: &str) -> String {
    let of = |bytes: &[u8]| String::from_utf8(Findings::decode(bytes).expect("findings").get::<u8>("threat").expect("a threat"));
    let found = audited().files("witness", ".npz").into_iter();
    let mut wanted = found.filter(|(name, bytes)| name.contains(".pgd-") && of(bytes).expect("text").starts_with(kind));
    format!("witness/{}", wanted.next().unwrap_or_else(|| panic!("no witness under {kind}")).0)
}

fn scaled(file: &mut Findings, by: f32) {
    let z = file.tensor("z").expect("z").clone();
    let values: Vec<f32> = z.to_vec::<f32>().expect("floats").iter().map(|v| v * by).collect();
    let other = Tensor::new(z.shape(), values).expect("a tensor");
    // for a parameter that is too large the image is made to fit, so that only the ball is at fault
    if by > 1.0 {
        let threat = String::from_utf8(file.get::<u8>("threat").expect("a threat")).expect("text");
        let x0 = file.tensor("x0").expect("x0").clone();
        let [_, c, h, w] = <[usize; 4]>::try_from(x0.shape().to_vec()).expect("images");
        let model = flatscape_measure::threats::ThreatModel::parse(&threat, true).expect("a threat").on([c, h, w]);
        let clean = x0.to_vec::<f32>().expect("floats");
        let parameters = other.to_vec::<f32>().expect("floats");
        let n = x0.shape()[0];
        let images = clean.chunks(clean.len() / n).zip(parameters.chunks(parameters.len() / n));
        let moved: Vec<f32> = images.flat_map(|(x0, z)| model.candidate(x0, z.to_vec(), 0).x).collect();
        file.0.insert("x_adv".into(), Tensor::new(x0.shape(), moved).expect("a tensor"));
    }
    file.0.insert("z".into(), other);
}
