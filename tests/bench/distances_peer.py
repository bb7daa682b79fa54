"""The reference in distances.py: one attack of adversarial-library on an ONNX file, run as a PyTorch module.

    python distances_peer.py REQUEST.json ANSWER.json

REQUEST: `model`, `images` and `labels` (files of NumPy), `norm`, `function`, `arguments`, `threads`. ANSWER: `distances` (one per image,
null where the model does not misclassify what the attack returned), `version`.
"""

import importlib.metadata
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch

from verdict_peer import Graph

# the library imports it for pictures, which are not drawn here
sys.modules.setdefault("visdom", types.ModuleType("visdom"))


def main(request, answer):
    asked = json.loads(Path(request).read_text())
    from adv_lib import attacks

    torch.set_num_threads(asked["threads"])
    torch.manual_seed(0)
    images, labels = torch.from_numpy(np.load(asked["images"])), torch.from_numpy(np.load(asked["labels"]))
    model = Graph(asked["model"], [0.0], [1.0]).eval()
    arguments = {key: float("inf") if value == "inf" else value for key, value in asked["arguments"].items()}
    found = getattr(attacks, asked["function"])(model, images, labels, **arguments).detach()
    with torch.no_grad():
        broken = model(found).argmax(1) != labels
    moved = (found.double() - images.double()).flatten(1)
    if asked["norm"] == "l0":
        # pixels, whatever the number of their channels
        distances = ((found - images).abs().amax(1).flatten(1) > 0).sum(1).double()
    else:
        distances = torch.linalg.vector_norm(moved, {"linf": float("inf"), "l2": 2, "l1": 1}[asked["norm"]], dim=1)
    listed = [d if b else None for d, b in zip(distances.tolist(), broken.tolist())]
    versions = f"PyTorch {torch.__version__}, adv-lib {importlib.metadata.version('adv-lib')}"
    Path(answer).write_text(json.dumps({"distances": listed, "version": versions}))


if __name__ == "__main__":
    main(*sys.argv[1:])
