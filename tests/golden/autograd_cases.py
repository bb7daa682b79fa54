"""The cases of autograd.py: one entry per operator and convention, as a list one reads from top to bottom.

Every case holds ONNX text for the body of a graph, its operands, and the same function in PyTorch. Where PyTorch's own operator follows
another convention at a kink or a tie, `function` spells the project's convention out and `native` is PyTorch's operator.
Attributes are numbers that float32 holds exactly, since ONNX stores attributes in float32.
"""

import math
import zlib
from dataclasses import dataclass
from itertools import product
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F


@dataclass
class Case:
    name: str
    op: str
    body: str
    inputs: dict
    function: Callable
    constants: tuple = ()
    batch: tuple = ()
    native: Callable | None = None
    convention: str | None = None
    second_order: bool = True
    tolerance: float | None = None
    forward_tolerance: float = 1e-12
    reference_is_wrong: bool = False
    opset: int = 18
    single: bool = False
    each: float | None = None


CASES = []


def case(name, op, body, inputs, function, **more):
    CASES.append(Case(name, op, body, inputs, function, **more))


def numbers(*shape, lo=-2.0, hi=2.0, seed=""):
    """Values with two decimals, fixed by the shape and the seed."""
    stream = np.random.RandomState(zlib.crc32(f"{shape}{seed}".encode()))
    return np.asarray(np.round(stream.uniform(lo, hi, shape), 2), np.float64)


def given(*values):
    return np.asarray(values, np.float64)


def ints(*values):
    return "{" + ",".join(str(v) for v in values) + "}"


def doubles(name, *values):
    return f"double[{len(values)}] {name} = {{{','.join(repr(float(v)) for v in values)}}}"


def longs(name, *values):
    return f"int64[{len(values)}] {name} = {ints(*values)}"


# ---- element-wise, one operand --------------------------------------------------------------------------------------------

AROUND_ZERO = given(-3.0, -1.0, -0.5, -0.0, 0.0, 0.25, 1.0, 3.0)

case("relu_at_zero", "Relu", "y = Relu(x)", {"x": AROUND_ZERO}, F.relu, native=F.relu)
case(
    "leaky_relu_at_zero", "LeakyRelu", "y = LeakyRelu <alpha = 0.125> (x)", {"x": AROUND_ZERO},
    lambda x: torch.where(x < 0, 0.125 * x, x), native=lambda x: F.leaky_relu(x, 0.125),
    convention="at 0 the slope is 1 (x < 0 takes alpha); PyTorch takes alpha at 0",
)  # fmt: skip
case(
    "prelu", "PRelu", "y = PRelu(x, slope)",
    {"x": np.where(np.abs(numbers(2, 3, 2, 2)) < 0.4, 0.0, numbers(2, 3, 2, 2)), "slope": given(0.25, -0.5, 1.5).reshape(3, 1, 1)},
    lambda x, slope: torch.where(x < 0, slope * x, x), native=lambda x, slope: F.prelu(x, slope.flatten()), batch=("x",),
    convention="at 0 the slope is 1 (x < 0 takes the operand slope); PyTorch takes slope at 0",
)  # fmt: skip
case(
    "prelu_scalar_slope", "PRelu", "y = PRelu(x, slope)", {"x": numbers(2, 3), "slope": given(0.25)},
    lambda x, slope: F.prelu(x, slope), batch=("x",),
)  # fmt: skip
case(
    "elu_at_zero", "Elu", "y = Elu <alpha = 1.5> (x)", {"x": AROUND_ZERO},
    lambda x: torch.where(x < 0, 1.5 * torch.expm1(x), x), native=lambda x: F.elu(x, 1.5),
    convention="at 0 the slope is 1; PyTorch takes alpha at 0",
)  # fmt: skip
case(
    "selu_at_zero", "Selu", "y = Selu <alpha = 1.5, gamma = 1.25> (x)", {"x": AROUND_ZERO},
    lambda x: 1.25 * torch.where(x <= 0, 1.5 * torch.expm1(x), x), native=lambda x: 1.25 * F.elu(x, 1.5),
)  # fmt: skip
case("sigmoid", "Sigmoid", "y = Sigmoid(x)", {"x": given(-40, -3, -0.5, 0, 0.5, 3, 40)}, torch.sigmoid)
case("tanh", "Tanh", "y = Tanh(x)", {"x": given(-20, -3, -0.5, 0, 0.5, 3, 20)}, torch.tanh)
case(
    "softplus", "Softplus", "y = Softplus(x)", {"x": given(-30, -3, -0.5, 0, 0.5, 3, 30)},
    lambda x: torch.logaddexp(x, torch.zeros_like(x)),
)  # fmt: skip
case("softsign", "Softsign", "y = Softsign(x)", {"x": numbers(6)}, F.softsign)
case(
    "hard_sigmoid_at_bounds", "HardSigmoid", "y = HardSigmoid <alpha = 0.25, beta = 0.5> (x)", {"x": given(-3, -2, -1, 0, 1, 2, 3)},
    lambda x: torch.where((x > -2) & (x < 2), 0.25 * x + 0.5, (x > 0).double()), native=lambda x: F.hardsigmoid(1.5 * x),
)  # fmt: skip
case(
    "hard_swish_at_bounds", "HardSwish", "y = HardSwish(x)", {"x": given(-4, -3, -1, 0, 1, 3, 4)},
    lambda x: x * torch.where((x > -3) & (x < 3), x / 6 + 0.5, (x > 0).double()), native=F.hardswish,
    tolerance=1e-7,
)  # fmt: skip
case("erf", "Erf", "y = Erf(x)", {"x": given(-3, -1, -0.25, 0, 0.25, 1, 3)}, torch.erf, forward_tolerance=1e-6)
case(
    "gelu_as_erf", "Erf", "a = Div(x, root_two) b = Erf(a) c = Add(b, one) d = Mul(x, c) y = Mul(d, half)", {"x": numbers(2, 4)},
    F.gelu, batch=("x",), forward_tolerance=1e-6,
    constants=("double root_two = {1.4142135623730951}", "double one = {1.0}", "double half = {0.5}"),
)  # fmt: skip
case(
    "gelu_as_tanh", "Tanh",
    "a = Pow(x, three) b = Mul(a, k) c = Add(x, b) d = Mul(c, root) e = Tanh(d) f = Add(e, one) g = Mul(x, f) y = Mul(g, half)",
    {"x": numbers(2, 4)}, lambda x: F.gelu(x, approximate="tanh"), batch=("x",),
    constants=("double three = {3.0}", "double k = {0.044715}", f"double root = {{{math.sqrt(2 / math.pi)!r}}}", "double one = {1.0}", "double half = {0.5}"),
)  # fmt: skip
case(
    "silu", "Sigmoid", "a = Sigmoid(x) y = Mul(x, a)", {"x": numbers(2, 4)}, F.silu, batch=("x",),
)  # fmt: skip
CLOSED = "the bounds pass, as everything between them; PyTorch stops there"


