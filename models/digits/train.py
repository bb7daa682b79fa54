"""Trains, measures and exports the four digits models: the same network and recipe, four losses.

Knows PyTorch, the losses and the ONNX export; knows nothing of the harness, which only ever sees the files written here.

    python models/digits/train.py         (needs torch, onnx, onnxscript, onnxruntime and numpy; about two minutes on one core)
    python models/digits/train.py --only digits-jacobian --lambda 0.1 --dry-run

Attacks, norms and landscapes live in pixel units: x = uint8 / 255, box [0, 1].
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

FOLDER = Path(__file__).resolve().parent
CLASSES = 10


def network():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 64), nn.ReLU(),
        nn.Linear(64, CLASSES),
    )  # fmt: skip


# ---- the four losses; each takes (model, x, y, options) and returns one number ------------------------------------------


def standard(model, x, y, options):
    return F.cross_entropy(model(x), y)


def adversarial(model, x, y, options):
    """Madry et al. 2018: cross-entropy at the worst point that PGD finds in the ball, found with the present weights."""
    eps = options.epsilon
    x_adv = pgd(model, x, y, eps, alpha=eps / 4, steps=options.train_steps, random_start=True)
    return F.cross_entropy(model(x_adv), y)


def jacobian(model, x, y, options):
    """Hoffman, Roberts, Yaida 2019: + lambda/2 · mean ‖J‖², estimated as C · ‖Jᵀv‖² with one v uniform on the sphere."""
    x = x.requires_grad_()
    z = model(x)
    return F.cross_entropy(z, y) + options.jacobian / 2 * squared_norm(z, x, on_sphere(z))


def amsreg(model, x, y, options):
    """Lin et al. 2020: + mu/2 · mean ‖diag(p)·J‖², estimated as C · ‖Jᵀ(v∘p)‖²; p takes part in the differentiation."""
    x = x.requires_grad_()
    z = model(x)
    return F.cross_entropy(z, y) + options.mu / 2 * squared_norm(z, x, on_sphere(z) * z.softmax(1))


MODELS = {
    "digits-standard": (standard, "Plain cross-entropy."),
    "digits-adversarial": (adversarial, "PGD adversarial training (Madry et al. 2018), linf."),
    "digits-jacobian": (jacobian, "Jacobian regularisation (Hoffman, Roberts, Yaida 2019), one projection."),
    "digits-amsreg": (amsreg, "AMSReg (Lin et al. 2020), one projection, p attached."),
}


def on_sphere(z):
    return F.normalize(torch.randn_like(z), dim=1)


def squared_norm(z, x, cotangent):
    """mean over the batch of C · ‖Jᵀ cotangent‖², differentiable in the weights."""
    (g,) = torch.autograd.grad(z, x, cotangent, create_graph=True)
    return CLASSES * g.flatten(1).square().sum(1).mean()


# ---- training ------------------------------------------------------------------------------------------------------------


def train(loss, x, y, options):
    torch.manual_seed(options.seed)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=options.lr, momentum=0.9, weight_decay=options.weight_decay, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.lr, epochs=options.epochs, steps_per_epoch=math.ceil(len(y) / options.batch_size), pct_start=0.2
    )
    for _ in range(options.epochs):
        for chosen in torch.randperm(len(y)).split(options.batch_size):
            optimizer.zero_grad()
            loss(model, x[chosen], y[chosen], options).backward()
            optimizer.step()
            schedule.step()
    return model.eval().requires_grad_(False)


# ---- attacks and measurements --------------------------------------------------------------------------------------------


def input_gradient(scalar_of_logits, model, x):
    x = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(scalar_of_logits(model(x)).sum(), x)
    return g


def pgd(model, x, y, eps, alpha, steps, random_start):
    """linf, cross-entropy, last iterate. One step of size eps without a random start is FGSM."""
    lo, hi = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    x_adv = lo + (hi - lo) * torch.rand_like(x) if random_start else x
    for _ in range(steps):
        g = input_gradient(lambda z: F.cross_entropy(z, y, reduction="none"), model, x_adv)
        x_adv = torch.clamp(x_adv + alpha * g.sign(), lo, hi)
    return x_adv.detach()


def accuracy(model, x, y):
    return (model(x).argmax(1) == y).double().mean().item()


def slope(model, x):
    """‖∇ₓ log Σ exp z‖₂ per sample: minus the approximate mass score (Lin et al. 2020, Eq. 6)."""
    return input_gradient(lambda z: z.logsumexp(1), model, x).flatten(1).norm(dim=1)


def directions(dim, generator):
    """Two sign vectors that are exactly orthogonal: the second flips a random half of the first (dim is even)."""
    d1 = torch.randint(0, 2, (dim,), generator=generator) * 2.0 - 1.0
    d2 = d1.clone()
    d2[torch.randperm(dim, generator=generator)[: dim // 2]] *= -1
    return d1, d2


def plane(x, extent, grid, generator):
    """grid² points x + e1·d1 + e2·d2 around each x: [N, grid², 1, 8, 8]. Not clipped to the box."""
    d1, d2 = directions(x[0].numel(), generator)
    e = torch.linspace(-extent, extent, grid)
    offsets = (e[:, None, None] * d1 + e[None, :, None] * d2).reshape(-1, *x.shape[1:])
    return x[:, None] + offsets[None]


def measure(model, x, y, options):
    generator = torch.Generator().manual_seed(options.seed)
    torch.manual_seed(options.seed)
    eps = options.attack_epsilon
    near = plane(x[: options.phi_images], eps, options.grid, generator)
    surface_of = plane(x[:1], 4 * eps, 41, torch.Generator().manual_seed(options.seed)).flatten(0, 1)
    surface = (model(surface_of).logsumexp(1) - model(x[:1]).logsumexp(1)).double()
    phi_mean = -slope(model, near.flatten(0, 1)).double().mean().item()
    return {
        "clean accuracy": accuracy(model, x, y),
        "FGSM accuracy": accuracy(model, pgd(model, x, y, eps, alpha=eps, steps=1, random_start=False), y),
        "PGD-20 accuracy": accuracy(model, pgd(model, x, y, eps, alpha=eps / 4, steps=20, random_start=True), y),
        "mean ‖∇ log p‖": slope(model, x).double().mean().item(),
        "Φ mean": phi_mean,
        "Φ sum": phi_mean * options.grid**2,
        "landscape min": surface.min().item(),
        "landscape max": surface.max().item(),
    }


# ---- files ---------------------------------------------------------------------------------------------------------------


def export(model, x, path):
    """One file, opset 18, batch symbolic; checked against PyTorch in ONNX Runtime at two batch sizes."""
    import onnx
    import onnxruntime

    path.parent.mkdir(exist_ok=True)
    program = torch.onnx.export(
        model, (x[:2],), input_names=["image"], output_names=["logits"], opset_version=18,
        dynamic_shapes=({0: torch.export.Dim("batch")},), dynamo=True, optimize=True, verbose=False,
    )  # fmt: skip
    proto = program.model_proto
    # The exporter notes the Python lines that each node came from, with the paths of the machine.
    graph = proto.graph
    for noted in [proto, graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output]:
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for n in (1, 33):
        (z,) = session.run(["logits"], {"image": x[:n].numpy()})
        np.testing.assert_allclose(z, model(x[:n]).numpy(), rtol=1e-4, atol=1e-4)


def card(name, about, facts):
    lines = [
        f'name = "{name}"',
        f'description = "A small convolutional network for 8×8 handwritten digits. {about}"',
        'source = "Trained by models/digits/train.py of this project."',
        'licence = "MIT OR Apache-2.0"',
        'dataset = "digits"',
        f"classes = {json.dumps([str(k) for k in range(CLASSES)])}",
        "",
        "[preprocessing]",
        "scale = 1.0",
        "mean = [0.0]",
        "std = [1.0]",
        'layout = "nchw"',
        "",
        "[training]",
        *(f"{key} = {json.dumps(value)}" for key, value in facts.items()),
    ]
    return "\n".join(lines) + "\n"


def facts_of(loss, options, measured):
    strength = {
        standard: {},
        adversarial: {"norm": "linf", "epsilon": options.epsilon, "steps": options.train_steps, "alpha": options.epsilon / 4},
        jacobian: {"lambda": options.jacobian, "projections": 1},
        amsreg: {"mu": options.mu, "projections": 1, "p_attached": True},
    }[loss]
    return {
        "method": loss.__name__,
        **strength,
        "script": "models/digits/train.py",
        "seed": options.seed,
        "epochs": options.epochs,
        "batch_size": options.batch_size,
        "optimizer": "sgd, Nesterov momentum 0.9, one-cycle schedule",
        "learning_rate": options.lr,
        "weight_decay": options.weight_decay,
        "clean_accuracy": round(measured["clean accuracy"], 4),
    }


def read(name):
    with np.load(FOLDER / name) as data:
        return torch.from_numpy(data["x"]).float() / 255, torch.from_numpy(data["y"])


def print_table(rows):
    columns = list(next(iter(rows.values())))
    print("| model | " + " | ".join(columns) + " |")
    print("|---" + "|---:" * len(columns) + "|")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{row[c]:.3f}" if "accuracy" in c else f"{row[c]:.2f}" for c in columns) + " |")


def options_from_command_line():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=MODELS, action="append", help="train this one (repeatable); default: all four")
    parser.add_argument("--dry-run", action="store_true", help="train and measure, write nothing")
    parser.add_argument("--out", type=Path, default=FOLDER.parent, help="folder that receives <name>/model.onnx and card.toml")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument("--epsilon", type=float, default=0.2, help="linf radius of adversarial training")
    parser.add_argument("--train-steps", type=int, default=7, help="PGD steps of adversarial training, each of epsilon/4")
    parser.add_argument("--lambda", dest="jacobian", type=float, default=0.03, help="strength of Jacobian regularisation")
    parser.add_argument("--mu", type=float, default=0.3, help="strength of AMSReg")
    parser.add_argument("--attack-epsilon", type=float, default=0.1, help="linf radius of FGSM and PGD-20, and extent of the Φ grid")
    parser.add_argument("--grid", type=int, default=21, help="points per axis of the Φ grid")
    parser.add_argument("--phi-images", type=int, default=50)
    return parser.parse_args()


def main():
    options = options_from_command_line()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    x_train, y_train = read("digits-train.npz")
    x_test, y_test = read("digits-test.npz")
    rows = {}
    for name, (loss, about) in MODELS.items():
        if options.only and name not in options.only:
            continue
        model = train(loss, x_train, y_train, options)
        rows[name] = measure(model, x_test, y_test, options)
        if not options.dry_run:
            export(model, x_test, options.out / name / "model.onnx")
            (options.out / name / "card.toml").write_text(card(name, about, facts_of(loss, options, rows[name])))
    print_table(rows)


if __name__ == "__main__":
    main()
