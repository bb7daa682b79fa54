"""Writes <framework>/<name>.onnx as an exporter leaves it, and <name>.npz with what it computes and its derivatives in float64.

Knows PyTorch and the ONNX checker; knows nothing of the project's code, and nothing of single networks (`torch_nets.py`, …).
"""

import argparse
import copy
import math
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from torch import nn

FOLDER = Path(__file__).resolve().parent
SAMPLES = 2
LARGEST = 70_000

warnings.filterwarnings("ignore")
onnxruntime.set_default_logger_severity(3)
torch.set_num_threads(1)
# Only the plain formula of attention can be differentiated twice.
torch.backends.mha.set_fastpath_enabled(False)
for fused in (torch.backends.cuda.enable_flash_sdp, torch.backends.cuda.enable_mem_efficient_sdp):
    fused(False)


class Net:
    """A network and how it is exported. `batch` is the extent that the file fixes, or None; `second` says whether H·v is defined."""

    def __init__(self, build, shape, opset, dynamo=False, batch=None, second=True, input="x", output="logits", **export):
        self.build, self.shape, self.opset, self.dynamo, self.batch, self.second = build, shape, opset, dynamo, batch, second
        self.input, self.output, self.export = input, output, export


def command(framework, nets, write):
    """Writes the networks that the command line names, or all of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    (FOLDER / framework).mkdir(exist_ok=True)
    for name in parser.parse_args().names or nets:
        path = FOLDER / framework / f"{name}.onnx"
        write(nets[name], path)
        graph = onnx.load(path).graph
        size = path.stat().st_size
        print(f"{name}: {size:,} + {path.with_suffix('.npz').stat().st_size:,} bytes, {len(graph.node)} nodes: {' '.join(operators(graph))}", flush=True)
        assert size <= LARGEST, f"{path} is too large to be committed"


def operators(graph):
    return sorted({f"{n.domain}.{n.op_type}" if n.domain not in ("", "ai.onnx") else n.op_type for n in graph.node})


# ---- PyTorch ---------------------------------------------------------------------------------------------------------------


def write_torch(net, path):
    torch.manual_seed(sum(map(ord, path.stem)))
    model = seeded(net.build()).eval()
    x = images(net.shape, path.stem)
    example = x[: net.batch or SAMPLES]
    names = dict(input_names=[net.input], output_names=[net.output], opset_version=net.opset, verbose=False)
    if net.dynamo:
        dynamic = None if net.batch else ({0: torch.export.Dim("batch")},)
        program = torch.onnx.export(model, (example,), dynamo=True, dynamic_shapes=dynamic, **names, **net.export)
        onnx.save(program.model_proto, path)
    else:
        dynamic = None if net.batch else {net.input: {0: "batch"}, net.output: {0: "batch"}}
        torch.onnx.export(model, (example,), str(path), dynamo=False, dynamic_axes=dynamic, **names, **net.export)
    tidy(path)
    with torch.no_grad():
        agree(path, x, model(x).numpy(), net.batch)
    save(path, x, copy.deepcopy(model).double(), net.second)


def seeded(model):
    """Random weights that keep activations of the order of 1 and differ wherever an initialisation would leave ones and zeros."""
    for module in model.modules():
        for name, p in module.named_parameters(recurse=False):
            if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm | nn.modules.instancenorm._InstanceNorm):
                nn.init.uniform_(p, *((0.6, 1.4) if name == "weight" else (-0.3, 0.3)))
            elif p.dim() > 1 and not getattr(module, "keep", False):
                nn.init.normal_(p, std=1.4 / math.sqrt(max(p[0].numel(), 4)))
            elif not getattr(module, "keep", False):
                nn.init.uniform_(p, -0.3, 0.3) if name != "weight" else nn.init.uniform_(p, 0.1, 0.4)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


def images(shape, name):
    """Pixels of eight bits in [0, 1], the same for the same name."""
    random = np.random.RandomState(sum(map(ord, name)))
    return torch.from_numpy((random.randint(0, 256, (SAMPLES, *shape)) / 256).astype(np.float32))


# ---- any framework ----------------------------------------------------------------------------------------------------------


def tidy(path):
    """Takes the notes away that exporters leave about the machine on which they ran."""
    model = onnx.load(path)
    graphs = [model.graph, *model.functions]
    for graph in graphs:
        for noted in [graph, *graph.node, *graph.input, *graph.output, *getattr(graph, "initializer", [])]:
            if hasattr(noted, "metadata_props"):
                noted.ClearField("metadata_props")
            if hasattr(noted, "doc_string"):
                noted.ClearField("doc_string")
        graph.ClearField("value_info")
    model.ClearField("metadata_props")
    model.ClearField("doc_string")
    onnx.checker.check_model(model)
    onnx.save(model, path)


def agree(path, x, expected, batch, output=0):
    """The exported file must compute what the framework computes, or nothing that follows means anything."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for n in [batch] if batch else (1, SAMPLES):
        found = session.run(None, {session.get_inputs()[0].name: np.asarray(x[:n])})[output]
        np.testing.assert_allclose(found, expected[:n], rtol=1e-3, atol=1e-4)


