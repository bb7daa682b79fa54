//! What a model needs that its file does not say: its name, its classes, which output answers and how pixels become its input. Comes
//! from flags, from a `card.toml` beside the model, or from metadata inside the file, in this order of precedence; nothing is guessed.

use flatscape_graph::shown;
use serde::{Deserialize, Serialize};

use crate::data::Square;
use crate::data::classes::By;
use crate::data::resize::{Crop, Resize};
use crate::model::Task;
use crate::number::number;
use crate::refusal::{Refusal, nearest};

/// How the pixels of an image lie in the input of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// [N,C,H,W].
    Nchw,
    /// [N,H,W,C].
    Nhwc,
    /// All pixels in a row, channel by channel, row by row: [N,D], [N,D,1], [N,1,D].
    Flat,
    /// All pixels in a row, channel by channel, column by column.
    FlatColumns,
    /// All pixels in a row, row by row, the channels of each pixel together.
    FlatPixels,
    /// [N,C,W,H]: rows and columns exchanged.
    Ncwh,
    /// [N,W,H,C]: rows and columns exchanged.
    Nwhc,
}

/// The layouts by their names on the command line.
pub const LAYOUTS: &[(&str, Layout)] = &[
    ("nchw", Layout::Nchw),
    ("nhwc", Layout::Nhwc),
    ("flat", Layout::Flat),
    ("flat-columns", Layout::FlatColumns),
    ("flat-pixels", Layout::FlatPixels),
    ("ncwh", Layout::Ncwh),
    ("nwhc", Layout::Nwhc),
];

impl Layout {
    /// As users write it.
    pub fn name(self) -> &'static str {
        LAYOUTS.iter().find(|(_, l)| *l == self).map_or("nchw", |(name, _)| name)
    }
}

/// The channels that a model is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue; grey images are repeated in three channels.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One; images in colour are made grey.
    Gray,
}

/// The channels by their names on the command line.
pub const CHANNELS: &[(&str, Channels)] =
    &[("rgb", Channels::Rgb), ("bgr", Channels::Bgr), ("gray", Channels::Gray), ("grey", Channels::Gray)];

impl Channels {
    /// As users write it.
    pub fn name(self) -> &'static str {
        CHANNELS.iter().find(|(_, c)| *c == self).map_or("rgb", |(name, _)| name)
    }
}

/// What is stated about preprocessing: the model is fed `(scale·x − mean)/std` for pixels x in [0,1], laid out as it wants. Where
/// images are inverted, x is 1 − x first; mean and std belong to the channels in the order in which the model is fed.
/// What is absent was not stated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// 1 for models that want [0,1], 255 for models that want 0..255.
    pub scale: Option<f64>,
    /// Per channel, or one for all.
    pub mean: Option<Vec<f64>>,
    /// Per channel, or one for all.
    pub std: Option<Vec<f64>>,
    /// How pixels lie.
    pub layout: Option<Layout>,
    /// Which channels the model is fed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// Whether dark is fed for light.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invert: Option<bool>,
    /// The middle square that is kept before images are resized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub square: Option<Square>,
    /// How 8-bit images are resized before anything else; the threat model is about the pixels that come out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<Resize>,
    /// What is kept of the resized images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<Crop>,
}

impl Preprocessing {
    /// Reads the fields as users write them: `255`, `0.4914,0.4822,0.4465`, `1/255`, `nhwc`, `224x224:bicubic`, `224x224`.
    ///
    /// # Errors
    /// Usage errors that name the field.
    pub fn parse(field: impl Fn(&str) -> Option<String>) -> Result<Preprocessing, Refusal> {
        let wrong = |name: &str, text: &str, why: &str| Refusal::usage(89, format!("{name} {}: {why}", shown(text)));
        let list = |name: &str| {
            let Some(text) = field(name) else { return Ok(None) };
            let values: Result<Vec<f64>, String> = text.split(',').map(number).collect();
            values.map(Some).map_err(|why| wrong(name, &text, &format!("an entry {why}")))
        };
        let scale = match field("scale") {
            None => None,
            Some(text) => Some(number(&text).map_err(|why| wrong("scale", &text, &why))?),
        };
        let layout = match field("layout") {
            None => None,
            Some(text) => Some(layout(&text)?),
        };
        let channels = match field("channels") {
            None => None,
            Some(text) => Some(channels(&text)?),
        };
        let invert = match field("invert").as_deref() {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(text) => return Err(wrong("invert", text, "expected true or false")),
        };
        let square = field("square").map(|text| Square::parse(&text)).transpose()?;
        let resize = field("resize").map(|text| Resize::parse(&text)).transpose()?;
        let crop = field("crop").map(|text| Crop::parse(&text)).transpose()?;
        let stated =
            Preprocessing { scale, mean: list("mean")?, std: list("std")?, layout, channels, invert, square, resize, crop };
        stated.check()?;
        Ok(stated)
    }

