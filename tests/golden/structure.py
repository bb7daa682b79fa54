"""Models that are more than a list of operators, with what others compute on them: writes structure/<case>.onnx and .json.

Outputs are ONNX Runtime's, gradients those of PyTorch's double autograd from the same float32 weights.
Run: python tests/golden/structure.py   (onnx 1.22.0, onnxruntime 1.31.1, torch 2.15.0, skl2onnx, scikit-learn, numpy)
"""

import io
import json
import pathlib
import re
import warnings
import zlib

import numpy as np
import onnx
import onnx.parser
import onnx.reference
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

warnings.filterwarnings("ignore")
FOLDER = pathlib.Path(__file__).parent / "structure"
NAMES = {"float32": "float", "float64": "double", "int64": "int64", "int32": "int32", "bool": "bool"}
TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "int32": TensorProto.INT32, "bool": TensorProto.BOOL}


def numbers(*shape, seed="", lo=-1.0, hi=1.0):
    stream = np.random.RandomState(zlib.crc32(f"{shape}{seed}".encode()))
    return np.asarray(np.round(stream.uniform(lo, hi, shape), 3), np.float32)


def as_json(array):
    array = np.asarray(array)
    data = [float(f"{v:.9g}") if array.dtype.kind == "f" else int(v) for v in array.ravel()]
    return {"dtype": NAMES[str(array.dtype)], "shape": list(array.shape), "data": data}


def save(name, model, inputs, outputs=None, gradients=None):
    """`gradients`: of the sum of the first output times 1, 2, 3, … in row-major order, divided by its size."""
    if outputs is None:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        outputs = dict(zip(names, session.run(None, inputs)))
        outputs = {k: v for k, v in outputs.items() if isinstance(v, np.ndarray) and v.dtype.kind in "fib"}
    onnx.save(model, FOLDER / f"{name}.onnx")
    case = {"inputs": {k: as_json(v) for k, v in inputs.items()}, "outputs": {k: as_json(v) for k, v in outputs.items()}}
    if gradients is not None:
        case["gradients"] = {k: as_json(v) for k, v in gradients.items()}
    (FOLDER / f"{name}.json").write_text(json.dumps(case) + "\n")


def model_of(nodes, inputs, outputs, constants=(), opset=18, domains=(), functions=()):
    """`inputs` are arrays by name, `outputs` element types by name, `constants` arrays by name."""
    types = [helper.make_tensor_value_info(k, TYPES[str(v.dtype)], list(v.shape)) for k, v in inputs.items()]
    results = [helper.make_tensor_value_info(k, t, None) for k, t in outputs.items()]
    weights = [numpy_helper.from_array(v, k) for k, v in dict(constants).items()]
    graph = helper.make_graph(nodes, "case", types, results, weights)
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, v) for d, v in domains]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=list(functions))


FLOAT = TensorProto.FLOAT

# ---- recurrent layers ------------------------------------------------------------------------------------------------------


def recurrent(name, op, gates, hidden=3, directions=1, length=4, batch=2, width=2, layout=0, bias=True, start=False, lengths=None,
              peepholes=False, **attributes):
    x = numbers(batch, length, width, seed=name) if layout else numbers(length, batch, width, seed=name)
    constants = {"w": numbers(directions, gates * hidden, width, seed=name), "r": numbers(directions, gates * hidden, hidden, seed=name)}
    operands = ["x", "w", "r", "", "", "", "", ""]
    if bias:
        constants["b"] = numbers(directions, 2 * gates * hidden, seed=name)
        operands[3] = "b"
    if lengths is not None:
        constants["lengths"] = np.asarray(lengths, np.int32)
        operands[4] = "lengths"
    if start:
        shape = (batch, directions, hidden) if layout else (directions, batch, hidden)
        constants["h0"] = numbers(*shape, seed=name + "h")
        operands[5] = "h0"
        if op == "LSTM":
            constants["c0"] = numbers(*shape, seed=name + "c")
            operands[6] = "c0"
    if peepholes:
        constants["p"] = numbers(directions, 3 * hidden, seed=name)
        operands[7] = "p"
    while not operands[-1]:
        operands.pop()
    outputs = {"y": FLOAT, "y_h": FLOAT} | ({"y_c": FLOAT} if op == "LSTM" else {})
    direction = "bidirectional" if directions == 2 else "forward"
    node = helper.make_node(op, operands, list(outputs), hidden_size=hidden, **({"direction": direction, "layout": layout} | attributes))
    save(name, model_of([node], {"x": x}, outputs, constants), {"x": x})


