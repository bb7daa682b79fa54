//! The columns of findings: their names, their types, what they hold. Whoever writes or reads a column names its row here.

use std::marker::PhantomData;

use flatscape_graph::{DType, Element};

/// A column of findings with elements of type `T`.
pub struct Column<T> {
    /// Its name in the `.npz`.
    pub name: &'static str,
    /// What it holds, with its unit.
    pub what: &'static str,
    element: PhantomData<fn() -> T>,
}

const fn column<T>(name: &'static str, what: &'static str) -> Column<T> {
    Column { name, what, element: PhantomData }
}

/// One row of [`COLUMNS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name in the `.npz`.
    pub name: &'static str,
    /// Its element type.
    pub dtype: DType,
    /// What it holds, with its unit.
    pub what: &'static str,
}

impl<T: Element> Column<T> {
    const fn row(&self) -> Row {
        Row { name: self.name, dtype: T::DTYPE, what: self.what }
    }
}

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident: $t:ty = $text:literal, $what:literal;)*) => {
        $( #[doc = $what] $(#[$doc])* pub const $name: Column<$t> = column($text, $what); )*
        /// All columns, in the order of the documentation. Metrics add `col_<name>` float64 \[n\], `vec_<name>` float64 \[n,m\]
        /// and `surface_<name>` float64 \[n,g·g\], as their programs name them.
        pub const COLUMNS: &[Row] = &[$( $name.row() ),*];
    };
}

