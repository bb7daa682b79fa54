//! Data sets by name: their folders, where these are searched, and the command that fetches them. The digits are
//! inside the program.

use std::path::{Path, PathBuf};

use flatscape_engine::runtime::default_data_dir;

use super::stream::Behind;
use super::{Dataset, FORMATS, Request, Split, npz};
use crate::files::{self, show};
use crate::refusal::Refusal;

/// A data set with a name.
pub(super) struct Named {
    /// The name, and the name of its folder.
    pub(super) name: &'static str,
    /// Names of the classes.
    pub(super) classes: &'static [&'static str],
    home: Home,
}

enum Home {
    /// In a folder that has to be fetched; `{}` in the command is that folder.
    Fetched { format: &'static str, command: &'static str },
    /// Inside the program: the bytes of the test and the training half.
    Shipped { test: &'static [u8], train: &'static [u8], source: &'static str },
}

const DIGITS: &[&str] = &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// The names, in the order of the help.
pub(super) const NAMED: &[Named] = &[
    Named {
        name: "fashion-mnist",
        classes: &["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
        home: Home::Fetched {
            format: "IDX",
            command: "mkdir -p {} && cd {} && for f in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do \
                      curl -fLO https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/$f-ubyte.gz; done",
        },
    },
    Named {
        name: "mnist",
        classes: DIGITS,
        home: Home::Fetched {
            format: "IDX",
            command: "mkdir -p {} && cd {} && for f in train-images-idx3 train-labels-idx1 t10k-images-idx3 t10k-labels-idx1; do \
                      curl -fLO https://ossci-datasets.s3.amazonaws.com/mnist/$f-ubyte.gz; done",
        },
    },
    Named {
        name: "cifar10",
        classes: super::cifar::CLASSES,
        home: Home::Fetched {
            format: "CIFAR-10 binary",
            command: "mkdir -p {} && curl -fL https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz | tar xz --strip-components=1 -C {}",
        },
    },
    Named {
        name: "digits",
        classes: DIGITS,
        home: Home::Shipped {
            test: include_bytes!("../../../models/digits/digits-test.npz"),
            train: include_bytes!("../../../models/digits/digits-train.npz"),
            source: "shipped with flatscape: UCI handwritten digits, 8×8",
        },
    },
];

/// The data set of that name.
pub(super) fn named(name: &str) -> Option<&'static Named> {
    NAMED.iter().find(|n| n.name == name)
}

impl Named {
    /// Finds and reads one half.
    pub(super) fn load(&self, request: &Request) -> Result<(Dataset, Option<Behind>), Refusal> {
        let (mut raw, source) = match &self.home {
            Home::Shipped { test, train, source } => {
                let bytes = if request.split == Split::Test { test } else { train };
                let file = format!("{}-{}.npz", self.name, request.split.name());
                (npz::parse(bytes, &file, files::sha256(bytes), request)?, (*source).to_owned())
            }
            Home::Fetched { format, command } => {
                let places = places(request.data_dir.as_deref());
                let folders: Vec<PathBuf> = places.iter().map(|p| p.join(self.name)).collect();
                let Some(folder) = folders.iter().find(|f| f.is_dir()) else {
                    return Err(self.missing(&folders, command));
                };
                let Some(row) = FORMATS.iter().find(|f| f.name == *format) else {
                    return Err(Refusal::data(1, format!("data set {}: no format is called {format}", self.name)));
                };
                ((row.read)(folder, request)?, show(folder))
            }
        };
        raw.class_names = self.classes.iter().map(|&c| c.to_owned()).collect();
        Ok(Dataset::new(self.name.to_owned(), request.split, raw, source))
    }

    fn missing(&self, looked_in: &[PathBuf], command: &str) -> Refusal {
        let looked = looked_in.iter().map(|f| show(f)).collect::<Vec<_>>().join(", ");
        let target = default_data_dir().join("data").join(self.name);
        let command = command.replace("{}", &format!("'{}'", show(&target)));
        Refusal::data(1, format!("data set {} was not found; looked in {looked}", self.name))
            .help(format!("say --data-dir DIR or set FLATSCAPE_DATA where DIR/{} exists, or fetch it:\n  {command}", self.name))
    }
}

/// The folders that hold data sets, in the order in which they are searched.
fn places(data_dir: Option<&Path>) -> Vec<PathBuf> {
    let variable = std::env::var_os("FLATSCAPE_DATA").filter(|v| !v.is_empty()).map(PathBuf::from);
    let user = default_data_dir().join("data");
    data_dir.map(Path::to_owned).into_iter().chain(variable).chain([user, PathBuf::from("data")]).collect()
}
