//! What a component is asked: arguments, the task, and the words for saying no.

use std::cell::RefCell;

use crate::component::Param;
use crate::program::Program;

/// The value of an argument.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Auto,
    Float(f64),
    Int(i64),
    Bool(bool),
    Text(String),
}

/// What the component will be used for. Lengths in pixel units.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// C, H, W of an image.
    pub shape: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// `linf`, `l2`, `l1`, …
    pub norm: String,
    /// P: values of the threat model's parameter `z`; D where the parameter is the image itself.
    pub parameters: usize,
    /// Whether the task is targeted: the class to reach is given.
    pub targeted: bool,
    /// Radius. Graphs name `eps` instead; this is for choosing a structure.
    pub eps: f64,
    /// Lower face of the box.
    pub lo: f64,
    /// Upper face of the box.
    pub hi: f64,
}

impl Task {
    /// D: values per image.
    pub fn pixels(&self) -> usize {
        self.shape.iter().product()
    }
}

/// One question to a component: complete, checked arguments and a task.
#[derive(Clone, Debug)]
pub struct Ask {
    pub(crate) values: Vec<(String, Value)>,
    pub(crate) warnings: RefCell<Vec<String>>,
    /// What the component will be used for.
    pub task: Task,
}

impl Ask {
    pub(crate) fn new(params: &[Param], values: Vec<Value>, task: Task) -> Ask {
        let values = params.iter().map(|p| p.name.clone()).zip(values).collect();
        Ask { values, warnings: RefCell::default(), task }
    }

    /// An empty program for this task.
    pub fn program(&self) -> Program {
        Program::new(self)
    }

    /// Says something to the user that does not stop the work: cause, consequence, the argument to try.
    pub fn warn(&self, words: impl Into<String>) {
        self.warnings.borrow_mut().push(words.into());
    }

    /// A number, or `None` where it was left to the component (`auto`).
    ///
    /// # Panics
    /// As for every getter: the component declares no such parameter. The host reports that as the plugin's fault.
    pub fn maybe_float(&self, name: &str) -> Option<f64> {
        match self.value(name) {
            Value::Auto => None,
            Value::Float(v) => Some(*v),
            other => wrong(name, "float", other),
        }
    }

    /// A number.
    pub fn float(&self, name: &str) -> f64 {
        self.maybe_float(name).unwrap_or_else(|| wrong(name, "float", &Value::Auto))
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Int(v) => *v,
            other => wrong(name, "int", other),
        }
    }

    /// A whole number, or `None` where it was left to the component (`auto`).
    pub fn maybe_int(&self, name: &str) -> Option<i64> {
        if *self.value(name) == Value::Auto { None } else { Some(self.int(name)) }
    }

    /// True or false.
    pub fn flag(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Bool(v) => *v,
            other => wrong(name, "bool", other),
        }
    }

    /// Text, or a choice.
    pub fn text(&self, name: &str) -> &str {
        match self.value(name) {
            Value::Text(v) => v,
            other => wrong(name, "text", other),
        }
    }

    pub(crate) fn value(&self, name: &str) -> &Value {
        match self.values.iter().find(|(n, _)| n == name) {
            Some((_, value)) => value,
            None => panic!("the component declares no parameter {name:?}"),
        }
    }
}

fn wrong(name: &str, wanted: &str, found: &Value) -> ! {
    panic!("the parameter {name:?} is read as {wanted} and is {found:?}")
}

/// Why a component does not do what it was asked; the words are for the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub(crate) status: flatscape_abi::Status,
    pub(crate) words: String,
}

impl Error {
    /// The user's argument is wrong.
    pub fn invalid(words: impl Into<String>) -> Error {
        Error { status: flatscape_abi::INVALID, words: words.into() }
    }

    /// The arguments are right; this task is not for this component.
    pub fn unsupported(words: impl Into<String>) -> Error {
        Error { status: flatscape_abi::UNSUPPORTED, words: words.into() }
    }

    /// Anything else.
    pub fn failed(words: impl Into<String>) -> Error {
        Error { status: flatscape_abi::FAILED, words: words.into() }
    }

    /// The host asked to stop.
    pub fn cancelled() -> Error {
        Error { status: flatscape_abi::CANCELLED, words: "stopped on request".into() }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Error {}
