"""Writes autograd/*.json: gradients and Hessian-vector products of single operators, from PyTorch's double autograd.

Knows PyTorch and which convention the project chose at kinks and ties; knows nothing of the project's code. The tests read the JSON files, so
they need neither Python nor PyTorch; this script is run when a case is added.

    python tests/golden/autograd.py [NAME...]        (needs torch, onnx, onnxruntime and numpy; the names of the cases to write; default: all)

README.md beside this file describes the fields. The cases themselves stand in autograd_cases.py and autograd_operators.py.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx.reference
import onnxruntime
import torch

from autograd_cases import CASES
import autograd_operators  # noqa: F401  its cases enter the same list

FOLDER = Path(__file__).resolve().parent / "autograd"
OPSET = 18
DTYPES = {
    torch.float64: "double", torch.int64: "int64", torch.bool: "bool", torch.uint8: "uint8", torch.int8: "int8", torch.int32: "int32",
}  # fmt: skip


def main(names):
    FOLDER.mkdir(exist_ok=True)
    assert len({case.name for case in CASES}) == len(CASES), "two cases have one name"
    if not names:
        for old in FOLDER.glob("*.json"):
            old.unlink()
    for case in CASES:
        if not names or case.name in names:
            try:
                fields = describe(case)
            except Exception as error:
                raise SystemExit(f"case {case.name}: {error}") from error
            lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in fields.items())
            (FOLDER / f"{case.name}.json").write_text("{\n" + lines + "\n}\n")
    files = list(FOLDER.glob("*.json"))
    print(f"{len(files)} cases, {sum(f.stat().st_size for f in files):,} bytes")


def describe(case):
    inputs = {name: torch.as_tensor(value) for name, value in case.inputs.items()}
    wrt = [name for name, value in inputs.items() if value.dtype == torch.float64]
    outputs = forward(case.function, inputs)
    random = np.random.RandomState(len(case.name) * 1000 + sum(map(ord, case.name)))
    cotangent = {name: tensor_of(random, y.shape) for name, y in outputs.items()}
    vector = {name: tensor_of(random, inputs[name].shape) for name in wrt}

    graph = text(case, inputs, outputs)
    check_forward(case, graph, inputs, outputs)
    gradients = first_order(case.function, inputs, wrt, cotangent)
    check_convention(case, inputs, wrt, outputs, cotangent, gradients)

    fields = {"op": case.op, "graph": graph}
    if case.opset != OPSET:
        fields["opset"] = case.opset
    if case.convention:
        fields["convention"] = case.convention
    if case.tolerance:
        fields["tolerance"] = case.tolerance
    if case.each:
        fields["each"] = case.each
    fields |= {
        "inputs": as_json(inputs),
        "outputs": as_json(outputs),
        "cotangent": as_json(cotangent),
        "gradients": as_json(gradients),
    }
    if case.second_order:
        fields["second_order"] = {
            "objective": "sum over the outputs y of sum(cotangent * y + 0.5 * y * y)",
            "vector": as_json(vector),
            "hvp": as_json(second_order(case.function, inputs, wrt, cotangent, vector)),
        }
    return fields


def tensor_of(random, shape):
    return torch.as_tensor(np.round(random.uniform(-2, 2, tuple(shape)), 2))


# ---- derivatives ----------------------------------------------------------------------------------------------------------


def forward(function, inputs):
    y = function(*inputs.values())
    return {"y": y} if torch.is_tensor(y) else {f"y{k}": part for k, part in enumerate(y)}


def differentiable(inputs, wrt):
    return {name: x.clone().requires_grad_(name in wrt) for name, x in inputs.items()}


def first_order(function, inputs, wrt, cotangent):
    """The gradient of sum(cotangent · y); an operand that does not matter has the gradient 0."""
    inputs = differentiable(inputs, wrt)
    outputs = forward(function, inputs)
    scalar = sum((cotangent[name] * y).sum() for name, y in outputs.items())
    return dict(zip(wrt, torch.autograd.grad(scalar, [inputs[n] for n in wrt], materialize_grads=True)))


def second_order(function, inputs, wrt, cotangent, vector):
    """H · vector, where H is the joint Hessian, over all float operands, of sum(cotangent · y + y²/2)."""
    inputs = differentiable(inputs, wrt)
    operands = [inputs[name] for name in wrt]
    outputs = forward(function, inputs)
    scalar = sum((cotangent[name] * y + 0.5 * y * y).sum() for name, y in outputs.items())
    gradients = torch.autograd.grad(scalar, operands, create_graph=True, materialize_grads=True)
    along = sum((g * vector[name]).sum() for name, g in zip(wrt, gradients))
    hvp = torch.autograd.grad(along, operands, materialize_grads=True)
    assert any(h.abs().max() > 0 for h in hvp if h.numel()), "the Hessian-vector product is zero everywhere"
    return dict(zip(wrt, hvp))


# ---- checks ---------------------------------------------------------------------------------------------------------------


def check_forward(case, graph, inputs, outputs):
    """The text parses, is a valid model of the opset, and another evaluator gives what PyTorch gives.

    That is onnx's reference evaluator in float64, or ONNX Runtime in float32 where the reference evaluator is known to be wrong."""
    feed = {name: x.numpy() for name, x in inputs.items()}
    if case.reference_is_wrong:
        session = onnxruntime.InferenceSession(model_of(graph.replace("double", "float"), case.opset).SerializeToString())
        computed = session.run(None, {name: x.astype(np.float32) if x.dtype == np.float64 else x for name, x in feed.items()})
        tolerance = 1e-5
    else:
        computed = onnx.reference.ReferenceEvaluator(model_of(graph, case.opset)).run(None, feed)
        tolerance = max(case.forward_tolerance, case.tolerance or 0)
    for (name, y), found in zip(outputs.items(), computed, strict=True):
        assert tuple(found.shape) == tuple(y.shape), f"{name}: shape {tuple(y.shape)} here, {found.shape} in onnx"
        np.testing.assert_allclose(found, y.numpy(), rtol=tolerance, atol=tolerance if case.reference_is_wrong else 1e-12)


