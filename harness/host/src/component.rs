//! Components and plugins as the host knows them, and the check of what a plugin says about itself. What arrives here was
//! written by a guest: every text and every number is looked at.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{HostError, file_name, shown};
use crate::params::{Arguments, Param, ParamType, arguments, read_value};

/// What a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Kind {
    Attack,
    Metric,
    Trainer,
    Optimizer,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Attack, Kind::Metric, Kind::Trainer, Kind::Optimizer];

    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Its number in the interface.
    pub(crate) fn code(self) -> i32 {
        self.row().1
    }

    fn row(self) -> (&'static str, i32) {
        match self {
            Kind::Attack => ("attack", flatscape_abi::ATTACK),
            Kind::Metric => ("metric", flatscape_abi::METRIC),
            Kind::Trainer => ("trainer", flatscape_abi::TRAINER),
            Kind::Optimizer => ("optimizer", flatscape_abi::OPTIMIZER),
        }
    }
}

/// What an attack looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// The worst point in the ball of radius ε.
    Budget,
    /// The smallest perturbation that succeeds.
    Minimal,
}

/// Where the points between are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Iterates {
    /// The host projects every one.
    Inside,
    /// Only what is given out at last is checked.
    Free,
}

/// A loaded plugin file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plugin {
    /// The file, canonical.
    pub path: PathBuf,
    /// As the plugin calls itself.
    pub id: String,
    /// As the plugin says.
    pub version: String,
    /// Of the file, lower-case hexadecimal.
    pub sha256: String,
    /// What kept its process in when it was loaded.
    pub sealed: flatscape_contain::sandbox::Sealed,
    /// What it said while it was loaded.
    pub notes: Vec<String>,
}

/// An attack, a metric, a trainer or an optimizer that is offered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Component {
    /// As its plugin calls it.
    pub id: String,
    /// What users type: the id, or `plugin/id` where the id is reserved for another plugin or offered by several.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// One line.
    pub summary: String,
    /// Whose idea.
    pub source: String,
    /// Its parameters, in declared order.
    pub params: Vec<Param>,
    /// For attacks.
    pub goal: Goal,
    /// For attacks.
    pub iterates: Iterates,
    /// Whether it answers a program.
    pub builds: bool,
    /// The extensions that it implements, of those this host knows: `oracle/1`, `reduce/1`, `weights/1`.
    pub extensions: Vec<String>,
    /// Where it comes from.
    #[serde(skip)]
    pub plugin: Arc<Plugin>,
}

impl Component {
    /// Completes and checks what a user wrote after the name.
    pub fn arguments(&self, pairs: &[(String, String)]) -> Result<Arguments, HostError> {
        arguments(&self.id, &self.params, pairs)
    }

    /// `plugin/id`: names this component whatever other plugins offer.
    pub fn qualified(&self) -> String {
        format!("{}/{}", self.plugin.id, self.id)
    }

    /// Whether it runs through the extension `oracle/1`.
    pub fn is_oracle(&self) -> bool {
        self.extensions.iter().any(|e| e == flatscape_abi::ORACLE_1)
    }

    /// Whether it implements the extension `weights/1`. If it builds, too, its program says which of the two does the work: a program
    /// without graphs leaves it to the extension.
    pub fn is_weights(&self) -> bool {
        self.extensions.iter().any(|e| e == flatscape_abi::WEIGHTS_1)
    }

    /// Whether it says something about all samples together, through the extension `reduce/1`.
    pub fn reduces(&self) -> bool {
        self.extensions.iter().any(|e| e == flatscape_abi::REDUCE_1)
    }
}

