//! Conditions on the results of a run, such as `robust_accuracy>=0.40`: read once, judged from rows.

use std::str::FromStr;

use flatscape_intake::number::number;
use flatscape_report::Record;

/// A condition on one metric of every model.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    /// The metric, as in the column `metric`.
    pub metric: String,
    /// What of it is compared.
    pub of: Of,
    /// Whether the value is a lower bound; otherwise it is an upper bound.
    pub at_least: bool,
    /// The bound.
    pub value: f64,
}

/// What of a row is compared with the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The value.
    Value,
    /// The lower end of its interval.
    Low,
    /// The upper end of its interval.
    High,
}

/// How a requirement names what it compares, behind the metric.
const ENDS: &[(&str, Of)] = &[(".ci_low", Of::Low), (".ci_high", Of::High)];

/// A requirement that was judged on one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The requirement, as typed.
    pub text: String,
    /// The model.
    pub model: String,
    /// Whether it holds.
    pub holds: bool,
    /// What was found, in words: the worst row, its interval and its number of samples.
    pub found: String,
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Requirement, String> {
        let (at_least, (name, bound)) = match (text.split_once(">="), text.split_once("<=")) {
            (Some(parts), _) => (true, parts),
            (None, Some(parts)) => (false, parts),
            (None, None) => return Err("write METRIC>=VALUE or METRIC<=VALUE".into()),
        };
        let value = number(bound).map_err(|why| format!("{bound:?} {why}"))?;
        let name = name.trim();
        let end = ENDS.iter().find_map(|(end, of)| Some((name.strip_suffix(end)?, *of)));
        let (metric, of) = end.unwrap_or((name, Of::Value));
        if let Some((metric, end)) = metric.split_once('.') {
            return Err(format!("{metric} has no {end:?}: write {metric}.ci_low or {metric}.ci_high"));
        }
        Ok(Requirement { metric: metric.to_owned(), of, at_least, value })
    }
}

impl Requirement {
    /// As it is typed.
    pub fn text(&self) -> String {
        let end = ENDS.iter().find(|(_, of)| *of == self.of).map_or("", |(end, _)| end);
        format!("{}{end}{}{}", self.metric, if self.at_least { ">=" } else { "<=" }, self.value)
    }

    /// Judges the requirement on each of `models`. Of several rows the worst one counts; a requirement on a row that is missing,
    /// or that has no value, does not hold.
    pub fn judge(&self, records: &[Record], models: &[String]) -> Vec<Judged> {
        models.iter().map(|model| self.judge_one(records, model)).collect()
    }

    fn judge_one(&self, records: &[Record], model: &str) -> Judged {
        let number = |r: &Record| match self.of {
            Of::Value => r.value,
            Of::Low => r.ci_low,
            Of::High => r.ci_high,
        };
        let own = records.iter().filter(|r| r.model == model && r.metric == self.metric);
        let rows: Vec<(&Record, f64)> = own.filter_map(|r| Some((r, number(r)?))).collect();
        let worse = |a: &f64, b: &f64| if self.at_least { a.total_cmp(b) } else { b.total_cmp(a) };
        let worst = rows.iter().min_by(|(_, a), (_, b)| worse(a, b));
        // a comparison with NaN does not hold
        let holds = worst.is_some_and(|(_, v)| if self.at_least { *v >= self.value } else { *v <= self.value });
        let found = match worst {
            None => "it was not measured".to_owned(),
            Some((record, v)) => {
                let interval = record.ci_low.zip(record.ci_high);
                let wide = interval.filter(|(low, high)| self.of == Of::Value && (low..=high).contains(&&self.value));
                let shown = interval.map_or(String::new(), |(low, high)| format!(" [{low:.3}, {high:.3}]"));
                let small =
                    if wide.is_some() { "; the interval contains the bound: the sample is too small to decide" } else { "" };
                format!("it is {v:.4}{shown} n={}{small}", record.n)
            }
        };
        Judged { text: self.text(), model: model.to_owned(), holds, found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_read_as_people_write_them() {
        let read: Requirement = "robust_accuracy>=0.40".parse().expect("a requirement");
        let expected = Requirement { metric: "robust_accuracy".into(), of: Of::Value, at_least: true, value: 0.4 };
        assert_eq!(read, expected);
        let read: Requirement = "robust_accuracy.ci_low>=0.4".parse().expect("a requirement");
        assert_eq!((read.of, read.text().as_str()), (Of::Low, "robust_accuracy.ci_low>=0.4"));
        assert!("robust_accuracy".parse::<Requirement>().is_err());
        assert!("robust_accuracy>=x".parse::<Requirement>().is_err());
        assert!("robust_accuracy.ci_lo>=0.4".parse::<Requirement>().is_err());
    }

    #[test]
    fn the_worst_row_counts_and_a_missing_one_does_not_hold() {
        let row = |value| Record { model: "m".into(), metric: "a".into(), value, n: 10, ..Record::default() };
        let records = [row(Some(0.9)), row(Some(0.3)), row(None)];
        let judged = |text: &str| text.parse::<Requirement>().expect("a requirement").judge(&records, &["m".to_owned()])[0].holds;
        assert!(judged("a>=0.3") && !judged("a>=0.31") && judged("a<=0.9") && !judged("a<=0.8"));
        assert!(!judged("b>=0") && !judged("a.ci_low>=0"));
        let nan = [row(Some(f64::NAN))];
        assert!(!"a>=0".parse::<Requirement>().expect("a requirement").judge(&nan, &["m".to_owned()])[0].holds);
    }
}
