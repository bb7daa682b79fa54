"""Measures the time to a verdict and compares verdicts: `flatscape audit --profile standard` against AutoAttack's own code on the same files.

    python tests/bench/verdict.py --autoattack DIR --shared DIR [--out FILE.md] [--cases NAME …] [-n 1000]
    python tests/bench/verdict.py --pgd --shared DIR [--out FILE.md] [--cases NAME …] [-n 1000]    (torchattacks, onnx2torch)

`--autoattack` is a checkout of https://github.com/fra31/auto-attack (it is on no registry); `--shared` a folder with `models/`,
`mnist/`, `fashion-mnist/` and `cifar10/` as the tests read them. Both contenders judge the same first images with the same number of
threads, one after the other; a time is that of the whole work: for this project the process from its start to its report (with
certificate, clean points and the trial of other losses), for the reference the evaluation without the import of PyTorch. Processor time,
of all processes and threads, is that of the same work: it is what counts where the machine is not quiet. Every image on which the two
differ is listed.

With `--pgd` the attack is PGD with 20 steps of 2.5·ε/20 from a random start, against torchattacks on the module that onnx2torch makes of the
file, at the fastest of four batch sizes (tried on 100 images first); the time of the attack's jobs alone stands beside that of the whole.
"""

import argparse
import csv
import datetime
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
PLAIN = ([0.0], [1.0])
OVAL = ([0.485, 0.456, 0.406], [0.225] * 3)
CIFAR_2B = ([0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616])
SRI = ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010])
# name: file, data, radius at which about half of the images are broken, mean and std, the ratio that is aimed at
CASES = {
    "netkit_fashion_cnn": ("netkit_fashion_cnn.onnx", "fashion-mnist", "0.015", PLAIN, 3.0),
    "netkit_mnist_cnn": ("netkit_mnist_cnn.onnx", "mnist", "0.08", PLAIN, 3.0),
    "netkit_fashion_mlp": ("netkit_fashion_mlp.onnx", "fashion-mnist", "0.02", PLAIN, None),
    "netkit_mnist_mlp": ("netkit_mnist_mlp.onnx", "mnist", "0.035", PLAIN, None),
    "convnet_maxpool": ("convnet_maxpool.onnx", "mnist", "0.03", PLAIN, None),
    "cnn_max_mninst2": ("cnn_max_mninst2.onnx", "mnist", "0.06", PLAIN, None),
    "mnistfc_256x2": ("mnistfc_256x2.onnx", "mnist", "0.04", PLAIN, None),
    "cifar_base_kw": ("cifar_base_kw.onnx", "cifar10", "3/255", OVAL, None),
    "resnet20": ("resnet20_cifar10.onnx", "cifar10", "0.5/255", SRI, None),
    "resnet_2b": ("resnet_2b.onnx", "cifar10", "4/255", CIFAR_2B, 1.3),
    "sri_resnet_a": ("sri_resnet_a.onnx", "cifar10", "3/255", SRI, 1.3),
}
# the same of PGD
PGD_AIMS = {"netkit_fashion_cnn": 5.0, "resnet20": 5.0, "resnet_2b": 2.0, "mnistfc_256x2": 1.2}


def main():
    options = options_from_command_line()
    rows = []
    for name in options.cases:
        rows.append(case(name, options))
        report = (render_pgd if options.pgd else render)(options, rows)
        if options.out:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(report)
    print(report)


def options_from_command_line():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--autoattack", type=Path, help="required without --pgd")
    parser.add_argument("--pgd", action="store_true", help="PGD against torchattacks")
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--program", type=Path, default=ROOT / "target" / "release" / "flatscape")
    parser.add_argument("--ort-lib", help="the library of ONNX Runtime; without it the one that the program finds")
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    parser.add_argument("--cases", nargs="+", choices=list(CASES))
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if not options.pgd and not options.autoattack:
        parser.error("--autoattack or --pgd is needed")
    options.cases = options.cases or (list(PGD_AIMS) if options.pgd else [name for name in CASES if name != "resnet20"])
    return options


def case(name, options):
    file, data, eps, (mean, std), aim = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        images, labels, source = dataset(options.shared, data, options.n, folder)
        model = options.shared / "models" / file
        (seconds, processor), ours, clean = audit(options, model, source, len(labels), eps, mean, std, folder / "run")
        attack = sum(float(line.split(",")[1]) for line in (folder / "run" / "times.csv").read_text().splitlines() if ".pgd" in line)
        theirs = reference(options, model, images, labels, eps, mean, std, folder)
    robust = np.array(theirs["robust"])
    row = {
        "name": name, "n": len(labels), "eps": eps, "aim": PGD_AIMS.get(name) if options.pgd else aim, "ours_s": seconds, "attack_s": attack, "batch": theirs.get("batch"), "reference_s": theirs["seconds"],
        "ours_processor_s": processor, "reference_processor_s": theirs["processor_seconds"], "versions": theirs["versions"],
        "clean": (clean.mean(), np.mean(theirs["clean"])), "ours": ours.mean(), "reference": robust.mean(),
        "only_ours_breaks": np.flatnonzero(~ours & robust).tolist(), "only_reference_breaks": np.flatnonzero(ours & ~robust).tolist(),
    }
    print(json.dumps({key: str(value) for key, value in row.items()}), file=sys.stderr, flush=True)
    return row


