//! Small files of every format, right and wrong in one way each.

use std::io::Write;

use super::resize::Resize;
use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("written");
}

fn request(data: &Path) -> Request {
    Request::new(&data.to_string_lossy())
}

fn refusal(request: &Request) -> Refusal {
    let error = Dataset::load(request).expect_err("refused");
    assert!(error.class.exit_code() == 4 || error.class.exit_code() == 2, "{error}");
    error
}

fn idx(extents: &[u32], data: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, extents.len() as u8];
    extents.iter().for_each(|e| file.extend(e.to_be_bytes()));
    file.extend(data);
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        zip.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).expect("started");
        zip.write_all(bytes).expect("written");
    }
    zip.finish().expect("finished").into_inner()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn ints(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn idx_folders_are_read_plain_and_gzipped() {
    let dir = folder();
    write(&dir.path().join("t10k-images-idx3-ubyte.gz"), &gzip(&idx(&[2, 2, 3], &[0, 51, 255, 1, 2, 3, 4, 5, 6, 7, 8, 9])));
    write(&dir.path().join("t10k-labels-idx1-ubyte"), &idx(&[2], &[3, 0]));
    let data = Dataset::load(&request(dir.path())).expect("read");
    assert_eq!((data.shape, data.labels.as_slice(), data.len()), ([1, 2, 3], &[3, 0][..], 2));
    let batch = data.batch(0..10);
    assert_eq!((batch.x.shape(), batch.ids.as_slice()), (&[2, 1, 2, 3][..], &[0, 1][..]));
    let x: Vec<f32> = batch.x.to_vec().expect("float");
    assert_eq!(x[..3], [0.0, 51.0 / 255.0, 1.0]);
    let training = Request { split: Split::Train, ..request(dir.path()) };
    assert!(refusal(&training).what.contains("has no train-images-idx3-ubyte"));
}

#[test]
fn idx_sizes_must_match_exactly() {
    let dir = folder();
    let images = dir.path().join("t10k-images-idx3-ubyte");
    let labels = dir.path().join("t10k-labels-idx1-ubyte");
    write(&labels, &idx(&[2], &[0, 1]));
    for (bytes, part) in [
        (idx(&[2, 2, 2], &[0; 7]), "says 2×2×2, which is 8 bytes after the header, and has 7"),
        (idx(&[2, 2, 2], &[0; 9]), "and has more than 8"),
        (idx(&[u32::MAX, u32::MAX, u32::MAX], &[0; 8]), "more bytes than can be counted"),
        (idx(&[2, 2], &[0; 4]), "expected 00 00 08 03"),
        (vec![0, 0, 8, 3, 0], "truncated within its header"),
        (b"<html>".to_vec(), "does not begin as an IDX file does"),
        (vec![0x1f, 0x8b, 8, 0], "damaged gzip"),
        (idx(&[3, 2, 2], &[0; 12]), "has 3 images"),
    ] {
        write(&images, &bytes);
        let error = refusal(&request(dir.path()));
        assert!(error.what.contains(part), "{error} lacks {part:?}");
    }
}

#[test]
fn cifar_files_are_read_and_the_half_is_never_guessed() {
    let dir = folder();
    let file = dir.path().join("some_images.bin");
    let mut record = vec![7u8];
    record.extend((0..3072).map(|i| (i % 256) as u8));
    write(&file, &record.repeat(2));
    let data = Dataset::load(&request(&file)).expect("read");
    assert_eq!((data.shape, data.labels.as_slice(), data.class_names[7].as_str()), ([3, 32, 32], &[7, 7][..], "horse"));
    assert_eq!(data.notes.len(), 2, "one class only, and a copy: {:?}", data.notes);

    let cifar = dir.path().join("cifar10");
    std::fs::create_dir(&cifar).expect("created");
    std::fs::copy(&file, cifar.join("part.bin")).expect("copied");
    let named = Request { data_dir: Some(dir.path().to_owned()), ..Request::new("cifar10") };
    let error = refusal(&named);
    assert!(error.what.contains("has no test_batch.bin"), "{error}");
    assert!(error.help.expect("help").contains("part.bin"));
    std::fs::copy(&file, cifar.join("test_batch.bin")).expect("copied");
    assert_eq!(Dataset::load(&named).expect("read").len(), 2);

    record[0] = 10;
    write(&file, &record);
    assert!(refusal(&request(&file)).what.contains("row 0 has the label 10"));
    write(&file, &record[..3000]);
    assert!(refusal(&request(&file)).what.contains("leave 3000 bytes over"));
}

#[test]
fn archives_are_read_in_every_layout() {
    let dir = folder();
    let path = dir.path().join("set.npz");
    let y = npy("<i8", "False", "(2,)", &ints(&[1, 0]));
    let bytes: Vec<u8> = (0..24).collect();
    let first = |x: Vec<u8>| {
        write(&path, &npz(&[("x", x), ("y", y.clone())]));
        let data = Dataset::load(&request(&path)).expect("read");
        (
            data.shape,
            data.batch(0..1).x.to_vec::<f32>().expect("float").iter().map(|v| (v * 255.0).round() as u8).collect::<Vec<u8>>(),
        )
    };
    assert_eq!(first(npy("|u1", "False", "(2, 3, 4)", &bytes)), ([1, 3, 4], (0..12).collect()));
    assert_eq!(first(npy("|u1", "False", "(2, 3, 2, 2)", &bytes)), ([3, 2, 2], (0..12).collect()));
    assert_eq!(first(npy("|u1", "False", "(2, 2, 2, 3)", &bytes)), ([3, 2, 2], vec![0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]));
    let (shape, pixels) = first(npy("|u1", "True", "(2, 3, 4)", &bytes));
    assert_eq!((shape, &pixels[..5]), ([1, 3, 4], &[0, 6, 12, 18, 2][..]));
    let halves: Vec<f32> = (0..24).map(|i| i as f32 / 255.0).collect();
    assert_eq!(first(npy("<f4", "False", "(2, 3, 4)", &floats(&halves))).1, (0..12).collect::<Vec<u8>>());
    let big: Vec<u8> = halves.iter().flat_map(|v| f64::from(*v).to_be_bytes()).collect();
    assert_eq!(first(npy(">f8", "False", "(2, 3, 4)", &big)).1, (0..12).collect::<Vec<u8>>());
}

#[test]
fn what_cannot_be_images_is_refused_with_row_and_value() {
    let dir = folder();
    let path = dir.path().join("set.npz");
    let x = |values: &[f32]| npy("<f4", "False", "(2, 1, 2)", &floats(values));
    let y = |values: &[i64]| npy("<i8", "False", &format!("({},)", values.len()), &ints(values));
    let good = [0.0, 0.5, 1.0, 0.25];
    for (x, y, part, help) in [
        (x(&[0.0, 0.5, f32::NAN, 0.0]), y(&[0, 1]), "row 1 has the pixel NaN", ""),
        (x(&[0.0, 0.5, 200.0, 0.0]), y(&[0, 1]), "range over [0, 200]", "divide by 255"),
        (x(&[0.0, -0.5, 1.0, 0.0]), y(&[0, 1]), "row 0 has the pixel -0.5", "--mean"),
        (x(&good), y(&[0, -1]), "row 1 has the label -1", ""),
        (x(&good), y(&[0, 1, 2]), "has 2 images and 3 labels", ""),
        (x(&good), npy("<f4", "False", "(2,)", &floats(&[0.0, 1.0])), "the labels y are floats", "int64"),
        (x(&good), npy("<i8", "False", "(2, 2)", &ints(&[0, 1, 1, 0])), "expected one label per image", "argmax"),
        (npy("|O", "False", "(2, 1, 2)", &[0; 32]), y(&[0, 1]), "never loaded", ""),
        (npy("<f4", "False", "(2, 1, 2)", &[0; 15]), y(&[0, 1]), "has 15 bytes", ""),
        (npy("<f4", "False", "(99999999999, 99999999999, 2)", &[]), y(&[0, 1]), "cannot be counted", ""),
        (npy("<i4", "False", "(2, 1, 2)", &[0; 16]), y(&[0, 1]), "integers of more than 8 bits", ""),
        (npy("|u1", "False", "(0, 1, 2)", &[]), y(&[]), "has 0 images", ""),
        (npy("|u1", "False", "(4,)", &[0; 4]), y(&[0, 1]), "expected [n,H,W]", ""),
    ] {
        write(&path, &npz(&[("x", x), ("y", y)]));
        let error = refusal(&request(&path));
        assert!(error.what.contains(part), "{error} lacks {part:?}");
        assert!(error.help.unwrap_or_default().contains(help));
    }
    write(&path, &npz(&[("images", x(&good))]));
    assert!(refusal(&request(&path)).what.contains("has no array \"x\"; it has images"));
    write(&path, b"PK\x03\x04 nonsense");
    assert!(refusal(&request(&path)).what.contains("not a readable NumPy archive"));
}

#[test]
fn a_bomb_is_refused_without_being_unpacked() {
    let huge = vec![0u8; 64 << 20];
    let mut bytes = npz(&[("x", npy("|u1", "False", "(65536, 32, 32)", &huge)), ("y", npy("<i8", "False", "(1,)", &ints(&[0])))]);
    assert!(bytes.len() < 1 << 20);
    // The directory claims that the member is 16 bytes long when compressed.
    let directory = bytes
        .windows(4)
        .rposition(|w| w == b"PK\x01\x02")
        .map(|_| bytes.windows(4).position(|w| w == b"PK\x01\x02").expect("a directory"));
    let at = directory.expect("a directory") + 20;
    bytes[at..at + 4].copy_from_slice(&16u32.to_le_bytes());
    let error = super::npz::parse(&bytes, "bomb.npz", String::new(), &Request::new("bomb.npz")).err().expect("refused");
    assert!(error.what.contains("array x"), "{error}");
}

#[test]
fn the_first_n_are_the_first_n() {
    let ten = Dataset::load(&Request { limit: Some(10), ..Request::new("digits") }).expect("shipped");
    let all = Dataset::load(&Request::new("digits")).expect("shipped");
    assert_eq!((all.len(), all.shape, ten.len()), (500, [1, 8, 8], 10));
    assert_eq!((ten.batch(3..5).x, ten.sha256.clone()), (all.batch(3..5).x, all.sha256.clone()));
    assert_eq!(all.labels[..10], ten.labels);
    let error = refusal(&Request { limit: Some(501), ..Request::new("digits") });
    assert_eq!((error.id().as_str(), error.what.as_str()), ("D076", "data set digits: asked for 501 images, found 500"));
    let fewer = Request { limit: Some(501), allow_fewer: true, ..Request::new("digits") };
    assert_eq!(Dataset::load(&fewer).expect("fewer are allowed").len(), 500);
    let training = Dataset::load(&Request { split: Split::Train, ..Request::new("digits") }).expect("shipped");
    assert_ne!(training.sha256, all.sha256);
    let shifted = Dataset::load(&Request { label_offset: 1, ..Request::new("digits") }).expect("shipped");
    assert_eq!(shifted.largest_label(), 10);
}

#[test]
fn what_is_not_there_says_where_it_looked_and_how_to_get_it() {
    let dir = folder();
    // FLATSCAPE_DATA may be set where the tests run; the folder given first decides only if it has the data set.
    let request = Request { data_dir: Some(dir.path().to_owned()), ..Request::new("mnist") };
    if let Err(error) = Dataset::load(&request) {
        assert!(error.what.contains(&dir.path().join("mnist").display().to_string()), "{error}");
        assert!(error.help.expect("help").contains("curl "));
    }
    assert!(refusal(&Request::new("fashion_mnistt")).help.expect("help").contains("fashion-mnist"));
    let text = dir.path().join("images.parquet");
    write(&text, b"PAR1");
    assert!(refusal(&super::tests::request(&text)).what.contains("does not read"));
}

fn png(path: &Path, width: u32, height: u32, kind: image::ColorType, bytes: &[u8]) {
    image::save_buffer(path, bytes, width, height, kind).expect("an image");
}

/// The first image of every class, then the second; what does not belong is counted.
#[test]
fn a_folder_of_images_is_read_class_by_class() {
    let dir = folder();
    for (class, grey) in [("b cat", 10u8), ("a dog", 20)] {
        let class = dir.path().join(class);
        std::fs::create_dir(&class).expect("created");
        for (i, name) in ["1.png", "2.PNG"].iter().enumerate() {
            png(&class.join(name), 2, 1, image::ColorType::L8, &[grey + i as u8, 255]);
        }
    }
    std::fs::write(dir.path().join("a dog/notes.txt"), b"x").expect("written");
    let data = Dataset::load(&request(dir.path())).expect("read");
    assert_eq!((data.shape, data.labels.clone()), ([1, 1, 2], vec![0, 1, 0, 1]));
    assert_eq!(data.class_names, ["a dog", "b cat"]);
    assert_eq!(data.pixels, Pixels::Bytes(vec![20, 255, 10, 255, 21, 255, 11, 255]));
    assert_eq!(data.notes, ["1 files that are neither PNG nor JPEG were left out"]);
    assert_eq!(data.files[0].0, "a dog/1.png");
    let two = Dataset::load(&Request { limit: Some(2), ..request(dir.path()) }).expect("read");
    assert_eq!(two.labels, [0, 1]);

    // colour beside grey, different sizes, an alpha channel that hides nothing
    png(&dir.path().join("b cat/3.png"), 1, 2, image::ColorType::Rgba8, &[1, 2, 3, 255, 4, 5, 6, 255]);
    let mixed = Dataset::load(&request(dir.path())).expect("read");
    let Pixels::Pictures(pictures) = &mixed.pixels else { panic!("one size") };
    assert_eq!((pictures[4].shape, pictures[4].pixels.clone()), ([3, 2, 1], vec![1, 4, 2, 5, 3, 6]));
    assert_eq!(pictures[0].pixels, [20, 255, 20, 255, 20, 255]);
    assert!(
        mixed.notes.iter().any(|n| n.starts_with("4 grey images"))
            && mixed.notes.iter().any(|n| n.starts_with("1 images have an alpha"))
    );
    let preparation = Preparation { resize: Some(Resize::parse("4x4:nearest").expect("a size")), ..Preparation::default() };
    let prepared = Dataset::load(&Request { preparation: Some(preparation), ..request(dir.path()) }).expect("prepared");
    assert_eq!((prepared.shape, prepared.sha256.clone()), ([3, 4, 4], mixed.sha256.clone()));
    assert!(prepared.notes.iter().any(|n| n.contains("--resize 4x4:nearest as Pillow does it")));
    let edge = Preparation { resize: Some(Resize::parse("4").expect("a size")), ..Preparation::default() };
    let error = mixed.prepared(edge).expect_err("two sizes").to_string();
    assert!(error.contains("leaves images of different sizes") && error.contains("--crop"), "{error}");
}

#[test]
fn images_that_are_no_plain_pixels_are_refused_by_name() {
    let deep: Vec<u8> = vec![0; 8];
    type Case<'a> = (&'a str, &'a dyn Fn(&Path), &'a str);
    let cases: [Case; 6] = [
        ("D080", &|p| png(p, 1, 1, image::ColorType::Rgba8, &[1, 2, 3, 254]), "transparent"),
        ("D080", &|p| png(p, 2, 2, image::ColorType::L16, &deep), "more than 8 bits"),
        ("D081", &|p| std::fs::write(p, b"\x89PNG\r\n\x1a\nnonsense").expect("written"), "cannot be decoded"),
        ("D080", &|p| std::fs::write(p, b"GIF89a").expect("written"), "neither a PNG nor a JPEG"),
        ("D002", &|p| std::fs::write(p, b"").expect("written"), "empty"),
        ("D082", &|p| std::fs::write(p, bomb()).expect("written"), "65000x65000"),
    ];
    for (id, make, says) in cases {
        let dir = folder();
        std::fs::create_dir(dir.path().join("a")).expect("created");
        make(&dir.path().join("a/x.png"));
        let error = refusal(&request(dir.path()));
        assert!(error.to_string().contains(&format!("error[{id}]")) && error.to_string().contains(says), "{error}");
        assert!(error.to_string().contains("x.png"), "{error}");
    }
}