columns! {
    ID: i64 = "id", "The sample's place in the data set; rows are in ascending order.";
    LABEL: i64 = "label", "The label.";
    PREDICTION: i64 = "prediction", "The class predicted for the image alone: the first of the largest scores; -1 where scores are undefined.";
    CLEAN_MARGIN: f64 = "clean_margin", "z_y - max z_i over i != y at the image; NaN where scores are undefined.";
    TIES: bool = "ties", "Whether the label's score at the image is the largest and another class has the same.";
    BATCH_DIFFERENCE: f64 = "batch_difference", "Largest difference between the scores of the image alone and in batches of the sizes that the measurement uses, relative to max(1, largest |score|); infinite where only one of two is a number.";
    RIVAL_ENTROPY: f64 = "rival_entropy", "Entropy of the softmax over the classes other than the label at the image, divided by ln(C - 1): 1 where cross-entropy pulls towards all of them alike, 0 where towards one, or where there is only one; NaN where scores are undefined. Of clean jobs alone.";
    BROKEN_BY_CROSS_ENTROPY: bool = "broken_by_cross_entropy", "Whether a short attack by cross-entropy breaks the image. Of trials of other losses alone.";
    BROKEN_BY_MARGIN: bool = "broken_by_margin", "The same by the margin.";
    BROKEN_UNBOUNDED: bool = "broken_unbounded", "The same by cross-entropy of what goes into the last operator, where that bounds the scores.";

    CANARY: u8 = "canary", "Code of [`crate::canary::Canary`]: what became of the canary near the image. Of canary jobs alone.";

    DRAWN_SHARE: f64 = "drawn_share", "The share of 20 keyed draws that predict the label at the image; only of models that draw at random. Of clean jobs alone.";
    BOUND: f64 = "bound", "A lower bound on the margin z_y - max z_i over i != y of the real-valued network, over all images of the ball and the box. Of jobs on bounds alone.";
    BOUND_SCALE: f64 = "bound_scale", "The largest |score| at the center of the intervals, to which the bound is compared. Of jobs on bounds alone.";

    /// Columns of other precisions are there for files in half precision: `float32_…` where the file itself judges and the graph is
    /// a float32 copy of it, `rounded_…` where what rounding does could be computed.
    FLOAT32_PREDICTION: i64 = "float32_prediction", "The class that the float32 copy of the file predicts for the image alone; -1 where its scores are undefined. Of clean jobs alone.";
    FLOAT32_MARGIN: f64 = "float32_margin", "As `clean_margin`, by the float32 copy of the file. Of clean jobs alone.";
    ROUNDED_PREDICTION: i64 = "rounded_prediction", "As `float32_prediction`, by the file where every result of an operator is rounded to half precision. Of clean jobs alone.";

    OUTCOME: u8 = "outcome", "Code of [`crate::verify::Outcome`] for points of any float value: at the threat's eps, or for attacks with goal `minimal` at any distance, so that `distance` decides at every eps.";
    DISTANCE: f64 = "distance", "Distance of the adversarial example in the threat's norm, pixel units; for attacks with goal `minimal` that of the nearest verified one. 0 where the image is misclassified, NaN where no adversarial example was found.";
    MARGIN: f64 = "margin", "z_y - max z_i over i != y at the point that decided; NaN where there is none or scores are undefined.";
    ADV_PREDICTION: i64 = "adv_prediction", "The class predicted at the point that decided; -1 where there is none.";
    ADV_TIES: bool = "adv_ties", "Whether the label's score is the largest at the point that decided and another class has the same.";
    ADV_BATCH_DIFFERENCE: f64 = "adv_batch_difference", "As `batch_difference`, at the point that is kept, in batches of one size; 0 where there is none, or the attack did not come to its end.";
    ADV_DRAWN_SHARE: f64 = "adv_drawn_share", "As `drawn_share`, at the point that decided; where there is none, NaN.";
    STORED: bool = "stored", "Whether the point that decided is an adversarial example, too, once its pixels are stored in 8 bits, at the nearest levels inside of the ball of the job; only where pixels are moved and the model takes floats.";
    BORDERLINE: bool = "borderline", "Whether an adversarial example was found whose margin is within 1e-5 of max(1, largest |score|): other engines may answer otherwise.";
    FLOAT32_DISTANCE: f64 = "float32_distance", "Distance of the nearest judged point at which the float32 copy of the file predicts another class than the label; NaN where there is none.";
    ROUNDED_DISTANCE: f64 = "rounded_distance", "As `float32_distance`, by the file where every result of an operator is rounded to half precision; there, scores that are undefined count, too.";
    CLAIMED: bool = "claimed", "Whether the attack's own graph saw an adversarial example.";
    REJECTED: i64 = "rejected", "Points that the attack proposed and that are not finite, outside of the box or outside of the ball.";
    FORWARDS: i64 = "forwards", "Evaluations of the model spent on the sample.";
    BACKWARDS: i64 = "backwards", "Reverse passes spent on the sample.";
    GRADIENTS: i64 = "gradients", "Gradients that were counted.";
    ZERO_GRADIENTS: i64 = "zero_gradients", "Of these, zero everywhere (no entry above the smallest normal number of float32).";
    BROKEN_GRADIENTS: i64 = "broken_gradients", "Of these, with an entry that is NaN or infinite.";
    UNMOVED_STEPS: i64 = "unmoved_steps", "Steps that did not change a single pixel.";
    OLDER_LOSSES: f32 = "older_losses", "Of the last restart the loss before the first step, the lowest loss before any step, and the highest before any step but the last ten, [n,3]; NaN where there is none.";
    LAST_LOSSES: f32 = "last_losses", "The losses before the last ten steps of the last restart, oldest first, [n,10]; NaN before the first step.";
    /// For models that take integers this is the verdict: rows and gates use it, and `outcome` is the other row.
    OUTCOME_UINT8: u8 = "outcome_uint8", "As `outcome`, for points on the grid of 8-bit pixels; only for models that take integers.";
    /// Under a threat model that lists its points every one of them that was judged is counted, on misclassified images, too.
    TRIED: i64 = "tried", "Per kind of point, the points that were judged, [n,kinds]; under corruption a kind is a type and a severity, type · 5 + severity - 1. Only under threat models that list their points.";
    RIGHT: i64 = "right", "Of these, those for which the label is predicted, [n,kinds].";
    WITNESS_ID: i64 = "witness_id", "Samples with a witness: broken ones, and those with undefined scores inside of the ball, ascending.";
    WITNESS_X: f32 = "witness_x", "The point of each witness, [m,C,H,W] in pixel units; on the grid of 8-bit pixels where the model takes integers and that point is broken too.";
    WITNESS_Z: f32 = "witness_z", "The parameter that each witness was decoded from, [m,P]; only under threat models that have one.";
    WITNESS_PREDICTION: i64 = "witness_prediction", "The class predicted at each witness; -1 where scores are undefined.";
    WITNESS_DISTANCE: f64 = "witness_distance", "The distance of each witness from its image in the threat's norm, pixel units.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_name_of_its_own() {
        for (place, row) in COLUMNS.iter().enumerate() {
            assert!(!COLUMNS[..place].iter().any(|other| other.name == row.name), "{} twice", row.name);
            assert!(row.what.ends_with('.') && !row.name.contains(' '), "{}", row.name);
        }
    }
}
