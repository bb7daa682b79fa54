//! The bytes of Pillow, and the sizes that configuration files mean.

use super::*;

const GOLDEN: &str = include_str!("../../../../tests/golden/pillow.json");

fn bytes(value: &serde_json::Value) -> Vec<u8> {
    let hex = value.as_str().expect("hexadecimal");
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal")).collect()
}

fn sizes(value: &serde_json::Value) -> Vec<usize> {
    value.as_array().expect("a list").iter().map(|v| v.as_u64().expect("a number") as usize).collect()
}

#[test]
fn every_filter_gives_the_bytes_of_pillow() {
    let golden: serde_json::Value = serde_json::from_str(GOLDEN).expect("JSON");
    let images: Vec<Picture> = golden["images"]
        .as_array()
        .expect("images")
        .iter()
        .map(|image| Picture { shape: sizes(&image["shape"]).try_into().expect("three"), pixels: bytes(&image["pixels"]) })
        .collect();
    let cases = golden["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 84);
    for case in cases {
        let image = &images[case["image"].as_u64().expect("a number") as usize];
        let filter = Filter::named(case["filter"].as_str().expect("a name")).expect("a filter");
        let [h, w] = sizes(&case["size"])[..] else { panic!("two") };
        let found = image.resized(h, w, filter);
        assert_eq!(found.shape, [image.shape[0], h, w]);
        let wrong = found.pixels.iter().zip(bytes(&case["pixels"])).filter(|(a, b)| **a != *b).count();
        assert_eq!(wrong, 0, "{:?} to {h}x{w} {}: of {} pixels", image.shape, filter.name(), found.pixels.len());
    }
}

#[test]
fn sizes_are_those_of_the_configuration_files() {
    let parse = |text: &str| Resize::parse(text).expect(text);
    assert_eq!(parse("224x192:bicubic"), Resize { size: Size::Exactly(224, 192), filter: Filter::Bicubic });
    assert_eq!(parse("256"), Resize { size: Size::ShortestEdge(256), filter: Filter::Bilinear });
    assert_eq!(parse("256").text(), "256:bilinear");
    // int(256 · 500 / 375) = 341
    assert_eq!(Picture::fitted([375, 500], Some(parse("256")), None), [256, 341]);
    assert_eq!(Picture::fitted([500, 375], Some(parse("256")), Some(Crop::parse("224").expect("a crop"))), [224, 224]);
    for (text, says) in [
        ("224x", "is not a size"),
        ("0x3", "is not a size"),
        ("99999", "is not a size"),
        ("224:bicubi", "did you mean bicubic?"),
        ("a", "HEIGHTxWIDTH"),
    ] {
        let error = Resize::parse(text).expect_err(text).to_string();
        assert!(error.contains(says), "{error}");
    }
}

/// torchvision rounds (h − n)/2 to the even neighbour, Hugging Face down.
#[test]
fn crops_take_the_middle() {
    let picture = |n: usize| Picture { shape: [1, 1, n], pixels: (0..n as u8).collect() };
    let first = |n: usize, kept: usize, to_even: bool| {
        let crop = Crop { height: 1, width: kept, to_even };
        picture(n).prepared(None, Some(crop)).expect("large enough").pixels[0]
    };
    assert_eq!([first(6, 4, true), first(7, 4, true), first(5, 4, true), first(9, 4, true)], [1, 2, 0, 2]);
    assert_eq!([first(6, 4, false), first(7, 4, false), first(5, 4, false), first(9, 4, false)], [1, 1, 0, 2]);
    let why = picture(3).prepared(None, Some(Crop { height: 1, width: 4, to_even: true })).expect_err("too small");
    assert_eq!(why, "is 1x3, smaller than the crop of 1x4");
}
