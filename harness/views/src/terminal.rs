//! Landscapes as characters, for people without a browser: small multiples on one scale, and the predicted class per cell.

use flatscape_report::{Surface, palette, shared_range, shown_to, significant};

/// How characters may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Characters alone.
    Plain,
    /// Characters on coloured ground (ISO 8613-6, 24 bits).
    Coloured,
}

/// From low to high; a point without a finite height is a blank.
const RAMP: &[u8] = b".:-=+*#%@";
/// Rows of a panel at most; a character is about twice as high as wide, so that a panel has two columns for each.
const ROWS: usize = 13;

/// The landscapes side by side, as many as fit into `width` characters; those of one kind have one scale.
pub fn terminal(surfaces: &[Surface], width: usize, look: Look) -> String {
    let mut out = String::new();
    for kind in surfaces.chunk_by(|a, b| (&a.kind, a.sample_id, &a.x_axis.name) == (&b.kind, b.sample_id, &b.x_axis.name)) {
        let range = shared_range(kind);
        let panels: Vec<Vec<String>> = kind.iter().map(|surface| panel(surface, range, look)).collect();
        let beside = (width / (2 * ROWS + 3)).max(1);
        for row in panels.chunks(beside) {
            for line in 0..row.iter().map(Vec::len).max().unwrap_or(0) {
                let parts: Vec<&str> = row.iter().map(|panel| panel.get(line).map_or("", String::as_str)).collect();
                let parts = parts.into_iter().map(|part| format!("{part}{}", " ".repeat(PANEL.saturating_sub(visible(part)))));
                out += parts.collect::<Vec<_>>().join("   ").trim_end();
                out.push('\n');
            }
            out.push('\n');
        }
        out += &legend(&kind[0], range, look);
    }
    out
}

/// Characters of a panel's line.
const PANEL: usize = 2 * ROWS;

/// Heading, heights, classes, and what is to be known about one landscape.
fn panel(surface: &Surface, range: (f64, f64), look: Look) -> Vec<String> {
    let mut lines = vec![shown_to(surface.heading(), PANEL - 1)];
    let (columns, rows) = (picked(surface.x_axis.values.len()), picked(surface.y_axis.values.len()));
    let middle = (columns.len() / 2, rows.len() / 2);
    let clean = rows.get(middle.1).zip(columns.get(middle.0)).and_then(|(&j, &i)| surface.class(i, j));
    // the second direction goes up
    for (at, &j) in rows.iter().enumerate().rev() {
        let cells = columns.iter().enumerate().map(|(place, &i)| {
            let centre = (place, at) == middle;
            cell(surface.height(i, j), range, look, centre)
        });
        lines.push(cells.collect());
    }
    if !surface.predicted.is_empty() {
        lines.push(String::new());
    }
    for &j in rows.iter().rev().filter(|_| !surface.predicted.is_empty()) {
        let cells = columns.iter().map(|&i| format!("{0}{0}", class(surface.class(i, j), clean)));
        lines.push(cells.collect());
    }
    let holes = surface.points_without_height();
    if holes > 0 {
        lines.push(format!("{holes} points not finite"));
    }
    lines
}

/// At most [`ROWS`] grid lines, the middle one among them.
fn picked(count: usize) -> Vec<usize> {
    let step = count.saturating_sub(1).div_ceil(ROWS - 1).max(1);
    (count / 2 % step..count).step_by(step).collect()
}

/// Two characters for one height.
fn cell(height: f64, range: (f64, f64), look: Look, centre: bool) -> String {
    if !height.is_finite() {
        return "  ".to_owned();
    }
    let share = if range.1 > range.0 { ((height - range.0) / (range.1 - range.0)).clamp(0.0, 1.0) } else { 0.5 };
    let character = char::from(RAMP[((share * RAMP.len() as f64) as usize).min(RAMP.len() - 1)]);
    let text = if centre { "()".to_owned() } else { format!("{character}{character}") };
    match look {
        Look::Plain => text,
        Look::Coloured => {
            let palette::Colour(red, green, blue) = palette::height_colour(height, range);
            let ink = if share > 0.6 { 30 } else { 97 };
            format!("\x1b[{ink};48;2;{red};{green};{blue}m{text}\x1b[0m")
        }
    }
}

/// A point for the class of the image, else the class: its digit, then letters; `?` beyond them.
fn class(class: Option<i64>, clean: Option<i64>) -> char {
    match class {
        None => ' ',
        _ if class == clean => '.',
        Some(class) => u32::try_from(class).ok().and_then(|class| char::from_digit(class, 36)).unwrap_or('?'),
    }
}

