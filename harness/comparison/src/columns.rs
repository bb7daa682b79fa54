//! The columns of `compare.csv`: one table from which the header, the bytes and the documentation come. A row is a value of one
//! model in one run, or the difference of two.

use flatscape_report::{Cell, csv_bytes};

use super::{Comparison, Difference, Ground, Measure, Value};

/// A row of `compare.csv`.
#[derive(Clone, Copy)]
enum Line<'a> {
    Value(&'a Value),
    Difference(&'a Difference),
}

/// A row with what it refers to.
#[derive(Clone, Copy)]
pub struct CompareLine<'a> {
    all: &'a Comparison,
    line: Line<'a>,
}

/// One column: its name, what it holds, and how it is written.
pub struct CompareColumn {
    /// Header of the column.
    pub name: &'static str,
    /// What the column holds.
    pub help: &'static str,
    /// The cell of one row.
    pub cell: for<'a> fn(&CompareLine<'a>) -> Cell<'a>,
}

/// Every column of `compare.csv`, in order.
#[rustfmt::skip]
pub const COMPARE_COLUMNS: &[CompareColumn] = &[
    column("kind",            "`value` or `difference`",                                                        |l| l.either(|_| text("value"), |_| text("difference"))),
    column("run",             "run directory, as it was named",                                                 |l| text(l.run(l.entry()))),
    column("model",           "name of the model",                                                              |l| text(&l.all.entries[l.entry()].model)),
    column("model_sha256",    "SHA-256 of the model file",                                                      |l| text(&l.all.entries[l.entry()].model_sha256)),
    column("dataset",         "name of the data set",                                                           |l| text(&l.ground().dataset)),
    column("split",           "part of the data set",                                                           |l| text(&l.ground().split)),
    column("data_sha256",     "SHA-256 of the split as read",                                                   |l| text(&l.ground().data_sha256)),
    column("samples",         "which samples, in words",                                                        |l| text(&l.ground().samples)),
    column("component",       "attack or metric",                                                               |l| text(&l.measure().component)),
    column("args",            "its arguments, defaults included; for a union the attacks",                              |l| text(&l.measure().args)),
    column("threat",          "threat model as written",                                                        |l| text(&l.measure().threat)),
    column("metric",          "what was measured",                                                              |l| text(&l.measure().metric)),
    column("n",               "samples behind the value, or of the model in a difference",                      |l| l.either(|v| count(v.n), |d| count(d.n))),
    column("value",           "the value; in a difference that of the model",                                   |l| l.either(|v| number(v.value), |d| Cell::Number(d.value))),
    column("reference_run",   "run of the model that is subtracted",                                            |l| l.reference(|d| text(l.run(d.reference)))),
    column("reference_model", "name of the model that is subtracted",                                           |l| l.reference(|d| text(&l.all.entries[d.reference].model))),
    column("reference_n",     "samples of the model that is subtracted",                                        |l| l.reference(|d| count(d.reference_n))),
    column("reference_value", "value of the model that is subtracted",                                          |l| l.reference(|d| Cell::Number(d.reference_value))),
    column("difference",      "value − reference_value",                                                        |l| l.reference(|d| Cell::Number(d.difference))),
    column("ci_low",          "lower end of the 95 % interval, of the value or of the difference",              |l| number(l.interval().map(|i| i.0))),
    column("ci_high",         "upper end of it",                                                                |l| number(l.interval().map(|i| i.1))),
    column("interval",        "method of the interval",                                                         |l| l.either(|v| text(&v.method), |d| text(&d.method))),
    column("pairing",         "`paired`, `paired on common samples` or `two-sample`",                           |l| l.reference(|d| text(d.pairing.word()))),
    column("why",             "what the pairing rests on",                                                      |l| l.reference(|d| text(&d.why))),
    column("mcnemar_p",       "two-sided p-value of McNemar's exact test",                                      |l| l.reference(|d| number(d.flips.as_ref().map(|f| f.p)))),
    column("gained",          "ids of the samples that are right for the model alone, joined by `;`",           |l| l.reference(|d| ids(d.flips.as_ref().map(|f| &f.gained)))),
    column("lost",            "ids of the samples that are right for the reference alone, joined by `;`",       |l| l.reference(|d| ids(d.flips.as_ref().map(|f| &f.lost)))),
    column("samples_needed",  "samples after which a difference like this is found in four of five comparisons (Connor 1987)", |l| l.reference(|d| d.needed.map_or(Cell::Missing, |n| Cell::Integer(n.into())))),
    column("rank_first",      "best possible rank among the values of the same samples and measure",            |l| l.own(|v| place(v.rank.map(|r| r.first)))),
    column("rank_last",       "worst possible rank; ranks that overlap cannot be distinguished",                |l| l.own(|v| place(v.rank.map(|r| r.last)))),
    column("ranked",          "how many values are ranked together",                                            |l| l.own(|v| place(v.rank.map(|r| r.of)))),
    column("flags",           "codes of the doubts and errors raised for the value, joined by `;`",             |l| l.own(|v| Cell::Text(v.flags.join(";").into()))),
];

