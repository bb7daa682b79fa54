"""Adversarial training of a LeNet on Fashion-MNIST, ours beside the same recipe in PyTorch: clean accuracy, and accuracy under PGD-10 at 25/255.

Knows the recipe and how both results are judged, by the same PyTorch code on the test images; training_peers.py has the net and the inner attack.

    python tests/bench/adversarial_training.py ours|pytorch|judge [--epochs N] [--images N] [--data-dir DIR]

`ours` runs `flatscape train`, `pytorch` the peer, `judge` prints the table. Both begin with the same seeded weights, use SGD (0.01, momentum 0.9, decay 5e-4),
batches of 128, no augmentation and no validation split, and train on the last points of PGD-10 at 10/255 alone. The files lie in target/bench.
"""

import argparse
import gzip
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from training_peers import LeNet, RECIPES, loaded

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "target" / "bench"
BATCH, LR = 128, 0.01


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("ours", "pytorch", "judge"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--data-dir", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--flatscape", type=Path, default=ROOT / "target" / "release" / "flatscape")
    parser.add_argument("--ort-lib", type=Path, help="the ONNX Runtime library of ours")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    WORK.mkdir(parents=True, exist_ok=True)
    {"ours": ours, "pytorch": pytorch, "judge": judge}[options.what](options)


def images(options, half):
    def read(name, skip):
        return np.frombuffer(gzip.decompress((options.data_dir / "fashion-mnist" / f"{half}-{name}.gz").read_bytes()), np.uint8, offset=skip)

    x = torch.from_numpy(read("images-idx3-ubyte", 16).copy()).reshape(-1, 1, 28, 28).float() / 255
    return x, torch.from_numpy(read("labels-idx1-ubyte", 8).astype(np.int64))


def seeded(options):
    path = WORK / "lenet-seed0.onnx"
    if not path.exists():
        subprocess.run([options.flatscape, "models", "new", "lenet", "--seed", "0", "-o", path], check=True)
    return path


def ours(options):
    out = WORK / "lenet-at-ours.onnx"
    command = [options.flatscape, "train", seeded(options), "--data", "fashion-mnist", "--data-dir", options.data_dir, "-n", options.images]
    command += ["--trainer", "adversarial", "--threat", "linf:10/255", "--optimizer", "sgd:momentum=0.9,weight-decay=5e-4", "--lr", LR]
    command += ["--epochs", options.epochs, "--batch-size", BATCH, "--validation", 0, "--threads", options.threads, "--engine", "ort", "-o", out]
    command += ["--ort-lib", options.ort_lib] if options.ort_lib else []
    command += ["--resume"] if Path(f"{out}.train").exists() else []
    start = time.monotonic()
    subprocess.run(list(map(str, command)), check=True)
    print(f"ours: {time.monotonic() - start:.1f} s for {options.epochs} epochs of {options.images} images")


def pytorch(options):
    torch.manual_seed(0)
    net = loaded("lenet", seeded(options)).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=0.9, weight_decay=5e-4, fused=True)
    x, y = (v[: options.images] for v in images(options, "train"))
    path, begin = WORK / "lenet-at-pytorch.pt", 0
    if path.exists():
        kept = torch.load(path)
        begin = kept["epoch"]
        net.load_state_dict(kept["net"])
        optimizer.load_state_dict(kept["optimizer"])
    start = time.monotonic()
    for epoch in range(begin, options.epochs):
        total = 0.0
        for ids in torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch)).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            cost = RECIPES["at-pgd10"](net, x[ids], y[ids])
            cost.backward()
            optimizer.step()
            total += cost.item() * len(ids)
        torch.save({"epoch": epoch + 1, "net": net.state_dict(), "optimizer": optimizer.state_dict()}, path)
        print(f"epoch {epoch + 1}: mean cost {total / len(x):.4f}, {time.monotonic() - start:.1f} s", flush=True)
    print(f"PyTorch: {time.monotonic() - start:.1f} s for epochs {begin + 1} to {options.epochs} of {options.images} images")


def judge(options):
    x, y = images(options, "t10k")
    theirs = LeNet()
    theirs.load_state_dict(torch.load(WORK / "lenet-at-pytorch.pt")["net"])
    found = {"PyTorch": theirs, "ours": loaded("lenet", WORK / "lenet-at-ours.onnx")}
    print(f"| trained by | clean, % of {len(x)} | PGD-10 at 25/255, % |\n|---|---:|---:|")
    rows = []
    for name, net in found.items():
        torch.manual_seed(1)
        net = net.eval().requires_grad_(False)
        rows.append([accuracy(net, x, y), accuracy(net, attacked(net, x, y, 25 / 255), y)])
        print(f"| {name} | {rows[-1][0]:.2f} | {rows[-1][1]:.2f} |")
    print(f"| difference | {rows[1][0] - rows[0][0]:+.2f} | {rows[1][1] - rows[0][1]:+.2f} |")


def attacked(net, x, y, eps, steps=10):
    """The last points of PGD from a random start."""
    points = []
    for clean, label in zip(x.split(1000), y.split(1000), strict=True):
        low, high = (clean - eps).clamp(0, 1), (clean + eps).clamp(0, 1)
        adv = torch.minimum(torch.maximum(clean + torch.empty_like(clean).uniform_(-eps, eps), low), high)
        for _ in range(steps):
            adv.requires_grad_(True)
            slope = torch.autograd.grad(F.cross_entropy(net(adv), label, reduction="sum"), adv)[0]
            adv = torch.minimum(torch.maximum(adv.detach() + 2.5 * eps / steps * slope.sign(), low), high)
        points.append(adv.detach())
    return torch.cat(points)


def accuracy(net, x, y):
    with torch.no_grad():
        return 100 * sum((net(a).argmax(1) == b).sum().item() for a, b in zip(x.split(1000), y.split(1000), strict=True)) / len(x)


if __name__ == "__main__":
    sys.exit(main())
