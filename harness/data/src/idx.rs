//! The IDX format of MNIST and Fashion-MNIST: a folder with the four standard files, plain or gzipped.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::stream::{self, Share, Stated, fill, pieces};
use super::{Format, Pixels, Raw, Request, Split, listed, open};
use crate::files::{FileBytes, show};
use crate::refusal::Refusal;

pub(super) const FORMAT: Format = Format {
    name: "IDX",
    summary: "a folder of IDX files (train|t10k-images-idx3-ubyte[.gz] and …-labels-idx1-ubyte[.gz])",
    recognises: |path| path.is_dir() && [Split::Test, Split::Train].iter().any(|&s| find(path, s, "images-idx3").is_some()),
    read,
};

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
    let (mut x, mut y) = (Elements::open(&images, 3)?, Elements::open(&labels, 1)?);
    let [n, h, w] = [x.extents[0], x.extents[1], x.extents[2]];
    if n != y.extents[0] {
        let why = format!("{} has {n} images, {} has {} labels", show(&images.path), show(&labels.path), y.extents[0]);
        return Err(Refusal::data(78, why));
    }
    let image = (h * w) as u64;
    let file = (images.bytes.len() + labels.bytes.len()) as u64;
    let stated = Stated { count: n, stored: image + 1, in_memory: image + size_of::<i64>() as u64, file };
    let share = Share::of(&show(&images.path), &stated, request)?;
    let shape = [1, h, w];
    let mut hash = stream::hash_of(shape, n);
    let held = share.held * h * w;
    let mut pixels = Vec::with_capacity(held);
    x.take(share.read() * h * w, |piece| {
        hash.update(piece);
        pixels.extend_from_slice(&piece[..piece.len().min(held - pixels.len())]);
    })?;
    let mut labels_read: Vec<i64> = Vec::with_capacity(share.read());
    y.take(share.read(), |piece| labels_read.extend(piece.iter().map(|&b| i64::from(b))))?;
    labels_read.iter().for_each(|y| hash.update(y.to_le_bytes()));
    labels_read.truncate(share.held);
    Ok(Raw {
        shape,
        pixels: Pixels::Bytes(pixels),
        labels: labels_read,
        class_names: Vec::new(),
        files: vec![listed(&images), listed(&labels)],
        notes: Vec::new(),
        first_in_colour: None,
        behind: share.behind(hash),
    })
}

/// The elements of an IDX file of bytes, plain or gzipped, as a stream.
struct Elements<'a> {
    file: &'a FileBytes,
    reader: Box<dyn Read + 'a>,
    extents: Vec<usize>,
    /// The product of the extents.
    count: usize,
}

impl<'a> Elements<'a> {
    /// Reads the header of a file with `rank` axes.
    fn open(file: &'a FileBytes, rank: usize) -> Result<Elements<'a>, Refusal> {
        let reader: Box<dyn Read + 'a> = match file.bytes.starts_with(&[0x1f, 0x8b]) {
            true => Box::new(flate2::read::MultiGzDecoder::new(&file.bytes[..])),
            false => Box::new(&file.bytes[..]),
        };
        let mut elements = Elements { file, reader, extents: Vec::new(), count: 0 };
        let mut header = vec![0; 4 + 4 * rank];
        let read = fill(&mut elements.reader, &mut header).map_err(|e| elements.damaged(&e))?;
        let magic = [0, 0, 8, rank as u8];
        if read < 4 || header[..4] != magic {
            let found = header[..read.min(4)].iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
            let wanted = format!("00 00 08 {rank:02x} (bytes, {rank} axes)");
            return Err(elements.refuse(format!("does not begin as an IDX file does: found {found}, expected {wanted}")));
        }
        if read < header.len() {
            return Err(elements.refuse(format!("is truncated within its header: {read} of {} bytes", header.len())));
        }
        elements.extents = header[4..].chunks_exact(4).map(|e| u32::from_be_bytes([e[0], e[1], e[2], e[3]]) as usize).collect();
        let count = elements.extents.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        let countable = count.filter(|n| n.checked_mul(size_of::<f32>()).is_some());
        elements.count = countable
            .ok_or_else(|| elements.refuse(format!("says {}, which is more bytes than can be counted", elements.shape())))?;
        Ok(elements)
    }

    /// Gives the first `count` elements in pieces. Where those are all, the file ends behind them.
    fn take(&mut self, count: usize, piece: impl FnMut(&[u8])) -> Result<(), Refusal> {
        let read = pieces(&mut self.reader, count as u64, 1, piece).map_err(|e| self.damaged(&e))?;
        let has = match read == count as u64 {
            true if count < self.count || stream::ends(&mut self.reader).map_err(|e| self.damaged(&e))? => return Ok(()),
            true => format!("more than {read}"),
            false => read.to_string(),
        };
        Err(self.refuse(format!("says {}, which is {} bytes after the header, and has {has}", self.shape(), self.count)))
    }

    fn shape(&self) -> String {
        self.extents.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
    }

    fn refuse(&self, why: String) -> Refusal {
        Refusal::data(85, format!("{} {why}", show(&self.file.path)))
    }

    fn damaged(&self, error: &std::io::Error) -> Refusal {
        self.refuse(format!("is a damaged gzip file: {error}"))
    }
}

fn prefix(split: Split) -> &'static str {
    if split == Split::Test { "t10k" } else { "train" }
}

fn find(folder: &Path, split: Split, kind: &str) -> Option<PathBuf> {
    let stem = format!("{}-{kind}-ubyte", prefix(split));
    [stem.clone(), format!("{stem}.gz")].into_iter().map(|name| folder.join(name)).find(|path| path.is_file())
}
