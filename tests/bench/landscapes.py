"""Measures Φ and likelihood landscapes: `flatscape audit --metric phi` and `flatscape landscape` against batched PyTorch on the same networks.

    python tests/bench/landscapes.py --data DIR [--out FILE.md] [--rounds 3] [--threads 2] [--cases NAME …]

`--data` holds the IDX files of Fashion-MNIST in `fashion-mnist/` and, for the case phi-netkit, the file `models/netkit_fashion_cnn.onnx`,
which is the module that onnx2torch makes of it in PyTorch. PyTorch is asked in every memory format and at every batch size of a
list, once, and then measured at its fastest in every round, in turn with ours. Its time is that of the computation alone, from images
in memory to scores in memory; ours is that of the job (`times.csv`: linking and compiling included) and, beside it, that of the whole
process, with reading the files, the labels' predictions and writing the tables and pages. The network has seeded weights, so both
compute the same; the difference of their Φ is a column.
"""

import argparse
import csv
import datetime
import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
# name: network, what is measured, images, grid, the ratio that is aimed at
CASES = {
    "phi-lenet": ("lenet", "phi", 1000, 21, 3.0),
    "phi-netkit": ("netkit_fashion_cnn", "phi", 200, 21, 2.0),
    "landscape-lenet": ("lenet", "landscape", 1, 51, 2.0),
    "landscape-rn18": ("rn18", "landscape", 1, 51, 1.3),
}
BATCHES = (64, 128, 256, 512, 1024)
EXTENT = 25 / 255


def main():
    options = options_from_command_line()
    import torch

    torch.set_num_threads(options.threads)
    rows = [case(name, options) for name in options.cases]
    report = render(options, rows, torch.__version__)
    if options.out:
        options.out.write_text(report)
    print(report)


def options_from_command_line():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--program", type=Path, default=ROOT / "target" / "release" / "flatscape")
    parser.add_argument("--ort-lib", required=True, help="the library of ONNX Runtime")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def case(name, options):
    net, kind, n, grid, aim = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model = network(net, options.data, folder / f"{net}.onnx")
        images, source = pictures(net, n, options.data, folder)
        batch, layout = fastest(model, kind, images, grid)
        job, whole, theirs, found = [], [], [], None
        for turn in range(options.rounds):
            started = time.perf_counter()
            expected = computed(model, kind, images, grid, batch, layout)
            theirs.append(time.perf_counter() - started)
            started = time.perf_counter()
            found, spent = ours(options, kind, folder / f"{net}.onnx", source, n, grid, folder / f"run{turn}")
            whole.append(time.perf_counter() - started)
            job.append(spent)
        worst = agreement(kind, found, expected)
    middle = statistics.median
    return {
        "name": name, "points": n * grid * grid, "job": middle(job), "whole": middle(whole), "theirs": middle(theirs),
        "setting": f"{layout}, batch {batch}", "ratio": middle(theirs) / middle(job), "aim": aim, "difference": worst,
    }  # fmt: skip


def network(net, data, file):
    """The network as a module, and as a file at this place."""
    from architectures import SHAPES, build, export

    if net in SHAPES:
        model = build(net).requires_grad_(False)
        export(model, net, file)
        return model
    import shutil

    import onnx
    from peers import from_file

    shutil.copy(data / "models" / f"{net}.onnx", file)
    whole = onnx.load(file)
    last = whole.graph.node[-1]
    # the program measures the scores before a softmax at the end
    if last.op_type == "Softmax":
        whole.graph.output[0].name = last.input[0]
        whole.graph.node.remove(last)
    scores = file.with_name("scores.onnx")
    onnx.save(whole, scores)
    return from_file(net, scores).requires_grad_(False)


