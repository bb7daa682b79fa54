"""Writes geometry/nets.json: Jacobians, curvatures and slopes of the narrow networks of nets.py, in float64 by PyTorch's autograd alone.

Knows PyTorch; knows nothing of the project's code. Nothing here is a closed form: Hessians of the last layer are differentiated twice.

    python tests/golden/geometry.py        (torch, numpy)
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "bench"))
from architectures import build  # noqa: E402
from nets import WIDTHS  # noqa: E402

NETS = ("lenet", "ddnet")


def main():
    found = {name: of_net(name) for name in NETS}
    (FOLDER / "geometry").mkdir(exist_ok=True)
    (FOLDER / "geometry" / "nets.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def of_net(name):
    stored = np.load(FOLDER / "nets" / f"{name}.npz")
    model = build(name, WIDTHS[name], seed=1).double()
    columns = [of_sample(model, torch.from_numpy(x).double()[None], int(y)) for x, y in zip(stored["image"], stored["label"])]
    return {key: [column[key] for column in columns] for key in columns[0]}


def of_sample(model, x, y):
    logits = model(x)[0]
    jacobian = torch.autograd.functional.jacobian(lambda v: model(v)[0], x).flatten(1)
    p = logits.softmax(0)
    (gradient,) = torch.autograd.grad(F.cross_entropy(model(x.requires_grad_()), torch.tensor([y])), x)
    gradient = gradient.flatten()
    head, body = model[-1], model[:-1]
    features = body(x)[0].detach()
    weight = head.weight.detach()
    hessian = torch.autograd.functional.hessian(
        lambda w: F.cross_entropy((features @ w.T + head.bias)[None], torch.tensor([y])), weight
    )  # fmt: skip
    blocks = torch.einsum("sitj->stij", hessian).diagonal(dim1=2, dim2=3).sum(2)
    trace = blocks.diagonal().sum()
    values = {
        "logp": logits.logsumexp(0),
        "jacobian_square": (jacobian**2).sum(),
        "weighted_square": ((p[:, None] * jacobian) ** 2).sum(),
        "mass_square": ((p @ jacobian) ** 2).sum(),
        "spectral_norm": torch.linalg.matrix_norm(jacobian, 2),
        "spectral_norm_of_differences": torch.linalg.matrix_norm(jacobian - jacobian[y], 2),
        "gradient_l1": gradient.abs().sum(),
        "gradient_l2": gradient.norm(),
        "gradient_linf": gradient.abs().max(),
        "head_trace": trace,
        "rel_petzka": (blocks * (weight @ weight.T)).sum(),
        "rel_s2": (weight**2).sum() * trace,
    }
    return {key: float(value) for key, value in values.items()}


if __name__ == "__main__":
    main()
