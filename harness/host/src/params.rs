//! Parameters as a component declares them, and the arguments that a user wrote for them. Keeps both the spelling and the value.
//! Knows nothing about what an argument means.

use serde::{Deserialize, Serialize};

use crate::error::{HostError, nearest, shown};

/// What the values of a parameter are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamType {
    /// A number, also written as a fraction: `8/255`.
    Float,
    /// A whole number.
    Int,
    /// `true` or `false`.
    Bool,
    /// Text, or one of the choices where there are any.
    Text,
}

impl ParamType {
    /// How help calls it.
    pub fn name(self) -> &'static str {
        match self {
            ParamType::Float => "float",
            ParamType::Int => "int",
            ParamType::Bool => "bool",
            ParamType::Text => "text",
        }
    }
}

/// A declared parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Param {
    /// Lower case with hyphens. In graphs `random-start` is the input `arg_random_start`.
    pub name: String,
    /// What its values are.
    #[serde(rename = "type")]
    pub ty: ParamType,
    /// As a user would write it; `auto` leaves it to the component.
    pub default: String,
    /// One line.
    pub help: String,
    /// For [`ParamType::Text`]; empty: any text.
    pub choices: Vec<String>,
    /// Inclusive limits of numbers.
    pub range: Option<(f64, f64)>,
}

/// The value of an argument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Value {
    /// Left to the component.
    Auto,
    Float(f64),
    Int(i64),
    Bool(bool),
    Text(String),
}

/// One argument: spelling and value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Argument {
    /// The parameter.
    pub name: String,
    /// As the user wrote it, or as the component declared the default.
    pub spelling: String,
    /// What it means.
    pub value: Value,
    /// Whether the user wrote it.
    pub given: bool,
}

/// One argument for every declared parameter, in declared order.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Arguments(pub Vec<Argument>);

impl Arguments {
    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|a| a.name == name).map(|a| &a.value)
    }

    /// What the user wrote, in declared order: `steps=40,alpha=2/255`; empty where everything is the default.
    pub fn spelling(&self) -> String {
        let given: Vec<String> = self.0.iter().filter(|a| a.given).map(|a| format!("{}={}", a.name, a.spelling)).collect();
        given.join(",")
    }

    /// Every argument, defaults too: what the manifest keeps.
    pub fn complete(&self) -> String {
        let all: Vec<String> = self.0.iter().map(|a| format!("{}={}", a.name, a.spelling)).collect();
        all.join(",")
    }
}

/// A number as users write it: `0.3`, `8/255`, `1e-3`. Finite.
pub fn parse_float(text: &str) -> Option<f64> {
    let plain = |t: &str| t.trim().parse::<f64>().ok().filter(|v| v.is_finite());
    let value = match text.split_once('/') {
        Some((above, below)) => plain(above)? / plain(below)?,
        None => plain(text)?,
    };
    value.is_finite().then_some(value)
}

/// Reads one spelling as a value of a parameter. The error is a clause: what is wrong and what is wanted.
pub(crate) fn read_value(param: &Param, spelling: &str) -> Result<Value, String> {
    if spelling == "auto" && param.default == "auto" {
        return Ok(Value::Auto);
    }
    let wanted = |what: &str| format!("\"{}\" is not {what}", shown(spelling));
    let value = match param.ty {
        ParamType::Float => Value::Float(parse_float(spelling).ok_or_else(|| wanted("a number (0.1, 8/255)"))?),
        ParamType::Int => Value::Int(spelling.parse().map_err(|_| wanted("a whole number"))?),
        ParamType::Bool => match spelling {
            "true" | "yes" | "on" => Value::Bool(true),
            "false" | "no" | "off" => Value::Bool(false),
            _ => return Err(wanted("true or false")),
        },
        ParamType::Text if param.choices.is_empty() || param.choices.iter().any(|c| c == spelling) => {
            Value::Text(spelling.to_owned())
        }
        ParamType::Text => return Err(wanted(&format!("one of {}", param.choices.join(", ")))),
    };
    let number = match value {
        Value::Float(v) => Some(v),
        Value::Int(v) => Some(v as f64),
        _ => None,
    };
    match (number, param.range) {
        (Some(v), Some((low, high))) if v < low || v > high => Err(wanted(&limits(low, high))),
        _ => Ok(value),
    }
}

fn limits(low: f64, high: f64) -> String {
    match (low.is_finite(), high.is_finite()) {
        (true, true) => format!("between {low} and {high}"),
        (true, false) => format!("at least {low}"),
        _ => format!("at most {high}"),
    }
}

