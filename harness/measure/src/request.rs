//! The syntax of `--attack` and `--metric`: `pgd:steps=20,target=random`, `ams:at=adv:(pgd:steps=5,alpha=1/255)`.
//! Separates the arguments of the host from those of the component; knows no component.
//!
//! ```text
//! request  = id [":" argument {"," argument}]       id       = [plugin "/"] component
//! argument = key "=" value                          value    = text without a comma, or with it inside brackets
//! and      = "adv:" attack
//! at       = "clean" | ("adv:" | "path:") attack    attack   = "(" request ")", or a request of one argument at most
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::attack::Batch;
use flatscape_intake::random::{Law, Place, fill};
use flatscape_intake::refusal::{Refusal, escape};

/// A component by name, with its arguments as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Id of the component: `pgd`, or `plugin/pgd` where the plugin is named.
    pub id: String,
    /// Arguments for the component, as written, without blanks around them; no key twice.
    pub arguments: Vec<(String, String)>,
    /// `target=…`, an argument of the host: the class that an attack aims at.
    pub target: Option<Target>,
    /// `at=…`, an argument of the host: the points at which a metric is taken.
    pub at: Option<At>,
    /// `and=adv:…`, an argument of the host: a second attack for a metric that looks at the points of two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<Box<Request>>,
    /// `on=survivors`, an argument of the host: an attack runs on the samples that no attack before it has broken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub survivors: bool,
    /// `via=…`, an argument of the host: what an attack sees and differentiates in place of the model, by the name of a remedy or of a
    /// model that examples are transferred from. The judge is always the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// `when=masked`, an argument of the host: an attack runs only where the attacks before it show that gradients are masked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub when_masked: bool,
}

/// The class that a targeted attack aims at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Untargeted: away from the label.
    None,
    /// The most likely wrong class of the clean point.
    Second,
    /// The least likely class of the clean point.
    LeastLikely,
    /// A wrong class drawn at random, the same for every model.
    Random,
    /// This class, counted from 0; samples of this class aim at their most likely wrong class.
    Class(u32),
}

/// Names of the targets, as they are written; a class number is a target, too.
pub const TARGETS: &[(&str, Target)] =
    &[("none", Target::None), ("second", Target::Second), ("least-likely", Target::LeastLikely), ("random", Target::Random)];

/// The points at which a metric is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum At {
    /// The images.
    Clean,
    /// The last iterates of an attack.
    Adversarial(Box<Request>),
    /// The images and every iterate of an attack.
    Path(Box<Request>),
}

impl Request {
    /// Whether targets are chosen by the scores of the clean points, here or where a metric's images are moved.
    pub fn reads_scores(&self) -> bool {
        let own = !matches!(self.target, None | Some(Target::None));
        own || self.attack().is_some_and(Request::reads_scores)
    }

    /// Reads `[PLUGIN/]ID[:k=v,...]`.
    ///
    /// # Errors
    /// Usage errors: no id, brackets that do not match, an argument without `=` or given twice, an unknown target, an `at` that is
    /// none of `clean`, `adv:ATTACK` and `path:ATTACK`.
    pub fn parse(text: &str) -> Result<Request, Refusal> {
        Request::read(text, 0)
    }

