"""A landscape over the weights: `flatscape landscape --kind loss-weights` beside a PyTorch loop over the same grid.

    python tests/bench/weight_landscape.py [--nets lenet] [--grid 51] [--images 1000] [--out FILE.md]    (torch, numpy, onnx)

Ours is the wall-clock time of the whole command, with its start, its reading of files and its tables; PyTorch's is the loop alone: new
weights in place, one forward pass over all images, the mean cross-entropy. Its layout and batch are the fastest of those tried on three
points first (on one point, where that takes more than two seconds). Directions differ (each draws its own), the work is the same. Both sides compute mean losses of the same images.
"""

import argparse
import datetime
import itertools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from architectures import SHAPES, build

ROOT = Path(__file__).resolve().parent.parent.parent
#: points per direction and images where the command line says nothing
USUAL = {"lenet": (51, 1000), "rn18": (11, 500)}


def main():
    options = options_from_command_line()
    torch.set_num_threads(options.threads)
    rows = [measured(net, options) for net in options.nets]
    report = render(rows, options)
    print(report)
    if options.out:
        options.out.write_text(report)


def options_from_command_line():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=list(USUAL), default=["lenet"])
    parser.add_argument("--grid", type=int, help="points along each direction")
    parser.add_argument("--images", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ours", type=Path, default=ROOT / "target" / "release" / "flatscape")
    parser.add_argument("--ort-lib", type=Path, help="the ONNX Runtime library; else the one that flatscape finds")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    return parser.parse_args()


def measured(net, options):
    grid, images = options.grid or USUAL[net][0], options.images or USUAL[net][1]
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, *SHAPES[net]), dtype=np.uint8)
    model = build(net)
    x = torch.tensor(pixels, dtype=torch.float32) / 255
    with torch.inference_mode():
        y = torch.cat([model(part).argmax(1) for part in x.split(250)])
    folder = Path(tempfile.mkdtemp())
    np.savez(folder / "images.npz", x=pixels, y=y.numpy())
    torch.onnx.export(
        model, x[:2], folder / "net.onnx", opset_version=18, input_names=["x"], output_names=["logits"],
        dynamic_axes={"x": {0: "N"}, "logits": {0: "N"}}, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False, dynamo=False,
    )
    ours, centre = of_flatscape(folder, grid, options)
    theirs, how, expected = of_pytorch(model, x, y, grid)
    shutil.rmtree(folder)
    assert abs(centre - expected) < 1e-5 * max(1, expected), (centre, expected)
    print(f"{net} {grid}x{grid}, {images} images: ours {ours:.1f} s, PyTorch ({how}) {theirs:.1f} s", file=sys.stderr, flush=True)
    return net, grid, images, ours, theirs, how


def of_flatscape(folder, grid, options):
    """Seconds of the command, and the loss in the middle of its surface."""
    command = [
        str(options.ours), "landscape", "net.onnx", "--data", "images.npz", "--scale", "1", "--mean", "0", "--std", "1",
        "--kind", "loss-weights", "--grid", f"-1:1:{grid}", "--threads", str(options.threads), "--out", "run",
    ]  # fmt: skip
    command += ["--ort-lib", str(options.ort_lib)] if options.ort_lib else []
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=dict(os.environ))
    spent = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"flatscape ended with {done.returncode}: {done.stderr}")
    lines = next((folder / "run" / "landscapes").glob("*.csv")).read_text().splitlines()[1:]
    cells = [tuple(float(v) for v in line.split(",")[:3]) for line in lines]
    return spent, next(loss for a, b, loss in cells if a == 0 and b == 0)


def directions(model):
    """Two normal directions of the weights, scaled filter by filter; biases and normalisation stay."""
    made = []
    for seed in (1, 2):
        generator = torch.Generator().manual_seed(seed)
        direction = []
        for weight in model.parameters():
            d = torch.randn(weight.shape, generator=generator)
            norms = [t.flatten(1).norm(dim=1).view(-1, *[1] * (t.dim() - 1)) for t in (weight, d)] if weight.dim() > 1 else None
            direction.append(d * norms[0] / (norms[1] + 1e-10) if norms else torch.zeros_like(d))
        made.append(direction)
    return made


def of_pytorch(model, x, y, grid):
    """Seconds of the loop in its fastest form, the form, and the loss at the weights themselves."""
    start = [weight.detach().clone() for weight in model.parameters()]
    pair = directions(model)

    def moved(a, b):
        for weight, w, d, e in zip(model.parameters(), start, *pair):
            weight.copy_(w + a * d + b * e)

    def loss(parts):
        return sum(F.cross_entropy(model(part), label, reduction="sum").item() for part, label in parts) / len(x)

    def prepared(layout, batch):
        images = x.contiguous(memory_format=layout)
        return list(zip(images.split(batch), y.split(batch)))

    axis = np.linspace(-1, 1, grid)
    with torch.inference_mode():
        forms = list(itertools.product([torch.contiguous_format, torch.channels_last], [50, 100, 250, 500, len(x)]))
        tried = []
        for layout, batch in forms:
            model.to(memory_format=layout)
            parts = prepared(layout, batch)
            began = time.perf_counter()
            loss(parts)
            first = time.perf_counter() - began
            if first > 2:  # a net of this size needs no second look
                tried.append((first, layout, batch))
                continue
            began = time.perf_counter()
            for a in axis[:3]:
                moved(a, 0.1)
                loss(parts)
            tried.append(((time.perf_counter() - began) / 3, layout, batch))
        _, layout, batch = min(tried, key=lambda t: t[0])
        model.to(memory_format=layout)
        parts = prepared(layout, batch)
        moved(0.0, 0.0)
        centre = loss(parts)
        began = time.perf_counter()
        for b in axis:
            for a in axis:
                moved(a, b)
                loss(parts)
        spent = time.perf_counter() - began
        moved(0.0, 0.0)
    name = "channels last" if layout is torch.channels_last else "contiguous"
    return spent, f"{name}, batch {batch}", centre


def render(rows, options):
    head = [
        "# A landscape over the weights",
        "",
        "    python tests/bench/weight_landscape.py",
        "",
        f"{datetime.date.today()}; {platform.machine()}, {options.threads} threads each; Python {platform.python_version()}, "
        f"PyTorch {torch.__version__}.",
        "",
        "Seconds for the mean loss at every point of a grid over two directions of the weights. Ours is the",
        "whole command; PyTorch's is the loop alone, in the layout and batch that are fastest here.",
        "",
        "| net | grid | images | ours | PyTorch | its form | PyTorch to ours |",
        "|---|---:|---:|---:|---:|---|---:|",
    ]
    line = "| {} | {}×{} | {} | {:.1f} | {:.1f} | {} | {:.2f}× |"
    return "\n".join(head + [line.format(n, g, g, i, a, b, how, b / a) for n, g, i, a, b, how in rows]) + "\n"


if __name__ == "__main__":
    main()
