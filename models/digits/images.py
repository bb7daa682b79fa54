"""Writes digits-train.npz and digits-test.npz from scikit-learn's copy of the UCI digits.

Knows the split and the conversion to bytes; knows nothing of models.

    python models/digits/images.py        (needs numpy and scikit-learn)

The split is stratified: every class gives its share of the 500 test images (largest remainders first), chosen and ordered by
one fixed shuffle, so that the first N images of either file are a random sample too. The same versions give the same bytes.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

FOLDER = Path(__file__).resolve().parent
TEST_IMAGES = 500
SEED = 0


def main():
    digits = load_digits()
    x = np.rint(digits.images * (255.0 / 16.0)).astype(np.uint8)[:, None, :, :]
    y = digits.target.astype(np.int64)
    # RandomState's stream is frozen by NumPy's compatibility policy; default_rng's is not.
    order = np.random.RandomState(SEED).permutation(len(y))
    is_test = choose(y[order], TEST_IMAGES)
    write("digits-train.npz", x[order][~is_test], y[order][~is_test])
    write("digits-test.npz", x[order][is_test], y[order][is_test])


def choose(y, wanted):
    """A mask of the first `share` samples of every class, where the shares add up to `wanted`."""
    classes, counts = np.unique(y, return_counts=True)
    exact = counts * wanted / len(y)
    share = np.floor(exact).astype(int)
    share[np.argsort(-(exact - share), kind="stable")[: wanted - share.sum()]] += 1
    mask = np.zeros(len(y), bool)
    for label, n in zip(classes, share):
        mask[np.flatnonzero(y == label)[:n]] = True
    return mask


def write(name, x, y):
    """NumPy stamps every member of the archive with 1980-01-01, so the bytes do not depend on the clock."""
    np.savez_compressed(FOLDER / name, x=x, y=y)
    print(f"{name}: x {x.dtype}{list(x.shape)}, y {y.dtype}{list(y.shape)}, per class {np.bincount(y).tolist()}")


if __name__ == "__main__":
    main()