    /// `depth` is the number of `at=` around this request.
    fn read(text: &str, depth: usize) -> Result<Request, Refusal> {
        let (id, rest) = text.split_once(':').unwrap_or((text, ""));
        let mut request = Request { id: id.trim().to_owned(), ..Request::default() };
        if !is_id(&request.id) {
            let why = format!("\"{}\" does not begin with the id of a component", escape(text));
            return Err(Refusal::usage(91, why).help("write NAME or PLUGIN/NAME, for example pgd, then :key=value,key=value"));
        }
        let mut keys: Vec<&str> = Vec::new();
        for argument in arguments(rest).map_err(|why| malformed(text, why))? {
            let Some((key, value)) = argument.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
                return Err(malformed(text, &format!("\"{}\" has no value", escape(argument))));
            };
            if key.is_empty() || value.is_empty() {
                return Err(malformed(text, &format!("\"{}\" is not key=value", escape(argument))));
            }
            if keys.contains(&key) {
                return Err(malformed(text, &format!("\"{}\" is given twice", escape(key))));
            }
            keys.push(key);
            match key {
                "target" => request.target = Some(value.parse()?),
                "at" | "and" | "on" | "when" if depth > 0 => {
                    return Err(malformed(text, &format!("the attack of a metric takes no {key}= of its own")));
                }
                "on" if value == "all" => {}
                "on" if value == "survivors" => request.survivors = true,
                "on" => {
                    let why = format!("\"{}\" is not a set of samples", escape(value));
                    return Err(Refusal::usage(91, why).help("write on=all or on=survivors"));
                }
                "via" => request.via = Some(value.to_owned()),
                "when" if value == "masked" => request.when_masked = true,
                "when" => {
                    let why = format!("\"{}\" is not a condition", escape(value));
                    return Err(Refusal::usage(91, why).help("write when=masked"));
                }
                "at" => request.at = Some(At::read(value, depth)?),
                "and" => match At::read(value, depth)? {
                    At::Adversarial(attack) => request.second = Some(attack),
                    _ => return Err(malformed(text, "and= takes adv:ATTACK")),
                },
                _ => request.arguments.push((key.to_owned(), value.to_owned())),
            }
        }
        Ok(request)
    }

    /// The arguments as one text: those of the component in the order in which they were written, then those of the host, with
    /// everything that they name; empty without arguments. [`Request::parse`] reads `id:spelled` back as the same request.
    pub fn spelled(&self) -> String {
        let pairs: Vec<String> = self.pairs().iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(",")
    }

    /// Every argument with its spelling, in the order of [`Request::spelled`].
    fn pairs(&self) -> Vec<(&str, String)> {
        let mut pairs: Vec<(&str, String)> = self.arguments.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
        pairs.extend(self.via.iter().map(|via| ("via", via.clone())));
        pairs.extend(self.survivors.then(|| ("on", "survivors".to_owned())));
        pairs.extend(self.when_masked.then(|| ("when", "masked".to_owned())));
        pairs.extend(self.target.map(|target| ("target", target.to_string())));
        pairs.extend(self.at.as_ref().map(|at| ("at", at.to_string())));
        let second = self.second.as_ref().map(|attack| At::Adversarial(attack.clone()).to_string());
        pairs.extend(second.map(|second| ("and", second)));
        pairs
    }

    /// What an attack sees in place of the model, here or where a metric's images are moved.
    pub fn seen(&self) -> Option<&str> {
        self.via.as_deref().or_else(|| self.attack()?.via.as_deref())
    }

    /// The attack at whose points a metric is taken.
    pub fn attack(&self) -> Option<&Request> {
        match &self.at {
            Some(At::Adversarial(attack) | At::Path(attack)) => Some(attack),
            Some(At::Clean) | None => None,
        }
    }

    /// The request with every `at=` and `and=` that names an attack without arguments aimed at the first attack of that name among
    /// those of a run that sees the model itself, with its arguments. Without one it is the attack with its defaults.
    #[must_use]
    pub fn aimed(mut self, attacks: &[Request]) -> Request {
        let aim = |attack: &mut Box<Request>| {
            let named = attacks.iter().find(|other| other.id == attack.id && other.via.is_none());
            if let Some(named) = named.filter(|_| attack.spelled().is_empty()) {
                **attack = Request { survivors: false, when_masked: false, ..named.clone() };
            }
        };
        if let Some(At::Adversarial(attack) | At::Path(attack)) = &mut self.at {
            aim(attack);
        }
        self.second.iter_mut().for_each(aim);
        self
    }

    /// Whether a metric is taken along the path of an attack.
    pub fn follows_path(&self) -> bool {
        matches!(self.at, Some(At::Path(_)))
    }

    /// How a column of `samples.csv` calls a quantity of this component, from the label of the request in its plan ([`labels`]):
    /// `ams`, `ams@adv:pgd`, `phi_sum:grid=3`, `plugin/ams`.
    pub fn placed(&self, name: &str, label: &str) -> String {
        let plugin = self.id.split_once('/').map_or(String::new(), |(plugin, _)| format!("{plugin}/"));
        format!("{plugin}{name}{}", label.strip_prefix(&self.id).unwrap_or(label))
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spelled = self.spelled();
        if spelled.is_empty() { f.write_str(&self.id) } else { write!(f, "{}:{spelled}", self.id) }
    }
}

