//! Mistakes of the driver: at the join of two consumers, and where broadcasting is undone.

use super::{Fault, Mistake};

pub const MISTAKES: &[Mistake] = &[
    Mistake { op: "", what: "of two consumers only the first to arrive counts", fault: Fault::Join(|first, _| first) },
    Mistake { op: "", what: "of two consumers only the last to arrive counts", fault: Fault::Join(|_, last| last) },
    Mistake { op: "", what: "the cotangents of two consumers are averaged", fault: Fault::Join(|a, b| (a + b) * 0.5) },
    Mistake { op: "", what: "the cotangents of two consumers are subtracted", fault: Fault::Join(|a, b| a - b) },
    Mistake {
        op: "",
        what: "broadcasting is averaged, not summed",
        fault: Fault::Collapse(|ct, axes, keep| ct.mean(axes, keep)),
    },
    Mistake {
        op: "",
        what: "of what was broadcast only the first copy counts",
        fault: Fault::Collapse(|ct, axes, keep| {
            let (zeros, ones) = (vec![0; axes.len()], vec![1; axes.len()]);
            let first = ct.slice(&zeros, &ones, axes, &ones);
            if keep { first } else { first.squeeze(axes) }
        }),
    },
    Mistake {
        op: "",
        what: "broadcasting is undone by the maximum",
        fault: Fault::Collapse(|ct, axes, keep| ct.reduce("ReduceMax", axes, keep)),
    },
];
