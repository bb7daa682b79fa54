"""Derivatives of the trainers' costs by all parameters, from PyTorch's double autograd with create_graph: writes training/gradients.json.

    python tests/golden/parameter_gradients.py

Weights and images follow from a formula in float32 and are widened, so that the file holds results alone. Numbers that our graphs have in float32
(the small constants of MART) are rounded to float32 here, too; weights of regularisers are powers of two.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
SHAPES = {"conv.weight": [4, 1, 3, 3], "conv.bias": [4], "fc1.weight": [8, 16], "fc1.bias": [8], "fc2.weight": [3, 8], "fc2.bias": [3]}


def numbers(shape, salt, scale, shift):
    """((7919 i + salt) mod 251) / 251, moved and scaled in float32."""
    count = int(torch.tensor(shape).prod())
    i = torch.arange(count, dtype=torch.int64)
    return (((7919 * i + salt) % 251).to(torch.float32) / 251.0 + shift).mul(scale).reshape(shape)


def single(value):
    return torch.tensor(value, dtype=torch.float32).double()


PARAMETERS = {name: numbers(shape, 17 * i, 1.0, -0.5).double().requires_grad_() for i, (name, shape) in enumerate(SHAPES.items())}
X = numbers([8, 1, 6, 6], 5, 1.0, 0.0).double().requires_grad_()
X_ADV = numbers([8, 1, 6, 6], 58, 1.0, 0.0).double().requires_grad_()
Y = torch.arange(8) % 3


def features(x):
    p = PARAMETERS
    h = F.max_pool2d(F.relu(F.conv2d(x, p["conv.weight"], p["conv.bias"])), 2).flatten(1)
    return torch.tanh(F.linear(h, p["fc1.weight"], p["fc1.bias"]))


def net(x):
    return F.linear(features(x), PARAMETERS["fc2.weight"], PARAMETERS["fc2.bias"])


def pulled(z, x, cotangent):
    return torch.autograd.grad(z, x, cotangent, create_graph=True)[0].flatten(1)


def square(v):
    return v.square().sum(1)


def ce(x=X):
    return F.cross_entropy(net(x), Y, reduction="none")


def jacobian():
    z = net(X)
    return ce() + 0.25 * sum(square(pulled(z, X, e.expand(8, -1))) for e in torch.eye(3, dtype=torch.float64))


def amsreg(attached):
    z = net(X)
    p = z.softmax(1) if attached else z.softmax(1).detach()
    return ce() + 0.25 * sum(square(pulled(z, X, e * p)) for e in torch.eye(3, dtype=torch.float64))


def score(x):
    z = net(x)
    return torch.autograd.grad(torch.logsumexp(z, 1).sum(), x, create_graph=True)[0].flatten(1)


def input_gradient():
    value = ce()
    return value + 0.5 * square(torch.autograd.grad(value.sum(), X, create_graph=True)[0].flatten(1))


def fam():
    phi, w = features(X), PARAMETERS["fc2.weight"]
    z = net(X)
    p = z.softmax(1)
    apart = (w.unsqueeze(0) - w.unsqueeze(1)).square().sum(2)
    return ce() + 0.25 * 0.5 * square(phi) * (p * (p @ apart)).sum(1)


def along():
    moved = (X_ADV - X).flatten(1)
    return ce() + 0.25 * (score(X) * moved).sum(1).square() / square(moved)


def trades():
    p, q = net(X).log_softmax(1), net(X_ADV).log_softmax(1)
    return ce() + 4.0 * (p.exp() * (p - q)).sum(1)


def mart():
    z, adv = net(X), net(X_ADV)
    p, log_p, q = z.softmax(1), z.log_softmax(1), adv.softmax(1)
    label = F.one_hot(Y, 3).bool()
    boosted = F.cross_entropy(adv, Y, reduction="none") - torch.log(single(1.0001 + 1e-12) - q.masked_fill(label, 0).amax(1))
    others = p.masked_fill(label, 0).sum(1) + single(1e-7)
    return boosted + 4.0 * (p * (log_p - torch.log(q + single(1e-12)))).sum(1) * others


COSTS = {
    "standard": ce,
    "adversarial": lambda: ce(X_ADV),
    "jacobian:lambda=0.5,n-proj=-1": jacobian,
    "amsreg:mu=0.5,n-proj=-1": lambda: amsreg(True),
    "amsreg:mu=0.5,n-proj=-1,p-grad=false": lambda: amsreg(False),
    "exact-ams:mu=0.5": lambda: ce() + 0.25 * square(score(X)),
    "input-gradient:lambda=0.5": input_gradient,
    "fam:lambda=0.25": fam,
    "attack-ams:mu=0.5,along=point": lambda: ce() + 0.25 * square(score(X_ADV)),
    "attack-ams:mu=0.5,along=direction": along,
    "trades:beta=4": trades,
    "mart:beta=4": mart,
}

costs = {}
for name, cost in COSTS.items():
    value = cost().mean()
    found = torch.autograd.grad(value, list(PARAMETERS.values()))
    costs[name] = {"cost": value.item(), "gradients": {key: g.flatten().tolist() for key, g in zip(PARAMETERS, found, strict=True)}}

path = Path(__file__).parent / "training" / "gradients.json"
path.write_text(json.dumps({"torch": torch.__version__.split("+")[0], "costs": costs}) + "\n")
print(path, path.stat().st_size, "bytes")
