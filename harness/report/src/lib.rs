//! Rows in; CSV, SVG pictures, one HTML page, JSON, SARIF, JUnit XML and Markdown out.
//!
//! This crate knows rows ([`Record`]), samples ([`Samples`]), surfaces ([`Surface`]), curves ([`Figure`]) and histograms
//! ([`Histogram`]) and epochs ([`training`]); plotters paints them. It does not know models, engines or attacks, and it neither reads nor writes a file:
//! bytes in, bytes out. The same input gives the same bytes on every machine, and everything that is printed is treated as
//! hostile, because it may come from a model file.

mod cell;
mod columns;
mod curves;
mod error;
mod failure;
mod figure;
mod float;
mod formats;
mod histogram;
mod label;
mod landscape;
mod page;
pub mod palette;
mod paths;
mod pictures;
mod record;
mod samples;
mod surface;
mod svg;
mod sweep;
mod table;
mod text;
mod ticks;
mod times;
pub mod training;
mod verdict;

pub use cell::{Cell, csv_bytes};
pub use columns::{COLUMNS, Column, read_results, results_csv};
pub use curves::{DataCurve, curve_csv, curves_svg};
pub use error::ReportError;
pub use failure::{Failure, UNSUPPORTED};
pub use figure::{Curve, Figure, Point, figure_svg, robust_accuracy_figures};
pub use formats::{SCHEMA_VERSION, junit_xml, results_json, results_md, results_sarif};
pub use histogram::{Histogram, histogram_svg, moments};
pub use landscape::{surface_svg, surfaces_svg};
pub use page::{
    Certificate, CheckRow, ClassRow, ClassTable, CloseUp, Doubt, MAX_PAGE_BYTES, ModelFile, Page, Partial, Pictures, Requirement,
    STYLE, html, without_script,
};
pub use paths::{PathCurve, PathPoint, path_csv, paths_svg};
pub use pictures::pictures;
pub use record::Record;
pub use samples::{SampleKey, SampleLine, SampleValue, Samples, read_samples, samples_csv};
pub use surface::{Axis, Surface, loss_csv, points_csv, shared_range, surface_csv};
pub use sweep::{Sweep, SweepPoint, sweep_svg};
pub use table::{Table, TableCell, TableRow, tables};
pub use text::{eps_text, fixed, markdown, percent, quantity, quantity_parts, rate, rate_parts, shown, shown_to, significant};
pub use times::{Time, read_times, times_csv};
pub use verdict::{Rate, Verdict, verdicts};
