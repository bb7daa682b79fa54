"""Writes model.onnx and gradient.onnx: a small classifier of digits, and its gradient as PyTorch differentiates and exports it.

The gradient is traced through torch.func.grad and written by torch.onnx.export; nothing of flatscape takes part.
Run with torch, onnx, onnxscript and scikit-learn; the results are committed beside this file.
"""

from pathlib import Path

import onnx
import torch
from sklearn.datasets import load_digits
from torch.fx.experimental.proxy_tensor import make_fx

torch.manual_seed(0)
torch.set_num_threads(1)
here = Path(__file__).parent
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
labels = torch.tensor(digits.target)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = torch.nn.Linear(64, 24)
        self.logits = torch.nn.Linear(24, 10)

    def forward(self, image):
        return self.logits(torch.tanh(self.hidden(image.flatten(1))))


net = Net()
optimizer = torch.optim.Adam(net.parameters(), 3e-3)
for _ in range(400):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(net(images), labels).backward()
    optimizer.step()
net.eval().requires_grad_(False)


def gradient(image, label):
    return torch.func.grad(lambda x: torch.nn.functional.cross_entropy(net(x), label, reduction="sum"))(image)


batch = torch.export.Dim("batch", min=2)
example, label = images[:6], labels[:6]


def write(module, inputs, shapes, inputs_named, output_named, name):
    program = torch.onnx.export(module, inputs, input_names=inputs_named, output_names=[output_named], dynamo=True, dynamic_shapes=shapes, verbose=False)
    model = program.model_proto
    # where in which file of this machine a node comes from is nobody's business
    for part in [model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.save(model, here / name)


write(net, (example,), ({0: batch},), ["image"], "logits", "model.onnx")
traced = make_fx(gradient, tracing_mode="symbolic", _allow_non_fake_inputs=True)(example, label)
write(traced, (example, label), ({0: batch}, {0: batch}), ["image", "label"], "grad_image", "gradient.onnx")