recurrent("rnn", "RNN", 1)
recurrent("rnn_relu_reverse", "RNN", 1, direction="reverse", activations=["Relu"], bias=False)
recurrent("rnn_lengths", "RNN", 1, directions=2, lengths=[4, 2], start=True)
recurrent("rnn_affine", "RNN", 1, activations=["Affine"], activation_alpha=[0.5], activation_beta=[0.25])
recurrent("gru", "GRU", 3, start=True)
recurrent("gru_linear_before_reset", "GRU", 3, directions=2, linear_before_reset=1)
recurrent("gru_linear_before_reset_no_bias", "GRU", 3, bias=False, linear_before_reset=1, start=True)
recurrent("gru_hard", "GRU", 3, activations=["HardSigmoid", "Softsign"], activation_alpha=[0.3], activation_beta=[0.4], clip=0.5)
recurrent("lstm", "LSTM", 4)
recurrent("lstm_everything", "LSTM", 4, directions=2, start=True, peepholes=True, lengths=[2, 4])
recurrent("lstm_peepholes_clip", "LSTM", 4, peepholes=True, start=True, clip=0.4)
recurrent("lstm_input_forget", "LSTM", 4, start=True, input_forget=1)
recurrent("lstm_activations", "LSTM", 4, activations=["HardSigmoid", "ScaledTanh", "Elu"], activation_alpha=[0.3, 1.5, 0.5],
          activation_beta=[0.4, 0.75])