/// `compare.csv`: the header, one line per value, one line per difference. The rules of [`flatscape_report::results_csv`] hold.
pub fn compare_csv(comparison: &Comparison) -> Vec<u8> {
    let header = COMPARE_COLUMNS.iter().map(|column| Cell::Text(column.name.into()));
    let values = comparison.values.iter().map(Line::Value);
    let lines = values.chain(comparison.differences.iter().map(Line::Difference));
    let row = |line| {
        let line = CompareLine { all: comparison, line };
        COMPARE_COLUMNS.iter().map(|column| (column.cell)(&line)).collect()
    };
    csv_bytes(header, lines.map(row))
}

impl<'a> CompareLine<'a> {
    fn either<T>(&self, value: impl FnOnce(&'a Value) -> T, difference: impl FnOnce(&'a Difference) -> T) -> T {
        match self.line {
            Line::Value(v) => value(v),
            Line::Difference(d) => difference(d),
        }
    }

    /// A cell that only values have.
    fn own(&self, cell: impl FnOnce(&'a Value) -> Cell<'a>) -> Cell<'a> {
        self.either(cell, |_| Cell::Missing)
    }

    /// A cell that only differences have.
    fn reference(&self, cell: impl FnOnce(&'a Difference) -> Cell<'a>) -> Cell<'a> {
        self.either(|_| Cell::Missing, cell)
    }

    fn entry(&self) -> usize {
        self.either(|v| v.entry, |d| d.entry)
    }

    fn run(&self, entry: usize) -> &'a str {
        &self.all.runs[self.all.entries[entry].run]
    }

    fn ground(&self) -> &'a Ground {
        &self.all.grounds[self.either(|v| v.ground, |d| d.ground)]
    }

    fn measure(&self) -> &'a Measure {
        &self.all.measures[self.either(|v| v.measure, |d| d.measure)]
    }

    fn interval(&self) -> Option<(f64, f64)> {
        self.either(|v| v.interval, |d| d.interval)
    }
}

const fn column(name: &'static str, help: &'static str, cell: for<'a> fn(&CompareLine<'a>) -> Cell<'a>) -> CompareColumn {
    CompareColumn { name, help, cell }
}

fn text(value: &str) -> Cell<'_> {
    Cell::Text(value.into())
}

fn count(value: u64) -> Cell<'static> {
    Cell::Integer(value.into())
}

fn number(value: Option<f64>) -> Cell<'static> {
    value.map_or(Cell::Missing, Cell::Number)
}

fn place(value: Option<usize>) -> Cell<'static> {
    value.map_or(Cell::Missing, |place| Cell::Integer(place as i128))
}

fn ids(ids: Option<&Vec<u64>>) -> Cell<'static> {
    let joined = |ids: &Vec<u64>| ids.iter().map(u64::to_string).collect::<Vec<_>>().join(";");
    ids.map_or(Cell::Missing, |ids| Cell::Text(joined(ids).into()))
}
