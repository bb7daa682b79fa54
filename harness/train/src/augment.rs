//! Changes of training images that keep their label: one row each. Drawn by key, so that an image looks the same in the same epoch
//! whatever came before.

use flatscape_graph::Tensor;
use flatscape_intake::random::{Law, Place, fill};
use flatscape_intake::refusal::{Refusal, escape, nearest};

/// A row of the table.
pub struct Augmentation {
    /// What `--augment` takes.
    pub name: &'static str,
    /// One line of help.
    pub summary: &'static str,
    /// Changes an image of [C,H,W] in place, by two uniform numbers in (0, 1).
    apply: fn(&mut [f32], [usize; 3], [f64; 2]),
}

/// Every augmentation, in the order in which they are applied.
pub const AUGMENTATIONS: &[Augmentation] = &[
    Augmentation {
        name: "crop",
        summary: "shift by up to 4 pixels in each direction; what comes in is 0",
        apply: |image, shape, drawn| crop(image, shape, drawn.map(|u| (u * 9.0).floor().min(8.0) as isize - 4)),
    },
    Augmentation { name: "flip", summary: "exchange left and right with probability ½", apply: flip },
];

/// Shifts by rows and columns.
fn crop(image: &mut [f32], [c, h, w]: [usize; 3], [down, right]: [isize; 2]) {
    let before = image.to_vec();
    for (at, pixel) in image.iter_mut().enumerate() {
        let (channel, row, column) = (at / (h * w), (at / w % h) as isize + down, (at % w) as isize + right);
        let inside = (0..h as isize).contains(&row) && (0..w as isize).contains(&column);
        *pixel = if inside { before[channel * h * w + row as usize * w + column as usize] } else { 0.0 };
    }
    debug_assert_eq!(before.len(), c * h * w);
}

fn flip(image: &mut [f32], [_, _, w]: [usize; 3], drawn: [f64; 2]) {
    if drawn[0] < 0.5 {
        image.chunks_mut(w.max(1)).for_each(<[f32]>::reverse);
    }
}

/// Reads `crop,flip`.
///
/// # Errors
/// A usage error that lists what there is.
pub fn parse(text: &str) -> Result<Vec<String>, Refusal> {
    let names: Vec<&str> = text.split(',').map(str::trim).filter(|t| !t.is_empty()).collect();
    for name in &names {
        if !AUGMENTATIONS.iter().any(|row| row.name == *name) {
            let known = || AUGMENTATIONS.iter().map(|row| row.name);
            let near = nearest(name, known()).map_or(String::new(), |n| format!("; did you mean {n}?"));
            let what = format!("--augment {}: there is no such augmentation", escape(name));
            return Err(Refusal::usage(91, what).help(format!("there are {}{near}", known().collect::<Vec<_>>().join(", "))));
        }
    }
    Ok(AUGMENTATIONS.iter().filter(|row| names.contains(&row.name)).map(|row| row.name.to_owned()).collect())
}

/// The images of a batch, changed. `names` are those of [`parse`].
pub fn augmented(x: &Tensor, ids: &[u64], names: &[String], seed: u64, epoch: u32) -> Tensor {
    let (Some(mut data), Ok([_, c, h, w])) = (x.to_vec::<f32>(), <[usize; 4]>::try_from(x.shape())) else { return x.clone() };
    if names.is_empty() {
        return x.clone();
    }
    for (image, &id) in data.chunks_mut((c * h * w).max(1)).zip(ids) {
        for row in AUGMENTATIONS.iter().filter(|row| names.iter().any(|n| n == row.name)) {
            let mut drawn = [0f32; 2];
            fill(Law::Uniform, Place::new(seed, "augment", row.name).at(epoch, 0).sample(id), &mut drawn);
            (row.apply)(image, [c, h, w], drawn.map(|u| (f64::from(u) + 1.0) / 2.0));
        }
    }
    Tensor::new(x.shape(), data).unwrap_or_else(|| x.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_shift_and_flips_reverse_rows() {
        let mut image: Vec<f32> = (0..8).map(|v| v as f32 + 1.0).collect();
        crop(&mut image, [2, 2, 2], [1, -1]);
        assert_eq!(image, [0.0, 3.0, 0.0, 0.0, 0.0, 7.0, 0.0, 0.0]);
        let mut image = [1.0, 2.0, 3.0, 4.0];
        flip(&mut image, [1, 2, 2], [0.4, 0.0]);
        assert_eq!(image, [2.0, 1.0, 4.0, 3.0]);
        flip(&mut image, [1, 2, 2], [0.6, 0.0]);
        assert_eq!(image, [2.0, 1.0, 4.0, 3.0]);
    }

    /// Every image of every epoch has a draw of its own, whatever batch it is in; all shifts occur.
    #[test]
    fn draws_belong_to_images_and_epochs() {
        let x = Tensor::new(&[2, 1, 8, 8], (0..128).map(|v| v as f32).collect()).expect("128 numbers");
        let names = parse("flip, crop").expect("known");
        let one = |ids: &[u64], epoch| augmented(&x, ids, &names, 3, epoch);
        assert_eq!(one(&[5, 6], 0), one(&[5, 6], 0));
        assert_ne!(one(&[5, 6], 0), one(&[5, 6], 1));
        let half = |t: &Tensor, row: usize| flatscape_graph::rows(t, &[row]);
        assert_eq!(half(&one(&[5, 9], 0), 0), half(&one(&[5, 6], 0), 0));
        let mut shifts = std::collections::BTreeSet::new();
        for epoch in 0..400 {
            let mut image = vec![0f32; 81];
            image[40] = 1.0;
            let x = Tensor::new(&[1, 1, 9, 9], image).expect("81 numbers");
            let moved = augmented(&x, &[1], &["crop".to_owned()], 0, epoch).to_f64();
            shifts.insert(moved.iter().position(|&v| v == 1.0));
        }
        assert_eq!(shifts.len(), 81);
        assert!(parse("crop,flop").expect_err("unknown").to_string().contains("did you mean flip?"));
    }
}
