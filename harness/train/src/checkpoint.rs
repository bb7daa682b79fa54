//! Everything that a training needs to go on, in one file: a line of JSON with facts, names, types and extents of tensors, their
//! bytes, and the SHA-256 of all that is before it. Knows tensors; nothing of what they mean.

use std::path::Path;

use flatscape_graph::{DType, Tensor, hash};
use flatscape_intake::files::{publish, show};
use flatscape_intake::refusal::Refusal;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The first word of the file.
const MAGIC: &str = "flatscape-checkpoint-1";

/// Facts and tensors by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint<F> {
    /// What is not a tensor.
    pub facts: F,
    /// Tensors in a stated order; float, double or int64.
    pub tensors: Vec<(String, Tensor)>,
}

#[derive(Serialize, Deserialize)]
struct Header<F> {
    facts: F,
    tensors: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    name: String,
    dtype: String,
    shape: Vec<usize>,
}

impl<F: Serialize + DeserializeOwned> Checkpoint<F> {
    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor)
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// A clause: a fact or an element type that cannot be written.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        let entry = |(name, tensor): &(String, Tensor)| Entry {
            name: name.clone(),
            dtype: tensor.dtype().name().to_owned(),
            shape: tensor.shape().to_vec(),
        };
        let header = serde_json::to_string(&Header { facts: &self.facts, tensors: self.tensors.iter().map(entry).collect() });
        let header = header.map_err(|e| e.to_string())?;
        let mut bytes = format!("{MAGIC}\n{header}\n").into_bytes();
        for (name, tensor) in &self.tensors {
            match tensor {
                Tensor::F32(a) => a.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
                Tensor::F64(a) => a.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
                Tensor::I64(a) => a.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
                other => return Err(format!("{name} is of the type {}", other.dtype().name())),
            }
        }
        bytes.extend(hash::digest(&bytes));
        Ok(bytes)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// A clause that says what is wrong with them.
    pub fn read(bytes: &[u8]) -> Result<Checkpoint<F>, String> {
        let cut = || "is cut off".to_owned();
        let (body, digest) = bytes.split_at_checked(bytes.len().saturating_sub(32)).ok_or_else(cut)?;
        if hash::digest(body)[..] != *digest {
            return Err("is cut off or damaged: its SHA-256 is another one".to_owned());
        }
        let mut lines = body.splitn(3, |b| *b == b'\n');
        if lines.next() != Some(MAGIC.as_bytes()) {
            return Err("is not a checkpoint of this version".to_owned());
        }
        let (header, mut rest) = (lines.next().ok_or_else(cut)?, lines.next().ok_or_else(cut)?);
        let header: Header<F> = serde_json::from_slice(header).map_err(|e| format!("has a header that cannot be read: {e}"))?;
        let mut tensors = Vec::with_capacity(header.tensors.len());
        for Entry { name, dtype, shape } in header.tensors {
            let dtype = DType::named(&dtype).ok_or_else(|| format!("has a tensor of the unknown type {dtype:?}"))?;
            let size = shape.iter().try_fold(dtype.size(), |size, &n| size.checked_mul(n)).ok_or_else(cut)?;
            let (own, others) = rest.split_at_checked(size).ok_or_else(cut)?;
            rest = others;
            tensors.push((name, tensor(dtype, &shape, own).ok_or_else(cut)?));
        }
        if rest.is_empty() {
            Ok(Checkpoint { facts: header.facts, tensors })
        } else {
            Err("has bytes behind its tensors".to_owned())
        }
    }

    /// Writes the file under a temporary name, synced, and renames it.
    ///
    /// # Errors
    /// `O094` or `O102`.
    pub fn publish(&self, path: &Path) -> Result<(), Refusal> {
        let refused = |clause| Refusal::output(102, format!("{} could not be written: {clause}", show(path)));
        publish(path, &self.bytes().map_err(refused)?)
    }
}

fn tensor(dtype: DType, shape: &[usize], bytes: &[u8]) -> Option<Tensor> {
    match dtype {
        DType::F32 => Tensor::new(shape, words(bytes, f32::from_le_bytes)),
        DType::F64 => Tensor::new(shape, words(bytes, f64::from_le_bytes)),
        DType::I64 => Tensor::new(shape, words(bytes, i64::from_le_bytes)),
        _ => None,
    }
}

fn words<const N: usize, T>(bytes: &[u8], word: fn([u8; N]) -> T) -> Vec<T> {
    let (whole, _) = bytes.as_chunks::<N>();
    whole.iter().map(|w| word(*w)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_survive_and_every_damage_is_found() {
        let tensors = vec![
            ("a".to_owned(), Tensor::new(&[2, 2], vec![1f32, f32::NAN, -0.0, f32::INFINITY]).expect("four")),
            ("b".to_owned(), Tensor::scalar(0.1f64)),
            ("c".to_owned(), Tensor::ints(&[i64::MIN, 7])),
            ("none".to_owned(), Tensor::new(&[0, 3], Vec::<f32>::new()).expect("none")),
        ];
        let checkpoint = Checkpoint { facts: vec![1u64, 2], tensors };
        let bytes = checkpoint.bytes().expect("written");
        let back = Checkpoint::<Vec<u64>>::read(&bytes).expect("read");
        assert_eq!(back.bytes().expect("written"), bytes);
        assert_eq!((back.facts.clone(), back.tensor("c")), (vec![1, 2], Some(&Tensor::ints(&[i64::MIN, 7]))));
        for end in 0..bytes.len() {
            assert!(Checkpoint::<Vec<u64>>::read(&bytes[..end]).is_err(), "{end} bytes of {}", bytes.len());
        }
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Checkpoint::<Vec<u64>>::read(&damaged).is_err(), "byte {at}");
        }
    }
}
