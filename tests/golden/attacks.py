"""Traces of the reference implementation of Auto-PGD, FAB and Square (AutoAttack) on a small network, in float32: writes
tests/golden/attacks/traces.json.

    python tests/golden/attacks.py PATH

PATH is a checkout of AutoAttack (commit a39220048b3c). Weights, images and random draws follow from formulas that the script and
the test share, so that the file holds results alone. The attacks are run as they are; what happens inside of them is read from
their variables while they run. Where rounding decides (a point of FAB on the boundary, pixels that Auto-PGD in l1 puts back), the
test compares no further. Made with PyTorch 2.15.0 on the CPU.
"""

import json
import linecache
import sys
from pathlib import Path

import torch
from torch import nn

torch.set_num_threads(1)
SAMPLES, SHAPE, HIDDEN, CLASSES = 4, (2, 10, 10), 24, 6


def numbers(count, salt):
    """((7919 i + salt) mod 251) / 251: exact fractions in [0, 1)."""
    i = torch.arange(count, dtype=torch.int64)
    return ((7919 * i + salt) % 251).to(torch.float32) / 251.0


class Net(nn.Module):
    """Two linear layers and a ReLU; remembers the points that it was asked about."""

    def __init__(self):
        super().__init__()
        d = SHAPE[0] * SHAPE[1] * SHAPE[2]
        self.first, self.second = nn.Linear(d, HIDDEN), nn.Linear(HIDDEN, CLASSES)
        with torch.no_grad():
            for layer, salt in [(self.first, 3), (self.second, 11)]:
                rows, columns = layer.weight.shape
                layer.weight.copy_((numbers(rows * columns, salt) - 0.5).reshape(rows, columns) * 4.0 / columns**0.5)
                layer.bias.copy_((numbers(rows, salt + 1) - 0.5) * 0.5)
        self.asked = []

    def forward(self, x):
        self.asked.append(x.detach().clone())
        return self.second(torch.relu(self.first(x.reshape(x.shape[0], -1))))


class Draws:
    """Stands in for torch.rand and torch.randn: the numbers of a formula, with another salt for every call."""

    def __init__(self):
        self.calls, self.rand, self.randn = 0, torch.rand, torch.randn

    def draw(self, shape):
        shape = list(shape)
        count = 1
        for extent in shape:
            count *= extent
        self.calls += 1
        # never 0, ½ or 1, so that signs and places are definite
        return (numbers(count, 17 * self.calls) * 0.98 + 0.011).reshape(shape)

    def __enter__(self):
        flat = lambda shape: shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        torch.rand = lambda *shape, **_: self.draw(flat(shape))
        torch.randn = lambda *shape, **_: 2 * self.draw(flat(shape)) - 1
        return self

    def __exit__(self, *_):
        torch.rand, torch.randn = self.rand, self.randn


class Watch:
    """Copies variables of a function whenever it comes to a line that begins with a text."""

    def __init__(self, function, begins, names):
        self.function, self.begins, self.names = function, begins, names
        self.seen = {name: [] for name in names}

    def line(self, frame, event, _):
        if event == "line" and linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip().startswith(self.begins):
            for name in self.names:
                self.seen[name].append(frame.f_locals[name].detach().clone().reshape(-1).tolist())
        return self.line

    def __enter__(self):
        sys.settrace(lambda frame, event, arg: self.line if frame.f_code.co_name == self.function else None)
        return self

    def __exit__(self, *_):
        sys.settrace(None)


def problem():
    net = Net()
    x = (numbers(SAMPLES * SHAPE[0] * SHAPE[1] * SHAPE[2], 29) * 0.9 + 0.05).reshape(SAMPLES, *SHAPE)
    with torch.no_grad():
        y = net(x).argmax(1)
    net.asked.clear()
    return net, x, y


def rounded(values):
    return [float(f"{v:.7g}") for v in torch.as_tensor(values).reshape(-1).tolist()]


def apgd(norm, eps, loss, steps):
    from autoattack.autopgd_base import APGDAttack, APGDAttack_targeted

    net, x, y = problem()
    options = {"n_iter": steps, "norm": norm, "eps": eps, "device": "cpu"}
    attack = APGDAttack_targeted(net, **options) if loss == "dlr-targeted" else APGDAttack(net, loss=loss, **options)
    attack.init_hyperparam(x)
    if loss == "dlr-targeted":
        attack.y_target = net(x).sort(dim=1)[1][:, -2]
    with Draws(), Watch("attack_single_run", "counter3 += 1", ["step_size", "loss_indiv", "loss_best"]) as watch:
        attack.attack_single_run(x, y)
    return {
        "lengths": [rounded(v) for v in watch.seen["step_size"]],
        "losses": [rounded(v) for v in watch.seen["loss_indiv"]],
        "best_losses": [rounded(v) for v in watch.seen["loss_best"]],
    }


