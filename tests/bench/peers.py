"""One contender of gradient_step.py: a process that measures PyTorch or torchattacks and speaks lines on stdin and stdout.

Knows PyTorch and how a strong user would set it up; knows neither the other contenders nor how results are shown.

    python peers.py eager|folded|folded-channels-last|torchattacks|float64 THREADS

The protocol, the same for every contender, ours included. One request a line, one answer a line; «error …» answers what went wrong.

    load NET PATH                   -> ok                 PATH is the ONNX file of NET; the networks here have the same weights by their seed,
                                                          others are the modules that onnx2torch makes of the file
    run NET BATCH REPEATS           -> REPEATS milliseconds, one per gradient step, separated by spaces; one untimed step goes before
    grad NET BATCH IN.npy OUT.npy   -> ok                 IN: float32 [BATCH, C, H, W]; OUT: the gradient of the summed loss, same shape
    nodes NET                       -> nodes to the logits, to the loss, with the gradient (ours only)
    limits                          -> one line of JSON: the largest rate of products and sums, and of memory, that this process finds
    work NET                        -> products and sums of one forward pass of one image, without tricks
    info                            -> one line of JSON: {"engine": …, "version": …, "threads": …}
    quit

A gradient step is forward, cross-entropy and backward to the input, from an image in memory to its gradient in memory. The label of sample i is i mod 10.
While it waits for a request a contender sleeps; it does not spin.
"""

import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from architectures import CLASSES, SHAPES, build

KINDS = ("eager", "folded", "folded-channels-last", "torchattacks", "float64")
SEED = 0


def main(kind, threads):
    torch.set_num_threads(threads)
    models = {}
    for line in sys.stdin:
        command, *words = line.split()
        if command == "quit":
            return
        try:
            answer = respond(kind, models, command, words)
        except Exception as error:
            answer = f"error {type(error).__name__}: {error}".replace("\n", " ")
        print(answer, flush=True)


def respond(kind, models, command, words):
    if command == "info":
        return json.dumps({"engine": f"PyTorch, {kind}", "version": version(kind), "threads": torch.get_num_threads()})
    if command == "load":
        models[words[0]] = prepare(kind, build(words[0], seed=SEED) if words[0] in SHAPES else from_file(*words))
        return "ok"
    if command == "run":
        net, batch, repeats = words[0], int(words[1]), int(words[2])
        x = torch.from_numpy(np.random.RandomState(batch).rand(batch, *SHAPES[net]).astype(np.float32))
        return " ".join(f"{ms:.6f}" for ms in timed(kind, models[net], x, repeats))
    if command == "grad":
        net, source, target = words[0], words[2], words[3]
        np.save(target, gradient(kind, models[net], torch.from_numpy(np.load(source))).numpy())
        return "ok"
    if command == "limits":
        return json.dumps(limits())
    if command == "work":
        return str(products(models[words[0]], SHAPES[words[0]]))
    raise ValueError(f"there is no request `{command}`")


def from_file(net, path):
    """The module of an ONNX file for images [N, C, H, W]."""
    import onnx
    from onnx2torch import convert
    from verdict_peer import free_batch

    model = onnx.load(path)
    SHAPES[net] = tuple(extent.dim_value for extent in model.graph.input[0].type.tensor_type.shape.dim[1:])
    free_batch(model.graph)
    return convert(model).eval()


def limits():
    """Billions of operations a second in a product of large matrices, and GB read and written a second in a copy: the best of several."""
    a, b = torch.rand(2048, 2048), torch.rand(2048, 2048)
    whole = torch.rand(2**26)
    into = torch.empty_like(whole)
    product = min(clock(lambda: torch.mm(a, b)) for _ in range(9))
    copy = min(clock(lambda: into.copy_(whole)) for _ in range(9))
    return {"operations": 2 * 2048**3 / product / 1e6, "memory": 2 * whole.numel() * 4 / copy / 1e6}


def products(model, shape):
    counted = []

    def count(module, inputs, output):
        each = module.weight[0].numel()
        counted.append(each * output[0].numel())

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    with torch.no_grad():
        model(torch.rand(1, *shape))
    for hook in hooks:
        hook.remove()
    return sum(counted)


def version(kind):
    if kind != "torchattacks":
        return torch.__version__
    import torchattacks

    return f"{torchattacks.__version__} on PyTorch {torch.__version__}"


def prepare(kind, model):
    """eager and torchattacks leave the model as a user gets it; the others fold BatchNormalization and freeze the weights."""
    if kind in ("eager", "torchattacks"):
        return model
    if kind == "float64":
        return model.double().requires_grad_(False)
    model = fold(model).requires_grad_(False)
    return model.to(memory_format=torch.channels_last) if kind == "folded-channels-last" else model


def fold(model):
    for module in list(model.modules()):
        for conv, bn in [("conv", "bn"), ("conv1", "bn1"), ("conv2", "bn2"), ("shortcut_conv", "shortcut_bn")]:
            if hasattr(module, conv) and hasattr(module, bn):
                setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, bn)))
                setattr(module, bn, torch.nn.Identity())
    return model


def labels(batch):
    return torch.arange(batch) % CLASSES


def laid_out(kind, x):
    if kind == "float64":
        return x.double()
    return x.to(memory_format=torch.channels_last) if kind == "folded-channels-last" else x


def gradient(kind, model, x):
    return step(model, laid_out(kind, x), labels(len(x))).contiguous()


def step(model, x, y):
    x = x.detach().requires_grad_()
    loss = F.cross_entropy(model(x), y, reduction="sum")
    return torch.autograd.grad(loss, x)[0]


def timed(kind, model, x, repeats):
    """Milliseconds of single steps. What torchattacks does around its steps is not charged: (t(11 steps) - t(1 step)) / 10."""
    y = labels(len(x))
    if kind == "torchattacks":
        import torchattacks

        long, short = (torchattacks.PGD(model, eps=8 / 255, alpha=2 / 255, steps=k, random_start=True) for k in (11, 1))
        short(x, y)
        return [(clock(lambda: long(x, y)) - clock(lambda: short(x, y))) / 10 for _ in range(repeats)]
    x = laid_out(kind, x)
    step(model, x, y)
    return [clock(lambda: step(model, x, y)) for _ in range(repeats)]


def clock(work):
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
