"""Keras networks as tf2onnx writes them: images as NHWC between transposes, softmax at the end, float64 twins for the values.

    python tests/architectures/keras_nets.py [NAME …]
"""

import os

os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}

import keras
import numpy as np
import tensorflow as tf
import tf2onnx
from golden import agree, command, label_and_vector, tidy, write_values
from keras import layers as L

CLASSES, SAMPLES = 5, 2


class Net:
    """`build(tail)` gives the model with or without what stands behind its logits."""

    def __init__(self, build, shape, opset):
        self.build, self.shape, self.opset = build, shape, opset


def gelu(x):
    """By tanh: tf2onnx has no Erfc."""
    return keras.activations.gelu(x, approximate=True)


def sequential(shape, *layers):
    return lambda tail: keras.Sequential([L.Input(shape), *(layer() for layer in layers), L.Dense(CLASSES, activation="softmax" if tail else None)])


def layer(kind, *arguments, **options):
    return lambda: kind(*arguments, **options)


def cnn(tail):
    return sequential(
        (8, 8, 3), layer(L.Conv2D, 8, 3, activation="relu"), layer(L.MaxPooling2D), layer(L.Conv2D, 8, 3, padding="same", activation="relu"),
        layer(L.MaxPooling2D, 3, 2, "same"), layer(L.Dropout, 0.5), layer(L.Flatten), layer(L.Dense, 16, activation="tanh"),
    )(tail)  # fmt: skip


def mobilenet(tail):
    return sequential(
        (8, 8, 3), layer(L.Conv2D, 8, 3, 2, "same", use_bias=False), layer(L.BatchNormalization), layer(L.ReLU, 6.0),
        layer(L.DepthwiseConv2D, 3, padding="same", use_bias=False), layer(L.BatchNormalization), layer(L.ReLU, 6.0), layer(L.Conv2D, 12, 1),
        layer(L.SeparableConv2D, 12, 3, strides=2, padding="same", depth_multiplier=2, activation="relu6"), layer(L.GlobalAveragePooling2D),
    )(tail)  # fmt: skip


def resnet(tail):
    x = i = L.Input((8, 8, 3))
    x = L.LeakyReLU(negative_slope=0.2)(L.BatchNormalization()(L.Conv2D(8, 5, 2)(L.ZeroPadding2D(2)(x))))
    y = L.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = L.ReLU()(L.Add()([x, L.BatchNormalization()(L.Conv2D(8, 3, padding="same")(y))]))
    x = L.Flatten()(L.AveragePooling2D(4, 3, "same")(x))
    return keras.Model(i, L.Dense(CLASSES, activation="softmax" if tail else None)(x))


def efficientnet(tail):
    x = i = L.Input((8, 8, 3))
    x = L.Rescaling(2.0, -0.5)(x)
    x = L.Activation("swish")(L.BatchNormalization()(L.Conv2D(8, 3, 2, "same")(x)))
    s = L.GlobalAveragePooling2D(keepdims=True)(x)
    s = L.Conv2D(8, 1, activation="sigmoid")(L.Conv2D(4, 1, activation="swish")(s))
    x = L.GlobalMaxPooling2D()(L.Conv2D(12, 1)(L.Multiply()([x, s])))
    return keras.Model(i, L.Softmax()(L.Dense(CLASSES)(x)) if tail else L.Dense(CLASSES)(x))


def unet(tail):
    x = i = L.Input((8, 8, 3))
    a = L.Conv2D(6, 3, padding="same", activation="elu")(x)
    b = L.Conv2D(8, 3, 2, "same", activation="selu")(a)
    c = L.Conv2D(8, 3, 2, "same", activation=gelu)(b)
    b = L.Concatenate()([L.UpSampling2D(2, interpolation="nearest")(c), b])
    a = L.Concatenate()([L.Conv2DTranspose(6, 3, 2, "same")(b), a])
    return keras.Model(i, L.Activation("softmax" if tail else "linear")(L.GlobalAveragePooling2D()(L.Conv2D(CLASSES, 1)(a))))


def transformer(tail):
    x = i = L.Input((8, 8, 3))
    x = L.Reshape((4, 16))(L.Conv2D(16, 4, 4)(x))
    n = L.LayerNormalization(epsilon=1e-6)(x)
    x = L.Add()([x, L.MultiHeadAttention(2, 8)(n, n)])
    n = L.LayerNormalization()(x)
    x = L.Add()([x, L.Dense(16)(L.Dense(24, activation=gelu)(n))])
    return keras.Model(i, L.Dense(CLASSES, activation="softmax" if tail else None)(L.GlobalAveragePooling1D()(x)))


def attention(tail):
    """Dot-product attention of a sequence over itself with a gate, and a permuted mean."""
    x = i = L.Input((8, 12))
    q, v = L.Conv1D(8, 1)(x), L.Conv1D(8, 1, activation="softplus")(x)
    y = L.Attention(use_scale=True)([q, v])
    y = L.Multiply()([y, L.Dense(8, activation="hard_sigmoid")(v)])
    y = L.Concatenate()([L.Flatten()(L.Permute((2, 1))(y)), L.Maximum()([L.GlobalMaxPooling1D()(q), L.GlobalAveragePooling1D()(v)])])
    return keras.Model(i, L.Dense(CLASSES, activation="softmax" if tail else None)(y))