def save(path, x, model, second=True):
    """Of a float64 model: logits, cross-entropy, its gradient to the input, and (where asked for) H·v with v of signs."""
    x = torch.as_tensor(x)
    with torch.no_grad():
        label, vector = map(torch.from_numpy, label_and_vector(path, x, model(x.double()).shape[1]))

    def slope(at, graph=False):
        at = at.detach().requires_grad_()
        logits = model(at)
        loss = F.cross_entropy(logits, label, reduction="none")
        return at, logits, loss, torch.autograd.grad(loss.sum(), at, create_graph=graph)[0]

    at, logits, loss, gradient = slope(x.double(), graph=second)
    product = None
    if second:
        assert gradient.requires_grad, "the gradient is constant"
        try:
            (product,) = torch.autograd.grad(gradient, at, vector)
        except RuntimeError as e:
            if "derivative" not in str(e):
                raise
            h = 1e-5
            print(f"  {Path(path).stem}: H·v by central differences of the gradient: {str(e).splitlines()[0]}")
            product = (slope(x.double() + h * vector)[3] - slope(x.double() - h * vector)[3]) / (2 * h)
    write_values(path, x, label, logits, loss, gradient, vector, product)


def label_and_vector(path, x, classes):
    """Labels, and a vector of signs in the form of x; the same for the same name."""
    random = np.random.RandomState(sum(map(ord, Path(path).stem)) + 1)
    return random.randint(0, classes, len(x)), random.choice([-1.0, 1.0], size=tuple(x.shape))


def write_values(path, x, label, logits, loss, gradient, vector, product):
    """The archive beside the network; of H·v, which is compared less closely, in float32."""
    logits, loss, gradient = (np.asarray(v.detach() if isinstance(v, torch.Tensor) else v) for v in (logits, loss, gradient))
    assert (np.abs(gradient).reshape(len(gradient), -1).max(1) > 1e-6).all(), "a gradient that vanishes proves nothing"
    values = {"x": np.asarray(x, np.float32), "label": np.asarray(label, np.int64)}
    values |= {"logits": ten_digits(logits), "loss": ten_digits(loss), "gradient": ten_digits(gradient)}
    if product is not None:
        product = np.asarray(product)
        assert np.abs(product).max() > 1e-6, "a product that vanishes proves nothing"
        values |= {"vector": np.asarray(vector, np.float32), "hvp": product.astype(np.float32)}
    np.savez_compressed(Path(path).with_suffix(".npz"), **values)


def ten_digits(values):
    """float64 with the last 18 bits of the mantissa rounded away, which then take no room."""
    bits = np.ascontiguousarray(values, np.float64).view(np.uint64)
    return ((bits + np.uint64(1 << 17)) & ~np.uint64((1 << 18) - 1)).view(np.float64)
