"""Ten steps of training in PyTorch, in float32: writes tests/golden/training/steps.json.

    python tests/golden/training.py

Weights and images follow from a formula, so that the file holds results alone. Made with PyTorch 2.x on the CPU.
"""

import json
from pathlib import Path

import torch
from torch import nn

torch.set_num_threads(1)


def numbers(shape, salt, scale, shift):
    """((7919 i + salt) mod 251) / 251, moved and scaled: exact in float32 up to the last product."""
    count = int(torch.tensor(shape).prod())
    i = torch.arange(count, dtype=torch.int64)
    return (((7919 * i + salt) % 251).to(torch.float32) / 251.0 + shift).mul(scale).reshape(shape)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        # a bias before batch normalisation has no gradient but rounding, which Adam would make a step of
        self.conv, self.bn, self.fc = nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Linear(64, 3)
        with torch.no_grad():
            for name, salt, scale in [("conv.weight", 0, 1.0), ("fc.weight", 2, 0.5), ("fc.bias", 3, 0.2)]:
                parameter = self.get_parameter(name)
                parameter.copy_(numbers(list(parameter.shape), salt, scale, -0.5))

    def forward(self, x):
        return self.fc(torch.relu(self.bn(self.conv(x))).flatten(1))


def cost(net, x, y, kind):
    if kind == "cross-entropy":
        return nn.functional.cross_entropy(net(x), y)
    x = x.clone().requires_grad_(True)
    z = net(x)
    # mean of CE + ½ ‖∇ LSE‖², attached: the exact squared mass score
    ce = nn.functional.cross_entropy(z, y)
    gradient = torch.autograd.grad(torch.logsumexp(z, 1).sum(), x, create_graph=True)[0]
    return ce + 0.5 * gradient.flatten(1).square().sum(1).mean()


OPTIMIZERS = {
    "sgd:momentum=0.9,weight-decay=0.01": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "sgd:momentum=0.9,weight-decay=0.01,nesterov=true": lambda p: torch.optim.SGD(
        p, lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=True
    ),
    "adam:weight-decay=0": lambda p: torch.optim.Adam(p, lr=0.05),
    "adamw:weight-decay=0.01": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.01),
}

runs = []
for optimizer, make in OPTIMIZERS.items():
    for kind in ["cross-entropy", "exact-ams"]:
        if kind == "exact-ams" and not optimizer.startswith("sgd:momentum=0.9,weight-decay=0.01"):
            continue
        net = Net()
        net.train()
        steps = make(net.parameters())
        costs = []
        for step in range(10):
            x, y = numbers([8, 1, 6, 6], 31 * step, 1.0, 0.0), (torch.arange(8) * (step + 1)) % 3
            steps.zero_grad()
            value = cost(net, x, y, kind)
            value.backward()
            steps.step()
            costs.append(value.item())
        after = {name: t.flatten().tolist() for name, t in net.state_dict().items() if t.is_floating_point()}
        runs.append({"optimizer": optimizer, "cost": kind, "costs": costs, "after": after})

path = Path(__file__).parent / "training" / "steps.json"
path.parent.mkdir(exist_ok=True)
path.write_text(json.dumps({"torch": torch.__version__.split("+")[0], "runs": runs}) + "\n")
print(path, path.stat().st_size, "bytes")
