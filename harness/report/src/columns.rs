//! The columns of `results.csv`: the one table from which the header, the bytes, the reader and the documentation come.

use crate::cell::{Cell, csv_bytes, unguard};
use crate::error::ReportError;
use crate::record::Record;
use crate::text::shown;

/// One column: its name, what it holds, how it is written and how it is read.
pub struct Column {
    /// Header of the column.
    pub name: &'static str,
    /// What the column holds, with its unit.
    pub help: &'static str,
    /// The cell of one row.
    pub cell: for<'a> fn(&'a Record) -> Cell<'a>,
    /// Stores the text of a cell in a row; the error says what the text should have been.
    pub read: fn(&mut Record, &str) -> Result<(), &'static str>,
}

/// Every column of `results.csv`, in order.
#[rustfmt::skip]
pub const COLUMNS: &[Column] = &[
    column("model",             "name of the model, as its card or file says",                           |r| text(&r.model),             |r, s| put(&mut r.model, s)),
    column("model_sha256",      "SHA-256 of the model file, hexadecimal",                                |r| text(&r.model_sha256),      |r, s| put(&mut r.model_sha256, s)),
    column("dataset",           "name of the data set",                                                  |r| text(&r.dataset),           |r, s| put(&mut r.dataset, s)),
    column("split",             "part of the data set: `test` or `train`",                               |r| text(&r.split),             |r, s| put(&mut r.split, s)),
    column("n",                 "number of samples that the value is about",                             |r| integer(r.n),               |r, s| whole(&mut r.n, s)),
    column("component",         "id of the attack or metric; `union` is all attacks together",           |r| text(&r.component),         |r, s| put(&mut r.component, s)),
    column("component_version", "version that the component's plugin states",                            |r| text(&r.component_version), |r, s| put(&mut r.component_version, s)),
    column("args",              "every argument of the component, defaults included, `k=v` separated by commas",      |r| text(&r.args),              |r, s| put(&mut r.args, s)),
    column("threat",            "threat model as spelled, such as `linf:8/255`; empty without one",      |r| text(&r.threat),            |r, s| put(&mut r.threat, s)),
    column("eps",               "budget of the threat model as a number, pixel units in [0,1]",          |r| number(r.eps),              |r, s| maybe(&mut r.eps, s)),
    column("metric",            "what was measured, a C identifier such as `robust_accuracy`",           |r| text(&r.metric),            |r, s| put(&mut r.metric, s)),
    column("value",             "the measurement; empty where there is none (the flags say why)",        |r| number(r.value),            |r, s| maybe(&mut r.value, s)),
    column("ci_low",            "lower end of the 95 % interval",                                        |r| number(r.ci_low),           |r, s| maybe(&mut r.ci_low, s)),
    column("ci_high",           "upper end of the 95 % interval",                                        |r| number(r.ci_high),          |r, s| maybe(&mut r.ci_high, s)),
    column("forwards",          "forward evaluations of the model, in samples",                          |r| integer(r.forwards),        |r, s| whole(&mut r.forwards, s)),
    column("backwards",         "gradient evaluations of the model, in samples",                         |r| integer(r.backwards),       |r, s| whole(&mut r.backwards, s)),
    column("engine",            "engine that ran the model, with its version",                           |r| text(&r.engine),            |r, s| put(&mut r.engine, s)),
    column("device",            "device that the engine ran on",                                         |r| text(&r.device),            |r, s| put(&mut r.device, s)),
    column("seed",              "seed of the run",                                                       |r| integer(r.seed),            |r, s| whole(&mut r.seed, s)),
    column("flags",             "codes of the doubts and errors raised for this row, joined by `;`",     |r| joined(&r.flags),           |r, s| split(&mut r.flags, s)),
    column("plugin",            "id of the plugin that offers the component; empty for what the program computes itself", |r| text(&r.plugin), |r, s| put(&mut r.plugin, s)),
    column("plugin_sha256",     "SHA-256 of the plugin file, hexadecimal",                               |r| text(&r.plugin_sha256),     |r, s| put(&mut r.plugin_sha256, s)),
];

