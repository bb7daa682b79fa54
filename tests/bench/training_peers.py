"""One contender of training_step.py: a process that trains in PyTorch and speaks lines on stdin and stdout.

Knows PyTorch and how a strong user would set it up; knows neither the other contenders nor how results are shown.

    python training_peers.py eager|channels-last THREADS

    info                          -> one line of JSON
    load NET PATH                 -> ok            PATH is an ONNX file with the weights of NET under the names of PyTorch
    run NET RECIPE BATCH REPEATS  -> REPEATS milliseconds, one per step; one untimed step goes before
    costs NET RECIPE BATCH STEPS  -> the mean cost of each step from the weights of the file
    quit

A step is zero_grad, the inner attack where the recipe has one, forward, cost, backward and the update by the fused SGD. Recipes are those of
training_step.rs. While it waits for a request a contender sleeps; it does not spin.
"""

import copy
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

KINDS = ("eager", "channels-last")
CLASSES = 10
SHAPES = {"lenet": (1, 28, 28), "resnet18": (3, 32, 32)}
EPS, STEPS = 10 / 255, 10


def main(kind, threads):
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    fresh, trained = {}, {}
    for line in sys.stdin:
        command, *words = line.split()
        if command == "quit":
            return
        try:
            answer = respond(kind, fresh, trained, command, words)
        except Exception as error:
            answer = f"error {type(error).__name__}: {error}".replace("\n", " ")
        print(answer, flush=True)


def respond(kind, fresh, trained, command, words):
    if command == "info":
        return json.dumps({"engine": f"PyTorch, {kind}", "version": torch.__version__, "threads": torch.get_num_threads()})
    if command == "load":
        net, path = words
        fresh[net] = loaded(net, path)
        return "ok"
    net, recipe, batch, count = words[0], words[1], int(words[2]), int(words[3])
    x, y = samples(net, batch)
    if kind == "channels-last":
        x = x.to(memory_format=torch.channels_last)
    if command == "run":
        step = trained.setdefault((net, recipe), Training(kind, fresh[net], recipe)).step
        step(x, y)
        return " ".join(f"{clock(lambda: step(x, y)):.6f}" for _ in range(count))
    if command == "costs":
        step = Training(kind, fresh[net], recipe).step
        return " ".join(f"{step(x, y):.9f}" for _ in range(count))
    raise ValueError(f"unknown request `{command}`")


def samples(net, batch):
    """Images of a formula; the label of sample i is i mod 10."""
    count = batch * int(torch.tensor(SHAPES[net]).prod())
    pixels = ((7919 * torch.arange(count, dtype=torch.int64)) % 251).to(torch.float32) / 251
    return pixels.reshape(batch, *SHAPES[net]), torch.arange(batch) % CLASSES


def clock(work):
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


class Training:
    def __init__(self, kind, net, recipe):
        self.net = copy.deepcopy(net).train()
        if kind == "channels-last":
            self.net = self.net.to(memory_format=torch.channels_last)
        self.cost = RECIPES[recipe]
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True)

    def step(self, x, y):
        self.optimizer.zero_grad(set_to_none=True)
        cost = self.cost(self.net, x, y)
        cost.backward()
        self.optimizer.step()
        return cost.item()


# ---- recipes --------------------------------------------------------------------------------------------------------------


def ce(net, x, y):
    return F.cross_entropy(net(x), y)


def jacobian(net, x, y, exact=False):
    """Cross-entropy plus λ/2·‖J‖², estimated by one projection (Hoffman et al. 2019), or by every class."""
    x = x.detach().requires_grad_(True)
    z = net(x)
    if exact:
        units = torch.eye(CLASSES).unsqueeze(1).expand(-1, len(x), -1)
        norm = sum(pulled(z, x, unit) for unit in units)
    else:
        v = F.normalize(torch.randn_like(z), dim=1)
        norm = CLASSES * pulled(z, x, v)
    return F.cross_entropy(z, y) + 0.005 * norm


def amsreg(net, x, y):
    """Cross-entropy plus μ/2·‖diag(p)J‖², estimated by one projection; the probabilities are differentiated, too."""
    x = x.detach().requires_grad_(True)
    z = net(x)
    v = F.normalize(torch.randn_like(z), dim=1)
    return F.cross_entropy(z, y) + 0.25 * CLASSES * pulled(z, x, v * z.softmax(1))


def pulled(z, x, cotangent):
    """Mean over the batch of ‖Jᵀv‖²."""
    return torch.autograd.grad(z, x, cotangent, create_graph=True)[0].square().sum() / len(x)


def at_pgd10(net, x, y):
    """Cross-entropy at the last points of PGD from a random start, made in evaluation mode."""
    net.eval()
    low, high = (x - EPS).clamp_(0, 1), (x + EPS).clamp_(0, 1)
    adv = torch.minimum(torch.maximum(x + torch.empty_like(x).uniform_(-EPS, EPS), low), high)
    for _ in range(STEPS):
        adv.requires_grad_(True)
        slope = torch.autograd.grad(F.cross_entropy(net(adv), y, reduction="sum"), adv)[0]
        adv = torch.minimum(torch.maximum(adv.detach() + 2.5 * EPS / STEPS * slope.sign_(), low), high)
    net.train()
    return F.cross_entropy(net(adv), y)


RECIPES = {
    "ce": ce,
    "jacobian": jacobian,
    "jacobian-exact": lambda net, x, y: jacobian(net, x, y, exact=True),
    "amsreg": amsreg,
    "at-pgd10": at_pgd10,
}

# ---- nets -----------------------------------------------------------------------------------------------------------------


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, CLASSES)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        changes = stride != 1 or before != after
        self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)) if changes else nn.Sequential()

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(y + self.shortcut(x), inplace=True)


class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        stages = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        for number, (before, after, stride) in enumerate(stages, 1):
            setattr(self, f"layer{number}", nn.Sequential(Block(before, after, stride), Block(after, after, 1)))
        self.linear = nn.Linear(512, CLASSES)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def loaded(net, path):
    """The net with the initializers of an ONNX file, which have its names."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model = {"lenet": LeNet, "resnet18": ResNet18}[net]()
    values = {t.name: torch.from_numpy(np.array(numpy_helper.to_array(t))) for t in onnx.load(path).graph.initializer}
    wanted = {name for name, value in model.state_dict().items() if value.is_floating_point()}
    found = {name: values[name] for name in wanted}
    model.load_state_dict(found, strict=False)
    return model


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
