"""Small nets by three exporters, with what each framework itself says about their filters: writes exporters/NAME.onnx and NAME.json.

    python tests/golden/exporters.py keras      (tensorflow-cpu 2.21, keras 3.15, tf2onnx 1.17: MatMul, HWIO kernels turned, ConvTranspose)
    python tests/golden/exporters.py jax        (jax 0.10, flax 0.12, jax2onnx 0.17: Gemm, ConvTranspose whose kernel is flipped and turned
                                                 in the graph)
    python tests/golden/exporters.py torch      (torch 2.15, onnx 1.23: Gemm with its second operand turned, ConvTranspose)

Every net is a convolution, a transposed convolution and a dense layer with drawn biases. `filters` holds the norms of the weights of every
output channel or neuron, read off the arrays of the framework in their own layout, and `bias` the norms of the biases. `loss` is the mean
cross-entropy of the framework's own logits over the first 64 digits of the test half. The images have one channel and pixels in [0,1].
"""

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
CHANNELS, UP, CLASSES = 3, 2, 10


def digits():
    stored = np.load(HERE.parent.parent / "models/digits/digits-test.npz")
    x = stored["x"][:64].astype(np.float32).reshape(-1, 1, 8, 8)
    return (x / 255.0 if stored["x"].dtype == np.uint8 else x).astype(np.float32), stored["y"][:64].astype(np.int64)


def norms(array, axis):
    """The norm of every slice along an axis."""
    moved = np.moveaxis(np.asarray(array, dtype=np.float64), axis, 0)
    return np.linalg.norm(moved.reshape(moved.shape[0], -1), axis=1).tolist()


def written(name, exporter, logits, filters, biases):
    logits, y = np.asarray(logits, dtype=np.float64), digits()[1]
    top = logits.max(1, keepdims=True)
    loss = (np.log(np.exp(logits - top).sum(1)) + top[:, 0] - logits[np.arange(len(y)), y]).mean()
    values = {"exporter": exporter, "loss": float(loss), "filters": filters, "bias": [float(np.linalg.norm(np.asarray(b, dtype=np.float64))) for b in biases]}
    (HERE / "exporters" / f"{name}.json").write_text(json.dumps(values, indent=1) + "\n")
    print(name, values)


def with_keras():
    import keras
    import tf2onnx

    keras.utils.set_random_seed(1)
    drawn = keras.initializers.RandomNormal(stddev=0.1)
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(CHANNELS, 3, activation="relu", bias_initializer=drawn, name="conv")(image)
    x = keras.layers.Conv2DTranspose(UP, 2, strides=2, activation="relu", bias_initializer=drawn, name="up")(x)
    x = keras.layers.Dense(CLASSES, bias_initializer=drawn, name="fc")(keras.layers.Flatten()(x))
    model = keras.Model(image, x)
    inputs = digits()[0].transpose(0, 2, 3, 1)
    logits = model(inputs)
    model.export(str(HERE / "exporters/keras.onnx"), format="onnx", verbose=False)
    # [h,w,in,out], [h,w,out,in], [in,out]
    layers = [(model.get_layer(n).get_weights(), axis) for n, axis in (("conv", 3), ("up", 2), ("fc", 1))]
    filters = [norms(weights[0], axis) for weights, axis in layers]
    written("keras", f"keras {keras.__version__}, tf2onnx {tf2onnx.__version__}", logits, filters, [w[1] for w, _ in layers])


def with_jax():
    import jax2onnx
    import onnx
    from flax import nnx
    import jax

    class Net(nnx.Module):
        def __init__(self, keys):
            drawn = nnx.initializers.normal(0.1)
            self.conv = nnx.Conv(1, CHANNELS, (3, 3), padding="VALID", bias_init=drawn, rngs=keys)
            self.up = nnx.ConvTranspose(CHANNELS, UP, (2, 2), strides=(2, 2), padding="VALID", bias_init=drawn, rngs=keys)
            self.fc = nnx.Linear(144 * UP, CLASSES, bias_init=drawn, rngs=keys)

        def __call__(self, x):
            x = nnx.relu(self.up(nnx.relu(self.conv(x))))
            return self.fc(x.reshape((x.shape[0], -1)))

    net = Net(nnx.Rngs(1))
    logits = net(jax.numpy.asarray(digits()[0].transpose(0, 2, 3, 1)))
    onnx.save(jax2onnx.to_onnx(net, [("B", 8, 8, 1)], opset=20), HERE / "exporters/jax.onnx")
    # [h,w,in,out], [h,w,in,out], [in,out]
    layers = [(net.conv, 3), (net.up, 3), (net.fc, 1)]
    filters = [norms(layer.kernel[...], axis) for layer, axis in layers]
    from importlib.metadata import version

    written("jax", f"flax {version('flax')}, jax2onnx {version('jax2onnx')}", logits, filters, [layer.bias[...] for layer, _ in layers])


def with_torch():
    import torch
    import torch.nn as nn

    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(1, CHANNELS, 3), nn.ReLU(), nn.ConvTranspose2d(CHANNELS, UP, 2, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(144 * UP, CLASSES)
    )
    logits = net(torch.from_numpy(digits()[0])).detach()
    torch.onnx.export(
        net, torch.zeros(2, 1, 8, 8), HERE / "exporters/torch.onnx", opset_version=18, input_names=["x"], output_names=["logits"],
        dynamic_axes={"x": {0: "N"}, "logits": {0: "N"}}, dynamo=False,
    )
    # [out,in,h,w], [in,out,h,w], [out,in]
    layers = [(net[0], 0), (net[2], 1), (net[5], 0)]
    filters = [norms(layer.weight.detach(), axis) for layer, axis in layers]
    written("torch", f"torch {torch.__version__}", logits, filters, [layer.bias.detach() for layer, _ in layers])


if __name__ == "__main__":
    (HERE / "exporters").mkdir(exist_ok=True)
    {"keras": with_keras, "jax": with_jax, "torch": with_torch}[sys.argv[1]]()
