"""Writes geometry/jacobian_regularizer.json: what the released Jacobian regulariser (facebookresearch/jacobian_regularizer, MIT, on no
registry, so given by path) says about the narrow networks of nets.py, image by image.

    python tests/golden/jacobian_regularizer.py PATH        (torch, numpy, and a checkout of facebookresearch/jacobian_regularizer)

Its loss is half of the squared Frobenius norm of the Jacobian, averaged over a batch; batches have one image here. `exact` is its loss with
n = -1, where its vectors are the classes. `estimated` is the mean of many of its losses with n = 1, and `error` the standard error of that.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "bench"))
from architectures import build  # noqa: E402
from nets import WIDTHS  # noqa: E402

NETS = ("lenet", "ddnet")
DRAWS = 400


def main(path):
    sys.path.insert(0, path)
    from jacobian import JacobianReg

    torch.set_num_threads(1)
    found = {}
    for name in NETS:
        stored = np.load(FOLDER / "nets" / f"{name}.npz")
        # the weights are drawn in single precision, the vectors of the regulariser in double
        torch.set_default_dtype(torch.float32)
        model = build(name, WIDTHS[name], seed=1).double()
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(0)
        columns = {"exact": [], "estimated": [], "error": []}
        for image in stored["image"]:
            x = torch.from_numpy(image).double()[None].requires_grad_()
            y = model(x)
            draws = np.array([JacobianReg(n=1)(x, y).item() for _ in range(DRAWS)])
            columns["exact"].append(JacobianReg(n=-1)(x, y).item())
            columns["estimated"].append(float(draws.mean()))
            columns["error"].append(float(draws.std(ddof=1) / np.sqrt(DRAWS)))
        found[name] = columns
    text = json.dumps({"draws": DRAWS, "nets": found}, indent=1)
    (FOLDER / "geometry" / "jacobian_regularizer.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(sys.argv[1])