def closed_clip(x, lo=-math.inf, hi=math.inf):
    return torch.where((x >= lo) & (x <= hi), x, x.detach().clamp(lo, hi))


case(
    "clip_at_bounds", "Clip", "y = Clip(x, lo, hi)", {"x": given(-2, -1, -0.5, 0, 0.75, 1.5, 2)},
    lambda x: closed_clip(x, -1, 1.5), native=lambda x: x.clamp(-1, 1.5), constants=("double lo = {-1.0}", "double hi = {1.5}"),
    convention=CLOSED,
)  # fmt: skip
case(
    "clip_below_only", "Clip", "y = Clip(x, lo)", {"x": AROUND_ZERO}, lambda x: closed_clip(x, lo=0), native=lambda x: x.clamp(min=0),
    constants=("double lo = {0.0}",), convention=CLOSED,
)  # fmt: skip
case(
    "clip_above_only", "Clip", 'y = Clip(x, "", hi)', {"x": AROUND_ZERO}, lambda x: closed_clip(x, hi=1), native=lambda x: x.clamp(max=1),
    constants=("double hi = {1.0}",), convention=CLOSED,
)  # fmt: skip
case("abs_at_zero", "Abs", "y = Abs(x)", {"x": AROUND_ZERO}, lambda x: x * x.sign(), native=torch.abs)
case("neg", "Neg", "y = Neg(x)", {"x": numbers(4)}, torch.neg)
case("identity", "Identity", "y = Identity(x)", {"x": numbers(4)}, lambda x: x.clone())
case("sqrt", "Sqrt", "y = Sqrt(x)", {"x": numbers(5, lo=0.1, hi=4)}, torch.sqrt)
case("exp", "Exp", "y = Exp(x)", {"x": numbers(5)}, torch.exp)
case("log", "Log", "y = Log(x)", {"x": numbers(5, lo=0.1, hi=4)}, torch.log)
case("reciprocal", "Reciprocal", "y = Reciprocal(x)", {"x": given(-2, -0.5, 0.25, 3)}, torch.reciprocal)
case("sin", "Sin", "y = Sin(x)", {"x": numbers(5)}, torch.sin)
case("cos", "Cos", "y = Cos(x)", {"x": numbers(5)}, torch.cos)
for exponent, x in [(2.0, AROUND_ZERO), (3.0, AROUND_ZERO), (0.5, numbers(5, lo=0.1, hi=4))]:
    case(
        f"pow_{exponent:g}".replace(".", "_"), "Pow", "y = Pow(x, exponent)", {"x": x},
        lambda x, exponent=exponent: x**exponent, constants=(f"double exponent = {{{exponent}}}",),
    )  # fmt: skip
case("pow_tensor_exponent", "Pow", "y = Pow(a, b)", {"a": numbers(2, 3, lo=0.2), "b": numbers(3)}, torch.pow)


# ---- element-wise, several operands ---------------------------------------------------------------------------------------

BROADCASTS = {
    "same": ((2, 3), (2, 3)),
    "row": ((2, 3), (3,)),
    "column": ((2, 3), (2, 1)),
    "outer": ((3, 1), (1, 2)),
    "both": ((2, 1, 3), (4, 1)),
    "scalar": ((2, 3), ()),
    "one": ((1,), (2, 3)),
    "left_rank": ((3,), (2, 1, 3)),
    "channel": ((2, 3, 2, 2), (1, 3, 1, 1)),
}
for (op, function), (kind, (left, right)) in product(
    {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div}.items(), BROADCASTS.items()
):
    divisor = numbers(*right, lo=0.4, hi=2, seed="b") * np.where(numbers(*right, seed="s") < 0, -1.0, 1.0)
    case(
        f"{op.lower()}_{kind}", op, f"y = {op}(a, b)",
        {"a": numbers(*left, seed="a"), "b": np.asarray(divisor, np.float64) if op == "Div" else numbers(*right, seed="b")},
        lambda a, b, function=function: function(a, b),
    )  # fmt: skip
case("mul_square", "Mul", "y = Mul(x, x)", {"x": AROUND_ZERO}, lambda x: x * x)

TIES = "a tie goes to the first operand; PyTorch gives half to each"
TIE_A, TIE_B = given(1, 2, 3, -1, 0, 0), given(1, 3, 2, -1, 0, -1)


def maximum(a, b):
    return torch.where(a >= b, a, b)


def minimum(a, b):
    return torch.where(a <= b, a, b)


