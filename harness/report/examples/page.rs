//! Draws the page, a panel of landscapes or the curves from numbers that are made up, to look at the layout. Nothing was
//! measured. `cargo run -p flatscape-report --example page -- html > page.html`; also `landscapes`, `curves`, `histogram`, `rows`.

use std::io::Write;

use flatscape_report::{
    Axis, Certificate, CheckRow, Doubt, Failure, Histogram, Page, Partial, Record, Requirement, SampleKey, SampleValue, Samples,
    Surface, figure_svg, histogram_svg, html, results_csv, robust_accuracy_figures, surfaces_svg,
};

/// Name, clean accuracy, robust accuracy at 8/255, depth of the landscape.
const MODELS: [(&str, f64, f64, f64); 4] = [
    ("synthetic-standard", 0.981, 0.072, 11.0),
    ("synthetic-adversarial", 0.942, 0.613, 0.9),
    ("synthetic-jacobian", 0.957, 0.348, 1.6),
    ("synthetic-amsreg", 0.951, 0.377, 0.7),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let page = page();
    let bytes = match std::env::args().nth(1).as_deref() {
        Some("landscapes") => surfaces_svg(&page.surfaces).into_bytes(),
        Some("curves") => figure_svg(&page.figures[0]).into_bytes(),
        Some("histogram") => histogram_svg(&histogram()).into_bytes(),
        Some("rows") => results_csv(&page.records),
        _ => html(&page)?.into_bytes(),
    };
    std::io::stdout().write_all(&bytes)?;
    Ok(())
}

fn page() -> Page {
    let records = records();
    Page {
        title: "Four made-up classifiers (synthetic numbers, nothing was measured)".to_owned(),
        command: "flatscape audit a.onnx b.onnx c.onnx d.onnx --data digits --attack fgsm --attack pgd:steps=20 --metric phi".to_owned(),
        partial: std::env::args().nth(2).map(|_| Partial { done: 7, of: 24 }),
        interval: "Clopper-Pearson".to_owned(),
        figures: robust_accuracy_figures(&records),
        records,
        samples: samples(),
        surfaces: MODELS.iter().map(|&(name, _, _, depth)| surface(name, depth)).collect(),
        doubts: vec![Doubt {
            code: "Q03".to_owned(),
            raised_if: "more than 10 % of the samples have a gradient that is exactly zero".to_owned(),
            explanation: "37 % of the gradients of synthetic-standard are zero: its loss saturates, and an attack that follows the gradient stands still."
                .to_owned(),
            advice: "add an attack that needs no gradient, such as --attack square".to_owned(),
            raised_for: "synthetic-standard, linf:8/255".to_owned(),
            model: "synthetic-standard".to_owned(),
            threat: "linf:8/255".to_owned(),
            unreliable: true,
        }],
        certificates: vec![Certificate {
            model: "lenet".into(),
            sentence: "The gradient of lenet passed 1 check on 32 samples at the images.".into(),
            failed: false,
            rows: vec![CheckRow {
                check: "slope".into(),
                what: "the gradient along a direction against the central difference".into(),
                points: "clean".into(),
                directions: "2 sign".into(),
                samples: 32,
                threshold: "at most 5 % of the pairs beyond 1 %".into(),
                measured: "0 of 64 pairs beyond it".into(),
                outcome: "pass".into(),
                failed: false,
            }],
        }],
        manifest: serde_json::json!({ "command": ["flatscape", "audit"], "seed": 0, "synthetic": true, "models": MODELS.map(|model| model.0) }),
        requirements: vec![Requirement {
            model: MODELS[0].0.to_owned(),
            text: "robust_accuracy>=0.4".to_owned(),
            holds: false,
            found: "it is 0.0720 [0.042, 0.102] n=1000".to_owned(),
        }],
        failures: vec![Failure {
            code: "M031".to_owned(),
            sentence: "the output of the model is not a row of class scores; name one with --output".to_owned(),
            ..Failure::default()
        }],
        ..Page::default()
    }
}