/// What a plugin says about itself, as it crosses the process border.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Description {
    pub id: String,
    pub version: String,
    pub components: Vec<Described>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Described {
    pub id: String,
    pub kind: i32,
    pub goal: i32,
    pub iterates: i32,
    pub summary: String,
    pub source: String,
    pub params: Vec<DescribedParam>,
    pub builds: bool,
    pub extensions: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DescribedParam {
    pub name: String,
    pub ty: i32,
    pub default: String,
    pub help: String,
    pub choices: Vec<String>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
}

/// Id of the plugin that comes with the program. A file beside the program has it before all others.
pub const STANDARD: &str = "standard";

/// Ids that belong to the plugin that comes with the program: another plugin may offer such a component, and it is then reached
/// as `plugin/id` alone.
pub const RESERVED: &[&str] = &[
    "fgsm",
    "rs-fgsm",
    "bim",
    "mim",
    "pgd",
    "apgd-ce",
    "apgd-dlr",
    "apgd-t",
    "fab-t",
    "fab",
    "square",
    "cw",
    "deepfool",
    "ddn",
    "fmn",
    "sigma-zero",
    "stadv",
    "rotation-translation",
    "spsa",
    "hopskipjump",
    "noise",
    "noise-path",
    "random-search",
    "corruptions",
    "logp",
    "ams",
    "phi",
    "likelihood-landscape",
    "relative-flatness",
    "lipschitz",
    "clever",
    "smoothing",
    "neural-collapse",
    "ssim",
    "weight-landscape",
    "interpolation",
    "mode-connection",
    "trajectory",
    "hessian-trace",
    "hessian-eigenvalues",
    "hessian-density",
    "soft-rank",
    "robust-flatness",
    "standard",
    "adversarial",
    "trades",
    "mart",
    "free",
    "fast",
    "jacobian",
    "amsreg",
    "exact-ams",
    "attack-ams",
    "input-gradient",
    "static-augmentation",
    "sam",
    "awp",
    "fam",
    "sgd",
    "adam",
    "adamw",
];

/// Names that every component of a kind understands without declaring them: the host reads these arguments itself.
pub const HOST_ARGUMENTS: &[(Kind, &str)] = &[(Kind::Metric, "at"), (Kind::Attack, "target"), (Kind::Attack, "on")];

const MOST_COMPONENTS: usize = 1000;
const MOST_PARAMS: usize = 100;

/// Checks a description and turns it into components. The error names the file, the component and the parameter.
pub(crate) fn admit(plugin: Plugin, description: Description) -> Result<(Arc<Plugin>, Vec<Component>), HostError> {
    let path = plugin.path.clone();
    let refuse = |what: String| HostError::plugin("P09", &path, format!("plugin {}: {what}", file_name(&path)));
    check_id(&description.id).map_err(|clause| refuse(format!("its id {clause}")))?;
    check_text(&description.version, 100).map_err(|clause| refuse(format!("its version {clause}")))?;
    if description.components.is_empty() || description.components.len() > MOST_COMPONENTS {
        return Err(refuse(format!(
            "it offers {} components; 1 to {MOST_COMPONENTS} are possible",
            description.components.len()
        )));
    }
    let plugin = Arc::new(plugin);
    let mut components: Vec<Component> = Vec::with_capacity(description.components.len());
    for described in description.components {
        let id = described.id.clone();
        let twice = components.iter().any(|c| c.id == id && c.kind.code() == described.kind);
        if twice {
            return Err(refuse(format!("it offers {} twice", shown(&id))));
        }
        let component = admit_component(described, &plugin)
            .map_err(|clause| refuse(format!("component \"{}\": {clause}", shown(&id))).of_component(&id))?;
        components.push(component);
    }
    Ok((plugin, components))
}

fn admit_component(described: Described, plugin: &Arc<Plugin>) -> Result<Component, String> {
    check_id(&described.id).map_err(|clause| format!("its id {clause}"))?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.code() == described.kind);
    let kind = kind.ok_or_else(|| format!("{} is not a kind of component", described.kind))?;
    let goal = match described.goal {
        flatscape_abi::BUDGET => Goal::Budget,
        flatscape_abi::MINIMAL => Goal::Minimal,
        other => return Err(format!("{other} is not a goal")),
    };
    let iterates = match described.iterates {
        flatscape_abi::INSIDE => Iterates::Inside,
        flatscape_abi::FREE => Iterates::Free,
        other => return Err(format!("{other} is not a place for iterates")),
    };
    check_text(&described.summary, 300).map_err(|clause| format!("its summary {clause}"))?;
    check_text(&described.source, 500).map_err(|clause| format!("its source {clause}"))?;
    if !described.builds && described.extensions.is_empty() {
        return Err("it has neither `build` nor an extension that runs".into());
    }
    if matches!(kind, Kind::Trainer | Kind::Optimizer) && (!described.builds || !described.extensions.is_empty()) {
        return Err(format!("it is of kind {} and must have `build` and no extension", kind.name()));
    }
    let has = |extension: &str| described.extensions.iter().any(|e| e == extension);
    if has(flatscape_abi::REDUCE_1) && (kind != Kind::Metric || !described.builds) {
        return Err("it implements reduce/1, and is not a metric with `build`".into());
    }
    if has(flatscape_abi::WEIGHTS_1) && kind != Kind::Metric {
        return Err(format!("it is of kind {} and implements weights/1, which is for metrics", kind.name()));
    }
    if described.params.len() > MOST_PARAMS {
        return Err(format!("it declares {} parameters; at most {MOST_PARAMS} are possible", described.params.len()));
    }
    let mut params: Vec<Param> = Vec::with_capacity(described.params.len());
    for param in described.params {
        let name = param.name.clone();
        let param = admit_param(param).map_err(|clause| format!("parameter \"{}\": {clause}", shown(&name)))?;
        if params.iter().any(|p| p.name == name) {
            return Err(format!("parameter \"{name}\" is declared twice"));
        }
        if HOST_ARGUMENTS.contains(&(kind, name.as_str())) {
            return Err(format!("the parameter \"{name}\" belongs to the host in every {}", kind.name()));
        }
        params.push(param);
    }
    Ok(Component {
        name: described.id.clone(),
        id: described.id,
        kind,
        summary: described.summary,
        source: described.source,
        params,
        goal,
        iterates,
        builds: described.builds,
        extensions: described.extensions,
        plugin: plugin.clone(),
    })
}