def dataset(shared, data, n, folder):
    """Images float32 [n,C,H,W] in [0,1], labels, and what `--data` takes: the first n test images; for CIFAR-10 those stored without loss."""
    if data == "cifar10":
        rows = np.fromfile(shared / "cifar10" / "test_lossless_890.bin", np.uint8).reshape(-1, 3073)[:n]
        images, labels = rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]
        source = folder / "images.npz"
        np.savez(source, x=images, y=labels.astype(np.int64))
    else:
        read = lambda kind, skip: np.frombuffer(gzip.open(shared / data / f"t10k-{kind}-ubyte.gz").read(), np.uint8, offset=skip)
        images, labels = read("images-idx3", 16).reshape(-1, 1, 28, 28)[:n], read("labels-idx1", 8)[:n]
        source = shared / data
    return (images / np.float32(255)).astype(np.float32), labels.astype(np.int64), source


def audit(options, model, source, n, eps, mean, std, run):
    command = [options.program, "audit", model, "--data", source, "-n", n, "--threat", f"linf:{eps}", "--engine", "ort"]
    command += ["--attack", "pgd:steps=20"] if options.pgd else ["--profile", "standard"]
    command += ["--threads", options.threads, "--landscapes", 0, "--out", run]
    command += ["--ort-lib", options.ort_lib] if options.ort_lib else []
    if (mean, std) != PLAIN:
        command += ["--mean", ",".join(map(str, mean)), "--std", ",".join(map(str, std))]
    start, before = time.perf_counter(), spent_by_children()
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    seconds = time.perf_counter() - start, spent_by_children() - before
    if ended.returncode not in (0, 9):
        raise SystemExit(f"the audit ended with {ended.returncode}: {ended.stderr[-2000:]}")
    rows = sorted(csv.DictReader((run / "samples.csv").open()), key=lambda row: int(row["id"]))
    outcomes = [key for key in rows[0] if key.endswith(".outcome")]
    clean = np.array([row["label"] == row["prediction"] for row in rows])
    broken = np.array([any(row[key] in ("broken", "nan-in-ball") for key in outcomes) for row in rows])
    return seconds, clean & ~broken, clean


def spent_by_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def reference(options, model, images, labels, eps, mean, std, folder):
    np.save(folder / "x.npy", images)
    np.save(folder / "y.npy", labels)
    top, _, bottom = eps.partition("/")
    request = {
        "autoattack": str(options.autoattack), "model": str(model), "images": str(folder / "x.npy"), "labels": str(folder / "y.npy"),
        "mean": mean, "std": std, "eps": float(top) / float(bottom or 1), "threads": options.threads, "batch": 250, "attack": "pgd" if options.pgd else "standard",
    }
    (folder / "request.json").write_text(json.dumps(request))
    subprocess.run([sys.executable, FOLDER / "verdict_peer.py", folder / "request.json", folder / "answer.json"], check=True, stdout=sys.stderr)
    return json.loads((folder / "answer.json").read_text())


def render(options, rows):
    listed = lambda ids: ", ".join(map(str, ids)) or "none"
    lines = [
        "# Time to a verdict: the profile `standard` against AutoAttack", "",
        "    python tests/bench/verdict.py --autoattack DIR --shared DIR", "",
        f"{datetime.date.today().isoformat()}; {os.cpu_count()} cores, {options.threads} threads each; {rows[0]['versions']}, AutoAttack's code of the checkout.",
        "One run per contender and model, one after the other.", "",
        "| model | images | eps | clean, ours and reference | robust, ours | robust, reference | difference, points | ours, s | reference, s | ratio | processor, ours, s | processor, reference, s | ratio | aim |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        ratio = f"{row['reference_s'] / row['ours_s']:.2f}×"
        spent = f"{row['ours_processor_s']:.1f} | {row['reference_processor_s']:.1f} | {row['reference_processor_s'] / row['ours_processor_s']:.2f}×"
        difference = f"{100 * (row['ours'] - row['reference']):+.2f}"
        aim = f"{row['aim']}×" if row["aim"] else ""
        clean = "{:.4f}, {:.4f}".format(*row["clean"])
        lines.append(f"| {row['name']} | {row['n']} | {row['eps']} | {clean} | {row['ours']:.4f} | {row['reference']:.4f} | {difference} | {row['ours_s']:.1f} | {row['reference_s']:.1f} | {ratio} | {spent} | {aim} |")
    lines += ["", "Images on which the two differ, by their place in the data:", ""]
    lines += [f"- {row['name']}: broken by this project alone: {listed(row['only_ours_breaks'])}; by the reference alone: {listed(row['only_reference_breaks'])}." for row in rows]
    return "\n".join(lines) + "\n"


def render_pgd(options, rows):
    lines = [
        "# Time to a verdict: PGD with 20 steps against torchattacks", "",
        "    python tests/bench/verdict.py --pgd --shared DIR", "",
        f"{datetime.date.today().isoformat()}; {os.cpu_count()} cores, {options.threads} threads each; {rows[0]['versions']}. One run per contender and model.", "",
        "| model | images | eps | robust, ours | robust, torchattacks | attack, ours, s | torchattacks, s | its batch | ratio | the whole audit, s | ratio | aim |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for row in rows:
        ratios = [f"{row['reference_s'] / row[key]:.2f}×" for key in ("attack_s", "ours_s")]
        aim = f"{row['aim']}×" if row["aim"] else ""
        lines.append(f"| {row['name']} | {row['n']} | {row['eps']} | {row['ours']:.4f} | {row['reference']:.4f} | {row['attack_s']:.2f} | {row['reference_s']:.2f} | {row['batch']} | {ratios[0]} | {row['ours_s']:.1f} | {ratios[1]} | {aim} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
