"""Golden values of common corruptions that draw nothing, from NumPy, SciPy, scikit-image, OpenCV and Pillow:

    python tests/golden/corruptions.py > tests/golden/corruptions.json

The calls are those of Hendrycks and Dietterich 2019 for CIFAR-10 (github.com/hendrycks/robustness, make_cifar_c.py). Pillow works on
8 bits, so `pixelate` and `jpeg` are rounded.
"""
import io
import json

import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import zoom as scizoom
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian

SIDE = 32


def image():
    """The formula of `corruptions.rs`, 8 bits, [H,W,C]."""
    c, r, q = np.mgrid[:3, :SIDE, :SIDE].astype(np.float64)
    values = 120 + 90 * np.sin(0.31 * r + 0.9 * c) * np.cos(0.23 * q - 0.4 * c) + 25 * np.sin(0.05 * r * q)
    return np.floor(values).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def disk(radius, alias):
    x, y = np.meshgrid(np.arange(-8, 9), np.arange(-8, 9))
    aliased = np.array((x**2 + y**2) <= radius**2, dtype=np.float64)
    return cv2.GaussianBlur(aliased / aliased.sum(), ksize=(3, 3), sigmaX=alias)


def defocus(x, s):
    kernel = disk(*[(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)][s])
    return np.stack([cv2.filter2D(x[:, :, d], -1, kernel) for d in range(3)], axis=2)


def clipped(x, factor):
    h = x.shape[0]
    ch = int(np.ceil(h / factor))
    top = (h - ch) // 2
    big = scizoom(x[top : top + ch, top : top + ch], (factor, factor, 1), order=1)
    trim = (big.shape[0] - h) // 2
    return big[trim : trim + h, trim : trim + h]


def zoom(x, s):
    factors = np.arange(1, [1.06, 1.11, 1.16, 1.21, 1.26][s], 0.01)
    return (x + sum(clipped(x, factor) for factor in factors)) / (len(factors) + 1)


def contrast(x, s):
    means = x.mean(axis=(0, 1), keepdims=True)
    return (x - means) * [0.75, 0.5, 0.4, 0.3, 0.15][s] + means


def in_hsv(x, channel, change):
    hsv = rgb2hsv(x)
    hsv[:, :, channel] = np.clip(change(hsv[:, :, channel]), 0, 1)
    return hsv2rgb(hsv)


def brightness(x, s):
    return in_hsv(x, 2, lambda v: v + [0.05, 0.1, 0.15, 0.2, 0.3][s])


def saturate(x, s):
    by, more = [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)][s]
    return in_hsv(x, 1, lambda v: v * by + more)


def pixelate(x, s):
    small = int(SIDE * [0.95, 0.9, 0.85, 0.75, 0.65][s])
    out = Image.fromarray(np.uint8(np.rint(x * 255))).resize((small, small), Image.BOX).resize((SIDE, SIDE), Image.BOX)
    return np.array(out) / 255


def jpeg(x, s):
    output = io.BytesIO()
    Image.fromarray(np.uint8(np.rint(x * 255))).save(output, "JPEG", quality=[80, 65, 58, 50, 40][s])
    return np.array(Image.open(output)) / 255


def blur(x, s):
    return gaussian(x, sigma=[0.4, 0.6, 0.7, 0.8, 1][s], channel_axis=-1)


TYPES = {
    "gaussian-blur": blur,
    "defocus-blur": defocus,
    "zoom-blur": zoom,
    "contrast": contrast,
    "brightness": brightness,
    "saturate": saturate,
    "pixelate": pixelate,
    "jpeg": jpeg,
}


def main():
    x = image() / 255.0
    found = {}
    for name, corrupt in TYPES.items():
        # every 37th value of [C,H,W], 84 of 3,072
        values = [np.clip(corrupt(x, s), 0, 1).transpose(2, 0, 1).ravel()[::37] for s in range(5)]
        found[name] = [[round(float(v), 9) for v in row] for row in values]
    lines = [f'"{name}": {json.dumps(rows)}' for name, rows in found.items()]
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main()