/// `results.csv`: the header and one line per record. RFC 4180 quoting, lines end in LF, text guarded against formulas, numbers
/// in shortest round-trip form, `NaN` for not-a-number, an empty cell for a missing value. The same records give the same bytes.
pub fn results_csv(records: &[Record]) -> Vec<u8> {
    let header = COLUMNS.iter().map(|column| Cell::Text(column.name.into()));
    csv_bytes(header, records.iter().map(|record| COLUMNS.iter().map(|column| (column.cell)(record)).collect()))
}

/// The exact inverse of [`results_csv`]. Columns are found by name; further columns are ignored.
///
/// # Errors
/// Malformed CSV, a missing column, or a cell that does not hold what its column holds, with its line.
pub fn read_results(bytes: &[u8]) -> Result<Vec<Record>, ReportError> {
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let header = reader.headers()?.clone();
    let mut places = Vec::with_capacity(COLUMNS.len());
    for column in COLUMNS {
        let place = header.iter().position(|name| name == column.name);
        places.push((column, place.ok_or(ReportError::MissingColumn { column: column.name })?));
    }
    let mut records = Vec::new();
    for line in reader.records() {
        let line = line?;
        let mut record = Record::default();
        for &(column, place) in &places {
            let found = line.get(place).unwrap_or_default();
            (column.read)(&mut record, found).map_err(|expected| ReportError::BadCell {
                line: line.position().map_or(0, csv::Position::line),
                column: column.name,
                found: shown(found),
                expected,
            })?;
        }
        records.push(record);
    }
    Ok(records)
}

const fn column(
    name: &'static str,
    help: &'static str,
    cell: for<'a> fn(&'a Record) -> Cell<'a>,
    read: fn(&mut Record, &str) -> Result<(), &'static str>,
) -> Column {
    Column { name, help, cell, read }
}

fn text(value: &str) -> Cell<'_> {
    Cell::Text(value.into())
}

fn integer(value: u64) -> Cell<'static> {
    Cell::Integer(value.into())
}

fn number(value: Option<f64>) -> Cell<'static> {
    value.map_or(Cell::Missing, Cell::Number)
}

/// A flag is a code and holds no `;`; one that does is written with `,` in its place.
fn joined(flags: &[String]) -> Cell<'static> {
    let codes: Vec<String> = flags.iter().map(|flag| flag.replace(';', ",")).collect();
    Cell::Text(codes.join(";").into())
}

fn put(slot: &mut String, written: &str) -> Result<(), &'static str> {
    *slot = unguard(written).to_owned();
    Ok(())
}

fn whole(slot: &mut u64, written: &str) -> Result<(), &'static str> {
    *slot = written.parse().map_err(|_| "a whole number")?;
    Ok(())
}

fn maybe(slot: &mut Option<f64>, written: &str) -> Result<(), &'static str> {
    *slot = if written.is_empty() { None } else { Some(written.parse().map_err(|_| "a number or empty")?) };
    Ok(())
}