/// A short label for each request of a plan: the id, then the arguments that differ between the requests of one id, joined by `;`:
/// `pgd`, `pgd:steps=50;alpha=0.01`, `phi:grid=3`, `ams@adv:pgd:steps=5`. No label holds a comma, and different requests have
/// different labels.
pub fn labels(requests: &[Request]) -> Vec<String> {
    let mut labels: Vec<String> = requests.iter().map(|request| short(request, requests)).collect();
    for index in 0..labels.len() {
        // the same arguments in another order, or a comma that became a semicolon: then everything is said, and a number if need be
        let differs = |other: usize| labels[other] == labels[index] && requests[other] != requests[index];
        if let Some(equal) = (0..index).find(|&other| requests[other] == requests[index]) {
            labels[index] = labels[equal].clone();
        } else if (0..index).any(differs) {
            let whole = requests[index].to_string().replace(',', ";");
            let numbered = (2..).map(|k| format!("{whole}#{k}"));
            let free = std::iter::once(whole.clone()).chain(numbered).find(|label| !labels.contains(label));
            labels[index] = free.unwrap_or(whole);
        }
    }
    labels
}

/// The label of one request among others; for equal arguments in another order it is not unique.
fn short(request: &Request, all: &[Request]) -> String {
    let same: Vec<&Request> = all.iter().filter(|other| other.id == request.id).collect();
    let own = request.pairs();
    let differing = own.iter().filter(|(key, value)| {
        *key != "at" && same.iter().any(|other| !other.pairs().iter().any(|(k, v)| k == key && v == value))
    });
    let differing: Vec<String> = differing.map(|(key, value)| format!("{key}={}", value.replace(',', ";"))).collect();
    let arguments = if differing.is_empty() { String::new() } else { format!(":{}", differing.join(";")) };
    let attack = request.attack().map_or(String::new(), |attack| {
        let attacks: Vec<Request> = same.iter().filter_map(|other| other.attack()).cloned().collect();
        format!("@{}:{}", if request.follows_path() { "path" } else { "adv" }, short(attack, &attacks))
    });
    format!("{}{arguments}{attack}", request.id)
}

impl At {
    fn read(value: &str, depth: usize) -> Result<At, Refusal> {
        let (place, attack) = value.split_once(':').map_or((value, None), |(place, attack)| (place.trim(), Some(attack.trim())));
        let along: Option<fn(Box<Request>) -> At> = match place {
            "adv" => Some(At::Adversarial),
            "path" => Some(At::Path),
            _ => None,
        };
        match (along, attack) {
            (None, None) if value == "clean" => Ok(At::Clean),
            (Some(along), Some(attack)) => {
                let inner = attack.strip_prefix('(').and_then(|a| a.strip_suffix(')')).unwrap_or(attack);
                Ok(along(Box::new(Request::read(inner, depth + 1)?)))
            }
            _ => {
                let why = format!("a metric cannot be taken at \"{}\"", escape(value));
                Err(Refusal::usage(91, why).help(
                    "write at=clean, at=adv:ATTACK or at=path:ATTACK, for example at=adv:pgd or at=adv:(pgd:steps=5,alpha=1/255)",
                ))
            }
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Clean => f.write_str("clean"),
            At::Adversarial(attack) | At::Path(attack) => {
                let place = if matches!(self, At::Path(_)) { "path" } else { "adv" };
                let plain = attack.spelled().is_empty();
                if plain { write!(f, "{place}:{}", attack.id) } else { write!(f, "{place}:({attack})") }
            }
        }
    }
}

fn malformed(text: &str, why: &str) -> Refusal {
    let help =
        "write NAME:key=value,key=value, for example pgd:steps=20,alpha=2/255; a value that holds commas stands in brackets";
    Refusal::usage(91, format!("in \"{}\": {why}", escape(text))).help(help)
}

/// `pgd`, or `plugin/pgd`: the characters of ids, each part of at least one.
fn is_id(id: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    match id.split_once('/') {
        Some((plugin, component)) => part(plugin) && part(component),
        None => part(id),
    }
}