case(
    "max_ties", "Max", "y = Max(a, b)", {"a": TIE_A, "b": TIE_B}, maximum, native=torch.maximum, convention=TIES,
)  # fmt: skip
case(
    "min_ties", "Min", "y = Min(a, b)", {"a": TIE_A, "b": TIE_B}, minimum, native=torch.minimum, convention=TIES,
)  # fmt: skip
case(
    "max_broadcast", "Max", "y = Max(x, floor)", {"x": numbers(2, 3), "floor": given(0.5)}, maximum, native=torch.maximum, batch=("x",),
)  # fmt: skip
case(
    "max_three", "Max", "y = Max(a, b, c)", {"a": given(1, 5, 2, 0), "b": given(1, 5, 3, 4), "c": given(1, 2, 3, 5)},
    lambda a, b, c: maximum(maximum(a, b), c), native=lambda a, b, c: torch.maximum(torch.maximum(a, b), c), convention=TIES,
)  # fmt: skip
case(
    "min_three", "Min", "y = Min(a, b, c)", {"a": given(1, 2, 4, 0), "b": given(1, 2, 3, 4), "c": given(1, 5, 3, -5)},
    lambda a, b, c: minimum(minimum(a, b), c), native=lambda a, b, c: torch.minimum(torch.minimum(a, b), c), convention=TIES,
)  # fmt: skip
case(
    "sum_three", "Sum", "y = Sum(a, b, c)", {"a": numbers(2, 3, seed="a"), "b": numbers(3), "c": numbers(2, 1)}, lambda a, b, c: a + b + c,
)  # fmt: skip
case(
    "mean_three", "Mean", "y = Mean(a, b, c)", {"a": numbers(2, 3, seed="a"), "b": numbers(3), "c": numbers(2, 1)}, lambda a, b, c: (a + b + c) / 3,
)  # fmt: skip
case(
    "where", "Where", "y = Where(c, a, b)", {"c": np.array([[True, False, True], [False, False, True]]), "a": numbers(2, 3), "b": numbers(3)},
    torch.where,
)  # fmt: skip
case(
    "where_condition_broadcast", "Where", "y = Where(c, a, b)", {"c": np.array([True, False, True]), "a": numbers(2, 1), "b": numbers(2, 3)}, torch.where,
)  # fmt: skip
case(
    "where_greater", "Where", "c = Greater(x, zero) a = Mul(x, x) y = Where(c, a, x)", {"x": AROUND_ZERO},
    lambda x: torch.where(x > 0, x * x, x), constants=("double zero = {0.0}",),
)  # fmt: skip


# ---- linear algebra -------------------------------------------------------------------------------------------------------

for name, left, right in [
    ("2d", (2, 3), (3, 4)), ("batched", (2, 2, 3), (2, 3, 2)), ("broadcast", (2, 1, 2, 3), (3, 3, 2)), ("matrix_stack", (2, 3), (2, 3, 2)),
    ("stack_matrix", (2, 2, 3), (3, 2)), ("vector_matrix", (3,), (3, 2)), ("matrix_vector", (2, 3), (3,)), ("vector_vector", (3,), (3,)),
    ("vector_stack", (3,), (2, 3, 2)), ("stack_vector", (2, 2, 3), (3,)),
]:  # fmt: skip
    case(f"matmul_{name}", "MatMul", "y = MatMul(a, b)", {"a": numbers(*left, seed="a"), "b": numbers(*right, seed="b")}, torch.matmul)

for trans_a, trans_b in product((0, 1), (0, 1)):
    case(
        f"gemm_trans_{trans_a}{trans_b}", "Gemm", f"y = Gemm <alpha = 0.5, beta = 2.0, transA = {trans_a}, transB = {trans_b}> (a, b, c)",
        {"a": numbers(*((3, 2) if trans_a else (2, 3))), "b": numbers(*((4, 3) if trans_b else (3, 4))), "c": numbers(4)},
        lambda a, b, c, ta=trans_a, tb=trans_b: 0.5 * (a.T if ta else a) @ (b.T if tb else b) + 2 * c,
    )  # fmt: skip
for name, shape in [("scalar", ()), ("one", (1,)), ("column", (2, 1)), ("row", (1, 4)), ("full", (2, 4))]:
    case(
        f"gemm_bias_{name}", "Gemm", "y = Gemm <beta = 0.5> (a, b, c)", {"a": numbers(2, 3), "b": numbers(3, 4), "c": numbers(*shape, seed="c")},
        lambda a, b, c: a @ b + 0.5 * c,
    )  # fmt: skip
case("gemm_linear_layer", "Gemm", "y = Gemm <transB = 1> (x, w, c)", {"x": numbers(2, 3), "w": numbers(4, 3), "c": numbers(4)}, F.linear, batch=("x",))
case("gemm_without_bias", "Gemm", "y = Gemm(a, b)", {"a": numbers(2, 3), "b": numbers(3, 4)}, lambda a, b: a @ b, batch=("a",))


# ---- convolution ----------------------------------------------------------------------------------------------------------

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def pad_spatial(x, pads, value=0.0):
    """ONNX's pads (begin…, end…) as PyTorch's (last axis first, begin and end beside each other)."""
    rank = len(pads) // 2
    return F.pad(x, [p for axis in reversed(range(rank)) for p in (pads[axis], pads[axis + rank])], value=value)


def convolution(name, x, w, strides, pads, dilations=None, group=1, bias=True):
    rank = len(strides)
    dilations = dilations or [1] * rank
    inputs = {"x": numbers(*x, seed=name), "w": numbers(*w, seed=name)} | ({"b": numbers(w[0], seed=name)} if bias else {})
    case(
        f"conv_{name}", "Conv",
        f"y = Conv <strides = {list(strides)}, pads = {list(pads)}, dilations = {list(dilations)}, group = {group}> ({', '.join(inputs)})",
        inputs, lambda x, w, b=None: CONVOLVE[rank](pad_spatial(x, pads), w, b, strides, 0, dilations, group), batch=("x",),
    )  # fmt: skip


