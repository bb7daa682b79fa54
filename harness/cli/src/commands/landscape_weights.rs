//! `flatscape landscape --kind loss-weights`: what is drawn over the weights, as requests for metrics.

use flatscape_measure::request::Request;

use crate::failure::Failure;

/// The word for it.
pub const KIND: &str = "loss-weights";

/// The request behind `--directions` and `--grid`: `random`; `to:MODEL`, with `:line`, `:bezier` or `:chain` behind it;
/// `trajectory:FILE,FILE`.
///
/// # Errors
/// A usage error: no such directions, or a grid where there is none.
pub fn request(directions: &str, grid: Option<&str>) -> Result<Request, Failure> {
    let made = |id: &str, arguments: Vec<(&str, String)>| Request {
        id: id.to_owned(),
        arguments: arguments.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        ..Request::default()
    };
    let with_grid = |mut arguments: Vec<(&'static str, String)>| {
        arguments.extend(grid.map(|grid| ("grid", grid.to_owned())));
        arguments
    };
    if directions == "random" {
        return Ok(made("weight-landscape", with_grid(Vec::new())));
    }
    if let Some(to) = directions.strip_prefix("to:") {
        let (file, path) = match to.rsplit_once(':') {
            Some((file, path @ ("line" | "bezier" | "chain"))) => (file, path),
            _ => (to, "line"),
        };
        if file.is_empty() {
            return Err(Failure::usage("--directions to: names no file; write --directions to:MODEL"));
        }
        return match path {
            "line" => Ok(made("interpolation", with_grid(vec![("to", file.to_owned())]))),
            path if grid.is_some() => {
                Err(Failure::usage(format!("--grid goes with straight directions; a {path} is drawn at 61 points of its own")))
            }
            path => Ok(made("mode-connection", vec![("to", file.to_owned()), ("path", path.to_owned())])),
        };
    }
    if let Some(files) = directions.strip_prefix("trajectory:") {
        if grid.is_some() {
            return Err(Failure::usage("--grid goes with other directions; the surface of a trajectory covers its files"));
        }
        return Ok(made("trajectory", vec![("files", format!("({files})"))]));
    }
    let what = format!(
        "the directions {directions:?} are unknown for weights; choose random, to:MODEL[:line|bezier|chain] or trajectory:FILE,FILE"
    );
    Err(Failure::usage(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_become_metrics() {
        let written = |directions: &str, grid: Option<&str>| request(directions, grid).map(|r| r.to_string()).ok();
        assert_eq!(written("random", Some("-1:1:11")).as_deref(), Some("weight-landscape:grid=-1:1:11"));
        assert_eq!(written("to:b.onnx", None).as_deref(), Some("interpolation:to=b.onnx"));
        assert_eq!(written("to:b.onnx:bezier", None).as_deref(), Some("mode-connection:to=b.onnx,path=bezier"));
        assert_eq!(written("to:c:/b.onnx", None).as_deref(), Some("interpolation:to=c:/b.onnx"));
        assert_eq!(written("trajectory:a.onnx,b.onnx", None).as_deref(), Some("trajectory:files=(a.onnx,b.onnx)"));
        for (directions, grid) in
            [("fgsm", None), ("to:", None), ("to:b.onnx:chain", Some("0:1:5")), ("trajectory:a", Some("0:1:5"))]
        {
            assert!(request(directions, grid).is_err(), "{directions}");
        }
    }
}
