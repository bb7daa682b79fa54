//! An image, its adversarial example and their difference as pictures. It knows pixels in [0, 1] and no model.

use flatscape_report::Pictures;

use crate::png::encode;

/// Longest side of a picture, in pixels; larger images are averaged over squares.
const LONGEST: usize = 112;

/// The three pictures of one sample. `shape` is channels, height, width; both images are [C, H, W] in [0, 1], and a pixel that is not there
/// is black.
pub fn pictures(shape: [usize; 3], x0: &[f32], x_adv: &[f32]) -> Pictures {
    let change: Vec<f32> = x0.iter().zip(x_adv).map(|(clean, adversarial)| adversarial - clean).collect();
    let largest =
        change.iter().filter(|change| change.is_finite()).fold(0.0_f64, |most, change| most.max(f64::from(change.abs())));
    let magnified = if largest > 0.0 { 0.5 / largest } else { 1.0 };
    let shown: Vec<f32> = change.iter().map(|&change| 0.5 + (magnified * f64::from(change)) as f32).collect();
    let factor = shape[1].max(shape[2]).div_ceil(LONGEST).max(1);
    let mut notes = Vec::new();
    if ![1, 3].contains(&shape[0]) {
        notes.push(format!("the mean over {} channels", shape[0]));
    }
    if factor > 1 {
        notes.push(format!("drawn at 1/{factor} of its size"));
    }
    let drawn = |image: &[f32]| draw(shape, image, factor);
    let (clean, size) = drawn(x0);
    Pictures { clean, adversarial: drawn(x_adv).0, difference: drawn(&shown).0, size, magnified, note: notes.join(", ") }
}

/// An image as a PNG file, and its width and height. What is not in [0, 1] is cut, what is not a number is black.
fn draw([channels, height, width]: [usize; 3], image: &[f32], factor: usize) -> (Vec<u8>, (usize, usize)) {
    let (rows, columns) = (height.div_ceil(factor), width.div_ceil(factor));
    let planes: Vec<Vec<usize>> = if channels == 3 { vec![vec![0], vec![1], vec![2]] } else { vec![(0..channels).collect()] };
    let mut pixels = Vec::with_capacity(rows * columns * planes.len());
    for row in 0..rows {
        for column in 0..columns {
            for plane in &planes {
                let (mut sum, mut count) = (0.0_f64, 0.0);
                for y in (row * factor..(row + 1) * factor).take_while(|&y| y < height) {
                    for x in (column * factor..(column + 1) * factor).take_while(|&x| x < width) {
                        for channel in plane {
                            sum += f64::from(image.get((channel * height + y) * width + x).copied().unwrap_or(0.0));
                            count += 1.0;
                        }
                    }
                }
                let level = (255.0 * (sum / count).clamp(0.0, 1.0)).round();
                pixels.push(level as u8);
            }
        }
    }
    (encode(columns, rows, planes.len(), &pixels), (columns, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pixels of a small picture whose rows are not compressed away: decoded by the rules of the standard.
    fn pixels(file: &[u8], width: usize) -> Vec<u8> {
        use std::io::Read;
        let length = u32::from_be_bytes(file[33..37].try_into().unwrap()) as usize;
        let mut rows = Vec::new();
        flate2::read::ZlibDecoder::new(&file[41..41 + length]).read_to_end(&mut rows).unwrap();
        rows.chunks(1 + width).flat_map(|row| row[1..].to_vec()).collect()
    }

    #[test]
    fn the_largest_change_is_black_or_white_and_no_change_is_grey() {
        let pictures = pictures([1, 1, 4], &[0.0, 0.5, 1.0, 0.25], &[0.1, 0.5, 0.8, 0.25]);
        assert_eq!(pixels(&pictures.clean, 4), [0, 128, 255, 64]);
        assert_eq!(pixels(&pictures.adversarial, 4), [26, 128, 204, 64]);
        assert_eq!(pixels(&pictures.difference, 4), [191, 128, 0, 128]);
        assert!((pictures.magnified - 2.5).abs() < 1e-6 && pictures.size == (4, 1) && pictures.note.is_empty());
    }

    #[test]
    fn colours_channels_and_large_images() {
        let colour = pictures([3, 1, 2], &[1.0, 0.0, 0.0, 1.0, 0.5, 0.5], &[1.0; 6]);
        assert_eq!(pixels(&colour.clean, 6), [255, 0, 128, 0, 255, 128]);
        let two = pictures([2, 1, 1], &[0.0, 1.0], &[0.0, 1.0]);
        assert_eq!((pixels(&two.clean, 1), two.note.as_str(), two.magnified), (vec![128], "the mean over 2 channels", 1.0));
        let image: Vec<f32> = (0..224 * 200).map(|k| (k % 2) as f32).collect();
        let large = pictures([1, 224, 200], &image, &image);
        assert_eq!((large.size, large.note.as_str()), ((100, 112), "drawn at 1/2 of its size"));
        assert!(pixels(&large.clean, 100).iter().all(|&level| level == 128));
        let odd = pictures([1, 1, 2], &[f32::NAN, 7.0], &[0.0, 7.0]);
        assert_eq!(pixels(&odd.clean, 2), [0, 255]);
    }
}