convolution("same", (2, 2, 4, 4), (3, 2, 3, 3), [1, 1], [1, 1, 1, 1])
convolution("valid", (1, 2, 4, 5), (2, 2, 3, 2), [1, 1], [0, 0, 0, 0], bias=False)
convolution("pointwise", (2, 3, 2, 2), (2, 3, 1, 1), [1, 1], [0, 0, 0, 0])
convolution("more_pads_than_kernel", (1, 1, 2, 2), (1, 1, 2, 2), [1, 1], [2, 3, 2, 2], bias=False)
convolution("stride_2_even", (1, 2, 6, 6), (2, 2, 3, 3), [2, 2], [1, 1, 1, 1])
convolution("stride_2_odd", (1, 1, 5, 5), (2, 1, 3, 3), [2, 2], [1, 1, 1, 1])
convolution("stride_2_leftover", (1, 1, 6, 6), (1, 1, 3, 3), [2, 2], [0, 0, 0, 0])
convolution("stride_2_pointwise", (1, 2, 4, 5), (2, 2, 1, 1), [2, 2], [0, 0, 0, 0], bias=False)
convolution("stride_3_leftover", (1, 1, 8, 8), (1, 1, 3, 3), [3, 3], [0, 0, 0, 0])
convolution("stride_3_kernel_2", (1, 1, 7, 8), (2, 1, 2, 2), [3, 3], [1, 0, 0, 1])
convolution("stride_mixed", (1, 1, 5, 6), (1, 1, 3, 2), [1, 3], [1, 0, 1, 0])
convolution("pads_asymmetric", (1, 1, 4, 4), (1, 1, 3, 3), [1, 1], [0, 1, 2, 1])
convolution("pads_asymmetric_stride_2", (1, 1, 5, 4), (1, 1, 3, 3), [2, 2], [0, 0, 1, 1])
convolution("dilation_2", (1, 1, 6, 6), (1, 1, 3, 3), [1, 1], [2, 2, 2, 2], [2, 2])
convolution("dilation_2_stride_2", (1, 1, 7, 8), (1, 1, 3, 3), [2, 2], [1, 2, 1, 2], [2, 2])
convolution("dilation_3_stride_2", (1, 1, 9, 8), (1, 1, 3, 2), [2, 2], [1, 0, 1, 0], [3, 3])
convolution("group_2", (1, 4, 4, 4), (4, 2, 3, 3), [1, 1], [1, 1, 1, 1], group=2)
convolution("group_2_stride_2", (1, 4, 5, 5), (2, 2, 3, 3), [2, 2], [1, 1, 1, 1], group=2)
convolution("depthwise", (1, 3, 4, 4), (3, 1, 3, 3), [1, 1], [1, 1, 1, 1], group=3)
convolution("depthwise_multiplier", (1, 2, 4, 4), (4, 1, 2, 2), [2, 2], [0, 0, 0, 0], group=2)
convolution("1d", (2, 2, 5), (3, 2, 3), [1], [1, 1])
convolution("1d_stride_2", (1, 1, 6), (1, 1, 3), [2], [0, 1])
convolution("3d", (1, 2, 3, 3, 3), (2, 2, 2, 2, 2), [1, 1, 1], [0, 0, 0, 0, 0, 0])
convolution("3d_stride_2", (1, 1, 4, 3, 4), (1, 1, 3, 3, 2), [2, 2, 2], [1, 1, 0, 1, 1, 0])
for mode, pads in [("SAME_UPPER", [0, 0, 1, 1]), ("SAME_LOWER", [1, 1, 0, 0])]:
    case(
        f"conv_{mode.lower()}", "Conv", f'y = Conv <auto_pad = "{mode}", strides = [2, 2], kernel_shape = [3, 3]> (x, w)',
        {"x": numbers(1, 1, 4, 4), "w": numbers(1, 1, 3, 3)},
        lambda x, w, pads=pads: F.conv2d(pad_spatial(x, pads), w, stride=2), batch=("x",),
        reference_is_wrong=mode == "SAME_UPPER",
    )  # fmt: skip


def transposed(name, x, w, strides, pads, output_padding, dilations=None, group=1):
    """`pads` are symmetric here, as PyTorch wants them: one number per axis."""
    rank = len(strides)
    dilations = dilations or [1] * rank
    inputs = {"x": numbers(*x, seed=name), "w": numbers(*w, seed=name), "b": numbers(w[1] * group, seed=name)}
    case(
        f"conv_transpose_{name}", "ConvTranspose",
        f"y = ConvTranspose <strides = {strides}, pads = {pads + pads}, output_padding = {output_padding}, dilations = {dilations}, group = {group}> (x, w, b)",
        inputs, lambda x, w, b: TRANSPOSE[rank](x, w, b, strides, pads, output_padding, group, dilations), batch=("x",),
        reference_is_wrong=group > 1,
    )  # fmt: skip


transposed("stride_1", (1, 2, 3, 3), (2, 3, 3, 3), [1, 1], [1, 1], [0, 0])
transposed("stride_2", (1, 2, 3, 2), (2, 1, 3, 3), [2, 2], [0, 0], [0, 0])
transposed("output_padding", (1, 2, 3, 3), (2, 1, 3, 3), [2, 2], [1, 1], [1, 1])
transposed("group_2", (1, 4, 2, 2), (4, 2, 2, 2), [2, 2], [0, 0], [0, 0], group=2)
transposed("dilation_2", (1, 1, 3, 3), (1, 2, 2, 2), [1, 1], [1, 1], [0, 0], [2, 2])
transposed("stride_3_mixed", (1, 1, 2, 3), (1, 1, 2, 4), [3, 2], [0, 1], [1, 0])
transposed("1d", (2, 2, 4), (2, 1, 3), [2], [1], [0])


# ---- pooling --------------------------------------------------------------------------------------------------------------

POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def max_pool(name, x, kernel, strides, pads, dilations=None, ceil=0):
    rank = len(kernel)
    dilations = dilations or [1] * rank
    case(
        f"max_pool_{name}", "MaxPool",
        f"y = MaxPool <kernel_shape = {kernel}, strides = {strides}, pads = {pads + pads}, dilations = {dilations}, ceil_mode = {ceil}> (x)",
        {"x": x}, lambda x: POOL[rank](x, kernel, strides, pads, dilations, bool(ceil)), batch=("x",),
    )  # fmt: skip


FLAT_REGION = given(0, 0, 0, 0, 0, 2, 2, 0, 0, 2, 2, 1, 0, 0, 1, 1).reshape(1, 1, 4, 4)
max_pool("2x2", numbers(2, 2, 4, 4), [2, 2], [2, 2], [0, 0])
max_pool("2x2_ties", np.concatenate([FLAT_REGION, np.zeros((1, 1, 4, 4))]), [2, 2], [2, 2], [0, 0])
max_pool("overlapping", numbers(1, 2, 5, 5), [3, 3], [1, 1], [0, 0])
max_pool("overlapping_ties", FLAT_REGION, [2, 2], [1, 1], [0, 0])
max_pool("overlapping_constant", np.ones((1, 1, 5, 5)), [3, 3], [2, 2], [1, 1])
max_pool("overlapping_stride_2", numbers(1, 1, 7, 7), [3, 3], [2, 2], [0, 0])
max_pool("pads_negative_values", numbers(1, 1, 4, 4, lo=-3, hi=-1), [3, 3], [2, 2], [1, 1])
max_pool("pads_zero_ties", np.minimum(numbers(1, 1, 4, 4), 0.0), [3, 3], [1, 1], [1, 1])
max_pool("ceil", numbers(1, 1, 5, 6), [2, 2], [2, 2], [0, 0], ceil=1)
max_pool("ceil_kernel_3", numbers(1, 1, 6, 6), [3, 3], [2, 2], [0, 0], ceil=1)
max_pool("leftover", numbers(1, 1, 5, 5), [2, 2], [2, 2], [0, 0])
max_pool("dilation", numbers(1, 1, 6, 5), [2, 2], [1, 1], [0, 0], [2, 3])
max_pool("dilation_ties", np.round(numbers(1, 1, 6, 6)), [2, 2], [1, 2], [0, 1], [2, 2])
max_pool("gap_between_windows", numbers(1, 1, 6, 6, seed="gap"), [2, 2], [3, 3], [0, 0])
max_pool("1d", np.round(numbers(2, 2, 7)), [3], [2], [1])
max_pool("3d", np.round(numbers(1, 1, 3, 4, 4)), [2, 2, 2], [1, 2, 2], [0, 1, 0])
case(
    "relu_max_pool_ties", "MaxPool", "a = Relu(x) y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)",
    {"x": np.where(numbers(1, 1, 4, 4) < 0.5, -np.abs(numbers(1, 1, 4, 4)), 1.0)}, lambda x: F.max_pool2d(F.relu(x), 2), batch=("x",),
)  # fmt: skip


