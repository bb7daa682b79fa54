"""Networks written node by node in the manner of CNTK, Caffe2, Paddle and MATLAB, and the same formulas in PyTorch.

The exporters themselves are not asked: the files repeat what theirs look like.

    python tests/architectures/other_nets.py [NAME …]
"""

import math

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from golden import agree, command, images, save, tidy
from onnx import TensorProto, helper, numpy_helper

CLASSES = 5


class Net:
    """`write(file)` appends nodes and returns the name of the logits; `formula(p, x)` is the same in PyTorch, p the parameters by name."""

    def __init__(self, write, formula, shape, opset, producer, batch=None, tail="Softmax"):
        self.write, self.formula, self.shape, self.opset, self.producer, self.batch, self.tail = write, formula, shape, opset, producer, batch, tail


class File:
    """Nodes and parameters as they are appended."""

    def __init__(self, seed):
        self.nodes, self.parameters, self.random = [], {}, np.random.RandomState(seed)

    def weight(self, name, *shape, low=None, high=None):
        fan = math.prod(shape[1:]) if len(shape) > 1 else 4
        value = self.random.uniform(low, high, shape) if low is not None else self.random.randn(*shape) * 1.4 / math.sqrt(max(fan, 4))
        return self.keep(name, value.astype(np.float32))

    def keep(self, name, value):
        self.parameters[name] = value
        return name

    def constant(self, name, value):
        """A parameter that is a node."""
        self.nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value), name)))
        return name

    def add(self, op, inputs, result, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [result], name=f"{result}_{op}", **attributes))
        return result

    def norm(self, x, result, channels, **attributes):
        names = [self.weight(f"{result}.{p}", channels, low=low, high=high) for p, low, high in (("scale", 0.6, 1.4), ("b", -0.3, 0.3), ("mean", -0.3, 0.3), ("var", 0.5, 1.5))]
        return self.add("BatchNormalization", [x, *names], result, epsilon=1e-3, **attributes)


def norm(p, name, x):
    return F.batch_norm(x, p[f"{name}.mean"], p[f"{name}.var"], p[f"{name}.scale"], p[f"{name}.b"], eps=float(np.float32(1e-3)))


