"""Compares the nearest adversarial examples of this project's attacks with those of adversarial-library on the same files and images.

    python tests/bench/distances.py --shared DIR [--out FILE.md] [--models NAME …] [-n 200]

`--shared` is a folder with `models/`, `mnist/` and `fashion-mnist/` as the tests read them; adversarial-library (`pip install adv-lib`)
must be importable. Both contenders take the same numbers of steps. Distances are measured here for the reference and by the host for this
project, on the images that are classified correctly; an image on which an attack finds nothing has an infinite distance. No time is
measured.
"""

import argparse
import csv
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from verdict import FOLDER, ROOT, dataset

# name: file, data
MODELS = {
    "netkit_fashion_mlp": ("netkit_fashion_mlp.onnx", "fashion-mnist"),
    "netkit_mnist_mlp": ("netkit_mnist_mlp.onnx", "mnist"),
    "convnet_maxpool": ("convnet_maxpool.onnx", "mnist"),
    "netkit_fashion_cnn": ("netkit_fashion_cnn.onnx", "fashion-mnist"),
    "netkit_mnist_cnn": ("netkit_mnist_cnn.onnx", "mnist"),
}
# a threat model, whose radius only says how much counts as broken
THREATS = {"linf": "linf:0.1", "l2": "l2:1", "l1": "l1:10", "l0": "l0:20"}
# norm, this project's attack as written, the reference's function and its arguments
PAIRS = [
    ("l2", "cw:steps=1000", "carlini_wagner_l2", {"max_iterations": 1000}),
    ("l2", "deepfool", "df", {"steps": 50, "norm": 2}),
    ("linf", "deepfool", "df", {"steps": 50, "norm": "inf"}),
    ("l2", "ddn", "ddn", {"steps": 100, "levels": None}),
    ("l0", "fmn", "fmn", {"steps": 100, "norm": 0}),
    ("l1", "fmn", "fmn", {"steps": 100, "norm": 1}),
    ("l2", "fmn", "fmn", {"steps": 100, "norm": 2}),
    ("linf", "fmn", "fmn", {"steps": 100, "norm": "inf"}),
    ("l0", "sigma-zero", "sigma_zero", {"num_steps": 1000}),
    ("l1", "fab", "fab", {"n_iter": 100, "norm": 1}),
    ("l2", "fab", "fab", {"n_iter": 100, "norm": 2}),
    ("linf", "fab", "fab", {"n_iter": 100, "norm": "inf"}),
]


def main():
    options = options_from_command_line()
    rows = []
    for name in options.models:
        for pair in PAIRS:
            if options.attacks and pair[1].split(":")[0] not in options.attacks:
                continue
            rows.append(compared(name, pair, options))
            if options.out:
                options.out.parent.mkdir(parents=True, exist_ok=True)
                options.out.write_text(render(options, rows))
    print(render(options, rows))


def options_from_command_line():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--program", type=Path, default=ROOT / "target" / "release" / "flatscape")
    parser.add_argument("--ort-lib", help="the library of ONNX Runtime; without it the one that the program finds")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--attacks", nargs="+", help="only these, by their names here")
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def compared(name, pair, options):
    norm, written, function, arguments = pair
    file, data = MODELS[name]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        images, labels, source = dataset(options.shared, data, options.n, folder)
        model = options.shared / "models" / file
        ours, right = audit(options, model, source, len(labels), norm, written, folder / "run")
        theirs, version = reference(options, model, images, labels, norm, function, arguments, folder)
    ours, theirs = ours[right], theirs[right]
    both = np.isfinite(ours) & np.isfinite(theirs)
    row = {
        "model": name, "norm": norm, "ours": written, "reference": function, "arguments": arguments, "n": int(right.sum()), "version": version,
        "median": (np.median(ours), np.median(theirs)), "mean": (ours[both].mean(), theirs[both].mean()),
        "found": (int(np.isfinite(ours).sum()), int(np.isfinite(theirs).sum())),
        "nearer": (int((ours < theirs * (1 - 1e-3)).sum()), int((theirs < ours * (1 - 1e-3)).sum())),
    }
    print(json.dumps({key: str(value) for key, value in row.items()}), file=sys.stderr, flush=True)
    return row


def audit(options, model, source, n, norm, written, run):
    """Distances by image, and which images are classified correctly."""
    command = [options.program, "audit", model, "--data", source, "-n", n, "--threat", THREATS[norm], "--attack", written, "--engine", "ort"]
    command += ["--threads", options.threads, "--landscapes", 0, "--out", run]
    command += ["--ort-lib", options.ort_lib] if options.ort_lib else []
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if ended.returncode not in (0, 9):
        raise SystemExit(f"the audit ended with {ended.returncode}: {ended.stderr[-2000:]}")
    rows = sorted(csv.DictReader((run / "samples.csv").open()), key=lambda row: int(row["id"]))
    column = next(key for key in rows[0] if key.endswith(".distance"))
    distance = lambda row: float(row[column]) if row[column] not in ("", "NaN", "nan") else float("inf")
    return np.array([distance(row) for row in rows]), np.array([row["label"] == row["prediction"] for row in rows])


def reference(options, model, images, labels, norm, function, arguments, folder):
    np.save(folder / "x.npy", images)
    np.save(folder / "y.npy", labels)
    request = {
        "model": str(model), "images": str(folder / "x.npy"), "labels": str(folder / "y.npy"), "norm": norm, "function": function,
        "arguments": arguments, "threads": options.threads,
    }
    (folder / "request.json").write_text(json.dumps(request))
    subprocess.run([sys.executable, FOLDER / "distances_peer.py", folder / "request.json", folder / "answer.json"], check=True, stdout=sys.stderr)
    answer = json.loads((folder / "answer.json").read_text())
    return np.array([np.inf if d is None else d for d in answer["distances"]]), answer["version"]


def render(options, rows):
    said = lambda arguments: ", ".join(f"{key}={value}" for key, value in arguments.items())
    lines = [
        "# Distances: minimum-norm attacks against adversarial-library", "",
        "    python tests/bench/distances.py --shared DIR", "",
        f"{datetime.date.today().isoformat()}; {rows[0]['version']}. The first {options.n} test images, of which those count that are classified",
        "correctly. «Found» is the number of images with an adversarial example; means are over the images on which both found one; «nearer» is the",
        "number of images on which one is nearer than the other by more than 0.1 %.", "",
        "| model | norm | attack | reference | images | found, ours and reference | median, ours | median, reference | ratio | mean, ours | mean, reference | nearer, ours and reference |",
        "|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        (ours, theirs), (mean, their_mean) = row["median"], row["mean"]
        cells = [
            row["model"], row["norm"], f"`{row['ours']}`", f"`{row['reference']}` ({said(row['arguments'])})", row["n"], "{}, {}".format(*row["found"]),
            f"{ours:.5g}", f"{theirs:.5g}", f"{ours / theirs:.4f}", f"{mean:.5g}", f"{their_mean:.5g}", "{}, {}".format(*row["nearer"]),
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
