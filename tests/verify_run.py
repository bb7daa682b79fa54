#!/usr/bin/env python3
"""Judges the adversarial examples of a run with nothing but numpy and onnxruntime: no code of flatscape is used.

    python tests/verify_run.py RUN [--models DIR]

Reads `manifest.json` and every file of `witness/`. A point holds if it is finite, lies in the box and in the ball around its clean
image (that of an attack for the nearest example: at the distance that was stored, which may be beyond the radius and then breaks
nothing), and the model in its original file predicts the stored class for it, which is not the label. Under flow and rigid the image
must be what its parameter `z` decodes to, and z must lie in its ball. Under corruption only the severity in `z` is looked at, because
what is drawn there needs the random numbers of flatscape; `flatscape verify` decodes again. A model that draws at random was judged
over keyed draws, which its file has no inputs for: here it is run 100 times with draws of its own, and a point holds unless more than
three quarters of them give the label. A point that is wrong in half of all draws fails this less than once in 10 million times. Models that came with
the program are looked up under DIR as NAME/model.onnx. Exit code 1 if something does not hold.
"""
import argparse
import hashlib
import json
import pathlib
import sys

import numpy as np
import onnxruntime as ort

# runs of a model that draws at random
DRAWS = 100

# of differences [n, channels, pixels]
DISTANCES = {
    "linf": lambda d: np.abs(d).max(axis=(1, 2)),
    "l2": lambda d: np.sqrt((d**2).sum(axis=(1, 2))),
    "l1": lambda d: np.abs(d).sum(axis=(1, 2)),
    "l0": lambda d: (d != 0).any(axis=1).sum(axis=1),
}


def number(text):
    above, _, below = text.partition("/")
    return float(above) / float(below or 1)


def units(written, h, w):
    """How far every number of z may go at distance 1: pixels, shares of half the image (grid), or the limits of a rigid move."""
    norm, _, radius = written.partition(":")
    if norm == "flow":
        return np.repeat([h / 2, w / 2] if radius.endswith("grid") else [1.0, 1.0], h * w)
    limits = {"deg": 0.0, "px": 0.0}
    for part in radius.split("+"):
        unit = "deg" if part.endswith("deg") else "px"
        limits[unit] = number(part.removesuffix(unit))
    return np.array([limits["deg"], limits["px"], limits["px"]])


def decoded(x0, z, norm):
    """Bilinear samples of x0 [n,c,h,w]: displaced by a flow, clamped to the image; or rotated and shifted, on black."""
    n, c, h, w = x0.shape
    rows, columns = np.mgrid[:h, :w].astype(np.float64)
    if norm == "flow":
        flow = z.reshape(n, 2, h, w)
        r, q = np.clip(rows + flow[:, 0], 0, h - 1), np.clip(columns + flow[:, 1], 0, w - 1)
    else:
        angle, down, right = (z[:, k].reshape(n, 1, 1) for k in range(3))
        sine, cosine = np.sin(np.radians(angle)), np.cos(np.radians(angle))
        a, b = rows - (h - 1) / 2 - down, columns - (w - 1) / 2 - right
        r, q = cosine * a + sine * b + (h - 1) / 2, cosine * b - sine * a + (w - 1) / 2
    image, channel = np.arange(n).reshape(n, 1, 1, 1), np.arange(c).reshape(1, c, 1, 1)
    out = np.zeros(x0.shape)
    for at_row in (np.floor(r), np.floor(r) + 1):
        for at_column in (np.floor(q), np.floor(q) + 1):
            inside = (at_row >= 0) & (at_row < h) & (at_column >= 0) & (at_column < w)
            weight = (1 - np.abs(r - at_row)) * (1 - np.abs(q - at_column)) * inside
            i, j = (np.clip(at, 0, size - 1).astype(int)[:, None] for at, size in ((at_row, h), (at_column, w)))
            out += x0[image, channel, i, j] * weight[:, None]
    return out


def distances(found, threat):
    """Distances from the clean images, and whether the images are what their parameters decode to, up to 8 bits for integers."""
    x, x0 = (found[name].astype(np.float64) for name in ("x_adv", "x0"))
    if threat["norm"] in DISTANCES:
        n, c, h, w = x.shape
        return DISTANCES[threat["norm"]]((x - x0).reshape(n, c, h * w)), np.zeros(n)
    z = found["z"].astype(np.float64)
    if threat["norm"] == "corruption":
        return z[:, 1], np.zeros(len(z))
    limits = np.where(z == 0, 1, units(threat["written"], *x.shape[2:]))
    with np.errstate(divide="ignore"):
        far = (np.abs(z) / limits).max(axis=1)
    return far, np.abs(decoded(x0, z, threat["norm"]) - x).max(axis=(1, 2, 3))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def model_file(facts, models):
    source = facts["request"]["source"]
    path = pathlib.Path(source)
    return path if path.exists() else models / source / "model.onnx"


