//! Labelled images: where data sets are found, what is read, and what is refused before any work starts. Knows pixels in [0,1]
//! and labels; resizes only on request, never clips or guesses. Also what reading a stranger's file needs: opening it, refusals,
//! numbers as users write them.
//!
//! This crate knows no models.

mod cifar;
pub mod classes;
pub mod files;
mod folder;
mod idx;
mod listing;
mod names;
mod npy;
mod npz;
pub mod number;
mod picture;
mod prepare;
pub mod refusal;
pub mod resize;
mod stream;

use std::ops::Range;
use std::path::{Path, PathBuf};

use flatscape_graph::hash::digest;
use flatscape_graph::{Tensor, shown};

pub use self::prepare::{Colour, Preparation, Square};

use self::classes::Matching;
use self::resize::Picture;
use self::stream::Behind;
use crate::files::{FileBytes, FileError, show};
use crate::refusal::{Refusal, escape};

/// Largest file or array of a data set, in bytes.
const LARGEST_DATA: u64 = 8 << 30;

/// Which half of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The images to measure on.
    Test,
    /// The images that models were trained on.
    Train,
}

impl Split {
    /// `test` or `train`.
    pub fn name(self) -> &'static str {
        match self {
            Split::Test => "test",
            Split::Train => "train",
        }
    }

    /// Reads `test` or `train`.
    pub fn parse(text: &str) -> Option<Split> {
        [Split::Test, Split::Train].into_iter().find(|s| s.name() == text)
    }
}

/// The requested data.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Request {
    /// A name (`fashion-mnist`) or a path.
    pub data: String,
    /// Which half.
    pub split: Split,
    /// The folder given with `--data-dir`, searched first.
    pub data_dir: Option<PathBuf>,
    /// The number of images, the first ones in canonical order; all of them if absent.
    pub limit: Option<usize>,
    /// Whether fewer images than `limit` are acceptable.
    pub allow_fewer: bool,
    /// Added to every label, for models with a background class.
    pub label_offset: i64,
    /// Whether images of a folder that cannot be read are left out and counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_unreadable: bool,
    /// Which class of the model every class of the data is, where classes have names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matching: Option<Matching>,
    /// What is done to the images before anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preparation: Option<Preparation>,
}

impl Request {
    /// The test half of a data set, all of it.
    pub fn new(data: &str) -> Request {
        Request {
            data: data.to_owned(),
            split: Split::Test,
            data_dir: None,
            limit: None,
            allow_fewer: false,
            label_offset: 0,
            skip_unreadable: false,
            matching: None,
            preparation: None,
        }
    }
}

/// Pixels as they are stored, n·C·H·W of them, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// 0..255; the pixel is `v/255`.
    Bytes(Vec<u8>),
    /// In [0,1].
    Floats(Vec<f32>),
    /// 8-bit images of different sizes, before they are prepared; the shape of their data set is [C,0,0].
    Pictures(Vec<Picture>),
}

impl Pixels {
    /// Images of one size as bytes, others as pictures; with their shape.
    fn of(pictures: Vec<Picture>) -> ([usize; 3], Pixels) {
        let first = pictures.first().map_or([0; 3], |p| p.shape);
        if pictures.iter().all(|p| p.shape == first) {
            return (first, Pixels::Bytes(pictures.into_iter().flat_map(|p| p.pixels).collect()));
        }
        ([first[0], 0, 0], Pixels::Pictures(pictures))
    }

    fn len(&self) -> usize {
        match self {
            Pixels::Bytes(v) => v.len(),
            Pixels::Floats(v) => v.len(),
            Pixels::Pictures(v) => v.len(),
        }
    }

    fn truncate(&mut self, n: usize) {
        match self {
            Pixels::Bytes(v) => v.truncate(n),
            Pixels::Floats(v) => v.truncate(n),
            Pixels::Pictures(v) => v.truncate(n),
        }
    }
}

/// Labelled images in canonical order: sample i is row i of the files.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The name as requested, or the stem of the path.
    pub name: String,
    /// Which half.
    pub split: Split,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// The images.
    pub pixels: Pixels,
    /// One label per image.
    pub labels: Vec<i64>,
    /// Names of the classes, in the order of labels; empty if no source names them.
    pub class_names: Vec<String>,
    /// Which class of a model every class was, where the labels are those of a model already.
    pub matching: Option<Matching>,
    /// Whether the order of the classes is the same wherever this data set is used.
    pub canonical: bool,
    /// The first file in colour of a folder.
    pub first_in_colour: Option<String>,
    /// What was added to every label.
    pub label_offset: i64,
    /// SHA-256 of the split as read (shape, pixels, labels), before `limit` (up to it: of a folder of images, and where a note says so)
    /// and `label_offset`.
    pub sha256: String,
    /// The files and the SHA-256 of each.
    pub files: Vec<(String, String)>,
    /// Where it came from, in words.
    pub source: String,
    /// What a reader should know, in sentences (duplicates, a single class).
    pub notes: Vec<String>,
}

