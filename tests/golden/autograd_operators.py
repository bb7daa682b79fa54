"""More cases of autograd.py: newer, rarer and quantising operators. The same conventions as autograd_cases.py."""

import math

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F

from autograd_cases import EPSILON, case, given, longs, numbers, pad_spatial

# ---- element-wise ---------------------------------------------------------------------------------------------------------

case("celu", "Celu", "y = Celu <alpha = 1.5> (x)", {"x": given(-3, -1, -0.5, 0.25, 1, 3)}, lambda x: F.celu(x, 1.5), reference_is_wrong=True)
case("mish", "Mish", "y = Mish(x)", {"x": numbers(6)}, F.mish)
case("shrink", "Shrink", "y = Shrink <lambd = 0.5, bias = 0.25> (x)", {"x": given(-2, -0.75, -0.25, 0, 0.25, 0.75, 2)},
     lambda x: torch.where(x < -0.5, x + 0.25, torch.where(x > 0.5, x - 0.25, 0 * x)))  # fmt: skip
case("mod_both", "Mod", "y = Mod <fmod = 1> (a, b)", {"a": numbers(2, 3, lo=-5, hi=5), "b": given(0.75, 1.25, -1.5)}, torch.fmod)
case("gelu", "Gelu", "y = Gelu(x)", {"x": numbers(2, 4)}, F.gelu, batch=("x",), opset=20, forward_tolerance=1e-6)
case("gelu_tanh", "Gelu", 'y = Gelu <approximate = "tanh"> (x)', {"x": numbers(2, 4)}, lambda x: F.gelu(x, approximate="tanh"), batch=("x",), opset=20, forward_tolerance=1e-6)
case("swish", "Swish", "y = Swish <alpha = 1.5> (x)", {"x": numbers(2, 4)}, lambda x: x * torch.sigmoid(1.5 * x), batch=("x",), opset=24)

# ---- linear algebra -------------------------------------------------------------------------------------------------------

for name, equation, shapes in [
    ("matmul", "bij,bjk->bik", [(2, 2, 3), (2, 3, 2)]), ("implicit", "ij,jk", [(2, 3), (3, 2)]), ("lost", "ij->j", [(2, 3)]),
    ("lost_beside", "ij,k->k", [(2, 3), (2,)]), ("diagonal", "ii->i", [(3, 3)]), ("trace", "ii->", [(3, 3)]),
    ("diagonal_of_product", "iij,j->i", [(2, 2, 3), (3,)]), ("diagonal_beside", "ii,ij->j", [(2, 2), (2, 3)]),
    ("ellipsis", "...ij,...jk->...ik", [(2, 1, 2, 3), (2, 1, 3, 2)]), ("ellipsis_one_side", "...i,ij->...j", [(2, 2, 3), (3, 2)]),
    ("four", "a,b,ab,c->abc", [(2,), (3,), (2, 3), (2,)]), ("attention", "bhid,bhjd->bhij", [(1, 2, 2, 3), (1, 2, 3, 3)]),
]:  # fmt: skip
    inputs = {f"x{k}": numbers(*shape, seed=f"{name}{k}") for k, shape in enumerate(shapes)}
    case(
        f"einsum_{name}", "Einsum", f'y = Einsum <equation = "{equation}"> ({", ".join(inputs)})', inputs,
        lambda *xs, equation=equation: torch.einsum(equation, *xs),
    )  # fmt: skip
case("det_2", "Det", "y = Det(x)", {"x": numbers(2, 2, 2)}, torch.linalg.det, batch=("x",))
case("det_3", "Det", "y = Det(x)", {"x": numbers(2, 3, 3)}, torch.linalg.det, batch=("x",))

# ---- pooling --------------------------------------------------------------------------------------------------------------


def lp_pool(name, x, p, kernel, strides, pads):
    def function(x):
        sums = F.avg_pool2d(pad_spatial(x.abs() ** p, pads + pads), kernel, strides) * math.prod(kernel)
        return sums ** (1 / p)

    body = f"y = LpPool <p = {p}, kernel_shape = {kernel}, strides = {strides}, pads = {pads + pads}> (x)"
    case(f"lp_pool_{name}", "LpPool", body, {"x": numbers(*x)}, function, batch=("x",), reference_is_wrong=True)


