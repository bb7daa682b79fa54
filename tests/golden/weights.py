"""Hessians of a small convolutional net by PyHessian, and the filter normalisation of the loss-landscape code: writes weights/.

    python tests/golden/weights.py PATH    (torch, onnx, pyhessian 0.1, and a checkout of tomgoldstein/loss-landscape)

The net is exported with its BatchNormalization, and once more with it folded; its images are the first 64 digits of the test half.
PyHessian computes in double; its trace is exact here, because the products with all unit vectors are summed.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn as nn
from pyhessian import hessian

HERE = Path(__file__).parent
torch.manual_seed(3)
torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, bias=False)
        self.bn = nn.BatchNorm2d(3)
        self.up = nn.ConvTranspose2d(3, 2, 2)
        self.fc = nn.Linear(98, 10)

    def forward(self, x):
        return self.fc(torch.tanh(self.up(torch.tanh(self.bn(self.conv(x))))).flatten(1))


def written(net, training):
    out = io.BytesIO()
    mode = torch.onnx.TrainingMode.PRESERVE if training else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(
        net, torch.zeros(2, 1, 8, 8), out, opset_version=18, input_names=["x"], output_names=["logits"],
        dynamic_axes={"x": {0: "N"}, "logits": {0: "N"}}, training=mode, do_constant_folding=not training, dynamo=False,
    )
    return onnx.load_from_string(out.getvalue())


def spectrum(net, x, y):
    net = net.double()
    found = hessian(net, nn.CrossEntropyLoss(), data=(x.double(), y), cuda=False)
    top, _ = found.eigenvalues(maxIter=2000, tol=1e-9, top_n=3)
    size = sum(p.numel() for p in net.parameters())
    params = [p for p in net.parameters()]
    loss = nn.functional.cross_entropy(net(x.double()), y)
    gradient = torch.autograd.grad(loss, params, create_graph=True)
    flat = torch.cat([g.reshape(-1) for g in gradient])
    rows = []
    for i in range(size):
        row = torch.autograd.grad(flat[i], params, retain_graph=True, allow_unused=True)
        rows.append(torch.cat([torch.zeros_like(p).reshape(-1) if r is None else r.reshape(-1) for r, p in zip(row, params)]))
    full = torch.stack(rows)
    by_parameter, at = {}, 0
    for name, p in net.named_parameters():
        by_parameter[name] = float(torch.trace(full[at:at + p.numel(), at:at + p.numel()]))
        at += p.numel()
    of_input = []
    for i in range(3):
        one = lambda image, i=i: nn.functional.cross_entropy(net(image.reshape(1, 1, 8, 8)), y[i:i + 1])
        values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(one, x[i].double().reshape(-1)))
        of_input.append({"trace": float(values.sum()), "largest": [float(values[-1]), float(values[-2])], "smallest": float(values[0])})
    return {
        "input": of_input,
        "loss": float(loss),
        "gradient_norm": float(flat.norm()),
        "trace": float(torch.trace(full)),
        "trace_by_parameter": by_parameter,
        "top_pyhessian": [float(v) for v in top],
        "smallest": float(torch.linalg.eigvalsh((full + full.T) / 2)[0]),
    }


def normalised(path):
    """`normalize_directions_for_weights` of the released code on weights of every rank, by the text of the functions themselves."""
    text = (Path(path) / "net_plotter.py").read_text()
    functions = {}
    for name in ("normalize_direction", "normalize_directions_for_weights"):
        body = text[text.index(f"def {name}("):]
        exec(body[: body.index("\n\n\n") if "\n\n\n" in body else body.index("\ndef ", 5)], functions)
    shapes = {"conv": [4, 2, 3, 3], "fc": [5, 6], "bias": [5]}
    weights = [torch.randn(s, dtype=torch.float64) for s in shapes.values()]
    weights[1][2] = 0.0
    drawn = [torch.randn(s, dtype=torch.float64) for s in shapes.values()]
    cases = []
    for norm in ("filter", "layer"):
        for ignore in ("biasbn", ""):
            d = [t.clone() for t in drawn]
            functions["normalize_directions_for_weights"](d, weights, norm, ignore)
            cases.append({"norm": norm, "ignore": ignore or "nothing", "result": torch.cat([t.reshape(-1) for t in d]).tolist()})
    flat = lambda ts: torch.cat([t.reshape(-1) for t in ts]).tolist()
    return {"shapes": list(shapes.values()), "weights": flat(weights), "drawn": flat(drawn), "cases": cases}


def main(path):
    images = np.load(HERE.parent.parent / "models/digits/digits-test.npz")
    x = torch.tensor(images["x"][:64], dtype=torch.float32).reshape(-1, 1, 8, 8)
    x = x / 255.0 if images["x"].dtype == np.uint8 else x
    y = torch.tensor(images["y"][:64]).long()
    net = Net()
    with torch.no_grad():
        net.bn.running_mean.copy_(torch.tensor([0.1, -0.2, 0.05]))
        net.bn.running_var.copy_(torch.tensor([0.2, 0.5, 0.1]))
        net.bn.weight.copy_(torch.tensor([1.2, 0.7, 1.5]))
        net.bn.bias.copy_(torch.tensor([0.1, 0.0, -0.3]))
    net.eval()
    out = HERE / "weights"
    out.mkdir(exist_ok=True)
    onnx.save(written(net, True), out / "kept.onnx")
    onnx.save(written(net, False), out / "folded.onnx")
    golden = {"hessian": spectrum(net, x, y), "directions": normalised(path)}
    (out / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