def model_of(graph, opset):
    model = onnx.helper.make_model(onnx.parser.parse_graph(graph), opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def check_convention(case, inputs, wrt, outputs, cotangent, gradients):
    """A case that names a convention differs from PyTorch's own operator in the gradient and nowhere else."""
    if case.native is None:
        assert case.convention is None or case.op == "SoftmaxCrossEntropyLoss", "a convention needs PyTorch's operator beside it"
        return
    for name, y in forward(case.native, inputs).items():
        torch.testing.assert_close(y, outputs[name], rtol=1e-12, atol=1e-12)
    native = first_order(case.native, inputs, wrt, cotangent)
    same = all(torch.allclose(native[n], gradients[n], rtol=1e-6, atol=1e-12) for n in wrt)
    assert same == (case.convention is None), "agrees with PyTorch" if same else f"PyTorch has {native}, the convention {gradients}"


# ---- text -----------------------------------------------------------------------------------------------------------------


def text(case, inputs, outputs):
    """The graph in ONNX's textual syntax; the leading extent of the operands named in `batch`, and of the outputs, is N."""

    def declare(name, value):
        extents = [str(n) for n in value.shape]
        if name in case.batch or (case.batch and name in outputs):
            extents[0] = "N"
        dtype = "float" if case.single and value.dtype == torch.float64 else DTYPES[value.dtype]
        return f"{dtype}{'[' + ','.join(extents) + ']' if extents else ''} {name}"

    header = ", ".join(declare(n, v) for n, v in inputs.items())
    results = ", ".join(declare(n, v) for n, v in outputs.items())
    constants = f" <{', '.join(case.constants)}>" if case.constants else ""
    return f"golden ({header}) => ({results}){constants} {{ {case.body} }}"


def as_json(tensors):
    return {
        name: {"dtype": DTYPES[value.dtype], "shape": list(value.shape), "data": value.detach().reshape(-1).tolist()}
        for name, value in tensors.items()
    }


if __name__ == "__main__":
    main(sys.argv[1:])