/// Some consecutive samples of a [`Dataset`].
#[derive(Clone, Debug)]
pub struct Batch {
    /// Images: float[N,C,H,W] in [0,1].
    pub x: Tensor,
    /// Labels: [N].
    pub y: Vec<i64>,
    /// Positions in the data set: [N].
    pub ids: Vec<u64>,
}

/// A file format: one file and one row.
pub struct Format {
    /// What the help calls it.
    pub name: &'static str,
    /// One line of help.
    pub summary: &'static str,
    /// Whether a path looks like this format, judged by names only.
    recognises: fn(&Path) -> bool,
    /// Reads the requested half; images behind the limit may be omitted.
    read: fn(&Path, &Request) -> Result<Raw, Refusal>,
}

/// The formats that are read, in the order in which they are tried.
pub const FORMATS: &[Format] = &[idx::FORMAT, cifar::FORMAT, npz::FORMAT, folder::FORMAT];

/// What a format gives: unchecked.
struct Raw {
    shape: [usize; 3],
    pixels: Pixels,
    labels: Vec<i64>,
    class_names: Vec<String>,
    files: Vec<(String, String)>,
    /// What a reader should know, in sentences.
    notes: Vec<String>,
    /// The first file in colour.
    first_in_colour: Option<String>,
    /// What was left out because it lies behind the limit; images of folders aside.
    behind: Option<Behind>,
}

impl Dataset {
    /// Finds, reads and checks a data set.
    ///
    /// # Errors
    /// Data errors: not found (with the places searched and the command that fetches it), unreadable, malformed, or with
    /// contents that cannot be images in [0,1] with labels; the row and the value are named.
    pub fn load(request: &Request) -> Result<Dataset, Refusal> {
        let ((mut dataset, behind), classes) = match names::named(&request.data) {
            Some(named) => (named.load(request)?, Some(named.classes.len())),
            None => (from_path(request)?, None),
        };
        dataset.check(classes)?;
        dataset.sha256 = match &behind {
            Some(Behind { sha256: Some(sha256), .. }) => sha256.clone(),
            Some(Behind { count, sha256: None }) => {
                let first = format!("only the first {} of {count} images were read, because all would take much", dataset.len());
                dataset.notes.push(format!("{first} memory for a file of this size; the SHA-256 is theirs"));
                dataset.hash()
            }
            None => dataset.hash(),
        };
        dataset.canonical = classes.is_some();
        if request.skip_unreadable && !Path::new(&request.data).is_dir() {
            dataset.notes.push("--skip-unreadable has no effect: it is about folders of images".to_owned());
        }
        dataset.notes.extend(dataset.curiosities());
        if let Some(limit) = request.limit {
            dataset.keep_first(limit, request.allow_fewer, behind.map_or(dataset.len(), |b| b.count))?;
        }
        if let Some(matching) = &request.matching {
            dataset = dataset.matched(matching)?;
        }
        dataset.offset(request.label_offset)?;
        match request.preparation {
            Some(preparation) => dataset.prepared(preparation),
            None => Ok(dataset),
        }
    }

    /// The same images with the labels of a model.
    ///
    /// # Errors
    /// `D061`: an image is of a class without a match.
    pub fn matched(mut self, matching: &Matching) -> Result<Dataset, Refusal> {
        for (row, y) in self.labels.iter_mut().enumerate() {
            let to = usize::try_from(*y).ok().and_then(|y| matching.to.get(y)).copied().filter(|to| *to >= 0);
            let Some(to) = to else {
                let what = format!("data set {}: row {row} is of the class {y}, which is none of the model's", self.name);
                return Err(Refusal::data(61, what));
            };
            *y = to;
        }
        self.notes.push(format!(
            "classes of {} were matched by {}: {}",
            self.name,
            matching.by.name(),
            matching.pairs(&self.class_names, 20)
        ));
        self.class_names.clone_from(&matching.names);
        self.matching = Some(matching.clone());
        Ok(self)
    }

