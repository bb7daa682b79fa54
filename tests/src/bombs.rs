//! Small files that inflate to gigabytes: archives whose headers tell the truth about it and archives whose headers do not. The
//! program reads what was asked for, or refuses, and takes little memory either way.

use std::io::Write as _;
use std::path::Path;

use flate2::{Compress, Compression, FlushCompress};

use crate::refusals::child;

/// The most memory that the program may take.
const MEMORY: u64 = 100 << 20;
/// The most seconds on the processor.
const SECONDS: f64 = 10.0;

/// What the bombs inflate to: 62,500,000 images of 8×8 pixels, 4 GB.
const IMAGES: usize = 62_500_000;

/// A bomb, what is asked of it, the exit code, and what is said about it.
type Case = (&'static str, fn(&Path), &'static str, i32, &'static str);

const CASES: &[Case] = &[
    ("gzip, all of it", |f| idx(f, IMAGES, IMAGES), "set -n 62500000", 4, "error[D083]"),
    ("gzip, no number", |f| idx(f, IMAGES, IMAGES), "set", 4, "-n "),
    (
        "gzip, as many as a profile takes",
        |f| idx(f, IMAGES, IMAGES),
        "set --profile quick",
        0,
        "the first 1000 of the 62500000 images",
    ),
    ("gzip, some of it", |f| idx(f, IMAGES, IMAGES), "set -n 8", 0, "only the first 8 of 62500000 images were read"),
    ("gzip that says less", |f| idx(f, 10, IMAGES), "set -n 8", 4, "error[D085]"),
    ("gzip that says more", |f| idx(f, IMAGES, 4), "set -n 8", 4, "error[D085]"),
    ("npz, all of it", |f| npz(f, "(62500000, 8, 8)", IMAGES), "d.npz -n 62500000", 4, "error[D083]"),
    ("npz, no number", |f| npz(f, "(62500000, 8, 8)", IMAGES), "d.npz", 4, "-n "),
    (
        "npz, as many as a profile takes",
        |f| npz(f, "(62500000, 8, 8)", IMAGES),
        "d.npz --profile quick",
        0,
        "the first 1000 of the 62500000 images",
    ),
    ("npz, some of it", |f| npz(f, "(62500000, 8, 8)", IMAGES), "d.npz -n 8", 0, "only the first 8 of 62500000 images were read"),
    ("npz that says less", |f| npz(f, "(10, 8, 8)", IMAGES), "d.npz -n 8", 4, "error[D08"),
    ("npz that says more", |f| npz(f, "(62500000, 8, 8)", 4), "d.npz -n 8", 4, "error[D08"),
    ("npz of one image", |f| npz(f, "(1, 62500, 64000)", IMAGES), "d.npz -n 1", 4, "error[D083]"),
    ("npz in columns", |f| columns(f, IMAGES), "d.npz -n 8", 4, "in column order"),
    (
        "npz of long names",
        |f| archive(f, &[("class_names", array("<U1000", "False", "(1000000,)", IMAGES * 64))]),
        "d.npz -n 8",
        4,
        "error[D083]",
    ),
    (
        "npz of a long header",
        |f| archive(f, &[("x", long_header()), ("y", array("|u1", "False", "(10,)", 10))]),
        "d.npz -n 8",
        4,
        "error[D084]",
    ),
    ("a folder of large pictures", |f| pictures(f, true), "set -n 30", 4, "error[D082]"),
    ("a large picture, listed often", |f| pictures(f, false), "set -n 100", 4, "error[D082]"),
];

#[test]
fn a_small_file_takes_little_memory_whatever_it_inflates_to() {
    let mut wrong = Vec::new();
    for (name, make, asked, code, says) in CASES {
        let folder = tempfile::tempdir().expect("a temporary folder");
        make(folder.path());
        let command = format!(
            "audit digits-standard --threat linf:0.1 --attack fgsm --landscapes 0 --engine tract --threads 1 --out run --data {asked}"
        );
        let ended = child::flatscape(folder.path(), &command.split(' ').collect::<Vec<_>>());
        let said = String::from_utf8_lossy(&ended.stderr);
        let unlike = |why: String| format!("{name}: {why}\n  {}", said.trim_end().replace('\n', "\n  | "));
        // images that are all black are classified wrongly, which is not what this is about
        let ends = ended.code() == *code || *code == 0 && ended.code() == 9;
        if !ends || !said.contains(says) {
            wrong.push(unlike(format!("ended with {}, expected {code} and {says:?}", ended.code())));
        }
        if ended.memory > MEMORY || ended.seconds > SECONDS {
            wrong.push(unlike(format!("takes {} MB and {:.1} s", ended.memory >> 20, ended.seconds)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases\n\n{}", wrong.len(), CASES.len(), wrong.join("\n\n"));
}

/// `set/`: IDX files that say `says` images and hold `has`.
fn idx(folder: &Path, says: usize, has: usize) {
    let set = folder.join("set");
    std::fs::create_dir(&set).expect("a folder");
    let header = |kind: u8, extents: &[usize]| {
        let mut header = vec![0, 0, 8, kind];
        extents.iter().for_each(|&n| header.extend((n as u32).to_be_bytes()));
        header
    };
    let write = |name: &str, header: Vec<u8>, zeros: usize| {
        let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        file.extend(deflated(&header, zeros));
        file.extend([0; 8]);
        std::fs::write(set.join(name), file).expect("written");
    };
    write("t10k-images-idx3-ubyte.gz", header(3, &[says, 8, 8]), has * 64);
    write("t10k-labels-idx1-ubyte.gz", header(1, &[says]), says);
}

/// `d.npz`: images of the shape `says` of which `has` are there, and as many labels as it says.
fn npz(folder: &Path, says: &str, has: usize) {
    let count: usize = says.trim_matches('(').split(',').next().and_then(|n| n.parse().ok()).expect("a number");
    let labels = array("|u1", "False", &format!("({count},)"), count);
    archive(folder, &[("x", array("|u1", "False", says, has * 64)), ("y", labels)]);
}

/// The same with images in column order.
fn columns(folder: &Path, count: usize) {
    let labels = array("|u1", "False", &format!("({count},)"), count);
    archive(folder, &[("x", array("|u1", "True", &format!("({count}, 8, 8)"), count * 64)), ("y", labels)]);
}

/// A member of an archive: what it begins with, and how many zeros follow.
type Member = (Vec<u8>, usize);

fn array(descr: &str, fortran: &str, shape: &str, zeros: usize) -> Member {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let mut start = b"\x93NUMPY\x01\x00".to_vec();
    start.extend((header.len() as u16).to_le_bytes());
    start.extend(header.as_bytes());
    (start, zeros)
}

/// A header that says that it has 4 GB, in a member that has them.
fn long_header() -> Member {
    (b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), 4_000_000_000)
}

/// `d.npz` with these deflated members. Their checksums are left out: a bomb is not read to its end.
fn archive(folder: &Path, members: &[(&str, Member)]) {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, (start, zeros)) in members {
        let data = deflated(start, *zeros);
        let name = format!("{name}.npy");
        let offset = file.len() as u32;
        let mut about = vec![20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0, 0, 0, 0, 0];
        about.extend((data.len() as u32).to_le_bytes());
        about.extend(((start.len() + zeros) as u32).to_le_bytes());
        about.extend((name.len() as u16).to_le_bytes());
        about.extend([0, 0]);
        file.extend([b"PK\x03\x04", &about[..], name.as_bytes(), &data].concat());
        let place = [&[0; 10][..], &offset.to_le_bytes()].concat();
        directory.extend([b"PK\x01\x02\x14\x00", &about[..], &place, name.as_bytes()].concat());
    }
    let count = (members.len() as u16).to_le_bytes();
    let (size, at) = ((directory.len() as u32).to_le_bytes(), (file.len() as u32).to_le_bytes());
    file.extend(directory);
    file.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &size, &at, &[0, 0]].concat());
    assert!(file.len() < 8 << 20, "a bomb is small");
    let mut out = std::fs::File::create(folder.join("d.npz")).expect("created");
    out.write_all(&file).expect("written");
}

/// A raw deflate stream: these bytes, then zeros, of which a block is compressed once and repeated.
fn deflated(start: &[u8], zeros: usize) -> Vec<u8> {
    const BLOCK: usize = 1 << 20;
    let piece = |bytes: &[u8], flush: FlushCompress| {
        let mut out = Vec::with_capacity(bytes.len() + 1024);
        Compress::new(Compression::best(), false).compress_vec(bytes, &mut out, flush).expect("compressed");
        out
    };
    let block = piece(&vec![0; BLOCK], FlushCompress::Full);
    let mut stream = piece(start, FlushCompress::Full);
    stream.extend(block.repeat(zeros / BLOCK));
    stream.extend(piece(&vec![0; zeros % BLOCK], FlushCompress::Finish));
    stream
}

/// `set/`: thirty PNG files of 10,000×10,000 black pixels, or one that a list names a hundred times.
fn pictures(folder: &Path, listed_once: bool) {
    let class = folder.join("set/0");
    std::fs::create_dir_all(&class).expect("a folder");
    let side = 10_000u32.to_be_bytes();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    file.extend(chunk(b"IHDR", &[&side[..], &side, &[8, 0, 0, 0, 0]].concat()));
    // a stream of zlib; its checksum is left out
    let pixels = [&[0x78, 0x01][..], &deflated(&[], 10_001 * 10_000)].concat();
    file.extend(chunk(b"IDAT", &pixels));
    file.extend(chunk(b"IEND", &[]));
    for number in 0..if listed_once { 30 } else { 1 } {
        std::fs::write(class.join(format!("{number}.png")), &file).expect("written");
    }
    if !listed_once {
        let lines: String = (0..100).map(|_| "0/0.png,0\n").collect();
        std::fs::write(folder.join("set/labels.csv"), format!("file,label\n{lines}")).expect("written");
    }
}

/// A chunk of a PNG file with its checksum.
fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
    let body = [kind, data].concat();
    let mut sum = flate2::Crc::new();
    sum.update(&body);
    [&(data.len() as u32).to_be_bytes()[..], &body, &sum.sum().to_be_bytes()].concat()
}