def signal(tail):
    return sequential(
        (48, 2), layer(L.Conv1D, 8, 5, padding="causal", dilation_rate=2), layer(L.PReLU, shared_axes=[1]), layer(L.MaxPooling1D, 2),
        layer(L.Conv1D, 8, 3, activation="softsign"), layer(L.LayerNormalization), layer(L.Cropping1D, 2), layer(L.AveragePooling1D, 3), layer(L.Flatten),
    )(tail)  # fmt: skip


def volume(tail):
    return sequential(
        (6, 8, 8, 1), layer(L.Conv3D, 4, 3, strides=2, padding="same", activation="elu"), layer(L.BatchNormalization),
        layer(L.Conv3D, 6, 2, activation="mish"), layer(L.GlobalAveragePooling3D),
    )(tail)  # fmt: skip


def group_norm(tail):
    return sequential(
        (8, 8, 3), layer(L.Conv2D, 8, 3), layer(L.GroupNormalization, 4), layer(L.Activation, "hard_silu"), layer(L.Conv2D, 8, 3, strides=2),
        layer(L.Flatten), layer(L.UnitNormalization), layer(L.Activation, "exponential"),
    )(tail)  # fmt: skip


def mlp(tail):
    """One hidden layer and a log-softmax."""
    return keras.Sequential([L.Input((20,)), L.Dense(12, activation="sigmoid"), L.Dense(CLASSES, activation="log_softmax" if tail else None)])


def lstm(tail):
    return sequential((6, 12), layer(L.LSTM, 8))(tail)


def gru(tail):
    return sequential((6, 12), layer(L.GRU, 8, return_sequences=True), layer(L.GRU, 6, reset_after=False, unroll=True))(tail)


def bidirectional(tail):
    return sequential((6, 12), layer(L.Bidirectional, L.LSTM(6)), layer(L.Dropout, 0.2))(tail)


def unrolled_rnn(tail):
    return sequential((4, 12), layer(L.SimpleRNN, 8, unroll=True))(tail)


NETS = {
    "cnn": Net(cnn, (8, 8, 3), 15),
    "mobilenet": Net(mobilenet, (8, 8, 3), 13),
    "resnet": Net(resnet, (8, 8, 3), 12),
    "efficientnet": Net(efficientnet, (8, 8, 3), 18),
    "unet": Net(unet, (8, 8, 3), 17),
    "transformer": Net(transformer, (8, 8, 3), 16),
    "attention": Net(attention, (8, 12), 14),
    "signal": Net(signal, (48, 2), 15),
    "volume": Net(volume, (6, 8, 8, 1), 18),
    "group_norm": Net(group_norm, (8, 8, 3), 13),
    "mlp": Net(mlp, (20,), 9),
    "lstm": Net(lstm, (6, 12), 15),
    "gru": Net(gru, (6, 12), 14),
    "bidirectional": Net(bidirectional, (6, 12), 15),
    "unrolled_rnn": Net(unrolled_rnn, (4, 12), 13),
}


def write(net, path):
    seed = sum(map(ord, path.stem))
    random = np.random.RandomState(seed)
    keras.utils.set_random_seed(seed)
    model = built(net, "float32", True)
    values = [(w + random.uniform(-0.2, 0.2, w.shape) * (1 if w.min() < 0 else 0.5)).astype(np.float32) for w in model.get_weights()]
    model.set_weights(values)
    twin = built(net, "float64", False)
    twin.set_weights([v.astype(np.float64) for v in values])
    x = (random.randint(0, 256, (SAMPLES, *net.shape)) / 256).astype(np.float32)

    signature = [tf.TensorSpec((None, *net.shape), tf.float32, name="input_1")]
    call = tf.function(lambda input_1: model(input_1, training=False), input_signature=signature)
    tf2onnx.convert.from_function(call, signature, opset=net.opset, output_path=str(path))
    tidy(path)
    agree(path, x, model(x, training=False).numpy(), None)

    label, vector = label_and_vector(path, x, CLASSES)
    def slope(x):
        at = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(at)
            logits = twin(at, training=False)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits)
        gradient = tape.gradient(loss, at)
        assert logits.dtype == gradient.dtype == tf.float64
        return logits.numpy(), loss.numpy(), gradient.numpy()

    # TensorFlow stops gradients inside its moments: right once, wrong the second time. The first is what can be differenced.
    x, h = x.astype(np.float64), 1e-5
    product = (slope(x + h * vector)[2] - slope(x - h * vector)[2]) / (2 * h)
    write_values(path, x, label, *slope(x), vector, product)


def built(net, dtype, tail):
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    return net.build(tail)


if __name__ == "__main__":
    command("keras", NETS, write)