def apgd_l1(eps, steps):
    from autoattack.autopgd_base import APGDAttack

    net, x, y = problem()
    attack = APGDAttack(net, n_iter=steps, norm="L1", eps=eps, loss="ce", use_largereps=True, device="cpu")
    attack.init_hyperparam(x)
    radii, counts = [3 * eps, 2 * eps, eps], [3 * steps // 10, 3 * steps // 10, steps - 2 * (3 * steps // 10)]
    randn_like = torch.randn_like
    with Draws() as draws, Watch("attack_single_run", "counter3 += 1", ["step_size", "loss_indiv", "topk"]) as watch:
        torch.randn_like = lambda of: 2 * draws.draw(of.shape) - 1
        attack.decr_eps_pgd(x, y, radii, counts)
    torch.randn_like = randn_like
    return {
        "lengths": [rounded(v) for v in watch.seen["step_size"]],
        "losses": [rounded(v) for v in watch.seen["loss_indiv"]],
        "shares": [rounded(v) for v in watch.seen["topk"]],
    }


def fab(norm, eps, steps, targeted):
    from autoattack.fab_pt import FABAttack_PT

    net, x, y = problem()
    attack = FABAttack_PT(net, norm=norm, n_iter=steps, eps=eps, device="cpu", targeted=targeted)
    attack.target_class = 2
    with Watch("attack_single_run", "counter_iter += 1", ["res2"]) as watch:
        attack.attack_single_run(x, y, is_targeted=targeted)
    return {"distances": [rounded(v) for v in watch.seen["res2"]]}


def square(norm, eps, queries):
    from autoattack.square import SquareAttack

    net, x, y = problem()
    attack = SquareAttack(net, norm=norm, n_queries=queries, eps=eps, resc_schedule=False, device="cpu")
    attack.init_hyperparam(x)
    with Draws(), Watch("attack_single_run", "idx_improved = (loss < loss_min_curr)", ["loss_min"]) as watch:
        attack.attack_single_run(x, y)
    assert all(len(asked) == SAMPLES for asked in net.asked), "a sample was fooled and left"
    return {
        "best_losses": [rounded(-torch.tensor(v)) for v in watch.seen["loss_min"]],
        "start": rounded(net.asked[0]),
        "last": rounded(net.asked[-1]),
    }


def main():
    sys.path.insert(0, sys.argv[1])
    _, x, y = problem()
    cases = [
        ("apgd-ce", "linf:0.1", 40, lambda: apgd("Linf", 0.1, "ce", 40)),
        ("apgd-ce", "l2:1", 40, lambda: apgd("L2", 1.0, "ce", 40)),
        ("apgd-dlr", "linf:0.1", 40, lambda: apgd("Linf", 0.1, "dlr", 40)),
        ("apgd-dlr", "l2:1", 40, lambda: apgd("L2", 1.0, "dlr", 40)),
        ("apgd-t", "linf:0.1", 40, lambda: apgd("Linf", 0.1, "dlr-targeted", 40)),
        ("apgd-t", "l2:1", 40, lambda: apgd("L2", 1.0, "dlr-targeted", 40)),
        ("apgd-ce", "l1:3", 40, lambda: apgd_l1(3.0, 40)),
        ("fab-t", "linf:0.1", 20, lambda: fab("Linf", 0.1, 20, True)),
        ("fab-t", "l2:1", 20, lambda: fab("L2", 1.0, 20, True)),
        ("fab-t", "l1:3", 20, lambda: fab("L1", 3.0, 20, True)),
        ("fab", "linf:0.1", 20, lambda: fab("Linf", 0.1, 20, False)),
        ("fab", "l2:1", 20, lambda: fab("L2", 1.0, 20, False)),
        ("square", "linf:0.02", 60, lambda: square("Linf", 0.02, 60)),
        ("square", "l2:0.08", 60, lambda: square("L2", 0.08, 60)),
    ]
    traces = [{"attack": a, "threat": t, "steps": n, **run()} for a, t, n, run in cases]
    folder = Path(__file__).parent / "attacks"
    folder.mkdir(exist_ok=True)
    text = json.dumps({"labels": y.tolist(), "traces": traces}, separators=(",", ":"))
    (folder / "traces.json").write_text(text.replace('{"attack"', '\n{"attack"').replace(',"', ',\n"') + "\n")


main()
