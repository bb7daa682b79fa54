//! `Attention` and `RotaryEmbedding` of opsets 23 and 24 in ordinary operators.

use super::control::formulas;
use super::upgrade::{Old, Renewed};
use crate::expr::{Builder, Expr};
use crate::ir::{Dim, ValueId};
use crate::tensor::{DType, Tensor};

/// What is added to a score that is not seen.
const MASKED: f64 = f64::NEG_INFINITY;

/// `Attention`: `softmax(softcap(Q·Kᵀ·scale) + mask)·V`, heads in groups, behind a cache of keys and values.
pub(super) fn attention(old: &mut Old) -> Renewed {
    let (q, k, v) = (old.x(0)?, old.x(1)?, old.x(2)?);
    let [mask, past_key, past_value, valid] = [3, 4, 5, 6].map(|i| old.node.input(i));
    let attributes = old.node.attributes.clone();
    let rank = old.graph.rank(q).ok_or("the rank of Q is not known")?;
    let stated = |name: &str| attributes.int(name, 0);
    let (q_heads, kv_heads) = match rank {
        3 => (stated("q_num_heads"), stated("kv_num_heads")),
        4 => (extent(old, q, 1)?, extent(old, k, 1)?),
        _ => return Err(format!("Q has rank {rank} instead of 3 or 4")),
    };
    if q_heads <= 0 || kv_heads <= 0 || q_heads % kv_heads != 0 {
        return Err(format!("{q_heads} heads of Q do not fit {kv_heads} of K and V"));
    }
    let width = |v: ValueId, heads: i64| extent(old, v, rank - 1).map(|n| if rank == 3 { n / heads } else { n });
    let head = width(q, q_heads)?;
    let scale =
        if attributes.get("scale").is_some() { f64::from(attributes.float("scale", 0.0)) } else { (head as f64).sqrt().recip() };
    let softcap = f64::from(attributes.float("softcap", 0.0));
    let causal = attributes.int("is_causal", 0) != 0;
    let mode = attributes.int("qk_matmul_output_mode", 0);
    let keys = Keys { past: past_key.map(|p| extent(old, p, 2)).transpose()?.unwrap_or(0), new: extent(old, k, rank - 2)? };
    let queries = extent(old, q, rank - 2)?;
    let narrow = mask.map(|m| {
        let last = old.graph.shape(m).and_then(<[Dim]>::last).and_then(Dim::fixed);
        last.map(|n| n as i64).ok_or("the last extent of the mask is not fixed")
    });
    let narrow = narrow.transpose()?;
    if past_key.is_some() != past_value.is_some() {
        return Err("a past is given for one of K and V only".to_owned());
    }
    Ok(formulas(old, |b| {
        let heads = |v: ValueId, heads: i64| {
            let v = b.expr(v);
            if rank == 3 { v.reshape(&[0, 0, heads, -1]).transpose(&[0, 2, 1, 3]) } else { v }
        };
        let after = |past: Option<ValueId>, new: Expr<'_>| match past {
            Some(past) => b.concat(&[b.expr(past), b.expr(new.id)], 2),
            None => b.expr(new.id),
        };
        let q = heads(q, q_heads);
        let (present_key, present_value) = (after(past_key, heads(k, kv_heads)), after(past_value, heads(v, kv_heads)));
        let group = q_heads / kv_heads;
        // queries of one group side by side: [N, kv, group·L, head], so that keys are not repeated
        let grouped = |x: Expr<'_>| if group == 1 { b.expr(x.id) } else { x_grouped(b, b.expr(x.id), kv_heads) };
        let apart = |x: Expr<'_>| {
            let x = b.expr(x.id);
            if group == 1 { x } else { x.reshape(&[0, q_heads, queries, -1]) }
        };
        let raw = apart((grouped(q) * scale).matmul(present_key.transpose(&[0, 1, 3, 2])));
        let capped = if softcap > 0.0 { (raw * softcap.recip()).tanh() * softcap } else { raw };
        let mut scores = capped;
        for bias in biases(b, q.dtype(), &keys, queries, causal, mask.zip(narrow), valid) {
            scores = scores + bias;
        }
        let weights = scores.softmax(-1);
        let y = apart(grouped(weights).matmul(present_value));
        let y = if rank == 3 { y.transpose(&[0, 2, 1, 3]).reshape(&[0, 0, -1]) } else { y };
        let seen = match mode {
            0 => raw,
            1 => capped,
            2 => scores,
            _ => weights,
        };
        vec![Some(y), Some(present_key), Some(present_value), Some(seen)]
    }))
}

fn x_grouped<'b>(_: &'b Builder, x: Expr<'b>, kv_heads: i64) -> Expr<'b> {
    let last = x.dims().and_then(|d| d.last().and_then(Dim::fixed)).map_or(-1, |n| n as i64);
    x.reshape(&[0, kv_heads, -1, last])
}

/// How many keys come from the cache, and how many are new.
struct Keys {
    past: i64,
    new: i64,
}

