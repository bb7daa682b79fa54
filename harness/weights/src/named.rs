//! The model files that a metric names in its arguments: looked for before anything runs. Opens none of them.

use std::path::Path;

use flatscape_intake::refusal::{Refusal, escape};
use flatscape_measure::request::Request;

/// Every value that ends in `.onnx`, alone or in a list in brackets, is a file.
///
/// # Errors
/// `M001`: one is not there.
pub fn present(request: &Request) -> Result<(), Refusal> {
    let values = request.arguments.iter().flat_map(|(_, value)| value.trim_matches(['(', ')']).split(','));
    match values.map(str::trim).find(|value| value.to_ascii_lowercase().ends_with(".onnx") && !Path::new(value).is_file()) {
        None => Ok(()),
        Some(absent) => {
            let what = format!("{}: no such file: {}", escape(&request.id), escape(absent));
            Err(Refusal::model(1, what).help("name an ONNX file that is there"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let there = tempfile::NamedTempFile::with_suffix(".onnx").expect("a file");
        let there = there.path().display();
        let of =
            |value: String| present(&Request { id: "m".into(), arguments: vec![("to".into(), value)], ..Request::default() });
        for fine in [format!("{there}"), format!("({there},{there})"), "-1:1:5".to_owned(), "digits-standard".to_owned()] {
            assert!(of(fine.clone()).is_ok(), "{fine}");
        }
        let refused = of(format!("({there},/none/b.onnx)")).expect_err("it is not there");
        assert_eq!((refused.id().as_str(), refused.what.as_str()), ("M001", "m: no such file: /none/b.onnx"));
    }
}