fn records() -> Vec<Record> {
    let mut records = Vec::new();
    for (model, clean, robust, depth) in MODELS {
        let row = |component: &str, threat: &str, eps: Option<f64>, metric: &str, value: f64, half: f64| Record {
            model: model.to_owned(),
            model_sha256: "synthetic".to_owned(),
            dataset: "digits".to_owned(),
            split: "test".to_owned(),
            n: 1000,
            component: component.to_owned(),
            component_version: "0.1.0".to_owned(),
            args: if component == "pgd" { "steps=20".to_owned() } else { String::new() },
            threat: threat.to_owned(),
            eps,
            metric: metric.to_owned(),
            value: Some(value),
            ci_low: Some(if metric.ends_with("accuracy") { (value - half).max(0.0) } else { value - half }),
            ci_high: Some(value + half),
            forwards: 21_000,
            backwards: 20_000,
            engine: "tract 0.23".to_owned(),
            device: "cpu".to_owned(),
            seed: 0,
            flags: if model == "synthetic-standard" && component == "pgd" { vec!["Q03".to_owned()] } else { Vec::new() },
            ..Record::default()
        };
        records.push(row("", "", None, "clean_accuracy", clean, 0.009));
        for level in [4.0, 8.0] {
            let (threat, eps) = (format!("linf:{level}/255"), level / 255.0);
            let share = clean * (robust / clean).powf(level / 8.0);
            records.push(row(
                "fgsm",
                &threat,
                Some(eps),
                "robust_accuracy",
                share * 0.6 + clean * 0.4 * (-level / 16.0_f64).exp(),
                0.03,
            ));
            records.push(row("pgd", &threat, Some(eps), "robust_accuracy", share + 0.004, 0.03));
            records.push(row("union", &threat, Some(eps), "robust_accuracy", share, 0.03));
        }
        records.push(row("phi", "", None, "phi_mean", -2.7 * depth, 0.11 * depth));
        records.push(row("phi", "", None, "phi_sum", -2.7 * 441.0 * depth, 0.11 * 441.0 * depth));
        records.push(row("ams", "", None, "ams_mean", -2.4 * depth, 0.12 * depth));
    }
    records.push(Record {
        model: "refused<script>alert(1)</script>".to_owned(),
        flags: vec!["M031".to_owned()],
        ..Record::default()
    });
    records
}

fn samples() -> Samples {
    let mut samples = Samples::default();
    for (model, _, robust, _) in MODELS {
        for id in 0..200 {
            let key = SampleKey {
                model: model.to_owned(),
                threat: "linf:8/255".to_owned(),
                id,
                label: (id % 10) as i64,
                prediction: Some((id % 10) as i64),
            };
            let broken = (id as f64) / 200.0 > robust;
            samples.set(&key, "pgd.outcome", SampleValue::Text(if broken { "broken" } else { "held" }.to_owned()));
            samples.set(&key, "pgd.distance", SampleValue::Number(if broken { id as f64 * 1e-4 } else { f64::NAN }));
        }
    }
    samples
}

/// Two bells, the second further left and with a longer tail there.
fn histogram() -> Histogram {
    let bell = |place: f64, skew: f64| -> Vec<f64> {
        let halton = |k: u32, base: u32| {
            let (mut k, mut part, mut sum) = (k, 1.0, 0.0);
            while k > 0 {
                part /= f64::from(base);
                sum += part * f64::from(k % base);
                k /= base;
            }
            sum
        };
        let normal = |k: u32| (-2.0 * halton(k, 2).ln()).sqrt() * (std::f64::consts::TAU * halton(k, 3)).cos();
        (1..5000).map(|k| place + normal(k) - skew * normal(k).min(0.0).powi(2)).collect()
    };
    Histogram {
        title: "Log-likelihood on digits (test), synthetic-standard".to_owned(),
        x_label: "LSE(f(x)) = log p(x) + log Z (nats)".to_owned(),
        samples: vec![("clean".to_owned(), bell(12.0, 0.1)), ("random ±8/255".to_owned(), bell(9.5, 0.4))],
        span: None,
    }
}

/// A hill with ripples: steep for a large `depth`, all but flat for a small one.
fn surface(model: &str, depth: f64) -> Surface {
    let lines: Vec<f64> = (-20..=20).map(|k| f64::from(k) / 20.0 * 8.0 / 255.0).collect();
    let (mut z, mut loss, mut predicted) = (Vec::new(), Vec::new(), Vec::new());
    for &y in &lines {
        for &x in &lines {
            let (u, v) = (x * 255.0 / 8.0, y * 255.0 / 8.0);
            let radius = (u * u + 0.8 * v * v + 0.3 * u * v).sqrt();
            let ripple = 0.07 * ((4.0 * u).sin() * (3.0 * v + 0.4).cos());
            let height = -depth * ((1.0 - (-2.2 * radius * radius).exp()) * 0.8 + 0.12 * radius - ripple * radius.min(1.0));
            z.push(if u > 0.94 && v > 0.94 && depth > 10.0 { f64::NAN } else { height });
            loss.push(-height);
            predicted.push(if height < -7.5 && u + v > -0.4 { 5 } else { 3 });
        }
    }
    Surface {
        images: None,
        id: format!("{model}-17"),
        model: model.to_owned(),
        title: String::new(),
        kind: "likelihood".to_owned(),
        sample_id: 17,
        label: 3,
        x_axis: Axis { name: "random direction d".to_owned(), values: lines.clone() },
        y_axis: Axis { name: "random direction d⊥".to_owned(), values: lines },
        z,
        loss,
        predicted,
        radii: vec![8.0 / 255.0],
        range: None,
    }
}
