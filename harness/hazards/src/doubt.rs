//! A doubt, as data: what raises it, what it means and what to do. A doubt never changes a number; it says whether to believe it.

/// A doubt about a result.
#[derive(Clone, Copy, Debug)]
pub struct Doubt {
    /// What stands in the column `flags`.
    pub code: &'static str,
    /// Whether the number should not be trusted at all: the program then ends with exit code 9.
    pub unreliable: bool,
    /// What raises it.
    pub raised_if: &'static str,
    /// What it means.
    pub explanation: &'static str,
    /// What to do about it.
    pub advice: &'static str,
}