/// A PNG whose header promises 65000×65000 pixels.
fn bomb() -> Vec<u8> {
    let mut bytes = Vec::new();
    image::ImageEncoder::write_image(image::codecs::png::PngEncoder::new(&mut bytes), &[0], 1, 1, image::ExtendedColorType::L8)
        .expect("an image");
    bytes[16..24].copy_from_slice(&[0, 0, 0xfd, 0xe8, 0, 0, 0xfd, 0xe8]);
    let mut crc = !0u32;
    for &byte in &bytes[12..29] {
        crc ^= u32::from(byte);
        (0..8).for_each(|_| crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 });
    }
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

#[test]
fn a_list_of_labels_stays_in_its_folder() {
    let dir = folder();
    std::fs::create_dir(dir.path().join("data")).expect("created");
    let data = dir.path().join("data");
    for name in ["x.png", "y.png"] {
        png(&data.join(name), 1, 1, image::ColorType::L8, &[7]);
    }
    png(&dir.path().join("secret.png"), 1, 1, image::ColorType::L8, &[7]);
    std::fs::write(data.join("labels.csv"), "file,label\ny.png,dog\nx.png,cat\n").expect("written");
    let read = Dataset::load(&request(&data)).expect("read");
    assert_eq!((read.labels, read.class_names), (vec![1, 0], vec!["cat".to_owned(), "dog".to_owned()]));
    for (line, says) in [
        ("../secret.png,1", "is not a plain path inside the folder"),
        ("/etc/hostname,1", "is not a plain path inside the folder"),
        ("z.png,1", "could not be read"),
        ("x.png", "expected file,label"),
    ] {
        std::fs::write(data.join("labels.csv"), format!("{line}\n")).expect("written");
        let error = refusal(&request(&data)).to_string();
        assert!(error.contains(says) && error.contains("line 1"), "{error}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(dir.path().join("secret.png"), data.join("link.png")).expect("linked");
        std::fs::write(data.join("labels.csv"), "link.png,0\n").expect("written");
        assert!(refusal(&request(&data)).to_string().contains("leaves the folder"));
    }
}

/// Text as NumPy stores it in `<U`.
fn wide(text: &str) -> Vec<u8> {
    text.chars().flat_map(|c| (c as u32).to_le_bytes()).collect()
}

#[test]
fn archives_of_other_libraries_are_read() {
    let dir = folder();
    let path = dir.path().join("set.npz");
    let images = |first: u8| npy("|u1", "False", "(2, 1, 2)", &[first, 0, 0, 0]);
    let column = |values: &[i64]| npy("<i8", "False", "(2, 1)", &ints(values));
    write(
        &path,
        &npz(&[
            ("x_train", images(1)),
            ("y_train", column(&[3, 4])),
            ("x_test", images(2)),
            ("y_test", column(&[5, 6])),
            ("class_names", npy("<U3", "False", "(2,)", &wide("catdog"))),
        ]),
    );
    let test = Dataset::load(&request(&path)).expect("read");
    assert_eq!((test.labels.clone(), test.image_len()), (vec![5, 6], 2));
    assert_eq!(test.class_names, ["cat", "dog"]);
    let train = Dataset::load(&Request { split: Split::Train, ..request(&path) }).expect("read");
    assert_eq!((train.labels, train.pixels), (vec![3, 4], Pixels::Bytes(vec![1, 0, 0, 0])));
    // text labels are names of classes
    write(&path, &npz(&[("images", images(1)), ("labels", npy("|S3", "False", "(2,)", b"dogcat"))]));
    let named = Dataset::load(&request(&path)).expect("read");
    assert_eq!((named.labels, named.class_names), (vec![1, 0], vec!["cat".to_owned(), "dog".to_owned()]));
}

/// Golden: what pandas, Excel and people write.
#[test]
fn lists_are_read_by_the_names_of_their_columns() {
    let dir = folder();
    for name in ["a.png", "b.png"] {
        png(&dir.path().join(name), 1, 1, image::ColorType::L8, &[7]);
    }
    let read = |text: &str| {
        write(&dir.path().join("labels.csv"), text.as_bytes());
        let data = Dataset::load(&request(dir.path())).expect(text);
        (data.labels, data.class_names)
    };
    let numbers = (vec![12, 3], Vec::<String>::new());
    for text in [
        "\u{feff}file,label\na.png,12.0\nb.png,3.0\n",
        ",file,label\n0,a.png,12\n1,b.png,3\n",
        "label,weight,filename\r\n12,0.5,a.png\r\n3,0.5,b.png\r\n",
        "id,label\na,12\nb,3\n",
        "a.png;12\nb.png;3\n",
        "0,a.png,12\n1,b.png,03\n",
        "\"file\",\"label\"\n\"./a.png\",\"12\"\n\n\"b.png\",\"3\"\n",
    ] {
        assert_eq!(read(text), numbers, "{text:?}");
    }
    let names = read("file,label\na.png,\"zebra, plains\"\nb.png,\"ant\"\n");
    assert_eq!(names, (vec![1, 0], vec!["ant".to_owned(), "zebra, plains".to_owned()]));
    for (text, says) in [
        ("file,a,b\na.png,1,2\n", "no column is called label"),
        ("file,label\na.png,\n", "the label is empty"),
        ("file,label\nx.png,1\ny.png,2\n", "2 files in all"),
    ] {
        write(&dir.path().join("labels.csv"), text.as_bytes());
        let error = refusal(&request(dir.path())).to_string();
        assert!(error.contains(says), "{error} lacks {says:?}");
    }
}

#[test]
fn images_that_are_cut_off_are_named_and_can_be_skipped() {
    let dir = folder();
    std::fs::create_dir(dir.path().join("a")).expect("created");
    let noise: Vec<u8> = (0..64 * 64 * 3).map(|i| (i * 7919 % 251) as u8).collect();
    for name in ["1.jpg", "2.jpg", "3.jpg", "4.jpg"] {
        png(&dir.path().join("a").join(name), 64, 64, image::ColorType::Rgb8, &noise);
    }
    let whole = std::fs::read(dir.path().join("a/1.jpg")).expect("written");
    assert_eq!(Dataset::load(&request(dir.path())).expect("whole").len(), 4);
    write(&dir.path().join("a/2.jpg"), &whole[..whole.len() / 2]);
    write(&dir.path().join("a/3.jpg"), b"");
    let error = refusal(&request(dir.path()));
    assert!(error.what.contains("2 files") && error.what.contains("2.jpg") && error.what.contains("3.jpg"), "{error}");
    assert!(error.help.clone().is_some_and(|h| h.contains("--skip-unreadable")), "{error}");
    let skipped = Request { skip_unreadable: true, limit: Some(2), ..request(dir.path()) };
    let data = Dataset::load(&skipped).expect("two are left");
    assert_eq!(data.len(), 2);
    assert_eq!((data.files[0].0.as_str(), data.files[1].0.as_str()), ("a/1.jpg", "a/4.jpg"));
    assert!(data.notes.iter().any(|n| n.contains("2 images that cannot be read were skipped")), "{:?}", data.notes);
}

#[test]
fn labels_never_become_negative() {
    let error = refusal(&Request { label_offset: -1, ..Request::new("digits") });
    assert_eq!(error.id(), "D077");
    assert!(error.what.contains("--label-offset -1 makes the label 0"), "{error}");
}

/// However an archive stores its images, the first of them are the same and the hash is that of all.
#[test]
fn a_limit_changes_what_is_held_and_not_the_hash() {
    let dir = folder();
    let path = dir.path().join("set.npz");
    let labels = || npy("|u1", "False", "(3,)", &[4, 5, 6]);
    let halves: Vec<f32> = (0..12).map(|v| v as f32 / 16.0).collect();
    let doubles: Vec<u8> = halves.iter().flat_map(|&v| f64::from(v).to_be_bytes()).collect();
    let bytes: Vec<u8> = (0..18).collect();
    let cases = [
        npz(&[("x", npy("|u1", "False", "(3, 2, 1, 3)", &bytes)), ("y", labels())]),
        npz(&[("x", npy("|u1", "True", "(3, 2, 3)", &bytes)), ("y", labels())]),
        npz(&[("x", npy(">f8", "False", "(3, 1, 2, 2)", &doubles)), ("y", labels())]),
        npz(&[("x", npy("<f4", "False", "(3, 2, 2)", &floats(&halves))), ("y", npy("|S2", "False", "(3, 1)", b"cab\0a\0"))]),
    ];
    for (number, bytes) in cases.iter().enumerate() {
        write(&path, bytes);
        let all = Dataset::load(&request(&path)).expect("read");
        let two = Dataset::load(&Request { limit: Some(2), ..request(&path) }).expect("read");
        assert_eq!((all.len(), two.len(), &two.sha256), (3, 2, &all.sha256), "case {number}");
        assert_eq!((two.batch(0..2).x, &two.labels[..]), (all.batch(0..2).x, &all.labels[..2]), "case {number}");
        assert_eq!(two.class_names, all.class_names, "case {number}");
        let error = refusal(&Request { limit: Some(4), ..request(&path) });
        assert!(error.what.contains("asked for 4 images, found 3"), "{error}");
    }
    let last = Dataset::load(&request(&path)).expect("read");
    assert_eq!((last.labels, last.class_names), (vec![2, 1, 0], ["a", "b", "ca"].map(str::to_owned).to_vec()));
}

/// What would take too much is refused by the numbers of the header; the way out is a number that fits.
#[test]
fn a_header_that_states_gigabytes_is_refused_before_they_are_read() {
    let dir = folder();
    let path = dir.path().join("set.npz");
    let labels = npy("|u1", "False", "(1000000,)", &[]);
    write(&path, &npz(&[("x", npy("|u1", "False", "(1000000, 64, 64)", &[7; 4096])), ("y", labels)]));
    let error = refusal(&request(&path));
    assert_eq!(error.id(), "D083");
    let fit: usize = error.help.as_deref().and_then(|h| h.rsplit(' ').next()?.parse().ok()).expect("a number");
    assert!((16_000..20_000).contains(&fit), "{error}");
    for (shape, id) in [("(0, 1073741824, 1073741824)", "D076"), ("(0, 4611686018427387904, 4)", "D084")] {
        let none = npy("|u1", "False", "(0,)", &[]);
        write(&dir.path().join("none.npz"), &npz(&[("x", npy("|u1", "False", shape, &[])), ("y", none)]));
        assert_eq!(refusal(&request(&dir.path().join("none.npz"))).id(), id, "{shape}");
    }
    // that many may be read; there is one
    let error = refusal(&Request { limit: Some(fit), ..request(&path) });
    assert!(error.what.contains("has 4096 bytes of them"), "{error}");
}