    /// This, completed by what `other` states.
    #[must_use]
    pub fn or(self, other: Preprocessing) -> Preprocessing {
        Preprocessing {
            scale: self.scale.or(other.scale),
            mean: self.mean.or(other.mean),
            std: self.std.or(other.std),
            layout: self.layout.or(other.layout),
            channels: self.channels.or(other.channels),
            invert: self.invert.or(other.invert),
            resize: self.resize.or(other.resize),
            // a square and a crop belong to the resize that they were stated with
            square: if self.resize.is_some() { self.square } else { self.square.or(other.square) },
            crop: if self.resize.is_some() { self.crop } else { self.crop.or(other.crop) },
        }
    }

    /// As it is written on the command line.
    pub fn text(&self) -> String {
        let flag =
            |(name, value): (&str, String)| if name == "invert" { "--invert".to_owned() } else { format!("--{name} {value}") };
        let fields = self.fields().into_iter().filter(|(name, value)| *name != "invert" || value == "true");
        fields.map(flag).collect::<Vec<_>>().join(" ")
    }

    /// What is stated, by the names of the flags.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let list = |values: &Vec<f64>| values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        let fields = [
            ("scale", self.scale.map(|s| s.to_string())),
            ("mean", self.mean.as_ref().map(list)),
            ("std", self.std.as_ref().map(list)),
            ("layout", self.layout.map(|l| l.name().to_owned())),
            ("channels", self.channels.map(|c| c.name().to_owned())),
            ("invert", self.invert.map(|i| i.to_string())),
            ("square", self.square.map(|s| s.text())),
            ("resize", self.resize.map(|r| r.text())),
            ("crop", self.crop.map(|c| c.text())),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    fn check(&self) -> Result<(), Refusal> {
        let numbers = self.scale.iter().chain(self.mean.iter().flatten()).chain(self.std.iter().flatten());
        if let Some(bad) = numbers.into_iter().find(|v| !v.is_finite()) {
            return Err(Refusal::usage(89, format!("scale, mean and std must be finite; one of them is {bad}")));
        }
        if let Some(bad) = self.scale.iter().chain(self.std.iter().flatten()).find(|v| **v <= 0.0) {
            return Err(Refusal::usage(89, format!("scale and std must be positive; one of them is {bad}")));
        }
        Ok(())
    }
}

/// A model's card.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Card {
    /// What to call the model.
    pub name: Option<String>,
    /// One or two sentences.
    pub description: Option<String>,
    /// Where it came from.
    pub source: Option<String>,
    /// Its licence.
    pub licence: Option<String>,
    /// The data set it was trained for.
    pub dataset: Option<String>,
    /// Names of its classes, in the order of its logits.
    pub classes: Vec<String>,
    /// The output that holds the scores, for models that have several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// What that output says about an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// By what classes of data and model are matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_classes: Option<By>,
    /// How pixels become its input.
    pub preprocessing: Preprocessing,
    /// How it was trained, free-form.
    pub training: toml::Table,
    /// What a file beside the model says about pixels and cannot be followed: a clause. Flags that state the preprocessing answer it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
}

const FIELDS: &[&str] = &[
    "name",
    "description",
    "source",
    "licence",
    "dataset",
    "classes",
    "output",
    "task",
    "match_classes",
    "preprocessing",
    "training",
];
const PREPROCESSING_FIELDS: &[&str] = &["scale", "mean", "std", "layout", "channels", "invert", "square", "resize", "crop"];