    /// Adds to every label.
    ///
    /// # Errors
    /// `D077`: a label becomes negative.
    pub fn offset(&mut self, offset: i64) -> Result<(), Refusal> {
        self.label_offset = offset;
        for (row, y) in self.labels.iter_mut().enumerate() {
            *y = y.saturating_add(offset);
            if *y < 0 {
                let what =
                    format!("data set {}: --label-offset {offset} makes the label {} of row {row} {y}", self.name, *y - offset);
                return Err(Refusal::data(77, what).help("labels start at 0: choose an offset that leaves none below"));
            }
        }
        Ok(())
    }

    fn new(name: String, split: Split, raw: Raw, source: String) -> (Dataset, Option<Behind>) {
        let Raw { shape, pixels, labels, class_names, files, notes, first_in_colour, behind } = raw;
        let dataset = Dataset {
            name,
            split,
            shape,
            pixels,
            labels,
            class_names,
            matching: None,
            canonical: false,
            first_in_colour,
            label_offset: 0,
            sha256: String::new(),
            files,
            source,
            notes,
        };
        (dataset, behind)
    }

    /// How many images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image (never, once loaded).
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Pixels of one image.
    pub fn image_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The largest label and 0 of nothing.
    pub fn largest_label(&self) -> i64 {
        self.labels.iter().copied().max().unwrap_or(0)
    }

    /// Copies one image as float [C·H·W] in [0,1] into `out`. Positions behind the end leave `out` unchanged.
    pub fn image(&self, index: usize, out: &mut [f32]) {
        let span = index * self.image_len()..(index + 1) * self.image_len();
        match &self.pixels {
            Pixels::Bytes(v) => out.iter_mut().zip(v.get(span).unwrap_or(&[])).for_each(|(o, &b)| *o = f32::from(b) / 255.0),
            Pixels::Floats(v) => out.iter_mut().zip(v.get(span).unwrap_or(&[])).for_each(|(o, &p)| *o = p),
            Pixels::Pictures(_) => {}
        }
    }

    /// Some consecutive samples; the range is cut at the end of the data set.
    pub fn batch(&self, range: Range<usize>) -> Batch {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let ids: Vec<u64> = (start as u64..end as u64).collect();
        self.gather(&ids)
    }

    /// The samples of these ids, in this order.
    pub fn gather(&self, ids: &[u64]) -> Batch {
        let size = self.image_len();
        let mut x = vec![0.0; ids.len() * size];
        for (out, &id) in x.chunks_mut(size.max(1)).zip(ids) {
            self.image(id as usize, out);
        }
        let [c, h, w] = self.shape;
        let y = ids.iter().map(|&id| self.labels.get(id as usize).copied().unwrap_or(-1)).collect();
        let x = Tensor::new(&[ids.len(), c, h, w], x)
            .unwrap_or_else(|| Tensor::full(flatscape_graph::DType::F32, &[0, c, h, w], 0.0));
        Batch { x, y, ids: ids.to_vec() }
    }

    /// Keeps the first `n` of `found` images.
    fn keep_first(&mut self, n: usize, allow_fewer: bool, found: usize) -> Result<(), Refusal> {
        if n == 0 {
            return Err(Refusal::usage(92, "-n 0 asks for no images"));
        }
        if found < n && !allow_fewer {
            let why = format!("data set {}: asked for {n} images, found {found}", self.name);
            return Err(Refusal::data(76, why).help(format!("use -n {found}, or add --allow-fewer")));
        }
        if found > n && allow_fewer {
            self.notes
                .push(format!("the first {n} of the {found} images of data set {} are taken; -n takes more or fewer", self.name));
        }
        self.labels.truncate(n);
        let each = if let Pixels::Pictures(_) = self.pixels { 1 } else { self.image_len() };
        self.pixels.truncate(n.min(found) * each);
        Ok(())
    }

