//! NumPy archives with images and labels: `x` and `y`, or the pairs of [`PAIRS`]; uint8 images (divided by 255) or floats in [0,1],
//! shaped [n,H,W], [n,C,H,W] or [n,H,W,C]; labels [n] or [n,1], integers or text; names of classes. Members are read as streams:
//! at most the images that were asked for are held.

use std::collections::HashMap;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use flatscape_graph::hash::Sha256;
use flatscape_graph::shown;

use super::npy::{Fault, Header, Kind};
use super::stream::{self, Share, Stated};
use super::{Format, Pixels, Raw, Request, Split, listed, open};
use crate::files::show;
use crate::refusal::{Refusal, escape};

pub(super) const FORMAT: Format = Format {
    name: "npz",
    summary: "a NumPy archive (.npz) with images x and labels y",
    recognises: |path| path.extension().is_some_and(|e| e == "npz"),
    read,
};

/// Names of the images and the labels, the first pair that is there; those of a half where the archive holds both.
const PAIRS: &[(&str, &str)] =
    &[("x", "y"), ("images", "labels"), ("X", "y"), ("data", "target"), ("data", "labels"), ("image", "label")];
const OF_TEST: &[(&str, &str)] =
    &[("x_test", "y_test"), ("test_images", "test_labels"), ("X_test", "y_test"), ("x_val", "y_val")];
const OF_TRAIN: &[(&str, &str)] = &[("x_train", "y_train"), ("train_images", "train_labels"), ("X_train", "y_train")];

/// Arrays that name the classes.
const NAMES: &[&str] = &["class_names", "classes", "names", "label_names", "labels_names", "target_names"];

/// Most names of classes.
const MOST_CLASSES: usize = 65_536;

fn read(path: &Path, request: &Request) -> Result<Raw, Refusal> {
    let file = open(path)?;
    let mut raw = parse(&file.bytes, &show(path), file.sha256.clone(), request)?;
    raw.files = vec![listed(&file)];
    Ok(raw)
}

/// Reads an archive from memory; `name` is for messages.
pub(super) fn parse(bytes: &[u8], name: &str, sha256: String, request: &Request) -> Result<Raw, Refusal> {
    let archive = Archive { bytes, name };
    let has = archive.arrays()?;
    let there = |name: &str| has.iter().any(|n| n == name);
    let of_half = if request.split == Split::Test { OF_TEST } else { OF_TRAIN };
    let pair = of_half.iter().chain(PAIRS).find(|(x, y)| there(x) && there(y)).copied().unwrap_or(("x", "y"));
    let stated = match NAMES.iter().find(|n| there(n)) {
        Some(array) => archive.names(array)?,
        None => Vec::new(),
    };
    let (images, labels) = (archive.header(pair.0)?, archive.header(pair.1)?);
    let (shape, order) = archive.images(pair.0, &images)?;
    archive.labelled(pair.1, &labels)?;
    let count = images.shape[0];
    if labels.count != count {
        return Err(Refusal::data(78, format!("{name} has {count} images and {} labels", labels.count)));
    }
    let label = labels.size.max(size_of::<i64>()) as u64;
    let pixels = shape.iter().product::<usize>() as u64;
    let in_memory = if images.kind == Kind::Byte { pixels } else { pixels.saturating_mul(size_of::<f32>() as u64) };
    let stored = pixels.saturating_mul(images.size as u64);
    let stated_of = Stated {
        count,
        stored: stored.saturating_add(labels.size as u64),
        in_memory: in_memory.saturating_add(label),
        file: bytes.len() as u64,
    };
    let share = Share::of(name, &stated_of, request)?;
    let mut hash = stream::hash_of(shape, count);
    let pixels = archive.pixels(pair.0, shape, order, share, &mut hash)?;
    let (mut labels, class_names) = archive.labels(pair.1, stated, share)?;
    labels.iter().for_each(|y| hash.update(y.to_le_bytes()));
    labels.truncate(share.held);
    let notes =
        if pair == ("x", "y") { Vec::new() } else { vec![format!("{name}: images and labels are {} and {}", pair.0, pair.1)] };
    let files = vec![(name.to_owned(), sha256)];
    Ok(Raw { shape, pixels, labels, class_names, files, notes, first_in_colour: None, behind: share.behind(hash) })
}

/// How the pixels of an image lie.
#[derive(Clone, Copy)]
enum Order {
    ChannelsFirst,
    ChannelsLast,
}

impl Order {
    /// The elements of one image as [C,H,W].
    fn apply<T: Copy>(self, image: &[T], [c, h, w]: [usize; 3]) -> Vec<T> {
        match self {
            Order::ChannelsFirst => image.to_vec(),
            Order::ChannelsLast => (0..c).flat_map(|k| (0..h * w).map(move |i| i * c + k)).map(|at| image[at]).collect(),
        }
    }
}

