//! Images resized inside the file.

use super::reading::{Reading, cause};
use super::{Cause, Hazard};
use crate::doubt::Doubt;

pub(super) const HAZARD: Hazard = Hazard {
    doubt: Doubt {
        code: "baked-resize",
        unreliable: false,
        raised_if: "Resize stands before the first layer with weights",
        explanation: "The model resizes images itself. Shrinking averages or skips pixels, so the effect of a perturbation of \
                      one pixel depends on its position; the radius applies to the pixels before resizing.",
        advice: "Nothing needs to be done if the data has the intended size; otherwise export the model without its resizing.",
    },
    remedies: &[],
    find,
};

fn find(reading: &Reading) -> Option<Cause> {
    let resizes: Vec<_> = reading.front().filter(|n| matches!(&*n.op, "Resize" | "Upsample" | "GridSample")).collect();
    let first = resizes.first()?;
    let ty = |v: Option<flatscape_graph::ValueId>| v.map_or_else(String::new, |v| reading.graph.value(v).ty.to_string());
    let how = format!("from {} to {} before the first layer with weights", ty(first.input(0)), ty(first.output(0)));
    cause(resizes.iter().copied(), &how)
}
