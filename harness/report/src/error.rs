//! What can go wrong here, as sentences. Nothing here knows a file name: the caller puts it in front.

/// Why bytes could not be read as rows, or a page could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The bytes are not well-formed CSV.
    #[error("this is not well-formed CSV: {0}; write the results again or restore the file")]
    Csv(#[from] csv::Error),
    /// A column that every row needs is absent.
    #[error(
        "the table has no column `{column}`: it was written by another version of this program, or was altered; make it again"
    )]
    MissingColumn {
        /// The name, as in [`crate::COLUMNS`].
        column: &'static str,
    },
    /// One cell does not hold what its column holds.
    #[error("line {line}, column `{column}`: {found:?} is not {expected}")]
    BadCell {
        /// Line in the file, from 1; the header is line 1.
        line: u64,
        /// The column's name.
        column: &'static str,
        /// The text of the cell, cut to a readable length.
        found: String,
        /// What is expected, with its article.
        expected: &'static str,
    },
    /// Two columns have one name.
    #[error("the column `{column}` occurs twice; write the samples again or restore the file")]
    RepeatedColumn {
        /// Its name, as it may be shown.
        column: String,
    },
    /// Two lines are about the same thing.
    #[error("line {line}: the {what} occurs twice; write the samples again or restore the file")]
    RepeatedLine {
        /// Line in the file, from 1; the header is line 1.
        line: u64,
        /// What the line is about, as it may be shown.
        what: String,
    },
    /// The page's template failed; a bug in this crate.
    #[error("the report page could not be filled in: {0}")]
    Template(#[from] minijinja::Error),
    /// The page's data could not be written as JSON; a bug in this crate.
    #[error("the report's data could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The page would be larger than a page may be.
    #[error(
        "the report page would have {bytes} bytes, more than the {limit} that a page may have; give it fewer landscapes or curves"
    )]
    PageTooLarge {
        /// Its size.
        bytes: usize,
        /// [`crate::MAX_PAGE_BYTES`].
        limit: usize,
    },
}