/// Completes and checks what a user wrote.
pub(crate) fn arguments(component: &str, params: &[Param], pairs: &[(String, String)]) -> Result<Arguments, HostError> {
    for (i, (key, _)) in pairs.iter().enumerate() {
        if !params.iter().any(|p| p.name == *key) {
            let error =
                HostError::user("P21", format!("{component} has no parameter \"{}\"", shown(key))).of_component(component);
            let names: Vec<&str> = params.iter().map(|p| p.name.as_str()).collect();
            return Err(match nearest(key, names.iter().copied()) {
                Some(near) => error.help(format!("did you mean \"{near}\"?")),
                None if names.is_empty() => error.help("it has no parameters"),
                None => error.help(format!("it has {}", names.join(", "))),
            });
        }
        if pairs[..i].iter().any(|(earlier, _)| earlier == key) {
            let what = format!("the parameter \"{key}\" of {component} is given twice");
            return Err(HostError::user("P21", what).of_component(component));
        }
    }
    let mut complete = Vec::with_capacity(params.len());
    for param in params {
        let given = pairs.iter().find(|(key, _)| *key == param.name).map(|(_, value)| value.as_str());
        let spelling = given.unwrap_or(&param.default);
        let value = read_value(param, spelling).map_err(|clause| {
            let what = format!("the parameter \"{}\" of {component}: {clause}", param.name);
            HostError::user("P22", what).of_component(component).help(param.help.clone())
        })?;
        complete.push(Argument { name: param.name.clone(), spelling: spelling.to_owned(), value, given: given.is_some() });
    }
    Ok(Arguments(complete))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> Vec<Param> {
        let param = |name: &str, ty, default: &str| Param {
            name: name.into(),
            ty,
            default: default.into(),
            help: String::new(),
            choices: Vec::new(),
            range: None,
        };
        vec![
            Param { range: Some((1.0, 1000.0)), ..param("steps", ParamType::Int, "20") },
            param("alpha", ParamType::Float, "auto"),
            param("random-start", ParamType::Bool, "true"),
            Param { choices: vec!["ce".into(), "margin".into()], ..param("loss", ParamType::Text, "ce") },
        ]
    }

    fn read(spec: &str) -> Result<Arguments, HostError> {
        let (name, rest) = spec.split_once(':').unwrap_or((spec, ""));
        let pairs: Vec<(String, String)> =
            rest.split(',').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect();
        arguments(name, &params(), &pairs)
    }

    #[test]
    fn spelling_and_value_are_both_kept() {
        let arguments = read("pgd:alpha=2/255,steps=40").unwrap();
        assert_eq!(arguments.get("alpha"), Some(&Value::Float(2.0 / 255.0)));
        assert_eq!(arguments.get("steps"), Some(&Value::Int(40)));
        assert_eq!(arguments.get("random-start"), Some(&Value::Bool(true)));
        assert_eq!(arguments.spelling(), "steps=40,alpha=2/255");
        assert_eq!(arguments.complete(), "steps=40,alpha=2/255,random-start=true,loss=ce");
        assert_eq!(read("pgd").unwrap().get("alpha"), Some(&Value::Auto));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("pgd:stpes=3", "pgd has no parameter \"stpes\"", Some("did you mean \"steps\"?")),
            ("pgd:steps=0", "the parameter \"steps\" of pgd: \"0\" is not between 1 and 1000", Some("")),
            ("pgd:steps=3.5", "the parameter \"steps\" of pgd: \"3.5\" is not a whole number", Some("")),
            ("pgd:steps=auto", "the parameter \"steps\" of pgd: \"auto\" is not a whole number", Some("")),
            ("pgd:steps=3,steps=4", "the parameter \"steps\" of pgd is given twice", None),
            ("pgd:alpha=1/0", "the parameter \"alpha\" of pgd: \"1/0\" is not a number (0.1, 8/255)", Some("")),
            ("pgd:alpha=nan", "the parameter \"alpha\" of pgd: \"nan\" is not a number (0.1, 8/255)", Some("")),
            ("pgd:random-start=2", "the parameter \"random-start\" of pgd: \"2\" is not true or false", Some("")),
            ("pgd:loss=dlr", "the parameter \"loss\" of pgd: \"dlr\" is not one of ce, margin", Some("")),
        ];
        for (spec, sentence, help) in cases {
            let error = read(spec).unwrap_err();
            assert_eq!((error.sentence.as_str(), error.help.as_deref()), (sentence, help));
            assert_eq!(error.exit_code(), 2);
        }
    }
}
