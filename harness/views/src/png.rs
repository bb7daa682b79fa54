//! Writes PNG files (ISO/IEC 15948): 8 bits, grey or red-green-blue, no filter. The same pixels give the same bytes.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

/// A picture as a PNG file. `pixels` are `[height, width, channels]`, with 1 or 3 channels.
pub(crate) fn encode(width: usize, height: usize, channels: usize, pixels: &[u8]) -> Vec<u8> {
    let mut rows = Vec::with_capacity(pixels.len() + height);
    for row in pixels.chunks(width * channels) {
        rows.push(0);
        rows.extend_from_slice(row);
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(6));
    // writing into a vector cannot fail
    let packed = encoder.write_all(&rows).and_then(|()| encoder.finish()).unwrap_or_default();
    let side = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let colour = if channels == 3 { 2 } else { 0 };
    let header = [&side(width)[..], &side(height)[..], &[8, colour, 0, 0, 0]].concat();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", header), (b"IDAT", packed), (b"IEND", Vec::new())] {
        file.extend_from_slice(&side(data.len()));
        let mut sum = Crc::new();
        sum.update(kind);
        sum.update(&data);
        file.extend_from_slice(kind);
        file.extend_from_slice(&data);
        file.extend_from_slice(&sum.sum().to_be_bytes());
    }
    file
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_decoder_by_the_standard_gets_the_pixels_back() {
        for (width, height, channels) in [(3, 2, 1), (2, 3, 3), (1, 1, 1), (28, 28, 3)] {
            let pixels: Vec<u8> = (0..width * height * channels).map(|k| (k * 37 % 251) as u8).collect();
            let file = encode(width, height, channels, &pixels);
            assert_eq!(file, encode(width, height, channels, &pixels));
            assert_eq!(&file[..8], b"\x89PNG\r\n\x1a\n");
            let mut rest = &file[8..];
            let mut data = Vec::new();
            while !rest.is_empty() {
                let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
                let (kind, body) = (&rest[4..8], &rest[8..8 + length]);
                let mut sum = Crc::new();
                sum.update(&rest[4..8 + length]);
                assert_eq!(rest[8 + length..12 + length], sum.sum().to_be_bytes());
                match kind {
                    b"IHDR" => {
                        assert_eq!(body[..8], [[0, 0, 0, width as u8], [0, 0, 0, height as u8]].concat());
                        assert_eq!(body[8..], [8, if channels == 3 { 2 } else { 0 }, 0, 0, 0]);
                    }
                    b"IDAT" => data.extend_from_slice(body),
                    _ => assert!(kind == b"IEND" && body.is_empty()),
                }
                rest = &rest[12 + length..];
            }
            let mut rows = Vec::new();
            flate2::read::ZlibDecoder::new(&data[..]).read_to_end(&mut rows).unwrap();
            let unfiltered: Vec<u8> = rows.chunks(1 + width * channels).flat_map(|row| row[1..].to_vec()).collect();
            assert!(rows.chunks(1 + width * channels).all(|row| row[0] == 0) && unfiltered == pixels);
        }
    }
}
