"""The reference in verdict.py: AutoAttack's standard evaluation of an ONNX file, run as a PyTorch module, or PGD of torchattacks.

    python verdict_peer.py REQUEST.json ANSWER.json

REQUEST: `autoattack` (a checkout of the reference), `model`, `images` and `labels` (files of NumPy), `mean` and `std` per channel, `eps`,
`threads`, `batch`, `attack` (`standard` or `pgd`). ANSWER: `clean` and `robust` (one truth value per image), `seconds` on the clock and
of the processor, `versions`. A softmax at the end of the file is
left out, as this project leaves it out; a file with another operator than those below is refused.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper


class Graph(torch.nn.Module):
    """An ONNX file of a feed-forward classifier, operator by operator. Input: pixels in [0,1], [N,C,H,W]."""

    def __init__(self, path, mean, std):
        super().__init__()
        graph = onnx.load(path).graph
        self.nodes = [(n.op_type, list(n.input), n.output[0], {a.name: onnx.helper.get_attribute_value(a) for a in n.attribute}) for n in graph.node]
        self.constants = {i.name: torch.tensor(numpy_helper.to_array(i).copy()) for i in graph.initializer}
        self.input = next(i for i in graph.input if i.name not in self.constants)
        self.dims = [d.dim_value for d in self.input.type.tensor_type.shape.dim][1:]
        self.mean, self.std = (torch.tensor(v).view(-1, 1, 1) for v in (mean, std))

    def forward(self, x):
        x = (x - self.mean) / self.std
        last_is_channel = len(self.dims) == 3 and self.dims[-1] in (1, 3) and self.dims[0] not in (1, 3)
        values = dict(self.constants)
        values[self.input.name] = x.permute(0, 2, 3, 1) if last_is_channel else x.reshape(-1, *self.dims)
        result = None
        for op, inputs, output, attributes in self.nodes:
            if op == "Softmax":
                return result
            result = values[output] = apply(op, [values[name] for name in inputs if name], attributes)
        return result


def apply(op, x, a):
    if op == "Constant":
        return torch.tensor(numpy_helper.to_array(a["value"]).copy())
    if op == "Gemm":
        product = x[0] @ (x[1].t() if a.get("transB") else x[1])
        return product + x[2] if len(x) > 2 else product
    if op == "Conv":
        top, left, bottom, right = a.get("pads", [0] * 4)
        padded = F.pad(x[0], (left, right, top, bottom))
        return F.conv2d(padded, x[1], x[2] if len(x) > 2 else None, stride=tuple(a.get("strides", [1, 1])), groups=a.get("group", 1))
    if op == "MaxPool":
        return F.max_pool2d(x[0], tuple(a["kernel_shape"]), tuple(a.get("strides", [1, 1])))
    plain = {
        "MatMul": lambda: x[0] @ x[1],
        "Relu": lambda: F.relu(x[0]),
        "Add": lambda: x[0] + x[1],
        "Sub": lambda: x[0] - x[1],
        "Div": lambda: x[0] / x[1],
        "Flatten": lambda: x[0].flatten(1),
        "Reshape": lambda: x[0].flatten(1),
        "Transpose": lambda: x[0].permute(*a["perm"]),
    }
    if op not in plain:
        raise SystemExit(f"the reference has no operator {op}")
    return plain[op]()


class Normalised(torch.nn.Module):
    """The module that onnx2torch makes of a file, on pixels in [0,1], [N,C,H,W]."""

    def __init__(self, path, mean, std):
        super().__init__()
        from onnx2torch import convert

        model = onnx.load(path)
        self.dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim][1:]
        free_batch(model.graph)
        self.inner = convert(model)
        self.mean, self.std = (torch.tensor(v).view(-1, 1, 1) for v in (mean, std))

    def forward(self, x):
        x = (x - self.mean) / self.std
        last_is_channel = len(self.dims) == 3 and self.dims[-1] in (1, 3) and self.dims[0] not in (1, 3)
        return self.inner(x.permute(0, 2, 3, 1) if last_is_channel else x.reshape(-1, *self.dims)).flatten(1)


def free_batch(graph):
    """Targets of `Reshape` that begin with the exporter's batch of 1 begin with 0, which keeps the batch."""
    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    tensors = [i for i in graph.initializer if i.name in targets]
    tensors += [a.t for n in graph.node if n.op_type == "Constant" and n.output[0] in targets for a in n.attribute if a.name == "value"]
    for tensor in tensors:
        extents = numpy_helper.to_array(tensor).copy()
        if len(extents) == 2 and extents[0] == 1:
            extents[0] = 0
            tensor.CopyFrom(numpy_helper.from_array(extents, tensor.name))


def standard(model, images, labels, asked):
    from autoattack import AutoAttack

    attack = AutoAttack(model, norm="Linf", eps=asked["eps"], version="standard", device="cpu", seed=0, verbose=False)
    return attack.run_standard_evaluation(images, labels, bs=asked["batch"])


def pgd(model, images, labels, asked):
    import torchattacks

    attack = torchattacks.PGD(model, eps=asked["eps"], alpha=2.5 * asked["eps"] / 20, steps=20)
    parts = zip(images.split(asked["batch"]), labels.split(asked["batch"]))
    return torch.cat([attack(x, y) for x, y in parts])


def fastest(model, images, labels, asked):
    """The batch size at which PGD takes least time per image."""
    times = {}
    for batch in (50, 100, 250, 1000):
        few = min(max(100, batch), len(images))
        start = time.perf_counter()
        pgd(model, images[:few], labels[:few], {**asked, "batch": batch})
        times[batch] = (time.perf_counter() - start) / few
    return min(times, key=times.get)


def main(request, answer):
    asked = json.loads(Path(request).read_text())
    sys.path.insert(0, asked.get("autoattack") or "")
    torch.set_num_threads(asked["threads"])
    torch.manual_seed(0)
    images, labels = torch.from_numpy(np.load(asked["images"])), torch.from_numpy(np.load(asked["labels"]))
    by_pgd = asked["attack"] == "pgd"
    model = (Normalised if by_pgd else Graph)(asked["model"], asked["mean"], asked["std"]).eval().requires_grad_(False)
    if by_pgd:
        asked["batch"] = fastest(model, images, labels, asked)
    start, processor = time.perf_counter(), time.process_time()
    with torch.no_grad():
        clean = model(images).argmax(1) == labels
    found = (pgd if by_pgd else standard)(model, images, labels, asked)
    with torch.no_grad():
        robust = clean & (model(found).argmax(1) == labels)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    said = {"clean": clean.tolist(), "robust": robust.tolist(), "seconds": seconds, "processor_seconds": processor}
    Path(answer).write_text(json.dumps({**said, "versions": f"PyTorch {torch.__version__}", "batch": asked["batch"]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