def average_pool(name, x, kernel, strides, pads, ceil=0, include=0):
    rank = len(kernel)
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[rank]
    case(
        f"average_pool_{name}", "AveragePool",
        f"y = AveragePool <kernel_shape = {kernel}, strides = {strides}, pads = {pads + pads}, ceil_mode = {ceil}, count_include_pad = {include}> (x)",
        {"x": numbers(*x)}, lambda x: pool(x, kernel, strides, pads, bool(ceil), bool(include)), batch=("x",),
    )  # fmt: skip


average_pool("2x2", (2, 1, 4, 4), [2, 2], [2, 2], [0, 0])
average_pool("overlapping", (1, 1, 5, 5), [3, 3], [1, 1], [0, 0])
average_pool("pads", (1, 1, 4, 5), [3, 3], [2, 2], [1, 1])
average_pool("pads_counted", (1, 1, 4, 5), [3, 3], [2, 2], [1, 1], include=1)
average_pool("ceil", (1, 1, 5, 6), [2, 3], [2, 2], [0, 0], ceil=1)
average_pool("ceil_pads_counted", (1, 1, 6, 6), [3, 3], [2, 2], [1, 1], ceil=1, include=1)
average_pool("leftover", (1, 1, 5, 5), [2, 2], [2, 2], [0, 0])
average_pool("1d", (2, 2, 6), [3], [2], [1])
average_pool("3d", (1, 1, 3, 4, 4), [2, 2, 2], [1, 2, 2], [0, 0, 0])
case("global_average_pool", "GlobalAveragePool", "y = GlobalAveragePool(x)", {"x": numbers(2, 2, 3, 2)}, lambda x: x.mean((2, 3), keepdim=True), batch=("x",))
case("global_max_pool", "GlobalMaxPool", "y = GlobalMaxPool(x)", {"x": numbers(2, 2, 3, 2)}, lambda x: F.adaptive_max_pool2d(x, 1), batch=("x",))
case(
    "global_max_pool_ties", "GlobalMaxPool", "y = GlobalMaxPool(x)", {"x": given(1, 3, 3, 0, 2, 2, 2, 2).reshape(1, 2, 2, 2)},
    lambda x: x.amax((2, 3), keepdim=True), native=lambda x: F.adaptive_max_pool2d(x, 1), batch=("x",),
    convention="ties share evenly, as in ReduceMax; PyTorch gives all to the first",
)  # fmt: skip


# ---- normalisation --------------------------------------------------------------------------------------------------------

EPSILON = 2.0**-10
case(
    "batch_normalization", "BatchNormalization", f"y = BatchNormalization <epsilon = {EPSILON}> (x, scale, b, mean, var)",
    {"x": numbers(2, 3, 2, 2), "scale": numbers(3, seed="s"), "b": numbers(3, seed="b"), "mean": numbers(3, seed="m"), "var": numbers(3, lo=0.2, hi=2)},
    lambda x, scale, b, mean, var: (
        (x - mean[:, None, None]) / torch.sqrt(var + EPSILON)[:, None, None] * scale[:, None, None] + b[:, None, None]
    ),
    batch=("x",),
)  # fmt: skip
case(
    "batch_normalization_2d", "BatchNormalization", f"y = BatchNormalization <epsilon = {EPSILON}> (x, scale, b, mean, var)",
    {"x": numbers(4, 3), "scale": numbers(3, seed="s"), "b": numbers(3, seed="b"), "mean": numbers(3, seed="m"), "var": numbers(3, lo=0.2, hi=2)},
    lambda x, scale, b, mean, var: (x - mean) / torch.sqrt(var + EPSILON) * scale + b, batch=("x",),
)  # fmt: skip
case(
    "layer_normalization_last_axis", "LayerNormalization", f"y = LayerNormalization <axis = -1, epsilon = {EPSILON}> (x, scale, b)",
    {"x": numbers(2, 3, 4), "scale": numbers(4, seed="s"), "b": numbers(4)}, lambda x, scale, b: F.layer_norm(x, (4,), scale, b, EPSILON), batch=("x",),
)  # fmt: skip
case(
    "layer_normalization_two_axes", "LayerNormalization", f"y = LayerNormalization <axis = 1, epsilon = {EPSILON}> (x, scale)",
    {"x": numbers(2, 3, 2), "scale": numbers(3, 2, seed="s")}, lambda x, scale: F.layer_norm(x, (3, 2), scale, None, EPSILON), batch=("x",),
)  # fmt: skip
case(
    "instance_normalization", "InstanceNormalization", f"y = InstanceNormalization <epsilon = {EPSILON}> (x, scale, b)",
    {"x": numbers(2, 2, 2, 3), "scale": numbers(2, seed="s"), "b": numbers(2)},
    lambda x, scale, b: F.instance_norm(x, weight=scale, bias=b, eps=EPSILON), batch=("x",),
)  # fmt: skip
for op, function in {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax}.items():
    for name, shape, axis in [("rows", (2, 4), -1), ("columns", (3, 2), 0), ("channels", (2, 3, 2, 2), 1), ("last_of_3", (2, 2, 3), 2)]:
        case(
            f"{op.lower()}_{name}", op, f"y = {op} <axis = {axis}> (x)", {"x": numbers(*shape)},
            lambda x, function=function, axis=axis: function(x, axis), batch=("x",) if axis else (),
        )  # fmt: skip
    case(
        f"{op.lower()}_huge_gap", op, f"y = {op} <axis = -1> (x)", {"x": given([1000, 990, 0], [-800, 5, 4])},
        lambda x, function=function: function(x, -1), reference_is_wrong=op == "LogSoftmax",
    )  # fmt: skip