lp_pool("2", (2, 2, 4, 4), 2, [2, 2], [2, 2], [0, 0])
lp_pool("3_overlapping", (1, 2, 5, 4), 3, [3, 2], [2, 1], [1, 0])
lp_pool("1", (1, 1, 4, 4), 1, [2, 2], [1, 1], [1, 1])
case("global_lp_pool", "GlobalLpPool", "y = GlobalLpPool <p = 3> (x)", {"x": numbers(2, 2, 2, 3)},
     lambda x: (x.abs() ** 3).sum((2, 3), keepdim=True) ** (1 / 3), batch=("x",), reference_is_wrong=True)  # fmt: skip
case(
    "max_unpool", "MaxUnpool", "y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (x, indices)",
    {"x": numbers(1, 2, 2, 2), "indices": np.array([0, 3, 8, 15, 21, 22, 24, 31]).reshape(1, 2, 2, 2)},
    lambda x, indices: torch.zeros(32, dtype=x.dtype).index_put((indices.flatten(),), x.flatten()).reshape(1, 2, 4, 4), reference_is_wrong=True,
)  # fmt: skip
case(
    "max_pool_column_major", "MaxPool", "y = MaxPool <kernel_shape = [2, 2], strides = [1, 2], storage_order = 1> (x)", {"x": numbers(1, 2, 4, 4, seed="cm")},
    lambda x: F.max_pool2d(x, 2, (1, 2)), batch=("x",),
)  # fmt: skip

# ---- normalisation --------------------------------------------------------------------------------------------------------

AFFINE = {"scale": numbers(4, seed="s"), "b": numbers(4, seed="b")}
case(
    "group_normalization", "GroupNormalization", f"y = GroupNormalization <num_groups = 2, epsilon = {EPSILON}> (x, scale, b)",
    {"x": numbers(2, 4, 2, 2)} | AFFINE, lambda x, scale, b: F.group_norm(x, 2, scale, b, EPSILON), batch=("x",), opset=21, reference_is_wrong=True,
)  # fmt: skip
case(
    "rms_normalization", "RMSNormalization", f"y = RMSNormalization <axis = -1, epsilon = {EPSILON}> (x, scale)",
    {"x": numbers(2, 3, 4), "scale": numbers(4, seed="s")}, lambda x, scale: F.rms_norm(x, (4,), scale, EPSILON), batch=("x",), opset=23,
    forward_tolerance=1e-6,
)  # fmt: skip


def training_batch_norm(x, scale, b, mean, var):
    centred = x - x.mean((0, 2, 3), keepdim=True)
    variance = (centred * centred).mean((0, 2, 3), keepdim=True)
    return centred / torch.sqrt(variance + EPSILON) * scale[:, None, None] + b[:, None, None]


case(
    "batch_normalization_training", "BatchNormalization",
    f"y, running_mean, running_var = BatchNormalization <epsilon = {EPSILON}, training_mode = 1> (x, scale, b, mean, var)",
    {"x": numbers(3, 2, 2, 2), "scale": numbers(2, seed="s"), "b": numbers(2, seed="b"), "mean": numbers(2, seed="m"), "var": numbers(2, lo=0.2, hi=2)},
    training_batch_norm, reference_is_wrong=True,
)  # fmt: skip


def layer_statistics(x, scale, b):
    mean = x.mean(-1, keepdim=True)
    inverse = 1 / torch.sqrt(((x - mean) ** 2).mean(-1, keepdim=True) + EPSILON)
    return (x - mean) * inverse * scale + b, mean, inverse


case(
    "layer_normalization_statistics", "LayerNormalization", f"y0, y1, y2 = LayerNormalization <axis = -1, epsilon = {EPSILON}> (x, scale, b)",
    {"x": numbers(2, 4), "scale": numbers(4, seed="s"), "b": numbers(4)}, layer_statistics, batch=("x",), single=True, reference_is_wrong=True, tolerance=1e-5,
)  # fmt: skip


