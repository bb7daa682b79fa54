//! What a plugin offers: components with their parameters.

use std::fmt;

use flatscape_abi as abi;

use crate::ask::{Ask, Error};
use crate::oracle::Oracle;
use crate::program::Program;
use crate::reduction::Reduction;
use crate::weights::Weights;

/// A declared parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub(crate) name: String,
    pub(crate) ty: i32,
    pub(crate) default: String,
    pub(crate) help: String,
    pub(crate) choices: Vec<String>,
    pub(crate) range: (f64, f64),
}

impl Param {
    fn new(name: &str, ty: i32, default: String, help: &str) -> Param {
        Param { name: name.into(), ty, default, help: help.into(), choices: Vec::new(), range: (0.0, 0.0) }
    }

    /// A number. The default is spelled as a user would: `0.1`, `8/255`, or `auto`: left to the component.
    pub fn float(name: &str, default: &str, help: &str) -> Param {
        Param::new(name, abi::FLOAT, default.into(), help)
    }

    /// A whole number.
    pub fn int(name: &str, default: i64, help: &str) -> Param {
        Param::new(name, abi::INT, default.to_string(), help)
    }

    /// True or false.
    pub fn flag(name: &str, default: bool, help: &str) -> Param {
        Param::new(name, abi::BOOL, default.to_string(), help)
    }

    /// One of some choices; the first is the default.
    pub fn choice(name: &str, choices: &[&str], help: &str) -> Param {
        let default = choices.first().copied().unwrap_or_default().to_owned();
        Param { choices: choices.iter().map(|&c| c.into()).collect(), ..Param::new(name, abi::TEXT, default, help) }
    }

    /// Any text.
    pub fn text(name: &str, default: &str, help: &str) -> Param {
        Param::new(name, abi::TEXT, default.into(), help)
    }

    /// Inclusive limits of a number.
    #[must_use]
    pub fn range(mut self, least: f64, most: f64) -> Param {
        self.range = (least, most);
        self
    }
}

type BuildFn = Box<dyn Fn(&Ask) -> Result<Program, Error> + Send + Sync>;
type MeasureFn = Box<dyn Fn(&Ask, &Weights<'_>) -> Result<(), Error> + Send + Sync>;
type ReduceFn = Box<dyn Fn(&Ask, &Reduction<'_>) -> Result<(), Error> + Send + Sync>;
type RunFn = Box<dyn Fn(&Ask, &Oracle<'_>) -> Result<(), Error> + Send + Sync>;

/// An attack, a metric, a trainer or an optimizer.
pub struct Component {
    pub(crate) kind: i32,
    pub(crate) id: String,
    pub(crate) summary: String,
    pub(crate) source: String,
    pub(crate) params: Vec<Param>,
    pub(crate) goal: i32,
    pub(crate) iterates: i32,
    pub(crate) build: Option<BuildFn>,
    pub(crate) run: Option<RunFn>,
    pub(crate) reduce: Option<ReduceFn>,
    pub(crate) measure: Option<MeasureFn>,
}

impl Component {
    fn new(kind: i32, id: &str, summary: &str) -> Component {
        Component {
            kind,
            id: id.into(),
            summary: summary.into(),
            source: String::new(),
            params: Vec::new(),
            goal: abi::BUDGET,
            iterates: abi::INSIDE,
            build: None,
            run: None,
            reduce: None,
            measure: None,
        }
    }

    /// An attack: its id (lower case with hyphens) and one line about it.
    pub fn attack(id: &str, summary: &str) -> Component {
        Component::new(abi::ATTACK, id, summary)
    }

    /// A metric: its id (lower case with hyphens) and one line about it.
    pub fn metric(id: &str, summary: &str) -> Component {
        Component::new(abi::METRIC, id, summary)
    }

    /// A trainer: its id (lower case with hyphens) and one line about it.
    pub fn trainer(id: &str, summary: &str) -> Component {
        Component::new(abi::TRAINER, id, summary)
    }

    /// An optimizer: its id (lower case with hyphens) and one line about it.
    pub fn optimizer(id: &str, summary: &str) -> Component {
        Component::new(abi::OPTIMIZER, id, summary)
    }

    /// Whose idea: paper and equation.
    #[must_use]
    pub fn source(mut self, source: &str) -> Component {
        self.source = source.into();
        self
    }

    /// Declares a parameter. Arguments arrive in this order.
    #[must_use]
    pub fn param(mut self, param: Param) -> Component {
        self.params.push(param);
        self
    }

    /// For attacks that look for the smallest perturbation instead of the worst point in the ball.
    #[must_use]
    pub fn minimal(mut self) -> Component {
        self.goal = abi::MINIMAL;
        self
    }

    /// For attacks whose iterates leave the ball by design: only what `emit` gives is checked.
    #[must_use]
    pub fn free(mut self) -> Component {
        self.iterates = abi::FREE;
        self
    }

    /// How the program is made. The same answer for the same question, every time.
    #[must_use]
    pub fn build(mut self, build: impl Fn(&Ask) -> Result<Program, Error> + Send + Sync + 'static) -> Component {
        self.build = Some(Box::new(build));
        self
    }

    /// For attacks with control flow of their own (`oracle/1`): how a batch is attacked. Where the component also builds, a program
    /// without graphs says that it serves the task, and [`Error::unsupported`] that it does not.
    #[must_use]
    pub fn oracle(mut self, run: impl Fn(&Ask, &Oracle<'_>) -> Result<(), Error> + Send + Sync + 'static) -> Component {
        self.run = Some(Box::new(run));
        self
    }

    /// For metrics that say something about all samples together (`reduce/1`): what is made of the rows of the program.
    #[must_use]
    pub fn reduce(mut self, reduce: impl Fn(&Ask, &Reduction<'_>) -> Result<(), Error> + Send + Sync + 'static) -> Component {
        self.reduce = Some(Box::new(reduce));
        self
    }

    /// For metrics that look at the loss around the weights (`weights/1`): how a model is measured. Where the component also builds,
    /// this does the work if the program has no graphs.
    #[must_use]
    pub fn weights(mut self, measure: impl Fn(&Ask, &Weights<'_>) -> Result<(), Error> + Send + Sync + 'static) -> Component {
        self.measure = Some(Box::new(measure));
        self
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component").field("id", &self.id).field("params", &self.params).finish_non_exhaustive()
    }
}