/// What is added to the scores: 0 where a key may be seen, −∞ where not, or the mask itself.
fn biases<'b>(
    b: &'b Builder,
    dtype: DType,
    keys: &Keys,
    queries: i64,
    causal: bool,
    mask: Option<(ValueId, i64)>,
    valid: Option<ValueId>,
) -> Vec<Expr<'b>> {
    let total = keys.past + keys.new;
    let mut biases = Vec::new();
    let hidden = |visible: Expr<'b>| visible.select(0.0, visible.builder().constant(Tensor::full(dtype, &[], MASKED)));
    if let Some((mask, width)) = mask {
        let mask = b.expr(mask);
        let bias = if mask.dtype() == DType::Bool { hidden(mask) } else { mask };
        let missing = total - width;
        biases.push(if missing > 0 {
            let rank = bias.rank().unwrap_or(2);
            let mut pads = vec![0; 2 * rank];
            pads[2 * rank - 1] = missing;
            let fill = b.constant(Tensor::full(dtype, &[], MASKED));
            b.op("Pad", &[bias, b.ints(&pads), fill], [("mode", "constant".into())])
        } else {
            bias
        });
    }
    if causal {
        let see = |i: i64, j: i64| if j <= i + keys.past { 0.0 } else { MASKED };
        let data: Vec<f64> = (0..queries).flat_map(|i| (0..total).map(move |j| see(i, j))).collect();
        let triangle = Tensor::new(&[queries as usize, total as usize], data).map(|t| t.cast(dtype));
        biases.extend(triangle.map(|t| b.constant(t)));
    }
    if let Some(valid) = valid {
        let places = b.ints(&(0..total).collect::<Vec<i64>>());
        biases.push(hidden(b.expr(valid).cast(DType::I64).unsqueeze(&[1, 2, 3]).greater(places)));
    }
    biases
}

/// `RotaryEmbedding`: pairs of features turned by the angle of their position.
pub(super) fn rotary_embedding(old: &mut Old) -> Renewed {
    let (x, cos, sin, positions) = (old.x(0)?, old.x(1)?, old.x(2)?, old.node.input(3));
    let rank = old.graph.rank(x).ok_or("the rank of x is not known")?;
    let interleaved = old.node.attributes.int("interleaved", 0) != 0;
    let heads = match rank {
        3 => old.node.attributes.int("num_heads", 0),
        4 => extent(old, x, 1)?,
        _ => return Err(format!("x has rank {rank} instead of 3 or 4")),
    };
    if heads <= 0 {
        return Err("the number of heads is not stated".to_owned());
    }
    let head = if rank == 3 { extent(old, x, 2)? / heads } else { extent(old, x, 3)? };
    let turned = match old.node.attributes.int("rotary_embedding_dim", 0) {
        0 => head,
        n => n,
    };
    if turned % 2 != 0 || turned > head {
        return Err(format!("{turned} features of {head} cannot be turned in pairs"));
    }
    Ok(formulas(old, |b| {
        let x = b.expr(x);
        // [N, L, heads, head]
        let rows = if rank == 3 { x.reshape(&[0, 0, heads, head]) } else { x.transpose(&[0, 2, 1, 3]) };
        // [N, L, 1, turned/2]
        let angle = |cache: ValueId| {
            let cache = b.expr(cache);
            positions.map_or(cache, |p| cache.gather(b.expr(p), 0)).unsqueeze(&[2]).id
        };
        let (cos, sin) = (b.expr(angle(cos)), b.expr(angle(sin)));
        let (moving, rest) = if turned < head {
            let parts = b.ops("Split", &[rows, b.ints(&[turned, head - turned])], 2, [("axis", (-1i64).into())]);
            (parts[0], Some(parts[1]))
        } else {
            (rows, None)
        };
        let half = turned / 2;
        let pairs = if interleaved { moving.reshape(&[0, 0, heads, half, 2]) } else { moving.reshape(&[0, 0, heads, 2, half]) };
        let across = if interleaved { 4 } else { 3 };
        let parts = b.ops("Split", &[pairs, b.ints(&[1, 1])], 2, [("axis", across.into())]);
        let (real, imaginary) = (parts[0].squeeze(&[across]), parts[1].squeeze(&[across]));
        let turned_real = cos * real - sin * imaginary;
        let turned_imaginary = sin * real + cos * imaginary;
        let both = b.concat(&[turned_real.unsqueeze(&[across]), turned_imaginary.unsqueeze(&[across])], across);
        let moved = both.reshape(&[0, 0, heads, turned]);
        let whole = rest.map_or(moved, |rest| b.concat(&[moved, rest], -1));
        let y = if rank == 3 { whole.reshape(&[0, 0, heads * head]) } else { whole.transpose(&[0, 2, 1, 3]) };
        vec![Some(y)]
    }))
}

/// A fixed extent of a value.
fn extent(old: &Old, v: ValueId, axis: usize) -> Result<i64, String> {
    let found = old.graph.shape(v).and_then(|s| s.get(axis)).and_then(Dim::fixed);
    found.map(|n| n as i64).ok_or_else(|| format!("the extent {axis} of {} is not fixed", crate::shown(&old.graph.value(v).name)))
}