/// The bytes of an archive, and its name for messages.
#[derive(Clone, Copy)]
struct Archive<'a> {
    bytes: &'a [u8],
    name: &'a str,
}

impl Archive<'_> {
    fn refuse(&self, number: u16, what: String) -> Refusal {
        Refusal::data(number, format!("{}: {what}", self.name))
    }

    fn zip(&self) -> Result<zip::ZipArchive<Cursor<&[u8]>>, Refusal> {
        zip::ZipArchive::new(Cursor::new(self.bytes))
            .map_err(|e| Refusal::data(85, format!("{} is not a readable NumPy archive: {e}", self.name)))
    }

    /// The names of the arrays.
    fn arrays(&self) -> Result<Vec<String>, Refusal> {
        Ok(self.zip()?.file_names().map(|n| n.trim_end_matches(".npy").to_owned()).collect())
    }

    /// Gives the header of an array and the stream of its elements.
    fn member<T>(&self, array: &str, take: impl FnOnce(&Header, &mut dyn Read) -> Result<T, Fault>) -> Result<T, Refusal> {
        let mut zip = self.zip()?;
        let file = format!("{array}.npy");
        if zip.index_for_name(&file).is_none() {
            let has: Vec<String> = zip.file_names().map(|n| escape(n.trim_end_matches(".npy"))).collect();
            let why = format!("{} has no array {array:?}; it has {}", self.name, has.join(", "));
            return Err(Refusal::data(80, why).help("numpy.savez(path, x=images, y=labels)"));
        }
        let member = zip.by_name(&file).map_err(|e| self.refuse(85, format!("array {array} cannot be read: {e}")))?;
        let mut member = BufReader::new(member);
        Header::read(&mut member).and_then(|header| take(&header, &mut member)).map_err(|fault| match fault {
            Fault::Damaged(e) => self.refuse(85, format!("array {array} is damaged: {e}")),
            Fault::Malformed(why) => self.refuse(84, format!("array {array} {why}")),
        })
    }

    fn header(&self, array: &str) -> Result<Header, Refusal> {
        self.member(array, |header, _| Ok(header.clone()))
    }

    /// Channels, height and width of the images, and how their pixels lie; refuses an array that does not hold images.
    fn images(&self, array: &str, header: &Header) -> Result<([usize; 3], Order), Refusal> {
        match header.kind {
            Kind::Byte | Kind::Float => {}
            Kind::Signed | Kind::Unsigned => {
                let what = format!("{array} holds integers of more than 8 bits; expected uint8 (0..255) or floats in [0, 1]");
                return Err(self.refuse(80, what));
            }
            Kind::Wide | Kind::Narrow => return Err(self.refuse(80, format!("{array} holds text; expected pixels"))),
        }
        match header.shape[..] {
            [_, h, w] => Ok(([1, h, w], Order::ChannelsFirst)),
            [_, a, b, c] if matches!(c, 1 | 3) && !matches!(a, 1 | 3) => Ok(([c, a, b], Order::ChannelsLast)),
            [_, c, h, w] => Ok(([c, h, w], Order::ChannelsFirst)),
            _ => {
                let expected = "expected [n,H,W], [n,C,H,W] or [n,H,W,C] with 1 or 3 channels";
                Err(self.refuse(80, format!("{array} has the shape {:?}; {expected}", header.shape)))
            }
        }
    }

    /// Refuses an array that does not hold labels.
    fn labelled(&self, array: &str, header: &Header) -> Result<(), Refusal> {
        if !matches!(header.shape[..], [_] | [_, 1]) {
            let what = format!("{array} has the shape {:?}; expected one label per image, [n] or [n,1]", header.shape);
            return Err(self.refuse(77, what).help(format!("for one-hot rows store {array}.argmax(1)")));
        }
        if header.kind == Kind::Float {
            let what = format!("the labels {array} are floats; expected integers");
            return Err(self.refuse(77, what).help(format!("store them with {array}.astype('int64')")));
        }
        Ok(())
    }

    /// The images that are held; those that are read are hashed.
    fn pixels(&self, array: &str, shape: [usize; 3], order: Order, share: Share, hash: &mut Sha256) -> Result<Pixels, Refusal> {
        let pixels = shape.iter().product::<usize>();
        self.member(array, |header, reader| {
            let mut reader = header.in_rows(reader, stream::allowed(self.bytes.len() as u64))?;
            let mut bytes = Vec::with_capacity(if header.kind == Kind::Byte { share.held * pixels } else { 0 });
            let mut floats = Vec::with_capacity(if header.kind == Kind::Byte { 0 } else { share.held * pixels });
            let mut image = vec![0; if share.read() > 0 { pixels * header.size } else { 0 }];
            let mut read = 0;
            for place in 0..share.read() {
                let filled = stream::fill(&mut reader, &mut image)?;
                read += filled as u64;
                if filled < image.len() {
                    break;
                }
                if header.kind == Kind::Byte {
                    let image = order.apply(&image, shape);
                    hash.update(&image);
                    bytes.extend(if place < share.held { image } else { Vec::new() });
                } else {
                    let values: Vec<f32> = image.chunks_exact(header.size).map(|v| header.float(v)).collect();
                    let image = order.apply(&values, shape);
                    image.iter().for_each(|v| hash.update(v.to_le_bytes()));
                    floats.extend(if place < share.held { image } else { Vec::new() });
                }
            }
            header.all_there((share.read() * pixels * header.size) as u64, read, &mut reader)?;
            Ok(if header.kind == Kind::Byte { Pixels::Bytes(bytes) } else { Pixels::Floats(floats) })
        })
    }

    /// The labels that are read, and the names of the classes: those `stated`, or the labels themselves where they are text.
    fn labels(&self, array: &str, stated: Vec<String>, share: Share) -> Result<(Vec<i64>, Vec<String>), Refusal> {
        let mut classes = Classes::of(stated);
        let (labels, text) = self.member(array, |header, reader| {
            let mut reader = header.in_rows(reader, stream::allowed(self.bytes.len() as u64))?;
            let mut labels = Vec::with_capacity(share.read());
            let length = (share.read() * header.size) as u64;
            let read = stream::pieces(&mut reader, length, header.size, |piece| {
                for element in piece.chunks_exact(header.size) {
                    let label = match header.is_text() {
                        true => classes.place(header.text(element), labels.len()),
                        false => header.integer(element),
                    };
                    labels.push(label);
                }
            })?;
            header.all_there(length, read, &mut reader)?;
            Ok((labels, header.is_text()))
        })?;
        if let Some(what) = classes.wrong {
            return Err(self.refuse(77, what));
        }
        if text && !classes.stated && !share.whole {
            let what = format!("the labels {array} are text, which is read whole, and the archive holds too many of them");
            return Err(self.refuse(83, what).help("store the labels as integers, and the names as class_names"));
        }
        Ok(classes.sorted(labels))
    }

    /// The names that an array of text lists; none if it is another kind of array.
    fn names(&self, array: &str) -> Result<Vec<String>, Refusal> {
        let header = self.header(array)?;
        if header.shape.len() != 1 || !header.is_text() {
            return Ok(Vec::new());
        }
        if header.count > MOST_CLASSES {
            let what = format!("{array} lists {} names of classes; {MOST_CLASSES} is the limit", header.count);
            return Err(self.refuse(83, what).help("leave that array out, or store one name for every class"));
        }
        self.member(array, |header, reader| {
            let mut names = Vec::new();
            let read = stream::pieces(reader, header.bytes(), header.size, |piece| {
                names.extend(piece.chunks_exact(header.size).map(|element| header.text(element)));
            })?;
            header.all_there(header.bytes(), read, reader)?;
            let names: Option<Vec<String>> = names.into_iter().map(|name| name.map(|n| escape(&n))).collect();
            names.ok_or_else(|| Fault::Malformed("holds text that is not Unicode".to_owned()))
        })
    }
}