class Sequence(torch.nn.Module):
    """Rows of an image as a sequence."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.head = layer, torch.nn.Linear(layer.hidden_size * (2 if layer.bidirectional else 1), 3)

    def forward(self, x):
        return self.head(self.layer(x.squeeze(1))[0][:, -1])


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = torch.nn.MultiheadAttention(6, 2, batch_first=True), torch.nn.Linear(6, 3)

    def forward(self, x):
        x = x.squeeze(1)
        return self.head(self.layer(x, x, x, need_weights=False)[0].mean(1))


def module(name, make, shape, **export):
    torch.manual_seed(zlib.crc32(name.encode()))
    net = make().eval()
    x = numbers(2, *shape, seed=name)
    file = io.BytesIO()
    if export.pop("dynamo", False):
        model = torch.onnx.export(net, (torch.tensor(x),), input_names=["x"], output_names=["y"], dynamo=True, verbose=False).model_proto
    else:
        torch.onnx.export(net, torch.tensor(x), file, input_names=["x"], output_names=["y"], dynamo=False, **export)
        model = onnx.load_from_string(file.getvalue())
    point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    y = net.double()(point)
    weight = torch.arange(1, y.numel() + 1, dtype=torch.float64).reshape(y.shape) / y.numel()
    (y * weight).sum().backward()
    save(name, model, {"x": x}, {"y": y.detach().numpy()}, {"x": point.grad.numpy()})


dynamic = {"dynamic_axes": {"x": {0: "batch"}, "y": {0: "batch"}}, "opset_version": 17}
module("torch_lstm", lambda: Sequence(torch.nn.LSTM(4, 3, num_layers=2, bidirectional=True, batch_first=True)), (1, 5, 4), **dynamic)
module("torch_lstm_fixed_batch", lambda: Sequence(torch.nn.LSTM(4, 3, batch_first=True)), (1, 5, 4), opset_version=14)
module("torch_gru", lambda: Sequence(torch.nn.GRU(4, 3, bidirectional=True, batch_first=True)), (1, 5, 4), **dynamic)
module("torch_rnn", lambda: Sequence(torch.nn.RNN(4, 3, nonlinearity="relu", batch_first=True)), (1, 5, 4), **dynamic)
module("torch_gru_dynamo", lambda: Sequence(torch.nn.GRU(4, 3, num_layers=2, batch_first=True)), (1, 5, 4), dynamo=True)
module("torch_attention_dynamo", Attention, (1, 5, 6), dynamo=True)
module("torch_attention", Attention, (1, 5, 6), **dynamic)

# ---- attention -------------------------------------------------------------------------------------------------------------


def attention(name, q, k, v, others=(), outputs=1, opset=24, **attributes):
    inputs = {"q": q, "k": k, "v": v} | dict(others)
    operands = ["q", "k", "v"] + [n if n in inputs else "" for n in ("mask", "past_key", "past_value", "lengths")]
    while not operands[-1]:
        operands.pop()
    results = ["y", "present_key", "present_value", "scores"][:outputs]
    node = helper.make_node("Attention", operands, results, **attributes)
    model = model_of([node], inputs, {r: FLOAT for r in results}, opset=opset)
    reference = onnx.reference.ReferenceEvaluator(model).run(None, inputs)
    save(name, model, inputs, {n: np.asarray(r, np.float32) for n, r in zip(results, reference)})


q4, k4, v4 = numbers(2, 4, 3, 6, seed="q"), numbers(2, 2, 5, 6, seed="k"), numbers(2, 2, 5, 4, seed="v")
attention("attention_4d", numbers(2, 2, 3, 6, seed="q"), k4, v4, opset=23)
attention("attention_groups", q4, k4, v4, q_num_heads=4, kv_num_heads=2)
attention("attention_groups_causal", q4, k4, v4, is_causal=1, q_num_heads=4, kv_num_heads=2)
attention("attention_mask", q4, k4, v4, {"mask": numbers(3, 5, seed="m")}, scale=0.3, q_num_heads=4, kv_num_heads=2)
keep = np.asarray([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1], [1, 0, 0, 0, 1]], bool)
attention("attention_bool_mask", q4, k4, v4, {"mask": keep}, softcap=0.5, q_num_heads=4, kv_num_heads=2)
attention("attention_narrow_mask", q4, k4, v4, {"mask": numbers(2, 1, 3, 4, seed="m")}, q_num_heads=4, kv_num_heads=2)
attention("attention_3d", numbers(2, 3, 8, seed="q"), numbers(2, 5, 4, seed="k"), numbers(2, 5, 6, seed="v"), q_num_heads=4, kv_num_heads=2)
past = {"past_key": numbers(2, 2, 2, 6, seed="pk"), "past_value": numbers(2, 2, 2, 4, seed="pv")}
attention("attention_past", q4, k4, v4, past, outputs=4, is_causal=1, q_num_heads=4, kv_num_heads=2)
for mode in (0, 1, 2, 3):
    attention(f"attention_scores_{mode}", q4, k4, v4, {"mask": numbers(3, 5, seed="m")}, outputs=4, softcap=0.7 if mode else 0.0, qk_matmul_output_mode=mode,
              q_num_heads=4, kv_num_heads=2)
attention("attention_lengths", q4, k4, v4, {"mask": numbers(2, 1, 3, 5, seed="m"), "lengths": np.asarray([3, 5], np.int64)}, q_num_heads=4, kv_num_heads=2)


def rotary(name, x, cache, positions=None, **attributes):
    inputs = {"x": x, "cos": np.cos(cache), "sin": np.sin(cache)} | ({} if positions is None else {"positions": positions})
    node = helper.make_node("RotaryEmbedding", list(inputs), ["y"], **attributes)
    model = model_of([node], inputs, {"y": FLOAT}, opset=23)
    save(name, model, inputs, {"y": onnx.reference.ReferenceEvaluator(model).run(None, inputs)[0]})


places = np.asarray([[0, 1, 2], [4, 3, 1]], np.int64)
rotary("rotary", numbers(2, 2, 3, 4, seed="x"), numbers(5, 2, seed="c"), places)
rotary("rotary_interleaved_partly", numbers(2, 2, 3, 8, seed="x"), numbers(5, 2, seed="c"), places, interleaved=1, rotary_embedding_dim=4)
rotary("rotary_3d", numbers(2, 3, 8, seed="x"), numbers(2, 3, 2, seed="c"), num_heads=2)

# ---- control flow, sequences, functions ------------------------------------------------------------------------------------


def text(name, source, **inputs):
    model = onnx.parser.parse_model(re.sub(r"(Constant <[^>]*>)", r"\1 ()", source))
    onnx.checker.check_model(model)
    save(name, model, inputs)


HEAD = '<ir_version: 8, opset_import: ["" : 18]> '
image = numbers(2, 3, 4, seed="image")
text("if_by_shape", HEAD + """g (float[2,3,4] x) => (float[a,b,c] y) {
  s = Shape(x) i = Constant <value_int = 2> n = Gather(s, i) four = Constant <value_int = 4> is = Equal(n, four)
  y = If (is) <then_branch = t () => (float[a,b,c] p) { p = Relu(x) }, else_branch = e () => (float[a,b,c] q) { q = Neg(x) }>
}""", x=image)
text("if_by_data", HEAD + """g (float[2,3,4] x) => (float[2,3,4] y) {
  t = ReduceSum <keepdims = 0> (x) zero = Constant <value_float = 0.0> up = Greater(t, zero) r = Sigmoid(x)
  y = If (up) <then_branch = t () => (float[2,3,4] p) { p = Mul(r, x) }, else_branch = e () => (float[2,3,4] q) { q = Tanh(r) }>
}""", x=image)
text("loop", HEAD + """g (float[2,3,4] x) => (float[2,3,4] y, float[n,2,3,4] all) {
  m = Constant <value_int = 3> go = Constant <value = bool {1}> half = Constant <value_float = 0.5>
  y, all = Loop (m, go, x) <body = b (int64 i, bool c, float[2,3,4] v) => (bool d, float[2,3,4] w, float[2,3,4] each) {
    d = Identity(c) f = Cast <to = 1> (i) u = Mul(v, half) w = Add(u, f) each = Tanh(w)
  }>
}""", x=image)
text("loop_while", HEAD + """g (float[2,3,4] x) => (float[2,3,4] y) {
  go = Constant <value = bool {1}> zero = Constant <value_int = 0> five = Constant <value_int = 5> one = Constant <value_int = 1>
  k, y = Loop ( , go, zero, x) <body = b (int64 i, bool c, int64 n, float[2,3,4] v) => (bool d, int64 o, float[2,3,4] w) {
    o = Add(n, one) d = Less(o, five) w = Sin(v)
  }>
}""", x=image)
text("scan", HEAD + """g (float[2,3,4] x, float[2,4] s) => (float[2,4] last, float[2,4,m] all, float[k,2] sums) {
  last, all, sums = Scan (s, x) <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1],
    scan_output_axes = [2, 0], scan_output_directions = [0, 1],
    body = b (float[2,4] h, float[2,4] e) => (float[2,4] o, float[2,4] p, float[2] q) {
      t = Add(h, e) o = Tanh(t) p = Mul(o, e) axis = Constant <value_ints = [1]> q = ReduceSum <keepdims = 0> (p, axis)
    }>
}""", x=image, s=numbers(2, 4, seed="s"))
text("nested", HEAD + """g (float[2,3,4] x) => (float[2,3,4] y) {
  m = Constant <value_int = 2> go = Constant <value = bool {1}> a = Relu(x)
  y = Loop (m, go, x) <body = b (int64 i, bool c, float[2,3,4] v) => (bool d, float[2,3,4] w) {
    d = Identity(c) zero = Constant <value_int = 0> first = Equal(i, zero)
    w = If (first) <then_branch = t () => (float[2,3,4] p) { p = Add(v, a) }, else_branch = e () => (float[2,3,4] q) {
      q = Loop (m, go, v) <body = inner (int64 j, bool k, float[2,3,4] z) => (bool l, float[2,3,4] o) { l = Identity(k) o = Mul(z, a) }>
    }>
  }>
}""", x=image)
text("sequences", HEAD + """g (float[2,3,4] x) => (float[2,a,4] y, float[b,2,4] z, int64 n) {
  parts = SplitToSequence <axis = 1, keepdims = 0> (x)
  last = Constant <value_int = -1> one = Constant <value_int = 1>
  e = SequenceAt(parts, last) r = Relu(e) more = SequenceInsert(parts, r, one) n = SequenceLength(more)
  z = ConcatFromSequence <axis = 0, new_axis = 1> (more)
  two = Constant <value_ints = [2, 1]> uneven = SplitToSequence <axis = 1> (x, two)
  first = SequenceAt(uneven, one) again = SequenceConstruct(first, x) y = ConcatFromSequence <axis = 1> (again)
}""", x=image)
text("functions", '<ir_version: 8, opset_import: ["" : 18, "own" : 1]> ' + """g (float[2,3,4] x) => (float[2,3,4] y) {
  a = own.Bend <slope = 0.25> (x) b = own.Bend(a) y = own.Twice(b)
}
<domain: "own", opset_import: ["" : 18]> Bend <slope: float = 0.5> (x) => (y) { y = LeakyRelu <alpha: float = @slope> (x) }
<domain: "own", opset_import: ["" : 18, "own" : 1]> Twice (x) => (y) { t = own.Bend <slope = 2.0> (x) y = Add(t, x) }
""", x=image)


# ---- operators of optimised models -----------------------------------------------------------------------------------------


def vendor(name, op, inputs, constants=(), outputs=1, **attributes):
    operands = list(inputs) + list(dict(constants))
    results = ["y", "", "", "sum"] if outputs == 4 else ["y"]
    node = helper.make_node(op, operands, results, domain="com.microsoft", **attributes)
    save(name, model_of([node], inputs, {r: FLOAT for r in results if r}, constants, domains=[("com.microsoft", 1)]), inputs)


vendor("fused_matmul", "FusedMatMul", {"a": numbers(2, 4, 3), "b": numbers(2, 5, 4)}, transA=1, transB=1, alpha=0.5)
vendor("ms_gelu", "Gelu", {"x": numbers(3, 4)})
vendor("fast_gelu", "FastGelu", {"x": numbers(3, 4)}, {"bias": numbers(4)})
vendor("bias_gelu", "BiasGelu", {"x": numbers(3, 4)}, {"bias": numbers(4)})
vendor("quick_gelu", "QuickGelu", {"x": numbers(3, 4)}, alpha=1.5)
skip = {"gamma": numbers(4, seed="g"), "beta": numbers(4, seed="b"), "bias": numbers(4, seed="bb")}
vendor("skip_layer_norm", "SkipLayerNormalization", {"x": numbers(2, 3, 4, seed="x"), "skip": numbers(2, 3, 4, seed="s")}, skip, 4, epsilon=1e-3)
vendor("fused_conv", "FusedConv", {"x": numbers(1, 2, 4, 4)}, {"w": numbers(3, 2, 3, 3), "b": numbers(3)}, activation="LeakyRelu",
       activation_params=[0.25], pads=[1, 1, 1, 1])
vendor("fused_gemm", "FusedGemm", {"x": numbers(2, 4)}, {"w": numbers(4, 3), "b": numbers(3)}, activation="Relu", alpha=0.5)

# ---- ai.onnx.ml ------------------------------------------------------------------------------------------------------------

rows = numbers(4, 3, seed="rows", lo=-2, hi=2)


def learner(name, op, outputs, inputs=None, **attributes):
    inputs = inputs or {"x": rows}
    node = helper.make_node(op, list(inputs), list(outputs), domain="ai.onnx.ml", **attributes)
    save(name, model_of([node], inputs, outputs, domains=[("ai.onnx.ml", 3)]), inputs)


learner("scaler", "Scaler", {"y": FLOAT}, offset=[0.5, -1.0, 0.25], scale=[2.0, 0.5, -1.0])
for norm in ("MAX", "L1", "L2"):
    learner(f"normalizer_{norm.lower()}", "Normalizer", {"y": FLOAT}, norm=norm)
learner("binarizer", "Binarizer", {"y": FLOAT}, threshold=0.25)
learner("imputer", "Imputer", {"y": FLOAT}, {"x": np.where(rows > 1, np.float32(9), rows)}, imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=9.0)
learner("feature_vectorizer", "FeatureVectorizer", {"y": FLOAT}, {"a": rows, "b": numbers(4, 2)}, inputdimensions=[3, 2])
learner("array_feature_extractor", "ArrayFeatureExtractor", {"y": FLOAT}, {"x": rows, "i": np.asarray([2, 0], np.int64)})
learner("label_encoder", "LabelEncoder", {"y": TensorProto.INT64}, {"x": np.asarray([3, 1, 7], np.int64)}, keys_int64s=[1, 3], values_int64s=[10, 30], default_int64=-5)
learner("one_hot_encoder", "OneHotEncoder", {"y": FLOAT}, {"x": np.asarray([3, 1, 7], np.int64)}, cats_int64s=[1, 3, 5])
learner("linear_regressor", "LinearRegressor", {"y": FLOAT}, coefficients=[1.0, -2.0, 0.5, 0.25, 1.5, -1.0], intercepts=[0.1, -0.2], targets=2, post_transform="SOFTMAX")
weights = [0.5, -1.0, 2.0, 1.0, 0.25, -0.75, -1.5, 0.5, 1.0]
both = {"label": TensorProto.INT64, "scores": FLOAT}
for post in ("NONE", "SOFTMAX", "LOGISTIC"):
    learner(f"linear_classifier_{post.lower()}", "LinearClassifier", both, coefficients=weights, intercepts=[0.1, -0.2, 0.3], classlabels_ints=[4, 5, 6], post_transform=post)
    learner(f"linear_classifier_one_row_{post.lower()}", "LinearClassifier", both, coefficients=weights[:3], intercepts=[0.1], classlabels_ints=[0, 1], post_transform=post)
learner("linear_classifier_opposite", "LinearClassifier", both, coefficients=[-0.5, 1.0, -2.0, 0.5, -1.0, 2.0], intercepts=[-0.1, 0.1], classlabels_ints=[0, 1], post_transform="LOGISTIC")
for kernel, numbers_of in (("RBF", [0.5, 0.0, 0.0]), ("POLY", [0.5, 1.0, 3.0]), ("SIGMOID", [0.5, 0.25, 0.0]), ("LINEAR", [0.0, 0.0, 0.0])):
    learner(f"svm_regressor_{kernel.lower()}", "SVMRegressor", {"y": FLOAT}, kernel_type=kernel, kernel_params=numbers_of, support_vectors=weights, coefficients=[0.5, -1.0, 0.75], n_supports=3, rho=[0.2])
learner("svm_regressor_one_class", "SVMRegressor", {"y": FLOAT}, kernel_type="RBF", kernel_params=[0.5, 0.0, 0.0], support_vectors=weights, coefficients=[0.5, -1.0, 0.75], n_supports=3, rho=[0.2], one_class=1)
stump = dict(nodes_treeids=[0] * 5 + [1] * 3, nodes_nodeids=[0, 1, 2, 3, 4, 0, 1, 2], nodes_featureids=[0, 1, 0, 0, 0, 2, 0, 0],
             nodes_values=[0.25, -0.5, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0], nodes_truenodeids=[1, 3, 0, 0, 0, 1, 0, 0], nodes_falsenodeids=[2, 4, 0, 0, 0, 2, 0, 0])
leaves = dict(treeids=[0, 0, 0, 1, 1], nodeids=[2, 3, 4, 1, 2])
for mode in ("LEQ", "LT", "GT", "GTE"):
    modes = {"nodes_modes": [f"BRANCH_{mode}"] * 2 + ["LEAF"] * 3 + [f"BRANCH_{mode}"] + ["LEAF"] * 2}
    target = {f"target_{k}": v * 2 for k, v in leaves.items()}
    target |= {"target_ids": [0, 1, 0, 1, 0, 1, 0, 1, 0, 1], "target_weights": [0.5, -1.0, 2.0, 0.75, -0.25, 0.3, 0.6, -0.9, 1.2, -1.5]}
    learner(f"trees_{mode.lower()}", "TreeEnsembleRegressor", {"y": FLOAT}, {"x": np.vstack([rows, [[0.25, -0.5, 0.5]]]).astype(np.float32)}, n_targets=2, base_values=[0.1, 0.2], aggregate_function={"LEQ": "SUM", "LT": "AVERAGE", "GT": "MIN", "GTE": "MAX"}[mode], **stump, **modes, **target)
modes = {"nodes_modes": ["BRANCH_LEQ"] * 2 + ["LEAF"] * 3 + ["BRANCH_LEQ"] + ["LEAF"] * 2}
for post in ("NONE", "LOGISTIC"):
    for name, weights_of in (("signed", [0.5, -1.0, 2.0, 0.75, -0.25]), ("positive", [0.5, 0.1, 0.2, 0.25, 0.05])):
        leaf = {f"class_{k}": v for k, v in leaves.items()} | {"class_ids": [0] * 5, "class_weights": weights_of}
        learner(f"trees_binary_{name}_{post.lower()}", "TreeEnsembleClassifier", both, classlabels_int64s=[0, 1], base_values=[0.125], post_transform=post, **stump, **modes, **leaf)


def scikit():
    from skl2onnx import to_onnx
    from sklearn.datasets import make_classification
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler
    from sklearn.svm import SVC, LinearSVC

    makers = {
        "logistic": lambda: LogisticRegression(),
        "one_versus_rest": lambda: OneVsRestClassifier(LogisticRegression()),
        "linear_svc": lambda: LinearSVC(random_state=0),
        "mlp": lambda: MLPClassifier((5,), max_iter=60, random_state=0),
        "svc": lambda: SVC(),
        "svc_poly": lambda: SVC(kernel="poly", coef0=1.0),
        "forest": lambda: RandomForestClassifier(3, max_depth=3, random_state=0),
        "boosting": lambda: GradientBoostingClassifier(n_estimators=3, max_depth=2, random_state=0),
        "pipeline": lambda: make_pipeline(StandardScaler(), Normalizer(), LogisticRegression()),
    }
    for name, make in makers.items():
        for classes in (2, 3):
            x, y = make_classification(60, 4, n_informative=4, n_redundant=0, n_classes=classes, n_clusters_per_class=1, random_state=1)
            x = x.astype(np.float32)
            fitted = make().fit(x, y if name != "logistic" else np.asarray(["a", "b", "c"])[y])
            try:
                model = to_onnx(fitted, x[:1], options={id(fitted): {"zipmap": False}}, target_opset={"": 18, "ai.onnx.ml": 3})
            except (ValueError, NameError):
                model = to_onnx(fitted, x[:1], target_opset={"": 18, "ai.onnx.ml": 3})
            save(f"scikit_{name}_{classes}", model, {model.graph.input[0].name: x[:6]})


scikit()