fn split(slot: &mut Vec<String>, written: &str) -> Result<(), &'static str> {
    *slot = unguard(written).split(';').filter(|flag| !flag.is_empty()).map(str::to_owned).collect();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header as the command line's contract spells it.
    const CONTRACT: &str = "model,model_sha256,dataset,split,n,component,component_version,args,threat,eps,metric,value,ci_low,ci_high,\
                            forwards,backwards,engine,device,seed,flags,plugin,plugin_sha256\n";

    #[test]
    fn the_header_is_the_contract() {
        assert_eq!(String::from_utf8(results_csv(&[])).unwrap(), CONTRACT);
    }

    #[test]
    fn every_field_of_a_record_has_its_column_in_order() {
        let json = serde_json::to_string(&Record::default()).unwrap();
        let places: Vec<usize> =
            COLUMNS.iter().map(|column| json.find(&format!("\"{}\":", column.name)).expect(column.name)).collect();
        assert!(places.is_sorted());
        assert_eq!(json.matches("\":").count(), COLUMNS.len());
    }

    /// A deterministic stream of records that are as unpleasant as the format allows.
    struct Unpleasant(u64);

    impl Unpleasant {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn text(&mut self) -> String {
            const PIECES: &[&str] = &[
                "=", "+", "-", "@", "'", "\"", ",", ";", "\n", "\r", "\r\n", "\t", "\0", "\u{ff1d}", " ", "a", "é", "🦀",
                "\u{202e}", "NaN", "0",
            ];
            (0..self.next() % 6).map(|_| PIECES[(self.next() % PIECES.len() as u64) as usize]).collect()
        }

        fn number(&mut self) -> f64 {
            match self.next() % 4 {
                0 => f64::from_bits(self.next()),
                1 => f64::NAN,
                2 => -0.0,
                _ => self.next() as f64 / 1e19,
            }
        }

        fn maybe(&mut self) -> Option<f64> {
            (!self.next().is_multiple_of(3)).then(|| self.number())
        }

        fn record(&mut self) -> Record {
            Record {
                model: self.text(),
                model_sha256: self.text(),
                dataset: self.text(),
                split: self.text(),
                n: self.next(),
                component: self.text(),
                component_version: self.text(),
                args: self.text(),
                threat: self.text(),
                eps: self.maybe(),
                metric: self.text(),
                value: self.maybe(),
                ci_low: self.maybe(),
                ci_high: self.maybe(),
                forwards: self.next(),
                backwards: self.next(),
                engine: self.text(),
                device: self.text(),
                seed: self.next(),
                flags: (0..self.next() % 3).map(|_| self.text().replace(';', "")).filter(|flag| !flag.is_empty()).collect(),
                plugin: self.text(),
                plugin_sha256: self.text(),
            }
        }
    }

    /// Equality in which NaN equals NaN and -0 differs from 0: the debug form tells both.
    fn same(a: &[Record], b: &[Record]) -> bool {
        format!("{a:?}") == format!("{b:?}")
    }

    #[test]
    fn what_is_written_reads_back_and_no_text_cell_computes() {
        let mut source = Unpleasant(0x5eed);
        for _ in 0..300 {
            let records: Vec<Record> = (0..source.next() % 20).map(|_| source.record()).collect();
            let bytes = results_csv(&records);
            assert_eq!(bytes, results_csv(&records));
            let back = read_results(&bytes).unwrap();
            assert!(same(&records, &back), "{}", String::from_utf8_lossy(&bytes));

            let mut reader = csv::Reader::from_reader(&bytes[..]);
            for line in reader.records() {
                for (cell, column) in line.unwrap().iter().zip(COLUMNS) {
                    if matches!((column.cell)(&Record::default()), Cell::Text(_)) {
                        assert!(
                            !cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\0', '\u{ff1d}']),
                            "{}: {cell:?}",
                            column.name
                        );
                    }
                }
            }
            let json = serde_json::to_string(&records).unwrap();
            assert!(same(&records, &serde_json::from_str::<Vec<Record>>(&json).unwrap()), "{json}");
        }
    }

    #[test]
    fn a_large_field_survives() {
        let records = [Record { args: "\"=,\n".repeat(300_000), ..Record::default() }];
        assert_eq!(read_results(&results_csv(&records)).unwrap(), records);
    }

    #[test]
    fn a_bad_cell_is_named_by_line_and_column() {
        let text = String::from_utf8(results_csv(&[Record::default()])).unwrap().replace(",0,0,,,0", ",0,many,,,0");
        let error = read_results(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "line 2, column `backwards`: \"many\" is not a whole number");
    }

    #[test]
    fn what_is_no_results_file_is_refused_in_a_sentence() {
        let error = read_results(b"model,value\nx,1\n").unwrap_err().to_string();
        assert!(error.contains("no column `model_sha256`"), "{error}");
        assert!(read_results(b"").is_err());
        let short = [CONTRACT.as_bytes(), b"a,b\n"].concat();
        assert!(read_results(&short).unwrap_err().to_string().contains("not well-formed CSV"));
        assert!(read_results(&[CONTRACT.as_bytes(), &[0xff; 4]].concat()).is_err());
    }
}
