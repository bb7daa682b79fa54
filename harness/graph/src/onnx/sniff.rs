//! What a file is that is not an ONNX model, judged by its first bytes. One row per kind.

use super::fault::{Fault, ReadError};

/// A kind of file that people hand over by mistake.
struct Kind {
    /// Where the mark stands.
    offset: usize,
    /// The bytes that give it away; letters match in either case.
    mark: &'static [u8],
    what: &'static str,
    help: &'static str,
}

const fn kind(offset: usize, mark: &'static [u8], what: &'static str, help: &'static str) -> Kind {
    Kind { offset, mark, what, help }
}

/// The rows, the more specific ones first.
const KINDS: &[Kind] = &[
    kind(
        0,
        b"version https://git-lfs",
        "this is a git-LFS pointer, not the model itself",
        "run `git lfs pull` where the model comes from",
    ),
    kind(
        0,
        b"<!doctype html",
        "this is an HTML page, not a model",
        "the download probably gave an error or login page: look at it and download again",
    ),
    kind(
        0,
        b"<html",
        "this is an HTML page, not a model",
        "the download probably gave an error or login page: look at it and download again",
    ),
    kind(
        0,
        b"<?xml",
        "this is an XML document, not a model",
        "the download probably gave an error page: look at it and download again",
    ),
    kind(
        0,
        b"\x80\x02",
        "this is a Python pickle, probably of PyTorch",
        "export the model to ONNX with torch.onnx.export; pickles are never loaded, because loading one runs its code",
    ),
    kind(
        0,
        b"\x80\x03",
        "this is a Python pickle, probably of PyTorch",
        "export the model to ONNX with torch.onnx.export; pickles are never loaded, because loading one runs its code",
    ),
    kind(
        0,
        b"\x80\x04",
        "this is a Python pickle, probably of PyTorch",
        "export the model to ONNX with torch.onnx.export; pickles are never loaded, because loading one runs its code",
    ),
    kind(
        0,
        b"\x80\x05",
        "this is a Python pickle, probably of PyTorch",
        "export the model to ONNX with torch.onnx.export; pickles are never loaded, because loading one runs its code",
    ),
    kind(
        0,
        b"PK\x03\x04",
        "this is a zip archive (PyTorch checkpoints, Keras models and npz files are zip archives too)",
        "unzip it if the ONNX file is inside, or export the model to ONNX; pickles are never loaded, because loading one runs its code",
    ),
    kind(0, b"\x1f\x8b", "this is compressed with gzip", "unpack it with `gunzip` first"),
    kind(0, b"\x28\xb5\x2f\xfd", "this is compressed with zstd", "unpack it with `zstd -d` first"),
    kind(0, b"BZh", "this is compressed with bzip2", "unpack it with `bunzip2` first"),
    kind(0, b"\xfd7zXZ\0", "this is compressed with xz", "unpack it with `unxz` first"),
    kind(257, b"ustar", "this is a tar archive", "unpack it with `tar -xf` first"),
    kind(0, b"\x89HDF\r\n\x1a\n", "this is an HDF5 file, probably of Keras", "export the model to ONNX, e.g. with tf2onnx"),
    kind(0, b"\x93NUMPY", "this is a NumPy array, not a model", "give the model file here and arrays as data"),
    kind(4, b"TFL3", "this is a TensorFlow Lite model", "export the model to ONNX, e.g. with tf2onnx --tflite"),
    kind(4, b"ORTM", "this is a model in the ORT format", "give the ONNX file from which it was converted"),
    kind(0, b"\x7fELF", "this is a program or library, not a model", ""),
    kind(0, b"MZ\x90", "this is a program or library, not a model", ""),
    kind(0, b"\x89PNG", "this is a PNG image, not a model", ""),
    kind(0, b"GGUF", "this is a GGUF file, not an ONNX model", "export the model to ONNX"),
];

/// Says what the file is, if it is certainly not an ONNX model.
pub(super) fn sniff(bytes: &[u8]) -> Result<(), ReadError> {
    if bytes.is_empty() {
        return Err(ReadError::new(Fault::EMPTY, "the file is empty (0 bytes)").help("download or export the model again"));
    }
    let refuse = |what: &str, help| Err(ReadError::new(Fault::NOT_ONNX, what).help(help));
    for kind in KINDS {
        let here = bytes.get(kind.offset..kind.offset + kind.mark.len());
        if here.is_some_and(|here| here.eq_ignore_ascii_case(kind.mark)) {
            return refuse(kind.what, kind.help);
        }
    }
    if bytes.get(8) == Some(&b'{') && safetensors_header(bytes) {
        return refuse(
            "this is a safetensors file: weights without a graph",
            "export the model to ONNX from the framework it runs in",
        );
    }
    let text = bytes.trim_ascii_start();
    if text.starts_with(b"{\"") || text.starts_with(b"{\n") || text.starts_with(b"{ ") || text.starts_with(b"[{") {
        return refuse("this is JSON, not a model", "give the .onnx file");
    }
    if text.starts_with(b"<")
        && text.is_ascii()
        && text.windows(6).take(4096).any(|w| w.eq_ignore_ascii_case(b"<html ") || w.eq_ignore_ascii_case(b"<html>"))
    {
        return refuse(
            "this is an HTML page, not a model",
            "the download probably gave an error or login page: look at it and download again",
        );
    }
    Ok(())
}

/// Whether the first eight bytes are the length of a JSON header that fits into the file.
fn safetensors_header(bytes: &[u8]) -> bool {
    let length = bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b));
    length.is_some_and(|n| n >= 2 && n <= (bytes.len() as u64).saturating_sub(8)) && bytes.get(9) == Some(&b'"')
}