case(
    "cross_entropy_huge_gap", "SoftmaxCrossEntropyLoss", 'y = SoftmaxCrossEntropyLoss <reduction = "none"> (z, label)',
    {"z": np.array([[gap, 0.0, -1.0] for gap in (0, 5, 16, 18, 30, 50, 80)], np.float64), "label": np.zeros(7, np.int64)},
    lambda z, label: StableCrossEntropy.apply(z, label), batch=("z", "label"), second_order=False, forward_tolerance=1e-9,
    convention="component y of the gradient is -sum of p_j over j != y, so it keeps its relative precision in float32 too, where p_y - 1 is 0 from a gap of about 17",
)  # fmt: skip


class StableCrossEntropy(torch.autograd.Function):
    """logsumexp(z) - z_y per sample; the gradient at component y is minus the sum of the other probabilities."""

    @staticmethod
    def forward(context, z, label):
        context.save_for_backward(z, label)
        rivals = z.scatter(1, label[:, None], -torch.inf) - z.gather(1, label[:, None])
        return torch.log1p(rivals.exp().sum(1))

    @staticmethod
    def backward(context, ct):
        z, label = context.saved_tensors
        p = z.softmax(1).scatter(1, label[:, None], 0.0)
        return ct[:, None] * p.scatter(1, label[:, None], -p.sum(1, keepdim=True)), None


# ---- reductions -----------------------------------------------------------------------------------------------------------


def product_over(x, axes, keepdim):
    for axis in sorted((a % x.dim() for a in axes), reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


REDUCTIONS = {
    "ReduceSum": lambda x, axes, keep: x.sum(axes, keep),
    "ReduceMean": lambda x, axes, keep: x.mean(axes, keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keep),
    "ReduceL1": lambda x, axes, keep: x.abs().sum(axes, keep),
    "ReduceL2": lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep),
    "ReduceSumSquare": lambda x, axes, keep: x.square().sum(axes, keep),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keep),
    "ReduceProd": product_over,
}
for op, function in REDUCTIONS.items():
    for name, axes, keep in [("last", (-1,), 0), ("spatial", (1, 2), 1), ("middle", (1,), 1), ("outer", (0, 2), 0)]:
        case(
            f"{op.lower()}_{name}", op, f"y = {op} <keepdims = {keep}> (x, axes)", {"x": numbers(2, 3, 2, seed=op)},
            lambda x, function=function, axes=axes, keep=keep: function(x, axes, bool(keep)),
            constants=(longs("axes", *axes),), batch=() if 0 in axes else ("x",),
        )  # fmt: skip
    case(
        f"{op.lower()}_all", op, f"y = {op} <keepdims = 0> (x)", {"x": numbers(2, 3, seed=op)},
        lambda x, function=function: function(x, (0, 1), False),
    )  # fmt: skip
TIED_ROWS = given([1, 3, 3, 0], [2, 2, 2, 2], [-1, -2, -1, -2])
for op, pick in {"ReduceMax": torch.amax, "ReduceMin": torch.amin}.items():
    case(f"{op.lower()}_ties", op, f"y = {op} <keepdims = 0> (x, axes)", {"x": TIED_ROWS}, lambda x, pick=pick: pick(x, 1), constants=(longs("axes", 1),))
case(
    "reducel2_zero_row", "ReduceL2", "y = ReduceL2 <keepdims = 0> (x, axes)", {"x": given([3, 4], [0, 0])},
    lambda x: torch.linalg.vector_norm(x, 2, 1), constants=(longs("axes", 1),), second_order=False,
)  # fmt: skip
for name, row in [("one_zero", (2, 0, 3)), ("two_zeros", (0, 2, 0))]:
    case(
        f"reduceprod_{name}", "ReduceProd", "y = ReduceProd <keepdims = 0> (x, axes)", {"x": given(row, (1, 2, 3))},
        lambda x: x.prod(1), constants=(longs("axes", 1),),
    )  # fmt: skip
case(
    "reducelogsumexp_large", "ReduceLogSumExp", "y = ReduceLogSumExp <keepdims = 0> (x, axes)", {"x": given([1000, 999, 0], [-1000, -1000, -1001])},
    lambda x: x.logsumexp(1), constants=(longs("axes", 1),), forward_tolerance=1e-9,
)  # fmt: skip


# ---- data movement --------------------------------------------------------------------------------------------------------

case("transpose", "Transpose", "y = Transpose <perm = [2, 0, 1]> (x)", {"x": numbers(2, 3, 4)}, lambda x: x.permute(2, 0, 1))
case("transpose_default", "Transpose", "y = Transpose(x)", {"x": numbers(2, 3, 2)}, lambda x: x.permute(2, 1, 0))
case("reshape_minus_one", "Reshape", "y = Reshape(x, shape)", {"x": numbers(2, 3, 2)}, lambda x: x.reshape(3, 4), constants=(longs("shape", 3, -1),))
case("reshape_zero", "Reshape", "y = Reshape(x, shape)", {"x": numbers(2, 3, 2)}, lambda x: x.reshape(2, 6), constants=(longs("shape", 0, -1),), batch=("x",))
for axis in (0, 1, 2, -1):
    case(
        f"flatten_{axis}".replace("-", "minus_"), "Flatten", f"y = Flatten <axis = {axis}> (x)", {"x": numbers(2, 3, 2)},
        lambda x, axis=axis: x.reshape(math.prod(x.shape[:axis]), -1), batch=("x",) if axis == 1 else (),
    )  # fmt: skip
