"""Writes pillow.json: small images resized by Pillow with every filter, for a resize that must give the same bytes.

python tests/golden/pillow.py      (Pillow 13.0.0, numpy)
"""
import json
import pathlib

import numpy
import PIL
from PIL import Image

FILTERS = ["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
# channels, height, width, and the sizes (height, width) that are made of it
IMAGES = [
    (1, 8, 8, [(28, 28), (3, 5), (8, 13), (5, 8), (1, 1)]),
    (3, 13, 9, [(7, 5), (16, 20), (13, 4), (32, 9), (26, 18)]),
    (1, 50, 37, [(28, 28), (12, 37), (9, 9)]),
    (3, 1, 7, [(4, 4)]),
]

random = numpy.random.default_rng(0)
images, cases = [], []
for index, (c, h, w, sizes) in enumerate(IMAGES):
    smooth = 127.5 + 127.5 * numpy.sin(numpy.arange(c * h * w).reshape(c, h, w) / 3.0)
    noise = random.integers(0, 256, (c, h, w))
    # saturated blocks make the overshoot of the cubic filters clip
    pixels = numpy.where(random.random((c, h, w)) < 0.3, noise, numpy.where(smooth > 127, 255, 0)).astype(numpy.uint8)
    images.append({"shape": [c, h, w], "pixels": pixels.tobytes().hex()})
    image = Image.fromarray(pixels[0]) if c == 1 else Image.fromarray(pixels.transpose(1, 2, 0))
    for height, width in sizes:
        for filter in FILTERS:
            out = numpy.asarray(image.resize((width, height), Image.Resampling[filter.upper()]))
            out = out if c == 1 else out.transpose(2, 0, 1)
            cases.append({"image": index, "size": [height, width], "filter": filter, "pixels": out.tobytes().hex()})
path = pathlib.Path(__file__).with_name("pillow.json")
path.write_text(json.dumps({"pillow": PIL.__version__, "images": images, "cases": cases}, indent=0) + "\n")
print(path, path.stat().st_size, len(cases))