impl Card {
    /// Reads a `card.toml`; `path` is for messages.
    ///
    /// # Errors
    /// Usage errors: not TOML, an unknown field (with the nearest known one), a field of the wrong kind.
    pub fn parse(text: &str, path: &str) -> Result<Card, Refusal> {
        let table: toml::Table = text.parse().map_err(|e| Refusal::usage(91, format!("{path} is not well-formed TOML: {e}")))?;
        known_fields(&table, FIELDS, path)?;
        let file: CardFile = table
            .get("preprocessing")
            .and_then(toml::Value::as_table)
            .map_or(Ok(()), |p| known_fields(p, PREPROCESSING_FIELDS, &format!("[preprocessing] of {path}")))
            .and_then(|()| table.clone().try_into().map_err(|e| Refusal::usage(91, format!("{path}: {e}"))))?;
        let CardFile { name, description, source, licence, dataset, classes, output, task, match_classes, .. } = file;
        let (preprocessing, training) = (file.preprocessing, file.training);
        let inside = |e: Refusal| Refusal { what: format!("{path}: {}", e.what), ..e };
        let preprocessing = Preprocessing {
            scale: preprocessing.scale,
            mean: preprocessing.mean.map(OneOrMore::into_vec),
            std: preprocessing.std.map(OneOrMore::into_vec),
            layout: preprocessing.layout.as_deref().map(layout).transpose()?,
            channels: preprocessing.channels.as_deref().map(channels).transpose()?,
            invert: preprocessing.invert,
            square: preprocessing.square.as_deref().map(Square::parse).transpose()?,
            resize: preprocessing.resize.as_deref().map(Resize::parse).transpose()?,
            crop: preprocessing.crop.as_deref().map(Crop::parse).transpose()?,
        };
        preprocessing.check().map_err(inside)?;
        let task = task.as_deref().map(Task::parse).transpose().map_err(inside)?;
        let match_classes = match_classes.as_deref().map(By::parse).transpose().map_err(inside)?;
        Ok(Card {
            name,
            description,
            source,
            licence,
            dataset,
            classes,
            output,
            task,
            match_classes,
            preprocessing,
            training,
            open: None,
        })
    }

    /// The card inside a model file: metadata whose keys begin with `flatscape.`, e.g. `flatscape.mean = 0.4914,0.4822,0.4465`.
    /// Other metadata is ignored.
    ///
    /// # Errors
    /// As for [`Card::parse`].
    pub fn from_metadata(metadata: &[(String, String)]) -> Result<Card, Refusal> {
        let ours: toml::Table = metadata
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix("flatscape.")?.to_owned(), toml::Value::String(value.clone()))))
            .collect();
        let fields: Vec<&str> = FIELDS.iter().filter(|f| **f != "preprocessing").chain(PREPROCESSING_FIELDS).copied().collect();
        known_fields(&ours, &fields, "the metadata (flatscape.*) of the model")?;
        let text = |name: &str| ours.get(name).and_then(toml::Value::as_str).map(str::to_owned);
        Ok(Card {
            name: text("name"),
            description: text("description"),
            source: text("source"),
            licence: text("licence"),
            dataset: text("dataset"),
            classes: text("classes").map_or_else(Vec::new, |c| c.split(',').map(|c| c.trim().to_owned()).collect()),
            output: text("output"),
            task: text("task").as_deref().map(Task::parse).transpose()?,
            match_classes: text("match_classes").as_deref().map(By::parse).transpose()?,
            preprocessing: Preprocessing::parse(text)?,
            training: text("training")
                .map(|t| [("notes".to_owned(), toml::Value::String(t))].into_iter().collect())
                .unwrap_or_default(),
            open: None,
        })
    }

    /// This, completed by what `other` says.
    #[must_use]
    pub fn or(self, other: Card) -> Card {
        Card {
            name: self.name.or(other.name),
            description: self.description.or(other.description),
            source: self.source.or(other.source),
            licence: self.licence.or(other.licence),
            dataset: self.dataset.or(other.dataset),
            classes: if self.classes.is_empty() { other.classes } else { self.classes },
            output: self.output.or(other.output),
            task: self.task.or(other.task),
            match_classes: self.match_classes.or(other.match_classes),
            preprocessing: self.preprocessing.or(other.preprocessing),
            training: if self.training.is_empty() { other.training } else { self.training },
            open: self.open.or(other.open),
        }
    }
}

fn layout(text: &str) -> Result<Layout, Refusal> {
    one_of("layout", LAYOUTS, text)
}

fn channels(text: &str) -> Result<Channels, Refusal> {
    one_of("order of channels", CHANNELS, text)
}

