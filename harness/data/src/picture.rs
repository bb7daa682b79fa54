//! One PNG or JPEG file as 8-bit grey or RGB. Says what else it met; looks at a header before it allocates, and takes no image that
//! is cut off.

use std::io::Cursor;
use std::path::Path;

use image::codecs::{jpeg::JpegDecoder, png::PngDecoder};
use image::metadata::Orientation;
use image::{ColorType, ExtendedColorType, ImageDecoder, Limits};

use super::refused;
use super::resize::Picture;
use super::stream::allowed;
use crate::files::{self, show};
use crate::refusal::{Refusal, escape};

/// Largest image file, in bytes.
const LARGEST_FILE: u64 = 64 << 20;

/// Most pixels of one image.
const MOST_PIXELS: u64 = 100_000_000;

/// An image and what was met in its file.
pub(super) struct Decoded {
    pub(super) picture: Picture,
    pub(super) sha256: String,
    /// Whether it has an EXIF rotation.
    pub(super) turned: bool,
    /// Whether it has an alpha channel that is opaque everywhere.
    pub(super) opaque: bool,
    pub(super) jpeg: bool,
}

/// Reads an image. The refusals `D001`, `D002` and `D081` say that the file cannot be read; others, that its pixels are of a kind
/// that is not taken.
pub(super) fn decode(path: &Path) -> Result<Decoded, Refusal> {
    let file = files::read(path, LARGEST_FILE).map_err(refused)?;
    let damaged = |e: image::ImageError| unreadable(path, &escape(&e.to_string()));
    let bytes = Cursor::new(&file.bytes[..]);
    let decoded = if file.bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        let decoder = PngDecoder::with_limits(bytes, limits()).map_err(damaged)?;
        if decoder.is_apng().map_err(damaged)? {
            return Err(Refusal::data(80, format!("{} is an animation", show(path))).help("store single images"));
        }
        pixels(decoder, path, file.bytes.len() as u64)?
    } else if file.bytes.starts_with(b"\xff\xd8") {
        if !jpeg_is_whole(&file.bytes) {
            return Err(unreadable(path, "the JPEG file is cut off, its end marker is missing"));
        }
        pixels(JpegDecoder::new(bytes).map_err(damaged)?, path, file.bytes.len() as u64)?
    } else {
        return Err(Refusal::data(80, format!("{} is neither a PNG nor a JPEG file, whatever its name says", show(path))));
    };
    Ok(Decoded { sha256: file.sha256, jpeg: file.bytes.starts_with(b"\xff\xd8"), ..decoded })
}

fn unreadable(path: &Path, why: &str) -> Refusal {
    Refusal::data(81, format!("{} cannot be decoded: {why}", show(path)))
}

/// Whether the segments of a JPEG file lead to its end marker. Decoders fill what is missing with grey.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // a segment: FF, kind, length of the rest
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(0xff), Some(0xff)) => at += 1,
            (Some(0xff), Some(0xd9)) => return true,
            (Some(0xff), Some(0x01 | 0xd0..=0xd7)) => at += 2,
            (Some(0xff), Some(&kind)) => {
                let Some(&[high, low]) = bytes.get(at + 2..at + 4) else { return false };
                at += 2 + usize::from(u16::from_be_bytes([high, low])).max(2);
                // coded pixels follow: FF 00 is a byte, FF D0..D7 restarts
                while kind == 0xda && at < bytes.len() {
                    let next = bytes.get(at + 1).copied();
                    if bytes[at] == 0xff && !matches!(next, Some(0x00 | 0xd0..=0xd7 | 0xff)) {
                        break;
                    }
                    at += 1 + usize::from(bytes[at] == 0xff && next != Some(0xff));
                }
            }
            _ => return false,
        }
    }
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(65_535), Some(65_535));
    limits.max_alloc = Some(512 << 20);
    limits
}

/// The pixels of a file of `size` bytes.
fn pixels(mut decoder: impl ImageDecoder, path: &Path, size: u64) -> Result<Decoded, Refusal> {
    let refuse = |number: u16, why: &str| Refusal::data(number, format!("{} {why}", show(path)));
    let (w, h) = decoder.dimensions();
    if u64::from(w) * u64::from(h) > MOST_PIXELS || w == 0 || h == 0 {
        return Err(refuse(82, &format!("says that it has {w}x{h} pixels; the limit is {MOST_PIXELS} in all")));
    }
    if decoder.total_bytes() > allowed(size) {
        let most = allowed(size);
        return Err(refuse(
            82,
            &format!("says that it has {w}x{h} pixels; {most} bytes are the limit for a file of {size} bytes"),
        ));
    }
    if matches!(decoder.original_color_type(), ExtendedColorType::Cmyk8) {
        return Err(refuse(80, "is in CMYK").help("convert it to RGB"));
    }
    let kind = decoder.color_type();
    let (channels, alpha) = match kind {
        ColorType::L8 => (1, false),
        ColorType::Rgb8 => (3, false),
        ColorType::La8 => (1, true),
        ColorType::Rgba8 => (3, true),
        _ => return Err(refuse(80, "has more than 8 bits per channel").help("convert it to 8 bits, as the model was trained on")),
    };
    let turned = decoder.orientation().is_ok_and(|o| o != Orientation::NoTransforms);
    let mut interleaved = vec![0; usize::try_from(decoder.total_bytes()).unwrap_or(0)];
    decoder.read_image(&mut interleaved).map_err(|e| unreadable(path, &escape(&e.to_string())))?;
    let step = channels + usize::from(alpha);
    if alpha && interleaved.chunks_exact(step).any(|p| p[step - 1] != 255) {
        return Err(refuse(80, "has transparent pixels").help("put it on a background and store it without an alpha channel"));
    }
    let (h, w) = (h as usize, w as usize);
    let pixels = (0..channels).flat_map(|c| interleaved.iter().skip(c).step_by(step).copied()).collect();
    Ok(Decoded {
        picture: Picture { shape: [channels, h, w], pixels },
        sha256: String::new(),
        turned,
        opaque: alpha,
        jpeg: false,
    })
}