case("squeeze", "Squeeze", "y = Squeeze(x, axes)", {"x": numbers(2, 1, 3, 1)}, lambda x: x.reshape(2, 3), constants=(longs("axes", 1, -1),), batch=("x",))
case("squeeze_all", "Squeeze", "y = Squeeze(x)", {"x": numbers(1, 3, 1)}, lambda x: x.squeeze())
case("unsqueeze", "Unsqueeze", "y = Unsqueeze(x, axes)", {"x": numbers(2, 3)}, lambda x: x.reshape(2, 1, 3, 1), constants=(longs("axes", 1, 3),), batch=("x",))
case("concat_channels", "Concat", "y = Concat <axis = 1> (a, b)", {"a": numbers(2, 1, 2), "b": numbers(2, 3, 2)}, lambda a, b: torch.cat((a, b), 1), batch=("a", "b"))
case("concat_last_three", "Concat", "y = Concat <axis = -1> (a, b, a)", {"a": numbers(2, 1), "b": numbers(2, 2)}, lambda a, b: torch.cat((a, b, a), -1), batch=("a", "b"))
case("split_even", "Split", "y0, y1 = Split <axis = 1, num_outputs = 2> (x)", {"x": numbers(2, 4)}, lambda x: x.split(2, 1), batch=("x",))
case("split_uneven", "Split", "y0, y1 = Split <axis = 1, num_outputs = 2> (x)", {"x": numbers(2, 5)}, lambda x: x.split(3, 1), batch=("x",))
case("split_sizes", "Split", "y0, y1, y2 = Split <axis = -1> (x, sizes)", {"x": numbers(2, 6)}, lambda x: x.split((1, 3, 2), -1), constants=(longs("sizes", 1, 3, 2),), batch=("x",))
case("split_one_unused", "Split", "unused, y = Split <axis = 1> (x, sizes)", {"x": numbers(2, 3)}, lambda x: x[:, 1:], constants=(longs("sizes", 1, 2),), batch=("x",))


def slicing(name, shape, starts, ends, axes, steps, function):
    constants = (longs("starts", *starts), longs("ends", *ends), longs("axes", *axes), longs("steps", *steps))
    case(f"slice_{name}", "Slice", "y = Slice(x, starts, ends, axes, steps)", {"x": numbers(*shape)}, function, constants=constants, batch=() if 0 in axes else ("x",))


END = 2**63 - 1
slicing("plain", (2, 5), [1], [4], [1], [1], lambda x: x[:, 1:4])
slicing("to_the_end", (2, 5), [2], [END], [-1], [1], lambda x: x[:, 2:])
slicing("negative_indices", (2, 5), [-3], [-1], [1], [1], lambda x: x[:, -3:-1])
slicing("step_2", (2, 3, 4, 4), [0, 0], [END, END], [2, 3], [2, 2], lambda x: x[:, :, ::2, ::2])
slicing("step_3_offset", (2, 8), [1], [8], [1], [3], lambda x: x[:, 1::3])
slicing("reverse", (2, 4), [-1], [-END], [1], [-1], lambda x: x.flip(1))
slicing("step_minus_2", (2, 6), [4], [-END], [1], [-2], lambda x: x[:, [4, 2, 0]])
slicing("step_minus_2_bounded", (3, 6), [5, 2], [1, 0], [1, 0], [-2, -1], lambda x: x[[2, 1]][:, [5, 3]])
case("slice_default_axes", "Slice", "y = Slice(x, starts, ends)", {"x": numbers(3, 4)}, lambda x: x[1:, :-1], constants=(longs("starts", 1, 0), longs("ends", 3, -1)))


def padding(name, shape, pads, mode, function, value=None, **more):
    constants = (longs("pads", *pads),) + ((f"double value = {{{value}}}",) if value is not None else ())
    operands = "x, pads" + (", value" if value is not None else "")
    case(f"pad_{name}", "Pad", f'y = Pad <mode = "{mode}"> ({operands})', {"x": numbers(*shape)}, function, constants=constants, batch=("x",), **more)


