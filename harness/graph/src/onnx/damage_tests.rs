//! Small files damaged in every way that can be listed: cut anywhere, every byte replaced, many bytes at once. Nothing panics, and
//! what is left of a file is a model only where a field of it ends.

use prost::Message as _;

use super::proto::{ModelProto, StringStringEntryProto};
use super::{read, write};
use crate::normalize::{Options, normalize};
use crate::{Graph, text};

/// Small files that differ in what they hold.
fn seeds() -> Vec<Vec<u8>> {
    let sources = [
        "g (float[N,2] x) => (float[N,2] z) <float[2] w = {1, 2}> { y = Relu(x) z = Add(y, w) }",
        "g (float[N,1,8,8] x) => (float[N,4] z) <float[2,1,3,3] w = {1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9}, int64[2] s = {-1, 4}> \
         { y = Conv<pads = [1, 1, 1, 1], strides = [2, 2], auto_pad = \"NOTSET\">(x, w) p = MaxPool<kernel_shape = [2, 2]>(y) \
         a = ReduceMean<keepdims = 1>(p) b = Add(p, a) z = Reshape(b, s) }",
        "g (float[N,4] x, int64[N] i) => (float[] z) <int64[2] a = {0, 1}, float[4,3] w = {1,2,3,4,5,6,7,8,9,1,2,3}> \
         { y = Gemm<alpha = 0.5>(x, w) q = Transpose<perm = [1, 0]>(y) e = Gather<axis = 0>(q, a) z = Softmax<axis = -1>(e) }",
    ];
    let mut seeds: Vec<Vec<u8>> = sources.iter().map(|s| write(&text::parse(s).unwrap())).collect();
    let mut model = ModelProto::decode(&seeds[0][..]).unwrap();
    let entry = |key: &str| StringStringEntryProto { key: Some(key.into()), value: Some(b"value".to_vec()) };
    model.metadata_props = vec![entry("a"), entry("b")];
    seeds.push(model.encode_to_vec());
    seeds.push(write(&super::tests::everything()));
    seeds
}

/// Everything that is done to a file before an engine could be asked.
fn understood(bytes: &[u8]) -> Option<Graph> {
    let file = read(bytes).ok()?;
    let _ = file.graph.check();
    let graph = normalize(&file.graph, file.opset, &Options::default()).ok()?;
    graph.within_limits().ok()?;
    let _ = text::print(&graph);
    Some(graph)
}

/// Where the fields of a model end.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut rest = bytes;
    let mut ends = Vec::new();
    while !rest.is_empty() {
        let (tag, wire) = prost::encoding::decode_key(&mut rest).unwrap();
        prost::encoding::skip_field(wire, tag, &mut rest, prost::encoding::DecodeContext::default()).unwrap();
        ends.push(bytes.len() - rest.len());
    }
    ends
}

#[test]
fn what_is_left_of_a_file_is_refused() {
    for bytes in seeds() {
        let whole = read(&bytes).unwrap();
        let ends = ends(&bytes);
        for length in 0..bytes.len() {
            match read(&bytes[..length]) {
                Err(error) => {
                    let id = error.id();
                    assert!(["M002", "M003", "M014", "M015"].contains(&id), "{length}: {id} {error}");
                    assert!(id != "M003" || error.what.contains("cut off"), "{error}");
                }
                // without the last fields, which hold metadata, it is the same model
                Ok(part) => {
                    assert!(ends.contains(&length), "cut at {length}");
                    assert!(part.graph.difference(&whole.graph).is_none());
                }
            }
        }
    }
}

#[test]
fn every_byte_may_be_another() {
    let (mut tried, mut accepted) = (0, 0);
    for bytes in seeds() {
        for at in 0..bytes.len() {
            let was = bytes[at];
            for new in [0, 1, 0x7f, 0x80, 0xff, was ^ 1, was ^ 0x80, was.wrapping_add(1), was.wrapping_sub(1)] {
                let mut damaged = bytes.clone();
                damaged[at] = new;
                tried += 1;
                accepted += usize::from(understood(&damaged).is_some());
            }
        }
    }
    // most damage to names and weights does not damage the form
    assert!(accepted > 100 && accepted < tried * 9 / 10, "{accepted} of {tried}");
}

#[test]
fn many_bytes_may_be_others() {
    let seeds = seeds();
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for round in 0..20_000 {
        let mut damaged = seeds[round % seeds.len()].clone();
        for _ in 0..=random(4) {
            let at = random(damaged.len());
            match random(8) {
                0 => drop(damaged.drain(at..(at + random(8)).min(damaged.len()))),
                1 => damaged.insert(at, random(256) as u8),
                2 => damaged.extend_from_within(at..),
                _ => damaged[at] = random(256) as u8,
            }
            if damaged.is_empty() {
                damaged.push(0);
            }
        }
        let _ = understood(&damaged);
    }
}