def local_response(size, alpha, beta, bias):
    def function(x):
        squares = F.pad(x * x, (0, 0, 0, 0, (size - 1) // 2, size // 2))
        sums = sum(squares[:, k : k + x.shape[1]] for k in range(size))
        return x / (bias + alpha / size * sums) ** beta

    return function


case(
    "lrn", "LRN", "y = LRN <size = 3, alpha = 0.5, beta = 0.75, bias = 1.5> (x)", {"x": numbers(2, 5, 2, 2)}, local_response(3, 0.5, 0.75, 1.5),
    batch=("x",), reference_is_wrong=True,
)  # fmt: skip
for p in (1, 2):
    case(
        f"lp_normalization_{p}", "LpNormalization", f"y = LpNormalization <axis = 1, p = {p}> (x)", {"x": numbers(2, 3, 2)},
        lambda x, p=p: x / torch.linalg.vector_norm(x, p, 1, keepdim=True), batch=("x",), reference_is_wrong=True,
    )  # fmt: skip


class StableSoftmax(torch.autograd.Function):
    """softmax; its gradient takes the cotangent less its value at the largest element, where PyTorch's own cancels."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x.softmax(-1)

    @staticmethod
    def backward(context, ct):
        (x,) = context.saved_tensors
        y = StableSoftmax.apply(x)
        ct = ct - ct.gather(-1, y.argmax(-1, keepdim=True))
        return y * (ct - (ct * y).sum(-1, keepdim=True))


case(
    "softmax_saturated", "Softmax", "y = Softmax <axis = -1> (x)", {"x": given([0, 30, 1, -5], [0, 18, 17.5, -1], [-12, 0, 1, 11])},
    lambda x: StableSoftmax.apply(x), each=1e-5,
)  # fmt: skip
case(
    "negative_log_likelihood", "NegativeLogLikelihoodLoss", 'y = NegativeLogLikelihoodLoss <reduction = "mean", ignore_index = 2> (x, label, weight)',
    {"x": numbers(3, 4), "label": np.array([1, 2, 3])}, constants=("double[4] weight = {0.5, 1, 2, 0.25}",),
    function=lambda x, label: F.nll_loss(x, label, torch.tensor([0.5, 1, 2, 0.25]).double(), ignore_index=2),
)  # fmt: skip

# ---- data movement --------------------------------------------------------------------------------------------------------

BATCHED = np.array([[[0, 1], [2, 0]], [[1, 1], [1, 1]]])
case(
    "gather_nd_batch", "GatherND", "y = GatherND <batch_dims = 1> (x, indices)", {"x": numbers(2, 3, 2, 2), "indices": BATCHED},
    lambda x, indices: torch.stack([x[k, indices[k, :, 0], indices[k, :, 1]] for k in range(2)]), batch=("x", "indices"),
)  # fmt: skip
case(
    "gather_nd_two_batches", "GatherND", "y = GatherND <batch_dims = 2> (x, indices)",
    {"x": numbers(2, 2, 3), "indices": np.array([[[2], [0]], [[1], [1]]])},
    lambda x, indices: x.gather(2, indices)[:, :, 0],
)  # fmt: skip
TARGETS = np.array([[0, 0, 2], [1, 1, 1]])
for reduction, pick in [("mul", "prod"), ("max", "amax"), ("min", "amin")]:
    case(
        f"scatter_elements_{reduction}", "ScatterElements", f'y = ScatterElements <axis = 1, reduction = "{reduction}"> (x, indices, updates)',
        {"x": numbers(2, 3), "indices": TARGETS, "updates": numbers(2, 3, seed=reduction)},
        lambda x, indices, updates, pick=pick: products(x, indices, updates) if pick == "prod" else x.scatter_reduce(1, indices, updates, pick),
    )  # fmt: skip
    case(
        f"scatter_nd_{reduction}", "ScatterND", f'y = ScatterND <reduction = "{reduction}"> (x, indices, updates)',
        {"x": numbers(3, 2), "indices": np.array([[2], [0], [2]]), "updates": numbers(3, 2, seed=f"{reduction} rows")},
        lambda x, indices, updates, pick=pick: products(x.T, indices.T.expand(2, -1), updates.T).T
        if pick == "prod"
        else x.scatter_reduce(0, indices.expand(-1, 2), updates, pick),
    )  # fmt: skip


def products(x, indices, updates):
    """x with every update multiplied in where it goes, column by column, so that autograd sees each product."""
    rows = []
    for row, places, factors in zip(x, indices, updates):
        columns = list(row)
        for place, factor in zip(places.tolist(), factors):
            columns[place] = columns[place] * factor
        rows.append(torch.stack(columns))
    return torch.stack(rows)


case(
    "slice_computed", "Slice", "y = Slice(x, starts, ends, axes, steps)",
    {"x": numbers(2, 7), "starts": np.array([5, 0]), "ends": np.array([0, 2]), "steps": np.array([-2, 1])},
    lambda x, starts, ends, steps: x[0:2][:, [5, 3, 1]], constants=(longs("axes", 1, 0),),
)  # fmt: skip
case(
    "pad_computed", "Pad", "y = Pad(x, pads)", {"x": numbers(2, 3), "pads": np.array([0, 2, 1, 1])}, lambda x, pads: F.pad(x, (2, 1, 0, 1)),
)  # fmt: skip
case(
    "pad_reflect_computed", "Pad", 'y = Pad <mode = "reflect"> (x, pads)', {"x": numbers(2, 4), "pads": np.array([0, 2, 0, 3])},
    lambda x, pads: F.pad(x, (2, 3), mode="reflect"),
)  # fmt: skip
case(
    "pad_wrap", "Pad", 'y = Pad <mode = "wrap"> (x, pads)', {"x": numbers(1, 2, 3, 2)}, lambda x: F.pad(x, (1, 2, 2, 1), mode="circular"),
    constants=(longs("pads", 0, 0, 2, 1, 0, 0, 1, 2),), batch=("x",), opset=19,
)  # fmt: skip
case("tile_computed", "Tile", "y = Tile(x, repeats)", {"x": numbers(2, 3), "repeats": np.array([2, 3])}, lambda x, repeats: x.repeat(2, 3))
case(
    "reverse_sequence", "ReverseSequence", "y = ReverseSequence <batch_axis = 1, time_axis = 0> (x, lengths)",
    {"x": numbers(4, 3, 2), "lengths": np.array([1, 3, 4])},
    lambda x, lengths: torch.stack([torch.cat((x[:n, k].flip(0), x[n:, k])) for k, n in enumerate(lengths.tolist())], 1),
)  # fmt: skip
case(
    "one_hot_values", "OneHot", "y = OneHot <axis = 1> (indices, depth, values)", {"indices": np.array([[0, 2], [-1, 1]]), "values": given(-0.5, 2)},
    lambda indices, values: values[F.one_hot(indices % 3, 3).movedim(-1, 1)], constants=("int64 depth = {3}",),
)  # fmt: skip
case(
    "compress", "Compress", "y = Compress <axis = 1> (x, condition)", {"x": numbers(2, 4), "condition": np.array([True, False, True])},
    lambda x, condition: x[:, :3][:, condition],
)  # fmt: skip
case("compress_flat", "Compress", "y = Compress(x, condition)", {"x": numbers(2, 3), "condition": np.array([False, True, True, False, True, True])},
     lambda x, condition: x.flatten()[condition])  # fmt: skip
case(
    "col2im", "Col2Im", "y = Col2Im <pads = [0, 1, 0, 1], strides = [2, 1]> (x, image, block)", {"x": numbers(2, 4, 12, seed="c")},
    lambda x: F.fold(x, (4, 5), (2, 2), padding=(0, 1), stride=(2, 1)), constants=(longs("image", 4, 5), longs("block", 2, 2)), batch=("x",),
    reference_is_wrong=True,
)  # fmt: skip
case(
    "col2im_channels", "Col2Im", "y = Col2Im <dilations = [1, 2]> (x, image, block)", {"x": numbers(1, 12, 6, seed="c")},
    lambda x: F.fold(x, (3, 5), (2, 2), dilation=(1, 2)), constants=(longs("image", 3, 5), longs("block", 2, 2)), batch=("x",), reference_is_wrong=True,
)  # fmt: skip
case(
    "center_crop_pad", "CenterCropPad", "y = CenterCropPad <axes = [1, 2]> (x, shape)", {"x": numbers(2, 5, 2)},
    lambda x: F.pad(x[:, 1:3], (1, 2)), constants=(longs("shape", 2, 5),), batch=("x",), opset=19,
)  # fmt: skip
case(
    "cumulative_product", "CumProd", "y = CumProd <reverse = 1> (x, axis)", {"x": given([2, 0, 3, -1], [1, 0.5, 4, 2])},
    lambda x: x.flip(1).cumprod(1).flip(1), constants=("int64 axis = {1}",), batch=("x",), opset=26,
)  # fmt: skip
case(
    "affine_grid", "AffineGrid", "y = AffineGrid(theta, size)", {"theta": numbers(2, 2, 3)},
    lambda theta: F.affine_grid(theta, (2, 1, 2, 3), align_corners=False), constants=(longs("size", 2, 1, 2, 3),), opset=20, forward_tolerance=1e-6,
)  # fmt: skip
case(
    "affine_grid_volume_aligned", "AffineGrid", "y = AffineGrid <align_corners = 1> (theta, size)", {"theta": numbers(1, 3, 4)},
    lambda theta: F.affine_grid(theta, (1, 1, 2, 3, 2), align_corners=True), constants=(longs("size", 1, 1, 2, 3, 2),), opset=20, forward_tolerance=1e-6,
)  # fmt: skip

# ---- sampling -------------------------------------------------------------------------------------------------------------


def resize(name, shape, attributes, function, scales=None, sizes=None, **more):
    """Scales or sizes of all axes; the function is PyTorch's interpolation, or nothing where the matrices are read off ONNX Runtime."""
    constants = ((f"float[{len(scales)}] scales = {{{','.join(map(str, scales))}}}",) if scales else ()) + ((longs("sizes", *sizes),) if sizes else ())
    operands = ", ".join(["x", '""'] + (["scales"] if scales else ['""', "sizes"]))
    body = f"y = Resize <{attributes}> ({operands})"
    if function is None:
        function = linear_map(body, constants, shape)
        more.setdefault("tolerance", 2e-6)
    case(f"resize_{name}", "Resize", body, {"x": numbers(*shape)}, function, constants=constants, reference_is_wrong=True, **more)


def linear_map(body, constants, shape):
    """The operator as one matrix: what ONNX Runtime makes of each unit vector. It is linear but for what it puts outside."""
    text = f"g (float[{','.join(map(str, shape))}] x) => (float[{','.join('abcd'[: len(shape)])}] y) <{', '.join(constants)}> {{ {body} }}"
    model = onnx.helper.make_model(onnx.parser.parse_graph(text), opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    run = lambda x: session.run(None, {"x": x.reshape(shape).astype(np.float32)})[0]  # noqa: E731
    outside = run(np.zeros(shape))
    matrix = np.stack([(run(row) - outside).flatten() for row in np.eye(math.prod(shape))])
    matrix, outside = torch.as_tensor(matrix.astype(np.float64)), torch.as_tensor(outside.astype(np.float64))
    return lambda x: (x.flatten() @ matrix).reshape(outside.shape) + outside


HALF, ALIGNED = 'coordinate_transformation_mode = "half_pixel"', 'coordinate_transformation_mode = "align_corners"'
TORCH = 'coordinate_transformation_mode = "pytorch_half_pixel"'
ASYMMETRIC = 'coordinate_transformation_mode = "asymmetric"'
resize("nearest_twice", (1, 2, 2, 3), f'mode = "nearest", {ASYMMETRIC}, nearest_mode = "floor"', lambda x: F.interpolate(x, scale_factor=2), (1, 1, 2, 2), batch=("x",))
resize("nearest_mixed", (1, 1, 3, 4), f'mode = "nearest", {ASYMMETRIC}, nearest_mode = "floor"', lambda x: F.interpolate(x, (5, 3)), sizes=(1, 1, 5, 3))
resize("linear", (1, 2, 3, 2), f'mode = "linear", {HALF}', lambda x: F.interpolate(x, (5, 4), mode="bilinear"), sizes=(1, 2, 5, 4))
resize("linear_shrinking", (1, 1, 5, 6), f'mode = "linear", {TORCH}', lambda x: F.interpolate(x, (2, 3), mode="bilinear"), sizes=(1, 1, 2, 3))
resize("linear_to_one", (1, 1, 5, 6), f'mode = "linear", {TORCH}', None, sizes=(1, 1, 1, 3))
resize("linear_aligned", (1, 1, 3, 4), f'mode = "linear", {ALIGNED}', lambda x: F.interpolate(x, (5, 2), mode="bilinear", align_corners=True), sizes=(1, 1, 5, 2))
resize("linear_1d", (1, 2, 4), f'mode = "linear", {HALF}', lambda x: F.interpolate(x, 7, mode="linear"), sizes=(1, 2, 7))
resize("cubic", (1, 1, 4, 3), f'mode = "cubic", {HALF}, cubic_coeff_a = -0.75', lambda x: F.interpolate(x, (6, 5), mode="bicubic"), sizes=(1, 1, 6, 5))
resize("cubic_aligned", (1, 1, 4, 4), f'mode = "cubic", {ALIGNED}, cubic_coeff_a = -0.75', lambda x: F.interpolate(x, (7, 3), mode="bicubic", align_corners=True), sizes=(1, 1, 7, 3))
resize("antialias_linear", (1, 1, 6, 5), f'mode = "linear", {HALF}, antialias = 1, exclude_outside = 1', lambda x: F.interpolate(x, (3, 4), mode="bilinear", antialias=True), sizes=(1, 1, 3, 4), tolerance=1e-6)
resize("antialias_cubic", (1, 1, 7, 6), f'mode = "cubic", {HALF}, antialias = 1, exclude_outside = 1, cubic_coeff_a = -0.5', lambda x: F.interpolate(x, (3, 4), mode="bicubic", antialias=True), sizes=(1, 1, 3, 4), tolerance=1e-6)
resize("antialias_edges", (1, 1, 6, 5), f'mode = "linear", {HALF}, antialias = 1', None, sizes=(1, 1, 3, 4))
resize("cubic_excluding", (1, 1, 4, 4), f'mode = "cubic", {HALF}, exclude_outside = 1', None, sizes=(1, 1, 6, 3))
resize("symmetric", (1, 1, 4, 5), 'mode = "linear", coordinate_transformation_mode = "half_pixel_symmetric"', None, (1, 1, 1.3, 0.7))
resize("scale_beside_size", (1, 1, 3, 5), f'mode = "linear", {HALF}', None, (1, 1, 1.2, 1.7))
resize("axes_ceil", (1, 1, 4, 3), f'mode = "nearest", axes = [2, 3], {HALF}, nearest_mode = "ceil"', None, (0.5, 2.0))
resize("prefer_ceil", (1, 1, 4, 3), f'mode = "nearest", {HALF}, nearest_mode = "round_prefer_ceil"', None, (1, 1, 0.5, 1.5))
resize("prefer_floor", (1, 1, 4, 3), f'mode = "nearest", {HALF}, nearest_mode = "round_prefer_floor"', None, (1, 1, 0.5, 1.5))
resize("not_larger", (1, 1, 4, 6), f'mode = "linear", axes = [2, 3], keep_aspect_ratio_policy = "not_larger", {HALF}', None, sizes=(7, 8))


def sample(x, grid, mode, padding, aligned):
    """PyTorch's grid_sample in operations that can be differentiated twice."""
    n, c, height, width = x.shape

    def place(g, extent):
        at = (g + 1) / 2 * (extent - 1) if aligned else ((g + 1) * extent - 1) / 2
        return at if mode == "bicubic" else fold(at, extent)

    def fold(at, extent):
        if padding == "border":
            return at.clamp(0, extent - 1)
        if padding == "reflection":
            low, span = (0, extent - 1) if aligned else (-0.5, extent)
            far = (at - low).abs()
            turns = torch.floor(far / span).detach()
            rest = far - turns * span
            return torch.where(turns % 2 == 0, rest + low, span - rest + low).clamp(0, extent - 1)
        return at

    def pixel(row, column):
        row, column = fold(row, height), fold(column, width)
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        flat = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long().reshape(n, 1, -1).expand(n, c, -1)
        return x.reshape(n, c, -1).gather(2, flat).reshape(n, c, *row.shape[1:]) * inside[:, None]

    def near(d, a=-0.75):
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d, a=-0.75):
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    across, down = place(grid[..., 0], width), place(grid[..., 1], height)
    if mode == "nearest":
        return pixel(down.round().detach(), across.round().detach())
    left, top = across.floor().detach(), down.floor().detach()

    def weights(part):
        if mode == "bilinear":
            return {0: 1 - part, 1: part}
        return {-1: far(part + 1), 0: near(part), 1: near(1 - part), 2: far(2 - part)}

    rows, columns = weights(down - top), weights(across - left)
    return sum(pixel(top + i, left + j) * (a * b)[:, None] for i, a in rows.items() for j, b in columns.items())


PLACES = numbers(2, 2, 3, 2, lo=-1.4, hi=1.4, seed="places")
for mode in ("bilinear", "nearest", "bicubic"):
    for padding in ("zeros", "border", "reflection"):
        for aligned in (False, True):
            if mode != "bilinear" and aligned != (padding == "border"):
                continue
            case(
                f"grid_sample_{mode}_{padding}{'_aligned' if aligned else ''}", "GridSample",
                f'y = GridSample <mode = "{mode}", padding_mode = "{padding}", align_corners = {int(aligned)}> (x, grid)',
                {"x": numbers(2, 2, 3, 4, seed="g"), "grid": PLACES}, lambda x, grid, a=(mode, padding, aligned): sample(x, grid, *a),
                native=lambda x, grid, a=(mode, padding, aligned): F.grid_sample(x, grid, *a), batch=("x", "grid"), reference_is_wrong=True,
            )  # fmt: skip

# ---- quantisers -----------------------------------------------------------------------------------------------------------


def rounded(x, scale, zero, low=0, high=255):
    """The integers of x as floats. The rounding passes straight through within the range, and 0 outside."""
    exact = x / scale + zero
    q = torch.round(x / scale) + zero
    inside = (q >= low) & (q <= high)
    return torch.where(inside, exact + (q - exact).detach(), q.clamp(low, high).detach())


STRAIGHT = "the rounding has the derivative 1 within the range of the integers and 0 outside; PyTorch has 0"


def quantising(name, op, body, inputs, function, constants):
    case(name, op, body, inputs, function, constants=constants, single=True, reference_is_wrong=True, tolerance=1e-5)


quantising(
    "quantize_dequantize", "QuantizeLinear", "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)", {"x": given(-9.3, -2, -0.4, 0.1, 0.9, 3.2, 40)},
    lambda x: (rounded(x, 0.125, 64) - 64) * 0.125, ("float s = {0.125}", "uint8 z = {64}"),
)
quantising(
    "quantize_dequantize_axis", "QuantizeLinear", "q = QuantizeLinear <axis = 1> (x, s, z) r = Reshape(q, back) y = DequantizeLinear <axis = 1> (r, s, z)",
    {"x": numbers(2, 2, 3, lo=-20, hi=20)},
    lambda x: rounded(x, torch.tensor([0.125, 0.25])[:, None].double(), 0, -128, 127) * torch.tensor([0.125, 0.25])[:, None].double(),
    ("float[2] s = {0.125, 0.25}", "int8[2] z = {0, 0}", "int64[3] back = {0, 2, 3}"),
)
quantising(
    "quantize_scale", "QuantizeLinear", "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)", {"x": given(-9.3, -2, -0.4, 0.1, 0.9, 3.2, 40), "s": given(0.125).reshape(())},
    lambda x, s: (rounded(x, s, 64) - 64) * s, ("uint8 z = {64}",),
)


def dynamic(x):
    low, high = torch.minimum(x.min(), torch.zeros(())), torch.maximum(x.max(), torch.zeros(()))
    scale = ((high - low) / 255).detach()
    zero = torch.round(-low / scale).clamp(0, 255).detach()
    exact = x / scale + zero
    return exact + ((torch.round(x / scale) + zero).clamp(0, 255) - exact).detach(), scale, zero


def dynamic_matmul(x):
    q, scale, zero = dynamic(x)
    return (q - zero) @ torch.tensor([[3.0, -2], [1, 5], [-4, 2]]).double() * scale * 0.25


quantising(
    "dynamic_matmul", "MatMulInteger",
    "q, s, z = DynamicQuantizeLinear(x) m = MatMulInteger(q, w, z) f = Cast <to = 1> (m) t = Mul(s, ws) y = Mul(f, t)", {"x": numbers(2, 3)}, dynamic_matmul,
    ("int8[3,2] w = {3,-2,1,5,-4,2}", "float ws = {0.25}"),
)


def dynamic_conv(x):
    q, scale, zero = dynamic(x)
    w = torch.tensor([1.0, 0, 3, 1, 0, 2, 1, 4]).double().reshape(2, 1, 2, 2)
    return F.conv2d(q - zero, w - 1) * scale * 0.5


quantising(
    "dynamic_conv", "ConvInteger",
    "q, s, z = DynamicQuantizeLinear(x) m = ConvInteger(q, w, z, wz) f = Cast <to = 1> (m) t = Mul(s, ws) y = Mul(f, t)",
    {"x": numbers(1, 1, 3, 3)}, dynamic_conv, ("uint8[2,1,2,2] w = {1,0,3,1,0,2,1,4}", "uint8 wz = {1}", "float ws = {0.5}"),
)  # fmt: skip


def integer_conv(x):
    q = rounded(x, 0.0625, 32)
    w = (torch.tensor([130.0, 120, 140, 128, 100, 128, 127, 160]).double().reshape(2, 1, 2, 2) - 128) * 0.03125
    y = F.conv2d((q - 32) * 0.0625, w, torch.tensor([16.0, -8]).double() * 0.0625 * 0.03125)
    return (rounded(y, 0.0625, 100) - 100) * 0.0625


quantising(
    "qlinear_conv", "QLinearConv",
    "q = QuantizeLinear(x, s, z) m = QLinearConv(q, s, z, w, ws, wz, s, yz, b) p = MaxPool <kernel_shape = [1, 2]> (m) y = DequantizeLinear(p, s, yz)",
    {"x": numbers(1, 1, 3, 4, seed="q")}, lambda x: F.max_pool2d(integer_conv(x), (1, 2), 1),
    ("float s = {0.0625}", "uint8 z = {32}", "uint8[2,1,2,2] w = {130,120,140,128,100,128,127,160}", "float ws = {0.03125}", "uint8 wz = {128}",
     "uint8 yz = {100}", "int32[2] b = {16,-8}"),
)  # fmt: skip


def integer_matmul(x):
    q = rounded(x, 0.0625, 32)
    y = (q - 32) * 0.0625 @ (torch.tensor([[3.0, -2], [1, 5], [-4, 2]]).double() * torch.tensor([0.25, 0.5]).double())
    return (rounded(y, 0.0625, 100) - 100) * 0.0625


quantising(
    "qlinear_matmul", "QLinearMatMul", "q = QuantizeLinear(x, s, z) m = QLinearMatMul(q, s, z, w, ws, wz, s, yz) y = DequantizeLinear(m, s, yz)",
    {"x": numbers(2, 3)}, integer_matmul,
    ("float s = {0.0625}", "uint8 z = {32}", "int8[3,2] w = {3,-2,1,5,-4,2}", "float[2] ws = {0.25, 0.5}", "int8[2] wz = {0, 0}", "uint8 yz = {100}"),
)
case(
    "dequantize_blocks", "DequantizeLinear", "w = DequantizeLinear <axis = 0, block_size = 2> (q, s) y = MatMul(x, w)", {"x": numbers(2, 4)},
    lambda x: x @ ((torch.arange(8).reshape(4, 2) - 3).double() * torch.tensor([[0.5, 0.25], [2, 1]]).double().repeat_interleave(2, 0)),
    constants=("int8[4,2] q = {-3,-2,-1,0,1,2,3,4}", "float[2,2] s = {0.5, 0.25, 2, 1}"), opset=21, single=True, reference_is_wrong=True, tolerance=1e-5,
)  # fmt: skip
