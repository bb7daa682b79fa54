//! Statistics over all samples (`reduce/1`): the rows that a component is given, what it gives back, and how both cross the border
//! of the process. What comes back was written by a guest and is checked here.

use serde::{Deserialize, Serialize};

use crate::error::shown;

/// Values of the whole data set, columns and curves that a component may give, each.
const MOST: usize = 1000;
/// Points of a curve.
pub(crate) const LONGEST_CURVE: usize = 100_000;
/// Characters of a name.
const LONGEST_NAME: usize = 100;

/// What a metric's program gave for every sample, in the order of the data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Positions in the data set, ascending.
    pub id: Vec<i64>,
    /// Labels.
    pub y: Vec<i64>,
    /// Classes of the clean images; −1 where scores are undefined.
    pub prediction: Vec<i64>,
    /// `col_q` of width 1, `vec_q` of any: name, width, and \[samples, width\].
    pub rows: Vec<(String, usize, Vec<f64>)>,
    /// The last layer of the model, where it is linear: F, weights \[classes, F\], biases \[classes\].
    pub head: Option<(usize, Vec<f32>, Vec<f32>)>,
}

/// A value of the whole data set.
#[derive(Clone, Debug, PartialEq)]
pub struct ReducedValue {
    /// A C identifier.
    pub name: String,
    /// The value; NaN where it is undefined.
    pub value: f64,
    /// Its 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// How many samples it is taken over.
    pub n: u64,
}

/// Points of a curve: a name, x and y.
pub type Curve = (String, Vec<f64>, Vec<f64>);

/// What a component made of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reduced {
    /// Values of the whole data set.
    pub values: Vec<ReducedValue>,
    /// Values of every sample.
    pub columns: Vec<(String, Vec<f64>)>,
    /// Curves.
    pub curves: Vec<Curve>,
}

/// The extents of a table, whose numbers follow as bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TableShape {
    samples: usize,
    rows: Vec<(String, usize)>,
    features: usize,
    classes: usize,
}

/// The names and extents of what came back, whose numbers follow as bytes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ReducedShape {
    values: Vec<(String, u64)>,
    columns: Vec<String>,
    curves: Vec<(String, usize)>,
}

impl Table {
    /// The number of samples.
    pub fn samples(&self) -> usize {
        self.id.len()
    }

    pub(crate) fn encode(&self) -> (TableShape, Vec<u8>) {
        let (features, weight, bias) = self.head.clone().unwrap_or_default();
        let shape = TableShape {
            samples: self.samples(),
            rows: self.rows.iter().map(|(name, width, _)| (name.clone(), *width)).collect(),
            features,
            classes: bias.len(),
        };
        let integers = [&self.id, &self.y, &self.prediction].into_iter().flatten().flat_map(|v| v.to_le_bytes());
        let mut bytes: Vec<u8> = integers.collect();
        for (_, _, data) in &self.rows {
            bytes.extend(data.iter().flat_map(|v| v.to_le_bytes()));
        }
        bytes.extend(weight.iter().chain(&bias).flat_map(|v| v.to_le_bytes()));
        (shape, bytes)
    }

    pub(crate) fn decode(shape: &TableShape, bytes: &[u8]) -> Option<Table> {
        let mut rest = Numbers(bytes);
        let n = shape.samples;
        let (id, y, prediction) = (rest.integers(n)?, rest.integers(n)?, rest.integers(n)?);
        let mut rows = Vec::new();
        for (name, width) in &shape.rows {
            rows.push((name.clone(), *width, rest.doubles(n.checked_mul(*width)?)?));
        }
        let head = match shape.features {
            0 => None,
            f => Some((f, rest.floats(f.checked_mul(shape.classes)?)?, rest.floats(shape.classes)?)),
        };
        rest.0.is_empty().then_some(Table { id, y, prediction, rows, head })
    }
}