padding("constant", (1, 2, 2, 3), [0, 0, 1, 0, 0, 0, 2, 1], "constant", lambda x: F.pad(x, (0, 1, 1, 2), value=1.5), value=1.5)
padding("zero_channels", (1, 2, 2, 2), [0, 1, 0, 0, 0, 1, 0, 0], "constant", lambda x: F.pad(x, (0, 0, 0, 0, 1, 1)))
padding("negative", (1, 1, 4, 4), [0, 0, -1, 1, 0, 0, -1, -1], "constant", lambda x: F.pad(x, (1, -1, -1, -1)), reference_is_wrong=True)
padding("reflect", (1, 1, 3, 4), [0, 0, 2, 1, 0, 0, 1, 3], "reflect", lambda x: F.pad(x, (1, 3, 2, 1), mode="reflect"))
padding("edge", (1, 1, 2, 3), [0, 0, 2, 1, 0, 0, 1, 3], "edge", lambda x: F.pad(x, (1, 3, 2, 1), mode="replicate"))
case("expand", "Expand", "y = Expand(x, shape)", {"x": numbers(3, 1)}, lambda x: x.expand(2, 3, 4), constants=(longs("shape", 2, 3, 4),))
case("expand_keeps_larger", "Expand", "y = Expand(x, shape)", {"x": numbers(2, 1, 3)}, lambda x: x.expand(2, 4, 3), constants=(longs("shape", 4, 1),))
case("tile", "Tile", "y = Tile(x, repeats)", {"x": numbers(2, 3)}, lambda x: x.repeat(2, 3), constants=(longs("repeats", 2, 3),))
case("tile_last", "Tile", "y = Tile(x, repeats)", {"x": numbers(2, 1, 2)}, lambda x: x.repeat(1, 3, 2), constants=(longs("repeats", 1, 3, 2),), batch=("x",))
case("gather_rows", "Gather", "y = Gather <axis = 0> (x, indices)", {"x": numbers(4, 2)}, lambda x: x[[2, 0, 2, 3]], constants=(longs("indices", 2, 0, 2, -1),))
case(
    "gather_matrix_of_indices", "Gather", "y = Gather <axis = 1> (x, indices)", {"x": numbers(2, 4, 2)},
    lambda x: x[:, torch.tensor([[1, 1, 3], [3, 0, 1]])], constants=("int64[2,3] indices = {1,1,-1,3,0,1}",), batch=("x",),
)  # fmt: skip
case("gather_scalar", "Gather", "y = Gather <axis = -1> (x, index)", {"x": numbers(2, 3)}, lambda x: x[:, 1], constants=("int64 index = {1}",), batch=("x",))
case(
    "gather_index_operand", "Gather", "y = Gather <axis = 0> (x, indices)", {"x": numbers(3, 2), "indices": np.array([[0, 2], [2, 2]])},
    lambda x, indices: x[indices],
)  # fmt: skip
case(
    "gather_elements", "GatherElements", "y = GatherElements <axis = 1> (x, indices)", {"x": numbers(2, 3), "indices": np.array([[0, 2, 2, -1], [1, 1, 0, 2]])},
    lambda x, indices: x.gather(1, indices % 3),
)  # fmt: skip
case(
    "gather_elements_axis_0", "GatherElements", "y = GatherElements <axis = 0> (x, indices)", {"x": numbers(3, 2), "indices": np.array([[0, 2], [2, 2]])},
    lambda x, indices: x.gather(0, indices),
)  # fmt: skip
case(
    "gather_nd", "GatherND", "y = GatherND(x, indices)", {"x": numbers(2, 3, 2), "indices": np.array([[0, 1], [1, 2], [0, 1]])},
    lambda x, indices: x[indices[:, 0], indices[:, 1]],
)  # fmt: skip
UNIQUE = np.array([[0, 2], [1, 0]])
case(
    "scatter_elements", "ScatterElements", "y = ScatterElements <axis = 1> (x, indices, updates)",
    {"x": numbers(2, 3), "indices": UNIQUE, "updates": numbers(2, 2)}, lambda x, indices, updates: x.scatter(1, indices, updates),
)  # fmt: skip
case(
    "scatter_elements_add", "ScatterElements", 'y = ScatterElements <axis = 1, reduction = "add"> (x, indices, updates)',
    {"x": numbers(2, 3), "indices": np.array([[0, 0, 2], [1, 1, 1]]), "updates": numbers(2, 3, seed="u")},
    lambda x, indices, updates: x.scatter_add(1, indices, updates),
)  # fmt: skip
case(
    "scatter_elements_add_axis_0", "ScatterElements", 'y = ScatterElements <axis = 0, reduction = "add"> (x, indices, updates)',
    {"x": numbers(3, 2), "indices": np.array([[0, 2], [0, -1]]), "updates": numbers(2, 2)},
    lambda x, indices, updates: x.scatter_add(0, indices % 3, updates),
)  # fmt: skip
case(
    "scatter_nd", "ScatterND", "y = ScatterND(x, indices, updates)",
    {"x": numbers(4, 2), "indices": np.array([[2], [0]]), "updates": numbers(2, 2)}, lambda x, indices, updates: x.index_put((indices[:, 0],), updates),
)  # fmt: skip
case(
    "scatter_nd_add", "ScatterND", 'y = ScatterND <reduction = "add"> (x, indices, updates)',
    {"x": numbers(4, 2), "indices": np.array([[2], [0], [2]]), "updates": numbers(3, 2)},
    lambda x, indices, updates: x.index_put((indices[:, 0],), updates, accumulate=True),
)  # fmt: skip
case("cumsum", "CumSum", "y = CumSum(x, axis)", {"x": numbers(2, 4)}, lambda x: x.cumsum(1), constants=("int64 axis = {1}",), batch=("x",))
case(
    "cumsum_exclusive", "CumSum", "y = CumSum <exclusive = 1> (x, axis)", {"x": numbers(2, 4)}, lambda x: x.cumsum(1) - x,
    constants=("int64 axis = {-1}",), batch=("x",),
)  # fmt: skip
case(
    "cumsum_reverse", "CumSum", "y = CumSum <reverse = 1> (x, axis)", {"x": numbers(3, 2)}, lambda x: x.flip(0).cumsum(0).flip(0),
    constants=("int64 axis = {0}",),
)  # fmt: skip
case(
    "cumsum_exclusive_reverse", "CumSum", "y = CumSum <exclusive = 1, reverse = 1> (x, axis)", {"x": numbers(2, 4)},
    lambda x: x.flip(1).cumsum(1).flip(1) - x, constants=("int64 axis = {1}",), batch=("x",),
)  # fmt: skip
case(
    "depth_to_space", "DepthToSpace", 'y = DepthToSpace <blocksize = 2, mode = "CRD"> (x)', {"x": numbers(1, 4, 2, 2)},
    lambda x: F.pixel_shuffle(x, 2), batch=("x",),
)  # fmt: skip
case("space_to_depth", "SpaceToDepth", "y = SpaceToDepth <blocksize = 2> (x)", {"x": numbers(1, 1, 4, 4)}, lambda x: F.pixel_unshuffle(x, 2), batch=("x",))


# ---- several operators: what accumulation and sharing get wrong -----------------------------------------------------------

case(
    "shared_operand", "Add", "a = Exp(x) b = Mul(a, x) y = Add(b, a)", {"x": numbers(2, 3)}, lambda x: x.exp() * x + x.exp(), batch=("x",),
)  # fmt: skip
case(
    "residual_block", "Conv",
    "a = Conv <pads = [1, 1, 1, 1]> (x, w) b = Relu(a) c = Conv <pads = [1, 1, 1, 1]> (b, w) d = Add(c, x) y = Softplus(d)",
    {"x": numbers(1, 2, 3, 3), "w": numbers(2, 2, 3, 3, seed="w") / 4}, batch=("x",),
    function=lambda x, w: torch.logaddexp(F.conv2d(F.relu(F.conv2d(x, w, padding=1)), w, padding=1) + x, torch.zeros((), dtype=x.dtype)),
)  # fmt: skip
case(
    "attention", "MatMul",
    "k = Transpose <perm = [0, 2, 1]> (x) s = MatMul(x, k) t = Mul(s, scale) p = Softmax <axis = -1> (t) y = MatMul(p, x)",
    {"x": numbers(2, 3, 2)}, lambda x: (x @ x.mT * 0.5).softmax(-1) @ x, constants=("double scale = {0.5}",), batch=("x",),
)  # fmt: skip
case(
    "operand_without_effect", "Where", "c = Greater(x, x) y = Where(c, a, x)", {"x": numbers(3), "a": numbers(3, seed="a")},
    lambda x, a: torch.where(x > x, a, x),
)  # fmt: skip