def pictures(net, n, data, folder):
    """The first images as NumPy, [n,C,H,W] in 0 to 1, and the file from which the program reads the same."""
    from architectures import SHAPES

    if net not in ("ddnet", "rn18"):
        raw = gzip.open(data / "fashion-mnist" / "t10k-images-idx3-ubyte.gz", "rb").read()
        pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)[:n]
        labels = np.frombuffer(gzip.open(data / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz", "rb").read(), np.uint8, offset=8)[:n]
        pixels = pixels[..., None]
    else:
        generator = np.random.default_rng(0)
        c, h, w = SHAPES[net]
        pixels = generator.integers(0, 256, (n, h, w, c), dtype=np.uint8)
        labels = np.zeros(n, np.int64)
    np.savez(folder / "images.npz", x=pixels, y=labels.astype(np.int64))
    return pixels.transpose(0, 3, 1, 2).astype(np.float32) / 255, folder / "images.npz"


def directions(pixels):
    """A pair of orthogonal sign vectors; which one does not matter for the time."""
    generator = np.random.default_rng(1)
    first = generator.choice([-1.0, 1.0], pixels).astype(np.float32)
    flip = np.ones(pixels, np.float32)
    flip[generator.permutation(pixels)[: pixels // 2]] = -1
    return first, first * flip


def computed(model, kind, images, grid, batch, layout):
    """PyTorch: Φ per image, or Δ log p per cell, all cells of all images in batches of one size."""
    import torch

    where = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    n, shape = len(images), images.shape[1:]
    first, second = (torch.from_numpy(d).reshape(1, *shape) for d in directions(int(np.prod(shape))))
    axis = torch.linspace(-EXTENT, EXTENT, grid)
    x0 = torch.from_numpy(images)
    cells = torch.cartesian_prod(axis, axis)
    out = torch.empty(n * len(cells))
    net = model.to(memory_format=where)
    for start in range(0, len(out), batch):
        rows = torch.arange(start, min(start + batch, len(out)))
        e2, e1 = cells[rows % len(cells)].unbind(1)
        x = x0[rows // len(cells)] + e1[:, None, None, None] * first + e2[:, None, None, None] * second
        x = x.contiguous(memory_format=where)
        if kind == "phi":
            x.requires_grad_(True)
            total = torch.logsumexp(net(x), 1).sum()
            (gradient,) = torch.autograd.grad(total, x)
            out[rows] = -gradient.flatten(1).norm(dim=1)
        else:
            with torch.inference_mode():
                out[rows] = torch.logsumexp(net(x), 1)
    surface = out.reshape(n, -1)
    return (surface.sum(1) if kind == "phi" else surface - surface[:, len(cells) // 2, None]).numpy()


def fastest(model, kind, images, grid):
    """The batch size and the memory format at which PyTorch is fastest, on a part of the work."""
    part = images[: 10 if kind == "phi" else 1]
    times = {}
    for layout in ("contiguous", "channels_last"):
        for batch in BATCHES:
            computed(model, kind, part[:1], 9, batch, layout)
            started = time.perf_counter()
            computed(model, kind, part, min(grid, 21), batch, layout)
            times[batch, layout] = time.perf_counter() - started
    return min(times, key=times.get)


def ours(options, kind, model, source, n, grid, out):
    """What the program finds, and the seconds of the job."""
    common = ["--engine", "ort", "--ort-lib", options.ort_lib, "--threads", str(options.threads), "--out", str(out)]
    if kind == "phi":
        metric = f"phi:directions=1,grid={grid},extent={EXTENT!r},control=false"
        command = ["audit", model, "--data", source, "-n", str(n), "--threat", "linf:25/255", "--metric", metric, "--landscapes", "0"]
    else:
        command = ["landscape", model, "--data", source, "--sample", "0", "--grid", f"-25/255:25/255:{grid}"]
    ended = subprocess.run([options.program, *map(str, command), *common], capture_output=True, text=True)
    if ended.returncode not in (0, 9):  # 9: random weights are no better than chance, and that is said
        raise SystemExit(ended.stderr)
    wanted = "phi" if kind == "phi" else "landscape"
    lines = [line.split(",") for line in (out / "times.csv").read_text().splitlines()]
    spent = sum(float(line[1]) for line in lines if f".{wanted}" in line[0])
    if kind == "phi":
        found = [float(row["phi_sum"]) for row in csv.DictReader((out / "samples.csv").open()) if row["phi_sum"]]
    else:
        (file,) = (out / "landscapes").glob("*.csv")
        found = [float(row["delta_log_p"]) for row in csv.DictReader(file.open())]
    return np.array(found), spent


def agreement(kind, found, expected):
    """Both have directions of their own, so Φ over many images can be compared: the relative difference of its means."""
    return f"{abs(np.abs(found).mean() / np.abs(expected).mean() - 1):.2%}" if kind == "phi" else "–"


def render(options, rows, version):
    lines = [
        "# Φ and landscapes",
        "",
        f"Measured {datetime.date.today()} by `python tests/bench/landscapes.py` with {options.threads} threads, {options.rounds} rounds in turn,"
        f" medians in seconds. PyTorch {version} at its best memory format and batch size. The load of the machine at the end: {os.getloadavg()[0]:.1f}.",
        "",
        "| case | points | ours, the job | ours, the whole process | PyTorch | its setting | PyTorch / job | aim | difference of Φ |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['name']} | {row['points']:,} | {row['job']:.2f} | {row['whole']:.2f} | {row['theirs']:.2f} | {row['setting']} "
            f"| {row['ratio']:.2f} | {row['aim']} | {row['difference']} |"
        )
    lines += [
        "",
        "Both draw directions of their own, so only Φ over many images can be compared; that the values are right is what closed forms test.",
        "One landscape of LeNet is 2,601 points: its job is mostly linking and compiling, which PyTorch's time does not have in it.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.path.insert(0, str(FOLDER))
    main()