fn one_of<T: Copy>(what: &str, all: &[(&str, T)], text: &str) -> Result<T, Refusal> {
    let names = || all.iter().map(|(name, _)| *name);
    all.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let meant = nearest(text, names()).map_or(String::new(), |n| format!("; did you mean {n}?"));
        let known = names().collect::<Vec<_>>().join(", ");
        Refusal::usage(91, format!("no {what} is called {}", shown(text))).help(format!("there are {known}{meant}"))
    })
}

fn known_fields(table: &toml::Table, fields: &[&str], place: &str) -> Result<(), Refusal> {
    let Some(unknown) = table.keys().find(|key| !fields.contains(&key.as_str())) else { return Ok(()) };
    let error = Refusal::usage(91, format!("{place} has the unknown field {}", shown(unknown)));
    Err(error.help(match nearest(unknown, fields.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("its fields are {}", fields.join(", ")),
    }))
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct CardFile {
    name: Option<String>,
    description: Option<String>,
    source: Option<String>,
    licence: Option<String>,
    dataset: Option<String>,
    classes: Vec<String>,
    output: Option<String>,
    task: Option<String>,
    match_classes: Option<String>,
    preprocessing: PreprocessingFile,
    training: toml::Table,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PreprocessingFile {
    scale: Option<f64>,
    mean: Option<OneOrMore>,
    std: Option<OneOrMore>,
    layout: Option<String>,
    channels: Option<String>,
    invert: Option<bool>,
    square: Option<String>,
    resize: Option<String>,
    crop: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(f64),
    More(Vec<f64>),
}

impl OneOrMore {
    fn into_vec(self) -> Vec<f64> {
        match self {
            OneOrMore::One(v) => vec![v],
            OneOrMore::More(v) => v,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = r#"
name = "small"
classes = ["cat", "dog"]
output = "scores"
task = "binary"
match_classes = "position"
[preprocessing]
scale = 255
mean = [0.4914, 0.4822, 0.4465]
std = 0.225
layout = "nhwc"
[training]
method = "standard"
anything = [1, 2]
"#;

    #[test]
    fn a_card_is_read_and_flags_win() {
        let card = Card::parse(CARD, "card.toml").expect("a card");
        assert_eq!((card.name.as_deref(), card.classes.len(), card.training.len()), (Some("small"), 2, 2));
        let stated = (card.output.as_deref(), card.task, card.match_classes);
        assert_eq!(stated, (Some("scores"), Some(Task::Binary), Some(By::Position)));
        let stated = [("scale", "1/255"), ("layout", "flat-columns")];
        let flags =
            Preprocessing::parse(|name| stated.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())).expect("flags");
        let both = flags.or(card.preprocessing);
        assert_eq!(both.scale, Some(1.0 / 255.0));
        assert_eq!(both.layout, Some(Layout::FlatColumns));
        assert_eq!((both.mean.expect("of the card").len(), both.std), (3, Some(vec![0.225])));
    }

    #[test]
    fn typos_and_nonsense_are_refused() {
        for (card, part) in [
            ("nmae = \"x\"", "did you mean name?"),
            ("[preprocessing]\nmaen = 0.5", "did you mean mean?"),
            ("[preprocessing]\nlayout = \"nhcw\"", "did you mean nchw?"),
            ("[preprocessing]\nstd = [0.2, 0.0]", "must be positive"),
            ("[preprocessing]\nscale = nan", "must be finite"),
            ("classes = 3", "classes"),
            ("name = ", "not well-formed"),
        ] {
            let error = Card::parse(card, "card.toml").expect_err(card);
            assert!(error.to_string().contains(part), "{error} lacks {part:?}");
            assert_eq!(error.class.exit_code(), 2);
        }
    }

    #[test]
    fn metadata_is_a_card_too() {
        let metadata = [("flatscape.mean", "0.5,0.5,0.5"), ("flatscape.classes", "a, b"), ("author", "x")];
        let metadata: Vec<(String, String)> = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let card = Card::from_metadata(&metadata).expect("a card");
        assert_eq!(card.preprocessing.mean, Some(vec![0.5; 3]));
        assert_eq!(card.classes, ["a", "b"]);
        let wrong = [("flatscape.meen".to_owned(), "1".to_owned())];
        assert!(Card::from_metadata(&wrong).expect_err("a typo").to_string().contains("did you mean mean?"));
    }
}