fn admit_param(described: DescribedParam) -> Result<Param, String> {
    check_id(&described.name).map_err(|clause| format!("its name {clause}"))?;
    check_text(&described.help, 300).map_err(|clause| format!("its help {clause}"))?;
    check_text(&described.default, 200).map_err(|clause| format!("its default {clause}"))?;
    let ty = match described.ty {
        flatscape_abi::FLOAT => ParamType::Float,
        flatscape_abi::INT => ParamType::Int,
        flatscape_abi::BOOL => ParamType::Bool,
        flatscape_abi::TEXT => ParamType::Text,
        other => return Err(format!("{other} is not a type of parameter")),
    };
    for choice in &described.choices {
        check_text(choice, 100).map_err(|clause| format!("a choice {clause}"))?;
    }
    if ty != ParamType::Text && !described.choices.is_empty() {
        return Err("only parameters of type text have choices".into());
    }
    let range = match (described.minimum, described.maximum) {
        (None, _) | (_, None) => return Err("its limits are not numbers".into()),
        (Some(low), Some(high)) if low == 0.0 && high == 0.0 => None,
        (Some(low), Some(high)) if low <= high => Some((low, high)),
        (Some(low), Some(high)) => return Err(format!("its limits {low} and {high} are the wrong way round")),
    };
    let DescribedParam { name, default, help, choices, .. } = described;
    let param = Param { name, ty, default, help, choices, range };
    read_value(&param, &param.default).map_err(|clause| format!("its default: {clause}"))?;
    Ok(param)
}

/// Lower case with hyphens: the ids of plugins and components and the names of parameters. The error is a clause.
pub(crate) fn check_id(id: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts = id.starts_with(|c: char| c.is_ascii_lowercase());
    if starts && id.len() <= 64 && id.chars().all(plain) && !id.ends_with('-') && !id.contains("--") {
        return Ok(());
    }
    Err(format!("\"{}\" is not of lower-case letters, digits and single hyphens, starting with a letter, at most 64", shown(id)))
}

fn check_text(text: &str, limit: usize) -> Result<(), String> {
    if text.chars().count() > limit {
        return Err(format!("is longer than {limit} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("holds control characters: \"{}\"", shown(text)));
    }
    Ok(())
}