/// The parts between the commas that stand outside all brackets, without blanks around them and without empty ones. The error is a
/// clause.
///
/// # Errors
/// Brackets do not match, or there is a control character.
pub fn arguments(text: &str) -> Result<Vec<&str>, &'static str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or("a bracket is closed that was not opened")?,
            ',' if depth == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            c if c.is_control() => return Err("there is a control character"),
            _ => {}
        }
    }
    if depth > 0 {
        return Err("a bracket is not closed");
    }
    parts.push(text[from..].trim());
    parts.retain(|part| !part.is_empty());
    Ok(parts)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, TARGETS.iter().find(|(_, target)| target == self)) {
            (Target::Class(class), _) => write!(f, "{class}"),
            (_, Some((name, _))) => f.write_str(name),
            (_, None) => Err(fmt::Error),
        }
    }
}

impl std::str::FromStr for Target {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Target, Refusal> {
        let named = TARGETS.iter().find(|(name, _)| *name == text).map(|(_, target)| *target);
        named.or_else(|| text.parse().ok().map(Target::Class)).ok_or_else(|| {
            let names: Vec<&str> = TARGETS.iter().map(|t| t.0).collect();
            let why = format!("\"{}\" is not a target", escape(text));
            Refusal::usage(91, why).help(format!("the targets are {} and class numbers from 0", names.join(", ")))
        })
    }
}

impl Target {
    /// Refuses a class that a model with this many classes does not have.
    ///
    /// # Errors
    /// A usage error.
    pub fn check(self, classes: usize) -> Result<(), Refusal> {
        match self {
            Target::Class(class) if class as usize >= classes => {
                let why = format!("target={class}: the model has the classes 0 to {}", classes.saturating_sub(1));
                Err(Refusal::usage(91, why).help("choose one of them"))
            }
            _ => Ok(()),
        }
    }

