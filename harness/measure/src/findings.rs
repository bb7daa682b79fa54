//! What a job found: named arrays over its samples, stored as one `.npz` that any NumPy can read. Knows arrays and bytes; the
//! names stand in [`crate::columns`].

use std::collections::BTreeMap;
use std::io::Cursor;

use flatscape_graph::{Element, Tensor, with_array};
use ndarray::ArrayD;
use ndarray_npy::{NpzReader, NpzWriter, ReadNpzError, WriteNpzError};

use crate::columns::Column;

/// Named arrays; rows are samples unless the name says otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings(pub BTreeMap<String, Tensor>);

/// A result file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FindingsError {
    /// Not an `.npz` of the expected kind.
    #[error("the result file is damaged: {0}")]
    Read(#[from] ReadNpzError),
    /// The bytes could not be made.
    #[error("the result could not be stored: {0}")]
    Write(#[from] WriteNpzError),
    /// A column is missing or of another type.
    #[error("the result has no column `{0}` of the expected type")]
    Column(String),
    /// A row is missing.
    #[error("the result has no row for the sample {0}")]
    Sample(u64),
}

impl Findings {
    /// Adds a column of one value per sample.
    pub fn column<T: Element>(&mut self, name: &str, values: Vec<T>) {
        self.0.insert(name.to_owned(), T::wrap(ndarray::Array1::from(values).into_dyn()));
    }

    /// Adds an array of any shape.
    ///
    /// # Errors
    /// `data` does not fill `shape`.
    pub fn array<T: Element>(&mut self, name: &str, shape: &[usize], data: Vec<T>) -> Result<(), FindingsError> {
        let tensor = Tensor::new(shape, data).ok_or_else(|| FindingsError::Column(name.to_owned()))?;
        self.0.insert(name.to_owned(), tensor);
        Ok(())
    }

    /// Adds a column of the table, one value per row.
    pub fn put<T: Element>(&mut self, column: &Column<T>, values: Vec<T>) {
        self.column(column.name, values);
    }

    /// The values of a column of the table, row by row.
    ///
    /// # Errors
    /// The column is missing or of another type.
    pub fn read<T: Element>(&self, column: &Column<T>) -> Result<Vec<T>, FindingsError> {
        self.get(column.name)
    }

    /// The number of samples.
    ///
    /// # Errors
    /// There is no column of ids.
    pub fn samples(&self) -> Result<usize, FindingsError> {
        Ok(self.read(&crate::columns::ID)?.len())
    }

    /// A column of exactly this type.
    ///
    /// # Errors
    /// The column is missing or of another type.
    pub fn get<T: Element>(&self, name: &str) -> Result<Vec<T>, FindingsError> {
        self.0.get(name).and_then(Tensor::to_vec).ok_or_else(|| FindingsError::Column(name.to_owned()))
    }

    /// The array of that name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Columns whose names begin with a prefix, without it.
    pub fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Tensor)> {
        self.0.iter().filter_map(move |(name, tensor)| name.strip_prefix(prefix).map(|rest| (rest, tensor)))
    }

    /// One after the other: rows of the same columns are joined along their first axis.
    ///
    /// # Errors
    /// The parts do not have the same columns, or the same extents behind the first.
    pub fn concat(parts: Vec<Findings>) -> Result<Findings, FindingsError> {
        let mut joined = Findings::default();
        let Some(first) = parts.first() else { return Ok(joined) };
        if let Some(extra) = parts.iter().flat_map(|part| part.0.keys()).find(|name| !first.0.contains_key(*name)) {
            return Err(FindingsError::Column(extra.clone()));
        }
        for (name, tensor) in &first.0 {
            let wrong = || FindingsError::Column(name.clone());
            let whole = with_array!(tensor, a => {
                let mut views = vec![a.view()];
                for part in &parts[1..] {
                    let next = part.0.get(name).ok_or_else(wrong)?;
                    views.push(view_like(a, next).ok_or_else(wrong)?.view());
                }
                Tensor::from(ndarray::concatenate(ndarray::Axis(0), &views).map_err(|_| wrong())?)
            });
            joined.0.insert(name.clone(), whole);
        }
        Ok(joined)
    }

    /// The bytes of the `.npz`; the same findings give the same bytes.
    ///
    /// # Errors
    /// An array could not be encoded.
    pub fn encode(&self) -> Result<Vec<u8>, FindingsError> {
        let mut writer = NpzWriter::new(Cursor::new(Vec::new()));
        for (name, tensor) in &self.0 {
            with_array!(tensor, a => writer.add_array(name, &a.as_standard_layout())?);
        }
        Ok(writer.finish()?.into_inner())
    }

    /// Reads an `.npz` again.
    ///
    /// # Errors
    /// Not an `.npz`, or an array of an element type that no column has.
    pub fn decode(bytes: &[u8]) -> Result<Findings, FindingsError> {
        let mut reader = NpzReader::new(Cursor::new(bytes))?;
        let mut findings = Findings::default();
        for name in reader.names()? {
            let tensor = read_any(&mut reader, &name)?;
            findings.0.insert(name.strip_suffix(".npy").unwrap_or(&name).to_owned(), tensor);
        }
        Ok(findings)
    }
}

fn view_like<'t, T: Element>(_like: &ArrayD<T>, tensor: &'t Tensor) -> Option<&'t ArrayD<T>> {
    tensor.view()
}

/// The array of that name, in whichever of the known element types it is stored.
fn read_any(reader: &mut NpzReader<Cursor<&[u8]>>, name: &str) -> Result<Tensor, FindingsError> {
    macro_rules! attempt {
        ($($t:ty),*) => {$(
            if let Ok(array) = reader.by_name::<ndarray::OwnedRepr<$t>, ndarray::IxDyn>(name) {
                let array: ArrayD<$t> = array;
                return Ok(Tensor::from(array));
            }
        )*};
    }
    attempt!(f64, f32, i64, u8, bool, i32, i8);
    Err(FindingsError::Column(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_survive_their_file_and_have_one_encoding() {
        let mut findings = Findings::default();
        findings.column("margin", vec![1.5f64, f64::NAN, f64::NEG_INFINITY]);
        findings.column("id", vec![3i64, 4, 5]);
        findings.array("x_adv", &[1, 1, 2, 2], vec![0.0f32, 0.25, 0.5, 1.0]).expect("an array");
        let bytes = findings.encode().expect("an encoding");
        assert_eq!(bytes, findings.encode().expect("an encoding"));
        let again = Findings::decode(&bytes).expect("the same findings");
        assert_eq!(again.get::<i64>("id").expect("ids"), [3, 4, 5]);
        assert_eq!(again.tensor("x_adv"), findings.tensor("x_adv"));
        assert!(again.get::<f64>("margin").expect("margins")[1].is_nan());
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_a_panic() {
        let mut findings = Findings::default();
        findings.column("id", vec![1i64, 2]);
        let bytes = findings.encode().expect("an encoding");
        for cut in 0..bytes.len() {
            assert!(Findings::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }
}