fn legend(surface: &Surface, range: (f64, f64), look: Look) -> String {
    let steps = RAMP.len() as f64;
    let ramp: String =
        (0..RAMP.len()).map(|k| cell(range.0 + (range.1 - range.0) * (k as f64 + 0.5) / steps, range, look, false)).collect();
    let axes = [&surface.x_axis.name, &surface.y_axis.name].map(|name| shown_to(name, 60));
    let reach = surface.x_axis.values.last().map_or_else(String::new, |&reach| format!(", ±{}", significant(reach, 3)));
    let marks = match surface.in_pixels() {
        true => "(): the image; below: the class, a point where it is that of the image",
        false => "(): the weights of the file",
    };
    format!(
        "{} {ramp} {}: {} around {}\nacross: {}; up: {}{reach}; {marks}\n",
        significant(range.0, 3),
        significant(range.1, 3),
        surface.height_name(),
        surface.around(&surface.label.to_string()),
        axes[0],
        axes[1]
    )
}

/// Characters that take a place on the screen.
fn visible(text: &str) -> usize {
    let mut count = 0;
    let mut escape = false;
    for character in text.chars() {
        match character {
            '\x1b' => escape = true,
            'm' if escape => escape = false,
            _ if escape => {}
            _ => count += 1,
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use flatscape_report::Axis;

    use super::*;

    fn surface(model: &str, z: impl Fn(f64, f64) -> f64) -> Surface {
        let values: Vec<f64> = (-1..=1).map(|k| 0.1 * f64::from(k)).collect();
        let axis = |name: &str| Axis { name: name.into(), values: values.clone() };
        Surface {
            model: model.into(),
            kind: "likelihood".into(),
            x_axis: axis("d"),
            y_axis: axis("e"),
            z: values.iter().flat_map(|&y| values.iter().map(move |&x| (x, y))).map(|(x, y)| z(x, y)).collect(),
            predicted: vec![3, 3, 3, 3, 3, 3, 3, 3, 11],
            ..Surface::default()
        }
    }

    #[test]
    fn heights_and_classes_side_by_side_on_one_scale() {
        let text = terminal(&[surface("steep", |x, _| 90.0 * x - 9.0), surface("flat", |_, _| 0.0)], 80, Look::Plain);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "steep                        flat");
        // −18, −9 and 0 on the scale from −20 to 0
        assert_eq!(lines[1], "..++@@                       @@@@@@");
        assert_eq!(lines[2], "..()@@                       @@()@@");
        assert_eq!(lines[4], "");
        assert_eq!(lines[5], "....bb                       ....bb");
        assert!(text.contains("−20 ..::--==++**##%%@@ 0: Δ log p (nats) around sample 0, label 0"), "{text}");
        assert!(!text.contains('\x1b'));
        let narrow = terminal(&[surface("steep", |x, _| x), surface("flat", |_, _| 0.0)], 20, Look::Plain);
        assert!(narrow.lines().any(|line| line == "flat"), "panels that do not fit stand below each other");
    }

    #[test]
    fn a_surface_over_weights_says_so_and_has_no_classes() {
        let over = surface("m", |x, y| x * x + y * y);
        let over = Surface { kind: "loss-weights".into(), loss: over.z.clone(), predicted: Vec::new(), images: Some(20), ..over };
        let text = terminal(&[over], 80, Look::Plain);
        assert!(text.contains("mean cross-entropy (nats) around the weights of the file, over 20 images"), "{text}");
        assert!(!text.contains("image;") && !text.contains("sample") && text.lines().count() == 7, "{text}");
    }

    #[test]
    fn a_hole_is_a_blank_and_is_counted_and_a_name_cannot_act() {
        let text =
            terminal(&[surface("\x1b[2J\u{202e}x", |x, y| if x > 0.05 && y > 0.05 { f64::NAN } else { x })], 80, Look::Plain);
        assert!(text.contains("1 points not finite") && !text.contains('\x1b') && !text.contains('\u{202e}'), "{text:?}");
        assert!(text.lines().nth(1).is_some_and(|line| line.len() == 4), "{text}");
        let coloured = terminal(&[surface("a", |x, _| x)], 80, Look::Coloured);
        assert!(coloured.contains("\x1b[30;48;2;253;231;37m@@\x1b[0m") || coloured.contains("\x1b[30;48;2;"), "{coloured:?}");
        assert!(terminal(&[], 80, Look::Plain).is_empty() && !terminal(&[Surface::default()], 80, Look::Plain).is_empty());
    }

    #[test]
    fn large_grids_are_thinned_around_the_image() {
        for count in [3, 13, 21, 41, 51, 1001] {
            let kept = picked(count);
            assert!(kept.len() <= ROWS && kept.contains(&(count / 2)), "{count}: {kept:?}");
            assert_eq!(kept.iter().position(|&k| k == count / 2), Some(kept.len() / 2), "{count}: {kept:?}");
        }
    }
}
