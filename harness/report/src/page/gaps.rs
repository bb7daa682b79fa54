//! What the page says of requirements and of what was not measured. It knows sentences and nothing about HTML.

use serde::Serialize;

use super::Page;
use crate::failure::{GapKind, gaps};
use crate::text::{shown, shown_to};

/// A condition on the results.
#[derive(Serialize)]
pub(super) struct ShownRequirement {
    model: String,
    text: String,
    holds: bool,
    found: String,
}

/// One thing that was not measured.
#[derive(Serialize)]
pub(super) struct ShownGap {
    model: String,
    threat: String,
    component: String,
    sentence: String,
    /// The id of a failure; empty if it is not a failure.
    code: String,
}

pub(super) fn shown_requirements(page: &Page, limit: usize) -> Vec<ShownRequirement> {
    let requirement = |requirement: &super::Requirement| ShownRequirement {
        model: shown(&requirement.model),
        text: shown(&requirement.text),
        holds: requirement.holds,
        found: shown_to(&requirement.found, 400),
    };
    page.requirements.iter().take(limit).map(requirement).collect()
}

/// At most `limit` gaps, and how many were left out.
pub(super) fn shown_gaps(page: &Page, limit: usize) -> (Vec<ShownGap>, usize) {
    let all = gaps(page);
    let left_out = all.len().saturating_sub(limit);
    let gap = |gap: crate::failure::Gap| ShownGap {
        model: gap.model,
        threat: gap.threat,
        component: gap.component,
        sentence: gap.sentence,
        code: if gap.kind == GapKind::Failed { gap.code } else { String::new() },
    };
    (all.into_iter().take(limit).map(gap).collect(), left_out)
}
