"""Writes nets/<net>.onnx and nets/<net>.npz: narrow networks as torch.onnx exports them, with logits, loss and input gradient in float64.

Knows PyTorch; knows nothing of the project's code.

    python tests/golden/nets.py        (needs torch, onnx, onnxscript, onnxruntime and numpy)
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "bench"))
from architectures import CLASSES, SHAPES, build, export  # noqa: E402

# ResNet-32 needs a multiple of four channels: option A puts a quarter of the new channels on either side.
WIDTHS = {"lenet": 0.5, "ddnet": 1 / 8, "rn18": 3 / 64, "rn32": 1 / 4}
SAMPLES = 3


def main():
    (FOLDER / "nets").mkdir(exist_ok=True)
    for name, width in WIDTHS.items():
        model = build(name, width, seed=1)
        path = FOLDER / "nets" / f"{name}.onnx"
        export(model, name, path)
        torch.manual_seed(2)
        # Byte-like pixels, so that equal neighbours and therefore ties in the pools are real.
        image = torch.randint(0, 256, (SAMPLES, *SHAPES[name])).float() / 255
        image[0, :, 8:16, 8:16] = 0.5
        label = torch.randint(0, CLASSES, (SAMPLES,))
        check_against_runtime(model, path, image)

        x = image.double().requires_grad_()
        logits = model.double()(x)
        loss = F.cross_entropy(logits, label, reduction="none")
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        np.savez_compressed(
            path.with_suffix(".npz"), image=image.numpy(), label=label.numpy(),
            logits=logits.detach().numpy(), loss=loss.detach().numpy(), gradient=gradient.numpy(),
        )  # fmt: skip
        operators = sorted({node.op_type for node in onnx.load(path).graph.node})
        print(f"{name}: {path.stat().st_size:,} + {path.with_suffix('.npz').stat().st_size:,} bytes, {' '.join(operators)}")
        print(f"  loss {loss.tolist()}, ‖gradient‖ {gradient.flatten(1).norm(dim=1).tolist()}")


def check_against_runtime(model, path, image):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for n in (1, SAMPLES):
        (found,) = session.run(["logits"], {"image": image[:n].numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(found, model(image[:n]).numpy(), rtol=1e-3, atol=1e-4)


if __name__ == "__main__":
    main()
