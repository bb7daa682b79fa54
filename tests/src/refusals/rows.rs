//! The kinds of bad models, numbered as their messages are where they have one of their own, and which of them are tried in other
//! places.

/// Number and kind.
#[rustfmt::skip]
pub const ROWS: &[(u16, &str)] = &[
    // files and wire format
    (1, "no file, a folder, no permission"), (2, "empty"), (3, "cut off"), (4, "another kind of file"),
    (5, "a model that is also a file of another kind"), (6, "larger than the limit"), (7, "millions of empty messages"),
    (8, "bytes that no protobuf writer gives"), (9, "fields twice, unknown fields, bytes behind the end"), (10, "awkward names"),
    (11, "pipes, devices, sockets"), (12, "a file that changes while it is used"),
    // structure
    (13, "a version of the future"), (14, "no opset, or two"), (15, "no graph, input or output"), (16, "a cycle"),
    (17, "nodes out of order"), (18, "a name defined twice"), (19, "a name that nothing defines"), (20, "negative and zero extents"),
    (21, "extents beyond counting"), (22, "data of another size"), (23, "element types that are not read"), (24, "sparse tensors"),
    (25, "operators of other domains"), (26, "an operator without a gradient on the way"), (27, "an operator without a gradient beside the way"),
    (28, "an operator whose gradient is zero"), (29, "quantised models"), (30, "control flow, optional values, sequences"),
    (31, "a loop without an end"), (32, "conditions nested deeply"), (33, "functions that grow or call themselves"),
    (34, "small nodes, large values"), (35, "nodes that contradict themselves"), (36, "constant indices outside their axis"),
    (37, "a hundred thousand honest nodes"), (38, "prose, notes, training graphs"), (39, "sequences, maps, strings at the interface"),
    // external data
    (40, "locations that lead out"), (41, "links that lead out"), (42, "a cache of links"), (43, "hard links"), (44, "pipes and folders for weights"),
    (45, "offsets and lengths that are none"), (46, "keys twice, unknown keys"), (47, "a NUL in the location"), (48, "addresses in memory"),
    (49, "the same bytes over and over"), (50, "weights that change while they are used"), (51, "what is written goes where it was asked to go"),
    // meaning
    (52, "a fixed batch"), (53, "open heights and widths"), (54, "channels in the last place"), (55, "integer pixels"), (56, "half and double precision"),
    (57, "probabilities instead of logits"), (58, "one logit"), (59, "several inputs or outputs"), (60, "no rows of classes"),
    (61, "another number of classes"), (62, "batch normalisation in training mode"), (63, "random nodes"), (64, "a state between calls"),
    (65, "weights that are NaN or infinite"), (66, "logits that are NaN"), (67, "gradients that are NaN"), (68, "zero gradients"),
    (69, "shattered gradients"), (70, "black-box attacks that win"), (71, "accuracy at chance"), (72, "ties"), (73, "fewer than four classes"),
    (74, "subnormal numbers"), (75, "a model that notices the audit"),
];

/// What is tried elsewhere, and where.
pub const ELSEWHERE: &[(u16, &str)] = &[
    (3, "every prefix and every flipped byte of small files: unit tests of the graph crate"),
    (12, "refusals::a_file_that_is_replaced_changes_nothing"),
    (27, "gradients of shape arithmetic: rules/*.onnxtxt"),
    (29, "rules/*.onnxtxt and the flags of an audit"),
    (30, "what is unrolled: unit tests of the graph crate"),
    (50, "refusals::a_file_that_is_replaced_changes_nothing"),
    (51, "refusals::nothing_is_written_through_a_link"),
    (52, "unit tests of the graph crate, and the models from elsewhere"),
    (54, "unit tests of the audit crate"),
    (55, "unit tests of the audit crate"),
    (56, "unit tests of the graph and engine crates"),
    (57, "unit tests of the graph crate"),
    (58, "unit tests of the audit crate"),
    (61, "the cases of data sets: D061"),
    (62, "flags of the audit crate"),
    (63, "flags of the audit crate"),
    (64, "graphs have no state between calls: recurrent operators are unrolled or refused"),
    (66, "formulas::verdicts"),
    (67, "formulas::verdicts"),
    (68, "flags of the audit crate"),
    (69, "the certificate of a gradient"),
    (70, "needs a black-box attack"),
    (71, "flags of the audit crate"),
    (72, "formulas::verdicts"),
    (73, "needs the DLR loss"),
    (74, "needs a look at the state of the processor around engines"),
    (75, "formulas::verdicts: witnesses are run again in another session at another batch size"),
];