impl Reduced {
    pub(crate) fn encode(&self) -> (ReducedShape, Vec<u8>) {
        let shape = ReducedShape {
            values: self.values.iter().map(|v| (v.name.clone(), v.n)).collect(),
            columns: self.columns.iter().map(|c| c.0.clone()).collect(),
            curves: self.curves.iter().map(|c| (c.0.clone(), c.1.len())).collect(),
        };
        let mut numbers: Vec<f64> = Vec::new();
        for value in &self.values {
            let (low, high) = value.interval.unwrap_or((f64::NAN, f64::NAN));
            numbers.extend([value.value, low, high]);
        }
        numbers.extend(self.columns.iter().flat_map(|c| &c.1));
        numbers.extend(self.curves.iter().flat_map(|c| c.1.iter().chain(&c.2)));
        (shape, numbers.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    pub(crate) fn decode(shape: &ReducedShape, samples: usize, bytes: &[u8]) -> Option<Reduced> {
        let mut rest = Numbers(bytes);
        let mut reduced = Reduced::default();
        for (name, n) in &shape.values {
            let [value, low, high] = <[f64; 3]>::try_from(rest.doubles(3)?).ok()?;
            let interval = (!low.is_nan() && !high.is_nan()).then_some((low, high));
            reduced.values.push(ReducedValue { name: name.clone(), value, interval, n: *n });
        }
        for name in &shape.columns {
            reduced.columns.push((name.clone(), rest.doubles(samples)?));
        }
        for (name, length) in &shape.curves {
            reduced.curves.push((name.clone(), rest.doubles(*length)?, rest.doubles(*length)?));
        }
        rest.0.is_empty().then_some(reduced)
    }

    /// Whether the answer can be one. The error is a clause about the component.
    pub(crate) fn check(&self, samples: usize) -> Result<(), String> {
        let groups: [(&str, Vec<&String>); 3] = [
            ("values", self.values.iter().map(|v| &v.name).collect()),
            ("columns", self.columns.iter().map(|c| &c.0).collect()),
            ("curves", self.curves.iter().map(|c| &c.0).collect()),
        ];
        for (what, names) in &groups {
            if names.len() > MOST {
                return Err(format!("it gives {} {what}; at most {MOST} are possible", names.len()));
            }
            for (place, name) in names.iter().enumerate() {
                if !is_identifier(name) {
                    return Err(format!("among its {what} is \"{}\", which is not an identifier of C", shown(name)));
                }
                if names[..place].contains(name) {
                    return Err(format!("it gives {name} twice among its {what}"));
                }
            }
        }
        for value in &self.values {
            if value.interval.is_some_and(|(low, high)| low > high) {
                return Err(format!("the interval of {} is the wrong way round", value.name));
            }
            if value.n > samples as u64 {
                return Err(format!("{} is taken over {} of {samples} samples", value.name, value.n));
            }
        }
        match self.curves.iter().find(|c| c.1.len() > LONGEST_CURVE) {
            Some(c) => Err(format!("its curve {} has {} points; at most {LONGEST_CURVE} are possible", c.0, c.1.len())),
            None => Ok(()),
        }
    }
}

/// Whether a component may call a value so: an identifier of C, in lower case.
pub(crate) fn is_identifier(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= LONGEST_NAME && name.chars().all(plain)
}

/// Numbers in little-endian order.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn take<const W: usize, T>(&mut self, count: usize, read: fn([u8; W]) -> T) -> Option<Vec<T>> {
        let (own, rest) = self.0.split_at_checked(count.checked_mul(W)?)?;
        self.0 = rest;
        let number = |bytes: &[u8]| bytes.try_into().ok().map(read);
        own.chunks_exact(W).map(number).collect()
    }

    fn integers(&mut self, count: usize) -> Option<Vec<i64>> {
        self.take(count, i64::from_le_bytes)
    }

    fn doubles(&mut self, count: usize) -> Option<Vec<f64>> {
        self.take(count, f64::from_le_bytes)
    }

    fn floats(&mut self, count: usize) -> Option<Vec<f32>> {
        self.take(count, f32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            id: vec![0, 3],
            y: vec![1, 2],
            prediction: vec![1, -1],
            rows: vec![("col_a".into(), 1, vec![0.5, f64::NAN]), ("vec_b".into(), 2, vec![1.0, 2.0, 3.0, f64::INFINITY])],
            head: Some((2, vec![1.0; 6], vec![0.0; 3])),
        }
    }

    #[test]
    fn tables_cross_the_border_bit_by_bit() {
        let (shape, bytes) = table().encode();
        let back = Table::decode(&shape, &bytes).expect("a table");
        assert_eq!(format!("{back:?}"), format!("{:?}", table()));
        assert!(Table::decode(&shape, &bytes[1..]).is_none() && Table::decode(&shape, &[&bytes[..], &[0]].concat()).is_none());
    }

    #[test]
    fn answers_cross_the_border_and_are_checked() {
        let good = Reduced {
            values: vec![ReducedValue { name: "ks".into(), value: 0.25, interval: Some((0.0, 1.0)), n: 2 }],
            columns: vec![("score".into(), vec![1.0, 2.0])],
            curves: vec![("density".into(), vec![0.0, 1.0, 2.0], vec![3.0, 4.0, 5.0])],
        };
        let (shape, bytes) = good.encode();
        assert_eq!(Reduced::decode(&shape, 2, &bytes), Some(good.clone()));
        assert_eq!(Reduced::decode(&shape, 3, &bytes), None);
        assert_eq!(good.check(2), Ok(()));
        let value = |name: &str, interval, n| Reduced {
            values: vec![ReducedValue { name: name.into(), value: 0.0, interval, n }],
            ..Reduced::default()
        };
        for (bad, says) in [
            (value("Ks", None, 0), "not an identifier"),
            (value("a,b", None, 0), "not an identifier"),
            (value("ks", Some((1.0, 0.0)), 0), "wrong way round"),
            (value("ks", None, 3), "of 2 samples"),
            (
                Reduced { values: [value("ks", None, 0).values, value("ks", None, 0).values].concat(), ..Reduced::default() },
                "twice",
            ),
            (Reduced { curves: vec![("c".into(), vec![0.0; LONGEST_CURVE + 1], Vec::new())], ..Reduced::default() }, "points"),
        ] {
            assert!(bad.check(2).expect_err(says).contains(says));
        }
    }
}
