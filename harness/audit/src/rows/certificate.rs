//! The gradient certificate: 1 where it holds, 0 where it does not; no row where nothing could be asked.

use flatscape_report::Record;

use super::doubts::Doubts;
use super::{Rows, Summary};
use crate::flags::{gradient_certificate, gradients_disagree};
use flatscape_certificate::Certificate;

impl Rows<'_> {
    pub(super) fn certificate(&self, certificate: Option<&Certificate>, doubts: &Doubts, summary: &mut Summary) {
        let Some((certificate, passed)) = certificate.and_then(|c| c.passed().map(|passed| (c, passed))) else { return };
        let Some(threat) = self.manifest.threats.first() else { return };
        let about = |code: &&String| [gradient_certificate::CODE, gradients_disagree::CODE].contains(&code.as_str());
        summary.records.push(Record {
            n: certificate.samples as u64,
            component: "certificate".into(),
            component_version: env!("CARGO_PKG_VERSION").into(),
            threat: threat.written.clone(),
            eps: Some(threat.eps),
            metric: "gradient_certificate".into(),
            value: Some(f64::from(u8::from(passed))),
            flags: doubts.get("").into_iter().flatten().filter(about).cloned().collect(),
            ..self.of_model()
        });
    }
}
