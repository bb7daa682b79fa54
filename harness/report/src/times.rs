//! `times.csv`: how long every job took. The one table that differs between two equal runs, which is why no other file holds a
//! time.

use crate::cell::{Cell, csv_bytes, unguard};
use crate::error::ReportError;
use crate::text::shown;

/// How long one job took.
#[derive(Clone, Debug, PartialEq)]
pub struct Time {
    /// Name of the job, as its file is called.
    pub job: String,
    /// Wall time in seconds.
    pub seconds: f64,
}

/// `times.csv`: columns `job, seconds`, one line per job. The rules of [`crate::results_csv`] hold.
pub fn times_csv(rows: &[Time]) -> Vec<u8> {
    let header = ["job", "seconds"].into_iter().map(|name| Cell::Text(name.into()));
    csv_bytes(header, rows.iter().map(|time| vec![Cell::Text(time.job.as_str().into()), Cell::Number(time.seconds)]))
}

/// The exact inverse of [`times_csv`].
///
/// # Errors
/// Malformed CSV, other columns than `job, seconds`, or a time that is not a number.
pub fn read_times(bytes: &[u8]) -> Result<Vec<Time>, ReportError> {
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let header = reader.headers()?;
    for (place, column) in ["job", "seconds"].into_iter().enumerate() {
        if header.get(place) != Some(column) {
            return Err(ReportError::MissingColumn { column });
        }
    }
    let read = |line: Result<csv::StringRecord, csv::Error>| {
        let line = line?;
        let seconds = line[1].parse().map_err(|_| ReportError::BadCell {
            line: line.position().map_or(0, csv::Position::line),
            column: "seconds",
            found: shown(&line[1]),
            expected: "a number",
        })?;
        Ok(Time { job: unguard(&line[0]).to_owned(), seconds })
    };
    reader.records().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back() {
        let time = |job: &str, seconds: f64| Time { job: job.into(), seconds };
        let times = [time("m0001-pgd", 0.125), time("=1,\"", 1e-9), time("", 3600.0)];
        let bytes = times_csv(&times);
        assert_eq!(String::from_utf8_lossy(&bytes), "job,seconds\nm0001-pgd,0.125\n\"'=1,\"\"\",1e-9\n,3600\n");
        assert_eq!(read_times(&bytes).unwrap(), times);
        assert_eq!(
            read_times(b"job,seconds\na,soon\n").unwrap_err().to_string(),
            "line 2, column `seconds`: \"soon\" is not a number"
        );
        assert!(read_times(b"job,second\n").unwrap_err().to_string().contains("no column `seconds`"));
    }
}
