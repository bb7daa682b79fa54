//! The IDX format of MNIST and Fashion-MNIST: a folder with the four standard files, plain or gzipped.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Format, Pixels, Raw, Request, Split, listed, open};
use crate::files::{FileBytes, show};
use crate::refusal::Refusal;

pub(super) const FORMAT: Format = Format {
    name: "IDX",
    summary: "a folder of IDX files (train|t10k-images-idx3-ubyte[.gz] and …-labels-idx1-ubyte[.gz])",
    recognises: |path| path.is_dir() && [Split::Test, Split::Train].iter().any(|&s| find(path, s, "images-idx3").is_some()),
    read,
};

/// Largest decompressed file: the 60,000 training images have 47 MB.
const LARGEST: u64 = 2 << 30;

fn read(folder: &Path, request: &Request) -> Result<Raw, Refusal> {
    let split = request.split;
    let file = |kind: &str| {
        let path = find(folder, split, kind).ok_or_else(|| {
            let wanted = format!("{}-{kind}-ubyte or {}-{kind}-ubyte.gz", prefix(split), prefix(split));
            Refusal::data(1, format!("{} has no {wanted}, which the {} half needs", show(folder), split.name()))
        })?;
        open(&path)
    };
    let (images, labels) = (file("images-idx3")?, file("labels-idx1")?);
    let (extents, pixels) = elements(&images, 3)?;
    let (_, raw_labels) = elements(&labels, 1)?;
    let [n, h, w] = [extents[0], extents[1], extents[2]];
    if n != raw_labels.len() {
        let why = format!("{} has {n} images, {} has {} labels", show(&images.path), show(&labels.path), raw_labels.len());
        return Err(Refusal::data(78, why));
    }
    Ok(Raw {
        shape: [1, h, w],
        pixels: Pixels::Bytes(pixels),
        labels: raw_labels.into_iter().map(i64::from).collect(),
        class_names: Vec::new(),
        files: vec![listed(&images), listed(&labels)],
        notes: Vec::new(),
        first_in_colour: None,
    })
}

/// Extents and elements of an IDX file of bytes with `rank` axes.
fn elements(file: &FileBytes, rank: usize) -> Result<(Vec<usize>, Vec<u8>), Refusal> {
    let name = show(&file.path);
    let refuse = |why: String| Refusal::data(85, format!("{name} {why}"));
    let mut bytes = file.bytes.clone();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        let limited = flate2::read::MultiGzDecoder::new(&file.bytes[..]).take(LARGEST + 1).read_to_end(&mut plain);
        limited.map_err(|e| refuse(format!("is a damaged gzip file: {e}")))?;
        if plain.len() as u64 > LARGEST {
            return Err(Refusal::data(83, format!("{name} decompresses to more than {LARGEST} bytes")));
        }
        bytes = plain;
    }
    let header = 4 + 4 * rank;
    let magic = [0, 0, 8, rank as u8];
    if bytes.len() < 4 || bytes[..4] != magic {
        let found = bytes.iter().take(4).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
        let wanted = format!("00 00 08 {rank:02x} (bytes, {rank} axes)");
        return Err(refuse(format!("does not begin as an IDX file does: found {found}, expected {wanted}")));
    }
    if bytes.len() < header {
        return Err(refuse(format!("is truncated within its header: {} of {header} bytes", bytes.len())));
    }
    let extent = |i: usize| u32::from_be_bytes([bytes[4 + 4 * i], bytes[5 + 4 * i], bytes[6 + 4 * i], bytes[7 + 4 * i]]) as usize;
    let extents: Vec<usize> = (0..rank).map(extent).collect();
    let shape = extents.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
    let wanted = extents.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    if wanted != Some(bytes.len() - header) {
        let wanted = wanted.map_or("more bytes than can be counted".to_owned(), |n| format!("{n} bytes"));
        return Err(refuse(format!("says {shape}, which is {wanted} after the header, and has {}", bytes.len() - header)));
    }
    bytes.drain(..header);
    Ok((extents, bytes))
}

fn prefix(split: Split) -> &'static str {
    if split == Split::Test { "t10k" } else { "train" }
}

fn find(folder: &Path, split: Split, kind: &str) -> Option<PathBuf> {
    let stem = format!("{}-{kind}-ubyte", prefix(split));
    [stem.clone(), format!("{stem}.gz")].into_iter().map(|name| folder.join(name)).find(|path| path.is_file())
}