def fed(points, pixels):
    """(scale·x − mean)/std per channel, in the layout of the model's input."""
    shaped = [np.asarray(pixels[name], dtype=np.float32).reshape(1, -1, 1, 1) for name in ("mean", "std")]
    x = points[:, ::-1] if pixels.get("reversed") else points
    x = 1 - x if pixels.get("inverted") else x
    x = (x * np.float32(pixels["scale"]) - shaped[0]) / shaped[1]
    orders = {"nhwc": (0, 2, 3, 1), "ncwh": (0, 1, 3, 2), "nwhc": (0, 3, 2, 1), "flat-columns": (0, 1, 3, 2), "flat-pixels": (0, 2, 3, 1)}
    x = x.transpose(orders.get(pixels["layout"], (0, 1, 2, 3)))
    return x.reshape(len(x), -1) if pixels["layout"].startswith("flat") else x


def scores(session, x, output):
    entry = session.get_inputs()[0]
    kinds = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
    name = output or session.get_outputs()[0].name
    batch = entry.shape[0] if isinstance(entry.shape[0], int) else 1
    rows = []
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
        whole = np.rint(filled) if "int" in entry.type else filled
        rows.append(session.run([name], {entry.name: whole.astype(kinds[entry.type])})[0][: len(part)])
    return np.concatenate(rows).reshape(len(x), -1).astype(np.float64)


def predictions(rows):
    """The first of the largest scores; -1 where one is NaN, or several are +inf."""
    undefined = np.isnan(rows).any(axis=1) | ((rows == np.inf).sum(axis=1) > 1)
    return np.where(undefined, -1, np.where(np.isnan(rows), -np.inf, rows).argmax(axis=1))


def nearest(manifest):
    """The ends of the names of files that hold examples at any distance."""
    names = set()
    for attack in manifest["attacks"]:
        for threat in manifest["threats"] if attack["minimal"] else []:
            key = hashlib.sha256(f"{attack['written']}\n{threat['written']}".encode()).hexdigest()[:8]
            names.add(f"{attack['request']['id'].replace('/', '.')}-{key}")
    return names


def faults(file, facts, threats, path, anywhere):
    """Pairs of a reason and the samples that it is about."""
    found = np.load(file)
    text = lambda name: found[name].tobytes().decode()
    threat = threats[text("threat")]
    if text("model_sha256") != facts["sha256"]:
        return [("names another model", found["id"])]
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    integers = "int" in session.get_inputs()[0].type
    points = found["x_adv"].astype(np.float64).reshape(len(found["id"]), -1)
    distance, other = distances(found, threat)
    finite = np.isfinite(points).all(axis=1)
    boxed = ((points >= threat["lo"]) & (points <= threat["hi"])).all(axis=1)
    checks = [
        ("not finite", ~finite),
        ("outside the box", ~boxed),
        ("outside the ball", ~(distance <= threat["tolerated"]) & (not anywhere)),
        ("another image than its parameter decodes to", ~(other <= 1e-5 + (0.5 / 255 if integers else 0))),
    ]
    if threat["norm"] in DISTANCES:
        checks.append(("at another distance than the one that was stored", ~np.isclose(distance, found["distance"], 1e-5, 1e-7)))
    predict = lambda: predictions(scores(session, fed(found["x_adv"], facts["pixels"]), facts["request"]["intake"]["output"]))
    if facts.get("draws"):
        right = np.mean([predict() == found["label"] for _ in range(DRAWS)], axis=0)
        checks += [("the model predicts the label in more than three quarters of its draws", right > 0.75)]
    else:
        predicted = predict()
        checks += [
            ("the model predicts the label", predicted == found["label"]),
            ("the model predicts another class than the one that was stored", predicted != found["prediction"]),
        ]
    return [(why, found["id"][bad]) for why, bad in checks if bad.any()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--models", type=pathlib.Path, default=pathlib.Path("models"))
    arguments = parser.parse_args()
    manifest = json.loads((arguments.run / "manifest.json").read_text())
    threats = {threat["written"]: threat for threat in manifest["threats"]}
    minimal = nearest(manifest)
    failed = 0
    for place, facts in enumerate(manifest["models"]):
        path = model_file(facts, arguments.models)
        copy = facts.get("judged_by", "graph")
        if isinstance(copy, dict):
            print(f"NOT LOOKED AT: {facts['name']} was judged by a float32 copy: {copy['float32-copy']}")
            continue
        if sha256(path) != facts["sha256"]:
            print(f"DOES NOT HOLD: {path} is not the model of the run: its SHA-256 differs")
            failed += 1
            continue
        for file in sorted((arguments.run / "witness").glob(f"m{place + 1:04}-*.npz")):
            anywhere = any(file.stem.split(".", 1)[1].startswith(name) for name in minimal)
            wrong = faults(file, facts, threats, path, anywhere)
            for why, ids in wrong:
                print(f"DOES NOT HOLD: {file.name}: {why}: samples {ids[:10].tolist()}")
            failed += len(wrong)
            count = len(np.load(file)["id"])
            print(f"{facts['name']}: {file.name}: {count} adversarial examples looked at")
    print("everything that was checked holds" if failed == 0 else f"{failed} things do not hold")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