/// The places of labels that are text.
struct Classes {
    places: HashMap<String, i64>,
    names: Vec<String>,
    /// Whether the archive lists the names.
    stated: bool,
    /// A sentence about the first label that is wrong.
    wrong: Option<String>,
}

impl Classes {
    fn of(names: Vec<String>) -> Classes {
        let places = names.iter().cloned().zip(0..).collect();
        Classes { places, stated: !names.is_empty(), names, wrong: None }
    }

    /// The place of the label of a row: that of its name, or, where no names are stated, the next one.
    fn place(&mut self, label: Option<String>, row: usize) -> i64 {
        let Some(label) = label else {
            self.wrong.get_or_insert_with(|| format!("the label of row {row} is text that is not Unicode"));
            return -1;
        };
        if let Some(&place) = self.places.get(&label) {
            return place;
        }
        if self.stated || self.names.len() == MOST_CLASSES {
            let why =
                if self.stated { "which is not the name of a class".to_owned() } else { format!("after {MOST_CLASSES} others") };
            self.wrong.get_or_insert_with(|| format!("row {row} has the label {}, {why}", shown(&label)));
            return -1;
        }
        let place = self.names.len() as i64;
        self.names.push(label.clone());
        self.places.insert(label, place);
        place
    }

    /// The labels and the names: as stated, or in the order of their bytes.
    fn sorted(self, labels: Vec<i64>) -> (Vec<i64>, Vec<String>) {
        if self.stated || self.names.is_empty() {
            return (labels, self.names);
        }
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        order.sort_by(|&a, &b| self.names[a].cmp(&self.names[b]));
        let mut to = vec![0; order.len()];
        order.iter().zip(0..).for_each(|(&from, place)| to[from] = place);
        (labels.into_iter().map(|y| to[y as usize]).collect(), order.iter().map(|&at| self.names[at].clone()).collect())
    }
}