def same_upper(x, kernel, stride):
    """Zeros around x as auto_pad SAME_UPPER puts them."""
    n = x.shape[-1]
    total = max((math.ceil(n / stride) - 1) * stride + kernel - n, 0)
    return F.pad(x, (total // 2, total - total // 2) * 2)


def cntk(f):
    """Minus a constant, automatic padding, biases as [C,1,1] added, weights of a dense layer as [C,H,W,K] flattened on the way."""
    x = f.add("Sub", ["x", f.constant("offset", np.float32(0.5))], "minus")
    x = f.add("Conv", [x, f.weight("w1", 8, 3, 5, 5)], "c1", auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[5, 5], dilations=[1, 1], group=1)
    x = f.add("Relu", [f.add("Add", [x, f.weight("b1", 8, 1, 1)], "plus1")], "r1")
    x = f.add("MaxPool", [x], "pool", auto_pad="SAME_UPPER", kernel_shape=[3, 3], strides=[2, 2])
    x = f.add("Reshape", [x, f.keep("flat", np.array([-1, 72], np.int64))], "x2")
    w = f.add("Reshape", [f.weight("w2", 8, 3, 3, 16), f.keep("matrix", np.array([72, 16], np.int64))], "w2_matrix")
    x = f.add("Add", [f.add("MatMul", [x, w], "times1"), f.weight("b2", 1, 16)], "plus2")
    x = f.add("Dropout", [f.add("Tanh", [x], "t")], "dropped", ratio=0.5)
    return f.add("Add", [f.add("MatMul", [x, f.weight("w3", 16, CLASSES)], "times2"), f.weight("b3", CLASSES)], "z")


def cntk_formula(p, x):
    x = F.relu(F.conv2d(same_upper(x - 0.5, 5, 2), p["w1"], stride=2) + p["b1"])
    x = F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 3, 2)  # after ReLU a border of zeros is never larger
    return torch.tanh(x.flatten(1) @ p["w2"].reshape(72, 16) + p["b2"]) @ p["w3"] + p["b3"]


def caffe2(f):
    """Scale layers as Mul and Add, local response normalisation, residual Sum, pools that count their borders, Gemm with a flattened operand."""
    x = f.add("Conv", ["x", f.weight("w1", 8, 3, 3, 3), f.weight("b1", 8)], "c1", pads=[1, 1, 1, 1], strides=[1, 1], kernel_shape=[3, 3])
    x = f.norm(x, "n1", 8, momentum=0.9, spatial=1)
    x = f.add("Mul", [x, f.weight("s1", 8, 1, 1, low=0.5, high=1.5)], "scaled")
    x = f.add("Relu", [f.add("Add", [x, f.weight("o1", 8, 1, 1)], "shifted")], "r1")
    x = f.add("LRN", [x], "lrn", size=5, alpha=0.05, beta=0.75, bias=1.0)
    y = f.add("Conv", [x, f.weight("w2", 8, 4, 3, 3)], "c2", pads=[1, 1, 1, 1], kernel_shape=[3, 3], group=2)
    x = f.add("Sum", [x, y, f.add("Neg", ["c1"], "minus")], "sum")
    x = f.add("AveragePool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    x = f.add("Dropout", [f.add("Flatten", [x], "flat", axis=1)], "dropped", ratio=0.4)
    return f.add("Gemm", [x, f.weight("w3", CLASSES, 288), f.weight("b3", CLASSES)], "z", transB=1, alpha=1.0, beta=1.0)


def caffe2_formula(p, x):
    c1 = F.conv2d(x, p["w1"], p["b1"], padding=1)
    x = F.relu(norm(p, "n1", c1) * p["s1"] + p["o1"])
    square = F.pad(x * x, (0, 0, 0, 0, 2, 2))
    alpha = float(np.float32(0.05))
    x = x / (1 + alpha / 5 * sum(square[:, i : i + 8] for i in range(5))) ** 0.75
    x = x + F.conv2d(x, p["w2"], padding=1, groups=2) - c1
    return F.avg_pool2d(x, 3, 2, 1).flatten(1) @ p["w3"].T + p["b3"]


def paddle(f):
    """hard_swish and hard_sigmoid by Clip, adaptive pools, shapes sliced and concatenated at run time, transposed matrices."""
    x = f.norm(f.add("Conv", ["x", f.weight("w1", 8, 3, 3, 3)], "c1", pads=[1, 1, 1, 1], strides=[2, 2], kernel_shape=[3, 3]), "n1", 8)
    low, high, half = (f.constant(n, np.float32(v)) for n, v in (("zero", 0), ("one", 1), ("half", 0.5)))
    sixth = f.constant("sixth", np.float32(1 / 6))

    def gate(x, name):
        x = f.add("Add", [f.add("Mul", [x, sixth], f"{name}_slope"), half], f"{name}_offset")
        return f.add("Clip", [x, low, high], name)

    x = f.add("Mul", [x, gate(x, "swish")], "s1")
    s = f.add("GlobalAveragePool", [x], "squeeze")
    s = f.add("Relu", [f.add("Conv", [s, f.weight("e1", 4, 8, 1, 1), f.weight("eb1", 4)], "excite1")], "er")
    s = f.add("Conv", [s, f.weight("e2", 8, 4, 1, 1), f.weight("eb2", 8)], "excite2")
    x = f.add("Mul", [x, gate(s, "hard_sigmoid")], "gated")
    x = f.norm(f.add("Conv", [x, f.weight("w2", 8, 1, 3, 3)], "c2", pads=[1, 1, 1, 1], group=8, kernel_shape=[3, 3]), "n2", 8)
    shape = f.add("Shape", [x], "shape")
    n = f.add("Slice", [shape, *(f.constant(k, np.array([v], np.int64)) for k, v in (("from", 0), ("to", 1), ("axis", 0)))], "batch")
    shape = f.add("Concat", [n, f.constant("rest", np.array([-1], np.int64))], "target", axis=0)
    x = f.add("Reshape", [x, shape], "flat")
    w = f.add("Transpose", [f.weight("w3", 12, 288)], "w3_t", perm=[1, 0])
    x = f.add("Add", [f.add("MatMul", [x, w], "matmul"), f.weight("b3", 12)], "linear")
    x = f.add("LeakyRelu", [x], "leaky", alpha=0.125)
    x = f.add("Add", [f.add("MatMul", [x, f.weight("w4", 12, CLASSES)], "matmul2"), f.weight("b4", CLASSES)], "linear2")
    return f.add("Mul", [x, f.constant("scale", np.float32(2))], "z")


def paddle_formula(p, x):
    def gate(x):
        return (x * float(np.float32(1 / 6)) + 0.5).clamp(0, 1)

    x = norm(p, "n1", F.conv2d(x, p["w1"], stride=2, padding=1))
    x = x * gate(x)
    s = F.relu(F.conv2d(x.mean((2, 3), keepdim=True), p["e1"], p["eb1"]))
    x = x * gate(F.conv2d(s, p["e2"], p["eb2"]))
    x = norm(p, "n2", F.conv2d(x, p["w2"], padding=1, groups=8))
    x = F.leaky_relu(x.flatten(1) @ p["w3"].T + p["b3"], 0.125)
    return 2 * (x @ p["w4"] + p["b4"])


def matlab(f):
    """A mean image taken away, columns before rows when flattened, dense layers that are convolutions, classes as [N,K,1,1]."""
    x = f.add("Sub", ["x", f.weight("mean", 1, 3, 12, 12, low=0.3, high=0.7)], "centred")
    x = f.add("Conv", [x, f.weight("w1", 8, 3, 3, 3), f.weight("b1", 8)], "conv_1", pads=[1, 1, 1, 1], strides=[1, 1], dilations=[2, 2], group=1)
    x = f.norm(x, "batchnorm_1", 8)
    x = f.add("Elu", [x], "elu_1", alpha=1.0)
    x = f.add("MaxPool", [x], "maxpool_1", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
    x = f.add("Transpose", [x], "columns", perm=[0, 3, 2, 1])
    x = f.add("Reshape", [x, f.keep("ones", np.array([0, 200, 1, 1], np.int64))], "stacked")
    x = f.add("Conv", [x, f.weight("w2", 12, 200, 1, 1), f.weight("b2", 12)], "fc_1")
    x = f.add("PRelu", [x, f.weight("slope", 12, 1, 1, low=0.1, high=0.4)], "prelu_1")
    return f.add("Conv", [x, f.weight("w3", CLASSES, 12, 1, 1), f.weight("b3", CLASSES)], "fc_2")


def matlab_formula(p, x):
    x = F.elu(norm(p, "batchnorm_1", F.conv2d(x - p["mean"], p["w1"], p["b1"], padding=1, dilation=2)))
    x = F.max_pool2d(x, 2).permute(0, 3, 2, 1).reshape(len(x), 200)
    x = F.prelu(x @ p["w2"].flatten(1).T + p["b2"], p["slope"].flatten())
    return x @ p["w3"].flatten(1).T + p["b3"]


def era(f):
    """Opset 7: broadcasting as it began, Upsample with its scales as an attribute, a transposed dense layer, pads at both ends."""
    x = f.add("Pad", ["x"], "padded", pads=[0, 0, 1, 0, 0, 0, 0, 1], mode="constant", value=0.25)
    x = f.add("HardSigmoid", [f.add("Conv", [x, f.weight("w1", 6, 3, 2, 2), f.weight("b1", 6)], "c1", strides=[2, 2])], "h", alpha=0.25, beta=0.5)
    x = f.add("Upsample", [x], "up", mode="nearest", scales=[1.0, 1.0, 2.0, 2.0])
    x = f.add("Conv", [x, f.weight("w2", 6, 6, 3, 3)], "c2", strides=[3, 3])
    x = f.add("InstanceNormalization", [x, f.weight("s", 6, low=0.5, high=1.5), f.weight("o", 6)], "in", epsilon=1e-3)
    x = f.add("Flatten", [f.add("Softsign", [x], "soft")], "flat")
    x = f.add("Gemm", [x, f.weight("w3", 96, CLASSES), f.weight("b3", 1, CLASSES)], "g", alpha=0.5, beta=2.0)
    return f.add("Div", [x, f.keep("temperature", np.array([0.75], np.float32))], "z")


def era_formula(p, x):
    x = F.conv2d(F.pad(x, (0, 1, 1, 0), value=0.25), p["w1"], p["b1"], stride=2)
    x = F.interpolate((0.25 * x + 0.5).clamp(0, 1), scale_factor=2, mode="nearest")
    x = F.instance_norm(F.conv2d(x, p["w2"], stride=3), weight=p["s"], bias=p["o"], eps=float(np.float32(1e-3)))
    x = F.softsign(x).flatten(1)
    return (0.5 * x @ p["w3"] + 2 * p["b3"]) / 0.75


IMAGE = (3, 12, 12)
NETS = {
    "cntk": Net(cntk, cntk_formula, IMAGE, 8, "CNTK"),
    "caffe2": Net(caffe2, caffe2_formula, IMAGE, 7, "onnx-caffe2", batch=1),
    "paddle": Net(paddle, paddle_formula, IMAGE, 11, "PaddlePaddle"),
    "matlab": Net(matlab, matlab_formula, IMAGE, 10, "MATLAB Deep Learning Toolbox Converter for ONNX Model Format"),
    "first_opset": Net(era, era_formula, IMAGE, 7, "pytorch", batch=1, tail="LogSoftmax"),
}


class Restated(torch.nn.Module):
    def __init__(self, net, parameters):
        super().__init__()
        self.net, self.p = net, {k: torch.from_numpy(v).to(torch.float64 if v.dtype == np.float32 else torch.int64) for k, v in parameters.items()}

    def forward(self, x):
        return self.net.formula(self.p, x)


def write(net, path):
    file = File(sum(map(ord, path.stem)))
    last = net.write(file)
    batch = net.batch or "N"
    ones = [1, 1] if net.producer.startswith("MATLAB") else []
    file.add(net.tail, [last], "probabilities", axis=1)
    graph = helper.make_graph(
        file.nodes, path.stem, [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *net.shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, CLASSES, *ones])],
        [numpy_helper.from_array(v, k) for k, v in file.parameters.items()],
    )  # fmt: skip
    if net.opset < 9:
        # Initializers were inputs then.
        for k, v in file.parameters.items():
            kind = TensorProto.FLOAT if v.dtype == np.float32 else TensorProto.INT64
            graph.input.append(helper.make_tensor_value_info(k, kind, v.shape))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", net.opset)], producer_name=net.producer, ir_version=3 if net.opset < 9 else 6)
    onnx.save(model, path)
    tidy(path)
    x = images(net.shape, path.stem)
    restated = Restated(net, file.parameters)
    logits = restated(x.double())
    expected = logits.log_softmax(1) if net.tail == "LogSoftmax" else logits.softmax(1)
    agree(path, x.numpy(), expected.numpy().reshape(len(x), CLASSES, *ones), net.batch)
    save(path, x, restated)


if __name__ == "__main__":
    command("other", NETS, write)