    /// The pre-flight pass over all images and labels.
    fn check(&self, classes: Option<usize>) -> Result<(), Refusal> {
        let name = &self.name;
        let size = if let Pixels::Pictures(_) = self.pixels { 1 } else { self.image_len() };
        if self.is_empty() || size == 0 {
            return Err(Refusal::data(76, format!("data set {name} has 0 images")));
        }
        if self.pixels.len() != self.len() * size {
            let images = self.pixels.len() as f64 / size as f64;
            return Err(Refusal::data(78, format!("data set {name} has {images} images and {} labels", self.len())));
        }
        let wrong = |&(_, &y): &(usize, &i64)| y < 0 || classes.is_some_and(|c| y >= c as i64);
        if let Some((row, y)) = self.labels.iter().enumerate().find(wrong) {
            let range = classes.map_or("labels start at 0".to_owned(), |c| format!("{name} has the labels 0..{}", c - 1));
            return Err(Refusal::data(77, format!("data set {name}: row {row} has the label {y}; {range}")));
        }
        let Pixels::Floats(pixels) = &self.pixels else { return Ok(()) };
        if let Some(at) = pixels.iter().position(|v| !v.is_finite()) {
            return Err(Refusal::data(79, format!("data set {name}: row {} has the pixel {}", at / size, pixels[at])));
        }
        let Some(at) = pixels.iter().position(|v| !(0.0..=1.0).contains(v)) else { return Ok(()) };
        let (low, high) = pixels.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
        let fix = if low >= 0.0 && high <= 255.0 && high > 2.0 {
            "these look like 0..255: store uint8, or divide by 255"
        } else if low < 0.0 {
            "these look normalised: store the images before mean and std are applied, and give those as --mean and --std"
        } else {
            "store pixels between 0 and 1"
        };
        let why = format!(
            "data set {name}: row {} has the pixel {}; pixels range over [{low}, {high}], not within [0, 1]",
            at / size,
            pixels[at]
        );
        Err(Refusal::data(79, why).help(fix))
    }

    fn hash(&self) -> String {
        let mut hash = stream::hash_of(self.shape, self.len());
        match &self.pixels {
            Pixels::Bytes(v) => hash.update(v),
            Pixels::Floats(v) => v.iter().for_each(|p| hash.update(p.to_le_bytes())),
            Pixels::Pictures(v) => v.iter().for_each(|p| {
                hash.update(format!("{:?} ", p.shape).as_bytes());
                hash.update(&p.pixels);
            }),
        }
        self.labels.iter().for_each(|y| hash.update(y.to_le_bytes()));
        hash.text()
    }

    fn curiosities(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let first = self.labels.first();
        if self.len() > 1 && self.labels.iter().all(|y| Some(y) == first) {
            notes.push(format!("every image of data set {} has the label {}", self.name, self.labels[0]));
        }
        let size = self.image_len();
        let mut seen = std::collections::HashSet::new();
        let twice = match &self.pixels {
            Pixels::Pictures(v) => v.iter().filter(|p| !seen.insert(digest(&p.pixels))).count(),
            Pixels::Bytes(v) => v.chunks(size).filter(|image| !seen.insert(digest(image))).count(),
            Pixels::Floats(v) => {
                let bytes = |image: &[f32]| image.iter().flat_map(|p| p.to_le_bytes()).collect::<Vec<u8>>();
                v.chunks(size).filter(|image| !seen.insert(digest(&bytes(image)))).count()
            }
        };
        if twice > 0 {
            notes.push(format!("{twice} images of data set {} are copies of earlier ones", self.name));
        }
        notes
    }
}

/// Reads a path in whichever format it is.
fn from_path(request: &Request) -> Result<(Dataset, Option<Behind>), Refusal> {
    let path = Path::new(&request.data);
    let name = path.file_stem().map_or_else(|| request.data.clone(), |s| s.to_string_lossy().into_owned());
    if let Some(format) = FORMATS.iter().find(|f| (f.recognises)(path)) {
        let raw = (format.read)(path, request)?;
        return Ok(Dataset::new(escape(&name), request.split, raw, format!("{} ({})", show(path), format.name)));
    }
    let formats = FORMATS.iter().map(|f| f.summary).collect::<Vec<_>>().join("; ");
    if !path.exists() {
        let known = names::NAMED.iter().map(|n| n.name).collect::<Vec<_>>().join(", ");
        let error = Refusal::data(1, format!("{} is neither a data set by name nor a path that exists", shown(&request.data)));
        return Err(error.help(format!("names: {known}; or a path: {formats}")));
    }
    let what = if path.is_dir() {
        "is a folder without IDX files, CIFAR-10 files or folders of images"
    } else {
        "is in a format that this version does not read"
    };
    Err(Refusal::data(4, format!("{} {what}", show(path)))
        .help(format!("it reads: {formats}; tar and Parquet are not read by this version")))
}

fn open(path: &Path) -> Result<FileBytes, Refusal> {
    files::read(path, LARGEST_DATA).map_err(refused)
}

fn refused(error: FileError) -> Refusal {
    let number = if matches!(error, FileError::Empty(_)) { 2 } else { 1 };
    Refusal::data(number, error.to_string())
}

fn listed(file: &FileBytes) -> (String, String) {
    (file.path.file_name().map_or_else(String::new, |n| escape(&n.to_string_lossy())), file.sha256.clone())
}

#[cfg(test)]
mod tests;