    /// The batch with the desired classes filled in, from the logits of the clean points.
    pub fn aim(self, batch: &Batch, logits: &[Vec<f64>], seed: u64, component: &str) -> Batch {
        let choose = |row: usize| -> i64 {
            let label = batch.y[row] as usize;
            let wrong: Vec<usize> = (0..logits[row].len()).filter(|&c| c != label).collect();
            let by_logit = |a: &&usize, b: &&usize| logits[row][**a].total_cmp(&logits[row][**b]);
            let class = match self {
                Target::None => Some(label),
                Target::Class(class) if class as usize != label => Some(class as usize),
                Target::Second | Target::Class(_) => wrong.iter().max_by(by_logit).copied(),
                Target::LeastLikely => wrong.iter().min_by(by_logit).copied(),
                Target::Random => {
                    let mut draw = [0f32; 1];
                    fill(Law::Uniform, Place::new(seed, component, "target").sample(batch.ids[row]), &mut draw);
                    let share = (f64::from(draw[0]) + 1.0) / 2.0;
                    wrong.get(((share * wrong.len() as f64) as usize).min(wrong.len().saturating_sub(1))).copied()
                }
            };
            class.unwrap_or(label) as i64
        };
        Batch { target: (0..batch.len()).map(choose).collect(), ..batch.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Request {
        Request::parse(text).expect(text)
    }

    fn labelled(texts: &[&str]) -> Vec<String> {
        labels(&texts.iter().map(|text| read(text)).collect::<Vec<_>>())
    }

    #[test]
    fn an_attack_without_arguments_is_that_of_the_run() {
        let attacks = ["pgd:steps=7,via=straight-through,on=survivors", "pgd:steps=50,on=survivors", "fgsm"].map(read);
        let aimed = |text: &str| read(text).aimed(&attacks).to_string();
        assert_eq!(aimed("ams:at=adv:pgd"), "ams:at=adv:(pgd:steps=50)");
        assert_eq!(aimed("ams:at=path:pgd,x=1"), "ams:x=1,at=path:(pgd:steps=50)");
        assert_eq!(aimed("ssim:at=adv:fgsm,and=adv:pgd"), "ssim:at=adv:fgsm,and=adv:(pgd:steps=50)");
        for unchanged in ["ams", "ams:at=clean", "ams:at=adv:(pgd:steps=5)", "ams:at=adv:bim"] {
            assert_eq!(aimed(unchanged), unchanged);
        }
    }

    #[test]
    fn requests_separate_the_host_from_the_component() {
        let request = read(" pgd : steps = 20, alpha=2/255 ,target=random,");
        assert_eq!(request.arguments, [("steps".into(), "20".into()), ("alpha".into(), "2/255".into())]);
        assert_eq!(request.target, Some(Target::Random));
        assert_eq!(request.to_string(), "pgd:steps=20,alpha=2/255,target=random");
        assert_eq!(read("other/pgd:target=7").target, Some(Target::Class(7)));
        assert_eq!(read("c:loss=(a,b=c),x=1").arguments, [("loss".into(), "(a,b=c)".into()), ("x".into(), "1".into())]);
    }

    #[test]
    fn what_a_metric_names_is_part_of_its_identity() {
        let brief = read("ams:at=adv:pgd:steps=1");
        assert_eq!(brief.spelled(), "at=adv:(pgd:steps=1)");
        assert_ne!(brief.spelled(), read("ams:at=adv:pgd:steps=50").spelled());
        assert_eq!(brief, read("ams:at=adv:(pgd:steps=1)"));
        assert_eq!(read("ams:at=adv:pgd").spelled(), "at=adv:pgd");
        assert_eq!(read("ams:at=adv:(pgd)"), read("ams: at = adv: pgd"));
        let long = read("ams:at=adv:( pgd: steps=5, alpha=1/255 ),x=1");
        assert_eq!(long.to_string(), "ams:x=1,at=adv:(pgd:steps=5,alpha=1/255)");
    }

    #[test]
    fn a_malformed_request_is_a_sentence() {
        for (bad, sentence) in [
            ("pgd:steps", "in \"pgd:steps\": \"steps\" has no value"),
            ("pgd:steps=", "in \"pgd:steps=\": \"steps=\" is not key=value"),
            ("pgd:steps=1,steps=2", "in \"pgd:steps=1,steps=2\": \"steps\" is given twice"),
            ("pgd:target=nobody", "\"nobody\" is not a target"),
            ("pgd:on=moon", "\"moon\" is not a set of samples"),
            ("pgd:target=-1", "\"-1\" is not a target"),
            ("ams:at=moon", "a metric cannot be taken at \"moon\""),
            ("ams:at=adv:(pgd", "in \"ams:at=adv:(pgd\": a bracket is not closed"),
            ("ams:at=adv:pgd)", "in \"ams:at=adv:pgd)\": a bracket is closed that was not opened"),
            ("ams:at=adv:", "\"\" does not begin with the id of a component"),
            ("ams:at=adv:(pgd)(fgsm)", "\"pgd)(fgsm\" does not begin with the id of a component"),
            ("ams:at=adv:(pgd:at=clean)", "in \"pgd:at=clean\": the attack of a metric takes no at= of its own"),
            ("", "\"\" does not begin with the id of a component"),
            ("../pgd/x", "\"../pgd/x\" does not begin with the id of a component"),
        ] {
            let error = Request::parse(bad).expect_err(bad);
            assert_eq!((error.what.as_str(), error.class.exit_code()), (sentence, 2), "{bad}");
            assert!(error.help.is_some(), "{bad}");
        }
    }

    #[test]
    fn labels_say_what_differs() {
        assert_eq!(labelled(&["pgd:steps=5", "fgsm"]), ["pgd", "fgsm"]);
        assert_eq!(labelled(&["pgd", "pgd:steps=50,alpha=0.01"]), ["pgd", "pgd:steps=50;alpha=0.01"]);
        assert_eq!(labelled(&["phi:grid=3,directions=1", "phi:grid=7,directions=1"]), ["phi:grid=3", "phi:grid=7"]);
        assert_eq!(
            labelled(&["ams", "ams:at=adv:pgd:steps=1", "ams:at=adv:(pgd:steps=50,restarts=1)", "ams:at=adv:fgsm"]),
            ["ams", "ams@adv:pgd:steps=1", "ams@adv:pgd:steps=50;restarts=1", "ams@adv:fgsm"]
        );
        assert_eq!(labelled(&["ams:at=path:pgd", "ams:at=adv:pgd"]), ["ams@path:pgd", "ams@adv:pgd"]);
        assert_eq!(labelled(&["pgd:target=3", "pgd:target=second"]), ["pgd:target=3", "pgd:target=second"]);
        // the same arguments in another order
        assert_eq!(labelled(&["pgd:a=1,b=2", "pgd:b=2,a=1"]), ["pgd", "pgd:b=2;a=1"]);
    }

    #[test]
    fn columns_are_labels_with_the_name_of_the_quantity() {
        let metrics = ["phi:grid=3,at=adv:pgd", "phi:grid=5,at=adv:pgd", "other/phi"].map(read);
        let labels = labels(&metrics);
        let placed: Vec<String> = metrics.iter().zip(&labels).map(|(m, label)| m.placed("phi_sum", label)).collect();
        assert_eq!(placed, ["phi_sum:grid=3@adv:pgd", "phi_sum:grid=5@adv:pgd", "other/phi_sum"]);
    }

    /// Requests drawn by number: ids, arguments and places of a small stock, so that many are nearly equal.
    fn drawn(number: u64) -> Request {
        let mut dice = [0f32; 24];
        fill(Law::Uniform, Place::new(1, "requests", "test").sample(number), &mut dice);
        let mut dice = dice.iter().map(|v| f64::midpoint(f64::from(*v), 1.0));
        let mut choose = |count: usize| ((dice.next().unwrap_or(0.0) * count as f64) as usize).min(count - 1);
        let mut one = |depth: usize| {
            let mut request = read(["pgd", "other/pgd", "ams"][choose(3)]);
            for key in ["steps", "alpha", "loss"] {
                if choose(2) == 1 {
                    request.arguments.insert(0, (key.into(), ["1", "2/255", "(a,b)", "(a;b)"][choose(4)].into()));
                }
            }
            if choose(2) == 1 {
                request.arguments.reverse();
            }
            request.target = [None, Some(Target::Random), Some(Target::Class(3)), Some(Target::None)][choose(4)];
            request.survivors = depth == 0 && choose(4) == 0;
            if depth == 0 && choose(4) == 0 {
                request.at = Some(At::Clean);
            }
            request
        };
        let mut request = one(0);
        if number.is_multiple_of(3) {
            let attack = Box::new(one(1));
            request.at = Some(if number.is_multiple_of(2) { At::Path(attack) } else { At::Adversarial(attack) });
        }
        request
    }

    #[test]
    fn what_is_spelled_is_read_back_and_labels_are_distinct() {
        let mut all: Vec<Request> = Vec::new();
        for number in 0..400 {
            let request = drawn(number);
            assert_eq!(read(&request.to_string()), request);
            if !all.contains(&request) {
                all.push(request);
            }
        }
        assert!(all.len() > 200, "{} different requests", all.len());
        for plan in [all.as_slice(), &all[..2], &all[2..10], &all[10..50]] {
            let mut labels = labels(plan);
            assert!(labels.iter().zip(plan).all(|(label, r)| label.starts_with(&r.id) && !label.contains(',')));
            labels.sort();
            labels.dedup();
            assert_eq!(labels.len(), plan.len());
        }
        assert_eq!(labels(&[read("pgd"), read("pgd")]), ["pgd", "pgd"]);
    }

    #[test]
    fn a_target_is_a_class_number_too() {
        let batch = Batch {
            ids: vec![0, 1],
            x0: flatscape_graph::Tensor::new(&[2, 1], vec![0f32; 2]).expect("two values"),
            y: vec![2, 0],
            target: vec![2, 0],
            clean: None,
            second: None,
        };
        let logits = [vec![0.0, 1.0, 2.0], vec![2.0, 0.0, 1.0]];
        assert_eq!(Target::Class(2).aim(&batch, &logits, 0, "pgd").target, [1, 2]);
        assert!(Target::Class(2).check(3).is_ok());
        assert_eq!(Target::Class(3).check(3).expect_err("three classes").what, "target=3: the model has the classes 0 to 2");
    }
}
